/* Parse, Bind, Describe, Execute and Close: the client's names become the backend's, what isn't there is put there first. */
#include <stdlib.h>
#include <string.h>

#include "parser/reader.h"
#include "state/session_internal.h"

static enum session_verdict refuse(struct session *s, const char *code, const char *why)
{
	s->refusal_code = code;
	s->refusal = why;
	return SESSION_REFUSE;
}

void owe_invented(struct session *s, char reply, struct stmt *st, const char *name)
{
	struct owed *o = ledger_push(&s->backend->owed, OWED_INVENTED, false);

	o->reply = reply;
	if (st)
		o->stmt = stmt_retain(st);
	if (name && !(o->name = strdup(name)))
		abort();
	ledger_flush_invented(s);
}

void send_close_stmt(struct session *s, const char *name)
{
	struct buf *out = s->backend->out;
	size_t mark = msg_begin(out, 'C');

	buf_u8(out, 'S');
	buf_str(out, name);
	msg_end(out, mark);
	s->backend->batch = true;
}

void close_again(struct session *s, struct stmt *st)
{
	struct owed *o = ledger_push(&s->backend->owed, OWED_CLOSE, true);
	char name[STMT_NAME_MAX];

	o->stmt = stmt_retain(st);
	o->on_set = true;
	stmt_name(st, name);
	send_close_stmt(s, name);
	set_remove(&s->backend->prepared, st);
}

/* Room in the backend's set: the least recently used statements are closed. */
void make_room(struct session *s, size_t spare)
{
	struct backend *b = s->backend;
	size_t max = (b->prepared_max > 2 ? b->prepared_max : 2) + spare; /* two: EXECUTE by extended protocol needs both */

	while (b->prepared.count >= max)
		close_again(s, set_oldest(&b->prepared));
}

void send_parse(struct session *s, const char *name, const uint8_t *tail, size_t tail_len)
{
	struct buf *out = s->backend->out;
	size_t mark = msg_begin(out, 'P');

	buf_str(out, name);
	buf_add(out, tail, tail_len);
	msg_end(out, mark);
	s->backend->batch = true;
	s->counters->server_parses++;
}

/* Sends the statement's own Parse or PREPARE; its place in the set is presumed and undone if it fails. */
static struct owed *send_stmt(struct session *s, struct stmt *st, bool ours)
{
	struct backend *b = s->backend;
	char name[STMT_NAME_MAX];
	struct owed *o;

	make_room(s, stmt_depth(st));
	stmt_name(st, name);
	send_parse(s, name, st->tail, st->tail_len);
	set_add(&b->prepared, st);
	o = ledger_push(&b->owed, OWED_PARSE, ours);
	o->stmt = stmt_retain(st);
	o->on_set = true;
	return o;
}

enum session_verdict ensure_stmt(struct session *s, struct stmt *st, bool alone)
{
	struct backend *b = s->backend;

	if (s->task)
		return SESSION_HOLD;
	if (set_has(&b->prepared, st) || (b->status == 'E' && alone))
		return SESSION_NEXT;
	if (b->status == 'E') { /* PostgreSQL refuses it now, unless it ends the transaction */
		if (st->from_sql) {
			send_parse(s, STMT_PREFIX "set", (const uint8_t *)NOTHING_SQL "\0\0", sizeof NOTHING_SQL + 2);
			ledger_push(&b->owed, OWED_PARSE, true);
		} else {
			send_stmt(s, st, true);
		}
		return SESSION_NEXT;
	}
	if (alone || st->from_sql || st->described || s->txn.local_unknown ||
	    settings_meaning(st->at_parse) != settings_meaning(s->effective)) {
		task_prepare(s, st);
		return SESSION_HOLD;
	}
	send_stmt(s, st, true);
	return SESSION_NEXT;
}

/* Also judged by what the client was told of its result: where the definitions have changed since, a direct connection
 * would refuse the statement, and rows of another shape must not reach the client. */
static enum session_verdict ensure_usable(struct session *s, struct stmt *st)
{
	enum session_verdict verdict = ensure_stmt(s, st, false);

	if (verdict != SESSION_NEXT || !s->task_mismatch)
		return verdict;
	s->task_mismatch = false;
	close_again(s, st);
	task_raise(s, "0A000", "cached plan must not change result type");
	return SESSION_DROP;
}

/* What o answers for makes another the backend's unnamed statement. */
static void unnamed_becomes(struct backend *b, struct owed *o, uint64_t serial)
{
	o->unnamed = true;
	o->unnamed_was = b->unnamed == UNNAMED_UNKNOWN ? 0 : b->unnamed;
	b->unnamed = serial;
}

/* The unnamed statement on the backend is this client's, or none if it has none. */
static enum session_verdict ensure_unnamed(struct session *s)
{
	struct backend *b = s->backend;
	struct unnamed_stmt *u = &s->unnamed;

	if (b->unnamed == u->serial)
		return SESSION_NEXT;
	if (!u->serial) {
		unnamed_becomes(b, ledger_push(&b->owed, OWED_CLOSE, true), 0);
		send_close_stmt(s, "");
		return SESSION_NEXT;
	}
	if (b->status != 'E' && (s->txn.local_unknown || settings_meaning(u->at_parse) != settings_meaning(s->effective))) {
		task_prepare(s, NULL);
		return SESSION_HOLD;
	}
	send_parse(s, "", buf_head(&u->tail), buf_len(&u->tail));
	unnamed_becomes(b, ledger_push(&b->owed, OWED_PARSE, true), u->serial);
	return SESSION_NEXT;
}

/* ---- Parse ---- */

static bool executes(const struct effects *e)
{
	return e->n == 1 && e->stmts[0].kind == STMT_EXECUTE;
}

/* What it does depends on what the client calls by that name when it is run. */
static bool names_another(const struct effects *e)
{
	return e->n == 1 && (e->stmts[0].kind == STMT_EXECUTE || e->stmts[0].kind == STMT_DEALLOCATE || e->stmts[0].kind == STMT_PREPARE);
}

/* One that EXECUTEs itself in the end would be. */
static bool executes_too_deep(const struct stmt *st)
{
	int n = 0;

	for (; st && n < EXECUTES_DEEP; n++)
		st = stmt_executes(st);
	return n == EXECUTES_DEEP;
}

struct parse {
	const char *name, *text;
	size_t text_len;
	const uint8_t *tail; /* text, NUL, parameter types */
	size_t tail_len;
	const struct effects *effects;
	const uint8_t *given; /* the tail as it came */
	size_t given_len;
	struct buf rewritten; /* another tail, where the text had to change */
	uint8_t substitute;
	uint32_t shift_at;	/* as in struct owed */
	int32_t shift_delta;
	struct stmt *target, *own; /* references */
};

static void put_tail(struct parse *p, const char *text)
{
	buf_str(&p->rewritten, text);
	buf_add(&p->rewritten, p->tail + p->text_len + 1, p->tail_len - p->text_len - 1);
}

static void put_tail_edited(struct session *s, struct parse *p, const struct stmt_effects *row, bool rename, const struct stmt *st)
{
	struct edit how = { .rename = rename, .name = st };

	edit_put(s, p->text, 0, p->text_len, row, &how, &p->rewritten);
	p->shift_at = row->name_at;
	p->shift_delta = (int32_t)buf_len(&p->rewritten) - (int32_t)p->text_len;
	buf_add(&p->rewritten, p->tail + p->text_len, p->tail_len - p->text_len);
}

/* One statement that deals with names or with what isn't on the backend: what is sent instead. */
static void parse_substitute(struct session *s, struct parse *p)
{
	const struct stmt_effects *row = p->effects->n == 1 ? &p->effects->stmts[0] : NULL;
	struct buf set = { 0 };
	const char *value;
	struct stmt *st;

	if (!row)
		return;
	switch (row->kind) {
	case STMT_PLAIN:
		if (!row->n_places || !edit_wanted(s, row))
			return;
		p->substitute = SUB_EDITED;
		put_tail_edited(s, p, row, false, NULL);
		return;
	case STMT_DEALLOCATE:
		if (rules_leave_prepared(s) || !names_find(&s->names, row->name)) {
			if (names_ours(row->name)) {
				p->substitute = SUB_RENAMED;
				put_tail_edited(s, p, row, true, NULL);
			}
			return;
		}
		p->substitute = SUB_DEALLOCATE;
		put_tail(p, NOTHING_SQL);
		return;
	case STMT_DEALLOCATE_ALL:
		p->substitute = SUB_DEALLOCATE_ALL;
		put_tail(p, NOTHING_SQL);
		return;
	case STMT_DISCARD_ALL:
		if (*p->name || s->backend->status != 'I' || (s->backend->batch && !session_discarded(s)) || s->pins) /* a named one may run in a transaction */
			return;
		p->substitute = SUB_DISCARD_ALL;
		put_tail(p, NOTHING_SQL);
		return;
	case STMT_RESET_LOCAL:
		value = row->name ? settings_get(s->base, row->name) : NULL;
		if (!value)
			return;
		if (!put_set_local(&set, row->name, value))
			put_set_config(&set, row->name, value, true);
		p->substitute = SUB_SET_DEFAULT;
		buf_u8(&set, 0);
		put_tail(p, (const char *)buf_head(&set));
		buf_release(&set);
		return;
	case STMT_RESET:
		value = row->name ? settings_get(s->base, row->name) : NULL;
		if (!value)
			return;
		if (!sql_put_set(&set, row->name, value))
			put_set_config(&set, row->name, value, false);
		p->substitute = p->text[row->at] == 'R' || p->text[row->at] == 'r' ? SUB_RESET : SUB_SET_DEFAULT;
		buf_u8(&set, 0);
		put_tail(p, (const char *)buf_head(&set));
		buf_release(&set);
		return;
	case STMT_DISCARD_PLANS:
		p->substitute = SUB_DISCARD_PLANS;
		put_tail(p, NOTHING_SQL);
		return;
	case STMT_LISTEN:
	case STMT_UNLISTEN:
	case STMT_UNLISTEN_ALL:
		if (!listen_may_share(s, row))
			return;
		p->substitute = row->kind == STMT_LISTEN ? SUB_LISTEN : SUB_UNLISTEN;
		put_tail(p, NOTHING_SQL);
		return;
	case STMT_EXECUTE:
		st = rules_leave_prepared(s) ? NULL : edit_of_today(s, row->name, names_find(&s->names, row->name));
		if (!st && !names_ours(row->name))
			return;
		if (executes_too_deep(st))
			return;
		p->substitute = SUB_RENAMED;
		p->target = st ? stmt_retain(st) : NULL;
		put_tail_edited(s, p, row, true, st);
		return;
	case STMT_PREPARE:
		if (rules_leave_prepared(s))
			return;
		st = names_find(&s->names, row->name);
		p->own = st ? stmt_retain(st) : sql_stmt_new(s, p->text, p->effects, row, s->effective);
		p->substitute = !st && set_has(&s->backend->prepared, p->own) ? SUB_PREPARED : SUB_RENAMED;
		if (p->substitute == SUB_PREPARED)
			put_tail(p, NOTHING_SQL);
		else
			put_tail_edited(s, p, row, true, p->own);
		return;
	default:
		return;
	}
}

/* The unnamed statement again, word for word, and nothing in it: what drivers send that don't prepare. */
static bool clear_as_before(struct session *s, const struct parse *p)
{
	const struct unnamed_stmt *u = &s->unnamed;

	return !*p->name && u->serial && u->effects && effects_none(u->effects) && !u->substitute && u->watched == watch_seen(s) &&
	       u->lex_mode == session_lex_mode(s) && buf_len(&u->tail) == p->tail_len &&
	       !memcmp(buf_head(&u->tail), p->tail, p->tail_len);
}

/* Reads text and types; false if they are not well-formed. */
static bool parse_text(struct session *s, struct parse *p, const uint8_t *tail, size_t len)
{
	struct reader r = reader_of(tail, len);

	p->tail = p->given = tail;
	p->tail_len = p->given_len = len;
	p->text = reader_str(&r, &p->text_len);
	if (!p->text || reader_left(&r) < 2)
		return false;
	if (clear_as_before(s, p)) {
		p->effects = effects_cleared(s->store->effects);
		return true;
	}
	p->effects = session_effects_of(s, p->text, p->text_len);
	if (effects_none(p->effects))
		return true;
	s->ready = false;
	session_remember_text(s, p->text, p->text_len);
	parse_substitute(s, p);
	if (p->substitute) {
		p->tail = buf_head(&p->rewritten);
		p->tail_len = buf_len(&p->rewritten);
	}
	return true;
}

static void shifted(struct owed *o, const struct parse *p)
{
	o->shift_at = p->shift_at;
	o->shift_delta = p->shift_delta;
}

static void parse_done(struct parse *p)
{
	buf_release(&p->rewritten);
	effects_release(p->effects);
	stmt_release(p->target);
	stmt_release(p->own);
}

static bool unnamed_said(const struct unnamed_stmt *u, const struct parse *p)
{
	return u->substitute == p->substitute && u->target == p->target && u->own == p->own && buf_len(&u->tail) == p->tail_len &&
	       !memcmp(buf_head(&u->tail), p->tail, p->tail_len);
}

/* What is sent for the unnamed statement, and what it means. */
static void unnamed_says(struct session *s, struct unnamed_stmt *u, const struct parse *p)
{
	u->serial = ++s->store->last_serial;
	buf_reset(&u->tail);
	buf_add(&u->tail, p->tail, p->tail_len);
	u->substitute = p->substitute;
	u->target = p->target ? stmt_retain(p->target) : NULL;
	u->own = p->own ? stmt_retain(p->own) : NULL;
}

static void parse_unnamed(struct session *s, struct parse *p)
{
	struct unnamed_stmt *u = &s->unnamed, *before = unnamed_replaced(s);
	struct owed *o;

	unnamed_says(s, u, p);
	u->at_parse = settings_retain(s->effective);
	u->effects = effects_retain(p->effects);
	u->watched = watch_seen(s);
	u->lex_mode = session_lex_mode(s);
	buf_reset(&u->given);
	if (names_another(p->effects) || p->substitute == SUB_DISCARD_ALL || edit_varies(p->effects))
		buf_add(&u->given, p->given, p->given_len);
	send_parse(s, "", p->tail, p->tail_len);
	o = ledger_push(&s->backend->owed, OWED_PARSE, false);
	unnamed_becomes(s->backend, o, u->serial);
	o->before = before;
	shifted(o, p);
}

/* In a failed transaction the statement can't be prepared; only what ends it can, as that it stands for. */
static void take_name(struct session *s)
{
	static const uint8_t rollback[] = "ROLLBACK\0\0";

	ledger_push(&s->backend->owed, OWED_CLOSE, true);
	send_close_stmt(s, TAKEN_STMT);
	send_parse(s, TAKEN_STMT, rollback, sizeof rollback);
	ledger_push(&s->backend->owed, OWED_PARSE, true);
}

/* The name is taken: PostgreSQL itself shall say so, after whatever else it finds wrong. */
static enum session_verdict parse_taken(struct session *s, struct parse *p, struct stmt *taken)
{
	char name[STMT_NAME_MAX] = TAKEN_STMT;
	bool failed = s->backend->status == 'E'; /* which is what is wrong then, but for what ends it */
	enum session_verdict verdict = failed ? SESSION_NEXT : ensure_stmt(s, taken, false);
	struct owed *o;

	if (verdict != SESSION_NEXT)
		return verdict;
	s->task_mismatch = false;
	if (set_has(&s->backend->prepared, taken))
		stmt_name(taken, name);
	else
		take_name(s);
	send_parse(s, name, p->tail, p->tail_len);
	o = ledger_push(&s->backend->owed, OWED_PARSE, false);
	o->stmt = stmt_retain(taken); /* for the error's text, and its name */
	o->taken = true;
	shifted(o, p);
	if (!(o->name = strdup(p->name)))
		abort();
	return SESSION_NEXT;
}

static struct stmt *parse_stmt(struct session *s, struct parse *p)
{
	bool alone = p->substitute || names_another(p->effects) || s->txn.local_unknown;
	bool given = p->substitute || names_another(p->effects) || edit_varies(p->effects);
	struct stmt_key key = { .tail = p->tail, .tail_len = p->tail_len, .at_parse = s->effective,
				.generation = *s->generation, .owner = alone ? s->serial : 0, .pool = s->counters, .substitute = p->substitute,
				.given = given ? p->given : NULL, .given_len = given ? p->given_len : 0 };
	struct stmt *st = stmt_intern(s->store->stmts, &key, p->effects);

	if (!st->watched)
		st->watched = watch_seen(s);
	if (!st->target && (p->target || p->own))
		st->target = stmt_retain(p->target ? p->target : p->own);
	return st;
}

static struct stmt *of_today(struct session *s, const char *name, struct stmt *st, int deep);

/* One that PREPAREs its own name is one that finds it taken by what it was before that was known. */
static bool same_text(const struct stmt *a, const struct stmt *b)
{
	return a->given_len && a->given_len == b->given_len && !memcmp(a->given, b->given, a->given_len);
}

/* Of what is substituted like this for a text, deep in how many EXECUTEs: would it be so today? */
static bool says_the_same(struct session *s, const struct effects *e, uint8_t substitute, struct stmt *target, int deep)
{
	const struct stmt_effects *row = e->stmts;
	struct stmt *named;

	if (edit_varies(e) || !names_another(e))
		return !edit_varies(e);
	named = names_find(&s->names, row->name);
	switch (row->kind) {
	case STMT_DEALLOCATE:
		return rules_leave_prepared(s) || !named == (substitute != SUB_DEALLOCATE);
	case STMT_EXECUTE:
		if (named)
			named = of_today(s, row->name, named, deep + 1);
		return named == target || executes_too_deep(named);
	default:
		if (!target || named)
			return !target || (substitute != SUB_PREPARED && (named == target || same_text(named, target)));
		return (substitute == SUB_PREPARED) == set_has(&s->backend->prepared, target) &&
		       (s->backend->status == 'E' || settings_meaning(target->at_parse) == settings_meaning(s->effective));
	}
}

static struct stmt *of_today(struct session *s, const char *name, struct stmt *st, int deep)
{
	struct parse p = { .name = name };

	if (st->from_sql)
		return edit_of_today(s, name, st);
	if (!st->given || deep == EXECUTES_DEEP || s->backend->status == 'E' || says_the_same(s, st->effects, st->substitute, st->target, deep))
		return st;
	if (parse_text(s, &p, st->given, st->given_len)) {
		struct stmt *now = parse_stmt(s, &p);

		names_put(&s->names, name, now);
		stmt_release(now);
		st = now;
	}
	parse_done(&p);
	return st;
}

struct stmt *stmt_of_today(struct session *s, const char *name, struct stmt *st)
{
	return of_today(s, name, st, 0);
}

static enum session_verdict parse_named(struct session *s, struct parse *p)
{
	struct backend *b = s->backend;
	struct stmt *st = names_find(&s->names, p->name);
	struct owed *o;

	s->counters->named_parses++;
	if (st)
		return parse_taken(s, p, st);
	st = parse_stmt(s, p);
	/* In a failed transaction PostgreSQL judges each Parse anew; and the name would be taken. */
	if (b->status == 'E' && set_has(&b->prepared, st))
		close_again(s, st);
	names_put(&s->names, p->name, st);
	if (set_has(&b->prepared, st)) {
		owe_invented(s, '1', st, p->name);
		joined_begin(s);
	} else {
		o = send_stmt(s, st, false);
		shifted(o, p);
		if (!(o->name = strdup(p->name)))
			abort();
	}
	stmt_release(st);
	return SESSION_NEXT;
}

/* Likewise the unnamed one. A DISCARD ALL that was PostgreSQL's to do, or not, when it was parsed may be otherwise now. */
static void unnamed_of_today(struct session *s)
{
	struct unnamed_stmt *u = &s->unnamed;
	struct parse p = { .name = "" };

	if (!u->serial || u->unkept)
		return;
	if (u->substitute == SUB_DISCARD_ALL ? s->backend->status == 'I' && !s->pins && !s->listen.behind :
	    says_the_same(s, u->effects, u->substitute, u->target ? u->target : u->own, 0))
		return;
	if (parse_text(s, &p, buf_head(&u->given), buf_len(&u->given)) && !unnamed_said(u, &p)) {
		stmt_release(u->target);
		stmt_release(u->own);
		unnamed_says(s, u, &p);
	}
	parse_done(&p);
}

/* SQL too long to be looked at: it goes through as it comes, and what it did is asked afterwards. */
static enum session_verdict parse_long(struct session *s, const struct client_message *m)
{
	struct unnamed_stmt *before;
	struct rule_refusal why;
	struct owed *o;

	if (!rules_allow(s, rules_kinds(s, effects_opaque()) | 1u << RULE_STATEMENT, &why))
		return rules_refuse(s, m, &why);
	if (!sequence_asked(s, rules_kinds(s, effects_opaque())))
		return SESSION_HOLD;
	before = unnamed_replaced(s);
	buf_reset(&s->unnamed.tail);
	s->unnamed.serial = ++s->store->last_serial;
	s->unnamed.unkept = true;
	s->unnamed.effects = effects_opaque();
	s->unnamed.at_parse = settings_retain(s->effective);
	s->pins |= PIN_STATEMENT;
	s->backend->batch = true;
	o = ledger_push(&s->backend->owed, OWED_PARSE, false);
	unnamed_becomes(s->backend, o, s->unnamed.serial);
	o->before = before;
	s->counters->client_parses++;
	s->counters->server_parses++;
	session_remember_text(s, "statement too long to be read", 29);
	return forward_raw(s, m);
}

enum session_verdict ensure_executed(struct session *s, struct stmt *st, bool alone)
{
	struct stmt *inner = stmt_executes(st);
	enum session_verdict verdict = inner ? ensure_executed(s, inner, alone) : SESSION_NEXT;

	return verdict == SESSION_NEXT ? ensure_stmt(s, st, alone) : verdict;
}

/* What EXECUTE names has to be there. */
static enum session_verdict ensure_target(struct session *s, const struct effects *e, struct stmt *target)
{
	return e && target && executes(e) ? ensure_executed(s, target, false) : SESSION_NEXT;
}

static bool taken_by(const struct session *s, const struct effects *e)
{
	return e->n == 1 && e->stmts[0].kind == STMT_PREPARE && names_find(&s->names, e->stmts[0].name);
}

enum session_verdict ensure_taken(struct session *s, struct stmt *st, bool alone)
{
	while (stmt_executes(st))
		st = stmt_executes(st);
	return !st->from_sql && st->target && taken_by(s, st->effects) ? ensure_stmt(s, st->target, alone) : SESSION_NEXT;
}

/* The same for a portal. */
static enum session_verdict ensure_portal_taken(struct session *s, const struct portal *p)
{
	if (p->own)
		return taken_by(s, p->effects) ? ensure_stmt(s, p->own, false) : SESSION_NEXT;
	return p->target ? ensure_taken(s, p->target, false) : SESSION_NEXT;
}

/* What is bound is about to run; rules may have changed since its Parse. */
static bool rules_allow_bound(struct session *s, const struct effects *e, struct rule_refusal *why)
{
	return !e || rules_allow_text(s, e, false, false, why);
}

static enum session_verdict on_parse(struct session *s, const struct client_message *m)
{
	struct reader r = reader_of(m->body, m->have);
	struct parse p = { 0 };
	enum session_verdict verdict;
	struct rule_refusal why;

	p.name = reader_str(&r, NULL);
	if (!p.name)
		return m->have < m->len && m->have < NAMES_HOLD_MAX ? SESSION_MORE : refuse(s, "08P01", "invalid message format");
	if (m->have < m->len) {
		if (m->len <= SQL_HOLD_MAX || (*p.name && m->len <= STATEMENT_HOLD_MAX))
			return SESSION_MORE;
		return *p.name ? refuse(s, "54000", "named statement too long") : parse_long(s, m);
	}
	if ((s->txn.dirty || s->txn.local_unknown || (*p.name && s->effective != s->want)) && memchr(r.at, 0, reader_left(&r)) &&
	    learn_parse(s, (const char *)r.at))
		return SESSION_HOLD;
	if (!parse_text(s, &p, r.at, reader_left(&r)))
		return refuse(s, "08P01", "invalid message format");
	if (!rules_allow_text(s, p.effects, *p.name, !*p.name, &why)) {
		parse_done(&p);
		return rules_refuse(s, m, &why);
	}
	if (!sequence_asked(s, rules_kinds(s, p.effects))) {
		parse_done(&p);
		return SESSION_HOLD;
	}
	if (executes(p.effects) && s->backend->status != 'E') { /* its result is fixed now, by what it names */
		verdict = ensure_target(s, p.effects, p.target);
		s->task_mismatch = false;
		if (verdict != SESSION_NEXT) {
			parse_done(&p);
			return verdict;
		}
	}
	if (p.substitute && p.effects->stmts[0].name_len)
		tell_truncated(s, p.text + p.effects->stmts[0].name_at, p.effects->stmts[0].name_len, p.effects->stmts[0].name);
	verdict = *p.name ? parse_named(s, &p) : (parse_unnamed(s, &p), SESSION_NEXT);
	if (verdict == SESSION_NEXT)
		s->counters->client_parses++;
	parse_done(&p);
	return verdict;
}

/* ---- Bind ---- */

static bool wants_values(const struct effects *e)
{
	for (size_t i = 0; e && i < e->n; i++)
		for (size_t j = 0; j < e->stmts[i].n_touched; j++)
			if (!e->stmts[i].touched[j].name && e->stmts[i].touched[j].param > 0)
				return true;
	return false;
}

/* Keeps the values of the parameters that name settings: at the reader are formats and values. */
static bool bind_values(struct portal *p, struct reader r)
{
	uint16_t n_formats = reader_u16(&r), n_values;

	reader_bytes(&r, (size_t)n_formats * 2);
	n_values = reader_u16(&r);
	if (r.bad)
		return false;
	p->bound = calloc((size_t)n_values + 1, sizeof *p->bound);
	if (!p->bound)
		abort();
	p->n_bound = n_values;
	for (size_t i = 0; i < n_values; i++) {
		uint32_t len = reader_u32(&r);
		const uint8_t *value;

		if (len == UINT32_MAX)
			continue;
		value = reader_bytes(&r, len);
		if (!value)
			return false;
		if (len < 256 && !(p->bound[i] = strndup((const char *)value, len)))
			abort();
	}
	return !r.bad;
}

static void bind_portal(struct session *s, const char *portal, const struct effects *e, uint8_t substitute, bool ends,
			struct stmt *target, struct stmt *own, struct reader rest)
{
	struct portal *p;

	if (!*portal)
		s->bound_ends = ends;
	if (!e || (effects_none(e) && !substitute && (!ends || !*portal))) {
		portal_drop(s, portal);
		return;
	}
	p = portal_put(s, portal);
	p->effects = effects_retain(e);
	p->substitute = substitute;
	p->ends = ends || effects_barrier(e); /* EXECUTE, and what can't be read, may do anything */
	p->target = target ? stmt_retain(target) : NULL;
	p->own = own ? stmt_retain(own) : NULL;
	if (wants_values(e))
		bind_values(p, rest);
}

static void bound_from(struct session *s, const char *portal, struct stmt *st)
{
	if (*portal || s->bound == st)
		return;
	stmt_release(s->bound);
	s->bound = st ? stmt_retain(st) : NULL;
}

/* st: what the client calls `said`; NULL: nothing of a name. */
static enum session_verdict send_bind(struct session *s, const struct client_message *m, const char *portal,
				      const char *name, size_t taken, struct stmt *st, const char *said)
{
	struct buf *out = s->backend->out;
	struct owed *o;

	s->backend->batch = true;
	s->discarded = false;
	s->discarded_here &= !*portal;
	o = ledger_push(&s->backend->owed, OWED_BIND, false);
	if (st) { /* for an error's text: other names may mean the same, or this one be closed by then */
		o->stmt = stmt_retain(st);
		if (!(o->name = strdup(said)))
			abort();
	}
	s->counters->binds++;
	if (!name)
		return forward_raw(s, m);
	buf_u8(out, 'B');
	buf_u32(out, (uint32_t)(4 + strlen(portal) + 1 + strlen(name) + 1 + m->len - taken));
	buf_str(out, portal);
	buf_str(out, name);
	buf_add(out, m->body + taken, m->have - taken);
	return m->have < m->len ? SESSION_STREAM : SESSION_NEXT;
}

static enum session_verdict on_bind(struct session *s, const struct client_message *m);

static enum session_verdict bind_edited(struct session *s, const struct client_message *m, const struct buf *body)
{
	struct client_message edited = { .type = m->type, .body = buf_head(body), .have = buf_len(body), .len = buf_len(body) };

	return on_bind(s, &edited);
}

static enum session_verdict on_bind(struct session *s, const struct client_message *m)
{
	struct reader r = reader_of(m->body, m->have);
	const char *portal = reader_str(&r, NULL), *name = reader_str(&r, NULL);
	char backend_name[STMT_NAME_MAX];
	enum session_verdict verdict;
	struct rule_refusal why;
	const struct effects *bound;
	struct buf body = { 0 };
	struct stmt *st;
	bool ends;

	if (!name)
		return m->have < m->len && m->have < NAMES_HOLD_MAX ? SESSION_MORE : refuse(s, "08P01", "invalid message format");
	st = *name ? names_find(&s->names, name) : NULL;
	watch_refresh(s, st);
	if (st)
		watch_refresh(s, st->target);
	if (!*name)
		watch_refresh_unnamed(s);
	if (m->have < m->len && m->len <= SQL_HOLD_MAX && wants_values(*name ? st ? st->effects : NULL : s->unnamed.effects))
		return SESSION_MORE;
	bound = *name ? st ? st->effects : NULL : s->unnamed.effects;
	if (edit_bind(s, bound, m, r, &body)) {
		verdict = bind_edited(s, m, &body);
		buf_release(&body);
		return verdict;
	}
	if (!rules_allow_bound(s, bound, &why))
		return rules_refuse(s, m, &why);
	if (bound && (!sequence_asked(s, rules_kinds(s, bound)) || learn_prepare(s, bound, st ? st->target : s->unnamed.target)))
		return SESSION_HOLD;
	if (!*name) {
		unnamed_of_today(s);
		verdict = ensure_unnamed(s);
		if (verdict == SESSION_NEXT)
			verdict = ensure_target(s, s->unnamed.effects, s->unnamed.target);
		if (verdict != SESSION_NEXT)
			return verdict;
		listen_look(s, buf_head(&s->unnamed.tail), buf_len(&s->unnamed.tail));
		bound_from(s, portal, NULL);
		bind_portal(s, portal, s->unnamed.serial ? s->unnamed.effects : NULL, s->unnamed.substitute,
			    ends_text(buf_head(&s->unnamed.tail), buf_len(&s->unnamed.tail)), s->unnamed.target, s->unnamed.own, r);
		return send_bind(s, m, portal, NULL, 0, NULL, NULL);
	}
	if (!st) { /* PostgreSQL does not know the name either, and says so */
		portal_drop(s, portal);
		return send_bind(s, m, portal, names_ours(name) ? NO_STMT : NULL, (size_t)(r.at - m->body), NULL, NULL);
	}
	st = stmt_of_today(s, name, st);
	/* The target first: without it PostgreSQL would describe an EXECUTE as one that returns nothing. */
	verdict = ensure_target(s, st->effects, st->target);
	if (verdict == SESSION_NEXT)
		verdict = ensure_usable(s, st);
	if (verdict != SESSION_NEXT)
		return verdict;
	stmt_name(st, backend_name);
	listen_look(s, st->tail, st->tail_len);
	bound_from(s, portal, st);
	ends = !st->from_sql && ends_text(st->tail, st->tail_len);
	if (st->effects->n == 1 && st->effects->stmts[0].kind == STMT_PREPARE && !st->from_sql)
		bind_portal(s, portal, st->effects, st->substitute, ends, NULL, st->target, r);
	else
		bind_portal(s, portal, st->effects, st->substitute, ends, st->from_sql ? st : st->target, NULL, r);
	return send_bind(s, m, portal, backend_name, (size_t)(r.at - m->body), st, name);
}

/* ---- Describe, Execute, Close ---- */

static enum session_verdict on_describe(struct session *s, const struct client_message *m, const char *name)
{
	struct backend *b = s->backend;
	struct stmt *st = NULL;
	char backend_name[STMT_NAME_MAX];
	enum session_verdict verdict = SESSION_NEXT;
	struct owed *o;
	size_t mark;

	if (m->body[0] == 'P') {
		o = ledger_push(&b->owed, OWED_DESCRIBE_PORTAL, false);
		if (!*name && s->bound && !s->bound->described)
			o->stmt = stmt_retain(s->bound);
		b->batch = true;
		return forward_raw(s, m);
	}
	if (*name)
		st = names_find(&s->names, name);
	else if ((verdict = ensure_target(s, s->unnamed.effects, s->unnamed.target)) == SESSION_NEXT)
		verdict = ensure_unnamed(s);
	if (st && (verdict = ensure_target(s, st->effects, st->target)) == SESSION_NEXT)
		verdict = ensure_usable(s, st);
	if (verdict != SESSION_NEXT)
		return verdict;
	o = ledger_push(&b->owed, OWED_DESCRIBE_STMT, false);
	b->batch = true;
	if (!st && !names_ours(name))
		return forward_raw(s, m);
	if (st) {
		o->stmt = stmt_retain(st);
		stmt_name(st, backend_name);
	}
	mark = msg_begin(b->out, 'D');
	buf_u8(b->out, 'S');
	buf_str(b->out, st ? backend_name : NO_STMT);
	msg_end(b->out, mark);
	return SESSION_NEXT;
}

static enum session_verdict on_close(struct session *s, const struct client_message *m, const char *name)
{
	struct backend *b = s->backend;
	struct unnamed_stmt *before = NULL;
	struct owed *o;
	struct stmt *st;

	if (m->body[0] == 'S' && *name && (st = names_find(&s->names, name))) {
		stmt_retain(st);
		names_remove(&s->names, name);
		b->batch = true; /* as far as the client knows, there is one to be ended by its Sync */
		owe_invented(s, '3', st, name);
		stmt_release(st);
		return SESSION_NEXT;
	}
	if (m->body[0] == 'S' && names_ours(name)) {
		b->batch = true;
		owe_invented(s, '3', NULL, NULL);
		return SESSION_NEXT;
	}
	if (m->body[0] == 'S' && !*name)
		before = unnamed_replaced(s);
	o = ledger_push(&b->owed, OWED_CLOSE, false);
	if (m->body[0] == 'S' && !*name) {
		unnamed_becomes(b, o, 0);
		o->before = before;
	} else if (m->body[0] == 'P') {
		portal_drop(s, name);
		s->txn.observe |= TOUCH_DROP; /* it may have been a held cursor's */
	}
	b->batch = true;
	return forward_raw(s, m);
}

/* The statement would have, and no SET TRANSACTION may follow; the no-op in its stead does not. */
static bool takes_snapshot(uint8_t substitute)
{
	return substitute == SUB_PREPARED || substitute == SUB_DEALLOCATE || substitute == SUB_DEALLOCATE_ALL || substitute == SUB_DISCARD_PLANS;
}

/* The LISTEN or UNLISTEN that is not PostgreSQL's, if this is one or an EXECUTE of one. */
static const struct effects *portal_listens(const struct portal *p)
{
	enum substitute sub = p->substitute;
	const struct stmt *st = NULL;

	if (sub == SUB_RENAMED && p->target && executes(p->effects)) {
		st = stmt_executed(p->target);
		sub = (enum substitute)st->substitute;
	}
	return sub != SUB_LISTEN && sub != SUB_UNLISTEN ? NULL : st ? st->effects : p->effects;
}

static enum session_verdict on_execute(struct session *s, const struct client_message *m, const char *name)
{
	struct backend *b = s->backend;
	struct portal *p = s->portals ? portal_find(s, name) : NULL;
	const struct effects *listen;
	enum session_verdict verdict;
	struct owed *o;

	if (p)
		s->ready = false;
	if (p && vacate_first(s, p->effects) != SESSION_NEXT)
		return SESSION_VACATE;
	if (p && (listen = portal_listens(p)) && (verdict = listen_execute(s, m, listen)) != SESSION_NEXT)
		return verdict;
	if (p && ((views_shown_by(p) && !views_ready(s)) || learn_prepare(s, p->effects, p->target)))
		return SESSION_HOLD;
	if (p && ensure_portal_taken(s, p) != SESSION_NEXT)
		return SESSION_HOLD;
	s->task_mismatch = false;
	s->discard_committed = false;
	s->discarded = p && b->status == 'I' && !s->listen.behind && p->effects->n == 1 && p->effects->stmts[0].kind == STMT_DISCARD_ALL;
	s->discarded_here = s->discarded && p->substitute == SUB_DISCARD_ALL;
	if (!s->listen.unsent) /* DISCARD ALL commits at once */
		s->listen.behind = !p || p->substitute != SUB_DISCARD_ALL;
	if (p && b->status != 'E' && takes_snapshot(p->substitute))
		send_own(s, SNAPSHOT_SQL, sizeof SNAPSHOT_SQL - 1);
	o = ledger_push(&b->owed, OWED_EXECUTE, false);
	owed_portal(o, p);
	b->batch = true;
	forward_raw(s, m);
	if (p) {
		effects_sent(s, p->effects, p->target, p->target);
		custom_sent(s, p->effects, p, false);
		for (struct stmt *st = p->target; st; st = stmt_executes(st))
			custom_sent(s, st->effects, NULL, true);
	}
	if (p && (!p->substitute || p->substitute == SUB_EDITED))
		s->txn.observe |= p->effects->flags & TOUCH_LISTEN;
	if ((p ? p->ends : s->bound_ends && !*name) && settings_moved(s))
		ends_sent(s);
	if ((p && (p->substitute || effects_barrier(p->effects))) || b->status == 'E') { /* which it may end */
		msg_add(b->out, 'H', NULL, 0);
		s->ready = false;
		s->await_reply = true;
	}
	return SESSION_NEXT;
}

enum session_verdict session_extended(struct session *s, const struct client_message *m)
{
	struct backend *b = s->backend;
	struct reader r;
	const char *name;

	if (!s->carry) { /* as PgBouncer would: names and all go through */
		enum owed_kind kind = m->type == 'P' ? OWED_PARSE : m->type == 'B' ? OWED_BIND : m->type == 'E' ? OWED_EXECUTE : OWED_CLOSE;

		if (m->type == 'D') {
			if (!m->have)
				return m->len ? SESSION_MORE : refuse(s, "08P01", "invalid message format");
			kind = m->body[0] == 'S' ? OWED_DESCRIBE_STMT : OWED_DESCRIBE_PORTAL;
		}
		b->batch = true;
		b->left = ~0u;
		ledger_push(&b->owed, kind, false);
		return forward_raw(s, m);
	}
	if (m->type == 'P')
		return on_parse(s, m);
	if (m->type == 'B')
		return on_bind(s, m);
	if (m->len > NAMES_HOLD_MAX)
		return refuse(s, "08P01", "invalid message format");
	if (m->have < m->len)
		return SESSION_MORE;
	r = reader_of(m->body, m->len);
	if (m->type != 'E')
		reader_u8(&r);
	name = reader_str(&r, NULL);
	if (!name)
		return refuse(s, "08P01", "invalid message format");
	if (m->type == 'E')
		return on_execute(s, m, name);
	if (m->body[0] != 'S' && m->body[0] != 'P') { /* PostgreSQL's own error */
		ledger_push(&b->owed, m->type == 'D' ? OWED_DESCRIBE_PORTAL : OWED_CLOSE, false);
		b->batch = true;
		return forward_raw(s, m);
	}
	return m->type == 'D' ? on_describe(s, m, name) : on_close(s, m, name);
}
