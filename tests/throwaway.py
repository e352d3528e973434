"""A PostgreSQL and a pooler of one's own, gone afterwards: for the demo and the bench. Standard library only.

Everything lives in one temporary folder and listens on loopback and on sockets in that folder. PostgreSQL and the poolers
refuse root, so as root they run as `postgres` (or `nobody`) and binaries are copied to where that user can enter.
"""
import csv
import glob
import io
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Failed(Exception):
    """Something could not be set up; the text is for the person who ran it."""


def bindir():
    """Where initdb and postgres are: $PGBIN, else the newest that Debian has, else what pg_config says."""
    if os.environ.get("PGBIN"):
        return os.environ["PGBIN"]
    found = [d for d in glob.glob("/usr/lib/postgresql/*/bin") if os.path.exists(d + "/initdb")]
    if found:
        return max(found, key=lambda d: float(d.split("/")[4]))
    if shutil.which("pg_config"):
        return subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True).stdout.strip()
    raise Failed("no PostgreSQL server found: install postgresql, or set PGBIN to the folder of initdb")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def tail(path, lines=25):
    try:
        with open(path, errors="replace") as f:
            return "".join(f.readlines()[-lines:])
    except OSError:
        return ""


class Throwaway:
    """Use as a context manager. keep=True leaves everything running and in place at the end."""

    def __init__(self, name, keep=False):
        self.keep = keep
        self.as_server = {}
        self.processes = []
        self.dir = tempfile.mkdtemp(prefix=name + "-")
        os.chmod(self.dir, 0o755)
        if os.getuid() == 0:
            names = [u.pw_name for u in pwd.getpwall()]
            user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
            self.as_server = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [user.pw_gid]}
            os.chown(self.dir, user.pw_uid, user.pw_gid)
        self.pg_port = None

    def __enter__(self):
        def stop(signum, frame):
            raise SystemExit(128 + signum)
        for s in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, stop)
        return self

    def __exit__(self, kind, value, trace):
        if self.keep and kind is None:
            return
        # A second Ctrl-C must not leave a server behind.
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, signal.SIG_IGN)
        for process in reversed(self.processes):
            self.stop(process)
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)
        if self.as_server:
            os.chown(self.path(name), self.as_server["user"], self.as_server["group"])
        return self.path(name)

    def start(self, name, command):
        """Start a server; its output goes to NAME.log in the folder."""
        log = open(self.path(name + ".log"), "ab")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir,
                                   start_new_session=True, **self.as_server)
        log.close()
        process.name = name
        self.processes.append(process)
        return process

    def stop(self, process):
        if process.poll() is None:
            process.send_signal(signal.SIGINT if process.name == "postgres" else signal.SIGQUIT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                # PostgreSQL's own way of going at once; its children follow it.
                process.send_signal(signal.SIGQUIT if process.name == "postgres" else signal.SIGKILL)
                process.wait()
        if process in self.processes:
            self.processes.remove(process)

    def wait_for(self, process, port, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise Failed("%s did not come up:\n%s" % (process.name, tail(self.path(process.name + ".log"))))

    def postgres(self, settings=""):
        bin, data = bindir(), self.path("data")
        done = subprocess.run([bin + "/initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C",
                               "--no-sync"], capture_output=True, text=True, cwd=self.dir, **self.as_server)
        if done.returncode:
            raise Failed("initdb: " + done.stderr)
        self.pg_port = free_port()
        with open(data + "/postgresql.conf", "a") as f:
            f.write("listen_addresses = '127.0.0.1'\nport = %d\nunix_socket_directories = '%s'\nmax_connections = 100\n"
                    "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n%s\n"
                    % (self.pg_port, self.dir, settings))
        process = self.start("postgres", [bin + "/postgres", "-D", data])
        self.wait_for(process, self.pg_port)
        # Connections are accepted a moment before they are served.
        end = time.monotonic() + 20
        while True:
            try:
                self.sql("SELECT 1")
                return process
            except Failed:
                if process.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def pooler(self, kind, settings, databases, users, program=None, template=None, wrap=()):
        """kind: pgporter, pgbouncer, or a name for another program; settings: a dict for its own section; databases: lines;
        users: names without a password, or a dict of secrets. $PGPORTER names another build than build/pgporter; template: a
        configuration with {port}, {databases}, {users} (a file) and {dir} in place of PgBouncer's; wrap: a command to run it
        under. Returns (process, port)."""
        port = free_port()
        source = program or {"pgporter": os.environ.get("PGPORTER") or os.path.join(ROOT, "build", "pgporter"),
                             "pgbouncer": shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"}[kind]
        if not os.path.exists(source):
            raise Failed("%s is not there: %s" % (source, "run make first" if kind == "pgporter" else "install " + kind))
        copied = self.path(kind)
        if not os.path.exists(copied):
            shutil.copy(source, copied)
            os.chmod(copied, 0o755)
        secrets = users if isinstance(users, dict) else dict.fromkeys(users, "")
        auth = self.write(kind + ".users", "".join('"%s" "%s"\n' % i for i in secrets.items()))
        own = {"listen_addr": "127.0.0.1", "listen_port": port, "unix_socket_dir": self.dir, "auth_type": "trust",
               "auth_file": auth}
        own.update(settings)
        if template:
            with open(template) as f:
                ini = f.read().format(port=port, databases=databases, users=auth, dir=self.dir)
        else:
            ini = "[databases]\n%s\n\n[pgbouncer]\n%s\n" % (databases, "\n".join("%s = %s" % i for i in own.items()))
        process = self.start(kind, [*wrap, copied, self.write(kind + ".ini", ini)])
        self.wait_for(process, port)
        return process, port

    def conninfo(self, database="postgres", user="postgres", port=None):
        """Straight to PostgreSQL over its unix socket, so that only poolers have a client_addr in pg_stat_activity."""
        return "host=%s port=%d dbname=%s user=%s" % (self.dir, port or self.pg_port, database, user)

    def sql(self, text, database="postgres", user="postgres"):
        """One or more statements straight to PostgreSQL; returns psql's unaligned output."""
        done = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.conninfo(database, user), "-c", text],
                              capture_output=True, text=True)
        if done.returncode:
            raise Failed(done.stderr.strip())
        return done.stdout.strip()


def console(port, commands, user="admin", database="pgbouncer"):
    """Run SHOW commands on a pooler's console: a list of lists of dicts, one a command; None where it gave an error."""
    args = ["psql", "-X", "-q", "--csv", "-d", "host=127.0.0.1 port=%d dbname=%s user=%s" % (port, database, user)]
    answers = []
    for command in commands:
        try:
            done = subprocess.run(args + ["-c", command], capture_output=True, text=True, timeout=3)
        except subprocess.TimeoutExpired:
            answers.append(None)
            continue
        answers.append(None if done.returncode else list(csv.DictReader(io.StringIO(done.stdout))))
    return answers


def table(rows, head):
    """Print rows (tuples of text) under a head in columns as wide as they need to be; the last one is not padded."""
    rows = [tuple(str(c) for c in r) for r in rows]
    widths = [max(len(r[i]) for r in rows + [head]) for i in range(len(head))]
    for row in [head, tuple("-" * w for w in widths)] + rows:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip())
    sys.stdout.flush()
