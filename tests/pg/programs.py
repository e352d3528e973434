"""Random programs of several clients over every kind of state of the session-state contract.

A Generator makes one step at a time and is told what PostgreSQL answered, so that it knows who is in a transaction
and keeps within a pool's size. Each statement is marked with the row of the contract that it exercises; statements that
no contract makes comparable (process ids, times, names of temporary schemas, row order) are not made, nor are
any that would wait for another client.
"""

import random
import re

from player import NAMES, Holding, Step

# What is left out, as the README says it does not hold or can't be compared:
#   (5) currval() and lastval() of the first client of a kind: where a program has them, its clients are of one kind
#       that has asked before, and are pinned from their first statement on; nor do they change their application_name.
#   (9) pg_prepared_statements and pg_cursors by a cursor, by a name of the protocol or while a statement may no longer be
#       valid; the text of a PREPARE among others; prepare_time and counts of plans.
#       pg_listening_channels() behind a COMMIT and ahead of its ReadyForQuery.
#   a statement whose result DDL changes before anybody was told what it is: those over the table that changes are run at once.
#   whether a schema pg_temp exists: a server connection's own past.

VALUES = {
    "search_path": ["s1", "s2, public", "s3, s1", "\"$user\", s4", "''", "'s1, s2'", "pg_catalog, s2", "no_such, s3"],
    "TimeZone": ["'Asia/Tokyo'", "'Europe/Berlin'", "'UTC'", "-3.5", "'nowhere'", "'<+0330>-3:30'"],
    "DateStyle": ["'dmy'", "'SQL'", "'German, YMD'", "'ISO, MDY'", "postgres", "'nonsense'"],
    "IntervalStyle": ["sql_standard", "iso_8601", "postgres"],
    "application_name": ["'one'", "'it''s two'", "''", "'n\u00e4me'"],
    "statement_timeout": ["'50s'", "60000", "0", "-5"],
    "lock_timeout": ["'40s'", "0"],
    "work_mem": ["'4096kB'", "'5MB'", "'much'"],
    "extra_float_digits": ["0", "1", "-5", "99"],
    "bytea_output": ["escape", "hex"],
    "client_encoding": ["'LATIN1'", "'UTF8'", "'nonsense'", "'SQL_ASCII'"],
    "standard_conforming_strings": ["off", "on"],
    "escape_string_warning": ["off", "on"],
    "client_min_messages": ["warning", "notice", "error", "log"],
    "default_transaction_isolation": ["'repeatable read'", "'read committed'"],
    "default_transaction_read_only": ["on", "off"],
    "default_transaction_deferrable": ["on", "off"],
    "idle_in_transaction_session_timeout": ["'50s'", "0"],
    "plan_cache_mode": ["force_generic_plan", "force_custom_plan"],
    "enable_seqscan": ["off", "yes"],
    "row_security": ["off", "on"],
    "xmloption": ["document", "content"],
    "constraint_exclusion": ["on", "partition"],
    "default_text_search_config": ["'pg_catalog.german'", "'pg_catalog.simple'"],
    "my.a": ["'1'", "'it''s \\ \"odd\", really'", "''", "word", "42", "-1.5"],
    "my.b": ["'2'", "$$dollar$$", "U&'\\0041'"],
    "app.tenant": ["'a'", "'b'"],
    "check_function_bodies": ["off", "on"],
    "role": ["'r1'", "r2", "none"],
    "no_such_setting": ["1"],
    "shared_buffers": ["'1MB'"],
}
CUSTOM = ("my.a", "my.b", "app.tenant", "my.touched")
COMMON = ("search_path", "search_path", "TimeZone", "DateStyle", "application_name", "my.a", "my.b", "app.tenant")

READS = (
    "SELECT v FROM t", "SELECT f()", "SELECT current_schemas(false)", "SELECT current_user, session_user",
    "SELECT '2024-02-01 00:00:00+00'::timestamptz AS at", "SELECT '01/02/2024'::date AS d", "SELECT interval '1 day 2 hours' AS i",
    "SELECT '\\x41ff'::bytea AS b", "SELECT 0.1::float8 + 0.2::float8 AS f", "SELECT count(*) FROM work",
    "SELECT current_user, current_setting('role')", "SELECT current_setting('transaction_isolation'), "
    "current_setting('transaction_read_only')", "SELECT n FROM nums ORDER BY n LIMIT 3", "TABLE tenants ORDER BY tenant",
    "SHOW server_version_num", "SELECT 'x' AS \u00fc", "SELECT * FROM work ORDER BY id LIMIT 2", "SELECT 'it''s' AS q, 'a\\b' AS w",
    "VALUES (1, 'one'), (2, 'two')", "SELECT current_database(), current_catalog", "SELECT to_tsvector('the cats')",
    "SELECT octet_length(current_setting('search_path'))",
)

# With parameters: text, types, and sets of values.
PARAMETERS = (
    ("SELECT $1::text AS v", (), (["x"], [None], ["it's"])),
    ("SELECT $1 + $2 AS n", (23, 23), (["1", "2"], ["x", "1"])),
    ("SELECT v FROM t WHERE v <> $1", (), (["none"], ["in s1"])),
    ("SELECT $1::date AS d", (), (["01/02/2024"], ["2024-13-13"])),
    ("SELECT n FROM nums WHERE n > $1 ORDER BY n", (23,), (["990"], ["2000"])),
    ("INSERT INTO work (v) VALUES ($1) RETURNING v", (), (["by Bind"],)),
)
NAMED = ("p1", "p2", "P3", "a name")  # of prepared statements; SQL quotes the last two
NAMES_WITHIN = re.compile(r'EXECUTE "?([^"( ]+(?: name)?)')
CHANNELS_LATE = re.compile(r"\b(COMMIT|END)\b(?!\$).*pg_listening_channels")
ERRORS = ("SELECT 1/0", "SELECT nothing", "SELEC 1", "SELECT * FROM no_such_table", "SELECT 'x'::int", "SELECT f(1)")


def quoted(name):
    return name if name.isidentifier() and name.islower() else '"%s"' % name


def shows_channels_late(ops):
    texts = [""]  # up to a ReadyForQuery each
    for op in ops:
        texts[-1] += " ".join(part for part in op[1:] if isinstance(part, str)) + ";"
        if op[0] in ("sync", "query"):
            texts.append("")
    return any(map(CHANNELS_LATE.search, texts))


def fold(*sets):
    return frozenset().union(*sets)


class Statement:
    """SQL with what a step made of it needs to know."""

    def __init__(self, sql, row, pins=(), frees=(), simple=False, alone=False):
        self.sql, self.row = sql, row
        self.pins, self.frees = frozenset(pins), frozenset(frees)
        self.simple, self.alone = simple, alone


class Words:
    """Makes statements at random."""

    def __init__(self, rng, kept=()):
        self.rng, self.kept = rng, kept

    def name(self):
        """Of a setting; those kept are not touched."""
        while True:
            name = self.rng.choice(COMMON) if self.rng.random() < 0.6 else self.rng.choice(sorted(VALUES))
            if name not in self.kept:
                return name

    def value(self, name):
        return self.rng.choice(VALUES[name])

    def setting(self, client):
        rng = self.rng
        name = self.name()
        value = self.value(name)
        form = rng.random()
        if form < 0.45:
            return Statement("SET %s%s %s %s" % (rng.choice(["", "", "SESSION "]), name, rng.choice(["=", "TO"]), value), "SET carried")
        if form < 0.6:
            return Statement("SET LOCAL %s = %s" % (name, value), "SET LOCAL")
        if form < 0.75:
            return Statement(rng.choice(["RESET %s", "SET %s TO DEFAULT", "SET LOCAL %s TO DEFAULT"]) % name, "SET carried")
        if form < 0.9:
            return self.set_config(name, value)
        return Statement(rng.choice([
            "SET TIME ZONE 'Asia/Kolkata'", "SET TIME ZONE LOCAL", "SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE", "SET NAMES 'LATIN1'",
            "SET NAMES DEFAULT", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET SESSION CHARACTERISTICS AS TRANSACTION READ "
            "WRITE, ISOLATION LEVEL REPEATABLE READ", "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "SET TRANSACTION READ ONLY", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SET LOCAL TIME ZONE 'Cuba'", "RESET TIME ZONE",
            "SET SESSION ROLE r3", "SET LOCAL ROLE r2", "SET CONSTRAINTS ALL DEFERRED", "RESET ALL"]), "SET carried")

    def set_config(self, name, value):
        rng = self.rng
        value = "'%s'" % value.strip("'").replace("''", "'").replace("'", "''").replace("$", "")
        value = "NULL" if rng.random() < 0.1 else value
        local = rng.choice(["false", "false", "true"])
        return Statement(rng.choice([
            "SELECT set_config('%s', %s, %s)" % (name, value, local),
            "SELECT pg_catalog.set_config(name => '%s', is_local => %s, new_value => %s) AS was" % (name, local, value),
            "SELECT set_config('%s', v, %s) FROM (VALUES ('s1'), (%s)) AS l (v)" % (name, local, value),
            "WITH w AS (SELECT set_config('%s', %s, %s) AS v) SELECT v FROM w" % (name, value, local),
            "SELECT 1 WHERE set_config('%s', %s, %s) IS NULL" % (name, value, local)]), "set_config")

    def role(self, client):
        return Statement(self.rng.choice(["SET ROLE r1", "SET ROLE r2", "SET ROLE NONE", "RESET ROLE", "SET ROLE nobody_there", "SET ROLE 'r3'",
                                          "SET SESSION AUTHORIZATION DEFAULT", "RESET SESSION AUTHORIZATION",
                                          "SET SESSION AUTHORIZATION app", "SET LOCAL ROLE r3"]), "roles")

    def transaction(self, client):
        return Statement(self.rng.choice([
            "BEGIN", "BEGIN", "START TRANSACTION READ ONLY", "BEGIN ISOLATION LEVEL REPEATABLE READ", "COMMIT", "COMMIT", "ROLLBACK", "END",
            "ABORT", "SAVEPOINT a", "SAVEPOINT b", "ROLLBACK TO a", "ROLLBACK TO SAVEPOINT b", "RELEASE a", "COMMIT AND CHAIN",
            "ROLLBACK AND CHAIN"]), "SET in transactions")

    def read(self, client):
        rng = self.rng
        if rng.random() < 0.5:
            return Statement(rng.choice(READS), "SET carried")
        name = self.name()
        if name in CUSTOM and rng.random() < 0.5:
            return Statement("SELECT current_setting('%s', true) AS v" % rng.choice(CUSTOM), "custom GUC unset")
        return Statement(rng.choice(["SHOW %s", "SHOW %s", "SELECT current_setting('%s')", "SELECT current_setting('%s', true)"]) % name,
                         "SET carried")

    def error(self, client):
        return Statement(self.rng.choice(ERRORS), "protocol")

    def write(self, client):
        return Statement(self.rng.choice([
            "INSERT INTO work (v) VALUES ('w')", "INSERT INTO work (v) SELECT 'rows' FROM generate_series(1, 3) RETURNING id > 0 AS one",
            "INSERT INTO public.deferred VALUES (%d), (%d)" % (client, client), "SELECT says('hello')", "DELETE FROM work WHERE v = 'none'"]),
            "left to PostgreSQL")

    def sql_prepare(self, client):
        rng = self.rng
        name = quoted(rng.choice(NAMED))
        return Statement(rng.choice([
            "PREPARE %s AS SELECT v FROM t" % name, "PREPARE %s (int) AS SELECT $1 + 1 AS n" % name, "PREPARE %s AS %s" % (name, rng.choice(READS[:12])),
            "PREPARE %s (text) AS INSERT INTO work (v) VALUES ($1)" % name, "PREPARE %s AS SELEC" % name,
            "EXECUTE %s" % name, "EXECUTE %s" % name, "EXECUTE %s (1)" % name, "EXECUTE %s ('x', 2)" % name,
            "EXPLAIN (COSTS OFF) EXECUTE %s" % name, "DEALLOCATE %s" % name, "DEALLOCATE PREPARE %s" % name, "DEALLOCATE ALL"]), "SQL PREPARE")

    def cursor(self, client):
        rng = self.rng
        name = rng.choice(["c1", "c2"])
        which = rng.random()
        if which < 0.3:
            return Statement("DECLARE %s CURSOR WITH HOLD FOR SELECT n, %d AS client FROM nums ORDER BY n" % (name, client), "WITH HOLD cursors",
                             pins=["cursor"])
        if which < 0.4:
            return Statement("DECLARE %s SCROLL CURSOR FOR %s" % (name, rng.choice(READS[:6])), "WITH HOLD cursors")
        if which < 0.8:
            return Statement(rng.choice(["FETCH %s", "FETCH 2 FROM %s", "MOVE 3 FROM %s", "FETCH ABSOLUTE 7 FROM %s"]) % name, "WITH HOLD cursors")
        if which < 0.9:
            return Statement("CLOSE " + name, "WITH HOLD cursors")
        return Statement("CLOSE ALL", "WITH HOLD cursors", frees=["cursor"])

    def lock(self, client):
        rng = self.rng
        own = rng.randint(1, 3) + 10 * client  # nobody waits for a key of one's own
        which = rng.random()
        if which < 0.5:
            return Statement(rng.choice(["SELECT pg_advisory_lock(%d)", "SELECT pg_catalog.pg_advisory_lock_shared(%d)",
                                         "SELECT pg_advisory_lock(5, %d)", "SELECT pg_advisory_lock(k) FROM generate_series(%d, 40) AS k LIMIT 1"]) % own,
                             "advisory locks", pins=["lock"])
        if which < 0.7:
            return Statement(rng.choice(["SELECT pg_try_advisory_lock(7)", "SELECT pg_try_advisory_lock_shared(7)",
                                         "SELECT pg_try_advisory_lock(8, 9)"]), "advisory locks", pins=["lock"])
        if which < 0.8:
            return Statement(rng.choice(["SELECT pg_advisory_xact_lock(%d)" % own, "SELECT pg_try_advisory_xact_lock(7)"]), "advisory locks")
        if which < 0.9:
            return Statement(rng.choice(["SELECT pg_advisory_unlock(%d)" % own, "SELECT pg_advisory_unlock(7)", "SELECT pg_advisory_unlock_shared(7)",
                                         "SELECT pg_advisory_unlock(5, %d)" % own]), "advisory locks")
        return Statement("SELECT pg_advisory_unlock_all()", "advisory locks", frees=["lock"])

    def temp(self, client):
        rng = self.rng
        if rng.random() < 0.35:
            return Statement(rng.choice([
                "CREATE TEMP TABLE tt (v text)", "CREATE TEMP TABLE tt AS SELECT %d AS v" % client, "SELECT 'into'::text AS v INTO TEMP tt",
                "CREATE TEMP TABLE tt ON COMMIT DROP AS SELECT 'short'::text AS v", "CREATE TEMP VIEW tv AS SELECT %d AS n" % client,
                "CREATE TEMP SEQUENCE ts", "CREATE TABLE pg_temp.t AS SELECT 'temporary'::text AS v",
                "CREATE FUNCTION pg_temp.tf() RETURNS int LANGUAGE sql AS 'SELECT %d'" % client,
                "CREATE TEMP TABLE tt (v text) ON COMMIT DELETE ROWS"]), "temporary objects", pins=["temp"])
        return Statement(rng.choice([
            "SELECT * FROM tt", "INSERT INTO tt VALUES ('mine')", "SELECT * FROM tv", "SELECT nextval('ts')", "DROP TABLE tt", "DROP VIEW tv",
            "DROP SEQUENCE IF EXISTS ts"]), "temporary objects")

    def listen(self, client):
        rng = self.rng
        which = rng.random()
        if which < 0.3:
            return Statement("LISTEN " + rng.choice(["ch1", "ch2"]), "LISTEN", pins=["listen"])
        if which < 0.8:
            return Statement(rng.choice(["NOTIFY ch1", "NOTIFY ch1, 'payload of %s'" % NAMES[client], "SELECT pg_notify('ch2', 'x')",
                                         "NOTIFY ch2, 'it''s'"]), "LISTEN")
        if which < 0.86:
            return Statement("UNLISTEN " + rng.choice(["ch1", "ch2"]), "LISTEN")
        if which < 0.93:
            return Statement(rng.choice(["SELECT pg_listening_channels()", "SELECT * FROM pg_listening_channels() ORDER BY 1"]), "own views")
        return Statement("UNLISTEN *", "LISTEN", frees=["listen"])

    def batch(self, client):
        sql = self.rng.choice(["DISCARD ALL", "DISCARD ALL", "DISCARD PLANS", "DISCARD SEQUENCES", "DISCARD TEMP", "RESET ALL", "DEALLOCATE ALL",
                               "CLOSE ALL", "UNLISTEN *", "SELECT pg_advisory_unlock_all()",
                               "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL"])
        frees = {"DISCARD ALL": ["cursor", "lock", "temp", "listen", "opaque", "sequence"], "DISCARD SEQUENCES": ["sequence"], "DISCARD TEMP": ["temp"], "CLOSE ALL": ["cursor"],
                 "UNLISTEN *": ["listen"], "SELECT pg_advisory_unlock_all()": ["lock"]}.get(sql, ())
        if sql.endswith("RESET ALL") and ";" in sql:
            frees = ["lock", "cursor", "listen"]
        return Statement(sql, "reset batches", frees=frees, simple=";" in sql)

    def opaque(self, client):
        rng = self.rng
        name = rng.choice([n for n in COMMON if n not in CUSTOM and n not in self.kept])
        value = self.value(name).strip("'").replace("'", "''")
        sql = rng.choice([
            "DO $$BEGIN PERFORM set_config('%s', '%s', %s); END$$" % (name, value, rng.choice(["false", "true"])),
            "DO $$BEGIN RAISE NOTICE 'from DO %s', 1; END$$",
            "DO $$BEGIN PERFORM set_config('search_path', 's4', false); RAISE EXCEPTION 'fails'; END$$",
            "DO $$BEGIN SET search_path = s3; COMMIT; SET search_path = s4; ROLLBACK; END$$",
            "DO $$BEGIN PERFORM set_config('my.a', 'from DO', false); END$$",
            "CALL commits('search_path', 's2')", "CALL commits_midway('%s', 'mid', 'rolled back')" % name,
        ])
        return Statement(sql, "opaque statements", pins=["opaque"], frees=())

    def sight(self, client):
        """State changed out of sight. What bodies can be read for is not observed, and pins nobody but as its kind."""
        rng = self.rng
        name = self.name()
        value = self.value(name).strip("'").replace("'", "''")
        which = rng.random()
        if which < 0.1:
            return Statement("SELECT public.lock_quietly(%d)" % (4 + 10 * client), "advisory locks", pins=["lock"])
        if which < 0.2:
            return Statement("SELECT public.temp_quietly()", "temporary objects", pins=["temp"])
        return Statement(rng.choice([
            "SELECT public.set_quietly('%s', '%s')" % (name, value), "SELECT public.set_quietly('%s', '%s')" % (name, value),
            "WITH w AS MATERIALIZED (SELECT public.set_quietly('my.b', 'in a WITH')) SELECT count(*) FROM w",
            "INSERT INTO public.touched VALUES ('by %s')" % NAMES[client], "INSERT INTO public.touched VALUES ('1'), ('2')",
            "SELECT public.sets_path()", "SELECT v FROM public.sets", "SELECT public.within()", "CALL public.sets_and_commits()",
            "DO $$BEGIN PERFORM public.set_quietly('%s', '%s'); END$$" % (name, value), "SELECT * FROM hidden",
            "DO $$BEGIN INSERT INTO public.touched VALUES ('in a DO'); END$$"]), "opaque statements")

    def sequence(self, client):
        rng = self.rng
        if rng.random() < 0.2:
            return Statement("DISCARD SEQUENCES", "sequences", frees=["sequence"])
        return Statement(rng.choice([
            "SELECT nextval('public.drawn')", "SELECT nextval('public.work_id_seq'), 1", "SELECT currval('public.drawn')", "SELECT lastval()",
            "SELECT lastval(), currval('public.work_id_seq')", "INSERT INTO work (v) VALUES ('numbered') RETURNING id",
            "SELECT setval('public.drawn', %d)" % (100 + client), "SELECT nextval('public.drawn') = lastval()"]), "sequences")

    def own(self, client):
        return Statement(self.rng.choice([
            "SELECT name, parameter_types, from_sql FROM pg_prepared_statements ORDER BY name",
            "SELECT name, statement FROM pg_prepared_statements WHERE NOT from_sql ORDER BY name",
            "SELECT name, is_holdable, is_scrollable FROM pg_cursors ORDER BY name", "SELECT count(*) FROM pg_prepared_statement()",
            "SELECT pg_listening_channels() ORDER BY 1", "SELECT count(*) FROM pg_listening_channels()"]), "own views")

    def ddl(self, client):
        sql = self.rng.choice([
            "ALTER TABLE shape ADD COLUMN IF NOT EXISTS extra int", "ALTER TABLE shape DROP COLUMN IF EXISTS extra",
            "ALTER TABLE shape ALTER COLUMN n TYPE bigint", "ALTER TABLE shape ALTER COLUMN n TYPE int", "SELECT * FROM shape",
            "PREPARE p1 AS SELECT * FROM shape; EXECUTE p1", "PREPARE p2 AS TABLE shape; EXECUTE p2"])
        return Statement(sql, "prepared statements", simple=";" in sql, alone=True)


WEIGHTS = {"setting": 26, "read": 22, "transaction": 16, "role": 5, "error": 4, "write": 5, "sql_prepare": 8, "cursor": 6, "lock": 6, "temp": 6,
           "listen": 6, "batch": 4, "opaque": 2, "ddl": 1, "sight": 4, "sequence": 0, "own": 0}

FREES = {"cursor": "CLOSE ALL", "lock": "SELECT pg_advisory_unlock_all()", "temp": "DISCARD TEMP", "listen": "UNLISTEN *", "opaque": "DISCARD ALL",
         "sequence": "DISCARD SEQUENCES"}

PROBE = ("SELECT current_user, session_user, current_setting('search_path'), current_setting('TimeZone'), current_setting('DateStyle'), "
         "current_setting('application_name'), current_setting('statement_timeout'), current_setting('work_mem'), "
         "current_setting('client_encoding'), current_setting('standard_conforming_strings'), current_setting('extra_float_digits'), "
         "current_setting('client_min_messages'), current_setting('default_transaction_isolation'), current_setting('default_transaction_read_only'), "
         "current_setting('plan_cache_mode'), current_setting('enable_seqscan'), current_setting('row_security'), current_setting('lock_timeout'), "
         "current_setting('idle_in_transaction_session_timeout'), current_setting('IntervalStyle'), current_setting('bytea_output')")
PROBE_CUSTOM = "SELECT " + ", ".join("current_setting('%s', true)" % name for name in CUSTOM)

ASKS = (("application_name", "asks"),)  # what clients that use currval() are called
START = (
    (), (), (), (("application_name", "from the start"),), (("TimeZone", "Europe/Paris"), ("DateStyle", "SQL, DMY")),
    (("options", "-c search_path=s5 -c my.a=given --work_mem=7MB"),), (("client_encoding", "LATIN1"), ("search_path", "s4, public")),
    (("options", "-c default_transaction_read_only=on -c statement_timeout=70s"),), (("extra_float_digits", "2"), ("application_name", "pgJDBC-like")),
)


class Generator:
    """Steps of one program, from a seed. slots: how many backends it may need at once."""

    def __init__(self, seed, clients, slots, length):
        self.rng = random.Random(seed)
        self.count, self.slots, self.length = clients, slots, length
        self.holding = Holding(clients)
        self.user = "boss" if self.rng.random() < 0.1 else "app"
        self.kinds = dict(WEIGHTS)
        for kind in self.kinds:  # each program has its own leaning
            self.kinds[kind] *= self.rng.choice([0, 1, 1, 1, 3])
        self.numbered = self.rng.random() < 0.15
        self.words = Words(self.rng, ("application_name",) if self.numbered else ())
        if self.numbered:
            self.kinds["sequence"] = 20
        if self.rng.random() < 0.2:
            self.kinds["own"] = 15
        self.kinds["read"] = max(self.kinds["read"], WEIGHTS["read"])
        self.connected = [False] * clients
        self.skipping = [False] * clients

    def after(self, step, player, events):
        self.holding.after(step, player, events)
        self.connected[step.client] = player is not None and not player.closed
        self.skipping[step.client] = self.connected[step.client] and player.skipping

    # statements ------------------------------------------------------------------------------------------------

    def statement(self, client):
        status = self.holding.status[client]
        if status == "E" and self.rng.random() < 0.6:
            return Statement(self.rng.choice(["ROLLBACK", "ROLLBACK TO a", "COMMIT", "ROLLBACK TO b"]), "SET in transactions")
        kind = self.rng.choices(list(self.kinds), list(self.kinds.values()))[0]
        return getattr(self.words, kind)(client)

    def several(self, client, least, most):
        return [self.statement(client) for _ in range(self.rng.randint(least, most))]

    def step(self, client, ops, statements=(), **more):
        pins = fold(more.pop("pins", ()), *(s.pins for s in statements))
        executes = any("EXECUTE" in s.sql for s in statements)
        if executes:
            pins |= self.made[client]
        frees = more.pop("frees", statements[0].frees if len(statements) == 1 else frozenset())
        if self.numbered and "sequence" not in frees:
            pins |= {"sequence"}
        rows = tuple(s.row for s in statements) + tuple(more.pop("rows", ()))
        return Step(client, tuple(ops), pins=pins, frees=frees, rows=rows,
                    alone=any(s.alone for s in statements) or executes and self.shaped[client], **more)

    # ways to say them ------------------------------------------------------------------------------------------

    def by_query(self, client):
        s = self.statement(client)
        return self.step(client, [("query", s.sql)], [s])

    def extended(self, sql):
        ops = [("parse", "", sql), ("bind",)]
        if self.rng.random() < 0.7:
            ops.append(("describe",))
        return ops + [("execute",)]

    def by_extended(self, client):
        s = self.statement(client)
        if s.simple:
            return self.step(client, [("query", s.sql)], [s])
        return self.step(client, self.extended(s.sql) + [("sync",)], [s])

    def by_several(self, client):
        """One simple Query of several statements."""
        said = self.several(client, 2, 4)
        return self.step(client, [("query", "; ".join(s.sql for s in said))], said, rows=["protocol"])

    def by_pipeline(self, client):
        said = [s for s in self.several(client, 2, 5) if not s.simple]
        ops = []
        for s in said:
            ops += self.extended(s.sql)
            if self.rng.random() < 0.4:
                ops.append(("sync",))
        return self.step(client, ops + [("sync",)], said, rows=["protocol"])

    def by_queries(self, client):
        """Several simple Queries in flight."""
        said = self.several(client, 2, 4)
        return self.step(client, [("query", s.sql) for s in said], said, rows=["protocol"])

    def by_flush(self, client):
        said = [s for s in self.several(client, 1, 3) if not s.simple]
        ops = [op for s in said for op in self.extended(s.sql)]
        return self.step(client, ops + [("flush",)], said, read="replies", rows=["protocol"])

    def by_mixture(self, client):
        """A simple Query in the middle of a pipeline."""
        one, two, three = (self.statement(client) for _ in range(3))
        ops = [] if one.simple else self.extended(one.sql)
        ops += [("query", two.sql)] + ([] if three.simple else self.extended(three.sql)) + [("sync",)]
        return self.step(client, ops, [one, two, three], read="mark", rows=["protocol"])

    def by_parse(self, client):
        """A prepared statement of the protocol is made, described, closed."""
        rng = self.rng
        name = rng.choice(NAMED + ("",))
        if rng.random() < 0.35:
            sql, oids, _values = rng.choice(PARAMETERS)
            made, said = [("parse", name, sql, oids)], []
        else:
            s = self.statement(client)
            if s.simple or s.alone or self.round_about(name, s.sql):
                return self.step(client, [("query", s.sql)], [s])
            made, said = [("parse", name, s.sql)], [s]
        ops = rng.choice([[], [], [("close_", "S", name)]]) + made + rng.choice([[], [("describe", "S", name)]])
        return self.step(client, ops + [("sync",)], said, frees=frozenset(), rows=["prepared statements" if name else "unnamed statement"])

    @staticmethod
    def round_about(name, sql):
        """A statement that EXECUTEs one that may EXECUTE it in turn: PostgreSQL runs out of stack."""
        within = NAMES_WITHIN.search(sql)
        return name and within and NAMED.index(within.group(1)) <= NAMED.index(name)

    def by_bind(self, client):
        """…and used in another round, if it is still there. What it does isn't known here: it may pin."""
        rng = self.rng
        if self.holding.status[client] == "E":  # see the README: how many parameters it has may be told too late
            return self.by_query(client)
        name = rng.choice(NAMED + ("", ""))
        portal = rng.choice(["", "", "c9"])
        values = rng.choice([[], [], [], ["x"], ["1", "2"], ["990"]])
        ops = [("bind", portal, name, tuple(values)), ("execute", portal, rng.choice([0, 0, 2]))]
        if rng.random() < 0.3:
            ops = [("describe", "S", name)] + ops
        if rng.random() < 0.3:
            ops.insert(-1, ("describe", "P", portal))
        if ops[-1][2]:
            ops.append(("execute", portal, 1))
        return self.step(client, ops + [("sync",)], pins=self.made[client], rows=["prepared statements" if name else "unnamed statement"])

    def by_portal(self, client):
        """A portal of an earlier round: it lives as long as its transaction."""
        rng = self.rng
        ways = [("execute", "c9", 2), ("execute", "", 1), ("describe", "P", "c9"), ("close_", "P", "c9"), ("execute", "c1", 2)]
        if self.holding.status[client] == "E":  # after a simple Query has failed PostgreSQL dies of it
            ways.remove(("execute", "", 1))
        ops = [rng.choice(ways) for _ in range(rng.randint(1, 2))]
        return self.step(client, ops + [("sync",)], rows=["protocol"])

    def by_close(self, client):
        return self.step(client, [("close_", "S", self.rng.choice(NAMED + ("",))), ("sync",)], rows=["prepared statements"])

    def by_set_config(self, client):
        """Name and value by Bind."""
        name = self.words.name()
        value = self.words.value(name).strip("'")
        ops = [("parse", "", "SELECT set_config($1, $2, %s)" % self.rng.choice(["false", "false", "true"])), ("bind", "", "", (name, value)),
               ("execute",), ("sync",)]
        return self.step(client, ops, pins=["opaque"], rows=["set_config"])

    def by_copy(self, client):
        rng = self.rng
        start = "COPY work (v) FROM STDIN"
        data = rng.choice([[("copy_data", "one\ntwo\n"), ("copy_done",)], [("copy_data", "a\tb\n"), ("copy_done",)],
                           [("copy_data", "x\n"), ("copy_fail", "no more")], [("copy_done",)]])
        if rng.random() < 0.3:
            return self.step(client, [("query", "COPY (SELECT n FROM nums ORDER BY n LIMIT 3) TO STDOUT")], rows=["protocol"])
        if rng.random() < 0.5:
            return self.step(client, [("query", start)] + data, rows=["protocol"])
        close = [("close_", "S", ""), ("sync",)]  # bound once more, it would wait for data
        return self.step(client, [("parse", "", start), ("bind",), ("execute",)] + data + [("sync",)] + close, rows=["protocol"])

    def by_function_call(self, client):
        """int4pl and abs: no state."""
        return self.step(client, [self.rng.choice([("function_call", 177, (1, 2)), ("function_call", 1397, (-3,)), ("function_call", 177, (1,))])],
                         pins=["opaque"], rows=["protocol"])

    def by_empty(self, client):
        return self.step(client, [self.rng.choice([("query", ""), ("sync",), ("query", " ; /* nothing */ ;")])], rows=["protocol"])

    def by_leaving(self, client):
        return self.step(client, [(self.rng.choice(["quit", "drop"]),)], rows=["protocol"])

    WAYS = {"by_query": 40, "by_extended": 24, "by_several": 10, "by_pipeline": 8, "by_queries": 4, "by_flush": 4, "by_mixture": 3, "by_parse": 10,
            "by_bind": 12, "by_portal": 3, "by_close": 3, "by_set_config": 3, "by_copy": 3, "by_function_call": 0.5, "by_empty": 1, "by_leaving": 1}

    # the program -----------------------------------------------------------------------------------------------

    def connect(self, client):
        params = self.rng.choice(START)
        if self.numbered:
            params = tuple(param for param in params if param[0] != "application_name") + ASKS
        return self.step(client, [("connect", self.user, params)], rows=["startup parameters"] if params else [])

    def settle(self, client):
        """Brings a client nearer to holding nothing."""
        if self.holding.flushed[client]:
            return self.step(client, [("sync",)])
        if self.holding.status[client] != "I":
            sql = self.rng.choice(["COMMIT", "COMMIT", "ROLLBACK"]) if self.holding.status[client] == "T" else "ROLLBACK"
            return self.step(client, [("query", sql)], rows=["SET in transactions"])
        pin = sorted(self.holding.pins[client])[0]
        if pin not in FREES:
            return self.step(client, [("quit",)])
        return Step(client, (("query", FREES[pin]),), frees=self.holding.pins[client] if FREES[pin] == "DISCARD ALL" else frozenset([pin]),
                    pins=frozenset(["sequence"] if self.numbered and pin not in ("sequence", "opaque") else ()), rows=("reset batches",))

    def next(self, client):
        if not self.connected[client]:
            return self.connect(client)
        if self.skipping[client]:
            return self.step(client, [("sync",)])
        while True:
            way = self.rng.choices(list(self.WAYS), list(self.WAYS.values()))[0]
            step = getattr(self, way)(client)
            if self.holding.room(step, self.slots) and not shows_channels_late(step.ops):
                return step

    def steps(self):
        """Yields steps; after() has to be told the answer to each before the next."""
        self.made = [frozenset()] * self.count
        self.shaped = [False] * self.count
        for _ in range(self.length):
            linked = [n for n in range(self.count) if self.holding.linked(n)]
            choice = linked if len(linked) >= self.slots else list(range(self.count))
            client = self.rng.choice(choice)
            if client in linked and self.rng.random() < (0.15 if self.slots > len(linked) else 0.25):
                yield self.settle(client)
                continue
            step = self.next(client)
            if any(op[0] == "parse" for op in step.ops):
                self.made[client] |= step.pins
            self.shaped[client] |= step.alone
            yield step
        yield from self.closing()

    def closing(self):
        """Everybody tells what state it is in and leaves; first those who hold a backend."""
        for client in sorted(range(self.count), key=lambda n: not self.holding.linked(n)):
            if not self.connected[client]:
                continue
            if self.holding.flushed[client]:
                yield self.step(client, [("sync",)])
            if self.holding.status[client] != "I":
                yield self.step(client, [("query", "ROLLBACK")])
            yield self.step(client, [("query", PROBE)])
            yield self.step(client, [("query", PROBE_CUSTOM)])
            yield self.step(client, [("quit",)])
