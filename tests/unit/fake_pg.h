/* tests/unit/fake_pg.h — a very small PostgreSQL: messages in, messages out. Settings with their transactions and
 * savepoints, ParameterStatus at ReadyForQuery, prepared statements of both kinds in one namespace, portals, batches
 * that skip to Sync, COPY FROM STDIN, and what pgporter asks of it. SQL is told by how it begins. Included by the tests
 * of sessions; what a client sees through a session must be what it sees alone on one of these. */
#ifndef PGPORTER_TESTS_FAKE_PG_H
#define PGPORTER_TESTS_FAKE_PG_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "parser/buf.h"
#include "parser/reader.h"
#include "parser/wire.h"

#pragma GCC diagnostic ignored "-Wunused-function"

enum { PG_VARS = 24, PG_STMTS = 64, PG_PORTALS = 64, PG_SAVES = 8, PG_WORD = 96, PG_TEXT = 4096 };

struct pg_var {
	char name[PG_WORD], base[PG_WORD], value[PG_WORD], local[PG_WORD]; /* base: of its startup packet */
	bool set, has_local;
};

struct pg_vars {
	size_t n;
	struct pg_var v[PG_VARS];
};

struct pg_stmt {
	bool used, from_sql;
	char name[PG_WORD], meaning[PG_WORD];
	char *text;
};

struct pg_portal {
	bool used, done;
	char name[PG_WORD], meaning[PG_WORD];
	char *text;
	size_t n_values;
	char *values[64];
};

struct pg {
	struct buf in, out;
	struct pg_vars vars, at_begin;
	struct { char name[PG_WORD]; struct pg_vars vars; } saves[PG_SAVES];
	size_t n_saves;
	bool implicit, explicit_, failed, skip, copying, copy_simple, in_batch;
	/* PostgreSQL 18: a Query behind an Execute is in its transaction, which Sync ends by half where nothing has begun since. */
	bool half_ends, executed, begun, half_ended;
	bool commits; /* or where it says the same and commits */
	char told_tz[PG_WORD], told_app[PG_WORD];
	struct pg_stmt stmts[PG_STMTS];
	struct pg_portal portals[PG_PORTALS];
	int locks, listens;
	bool broken; /* was told what no client of it may say */
	unsigned long statements; /* run, but for pgporter's own */
};

static void pg_init(struct pg *g)
{
	memset(g, 0, sizeof *g);
	strcpy(g->told_tz, "default");
	strcpy(g->told_app, "default");
}

static void pg_stmt_drop(struct pg_stmt *st)
{
	free(st->text);
	memset(st, 0, sizeof *st);
}

static void pg_portal_drop(struct pg_portal *p)
{
	free(p->text);
	for (size_t i = 0; i < p->n_values; i++)
		free(p->values[i]);
	memset(p, 0, sizeof *p);
}

static void pg_release(struct pg *g)
{
	for (size_t i = 0; i < PG_STMTS; i++)
		pg_stmt_drop(&g->stmts[i]);
	for (size_t i = 0; i < PG_PORTALS; i++)
		pg_portal_drop(&g->portals[i]);
	buf_release(&g->in);
	buf_release(&g->out);
}

/* ---- settings ---- */

static struct pg_var *pg_var(struct pg *g, const char *name)
{
	for (size_t i = 0; i < g->vars.n; i++)
		if (!strcasecmp(g->vars.v[i].name, name))
			return &g->vars.v[i];
	if (g->vars.n == PG_VARS)
		abort();
	snprintf(g->vars.v[g->vars.n].name, PG_WORD, "%s", name);
	return &g->vars.v[g->vars.n++];
}

static const char *pg_show(struct pg *g, const char *name)
{
	struct pg_var *v = pg_var(g, name);

	return v->has_local ? v->local : v->set ? v->value : *v->base ? v->base : "default";
}

static void pg_start_with(struct pg *g, const char *name, const char *value)
{
	snprintf(pg_var(g, name)->base, PG_WORD, "%s", value);
	snprintf(g->told_tz, PG_WORD, "%s", pg_show(g, "timezone"));
	snprintf(g->told_app, PG_WORD, "%s", pg_show(g, "application_name"));
}

static void pg_set(struct pg *g, const char *name, const char *value, bool local)
{
	struct pg_var *v = pg_var(g, name);

	if (local) {
		v->has_local = true;
		snprintf(v->local, PG_WORD, "%s", value ? value : "default");
		return;
	}
	v->has_local = false;
	v->set = value;
	snprintf(v->value, PG_WORD, "%s", value ? value : "");
}

static void pg_reset_all(struct pg *g)
{
	for (size_t i = 0; i < g->vars.n; i++)
		if (strcmp(g->vars.v[i].name, "role"))
			g->vars.v[i].set = g->vars.v[i].has_local = false;
}

/* ---- transactions ---- */

static void pg_portals_end(struct pg *g)
{
	for (size_t i = 0; i < PG_PORTALS; i++)
		if (g->portals[i].used)
			pg_portal_drop(&g->portals[i]);
}

static void pg_end(struct pg *g, bool commit)
{
	if (!commit)
		g->vars = g->at_begin;
	for (size_t i = 0; i < g->vars.n; i++)
		g->vars.v[i].has_local = false;
	g->implicit = g->explicit_ = g->failed = g->executed = false;
	g->n_saves = 0;
	pg_portals_end(g);
}

static void pg_start(struct pg *g)
{
	if (g->implicit || g->explicit_)
		return;
	g->implicit = true;
	g->at_begin = g->vars;
}

static void pg_error(struct pg *g, const char *code, const char *fmt, const char *arg)
{
	char text[PG_TEXT];

	snprintf(text, sizeof text, fmt, arg);
	msg_report(&g->out, 'E', "ERROR", code, text, NULL, NULL);
	if (g->explicit_)
		g->failed = true;
	else if (g->implicit)
		pg_end(g, false);
	g->copying = false;
}

static void pg_tell(struct pg *g, const char *name, const char *as, char *told)
{
	const char *now = pg_show(g, name);
	size_t mark;

	if (!strcmp(now, told))
		return;
	snprintf(told, PG_WORD, "%s", now);
	mark = msg_begin(&g->out, 'S');
	buf_str(&g->out, as);
	buf_str(&g->out, now);
	msg_end(&g->out, mark);
}

static void pg_ready_in(struct pg *g, bool within)
{
	char status;

	if (g->implicit && !within)
		pg_end(g, true);
	g->in_batch = g->begun = false;
	status = g->failed ? 'E' : g->explicit_ || (g->implicit && !g->half_ended) ? 'T' : 'I';
	pg_tell(g, "timezone", "TimeZone", g->told_tz);
	pg_tell(g, "application_name", "application_name", g->told_app);
	msg_add(&g->out, 'Z', &status, 1);
}

static void pg_ready(struct pg *g)
{
	pg_ready_in(g, false);
}

static void pg_sync(struct pg *g)
{
	g->half_ended = g->half_ends && !g->commits && g->implicit && g->executed && !g->begun;
	pg_ready_in(g, g->half_ended);
}

static bool pg_begins(const char *text, const char *with)
{
	return !strncasecmp(text, with, strlen(with));
}

static bool pg_is_exit(const char *text)
{
	return pg_begins(text, "COMMIT") || pg_begins(text, "ROLLBACK");
}

/* ---- prepared statements ---- */

static struct pg_stmt *pg_stmt_find(struct pg *g, const char *name)
{
	for (size_t i = 0; i < PG_STMTS; i++)
		if (g->stmts[i].used && !strcmp(g->stmts[i].name, name))
			return &g->stmts[i];
	return NULL;
}

static struct pg_stmt *pg_stmt_put(struct pg *g, const char *name, const char *text, bool from_sql)
{
	struct pg_stmt *st = g->stmts;

	while (st < g->stmts + PG_STMTS && st->used)
		st++;
	if (st == g->stmts + PG_STMTS)
		abort();
	st->used = true;
	st->from_sql = from_sql;
	snprintf(st->name, PG_WORD, "%s", name);
	snprintf(st->meaning, PG_WORD, "%s", pg_show(g, "search_path"));
	st->text = strdup(text);
	return st;
}

static void pg_drop_unnamed(struct pg *g)
{
	struct pg_stmt *st = pg_stmt_find(g, "");

	if (st)
		pg_stmt_drop(st);
}

/* ---- statements ---- */

struct pg_run {
	const char *meaning; /* of search_path when it was parsed */
	char **values;
	size_t n_values;
	bool simple, several;
};

static bool pg_returns_rows(const char *text)
{
	return pg_begins(text, "SELECT") || pg_begins(text, "SHOW") || pg_begins(text, "EXECUTE");
}

static void pg_describe_row(struct pg *g, const char *text)
{
	size_t mark;

	if (!pg_returns_rows(text)) {
		msg_add(&g->out, 'n', NULL, 0);
		return;
	}
	mark = msg_begin(&g->out, 'T');
	buf_u16(&g->out, 1);
	buf_str(&g->out, pg_begins(text, "SELECT pg_catalog.set_config") ? "set_config" : "value");
	buf_add(&g->out, "\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0", 18);
	msg_end(&g->out, mark);
}

static void pg_row(struct pg *g, const char *value)
{
	size_t mark = msg_begin(&g->out, 'D');

	buf_u16(&g->out, 1);
	buf_u32(&g->out, (uint32_t)strlen(value));
	buf_text(&g->out, value);
	msg_end(&g->out, mark);
}

static void pg_tag(struct pg *g, const char *tag)
{
	msg_add(&g->out, 'C', tag, strlen(tag) + 1);
}

static void pg_one(struct pg *g, const struct pg_run *r, const char *text, const char *value)
{
	if (r->simple)
		pg_describe_row(g, text);
	pg_row(g, value);
	pg_tag(g, "SELECT 1");
}

/* The n-th thing in single quotes. */
static bool pg_quoted(const char *text, size_t n, char out[PG_WORD])
{
	size_t at = 0;

	do {
		text = strchr(text, '\'');
		if (!text)
			return false;
		for (at = 0, text++; *text && *text != '\''; text++)
			if (at < PG_WORD - 1)
				out[at++] = *text;
		if (*text)
			text++;
		out[at] = 0;
	} while (n--);
	return true;
}

static void pg_word(const char *text, char out[PG_WORD])
{
	size_t n = strcspn(text, " ;(=");

	snprintf(out, PG_WORD, "%.*s", (int)(n < PG_WORD ? n : PG_WORD - 1), text);
}

static bool pg_bad_value(struct pg *g, const char *name, const char *value)
{
	if (!value || strcmp(value, "bad"))
		return false;
	pg_error(g, "22023", "invalid value for parameter \"%s\"", name);
	return true;
}

static bool pg_do_set(struct pg *g, const char *text)
{
	char name[PG_WORD], value[PG_WORD];
	bool local = pg_begins(text, "LOCAL ");
	const char *eq;

	if (local)
		text += 6;
	pg_word(text, name);
	eq = strchr(text, '=');
	if (!eq)
		abort();
	if (!pg_quoted(eq, 0, value))
		pg_word(eq + 2, value);
	if (pg_bad_value(g, name, value))
		return false;
	pg_set(g, name, value, local);
	pg_tag(g, "SET");
	return true;
}

static bool pg_set_configs(struct pg *g, const struct pg_run *r, const char *text)
{
	bool local = strstr(text, "true)");
	char name[PG_WORD], value[PG_WORD];

	if (strchr(text, '$')) {
		for (size_t i = 0; i + 1 < r->n_values; i += 2) {
			if (pg_bad_value(g, r->values[i], r->values[i + 1]))
				return false;
			pg_set(g, r->values[i], r->values[i + 1], local);
		}
		pg_one(g, r, text, "set");
		return true;
	}
	if (!pg_quoted(text, 0, name) || !pg_quoted(text, 1, value))
		abort();
	if (pg_bad_value(g, name, value))
		return false;
	pg_set(g, name, value, local);
	pg_one(g, r, text, value);
	return true;
}

static bool pg_transaction(struct pg *g, const char *text)
{
	char name[PG_WORD];

	if (pg_begins(text, "BEGIN")) {
		g->implicit = false;
		g->explicit_ = true;
		pg_tag(g, "BEGIN");
	} else if (pg_begins(text, "COMMIT")) {
		bool good = !g->failed;

		pg_end(g, good);
		pg_tag(g, good ? "COMMIT" : "ROLLBACK");
	} else if (pg_begins(text, "ROLLBACK TO ") || pg_begins(text, "SAVEPOINT ") || pg_begins(text, "RELEASE ")) {
		size_t i = g->n_saves;

		pg_word(strrchr(text, ' ') + 1, name);
		if (!g->explicit_) {
			pg_error(g, "25P01", "%s can only be used in transaction blocks", "SAVEPOINT");
			return false;
		}
		if (pg_begins(text, "SAVEPOINT ")) {
			if (g->n_saves == PG_SAVES)
				abort();
			snprintf(g->saves[g->n_saves].name, PG_WORD, "%s", name);
			g->saves[g->n_saves++].vars = g->vars;
			pg_tag(g, "SAVEPOINT");
			return true;
		}
		while (i && strcmp(g->saves[i - 1].name, name))
			i--;
		if (!i) {
			pg_error(g, "3B001", "savepoint \"%s\" does not exist", name);
			return false;
		}
		if (pg_begins(text, "RELEASE ")) {
			g->n_saves = i - 1;
			pg_tag(g, "RELEASE");
			return true;
		}
		g->vars = g->saves[i - 1].vars;
		g->n_saves = i;
		g->failed = false;
		pg_portals_end(g);
		pg_tag(g, "ROLLBACK");
	} else {
		pg_end(g, false);
		pg_tag(g, "ROLLBACK");
	}
	return true;
}

/* What settings are just now: pgporter asks in the middle of a transaction. */
static void pg_current_settings(struct pg *g, const char *text)
{
	size_t mark = msg_begin(&g->out, 'D');
	uint16_t n = 0;
	const char *at;

	for (at = text; (at = strstr(at, "current_setting(E'")); at++)
		n++;
	buf_u16(&g->out, n);
	for (at = text; (at = strstr(at, "current_setting(E'")); at++) {
		char name[PG_WORD];

		pg_quoted(at, 0, name);
		buf_u32(&g->out, (uint32_t)strlen(pg_show(g, name)));
		buf_text(&g->out, pg_show(g, name));
	}
	msg_end(&g->out, mark);
	pg_tag(g, "SELECT 1");
}

static bool pg_statement(struct pg *g, const struct pg_run *r, const char *text);

static bool pg_prepared(struct pg *g, const struct pg_run *r, const char *text)
{
	char name[PG_WORD];
	struct pg_stmt *st;

	if (pg_begins(text, "PREPARE ")) {
		const char *as = strstr(text, " AS ");

		pg_word(text + 8, name);
		if (pg_stmt_find(g, name)) {
			pg_error(g, "42P05", "prepared statement \"%s\" already exists", name);
			return false;
		}
		pg_stmt_put(g, name, as ? as + 4 : "SELECT 1", true);
		pg_tag(g, "PREPARE");
		return true;
	}
	if (pg_begins(text, "DEALLOCATE ALL")) {
		for (size_t i = 0; i < PG_STMTS; i++)
			if (g->stmts[i].used && *g->stmts[i].name)
				pg_stmt_drop(&g->stmts[i]);
		pg_tag(g, "DEALLOCATE ALL");
		return true;
	}
	pg_word(strchr(text, ' ') + 1, name);
	st = pg_stmt_find(g, name);
	if (!st) {
		pg_error(g, "26000", "prepared statement \"%s\" does not exist", name);
		return false;
	}
	if (pg_begins(text, "DEALLOCATE ")) {
		pg_stmt_drop(st);
		pg_tag(g, "DEALLOCATE");
		return true;
	}
	return pg_statement(g, &(struct pg_run){ .meaning = st->meaning, .simple = r->simple }, st->text);
}

static bool pg_discard_all(struct pg *g, const struct pg_run *r)
{
	if (g->explicit_ || r->several) {
		pg_error(g, "25001", "%s cannot run inside a transaction block", "DISCARD ALL");
		return false;
	}
	pg_reset_all(g);
	pg_var(g, "role")->set = false;
	for (size_t i = 0; i < PG_STMTS; i++)
		if (g->stmts[i].used && *g->stmts[i].name)
			pg_stmt_drop(&g->stmts[i]);
	g->locks = g->listens = 0;
	pg_tag(g, "DISCARD ALL");
	return true;
}

/* Returns false after an error. */
static bool pg_statement(struct pg *g, const struct pg_run *r, const char *text)
{
	char name[PG_WORD], value[PG_WORD];

	g->statements++;
	pg_start(g);
	if (g->failed && !pg_is_exit(text)) {
		pg_error(g, "25P02", "current transaction is aborted, commands ignored until end of %s block", "transaction");
		return false;
	}
	if (pg_begins(text, "BEGIN") || pg_is_exit(text) || pg_begins(text, "SAVEPOINT ") || pg_begins(text, "RELEASE "))
		return pg_transaction(g, text);
	if (pg_begins(text, "SET "))
		return pg_do_set(g, text + 4);
	if (pg_begins(text, "RESET ALL")) {
		pg_reset_all(g);
		pg_tag(g, "RESET");
	} else if (pg_begins(text, "RESET ")) {
		pg_word(text + 6, name);
		pg_set(g, name, NULL, false);
		pg_tag(g, "RESET");
	} else if (pg_begins(text, "DISCARD ALL")) {
		return pg_discard_all(g, r);
	} else if (pg_begins(text, "DISCARD SEQUENCES")) {
		pg_tag(g, "DISCARD SEQUENCES");
	} else if (pg_begins(text, "SHOW ")) {
		pg_word(text + 5, name);
		if (r->simple)
			pg_describe_row(g, text);
		pg_row(g, pg_show(g, name));
		pg_tag(g, "SHOW");
	} else if (pg_begins(text, "PREPARE ") || pg_begins(text, "EXECUTE ") || pg_begins(text, "DEALLOCATE ")) {
		return pg_prepared(g, r, text);
	} else if (pg_begins(text, "SELECT pg_catalog.set_config") || pg_begins(text, "SELECT set_config")) {
		return pg_set_configs(g, r, text);
	} else if (pg_begins(text, "SELECT pg_catalog.current_setting(E'")) {
		pg_current_settings(g, text);
	} else if (pg_begins(text, "SELECT 1/0")) {
		pg_error(g, "22012", "%s by zero", "division");
		return false;
	} else if (pg_begins(text, "SELECT parsed")) {
		pg_one(g, r, text, r->meaning ? r->meaning : pg_show(g, "search_path"));
	} else if (pg_begins(text, "SELECT pg_advisory_lock")) {
		g->locks++;
		pg_one(g, r, text, "");
	} else if (pg_begins(text, "SELECT pg_advisory_unlock")) {
		g->locks = g->locks && !strstr(text, "all") ? g->locks - 1 : 0;
		pg_one(g, r, text, "");
	} else if (pg_begins(text, "SELECT")) {
		pg_one(g, r, text, text + 6);
	} else if (pg_begins(text, "DO $pgporter$BEGIN RAISE EXCEPTION ") && pg_quoted(text, 0, value) && pg_quoted(text, 1, name)) {
		pg_error(g, name, "%s", value);
		return false;
	} else if (pg_begins(text, "DO ")) { /* DO 'name value': a function that sets */
		char both[PG_WORD];

		if (!pg_quoted(text, 0, both) || !strchr(both, ' '))
			abort();
		pg_word(both, name);
		pg_word(strchr(both, ' ') + 1, value);
		if (pg_bad_value(g, name, value))
			return false;
		pg_set(g, name, value, false);
		pg_tag(g, "DO");
	} else if (pg_begins(text, "UNLISTEN ")) {
		g->listens = pg_begins(text, "UNLISTEN pgporter") ? g->listens : 0;
		pg_tag(g, "UNLISTEN");
	} else if (pg_begins(text, "LISTEN ")) {
		g->listens = 1;
		pg_tag(g, "LISTEN");
	} else if (pg_begins(text, "COPY ")) {
		msg_add(&g->out, 'G', "\0\0\0", 3);
		g->copying = true;
		g->copy_simple = r->simple;
	} else {
		pg_error(g, "42601", "syntax error at or near \"%s\"", text);
		return false;
	}
	return true;
}

static bool pg_blank(const char *text)
{
	return !text[strspn(text, " ;")];
}

/* What pgporter asks after a transaction. */
static void pg_observed(struct pg *g, const char *text)
{
	static const struct { const char *from; char kind; } counts[] = {
		{ "pg_catalog.pg_locks", 'l' }, { "pg_catalog.pg_cursors", 'c' }, { "pg_catalog.pg_listening_channels", 'n' },
	};
	const char *at = text;

	pg_tag(g, "BEGIN");
	while ((at = strstr(at, "current_setting(E'"))) {
		char name[PG_WORD];
		size_t mark = msg_begin(&g->out, 'D');

		pg_quoted(at, 0, name);
		buf_u16(&g->out, 3);
		buf_add(&g->out, "\0\0\0\1g", 5);
		buf_u32(&g->out, (uint32_t)strlen(name));
		buf_text(&g->out, name);
		buf_u32(&g->out, (uint32_t)strlen(pg_show(g, name)));
		buf_text(&g->out, pg_show(g, name));
		msg_end(&g->out, mark);
		at += 10;
	}
	for (size_t i = 0; strstr(text, "pg_settings") && i < g->vars.n; i++) {
		size_t mark;

		if (!g->vars.v[i].set || strchr(g->vars.v[i].name, '.'))
			continue;
		mark = msg_begin(&g->out, 'D');
		buf_u16(&g->out, 3);
		buf_add(&g->out, "\0\0\0\1a", 5);
		buf_u32(&g->out, (uint32_t)strlen(g->vars.v[i].name));
		buf_text(&g->out, g->vars.v[i].name);
		buf_u32(&g->out, (uint32_t)strlen(g->vars.v[i].value));
		buf_text(&g->out, g->vars.v[i].value);
		msg_end(&g->out, mark);
	}
	for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
		int n = counts[i].kind == 'l' ? g->locks : counts[i].kind == 'n' ? g->listens : 0;
		size_t mark;

		if (!strstr(text, counts[i].from))
			continue;
		mark = msg_begin(&g->out, 'D');
		buf_u16(&g->out, 3);
		buf_u32(&g->out, 1);
		buf_u8(&g->out, (uint8_t)counts[i].kind);
		buf_u32(&g->out, 0);
		buf_u32(&g->out, 1);
		buf_u8(&g->out, (uint8_t)('0' + (n > 9 ? 9 : n)));
		msg_end(&g->out, mark);
	}
	pg_tag(g, "COMMIT");
	pg_ready(g);
}

static void pg_query(struct pg *g, const char *text)
{
	struct pg_run r = { .simple = true };
	bool any = false;

	pg_drop_unnamed(g);
	if (pg_begins(text, "BEGIN ISOLATION LEVEL READ COMMITTED;")) {
		if (g->explicit_ || g->implicit)
			g->broken = true;
		pg_observed(g, text);
		return;
	}
	r.several = strchr(text, ';') && !pg_blank(strchr(text, ';'));
	while (!pg_blank(text)) {
		size_t n;
		char one[PG_TEXT];

		text += strspn(text, " ;");
		n = strcspn(text, ";");
		snprintf(one, sizeof one, "%.*s", (int)n, text);
		text += n;
		any = true;
		if (!pg_statement(g, &r, one))
			break;
		if (g->copying)
			return;
	}
	if (!any)
		msg_add(&g->out, 'I', NULL, 0);
	pg_ready_in(g, g->half_ends && g->executed && !r.several);
}

/* ---- the extended protocol ---- */

static void pg_parse(struct pg *g, struct reader *r)
{
	const char *name = reader_str(r, NULL), *text = reader_str(r, NULL);

	if (!text)
		abort();
	if (!*name)
		pg_drop_unnamed(g);
	pg_start(g);
	if (strstr(text, "syntax")) {
		pg_error(g, "42601", "syntax error at or near \"%s\"", "syntax");
		return;
	}
	if (g->failed && !pg_is_exit(text)) {
		pg_error(g, "25P02", "current transaction is aborted, commands ignored until end of %s block", "transaction");
		return;
	}
	if (*name && pg_stmt_find(g, name)) {
		pg_error(g, "42P05", "prepared statement \"%s\" already exists", name);
		return;
	}
	pg_stmt_put(g, name, text, false);
	msg_add(&g->out, '1', NULL, 0);
}

static struct pg_portal *pg_portal_find(struct pg *g, const char *name)
{
	for (size_t i = 0; i < PG_PORTALS; i++)
		if (g->portals[i].used && !strcmp(g->portals[i].name, name))
			return &g->portals[i];
	return NULL;
}

static void pg_bind(struct pg *g, struct reader *r)
{
	const char *portal = reader_str(r, NULL), *name = reader_str(r, NULL);
	struct pg_stmt *st;
	struct pg_portal *p;
	uint16_t n;

	if (!name)
		abort();
	pg_start(g);
	st = pg_stmt_find(g, name);
	if (!st) {
		pg_error(g, "26000", *name ? "prepared statement \"%s\" does not exist" : "unnamed prepared statement does not exist%s",
			 name);
		return;
	}
	if (g->failed && !pg_is_exit(st->text)) {
		pg_error(g, "25P02", "current transaction is aborted, commands ignored until end of %s block", "transaction");
		return;
	}
	p = pg_portal_find(g, portal);
	if (p && *portal) {
		pg_error(g, "42P03", "cursor \"%s\" already exists", portal);
		return;
	}
	if (p)
		pg_portal_drop(p);
	for (p = g->portals; p->used; p++)
		if (p == g->portals + PG_PORTALS - 1)
			abort();
	p->used = true;
	snprintf(p->name, PG_WORD, "%s", portal);
	snprintf(p->meaning, PG_WORD, "%s", st->meaning);
	p->text = strdup(st->text);
	n = reader_u16(r);
	reader_bytes(r, 2 * (size_t)n);
	n = reader_u16(r);
	for (size_t i = 0; i < n && p->n_values < 64; i++) {
		uint32_t len = reader_u32(r);
		const uint8_t *bytes = len == UINT32_MAX ? NULL : reader_bytes(r, len);

		p->values[p->n_values++] = bytes ? strndup((const char *)bytes, len) : NULL;
	}
	msg_add(&g->out, '2', NULL, 0);
}

static void pg_describe(struct pg *g, struct reader *r)
{
	char what = (char)reader_u8(r);
	const char *name = reader_str(r, NULL);
	struct pg_stmt *st = what == 'S' ? pg_stmt_find(g, name) : NULL;
	struct pg_portal *p = what == 'P' ? pg_portal_find(g, name) : NULL;

	pg_start(g);
	if (!st && !p) {
		if (what == 'P')
			pg_error(g, "34000", "portal \"%s\" does not exist", name);
		else
			pg_error(g, "26000", *name ? "prepared statement \"%s\" does not exist" : "unnamed prepared statement does not exist%s", name);
		return;
	}
	if (g->failed && pg_returns_rows(st ? st->text : p->text)) {
		pg_error(g, "25P02", "current transaction is aborted, commands ignored until end of %s block", "transaction");
		return;
	}
	if (st)
		msg_add(&g->out, 't', "\0", 2);
	pg_describe_row(g, st ? st->text : p->text);
}

static void pg_execute(struct pg *g, struct reader *r)
{
	const char *name = reader_str(r, NULL);
	struct pg_portal *p = pg_portal_find(g, name);
	struct pg_portal held;

	pg_start(g);
	if (!p) {
		pg_error(g, "34000", "portal \"%s\" does not exist", name);
		return;
	}
	if (g->failed && !pg_is_exit(p->text)) {
		pg_error(g, "25P02", "current transaction is aborted, commands ignored until end of %s block", "transaction");
		return;
	}
	if (p->done) {
		pg_error(g, "55000", "portal \"%s\" cannot be run", name);
		return;
	}
	p->done = g->executed = true;
	held = *p; /* a COMMIT frees it while it runs */
	p->used = false;
	if (pg_blank(held.text))
		msg_add(&g->out, 'I', NULL, 0);
	else
		pg_statement(g, &(struct pg_run){ .meaning = held.meaning, .values = held.values, .n_values = held.n_values }, held.text);
	if (g->explicit_ || g->implicit)
		*p = held;
	else
		memset(p, 0, sizeof *p), pg_portal_drop(&held);
}

static void pg_close(struct pg *g, struct reader *r)
{
	char what = (char)reader_u8(r);
	const char *name = reader_str(r, NULL);
	struct pg_stmt *st = what == 'S' ? pg_stmt_find(g, name) : NULL;
	struct pg_portal *p = what == 'P' ? pg_portal_find(g, name) : NULL;

	if (st)
		pg_stmt_drop(st);
	if (p)
		pg_portal_drop(p);
	msg_add(&g->out, '3', NULL, 0);
}

static void pg_copy_message(struct pg *g, char type)
{
	if (type == 'd' || type == 'S' || type == 'H')
		return;
	g->copying = false;
	if (type == 'c') {
		pg_tag(g, "COPY 1");
	} else {
		pg_error(g, type == 'f' ? "57014" : "08P01", type == 'f' ? "COPY from stdin failed%s" : "unexpected message type%s", "");
		g->skip = !g->copy_simple;
	}
	if (g->copy_simple)
		pg_ready_in(g, g->half_ends && g->executed);
}

static void pg_message(struct pg *g, char type, const uint8_t *body, size_t len)
{
	struct reader r = reader_of(body, len);
	size_t before;

	if (g->copying) {
		pg_copy_message(g, type);
		return;
	}
	if (type == 'S') {
		g->skip = false;
		pg_sync(g);
		return;
	}
	if (g->skip || type == 'H' || type == 'd' || type == 'c' || type == 'f')
		return;
	before = buf_len(&g->out);
	g->begun = g->begun || type != 'C';
	if (g->half_ended && type != 'C') {
		g->half_ended = false;
		g->skip = type != 'Q';
		pg_error(g, "XX000", "unexpected state %s", "STARTED");
		if (type == 'Q')
			pg_ready(g);
		return;
	}
	switch (type) {
	case 'Q':
		pg_query(g, (const char *)body);
		return;
	case 'P':
		pg_parse(g, &r);
		break;
	case 'B':
		pg_bind(g, &r);
		break;
	case 'D':
		pg_describe(g, &r);
		break;
	case 'E':
		pg_execute(g, &r);
		break;
	case 'C':
		pg_close(g, &r);
		break;
	default:
		g->broken = true;
	}
	for (size_t at = before; at < buf_len(&g->out); at += 1 + be32(buf_head(&g->out) + at + 1))
		if (buf_head(&g->out)[at] == 'E')
			g->skip = true;
}

/* Reads one message of its input. Returns false where there is none. */
static bool pg_turn(struct pg *g)
{
	struct wire_head head;

	if (wire_head(buf_head(&g->in), buf_len(&g->in), 1u << 30, &head) != WIRE_OK || buf_len(&g->in) < WIRE_HEAD + head.body_len)
		return false;
	pg_message(g, head.type, buf_head(&g->in) + WIRE_HEAD, head.body_len);
	buf_consume(&g->in, WIRE_HEAD + head.body_len);
	return true;
}

#endif
