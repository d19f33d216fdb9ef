/* SPDX-License-Identifier: Apache-2.0 */
/* Reservations: the rules one by one, then at random against a small model
 * that was written from the specification's tables, without the code. */
#include "target/resv.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "nvme/cmd.h"
#include "t_rand.h"

#define HOSTS 4
#define SC(x) ((x)&NVME_SC_MASK)

static struct resv r;
static struct resv_notes notes;

static const uint8_t *host_id(unsigned host)
{
	static const uint8_t ids[HOSTS + 1][RESV_HOSTID_LEN] = {
		{1}, {2}, {3}, {4}, {5}};

	return ids[host];
}

static int setup(void **state)
{
	resv_init(&r);
	return 0;
}

static uint16_t reg(unsigned host, unsigned action, uint64_t key, uint64_t new)
{
	struct resv_cmd cmd = {.hostid = host_id(host),
			       .action = (uint8_t)action,
			       .key = key,
			       .other_key = new};

	return SC(resv_register(&r, &cmd, &notes));
}

static uint16_t acq(unsigned host, unsigned action, unsigned type, uint64_t key,
		    uint64_t other)
{
	struct resv_cmd cmd = {.hostid = host_id(host),
			       .action = (uint8_t)action,
			       .type = (uint8_t)type,
			       .key = key,
			       .other_key = other};

	return SC(resv_acquire(&r, &cmd, &notes));
}

static uint16_t rel(unsigned host, unsigned action, unsigned type, uint64_t key)
{
	struct resv_cmd cmd = {.hostid = host_id(host),
			       .action = (uint8_t)action,
			       .type = (uint8_t)type,
			       .key = key};

	return SC(resv_release(&r, &cmd, &notes));
}

static void may(unsigned host, bool read, bool write)
{
	struct resv_rights rights = resv_rights(&r, host_id(host));

	assert_int_equal(rights.may_read, read);
	assert_int_equal(rights.may_write, write);
	assert_int_equal(rights.version, resv_version(&r));
}

static void told(unsigned i, unsigned host, enum resv_event event)
{
	assert_true(i < notes.count);
	assert_memory_equal(notes.notes[i].hostid, host_id(host),
			    RESV_HOSTID_LEN);
	assert_int_equal(notes.notes[i].event, event);
}

/* Base 2.0 figure 479: holder, other registrant, nobody. */
static void six_types(void **state)
{
	static const struct {
		bool reg_read, reg_write, any_read, any_write;
	} rules[RESV_TYPES] = {
		[RESV_WRITE_EXCL] = {true, false, true, false},
		[RESV_EXCL] = {false, false, false, false},
		[RESV_WRITE_EXCL_REG] = {true, true, true, false},
		[RESV_EXCL_REG] = {true, true, false, false},
		[RESV_WRITE_EXCL_ALL] = {true, true, true, false},
		[RESV_EXCL_ALL] = {true, true, false, false},
	};

	assert_int_equal(reg(0, RESV_REGISTER, 0, 10), 0);
	assert_int_equal(reg(1, RESV_REGISTER, 0, 11), 0);
	may(2, true, true); /* registrations alone forbid nothing */
	for (unsigned t = 1; t < RESV_TYPES; t++) {
		assert_int_equal(acq(0, RESV_ACQUIRE, t, 10, 0), 0);
		may(0, true, true);
		may(1, rules[t].reg_read, rules[t].reg_write);
		may(2, rules[t].any_read, rules[t].any_write);
		assert_int_equal(rel(0, RESV_RELEASE, t, 10), 0);
		assert_int_equal(notes.count, t >= RESV_WRITE_EXCL_REG);
		may(2, true, true);
	}
}

static void register_is_judged(void **state)
{
	struct resv_cmd cmd = {.hostid = host_id(0), .other_key = 10};

	assert_int_equal(reg(0, RESV_REGISTER, 0, 0), NVME_SC_BAD_FIELD);
	assert_int_equal(reg(0, RESV_UNREGISTER, 0, 0), NVME_SC_RESV_CONFLICT);
	assert_int_equal(reg(0, RESV_REPLACE, 0, 5), NVME_SC_RESV_CONFLICT);
	assert_int_equal(r.gen, 0);
	assert_int_equal(reg(0, RESV_REGISTER, 0, 10), 0);
	assert_int_equal(reg(0, RESV_REGISTER, 0, 10), 0); /* the same */
	assert_int_equal(reg(0, RESV_REGISTER, 0, 11), NVME_SC_RESV_CONFLICT);
	assert_int_equal(r.gen, 2);
	assert_int_equal(reg(0, RESV_REPLACE, 9, 12), NVME_SC_RESV_CONFLICT);
	assert_int_equal(reg(0, RESV_REPLACE, 10, 0), NVME_SC_BAD_FIELD);
	assert_int_equal(reg(0, RESV_REPLACE, 10, 12), 0);
	assert_int_equal(reg(0, 3, 12, 12), NVME_SC_BAD_FIELD);
	cmd.persist = 3; /* would have to outlive the target */
	assert_int_equal(SC(resv_register(&r, &cmd, &notes)),
			 NVME_SC_BAD_FIELD);
	cmd = (struct resv_cmd){.hostid = host_id(0),
				.action = RESV_UNREGISTER,
				.is_key_ignored = true};
	assert_int_equal(SC(resv_register(&r, &cmd, &notes)), 0);
	assert_int_equal(r.count, 0);
}

static void persistence_is_asked_for(void **state)
{
	struct resv_cmd cmd = {
		.hostid = host_id(0), .other_key = 10, .can_persist = true};
	struct resv_state kept;

	assert_false(resv_state_get(&r, &kept));
	cmd.persist = 1; /* reserved */
	assert_int_equal(SC(resv_register(&r, &cmd, &notes)),
			 NVME_SC_BAD_FIELD);
	cmd.persist = 3;
	assert_int_equal(resv_register(&r, &cmd, &notes), 0);
	assert_true(resv_is_persistent(&r));
	cmd.persist = 0; /* as it is */
	assert_int_equal(resv_register(&r, &cmd, &notes), 0);
	assert_true(resv_is_persistent(&r));
	cmd.persist = 2;
	cmd.other_key = 11; /* refused: nothing changes */
	assert_int_equal(SC(resv_register(&r, &cmd, &notes)),
			 NVME_SC_RESV_CONFLICT);
	assert_true(resv_is_persistent(&r));
	cmd.other_key = 10;
	assert_int_equal(resv_register(&r, &cmd, &notes), 0);
	assert_false(resv_is_persistent(&r));
}

static void what_is_kept_is_judged(void **state)
{
	struct resv_state kept, bad;

	reg(0, RESV_REGISTER, 0, 10);
	reg(1, RESV_REGISTER, 0, 11);
	acq(1, RESV_ACQUIRE, RESV_WRITE_EXCL, 11, 0);
	resv_persist_set(&r, true);
	assert_true(resv_state_get(&r, &kept));
	assert_int_equal(resv_state_set(&r, &kept), -EEXIST);
	resv_init(&r);
	bad = kept;
	bad.type = RESV_TYPES;
	assert_int_equal(resv_state_set(&r, &bad), -EINVAL);
	bad = kept;
	bad.holder[0] = 9; /* is not registered */
	assert_int_equal(resv_state_set(&r, &bad), -EINVAL);
	bad = kept;
	bad.hosts[1] = bad.hosts[0];
	assert_int_equal(resv_state_set(&r, &bad), -EINVAL);
	bad = kept;
	bad.hosts[0].key = 0;
	assert_int_equal(resv_state_set(&r, &bad), -EINVAL);
	bad = kept;
	bad.count = RESV_HOST_MAX + 1;
	assert_int_equal(resv_state_set(&r, &bad), -EINVAL);
	assert_int_equal(resv_version(&r), 0);
	assert_int_equal(resv_state_set(&r, &kept), 0);
	assert_true(resv_version(&r) != 0);
	assert_int_equal(r.gen, 2);
	assert_false(resv_rights(&r, host_id(0)).may_write);
	assert_true(resv_rights(&r, host_id(1)).may_write);
}

static void registrants_are_limited(void **state)
{
	uint8_t id[RESV_HOSTID_LEN] = {0};
	struct resv_cmd cmd = {.hostid = id, .other_key = 7};
	uint8_t out[RESV_REPORT_MAX];

	for (unsigned i = 0; i < RESV_HOST_MAX; i++) {
		id[0] = (uint8_t)i;
		assert_int_equal(resv_register(&r, &cmd, &notes), 0);
	}
	id[0] = RESV_HOST_MAX;
	assert_int_equal(SC(resv_register(&r, &cmd, &notes)),
			 NVME_SC_CAP_EXCEEDED);
	assert_int_equal(resv_report(&r, out), RESV_REPORT_MAX);
	/* One who preempts all the others: nobody is told twice. */
	id[0] = 0;
	cmd = (struct resv_cmd){.hostid = id, .type = RESV_EXCL_ALL, .key = 7};
	assert_int_equal(resv_acquire(&r, &cmd, &notes), 0);
	cmd.action = RESV_PREEMPT;
	cmd.type = RESV_EXCL;
	assert_int_equal(resv_acquire(&r, &cmd, &notes), 0);
	assert_int_equal(notes.count, RESV_HOST_MAX - 1);
	assert_int_equal(r.count, 1);
}

static void acquire_and_preempt(void **state)
{
	uint64_t version;

	assert_int_equal(acq(0, RESV_ACQUIRE, 1, 10, 0), NVME_SC_RESV_CONFLICT);
	reg(0, RESV_REGISTER, 0, 10);
	reg(1, RESV_REGISTER, 0, 11);
	reg(2, RESV_REGISTER, 0, 11);
	assert_int_equal(acq(0, RESV_ACQUIRE, 1, 99, 0), NVME_SC_RESV_CONFLICT);
	assert_int_equal(acq(0, RESV_ACQUIRE, 0, 10, 0), NVME_SC_BAD_FIELD);
	assert_int_equal(acq(0, RESV_ACQUIRE, 7, 10, 0), NVME_SC_BAD_FIELD);
	assert_int_equal(acq(0, 3, 1, 10, 0), NVME_SC_BAD_FIELD);
	assert_int_equal(resv_version(&r), 0);
	assert_int_equal(acq(0, RESV_ACQUIRE, RESV_WRITE_EXCL, 10, 0), 0);
	version = resv_version(&r);
	assert_true(version > 0);
	assert_int_equal(acq(0, RESV_ACQUIRE, RESV_WRITE_EXCL, 10, 0), 0);
	assert_int_equal(acq(0, RESV_ACQUIRE, RESV_EXCL, 10, 0),
			 NVME_SC_RESV_CONFLICT);
	assert_int_equal(acq(1, RESV_ACQUIRE, RESV_WRITE_EXCL, 11, 0),
			 NVME_SC_RESV_CONFLICT);
	/* key that nobody has; key 0 when not all hold it */
	assert_int_equal(acq(1, RESV_PREEMPT, 1, 11, 99),
			 NVME_SC_RESV_CONFLICT);
	assert_int_equal(acq(1, RESV_PREEMPT, 1, 11, 0), NVME_SC_BAD_FIELD);
	/* takes it from host 0, who is out */
	assert_int_equal(acq(1, RESV_PREEMPT, RESV_EXCL, 11, 10), 0);
	assert_int_equal(notes.count, 2);
	told(0, 0, RESV_EVENT_REGISTRATION_PREEMPTED);
	told(1, 0, RESV_EVENT_PREEMPTED);
	assert_true(resv_version(&r) > version);
	may(0, false, false);
	may(1, true, true);
	may(2, false, false);
	/* its own key, which host 2 has as well: who asks stays */
	assert_int_equal(acq(1, RESV_PREEMPT_ABORT, RESV_EXCL_REG, 11, 11), 0);
	assert_int_equal(notes.count, 1);
	told(0, 2, RESV_EVENT_REGISTRATION_PREEMPTED);
	assert_int_equal(r.type, RESV_EXCL_REG);
	/* the holder leaves, and with it the reservation */
	reg(0, RESV_REGISTER, 0, 10);
	assert_int_equal(reg(1, RESV_UNREGISTER, 11, 0), 0);
	told(0, 0, RESV_EVENT_RELEASED);
	assert_int_equal(r.type, RESV_NONE);
}

static void release_and_clear(void **state)
{
	reg(0, RESV_REGISTER, 0, 10);
	reg(1, RESV_REGISTER, 0, 11);
	acq(0, RESV_ACQUIRE, RESV_EXCL_REG, 10, 0);
	assert_int_equal(rel(2, RESV_RELEASE, 4, 0), NVME_SC_RESV_CONFLICT);
	assert_int_equal(rel(1, RESV_RELEASE, 4, 11), 0); /* not the holder */
	assert_int_equal(r.type, RESV_EXCL_REG);
	assert_int_equal(rel(0, RESV_RELEASE, 1, 10), NVME_SC_BAD_FIELD);
	assert_int_equal(rel(0, 2, 4, 10), NVME_SC_BAD_FIELD);
	assert_int_equal(rel(1, RESV_CLEAR, 0, 11), 0);
	assert_int_equal(notes.count, 1);
	told(0, 0, RESV_EVENT_PREEMPTED);
	assert_int_equal(r.count, 0);
	assert_int_equal(resv_version(&r), 0);
}

static void report_bytes(void **state)
{
	uint8_t out[RESV_REPORT_MAX];

	reg(0, RESV_REGISTER, 0, 0x0102030405060708);
	reg(1, RESV_REGISTER, 0, 11);
	acq(1, RESV_ACQUIRE, RESV_WRITE_EXCL, 11, 0);
	assert_int_equal(resv_report(&r, out), 64 + 2 * 64);
	assert_int_equal(out[0], 2);	 /* GEN */
	assert_int_equal(out[4], 1);	 /* RTYPE */
	assert_int_equal(out[5], 2);	 /* REGCTL */
	assert_int_equal(out[9], 0);	 /* PTPLS */
	assert_int_equal(out[64], 0xff); /* CNTLID */
	assert_int_equal(out[65], 0xff);
	assert_int_equal(out[66], 0); /* RCSTS */
	assert_int_equal(out[72], 8); /* RKEY */
	assert_int_equal(out[79], 1);
	assert_int_equal(out[80], 1); /* HOSTID */
	assert_int_equal(out[128 + 2], 1);
	assert_int_equal(out[128 + 16], 2);
}

/* --- at random --- */

/* The model: a key per host (0 = none), a type, and who holds it. */
static struct {
	uint64_t key[HOSTS];
	unsigned type, holder;
} m;

static bool m_all(void)
{
	return m.type == 5 || m.type == 6;
}

static bool m_holds(unsigned host)
{
	return m.type && (m_all() ? m.key[host] != 0 : m.holder == host);
}

static void m_drop(unsigned host)
{
	bool was = m_holds(host);
	bool any = false;

	m.key[host] = 0;
	for (unsigned i = 0; i < HOSTS; i++)
		any |= m.key[i] != 0;
	if (was && (!m_all() || !any))
		m.type = 0;
}

static bool m_preempt(unsigned host, unsigned type, uint64_t other)
{
	bool takes = m_all() ? other == 0 : m.type && m.key[m.holder] == other;
	bool found = false;

	if (!takes && other == 0)
		return false;
	for (unsigned i = 0; i < HOSTS; i++) {
		if (!m.key[i] || (other && m.key[i] != other))
			continue;
		found = true;
		if (i != host)
			m.key[i] = 0;
	}
	if (found && takes) {
		m.type = type;
		m.holder = host;
	}
	return found;
}

static bool m_step(unsigned what, unsigned host, unsigned type, uint64_t key,
		   uint64_t other)
{
	switch (what) {
	case 0: /* register */
		if (m.key[host] && m.key[host] != other)
			return false;
		m.key[host] = other;
		return true;
	case 1: /* unregister */
		if (!m.key[host] || m.key[host] != key)
			return false;
		m_drop(host);
		return true;
	case 2: /* acquire */
		if (!m.key[host] || m.key[host] != key ||
		    (m.type && (!m_holds(host) || m.type != type)))
			return false;
		if (!m.type)
			m.holder = host;
		m.type = type;
		return true;
	case 3: /* preempt */
		return m.key[host] && m.key[host] == key &&
		       m_preempt(host, type, other);
	default: /* release */
		if (!m.key[host] || m.key[host] != key ||
		    (m_holds(host) && m.type != type))
			return false;
		if (m_holds(host))
			m.type = 0;
		return true;
	}
}

static uint16_t real_step(unsigned what, unsigned host, unsigned type,
			  uint64_t key, uint64_t other)
{
	switch (what) {
	case 0:
		return reg(host, RESV_REGISTER, 0, other);
	case 1:
		return reg(host, RESV_UNREGISTER, key, 0);
	case 2:
		return acq(host, RESV_ACQUIRE, type, key, 0);
	case 3:
		return acq(host, RESV_PREEMPT, type, key, other);
	default:
		return rel(host, RESV_RELEASE, type, key);
	}
}

static void m_compare(void)
{
	for (unsigned h = 0; h < HOSTS; h++) {
		bool is_reg = m.key[h] != 0;
		bool write = !m.type || m_holds(h) || (m.type >= 3 && is_reg);
		bool read = write || m.type == 1 || m.type == 3 || m.type == 5;

		may(h, read, write);
	}
	assert_int_equal(r.type, m.type);
	assert_int_equal(resv_version(&r) != 0, m.type != 0);
}

static void behaves_like_the_model(void **state)
{
	struct rng rnd = t_rng(1);

	for (unsigned i = 0; i < 20000; i++) {
		unsigned what = (unsigned)rng_below(&rnd, 5);
		unsigned host = (unsigned)rng_below(&rnd, HOSTS);
		unsigned type = 1 + (unsigned)rng_below(&rnd, 6);
		/* few keys, so that hosts share them; mostly the right one */
		uint64_t key = rng_below(&rnd, 4) ? m.key[host] : 9;
		uint64_t other = rng_below(&rnd, what == 3 ? 4 : 3);
		bool is_ok;

		if (what == 0)
			other++;
		is_ok = m_step(what, host, type, key, other);
		if ((real_step(what, host, type, key, other) == 0) != is_ok)
			fail_msg("step %u: what=%u host=%u", i, what, host);
		m_compare();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(six_types, setup),
		cmocka_unit_test_setup(register_is_judged, setup),
		cmocka_unit_test_setup(persistence_is_asked_for, setup),
		cmocka_unit_test_setup(what_is_kept_is_judged, setup),
		cmocka_unit_test_setup(registrants_are_limited, setup),
		cmocka_unit_test_setup(acquire_and_preempt, setup),
		cmocka_unit_test_setup(release_and_clear, setup),
		cmocka_unit_test_setup(report_bytes, setup),
		cmocka_unit_test_setup(behaves_like_the_model, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
