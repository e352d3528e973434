"""Views of one's own session: they show what this client has made, under its own names, and nothing else."""

import pytest

import servers
from differential import scenario

MINE = "SELECT name, statement, parameter_types, from_sql FROM pg_prepared_statements ORDER BY name"
CURSORS = "SELECT name, statement, is_holdable FROM pg_cursors ORDER BY name"
TEXT = 25


@scenario("own views")
def test_none(s):
    a = s.client("a")
    a.q(MINE)
    a.q('SELECT count(*) FROM pg_catalog."pg_prepared_statements"')
    a.q("SELECT count(*) FROM pg_prepared_statement()")


@scenario("own views")
def test_protocol_and_sql(s):
    a = s.client("a")
    a.parse("of protocol", "SELECT $1::text || '!' AS v", [TEXT]).sync().go()
    a.q("PREPARE of_sql (int) AS SELECT $1 + 1")
    a.q('PREPARE "Of Sql" AS SELECT v FROM t')
    a.q(MINE)
    a.q("EXECUTE of_sql(1)")
    a.bind("", "of protocol", ["x"]).execute().sync().go()
    a.q(MINE)
    a.q("DEALLOCATE of_sql")
    a.q(MINE)
    a.close_("S", "of protocol").sync().go()
    a.q(MINE)
    a.q("DEALLOCATE ALL")
    a.q(MINE)


@scenario("own views")
def test_the_whole_text_is_shown(s):
    a = s.client("a")
    a.q("PREPARE q1 AS SELECT 1;")
    a.q("/* before */ PREPARE q2(text) AS\n\tSELECT $1 ; -- behind")
    a.q("/* before */ PREPARE q3 AS SELECT set_config('search_path', NULL, true);")
    a.x("  PREPARE q4 AS SELECT 4 ;")
    a.q(MINE)
    for sql in ("EXECUTE q1;", "EXECUTE q2('two') -- behind", "EXECUTE q3", "EXECUTE q4"):
        a.q(sql)
        a.x(sql)
    a.q("PREPARE q2 AS SELECT 2;")
    a.q("DEALLOCATE q2;")
    a.q("PREPARE q2 AS SELECT 2;")
    a.q(MINE)


@scenario("own views")
def test_by_bind_of_what_sql_has_prepared(s):
    a = s.client("a")
    a.q("PREPARE mine AS " + MINE)
    a.bind("", "mine").execute().sync().go()
    a.q("PREPARE sets AS SELECT set_config('TimeZone', 'Asia/Tokyo', false)")
    a.bind("", "sets").execute().sync().go()
    a.q("SHOW TimeZone")
    a.bind("", "mine").execute().sync().go()


@scenario("own views")
def test_of_two_clients(s):
    a, b = s.client("a"), s.client("b")
    for client, text in ((a, "SELECT 1"), (b, "SELECT 2")):
        client.parse("p", text).sync().go()
        client.q("PREPARE q AS " + text)
    for client in (a, b, a):
        client.q(MINE)
        client.q("EXECUTE q")
        client.bind("", "p").execute().sync().go()


@scenario("own views")
def test_in_a_transaction(s):
    a = s.client("a")
    a.parse("p1", "SELECT 1").sync().go()
    a.q("BEGIN")
    a.q("PREPARE q1 AS SELECT 2")
    a.q(MINE)
    a.q("EXECUTE q1")
    a.bind("", "p1").execute().sync().go()
    a.q(MINE)
    a.q("DEALLOCATE q1")
    a.q("SAVEPOINT one")
    a.q("EXECUTE q1")
    a.q(MINE)
    a.q("ROLLBACK TO one")
    a.q(MINE)
    a.q("PREPARE q1 AS SELECT 3")
    a.q("ROLLBACK")
    a.q(MINE)
    a.q("EXECUTE q1")


@scenario("own views")
def test_error_right_after(s):
    """What was deallocated is not found in what was laid out."""
    a = s.client("a")
    a.q("PREPARE q1 AS SELECT 2")
    a.q("BEGIN")
    a.q(MINE)
    a.q("DEALLOCATE q1")
    a.q("EXECUTE q1")
    a.q("EXECUTE q1")
    a.q("ROLLBACK")
    a.q("EXECUTE q1")
    a.q(MINE)


@scenario("own views")
def test_in_one_text(s):
    a = s.client("a")
    a.q("PREPARE kept AS SELECT 'kept'")
    a.q("DEALLOCATE kept; SELECT name, from_sql FROM pg_prepared_statements ORDER BY name; "
        "PREPARE made AS SELECT 'made'; SELECT name, from_sql FROM pg_prepared_statements ORDER BY name; EXECUTE made")
    a.q("EXECUTE made")
    a.q("EXECUTE kept")
    a.q("PREPARE twice AS SELECT 1; SELECT name FROM pg_prepared_statements ORDER BY name; PREPARE twice AS SELECT 2")
    a.q("DEALLOCATE ALL; SELECT name FROM pg_prepared_statements; PREPARE other AS SELECT 4")
    a.q("SELECT name, parameter_types, from_sql FROM pg_prepared_statements")
    a.q("EXECUTE other")


@scenario("own views")
def test_by_extended_protocol(s):
    a = s.client("a")
    a.parse("p1", "SELECT 1").parse("", MINE).bind("", "").describe("P").execute().sync().go()
    a.parse("views", MINE).sync().go()
    for _ in range(2):
        a.bind("", "views").describe("P").execute().sync().go()
    a.bind("", "p1").execute().bind("", "views").execute().bind("", "p1").execute().close_("S", "p1").bind("", "views").execute()
    a.sync().go()
    a.parse("", "SELECT 1/0").bind("", "").execute().bind("", "views").execute().sync().go()
    a.bind("", "views").execute().sync().go()


@scenario("own views")
def test_prepared_itself(s):
    a = s.client("a")
    a.q("PREPARE views AS " + MINE)
    a.q("EXECUTE views")
    a.q("BEGIN")
    a.q("EXECUTE views")
    a.q("COMMIT")
    a.q("EXECUTE views")


@scenario("own views")
def test_parsed_under_other_settings(s):
    a = s.client("a")
    a.q("SET search_path = s1")
    a.parse("of s1", "SELECT v, $1::text FROM t").sync().go()
    a.q("SET search_path = s2")
    a.q("PREPARE of_s2 AS SELECT v FROM t")
    a.q("SET search_path = 'no_such'")
    a.q(MINE)
    a.q("SHOW search_path")
    a.q("BEGIN")
    a.q(MINE)
    a.q("SHOW search_path")
    a.q("COMMIT")
    a.parse("", MINE).bind("", "").execute().parse("", "SHOW search_path").bind("", "").execute().sync().go()
    a.q("EXECUTE of_s2")


@scenario("own views")
def test_in_a_failed_transaction(s):
    a = s.client("a")
    a.q("PREPARE q1 AS SELECT 2")
    a.q("BEGIN")
    a.q("SELECT 1/0")
    a.q(MINE)
    a.q("ROLLBACK")
    a.q(MINE)


@scenario("own views")
def test_cursors(s):
    a = s.client("a")
    a.q(CURSORS)
    a.q("BEGIN")
    a.q(CURSORS)
    a.q("DECLARE mine CURSOR FOR SELECT 1")
    a.q(CURSORS)
    a.q("SELECT name FROM pg_cursor() ORDER BY name")
    a.q("COMMIT")
    a.q(CURSORS)
    a.pins("DECLARE held CURSOR WITH HOLD FOR SELECT 2")
    a.q(CURSORS)
    a.frees("CLOSE held")
    a.q(CURSORS)


@scenario("own views")
def test_by_way_of_a_view(s):
    a = s.client("a")
    a.q("CREATE VIEW scratch.mine AS SELECT name FROM pg_prepared_statements")
    a.q("PREPARE q1 AS SELECT 2")
    a.q("SELECT * FROM scratch.mine")
    a.q("CREATE FUNCTION scratch.count() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM pg_prepared_statements'")
    a.q("SELECT scratch.count()")


@scenario("own views")
def test_channels_parsed_under_other_settings(s):
    a = s.client("a", TimeZone="Europe/Paris")
    a.pins("LISTEN one")
    a.parse("", "SELECT set_config('TimeZone', 'UTC', true)").bind().execute()
    a.parse("", "SELECT * FROM pg_listening_channels() ORDER BY 1").sync().go()
    a.bind("c9", "", ("1", "2")).sync().go()
    a.parse("", "SELECT * FROM pg_listening_channels() ORDER BY 1").sync().go()
    a.bind().execute().sync().go()
    a.frees("UNLISTEN *")


@pytest.mark.skipif(servers.POOLER != "pgporter", reason="an error of pgporter's own")
def test_a_statement_that_is_no_longer_valid_is_an_error_and_nothing_is_left(pooler):
    database = pooler.database(1)
    with pooler.connect(database=database) as a, pooler.connect(database=database) as b:
        for begun in (False, True):
            a.q("CREATE TABLE going (v int)")
            a.q("PREPARE gone AS SELECT v FROM going")
            a.q("DROP TABLE going")
            a.q("BEGIN" if begun else "")
            for how in (a.q, a.x):
                event = [e for e in how("SELECT name FROM pg_prepared_statements") if e[0] == "ErrorResponse"][0]
                assert "C=42P01" in event or begun and "C=25P02" in event
                if "C=42P01" in event:
                    assert any(f.startswith("M=could not show this session's prepared statements: ") for f in event)
                if not begun:
                    assert b.value("SELECT count(*) FROM pg_prepared_statements") == "0"
            a.q("ROLLBACK")
            a.q("DEALLOCATE gone")
            assert a.value("SELECT count(*) FROM pg_prepared_statements") == "0"
            assert b.value("SELECT count(*) FROM pg_prepared_statements") == "0"


@scenario("own views", need=2)
def test_behind_discard_all_in_a_batch(s):
    """Settings that it has given back, and what is laid out, go ahead of the Query while it waits."""
    d = s.client("d", TimeZone="Europe/Paris", DateStyle="SQL, DMY")
    for _ in range(2):
        d.parse("", "DISCARD ALL").bind().execute().query("SELECT name, statement FROM pg_prepared_statements WHERE NOT from_sql ORDER BY name") \
            .sync().query("").until("EmptyQueryResponse")
        d.q("SHOW TimeZone; SHOW DateStyle")
