"""A throwaway PostgreSQL and the pooler in front of it, as child processes that die with the tests.

Environment:
  PGPORTER  the pgporter binary to test (build/pgporter of this tree)
  POOLER    pgporter, pgbouncer, or direct: no pooler at all, which proves the tests themselves
  CARRY     0: pgporter carries no session state, state_preset = pgbouncer (rows_red.py)
  PG_BIN    where initdb and postgres are
"""

import atexit
import functools
import glob
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest

import rawpg

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
POOLER = os.environ.get("POOLER", "pgporter")
PGPORTER = os.environ.get("PGPORTER", os.path.join(ROOT, "build", "pgporter"))
START_DEADLINE = 30
SANITIZER_SAID = re.compile(r"ERROR: \w+Sanitizer|runtime error:")


def _pg_bin():
    if "PG_BIN" in os.environ:
        return os.environ["PG_BIN"]
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: int(p.split("/")[4]))
    return found[-1] if found else os.path.dirname(shutil.which("postgres") or "")


@functools.lru_cache
def pg_version():
    """The major version of the PostgreSQL that servers are started from."""
    said = subprocess.run([os.path.join(_pg_bin(), "postgres"), "--version"], check=True, capture_output=True, text=True).stdout
    return int(re.search(r"\d+", said)[0])


def _unprivileged():
    """The user servers run as: ourselves, unless we are root, whom they refuse."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    raise RuntimeError("running as root, and neither postgres nor nobody exists")


USER = _unprivileged()


def command_as_user(command, die_with_us=True):
    """The command, wrapped so that it runs unprivileged and ends when this process does."""
    wrap = ["setpriv"]
    if USER:
        wrap += ["--reuid=%d" % USER.pw_uid, "--regid=%d" % USER.pw_gid, "--clear-groups"]
    if die_with_us:
        wrap += ["--pdeathsig=QUIT"]
    return wrap + ["--"] + command if len(wrap) > 1 else command


MEMORY = "/dev/shm"
MEMORY_FREE = 2 << 30  # for data in memory; some containers give next to none


class Workspace:
    """A folder the unprivileged user owns, removed at exit; and one in memory, where there is room."""

    def __init__(self):
        self.path = self.data = self._new(None)
        if os.path.isdir(MEMORY) and shutil.disk_usage(MEMORY).free >= MEMORY_FREE:
            self.data = self._new(MEMORY)
        atexit.register(self.remove)

    def _new(self, where):
        path = tempfile.mkdtemp(prefix="pgporter-", dir=where)
        os.chmod(path, 0o755)
        return self.own(path)

    def data_folder(self, name):
        """For files without end, none of which is a program."""
        path = os.path.join(self.data, name)
        os.makedirs(path, exist_ok=True)
        return self.own(path)

    def own(self, path):
        if USER:
            os.chown(path, USER.pw_uid, USER.pw_gid)
        return path

    def folder(self, name):
        path = os.path.join(self.path, name)
        os.makedirs(path, exist_ok=True)
        return self.own(path)

    def write(self, name, text):
        path = os.path.join(self.path, name)
        with open(path, "w") as out:
            out.write(text)
        return self.own(path)

    def copy(self, binary):
        """The binary where the unprivileged user may run it."""
        path = os.path.join(self.folder("bin"), os.path.basename(binary))
        if not os.path.exists(path):
            shutil.copy(binary, path)
            os.chmod(path, 0o755)
        return path

    def remove(self):
        for path in {self.path, self.data}:
            shutil.rmtree(path, ignore_errors=True)


class Process:
    """A child in a process group of its own, its output read by a thread and waited for by line."""

    living = []

    def __init__(self, name, command, env=None, cwd="/"):
        self.name = name
        self.lines = []
        self.changed = threading.Condition()
        self.ended = False
        self.popen = subprocess.Popen(
            command_as_user(command), env={**os.environ, **(env or {})}, cwd=cwd, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, errors="backslashreplace")
        Process.living.append(self)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    @property
    def pid(self):
        return self.popen.pid

    def _read(self):
        for line in self.popen.stdout:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def output(self, last=60):
        return "\n".join(self.lines[-last:])

    def wait_line(self, pattern, since=0, deadline=START_DEADLINE):
        """The first line from number since on that matches; dies with the output when the process ends first."""
        until = time.monotonic() + deadline
        at = since
        with self.changed:
            while True:
                for line in self.lines[at:]:
                    if re.search(pattern, line):
                        return line
                at = len(self.lines)
                left = until - time.monotonic()
                if self.ended or left <= 0:
                    raise AssertionError("%s: no line like %r\n%s" % (self.name, pattern, self.output()))
                self.changed.wait(left)

    def wait_any(self, test, deadline=START_DEADLINE):
        """Asks test() at the start, after each line of output, and now and then without one, until it says yes."""
        until = time.monotonic() + deadline
        while not test():
            with self.changed:
                if self.ended or time.monotonic() > until:
                    raise AssertionError("%s did not come up\n%s" % (self.name, self.output()))
                self.changed.wait(0.02)

    def alive(self):
        return self.popen.poll() is None

    def signal(self, number):
        if self.alive():
            os.kill(self.pid, number)

    def wait(self, deadline):
        code = self.popen.wait(deadline)
        self.thread.join(deadline)
        if self in Process.living:
            Process.living.remove(self)
        return code

    def kill(self):
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self.wait(10)


@atexit.register
def kill_all():
    for process in list(Process.living):
        try:
            process.kill()
        except Exception:  # the others still have to go
            pass


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def listens(address):
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(address)
            return True
        except OSError:
            return False


# Who may come in without a password, and how the others prove themselves.
TRUSTED = ("postgres", "boss", "app", "other", "plainold")
SECRETS = {"u_scram": "sekret-scram", "u_md5": "sekret-md5", "u_clear": "sekret-clear"}

HBA = """
local all %(trusted)s trust
host all %(trusted)s 127.0.0.1/32 trust
local all u_scram scram-sha-256
host all u_scram 127.0.0.1/32 scram-sha-256
local all u_md5 md5
host all u_md5 127.0.0.1/32 md5
local all u_clear password
host all u_clear 127.0.0.1/32 password
""" % {"trusted": ",".join(TRUSTED)}

SETTINGS = {
    "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "70",
    "shared_buffers": "32MB", "password_encryption": "scram-sha-256", "logging_collector": "off",
    "max_prepared_transactions": "5", "timezone": "UTC", "log_timezone": "UTC", "autovacuum": "off",
    "log_min_messages": "warning", "log_min_error_statement": "panic", "lc_messages": "C",
    "max_wal_senders": "0", "wal_level": "minimal", "jit": "off",
}

SETUP = """
CREATE ROLE boss SUPERUSER LOGIN;
CREATE ROLE app LOGIN;
CREATE ROLE other LOGIN;
CREATE ROLE plainold LOGIN;
CREATE ROLE u_scram LOGIN PASSWORD 'sekret-scram';
SET password_encryption = 'md5';
CREATE ROLE u_md5 LOGIN PASSWORD 'sekret-md5';
RESET password_encryption;
CREATE ROLE u_clear LOGIN PASSWORD 'sekret-clear';
CREATE DATABASE app;
CREATE DATABASE second;
"""


def app_setup():
    """What database app holds: roles r1..r5, schemas s1..s5 whose table t says which schema it is in."""
    sql = ["GRANT ALL ON DATABASE app TO PUBLIC", "GRANT ALL ON SCHEMA public TO PUBLIC"]
    for n in range(1, 6):
        sql += ["CREATE ROLE r%d" % n, "GRANT r%d TO app, other, u_scram, u_md5" % n,
                "GRANT ALL ON DATABASE app TO r%d" % n,
                "CREATE SCHEMA s%d" % n, "GRANT ALL ON SCHEMA s%d TO PUBLIC" % n,
                "CREATE TABLE s%d.t (v text)" % n, "INSERT INTO s%d.t VALUES ('in s%d')" % (n, n),
                "GRANT ALL ON s%d.t TO PUBLIC" % n,
                "CREATE FUNCTION s%d.f() RETURNS text LANGUAGE sql AS $$SELECT 'f of s%d'::text$$" % (n, n)]
    sql += [
        'CREATE SCHEMA "odd, ""name"" with \'quotes\' \\"',
        'CREATE TABLE "odd, ""name"" with \'quotes\' \\".t AS SELECT \'in the odd one\'::text AS v',
        'GRANT USAGE ON SCHEMA "odd, ""name"" with \'quotes\' \\" TO PUBLIC',
        'GRANT ALL ON ALL TABLES IN SCHEMA "odd, ""name"" with \'quotes\' \\" TO PUBLIC',
        "CREATE SEQUENCE drawn", "GRANT ALL ON SEQUENCE drawn TO PUBLIC",
        "CREATE TABLE nums AS SELECT n FROM generate_series(1, 1000) AS n",
        "GRANT ALL ON nums TO PUBLIC",
        "CREATE TABLE tenants (tenant text, v text)",
        "INSERT INTO tenants VALUES ('a', 'of a'), ('b', 'of b')",
        "GRANT ALL ON tenants TO PUBLIC",
        "ALTER TABLE tenants ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY own ON tenants USING (tenant = current_setting('app.tenant', true))",
        "CREATE TABLE deferred (id int CONSTRAINT once UNIQUE DEFERRABLE INITIALLY DEFERRED)",
        "GRANT ALL ON deferred TO PUBLIC",
        "CREATE FUNCTION set_quietly(n text, v text) RETURNS void LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM set_config(n, v, false); END$$",
        "CREATE FUNCTION lock_quietly(k int) RETURNS void LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM pg_advisory_lock(k); END$$",
        "CREATE FUNCTION temp_quietly() RETURNS void LANGUAGE plpgsql AS "
        "$$BEGIN CREATE TEMP TABLE hidden (v text); INSERT INTO hidden VALUES ('made inside'); END$$",
        "CREATE PROCEDURE commits(n text, v text) LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM set_config(n, v, false); COMMIT; PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN NULL; END$$",
        "CREATE PROCEDURE commits_midway(n text, v text, w text) LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM set_config(n, v, false); COMMIT; PERFORM set_config(n, w, false); ROLLBACK; END$$",
        "CREATE FUNCTION says(t text) RETURNS text LANGUAGE plpgsql AS "
        "$$BEGIN RAISE NOTICE 'it says %', t; RETURN t; END$$",
        "CREATE TABLE touched (v text)", "GRANT ALL ON touched TO PUBLIC",
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM set_config('my.touched', NEW.v, false); RETURN NEW; END$$",
        "CREATE TRIGGER touch BEFORE INSERT ON touched FOR EACH ROW EXECUTE FUNCTION touch()",
        "ANALYZE",
    ]
    return sql


class Cluster:
    """One PostgreSQL server on a free loopback port and a unix socket."""

    def __init__(self, space, settings=None, hba=""):
        self.space = space
        self.data = space.data_folder("data")
        self.sockets = space.folder("pg")
        self.bin = _pg_bin()
        self.port = free_port()
        subprocess.run(command_as_user([
            os.path.join(self.bin, "initdb"), "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
            "--locale=C", "--no-sync"]), check=True, cwd="/", stdout=subprocess.DEVNULL)
        space.write(os.path.join(self.data, "pg_hba.conf"), HBA + hba)
        self.command = [os.path.join(self.bin, "postgres"), "-D", self.data, "-p", str(self.port), "-k", self.sockets,
                        "-h", "127.0.0.1"]
        for name, value in {**SETTINGS, **(settings or {})}.items():
            self.command += ["-c", "%s=%s" % (name, value)]
        self._start()
        self._fill()
        self.keeper = self.admin()

    def _start(self):
        self.process = Process("postgres", self.command)
        self.process.wait_any(self._answers)

    def halt(self):
        """Stops the server as an operator would; resume() starts it again."""
        self.keeper.terminate()
        self.process.signal(signal.SIGINT)
        self.process.wait(20)

    def resume(self):
        self._start()
        self.keeper = self.admin()

    def _answers(self):
        try:
            with self.admin("postgres") as conn:
                return conn.status == "I" and not conn.closed
        except (OSError, rawpg.Gone):
            return False

    def _fill(self):
        with self.admin("postgres") as conn:
            for sql in filter(None, (part.strip() for part in SETUP.split(";"))):
                conn.value(sql)
        with self.admin() as conn:
            for sql in app_setup():
                conn.value(sql)

    @property
    def address(self):
        return "127.0.0.1", self.port

    @property
    def socket(self):
        return os.path.join(self.sockets, ".s.PGSQL.%d" % self.port)

    def admin(self, database="app"):
        return rawpg.Conn(self.address, "postgres", database)

    def tidy(self):
        """What scenarios may leave behind, undone."""
        self.keeper.q("SET client_min_messages = error; DROP SCHEMA IF EXISTS scratch, r1 CASCADE; CREATE SCHEMA scratch; "
                      "GRANT ALL ON SCHEMA scratch TO PUBLIC; TRUNCATE deferred, touched")

    def throw_out(self):
        """Ends every session of the application's users: after a failure nobody may still hold or wait for a lock."""
        with self.admin() as conn:
            others = "FROM pg_stat_activity WHERE usename <> 'postgres' AND backend_type = 'client backend'"
            conn.value("SELECT count(pg_terminate_backend(pid)) " + others)
            until = time.monotonic() + 2
            while conn.value("SELECT count(*) " + others) != "0" and time.monotonic() < until:
                pass
            for event in conn.q("SELECT gid FROM pg_prepared_xacts"):
                if event[0] == "DataRow":
                    conn.value("ROLLBACK PREPARED '%s'" % event[1])

    def backends(self, user="app"):
        with self.admin() as conn:
            return int(conn.value("SELECT count(*) FROM pg_stat_activity WHERE usename = '%s'" % user))

    def stop(self):
        self.keeper.terminate()
        self.process.signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


POOLS = range(1, 6)


class Pooler:
    """pgporter or PgBouncer before a cluster; databases p1..p5 are database app with pools of that size.

    options: lines of [pgbouncer]; databases: further lines of [databases]; users: lines of [users].
    """

    def __init__(self, cluster, options=None, databases=None, users=None, kind=None):
        self.cluster = cluster
        self.kind = kind or POOLER
        self.process = None
        self.port = free_port()
        if self.kind == "direct":
            self.port = cluster.port
            return
        # One folder a pooler: its socket, ini, user list and what sanitizers have to say.
        self.name = "pooler-%d" % self.port
        self.home = cluster.space.folder(self.name)
        self.binary = cluster.space.copy(PGPORTER if self.kind == "pgporter" else shutil.which("pgbouncer")
                                         or "/usr/sbin/pgbouncer")
        self.users = users or {}
        self.databases = {"p%d" % n: "pool_size=%d" % n for n in POOLS}
        self.databases.update(databases or {})
        self.options = {
            "listen_addr": "127.0.0.1", "listen_port": self.port, "unix_socket_dir": self.home,
            "auth_type": "trust", "auth_file": os.path.join(self.home, "userlist.txt"),
            "pool_mode": "transaction", "default_pool_size": 5, "max_client_conn": 400, "admin_users": "console",
            "server_login_retry": 1, "server_tls_sslmode": "disable", "log_connections": 0, "log_disconnections": 0,
        }
        if self.kind == "pgporter" and os.environ.get("CARRY") == "0":
            self.options["state_preset"] = "pgbouncer"
        if self.kind == "pgporter":
            self.options["fresh_server_rate"] = 1000  # strangers with custom settings come at every turn
            if "WORKERS" in os.environ:
                self.options["workers"] = os.environ["WORKERS"]
        self.options.update(options or {})
        self.write()
        self.start()

    def write(self):
        """The ini and the user list, from what options, databases and users hold now."""
        base = "host=127.0.0.1 port=%d" % self.cluster.port
        lines = ["[databases]"]
        for name, rest in self.databases.items():
            dbname = "" if "dbname=" in rest else "dbname=app "
            lines.append("%s = %s %s%s" % (name, "" if "host=" in rest else base, dbname, rest))
        lines += ["", "[users]"] + ["%s = %s" % item for item in self.users.items()]
        lines += ["", "[pgbouncer]"] + ["%s = %s" % item for item in self.options.items() if item[1] is not None]
        self.ini = self.cluster.space.write(self.name + "/pooler.ini", "\n".join(lines) + "\n")
        secrets = {name: "" for name in TRUSTED + ("console",)}
        secrets.update(SECRETS)
        self.cluster.space.write(self.name + "/userlist.txt",
                                 "".join('"%s" "%s"\n' % item for item in secrets.items()))

    def start(self):
        said = os.path.join(self.home, "sanitizer")
        self.process = Process(self.kind, [self.binary, self.ini], cwd=self.home, env={
            "ASAN_OPTIONS": "log_path=%s:detect_leaks=1:abort_on_error=0" % said,
            "UBSAN_OPTIONS": "log_path=%s:print_stacktrace=1" % said,
            "TSAN_OPTIONS": "log_path=%s" % said})
        self.process.wait_any(lambda: listens(self.address))

    @property
    def address(self):
        return "127.0.0.1", self.port

    @property
    def socket(self):
        """The path of the unix socket."""
        return self.cluster.socket if self.kind == "direct" else os.path.join(self.home, ".s.PGSQL.%d" % self.port)

    def database(self, pool):
        return "app" if self.kind == "direct" else "p%d" % pool

    def connect(self, pool=5, user="app", **more):
        database = more.pop("database", None) or self.database(pool)
        return rawpg.Conn(self.address, user, database, **more)

    def console(self, user="console"):
        return rawpg.Conn(self.address, user, "pgbouncer")

    def show(self, what):
        """SHOW on the console as a list of dicts."""
        with self.console() as conn:
            events = conn.q("SHOW " + what)
        names, rows = [], []
        for event in events:
            if event[0] == "RowDescription":
                names = [column.rsplit(":", 1)[0] for column in event[1:]]
            elif event[0] == "DataRow":
                rows.append(dict(zip(names, event[1:])))
            assert event[0] != "ErrorResponse", event
        return rows

    def alive(self):
        return self.kind == "direct" or bool(self.process and self.process.alive())

    def answers(self):
        """Whether its console still does."""
        if self.kind == "direct":
            return True
        try:
            return self.alive() and bool(self.show("VERSION"))
        except (OSError, AssertionError, rawpg.Deadline, rawpg.Gone):
            return False

    def descriptors(self):
        path = "/proc/%d/fd" % self.process.pid
        try:
            return len(os.listdir(path))
        except PermissionError:  # it keeps its secrets, and with them this folder, even from its own user
            return self._descriptors_by_sudo(path)

    @staticmethod
    def _descriptors_by_sudo(path):
        try:
            return len(subprocess.run(["sudo", "-n", "ls", path], check=True, capture_output=True, text=True).stdout.split())
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("only root or sudo may count the descriptors of a process that keeps its memory to itself")

    def reports(self, process=None):
        """What sanitizers wrote, if anything."""
        process = process or self.process
        said = ""
        for path in glob.glob(os.path.join(self.home, "sanitizer*")):
            with open(path, errors="backslashreplace") as report:
                said += "".join(line for line in report if "doesn't fully support makecontext" not in line)
        if SANITIZER_SAID.search("\n".join(process.lines)):
            said += process.output()
        return said

    def stop(self, deadline=20):
        """Asks it to stop and insists that it does so cleanly."""
        if not self.process:
            return
        assert self.process.alive(), "it died by itself\n%s%s" % (self.process.output(), self.reports())
        self.process.signal(signal.SIGTERM)
        self.ended(deadline)

    def ended(self, deadline=20):
        """Waits until it has ended: by itself, without a word from a sanitizer, and with 0."""
        process, self.process = self.process, None
        try:
            code = process.wait(deadline)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError("%s did not stop\n%s" % (self.kind, process.output())) from None
        if self.kind == "pgporter":
            said = self.reports(process)
            assert not said, said
            assert code == 0, "it exited with %s\n%s" % (code, process.output())
