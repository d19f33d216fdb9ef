/* SPDX-License-Identifier: Apache-2.0 */
/*
 * REST of the store service:
 *
 *	PUT    /api/put {"key": …, "value": …}     GET /health
 *	GET    /api/get/KEY, /api/exist/KEY        GET /metrics
 *	DELETE /api/remove/KEY, /api/remove_all
 */
#ifndef NODE_REST_H
#define NODE_REST_H

#include "mooncake/store.h"
#include "node/workers.h"
#include "web/http.h"

#define REST_BODY_MAX (100ull << 20)

/* What the handlers get as http_req.arg. */
struct rest {
	mooncake_store_t store;
	struct workers *workers;
};

extern const struct http_route rest_routes[];
extern const size_t rest_route_count;

#endif
