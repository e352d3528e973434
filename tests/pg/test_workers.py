"""Several threads serve the clients of the same pools: as in all other tests, where there is more than one core. WORKERS=1 or
WORKERS=3 in the environment has the whole suite played with as many."""

import os
import threading
import time

import rawpg
from test_limits import Watch


def tasks(process):
    """{thread: times it has waited}; a sanitizer's own is none of ours."""
    found = {}
    for task in os.listdir("/proc/%d/task" % process):
        with open("/proc/%d/task/%s/status" % (process, task)) as status:
            said = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
        if task == str(process) or said["Name"].startswith("pgporter "):
            found[task] = int(said["voluntary_ctxt_switches"])
    return found


def threads_of(pooler, count):
    """They begin right after the first answer."""
    until = time.monotonic() + rawpg.DEADLINE
    while len(tasks(pooler.process.pid)) != count and time.monotonic() < until:
        pooler.answers()
    return tasks(pooler.process.pid)


class Busy(threading.Thread):
    """Asks until it is told to stop; whatever goes wrong is in failures."""

    def __init__(self, pooler, pool, number, over, failures, between=None):
        super().__init__(daemon=True)
        self.pooler, self.pool, self.number, self.over, self.failures, self.between = pooler, pool, number, over, failures, between
        self.done = 0

    def run(self):
        try:
            with self.pooler.connect(self.pool, deadline=30) as conn:
                conn.value("SET application_name = 'client %d'" % self.number)
                while not self.over.is_set():
                    assert conn.value("SELECT current_setting('application_name')") == "client %d" % self.number
                    conn.value("BEGIN")
                    assert conn.value("SELECT %d" % self.done) == str(self.done)
                    conn.value("COMMIT")
                    self.done += 1
        except BaseException as failure:
            self.failures.append("client %d: %r" % (self.number, failure))


def crowd(pooler, pool, count):
    over, failures = threading.Event(), []
    clients = [Busy(pooler, pool, number, over, failures) for number in range(count)]
    for client in clients:
        client.start()
    return clients, over, failures


def finish(clients, over, failures):
    over.set()
    for client in clients:
        client.join()
    assert not failures
    assert all(client.done for client in clients)


def wait_for_work(clients, rounds):
    until = time.monotonic() + 30
    while any(client.done < rounds for client in clients) and time.monotonic() < until:
        clients[0].over.wait(0.02)


def test_all_threads_work_and_the_limit_is_exact(start_pooler, cluster):
    pooler = start_pooler({"workers": 3})
    before = threads_of(pooler, 3)
    assert len(before) == 3
    with Watch(cluster) as watch:
        clients, over, failures = crowd(pooler, 3, 24)
        wait_for_work(clients, 20)
        after = tasks(pooler.process.pid)
        finish(clients, over, failures)
        assert watch.most("app") == 3
    waited = [after[task] - before[task] for task in before]
    assert min(waited) > max(waited) / 10, waited


def test_as_many_as_cores(start_pooler):
    pooler = start_pooler()
    cores = int(os.environ.get("WORKERS", "0")) or len(os.sched_getaffinity(0))
    assert len(threads_of(pooler, cores)) == cores


def test_big_results_pass_those_who_do_not_read(start_pooler):
    pooler = start_pooler({"workers": 3})
    stuck = [pooler.connect(5, deadline=30) for _ in range(2)]
    for conn in stuck:
        conn.query("SELECT repeat('x', 100000) FROM generate_series(1, 400)").send()
    clients, over, failures = crowd(pooler, 5, 6)
    with pooler.connect(5, deadline=30) as reader:
        assert len(reader.q("SELECT repeat('y', 100000) FROM generate_series(1, 200)")) == 200 + 3
    wait_for_work(clients, 10)
    finish(clients, over, failures)
    for conn in stuck:
        assert sum(event[0] == "DataRow" for event in conn.until("ReadyForQuery")) == 400
        conn.terminate()


def test_pause_reload_and_kill_under_load(start_pooler, cluster):
    pooler = start_pooler({"workers": 3})
    clients, over, failures = crowd(pooler, 4, 12)
    with pooler.console() as console:
        for _ in range(5):
            wait_for_work(clients, 3)
            console.q("PAUSE")
            assert not [row for row in pooler.show("SERVERS") if row["state"] == "active"]
            console.q("RELOAD")
            console.q("RESUME")
            console.q("RECONNECT")
    finish(clients, over, failures)


def test_clients_come_and_go(start_pooler, cluster):
    """Connections of all threads are given back, those cut off in the middle too."""
    pooler = start_pooler({"workers": 3})
    failures = []

    def visits(number):
        try:
            for i in range(40):
                conn = pooler.connect(4, deadline=30)
                if i % 4 == 3:
                    conn.query("SELECT repeat('z', 100000) FROM generate_series(1, 50)").send()
                    conn.sock.close()
                else:
                    assert conn.value("SELECT %d" % number) == str(number)
                    conn.terminate()
        except BaseException as failure:
            failures.append(repr(failure))

    threads = [threading.Thread(target=visits, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    until = time.monotonic() + rawpg.DEADLINE
    with pooler.console() as console:
        while [row for row in pooler.show("CLIENTS") if row["user"] == "app"]:
            assert time.monotonic() < until
        console.q("SHUTDOWN WAIT_FOR_CLIENTS")
    pooler.ended()
