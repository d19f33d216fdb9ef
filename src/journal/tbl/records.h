/* SPDX-License-Identifier: Apache-2.0 */
/* RECORD(enumerator, number on disk, word) - no guard: included several
 * times.  Numbers are never given again. */
RECORD(SEGMENT, 1, "segment")
RECORD(SEGMENT_GONE, 2, "segment-gone")
RECORD(GRANT, 3, "grant")
RECORD(OBJECT, 4, "object")
RECORD(REPLICA_GONE, 5, "replica-gone")
RECORD(OBJECT_GONE, 6, "object-gone")
RECORD(MARKS, 7, "marks")
RECORD(END, 8, "end")
RECORD(GROUP, 9, "group")
RECORD(SCRUB, 10, "scrub")
