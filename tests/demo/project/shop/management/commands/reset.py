from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection

ENTRIES, AMOUNT, JOBS, ITEMS = 100000, 1000, 4000, 2000


class Command(BaseCommand):
    help = "Put the data back to where a run starts."

    def handle(self, **options):
        with connection.cursor() as c:
            c.execute("TRUNCATE shop_entry, shop_job, shop_jobrun, shop_event, shop_sharednote, shop_item RESTART IDENTITY")
            for name in settings.TENANTS:
                c.execute("TRUNCATE %s.tenants_note RESTART IDENTITY" % name)
            c.execute("INSERT INTO shop_entry (amount, note) SELECT %d, 'entry ' || n FROM generate_series(1, %d) n"
                      % (AMOUNT, ENTRIES))
            c.execute("INSERT INTO shop_job (done, runs) SELECT false, 0 FROM generate_series(1, %d)" % JOBS)
            c.execute("INSERT INTO shop_item (name, price, label) SELECT 'item ' || n, n, 'ITEM ' || n"
                      " FROM generate_series(1, %d) n" % ITEMS)
            c.execute("INSERT INTO shop_event (at) SELECT '2024-06-30 20:15:00+00'::timestamptz + n * interval '1 day'"
                      " FROM generate_series(0, 9) n")
