"""A real driver: psycopg, as an application uses it."""

import time

import psycopg
import pytest

import rawpg

ROW = pytest.mark.row


def connect(pooler, pool=2, **more):
    return psycopg.connect(host="127.0.0.1", port=pooler.port, user="app", dbname=pooler.database(pool),
                           connect_timeout=10, sslmode="disable", gssencmode="disable", **more)


@ROW("prepared statements")
def test_prepares_from_the_first_time_on(pooler):
    with connect(pooler, 1, autocommit=True, prepare_threshold=0) as a, \
            connect(pooler, 1, autocommit=True, prepare_threshold=0) as b:
        for n in range(5):
            assert a.execute("SELECT %s::int + 1, 'a'", [n]).fetchone() == (n + 1, "a")
            assert b.execute("SELECT %s::int + 2, 'b'", [n]).fetchone() == (n + 2, "b")


@ROW("WITH HOLD cursors")
def test_server_side_cursor_in_autocommit(pooler):
    with connect(pooler, 2, autocommit=True) as a, connect(pooler, 2, autocommit=True) as b:
        with a.cursor("big", withhold=True) as cursor:
            cursor.execute("SELECT n FROM nums ORDER BY n")
            rows = cursor.fetchmany(10)
            for _ in range(5):
                b.execute("SELECT 1")
                rows += cursor.fetchmany(10)
        assert [row[0] for row in rows] == list(range(1, 61))


@ROW("startup parameters")
def test_options_and_time_zone(pooler):
    with connect(pooler, 1, autocommit=True, options="-c search_path=s2 -c TimeZone=Asia/Tokyo") as a, \
            connect(pooler, 1, autocommit=True, options="-c search_path=s3") as b:
        for _ in range(3):
            assert a.execute("SELECT v FROM t").fetchone() == ("in s2",)
            assert b.execute("SELECT v FROM t").fetchone() == ("in s3",)
        assert a.info.timezone.key == "Asia/Tokyo"
        assert a.info.parameter_status("TimeZone") == "Asia/Tokyo"


@ROW("SET in transactions")
def test_transaction_blocks(pooler):
    with connect(pooler, 1) as a:
        a.execute("SET search_path = s1")
        a.commit()
        with pytest.raises(psycopg.errors.DivisionByZero):
            with a.transaction():
                a.execute("SET search_path = s2")
                a.execute("SELECT 1/0")
        a.rollback()
        with connect(pooler, 1, autocommit=True) as b:
            b.execute("SET search_path = s5")
        assert a.execute("SELECT v FROM t").fetchone() == ("in s1",)


@ROW("protocol")
def test_pipeline_mode(pooler):
    with connect(pooler, 1, autocommit=True) as a, a.pipeline():
        a.execute("SET search_path = s1")
        cursors = [a.execute("SELECT v, %s::int FROM t", [n]) for n in range(20)]
        assert [cursor.fetchone() for cursor in cursors] == [("in s1", n) for n in range(20)]


@ROW("protocol")
def test_copy(pooler):
    with connect(pooler, 1, autocommit=True) as a:
        with a.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS scratch_copy; CREATE TABLE scratch_copy (n int, v text)")
            with cursor.copy("COPY scratch_copy FROM STDIN") as copy:
                for n in range(1000):
                    copy.write_row((n, "row %d" % n))
            with cursor.copy("COPY scratch_copy TO STDOUT") as copy:
                assert sum(1 for _ in copy.rows()) == 1000
            cursor.execute("DROP TABLE scratch_copy")


@ROW("LISTEN")
def test_notifications(pooler):
    with connect(pooler, 2, autocommit=True) as a, connect(pooler, 2, autocommit=True) as b:
        heard = []
        a.add_notify_handler(lambda notice: heard.append((notice.channel, notice.payload)))
        a.execute("LISTEN news")
        b.execute("NOTIFY news, 'hello'")
        until = time.monotonic() + rawpg.DEADLINE
        while not heard and time.monotonic() < until:
            a.execute("SELECT pg_sleep(0.005)")
        assert heard == [("news", "hello")]
        a.execute("UNLISTEN *")
