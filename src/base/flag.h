/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Option table: one table per program gives defaults, environment, command
 * line, configuration file (web/conf.h feeds it) and --help.
 *
 * Command line as gflags has it: --name=value, --name value, -name=value,
 * booleans also --name and --noname, '-' and '_' alike, "--" ends options.
 * Order of precedence: command line > file > environment > default, whatever
 * order the sources are read in.  All values are parsed and range-checked;
 * errors name the option, the value, where it came from and what is expected.
 */
#ifndef BASE_FLAG_H
#define BASE_FLAG_H

#include "base/err.h"
#include "base/str.h"

enum flag_type {
	FLAG_BOOL,   /* bool */
	FLAG_INT,    /* int64_t */
	FLAG_UINT,   /* uint64_t */
	FLAG_DOUBLE, /* double */
	FLAG_STR,    /* char *, owned by the config, never NULL after init */
	FLAG_SIZE,   /* uint64_t bytes, str_to_size() */
	FLAG_MS,     /* uint64_t milliseconds, str_to_ms() */
	/* struct flag_list; the option may be repeated, and a higher source
	 * replaces the items of a lower one.  Default and environment hold all
	 * items in one text, parted by commas. */
	FLAG_LIST,
};

struct flag_list {
	char **items;
	size_t count;
};

enum {
	FLAG_HIDDEN = 1, /* not in --help (still in the man page) */
	/* Accepted for compatibility, no effect: warned.  Any value goes, and
	 * off is not used. */
	FLAG_IGNORED = 2,
	FLAG_REQUIRED = 4,
};

enum flag_source {
	FLAG_SRC_DEFAULT,
	FLAG_SRC_ENV,
	FLAG_SRC_FILE,
	FLAG_SRC_CMDLINE
};

struct flag {
	const char *name;  /* with '_' */
	const char *alias; /* other names, comma separated, or NULL */
	enum flag_type type;
	size_t off;	 /* offsetof in the config struct */
	const char *def; /* default as text, NULL = zero/""/empty list */
	double min, max; /* checked when max > min */
	const char *env; /* environment variable or NULL */
	/* The value of the option written without one; NULL = it needs one.
	 * With it "--name VALUE" is not understood, "--name=VALUE" is. */
	const char *alone;
	const char
		*arg; /* what to call the value in --help, e.g. "HOST:PORT" */
	const char *help; /* one sentence or more; wrapped when printed */
	const char
		*group; /* heading in --help; NULL = that of the one before */
	unsigned attrs;
};

struct flag_prog {
	const char *name;     /* program name */
	const char *summary;  /* one line */
	const char *usage;    /* after the name: "[options] COMMAND …" */
	const char *details;  /* paragraphs before the options, or NULL */
	const char *examples; /* whole lines, or NULL */
	const struct flag *flags;
	size_t flag_count;
	size_t args_min, args_max; /* positional arguments */
};

struct flag_set {
	const struct flag_prog *prog;
	void *config;	       /* the struct that off points into */
	uint8_t *source;       /* enum flag_source per flag */
	struct flag_list args; /* positional arguments */
};

/* Sets defaults; config must be zeroed.  -ENOMEM. */
int flag_init(struct flag_set *fs, const struct flag_prog *prog, void *config,
	      struct err *err);
void flag_fini(struct flag_set *fs); /* frees strings and lists of config too */
/* An empty variable counts as unset. */
int flag_parse_env(struct flag_set *fs, struct err *err);
/*
 * argv[0] is skipped.  Returns 0, -errno with err set, or FLAG_DONE when
 * --help or --version was asked for and printed to stdout.
 */
#define FLAG_DONE 1
int flag_parse_args(struct flag_set *fs, int argc, char **argv,
		    struct err *err);
/* One value from a file or other source; where is put into messages, e.g.
 * "master.json:3:12".  -ENOENT for an unknown name. */
int flag_set_text(struct flag_set *fs, const char *name, struct str value,
		  enum flag_source source, const char *where, struct err *err);
/* After all sources: required ones present?  Warn about ignored ones. */
int flag_check(struct flag_set *fs, struct err *err);
void flag_format_help(const struct flag_prog *prog, struct strbuf *out);
/* All options with value and source, one per line: printed at start (-v). */
void flag_format_values(const struct flag_set *fs, struct strbuf *out);

/*
 * The usual main(): env, args, check.  On error prints
 * "PROG: sentence" and "Try 'PROG --help'." to stderr.  Returns 0 to go on,
 * or 1 with *exit_status set (0 after --help, 2 for wrong use) and fs
 * finished already.
 */
int flag_main(struct flag_set *fs, const struct flag_prog *prog, void *config,
	      int argc, char **argv, int *exit_status);

extern const char mooncake_version[]; /* for --version */

#endif
