/* SPDX-License-Identifier: Apache-2.0 */
/* Offsets are written as numbers here, from the specification, so that they
 * don't come from the same header as the code. */
#include "target/ident.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static uint8_t buf[IDENT_BYTES];

static uint32_t u32(unsigned off)
{
	uint32_t v;

	memcpy(&v, buf + off, sizeof(v));
	return v;
}

static void controller_bytes(void **state)
{
	struct ident_ctrl in = {.nqn = "nqn.2026-11.io.mooncake:t",
				.serial = "S1",
				.model = IDENT_MODEL,
				.cntlid = 0x1234,
				.max_transfer = 1 << 20,
				.in_capsule = 16384,
				.depth = 128,
				.ns_max = 256};

	ident_ctrl(&in, buf);
	assert_memory_equal(buf + 4, "S1                  ", 20);
	assert_int_equal(buf[77], 8); /* MDTS: 4 KiB << 8 */
	assert_int_equal(buf[78] | buf[79] << 8, 0x1234);
	assert_int_equal(u32(80), 0x00010400);	       /* VER */
	assert_int_equal(buf[111], 1);		       /* CNTRLTYPE: I/O */
	assert_int_equal(buf[320] | buf[321] << 8, 1); /* KAS */
	assert_int_equal(buf[512], 0x66);
	assert_int_equal(buf[513], 0x44);
	assert_int_equal(buf[514] | buf[515] << 8, 128);  /* MAXCMD */
	assert_int_equal(u32(516), 256);		  /* NN */
	assert_int_equal(buf[520] | buf[521] << 8, 0xbd); /* ONCS */
	assert_int_equal(buf[522] | buf[523] << 8, 0);	  /* FUSES */
	assert_int_equal(buf[525], 0x4);		  /* VWC */
	assert_int_equal(u32(536), 0x100005);		  /* SGLS */
	assert_string_equal((char *)buf + 768, in.nqn);
	assert_int_equal(u32(1792), (16384 + 64) / 16); /* IOCCSZ */
	assert_int_equal(u32(1796), 1);			/* IORCSZ */
	assert_int_equal(buf[1803], 1);			/* MSDBD */
	in.has_write_cache = true;
	in.max_transfer = 128 << 10;
	ident_ctrl(&in, buf);
	assert_int_equal(buf[525], 0x5);
	assert_int_equal(buf[77], 5);
	in.is_discovery = true;
	ident_ctrl(&in, buf);
	assert_int_equal(buf[111], 2);
	assert_int_equal(buf[512], 0); /* no I/O queues */
	assert_int_equal(u32(516), 0);
}

static void namespace_bytes(void **state)
{
	struct ident_ns in = {.blocks = 0x123456789, .lba_shift = 12};
	uint64_t nsze;

	memset(in.uuid.b, 0xab, sizeof(in.uuid.b));
	memset(in.nguid.b, 0xcd, sizeof(in.nguid.b));
	ident_ns(&in, buf);
	memcpy(&nsze, buf, sizeof(nsze));
	assert_int_equal(nsze, in.blocks);
	assert_int_equal(buf[30], 1);			/* NMIC */
	assert_int_equal(u32(128) >> 16 & 0xff, 12);	/* LBADS */
	assert_memory_equal(buf + 104, in.nguid.b, 16); /* NGUID */
	ident_ns_descs(&in, buf);
	assert_int_equal(buf[0], 2);
	assert_memory_equal(buf + 4, in.nguid.b, 16);
	assert_int_equal(buf[20], 3);
	assert_memory_equal(buf + 24, in.uuid.b, 16);
	assert_int_equal(buf[40], 4); /* CSI */
	assert_int_equal(buf[41], 1);
	assert_int_equal(buf[45], 0); /* the end */
	memset(in.eui64, 0xef, sizeof(in.eui64));
	ident_ns(&in, buf);
	assert_memory_equal(buf + 120, in.eui64, 8);
	ident_ns_descs(&in, buf);
	assert_int_equal(buf[0], 1);
	assert_int_equal(buf[1], 8);
	assert_memory_equal(buf + 4, in.eui64, 8);
	assert_int_equal(buf[12], 2);
}

/* What the back end prefers and can do. */
static void namespace_hints(void **state)
{
	struct ident_ns in = {.blocks = 1000,
			      .used_bytes = 40 * 512,
			      .lba_shift = 9,
			      .is_readonly = true,
			      .can_unmap = true,
			      .unmap_zeroes = true,
			      .write_unit = 4096,
			      .unmap_unit = 65536};
	uint64_t nuse;

	ident_ns(&in, buf);
	memcpy(&nuse, buf + 16, sizeof(nuse));
	assert_int_equal(nuse, 40);
	assert_int_equal(buf[24], 0x11);	       /* NSFEAT */
	assert_int_equal(buf[31], 0xfe);	       /* RESCAP */
	assert_int_equal(buf[33], 0x09);	       /* DLFEAT */
	assert_int_equal(buf[64] | buf[65] << 8, 7);   /* NPWG */
	assert_int_equal(buf[66] | buf[67] << 8, 7);   /* NPWA */
	assert_int_equal(buf[68] | buf[69] << 8, 127); /* NPDG */
	assert_int_equal(buf[70] | buf[71] << 8, 127); /* NPDA */
	assert_int_equal(buf[72] | buf[73] << 8, 7);   /* NOWS */
	assert_int_equal(buf[99], 1);		       /* NSATTR */
	ident_ns_common(&in, buf);
	assert_int_equal(buf[0], 1);
	assert_int_equal(buf[8], 1);
	in = (struct ident_ns){
		.blocks = 8, .lba_shift = 12, .used_bytes = UINT64_MAX};
	ident_ns(&in, buf);
	assert_int_equal(buf[16], 8);
	assert_int_equal(buf[24] | buf[33] | buf[64] | buf[99], 0);
	ident_ctrl_nvm_set(1 << 20, buf);
	assert_int_equal(buf[0], 8);  /* VSL */
	assert_int_equal(buf[1], 13); /* WZSL */
}

static void log_bytes(void **state)
{
	struct ident_smart smart = {.bytes_read = 512000 * 3ull,
				    .writes = 0x0102};
	uint32_t nsids[] = {3, 9};

	assert_int_equal(ident_log_smart(&smart, buf), 512);
	assert_int_equal(buf[32], 3);	 /* data units read */
	assert_int_equal(buf[80], 0x02); /* host write commands */
	assert_int_equal(ident_log_effects(buf), 4096);
	assert_int_equal(buf[0x06 * 4], 1);
	assert_int_equal(buf[1024 + 4], 3);
	assert_int_equal(buf[1024 + 0x04 * 4], 0); /* Write Uncorrectable */
	assert_int_equal(buf[1024 + 0x08 * 4], 3);
	assert_int_equal(buf[1024 + 0x05 * 4], 1);
	assert_int_equal(ident_log_changed_ns(nsids, 2, buf), 4096);
	assert_int_equal(u32(0), 3);
	assert_int_equal(u32(4), 9);
	assert_int_equal(u32(8), 0);
	assert_int_equal(ident_log_firmware(buf), 512);
	assert_int_equal(buf[0], 1);
}

static void discovery_bytes(void **state)
{
	struct ident_disc in = {.nqn = "nqn.2026-11.io.mooncake:t",
				.traddr = "fd00::1",
				.port = 4420,
				.port_id = 2,
				.is_ipv6 = true};

	ident_disc_entry(&in, buf);
	assert_int_equal(buf[0], 3);
	assert_int_equal(buf[1], 2);
	assert_int_equal(buf[2], 2);
	assert_int_equal(buf[4], 2);
	assert_int_equal(buf[6] | buf[7] << 8, 0xffff);
	assert_memory_equal(buf + 32, "4420    ", 8);
	assert_string_equal((char *)buf + 256, in.nqn);
	assert_memory_equal(buf + 512, "fd00::1   ", 10);
}

static void uuids_are_stable_and_distinct(void **state)
{
	struct uuid a, b, c, d;

	ident_uuid("nqn.x", 1, "/disk", &a);
	ident_uuid("nqn.x", 1, "/disk", &b);
	ident_uuid("nqn.x", 2, "/disk", &c);
	ident_uuid("nqn.x", 1, "/disk2", &d);
	assert_true(uuid_eq(&a, &b));
	assert_false(uuid_eq(&a, &c));
	assert_false(uuid_eq(&a, &d));
	assert_int_equal(a.b[6] >> 4, 8);
	assert_int_equal(a.b[8] >> 6, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(controller_bytes),
		cmocka_unit_test(namespace_bytes),
		cmocka_unit_test(namespace_hints),
		cmocka_unit_test(log_bytes),
		cmocka_unit_test(discovery_bytes),
		cmocka_unit_test(uuids_are_stable_and_distinct),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
