"""Limits and time limits: PostgreSQL is watched while they are pressed, clients read what they are told."""

import os
import re
import signal
import socket
import threading
import time

import pytest

import rawpg
from test_pooling import Seen, pid_of, refusal, waiting


class Watch(threading.Thread):
    """Samples pg_stat_activity over a connection of its own; most(users) is the largest number it ever saw."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.samples, self.over = cluster, [], threading.Event()

    def run(self):
        with self.cluster.admin() as admin:
            while not self.over.is_set():
                events = admin.q("SELECT usename, count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' "
                                 "AND usename <> 'postgres' GROUP BY 1")
                self.samples.append({event[1]: int(event[2]) for event in events if event[0] == "DataRow"})

    def most(self, *users):
        return max((sum(sample.get(user, 0) for user in users) for sample in self.samples), default=0)

    def __enter__(self):
        self.cluster.throw_out()
        self.start()
        return self

    def __exit__(self, *_exc):
        self.over.set()
        self.join()


def backends_are(cluster, wanted, user="app"):
    """Until the user has so many sessions."""
    until = time.monotonic() + rawpg.DEADLINE
    with cluster.admin() as admin:
        while True:
            got = int(admin.value("SELECT count(*) FROM pg_stat_activity WHERE usename = '%s'" % user))
            if got == wanted:
                return
            assert time.monotonic() < until, "%d sessions instead of %d" % (got, wanted)


def ended(conn, deadline=None):
    """What a client is told that does nothing, up to the end of its connection; and when."""
    begun = time.monotonic()
    conn.deadline = deadline or conn.deadline
    events = conn.read_eof()
    return refusal(events), time.monotonic() - begun


# Clients --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("what, options, databases, users", [
    ("max_db_client_connections", {"max_db_client_connections": 2}, {}, {}),
    ("max_db_client_connections", {}, {"p1": "pool_size=1 max_db_client_connections=2"}, {}),
    ("max_user_client_connections", {"max_user_client_connections": 2}, {}, {}),
    ("max_user_client_connections", {}, {}, {"app": "max_user_client_connections=2"}),
])
def test_client_limits(start_pooler, what, options, databases, users):
    pooler = start_pooler(options, databases, users)
    conns = [pooler.connect(1) for _ in range(2)]
    try:
        assert all(conn.value("SELECT 1") == "1" for conn in conns)
        refused = Seen(pooler.address, "app", "p1")
        assert refused.closed and refusal(refused.seen) == ("FATAL", "08P01", "client connections exceeded (%s)" % what)
        with Seen(pooler.address, *(("app", "p2") if "db" in what else ("other", "p1"))) as elsewhere:
            assert not elsewhere.closed and elsewhere.value("SELECT 1") == "1"
        conns.pop().terminate()
        until = time.monotonic() + rawpg.DEADLINE
        while True:
            with pooler.connect(1) as again:
                if not again.closed:
                    break
            assert time.monotonic() < until
    finally:
        for conn in conns:
            conn.terminate()


def test_clients_that_fail_to_log_in_leave_their_place(start_pooler):
    pooler = start_pooler({"max_client_conn": 2, "auth_type": "md5"})
    for _ in range(10):
        refused = Seen(pooler.address, "u_md5", "p1", password="wrong")
        assert refusal(refused.seen)[1] == "28P01"
    with pooler.connect(1, "u_md5", password="sekret-md5") as conn:
        assert conn.value("SELECT 1") == "1"


# Server connections -----------------------------------------------------------------------------------------------

def press(pooler, who, rounds=3):
    """Many clients at once, again and again: (user, database) pairs, each six times."""
    conns = [pooler.connect(user=user, database=database) for user, database in who for _ in range(6)]
    try:
        for _ in range(rounds):
            for conn in conns:
                conn.query("SELECT pg_sleep(0.005)").send()
            for conn in conns:
                assert refusal(conn.go()) is None
    finally:
        for conn in conns:
            conn.terminate()


HARD = [
    ("pool_size of the database", 2, {}, {}, {}, [("app", "p2")]),
    ("pool_size of the user", 2, {}, {}, {"app": "pool_size=2"}, [("app", "p5")]),
    ("default_pool_size", 3, {"default_pool_size": 3}, {"plain": ""}, {}, [("app", "plain")]),
    ("max_db_connections", 3, {"max_db_connections": 3}, {}, {}, [("app", "p5"), ("other", "p5"), ("plainold", "p5")]),
    ("max_db_connections of the database", 3, {}, {"some": "pool_size=5 max_db_connections=3"}, {},
     [("app", "some"), ("other", "some")]),
    ("max_user_connections", 3, {"max_user_connections": 3}, {}, {}, [("app", "p4"), ("app", "p5")]),
    ("max_user_connections of the user", 3, {}, {}, {"app": "max_user_connections=3"}, [("app", "p4"), ("app", "p5")]),
]


@pytest.mark.parametrize("churn", [False, True], ids=["kept", "used once"])
@pytest.mark.parametrize("what, limit, options, databases, users, who", HARD, ids=[row[0] for row in HARD])
def test_hard_limits(start_pooler, cluster, what, limit, options, databases, users, who, churn):
    """Never one more, not even while one goes and another comes."""
    pooler = start_pooler({**options, **({"server_lifetime": 0} if churn else {})}, databases, users)
    with Watch(cluster) as watch:
        press(pooler, who)
    assert 0 < watch.most("app", "other", "plainold") <= limit, what


def test_a_statement_whose_client_left_is_counted(start_pooler, cluster):
    """It runs to its end, as directly, and until then its server connection is one of the pool's."""
    cluster.tidy()
    pooler = start_pooler()
    with Watch(cluster) as watch, pooler.connect(1) as b:
        b.value("CREATE TABLE scratch.left_behind ()")
        a = pooler.connect(1)
        a.query("SELECT pg_sleep(0.3); DROP TABLE scratch.left_behind").send()
        a.terminate()
        assert b.value("SELECT to_regclass('scratch.left_behind') IS NULL") == "t"
    assert watch.most("app") == 1


def test_reserve(start_pooler, cluster):
    """Opens when someone has waited, and no further than told."""
    pooler = start_pooler({"reserve_pool_size": 1, "reserve_pool_timeout": 0.3})
    with Watch(cluster) as watch, pooler.connect(1) as a, pooler.connect(1) as b, pooler.connect(1) as c:
        a.value("BEGIN")
        begun = time.monotonic()
        b.query("BEGIN").go()
        assert 0.25 < time.monotonic() - begun < 2
        c.query("SELECT 'served'").send()
        waiting(pooler, 1, "p1")
        a.value("COMMIT")
        assert ("DataRow", "served") in c.go()
        b.value("COMMIT")
    assert watch.most("app") == 2


def test_min_pool_size(start_pooler, cluster):
    """Kept open for a forced user from the start, else once there is a client; and again after they died."""
    cluster.throw_out()
    pooler = start_pooler({"server_idle_timeout": 1}, {"forced": "pool_size=4 min_pool_size=2 user=other",
                                                       "named": "pool_size=4 min_pool_size=3"})
    backends_are(cluster, 2, "other")
    with pooler.connect(database="named") as conn:
        assert conn.value("SELECT 1") == "1"
        backends_are(cluster, 3)
        cluster.throw_out()
        backends_are(cluster, 3)
        backends_are(cluster, 2, "other")


@pytest.mark.parametrize("options, others", [({"max_db_connections": 2}, ("other", "p5")), ({"max_user_connections": 2}, ("app", "p4"))])
def test_idle_ones_make_way(start_pooler, cluster, options, others):
    """A shared limit is reached by another pool's idle connections: the longest idle goes."""
    pooler = start_pooler(options)
    with Watch(cluster) as watch, pooler.connect(5) as a, pooler.connect(5) as b:
        a.value("BEGIN")
        b.value("SELECT 1")
        a.value("COMMIT")
        begun = time.monotonic()
        with pooler.connect(user=others[0], database=others[1]) as c:
            assert c.value("SELECT 'served'") == "served"
        assert time.monotonic() - begun < 1
        assert a.value("SELECT 1") == "1"
    assert watch.most("app", "other") == 2


def test_the_welcome_gives_back(start_pooler):
    """A client that has logged in and said nothing holds nothing."""
    pooler = start_pooler({"max_db_connections": 1})
    with pooler.connect(5, "other") as a, pooler.connect(5) as b, pooler.connect(5, "other") as c:
        assert [conn.value("SELECT session_user") for conn in (a, b, c)] == ["other", "app", "other"]


def test_pool_serves_while_another_entry_holds_all(start_pooler):
    """Nothing idle to evict: the client waits until one is given back."""
    pooler = start_pooler({"max_db_connections": 1})
    with pooler.connect(5, "other") as b, pooler.connect(5) as a:
        a.value("BEGIN")
        b.query("SELECT session_user").send()
        waiting(pooler, 1, "p5")
        a.value("COMMIT")
        assert ("DataRow", "other") in b.go()


# Waiting ----------------------------------------------------------------------------------------------------------

def test_pins_are_named(start_pooler):
    pooler = start_pooler({"query_wait_timeout": 1})
    with pooler.connect(1, params={"application_name": "locker"}) as a, pooler.connect(1) as b:
        a.value("SELECT pg_advisory_lock(4711)")
        pid = pid_of(a)
        events = b.q("SELECT 1")
        told = dict(field.split("=", 1) for field in events[0][1:])
        assert (told["C"], told["M"]) == ("08P01", "query_wait_timeout"), events
        assert re.search(r"client \d+ \(app@127\.0\.0\.1:%d\) holds server connection %d: .*advisory.* for [01]s"
                         % (a.sock.getsockname()[1], pid), told["D"]), told
        assert "pinned" in pooler.process.wait_line("query_wait_timeout while")
        assert a.value("SELECT pg_advisory_unlock(4711)") == "t"


def test_waiting_is_told(start_pooler):
    pooler = start_pooler({"query_wait_notify": 1}, users={"other": "query_wait_timeout=1"})
    with pooler.connect(1) as a, pooler.connect(1) as b, pooler.connect(database="p1", user="other") as free:
        assert free.value("SELECT 1") == "1", "a pool of its own"
        a.value("BEGIN")
        b.query("SELECT 'served'").send()
        event = b.read()
        assert event[0] == "NoticeResponse" and \
            "M=No server connection available in postgres backend, client being queued" in event
        a.value("COMMIT")
        assert ("DataRow", "served") in b.go()


def test_query_wait_timeout_of_user_and_database(start_pooler):
    pooler = start_pooler({"query_wait_timeout": 60}, {"short": "pool_size=1 query_wait_timeout=1"}, {"other": "query_wait_timeout=1"})
    with pooler.connect(database="short") as a, pooler.connect(database="short") as b, \
            pooler.connect(1, "other") as c, pooler.connect(1, "other") as d:
        a.value("BEGIN")
        c.value("BEGIN")
        b.query("SELECT 1").send()
        d.query("SELECT 1").send()
        for conn in (b, d):
            assert refusal(conn.until("EOF")) == ("FATAL", "08P01", "query_wait_timeout")


# Time limits of clients ---------------------------------------------------------------------------------------------

def test_time_limits_of_clients(start_pooler, cluster):
    """Each user has one; all run out at the same time, and nobody else is touched."""
    pooler = start_pooler(users={
        "app": "client_idle_timeout=1", "other": "idle_transaction_timeout=1", "plainold": "transaction_timeout=1",
        "boss": "query_timeout=1"})
    with pooler.connect(5) as idle, pooler.connect(5, "other") as in_block, pooler.connect(5, "plainold") as busy, \
            pooler.connect(5, "boss") as slow, pooler.connect(5, "postgres") as free, pooler.connect(5) as working, \
            pooler.connect(5, "postgres", params={"options": "-c idle_session_timeout=0.9s"}) as own, \
            pooler.connect(5, "postgres", params={"idle_session_timeout": "900"}) as number, \
            pooler.connect(5, "postgres") as by_set:
        by_set.q("SET idle_session_timeout = '900ms'")
        free.value("BEGIN")
        for conn in (idle, own, number, by_set, slow):
            conn.value("SELECT 1")
        in_block.value("BEGIN")
        busy.value("BEGIN")
        working.value("BEGIN")
        slow.query("SELECT pg_sleep(30)").send()
        begun = time.monotonic()
        while not busy.closed and time.monotonic() < begun + 3:
            events = busy.q("SELECT pg_sleep(0.05)")
            working.value("SELECT 1")
            if refusal(events):
                break
        assert refusal(events) == ("FATAL", "08P01", "transaction timeout")
        assert 0.9 < time.monotonic() - begun < 2
        assert ended(idle)[0] == ("FATAL", "08P01", "client_idle_timeout")
        assert ended(in_block)[0] == ("FATAL", "08P01", "idle transaction timeout")
        assert refusal(slow.until("EOF")) == ("FATAL", "08P01", "query_timeout")
        for conn in (own, number, by_set):
            assert ended(conn)[0] == ("FATAL", "57P05", "terminating connection due to idle-session timeout")
        assert working.value("SELECT 'in a transaction, and not idle'")
        assert free.value("SELECT 'no limit'") == "no limit"
        backends_are(cluster, 0, "boss")  # cancelled, not left behind


def test_client_login_timeout(start_pooler):
    """Half a startup packet, none of a password: the same end."""
    pooler = start_pooler({"client_login_timeout": 1, "auth_type": "md5"})
    half = rawpg.Conn(pooler.address, login=False)
    half.raw(b"\0\0\0\x20\0\3")
    mute = rawpg.Conn(pooler.address, login=False)
    startup = b"\0\3\0\0user\0u_md5\0database\0p1\0\0"
    mute.raw((len(startup) + 4).to_bytes(4, "big") + startup)
    told, after = ended(half)
    assert told == ("FATAL", "08P01", "client_login_timeout") and after > 0.5
    assert ended(mute)[0] == ("FATAL", "08P01", "client_login_timeout")


# Time limits of server connections ----------------------------------------------------------------------------------

def test_idle_and_old_server_connections_go(start_pooler, cluster):
    cluster.throw_out()
    pooler = start_pooler({"server_idle_timeout": 1}, {"short": "pool_size=2 server_lifetime=1"})
    with pooler.connect(5) as a, pooler.connect(5, "other") as pinned, pooler.connect(database="short", user="plainold") as c:
        a.value("SELECT 1")
        pinned.value("SELECT pg_advisory_lock(1)")
        c.value("BEGIN")
        backends_are(cluster, 1)
        began = time.monotonic()
        backends_are(cluster, 0)
        assert time.monotonic() - began < 3
        assert pinned.value("SELECT pg_advisory_unlock(1)") == "t", "one in use is not idle"
        pid = pid_of(c)
        c.value("COMMIT")
        assert pid_of(c) != pid, "past its lifetime when given back"


def test_server_that_never_answers(start_pooler):
    """A port that listens and no more: the attempt ends, the client is told in time."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        pooler = start_pooler({"server_connect_timeout": 1, "client_login_timeout": 2}, {
            "silent": "host=127.0.0.1 port=%d dbname=app" % silent.getsockname()[1]})
        conn = Seen(pooler.address, "app", "silent")
        pooler.process.wait_line("connect timeout")
        assert conn.closed and refusal(conn.seen) == ("FATAL", "08P01", "client_login_timeout (server down)")
        with pooler.connect(1) as other:
            assert other.value("SELECT 1") == "1"


def test_check_query(start_pooler, cluster):
    """Asked of a connection before it is used; one that doesn't answer is replaced, its client notices a pause only."""
    cluster.tidy()
    with cluster.admin() as admin:
        admin.value("CREATE TABLE scratch.checks AS SELECT 0 AS n")
        admin.value("GRANT ALL ON scratch.checks TO PUBLIC")
        pooler = start_pooler({"server_check_query": "UPDATE scratch.checks SET n = n + 1", "server_check_delay": 0,
                               "server_connect_timeout": 1})
        with pooler.connect(1) as conn:
            conn.value("SELECT 1")
            before = int(admin.value("SELECT n FROM scratch.checks"))
            conn.value("BEGIN")
            conn.value("COMMIT")
            assert int(admin.value("SELECT n FROM scratch.checks")) == before + 1, "once a use, not once a query"
            pid = pid_of(conn)
            os.kill(pid, signal.SIGSTOP)
            try:
                assert conn.value("SELECT 'served'") == "served"
            finally:
                os.kill(pid, signal.SIGCONT)
            assert pid_of(conn) != pid


def test_cancel_during_the_check(start_pooler, cluster):
    """The query has not been sent yet: it never is, and its client is told so."""
    cluster.tidy()
    pooler = start_pooler({"server_check_query": "SELECT 1", "server_check_delay": 0, "server_connect_timeout": 3})
    with pooler.connect(1) as conn:
        pid = pid_of(conn)
        os.kill(pid, signal.SIGSTOP)
        try:
            conn.query("CREATE TABLE scratch.never ()").send()
            until = time.monotonic() + rawpg.DEADLINE
            while not any(row["state"] == "tested" for row in pooler.show("SERVERS")):
                assert time.monotonic() < until
            conn.cancel()
            assert refusal(conn.go())[1] == "57014"
        finally:
            os.kill(pid, signal.SIGCONT)
        assert conn.value("SELECT to_regclass('scratch.never') IS NULL") == "t"


def test_reset_query_in_session_mode(start_pooler):
    pooler = start_pooler({"pool_mode": "session", "server_reset_query": "SET my.reset = 'done'; SET search_path = s2"})
    with pooler.connect(1) as a:
        pid = pid_of(a)
        a.value("SET search_path = s1")
    with pooler.connect(1) as b:
        assert pid_of(b) == pid
        assert b.value("SHOW my.reset") == "done"
        assert b.value("SELECT v FROM t") == "in s2"


def test_reset_query_always(start_pooler):
    """In transaction mode it costs, and harms no state that is carried."""
    pooler = start_pooler({"server_reset_query_always": 1})
    with pooler.connect(1) as a, pooler.connect(1) as b:
        a.value("SET search_path = s1")
        a.parse("st", "SELECT v FROM t").sync().go()
        b.value("SET search_path = s2")
        assert a.value("SELECT v FROM t") == "in s1"
        assert ("DataRow", "in s1") in a.bind("", "st").execute().sync().go()
        assert b.value("SELECT v FROM t") == "in s2"


# A server that goes and comes back ------------------------------------------------------------------------------------

def test_server_restart(start_pooler, cluster):
    """Those connected wait for it, and so do those who log in; within about a second of its return all are served."""
    pooler = start_pooler({"server_login_retry": None})
    with pooler.connect(2) as a, pooler.connect(2) as linked:
        a.value("SET search_path = s1")
        linked.value("BEGIN")
        cluster.halt()
        try:
            assert refusal(linked.until("EOF"))[1] == "57P01"
            a.query("SELECT v FROM t").send()
            waiting(pooler, 1, "p2")
            late = rawpg.Conn(pooler.address, login=False)
            late.user, late.database = "app", "p3"
            startup = b"\0\3\0\0user\0app\0database\0p3\0\0"
            late.raw((len(startup) + 4).to_bytes(4, "big") + startup)
            waiting(pooler, 1, "p3")
            pooler.process.wait_line("login failed")
        finally:
            cluster.resume()
        begun = time.monotonic()
        assert ("DataRow", "in s1") in a.go()
        assert late.until("ReadyForQuery")[-1] == ("ReadyForQuery", "I")
        assert time.monotonic() - begun < 1.5
        late.terminate()


# Startup parameters -------------------------------------------------------------------------------------------------

def test_application_name_add_host(start_pooler):
    pooler = start_pooler({"application_name_add_host": 1})
    for params, name in (({"application_name": "mine"}, "mine"), ({}, "app")):
        with pooler.connect(1, params=params) as conn:
            assert conn.value("SHOW application_name") == "%s - 127.0.0.1:%d" % (name, conn.sock.getsockname()[1])
            conn.value("SET application_name = 'later'")
            assert conn.value("SHOW application_name") == "later"


def test_startup_parameters_postgresql_refuses(start_pooler):
    """Refused as PostgreSQL does; dropped where the ini says so; and what it accepts is carried, listed or not."""
    pooler = start_pooler()
    refused = Seen(pooler.address, "app", "p1", params={"no_such_setting": "1"})
    assert refusal(refused.seen)[1] == "42704", refused.seen
    refused = Seen(pooler.address, "app", "p1", params={"options": "-c no_such_setting=1"})
    assert refusal(refused.seen)[1] == "42704", refused.seen
    refused = Seen(pooler.address, "app", "p1", params={"DateStyle": "nonsense"})
    assert refusal(refused.seen)[1] == "22023", refused.seen
    pooler = start_pooler({"ignore_startup_parameters": "extra_float_digits, no_such_setting, options"})
    with pooler.connect(1, params={"no_such_setting": "1", "extra_float_digits": "-3", "search_path": "s1",
                                   "options": "-c another_one=2 -c statement_timeout=7s"}) as conn:
        assert not conn.closed
        assert conn.value("SHOW extra_float_digits") == "-3"
        assert conn.value("SHOW statement_timeout") == "7s"
        assert conn.value("SELECT v FROM t") == "in s1"
    assert pooler.process.wait_line("startup parameter no_such_setting dropped")


@pytest.mark.parametrize("many", (1, 30), ids=("one large setting", "many settings"))
def test_settings_too_large_to_be_carried_end_their_client_and_are_not_held(pooler, many):
    """Asked for, because the text doesn't tell them; each value is within what one reply may be, or not."""
    size = 60 * 1000 * 1000 // many
    with pooler.connect(1) as a, pooler.connect(1) as b:
        before = peak(pooler)
        events = a.q("SELECT " + ", ".join("length(set_config('my.large%d', repeat('x', %d), false))" % (i, size) for i in range(many)))
        events += a.read_eof() if not a.closed else []
        assert refusal(events) == ("FATAL", "54000", "this session's settings are too large to be carried to another server connection")
        assert b.value("SELECT 1") == "1"
        assert b.value("SELECT length(current_setting('my.large0', true)) > 0") != "t"
        assert peak(pooler) - before < 32 * 1000


def peak(pooler):
    """Of the pooler's memory, in kB."""
    with open("/proc/%d/status" % pooler.process.pid) as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read())[1])
