/* Custom settings: names with a dot, which PostgreSQL makes up when they are first named. From then on they read '' on that
 * backend, where they read NULL before, and nothing takes that back: no rollback, no RESET, not even DISCARD ALL. So for
 * each backend it is known which names it has seen, for each client which it has touched, and a backend serves only
 * clients that have touched all it has seen, or are about to before they read anything. */
#include <stdlib.h>
#include <string.h>

#include "parser/reader.h"
#include "parser/wire.h"
#include "state/session_internal.h"

enum {
	CUSTOM_NAME_MAX = 256,
	SEEN_MAX = 1000, /* names on one backend; with more it is closed when its client leaves */
};

void custom_init(struct session *s)
{
	s->custom.known = settings_empty(s->store->settings);
	s->custom.pending = settings_retain(s->custom.known);
	s->custom.allowed = settings_retain(s->custom.known);
}

void custom_release(struct session *s)
{
	settings_release(s->custom.known);
	settings_release(s->custom.pending);
	settings_release(s->custom.allowed);
}

static bool is_custom(const char *name)
{
	return name && strchr(name, '.');
}

static void add(const struct settings **set, const char *name)
{
	if (!settings_get(*set, name))
		settings_set(set, name, "");
}

void custom_start_with(struct session *s, const char *name)
{
	if (is_custom(name))
		add(&s->custom.known, name);
}

static void see(struct session *s, const char *name)
{
	struct backend *b = s->backend;

	if (settings_get(b->seen, name))
		return;
	add(&b->seen, name);
	s->counters->custom_names++;
	if (settings_size(b->seen) > SEEN_MAX)
		b->spoilt = true;
}

/* By a statement of ours, which may fail. */
static void make(struct session *s, const char *name)
{
	if (!settings_get(s->backend->seen, name))
		s->custom.making = true;
	see(s, name);
}

/* ---- statements ---- */

/* The setting's name in lower case, or NULL: only PostgreSQL knows. */
static const char *touched_name(const struct touched_setting *t, char *const *bound, size_t n_bound, char lower[static CUSTOM_NAME_MAX])
{
	const char *name = t->name;
	size_t i;

	if (!name && t->param > 0 && (size_t)t->param <= n_bound)
		name = bound[t->param - 1];
	if (!name || strlen(name) >= CUSTOM_NAME_MAX)
		return NULL;
	for (i = 0; name[i]; i++)
		lower[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + 32) : name[i];
	lower[i] = 0;
	return lower;
}

static bool names_setting(const struct stmt_effects *row)
{
	return row->kind == STMT_SET || row->kind == STMT_SET_LOCAL || row->kind == STMT_RESET || row->kind == STMT_RESET_LOCAL;
}

static void name_sent(struct session *s, const char *name)
{
	if (!is_custom(name) || settings_get(s->custom.known, name))
		return;
	if (!settings_get(s->backend->seen, name))
		add(&s->custom.pending, name);
	see(s, name);
}

static void row_sent(struct session *s, const struct stmt_effects *row, uint32_t flags, const struct portal *p)
{
	char lower[CUSTOM_NAME_MAX];

	if (flags & (TOUCH_OPAQUE | TOUCH_SETTINGS_UNKNOWN))
		s->backend->spoilt = true;
	if (names_setting(row))
		name_sent(s, row->name);
	for (size_t i = 0; i < row->n_touched; i++) {
		const char *name = touched_name(&row->touched[i], p ? p->bound : NULL, p ? p->n_bound : 0, lower);

		if (name)
			name_sent(s, name);
		else
			s->backend->spoilt = true;
	}
}

void custom_sent(struct session *s, const struct effects *e, const struct portal *p, bool executed)
{
	for (size_t i = 0; i < e->n; i++) {
		const struct stmt_effects *row = &e->stmts[i];

		if (row->kind != STMT_PREPARE)
			row_sent(s, row, row->flags, p);
		else if (executed)
			row_sent(s, row, row->inner_flags, NULL);
	}
}

static void name_done(struct session *s, const char *name)
{
	if (!is_custom(name))
		return;
	add(&s->custom.known, name);
	settings_set(&s->custom.pending, name, NULL);
}

void custom_done(struct session *s, const struct stmt_effects *row, const struct portal *p)
{
	char lower[CUSTOM_NAME_MAX];

	if (names_setting(row))
		name_done(s, row->name);
	for (size_t i = 0; i < row->n_touched; i++)
		if (row->touched[i].surely)
			name_done(s, touched_name(&row->touched[i], p ? p->bound : NULL, p ? p->n_bound : 0, lower));
}

bool custom_pending(const struct session *s)
{
	return settings_size(s->custom.pending);
}

/* The backend had not seen the name before: what it says now is what the client's statement has done. */
void custom_observed(struct session *s, const char *name, const char *value)
{
	if (value)
		add(&s->custom.known, name);
	else if (!s->backend->spoilt)
		settings_set(&s->backend->seen, name, NULL);
}

void custom_settled(struct session *s)
{
	while (settings_size(s->custom.pending))
		settings_set(&s->custom.pending, settings_name_at(s->custom.pending, 0), NULL);
}

void custom_not_sent(struct session *s)
{
	for (size_t i = 0; i < settings_size(s->custom.pending); i++)
		settings_set(&s->backend->seen, settings_name_at(s->custom.pending, i), NULL);
	custom_settled(s);
}

/* ---- on another backend ---- */

/* By rule: the client may read '' where it would read NULL by itself, and NULL where it would read ''. */
static bool unset_ignored(const struct session *s)
{
	return s->rules->ignore & (1u << RULE_CUSTOM_UNSET | 1u << RULE_SETTINGS);
}

bool session_misplaced(const struct session *s)
{
	const struct backend *b = s->backend;

	if (!s->carry || !session_releasable(s))
		return false;
	return b->spoilt || (!settings_within(b->seen, s->custom.known) && !unset_ignored(s));
}

bool custom_ready(struct session *s)
{
	struct backend *b = s->backend;
	const struct settings *missing;
	bool ready;

	if (b->status == 'E' || settings_within(s->custom.known, b->seen) || unset_ignored(s))
		return true;
	missing = settings_empty(s->store->settings);
	for (size_t i = 0; i < settings_size(s->custom.known); i++) {
		const char *name = settings_name_at(s->custom.known, i);

		if (!settings_get(b->seen, name) && !settings_get(s->want, name)) /* else it is set there in a moment */
			add(&missing, name);
		make(s, name);
	}
	ready = !settings_size(missing);
	if (!ready)
		task_names(s, missing);
	settings_release(missing);
	return ready;
}

void custom_applying(struct session *s, const struct settings *settings)
{
	for (size_t i = 0; i < settings_size(settings); i++)
		if (is_custom(settings_name_at(settings, i)))
			make(s, settings_name_at(settings, i));
}

void custom_failed(struct session *s)
{
	const struct settings *none;

	if (!s->custom.making)
		return;
	none = settings_empty(s->store->settings);
	s->custom.making = false;
	s->backend->spoilt = true;
	settings_assign(&s->backend->seen, none);
	settings_release(none);
}

/* ---- what the messages at hand set before they read ---- */

enum { AHEAD_MESSAGES = 32, AHEAD_STATEMENTS = 8, BEGIN_MAX = 200 };

struct ahead {
	struct session *s;
	bool open; /* in a transaction, which keeps its backend behind a Sync */
	struct {
		const char *name;
		const struct effects *effects;
	} parsed[AHEAD_STATEMENTS];
	size_t n_parsed;
	const struct effects *bound; /* of the unnamed portal; borrowed */
	struct reader values;	     /* and its Bind, from the formats on */
};

/* The effects of a lone BEGIN, which the screen clears; NULL: it is none. A reference. */
static const struct effects *begin_effects(struct session *s, const char *text, size_t len)
{
	const struct effects *e;
	size_t at = strspn(text, " \t\r\n");

	if (at >= len || len > BEGIN_MAX || !strchr("bBsS", text[at]))
		return NULL;
	e = effects_in_full(s->store->effects, text, len, session_lex_mode(s));
	if (e->n == 1 && e->stmts[0].kind == STMT_BEGIN)
		return e;
	effects_release(e);
	return NULL;
}

static const struct effects *text_effects(struct session *s, const char *text, size_t len)
{
	const struct effects *e = effects_of(s->store->effects, text, len, session_lex_mode(s)), *begin;

	if (!effects_none(e))
		return e;
	begin = begin_effects(s, text, len);
	return begin ? begin : e;
}

/* Value number n (from 1) of a Bind; false where there is none or it is NULL. */
static bool bound_value(struct reader r, int n, char out[static CUSTOM_NAME_MAX])
{
	uint16_t n_formats = reader_u16(&r), n_values;

	reader_bytes(&r, (size_t)n_formats * 2);
	n_values = reader_u16(&r);
	for (int i = 1; i <= n_values && !r.bad; i++) {
		uint32_t len = reader_u32(&r);
		const uint8_t *value = len == UINT32_MAX ? NULL : reader_bytes(&r, len);

		if (i != n)
			continue;
		if (!value || len >= CUSTOM_NAME_MAX || memchr(value, 0, len))
			return false;
		memcpy(out, value, len);
		out[len] = 0;
		return true;
	}
	return false;
}

static bool allow(struct ahead *a, const char *name)
{
	if (is_custom(name))
		add(&a->s->custom.allowed, name);
	return name;
}

static bool touched_leads(struct ahead *a, const struct touched_setting *t)
{
	char value[CUSTOM_NAME_MAX], *bound = value, lower[CUSTOM_NAME_MAX];
	struct touched_setting named = *t;

	if (!t->surely)
		return false;
	if (!t->name) {
		if (!bound_value(a->values, t->param, value))
			return false;
		named.param = 1;
	}
	return allow(a, touched_name(&named, &bound, 1, lower));
}

/* True if the statement reads no custom setting; those it sets are allowed for. */
static bool row_leads(struct ahead *a, const struct stmt_effects *row)
{
	switch (row->kind) {
	case STMT_BEGIN:
		a->open = true;
		return true;
	case STMT_SET_TRANSACTION:
		return true;
	case STMT_SET:
	case STMT_SET_LOCAL:
		return row->value && allow(a, row->name);
	case STMT_RESET:
	case STMT_RESET_LOCAL:
		return allow(a, row->name);
	case STMT_PLAIN:
		if (row->flags & ~(uint32_t)(TOUCH_SETTINGS | TOUCH_LOCAL) || !row->n_touched)
			return false;
		for (size_t i = 0; i < row->n_touched; i++)
			if (!touched_leads(a, &row->touched[i]))
				return false;
		return true;
	default:
		return false;
	}
}

static bool leads(struct ahead *a, const struct effects *e)
{
	for (size_t i = 0; e && i < e->n; i++)
		if (!row_leads(a, &e->stmts[i]))
			return false;
	return e && e->n;
}

static bool ahead_parse(struct ahead *a, struct reader r)
{
	const char *name = reader_str(&r, NULL), *text;
	size_t len = 0;

	text = reader_str(&r, &len);
	if (r.bad || !name || !text || a->n_parsed == AHEAD_STATEMENTS)
		return false;
	a->parsed[a->n_parsed].name = name;
	a->parsed[a->n_parsed++].effects = text_effects(a->s, text, len);
	return true;
}

static const struct effects *statement_effects(struct ahead *a, const char *name)
{
	const struct stmt *st;

	for (size_t i = a->n_parsed; i-- > 0;)
		if (!strcmp(a->parsed[i].name, name))
			return a->parsed[i].effects;
	if (!*name)
		return a->s->unnamed.serial ? a->s->unnamed.effects : NULL;
	st = names_find(&a->s->names, name);
	if (st && effects_none(st->effects) && a->n_parsed < AHEAD_STATEMENTS) { /* it may be a BEGIN */
		const char *text = (const char *)st->tail;
		const struct effects *begin = begin_effects(a->s, text, strlen(text));

		if (begin)
			a->parsed[a->n_parsed++].effects = begin, a->parsed[a->n_parsed - 1].name = name;
		return begin;
	}
	return st ? st->effects : NULL;
}

static bool ahead_bind(struct ahead *a, struct reader r)
{
	const char *portal = reader_str(&r, NULL), *name = reader_str(&r, NULL);

	if (r.bad || !name || *portal)
		return false;
	a->bound = statement_effects(a, name);
	a->values = r;
	return a->bound;
}

/* False: look no further. */
static bool ahead_message(struct ahead *a, char type, const uint8_t *body, size_t len)
{
	struct reader r = reader_of(body, len);
	const struct effects *e;
	bool on;

	switch (type) {
	case 'P':
		return ahead_parse(a, r);
	case 'B':
		return ahead_bind(a, r);
	case 'D':
	case 'H':
		return true;
	case 'E':
		return leads(a, a->bound);
	case 'S':
		return a->open;
	case 'Q':
		if (!len || body[len - 1])
			return false;
		e = text_effects(a->s, (const char *)body, len - 1);
		on = leads(a, e) && a->open;
		effects_release(e);
		return on;
	default:
		return false;
	}
}

/* Messages that have come, and the one at hand. */
struct batch {
	const uint8_t *bytes;
	size_t len, at;
	char type;
	const uint8_t *body;
	size_t body_len;
};

/* False where no more is whole. */
static bool next_in(struct batch *b)
{
	struct wire_head head;

	if (!wire_whole(b->bytes + b->at, b->len - b->at, UINT32_MAX, &head))
		return false;
	b->type = head.type;
	b->body = b->bytes + b->at + WIRE_HEAD;
	b->body_len = head.body_len;
	b->at += WIRE_HEAD + head.body_len;
	return true;
}

const struct settings *session_knows(struct session *s, const uint8_t *bytes, size_t len)
{
	struct batch b = { .bytes = bytes, .len = len };
	struct ahead a;

	if (!s->carry || unset_ignored(s))
		return NULL;
	settings_assign(&s->custom.allowed, s->custom.known);
	if (!s->counters->custom_names || s->begin.failed) /* then nothing is set before a ROLLBACK */
		return s->custom.allowed;
	a = (struct ahead){ .s = s, .open = s->begin.held };
	for (int n = 0; n < AHEAD_MESSAGES && next_in(&b); n++)
		if (!ahead_message(&a, b.type, b.body, b.body_len))
			break;
	while (a.n_parsed)
		effects_release(a.parsed[--a.n_parsed].effects);
	return s->custom.allowed;
}

/* ---- a BEGIN that waits for what comes after it ---- */

static bool contains_nocase(const char *text, size_t len, const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 0; i + n <= len; i++)
		if (!strncasecmp(text + i, word, n))
			return true;
	return false;
}

/* Only a standby has objections to a BEGIN, which has to be told at once. */
static bool may_fail(const struct session *s, const char *text, size_t len)
{
	const char *standby = settings_get(s->reported, "in_hot_standby");

	return (!standby || strcmp(standby, "off")) && (contains_nocase(text, len, "serial") || contains_nocase(text, len, "write"));
}

static void hold(struct session *s, const char *text, size_t len, size_t word_at)
{
	bool start = text[word_at] == 's' || text[word_at] == 'S';

	buf_reset(&s->begin.text);
	buf_add(&s->begin.text, text, len);
	s->begin.held = true;
	s->begin.failed = s->begin.parsed = false;
	s->counters->queries++;
	s->counters->held_begins++;
	msg_add(s->to_client, 'C', start ? "START TRANSACTION" : "BEGIN", start ? sizeof "START TRANSACTION" : sizeof "BEGIN");
	msg_add(s->to_client, 'Z', "T", 1);
}

/* The unnamed statement is parsed again where the client binds it anew. */
static void unnamed_is_begin(struct session *s, const uint8_t *tail, size_t len)
{
	struct unnamed_stmt *u = &s->unnamed;

	unnamed_forget(s);
	u->serial = ++s->store->last_serial;
	buf_reset(&u->tail);
	buf_reset(&u->given);
	buf_add(&u->tail, tail, len);
	u->at_parse = settings_retain(s->effective);
	u->effects = session_effects_of(s, (const char *)tail, strlen((const char *)tail));
	u->watched = watch_seen(s);
	u->substitute = SUB_NONE;
}

/* Bind of the unnamed statement and portal, without values. */
static bool binds_plainly(const struct batch *b)
{
	struct reader r = reader_of(b->body, b->body_len);
	bool unnamed = b->type == 'B' && !reader_u8(&r) && !reader_u8(&r);

	reader_bytes(&r, (size_t)reader_u16(&r) * 2);
	unnamed &= !reader_u16(&r);
	reader_bytes(&r, (size_t)reader_u16(&r) * 2);
	return unnamed && !r.bad && !reader_left(&r);
}

/* Bind, Describe of the portal or not, Execute and Sync. */
static bool runs_alone(struct batch *b, bool *described)
{
	if (!next_in(b) || !binds_plainly(b) || !next_in(b))
		return false;
	*described = b->type == 'D';
	if (*described && (b->body_len != 2 || memcmp(b->body, "P", 2) || !next_in(b)))
		return false;
	return b->type == 'E' && b->body_len == 5 && !*b->body && next_in(b) && b->type == 'S' && !b->body_len;
}

/* By extended protocol: all of the batch is there, and is nothing but that. */
static size_t hold_batch(struct session *s, struct batch *b)
{
	struct reader r = reader_of(b->body, b->body_len);
	bool unnamed = !reader_u8(&r), described = false, held;
	const uint8_t *tail = r.at;
	size_t len = 0, tail_len = reader_left(&r);
	const char *text = reader_str(&r, &len);
	const struct effects *e;

	if (!unnamed || !text || reader_left(&r) != 2 || reader_u16(&r) || !runs_alone(b, &described))
		return 0;
	e = begin_effects(s, text, len);
	held = e && !may_fail(s, text, len);
	if (held) {
		unnamed_is_begin(s, tail, tail_len);
		s->counters->client_parses++;
		s->counters->binds++;
		msg_add(s->to_client, '1', NULL, 0);
		msg_add(s->to_client, '2', NULL, 0);
		if (described)
			msg_add(s->to_client, 'n', NULL, 0);
		hold(s, text, len, e->stmts[0].at);
		s->begin.parsed = true;
	}
	if (e)
		effects_release(e);
	return held ? b->at : 0;
}

static size_t hold_query(struct session *s, const uint8_t *body, size_t len, size_t taken)
{
	const char *text = (const char *)body;
	const struct effects *e = len && !body[len - 1] ? begin_effects(s, text, len - 1) : NULL;
	bool held = e && !may_fail(s, text, len - 1);

	if (held) {
		unnamed_forget(s); /* a simple Query ends it */
		hold(s, text, len - 1, e->stmts[0].at);
	}
	if (e)
		effects_release(e);
	return held ? taken : 0;
}

/* Who listens is not told anything in a transaction: that is known by its backend. */
size_t session_hold_begin(struct session *s, const uint8_t *bytes, size_t len)
{
	struct batch b = { .bytes = bytes, .len = len };

	if (!s->carry || unset_ignored(s) || s->backend || s->begin.held || s->skip || session_listens(s) || !next_in(&b))
		return 0;
	return b.type == 'Q' ? hold_query(s, b.body, b.body_len, b.at) : b.type == 'P' ? hold_batch(s, &b) : 0;
}

/* The transaction goes on where PostgreSQL would have it: in failure. */
static void put_failure(struct buf *sql)
{
	buf_text(sql, "\n;DO $pgporter$BEGIN RAISE EXCEPTION 'pgporter'; END$pgporter$");
}

bool begin_ready(struct session *s)
{
	struct buf sql = { 0 };

	if (!s->begin.held)
		return true;
	if (s->begin.parsed && !s->begin.failed) {
		task_begin(s, TASK_BEGIN);
		send_own_unnamed(s, (const char *)buf_head(&s->begin.text), buf_len(&s->begin.text));
		task_sent(s);
		return false;
	}
	buf_add(&sql, buf_head(&s->begin.text), buf_len(&s->begin.text));
	if (s->begin.failed)
		put_failure(&sql);
	task_query(s, TASK_BEGIN, &sql);
	buf_release(&sql);
	return false;
}

bool begin_done(struct session *s)
{
	char wanted = s->begin.failed ? 'E' : 'T';

	s->begin.held = s->begin.failed = s->begin.bare = false;
	buf_release(&s->begin.text);
	return s->backend->status == wanted;
}

char session_status(const struct session *s)
{
	if (s->begin.held)
		return s->begin.failed ? 'E' : 'T';
	return s->backend ? backend_said(s->backend) : 'I';
}

void begin_fails(struct session *s)
{
	s->begin.failed = s->begin.held;
}
