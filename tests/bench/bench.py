#!/usr/bin/python3
"""make bench: what pgporter costs beside PgBouncer, in turn, on the same PostgreSQL.

pgbench's SELECT-only script with 32 clients through each pooler in turn (A B, B A, A B ...): transaction mode, 20 server
connections, trust, the same loopback. The figure that counts is the pooler's own CPU (user and system, from
/proc/PID/stat) a transaction; throughput depends on who else wants the cores. Each round is a pair, and the ratio is taken
within the pair, so that a machine that gets slower or faster meanwhile moves both.

DURATION=2 seconds a run, ROUNDS=10, POOLERS=pgporter,pgbouncer (one pooler twice measures the noise); --write puts the
tables into docs/bench.md too.
"""
import os
import re
import shutil
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from throwaway import ROOT, Failed, Throwaway, bindir, table  # noqa: E402

CLIENTS, POOL, SCALE = 32, 20, 5
MODES = ("simple", "extended", "prepared")
TICK = os.sysconf("SC_CLK_TCK")
LABEL = {"pgporter": "pgporter", "pgbouncer": "PgBouncer"}


def cpu_seconds(process):
    """User and system time of all its threads so far. The name in the second field may hold blanks; it ends in ')'."""
    with open("/proc/%d/stat" % process.pid) as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def pgbouncer_version():
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    if not os.path.exists(program):
        raise Failed("no pgbouncer to compare with: install it")
    out = subprocess.run([program, "-V"], capture_output=True, text=True).stdout
    return tuple(int(n) for n in re.search(r"PgBouncer (\d+)\.(\d+)", out).groups())


class Bench:
    def __init__(self, place, kinds, duration, rounds):
        self.place, self.duration, self.rounds = place, duration, rounds
        place.postgres("shared_buffers = 256MB\nautovacuum = off\nlog_min_messages = fatal")
        self.pgbench(place.dir, place.pg_port, ["-i", "-q", "-s", str(SCALE)])
        self.version = pgbouncer_version()
        settings = {"pool_mode": "transaction", "default_pool_size": POOL, "max_client_conn": 200, "log_connections": 0,
                    "log_disconnections": 0, "log_stats": 0, "admin_users": "postgres"}
        self.poolers = []
        for kind in kinds:
            own = dict(settings)
            if kind == "pgporter" or self.version >= (1, 21):
                own["max_prepared_statements"] = 200
            process, port = place.pooler(kind, own, "postgres = host=127.0.0.1 port=%d" % place.pg_port, ["postgres"])
            self.poolers.append((kind, process, port))

    def pgbench(self, host, port, args):
        done = subprocess.run([bindir() + "/pgbench", "-h", host, "-p", str(port), "-U", "postgres", *args, "postgres"],
                              capture_output=True, text=True)
        if done.returncode:
            raise Failed("pgbench %s: %s" % (" ".join(args), done.stderr.strip()[-1500:]))
        return done.stdout

    def one(self, pooler, mode, seconds):
        """(transactions a second, CPU microseconds a transaction)"""
        kind, process, port = pooler
        before = cpu_seconds(process)
        out = self.pgbench("127.0.0.1", port, ["-S", "-n", "-M", mode, "-c", str(CLIENTS), "-j", "2", "-T", "%d" % seconds])
        cpu = cpu_seconds(process) - before
        failed = re.search(r"number of failed transactions: (\d+)", out)
        if failed and failed.group(1) != "0":
            raise Failed("%s lost %s transactions in mode %s" % (kind, failed.group(1), mode))
        done = int(re.search(r"number of transactions actually processed: (\d+)", out).group(1))
        return float(re.search(r"tps = ([\d.]+)", out).group(1)), cpu / done * 1e6

    def can(self, pooler, mode):
        return mode != "prepared" or pooler[0] == "pgporter" or self.version >= (1, 21)

    def measure(self, mode):
        """A list of rounds; each is a list of results, one a pooler (None where it can't)."""
        rounds = []
        for pooler in self.poolers:
            if self.can(pooler, mode):
                self.one(pooler, mode, 1)
        for n in range(self.rounds):
            results = [None] * len(self.poolers)
            order = list(enumerate(self.poolers))
            for i, pooler in order if n % 2 == 0 else order[::-1]:
                if self.can(pooler, mode):
                    results[i] = self.one(pooler, mode, self.duration)
            rounds.append(results)
            print("  %-8s round %d: %s" % (mode, n + 1, ", ".join(
                "%s %.0f tps %.1f us" % (LABEL[self.poolers[i][0]], *r) for i, r in enumerate(results) if r)), flush=True)
        return rounds

    def run(self):
        """Rows of the table."""
        rows = []
        for mode in MODES:
            rounds = self.measure(mode)
            for i, pooler in enumerate(self.poolers):
                mine = [r[i] for r in rounds if r[i]]
                name = LABEL[pooler[0]]
                if not mine:
                    rows.append((mode, name, "-", "-", "prepared statements need 1.21"))
                    continue
                ratio = ""
                pairs = [(r[0], r[-1]) for r in rounds if r[0] and r[-1]]
                if i == 0 and pairs:
                    cpu = [a[1] / b[1] for a, b in pairs]
                    tps = [a[0] / b[0] for a, b in pairs]
                    ratio = "CPU %.2f (%.2f-%.2f), tps %.2f (%.2f-%.2f)" % (
                        statistics.median(cpu), min(cpu), max(cpu), statistics.median(tps), min(tps), max(tps))
                rows.append((mode, name, "%.0f" % statistics.median(r[0] for r in mine),
                             "%.1f" % statistics.median(r[1] for r in mine), ratio))
        return rows

    def about(self):
        pg = self.place.sql("SHOW server_version").split()[0]
        return ("pgbench -S, %d clients, %d server connections, scale %d, %d rounds of %d s in turn; PostgreSQL %s,"
                " PgBouncer %d.%d, %d cores" % (CLIENTS, POOL, SCALE, self.rounds, self.duration, pg, *self.version,
                                                os.cpu_count()))


HEAD = ("protocol", "pooler", "tps", "CPU us/transaction", "first to last, paired: median (range)")


def write(about, rows):
    path = os.path.join(ROOT, "docs", "bench.md")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    rest = ""
    if os.path.exists(path):
        with open(path) as f:
            rest = "".join(f.read().partition("\n## A tenant a request")[1:])  # tests/bench/tenants.py's
    with open(path, "w") as f:
        f.write("# What it costs\n\nMade by `make bench WRITE=1`: %s.\nMedians; CPU is the pooler's own, user and system.\n\n"
                % about)
        for row in (HEAD, ("---",) * len(HEAD), *rows):
            f.write("| " + " | ".join(row) + " |\n")
        f.write(rest)
    print("written to docs/bench.md")


def main():
    kinds = (os.environ.get("POOLERS") or "pgporter,pgbouncer").split(",")
    if not set(kinds) <= set(LABEL):
        print("POOLERS is a list of pgporter and pgbouncer", file=sys.stderr)
        return 2
    try:
        with Throwaway("pgporter-bench") as place:
            bench = Bench(place, kinds, int(os.environ.get("DURATION") or 2), int(os.environ.get("ROUNDS") or 10))
            print(bench.about(), flush=True)
            rows = bench.run()
            print()
            table(rows, HEAD)
            if "--write" in sys.argv[1:]:
                write(bench.about(), rows)
        return 0
    except Failed as e:
        print("bench: %s" % e, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was left behind", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
