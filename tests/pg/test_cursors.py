"""Cursors WITH HOLD: the client keeps its backend from DECLARE to the last CLOSE."""

from differential import scenario

C1 = "DECLARE c1 CURSOR WITH HOLD FOR SELECT n FROM nums ORDER BY n"


@scenario("WITH HOLD cursors")
def test_survives_other_clients(s):
    a = s.client("a")
    a.pins(C1)
    a.q("FETCH 2 FROM c1")
    a.q("SELECT 'something else'")
    a.q("MOVE 5 IN c1")
    a.q("FETCH NEXT FROM c1")
    a.frees("CLOSE c1")
    a.q("FETCH c1")
    a.q("SELECT 1")


@scenario("WITH HOLD cursors", need=2)
def test_two_clients_one_name(s):
    a, b = s.client("a"), s.client("b")
    a.pins(C1)
    b.pins("DECLARE c1 CURSOR WITH HOLD FOR SELECT -n FROM nums ORDER BY n")
    for _ in range(2):
        a.q("FETCH 1 FROM c1")
        b.q("FETCH 2 FROM c1")
    a.frees("CLOSE c1")
    b.q("FETCH 1 FROM c1")
    b.frees("CLOSE ALL")
    b.q("FETCH 1 FROM c1")


@scenario("WITH HOLD cursors")
def test_kept_by_commit(s):
    a = s.client("a")
    a.q("BEGIN")
    a.pins(C1)
    a.q("FETCH 2 FROM c1")
    a.q("COMMIT")
    a.q("FETCH 2 FROM c1")
    a.frees("CLOSE c1")
    a.q("SELECT 1")


@scenario("WITH HOLD cursors")
def test_gone_with_its_rollback(s):
    a = s.client("a")
    a.q("BEGIN")
    a.q(C1)
    a.q("FETCH 2 FROM c1")
    a.q("ROLLBACK")
    a.q("FETCH 2 FROM c1")
    a.q("SELECT 1")


@scenario("WITH HOLD cursors")
def test_gone_with_its_savepoint(s):
    a = s.client("a")
    a.q("BEGIN")
    a.q("SAVEPOINT x")
    a.q(C1)
    a.q("ROLLBACK TO x")
    a.q("COMMIT")
    a.q("FETCH c1")


@scenario("WITH HOLD cursors")
def test_close_rolled_back_is_a_close_all_the_same(s):
    """CLOSE is not undone by ROLLBACK."""
    a = s.client("a")
    a.pins(C1)
    a.q("FETCH c1")
    a.q("BEGIN")
    a.q("CLOSE c1")
    a.frees("ROLLBACK")
    a.q("FETCH c1")
    a.q("SELECT 1")


@scenario("WITH HOLD cursors")
def test_failed_declare_pins_nothing(s):
    a = s.client("a")
    a.q("DECLARE c1 CURSOR WITH HOLD FOR SELECT * FROM nothing_there")
    a.q("DECLARE c1 CURSOR FOR SELECT 1")
    a.q("FETCH c1")
    a.q("SELECT 1")


@scenario("WITH HOLD cursors")
def test_without_hold_ends_with_its_transaction(s):
    a = s.client("a")
    a.q("BEGIN")
    a.q("DECLARE c1 SCROLL CURSOR FOR SELECT n FROM nums ORDER BY n")
    a.q("FETCH 3 FROM c1")
    a.q("FETCH PRIOR FROM c1")
    a.q("COMMIT")
    a.q("FETCH c1")


@scenario("WITH HOLD cursors")
def test_several_and_close_all(s):
    a = s.client("a")
    a.pins(C1)
    a.q("DECLARE \"C 2\" SCROLL CURSOR WITH HOLD FOR SELECT v FROM s1.t")
    a.q("FETCH ALL FROM \"C 2\"")
    a.q("CLOSE c1")
    a.q("FETCH FIRST FROM \"C 2\"")
    a.frees("CLOSE ALL")
    a.q("FETCH \"C 2\"")


@scenario("WITH HOLD cursors")
def test_discard_all_ends_it(s):
    a = s.client("a")
    a.pins(C1)
    a.q("FETCH c1")
    a.frees("DISCARD ALL")
    a.q("FETCH c1")


@scenario("WITH HOLD cursors")
def test_by_the_extended_protocol(s):
    """As Django's .iterator() in autocommit does it."""
    a = s.client("a")
    a.pinned = True
    a.x("DECLARE c1 NO SCROLL CURSOR WITH HOLD FOR SELECT n FROM nums WHERE n > $1 ORDER BY n", [990])
    a.x("FETCH FORWARD 4 FROM c1")
    a.x("FETCH FORWARD 4 FROM c1")
    a.bind("", "", []).sync().go()
    # The protocol's portal of the same name is the cursor.
    a.execute("c1", 1).sync().go()
    a.describe("P", "c1").sync().go()
    a.pinned = False
    a.close_("P", "c1").sync().go()
    a.x("FETCH c1")


@scenario("WITH HOLD cursors")
def test_in_a_batch_of_statements(s):
    a = s.client("a")
    a.pins("SET search_path = s1; DECLARE c1 CURSOR WITH HOLD FOR SELECT v FROM t; SELECT 1")
    a.q("FETCH c1")
    a.frees("CLOSE c1; SELECT v FROM t")
    a.q("SELECT v FROM t")


@scenario("WITH HOLD cursors")
def test_leaving_without_closing(s):
    a, = [s.client("a")]
    a.pins(C1)
    a.q("FETCH c1")
    a.leave()
    b = s.client("b")
    b.q("FETCH c1")
    b.pins(C1)
    b.q("FETCH c1")
    b.frees("CLOSE c1")


@scenario("WITH HOLD cursors")
def test_settings_under_a_held_cursor(s):
    a = s.client("a")
    a.q("SET search_path = s1")
    a.pins("DECLARE c1 CURSOR WITH HOLD FOR SELECT v FROM t")
    a.q("SET search_path = s2")
    a.q("BEGIN; SET search_path = s3; ROLLBACK")
    a.q("FETCH c1")
    a.frees("CLOSE c1")
    a.q("SELECT v FROM t")


@scenario("WITH HOLD cursors", need=2)
def test_many_rows_while_others_write(s):
    a, b = s.client("a"), s.client("b")
    b.q("CREATE TABLE scratch.rows AS SELECT n FROM generate_series(1, 3000) AS n; GRANT ALL ON scratch.rows TO PUBLIC")
    a.pins("DECLARE c1 CURSOR WITH HOLD FOR SELECT n FROM scratch.rows ORDER BY n")
    for n in range(6):
        a.q("FETCH 500 FROM c1")
        b.q("UPDATE scratch.rows SET n = -n WHERE n > %d" % (n * 500))
    a.q("FETCH 1 FROM c1")
    a.frees("CLOSE c1")
