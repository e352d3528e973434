/* links: state/session*.c state/channels.c state/backend.c state/ledger.c state/prepared.c state/settings.c parser/effects*.c parser/watch*.c parser/screen.c parser/grams.c parser/lex.c parser/tree.c parser/hash.c parser/buf.c parser/report.c -lpg_query -lprotobuf-c -lpthread -lm */
/* Clients that share backends, in any order of events and with messages cut anywhere, read what each would have read
 * alone. */
#include "tests/unit/fake_session.h"

enum { SEEDS = 400, UNITS = 25 };

static uint64_t seeds(void) /* SEEDS=… in the environment: for longer */
{
	return getenv("SEEDS") ? strtoul(getenv("SEEDS"), NULL, 10) : SEEDS;
}

static const char *const vars[] = { "search_path", "timezone", "application_name", "work_mem", "app.x" };
static const char *const values[] = { "a", "b", "c", "bad" };

/* One thing a client may do; '%v' is a setting's name, '%x' a value, '%n' a statement's name, '%t' a text, '%q' one that PREPARE takes. */
static const char *const units[] = {
	"Q:SHOW %v", "Q:SELECT parsed", "Q:SELECT 1", "Q:SELECT 1/0", "Q:SET %v = '%x'", "Q:SET LOCAL %v = '%x'", "Q:RESET %v",
	"Q:RESET ALL", "Q:DISCARD ALL", "Q:BEGIN", "Q:BEGIN", "Q:COMMIT", "Q:COMMIT", "Q:ROLLBACK", "Q:SAVEPOINT s",
	"Q:ROLLBACK TO s", "Q:RELEASE s",
	"Q:SET %v = '%x'; SELECT 1/0", "Q:BEGIN; SET %v = '%x'; COMMIT; SHOW %v", "Q:BEGIN; SET %v = '%x'; ROLLBACK; SET %v = '%x'",
	"Q:SET %v = '%x'; COMMIT; SET %v = '%x'; SELECT 1/0", "Q:SELECT set_config('%v', '%x', false)",
	"Q:SELECT set_config('%v', '%x', true)", "Q:DO 'search_path %x'", "Q:DO 'work_mem a'", "Q:", "Q:;",
	"Q:PREPARE %n AS %q", "Q:EXECUTE %n", "Q:DEALLOCATE %n", "Q:DEALLOCATE ALL", "Q:PREPARE %n AS %q; EXECUTE %n; SHOW %v",
	"Q:EXECUTE %n; EXECUTE %n", "Q:DEALLOCATE %n; PREPARE %n AS %q",
	"P:%n:%t|S", "P:%n:%t|D:S:%n|B::%n|D:P:|E:|S", "B::%n|E:|S", "C:S:%n|P:%n:%t|S", "C:S:%n|S", "D:S:%n|S", "P:%n:syntax|S",
	"P:%n:%t|P:%n:%t|S", "B::%n|E:|B::%n|E:|S", "P::SELECT 1/0|B::|E:|P:%n:%t|C:S:%n|S", "P::%t|B::|E:|H|B::|E:|S",
	"P::%t|S|B::|E:|S", "P::SET %v = '%x'|B::|E:|P:%n:%t|B::%n|E:|S", "P::SELECT 1|B::|E:|P::SET %v = '%x'|B::|E:|P:%n:%t|S",
	"P::SET %v = '%x'|B::|E:|P::SELECT 1/0|B::|E:|P:%n:%t|S", "P::SELECT set_config($1, $2, false)|B:::%v:%x|E:|S",
	"P::BEGIN|B::|E:|P::SET %v = '%x'|B::|E:|P::COMMIT|B::|E:|S", "P::RESET %v|B::|E:|P::SHOW %v|B::|E:|S",
	"P::SELECT 1|B::|E:|Q:SELECT 2|P::SELECT 3|S", "P::SET %v = '%x'|B::|E:|Q:SHOW %v|S", "P::%t|B::|E:|Q:SET %v = '%x'|C:S:%n|S", "B::nosuch|Q:SELECT 2|S", "B::nosuch|E:|P:%n:%t|S|Q:SELECT 1",
	"P::EXECUTE %n|B::|E:|S", "P::DEALLOCATE %n|B::|E:|S", "P::PREPARE %n AS %q|B::|E:|S", "S", "H|S",
	"Q:COPY t FROM STDIN|d|d|c", "Q:COPY t FROM STDIN|d|f", "P::COPY t FROM STDIN|B::|E:|d|c|S", "P::COPY t FROM STDIN|B::|E:|S|d|c|S",
	"P::COPY t FROM STDIN|B::|E:|d|f|S", "P::COPY t FROM STDIN|B::|E:|d|P::x|S", "d|c|S", "Q:SELECT pg_advisory_lock(1)",
	"Q:SELECT pg_advisory_unlock(1)", "Q:SELECT pg_advisory_unlock_all()", "Q:UNLISTEN *; RESET ALL",
};

static const char *const texts[] = { "SELECT 1", "SELECT parsed", "SHOW app.x", "SELECT 1/0", "SHOW timezone" };
static const char *const queries[] = { "SELECT 1", "SELECT parsed", "SELECT 1/0" };
static const char *const names[] = { "s", "t" };

#define PICK(w, list) ((list)[world_random(w) % (sizeof(list) / sizeof *(list))])

static void unit_of(struct world *w, char *out, size_t size)
{
	const char *unit = PICK(w, units);
	size_t at = 0;

	for (; *unit && at + PG_WORD < size; unit++) {
		const char *word = NULL;

		if (*unit == '%')
			switch (unit[1]) {
			case 'v': word = PICK(w, vars); break;
			case 'x': word = PICK(w, values); break;
			case 'n': word = PICK(w, names); break;
			case 't': word = PICK(w, texts); break;
			case 'q': word = PICK(w, queries); break;
			}
		if (word)
			unit++;
		else
			out[at++] = *unit;
		if (word)
			at += (size_t)sprintf(out + at, "%s", word);
	}
	out[at] = 0;
}

/* Everybody ends what was begun, so that nobody waits for a backend for ever. */
#define ENDING "|Q:ROLLBACK|Q:SELECT pg_advisory_unlock_all()"

static void script_of(struct world *w, char *out, size_t size, size_t n)
{
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		if (i)
			out[at++] = '|';
		unit_of(w, out + at, size - at - sizeof ENDING);
		at += strlen(out + at);
	}
	strcpy(out + at, ENDING);
}

static bool random_turn(struct world *w)
{
	size_t from = world_random(w);
	size_t places = w->n_clients + 2 * w->n_servers;

	for (size_t i = 0; i < places; i++) {
		size_t at = (from + i) % places;

		if (w->broken)
			return false;
		if (at < w->n_clients ? client_turn(w, &w->clients[at]) :
		    (at - w->n_clients) % 2 ? server_turn(&w->servers[(at - w->n_clients) / 2]) :
					      reply_turn(w, &w->servers[(at - w->n_clients) / 2]))
			return true;
	}
	return false;
}

/* From shortly before the first difference. */
static void tell(const struct world *w, uint64_t seed, size_t client, const char *script, const char *want, const char *got)
{
	size_t at = 0;

	while (want[at] && want[at] == got[at])
		at++;
	at = at > 80 ? at - 80 : 0;
	fprintf(stderr, "seed %lu, client %zu%s%s\n%s\nalone:  %.200s\npooled: %.200s\n", (unsigned long)seed, client,
		w->broken ? ", broken" : "", buf_len(&w->clients[client].in) ? ", waits for ever" : "", script, want + at, got + at);
	for (size_t i = 0; getenv("SEED") && i < w->n_servers; i++) {
		char *told = show_requests(&w->servers[i].sent);

		fprintf(stderr, "server %zu was told: %s\n", i, told);
		free(told);
	}
}

static void play(uint64_t seed, size_t n_clients, size_t n_servers, size_t prepared_max, bool half_ends)
{
	static char scripts[CLIENTS][PG_TEXT * 4];
	struct world w;
	bool good = true;

	world_init(&w, n_clients, n_servers);
	w.seed = seed * 0x9E3779B97F4A7C15u + 1;
	for (size_t i = 0; i < n_servers; i++)
		w.servers[i].facts.prepared_max = prepared_max;
	w.random = world_random;
	if (half_ends)
		world_half_ends(&w);
	for (size_t i = 0; i < n_clients; i++) {
		script_of(&w, scripts[i], sizeof scripts[i], 1 + world_random(&w) % UNITS);
		if (i == 1) {
			client_start_with(&w, i, "timezone", "mine");
			client_start_with(&w, i, "app.x", "mine");
		}
		script_put(&w.clients[i].in, scripts[i]);
	}
	while (random_turn(&w))
		;
	for (size_t i = 0; i < n_clients; i++) {
		struct pg own;
		char *want, *got = w.clients[i].on && w.clients[i].on->partial ? strdup("(in the middle of a message)") : show_replies(&w.clients[i].out);

		pg_init(&own);
		own.half_ends = half_ends;
		if (i == 1) {
			pg_start_with(&own, "timezone", "mine");
			pg_start_with(&own, "app.x", "mine");
		}
		want = alone(&own, scripts[i]);
		if (strcmp(want, got) || buf_len(&w.clients[i].in) || w.broken) {
			good = false;
			tell(&w, seed, i, scripts[i], want, got);
		}
		free(want);
		free(got);
		pg_release(&own);
	}
	for (size_t i = 0; i < n_servers; i++)
		good &= !w.servers[i].pg.broken;
	world_release(&w);
	assert_true(good);
}

/* A failing seed is tried alone by SEED=… in the environment. */
static void play_kind(uint64_t seed)
{
	const char *one = getenv("SEED");

	if (one && strtoul(one, NULL, 10) != seed)
		return;
	if (seed < 100000)
		play(seed, 1 + seed % 3, 2, 100, false);
	else if (seed < 200000)
		play(seed, 2, 2, 1, false);
	else if (seed < 300000)
		play(seed, 3, 1, 3, false);
	else
		play(seed, 3, 2, 100, true);
}

static void clients_that_share_backends_read_what_each_would_alone(void **state)
{
	for (uint64_t seed = 1; seed <= seeds(); seed++)
		play_kind(seed);
}

static void a_backend_with_room_for_one_statement_is_enough(void **state)
{
	for (uint64_t seed = 1; seed <= seeds() / 4; seed++)
		play_kind(seed + 100000);
}

static void clients_waiting_for_one_backend_all_get_their_turn(void **state)
{
	for (uint64_t seed = 1; seed <= seeds() / 4; seed++)
		play_kind(seed + 200000);
}

static void a_transaction_that_postgresql_18_ends_by_half_is_lost_to_its_client_alone(void **state)
{
	for (uint64_t seed = 1; seed <= seeds(); seed++)
		play_kind(seed + 300000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clients_that_share_backends_read_what_each_would_alone),
		cmocka_unit_test(a_backend_with_room_for_one_statement_is_enough),
		cmocka_unit_test(clients_waiting_for_one_backend_all_get_their_turn),
		cmocka_unit_test(a_transaction_that_postgresql_18_ends_by_half_is_lost_to_its_client_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
