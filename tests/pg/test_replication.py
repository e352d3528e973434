"""Replication connections: each has a server connection of its own, and everything on it goes through both ways."""

import contextlib
import os
import signal
import struct
import subprocess
import time

import pytest

import rawpg
import servers

pytestmark = pytest.mark.skipif(servers.POOLER != "pgporter", reason="through pgporter, beside a direct connection")

HBA = """
local replication walker,boss trust
host replication walker,boss 127.0.0.1/32 trust
host replication walker_scram 127.0.0.1/32 scram-sha-256
host all walker 127.0.0.1/32 trust
host all walker_scram 127.0.0.1/32 scram-sha-256
"""
ENTRIES = {"replication": "dbname=app", "small": "dbname=app pool_size=1"}


@pytest.fixture(scope="module")
def publisher():
    """A PostgreSQL with WAL senders."""
    space = servers.Workspace()
    try:
        server = servers.Cluster(space, {"wal_level": "logical", "max_wal_senders": "8", "max_replication_slots": "8",
                                         "wal_sender_timeout": "20s"}, HBA)
        try:
            with server.admin() as conn:
                conn.value("CREATE ROLE walker LOGIN REPLICATION; CREATE TABLE told (n int PRIMARY KEY); GRANT ALL ON told TO PUBLIC")
                conn.value("CREATE ROLE walker_scram LOGIN REPLICATION PASSWORD 'sekret-walker'")
            yield server
        finally:
            server.stop()
    finally:
        space.remove()


@pytest.fixture(scope="module")
def front(publisher):
    made = servers.Pooler(publisher, {"log_connections": 1}, ENTRIES)
    with open(os.path.join(made.home, "userlist.txt"), "a") as out:
        out.write('"walker" ""\n"walker_scram" "sekret-walker"\n')
    with made.console() as console:
        console.q("RELOAD")
    try:
        yield made
    finally:
        made.stop()


def connect(server, value, database="app", user="walker", **more):
    return rawpg.Conn(server.address, user, database, {"replication": value}, **more)


def played(server, database, value):
    """What a client is told, but for what differs from one connection to the next."""
    with connect(server, value, database) as conn:
        told = [conn.closed, conn.parameters, conn.status]
        for sql in ("IDENTIFY_SYSTEM", "SHOW wal_level", "TIMELINE_HISTORY 1", "NO_SUCH_COMMAND", "SELECT 1",
                    "CREATE_REPLICATION_SLOT s TEMPORARY PHYSICAL", "DROP_REPLICATION_SLOT s"):
            events = conn.q(sql)
            told.append((sql, [tuple(str(part).split("/")[0] for part in event) for event in events]))
        return told


@pytest.mark.parametrize("value", ["true", "on", "1", "yes", "database", "t", "ON"])
def test_commands_are_answered_as_direct(publisher, front, value):
    assert played(front, "p2", value) == played(publisher, "app", value)


@pytest.mark.parametrize("value", ["nonsense", "", "2", "Database"])
def test_a_value_that_means_nothing_is_refused_as_direct(publisher, front, value):
    def refused(server, database):
        conn = rawpg.Conn(server.address, "walker", database, login=False)
        body = b"\0\3\0\0" + b"".join(rawpg.cstr(part) for part in ("user", "walker", "database", database, "replication", value))
        conn.raw(struct.pack("!i", len(body) + 5) + body + b"\0")
        events = [event for event in conn.read_eof() if event[0] == "ErrorResponse"]
        conn.drop()
        return events
    assert refused(front, "p2") == refused(publisher, "app") != []


@pytest.mark.parametrize("value", ["false", "off", "0", "no", "f", "n"])
def test_no_is_no(front, value):
    with connect(front, value, "p2") as conn:
        assert conn.value("SELECT 1 + 1") == "2"


def test_who_may_not_replicate_is_told_by_postgresql(publisher, front):
    def refused(server, database):
        with connect(server, "database", database, user="app") as conn:
            assert conn.closed
        got = rawpg.Conn(server.address, "app", database, login=False)
        body = b"\0\3\0\0" + b"".join(rawpg.cstr(x) for x in ("user", "app", "database", database, "replication", "database"))
        got.raw(struct.pack("!i", len(body) + 5) + body + b"\0")
        return [event for event in got.read_eof() if event[0] == "ErrorResponse"]
    assert refused(front, "p2") == refused(publisher, "app") != []


def test_a_password_is_asked_for_on_both_sides(publisher):
    scram = servers.Pooler(publisher, {"auth_type": "scram-sha-256"}, ENTRIES)
    with open(os.path.join(scram.home, "userlist.txt"), "a") as out:
        out.write('"walker_scram" "sekret-walker"\n')
    try:
        scram.process.signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while True:
            with connect(scram, "true", "p2", "walker_scram", password="sekret-walker") as conn:
                if not conn.closed:
                    assert conn.q("IDENTIFY_SYSTEM")[-1] == ("ReadyForQuery", "I")
                    break
            assert time.monotonic() < deadline
        with connect(scram, "true", "p2", "walker_scram", password="wrong") as conn:
            assert conn.closed
    finally:
        scram.stop()


def test_startup_parameters_go_with_it(front):
    with rawpg.Conn(front.address, "walker", "p2", {"replication": "database", "options": "-c work_mem=5MB",
                                                     "application_name": "the walker"}) as conn:
        assert conn.parameters["application_name"] == "the walker"
        assert conn.value("SELECT current_setting('work_mem')") == "5MB"


def test_it_is_shown_and_counted_and_gone_at_its_end(publisher, front):
    def shown(what):
        return sorted((row["user"], row["replication"]) for row in front.show(what) if row["user"] == "walker")

    def senders():
        return publisher.keeper.value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'")

    with connect(front, "true", "p2") as a, connect(front, "database", "p2") as b:
        assert a.q("IDENTIFY_SYSTEM") and b.value("SELECT 1")
        assert shown("CLIENTS") == shown("SERVERS") == [("walker", "logical"), ("walker", "physical")]
        assert senders() == "2"
        c = rawpg.Conn(front.address, "walker", "p2", login=False)
        body = b"\0\3\0\0" + b"".join(rawpg.cstr(x) for x in ("user", "walker", "database", "p2", "replication", "true")) + b"\0"
        c.raw(struct.pack("!i", len(body) + 4) + body)
        while not any(row["user"] == "walker" and row["cl_waiting"] == "1" for row in front.show("POOLS")):
            pass
        assert senders() == "2"
        a.terminate()
        while c.read()[0] != "ReadyForQuery":
            pass
        assert c.q("IDENTIFY_SYSTEM")
        c.drop()
    while senders() != "0":
        pass
    while shown("SERVERS"):
        pass


def stream(conn, sql):
    """START_REPLICATION up to CopyBothResponse."""
    assert conn.query(sql).until("CopyBothResponse", "ErrorResponse")[-1][0] == "CopyBothResponse"


def wal_data(conn):
    """The next piece of WAL or of decoded text; keepalives are answered."""
    while True:
        kind, body = conn.raw_message()
        assert kind == "d", (kind, body)
        if body[:1] == b"w":
            return body[25:]
        conn.raw(rawpg.message("d", b"r" + struct.pack("!QQQqB", 0, 0, 0, 0, 0)))


def test_changes_are_decoded_and_streamed(publisher, front):
    with connect(front, "database", "p2") as conn, publisher.admin() as direct:
        conn.q("CREATE_REPLICATION_SLOT decoded TEMPORARY LOGICAL test_decoding")
        stream(conn, "START_REPLICATION SLOT decoded LOGICAL 0/0")
        for n in range(50):
            direct.value("INSERT INTO told VALUES (%d)" % n)
            got = b""
            while b"COMMIT" not in got:
                got += wal_data(conn)
            assert b"n[integer]:%d" % n in got
        conn.raw(rawpg.message("c"))
        while conn.raw_message()[0] != "Z":
            pass
        assert conn.value("SELECT count(*) FROM told") == "50"


def test_much_wal_goes_through_a_slow_reader(publisher, front):
    with connect(front, "true", "p2", deadline=20) as conn, publisher.admin() as direct:
        at = direct.value("SELECT pg_current_wal_lsn()")
        direct.value("CREATE TABLE large AS SELECT repeat(md5(n::text), 40) AS v FROM generate_series(1, 20000) n")
        direct.value("DROP TABLE large")
        end = direct.value("SELECT pg_current_wal_lsn()")
        want = int(direct.value("SELECT '%s'::pg_lsn - '%s'::pg_lsn" % (end, at)))
        stream(conn, "START_REPLICATION %s TIMELINE 1" % at)
        got = 0
        while got < want:
            got += len(wal_data(conn))


def run(publisher, tool, *arguments, **more):
    command = [os.path.join(publisher.bin, tool), *arguments]
    return subprocess.run(servers.command_as_user(command), capture_output=True, text=True, timeout=50, cwd="/", **more)


def test_pg_basebackup(publisher, front):
    target = os.path.join(publisher.space.path, "backup")
    done = run(publisher, "pg_basebackup", "-h", "127.0.0.1", "-p", str(front.port), "-U", "walker", "-D", target, "-X", "stream",
               "-c", "fast", "--no-sync")
    assert done.returncode == 0, done.stderr
    checked = run(publisher, "pg_verifybackup", target)
    assert checked.returncode == 0, checked.stderr


def test_pg_receivewal(publisher, front):
    target = publisher.space.folder("wal")
    with publisher.admin() as direct:
        end = direct.value("SELECT pg_current_wal_lsn() + 100")
        receiver = servers.Process("pg_receivewal", [os.path.join(publisher.bin, "pg_receivewal"), "-h", "127.0.0.1", "-p", str(
            front.port), "-U", "walker", "-D", target, "--endpos", end, "--no-loop", "--no-sync", "-v"])
        receiver.wait_line("starting log streaming")
        direct.value("INSERT INTO told SELECT generate_series(1000, 1100)")
        direct.value("SELECT pg_switch_wal()")
        assert receiver.wait(30) == 0, receiver.output()
    assert os.listdir(target)


def test_pg_recvlogical(publisher, front):
    where = ("-h", "127.0.0.1", "-p", str(front.port), "-U", "walker", "-d", "p3", "--slot", "received")
    made = run(publisher, "pg_recvlogical", *where, "--create-slot", "-P", "test_decoding")
    assert made.returncode == 0, made.stderr
    receiver = servers.Process("pg_recvlogical", [os.path.join(publisher.bin, "pg_recvlogical"), *where, "--start", "--no-loop", "-f", "-"])
    with publisher.admin() as direct:
        direct.value("INSERT INTO told VALUES (5000)")
    receiver.wait_line(r"n\[integer\]:5000")
    receiver.signal(2)
    assert receiver.wait(20) == 0, receiver.output()
    dropped = run(publisher, "pg_recvlogical", *where, "--drop-slot")
    assert dropped.returncode == 0, dropped.stderr


def test_psycopg2(publisher, front):
    psycopg2 = pytest.importorskip("psycopg2")
    extras = pytest.importorskip("psycopg2.extras")
    made = psycopg2.connect(host="127.0.0.1", port=front.port, user="walker", dbname="p4",
                            connection_factory=extras.LogicalReplicationConnection)
    with contextlib.closing(made) as conn, publisher.admin() as direct:
        cursor = conn.cursor()
        cursor.create_replication_slot("by_psycopg", output_plugin="test_decoding")
        try:
            direct.value("INSERT INTO told VALUES (6000)")
            cursor.start_replication(slot_name="by_psycopg", decode=True)
            seen = ""
            until = time.monotonic() + 20
            while "6000" not in seen and time.monotonic() < until:
                message = cursor.read_message()
                if message:
                    seen += message.payload
            assert "n[integer]:6000" in seen
        finally:
            conn.close()
            while direct.value("SELECT active FROM pg_replication_slots WHERE slot_name = 'by_psycopg'") == "t":
                pass
            direct.value("SELECT pg_drop_replication_slot('by_psycopg')")


def test_the_server_ends_it(publisher, front):
    with connect(front, "database", "p2") as conn:
        publisher.keeper.value("SELECT pg_terminate_backend(%s)" % conn.value("SELECT pg_backend_pid()"))
        assert "C=57P01" in conn.read_eof()[0]
