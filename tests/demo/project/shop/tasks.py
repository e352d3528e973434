"""What the workers do. Each task leans on session state that transaction pooling loses, checks every answer, and leaves its
connection as it found it. None holds one connection while it waits for another, so two server connections are enough."""
import random
import threading
import time
from datetime import datetime, timedelta, timezone

from django.conf import settings
from django.core.management import call_command
from django.db import connections, transaction
from django.db.models import F

from shop.management.commands.reset import AMOUNT, ENTRIES
from shop.models import Entry, Event, Item, Job, JobRun, SharedNote
from tenants.models import Note


class Wrong(Exception):
    """PostgreSQL gave an answer, but not the one a direct connection gives."""


def expect(what, got, wanted):
    if got != wanted:
        raise Wrong("%s: got %r, expected %r" % (what, got, wanted))


def value(alias, sql, params=None):
    with connections[alias].cursor() as c:
        c.execute(sql, params)
        return c.fetchone()[0]


def run(alias, sql, params=None):
    with connections[alias].cursor() as c:
        c.execute(sql, params)


def setting(alias, name):
    return value(alias, "SELECT current_setting('%s')" % name)


SEEN = ["SELECT current_user", "SELECT array_to_string(current_schemas(false), ',')",
        "SELECT current_setting('TimeZone')", "SELECT current_setting('statement_timeout')",
        "SELECT current_setting('DateStyle')"]


def nothing_of_others(worker, alias=None):
    """Before each task: what this connection sees is what it set itself, whoever used the backend last."""
    alias = alias or random.choice(["default", "tokyo", *settings.TENANTS])
    wanted = ["app", alias if alias in settings.TENANTS else "public",
              "Asia/Tokyo" if alias == "tokyo" else "UTC", "0", "ISO, MDY"]
    for sql, want in zip(SEEN, wanted):
        expect("%s on %s" % (sql[7:], alias), value(alias, sql), want)


def job_queue(worker):
    """Workers take jobs by session advisory locks. At the end every job must have run once at most."""
    waiting = list(Job.objects.filter(done=False).order_by("id").values_list("id", flat=True)[:12])
    random.shuffle(waiting)
    ran = 0
    for job_id in waiting:
        if not value("default", "SELECT pg_try_advisory_lock(%s)", [job_id]):
            continue
        try:
            if not Job.objects.get(pk=job_id).done:
                time.sleep(0.002)
                JobRun.objects.create(job_id=job_id, worker=worker)
                Job.objects.filter(pk=job_id).update(done=True, runs=F("runs") + 1)
                ran += 1
        finally:
            expect("pg_advisory_unlock of a lock we hold", value("default", "SELECT pg_advisory_unlock(%s)", [job_id]), True)
        if ran == 4:
            break


def transfer(worker):
    """Two rows change in a transaction; a savepoint in it is rolled back, and SET LOCAL ends with it."""
    a, b = sorted(random.sample(range(1, ENTRIES + 1), 2))
    with transaction.atomic():
        run("default", "SET LOCAL lock_timeout = '30s'")
        rows = {e.pk: e for e in Entry.objects.select_for_update().filter(pk__in=[a, b]).order_by("pk")}
        expect("rows locked", sorted(rows), [a, b])
        try:
            with transaction.atomic():
                Entry.objects.filter(pk=a).update(amount=F("amount") + 1000000)
                run("default", "SET LOCAL lock_timeout = '31s'")
                raise InterruptedError
        except InterruptedError:
            pass
        expect("SET LOCAL after ROLLBACK TO", setting("default", "lock_timeout"), "30s")
        Entry.objects.filter(pk=a).update(amount=F("amount") - 7)
        Entry.objects.filter(pk=b).update(amount=F("amount") + 7)
    expect("SET LOCAL after COMMIT", setting("default", "lock_timeout"), "0")


# Each holds a server connection for as long as it lasts; more at once would only wait for each other.
iterating = threading.Semaphore(2)


def iterate(worker):
    """`.iterator()` in autocommit is a WITH HOLD cursor: it must live through thousands of others' statements."""
    if not iterating.acquire(timeout=0.05):
        return False
    try:
        count = total = last = 0
        for pk, amount in Entry.objects.order_by("pk").values_list("pk", "amount").iterator(chunk_size=2000):
            if pk != last + 1:
                raise Wrong("iterator went from row %d to %d" % (last, pk))
            last, count, total = pk, count + 1, total + amount
        expect("rows iterated", count, ENTRIES)
        expect("their sum", total, ENTRIES * AMOUNT)
    finally:
        iterating.release()


def tenant_by_set_search_path(worker):
    """One connection, tenant after tenant: `SET search_path`, then the ORM as if there were one schema."""
    for name in random.sample(settings.TENANTS, 2):
        run("default", "SET search_path TO %s, public" % name)
        try:
            for n in range(3):
                Note.objects.create(tenant=name, body="by SET search_path, worker %d" % worker)
                expect("notes of others in %s" % name, Note.objects.exclude(tenant=name).count(), 0)
                expect("current_schema()", value("default", "SELECT current_schema()"), name)
        finally:
            run("default", "RESET search_path")
    expect("search_path after RESET", setting("default", "search_path"), '"$user", public')


def tenant_by_options(worker):
    """search_path came with the startup packet (OPTIONS in settings.py)."""
    name = random.choice(settings.TENANTS)
    for n in range(3):
        Note.objects.using(name).create(tenant=name, body="by OPTIONS, worker %d" % worker)
        expect("notes of others in %s" % name, Note.objects.using(name).exclude(tenant=name).count(), 0)
        expect("search_path", setting(name, "search_path"), name)


def tenant_by_role(worker):
    """SET ROLE, and row-level security does the rest. A role that leaks shows another tenant's rows."""
    name = random.choice(settings.TENANTS)
    run("default", "SET ROLE %s" % name)
    try:
        for n in range(3):
            SharedNote.objects.create(tenant=name, body="worker %d" % worker)
            seen = set(SharedNote.objects.values_list("tenant", flat=True).distinct())
            expect("tenants seen as %s" % name, seen, {name})
            expect("current_user", value("default", "SELECT current_user"), name)
    finally:
        run("default", "RESET ROLE")
    expect("current_user after RESET ROLE", value("default", "SELECT current_user"), "app")


def prepared(worker):
    """The same statements again and again on one connection: from the second time on they are prepared by name."""
    if not settings.PSYCOPG3:
        return prepared_without_django(worker)
    for n in range(6):
        ids = random.sample(range(1, ENTRIES + 1), 3)
        got = Entry.objects.using("prepared").filter(pk__in=ids).order_by("pk").values_list("pk", flat=True)
        expect("rows by id", list(got), sorted(ids))
        expect("notes", Entry.objects.using("prepared").get(pk=ids[0]).note, "entry %d" % ids[0])
        expect("sum", value("prepared", "SELECT %s::int + %s::int", [ids[0], worker]), ids[0] + worker)
        expect("text", value("prepared", "SELECT %s::text || %s::text", ["w", str(worker)]), "w%d" % worker)


def prepared_without_django(worker):
    """Where Django can't use psycopg 3 (Debian 12's), psycopg 3 is used by itself."""
    import psycopg
    db = settings.DATABASES["default"]
    with psycopg.connect(host=db["HOST"], port=db["PORT"], dbname=db["NAME"], user=db["USER"], autocommit=True,
                         prepare_threshold=1) as conn:
        for n in range(6):
            pk = random.randint(1, ENTRIES)
            row = conn.execute("SELECT id, note FROM shop_entry WHERE id = %s", [pk]).fetchone()
            expect("row by id", row, (pk, "entry %d" % pk))
            expect("sum", conn.execute("SELECT %s::int + %s::int", [pk, worker]).fetchone()[0], pk + worker)


def time_zones(worker):
    """TIME_ZONE of the alias `tokyo` and `SET TIME ZONE` on another connection: the same moments, told differently."""
    start = datetime(2024, 6, 30, 20, 15, tzinfo=timezone.utc)
    day = random.randrange(10)
    sql = "SELECT to_char(at, 'YYYY-MM-DD HH24:MI') FROM shop_event WHERE id = %d" % (day + 1)

    def told(hours):
        return (start + timedelta(days=day, hours=hours)).strftime("%Y-%m-%d %H:%M")

    for n in range(2):
        expect("time in Tokyo", value("tokyo", sql), told(9))
        expect("time in UTC", value("default", sql), told(0))
    run("default", "SET TIME ZONE 'America/New_York'")
    try:
        expect("time in New York", value("default", sql), told(-4))
        expect("hour in New York", value("default", "SELECT extract(hour FROM at)::int FROM shop_event LIMIT 1"), 16)
        expect("time in New York", value("default", sql), told(-4))
    finally:
        run("default", "SET TIME ZONE 'UTC'")
    expect("moment by Django", Event.objects.get(pk=day + 1).at, start + timedelta(days=day))


def session_settings(worker):
    """SET and set_config in every way an application has, read back between others' statements."""
    mine = "tenant %d, it's \"quoted\"" % worker
    try:
        value("default", "SELECT set_config('app.tenant', %s, false)", [mine])
        run("default", "SET statement_timeout = '%ds'" % (60 + worker))
        run("default", "SET DateStyle TO 'German'")
        for n in range(3):
            expect("app.tenant", setting("default", "app.tenant"), mine)
            expect("statement_timeout by show", value("default", "SHOW statement_timeout"),
                   "1min" if worker == 0 else "%ds" % (60 + worker))
            expect("a date in German", value("default", "SELECT '2024-12-31'::date::text"), "31.12.2024")
        try:
            with transaction.atomic():
                run("default", "SET DateStyle TO 'SQL, DMY'")
                expect("DateStyle in transaction", setting("default", "DateStyle"), "SQL, DMY")
                raise InterruptedError
        except InterruptedError:
            pass
        expect("DateStyle after ROLLBACK", setting("default", "DateStyle").split(",")[0], "German")
    finally:
        for name in ("app.tenant", "statement_timeout", "DateStyle"):
            run("default", "RESET %s" % name)


def temporary_table(worker):
    """A temporary table of the same name for everyone, filled in one statement and read in the next."""
    run("default", "CREATE TEMPORARY TABLE basket AS SELECT n, %d AS worker FROM generate_series(1, 50) n" % worker)
    try:
        run("default", "UPDATE basket SET n = n + 1")
        expect("rows in basket", value("default", "SELECT count(*) FROM basket"), 50)
        expect("workers in basket", value("default", "SELECT string_agg(DISTINCT worker::text, ',') FROM basket"), str(worker))
    finally:
        run("default", "DROP TABLE basket")


def valid_index(name):
    return value("default", "SELECT count(*) FROM pg_index JOIN pg_class c ON c.oid = indexrelid"
                            " WHERE relname = '%s' AND indisvalid AND indisready" % name)


def migrate_under_load(worker):
    """Back and forth while the others work: CREATE and DROP INDEX CONCURRENTLY, columns and constraints altered."""
    call_command("migrate", "shop", "0002", verbosity=0)
    expect("indexes after migrating back", valid_index("entry_note") + valid_index("item_price"), 0)
    call_command("migrate", "shop", verbosity=0)
    expect("valid indexes after migrating forth", valid_index("entry_note") + valid_index("item_price"), 2)
    expect("items whose data was moved", Item.objects.filter(label__startswith="ITEM ").count(), Item.objects.count())


NAMES = {
    "nothing of another client shows": nothing_of_others,
    "job queue on session advisory locks": job_queue,
    "transfers with savepoints, SET LOCAL": transfer,
    ".iterator() over 100,000 rows": iterate,
    "tenant by SET search_path": tenant_by_set_search_path,
    "tenant by OPTIONS -c search_path": tenant_by_options,
    "tenant by SET ROLE, row-level security": tenant_by_role,
    "prepared statements": prepared,
    "time zones": time_zones,
    "SET, set_config, RESET": session_settings,
    "temporary tables": temporary_table,
    "migrations back and forth under load": migrate_under_load,
}

# How often each comes in a worker's deck. Migrations have a worker of their own: they must not meet each other.
DECK = {"job queue on session advisory locks": 4, "transfers with savepoints, SET LOCAL": 4,
        ".iterator() over 100,000 rows": 1, "tenant by SET search_path": 2, "tenant by OPTIONS -c search_path": 2,
        "tenant by SET ROLE, row-level security": 2, "prepared statements": 2, "time zones": 2,
        "SET, set_config, RESET": 2, "temporary tables": 1}
