#!/usr/bin/python3
"""make bench-tenants: what a custom setting a request costs through pgporter.

A new connection each transaction, as Django with CONN_MAX_AGE = 0, 20 clients, a pool of 5, three tenants: BEGIN, SET LOCAL,
a query under row-level security, COMMIT. Beside it the same with a setting of PostgreSQL's own, and with a share of
clients that never set the tenant, for whom backends have to be kept or opened that have not seen it.

DURATION=8 seconds a run; --write puts the table at the end of docs/bench.md."""
import datetime
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from throwaway import ROOT, Failed, Throwaway, bindir, console  # noqa: E402

CLIENTS, POOL = 20, 5
SETUP = """CREATE TABLE items (tenant text, v int);
INSERT INTO items SELECT 't' || n % 3 + 1, n FROM generate_series(1, 300) AS n;
ALTER TABLE items ENABLE ROW LEVEL SECURITY;
ALTER TABLE items FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON items USING (tenant = current_setting('app.tenant', true))"""
QUERY = "SELECT count(*) FROM items;\n"
SCRIPTS = {
    "plain": "BEGIN;\nSET LOCAL statement_timeout = '1min';\n" + QUERY + "COMMIT;\n",
    "tenant": "\\set t random(1, 3)\nBEGIN;\nSET LOCAL app.tenant = 't:t';\n" + QUERY + "COMMIT;\n",
    "set_config": "\\set t random(1, 3)\nBEGIN;\nSELECT set_config('app.tenant', 't:t', true);\n" + QUERY + "COMMIT;\n",
    "none": "BEGIN;\n" + QUERY + "COMMIT;\n",
}
RUNS = (("no custom setting", ("plain",)), ("SET LOCAL by all", ("tenant",)), ("set_config() by all", ("set_config",)),
        ("SET LOCAL by 9 of 10", ("tenant@9", "none@1")), ("SET LOCAL by half", ("tenant@1", "none@1")))
MARK = "\n## A tenant a request\n"


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Failed("%s: %s" % (" ".join(command), done.stderr.strip()[-1500:]))
    return done.stdout


def counters(port):
    return {row["name"]: int(row["value"]) for row in console(port, ["SHOW COUNTERS"], "postgres")[0]}


def measure(place, port, scripts, seconds):
    before = counters(port)
    files = []
    for script in scripts:
        name, at, weight = script.partition("@")
        files += ["-f", place.path(name + ".sql") + at + weight]
    out = run([bindir() + "/pgbench", "-h", "127.0.0.1", "-p", str(port), "-U", "app", "-n", "-C", "-c", str(CLIENTS), "-j", "2",
               "-T", str(seconds), *files, "postgres"])
    after = counters(port)
    return (float(re.search(r"tps = ([\d.]+)", out).group(1)), after["fresh_servers"] - before["fresh_servers"],
            after["held_begins"] - before["held_begins"])


def main():
    seconds = int(os.environ.get("DURATION", "8"))
    with Throwaway("pgporter-tenants") as place:
        place.postgres("autovacuum = off\nlog_min_messages = fatal")
        place.sql(SETUP + "; CREATE USER app; GRANT ALL ON items TO app")
        for name, text in SCRIPTS.items():
            place.write(name + ".sql", text)
        _process, port = place.pooler("pgporter", {"pool_mode": "transaction", "default_pool_size": POOL, "max_client_conn": 200,
                                                   "log_connections": 0, "log_disconnections": 0, "log_stats": 0,
                                                   "admin_users": "postgres"},
                                      "postgres = host=127.0.0.1 port=%d" % place.pg_port, ["postgres", "app"])
        rows = [["clients", "tps", "fresh server connections", "BEGINs held back"]]
        for label, scripts in RUNS:
            tps, fresh, held = measure(place, port, scripts, seconds)
            rows.append([label, "%.0f" % tps, "%d in %d s" % (fresh, seconds), str(held)])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "| --- | --- | --- | --- |")
    text = "%s\nMade by `DURATION=%d make bench-tenants WRITE=1` on %s: pgbench -C, %d clients, %d server\nconnections, three tenants; a shared machine of two cores.\n\n%s\n" % (
        MARK, seconds, datetime.date.today(), CLIENTS, POOL, "\n".join(lines))
    print(text)
    if "--write" in sys.argv[1:]:
        path = os.path.join(ROOT, "docs", "bench.md")
        with open(path) as f:
            old = f.read().split(MARK)[0]
        with open(path, "w") as f:
            f.write(old.rstrip("\n") + "\n" + text)


if __name__ == "__main__":
    try:
        main()
    except Failed as why:
        sys.exit("bench-tenants: %s" % why)
