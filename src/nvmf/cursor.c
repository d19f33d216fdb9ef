/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cursor over a caller's iovecs; the connection's thread.  Invariant: off is
 * less than iov[0].iov_len, or the cursor is at its end (cnt 0).
 */
#include "nvmf/nt.h"

#include <string.h>

#include "base/crc.h"

void nt_cursor_skip(struct nt_cursor *cur, size_t n)
{
	while (cur->cnt && n >= cur->iov->iov_len - cur->off) {
		n -= cur->iov->iov_len - cur->off;
		cur->iov++;
		cur->cnt--;
		cur->off = 0;
	}
	ASSERT(cur->cnt || n == 0);
	cur->off += n;
}

unsigned nt_cursor_map(const struct nt_cursor *cur, size_t *n,
		       struct iovec *out, unsigned max)
{
	struct nt_cursor at = *cur;
	size_t left = *n;
	unsigned count = 0;

	while (left && count < max) {
		size_t len;

		ASSERT(at.cnt);
		len = MIN(left, at.iov->iov_len - at.off);
		if (len)
			out[count++] = (struct iovec){
				.iov_base = (char *)at.iov->iov_base + at.off,
				.iov_len = len,
			};
		left -= len;
		nt_cursor_skip(&at, len);
	}
	*n -= left;
	return count;
}

void nt_cursor_write(struct nt_cursor *cur, const void *p, size_t n)
{
	while (n) {
		size_t len;

		ASSERT(cur->cnt);
		len = MIN(n, cur->iov->iov_len - cur->off);
		memcpy((char *)cur->iov->iov_base + cur->off, p, len);
		p = (const char *)p + len;
		n -= len;
		nt_cursor_skip(cur, len);
	}
}

uint32_t nt_cursor_crc(const struct nt_cursor *cur, uint32_t crc, size_t n)
{
	struct nt_cursor at = *cur;

	while (n) {
		size_t len;

		ASSERT(at.cnt);
		len = MIN(n, at.iov->iov_len - at.off);
		crc = crc32c(crc, (char *)at.iov->iov_base + at.off, len);
		n -= len;
		nt_cursor_skip(&at, len);
	}
	return crc;
}
