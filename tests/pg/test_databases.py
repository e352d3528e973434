"""DROP, ALTER and CREATE DATABASE: pgporter's own idle connections are not in the way, those of clients are."""

import threading
import time

import pytest

import servers

LONG = 15  # PostgreSQL itself waits five seconds for others to leave

pytestmark = [pytest.mark.row("databases"),
              pytest.mark.skipif(servers.POOLER != "pgporter", reason="about pgporter's own idle connections")]


@pytest.fixture
def victim(cluster):
    """A database of that name, on the server, and no trace of it afterwards."""
    with cluster.admin("postgres") as conn:
        conn.value("CREATE DATABASE victim")
    yield "victim"
    with cluster.admin("postgres") as conn:
        for name in ("victim", "other_name", "copied"):
            conn.value("DROP DATABASE IF EXISTS %s WITH (FORCE)" % name)


@pytest.fixture
def front(start_pooler, cluster, victim):
    """Several entries lead to the victim, one of them by another way to the same server."""
    return start_pooler({"default_pool_size": 3}, databases={
        "victim": "dbname=victim", "alias": "dbname=victim", "by_socket": "host=%s port=%d dbname=victim" % (
            cluster.sockets, cluster.port),
        "forced": "dbname=victim user=other", "template1": "dbname=template1", "other_name": "dbname=other_name"})


def fill(front, *entries):
    """Leaves idle connections in each, two of them at once."""
    for entry in entries:
        for user in ("app", "boss"):
            with front.connect(database=entry, user=user) as a, front.connect(database=entry, user=user) as b:
                a.q("BEGIN")
                assert b.value("SELECT 1") == "1"
                a.q("COMMIT")


def connected(cluster, database="victim"):
    with cluster.admin("postgres") as conn:
        return int(conn.value("SELECT count(*) FROM pg_stat_activity WHERE datname = '%s'" % database))


ALL = ("victim", "alias", "by_socket", "forced")


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("sql, tag", [
    ("DROP DATABASE victim", "DROP DATABASE"),
    ("/* a comment */ drop database if exists \"victim\"", "DROP DATABASE"),
    ("ALTER DATABASE victim RENAME TO other_name", "ALTER DATABASE"),
    ("CREATE DATABASE copied TEMPLATE victim", "CREATE DATABASE"),
])
def test_idle_connections_are_not_in_the_way(front, cluster, sql, tag, extended):
    fill(front, *ALL)
    assert connected(cluster) >= 6
    with front.connect(user="boss", deadline=LONG) as boss:
        began = time.monotonic()
        events = boss.x(sql) if extended else boss.q(sql)
        assert ("CommandComplete", tag) in events, events
        assert time.monotonic() - began < 4, "PostgreSQL had to wait for somebody"
        assert boss.value("SELECT 1") == "1"


def test_a_tablespace_is_changed(front, cluster):
    fill(front, "victim")
    with front.connect(user="boss", deadline=LONG) as boss:
        boss.value("SET allow_in_place_tablespaces = on")
        boss.value("CREATE TABLESPACE elsewhere LOCATION ''")
        began = time.monotonic()
        assert ("CommandComplete", "ALTER DATABASE") in boss.q("ALTER DATABASE victim SET TABLESPACE elsewhere")
        assert time.monotonic() - began < 4
        boss.value("DROP DATABASE victim")
        boss.value("DROP TABLESPACE elsewhere")


def test_what_template1_is_copied_for(front, cluster):
    fill(front, "template1")
    assert connected(cluster, "template1")
    with front.connect(user="boss", deadline=LONG) as boss:
        began = time.monotonic()
        assert ("CommandComplete", "CREATE DATABASE") in boss.q("CREATE DATABASE copied")
        assert time.monotonic() - began < 4


def test_a_copy_of_ones_own_database(front, cluster):
    """The one's own connection is not in PostgreSQL's way, the others of its pool are."""
    fill(front, "victim")
    with front.connect(database="victim", user="boss", deadline=LONG) as boss:
        assert ("CommandComplete", "CREATE DATABASE") in boss.q("CREATE DATABASE copied TEMPLATE victim")
        assert boss.value("SELECT current_database()") == "victim"


def test_who_is_in_a_transaction_there_is_in_the_way_as_direct(front, cluster):
    fill(front, *ALL)
    with front.connect(user="boss", deadline=LONG) as boss, cluster.admin("postgres") as direct:
        with front.connect(database="victim") as a:
            a.q("BEGIN")
            told = boss.q("DROP DATABASE victim")
            assert connected(cluster) == 1
            direct.deadline = LONG
            assert told == direct.q("DROP DATABASE victim")
            assert a.value("SELECT 1") == "1"
            a.q("COMMIT")
        assert ("CommandComplete", "DROP DATABASE") in boss.q("DROP DATABASE victim")


def test_a_refused_statement_leaves_the_database_in_use(front):
    fill(front, "victim")
    with front.connect(user="app") as app, front.connect(database="victim") as a:
        assert app.q("DROP DATABASE victim")[0][2] == "C=42501"
        assert a.value("SELECT 1") == "1"


def test_nobody_gets_in_while_it_is_dropped(front, cluster):
    """A client that asks meanwhile waits, and is then told that there is no such database."""
    fill(front, "victim", "alias")
    with front.connect(user="boss", deadline=LONG) as boss, front.connect(database="alias", deadline=LONG) as late, \
            front.connect(database="victim") as holds, cluster.admin("postgres") as direct:
        holds.q("BEGIN")
        boss.query("DROP DATABASE victim").send()
        while direct.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DROP DATABASE%'") != "1":
            pass
        late.query("SELECT 1").send()
        with cluster.admin("postgres") as keeper:
            keeper.value("SELECT 1")
        holds.q("COMMIT")
        assert ("CommandComplete", "DROP DATABASE") in boss.go()
        told = late.read_eof()
        assert told[0][0] == "ErrorResponse" and "C=3D000" in told[0], told


def test_clients_of_a_dropped_database_are_told_by_postgresql(front, cluster):
    fill(front, "victim")
    with front.connect(database="victim") as before, front.connect(user="boss", deadline=LONG) as boss:
        before.q("SET my.a = 'x'")
        boss.value("DROP DATABASE victim")
        with front.connect(database="victim") as after:
            assert after.closed
        told = before.query("SELECT 1").send().read_eof()
        assert told[0][:3] == ("ErrorResponse", "V=FATAL", "C=3D000"), told
        assert "M=database \"victim\" does not exist" in told[0]
        boss.value("CREATE DATABASE victim")
        with front.connect(database="victim") as again:
            assert again.value("SELECT current_database()") == "victim"


def test_what_was_there_before_is_another_database_afterwards(front, cluster):
    """Django's test runner: drop, create, connect, and again."""
    for n in range(3):
        with front.connect(user="boss", deadline=LONG) as boss:
            boss.value("DROP DATABASE IF EXISTS victim")
            boss.value("CREATE DATABASE victim")
        with front.connect(database="victim", user="boss") as a, front.connect(database="alias", user="boss") as b:
            a.value("CREATE TABLE once (n int)")
            a.value("INSERT INTO once VALUES (%d)" % n)
            assert b.value("SELECT n FROM once") == str(n)


def test_two_drop_at_once(front, cluster):
    fill(front, "victim")
    with front.connect(user="boss", deadline=LONG) as a, front.connect(user="boss", deadline=LONG) as b:
        a.query("DROP DATABASE IF EXISTS victim").send()
        b.query("DROP DATABASE IF EXISTS victim").send()
        assert ("CommandComplete", "DROP DATABASE") in a.go()
        assert ("CommandComplete", "DROP DATABASE") in b.go()


def test_who_leaves_before_it_ran_holds_nobody_up(front):
    for _ in range(5):
        fill(front, "victim")
        boss = front.connect(user="boss")
        boss.query("DROP DATABASE no_such_database; SELECT 1").send()
        boss.drop()
        with front.connect(database="victim") as a:
            assert a.value("SELECT 1") == "1"


def test_a_rename_taken_back(front, cluster):
    fill(front, "victim")
    with front.connect(user="boss", deadline=LONG) as boss:
        boss.q("BEGIN")
        assert ("CommandComplete", "ALTER DATABASE") in boss.q("ALTER DATABASE victim RENAME TO other_name")
        boss.q("ROLLBACK")
        with front.connect(database="victim") as a:
            assert a.value("SELECT current_database()") == "victim"


def test_others_keep_their_connections(front, cluster):
    fill(front, "victim")
    with front.connect(pool=1) as other:
        pid = other.value("SELECT pg_backend_pid()")
        with front.connect(user="boss", deadline=LONG) as boss:
            boss.value("DROP DATABASE victim")
        assert other.value("SELECT pg_backend_pid()") == pid


def test_a_login_that_has_failed_for_long_is_tried_again(start_pooler, cluster):
    """What was found out seconds ago is no reason to refuse for ever."""
    front = start_pooler(databases={"late": "dbname=late"})
    until = time.monotonic() + 7
    while time.monotonic() < until:
        with front.connect(database="late", user="boss") as conn:
            assert conn.closed
        threading.Event().wait(0.2)
    try:
        with cluster.admin("postgres") as direct:
            direct.value("CREATE DATABASE late")
        until = time.monotonic() + 3
        while True:
            with front.connect(database="late", user="boss") as conn:
                if not conn.closed:
                    break
            assert time.monotonic() < until, "it is never tried again"
    finally:
        with cluster.admin("postgres") as direct:
            direct.value("DROP DATABASE IF EXISTS late WITH (FORCE)")


def test_with_settings_of_ones_own(front):
    """They are put on the connection first, and nothing is under way while the database is left."""
    fill(front, "victim")
    with front.connect(pool=1, user="boss", deadline=LONG) as boss, front.connect(pool=1, user="boss") as other:
        boss.q("SET work_mem = '5MB'")
        other.q("SET work_mem = '6MB'")
        assert ("CommandComplete", "DROP DATABASE") in boss.q("DROP DATABASE victim")
        other.q("SET work_mem = '7MB'")
        assert ("CommandComplete", "CREATE DATABASE") in boss.x("CREATE DATABASE victim")
        assert boss.value("SHOW work_mem") == "5MB"
        boss.q("SET ROLE r1")
        other.q("SET work_mem = '8MB'")
        other.q("DROP ROLE IF EXISTS nobody_at_all")
        assert boss.q("DROP DATABASE victim")[0][2] == "C=42501"
