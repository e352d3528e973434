"""What the database line gives every client: connect_query, client_encoding, datestyle, timezone. It is the base under
the client's own settings: what RESET goes back to where the client's startup packet says nothing of that name."""

import pytest

import servers

pytestmark = pytest.mark.skipif(servers.POOLER != "pgporter", reason="about pgporter's database lines")

QUERY = ("connect_query='SET work_mem = ''3MB''; SET my.a = ''greeted''; SET search_path = s2, s1; "
         "SELECT set_config(''my.b'', ''also'', false); SET statement_timeout = ''50s'''")
LINES = {"greeted": QUERY, "one": "pool_size=1 " + QUERY, "by_role": "pool_size=1 connect_query='SET ROLE r2; SET TimeZone = ''Asia/Tokyo'''",
         "line": "pool_size=1 client_encoding=LATIN1 datestyle='SQL, DMY' timezone=Asia/Tokyo"}
BASE = {"work_mem": "3MB", "my.a": "greeted", "my.b": "also", "search_path": "s2, s1", "statement_timeout": "50s"}
OTHER = {"work_mem": "9MB", "my.a": "own", "my.b": "own", "search_path": "s3", "statement_timeout": "7s"}


@pytest.fixture
def front(start_pooler):
    return start_pooler(databases=LINES)


def shown(client, names=BASE):
    return {name: client.value("SHOW " + name) for name in names}


@pytest.mark.parametrize("way", ["RESET", "RESET ALL", "SET TO DEFAULT", "DISCARD ALL", "ROLLBACK"])
@pytest.mark.parametrize("database", ["greeted", "one"])
def test_reset_goes_back_to_it(front, database, way):
    with front.connect(database=database) as a, front.connect(database=database) as b:
        for client in (a, b, a):
            assert shown(client) == BASE
            if way == "ROLLBACK":
                client.q("BEGIN")
            for name, value in OTHER.items():
                client.q("SET %s = '%s'" % (name, value))
            assert shown(client) == OTHER
            if way == "RESET":
                for name in BASE:
                    client.q("RESET " + name)
            elif way == "SET TO DEFAULT":
                for name in BASE:
                    client.q("SET %s TO DEFAULT" % name)
            else:
                client.q(way)
            assert shown(client) == BASE
            assert client.value("SELECT v FROM t") == "in s2"
        b.q("SET work_mem = '8MB'")
        assert shown(a) == BASE
        with front.connect(database=database) as c:
            assert shown(c) == BASE


def test_what_the_client_asks_for_at_its_start_beats_it(front):
    with front.connect(database="one", params={"work_mem": "6MB", "options": "-c my.a=started"}) as a, \
            front.connect(database="one") as b:
        for _ in range(2):
            assert shown(a) == {**BASE, "work_mem": "6MB", "my.a": "started"}
            a.q("SET work_mem = '7MB'; SET my.b = 'x'")
            a.q("RESET work_mem; RESET my.b")
            assert shown(b) == BASE
        assert shown(a) == {**BASE, "work_mem": "6MB", "my.a": "started"}


def test_a_role(front):
    with front.connect(database="by_role") as a, front.connect(database="by_role") as b:
        for client in (a, b):
            assert client.parameters["TimeZone"] == "Asia/Tokyo"
            assert client.value("SELECT current_user") == "r2"
            client.q("SET ROLE r1; SET TimeZone = 'UTC'")
            assert client.value("SELECT current_user") == "r1"
        b.q("DISCARD ALL")
        assert b.value("SELECT current_user") == "r2"
        assert b.value("SHOW TimeZone") == "Asia/Tokyo"
        assert a.value("SELECT current_user") == "r1"


def test_the_keys_of_the_line(front):
    names = ("client_encoding", "DateStyle", "TimeZone")
    want = {"client_encoding": "LATIN1", "DateStyle": "SQL, DMY", "TimeZone": "Asia/Tokyo"}
    with front.connect(database="line") as a, front.connect(database="line", params={"TimeZone": "UTC"}) as b:
        for _ in range(2):
            assert shown(a, names) == want
            assert {name: a.parameters[name] for name in names} == want
            assert shown(b, names) == {**want, "TimeZone": "UTC"}
            for client in (a, b):
                client.q("SET client_encoding = UTF8; SET DateStyle = German; SET TimeZone = 'Europe/Berlin'")
                client.q("RESET client_encoding; RESET DateStyle; RESET TimeZone")


def test_a_statement_prepared_under_it(front):
    with front.connect(database="one") as a, front.connect(database="one") as b:
        a.parse("p", "SELECT v FROM t").sync().go()
        b.q("SET search_path = s5")
        b.parse("p", "SELECT v FROM t").sync().go()
        assert ("DataRow", "in s2") in a.bind("", "p").execute().sync().go()
        assert ("DataRow", "in s5") in b.bind("", "p").execute().sync().go()


def test_a_connect_query_that_fails_is_no_reason_to_refuse(start_pooler):
    front = start_pooler(databases={"broken": "connect_query='SET no_such = 1'"})
    with front.connect(database="broken") as a:
        assert a.value("SELECT 1") == "1"
