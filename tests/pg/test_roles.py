"""SET ROLE, SET SESSION AUTHORIZATION: carried, and never leaking."""

import pytest

import servers

from differential import scenario, scripts

PROBE = ("SELECT current_user, session_user, current_setting('role')", "SHOW is_superuser")

test_role = scripts("roles", {
    "SET ROLE": ["SET ROLE r1"],
    "quoted": ["SET ROLE 'r1'", "SET ROLE \"r2\""],
    "SESSION": ["SET SESSION ROLE r1"],
    "NONE": ["SET ROLE r1", "SET ROLE NONE"],
    "RESET": ["SET ROLE r1", "RESET ROLE"],
    "twice": ["SET ROLE r1", "SET ROLE r2"],
    "itself": ["SET ROLE app"],
    "unknown": ["SET ROLE r1", "SET ROLE not_there"],
    "not allowed": ["SET ROLE postgres"],
    "in a transaction": ["BEGIN", "SET ROLE r1", "SELECT current_user", "COMMIT"],
    "rolled back": ["SET ROLE r2", "BEGIN", "SET ROLE r1", "SELECT current_user", "ROLLBACK"],
    "savepoint": ["BEGIN", "SET ROLE r1", "SAVEPOINT a", "SET ROLE r2", "ROLLBACK TO a", "COMMIT"],
    "failed": ["SET ROLE r2", "BEGIN", "SET ROLE r1", "SELECT 1/0", "COMMIT"],
    "LOCAL": ["SET ROLE r2", "BEGIN", "SET LOCAL ROLE r1", "SELECT current_user", "COMMIT"],
    "RESET ALL leaves it": ["SET ROLE r1", "RESET ALL"],
    "DISCARD ALL ends it": ["SET ROLE r1", "DISCARD ALL"],
    "rights go with it": ["CREATE TABLE scratch.mine (v int)", "REVOKE ALL ON scratch.mine FROM PUBLIC", "SET ROLE r1",
                          "SELECT * FROM scratch.mine", "RESET ROLE", "SELECT * FROM scratch.mine"],
    "owns what it makes": ["SET ROLE r1", "CREATE TABLE scratch.made (v int)", "RESET ROLE",
                           "SELECT tableowner FROM pg_tables WHERE tablename = 'made'"],
    "with settings": ["SET search_path = s1", "SET ROLE r1", "SET search_path = s2", "RESET ROLE", "SHOW search_path"],
    "by set_config": ["SELECT set_config('role', 'r3', false)"],
    "by SET role =": ["SET role = 'r3'"],
    "$user in the search_path": ["CREATE SCHEMA r1", "CREATE TABLE r1.u AS SELECT 'of r1'::text AS v",
                                 "GRANT ALL ON SCHEMA r1 TO r1", "GRANT ALL ON r1.u TO r1", "SET ROLE r1",
                                 "SELECT v FROM u", "RESET ROLE", "SELECT v FROM u", "DROP SCHEMA r1 CASCADE"],
    "authorization to oneself": ["SET SESSION AUTHORIZATION app", "SET ROLE r1", "RESET SESSION AUTHORIZATION"],
    "authorization refused": ["SET SESSION AUTHORIZATION r1"],
    "many in one": ["SET ROLE r1; SELECT current_user; SET ROLE r2; SELECT 1/0"],
}, PROBE)

test_authorization = scripts("roles", {
    "SET SESSION AUTHORIZATION": ["SET SESSION AUTHORIZATION app"],
    "DEFAULT": ["SET SESSION AUTHORIZATION app", "SET SESSION AUTHORIZATION DEFAULT"],
    "RESET": ["SET SESSION AUTHORIZATION app", "RESET SESSION AUTHORIZATION"],
    "then role": ["SET SESSION AUTHORIZATION app", "SET ROLE r1"],
    "resets the role": ["SET ROLE r1", "SET SESSION AUTHORIZATION app"],
    "rolled back": ["BEGIN", "SET SESSION AUTHORIZATION app", "SELECT session_user", "ROLLBACK"],
    "a value it may no longer set": ["SET log_min_duration_statement = 4321", "SET SESSION AUTHORIZATION app",
                                     "SHOW log_min_duration_statement", "SET log_min_duration_statement = 1",
                                     "RESET SESSION AUTHORIZATION", "SHOW log_min_duration_statement"],
    "a superuser's value under a role": ["SET log_min_duration_statement = 4321", "SET ROLE r1",
                                         "SHOW log_min_duration_statement"],
    "ALTER ROLE meanwhile": ["SET SESSION AUTHORIZATION other", "SELECT current_user"],
}, PROBE, user="boss")


@scenario("roles", need=2)
def test_two_clients_two_roles(s):
    a, b, c = s.client("a"), s.client("b"), s.client("c")
    a.q("SET ROLE r1")
    b.q("SET ROLE r2")
    for _ in range(3):
        for client in (a, b, c):
            client.q("SELECT current_user")
    a.q("BEGIN")
    a.q("SELECT current_user")
    c.q("SELECT current_user")
    a.q("ROLLBACK")


@scenario("roles")
def test_a_role_that_is_gone(s):
    """A client whose role can't be restored gets an error; nothing runs under another one."""
    with s.admin() as admin:
        admin.q("DROP ROLE IF EXISTS shortlived")
        admin.q("CREATE ROLE shortlived; GRANT shortlived TO app")
    a, b = s.client("a"), s.client("b")
    a.q("SET ROLE shortlived")
    a.q("SELECT current_user")
    a.q("RESET ROLE")
    with s.admin() as admin:
        admin.value("DROP ROLE shortlived")
    a.q("SELECT current_user")
    a.q("SET ROLE shortlived")
    b.q("SELECT current_user")


@pytest.mark.row("roles")
def test_nothing_runs_when_the_role_cannot_be_restored(cluster, pooler):
    """Directly PostgreSQL lets such a client go on; on another backend it can't, and must not run as anyone else."""
    if pooler.kind == "direct":
        pytest.skip("nothing has to be restored here")
    with cluster.admin() as admin:
        admin.q("DROP ROLE IF EXISTS goes")
        admin.q("CREATE ROLE goes; GRANT goes TO app")
        with pooler.connect(1) as a, pooler.connect(1) as b:
            a.value("SET ROLE goes")
            b.value("SET ROLE r2")
            admin.value("DROP ROLE goes")
            events = a.q("SELECT current_user")
            rows = [e for e in events if e[0] == "DataRow"]
            assert not rows, rows
            assert any(e[0] == "ErrorResponse" for e in events), events
            assert b.value("SELECT current_user") == "r2"


@pytest.fixture
def mortal(cluster):
    """A role that may be dropped, and one that may log in."""
    with cluster.admin() as conn:
        conn.value("CREATE ROLE mortal; GRANT mortal TO app; CREATE ROLE mortal_login LOGIN SUPERUSER")
    yield conn
    with cluster.admin() as conn:
        conn.q("SET client_min_messages = error; DROP ROLE IF EXISTS mortal, mortal_login, renamed, renamed_login")


ENDS = {"dropped": "DROP ROLE mortal", "renamed": "ALTER ROLE mortal RENAME TO renamed",
        "dropped in a transaction": "BEGIN; DROP ROLE mortal; COMMIT"}


@pytest.mark.row("roles")
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_role_that_is_dropped_is_never_another_of_that_name(pooler, mortal, end):
    """Direct, current_user is an error then. Here every statement is, until the client gives the role up."""
    if servers.POOLER == "direct":
        pytest.skip("a direct session keeps the number of its role")
    with pooler.connect(1) as a, pooler.connect(1) as b, pooler.connect(2, user="boss") as boss:
        a.value("SET ROLE mortal")
        b.value("SELECT 1")
        boss.q(end)
        for _ in range(2):
            told = a.q("SELECT current_user")
            assert told[0][:3] == ("ErrorResponse", "V=ERROR", "C=22023"), told
            assert "was dropped or renamed while this session had it" in told[0][3]
            assert b.value("SELECT current_user") == "app"
            boss.q("CREATE ROLE mortal; GRANT mortal TO app")
        b.value("SET ROLE mortal")
        assert b.value("SELECT current_user") == "mortal"
        assert a.q("SELECT current_user")[0][0] == "ErrorResponse"
        assert b.value("SELECT current_user") == "mortal"
        a.value("RESET ROLE")
        assert a.value("SELECT current_user") == "app"
        a.value("SET ROLE mortal")
        assert a.value("SELECT current_user") == "mortal"


@pytest.mark.row("roles")
def test_a_drop_that_is_rolled_back_ends_nothing(pooler, mortal):
    with pooler.connect(1) as a, pooler.connect(2, user="boss") as boss:
        a.value("SET ROLE mortal")
        for sql in ("BEGIN; DROP ROLE mortal; ROLLBACK", "BEGIN; DROP ROLE mortal; SELECT 1/0; COMMIT", "DROP ROLE mortal; SELECT 1/0"):
            boss.q(sql)
            boss.q("ROLLBACK")
            assert a.value("SELECT current_user") == "mortal"
        boss.q("BEGIN")
        boss.q("DROP ROLE mortal")
        boss.q("ROLLBACK")
        assert a.value("SELECT current_user") == "mortal"


@scenario("roles")
def test_a_role_dropped_in_the_middle_of_a_transaction(s):
    """Who is in a transaction goes on as PostgreSQL does; the number of the role differs from one run to the next."""
    a, boss = s.client("a"), s.client("boss", user="boss")
    boss.q("CREATE ROLE mortal; GRANT mortal TO app")
    a.q("BEGIN")
    a.q("SET LOCAL ROLE mortal")
    boss.q("DROP ROLE mortal")
    a.q("SELECT 1")
    a.query("SELECT length(current_user) > 0").send()
    kinds = []
    while kinds[-1:] != ["Z"]:
        kinds.append(a.raw_message()[0])
    a.owed = False
    a.status = "E"
    s.tell([kind for kind in kinds if kind != "S"])  # when PostgreSQL 13 reports is another matter (differential.Actor)
    a.q("ROLLBACK")
    a.q("SELECT current_user")


@pytest.mark.row("roles")
@pytest.mark.parametrize("again", [False, True], ids=["gone", "made again"])
def test_a_login_role_that_is_dropped(pooler, mortal, again):
    """Its sessions get no connection of another role of that name; its name does not log in."""
    if servers.POOLER == "direct":
        pytest.skip("a direct session keeps the number of its role")
    pooler.cluster.space.write(pooler.name + "/userlist.txt", open(pooler.home + "/userlist.txt").read() + '"mortal_login" ""\n')
    with pooler.console() as console:
        console.q("RELOAD")
    with pooler.cluster.admin() as direct:
        hba = direct.value("SHOW hba_file")
        kept = open(hba).read()
        open(hba, "a").write("host all mortal_login 127.0.0.1/32 trust\n")
        direct.value("SELECT pg_reload_conf()")
    try:
        with pooler.connect(2, user="mortal_login") as a, pooler.connect(2, user="mortal_login") as idle, \
                pooler.connect(2, user="boss") as boss:
            a.q("BEGIN")
            assert idle.value("SELECT current_user") == "mortal_login"
            boss.q("DROP ROLE mortal_login")
            assert a.value("SELECT 1") == "1"
            if again:
                boss.q("CREATE ROLE mortal_login LOGIN")
            told = idle.query("SELECT 1").send().read_eof()
            assert told[0][:4] == ("ErrorResponse", "V=FATAL", "C=28000", "M=role \"mortal_login\" does not exist"), told
            a.q("COMMIT")
            assert a.query("SELECT 1").send().read_eof()[0][1:3] == ("V=FATAL", "C=28000")
            with pooler.connect(2, user="mortal_login") as late:
                assert late.closed != again
                if again:
                    assert late.value("SELECT current_setting('is_superuser')") == "off"
    finally:
        open(hba, "w").write(kept)
        with pooler.cluster.admin() as direct:
            direct.value("SELECT pg_reload_conf()")


@scenario("roles")
def test_is_superuser_is_told_of_the_clients_own_role(s):
    """A SET ROLE that fails, on a backend that has not taken the client's role yet, changes nothing."""
    a = s.client("a", user="boss")
    a.q("SET ROLE r2")
    a.q("SET ROLE nobody_there")
    a.q("SHOW is_superuser")
    a.q("SET SESSION AUTHORIZATION nobody_there")
    a.q("SELECT current_user")
    a.q("RESET ROLE")
    a.q("SET SESSION AUTHORIZATION other")
    a.q("SET ROLE nobody_there")
    a.q("SET SESSION AUTHORIZATION nobody_there")
    a.q("SELECT current_user, session_user")
    a.q("DISCARD ALL")
    a.q("SELECT current_user, session_user")
