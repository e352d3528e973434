"""PostgreSQL's own regression suites, as Debian has them: fetched once into build/regress, with the library that their tests load.

Debian's source package holds them; which archive, and by which key, is read from the machine's own lists, of which a
copy that asks for sources is kept in build/. Nothing of the machine's is changed.
"""
import glob
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from throwaway import ROOT, Failed, bindir  # noqa: E402

# Where they are in PostgreSQL's source.
SUITES = {"core": "src/test/regress", "plpgsql": "src/pl/plpgsql/src"}
CACHE = os.path.join(ROOT, "build", "regress")
LISTS = ("/etc/apt/sources.list", "/etc/apt/sources.list.d/*.list", "/etc/apt/sources.list.d/*.sources")


def run(command, **how):
    done = subprocess.run(command, capture_output=True, text=True, **how)
    if done.returncode:
        raise Failed("%s\n%s" % (" ".join(command), (done.stdout + done.stderr).strip()))
    return done.stdout


def as_source_list(text, deb822):
    return re.sub(r"^Types:.*", "Types: deb-src", text, flags=re.M) if deb822 else re.sub(r"^deb ", "deb-src ", text, flags=re.M)


class Apt:
    """apt with lists of sources of its own."""

    def __init__(self):
        parts, lists = os.path.join(CACHE, "parts"), os.path.join(CACHE, "lists")
        os.makedirs(parts, exist_ok=True)
        os.makedirs(os.path.join(lists, "partial"), exist_ok=True)
        for path in sorted(p for pattern in LISTS for p in glob.glob(pattern)):
            with open(path) as f, open(os.path.join(parts, os.path.basename(path)), "w") as copy:
                copy.write(as_source_list(f.read(), path.endswith(".sources")))
        self.options = ["-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Dir::Etc::sourceparts=" + parts,
                        "-o", "Dir::State::lists=" + lists, "-o", "APT::Sandbox::User="]
        run(["apt-get"] + self.options + ["-q", "update"])

    def versions(self, package):
        said = run(["apt-cache"] + self.options + ["showsrc", package])
        return re.findall(r"^Version: (.*)$", said, re.M)

    def tarball(self, package, version):
        run(["apt-get"] + self.options + ["-q", "source", "--download-only", "--tar-only", "%s=%s" % (package, version)],
            cwd=CACHE)
        return glob.glob(os.path.join(CACHE, "%s_*.orig.tar.*" % package))[0]


def installed(package):
    return run(["dpkg-query", "-W", "-f", "${Version}", package])


def fetch_suite(major, to):
    apt, package = Apt(), "postgresql-" + major
    have, why = installed(package), None
    # The version that is installed, if its source is still there; else whichever is.
    for version in sorted(apt.versions(package), key=lambda v: v != have):
        try:
            tar = apt.tarball(package, version)
            break
        except Failed as failed:
            why = failed
    else:
        raise Failed("no source of %s: %s" % (package, why))
    os.makedirs(to + ".new", exist_ok=True)
    for name, folder in SUITES.items():
        os.makedirs(os.path.join(to + ".new", name), exist_ok=True)
        run(["tar", "xf", tar, "-C", os.path.join(to + ".new", name), "--strip-components=%d" % (folder.count("/") + 2),
             "--wildcards", "*/" + folder])
    os.unlink(tar)
    with open(os.path.join(to + ".new", "debian-version"), "w") as f:
        f.write(version)
    os.rename(to + ".new", to)


def build_library(major, suite, to):
    """regress.so from the suite, against the headers of the server; refint and autoinc are in the server's package."""
    os.makedirs(to + ".new", exist_ok=True)
    headers = os.path.join(CACHE, "headers")
    os.makedirs(headers, exist_ok=True)
    with open(os.path.join(suite, "debian-version")) as f:
        package = "postgresql-server-dev-%s=%s" % (major, f.read())
    # Not installed: it would bring a compiler's worth of dependencies with it.
    run(["apt-get", "-o", "APT::Sandbox::User=", "-q", "download", package], cwd=headers)
    run(["dpkg", "-x", glob.glob(os.path.join(headers, "*.deb"))[0], headers])
    run(["gcc", "-shared", "-fPIC", "-O1", "-w", "-Werror=implicit-function-declaration",
         "-I%s/usr/include/postgresql/%s/server" % (headers, major),
         "-I/usr/include/postgresql/internal", "-I/usr/include/postgresql", os.path.join(suite, "core", "regress.c"),
         "-o", os.path.join(to + ".new", "regress.so")])
    for name in ("refint.so", "autoinc.so"):
        shutil.copy(os.path.join(os.path.dirname(bindir()), "lib", name), to + ".new")
    os.rename(to + ".new", to)


def suites():
    """(a folder with a folder for each of SUITES, the folder of their libraries, pg_regress)."""
    major = bindir().split("/")[4]
    program = "/usr/lib/postgresql/%s/lib/pgxs/src/test/regress/pg_regress" % major
    if not os.path.exists(program):
        raise Failed("no pg_regress: install postgresql-client-" + major)
    os.makedirs(CACHE, exist_ok=True)
    folder, library = os.path.join(CACHE, "suites-" + major), os.path.join(CACHE, "lib-" + major)
    if not os.path.exists(folder):
        fetch_suite(major, folder)
    if not os.path.exists(library):
        build_library(major, folder, library)
    return folder, library, program
