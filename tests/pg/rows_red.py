#!/usr/bin/python3
"""Runs the suite with carrying switched off: every row of the contract must turn at least one test red.

A row that stays green has tests that would not notice its loss. With POOLER=pgbouncer in the environment PgBouncer
takes the place of a pgporter with `state_preset = pgbouncer`. Each row meets only the noise that disturbs it (rows.py), so that it
turns red for its own sake, and is left alone when some of its tests are red. Arguments go to pytest. Exits with 1 when a row stays green.
"""

import collections
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
os.environ.setdefault("NOISE", "own")
os.environ.setdefault("CARRY", "0")
os.environ.setdefault("DEADLINE", "1.5")
os.environ.setdefault("MIX_SECONDS", "1")

import pytest  # noqa: E402  (after the environment is set)

import rows  # noqa: E402


ENOUGH = 3  # red tests of a row; the rest of them is not run


class Tally:
    """Counts outcomes by row."""

    def __init__(self):
        self.red = collections.Counter()
        self.run = collections.Counter()
        self.errors = []

    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if item.get_closest_marker("row")]

    def pytest_runtest_setup(self, item):
        row = item.get_closest_marker("row").args[0]
        if self.red[row] >= ENOUGH:
            pytest.skip("the row is red already")

    def pytest_runtest_logreport(self, report):
        if report.when != "call":
            if report.failed:
                self.errors.append(report.nodeid)
            return
        for key, row in report.user_properties:
            if key == "row" and not report.skipped:
                self.run[row] += 1
                self.red[row] += report.failed


def main():
    tally = Tally()
    pytest.main(["-q", "--tb=no", "-r", "N", HERE] + sys.argv[1:], plugins=[tally])
    print()
    green = [row for row in rows.ROWS if not tally.red[row]]
    for row in rows.ROWS:
        print("%-22s %4d of %4d red%s" % (row, tally.red[row], tally.run[row], "   <-- stays green" * (row in green)))
    for name in tally.errors:
        print("error outside the test itself:", name)
    return 1 if green else 0


if __name__ == "__main__":
    sys.exit(main())
