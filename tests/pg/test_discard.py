"""DISCARD and its kin, and the batches by which drivers reset a connection."""

import pytest

import servers
from differential import scenario, scripts

SET = ("SET search_path = s1", "SET TimeZone = 'Asia/Tokyo'", "SET my.a = 'x'", "PREPARE p1 AS SELECT 1", "SET ROLE r1")
PROBE = ("SHOW search_path", "SHOW TimeZone", "SELECT coalesce(current_setting('my.a', true), '')", "EXECUTE p1",
         "SELECT current_user", "SHOW application_name")

BATCHES = {
    "DISCARD ALL": ["DISCARD ALL"],
    "DISCARD PLANS": ["DISCARD PLANS"],
    "DISCARD SEQUENCES": ["DISCARD SEQUENCES"],
    "DISCARD TEMP": ["DISCARD TEMP", "DISCARD TEMPORARY"],
    "RESET ALL": ["RESET ALL"],
    "CLOSE ALL": ["CLOSE ALL"],
    "UNLISTEN": ["UNLISTEN *"],
    "unlock": ["SELECT pg_advisory_unlock_all()"],
    "DEALLOCATE ALL": ["DEALLOCATE ALL"],
    "DEALLOCATE PREPARE ALL": ["DEALLOCATE PREPARE ALL"],
    "asyncpg": ["SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;"],
    "asyncpg in a transaction": ["BEGIN", "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;",
                                 "ROLLBACK"],
    "Npgsql": ["DISCARD ALL"],
    "psycopg": ["DEALLOCATE ALL"],
    "psycopg2": ["RESET ALL", "SET SESSION AUTHORIZATION DEFAULT"],
    "roles": ["RESET ROLE", "RESET SESSION AUTHORIZATION"],
    "psqlODBC": ["SET DateStyle = 'ISO';SET extra_float_digits = 2;show transaction_isolation"],
    "JDBC": ["SET extra_float_digits = 3", "SET application_name = 'PostgreSQL JDBC Driver'"],
    "full by hand": ["CLOSE ALL", "SET SESSION AUTHORIZATION DEFAULT", "RESET ALL", "DEALLOCATE ALL", "UNLISTEN *",
                     "SELECT pg_advisory_unlock_all()", "DISCARD PLANS", "DISCARD TEMP", "DISCARD SEQUENCES"],
    "ROLLBACK first": ["ROLLBACK", "DISCARD ALL"],
    "DISCARD ALL in a transaction": ["BEGIN", "DISCARD ALL", "SELECT 1", "ROLLBACK"],
    "DISCARD ALL among others": ["SELECT 1; DISCARD ALL", "DISCARD ALL; SELECT 1"],
    "RESET ALL rolled back": ["BEGIN", "RESET ALL", "DEALLOCATE ALL", "ROLLBACK"],
    "RESET ROLE rolled back": ["BEGIN", "RESET ROLE", "RESET SESSION AUTHORIZATION", "ROLLBACK"],
    "DISCARD PLANS in a transaction": ["BEGIN", "DISCARD PLANS", "DISCARD SEQUENCES", "DISCARD TEMP", "COMMIT"],
    "wrong": ["DISCARD", "DISCARD NOTHING", "DISCARD ALL ALL"],
    "CLOSE unknown": ["CLOSE c1", "DEALLOCATE nothing", "UNLISTEN nothing"],
    "spelled oddly": ["/* x */ discard\n all ;", "  DISCARD ALL;  "],
}

test_after_a_lot = scripts("reset batches", {name: SET + tuple(batch) for name, batch in BATCHES.items()}, PROBE,
                           application_name="from the start", search_path="s2")
test_with_nothing_to_reset = scripts("reset batches", BATCHES, PROBE)


@scenario("reset batches")
def test_others_do_not_notice(s):
    a, b = s.client("a"), s.client("b")
    for sql in SET:
        a.q(sql)
    a.parse("p2", "SELECT 'kept'::text").sync().go()
    for batch in BATCHES.values():
        for sql in batch:
            if not batch[0].startswith("BEGIN"):
                b.q(sql)
    for sql in PROBE:
        a.q(sql)
    a.bind("", "p2").execute().sync().go()


@scenario("reset batches")
def test_ends_every_pin(s):
    a = s.client("a")
    a.pins("DECLARE c1 CURSOR WITH HOLD FOR SELECT 1")
    a.q("SELECT pg_advisory_lock(1)")
    a.q("CREATE TEMP TABLE tt (n int)")
    a.frees("DISCARD ALL")
    a.q("SELECT * FROM tt")
    a.q("FETCH c1")
    a.q("SELECT pg_advisory_unlock(1)")


@scenario("reset batches")
def test_some_pins_stay(s):
    a = s.client("a")
    a.pins("DECLARE c1 CURSOR WITH HOLD FOR SELECT 1")
    a.q("SELECT pg_advisory_lock(1)")
    a.q("RESET ALL")
    a.q("CLOSE ALL")
    a.q("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
    a.frees("SELECT pg_advisory_unlock_all()")
    a.q("FETCH c1")


@scenario("reset batches")
def test_startup_comes_back(s):
    a = s.client("a", options="-c search_path=s3 -c my.a=start", TimeZone="Asia/Kolkata")
    a.q("SET search_path = s1; SET TimeZone = 'UTC'; SET my.a = 'x'")
    a.q("DISCARD ALL")
    for sql in PROBE:
        a.q(sql)


@pytest.mark.row("reset batches")
@pytest.mark.skipif(servers.POOLER != "pgporter", reason="a direct connection is its own backend, PgBouncer asks for one")
@pytest.mark.parametrize("driver", ["asyncpg", "Npgsql", "psycopg", "psycopg2", "roles"])
def test_with_nothing_to_reset_none_reaches_a_backend(pooler, driver):
    """They are answered while another client holds the only one there is."""
    with pooler.connect(1) as holder, pooler.connect(1) as other:
        holder.value("BEGIN")
        for batch in BATCHES[driver]:
            other.q(batch)
            assert other.status == "I"
        assert holder.value("SELECT 1") == "1"
        holder.value("COMMIT")


@scenario("reset batches", args={"by simple queries": (False,), "by extended ones": (True,)})
def test_discard_plans_ends_what_functions_keep(s, extended):
    """A record's field has one type in a cached plan; DISCARD PLANS is the way to give it another."""
    a, b = s.client("a"), s.client("b")
    say = a.x if extended else a.q
    a.q("CREATE FUNCTION scratch.shows(sql text) RETURNS text LANGUAGE plpgsql AS $$DECLARE r record; t text; "
        "BEGIN EXECUTE sql INTO r; SELECT pg_typeof(r.a) INTO t; RETURN t || r.a; END$$")
    b.q("PREPARE p AS SELECT v FROM s1.t")
    a.parse("n", "SELECT 1 AS one").sync().go()
    say("SELECT scratch.shows('SELECT 1 AS a')")
    for value in ("2.5", "'x'::text", "true"):
        say("DISCARD PLANS")
        say("SELECT scratch.shows('SELECT %s AS a')" % value)
    say("BEGIN")
    for value in ("2.5", "'x'::text", "true"):
        say("DISCARD PLANS")
        say("SELECT scratch.shows('SELECT %s AS a')" % value)
    say("COMMIT")
    a.bind("", "n").execute().sync().go()
    b.q("EXECUTE p")
    say("DROP FUNCTION scratch.shows(text)")


@scenario("reset batches")
def test_its_portal_ends_with_it(s):
    a = s.client("a", search_path="s4, public")
    a.parse("", "DISCARD ALL").bind().execute().execute().sync().go()
    a.parse("", "DISCARD ALL").bind("c1").execute("c1").bind("c1").execute("c1").close_("P", "c1").sync().go()
    a.parse("", "DISCARD ALL").bind().execute().describe("P", "").parse("", "SELECT 1").sync().go()
    a.parse("", "DISCARD ALL").bind().execute().parse("", "SHOW search_path").bind().execute().sync().go()


@scenario("reset batches")
def test_one_that_was_parsed_before_runs_in_no_transaction(s):
    a = s.client("a", search_path="s4, public")
    a.q("SET search_path = s1")
    a.parse("d", "DISCARD ALL").sync().go()
    a.q("BEGIN")
    a.bind("", "d").execute().sync().go()
    a.q("ROLLBACK")
    a.q("SHOW search_path")
    a.parse("", "SELECT 1").bind().execute().bind("", "d").execute().sync().go()
    a.bind("", "d").execute().sync().go()
    a.q("SHOW search_path")
    a.parse("", "DISCARD ALL").sync().go()
    a.parse("b", "BEGIN").bind("", "b").execute().sync().go()
    a.bind("", "").execute().sync().go()
    a.q("SELECT 1")
    a.q("ROLLBACK")
    a.parse("", "DISCARD ALL").sync().go()
    a.bind("", "b").execute().bind("", "").execute().sync().go()
    a.q("ROLLBACK")
    a.parse("", "DISCARD ALL").bind().execute().sync().go()
    a.bind("", "b").execute().sync().go()


@scenario("reset batches")
def test_reset_all_whose_commit_fails(s):
    """The last statement's tag comes when the transaction is committed, or not at all."""
    a = s.client("a", application_name="from the start", TimeZone="Europe/Paris")
    a.q("INSERT INTO public.deferred VALUES (1), (1); RESET ALL")
    a.q("INSERT INTO public.deferred VALUES (1), (1); RESET TimeZone")
    a.q("SET TimeZone = 'Asia/Tokyo'; SELECT 1")
    a.q("INSERT INTO public.deferred VALUES (1), (1); RESET ALL; SELECT 1")
    a.q("SHOW TimeZone; RESET ALL")
    a.q("SHOW TimeZone; SHOW application_name")


@scenario("reset batches", args={"DISCARD ALL": ("DISCARD ALL",), "RESET ALL": ("RESET ALL",)})
def test_behind_a_commit_in_one_batch(s, reset):
    """Whether the COMMIT was one is not known then; what is given back is."""
    a = s.client("a", client_encoding="LATIN1", search_path="s4, public")
    a.q("BEGIN")
    a.q("SET search_path = s2; SET client_encoding = 'UTF8'")
    a.parse("", "COMMIT").bind().execute().parse("", reset).bind().execute().sync().sync().go(2)
    a.q("SELECT v FROM t; SHOW client_encoding")
    a.q("BEGIN; SET client_encoding = 'UTF8'; SELECT 1/0")
    a.parse("", "COMMIT").bind().execute().parse("", reset).bind().execute().sync().sync().go(2)
    a.q("SELECT v FROM t; SHOW client_encoding")


@scenario("reset batches")
def test_discard_all_twice_in_a_batch(s):
    """It may not follow anything else there; what it gives back waits."""
    a = s.client("a", application_name="from the start", client_encoding="LATIN1")
    for between in (("bind",), ("describe",), ("describe", "S"), ("close_", "S", "p")):
        a.parse("", "DISCARD ALL").parse("", "DISCARD ALL").bind().execute()
        getattr(a, between[0])(*between[1:])
        (a if between[0] == "bind" else a.bind()).describe().execute().sync().go()
        a.parse("", "DISCARD ALL").parse("", "DISCARD ALL").bind().execute().bind()
        getattr(a, between[0])(*between[1:])
        a.execute().sync().go()
    for _ in range(3):
        a.parse("", "DISCARD ALL").bind().execute()
    a.sync().go()
    a.pins("SELECT pg_advisory_lock(31)")
    a.parse("", "DISCARD ALL").bind().execute().bind().execute().parse("", "SHOW application_name").bind().execute().sync().go()
    a.frees("SHOW client_encoding")


@scenario("reset batches")
def test_an_error_right_behind_discard_all(s):
    a = s.client("a", application_name="from the start", client_encoding="LATIN1")
    a.pins("SELECT pg_advisory_lock(31)")
    a.parse("", "DISCARD ALL").bind().execute().execute("c9").sync().go()
    a.frees("SHOW client_encoding; SHOW application_name")


@scenario("reset batches")
def test_a_transaction_right_behind_discard_all_is_rolled_back(s):
    a = s.client("a", options="-c default_transaction_read_only=on")
    for end in ("ROLLBACK", "COMMIT"):
        a.q("SELECT set_config('TimeZone', '-3.5', false)")
        a.parse("", "DISCARD ALL").bind().execute().parse("", "START TRANSACTION READ ONLY").bind().execute().sync().go()
        a.q(end)
        a.q("SHOW TimeZone")


@scenario("reset batches", args={sql.split()[0]: (sql,) for sql in (
    "SELEC 1", "SELECT 1/0", "DO $$BEGIN PERFORM set_config('search_path', 's3', false); RAISE EXCEPTION 'fails'; END$$",
    "SET search_path = s3", "BEGIN")})
def test_what_discard_all_gave_back_stays_whatever_becomes_of_its_batch(s, sql):
    a = s.client("a", TimeZone="Asia/Tokyo", search_path="s1")
    for reads_each in (True, False):
        a.q("SET TimeZone = 'Europe/Berlin'; SET search_path = s2; SET extra_float_digits = -5")
        a.parse("", "DISCARD ALL").bind().execute()
        if reads_each:
            a.flush().until("CommandComplete")
        a.parse("", sql).bind().execute().execute("c9").sync().go()
        a.q("ROLLBACK")
        a.q("SHOW TimeZone; SHOW search_path; SHOW extra_float_digits")


@scenario("reset batches")
def test_a_portal_bound_behind_discard_all(s):
    a = s.client("a", search_path="s1")
    for sql in ("SELEC 1", "SELECT 1"):
        a.q("SET extra_float_digits = -5; SET search_path = s2")
        a.parse("", "DISCARD ALL").bind().execute().bind().parse("", sql).bind().execute().sync().go()
        a.q("SHOW search_path; SHOW extra_float_digits")


@scenario("reset batches", args={sql: (sql,) for sql in ("SELECT 1", "SET TimeZone = 'Europe/Paris'", "SET LOCAL TimeZone = 'Europe/Paris'")})
def test_savepoints_right_behind_discard_all(s, sql):
    a = s.client("a", TimeZone="Asia/Tokyo")
    a.q("SET TimeZone = 'Europe/Berlin'")
    a.parse("", "DISCARD ALL").bind().execute()
    for step in ("BEGIN ISOLATION LEVEL SERIALIZABLE", sql, "SAVEPOINT a", "SELECT 1/0"):
        a.parse("", step).bind().execute()
    a.sync().go()
    a.q("ROLLBACK TO a")
    a.q("SHOW TimeZone; SHOW transaction_isolation")
    a.q("ROLLBACK")
    a.q("SHOW TimeZone")


@scenario("reset batches")
def test_a_pinned_client_s_discard_all_and_an_error_in_its_batch(s):
    a = s.client("a", TimeZone="Asia/Tokyo", search_path="s1")
    a.q("SET TimeZone = 'Europe/Berlin'; SET search_path = s2")
    a.pins("SELECT pg_advisory_lock(31)")
    a.parse("", "DISCARD ALL").bind().execute().parse("", "BEGIN").bind().execute().parse("", "SELECT 1/0").bind().execute().sync().go()
    a.q("ROLLBACK")
    a.frees("SHOW TimeZone; SHOW search_path")


@scenario("reset batches")
def test_discard_all_by_simple_query_right_behind_one_in_a_batch(s):
    a = s.client("a", client_encoding="LATIN1", search_path="s1")
    for between in ((), ("SELECT 1",)):
        for change in ("SELECT 1", "SET client_encoding = 'UTF8'; SET search_path = s2"):
            a.q(change)
            a.parse("", "DISCARD ALL").bind().execute()
            for sql in between:
                a.parse("", sql).bind().execute()
            a.query("DISCARD ALL").sync().go(2)
            a.q("SHOW client_encoding; SHOW search_path")
    a.pins("SELECT pg_advisory_lock(31)")
    a.parse("", "DISCARD ALL").bind().execute().query("DISCARD ALL").sync().go(2)
    a.frees("SHOW search_path")


@scenario("reset batches", args={str(between): (between,) for between in ((), ("bind",), ("bind", "describe"), ("named",), ("execute",))})
def test_discard_all_behind_one_and_what_was_bound_and_never_run(s, between):
    a = s.client("a", TimeZone="Asia/Tokyo", search_path="s1")
    for change in ("SELECT 1", "SET TimeZone = 'Europe/Berlin'; SET search_path = s2"):
        for last in ("extended", "simple"):
            a.q(change)
            a.parse("", "DISCARD ALL").bind().execute()
            if between:
                name = "p" if "named" in between else ""
                a.parse(name, "SELECT current_setting('search_path')").bind("", name)
                if "describe" in between:
                    a.describe("P", "")
                if "execute" in between:
                    a.execute()
            if last == "simple":
                a.query("DISCARD ALL").sync().go(2)
            else:
                a.parse("", "DISCARD ALL").bind().execute().sync().go()
            a.q("SHOW TimeZone; SHOW search_path")
            a.close_("S", "p").sync().go()


@scenario("reset batches", args={reset: (reset,) for reset in ("RESET ALL", "DISCARD ALL")})
def test_no_snapshot_is_taken_for_what_is_given_back_in_a_batch(s, reset):
    a = s.client("a", options="-c default_transaction_read_only=on -c statement_timeout=70s", TimeZone="Asia/Tokyo")
    for begin in ("BEGIN ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE"):
        a.parse("", reset).bind().execute().parse("", begin).bind().execute().sync().go()
        a.q("SHOW transaction_isolation; SHOW transaction_read_only; SHOW statement_timeout; SHOW TimeZone")
        a.q("ROLLBACK")
        a.q("SHOW transaction_isolation; SHOW transaction_read_only; SHOW statement_timeout; SHOW TimeZone")


LOCALLY = {
    "in one text": ["SET LOCAL search_path TO DEFAULT; RESET ALL"],
    "in a block": ["BEGIN", "SET LOCAL search_path TO DEFAULT", "SHOW search_path", "RESET ALL", "SHOW search_path", "COMMIT"],
    "all in one text": ["BEGIN; SET LOCAL search_path TO DEFAULT; RESET ALL; SHOW search_path; COMMIT"],
    "rolled back": ["BEGIN", "SET LOCAL search_path TO DEFAULT", "RESET ALL", "ROLLBACK"],
    "twice": ["BEGIN", "SET LOCAL search_path TO DEFAULT; RESET ALL; RESET ALL", "RESET ALL", "COMMIT"],
    "set behind it": ["BEGIN", "SET LOCAL search_path TO DEFAULT", "SET search_path = s3", "RESET ALL", "SHOW search_path", "COMMIT"],
    "set behind RESET ALL": ["BEGIN; SET LOCAL search_path TO DEFAULT; RESET ALL; SET search_path = s3; COMMIT"],
    "set in the same transaction": ["BEGIN; SET search_path = s3; SET LOCAL search_path TO DEFAULT; RESET ALL; COMMIT"],
    "local value": ["BEGIN; SET LOCAL search_path = s3; RESET ALL; COMMIT"],
    "local value behind it": ["BEGIN; SET LOCAL search_path TO DEFAULT; SET LOCAL search_path = s3; RESET ALL; COMMIT"],
    "the transaction before": ["BEGIN; SET LOCAL search_path TO DEFAULT; COMMIT; BEGIN; RESET ALL; COMMIT"],
    "another one": ["BEGIN", "SET LOCAL TimeZone TO DEFAULT", "RESET ALL", "COMMIT"],
    "several": ["BEGIN", "SET LOCAL TimeZone TO DEFAULT; SET LOCAL my.a TO DEFAULT; SET LOCAL work_mem TO DEFAULT", "RESET ALL",
                "SHOW my.a", "COMMIT", "SHOW work_mem"],
    "set_config()": ["BEGIN", "SELECT set_config('search_path', NULL, true)", "RESET ALL", "SHOW search_path", "COMMIT"],
    "set_config() to a value": ["BEGIN", "SELECT set_config('search_path', 's3', true)", "RESET ALL", "SHOW search_path", "COMMIT"],
    "savepoint rolled back": ["BEGIN", "SAVEPOINT a", "SET LOCAL search_path TO DEFAULT", "ROLLBACK TO a", "RESET ALL", "COMMIT"],
}
LOCALLY_SET = ("SET search_path = s1", "SET TimeZone = 'Asia/Tokyo'", "SET my.a = 'x'", "SET work_mem = '9MB'")
LOCALLY_PROBE = ("SHOW search_path", "SHOW TimeZone", "SHOW my.a", "SHOW work_mem")

test_reset_all_leaves_what_is_at_its_default_for_the_transaction = scripts(
    "reset batches", {name: LOCALLY_SET + tuple(script) for name, script in LOCALLY.items()}, LOCALLY_PROBE)
test_reset_all_leaves_what_is_at_its_startup_value_for_the_transaction = scripts(
    "reset batches", {name: LOCALLY_SET + tuple(script) for name, script in LOCALLY.items()}, LOCALLY_PROBE,
    search_path="s4, public", TimeZone="Europe/Paris", options="-c my.a=start")


@scenario("reset batches", args={"alone": (), "with startup values": (("search_path", "s4, public"), ("TimeZone", "Europe/Paris"))})
def test_reset_all_by_extended_protocol_leaves_what_is_at_its_default_for_the_transaction(s, *startup):
    a = s.client("a", **dict(startup))
    for sql in LOCALLY_SET:
        a.q(sql)
    a.parse("", "SET LOCAL search_path TO DEFAULT").bind().execute().parse("", "RESET ALL").bind().execute() \
        .parse("", "SHOW search_path").bind().execute().sync().go()
    for sql in LOCALLY_PROBE:
        a.q(sql)
    for sql in LOCALLY_SET:
        a.q(sql)
    for sql in ("BEGIN", "SET LOCAL TimeZone TO DEFAULT", "RESET ALL", "SHOW TimeZone", "COMMIT"):
        a.parse("", sql).bind().execute().sync().go()
    for sql in LOCALLY_PROBE:
        a.q(sql)


@scenario("startup parameters", need=2)
def test_discard_all_in_a_batch_behind_what_has_ended_its_transaction(s):
    a = s.client("a", application_name="from the start", search_path="s3")
    for text in ("SELECT set_config('search_path', 's2, public', false)", "SET search_path = s2", "SELECT set_config('TimeZone', 'Asia/Tokyo', true)"):
        a.parse("", text).bind().execute().flush()
        a.parse("", "END").bind().execute().query("DISCARD ALL").sync().query("").until("EmptyQueryResponse")
        a.q("SHOW search_path; SHOW application_name; SHOW TimeZone")
