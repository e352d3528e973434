"""Whoever is ended while half of a message is on its way to it reads no byte that isn't that message's.

A PostgreSQL that dies, or is told to end a session, in the middle of a row closes the connection and says no more: what
came next would be read as the row's. So it is here, whatever ends the client.
"""

import select
import signal
import socket
import struct
import threading

import pytest

import rawpg
import servers

only_here = pytest.mark.skipif(servers.POOLER != "pgporter", reason="about pgporter itself")

MARK = b"CUT HERE"
ROW = "SELECT repeat('x', %d) || 'CUT' || ' HERE' || repeat('y', 100000)"


class Cutter:
    """Carries bytes between the pooler and PostgreSQL until PostgreSQL has said the mark; what is behind that it keeps."""

    def __init__(self, to):
        self.to, self.ended = to, False
        self.cut = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(self.to)
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near, far):
        seen = b""
        with near, far:
            while not self.ended:
                for sock in select.select([near, far], [], [], 0.02)[0]:
                    try:
                        data = sock.recv(65536)
                        if not data:
                            return
                        if sock is near:
                            far.sendall(data)
                            continue
                        if self.cut.is_set() and MARK in seen:
                            continue
                        at = (seen + data).find(MARK)
                        near.sendall(data if at < 0 else data[:at + len(MARK) - len(seen)])
                        seen = MARK if at >= 0 else (seen + data)[-len(MARK) + 1:]
                        if at >= 0:
                            self.cut.set()
                    except OSError:
                        return

    def close(self):
        self.ended = True
        self.listener.close()


class Stage:
    """A pooler, a server that stops in the middle of a row, and a client that has read that much of it."""

    def __init__(self, cluster, start_pooler, **options):
        self.cutter = Cutter(cluster.address)
        self.database = "host=127.0.0.1 port=%d dbname=app" % self.cutter.port
        self.pooler = start_pooler({"query_wait_timeout": 5, **options}, {"cut": self.database})
        self.client = self.pooler.connect(database="cut")
        self.said = b""

    def ask(self, size, extended=False):
        if extended:
            self.client.parse("", ROW % size).bind().describe("P").execute().sync().send()
        else:
            self.client.query(ROW % size).send()
        assert self.cutter.cut.wait(5)
        while not self.said.endswith(MARK):
            self.said += self.client.sock.recv(65536)

    def rest(self):
        """What the client reads up to the end."""
        rest = b""
        while True:
            try:
                data = self.client.sock.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return rest
            rest += data


def _id(stage):
    return next(row["id"] for row in stage.pooler.show("CLIENTS") if row["database"] == "cut")


def say(stage, sql):
    with stage.pooler.console() as console:
        console.query(sql).send()
        console.read_eof() if sql == "SHUTDOWN" else console.until("ReadyForQuery")


def reload_without(stage):
    path = stage.pooler.ini
    with open(path) as lines:
        text = "".join(line for line in lines if not line.startswith("cut "))
    with open(path, "w") as out:
        out.write(text)
    say(stage, "RELOAD")


ENDS = {
    "the server is lost": ({}, lambda s: s.cutter.close()),
    "query_timeout": ({"query_timeout": 0.5}, None),
    "transaction_timeout": ({"transaction_timeout": 0.5}, None),
    "KILL": ({}, lambda s: say(s, "KILL cut")),
    "KILL_CLIENT": ({}, lambda s: say(s, "KILL_CLIENT " + _id(s))),
    "shutdown": ({}, lambda s: (say(s, "SHUTDOWN"), s.pooler.ended())),
    "SIGQUIT": ({}, lambda s: (s.pooler.process.signal(signal.SIGQUIT), s.pooler.ended())),
    "removed from the configuration": ({}, reload_without),
}


@only_here
@pytest.mark.parametrize("end, extended, size", [(end, False, 10) for end in ENDS] + [("KILL", True, 200000), ("the server is lost", True, 200000)])
def test_nothing_is_said_in_the_middle_of_a_row(cluster, start_pooler, end, extended, size):
    options, act = ENDS[end]
    stage = Stage(cluster, start_pooler, **options)
    if end == "transaction_timeout":
        stage.client.q("BEGIN")
    stage.ask(size, extended)
    if act:
        act(stage)
    assert stage.rest() == b""
    stage.cutter.close()


@only_here
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_nothing_is_said_in_the_middle_of_copied_data(cluster, start_pooler, mode):
    stage = Stage(cluster, start_pooler, pool_mode=mode)
    stage.client.query("COPY (%s) TO STDOUT" % ROW % 1000).send()
    assert stage.cutter.cut.wait(5)
    while not stage.said.endswith(MARK):
        stage.said += stage.client.sock.recv(65536)
    say(stage, "KILL cut")
    assert stage.rest() == b""
    stage.cutter.close()


@only_here
def test_between_two_rows_it_is_said(cluster, start_pooler):
    """The same, one byte further: the row is whole, and the client is told why."""
    stage = Stage(cluster, start_pooler)
    stage.client.query("SELECT 'CUT' || ' HERE'").send()
    assert stage.cutter.cut.wait(5)
    events = stage.client.until("DataRow")
    assert events[-1] == ("DataRow", MARK.decode())
    say(stage, "KILL cut")
    assert stage.client.read_eof() == [("ErrorResponse", "V=FATAL", "C=57P01", "M=admin forced disconnect")]
    stage.cutter.close()


@only_here
def test_a_row_that_is_not_the_clients_does_not_silence(cluster, start_pooler):
    """Half of an answer to a statement of pgporter's own has come: the client is told."""
    stage = Stage(cluster, start_pooler)
    stage.client.value("SET my.a = '%s'" % ("x" * 30000))
    stage.client.query("DO $$BEGIN PERFORM set_config('my.a', repeat('x', 30000) || 'CUT' || ' HERE' || repeat('y', 30000), false); END$$").send()
    assert stage.cutter.cut.wait(5)
    say(stage, "KILL cut")
    assert stage.client.read_eof()[-1] == ("ErrorResponse", "V=FATAL", "C=57P01", "M=admin forced disconnect")
    stage.cutter.close()


def test_a_server_ended_in_the_middle_of_a_row_says_no_more(cluster):
    """What all this is like: PostgreSQL itself."""
    with rawpg.Conn(cluster.address, deadline=20) as client, cluster.admin() as admin:
        client.query("SELECT repeat('x', 50000000)").send()
        head = b""
        while len(head) < 5:
            head += client.sock.recv(5)
        admin.value("SELECT pg_terminate_backend(%d)" % client.pid)
        rest = bytearray(head)
        while True:
            data = client.sock.recv(1 << 20)
            if not data:
                break
            rest += data
        at = 0
        while at + 5 <= len(rest) and at + 1 + struct.unpack_from("!i", rest, at + 1)[0] <= len(rest):
            assert rest[at:at + 1] == b"T"
            at += 1 + struct.unpack_from("!i", rest, at + 1)[0]
        assert rest[at:at + 1] == b"D" and b"FATAL" not in rest[-1000:]
