"""Who may come in, and what logs in to PostgreSQL for them."""

import hashlib
import subprocess

import psycopg
import pytest

import certs
import rawpg
import servers
from test_pooling import refusal

PLAIN, MD5, SASL = 3, 5, 10
SECRETS = servers.SECRETS
USERS = sorted(SECRETS)


class Login(rawpg.Conn):
    """Remembers what it was asked for and told."""

    def __init__(self, *args, **how):
        self.asked, self.seen = [], []
        super().__init__(*args, **how)

    def saw(self, event):
        self.seen.append(event)

    def _authenticate(self, body, scram):
        self.asked.append(int.from_bytes(body[:4], "big"))
        return super()._authenticate(body, scram)

    def refused(self):
        return self.closed and refusal(self.seen)


def wrong(user):
    return "FATAL", "28P01", 'password authentication failed for user "%s"' % user


def verifier(cluster, user):
    with cluster.admin() as admin:
        return admin.value("SELECT rolpassword FROM pg_authid WHERE rolname = '%s'" % user)


@pytest.fixture
def front(start_pooler, cluster):
    """Starts a pooler with an auth_type and a user list."""
    def start(auth_type, secrets, options=None, databases=None):
        path = cluster.space.write("userlist-%d.txt" % len(started), "".join('"%s" "%s"\n' % item for item in secrets.items()))
        started.append(start_pooler({"auth_type": auth_type, "auth_file": path, **(options or {})}, databases))
        return started[-1]

    started = []
    return start


def login(pooler, user, password=None, database="p1", **how):
    return Login(how.pop("address", pooler.address), user, database, password=password, **how)


def comes_in(pooler, user, password=None, **how):
    """Logs in and is whom it says on the server; returns what it was asked for."""
    with login(pooler, user, password, **how) as conn:
        assert not conn.closed, conn.seen
        assert conn.value("SELECT session_user") == user
        return conn.asked[0]


# auth_type and auth_file --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("auth_type, request_code", [("plain", PLAIN), ("md5", MD5), ("scram-sha-256", SASL)])
def test_plain_secrets(front, auth_type, request_code):
    """A plain secret proves the client by every method, and logs in to every kind of server."""
    pooler = front(auth_type, {**SECRETS, "app": ""})
    for user in USERS:
        assert comes_in(pooler, user, SECRETS[user]) == request_code
        refused = login(pooler, user, "wrong")
        assert refused.refused() == wrong(user)
        assert refused.asked == [request_code] if request_code != SASL else refused.asked[:2] == [SASL, 11]
        assert login(pooler, user, "").refused() == wrong(user)
    for user in ("nobody", "app"):  # unknown, and without a password: not to be told from a wrong one
        refused = login(pooler, user, "guess")
        assert refused.refused() == wrong(user)
        assert refused.asked[0] == request_code
        assert login(pooler, user, "").refused() == wrong(user)


def test_trust(front):
    pooler = front("trust", SECRETS)
    for user in USERS:
        assert comes_in(pooler, user) == 0
    assert login(pooler, "nobody").refused() == ("FATAL", "28000", '"trust" authentication failed')


def test_any(front):
    """Everybody is the forced user; without one there is nobody to be."""
    pooler = front("any", {}, databases={"forced": "user=u_scram password=sekret-scram"})
    for name in ("whoever", "app"):
        with login(pooler, name, database="forced") as conn:
            assert conn.value("SELECT session_user") == "u_scram"


def test_md5_secrets(front):
    """As they are copied from an older pg_authid: they log in to a server that asks for md5, and are not SCRAM's."""
    secret = "md5" + hashlib.md5(b"sekret-md5u_md5").hexdigest()
    pooler = front("md5", {"u_md5": secret})
    assert comes_in(pooler, "u_md5", SECRETS["u_md5"]) == MD5
    assert login(pooler, "u_md5", "wrong").refused() == wrong("u_md5")
    assert login(pooler, "u_md5", secret).refused() == wrong("u_md5")
    pooler = front("scram-sha-256", {"u_md5": secret})
    assert login(pooler, "u_md5", SECRETS["u_md5"]).refused() == wrong("u_md5")


@pytest.mark.parametrize("auth_type", ["scram-sha-256", "md5", "plain"])
def test_scram_secrets_pass_through(front, cluster, auth_type):
    """pg_authid's verifier in auth_file: the client's own proof logs in to the server that asks for SCRAM."""
    pooler = front(auth_type, {"u_scram": verifier(cluster, "u_scram")})
    assert login(pooler, "u_scram", "wrong").refused() == wrong("u_scram")
    assert comes_in(pooler, "u_scram", SECRETS["u_scram"]) == (PLAIN if auth_type == "plain" else SASL)
    assert login(pooler, "u_scram", "wrong").refused() == wrong("u_scram")
    assert comes_in(pooler, "u_scram", SECRETS["u_scram"], database="p2") == (PLAIN if auth_type == "plain" else SASL)


def test_scram_secret_of_another_password(front, cluster):
    """A verifier with another salt proves the client to us, not us to the server: told in the server's words."""
    with cluster.admin() as admin:
        admin.value("SET password_encryption = 'scram-sha-256'; CREATE ROLE other_salt PASSWORD 'sekret-scram'")
        secret = verifier(cluster, "other_salt")
        admin.value("DROP ROLE other_salt")
    pooler = front("scram-sha-256", {"u_scram": secret})
    conn = login(pooler, "u_scram", SECRETS["u_scram"])
    assert conn.refused(), conn.seen
    assert "u_scram" in conn.refused()[2] or "server login" in conn.refused()[2], conn.seen


def test_forced_user(front):
    """The line's own user and password log in, whoever the client is; the client proves itself all the same."""
    pooler = front("md5", {"app": "own"}, databases={"forced": "user=u_scram password=sekret-scram"})
    with login(pooler, "app", "own", database="forced") as conn:
        assert conn.value("SELECT session_user") == "u_scram"
    assert login(pooler, "app", "wrong", database="forced").refused() == wrong("app")
    assert login(pooler, "nobody", "own", database="forced").refused() == wrong("nobody")


def test_nothing_before_the_proof(front):
    """A stranger learns neither which databases there are nor which settings PostgreSQL takes."""
    pooler = front("scram-sha-256", SECRETS)
    assert login(pooler, "u_scram", "wrong", database="nowhere").refused() == wrong("u_scram")
    assert login(pooler, "u_scram", "wrong", params={"no_such_setting": "1"}).refused() == wrong("u_scram")
    assert login(pooler, "u_scram", SECRETS["u_scram"], database="nowhere").refused() == \
        ("FATAL", "08P01", "no such database: nowhere")
    assert pooler.process.alive()


# auth_query -----------------------------------------------------------------------------------------------------------

QUERY = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1"


def test_auth_query(front, cluster):
    pooler = front("scram-sha-256", {"boss": ""}, {"auth_user": "boss"})
    assert comes_in(pooler, "u_scram", SECRETS["u_scram"]) == SASL
    assert login(pooler, "u_scram", "wrong").refused() == wrong("u_scram")
    for user in ("nobody", "app", "boss", "r1"):  # unknown, no password, the one who asks, not allowed to log in
        assert login(pooler, user, "guess").refused() == wrong(user)
    with pooler.connect(1, "u_scram", password=SECRETS["u_scram"]) as conn:
        assert conn.value("SELECT current_setting('is_superuser')") == "off"
    assert cluster.backends("boss") >= 1


def test_auth_query_follows_a_new_password(front, cluster):
    """md5 and SCRAM: what logs in to servers is what the last login brought."""
    pooler = front("md5", {"boss": ""}, {"auth_user": "boss"})
    with cluster.admin() as admin:
        try:
            for user, kind in (("u_md5", "md5"), ("u_scram", "scram-sha-256")):
                comes_in(pooler, user, SECRETS[user])
                admin.value("SET password_encryption = '%s'" % kind)
                admin.value("ALTER ROLE %s PASSWORD 'changed'" % user)
                admin.value("SELECT count(pg_terminate_backend(pid, 2000)) FROM pg_stat_activity WHERE usename = '%s'" % user)
                assert login(pooler, user, SECRETS[user]).refused() == wrong(user)
                comes_in(pooler, user, "changed")
        finally:
            for user, kind in (("u_md5", "md5"), ("u_scram", "scram-sha-256")):
                admin.value("SET password_encryption = '%s'" % kind)
                admin.value("ALTER ROLE %s PASSWORD '%s'" % (user, SECRETS[user]))


def test_auth_query_of_a_database(front, cluster):
    """auth_user, auth_query and auth_dbname of a line beat the global ones."""
    with cluster.admin("second") as admin:
        admin.value("CREATE TABLE IF NOT EXISTS logins (name text, secret text)")
        admin.value("TRUNCATE logins; INSERT INTO logins VALUES ('u_clear', 'sekret-clear')")
        admin.value("GRANT SELECT ON logins TO plainold")
    pooler = front("plain", {"boss": "", "plainold": ""}, {"auth_user": "boss"}, {
        "second": "dbname=second",
        "own": "dbname=second auth_user=plainold auth_query='SELECT name, secret FROM public.logins WHERE name = $1'",
        "elsewhere": "dbname=app auth_user=plainold auth_dbname=second auth_query='SELECT name, secret FROM public.logins WHERE name = $1'",
    })
    for database in ("own", "elsewhere"):
        assert comes_in(pooler, "u_clear", SECRETS["u_clear"], database=database) == PLAIN
        assert login(pooler, "u_scram", SECRETS["u_scram"], database=database).refused() == wrong("u_scram")
    assert comes_in(pooler, "u_scram", SECRETS["u_scram"], database="second") == PLAIN
    assert cluster.backends("plainold") == 2 or cluster.backends("plainold") == 1


def test_auth_query_that_fails(front):
    """A broken query refuses, with a word in the log, and a lookup user who can't log in too."""
    pooler = front("md5", {"boss": "", "u_md5": ""}, {"auth_user": "boss"}, {
        "broken": "auth_query='SELECT nonsense $1'",
        "barred": "auth_user=missing",
        "odd": "auth_query='SELECT $1::text'",
    })
    assert login(pooler, "u_scram", "x", database="broken").refused()[:2] == ("FATAL", "08006")
    assert 'auth_query failed' in pooler.process.wait_line("auth_query failed")
    assert login(pooler, "u_scram", "x", database="barred").refused()[:2] == ("FATAL", "08006")
    assert login(pooler, "u_scram", "x", database="odd").refused() == wrong("u_scram")
    assert comes_in(pooler, "u_scram", SECRETS["u_scram"]) == SASL


def test_auth_query_is_out_of_clients_reach(front, cluster):
    """Neither a startup packet nor what an earlier client left on the very backend leads the lookup astray."""
    forged = "md5" + hashlib.md5(b"forgedu_md5").hexdigest()
    with cluster.admin() as admin:
        admin.value("CREATE SCHEMA IF NOT EXISTS evil")
        admin.value("CREATE TABLE IF NOT EXISTS evil.pg_authid (rolname text, rolpassword text, rolvaliduntil timestamptz, "
                    "rolcanlogin bool)")
        admin.value("TRUNCATE evil.pg_authid")
        admin.value("INSERT INTO evil.pg_authid VALUES ('u_md5', '%s', NULL, true)" % forged)
        admin.value("GRANT ALL ON SCHEMA evil TO PUBLIC; GRANT ALL ON evil.pg_authid TO PUBLIC")
    try:
        pooler = front("md5", {"boss": "open"}, {"auth_user": "boss"}, {"forced": "pool_size=1"})
        for params in ({"search_path": "evil, pg_catalog"}, {"options": "-c search_path=evil,pg_catalog"}):
            assert login(pooler, "u_md5", "forged", params=params).refused() == wrong("u_md5")
        for sql in ("SET search_path = evil, pg_catalog", "SET ROLE r1", "SET SESSION AUTHORIZATION other",
                    "SET my.name = 'left behind'; SET search_path = evil, pg_catalog"):
            with login(pooler, "boss", "open") as conn:  # the same pool as the lookup's, of one backend
                conn.value(sql)
                conn.value("SELECT 1")
            assert login(pooler, "u_md5", "forged").refused() == wrong("u_md5")
            comes_in(pooler, "u_md5", SECRETS["u_md5"])
        assert cluster.backends("boss") == 1
    finally:
        with cluster.admin() as admin:
            admin.value("DROP SCHEMA evil CASCADE")


def test_auth_query_over_a_dead_backend(front, cluster):
    """The backend of the lookup's pool has gone in the meantime: another is opened."""
    pooler = front("md5", {"boss": ""}, {"auth_user": "boss"})
    comes_in(pooler, "u_md5", SECRETS["u_md5"])
    cluster.throw_out()
    comes_in(pooler, "u_md5", SECRETS["u_md5"])


# channel binding ----------------------------------------------------------------------------------------------------

def test_channel_binding(front, cluster):
    made = certs.Certs(cluster.space)
    pooler = front("scram-sha-256", {"u_scram": verifier(cluster, "u_scram")}, {
        "client_tls_sslmode": "require", "client_tls_cert_file": made.path("server.crt"),
        "client_tls_key_file": made.path("server.key")})
    where = "host=127.0.0.1 port=%d dbname=p1 user=u_scram " % pooler.port
    with psycopg.connect(where + "password=sekret-scram sslmode=require channel_binding=require") as conn:
        assert conn.execute("SELECT session_user").fetchone() == ("u_scram",)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(where + "password=wrong sslmode=require channel_binding=require")
    with psycopg.connect(where + "password=sekret-scram sslmode=require channel_binding=disable") as conn:
        assert conn.execute("SELECT session_user").fetchone() == ("u_scram",)


# the console ----------------------------------------------------------------------------------------------------------

def asks(conn, sql):
    return refusal(conn.q(sql))


def test_console_rights(front):
    pooler = front("md5", {"console": "boss", "watcher": "look", "app": "app"}, {"stats_users": "watcher, other"})
    with login(pooler, "console", "boss", database="pgbouncer") as admin:
        assert not admin.closed and asks(admin, "SHOW VERSION") is None and asks(admin, "RELOAD") is None
    with login(pooler, "watcher", "look", database="pgbouncer") as watcher:
        assert asks(watcher, "SHOW POOLS") is None
        for sql in ("RELOAD", "PAUSE", "SET verbose = 1", "KILL p1", "SHUTDOWN", "SHOW FDS"):
            assert asks(watcher, sql) is not None, sql
        assert not watcher.closed
    for name in ("console", "watcher"):
        assert login(pooler, name, "wrong", database="pgbouncer").refused() == wrong(name)
    assert login(pooler, "app", "app", database="pgbouncer").refused()[2] == "not allowed"
    assert login(pooler, "pgbouncer", "", database="pgbouncer").refused()


def test_console_for_the_pooler_s_own_user(front):
    """User pgbouncer over the unix socket, run by the pooler's own user: no password; by anybody else: refused."""
    pooler = front("scram-sha-256", {"console": "boss"})
    done = subprocess.run(servers.command_as_user([
        "psql", "-XAtw", "-d", "host=%s port=%d user=pgbouncer dbname=pgbouncer" % (pooler.home, pooler.port),
        "-c", "SHOW VERSION"], die_with_us=False), capture_output=True, text=True, cwd="/")
    assert "PgBouncer" in done.stdout, done.stderr
    assert login(pooler, "pgbouncer", "x", database="pgbouncer").refused()
    if servers.USER:  # we are somebody else
        assert login(pooler, "pgbouncer", "x", database="pgbouncer", address=pooler.socket).refused()


def test_console_with_any(front):
    """auth_type any: everybody may look, only admin_users may touch."""
    pooler = front("any", {})
    with login(pooler, "whoever", database="pgbouncer") as conn:
        assert asks(conn, "SHOW POOLS") is None
        assert asks(conn, "RELOAD") is not None
    with login(pooler, "console", database="pgporter") as conn:
        assert asks(conn, "RELOAD") is None
