"""SET in all its forms, and what transactions make of it."""

from differential import scenario, scripts

PROBE = (
    "SHOW search_path", "SHOW TimeZone", "SHOW DateStyle", "SHOW application_name", "SHOW statement_timeout",
    "SHOW IntervalStyle", "SHOW extra_float_digits", "SHOW bytea_output", "SHOW work_mem", "SHOW client_encoding",
    "SELECT '2024-02-01 00:00:00+00'::timestamptz, '02/01/2024'::date, interval '1 day 2 hours', '\\x41'::bytea",
)
LONG = ", ".join("schema_number_%03d" % n for n in range(60))

test_forms = scripts("SET carried", {
    "SET name TO value": ["SET search_path TO s1", "SELECT v FROM t", "SELECT f()"],
    "SET name = value": ["SET search_path = s2", "SELECT v FROM t"],
    "SET SESSION": ["SET SESSION search_path = s3", "SELECT v FROM t"],
    "list": ["SET search_path = s4, s1, public", "SELECT v FROM t", "SELECT current_schemas(false)"],
    "quoted list": ["SET search_path TO 's2', \"s1\"", "SELECT v FROM t"],
    "one string with commas": ["SET search_path = 's1, s2'", "SELECT current_schemas(false)"],
    "$user": ["SET search_path = \"$user\", s3", "SELECT v FROM t"],
    "odd name": ["SET search_path = \"odd, \"\"name\"\" with 'quotes' \\\"", "SELECT v FROM t",
                 "SELECT current_schema()"],
    "long list": ["SET search_path = %s, s3" % LONG, "SELECT v FROM t", "SELECT length(current_setting('search_path'))"],
    "empty": ["SET search_path = ''", "SELECT current_schemas(false)", "SELECT v FROM s1.t"],
    "several names": ["SET search_path = s1", "SET statement_timeout = '3min'", "SET work_mem = '5MB'",
                      "SET bytea_output = escape", "SET extra_float_digits = 0", "SELECT 0.1::float8 + 0.2::float8"],
    "unit": ["SET work_mem = '4096kB'", "SET statement_timeout = '1.5h'"],
    "boolean": ["SET enable_seqscan = 0", "SHOW enable_seqscan", "SET enable_seqscan TO yes", "SHOW enable_seqscan"],
    "TIME ZONE name": ["SET TIME ZONE 'Europe/Berlin'"],
    "TIME ZONE identifier": ["SET TIME ZONE Cuba"],
    "TIME ZONE number": ["SET TIME ZONE -7", "SET TIME ZONE 5.5"],
    "TIME ZONE INTERVAL": ["SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE"],
    "TIME ZONE INTERVAL seconds": ["SET TIME ZONE INTERVAL '3 hours'"],
    "TIME ZONE LOCAL": ["SET TIME ZONE 'Asia/Kolkata'", "SET TIME ZONE LOCAL"],
    "TIME ZONE DEFAULT": ["SET TIME ZONE 'Asia/Kolkata'", "SET TIME ZONE DEFAULT"],
    "timezone odd": ["SET timezone = '<+0330>-3:30'"],
    "NAMES": ["SET NAMES 'LATIN1'", "SELECT 'ok'", "SET NAMES DEFAULT"],
    "client_encoding": ["SET client_encoding TO 'LATIN9'", "RESET client_encoding"],
    "DateStyle merges order": ["SET DateStyle = 'dmy'", "SELECT '02/01/2024'::date"],
    "DateStyle merges style": ["SET DateStyle = 'DMY'", "SET DateStyle = 'SQL'", "SET DateStyle TO postgres, ymd"],
    "DateStyle german": ["SET DateStyle TO german", "SET DateStyle TO MDY"],
    "DateStyle default": ["SET DateStyle TO 'sql, dmy'", "SET DateStyle = DEFAULT"],
    "custom": ["SET my.a = 'x'", "SHOW my.a", "SELECT current_setting('my.a')"],
    "custom odd values": ["SET my.a = 'it''s \\ a \"value\", with all'", "SHOW my.a", "SET my.b = E'tab\\tand \\\\'",
                          "SHOW my.b", "SET my.c = $$dollar $1 ; quoted$$", "SHOW my.c"],
    "custom long": ["SET my.a = '%s'" % ("v'' \\" * 400), "SELECT md5(current_setting('my.a'))"],
    "custom long identifier": ["SET my.a = %s" % ("n" * 80), "SHOW my.a"],
    "custom empty": ["SET my.a = ''", "SELECT current_setting('my.a', true)"],
    "custom long name": ["SET my.%s = 'v'" % ("n" * 60), "SHOW my.%s" % ("n" * 60)],
    "custom three parts": ["SET my.own.name = 'v'", "SHOW my.own.name"],
    "custom case": ["SET My.Name = 'a'", "SELECT current_setting('my.name')", "SET \"my.Name\" = 'b'",
                    "SELECT current_setting('MY.NAME')"],
    "custom number": ["SET my.a = 42", "SHOW my.a", "SET my.a = -1.5e3", "SHOW my.a", "SET my.a = on", "SHOW my.a"],
    "application_name": ["SET application_name = 'it''s me'", "SELECT application_name = 'it''s me' FROM "
                         "pg_stat_activity WHERE pid = pg_backend_pid()"],
    "application_name unprintable": ["SET application_name = 'n\u00e4me'"],
    "application_name long": ["SET application_name = '%s'" % ("a" * 100)],
    "SESSION CHARACTERISTICS": ["SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
                                "SHOW default_transaction_isolation", "SHOW transaction_isolation",
                                "SHOW default_transaction_read_only", "CREATE TABLE scratch.never (v int)"],
    "SESSION CHARACTERISTICS deferrable": [
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE",
        "SHOW default_transaction_deferrable", "SHOW transaction_isolation"],
    "default_transaction next only": ["SET default_transaction_read_only = on", "SHOW transaction_read_only",
                                      "BEGIN", "SHOW transaction_read_only",
                                      "SET default_transaction_read_only = off", "SHOW transaction_read_only",
                                      "COMMIT", "SHOW transaction_read_only"],
    "SEED": [lambda c: c.pins("SET SEED TO 0.5"), "SELECT random()", "SELECT random()"],
    "XML OPTION": ["SET XML OPTION DOCUMENT", "SHOW xmloption"],
    "FROM CURRENT": ["SET my.a = 'now'", "CREATE FUNCTION scratch.g() RETURNS text LANGUAGE sql "
                     "SET my.a FROM CURRENT AS $$SELECT current_setting('my.a')$$", "SET my.a = 'later'",
                     "SELECT scratch.g(), current_setting('my.a')"],
    "last one counts": ["SET search_path = s1", "SET search_path = s2", "SET search_path = s3", "SELECT v FROM t"],
    "comments and case": ["/* a */ set -- b\n SESSION/**/search_path/* ' */to\ts2 ", "SELECT v FROM t"],
    "same value again": ["SET DateStyle = 'ISO, MDY'", "SET TimeZone = 'UTC'", "SET search_path = '$user', public"],
    "standard_conforming_strings off": [
        "SET standard_conforming_strings = off", "SET my.a = 'a\\'b'", "SHOW my.a", "SET my.b = 'back\\\\slash'",
        "SHOW my.b", "SET escape_string_warning = off", "SELECT 'a\\'; SET my.a = ''not this''; --'", "SHOW my.a"],
    "backslash_quote": ["SET standard_conforming_strings = off", "SET backslash_quote = on", "SET my.a = 'a\\'b'",
                        "SHOW my.a"],
    "client_min_messages": ["SET client_min_messages = debug1", "SET client_min_messages = error",
                            "SELECT says('nothing')", "RESET client_min_messages", "SELECT says('something')"],
    "check_function_bodies": ["SET check_function_bodies = off", "SHOW check_function_bodies"],
    "lc_numeric": ["SET lc_monetary = 'C'", "SHOW lc_monetary"],
    "role by name": ["SET role = r1", "SELECT current_user", "SET role TO DEFAULT", "SELECT current_user"],
}, PROBE)

test_resets = scripts("SET carried", {
    "RESET to startup value": ["SET search_path = s1", "RESET search_path", "SELECT v FROM t"],
    "SET TO DEFAULT": ["SET search_path = s1", "SET search_path TO DEFAULT", "SELECT v FROM t"],
    "RESET TIME ZONE": ["SET TimeZone = 'Asia/Tokyo'", "RESET TIME ZONE"],
    "RESET ALL": ["SET search_path = s1", "SET TimeZone = 'Asia/Tokyo'", "SET my.a = 'x'", "SET work_mem = '9MB'",
                  "RESET ALL", "SELECT v FROM t", "SHOW my.a"],
    "RESET custom": ["SET my.a = 'x'", "RESET my.a", "SELECT current_setting('my.a', true)"],
    "RESET ALL leaves role": ["SET ROLE r2", "RESET ALL", "SELECT current_user"],
    "RESET one keeps others": ["SET search_path = s1", "SET work_mem = '9MB'", "RESET work_mem", "SELECT v FROM t"],
    "RESET SESSION AUTHORIZATION keeps settings": ["SET search_path = s1", "RESET SESSION AUTHORIZATION",
                                                   "SELECT v FROM t"],
    "RESET unknown": ["RESET no_such_setting", "RESET my.never"],
}, PROBE, options="-c search_path=s5 -c DateStyle=SQL,DMY", TimeZone="Europe/Paris",
    application_name="from the start")

test_refused = scripts("SET carried", {
    "unknown name": ["SET no_such_setting = 1"],
    "bad value": ["SET work_mem = 'much'", "SET statement_timeout = -5", "SET DateStyle = 'nonsense'",
                  "SET client_encoding = 'nonsense'", "SET TimeZone = 'Nowhere/None'"],
    "not now": ["SET shared_buffers = '1MB'", "SET max_connections = 5", "SET log_statement = 'all'",
                "SET server_version = '9'", "SET ignore_system_indexes = on"],
    "bad value keeps the old": ["SET work_mem = '6MB'", "SET work_mem = 'much'"],
    "syntax": ["SET search_path", "SET = 5", "SET my.a"],
    "bad custom name": ["SET \"my.a b\" = 'x'", "SET \"my..a\" = 'x'"],
    "missing schema is fine": ["SET search_path = not_there, s1", "SELECT v FROM t"],
}, PROBE)

test_transactions = scripts("SET in transactions", {
    "COMMIT": ["BEGIN", "SET search_path = s1", "COMMIT", "SELECT v FROM t"],
    "ROLLBACK": ["SET search_path = s2", "BEGIN", "SET search_path = s1", "SELECT v FROM t", "ROLLBACK",
                 "SELECT v FROM t"],
    "ROLLBACK seen in ParameterStatus": ["BEGIN", "SET TimeZone = 'Asia/Tokyo'", "SET application_name = 'in'",
                                         "ROLLBACK"],
    "failed": ["SET search_path = s2", "BEGIN", "SET search_path = s1", "SELECT 1/0", "SELECT 1", "ROLLBACK",
               "SELECT v FROM t"],
    "COMMIT turned into ROLLBACK": ["SET search_path = s2", "BEGIN", "SET search_path = s1", "SET my.a = 'in'",
                                    "SELECT 1/0", "COMMIT", "SELECT v FROM t", "SELECT current_setting('my.a', true)"],
    "deferred constraint fails COMMIT": ["SET search_path = s2, public", "BEGIN", "SET search_path = s1, public",
                                         "INSERT INTO deferred VALUES (1), (1)", "COMMIT", "SELECT v FROM t"],
    "RESET rolled back": ["SET search_path = s2", "BEGIN", "RESET search_path", "ROLLBACK", "SELECT v FROM t"],
    "RESET ALL rolled back": ["SET search_path = s2", "SET my.a = 'x'", "BEGIN", "RESET ALL", "SHOW search_path",
                              "ROLLBACK", "SELECT v FROM t", "SHOW my.a"],
    "savepoint released": ["BEGIN", "SAVEPOINT a", "SET search_path = s1", "RELEASE a", "COMMIT", "SELECT v FROM t"],
    "savepoint rolled back": ["SET search_path = s3", "BEGIN", "SET search_path = s2", "SAVEPOINT a",
                              "SET search_path = s1", "ROLLBACK TO a", "SELECT v FROM t", "COMMIT", "SELECT v FROM t"],
    "savepoint rolled back twice": ["BEGIN", "SET search_path = s2", "SAVEPOINT a", "SET search_path = s1",
                                    "ROLLBACK TO a", "SET search_path = s4", "ROLLBACK TO a", "COMMIT",
                                    "SELECT v FROM t"],
    "nested savepoints": ["BEGIN", "SET my.a = '0'", "SAVEPOINT a", "SET my.a = '1'", "SAVEPOINT b", "SET my.a = '2'",
                          "SAVEPOINT a", "SET my.a = '3'", "ROLLBACK TO b", "SHOW my.a", "RELEASE a", "COMMIT",
                          "SHOW my.a"],
    "savepoint after an error": ["BEGIN", "SET search_path = s2", "SAVEPOINT a", "SET search_path = s1", "SELECT 1/0",
                                 "ROLLBACK TO SAVEPOINT a", "SET TimeZone = 'Asia/Tokyo'", "COMMIT",
                                 "SELECT v FROM t"],
    "release then outer rollback": ["SET my.a = 'before'", "BEGIN", "SAVEPOINT a", "SET my.a = 'in'", "RELEASE a",
                                    "SHOW my.a", "ROLLBACK", "SHOW my.a"],
    "SET LOCAL over SET": ["BEGIN", "SET search_path = s1", "SET LOCAL search_path = s2", "SELECT v FROM t", "COMMIT",
                           "SELECT v FROM t"],
    "SET over SET LOCAL": ["BEGIN", "SET LOCAL search_path = s2", "SET search_path = s1", "SELECT v FROM t", "COMMIT",
                           "SELECT v FROM t"],
    "START TRANSACTION, END, ABORT": ["START TRANSACTION READ ONLY", "SET search_path = s1", "END", "SELECT v FROM t",
                                      "START TRANSACTION", "SET search_path = s2", "ABORT", "SELECT v FROM t"],
    "COMMIT AND CHAIN": ["BEGIN", "SET search_path = s1", "COMMIT AND CHAIN", "SET search_path = s2", "ROLLBACK",
                         "SELECT v FROM t"],
    "ROLLBACK AND CHAIN": ["BEGIN", "SET search_path = s1", "ROLLBACK AND CHAIN", "SET search_path = s2", "COMMIT",
                           "SELECT v FROM t"],
    "role rolled back": ["SET ROLE r1", "BEGIN", "SET ROLE r2", "SELECT current_user", "ROLLBACK",
                         "SELECT current_user"],
    "COMMIT without BEGIN": ["SET search_path = s1", "COMMIT", "ROLLBACK", "SELECT v FROM t"],
    "BEGIN in BEGIN": ["BEGIN", "BEGIN", "SET search_path = s1", "COMMIT", "SELECT v FROM t"],
    "two-phase": ["BEGIN", "SET search_path = s1", "PREPARE TRANSACTION 'tp'", "SHOW search_path",
                  "ROLLBACK PREPARED 'tp'"],
}, PROBE)

test_many_in_one_query = scripts("SET in transactions", {
    "implicit transaction": ["SET search_path = s1; SET my.a = 'x'; SELECT v FROM t", "SELECT v FROM t", "SHOW my.a"],
    "SET then error": ["SET search_path = s2", "SET search_path = s1; SELECT v FROM t; SELECT 1/0", "SELECT v FROM t"],
    "SET then syntax error": ["SET search_path = s2", "SET search_path = s1; SELEKT 1", "SELECT v FROM t"],
    "BEGIN and COMMIT inside": ["SET search_path = s1; BEGIN; SET search_path = s2; COMMIT; SET search_path = s3; "
                                "SELECT 1/0", "SELECT v FROM t"],
    "BEGIN left open": ["SET search_path = s2; BEGIN; SET search_path = s1", "SELECT v FROM t", "ROLLBACK",
                        "SELECT v FROM t"],
    "ROLLBACK inside": ["SET search_path = s2; ROLLBACK; SET search_path = s1", "SELECT v FROM t"],
    "COMMIT ends a transaction": ["BEGIN", "SET search_path = s1", "SET my.a = 'x'; COMMIT; SET my.a = 'y'; SELECT 1/0",
                                  "SHOW my.a", "SELECT v FROM t"],
    "SET LOCAL inside": ["SET LOCAL search_path = s1; SELECT v FROM t", "SHOW search_path"],
    "savepoint inside": ["SET my.a = 'before'", "BEGIN; SAVEPOINT a; SET my.a = 'in'; ROLLBACK TO a; COMMIT",
                         "SHOW my.a"],
    "same name twice": ["SET search_path = s1; SET search_path = s2", "SELECT v FROM t"],
    "empty statements": [";;SET search_path = s1;;; ;", "SELECT v FROM t"],
}, PROBE, extended=False)


@scenario("SET in transactions")
def test_lost_in_mid_transaction(s):
    """What a client set in a transaction it never ended is nobody's."""
    a = s.client("a")
    a.q("BEGIN")
    a.q("SET search_path = s1")
    a.q("SET ROLE r1")
    a.leave()
    b = s.client("b")
    b.q("SHOW search_path")
    b.q("SELECT current_user")


@scenario("SET in transactions")
def test_terminated_in_mid_transaction(s):
    a = s.client("a")
    a.q("SET TimeZone = 'Asia/Tokyo'")
    a.q("BEGIN; SET search_path = s1")
    a.quit()
    b = s.client("b")
    b.q("SHOW search_path")
    b.q("SHOW TimeZone")


test_local = scripts("SET LOCAL", {
    "outside": ["SET LOCAL search_path = s1", "SHOW search_path"],
    "in a transaction": ["SET search_path = s2", "BEGIN", "SET LOCAL search_path = s1", "SELECT v FROM t", "COMMIT",
                         "SELECT v FROM t"],
    "rolled back to": ["SET search_path = s2", "BEGIN", "SAVEPOINT a", "SET LOCAL search_path = s1", "ROLLBACK TO a",
                       "SELECT v FROM t", "COMMIT", "SELECT v FROM t"],
    "set_config": ["SET search_path = s2", "BEGIN", "SELECT set_config('search_path', 's1', true)", "SELECT v FROM t",
                   "COMMIT", "SELECT v FROM t"],
    "set_config outside": ["SELECT set_config('search_path', 's1', true)", "SHOW search_path"],
    "SET TRANSACTION": ["SET my.a = 'kept'", "BEGIN", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
                        "SHOW transaction_isolation", "COMMIT", "SHOW transaction_isolation", "SHOW my.a"],
    "SET TRANSACTION outside": ["SET TRANSACTION READ ONLY", "SHOW transaction_read_only"],
    "SET LOCAL ROLE": ["BEGIN", "SET LOCAL ROLE r1", "SELECT current_user", "COMMIT", "SELECT current_user"],
    "SET LOCAL TIME ZONE": ["BEGIN", "SET LOCAL TIME ZONE 'Asia/Tokyo'", "SHOW TimeZone", "COMMIT", "SHOW TimeZone"],
    "a name seen only locally": ["BEGIN", "SET LOCAL my.loc = 'x'", "COMMIT",
                                 "SELECT current_setting('my.loc', true)"],
    "SET CONSTRAINTS": ["BEGIN", "SET CONSTRAINTS ALL IMMEDIATE", "COMMIT"],
}, PROBE)


@scenario("custom GUC unset")
def test_null_where_never_set(s):
    """NULL, not the empty string that another client's use of the name leaves behind."""
    a = s.client("a")
    a.q("SELECT current_setting('my.a', true) IS NULL, current_setting('app.tenant', true) IS NULL")
    b = s.client("b")
    b.q("SET my.d = 'b''s'")
    b.q("BEGIN; SET LOCAL my.e = 'b''s'; COMMIT")
    a.q("SELECT current_setting('my.d', true) IS NULL, current_setting('my.e', true) IS NULL")
    b.q("SELECT current_setting('my.d', true), current_setting('my.e', true)")
    a.q("SHOW my.d")


@scenario("custom GUC unset")
def test_row_level_security_hangs_on_it(s):
    a = s.client("a")
    a.q("SET app.tenant = 'a'")
    a.q("SELECT * FROM tenants")
    b = s.client("b")
    b.q("SELECT * FROM tenants")
    b.q("SELECT current_setting('app.tenant')")
    b.q("SET app.tenant = 'b'")
    b.q("SELECT * FROM tenants")
    a.q("SELECT * FROM tenants")
    c = s.client("c")
    c.q("SELECT count(*), current_setting('app.tenant', true) IS NULL FROM tenants")


@scenario("custom GUC unset")
def test_first_statement_after_begin_sets_it(s):
    a = s.client("a")
    for tenant in "ab":
        a.q("BEGIN")
        a.q("SET LOCAL app.tenant = '%s'" % tenant)
        a.q("SELECT * FROM tenants")
        a.q("COMMIT")
    a.q("SELECT current_setting('app.tenant', true)")


test_set_config = scripts("set_config", {
    "literals": ["SELECT set_config('search_path', 's1', false)", "SELECT v FROM t"],
    "qualified": ["SELECT pg_catalog.set_config('search_path', 's1', false)", "SELECT v FROM t"],
    "quoted": ["SELECT \"set_config\"('search_path', 's1', false)", "SELECT v FROM t"],
    "null resets": ["SET work_mem = '8MB'", "SELECT set_config('work_mem', NULL, false)"],
    "list value": ["SELECT set_config('search_path', 's4, s1', false)", "SELECT v FROM t"],
    "expression": ["SELECT set_config('search_path', 's' || 1 + 1, false)", "SELECT v FROM t"],
    "custom": ["SELECT set_config('my.a', 'it''s', false)", "SHOW my.a"],
    "in FROM": ["SELECT c FROM set_config('search_path', 's1', false) AS c", "SELECT v FROM t"],
    "in a CTE": ["WITH w AS MATERIALIZED (SELECT set_config('search_path', 's1', false) AS c) SELECT c FROM w",
                 "SELECT v FROM t"],
    "in WHERE": ["SELECT 1 WHERE set_config('search_path', 's1', false) IS NOT NULL", "SELECT v FROM t"],
    "over rows": ["SELECT set_config('my.a', n::text, false) FROM generate_series(1, 5) AS n", "SHOW my.a"],
    "names over rows": [lambda c: c.pins("SELECT set_config(n, v, false) FROM (VALUES ('my.a', '1'), ('my.b', '2'), "
                                         "('search_path', 's3')) AS x(n, v)"), "SHOW my.a", "SHOW my.b", "SELECT v FROM t"],
    "in VALUES": ["VALUES (set_config('search_path', 's1', false))", "SELECT v FROM t"],
    "in INSERT": ["CREATE TABLE scratch.got (v text)", "INSERT INTO scratch.got VALUES "
                  "(set_config('search_path', 's1', false)) RETURNING v", "SELECT v FROM t"],
    "fails": ["SET search_path = s2", "SELECT set_config('search_path', 's1', false), 1/0", "SELECT v FROM t"],
    "bad value": ["SELECT set_config('work_mem', 'much', false)", "SELECT set_config('nothing', 'x', false)"],
    "in a transaction": ["SET search_path = s2", "BEGIN", "SELECT set_config('search_path', 's1', false)", "ROLLBACK",
                         "SELECT v FROM t"],
    "is_local from a column": ["SELECT set_config('search_path', 's1', n > 1) FROM generate_series(1, 1) AS n",
                               "SELECT v FROM t"],
    "role": ["SELECT set_config('role', 'r1', false)", "SELECT current_user", "SELECT set_config('role', 'none', false)",
             "SELECT current_user"],
    "by UPDATE of pg_settings": ["UPDATE pg_settings SET setting = 's1' WHERE name = 'search_path'",
                                 "SELECT v FROM t"],
}, PROBE)


@scenario("set_config")
def test_by_bind(s):
    a = s.client("a")
    a.x("SELECT set_config($1, $2, $3)", ["search_path", "s1", "f"])
    a.q("SELECT v FROM t")
    a.x("SELECT set_config($1, $2, false)", ["my.a", "it's \\ bound"])
    a.q("SHOW my.a")
    a.parse("p1", "SELECT set_config('search_path', $1, false)").sync().go()
    for schema in ("s2", "s3"):
        a.bind("", "p1", [schema]).execute().sync().go()
        a.q("SELECT v FROM t")
    a.bind("", "p1", [None]).execute().sync().go()
    a.q("SHOW search_path")


@scenario("set_config")
def test_by_bind_in_binary(s):
    a = s.client("a")
    (a.parse("", "SELECT set_config($1, $2, $3)", [25, 25, 16])
     .bind("", "", [b"search_path", b"s1", b"\x00"], formats=[1, 1, 1], results=[1]).execute().sync().go())
    a.q("SELECT v FROM t")


@scenario("SET carried", need=2)
def test_two_clients_apart(s):
    a, b = s.client("a"), s.client("b")
    a.q("SET search_path = s1")
    b.q("SET search_path = s2")
    for _ in range(3):
        a.q("SELECT v FROM t")
        b.q("SELECT v FROM t")
    a.q("BEGIN")
    b.q("SET TimeZone = 'Asia/Tokyo'")
    a.q("SELECT v FROM t")
    b.q("SELECT v FROM t")
    a.q("COMMIT")
    a.q("SHOW TimeZone")
    b.q("SHOW TimeZone")


@scenario("SET carried")
def test_many_settings(s):
    """A hundred names on one client, each still there."""
    a = s.client("a")
    for n in range(100):
        a.query("SET my.n%d = 'value %d'" % (n, n)).go()
    a.q("SELECT string_agg(current_setting('my.n' || n), ',' ORDER BY n) FROM generate_series(0, 99) AS n")


@scenario("SET carried")
def test_values_the_text_does_not_tell(s):
    """The canonical value is what is carried: what PostgreSQL made of the text."""
    a = s.client("a", DateStyle="SQL, DMY")
    a.q("SET DateStyle = 'ISO'")
    a.q("SELECT '03/02/2024'::date")
    a.q("SET DateStyle = 'mdy'")
    a.q("SELECT '03/02/2024'::date")
    a.q("SET search_path TO S1, \"S2\", Public")
    a.q("SHOW search_path")
    a.q("SET TimeZone TO 'europe/berlin'")
    a.q("SHOW TimeZone")
    a.q("SET statement_timeout TO 90000")
    a.q("SHOW statement_timeout")
    a.q("RESET ALL")
    a.q("SHOW DateStyle")


@scenario("SET carried")
def test_a_timeout_acts_on_its_own_client_only(s):
    a, b = s.client("a"), s.client("b")
    a.q("SET statement_timeout = 20")
    b.q("SELECT pg_sleep(0.06)")
    a.q("SELECT pg_sleep(3)")
    b.q("SHOW statement_timeout")


@scenario("SET in transactions")
def test_set_right_behind_a_begin_is_rolled_back_to_the_clients_own(s):
    a = s.client("a", client_encoding="LATIN1", TimeZone="Europe/Paris")
    for sql in ("SET NAMES 'LATIN1'", "SET TimeZone = 'Asia/Tokyo'", "RESET TimeZone"):
        a.q("BEGIN")
        a.q(sql)
        a.q("SELECT nothing")
        a.q("ROLLBACK")
        a.q("SHOW client_encoding; SHOW TimeZone")


@scenario("SET in transactions", args={sql: (sql,) for sql in ("SET TimeZone = 'Asia/Tokyo'", "SET NAMES 'LATIN1'", "SET my.a = 'kept'",
                                                               "SET search_path = s2")})
def test_set_behind_the_end_of_a_failed_transaction(s, sql):
    a = s.client("a")
    probe = "SHOW TimeZone; SHOW client_encoding; SELECT current_setting('my.a', true); SELECT v FROM t"
    a.q("SET search_path = s1")
    a.q("BEGIN")
    a.q("SELECT 1/0")
    a.q("ROLLBACK; " + sql)
    a.q(probe)
    a.q("RESET ALL; SET search_path = s1")
    a.q("BEGIN")
    a.q("SELECT 1/0")
    a.parse("", "COMMIT").bind().execute().query(sql).sync().go(2)
    a.q(probe)
    a.q("RESET ALL; SET search_path = s1")
    a.q("BEGIN")
    a.q("SELECT 1/0")
    a.parse("", "ROLLBACK").bind().execute().parse("", sql).bind().execute().sync().go()
    a.q(probe)
    a.q("BEGIN; SAVEPOINT s")
    a.q("SELECT 1/0")
    a.q("ROLLBACK TO s; %s; COMMIT" % sql)
    a.q(probe)


@scenario("SET LOCAL")
def test_set_local_rolled_back_to_a_savepoint_before_a_parse(s):
    """What is parsed then is parsed under what was there before it."""
    a = s.client("a")
    a.q("SET search_path = s1")
    a.q("BEGIN")
    a.q("SAVEPOINT s")
    a.q("SET LOCAL search_path = s2")
    a.q("ROLLBACK TO s")
    a.parse("p", "SELECT v FROM t").sync().go()
    a.q("COMMIT")
    for _ in range(2):
        a.bind("", "p").execute().sync().go()
