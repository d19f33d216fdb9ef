/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extent allocator: two-level segregated fit over nodes beside the space.
 * Single owner.
 *
 * The nodes tile the segment: in order of offset each begins where the one
 * before ends, and no two free ones are neighbours.  Splits add nodes to the
 * right and merges keep the left one, so node 0 is always the leftmost, and
 * the handle of a used range never changes while it is used.
 */
#include "base/extent.h"

#include <errno.h>
#include <stdlib.h>

#define NIL	   UINT32_MAX
#define NODES_MIN  64
#define SPLIT_MAX  2 /* nodes that one take can need */
#define SUB_BITS   5 /* 32 linear steps per power of two: waste < 1/32 */
#define SUB_COUNT  (1u << SUB_BITS)
#define BIN_GROUPS (64 - SUB_BITS + 1)
#define BIN_COUNT  (BIN_GROUPS << SUB_BITS)

/* Looked at in the bin of the very size before a larger bin is cut. */
#define PROBES 4

enum node_state {
	NODE_SPARE,
	NODE_FREE,
	NODE_USED,
};

/* Half a cache line: every extent in use has one. */
struct node {
	uint64_t off;
	uint64_t len : 62;
	enum node_state state : 2;
	uint32_t prev, next;	     /* by offset; next also links spares */
	uint32_t bin_prev, bin_next; /* free nodes of one bin */
};
static_assert(sizeof(struct node) == 32, "a node grew");

/* Of the tree: the children of the free node of the same number. */
struct branch {
	uint32_t left, right;
};

struct ext_alloc {
	uint64_t base, size, used;
	unsigned unit_shift;

	struct node *nodes;
	uint32_t node_count; /* ever used, spares included */
	uint32_t node_cap;
	uint32_t spare;

	uint64_t group_map; /* groups of bins that are not empty */
	uint32_t bin_map[BIN_GROUPS];
	uint32_t bins[BIN_COUNT];

	/*
	 * Treap of the free nodes by offset for ext_take_at().  Made by the
	 * first such call and dropped by the next ext_take(), because only a
	 * restore needs it and plain allocation is to stay O(1).
	 */
	struct branch *tree; /* node_cap of them, or NULL */
	uint32_t root;
};

/* The tree */

/* Heap order: a hash of the handle, as good as random and nothing to store. */
static uint32_t priority(uint32_t id)
{
	id = (id ^ id >> 16) * 0x7feb352d;
	id = (id ^ id >> 15) * 0x846ca68b;
	return id ^ id >> 16;
}

/* Nodes below off go to *low, the others to *high. */
static void tree_split(struct ext_alloc *ea, uint32_t root, uint64_t off,
		       uint32_t *low, uint32_t *high)
{
	while (root != NIL) {
		if (ea->nodes[root].off < off) {
			*low = root;
			low = &ea->tree[root].right;
			root = *low;
		} else {
			*high = root;
			high = &ea->tree[root].left;
			root = *high;
		}
	}
	*low = NIL;
	*high = NIL;
}

/* Where the way from a node to another one goes on. */
static uint32_t *towards(struct ext_alloc *ea, uint32_t from, uint32_t id)
{
	return ea->nodes[from].off < ea->nodes[id].off ? &ea->tree[from].right
						       : &ea->tree[from].left;
}

static void tree_add(struct ext_alloc *ea, uint32_t id)
{
	uint32_t *at = &ea->root;

	while (*at != NIL && priority(*at) >= priority(id))
		at = towards(ea, *at, id);
	tree_split(ea, *at, ea->nodes[id].off, &ea->tree[id].left,
		   &ea->tree[id].right);
	*at = id;
}

static void tree_del(struct ext_alloc *ea, uint32_t id)
{
	uint32_t low = ea->tree[id].left, high = ea->tree[id].right;
	uint32_t *at = &ea->root;

	while (*at != id) {
		ASSERT(*at != NIL);
		at = towards(ea, *at, id);
	}
	while (low != NIL && high != NIL) {
		if (priority(low) >= priority(high)) {
			*at = low;
			at = &ea->tree[low].right;
			low = *at;
		} else {
			*at = high;
			at = &ea->tree[high].left;
			high = *at;
		}
	}
	*at = low != NIL ? low : high;
}

static int tree_make(struct ext_alloc *ea)
{
	ea->root = NIL;
	ea->tree = malloc(ea->node_cap * sizeof(*ea->tree));
	if (!ea->tree)
		return -ENOMEM;
	for (uint32_t id = 0; id != NIL; id = ea->nodes[id].next)
		if (ea->nodes[id].state == NODE_FREE)
			tree_add(ea, id);
	return 0;
}

static void tree_drop(struct ext_alloc *ea)
{
	free(ea->tree);
	ea->tree = NULL;
}

/* The free node with the greatest offset not above off. */
static uint32_t tree_find(const struct ext_alloc *ea, uint64_t off)
{
	uint32_t best = NIL, id = ea->root;

	while (id != NIL) {
		if (ea->nodes[id].off <= off) {
			best = id;
			id = ea->tree[id].right;
		} else {
			id = ea->tree[id].left;
		}
	}
	return best;
}

/* Bins */

static unsigned bin_of(const struct ext_alloc *ea, uint64_t len)
{
	uint64_t units = len >> ea->unit_shift;
	unsigned shift;

	if (units < SUB_COUNT)
		return (unsigned)units;
	shift = 63 - (unsigned)__builtin_clzll(units) - SUB_BITS;
	return (shift << SUB_BITS) + (unsigned)(units >> shift);
}

/* The first bin all of whose nodes have at least len. */
static unsigned bin_above(const struct ext_alloc *ea, uint64_t len)
{
	uint64_t units = len >> ea->unit_shift;
	unsigned shift, bin = bin_of(ea, len);

	if (units < SUB_COUNT)
		return bin;
	shift = (bin >> SUB_BITS) - 1;
	return units & (((uint64_t)1 << shift) - 1) ? bin + 1 : bin;
}

/* The first bin from this one on that is not empty, or BIN_COUNT. */
static unsigned bin_find(const struct ext_alloc *ea, unsigned bin)
{
	unsigned group = bin >> SUB_BITS;
	uint64_t groups;
	uint32_t map;

	if (bin >= BIN_COUNT)
		return BIN_COUNT;
	map = ea->bin_map[group] & (UINT32_MAX << (bin & (SUB_COUNT - 1)));
	if (!map) {
		groups = ea->group_map & (UINT64_MAX << group << 1);
		if (!groups)
			return BIN_COUNT;
		group = (unsigned)__builtin_ctzll(groups);
		map = ea->bin_map[group];
	}
	return (group << SUB_BITS) + (unsigned)__builtin_ctz(map);
}

/* Makes the node a free one. */
static void free_add(struct ext_alloc *ea, uint32_t id)
{
	struct node *node = &ea->nodes[id];
	unsigned bin = bin_of(ea, node->len), group = bin >> SUB_BITS;

	node->state = NODE_FREE;
	node->bin_prev = NIL;
	node->bin_next = ea->bins[bin];
	if (node->bin_next != NIL)
		ea->nodes[node->bin_next].bin_prev = id;
	ea->bins[bin] = id;
	ea->bin_map[group] |= (uint32_t)1 << (bin & (SUB_COUNT - 1));
	ea->group_map |= (uint64_t)1 << group;
	if (ea->tree)
		tree_add(ea, id);
}

static void free_del(struct ext_alloc *ea, uint32_t id)
{
	struct node *node = &ea->nodes[id];
	unsigned bin = bin_of(ea, node->len), group = bin >> SUB_BITS;

	if (ea->tree)
		tree_del(ea, id);
	if (node->bin_next != NIL)
		ea->nodes[node->bin_next].bin_prev = node->bin_prev;
	if (node->bin_prev != NIL) {
		ea->nodes[node->bin_prev].bin_next = node->bin_next;
		return;
	}
	ea->bins[bin] = node->bin_next;
	if (node->bin_next != NIL)
		return;
	ea->bin_map[group] &= ~((uint32_t)1 << (bin & (SUB_COUNT - 1)));
	if (!ea->bin_map[group])
		ea->group_map &= ~((uint64_t)1 << group);
}

/* Nodes */

/* Makes sure that one take cannot run out of nodes half-way. */
static int reserve_nodes(struct ext_alloc *ea)
{
	uint64_t cap = ea->node_cap ? (uint64_t)ea->node_cap * 2 : NODES_MIN;
	struct branch *tree;
	struct node *nodes;

	/* Counted without the spares: they only come on top. */
	if (ea->node_cap - ea->node_count >= SPLIT_MAX)
		return 0;
	if (ea->spare != NIL && ea->nodes[ea->spare].next != NIL)
		return 0;
	cap = MIN(cap, (uint64_t)NIL - 1);
	if (cap < (uint64_t)ea->node_count + SPLIT_MAX)
		return -ENOMEM;
	nodes = realloc(ea->nodes, cap * sizeof(*nodes));
	if (!nodes)
		return -ENOMEM;
	ea->nodes = nodes;
	if (ea->tree) {
		tree = realloc(ea->tree, cap * sizeof(*tree));
		if (!tree)
			return -ENOMEM;
		ea->tree = tree;
	}
	ea->node_cap = (uint32_t)cap;
	return 0;
}

static uint32_t node_take(struct ext_alloc *ea)
{
	uint32_t id = ea->spare;

	if (id != NIL) {
		ea->spare = ea->nodes[id].next;
		return id;
	}
	ASSERT(ea->node_count < ea->node_cap);
	return ea->node_count++;
}

static void node_give(struct ext_alloc *ea, uint32_t id)
{
	ea->nodes[id].state = NODE_SPARE;
	ea->nodes[id].next = ea->spare;
	ea->spare = id;
}

/* Cuts the node after len bytes; returns the right part, in no bin yet. */
static uint32_t split(struct ext_alloc *ea, uint32_t id, uint64_t len)
{
	uint32_t right = node_take(ea);
	struct node *node = &ea->nodes[id];

	ASSERT(len > 0 && len < node->len);
	ea->nodes[right] = (struct node){
		.off = node->off + len,
		.len = node->len - len,
		.prev = id,
		.next = node->next,
	};
	if (node->next != NIL)
		ea->nodes[node->next].prev = right;
	node->next = right;
	node->len = len;
	return right;
}

/* The node swallows its right neighbour. */
static void merge(struct ext_alloc *ea, uint32_t id)
{
	struct node *node = &ea->nodes[id];
	uint32_t gone = node->next;

	node->len += ea->nodes[gone].len;
	node->next = ea->nodes[gone].next;
	if (node->next != NIL)
		ea->nodes[node->next].prev = id;
	node_give(ea, gone);
}

static bool is_free(const struct ext_alloc *ea, uint32_t id)
{
	return id != NIL && ea->nodes[id].state == NODE_FREE;
}

/* Takes [off, off + len) out of the free node that holds it. */
static void take_from(struct ext_alloc *ea, uint32_t id, uint64_t off,
		      uint64_t len, struct ext *out)
{
	free_del(ea, id);
	if (off > ea->nodes[id].off) {
		uint32_t right = split(ea, id, off - ea->nodes[id].off);

		free_add(ea, id);
		id = right;
	}
	if (len < ea->nodes[id].len)
		free_add(ea, split(ea, id, len));
	ea->nodes[id].state = NODE_USED;
	ea->used += len;
	*out = (struct ext){.off = off, .len = len, .node = id};
}

/* Finding */

/* Where in the node an aligned range of len can start. */
static bool fits(const struct node *node, uint64_t len, uint64_t align,
		 uint64_t *off)
{
	uint64_t start = node->off, end;

	if (add_overflows(start, align - 1, &start))
		return false;
	start = ALIGN_DOWN(start, align);
	if (add_overflows(start, len, &end) || end > node->off + node->len)
		return false;
	*off = start;
	return true;
}

/* Looks at up to probes nodes of a bin. */
static uint32_t scan_bin(const struct ext_alloc *ea, unsigned bin,
			 uint32_t probes, const struct ext *want, uint64_t *off)
{
	uint32_t id = ea->bins[bin];

	for (; id != NIL && probes > 0; id = ea->nodes[id].bin_next, probes--)
		if (fits(&ea->nodes[id], want->len, want->off, off))
			return id;
	return NIL;
}

/*
 * A free node for want->len bytes aligned to want->off.  A few nodes of the
 * same size first (objects tend to be equal, and a hole of the very size
 * leaves no crumbs), then the first bin in which every node fits.  Only when
 * these are empty the bins between, which may hold one that fits.
 */
static uint32_t find_free(const struct ext_alloc *ea, const struct ext *want,
			  uint64_t *off)
{
	uint64_t unit = (uint64_t)1 << ea->unit_shift, worst;
	unsigned first = bin_of(ea, want->len), sure = BIN_COUNT, bin;
	uint32_t id = scan_bin(ea, first, PROBES, want, off);

	if (id != NIL)
		return id;
	if (!add_overflows(want->len, want->off - unit, &worst))
		sure = bin_above(ea, worst);
	bin = bin_find(ea, sure);
	if (bin < BIN_COUNT)
		return scan_bin(ea, bin, 1, want, off);
	for (bin = bin_find(ea, first); bin < sure;
	     bin = bin_find(ea, bin + 1)) {
		id = scan_bin(ea, bin, UINT32_MAX, want, off);
		if (id != NIL)
			return id;
	}
	return NIL;
}

/* Public */

int ext_create(uint64_t base, uint64_t size, uint64_t unit,
	       struct ext_alloc **out)
{
	struct ext_alloc *ea;
	uint64_t end;

	if (!IS_POW2(unit) || !IS_ALIGNED(base, unit) || size == 0 ||
	    !IS_ALIGNED(size, unit) || size > EXT_SIZE_MAX ||
	    add_overflows(base, size, &end))
		return -EINVAL;
	ea = calloc(1, sizeof(*ea));
	if (!ea)
		return -ENOMEM;
	ea->base = base;
	ea->size = size;
	ea->unit_shift = (unsigned)__builtin_ctzll(unit);
	ea->spare = NIL;
	ea->root = NIL;
	for (size_t i = 0; i < BIN_COUNT; i++)
		ea->bins[i] = NIL;
	if (reserve_nodes(ea)) {
		ext_destroy(ea);
		return -ENOMEM;
	}
	ea->nodes[node_take(ea)] = (struct node){
		.off = base,
		.len = size,
		.prev = NIL,
		.next = NIL,
	};
	free_add(ea, 0);
	*out = ea;
	return 0;
}

void ext_destroy(struct ext_alloc *ea)
{
	if (!ea)
		return;
	tree_drop(ea);
	free(ea->nodes);
	free(ea);
}

/* Rounds a length up to the unit; -ENOSPC when it cannot be there at all. */
static int round_len(const struct ext_alloc *ea, uint64_t *len)
{
	uint64_t unit = (uint64_t)1 << ea->unit_shift;

	if (*len == 0)
		return -EINVAL;
	if (*len > ea->size)
		return -ENOSPC;
	*len = ALIGN_UP(*len, unit);
	return 0;
}

int ext_take(struct ext_alloc *ea, uint64_t len, uint64_t align,
	     struct ext *out)
{
	uint64_t unit = (uint64_t)1 << ea->unit_shift, off;
	uint32_t id;
	int ret = round_len(ea, &len);

	if (ret)
		return ret;
	if (align == 0)
		align = unit;
	if (!IS_POW2(align) || align < unit)
		return -EINVAL;
	ret = reserve_nodes(ea);
	if (ret)
		return ret;
	id = find_free(ea, &(struct ext){.off = align, .len = len}, &off);
	if (id == NIL)
		return -ENOSPC;
	tree_drop(ea);
	take_from(ea, id, off, len, out);
	return 0;
}

int ext_take_at(struct ext_alloc *ea, uint64_t off, uint64_t len,
		struct ext *out)
{
	uint64_t unit = (uint64_t)1 << ea->unit_shift, end;
	uint32_t id;
	int ret = round_len(ea, &len);

	if (ret)
		return ret == -ENOSPC ? -EINVAL : ret;
	if (!IS_ALIGNED(off, unit) || off < ea->base ||
	    add_overflows(off, len, &end) || end > ea->base + ea->size)
		return -EINVAL;
	ret = reserve_nodes(ea);
	if (ret)
		return ret;
	if (!ea->tree)
		ret = tree_make(ea);
	if (ret)
		return ret;
	id = tree_find(ea, off);
	if (id == NIL || end > ea->nodes[id].off + ea->nodes[id].len)
		return -EBUSY;
	take_from(ea, id, off, len, out);
	return 0;
}

void ext_give(struct ext_alloc *ea, const struct ext *ext)
{
	uint32_t id = ext->node;
	struct node *node;

	ASSERT(id < ea->node_count);
	node = &ea->nodes[id];
	ASSERT(node->state == NODE_USED);
	ASSERT(node->off == ext->off && node->len == ext->len);
	ea->used -= node->len;
	if (is_free(ea, node->next)) {
		free_del(ea, node->next);
		merge(ea, id);
	}
	if (is_free(ea, node->prev)) {
		id = node->prev;
		free_del(ea, id);
		merge(ea, id);
	}
	free_add(ea, id);
}

uint64_t ext_used(const struct ext_alloc *ea)
{
	return ea->used;
}

uint64_t ext_largest_free(const struct ext_alloc *ea)
{
	unsigned group;
	uint64_t largest = 0;
	uint32_t id;

	if (!ea->group_map)
		return 0;
	group = 63 - (unsigned)__builtin_clzll(ea->group_map);
	id = ea->bins[(group << SUB_BITS) + 31 -
		      (unsigned)__builtin_clz(ea->bin_map[group])];
	for (; id != NIL; id = ea->nodes[id].bin_next)
		largest = MAX(largest, (uint64_t)ea->nodes[id].len);
	return largest;
}

bool ext_next(const struct ext_alloc *ea, uint32_t *node, struct ext *out,
	      bool *used)
{
	const struct node *at;
	uint32_t id = *node == NIL ? 0 : ea->nodes[*node].next;

	if (id == NIL)
		return false;
	at = &ea->nodes[id];
	*out = (struct ext){.off = at->off, .len = at->len, .node = id};
	*used = at->state == NODE_USED;
	*node = id;
	return true;
}
