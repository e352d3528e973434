"""Fixtures: one PostgreSQL for the whole run, one pooler a module, scenarios played on both."""

import collections
import json
import os
import signal

import pytest

import differential
import rows
import servers


TEST_DEADLINE = 60 + int(float(os.environ.get("MIX_SECONDS", "5"))) + int(os.environ.get("LISTENERS", "500")) // 10


def _interrupted(number, _frame):
    raise KeyboardInterrupt("signal %d" % number)


def _is_worker(config):
    """One of several processes, of pytest-xdist, each with servers of its own."""
    return hasattr(config, "workerinput")


def pytest_configure(config):
    signal.signal(signal.SIGTERM, _interrupted)  # so that fixtures clean up
    signal.signal(signal.SIGHUP, _interrupted)
    config.addinivalue_line("markers", "row(name): the row of the session-state contract a test holds to")
    if "ROW_RESULTS" in os.environ and not _is_worker(config):
        config.pluginmanager.register(RowResults(os.environ["ROW_RESULTS"]))


def pytest_collection_modifyitems(config, items):
    for item in items:
        for mark in item.iter_markers("row"):
            assert mark.args[0] in rows.ROWS, "%s: no row %r" % (item.nodeid, mark.args[0])
            item.user_properties.append(("row", mark.args[0]))
    if _is_worker(config):  # files with many tests first, so that all workers come to an end together
        size = collections.Counter(item.path for item in items)
        items.sort(key=lambda item: -size[item.path])


class RowResults:
    """What became of each row's tests, as JSON in the file that ROW_RESULTS names: row -> outcome -> names of tests."""

    def __init__(self, path):
        self.path = path
        self.rows = collections.defaultdict(lambda: collections.defaultdict(list))

    def pytest_runtest_logreport(self, report):
        row = dict(report.user_properties).get("row")
        if not row or (report.when != "call" and report.passed):
            return
        known = hasattr(report, "wasxfail")
        outcome = "known" if known and report.skipped else report.outcome
        self.rows[row][outcome].append(report.nodeid)

    def pytest_sessionfinish(self):
        with open(self.path, "w") as out:
            json.dump(self.rows, out, indent=1, sort_keys=True)


@pytest.fixture(autouse=True)
def deadline():
    """No test hangs, whatever it waits for."""
    def late(_number, _frame):
        raise AssertionError("the test took more than %d seconds" % TEST_DEADLINE)

    signal.signal(signal.SIGALRM, late)
    signal.alarm(TEST_DEADLINE)
    yield
    signal.alarm(0)


@pytest.fixture(scope="session")
def cluster():
    space = servers.Workspace()
    try:
        server = servers.Cluster(space)
        try:
            yield server
        finally:
            server.stop()
    finally:
        servers.kill_all()
        space.remove()


@pytest.fixture(scope="module")
def pooler(cluster):
    """The module's pooler with default options; see servers.Pooler for its databases."""
    front = servers.Pooler(cluster)
    try:
        yield front
    finally:
        front.stop()


@pytest.fixture(scope="module")
def stage(cluster, pooler):
    """Where scenarios of this module are played."""
    with differential.Stage(cluster, pooler) as made:
        yield made


@pytest.fixture
def start_pooler(cluster):
    """Starts poolers with options of one's own; all are stopped, and must stop cleanly, when the test is over."""
    if servers.POOLER == "direct":
        pytest.skip("there is no pooler to test")
    started = []

    def start(options=None, databases=None, users=None):
        started.append(servers.Pooler(cluster, options, databases, users))
        return started[-1]

    yield start
    failures = []
    for front in started:
        try:
            front.stop()
        except AssertionError as failure:
            failures.append(failure)
    if failures:
        raise failures[0]
