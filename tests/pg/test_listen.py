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
