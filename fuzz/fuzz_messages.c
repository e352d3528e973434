/* links: state/session*.c state/channels.c state/backend.c state/ledger.c state/prepared.c state/settings.c parser/effects*.c parser/watch*.c parser/screen.c parser/grams.c parser/lex.c parser/tree.c parser/hash.c parser/buf.c parser/report.c -lpg_query -lprotobuf-c -lpthread -lm */
/* A session between a hostile client and a hostile server: whatever either says, in any order and cut anywhere, every
 * byte that goes on is part of a message, no reply reaches a client that was not owed it, and nothing is kept.
 *
 * Input: a byte of flags (1, 2: nothing is carried; 4: startup settings; 8: rules, made of what is above), then records. First byte modulo 4: 0 a client's message (type, length, body), 1 a server's
 * (likewise), 2 that many bytes of a client's stream as they are, 3 what the server owes next, by one more byte: as it
 * should be, an error, or ReadyForQuery in some state. */
#include <stdlib.h>
#include <string.h>

#include "parser/reader.h"
#include "parser/wire.h"
#include "state/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BODY_MAX = 1 << 16 };

static void must(bool holds)
{
	if (!holds)
		abort();
}

struct run {
	struct session_store store;
	struct session_counters counters;
	uint64_t generation;
	struct session s;
	struct backend b;
	struct buf client_in, server_in, to_client, to_server;
	size_t client_left, server_left; /* of a message dealt with in part */
	bool client_drop, server_drop, held, over;
	bool by_run; /* the next messages are taken a run at a time, where that goes */
};

/* Whole messages, one after the other, but for the last. */
static void must_be_messages(struct buf *b)
{
	struct wire_head head;

	while (buf_len(b)) {
		enum wire_result result = wire_head(buf_head(b), buf_len(b), 1u << 30, &head);

		must(result != WIRE_BAD);
		if (result == WIRE_MORE || buf_len(b) < WIRE_HEAD + head.body_len)
			return;
		buf_consume(b, WIRE_HEAD + head.body_len);
	}
}

static struct client_message message_of(const struct buf *in, const struct wire_head *head)
{
	struct client_message m = { .type = head->type, .body = buf_head(in) + WIRE_HEAD, .len = head->body_len };

	m.have = buf_len(in) - WIRE_HEAD < m.len ? buf_len(in) - WIRE_HEAD : m.len;
	return m;
}

static size_t take_rest(struct buf *in, size_t left, struct buf *out)
{
	size_t n = buf_len(in) < left ? buf_len(in) : left;

	if (!n)
		return left;
	if (out)
		buf_add(out, buf_head(in), n);
	buf_consume(in, n);
	return left - n;
}

/* Returns false where nothing more can be done. */
static bool client_turn(struct run *r)
{
	struct wire_head head;
	struct client_message m;
	enum session_verdict verdict;
	size_t taken;
	enum wire_result result;

	if (r->client_left) {
		r->client_left = take_rest(&r->client_in, r->client_left, r->client_drop ? NULL : &r->to_server);
		return !r->client_left;
	}
	if (!buf_len(&r->client_in))
		return false;
	if ((r->by_run = !r->by_run) && !r->held) {
		size_t n = session_plain_messages(&r->s, buf_head(&r->client_in), buf_len(&r->client_in), BODY_MAX);

		buf_consume(&r->client_in, n);
		if (n)
			return true;
	}
	result = wire_head(buf_head(&r->client_in), buf_len(&r->client_in), BODY_MAX, &head);
	if (result == WIRE_BAD)
		r->over = true;
	if (result != WIRE_OK || r->held)
		return false;
	taken = r->s.backend ? 0 : session_hold_begin(&r->s, buf_head(&r->client_in), buf_len(&r->client_in));
	must(taken <= buf_len(&r->client_in));
	if (taken) {
		buf_consume(&r->client_in, taken);
		return true;
	}
	m = message_of(&r->client_in, &head);
	verdict = session_from_client(&r->s, &m);
	if (verdict == SESSION_LINK) {
		must(!r->s.backend);
		session_knows(&r->s, buf_head(&r->client_in), buf_len(&r->client_in));
		session_link(&r->s, &r->b);
		verdict = session_from_client(&r->s, &m);
	}
	if (verdict == SESSION_VACATE) {
		size_t at = 0;

		must(session_vacates(&r->s, &at));
		session_vacated(&r->s);
		verdict = session_from_client(&r->s, &m);
	}
	switch (verdict) {
	case SESSION_LINK:
	case SESSION_VACATE:
		abort();
	case SESSION_HOLD:
		must(r->s.backend); /* only a backend can end it */
		r->held = true;
		return false;
	case SESSION_MORE:
		must(m.have < m.len);
		return false;
	case SESSION_END:
	case SESSION_REFUSE:
		must(verdict == SESSION_END || (r->s.refusal && r->s.refusal_code));
		r->over = true;
		return false;
	case SESSION_NEXT:
		must(m.have == m.len);
		break;
	case SESSION_STREAM:
		must(r->s.backend && m.have < m.len);
		break;
	case SESSION_DROP:
		break;
	}
	buf_consume(&r->client_in, WIRE_HEAD + m.have);
	r->client_left = m.len - m.have;
	r->client_drop = verdict != SESSION_STREAM;
	return true;
}

static void must_be_owed(const struct run *r, const struct client_message *m, const struct owed *head)
{
	if (r->s.through || strchr("ENSA", m->type))
		return;
	must(head && !head->ours && head->kind != OWED_INVENTED && m->type != 'Z');
}

static bool server_turn(struct run *r)
{
	struct wire_head head;
	struct client_message m;
	struct owed was = { 0 }, *o;
	bool any, plain;
	uint32_t events = 0;
	enum reply_verdict verdict;
	enum wire_result result;

	if (r->server_left) {
		r->server_left = take_rest(&r->server_in, r->server_left, r->server_drop ? NULL : &r->to_client);
		if (!r->server_left)
			session_reply_done(&r->s);
		return !r->server_left;
	}
	if (!buf_len(&r->server_in) || (r->client_left && !r->client_drop)) /* nobody answers half a message */
		return false;
	if (r->s.backend && (r->by_run = !r->by_run)) {
		size_t n = session_plain_replies(&r->s, buf_head(&r->server_in), buf_len(&r->server_in), BODY_MAX);

		buf_add(&r->to_client, buf_head(&r->server_in), n);
		buf_consume(&r->server_in, n);
		session_reply_done(&r->s);
		if (n)
			return true;
	}
	result = wire_head(buf_head(&r->server_in), buf_len(&r->server_in), BODY_MAX, &head);
	if (result == WIRE_BAD || (result == WIRE_OK && !r->s.backend))
		r->over = true;
	if (result != WIRE_OK || r->over)
		return false;
	m = message_of(&r->server_in, &head);
	o = ledger_head(&r->b.owed);
	any = o;
	if (o)
		was = *o;
	plain = session_plain_row(&r->s, m.type);
	verdict = session_from_backend(&r->s, &m, &events);
	must(!plain || verdict == REPLY_FORWARD);
	if (verdict == REPLY_WHOLE) {
		must(m.have < m.len);
		return false;
	}
	if (verdict == REPLY_BROKEN || events & EVENT_BROKEN) {
		r->over = true;
		return false;
	}
	if (verdict == REPLY_FORWARD) {
		must_be_owed(r, &m, any ? &was : NULL);
		buf_add(&r->to_client, buf_head(&r->server_in), WIRE_HEAD + m.have);
	}
	buf_consume(&r->server_in, WIRE_HEAD + m.have);
	r->server_left = m.len - m.have;
	r->server_drop = verdict == REPLY_SWALLOW;
	if (!r->server_left)
		session_reply_done(&r->s);
	if (events & EVENT_PROGRESS)
		r->held = false;
	return true;
}

static void put_ready(struct buf *out, uint8_t how)
{
	msg_add(out, 'Z', &"ITE"[how % 3], 1);
}

/* As PostgreSQL might answer what it was asked first. */
static void put_answer(struct run *r, uint8_t how)
{
	static const char *const tags[] = { "SET", "BEGIN", "COMMIT", "ROLLBACK", "PREPARE", "RESET", "SELECT 1", "COPY 1" };
	struct owed *o = ledger_head(&r->b.owed);
	struct buf *out = &r->server_in;

	if (!o)
		return;
	if (how >= 240) {
		msg_report(out, 'E', "ERROR", "42601", "no \"pgporter_1\"", NULL, NULL);
		return;
	}
	switch ((enum owed_kind)o->kind) {
	case OWED_PARSE:
		msg_add(out, '1', NULL, 0);
		break;
	case OWED_BIND:
		msg_add(out, '2', NULL, 0);
		break;
	case OWED_CLOSE:
		msg_add(out, '3', NULL, 0);
		break;
	case OWED_DESCRIBE_STMT:
		msg_add(out, 't', "\0", 2);
		msg_add(out, 'n', NULL, 0);
		break;
	case OWED_DESCRIBE_PORTAL:
		msg_add(out, how % 2 ? 'T' : 'n', "\0", how % 2 ? 2 : 0);
		break;
	case OWED_QUERY:
	case OWED_EXECUTE:
		if (how % 16 == 15)
			msg_add(out, 'G', "\0\0", 3);
		else if (how % 16 == 14 && o->kind == OWED_QUERY)
			put_ready(out, how / 16);
		else
			msg_add(out, 'C', tags[how % 8], strlen(tags[how % 8]) + 1);
		break;
	case OWED_SYNC:
		put_ready(out, how);
		break;
	case OWED_CALL:
		msg_add(out, 'V', "\0\0\0", 4);
		put_ready(out, how);
		break;
	case OWED_INVENTED:
		break;
	}
}

static void play(struct run *r, struct reader in)
{
	while (!r->over && reader_left(&in)) {
		uint8_t kind = reader_u8(&in), type, len;
		const uint8_t *body;
		struct buf *to = kind % 4 == 1 ? &r->server_in : &r->client_in;

		if (kind % 4 == 3) {
			if (!buf_len(&r->server_in) && !r->server_left)
				put_answer(r, reader_u8(&in));
		} else {
			type = kind % 4 == 2 ? 0 : reader_u8(&in);
			len = reader_u8(&in);
			if (len > reader_left(&in))
				len = (uint8_t)reader_left(&in);
			body = reader_bytes(&in, len);
			if (!body)
				return;
			if (kind % 4 == 2)
				buf_add(to, body, len);
			else
				msg_add(to, (char)(type ? type : 'Q'), body, len);
		}
		while (!r->over && (client_turn(r) || (!r->over && server_turn(r))))
			if (r->s.backend && !r->server_left && !r->client_left && session_releasable(&r->s))
				r->over = !session_unlink(&r->s);
	}
}

/* Some of each action; with strict's word on pins every other time. */
static void make_rules(struct state_rules *rules, struct pin_limit *limit, uint8_t flags)
{
	static const char *const applications[] = { NULL, "mine, yours" };
	unsigned seed = flags >> 4;

	*rules = *rules_normal();
	for (unsigned i = 0; i < RULE_KINDS; i++)
		rules->action[i] = (uint8_t)(RULE_CARRY + (seed * (2 * i + 1) + i) % 4);
	rules->no_pins = seed % 2;
	rules->whole_session = seed % 8 == 6;
	rules->applications = applications[seed % 3 == 1];
	rules->database = "d'\\$pgporter$";
	rules->user = "\xc3(";
	rules->from[RULE_LOCK] = FROM_USER;
	rules_complete(rules);
	limit->max = (int)seed / 4;
	limit->count = limit->max > 1 ? 1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run r = { 0 };
	uint8_t flags = size ? data[0] : 0;
	struct state_rules rules;
	struct pin_limit limit = { 0 };
	int others;

	r.store.settings = settings_store_new();
	r.store.stmts = stmt_store_new();
	r.store.effects = effects_memory_new(1 << 16);
	session_init(&r.s, &r.store, &r.counters, &r.to_client);
	r.s.generation = &r.generation;
	r.s.through = flags & 1;
	r.s.carry = !(flags & 3);
	make_rules(&rules, &limit, flags);
	others = limit.count;
	if (flags & 8)
		session_rules_set(&r.s, &rules, &limit, r.s.carry);
	if (flags & 4) {
		session_start_with(&r.s, "timezone", "mine");
		session_start_with(&r.s, "app.x", "mine");
	}
	backend_init(&r.b, r.store.settings, &r.to_server);
	r.b.prepared_max = 3;
	play(&r, reader_of(data + (size > 0), size - (size > 0)));
	session_unlink(&r.s);
	session_release(&r.s);
	must(limit.count == others);
	backend_release(&r.b);
	must(!stmt_store_count(r.store.stmts));
	must(settings_store_count(r.store.settings) == 1);
	stmt_store_free(r.store.stmts);
	settings_store_free(r.store.settings);
	effects_memory_free(r.store.effects);
	must_be_messages(&r.to_client);
	must_be_messages(&r.to_server);
	buf_release(&r.client_in);
	buf_release(&r.server_in);
	buf_release(&r.to_client);
	buf_release(&r.to_server);
	return 0;
}
