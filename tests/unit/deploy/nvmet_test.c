/* SPDX-License-Identifier: Apache-2.0 */
/* What is taken back of a kernel's target, on a folder that stands for
 * configfs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "deploy/nvmet.h"

static char dir[] = "/tmp/mooncake-nvmet-XXXXXX";

static int sh(const char *script)
{
	struct strbuf text = {0};
	int ret;

	strbuf_addf(&text, "cd %s || exit 9\n%s", dir, script);
	ret = system(text.p);
	strbuf_fini(&text);
	return ret;
}

/* The script, run in the folder in place of configfs. */
static void run_undo(const struct nvmet_facts *f, const struct nvmet_want *w)
{
	static struct node node = {
		.addr = {"10.0.0.7"}, .addr_count = 1, .trsvcid = 4420};
	static struct deployment d = {.node = &node, .nqn = "nqn.x:a"};
	struct strbuf text = {0};
	char *line;

	nvmet_undo(&d, f, w, &text);
	line = strchr(text.p, '\n');
	assert_non_null(line);
	(void)!sh(line + 1); /* its rmdir fails: files there are real */
	strbuf_fini(&text);
}

static const char tree[] =
	"s=subsystems/nqn.x:a\n"
	"for n in 1 2; do mkdir -p $s/namespaces/$n\n"
	"  echo 1 >$s/namespaces/$n/enable\n"
	"  echo ours >$s/namespaces/$n/device_uuid; done\n"
	"for p in '1 tcp' '2 rdma'; do\n"
	"  mkdir -p ports/${p% *}/subsystems\n"
	"  echo ${p#* } >ports/${p% *}/addr_trtype\n"
	"  echo 10.0.0.7 >ports/${p% *}/addr_traddr\n"
	"  echo 4420 >ports/${p% *}/addr_trsvcid\n"
	"  ln -s ../../../$s ports/${p% *}/subsystems/nqn.x:a; done\n";

/* A namespace that was there before, and a listener of another transport. */
static void test_undo(void **state)
{
	struct nvmet_facts *f = calloc(1, sizeof(*f));
	struct nvmet_want *w = calloc(1, sizeof(*w));

	assert_true(f && w);
	*f = (struct nvmet_facts){
		.has_subsystem = true,
		.ns = {{.nsid = 1, .path = "/dev/a", .uuid = "theirs"}},
		.ns_count = 1,
		.listeners = {"rdma 10.0.0.7 4420"},
		.listener_count = 1,
	};
	*w = (struct nvmet_want){
		.trtype = "tcp",
		.ns = {{.nsid = 1, .is_new = true},
		       {.nsid = 2, .is_new = true}},
		.ns_count = 2,
	};
	assert_int_equal(sh(tree), 0);
	run_undo(f, w);
	assert_int_equal(
		sh("[ $(cat subsystems/nqn.x:a/namespaces/1/enable) = 0 ]"), 0);
	assert_int_equal(sh("[ $(cat "
			    "subsystems/nqn.x:a/namespaces/1/device_uuid) = "
			    "theirs ]"),
			 0);
	assert_int_equal(sh("[ $(cat subsystems/nqn.x:a/namespaces/2/"
			    "device_uuid) = ours ]"),
			 0);
	assert_int_equal(sh("[ ! -e ports/1/subsystems/nqn.x:a ]"), 0);
	assert_int_equal(sh("[ -e ports/2/subsystems/nqn.x:a ]"), 0);
	free(f);
	free(w);
}

/* A port that was there, with nothing linked to it, stays. */
static void test_port_stays(void **state)
{
	struct nvmet_facts *f = calloc(1, sizeof(*f));
	static struct node node = {.addr = {"10.0.0.7", "10.0.0.8"},
				   .addr_count = 2,
				   .trsvcid = 4420};
	static struct deployment d = {.node = &node, .nqn = "nqn.x:a"};
	struct nvmet_want w = {.trtype = "tcp"};
	struct strbuf text = {0};

	assert_non_null(f);
	memcpy(f->ports[0], "tcp 10.0.0.8 4420", 18);
	f->port_count = 1;
	nvmet_undo(&d, f, &w, &text);
	assert_non_null(strstr(text.p, "unlisten goes tcp 10.0.0.7 4420\n"));
	assert_non_null(strstr(text.p, "unlisten stays tcp 10.0.0.8 4420\n"));
	strbuf_fini(&text);
	free(f);
}

/* --- away --- */

static struct node leaving = {.trsvcid = 4420};
static struct deployment gone = {.node = &leaving, .nqn = "nqn.x:a"};

/* As configfs has it: folders go with what the kernel put into them. */
static int run_away(const struct strbuf *script)
{
	struct strbuf text = {0};
	const char *line = strchr(script->p, '\n');
	int ret;

	assert_non_null(line);
	strbuf_addf(&text, "rmdir() { rm -r \"$@\"; }\n%s", line + 1);
	ret = sh(text.p);
	strbuf_fini(&text);
	return ret;
}

static const char more[] =
	"rm -rf ports subsystems hosts; i=1\n"
	"for n in a b; do s=subsystems/nqn.x:$n\n"
	"  mkdir -p $s/namespaces/1 $s/namespaces/2 $s/allowed_hosts\n"
	"  echo 1 >$s/namespaces/1/enable; echo 1 >$s/namespaces/2/enable\n"
	"done\n"
	/* 1: both; 2: ours; 3: another one's that is ours too; 4: not made */
	/* 5: not made, but its text begins as that of 1 */
	"for p in 1 2 3 4 5; do mkdir -p ports/$p/subsystems\n"
	"  echo tcp >ports/$p/addr_trtype; echo ipv4 >ports/$p/addr_adrfam\n"
	"  echo 10.0.0.$p >ports/$p/addr_traddr\n"
	"  echo 4420 >ports/$p/addr_trsvcid; done\n"
	"echo 10.0.0.1 >ports/5/addr_traddr\n"
	"echo 442 >ports/5/addr_trsvcid\n"
	"ln -s ../../../subsystems/nqn.x:a ports/1/subsystems/nqn.x:a\n"
	"ln -s ../../../subsystems/nqn.x:b ports/1/subsystems/nqn.x:b\n"
	"ln -s ../../../subsystems/nqn.x:a ports/2/subsystems/nqn.x:a\n"
	"ln -s ../../../subsystems/nqn.x:a ports/4/subsystems/nqn.x:a\n"
	"mkdir -p hosts/nqn.h:1 hosts/nqn.h:2\n"
	"for h in 1 2; do ln -s ../../../hosts/nqn.h:$h \\\n"
	"  subsystems/nqn.x:a/allowed_hosts/nqn.h:$h; done\n"
	"cat >made <<'END'\nns 1 '/dev/a' u1\nns 2 '/dev/b' u2\n"
	"host nqn.h:1 /k/1 /k/1-ctrl\n"
	"listen tcp ipv4 10.0.0.1 4420\nlisten tcp ipv4 10.0.0.2 4420\nEND\n";

/* What was made goes, with what nobody else uses of it. */
static void test_all_away(void **state)
{
	struct strbuf text = {0};
	char file[64];

	assert_int_equal(sh(more), 0);
	snprintf(file, sizeof(file), "%s/made", dir);
	nvmet_remove_all(&gone, file, &text);
	assert_int_equal(run_away(&text), 0);
	assert_int_equal(sh("[ ! -e subsystems/nqn.x:a ]"), 0);
	assert_int_equal(sh("[ $(ls subsystems/nqn.x:b/namespaces | wc -l) = "
			    "2 ]"),
			 0);
	assert_int_equal(sh("[ $(ls ports | tr -d '\\n') = 1345 ]"), 0);
	assert_int_equal(sh("[ -e ports/1/subsystems/nqn.x:b ]"), 0);
	assert_int_equal(sh("[ -z \"$(ls ports/4/subsystems)\" ]"), 0);
	assert_int_equal(sh("[ $(ls hosts) = nqn.h:2 ]"), 0);
	/* Cut short, it leaves a script that exports no disk. */
	assert_int_equal(sh("! grep -q ^ns made"), 0);
	assert_int_equal(sh("grep -q ^listen made"), 0);
	strbuf_fini(&text);
}

/* One disk of two: it leaves the kernel and what is run at boots. */
static void test_one_away(void **state)
{
	struct nvmet_facts *f = calloc(1, sizeof(*f));
	struct strbuf text = {0};
	char file[64];

	assert_non_null(f);
	assert_int_equal(sh(more), 0);
	snprintf(file, sizeof(file), "%s/made", dir);
	f->ns_count = 2;
	f->ns[0] = (struct known_ns){.nsid = 1, .path = "/dev/a"};
	f->ns[1] = (struct known_ns){
		.nsid = 2, .is_in_script = true, .path = "/dev/b"};
	leaving.disk_count = 1;
	memcpy(leaving.disk[0], "/dev/b", 7);
	nvmet_remove_some(&gone, f, file, &text);
	leaving.disk_count = 0;
	assert_int_equal(run_away(&text), 0);
	assert_int_equal(sh("[ $(ls subsystems/nqn.x:a/namespaces) = 1 ]"), 0);
	assert_int_equal(sh("[ \"$(grep ^ns made)\" = \"ns 1 '/dev/a' u1\" ]"),
			 0);
	assert_int_equal(sh("[ $(grep -c ^listen made) = 2 ]"), 0);
	strbuf_fini(&text);
	free(f);
}

/* It does not come back at a boot when the kernel's part fails. */
static void test_script_first(void **state)
{
	struct nvmet_facts *f = calloc(1, sizeof(*f));
	struct strbuf text = {0};
	char file[64];

	assert_non_null(f);
	assert_int_equal(sh(more), 0);
	assert_int_equal(sh("rm -r subsystems/nqn.x:a/namespaces/2"), 0);
	snprintf(file, sizeof(file), "%s/made", dir);
	f->ns_count = 1;
	f->ns[0] = (struct known_ns){
		.nsid = 2, .is_in_script = true, .path = "/dev/b"};
	nvmet_remove_some(&gone, f, file, &text);
	assert_int_not_equal(run_away(&text), 0);
	assert_int_equal(sh("[ \"$(grep ^ns made)\" = \"ns 1 '/dev/a' u1\" ]"),
			 0);
	strbuf_fini(&text);
	free(f);
}

/* What is exported at boots counts where the kernel has less. */
static void test_script_is_taken(void **state)
{
	struct nvmet_facts *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->ns_count = 1;
	f->ns[0] = (struct known_ns){.nsid = 1, .path = "/dev/a"};
	assert_int_equal(
		nvmet_take_script(f, STR("#!/bin/sh\nns() { # nsid\n"
					 "ns 1 '/dev/a' u1\n"
					 "ns 2 '/dev/it'\\''s b' u2\n"
					 "ns 3 broken\nnsx 4 '/d' u\n")),
		3);
	assert_int_equal(f->ns_count, 3);
	assert_true(f->ns[0].is_in_script && !f->ns[0].is_in_script_only);
	assert_true(f->ns[1].is_in_script_only);
	assert_int_equal(f->ns[1].nsid, 2);
	assert_string_equal(f->ns[1].path, "/dev/it's b");
	assert_string_equal(f->ns[2].path, "");
	free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_undo),
		cmocka_unit_test(test_port_stays),
		cmocka_unit_test(test_all_away),
		cmocka_unit_test(test_one_away),
		cmocka_unit_test(test_script_first),
		cmocka_unit_test(test_script_is_taken),
	};
	char cmd[64];
	int ret;

	if (!mkdtemp(dir))
		return 1;
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd) ? 1 : ret;
}
