"""What the bench's programs have in common: servers, poolers and clients that are started, set to work and read."""
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from throwaway import ROOT, Failed, bindir, free_port  # noqa: E402
from pgbouncer import Missing, newest, version  # noqa: E402

CLIENTS, POOL = 32, 20
PASSWORD = "a password of the bench"
# 4096 rounds over one salt: what PostgreSQL would store of PASSWORD.
VERIFIER = None
PROGRAMS = os.path.join(ROOT, "build", "bench")
SETTINGS = {"pool_mode": "transaction", "default_pool_size": POOL, "max_client_conn": 200, "log_connections": 0,
            "log_disconnections": 0, "log_stats": 0, "admin_users": "postgres", "max_prepared_statements": 200,
            "server_tls_sslmode": "disable"}
ORM_TABLES = """CREATE TABLE shop_customer (id int PRIMARY KEY, name text, email text);
CREATE TABLE shop_order (id int PRIMARY KEY, created_at timestamptz, customer_id int, status text, total numeric);
INSERT INTO shop_customer SELECT n, 'name ' || n, 'user' || n || '@example.com' FROM generate_series(1, 1000) n;
INSERT INTO shop_order SELECT n, now(), n % 1000, 'paid', n FROM generate_series(1, 10000) n;
CREATE INDEX ON shop_order (customer_id); ANALYZE"""


def verifier(password=PASSWORD, salt=b"sixteen bytes!!!", rounds=4096):
    """As pg_authid has it (RFC 5803)."""
    import base64
    import hashlib
    import hmac

    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)

    def key(name):
        return hmac.digest(salted, name, "sha256")
    text = [base64.b64encode(b).decode() for b in (salt, hashlib.sha256(key(b"Client Key")).digest(), key(b"Server Key"))]
    return "SCRAM-SHA-256$%d:%s$%s:%s" % (rounds, *text)


def cpu_seconds(pid):
    """Of all its threads, those that have ended too, user and system: the CPU clock of another process (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


def thread_seconds(pid):
    """CPU of each thread that there is, to ten milliseconds."""
    found = {}
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/stat" % (pid, task)) as f:
            fields = f.read().rpartition(")")[2].split()
        found[task] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def resident_kib(pid):
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


class Load:
    """Clients of tests/bench/load.c, logged in and waiting when this is made."""

    def __init__(self, port, workload, *args, password=""):
        self.process = subprocess.Popen([os.path.join(PROGRAMS, "load"), "-p", str(port), "-w", workload, "-P", password,
                                         *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.expect()

    def expect(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise Failed("the clients gave up")
        return line

    def begin(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def result(self):
        return json.loads(self.expect())

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            pipe.close()


def start_server(place, which):
    """PostgreSQL or the stub; its port."""
    if which == "postgres":
        place.postgres("shared_buffers = 256MB\nautovacuum = off\nlog_min_messages = fatal")
        done = subprocess.run([bindir() + "/pgbench", "-i", "-q", "-s", "1", "-d", place.conninfo()], capture_output=True, text=True)
        if done.returncode:
            raise Failed("pgbench -i: " + done.stderr)
        place.sql(ORM_TABLES)
        return place.pg_port
    port = free_port()
    process = place.start("stub", [os.path.join(PROGRAMS, "stub"), str(port)])
    place.wait_for(process, port)
    return port


def certificate(place):
    """Settings for TLS towards clients: a P-256 key, signed by itself."""
    key, cert = place.path("tls.key"), place.path("tls.crt")
    if not os.path.exists(cert):
        done = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                               "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", cert], capture_output=True, text=True)
        if done.returncode:
            raise Failed("openssl: " + done.stderr)
        for path in (key, cert):
            if place.as_server:
                os.chown(path, place.as_server["user"], place.as_server["group"])
    return {"client_tls_sslmode": "allow", "client_tls_key_file": key, "client_tls_cert_file": cert}


class Poolers:
    """The contestants: pgporter, two-workers (pgporter with as many), pgbouncer, relay, or name=/program[:/template] (see Throwaway.pooler)."""

    def __init__(self, names):
        self.names, self.label, self.program, self.template = [], {}, {}, {}
        self.forgets = set()  # who can't keep prepared statements: PgBouncer before 1.21
        for name in names:
            name, _, path = name.partition("=")
            self.names.append(name)
            self.label[name] = name
            self.program[name], _, self.template[name] = path.partition(":")
            if path:
                continue
            if name == "pgbouncer":
                try:
                    self.program[name], self.label[name] = newest()
                    if version(self.program[name]) < (1, 21):
                        self.forgets.add(name)
                except Missing as e:
                    raise Failed(str(e))
            elif name not in ("pgporter", "two-workers", "relay"):
                raise Failed("POOLERS is a list of pgporter, two-workers, pgbouncer, relay and name=/program[:/template]")

    def can(self, name, workload):
        if workload.startswith("churn"):
            return name != "relay"  # whose clients would log in at the server
        return not ("prepared" in workload and name in self.forgets)

    def start(self, place, name, server_port, scram=False, tls=False, settings=(), wrap=()):
        """(process, port)"""
        if name == "relay":
            port = free_port()
            process = place.start(name, [*wrap, os.path.join(PROGRAMS, "relay"), str(port), str(server_port)])
            place.wait_for(process, port)
            return process, port
        own = dict(SETTINGS, **dict(settings))
        if name in self.forgets:
            del own["max_prepared_statements"]
        if scram:
            own["auth_type"] = "scram-sha-256"
        if tls:
            own.update(certificate(place))
        kind = "pgporter" if name == "two-workers" else name
        if kind == "pgporter":
            own["workers"] = 2 if name == "two-workers" else 1
            own.update(line.split("=", 1) for line in os.environ.get("PGPORTER_SETTINGS", "").split(",") if line)
        return place.pooler(kind, own, "postgres = host=127.0.0.1 port=%d user=postgres" % server_port,
                            {"postgres": verifier() if scram else ""}, self.program[name] or None, self.template[name] or None, wrap)
