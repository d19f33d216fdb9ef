/* SPDX-License-Identifier: Apache-2.0 */
/* Segments by the number that records name them by. */
#ifndef MASTER_SEG_TABLE_H
#define MASTER_SEG_TABLE_H

#include "master/core.h"

struct seg_entry {
	struct hnode hnode;
	struct list node;
	uint32_t no;
	struct segment *seg; /* NULL: it was unmounted */
};

struct seg_table {
	struct htab numbers;
	struct list all;
};

int seg_table_init(struct seg_table *table); /* -ENOMEM */
void seg_table_fini(struct seg_table *table);
struct seg_entry *seg_table_find(struct seg_table *table, uint32_t no);
int seg_table_add(struct seg_table *table, uint32_t no, struct segment *seg);

#endif
