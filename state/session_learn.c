/* What settings are just now, in the middle of a client's pipeline. A statement that has to be prepared there is prepared
 * under other settings for a moment, and afterwards those of before are put back. They are not all known: a set_config()
 * of a parameter, ROLLBACK TO or COMMIT AND CHAIN leaves what only PostgreSQL can tell, and no savepoint can take the
 * moment back where a pipeline may have ended the transaction in its middle. So PostgreSQL is asked first; and before the
 * client's own Parse, which would have to be done again under what was in force. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "parser/reader.h"
#include "state/session_internal.h"

enum { ASKED_AT_ONCE = 1000 }; /* columns; PostgreSQL's limit is 1664 */

static bool has_unknown(const struct settings *set)
{
	for (size_t i = 0; i < settings_size(set); i++)
		if (*settings_value_at(set, i) == *VALUE_UNKNOWN)
			return true;
	return false;
}

static void put_question(struct buf *sql, const struct settings *asked, size_t from, size_t to)
{
	buf_text(sql, "SELECT ");
	for (size_t i = from; i < to; i++) {
		buf_text(sql, i > from ? ",pg_catalog.current_setting(" : "pg_catalog.current_setting(");
		sql_put_literal(sql, settings_name_at(asked, i));
		buf_text(sql, ",true)");
	}
}

static void send_question(struct session *s, const struct settings *asked, size_t from, size_t to)
{
	struct buf sql = { 0 };

	put_question(&sql, asked, from, to);
	send_own(s, (const char *)buf_head(&sql), buf_len(&sql));
	buf_release(&sql);
}

static void ask(struct session *s, const struct settings *asked)
{
	settings_retain(asked);
	settings_release(s->task_target);
	s->task_target = asked;
	task_begin(s, TASK_LEARN);
	for (size_t at = 0; at < settings_size(asked); at += ASKED_AT_ONCE)
		send_question(s, asked, at, settings_size(asked) - at < ASKED_AT_ONCE ? settings_size(asked) : at + ASKED_AT_ONCE);
	task_sent(s);
}

bool learn_first(struct session *s, const struct settings *now, const struct settings *then)
{
	const struct settings *asked;

	if (!s->backend->batch || now == then || s->learned || !(s->txn.local_unknown || has_unknown(now))) {
		s->learned = false;
		return false;
	}
	asked = settings_retain(then);
	for (size_t i = 0; i < settings_size(now); i++)
		settings_set(&asked, settings_name_at(now, i), settings_value_at(now, i));
	ask(s, asked);
	settings_release(asked);
	return true;
}

/* Custom settings mean nothing to a statement that is parsed. */
static bool meaning_unknown(const struct settings *set)
{
	for (size_t i = 0; i < settings_size(set); i++)
		if (*settings_value_at(set, i) == *VALUE_UNKNOWN && !strchr(settings_name_at(set, i), '.'))
			return true;
	return false;
}

/* Only what is analysed takes a snapshot, as the question does, and has a meaning that settings can change. */
static bool is_analysed(const char *text)
{
	static const char *const words[] = { "select", "insert", "update", "delete", "merge", "with", "values", "table", "explain", "declare", "create", "(", "/*", "--" };

	text += strspn(text, " \t\r\n");
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (!strncasecmp(text, words[i], strlen(words[i])))
			return true;
	return false;
}

static bool learn_meaning(struct session *s)
{
	s->learns_parse = true;
	ask(s, settings_meaning(s->effective));
	return true;
}

static bool knows_meaning(const struct session *s)
{
	return s->backend->status == 'E' || !meaning_unknown(settings_meaning(s->effective));
}

bool learn_parse(struct session *s, const char *text)
{
	return !knows_meaning(s) && is_analysed(text) && learn_meaning(s);
}

bool learn_prepare(struct session *s, const struct effects *e, const struct stmt *target)
{
	if (e->n == 1 && e->stmts[0].kind == STMT_EXECUTE && target) {
		target = stmt_executed(target);
		if (target->from_sql)
			return false;
		e = target->effects;
	}
	return e->n && e->stmts[0].kind == STMT_PREPARE && !knows_meaning(s) && learn_meaning(s);
}

static void take_value(struct session *s, const char *name, struct reader *r)
{
	uint32_t len = reader_u32(r);
	const uint8_t *at = len == UINT32_MAX ? NULL : reader_bytes(r, len);
	char *value = at ? strndup((const char *)at, len) : NULL;

	if (at && !value)
		abort();
	if (!r->bad) {
		const struct settings *was = settings_retain(s->effective);

		settings_set(&s->effective, name, value);
		if (s->effective != was) /* or else text told it already */
			session_touch_local(s, name);
		settings_release(was);
	}
	free(value);
}

/* One row, of the answer from setting number i on; returns the next one's number. */
static size_t take_row(struct session *s, const struct settings *asked, size_t i, struct reader *r)
{
	for (uint16_t n = reader_u16(r); n && i < settings_size(asked) && !r->bad; n--)
		take_value(s, settings_name_at(asked, i++), r);
	return i;
}

bool learn_done(struct session *s)
{
	struct reader r = reader_of(buf_head(&s->task_rows), buf_len(&s->task_rows));
	const struct settings *asked = s->task_target;
	size_t i = 0, next;

	while (i < settings_size(asked) && !r.bad) {
		next = take_row(s, asked, i, &r);
		if (next == i)
			return false;
		i = next;
	}
	s->learned = !r.bad && !s->learns_parse;
	s->learns_parse = false;
	return !r.bad;
}

/* ---- in the client's own text, ahead of a statement of it ---- */

static void add_names(const struct settings **names, const struct settings *from)
{
	for (size_t i = 0; from && i < settings_size(from); i++)
		if (!strchr(settings_name_at(from, i), '.'))
			settings_set(names, settings_name_at(from, i), "");
}

/* What statements ahead of it in the text may change. */
static void add_written(const struct settings **names, const struct stmt_effects *row)
{
	if (row->name && row->kind >= STMT_SET && row->kind <= STMT_RESET_LOCAL && !strchr(row->name, '.'))
		settings_set(names, row->name, "");
	for (size_t i = 0; i < row->n_touched; i++)
		if (row->touched[i].name && !strchr(row->touched[i].name, '.'))
			settings_set(names, row->touched[i].name, "");
}

const struct settings *learn_written(struct session *s, const struct effects *e, const struct stmt_effects *row, struct buf *out)
{
	const struct settings *names = settings_empty(s->store->settings);

	add_names(&names, settings_meaning(s->effective));
	add_names(&names, settings_meaning(s->settings));
	add_names(&names, s->txn.locals);
	for (size_t i = 0; i < s->txn.n_names; i++)
		if (!strchr(s->txn.names[i], '.'))
			settings_set(&names, s->txn.names[i], "");
	for (const struct stmt_effects *before = e->stmts; before < row; before++)
		add_written(&names, before);
	put_question(out, names, 0, settings_size(names) < ASKED_AT_ONCE ? settings_size(names) : ASKED_AT_ONCE);
	return names;
}

void learn_row(struct session *s, const struct settings *asked, const void *row, size_t len)
{
	struct reader r = reader_of(row, len);

	take_row(s, asked, 0, &r);
}
