"""The newest PgBouncer that Debian's archive gives, built from its source package with Debian's own flags.

A Debian release keeps the PgBouncer it came with; the archive it is installed from has the newer releases' sources too. They
are fetched by apt-get with lists and folders of its own under build/, so that nothing of the system's apt changes, and built
with the libraries that are installed. Once built it stays: remove build/bench/pgbouncer to look again."""
import glob
import os
import re
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PLACE = os.path.join(ROOT, "build", "bench", "pgbouncer")
SUITES = ("sid", "trixie")  # newest first
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Missing(Exception):
    """Why it could not be had."""


def run(command, **more):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, **more)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise Missing(str(e))
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Missing("%s: %s" % (command[0], re.sub(r"\w+://\S+", "…", said[-1]) if said else "failed"))
    return done.stdout


def version(program):
    found = re.search(r"PgBouncer (\d+(?:\.\d+)+)", run([program, "-V"]))
    if not found:
        raise Missing("%s is not PgBouncer" % program)
    return tuple(int(n) for n in found.group(1).split("."))


def archive():
    """Where this system's own packages come from."""
    for uri in run(["apt-get", "indextargets", "--format", "$(REPO_URI)"]).split():
        if uri.rstrip("/").endswith("/debian"):
            return uri
    raise Missing("apt-get knows no archive of Debian's")


def fetch(suite):
    """The unpacked source of one suite's pgbouncer."""
    place = os.path.join(PLACE, suite)
    shutil.rmtree(place, ignore_errors=True)
    for part in ("lists/partial", "cache/archives/partial"):
        os.makedirs(os.path.join(place, part))
    sources = os.path.join(place, "sources.list")
    with open(sources, "w") as f:
        f.write("deb-src [signed-by=%s] %s %s main\n" % (KEYRING, archive(), suite))
    own = ["-q", "-o", "Dir::Etc::sourcelist=" + sources, "-o", "Dir::Etc::sourceparts=/dev/null",
           "-o", "Dir::State::lists=" + os.path.join(place, "lists"), "-o", "Dir::Cache=" + os.path.join(place, "cache"),
           "-o", "APT::Sandbox::User=", "-o", "Acquire::Languages=none"]
    run(["apt-get", *own, "update"])
    run(["apt-get", *own, "source", "pgbouncer"], cwd=place)
    shutil.rmtree(os.path.join(place, "lists"))
    found = glob.glob(place + "/pgbouncer-*/configure")
    if not found:
        raise Missing("the source package of %s has no configure" % suite)
    return os.path.dirname(found[0])


def build(source):
    flags = {name: run(["dpkg-buildflags", "--get", name]).strip() for name in ("CFLAGS", "CPPFLAGS", "LDFLAGS")}
    env = dict(os.environ, MAKEFLAGS="", MAKELEVEL="", **flags)
    run(["./configure", "--with-cares=yes"], cwd=source, env=env)
    run(["make", "pgbouncer"], cwd=source, env=env)
    return os.path.join(source, "pgbouncer")


def newest():
    """(program, what to call it). $PGBOUNCER names another; Debian's own is the last resort."""
    given = os.environ.get("PGBOUNCER")
    if given:
        return given, "PgBouncer %s" % ".".join(map(str, version(given)))
    why = None
    for suite in SUITES:
        built = [p for p in glob.glob(os.path.join(PLACE, suite, "pgbouncer-*", "pgbouncer"))]
        try:
            program = built[0] if built else None
            if not program and not glob.glob(os.path.join(PLACE, "*", "pgbouncer-*", "pgbouncer")):
                print("fetching and building the PgBouncer of Debian's %s ..." % suite, flush=True)
                program = build(fetch(suite))
            if program:
                return program, "PgBouncer %s" % ".".join(map(str, version(program)))
        except Missing as e:
            why = str(e)
            print("  not to be had: %s" % why, flush=True)
    own = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    if not os.path.exists(own):
        raise Missing("no pgbouncer to compare with: %s, and none is installed" % why)
    label = "PgBouncer %s" % ".".join(map(str, version(own)))
    print("no newer PgBouncer (%s): compared with the installed one, %s" % (why, label), flush=True)
    return own, label


if __name__ == "__main__":
    print("%s: %s" % newest()[::-1])
