/* What clients do: made from a seed, printed so that a person can read it, and read back. */
#include "state/rules.h"
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

/* ---- what is left out, and why ---- */

/* Limits that README states under "Not done yet": what they would show is not played. Take a line out when its limit is gone. */
enum {
	OUT_DEALLOCATE_LATER = 1 << 2, /* DEALLOCATE of a name that was not there at its Parse and is at its Bind */
	OUT_SNAPSHOT = 1 << 3, /* what goes as a no-op (DISCARD PLANS, DEALLOCATE …) or not at all (Parse of what is there) takes no snapshot: SET
				* TRANSACTION is allowed after it */
	OUT_ANALYSED_ANEW = 1 << 4, /* PostgreSQL analyses a statement anew when search_path has changed since, and reads its literals under the
				     * DateStyle of that moment: which moment that was on which backend is not followed */
	OUT_CUSTOM_HALF_WAY = 1 << 0, /* (1) a statement that sets a custom setting and fails: had it come that far? A backend that has seen the
				       * name before does not tell */
	OUT_NOTIFY_CHAIN = 1 << 1, /* what a transaction that goes on by AND CHAIN has notified is read by PostgreSQL only when it is idle, under what
				    * it listens to then */
	OUT_EXECUTE_BEHIND = 1 << 6, /* EXECUTE by extended protocol of what reads pg_prepared_statements shows what is on the backend */
	OUT_DESCRIBE_FAILED = 1 << 5, /* Describe of the unnamed statement in a failed transaction, when a Parse was skipped before it */
};
static const unsigned left_out = OUT_CUSTOM_HALF_WAY | OUT_NOTIFY_CHAIN | OUT_DESCRIBE_FAILED | OUT_ANALYSED_ANEW | OUT_EXECUTE_BEHIND;

/* ---- settings and their values ---- */

struct setting {
	const char *name, *values[7];
};

static const struct setting settings[] = {
	{ "timezone", { "UTC", "utc", "Europe/Berlin", "Asia/Tokyo", "bad" } },
	{ "datestyle", { "ISO", "SQL", "DMY", "SQL, YMD", "MDY", "bad" } },
	{ "application_name", { "one", "two", "" } },
	{ "work_mem", { "4MB", "4096kB", "65536", "64MB", "bad" } },
	{ "statement_timeout", { "0", "1000", "1s", "1min", "bad" } },
	{ "default_transaction_isolation", { "serializable", "repeatable read", "read committed", "bad" } },
	{ "standard_conforming_strings", { "on", "off" } },
	{ "app.x", { "1", "2", "" } },
	{ "app.y", { "1", "it''s", "x y" } },
};

enum { SETTINGS = sizeof settings / sizeof *settings };

static const char *const paths[] = { "a", "b", "a, b", "\"$user\", public", "\"B,c\", a" };

/* ---- what a client may do; %…: see word_for() ---- */

enum feature {
	F_SET, F_LOCAL, F_RESET, F_TRANSACTION, F_SAVEPOINT, F_CHAIN, F_ERROR, F_DEFERRED, F_SET_CONFIG, F_SET_CONFIG_BIND, F_CUSTOM_NULL,
	F_OPAQUE, F_ROLE, F_ROLE_DROPPED, F_AUTHORIZATION, F_SUPERUSER_ONLY, F_PREPARED, F_UNNAMED, F_SQL_PREPARE, F_LITERAL, F_PATH, F_CURSOR_HOLD,
	F_CURSOR, F_LOCK, F_TEMP, F_LISTEN, F_NOTIFY, F_SEQUENCE, F_COPY, F_DISCARD_ALL, F_DISCARD, F_RESET_BATCH, F_PIPELINE, F_PORTAL, F_ISOLATION, F_MULTI, F_PLAIN,
	F_OWN_STATEMENTS, F_OWN_CHANNELS,
	FEATURES,
};

static const char *const feature_names[FEATURES] = {
	"SET", "SET LOCAL", "RESET", "transactions", "savepoints", "AND CHAIN", "errors", "failing COMMIT", "set_config", "set_config by Bind",
	"custom settings that read NULL", "DO", "SET ROLE", "roles that are dropped", "SET SESSION AUTHORIZATION", "settings for superusers",
	"named statements", "the unnamed statement", "PREPARE", "literals read at Parse", "search_path", "WITH HOLD", "cursors", "advisory locks",
	"temporary tables", "LISTEN", "NOTIFY", "sequences' numbers", "COPY", "DISCARD ALL", "DISCARD", "reset batches", "pipelines", "portals in parts", "isolation levels", "several statements",
	"plain queries", "pg_prepared_statements", "pg_listening_channels()",
};

static uint64_t feature_counts[FEATURES];

size_t program_features(void)
{
	return FEATURES;
}

const char *program_feature_name(size_t i, uint64_t *count)
{
	*count = feature_counts[i];
	return feature_names[i];
}

#define STATEMENTS "SELECT string_agg(concat(name, from_sql), ',' ORDER BY name) FROM pg_prepared_statements"
#define CHANNELS "SELECT string_agg(c, ',' ORDER BY c) FROM pg_listening_channels() AS c"

static const struct template {
	enum feature feature;
	const char *text;
} templates[] = {
	{ F_SET, "Q:SET %v = '%x'" },
	{ F_SET, "Q:SET %v = '%x'" },
	{ F_SET, "Q:SHOW %v" },
	{ F_SET, "Q:SET TIME ZONE 'Asia/Tokyo'" },
	{ F_SET, "P::SET %v = '%x'|B::|E:|S" },
	{ F_SET, "P::SHOW %v|B::|D:P:|E:|S" },
	{ F_LOCAL, "Q:SET LOCAL %v = '%x'" },
	{ F_LOCAL, "Q:SET LOCAL %v TO DEFAULT" },
	{ F_LOCAL, "Q:BEGIN; SET LOCAL %v = '%x'; SHOW %w" },
	{ F_RESET, "Q:RESET %v" },
	{ F_RESET, "Q:RESET ALL" },
	{ F_RESET, "Q:SET %v TO DEFAULT" },
	{ F_RESET, "P::RESET %v|B::|E:|P::SHOW %w|B::|E:|S" },
	{ F_TRANSACTION, "Q:BEGIN" },
	{ F_TRANSACTION, "Q:BEGIN" },
	{ F_TRANSACTION, "Q:COMMIT" },
	{ F_TRANSACTION, "Q:COMMIT" },
	{ F_TRANSACTION, "Q:ROLLBACK" },
	{ F_TRANSACTION, "P::BEGIN|B::|E:|P::SET %v = '%x'|B::|E:|P::%e|B::|E:|S" },
	{ F_TRANSACTION, "P::BEGIN|B::|E:|S" },
	{ F_TRANSACTION, "P::%e|B::|E:|S" },
	{ F_SAVEPOINT, "Q:SAVEPOINT s" },
	{ F_SAVEPOINT, "Q:SAVEPOINT s2" },
	{ F_SAVEPOINT, "Q:ROLLBACK TO s" },
	{ F_SAVEPOINT, "Q:RELEASE s" },
	{ F_SAVEPOINT, "Q:BEGIN; SAVEPOINT s; SET %v = '%x'; ROLLBACK TO s; SHOW %w" },
	{ F_CHAIN, "Q:COMMIT AND CHAIN" },
	{ F_CHAIN, "Q:ROLLBACK AND CHAIN" },
	{ F_ERROR, "Q:SELECT 1/0" },
	{ F_ERROR, "Q:SYNTAX ERROR" },
	{ F_ERROR, "P::SELECT 1/0|B::|E:|P::SET %v = '%x'|B::|E:|S" },
	{ F_ERROR, "Q:SET %v = '%x'; SELECT 1/0" },
	{ F_ERROR, "P::SET %v = '%x'|B::|E:|P::SELECT 1/0|B::|E:|S" },
	{ F_DEFERRED, "Q:INSERT INTO deferred VALUES (1)" },
	{ F_DEFERRED, "Q:BEGIN; SET %v = '%x'; INSERT INTO deferred VALUES (1)" },
	{ F_DEFERRED, "P::SET %v = '%x'|B::|E:|P::INSERT INTO deferred VALUES (1)|B::|E:|S" },
	{ F_SET_CONFIG, "Q:SELECT set_config('%v', '%x', false)" },
	{ F_SET_CONFIG, "Q:SELECT set_config('%v', '%x', true)" },
	{ F_SET_CONFIG, "Q:SELECT pg_catalog.set_config('%v', '%x', false), set_config('%v', '%x', true)" },
	{ F_SET_CONFIG, "Q:SELECT set_config('%v', NULL, false)" },
	{ F_SET_CONFIG_BIND, "P::SELECT set_config($1, $2, false)|B:::%v:%x|E:|S" },
	{ F_SET_CONFIG, "Q:PREPARE %n AS SELECT set_config('%v', '%x', false)|B::%n|E:|S|Q:DEALLOCATE %n" },
	{ F_SET_CONFIG_BIND, "P:%n:SELECT set_config($1, $2, false)|S|B::%n:%v:%x|E:|S" },
	{ F_SET_CONFIG_BIND, "P::SELECT set_config($1, $2, true)|B:::%v:%x|E:|P::SHOW %w|B::|E:|S" },
	{ F_CUSTOM_NULL, "Q:SELECT current_setting('%c', true)" },
	{ F_CUSTOM_NULL, "Q:SELECT current_setting('%c', true)" },
	{ F_CUSTOM_NULL, "Q:SHOW %c" },
	{ F_CUSTOM_NULL, "Q:BEGIN|Q:SET LOCAL %c = '1'|Q:%e" },
	{ F_CUSTOM_NULL, "Q:BEGIN|Q:SELECT current_setting('%c', true)|Q:SET %c = '2'|Q:%e" },
	{ F_CUSTOM_NULL, "Q:BEGIN; SET %c = '1'; ROLLBACK" },
	{ F_CUSTOM_NULL, "P::BEGIN|B::|E:|P::SELECT set_config($1, $2, true)|B:::%c:1|E:|P::SELECT current_setting('%c', true)|B::|E:|S" },
	{ F_CUSTOM_NULL, "P::SELECT current_setting('%c', true)|B::|D:P:|E:|S" },
	{ F_CUSTOM_NULL, "P:%n:SELECT current_setting('%c', true)|B::%n|E:|S" },
	{ F_CUSTOM_NULL, "Q:RESET %c" },
	{ F_CUSTOM_NULL, "Q:SET %c = '1'; SELECT 1/0" },
	{ F_CUSTOM_NULL, "Q:SELECT set_config('%c', '1', false)" },
	{ F_SET, "Q:SELECT NULLIF(current_setting('%c', true), '')" },
	{ F_OPAQUE, "Q:DO $$BEGIN PERFORM set_config('%v', '%x', false); END$$" },
	{ F_OPAQUE, "Q:DO $$BEGIN PERFORM set_config('timezone', NULL, false), set_config('work_mem', NULL, false); END$$" },
	{ F_OPAQUE, "P::DO $$BEGIN PERFORM set_config('datestyle', NULL, false); END$$|B::|E:|S" },
	{ F_OPAQUE, "P::DO $$BEGIN PERFORM set_config('%v', '%x', false); END$$|B::|E:|S" },
	{ F_ROLE, "Q:SET ROLE %r" },
	{ F_ROLE, "Q:RESET ROLE" },
	{ F_ROLE, "Q:SET ROLE none" },
	{ F_ROLE, "Q:SHOW role" },
	{ F_ROLE, "Q:SET LOCAL ROLE %r" },
	{ F_ROLE, "Q:BEGIN; SET ROLE %r; %e; SHOW role" },
	{ F_ROLE, "Q:SELECT set_config('role', '%r', false)" },
	{ F_ROLE_DROPPED, "Q:DROP ROLE %r" },
	{ F_AUTHORIZATION, "Q:SET SESSION AUTHORIZATION u1" },
	{ F_AUTHORIZATION, "Q:SET SESSION AUTHORIZATION DEFAULT" },
	{ F_AUTHORIZATION, "Q:SHOW session_authorization" },
	{ F_AUTHORIZATION, "Q:RESET SESSION AUTHORIZATION" },
	{ F_SUPERUSER_ONLY, "Q:SET session_replication_role = 'replica'" },
	{ F_SUPERUSER_ONLY, "Q:RESET session_replication_role" },
	{ F_SUPERUSER_ONLY, "Q:SHOW session_replication_role" },
	{ F_PREPARED, "P:%n:%t|S" },
	{ F_PREPARED, "P:%n:%t|D:S:%n|B::%n|D:P:|E:|S" },
	{ F_PREPARED, "B::%n|E:|S" },
	{ F_PREPARED, "B::%n|E:|S" },
	{ F_PREPARED, "C:S:%n|S" },
	{ F_PREPARED, "C:S:%n|P:%n:%t|S" },
	{ F_PREPARED, "D:S:%n|S" },
	{ F_PREPARED, "P:%n:SYNTAX ERROR|S" },
	{ F_PREPARED, "P:%n:%t|P:%n:%t|S" },
	{ F_PREPARED, "P::SELECT 1/0|B::|E:|P:%n:%t|C:S:%n|S" },
	{ F_PREPARED, "P:%n:SELECT $1|B::%n:value|E:|S" },
	{ F_UNNAMED, "P::%t|S" },
	{ F_UNNAMED, "B::|E:|S" },
	{ F_UNNAMED, "S|P::%t|S|B::|E:|S" },
	{ F_UNNAMED, "D:S:|S" },
	{ F_UNNAMED, "C:S:|S" },
	{ F_UNNAMED, "S|P::%t|H|B::|E:|H|B::|E:|S" },
	{ F_SQL_PREPARE, "Q:PREPARE %n AS %t" },
	{ F_SQL_PREPARE, "Q:EXECUTE %n" },
	{ F_SQL_PREPARE, "Q:EXECUTE %n" },
	{ F_SQL_PREPARE, "Q:DEALLOCATE %n" },
	{ F_SQL_PREPARE, "Q:DEALLOCATE ALL" },
	{ F_SQL_PREPARE, "Q:DEALLOCATE %n; PREPARE %n AS %t; EXECUTE %n" },
	{ F_SQL_PREPARE, "P::EXECUTE %n|B::|E:|S" },
	{ F_SQL_PREPARE, "P::DEALLOCATE %n|B::|E:|S" },
	{ F_SQL_PREPARE, "P::PREPARE %n AS %t|B::|E:|S" },
	{ F_LITERAL, "Q:SELECT date '02/01/2024'" },
	{ F_LITERAL, "P:%n:SELECT date '02/01/2024'|B::%n|E:|S" },
	{ F_LITERAL, "S|P::SELECT date '02/01/2024'|S|B::|E:|S" },
	{ F_LITERAL, "Q:SET datestyle = 'DMY'" },
	{ F_LITERAL, "Q:SET datestyle = 'MDY'" },
	{ F_PATH, "Q:SET search_path = %p" },
	{ F_PATH, "Q:SET LOCAL search_path = %p" },
	{ F_PATH, "Q:SHOW search_path" },
	{ F_PATH, "Q:SELECT * FROM t" },
	{ F_PATH, "P:%n:SELECT * FROM t|B::%n|D:P:|E:|S" },
	{ F_PATH, "Q:SELECT set_config('search_path', 'b', false)" },
	{ F_PATH, "Q:BEGIN|Q:SELECT set_config('search_path', 'b', false)|Q:PREPARE %n AS SELECT * FROM t|Q:COMMIT|Q:PREPARE s1 AS SELECT 1|Q:EXECUTE %n" },
	{ F_CURSOR_HOLD, "Q:DECLARE %k CURSOR WITH HOLD FOR SELECT * FROM generate_series(1, 3)" },
	{ F_CURSOR_HOLD, "Q:FETCH 1 FROM %k" },
	{ F_CURSOR_HOLD, "Q:FETCH 2 FROM %k" },
	{ F_CURSOR_HOLD, "Q:CLOSE %k" },
	{ F_CURSOR_HOLD, "Q:CLOSE ALL" },
	{ F_CURSOR_HOLD, "C:P:%k|S" },
	{ F_CURSOR_HOLD, "P::FETCH 1 FROM %k|B::|E:|S" },
	{ F_CURSOR, "Q:DECLARE %k CURSOR FOR SELECT * FROM generate_series(1, 3)" },
	{ F_CURSOR, "Q:MOVE 1 FROM %k" },
	{ F_CURSOR, "Q:FETCH 1 FROM %k" },
	{ F_CURSOR, "Q:CLOSE %k" },
	{ F_LOCK, "Q:SELECT pg_advisory_lock(%i)" },
	{ F_LOCK, "Q:SELECT pg_try_advisory_lock(%i)" },
	{ F_LOCK, "Q:SELECT pg_advisory_unlock(%i)" },
	{ F_LOCK, "Q:SELECT pg_advisory_unlock_all()" },
	{ F_LOCK, "Q:SELECT pg_advisory_xact_lock(%i)" },
	{ F_LOCK, "Q:SELECT count(*) FROM my_advisory_locks" },
	{ F_LOCK, "P::SELECT pg_advisory_lock(%i)|B::|E:|P::SELECT 1/0|B::|E:|S" },
	{ F_LOCK, "P:%n:SELECT pg_advisory_lock(%i)|B::%n|E:|B::%n|E:|S" },
	{ F_LOCK, "Q:PREPARE %n AS SELECT pg_advisory_lock(%i)|B::%n|E:|S|Q:DEALLOCATE %n" },
	{ F_TEMP, "Q:CREATE TEMP TABLE t%i (i int)" },
	{ F_TEMP, "Q:CREATE TEMP TABLE t%i (i int) ON COMMIT DROP" },
	{ F_TEMP, "Q:DROP TABLE pg_temp.t%i" },
	{ F_TEMP, "Q:SELECT count(*) FROM pg_temp.t%i" },
	{ F_TEMP, "P::CREATE TEMP TABLE t%i (i int)|B::|E:|S" },
	{ F_LISTEN, "Q:LISTEN %h" },
	{ F_LISTEN, "Q:UNLISTEN %h" },
	{ F_LISTEN, "Q:LISTEN a" },
	{ F_LISTEN, "Q:LISTEN b; LISTEN a" },
	{ F_LISTEN, "P::LISTEN %h|B::|E:|S" },
	{ F_LISTEN, "P::UNLISTEN %h|B::|E:|S" },
	{ F_LISTEN, "P::LISTEN %h|B::|E:|P::SELECT 1|B::|E:|S" },
	{ F_LISTEN, "Q:BEGIN|Q:LISTEN %h|Q:%e" },
	{ F_LISTEN, "Q:BEGIN; SAVEPOINT s; LISTEN %h; ROLLBACK TO s; COMMIT" },
	{ F_LISTEN, "Q:BEGIN; SAVEPOINT s; UNLISTEN %h; ROLLBACK TO s; COMMIT" },
	{ F_LISTEN, "Q:LISTEN %h; SELECT 1/0" },
	{ F_NOTIFY, "Q:NOTIFY %h, '%i'" },
	{ F_NOTIFY, "Q:NOTIFY %h, '%i'" },
	{ F_NOTIFY, "Q:NOTIFY %h" },
	{ F_NOTIFY, "Q:BEGIN; NOTIFY %h, '1'; NOTIFY %h, '2'; NOTIFY %h, '1'; %e" },
	{ F_NOTIFY, "Q:SELECT pg_notify('%h', '%i')" },
	{ F_NOTIFY, "P::NOTIFY %h, '%i'|B::|E:|S" },
	{ F_NOTIFY, "P::NOTIFY %h, '%i'|B::|E:|P::SELECT 1/0|B::|E:|S" },
	{ F_NOTIFY, "Q:BEGIN|Q:NOTIFY %h, '%i'|Q:SAVEPOINT s|Q:NOTIFY %h, '3'|Q:ROLLBACK TO s|Q:%e" },
	{ F_NOTIFY, "Q:BEGIN|Q:NOTIFY %h, '%i'|Q:LISTEN %h|Q:NOTIFY %h, '3'|Q:%e" },
	{ F_NOTIFY, "Q:BEGIN|Q:NOTIFY %h, '%i'|Q:UNLISTEN %h|Q:NOTIFY %h, '3'|Q:%e" },
	{ F_LISTEN, "Q:UNLISTEN *" },
	{ F_SEQUENCE, "Q:SELECT nextval('%q')" },
	{ F_SEQUENCE, "Q:SELECT nextval('%q')" },
	{ F_SEQUENCE, "Q:SELECT currval('%q')" },
	{ F_SEQUENCE, "Q:SELECT lastval()" },
	{ F_SEQUENCE, "Q:SELECT nextval('%q')|Q:SELECT lastval()" },
	{ F_COPY, "Q:COPY copied FROM STDIN|d|d|c" },
	{ F_COPY, "Q:COPY copied FROM STDIN|d|f" },
	{ F_COPY, "P::COPY copied FROM STDIN|B::|E:|d|c|S" },
	{ F_COPY, "P::COPY copied FROM STDIN|B::|E:|S|d|c|S" },
	{ F_COPY, "P::COPY copied FROM STDIN|B::|E:|d|P::x|S" },
	{ F_COPY, "Q:COPY copied TO STDOUT" },
	{ F_COPY, "P::COPY copied TO STDOUT|B::|E:|S" },
	{ F_COPY, "d|c|S" },
	{ F_DISCARD_ALL, "Q:DISCARD ALL" },
	{ F_DISCARD_ALL, "P::DISCARD ALL|B::|E:|S" },
	{ F_DISCARD, "Q:DISCARD PLANS" },
	{ F_DISCARD, "Q:DISCARD SEQUENCES" },
	{ F_DISCARD, "Q:DISCARD TEMP" },
	{ F_RESET_BATCH, "Q:SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL" },
	{ F_RESET_BATCH, "Q:CLOSE ALL; UNLISTEN *; DISCARD TEMP; DISCARD SEQUENCES" },
	{ F_RESET_BATCH, "Q:DEALLOCATE ALL" },
	{ F_PIPELINE, "P::SELECT 1|B::|E:|Q:SELECT 2|P::SELECT 3|S" },
	{ F_PIPELINE, "P::SELECT 1|B::|E:|H|P::SELECT 2|B::|E:|H|S" },
	{ F_PIPELINE, "B::nosuch|E:|P:%n:%t|S|Q:SELECT 1" },
	{ F_PIPELINE, "P::SELECT 1|B::|E:|S|P::SELECT 2|B::|E:|S|Q:SELECT 3|S" },
	{ F_PIPELINE, "P::SELECT 1|B::|E:|P::SET %v = '%x'|B::|E:|P:%n:%t|S" },
	{ F_PIPELINE, "P:%n:%t|B::%n|E:|P::SHOW %v|B::|E:|C:S:%n|S" },
	{ F_PIPELINE, "P::SET %v = '%x'|B::|E:|P::%e|B::|E:|P::SHOW %w|B::|E:|S" },
	{ F_PIPELINE, "P::SET LOCAL %v = '%x'|B::|E:|P::ROLLBACK TO s|B::|E:|P:%n:%t|B::%n|E:|S" },
	{ F_PIPELINE, "Q:BEGIN; SAVEPOINT s|P::SET LOCAL datestyle = 'DMY'|B::|E:|P::ROLLBACK TO s|B::|E:|P:%n:SELECT date '02/01/2024'|B::%n|E:|S" },
	{ F_PIPELINE, "P::ROLLBACK TO s|B::|E:|P:%n:SELECT date '02/01/2024'|S|B::%n|E:|S" },
	{ F_PORTAL, "P::SELECT * FROM generate_series(1, 5)|B::|E::2|E::2|E:|S" },
	{ F_PORTAL, "P::SELECT * FROM generate_series(1, 5)|B:%k:|E:%k:2|H" },
	{ F_PORTAL, "E:%k:2|S" },
	{ F_PORTAL, "D:P:%k|S" },
	{ F_PORTAL, "C:P:%k|S" },
	{ F_ISOLATION, "Q:BEGIN ISOLATION LEVEL SERIALIZABLE" },
	{ F_ISOLATION, "Q:SHOW transaction_isolation" },
	{ F_ISOLATION, "Q:SET TRANSACTION ISOLATION LEVEL REPEATABLE READ" },
	{ F_ISOLATION, "Q:SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE" },
	{ F_MULTI, "Q:BEGIN; SET %v = '%x'; COMMIT; SHOW %w" },
	{ F_MULTI, "Q:BEGIN; SET %v = '%x'; ROLLBACK; SET %v = '%x'" },
	{ F_MULTI, "Q:SET %v = '%x'; COMMIT; SET %v = '%x'; SELECT 1/0" },
	{ F_MULTI, "Q:SET %v = '%x'; RESET %v; SHOW %w" },
	{ F_MULTI, "Q:SELECT 1; SELECT 2; SET %v = '%x'; SELECT 3" },
	{ F_OWN_STATEMENTS, "Q:" STATEMENTS },
	{ F_OWN_STATEMENTS, "P::" STATEMENTS "|B::|E:|S" },
	{ F_OWN_STATEMENTS, "P:%n:" STATEMENTS "|B::%n|E:|S" },
	{ F_OWN_STATEMENTS, "Q:PREPARE %n AS " STATEMENTS },
	{ F_OWN_STATEMENTS, "P:%n:%t|S" },
	{ F_OWN_STATEMENTS, "B::%n|E:|S" },
	{ F_OWN_STATEMENTS, "Q:PREPARE %n AS %t" },
	{ F_OWN_STATEMENTS, "Q:EXECUTE %n" },
	{ F_OWN_STATEMENTS, "Q:DEALLOCATE %n" },
	{ F_OWN_STATEMENTS, "Q:BEGIN; " STATEMENTS },
	{ F_OWN_STATEMENTS, "Q:SELECT 1; " STATEMENTS "; SELECT 2" },
	{ F_OWN_STATEMENTS, "P:%n:%t|P::" STATEMENTS "|B::|E:|S" },
	{ F_OWN_STATEMENTS, "P::SELECT 1|B::|E:|P::" STATEMENTS "|B::|E:|C:S:%n|P::SELECT 2|B::|E:|S" },
	{ F_OWN_CHANNELS, "Q:" CHANNELS },
	{ F_OWN_CHANNELS, "Q:" CHANNELS },
	{ F_OWN_CHANNELS, "P::" CHANNELS "|B::|E:|S" },
	{ F_OWN_CHANNELS, "P:%n:" CHANNELS "|B::%n|D:P:|E:|S" },
	{ F_OWN_CHANNELS, "Q:BEGIN|Q:LISTEN %h|Q:" CHANNELS "|Q:%e|Q:" CHANNELS },
	{ F_OWN_CHANNELS, "Q:BEGIN; UNLISTEN %h; " CHANNELS "; %e" },
	{ F_OWN_CHANNELS, "Q:LISTEN %h; " CHANNELS },
	{ F_PLAIN, "Q:SELECT 1" },
	{ F_PLAIN, "Q:" },
	{ F_PLAIN, "Q:;" },
	{ F_PLAIN, "S" },
	{ F_PLAIN, "H|S" },
	{ F_PLAIN, "P::|B::|E:|S" },
};

enum { TEMPLATES = sizeof templates / sizeof *templates };

/* What would show what is left out. */
static bool is_left_out(const char *text, uint64_t features)
{
	static const struct {
		unsigned out;
		const char *part;
	} shows[] = {
		{ OUT_DESCRIBE_FAILED, "D:S:|S" },
	};

	for (size_t i = 0; i < sizeof shows / sizeof *shows; i++)
		if (left_out & shows[i].out && strstr(text, shows[i].part))
			return true;
	return left_out & OUT_EXECUTE_BEHIND && features >> F_OWN_STATEMENTS & 1 && strstr(text, "P::EXECUTE");
}

/* ---- generation ---- */

struct maker {
	struct rng rng;
	uint64_t features;
	size_t client;
	const struct setting *setting; /* the last named */
	uint16_t usable[TEMPLATES];
	size_t n_usable;
};

#define PICK(m, list) ((list)[rng_below(&(m)->rng, sizeof(list) / sizeof *(list))])

static bool on(const struct maker *m, enum feature f)
{
	return m->features >> f & 1;
}

static const char *value_for(struct maker *m, const struct setting *s)
{
	size_t n = 0;

	while (n < 7 && s->values[n])
		n++;
	return s->values[rng_below(&m->rng, (uint32_t)n)];
}

static const char *text_for(struct maker *m)
{
	static const char *const plain[] = { "SELECT 'one'", "SELECT 1/0", "SHOW timezone", "SHOW work_mem", "SELECT * FROM generate_series(1, 2)" };

	if (on(m, F_LITERAL) && rng_below(&m->rng, 2))
		return "SELECT date '02/01/2024'";
	if (on(m, F_PATH) && rng_below(&m->rng, 2))
		return "SELECT * FROM t";
	return PICK(m, plain);
}

/* What PREPARE takes. */
static const char *query_for(struct maker *m)
{
	const char *text;

	do
		text = text_for(m);
	while (!strncmp(text, "SHOW", 4));
	return text;
}

static size_t word_for(struct maker *m, char what, bool sql, char *out)
{
	static const char *const names[] = { "s1", "s2", "s3" }, *const cursors[] = { "k1", "k2" }, *const ends[] = { "COMMIT", "ROLLBACK" };
	static const char *const custom[] = { "app.x", "app.y" };

	switch (what) {
	case 'v':
		m->setting = &settings[rng_below(&m->rng, SETTINGS)];
		return (size_t)sprintf(out, "%s", m->setting->name);
	case 'w': /* the same again, mostly */
		return (size_t)sprintf(out, "%s", (rng_below(&m->rng, 4) ? m->setting : &settings[rng_below(&m->rng, SETTINGS)])->name);
	case 'x':
		return (size_t)sprintf(out, "%s", value_for(m, m->setting));
	case 'n':
		return (size_t)sprintf(out, "%s", PICK(m, names));
	case 't':
		return (size_t)sprintf(out, "%s", sql ? query_for(m) : text_for(m));
	case 'k':
		return (size_t)sprintf(out, "%s", PICK(m, cursors));
	case 'e':
		return (size_t)sprintf(out, "%s", PICK(m, ends));
	case 'c':
		return (size_t)sprintf(out, "%s", PICK(m, custom));
	case 'p':
		return (size_t)sprintf(out, "%s", PICK(m, paths));
	case 'r': /* its own: what happens to them is not another client's to see */
		return (size_t)sprintf(out, "r%u", (unsigned)m->client * 2 + rng_below(&m->rng, 2));
	case 'q': /* its own: the numbers are what they would be alone */
		return (size_t)sprintf(out, "q%u", (unsigned)m->client);
	case 'h':
		return (size_t)sprintf(out, "%c", 'a' + (char)rng_below(&m->rng, 2));
	case 'i':
		return (size_t)sprintf(out, "%u", 1 + rng_below(&m->rng, 2));
	default:
		abort();
	}
}

/* It names a custom setting, and fails elsewhere. */
static bool fails_half_way(const char *unit)
{
	return left_out & OUT_CUSTOM_HALF_WAY && strstr(unit, "set_config('app.") && strstr(unit, "'bad'");
}

static void fill_in(struct maker *m, const struct template *t, char *out)
{
	size_t at = 0;

	m->setting = &settings[0];
	for (const char *p = t->text; *p; p++) {
		if (at > SIM_UNIT_TEXT - 100)
			abort();
		if (*p == '%')
			at += word_for(m, *++p, strstr(t->text, "PREPARE"), out + at);
		else
			out[at++] = *p;
	}
	out[at] = 0;
}

static void make_unit(struct maker *m, char *out)
{
	const struct template *t = &templates[m->usable[rng_below(&m->rng, (uint32_t)m->n_usable)]];

	do
		fill_in(m, t, out);
	while (fails_half_way(out));
	feature_counts[t->feature]++;
}

static void choose_features(struct maker *m)
{
	uint64_t some = (uint64_t)rng_next(&m->rng) << 32 | rng_next(&m->rng);

	if (rng_below(&m->rng, 2))
		some &= (uint64_t)rng_next(&m->rng) << 32 | rng_next(&m->rng);
	if (some & (1ull << F_NOTIFY | 1ull << F_OWN_CHANNELS))
		some |= 1ull << F_LISTEN;
	if (some >> F_OWN_STATEMENTS & 1) /* one parsed under a role that is gone can't be shown */
		some &= ~(1ull << F_ROLE_DROPPED);
	if (some >> F_OWN_CHANNELS & 1) /* behind COMMIT AND CHAIN they are those of before */
		some &= ~(1ull << F_CHAIN);
	some |= 1ull << rng_below(&m->rng, FEATURES) | 1ull << rng_below(&m->rng, FEATURES) | 1ull << F_PLAIN;
	if (some >> F_LITERAL & 1 && left_out & OUT_ANALYSED_ANEW)
		some &= ~(1ull << F_PATH | 1ull << F_TEMP | 1ull << F_DISCARD);
	if (some >> F_ISOLATION & 1 && left_out & OUT_SNAPSHOT)
		some &= ~(1ull << F_DISCARD | 1ull << F_SQL_PREPARE | 1ull << F_RESET_BATCH | 1ull << F_PREPARED | 1ull << F_PIPELINE | 1ull << F_LITERAL |
			  1ull << F_PATH | 1ull << F_LOCK | 1ull << F_SET_CONFIG_BIND);
	if (some >> F_SQL_PREPARE & 1 && left_out & OUT_DEALLOCATE_LATER)
		some &= ~(1ull << F_UNNAMED);
	if (some >> F_AUTHORIZATION & 1) /* what becomes of the role when it is rolled back is PostgreSQL's own riddle */
		some &= ~(1ull << F_ROLE | 1ull << F_ROLE_DROPPED);
	if (some >> F_NOTIFY & 1 && left_out & OUT_NOTIFY_CHAIN)
		some &= ~(1ull << F_CHAIN);
	m->features = some;
	m->n_usable = 0;
	for (size_t i = 0; i < TEMPLATES; i++)
		if (some >> templates[i].feature & 1 && !is_left_out(templates[i].text, some))
			m->usable[m->n_usable++] = (uint16_t)i;
}

static void make_start(struct maker *m, struct sim_client *c)
{
	size_t at = 0;

	c->start[0] = 0;
	for (uint32_t n = rng_below(&m->rng, 4) ? 0 : 1 + rng_below(&m->rng, 2); n; n--) {
		const struct setting *s = &settings[rng_below(&m->rng, SETTINGS)];
		const char *value;

		if (strstr(c->start, s->name))
			continue;
		do
			value = value_for(m, s);
		while (!strcmp(value, "bad") || strpbrk(value, ",'\\") || !*value);
		at += (size_t)sprintf(c->start + at, "%s%s=%s", at ? "," : "", s->name, value);
	}
}

static void make_client(struct maker *m, struct sim_client *c)
{
	make_start(m, c);
	c->n_units = 1 + rng_below(&m->rng, rng_below(&m->rng, 8) ? 6 : SIM_UNITS);
	for (size_t i = 0; i < c->n_units; i++)
		make_unit(m, c->units[i]);
	c->vanishes = rng_below(&m->rng, 8) ? -1 : (int)rng_below(&m->rng, (uint32_t)c->n_units + 1);
}

/* For one program in eight. */
static void make_rules(struct maker *m, struct sim_program *p)
{
	static const uint8_t refused[] = { RULE_ROLE, RULE_PREPARED, RULE_CURSOR, RULE_LOCK, RULE_TEMP, RULE_LISTEN, RULE_SEQUENCE, RULE_OPAQUE, RULE_SETTINGS };
	static const uint8_t pinned[] = { RULE_ROLE, RULE_PREPARED, RULE_LISTEN, RULE_OPAQUE, RULE_SETTINGS };

	p->refuse = p->pin = 0;
	p->max_pins = 0;
	if (rng_below(&m->rng, 8))
		return;
	if (rng_below(&m->rng, 2))
		p->refuse = 1u << refused[rng_below(&m->rng, sizeof refused)];
	if (rng_below(&m->rng, 2))
		p->pin = 1u << pinned[rng_below(&m->rng, sizeof pinned)] | 1u << pinned[rng_below(&m->rng, sizeof pinned)];
	p->pin &= ~p->refuse;
	p->max_pins = (int)rng_below(&m->rng, 3);
}

void program_of_seed(struct sim_program *p, uint64_t seed)
{
	struct maker m = { .rng = { seed * 0x2545F4914F6CDD1Du } };

	rng_next(&m.rng);
	choose_features(&m);
	p->schedule = (uint64_t)rng_next(&m.rng) << 32 | rng_next(&m.rng);
	p->n_clients = 1 + rng_below(&m.rng, 3);
	p->n_pools = rng_below(&m.rng, 4) ? 1 : 2;
	p->size = 1 + (int)rng_below(&m.rng, 2);
	p->reserve = rng_below(&m.rng, 4) ? 0 : 1;
	p->limit = rng_below(&m.rng, 4) ? 0 : 1 + (int)rng_below(&m.rng, 2);
	p->prepared_max = rng_below(&m.rng, 3) ? 20 : 1 + rng_below(&m.rng, 3);
	p->chunks = rng_below(&m.rng, 2);
	p->deaths = !rng_below(&m.rng, 16);
	p->failing = !rng_below(&m.rng, 16);
	p->cancels = !rng_below(&m.rng, 8);
	p->at_once = !rng_below(&m.rng, 4);
	p->faults = !rng_below(&m.rng, 8);
	if (m.features >> F_OWN_STATEMENTS & 1) /* what can't be laid out is told in pgporter's words, and later ones as in a failed transaction */
		p->faults = false;
	p->shares = rng_below(&m.rng, 4);
	make_rules(&m, p);
	for (m.client = 0; m.client < p->n_clients; m.client++)
		make_client(&m, &p->clients[m.client]);
}

/* ---- as text ---- */

void program_print(const struct sim_program *p, FILE *f)
{
	fprintf(f, "schedule %llu\npools %zu size %d reserve %d limit %d prepared %zu\n", (unsigned long long)p->schedule, p->n_pools, p->size, p->reserve,
		p->limit, p->prepared_max);
	if (p->refuse || p->pin || p->max_pins)
		fprintf(f, "rules refuse %u pin %u max %d\n", p->refuse, p->pin, p->max_pins);
	fprintf(f, "with%s%s%s%s%s%s%s\n", p->chunks ? " chunks" : "", p->deaths ? " deaths" : "", p->failing ? " failing" : "",
		p->cancels ? " cancels" : "", p->at_once ? " at_once" : "", p->faults ? " faults" : "", p->shares ? " shares" : "");
	for (size_t i = 0; i < p->n_clients; i++) {
		fprintf(f, "client %s\n", p->clients[i].start);
		for (size_t u = 0; u <= p->clients[i].n_units; u++) {
			if (p->clients[i].vanishes == (int)u)
				fprintf(f, "vanishes\n");
			if (u < p->clients[i].n_units)
				fprintf(f, "\t%s\n", p->clients[i].units[u]);
		}
	}
}

static bool read_line(struct sim_program *p, char *line)
{
	struct sim_client *c = p->n_clients ? &p->clients[p->n_clients - 1] : NULL;
	unsigned long long schedule;

	if (!*line || *line == '#')
		return true;
	if (*line == '\t') {
		if (!c || c->n_units == SIM_UNITS || strlen(line) > SIM_UNIT_TEXT)
			return false;
		strcpy(c->units[c->n_units++], line + 1);
		return true;
	}
	if (sscanf(line, "schedule %llu", &schedule) == 1) {
		p->schedule = schedule;
		return true;
	}
	if (!strncmp(line, "pools ", 6))
		return sscanf(line, "pools %zu size %d reserve %d limit %d prepared %zu", &p->n_pools, &p->size, &p->reserve, &p->limit, &p->prepared_max) == 5;
	if (!strncmp(line, "rules ", 6))
		return sscanf(line, "rules refuse %u pin %u max %d", &p->refuse, &p->pin, &p->max_pins) == 3;
	if (!strncmp(line, "with", 4)) {
		p->chunks = strstr(line, " chunks");
		p->deaths = strstr(line, " deaths");
		p->failing = strstr(line, " failing");
		p->cancels = strstr(line, " cancels");
		p->at_once = strstr(line, " at_once");
		p->faults = strstr(line, " faults");
		p->shares = strstr(line, " shares");
		return true;
	}
	if (!strcmp(line, "vanishes") && c) {
		c->vanishes = (int)c->n_units;
		return true;
	}
	if (strncmp(line, "client", 6) || p->n_clients == SIM_CLIENTS || strlen(line) > SIM_START_TEXT)
		return false;
	c = &p->clients[p->n_clients++];
	strcpy(c->start, line[6] ? line + 7 : "");
	c->vanishes = -1;
	return true;
}

bool program_read(struct sim_program *p, FILE *f, const char *name)
{
	char line[1024];

	memset(p, 0, sizeof *p);
	p->n_pools = p->prepared_max = 1;
	p->size = 1;
	while (fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = 0;
		if (!read_line(p, line)) {
			fprintf(stderr, "%s: can't be read: %s\n", name, line);
			return false;
		}
	}
	return p->n_clients > 0;
}
