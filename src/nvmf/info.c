/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs between two connections to one controller; any thread.
 * Invariant: pure, every field of the table is named with both its values.
 */
#include "nvmf/nvmf.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	size_t off, size;
} numbers[] = {
#define NUMBER(field, name)                                                    \
	{                                                                      \
		name, offsetof(struct nvmf_ctrl_info, field),                  \
			sizeof(((struct nvmf_ctrl_info *)0)->field)            \
	}
	NUMBER(io_queues, "I/O queues"),
	NUMBER(mqes, "queue entries"),
	NUMBER(max_transfer, "bytes of a command"),
	NUMBER(icd_bytes, "in-capsule bytes"),
#undef NUMBER
};

static uint32_t number(const struct nvmf_ctrl_info *info, size_t i)
{
	const char *p = (const char *)info + numbers[i].off;
	uint16_t u16;
	uint32_t u32;

	if (numbers[i].size == sizeof(u16)) {
		memcpy(&u16, p, sizeof(u16));
		return u16;
	}
	memcpy(&u32, p, sizeof(u32));
	return u32;
}

static void add_words(struct strbuf *sb, const char *name, const char *was,
		      const char *is)
{
	if (strcmp(was, is))
		strbuf_addf(sb, "%s%s '%s', was '%s'", sb->n ? "; " : "", name,
			    is, was);
}

bool nvmf_ctrl_info_differs(const struct nvmf_ctrl_info *old,
			    const struct nvmf_ctrl_info *now, struct err *text)
{
	struct strbuf sb = {0};
	bool differs;

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (number(old, i) != number(now, i))
			strbuf_addf(&sb, "%s%s %u, was %u", sb.n ? "; " : "",
				    numbers[i].name, number(now, i),
				    number(old, i));
	add_words(&sb, "serial", old->serial, now->serial);
	add_words(&sb, "model", old->model, now->model);
	add_words(&sb, "firmware", old->firmware, now->firmware);
	differs = sb.n || sb.failed;
	*text = (struct err){0};
	if (differs)
		snprintf(text->text, sizeof(text->text), "%s",
			 sb.failed ? "no memory to say what" : sb.p);
	strbuf_fini(&sb);
	return differs;
}
