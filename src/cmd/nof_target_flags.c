/* SPDX-License-Identifier: Apache-2.0 */
/* The options of mooncake_nof_target: one table, nothing that runs. */
#include "cmd/nof_target.h"

#define PROGRAM "mooncake_nof_target"

#define OFF(field) offsetof(struct nof_config, field)
static const struct flag flags[] = {
	{.name = "namespace",
	 .type = FLAG_LIST,
	 .off = OFF(namespaces),
	 .arg = "SPEC",
	 .group = "What to serve",
	 .help = "A namespace (disk) of the subsystem --nqn. "
		 "SPEC is a file or block device (/data/disk.img, "
		 "/dev/nvme0n1), a file with its size, which is created when "
		 "absent (/data/disk.img:100g), memory (ram:8g) or nothing "
		 "(null:1t)."},
	{.name = "nqn",
	 .type = FLAG_STR,
	 .off = OFF(nqn),
	 .arg = "NQN",
	 .help = "Name of the subsystem. Default: "
		 "nqn.2026-11.io.mooncake:target:HOSTNAME:PORT."},
	{.name = "subsystem",
	 .type = FLAG_LIST,
	 .off = OFF(subsystems),
	 .arg = "NQN=SPEC[,SPEC]",
	 .help = "A further subsystem with its namespaces."},
	{.name = "listen",
	 .type = FLAG_LIST,
	 .off = OFF(listen),
	 .arg = "HOST:PORT[,tls]",
	 .group = "Where",
	 .help = "Address to listen on. Default: "
		 "127.0.0.1:4420. 0.0.0.0 and [::] stand for every address; "
		 "port 0 takes a free one and says which. Anyone there may "
		 "connect unless the options below say otherwise. With ,tls "
		 "only hosts with a key of --tls_key, and all is encrypted."},
	{.name = "discovery",
	 .type = FLAG_STR,
	 .off = OFF(discovery),
	 .arg = "HOST:PORT[,tls]",
	 .help = "A port for the discovery service alone, usually 8009. "
		 "Discovery is also answered on every --listen address."},
	{.name = "host",
	 .type = FLAG_LIST,
	 .off = OFF(hosts),
	 .arg = "NQN",
	 .group = "Who may connect",
	 .help = "A host that may connect; may be repeated. Without any, all "
		 "may."},
	{.name = "dhchap_key",
	 .type = FLAG_LIST,
	 .off = OFF(dhchap_keys),
	 .arg = "HOSTNQN=FILE",
	 .help = "That host must prove (DH-HMAC-CHAP) that it knows the key "
		 "in FILE, a line DHHC-1:…: that nobody else can read; "
		 "'mooncakectl gen-dhchap-key' makes one. *=FILE stands for "
		 "every host without a key of its own. SIGHUP reads the files "
		 "again."},
	{.name = "dhchap_ctrl_key",
	 .type = FLAG_LIST,
	 .off = OFF(dhchap_ctrl_keys),
	 .arg = "HOSTNQN=FILE",
	 .help = "The key by which the target proves itself to that host "
		 "when the host asks for it."},
	{.name = "dhchap_hash",
	 .type = FLAG_STR,
	 .off = OFF(dhchap_hash),
	 .arg = "LIST",
	 .help = "Hashes to use, the first that the host knows is taken. "
		 "Default: sha256,sha384,sha512."},
	{.name = "dhchap_dhgroup",
	 .type = FLAG_STR,
	 .off = OFF(dhchap_dhgroup),
	 .arg = "LIST",
	 .help = "Diffie-Hellman groups, likewise. Default: ffdhe2048,"
		 "ffdhe3072,ffdhe4096,ffdhe6144,ffdhe8192,null."},
	{.name = "tls_key",
	 .type = FLAG_LIST,
	 .off = OFF(tls_keys),
	 .arg = "HOSTNQN=FILE",
	 .help = "The key of that host for listeners with ,tls, a line "
		 "NVMeTLSkey-1:…: that nobody else can read; 'mooncakectl "
		 "gen-tls-key' makes one. *=FILE and SIGHUP as with "
		 "--dhchap_key."},
	{.name = "rpc_socket",
	 .alias = "r",
	 .type = FLAG_STR,
	 .off = OFF(rpc_socket),
	 .arg = "PATH",
	 .group = "Control while it runs",
	 .help = "Unix socket for JSON-RPC with SPDK's methods; SPDK's rpc.py "
		 "and 'mooncakectl target' use it. Only its owner may open it. "
		 "Default: /var/tmp/spdk.sock, where they look, when neither "
		 "--namespace nor --subsystem is given; otherwise none. "
		 "'none' switches it off."},
	{.name = "json_config",
	 .alias = "c,config,json",
	 .type = FLAG_STR,
	 .off = OFF(json_config),
	 .arg = "FILE",
	 .help = "A configuration as SPDK's save_config writes it, loaded at "
		 "start."},
	{.name = "state",
	 .type = FLAG_STR,
	 .off = OFF(state),
	 .arg = "FILE",
	 .help = "Remembers what JSON-RPC makes and makes it again at the next "
		 "start."},
	{.name = "threads",
	 .type = FLAG_UINT,
	 .off = OFF(threads),
	 .def = "1",
	 .min = 1,
	 .max = NOF_THREADS_MAX,
	 .arg = "N",
	 .group = "Resources",
	 .help = "Threads over which connections are spread."},
	{.name = "max_io_size",
	 .type = FLAG_SIZE,
	 .off = OFF(max_io_size),
	 .def = "1m",
	 .min = 8192,
	 .max = 32 << 20,
	 .arg = "SIZE",
	 .help = "Largest read or write command (MDTS)."},
	{.name = "in_capsule_data_size",
	 .type = FLAG_SIZE,
	 .off = OFF(in_capsule),
	 .def = "128k",
	 .min = 4096,
	 .max = 128 << 10,
	 .arg = "SIZE",
	 .help = "Writes up to this size need no extra round trip."},
	{.name = "max_queue_depth",
	 .type = FLAG_UINT,
	 .off = OFF(depth),
	 .def = "128",
	 .min = 2,
	 .max = 4096,
	 .arg = "N",
	 .help = "Entries of an I/O queue."},
	{.name = "max_io_qpairs_per_ctrlr",
	 .alias = "max_queues",
	 .type = FLAG_UINT,
	 .off = OFF(queues),
	 .def = "64",
	 .min = 1,
	 .max = 1024,
	 .arg = "N",
	 .help = "I/O queues (connections) a host may have."},
	{.name = "buffer_memory",
	 .type = FLAG_SIZE,
	 .off = OFF(buffers),
	 .def = "64m",
	 .min = 1 << 20,
	 .max = (double)(1024 * GiB),
	 .arg = "SIZE",
	 .help = "Most memory for data on their way between network and "
		 "files; commands wait when it is used up. RAM namespaces "
		 "need none."},
	{.name = "drain_seconds",
	 .type = FLAG_UINT,
	 .off = OFF(drain_seconds),
	 .def = "2",
	 .max = 3600,
	 .arg = "N",
	 .help = "How long hosts may take to finish what is under way when "
		 "the target is told to end. Idle hosts end it sooner, a "
		 "second signal at once."},
	{.name = "spin_us",
	 .type = FLAG_UINT,
	 .off = OFF(spin_us),
	 .max = 100000,
	 .arg = "N",
	 .help = "Microseconds for which a thread polls after something has "
		 "happened before it sleeps: shorter answers for CPU time. "
		 "Idle costs nothing either way."},
	{.name = "zerocopy_bytes",
	 .type = FLAG_SIZE,
	 .off = OFF(zerocopy_bytes),
	 .def = "256k",
	 .max = (double)GiB,
	 .arg = "SIZE",
	 .help = "Answers of so much data in one send are not copied into the "
		 "socket (io_uring, Linux 6.1, a network card with "
		 "scatter-gather; not with TLS). 0: all are copied."},
	{.name = "io_unit_size",
	 .type = FLAG_SIZE,
	 .off = OFF(io_unit),
	 .arg = "SIZE",
	 .attrs = FLAG_IGNORED | FLAG_HIDDEN,
	 .help = "Known from SPDK; buffers here always fit the command."},
	{.name = "fault",
	 .type = FLAG_LIST,
	 .off = OFF(faults),
	 .arg = "KEY=VALUE[,KEY=VALUE]",
	 .group = "Drills",
	 .help = "Behave like a broken target, e.g. "
		 "kind=delay,op=read,nsid=1,ms=50,every=100 (docs/drills.md "
		 "has all kinds). For drills and tests, never for service; the "
		 "log warns as long as it lasts."},
	{.name = "log_level",
	 .type = FLAG_STR,
	 .off = OFF(log_level),
	 .def = "info",
	 .arg = "LEVEL",
	 .group = "Messages",
	 .help = "error, warn, info or debug."},
};

const struct flag_prog nof_prog = {
	.name = PROGRAM,
	.summary = "NVMe-oF target: serves disks, files and memory over TCP",
	.usage = "[--namespace SPEC] [options]",
	.details =
		"Hosts reach the namespaces with any NVMe/TCP initiator: the "
		"Mooncake store, the Linux kernel (nvme connect) or SPDK. When "
		"it is ready it prints the commands to use and the line "
		"\"ready HOST:PORT\".",
	.examples =
		"  " PROGRAM " --namespace /data/disk.img:100g\n"
		"  " PROGRAM " --listen 0.0.0.0:4420 --namespace /dev/nvme0n1\n"
		"  " PROGRAM " --namespace ram:8g --threads 4 "
		"--discovery 127.0.0.1:8009\n"
		"  " PROGRAM " --rpc_socket /run/nof.sock "
		"--state /var/lib/nof.json\n",
	.flags = flags,
	.flag_count = ARRAY_SIZE(flags),
};
