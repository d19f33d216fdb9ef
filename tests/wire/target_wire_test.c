/* SPDX-License-Identifier: Apache-2.0 */
/* The target as a host sees it, byte by byte. */
#include "t_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "nvme/id.h"

#define SC(sc)	   ((sc)&NVME_SC_MASK)
#define NS_BYTES   (8u << 20)
#define FILE_BYTES (4u << 20)

enum {
	NS_RAM = 1,
	NS_FILE = 2
};

static struct t_target target;
static char file_path[64];
static unsigned shard_count;

static int setup(void **state)
{
	struct bdev *bdev;
	struct err err = {0};
	struct bdev_file_opts fo = {.path = file_path,
				    .create_size = FILE_BYTES};

	snprintf(file_path, sizeof(file_path), "/tmp/t_wire.%d.img", getpid());
	t_target_start(&target, NULL, shard_count);
	assert_int_equal(bdev_ram_create(NULL, NS_BYTES, &bdev, &err), 0);
	assert_int_equal(t_target_add_ns(&target, bdev), NS_RAM);
	assert_int_equal(bdev_file_create(&fo, &bdev, &err), 0);
	assert_int_equal(t_target_add_ns(&target, bdev), NS_FILE);
	return 0;
}

static int teardown(void **state)
{
	t_target_stop(&target);
	unlink(file_path);
	return 0;
}

static void fill(uint8_t *p, uint32_t len, uint8_t seed)
{
	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 7 + i / 251 + seed);
}

/* --- the happy path --- */

struct rw_case {
	uint32_t nsid, len;
	bool in_capsule, hdgst, ddgst;
	uint32_t pda;
	uint8_t cattr;
};

static void rw_once(const struct rw_case *c)
{
	struct t_wire admin = {.fd = -1};
	struct t_wire io = {.fd = -1,
			    .hdgst = c->hdgst,
			    .ddgst = c->ddgst,
			    .pda = c->pda,
			    .cattr = c->cattr};
	uint8_t *out = malloc(c->len), *in = calloc(1, c->len);

	fill(out, c->len, (uint8_t)c->len);
	tw_admin_queue(&admin, &target.addr);
	tw_io_queue(&io, &target.addr, &admin, 1);
	assert_int_equal(tw_write(&io, c->nsid, 3, out, c->len, c->in_capsule),
			 0);
	assert_int_equal(tw_read(&io, c->nsid, 3, in, c->len), 0);
	assert_memory_equal(in, out, c->len);
	tw_close(&io);
	tw_close(&admin);
	free(out);
	free(in);
}

static void reads_what_was_written(void **state)
{
	static const struct rw_case cases[] = {
		{NS_RAM, 4096, .in_capsule = true},
		{NS_RAM, 16384, .in_capsule = true},
		{NS_RAM, 4096},
		{NS_RAM, 1 << 20},
		{NS_FILE, 4096, .in_capsule = true},
		{NS_FILE, 16384, .in_capsule = true},
		{NS_FILE, 1 << 20},
		{NS_RAM, 65536, .hdgst = true},
		{NS_RAM, 65536, .ddgst = true, .pda = 128},
		{NS_RAM, 8192, .hdgst = true, .ddgst = true,
		 .in_capsule = true},
		{NS_FILE, 65536, .hdgst = true, .ddgst = true, .pda = 64},
		{NS_RAM, 4096, .cattr = 4},
		{NS_FILE, 1 << 20, .cattr = 4, .ddgst = true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		rw_once(&cases[i]);
}

static void flush_is_answered(void **state)
{
	struct t_wire admin = {0}, io = {0};
	struct nvme_sqe sqe = {.flags = NVME_SQE_PSDT_SGL};

	tw_admin_queue(&admin, &target.addr);
	tw_io_queue(&io, &target.addr, &admin, 1);
	for (sqe.nsid = NS_RAM; sqe.nsid <= NS_FILE; sqe.nsid++)
		assert_int_equal(tw_admin(&io, &sqe, NULL, 0, NULL), 0);
	sqe.nsid = 9;
	assert_int_equal(SC(tw_admin(&io, &sqe, NULL, 0, NULL)),
			 NVME_SC_BAD_NS);
	tw_close(&io);
	tw_close(&admin);
}

/* Answers may come in any order; 31 reads are under way at once. */
static void pipelined_reads(void **state)
{
	struct t_wire admin = {0}, io = {0};
	static uint8_t buf[8192];
	struct nvme_sqe sqe;
	union pdu_hdr hdr;
	uint32_t seen = 0;

	tw_admin_queue(&admin, &target.addr);
	tw_io_queue(&io, &target.addr, &admin, 1);
	io.next_cid = 0;
	for (unsigned i = 0; i < 31; i++) {
		nvme_cmd_rw(&sqe, false, 1 + i % 2, i, 2);
		sqe.sgl = (struct nvme_sgl){.len = 8192,
					    .type = NVME_SGL_TRANSPORT};
		tw_send_cmd(&io, &sqe, NULL, 0);
	}
	for (unsigned i = 0; i < 62; i++) {
		tw_recv(&io, &hdr, buf, sizeof(buf));
		if (hdr.ch.type == PDU_CAPSULE_RESP) {
			assert_int_equal(hdr.resp.cqe.status, 0);
			seen |= 1u << hdr.resp.cqe.cid;
		}
	}
	assert_int_equal(seen, 0x7fffffff);
	tw_close(&io);
	tw_close(&admin);
}

/* --- commands that must be refused --- */

static void io_is_validated(void **state)
{
	uint64_t ram_blocks = NS_BYTES / 4096;
	const struct {
		uint32_t nsid;
		uint64_t slba;
		uint32_t nlb, sgl_len;
		uint8_t sgl_type, flags;
		uint16_t sc;
	} cases[] = {
		{1, ram_blocks, 1, 4096, 0x5a, 0x40, NVME_SC_LBA_RANGE},
		{1, ram_blocks - 1, 2, 8192, 0x5a, 0x40, NVME_SC_LBA_RANGE},
		{1, UINT64_MAX, 1, 4096, 0x5a, 0x40, NVME_SC_LBA_RANGE},
		{1, UINT64_MAX - 1, 4, 16384, 0x5a, 0x40, NVME_SC_LBA_RANGE},
		{0, 0, 1, 4096, 0x5a, 0x40, NVME_SC_BAD_NS},
		{3, 0, 1, 4096, 0x5a, 0x40, NVME_SC_BAD_NS},
		{0xffffffff, 0, 1, 4096, 0x5a, 0x40, NVME_SC_BAD_NS},
		{1, 0, 257, 257 * 4096, 0x5a, 0x40, NVME_SC_BAD_FIELD},
		{1, 0, 2, 4096, 0x5a, 0x40, NVME_SC_DATA_SGL_LEN},
		{1, 0, 1, 8192, 0x5a, 0x40, NVME_SC_DATA_SGL_LEN},
		{1, 0, 1, 4096, 0x01, 0x40, NVME_SC_SGL_TYPE},
		{1, 0, 1, 4096, 0x40, 0x40, NVME_SC_SGL_TYPE},
		{1, 0, 1, 4096, 0x5a, 0x00, NVME_SC_BAD_FIELD}, /* PRP */
		{1, 0, 1, 4096, 0x5a, 0x41, NVME_SC_BAD_FIELD}, /* fused */
	};
	struct t_wire admin = {0}, io = {0};
	union pdu_hdr hdr;
	struct nvme_sqe sqe;

	tw_admin_queue(&admin, &target.addr);
	tw_io_queue(&io, &target.addr, &admin, 1);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		nvme_cmd_rw(&sqe, false, cases[i].nsid, cases[i].slba,
			    cases[i].nlb);
		sqe.flags = cases[i].flags;
		sqe.sgl = (struct nvme_sgl){.len = cases[i].sgl_len,
					    .type = cases[i].sgl_type};
		tw_send_cmd(&io, &sqe, NULL, 0);
		tw_recv(&io, &hdr, NULL, 0);
		assert_int_equal(hdr.ch.type, PDU_CAPSULE_RESP);
		if (SC(hdr.resp.cqe.status >> 1) != cases[i].sc)
			fail_msg("case %zu: status %#x, not %#x", i,
				 hdr.resp.cqe.status >> 1, cases[i].sc);
	}
	/* Opcodes that are not there. */
	sqe = (struct nvme_sqe){.opcode = 0x99, .flags = 0x40, .nsid = 1};
	assert_int_equal(SC(tw_admin(&io, &sqe, NULL, 0, NULL)),
			 NVME_SC_BAD_OPCODE);
	assert_int_equal(SC(tw_admin(&admin, &sqe, NULL, 0, NULL)),
			 NVME_SC_BAD_OPCODE);
	tw_close(&io);
	tw_close(&admin);
}

static void refused_write_skips_its_data(void **state)
{
	struct t_wire admin = {0}, io = {0};
	static uint8_t buf[16384];

	tw_admin_queue(&admin, &target.addr);
	tw_io_queue(&io, &target.addr, &admin, 1);
	assert_int_equal(SC(tw_write(&io, 7, 0, buf, 16384, true)),
			 NVME_SC_BAD_NS);
	assert_int_equal(tw_write(&io, 1, 0, buf, 16384, true), 0);
	tw_close(&io);
	tw_close(&admin);
}

static void bad_data_digest_fails_the_write(void **state)
{
	struct t_wire admin = {0}, io = {.ddgst = true};
	struct pdu_cmd pdu = {.ch = {.type = PDU_CAPSULE_CMD}};
	static uint8_t buf[4096];
	union pdu_hdr hdr;
	uint32_t wrong = 0x12345678;

	tw_admin_queue(&admin, &target.addr);
	tw_io_queue(&io, &target.addr, &admin, 1);
	nvme_cmd_rw(&pdu.sqe, true, NS_FILE, 0, 1);
	pdu.sqe.sgl =
		(struct nvme_sgl){.len = 4096, .type = NVME_SGL_DATA_OFFSET};
	pdu_finish(&pdu.ch, 4096, false, true, 0);
	tw_send_raw(&io, &pdu, sizeof(pdu));
	tw_send_raw(&io, buf, sizeof(buf));
	tw_send_raw(&io, &wrong, sizeof(wrong));
	tw_recv(&io, &hdr, NULL, 0);
	assert_int_equal(hdr.resp.cqe.status >> 1, NVME_SC_TRANSIENT_TRANSPORT);
	assert_int_equal(tw_write(&io, NS_FILE, 0, buf, 4096, true), 0);
	tw_close(&io);
	tw_close(&admin);
}

/* --- Connect --- */

static void connect_is_judged(void **state)
{
	struct t_wire w = {0}, io = {0}, disc = {0};
	struct nvme_connect_data d = {.cntlid = 0xffff};
	struct nvme_sqe sqe;
	struct nvme_cqe cqe;
	union pdu_hdr hdr;

	tw_start(&w, &target.addr);
	/* before Connect */
	nvme_cmd_prop_get(&sqe, NVME_PROP_CAP, true);
	assert_int_equal(SC(tw_admin(&w, &sqe, NULL, 0, NULL)),
			 NVME_SC_CMD_SEQ_ERROR);
	assert_int_equal(SC(tw_connect(&w, "nqn.2026-11.io.mooncake:none", 0,
				       0xffff, &cqe)),
			 NVME_SC_CONNECT_BAD_PARAM);
	assert_int_equal(cqe.result, 0x10100); /* data, offset of SUBNQN */
	assert_int_equal(SC(tw_connect(&w, T_WIRE_NQN, 0, 5, &cqe)),
			 NVME_SC_CONNECT_BAD_PARAM);
	assert_int_equal(cqe.result, 0x10010); /* CNTLID */
	assert_int_equal(SC(tw_connect(&w, T_WIRE_NQN, 1, 77, &cqe)),
			 NVME_SC_CONNECT_BAD_PARAM);
	assert_int_equal(SC(tw_connect(&w, T_WIRE_NQN, 65, 77, &cqe)),
			 NVME_SC_CONNECT_BAD_PARAM);
	assert_int_equal(cqe.result, 42); /* QID */
	/* record format, queue size, text without an end */
	nvme_cmd_connect(&sqe, 0, 31, 0);
	sqe.cdw10 |= 1;
	tw_send_cmd(&w, &sqe, &d, sizeof(d));
	tw_recv(&w, &hdr, NULL, 0);
	assert_int_equal(SC(hdr.resp.cqe.status >> 1), NVME_SC_CONNECT_FORMAT);
	nvme_cmd_connect(&sqe, 0, 0, 0);
	tw_send_cmd(&w, &sqe, &d, sizeof(d));
	tw_recv(&w, &hdr, NULL, 0);
	assert_int_equal(hdr.resp.cqe.result, 44);
	nvme_cmd_connect(&sqe, 0, 31, 0);
	memset(d.subnqn, 'n', sizeof(d.subnqn));
	tw_send_cmd(&w, &sqe, &d, sizeof(d));
	tw_recv(&w, &hdr, NULL, 0);
	assert_int_equal(hdr.resp.cqe.result, 0x10100);
	/* and after all that it still works */
	assert_int_equal(tw_connect(&w, T_WIRE_NQN, 0, 0xffff, NULL), 0);
	assert_int_equal(SC(tw_connect(&w, T_WIRE_NQN, 0, 0xffff, NULL)),
			 NVME_SC_CMD_SEQ_ERROR);
	/* I/O queue before CC.EN; then twice the same */
	tw_start(&io, &target.addr);
	assert_int_equal(SC(tw_connect(&io, T_WIRE_NQN, 1, w.cntlid, NULL)),
			 NVME_SC_CMD_SEQ_ERROR);
	tw_enable(&w);
	assert_int_equal(tw_connect(&io, T_WIRE_NQN, 1, w.cntlid, NULL), 0);
	/* the discovery port has no subsystems */
	tw_start(&disc, &target.disc_addr);
	assert_int_equal(SC(tw_connect(&disc, T_WIRE_NQN, 0, 0xffff, NULL)),
			 NVME_SC_CONNECT_BAD_PARAM);
	/* the admin queue's end ends the I/O queue */
	tw_close(&w);
	tw_expect_eof(&io);
	tw_close(&io);
	tw_close(&disc);
}

/* A host whose name can't be told to anybody. */
static void host_has_a_name(void **state)
{
	static const char *const names[] = {"", "nqn.2014-08.org.a:\xff",
					    "a\n"};
	struct nvme_connect_data d = {.cntlid = 0xffff, .subnqn = T_WIRE_NQN};
	struct t_wire w = {0};
	struct nvme_sqe sqe;
	union pdu_hdr hdr;

	tw_start(&w, &target.addr);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(d.hostnqn, sizeof(d.hostnqn), "%s", names[i]);
		nvme_cmd_connect(&sqe, 0, 31, 0);
		tw_send_cmd(&w, &sqe, &d, sizeof(d));
		tw_recv(&w, &hdr, NULL, 0);
		assert_int_equal(SC(hdr.resp.cqe.status >> 1),
				 NVME_SC_CONNECT_BAD_PARAM);
		assert_int_equal(hdr.resp.cqe.result, 0x10200);
	}
	tw_close(&w);
}

static void disconnect_ends_the_queue(void **state)
{
	struct t_wire admin = {0}, io = {0};
	struct nvme_sqe sqe = {.opcode = NVME_OP_FABRICS,
			       .flags = 0x40,
			       .nsid = NVME_FCTYPE_DISCONNECT};

	tw_admin_queue(&admin, &target.addr);
	tw_io_queue(&io, &target.addr, &admin, 1);
	assert_int_equal(SC(tw_admin(&admin, &sqe, NULL, 0, NULL)),
			 NVME_SC_DISCONNECT_BAD_QTYPE);
	assert_int_equal(tw_admin(&io, &sqe, NULL, 0, NULL), 0);
	tw_expect_eof(&io);
	tw_close(&io);
	tw_close(&admin);
}

static void silent_hosts_are_dropped(void **state)
{
	struct t_wire admin = {.kato_ms = 300}, io = {0};
	static uint8_t buf[4096];
	struct nvme_sqe sqe = {.opcode = NVME_ADM_KEEP_ALIVE, .flags = 0x40};

	tw_admin_queue(&admin, &target.addr);
	tw_io_queue(&io, &target.addr, &admin, 1);
	/* Traffic on any queue keeps the controller, for longer than KATO. */
	for (int i = 0; i < 8; i++) {
		usleep(75000);
		assert_int_equal(tw_read(&io, 1, 0, buf, sizeof(buf)), 0);
	}
	assert_int_equal(tw_admin(&admin, &sqe, NULL, 0, NULL), 0);
	tw_expect_eof(&admin);
	tw_expect_eof(&io);
	tw_close(&io);
	tw_close(&admin);
}

/* --- admin --- */

static void admin_commands_answer(void **state)
{
	struct t_wire w = {0};
	static uint8_t buf[4096];
	struct nvme_sqe sqe;
	struct nvme_cqe cqe;

	tw_admin_queue(&w, &target.addr);
	nvme_cmd_identify(&sqe, 0x01, 0);
	assert_int_equal(tw_admin(&w, &sqe, buf, 4096, NULL), 0);
	assert_int_equal(buf[78] | buf[79] << 8, w.cntlid);
	nvme_cmd_identify(&sqe, 0x02, 0);
	assert_int_equal(tw_admin(&w, &sqe, buf, 4096, NULL), 0);
	assert_int_equal(buf[0], 1);
	assert_int_equal(buf[4], 2);
	assert_int_equal(buf[8], 0);
	nvme_cmd_identify(&sqe, 0x00, 2);
	assert_int_equal(tw_admin(&w, &sqe, buf, 4096, NULL), 0);
	assert_int_equal(*(uint64_t *)buf, FILE_BYTES / 4096);
	nvme_cmd_identify(&sqe, 0x03, 9);
	assert_int_equal(SC(tw_admin(&w, &sqe, buf, 4096, NULL)),
			 NVME_SC_BAD_NS);
	nvme_cmd_identify(&sqe, 0x44, 0);
	assert_int_equal(SC(tw_admin(&w, &sqe, buf, 4096, NULL)),
			 NVME_SC_BAD_FIELD);
	nvme_cmd_set_feature(&sqe, 0x07, 0x00030003);
	assert_int_equal(tw_admin(&w, &sqe, NULL, 0, &cqe), 0);
	assert_int_equal(cqe.dw0, 0x00030003);
	nvme_cmd_set_feature(&sqe, 0x07, 0x03ff03ff);
	assert_int_equal(tw_admin(&w, &sqe, NULL, 0, &cqe), 0);
	assert_int_equal(cqe.dw0, 0x003f003f);
	nvme_cmd_set_feature(&sqe, 0x77, 1);
	assert_int_equal(SC(tw_admin(&w, &sqe, NULL, 0, &cqe)),
			 NVME_SC_BAD_FIELD);
	nvme_cmd_get_log(&sqe, 0x02, 0, 512);
	assert_int_equal(tw_admin(&w, &sqe, buf, 512, NULL), 0);
	nvme_cmd_get_log(&sqe, 0x70, 0, 1024);
	assert_int_equal(SC(tw_admin(&w, &sqe, buf, 1024, NULL)),
			 NVME_SC_BAD_LOG_PAGE);
	nvme_cmd_get_log(&sqe, 0x02, 8192, 512);
	assert_int_equal(SC(tw_admin(&w, &sqe, buf, 512, NULL)),
			 NVME_SC_BAD_FIELD);
	tw_close(&w);
}

/* Four events wait, the fifth is too many; a new namespace ends one. */
static void events_tell_of_namespaces(void **state)
{
	struct t_wire w = {0};
	struct nvme_sqe sqe = {.opcode = NVME_ADM_AER, .flags = 0x40};
	static uint8_t buf[4096];
	struct err err = {0};
	union pdu_hdr hdr;
	struct bdev *bdev;
	uint32_t nsid;

	tw_admin_queue(&w, &target.addr);
	for (int i = 0; i < 4; i++)
		tw_send_cmd(&w, &sqe, NULL, 0);
	assert_int_equal(SC(tw_admin(&w, &sqe, NULL, 0, NULL)),
			 NVME_SC_AER_LIMIT);
	nvme_cmd_set_feature(&sqe, 0x0b, 0x11f);
	assert_int_equal(tw_admin(&w, &sqe, NULL, 0, NULL), 0);
	assert_int_equal(bdev_ram_create(NULL, 4096, &bdev, &err), 0);
	nsid = t_target_add_ns(&target, bdev);
	tw_recv(&w, &hdr, NULL, 0);
	assert_int_equal(hdr.resp.cqe.dw0, 0x00040002);
	nvme_cmd_get_log(&sqe, 0x04, 0, 4096);
	assert_int_equal(tw_admin(&w, &sqe, buf, 4096, NULL), 0);
	assert_int_equal(*(uint32_t *)buf, nsid);
	assert_int_equal(tw_admin(&w, &sqe, buf, 4096, NULL), 0);
	assert_int_equal(*(uint32_t *)buf, 0);
	tw_close(&w);
}

static void discovery_log_names_the_subsystem(void **state)
{
	const struct addr *ports[] = {&target.addr, &target.disc_addr};
	static uint8_t buf[4096];
	struct nvmf_discovery_log *log = (void *)buf;
	struct nvme_sqe sqe;
	char want[8];

	snprintf(want, sizeof(want), "%-7u", addr_port(&target.addr));
	for (int i = 0; i < 2; i++) {
		struct t_wire w = {0};

		tw_start(&w, ports[i]);
		assert_int_equal(tw_connect(&w, NVME_DISC_NQN, 0, 0xffff, NULL),
				 0);
		tw_enable(&w);
		nvme_cmd_get_log(&sqe, 0x70, 0, 16);
		assert_int_equal(tw_admin(&w, &sqe, buf, 16, NULL), 0);
		assert_int_equal(log->numrec, 1);
		assert_true(log->genctr > 0);
		nvme_cmd_get_log(&sqe, 0x70, 1024, 1024);
		assert_int_equal(tw_admin(&w, &sqe, buf, 1024, NULL), 0);
		assert_string_equal((char *)buf + 256, T_WIRE_NQN);
		assert_memory_equal(buf + 512, "127.0.0.1 ", 10);
		assert_memory_equal(buf + 32, want, 7);
		nvme_cmd_identify(&sqe, 0x01, 0);
		assert_int_equal(tw_admin(&w, &sqe, buf, 4096, NULL), 0);
		assert_int_equal(buf[111], 2); /* CNTRLTYPE */
		nvme_cmd_identify(&sqe, 0x02, 0);
		assert_int_equal(SC(tw_admin(&w, &sqe, buf, 4096, NULL)),
				 NVME_SC_BAD_FIELD);
		tw_close(&w);
	}
}

/* --- many, and the end --- */

static void two_hundred_connections(void **state)
{
	static struct t_wire admin[20], io[20][9];
	static uint8_t buf[4096];

	for (int a = 0; a < 20; a++) {
		admin[a] = (struct t_wire){0};
		tw_admin_queue(&admin[a], &target.addr);
		for (int q = 0; q < 9; q++) {
			io[a][q] = (struct t_wire){0};
			tw_io_queue(&io[a][q], &target.addr, &admin[a],
				    (uint16_t)(q + 1));
		}
	}
	for (int a = 0; a < 20; a++) {
		for (int q = 0; q < 9; q++) {
			fill(buf, sizeof(buf), (uint8_t)(a * 9 + q));
			assert_int_equal(tw_write(&io[a][q], 1 + q % 2,
						  (uint64_t)(a * 9 + q), buf,
						  4096, q % 3 == 0),
					 0);
		}
	}
	for (int a = 0; a < 20; a++) {
		for (int q = 0; q < 9; q++)
			tw_close(&io[a][q]);
		tw_close(&admin[a]);
	}
}

/* Stopping with connections open, a write half received, events parked. */
static void stop_with_work_under_way(void **state)
{
	struct t_wire admin = {0}, io = {0}, raw = {0};
	struct nvme_sqe sqe = {.opcode = NVME_ADM_AER, .flags = 0x40};
	union pdu_hdr hdr;
	struct pdu_data pdu = {.ch = {.type = PDU_H2C_DATA}, .datal = 4096};
	static uint8_t data[4096];

	tw_admin_queue(&admin, &target.addr);
	tw_io_queue(&io, &target.addr, &admin, 1);
	tw_open(&raw, &target.addr);
	tw_send_cmd(&admin, &sqe, NULL, 0);
	nvme_cmd_rw(&sqe, true, NS_FILE, 0, 2);
	sqe.sgl = (struct nvme_sgl){.len = 8192, .type = NVME_SGL_TRANSPORT};
	tw_send_cmd(&io, &sqe, NULL, 0);
	tw_recv(&io, &hdr, NULL, 0);
	pdu.cccid = sqe.cid;
	pdu.ttag = hdr.r2t.ttag;
	tw_send_pdu(&io, &pdu.ch, data, sizeof(data));
	teardown(state);
	tw_expect_eof(&io);
	tw_expect_eof(&admin);
	tw_expect_eof(&raw);
	tw_close(&io);
	tw_close(&admin);
	tw_close(&raw);
	setup(state);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(reads_what_was_written),
	cmocka_unit_test(flush_is_answered),
	cmocka_unit_test(pipelined_reads),
	cmocka_unit_test(io_is_validated),
	cmocka_unit_test(refused_write_skips_its_data),
	cmocka_unit_test(bad_data_digest_fails_the_write),
	cmocka_unit_test(connect_is_judged),
	cmocka_unit_test(host_has_a_name),
	cmocka_unit_test(disconnect_ends_the_queue),
	cmocka_unit_test(silent_hosts_are_dropped),
	cmocka_unit_test(admin_commands_answer),
	cmocka_unit_test(discovery_log_names_the_subsystem),
	cmocka_unit_test(two_hundred_connections),
	cmocka_unit_test(events_tell_of_namespaces),
	cmocka_unit_test(stop_with_work_under_way),
};

int main(void)
{
	int failed;

	failed = cmocka_run_group_tests_name("control loop only", tests, setup,
					     teardown);
	shard_count = 2;
	failed += cmocka_run_group_tests_name("two shards", tests, setup,
					      teardown);
	return failed ? 1 : 0;
}
