"""What a literal meant when its statement was parsed, settings having been moved and taken back within the transaction, is what it
means on whichever server connection the statement runs next."""

from differential import scenario


class Setting:
    """One that literals are read by: its value for the session, another, and a text that tells which was in force."""

    def __init__(self, name, own, other, text):
        self.name, self.own, self.other, self.text = name, own, other, text

    def local(self, value):
        return "SET LOCAL %s = '%s'" % (self.name, value)


REPORTED = Setting("datestyle", "ISO, MDY", "ISO, DMY", "SELECT extract(month FROM '01/02/2024'::date) AS v")
SILENT = Setting("array_nulls", "on", "off", "SELECT ('{null}'::text[])[1] IS NULL AS v")
BOTH = {"reported": (REPORTED,), "silent": (SILENT,)}
NOISE = "prepared", "unnamed", "locks"  # no custom settings, for which server connections are replaced


def _by(client, step):
    """A statement by simple Query, several by one batch, or a function of the client."""
    if isinstance(step, list):
        for text in step:
            client.parse("", text).bind().execute()
        client.sync().go()
    elif callable(step):
        step(client)
    else:
        client.q(step)


def _config(name, value):
    return lambda client: client.parse("", "SELECT set_config($1, $2, true)").bind("", "", (name, value)).execute().sync().go()


def _run(name):
    return lambda client: client.bind("", name).execute().sync().go()


def _taken_back(t):
    """Ways to have another value in force than the session's, and than the last that was set."""
    there, back = t.local(t.other), t.local(t.own)
    return {
        "each alone": ["BEGIN", there, "SAVEPOINT s", back, "ROLLBACK TO s"],
        "each by extended protocol": [["BEGIN"], [there], ["SAVEPOINT s"], [back], ["ROLLBACK TO s"]],
        "one text": ["; ".join(["BEGIN", there, "SAVEPOINT s", back, "ROLLBACK TO s"])],
        "one batch": [["BEGIN", there, "SAVEPOINT s", back, "ROLLBACK TO s"]],
        "nested": ["BEGIN", there, "SAVEPOINT o", back, "SAVEPOINT s", there, "SAVEPOINT u", back, "ROLLBACK TO u", "RELEASE s", "ROLLBACK TO o"],
        "twice": ["BEGIN", there, "SAVEPOINT s", back, "ROLLBACK TO s", t.text, back, "ROLLBACK TO s"],
        "nested, to the outer": ["BEGIN", "SAVEPOINT o", there, "SAVEPOINT s", back, "ROLLBACK TO s", "ROLLBACK TO o"],
        "released": ["BEGIN", there, "SAVEPOINT s", "SAVEPOINT t", back, "RELEASE t", "ROLLBACK TO s"],
        "failed": ["BEGIN", there, "SAVEPOINT s", back, "SELECT 1/0", "ROLLBACK TO s"],
        "to default": ["BEGIN", there, "SAVEPOINT s", "SET LOCAL %s TO DEFAULT" % t.name, "ROLLBACK TO s"],
        "set_config": ["BEGIN", "SELECT set_config('%s', '%s', true)" % (t.name, t.other), "SAVEPOINT s",
                       "SELECT set_config('%s', '%s', true)" % (t.name, t.own), "ROLLBACK TO s"],
        "bound": ["BEGIN", _config(t.name, t.other), "SAVEPOINT s", _config(t.name, t.own), "ROLLBACK TO s"],
        "DO": ["BEGIN", "DO $$BEGIN %s; END$$" % there, "SAVEPOINT s", "DO $$BEGIN %s; END$$" % back, "ROLLBACK TO s"],
        "prepared": [lambda c: c.parse("to", "ROLLBACK TO s").parse("there", there).parse("back", back).sync().go(),
                     "BEGIN", _run("there"), "SAVEPOINT s", _run("back"), _run("to")],
        "executed": [lambda c: c.parse("to", "ROLLBACK TO s").sync().go(), "BEGIN", there, "SAVEPOINT s", back, "EXECUTE to"],
        "for the session": ["BEGIN", there.replace("LOCAL ", ""), "SAVEPOINT s", back.replace("LOCAL ", ""), "ROLLBACK TO s"],
        "over the session's": ["BEGIN", there.replace("LOCAL ", ""), "SAVEPOINT s", back, "ROLLBACK TO s"],
        "and chained": ["BEGIN", there, back, "COMMIT AND CHAIN"],
    }


def _elsewhere(b, c, what):
    """On each of two server connections."""
    b.q("BEGIN")
    what()
    c.q("BEGIN")
    b.q("COMMIT")
    what()
    c.q("COMMIT")


def _named(client, text):
    client.parse("x", text).sync().go()
    return lambda: client.bind("", "x").execute().sync().go()


def _unnamed(client, text):
    client.parse("", text).sync().go()
    return lambda: client.bind().execute().sync().go()


def _sql(client, text):
    client.q("PREPARE x AS " + text)
    return lambda: client.q("EXECUTE x")


def _sql_extended(client, text):
    client.parse("", "PREPARE x AS " + text).bind().execute().sync().go()
    return lambda: client.parse("", "EXECUTE x").bind().execute().sync().go()


def _parsed(s, ways, t):
    a, b, c = (s.client(name) for name in "abc")
    a.parse("over", "COMMIT").sync().go()
    for n, (steps, way) in enumerate(ways):
        a.q("SET %s = '%s'" % (t.name, t.own))
        for step in steps:
            _by(a, step)
        what = way(a, t.text.replace(" AS v", ", %d AS n" % n))
        a.bind("over", "over").execute("over").sync().go()
        _elsewhere(b, c, what)
        a.q("DEALLOCATE ALL")
        a.parse("over", "COMMIT").sync().go()


@scenario("prepared statements", need=2, noise=NOISE,
          args={"%s, %s" % (way, how): (t, way) for how, (t,) in BOTH.items() for way in _taken_back(t)})
def test_parsed_where_a_setting_was_the_session_s_own_again_until_that_was_taken_back(s, t, way):
    steps = _taken_back(t)[way]
    _parsed(s, [(steps, _named), (steps, _unnamed), (steps, _sql), (steps, _sql_extended)], t)


# Ahead of a PREPARE in its text, in a transaction in which another value was set for the session's own, at savepoint s.
AHEAD = {
    "ROLLBACK TO": lambda t: "ROLLBACK TO s",
    "SET LOCAL": lambda t: t.local(t.other),
    "SET": lambda t: t.local(t.other).replace("LOCAL ", ""),
    "RESET": lambda t: t.local(t.other).replace("LOCAL ", "") + "; RESET " + t.name,
    "SET LOCAL twice": lambda t: t.local(t.other) + "; SELECT 'between' AS v; " + t.local(t.own),
    "set_config": lambda t: "SELECT set_config('%s', '%s', true)" % (t.name, t.other),
    "set_config for the session": lambda t: "SELECT set_config('%s', lower('%s'), false)" % (t.name, t.other.upper()),
    "DO": lambda t: "DO $$BEGIN %s; END$$" % t.local(t.other),
    "EXECUTE": lambda t: "EXECUTE there",
}


def _in_one_text(s, t, ahead, opened):
    text = "%s, '%s' AS n" % (t.text, ahead(t).replace("'", "") + " in a transaction" * opened)  # nobody else's: others' may be read again by now
    a, b, c = (s.client(name) for name in "abc")
    a.q("SET %s = '%s'" % (t.name, t.own))
    a.q("PREPARE there AS SELECT set_config('%s', '%s', true)" % (t.name, t.other))
    for sql in ("BEGIN", t.local(t.other), "SAVEPOINT s", t.local(t.own)) if opened else ():
        a.q(sql)
    a.q("%s; PREPARE x AS %s; %s; PREPARE y AS %s" % (ahead(t), text, t.local(t.own), text))
    a.q("PREPARE z AS " + text)
    a.q("EXECUTE x; EXECUTE y")
    if opened:
        a.q("COMMIT")
    _elsewhere(b, c, lambda: a.q("EXECUTE x; EXECUTE y; EXECUTE z"))
    a.q("SHOW " + t.name)


@scenario("SQL PREPARE", need=2, noise=NOISE, args={"%s, %s" % (name, how): (t, ahead) for how, (t,) in BOTH.items() for name, ahead in AHEAD.items()})
def test_prepared_in_the_text_that_sets_it_in_a_transaction(s, t, ahead):
    _in_one_text(s, t, ahead, True)


@scenario("SQL PREPARE", need=2, noise=NOISE, args={"%s, %s" % (name, how): (t, ahead) for how, (t,) in BOTH.items() for name, ahead in AHEAD.items()
                                                    if name != "ROLLBACK TO"})
def test_prepared_in_the_text_that_sets_it(s, t, ahead):
    _in_one_text(s, t, ahead, False)


@scenario("SQL PREPARE", need=2, noise=NOISE)
def test_an_error_behind_what_is_asked_ahead_of_a_prepare_is_told_where_it_stands(s):
    a = s.client("a")
    a.q("SET array_nulls = off; PREPARE x AS SELECT nowhere; SELECT 1")
    a.q("SET array_nulls = off; PREPARE x AS SELECT 1 AS one; SELECT nowhere")
    a.q("EXECUTE x")
    a.q("SET array_nulls = off; PREPARE x AS SELECT 2")
    a.q("SET array_nulls = off; PREPARE y AS SELECT 2 AS two; PREPARE y AS SELECT 3; SELECT 1")
    a.q("SET array_nulls = off; SELECT 1/0; PREPARE z AS SELECT 3")
    a.q("EXECUTE y; EXECUTE z")
    a.q("DEALLOCATE y; SET array_nulls = on; PREPARE y AS SELECT 4 AS four; EXECUTE y; DEALLOCATE y; EXECUTE y")


@scenario("SQL PREPARE", need=2, noise=NOISE, args={how: t for how, t in BOTH.items()})
def test_a_prepare_of_the_extended_protocol_reads_its_literals_when_it_runs(s, t):
    a, b, c = (s.client(name) for name in "abc")
    a.q("SET %s = '%s'" % (t.name, t.own))
    a.parse("m", "PREPARE x AS " + t.text).parse("there", t.local(t.other)).parse("over", "COMMIT").sync().go()
    steps = {
        "set before": lambda: (a.q("BEGIN"), a.q(t.local(t.other)), a.bind("", "m").execute().sync().go()),
        "set ahead in its batch": lambda: (a.q("BEGIN"), a.parse("", t.local(t.other)).bind().execute().bind("", "m").execute().sync().go()),
        "set by name in its batch": lambda: (a.q("BEGIN"), a.bind("", "there").execute().bind("", "m").execute().sync().go()),
        "set between Bind and Execute": lambda: (a.q("BEGIN"), a.bind("k", "m").bind("", "there").execute().execute("k").parse("", "SELECT 1").bind().execute().sync().go()),
        "set by what is bound": lambda: (a.q("BEGIN"), _config(t.name, t.other)(a), a.bind("", "m").execute().sync().go()),
        "by SQL": lambda: (a.q("BEGIN"), a.q(t.local(t.other)), a.q("EXECUTE m")),
        "taken back": lambda: ([a.q(sql) for sql in ("BEGIN", t.local(t.other), "SAVEPOINT s", t.local(t.own), "ROLLBACK TO s")], a.bind("", "m").execute().sync().go()),
        "unnamed, earlier": lambda: (a.q("BEGIN"), a.parse("", "PREPARE x AS " + t.text).sync().go(), a.bind("k", "there").execute("k").sync().go(), a.bind().execute().sync().go()),
        "set when it was parsed": lambda: (a.q("BEGIN"), a.q(t.local(t.other)), a.parse("", "PREPARE x AS " + t.text).sync().go(),
                                           a.parse("back", t.local(t.own)).bind("k", "back").execute("k").bind().execute().close_("S", "back").sync().go()),
    }
    for name, step in steps.items():
        s.tell(name)
        step()
        a.q("EXECUTE x")
        a.q("COMMIT")
        _elsewhere(b, c, lambda: a.q("EXECUTE x"))
        a.q("DEALLOCATE x")


@scenario("roles", need=2, noise=NOISE)
def test_parsed_where_a_role_was_the_session_s_own_again_until_that_was_taken_back(s):
    a, b, c = (s.client(name) for name in "abc")
    for sql in ("BEGIN", "SET LOCAL ROLE r1", "SAVEPOINT s", "SET LOCAL ROLE app", "ROLLBACK TO s", "SELECT current_user"):
        a.q(sql)
    a.parse("x", "SELECT current_user, 's1.t'::regclass").sync().go()
    a.q("PREPARE y AS SELECT current_user, 's1.t'::regclass")
    a.q("COMMIT")
    _elsewhere(b, c, lambda: (_run("x")(a), a.q("EXECUTE y; SELECT current_user")))
