/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Health of pool segments: what a probe or a client's report makes of one.
 * Nothing here forgets objects; only an unregister does.
 */
#ifndef MASTER_HEALTH_H
#define MASTER_HEALTH_H

#include "master/core.h"
#include "pool/vol.h"

/* A probe of endpoints[path] has ended, whatever comes of the others. */
void health_path_probed(struct core *core, struct segment *seg, unsigned path,
			const struct vol_probe *probe);
/* A probe of one of its paths has ended (all paths tried, when it failed).
 * Sets the state, counts and logs. */
void health_probed(struct core *core, struct segment *seg,
		   const struct vol_probe *probe);
/* What a probe beside those found, of which the state takes no notice: the
 * segment is ONLINE, nothing has failed since, and it is what is there. */
bool health_is_well(const struct segment *seg, const struct vol_probe *probe);
/* It is awaited, and this is what is awaited: *sb is what has to be written
 * there for it to be of this life. */
bool health_is_awaited(const struct segment *seg, const struct vol_probe *probe,
		       struct superblock *sb);
/* Its target has lost our reservation (one that is restarted may): *sb is what
 * is there, to be written again once it is reserved again. */
bool health_is_unheld(const struct segment *seg, const struct vol_probe *probe,
		      struct superblock *sb);
/* That is written, or could not be. */
void health_adopted(struct segment *seg, const struct vol_label *label);
void health_not_adopted(struct core *core, struct segment *seg,
			const struct vol_label *label);
/*
 * A client could not reach it: true when it should be probed soon.  Each client
 * counts once until the next good probe, and none alone decides: what it can't
 * reach may be on its own side.
 */
bool health_reported(struct core *core, struct segment *seg,
		     const struct uuid *client, const char *text);

#endif
