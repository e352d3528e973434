"""The program as an operator meets it: command line, files, signals, what it holds and lets go of."""

import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import time

import pytest

import rawpg
import servers
from test_limits import backends_are
from test_pooling import Seen, pid_of, refusal, waiting

DEBIAN_INI = "/etc/pgbouncer/pgbouncer.ini"
DEADLINE = 10


@pytest.fixture
def binary(cluster):
    if servers.POOLER != "pgporter":
        pytest.skip("of pgporter's own command line")
    return cluster.space.copy(servers.PGPORTER)


def run(*command, as_user=True, **more):
    """Runs it to its end: exit code, stdout, stderr."""
    done = subprocess.run(servers.command_as_user(list(command)) if as_user else list(command), capture_output=True,
                          text=True, cwd="/", timeout=DEADLINE, **more)
    return done.returncode, done.stdout, done.stderr


def ini(cluster, text, name="own.ini"):
    return cluster.space.write(name, text)


def minimal(cluster, **options):
    """An ini that starts, its folder and its port."""
    home = cluster.space.folder("home-%d" % servers.free_port())
    options = {"listen_addr": "127.0.0.1", "listen_port": servers.free_port(), "unix_socket_dir": home,
               "auth_type": "any", "pool_mode": "transaction", **options}
    text = "[databases]\np1 = host=127.0.0.1 port=%d dbname=app user=app\n[pgbouncer]\n" % cluster.port
    text += "".join("%s = %s\n" % item for item in options.items())
    return cluster.space.write(os.path.basename(home) + "/own.ini", text), home, options["listen_port"]


def until(test, what):
    end = time.monotonic() + DEADLINE
    while not test():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


# Command line -----------------------------------------------------------------------------------------------------

def test_version_and_help(binary):
    code, out, _ = run(binary, "-V")
    assert code == 0 and re.search(r"^pgporter \S+ \(compatible with PgBouncer [\d.]+\)$", out, re.M) and "libevent" in out
    assert run(binary, "--version")[1] == out
    code, out, _ = run(binary, "--help")
    assert code == 0 and "CONFIG_FILE" in out and "--daemon" in out


def test_wrong_command_lines(binary):
    for arguments in ([], ["--nonsense"], ["a.ini", "b.ini"], ["-R", "a.ini"]):
        code, _, err = run(binary, *arguments)
        assert code == 1 and err, arguments
    code, _, err = run(binary, "/nowhere/at/all.ini")
    assert code == 1 and "/nowhere/at/all.ini" in err


@pytest.mark.skipif(os.getuid() != 0, reason="not root")
def test_root(binary, cluster):
    """Refused; with -u, or the option user, it becomes that user."""
    path, _, _ = minimal(cluster)
    code, _, err = run(servers.PGPORTER, path, as_user=False)
    assert code == 1 and "should not run as root" in err
    code, _, err = run(servers.PGPORTER, "-u", "no_such_user", path, as_user=False)
    assert code == 1 and "no_such_user" in err
    for how in ("command line", "option"):
        path, _, port = minimal(cluster, **({} if how == "command line" else {"user": servers.USER.pw_name}))
        extra = ["-u", servers.USER.pw_name] if how == "command line" else []
        with subprocess.Popen([servers.PGPORTER, "-q"] + extra + [path], cwd="/") as process:
            try:
                until(lambda: servers.listens(("127.0.0.1", port)), "it listens")
                with open("/proc/%d/status" % process.pid) as status:
                    assert re.search(r"^Uid:\t%d\t%d\t%d" % ((servers.USER.pw_uid,) * 3), status.read(), re.M)
            finally:
                process.terminate()
                assert process.wait(DEADLINE) == 0


def test_quiet_and_verbose(binary, cluster):
    """-q leaves stderr empty, the log file gets its lines; -v says more."""
    said = {}
    for flag in ("-q", "-v", "-vv"):
        path, home, port = minimal(cluster)
        with open(path, "a") as more:
            more.write("logfile = %s/log\n" % home)
        process = servers.Process("pgporter " + flag, [binary, flag, path])
        process.wait_any(lambda: servers.listens(("127.0.0.1", port)))
        with rawpg.Conn(("127.0.0.1", port), "app", "p1") as conn:
            assert conn.value("SELECT 1") == "1"
        process.signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
        with open(home + "/log") as log:
            said[flag] = log.read()
        assert "process up" in said[flag]
        assert (process.lines == []) == (flag == "-q"), process.lines
    assert len(said["-vv"].splitlines()) > len(said["-q"].splitlines())


def test_daemon(binary, cluster):
    path, home, port = minimal(cluster)
    code, _, err = run(binary, "-d", path)
    assert code == 1 and "daemon needs pidfile configured" in err
    pidfile = home + "/pid"
    with open(path, "a") as more:
        more.write("pidfile = %s\nlogfile = %s/log\n" % (pidfile, home))
    code, out, err = run(binary, "-d", path)
    assert (code, out) == (0, ""), err
    until(lambda: os.path.getsize(pidfile), "it has written its pid file")
    assert servers.listens(("127.0.0.1", port))
    with open(pidfile) as text:
        pid = int(text.read())
    try:
        with open("/proc/%d/stat" % pid) as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        assert int(fields[3]) != os.getsid(0), "a session of its own"
        assert int(fields[4]) == 0, "no terminal"
        code, _, err = run(binary, path)
        assert code == 1 and "belongs to a running process" in err
        code, _, err = run(binary, "-d", path)
        assert code == 1 and "belongs to a running process" in err
    finally:
        os.kill(pid, signal.SIGTERM)
        until(lambda: not alive(pid), "it ended")
    assert not os.path.exists(pidfile)
    assert not os.path.exists(home + "/.s.PGSQL.%d" % port)


def test_tells_systemd(binary, cluster):
    """Type=notify, as Debian's unit has it."""
    path, home, _ = minimal(cluster)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(home + "/notify")
        os.chmod(home + "/notify", 0o777)
        told.settimeout(DEADLINE)
        process = servers.Process("pgporter", [binary, path], env={"NOTIFY_SOCKET": home + "/notify"})
        try:
            assert "READY=1" in told.recv(1000).decode()
            process.signal(signal.SIGTERM)
            assert "STOPPING=1" in told.recv(1000).decode()
        finally:
            process.signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == 0


def test_sockets_in_use(binary, cluster):
    path, home, port = minimal(cluster)
    process = servers.Process("pgporter", [binary, path])
    try:
        process.wait_any(lambda: servers.listens(("127.0.0.1", port)))
        code, _, err = run(binary, path)
        assert code == 1 and "could not bind" in err or "unix socket is in use" in err
        assert servers.listens(home + "/.s.PGSQL.%d" % port), "the first one's socket is still there"
    finally:
        process.kill()  # as a crash: the socket's file stays behind
    process = servers.Process("pgporter", [binary, path])
    process.wait_any(lambda: servers.listens(home + "/.s.PGSQL.%d" % port))
    process.signal(signal.SIGTERM)
    assert process.wait(DEADLINE) == 0


@pytest.mark.parametrize("text, line, says", [
    ("[databases]\np1 = host=127.0.0.1\n[pgbouncer]\npool_mode = often\n", 4, "pool_mode"),
    ("[databases]\np1 = hots=127.0.0.1\n[pgbouncer]\n", 2, "hots"),
    ("[pgbouncer]\nlisten_port = many\n", 2, "listen_port"),
    ("[pgbouncer]\n\nmax_clients = 3\n", 3, "max_clients"),
    ("[pgbouncer]\nauth_type = ldap\n", 2, "ldap"),
    ("[elsewhere]\n", 1, "elsewhere"),
    ("[users]\napp = pool_sise=3\n", 2, "pool_sise"),
])
def test_bad_files(binary, cluster, text, line, says):
    path = ini(cluster, text)
    code, _, err = run(binary, path)
    assert code == 1
    assert "%s:%d" % (path, line) in err and says in err, err


@pytest.mark.skipif(not os.access(DEBIAN_INI, os.R_OK), reason="Debian's pgbouncer is not installed")
def test_debian_s_ini(binary, cluster):
    """As packaged, but for a free port and folders of our own."""
    port, home = servers.free_port(), cluster.space.folder("debian")
    with open(DEBIAN_INI) as packaged:
        text = packaged.read()
    for folder in ("/var/log/postgresql", "/var/run/postgresql"):
        assert folder in text
        text = text.replace(folder, home)
    text = text.replace("listen_port = 6432", "listen_port = %d" % port)
    shutil.copy("/etc/pgbouncer/userlist.txt", home + "/userlist.txt")
    cluster.space.own(home + "/userlist.txt")
    process = servers.Process("pgporter", [binary, ini(cluster, text, "debian/pgbouncer.ini")])
    try:
        process.wait_any(lambda: servers.listens(home + "/.s.PGSQL.%d" % port))
        assert servers.listens(("127.0.0.1", port))
        _, out, err = run("psql", "-XAtw", "-d", "host=%s port=%d user=pgbouncer dbname=pgbouncer" % (home, port),
                          "-c", "SHOW VERSION")
        assert "PgBouncer" in out, err
        assert not [line for line in process.lines if re.search("ERROR|FATAL", line)], process.output()
    finally:
        process.signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 0


# Signals ----------------------------------------------------------------------------------------------------------

def test_hangup_reads_again(start_pooler):
    pooler = start_pooler()
    with pooler.connect(1) as a:
        a.value("SET search_path = s1")
        pooler.databases["new"] = "pool_size=1"
        pooler.databases["p1"] = "pool_size=2"
        del pooler.databases["p2"]
        pooler.write()
        pooler.process.signal(signal.SIGHUP)
        pooler.process.wait_line("got SIGHUP")
        with pooler.connect(database="new") as b:
            assert b.value("SELECT 1") == "1"
        until(lambda: "p2" not in {row["name"] for row in pooler.show("DATABASES")}, "it is gone")
        assert {row["name"]: row["pool_size"] for row in pooler.show("DATABASES")}["p1"] == "2"
        refused = Seen(pooler.address, "app", "p2")
        assert refusal(refused.seen) == ("FATAL", "08P01", "no such database: p2")
        pooler.databases["p2"] = "pool_size=1"
        pooler.write()
        pooler.process.signal(signal.SIGHUP)
        until(lambda: "p2" in {row["name"] for row in pooler.show("DATABASES")}, "it is back")
        with pooler.connect(2) as c:
            assert c.value("SELECT 1") == "1"
        assert a.value("SELECT v FROM t") == "in s1"


def test_a_removed_database_ends_its_clients(start_pooler, cluster):
    """All of them, idle, linked or waiting, and its server connections."""
    cluster.throw_out()
    pooler = start_pooler()
    conns = [pooler.connect(2) for _ in range(5)]
    with pooler.connect(1) as other:
        conns[0].value("BEGIN")
        conns[1].value("BEGIN")
        conns[2].query("SELECT 1").send()
        waiting(pooler, 1, "p2")
        del pooler.databases["p2"]
        pooler.write()
        pooler.process.signal(signal.SIGHUP)
        for conn in conns:
            assert refusal(conn.until("EOF"))[1] == "57P01"
        assert other.value("SELECT 1") == "1"
        backends_are(cluster, 1)


def test_a_broken_file_changes_nothing(start_pooler, cluster):
    pooler = start_pooler()
    good = pooler.ini
    with open(good, "a") as text:
        text.write("listen_port = nonsense\n")
    with pooler.connect(1) as a:
        a.value("BEGIN")
        pooler.process.signal(signal.SIGHUP)
        assert re.search(r"%s:\d+" % re.escape(good), pooler.process.wait_line("config file loading failed"))
        a.value("COMMIT")
        with pooler.connect(2) as b:
            assert b.value("SELECT 1") == "1"
        with pooler.console() as console:
            assert refusal(console.q("RELOAD"))[1] == "F0000"
            assert refusal(console.q("SHOW VERSION")) is None
    os.rename(good, good + ".gone")
    since = len(pooler.process.lines)
    pooler.process.signal(signal.SIGHUP)
    pooler.process.wait_line("config file loading failed", since)
    with pooler.connect(2) as b:
        assert b.value("SELECT 1") == "1"


def test_auth_file_is_read_again(start_pooler, cluster):
    path = cluster.space.write("changing.txt", '"u_md5" "sekret-md5"\n"console" ""\n')
    pooler = start_pooler({"auth_type": "md5", "auth_file": path})
    with pooler.connect(1, "u_md5", password="sekret-md5") as before:
        cluster.space.write("changing.txt", '"u_md5" "another"\n')
        pooler.process.signal(signal.SIGHUP)
        until(lambda: refusal(Seen(pooler.address, "u_md5", "p1", password="sekret-md5").__dict__.get("seen", [])), "refused")
        assert before.value("SELECT 1") == "1"


def test_interrupt_waits_for_servers(start_pooler):
    """Who is in a transaction may end it, who waits or comes is told, who is idle holds nothing up."""
    pooler = start_pooler()
    with pooler.connect(1) as a, pooler.connect(1) as b, pooler.connect(2) as idle:
        idle.value("SELECT 1")
        a.value("BEGIN")
        b.query("SELECT 1").send()
        waiting(pooler, 1, "p1")
        pooler.process.signal(signal.SIGINT)
        assert refusal(b.until("EOF")) == ("FATAL", "57P01", "server shutting down")
        assert a.value("SELECT 'goes on'") == "goes on"
        until(lambda: not servers.listens(pooler.address), "the TCP socket is closed")
        refused = Seen(pooler.socket, "app", "p1")
        assert refusal(refused.seen) == ("FATAL", "57P01", "pooler is shutting down")
        assert pooler.alive()
        a.value("COMMIT")
        assert refusal(idle.until("EOF"))[1] == "57P01"
        pooler.ended()


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(start_pooler, first, second):
    pooler = start_pooler()
    with pooler.connect(1) as a:
        a.value("BEGIN")
        pooler.process.signal(first)
        pooler.process.wait_line("got SIG")
        assert a.value("SELECT 1") == "1"
        pooler.process.signal(second)
        assert refusal(a.until("EOF"))[1] == "57P01"
        pooler.ended(5)


def test_quit_ends_at_once(start_pooler, cluster):
    cluster.throw_out()
    pooler = start_pooler()
    with pooler.connect(1) as a, pooler.connect(2) as b:
        a.value("BEGIN")
        b.query("SELECT pg_sleep(0.5)").send()
        pooler.process.signal(signal.SIGQUIT)
        assert refusal(a.until("EOF"))[1] == "57P01"
        pooler.ended(5)
    backends_are(cluster, 0)


def test_pause_and_resume_by_signal(start_pooler, cluster):
    cluster.throw_out()
    pooler = start_pooler()
    with pooler.connect(1) as a, pooler.connect(1) as b:
        a.value("SET search_path = s1")
        a.value("BEGIN")
        pooler.process.signal(signal.SIGUSR1)
        pooler.process.wait_line("SIGUSR1")
        b.query("SELECT 'served'").send()
        waiting(pooler, 1, "p1")
        a.value("COMMIT")
        backends_are(cluster, 0)
        waiting(pooler, 1, "p1")
        pooler.process.signal(signal.SIGUSR2)
        assert ("DataRow", "served") in b.go()
        assert a.value("SELECT v FROM t") == "in s1"


def test_pause_ends_an_idle_pin(start_pooler):
    """After pin_pause_timeout, with 57P01 and the reason; one that works is waited for."""
    pooler = start_pooler({"pin_pause_timeout": 1})
    with pooler.connect(2) as idle, pooler.connect(2) as works:
        idle.value("SELECT pg_advisory_lock(1)")
        works.value("SELECT pg_advisory_lock(2)")
        with pooler.console() as console:
            console.query("PAUSE").send()
            works.query("SELECT pg_sleep(1.3), pg_advisory_unlock(2)").send()
            events = idle.until("EOF")
            assert refusal(events) == ("FATAL", "57P01", "terminating connection due to administrator command")
            assert "advisory" in str(events)
            assert refusal(works.go()) is None
            assert ("CommandComplete", "PAUSE") in console.go()
            console.q("RESUME")
        assert works.value("SELECT 1") == "1"


def test_reconnect_ends_an_idle_pin(start_pooler):
    """It would keep the old connection for as long as its client stays."""
    pooler = start_pooler({"pin_pause_timeout": 0.3})
    with pooler.connect(1) as idle:
        idle.value("SELECT pg_advisory_lock(1)")
        with pooler.console() as console:
            assert ("CommandComplete", "RECONNECT") in console.q("RECONNECT")
        assert refusal(idle.until("EOF")) == ("FATAL", "57P01", "terminating connection due to administrator command")
        with pooler.connect(1) as other:
            assert other.value("SELECT pg_try_advisory_lock(1)") == "t"


def test_interrupt_ends_an_idle_pin(start_pooler):
    pooler = start_pooler({"pin_pause_timeout": 0.2})
    with pooler.connect(1) as a:
        a.value("CREATE TEMP TABLE held ()")
        pooler.process.signal(signal.SIGINT)
        assert refusal(a.until("EOF"))[1] == "57P01"
        pooler.ended()


# What it holds ----------------------------------------------------------------------------------------------------

def test_descriptors_are_given_back(start_pooler):
    """200 clients one after another, in every way of leaving; and those who never got in."""
    pooler = start_pooler()
    with pooler.connect(1) as conn:
        conn.value("SELECT 1")
        before = pooler.descriptors()
        for n in range(200):
            way = n % 5
            if way == 0:
                rawpg.Conn(pooler.address, login=False).drop()
            elif way == 1:
                Seen(pooler.address, "app", "nowhere")
            else:
                other = pooler.connect(1)
                if way == 2:
                    other.terminate()
                elif way == 3:
                    other.value("SELECT 1")
                    other.drop()
                else:
                    other.query("SELECT pg_sleep(0.001)").send()
                    other.drop()
        until(lambda: conn.value("SELECT 1") and pooler.descriptors() <= before, "%d descriptors and more" % before)


def test_file_limit_is_raised(binary, cluster):
    """The soft limit is a default: it rises to the hard one, and the start warns where that is too low."""
    path, _, port = minimal(cluster, max_client_conn=500)

    def low():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 300))

    with subprocess.Popen(servers.command_as_user([binary, path]), cwd="/", stderr=subprocess.PIPE, text=True,
                          preexec_fn=low) as process:
        try:
            until(lambda: servers.listens(("127.0.0.1", port)), "it listens")
            with open("/proc/%d/limits" % process.pid) as limits:
                assert re.search(r"^Max open files +300 +300 ", limits.read(), re.M)
        finally:
            process.terminate()
            said = process.communicate(timeout=DEADLINE)[1]
        assert process.returncode == 0
    assert re.search(r"WARNING .*5\d\d file descriptors, the system allows 300", said), said


# Modes ------------------------------------------------------------------------------------------------------------

def test_session_mode(start_pooler):
    """A client has its server connection until it leaves, and leaves nothing on it."""
    pooler = start_pooler({"pool_mode": "session"})
    with pooler.connect(1) as a:
        pid = pid_of(a)
        a.value("CREATE TEMP TABLE mine AS SELECT 'kept' AS v")
        a.value("PREPARE p AS SELECT v FROM mine")
        a.value("LISTEN news")
        assert pid_of(a) == pid and a.value("EXECUTE p") == "kept"
        with pooler.connect(2) as teller:
            teller.value("NOTIFY news, 'told'")
        event = a.read()
        assert event[0] == "NotificationResponse" and event[2:] == ("news", "told")
        with pooler.connect(2) as b, pooler.connect(2) as c:
            assert b.value("SELECT 1") == "1"
            assert c.value("SELECT 1") == "1"
            assert pid_of(b) != pid_of(c)
    with pooler.connect(1) as d:
        assert pid_of(d) == pid
        assert d.value("SELECT to_regclass('mine') IS NULL AND NOT EXISTS (SELECT FROM pg_listening_channels())") == "t"
        assert d.value("SELECT count(*) FROM pg_prepared_statements") == "0"


def test_session_mode_waits_for_a_goodbye(start_pooler):
    pooler = start_pooler({"pool_mode": "session"})
    with pooler.connect(1) as a, pooler.connect(1) as b:
        a.value("SELECT 1")
        b.query("SELECT 'served'").send()
        waiting(pooler, 1, "p1")
        a.terminate()
        assert ("DataRow", "served") in b.go()


def test_session_mode_leaves_no_transaction_that_postgresql_has_ended_by_half(start_pooler):
    """PostgreSQL 18 fails whatever comes next with XX000, once Sync has said that all is over."""
    pooler = start_pooler({"pool_mode": "session", "server_reset_query": ""})
    for _ in range(3):
        with pooler.connect(1) as a:
            a.parse("", "SELECT 1").bind().execute().query("SELECT 2").sync().go(2)
            assert a.status == "I"
        with pooler.connect(1) as b:
            assert b.value("SELECT 3") == "3"


def test_statement_mode(start_pooler):
    pooler = start_pooler({"pool_mode": "statement"})
    with pooler.connect(1) as a:
        assert a.value("SELECT 1") == "1"
        a.value("SET search_path = s1")
        assert a.value("SELECT v FROM t") == "in s1"
        events = a.query("BEGIN").until("EOF")
        assert ("FATAL", "08P01", "transaction blocks not allowed in statement pooling mode") == refusal(events), events
        assert ("ReadyForQuery", "T") not in events
    with pooler.connect(1) as b:
        assert b.x("SELECT $1::text", ["served"])[3] == ("DataRow", "served")


def test_modes_of_databases_and_users(start_pooler):
    """user beats database beats global."""
    pooler = start_pooler({"pool_mode": "session"}, {"trans": "pool_size=1 pool_mode=transaction"}, {"other": "pool_mode=statement"})
    with pooler.connect(database="trans") as a, pooler.connect(database="trans") as b:
        assert pid_of(a) == pid_of(b)
    with pooler.connect(database="trans", user="other") as c:
        assert refusal(c.query("BEGIN").until("EOF"))[2].startswith("transaction blocks not allowed")
    modes = {(row["database"], row["user"]): row["pool_mode"] for row in pooler.show("POOLS")}
    assert modes["trans", "app"] == "transaction" and modes["trans", "other"] == "statement"
