/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every file needs: assertions that stay on in production, checked
 * arithmetic for sizes that come from outside, and a few shorthands.
 */
#ifndef BASE_DEF_H
#define BASE_DEF_H

#include <assert.h> /* static_assert */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
/* Different names inside, so that one may stand in the other. */
#define MIN(a, b)                                                              \
	({                                                                     \
		typeof(a) min_a_ = (a);                                        \
		typeof(b) min_b_ = (b);                                        \
		min_a_ < min_b_ ? min_a_ : min_b_;                             \
	})
#define MAX(a, b)                                                              \
	({                                                                     \
		typeof(a) max_a_ = (a);                                        \
		typeof(b) max_b_ = (b);                                        \
		max_a_ > max_b_ ? max_a_ : max_b_;                             \
	})
#define container_of(ptr, type, member)                                        \
	((type *)((char *)(ptr)-offsetof(type, member)))
#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* align must be a power of two */
#define ALIGN_UP(x, align)   (((x) + (align)-1) & ~((typeof(x))(align)-1))
#define ALIGN_DOWN(x, align) ((x) & ~((typeof(x))(align)-1))
#define IS_ALIGNED(x, align) (((x) & ((typeof(x))(align)-1)) == 0)
#define IS_POW2(x)	     ((x) != 0 && ((x) & ((x)-1)) == 0)

#define KiB ((uint64_t)1 << 10)
#define MiB ((uint64_t)1 << 20)
#define GiB ((uint64_t)1 << 30)

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* Hands an owned pointer over: the giver's copy becomes NULL. */
#define TAKE(from)                                                             \
	({                                                                     \
		typeof(from) taken_ = (from);                                  \
		(from) = NULL;                                                 \
		taken_;                                                        \
	})

/*
 * "This is a bug of ours": prints and aborts, in release builds as well.
 * Never used on input from the wire, disk, config or the caller.
 */
#define ASSERT(cond)                                                           \
	((void)(likely(cond) ||                                                \
		(assert_failed(#cond, __FILE__, __LINE__, __func__), 0)))
#define UNREACHABLE() assert_failed("unreachable", __FILE__, __LINE__, __func__)

__attribute__((noreturn, cold)) void
assert_failed(const char *cond, const char *file, int line, const char *func);

/* Checked arithmetic; true on overflow, as the builtins. */
#define add_overflows(a, b, out) __builtin_add_overflow(a, b, out)
#define mul_overflows(a, b, out) __builtin_mul_overflow(a, b, out)

#endif
