"""Rules: what operators decide about session state and pins, each seen to work on a real PostgreSQL."""

import re
import threading
import time

import pytest

import rawpg
import servers
import test_limits as limits

pytestmark = pytest.mark.skipif(servers.POOLER != "pgporter", reason="pgporter's rules")

# kind of state: a statement that has to do with it
TOUCHES = {
    "settings": "SET search_path = s1",
    "role": "SET ROLE r1",
    "prepared": "PREPARE ruled AS SELECT 1",
    "cursor": "DECLARE ruled CURSOR WITH HOLD FOR SELECT 1",
    "lock": "SELECT pg_advisory_lock(7701)",
    "temp": "CREATE TEMP TABLE ruled (v int)",
    "listen": "LISTEN ruled",
    "sequence": "SELECT lastval()",
    "opaque": "DO $$BEGIN EXECUTE concat('SELECT ', '1'); END$$",
    "session_state": "SELECT setseed(0.5)",
}
PINS_BY_ITSELF = ("cursor", "lock", "temp", "listen", "session_state")
REASONS = {"cursor": "held cursor", "lock": "advisory lock", "temp": "temporary object", "listen": "listen",
           "session_state": "session state", "settings": "setting", "role": "role", "prepared": "prepared statement",
           "opaque": "opaque statement", "sequence": "sequence value"}


def fields(events):
    """The fields of the one ErrorResponse among the events."""
    found = [dict(f.split("=", 1) for f in event[1:]) for event in events if event[0] == "ErrorResponse"]
    assert len(found) == 1, events
    return found[0]


def fields_or_none(events):
    return [event for event in events if event[0] == "ErrorResponse"]


def fine(events):
    assert not [e for e in events if e[0] == "ErrorResponse"], events
    return events


def values(events):
    return [event[1] for event in events if event[0] == "DataRow"]


def until(test, deadline=10):
    end = time.monotonic() + deadline
    while True:
        got = test()
        if got:
            return got
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


def pins(pooler, database=None, user=None):
    return [row for row in pooler.show("PINS") if database in (None, row["database"]) and user in (None, row["user"])]


def counter(pooler, name):
    return int(next(row["value"] for row in pooler.show("COUNTERS") if row["name"] == name))


def reload(pooler):
    pooler.write()
    with pooler.console() as console:
        return console.q("RELOAD")


@pytest.fixture(scope="module")
def pooler(cluster):
    """A database for each kind and action; all of them have one server connection."""
    databases = {"plain": "pool_size=1"}
    for kind in TOUCHES:
        for action in ("refuse", "ignore", "pin"):
            databases["%s_%s" % (kind, action)] = "pool_size=1 state_%s=%s" % (kind, action)
    databases["strict"] = "pool_size=1 state_preset=strict"
    databases["strict_but"] = "pool_size=1 state_preset=strict state_lock=pin"
    databases["like_pgbouncer"] = "pool_size=1 state_preset=pgbouncer"
    databases["mixed"] = "pool_size=1 state_preset=pgbouncer state_lock=pin"
    front = servers.Pooler(cluster, {"server_idle_timeout": 2}, databases)
    try:
        yield front
    finally:
        front.stop()


# Refuse -----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", TOUCHES)
def test_refuse_sends_the_statement_back_and_names_the_rule(pooler, kind):
    before = counter(pooler, "refused")
    with pooler.connect(database=kind + "_refuse") as conn:
        got = fields(conn.q(TOUCHES[kind]))
        assert (got["V"], got["C"]) == ("ERROR", "0A000")
        assert "state_%s = refuse (database %s_refuse)" % (kind, kind) in got["D"] and "state_" + kind in got["H"]
        assert conn.status == "I" and conn.value("SELECT 1") == "1"
        assert not pins(pooler, kind + "_refuse")
    assert counter(pooler, "refused") == before + 1
    assert pooler.process.wait_line("statement refused: .*state_%s = refuse" % kind)


@pytest.mark.parametrize("kind", TOUCHES)
def test_refuse_in_a_transaction_fails_it(pooler, kind):
    with pooler.connect(database=kind + "_refuse") as conn:
        conn.q("BEGIN")
        got = fields(conn.q(TOUCHES[kind]))
        assert (got["V"], got["C"]) == ("ERROR", "0A000") and "state_%s = refuse" % kind in got["D"] and "W" not in got
        assert conn.status == "E"
        assert fields(conn.q(TOUCHES[kind]))["C"] == "25P02"
        conn.q("ROLLBACK")
        assert conn.status == "I" and conn.value("SELECT 1") == "1"


@pytest.mark.parametrize("kind", TOUCHES)
def test_refuse_in_a_pipeline_skips_to_its_sync(pooler, kind):
    with pooler.connect(database=kind + "_refuse") as conn:
        for begun in (False, True):
            if begun:
                conn.q("BEGIN")
            conn.parse("", TOUCHES[kind]).bind().execute().parse("", "SELECT 2").bind().execute().sync()
            events = conn.go()
            assert [e[0] for e in events] == ["ErrorResponse", "ReadyForQuery"] and fields(events)["C"] == "0A000"
            assert conn.status == ("E" if begun else "I")
            conn.q("ROLLBACK")
            # A statement before it in the same pipeline has run, and is rolled back with it.
            conn.parse("", "SELECT 1").bind().execute().parse("", TOUCHES[kind]).bind().execute().sync()
            events = conn.go()
            assert values(events) == ["1"] and fields(events)["C"] == "0A000" and conn.status == "I"


def test_refuse_of_prepared_statements_is_of_named_ones(pooler):
    with pooler.connect(database="prepared_refuse") as conn:
        assert values(conn.x("SELECT $1::int + 1", ["1"])) == ["2"]
        got = fields(conn.x("SELECT 1", statement="named"))
        assert got["C"] == "0A000" and "state_prepared = refuse" in got["D"]


def test_a_text_with_one_refused_statement_does_not_run_at_all(pooler):
    with pooler.connect(database="temp_refuse") as conn:
        conn.q("CREATE TABLE IF NOT EXISTS refused (v int)")
        events = conn.q("INSERT INTO refused VALUES (1); CREATE TEMP TABLE x (v int); COMMIT")
        assert fields(events)["C"] == "0A000" and conn.value("SELECT count(*) FROM refused") == "0"
        conn.q("DROP TABLE refused")


def test_drivers_reset_batches_are_never_refused(pooler):
    for database in ("strict", "lock_refuse", "listen_refuse", "settings_refuse"):
        with pooler.connect(database=database) as conn:
            for text in ("SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL", "DISCARD ALL", "BEGIN", "RESET ALL",
                         "SELECT pg_advisory_unlock_all()", "SET LOCAL search_path = s1", "COMMIT"):
                fine(conn.q(text))


def test_what_is_refused_and_only_seen_afterwards_ends_the_client(pooler, cluster):
    with pooler.connect(database="lock_refuse") as conn, cluster.admin() as admin:
        conn.q("DO $$BEGIN EXECUTE concat('SELECT pg_advisory', '_lock(7702)'); END$$")
        got = fields(conn.read_eof())
        assert (got["V"], got["C"]) == ("FATAL", "0A000") and "state_lock = refuse" in got["D"], got
        until(lambda: admin.value("SELECT pg_try_advisory_lock(7702)") == "t")
    with pooler.connect(database="lock_refuse") as conn:
        assert conn.value("SELECT 1") == "1"


# Ignore -----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", TOUCHES)
def test_ignore_counts_and_pins_nothing(pooler, kind):
    database, before = kind + "_ignore", counter(pooler, "ignored")
    with pooler.connect(database=database) as conn, pooler.connect(database=database) as other:
        conn.q(TOUCHES[kind])
        assert counter(pooler, "ignored") == before + 1
        assert not pins(pooler, database)
        assert other.value("SELECT 1") == "1"  # there is one server connection


def test_ignored_state_is_left_where_it_happened(pooler):
    left = {"settings": ("SHOW search_path", "s1"), "role": ("SELECT current_user", "r1"),
            "prepared": ("EXECUTE ruled", "1"), "cursor": ("FETCH ruled", "1"), "temp": ("SELECT count(*) FROM pg_temp.ruled", "0"),
            "lock": ("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()", "1"),
            "listen": ("SELECT pg_listening_channels()", "ruled")}
    for kind, (question, answer) in left.items():
        with pooler.connect(database=kind + "_ignore") as conn:
            conn.q(TOUCHES[kind])
            with pooler.connect(database=kind + "_ignore") as other:
                assert other.value(question) == answer, kind


def test_ignored_state_is_not_met_by_a_client_whose_rules_keep_it(start_pooler):
    pooler = start_pooler(databases={"one": "pool_size=1 user=app"}, users={"other": "state_settings=ignore", "boss": "state_preset=pgbouncer"})
    with pooler.connect(database="one", user="app") as kept, pooler.connect(database="one", user="other") as loose, \
            pooler.connect(database="one", user="boss") as raw:
        kept.q("SET search_path = s2")
        loose.q("SET search_path = s1")
        assert loose.value("SHOW search_path") == "s1"
        assert kept.value("SELECT v FROM t") == "in s2"
        raw.q("SET search_path = s3")
        assert raw.value("SHOW search_path") == "s3"
        assert kept.value("SELECT v FROM t") == "in s2"
        with pooler.connect(database="one", user="app") as fresh:
            raw.q("SET search_path = s3")
            assert fresh.value("SHOW search_path") == '"$user", public'


# Pin --------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", TOUCHES)
def test_pin_keeps_the_server_connection_and_says_why(pooler, kind):
    database = kind + "_pin"
    with pooler.connect(database=database) as conn:
        conn.value("SELECT 1")
        assert not pins(pooler, database)
        got = conn.q(TOUCHES[kind])
        assert kind == "sequence" or fine(got)
        held = until(lambda: pins(pooler, database))
        assert [row["reason"] for row in held] == [REASONS[kind]], held
        assert held[0]["statement"] == TOUCHES[kind] and held[0]["rule"] == "state_%s = pin (database %s)" % (kind, database)
        if kind not in ("opaque", "session_state"):
            conn.q("DISCARD ALL")
            until(lambda: not pins(pooler, database))


# Whose word it is ---------------------------------------------------------------------------------------------------------

def test_the_users_line_beats_the_databases_and_that_the_global(start_pooler):
    pooler = start_pooler({"state_lock": "refuse"}, {"d": "pool_size=2 state_lock=ignore", "e": "pool_size=2 state_preset=strict"},
                          {"other": "state_lock=pin", "boss": "state_preset=pgporter"})
    for database, user, rule in (("p1", "app", "refuse (all databases)"), ("d", "app", "ignored"), ("d", "other", "pinned"),
                                 ("p1", "other", "pinned"), ("p1", "boss", "pinned"), ("d", "boss", "pinned"), ("e", "other", "pinned"),
                                 ("e", "app", "state_preset = strict (database e)")):
        with pooler.connect(database=database, user=user) as conn:
            events = conn.q("SELECT pg_advisory_lock_shared(7703)")
            if rule == "pinned":
                until(lambda: pins(pooler, database, user))
            elif rule == "ignored":
                fine(events)
                assert not pins(pooler, database, user)
            else:
                assert rule in fields(events)["D"]


def test_rules_change_by_reload_for_clients_that_are_there(start_pooler):
    pooler = start_pooler(databases={"d": "pool_size=2"})
    with pooler.connect(database="d") as conn, pooler.connect(database="d") as holder:
        fine(conn.q("LISTEN a"))
        fine(conn.q("UNLISTEN a"))
        fine(holder.q("SELECT pg_advisory_lock(7704)"))
        fine(conn.x("SELECT 1", statement="before"))
        pooler.databases["d"] = "pool_size=2 state_preset=strict state_prepared=refuse"
        fine(reload(pooler))
        assert "state_preset = strict (database d)" in fields(conn.q("SELECT pg_advisory_lock(1)"))["D"]
        assert fields(conn.x("SELECT 1", statement="after"))["C"] == "0A000"
        conn.bind("", "before").execute().sync()
        assert values(conn.go()) == ["1"]  # what a session has already stays
        assert holder.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()") == "1"
        assert fields(holder.q("SELECT pg_advisory_lock(7704)"))["C"] == "0A000"
        pooler.databases["d"] = "pool_size=2 state_preset=pgbouncer"
        fine(reload(pooler))
        fine(conn.q("SET search_path = s1"))
        pooler.databases["d"] = "pool_size=2"
        fine(reload(pooler))
        fine(conn.q("SET search_path = s2"))
        with pooler.connect(database="d") as other:
            assert other.value("SHOW search_path") == '"$user", public'
        assert conn.value("SELECT v FROM t") == "in s2"


def test_set_on_the_console_changes_a_rule(start_pooler):
    pooler = start_pooler()
    with pooler.connect(1) as conn, pooler.console() as console:
        fine(console.q("SET state_temp = refuse"))
        assert "state_temp = refuse (all databases)" in fields(conn.q(TOUCHES["temp"]))["D"]
        assert "no value for state_temp; write one of default, pin, refuse, ignore" in fields(console.q("SET state_temp = carried"))["D"]
        fine(console.q("SET state_temp = default"))
        fine(conn.q(TOUCHES["temp"]))


@pytest.mark.parametrize("options, databases, users, says", [
    ({"state_lock": "carry"}, {}, {}, r"pooler.ini:\d+: state_lock = carry: such state can't be made again"),
    ({"state_preset": "lax"}, {}, {}, r'pooler.ini:\d+: "lax" is no value for state_preset; write one of pgporter, strict, pgbouncer'),
    ({}, {"d": "state_temp=maybe"}, {}, r'pooler.ini:\d+: database d: "maybe" is no value for state_temp; write one of default, pin, refuse, ignore'),
    ({}, {}, {"app": "state_lok=pin"}, r'pooler.ini:\d+: user app: "state_lok" is no key of a user line; did you mean state_lock'),
    ({"max_pins": "many"}, {}, {}, r'pooler.ini:\d+: "many" is no value for max_pins'),
    ({"state_functions": "f:locks"}, {}, {}, r'pooler.ini:\d+: state_functions: "locks" is no kind of state, did you mean lock'),
    ({"stateless_functions": "f, g:lock"}, {}, {}, r"pooler.ini:\d+: stateless_functions takes names only"),
    ({}, {"d": "state_functions='f(int)'"}, {}, r'pooler.ini:\d+: database d: state_functions: "\(int\)" is not expected'),
])
def test_a_bad_rule_is_told_with_file_line_and_remedy(pooler, options, databases, users, says):
    was = pooler.options, pooler.databases, pooler.users
    try:
        pooler.options, pooler.databases, pooler.users = {**was[0], **options}, {**was[1], **databases}, {**was[2], **users}
        assert re.search(says, fields(reload(pooler))["D"]), fields(reload(pooler))
    finally:
        pooler.options, pooler.databases, pooler.users = was
        fine(reload(pooler))


# Presets ------------------------------------------------------------------------------------------------------------------

def test_strict_refuses_what_would_pin_and_carries_the_rest(pooler):
    with pooler.connect(database="strict") as conn:
        for kind in set(PINS_BY_ITSELF) - {"listen"} | {"sequence"}:
            got = fields(conn.q(TOUCHES[kind]))
            assert got["C"] == "0A000" and "state_preset = strict (database strict)" in got["D"], (kind, got)
        for text in ("SET pgporter.pin = on", "SELECT set_config('search_' || 'path', 's1', false)"):
            got = fields(conn.q(text))
            assert got["C"] == "0A000" and "state_preset = strict (database strict)" in got["D"], (text, got)
        fine(conn.q("SET search_path = s1"))
        fine(conn.q("DO $$BEGIN END$$"))
        fine(conn.q("LISTEN mine; UNLISTEN mine"))
        fine(conn.q("PREPARE mine AS SELECT v FROM t"))
        with pooler.connect(database="strict") as other:
            other.q("SET search_path = s2")
        assert conn.value("EXECUTE mine") == "in s1"
        conn.q("DO $$BEGIN EXECUTE concat('CREATE TE', 'MP TABLE seen_later (v int)'); END$$")
        got = fields(conn.read_eof())
        assert (got["V"], got["C"]) == ("FATAL", "0A000") and "state_preset = strict" in got["D"]


def test_an_option_of_its_own_beats_the_preset(pooler):
    with pooler.connect(database="strict_but") as conn:
        fine(conn.q(TOUCHES["lock"]))
        until(lambda: pins(pooler, "strict_but"))
        assert fields(conn.q(TOUCHES["temp"]))["C"] == "0A000"


def test_the_preset_pgbouncer_keeps_nothing(pooler):
    with pooler.connect(database="like_pgbouncer") as conn, pooler.connect(database="like_pgbouncer") as other:
        for kind in PINS_BY_ITSELF:
            fine(conn.q(TOUCHES[kind]))
        conn.q("SET search_path = s1")
        assert other.value("SHOW search_path") == "s1" and not pins(pooler, "like_pgbouncer")
        other.q("SET search_path = s2")
        assert conn.value("SHOW search_path") == "s2"
        fine(conn.x("SELECT 1", statement="same"))
        assert fields(other.x("SELECT 2", statement="same"))["C"] == "42P05"
        # What PostgreSQL reports is kept there too.
        for zone, one in (("Asia/Tokyo", conn), ("Europe/Paris", other)):
            fine(one.q("SET TimeZone = '%s'" % zone))
        assert conn.value("SHOW TimeZone") == "Asia/Tokyo"
        for sql in ("BEGIN", "SET TimeZone = 'UTC'", "ROLLBACK"):
            fine(conn.q(sql))
        assert other.value("SHOW TimeZone") == "Europe/Paris" and conn.value("SHOW TimeZone") == "Asia/Tokyo"


def test_the_preset_pgbouncer_with_one_kind_kept(pooler):
    with pooler.connect(database="mixed") as conn, pooler.connect(database="mixed", deadline=0.5) as other:
        conn.q("SET search_path = s1")
        assert other.value("SHOW search_path") == "s1"
        fine(conn.x("SELECT 1", statement="same"))
        fine(other.x("SELECT 2", statement="same"))
        fine(conn.q(TOUCHES["lock"]))
        until(lambda: pins(pooler, "mixed"))
        with pytest.raises(rawpg.Deadline):
            other.q("SELECT 1")


# How many pins -------------------------------------------------------------------------------------------------------------

LISTENS = {
    "by a simple Query": lambda c: c.q("LISTEN x"),
    "by Bind and Execute": lambda c: c.parse("", "LISTEN x").bind().execute().sync().go(),
    "in a transaction": lambda c: (c.q("BEGIN"), c.q("LISTEN x"), c.q("ROLLBACK"))[1],
}


@pytest.mark.parametrize("listen", LISTENS.values(), ids=LISTENS)
def test_beyond_max_pins_a_listen_that_cannot_be_shared_is_refused_before_it_runs(start_pooler, listen):
    """What is notified comes in the server's encoding to who listens for all."""
    pooler = start_pooler(databases={"d": "pool_size=2 max_pins=1"})
    with pooler.connect(database="d") as one, pooler.connect(database="d") as two:
        fine(one.q("SELECT pg_advisory_lock(7712)"))
        fine(two.q("SET client_encoding = 'LATIN1'"))
        for _ in range(2):
            got = fields(listen(two))
            assert got["C"] == "53400" and "max_pins = 1" in got["D"]
            fine(two.q("SELECT 1"))
        one.q("SELECT pg_advisory_unlock(7712)")
        until(lambda: not pins(pooler, "d"))
        fine(listen(two))


def test_beyond_max_pins_a_statement_that_would_pin_is_refused_before_it_runs(start_pooler, cluster):
    pooler = start_pooler(databases={"d": "pool_size=4 max_pins=2 state_listen=pin"})
    with pooler.connect(database="d") as one, pooler.connect(database="d") as two, pooler.connect(database="d") as three, \
            cluster.admin() as admin:
        fine(one.q("SELECT pg_advisory_lock(7710)"))
        fine(one.q("LISTEN more"))  # who is pinned may have more reasons
        fine(two.q("LISTEN one"))
        for sql in ("SELECT pg_advisory_lock(7711)", "SET pgporter.pin = on", "CREATE TEMP TABLE over (v int)"):
            got = fields(three.q(sql))
            assert got["C"] == "53400" and got["M"] == "too many pinned sessions" and "max_pins = 2" in got["D"] and "SHOW PINS" in got["H"]
        assert admin.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7711") == "0"
        three.q("BEGIN")
        assert fields(three.q("LISTEN x"))["C"] == "53400" and three.status == "E"
        three.q("ROLLBACK")
        three.parse("", "LISTEN x").bind().execute().sync()
        assert fields(three.go())["C"] == "53400"
        two.q("UNLISTEN *")
        until(lambda: len(pins(pooler, "d")) == 1)
        fine(three.q("LISTEN x"))
        assert fields(two.q("LISTEN one"))["C"] == "53400"
        one.drop()
        until(lambda: len(pins(pooler, "d")) == 1)
        fine(two.q("LISTEN one"))


def test_a_place_among_max_pins_is_taken_before_the_statement_runs(start_pooler, cluster):
    """Two that wait for one lock would both be pinned: only one may wait."""
    pooler = start_pooler(databases={"d": "pool_size=4 max_pins=1"})
    with cluster.admin("app") as admin, pooler.connect(database="d") as one, pooler.connect(database="d") as two:
        admin.q("SELECT pg_advisory_lock(7712)")
        one.query("SELECT pg_advisory_lock(7712)").send()
        until(lambda: admin.value("SELECT count(*) FROM pg_locks WHERE objid = 7712 AND NOT granted") == "1")
        assert fields(two.q("SELECT pg_advisory_lock(7712)"))["C"] == "53400"
        admin.q("SELECT pg_advisory_unlock(7712)")
        fine(one.go())
        # A try that fails gives its place back.
        one.q("SELECT pg_advisory_unlock(7712)")
        until(lambda: not pins(pooler))
        admin.q("SELECT pg_advisory_lock(7712)")
        assert two.value("SELECT pg_try_advisory_lock(7712)") == "f"
        until(lambda: not fields_or_none(one.q("SELECT pg_try_advisory_lock(7713)")))


def test_a_pin_beyond_max_pins_that_only_shows_afterwards_ends_its_client(start_pooler):
    pooler = start_pooler(databases={"d": "pool_size=3 max_pins=1 state_listen=pin"})
    with pooler.connect(database="d") as one, pooler.connect(database="d") as two:
        fine(one.q("LISTEN one"))
        fine(two.q("DO $$BEGIN END$$"))
        two.q("DO $$BEGIN EXECUTE concat('CREATE TE', 'MP TABLE hidden (v int)'); END$$")
        got = fields(two.read_eof())
        assert (got["V"], got["C"], got["M"]) == ("FATAL", "53400", "too many pinned sessions")
        assert len(pins(pooler, "d")) == 1


def test_beyond_max_pins_who_is_known_to_ask_for_numbers_goes_on_unpinned(start_pooler):
    """Only the statement that asks is refused; who is pinned for it counts, and makes room at its end."""
    pooler = start_pooler(databases={"d": "pool_size=4 max_pins=2"})
    asks = {"application_name": "asks"}
    with pooler.connect(database="d", params=asks) as first:
        first.q("SELECT lastval()")
    until(lambda: not pins(pooler, "d"))
    with pooler.connect(database="d", params=asks) as one, pooler.connect(database="d", params=asks) as two, \
            pooler.connect(database="d", params=asks) as three:
        for pinned in (one, two):
            fine(pinned.q("SELECT 1"))
        assert sorted(row["reason"] for row in pins(pooler, "d")) == ["sequence value"] * 2
        fine(three.q("SELECT nextval('public.drawn')"))
        assert len(pins(pooler, "d")) == 2
        for ask in (three.q, three.x):
            got = fields(ask("SELECT currval('public.drawn')"))
            assert got["C"] == "53400" and "max_pins = 2" in got["D"]
        assert fields(three.function_call(2559, []).go())["C"] == "53400"  # lastval()
        three.q("BEGIN")
        assert fields(three.q("SELECT lastval()"))["C"] == "53400" and three.status == "E"
        three.q("ROLLBACK")
        assert fields(three.q("SELECT pg_advisory_lock(7741)"))["C"] == "53400"
        fine(one.q("SELECT pg_advisory_lock(7741)"))  # who is pinned may have more reasons
        fine(two.q("DISCARD SEQUENCES"))
        until(lambda: len(pins(pooler, "d")) == 1)
        assert fields(three.q("SELECT currval('public.drawn')"))["C"] == "55000"
        assert len(pins(pooler, "d")) == 2
        drawn = three.value("SELECT nextval('public.drawn')")
        assert three.value("SELECT currval('public.drawn')") == drawn
        fine(two.q("SELECT 1"))
        assert len(pins(pooler, "d")) == 2


class Watch:
    """The most server connections that a user has had, seen at every start of one."""

    def __init__(self, cluster, user):
        self.admin, self.user, self.most = cluster.admin(), user, 0

    def look(self):
        self.most = max(self.most, int(self.admin.value(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = '%s'" % self.user)))
        return self.most


def test_pinned_clients_have_a_budget_of_their_own(start_pooler, cluster):
    pooler = start_pooler(databases={"d": "pool_size=1 pin_pool_size=2"})
    cluster.throw_out()
    watch = Watch(cluster, "app")
    with pooler.connect(database="d") as a, pooler.connect(database="d") as b, pooler.connect(database="d") as c, \
            pooler.connect(database="d", deadline=0.7) as d:
        fine(a.q("SELECT pg_advisory_lock(7720)"))
        fine(b.q("SELECT pg_advisory_lock(7721)"))
        assert c.value("SELECT 'not starved'") == "not starved" and watch.look() == 3
        fine(c.q("SELECT pg_advisory_lock(7722)"))  # the third is counted in pool_size
        with pytest.raises(rawpg.Deadline):
            d.q("SELECT 1")
        assert watch.look() == 3
        # Of those that are free, one is within pool_size; a second has no place and goes.
        fine(a.q("SELECT pg_advisory_unlock(7720)"))
        d.deadline = 5
        assert d.until("ReadyForQuery")
        fine(b.q("SELECT pg_advisory_unlock(7721)"))
        fine(c.q("SELECT pg_advisory_unlock(7722)"))
        until(lambda: int(watch.admin.value("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'")) == 1)
        assert watch.look() == 3
        for conn in (a, b, c, d):
            assert conn.value("SELECT 1") == "1"


def test_max_db_connections_holds_for_pinned_ones_too(start_pooler, cluster):
    pooler = start_pooler(databases={"d": "pool_size=2 pin_pool_size=5 max_db_connections=2 state_listen=pin"})
    cluster.throw_out()
    with pooler.connect(database="d") as a, pooler.connect(database="d") as b, pooler.connect(database="d", deadline=0.7) as c:
        fine(a.q("LISTEN a"))
        fine(b.q("LISTEN b"))
        with pytest.raises(rawpg.Deadline):
            c.q("SELECT 1")
        with cluster.admin() as admin:
            assert admin.value("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'") == "2"
        a.q("UNLISTEN *")
        c.deadline = 5
        assert c.until("ReadyForQuery")


# How long -----------------------------------------------------------------------------------------------------------------

def ended(conn):
    conn.deadline = 10
    return fields(conn.read_eof())


def test_pin_idle_timeout_ends_who_is_pinned_and_idle(start_pooler):
    pooler = start_pooler({"pin_idle_timeout": 1}, users={"other": "pin_idle_timeout=0"})
    with pooler.connect(5) as idle, pooler.connect(5) as free, pooler.connect(5, user="other") as exempt, pooler.connect(5) as open_:
        free.q("SELECT 1")
        for conn in (idle, exempt, open_):
            fine(conn.q("SELECT pg_advisory_lock_shared(7730)"))
        open_.q("BEGIN")
        got = ended(idle)
        assert (got["V"], got["C"]) == ("FATAL", "57P05") and "pinned and idle" in got["M"]
        assert "advisory lock" in got["D"] and "pin_idle_timeout = 1" in got["D"] and "operator" in got["H"]
        assert open_.value("SELECT 1") == "1" and free.value("SELECT 1") == "1" and exempt.value("SELECT 1") == "1"
        assert pooler.process.wait_line("pin ended by pin_idle_timeout: advisory lock")


def test_pin_max_age_ends_a_pin_whatever_its_client_does(start_pooler):
    pooler = start_pooler(databases={"d": "pool_size=2 pin_max_age=1 pin_log_after=0.3"})
    with pooler.connect(database="d", deadline=10) as busy:
        fine(busy.q("CREATE TEMP TABLE aged (v int)"))
        busy.query("SELECT pg_sleep(30)").send()
        got = ended(busy)
        assert (got["V"], got["C"]) == ("FATAL", "57P05") and "pinned for too long" in got["M"] and "pin_max_age = 1" in got["D"]
    assert pooler.process.wait_line(r"pinned for \d+ s: temporary object \(CREATE TEMP TABLE aged")
    assert len([line for line in pooler.process.lines if "pinned for" in line and "aged" in line]) == 1


# Whole sessions, and by hand ------------------------------------------------------------------------------------------------

def test_users_and_application_names_are_pinned_for_their_whole_session(start_pooler):
    pooler = start_pooler({"pin_users": "other, boss", "pin_application_names": "Flyway by Redgate, alembic"},
                          {"d": "pool_size=4", "e": "pool_size=4 pin_users=app pin_application_names=rake"})
    for database, user, application, pinned in (
            ("d", "other", "", True), ("d", "app", "Flyway by Redgate", True), ("d", "app", "alembic", True), ("d", "app", "Flyway", False),
            ("d", "app", "rake", False), ("e", "app", "", True), ("e", "other", "", False), ("e", "other", "rake", True)):
        with pooler.connect(database=database, user=user, params={"application_name": application}) as conn:
            assert not pins(pooler, database)
            pid = conn.value("SELECT pg_backend_pid()")
            held = pins(pooler, database)
            assert [row["reason"] for row in held] == (["whole session"] if pinned else []), (database, user, application)
            if pinned:
                assert held[0]["rule"] == ("pin_users" if (database, user) in (("d", "other"), ("e", "app")) else "pin_application_names")
                fine(conn.q("DISCARD ALL"))
                assert conn.value("SELECT pg_backend_pid()") == pid and pins(pooler, database)
        until(lambda: not pins(pooler, database))


def test_max_pins_counts_whole_sessions_from_their_first_statement(start_pooler):
    pooler = start_pooler(databases={"d": "pool_size=4 pin_users=app max_pins=1"})
    with pooler.connect(database="d") as one, pooler.connect(database="d") as two:
        assert one.value("SELECT 1") == "1"
        assert fields(two.q("SELECT 1"))["C"] == "53400"
        one.drop()
        until(lambda: not pins(pooler, "d"))
        assert two.value("SELECT 1") == "1"


@pytest.mark.parametrize("end", ["SET pgporter.pin = off", "RESET pgporter.pin", "DISCARD ALL", "RESET ALL", "SET pgporter.pin TO DEFAULT"])
def test_a_client_pins_itself_by_hand(pooler, end):
    with pooler.connect(database="plain") as conn, pooler.connect(database="plain", deadline=0.5) as other:
        fine(conn.q("SET pgporter.pin = on"))
        assert [row["reason"] for row in pins(pooler, "plain")] == ["by hand"]
        assert conn.value("SHOW pgporter.pin") == "on"
        with pytest.raises(rawpg.Deadline):
            other.q("SELECT 1")
        fine(conn.q(end))
        other.deadline = 5
        assert other.until("ReadyForQuery")
        assert not pins(pooler, "plain")


def test_pinning_by_hand_follows_the_transaction(pooler):
    with pooler.connect(database="plain") as conn:
        for sql in ("BEGIN", "SET pgporter.pin = yes", "ROLLBACK"):
            fine(conn.q(sql))
        assert not pins(pooler, "plain")
        for sql in ("BEGIN", "SET LOCAL pgporter.pin = on", "COMMIT"):
            fine(conn.q(sql))
        assert not pins(pooler, "plain")
        fine(conn.x("SET pgporter.pin = 1"))
        assert pins(pooler, "plain")
        got = fields(conn.q("SET pgporter.pin = perhaps"))
        assert (got["C"], got["M"]) == ("22023", 'parameter "pgporter.pin" requires a Boolean value')
        assert pins(pooler, "plain")


def test_show_pgporter_pin(pooler):
    with pooler.connect(database="plain") as conn:
        for sql in ("SHOW pgporter.pin", " show  PGPORTER.Pin ; "):
            assert conn.q(sql) == [("RowDescription", "pgporter.pin:25"), ("DataRow", "off"), ("CommandComplete", "SHOW"),
                                   ("ReadyForQuery", "I")]
        conn.q("BEGIN")
        assert conn.q("SHOW pgporter.pin")[-1] == ("ReadyForQuery", "T") and conn.value("SHOW pgporter.pin") == "off"
        fine(conn.q("SET LOCAL pgporter.pin = on"))
        assert conn.q("SHOW pgporter.pin") == [("RowDescription", "pgporter.pin:25"), ("DataRow", "on"), ("CommandComplete", "SHOW"),
                                               ("ReadyForQuery", "T")]
        conn.q("SELECT 1/0")
        assert fields(conn.q("SHOW pgporter.pin"))["C"] == "25P02"
        conn.q("ROLLBACK")
        assert conn.value("SHOW pgporter.pin") == "off"
        assert fields(conn.q("SHOW pgporter.pins"))["C"] == "42704"


def test_pinned_by_hand_with_the_startup_packet(pooler):
    with pooler.connect(database="plain", params={"options": "-c pgporter.pin=on"}) as conn:
        conn.q("SELECT 1")
        conn.q("DISCARD ALL")
        assert [row["reason"] for row in pins(pooler, "plain")] == ["by hand"]


def test_what_pins_by_hand_is_harmless_on_postgresql(cluster):
    with cluster.admin("app") as admin:
        for sql in ("SET pgporter.pin = on", "SHOW pgporter.pin", "RESET pgporter.pin", "BEGIN", "SET LOCAL pgporter.pin = on", "COMMIT"):
            fine(admin.q(sql))


# To be seen -----------------------------------------------------------------------------------------------------------------

def test_pins_totals_tell_how_many_how_long_and_by_which_statement(start_pooler):
    pooler = start_pooler(databases={"d": "pool_size=3 state_listen=pin"})
    with pooler.connect(database="d") as a, pooler.connect(database="d") as b:
        for number in range(1, 4):
            fine(a.q("SELECT  pg_advisory_lock(%d) -- the %d" % (number, number)))
            fine(a.q("SELECT pg_advisory_unlock(%d)" % number))
        fine(a.q("SELECT pg_try_advisory_lock(1, 2)"))
        fine(b.q("LISTEN news"))
        time.sleep(0.3)
        rows = {row["reason"]: row for row in pooler.show("PINS_TOTALS")}
        assert set(rows) == {"advisory lock", "listen"}
        locks = rows["advisory lock"]
        assert (locks["database"], locks["user"], locks["now"], locks["total_pins"]) == ("d", "app", "1", "4")
        assert (locks["fingerprint_pins"], locks["statement"]) == ("3", "SELECT  pg_advisory_lock(1) -- the 1")
        assert re.fullmatch("[0-9a-f]{16}", locks["fingerprint"])
        assert float(rows["listen"]["total_seconds"]) >= 0.25 and float(rows["listen"]["longest_seconds"]) >= 0.25
        b.terminate()
        until(lambda: {row["reason"]: row for row in pooler.show("PINS_TOTALS")}["listen"]["now"] == "0")
        over = {row["reason"]: row for row in pooler.show("PINS_TOTALS")}["listen"]
        assert over["total_pins"] == "1" and float(over["total_seconds"]) >= 0.25


def test_settings_in_use_are_shown_with_who_has_them(start_pooler):
    pooler = start_pooler({"stats_users": "plainold"}, {"d": "pool_size=3"})
    with pooler.connect(database="d") as a, pooler.connect(database="d") as b, pooler.connect(database="d") as c:
        for conn in (a, b):
            fine(conn.q("SET search_path = s1; SET app.secret = 'hush'"))
        c.q("SELECT 1")
        shown = {row["settings"]: row for row in pooler.show("SETTINGS")}
        mine = shown["app.secret = hush, search_path = s1"]
        assert (mine["clients"], mine["count"]) == ("2", "2") and int(mine["servers"]) <= 1
        assert shown[""]["clients"] == "1"
        with pooler.console("plainold") as console:
            names = [event[5] for event in console.q("SHOW SETTINGS") if event[0] == "DataRow"]
        assert "app.secret, search_path" in names and "hush" not in str(names)


def test_round_trips_spent_on_replay_are_counted(start_pooler):
    pooler = start_pooler(databases={"d": "pool_size=1"})
    with pooler.connect(database="d") as a, pooler.connect(database="d") as b:
        fine(a.q("SET search_path = s1"))
        before = counter(pooler, "replay_trips"), counter(pooler, "replays")
        assert b.value("SHOW search_path") == '"$user", public'
        assert a.value("SELECT v FROM t") == "in s1"
        assert counter(pooler, "replays") > before[1] and counter(pooler, "replay_trips") >= before[0]


# Odd ways in ----------------------------------------------------------------------------------------------------------------

def test_a_refusal_is_raised_whatever_the_names_and_the_lexing(start_pooler, cluster):
    odd = "it's \"odd\" $pgporter$ \\ é"
    with cluster.admin() as admin:
        admin.q("CREATE ROLE \"%s\" LOGIN" % odd.replace('"', '""'))
    pooler = start_pooler({"state_temp": "refuse"}, {"o": "pool_size=1 user=app"}, {"'%s'" % odd.replace("'", "''"): "state_lock=refuse"})
    with open(pooler.ini.replace("pooler.ini", "userlist.txt"), "a") as secrets:
        secrets.write('"%s" ""\n' % odd.replace('"', '""'))
    with pooler.console() as console:
        fine(console.q("RELOAD"))
    try:
        with pooler.connect(database="o", user=odd) as conn:
            assert not conn.closed
            for setting in ("SET client_encoding = 'SJIS'", "SET standard_conforming_strings = off", "SET search_path = s1",
                            "SET client_encoding = 'UTF8'; SET backslash_quote = off"):
                fine(conn.q(setting))
                for begun in (False, True):
                    if begun:
                        fine(conn.q("BEGIN"))
                    got = fields(conn.q("SELECT pg_advisory_lock(7740)"))
                    assert got["C"] == "0A000" and "state_lock = refuse (user it?s ?odd? ?pgporter? ? ??)" in got["D"], got
                    assert fields(conn.q(TOUCHES["temp"]))["C"] == ("25P02" if begun else "0A000")
                    fine(conn.q("ROLLBACK"))
    finally:
        with cluster.admin() as admin:
            admin.q("DROP ROLE \"%s\"" % odd.replace('"', '""'))


def test_an_unnamed_statement_too_long_to_be_remembered_pins_and_is_ruled_like_it(start_pooler):
    pooler = start_pooler(databases={"s": "pool_size=2 state_preset=strict", "m": "pool_size=3 max_pins=1"})
    long = "SELECT '%s'" % ("x" * (1 << 20))
    with pooler.connect(database="s") as conn:
        got = fields(conn.parse("", long).sync().go())
        assert got["C"] == "0A000" and "state_preset = strict" in got["D"]
        assert conn.value("SELECT 1") == "1"
    with pooler.connect(database="m") as one, pooler.connect(database="m") as two:
        fine(one.parse("", long).sync().go())
        assert [row["reason"] for row in until(lambda: pins(pooler, "m"))] == ["large statement"]
        assert fields(two.parse("", long).sync().go())["C"] == "53400"
        assert one.value("SELECT 1") == "1"
        until(lambda: not pins(pooler, "m"))
        fine(two.parse("", long).sync().go())


def test_a_refused_statement_waits_neither_for_a_backend_nor_for_its_settings(start_pooler):
    pooler = start_pooler(databases={"d": "pool_size=1 state_temp=refuse"})
    with pooler.connect(database="d") as holder, pooler.connect(database="d") as conn:
        fine(conn.q("SET search_path = s1"))
        fine(holder.q("BEGIN"))
        assert fields(conn.q(TOUCHES["temp"]))["C"] == "0A000"
        assert fields(conn.x(TOUCHES["temp"]))["C"] == "0A000"
        holder.q("ROLLBACK")
        before = counter(pooler, "replays") + counter(pooler, "flights")
        assert fields(conn.q(TOUCHES["temp"]))["C"] == "0A000"
        assert counter(pooler, "replays") + counter(pooler, "flights") == before
        assert conn.value("SELECT v FROM t") == "in s1"


def test_a_function_call_message_is_an_opaque_statement(pooler):
    with pooler.connect(database="opaque_refuse") as conn:
        assert fields(conn.function_call(1598, []).go())["C"] == "0A000"  # random()
        conn.q("BEGIN")
        assert fields(conn.function_call(1598, []).go())["C"] == "0A000" and conn.status == "E"
        conn.q("ROLLBACK")
        assert conn.value("SELECT 1") == "1"


def test_an_execute_is_what_its_statement_is(start_pooler):
    pooler = start_pooler(databases={"d": "pool_size=1"})
    with pooler.connect(database="d") as conn:
        fine(conn.q("PREPARE locks AS SELECT pg_advisory_lock_shared(7741)"))
        fine(conn.x("SELECT pg_advisory_lock_shared(7742)", statement="locks_too"))
        fine(conn.q("SELECT pg_advisory_unlock_all()"))
        pooler.databases["d"] += " state_lock=refuse"
        fine(reload(pooler))
        assert fields(conn.q("EXECUTE locks"))["C"] == "0A000"
        conn.bind("", "locks_too").execute().sync()
        assert fields(conn.go())["C"] == "0A000"
        conn.q("BEGIN")
        conn.bind("", "locks_too").execute().sync()
        assert fields(conn.go())["C"] == "0A000" and conn.status == "E"
        conn.q("ROLLBACK")


def test_limits_hold_and_nobody_starves_while_clients_pin_and_unpin(start_pooler, cluster):
    """Lockers come and go, pinned and not; others run transactions. PostgreSQL is watched all the while."""
    pooler = start_pooler(databases={"d": "pool_size=2 pin_pool_size=2 max_pins=2"})
    over, failures, done, refused = threading.Event(), [], [0] * 8, [0]

    def locker(number, conn):
        while not over.is_set():
            events = conn.q("SELECT pg_advisory_lock(%d)" % (7800 + number))
            if fields_or_none(events):
                assert fields(events)["C"] == "53400"
                refused[0] += 1
                continue
            assert conn.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()") == "1"
            fine(conn.q("SELECT pg_advisory_unlock(%d)" % (7800 + number)))
            done[number] += 1

    def worker(number, conn):
        while not over.is_set():
            for sql in ("BEGIN", "SELECT pg_sleep(0.002)", "COMMIT"):
                fine(conn.q(sql))
            done[number] += 1

    def run(play, number):
        try:
            with pooler.connect(database="d") as conn:
                play(number, conn)
        except Exception as failure:  # told by the test itself
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(locker if number < 4 else worker, number)) for number in range(8)]
    with limits.Watch(cluster) as watch:
        for thread in threads:
            thread.start()
        time.sleep(2)
        over.set()
        for thread in threads:
            thread.join(10)
    assert not failures, failures
    assert 3 <= watch.most("app") <= 4 and all(done) and refused[0], (watch.most("app"), done, refused)
    until(lambda: not pins(pooler, "d"))
    until(lambda: [row["sv_pinned"] for row in pooler.show("POOLS") if row["database"] == "d"] == ["0"])
    with pooler.connect(database="d") as conn:
        fine(conn.q("SELECT pg_advisory_lock(7800)"))
