/* SPDX-License-Identifier: Apache-2.0 */
/* SEG_ERROR(enumerator, word) - no guard: included several times. */
SEG_ERROR(TIMEOUT, "timeout")	      /* a probe that missed its deadline */
SEG_ERROR(UNREACHABLE, "unreachable") /* a probe that could not connect */
SEG_ERROR(IO, "io")		      /* a probe that was answered badly */
SEG_ERROR(IDENTITY, "identity")	      /* something else is found there */
SEG_ERROR(OWNER, "owner")	      /* reserved for somebody else */
SEG_ERROR(REPORT, "report")	      /* a client could not reach it */
SEG_ERROR(CHECKSUM, "checksum")	      /* a reader found wrong bytes */
SEG_ERROR(MEDIA, "media")	      /* the target has lost a reader's bytes */
