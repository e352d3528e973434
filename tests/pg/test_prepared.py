"""Prepared statements: the protocol's named and unnamed ones, SQL's, and both across each other."""

from differential import NO_SCHEMAS, scenario, scripts

INT, TEXT = 23, 25


def run(client, name, *values):
    return client.bind("", name, values).describe("P").execute().sync().go()


@scenario("prepared statements")
def test_survives_others(s):
    a = s.client("a")
    a.parse("p1", "SELECT 'mine'::text AS v, $1::int + 1 AS n").describe("S", "p1").sync().go()
    for n in range(4):
        run(a, "p1", n)


@scenario("prepared statements")
def test_same_name_different_text(s):
    a, b = s.client("a"), s.client("b")
    a.parse("p1", "SELECT 'of a'::text AS v").sync().go()
    b.parse("p1", "SELECT 'of b'::text AS v, $1::int AS n").sync().go()
    run(a, "p1")
    run(b, "p1", 5)
    a.close_("S", "p1").sync().go()
    run(b, "p1", 6)
    run(a, "p1")


@scenario("prepared statements")
def test_same_text_on_two_clients(s):
    a, b = s.client("a"), s.client("b")
    for client in (a, b):
        client.parse("p1", "SELECT $1::text || '!' AS v").sync().go()
        run(client, "p1", "x")
    a.close_("S", "p1").sync().go()
    run(b, "p1", "y")
    a.parse("p1", "SELECT 1").sync().go()
    run(b, "p1", "z")
    run(a, "p1")


@scenario("prepared statements")
def test_duplicate_name(s):
    a = s.client("a")
    a.parse("p1", "SELECT 1").sync().go()
    a.parse("p1", "SELECT 2").bind("", "p1").execute().sync().go()
    run(a, "p1")
    a.parse("p1", "SELECT 1").sync().go()
    a.q("SELECT 1")


@scenario("prepared statements")
def test_unknown_name(s):
    a = s.client("a")
    run(a, "p1")
    a.describe("S", "nothing").sync().go()
    a.close_("S", "nothing").sync().go()
    a.execute("no portal").sync().go()
    a.q("EXECUTE p1")
    a.q("DEALLOCATE p1")


@scenario("prepared statements")
def test_close_then_parse_again(s):
    a = s.client("a")
    for n in range(3):
        a.parse("p1", "SELECT %d" % n).sync().go()
        run(a, "p1")
        a.close_("S", "p1").parse("p1", "SELECT 'again'::text").bind("", "p1").execute().close_("S", "p1").sync().go()
        run(a, "p1")


@scenario("prepared statements")
def test_failed_parse_poisons_nothing(s):
    a = s.client("a")
    a.parse("p1", "SELECT * FROM not_there_yet").sync().go()
    run(a, "p1")
    a.q("CREATE TABLE scratch.not_there_yet (v int); SET search_path = scratch")
    a.parse("p1", "SELECT * FROM not_there_yet").sync().go()
    run(a, "p1")
    b = s.client("b")
    b.parse("p1", "SELECT * FROM not_there_yet").sync().go()
    b.parse("p1", "SELEKT").sync().go()
    b.parse("p1", "SELECT 1").sync().go()
    run(b, "p1")
    run(a, "p1")


@scenario("prepared statements")
def test_parse_in_a_failed_pipeline(s):
    """An error before it skips the Parse; one after it leaves the statement there."""
    a = s.client("a")
    a.parse("", "SELECT 1/0").bind("", "").execute().parse("p1", "SELECT 1").sync().go()
    run(a, "p1")
    a.parse("p1", "SELECT 'kept'::text").parse("", "SELECT 1/0").bind("", "").execute().sync().go()
    run(a, "p1")


@scenario("prepared statements")
def test_transactions_do_not_matter(s):
    a = s.client("a")
    a.q("BEGIN")
    a.parse("p1", "SELECT 'in'::text").sync().go()
    a.q("ROLLBACK")
    run(a, "p1")
    a.q("BEGIN")
    a.close_("S", "p1").sync().go()
    a.q("ROLLBACK")
    run(a, "p1")
    a.q("BEGIN")
    a.q("SELECT 1/0")
    a.parse("p2", "SELECT 1").sync().go()
    a.parse("p2", "ROLLBACK").sync().go()
    run(a, "p2")
    run(a, "p2")


@scenario("prepared statements")
def test_deallocate_reaches_the_protocols(s):
    a, b = s.client("a"), s.client("b")
    for client in (a, b):
        client.parse("p1", "SELECT 'of %s'::text" % client.name).parse("p2", "SELECT 2").sync().go()
    a.q("DEALLOCATE p1")
    run(a, "p1")
    run(b, "p1")
    a.q("DEALLOCATE ALL")
    run(a, "p2")
    run(b, "p2")
    b.q("DISCARD ALL")
    run(b, "p1")
    a.parse("p1", "SELECT 'new'::text").sync().go()
    run(a, "p1")
    b.q("DEALLOCATE PREPARE p1")


@scenario("prepared statements")
def test_named_in_another_search_path(s):
    """A statement parsed in one search_path and run in another: PostgreSQL plans anew, by the one of now."""
    a = s.client("a")
    a.q("SET search_path = s1")
    a.parse("p1", "SELECT v, f() FROM t").sync().go()
    run(a, "p1")
    a.q("SET search_path = s2")
    run(a, "p1")
    b = s.client("b")
    b.q("SET search_path = s3")
    b.parse("p1", "SELECT v, f() FROM t").sync().go()
    run(b, "p1")
    run(a, "p1")
    a.q("SET search_path = s1")
    run(a, "p1")
    run(b, "p1")


@scenario("prepared statements", noise=NO_SCHEMAS)
def test_literals_under_another_datestyle(s):
    a, b = s.client("a"), s.client("b")
    sql = "SELECT '01/02/2024'::date AS d"
    a.q("SET DateStyle = 'ISO, DMY'")
    a.parse("p1", sql).sync().go()
    b.q("SET DateStyle = 'ISO, MDY'")
    b.parse("p1", sql).sync().go()
    for client in (a, b, a):
        run(client, "p1")
    a.q("SET DateStyle = 'ISO, YMD'")
    run(a, "p1")
    a.q("SET DateStyle = 'ISO, MDY'")
    run(a, "p1")
    run(b, "p1")


@scenario("prepared statements")
def test_literals_under_another_time_zone(s):
    a, b = s.client("a"), s.client("b")
    for client, zone in ((a, "Asia/Tokyo"), (b, "UTC")):
        client.q("SET TimeZone = '%s'" % zone)
        client.parse("p1", "SELECT '2024-01-01 00:00'::timestamptz AT TIME ZONE 'UTC' AS t").sync().go()
    for client in (a, b, a, b):
        run(client, "p1")
    a.q("SET TimeZone = 'UTC'")
    run(a, "p1")


@scenario("prepared statements")
def test_standard_conforming_strings_at_parse(s):
    a, b = s.client("a"), s.client("b")
    a.q("SET escape_string_warning = off; SET standard_conforming_strings = off")
    sql = "SELECT 'a\\\\b'::text"
    a.parse("p1", sql).sync().go()
    b.parse("p1", sql).sync().go()
    run(a, "p1")
    run(b, "p1")
    a.q("SET standard_conforming_strings = on")
    run(a, "p1")


@scenario("prepared statements")
def test_role_at_run(s):
    a = s.client("a")
    a.parse("p1", "SELECT current_user").sync().go()
    a.q("SET ROLE r1")
    run(a, "p1")
    a.q("RESET ROLE")
    run(a, "p1")


@scenario("prepared statements")
def test_types_given(s):
    a, b = s.client("a"), s.client("b")
    a.parse("p1", "SELECT $1 AS v", [INT]).describe("S", "p1").sync().go()
    b.parse("p1", "SELECT $1 AS v", [TEXT]).describe("S", "p1").sync().go()
    run(a, "p1", 7)
    run(b, "p1", "seven")
    run(a, "p1", "seven")
    run(a, "p1")
    a.parse("p2", "SELECT $1 + $2 AS v", [INT, 0]).describe("S", "p2").sync().go()
    run(a, "p2", 1, 2)


@scenario("prepared statements")
def test_binary(s):
    a = s.client("a")
    a.parse("p1", "SELECT $1::int + 1 AS n, $2::text AS v", [INT, TEXT]).sync().go()
    (a.bind("", "p1", [b"\x00\x00\x00\x07", "x"], [1, 0], [1, 0]).describe("P").execute().sync().go())


@scenario("prepared statements")
def test_names_of_every_kind(s):
    a, b = s.client("a"), s.client("b")
    for n, name in enumerate(["with \"quotes\" and 'more'", "n" * 100, "n" * 100 + "x", "\u00fcml\u00e4ut", " ", "P1", "p1",
                              "pgporter_1", "s1", "_"]):
        a.parse(name, "SELECT %d" % n).sync().go()
        b.parse(name, "SELECT %d + 100" % n).sync().go()
        run(a, name)
        run(b, name)


@scenario("prepared statements")
def test_many(s):
    """Two hundred and fifty statements, more than a backend is told to keep."""
    a = s.client("a")
    for n in range(250):
        a.parse("m%d" % n, "SELECT %d AS v" % n)
    a.sync().go()
    for n in (0, 249, 100, 1):
        run(a, "m%d" % n)


@scenario("prepared statements")
def test_result_type_changed_by_ddl(s):
    a, b = s.client("a"), s.client("b")
    a.q("CREATE TABLE scratch.changing AS SELECT 1 AS n")
    a.q("GRANT ALL ON scratch.changing TO PUBLIC")
    a.parse("p1", "SELECT * FROM scratch.changing").sync().go()
    run(a, "p1")
    b.q("ALTER TABLE scratch.changing ADD COLUMN v text DEFAULT 'new'")
    run(a, "p1")
    b.parse("p1", "SELECT * FROM scratch.changing").sync().go()
    run(b, "p1")
    run(a, "p1")
    a.close_("S", "p1").sync().go()
    a.parse("p1", "SELECT * FROM scratch.changing").sync().go()
    run(a, "p1")


@scenario("prepared statements")
def test_table_dropped_and_made_again(s):
    a, b = s.client("a"), s.client("b")
    a.q("CREATE TABLE scratch.again AS SELECT 1 AS n")
    a.parse("p1", "SELECT n FROM scratch.again").sync().go()
    b.q("DROP TABLE scratch.again")
    run(a, "p1")
    b.q("CREATE TABLE scratch.again AS SELECT 2 AS n")
    run(a, "p1")


@scenario("prepared statements")
def test_describe_alone(s):
    a = s.client("a")
    a.parse("p1", "SELECT $1::int AS n, 'x'::text AS v").sync().go()
    a.describe("S", "p1").sync().go()
    a.parse("p2", "SET my.a = 'x'").describe("S", "p2").sync().go()
    a.parse("p3", "").describe("S", "p3").sync().go()
    run(a, "p3")


@scenario("prepared statements")
def test_settings_and_transactions_as_prepared_statements(s):
    a = s.client("a")
    for name, sql in {"b": "BEGIN", "c": "COMMIT", "r": "ROLLBACK", "s1": "SET search_path = s1",
                      "s2": "SET search_path = s2", "q": "SELECT v FROM t", "d": "DEALLOCATE q"}.items():
        a.parse(name, sql).sync().go()
    for name in ("s1", "b", "s2", "q", "r", "b", "s2", "c"):
        run(a, name)
    a.q("SELECT v FROM t")
    run(a, "q")
    run(a, "d")
    run(a, "q")


# The unnamed statement and portal -------------------------------------------------------------------------------

@scenario("unnamed statement")
def test_unnamed_across_syncs(s):
    """Parse, Sync, then Bind and Execute: its own rows, whoever came in between."""
    a, b = s.client("a"), s.client("b")
    a.parse("", "SELECT 'of a'::text AS v").sync().go()
    b.parse("", "SELECT 'of b'::text AS v, 2 AS n").sync().go()
    run(a, "")
    run(b, "")
    run(a, "")


@scenario("unnamed statement")
def test_unnamed_described_in_one_round_bound_in_another(s):
    a, b = s.client("a"), s.client("b")
    a.parse("", "SELECT $1::int AS n").describe("S", "").sync().go()
    b.parse("", "SELECT $1::text AS v").describe("S", "").sync().go()
    a.bind("", "", [5]).execute().sync().go()
    b.bind("", "", ["five"]).execute().sync().go()
    a.describe("S", "").sync().go()


@scenario("unnamed statement")
def test_unnamed_is_gone_after_a_query(s):
    a = s.client("a")
    a.parse("", "SELECT 1").sync().go()
    a.q("SELECT 2")
    run(a, "")
    a.parse("", "SELECT 3").sync().go()
    a.q("")
    run(a, "")


@scenario("unnamed statement")
def test_unnamed_none_yet(s):
    a = s.client("a")
    run(a, "")
    a.describe("S", "").sync().go()
    a.close_("S", "").sync().go()


@scenario("unnamed statement")
def test_unnamed_closed_or_failed(s):
    a = s.client("a")
    a.parse("", "SELECT 1").close_("S", "").sync().go()
    run(a, "")
    a.parse("", "SELECT 'kept?'::text").sync().go()
    a.parse("", "SELEKT").sync().go()
    run(a, "")
    a.q("DEALLOCATE ALL")
    a.parse("", "SELECT 'x'::text").sync().go()
    a.parse("p1", "DEALLOCATE ALL").bind("", "p1").execute().sync().go()
    run(a, "")
    a.parse("", "SELECT 'y'::text").sync().go()
    a.parse("p1", "DISCARD ALL").bind("", "p1").execute().sync().go()
    run(a, "")


@scenario("unnamed statement")
def test_unnamed_under_new_settings(s):
    a, b = s.client("a"), s.client("b")
    a.q("SET search_path = s1")
    a.parse("", "SELECT v FROM t").sync().go()
    b.q("SET search_path = s2")
    b.parse("", "SELECT v FROM t").sync().go()
    run(a, "")
    run(b, "")


@scenario("unnamed statement")
def test_unnamed_portal_ends_with_its_transaction(s):
    a = s.client("a")
    a.parse("", "SELECT n FROM nums ORDER BY n LIMIT 5").bind().sync().go()
    a.execute().sync().go()
    a.q("BEGIN")
    a.parse("", "SELECT n FROM nums ORDER BY n LIMIT 5").bind().execute("", 2).sync().go()
    a.execute("", 2).sync().go()
    a.q("COMMIT")
    a.execute("", 2).sync().go()


# PREPARE, EXECUTE, DEALLOCATE -----------------------------------------------------------------------------------

test_sql = scripts("SQL PREPARE", {
    "plain": ["PREPARE p1 AS SELECT 'mine'::text AS v", "EXECUTE p1", "EXECUTE p1", "DEALLOCATE p1", "EXECUTE p1"],
    "types": ["PREPARE p1(int, text) AS SELECT $1 + 1 AS n, $2 AS v", "EXECUTE p1(1, 'it''s')", "EXECUTE p1('2', NULL)",
              "EXECUTE p1(1)", "EXECUTE p1('x', 'y')"],
    "types found": ["PREPARE p1 AS SELECT $1::int * 2 AS n", "EXECUTE p1(21)", "EXECUTE p1(20 + 1)"],
    "duplicate": ["PREPARE p1 AS SELECT 1", "PREPARE p1 AS SELECT 2", "EXECUTE p1"],
    "unknown": ["EXECUTE p1", "DEALLOCATE p1", "DEALLOCATE PREPARE p1", "DEALLOCATE ALL"],
    "quoted name": ["PREPARE \"P one\"\" '\" AS SELECT 1", "EXECUTE \"P one\"\" '\"", "DEALLOCATE \"P one\"\" '\""],
    "case": ["PREPARE P1 AS SELECT 1", "EXECUTE p1", "EXECUTE \"P1\""],
    "long name": ["PREPARE %s AS SELECT 1" % ("n" * 80), "EXECUTE %s" % ("n" * 80), "EXECUTE %s" % ("n" * 63)],
    "EXPLAIN": ["PREPARE p1 AS SELECT 1 AS n", "EXPLAIN (COSTS OFF) EXECUTE p1", "EXPLAIN EXECUTE p2",
                "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE p1"],
    "CREATE TABLE AS": ["PREPARE p1(int) AS SELECT $1 AS n", "CREATE TABLE scratch.made AS EXECUTE p1(9)",
                        "SELECT * FROM scratch.made", "CREATE TABLE scratch.no AS EXECUTE p2"],
    "EXPLAIN CREATE TABLE AS": ["PREPARE p1 AS SELECT 1 AS n",
                                "EXPLAIN (COSTS OFF) CREATE TABLE scratch.made AS EXECUTE p1"],
    "DML": ["CREATE TABLE scratch.d (n int)", "PREPARE p1(int) AS INSERT INTO scratch.d VALUES ($1)", "EXECUTE p1(1)",
            "PREPARE p2 AS UPDATE scratch.d SET n = n + 1 RETURNING n", "EXECUTE p2", "PREPARE p3 AS DELETE FROM "
            "scratch.d", "EXECUTE p3"],
    "rolled back PREPARE stays": ["BEGIN", "PREPARE p1 AS SELECT 1", "ROLLBACK", "EXECUTE p1"],
    "failed PREPARE": ["PREPARE p1 AS SELECT * FROM not_there", "EXECUTE p1", "PREPARE p1 AS SELECT 2", "EXECUTE p1"],
    "several in one query": ["PREPARE p1 AS SELECT 1; EXECUTE p1; DEALLOCATE p1; EXECUTE p1"],
    "prepared then failed in one query": ["PREPARE p1 AS SELECT 1; SELECT 1/0", "EXECUTE p1"],
    "search_path": ["SET search_path = s1", "PREPARE p1 AS SELECT v FROM t", "SET search_path = s2", "EXECUTE p1"],
    "not preparable": ["PREPARE p1 AS SET my.a = 1", "PREPARE p1 AS CREATE TABLE x (v int)"],
    "DISCARD ALL": ["PREPARE p1 AS SELECT 1", "DISCARD ALL", "EXECUTE p1"],
    "DISCARD PLANS keeps it": ["PREPARE p1 AS SELECT 1", "DISCARD PLANS", "EXECUTE p1"],
    "errors name it right": ["PREPARE p1(int) AS SELECT 1 / $1", "EXECUTE p1(0)", "PREPARE p1(int) AS SELECT 1",
                             "PREPARE p2(nosuchtype) AS SELECT 1", "PREPARE p2 AS SELECT nothing"],
    "notices and position": ["PREPARE p1 AS SELECT says('p1')", "EXECUTE p1", "EXECUTE p1(1)", "EXECUTE p1 oops"],
}, ("EXECUTE p1",))


@scenario("SQL PREPARE")
def test_sql_name_is_each_clients_own(s):
    a, b = s.client("a"), s.client("b")
    a.q("PREPARE p1 AS SELECT 'of a'::text AS v")
    b.q("PREPARE p1(int) AS SELECT 'of b'::text AS v, $1 AS n")
    a.q("EXECUTE p1")
    b.q("EXECUTE p1(1)")
    a.q("DEALLOCATE ALL")
    b.q("EXECUTE p1(2)")
    a.q("EXECUTE p1")


@scenario("SQL PREPARE")
def test_sql_and_protocol_share_names(s):
    a = s.client("a")
    a.q("PREPARE p1(int) AS SELECT $1 + 1 AS n")
    a.describe("S", "p1").sync().go()
    run(a, "p1", 41)
    a.parse("p1", "SELECT 2").sync().go()
    a.parse("p2", "SELECT $1::text AS v").sync().go()
    a.q("EXECUTE p2('by sql')")
    a.q("PREPARE p2 AS SELECT 1")
    a.close_("S", "p1").sync().go()
    a.q("EXECUTE p1(1)")
    a.q("DEALLOCATE p2")
    run(a, "p2", "x")
    a.x("EXECUTE p3")
    a.parse("e", "EXECUTE p4").sync().go()
    a.q("PREPARE p4 AS SELECT 'four'::text")
    a.parse("e", "EXECUTE p4").sync().go()
    run(a, "e")
    run(a, "e")


@scenario("SQL PREPARE")
def test_an_execute_is_described_on_every_connection(s):
    a = s.client("a")
    a.q("PREPARE p AS SELECT 'four'::text")
    a.parse("e", "EXECUTE p").sync().go()
    for _ in range(2):
        a.describe("S", "e").sync().go()
        a.describe("S", "e").bind("", "e").execute().sync().go()


@scenario("SQL PREPARE")
def test_sql_prepare_by_extended(s):
    a, b = s.client("a"), s.client("b")
    a.x("PREPARE p1(int) AS SELECT $1 * 2 AS n")
    b.x("PREPARE p1(int) AS SELECT $1 * 3 AS n")
    a.x("EXECUTE p1(7)")
    b.x("EXECUTE p1(7)")
    a.x("DEALLOCATE p1")
    a.x("EXECUTE p1(7)")
    b.x("EXECUTE p1(8)")


@scenario("SQL PREPARE")
def test_sql_result_type_changed_by_ddl(s):
    a, b = s.client("a"), s.client("b")
    a.q("CREATE TABLE scratch.changing AS SELECT 1 AS n; GRANT ALL ON scratch.changing TO PUBLIC")
    a.q("PREPARE p1 AS SELECT * FROM scratch.changing")
    a.q("EXECUTE p1")
    b.q("ALTER TABLE scratch.changing ADD COLUMN v text")
    a.q("EXECUTE p1")
    b.q("PREPARE p1 AS SELECT * FROM scratch.changing")
    b.q("EXECUTE p1")
    a.q("EXECUTE p1")


@scenario("unnamed statement")
def test_one_that_was_skipped_replaces_nothing(s):
    """After an error PostgreSQL skips to Sync: what would have replaced or closed the unnamed statement did not."""
    a = s.client("a")
    a.parse("", "SELECT 'first'::text").execute("none").parse("", "SELECT 'second'::text").bind().execute().sync().go()
    a.bind("", "").execute().sync().go()
    a.execute("none").close_("S", "").parse("", "SELECT 'third'::text").parse("", "SELECT 'fourth'::text").sync().go()
    a.bind("", "").execute().sync().go()
    a.execute("none").query("SELECT 'skipped'").sync().go()
    a.bind("", "").execute().sync().go()
    a.parse("", "SELECT 'fifth'::text").parse("", "SELEC").parse("", "SELECT 'sixth'::text").sync().go()
    a.bind("", "").execute().sync().go()


@scenario("unnamed statement")
def test_the_one_before_a_skipped_parse_in_a_failed_transaction(s):
    """It is there as it was: PostgreSQL looks at its parameters before it refuses to run it."""
    a = s.client("a")
    a.parse("", "BEGIN").bind().execute().execute().parse("", "SELECT 1").query("SELECT 2").sync().go()
    a.bind("c9", "", ["990"]).sync().go()
    a.bind("", "").execute().sync().go()
    a.q("ROLLBACK")
    a.q("BEGIN")
    a.parse("", "ROLLBACK").execute("none").close_("S", "").parse("", "SELECT $1::text").sync().go()
    a.bind("", "", ["x"]).sync().go()
    a.bind("", "").execute().sync().go()
    a.q("SELECT 1")


@scenario("unnamed statement")
def test_unnamed_that_executes_a_name_given_later(s):
    """What EXECUTE names is looked up when it runs."""
    a = s.client("a")
    a.parse("", "EXPLAIN (COSTS OFF) EXECUTE p1").sync().go()
    a.parse("p1", "SHOW DateStyle").sync().go()
    a.bind("", "").execute().sync().go()
    a.parse("", "EXECUTE p1").describe("S", "").sync().go()
    a.close_("S", "p1").parse("p1", "SELECT 'another'::text AS v").sync().go()
    a.describe("S", "").bind("", "").execute().sync().go()
    a.close_("S", "p1").sync().go()
    a.bind("", "").execute().sync().go()


@scenario("prepared statements")
def test_positions_of_errors_in_a_pipeline(s):
    """Each error is in the text of its own message, whatever other messages in flight are written anew."""
    a = s.client("a")
    a.parse("", "SELECT * FROM missing").parse("", "PREPARE p1 AS SELECT 1").bind().execute().sync().go()
    a.q("PREPARE p1 (int) AS SELECT $1")
    a.parse("", "EXECUTE p1 ('x')").bind().execute().parse("", "EXECUTE p1 (5)").bind().execute().sync().go()
    a.parse("", "/* well to the right */ PREPARE another_name AS SELECT nothing").bind().execute().sync().go()
    a.parse("p2", "EXECUTE p1 (missing)").bind("", "p2").execute().parse("p3", "EXECUTE p1 (1)").sync().go()
    a.parse("", "SELECT 1").bind().execute().parse("", "SELECT nothing").parse("", "EXPLAIN EXECUTE p1 (1)").sync().go()
    a.q("EXECUTE p1 (missing)")


@scenario("SQL PREPARE")
def test_position_of_an_error_in_what_was_prepared(s):
    a = s.client("a")
    a.q("SET search_path = s1")
    a.q("PREPARE p1 AS SELECT v FROM t")
    a.q("SET search_path = s1")
    a.bind("", "p1").execute().sync().go()
    a.q("SET search_path = public")
    a.bind("", "p1").execute().sync().go()


@scenario("SQL PREPARE")
def test_execute_of_what_is_not_a_query(s):
    """Only the protocol can prepare it. An EXPLAIN of it runs nothing, and says so."""
    a = s.client("a", TimeZone="Europe/Paris")
    a.q("PREPARE q (int) AS SELECT $1 + 1 AS n")
    for name, text in (("set", "SET TimeZone = 'Asia/Tokyo'"), ("reset", "RESET TimeZone"), ("default", "SET TimeZone TO DEFAULT"),
                       ("e", "EXECUTE q (1)"), ("p", "PREPARE made AS SELECT 'made'::text AS v"), ("d", "DEALLOCATE q"),
                       ("gone", "DEALLOCATE ALL"), ("local", "SET LOCAL TimeZone TO DEFAULT")):
        a.parse(name, text).sync().go()
    for step in ("EXECUTE set", "SHOW TimeZone", "EXECUTE reset (1, 2)", "SHOW TimeZone", "EXPLAIN EXECUTE set", "SHOW TimeZone",
                 "EXECUTE set", "EXECUTE default", "SHOW TimeZone", "EXECUTE e", "EXECUTE p", "EXECUTE made", "EXECUTE p",
                 "BEGIN; EXECUTE set; EXECUTE local; ROLLBACK", "CREATE TABLE never AS EXECUTE d", "EXECUTE e", "EXECUTE d", "EXECUTE e",
                 "EXECUTE d", "EXECUTE gone", "EXECUTE set"):
        a.q(step)


@scenario("SQL PREPARE")
def test_execute_of_what_is_not_a_query_by_extended_protocol(s):
    a = s.client("a", TimeZone="Europe/Paris")
    a.parse("set", "SET TimeZone = 'Asia/Tokyo'").parse("reset", "RESET TimeZone").parse("gone", "DEALLOCATE ALL").sync().go()
    for step in ("EXECUTE set", "SHOW TimeZone", "EXECUTE reset", "SHOW TimeZone", "EXPLAIN EXECUTE set", "SHOW TimeZone", "EXECUTE gone",
                 "EXECUTE set"):
        a.x(step)


@scenario("SQL PREPARE")
def test_executes_in_executes(s):
    """Each name is what it means when the outermost is executed."""
    a = s.client("a")
    a.parse("one", "SELECT 'first'::text AS v").parse("two", "EXECUTE one").parse("three", "EXECUTE two").describe("S", "three").sync().go()
    a.q("EXECUTE three")
    run(a, "three")
    a.x("EXECUTE three")
    a.q("DEALLOCATE one")
    a.q("EXECUTE three")
    a.q("PREPARE one AS SELECT 'second'::text AS v")
    a.q("EXECUTE three")
    run(a, "three")
    a.x("EXECUTE three")


@scenario("SQL PREPARE")
def test_names_that_come_and_go_under_prepared_statements(s):
    a = s.client("a")
    a.parse("d", "DEALLOCATE p").parse("m", "PREPARE p AS SELECT 'made'::text AS v").sync().go()
    for name in "dmmdd":
        a.bind("", name).execute().sync().go()
    a.parse("", "DEALLOCATE p").sync().go()
    a.bind().execute().sync().go()
    a.bind("", "m").execute().bind().execute().sync().go()
    a.bind().execute().sync().go()


@scenario("SQL PREPARE", args={text: (text,) for text in ("DEALLOCATE ALL", "DEALLOCATE p", "DISCARD PLANS", "PREPARE q AS SELECT 1")})
def test_what_is_about_names_takes_a_snapshot(s, text):
    """No statement may come between BEGIN and SET TRANSACTION."""
    a = s.client("a")
    for _ in range(2):
        a.q("PREPARE p AS SELECT 1 AS n")
        a.q("BEGIN; %s; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE" % text)
        a.q("ROLLBACK")
        a.q("BEGIN")
        a.q(text)
        a.q("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        a.q("ROLLBACK")
        a.q("DEALLOCATE ALL")
        a.q("PREPARE p AS SELECT 1 AS n")
        a.parse("", text).bind().execute().parse("", "BEGIN ISOLATION LEVEL REPEATABLE READ").bind().execute().sync().go()
        a.q("ROLLBACK")
        a.x(text)
        a.q("DEALLOCATE ALL")
        a.q(text)
        a.q("DEALLOCATE ALL")


def _fails(client):
    client.q("BEGIN")
    client.q("SELECT 1/0")


@scenario("SQL PREPARE", need=2)
def test_behind_the_end_of_a_failed_transaction_in_one_text(s):
    """Names are the client's own there, too, and others' statements stay."""
    a, b = s.client("a"), s.client("b")
    a.q("PREPARE p AS SELECT 'of a'::text AS v")
    b.parse("p", "SELECT 'of b'::text AS v").sync().go()
    for text in ("ROLLBACK; SET LOCAL TimeZone = 'UTC'; DEALLOCATE ALL", "COMMIT; PREPARE p AS SELECT 'again'::text AS v", "ROLLBACK; EXECUTE p",
                 "ROLLBACK AND CHAIN; EXECUTE p; PREPARE p AS SELECT 1", "ROLLBACK TO nowhere; EXECUTE p", "ROLLBACK; DEALLOCATE p",
                 "ROLLBACK; EXECUTE p", "ROLLBACK; DISCARD ALL", "ROLLBACK; SELECT 1 AS one; SELECT nothing", "ROLLBACK; DEALLOCATE nothing; SELECT 1"):
        _fails(a)
        a.q(text)
        a.q("ROLLBACK")
        run(b, "p")
    a.q("BEGIN; SAVEPOINT s")
    a.q("SELECT 1/0")
    a.q("ROLLBACK TO s; PREPARE p AS SELECT 'third'::text AS v; EXECUTE p; RELEASE s")
    a.q("COMMIT")
    a.q("EXECUTE p")


@scenario("prepared statements")
def test_behind_the_end_of_a_failed_transaction_in_one_batch(s):
    """What was prepared under other settings is still what it was."""
    a = s.client("a")
    a.q("SET search_path = s1")
    a.parse("p", "SELECT v FROM t").sync().go()
    a.q("PREPARE q AS SELECT v FROM t")
    a.q("SET search_path = s2")
    for end in ("ROLLBACK", "ROLLBACK TO s"):
        a.q("BEGIN; SAVEPOINT s")
        a.q("SELECT 1/0")
        a.parse("", end).bind().execute().bind("", "p").execute().parse("", "EXECUTE q").bind().execute().sync().go()
        a.q("ROLLBACK")
        run(a, "p")
        a.q("EXECUTE q")


@scenario("prepared statements", need=2, noise=NO_SCHEMAS)
def test_behind_the_end_of_a_failed_transaction_on_another_connection(s):
    """A batch of the unnamed statement ends it, and what follows in the batch is not there yet, nor are its settings."""
    a, b = s.client("a"), s.client("b")
    for turn, end in enumerate(("ROLLBACK", "COMMIT", "ROLLBACK")):
        name = "p%d" % turn
        a.q("SET datestyle = 'ISO, DMY'")
        a.parse(name, "SELECT extract(month FROM '01/02/2024'::date) AS month").sync().go()
        a.q("SET datestyle = 'ISO, MDY'")
        b.q("BEGIN")
        a.q("BEGIN")
        a.q("SET LOCAL datestyle = 'ISO, DMY'")
        a.q("SELECT 1/0")
        a.parse("", end).bind().execute().bind("", name).execute()
        a.parse("r%d" % turn, "SELECT extract(month FROM '01/02/2024'::date) AS now").bind("", "r%d" % turn).execute().sync().go()
        b.q("ROLLBACK")
        run(a, name)
        run(a, "r%d" % turn)


@scenario("prepared statements", need=2, noise=NO_SCHEMAS)
def test_parsed_where_a_local_setting_was_taken_back(s):
    """By the end of the failed transaction, or by a savepoint's: what is parsed there means what it does without that setting."""
    a, b = s.client("a"), s.client("b")
    a.q("SET datestyle = 'ISO, MDY'")
    for i, end in enumerate(("ROLLBACK", "ROLLBACK TO s")):
        text = "SELECT extract(month FROM '01/02/2024'::date) AS month, %d AS n" % i
        a.q("BEGIN; SAVEPOINT s; SET LOCAL datestyle = 'ISO, DMY'")
        a.q("SELECT 1/0")
        a.parse("", end).bind().execute().parse("x%d" % i, text).bind("", "x%d" % i).execute().sync().go()
        a.q("ROLLBACK")
        b.q("BEGIN")
        run(a, "x%d" % i)
        b.q("ROLLBACK")
        a.q("BEGIN; SAVEPOINT s; SET LOCAL datestyle = 'ISO, DMY'")
        a.q("ROLLBACK TO s")
        a.parse("y%d" % i, text + ", 2 AS m").bind("", "y%d" % i).execute().sync().go()
        a.q("ROLLBACK")
        b.q("BEGIN")
        run(a, "y%d" % i)
        b.q("ROLLBACK")


MONTH = "SELECT extract(month FROM '01/02/2024'::date) AS month"
LOCALLY = "SET LOCAL datestyle = 'ISO, DMY'"


def _batch(client, *texts):
    for text in texts:
        client.parse("", text).bind().execute()
    return client


def _elsewhere(s, client, other, *names):
    other.q("BEGIN")
    for name in names:
        run(client, name)
    other.q("ROLLBACK")


@scenario("prepared statements", need=2, noise=NO_SCHEMAS)
def test_parsed_in_one_batch_behind_what_took_a_local_setting_back(s):
    """Nothing has failed: the batch goes on, and what it parses next means what it does without that setting."""
    a, b = s.client("a"), s.client("b")
    a.q("SET datestyle = 'ISO, MDY'")
    ends = ("ROLLBACK TO s", "ROLLBACK", "COMMIT", "END", "ABORT", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "/* a */ -- b\n rollback to s",
            'ROLLBACK TO "set_config"', "RELEASE s", "SAVEPOINT t", "EXECUTE e")
    a.parse("e", "ROLLBACK TO s").sync().go()
    for i, end in enumerate(ends):
        for j, local in enumerate((LOCALLY, "SET datestyle = 'ISO, DMY'", "SELECT set_config('datestyle', 'ISO, DMY', true)")):
            name, text = "x%d_%d" % (i, j), MONTH + ", %d AS n" % (3 * i + j)
            a.q('BEGIN; SAVEPOINT "set_config"; SAVEPOINT s')
            _batch(a, local, end).parse(name, text).bind("", name).execute().sync().go()
            a.q("SHOW datestyle")
            a.q("ROLLBACK")
            _elsewhere(s, a, b, name)
            a.q("SET datestyle = 'ISO, MDY'")


@scenario("prepared statements", need=2, noise=NO_SCHEMAS)
def test_parsed_in_the_batch_that_ends_what_an_earlier_one_has_set(s):
    a, b = s.client("a"), s.client("b")
    a.q("SET datestyle = 'ISO, MDY'")
    for i, end in enumerate(("ROLLBACK TO s", "ROLLBACK", "COMMIT")):
        for j in range(3):
            name, text = "x%d_%d" % (i, j), MONTH + ", %d AS n" % (3 * i + j)
            a.q("BEGIN; SAVEPOINT s")
            a.q(LOCALLY)
            if j == 0:
                _batch(a, end).parse(name, text).sync().go()
            elif j == 1:
                _batch(a, "SELECT 1 AS one", end, "SELECT 2 AS two").parse(name, text).bind("", name).execute().sync().go()
            else:
                _batch(a, end).flush().send()
                a.until("CommandComplete")
                a.parse(name, text).bind("", name).execute().sync().go()
            a.q("ROLLBACK")
            _elsewhere(s, a, b, name)


@scenario("prepared statements", need=2, noise=NO_SCHEMAS)
def test_bound_in_one_batch_behind_what_took_a_local_setting_back(s):
    """What is not on this connection yet is prepared there, and what was in force is in force again."""
    a, b = s.client("a"), s.client("b")
    for turn, end in enumerate(("ROLLBACK TO s", "ROLLBACK", "COMMIT", "ROLLBACK AND CHAIN")):
        name = "p%d" % turn
        a.q("SET datestyle = 'ISO, YMD'")
        a.parse(name, MONTH.replace("01/02/2024", "2024/01/02") + ", %d AS n" % turn).sync().go()
        a.q("SET datestyle = 'ISO, MDY'")
        b.q("BEGIN")
        a.q("BEGIN; SAVEPOINT s")
        _batch(a, LOCALLY, end).bind("", name).execute()
        _batch(a, "SHOW datestyle", MONTH).parse("r" + name, MONTH + ", %d AS r" % turn).bind("", "r" + name).execute().sync().go()
        a.q("SHOW datestyle")
        a.q("ROLLBACK")
        b.q("ROLLBACK")
        run(a, name)
        run(a, "r" + name)


@scenario("prepared statements", need=2, noise=NO_SCHEMAS)
def test_ended_by_what_was_bound_before_the_setting_was_made(s):
    """By a named portal, a named statement, or the unnamed portal while a named one sets it."""
    a, b = s.client("a"), s.client("b")
    a.q("SET datestyle = 'ISO, MDY'")
    a.parse("back", "ROLLBACK TO s").parse("local", LOCALLY).parse("over", "COMMIT").sync().go()
    a.q("BEGIN; SAVEPOINT s")
    a.bind("k", "back").bind("l", "local").execute("l").execute("k").parse("x", MONTH + ", 1 AS n").sync().go()
    a.q("ROLLBACK")
    a.q("BEGIN; SAVEPOINT s")
    a.bind("l", "local").bind("", "back").execute("l").execute().parse("y", MONTH + ", 2 AS n").sync().go()
    a.q("ROLLBACK")
    a.q("BEGIN; SAVEPOINT s")
    a.bind("", "local").execute().bind("", "over").execute().parse("z", MONTH + ", 3 AS n").bind("", "z").execute().sync().go()
    a.q("BEGIN; SAVEPOINT s")
    a.bind("l", "local").parse("", "ROLLBACK TO s").bind().parse("", "SELECT 1 AS one").execute("l").execute()
    a.parse("v", MONTH + ", 4 AS n").bind("", "v").execute().sync().go()
    a.q("ROLLBACK")
    _elsewhere(s, a, b, "x", "y", "z", "v")


@scenario("prepared statements", need=2, noise=NO_SCHEMAS)
def test_a_batch_that_goes_wrong_behind_what_took_a_local_setting_back(s):
    a, b = s.client("a"), s.client("b")
    a.q("SET datestyle = 'ISO, MDY'")
    a.q("BEGIN; SAVEPOINT s")
    _batch(a, LOCALLY, "ROLLBACK TO nowhere").parse("x", MONTH).sync().go()
    a.q("ROLLBACK")
    run(a, "x")
    a.q("BEGIN; SAVEPOINT s")
    _batch(a, LOCALLY, "ROLLBACK TO s").parse("x", MONTH).bind("", "x").execute()
    _batch(a, "SELECT 1/0", "SELECT 1").sync().go()
    a.q("ROLLBACK TO s")
    a.parse("y", MONTH + ", 2 AS n").bind("", "y").execute().sync().go()
    a.q("COMMIT")
    _batch(a, "BEGIN", LOCALLY, "ROLLBACK").close_("S", "nothing").query("SHOW datestyle").sync().go(2)
    _batch(a, "BEGIN", LOCALLY, "ROLLBACK", "BEGIN", LOCALLY).parse("z", MONTH + ", 3 AS n").bind("", "z").execute()
    _batch(a, "COMMIT").parse("w", MONTH + ", 4 AS n").bind("", "w").execute().sync().go()
    _elsewhere(s, a, b, "x", "y", "z", "w")


@scenario("SQL PREPARE")
def test_a_deallocate_is_judged_when_it_runs(s):
    a = s.client("a")
    a.parse("d", "DEALLOCATE q").sync().go()
    a.q("PREPARE q AS SELECT 1")
    a.bind("", "d").execute().sync().go()
    a.q("EXECUTE q")
    a.bind("", "d").execute().sync().go()
    a.q("PREPARE q AS SELECT 1")
    a.bind("", "d").execute().sync().go()
    a.bind("", "d").execute().sync().go()
    a.q("PREPARE q AS SELECT 1")
    a.parse("e", "DEALLOCATE q").sync().go()
    a.q("DEALLOCATE q")
    a.bind("", "e").execute().sync().go()
    a.q("PREPARE q AS SELECT 2")
    a.bind("", "e").execute().bind("", "e").execute().sync().go()
    a.q("BEGIN")
    a.parse("", "DEALLOCATE q").sync().go()
    a.bind("").execute().sync().go()
    a.q("ROLLBACK")
    a.q("PREPARE q AS SELECT 2")
    a.parse("", "DEALLOCATE q").sync().go()
    a.bind("").execute().sync().go()
    a.bind("").execute().sync().go()
    a.parse("", "DEALLOCATE q").sync().go()
    a.parse("q", "SELECT 3").sync().go()
    a.parse("", "DEALLOCATE q").bind().describe().execute().parse("", "DEALLOCATE q").bind().execute().sync().go()
    a.parse("", "DEALLOCATE q").parse("q", "SELECT 4").bind("").execute().sync().go()
    a.parse("q", "SELECT 4").sync().go()
    a.parse("f", "DEALLOCATE q").close_("S", "q").bind("", "f").execute().sync().go()


@scenario("SQL PREPARE")
def test_bound_in_a_failed_transaction_when_what_it_executes_is_another(s):
    a = s.client("a")
    a.parse("e", "EXECUTE one").sync().go()
    a.q("BEGIN")
    a.q("EXECUTE e")
    a.parse("one", "COMMIT").sync().go()
    a.bind("", "e", ("1", "2")).sync().go()
    a.bind("", "e").execute().sync().go()
    a.q("ROLLBACK")


@scenario("SQL PREPARE")
def test_a_statement_that_prepares_its_own_name(s):
    a = s.client("a")
    a.parse("p", "PREPARE p AS SELECT 1").sync().go()
    a.q("EXECUTE p")
    a.x("EXECUTE p")
    a.bind("", "p").execute().sync().go()
    a.parse("e", "EXECUTE e").sync().go()
    a.q("DEALLOCATE p")
    a.q("SELECT 1")


@scenario("SQL PREPARE")
def test_position_of_an_error_when_it_is_described(s):
    a = s.client("a")
    a.q("SET search_path = s1")
    a.q("PREPARE p AS TABLE t")
    a.q("SET search_path = public")
    a.describe("S", "p").sync().go()
    a.bind("", "p").execute().sync().go()


@scenario("SQL PREPARE")
def test_position_of_an_error_in_a_prepare_that_is_executed(s):
    a = s.client("a")
    a.parse("p1", 'PREPARE "a name" AS SELECT count(*) FROM nowhere').sync().go()
    a.parse("p2", "EXECUTE p1").sync().go()
    for sql in ("EXECUTE p1", "EXECUTE p2"):
        a.x(sql)
        a.q(sql)
        a.q("SELECT 1; " + sql)
    for name in ("p1", "p2"):
        a.bind("", name).execute().sync().go()


@scenario("SQL PREPARE")
def test_what_a_prepare_of_its_own_name_says_is_read_when_it_is_executed(s):
    a = s.client("a")
    a.parse("p1", "PREPARE p1 AS SELECT v FROM nowhere").describe("S", "p1").sync().go()
    a.bind("", "p1", ("1", "2")).sync().go()
    a.bind("", "p1").describe("P").execute().sync().go()
    a.q("EXECUTE p1")
    a.q("BEGIN")
    a.bind("", "p1").describe("P").sync().go()
    a.execute().sync().go()
    a.q("ROLLBACK")
    a.parse("p2", "PREPARE p2 AS SELECT 1").sync().go()
    a.bind("", "p2").describe("P").execute().sync().go()
    a.parse("e", "EXECUTE p2").sync().go()
    a.bind("", "e").describe("P").execute().sync().go()
    a.q("EXECUTE e")


@scenario("SQL PREPARE")
def test_a_name_that_is_taken_between_bind_and_execute(s):
    a = s.client("a")
    a.parse("", "PREPARE p3 AS SELECT 3").bind().parse("p3", "SELECT 4").execute().sync().go()
    a.q("EXECUTE p3")


@scenario("prepared statements", noise=NO_SCHEMAS)
def test_sql_prepare_behind_set_config_in_its_transaction(s):
    a, b = s.client("a"), s.client("b")
    a.q("BEGIN")
    a.q("SELECT set_config('search_path', 's5', false)")
    a.q("PREPARE here AS SELECT f(1)")
    a.q("COMMIT")
    b.q("SELECT 1")
    a.q("EXECUTE here")
    a.q("SET search_path = s4")
    b.q("DISCARD ALL")
    a.q("EXECUTE here")


@scenario("prepared statements", need=2)
def test_a_taken_name_for_what_ends_a_failed_transaction(s):
    """On a server connection where the statement that has the name is not."""
    c, d = s.client("c", statement_timeout="70s"), s.client("d")
    for text in ("COMMIT", "ROLLBACK", "SELECT 1"):
        c.parse("a name", "SELECT 'taken by that for %s'" % text).sync().go()
        d.q("SELECT name, statement FROM pg_prepared_statements WHERE NOT from_sql ORDER BY name")
        c.q("BEGIN")
        c.q("SELECT 1/0")
        for _ in range(2):
            c.parse("a name", text).sync().go()
            c.parse("a name", text).parse("another", "ROLLBACK").sync().go()
        c.parse("fine " + text, "ROLLBACK").bind("", "fine " + text).execute().sync().go()
        c.bind("", "a name").execute().sync().go()
        c.q("DEALLOCATE ALL")
