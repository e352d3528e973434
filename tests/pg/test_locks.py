"""Session advisory locks: the client keeps its backend until PostgreSQL says that none is left."""

from differential import scenario

HELD = ("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")


@scenario("advisory locks", need=2)
def test_mutual_exclusion(s):
    a, b = s.client("a"), s.client("b")
    a.pins("SELECT pg_advisory_lock(1)")
    b.q("SELECT pg_try_advisory_lock(1)")
    a.q("SELECT 'between'")
    b.q("SELECT pg_try_advisory_lock(1)")
    a.frees("SELECT pg_advisory_unlock(1)")
    b.pins("SELECT pg_try_advisory_lock(1)")
    a.q("SELECT pg_try_advisory_lock(1)")
    b.frees("SELECT pg_advisory_unlock(1)")
    a.q("SELECT pg_advisory_unlock(1)")


@scenario("advisory locks")
def test_held_over_statements(s):
    a = s.client("a")
    a.pins("SELECT pg_advisory_lock(5)")
    a.q(HELD)
    a.q("BEGIN")
    a.q("COMMIT")
    a.q(HELD)
    a.frees("SELECT pg_advisory_unlock(5)")
    a.q(HELD)
    a.q("SELECT pg_advisory_unlock(5)")


@scenario("advisory locks")
def test_failed_try_pins_nothing(s):
    with s.admin() as admin:
        admin.value("SELECT pg_advisory_lock(6)")
        a = s.client("a")
        a.q("SELECT pg_try_advisory_lock(6)")
        a.q("SELECT 1")
        a.q("SELECT pg_try_advisory_lock_shared(6)")
        a.q("SELECT 1")


@scenario("advisory locks", need=2)
def test_by_bind_of_what_sql_has_prepared(s):
    a, b = s.client("a"), s.client("b")
    a.q("PREPARE takes AS SELECT pg_advisory_lock(8)")
    a.pins()
    a.bind("", "takes").execute().sync().go()
    b.q("SELECT pg_try_advisory_lock(8)")
    a.frees("SELECT pg_advisory_unlock(8)")
    a.q("SELECT pg_advisory_unlock(8)")


@scenario("advisory locks", need=2)
def test_re_entrant(s):
    a, b = s.client("a"), s.client("b")
    a.pins("SELECT pg_advisory_lock(2)")
    a.q("SELECT pg_advisory_lock(2), pg_advisory_lock(2)")
    a.q("SELECT pg_advisory_unlock(2)")
    a.q("SELECT pg_advisory_unlock(2)")
    b.q("SELECT pg_try_advisory_lock(2)")
    a.frees("SELECT pg_advisory_unlock(2)")
    b.pins("SELECT pg_try_advisory_lock(2)")
    b.frees("SELECT pg_advisory_unlock(2)")


@scenario("advisory locks", need=2)
def test_shared(s):
    a, b = s.client("a"), s.client("b")
    a.pins("SELECT pg_advisory_lock_shared(3)")
    b.pins("SELECT pg_advisory_lock_shared(3)")
    a.q("SELECT pg_try_advisory_lock(3)")
    b.frees("SELECT pg_advisory_unlock_shared(3)")
    b.q("SELECT pg_try_advisory_lock(3)")
    a.q("SELECT pg_advisory_unlock(3)")
    a.frees("SELECT pg_advisory_unlock_shared(3)")
    a.q(HELD)


@scenario("advisory locks", need=2)
def test_two_ints(s):
    a, b = s.client("a"), s.client("b")
    a.pins("SELECT pg_advisory_lock(1, 2)")
    a.q("SELECT pg_advisory_lock(1, 3)")
    a.q("SELECT pg_advisory_unlock(1, 2)")
    a.q(HELD)
    b.q("SELECT pg_try_advisory_lock(1, 3)")
    a.frees("SELECT pg_advisory_unlock(1, 3)")
    b.pins("SELECT pg_try_advisory_lock(1, 3)")
    b.frees("SELECT pg_advisory_unlock(1, 3)")


@scenario("advisory locks", need=2)
def test_over_rows(s):
    a, b = s.client("a"), s.client("b")
    a.pins("SELECT pg_advisory_lock(n) FROM generate_series(10, 14) AS n")
    b.q("SELECT n, pg_try_advisory_lock(n) FROM generate_series(10, 14) AS n WHERE n = 13")
    a.q("SELECT pg_advisory_unlock(n) FROM generate_series(10, 13) AS n")
    a.q(HELD)
    a.frees("SELECT pg_advisory_unlock_all()")
    a.q(HELD)


@scenario("advisory locks")
def test_other_spellings(s):
    a = s.client("a")
    for lock, unlock in (("SELECT pg_catalog.pg_advisory_lock(7)", "SELECT pg_catalog.pg_advisory_unlock(7)"),
                         ("SELECT \"pg_advisory_lock\"(7)", "SELECT pg_advisory_unlock_all()"),
                         ("SELECT * FROM PG_ADVISORY_LOCK(7::bigint)", "SELECT pg_advisory_unlock(7)"),
                         ("WITH w AS MATERIALIZED (SELECT pg_try_advisory_lock(7) AS l) SELECT l FROM w",
                          "VALUES (pg_advisory_unlock(7))"),
                         ("SELECT pg_advisory_lock(-9223372036854775808)", "DISCARD ALL"),
                         ("SELECT 1 WHERE pg_try_advisory_lock(7)", "SELECT pg_advisory_unlock(7)"),
                         ("SELECT 1; SELECT pg_advisory_lock(7); SELECT 2", "SELECT pg_advisory_unlock(7)")):
        a.pins(lock)
        a.q(HELD)
        a.frees(unlock)
        a.q(HELD)


@scenario("advisory locks")
def test_by_bind(s):
    a = s.client("a")
    a.pinned = True
    a.x("SELECT pg_advisory_lock($1)", [8], [20])
    a.q(HELD)
    a.pinned = False
    a.x("SELECT pg_advisory_unlock($1)", [8], [20])
    a.q(HELD)


@scenario("advisory locks", need=2)
def test_a_rolled_back_transaction_keeps_it(s):
    a, b = s.client("a"), s.client("b")
    a.q("BEGIN")
    a.pins("SELECT pg_advisory_lock(9)")
    a.q("SELECT 1/0")
    a.q("ROLLBACK")
    a.q(HELD)
    b.q("SELECT pg_try_advisory_lock(9)")
    a.frees("SELECT pg_advisory_unlock(9)")
    a.q(HELD)


@scenario("advisory locks", need=2)
def test_transaction_locks_end_with_it(s):
    a, b = s.client("a"), s.client("b")
    a.q("SELECT pg_advisory_xact_lock(10)")
    a.q(HELD)
    a.q("BEGIN")
    a.q("SELECT pg_advisory_xact_lock(10)")
    b.q("SELECT pg_try_advisory_xact_lock(10)")
    a.q("COMMIT")
    b.q("SELECT pg_try_advisory_xact_lock(10)")
    a.q(HELD)


@scenario("advisory locks", need=2)
def test_abrupt_disconnect_frees(s):
    a, b = s.client("a"), s.client("b")
    a.pins("SELECT pg_advisory_lock(11)")
    b.q("SELECT pg_try_advisory_lock(11)")
    a.leave()
    b.pins("SELECT pg_advisory_lock(11)")
    b.frees("SELECT pg_advisory_unlock(11)")


@scenario("advisory locks", need=2)
def test_goodbye_frees(s):
    a, b = s.client("a"), s.client("b")
    a.pins("SELECT pg_advisory_lock(12)")
    a.quit()
    b.pins("SELECT pg_advisory_lock(12)")
    b.frees("SELECT pg_advisory_unlock(12)")


@scenario("advisory locks", need=2)
def test_disconnect_while_waiting_for_it(s):
    a, b = s.client("a"), s.client("b")
    a.pins("SELECT pg_advisory_lock(13)")
    b.query("SELECT pg_advisory_lock(13)").send()
    a.q("SELECT 1")
    b.leave()
    a.frees("SELECT pg_advisory_unlock(13)")
    c = s.client("c")
    c.pins("SELECT pg_advisory_lock(13)")
    c.frees("SELECT pg_advisory_unlock(13)")


@scenario("advisory locks", need=2)
def test_one_waits_for_the_other(s):
    a, b = s.client("a"), s.client("b")
    a.pins("SELECT pg_advisory_lock(14)")
    b.query("SELECT pg_advisory_lock(14)").send()
    b.pinned = True
    a.frees("SELECT pg_advisory_unlock(14)")
    b.go()
    b.frees("SELECT pg_advisory_unlock(14)")
    a.q("SELECT pg_try_advisory_xact_lock(14)")
