"""The protocol itself: pipelines, errors to Sync, portals, COPY, notices, large messages, negotiation, cancel."""

import struct
import time

import pytest

import rawpg
from differential import scenario

FIVE_MB, THREE_MB = 5 << 20, 3 << 20


@scenario("protocol")
def test_pipeline_with_state(s):
    a = s.client("a")
    a.parse("", "SET search_path = s1").bind().execute()
    a.parse("p1", "SELECT v FROM t").bind("", "p1").describe("P").execute()
    a.parse("", "SET TimeZone = 'Asia/Tokyo'").bind().execute()
    a.sync().go()
    a.bind("", "p1").execute().sync().go()
    a.q("SHOW TimeZone")


@scenario("protocol")
def test_several_syncs_in_flight(s):
    a = s.client("a")
    for n in range(5):
        a.parse("", "SELECT %d" % n).bind().execute().sync()
    a.go(5)
    a.query("SET search_path = s1").query("SELECT v FROM t").query("SET search_path = s2").query("SELECT v FROM t")
    a.go(4)
    a.q("SELECT v FROM t")


@scenario("protocol")
def test_transactions_in_a_pipeline(s):
    a = s.client("a")
    for sql in ("BEGIN", "SET search_path = s1", "COMMIT", "BEGIN", "SET search_path = s2", "ROLLBACK",
                "SELECT v FROM t"):
        a.parse("", sql).bind().describe("P").execute().sync()
    a.go(7)
    for sql in ("BEGIN", "SET search_path = s3", "COMMIT", "SELECT v FROM t"):
        a.parse("", sql).bind().execute()
    a.sync().go()
    a.q("SELECT v FROM t")


@scenario("protocol")
def test_state_lost_with_its_pipeline(s):
    """What a pipeline set is rolled back with it when a later part fails."""
    a = s.client("a")
    a.q("SET search_path = s2")
    a.parse("", "SET search_path = s1").bind().execute()
    a.parse("", "SELECT 1/0").bind().execute().parse("p1", "SELECT 1").sync().go()
    a.q("SELECT v FROM t")
    a.bind("", "p1").execute().sync().go()


@scenario("protocol")
def test_error_skips_to_sync(s):
    a = s.client("a")
    a.q("SET search_path = s1")
    a.parse("", "SELECT 1/0").bind().execute()
    a.parse("", "SET search_path = s2").bind().execute().query("SET search_path = s3").close_("S", "x").flush()
    a.sync().parse("", "SELECT v FROM t").bind().execute().sync().go(2)
    a.bind("", "nothing").execute().describe("P").sync().go()
    a.q("SELECT v FROM t")


@scenario("protocol")
def test_flush(s):
    a = s.client("a")
    a.parse("p1", "SELECT $1::text AS v").describe("S", "p1").flush().until("RowDescription")
    a.bind("", "p1", ["one"]).execute().flush().until("CommandComplete")
    a.bind("", "p1", ["two"]).execute().flush().until("CommandComplete")
    a.sync().go()
    a.bind("", "p1", ["three"]).execute().sync().go()


@scenario("protocol")
def test_flush_and_error(s):
    a = s.client("a")
    a.parse("", "SELECT 1/0").bind().execute().flush().until("ErrorResponse")
    a.parse("", "SELECT 1").sync().go()
    a.q("SELECT 2")


@scenario("protocol")
def test_nothing_but_sync(s):
    a = s.client("a")
    a.sync().go()
    a.sync().sync().go(2)
    a.flush().sync().go()
    a.q("SHOW search_path")


@scenario("protocol")
def test_query_in_the_middle_of_a_pipeline(s):
    a = s.client("a")
    a.parse("p1", "SELECT 'kept'::text").bind("", "p1").execute().query("SELECT 'simple'").go()
    a.bind("", "p1").execute().sync().go()
    a.parse("", "SET search_path = s1").bind().execute().query("SELECT v FROM t").go()
    a.q("SELECT v FROM t")
    a.sync().go()
    a.q("SELECT 1")
    a.q("SELECT v FROM t")


def half_ended(client):
    """On PostgreSQL 18 Sync says here that the transaction is over, and the client's next statement fails with XX000 and takes it back."""
    client.parse("", "SET search_path = s1").bind().execute().query("INSERT INTO scratch.kept SELECT v FROM t").sync().go(2)


@scenario("protocol", need=2, args={
    "Query": (lambda a: a.q("SHOW search_path"),), "Queries": (lambda a: a.q("SET search_path = s2; SHOW search_path"),),
    "batch": (lambda a: a.x("SHOW search_path"),),
    "statement": (lambda a: a.bind("", "p").execute().sync().go(),),
    "Close before": (lambda a: a.close_("S", "x").sync().sync().parse("", "SELECT 1").sync().go(3),),
    "Describe": (lambda a: a.describe("S", "p").execute().query("SHOW search_path").sync().go(),),
    "FunctionCall": (lambda a: a.function_call(177, [1, 2]).go(),), "BEGIN": (lambda a: a.q("BEGIN"),),
    "COMMIT": (lambda a: a.q("COMMIT"),), "DISCARD": (lambda a: a.q("DISCARD ALL"),), "PREPARE": (lambda a: a.q("PREPARE x AS SELECT 1"),),
    "EXECUTE": (lambda a: a.q("EXECUTE p"),), "LISTEN": (lambda a: a.q("LISTEN x"),), "leaves": (lambda a: a.leave(),),
    "long": (lambda a: a.q("SELECT length('%s')" % ("x" * THREE_MB)),),
})
def test_a_query_in_the_middle_and_sync_alone_behind_it(s, then):
    a, b = s.client("a"), s.client("b")
    a.q("CREATE TABLE scratch.kept (v text); GRANT ALL ON scratch.kept TO PUBLIC")
    a.parse("p", "SELECT current_setting('search_path')").describe("S", "p").sync().go()
    half_ended(a)
    b.q("SHOW search_path")
    b.x("SELECT v FROM scratch.kept")
    then(a)
    b.q("SELECT v FROM scratch.kept")
    if not a.closed:
        a.q("SHOW search_path")
        a.q("ROLLBACK")
        a.bind("", "p").execute().sync().go()


@scenario("protocol")
def test_portals_suspended_and_resumed(s):
    a = s.client("a")
    a.q("BEGIN")
    a.parse("p1", "SELECT n FROM nums ORDER BY n LIMIT 7").bind("c1", "p1").execute("c1", 3).sync().go()
    a.execute("c1", 3).describe("P", "c1").flush().until("RowDescription")
    a.execute("c1", 3).sync().go()
    a.execute("c1", 3).sync().go()
    a.bind("c2", "p1").bind("c3", "p1").execute("c2", 1).execute("c3", 2).execute("c2", 1).close_("P", "c2").sync().go()
    a.execute("c2").sync().go()
    a.q("COMMIT")
    a.execute("c3").sync().go()
    a.bind("", "p1").execute().sync().go()


@scenario("protocol")
def test_portal_in_one_round_outside_a_transaction(s):
    a = s.client("a")
    a.parse("", "SELECT n FROM nums ORDER BY n LIMIT 5").bind("c1").execute("c1", 2).execute("c1", 2)
    a.execute("c1", 2).execute("c1", 2).sync().go()
    a.execute("c1", 2).sync().go()
    a.bind("c1", "").bind("c1", "").sync().go()


@scenario("protocol")
def test_describe_after_execute(s):
    a = s.client("a")
    a.parse("", "SELECT 1 AS n").bind().execute().describe("P").describe("S").sync().go()


@scenario("protocol")
def test_results_in_either_format(s):
    a = s.client("a")
    a.parse("", "SELECT 258::int4 AS i, 'x'::text AS t, NULL::int AS z").bind("", "", [], [], [1]).describe("P")
    a.execute().sync().go()


@scenario("protocol")
def test_empty_queries(s):
    a = s.client("a")
    a.q("")
    a.q("  ;; -- nothing\n")
    a.q("/* nothing */")
    a.x("")
    a.parse("p1", "  ").bind("", "p1").execute().sync().go()


@scenario("protocol")
def test_many_statements_in_one_query(s):
    a = s.client("a")
    a.q("SELECT 1; SELECT 'two'; SELECT v FROM s1.t")
    a.q("SET search_path = s1; SELECT v FROM t; SET search_path = s2; SELECT v FROM t")
    a.q("BEGIN; SELECT 1; COMMIT; SELECT 2; BEGIN; SELECT 3")
    a.q("SELECT 4; ROLLBACK; SELECT 5")
    a.q("SELECT v FROM t")
    a.q("SELECT 1; SELECT 1/0; SELECT 2")
    a.q("INSERT INTO deferred VALUES (1); INSERT INTO deferred VALUES (1)")
    a.q("SELECT count(*) FROM deferred")


@scenario("protocol")
def test_notices(s):
    a = s.client("a")
    a.q("SELECT says('one'); SELECT says('two')")
    a.x("SELECT says($1)", ["bound"])
    a.q("DO $$BEGIN RAISE WARNING 'careful' USING DETAIL = 'd', HINT = 'h', ERRCODE = '01ABC'; END$$")
    a.q("COMMIT")
    a.q("DROP TABLE IF EXISTS scratch.nothing")


@scenario("protocol")
def test_errors_whole(s):
    a = s.client("a")
    a.q("SELECT nothing FROM nums")
    a.q("INSERT INTO nums VALUES ('x')")
    a.q("DO $$BEGIN RAISE EXCEPTION 'mine' USING ERRCODE = 'XX123', DETAIL = 'd', HINT = 'h', COLUMN = 'c', "
        "CONSTRAINT = 'k', DATATYPE = 'y', TABLE = 't', SCHEMA = 's'; END$$")
    a.x("SELECT $1::int", ["x"])
    a.x("SELECT $1 + $3", [1])
    a.parse("", "SELECT $1::int").bind("", "", []).sync().go()
    a.q("SELEKT 1")


@scenario("protocol")
def test_function_call(s):
    a = s.client("a")
    a.q("SET search_path = s1")
    a.function_call(177, [40, 2]).go()  # int4pl
    a.function_call(1, []).go()
    a.q("BEGIN")
    a.function_call(177, [1, 2]).go()
    a.q("COMMIT")
    a.q("SELECT v FROM t")


@scenario("protocol")
def test_copy_out(s):
    a = s.client("a")
    a.q("COPY (SELECT n FROM nums ORDER BY n LIMIT 3) TO STDOUT")
    a.x("COPY (SELECT n FROM nums ORDER BY n LIMIT 3) TO STDOUT (FORMAT csv, HEADER)")
    a.q("COPY (SELECT 1/(3-n) FROM nums ORDER BY n LIMIT 5) TO STDOUT")
    a.q("COPY nothing TO STDOUT")
    a.q("SELECT 1; COPY (SELECT 2) TO STDOUT; SELECT 3")
    a.q("SET search_path = s1; COPY t TO STDOUT")
    a.q("COPY t TO STDOUT (FORMAT binary)")


@scenario("protocol")
def test_copy_in(s):
    a = s.client("a")
    a.q("CREATE TABLE scratch.copied (n int CHECK (n < 100), v text); GRANT ALL ON scratch.copied TO PUBLIC")
    a.q("SET search_path = scratch")
    a.query("COPY copied FROM STDIN").until("CopyInResponse")
    a.copy_data("1\tone\n").copy_data("2\ttw").copy_data("o\n").copy_done().go()
    a.query("COPY copied FROM STDIN").copy_data("3\tthree\n").copy_done().go()
    a.query("COPY copied FROM STDIN").until("CopyInResponse")
    a.copy_data("4\tfour\n").copy_fail("changed my mind").go()
    a.query("COPY copied FROM STDIN").until("CopyInResponse")
    a.copy_data("five\tfive\n").copy_data("6\tsix\n").copy_done().go()
    a.query("COPY copied FROM STDIN").until("CopyInResponse")
    a.copy_data("500\ttoo much\n").copy_done().go()
    a.q("SELECT * FROM copied ORDER BY n")
    a.query("COPY copied FROM STDIN; SELECT 'after'; COPY copied FROM STDIN").until("CopyInResponse")
    a.copy_data("7\tseven\n").copy_done().until("CopyInResponse")
    a.copy_data("8\teight\n").copy_done().go()
    a.q("SELECT count(*) FROM copied")


@scenario("protocol")
def test_copy_in_extended(s):
    a = s.client("a")
    a.q("CREATE TABLE scratch.copied (n int); GRANT ALL ON scratch.copied TO PUBLIC")
    a.parse("p1", "COPY scratch.copied FROM STDIN").bind("", "p1").execute().flush().until("CopyInResponse")
    a.copy_data("1\n2\n").copy_done().sync().go()
    # Sync sent with Execute comes while the server reads CopyData: ignored there, so one more is needed.
    a.bind("", "p1").execute().flush().until("CopyInResponse")
    a.copy_data("x\n").copy_done().sync().go()
    a.bind("", "p1").execute().flush().until("CopyInResponse")
    a.copy_fail("no").sync().go()
    a.bind("", "p1").execute().sync().until("CopyInResponse")
    a.copy_data("3\n").copy_done().sync().go()
    a.q("SELECT count(*) FROM scratch.copied")


@scenario("protocol")
def test_copy_in_a_failed_transaction(s):
    a = s.client("a")
    a.q("CREATE TABLE scratch.copied (n int); GRANT ALL ON scratch.copied TO PUBLIC")
    a.q("BEGIN; SET search_path = s1")
    a.query("COPY scratch.copied FROM STDIN").until("CopyInResponse")
    a.copy_data("x\n").copy_done().go()
    a.q("COMMIT")
    a.q("SHOW search_path")


@scenario("protocol")
def test_stray_copy_messages(s):
    a = s.client("a")
    a.copy_data("stray\n").copy_done().copy_fail("stray").q("SELECT 1")
    a.q("SELECT 2")


@scenario("protocol")
def test_large_rows(s):
    a = s.client("a")
    a.q("SELECT repeat('x', %d) AS v" % FIVE_MB)
    a.x("SELECT repeat('y', %d) AS v, 1 AS n" % FIVE_MB)
    a.q("SELECT repeat('z', 1000) FROM nums")
    a.q("SELECT 1")


@scenario("protocol")
def test_large_query(s):
    a = s.client("a")
    a.q("SET search_path = s1")
    a.q("SELECT length('%s'), v FROM t" % ("x" * THREE_MB))
    a.x("SELECT length('%s'), v FROM t" % ("x" * THREE_MB))
    a.x("SELECT length($1), v FROM t", ["y" * THREE_MB])
    a.q("/* %s */ SET search_path = s2" % ("long " * (THREE_MB // 5)))
    a.q("SELECT v FROM t")


@scenario("protocol")
def test_large_copy(s):
    a = s.client("a")
    a.q("CREATE TABLE scratch.big (v text); GRANT ALL ON scratch.big TO PUBLIC")
    a.query("COPY scratch.big FROM STDIN").until("CopyInResponse")
    a.out = rawpg.message("d", b"x" * 9999 + b"\n") * 400
    a.copy_done().go()
    a.q("SELECT count(*), sum(length(v)) FROM scratch.big")


@scenario("protocol", need=2)
def test_two_unnamed_statements(s):
    """Two clients that Parse the unnamed statement, Sync, then Bind and Execute get their own rows."""
    a, b = s.client("a"), s.client("b")
    for n in range(3):
        a.parse("", "SELECT 'of a'::text AS v, %d AS n" % n).sync().go()
        b.parse("", "SELECT %d AS n, 'of b'::text AS v" % n).sync().go()
        b.bind().describe("P").execute().sync().go()
        a.bind().describe("P").execute().sync().go()


@scenario("protocol")
def test_an_error_then_gone(s):
    """A client that leaves without its Sync leaves nothing behind."""
    a = s.client("a")
    a.parse("", "SELECT 1/0").bind().execute().flush().until("ErrorResponse")
    a.leave()
    b = s.client("b")
    b.q("SELECT 1")
    b.parse("", "SELECT 2").bind().execute().flush().until("CommandComplete")
    b.leave()
    c = s.client("c")
    c.q("SHOW search_path")


@scenario("protocol")
def test_gone_in_mid_copy(s):
    a = s.client("a")
    a.q("CREATE TABLE scratch.copied (n int); GRANT ALL ON scratch.copied TO PUBLIC")
    a.query("COPY scratch.copied FROM STDIN").until("CopyInResponse")
    a.copy_data("1\n").send()
    a.leave()
    b = s.client("b")
    b.q("SELECT count(*) FROM scratch.copied")


@scenario("protocol")
def test_gone_in_mid_message(s):
    a = s.client("a")
    a.q("SET search_path = s1")
    a.raw(b"Q" + struct.pack("!i", 1000) + b"SELECT")
    a.leave()
    b = s.client("b")
    b.q("SHOW search_path")


@scenario("protocol", args={
    "3.0": (rawpg.PROTOCOL_3_0, ()), "3.2": (rawpg.PROTOCOL_3_2, ()), "3.9": ((3 << 16) + 9, ()),
    "option": (rawpg.PROTOCOL_3_0, (("_pq_.something", "1"), ("_pq_.other", "x"))),
    "3.2 and option": (rawpg.PROTOCOL_3_2, (("_pq_.something", "1"),)),
    "3.1": ((3 << 16) + 1, ()), "3.1 and option": ((3 << 16) + 1, (("_pq_.something", "1"),)),
    "3.9 and option": ((3 << 16) + 9, (("_pq_.something", "1"),)),
    "4.0": (4 << 16, ()), "5.1": ((5 << 16) + 1, ()), "3.9998": ((3 << 16) + 9998, ()), "3.9999": ((3 << 16) + 9999, ()),
})
def test_version_negotiation(s, version, options):
    a = s.client("a", protocol=version, params=dict(options), search_path="s1")
    if not a.closed:
        a.q("SELECT v FROM t")


@scenario("protocol", args={"SSLRequest": (rawpg.SSL_REQUEST,), "GSSENCRequest": (rawpg.GSSENC_REQUEST,)})
def test_encryption_refused(s, code):
    a = s.client("a", login=False, unix=True)
    a.raw(struct.pack("!ii", 8, code))
    s.tell(a.byte())
    a.startup({"search_path": "s1"})
    a.q("SELECT v FROM t")


@scenario("protocol")
def test_both_encryptions_refused(s):
    a = s.client("a", login=False, unix=True)
    for code in (rawpg.GSSENC_REQUEST, rawpg.SSL_REQUEST):
        a.raw(struct.pack("!ii", 8, code))
        s.tell(a.byte())
    a.startup({})
    a.q("SELECT 1")


@pytest.mark.row("protocol")
@pytest.mark.parametrize("data", [struct.pack("!i", 0x7fffffff), struct.pack("!i", 3), b"GET / HTTP/1.1\r\n\r\n"],
                         ids=["too long", "too short", "another protocol"])
def test_nonsense_instead_of_a_startup(pooler, data):
    with rawpg.Conn(pooler.address, login=False) as conn:
        conn.raw(data)
        assert all(event[0] == "ErrorResponse" for event in conn.read_eof())
    with pooler.connect(1) as conn:
        assert conn.value("SELECT 1") == "1"


# Cancel -----------------------------------------------------------------------------------------------------------

def wait_running(s, mark):
    """Until a backend sleeps, or waits for a lock, in a statement that holds the mark: then it has said what comes before."""
    until = time.monotonic() + rawpg.DEADLINE
    with s.admin() as admin:
        while admin.value("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event_type IN ('Timeout', 'Lock') "
                          "AND query LIKE '%%%s%%' AND pid <> pg_backend_pid()" % mark) == "0":
            if time.monotonic() > until:
                raise rawpg.Deadline("the statement with %s never ran" % mark)
            admin.value("SELECT pg_sleep(0.002)")


@scenario("cancel")
def test_cancels_the_running_query(s):
    a = s.client("a")
    a.q("SET search_path = s1")
    a.query("SELECT pg_sleep(30) /* one */").send()
    wait_running(s, "one")
    a.cancel()
    a.go()
    a.q("SELECT v FROM t")


@scenario("cancel", need=2)
def test_cancels_only_the_right_one(s):
    a, b = s.client("a"), s.client("b")
    a.parse("p1", "SELECT 'lives'::text, pg_sleep(0.3) /* ' two */").sync().go()
    b.q("SET search_path = s2")
    a.bind("", "p1").execute().sync().send()
    b.query("SELECT pg_sleep(30) /* three */").send()
    wait_running(s, "two")
    wait_running(s, "three")
    b.cancel()
    b.go()
    a.go()
    b.q("SELECT v FROM t")


@scenario("cancel")
def test_cancels_by_the_key_of_protocol_3_2(s):
    """The whole key does, which is longer from PostgreSQL 18 on; no part of it, and not with more behind it."""
    a = s.client("a", protocol=rawpg.PROTOCOL_3_2)
    key = a.key
    a.query("SELECT pg_sleep(0.3), 'lives' /* eight */").send()
    wait_running(s, "eight")
    for wrong in (key[:4], key[:-1], key + b"\0", key + bytes(256 - len(key)), key[:-1] + bytes([key[-1] ^ 1])):
        if wrong != key:
            a.key = wrong
            a.cancel()
    a.go()
    a.key = key
    a.query("SELECT pg_sleep(30) /* nine */").send()
    wait_running(s, "nine")
    a.cancel()
    a.go()


@scenario("cancel", need=2)
def test_idle_client_cancels_nobody(s):
    a, b = s.client("a"), s.client("b")
    a.q("SET search_path = s1")
    a.q("SELECT v FROM t")
    b.query("SELECT pg_sleep(0.2), 'lives' /* four */").send()
    wait_running(s, "four")
    a.cancel()
    b.go()
    a.q("SELECT v FROM t")


@scenario("cancel")
def test_in_a_transaction(s):
    a = s.client("a")
    a.q("SET search_path = s1")
    a.q("BEGIN; SET search_path = s2")
    a.query("SELECT pg_sleep(30) /* five */").send()
    wait_running(s, "five")
    a.cancel()
    a.go()
    a.q("SELECT 1")
    a.q("ROLLBACK")
    a.q("SELECT v FROM t")


@scenario("cancel")
def test_wrong_key(s):
    a = s.client("a")
    a.q("SET search_path = s1")
    a.query("SELECT pg_sleep(0.2), v FROM t /* six */").send()
    wait_running(s, "six")
    kept, a.key = a.key, bytes(len(a.key))
    a.cancel()
    a.key = kept
    a.go()
    a.q("SELECT v FROM t")


@scenario("cancel", need=2)
def test_lock_wait(s):
    a, b = s.client("a"), s.client("b")
    a.pins("SELECT pg_advisory_lock(30)")
    b.query("SELECT pg_advisory_lock(30) /* seven */").send()
    wait_running(s, "seven")
    b.cancel()
    b.go()
    a.frees("SELECT pg_advisory_unlock(30)")
    b.pins("SELECT pg_try_advisory_lock(30)")
    b.frees("SELECT pg_advisory_unlock(30)")


@pytest.mark.row("cancel")
def test_in_the_waiting_line(pooler):
    """A client that cancels while it waits for a backend gets the error; the one it waits for goes on."""
    if pooler.kind == "direct":
        pytest.skip("nobody waits here")
    with pooler.connect(1) as a, pooler.connect(1) as b:
        b.value("SET search_path = s1")
        a.q("BEGIN")
        b.query("SELECT v FROM t").send()
        a.value("SELECT 1")
        b.cancel()
        a.q("COMMIT")
        events = b.go()
        assert events[-1][0] in ("ReadyForQuery", "EOF"), events
        assert a.value("SELECT 'lives'") == "lives"
