"""The console: PgBouncer's commands, columns, tags and texts, and pgporter's own SHOW PINS and SHOW COUNTERS."""

import re
import signal
import time

import pytest

import rawpg
import servers

pytestmark = pytest.mark.skipif(servers.POOLER != "pgporter", reason="pgporter's console")

TEXT, INT, LONG, NUMERIC = 25, 23, 20, 1700

SOCKET = ("type:s user:s database:s replication:s state:s addr:s port:i local_addr:s local_port:i connect_time:s "
          "request_time:s wait:i wait_us:i close_needed:i ptr:s link:s remote_pid:i tls:s application_name:s "
          "prepared_statements:i id:i")
DEBUG = " recv_pos:i pkt_pos:i pkt_remain:i send_pos:i send_remain:i pkt_avail:i send_avail:i"

COLUMNS = {
    "ACTIVE_SOCKETS": SOCKET + DEBUG,
    "CLIENTS": SOCKET,
    "CONFIG": "key:s value:s default:s changeable:s",
    "COUNTERS": "name:s value:N",
    "DATABASES": "name:s host:s port:i database:s force_user:s pool_size:i min_pool_size:i reserve_pool_size:i "
                 "server_lifetime:i pool_mode:s load_balance_hosts:s max_connections:i current_connections:i "
                 "max_client_connections:i current_client_connections:i paused:i disabled:i",
    "DNS_HOSTS": "hostname:s ttl:q addrs:s",
    "DNS_ZONES": "zonename:s serial:q count:i",
    "LISTS": "list:s items:i",
    "MEM": "name:s size:i used:i free:i memtotal:i",
    "PEERS": "peer_id:i host:s port:i pool_size:i",
    "PEER_POOLS": "peer_id:i cl_active_cancel_req:i cl_waiting_cancel_req:i sv_active_cancel:i sv_login:i",
    "PINS": "client_id:q addr:s port:i user:s database:s server_pid:i reason:s age:i application_name:s statement:s rule:s",
    "PINS_TOTALS": "database:s user:s reason:s now:i total_pins:N total_seconds:N longest_seconds:N fingerprint:s "
                   "fingerprint_pins:N statement:s",
    "POOLS": "database:s user:s cl_active:i cl_waiting:i cl_active_cancel_req:i cl_waiting_cancel_req:i sv_active:i "
             "sv_active_cancel:i sv_being_canceled:i sv_idle:i sv_used:i sv_tested:i sv_login:i maxwait:i maxwait_us:i "
             "pool_mode:s load_balance_hosts:s cl_pinned:i sv_pinned:i pin_oldest:i cl_listening:i "
             "sv_listening:i",
    "SERVERS": SOCKET,
    "SETTINGS": "id:q clients:i servers:i count:i settings:s",
    "SOCKETS": SOCKET + DEBUG,
    "STATE": "key:s value:s",
    "STATS": "database:s total_server_assignment_count:N total_xact_count:N total_query_count:N total_received:N "
             "total_sent:N total_xact_time:N total_query_time:N total_wait_time:N total_client_parse_count:N "
             "total_server_parse_count:N total_bind_count:N avg_server_assignment_count:N avg_xact_count:N "
             "avg_query_count:N avg_recv:N avg_sent:N avg_xact_time:N avg_query_time:N avg_wait_time:N "
             "avg_client_parse_count:N avg_server_parse_count:N avg_bind_count:N total_client_login_count:N "
             "avg_client_login_count:N",
    "STATS_AVERAGES": "database:s server_assignment_count:N xact_count:N query_count:N bytes_received:N bytes_sent:N "
                      "xact_time:N query_time:N wait_time:N avg_client_parse_count:N avg_server_parse_count:N "
                      "avg_bind_count:N avg_client_login_count:N",
    "STATS_TOTALS": "database:s server_assignment_count:N xact_count:N query_count:N bytes_received:N bytes_sent:N "
                    "xact_time:N query_time:N wait_time:N client_parse_count:N server_parse_count:N bind_count:N "
                    "client_login_count:N",
    "TOTALS": "name:s value:N",
    "USERS": "name:s pool_size:s reserve_pool_size:s pool_mode:s max_user_connections:i current_connections:i "
             "max_user_client_connections:i current_client_connections:i",
    "VERSION": "version:s",
}
OIDS = {"s": TEXT, "i": INT, "q": LONG, "N": NUMERIC}


def described(columns):
    return tuple("%s:%d" % (name, OIDS[kind]) for name, kind in (c.split(":") for c in columns.split()))


def fields(events, name="ErrorResponse"):
    """The fields of the one such message among the events."""
    found = [dict(f.split("=", 1) for f in event[1:]) for event in events if event[0] == name]
    assert len(found) == 1, events
    return found[0]


def refused(events, sqlstate, text):
    """The events are one ERROR and ReadyForQuery."""
    got = fields(events)
    assert (got["V"], got["C"]) == ("ERROR", sqlstate) and got["M"] == text, got
    assert [e[0] for e in events] == ["ErrorResponse", "ReadyForQuery"], events
    return got


def tag(events):
    assert [e[0] for e in events][-2:] == ["CommandComplete", "ReadyForQuery"], events
    return events[-2][1]


def only(rows, **wanted):
    found = [row for row in rows if all(row[k] == v for k, v in wanted.items())]
    assert len(found) == 1, rows
    return found[0]


def until(test, deadline=10):
    """What test() returns, as soon as that is something."""
    end = time.monotonic() + deadline
    while True:
        got = test()
        if got:
            return got
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def pooler(cluster):
    front = servers.Pooler(cluster, {"stats_users": "plainold", "max_client_conn": 50, "stats_period": 1, "log_stats": 1},
                           databases={"auto-ish": "pool_size=1"}, users={"other": "pool_size=7 pool_mode=session"})
    try:
        yield front
    finally:
        front.stop()


@pytest.fixture(autouse=True)
def resumed(request):
    """A test that fails in a pause doesn't take those after it along."""
    yield
    if "pooler" in request.fixturenames:
        with request.getfixturevalue("pooler").console() as console:
            console.q("RESUME")


# Login ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("database", ["pgbouncer", "pgporter"])
def test_welcome(pooler, database):
    with rawpg.Conn(pooler.address, "console", database) as console:
        assert console.parameters == {
            "server_version": "1.25.2/bouncer", "client_encoding": "UTF8", "server_encoding": "UTF8", "DateStyle": "ISO",
            "TimeZone": "GMT", "standard_conforming_strings": "on", "is_superuser": "on"}
        assert console.pid and len(console.key) == 4
        assert console.status == "I"


def test_strangers_stay_out(pooler):
    conn = pooler.console("app")
    assert conn.closed
    conn.drop()


# SHOW ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", sorted(COLUMNS))
def test_columns(pooler, what):
    with pooler.connect(3) as client, pooler.console() as console:
        client.q("SELECT 1")
        for spelling in ("SHOW %s", "show %s;", "select %s", ' SHOW "%s" ; '):
            events = console.q(spelling % what.lower())
            assert events[0] == ("RowDescription",) + described(COLUMNS[what])
            assert all(e[0] == "DataRow" and len(e) == len(events[0]) for e in events[1:-2]), events
            assert tag(events) == "SHOW"
        if what not in ("ACTIVE_SOCKETS", "DNS_HOSTS", "DNS_ZONES", "PEERS", "PEER_POOLS", "PINS", "PINS_TOTALS"):
            assert len(events) > 3


def test_show_help(pooler):
    with pooler.console() as console:
        events = console.q("SHOW HELP")
        notice = fields(events, "NoticeResponse")
        assert notice["M"] == "Console usage" and "SHOW PINS" in notice["D"] and "PAUSE [<db>]" in notice["D"]
        assert tag(events) == "SHOW" and len(events) == 3


def test_show_version(pooler):
    # Exporters read a version behind this word.
    assert re.match(r"PgBouncer 1\.25\.2\b", pooler.show("VERSION")[0]["version"])


def test_show_pools(pooler):
    with pooler.connect(2) as a, pooler.connect(2):
        a.q("BEGIN")
        row = only(pooler.show("POOLS"), database="p2", user="app")
        assert (row["cl_active"], row["cl_waiting"], row["sv_active"]) == ("2", "0", "1")
        assert (row["pool_mode"], row["maxwait"], row["load_balance_hosts"]) == ("transaction", "0", None)
        a.q("COMMIT")
        assert only(pooler.show("POOLS"), database="p2", user="app")["sv_active"] == "0"
    until(lambda: only(pooler.show("POOLS"), database="pgbouncer")["cl_active"] == "1")  # the consoles of before are on their way out


def test_who_waits(pooler):
    with pooler.connect(1) as a, pooler.connect(1) as b:
        a.q("BEGIN")
        b.query("SELECT 1").send()
        row = until(lambda: [r for r in pooler.show("POOLS") if r["database"] == "p1" and r["cl_waiting"] == "1"])[0]
        assert row["cl_active"] == "1"
        until(lambda: only(pooler.show("POOLS"), database="p1")["maxwait"] >= "1")
        waiting = only(pooler.show("CLIENTS"), state="waiting")
        assert (waiting["database"], waiting["wait"]) == ("p1", "1")
        a.q("COMMIT")
        b.go()
        assert only(pooler.show("POOLS"), database="p1")["cl_waiting"] == "0"


def test_show_clients_and_servers(pooler):
    with pooler.connect(3, params={"application_name": "it is me"}) as a, \
            rawpg.Conn(pooler.socket, "app", "p3", params={"application_name": "next door"}) as b:
        a.q("BEGIN")
        a.parse("one", "SELECT 1").sync().go()
        pid = a.value("SELECT pg_backend_pid()")
        clients, backends = pooler.show("CLIENTS"), pooler.show("SERVERS")
        mine = only(clients, application_name="it is me")
        assert (mine["type"], mine["user"], mine["database"], mine["state"]) == ("C", "app", "p3", "active")
        assert (mine["addr"], mine["port"]) == ("127.0.0.1", str(a.sock.getsockname()[1]))
        assert (mine["local_addr"], mine["local_port"]) == ("127.0.0.1", str(pooler.port))
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+", mine["connect_time"])
        assert (mine["prepared_statements"], mine["tls"], mine["replication"], mine["remote_pid"]) == ("1", "", "none", "0")
        backend = only(backends, remote_pid=pid)
        assert (backend["type"], backend["user"], backend["database"], backend["state"]) == ("S", "app", "p3", "active")
        assert (mine["link"], backend["link"]) == (backend["ptr"], mine["ptr"])
        assert mine["ptr"].startswith("0x")
        assert backend["port"] == str(pooler.cluster.port)
        other = only(clients, application_name="next door")
        assert (other["state"], other["addr"], other["link"]) == ("idle", "unix", "")
        assert int(other["remote_pid"]) > 0
        only(clients, database="pgbouncer", user="console")
        a.q("COMMIT")
        b.q("SELECT 1")
        assert only(pooler.show("SERVERS"), remote_pid=pid)["state"] == "idle"


def test_show_databases(pooler):
    row = only(pooler.show("DATABASES"), name="p2")
    assert (row["host"], row["port"], row["database"]) == ("127.0.0.1", str(pooler.cluster.port), "app")
    assert (row["pool_size"], row["force_user"], row["pool_mode"]) == ("2", None, None)
    assert (row["paused"], row["disabled"]) == ("0", "0")
    assert only(pooler.show("DATABASES"), name="pgbouncer")["force_user"] == "pgbouncer"


def test_show_users(pooler):
    rows = pooler.show("USERS")
    other = only(rows, name="other")
    assert (other["pool_size"].strip(), other["pool_mode"]) == ("7", "session")
    plain = only(rows, name="u_scram")
    assert (plain["pool_size"], plain["pool_mode"]) == ("", None)


def test_show_config(pooler):
    row = only(pooler.show("CONFIG"), key="max_client_conn")
    assert (row["value"], row["default"], row["changeable"]) == ("50", "100", "yes")
    assert only(pooler.show("CONFIG"), key="listen_port")["changeable"] == "no"


def test_show_lists(pooler):
    names = [row["list"] for row in pooler.show("LISTS")]
    assert names == ["databases", "users", "peers", "pools", "peer_pools", "free_clients", "used_clients", "login_clients",
                     "free_servers", "used_servers", "dns_names", "dns_zones", "dns_queries", "dns_pending"]


def test_show_state(pooler):
    assert [(r["key"], r["value"]) for r in pooler.show("STATE")] == [("active", "yes"), ("paused", "no"), ("suspended", "no")]


def test_statistics(pooler):
    def p4():
        return {k: int(v) for k, v in only(pooler.show("STATS"), database="p4").items() if k != "database"}
    with pooler.connect(4) as client:
        client.q("SELECT 1")
        before = p4()
        for _ in range(20):
            client.q("SELECT repeat('x', 1000)")
        client.q("BEGIN; SELECT pg_sleep(0.05); COMMIT")
        for _ in range(3):
            client.x("SELECT 1")
        after = p4()
        grown = {k: after[k] - before[k] for k in after if k.startswith("total_")}
        assert grown["total_query_count"] == 24 and grown["total_xact_count"] == 24
        assert grown["total_server_assignment_count"] == 24
        assert grown["total_client_parse_count"] == 3 and grown["total_bind_count"] == 3
        assert grown["total_sent"] > 20000 and grown["total_received"] > 500
        assert 40000 < grown["total_query_time"] < 5000000 and grown["total_xact_time"] >= grown["total_query_time"]
        averages = until(lambda: [r for r in pooler.show("STATS_AVERAGES") if r["database"] == "p4" and
                                  int(r["query_count"]) >= 5])[0]
        assert int(averages["bytes_sent"]) > 4000
        assert 0 < int(averages["query_time"]) < 1000000
        totals = {r["name"]: int(r["value"]) for r in pooler.show("TOTALS")}
        assert totals["total_query_count"] >= after["total_query_count"] and "avg_recv" in totals
    line = pooler.process.wait_line(r" stats: [1-9]")
    assert re.search(r"stats: \d+ xacts/s, \d+ queries/s, \d+ client parses/s, \d+ server parses/s, \d+ binds/s, "
                     r"\d+ client logins/s, in \d+ B/s, out \d+ B/s, xact \d+ us, query \d+ us, wait \d+ us$", line)


def test_show_pins(pooler):
    assert pooler.show("PINS") == []
    with pooler.connect(2, params={"application_name": "locker"}) as client:
        client.q("SELECT pg_advisory_lock(4711)")
        pid = client.value("SELECT pg_backend_pid()")
        pin, = until(lambda: pooler.show("PINS"))
        assert (pin["reason"], pin["server_pid"], pin["user"], pin["database"]) == ("advisory lock", pid, "app", "p2")
        assert (pin["application_name"], pin["age"]) == ("locker", "0")
        assert pin["statement"] == "SELECT pg_advisory_lock(4711)"
        assert pin["client_id"] == only(pooler.show("CLIENTS"), application_name="locker")["id"]
        client.q("CREATE TEMP TABLE also (v int)")
        until(lambda: pooler.show("PINS")[0]["reason"] == "advisory lock, temporary object")
        row = only(pooler.show("POOLS"), database="p2")
        assert (row["cl_pinned"], row["sv_pinned"], row["pin_oldest"]) == ("1", "1", "0")
        client.q("DROP TABLE also")
        client.q("SELECT pg_advisory_unlock(4711)")
        until(lambda: pooler.show("PINS") == [])
        assert only(pooler.show("POOLS"), database="p2")["cl_pinned"] == "0"


def test_what_is_not_utf8_is_shown_all_the_same(pooler):
    with pooler.connect(2) as client:
        client.q("SELECT pg_advisory_lock(1) /* %s" % ("é" * 200) + " */")
        pin, = until(lambda: pooler.show("PINS"))
        assert "\\x" not in pin["statement"]


def test_show_counters(pooler):
    def counters():
        return {row["name"]: int(row["value"]) for row in pooler.show("COUNTERS")}
    before = counters()
    assert {"named_parses", "pins", "replays", "replay_settings", "observations", "local_answers", "statements", "settings",
            "screened", "memory_hits", "parsed", "opaque"} <= set(before)
    with pooler.connect(1) as a, pooler.connect(1) as b:
        a.q("SET work_mem = '5MB'")
        b.q("SELECT 1")
        a.parse("named", "SELECT 1").sync().go()
        a.q("SELECT pg_advisory_lock(1)")
        a.q("SELECT pg_advisory_unlock(1)")
        after = counters()
    for name in ("named_parses", "pins", "replays", "screened"):
        assert after[name] > before[name], name


# Grammar and errors --------------------------------------------------------------------------------------------


def test_faked_settings(pooler):
    with pooler.console() as console:
        assert console.q("SHOW DateStyle")[:2] == [("RowDescription", "datestyle:25"), ("DataRow", "ISO")]
        for sql in ("SET client_encoding = 'utf8'", "SET datestyle TO ISO", "set timezone='UTC';"):
            events = console.q(sql)
            assert fields(events, "NoticeResponse")["M"] == "SET ignored" and tag(events) == "SET"


def test_unknown_commands(pooler):
    with pooler.console() as console:
        for sql in ("SHOW nothing", "SELECT 1", "DROP TABLE x", "SHOW POOLS; SHOW CLIENTS", "SHOW", "RELOAD now",
                    "SHUTDOWN tomorrow", "SUSPEND p1", "VACUUM"):
            refused(console.q(sql), "08P01", "invalid command '%s', use SHOW HELP;" % sql)
        refused(console.q("PAUSE %s" % ("x" * 64)), "08P01", "bad arguments")
        for sql in ("", ";", " ; "):
            assert [e[0] for e in console.q(sql)] == ["EmptyQueryResponse", "ReadyForQuery"]
        long = fields(console.q("é" * 2000))["M"]
        assert long.startswith("invalid command 'éé") and "\\x" not in long


def test_extended_queries_end_it(pooler):
    console = pooler.console()
    console.parse("", "SHOW POOLS").sync().send()
    events = console.read_eof()
    assert fields(events)["M"] == "extended query protocol not supported by admin console"
    console.drop()


def test_too_long_a_query_ends_it(pooler):
    console = pooler.console()
    console.query("SHOW " + "x" * 100000).send()
    events = console.read_eof()
    got = fields(events)
    assert (got["V"], got["M"]) == ("FATAL", "incomplete pkt")
    console.drop()


COMMANDS = ["RELOAD", "PAUSE", "PAUSE p1", "RESUME", "RESUME p1", "RECONNECT", "RECONNECT p1", "KILL", "KILL p1", "KILL_CLIENT 1",
            "WAIT_CLOSE", "WAIT_CLOSE p1", "DISABLE p1", "ENABLE p1", "SUSPEND", "SHUTDOWN", "SHUTDOWN WAIT_FOR_SERVERS",
            "SHUTDOWN WAIT_FOR_CLIENTS", "SET verbose = 1", "SHOW FDS"]


def test_stats_users_may_only_look(pooler):
    with pooler.console("plainold") as console:
        for what in COLUMNS:
            assert tag(console.q("SHOW " + what)) == "SHOW"
        for sql in COMMANDS:
            refused(console.q(sql), "08P01", "admin access needed")
    assert pooler.alive()


def test_names_of_databases(pooler):
    with pooler.console() as console:
        verbs = {"PAUSE": "pause", "RECONNECT": "reconnect", "KILL": "kill", "WAIT_CLOSE": "wait in", "DISABLE": "disable",
                 "ENABLE": "enable"}
        for command, verb in verbs.items():
            refused(console.q(command + " nowhere"), "08P01", "no such database: nowhere")
            refused(console.q(command + " pgbouncer"), "08P01", "cannot %s admin db: pgbouncer" % verb)
        refused(console.q("RESUME nowhere"), "08P01", "no such database: nowhere")
        refused(console.q("ENABLE"), "08P01", "a database is required")
        refused(console.q("DISABLE"), "08P01", "a database is required")
        refused(console.q("RESUME"), "08P01", "pooler is not paused/suspended")
        refused(console.q("RESUME p1"), "08P01", "database p1 is not paused")


def test_what_is_not_done_is_said(pooler):
    with pooler.console() as console:
        for sql in ("SUSPEND", "SHOW FDS"):
            got = refused(console.q(sql), "0A000", "%s is not supported" % sql)
            assert got["D"] and got["H"]


# Commands ------------------------------------------------------------------------------------------------------


def test_pause_and_resume_a_database(pooler):
    with pooler.connect(1) as client, pooler.console() as console:
        client.q("SELECT 1")
        assert tag(console.q("PAUSE p1")) == "PAUSE"
        assert only(pooler.show("DATABASES"), name="p1")["paused"] == "1"
        assert not [row for row in pooler.show("SERVERS") if row["database"] == "p1"]
        client.query("SELECT 'later'").send()
        until(lambda: only(pooler.show("POOLS"), database="p1")["cl_waiting"] == "1")
        assert tag(console.q("RESUME p1")) == "RESUME"
        assert ("DataRow", "later") in client.go()


def test_pause_all(pooler):
    with pooler.connect(1) as a, pooler.connect(2) as b, pooler.console() as console:
        a.q("SELECT 1")
        b.q("SELECT 1")
        assert tag(console.q("PAUSE")) == "PAUSE"
        assert pooler.show("SERVERS") == []
        assert only(pooler.show("STATE"), key="paused")["value"] == "yes"
        for sql in ("PAUSE", "PAUSE p1", "KILL"):
            refused(console.q(sql), "08P01", "already suspended/paused")
        assert tag(console.q("RESUME")) == "RESUME"
        a.q("SELECT 1")
        b.q("SELECT 1")


def test_pause_waits_and_says_for_whom(pooler):
    with pooler.connect(2) as a, pooler.connect(2, params={"application_name": "holds"}) as b, pooler.console() as console:
        a.q("BEGIN")
        b.q("BEGIN")
        b.q("SELECT pg_advisory_lock(77)")
        started = time.monotonic()
        events = console.query("PAUSE p2").until("NoticeResponse")
        assert 2 < time.monotonic() - started < 5
        notice = fields(events, "NoticeResponse")
        assert notice["M"] == "PAUSE waits for 2 server connections"
        one, two = sorted(notice["D"].split("\n"), key=len)
        assert re.search(r"client \d+ app@127\.0\.0\.1:%d, in a transaction for \d+ s$" % a.sock.getsockname()[1], one)
        assert ", in a transaction for" in two
        a.q("COMMIT")
        b.q("ROLLBACK")  # the lock stays
        notice = fields(console.until("NoticeResponse"), "NoticeResponse")
        assert notice["M"] == "PAUSE waits for 1 server connection"
        assert re.search(r"pinned by advisory lock for \d+ s \(SELECT pg_advisory_lock\(77\)\)$", notice["D"])
        b.q("SELECT pg_advisory_unlock(77)")
        assert tag(console.until("ReadyForQuery")) == "PAUSE"
        with pooler.console() as other:
            assert tag(other.q("RESUME p2")) == "RESUME"


def test_pause_undone_by_another(pooler):
    with pooler.connect(2) as a, pooler.console() as console, pooler.console() as other:
        a.q("BEGIN")
        console.query("PAUSE p2").send()
        until(lambda: only(pooler.show("DATABASES"), name="p2")["paused"] == "1")
        assert tag(other.q("RESUME p2")) == "RESUME"
        refused(console.until("ReadyForQuery"), "57014", "PAUSE was undone before it was done")
        a.q("COMMIT")


def test_cancel_ends_pause(pooler):
    with pooler.connect(2) as a, pooler.console() as console:
        a.q("BEGIN")
        console.query("PAUSE").send()
        until(lambda: only(pooler.show("STATE"), key="paused")["value"] == "yes")
        console.cancel()
        refused(console.until("ReadyForQuery"), "57014", "canceling statement due to user request")
        assert only(pooler.show("STATE"), key="paused")["value"] == "no"
        a.q("COMMIT")
        assert tag(console.q("SHOW STATE")) == "SHOW"


def test_what_follows_a_waiting_command_waits(pooler):
    with pooler.connect(2) as a, pooler.console() as console:
        a.q("BEGIN")
        console.query("PAUSE p2").query("RESUME p2").send()
        until(lambda: only(pooler.show("DATABASES"), name="p2")["paused"] == "1")
        a.q("COMMIT")
        assert tag(console.until("ReadyForQuery")) == "PAUSE"
        assert tag(console.until("ReadyForQuery")) == "RESUME"


def test_an_administrator_who_leaves_while_waiting(pooler):
    with pooler.connect(2) as a:
        a.q("BEGIN")
        console = pooler.console()
        console.query("PAUSE p2").send()
        until(lambda: only(pooler.show("DATABASES"), name="p2")["paused"] == "1")
        console.drop()
        a.q("COMMIT")
        with pooler.console() as other:
            assert tag(other.q("RESUME p2")) == "RESUME"
        a.q("SELECT 1")


def test_reconnect_and_wait_close(pooler):
    with pooler.connect(2) as a, pooler.connect(3) as b, pooler.console() as console:
        first = b.value("SELECT pg_backend_pid()")
        a.q("BEGIN")
        assert tag(console.q("RECONNECT p3")) == "RECONNECT"
        assert tag(console.q("WAIT_CLOSE p3")) == "WAIT_CLOSE"
        assert b.value("SELECT pg_backend_pid()") != first
        assert tag(console.q("RECONNECT")) == "RECONNECT"
        assert only(pooler.show("SERVERS"), database="p2", close_needed="1")
        console.query("WAIT_CLOSE").send()
        a.q("COMMIT")
        assert tag(console.until("ReadyForQuery")) == "WAIT_CLOSE"


def test_disable_and_enable(pooler):
    with pooler.connect(3) as old, pooler.console() as console:
        old.q("SELECT 1")
        assert tag(console.q("DISABLE p3")) == "DISABLE"
        assert only(pooler.show("DATABASES"), name="p3")["disabled"] == "1"
        late = pooler.connect(3)
        assert late.closed
        late.drop()
        assert ("DataRow", "1") in old.q("SELECT 1")
        assert tag(console.q("ENABLE p3")) == "ENABLE"
        with pooler.connect(3) as new:
            new.q("SELECT 1")


def test_quoted_names(pooler):
    with pooler.console() as console:
        assert tag(console.q('PAUSE "auto-ish"')) == "PAUSE"
        assert tag(console.q('RESUME "auto-ish";')) == "RESUME"


def test_kill(pooler):
    with pooler.connect(1) as other, pooler.console() as console:
        a, b = pooler.connect(4), pooler.connect(4)
        a.q("BEGIN")
        b.q("SELECT 1")
        assert tag(console.q("KILL p4")) == "KILL"
        for conn in (a, b):
            got = fields(conn.read_eof())
            assert (got["V"], got["C"], got["M"]) == ("FATAL", "57P01", "admin forced disconnect")
            conn.drop()
        assert not [row for row in pooler.show("SERVERS") if row["database"] == "p4"]
        assert only(pooler.show("DATABASES"), name="p4")["paused"] == "1"
        other.q("SELECT 1")
        assert tag(console.q("RESUME p4")) == "RESUME"
        with pooler.connect(4) as again:
            again.q("SELECT 1")
        # All, and back with one command.
        assert tag(console.q("KILL")) == "KILL"
        assert other.read_eof()
        assert pooler.show("SERVERS") == []
        assert tag(console.q("RESUME")) == "RESUME"
    with pooler.connect(4) as again:
        again.q("SELECT 1")


def test_kill_client(pooler):
    with pooler.console() as console:
        victim = pooler.connect(3, params={"application_name": "victim"})
        refused(console.q("KILL_CLIENT victim"), "08P01", "invalid client pointer supplied")
        refused(console.q("KILL_CLIENT 999999"), "08P01", "client not found")
        victim.q("BEGIN")
        found = only(pooler.show("CLIENTS"), application_name="victim")
        assert tag(console.q("KILL_CLIENT " + found["id"])) == "KILL_CLIENT"
        assert fields(victim.read_eof())["M"] == "admin forced disconnect"
        victim.drop()


def test_set(pooler):
    with pooler.console() as console:
        assert tag(console.q("SET query_wait_timeout = 77")) == "SET query_wait_timeout=77"
        assert only(pooler.show("CONFIG"), key="query_wait_timeout")["value"] == "77"
        assert tag(console.q("set query_wait_timeout to '120';")) == "SET query_wait_timeout=120"
        got = refused(console.q("SET query_wait_timeout = soon"), "08P01", "SET failed")
        assert "query_wait_timeout" in got["D"]
        refused(console.q("SET no_such_option = 1"), "08P01", "SET failed")
        assert only(pooler.show("CONFIG"), key="query_wait_timeout")["value"] == "120"
        events = console.q("SET listen_port = 1")
        assert tag(events) == "SET listen_port=1" and fields(events, "NoticeResponse")
        assert only(pooler.show("CONFIG"), key="listen_port")["value"] == str(pooler.port)


def test_reload(start_pooler):
    pooler = start_pooler()
    with pooler.connect(1) as client, pooler.console() as console:
        client.q("SET work_mem = '7MB'")
        pooler.options["query_wait_timeout"] = 33
        pooler.databases["newcomer"] = "pool_size=1"
        pooler.write()
        assert tag(console.q("RELOAD")) == "RELOAD"
        assert only(pooler.show("CONFIG"), key="query_wait_timeout")["value"] == "33"
        with pooler.connect(database="newcomer") as new:
            new.q("SELECT 1")
        # A broken file changes nothing.
        pooler.options["query_wait_timeout"] = "never mind"
        pooler.options["default_pool_size"] = 17
        pooler.write()
        got = refused(console.q("RELOAD"), "F0000", "RELOAD failed, see logs for additional details")
        assert "query_wait_timeout" in got["D"] and "pooler.ini:" in got["D"]
        assert only(pooler.show("CONFIG"), key="query_wait_timeout")["value"] == "33"
        assert only(pooler.show("CONFIG"), key="default_pool_size")["value"] != "17"
        assert client.value("SHOW work_mem") == "7MB"


def test_reload_ends_every_client_of_a_removed_database(start_pooler):
    pooler = start_pooler(databases={"doomed": "pool_size=2"})
    with pooler.console() as console:
        clients = [pooler.connect(database="doomed") for _ in range(3)]
        for client in clients:
            client.q("SELECT 1")
        del pooler.databases["doomed"]
        pooler.write()
        assert tag(console.q("RELOAD")) == "RELOAD"
        for client in clients:
            assert fields(client.read_eof())["V"] == "FATAL"
            client.drop()


def test_reload_while_another_waits_for_a_database_it_removes(start_pooler):
    pooler = start_pooler(databases={"doomed": "pool_size=2"})
    with pooler.console() as console, pooler.console() as other:
        client = pooler.connect(database="doomed")
        client.q("BEGIN")
        console.query("PAUSE doomed").send()
        until(lambda: only(pooler.show("DATABASES"), name="doomed")["paused"] == "1")
        del pooler.databases["doomed"]
        pooler.write()
        assert tag(other.q("RELOAD")) == "RELOAD"
        assert tag(console.until("ReadyForQuery")) == "PAUSE"
        client.drop()


def stopped(pooler, deadline=10):
    """Waits for its end, a clean one."""
    assert pooler.process.wait(deadline) == 0, pooler.process.output()
    assert not pooler.reports(), pooler.reports()


def test_shutdown_at_once(start_pooler):
    pooler = start_pooler()
    client, console = pooler.connect(2), pooler.console()
    client.q("BEGIN")
    console.query("SHUTDOWN").send()
    assert "CommandComplete" not in [e[0] for e in console.read_eof()]
    client.read_eof()
    stopped(pooler)
    pooler.process = None


def test_shutdown_when_servers_are_free(start_pooler):
    pooler = start_pooler()
    busy, idle, console = pooler.connect(2), pooler.connect(2), pooler.console()
    busy.q("BEGIN")
    idle.q("SELECT 1")
    assert tag(console.q("SHUTDOWN WAIT_FOR_SERVERS")) == "SHUTDOWN"
    assert not servers.listens(pooler.address)
    refused(console.q("RESUME"), "08P01", "pooler is shutting down")
    assert ("DataRow", "1") in busy.q("SELECT 1")
    busy.q("COMMIT")
    stopped(pooler)
    pooler.process = None


def test_shutdown_when_clients_have_left(start_pooler):
    pooler = start_pooler()
    client, console = pooler.connect(2), pooler.console()
    client.q("SELECT 1")
    assert tag(console.q("SHUTDOWN WAIT_FOR_CLIENTS")) == "SHUTDOWN"
    assert not servers.listens(pooler.address)
    assert ("DataRow", "1") in client.q("SELECT 1")
    client.terminate()
    console.terminate()
    stopped(pooler)
    pooler.process = None


def test_signals_pause_and_resume(start_pooler):
    pooler = start_pooler()
    with pooler.connect(1) as client:
        client.q("SELECT 1")
        pooler.process.signal(signal.SIGUSR1)
        until(lambda: only(pooler.show("STATE"), key="paused")["value"] == "yes")
        client.query("SELECT 'later'").send()
        pooler.process.signal(signal.SIGUSR2)
        assert ("DataRow", "later") in client.go()
