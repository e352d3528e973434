"""Keys that logins need are derived once, and hold nobody up meanwhile (server/derive.h)."""

import base64
import hashlib
import hmac
import os
import select
import threading
import time

import pytest

from test_auth import Login, comes_in, front, login, wrong  # noqa: F401

LONG, ROUNDS = 3000000, 500000  # a third of a second and more for the pooler, and more for the client; a sixth of that
USER, PASSWORD = "u_scram", "sekret-scram"


def verifier(password, rounds):
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    keys = [hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest(), hmac.digest(salted, b"Server Key", "sha256")]
    return "SCRAM-SHA-256$%d:%s$%s:%s" % (rounds, *(base64.b64encode(b).decode() for b in (salt, *keys)))


def cpu_seconds(pooler):
    """Of all its threads (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pooler.process.pid << 3 | 2)


def spent(pooler, work):
    before = cpu_seconds(pooler)
    work()
    return cpu_seconds(pooler) - before


@pytest.fixture
def dear(front):  # noqa: F811
    """Keys of USER's cost much."""
    return front("scram-sha-256", {USER: PASSWORD}, {"scram_iterations": ROUNDS})


class Watching(Login):
    """From its proof to the answer it does something else again and again; `count` says how often."""

    def __init__(self, *args, meanwhile, **how):
        self.meanwhile, self.count, self.held = meanwhile, 0, None
        super().__init__(*args, **how)

    def _authenticate(self, body, scram):
        scram = super()._authenticate(body, scram)
        if int.from_bytes(body[:4], "big") == self.asked_of():
            while not select.select([self.sock], [], [], 0)[0]:
                self.meanwhile()
                self.count += 1
        return scram

    def asked_of(self):
        return 11


class WatchingPlain(Watching):
    def asked_of(self):
        return 3


def test_queries_run_while_keys_are_derived(front):  # noqa: F811
    pooler = front("scram-sha-256", {USER: PASSWORD, "app": verifier("app", 1)}, {"scram_iterations": LONG})
    with login(pooler, "app", "app") as running:
        def query():
            assert running.value("SELECT 1") == "1"
        with Watching(pooler.address, USER, "p1", password=PASSWORD, meanwhile=query) as conn:
            assert conn.value("SELECT session_user") == USER
            assert conn.count > 20


def test_queries_run_while_a_password_is_held_against_a_verifier(front):  # noqa: F811
    pooler = front("plain", {USER: verifier(PASSWORD, LONG), "app": "app"})
    with login(pooler, "app", "app") as running:
        def query():
            assert running.value("SELECT 1") == "1"
        with WatchingPlain(pooler.address, USER, "p1", password="wrong", meanwhile=query) as conn:
            assert conn.refused() == wrong(USER)
            assert conn.count > 20
        with WatchingPlain(pooler.address, USER, "p1", password=PASSWORD, meanwhile=query) as conn:
            assert conn.value("SELECT session_user") == USER
            assert conn.count > 20
        assert login(pooler, USER, "wrong").refused() == wrong(USER)


def test_keys_are_derived_once(dear):
    first = spent(dear, lambda: comes_in(dear, USER, PASSWORD))
    again = spent(dear, lambda: [comes_in(dear, USER, PASSWORD) for _n in range(3)])
    assert again < first / 3
    refused = spent(dear, lambda: login(dear, USER, "wrong").refused() == wrong(USER) or pytest.fail("came in"))
    assert refused < first / 3


def test_who_waits_for_the_same_keys_waits_for_one_derivation(dear, front):  # noqa: F811
    alone = spent(dear, lambda: comes_in(dear, USER, PASSWORD))
    other = front("scram-sha-256", {USER: PASSWORD}, {"scram_iterations": ROUNDS})
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(comes_in(other, USER, PASSWORD))) for _n in range(8)]

    def all_at_once():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert spent(other, all_at_once) < 3 * alone
    assert seen == [10] * 8


def test_a_client_may_leave_while_its_keys_are_derived(dear):
    class Leaves(Exception):
        pass

    def leave():
        raise Leaves
    for _n in range(3):
        with pytest.raises(Leaves):
            Watching(dear.address, USER, "p1", password=PASSWORD, meanwhile=leave)
    assert comes_in(dear, USER, PASSWORD) == 10


def test_login_timeout_holds_while_keys_are_derived(front):  # noqa: F811
    pooler = front("plain", {USER: verifier(PASSWORD, 1).replace("$1:", "$2000000000:")}, {"client_login_timeout": 1})
    assert login(pooler, USER, PASSWORD).refused()[2] == "client_login_timeout"


def test_a_password_that_changes_takes_its_keys_with_it(front, cluster):  # noqa: F811
    pooler = front("scram-sha-256", {USER: "an older one", "postgres": "postgres"},
                   {"scram_iterations": ROUNDS, "admin_users": "postgres"}, {"p1": "user=%s password=%s" % (USER, PASSWORD)})
    comes_in(pooler, USER, "an older one")
    with login(pooler, "postgres", "postgres", database="pgbouncer") as console:
        before = spent(pooler, lambda: comes_in(pooler, USER, "an older one"))
        cluster.space.write("userlist-0.txt", '"%s" "a newer one"\n"postgres" "postgres"\n' % USER)
        console.q("RELOAD")
        assert login(pooler, USER, "an older one").refused() == wrong(USER)
        comes_in(pooler, USER, "a newer one")
        cluster.space.write("userlist-0.txt", '"%s" "an older one"\n"postgres" "postgres"\n' % USER)
        console.q("RELOAD")
        assert spent(pooler, lambda: comes_in(pooler, USER, "an older one")) > 3 * before  # nothing was left of its keys
