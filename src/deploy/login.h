/* SPDX-License-Identifier: Apache-2.0 */
/* How the tools log in to nodes: one set of options, one way to use them. */
#ifndef DEPLOY_LOGIN_H
#define DEPLOY_LOGIN_H

#include "base/flag.h"
#include "deploy/remote.h"

/* Part of a program's config. */
struct login_config {
	char *username, *password, *password_file, *key_file;
	uint64_t port, connect_ms, command_ms;
	bool ask_password;
};

/* clang-format off */
#define LOGIN_FLAGS(config, field)					\
	{.name = "port",						\
	 .type = FLAG_UINT,						\
	 .off = offsetof(config, field.port),				\
	 .min = 0,							\
	 .max = 65535,							\
	 .arg = "PORT",							\
	 .group = "Logging in to nodes",				\
	 .help = "SSH port. Default: what ssh's own configuration "	\
		 "says."},						\
	{.name = "username",						\
	 .type = FLAG_STR,						\
	 .off = offsetof(config, field.username),			\
	 .arg = "USER",							\
	 .help = "User; one who is not root needs sudo without a "	\
		 "password. Default: what ssh's own configuration "	\
		 "says."},						\
	{.name = "key_file",						\
	 .type = FLAG_STR,						\
	 .off = offsetof(config, field.key_file),			\
	 .arg = "FILE",							\
	 .help = "Private key. Default: ssh's own keys and agent."},	\
	{.name = "ask_password",					\
	 .type = FLAG_BOOL,						\
	 .off = offsetof(config, field.ask_password),			\
	 .help = "Ask for the password on the terminal."},		\
	{.name = "password_file",					\
	 .type = FLAG_STR,						\
	 .off = offsetof(config, field.password_file),			\
	 .arg = "FILE",							\
	 .help = "File with the password; nobody else may read it."},	\
	{.name = "password",						\
	 .type = FLAG_STR,						\
	 .off = offsetof(config, field.password),			\
	 .arg = "PASSWORD",						\
	 .attrs = FLAG_HIDDEN,						\
	 .help = "As upstream's tools have it: everybody on this "	\
		 "machine can read it in the list of processes. Use "	\
		 "--password_file."},					\
	{.name = "connect_timeout",					\
	 .type = FLAG_MS,						\
	 .off = offsetof(config, field.connect_ms),			\
	 .def = "20s",							\
	 .min = 1000,							\
	 .max = 3600000,						\
	 .arg = "TIME",							\
	 .help = "Patience for a connection to a node."},		\
	{.name = "command_timeout",					\
	 .type = FLAG_MS,						\
	 .off = offsetof(config, field.command_ms),			\
	 .max = 86400000,						\
	 .arg = "TIME",							\
	 .help = "Patience for each command there. Default: 30s to "	\
		 "look, 1m to change something, 2m to start or end a "	\
		 "target. What takes back has 30s at least."}
/* clang-format on */

/* The password, from wherever it comes; NULL when there is none.  Asks at most
 * once: before threads are started.  secret_free() it. */
int login_password(const struct login_config *login, char **out,
		   struct err *err);
/* host and the result live as long as login, host and password do. */
struct remote_opts login_opts(const struct login_config *login,
			      const char *host, const char *password);

#endif
