import json
import random
import threading
import time

from django.core.management.base import BaseCommand
from django.db import close_old_connections, connections, reset_queries

from shop import tasks


class Command(BaseCommand):
    help = "Run the tasks with many workers; one line of JSON a second, and one at the end with every outcome."

    def add_arguments(self, parser):
        parser.add_argument("--workers", type=int, default=20)
        parser.add_argument("--seconds", type=float, default=15)
        parser.add_argument("--only", metavar="TASK", help="nothing but this task, by all workers")

    def handle(self, workers, seconds, only=None, **options):
        self.only = only
        if only:
            tasks.iterating = threading.Semaphore(5)
        self.lock = threading.Lock()
        self.outcomes = {name: {"tried": 0, "broke": 0, "errors": {}} for name in tasks.NAMES}
        self.start = time.monotonic()
        self.end = self.start + seconds
        threads = [threading.Thread(target=self.work, args=(n,), daemon=True) for n in range(workers)]
        for t in threads:
            t.start()
        while any(t.is_alive() for t in threads):
            self.say(kind="tick")
            time.sleep(1)
        self.say(kind="end", outcomes=self.outcomes)

    def say(self, **line):
        with self.lock:
            tried = sum(o["tried"] for o in self.outcomes.values())
            broke = sum(o["broke"] for o in self.outcomes.values())
            self.stdout.write(json.dumps({"tried": tried, "broke": broke, **line}))
            self.stdout.flush()

    def deck(self, worker):
        if self.only:
            return [self.only]
        if worker == 0:
            return ["migrations back and forth under load"]
        deck = [name for name, times in tasks.DECK.items() for n in range(times)]
        random.shuffle(deck)
        # Each task is dealt first to somebody, so that a short run tries all of them.
        deck.append(list(tasks.DECK)[worker % len(tasks.DECK)])
        return deck[::-1]

    def work(self, worker):
        while True:
            for name in self.deck(worker):
                # As request_started and request_finished do: here CONN_MAX_AGE closes connections or doesn't.
                close_old_connections()
                reset_queries()
                if not self.only:
                    self.attempt("nothing of another client shows", worker)
                self.attempt(name, worker)
                close_old_connections()
                if time.monotonic() > self.end:
                    connections.close_all()
                    return

    def attempt(self, name, worker):
        error = None
        try:
            if tasks.NAMES[name](worker) is False:
                return
        except Exception as e:
            error = "%s: %s" % (type(e).__name__, " ".join(str(e).split()))
            self.drop_connections()
        with self.lock:
            outcome = self.outcomes[name]
            outcome["tried"] += 1
            if error:
                outcome["broke"] += 1
                outcome["errors"][error[:300]] = outcome["errors"].get(error[:300], 0) + 1

    def drop_connections(self):
        """After an error the next task starts on new connections, in whatever state the error left these."""
        for connection in connections.all():
            try:
                connection.close()
            except Exception:
                connection.connection = None
