"""Settings travel with the query: no round trip of their own, and nothing of the client's runs if they can't be had.

What kinds of statement stand behind a flight, and what was found when ways that are simpler were tried, is kept here
for every PostgreSQL version the suite runs on.
"""

import os
import select
import socket
import threading
import time

import pytest

import rawpg
import servers
from differential import scenario, scripts

CARRIES = servers.POOLER == "pgporter" and os.environ.get("CARRY", "1") != "0"
only_here = pytest.mark.skipif(not CARRIES, reason="about how pgporter itself does it")

# A client with settings of its own; strangers with others come between any two rounds, so each of these follows a switch.
BEFORE = ["SET search_path = scratch, s1", "SET timezone = 'Asia/Tokyo'", "SET work_mem = '5MB'"]
PROBE = ("SHOW search_path", "SHOW timezone", "SHOW work_mem", "SELECT now() = clock_timestamp()")


def copy_in(client):
    client.query("COPY c FROM STDIN")
    client.send()
    client.until("CopyInResponse")
    client.copy_data(b"1\n").copy_data(b"2\n").copy_done().go()


def copy_in_extended(client):
    client.parse("", "COPY c FROM STDIN").bind().execute().flush().send()
    client.until("CopyInResponse")
    client.copy_data(b"3\n").copy_done().sync().go()


def copy_fails(client):
    client.query("COPY c FROM STDIN")
    client.send()
    client.until("CopyInResponse")
    client.copy_data(b"no number\n").copy_done().go()


def call_function(client):
    client.function_call(177, ["2", "3"]).go()  # int4pl


def pipeline(client):
    client.parse("", "INSERT INTO c VALUES ($1::int)").bind(values=("10",)).execute()
    client.bind(values=("11",)).execute().sync()
    client.parse("", "SELECT a FROM c ORDER BY a").bind().describe().execute().sync()
    client.go(2)


def pipeline_fails(client):
    client.parse("", "INSERT INTO c VALUES ($1::int)").bind(values=("20",)).execute()
    client.bind(values=("x",)).execute().sync()
    client.parse("", "SELECT a FROM c ORDER BY a").bind().execute().sync()
    client.go(2)


def rows_by_two(client):
    client.parse("", "SELECT * FROM generate_series(1, 5)").bind().execute(limit=2).execute(limit=2).execute().sync().go()


def flush_first(client):
    client.parse("one", "SELECT 1").flush().send()
    client.until("ParseComplete")
    client.describe("S", "one").bind("", "one").execute().sync().go()
    client.close_("S", "one").sync().go()


def execute_without_bind(client):
    client.execute().sync().go()


def bind_without_parse(client):
    client.bind().execute().sync().go()


def sync_alone(client):
    client.sync().go()


TABLE = ["CREATE TABLE c (a int)"]
test_kinds = scripts("SET carried", {
    "SELECT": ["SELECT v FROM t"],
    "VALUES": ["VALUES (1), (2)"],
    "TABLE": ["TABLE t"],
    "empty": [""],
    "comment": ["-- nothing"],
    "syntax error": ["SELEC 1"],
    "error at run time": ["SELECT 1/0"],
    "unknown table": ["SELECT * FROM nowhere"],
    "INSERT": TABLE + ["INSERT INTO c VALUES (1)", "SELECT * FROM c"],
    "INSERT RETURNING": TABLE + ["INSERT INTO c VALUES (1) RETURNING a"],
    "INSERT fails": TABLE + ["INSERT INTO c VALUES (1), (1/0)", "SELECT * FROM c"],
    "UPDATE": TABLE + ["INSERT INTO c VALUES (1)", "UPDATE c SET a = 2", "SELECT * FROM c"],
    "DELETE": TABLE + ["INSERT INTO c VALUES (1)", "DELETE FROM c", "SELECT * FROM c"],
    "WITH": TABLE + ["WITH x AS (INSERT INTO c VALUES (7) RETURNING a) SELECT a FROM x", "SELECT * FROM c"],
    "SELECT FOR UPDATE": TABLE + ["INSERT INTO c VALUES (1)", "SELECT * FROM c FOR UPDATE"],
    "SELECT INTO": ["SELECT 1 AS a INTO c", "SELECT * FROM c"],
    "CREATE TABLE AS": ["CREATE TABLE c AS SELECT 1 AS a", "SELECT * FROM c"],
    "EXPLAIN": ["EXPLAIN (COSTS OFF) SELECT 1"],
    "CREATE INDEX": TABLE + ["CREATE INDEX i ON c (a)"],
    "CREATE INDEX CONCURRENTLY": TABLE + ["CREATE INDEX CONCURRENTLY i ON c (a)"],
    "DROP INDEX CONCURRENTLY": TABLE + ["CREATE INDEX i ON c (a)", "DROP INDEX CONCURRENTLY i"],
    "REINDEX CONCURRENTLY": TABLE + ["CREATE INDEX i ON c (a)", "REINDEX INDEX CONCURRENTLY i"],
    "VACUUM": TABLE + ["VACUUM c"],
    "VACUUM ANALYZE": TABLE + ["VACUUM (ANALYZE) c"],
    "ANALYZE": TABLE + ["ANALYZE c"],
    "CLUSTER": TABLE + ["CREATE INDEX i ON c (a)", "CLUSTER c USING i"],
    "TRUNCATE": TABLE + ["TRUNCATE c"],
    "LOCK outside of a transaction": TABLE + ["LOCK TABLE c"],
    "ALTER TABLE": TABLE + ["ALTER TABLE c ADD b text", "SELECT * FROM c"],
    "DROP TABLE": TABLE + ["DROP TABLE c"],
    "COMMENT": TABLE + ["COMMENT ON TABLE c IS 'x'"],
    "GRANT": TABLE + ["GRANT SELECT ON c TO r1"],
    "CREATE VIEW": ["CREATE VIEW w AS SELECT v FROM t", "SELECT * FROM w"],
    "CREATE SCHEMA in one": ["CREATE SCHEMA r1 CREATE TABLE c (a int)", "SELECT * FROM r1.c"],
    "BEGIN ROLLBACK": TABLE + ["BEGIN", "INSERT INTO c VALUES (1)", "ROLLBACK", "SELECT * FROM c"],
    "BEGIN COMMIT": TABLE + ["BEGIN", "INSERT INTO c VALUES (1)", "COMMIT", "SELECT * FROM c"],
    "BEGIN ISOLATION LEVEL": ["BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE", "SHOW transaction_isolation",
                              "SHOW transaction_deferrable", "COMMIT"],
    "START TRANSACTION": ["START TRANSACTION READ ONLY", "SHOW transaction_read_only", "ROLLBACK"],
    "SET TRANSACTION first": ["BEGIN", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SHOW transaction_isolation", "COMMIT"],
    "COMMIT alone": ["COMMIT"],
    "ROLLBACK alone": ["ROLLBACK"],
    "SAVEPOINT alone": ["SAVEPOINT a"],
    "SET TRANSACTION alone": ["SET TRANSACTION READ ONLY"],
    "SET LOCAL alone": ["SET LOCAL work_mem = '9MB'"],
    "several": TABLE + ["INSERT INTO c VALUES (1); INSERT INTO c VALUES (2); SELECT * FROM c"],
    "several, the last fails": TABLE + ["INSERT INTO c VALUES (1); SELECT 1/0", "SELECT * FROM c"],
    "several with transactions": TABLE + ["BEGIN; INSERT INTO c VALUES (1); COMMIT; INSERT INTO c VALUES (2); SELECT 1/0",
                                          "SELECT * FROM c"],
    "defaults of transactions": ["SET default_transaction_isolation = 'serializable'", "SET default_transaction_deferrable = on",
                                 "SHOW transaction_isolation", "SET default_transaction_read_only = on", "CREATE TABLE d ()",
                                 "SET default_transaction_read_only = off", "SET default_transaction_deferrable = off"],
    "SET": ["SET timezone = 'UTC'", "SHOW timezone"],
    "SET several": ["SET timezone = 'UTC'; SET work_mem = '6MB'", "SHOW timezone", "SHOW work_mem"],
    "SET fails": ["SET timezone = 'nowhere'", "SHOW timezone"],
    "RESET": ["RESET timezone", "SHOW timezone"],
    "RESET ALL": ["RESET ALL", "SHOW timezone"],
    "DISCARD ALL": ["DISCARD ALL", "SHOW timezone"],
    "SET ROLE": ["SET ROLE r1", "SELECT current_user", "RESET ROLE"],
    "SHOW ALL": ["SELECT count(*) > 100 FROM pg_settings"],
    "set_config": ["SELECT set_config('work_mem', '7MB', false)", "SHOW work_mem"],
    "set_config local": ["SELECT set_config('work_mem', '7MB', true)", "SHOW work_mem"],
    "PREPARE": ["PREPARE p AS SELECT v FROM t", "EXECUTE p", "DEALLOCATE p"],
    "PREPARE and EXECUTE in one": ["PREPARE p AS SELECT v FROM t; EXECUTE p; DEALLOCATE p"],
    "EXECUTE unknown": ["EXECUTE nothing"],
    "DECLARE outside": ["DECLARE k CURSOR FOR SELECT 1"],
    "FETCH unknown": ["FETCH k"],
    "CLOSE ALL": ["CLOSE ALL"],
    "UNLISTEN": ["UNLISTEN *"],
    "NOTIFY": ["NOTIFY nobody"],
    "DO": ["DO $$BEGIN RAISE NOTICE 'here'; END$$"],
    "DO that commits": TABLE + ["DO $$BEGIN INSERT INTO c VALUES (1); COMMIT; INSERT INTO c VALUES (2); ROLLBACK; END$$",
                                "SELECT * FROM c"],
    "NOTICE": ["SELECT says('hello')"],
    "WARNING": ["ABORT"],
    "PREPARE TRANSACTION": TABLE + ["BEGIN", "INSERT INTO c VALUES (1)", "PREPARE TRANSACTION 'flight'",
                                    "COMMIT PREPARED 'flight'", "SELECT * FROM c"],
    "COMMIT AND CHAIN": ["BEGIN", "COMMIT AND CHAIN", "SELECT 1", "ROLLBACK"],
    "CHECKPOINT": ["CHECKPOINT"],
    "ALTER SYSTEM": ["ALTER SYSTEM SET work_mem = '4MB'"],
    "CREATE DATABASE in a text": ["SELECT 1; CREATE DATABASE nope"],
    "COPY OUT": ["COPY (SELECT v FROM t) TO STDOUT"],
    "COPY IN": TABLE + [copy_in, "SELECT * FROM c"],
    "COPY IN, extended": TABLE + [copy_in_extended, "SELECT * FROM c"],
    "COPY IN fails": TABLE + [copy_fails, "SELECT * FROM c"],
    "function call": [call_function],
    "pipeline": TABLE + [pipeline, "SELECT * FROM c"],
    "pipeline fails": TABLE + [pipeline_fails, "SELECT * FROM c"],
    "rows by two": [rows_by_two],
    "Flush first": [flush_first],
    "Execute without Bind": [execute_without_bind],
    "Bind without Parse": [bind_without_parse],
    "Sync alone": [sync_alone],
    "statement_timeout": ["SET statement_timeout = '100ms'", "SELECT pg_sleep(20)", "RESET statement_timeout"],
    "client_encoding": ["SET client_encoding = 'LATIN1'", "SELECT 'ok' AS ok"],
    "settings that fail together": ["SET search_path = s2, pg_temp, \"$user\"", "SELECT v FROM t"],
}, probe=PROBE, before=BEFORE)


@scenario("SET carried")
def test_a_statement_prepared_long_ago(s):
    a = s.client("a")
    a.q("SET search_path = s1")
    a.parse("p", "SELECT v FROM t").sync().go()
    a.q("SET search_path = s2")
    for _ in range(3):
        a.bind("", "p").execute().sync().go()
    a.q("SELECT v FROM t")


# ---- round trips, counted on the wire ----

class Relay:
    """Carries bytes between the pooler and PostgreSQL and counts how often each connection turns towards the server."""

    def __init__(self, to):
        self.to, self.turns = to, 0
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
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near, far):
        last = far
        with near, far:
            while True:
                for sock in select.select([near, far], [], [])[0]:
                    try:
                        data = sock.recv(65536)
                        if not data:
                            return
                        if sock is near and last is far:
                            self.turns += 1
                        last = sock
                        (far if sock is near else near).sendall(data)
                    except OSError:
                        return

    def close(self):
        self.listener.close()


@pytest.fixture
def relayed(cluster):
    relay = Relay(cluster.address)
    pooler = servers.Pooler(cluster, databases={
        "r1": "host=127.0.0.1 port=%d dbname=app pool_size=1" % relay.port})
    yield pooler, relay
    pooler.stop()
    relay.close()


ASKED = {
    "simple": lambda c: c.q("SELECT v FROM t"),
    "extended": lambda c: c.x("SELECT v FROM t"),
    "named": lambda c: c.bind("", "named").execute().sync().go(),
    "begin": lambda c: (c.q("BEGIN"), c.q("SELECT v FROM t"), c.q("COMMIT")),
}


@only_here
@pytest.mark.row("SET carried")
@pytest.mark.parametrize("how", ASKED)
def test_a_switch_of_settings_adds_no_round_trip(relayed, how):
    pooler, relay = relayed
    with pooler.connect(database="r1") as a, pooler.connect(database="r1") as b:
        for conn, path in ((a, "s1"), (b, "s2")):
            conn.value("SET search_path = " + path)
            conn.value("SET timezone = 'Asia/Tokyo'" if conn is a else "SET timezone = 'UTC'")
            conn.parse("named", "SELECT v FROM t").sync().go()
        for conn in (a, b):  # what is prepared once is there by now
            ASKED[how](conn)
        before = relay.turns
        for _ in range(5):
            for conn in (a, b):
                ASKED[how](conn)
        assert relay.turns - before == 10 * (3 if how == "begin" else 1)
        assert a.value("SELECT v FROM t") == "in s1" and b.value("SELECT v FROM t") == "in s2"


# ---- a flight that fails ----

def told(events):
    return [(e[0],) + tuple(f for f in e[1:] if f[:2] in ("C=", "M=")) for e in events if e[0] in ("ErrorResponse", "ReadyForQuery")]


def count(cluster):
    with cluster.admin() as admin:
        return admin.value("SELECT count(*) FROM scratch.kept")


@pytest.fixture
def grounded(cluster, pooler):
    """A client whose role is gone, on a pool of one that another one uses too."""
    with cluster.admin() as admin:
        admin.value("CREATE ROLE leaving")
        admin.value("GRANT leaving TO app")
        admin.value("CREATE TABLE scratch.kept (a int)")
        admin.value("GRANT ALL ON scratch.kept TO PUBLIC")
        admin.value("GRANT USAGE ON SCHEMA scratch TO leaving")
        with pooler.connect(1) as a, pooler.connect(1) as b:
            a.value("SET ROLE leaving")
            assert b.value("SELECT current_user") == "app"
            admin.value("REVOKE ALL ON SCHEMA scratch FROM leaving")
            admin.value("DROP ROLE leaving")
            yield a, b
    cluster.tidy()


FAILED = "M=could not restore this session's settings on a server connection: role \"leaving\" does not exist"
ENDS = {
    "simple": lambda c: c.query("INSERT INTO scratch.kept VALUES (1)").go(),
    "several": lambda c: c.query("INSERT INTO scratch.kept VALUES (1); INSERT INTO scratch.kept VALUES (2)").go(),
    "extended": lambda c: c.x("INSERT INTO scratch.kept VALUES (1)"),
    "copy": lambda c: c.query("COPY scratch.kept FROM STDIN").go(),
    "function call": lambda c: c.function_call(177, ["2", "3"]).go(),
    "prepare": lambda c: c.query("PREPARE p AS INSERT INTO scratch.kept VALUES (1); EXECUTE p").go(),
}


@only_here
@pytest.mark.row("SET carried")
@pytest.mark.parametrize("how", ENDS)
def test_nothing_runs_behind_a_flight_that_fails(grounded, cluster, how):
    a, b = grounded
    for _ in range(2):
        events = told(ENDS[how](a))
        assert [e[0] for e in events] == ["ErrorResponse", "ReadyForQuery"] and FAILED in events[0], events
        assert a.status == "I" and count(cluster) == "0"
        assert b.value("SELECT current_user") == "app"
    a.value("RESET ROLE")
    a.value("INSERT INTO scratch.kept VALUES (3)")
    assert count(cluster) == "1"


@only_here
@pytest.mark.row("SET carried")
def test_the_rest_of_a_pipeline_goes_with_a_flight_that_fails(grounded, cluster):
    a, b = grounded
    for n in range(3):
        a.parse("", "INSERT INTO scratch.kept VALUES (%d)" % n).bind().execute().sync()
    events = told(a.go(3))
    assert [e[0] for e in events] == ["ErrorResponse", "ReadyForQuery"] * 3
    a.parse("", "INSERT INTO scratch.kept VALUES (9)").flush().send()
    assert FAILED in a.until("ErrorResponse")[-1]
    a.bind().execute().sync().go()
    assert count(cluster) == "0" and b.value("SELECT 1") == "1"


@only_here
@pytest.mark.row("cancel")
def test_a_cancel_in_flight_is_the_clients_and_lets_nothing_run(pooler, cluster):
    with cluster.admin() as holder, cluster.admin() as admin, pooler.connect(1) as a, pooler.connect(1) as b:
        admin.value("CREATE TABLE scratch.kept (a int)")
        admin.value("GRANT ALL ON scratch.kept TO PUBLIC")
        a.value("SET default_tablespace = 'pg_default'")  # to set it PostgreSQL reads pg_tablespace
        assert b.value("SHOW default_tablespace") == ""
        pid = b.value("SELECT pg_backend_pid()")
        holder.value("BEGIN; LOCK TABLE pg_tablespace IN ACCESS EXCLUSIVE MODE")
        a.query("INSERT INTO scratch.kept VALUES (1)").send()
        until = time.monotonic() + rawpg.DEADLINE
        while admin.value("SELECT wait_event_type FROM pg_stat_activity WHERE pid = " + pid) != "Lock":
            assert time.monotonic() < until, "it does not wait"
            time.sleep(0.01)
        a.cancel()
        events = told(a.until("ReadyForQuery"))
        assert events[0][1:] == ("C=57014", "M=canceling statement due to user request"), events
        holder.value("ROLLBACK")
        assert count(cluster) == "0"
        a.value("INSERT INTO scratch.kept VALUES (2)")
        assert count(cluster) == "1" and a.value("SHOW default_tablespace") == "pg_default"
    cluster.tidy()
