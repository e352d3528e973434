"""What only the end of a session undoes: the client keeps its backend, which is closed afterwards."""

from differential import scenario


@scenario("session's end")
def test_setseed(s):
    a = s.client("a")
    a.pins("SELECT setseed(0.25)")
    a.q("SELECT random(), random()")
    a.q("BEGIN")
    a.q("SELECT random()")
    a.q("COMMIT")
    a.q("SELECT random()")
    a.pinned = False
    a.quit()


@scenario("session's end", need=2)
def test_two_seeds(s):
    a, b = s.client("a"), s.client("b")
    a.pins("SET SEED TO 0.5")
    b.pins("SELECT setseed(0.5)")
    for _ in range(3):
        a.q("SELECT random()")
        b.q("SELECT random()")


@scenario("session's end")
def test_load(s):
    a = s.client("a", user="boss")
    a.pins("LOAD 'plpgsql'")
    a.q("SHOW plpgsql.variable_conflict")
    a.q("SET plpgsql.variable_conflict = 'nonsense'")
    a.q("SET plpgsql.variable_conflict = use_column")
    a.q("SHOW plpgsql.variable_conflict")
