/* SPDX-License-Identifier: Apache-2.0 */
/* Giving back what targets have reserved for this cluster. */
#ifndef MASTER_RELEASE_H
#define MASTER_RELEASE_H

#include "master/service.h"

/* It is being forgotten: its reservation goes as soon as nobody can be writing
 * there any more. */
void release_segment(struct service *svc, const struct segment *seg);
/* What key holds behind the endpoint, now.  What comes of it is logged, and
 * the next probe sees it. */
void release_key(struct service *svc, const char *endpoint, uint64_t key);
/* Those that still wait for their time are not made any more. */
void releases_stop(struct service *svc);

#endif
