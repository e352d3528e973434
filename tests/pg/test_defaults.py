"""ALTER ROLE and ALTER DATABASE … SET: who logs in afterwards starts with it, who is there keeps what was there."""

import pytest

import servers
from differential import scenario

CHANGES = {
    "role": ("ALTER ROLE app SET work_mem = '5MB'", "ALTER ROLE app RESET work_mem", "work_mem", "9MB"),
    "database": ("ALTER DATABASE app SET TimeZone = 'Asia/Tokyo'", "ALTER DATABASE app RESET ALL", "TimeZone", "Europe/Berlin"),
    "role in database": ("ALTER ROLE app IN DATABASE app SET search_path = s1, \"$user\"",
                         "ALTER ROLE app IN DATABASE app RESET ALL", "search_path", "s3"),
    "all roles": ("ALTER ROLE ALL SET statement_timeout = '50s'", "ALTER ROLE ALL RESET statement_timeout", "statement_timeout", "7s"),
    "DateStyle": ("ALTER ROLE app SET DateStyle = 'German'", "ALTER ROLE app RESET DateStyle", "DateStyle", "SQL, DMY"),
    "custom": ("ALTER ROLE app SET my.a = 'the role''s'", "ALTER ROLE app RESET my.a", "my.a", "set"),
}


@scenario("defaults", args={name: case for name, case in CHANGES.items() if name != "custom"})
def test_who_was_there_keeps_what_was_there(s, change, back, name, other):
    boss = s.client("boss", user="boss")
    old, set_before = s.client("old"), s.client("set before")
    set_before.q("SET %s = '%s'" % (name, other))
    old.q("SHOW " + name)
    boss.q(change)
    new = s.client("new")
    for _ in range(2):
        for client in (old, set_before, new):
            client.q("SHOW " + name)
        for client in (old, new):
            client.q("SET %s = '%s'" % (name, other))
            client.q("SHOW " + name)
        for client in (old, new, set_before):
            client.q("RESET " + name)
            client.q("SHOW " + name)
    new.q("DISCARD ALL")
    old.q("DISCARD ALL")
    boss.q(back)
    newest = s.client("newest")
    for client in (old, new, newest, set_before):
        client.q("SHOW " + name)
        client.q("RESET ALL")
        client.q("SHOW " + name)


@scenario("defaults")
def test_a_custom_setting(s):
    change, back, name, _ = CHANGES["custom"]
    boss, old = s.client("boss", user="boss"), s.client("old")
    old.q("SELECT coalesce(current_setting('my.a', true), '')")
    boss.q(change)
    new = s.client("new")
    for client in (old, new, old):
        client.q("SELECT coalesce(current_setting('my.a', true), '')")
        client.q("SET my.a = 'x'; RESET my.a")
        client.q("SELECT coalesce(current_setting('my.a', true), '')")
    boss.q(back)
    newest = s.client("newest")
    for client in (new, newest, old):
        client.q("SELECT coalesce(current_setting('my.a', true), '')")


@scenario("defaults")
def test_a_role_by_default(s):
    boss, old = s.client("boss", user="boss"), s.client("old")
    boss.q("ALTER ROLE app SET role = 'r1'")
    new = s.client("new")
    for client in (old, new, old):
        client.q("SELECT current_user, session_user")
    boss.q("ALTER ROLE app RESET role")
    for client in (old, new, s.client("newest")):
        client.q("SELECT current_user, session_user")


@scenario("defaults")
def test_out_of_sight_a_role_by_default_is_given_up(s):
    boss = s.client("boss", user="boss")
    boss.q("ALTER ROLE app SET role = 'r1'")
    new = s.client("new")
    new.q("DO $$BEGIN PERFORM set_config('role', 'none', false); END$$")
    for client in (new, s.client("newest"), new):
        client.q("SELECT current_user, session_user")
    boss.q("ALTER ROLE app RESET role")


@scenario("defaults")
def test_it_counts_when_it_is_committed(s):
    boss, old = s.client("boss", user="boss"), s.client("old")
    boss.q("BEGIN")
    boss.q("ALTER ROLE app SET work_mem = '5MB'")
    s.client("before").q("SHOW work_mem")
    boss.q("COMMIT")
    new = s.client("new")
    for client in (old, new):
        client.q("SHOW work_mem")
    boss.q("BEGIN; ALTER ROLE app SET work_mem = '6MB'; ROLLBACK")
    for client in (old, new, s.client("newest")):
        client.q("SHOW work_mem")
    boss.x("ALTER ROLE app RESET work_mem")
    for client in (old, new, s.client("newest of all")):
        client.q("SHOW work_mem")


@scenario("defaults", need=2)
def test_in_the_middle_of_a_transaction(s):
    boss, old = s.client("boss", user="boss"), s.client("old")
    old.q("BEGIN")
    old.q("SET LOCAL statement_timeout = '9s'")
    old.q("SAVEPOINT a")
    old.q("SET work_mem = '3MB'")
    boss.q("ALTER ROLE app SET work_mem = '5MB'")
    s.client("new").q("SHOW work_mem")
    old.q("SHOW work_mem")
    old.q("ROLLBACK TO a")
    old.q("SHOW work_mem")
    old.q("COMMIT")
    old.q("SHOW work_mem")
    old.q("SHOW statement_timeout")
    boss.q("ALTER ROLE app RESET work_mem")
    old.q("SHOW work_mem")


@scenario("defaults")
def test_several_changes_one_after_another(s):
    boss = s.client("boss", user="boss")
    clients = [s.client("first")]
    for n, sql in enumerate(["work_mem = '5MB'", "work_mem = '6MB'", "statement_timeout = '50s'", "work_mem = '7MB'"]):
        boss.q("ALTER ROLE app SET " + sql)
        clients.append(s.client("after %d" % n))
    boss.q("ALTER ROLE app RESET ALL")
    for client in clients + [s.client("last")]:
        client.q("SHOW work_mem")
        client.q("SHOW statement_timeout")


@scenario("defaults")
def test_prepared_before(s):
    """A statement means what it meant: literals are read under the DateStyle of its Parse."""
    boss, old = s.client("boss", user="boss"), s.client("old")
    old.parse("d", "SELECT '01/02/2024'::date").sync().go()
    boss.q("ALTER ROLE app SET DateStyle = 'ISO, DMY'")
    s.client("new").q("SELECT '01/02/2024'::date")
    old.bind("", "d").execute().sync().go()
    old.q("SELECT '01/02/2024'::date")
    boss.q("ALTER ROLE app RESET DateStyle")


@pytest.mark.row("defaults")
def test_all_entries_that_lead_there(pooler):
    if servers.POOLER == "direct":
        pytest.skip("there are no entries")
    with pooler.connect(4, user="boss") as boss, pooler.connect(1) as a, pooler.connect(2) as b, pooler.connect(3, user="other"):
        try:
            assert [c.value("SHOW work_mem") for c in (a, b)] == ["4MB", "4MB"]
            boss.value("ALTER ROLE app SET work_mem = '5MB'")
            with pooler.connect(1) as new_a, pooler.connect(2) as new_b:
                assert [c.value("SHOW work_mem") for c in (new_a, new_b)] == ["5MB", "5MB"]
                assert [c.value("SHOW work_mem") for c in (a, b)] == ["4MB", "4MB"]
        finally:
            boss.value("ALTER ROLE app RESET work_mem")
    with pooler.connect(2) as c:
        assert c.value("SHOW work_mem") == "4MB"


@pytest.mark.row("defaults")
def test_reconnect_after_a_change_past_pgporter(pooler, cluster):
    if servers.POOLER != "pgporter":
        pytest.skip("about pgporter's console")
    with pooler.connect(2) as old, pooler.console() as console, cluster.admin() as direct:
        try:
            assert old.value("SHOW work_mem") == "4MB"
            direct.value("ALTER ROLE app SET work_mem = '5MB'")
            console.q("RECONNECT")
            with pooler.connect(2) as new:
                assert new.value("SHOW work_mem") == "5MB"
                assert old.value("SHOW work_mem") == "4MB"
        finally:
            direct.value("ALTER ROLE app RESET work_mem")
            console.q("RECONNECT")


@pytest.mark.row("defaults")
def test_an_ordinary_users_client_survives_a_superusers_setting(pooler, cluster):
    """What the client may not set itself can't be given back to it, and must not be in its way."""
    with pooler.connect(1) as old, pooler.connect(1, user="boss") as boss:
        try:
            boss.value("ALTER ROLE app SET log_min_messages = 'error'")
            boss.value("ALTER ROLE app SET work_mem = '5MB'")
            with pooler.connect(1) as new:
                assert new.value("SHOW work_mem") == "5MB"
            assert old.value("SHOW work_mem") == "4MB"
        finally:
            boss.value("ALTER ROLE app RESET ALL")


@scenario("defaults")
def test_what_the_servers_files_say_is_everybodys(s):
    boss, old = s.client("boss", user="boss"), s.client("old")
    old.q("SHOW vacuum_cost_limit")
    boss.q("ALTER SYSTEM SET vacuum_cost_limit = 300")
    boss.q("SELECT pg_reload_conf()")
    s.tell(_until(s, "vacuum_cost_limit", "300"))
    old.q("SHOW vacuum_cost_limit")
    s.client("new").q("SHOW vacuum_cost_limit")
    boss.q("ALTER SYSTEM RESET vacuum_cost_limit")
    boss.q("SELECT pg_reload_conf()")
    s.tell(_until(s, "vacuum_cost_limit", "200"))
    old.q("SHOW vacuum_cost_limit")


def _until(s, name, value):
    with s.admin() as conn:
        while conn.value("SHOW " + name) != value:
            pass
    return name, value
