"""Statements whose text does not tell what they do to the session: the backend is asked."""

import os

import pytest

import servers
from differential import scenario, scripts

PROBE = ("SHOW search_path", "SELECT coalesce(current_setting('my.a', true), '')", "SELECT current_user", "SHOW TimeZone")

test_carried = scripts("opaque statements", {
    "DO with set_config": ["DO $$BEGIN PERFORM set_config('search_path', 's1', false); END$$", "SELECT v FROM t"],
    "DO with a computed name": ["DO $$BEGIN PERFORM set_config('search' || '_path', 's1', false); END$$",
                                "SELECT v FROM t"],
    "DO with SET": ["DO $$BEGIN SET search_path = s1; SET my.a = 'x'; END$$", "SELECT v FROM t"],
    "DO with EXECUTE": ["DO $$BEGIN EXECUTE 'SET TIME' || ' ZONE ''Asia/Tokyo'''; END$$"],
    "DO with role": ["DO $$BEGIN SET ROLE r1; END$$"],
    "DO that fails": ["SET search_path = s2", "DO $$BEGIN SET search_path = s1; RAISE 'no'; END$$", "SELECT v FROM t"],
    "DO rolled back": ["BEGIN", "DO $$BEGIN SET search_path = s1; END$$", "ROLLBACK"],
    "DO with its own exception block": ["DO $$BEGIN BEGIN SET search_path = s1; PERFORM 1/0; EXCEPTION WHEN OTHERS "
                                        "THEN SET my.a = 'caught'; END; END$$"],
    "CALL": ["CALL commits_midway('my.a', 'one', 'two')"],
    "CALL after set": ["SET search_path = s2, public", "CALL commits_midway('search_path', 's1, public', 's3')",
                       "SELECT v FROM t"],
    "function resets": ["SET search_path = s1", "DO $$BEGIN RESET search_path; END$$"],
    "RESET ALL inside": ["SET search_path = s1", "SET TimeZone = 'Asia/Tokyo'", "DO $$BEGIN RESET ALL; END$$"],
    "function with a SET clause": ["CREATE FUNCTION scratch.g() RETURNS text LANGUAGE sql SET search_path = s4 AS "
                                   "$$SELECT v FROM s4.t$$", "SELECT scratch.g()"],
    "a name never seen before": ["DO $$BEGIN PERFORM set_config('my.a', 'new', false); END$$"],
    "in a transaction with SET": ["BEGIN", "SET search_path = s2", "DO $$BEGIN SET search_path = s1; END$$", "COMMIT"],
    "nothing at all": ["DO $$BEGIN END$$", "SELECT 1"],
}, PROBE)


test_own_functions = scripts("opaque statements", {
    "settings": ["SELECT set_quietly('search_path', 's1')", "SELECT v FROM t"],
    "named by a view": ["CREATE VIEW scratch.w AS SELECT set_quietly('my.a', 'by the view')::text AS x",
                        "SELECT * FROM scratch.w", "SHOW my.a"],
    "called by a trigger": ["SET search_path = s2, public", "INSERT INTO touched VALUES ('fired')", "SHOW my.touched",
                            "SELECT v FROM t"],
}, PROBE)


@scenario("opaque statements")
def test_own_function_takes_a_lock(s):
    a = s.client("a")
    a.pins("SELECT lock_quietly(7)")
    a.q("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
    a.frees("SELECT pg_advisory_unlock(7)")
    a.q("SELECT 1")


@scenario("opaque statements")
def test_own_function_makes_a_table(s):
    a = s.client("a")
    a.pins("SELECT temp_quietly()")
    a.q("SELECT * FROM hidden")
    a.frees("DROP TABLE hidden")
    a.q("SELECT * FROM hidden")


@scenario("opaque statements")
def test_lock_in_a_do(s):
    a = s.client("a")
    a.pins("DO $$BEGIN PERFORM pg_advisory_lock(20); END$$")
    a.q("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
    a.frees("DO $$BEGIN PERFORM pg_advisory_unlock(20); END$$")
    a.q("SELECT pg_advisory_unlock(20)")


@scenario("opaque statements")
def test_temp_in_a_do(s):
    a = s.client("a")
    a.pins("DO $$BEGIN CREATE TEMP TABLE tt AS SELECT 'by do'::text AS v; END$$")
    a.q("SELECT * FROM tt")
    a.frees("DO $$BEGIN DROP TABLE tt; END$$")
    a.q("SELECT * FROM tt")


@scenario("opaque statements")
def test_cursor_by_execute(s):
    a = s.client("a")
    a.pins("DO $$BEGIN EXECUTE 'DECLARE c1 CURSOR WITH HOLD FOR SELECT 5'; END$$")
    a.q("FETCH c1")
    a.frees("DO $$BEGIN EXECUTE 'CLOSE c1'; END$$")
    a.q("FETCH c1")


@scenario("opaque statements", args={
    "MERGE with RETURNING": ("MERGE INTO nums USING (SELECT 1 AS n) AS x ON false WHEN NOT MATCHED THEN DO NOTHING "
                             "RETURNING nums.n",),
    "JSON_TABLE": ("SELECT * FROM JSON_TABLE('[1]', '$[*]' COLUMNS (n int PATH '$'))",),
    "OLD and NEW": ("UPDATE nums SET n = n WHERE false RETURNING WITH (OLD AS o) o.n",),
    "not SQL": ("FROBNICATE THE DATABASE",),
    "broken string": ("SELECT 'open",),
    "broken comment": ("SELECT 1 /* open",),
    "broken dollar": ("SELECT $x$ open",),
    "set_config inside": ("SELECT set_config('search_path', 's1', false) FROM JSON_TABLE('[1]', '$')",),
    "invalid bytes": (b"SELECT '\xff\xfe'",),
})
def test_what_the_parser_cannot_read(s, sql):
    a = s.client("a")
    a.q("SET search_path = s2")
    a.q(sql)
    a.q("SELECT v FROM t")
    if isinstance(sql, str):
        a.x(sql)
        a.q("SELECT v FROM t")


@scenario("opaque statements", args={
    "plus": ("1" + "+1" * 4000,), "parentheses": ("(" * 600 + "1" + ")" * 600,),
    "comments": ("/*" * 3000 + "*/" * 3000 + "1",), "wide": ("ARRAY[" + ",".join(["1"] * 20000) + "] IS NULL",),
    "long string": ("length('" + "x" * 300000 + "')",),
})
def test_deep_and_wide(s, expression):
    """What would cost a parser its stack or its day still runs, and SET around it is carried."""
    a = s.client("a")
    a.q("SET search_path = s1")
    a.q("SELECT %s" % expression)
    a.q("SELECT v FROM t")
    a.q("SELECT %s; SELECT set_config('search_path', 's2', false)" % expression)
    a.q("SELECT v FROM t")


@scenario("left to PostgreSQL")
def test_procedure_that_commits(s):
    a = s.client("a")
    a.q("SET search_path = s1, public")
    a.q("CREATE PROCEDURE scratch.c() LANGUAGE plpgsql AS $$BEGIN CREATE TABLE scratch.one (n int); COMMIT; "
        "CREATE TABLE scratch.two (n int); ROLLBACK; END$$")
    a.q("CALL scratch.c()")
    a.q("SELECT to_regclass('scratch.one') IS NOT NULL, to_regclass('scratch.two') IS NOT NULL")
    a.q("BEGIN")
    a.q("CALL scratch.c()")
    a.q("ROLLBACK")
    a.q("SELECT v FROM t")


@scenario("left to PostgreSQL")
def test_chains(s):
    a = s.client("a")
    a.q("SET search_path = s1")
    a.q("BEGIN ISOLATION LEVEL REPEATABLE READ")
    a.q("COMMIT AND CHAIN")
    a.q("SHOW transaction_isolation")
    a.q("SELECT 1/0")
    a.q("ROLLBACK AND CHAIN")
    a.q("SHOW transaction_isolation")
    a.q("SELECT v FROM t")
    a.q("COMMIT")
    a.q("COMMIT AND CHAIN")
    a.q("SELECT v FROM t")


@scenario("left to PostgreSQL")
def test_two_phase(s):
    a, b = s.client("a"), s.client("b")
    a.q("SET search_path = s1")
    a.q("BEGIN")
    a.q("CREATE TABLE scratch.two_phase AS SELECT v FROM t")
    a.q("PREPARE TRANSACTION 'two phase'")
    a.q("SELECT v FROM t")
    b.q("COMMIT PREPARED 'two phase'")
    a.q("SELECT * FROM scratch.two_phase")
    b.q("ROLLBACK PREPARED 'nothing'")


@scenario("left to PostgreSQL", need=2)
def test_snapshot(s):
    a, b = s.client("a"), s.client("b")
    a.q("SET search_path = s1")
    a.q("BEGIN ISOLATION LEVEL REPEATABLE READ")
    s.note("        (the snapshot's name is taken)")
    a.query("SELECT pg_export_snapshot() IS NOT NULL").go()
    b.q("SHOW search_path")
    b.q("BEGIN ISOLATION LEVEL REPEATABLE READ")
    b.q("SET TRANSACTION SNAPSHOT 'nonsense'")
    b.q("ROLLBACK")
    a.q("COMMIT")
    a.q("SELECT v FROM t")


@scenario("left to PostgreSQL")
def test_statements_that_refuse_a_transaction(s):
    a = s.client("a")
    a.q("SET search_path = scratch")
    a.q("CREATE TABLE big (n int)")
    a.q("VACUUM big")
    a.q("CREATE INDEX CONCURRENTLY big_n ON big (n)")
    a.q("DROP INDEX CONCURRENTLY big_n")
    a.x("VACUUM big")
    a.q("BEGIN")
    a.q("VACUUM big")
    a.q("ROLLBACK")
    a.q("SHOW search_path")


@scenario("opaque statements")
def test_what_can_t_be_set_is_not_carried(s):
    """Nor is it asked for where only others may read it."""
    a = s.client("a", application_name="from the start")
    for name in ("shared_buffers", "data_directory"):
        for sql in ("DO $$BEGIN PERFORM set_quietly('%s', '1'); EXCEPTION WHEN OTHERS THEN NULL; END$$", "SELECT set_quietly('%s', '1')",
                    "CALL commits_midway('%s', 'mid', 'rolled back')"):
            a.q(sql % name)
            a.q("SELECT v FROM t")
            a.x(sql % name)
            a.parse("", "SELECT nothing").bind().execute().parse("", sql % name).bind().execute().sync().go()
            a.q("BEGIN; %s" % sql % name)
            a.q("ROLLBACK")
            a.q("SHOW application_name")


NO_SETTING = {
    "what can't be read": "SYNTAX ERROR",
    "DO": "DO $$BEGIN EXECUTE 'SEL' || 'ECT 1'; END$$",
    "set_config": "SELECT set_config('role', 'none', false)",
    "DO with a role and back": "DO $$BEGIN SET ROLE r1; RESET ROLE; END$$",
    "DO with none": "DO $$BEGIN PERFORM set_config('role', 'none', false); END$$",
}


@pytest.mark.skipif(servers.POOLER != "pgporter" or os.environ.get("CARRY") == "0", reason="about how pgporter itself does it")
@pytest.mark.parametrize("sql", NO_SETTING.values(), ids=NO_SETTING)
def test_no_role_found_costs_no_settings_at_a_switch(pooler, sql):
    with pooler.connect(1) as a, pooler.connect(1) as b:
        before = replays(pooler)
        for _ in range(3):
            a.q(sql)
            assert b.value("SELECT current_user") == a.value("SELECT current_user") == "app"
        assert replays(pooler) == before


def replays(pooler):
    return {row["name"]: int(row["value"]) for row in pooler.show("COUNTERS")}["replays"]
