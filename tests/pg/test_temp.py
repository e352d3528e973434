"""Temporary objects: the client keeps its backend until PostgreSQL says that none is left."""

from differential import scenario


@scenario("temporary objects")
def test_table(s):
    a = s.client("a")
    a.pins("CREATE TEMP TABLE tt (v text)")
    a.q("INSERT INTO tt VALUES ('mine')")
    a.q("SELECT * FROM tt")
    a.frees("DROP TABLE tt")
    a.q("SELECT * FROM tt")


@scenario("temporary objects", need=2)
def test_two_clients_one_name(s):
    a, b = s.client("a"), s.client("b")
    a.pins("CREATE TEMPORARY TABLE tt AS SELECT 'of a'::text AS v")
    b.pins("CREATE TEMPORARY TABLE tt AS SELECT 'of b'::text AS v, 1 AS n")
    a.q("SELECT * FROM tt")
    b.q("SELECT * FROM tt")
    a.frees("DROP TABLE tt")
    b.q("SELECT * FROM tt")
    b.frees("DROP TABLE pg_temp.tt")


@scenario("temporary objects")
def test_other_kinds(s):
    a = s.client("a")
    for make, use, drop in (
            ("CREATE TEMP VIEW tt AS SELECT 1 AS n", "SELECT * FROM tt", "DROP VIEW tt"),
            ("CREATE TEMP SEQUENCE tt", "SELECT nextval('tt')", "DROP SEQUENCE tt"),
            ("CREATE FUNCTION pg_temp.tt() RETURNS int LANGUAGE sql AS 'SELECT 5'", "SELECT pg_temp.tt()",
             "DROP FUNCTION pg_temp.tt()"),
            ("SELECT 'into'::text AS v INTO TEMP tt", "SELECT * FROM tt", "DROP TABLE tt"),
            ("CREATE TABLE pg_temp.tt (v int)", "SELECT * FROM tt", "DROP TABLE tt"),
            ("CREATE TYPE pg_temp.tt AS ENUM ('x')", "SELECT 'x'::pg_temp.tt::text", "DROP TYPE pg_temp.tt"),
            ("CREATE LOCAL TEMPORARY TABLE tt (v int) ON COMMIT DELETE ROWS", "SELECT * FROM tt", "DROP TABLE tt"),
            ("CREATE TEMP TABLE tt AS SELECT 1 AS n", "SELECT * FROM tt", "DISCARD TEMP"),
            ("CREATE TEMP TABLE tt AS SELECT 1 AS n", "SELECT * FROM tt", "DISCARD ALL"),
            ("CREATE TEMP TABLE tt AS SELECT 1 AS n", "SELECT * FROM tt", "DROP TABLE IF EXISTS tt, nothing"),
            ("CREATE TEMP TABLE IF NOT EXISTS tt (n int)", "SELECT * FROM tt", "DROP TABLE tt"),
            ("SET search_path = pg_temp, public; CREATE TABLE tt (n int)", "SELECT * FROM tt", "DROP TABLE tt")):
        a.pins(make)
        a.q(use)
        a.frees(drop)
        if "pg_temp" not in use:  # whether a schema pg_temp exists is a backend's own past
            a.q(use)


@scenario("temporary objects")
def test_on_commit_drop(s):
    a = s.client("a")
    a.q("BEGIN")
    a.q("CREATE TEMP TABLE tt ON COMMIT DROP AS SELECT 1 AS n")
    a.q("SELECT * FROM tt")
    a.q("COMMIT")
    a.q("SELECT * FROM tt")
    a.q("CREATE TEMP TABLE tt (n int) ON COMMIT DROP")
    a.q("SELECT * FROM tt")


@scenario("temporary objects")
def test_rolled_back(s):
    a = s.client("a")
    a.q("BEGIN")
    a.q("CREATE TEMP TABLE tt (n int)")
    a.q("ROLLBACK")
    a.q("SELECT * FROM tt")
    a.q("BEGIN")
    a.q("SAVEPOINT x")
    a.q("CREATE TEMP TABLE tt (n int)")
    a.q("ROLLBACK TO x")
    a.q("COMMIT")
    a.q("SELECT * FROM tt")


@scenario("temporary objects")
def test_drop_rolled_back(s):
    a = s.client("a")
    a.pins("CREATE TEMP TABLE tt AS SELECT 1 AS n")
    a.q("BEGIN")
    a.q("DROP TABLE tt")
    a.q("ROLLBACK")
    a.q("SELECT * FROM tt")
    a.frees("DROP TABLE tt")
    a.q("SELECT * FROM tt")


@scenario("temporary objects")
def test_hides_a_permanent_one(s):
    a, b = s.client("a"), s.client("b")
    a.q("SET search_path = s1")
    a.pins("CREATE TEMP TABLE t AS SELECT 'temporary'::text AS v")
    a.q("SELECT v FROM t")
    a.frees("DROP TABLE t")
    a.q("SELECT v FROM t")
    b.q("SELECT v FROM s1.t")


@scenario("temporary objects")
def test_failed_create_pins_nothing(s):
    a = s.client("a")
    a.q("CREATE TEMP TABLE tt (v nosuchtype)")
    a.q("SELECT 1")
    a.q("CREATE TEMP TABLE tt AS SELECT 1/0")
    a.q("SELECT * FROM tt")


@scenario("temporary objects")
def test_by_extended_protocol_and_copy(s):
    a = s.client("a")
    a.pinned = True
    a.x("CREATE TEMP TABLE tt (n int, v text)")
    a.query("COPY tt FROM STDIN").until("CopyInResponse")
    a.copy_data("1\tone\n2\ttwo\n").copy_done().go()
    a.x("SELECT * FROM tt WHERE n > $1 ORDER BY n", [0])
    a.pinned = False
    a.x("DROP TABLE tt")
    a.q("SELECT * FROM tt")


@scenario("temporary objects")
def test_leaving_without_dropping(s):
    a = s.client("a")
    a.pins("CREATE TEMP TABLE tt (n int)")
    a.quit()
    b = s.client("b")
    b.q("SELECT * FROM tt")
    b.pins("CREATE TEMP TABLE tt (other text)")
    b.q("SELECT * FROM tt")
    b.frees("DROP TABLE tt")


@scenario("temporary objects")
def test_prepared_over_a_temporary_table(s):
    a = s.client("a")
    a.pins("CREATE TEMP TABLE tt AS SELECT 1 AS n")
    a.parse("p1", "SELECT n FROM tt").sync().go()
    a.bind("", "p1").execute().sync().go()
    a.frees("DROP TABLE tt")
    a.bind("", "p1").execute().sync().go()
    a.q("SELECT 1")
