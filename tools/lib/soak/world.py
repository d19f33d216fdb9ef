# SPDX-License-Identifier: Apache-2.0
"""The deployment under test: a master with a journal, targets with disks in
files, store nodes, clients; each a host of its own where that is possible.

A party is up, stopped or down because a fault wanted it so; anything else
that happens to a process is a failure.
"""
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time

from cluster import Cluster, can_connect, http

MB = 1 << 20
DISK_MB, NODE_MB = 96, 48
TARGETS, NODES, CLIENTS = ("ta", "tb", "tc", "td"), ("na", "nb"), 3
CLIENT_TTL_S = 8
MASTER_FLAGS = (
    "--nof_heartbeat_interval_sec=1", "--default_kv_lease_ttl=1000",
    f"--client_ttl={CLIENT_TTL_S}", "--put_start_discard_timeout_sec=9",
    "--put_start_release_timeout_sec=15", "--journal_snapshot_bytes=1mb",
    "--snapshot_interval_seconds=7", "--nof_lost_timeout_sec=6",
    "--scrub_interval=10s", "--scrub_bytes_per_s=64mb")
ENV = {"MC_NVME_COMMAND_TIMEOUT_MS": "2000",
       "MC_NVME_FABRICS_CONNECT_TIMEOUT_US": "2000000",
       "MC_NVME_KEEP_ALIVE_MS": "3000", "MC_RPC_TIMEOUT_MS": "5000",
       "MC_STORE_TRANSFER_TIMEOUT_MS": "15000"}
#: a process whose predecessor was killed a moment ago may find its port, its
#: file or its journal still taken; it says so and ends
RETRIES, RETRY_WITHIN_S = 20, 5
TAKEN = re.compile("is in use: stop the program|another master \\(process|"
                   "is served by another process already")
EVENTS_KEPT = 64 * MB       # of a client's lives that are over
NQN = "nqn.2026-11.io.mooncake:"
ADDRESS = re.compile(r"(?:traddr:)?([^ :]+)(?: trsvcid:|:)([0-9]+)")


class Dead(Exception):
    """A process ended that nobody had killed."""


_given = set()


def quiet_ports(n):
    """Ports that nobody has, and that no outgoing connection is given while
    their owner is down; never the same again."""
    with open("/proc/sys/net/ipv4/ip_local_port_range",
              encoding="ascii") as f:
        first = int(f.read().split()[0])
    if first < 4096:
        first = 32768             # no port is safe here
    ports = []
    while len(ports) < n:
        port = random.randrange(max(first - 20_000, 1024), first)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            ports.append(port)
    return ports


class Party:
    disk_bytes = DISK_MB * MB

    def __init__(self, name, kind, host):
        self.name, self.kind, self.host = name, kind, host
        self.port, self.rest, self.data = quiet_ports(3)
        self.is_up = self.is_stopped = False
        self.is_busy = self.is_cut = False    # a fault is at it
        self.since, self.retries, self.starts = 0.0, 0, 0
        self.taken = 0            # how often it found its place taken


class World(Cluster):
    def __init__(self, build_dir, net, rng, history, seed, pause_s):
        super().__init__(build_dir, keep=True)
        os.environ.update(ENV)
        self.net, self.history, self.seed = net, history, seed
        self.pause_s = pause_s
        self.flags = [*MASTER_FLAGS, f"--journal_dir={self.path('journal')}",
                      "--journal_sync=" + rng.choice(("interval", "always",
                                                      "never")),
                      "--allocation_strategy="
                      + rng.choice(("random", "free_ratio_first"))]
        self.liar = rng.choice(TARGETS)
        self.begin = time.monotonic()
        self.parties = {}
        for name, kind in ([("m", "master")]
                           + [(t, "target") for t in TARGETS]
                           + [(n, "node") for n in NODES]
                           + [(f"c{i}", "client") for i in range(CLIENTS)]):
            self.parties[name] = Party(name, kind, net.add(name))
        self.events = {}          # slot -> event files, one for each life
        self.read_at = {}         # how far each last one was read
        self.hot = 0

    def of(self, kind):
        return [p for p in self.parties.values() if p.kind == kind]

    @property
    def master_addr(self):
        m = self.parties["m"]
        return f"{m.host}:{m.port}"

    # --- starting ---

    def start(self, name, program, *args, env=None, stdin=None):
        argv = self.net.inside(name, [self.program(program), *args])
        return super().start(name, argv[0], *argv[1:], env=env, stdin=stdin)

    def launch(self, name):
        """Starts a party that is down; does not wait."""
        p = self.parties[name]
        getattr(self, "start_" + p.kind)(p)
        p.is_up, p.is_stopped = True, False
        p.since = time.monotonic()
        p.starts += 1

    def start_master(self, p):
        self.start(p.name, "mooncake_master", f"--rpc_address={p.host}",
                   f"--rpc_port={p.port}", f"--metrics_host={p.host}",
                   f"--metrics_port={p.rest}", *self.flags)

    def start_target(self, p):
        image = self.path(p.name + ".img")
        size = "" if os.path.exists(image) else f":{DISK_MB}m"
        self.start(p.name, "mooncake_nof_target",
                   f"--listen={p.host}:{p.port}",
                   f"--nqn={NQN}{p.name}",
                   f"--namespace={image}{size}",
                   f"--rpc_socket={self.path(p.name)}.sock")

    def start_node(self, p):
        path = self.path(p.name + ".json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"local_hostname": f"{p.host}:{p.data}",
                       "metadata_server": "P2PHANDSHAKE",
                       "master_server_address": self.master_addr,
                       "protocol": "tcp", "device_name": "",
                       "global_segment_size": NODE_MB * MB,
                       "local_buffer_size": 0}, f)
        self.start(p.name, "mooncake_store_service", f"--config={path}",
                   f"--host={p.host}", f"--port={p.rest}")

    def start_client(self, p):
        slot = int(p.name[1:])
        self.look()
        self.history.told.pop((slot, "up"), None)
        self.next_events(slot, p.starts)
        config = {"slot": slot, "life": p.starts, "seed": self.seed,
                  "events": self.events[slot][-1],
                  "host": p.host, "master": self.master_addr,
                  "first": self.history.numbers.get(slot, 0) + 1,
                  "kept": self.history.kept_by(slot),
                  "counts": self.counts(), "pause_s": self.pause_s,
                  "quota": {"pool": 14 * MB, "pair": 8 * MB,
                            "loose": 10 * MB, "memory": 6 * MB,
                            "both": 4 * MB}}
        path = self.path(p.name + ".json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(config, f)
        lib = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        self.start(p.name, sys.executable, "-m", "soak.client", path,
                   stdin=subprocess.PIPE,
                   env={"PYTHONPATH": os.pathsep.join(
                       (lib, os.environ.get("PYTHONPATH", ""))),
                        "MC_LOG_LEVEL": "error"})
        self.order(p.name, "resume", self.hot)

    def is_ready(self, p):
        child = self.children[p.name]
        if p.kind == "master":
            return can_connect(p.port, p.host) and can_connect(p.rest, p.host)
        if p.kind == "target":
            return f"\nready {p.host}:{p.port}\n" in "\n" + child.text()
        if p.kind == "node":
            try:
                return http(f"http://{p.host}:{p.rest}/health",
                            timeout=1)[0] == 200
            except OSError:
                return False
        return self.history.told.get((int(p.name[1:]), "up")) == p.starts - 1

    # --- ending, stopping, going on ---

    def kill(self, name):
        p = self.parties[name]
        self.check(p)             # a crash a moment ago would be forgotten
        self.children[name].kill(signal.SIGKILL)
        self.children[name].proc.wait()
        if self.children[name].proc.stdin:
            self.children[name].proc.stdin.close()
        p.is_up = p.is_stopped = False
        p.retries = 0
        if p.kind == "client":
            self.look()
            self.history.died(int(name[1:]))

    def terminate(self, name):
        """In good order; a status other than 0 is a failure."""
        status = self.children[name].stop()
        p = self.parties[name]
        p.is_up = p.is_stopped = False
        p.retries = 0
        if status:
            raise Dead(f"{name} ended with status {status} after SIGTERM: "
                       f"{self.children[name].text()[-1500:]}")

    def halt(self, name):
        self.children[name].kill(signal.SIGSTOP)
        self.parties[name].is_stopped = True

    def go_on(self, name):
        self.children[name].kill(signal.SIGCONT)
        self.parties[name].is_stopped = False

    def check_alive(self):
        """The names of those that were started again."""
        return [p.name for p in self.parties.values() if self.check(p)]

    def check(self, p):
        """Dead for a process that ended by itself, except one that found its
        predecessor's port or file taken: that is started again (True)."""
        child = self.children.get(p.name)
        if not p.is_up or child is None or child.is_alive():
            return False
        text = child.text()
        if (child.proc.returncode > 0 and TAKEN.search(text)
                and p.retries < RETRIES and p.kind != "client"
                and time.monotonic() - p.since < RETRY_WITHIN_S):
            p.retries += 1
            p.taken += 1
            self.launch(p.name)
            return True
        p.is_up = False
        raise Dead(f"{p.name} ended by itself with status "
                   f"{child.proc.returncode}: {text[-1500:]}")

    # --- talking to clients ---

    def order(self, name, *words):
        child = self.children[name]
        try:
            child.proc.stdin.write(json.dumps(words).encode() + b"\n")
            child.proc.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass  # dead: check_alive() tells, or it was killed

    def counts(self):
        """How many keys each client has made, for the others to read."""
        return {str(i): max(1, self.history.numbers.get(i, 0))
                for i in range(CLIENTS)}

    def next_events(self, slot, life):
        """A new file; those of earlier lives were read and go, but for what
        tells enough of the past when something fails."""
        files = self.events.setdefault(slot, [])
        size, self.read_at[slot] = 0, 0
        for path in reversed(files[:]):
            size += os.path.getsize(path) if os.path.exists(path) else 0
            if size > EVENTS_KEPT:
                files.remove(path)
                if os.path.exists(path):
                    os.remove(path)
        files.append(self.path(f"c{slot}.{life}.events"))

    def read_events(self, slot):
        path = self.events.get(slot, [""])[-1]
        if not os.path.exists(path):
            return
        with open(path, "rb") as f:
            f.seek(self.read_at.get(slot, 0))
            data = f.read()
        end = data.rfind(b"\n") + 1
        self.read_at[slot] = self.read_at.get(slot, 0) + end
        for line in data[:end].splitlines():
            self.history.feed(slot, line)

    def look(self):
        """Takes in what the clients have written so far: of all of them,
        for what one saw another has done."""
        now = time.monotonic()
        for slot in range(CLIENTS):
            self.read_events(slot)
        self.history.apply(now)

    # --- looking at the master ---

    def master_http(self, path, timeout=5):
        m = self.parties["m"]
        status, body = http(f"http://{m.host}:{m.rest}{path}",
                            timeout=timeout)
        if status != 200:
            raise OSError(f"GET {path}: {status}")
        return body.decode()

    def ctl(self, *args, timeout=10):
        return self.run("mooncakectl", f"--master={self.master_addr}", *args,
                        timeout=timeout)

    def register(self, name):
        p = self.parties[name]
        r = self.run("mooncake_ssd_register",
                     f"--master_server_address={self.master_addr}",
                     f"--discover={p.host}:{p.port}")
        if r.returncode:
            raise Dead(f"registration of {name}: {r.stdout}{r.stderr}")

    def party_at(self, endpoint):
        """Name of the party that an endpoint or a segment's name leads to."""
        for p in self.of("target"):
            if f"subnqn:{NQN}{p.name} " in endpoint + " ":
                return p.name
        m = ADDRESS.search(endpoint)
        return next((p.name for p in self.of("node") if m and
                     m.groups() == (p.host, str(p.data))), None)
