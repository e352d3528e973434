"""TLS on both sides: what each sslmode lets in and lets pass."""

import socket
import ssl
import struct
import time

import psycopg
import pytest

import certs
import rawpg
from test_pooling import refusal


@pytest.fixture(scope="module")
def made(cluster):
    return certs.Certs(cluster.space)


def serve_tls(cluster, **settings):
    """PostgreSQL's own TLS settings, in force when this returns; None resets."""
    with cluster.admin() as admin:
        for name, value in settings.items():
            admin.value("ALTER SYSTEM RESET %s" % name if value is None else "ALTER SYSTEM SET %s = '%s'" % (name, value))
        admin.value("SELECT pg_reload_conf()")
    until = time.monotonic() + rawpg.DEADLINE
    for name, value in settings.items():
        while True:  # the postmaster hands its settings to the sessions it starts
            with cluster.admin() as admin:
                got = admin.value("SELECT setting FROM pg_settings WHERE name = '%s'" % name)
                if value is None and got == admin.value("SELECT boot_val FROM pg_settings WHERE name = '%s'" % name) or got == value:
                    break
            assert time.monotonic() < until, (name, got)


@pytest.fixture(scope="module")
def tls_cluster(cluster, made):
    serve_tls(cluster, ssl="on", ssl_cert_file=made.path("server.crt"), ssl_key_file=made.path("server.key"),
              ssl_ca_file=made.path("ca.crt"))
    yield cluster
    serve_tls(cluster, ssl=None, ssl_cert_file=None, ssl_key_file=None, ssl_ca_file=None)


def to_clients(made, mode, **more):
    options = {"client_tls_sslmode": mode, "client_tls_cert_file": made.path("server.crt"),
               "client_tls_key_file": made.path("server.key")}
    if mode.startswith("verify"):
        options["client_tls_ca_file"] = made.path("ca.crt")
    return {**options, **more}


def psql_like(pooler, sslmode, host="127.0.0.1", **more):
    """What libpq's user sees: True if served under TLS, False without, else the error."""
    where = {"host": host, "port": pooler.port, "dbname": "p1", "user": "app", "sslmode": sslmode, **more}
    if host == "localhost":
        where["hostaddr"] = "127.0.0.1"
    try:
        with psycopg.connect(**where) as conn:
            assert conn.execute("SELECT 41 + 1").fetchone() == (42,)
            return bool(conn.pgconn.ssl_in_use)
    except psycopg.OperationalError as error:
        return str(error)


# Towards clients ------------------------------------------------------------------------------------------------------

def test_disable(start_pooler):
    pooler = start_pooler()
    assert psql_like(pooler, "disable") is False
    assert psql_like(pooler, "prefer") is False
    assert "does not support SSL" in psql_like(pooler, "require")


@pytest.mark.parametrize("mode", ["allow", "prefer"])
def test_offered(start_pooler, made, mode):
    pooler = start_pooler(to_clients(made, mode))
    assert psql_like(pooler, "disable") is False
    assert psql_like(pooler, "require") is True
    assert psql_like(pooler, "verify-full", "localhost", sslrootcert=made.path("ca.crt")) is True
    assert "certificate verify failed" in psql_like(pooler, "verify-ca", sslrootcert=made.path("stranger.crt"))


def test_required(start_pooler, made):
    pooler = start_pooler(to_clients(made, "require"))
    assert "SSL required" in psql_like(pooler, "disable")
    assert psql_like(pooler, "require") is True
    assert psql_like(pooler, "disable", pooler.home) is False, "a unix socket needs none"
    # A certificate nobody asked for does no harm.
    assert psql_like(pooler, "require", sslcert=made.path("forged.crt"), sslkey=made.path("forged.key")) is True


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_clients_certificates(start_pooler, made, mode):
    pooler = start_pooler(to_clients(made, mode))
    assert "SSL required" in psql_like(pooler, "disable")
    assert isinstance(psql_like(pooler, "require"), str), "no certificate"
    assert isinstance(psql_like(pooler, "require", sslcert=made.path("forged.crt"), sslkey=made.path("forged.key")), str)
    assert psql_like(pooler, "require", sslcert=made.path("client.crt"), sslkey=made.path("client.key")) is True


def test_protocol_versions(start_pooler, made):
    pooler = start_pooler(to_clients(made, "require", client_tls_protocols="tlsv1.3"))
    assert psql_like(pooler, "require", ssl_min_protocol_version="TLSv1.3") is True
    assert isinstance(psql_like(pooler, "require", ssl_max_protocol_version="TLSv1.2"), str)


def test_plaintext_behind_the_request(start_pooler, made):
    """Bytes that came before the handshake could be anybody's."""
    pooler = start_pooler(to_clients(made, "prefer"))
    conn = rawpg.Conn(pooler.address, login=False)
    startup = struct.pack("!i", rawpg.PROTOCOL_3_0) + b"user\0app\0database\0p1\0\0"
    conn.raw(struct.pack("!ii", 8, rawpg.SSL_REQUEST) + struct.pack("!i", len(startup) + 4) + startup)
    events = conn.read_eof()
    assert refusal(events) == ("FATAL", "08P01", "received unencrypted data after SSL request")
    assert len(events) == 1


def test_asked_twice(start_pooler, made):
    pooler = start_pooler(to_clients(made, "prefer"))
    with rawpg.Conn(pooler.address, login=False) as conn:
        conn.start_tls()
        conn.raw(struct.pack("!ii", 8, rawpg.SSL_REQUEST))
        assert refusal(conn.read_eof())[2] == "SSL req inside SSL"


def test_no_handshake(start_pooler, made):
    """Noise, or silence, instead of a handshake: that connection ends, others go on."""
    pooler = start_pooler(to_clients(made, "prefer", client_login_timeout=1))
    silent = rawpg.Conn(pooler.address, login=False)
    silent.raw(struct.pack("!ii", 8, rawpg.SSL_REQUEST))
    assert silent.byte() == b"S"
    with rawpg.Conn(pooler.address, login=False) as noise:
        noise.raw(struct.pack("!ii", 8, rawpg.SSL_REQUEST))
        assert noise.byte() == b"S"
        noise.raw(b"\x16\x03\x01" + b"\xff" * 500)
        with pytest.raises(rawpg.Gone):
            while True:
                noise.byte()
    assert psql_like(pooler, "require") is True
    with pytest.raises(rawpg.Gone):
        while True:
            silent.byte()


def test_bad_files_refuse_the_start(start_pooler, made):
    with pytest.raises(AssertionError, match="client_tls_cert_file|certificate"):
        start_pooler(to_clients(made, "require", client_tls_cert_file=made.path("missing.crt")))
    with pytest.raises(AssertionError, match="ca_file"):
        start_pooler(to_clients(made, "verify-ca", client_tls_ca_file=None))


def test_reload_brings_a_new_certificate(start_pooler, made):
    pooler = start_pooler(to_clients(made, "require"))
    assert psql_like(pooler, "verify-full", "localhost", sslrootcert=made.path("ca.crt")) is True
    pooler.options.update(client_tls_cert_file=made.path("elsewhere.crt"), client_tls_key_file=made.path("elsewhere.key"))
    pooler.write()
    with pooler.connect(1, tls=True) as before, rawpg.Conn(pooler.address, "console", "pgbouncer", tls=True) as console:
        assert refusal(console.q("RELOAD")) is None
        assert before.value("SELECT 'goes on'") == "goes on"
    assert psql_like(pooler, "verify-ca", "localhost", sslrootcert=made.path("ca.crt")) is True
    assert "elsewhere.example" in psql_like(pooler, "verify-full", "localhost", sslrootcert=made.path("ca.crt"))


# Towards servers ------------------------------------------------------------------------------------------------------

SECURE = "SELECT ssl::text || coalesce(client_dn, '') FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


def served(pooler, pool=1):
    """How the server connection is secured, or why there is none."""
    told = []

    class Listening(rawpg.Conn):
        def saw(self, event):
            told.append(event)

    with Listening(pooler.address, "app", pooler.database(pool)) as conn:
        return refusal(told)[2] if conn.closed else conn.value(SECURE)


@pytest.mark.parametrize("mode, secure", [("disable", "false"), ("allow", "true"), ("prefer", "true"), ("require", "true")])
def test_server_modes(start_pooler, tls_cluster, mode, secure):
    assert served(start_pooler({"server_tls_sslmode": mode})) == secure


def test_server_without_tls(start_pooler, tls_cluster):
    serve_tls(tls_cluster, ssl=None)
    try:
        assert served(start_pooler({"server_tls_sslmode": "prefer"})) == "false"
        assert "server refused SSL" in served(start_pooler({"server_tls_sslmode": "require"}))
    finally:
        serve_tls(tls_cluster, ssl="on")


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_server_is_verified(start_pooler, tls_cluster, made, mode):
    good = {"server_tls_sslmode": mode, "server_tls_ca_file": made.path("ca.crt")}
    by_name = {"named": "host=localhost port=%d dbname=app" % tls_cluster.port}
    with start_pooler(good, by_name).connect(database="named") as conn:
        assert conn.value(SECURE) == "true"
    assert served(start_pooler(good)) == "true", "the certificate has the address as well"
    told = served(start_pooler({**good, "server_tls_ca_file": made.path("stranger.crt")}))
    assert "certificate" in told, told


def test_the_question_which_protocol_it_speaks_is_encrypted_too(start_pooler, tls_cluster, made):
    """And asked of the verified server, by its name."""
    by_name = {"named": "host=localhost port=%d dbname=app" % tls_cluster.port}
    for ca, answered in (("ca.crt", True), ("stranger.crt", False)):
        pooler = start_pooler({"server_tls_sslmode": "verify-full", "server_tls_ca_file": made.path(ca), "verbose": 1}, by_name)
        with rawpg.Conn(pooler.address, "app", "named", protocol=rawpg.PROTOCOL_3_2) as conn:
            assert conn.closed or conn.value(SECURE) == "true"
            assert conn.closed != answered
        said, other = "asked which protocol it speaks: clients", "could not be asked which protocol"
        pooler.process.wait_line(said if answered else other)
        assert not any((other if answered else said) in line for line in pooler.process.lines)


def test_server_of_another_name(start_pooler, tls_cluster, made):
    serve_tls(tls_cluster, ssl_cert_file=made.path("elsewhere.crt"), ssl_key_file=made.path("elsewhere.key"))
    try:
        ca = {"server_tls_ca_file": made.path("ca.crt")}
        assert served(start_pooler({"server_tls_sslmode": "verify-ca", **ca})) == "true"
        told = served(start_pooler({"server_tls_sslmode": "verify-full", **ca}))
        assert "mismatch" in told, told
    finally:
        serve_tls(tls_cluster, ssl_cert_file=made.path("server.crt"), ssl_key_file=made.path("server.key"))


def test_our_certificate_for_the_server(start_pooler, tls_cluster, made):
    pooler = start_pooler({"server_tls_sslmode": "require", "server_tls_cert_file": made.path("client.crt"),
                           "server_tls_key_file": made.path("client.key")})
    assert served(pooler) == "true/CN=app"


def test_much_data_over_both(start_pooler, tls_cluster, made):
    """Records and messages end in different places."""
    pooler = start_pooler(to_clients(made, "require", server_tls_sslmode="require"))
    where = {"host": "127.0.0.1", "port": pooler.port, "dbname": "p1", "user": "app", "sslmode": "require"}
    with psycopg.connect(**where) as conn:
        for size in (1, 16384, 1 << 20, 5 << 20):
            assert conn.execute("SELECT repeat('x', %s), %s::text", [size, "y" * size]).fetchone() == ("x" * size, "y" * size)


# Cancel ---------------------------------------------------------------------------------------------------------------

def test_cancel_over_tls(start_pooler, tls_cluster, made):
    """The request comes encrypted and goes on encrypted."""
    pooler = start_pooler(to_clients(made, "require", server_tls_sslmode="require"))
    with pooler.connect(1, tls=True) as conn:
        conn.value("SELECT 1")
        conn.query("SELECT pg_sleep(30)").send()
        wait_running(tls_cluster, "SELECT pg_sleep(30)")
        with rawpg.Conn(pooler.address, login=False) as other:
            other.start_tls()
            body = struct.pack("!ii", rawpg.CANCEL_REQUEST, conn.pid) + conn.key
            other.raw(struct.pack("!i", len(body) + 4) + body)
            with pytest.raises((rawpg.Gone, ssl.SSLError, socket.error)):
                other.byte()
        assert refusal(conn.go())[1] == "57014"
        assert conn.value("SELECT 'goes on'") == "goes on"


def wait_running(cluster, sql):
    until = time.monotonic() + rawpg.DEADLINE
    with cluster.admin() as admin:
        while admin.value("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = '%s'" % sql) == "0":
            assert time.monotonic() < until, sql
