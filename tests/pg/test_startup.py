"""What a client says at login: parameters, options=-c …, and the refusal of bad ones."""

import pytest

import rawpg
import servers
from differential import scenario

STARTS = {
    "nothing": {},
    "search_path": {"search_path": "s1"},
    "search_path list": {"search_path": "s2, \"s1\", public"},
    "odd search_path": {"search_path": "\"odd, \"\"name\"\" with 'quotes' \\\""},
    "DateStyle": {"DateStyle": "SQL, DMY"},
    "DateStyle part": {"datestyle": "german"},
    "TimeZone": {"TimeZone": "Europe/Berlin"},
    "timezone lower": {"timezone": "Asia/Tokyo"},
    "client_encoding": {"client_encoding": "LATIN1"},
    "client_encoding alias": {"client_encoding": "utf-8"},
    "application_name": {"application_name": "the 'app' \\ \"x\""},
    "application_name unprintable": {"application_name": "n\u00e4me"},
    "application_name long": {"application_name": "x" * 90},
    "statement_timeout": {"statement_timeout": "50s"},
    "extra_float_digits": {"extra_float_digits": "3"},
    "IntervalStyle": {"IntervalStyle": "iso_8601"},
    "custom": {"my.a": "from the 'start' \\"},
    "role": {"role": "r1"},
    "standard_conforming_strings": {"standard_conforming_strings": "off"},
    "default_transaction_read_only": {"default_transaction_read_only": "on"},
    "options -c": {"options": "-c search_path=s1"},
    "options -cname": {"options": "-csearch_path=s1"},
    "options --name": {"options": "--search_path=s1 --work_mem=5MB"},
    "options --name-with-dashes": {"options": "--search-path=s1 -c work-mem=5MB"},
    "options several": {"options": "-c search_path=s1,s2 -c   statement_timeout=30s --my.a=b"},
    "options escapes": {"options": "-c search_path=s1,\\ s2 -c my.a=back\\\\slash\\ and\\ 'quote'"},
    "options tabs": {"options": " \t-c\tsearch_path=s1\n"},
    "options empty": {"options": ""},
    "options empty value": {"options": "-c my.a="},
    "options twice the same": {"options": "-c search_path=s1 -c search_path=s2"},
    "options and parameter": {"options": "-c search_path=s1", "search_path": "s2"},
    "options custom": {"options": "-c app.tenant=a"},
    "options geqo": {"options": "-c geqo=off -c enable_seqscan=off"},
    "search_path empty": {"search_path": ""},
    "bad name": {"no_such_parameter": "1"},
    "bad value": {"work_mem": "much"},
    "bad value in options": {"options": "-c work_mem=much"},
    "bad name in options": {"options": "-c no_such=1"},
    "bad client_encoding": {"client_encoding": "nonsense"},
    "bad TimeZone": {"TimeZone": "Nowhere"},
    "bad DateStyle": {"DateStyle": "nonsense"},
    "bad role": {"role": "nobody_at_all"},
    "role not granted": {"role": "postgres"},
    "only for superusers": {"log_statement": "all"},
    "only at server start": {"shared_buffers": "1MB"},
    "read only": {"server_version": "9.0"},
    "protocol option": {"_pq_.whatever": "1"},
    "replication false": {"replication": "false"},
    "boolean bad": {"enable_seqscan": "perhaps"},
    "out of range": {"statement_timeout": "-2"},
    "custom bad": {"my.": "x"},
    "ignore_system_indexes": {"ignore_system_indexes": "on"},
    "post_auth_delay": {"post_auth_delay": "0"},
    "ignore_system_indexes in options": {"options": "-P -c work_mem=5MB", "search_path": "s1"},
    "ignore_system_indexes bad": {"ignore_system_indexes": "perhaps"},
    "ignore_system_indexes in options bad": {"options": "-c ignore_system_indexes=perhaps"},
    "post_auth_delay bad": {"post_auth_delay": "-7"},
    "post_auth_delay and others": {"post_auth_delay": "0", "search_path": "s2", "my.a": "x", "application_name": "me"},
    "post_auth_delay and a bad one": {"post_auth_delay": "0", "work_mem": "much"},
    "log_connections for superusers": {"log_connections": "on"},
    "jit_profiling_support": {"jit_profiling_support": "on"},
    "local_preload_libraries": {"local_preload_libraries": "no_such_library"},
    "options a switch": {"options": "-S 4096"},
    "options a bad switch": {"options": "-z"},
    "options for the server only": {"options": "-B 100"},
    "lc_messages superuser": {"lc_messages": "C"},
    "session_authorization": {"session_authorization": "app"},
}

START_ONLY = ("ignore_system_indexes", "post_auth_delay", "log_connections", "jit_profiling_support", "local_preload_libraries")


def _has_switch(params):
    return params.get("options", "").startswith(("-P", "-S", "-z", "-B"))


SHOWN = ("search_path", "TimeZone", "DateStyle", "client_encoding", "application_name", "statement_timeout",
         "extra_float_digits", "IntervalStyle", "work_mem", "standard_conforming_strings", "geqo", "enable_seqscan")


@scenario("startup parameters", args={name: (tuple(params.items()),) for name, params in STARTS.items()})
def test_accepted_or_refused(s, params):
    # What PostgreSQL does at a session's start only takes a server connection of its own.
    a = s.client("a", params=dict(params), pinned=any(name in START_ONLY for name, _ in params) or _has_switch(dict(params)))
    if a.closed:
        return
    for name in SHOWN:
        a.q("SHOW " + name)
    a.q("SELECT coalesce(current_setting('my.a', true), ''), coalesce(current_setting('app.tenant', true), ''), "
        "current_user")
    a.q("SELECT v FROM t")
    a.q("SHOW ignore_system_indexes")


@scenario("startup parameters")
def test_order_of_what_is_reported(s):
    s.client("a", in_order=True)
    s.client("b", in_order=True, search_path="s1", TimeZone="Asia/Tokyo", DateStyle="German")


@pytest.mark.row("startup parameters")
@pytest.mark.parametrize("options", ["-e", "-S 4096", "-f s", "-B 100", "-z", "-c", "-c search_path", "search_path=s1"])
def test_other_switches_in_options(pooler, options):
    """Carried as PostgreSQL does or refused, never silently dropped."""
    with pooler.connect(1) as stranger:
        stranger.value("SET work_mem = '7MB'")
    with pooler.connect(1, params={"options": options}) as conn:
        if not conn.closed and options == "-S 4096":
            assert conn.value("SHOW work_mem") == "4MB"
        elif not conn.closed and options == "-e":
            assert conn.value("SHOW DateStyle") == "ISO, DMY"
        elif not conn.closed:
            assert options == "-f s" and conn.value("SHOW enable_seqscan") == "off"


@scenario("startup parameters", args={
    "search_path": ("search_path", "s3", "s1"), "TimeZone": ("TimeZone", "Asia/Tokyo", "UTC"),
    "DateStyle": ("DateStyle", "SQL, DMY", "ISO, MDY"), "application_name": ("application_name", "me", "you"),
    "my.a": ("my.a", "start", "later"), "statement_timeout": ("statement_timeout", "7s", "0"),
    "client_encoding": ("client_encoding", "LATIN1", "UTF8"),
})
def test_reset_goes_back_to_it(s, name, first, then):
    a = s.client("a", params={name: first})
    a.q("SHOW " + name)
    for way in ("RESET " + name, "RESET ALL", "SET %s TO DEFAULT" % name, "DISCARD ALL"):
        a.q("SET %s = '%s'" % (name, then))
        a.q("SHOW " + name)
        a.q(way)
        a.q("SHOW " + name)


@scenario("startup parameters")
def test_reset_goes_back_to_the_options(s):
    a = s.client("a", options="-c search_path=s4 -c my.a=start")
    a.q("SET search_path = s1")
    a.q("SELECT v FROM t")
    a.q("BEGIN; RESET search_path; SHOW search_path; ROLLBACK")
    a.q("SHOW search_path")
    a.q("RESET search_path")
    a.q("SELECT v FROM t")
    a.q("SET my.a = 'x'")
    a.q("RESET ALL")
    a.q("SHOW my.a")


@scenario("startup parameters", args={
    "RESET": ("RESET TIME ZONE", "RESET DateStyle"), "TO DEFAULT": ("SET TIME ZONE DEFAULT", "SET DateStyle TO DEFAULT"),
})
def test_reset_in_one_batch_with_half_a_datestyle(s, zone, style):
    """What is left of DateStyle only PostgreSQL can tell: of the other setting it is not asked."""
    a = s.client("a", TimeZone="Europe/Paris", DateStyle="SQL, DMY", search_path="s3")
    a.q("SET TimeZone = 'Asia/Tokyo'; SET search_path = s1")
    a.parse("", "SET SESSION DateStyle = 'German'").bind().execute().parse("", zone).bind().describe().execute() \
        .parse("", "RESET search_path").bind().execute().sync().go()
    a.q("SHOW TimeZone; SHOW DateStyle; SHOW search_path")
    a.parse("r", style).bind("", "r").execute().parse("", "SHOW DateStyle").bind().execute().sync().go()
    a.q("BEGIN")
    a.parse("", "SET DateStyle = 'YMD'").bind().execute().bind("", "r").execute().parse("", "SELECT 1/0").bind().execute().sync().go()
    a.bind("", "r").execute().sync().go()
    a.q("ROLLBACK; SHOW DateStyle; SHOW TimeZone")


RESETS = {"RESET": "RESET %s", "SET TO DEFAULT": "SET %s TO DEFAULT", "RESET ALL": "RESET ALL --%s"}
STARTED_WITH = {
    "work_mem": ("5MB", "7MB"), "search_path": ("s2, \"odd, \"\"name\"\" 'quoted' \\\"", "s1"), "my.own": ("it's \\ mine", "x"),
    "DateStyle": ("SQL, DMY", "german"), "role": ("r1", "r2"),
}


@scenario("startup parameters", args={
    "%s of %s" % (way, name): (sql % name, name) + values
    for way, sql in RESETS.items() for name, values in STARTED_WITH.items()})
def test_a_reset_leaves_the_transactions_properties_to_be_set(s, reset, name, first, then):
    s.client("z").quit()  # a first login needs a backend, which a stranger could not have later on
    a = s.client("a", params={name: first})
    a.q("SHOW " + name)
    a.q("SET %s = '%s'" % (name, then))
    a.q("BEGIN; %s\n; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SHOW transaction_isolation; SHOW %s; ROLLBACK" % (reset, name))
    a.q("SHOW " + name)
    for sql in ("BEGIN", reset, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SHOW transaction_isolation", "SHOW " + name, "COMMIT"):
        a.q(sql)
    a.q("SHOW " + name)
    for sql in ("BEGIN", "SET work_mem = '9MB'", reset, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
                "SHOW transaction_isolation", "SHOW " + name, "COMMIT"):
        a.x(sql)
    a.q("SHOW " + name)


@scenario("startup parameters", need=2)
def test_each_its_own(s):
    a = s.client("a", options="-c search_path=s1", application_name="a")
    b = s.client("b", search_path="s2", TimeZone="Asia/Tokyo")
    c = s.client("c")
    for client in (a, b, c, a, c, b):
        client.q("SELECT v FROM t")
        client.q("SHOW TimeZone")
        client.q("SHOW application_name")
        client.q("SHOW search_path")


@scenario("startup parameters")
def test_no_user(s):
    a = s.client("a", login=False)
    a.startup({"user": None, "database": None})


@pytest.mark.row("startup parameters")
def test_another_users_search_path_by_name(stage):
    """The pool of another user is another pool."""
    def play(s):
        a = s.client("a", user="other", search_path="s1")
        a.q("SELECT v FROM t")
        a.q("SELECT current_user, session_user")
        b = s.client("b")
        b.q("SELECT current_user, session_user")
        b.q("SHOW search_path")
    stage.play(play, 1)


@pytest.mark.row("startup parameters")
@pytest.mark.skipif(servers.pg_version() < 14, reason="there is no such setting")
def test_idle_session_timeout_is_not_the_backends(pooler):
    """A client's idle_session_timeout must not kill the backend under the next one."""
    with pooler.connect(1, params={"idle_session_timeout": "0"}) as a, pooler.connect(1) as b:
        a.q("SET idle_session_timeout = 60000")
        assert a.value("SHOW idle_session_timeout") == "1min"
        assert b.value("SHOW idle_session_timeout") == "0"


@scenario("startup parameters")
def test_secrets(s):
    """SCRAM, md5 and cleartext users log in with the settings they ask for."""
    for user in ("u_scram", "u_md5", "u_clear"):
        a = s.client(user, user=user, search_path="s1")
        a.q("SELECT current_user")
        a.q("SELECT v FROM t")


@scenario("startup parameters", pools=(1,))
def test_a_refused_login_leaves_nothing(s):
    a = s.client("a", search_path="s1", no_such="x")
    s.tell(a.closed)
    b = s.client("b")
    b.q("SHOW search_path")


def test_the_raw_client_tells_a_refusal(cluster):
    with rawpg.Conn(cluster.address, "app", "app", {"work_mem": "much"}) as conn:
        assert conn.closed


@scenario("startup parameters", args={name: case for name, case in {
    "search_path": ("search_path", "s1", "s3"), "TimeZone": ("TimeZone", "Asia/Tokyo", "UTC"), "my.a": ("my.a", "start", "later"),
}.items()})
def test_reset_on_a_connection_of_ones_own(s, name, first, then):
    a = s.client("a", params={name: first, "post_auth_delay": "0"}, pinned=True)
    for way in ("RESET " + name, "RESET ALL", "SET %s TO DEFAULT" % name, "DISCARD ALL"):
        a.q("SET %s = '%s'" % (name, then))
        a.q("SHOW " + name)
        a.q(way)
        a.q("SHOW " + name)
    a.parse("p", "SELECT $1::int + 1").bind("", "p", [1]).execute().sync().go()
    a.q("PREPARE q AS SELECT 'q'")
    a.q("EXECUTE q")


def _own(pooler, **more):
    return pooler.connect(1, params={"ignore_system_indexes": "on"}, **more)


def _waiting(pooler):
    return any(row["cl_waiting"] != "0" for row in pooler.show("POOLS") if row["database"] == "p1")


@pytest.mark.skipif(servers.POOLER != "pgporter", reason="about pgporter's pools")
class TestAConnectionOfOnesOwn:
    def test_is_counted_and_gone_at_its_end(self, start_pooler):
        pooler = start_pooler()
        with pooler.connect(1) as a:
            assert a.value("SELECT 1") == "1"
            with _own(pooler) as own:
                assert own.value("SHOW ignore_system_indexes") == "on"
                assert [(row["user"], row["reason"]) for row in pooler.show("PINS")] == [("app", "startup parameters")]
                own_pid = own.value("SELECT pg_backend_pid()")
                a.query("SELECT pg_backend_pid(), current_setting('ignore_system_indexes')").send()
                assert len([row for row in pooler.show("SERVERS") if row["database"] == "p1" and row["state"] == "active"]) == 1
            row = a.go()[1]
            assert row[1] != own_pid and row[2] == "off"

    def test_waits_for_its_turn(self, pooler):
        with pooler.connect(1) as a:
            a.q("BEGIN")
            own = pooler.connect(1, login=False)
            try:
                own.raw(_startup({"user": "app", "database": "p1", "ignore_system_indexes": "on"}))
                while not _waiting(pooler):
                    pass
                a.q("COMMIT")
                while own.read()[0] != "ReadyForQuery":
                    pass
                assert own.value("SHOW ignore_system_indexes") == "on"
            finally:
                own.terminate()
            assert a.value("SHOW ignore_system_indexes") == "off"

    def test_who_leaves_while_waiting_is_forgotten(self, pooler):
        with pooler.connect(1) as a:
            a.q("BEGIN")
            for _ in range(3):
                own = pooler.connect(1, login=False)
                own.raw(_startup({"user": "app", "database": "p1", "ignore_system_indexes": "on"}))
                while not _waiting(pooler):
                    pass
                own.drop()
                while _waiting(pooler):
                    pass
            a.q("COMMIT")
            assert a.value("SELECT 1") == "1"

    def test_its_server_gone_is_its_end(self, pooler, cluster):
        with _own(pooler) as own:
            cluster.keeper.value("SELECT pg_terminate_backend(%s)" % own.value("SELECT pg_backend_pid()"))
            assert "C=57P01" in own.read_eof()[0]
        with _own(pooler) as own:
            assert own.value("SELECT 1") == "1"

    def test_is_cancelled_like_any(self, pooler):
        with _own(pooler) as own:
            own.query("SELECT pg_sleep(30)").send()
            while not pooler.cluster.keeper.value("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(30)%'"):
                pass
            own.cancel()
            assert any("C=57014" in event for event in own.go())

    def test_in_session_pooling(self, start_pooler):
        front = start_pooler({"pool_mode": "session"})
        with front.connect(2, params={"ignore_system_indexes": "on", "search_path": "s1"}) as own, front.connect(2) as a:
            assert own.value("SHOW ignore_system_indexes") == "on"
            assert own.value("SELECT v FROM t") == "in s1"
            own.q("SET search_path = s2; RESET search_path")
            assert own.value("SELECT v FROM t") == "in s1"
            assert a.value("SHOW ignore_system_indexes") == "off"

    def test_a_name_that_the_ini_ignores_is_dropped(self, start_pooler):
        front = start_pooler({"ignore_startup_parameters": "ignore_system_indexes"})
        with _own(front) as a:
            assert a.value("SHOW ignore_system_indexes") == "off"
            assert not front.show("PINS")


def _startup(params):
    body = b"\0\3\0\0" + b"".join(rawpg.cstr(k) + rawpg.cstr(v) for k, v in params.items()) + b"\0"
    return (len(body) + 4).to_bytes(4, "big") + body


STARTED = {"search_path": "s1", "TimeZone": "Asia/Tokyo", "my.a": "start", "application_name": "me"}
BACK = {
    "RESET": ["SET search_path = s2", "RESET search_path", "SHOW search_path"],
    "reported": ["SET TimeZone = 'UTC'", "RESET TimeZone", "SHOW TimeZone"],
    "reported alone": ["RESET TimeZone", "RESET DateStyle", "SET DateStyle = 'German'", "RESET DateStyle", "SHOW DateStyle"],
    "RESET ALL": ["SET search_path = s2; SET TimeZone = 'UTC'; SET my.a = 'x'; SET work_mem = '5MB'", "RESET ALL", "SHOW search_path",
                  "SHOW TimeZone", "SHOW my.a", "SHOW work_mem"],
    "DISCARD ALL": ["SET search_path = s2; SET TimeZone = 'UTC'; SET my.a = 'x'", "DISCARD ALL", "SHOW search_path", "SHOW TimeZone",
                    "SHOW my.a", "SHOW application_name"],
    "SET TO DEFAULT": ["SET my.a = 'x'", "SET my.a TO DEFAULT", "SHOW my.a"],
    "in a transaction": ["BEGIN", "SET search_path = s2", "RESET search_path", "SHOW search_path", "ROLLBACK", "SHOW search_path"],
    "rolled back": ["SET search_path = s2", "BEGIN", "RESET search_path", "SHOW search_path", "ROLLBACK", "SHOW search_path"],
    "in a failed one": ["SET search_path = s2", "BEGIN", "SELECT 1/0", "RESET search_path", "ROLLBACK", "SHOW search_path"],
    "refused": ["SET search_path = s2", "RESET no_such", "DISCARD ALL", "BEGIN", "DISCARD ALL", "ROLLBACK", "SHOW search_path"],
}


@pytest.mark.skipif(servers.POOLER != "pgporter", reason="about pgporter's session pooling")
@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("case", BACK)
def test_reset_in_session_pooling(start_pooler, cluster, case, extended):
    front = start_pooler({"pool_mode": "session"})

    def said(server, database):
        with rawpg.Conn(server.address, "app", database, STARTED) as conn:
            return [(sql, conn.x(sql) if extended and ";" not in sql else conn.q(sql)) for sql in BACK[case]]

    with front.connect(1) as stranger:
        stranger.q("SET search_path = s5; SET TimeZone = 'Europe/Berlin'")
    assert said(front, "p1") == said(cluster, "app")
    with front.connect(1) as stranger:
        assert stranger.value("SHOW search_path") == '"$user", public'


@pytest.mark.row("startup parameters")
def test_a_notice_comes_with_every_login(pooler, cluster):
    """Not only with the first one that PostgreSQL was asked about."""
    def told(server, database):
        conn = rawpg.Conn(server.address, "app", database, login=False)
        conn.raw(_startup({"user": "app", "database": database, "application_name": "x" * 80}))
        events = []
        while not events or events[-1][0] != "ReadyForQuery":
            events.append(conn.read())
        conn.terminate()
        return [event for event in events if event[0] in ("NoticeResponse", "ErrorResponse")]
    for _ in range(3):
        assert told(pooler, pooler.database(1)) == told(cluster, "app") != []
