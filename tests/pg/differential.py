"""The same scenario directly on PostgreSQL and through the pooler; the transcripts must be equal.

A scenario is a function that takes a Scene and plays clients by it. What each client sends and reads goes into one
transcript. Through the pooler, strangers (noise: real clients of the same database and user) dirty the backends
between any two rounds of the scenario, so that a client which gets a backend back gets one that others used:

    @scenario("SET carried")
    def search_path_survives(s):
        a = s.client("a")
        a.q("SET search_path = s1")
        a.q("SELECT v FROM t")

It becomes one test a pool size: need (how many backends the scenario holds at once, 1 if not told) and one more.

Noise comes while the pool has a backend that no client of the scenario is linked to; then it must be served, which
also proves that links and pins end when they should. While there is none a stranger presses: it asks for something
that would end any pin, and must be left waiting until a backend is free. A client is linked while it is in a transaction or owes
an answer, which the scene sees by itself, and while it is pinned, which the scenario says:

    a.pins("DECLARE c CURSOR WITH HOLD FOR ...")     # linked from here
    a.frees("CLOSE c")                               # until here

Permitted differences: process ids and cancel keys. They are masked, a notification's sender by name.
"""

import difflib
import os
import random
import time

import pytest

import rawpg
import rows
import servers

NOISE_OWN = os.environ.get("NOISE") == "own"  # each row with its own noise and its smaller pool only: rows_red.py
POOLS_EACH = 1 if NOISE_OWN else 2


class Silent(AssertionError):
    """The pooler kept someone waiting."""


class Actor(rawpg.Conn):
    """A client of a scenario: a raw connection whose every word goes into the scene's transcript."""

    def __init__(self, scene, name, in_order=False, **how):
        self.scene, self.name, self.in_order = scene, name, in_order
        self.pinned = False
        self.owed = False
        self.greeted = False
        self.known, self.told = {}, {}
        super().__init__(**how)

    def saw(self, event):
        if event[0] == "ParameterStatus":
            self.told[event[1]] = event[2]
            if self.greeted and servers.pg_version() >= 14:
                self._report(event)
            if self.greeted:
                return
        if event[0] in ("ReadyForQuery", "EOF"):
            self._told()
        if event[0] == "NotificationResponse":
            event = (event[0], self.scene.who(self, event[1])) + event[2:]
        self.scene.note("%s <   %s" % (self.name, " ".join(repr(part) if i else part for i, part in enumerate(event))))

    def _told(self):
        """PostgreSQL 13 reports at each statement and also what has not changed, later ones only before ReadyForQuery, where
        the client's beliefs are compared."""
        if self.greeted and servers.pg_version() < 14:
            for name in sorted(self.told):
                if self.known.get(name) != self.told[name]:
                    self._report(("ParameterStatus", name, self.told[name]))
        self.known.update(self.told)
        self.told.clear()

    def _report(self, event):
        """PostgreSQL reports several parameters in an order of its own making, which differs from version to version."""
        line = "%s <   ParameterStatus %r %r" % (self.name, *event[1:])
        at = len(self.scene.transcript)
        while at and self.scene.transcript[at - 1].startswith("%s <   ParameterStatus " % self.name) and self.scene.transcript[at - 1] > line:
            at -= 1
        self.scene.transcript.insert(at, line)

    def said(self, label):
        self.scene.note("%s  > %s" % (self.name, label))

    def startup(self, params, protocol=rawpg.PROTOCOL_3_0):
        """Logs in; PostgreSQL reports its parameters in an order of its own making, compared only if so told."""
        start = len(self.scene.transcript)
        try:
            super().startup(params, protocol)
        finally:
            self.greeted = True
            if not self.in_order:
                login = self.scene.transcript[start:]
                login.sort(key=lambda line: (0, line) if "ParameterStatus" in line else (1, ""))
                self.scene.transcript[start:] = login

    def send(self):
        self.owed = True
        return super().send()

    def go(self, ready=1):
        events = super().go(ready)
        self.owed = False
        self.scene.between()
        return events

    def linked(self):
        return not self.closed and (self.pinned or self.owed or self.status != "I")

    def pins(self, sql=None):
        """From this statement on the client keeps its backend."""
        self.pinned = True
        return self.q(sql) if sql else None

    def frees(self, sql=None):
        """This statement ends the last reason to keep the backend."""
        self.pinned = False
        return self.q(sql) if sql else self.scene.between()

    def drop(self):
        super().drop()
        self.pinned = self.owed = False

    def leave(self):
        """Closes without a word: the network is gone."""
        self.scene.note("%s  > (gone)" % self.name)
        self.drop()
        self.scene.between()

    def quit(self):
        """Says goodbye."""
        self.scene.note("%s  > Terminate" % self.name)
        self.terminate()
        self.scene.between()


class Scene:
    """One playing of one scenario, in one place."""

    def __init__(self, connect, noise=None, slots=0, admin=None):
        self._connect, self._noise, self._slots, self.admin = connect, noise, slots, admin
        self.transcript, self.actors = [], []

    def note(self, line):
        self.transcript.append(line)

    def who(self, reader, pid):
        for actor in self.actors + [reader]:
            if actor.pid == pid:
                return "itself" if actor is reader else actor.name
        return "a stranger"

    def client(self, name="a", user="app", **how):
        """Connects a client; keyword arguments beyond Actor's are startup parameters."""
        params = dict(how.pop("params", {}))
        pinned = how.pop("pinned", False)  # from its login on
        known = ("password", "deadline", "protocol", "login", "tls", "database", "unix", "in_order")
        conn = {key: how.pop(key) for key in known if key in how}
        params.update(how)
        self.note("%s  > connects as %s %s" % (name, user, params or ""))
        self.between(user)
        actor = self._connect(self, name, user, params, conn)
        self.actors.append(actor)
        actor.pinned = pinned and not actor.closed
        self.between(user)
        return actor

    def between(self, user=None):
        """A pause between two rounds: strangers come, if the pool has room for one."""
        if not self._noise:
            return
        users = {user} if user else {actor.user for actor in self.actors}
        for name in sorted(users):
            if sum(actor.linked() for actor in self.actors if actor.user == name) < self._slots:
                self._noise.come(name)
            else:
                self._noise.press(name)

    def tell(self, what):
        """Puts a fact the scenario found out into the transcript."""
        self.note("        %s" % (what,))

    def leave(self):
        for actor in self.actors:
            try:
                actor.terminate()
            except (OSError, rawpg.Deadline):
                actor.drop()


class Dirt(rawpg.Conn):
    """A stranger. What it is told matters to nobody here; that it is served does: all it asks in a visit goes in one flight."""

    asked, custom = 0, 1

    def q(self, sql):
        self.asked += 1
        return self.query(sql)

    def sync(self):
        self.asked += 1
        return super().sync()

    def served(self):
        asked, self.asked = self.asked, 0
        return self.go(asked)


def _settings(c, rng):
    for sql in rng.sample([
            "SET search_path = s5, pg_catalog", "SET TimeZone = 'Asia/Tokyo'", "SET DateStyle = 'German, DMY'",
            "SET application_name = 'a stranger'", "SET statement_timeout = 54321", "SET IntervalStyle = 'sql_standard'",
            "SET extra_float_digits = -5", "SET bytea_output = 'escape'", "SET work_mem = '7MB'",
            "SET client_encoding = 'LATIN1'", "SET standard_conforming_strings = off",
            "SET default_transaction_isolation = 'repeatable read'", "SET lock_timeout = '54s'",
            "SET client_min_messages = 'warning'; SET lc_messages = 'C'",
            "BEGIN; SET LOCAL search_path = s4; COMMIT"], 3) + ["SET search_path = s5, public"]:
        c.q(sql)
    if rng.random() < c.custom:
        _custom(c, rng)


def _custom(c, rng):
    for sql in rng.sample([
            "SET my.a = 'a stranger''s'", "SET my.b = 'a stranger''s'", "SET app.tenant = 'b'",
            "SELECT set_config('my.a', 'computed', false)",
            "BEGIN; SET search_path = s4; SET my.c = 'gone'; ROLLBACK"], 2) + ["SET my.a = 'dirt'"]:
        c.q(sql)


def _roles(c, rng):
    c.q(rng.choice(["RESET ROLE", "SET ROLE NONE", "BEGIN; SET ROLE r4; ROLLBACK"]))
    c.q("SET ROLE r5")


def _prepared(c, rng):
    for name in ("p1", "p2"):
        c.close_("S", name).parse(name, "SELECT 'a stranger''s %s'::text" % name).bind("", name).execute().sync()
    c.q("DEALLOCATE ALL")
    c.q("PREPARE p1 AS SELECT 'a stranger''s'::text AS dirt")
    c.q(rng.choice(["EXECUTE p1", "DEALLOCATE p1; PREPARE p1 AS SELECT 1", "PREPARE p2(int) AS SELECT $1 + 1000"]))


def _unnamed(c, rng):
    c.parse("", "SELECT 'a stranger''s unnamed'::text AS v").bind("").sync()


def _temp(c, rng):
    c.q("CREATE TEMP TABLE tt (dirt text); DROP TABLE pg_temp.tt")
    c.q("BEGIN; CREATE TEMP TABLE t (dirt text); ROLLBACK")


def _cursors(c, rng):
    c.q("DECLARE c1 CURSOR WITH HOLD FOR SELECT 'a stranger''s'::text")
    c.q("FETCH c1")
    c.q(rng.choice(["CLOSE c1", "CLOSE ALL"]))


def _locks(c, rng):
    c.q("SELECT pg_advisory_lock(77); SELECT pg_advisory_unlock(77)")
    c.q("SELECT pg_advisory_unlock_all()")


def _listen(c, rng):
    c.q("LISTEN dirt; UNLISTEN dirt")
    c.q("UNLISTEN *")


def _sequences(c, rng):
    c.q("SELECT nextval('public.drawn')")


def _reset(c, rng):
    c.q(rng.choice(["DISCARD ALL", "RESET ALL", "DEALLOCATE ALL", "DISCARD PLANS"]))


# What a stranger asks while all backends are taken: were it served on one of them, a pin would be lost.
PRESSING = {"cursors": "CLOSE ALL", "locks": "SELECT pg_advisory_unlock_all()", "temp": "DISCARD TEMP",
            "listen": "UNLISTEN *", "settings": "SET search_path = s5", "roles": "SET ROLE r5",
            "prepared": "DEALLOCATE ALL", "sequences": "SELECT nextval('public.drawn')"}

KINDS = {"settings": _settings, "roles": _roles, "prepared": _prepared, "unnamed": _unnamed, "temp": _temp,
         "cursors": _cursors, "locks": _locks, "listen": _listen, "reset": _reset, "sequences": _sequences}


# A temporary schema that anybody makes has PostgreSQL read the texts of all plans again when they are run next, under the settings
# of that moment: for scenarios about what a literal meant at its Parse.
NO_SCHEMAS = tuple(sorted(set(KINDS) - {"temp"}))


class Noise:
    """The strangers of one pool. Each visit is a few kinds of dirt by one of two clients in turn."""

    def __init__(self, pooler, pool):
        self.pooler, self.pool = pooler, pool
        self.conns, self.pressing = {}, {}
        self.reset("")

    def reset(self, seed, kinds=(), custom=1):
        """custom: in how many of the visits that dirty settings custom ones are among them; each costs whoever comes next a new backend."""
        self.rng, self.custom = random.Random(seed), custom
        self.kinds = list(kinds) or sorted(KINDS)
        self.turn = 0

    def press(self, user):
        """One stranger asks and does not wait for the answer."""
        asked = "; ".join(sql for kind, sql in PRESSING.items() if kind in self.kinds)
        if user in self.pressing or not asked:
            return
        conn = self.pressing[user] = self._connect(user)
        conn.query(asked).send()

    def drain(self):
        """Whoever pressed is served now."""
        while self.pressing:
            user, conn = self.pressing.popitem()
            try:
                conn.go()
            except (rawpg.Deadline, rawpg.Gone) as why:
                self.forget()
                raise Silent("a stranger who pressed was not served in the end: %s" % why) from None
            finally:
                conn.terminate()

    def come(self, user):
        self.turn += 1
        key = user, self.turn % 2
        if user in self.pressing:
            self.drain()
        try:
            conn = self.conns.get(key)
            if conn is None or conn.closed:
                conn = self.conns[key] = self._connect(user)
            chosen = self.rng.sample(self.kinds, min(3, len(self.kinds)))
            if "settings" in self.kinds and self.turn % 3 and "settings" not in chosen:
                chosen.append("settings")
            if "sequences" in self.kinds and "sequences" not in chosen:
                chosen.append("sequences")
            conn.custom = self.custom
            for kind in chosen:
                KINDS[kind](conn, self.rng)
            conn.served()
        except (rawpg.Deadline, rawpg.Gone) as why:
            self.forget()
            raise Silent("a stranger was not served though the pool has a free backend: %s" % why) from None

    def _connect(self, user):
        conn = Dirt(self.pooler.address, user, self.pooler.database(self.pool), password=servers.SECRETS.get(user))
        if conn.closed:
            raise rawpg.Gone("the pooler refused a stranger's login")
        return conn

    def forget(self):
        for conn in list(self.conns.values()) + list(self.pressing.values()):
            conn.drop()
        self.conns.clear()
        self.pressing.clear()


class Stage:
    """Where scenarios are played: a cluster and a pooler, with noise for each pool size."""

    def __init__(self, cluster, pooler):
        self.cluster, self.pooler = cluster, pooler
        self.noise = {}
        self.direct = {}

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        for noise in self.noise.values():
            noise.forget()

    def _scene(self, server, database, noise=None, slots=0):
        def connect(scene, name, user, params, conn):
            conn.setdefault("password", servers.SECRETS.get(user))
            address = server.socket if conn.pop("unix", False) else server.address
            return Actor(scene, name, address=address, user=user,
                         **{"database": database, "params": params, **conn})
        return Scene(connect, noise, slots, self.cluster.admin)

    def _perform(self, scene, play, args):
        try:
            play(scene, *args)
        except (rawpg.Deadline, rawpg.Gone, Silent) as why:
            scene.note("!! %s" % why)
            return why
        finally:
            scene.leave()
        return None

    def expected(self, play, args):
        """What PostgreSQL itself answers."""
        key = play, args
        if key not in self.direct:
            self.cluster.tidy()
            scene = self._scene(self.cluster, "app")
            why = self._perform(scene, play, args)
            assert not why, "the scenario itself does not work: %s\n%s" % (why, "\n".join(scene.transcript))
            self.direct[key] = scene.transcript
        return self.direct[key]

    def play(self, play, pool, kinds=(), args=(), custom=1):
        """Plays a scenario in both places and fails with the difference."""
        expected = self.expected(play, args)
        if pool not in self.noise:
            self.noise[pool] = Noise(self.pooler, pool)
        noise = self.noise[pool]
        noise.reset(play.__name__, kinds, custom)
        self.cluster.tidy()
        scene = self._scene(self.pooler, self.pooler.database(pool), noise, pool)
        try:
            self._perform(scene, play, args)
            noise.drain()
            if scene.transcript != expected:
                raise AssertionError("through the pooler (pool of %d) it went otherwise:\n%s" % (
                    pool, readable(expected, scene.transcript)))
        except BaseException:
            self._start_over()
            raise

    def _start_over(self):
        """After a failure: nobody keeps a lock, a wrong state or a dead pooler for the next scenario."""
        for noise in self.noise.values():
            noise.forget()
        self.cluster.throw_out()
        if not self.pooler.answers():
            what = "hangs" if self.pooler.alive() else "died"
            self.pooler.process.kill()
            output = self.pooler.process.output() + self.pooler.reports()
            self.pooler.start()
            raise AssertionError("the pooler %s\n%s" % (what, output))
        self._settle()

    def _settle(self):
        """Until the pooler has noticed that its backends are gone."""
        until = time.monotonic() + rawpg.DEADLINE
        for pool in self.noise:
            for _ in range(pool + 1):
                while time.monotonic() < until:
                    try:
                        with self.pooler.connect(pool) as conn:
                            if not conn.closed and conn.value("SELECT 1"):
                                break
                    except (AssertionError, rawpg.Deadline, OSError):
                        pass


def readable(expected, got):
    """A diff with some lines before and after; - is what PostgreSQL says, + what came through the pooler."""
    return "\n".join(line.rstrip("\n") for line in difflib.unified_diff(
        expected, got, "direct", "pooler", lineterm="", n=6))


BY_EXTENDED = ", extended"  # these run with the smaller pool only


def _expected(row, name, pool):
    """xfail marks for what is known not to hold: through pgporter that carries, and nowhere else."""
    why = rows.not_held(row, name, pool, servers.pg_version())
    if not why or os.environ.get("POOLER", "pgporter") != "pgporter" or os.environ.get("CARRY", "1") == "0":
        return ()
    return (pytest.mark.xfail(strict=not NOISE_OWN, reason=why),)


def scenario(row, need=1, pools=None, args=None, noise=()):
    """Makes a test of a scenario; args: a dict of id -> tuple of further arguments, one test each; noise: of these kinds only."""
    kinds = rows.ROWS[row] if NOISE_OWN else noise
    custom = 1 if NOISE_OWN or row == "custom GUC unset" else 0.35

    def decorate(play):
        cases = args or {"": ()}
        params = [pytest.param(pool, case, id="%s-pool%d%s" % (row, pool, "-" + name if name else ""),
                               marks=_expected(row, name.removesuffix(BY_EXTENDED) or play.__name__, pool))
                  for name, case in cases.items() for pool in (pools or (need, need + 1)[:POOLS_EACH])
                  if pool == need or not name.endswith(BY_EXTENDED)]

        @pytest.mark.row(row)
        @pytest.mark.parametrize("pool, case", params)
        def test(stage, pool, case):
            stage.play(play, pool, kinds, case, custom)
        test.__doc__ = play.__doc__
        test.__name__ = play.__name__
        return test
    return decorate


def _say(client, step, extended):
    if callable(step):
        step(client)
    elif extended and ";" not in step:
        client.x(step)
    else:
        client.q(step)


def scripts(row, cases, probe=(), before=(), extended=True, user="app", **startup):
    """Many short scenarios of one client: what comes before, lists of statements (or functions of the client), the probe.

    Each is played by simple queries and, unless told otherwise, by the extended protocol.
    """
    def play(s, steps, by_extended):
        client = s.client("a", user=user, **startup)
        for step in (*before, *steps, *probe):
            _say(client, step, by_extended)

    play.__name__ = "scripts"
    named = {}
    for name, steps in cases.items():
        named[name] = (tuple(steps), False)
        if extended:
            named[name + BY_EXTENDED] = (tuple(steps), True)
    return scenario(row, args=named)(play)
