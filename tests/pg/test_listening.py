"""One server connection listens for all: how many there are, what happens when it is lost, who doesn't read.

  LISTENERS      clients of the large test (500; the full size is 5000)
  NOTIFICATIONS  and what is notified in it (2000; the full size is 10000)
"""

import collections
import os
import resource
import selectors
import socket
import struct
import time

import pytest

import rawpg
import servers

LISTENERS = int(os.environ.get("LISTENERS", "500"))
NOTIFICATIONS = int(os.environ.get("NOTIFICATIONS", "2000"))
CHANNELS = 100
UNREAD_MAX = 1 << 20

pytestmark = pytest.mark.skipif(servers.POOLER != "pgporter" or os.environ.get("CARRY") == "0", reason="LISTEN is shared by pgporter only")


def until(condition, what, deadline=10):
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "not within %gs: %s" % (deadline, what)
        time.sleep(0.02)


def listening(pooler):
    return [row for row in pooler.show("SERVERS") if row["state"] == "listening"]


def listening_pid(pooler):
    rows = listening(pooler)
    return int(rows[0]["remote_pid"]) if rows else None


def lost(cluster, pooler):
    """Ends the connection that listens; returns when another one does."""
    was = listening_pid(pooler)
    cluster.keeper.value("SELECT pg_terminate_backend(%d)" % was)
    until(lambda: listening_pid(pooler) not in (None, was), "another connection listens")


def heard(events):
    return [event[2:] for event in events if event[0] == "NotificationResponse"]


def kinds(events):
    return [event[0] for event in events]


def test_one_server_connection_listens_and_clients_hold_none(start_pooler):
    pooler = start_pooler(databases={"d": "pool_size=1"})
    with pooler.connect(database="d") as a, pooler.connect(database="d") as b, pooler.connect(database="d") as c:
        a.q("LISTEN one")
        b.q("LISTEN two; LISTEN one")
        assert c.value("SELECT 1") == "1"
        assert len(listening(pooler)) == 1 and not pooler.show("PINS")
        pool = [row for row in pooler.show("POOLS") if row["database"] == "d"][0]
        assert (pool["cl_listening"], pool["sv_listening"]) == ("2", "1")
        assert c.value("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'") == "2"
        c.q("NOTIFY one, 'x'")
        assert heard(a.until("NotificationResponse")) == heard(b.until("NotificationResponse")) == [("one", "x")]


def test_the_sender_is_known_by_the_pid_it_was_told(start_pooler, cluster):
    pooler = start_pooler(databases={"d": "pool_size=1"})
    with pooler.connect(database="d") as a, pooler.connect(database="d") as b:
        a.q("LISTEN news")
        for _ in range(50):
            b.q("NOTIFY news, 'by statement'")
            assert a.until("NotificationResponse")[0][1] == b.pid
            assert a.q("SELECT pg_notify('news', 'its own')")[-2][1] == a.pid
            b.q("SELECT pg_notify('news', 'by function')")
            assert a.until("NotificationResponse")[0][1] == b.pid
        with cluster.admin() as stranger:
            stranger.q("NOTIFY news")
            assert a.until("NotificationResponse")[0][1] == stranger.pid


def test_a_gap_is_told_and_listening_goes_on(start_pooler, cluster):
    pooler = start_pooler(databases={"d": "pool_size=2"})
    with pooler.connect(database="d") as a, pooler.connect(database="d") as b, pooler.connect(database="d") as c:
        a.q("LISTEN one; LISTEN two")
        b.q("LISTEN two")
        b.q("BEGIN")
        c.q("SELECT 1")
        lost(cluster, pooler)
        warning = a.until("NoticeResponse")[-1]
        assert warning[1:4] == ("V=WARNING", "C=01000", "M=notifications may have been missed")
        c.q("NOTIFY two, 'after'")
        assert heard(a.until("NotificationResponse")) == [("two", "after")]
        assert kinds(b.q("COMMIT")) == ["CommandComplete", "NoticeResponse", "NotificationResponse", "ReadyForQuery"]
        assert kinds(c.q("SELECT 1")) == ["RowDescription", "DataRow", "CommandComplete", "ReadyForQuery"]
        assert kinds(a.q("NOTIFY one")) == ["CommandComplete", "NotificationResponse", "ReadyForQuery"]


def test_listen_waits_for_a_server_that_is_away(start_pooler, cluster):
    pooler = start_pooler(databases={"d": "pool_size=2"})
    with pooler.connect(database="d") as a, pooler.connect(database="d") as b:
        a.q("LISTEN one")
        cluster.halt()
        b.query("LISTEN one").send()
        cluster.resume()
        assert a.until("NoticeResponse")[-1][2] == "C=01000"
        events = b.until("ReadyForQuery")
        assert kinds(events) == ["CommandComplete", "ReadyForQuery"], events
        b.q("NOTIFY one, 'x'")
        assert heard(a.until("NotificationResponse")) == [("one", "x")]


def test_who_is_amid_listen_when_it_is_lost_is_ended(start_pooler, cluster):
    pooler = start_pooler(databases={"d": "pool_size=2"})
    with pooler.connect(database="d") as a, pooler.connect(database="d") as b:
        a.q("LISTEN one")
        b.q("BEGIN; LISTEN two")
        lost(cluster, pooler)
        assert a.until("NoticeResponse")[-1][2] == "C=01000"
        assert b.read_eof()[0][:3] == ("ErrorResponse", "V=FATAL", "C=08006")


def test_pause_closes_it_and_resume_brings_it_back(start_pooler):
    pooler = start_pooler(databases={"d": "pool_size=2"})
    with pooler.connect(database="d") as a, pooler.connect(database="d") as b, pooler.console() as console:
        a.q("LISTEN one")
        console.q("PAUSE d")
        assert not listening(pooler)
        console.q("RESUME d")
        assert a.until("NoticeResponse")[-1][2] == "C=01000"
        b.q("NOTIFY one")
        assert heard(a.until("NotificationResponse")) == [("one", "")]
        console.q("RECONNECT d")
        assert a.until("NoticeResponse")[-1][2] == "C=01000"
        b.q("NOTIFY one")
        assert heard(a.until("NotificationResponse")) == [("one", "")]


def test_reconnect_waits_for_who_is_amid_listen(start_pooler):
    pooler = start_pooler(databases={"d": "pool_size=2", "other": "dbname=app pool_size=1"})

    def pid(database):
        return [row["remote_pid"] for row in listening(pooler) if row["database"] == database]

    with pooler.connect(database="d") as a, pooler.connect(database="d") as b, pooler.connect(database="other") as c, pooler.console() as console:
        a.q("LISTEN one")
        c.q("LISTEN one")
        was = {database: pid(database) for database in ("d", "other")}
        b.q("BEGIN; LISTEN two")
        console.q("RECONNECT")
        until(lambda: pid("other") not in (was["other"], []), "another connection that listens")
        assert kinds(b.q("COMMIT")) == ["CommandComplete", "ReadyForQuery"]
        until(lambda: pid("d") not in (was["d"], []), "another connection that listens")
        assert b.until("NoticeResponse")[-1][2] == "C=01000"
        a.q("NOTIFY two")
        assert heard(b.until("NotificationResponse")) == [("two", "")]


def test_a_database_that_is_listened_to_can_be_renamed(start_pooler, cluster):
    cluster.keeper.value("CREATE DATABASE listened")
    pooler = start_pooler(databases={"d": "dbname=listened pool_size=1", "d2": "dbname=heard pool_size=1", "m": "dbname=postgres pool_size=1"})
    with pooler.connect(database="d", user="boss") as a, pooler.connect(database="m", user="boss") as b:
        a.q("LISTEN one")
        assert b.q("ALTER DATABASE listened RENAME TO heard")[0] == ("CommandComplete", "ALTER DATABASE")
        assert b.q("ALTER DATABASE heard RENAME TO listened")[0] == ("CommandComplete", "ALTER DATABASE")
        assert a.until("NoticeResponse")[-1][2] == "C=01000"
        a.terminate()
        assert b.q("DROP DATABASE listened")[0] == ("CommandComplete", "DROP DATABASE")


def test_no_room_within_a_limit_pins(start_pooler):
    pooler = start_pooler(databases={"d": "pool_size=2 max_db_connections=1"})
    with pooler.connect(database="d") as a, pooler.connect(database="d") as b:
        a.q("BEGIN")
        a.q("LISTEN one")
        a.q("COMMIT")
        until(lambda: [row["reason"] for row in pooler.show("PINS")] == ["listen"], "it is pinned")
        assert kinds(a.q("NOTIFY one")) == ["CommandComplete", "NotificationResponse", "ReadyForQuery"]
        a.q("UNLISTEN *")
        assert b.value("SELECT 1") == "1"
        pooler.process.wait_line("LISTEN can't be shared")


@pytest.mark.parametrize("ask", [lambda conn, sql: conn.q(sql), lambda conn, sql: conn.x(sql)], ids=["simple", "extended"])
def test_a_limit_that_pins_have_nearly_used_up_pins(start_pooler, ask):
    """The listening connection would take the last place, and who wants to listen waits for one."""
    pooler = start_pooler(databases={"d": "pool_size=2 max_db_connections=2"})
    with pooler.connect(database="d") as holder, pooler.connect(database="d") as a:
        holder.value("SELECT pg_advisory_lock(77)")
        ask(a, "LISTEN one")
        assert kinds(a.q("NOTIFY one")) == ["CommandComplete", "NotificationResponse", "ReadyForQuery"]
        assert not listening(pooler)
        assert holder.value("SELECT pg_advisory_unlock(77)") == "t"
        holder.q("NOTIFY one, 'x'")
        assert heard(a.until("NotificationResponse")) == [("one", "x")]


def test_an_unused_one_is_given_up_for_who_waits(start_pooler):
    """It counts in max_db_connections, and a pool's own size is not touched by it."""
    pooler = start_pooler(databases={"d": "pool_size=2 max_db_connections=2"})
    with pooler.connect(database="d") as a, pooler.connect(database="d") as b, pooler.connect(database="d", deadline=0.5) as c:
        a.q("LISTEN one")
        b.q("BEGIN")
        with pytest.raises(rawpg.Deadline):
            c.q("BEGIN")
        b.q("COMMIT")
        c.deadline = 5
        assert kinds(c.until("ReadyForQuery")) == ["CommandComplete", "ReadyForQuery"]


def test_session_pooling_listens_by_itself(start_pooler):
    pooler = start_pooler({"pool_mode": "session"}, {"d": "pool_size=2"})
    with pooler.connect(database="d") as a, pooler.connect(database="d") as b:
        a.q("LISTEN one")
        b.q("NOTIFY one, 'x'")
        assert heard(a.until("NotificationResponse")) == [("one", "x")]
        assert not listening(pooler)


def test_channels_nobody_wants_are_given_up(start_pooler, cluster):
    pooler = start_pooler(databases={"d": "pool_size=1"})
    with pooler.connect(database="d") as a, pooler.connect(database="d") as b:
        for number in range(20):
            a.q("LISTEN c%d" % number)
        b.q("LISTEN kept")
        a.terminate()
        asked = "SELECT query LIKE 'UNLISTEN%%' FROM pg_stat_activity WHERE pid = %d" % listening_pid(pooler)
        until(lambda: cluster.keeper.value(asked) == "t", "UNLISTEN was sent", 15)
        b.q("NOTIFY kept")


def test_a_listener_that_does_not_read_is_closed_and_delays_nobody(start_pooler):
    pooler = start_pooler(databases={"d": "pool_size=2"})
    deaf = rawpg.Conn(pooler.address, "app", "d", login=False)
    deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.startup({})
    with deaf, pooler.connect(database="d") as a, pooler.connect(database="d") as b:
        deaf.q("LISTEN news")
        a.q("LISTEN news")
        size, sent = 7900, 0
        while not any("leaves its notifications unread" in line for line in pooler.process.lines):
            assert sent < 3000, "it is never closed"
            b.q("NOTIFY news, '%d %s'" % (sent, "x" * size))
            got = a.until("NotificationResponse")
            assert kinds(got) == ["NotificationResponse"]
            sent += 1
        assert sent * size > UNREAD_MAX
        assert deaf.pid and b.value("SELECT 1") == "1"


def test_one_that_stays_in_a_transaction_is_closed_at_the_same_bound(start_pooler):
    pooler = start_pooler(databases={"d": "pool_size=2"})
    with pooler.connect(database="d") as a, pooler.connect(database="d") as b:
        a.q("LISTEN news")
        a.q("BEGIN")
        for number in range(UNREAD_MAX // 7900 + 2):
            b.q("NOTIFY news, '%d %s'" % (number, "x" * 7900))
        got = a.read_eof()
        assert got[-1][:3] == ("ErrorResponse", "V=FATAL", "C=53400"), got[-1:]


class Listener:
    """A client that counts what it hears, in as little code a notification as possible."""

    def __init__(self, pooler, number, channels):
        self.conn = rawpg.Conn(pooler.address, "app", "d", deadline=60)
        self.number, self.channels = number, channels
        self.buffer = b""
        self.got = collections.defaultdict(list)
        self.count = 0

    def fileno(self):
        return self.conn.sock.fileno()

    def take(self):
        data = self.conn.sock.recv(1 << 18)
        assert data, "listener %d was closed" % self.number
        data, at = self.buffer + data, 0
        while len(data) - at >= 5:
            size = struct.unpack_from("!i", data, at + 1)[0] + 1
            if len(data) - at < size:
                break
            assert data[at:at + 1] == b"A", data[at:at + size]
            channel, payload = data[at + 9:at + size - 1].split(b"\0")
            self.got[channel.decode()].append(int(payload))
            self.count += 1
            at += size
        self.buffer = data[at:]


def channels_of(number):
    """All listen to `everyone`; the others' sizes fall from a half of the listeners down to a few."""
    mine = ["everyone"]
    for channel in range(1, CHANNELS):
        if number % (channel + 1) == 0 and (channel < 4 or number % 7 == channel % 7):
            mine.append("c%d" % channel)
    return mine


def test_thousands_of_listeners_hear_everything_once_and_in_order(start_pooler, cluster):
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files[1] != resource.RLIM_INFINITY and files[1] < LISTENERS + 200:
        pytest.skip("RLIMIT_NOFILE is %d" % files[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files[1], files[1]))
    pooler = start_pooler({"max_client_conn": LISTENERS + 50}, {"d": "pool_size=2"})
    everyone = [Listener(pooler, number, channels_of(number)) for number in range(LISTENERS)]
    deaf = Listener(pooler, 0, ["everyone", "c1"])
    for one in everyone + [deaf]:
        one.conn.query("; ".join("LISTEN %s" % channel for channel in one.channels)).send()
    for one in everyone + [deaf]:
        assert all(event[0] != "ErrorResponse" for event in one.conn.go())
    assert len(listening(pooler)) == 1
    with cluster.admin("postgres") as admin:
        assert int(admin.value("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'")) <= 3

    sent = collections.defaultdict(list)
    plan = ["everyone" if n % 20 == 0 else "c%d" % (1 + n * 37 % (CHANNELS - 1)) for n in range(NOTIFICATIONS)]
    expected = 0
    sizes = collections.Counter(channel for one in everyone for channel in one.channels)
    selector = selectors.DefaultSelector()
    for one in everyone:
        selector.register(one.fileno(), selectors.EVENT_READ, one)
    with pooler.connect(database="d", deadline=60) as a, pooler.connect(database="d", deadline=60) as b:
        for n in range(0, NOTIFICATIONS, 50):
            # Two notifiers by turns, half of them in one transaction each.
            part = list(enumerate(plan[n:n + 50], n))
            teller = b if n % 100 else a
            text = "; ".join("NOTIFY %s, '%d'" % (channel, number) for number, channel in part)
            teller.q(text)
            for number, channel in part:
                sent[channel].append(number)
                expected += sizes[channel]
            for key, _ in selector.select(0):
                key.data.take()
        end = time.monotonic() + 55 + LISTENERS / 50
        while sum(one.count for one in everyone) < expected:
            ready = selector.select(5)
            assert ready and time.monotonic() < end, "%d of %d notifications came" % (sum(one.count for one in everyone), expected)
            for key, _ in ready:
                key.data.take()
        for one in everyone:
            assert {channel: sent[channel] for channel in one.channels if sent[channel]} == one.got, one.number
        assert b.value("SELECT 1") == "1"
    for one in everyone + [deaf]:
        one.conn.drop()
    print("%d listeners, %d notifications, %d delivered" % (LISTENERS, NOTIFICATIONS, expected))
