#!/usr/bin/python3
"""make instructions: user instructions a request, counted by callgrind, must not grow.

Time differs from run to run; what is executed for a request hardly does. build/pgporter runs under callgrind before the stub twice
a workload, with one client that asks some times and more times; the difference is what the further requests took. One client: how
many events a turn of the loop finds would depend on who else wants the cores. More than TOLERANCE above the figure in
tests/bench/instructions.txt fails; as much below, it asks for the figure to be lowered (--write writes all of them). Figures are those
of the compiler, C library and processor named there: with others they are printed and not compared, which is said.

POOLERS counts others too, which are not compared; WORKLOADS chooses; PROFILE=25 prints the functions and libraries that
take most.
"""
import os
import platform
import re
import signal
import subprocess
import sys

from players import Load, Poolers, start_server
from throwaway import Failed, Throwaway, table

WORKLOADS = ("simple", "extended", "prepared", "transaction", "orm")
REQUESTS, TOLERANCE = (200, 1200), 0.03
FIGURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "instructions.txt")


def toolchain():
    compiler = subprocess.run([os.environ.get("CC") or "gcc", "-dumpfullversion"], capture_output=True, text=True).stdout.strip()
    with open("/proc/cpuinfo") as f:
        avx2 = " with AVX2" if re.search(r"\bavx2\b", f.read()) else ""
    return "gcc %s, %s, %s%s" % (compiler, " ".join(platform.libc_ver()), platform.machine(), avx2)


class Counted:
    """One pooler and workload under callgrind."""

    def __init__(self, place, poolers, server_port, name, workload):
        runs = []
        for n in REQUESTS:
            out = place.path("callgrind.%s.%s.%d" % (name, workload, n))
            process, port = poolers.start(place, name, server_port, wrap=["valgrind", "-q", "--tool=callgrind", "--callgrind-out-file=" + out])
            with Load(port, workload, "-c", 1, "-n", n, "-S", 1) as load:
                load.begin()
                load.result()
                load.close()
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            runs.append(out)
        self.runs, self.name = runs, name

    @staticmethod
    def total(out):
        with open(out) as f:
            return int(re.search(r"^(?:totals|summary): (\d+)", f.read(), re.M).group(1))

    def functions(self, out):
        """{function of the pooler, or library: instructions}; what is inlined counts where it is."""
        text = subprocess.run(["callgrind_annotate", "--threshold=100", out], capture_output=True, text=True).stdout
        found = {}
        for count, function, place in re.findall(r"^ *([\d,]+) \( *[\d.]+%\)  \S+:(\S+)(?: \[(\S+)\])?", text, re.M):
            place = os.path.basename(place)
            name = re.sub(r"\.(lto_priv|part|constprop|isra).*", "", function) if place in ("", self.name) else place
            found[name] = found.get(name, 0) + int(count.replace(",", ""))
        return found

    def each(self):
        few, more = map(self.total, self.runs)
        return (more - few) / (REQUESTS[1] - REQUESTS[0])

    def profile(self, most):
        few, more = map(self.functions, self.runs)
        each = {name: (n - few.get(name, 0)) / (REQUESTS[1] - REQUESTS[0]) for name, n in more.items()}
        for name in sorted(each, key=each.get, reverse=True)[:most]:
            print("  %8.1f  %s" % (each[name], name))


def figures():
    """(toolchain, {workload: figure})"""
    with open(FIGURES) as f:
        head, *lines = f.read().splitlines()
    return head.lstrip("# "), {w: int(n) for w, n in (line.split() for line in lines)}


def judge(counted):
    """True where nothing has grown; says what is to be said."""
    made_by, allowed = figures()
    if made_by != toolchain():
        print("not compared: the figures are of %s, this is %s" % (made_by, toolchain()))
        return True
    fine = True
    for workload, n in counted.items():
        if n > allowed[workload] * (1 + TOLERANCE):
            print("%s: %.0f instructions a request, %d are allowed (tests/bench/instructions.txt)" % (workload, n, allowed[workload]))
            fine = False
        elif n < allowed[workload] * (1 - TOLERANCE):
            print("%s: %.0f instructions a request, fewer than the figure of %d: lower it (make instructions WRITE=1)"
                  % (workload, n, allowed[workload]))
    return fine


def count(names, workloads):
    """{workload: pgporter's}; prints all."""
    poolers, rows, mine = Poolers(names), [], {}
    with Throwaway("pgporter-instructions") as place:
        port = start_server(place, "stub")
        for workload in workloads:
            for name in names:
                counted = Counted(place, poolers, port, name, workload)
                rows.append((workload, poolers.label[name], "%.0f" % counted.each()))
                if name == "pgporter":
                    mine[workload] = counted.each()
                if os.environ.get("PROFILE"):
                    print("%s, %s" % (workload, poolers.label[name]))
                    counted.profile(int(os.environ["PROFILE"]))
    table(rows, ("workload", "pooler", "instructions a request"))
    return mine


def main():
    try:
        mine = count((os.environ.get("POOLERS") or "pgporter").split(","), (os.environ.get("WORKLOADS") or ",".join(WORKLOADS)).split(","))
        if "--write" in sys.argv[1:]:
            mine = {**(figures()[1] if os.path.exists(FIGURES) else {}), **mine}
            with open(FIGURES, "w") as f:
                f.write("# %s\n" % toolchain() + "".join("%s %.0f\n" % i for i in mine.items()))
            return 0
        return 0 if judge(mine) else 1
    except Failed as e:
        print("instructions: %s" % e, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
