#!/usr/bin/python3
"""Plays the scenarios of the session-state contract on PostgreSQL 13 to 18, and makes the table of what holds where.

    contract.py [--write] [--quick] [VERSION ...]

--write puts it into README.md, and with what does not hold into docs/contract.md; --quick plays each scenario once, on its smaller pool, by simple queries, among
strangers that disturb that row only. Versions are fetched by tests/postgres_versions.py; where one can't be had it is skipped, loudly,
but under CI=true that is a failure. Exits with 1 when a scenario fails. PGPORTER as in servers.py.
"""

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests")]

import postgres_versions  # noqa: E402  (after the path is set)
import rows  # noqa: E402

OUT = os.path.join(ROOT, "docs", "contract.md")
README = os.path.join(ROOT, "README.md")
BEGIN, END = "<!-- made by make contract -->\n", "<!-- until here -->\n"

# What the client does, how it is kept, and the rows of rows.py whose scenarios show it.
CONTRACT = (
    ("`SET` in all its forms, any setting, custom ones too", "carried", ("SET carried",)),
    ("the same in transactions, savepoints, failed and rolled-back ones", "carried", ("SET in transactions",)),
    ("custom settings that this client never set", "told apart", ("custom GUC unset",)),
    ("`SET LOCAL`, `set_config(…, true)`, `SET TRANSACTION`", "left to PostgreSQL", ("SET LOCAL",)),
    ("`set_config(name, value, false)` in all spellings", "carried", ("set_config",)),
    ("startup parameters, `options`, `application_name`", "carried", ("startup parameters",)),
    ("`SET ROLE`, `SET SESSION AUTHORIZATION`", "carried", ("roles",)),
    ("protocol-level prepared statements", "rewritten", ("prepared statements",)),
    ("the unnamed statement and portal", "rewritten", ("unnamed statement",)),
    ("`PREPARE`, `EXECUTE`, `DEALLOCATE`", "rewritten", ("SQL PREPARE",)),
    ("`DECLARE … WITH HOLD`, `FETCH`, `MOVE`", "pinned", ("WITH HOLD cursors",)),
    ("session advisory locks", "pinned", ("advisory locks",)),
    ("temporary objects", "pinned", ("temporary objects",)),
    ("`LISTEN`, `UNLISTEN`, `NOTIFY`", "shared", ("LISTEN",)),
    ("`currval()`, `lastval()`", "learnt, pinned", ("sequences",)),
    ("`DO`, `CALL`, functions, triggers, views, texts that can't be read", "observed", ("opaque statements", "out of sight")),
    ("`DISCARD`, `RESET ALL`, `CLOSE ALL`, drivers' reset batches", "answered or applied", ("reset batches",)),
    ("views of one's own session", "laid out on one backend", ("own views",)),
    ("`ALTER ROLE … SET`, `ALTER DATABASE … SET`", "pool told", ("defaults",)),
    ("`DROP DATABASE` and its like", "pools told", ("databases",)),
    ("`LOAD`, `setseed()`, `dblink_connect()`, temporary slots", "pinned", ("session's end",)),
    ("two-phase commit, `AND CHAIN`, procedures that commit, snapshots", "left to PostgreSQL", ("left to PostgreSQL",)),
    ("pipelines, Flush, errors to Sync, portals, COPY, function calls", "forwarded", ("protocol",)),
    ("cancel requests", "forwarded", ("cancel",)),
)


def play(folder, quick):
    """Plays the scenarios on the PostgreSQL in a folder: outcome by row, and pytest's exit code."""
    with tempfile.NamedTemporaryFile(suffix=".json") as results:
        env = {**os.environ, "PG_BIN": folder, "ROW_RESULTS": results.name, "MIX_SECONDS": "1"}
        if quick:
            env["NOISE"] = "own"
        command = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile",
                   "--tb=short", "-m", "row", HERE]
        code = subprocess.run(command + (["-k", "not extended"] if quick else []), env=env).returncode
        text = results.read()
        return (json.loads(text) if text else {}), code


def cell(outcome, names):
    """What a row's tests say of one version."""
    count = collections.Counter()
    for name in names:
        for kind, tests in outcome.get(name, {}).items():
            count[kind] += len(tests)
    ran = count["passed"] + count["failed"] + count["known"]
    if not ran:
        return "no test"
    missed = count["failed"] + count["known"]
    return "holds (%d)" % ran if not missed else "%d of %d not" % (missed, ran)


def table(outcomes):
    """The table as Markdown; outcomes: version -> row -> outcome -> tests."""
    versions = sorted(outcomes)
    lines = ["| what the client does | how | " + " | ".join(map(str, versions)) + " |",
             "|---|---|" + "---|" * len(versions)]
    for what, how, names in CONTRACT:
        lines.append("| %s | %s | %s |" % (what, how, " | ".join(cell(outcomes[v], names) for v in versions)))
    return "\n".join(lines)


def missing(outcomes):
    """The scenarios that don't hold, with the versions, as a list."""
    found = collections.defaultdict(set)
    for version, outcome in outcomes.items():
        for row in outcome.values():
            for name in row.get("known", []) + row.get("failed", []):
                found[name.split("::")[-1]].add(version)
    return ["- `%s`: %s" % (name, ", ".join(map(str, sorted(found[name])))) for name in sorted(found)]


def document(outcomes):
    parts = ["# The contract, row by row, on each version", "",
             "Made by `make contract` (or `make contract QUICK=1`: each scenario once) from what the scenarios of `tests/pg` did: each is played directly on that PostgreSQL and through",
             "pgporter, and what its clients read has to be equal. In brackets: how many scenarios and pool sizes a row has. The",
             "reasons of those that are known not to hold are in `tests/pg/rows.py`. PostgreSQL 13 sends ParameterStatus at each",
             "statement, later ones only before ReadyForQuery: on 13 it is compared there.", "", table(outcomes), ""]
    known = missing(outcomes)
    if known:
        parts += ["Scenarios that do not hold, and the versions:", ""] + known + [""]
    return "\n".join(parts)


def put_into_readme(outcomes):
    with open(README) as file:
        text = file.read()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    with open(README, "w") as file:
        file.write(before + BEGIN + table(outcomes) + "\n" + END + after)


def main():
    ask = argparse.ArgumentParser()
    ask.add_argument("--write", action="store_true")
    ask.add_argument("--quick", action="store_true")
    ask.add_argument("versions", nargs="*", type=int, default=postgres_versions.VERSIONS)
    args = ask.parse_args()
    unknown = {name for _, _, names in CONTRACT for name in names} ^ set(rows.ROWS)
    outcomes, failed = {}, False
    for version in args.versions:
        try:
            folder = postgres_versions.bin_of(version)
        except postgres_versions.Missing as why:
            print("!!! NOT TESTED on PostgreSQL %d: %s" % (version, why), flush=True)
            failed |= os.environ.get("CI") == "true"
            continue
        print("PostgreSQL %d" % version, flush=True)
        outcomes[version], code = play(folder, args.quick)
        failed |= code != 0
    if outcomes:
        print(table(outcomes))
    for name in sorted(unknown & set(rows.ROWS)):
        print("row %r of rows.py is in no row of the contract" % name)
        failed = True
    if args.write and len(outcomes) == len(args.versions):
        with open(OUT, "w") as out:
            out.write(document(outcomes))
        put_into_readme(outcomes)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
