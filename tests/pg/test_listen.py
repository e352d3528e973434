"""LISTEN: what is notified after it committed arrives, in order, and from whom it came."""

from differential import scenario


@scenario("LISTEN")
def test_arrives(s):
    a, b = s.client("a"), s.client("b")
    a.q("LISTEN news")
    a.q("SELECT 1")
    b.q("NOTIFY news, 'first'")
    a.until("NotificationResponse")
    b.q("SELECT pg_notify('news', 'second'); SELECT pg_notify('other', 'not this')")
    a.until("NotificationResponse")
    a.q("UNLISTEN news")
    b.q("NOTIFY news, 'nobody hears'")
    a.q("SELECT 1")


@scenario("LISTEN")
def test_oneself(s):
    a = s.client("a")
    a.q("LISTEN news")
    a.q("NOTIFY news")
    a.q("NOTIFY news, 'payload'; SELECT 1")
    a.q("BEGIN")
    a.q("NOTIFY news, 'at commit'")
    a.q("COMMIT")
    a.q("BEGIN; NOTIFY news, 'never'; ROLLBACK")
    a.x("NOTIFY news, 'extended'")
    a.q("UNLISTEN *")
    a.q("NOTIFY news, 'nobody hears'")


@scenario("LISTEN")
def test_rolled_back(s):
    a = s.client("a")
    a.q("BEGIN; LISTEN news; ROLLBACK")
    a.q("NOTIFY news, 'nobody hears'")
    a.q("SELECT 1")


@scenario("LISTEN")
def test_in_a_transaction(s):
    a = s.client("a")
    a.q("BEGIN")
    a.q("LISTEN news")
    a.q("NOTIFY news, 'in it'")
    a.q("COMMIT")
    a.q("BEGIN; UNLISTEN news; ROLLBACK")
    a.q("NOTIFY news, 'still'")
    a.q("DISCARD ALL")
    a.q("NOTIFY news, 'nobody hears'")


@scenario("LISTEN")
def test_two_listeners_and_their_channels(s):
    a, b, c = s.client("a"), s.client("b"), s.client("c")
    a.q("LISTEN \"Some Channel\"")
    b.q("LISTEN news")
    b.q("LISTEN \"Some Channel\"")
    c.q("NOTIFY \"Some Channel\", 'both'")
    a.until("NotificationResponse")
    b.until("NotificationResponse")
    c.q("BEGIN; NOTIFY news, '1'; NOTIFY news, '2'; NOTIFY news, '1'; COMMIT")
    b.until("NotificationResponse")
    b.until("NotificationResponse")
    a.q("UNLISTEN *")
    b.q("UNLISTEN news")
    c.q("NOTIFY \"Some Channel\", 'b only'")
    b.until("NotificationResponse")
    b.q("UNLISTEN \"Some Channel\"")


@scenario("LISTEN")
def test_settings_of_a_listener(s):
    a = s.client("a")
    a.q("SET search_path = s1")
    a.q("LISTEN news")
    a.q("SET search_path = s2")
    a.q("NOTIFY news, 'x'")
    a.q("UNLISTEN *")
    a.q("SELECT v FROM t")


@scenario("LISTEN")
def test_oneself_by_pipeline(s):
    """Notifications come when the whole batch is over, ahead of its ReadyForQuery."""
    a = s.client("a")
    a.parse("", "LISTEN news").bind().execute().parse("", "NOTIFY news, 'in one'").bind().execute()
    a.parse("", "SELECT pg_notify('news', 'by function')").bind().execute().sync().go()
    a.parse("", "NOTIFY news, '1'").bind().execute().sync().parse("", "NOTIFY news, '2'").bind().execute().sync().go(2)
    a.parse("", "UNLISTEN news").bind().execute().parse("", "NOTIFY news, 'nobody'").bind().execute().sync().go()
    a.q("SELECT 1")


@scenario("LISTEN")
def test_one_prepared_statement_many_times(s):
    a, b = s.client("a"), s.client("b")
    a.parse("l", "LISTEN news").parse("u", "UNLISTEN *").describe("S", "l").sync().go()
    for _ in range(2):
        a.bind("", "l").execute().sync().go()
        b.q("NOTIFY news, 'heard'")
        a.until("NotificationResponse")
        a.bind("", "u").execute().sync().go()
        b.q("NOTIFY news, 'not heard'")
    a.q("BEGIN")
    for statement in "lul":
        a.bind("", statement).execute().sync().go()
    a.q("COMMIT")
    b.q("NOTIFY news, 'the last word was LISTEN'")
    a.until("NotificationResponse")


@scenario("LISTEN")
def test_savepoints(s):
    a = s.client("a")
    a.q("BEGIN")
    a.q("LISTEN one")
    a.q("SAVEPOINT s")
    a.q("LISTEN two; UNLISTEN one")
    a.q("ROLLBACK TO s")
    a.q("LISTEN three")
    a.q("RELEASE s")
    a.q("COMMIT")
    a.q("NOTIFY one; NOTIFY two; NOTIFY three")
    a.q("BEGIN; UNLISTEN *; SAVEPOINT s; LISTEN four; LISTEN two; ROLLBACK TO s; LISTEN two; COMMIT")
    a.q("NOTIFY one; NOTIFY two; NOTIFY three; NOTIFY four")


@scenario("LISTEN")
def test_failed_transactions(s):
    a = s.client("a")
    a.q("LISTEN one")
    a.q("LISTEN two; SELECT 1/0")
    a.q("BEGIN; LISTEN three")
    a.q("SELECT 1/0")
    a.q("LISTEN four")
    a.q("UNLISTEN *")
    a.q("COMMIT")
    a.parse("", "LISTEN five").bind().execute().parse("", "SELECT 1/0").bind().execute().sync().go()
    a.q("NOTIFY one; NOTIFY two; NOTIFY three; NOTIFY four; NOTIFY five")


@scenario("LISTEN")
def test_from_a_trigger(s):
    a, b = s.client("a"), s.client("b")
    a.q("CREATE TABLE scratch.notify_me (v text); GRANT ALL ON scratch.notify_me TO PUBLIC")
    a.q("CREATE FUNCTION scratch.tell() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM pg_notify('news', NEW.v); RETURN NEW; END$$")
    a.q("CREATE TRIGGER tell AFTER INSERT ON scratch.notify_me FOR EACH ROW EXECUTE FUNCTION scratch.tell()")
    a.q("LISTEN news")
    b.q("INSERT INTO scratch.notify_me VALUES ('first'), ('second')")
    a.until("NotificationResponse")
    a.until("NotificationResponse")
    a.q("INSERT INTO scratch.notify_me VALUES ('its own')")
    a.q("BEGIN; INSERT INTO scratch.notify_me VALUES ('never'); ROLLBACK")
    a.x("INSERT INTO scratch.notify_me VALUES ('by extended')")


@scenario("LISTEN", need=2)
def test_in_the_middle_of_a_transaction_nothing_comes(s):
    a, b = s.client("a"), s.client("b")
    a.q("LISTEN news")
    a.q("BEGIN")
    b.q("NOTIFY news, 'wait'")
    a.q("SELECT 1")
    a.q("SELECT 1/0")
    b.q("NOTIFY news, 'wait too'")
    a.q("ROLLBACK")
    b.q("BEGIN")
    b.q("NOTIFY news, 'at commit'")
    a.q("SELECT 1")
    b.q("COMMIT")
    a.until("NotificationResponse")


@scenario("LISTEN")
def test_names(s):
    a, b = s.client("a"), s.client("b")
    for name in ('"Quoted Name"', '"with ""quotes"" inside"', '"it\'s"', '"back\\slash"', "FOLDED", '"grün"', "grün", '"; SELECT 1 --"'):
        a.q("LISTEN %s" % name)
        b.q("NOTIFY %s, 'heard'" % name)
        a.until("NotificationResponse")
        a.q("UNLISTEN %s" % name)
        a.x("LISTEN %s" % name)
        b.q("NOTIFY %s, 'heard too'" % name)
        a.until("NotificationResponse")
        a.q("UNLISTEN *")
    b.q("NOTIFY folded, 'nobody'")
    a.q("SELECT 1")


@scenario("LISTEN")
def test_names_that_are_cut(s):
    a, b = s.client("a"), s.client("b")
    for name in ("n" * 63, "n" * 64, '"%s"' % ("N" * 70), "x" * 62 + "ü"):
        a.q("LISTEN %s" % name)
        b.q("NOTIFY %s" % name)
        a.until("NotificationResponse")
        a.q("UNLISTEN %s" % name)
        a.q("LISTEN a; LISTEN %s" % name)
        a.x("LISTEN %s" % name)
        b.q("NOTIFY %s, 'x'" % name)
        a.until("NotificationResponse")
        a.x("UNLISTEN %s" % name)
    b.q("SELECT pg_notify(repeat('n', 64), 'x')")


@scenario("LISTEN")
def test_payloads(s):
    a, b = s.client("a"), s.client("b")
    a.q("LISTEN news")
    for payload in ("", "''", "grün → ok", "x" * 7999, "17 3 +news", "\\", "two\nlines"):
        b.q("NOTIFY news, '%s'" % payload)
        a.until("NotificationResponse")
    b.q("NOTIFY news, '%s'" % ("x" * 8000))
    b.q("BEGIN; NOTIFY news, 'a'; NOTIFY news, 'b'; NOTIFY news, 'a'; NOTIFY news; NOTIFY news, ''; COMMIT")
    for _ in range(3):
        a.until("NotificationResponse")
    b.q("NOTIFY news, 'a'")
    b.q("NOTIFY news, 'a'")
    for _ in range(2):
        a.until("NotificationResponse")


@scenario("LISTEN", need=2)
def test_another_encoding(s):
    a, b = s.client("a", client_encoding="LATIN1"), s.client("b")
    a.pins("LISTEN news")
    b.q("NOTIFY news, 'grün'")
    a.until("NotificationResponse")
    a.q(b"NOTIFY news, 'gr\xfcn'")
    a.frees("UNLISTEN *")
    b.q("NOTIFY news, 'nobody'")
    a.q("SELECT 1")


@scenario("LISTEN")
def test_given_up_wholesale(s):
    a, b = s.client("a"), s.client("b")
    for reset in ("UNLISTEN *", "DISCARD ALL", "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL"):
        for ask in (a.q, a.x):
            if ask == a.x and ";" in reset:
                continue
            a.q("LISTEN news; LISTEN more")
            a.q("LISTEN news")
            b.q("NOTIFY news, 'heard'")
            a.until("NotificationResponse")
            ask(reset)
            b.q("NOTIFY news, 'nobody'; NOTIFY more, 'nobody'")
            a.q("NOTIFY more, 'nobody either'")
    a.q("BEGIN; UNLISTEN *; ROLLBACK")


@scenario("LISTEN", need=2)
def test_with_other_state(s):
    """A listener that is pinned for another reason, and one whose function listens."""
    a, b = s.client("a"), s.client("b")
    a.q("LISTEN news")
    a.pins("SELECT pg_advisory_lock(4711)")
    b.q("NOTIFY news, 'heard'")
    a.until("NotificationResponse")
    a.q("NOTIFY news, 'its own'")
    a.q("DISCARD ALL")
    a.frees()
    a.q("NOTIFY news, 'nobody'")
    a.pins("DO $$BEGIN EXECUTE 'LISTEN inside'; END$$")
    a.q("LISTEN more")
    b.q("SELECT pg_sleep(0.03)")  # nothing that nobody heard can be taken to be on its way any more
    b.q("NOTIFY inside; NOTIFY more")
    a.until("NotificationResponse")
    a.until("NotificationResponse")
    a.q("UNLISTEN inside")
    a.q("NOTIFY inside; NOTIFY more")
    a.q("UNLISTEN *")
    a.frees()
    a.q("NOTIFY inside; NOTIFY more")


@scenario("LISTEN")
def test_two_phase_commit_refuses(s):
    a = s.client("a", user="boss")
    a.q("LISTEN other")  # who listens to nothing is not refused for UNLISTEN
    for text in ("LISTEN news", "UNLISTEN news", "UNLISTEN *", "NOTIFY news"):
        a.q("BEGIN")
        a.q(text)
        a.q("PREPARE TRANSACTION 'listens'")
        a.q("SELECT 1")


@scenario("LISTEN")
def test_what_comes_in_the_transaction_that_begins_to_listen(s):
    a = s.client("a")
    a.q("BEGIN; LISTEN news; NOTIFY news, 'after'; COMMIT")
    a.q("UNLISTEN *")
    a.q("BEGIN ISOLATION LEVEL SERIALIZABLE; LISTEN news; NOTIFY news, 'serializable'; COMMIT")
    a.q("BEGIN; LISTEN more; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SHOW transaction_isolation; COMMIT")
    a.q("BEGIN READ ONLY; LISTEN third; NOTIFY third; COMMIT")
    a.q("SET default_transaction_read_only = on")
    a.q("LISTEN fourth")
    a.q("NOTIFY fourth")
    a.q("BEGIN; NOTIFY news, '1'; COMMIT; BEGIN; NOTIFY news, '2'")
    a.q("COMMIT AND CHAIN")
    a.q("COMMIT")


@scenario("LISTEN")
def test_in_a_pipeline_with_transactions_of_their_own_properties(s):
    """LISTEN takes no snapshot: what follows in its batch may still say which one it wants."""
    a = s.client("a")
    a.parse("", "LISTEN news").bind().execute().parse("", "BEGIN ISOLATION LEVEL REPEATABLE READ").bind().execute().sync().go()
    a.q("SHOW transaction_isolation; NOTIFY news, 'one'; COMMIT")
    a.parse("", "BEGIN").bind().execute().parse("", "LISTEN more").bind().execute().sync().go()
    a.q("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; NOTIFY more, 'two'; COMMIT")
    a.parse("", "UNLISTEN news").bind().execute().flush().parse("", "LISTEN third").bind().execute().query("BEGIN ISOLATION LEVEL SERIALIZABLE").go()
    a.q("NOTIFY news, 'nobody'; NOTIFY third, 'three'; COMMIT")
    a.parse("", "LISTEN news").bind().execute().parse("", "NOTIFY news, 'four'").bind().execute().sync().go()
    a.parse("", "LISTEN fourth").bind().execute().parse("", "SELECT 1/0").bind().execute().parse("", "LISTEN fifth").sync().go()
    a.parse("", "LISTEN fourth").bind().execute().execute("none").parse("", "LISTEN fifth").sync().go()
    a.q("NOTIFY fourth, 'nobody'; NOTIFY fifth, 'nobody'; NOTIFY more, 'five'")
    a.parse("", "UNLISTEN *").bind().execute().parse("", "BEGIN ISOLATION LEVEL SERIALIZABLE").bind().execute().sync().go()
    a.q("COMMIT")
    a.q("NOTIFY more, 'nobody'")


@scenario("LISTEN")
def test_what_a_transaction_notifies_before_its_own_listen(s):
    """LISTEN and UNLISTEN take effect before the transaction's own notifications go out, wherever they stand in it."""
    a = s.client("a")
    a.q("BEGIN; NOTIFY one, 'before'; LISTEN one; NOTIFY one, 'behind'; COMMIT")
    a.q("BEGIN")
    a.q("NOTIFY one, '1'; NOTIFY two, '2'; NOTIFY one, '3'")
    a.q("UNLISTEN one; NOTIFY one, 'nobody'")
    a.q("LISTEN two")
    a.q("SELECT pg_notify('two', '4'), pg_notify('three', 'nobody')")
    a.q("COMMIT")
    a.q("NOTIFY one; NOTIFY two")
    a.q("NOTIFY four, 'in one text'; LISTEN four")
    a.q("NOTIFY four, 'for the last time'; UNLISTEN four")
    a.q("BEGIN; NOTIFY two, 'a'; UNLISTEN *; NOTIFY two, 'b'; LISTEN two; NOTIFY five, 'c'; COMMIT")
    a.q("BEGIN; NOTIFY five, 'a'; SAVEPOINT s; LISTEN five; NOTIFY five, 'b'; ROLLBACK TO s; UNLISTEN two; COMMIT")
    a.q("NOTIFY two; NOTIFY five")
    a.q("BEGIN; NOTIFY five, 'gone'; LISTEN five; ROLLBACK")
    a.q("BEGIN; NOTIFY five, 'gone'; LISTEN five; SELECT 1/0")
    a.q("COMMIT")
    a.q("NOTIFY five")
    a.parse("", "NOTIFY six, 'by pipeline'").bind().execute().parse("", "LISTEN six").bind().execute().sync().go()
    a.parse("", "NOTIFY six, 'the last'").bind().execute().parse("", "UNLISTEN six").bind().execute().sync().go()
    a.q("NOTIFY six")


@scenario("LISTEN")
def test_what_was_notified_before_the_transaction_is_not_its_own(s):
    """Neither by this client nor by who had its server connection before, however short a time ago."""
    a, b = s.client("a"), s.client("b")
    b.q("LISTEN news")
    for _ in range(10):
        a.query("NOTIFY news, 'too early'").go()
        a.query("BEGIN; SELECT 1; LISTEN news; NOTIFY news, 'its own'; COMMIT").go()
        a.query("UNLISTEN news").go()
        b.until("NotificationResponse")
        b.until("NotificationResponse")
    for _ in range(10):
        b.query("NOTIFY more, 'too early'").go()
        a.query("BEGIN").query("NOTIFY more, 'its own'").query("LISTEN more").query("COMMIT").go(4)
        a.query("UNLISTEN *").go()


@scenario("LISTEN", need=2)
def test_what_others_notify_while_it_is_open(s):
    a, b = s.client("a"), s.client("b")
    a.q("LISTEN one")
    a.q("BEGIN")
    a.q("UNLISTEN one")
    b.q("NOTIFY one, 'not any more'")
    a.q("COMMIT")
    a.q("BEGIN; LISTEN one")
    b.q("NOTIFY one, 'not yet'")
    a.q("COMMIT")
    a.q("BEGIN; NOTIFY two, 'its own'; LISTEN two")
    b.q("NOTIFY two, 'already'")
    a.q("COMMIT")
    a.q("SELECT 1")
    a.q("BEGIN; UNLISTEN *; LISTEN two")
    b.q("NOTIFY two, 'still'; NOTIFY one, 'not any more'")
    a.q("COMMIT")


@scenario("LISTEN")
def test_prepared_for_two_channels(s):
    a, b = s.client("a"), s.client("b")
    a.parse("l1", "LISTEN one").parse("l2", "LISTEN two").parse("u1", "UNLISTEN one").parse("u2", "UNLISTEN two").sync().go()
    a.bind("", "l1").execute().bind("", "l2").execute().sync().go()
    b.q("NOTIFY one; NOTIFY two")
    a.until("NotificationResponse")
    a.until("NotificationResponse")
    a.bind("", "u2").execute().sync().go()
    b.q("NOTIFY two; NOTIFY one, 'still'")
    a.until("NotificationResponse")
    a.q("UNLISTEN *")


@scenario("LISTEN")
def test_prepared_and_executed_by_sql(s):
    a, b = s.client("a"), s.client("b")
    a.parse("l", "LISTEN news").parse("u", "UNLISTEN *").sync().go()
    a.q("EXECUTE l")
    b.q("NOTIFY news, 'by a simple query'")
    a.until("NotificationResponse")
    a.x("EXECUTE u")
    b.q("NOTIFY news, 'nobody hears'")
    a.x("EXECUTE l (1)")
    b.q("NOTIFY news, 'by extended protocol'")
    a.until("NotificationResponse")
    a.q("EXPLAIN EXECUTE u")
    b.q("NOTIFY news, 'EXPLAIN runs nothing'")
    a.until("NotificationResponse")
    a.q("BEGIN; EXECUTE u; ROLLBACK; SELECT 1; EXECUTE u")
    b.q("NOTIFY news, 'nobody hears'")
    a.q("SELECT 1")
