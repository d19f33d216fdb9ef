/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request per connection, by the first way that works.  The caller's
 * thread.  Invariant: an answer counts only when it is one whole JSON
 * value that carries our id.
 */
#include "deploy/relay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "deploy/forward.h"
#include "deploy/jsonrpc.h"

#define RPC_MS	   30000
#define NO_SOCKET  44 /* exit statuses of the script */
#define NO_CARRIER 45
#define REQUEST_ID 1
#define NO_METHOD  (-32601) /* of JSON-RPC 2.0 */

/* Reads until what came is a whole JSON value: the server keeps the connection
 * open, so its end says nothing. */
static const char python[] =
	"import json, socket, sys\n"
	"s = socket.socket(socket.AF_UNIX)\n"
	"s.settimeout(float(sys.argv[2]))\n"
	"s.connect(sys.argv[1])\n"
	"s.sendall(sys.stdin.buffer.read())\n"
	"got = b\"\"\n"
	"while True:\n"
	"    part = s.recv(65536)\n"
	"    got += part\n"
	"    try:\n"
	"        json.loads(got.decode())\n"
	"        break\n"
	"    except ValueError:\n"
	"        if not part: sys.exit(\"the target closed the connection\")\n"
	"sys.stdout.buffer.write(got)\n";

/* These end when the line has been silent for a while. */
static const char fallback[] =
	"elif command -v socat >/dev/null; then\n"
	"  printf '%s' \"$request\" | socat -t 3 - \"UNIX-CONNECT:$socket\"\n"
	"elif command -v nc >/dev/null && nc -h 2>&1 | grep -q -- -U; then\n"
	"  printf '%s' \"$request\" | nc -U -w 3 \"$socket\"\n";

/* rpc.py has a command for each method, but takes more commands from a module
 * that it is told of: this one passes the request on as it is. */
static const char rpc_py[] =
	"elif [ -n \"$tree\" ] && [ -x \"$tree/scripts/rpc.py\" ]; then\n"
	"  d=$(mktemp -d) || exit 1\n"
	"  cat >\"$d/mooncake_rpc.py\" <<'END'\n"
	"import json, sys\n"
	"def call(args):\n"
	"    request = json.loads(args.request)\n"
	"    args.client.add_request(request[\"method\"], "
	"request.get(\"params\"))\n"
	"    args.client.flush()\n"
	"    json.dump(args.client.recv(), sys.stdout)\n"
	"def spdk_rpc_plugin_initialize(subparsers):\n"
	"    p = subparsers.add_parser(\"mooncake_call\")\n"
	"    p.add_argument(\"request\")\n"
	"    p.set_defaults(func=call)\n"
	"END\n"
	"  PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$d \"$tree/scripts/rpc.py\" "
	"-s \"$socket\" -t \"$seconds\" --plugin mooncake_rpc mooncake_call "
	"\"$request\"\n"
	"  r=$?; rm -rf \"$d\"; exit $r\n"
	"else exit 45; fi\n";

static uint32_t timeout(const struct relay *relay)
{
	return relay->timeout_ms ? relay->timeout_ms : RPC_MS;
}

static void add_script(struct strbuf *out, const struct relay *relay,
		       const char *request)
{
	strbuf_addf(out, "seconds=%u tree=", MAX(timeout(relay) / 1000, 1u));
	shell_quote(out, relay->tree ? relay->tree : "");
	strbuf_adds(out, "\nsocket=");
	shell_quote(out, relay->socket);
	strbuf_adds(out, "\nrequest=");
	shell_quote(out, request);
	strbuf_addf(out, "\n[ -S \"$socket\" ] || exit %d\n", NO_SOCKET);
	strbuf_adds(out, "if command -v python3 >/dev/null; then\n"
			 "  printf '%s' \"$request\" | python3 -I -S -c ");
	shell_quote(out, python);
	strbuf_adds(out, " \"$socket\" \"$seconds\"\n");
	strbuf_adds(out, fallback);
	strbuf_adds(out, rpc_py);
}

static int check_answer(const struct relay *relay, const char *method,
			json_t *answer, json_t **result, struct err *err)
{
	const char *host = remote_host(relay->remote);
	json_t *error = json_object_get(answer, "error");
	const char *text = json_string_value(json_object_get(error, "message"));
	json_int_t code;

	if (json_integer_value(json_object_get(answer, "id")) != REQUEST_ID)
		return err_set(err, -EPROTO,
			       "%s: %s: the answer is to something else", host,
			       method);
	if (error) {
		code = json_integer_value(json_object_get(error, "code"));
		return err_set(err, code == NO_METHOD ? -ENOSYS : -EREMOTEIO,
			       "%s: %s: %s (%lld)", host, method,
			       text ? text : "error without a message",
			       (long long)code);
	}
	*result = json_incref(json_object_get(answer, "result"));
	if (!*result)
		return err_set(err, -EPROTO, "%s: %s: the answer has no result",
			       host, method);
	return 0;
}

static int explain(const struct relay *relay, const char *method,
		   const struct remote_result *res, struct err *err)
{
	const char *host = remote_host(relay->remote);
	struct str why = str_trim(strbuf_str(&res->errors));

	if (res->status == NO_SOCKET)
		return err_set(err, -ENOENT, "%s: no target listens on %s",
			       host, relay->socket);
	if (res->status == NO_CARRIER)
		return err_set(
			err, -ENOTSUP,
			"%s: ssh forwards no sockets for us, and none of "
			"python3, socat, nc -U is there to talk to %s",
			host, relay->socket);
	if (memmem(why.p, why.n, "refused", 7))
		return err_set(err, -ENOENT,
			       "%s: nobody listens on %s any more", host,
			       relay->socket);
	if (why.n > 120)
		why = (struct str){why.p + why.n - 120, 120};
	return err_set(err, -EIO, "%s: %s failed: " STR_FMT, host, method,
		       STR_ARG(why));
}

static int by_shell(struct relay *relay, const char *method,
		    const char *request, json_t **answer, struct err *err)
{
	struct strbuf script = {0};
	struct remote_result res = {0};
	json_error_t bad;
	int ret;

	add_script(&script, relay, request);
	if (script.failed) {
		strbuf_fini(&script);
		return err_set(err, -ENOMEM, "out of memory");
	}
	ret = remote_run(relay->remote,
			 &(struct remote_cmd){
				 .script = script.p,
				 .as_root = true,
				 .timeout_ms = timeout(relay) + 5000,
			 },
			 &res, err);
	if (ret == 0 && res.status)
		ret = explain(relay, method, &res, err);
	if (ret == 0) {
		*answer = json_loadb(res.out.p ? res.out.p : "", res.out.n,
				     JSON_DISABLE_EOF_CHECK, &bad);
		if (!*answer)
			ret = err_set(err, -EPROTO,
				      "%s: the target's answer to %s is no "
				      "JSON: %s",
				      remote_host(relay->remote), method,
				      bad.text);
	}
	remote_result_fini(&res);
	strbuf_fini(&script);
	return ret;
}

#define NOT_CARRIED 1

/* What was sent has reached nobody when NOT_CARRIED is returned. */
static int by_forward(struct relay *relay, const char *method,
		      const char *request, json_t **answer, struct err *err)
{
	struct forward *f = remote_forward(relay->remote, relay->socket);
	struct err why = {0};
	int ret;

	if (!f)
		return NOT_CARRIED;
	ret = jsonrpc_ask(forward_path(f), request, timeout(relay), answer,
			  &why);
	if (ret == 0)
		return 0;
	if (ret == -ENOENT || ret == -ECONNREFUSED ||
	    (ret == -ECONNRESET && forward_has_refused(f)))
		ret = NOT_CARRIED;
	else
		err_set(err, ret == -ECONNRESET ? -EIO : ret,
			"%s: %s failed: %s", remote_host(relay->remote), method,
			ret == -ECONNRESET  ? "the target closed the connection"
			: ret == -ETIMEDOUT ? "no answer in time"
					    : strerror(-ret));
	remote_give_up_forward(relay->remote);
	return ret == -ECONNRESET ? -EIO : ret;
}

static int call(struct relay *relay, const char *method, const char *request,
		json_t **answer, struct err *err)
{
	int ret = by_forward(relay, method, request, answer, err);

	return ret == NOT_CARRIED
		       ? by_shell(relay, method, request, answer, err)
		       : ret;
}

int relay_call(struct relay *relay, const char *method, const json_t *params,
	       json_t **result, struct err *err)
{
	json_t *request = json_pack("{s:s, s:s, s:i}", "jsonrpc", "2.0",
				    "method", method, "id", REQUEST_ID);
	json_t *answer = NULL;
	char *text = NULL;
	int ret;

	*result = NULL;
	if (request && params &&
	    json_object_set_new(request, "params", json_deep_copy(params)) == 0)
		text = json_dumps(request, JSON_COMPACT);
	else if (request && !params)
		text = json_dumps(request, JSON_COMPACT);
	ret = text ? call(relay, method, text, &answer, err)
		   : err_set(err, -ENOMEM, "out of memory");
	if (ret == 0)
		ret = check_answer(relay, method, answer, result, err);
	free(text);
	json_decref(request);
	json_decref(answer);
	return ret;
}

int relay_list(struct relay *relay, const char *method, json_t **result,
	       struct err *err)
{
	int ret = relay_call(relay, method, NULL, result, err);

	if (ret || json_is_array(*result))
		return ret;
	json_decref(*result);
	*result = NULL;
	return err_set(err, -EPROTO, "%s: %s: the answer is no list",
		       remote_host(relay->remote), method);
}

json_t *relay_find(const json_t *list, const char *key, const char *text)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		const char *have =
			json_string_value(json_object_get(item, key));

		if (have && !strcmp(have, text))
			return item;
	}
	return NULL;
}
