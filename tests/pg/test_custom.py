"""Custom settings (app.tenant): NULL for who never named one, '' for who did, whatever backends have seen."""

import threading
import time

import pytest

import rawpg
from differential import scenario, scripts
from test_limits import Watch
from test_pooling import Seen, refusal, waiting

OWN = "SELECT current_setting('own.a', true)"
PROBE = (OWN, "SHOW own.a", "SELECT current_setting('app.tenant', true)", "SELECT count(*) FROM tenants")

# What one client does with a name of its own, and what it reads of it then. Strangers set app.tenant and others meanwhile.
test_what_it_reads_itself = scripts("custom GUC unset", {
    "nothing": [],
    "SET LOCAL outside": ["SET LOCAL own.a = 'x'"],
    "SET LOCAL": ["BEGIN", "SET LOCAL own.a = 'x'", OWN, "COMMIT"],
    "SET LOCAL rolled back": ["BEGIN", "SET LOCAL own.a = 'x'", "ROLLBACK"],
    "SET rolled back": ["BEGIN", "SET own.a = 'x'", "ROLLBACK"],
    "SET and RESET": ["SET own.a = 'x'", "RESET own.a"],
    "RESET of what was never set": ["RESET own.a"],
    "SET TO DEFAULT": ["SET own.a TO DEFAULT"],
    "SET LOCAL TO DEFAULT": ["BEGIN", "SET LOCAL own.a TO DEFAULT", OWN, "COMMIT"],
    "RESET ALL": ["SET own.a = 'x'", "RESET ALL"],
    "DISCARD ALL": ["SET own.a = 'x'", "DISCARD ALL"],
    "DISCARD ALL after SET LOCAL": ["BEGIN", "SET LOCAL own.a = 'x'", "COMMIT", "DISCARD ALL"],
    "set_config local": ["SELECT set_config('own.a', 'x', true)"],
    "set_config in a transaction": ["BEGIN", "SELECT set_config('own.a', 'x', true)", OWN, "COMMIT"],
    "set_config rolled back": ["BEGIN", "SELECT set_config('own.a', 'x', false)", "ROLLBACK"],
    "set_config NULL": ["SELECT set_config('own.a', NULL, false)"],
    "set_config of none": ["SELECT set_config('own.a', 'x', true) WHERE false"],
    "set_config of none for the session": ["SELECT set_config('own.a', 'x', false) WHERE false"],
    "set_config of some": ["SELECT set_config('own.a', 'x', true) FROM generate_series(1, 2)"],
    "set_config then an error": ["SELECT set_config('own.a', 'x', true), 1/(n - 1) FROM generate_series(1, 1) AS n"],
    "an error, then set_config": ["SELECT 1/(n - 1), set_config('own.a', 'x', true) FROM generate_series(1, 1) AS n"],
    "two at once": ["SELECT set_config('own.a', 'x', true), set_config('own.b', 'y', true)",
                    "SELECT current_setting('own.b', true)"],
    "in a failed transaction": ["BEGIN", "SELECT 1/0", "SET LOCAL own.a = 'x'", "ROLLBACK"],
    "savepoint rolled back": ["BEGIN", "SAVEPOINT a", "SET LOCAL own.a = 'x'", "ROLLBACK TO a", OWN, "COMMIT"],
    "savepoint after an error": ["BEGIN", "SAVEPOINT a", "SELECT 1/0", "SET LOCAL own.a = 'x'", "ROLLBACK TO a", OWN,
                                 "COMMIT"],
    "a bad name": ["SET \"own.a b\" = 'x'", "SELECT set_config('own.a b', 'x', true)",
                   "SELECT current_setting('own.a b', true)"],
    "case": ["SET OWN.A = 'x'", "RESET Own.a", "SELECT current_setting('OWN.a', true)"],
    "DO": ["DO $$BEGIN PERFORM set_config('own.a', 'x', true); END$$"],
    "DO SET": ["DO $$BEGIN SET own.a = 'x'; END$$"],
    "DO that fails": ["DO $$BEGIN PERFORM set_config('own.a', 'x', true); RAISE 'no'; END$$"],
    "DO that doesn't": ["DO $$BEGIN IF false THEN SET own.a = 'x'; END IF; END$$"],
    "PREPARE": ["PREPARE p AS SELECT set_config('own.a', 'x', true)", OWN, "EXECUTE p"],
    "PREPARE with a parameter": ["PREPARE p(text) AS SELECT set_config('own.a', $1, true)", OWN, "EXECUTE p('y')"],
    "PREPARE that is not executed": ["PREPARE p AS SELECT set_config('own.a', 'x', true)"],
    "many statements": ["SET own.a = 'x'; SELECT 1/0"],
    "many statements, local": ["SET LOCAL own.a = 'x'; SELECT current_setting('own.a', true); SELECT 1"],
    "an error before it": ["SELECT 1/0; SET own.a = 'x'"],
}, PROBE)

test_from_the_start = scripts("custom GUC unset", {
    "startup": [],
    "RESET": ["SET own.a = 'x'", "RESET own.a"],
    "DISCARD ALL": ["SET own.a = 'x'", "DISCARD ALL"],
    "SET LOCAL": ["BEGIN", "SET LOCAL own.a = 'x'", "COMMIT"],
}, PROBE, options="-c own.a=from\\ the\\ start")


@scenario("custom GUC unset")
def test_one_clients_name_is_not_known_to_another(s):
    a, b = s.client("a"), s.client("b")
    for n, how in enumerate(("SET own.n%d = 'x'", "SET LOCAL own.n%d = 'x'", "RESET own.n%d", "BEGIN; SET own.n%d = 'x'; ROLLBACK",
                             "SELECT set_config('own.n%d', 'x', true)", "DO $$BEGIN SET LOCAL own.n%d = 'x'; END$$",
                             "DO $$BEGIN SET own.n%d = 'x'; RAISE 'no'; END$$",
                             "SELECT set_config('own.n%d', 'x', false), 1/(random() * 0)::int")):
        a.q(how % n)
        b.q("SELECT current_setting('own.n%d', true)" % n)
        a.q("SELECT current_setting('own.n%d', true)" % n)
    a.q("DISCARD ALL")
    b.q("SELECT string_agg(coalesce(current_setting('own.n' || n, true), 'NULL'), ',') FROM generate_series(0, 7) AS n")
    a.q("SELECT string_agg(coalesce(current_setting('own.n' || n, true), 'NULL'), ',') FROM generate_series(0, 7) AS n")


@scenario("custom GUC unset")
def test_named_by_bind(s):
    a, b = s.client("a"), s.client("b")
    a.x("SELECT set_config($1, $2, true)", ["own.a", "x"])
    b.q(OWN)
    a.q(OWN)
    a.parse("p", "SELECT set_config($1, $2, true)").sync().go()
    for name in ("own.b", "own.c"):
        a.bind("", "p", [name, "x"]).execute().sync().go()
        b.x("SELECT current_setting($1, true)", [name])
        a.x("SELECT current_setting($1, true)", [name])
    a.q("BEGIN")
    a.bind("", "p", ["own.d", "x"]).execute().sync().go()
    a.x("SELECT current_setting($1, true)", ["own.d"])
    a.q("COMMIT")
    a.x("SELECT current_setting($1, true)", ["own.d"])
    b.x("SELECT current_setting($1, true)", ["own.d"])


TENANT = "SELECT count(*), max(v), current_setting('app.tenant', true) FROM tenants"
FORMS = {
    "SET LOCAL": ("BEGIN", "SET LOCAL app.tenant = '%s'"),
    "set_config": ("BEGIN", "SELECT set_config('app.tenant', '%s', true)"),
    "START TRANSACTION": ("START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", "SET LOCAL app.tenant TO '%s'"),
    "comments": (" BEGIN -- so it begins", "/* and goes on */ SET LOCAL app.tenant = '%s'"),
    "one text": ("BEGIN; SET LOCAL app.tenant = '%s'",),
    "isolation first": ("BEGIN", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET LOCAL app.tenant = '%s'"),
    "another setting first": ("BEGIN", "SET LOCAL statement_timeout = '1min'", "SET LOCAL app.tenant = '%s'"),
}


@scenario("custom GUC unset", args={name: (form,) for name, form in FORMS.items()})
def test_a_tenant_each_request(s, form):
    """A new connection each time, the tenant is set first of all; others never do."""
    for tenant in ("a", "b", "a"):
        c = s.client("tenant " + tenant)
        for sql in form:
            c.q(sql % tenant if "%" in sql else sql)
        c.q(TENANT)
        c.q("SHOW transaction_isolation")
        c.q("COMMIT")
        c.q(TENANT)
        c.quit()
        c = s.client("none")
        c.q("BEGIN")
        c.q(TENANT)
        c.q("COMMIT")
        c.q(TENANT)
        c.quit()


@scenario("custom GUC unset")
def test_a_tenant_by_extended_pipeline(s):
    """As pgjdbc begins a transaction: in one flight with its first statement."""
    for tenant in ("a", "b"):
        c = s.client("tenant " + tenant)
        (c.parse("", "BEGIN").bind().execute()
         .parse("", "SET LOCAL app.tenant = '%s'" % tenant).bind().describe().execute()
         .parse("", TENANT).bind().describe().execute().sync().go())
        c.x(TENANT)
        c.x("COMMIT")
        c.x(TENANT)
        c.parse("S_1", "BEGIN").parse("S_2", "SELECT set_config('app.tenant', $1, true)").sync().go()
        for _ in range(2):
            c.bind("", "S_1").execute().bind("", "S_2", [tenant]).execute().sync().go()
            c.x(TENANT)
            c.x("ROLLBACK")
        c.quit()


@scenario("custom GUC unset")
def test_pipelines_read_before_they_set(s):
    c = s.client("a")
    c.parse("", TENANT).bind().execute().parse("", "SET app.tenant = 'a'").bind().execute().sync().go()
    c.x(TENANT)
    d = s.client("b")
    d.query("BEGIN").query(TENANT).query("SET LOCAL app.tenant = 'b'").query(TENANT).query("COMMIT").query(TENANT).go(ready=6)
    e = s.client("c")
    e.parse("", "SET LOCAL app.tenant = 'b'").parse("x", TENANT).bind("", "x").execute().sync().go()


def _script(steps):
    def play(s):
        c = s.client("a")
        for step in steps:
            step(c) if callable(step) else c.q(step)
        c.q(TENANT)
    return play


HELD = {
    "COMMIT": ["BEGIN", "COMMIT"],
    "ROLLBACK": ["BEGIN ISOLATION LEVEL SERIALIZABLE", "ROLLBACK"],
    "END of START": ["START TRANSACTION READ ONLY", "END"],
    "error": ["BEGIN", "SELECT 1/0", "SELECT 1", "COMMIT"],
    "syntax error": ["BEGIN", "SELEKT", "ROLLBACK"],
    "BEGIN again": ["BEGIN", "BEGIN", "SELECT 1", "COMMIT"],
    "DISCARD ALL": ["BEGIN", "DISCARD ALL", "ROLLBACK"],
    "RESET ALL": ["BEGIN", "RESET ALL", "ROLLBACK"],
    "empty query": ["BEGIN", "", "COMMIT"],
    "Sync": ["BEGIN", lambda c: c.sync().go(), "SELECT 1", "COMMIT"],
    "Flush": ["BEGIN", lambda c: c.flush().sync().go(), "COMMIT"],
    "extended": ["BEGIN", lambda c: c.x("SELECT 1"), lambda c: c.x("SELECT 1/0"), lambda c: c.x("COMMIT")],
    "modes": ["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "SHOW transaction_isolation", "SHOW transaction_read_only",
              "COMMIT"],
    "defaults": ["SET default_transaction_isolation = 'serializable'", "BEGIN", "SHOW transaction_isolation", "COMMIT"],
    "settings": ["SET search_path = s1", "BEGIN", "SELECT v FROM t", "SET search_path = s2", "ROLLBACK", "SELECT v FROM t"],
    "not the unnamed statement": [lambda c: c.parse("", "SELECT 7").sync().go(), "BEGIN",
                                  lambda c: c.bind().execute().sync().go(), "ROLLBACK"],
    "a statement's name": [lambda c: c.parse("n", "SELECT 7").sync().go(), "BEGIN",
                           lambda c: c.bind("", "n").execute().sync().go(), "ROLLBACK"],
    "copy": ["BEGIN", lambda c: c.copy_data("x").copy_done().sync().go(), "COPY touched FROM STDIN",
             lambda c: c.copy_data("v\n").copy_done().go(), "ROLLBACK"],
    "function call": ["BEGIN", lambda c: c.function_call(1344, []).go(), "ROLLBACK"],
    "pipelined": [lambda c: c.query("BEGIN").query("SELECT 1").query("COMMIT").go(ready=3)],
    "AND CHAIN": ["BEGIN", "COMMIT AND CHAIN", "SELECT 1", "COMMIT"],
    "BEGIN with an error of its own": ["BEGIN ISOLATION LEVEL NONSENSE", "BEGIN READ ONLY, READ WRITE", "SHOW transaction_read_only",
                                       "COMMIT"],
}


@scenario("custom GUC unset", args={name: (tuple(steps),) for name, steps in HELD.items() if name not in ("copy", "function call")})
def test_a_transaction_that_sets_nothing(s, steps):
    """Its BEGIN is held back where it would have to have a backend of its own: nobody can tell."""
    c = s.client("a")
    for step in steps:
        step(c) if callable(step) else c.q(step)
    c.q(TENANT)


# ---- what no transcript can show -------------------------------------------------------------------------------------

def seen_everywhere(pooler, pool=1):
    """All backends of the pool have seen app.tenant: so many clients at once have set it."""
    clients = [pooler.connect(pool) for _ in range(pool)]
    for c in clients:
        c.q("BEGIN; SET LOCAL app.tenant = 'x'")
    for c in clients:
        c.q("COMMIT")
        c.terminate()


def counter(pooler, name):
    return sum(int(row["value"]) for row in pooler.show("COUNTERS") if row["name"] == name)


def fresh(pooler):
    return counter(pooler, "fresh_servers")


@pytest.mark.row("custom GUC unset")
def test_tenants_cost_no_backend(start_pooler):
    """A new connection a request, tenant set first: one backend does for all."""
    pooler = start_pooler()
    seen_everywhere(pooler)
    before = fresh(pooler)
    for n in range(30):
        with pooler.connect(1) as c:
            c.q("BEGIN")
            c.q("SET LOCAL app.tenant = '%s'" % "ab"[n % 2])
            assert c.value("SELECT v FROM tenants") == "of " + "ab"[n % 2]
            c.q("COMMIT")
            assert c.value("SELECT current_setting('app.tenant')") == ""
    for n in range(10):
        with pooler.connect(1) as c:
            c.q("SET app.tenant = 'a'")
            assert c.value("SELECT v FROM tenants") == "of a"
    assert fresh(pooler) == before
    assert counter(pooler, "held_begins") == 30


EXTENDED = {
    "plainly": [lambda c: c.parse("", "BEGIN").bind().execute().sync().go()],
    "described": [lambda c: c.x("START TRANSACTION READ ONLY"), "SHOW transaction_read_only"],
    "with types": [lambda c: c.parse("", "BEGIN ISOLATION LEVEL SERIALIZABLE", [23, 25]).bind("", "", [None, "1"]).execute().sync().go()],
    "with a type": [lambda c: c.parse("", "BEGIN", [23]).bind().execute().sync().go()],
    "in pieces": [lambda c: c.parse("", "BEGIN").sync().go(), lambda c: c.bind().execute().sync().go()],
    "and more": [lambda c: c.parse("", "BEGIN").bind().execute().parse("", "SELECT 1").bind().execute().sync().go()],
    "two batches": [lambda c: c.parse("", "BEGIN").bind().execute().sync().parse("", "SELECT 1").bind().execute().sync().go(2)],
    "bound again": [lambda c: c.x("BEGIN"), lambda c: c.bind().describe().execute().sync().go()],
    "described again": [lambda c: c.x("BEGIN"), lambda c: c.describe("S", "").sync().go()],
    "another portal": [lambda c: c.parse("", "BEGIN").bind("p").execute("p").sync().go()],
    "flushed": [lambda c: c.parse("", "BEGIN").bind().execute().flush().sync().go()],
    "not BEGIN": [lambda c: c.parse("", "BEGIN; SELECT 1").bind().execute().sync().go(), "BEGIN"],
    "a value too many": [lambda c: c.parse("", "BEGIN").bind("", "", ["x"]).execute().sync().go(), "BEGIN"],
    "rows": [lambda c: c.parse("", "BEGIN").bind().execute("", 5).sync().go()],
    "twice": [lambda c: c.x("BEGIN"), lambda c: c.x("BEGIN")],
    "after an error": [lambda c: c.x("BEGIN"), "SELECT 1/0", lambda c: c.x("BEGIN")],
}


@scenario("custom GUC unset", args={name: (tuple(steps),) for name, steps in EXTENDED.items()})
def test_begin_by_the_extended_protocol(s, steps):
    _script(steps + ("SELECT 2", TENANT, lambda c: c.x("COMMIT")))(s)
    c = s.client("tenant")
    for step in steps:
        step(c) if callable(step) else c.q(step)
    c.x("SET LOCAL app.tenant = 'b'")
    c.x(TENANT)
    c.x("COMMIT")
    c.x(TENANT)


@pytest.mark.row("custom GUC unset")
def test_begin_by_the_extended_protocol_costs_no_backend(start_pooler):
    pooler = start_pooler()
    seen_everywhere(pooler)
    before = fresh(pooler)
    for n in range(10):
        with pooler.connect(1) as c:
            c.x("BEGIN")
            c.x("SET LOCAL app.tenant = 'a'")
            assert c.value("SELECT v FROM tenants") == "of a"
            c.x("COMMIT")
    assert fresh(pooler) == before and counter(pooler, "held_begins") == 10


@pytest.mark.row("custom GUC unset")
def test_fresh_backends_come_at_most_so_fast(start_pooler):
    """Two kinds of clients take turns on one backend: each turn of the one that never set it costs a backend, ten at once
    and then so many a second."""
    pooler = start_pooler({"fresh_server_rate": 20})
    begun = time.monotonic()
    for _ in range(30):
        with pooler.connect(1) as c:
            assert c.value("SELECT current_setting('app.tenant', true)") is None
            c.q("SET app.tenant = 'x'")
    took = time.monotonic() - begun
    opened = fresh(pooler)
    assert 29 <= opened <= 30
    assert took >= (opened - 10 - 1) / 20, "%d in %.2fs" % (opened, took)


@pytest.mark.row("custom GUC unset")
def test_limits_hold_while_backends_are_exchanged(start_pooler, cluster):
    """Clients that set it and clients that never did on a full pool: all are served, and there is never one backend more."""
    pooler = start_pooler()
    wrong, served = [], [0] * 6

    def run(me):
        try:
            for n in range(25):
                with pooler.connect(2) as c:
                    if me % 2:
                        c.q("BEGIN")
                        c.q("SET LOCAL app.tenant = 'a'")
                        got, wanted = c.value("SELECT v FROM tenants"), "of a"
                        c.q("COMMIT")
                    else:
                        got, wanted = c.value("SELECT current_setting('app.tenant', true)"), None
                    if got != wanted:
                        wrong.append((me, n, got))
                    served[me] += 1
        except Exception as why:
            wrong.append((me, repr(why)))

    with Watch(cluster) as watch:
        threads = [threading.Thread(target=run, args=(me,)) for me in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
    assert served == [25] * 6
    assert watch.most("app") <= 2


@pytest.mark.row("custom GUC unset")
def test_who_waits_for_a_fresh_backend_is_not_passed_over_for_ever(start_pooler):
    """One client never set it; others keep the only backend busy and would do with it as it is."""
    pooler = start_pooler()
    seen_everywhere(pooler)
    over = threading.Event()

    def press():
        with pooler.connect(1) as c:
            c.q("SET app.tenant = 'a'")
            while not over.is_set():
                c.q("SELECT 1")

    threads = [threading.Thread(target=press) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        with pooler.connect(1) as c:
            assert c.value("SELECT current_setting('app.tenant', true)") is None
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.row("custom GUC unset")
def test_a_transaction_cancelled_before_it_had_a_backend_has_failed(start_pooler):
    pooler = start_pooler()
    seen_everywhere(pooler)
    with pooler.connect(1) as holder, Seen(pooler.address, "app", "p1") as c:
        holder.q("SET app.tenant = 'x'")
        holder.q("BEGIN")
        assert c.q("BEGIN")[-1] == ("ReadyForQuery", "T")
        c.query("SELECT 1").send()
        waiting(pooler, 1, "p1")
        c.cancel()
        events = c.go()
        assert refusal(events)[1] == "57014" and events[-1] == ("ReadyForQuery", "E")
        holder.q("COMMIT")
        events = c.q("SELECT 1")
        assert refusal(events)[1] == "25P02" and events[-1] == ("ReadyForQuery", "E")
        assert c.q("ROLLBACK")[-2:] == [("CommandComplete", "ROLLBACK"), ("ReadyForQuery", "I")]
        assert c.value("SELECT current_setting('app.tenant', true)") is None


@pytest.mark.row("custom GUC unset")
def test_pipelined_behind_the_startup_packet(start_pooler):
    """What is sent before the login is done is not run on the backend that the login needed."""
    pooler = start_pooler()
    for n in range(3):
        seen_everywhere(pooler)
        c = rawpg.Conn(pooler.address, "app", "p1", login=False)
        with c:
            body = b"\0\3\0\0" + b"".join(rawpg.cstr(v) for v in ("user", "app", "database", "p1", "application_name", "n%d" % n)) + b"\0"
            c.raw((len(body) + 4).to_bytes(4, "big") + body + rawpg.message("Q", rawpg.cstr("SELECT current_setting('app.tenant', true)")))
            events = c.until("ReadyForQuery") + c.until("ReadyForQuery")
            assert [e for e in events if e[0] == "DataRow"] == [("DataRow", None)]


@pytest.mark.row("custom GUC unset")
def test_by_rule_who_never_set_it_may_read_what_others_have_left(start_pooler):
    """state_custom_unset = ignore, for a database and a user: no other backend is asked for; who keeps the rule still reads NULL."""
    pooler = start_pooler(databases={"loose": "pool_size=1 user=app state_custom_unset=ignore", "one": "pool_size=1 user=app"},
                          users={"other": "state_custom_unset=ignore"})
    for database, user in (("loose", "app"), ("one", "other")):
        with pooler.connect(database=database, user=user) as a, pooler.connect(database=database, user=user) as b:
            a.q("SET app.tenant = 'a'")
            served = a.value("SELECT pg_backend_pid() || ''"), counter(pooler, "fresh_servers")
            seen = [b.value("SELECT current_setting('app.tenant', true)") for _ in range(3)]
            assert seen == [""] * 3
            a.q("SELECT 1")
            b.q("BEGIN")
            assert b.value("SELECT current_setting('app.tenant', true)") == ""
            b.q("COMMIT")
            assert a.value("SHOW app.tenant") == "a"  # values are carried as ever
            assert (a.value("SELECT pg_backend_pid() || ''"), counter(pooler, "fresh_servers")) == served
    with pooler.connect(database="one", user="app") as c:
        assert c.value("SELECT current_setting('app.tenant', true)") is None


@pytest.mark.row("custom GUC unset")
def test_that_rule_changes_with_reload(start_pooler):
    pooler = start_pooler(databases={"d": "pool_size=1"})
    with pooler.connect(database="d") as a, pooler.connect(database="d") as b:
        a.q("SET app.tenant = 'a'")
        assert b.value("SELECT current_setting('app.tenant', true)") is None
        pooler.options["state_custom_unset"] = "ignore"
        pooler.write()
        with pooler.console() as console:
            console.q("RELOAD")
        a.q("SELECT 1")
        assert b.value("SELECT current_setting('app.tenant', true)") == ""


@scenario("protocol")
def test_the_portal_of_a_begin_is_there(s):
    """It waits for what comes next, and so does its portal."""
    a = s.client("a")
    for text in ("BEGIN", "START TRANSACTION READ ONLY"):
        a.x(text)
        a.execute().sync().go()
        a.q("ROLLBACK")
        a.x(text)
        a.bind().execute().sync().go()
        a.q("ROLLBACK")
