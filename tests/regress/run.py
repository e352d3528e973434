#!/usr/bin/python3
"""make regress: PostgreSQL's own regression suites directly, and through pgporter while strangers dirty its connections.

The suites are core's and PL/pgSQL's; what psql printed has to be equal. Three runs on PostgreSQLs of their own, made alike:
`direct`; `parallel`, core's groups as they are through a pool that holds the largest of them; `serial`, one test at a time
through a pool of two, which the test under way shares with the strangers. Differences that remain are listed with their
reasons in docs/regress.md; one that is not listed, and one listed that is no longer there, fail the run. WRITE=1 puts
figures and date there.

run.py [TEST ...] runs single tests after the suite's own setup, and prints what differs; RUNS=direct,parallel,serial
chooses runs. Results stay in build/regress/<run>.
"""
import contextlib
import datetime
import difflib
import glob
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
sys.path.insert(0, HERE)
from noise import Noise  # noqa: E402
from source import CACHE, suites  # noqa: E402
from throwaway import ROOT, Failed, Throwaway, tail  # noqa: E402

DATABASES = {"core": "regression", "plpgsql": "pl_regression"}
POOLS = {"direct": None, "parallel": 24, "serial": 2}
EXPLAINED = os.path.join(ROOT, "docs", "regress.md")
SETUP = ["test_setup"]
# In C, and they keep something in the server process: what an operator has to name (docs/pinning.md).
IN_C = ("check_primary_key", "check_foreign_key", "ttdummy", "set_ttdummy")


def users(folder):
    """Whom the tests connect as."""
    names = {"postgres"}
    for path in glob.glob(folder + "/*/sql/*.sql"):
        with open(path, encoding="utf-8", errors="replace") as f:
            names.update(re.findall(r"^\\c(?:onnect)?\s+\S+\s+(\w+)", f.read(), re.M))
    return sorted(names)


def create_database(place, database):
    place.sql("CREATE DATABASE %s TEMPLATE template0" % database)
    for name, value in (("lc_messages", "C"), ("lc_monetary", "C"), ("lc_numeric", "C"), ("lc_time", "C"),
                        ("bytea_output", "hex"), ("timezone_abbreviations", "Default")):
        place.sql("ALTER DATABASE %s SET %s TO '%s'" % (database, name, value))


class Run:
    def __init__(self, name, tests):
        self.name, self.pool, self.tests = name, POOLS[name], tests
        self.results = os.path.join(CACHE, name)
        self.note, self.rounds, self.ended = "", 0, 0

    def go(self):
        folder, library, program = suites()
        started = time.monotonic()
        with Throwaway("regress") as place:
            place.postgres("max_prepared_transactions = 10\nlog_min_messages = fatal\nmax_wal_size = 4GB")
            for database in DATABASES.values():
                create_database(place, database)
            for what, to in ((folder, "suites"), (library, "lib")):
                shutil.copytree(what, place.path(to))
            os.mkdir(place.path("out"))
            if place.as_server:
                os.chown(place.path("out"), place.as_server["user"], place.as_server["group"])
            try:
                self.play(place, program)
            finally:
                self.keep(place)
        self.seconds = time.monotonic() - started

    def play(self, place, program):
        if not self.pool:
            return self.all(place, program, place.pg_port)
        process, port = place.pooler("pgporter", {
            "pool_mode": "transaction", "default_pool_size": self.pool, "max_client_conn": 200, "log_connections": 0,
            "log_disconnections": 0, "log_stats": 0, "admin_users": "postgres", "query_wait_timeout": 600,
            "state_functions": ", ".join(name + ":session_state" for name in IN_C)},
            "* = host=127.0.0.1 port=%d" % place.pg_port, users(place.path("suites")))
        self.all(place, program, port)
        self.note = "%d visits of strangers" % self.rounds
        if self.ended:
            self.note += ", %d of them cut off" % self.ended
        if process.poll() is not None:
            raise Failed("pgporter has died:\n" + tail(place.path("pgporter.log")))

    def all(self, place, program, port):
        if self.tests:
            return self.pg_regress(place, program, port, "core", SETUP + [t for t in self.tests if t not in SETUP])
        self.pg_regress(place, program, port, "core", ["--schedule=" + place.path("suites", "core", "parallel_schedule")])
        with open(place.path("suites", "plpgsql", "Makefile")) as f:
            tests = re.search(r"^REGRESS\s*=((?:.*\\\n)*.*)", f.read(), re.M)[1].replace("\\", "").split()
        self.pg_regress(place, program, port, "plpgsql", tests)

    def pg_regress(self, place, program, port, suite, tests):
        command = [program, "--use-existing", "--dbname=" + DATABASES[suite], "--user=postgres", "--host=127.0.0.1",
                   "--port=%d" % port, "--bindir=" + os.path.dirname(shutil.which("psql") or "/usr/bin/psql"),
                   "--inputdir=" + place.path("suites", suite), "--outputdir=" + place.path("out"),
                   "--dlpath=" + place.path("lib"), "--max-concurrent-tests=20"]
        if self.name == "serial":
            command.append("--max-connections=1")
        noise = Noise(("127.0.0.1", port), "postgres", DATABASES[suite])
        with noise if self.pool else contextlib.nullcontext(), open(place.path("pg_regress.log"), "a") as log:
            subprocess.run(command + tests, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                           cwd=place.path("out"), env={**os.environ, "LC_ALL": "C"}, **place.as_server)
        self.rounds += noise.rounds
        self.ended += noise.ended

    def keep(self, place):
        """What psql printed, without the name of the temporary folder and the ports."""
        shutil.rmtree(self.results, ignore_errors=True)
        os.makedirs(self.results)
        for path in glob.glob(place.path("out", "results", "*.out")):
            with open(path, encoding="utf-8", errors="surrogateescape") as f:
                text = f.read().replace(place.dir, "DIR")
            with open(os.path.join(self.results, os.path.basename(path)), "w", encoding="utf-8",
                      errors="surrogateescape") as f:
                f.write(text)
        for name in ("pgporter.log", "postgres.log", "pg_regress.log"):
            if os.path.exists(place.path(name)):
                shutil.copy(place.path(name), self.results)


def lines(path):
    if not os.path.exists(path):
        return ["(no output)\n"]
    with open(path, encoding="utf-8", errors="backslashreplace") as f:
        return f.readlines()


def changed(diff):
    """The lines of a diff that count, as a set: widths, pgporter's names and numbers of five digits and more masked."""
    masks = (r"pgporter_\w+", "pgporter_N"), (r"\d{5,}", "N"), (r"-{2,}", "--"), (r"\s+", " ")
    found = set()
    for line in diff:
        if line[:1] in "+-" and not line.startswith(("+++", "---")):
            for pattern, mask in masks:
                line = line[0] + re.sub(pattern, mask, line[1:])
            found.add(line.rstrip())
    return found


def differences(a, b):
    """{test: unified diff}"""
    found = {}
    names = {os.path.basename(p) for r in (a, b) for p in glob.glob(r + "/*.out")}
    for name in sorted(names):
        diff = list(difflib.unified_diff(lines(os.path.join(a, name)), lines(os.path.join(b, name)), "direct/" + name,
                                         "pgporter/" + name))
        if diff:
            found[name[:-4]] = diff
    return found


def explained():
    """docs/regress.md: {test: lines that may differ}, from a heading `### test` with a block marked diff, None where there is
    no block; and the set of those that must differ: all but the ones headed `### test, at times`."""
    with open(EXPLAINED) as f:
        sections = re.split(r"^### (\w+)(.*)\n", f.read(), flags=re.M)
    found, must = {}, set()
    for test, rest, text in zip(sections[1::3], sections[2::3], sections[3::3]):
        blocks = re.findall(r"^```diff\n(.*?)^```", text.partition("\n## ")[0], re.M | re.S)
        found[test] = changed("".join(blocks).splitlines()) if blocks else None
        if "at times" not in rest:
            must.add(test)
    return found, must


def is_explained(known, test, diff):
    return test in known and (known[test] is None or changed(diff) <= known[test])


def write_figures(runs):
    with open(EXPLAINED) as f:
        text = f.read()
    rows = ["| run | pool | tests | differ | seconds | |", "|---|---|---|---|---|---|"]
    for run in runs:
        rows.append("| %s | %s | %d | %s | %d | %s |" % (
            run.name, run.pool or "", run.tests_run, "" if not run.pool else len(run.differ), run.seconds, run.note))
    figures = "%s:\n\n%s\n" % (datetime.date.today().isoformat(), "\n".join(rows))
    with open(EXPLAINED, "w") as f:
        f.write(re.sub(r"(<!-- figures -->\n).*?(<!-- /figures -->)", lambda m: m[1] + figures + m[2], text, flags=re.S))


def compare(run, known, show):
    """Prints what is not explained; returns how many tests that are."""
    run.differ = differences(os.path.join(CACHE, "direct"), run.results)
    bad = 0
    for test, diff in run.differ.items():
        path = os.path.join(run.results, test + ".diff")
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as f:
            f.writelines(diff)
        if is_explained(known, test, diff):
            continue
        bad += 1
        print("%s: %s differs and is not explained: %s" % (run.name, test, path))
        if show:
            print("".join(diff))
    return bad


def main():
    tests = sys.argv[1:]
    names = [n for n in os.environ.get("RUNS", ",".join(POOLS)).split(",") if n]
    runs, bad = [Run(n, tests) for n in names], 0
    known, must = ({}, set()) if tests else explained()
    for run in runs:
        run.go()
        run.tests_run = len(glob.glob(run.results + "/*.out"))
        print("%s: %d tests in %d s%s" % (run.name, run.tests_run, run.seconds, ", " + run.note if run.note else ""), flush=True)
        if run.pool:
            bad += compare(run, known, bool(tests))
    for test in sorted(must.difference(*(run.differ for run in runs if run.pool))):
        bad += 1
        print("%s is explained in docs/regress.md and does not differ" % test)
    if os.environ.get("WRITE") and not tests:
        write_figures(runs)
    print("%d passed, %d failed" % (sum(run.tests_run for run in runs if run.pool) - bad, bad))
    return bad > 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failed:
        sys.exit("regress: %s" % failed)
