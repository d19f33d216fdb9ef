/* SPDX-License-Identifier: Apache-2.0 */
/* The login options.  Main thread before others are started. */
#include "deploy/login.h"

#include "deploy/secret.h"

static const char *or_null(const char *text)
{
	return text && text[0] ? text : NULL;
}

int login_password(const struct login_config *login, char **out,
		   struct err *err)
{
	struct secret_source source = {
		.text = or_null(login->password),
		.file = or_null(login->password_file),
		.is_asked = login->ask_password,
	};

	return secret_read(&source, "Password for the nodes", out, err);
}

struct remote_opts login_opts(const struct login_config *login,
			      const char *host, const char *password)
{
	return (struct remote_opts){
		.host = host,
		.user = or_null(login->username),
		.port = (uint16_t)login->port,
		.key_file = or_null(login->key_file),
		.password = password,
		.connect_ms = (uint32_t)login->connect_ms,
		.command_ms = (uint32_t)login->command_ms,
	};
}
