/* links: state/session*.c state/channels.c state/backend.c state/ledger.c state/prepared.c state/settings.c parser/effects*.c parser/watch*.c parser/screen.c parser/grams.c parser/lex.c parser/tree.c parser/hash.c parser/buf.c parser/report.c -lpg_query -lprotobuf-c -lpthread -lm */
/* What goes on a run of messages at a time is what it would be one message at a time, each looked at: two worlds that hear the
 * same are compared after each step, in what they say and in what they know. */
#include "parser/watch.h"
#include "tests/unit/fake_session.h"

enum { SEEDS = 600, UNITS = 20, TWIN_CLIENTS = 3, TWIN_SERVERS = 2, RULES = 4 };

static uint64_t seeds(void) /* SEEDS=… in the environment: for longer */
{
	return getenv("SEEDS") ? strtoul(getenv("SEEDS"), NULL, 10) : SEEDS;
}

/* Two of the same. */
struct side {
	struct world w;
	struct watch *watch;
	struct channels *channels;
	struct subscriber *other; /* somebody else listens */
	struct state_rules rules[RULES];
	struct pin_limit limit;
};

static struct side slow, fast;
static uint64_t runs[2]; /* taken: of messages, of replies */
static struct world dice;

static const char *const units[] = {
	"P::SELECT 1|B::|D:P:|E:|S", "P::SELECT 1|B::|D:P:|E:|B::|D:P:|E:|B::|E:|S", "P::SELECT parsed|B::|E:|S", "P::SELECT parsed|B::|E:|S|B::|E:|S",
	"P::SELECT 1|B:::v:w|E::1|E::1|E:|S", "P::SHOW timezone|B::|E:|S", "P::SHOW timezone|B::|E:|H|P::SHOW timezone|B::|E:|S", "P::|B::|E:|S",
	"P::SELECT 'notify'|B::|E:|B::|E:|S", "P::SELECT setseed(0.5)|B::|E:|P::SELECT 1|B::|E:|S",
	"P::SELECT 1|D:S:|B::|D:P:|E:|C:P:|S", "P::SELECT 1|B:p:|E:p|B::|E:|S", "B::|D:P:|E:|S", "D:P:|E:|S", "E:|S", "S", "H|S", "P::SELECT 1|S",
	"P::SELECT 1/0|B::|E:|B::|E:|S", "P::SELECT 1|B::|E:|P::SELECT 1/0|B::|E:|P::SELECT 2|B::|E:|S", "P::syntax|B::|E:|S",
	"P::SELECT 1|B::|E:|P::SET timezone = 'a'|B::|E:|P::SHOW timezone|B::|E:|B::|E:|S", "P::SET timezone = 'b'|B::|E:|S", "P::SET timezone = 'bad'|B::|E:|B::|E:|S",
	"P::SET LOCAL timezone = 'c'|B::|E:|P:s:SELECT parsed|B::s|E:|P::SELECT parsed|B::|E:|S",
	"P:s:SELECT 1|B::s|D:P:|E:|S", "P:s:SELECT parsed|B::s|E:|P::SELECT 1|B::|E:|B::|E:|S", "B::s|D:P:|E:|S", "C:S:s|P::SELECT 1|B::|E:|S",
	"P::SELECT 1|B::|E:|Q:SELECT 2|B::|E:|S", "P::SELECT 1|B::|E:|C:S:|B::|E:|S",
	"Q:BEGIN", "Q:BEGIN", "P::BEGIN|B::|E:|S", "P::BEGIN|B::|E:|P::SELECT 1|B::|E:|S", "Q:SELECT 1/0", "Q:COMMIT", "P::COMMIT|B::|E:|S",
	"P::ROLLBACK|B::|E:|P::SHOW timezone|B::|E:|P:s:SELECT parsed|B::s|E:|S", "P::ROLLBACK|B::|E:|P:t:SELECT parsed|S",
	"P::SELECT 1|B::|E:|P::ROLLBACK|B::|E:|B::|E:|P::SHOW timezone|B::|E:|S",
	"Q:BEGIN|Q:SET timezone = 'a'|Q:SELECT 1/0|P::ROLLBACK|B::|E:|P::SHOW timezone|B::|E:|P:s:SELECT parsed|B::s|E:|S",
	"Q:BEGIN|Q:SELECT 1/0|P::ROLLBACK|B::|E:|P:s:SELECT parsed|B::s|E:|S|B::s|E:|S",
	"Q:BEGIN|Q:SAVEPOINT a|Q:SELECT 1/0|P::ROLLBACK TO a|B::|E:|P::SELECT 1|B::|E:|S|Q:COMMIT",
	"P::SET LOCAL timezone = 'e'|B::|E:|P::ROLLBACK|B::|E:|P:u:SELECT parsed|B::u|E:|S", "P::COMMIT|B::|E:|B::|E:|P::SELECT parsed|B::|E:|S",
	"Q:BEGIN|Q:SAVEPOINT a|P::SET timezone = 'f'|B::|E:|P::ROLLBACK TO a|B::|E:|P::SHOW timezone|B::|E:|P:u:SELECT parsed|B::u|E:|S",
	"Q:SELECT 1", "Q:SELECT 1; SELECT 2", "Q:SET timezone = 'd'", "Q:SET search_path = 'a'", "Q:RESET ALL", "Q:DISCARD ALL", "Q:", "Q:SET app.x = 'a'",
	"P::DISCARD ALL|B::|E:|S", "P::SELECT set_config($1, $2, false)|B:::app.x:b|E:|P::SELECT 1|B::|E:|S", "Q:DO 'search_path b'", "P::DO 'search_path c'|B::|E:|P::SELECT parsed|B::|E:|S",
	"P::PREPARE s AS SELECT parsed|B::|E:|S", "P::EXECUTE s|B::|E:|P::SELECT 1|B::|E:|S", "P::DEALLOCATE s|B::|E:|B::|E:|S", "Q:PREPARE s AS SELECT 1", "Q:EXECUTE s",
	"P::SELECT pg_advisory_lock(1)|B::|E:|P::SELECT 1|B::|E:|S", "Q:SELECT pg_advisory_unlock_all()", "P::SELECT pg_advisory_unlock_all()|B::|E:|P::SELECT 1|B::|E:|S",
	"P::COPY t FROM STDIN|B::|E:|d|c|S", "P::COPY t FROM STDIN|B::|E:|S|d|c|S", "P::SELECT 1|B::|E:|P::COPY t FROM STDIN|B::|E:|d|f|S", "Q:COPY t FROM STDIN|d|c",
	"P::DISCARD SEQUENCES|B::|E:|P::SELECT 1|B::|E:|S", "P::SELECT lastval()|B::|E:|P::SELECT 1|B::|E:|S", "P::DISCARD PLANS|B::|E:|P::SELECT 1|B::|E:|S", "d|c|S",
};

static uint32_t dice_random(struct world *w)
{
	return world_random(&dice);
}

/* ---- the two are the same ---- */

static void same_bytes(const struct buf *a, const struct buf *b, const char *what)
{
	if (buf_len(a) == buf_len(b) && (!buf_len(a) || !memcmp(buf_head(a), buf_head(b), buf_len(a))))
		return;
	print_message("%s differ\none by one: %s\nby the run: %s\n", what, what[0] == 's' ? show_requests(a) : show_replies(a),
		      what[0] == 's' ? show_requests(b) : show_replies(b));
	fail();
}

#define SAME(field) assert_int_equal(a->field, b->field)
#define SAME_SETTINGS(field) assert_int_equal(settings_id(a->field), settings_id(b->field))

static void same_unnamed(const struct unnamed_stmt *a, const struct unnamed_stmt *b)
{
	SAME(serial);
	SAME(watched);
	SAME(substitute);
	SAME(unkept);
	assert_int_equal(a->effects ? effects_none(a->effects) : 2, b->effects ? effects_none(b->effects) : 2);
	assert_int_equal(a->at_parse ? settings_id(a->at_parse) : 0, b->at_parse ? settings_id(b->at_parse) : 0);
	assert_int_equal(buf_len(&a->tail), buf_len(&b->tail));
}

static void same_session(const struct session *a, const struct session *b)
{
	SAME_SETTINGS(settings);
	SAME_SETTINGS(want);
	SAME_SETTINGS(effective);
	SAME_SETTINGS(reported);
	SAME_SETTINGS(txn.reported);
	SAME_SETTINGS(custom.known);
	SAME_SETTINGS(custom.pending);
	SAME_SETTINGS(custom.allowed);
	SAME(not_plain);
	SAME(txn.dirty);
	SAME(txn.uncertain);
	SAME(txn.local_unknown);
	SAME(txn.error);
	SAME(txn.outcome);
	SAME(txn.observe);
	SAME(txn.n_names);
	SAME(listen.behind);
	SAME(listen.begins);
	SAME(listen.said);
	SAME(txn.ended);
	SAME(pins);
	SAME(plans);
	SAME(sequence.looked);
	SAME(sequence.spread);
	SAME(sequence.given_up);
	SAME(begin.held);
	SAME(flight.failed);
	SAME(carry);
	assert_int_equal(!a->portals, !b->portals);
	assert_int_equal(a->bound ? a->bound->id : 0, b->bound ? b->bound->id : 0);
	same_unnamed(&a->unnamed, &b->unnamed);
}

static void same_owed(const struct owed *a, const struct owed *b)
{
	SAME(kind);
	SAME(ours);
	SAME(flight);
	SAME(reply);
	SAME(on_set);
	SAME(unnamed);
	SAME(part);
	SAME(taken);
	SAME(unnamed_was);
	SAME(shift_at);
	SAME(shift_delta);
	assert_int_equal(a->stmt ? a->stmt->id : 0, b->stmt ? b->stmt->id : 0);
	assert_int_equal(!a->portal, !b->portal);
	assert_int_equal(!a->before, !b->before);
	assert_int_equal(!a->name, !b->name);
}

static void same_backend(struct backend *a, struct backend *b)
{
	SAME_SETTINGS(applied);
	SAME_SETTINGS(have);
	SAME_SETTINGS(reported);
	SAME_SETTINGS(seen);
	SAME(prepared.count);
	SAME(kept);
	SAME(unnamed);
	SAME(sequences);
	SAME(plans);
	SAME(status);
	SAME(batch);
	SAME(skipping);
	SAME(copy_in);
	SAME(copy_both);
	SAME(left);
	SAME(spoilt);
	SAME(owed.count);
	for (size_t i = 0; i < a->owed.count; i++)
		same_owed(ledger_at(&a->owed, i), ledger_at(&b->owed, i));
}

static void same_client(struct client *a, struct client *b)
{
	same_bytes(&a->out, &b->out, "replies to a client");
	assert_int_equal(buf_len(&a->in), buf_len(&b->in));
	SAME(held);
	SAME(waiting);
	SAME(ended);
	assert_int_equal(!a->on, !b->on);
	same_session(&a->s, &b->s);
	assert_int_equal(session_said_notify(&a->s), session_said_notify(&b->s));
}

static void same(void)
{
	const struct effects_counters *a = effects_memory_counters(slow.w.store.effects), *b = effects_memory_counters(fast.w.store.effects);

	assert_int_equal(slow.w.broken, fast.w.broken);
	assert_memory_equal(&slow.w.counters, &fast.w.counters, sizeof slow.w.counters);
	assert_memory_equal(a, b, sizeof *a);
	assert_int_equal(slow.limit.count, fast.limit.count);
	for (size_t i = 0; i < TWIN_SERVERS; i++) {
		same_bytes(&slow.w.servers[i].sent, &fast.w.servers[i].sent, "sent");
		same_backend(&slow.w.servers[i].facts, &fast.w.servers[i].facts);
	}
	for (size_t i = 0; i < TWIN_CLIENTS; i++)
		same_client(&slow.w.clients[i], &fast.w.clients[i]);
}

/* ---- steps ---- */

/* Both see the same dice. */
static bool each_side(bool (*turn)(struct side *side, size_t i), size_t i)
{
	uint64_t seed = dice.seed;
	bool moved = turn(&fast, i), other;
	uint64_t after = dice.seed;

	dice.seed = seed;
	other = turn(&slow, i);
	assert_int_equal(moved, other);
	dice.seed = after;
	return moved;
}

static bool says(struct side *side, size_t i)
{
	return client_turn(&side->w, &side->w.clients[i]);
}

static bool works(struct side *side, size_t i)
{
	return server_turn(&side->w.servers[i]);
}

static bool answers(struct side *side, size_t i)
{
	return !side->w.broken && reply_turn(&side->w, &side->w.servers[i]);
}

/* So much as the client's bytes that have come. */
static size_t cut(size_t len)
{
	return len && world_random(&dice) % 3 == 0 ? world_random(&dice) % len : len;
}

static bool says_a_run(size_t i)
{
	struct client *c = &fast.w.clients[i], *one = &slow.w.clients[i];
	size_t n;

	if (c->held || c->waiting || c->ended || !buf_len(&c->in))
		return false;
	n = session_plain_messages(&c->s, buf_head(&c->in), cut(buf_len(&c->in)), 1u << 30);
	if (!n)
		return false;
	runs[0]++;
	buf_consume(&c->in, n);
	server_flush(c->on);
	client_release_if(&fast.w, c);
	while (buf_len(&one->in) > buf_len(&c->in))
		assert_true(client_turn(&slow.w, one));
	return true;
}

static bool answers_a_run(size_t i)
{
	struct server *v = &fast.w.servers[i], *one = &slow.w.servers[i];
	struct client *c = client_of(&fast.w, v);
	size_t n;

	if (!c || v->partial || !buf_len(&v->pg.out))
		return false;
	n = session_plain_replies(&c->s, buf_head(&v->pg.out), cut(buf_len(&v->pg.out)), 1u << 30);
	if (!n)
		return false;
	runs[1]++;
	buf_add(&c->out, buf_head(&v->pg.out), n);
	buf_consume(&v->pg.out, n);
	reply_done(&fast.w, v, c, 0);
	while (buf_len(&one->pg.out) > buf_len(&v->pg.out))
		assert_true(reply_turn(&slow.w, one));
	return true;
}

/* What comes from elsewhere, between two messages. */
static void happens(struct side *side, uint32_t what)
{
	static const char *const words[] = { "parsed", "timezone", "f", "g" };
	struct watch_effect harmless = { 0 }, effect = { .flags = TOUCH_LOCK };
	size_t i = what / 16 % TWIN_CLIENTS, rule = what / 64 % RULES;

	switch (what % 16) {
	case 0:
		watch_define(side->watch, words[what / 16 % 4], WATCH_NAMED, what & 64 ? &effect : &harmless);
		return;
	case 1:
	case 2:
		session_rules_set(&side->w.clients[i].s, &side->rules[rule], &side->limit, true);
		return;
	case 3:
		if (side->other)
			subscriber_free(side->other);
		side->other = side->other ? NULL : subscriber_new(side->channels, 1000, NULL);
		return;
	default:
		return;
	}
}

static bool step(void)
{
	size_t from = world_random(&dice), places = TWIN_CLIENTS + 2 * TWIN_SERVERS;
	uint32_t what = world_random(&dice);

	if (world_random(&dice) % 16 == 0) {
		happens(&slow, what);
		happens(&fast, what);
	}
	slow.w.prefer = fast.w.prefer = what >> 8;
	for (size_t i = 0; i < places; i++) {
		size_t at = (from + i) % places, server = at >= TWIN_CLIENTS ? (at - TWIN_CLIENTS) / 2 : 0;

		if (at < TWIN_CLIENTS ? says_a_run(at) || each_side(says, at) :
		    (at - TWIN_CLIENTS) % 2 ? each_side(works, server) : answers_a_run(server) || each_side(answers, server))
			return true;
		same();
	}
	return false;
}

/* ---- a play ---- */

static void side_open(struct side *side)
{
	memset(side, 0, sizeof *side);
	world_init(&side->w, TWIN_CLIENTS, TWIN_SERVERS);
	side->w.random = dice_random;
	side->watch = watch_new(&side->w.store.last_serial);
	watch_know(side->watch, true);
	side->channels = channels_new("marker");
	for (size_t i = 0; i < RULES; i++) {
		side->rules[i] = *rules_normal();
		side->rules[i].database = "d";
		side->rules[i].user = "u";
	}
	side->rules[1].action[RULE_LOCK] = RULE_REFUSE;
	side->rules[2].action[RULE_LOCK] = RULE_IGNORE;
	side->rules[2].action[RULE_SETTINGS] = RULE_PIN;
	side->rules[3].action[RULE_PREPARED] = RULE_IGNORE;
	side->rules[3].action[RULE_OPAQUE] = RULE_PIN;
	for (size_t i = 0; i < RULES; i++)
		rules_complete(&side->rules[i]);
	side->limit.max = 1;
	for (size_t i = 0; i < TWIN_CLIENTS; i++) {
		side->w.clients[i].s.watch = side->watch;
		side->w.clients[i].s.channels = side->channels;
		session_rules_set(&side->w.clients[i].s, &side->rules[0], &side->limit, true);
	}
}

static void side_close(struct side *side)
{
	subscriber_free(side->other);
	world_release(&side->w);
	channels_free(side->channels);
	watch_free(side->watch);
}

static void script_of(char *out, size_t size)
{
	size_t at = 0;

	for (size_t n = 1 + world_random(&dice) % UNITS; n; n--)
		at += (size_t)snprintf(out + at, size - at, "%s%s", at ? "|" : "", units[world_random(&dice) % (sizeof units / sizeof *units)]);
}

static void play(uint64_t seed)
{
	char script[SCRIPT_MAX];

	dice.seed = seed * 0x9E3779B97F4A7C15u + 1;
	side_open(&slow);
	side_open(&fast);
	slow.w.forgetful = true;
	for (size_t i = 0; i < TWIN_CLIENTS; i++) {
		script_of(script, sizeof script);
		if (getenv("SEED"))
			print_message("client %zu: %s\n", i, script);
		script_put(&slow.w.clients[i].in, script);
		script_put(&fast.w.clients[i].in, script);
	}
	do
		same();
	while (!fast.w.broken && step());
	same();
	side_close(&slow);
	side_close(&fast);
}

/* A failing seed is tried alone by SEED=… in the environment. */
static void a_run_of_messages_does_what_each_of_them_would(void **state)
{
	const char *one = getenv("SEED");

	for (uint64_t seed = one ? strtoul(one, NULL, 10) : 1; seed <= seeds() || one; seed++) {
		if (getenv("VERBOSE"))
			print_message("seed %lu\n", (unsigned long)seed);
		play(seed);
		if (one)
			return;
	}
	assert_true(runs[0] > seeds() && runs[1] > seeds());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_run_of_messages_does_what_each_of_them_would),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
