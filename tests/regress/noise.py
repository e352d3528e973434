"""Strangers who dirty the server connections of a pool for as long as the suite runs."""
import os
import random
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "pg"))
import rawpg  # noqa: E402

# Each visit is some of these. None leaves anything that another session of the same database could see.
SETTINGS = """
SET search_path = dirt, pg_catalog
SET TimeZone = 'Asia/Tokyo'
SET DateStyle = 'German, DMY'
SET IntervalStyle = 'sql_standard'
SET application_name = 'a stranger'
SET statement_timeout = 54321
SET lock_timeout = '54s'
SET extra_float_digits = -5
SET bytea_output = 'escape'
SET work_mem = '64kB'
SET client_encoding = 'LATIN1'
SET standard_conforming_strings = off
SET default_transaction_isolation = 'serializable'
SET default_transaction_read_only = on
SET client_min_messages = 'error'
SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_sort = off
SET enable_indexscan = off; SET enable_nestloop = off
SET session_replication_role = 'replica'
SET row_security = off
SET transform_null_equals = on
SET array_nulls = off
SET check_function_bodies = off
SET default_tablespace = ''; SET temp_tablespaces = ''
SET xmloption = 'document'
SET plan_cache_mode = 'force_generic_plan'
SET jit = off; SET random_page_cost = 1000
SET backslash_quote = on; SET escape_string_warning = off
SET max_parallel_workers_per_gather = 0
SET dirt.a = 'a stranger''s'
SELECT set_config('dirt.b', 'computed', false)
BEGIN; SET search_path = dirt; SET dirt.c = 'gone'; ROLLBACK
BEGIN; SET LOCAL search_path = dirt; SET LOCAL TimeZone = 'UTC'; COMMIT
BEGIN; SAVEPOINT a; SET TimeZone = 'UTC'; ROLLBACK TO a; COMMIT
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL REPEATABLE READ
""".strip().splitlines()
OTHERS = """
SET ROLE pg_monitor
SET SESSION AUTHORIZATION pg_monitor
BEGIN; SET ROLE pg_monitor; ROLLBACK
RESET ROLE
RESET SESSION AUTHORIZATION
PREPARE q1 AS SELECT 'a stranger''s'::text AS dirt
PREPARE foo(int) AS SELECT $1 + 1000
EXECUTE q1
DEALLOCATE ALL
BEGIN; CREATE TEMP TABLE dirt (dirt text); ROLLBACK
BEGIN; CREATE TEMP TABLE dirt (dirt text) ON COMMIT DROP; COMMIT
DECLARE foo CURSOR WITH HOLD FOR SELECT 'a stranger''s'::text; FETCH foo; CLOSE foo
BEGIN; DECLARE foo CURSOR FOR SELECT 1; FETCH foo; COMMIT
SELECT pg_advisory_lock(77); SELECT pg_advisory_unlock(77)
LISTEN dirt; UNLISTEN dirt
UNLISTEN *
DISCARD ALL
RESET ALL
DISCARD PLANS
DISCARD SEQUENCES
SELECT nonsense
""".strip().splitlines()


def extended(conn, rng):
    """A named and an unnamed statement, some left prepared."""
    for name in ("", "s1"):
        if name:
            conn.close_("S", name)
        conn.parse(name, "SELECT 'a stranger''s %d'::text" % rng.randrange(50)).bind("", name).execute()
    conn.sync().go()


class Noise(threading.Thread):
    """Use as a context manager; rounds is how often it was served."""

    def __init__(self, address, user, database):
        super().__init__(daemon=True)
        self.where = address, user, database
        self.rounds, self.ended, self.stopping = 0, 0, threading.Event()
        self.rng = random.Random(3)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_exc):
        self.stopping.set()
        self.join(60)

    def run(self):
        conns = [None, None]
        while not self.stopping.is_set():
            turn = self.rounds % 2
            try:
                if conns[turn] is None or conns[turn].closed:
                    conns[turn] = rawpg.Conn(*self.where, deadline=600)
                self.visit(conns[turn])
            except (rawpg.Gone, rawpg.Deadline, OSError):
                self.ended += 1
                conns[turn] = None
                time.sleep(0.1)
            self.rounds += 1
            time.sleep(0.002)  # the suite is to get on, too
        for conn in conns:
            if conn and not conn.closed:
                conn.terminate()

    def visit(self, conn):
        for sql in self.rng.sample(SETTINGS, 3) + self.rng.sample(OTHERS, 1):
            conn.query(sql).go()
            if conn.status != "I":
                conn.query("ROLLBACK").go()
        if self.rng.random() < 0.3:
            extended(conn, self.rng)
