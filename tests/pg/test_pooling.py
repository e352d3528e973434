"""What only a pooler has: waiting lines, limits, many clients on few backends, backends that die.

Environment: MIX_SECONDS, how long the mixed clients run (5; by hand 60), CLIENTS, how many come at once (2000).
"""

import asyncio
import contextlib
import os
import random
import resource
import signal
import struct
import threading
import time

import pytest

import rawpg

MIX_SECONDS = float(os.environ.get("MIX_SECONDS", "5"))
CLIENTS = int(os.environ.get("CLIENTS", "2000"))

ROW = pytest.mark.row


def pid_of(conn):
    return int(conn.value("SELECT pg_backend_pid()"))


def end_backend(cluster, pid):
    """Terminates a backend and waits until it is gone."""
    with cluster.admin() as admin:
        assert admin.value("SELECT pg_terminate_backend(%d)" % pid) == "t"
        until = time.monotonic() + rawpg.DEADLINE
        while admin.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %d" % pid) != "0":
            assert time.monotonic() < until, "the backend does not end"


def waiting(pooler, count, database):
    """Until so many clients wait in the database's lines."""
    until = time.monotonic() + rawpg.DEADLINE
    with pooler.console() as console:
        while True:
            names, got = [], 0
            for event in console.q("SHOW POOLS"):
                if event[0] == "RowDescription":
                    names = [column.rsplit(":", 1)[0] for column in event[1:]]
                elif event[0] == "DataRow":
                    row = dict(zip(names, event[1:]))
                    got += int(row["cl_waiting"]) if row["database"] == database else 0
            if got == count:
                return
            assert time.monotonic() < until, "%d wait instead of %d" % (got, count)


def refusal(events):
    """SQLSTATE and text of the ErrorResponse among the events."""
    for event in events:
        if event[0] == "ErrorResponse":
            got = dict(field.split("=", 1) for field in event[1:])
            return got["V"], got["C"], got["M"]
    return None


class Seen(rawpg.Conn):
    """Keeps what it saw, for those that are refused at login."""

    def saw(self, event):
        self.__dict__.setdefault("seen", []).append(event)


def test_first_come_first_served(pooler, cluster):
    if pooler.kind == "direct":
        pytest.skip("there is no line")
    cluster.tidy()
    names = ["b", "c", "d", "e", "f"]
    with pooler.connect(1) as a:
        a.value("CREATE TABLE scratch.line (at serial, name text)")
        conns = [pooler.connect(1) for _ in names]
        a.value("BEGIN")
        for n, (name, conn) in enumerate(zip(names, conns), 1):
            conn.query("INSERT INTO scratch.line (name) VALUES ('%s')" % name).send()
            waiting(pooler, n, pooler.database(1))
        a.value("COMMIT")
        for conn in conns:
            conn.go()
            conn.terminate()
        assert a.value("SELECT string_agg(name, '' ORDER BY at) FROM scratch.line") == "".join(names)


def test_a_client_that_leaves_the_line(pooler):
    if pooler.kind == "direct":
        pytest.skip("there is no line")
    with pooler.connect(1) as a, pooler.connect(1) as b, pooler.connect(1) as c:
        a.value("BEGIN")
        b.query("SELECT 'b'").send()
        waiting(pooler, 1, "p1")
        c.query("SELECT 'c'").send()
        waiting(pooler, 2, "p1")
        b.drop()
        a.value("COMMIT")
        assert ("DataRow", "c") in c.go()


def test_waits_too_long(start_pooler):
    pooler = start_pooler({"query_wait_timeout": 1})
    with pooler.connect(1) as a, pooler.connect(1) as b:
        a.value("BEGIN")
        events = b.q("SELECT 1")
        assert refusal(events) == ("FATAL", "08P01", "query_wait_timeout"), events
        assert events[-1] == ("EOF",)
        assert a.value("SELECT 'goes on'") == "goes on"
        a.value("COMMIT")
        with pooler.connect(1) as c:
            assert c.value("SELECT 'served'") == "served"


def test_too_many_clients(start_pooler):
    pooler = start_pooler({"max_client_conn": 3})
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(pooler.connect(1)) for _ in range(3)]
        assert all(conn.value("SELECT 1") == "1" for conn in conns)
        refused = Seen(pooler.address, "app", pooler.database(1))
        assert refused.closed
        assert refusal(refused.seen) == ("FATAL", "08P01", "no more connections allowed (max_client_conn)")
        with pooler.console() as console:
            assert not console.closed, "the console is exempt"
        conns[0].terminate()
        until = time.monotonic() + rawpg.DEADLINE
        while True:  # the place is free as soon as the pooler has read the goodbye
            with pooler.connect(1) as conn:
                if not conn.closed:
                    assert conn.value("SELECT 1") == "1"
                    break
            assert time.monotonic() < until


def test_no_such_database(start_pooler):
    pooler = start_pooler()
    refused = Seen(pooler.address, "app", "nowhere")
    assert refused.closed
    assert refusal(refused.seen) == ("FATAL", "08P01", "no such database: nowhere")


def test_pool_size_is_exact(pooler, cluster):
    """Twenty clients with their hands up at once; PostgreSQL never sees more than three of the pool's backends."""
    if pooler.kind == "direct":
        pytest.skip("there is no pool")
    cluster.throw_out()
    conns = [pooler.connect(3) for _ in range(20)]
    for conn in conns:
        conn.query("SELECT pg_sleep(0.01), pg_backend_pid()").send()
    seen = set()
    for conn in conns:
        seen |= {event[2] for event in conn.go() if event[0] == "DataRow"}
        conn.terminate()
    assert 0 < len(seen) <= 3
    assert cluster.backends("app") <= 3


# Backends that die ------------------------------------------------------------------------------------------------

ADMIN_SAYS = ("FATAL", "57P01", "terminating connection due to administrator command")


def ends_as_directly(conn, events=None):
    events = events if events is not None else conn.until("EOF")
    assert refusal(events) == ADMIN_SAYS, events
    assert events[-1] == ("EOF",), events


def test_terminated_in_a_transaction(pooler, cluster):
    with pooler.connect(2) as a, pooler.connect(2) as b:
        b.value("BEGIN")
        a.value("BEGIN")
        end_backend(cluster, pid_of(a))
        ends_as_directly(a)
        assert b.value("SELECT 'goes on'") == "goes on"
        b.value("COMMIT")


def test_terminated_in_a_query(pooler, cluster):
    with pooler.connect(2) as a, pooler.connect(2) as b:
        b.value("BEGIN")
        a.value("BEGIN")
        pid = pid_of(a)
        a.query("SELECT pg_sleep(30)").send()
        end_backend(cluster, pid)
        ends_as_directly(a)
        assert b.value("SELECT 'goes on'") == "goes on"
        b.value("COMMIT")


@ROW("WITH HOLD cursors")
def test_terminated_under_a_held_cursor(pooler, cluster):
    with pooler.connect(2) as a, pooler.connect(2) as b:
        a.value("DECLARE c1 CURSOR WITH HOLD FOR SELECT n FROM nums ORDER BY n")
        b.value("SET search_path = s1")
        pid = pid_of(a)
        with cluster.admin() as admin:
            admin.value("SELECT 1")
        assert a.value("FETCH c1") == "1"
        assert pid_of(a) == pid
        end_backend(cluster, pid)
        ends_as_directly(a)
        assert b.value("SELECT v FROM t") == "in s1"


def test_idle_backend_terminated(pooler, cluster):
    """Clients that hold no backend notice nothing."""
    if pooler.kind == "direct":
        pytest.skip("everybody holds a backend here")
    with pooler.connect(1) as a, pooler.connect(1) as b:
        a.value("SET search_path = s1")
        b.value("SET search_path = s2")
        pid = pid_of(a)
        end_backend(cluster, pid)
        pooler.show("VERSION")  # one turn of its loop: it has seen the backend go
        assert a.value("SELECT v FROM t") == "in s1"
        assert b.value("SELECT v FROM t") == "in s2"
        assert pid_of(a) != pid


def everything_is_written(cluster, pid):
    """Until a backend has handed all of its answer to the network and waits for the next statement."""
    until = time.monotonic() + rawpg.DEADLINE
    with cluster.admin() as admin:
        while admin.value("SELECT wait_event FROM pg_stat_activity WHERE pid = %d AND state = 'idle'" % pid) != "ClientRead":
            assert time.monotonic() < until, "it is still writing"
            time.sleep(0.01)


def test_goodbye_behind_the_last_answer(pooler, cluster):
    """A backend that ends right after its answer, before the pooler has read it: its FATAL is not the client's."""
    if pooler.kind == "direct":
        pytest.skip("everybody holds a backend here")
    with pooler.connect(1) as b, rawpg.Conn(pooler.socket, "app", "p1") as a:
        pid = pid_of(a)
        a.query("SELECT repeat('x', 600000)").send()
        everything_is_written(cluster, pid)
        b.query("SELECT 'next'").send()
        end_backend(cluster, pid)
        events = a.go()
        assert [event[0] for event in events] == ["RowDescription", "DataRow", "CommandComplete", "ReadyForQuery"], events
        assert b.until("ReadyForQuery")[1] == ("DataRow", "next")
        assert [event[0] for event in a.q("SELECT 1")] == ["RowDescription", "DataRow", "CommandComplete", "ReadyForQuery"]


def test_terminated_before_the_statement(pooler, cluster):
    """A backend that ends while it takes on the client's settings: the client is told in PostgreSQL's words."""
    if pooler.kind == "direct":
        pytest.skip("settings are taken on at once here")
    with pooler.connect(1) as a, pooler.connect(1) as b, cluster.admin() as holder, cluster.admin() as admin:
        a.value("SET default_tablespace = 'pg_default'")  # to set it PostgreSQL reads pg_tablespace
        assert b.value("SHOW default_tablespace") == ""
        pid = pid_of(b)
        holder.value("BEGIN; LOCK TABLE pg_tablespace IN ACCESS EXCLUSIVE MODE")
        a.query("SELECT 'never run'").send()
        until = time.monotonic() + rawpg.DEADLINE
        while admin.value("SELECT wait_event_type FROM pg_stat_activity WHERE pid = %d" % pid) != "Lock":
            assert time.monotonic() < until, "it does not wait"
            time.sleep(0.01)
        admin.value("SELECT pg_terminate_backend(%d)" % pid)
        ends_as_directly(a)
        holder.value("COMMIT")
        assert b.value("SELECT 'goes on'") == "goes on"


# Many clients -----------------------------------------------------------------------------------------------------

async def many(pooler, count, rounds, database):
    """count clients at once; each round every one of them asks its own question and reads its own answer."""
    login = struct.pack("!i", rawpg.PROTOCOL_3_0) + b"user\0app\0database\0" + database.encode() + b"\0\0"
    login = struct.pack("!i", len(login) + 4) + login
    gate = asyncio.Semaphore(200)  # no more in the listen queue than a kernel keeps
    everybody = 0
    all_here = asyncio.Event()

    async def ready(reader):
        rows = []
        while True:
            kind, size = struct.unpack("!ci", await reader.readexactly(5))
            body = await reader.readexactly(size - 4)
            if kind == b"Z":
                return rows
            if kind == b"E":
                raise AssertionError(rawpg.decode("E", body))
            if kind == b"D":
                rows.append(rawpg.decode("D", body)[1])

    async def one(number):
        nonlocal everybody
        async with gate:
            reader, writer = await asyncio.open_connection(*pooler.address)
            writer.write(login)
            await ready(reader)
        everybody += 1
        if everybody == count:
            all_here.set()
        await all_here.wait()
        for n in range(rounds):
            writer.write(rawpg.message("Q", b"SELECT %d\0" % (number * 100 + n)))
            assert await ready(reader) == [str(number * 100 + n)]
        writer.write(rawpg.message("X"))
        writer.close()

    await asyncio.wait_for(asyncio.gather(*(one(n) for n in range(count))), 60)


def test_two_thousand_clients_on_twenty_backends(start_pooler, cluster):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(CLIENTS, hard - 100)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, CLIENTS + 200)), hard))
    cluster.throw_out()
    pooler = start_pooler({"max_client_conn": CLIENTS + 10, "default_pool_size": 20, "listen_backlog": 1024},
                          {"wide": "pool_size=20"})
    with pooler.connect(database="wide") as conn:
        conn.value("SELECT 1")
        before = pooler.descriptors()
        asyncio.run(many(pooler, count, 4, "wide"))
        assert cluster.backends("app") <= 20
        until = time.monotonic() + rawpg.DEADLINE
        while pooler.descriptors() > before + 20:
            assert time.monotonic() < until, "%d descriptors are left" % pooler.descriptors()
            conn.value("SELECT pg_sleep(0.02)")


class Mixed(threading.Thread):
    """One client that knows what it set and insists on finding just that."""

    def __init__(self, pooler, number, until, cursors, failures):
        super().__init__(daemon=True)
        self.pooler, self.number, self.until, self.cursors = pooler, number, until, cursors
        self.failures = failures
        self.rng = random.Random(number)
        self.rounds = self.held = 0
        n = 1 + number % 5
        self.zone = ["Asia/Tokyo", "Europe/Berlin", "UTC", "America/Lima", "Asia/Kolkata"][number // 2 % 5]
        self.schema, self.role, self.name = "s%d" % n, "r%d" % (1 + number // 3 % 5), "client %d" % number

    def run(self):
        try:
            with self.pooler.connect(3, params={"application_name": self.name}, deadline=20) as self.conn:
                self.work()
        except BaseException as failure:
            self.failures.append("client %d: %r" % (self.number, failure))

    def must(self, sql, wanted):
        got = self.conn.value(sql)
        if got != wanted:
            raise AssertionError("%s gave %r instead of %r" % (sql, got, wanted))

    def work(self):
        conn, number = self.conn, self.number
        if number % 2:
            conn.value("SET search_path = %s, public" % self.schema)
        else:
            conn.value("SELECT set_config('search_path', '%s, public', false)" % self.schema)
        conn.value("SET ROLE %s" % self.role)
        conn.value("SET TIME ZONE '%s'" % self.zone)
        conn.value("SET my.number = '%d'" % number)
        conn.parse("st", "SELECT 'prepared by %d'::text || $1" % number).sync().go()
        conn.value("PREPARE sp AS SELECT 'sql of %d'::text" % number)
        steps = [self.settings, self.prepared, self.unnamed, self.transaction, self.error, self.cursor, self.many]
        while time.monotonic() < self.until:
            self.rng.choice(steps)()
            self.rounds += 1

    def settings(self):
        self.must("SELECT v FROM t", "in " + self.schema)
        self.must("SHOW search_path", self.schema + ", public")
        self.must("SELECT current_user", self.role)
        self.must("SHOW TimeZone", self.zone)
        self.must("SHOW application_name", self.name)
        self.must("SELECT current_setting('my.number', true)", str(self.number))

    def prepared(self):
        events = self.conn.bind("", "st", ["!"]).execute().sync().go()
        if ("DataRow", "prepared by %d!" % self.number) not in events:
            raise AssertionError("st gave %s" % events)
        self.must("EXECUTE sp", "sql of %d" % self.number)

    def unnamed(self):
        self.conn.parse("", "SELECT 'unnamed of %d'::text" % self.number).sync().go()
        events = self.conn.bind().execute().sync().go()
        if ("DataRow", "unnamed of %d" % self.number) not in events:
            raise AssertionError("the unnamed statement gave %s" % events)

    def transaction(self):
        self.conn.value("BEGIN")
        self.conn.value("SET LOCAL TIME ZONE 'Africa/Cairo'")
        self.conn.value("SET search_path = s5")
        self.must("SELECT v FROM t", "in s5")
        self.must("SHOW TimeZone", "Africa/Cairo")
        self.conn.value("ROLLBACK")
        self.must("SHOW search_path", self.schema + ", public")

    def error(self):
        if refusal(self.conn.q("SELECT 1; SET search_path = s4; SELECT 1/0"))[1] != "22012":
            raise AssertionError("no division by zero")
        self.must("SHOW search_path", self.schema + ", public")

    def cursor(self):
        if not self.cursors.acquire(blocking=False):
            return
        try:
            self.conn.value("DECLARE c CURSOR WITH HOLD FOR SELECT n + %d FROM nums ORDER BY n" % (self.number * 10000))
            for n in range(1, 4):
                self.must("FETCH c", str(self.number * 10000 + n))
                self.must("SELECT current_user", self.role)
            self.conn.value("CLOSE c")
            self.held += 1
        finally:
            self.cursors.release()

    def many(self):
        events = self.conn.q("SELECT v FROM t; SET my.number = '%d'; SELECT current_setting('my.number')" % self.number)
        if [e[1] for e in events if e[0] == "DataRow"] != ["in " + self.schema, str(self.number)]:
            raise AssertionError("a batch gave %s" % events)


@ROW("SET carried")
@ROW("roles")
@ROW("prepared statements")
def test_ten_clients_on_a_pool_of_three(pooler, cluster):
    """Each with its own state, two at any time with a held cursor: none ever sees another's."""
    failures, cursors = [], threading.Semaphore(2)
    until = time.monotonic() + MIX_SECONDS
    clients = [Mixed(pooler, number, until, cursors, failures) for number in range(10)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(MIX_SECONDS + 25)
        if client.is_alive():
            failures.append("client %d is stuck" % client.number)
    if failures:
        if pooler.kind == "pgporter" and pooler.answers():
            failures += [str(row) for what in ("POOLS", "PINS", "SERVERS") for row in pooler.show(what)
                         if row.get("database") == "p3"]
        cluster.throw_out()
    assert not failures, "\n".join(failures)
    assert all(client.rounds for client in clients), [client.rounds for client in clients]
    assert sum(client.held for client in clients) > 0
    if pooler.kind != "direct":
        assert sum(row["database"] == "p3" for row in pooler.show("SERVERS")) <= 3


def test_stops_while_clients_are_there(start_pooler):
    """SIGTERM lets those in go on, takes nobody new, and ends when the last has left."""

    pooler = start_pooler()
    if pooler.kind != "pgporter":
        pytest.skip("older PgBouncers stop at once")
    with pooler.connect(2) as a:
        a.value("SET search_path = s1")
        a.value("BEGIN")
        pooler.process.signal(signal.SIGTERM)
        assert a.value("SELECT v FROM t") == "in s1"
        a.value("COMMIT")
        assert a.value("SELECT v FROM t") == "in s1"
        assert pooler.alive()
    pooler.ended()


def test_a_client_lost_with_all_it_holds_frees_its_backend(pooler, cluster):
    """A temporary table, a lock and a held cursor at once, and the network goes."""
    if pooler.kind == "direct":
        pytest.skip("nobody waits for it")
    a, b = pooler.connect(1), pooler.connect(1)
    with b:
        a.value("CREATE TEMP TABLE held (v text)")
        a.value("SELECT pg_advisory_lock(77)")
        a.value("DECLARE k CURSOR WITH HOLD FOR SELECT 1")
        b.query("SELECT pg_try_advisory_lock(77), to_regclass('held'), (SELECT count(*) FROM pg_cursors)").send()
        waiting(pooler, 1, pooler.database(1))
        a.drop()
        assert ("DataRow", "t", None, "0") in b.until("ReadyForQuery")
        b.value("SELECT pg_advisory_unlock(77)")
