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
BOTH = {"reported": (REPORTED,)}
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
