/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mooncake_http_metadata_server: web/metadata as a program.  One thread, one
 * loop, until SIGINT or SIGTERM.
 */
#include "base/log.h"
#include "cmd/run.h"
#include "io/signals.h"
#include "web/metadata.h"

#define PROGRAM "mooncake_http_metadata_server"

struct config {
	char *host, *log_level;
	uint64_t port;
};

static const struct flag flags[] = {
	{.name = "host",
	 .type = FLAG_STR,
	 .off = offsetof(struct config, host),
	 .def = "0.0.0.0",
	 .arg = "ADDRESS",
	 .help = "Address to listen on; :: for all of IPv6."},
	{.name = "port",
	 .type = FLAG_UINT,
	 .off = offsetof(struct config, port),
	 .def = "8080",
	 .min = 0,
	 .max = 65535,
	 .arg = "PORT",
	 .help = "Port to listen on; 0 takes a free one and says which."},
	{.name = "log_level",
	 .type = FLAG_STR,
	 .off = offsetof(struct config, log_level),
	 .def = "info",
	 .arg = "LEVEL",
	 .help = "error, warn, info or debug."},
};

static const struct flag_prog prog = {
	.name = PROGRAM,
	.summary = "HTTP metadata server for Mooncake transfer engines",
	.usage = "[options]",
	.details = "Keeps what transfer engines publish about themselves: GET, "
		   "PUT and DELETE /metadata?key=KEY. GET /health answers OK. "
		   "Everything is in memory and gone when the program ends.",
	.examples = "  " PROGRAM " --port=8080\n"
		    "  curl -X PUT -d '{}' "
		    "'http://127.0.0.1:8080/metadata?key=a'\n"
		    "  curl 'http://127.0.0.1:8080/metadata?key=a'\n",
	.flags = flags,
	.flag_count = ARRAY_SIZE(flags),
};

static void on_signal(struct signals *s, int signo)
{
	loop_stop(s->loop);
}

static int serve(struct loop *loop, const struct addr *addr, struct err *err)
{
	char text[ADDR_TEXT_LEN];
	struct metadata_server *ms;
	struct signals signals;
	struct addr bound;
	int ret = signals_open(&signals, loop, on_signal, NULL, err);

	if (ret < 0)
		return ret;
	ret = metadata_server_open(loop, addr, &bound, &ms, err);
	if (ret == 0) {
		addr_format(&bound, text);
		log_info("metadata server is ready",
			 "url=http://%s/metadata version=%s", text,
			 mooncake_version);
		loop_run(loop);
		log_info("metadata server ends", "url=http://%s/metadata",
			 text);
		metadata_server_close(ms);
	}
	signals_close(&signals);
	return ret;
}

static int run(struct flag_set *fs, struct err *err)
{
	const struct config *config = fs->config;
	struct loop *loop = NULL;
	struct addr addr;
	int ret = run_set_log_level(config->log_level, err);

	if (ret == 0)
		ret = addr_resolve(config->host, (uint16_t)config->port, &addr,
				   err);
	if (ret == 0)
		ret = loop_create(&(struct loop_opts){.name = "metadata"},
				  &loop, err);
	if (ret == 0)
		ret = serve(loop, &addr, err);
	loop_destroy(loop);
	return ret;
}

int main(int argc, char **argv)
{
	struct config config = {0};

	return run_main(&prog, &config, run, argc, argv);
}
