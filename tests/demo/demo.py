#!/usr/bin/python3
"""make demo: a real Django, twenty workers, two server connections, and every answer checked.

POOLER=pgporter (the default), pgbouncer (shows what breaks there) or direct (a control without a pooler); KEEP=1 leaves
it up at the end; DURATION=15 is how many seconds each of the two runs lasts; DJANGO=debian takes Debian's Django, as is
done where PyPI can't be reached. Exit status: 0 when all held, or when POOLER is pgbouncer; 1 when something broke; 2
when it could not be set up. PGPORTER names another build than build/pgporter.
"""
import collections
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from throwaway import ROOT, Failed, Throwaway, console, table, tail  # noqa: E402

PROJECT = os.path.join(HERE, "project")
DEPS = os.path.join(ROOT, "tests", "deps.sh")
TENANTS = ["tenant_1", "tenant_2", "tenant_3", "tenant_4"]
WORKERS = 20
HANG = 40
BACKENDS = 2
ALONE = ["job queue on session advisory locks", "transfers with savepoints, SET LOCAL", ".iterator() over 100,000 rows",
         "tenant by SET search_path", "tenant by OPTIONS -c search_path", "tenant by SET ROLE, row-level security",
         "prepared statements", "time zones", "SET, set_config, RESET", "temporary tables"]


def say(text):
    print(text, flush=True)


# Which Django.

def django_from_pypi():
    """A virtual environment under build/, made once; None where PyPI can't be reached."""
    venv = os.path.join(ROOT, "build", "demo-venv")
    python = os.path.join(venv, "bin", "python")
    if subprocess.run([python, "-c", "import django, psycopg"], capture_output=True).returncode \
            if os.path.exists(python) else True:
        shutil.rmtree(venv, ignore_errors=True)
        say("installing Django and psycopg from PyPI into build/demo-venv ...")
        done = subprocess.run(["/usr/bin/python3", "-m", "venv", venv], capture_output=True, text=True)
        if done.returncode == 0:
            done = subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1",
                                   "Django", "psycopg[binary]>=3"], capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(venv, ignore_errors=True)
            say("that failed: " + (done.stderr.strip().splitlines() or ["?"])[-1])
            return None
    return python


def django():
    """(python, what to tell about it)"""
    python = None if os.environ.get("DJANGO") == "debian" else django_from_pypi()
    if not python:
        say("using Debian's python3-django with python3-psycopg2; prepared statements are tried by psycopg 3 without Django,"
            " as this Django knows neither psycopg 3 nor server-side binding")
        if subprocess.run(["sh", DEPS, "django"]).returncode:
            raise Failed("neither PyPI nor Debian's packages gave a Django")
        python = "/usr/bin/python3"
    told = subprocess.run([python, "-c", "import django\nprint('Django', django.get_version(), end=', ')\n"
                           "try:\n import psycopg\n print('psycopg', psycopg.__version__, end='')\n"
                           "except ImportError:\n pass\n"
                           "if django.VERSION < (4, 2):\n import psycopg2\n print(', psycopg2', psycopg2.__version__.split()[0])"],
                          capture_output=True, text=True)
    if told.returncode:
        raise Failed(told.stderr)
    return python, told.stdout.strip()


class Report:
    """What was tried, how often, what broke. Rows keep the order in which they first came."""

    def __init__(self):
        self.rows = {}

    def add(self, what, tried, errors=()):
        """errors: texts, or a dict of text -> times"""
        row = self.rows.setdefault(what, [0, 0, collections.Counter()])
        errors = collections.Counter(errors)
        row[0] += tried
        row[1] += sum(errors.values())
        row[2].update(errors)

    def check(self, what, good, error):
        self.add(what, 1, () if good else [error])
        return good

    def broken(self):
        return [what for what, row in self.rows.items() if row[1] or not row[0]]

    def show(self, title):
        say("\n" + title)
        rows = []
        for what, (tried, broke, errors) in self.rows.items():
            verdict = "not tried" if not tried else "survived" if not broke else "BROKE"
            rows.append((what, tried, tried - broke, broke, verdict))
        table(rows, ("what was tried", "times", "survived", "broke", ""))
        if self.broken():
            say("\nwhat broke, and how:")
        for what, (tried, broke, errors) in self.rows.items():
            for error, times in self.kinds(errors).most_common(2):
                say("  %s\n    %5d times  %s" % (what, times, error[:200]))

    @staticmethod
    def kinds(errors):
        """Errors that differ in numbers only are one; the first stands for all."""
        first, kinds = {}, collections.Counter()
        for error, times in errors.items():
            kinds[first.setdefault(re.sub(r"\d+", "#", error), error)] += times
        return kinds


class Sampler(threading.Thread):
    """Counts the pooler's backends 20 times a second, over a connection of its own straight to PostgreSQL.

    A backend that was closed shows until its process is gone, so a count above the limit is asked for again: only one that
    stays is a breach. Both are told."""

    QUERY = ("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = 'shop'"
             " AND client_addr IS NOT NULL;\n")

    def __init__(self, place):
        super().__init__(daemon=True)
        self.samples = self.highest = self.momentary = 0
        self.stopped = threading.Event()
        self.psql = subprocess.Popen(["psql", "-XAtq", "-d", place.conninfo()], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True, bufsize=1)

    def count(self):
        self.psql.stdin.write(self.QUERY)
        self.psql.stdin.flush()
        return int(self.psql.stdout.readline())

    def run(self):
        try:
            while not self.stopped.wait(0.05):
                now = self.count()
                self.momentary = max(self.momentary, now)
                tries = 4
                while now > BACKENDS and tries:
                    time.sleep(0.02)
                    now = min(now, self.count())
                    tries -= 1
                self.highest = max(self.highest, now)
                self.samples += 1
        except (ValueError, OSError):
            pass

    def stop(self):
        self.stopped.set()
        self.join(5)
        self.psql.stdin.close()
        self.psql.wait(5)


class Demo:
    def __init__(self, place, pooler):
        self.place, self.pooler, self.report = place, pooler, Report()
        self.process = self.sampler = None
        self.stuck = False

    # Setting up.

    def start(self):
        self.python, versions = django()
        self.place.postgres("max_connections = 300")
        place = self.place
        place.sql("CREATE ROLE app LOGIN CREATEDB")
        for name in TENANTS:
            place.sql("CREATE ROLE %s; GRANT %s TO app" % (name, name))
        self.port = place.pg_port
        if self.pooler != "direct":
            settings = {"pool_mode": "transaction", "default_pool_size": BACKENDS, "max_client_conn": 500,
                        "admin_users": "admin", "log_connections": 0, "log_disconnections": 0, "query_wait_timeout": 60}
            if self.pooler == "pgbouncer":
                # What everybody sets so that clients with OPTIONS may log in at all; the options are then dropped.
                settings["ignore_startup_parameters"] = "extra_float_digits,options"
            self.process, self.port = place.pooler(self.pooler, settings, "* = host=127.0.0.1 port=%d" % place.pg_port,
                                                   ["app", "admin"])
        self.create_database()
        version = place.sql("SHOW server_version").split()[0]
        between = {"direct": "without a pooler", "pgporter": "through pgporter", "pgbouncer": "through PgBouncer"}[self.pooler]
        if self.process:
            between += " in transaction mode with default_pool_size = %d" % BACKENDS
        say("%s, PostgreSQL %s, %s" % (versions, version, between))

    def gone(self):
        return self.process is not None and self.process.poll() is not None

    def useless(self):
        """Nothing more is worth trying: each further step would only wait for its time limit."""
        return self.stuck or self.gone()

    def create_database(self):
        self.place.sql("DROP DATABASE IF EXISTS shop WITH (FORCE)")
        self.place.sql("CREATE DATABASE shop OWNER app")

    def environment(self, max_age="0", direct=False):
        return dict(os.environ, DJANGO_SETTINGS_MODULE="demo.settings", DEMO_HOST="127.0.0.1", PYTHONFAULTHANDLER="1",
                    PYTHONDONTWRITEBYTECODE="1", DEMO_PORT=str(self.place.pg_port if direct else self.port),
                    DEMO_CONN_MAX_AGE=max_age, DEMO_PREPARED="one" if self.pooler == "pgbouncer" else "all")

    def manage(self, *args, max_age="0", direct=False):
        """Run a management command; returns the error's last line, or None when all went well."""
        try:
            done = subprocess.run([self.python, "manage.py", *args], cwd=PROJECT, capture_output=True, text=True, timeout=45,
                                  env=self.environment(max_age, direct))
        except subprocess.TimeoutExpired:
            self.stuck = True
            return "manage.py %s hung for 45 seconds" % " ".join(args)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["exit status %d" % done.returncode]
            # The exception's own line; PostgreSQL's LINE and ^ may follow it.
            return ([line for line in lines if re.match(r"[\w.]+: ", line) and not line.startswith("LINE")] or lines)[-1]
        return None

    # Migrations.

    def migrations(self):
        say("\nmigrations, all through one port:")
        whole = True
        steps = [("migrate: tables, columns, constraints, policies", ["migrate", "-v0"])]
        steps += [("migrate into a tenant's schema by OPTIONS -c search_path", ["migrate", "-v0", "--database", name])
                  for name in TENANTS]
        for what, args in steps:
            error = self.manage(*args)
            whole = self.report.check(what, not error, error) and whole
            if self.useless():
                break
        checks = [
            ("CREATE INDEX CONCURRENTLY left valid indexes", "2",
             "SELECT count(*) FROM pg_index JOIN pg_class c ON c.oid = indexrelid"
             " WHERE relname IN ('entry_note', 'item_price') AND indisvalid AND indisready"),
            ("each tenant's tables are in its own schema", ",".join(TENANTS),
             "SELECT string_agg(schemaname, ',' ORDER BY schemaname) FROM pg_tables WHERE tablename = 'tenants_note'"),
        ]
        for what, wanted, sql in checks:
            got = self.place.sql(sql, "shop")
            whole = self.report.check(what, got == wanted, "got %r, expected %r" % (got, wanted)) and whole
        say("  done" if whole else "  they broke; making the tables without the pooler, so that the rest can be tried")
        if not whole:
            self.migrate_directly()

    def migrate_directly(self):
        self.create_database()
        for args in [["migrate", "-v0"]] + [["migrate", "-v0", "--database", name] for name in TENANTS]:
            error = self.manage(*args, direct=True)
            if error:
                raise Failed("migrations fail without a pooler too: " + error)

    # The two runs.

    def status(self, line, started):
        text = "  %3ds  tasks %5d  broke %d" % (time.monotonic() - started, line.get("tried", 0), line.get("broke", 0))
        if self.process:
            pools, = self.console("SHOW POOLS")
            mine = [p for p in pools or [] if p["database"] == "shop"]
            if mine:
                def total(*columns):
                    return sum(int(p[c]) for p in mine for c in columns)
                text += "  clients %3d (%d waiting)  server connections %d" % (
                    total("cl_active", "cl_waiting"), total("cl_waiting"),
                    total("sv_active", "sv_idle", "sv_used", "sv_tested", "sv_login"))
        if self.pooler == "pgporter":
            pins, = self.console("SHOW PINS")
            counters = self.counters()
            reasons = collections.Counter(p.get("reason", "?") for p in pins or [])
            text += "  pins now %d%s" % (sum(reasons.values()),
                                         " (%s)" % ", ".join("%s %d" % r for r in reasons.items()) if reasons else "")
            text += "  so far: pins %s  replays %s  named Parses %s" % tuple(
                counters.get(n, "?") for n in ("pins", "replays", "named_parses"))
        say(text)

    def console(self, *commands):
        return console(self.port, commands, database=self.pooler)

    def counters(self):
        rows, = self.console("SHOW COUNTERS")
        return {r["name"]: int(r["value"]) for r in rows or []}

    def run(self, max_age, seconds):
        say("\n%d workers, CONN_MAX_AGE = %s:" % (WORKERS, max_age))
        if self.pooler == "pgbouncer":
            # What ran before may have left half a schema, and state on the server connections.
            self.migrate_directly()
        error = self.manage("reset", direct=self.pooler == "pgbouncer", max_age=max_age)
        if not self.report.check("reset between runs", not error, error):
            return
        outcomes = self.work(max_age, seconds, [])
        for what, outcome in (outcomes or {}).items():
            self.report.add("%s, CONN_MAX_AGE=%s" % (what, max_age), outcome["tried"], outcome["errors"])
        if outcomes:
            self.after_run(max_age)

    def alone(self, seconds):
        """In the mix one leak hides another: a leaked role alone breaks nearly everything. So each task by itself as well, by
        all workers at once, on fresh server connections."""
        for what in ALONE:
            if self.useless():
                return
            say("\n%d workers, nothing but: %s" % (WORKERS, what))
            self.console("RECONNECT")
            error = self.manage("reset", direct=True)
            if error:
                self.migrate_directly()
                self.manage("reset", direct=True)
            outcomes = self.work("None", seconds, ["--only", what])
            outcome = (outcomes or {}).get(what)
            if outcome:
                self.report.add("%s, by itself" % what, outcome["tried"], outcome["errors"])

    def work(self, max_age, seconds, more):
        """Run the workers, telling how it goes; returns their outcomes, or None where they never came to an end."""
        errors = open(self.place.path("work.log"), "ab")
        work = subprocess.Popen([self.python, "manage.py", "work", "--workers", str(WORKERS), "--seconds", str(seconds), *more],
                                cwd=PROJECT, env=self.environment(max_age), stdout=subprocess.PIPE, stderr=errors, text=True)
        errors.close()
        lines = queue.Queue()

        def read():
            for text in work.stdout:
                lines.put(json.loads(text))
            lines.put({"kind": "gone"})
        threading.Thread(target=read, daemon=True).start()
        started, last, outcomes = time.monotonic(), {}, None
        try:
            while outcomes is None:
                try:
                    line = lines.get(timeout=1.5)
                except queue.Empty:
                    line = last
                if line.get("kind") == "gone":
                    break
                last = line
                outcomes = line.get("outcomes")
                self.status(line, started)
                if self.gone():
                    break
                if outcomes is None and work.poll() is None and time.monotonic() > started + seconds + HANG:
                    self.hung(work)
                    return None
        finally:
            if outcomes is None:
                work.kill()
            work.wait()
        self.report.check("all workers come to an end", outcomes is not None,
                          "the pooler was gone" if self.gone() else
                          "they were gone before the end: " + tail(self.place.path("work.log"), 3))
        return outcomes

    def hung(self, work):
        self.stuck = True
        # Python tells where every thread stands before it goes.
        work.send_signal(signal.SIGABRT)
        work.wait()
        self.report.check("all workers come to an end", False, "they hang; where they stood was told above")
        where = re.findall(r'shop/tasks.py", (line \d+ in (?!value|run|setting)\w+)', tail(self.place.path("work.log"), 1000))
        say("the workers hang, in shop/tasks.py:")
        for place, threads in collections.Counter(where).most_common():
            say("  %2d at %s" % (threads, place))
        if self.process:
            for rows in self.console("SHOW PINS", "SHOW CLIENTS"):
                for row in rows or []:
                    say("  " + " ".join("%s=%s" % i for i in row.items()))

    def after_run(self, max_age):
        """What is true of the data and of PostgreSQL once all clients are gone, asked without the pooler."""
        q = lambda sql: self.place.sql(sql, "shop")  # noqa: E731
        twice = [r for r in q("SELECT job_id || ' ran ' || count(*) || ' times' FROM shop_jobrun GROUP BY job_id"
                              " HAVING count(*) > 1").splitlines() if r]
        self.report.add("no job ran twice, CONN_MAX_AGE=%s" % max_age, int(q("SELECT count(*) FROM shop_jobrun")),
                        ["job %s" % r for r in twice])
        for name in TENANTS:
            got = q("SELECT count(*) FROM %s.tenants_note WHERE tenant <> '%s'" % (name, name))
            self.report.check("no note in another tenant's schema", got == "0", "%s of others in %s" % (got, name))
        got = q("SELECT sum(amount) FROM shop_entry")
        self.report.check("sum of all entries", got == "100000000", "got %s" % got)
        left = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        end = time.monotonic() + 3
        while q(left) != "0" and time.monotonic() < end:
            time.sleep(0.1)
        self.report.check("no advisory lock left behind", q(left) == "0", "%s left on idle backends" % q(left))

    # pg_dump | psql.

    def dump(self):
        say("\npg_dump | psql ...")
        through = "host=127.0.0.1 port=%d user=app dbname=" % self.port
        self.place.sql("CREATE DATABASE copy OWNER app")
        copy = ("pg_dump -d '%sshop' | psql -Xq -v ON_ERROR_STOP=1 -d '%scopy'" % (through, through))
        error = self.shell(copy)
        same = not error and self.dumped("shop") == self.dumped("copy")
        self.report.check("pg_dump | psql gives what direct gives", same, error or "the dumps differ")
        for n in range(2 * BACKENDS):
            error = self.shell("psql -XAtq -d '%sshop' -c 'SELECT count(*) FROM shop_entry'" % through)
            self.report.check("clients after pg_dump have their own search_path", not error, error)
            if self.useless():
                break

    def shell(self, command, seconds=40):
        """Run a pipe; returns the first error line, or None when every part of it went well."""
        process = subprocess.Popen(["bash", "-o", "pipefail", "-c", command], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True, start_new_session=True)
        try:
            error = process.communicate(timeout=seconds)[1]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            self.stuck = True
            return "hung for %d seconds" % seconds
        return (error.strip().splitlines() or ["failed"])[0] if process.returncode else None

    def dumped(self, database):
        """A dump without the pooler, less the lines that carry a random key."""
        done = subprocess.run(["pg_dump", "-d", self.place.conninfo(database, "app")], capture_output=True, text=True,
                              check=True)
        return [line for line in done.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]

    # The verdict.

    def proofs(self):
        """That the tasks leaned on what they were meant to lean on, and that two connections were all there were."""
        sampler = self.sampler
        if self.process:
            self.report.check("at most %d backends, by %d samples of pg_stat_activity" % (BACKENDS, sampler.samples),
                              sampler.samples and sampler.highest <= BACKENDS, "%d seen" % sampler.highest)
            self.report.check("the pooler is still up", not self.gone(),
                              "exit status %s: %s" % (self.process.poll(), tail(self.place.path(self.pooler + ".log"), 3)))
        if self.pooler != "pgporter":
            return
        counters = self.counters()
        for name in ("named_parses", "pins", "replays"):
            self.report.check("pgporter counted %s: %s" % (name, counters.get(name, "nothing")), counters.get(name, 0) > 0,
                              "SHOW COUNTERS says %s" % (counters or "nothing"))
        stats, = self.console("SHOW STATS")
        parses = sum(int(r["total_client_parse_count"]) for r in stats or [] if r["database"] == "shop")
        self.report.check("SHOW STATS counted client Parses: %d" % parses, parses > 0, "none")

    def main(self, seconds):
        started = time.monotonic()
        self.start()
        installed = time.monotonic()
        self.sampler = Sampler(self.place)
        self.sampler.start()
        try:
            self.migrations()
            for max_age in ("0", "None"):
                if not self.useless():
                    self.run(max_age, seconds)
            if self.pooler == "pgbouncer":
                self.alone(2)
        finally:
            self.sampler.stop()
        if not self.useless():
            self.dump()
        self.proofs()
        self.report.show("POOLER=%s" % self.pooler)
        broken = self.report.broken()
        say("\n%s; %d seconds, %d of them before the first migration"
            % ("everything held" if not broken else "%d of %d broke" % (len(broken), len(self.report.rows)),
               time.monotonic() - started, installed - started))
        return broken

    def kept(self):
        say("\nIt stays up. Try it by hand:\n  psql -h 127.0.0.1 -p %d -U app shop" % self.port)
        if self.process:
            say("and its console:\n  psql -h 127.0.0.1 -p %d -U admin %s" % (self.port, self.pooler))
        say("Log and configuration: %s\nTo end it:\n  kill -QUIT %s; rm -rf %s"
            % (self.place.dir, " ".join(str(p.pid) for p in reversed(self.place.processes)), self.place.dir))


def main():
    pooler = os.environ.get("POOLER") or "pgporter"
    if pooler not in ("pgporter", "pgbouncer", "direct"):
        print("POOLER is one of pgporter, pgbouncer, direct", file=sys.stderr)
        return 2
    keep = os.environ.get("KEEP", "") not in ("", "0")
    try:
        with Throwaway("pgporter-demo", keep) as place:
            demo = Demo(place, pooler)
            broken = demo.main(float(os.environ.get("DURATION") or 15))
            if broken and demo.process and pooler == "pgporter":
                log = tail(place.path("pgporter.log"), 80 if demo.gone() else 15)
                if log:
                    say("\nthe end of pgporter's log:\n" + log)
            if keep:
                demo.kept()
            return 1 if broken and pooler != "pgbouncer" else 0
    except Failed as e:
        print("demo: %s" % e, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was left behind", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
