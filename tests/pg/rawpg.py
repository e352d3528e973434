"""A small PostgreSQL client that speaks protocol 3 by hand.

It sends exactly the messages it is told to and keeps every reply as an event: a tuple whose first item is the
message's name, the rest its essentials. What differs from one connection to the next by nature is masked: process
ids and cancel keys. Where the server names its own source file and line in an error, that is left out.

Every read has a deadline; Deadline is raised when it passes, Gone when a message was expected from a closed peer.
"""

import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct
import time

PROTOCOL_3_0 = 3 << 16
PROTOCOL_3_2 = 3 << 16 | 2
SSL_REQUEST = 1234 << 16 | 5679
GSSENC_REQUEST = 1234 << 16 | 5680
CANCEL_REQUEST = 1234 << 16 | 5678

DEADLINE = float(os.environ.get("DEADLINE", "5"))
LONG_VALUE = 200  # longer ones are compared by length and digest: a readable diff stays readable

NAMES = {
    "1": "ParseComplete", "2": "BindComplete", "3": "CloseComplete", "A": "NotificationResponse",
    "c": "CopyDone", "C": "CommandComplete", "d": "CopyData", "D": "DataRow", "E": "ErrorResponse",
    "f": "CopyFail", "G": "CopyInResponse", "H": "CopyOutResponse", "I": "EmptyQueryResponse",
    "K": "BackendKeyData", "n": "NoData", "N": "NoticeResponse", "R": "Authentication",
    "s": "PortalSuspended", "S": "ParameterStatus", "t": "ParameterDescription", "T": "RowDescription",
    "v": "NegotiateProtocolVersion", "V": "FunctionCallResponse", "W": "CopyBothResponse", "Z": "ReadyForQuery",
}
ERROR_FIELDS = "VCMDHPWstcdn"  # not S: translated; not F, L, R: the server's source


class Deadline(Exception):
    """The peer did not answer in time."""


class Gone(Exception):
    """The peer closed the connection though more was expected."""


def cstr(value):
    return (value if isinstance(value, bytes) else value.encode()) + b"\0"


def message(kind, body=b""):
    return kind.encode() + struct.pack("!i", len(body) + 4) + body


def shown(raw):
    if raw is None:
        return None
    if len(raw) > LONG_VALUE:
        return "<%d bytes %s>" % (len(raw), hashlib.sha1(raw).hexdigest()[:12])
    return raw.decode("utf-8", "backslashreplace")


def strings(body):
    return [part.decode("utf-8", "backslashreplace") for part in body.split(b"\0")]


def fields(body):
    return {part[:1].decode(): part[1:].decode("utf-8", "backslashreplace") for part in body.split(b"\0") if part}


def _rows(body):
    count, at, out = struct.unpack_from("!h", body)[0], 2, []
    for _ in range(count):
        size = struct.unpack_from("!i", body, at)[0]
        at += 4
        out.append(None if size < 0 else shown(body[at:at + size]))
        at += max(size, 0)
    return tuple(out)


def _columns(body):
    count, at, out = struct.unpack_from("!h", body)[0], 2, []
    for _ in range(count):
        end = body.index(b"\0", at)
        name = body[at:end].decode("utf-8", "backslashreplace")
        _table, _column, oid, _size, modifier, code = struct.unpack_from("!ihihih", body, end + 1)
        out.append("%s:%d%s%s" % (name, oid, "" if modifier == -1 else "(%d)" % modifier, " binary" if code else ""))
        at = end + 19
    return tuple(out)


def decode(kind, body):
    """One message as an event."""
    name = NAMES.get(kind, "Unknown " + kind)
    if kind == "Z":
        return name, body.decode()
    if kind == "C":
        return name, body[:-1].decode()
    if kind == "D":
        return (name,) + _rows(body)
    if kind == "T":
        return (name,) + _columns(body)
    if kind in "EN":
        got = fields(body)
        got.setdefault("V", got.get("S", ""))  # some poolers know only the older field
        return (name,) + tuple("%s=%s" % (f, got[f]) for f in ERROR_FIELDS if f in got)
    if kind == "S":
        return (name,) + tuple(strings(body)[:2])
    if kind == "t":
        count = struct.unpack_from("!h", body)[0]
        return (name,) + struct.unpack_from("!%di" % count, body, 2)
    if kind in "GHW":
        return (name,) + tuple(body)
    if kind == "d":
        return name, shown(body)
    if kind == "A":
        return (name, struct.unpack_from("!i", body)[0]) + tuple(strings(body[4:])[:2])
    if kind == "K":
        return name, len(body) - 4  # of the key
    if kind == "R":
        return name, struct.unpack_from("!i", body)[0]
    if kind == "V":
        size = struct.unpack_from("!i", body)[0]
        return name, None if size < 0 else shown(body[4:4 + size])
    if kind == "v":
        return (name, struct.unpack_from("!i", body)[0] & 0xffff) + tuple(s for s in strings(body[8:]) if s)
    return (name, shown(body)) if body else (name,)


class Conn:
    """One connection. Messages queue up until send(); go() sends them and reads up to ReadyForQuery.

    address: a (host, port) pair or the path of a unix socket. params: further startup parameters.
    login=False leaves the connection bare: raw() and read() are the caller's.
    """

    def __init__(self, address, user="app", database="app", params=None, password=None, deadline=None,
                 protocol=PROTOCOL_3_0, login=True, tls=False):
        self.address, self.user, self.database = address, user, database
        self.password = password
        self.deadline = deadline or DEADLINE
        self.out = b""
        self.buffer = bytearray()
        self.pid = self.key = None
        self.status = "I"  # what the last ReadyForQuery said
        self.parameters = {}
        self.closed = False
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(self.deadline)
        try:
            self.sock.connect(address)
            if family == socket.AF_INET:
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls:
                self.start_tls()
            if login:
                self.startup(params or {}, protocol)
        except BaseException:
            self.sock.close()
            raise

    # events -------------------------------------------------------------------------------------------------

    def saw(self, event):
        """Called with each event; a recorder overrides it."""

    def said(self, label):
        """Called with a short text for each thing sent."""

    # bytes ---------------------------------------------------------------------------------------------------

    def _fill(self, until):
        left = until - time.monotonic()
        if left <= 0:
            raise Deadline("no answer within %gs" % self.deadline)
        self.sock.settimeout(left)
        try:
            chunk = self.sock.recv(1 << 16)
        except socket.timeout:
            raise Deadline("no answer within %gs" % self.deadline) from None
        except ConnectionError:
            chunk = b""
        if not chunk:
            self.closed = True
            raise Gone("the connection was closed")
        self.buffer += chunk

    def byte(self):
        """One byte, as the answer to SSLRequest is."""
        until = time.monotonic() + self.deadline
        while not self.buffer:
            self._fill(until)
        return bytes([self.buffer.pop(0)])

    def raw_message(self, deadline=None):
        until = time.monotonic() + (deadline or self.deadline)
        while len(self.buffer) < 5:
            self._fill(until)
        size = struct.unpack_from("!i", self.buffer, 1)[0] + 1
        while len(self.buffer) < size:
            self._fill(until)
        kind, body = chr(self.buffer[0]), bytes(self.buffer[5:size])
        del self.buffer[:size]
        return kind, body

    def read(self, deadline=None):
        """The next message as an event, noted and told."""
        kind, body = self.raw_message(deadline)
        event = decode(kind, body)
        if kind == "Z":
            self.status = event[1]
        elif kind == "S":
            self.parameters[event[1]] = event[2]
        elif kind == "K":
            self.pid, self.key = struct.unpack_from("!i", body)[0], body[4:]
        self.saw(event)
        return event

    def read_eof(self):
        """Reads whatever is left up to the end of the connection."""
        events = []
        while True:
            try:
                events.append(self.read())
            except Gone:
                self.saw(("EOF",))
                return events

    def raw(self, data):
        try:
            self.sock.settimeout(self.deadline)
            self.sock.sendall(data)
        except socket.timeout:
            raise Deadline("the peer took nothing for %gs" % self.deadline) from None
        except ConnectionError:
            pass  # what the peer had to say about it is still to be read

    # login ---------------------------------------------------------------------------------------------------

    def start_tls(self):
        self.raw(struct.pack("!ii", 8, SSL_REQUEST))
        if self.byte() != b"S":
            raise Gone("no TLS here")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.sock = context.wrap_socket(self.sock)

    def startup(self, params, protocol=PROTOCOL_3_0):
        """Sends the startup packet and logs in; on refusal reads to the end and sets closed."""
        body = struct.pack("!i", protocol)
        for name, value in {"user": self.user, "database": self.database, **params}.items():
            if value is not None:
                body += cstr(name) + cstr(value)
        body += b"\0"
        self.raw(struct.pack("!i", len(body) + 4) + body)
        scram = None
        while True:
            try:
                kind, body = self.raw_message()
            except Gone:
                self.saw(("EOF",))
                return
            if kind == "R":
                scram = self._authenticate(body, scram)
                continue
            event = decode(kind, body)
            if kind == "S":
                self.parameters[event[1]] = event[2]
            elif kind == "K":
                self.pid, self.key = struct.unpack_from("!i", body)[0], body[4:]
            self.saw(event)
            if kind == "Z":
                self.status = event[1]
                return
            if kind == "E":
                self.read_eof()
                return

    def _authenticate(self, body, scram):
        want = struct.unpack_from("!i", body)[0]
        secret = (self.password or "").encode()
        if want == 3:
            self.raw(message("p", secret + b"\0"))
        elif want == 5:
            inner = hashlib.md5(secret + self.user.encode()).hexdigest().encode()
            self.raw(message("p", b"md5" + hashlib.md5(inner + body[4:8]).hexdigest().encode() + b"\0"))
        elif want == 10:
            scram = Scram(secret)
            first = scram.first()
            self.raw(message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
        elif want == 11:
            self.raw(message("p", scram.final(body[4:])))
        elif want == 12:
            scram.check(body[4:])
        elif want != 0:
            raise Gone("authentication %d is not spoken here" % want)
        return scram

    # messages, queued ----------------------------------------------------------------------------------------

    def put(self, kind, body=b"", label=None):
        self.said(label or kind)
        self.out += message(kind, body)
        return self

    def query(self, sql):
        return self.put("Q", cstr(sql), "Query %s" % shown(sql.encode() if isinstance(sql, str) else sql))

    def parse(self, name, sql, oids=()):
        body = cstr(name) + cstr(sql) + struct.pack("!h%di" % len(oids), len(oids), *oids)
        return self.put("P", body, "Parse %r %s %s" % (name, shown(sql.encode()), list(oids) or ""))

    def bind(self, portal="", statement="", values=(), formats=(), results=()):
        body = cstr(portal) + cstr(statement) + struct.pack("!h%dh" % len(formats), len(formats), *formats)
        body += struct.pack("!h", len(values))
        for value in values:
            if value is None:
                body += struct.pack("!i", -1)
            else:
                data = value if isinstance(value, bytes) else str(value).encode()
                body += struct.pack("!i", len(data)) + data
        body += struct.pack("!h%dh" % len(results), len(results), *results)
        return self.put("B", body, "Bind %r %r %s" % (portal, statement, list(values) or ""))

    def describe(self, kind="P", name=""):
        return self.put("D", kind.encode() + cstr(name), "Describe %s %r" % (kind, name))

    def execute(self, portal="", limit=0):
        return self.put("E", cstr(portal) + struct.pack("!i", limit), "Execute %r %s" % (portal, limit or ""))

    def close_(self, kind, name):
        return self.put("C", kind.encode() + cstr(name), "Close %s %r" % (kind, name))

    def sync(self):
        return self.put("S", b"", "Sync")

    def flush(self):
        return self.put("H", b"", "Flush")

    def copy_data(self, data):
        data = data.encode() if isinstance(data, str) else data
        return self.put("d", data, "CopyData %s" % shown(data))

    def copy_done(self):
        return self.put("c", b"", "CopyDone")

    def copy_fail(self, why):
        return self.put("f", cstr(why), "CopyFail %s" % why)

    def function_call(self, oid, values, result=0):
        body = struct.pack("!ihh", oid, 0, len(values))
        for value in values:
            data = str(value).encode()
            body += struct.pack("!i", len(data)) + data
        return self.put("F", body + struct.pack("!h", result), "FunctionCall %s" % (values,))

    # rounds --------------------------------------------------------------------------------------------------

    def send(self):
        data, self.out = self.out, b""
        self.raw(data)
        return self

    def until(self, *names):
        """Sends what is queued, reads up to and with the first event of one of these names."""
        self.send()
        events = []
        while True:
            try:
                event = self.read()
            except Gone:
                self.saw(("EOF",))
                events.append(("EOF",))
                return events
            events.append(event)
            if event[0] in names:
                return events

    def go(self, ready=1):
        """Sends what is queued and reads up to the ready-th ReadyForQuery, or the end of the connection."""
        self.send()
        events = []
        for _ in range(ready):
            events += self.until("ReadyForQuery")
            if events[-1][0] == "EOF":
                break
        return events

    def q(self, sql):
        """One simple Query, whole."""
        return self.query(sql).go()

    def x(self, sql, values=(), oids=(), statement="", portal=""):
        """One statement by the extended protocol in one round trip."""
        return (self.parse(statement, sql, oids).bind(portal, statement, values).describe("P", portal)
                .execute(portal).sync().go())

    def value(self, sql):
        """First column of the first row, None without one; errors raise."""
        events = self.q(sql)
        for event in events:
            if event[0] == "ErrorResponse":
                raise AssertionError("%s: %s" % (sql, event))
        rows = [e for e in events if e[0] == "DataRow"]
        return rows[0][1] if rows else None

    # ends ----------------------------------------------------------------------------------------------------

    def cancel(self):
        """Sends this connection's CancelRequest and waits until the other side has taken it."""
        body = struct.pack("!ii", CANCEL_REQUEST, self.pid) + self.key
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(self.deadline)
            sock.connect(self.address)
            sock.sendall(struct.pack("!i", len(body) + 4) + body)
            try:
                sock.recv(1)
            except (ConnectionError, socket.timeout):
                pass

    def terminate(self):
        """Says goodbye and closes."""
        if not self.closed:
            self.raw(message("X"))
        self.drop()

    def drop(self):
        """Closes without a word."""
        self.closed = True
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.terminate()


class Scram:
    """The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), no channel binding."""

    def __init__(self, secret):
        self.secret = secret
        self.nonce = base64.b64encode(os.urandom(18)).decode()

    def first(self):
        self.bare = "n=,r=" + self.nonce
        return ("n,," + self.bare).encode()

    def final(self, server_first):
        server_first = server_first.decode()
        got = dict(part.split("=", 1) for part in server_first.split(","))
        if not got["r"].startswith(self.nonce):
            raise Gone("the server's nonce is not ours")
        salted = hashlib.pbkdf2_hmac("sha256", self.secret, base64.b64decode(got["s"]), int(got["i"]))
        client = hmac.digest(salted, b"Client Key", "sha256")
        without = "c=biws,r=" + got["r"]
        signed = ",".join((self.bare, server_first, without)).encode()
        mask = hmac.digest(hashlib.sha256(client).digest(), signed, "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(client, mask))).decode()
        self.expected = base64.b64encode(
            hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")).decode()
        return (without + ",p=" + proof).encode()

    def check(self, server_final):
        if server_final.decode() != "v=" + self.expected:
            raise Gone("the server does not know the password")
