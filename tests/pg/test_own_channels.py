"""pg_listening_channels() shows what this client listens to, though another connection listens for it."""

from differential import scenario

MINE = "SELECT pg_listening_channels()"
FORMS = {
    "alone": MINE,
    "a table": "SELECT * FROM pg_listening_channels()",
    "with an alias": "SELECT c, count(*) OVER () FROM pg_catalog.pg_listening_channels() c WHERE c <> 'x'",
    "with columns": "SELECT upper(d) FROM \"pg_listening_channels\"() AS c(d) ORDER BY 1 DESC",
    "by its name": "SELECT pg_listening_channels FROM pg_listening_channels() WHERE pg_listening_channels.pg_listening_channels <> 'x'",
    "numbered": "SELECT * FROM pg_listening_channels() WITH ORDINALITY",
    "cast": "SELECT 1 AS one, (pg_listening_channels())::varchar",
    "computed": "SELECT pg_listening_channels() || '!'",
    "renamed": "SELECT pg_listening_channels() AS \"mine\"",
    "beside others": "SELECT t.v, c FROM t LEFT JOIN LATERAL pg_listening_channels() c ON true, generate_series(1, 2) ORDER BY 1, 2, 3",
    "counted": "SELECT count(*), array_agg(x) FROM (SELECT pg_listening_channels() AS x) AS s",
    "asked": "SELECT EXISTS (SELECT FROM pg_listening_channels() WHERE pg_listening_channels = 'news')",
    "in an array": "SELECT ARRAY(SELECT pg_listening_channels())",
    "in WITH": "WITH c AS (SELECT * FROM pg_listening_channels()) SELECT * FROM c UNION ALL SELECT 'x'",
    "twice": "SELECT pg_listening_channels(), pg_listening_channels(); SELECT 1; SELECT count(*) FROM pg_listening_channels()",
    "explicitly": "SELECT * FROM ROWS FROM (pg_listening_channels())",
}


@scenario("own views", args={name: (sql,) for name, sql in FORMS.items()})
def test_forms(s, sql):
    a = s.client("a")
    a.q(sql)
    a.q('LISTEN news; LISTEN "with \'quotes\' \\ and ""these"""; LISTEN weather; LISTEN news')
    a.q(sql)
    if ";" not in sql:
        a.x(sql)
    a.q("UNLISTEN *")
    a.q(sql)


@scenario("own views")
def test_each_its_own(s):
    a, b, c = s.client("a"), s.client("b"), s.client("c")
    a.q("LISTEN one")
    b.q("LISTEN two; LISTEN one")
    for client in (a, b, c, a):
        client.q(MINE)
        client.x(MINE)
    a.q("UNLISTEN one; LISTEN three; LISTEN one")
    b.q("DISCARD ALL")
    for client in (a, b, c):
        client.q(MINE)


@scenario("own views")
def test_in_transactions_those_that_were_committed(s):
    a = s.client("a")
    a.q("LISTEN one")
    a.q("BEGIN")
    a.q("LISTEN two; UNLISTEN one")
    a.q(MINE)
    a.x(MINE)
    a.q("SAVEPOINT s; LISTEN three")
    a.q("SELECT 1/0")
    a.q(MINE)
    a.q("ROLLBACK TO s")
    a.q(MINE)
    a.q("COMMIT")
    a.q(MINE)
    a.q("BEGIN; LISTEN four; ROLLBACK")
    a.q("BEGIN; UNLISTEN *")
    a.q(MINE)
    a.q("ROLLBACK")
    a.q(MINE)
    a.q("LISTEN five; " + MINE)
    a.q(MINE)


@scenario("own views")
def test_statements_parsed_before(s):
    """What was parsed, or prepared, shows what is listened to when it runs."""
    a, b = s.client("a"), s.client("b")
    for client in (a, b):
        client.parse("p", MINE + " AS c ORDER BY 1").describe("S", "p").sync().go()
        client.q("PREPARE q (text) AS SELECT *, $1 AS given FROM pg_listening_channels()")
        client.parse("e", "EXECUTE q('by name')").sync().go()
    for change in ("LISTEN one", "LISTEN two", "UNLISTEN one", "UNLISTEN *"):
        a.q(change)
        for client in (a, b):
            client.bind("", "p").describe("P", "").execute().sync().go()
            client.q("EXECUTE q('x')")
            client.x("EXECUTE q('y')")
            client.bind("", "e").execute().sync().go()
            client.bind("", "q", ["z"]).execute().sync().go()
        a.q("SELECT name, statement FROM pg_prepared_statements ORDER BY name")
    a.q("LISTEN one")
    a.parse("", MINE).sync().go()
    a.q("SELECT 1")
    a.parse("", MINE).sync().go()
    a.bind("").execute().sync().go()
    a.parse("", "UNLISTEN one").bind("").execute().parse("", MINE).bind("").execute().sync().go()
    a.parse("", MINE).bind("").execute().parse("", "EXECUTE q('again')").bind("").execute().sync().go()


@scenario("own views")
def test_in_a_pipeline(s):
    a = s.client("a")
    a.parse("l", "LISTEN one").parse("m", MINE).bind("", "l").execute().bind("", "m").execute().sync().go()
    a.bind("", "m").execute().parse("u", "UNLISTEN one").bind("", "u").execute().bind("", "m").execute().sync().go()
    a.bind("", "m").execute().sync().go()


@scenario("own views")
def test_where_an_error_is(s):
    a = s.client("a")
    a.q("LISTEN one")
    for sql in ("SELECT pg_listening_channels(), nothing", "SELECT nothing FROM pg_listening_channels()", "SELECT pg_listening_channels() + nothing",
                "SELECT 1; SELECT 2 FROM pg_listening_channels() WHERE nothing = 1"):
        a.q(sql)
        if ";" not in sql:
            a.x(sql)
            a.q("PREPARE p AS " + sql)
            a.x("PREPARE p AS " + sql)


@scenario("own views", need=2)
def test_of_who_listens_on_its_own(s):
    a = s.client("a")
    a.q("LISTEN shared")
    a.pins("DO $$BEGIN EXECUTE 'LISTEN inside'; END$$")
    a.q(MINE)
    a.q("UNLISTEN shared")
    a.q(MINE)
    a.q("UNLISTEN *")
    a.frees()
    a.q(MINE)
