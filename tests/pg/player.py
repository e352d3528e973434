"""Plays a program of several clients, step after step, in one place, and notes what each step was answered.

A program is a list of steps; a step is one client's: messages sent at once, and how far its answers are read. As steps
never overlap, the same program has the same answers wherever it is played. What may differ is taken out: process ids,
and when notifications arrive (their order is kept).

Holding keeps account of who may be linked to a backend, judged by what PostgreSQL itself answered: so a generator can
leave room in a pool of a given size, and a program that needs more than the pool has is told apart from one that hangs.
"""

import dataclasses
import re
import time

import rawpg
import servers

NAMES = "abcdefgh"
FUNCTION = re.compile(r"(PL/pgSQL function )public\.")


@dataclasses.dataclass(frozen=True)
class Step:
    """ops: names of rawpg.Conn's messages with their arguments, or connect, quit, drop.

    read: "ready" (as many ReadyForQuery as were asked for), "replies" (one a message: it ends with a Flush), or "mark"
    (up to the answer to an empty query, sent last: for what can't be counted).
    pins: reasons for which the client may stay linked from here on; frees: those that end if this succeeds alone.
    """

    client: int
    ops: tuple
    read: str = "ready"
    pins: frozenset = frozenset()
    frees: frozenset = frozenset()
    rows: tuple = ()
    alone: bool = False  # nobody may be in a transaction: it would wait for a lock

    def text(self):
        """The step as a line of a scenario (tests/pg/differential.py)."""
        who = NAMES[self.client]
        name = self.ops[0][0]
        if name == "connect":
            params = "".join(", %s=%r" % item for item in self.ops[0][2])
            return "%s = s.client(%r%s%s)" % (who, who, "" if self.ops[0][1] == "app" else ", user=%r" % self.ops[0][1], params)
        if name in ("quit", "drop"):
            return "%s.%s()" % (who, "quit" if name == "quit" else "leave")
        if len(self.ops) == 1 and name == "query":
            return "%s.q(%r)" % (who, self.ops[0][1])
        said = ".".join("%s(%s)" % (op[0], ", ".join(map(repr, op[1:]))) for op in self.ops)
        if self.read == "ready":
            count = ready_count(self.ops, False)
            return "%s.%s.go(%s)" % (who, said, "" if count == 1 else count)
        return "%s.%s%s" % (who, said, ".query('').until('EmptyQueryResponse')" if self.read == "mark" else "  # reads each reply")


def ready_count(ops, skipping):
    """How many ReadyForQuery these messages bring; skipping: an error was told, the server waits for Sync."""
    count = 0
    for op in ops:
        if op[0] == "sync":
            skipping = False
        if op[0] == "sync" or (op[0] in ("query", "function_call") and not skipping):
            count += 1
    return count


class Player(rawpg.Conn):
    """One client of a program."""

    def __init__(self, **how):
        self.events, self.heard = [], []
        self.known, self.told = None, {}  # parameters and their values, at the last ReadyForQuery and since
        self.flushed = self.skipping = False
        super().__init__(**how)

    def saw(self, event):
        if event[0] == "NotificationResponse":
            self.heard.append(event[2:])
            return
        if event[0] == "ParameterStatus" and servers.pg_version() < 14:
            self.told[event[1]] = event[2]
            if self.known is not None:
                return
        if event[0] in ("ReadyForQuery", "EOF"):
            self._believe()
        self.events.append(event)

    def _believe(self):
        """PostgreSQL 13 reports at each statement, and also what has not changed: what counts is what is believed at ReadyForQuery."""
        if self.known is not None:
            self.events += sorted(("ParameterStatus", name, value) for name, value in self.told.items() if self.known.get(name) != value)
        self.known = {**(self.known or {}), **self.told}
        self.told.clear()

    def take(self):
        """What was answered since the last time; PostgreSQL reports several parameters in no particular order, and names a
        function in an error's context as it did when the server connection first compiled it (README, "Not done yet")."""
        events, self.events = self.events, []
        events = [tuple(FUNCTION.sub(r"\1", part) if isinstance(part, str) else part for part in event) for event in events]
        out, run = [], []
        for event in events + [None]:
            if event and event[0] == "ParameterStatus":
                run.append(event)
                continue
            out += sorted(run)
            run = []
            if event:
                out.append(event)
        return out

    def say(self, step):
        for op in step.ops:
            getattr(self, op[0])(*op[1:])
        if step.read == "mark":
            self.query("")
        self.send()
        {"ready": self._ready, "replies": self._replies, "mark": self._mark}[step.read](step)

    def _ready(self, step):
        for _ in range(ready_count(step.ops, self.skipping)):
            if self.until("ReadyForQuery")[-1][0] == "EOF":
                return
            self.flushed = self.skipping = False

    def _mark(self, _step):
        if self.until("EmptyQueryResponse")[-1][0] != "EOF":
            self.until("ReadyForQuery")
        self.flushed = self.skipping = False

    LAST = {"parse": ("ParseComplete",), "bind": ("BindComplete",), "close_": ("CloseComplete",),
            "describe": ("RowDescription", "NoData"),
            "execute": ("CommandComplete", "PortalSuspended", "EmptyQueryResponse")}

    def _replies(self, step):
        self.flushed = True
        for op in step.ops:
            if op[0] not in self.LAST or self.skipping:
                continue
            if self.until("ErrorResponse", *self.LAST[op[0]])[-1][0] in ("ErrorResponse", "EOF"):
                self.skipping = True


class Holding:
    """Which clients may be linked to a backend, as far as PostgreSQL's answers tell."""

    def __init__(self, count):
        self.status = ["I"] * count
        self.flushed = [False] * count
        self.pins = [frozenset()] * count

    def linked(self, client):
        return self.status[client] != "I" or self.flushed[client] or bool(self.pins[client])

    def in_transaction(self, client):
        return self.status[client] != "I" or self.flushed[client]

    def room(self, step, slots):
        """Whether the step can run with so many backends."""
        if step.alone and any(self.in_transaction(n) for n in range(len(self.status)) if n != step.client):
            return False
        return self.linked(step.client) or sum(map(self.linked, range(len(self.status)))) < slots

    def after(self, step, player, events):
        who = step.client
        before = self.in_transaction(who)
        if player is None or player.closed:
            self.status[who], self.flushed[who], self.pins[who] = "I", False, frozenset()
            return
        self.status[who], self.flushed[who] = player.status, player.flushed
        failed = any(event[0] == "ErrorResponse" for event in events)
        if step.frees and not before and not failed and not self.in_transaction(who):
            self.pins[who] -= step.frees
        self.pins[who] |= step.pins


LOCKS = ("SELECT coalesce(string_agg(concat_ws(' ', classid, objid, objsubid, mode), ', ' ORDER BY classid, objid, objsubid, mode), "
         "'none') FROM pg_catalog.pg_locks WHERE locktype = 'advisory'")


class Stand:
    """One playing: the clients of a program, connected to PostgreSQL itself or, with database, to a pooler."""

    def __init__(self, cluster, count, address=None, database=None):
        self.cluster = cluster
        self.direct = database is None
        self.address, self.database = address or cluster.address, database or "app"
        self.players = [None] * count

    def play(self, step, expected=None):
        """Plays one step and returns its answers. expected: what a direct connection was answered, to wait for."""
        name = step.ops[0][0]
        player = self.players[step.client]
        if name == "connect":
            return self._connect(step)
        if player is None or player.closed:
            return [("not connected",)]
        if name in ("quit", "drop"):
            return self._leave(step.client, name, expected)
        player.say(step)
        return player.take()

    def _connect(self, step):
        if self.players[step.client] and not self.players[step.client].closed:
            return [("connected already",)]
        _name, user, params = step.ops[0]
        player = Player(address=self.address, user=user, database=self.database, params=dict(params),
                        password=servers.SECRETS.get(user))
        self.players[step.client] = player
        return player.take()

    def _leave(self, client, name, expected=None):
        """Ends a connection. The answer is what it had heard and which locks are held when PostgreSQL has noticed."""
        player, self.players[client] = self.players[client], None
        expected = dict(event for event in expected or () if len(event) == 2)
        answer = []
        if name == "quit":
            player.sync().go()
            answer = player.take() + [("heard", self._heard(player, expected.get("heard", ())))]
        player.terminate() if name == "quit" else player.drop()
        if self.direct:
            self._until("SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE pid = %d" % player.pid, "0")
            return answer + [("locks held", self.cluster.keeper.value(LOCKS))]
        return answer + [("locks held", self._until(LOCKS, expected.get("locks held")))]

    def _until(self, sql, wanted):
        until = time.monotonic() + rawpg.DEADLINE
        while True:
            got = self.cluster.keeper.value(sql)
            if got == wanted or time.monotonic() > until:
                return got

    @staticmethod
    def _heard(player, expected):
        """Notifications, in order; waits while they are fewer than expected."""
        until = time.monotonic() + rawpg.DEADLINE
        while len(player.heard) < len(expected) and not player.closed and time.monotonic() < until:
            try:
                player.read(until - time.monotonic())
            except (rawpg.Deadline, rawpg.Gone):
                pass
        return tuple(player.heard)

    def close(self):
        for client, player in enumerate(self.players):
            if player and not player.closed and self.direct:
                self._leave(client, "drop")
            elif player:
                player.drop()
