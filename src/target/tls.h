/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The target's TLS keys.  They are set on the control loop and looked up by
 * every shard.
 */
#ifndef TARGET_TLS_H
#define TARGET_TLS_H

struct tgt_tls;

/* NULL: no memory. */
struct tgt_tls *tgt_tls_create(void);
void tgt_tls_destroy(struct tgt_tls *tls); /* NULL is fine */

#endif
