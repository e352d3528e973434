#include "state/session_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "parser/reader.h"

const char *pin_reason_name(enum pin_reason reason)
{
	switch (reason) {
	case PIN_CURSOR:
		return "held cursor";
	case PIN_LOCK:
		return "advisory lock";
	case PIN_TEMP:
		return "temporary object";
	case PIN_LISTEN:
		return "listen";
	case PIN_OPAQUE:
		return "opaque statement";
	case PIN_SESSION:
		return "session state";
	case PIN_STATEMENT:
		return "large statement";
	case PIN_SETTING:
		return "setting";
	case PIN_ROLE:
		return "role";
	case PIN_PREPARED:
		return "prepared statement";
	case PIN_HAND:
		return "by hand";
	case PIN_WHOLE:
		return "whole session";
	case PIN_START:
		return "startup parameters";
	case PIN_SEQUENCE:
		return "sequence value";
	}
	return "?";
}

void session_init(struct session *s, struct session_store *store, struct session_counters *counters, struct buf *to_client)
{
	memset(s, 0, sizeof *s);
	s->store = store;
	s->counters = counters;
	s->to_client = to_client;
	s->rules = rules_normal();
	s->serial = ++store->last_serial;
	s->base = settings_empty(store->settings);
	s->settings = settings_retain(s->base);
	s->want = settings_retain(s->base);
	s->effective = settings_retain(s->base);
	s->reported = settings_retain(s->base);
	s->base_reported = settings_retain(s->base);
	s->txn.reported = settings_retain(s->base);
	custom_init(s);
}

void query_clear(struct session *s)
{
	if (!s->query.effects && !s->query.steps && !s->query.shifts && !s->query.swallow_rows && !s->query.extra_left)
		return;
	if (s->query.effects)
		effects_release(s->query.effects);
	for (size_t i = 0; i < s->query.n_steps; i++) {
		stmt_release(s->query.steps[i].target);
		free(s->query.steps[i].name);
		settings_release(s->query.steps[i].asks);
	}
	free(s->query.steps);
	free(s->query.shifts);
	memset(&s->query, 0, sizeof s->query);
}

void unnamed_forget(struct session *s)
{
	if (s->unnamed.unkept)
		s->pins &= ~(uint32_t)PIN_STATEMENT;
	unnamed_clear(&s->unnamed);
}

struct unnamed_stmt *unnamed_replaced(struct session *s)
{
	struct unnamed_stmt *before = NULL;

	if (s->unnamed.serial && s->backend->owed.count)
		before = unnamed_set_aside(&s->unnamed);
	else
		unnamed_forget(s);
	return before;
}

void unnamed_restore(struct session *s, struct owed *o)
{
	unnamed_forget(s);
	unnamed_put_back(&s->unnamed, o->before);
	o->before = NULL;
	if (s->unnamed.unkept) { /* it is still there, and nowhere else */
		s->backend->unnamed = s->unnamed.serial;
		s->pins |= PIN_STATEMENT;
	}
}

static void portal_release(struct portal *p)
{
	if (!p || --p->refs)
		return;
	if (p->effects)
		effects_release(p->effects);
	stmt_release(p->target);
	stmt_release(p->own);
	for (size_t i = 0; i < p->n_bound; i++)
		free(p->bound[i]);
	free(p->bound);
	free(p->name);
	free(p);
}

struct portal *portal_find(struct session *s, const char *name)
{
	struct portal *p = s->portals;

	while (p && strcmp(p->name, name))
		p = p->next;
	return p;
}

void portal_drop(struct session *s, const char *name)
{
	for (struct portal **at = &s->portals; *at; at = &(*at)->next)
		if (!strcmp((*at)->name, name)) {
			struct portal *p = *at;

			*at = p->next;
			portal_release(p);
			return;
		}
}

struct portal *portal_put(struct session *s, const char *name)
{
	struct portal *p;

	portal_drop(s, name);
	p = calloc(1, sizeof *p);
	if (!p || !(p->name = strdup(name)))
		abort();
	p->refs = 1;
	p->next = s->portals;
	s->portals = p;
	return p;
}

void owed_portal(struct owed *o, struct portal *p)
{
	o->portal = p;
	if (p)
		p->refs++;
}

void owed_pop(struct session *s)
{
	struct owed *o = ledger_head(&s->backend->owed);

	if (o->kind != OWED_CLOSE)
		s->backend->answered = true;
	if (o->portal)
		portal_release(o->portal);
	ledger_pop(&s->backend->owed);
}

void portals_clear(struct session *s)
{
	stmt_release(s->bound);
	s->bound = NULL;
	while (s->portals) {
		struct portal *p = s->portals;

		s->portals = p->next;
		portal_release(p);
	}
}

void session_release(struct session *s)
{
	if (s->backend)
		abort();
	vacate_forget(s);
	through_forget(s);
	session_roles_told(s);
	session_listen_end(s);
	buf_release(&s->listen.inbox);
	query_clear(s);
	portals_clear(s);
	unnamed_forget(s);
	unnamed_release(&s->unnamed);
	names_clear(&s->names);
	session_txn_reset(s);
	free(s->txn.names);
	buf_release(&s->task_error);
	buf_release(&s->lost.error);
	lost_forget(s);
	buf_release(&s->task_rows);
	settings_release(s->task_target);
	settings_release(s->base);
	settings_release(s->settings);
	settings_release(s->want);
	settings_release(s->effective);
	settings_release(s->reported);
	settings_release(s->base_reported);
	settings_release(s->txn.reported);
	settings_release(s->flight.from);
	rules_uncount(s);
	free(s->refused);
	free(s->pin_text);
	custom_release(s);
	buf_release(&s->begin.text);
}

void session_start_with(struct session *s, const char *name, const char *value)
{
	settings_set(&s->base, name, value);
	custom_start_with(s, name);
	settings_assign(&s->settings, s->base);
	settings_assign(&s->want, s->base);
	settings_assign(&s->effective, s->base);
}

void session_remember_text(struct session *s, const char *text, size_t len)
{
	char *last = s->backend->last_text;
	size_t n = len < sizeof s->backend->last_text - 1 ? len : sizeof s->backend->last_text - 1;

	memcpy(last, text, n);
	last[n] = 0;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)last[i] < 0x20)
			last[i] = ' ';
}

void session_pinned_by(struct session *s, const char *text)
{
	free(s->pin_text);
	s->pin_text = *text ? strdup(text) : NULL;
	if (*text && !s->pin_text)
		abort();
}

void session_touch(struct session *s, const char *name)
{
	if (s->txn.outcome) /* which holds for what came before it in the same batch, and not for this */
		s->txn.uncertain = true;
	s->txn.dirty = true;
	for (size_t i = 0; i < s->txn.n_names; i++)
		if (!strcmp(s->txn.names[i], name))
			return;
	s->txn.names = realloc(s->txn.names, (s->txn.n_names + 1) * sizeof *s->txn.names);
	if (!s->txn.names || !(s->txn.names[s->txn.n_names++] = strdup(name)))
		abort();
}

void session_touch_local(struct session *s, const char *name)
{
	if (!s->txn.locals)
		s->txn.locals = settings_empty(s->store->settings);
	settings_set(&s->txn.locals, name, "");
}

void session_txn_reset(struct session *s)
{
	for (size_t i = 0; i < s->txn.n_names; i++)
		free(s->txn.names[i]);
	s->txn.n_names = 0;
	settings_release(s->txn.locals);
	s->txn.locals = NULL;
	defaulted_forget(s);
	watch_let_go(s);
	s->txn.dirty = s->txn.uncertain = s->txn.local_unknown = s->txn.unsure = s->txn.base_unknown = s->txn.ended = s->txn.error = false;
	s->txn.outcome = 0;
	s->txn.observe = 0;
}

/* The bytes below 0x80 of these may be the tail of a character. */
static bool encoding_unsafe(const char *name)
{
	static const char *const unsafe[] = { "SJIS", "SHIFT_JIS_2004", "BIG5", "GBK", "UHC", "GB18030", "JOHAB" };

	for (size_t i = 0; i < sizeof unsafe / sizeof *unsafe; i++)
		if (!strcasecmp(name, unsafe[i]))
			return true;
	return false;
}

unsigned session_lex_mode(struct session *s)
{
	const char *strings, *encoding;

	if (s->lex_for == settings_id(s->reported))
		return s->lex_mode;
	strings = settings_get(s->reported, "standard_conforming_strings");
	encoding = settings_get(s->reported, "client_encoding");
	s->lex_mode = LEX_PLAIN;
	if (strings && strcmp(strings, "on"))
		s->lex_mode |= LEX_BACKSLASH;
	if (encoding && encoding_unsafe(encoding))
		s->lex_mode |= LEX_UNSAFE_BYTES;
	s->lex_for = settings_id(s->reported);
	return s->lex_mode;
}

const struct effects *session_effects_of(struct session *s, const char *text, size_t len)
{
	return effects_watched(s->store->effects, s->watch, text, len, session_lex_mode(s));
}

void session_link(struct session *s, struct backend *b)
{
	if (s->backend || b->session)
		abort();
	s->backend = b;
	s->ready = false;
	b->session = s;
	if (s->rules != rules_normal())
		s->carry = s->carry_next;
	s->custom.making = s->discarded = s->discarded_here = false;
	if (s->listens)
		subscriber_linked(s->listens);
	sequence_linked(s);
	settings_assign(&s->txn.reported, b->reported);
}

bool session_unlink(struct session *s)
{
	struct backend *b = s->backend;
	bool clean;

	if (!b)
		return true;
	s->pins &= ~(uint32_t)PIN_SEQUENCE; /* the next one discards the numbers if it minds */
	clean = session_releasable(s) && !b->spoilt;
	if (s->through)
		clean = b->status == 'I' && !b->copy_in && !b->copy_both && !s->ready_owed && !s->task && !b->owed.count && !b->batch;
	while (b->owed.count)
		owed_pop(s);
	if (s->through)
		b->kept = 0;
	watch_let_go(s);
	b->session = NULL;
	s->backend = NULL;
	s->ready = s->ends = false;
	portals_clear(s);
	query_clear(s);
	s->task = TASK_NONE;
	s->views = VIEWS_NONE;
	s->views_ending = false;
	s->may_reset = s->ready_held = false;
	s->flight.failed = false;
	s->task_failed = s->await_ready = s->await_reply = s->await_copy_end = false;
	s->ready_owed = 0;
	s->through_held = false;
	vacate_forget(s);
	rules_uncount(s);
	s->listen.waits = s->listen.marked = s->listen.begins = s->listen.behind = s->listen.within = s->listen.caught_up = false;
	s->listen.alone = 0;
	listen_forget_unsent(s);
	return clean;
}

/* A startup setting as PostgreSQL has taken it: half a DateStyle, given back by RESET, would be put on top of another half. */
static void base_as_reported(struct session *s, const struct settings *reported)
{
	const struct settings *given = settings_retain(s->base);
	struct backend *b = s->backend;

	for (size_t i = 0; i < settings_size(given); i++) {
		const char *value = settings_get_nocase(reported, settings_name_at(given, i));

		if (value && strcmp(settings_name_at(given, i), "session_authorization"))
			settings_set(&s->base, settings_name_at(given, i), value);
	}
	settings_assign(&s->settings, s->base);
	settings_assign(&s->want, s->base);
	settings_assign(&s->effective, s->base);
	if (b && b->have == given && b->applied == given) {
		settings_assign(&b->have, s->base);
		settings_assign(&b->applied, s->base);
	}
	settings_release(given);
}

void session_welcome(struct session *s, const struct settings *reported)
{
	base_as_reported(s, reported);
	settings_assign(&s->reported, reported);
	settings_assign(&s->base_reported, reported);
}

/* Of all that keeps messages from being sent on, it is only that those up to the client's Sync are dropped. */
static bool only_skips(const struct session *s)
{
	return !s->through && !s->task && !s->task_failed && !s->await_ready && !s->await_reply && !s->await_copy_end;
}

bool session_releasable(const struct session *s)
{
	const struct backend *b = s->backend;

	return b && b->status == 'I' && (!s->not_plain || (s->skip && only_skips(s))) && !b->owed.count && !b->batch &&
	       !b->skipping && !s->pins && !s->vacate && s->views == VIEWS_NONE && !(s->listens && s->listens->stays);
}

bool session_in_transaction(const struct session *s)
{
	return s->backend ? s->backend->status != 'I' || s->backend->batch : s->begin.held;
}

bool session_idle(const struct session *s)
{
	const struct backend *b = s->backend;

	if (!b)
		return true;
	if (s->through)
		return !s->ready_owed && !s->task && !b->batch && !b->copy_in && !b->copy_both;
	return !s->task && !s->await_ready && !s->await_reply && !s->await_copy_end && !b->owed.count && !b->copy_in && !s->vacate;
}

bool session_login_begin(struct session *s)
{
	if (s->want == s->backend->have)
		return true;
	custom_applying(s, s->want);
	task_apply(s, s->want, TASK_LOGIN);
	return false;
}

static void answer_cancelled(struct session *s)
{
	msg_report(s->to_client, 'E', "ERROR", "57014", "canceling statement due to user request", NULL, NULL);
}

static void answer_ready(struct session *s, char status)
{
	s->query_done = 0;
	if (status == 'I' && buf_len(&s->listen.inbox))
		listen_flush(s);
	lost_report(s);
	msg_add(s->to_client, 'Z', &status, 1);
}

bool session_cancel_waiting(struct session *s, const struct client_message *m)
{
	if (s->backend)
		return false;
	answer_cancelled(s);
	begin_fails(s);
	if (m->type == 'Q' || m->type == 'F')
		answer_ready(s, session_status(s));
	else
		s->skip = true;
	return true;
}

/* ---- the client's messages ---- */

enum session_verdict forward_raw(struct session *s, const struct client_message *m)
{
	struct buf *out = s->backend->out;
	uint8_t *p = buf_room(out, 5 + m->have);

	*p = (uint8_t)m->type;
	buf_put_u32(p + 1, (uint32_t)m->len + 4);
	if (m->have)
		memcpy(p + 5, m->body, m->have);
	buf_commit(out, 5 + m->have);
	return m->have < m->len ? SESSION_STREAM : SESSION_NEXT;
}

static enum session_verdict send_sync(struct session *s, const struct client_message *m)
{
	ledger_push(&s->backend->owed, OWED_SYNC, false);
	s->await_ready = true;
	return forward_raw(s, m);
}

static enum session_verdict skip_message(struct session *s, const struct client_message *m)
{
	if (m->type != 'S')
		return SESSION_DROP;
	s->skip = false;
	if (s->backend && (s->backend->batch || s->backend->skipping || s->backend->owed.count))
		return send_sync(s, m);
	answer_ready(s, session_status(s));
	if (s->backend)
		views_end(s);
	return SESSION_DROP;
}

/* CopyData and its ends: PostgreSQL ignores them outside of a COPY, and ignores Sync and Flush inside one. */
static enum session_verdict copy_message(struct session *s, const struct client_message *m)
{
	struct backend *b = s->backend;
	bool extended;

	if (!b)
		return SESSION_DROP;
	if (!(b->copy_in || b->copy_both)) /* without state carried an Execute isn't seen to be a COPY before it says so */
		return s->carry ? SESSION_DROP : forward_raw(s, m);
	if (m->type == 'c' && m->have < m->len)
		return SESSION_MORE;
	if (m->type != 'd' && !b->copy_both) {
		b->copy_in = false;
		extended = ledger_head(&b->owed) && ledger_head(&b->owed)->kind == OWED_EXECUTE;
		if (extended) { /* its end is answered only at a Sync, which must not come before that is known */
			s->await_copy_end = true;
			if (m->type != 'c') /* PostgreSQL flushes an error by itself */
				return forward_raw(s, m);
			forward_raw(s, m);
			msg_add(b->out, 'H', NULL, 0);
			return SESSION_NEXT;
		}
	}
	return forward_raw(s, m);
}

/* Large objects' own functions, which drivers call by function-call messages; PostgreSQL's pg_proc.dat. */
static bool function_harmless(uint32_t oid)
{
	return oid == 764 || oid == 715 || (oid >= 952 && oid <= 958) || oid == 1004 || (oid >= 3170 && oid <= 3172);
}

static enum session_verdict call_message(struct session *s, const struct client_message *m)
{
	struct rule_refusal why;

	if (m->have < 4 && m->have < m->len)
		return SESSION_MORE;
	if (!s->carry)
		s->backend->left = ~0u;
	if (s->carry && (m->len < 4 || !function_harmless((uint32_t)m->body[0] << 24 | (uint32_t)m->body[1] << 16 |
							     (uint32_t)m->body[2] << 8 | m->body[3]))) {
		uint32_t found = rules_kinds(s, effects_opaque()) | (m->len >= 4 && sequence_function(be32(m->body)) ? 1u << RULE_SEQUENCE : 0);

		if (!rules_allow(s, found, &why))
			return rules_refuse(s, m, &why);
		if (!sequence_asked(s, found))
			return SESSION_HOLD;
		effects_sent(s, effects_opaque(), NULL, false);
		s->backend->spoilt = s->backend->spoilt || !(rules_ignored_touches(s) & TOUCH_OPAQUE);
		session_remember_text(s, "function call message", 21);
	}
	ledger_push(&s->backend->owed, OWED_CALL, false);
	s->await_ready = true;
	return forward_raw(s, m);
}

static enum session_verdict refuse_type(struct session *s)
{
	s->refusal_code = "08P01";
	s->refusal = "invalid frontend message type";
	return SESSION_REFUSE;
}

static bool type_known(char type)
{
	static const bool known[256] = {
		['Q'] = true, ['P'] = true, ['B'] = true, ['D'] = true, ['E'] = true, ['C'] = true, ['H'] = true,
		['S'] = true, ['F'] = true, ['d'] = true, ['c'] = true, ['f'] = true, ['X'] = true,
	};

	return known[(unsigned char)type];
}

/* Session pooling: whatever the client says goes through. */
static enum session_verdict through_message(struct session *s, const struct client_message *m)
{
	if (s->want != s->backend->have && s->backend->status == 'I' && !s->ready_owed && !s->backend->batch) {
		task_apply(s, s->want, TASK_APPLY);
		return SESSION_HOLD;
	}
	through_note(s, m);
	if (m->type == 'Q' || m->type == 'F' || (m->type == 'S' && !s->backend->copy_in))
		s->ready_owed++;
	else if (strchr("PBDEC", m->type))
		s->backend->batch = true;
	if (m->type == 'c' || m->type == 'f')
		s->backend->copy_in = false;
	if (m->type == 'P')
		s->counters->client_parses++, s->counters->server_parses++;
	if (m->type == 'B')
		s->counters->binds++;
	return forward_raw(s, m);
}

/* Most statements are told apart from a reset batch by how they begin, before their effects are asked for. */
static bool may_be_reset(const struct client_message *m)
{
#define BEGIN(text) { text, sizeof(text) - 1 }
	static const struct { const char *text; size_t len; } begins[] = {
		BEGIN("discard"), BEGIN("reset"), BEGIN("close"), BEGIN("unlisten"), BEGIN("deallocate"),
		BEGIN("select pg_"), BEGIN("set session authorization d"),
	};
#undef BEGIN
	const char *text = (const char *)m->body;

	for (size_t i = 0; i < sizeof begins / sizeof *begins; i++) {
		const char *begin = begins[i].text;
		size_t n = begins[i].len;

		/* Its end first: many texts begin with SELECT. */
		if ((*text | 0x20) == *begin && n < m->len && (text[n - 1] | 0x20) == (begin[n - 1] | 0x20) && !strncasecmp(text, begin, n))
			return true;
	}
	return false;
}

/* Answers that need no backend. Returns false where one is needed. */
static bool answer_unlinked(struct session *s, const struct client_message *m, enum session_verdict *verdict)
{
	const struct effects *e;

	switch (m->type) {
	case 'S':
		answer_ready(s, session_status(s));
		*verdict = SESSION_DROP;
		return true;
	case 'H':
	case 'd':
	case 'c':
	case 'f':
		*verdict = SESSION_DROP;
		return true;
	case 'Q':
		if (!s->carry || m->len > 512 || s->begin.held)
			return false;
		if (m->have < m->len) {
			*verdict = SESSION_MORE;
			return true;
		}
		if (!m->len || m->body[m->len - 1] || !may_be_reset(m) || memchr(m->body, 0, m->len) != m->body + m->len - 1)
			return false;
		e = session_effects_of(s, (const char *)m->body, m->len - 1);
		*verdict = SESSION_NEXT;
		if (!effects_none(e) && session_answer_locally(s, e, (const char *)m->body)) {
			effects_release(e);
			return true;
		}
		effects_release(e);
		return false;
	default:
		return false;
	}
}

/* What a rule refuses need not wait for a backend and its settings. */
static bool refused_early(struct session *s, const struct client_message *m, enum session_verdict *verdict)
{
	struct reader r = reader_of(m->body, m->have);
	const char *name, *text;
	const struct effects *e;
	struct rule_refusal why;
	size_t len;
	bool allowed;

	if ((m->type != 'Q' && m->type != 'P') || !s->carry || m->have < m->len || !rules_watch(s))
		return false;
	name = m->type == 'P' ? reader_str(&r, NULL) : "";
	text = reader_str(&r, &len);
	if (!name || !text)
		return false;
	e = session_effects_of(s, text, len);
	allowed = rules_allow_text(s, e, *name, true, &why);
	effects_release(e);
	if (!allowed)
		*verdict = rules_refuse(s, m, &why);
	return !allowed;
}

/* Clients that a rule pins for their whole session take their place among the pins with their first statement. */
static bool whole_session_allowed(struct session *s, struct rule_refusal *why)
{
	return !s->carry || s->pins || s->pin_counted || !rules_whole_session(s) || rules_allow(s, 1u << RULE_WHOLE, why);
}

/* A lone SET or RESET replaces a setting, so that the old value need not be there first: a client can get rid of a role
 * that no longer exists. */
static const struct settings *settings_for(struct session *s, const struct client_message *m)
{
	const struct effects *e;
	const struct settings *target;

	if (m->type != 'Q' || m->have < m->len || m->len < 2 || m->len > 512 || m->body[m->len - 1] ||
	    s->backend->status != 'I' || s->backend->batch || s->begin.held) /* whose ROLLBACK would take it back */
		return settings_retain(s->want);
	e = session_effects_of(s, (const char *)m->body, m->len - 1);
	/* A value that PostgreSQL merges with the old one (datestyle) has no text of its own. */
	if (e->n == 1 && e->stmts[0].name && (e->stmts[0].kind == STMT_RESET || (e->stmts[0].kind == STMT_SET && e->stmts[0].value)))
		target = settings_with(s->want, e->stmts[0].name, NULL);
	else
		target = settings_retain(s->want);
	effects_release(e);
	return target;
}

/* A change of authorization reports two parameters, in an order that would show what a flight ahead of it has changed; and
 * a statement about a database, for a sequence's number, or LISTEN may have to wait, with nothing under way. */
static bool must_not_follow(struct session *s, const struct client_message *m)
{
	const char *text = (const char *)m->body;
	const char *end = m->type == 'P' ? memchr(text, 0, m->len) : NULL;
	const struct effects *e;
	bool found = false;

	if (m->type == 'P' && end)
		text = end + 1;
	else if (m->type != 'Q')
		return false;
	end = memchr(text, 0, m->len - (size_t)(text - (const char *)m->body));
	if (!end)
		return false;
	e = session_effects_of(s, text, (size_t)(end - text));
	found = e->flags & TOUCH_DATABASE || sequence_holds(s, e);
	for (size_t i = 0; i < e->n && !found; i++)
		found = (e->stmts[i].name && !strcmp(e->stmts[i].name, "session_authorization")) || (m->type == 'Q' && listen_may_wait(s, &e->stmts[i]));
	effects_release(e);
	return found;
}

/* Between transactions, and with the whole message there: should the flight fail, nothing of it is still under way. */
static bool can_fly(struct session *s, const struct client_message *m)
{
	const struct backend *b = s->backend;

	return b->status == 'I' && !b->batch && !b->owed.count && m->have == m->len && !s->begin.held &&
	       !must_not_follow(s, m);
}

static bool discards_all(const struct effects *e)
{
	return e && e->n == 1 && e->stmts[0].kind == STMT_DISCARD_ALL;
}

static bool statement_discards_all(const struct session *s, const char *name)
{
	const struct stmt *st = *name ? names_find(&s->names, name) : NULL;

	return discards_all(st ? st->effects : !*name && s->unnamed.serial ? s->unnamed.effects : NULL);
}

static bool portal_discards_all(struct session *s, const char *name)
{
	const struct portal *p = portal_find(s, name);

	return p && discards_all(p->effects);
}

/* Within a batch DISCARD ALL must be the first that runs, also behind one that has committed at once: nothing of ours before it,
 * nor a COMMIT of ours between its Bind and its Execute. */
static bool must_be_first(struct session *s, const struct client_message *m)
{
	struct reader r = reader_of(m->body, m->have);
	const char *first = reader_str(&r, NULL), *second = reader_str(&r, NULL);
	const struct effects *e;
	bool is;

	if (!s->backend->batch || !first)
		return false;
	switch (m->type) {
	case 'P':
		if (!second)
			return false;
		e = session_effects_of(s, second, strlen(second));
		is = discards_all(e);
		effects_release(e);
		return is;
	case 'B':
		return second && statement_discards_all(s, second);
	case 'D':
		return *first == 'S' ? statement_discards_all(s, first + 1) : *first == 'P' && portal_discards_all(s, first + 1);
	case 'E':
		return portal_discards_all(s, first);
	case 'C':
		return true; /* runs nothing */
	default:
		return false;
	}
}

/* The backend gets what the client wants, ahead of the message or before it. Returns false while that is under way. */
static bool settings_ready(struct session *s, const struct client_message *m)
{
	const struct settings *target;
	bool ready;

	if (s->want == s->backend->have || s->backend->status == 'E')
		return true;
	target = settings_for(s, m);
	ready = target == s->backend->have;
	if (!ready && can_fly(s, m)) {
		flight_send(s, target);
		ready = true;
	} else if (!ready) {
		task_apply(s, target, TASK_APPLY);
	}
	settings_release(target);
	return ready;
}

/* What is left of a batch will be asked for: what DISCARD ALL or RESET ALL have given the client back has to be there. Returns false
 * while that is under way. */
static bool given_back(struct session *s)
{
	const struct backend *b = s->backend;

	if (s->want == b->have || !b->batch || (b->status == 'E' && !s->txn.outcome))
		return true;
	task_apply(s, s->want, TASK_APPLY);
	return false;
}

/* DISCARD ALL commits at once, so that a Query behind it is no part of a transaction, as PostgreSQL 18 would have it be. What is sent in
 * its place does not. */
static void commit_discarded(struct session *s)
{
	if (s->discarded && s->backend->batch && !s->discard_committed) /* which is asked again when it was held */
		send_own(s, "COMMIT", 6);
	s->discard_committed = s->discarded;
}

static enum session_verdict linked_message(struct session *s, const struct client_message *m)
{
	switch (m->type) {
	case 'S':
		if (!s->begin.held)
			return send_sync(s, m);
		answer_ready(s, session_status(s)); /* which PostgreSQL does not know yet */
		return SESSION_DROP;
	case 'H':
		return forward_raw(s, m);
	case 'F':
		commit_discarded(s);
		return call_message(s, m);
	case 'Q':
		commit_discarded(s);
		return session_query(s, m);
	default:
		return session_extended(s, m);
	}
}

static enum session_verdict task_error_message(struct session *s, const struct client_message *m)
{
	s->task_failed = false;
	if (s->begin.failed && s->backend) { /* which it may end, wherever that is */
		s->begin.bare = s->backend->spoilt = true;
		return session_from_client(s, m);
	}
	task_tell_error(s);
	begin_fails(s);
	if ((m->type == 'Q' || m->type == 'F') && s->backend && s->backend->skipping) {
		/* In the middle of a batch: its ReadyForQuery is PostgreSQL's, which waits for a Sync. */
		ledger_push(&s->backend->owed, OWED_SYNC, false);
		msg_add(s->backend->out, 'S', NULL, 0);
		s->await_ready = true;
		return SESSION_DROP;
	}
	if (m->type == 'Q' || m->type == 'F') {
		answer_ready(s, session_status(s));
		if (s->backend)
			views_end(s);
		return SESSION_DROP;
	}
	s->skip = true;
	return skip_message(s, m);
}

static enum session_verdict fail_with_lost(struct session *s, const struct client_message *m)
{
	bool alone = m->type == 'Q' || m->type == 'F';

	if (s->backend && s->backend->batch) { /* Close was sent, and is answered first */
		lost_raise(s, alone);
		return SESSION_DROP;
	}
	lost_tell(s);
	if (alone)
		answer_ready(s, session_status(s));
	else
		s->skip = true;
	return SESSION_DROP;
}

static inline bool goes_on(const struct session *s, const struct client_message *m)
{
	if (!session_goes_on(s))
		return false;
	switch (m->type) {
	case 'P':
	case 'B':
	case 'D':
	case 'E':
	case 'S':
	case 'H':
		return true;
	default:
		return false;
	}
}

/* What has to be there before the message; AND CHAIN makes it matter behind a BEGIN that has failed, too. */
static bool backend_ready(struct session *s, const struct client_message *m)
{
	if (s->begin.bare)
		return begin_ready(s);
	if (s->want != s->backend->have && must_be_first(s, m))
		return true;
	return custom_ready(s) && settings_ready(s, m) && begin_ready(s);
}

/* The same for the session as a whole. False while something of it is under way. */
static bool all_ready(struct session *s, const struct client_message *m)
{
	if (!views_gone(s))
		return false;
	if (plans_stale(s)) {
		task_discard_plans(s);
		return false;
	}
	return sequence_ready(s) && backend_ready(s, m);
}

/* No backend is taken for a message that can't be dealt with yet. */
static size_t held_before_linking(const struct client_message *m)
{
	if ((m->type == 'Q' || m->type == 'P') && m->len <= SQL_HOLD_MAX)
		return m->len;
	return m->len < NAMES_HOLD_MAX ? m->len : NAMES_HOLD_MAX;
}

static __attribute__((noinline)) enum session_verdict first_message(struct session *s, const struct client_message *m)
{
	struct backend *b = s->backend;
	enum session_verdict verdict;
	struct rule_refusal why;

	s->ready = false;
	if (!type_known(m->type))
		return refuse_type(s);
	if (m->type == 'X')
		return SESSION_END;
	if (s->task || (s->listens && s->listens->waiting))
		return SESSION_HOLD;
	if (s->task_failed)
		return task_error_message(s, m);
	if (s->through && s->skip)
		return skip_message(s, m);
	if (s->through)
		return b ? through_message(s, m) : SESSION_LINK;
	if (m->type == 'd' || m->type == 'c' || m->type == 'f') {
		if ((s->await_ready || s->await_reply) && !(b && (b->copy_in || b->copy_both)))
			return SESSION_HOLD;
		return copy_message(s, m);
	}
	if (b && b->copy_in) /* Sync and Flush are ignored in a COPY, anything else ends it with PostgreSQL's error */
		return m->type == 'S' || m->type == 'H' ? SESSION_DROP : copy_message(s, m);
	if (s->await_ready || s->await_reply || s->await_copy_end)
		return SESSION_HOLD;
	if (s->skip || (b && b->skipping)) {
		listen_forget_unsent(s);
		return skip_message(s, m);
	}
	if (lost_fails(s, m->type))
		return fail_with_lost(s, m);
	if (s->listen.unsent)
		listen_send_unsent(s, m);
	if (!b && m->have < m->len && m->have < held_before_linking(m))
		return SESSION_MORE;
	if (m->type == 'Q' && rules_show_pin(s, m))
		return SESSION_DROP;
	if (!b)
		return answer_unlinked(s, m, &verdict) || (!s->begin.held && refused_early(s, m, &verdict)) ? verdict : SESSION_LINK;
	if (s->listen.begins && listen_begin(s))
		return SESSION_HOLD;
	if (m->type == 'S' && s->txn.uncertain && !given_back(s))
		return SESSION_HOLD;
	if (m->type == 'S' || m->type == 'H')
		return linked_message(s, m);
	if (s->ends && !ends_known(s))
		return SESSION_HOLD;
	if (!s->begin.held && !whole_session_allowed(s, &why))
		return rules_refuse(s, m, &why);
	if (!all_ready(s, m))
		return SESSION_HOLD;
	/* In a failed transaction anything executed may end that, and then all has to be there that was not asked for in it. */
	s->ready = b->status != 'E' && !s->pins && s->views == VIEWS_NONE && !s->listens && !s->listen.unsent && !s->begin.held &&
		   !buf_len(&s->lost.error);
	return linked_message(s, m);
}

enum session_verdict session_from_client(struct session *s, const struct client_message *m)
{
	return goes_on(s, m) ? linked_message(s, m) : first_message(s, m);
}
