"""What a session goes back to is what its startup packet asked for, by whichever way it goes back."""

from differential import scenario

STARTED = {"work_mem": "5MB", "search_path": "s2,s1", "TimeZone": "Asia/Tokyo", "my.own": "it's \\ mine"}
THEN = {"work_mem": "7MB", "search_path": "s3", "TimeZone": "UTC", "my.own": "x"}
NULLS = {
    "literal": "SELECT set_config('%s', NULL, %s)",
    "cast": "SELECT set_config('%s', NULL::text, %s) || '!' AS v",
    "by name": "SELECT pg_catalog.set_config(is_local => %2$s, new_value => NULL, setting_name => '%1$s')",
    "computed": "SELECT set_config('%s', nullif('a', 'a'), %s), 1 AS behind",
    "in FROM": "SELECT * FROM set_config('%s', (SELECT v FROM t WHERE false), %s)",
    "over rows": "SELECT set_config('%s', v, %s) FROM (VALUES (NULL), ('s4'), (NULL)) AS l (v) WHERE v IS NULL",
    "a set": "SELECT set_config('%s', unnest(ARRAY[NULL]::text[]), %s)",
    "nested": "SELECT \"set_config\"('%s', set_config('my.own', NULL, false) || NULL, %s)",
}


def null(way, name, local):
    return NULLS[way].replace("%2$s", local).replace("%1$s", name) if "$" in NULLS[way] else NULLS[way] % (name, local)


@scenario("startup parameters", args={"%s of %s" % (way, name): (way, name) for way in NULLS for name in STARTED})
def test_set_config_to_null(s, way, name):
    s.client("z").quit()
    a = s.client("a", params=STARTED)
    for ask in (a.q, a.x):
        a.q("SET %s = '%s'" % (name, THEN[name]))
        ask(null(way, name, "false"))
        a.q("SHOW " + name)
        a.q("BEGIN; SET %s = '%s'" % (name, THEN[name]))
        ask(null(way, name, "true"))
        a.q("SHOW %s; COMMIT; SHOW %s" % (name, name))
        a.q("BEGIN")
        ask(null(way, name, "false"))
        a.q("ROLLBACK; SHOW %s" % name)
        a.q("RESET " + name)


@scenario("startup parameters", args={name: (name,) for name in STARTED})
def test_set_config_to_null_by_bind(s, name):
    a = s.client("a", params=STARTED)
    for sql, values in (("SELECT set_config('%s', $1, false)" % name, [None]), ("SELECT set_config($1, $2, false)", [name, None]),
                        ("SELECT set_config($2, $1::text, $3)", [None, name.upper(), "true"]),
                        ("SELECT set_config($2, $1, false), set_config($1, $2, false)", [None, name])):
        for name_of_it in ("", "p"):
            a.q("SET %s = '%s'" % (name, THEN[name]))
            a.parse(name_of_it, sql).describe("S", name_of_it).sync().go()
            a.bind("", name_of_it, values).execute().sync().go()
            a.q("SHOW " + name)
            a.close_("S", "p").sync().go()


@scenario("startup parameters")
def test_set_config_to_null_prepared(s):
    a = s.client("a", params=STARTED)
    b = s.client("b")
    for client in (a, b):
        client.q("PREPARE p AS SELECT set_config('work_mem', NULL, false)")
        client.q("PREPARE q (text) AS SELECT set_config('work_mem', $1, false)")
        client.q("SELECT name, statement FROM pg_prepared_statements ORDER BY name")
    for sql in ("EXECUTE p", "EXECUTE q(NULL)", "EXECUTE q('3MB')"):
        for client in (a, b):
            for ask in (client.q, client.x):
                client.q("SET work_mem = '9MB'")
                ask(sql)
                client.q("SHOW work_mem")


@scenario("startup parameters")
def test_where_an_error_is(s):
    a = s.client("a", params=STARTED)
    for sql in ("SELECT set_config('work_mem', NULL, false), nothing", "SELECT set_config('work_mem', nothing, false)",
                "SELECT nothing, set_config('work_mem', NULL, false)",
                "SELECT set_config('work_mem', NULL, false); SELECT set_config('my.own', NULL, false), set_config('work_mem', NULL, false), nothing"):
        a.q(sql)
    a.x("SELECT set_config('work_mem', NULL, false), nothing")
    a.x("SELECT set_config('work_mem', nothing, false)")
    a.q("PREPARE p AS SELECT set_config('work_mem', NULL, false), nothing")
    a.x("PREPARE p AS SELECT set_config('work_mem', nothing, false)")
    a.q("SHOW work_mem")


@scenario("startup parameters", args={name: (name,) for name in STARTED})
def test_local_to_default(s, name):
    a = s.client("a", params=STARTED)
    for ask in (a.q, a.x):
        a.q("SET %s = '%s'" % (name, THEN[name]))
        for way in ("SET LOCAL %s TO DEFAULT", "SET %s TO DEFAULT", "RESET %s", "SET SESSION %s = DEFAULT"):
            a.q("BEGIN")
            a.q("SAVEPOINT one")
            ask(way % name)
            ask("SHOW " + name)
            a.q("ROLLBACK TO one")
            ask("SHOW " + name)
            ask(way % name)
            a.q("COMMIT")
            ask("SHOW " + name)
            a.q("SET %s = '%s'" % (name, THEN[name]))
    a.q("BEGIN; SET LOCAL %s TO DEFAULT; SHOW %s; ROLLBACK; SHOW %s" % (name, name, name))
    a.q("SET LOCAL %s TO DEFAULT" % name)
    a.parse("", "SET %s = '%s'" % (name, THEN[name])).bind().execute().parse("", "SET %s TO DEFAULT" % name).bind().describe().execute() \
        .parse("", "SHOW " + name).bind().execute().sync().go()


@scenario("startup parameters")
def test_local_to_default_of_roles(s):
    a = s.client("a", params={"role": "r1"})
    a.q("SET ROLE r2")
    for sql in ("BEGIN", "SET LOCAL ROLE TO DEFAULT", "SELECT current_user", "COMMIT", "SELECT current_user", "RESET ROLE", "SELECT current_user"):
        a.q(sql)


@scenario("startup parameters", args={
    "base": ((("TimeZone", "Europe/Paris"), ("DateStyle", "SQL, DMY"), ("search_path", "s3")),), "none": ((),),
    "other": ((("work_mem", "5MB"), ("my.a", "x")),),
})
def test_reset_all_in_one_batch_with_half_a_datestyle(s, params):
    a = s.client("a", params=dict(params))
    a.q("SET TimeZone = 'Asia/Tokyo'; SET search_path = s1; SET work_mem = '9MB'")
    a.parse("", "SET SESSION DateStyle = 'German'").bind().execute().parse("", "RESET ALL").bind().describe().execute() \
        .parse("", "SHOW search_path").bind().execute().sync().go()
    a.q("SHOW TimeZone; SHOW DateStyle; SHOW search_path; SHOW work_mem")
    a.parse("", "RESET ALL").bind().execute().parse("", "SET DateStyle = 'YMD'").bind().execute().parse("", "SHOW DateStyle").bind().execute().sync().go()
    a.q("SHOW TimeZone; SHOW DateStyle; SHOW search_path; SHOW work_mem")
    a.q("SET TimeZone = 'Asia/Tokyo'; SET search_path = s1")
    a.q("BEGIN")
    a.parse("", "SET DateStyle = 'YMD'").bind().execute().parse("r", "RESET ALL").bind("", "r").execute().parse("", "SELECT 1/0").bind().execute().sync().go()
    a.q("ROLLBACK; SHOW DateStyle; SHOW TimeZone")
    a.q("BEGIN")
    a.parse("", "SET DateStyle = 'YMD'").bind().execute().bind("", "r").execute() \
        .parse("", "SELECT current_setting('DateStyle'), current_setting('TimeZone'), current_setting('search_path')").bind().execute().sync().go()
    a.q("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
    a.q("COMMIT; SHOW DateStyle; SHOW TimeZone")


OUT_OF_SIGHT = {
    "DO": ("DO $$BEGIN RESET %s; END$$",), "DO, set_config": ("DO $$BEGIN PERFORM set_config('%s', NULL, false); END$$",),
    "DO, EXECUTE": ("DO $$BEGIN EXECUTE 'RESET %s'; END$$",), "DO, RESET ALL": ("DO $$BEGIN RESET ALL; PERFORM '%s'; END$$",),
    "function": ("CREATE FUNCTION scratch.back() RETURNS text LANGUAGE sql AS $$SELECT set_config('%s', NULL, false)$$; GRANT ALL ON FUNCTION "
                 "scratch.back() TO PUBLIC", "SELECT scratch.back() IS NULL"),
    "procedure": ("CREATE PROCEDURE scratch.back() LANGUAGE plpgsql AS $$BEGIN RESET %s; END$$; GRANT ALL ON PROCEDURE scratch.back() "
                  "TO PUBLIC", "CALL scratch.back()"),
}


@scenario("startup parameters", args={"%s of %s" % (way, name): (way, name) for way in OUT_OF_SIGHT for name in ("work_mem", "search_path", "TimeZone")})
def test_reset_out_of_sight(s, way, name):
    """In the statement itself it may read the server's value, afterwards its own."""
    s.client("z").quit()
    a = s.client("a", params=STARTED)
    *before, sql = [text.replace("%s", name) for text in OUT_OF_SIGHT[way]]
    for text in before:
        a.q(text)
    for ask in (a.q, a.x):
        a.q("SET %s = '%s'" % (name, THEN[name]))
        ask(sql)
        a.q("SHOW " + name)
        a.q("SET %s = '%s'" % (name, THEN[name]))
        a.q("BEGIN")
        ask(sql)
        a.q("SHOW " + name)
        a.q("COMMIT; SELECT 1")
        a.q("SHOW " + name)
        a.q("SET %s = '%s'" % (name, THEN[name]))
        a.q("BEGIN")
        ask(sql)
        a.q("SAVEPOINT before; SET LOCAL %s = '%s'" % (name, THEN[name]))
        ask(sql)
        a.q("SHOW " + name)
        a.q("ROLLBACK TO before; SHOW " + name)
        a.q("ROLLBACK")
        a.q("SHOW " + name)
        a.parse("", sql).bind().execute().parse("", "SELECT 1").bind().execute().sync().go()
        a.q("SHOW " + name)


@scenario("startup parameters")
def test_set_config_of_a_bound_name_to_null_by_expression(s):
    a = s.client("a", work_mem="5MB", search_path="s2,s1")
    for name in ("work_mem", "search_path"):
        a.q("SET %s = '%s'" % (name, THEN[name]))
        a.parse("", "SELECT set_config($1, nullif($2, $2), false) IS NULL").bind("", "", [name, "x"]).execute().sync().go()
        a.q("SHOW " + name)


@scenario("startup parameters")
def test_changed_out_of_sight_ahead_of_a_query_in_its_batch(s):
    """Of which PostgreSQL 18 says that it is in a transaction, that the Sync then ends: none of pgporter's may."""
    a = s.client("a", search_path="s4, public")
    a.parse("", "DO $$BEGIN PERFORM set_config('search_path', 's1', false); END$$").bind().execute().query("SELECT 1").execute().sync().query("").until("EmptyQueryResponse")
    a.q("SHOW search_path")
