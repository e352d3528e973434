/* Messages: simple queries, extended ones with skipping to Sync; and what the simulation asks a model. */
#include "tests/sim/model_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parser/reader.h"
#include "parser/wire.h"

void model_complain(struct model *m, const char *what, const char *text)
{
	if (!*m->complaint)
		snprintf(m->complaint, sizeof m->complaint, "%s: %.200s", what, text);
}

/* ---- simple queries ---- */

static void ready(struct model *m)
{
	char status;

	if (m->implicit)
		model_commits(m);
	m->executed = m->ours_bound = m->batch = false;
	status = m->failed ? 'E' : m->explicit_ ? 'T' : 'I';
	model_report(m);
	model_hears(m);
	msg_add(&m->out, 'Z', &status, 1);
}

static void told_tag(struct model *m)
{
	msg_add(&m->out, 'C', m->tag, strlen(m->tag) + 1);
}

static const struct model_text *text_of(struct model *m, const char *text)
{
	const struct model_text *t = model_read(text);

	if (t->unread)
		model_complain(m, "not in the model's grammar", text);
	return t;
}

static bool has_syntax_error(const struct model_text *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->statements[i]->op == OP_SYNTAX)
			return true;
	return false;
}

static void run_query(struct model *m, const struct model_text *t)
{
	struct run r = { .simple = true };

	m->several = t->n > 1;
	for (size_t i = 0; i < t->n; i++) {
		model_transaction_starts(m);
		r.order = model_show(m, VAR_DATESTYLE);
		r.path = model_show(m, VAR_SEARCH_PATH);
		if (!model_run(m, &r, t->statements[i]))
			break;
		if (m->copying) {
			m->several = false;
			return;
		}
		if (i + 1 == t->n && m->implicit && !model_commits(m))
			break;
		told_tag(m);
	}
	m->several = false;
	ready(m);
}

static void on_query(struct model *m, const char *text)
{
	const struct model_text *t = text_of(m, text);
	struct model_stmt *unnamed = model_stmt_find(m, model_word(""));

	if (unnamed)
		unnamed->name = NULL;
	if (t->ours && (m->explicit_ || m->implicit))
		model_complain(m, "asked in a transaction", text);
	if (t->unread || has_syntax_error(t)) {
		model_transaction_starts(m);
		model_error(m, "42601", "%s", "syntax error");
		ready(m);
		return;
	}
	if (!t->n)
		msg_add(&m->out, 'I', NULL, 0);
	run_query(m, t);
}


/* ---- extended ---- */

static bool ends_transaction(const struct model_sql *q)
{
	return q && (q->op == OP_COMMIT || q->op == OP_ROLLBACK || q->op == OP_ROLLBACK_TO);
}

static bool refused(struct model *m)
{
	return model_error(m, "25P02", "current transaction is aborted, commands ignored until end of transaction %s", "block");
}

/* An error in pgporter's words, a marker, or nothing at all: what the client reads is its answer. */
static bool stands_for_clients(const char *sql)
{
	return strstr(sql, "RAISE") || strstr(sql, "LISTEN") || strstr(sql, "NOTIFY") || strstr(sql, "pg_notify") || !strcmp(sql, "SELECT");
}

static bool on_parse(struct model *m, struct reader *r)
{
	const char *name = reader_str(r, NULL), *text = reader_str(r, NULL);
	const struct model_text *t;
	const struct model_sql *q;
	struct model_stmt *st, judged = { 0 };

	if (!text)
		abort();
	t = text_of(m, text);
	m->stands_for_clients = stands_for_clients(text);
	q = t->n ? t->statements[0] : NULL;
	name = model_word(name);
	st = model_stmt_find(m, name);
	if (!*name && st)
		st->name = NULL;
	model_transaction_starts(m);
	if (t->unread || has_syntax_error(t))
		return model_error(m, "42601", "%s", "syntax error");
	if (t->n > 1)
		return model_error(m, "42601", "cannot insert multiple commands into a %s", "prepared statement");
	if (m->failed && q && !ends_transaction(q))
		return refused(m);
	if (!model_analyse(m, &judged, q))
		return false;
	if (q && model_takes_snapshot(q->op) && judged.type)
		m->snapshot = true;
	if (*name && st)
		return model_error(m, "42P05", "prepared statement \"%s\" already exists", name);
	st = model_stmt_put(m, name, t, q);
	if (!st)
		return model_error(m, "54000", "%s", "too many statements");
	st->path = judged.path;
	st->order = judged.order;
	st->type = judged.type;
	st->temp_schema = judged.temp_schema;
	msg_add(&m->out, '1', NULL, 0);
	return true;
}

static bool no_stmt(struct model *m, const char *name)
{
	return model_error(m, "26000", *name ? "prepared statement \"%s\" does not exist" : "unnamed prepared statement does not exist%s", name);
}

static void read_bound(struct model_portal *p, struct reader *r)
{
	uint16_t n = reader_u16(r);

	reader_bytes(r, 2 * (size_t)n);
	n = reader_u16(r);
	for (p->n_bound = 0; p->n_bound < n && p->n_bound < MODEL_BOUND;) {
		uint32_t len = reader_u32(r);
		const uint8_t *bytes = len == UINT32_MAX ? NULL : reader_bytes(r, len);

		p->bound[p->n_bound++] = bytes ? model_intern((const char *)bytes, len) : NULL;
	}
	if (r->bad || p->n_bound < n)
		abort();
}

static bool is_ours(const char *name)
{
	return !strncmp(name, "pgporter_set", 12) || !strncmp(name, "pgporter_tx_", 12);
}

static bool on_bind(struct model *m, struct reader *r)
{
	const char *portal = reader_str(r, NULL), *name = reader_str(r, NULL);
	struct model_portal *p;
	struct model_stmt *st;

	if (!name)
		abort();
	m->ours_bound = is_ours(name);
	portal = model_word(portal);
	name = model_word(name);
	st = model_stmt_find(m, name);
	model_transaction_starts(m);
	if (!st)
		return no_stmt(m, name);
	if (m->failed && (!ends_transaction(st->sql) || st->text->n_params))
		return refused(m);
	p = model_portal_find(m, portal);
	if (p && *portal)
		return model_error(m, "42P03", "cursor \"%s\" already exists", portal);
	if (!model_revalidate(m, st))
		return false;
	if (p)
		model_portal_drop(p);
	p = model_portal_put(m, portal);
	if (!p)
		return model_error(m, "54000", "%s", "too many portals");
	if (st->sql && model_takes_snapshot(st->sql->op))
		m->snapshot = true;
	p->text = st->text;
	p->sql = st->sql;
	p->order = st->order;
	p->path = st->path;
	read_bound(p, r);
	if (p->n_bound != (st->text ? st->text->n_params : 0)) {
		model_portal_drop(p);
		return model_error(m, "08P01", "bind message does not fit prepared statement \"%s\"", name);
	}
	msg_add(&m->out, '2', NULL, 0);
	return true;
}

static bool on_describe(struct model *m, struct reader *r)
{
	char what = (char)reader_u8(r);
	const char *name = model_word(reader_str(r, NULL)), *column;
	struct model_stmt *st = what == 'S' ? model_stmt_find(m, name) : NULL;
	struct model_portal *p = what == 'P' ? model_portal_find(m, name) : NULL;
	const struct model_sql *q = st ? st->sql : p ? p->sql : NULL;

	model_transaction_starts(m);
	if (what == 'S' && !st)
		return no_stmt(m, name);
	if (!st && !p)
		return model_error(m, "34000", "portal \"%s\" does not exist", name);
	if (m->failed && q && (model_result_of(m, q, &column) || (p && p->cursor)))
		return refused(m);
	if (st && !m->failed && !model_revalidate(m, st))
		return false;
	if (st) {
		size_t mark = msg_begin(&m->out, 't');

		buf_u16(&m->out, st->text ? (uint16_t)st->text->n_params : 0);
		for (size_t i = 0; st->text && i < st->text->n_params; i++)
			buf_u32(&m->out, TYPE_TEXT);
		msg_end(&m->out, mark);
	}
	model_describe(m, p && p->cursor ? &(struct model_sql){ .op = OP_SERIES } : q);
	return true;
}

static bool run_portal(struct model *m, struct model_portal *p, int max)
{
	struct run r = { .order = p->order, .path = p->path, .bound = p->bound, .n_bound = p->n_bound, .portal = p, .max = max };
	bool rows = p->sql->op == OP_SERIES || p->cursor;
	struct model_portal held;

	if (p->done && !rows && p->sql->op != OP_FETCH) {
		const char *column;

		if (!model_result_of(m, p->sql, &column) || p->sql->op == OP_SHOW || p->sql->op == OP_EXECUTE)
			return model_error(m, "55000", "portal \"%s\" cannot be run", p->name);
		model_tag(m, "SELECT 0");
		told_tag(m);
		return true;
	}
	p->done = true;
	held = *p; /* while it runs nothing takes it away */
	if (!rows)
		p->name = NULL;
	if (!(p->cursor ? model_run_series(m, &r, p->sql) : model_run(m, &r, p->sql)))
		return false;
	if (held.sql->op == OP_DISCARD_ALL) /* XACT_FLAGS_NEEDIMMEDIATECOMMIT */
		model_transaction_ends(m, true);
	if (!rows && (m->explicit_ || m->implicit) && !ends_transaction(held.sql) && !model_portal_find(m, held.name)) {
		size_t level = held.level;

		*p = held;
		p->level = level;
	}
	if (m->copying)
		return true;
	if (rows && !*m->tag)
		msg_add(&m->out, 's', NULL, 0);
	else
		told_tag(m);
	return true;
}

static bool on_execute(struct model *m, struct reader *r)
{
	const char *name = model_word(reader_str(r, NULL));
	int max = (int)reader_u32(r);
	struct model_portal *p = model_portal_find(m, name);

	m->ours_bound = false;
	model_transaction_starts(m);
	if (!p)
		return model_error(m, "34000", "portal \"%s\" does not exist", name);
	if (!p->sql) {
		msg_add(&m->out, 'I', NULL, 0);
		return true;
	}
	if (m->failed && !ends_transaction(p->sql))
		return refused(m);
	if (!run_portal(m, p, max))
		return false;
	m->executed = m->implicit; /* XACT_FLAGS_PIPELINING */
	return true;
}

static bool on_close(struct model *m, struct reader *r)
{
	char what = (char)reader_u8(r);
	const char *name = model_word(reader_str(r, NULL));
	struct model_stmt *st = what == 'S' ? model_stmt_find(m, name) : NULL;
	struct model_portal *p = what == 'P' ? model_portal_find(m, name) : NULL;

	model_transaction_starts(m);
	if (st)
		st->name = NULL;
	if (p)
		model_portal_drop(p);
	msg_add(&m->out, '3', NULL, 0);
	return true;
}

static void on_copy_message(struct model *m, char type)
{
	bool good = type == 'c';

	if (type == 'd' || type == 'S' || type == 'H')
		return;
	m->copying = false;
	if (good && m->copy_simple && m->implicit)
		good = model_commits(m);
	if (good) {
		model_tag(m, "COPY 1");
		told_tag(m);
		m->executed = true;
	} else if (type != 'c') {
		model_error(m, type == 'f' ? "57014" : "08P01", type == 'f' ? "COPY from stdin failed%s" : "unexpected message type%s", "");
		m->skip = !m->copy_simple;
	}
	if (m->copy_simple)
		ready(m);
}

/* Whatever the message says. */
static void fails_by_itself(struct model *m)
{
	if (m->cancelled)
		model_error(m, "57014", "canceling statement due to user %s", "request");
	else if (m->faulty)
		model_error(m, "53200", "out of %s", "memory");
	else
		model_error_as(m, m->failure, m->failure_len);
	if (m->failure && m->failure_begun && model_stmt_find(m, model_word("")))
		model_stmt_find(m, model_word(""))->name = NULL;
	m->cancelled = m->faulty = m->ours_bound = m->failure_begun = false;
	m->failure = NULL;
}

static void on_message(struct model *m, char type, const uint8_t *body, size_t len)
{
	struct reader r = reader_of(body, len);
	bool good = true;

	if (m->copying) {
		on_copy_message(m, type);
		return;
	}
	if (type == 'S') {
		m->skip = false;
		ready(m);
		return;
	}
	if (m->skip || strchr("HdcfX", type))
		return;
	if (m->cancelled || m->faulty || m->failure) {
		fails_by_itself(m);
		m->skip = type != 'Q';
		if (type == 'Q')
			ready(m);
		return;
	}
	m->batch = type != 'Q';
	switch (type) {
	case 'Q':
		on_query(m, (const char *)body);
		return;
	case 'P':
		good = on_parse(m, &r);
		break;
	case 'B':
		good = on_bind(m, &r);
		break;
	case 'D':
		good = on_describe(m, &r);
		break;
	case 'E':
		good = on_execute(m, &r);
		break;
	case 'C':
		good = on_close(m, &r);
		break;
	default:
		model_complain(m, "message of type", (char[]){ type, 0 });
	}
	m->skip = !good;
}

bool model_next_is_ours(const struct model *m)
{
	const char *body = (const char *)buf_head(&m->in) + WIRE_HEAD;
	struct wire_head head;

	if (m->n_saves && !strcmp(m->saves[m->n_saves - 1].name, "pgporter")) /* PostgreSQL takes settings back at the error; the model later */
		return false;
	if (m->skip || m->copying || m->failed || wire_head(buf_head(&m->in), buf_len(&m->in), 1u << 30, &head) != WIRE_OK || buf_len(&m->in) < WIRE_HEAD + head.body_len)
		return false;
	switch (head.type) {
	case 'P':
		return is_ours(body) && !stands_for_clients(body + strlen(body) + 1);
	case 'B':
		return is_ours(body + strlen(body) + 1) && !m->stands_for_clients;
	case 'E':
		return m->ours_bound && !m->stands_for_clients;
	case 'Q':
		return model_read(body)->ours;
	default:
		return false;
	}
}

bool model_turn(struct model *m)
{
	struct wire_head head;

	if (wire_head(buf_head(&m->in), buf_len(&m->in), 1u << 30, &head) != WIRE_OK || buf_len(&m->in) < WIRE_HEAD + head.body_len)
		return false;
	on_message(m, head.type, buf_head(&m->in) + WIRE_HEAD, head.body_len);
	buf_consume(&m->in, WIRE_HEAD + head.body_len);
	return true;
}

void model_die(struct model *m)
{
	model_said(m, 'E', "FATAL", "57P01", "terminating connection due to %s", "administrator command");
}

const char *model_leftover(const struct model *m)
{
	if (m->explicit_ || m->implicit || m->failed)
		return "a transaction";
	if (model_locks_held(m))
		return "an advisory lock";
	if (model_cursors_held(m))
		return "a held cursor";
	if (m->now.temps)
		return "a temporary table";
	if (m->now.channels)
		return "a channel listened to";
	if (model_prepared_by_sql(m))
		return "a client's own prepared statement";
	for (const struct model_stmt *st = m->stmts; st < m->stmts + MODEL_STMTS; st++)
		if (st->name && *st->name && strncmp(st->name, "pgporter_", 9))
			return "a client's own prepared statement";
	return NULL;
}

void model_cluster_init(struct model_cluster *cluster, bool reports_at_once)
{
	cluster->roles_gone = 0;
	cluster->reports_at_once = reports_at_once;
	cluster->n_log = 0;
	memset(cluster->sequences, 0, sizeof cluster->sequences);
}

void model_init(struct model *m, struct model_cluster *cluster)
{
	struct buf in = m->in, out = m->out;

	memset(m, 0, sizeof *m);
	model_default(0);
	m->in = in;
	m->out = out;
	buf_reset(&m->in);
	buf_reset(&m->out);
	m->cluster = cluster;
	m->isolation = model_default(VAR_ISOLATION);
}

void model_release(struct model *m)
{
	buf_release(&m->in);
	buf_release(&m->out);
}
