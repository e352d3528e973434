#!/usr/bin/python3
"""make bench: what pgporter costs beside PgBouncer, in turn, on the same server.

tests/bench/load.c asks with 32 clients through each pooler in turn (A B C, C B A, A B C ...): transaction mode, 20 server
connections, the same loopback; behind them PostgreSQL, or tests/bench/stub.c, which answers at once. relay copies bytes and pools
nothing: the floor. The figure that counts is the pooler's own CPU (user and system) a request; throughput and latency depend on
who else wants the cores. Each round has all of them, and ratios are taken within a round, so that a machine that gets slower or
faster meanwhile moves all.

WORKLOADS, SERVERS=stub,postgres, POOLERS=pgporter,two-workers,pgbouncer,relay,name=/program[:/template], PGBOUNCER=/program,
PGPORTER=/program, PGPORTER_SETTINGS=option=value,..., ROUNDS=5, DURATION=2 seconds a run; --write puts the tables into docs/bench.md.
"""
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time

from players import CLIENTS, PASSWORD, POOL, Load, Poolers, cpu_seconds, resident_kib, start_server, thread_seconds
from throwaway import ROOT, Failed, Throwaway, table

WORK = {  # name: what the clients do, how they log in
    "simple": {}, "extended": {}, "prepared": {}, "transaction": {}, "orm": {}, "set": {"without": "transaction"}, "tenants": {}, "rows": {}, "wide": {},
    "churn": {"scram": True}, "churn-tls": {"scram": True, "tls": True},
}
FIRST = ("simple", "extended", "prepared", "transaction", "orm")
EXTRA = ("calls", "memory", "arrivals")
CALLS = ("recvfrom", "sendto", "read", "write", "writev", "recvmsg", "sendmsg", "epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_ctl",
         "accept4", "close", "timerfd_settime", "futex", "getpid", "clock_gettime")
CROWD = 10000


def middle(values, form="%.2f"):
    values = list(values)
    return (form + " (" + form + "-" + form + ")") % (statistics.median(values), min(values), max(values))


class Bench:
    def __init__(self, poolers, seconds, rounds):
        self.poolers, self.seconds, self.rounds = poolers, seconds, rounds
        self.sections = []  # (title, head, rows)

    def one(self, process, port, name, work, seconds):
        args = ["-c", CLIENTS, "-t", seconds] + (["-E"] if work.get("tls") else [])
        with Load(port, "churn" if name.startswith("churn") else name, *args, password=PASSWORD) as load:
            before, threads = cpu_seconds(process.pid), thread_seconds(process.pid)
            load.begin()
            result = load.result()
            cpu = cpu_seconds(process.pid) - before
            split = [now - threads.get(task, 0) for task, now in thread_seconds(process.pid).items()]
            load.close()
        return {"tps": result["done"] / result["seconds"], "cpu": cpu / result["done"] * 1e6, "p50": result["p50"],
                "p99": result["p99"], "p999": result["p999"], "split": max(split) / max(min(split), 0.01)}

    def measure(self, place, server_port, name):
        """{pooler: a result a round}"""
        work, started, results = WORK[name], {}, {}
        for pooler in self.poolers.names:
            if self.poolers.can(pooler, name):
                started[pooler] = self.poolers.start(place, pooler, server_port, work.get("scram"), work.get("tls"))
                self.one(*started[pooler], name, work, 1)
                results[pooler] = []
        for n in range(self.rounds):
            for pooler in list(started)[::-1 if n % 2 else 1]:
                result = self.one(*started[pooler], name, work, self.seconds)
                if "without" in work:
                    result["times"] = result["cpu"] / self.one(*started[pooler], work["without"], work, self.seconds)["cpu"]
                results[pooler].append(result)
            print("  %-11s round %d: %s" % (name, n + 1, ", ".join(
                "%s %.0f/s %.1f us" % (p, r[-1]["tps"], r[-1]["cpu"]) for p, r in results.items())), flush=True)
        for process, _port in started.values():
            place.stop(process)
        return results

    def rows_of(self, name, results):
        for pooler, mine in results.items():
            beside = ""
            if pooler != "pgbouncer" and "pgbouncer" in results:
                pairs = list(zip(mine, results["pgbouncer"]))
                beside = ", ".join("%s %s" % (label, middle(a[key] / b[key] for a, b in pairs)) for label, key in
                                   (("CPU", "cpu"), ("requests", "tps"), ("p50", "p50"), ("p99", "p99")))
            def median(key):
                return statistics.median(r[key] for r in mine)
            yield (name, self.poolers.label[pooler], "%.0f" % median("tps"), "%.1f" % median("cpu"), "%.0f" % median("p50"),
                   "%.0f" % median("p99"), "%.0f" % median("p999"), beside)

    def times(self, place, server, server_port, names):
        rows, with_set, threads = [], [], []
        for name in names:
            results = self.measure(place, server_port, name)
            rows += self.rows_of(name, results)
            if {"pgporter", "two-workers"} <= set(results):
                pairs = list(zip(results["two-workers"], results["pgporter"]))
                threads.append((name, *(middle(two[key] / one[key] for two, one in pairs) for key in ("cpu", "tps")),
                                middle(two["split"] for two, _one in pairs)))
            if name == "set":
                with_set = [(self.poolers.label[p], middle(r["times"] for r in mine)) for p, mine in results.items()]
        self.sections.append(("Against %s" % ("the stub" if server == "stub" else "PostgreSQL"),
                              ("workload", "pooler", "requests/s", "CPU us/request", "p50 us", "p99 us", "p99.9 us",
                               "beside PgBouncer, by round: median (range)"), rows))
        self.sections.append(("Two workers beside one, against %s" % server,
                              ("workload", "CPU a request", "requests/s", "busier thread's CPU beside the other's"), threads))
        self.sections.append(("A SET ahead of each transaction: against %s" % server, ("pooler", "CPU with it / without it, by round"), with_set))

    def calls(self, place, server_port):
        rows = []
        for name in FIRST:
            for pooler in self.poolers.names:
                if not self.poolers.can(pooler, name):
                    continue
                count, by_name = Counter(self.poolers, place, pooler, server_port, name).calls()
                rows.append((name, self.poolers.label[pooler], "%.2f" % count, ", ".join(
                    "%s %.2f" % i for i in sorted(by_name.items(), key=lambda i: -i[1]) if i[1] >= 0.005)))
        self.sections.append(("System calls a request, %d clients" % CLIENTS, ("workload", "pooler", "calls", "of which"), rows))

    def memory(self, place, server_port):
        rows = []
        for name, label, at_once in (("tenants", "with settings", CLIENTS), ("tenants", "the same, all having arrived at once", CROWD),
                                     ("tenants-prepared", "with settings and 20 shared prepared statements", CLIENTS)):
            for pooler in self.poolers.names:
                if pooler == "relay" or not self.poolers.can(pooler, name):
                    continue
                process, port = self.poolers.start(place, pooler, server_port, settings={"max_client_conn": CROWD + 100})
                with Load(port, name, "-n", 10) as load:
                    load.begin()
                    load.result()
                    load.close()
                before = resident_kib(process.pid)
                with Load(port, name, "-c", CROWD, "-b", at_once):
                    rows.append((label, self.poolers.label[pooler], "%.2f" % ((resident_kib(process.pid) - before) / CROWD)))
                place.stop(process)
        self.sections.append(("Memory of an idle client, %d of them" % CROWD, ("client", "pooler", "KiB"), rows))

    def arrivals(self, place, server_port):
        rows = []
        for pooler in self.poolers.names:
            if pooler == "relay":
                continue
            process, port = self.poolers.start(place, pooler, server_port, True, settings={"max_client_conn": CROWD + 100})
            alone = self.one(process, port, "simple", {}, 4)
            with Load(port, "simple", "-t", 4, password=PASSWORD) as load:
                load.begin()
                began = time.monotonic()
                with Load(port, "simple", "-c", CROWD, password=PASSWORD):  # an error ends it
                    took = time.monotonic() - began
                    busy = load.result()
                load.close()
            place.stop(process)
            rows.append((self.poolers.label[pooler], "%.1f" % took, "%.0f" % alone["p99"], "%.0f" % busy["p99"], "%.2f" % (busy["p99"] / alone["p99"])))
        self.sections.append(("%d clients arrive at once (SCRAM) while %d ask" % (CROWD, CLIENTS),
                              ("pooler", "s until all are in", "p99 us alone", "p99 us meanwhile", "ratio"), rows))


class Counter:
    """System calls of a pooler, by perf where it may count them, which disturbs least, else by strace."""
    LENGTHS = (20, 120)  # requests a client

    def __init__(self, poolers, place, pooler, server_port, name):
        self.poolers, self.place, self.pooler, self.server_port, self.name = poolers, place, pooler, server_port, name

    def work(self, port, requests):
        with Load(port, self.name, "-n", requests) as load:
            load.begin()
            load.result()
            load.close()

    def calls(self):
        """(calls a request, {name: calls a request})"""
        allowed = shutil.which("perf") and not subprocess.run(["perf", "stat", "-e", "raw_syscalls:sys_enter", "true"], capture_output=True).returncode
        return self.by_perf() if allowed else self.by_strace()

    def by_perf(self):
        process, port = self.poolers.start(self.place, self.pooler, self.server_port)
        self.work(port, 50)
        counts, requests = [], (200, 1200)
        for n in requests:
            out = self.place.path("perf.out")
            events = ["raw_syscalls:sys_enter"] + ["syscalls:sys_enter_" + c for c in CALLS
                                                   if os.path.exists("/sys/kernel/tracing/events/syscalls/sys_enter_" + c)]
            perf = subprocess.Popen(["perf", "stat", "-x", ",", "-o", out, "-e", ",".join(events), "-p", str(process.pid)],
                                    stderr=subprocess.DEVNULL)
            time.sleep(0.3)  # nothing says when it counts; what it misses is the login of both runs
            self.work(port, n)
            perf.send_signal(signal.SIGINT)
            perf.wait()
            with open(out) as f:
                counts.append({m.group(2): int(m.group(1)) for m in re.finditer(r"^(\d+),,\w+:sys_enter_?(\w*)", f.read(), re.M)})
        self.place.stop(process)
        return self.difference(counts, requests)

    def by_strace(self):
        counts = []
        for n in self.LENGTHS:
            out = self.place.write("strace.out", "")
            process, port = self.poolers.start(self.place, self.pooler, self.server_port, wrap=["strace", "-f", "-c", "-o", out])
            self.work(port, n)
            with open("/proc/%d/task/%d/children" % (process.pid, process.pid)) as f:
                os.kill(int(f.read().split()[0]), signal.SIGTERM)
            process.wait(20)
            with open(out) as f:
                found = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", f.read(), re.M)
            counts.append({name if name != "total" else "": int(count) for count, name in found})
        return self.difference(counts, self.LENGTHS)

    @staticmethod
    def difference(counts, lengths):
        done = (lengths[1] - lengths[0]) * CLIENTS
        each = {name: (counts[1][name] - counts[0].get(name, 0)) / done for name in counts[1]}
        return each.pop(""), each


def about(bench, versions):
    return "%d clients, %d server connections, %d rounds of %d s in turn; %s; %d cores" % (
        CLIENTS, POOL, bench.rounds, bench.seconds, ", ".join(versions), os.cpu_count())


def write(text, sections):
    path = os.path.join(ROOT, "docs", "bench.md")
    with open(path) as f:
        rest = "".join(f.read().partition("\n## A tenant a request")[1:])  # tests/bench/tenants.py's
    with open(path, "w") as f:
        f.write("# What it costs\n\nMade by `make bench WRITE=1`: %s.\nMedians; CPU is the pooler's own, user and system.\n" % text)
        for title, head, rows in sections:
            f.write("\n## %s\n\n" % title)
            for row in (head, ("---",) * len(head), *rows):
                f.write("| " + " | ".join(row) + " |\n")
        f.write(rest)
    print("written to docs/bench.md")


def chosen(name, all_):
    names = [n for n in (os.environ.get(name) or ",".join(all_)).split(",") if n]
    if not set(names) <= set(all_):
        raise Failed("%s is a list of %s" % (name, ", ".join(all_)))
    return names


def play(bench, servers, workloads, versions):
    for server in servers:
        with Throwaway("pgporter-bench") as place:
            port = start_server(place, server)
            if server == "postgres":
                versions.append("PostgreSQL " + place.sql("SHOW server_version").split()[0])
            bench.times(place, server, port, [w for w in workloads if w in WORK])
            for extra in [w for w in workloads if w in EXTRA] if server == servers[0] else []:
                getattr(bench, extra)(place, port)


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        servers, workloads = chosen("SERVERS", ("stub", "postgres")), chosen("WORKLOADS", (*WORK, *EXTRA))
        poolers = Poolers((os.environ.get("POOLERS") or "pgporter,two-workers,pgbouncer,relay").split(","))
        bench = Bench(poolers, int(os.environ.get("DURATION") or 2), int(os.environ.get("ROUNDS") or 5))
        versions = [poolers.label["pgbouncer"]] if "pgbouncer" in poolers.names else []
        play(bench, servers, workloads, versions)
        bench.sections = [s for s in bench.sections if s[2]]
        print("\n" + about(bench, versions))
        for title, head, rows in bench.sections:
            print("\n%s\n" % title)
            table(rows, head)
        if "--write" in sys.argv[1:]:
            write(about(bench, versions), bench.sections)
        return 0
    except Failed as e:
        print("bench: %s" % e, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was left behind", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
