#!/usr/bin/python3
"""Random programs of 2 to 4 clients, played directly on PostgreSQL and through pgporter's pools of 1, 2 and 3.

Every answer must be equal. A program that diverges is cut down to the steps that matter and printed as a scenario, which
belongs into a test of tests/pg. Exits with 1 when any did.

    differential_random.py [--programs 10000] [--seconds 40] [--seed N] [--pool N]

--seed and --pool repeat one program. Needs what servers.py needs.
"""

import argparse
import collections
import dataclasses
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import player  # noqa: E402  (after the path is set)
import programs  # noqa: E402
import rawpg  # noqa: E402
import rows  # noqa: E402
import servers  # noqa: E402

POOLS = (1, 2, 3)
CUSTOM = " ".join("-c %s=x" % name for name in programs.CUSTOM)
LEFT = "; ".join((programs.PROBE, programs.PROBE_CUSTOM, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
                  "SELECT count(*) FROM pg_listening_channels()", "SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()"))
OUT_OF_SIGHT = """
CREATE FUNCTION public.sets_path() RETURNS text LANGUAGE sql AS $$SELECT set_config('search_path', 's4', false)$$;
CREATE FUNCTION public.within() RETURNS text LANGUAGE plpgsql SET search_path = s5 AS $$BEGIN SET LOCAL my.b = 'within'; RETURN f(); END$$;
CREATE VIEW public.sets AS SELECT set_config('my.b', 'by a view', false) AS v;
GRANT SELECT ON public.sets TO PUBLIC;
CREATE PROCEDURE public.sets_and_commits() LANGUAGE plpgsql AS $$BEGIN
	SET TimeZone = 'Asia/Tokyo'; COMMIT; SET TimeZone = 'Europe/Rome'; ROLLBACK; END$$;
"""
SHRINK_SECONDS = 60
DEADLINE = 4


@dataclasses.dataclass
class Divergence:
    at: int
    step: player.Step
    direct: list
    pooled: list


class Bench:
    """A PostgreSQL, a pgporter, and the ways to play a program on them."""

    def __init__(self):
        self.space = servers.Workspace()
        self.cluster = servers.Cluster(self.space)
        self.pooler = servers.Pooler(self.cluster)
        self.cluster.keeper.q(OUT_OF_SIGHT)
        self.cluster.keeper.q("CREATE TABLE public.work (id serial, v text); GRANT ALL ON public.work, public.work_id_seq TO PUBLIC; "
                              "CREATE TABLE public.shape (n int); GRANT ALL ON public.shape TO PUBLIC; "
                              "ALTER TABLE public.shape OWNER TO app")

        self.learn()
        self.clean = self.left(1)

    def learn(self):
        """Clients that are called so ask for currval()."""
        for pool in POOLS:
            for user in ("app", "boss"):
                with rawpg.Conn(self.pooler.address, user, self.pooler.database(pool), params=dict(programs.ASKS)) as conn:
                    conn.query("SELECT lastval()").go()

    def stop(self):
        try:
            self.pooler.stop()
        finally:
            self.cluster.stop()
            servers.kill_all()
            self.space.remove()

    def tidy(self):
        self.cluster.keeper.value("SET lock_timeout = '3s'; TRUNCATE public.work, public.deferred, public.touched RESTART IDENTITY; "
                                  "ALTER SEQUENCE public.drawn RESTART; ALTER TABLE public.shape DROP COLUMN IF EXISTS extra; ALTER TABLE public.shape ALTER COLUMN n TYPE int; "
                                  "SELECT 1")

    def generate(self, seed, clients, slots, length):
        """Makes a program while playing it directly: its steps, and the answer to each."""
        self.tidy()
        generator = programs.Generator(seed, clients, slots, length)
        stand = player.Stand(self.cluster, clients)
        steps, answers = [], []
        try:
            for step in generator.steps():
                steps.append(step)
                events = stand.play(step)
                generator.after(step, stand.players[step.client], events)
                answers.append(events)
        except rawpg.Deadline:
            raise AssertionError("seed %d: the program hangs by itself:\n%s" % (seed, "\n".join(s.text() for s in steps))) from None
        finally:
            stand.close()
        return steps, answers

    def direct(self, steps, slots):
        """Plays a program directly; None if it needs more than so many backends or hangs by itself."""
        self.tidy()
        count = 1 + max(step.client for step in steps)
        holding, stand = player.Holding(count), player.Stand(self.cluster, count)
        answers = []
        try:
            for step in steps:
                if not holding.room(step, slots):
                    return None
                events = stand.play(step)
                holding.after(step, stand.players[step.client], events)
                answers.append(events)
        except rawpg.Deadline:
            return None
        finally:
            stand.close()
        return answers

    def pooled(self, steps, answers, pool):
        """Plays it through the pooler; the first divergence or None."""
        self.tidy()
        stand = player.Stand(self.cluster, 1 + max(step.client for step in steps), self.pooler.address, self.pooler.database(pool))
        try:
            for at, (step, expected) in enumerate(zip(steps, answers)):
                try:
                    events = stand.play(step, expected)
                except (rawpg.Deadline, rawpg.Gone, OSError) as why:
                    got = stand.players[step.client]
                    events = (got.take() if got else []) + [("!!", str(why), *self.pinned())]
                if events != expected:
                    return Divergence(at, step, expected, events)
        finally:
            try:
                stand.close()
            except (rawpg.Deadline, OSError):
                pass
        left = self.left(pool, next((step.ops[0][1] for step in steps if step.ops[0][0] == "connect"), "app"))
        return None if left == self.clean else Divergence(len(steps) - 1, steps[-1], self.clean, left)

    def left(self, pool, user="app"):
        """What clients that are new find on the pool's backends. They name all custom settings, so that they may get any."""
        self.tidy()
        conns, seen = [], set()
        try:
            for _ in range(pool):
                conns.append(rawpg.Conn(self.pooler.address, user, self.pooler.database(pool), params={"options": CUSTOM}))
            for conn in conns:
                conn.query("BEGIN").go()
                seen.add(repr([event for event in conn.query(LEFT).go() if event[0] != "RowDescription"]).replace(repr(user), "a user"))
            for conn in conns:
                conn.query("ROLLBACK").go()
                conn.terminate()
        except (rawpg.Deadline, rawpg.Gone, OSError) as why:
            seen.add("!! %s" % why)
        finally:
            for conn in conns:
                conn.drop()
        return sorted(seen)

    def pinned(self):
        """Who holds what, to explain a wait."""
        try:
            return [" ".join(pin[key] for key in ("user", "reasons", "statement") if key in pin) for pin in self.pooler.show("PINS")]
        except (OSError, AssertionError, rawpg.Deadline, rawpg.Gone) as why:
            return ["the console: %s" % why]

    def renew(self, found):
        """After a divergence the next program finds new server connections."""
        if found.pooled and found.pooled[-1][0] == "!!":
            self.start_over()
            return
        with self.pooler.console() as console:
            console.q("RECONNECT")

    def start_over(self):
        """Nobody keeps a lock or a wrong state for the next program."""
        alive = self.pooler.alive()
        said = self.pooler.reports() + ("" if alive else self.pooler.process.output())
        self.pooler.process.kill()
        self.cluster.throw_out()
        self.pooler.start()
        self.learn()
        return said

    def diverges(self, steps, pool):
        """The divergence of a program on a pooler that is fresh but for what the program itself does."""
        if not steps:
            return None
        answers = self.direct(steps, pool)
        if answers is None:
            return None
        found = self.pooled(steps, answers, pool)
        if found:
            self.renew(found)
        return found

    def shrink(self, steps, pool, found):
        """Leaves out what is not needed for the program to diverge."""
        until = time.monotonic() + SHRINK_SECONDS
        hang = found.pooled and found.pooled[-1][0] == "!!"

        def still(fewer):
            again = self.diverges(fewer, pool)
            return again if again and (hang or again.pooled[-1:] == [] or again.pooled[-1][0] != "!!") else None

        steps = steps[:found.at + 1]
        self.patience(1)
        try:
            steps, found = self.shrink_steps(steps, found, still, until)
            return self.shrink_ops(steps, found, still, until)
        finally:
            self.patience(DEADLINE)

    @staticmethod
    def patience(seconds):
        rawpg.DEADLINE = seconds

    @staticmethod
    def shrink_steps(steps, found, still, until):
        size = max(len(steps) // 2, 1)
        while size:
            at = 0
            while at < len(steps) and time.monotonic() < until:
                fewer = steps[:at] + steps[at + size:]
                again = still(fewer)
                if again:
                    steps, found = fewer[:again.at + 1], again
                else:
                    at += size
            size //= 2
        return steps, found

    @staticmethod
    def shrink_ops(steps, found, still, until):
        """Leaves out messages of steps, and statements of texts."""
        at = 0
        while at < len(steps):
            for fewer in smaller(steps[at]):
                if time.monotonic() > until:
                    return steps, found
                again = still(steps[:at] + [fewer] + steps[at + 1:])
                if again:
                    steps = steps[:at] + [fewer] + steps[at + 1:]
                    steps, found = steps[:again.at + 1], again
                    break
            else:
                at += 1
        return steps, found


def smaller(step):
    """Versions of a step with one message, or one statement of a text, left out."""
    for n, op in enumerate(step.ops):
        if len(step.ops) > 1 and not (n == len(step.ops) - 1 and op[0] == "sync"):
            yield dataclasses.replace(step, ops=step.ops[:n] + step.ops[n + 1:], frees=frozenset())
        if op[0] == "query" and "; " in op[1]:
            parts = op[1].split("; ")
            for m in range(len(parts)):
                yield dataclasses.replace(step, ops=step.ops[:n] + (("query", "; ".join(parts[:m] + parts[m + 1:])),) + step.ops[n + 1:])


def readable(steps, found, pool):
    out = ["@scenario(\"…\", need=%d)" % pool, "def test_…(s):"]
    out += ["    " + step.text() for step in steps]
    out += ["", "the last step, direct:"] + ["    %r" % (event,) for event in found.direct]
    out += ["through pgporter:"] + ["    %r" % (event,) for event in found.pooled]
    return "\n".join(out)


def shape(seed):
    """Clients, slots and length of a seed's program."""
    slots = 1 + seed % 3
    return 2 + (seed // 3) % 3, slots, 12 + seed * 7919 % 30


class Run:
    def __init__(self, bench, args):
        bench.patience(DEADLINE)
        self.bench, self.args = bench, args
        self.tally = collections.Counter()
        self.programs = self.steps = self.failed = 0

    def one(self, seed):
        clients, slots, length = shape(seed)
        steps, answers = self.bench.generate(seed, clients, slots, length)
        self.programs += 1
        self.steps += len(steps)
        for step in steps:
            self.tally.update(step.rows)
        for pool in [self.args.pool] if self.args.pool else [n for n in POOLS if n >= slots]:
            found = self.bench.pooled(steps, answers, pool)
            if found:
                self.report(seed, pool, steps, found)
                return

    def report(self, seed, pool, steps, found):
        self.failed += 1
        print("\nseed %d diverges on a pool of %d" % (seed, pool), flush=True)
        said = self.bench.start_over()
        if said:
            print(said)
        again = self.bench.diverges(steps, pool)
        if again:
            steps, found = self.bench.shrink(steps, pool, again)
        else:
            print("(not by itself on a fresh pooler: what earlier programs left matters)")
            steps = steps[:found.at + 1]
        print(readable(steps, found, pool), flush=True)

    def all(self):
        until = time.monotonic() + self.args.seconds if self.args.seconds else None
        first = self.args.seed if self.args.seed is not None else int(time.time()) * 1000
        print("seeds from %d" % first, flush=True)
        for seed in range(first, first + self.args.programs):
            if (until and time.monotonic() > until) or self.failed >= self.args.failures:
                break
            self.one(seed)


def main():
    ask = argparse.ArgumentParser()
    ask.add_argument("--programs", type=int, default=None)
    ask.add_argument("--seconds", type=float, default=0)
    ask.add_argument("--seed", type=int)
    ask.add_argument("--pool", type=int)
    ask.add_argument("--failures", type=int, default=5)
    args = ask.parse_args()
    if args.programs is None:
        args.programs = 1 if args.seed is not None else 10 ** 9 if args.seconds else 10000
    bench = Bench()
    run = Run(bench, args)
    started = time.monotonic()
    try:
        run.all()
    finally:
        bench.stop()
    print("\nexercised, in statements:")
    for row in rows.ROWS:
        print("%8d  %s" % (run.tally[row], row))
    print("%d programs of %d steps in %.0fs" % (run.programs, run.steps, time.monotonic() - started))
    print("%d passed, %d failed" % (run.programs - run.failed, run.failed))
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
