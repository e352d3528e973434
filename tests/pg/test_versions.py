"""Which version of the protocol a client is answered in when nobody has logged in to its server yet."""

import socket
import struct
import threading

import pytest

import rawpg
import servers


class Log(rawpg.Conn):
    """Keeps what it is told."""

    def __init__(self, *args, **how):
        self.events = []
        super().__init__(*args, **how)

    def saw(self, event):
        self.events.append(event)

    def versions(self):
        return [event for event in self.events if event[0] in ("NegotiateProtocolVersion", "BackendKeyData")]


def connect(place, database, **how):
    return Log(place.address, database=database, protocol=how.pop("protocol", rawpg.PROTOCOL_3_2), **how)


@pytest.mark.row("protocol")
@pytest.mark.parametrize("protocol", [rawpg.PROTOCOL_3_2, 3 << 16 | 9999, 4 << 16], ids=["3.2", "3.9999", "4.0"])
def test_the_first_client_is_answered_as_by_its_server(cluster, start_pooler, protocol):
    """Before it has proven who it is, and with nobody else's credentials there."""
    pooler = start_pooler()
    with connect(cluster, "app", protocol=protocol) as direct, connect(pooler, "p1", protocol=protocol) as client:
        expected = direct.versions() or [e[1:] for e in direct.events]
        if protocol == 4 << 16 and servers.pg_version() == 13:  # nobody has heard that it is 13
            expected = [tuple(f.replace("2.0", "3.0") for f in e) for e in expected]
        assert (client.versions() or [e[1:] for e in client.events]) == expected


@pytest.mark.row("protocol")
def test_the_first_client_with_a_password_is_answered_as_by_its_server(cluster, start_pooler):
    pooler = start_pooler({"auth_type": "scram-sha-256"})
    how = {"user": "u_scram", "password": servers.SECRETS["u_scram"]}
    with connect(cluster, "app", **how) as direct, connect(pooler, "p1", **how) as client:
        assert client.versions() == direct.versions()
        assert client.value("SELECT 'in'") == "in"


def test_many_first_clients_are_answered_by_one_question(cluster, start_pooler):
    pooler = start_pooler({"verbose": 1, "log_connections": 1})
    clients = [connect(pooler, "p1", login=False) for _ in range(10)]
    packet = struct.pack("!i", rawpg.PROTOCOL_3_2) + b"user\0app\0database\0p1\0\0"
    for client in clients:
        client.raw(struct.pack("!i", len(packet) + 4) + packet)
    for client in clients:
        client.until("ReadyForQuery")
        assert client.value("SELECT 1") == "1"
        client.terminate()
    pooler.process.wait_line("asked which protocol")
    assert sum("asked which protocol" in line for line in pooler.process.lines) == 1


def test_names_that_clients_make_up_are_one_question(cluster, start_pooler):
    """Nobody who has not proven who he is can have PostgreSQL started on more connections than one."""
    pooler = start_pooler({"verbose": 1}, {"*": "host=127.0.0.1 port=%d dbname=app" % cluster.port})
    clients = [connect(pooler, "p1", login=False) for _ in range(10)]
    for n, client in enumerate(clients):
        packet = struct.pack("!i", rawpg.PROTOCOL_3_2) + b"user\0app\0database\0made%d\0\0" % n
        client.raw(struct.pack("!i", len(packet) + 4) + packet)
    for client in clients:
        client.until("ReadyForQuery")
        assert len(client.key) == (32 if servers.pg_version() >= 18 else 4)
        client.terminate()
    pooler.process.wait_line("asked which protocol")
    assert sum("asked which protocol" in line for line in pooler.process.lines) == 1


def test_another_server_by_reload_is_asked_anew(start_pooler):
    old, new = (Odd(rawpg.message("v", struct.pack("!ii", 3 << 16 | minor, 0)), hang=True) for minor in (0, 2))
    pooler = start_pooler(databases={"odd": "host=127.0.0.1 port=%d dbname=app" % old.port})
    packet = struct.pack("!i", rawpg.PROTOCOL_3_2) + b"user\0app\0database\0odd\0\0"

    def first_words():
        with connect(pooler, "odd", login=False) as client:
            client.raw(struct.pack("!i", len(packet) + 4) + packet)
            return client.read()

    assert first_words() == ("NegotiateProtocolVersion", 0)
    with open(pooler.ini) as lines:
        text = lines.read()
    with open(pooler.ini, "w") as out:
        out.write(text.replace("port=%d" % old.port, "port=%d" % new.port))
    with pooler.console() as console:
        console.q("RELOAD")
    assert first_words() == ("Authentication", 0)
    old.close()
    new.close()


def test_a_client_of_3_0_asks_nothing(cluster, start_pooler):
    pooler = start_pooler({"verbose": 1})
    with connect(pooler, "p1", protocol=rawpg.PROTOCOL_3_0, params={"_pq_.something": "1"}) as client:
        assert client.versions() == [("NegotiateProtocolVersion", 0, "_pq_.something"), ("BackendKeyData", 4)]
    assert not any("asked which protocol" in line for line in pooler.process.lines)


def test_the_console_speaks_3_2(start_pooler):
    with connect(start_pooler(), "pgbouncer", user="console", protocol=3 << 16 | 3) as client:
        assert client.versions() == [("NegotiateProtocolVersion", 2), ("BackendKeyData", 32)]


def test_an_unknown_database_is_answered_in_3_0(start_pooler):
    with connect(start_pooler(), "nowhere") as client:
        assert client.versions() == [("NegotiateProtocolVersion", 0)]
        assert client.events[-2][3] == "M=no such database: nowhere"


def test_versions_before_3_are_refused_in_their_own_words(start_pooler):
    """PostgreSQL 18 says the same."""
    for major, minor in ((1, 0), (2, 0)):
        with connect(start_pooler(), "p1", login=False) as client:
            client.raw(struct.pack("!iHH", 8, major, minor))
            with client.sock.makefile("rb") as said:
                told = said.read()
            assert told == b"EFATAL:  unsupported frontend protocol %d.%d: server supports 3.0 to 3.2\n\0" % (major, minor)


class Odd:
    """A server that is no PostgreSQL: it says one thing to everybody, whatever it is asked."""

    def __init__(self, answer, hang=False):
        self.answer, self.hang, self.held = answer, hang, []
        self.asked = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.asked.append(sock.recv(65536))
            sock.sendall(self.answer)
            self.held.append(sock)
            if not self.hang:
                sock.close()

    def close(self):
        self.listener.close()
        for sock in self.held:
            sock.close()


REFUSED = rawpg.message("E", b"SFATAL\0VFATAL\0C08P01\0Munsupported protocol version\0\0")


@pytest.mark.parametrize("answer, hang", [
    (b"", False), (b"", True), (REFUSED, False), (rawpg.message("v", b""), False), (rawpg.message("v", struct.pack("!ii", 4 << 16, 0)), False),
    (rawpg.message("v", struct.pack("!ii", 3 << 16, 0)), True), (rawpg.message("R", bytes(4)), True), (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
], ids=["hangs up", "says nothing", "refuses", "an empty answer", "4.0", "3.0", "lets in", "another protocol"])
def test_a_server_that_does_not_say_is_stood_for_in_3_0(start_pooler, answer, hang):
    odd = Odd(answer, hang)
    pooler = start_pooler({"server_connect_timeout": 1}, {"odd": "host=127.0.0.1 port=%d dbname=app" % odd.port})
    with connect(pooler, "odd", login=False) as client:
        packet = struct.pack("!i", rawpg.PROTOCOL_3_2) + b"user\0app\0database\0odd\0\0"
        client.raw(struct.pack("!i", len(packet) + 4) + packet)
        assert client.read() == ("NegotiateProtocolVersion", 0)
        assert client.read() == ("Authentication", 0)
    assert odd.asked[0] == struct.pack("!iib", 9, 3 << 16 | 9999, 0)
    odd.close()


def test_a_newer_server_than_pgporter_is_stood_for_in_3_2(start_pooler):
    odd = Odd(rawpg.message("v", struct.pack("!ii", 3 << 16 | 7, 0)), hang=True)
    pooler = start_pooler(databases={"odd": "host=127.0.0.1 port=%d dbname=app" % odd.port})
    with connect(pooler, "odd", login=False) as client:
        packet = struct.pack("!i", 3 << 16 | 8) + b"user\0app\0database\0odd\0\0"
        client.raw(struct.pack("!i", len(packet) + 4) + packet)
        assert client.read() == ("NegotiateProtocolVersion", 2)
    odd.close()


def test_a_client_that_leaves_while_its_server_is_asked(start_pooler):
    odd = Odd(b"", hang=True)
    pooler = start_pooler({"server_connect_timeout": 1}, {"odd": "host=127.0.0.1 port=%d dbname=app" % odd.port})
    packet = struct.pack("!i", rawpg.PROTOCOL_3_2) + b"user\0app\0database\0odd\0\0"
    with connect(pooler, "odd", login=False) as stays:
        for _ in range(3):
            with connect(pooler, "odd", login=False) as leaves:
                leaves.raw(struct.pack("!i", len(packet) + 4) + packet)
        stays.raw(struct.pack("!i", len(packet) + 4) + packet)
        assert stays.read() == ("NegotiateProtocolVersion", 0)
    odd.close()
    with pooler.connect(1) as conn:
        assert conn.value("SELECT 1") == "1"
