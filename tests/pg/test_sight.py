"""Session state changed out of sight: by what functions, triggers, views and the like do when a statement reaches them."""

import time

import pytest

import servers
from differential import scenario, scripts

PROBE = ("SELECT coalesce(current_setting('my.a', true), '')", "SHOW search_path",
         "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()", "SELECT v FROM s3.t")


def function(name, body, args="", returns="text", language="plpgsql", **how):
    text = "CREATE OR REPLACE FUNCTION scratch.%s(%s) RETURNS %s LANGUAGE %s AS $$%s$$" % (name, args, returns, language, body)
    return text + how.get("more", "")


SETS = function("sets", "BEGIN PERFORM set_config('my.a', 'seen', false); RETURN 'x'; END")
PATH = function("path", "BEGIN SET search_path = s2; RETURN 'x'; END")
HARMLESS = function("sets", "BEGIN RETURN 'x'; END")
TRIGGER = function("fires", "BEGIN PERFORM scratch.sets(); RETURN NEW; END", returns="trigger")
TABLE = "CREATE TABLE scratch.held (v text)"
INSERT = "INSERT INTO scratch.held VALUES ('1')"
OPERATOR = ("CREATE FUNCTION scratch.op(l text, r text) RETURNS text LANGUAGE plpgsql AS "
            "$$BEGIN PERFORM set_config('my.a', l, false); RETURN r; END$$")
TRIGGERED = [SETS, TRIGGER, TABLE,
             "CREATE TRIGGER fires BEFORE INSERT ON scratch.held FOR EACH ROW EXECUTE FUNCTION scratch.fires()"]

test_reached = scripts("opaque statements", {
    "function": [SETS, "SELECT scratch.sets()"],
    "function in a transaction": ["BEGIN", SETS, "SELECT scratch.sets()", "COMMIT"],
    "function rolled back": [SETS, "BEGIN", "SELECT scratch.sets()", "ROLLBACK"],
    "quoted": [SETS, 'SELECT "scratch"."sets" ()'],
    "in unicode": [SETS, r'SELECT scratch.U&"s\0065ts"()'],
    "SET in it": [PATH, "SELECT scratch.path()", "SELECT v FROM t"],
    "function in SQL": [function("insql", "SELECT set_config('my.a', 'sql', false)", language="sql"), "SELECT scratch.insql()"],
    "SQL-standard body": ["CREATE FUNCTION scratch.std() RETURNS text RETURN set_config('my.a', 'std', false)",
                          "SELECT scratch.std()"],
    "SQL-standard body, atomic": [SETS, "CREATE FUNCTION scratch.std2() RETURNS text BEGIN ATOMIC SELECT 1; SELECT scratch.sets(); END",
                                  "SELECT scratch.std2()"],
    "function calling function": [SETS, function("outer2", "BEGIN RETURN scratch.sets(); END"),
                                  function("outer1", "BEGIN RETURN scratch.outer2(); END"), "SELECT scratch.outer1()"],
    "argument names it": [function("named", "BEGIN RETURN set_config(n, v, false); END", "n text, v text"),
                          "SELECT scratch.named('my.a', 'by argument')"],
    "argument of an argument": [function("named", "BEGIN RETURN set_config(n, v, false); END", "n text, v text"),
                                function("names", "SELECT scratch.named($2, $1)", "text, text", language="sql"),
                                "SELECT scratch.names('by argument', 'my.a')"],
    "replaced by one that does": [HARMLESS, "SELECT scratch.sets()", SETS, "SELECT scratch.sets()"],
    "replaced by one that doesn't": [SETS, "SELECT scratch.sets()", HARMLESS, "SELECT scratch.sets()"],
    "dropped and made in another schema": [SETS, "SELECT scratch.sets()", "DROP FUNCTION scratch.sets()",
                                           "CREATE FUNCTION s1.sets() RETURNS text LANGUAGE sql AS "
                                           "$$SELECT set_config('my.a', 'elsewhere', false)$$", "SELECT s1.sets()",
                                           "DROP FUNCTION s1.sets()"],
    "renamed": [SETS, "ALTER FUNCTION scratch.sets() RENAME TO other_name", "SELECT scratch.other_name()"],
    "dynamic, all literal": [function("dyn", "BEGIN EXECUTE 'SET my.a = ' || quote_literal('dyn'); RETURN 'x'; END"),
                             "SELECT scratch.dyn()"],
    "dynamic, by format": [function("dyn", "BEGIN EXECUTE format('SET my.a = %L', 'dyn'); RETURN 'x'; END"),
                           "SELECT scratch.dyn()"],
    "dynamic, out of a variable": [function("dyn", "DECLARE q text := 'SET search_path = s4'; BEGIN EXECUTE q; RETURN 'x'; END"),
                                   "SELECT scratch.dyn()", "SELECT v FROM t"],
    "trigger": TRIGGERED + [INSERT],
    "trigger, by COPY": TRIGGERED + ["COPY scratch.held FROM PROGRAM 'echo 1'", "INSERT INTO scratch.held SELECT 'x'"],
    "trigger, through a view": TRIGGERED + ["CREATE VIEW scratch.w AS SELECT v FROM scratch.held", "INSERT INTO scratch.w VALUES ('1')"],
    "trigger of a partition": [SETS, TRIGGER, "CREATE TABLE scratch.held (v text) PARTITION BY LIST (v)",
                               "CREATE TABLE scratch.p PARTITION OF scratch.held DEFAULT",
                               "CREATE TRIGGER fires BEFORE INSERT ON scratch.held FOR EACH ROW EXECUTE FUNCTION scratch.fires()",
                               INSERT],
    "default": [SETS, "CREATE TABLE scratch.held (n int, v text DEFAULT scratch.sets())", "INSERT INTO scratch.held VALUES (1)"],
    "default set later": [SETS, "CREATE TABLE scratch.held (n int, v text)",
                          "ALTER TABLE scratch.held ALTER v SET DEFAULT scratch.sets()", "INSERT INTO scratch.held VALUES (1)"],
    "default with set_config": ["CREATE TABLE scratch.held (n int, v text DEFAULT set_config('my.a', 'default', false))",
                                "INSERT INTO scratch.held VALUES (1)"],
    "check": [SETS, "CREATE TABLE scratch.held (v text CHECK (scratch.sets() IS NOT NULL))", INSERT],
    "domain": [SETS, "CREATE DOMAIN scratch.dom AS text CHECK (scratch.sets() IS NOT NULL)", "SELECT 'x'::scratch.dom"],
    "operator": [OPERATOR, "CREATE OPERATOR scratch.#~# (LEFTARG = text, RIGHTARG = text, FUNCTION = scratch.op)",
                 "CREATE FUNCTION scratch.op2(l text, r text) RETURNS text LANGUAGE sql AS $$SELECT set_config('my.a', 'op', false)$$",
                 "CREATE OPERATOR scratch.#~~# (LEFTARG = text, RIGHTARG = text, FUNCTION = scratch.op2)",
                 "SELECT 'a'::text OPERATOR(scratch.#~~#) 'b'"],
    "view": [SETS, "CREATE VIEW scratch.w AS SELECT scratch.sets() AS x", "SELECT * FROM scratch.w"],
    "view over view": [SETS, "CREATE VIEW scratch.w AS SELECT scratch.sets() AS x",
                       "CREATE VIEW scratch.ww AS SELECT * FROM scratch.w", "SELECT * FROM scratch.ww"],
    "view with set_config": ["CREATE VIEW scratch.w AS SELECT set_config('my.a', 'view', false) AS x", "SELECT * FROM scratch.w"],
    "rule": [SETS, TABLE, "CREATE RULE r AS ON INSERT TO scratch.held DO ALSO SELECT scratch.sets()", INSERT],
    "procedure": [SETS, "CREATE PROCEDURE scratch.proc() LANGUAGE plpgsql AS $$BEGIN PERFORM scratch.sets(); END$$",
                  "CALL scratch.proc()"],
    "procedure that commits and fails": ["CREATE PROCEDURE scratch.proc() LANGUAGE plpgsql AS "
                                         "$$BEGIN SET my.a = 'kept'; COMMIT; SET my.a = 'lost'; PERFORM 1/0; END$$",
                                         "CALL scratch.proc()"],
    "DO calling it": [SETS, "DO $$BEGIN PERFORM scratch.sets(); END$$"],
    "DO writing to a trigger's table": TRIGGERED + ["DO $$BEGIN INSERT INTO scratch.held VALUES ('1'); END$$"],
    "foreign key that cascades": TRIGGERED[:2] + [
        "CREATE TABLE scratch.mother (v text PRIMARY KEY)",
        "CREATE TABLE scratch.held (v text REFERENCES scratch.mother ON UPDATE CASCADE)",
        "CREATE TRIGGER fires BEFORE INSERT ON scratch.held FOR EACH ROW EXECUTE FUNCTION scratch.fires()",
        "INSERT INTO scratch.mother VALUES ('1')", INSERT],
    "SQL PREPARE of before": [HARMLESS, "PREPARE before AS SELECT scratch.sets()", "EXECUTE before", SETS, "EXECUTE before",
                              "DEALLOCATE before"],
    "EXPLAIN": [SETS, "EXPLAIN (COSTS off) SELECT scratch.sets()", "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off) SELECT scratch.sets()"],
}, PROBE)


@scenario("opaque statements")
def test_row_level_security(s):
    s.client("owner", user="boss").q("CREATE TABLE scratch.own (v text); INSERT INTO scratch.own VALUES ('mine')")
    boss = s.client("boss", user="boss")
    boss.q(SETS)
    boss.q("ALTER TABLE scratch.own ENABLE ROW LEVEL SECURITY")
    boss.q("CREATE POLICY mine ON scratch.own USING (scratch.sets() IS NOT NULL)")
    boss.q("GRANT ALL ON scratch.own TO PUBLIC")
    a = s.client("a")
    a.q("SELECT * FROM scratch.own")
    for sql in PROBE:
        a.q(sql)


@scenario("opaque statements")
def test_event_trigger(s):
    boss = s.client("boss", user="boss")
    boss.q(SETS)
    boss.q("CREATE FUNCTION scratch.ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN PERFORM scratch.sets(); END$$")
    boss.q("CREATE EVENT TRIGGER seen ON ddl_command_end EXECUTE FUNCTION scratch.ddl()")
    a = s.client("a")
    a.q("CREATE TABLE scratch.any (n int)")
    for sql in PROBE:
        a.q(sql)
    boss.q("DROP EVENT TRIGGER seen")


@scenario("opaque statements")
def test_named_statement_of_before(s):
    """What was prepared before a function came to touch the session is seen to do so."""
    a = s.client("a")
    a.q(HARMLESS)
    a.parse("before", "SELECT scratch.sets()").bind("", "before").execute().sync().go()
    a.q(SETS)
    a.bind("", "before").execute().sync().go()
    for sql in PROBE:
        a.q(sql)


@scenario("opaque statements")
def test_bound_argument_names_it(s):
    a = s.client("a")
    a.q(function("named", "BEGIN RETURN set_config(n, v, false); END", "n text, v text"))
    a.parse("", "SELECT scratch.named($1, 'bound')").bind("", "", ["my.a"]).execute().sync().go()
    for sql in PROBE:
        a.q(sql)


@scenario("opaque statements", args={
    "lock": (function("takes", "BEGIN PERFORM pg_advisory_lock(31); RETURN 'x'; END"), "SELECT pg_advisory_unlock(31)"),
    "shared lock in SQL": (function("takes", "SELECT pg_advisory_lock_shared(31)::text", language="sql"),
                           "SELECT pg_advisory_unlock_shared(31)"),
    "temporary table": (function("takes", "BEGIN CREATE TEMP TABLE made (v text); RETURN 'x'; END"), "DROP TABLE made"),
    "held cursor": (function("takes", "BEGIN EXECUTE 'DECLARE c1 CURSOR WITH HOLD FOR SELECT 1'; RETURN 'x'; END"), "CLOSE c1"),
    "channel": (function("takes", "BEGIN LISTEN seen; RETURN 'x'; END"), "UNLISTEN seen"),
})
def test_pins(s, made, ended):
    a = s.client("a")
    a.q(made)
    a.pins("SELECT scratch.takes()")
    a.q("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
    a.q("SELECT count(*) FROM pg_cursors WHERE is_holdable")
    a.frees(ended)
    a.q("SELECT v FROM s1.t")


@scenario("opaque statements")
def test_trigger_takes_a_lock(s):
    a = s.client("a")
    a.q(function("fires", "BEGIN PERFORM pg_advisory_lock(32); RETURN NEW; END", returns="trigger"))
    a.q(TABLE)
    a.q(TRIGGERED[-1])
    a.q("SELECT * FROM scratch.held")
    a.pins(INSERT)
    a.q("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
    a.frees("SELECT pg_advisory_unlock_all()")


# ---- what costs nothing, and what is found otherwise ----


def counter(front, name):
    return next(int(row["value"]) for row in front.show("COUNTERS") if row["name"] == name)


def read_of(front, n):
    """Waits for the n-th line of the log that says a catalogue was read, and returns all of them."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        lines = [line for line in front.process.lines if "catalogue read" in line]
        if len(lines) >= n:
            return lines
        time.sleep(0.02)
    raise AssertionError("no catalogue was read:\n" + front.process.output())


@pytest.fixture
def admin(cluster):
    cluster.tidy()
    with cluster.admin() as conn:
        yield conn


@pytest.mark.row("opaque statements")
def test_other_statements_are_not_observed(start_pooler, admin):
    """A trigger on writing costs a reader nothing, nor does a procedure or a DO that leaves nothing cost a server connection."""
    for sql in TRIGGERED:
        admin.value(sql)
    admin.value("GRANT ALL ON scratch.held TO PUBLIC")
    admin.value("CREATE PROCEDURE scratch.plain() LANGUAGE plpgsql AS $$BEGIN PERFORM 1; END$$")
    front = start_pooler()
    with front.connect(1) as conn:
        pid = conn.value("SELECT pg_backend_pid()")
        before = counter(front, "observations")
        for sql in ("SELECT * FROM scratch.held", "SELECT 1", "SELECT v FROM s1.t FOR SHARE", "UPDATE s1.t SET v = v",
                    "CALL scratch.plain()", "DO $$BEGIN PERFORM 1; END$$", "SELECT says('x')"):
            conn.q(sql)
        assert counter(front, "observations") == before
        conn.value("SELECT scratch.sets()")
        assert counter(front, "observations") == before + 1
        assert conn.value("SELECT pg_backend_pid()") == pid


@pytest.mark.row("opaque statements")
def test_reload_finds_what_was_made_past_pgporter(start_pooler, admin):
    front = start_pooler()
    with front.connect(1) as conn:
        conn.value("SELECT 1")
        n = len(read_of(front, 1))
        admin.value("CREATE FUNCTION scratch.later() RETURNS text LANGUAGE sql AS $$SELECT set_config('my.a', 'later', false)$$")
        admin.value("CREATE VIEW scratch.later_view AS SELECT scratch.later() AS v")
        admin.value("GRANT ALL ON scratch.later_view TO PUBLIC")
        with front.console() as console:
            console.q("RELOAD")
        read_of(front, n + 1)
        conn.value("SELECT v FROM scratch.later_view")
        with front.connect(1) as other:
            assert other.value("SELECT coalesce(current_setting('my.a', true), '')") == ""
        assert conn.value("SELECT current_setting('my.a', true)") == "later"


@pytest.mark.row("opaque statements")
def test_what_was_there_before_is_known_to_the_first_client(start_pooler, admin):
    """Every kind of way to a function, found in the catalogue rather than in passing."""
    for sql in TRIGGERED + [
            OPERATOR, "CREATE OPERATOR scratch.#~# (LEFTARG = text, RIGHTARG = text, FUNCTION = scratch.op)",
            "CREATE VIEW scratch.w AS SELECT scratch.sets() AS x", "CREATE VIEW scratch.ww AS SELECT * FROM scratch.w",
            "CREATE VIEW scratch.direct AS SELECT set_config('my.a', 'direct', false) AS x",
            "CREATE TABLE scratch.def (n int, v text DEFAULT scratch.sets())",
            "CREATE TABLE scratch.def2 (n int, v text DEFAULT set_config('my.a', 'x', false))",
            "CREATE DOMAIN scratch.dom AS text CHECK (scratch.sets() IS NOT NULL)",
            "CREATE TABLE scratch.has_dom (v scratch.dom)",
            "CREATE TABLE scratch.checked (v text CHECK (scratch.sets() IS NOT NULL))",
            "CREATE TABLE scratch.mother (v text PRIMARY KEY)",
            "CREATE TABLE scratch.child (v text REFERENCES scratch.mother ON UPDATE CASCADE)",
            "INSERT INTO scratch.mother VALUES ('1'); INSERT INTO scratch.child VALUES ('1')",
            function("fires2", "BEGIN INSERT INTO scratch.held VALUES ('1'); RETURN NEW; END", returns="trigger") + " SECURITY DEFINER",
            "CREATE TRIGGER fires BEFORE UPDATE ON scratch.child FOR EACH ROW EXECUTE FUNCTION scratch.fires2()",
            "CREATE TABLE scratch.parted (v text) PARTITION BY LIST (v)",
            "CREATE TABLE scratch.part PARTITION OF scratch.parted DEFAULT",
            "CREATE TRIGGER fires BEFORE INSERT ON scratch.part FOR EACH ROW EXECUTE FUNCTION scratch.fires()",
            "CREATE TABLE scratch.own (v text); ALTER TABLE scratch.own ENABLE ROW LEVEL SECURITY; "
            "INSERT INTO scratch.own VALUES ('x')",
            "CREATE POLICY mine ON scratch.own USING (scratch.sets() IS NOT NULL)",
            "CREATE FUNCTION scratch.adds(t text, x text) RETURNS text LANGUAGE plpgsql AS "
            "$$BEGIN PERFORM scratch.sets(); RETURN x; END$$",
            "CREATE AGGREGATE scratch.agg(text) (SFUNC = scratch.adds, STYPE = text)",
            "CREATE FUNCTION scratch.reads() RETURNS text LANGUAGE sql AS $$SELECT x FROM scratch.ww$$",
            "CREATE FUNCTION scratch.std() RETURNS text " + (
                "BEGIN ATOMIC SELECT scratch.sets(); END" if servers.pg_version() >= 14 else "LANGUAGE sql AS 'SELECT scratch.sets()'"),
            "CREATE TABLE scratch.ruled (v text)",
            "CREATE RULE r AS ON INSERT TO scratch.ruled DO ALSO SELECT scratch.sets()",
            "CREATE PROCEDURE scratch.proc() LANGUAGE plpgsql AS $$BEGIN PERFORM scratch.reads(); END$$",
            "GRANT ALL ON ALL TABLES IN SCHEMA scratch TO PUBLIC"]:
        admin.value(sql)
    front = start_pooler()
    for sql in ("SELECT scratch.sets()", INSERT, "SELECT 'a'::text OPERATOR(scratch.#~#) 'b'", "SELECT * FROM scratch.w",
                "SELECT * FROM scratch.ww", "SELECT * FROM scratch.direct", "INSERT INTO scratch.def VALUES (1)",
                "INSERT INTO scratch.def2 VALUES (1)", "SELECT 'x'::scratch.dom", "INSERT INTO scratch.has_dom VALUES ('x')",
                "INSERT INTO scratch.checked VALUES ('x')", "UPDATE scratch.mother SET v = v || '1'",
                "INSERT INTO scratch.parted VALUES ('x')", "SELECT * FROM scratch.own", "SELECT scratch.agg(v) FROM s1.t",
                "SELECT scratch.reads()", "SELECT scratch.std()", "INSERT INTO scratch.ruled VALUES ('x')", "CALL scratch.proc()"):
        before = counter(front, "observations")
        with front.connect(1) as conn:
            assert not [event for event in conn.q(sql) if event[0] == "ErrorResponse"], sql
            assert counter(front, "observations") == before + 1, sql


@pytest.mark.row("opaque statements")
def test_a_catalogue_that_cannot_be_read_is_told_and_leaves_the_rest_as_it_is(start_pooler, cluster, admin):
    admin.value("REVOKE SELECT ON pg_catalog.pg_depend FROM PUBLIC")
    try:
        front = start_pooler()
        with front.connect(1) as conn:
            assert conn.value("SELECT 1") == "1"
            conn.q("DO $$BEGIN SET search_path = s1; END$$")
            assert conn.value("SELECT v FROM t") == "in s1"
        assert "catalogue not read" in front.process.output()
    finally:
        admin.value("GRANT SELECT ON pg_catalog.pg_depend TO PUBLIC")


@pytest.mark.row("opaque statements")
def test_dynamic_sql_is_observed_and_its_server_connection_closed(start_pooler, admin):
    admin.value(function("anything", "BEGIN EXECUTE q; RETURN 'x'; END", "q text"))
    front = start_pooler()
    with front.connect(1) as conn:
        pid = conn.value("SELECT pg_backend_pid()")
        conn.value("SELECT scratch.anything('SET search_path = s2')")
        assert conn.value("SELECT v FROM t") == "in s2"
        assert conn.value("SELECT pg_backend_pid()") != pid


@pytest.mark.row("opaque statements")
def test_a_reading_under_way_forgets_nothing_that_was_made_meanwhile(start_pooler, admin):
    """A function of a transaction that is still open isn't in the catalogue yet, and is known all the same."""
    front = start_pooler()
    with front.connect(2) as conn, front.connect(2) as other:
        conn.q("BEGIN")
        conn.q(SETS)
        n = len(read_of(front, 1))
        with front.console() as console:
            console.q("RELOAD")
        other.q("SELECT 1")
        read_of(front, n + 1)
        conn.value("SELECT scratch.sets()")
        conn.q("COMMIT")
        with front.connect(2) as third, front.connect(2) as fourth:
            third.q("BEGIN")
            assert third.value("SELECT coalesce(current_setting('my.a', true), '')") == ""
            assert fourth.value("SELECT coalesce(current_setting('my.a', true), '')") == ""
            third.q("COMMIT")
        assert conn.value("SELECT current_setting('my.a', true)") == "seen"


@pytest.mark.row("opaque statements")
def test_operators_say_what_functions_do(start_pooler, admin):
    admin.value(function("anything", "BEGIN EXECUTE q; RETURN 'x'; END", "q text"))
    front = start_pooler({"stateless_functions": "scratch.anything", "state_functions": "says:lock"})
    with front.connect(1) as conn:
        pid = conn.value("SELECT pg_backend_pid()")
        before = counter(front, "observations")
        conn.value("SELECT scratch.anything('SELECT 1')")
        assert counter(front, "observations") == before
        conn.value("SELECT says('x')")
        assert counter(front, "observations") == before + 1
        assert conn.value("SELECT pg_backend_pid()") == pid
