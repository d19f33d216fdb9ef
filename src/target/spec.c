/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Namespace specifications as people write them.  Set-up only; never on a
 * loop that serves, because files are opened here.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"
#include "target/bdev.h"

static int spec_size(struct str spec, struct str text, uint64_t *out,
		     struct err *err)
{
	int ret = str_to_size(text, out);

	if (ret)
		return err_set(err, ret,
			       "namespace '" STR_FMT "': '" STR_FMT
			       "' is not a size (write 512m, 10g, …)",
			       STR_ARG(spec), STR_ARG(text));
	if (*out == 0 || *out % 4096)
		return err_set(err, -EINVAL,
			       "namespace '" STR_FMT
			       "': the size must be a multiple of 4096 bytes",
			       STR_ARG(spec));
	return 0;
}

/* "ram:" and "null:" */
static int spec_memory(struct str spec, size_t prefix, struct bdev **out,
		       struct err *err)
{
	struct str text = {spec.p + prefix, spec.n - (uint32_t)prefix};
	uint64_t size;
	int ret = spec_size(spec, text, &size, err);

	if (ret)
		return ret;
	if (spec.p[0] == 'r')
		ret = bdev_ram_create(NULL, size, out, err);
	else
		ret = bdev_null_create(size, 0, out, err);
	if (!ret)
		snprintf((*out)->name, sizeof((*out)->name), STR_FMT,
			 STR_ARG(spec));
	return ret;
}

/* A ":size" at the end creates the file when it is absent. */
static int spec_file(struct str spec, struct bdev **out, struct err *err)
{
	struct bdev_file_opts opts = {0};
	char *path = str_dup(spec);
	char *colon = path ? strrchr(path, ':') : NULL;
	int ret = 0;

	if (!path)
		return err_set(err, -ENOMEM, "out of memory");
	opts.path = path;
	if (colon && colon[1] >= '0' && colon[1] <= '9') {
		ret = spec_size(spec, str_of(colon + 1), &opts.create_size,
				err);
		*colon = '\0';
	}
	if (!ret)
		ret = bdev_file_create(&opts, out, err);
	free(path);
	return ret;
}

int bdev_from_spec(const char *spec, struct bdev **out, struct err *err)
{
	struct str s = str_of(spec);

	*out = NULL;
	if (str_has_prefix(s, STR("ram:")))
		return spec_memory(s, 4, out, err);
	if (str_has_prefix(s, STR("null:")))
		return spec_memory(s, 5, out, err);
	if (s.n == 0)
		return err_set(err, -EINVAL,
			       "empty namespace: write /path, /path:SIZE,"
			       " ram:SIZE or null:SIZE");
	return spec_file(s, out, err);
}
