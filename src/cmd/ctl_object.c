/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncakectl get, put, rm: objects.  Bytes go through libmooncake_store,
 * which has threads of its own; this file runs in one.  Invariant: a store
 * that was created is destroyed before the command returns.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"
#include "cmd/ctl.h"
#include "deploy/table.h"
#include "mooncake/store.h"

#define PIECE_BYTES (4u << 20)

/* A client without memory of its own. */
static int store_open(struct ctl *ctl, mooncake_store_t *out, struct err *err)
{
	const char *names[] = {"local_hostname", "metadata_server",
			       "master_server_address", "global_segment_size",
			       "local_buffer_size"};
	const char *values[] = {"localhost", "P2PHANDSHAKE", ctl->config.master,
				"0", "0"};
	mooncake_store_t store = mooncake_store_create();
	int ret;

	*out = NULL;
	if (!store)
		return err_set(err, -ENOMEM, "out of memory");
	term_status("connecting …");
	ret = mooncake_store_setup_config(store, names, values,
					  ARRAY_SIZE(names));
	if (ret) {
		err_set(err, -EIO, "the store could not be opened: %s",
			mooncake_store_setup_error(store));
		mooncake_store_destroy(store);
		return -EIO;
	}
	*out = store;
	return 0;
}

static int fail_code(const char *what, const char *key, int64_t code,
		     struct err *err)
{
	return err_set(err, -EIO, "%s '%.100s' failed: %s (%" PRId64 ")", what,
		       key, mooncake_store_strerror((int)code), code);
}

/* --- get --- */

static int write_value(const char *path, const char *p, size_t n,
		       struct err *err)
{
	bool is_stdout = !*path || strcmp(path, "-") == 0;
	int fd = is_stdout
			 ? STDOUT_FILENO
			 : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
				0666);
	size_t done = 0;
	int ret = 0;

	if (fd < 0)
		return err_set(err, -errno, "cannot write %.100s: %s", path,
			       strerror(errno));
	while (done < n && ret == 0) {
		ssize_t got =
			write(fd, p + done, MIN(n - done, (size_t)PIECE_BYTES));

		if (got > 0)
			done += (size_t)got;
		else if (got < 0 && errno != EINTR)
			ret = err_set(err, -errno, "cannot write %.100s: %s",
				      is_stdout ? "the output" : path,
				      strerror(errno));
		if (!is_stdout && n > PIECE_BYTES)
			term_progress("writing", done, n);
	}
	if (!is_stdout && close(fd) < 0 && ret == 0)
		ret = err_set(err, -errno, "cannot write %.100s: %s", path,
			      strerror(errno));
	return ret;
}

static int run_get(struct ctl *ctl, struct err *err)
{
	const char *key = ctl->args->items[0];
	mooncake_buffer_t value = {0};
	mooncake_store_t store;
	int ret = ctl_check_key(key, err);

	if (ret == 0)
		ret = store_open(ctl, &store, err);
	if (ret < 0)
		return ret;
	term_status("reading %.60s …", key);
	mooncake_store_batch_get_buffer(store, &key, 1, &value);
	term_status(NULL);
	if (value.status == MOONCAKE_OBJECT_NOT_FOUND)
		ret = err_set(err, -ENOENT,
			      "there is no object '%.100s', or its segments "
			      "are offline",
			      key);
	else if (value.status)
		ret = fail_code("reading", key, value.status, err);
	else
		ret = write_value(ctl->config.output, value.ptr, value.size,
				  err);
	mooncake_buffer_free(&value);
	mooncake_store_destroy(store);
	return ret;
}

static const struct flag get_flags[] = {
	{.name = "output",
	 .alias = "o",
	 .type = FLAG_STR,
	 .off = offsetof(struct ctl_config, output),
	 .arg = "FILE",
	 .help = "Write the value into this file instead of stdout."},
	CTL_COMMON_FLAGS,
};

const struct ctl_command ctl_get = {
	.prog = {.name = CTL_NAME " get",
		 .summary = "reads an object",
		 .usage = "KEY [-o FILE] [options]",
		 .examples = "  " CTL_NAME " get greeting -o hello.txt\n",
		 .flags = get_flags,
		 .flag_count = ARRAY_SIZE(get_flags),
		 .args_min = 1,
		 .args_max = 1},
	.run = run_get,
};

/* --- put --- */

static int read_value(const char *path, struct strbuf *out, struct err *err)
{
	bool is_stdin = strcmp(path, "-") == 0;
	int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	char *piece = malloc(PIECE_BYTES);
	struct stat st = {0};
	ssize_t got = 0;
	int ret = 0;

	if (fd < 0)
		ret = err_set(err, -errno, "cannot open %.100s: %s", path,
			      strerror(errno));
	else if (!piece)
		ret = err_set(err, -ENOMEM, "out of memory");
	else
		(void)fstat(fd, &st);
	while (ret == 0 && (got = read(fd, piece, PIECE_BYTES)) > 0) {
		strbuf_add(out, piece, (size_t)got);
		if (st.st_size > PIECE_BYTES)
			term_progress("reading", out->n, (uint64_t)st.st_size);
	}
	if (ret == 0 && got < 0)
		ret = err_set(err, -errno, "cannot read %.100s: %s", path,
			      strerror(errno));
	if (ret == 0 && out->failed)
		ret = err_set(err, -ENOMEM, "%.100s does not fit into memory",
			      path);
	if (ret == 0 && out->n == 0)
		ret = err_set(err, -EINVAL,
			      "%.100s is empty: a value has 1 byte or more",
			      path);
	if (fd >= 0 && !is_stdin)
		close(fd);
	free(piece);
	return ret;
}

static int put_value(struct ctl *ctl, mooncake_store_t store, struct str value,
		     struct err *err)
{
	mooncake_put_opts_t opts = MOONCAKE_PUT_OPTS_INIT;
	const char *key = ctl->args->items[0];
	void *ptr = (void *)(uintptr_t)value.p; /* only read */
	mooncake_pieces_t pieces = {&ptr, &value.n, 1};
	int result = 0, ret;

	/* A put of an existing key keeps the old value and succeeds: right for
	 * engines, a surprise for people. */
	ret = mooncake_store_is_exist(store, key);
	if (ret < 0)
		return fail_code("writing", key, ret, err);
	if (ret == 1)
		return err_set(err, -EEXIST,
			       "'%.60s' exists already and values never "
			       "change; remove it first: " CTL_NAME " rm "
			       "'%.60s'",
			       key, key);
	opts.replica_num = ctl->config.replica_num;
	opts.nof_replica_num = ctl->config.nof_replica_num;
	term_status("writing %.60s …", key);
	ret = mooncake_store_batch_put_pieces(store, &key, &pieces, 1, &opts,
					      &result);
	if (ret == 0)
		ret = result;
	if (ret == MOONCAKE_NO_AVAILABLE_HANDLE)
		return err_set(err, -ENOSPC,
			       "no room for '%.100s' (%d); '" CTL_NAME
			       " segments' shows what there is: each replica "
			       "needs a segment of its own",
			       key, ret);
	if (ret)
		return fail_code("writing", key, ret, err);
	return 0;
}

/* -1 is not asked for. */
static int check_counts(const struct ctl_config *config, struct err *err)
{
	if (config->replica_num || config->nof_replica_num)
		return 0;
	return err_set(err, -EINVAL,
		       "--replica_num=0 and --nof_replica_num=0: nowhere to "
		       "store it");
}

static int run_put(struct ctl *ctl, struct err *err)
{
	const char *key = ctl->args->items[0];
	mooncake_store_t store = NULL;
	struct strbuf value = {0};
	int ret = ctl_check_key(key, err);

	if (ret == 0)
		ret = check_counts(&ctl->config, err);
	if (ret == 0)
		ret = read_value(ctl->args->items[1], &value, err);
	if (ret == 0)
		ret = store_open(ctl, &store, err);
	if (ret == 0)
		ret = put_value(ctl, store, strbuf_str(&value), err);
	if (ret == 0 && ctl->config.json) {
		ret = ctl_print_json(ctl,
				     json_pack("{s:s, s:I}", "key", key, "size",
					       (json_int_t)value.n),
				     err);
	} else if (ret == 0) {
		strbuf_add_size(&ctl->out, value.n);
		strbuf_adds(&ctl->out, " stored as ");
		ctl_add_key(&ctl->out, str_of(key));
		strbuf_addc(&ctl->out, '\n');
	}
	mooncake_store_destroy(store);
	strbuf_fini(&value);
	return ret;
}

static const struct flag put_flags[] = {
	{.name = "replica_num",
	 .type = FLAG_INT,
	 .off = offsetof(struct ctl_config, replica_num),
	 .def = "-1",
	 .min = -1,
	 .max = 64,
	 .arg = "COUNT",
	 .help = "Replicas in memory; -1 leaves it to the master."},
	{.name = "nof_replica_num",
	 .type = FLAG_INT,
	 .off = offsetof(struct ctl_config, nof_replica_num),
	 .def = "-1",
	 .min = -1,
	 .max = 64,
	 .arg = "COUNT",
	 .help = "Replicas on SSDs; -1 leaves it to the master."},
	CTL_COMMON_FLAGS,
};

const struct ctl_command ctl_put = {
	.prog = {.name = CTL_NAME " put",
		 .summary = "stores a file as an object",
		 .usage = "KEY FILE [options]",
		 .details = "FILE is '-' for stdin. An object that exists is "
			    "not changed.",
		 .examples = "  " CTL_NAME " put greeting hello.txt\n"
			     "  date | " CTL_NAME " put now - "
			     "--nof_replica_num=2\n",
		 .flags = put_flags,
		 .flag_count = ARRAY_SIZE(put_flags),
		 .args_min = 2,
		 .args_max = 2},
	.run = run_put,
};

/* --- rm --- */

static int print_removed(struct ctl *ctl, uint64_t count, json_t *failed,
			 struct err *err)
{
	if (ctl->config.json)
		return ctl_print_json(ctl,
				      json_pack("{s:I, s:O}", "removed",
						(json_int_t)count, "failed",
						failed),
				      err);
	strbuf_addf(&ctl->out, "%" PRIu64 " removed\n", count);
	return 0;
}

static void add_failure(struct ctl *ctl, json_t *failed, const char *key,
			int32_t code)
{
	const char *why = status_text((enum mooncake_status)code);

	json_array_append_new(failed, json_pack("{s:s, s:i, s:s}", "key", key,
						"code", code, "message", why));
	if (ctl->config.json)
		return;
	ctl_add_key(&ctl->out, str_of(key));
	strbuf_addf(&ctl->out, ": not removed: %s (%d)%s\n", why, code,
		    code == MOONCAKE_OBJECT_HAS_LEASE
			    ? "; --force removes it all the same"
			    : "");
}

static int remove_keys(struct ctl *ctl, struct err *err)
{
	const struct flag_list *args = ctl->args;
	Mc__RemoveReq req = MC__REMOVE_REQ__INIT;
	json_t *failed = json_array();
	const ProtobufCMessage *msg;
	const Mc__StatusRsp *rsp;
	uint64_t count = 0;
	int ret = 0;

	req.force = ctl->config.force;
	req.keys = calloc(args->count, sizeof(*req.keys));
	if (!req.keys)
		ret = err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < args->count && ret == 0; i++) {
		ret = ctl_check_key(args->items[i], err);
		req.keys[req.n_keys].data = (uint8_t *)args->items[i];
		req.keys[req.n_keys++].len = strlen(args->items[i]);
	}
	if (ret == 0)
		ret = ctl_call(ctl, METHOD_REMOVE, &req.base, &msg, err);
	if (ret == 0) {
		rsp = (const void *)msg;
		for (size_t i = 0; i < args->count && i < rsp->n_status; i++) {
			if (rsp->status[i] == 0)
				count++;
			else
				add_failure(ctl, failed, args->items[i],
					    rsp->status[i]);
		}
		ret = print_removed(ctl, count, failed, err);
		if (ret == 0)
			ret = count < args->count;
	}
	json_decref(failed);
	free(req.keys);
	return ret;
}

static int remove_by_regex(struct ctl *ctl, struct err *err)
{
	Mc__RemoveByRegexReq req = MC__REMOVE_BY_REGEX_REQ__INIT;
	const ProtobufCMessage *msg;
	const Mc__CountRsp *rsp;
	json_t *failed;
	int ret;

	req.pattern = ctl->config.regex;
	req.force = ctl->config.force;
	ret = ctl_call(ctl, METHOD_REMOVE_BY_REGEX, &req.base, &msg, err);
	if (ret < 0)
		return ret;
	rsp = (const void *)msg;
	if (rsp->status)
		return err_set(err, -EINVAL, "%s",
			       *rsp->error ? rsp->error
					   : status_text((enum mooncake_status)
								 rsp->status));
	failed = json_array();
	ret = print_removed(ctl, rsp->count, failed, err);
	json_decref(failed);
	return ret;
}

static int run_rm(struct ctl *ctl, struct err *err)
{
	bool has_regex = *ctl->config.regex;

	if (has_regex == (ctl->args->count > 0))
		return err_set(err, -EINVAL,
			       "give either keys or --regex=PATTERN");
	return has_regex ? remove_by_regex(ctl, err) : remove_keys(ctl, err);
}

static const struct flag rm_flags[] = {
	{.name = "regex",
	 .type = FLAG_STR,
	 .off = offsetof(struct ctl_config, regex),
	 .arg = "PATTERN",
	 .help = "Remove every key in which this regular expression is found; "
		 "^ and $ are its ends."},
	{.name = "force",
	 .alias = "f",
	 .type = FLAG_BOOL,
	 .off = offsetof(struct ctl_config, force),
	 .help = "Also objects that are being read (with a lease)."},
	CTL_COMMON_FLAGS,
};

const struct ctl_command ctl_rm = {
	.prog = {.name = CTL_NAME " rm",
		 .summary = "removes objects",
		 .usage = "KEY… | --regex=PATTERN [options]",
		 .examples = "  " CTL_NAME " rm greeting now\n"
			     "  " CTL_NAME " rm --regex '^model/v1/'\n",
		 .flags = rm_flags,
		 .flag_count = ARRAY_SIZE(rm_flags),
		 .args_max = 65536},
	.run = run_rm,
};
