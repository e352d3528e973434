/* Files, sections and %include; the whole configuration's making, copying and end. */
#include "server/config_rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parser/ini.h"

enum { INI_FILE_MAX = 16 << 20, INCLUDE_DEPTH = 10 };

enum section { SECTION_NONE, SECTION_OPTIONS, SECTION_DATABASES, SECTION_USERS, SECTION_PEERS };

struct section_name {
	const char *name; /* first: config_nearest() */
	enum section section;
};

static const struct section_name sections[] = {
	{ "pgbouncer", SECTION_OPTIONS }, { "pgporter", SECTION_OPTIONS }, { "databases", SECTION_DATABASES },
	{ "users", SECTION_USERS },	  { "peers", SECTION_PEERS },
};

enum { N_SECTIONS = sizeof sections / sizeof *sections };

/* The section goes on through %include and out of it again, as in PgBouncer. */
struct loader {
	struct config *c;
	enum section section;
	int depth;
	char *why;
	size_t why_cap;
};

static bool load_file(struct loader *l, const char *path, const char *from, size_t line);

static bool enter_section(struct loader *l, const char *name, struct config_why *why)
{
	const char *near;

	for (size_t i = 0; i < N_SECTIONS; i++)
		if (!strcasecmp(sections[i].name, name)) {
			l->section = sections[i].section;
			return true;
		}
	near = config_nearest(name, sections, N_SECTIONS, sizeof *sections);
	return config_say(why, "[%.100s] is no section; %s%s%s", name, near ? "did you mean [" : "there are [databases], [users] and [pgbouncer",
			  near ? near : "", "]");
}

static bool take_pair(struct loader *l, struct ini_line *line, struct config_why *why)
{
	switch (l->section) {
	case SECTION_OPTIONS:
		return config_option_set(l->c, line->name, line->value, why);
	case SECTION_DATABASES:
		return config_database_line(l->c, line->name, line->value, why);
	case SECTION_USERS:
		return config_user_line(l->c, line->name, line->value, why);
	case SECTION_PEERS:
		return config_say(why, "[peers]: pgporter does not pass cancel requests on to peers; leave [peers] and peer_id out and run one "
				       "process, or give each process a port of its own");
	case SECTION_NONE:
		break;
	}
	return config_say(why, "%.100s stands before any section; begin with [databases], [users] or [pgbouncer]", line->name);
}

static bool fail(struct loader *l, const char *path, size_t line, const char *text)
{
	if (line)
		snprintf(l->why, l->why_cap, "%s:%zu: %s", path, line, text);
	else if (!path)
		snprintf(l->why, l->why_cap, "%s", text);
	else
		snprintf(l->why, l->why_cap, "%s: %s", path, text);
	return false;
}

static bool take_line(struct loader *l, const char *path, size_t number, char *text)
{
	struct ini_line line;
	struct config_why why;

	switch (ini_line(text, &line)) {
	case INI_BLANK:
		return true;
	case INI_BAD:
		return fail(l, path, number, line.error);
	case INI_SECTION:
		return enter_section(l, line.name, &why) || fail(l, path, number, why.text);
	case INI_PAIR:
		return take_pair(l, &line, &why) || fail(l, path, number, why.text);
	case INI_INCLUDE:
		if (l->depth == INCLUDE_DEPTH)
			return fail(l, path, number, "%include goes deeper than 10 files; does a file include itself?");
		return load_file(l, line.value, path, number);
	}
	abort();
}

static bool load_lines(struct loader *l, const char *path, char *text)
{
	char *next;

	for (size_t number = 1; text; text = next, number++) {
		next = strchr(text, '\n');
		if (next)
			*next++ = 0;
		if (!take_line(l, path, number, text))
			return false;
	}
	return true;
}

/* from and line: where the %include stands; NULL for the file that was given. */
static bool load_file(struct loader *l, const char *path, const char *from, size_t line)
{
	size_t len;
	char *text = config_read_file(path, INI_FILE_MAX, &len);
	struct config_why why;
	bool ok;

	if (!text) {
		config_say(&why, "%s%.300s can't be read: %s", from ? "%include " : "", path, strerror(errno));
		return fail(l, from, line, why.text);
	}
	if (strlen(text) != len) {
		ok = fail(l, path, 0, "holds a NUL byte; it is no text file");
	} else {
		l->depth++;
		ok = load_lines(l, path, text);
		l->depth--;
	}
	explicit_bzero(text, len);
	free(text);
	return ok;
}

/* Every parameter that PostgreSQL takes is carried; the list only tells what to drop where it does not. */
static void warn_of_startup_parameters(struct config *c)
{
	const char *list = c->ignore_startup_parameters;

	if (list[strspn(list, ", \t")])
		config_warn(c, "ignore_startup_parameters: %s: carried to the server where PostgreSQL accepts them, so these need not be "
			       "listed; dropped only where it refuses them", list);
}

static bool finish(struct loader *l)
{
	struct config_why why;

	config_functions_make(l->c);
	config_options_warn(l->c);
	warn_of_startup_parameters(l->c);
	return config_secrets_load(l->c, &why) || fail(l, l->c->path, 0, why.text);
}

struct config *config_load(const char *path, char *why, size_t why_cap)
{
	struct config *c = config_alloc(sizeof *c);
	struct loader l = { .c = c, .why = why, .why_cap = why_cap };

	c->path = config_strdup(path);
	config_options_init(c);
	if (load_file(&l, path, NULL, 0) && finish(&l))
		return c;
	config_free(c);
	return NULL;
}

struct config *config_reload(const struct config *running, char *why, size_t why_cap)
{
	struct config *c = config_load(*running->conffile ? running->conffile : running->path, why, why_cap);
	struct config_why never;

	if (!c)
		return NULL;
	/* A conffile counts until another one is named: path stays what the command line gave. */
	free(c->path);
	c->path = config_strdup(running->path);
	if (!*c->conffile)
		config_option_set(c, "conffile", running->conffile, &never);
	config_options_keep(c, running);
	return c;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	config_secrets_free(c);
	config_lists_free(c);
	config_functions_free(&c->touching);
	config_functions_free(&c->stateless);
	config_options_free(c);
	for (size_t i = 0; i < c->n_warnings; i++)
		free(c->warnings[i]);
	free(c->warnings);
	free(c->path);
	free(c);
}

struct config *config_with(const struct config *from, const char *name, const char *value, bool *ignored, char *why, size_t why_cap)
{
	struct config *c = config_alloc(sizeof *c);
	struct config_why text;
	bool ok;

	c->path = config_strdup(from->path);
	config_options_init(c);
	config_options_copy(c, from);
	config_lists_copy(c, from);
	for (size_t i = 0; i < from->n_warnings; i++)
		config_warn(c, "%s", from->warnings[i]);
	*ignored = !config_option_changeable(name);
	ok = *ignored || config_option_set(c, name, value, &text);
	if (ok)
		config_functions_make(c);
	if (ok && strcmp(c->auth_file, from->auth_file))
		ok = config_secrets_load(c, &text);
	else
		config_secrets_copy(c, from);
	if (ok)
		return c;
	snprintf(why, why_cap, "%s", text.text);
	config_free(c);
	return NULL;
}
