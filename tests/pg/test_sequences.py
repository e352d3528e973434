"""currval() and lastval(): the client's own number or 55000, never another client's."""

from differential import scenario

ROW = "sequences"
ASKS = {"application_name": "asks"}


def learn(s):
    """From here on clients called so are known to ask for their numbers."""
    first = s.client("first", params=ASKS)
    first.pins("SELECT 1 FROM (SELECT lastval() WHERE false) AS t")
    first.quit()


def asker(s, name):
    """A client of that kind. It has its server connection from its first statement on."""
    client = s.client(name, params=ASKS)
    client.pins("CREATE SEQUENCE scratch.%s_seq" % name)
    return client


@scenario(ROW)
def test_nextval_then_currval_between_transactions(s):
    learn(s)
    a = asker(s, "a")
    a.q("SELECT nextval('scratch.a_seq')")
    a.q("SELECT currval('scratch.a_seq')")
    a.q("SELECT nextval('scratch.a_seq'), nextval('scratch.a_seq')")
    a.q("SELECT currval('scratch.a_seq'), lastval()")
    a.frees("DISCARD SEQUENCES")


@scenario(ROW)
def test_a_serial_column_then_lastval(s):
    learn(s)
    a = asker(s, "a")
    a.q("CREATE TABLE scratch.numbered (id serial, v text)")
    a.q("INSERT INTO scratch.numbered (v) VALUES ('one')")
    a.q("SELECT lastval()")
    a.q("INSERT INTO scratch.numbered (v) VALUES ('two'), ('three')")
    a.q("SELECT lastval(), currval('scratch.numbered_id_seq')")
    a.q("SELECT currval(pg_get_serial_sequence('scratch.numbered', 'id'))")
    a.frees("DISCARD SEQUENCES")


@scenario(ROW)
def test_in_a_transaction(s):
    learn(s)
    a = asker(s, "a")
    a.q("BEGIN")
    a.q("SELECT nextval('scratch.a_seq')")
    a.q("SELECT currval('scratch.a_seq')")
    a.q("ROLLBACK")
    a.q("SELECT currval('scratch.a_seq')")
    a.frees("DISCARD SEQUENCES")


@scenario(ROW)
def test_no_number_before_the_first_nextval(s):
    learn(s)
    a = asker(s, "a")
    a.q("SELECT currval('scratch.a_seq')")
    a.q("SELECT lastval()")
    a.q("SELECT nextval('scratch.a_seq')")
    a.q("SELECT lastval()")
    a.frees("DISCARD SEQUENCES")
    a.pins("SELECT lastval()")
    a.q("SELECT nextval('public.drawn') IS NOT NULL")
    a.q("DISCARD SEQUENCES; SELECT 1")
    a.q("SELECT lastval()")
    a.frees("DISCARD ALL")


@scenario(ROW)
def test_two_clients_one_after_the_other(s):
    learn(s)
    a = asker(s, "a")
    a.q("SELECT nextval('scratch.a_seq')")
    a.q("SELECT lastval()")
    a.frees("DISCARD SEQUENCES")
    b = asker(s, "b")
    b.q("SELECT lastval()")
    b.q("SELECT setval('scratch.b_seq', 40)")
    b.q("SELECT nextval('scratch.b_seq')")
    b.leave()
    a.pins("SELECT lastval()")
    a.q("SELECT nextval('scratch.b_seq')")
    a.q("SELECT currval('scratch.b_seq')")
    a.frees("DISCARD SEQUENCES")


@scenario(ROW, need=2)
def test_two_clients_at_a_time(s):
    learn(s)
    a = asker(s, "a")
    b = asker(s, "b")
    a.q("SELECT nextval('scratch.a_seq')")
    b.q("SELECT setval('scratch.b_seq', 7), nextval('scratch.b_seq')")
    a.q("SELECT lastval()")
    b.q("SELECT lastval()")
    b.q("SELECT currval('scratch.a_seq')")
    a.frees("DISCARD SEQUENCES")
    b.frees("DISCARD SEQUENCES")


@scenario(ROW)
def test_by_the_extended_protocol(s):
    learn(s)
    a = asker(s, "a")
    a.parse("n", "SELECT nextval('scratch.a_seq')").bind("", "n").execute().sync().go()
    a.parse("c", "SELECT currval('scratch.a_seq')").bind("", "c").execute().sync().go()
    a.bind("", "n").execute().bind("", "c").execute().sync().go()
    a.q("DEALLOCATE ALL")
    a.frees("DISCARD SEQUENCES")


@scenario(ROW)
def test_who_never_drew_a_number_gets_none_of_another(s):
    """Of a kind that is not known yet."""
    a = s.client("a", params={"application_name": "asks first"})
    a.q("SELECT 1")
    a.pins("SELECT lastval()")
    a.q("SELECT currval('public.drawn')")
    a.q("SELECT nextval('public.drawn') = lastval()")
    a.frees("DISCARD SEQUENCES")


@scenario(ROW)
def test_nor_does_who_asks_first_in_a_transaction(s):
    a = s.client("a", params={"application_name": "asks first in a transaction"})
    a.q("SELECT 1")
    a.q("BEGIN")
    a.pins("SAVEPOINT x")
    a.q("SELECT lastval()")
    a.q("ROLLBACK TO x")
    a.q("SELECT currval('public.drawn')")
    a.q("ROLLBACK")
    a.q("SELECT lastval()")
    a.frees("DISCARD SEQUENCES")


@scenario(ROW)
def test_nor_does_who_asks_first_by_the_extended_protocol(s):
    a = s.client("a", params={"application_name": "asks first in a pipeline"})
    a.q("SELECT 1")
    a.pinned = True
    a.parse("", "SELECT 1").bind("").execute().parse("", "SELECT lastval()").bind("").execute().sync().go()
    a.frees("DISCARD SEQUENCES")


@scenario(ROW)
def test_nor_does_what_cannot_be_read(s):
    a = s.client("a", params={"application_name": "asks by hidden ways"})
    a.q("DO $$DECLARE n bigint; BEGIN EXECUTE concat('SELECT last', 'val()') INTO n; RAISE NOTICE '%', n; END$$")


CURRVAL, LASTVAL, NEXTVAL = 1575, 2559, 1574  # PostgreSQL's pg_proc.dat


@scenario(ROW)
def test_by_function_call_messages(s):
    learn(s)
    a = asker(s, "a")
    a.function_call(LASTVAL, []).go()
    a.function_call(CURRVAL, ["scratch.a_seq"]).go()
    a.function_call(NEXTVAL, ["scratch.a_seq"]).go()
    a.function_call(CURRVAL, ["scratch.a_seq"]).go()
    a.function_call(LASTVAL, []).go()
    a.q("BEGIN")
    a.function_call(CURRVAL, ["public.drawn"]).go()
    a.q("ROLLBACK")
    a.q("SELECT lastval()")
    a.pinned = False  # what a function-call message leaves can't be told: its server connection goes with it
    a.leave()


@scenario(ROW, args={name: (name, oid, values) for name, oid, values in (
    ("currval", CURRVAL, ("public.drawn",)), ("lastval", LASTVAL, ()), ("in a transaction", LASTVAL, ()))})
def test_nor_does_who_asks_first_by_a_function_call_message(s, name, oid, values):
    a = s.client("a", params={"application_name": "calls " + name})
    a.q("CREATE SEQUENCE scratch.a_seq")
    if name == "in a transaction":
        a.q("BEGIN")
    a.pinned = True
    a.function_call(oid, values).go()
    a.q("ROLLBACK")
    a.function_call(oid, values).go()
    a.function_call(NEXTVAL, ("scratch.a_seq",)).go()
    a.q("SELECT lastval(), currval('scratch.a_seq')")
    a.pinned = False
    a.leave()
