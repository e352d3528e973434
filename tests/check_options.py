#!/usr/bin/python3
"""Holds docs/options.md against server/options.inc; with --write, makes the one from the other.

Also checked here, since only a reader of the rows can: every row has its parts and no name comes twice; with --used,
that code outside of the configuration's own reads every option marked DONE."""
import glob
import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
ROWS = os.path.join(ROOT, "server", "options.inc")
DOCS = os.path.join(ROOT, "docs", "options.md")
# type: what stands between effect and doc
BETWEEN = {"STRING": 0, "LIST": 0, "BOOL": 0, "INT": 2, "TIME": 1, "ENUM": 1}

HEAD = """# Options

Every option of `[pgbouncer]` (or `[pgporter]`, which is the same section), in the order of SHOW CONFIG. Those that
PgBouncer has keep its names, defaults and meanings unless the text says otherwise. Times are seconds, fractions
allowed. *Run time*: changed by RELOAD and by SET in the console; the others need a restart. *Effect*: `yes`; `none`:
accepted without effect, told once at load; `refused`: any value but the default refuses the start.

This table is made from `server/options.inc` by `tests/check_options.py --write`.

| option | default | accepted | run time | effect | what it is for |
|---|---|---|---|---|---|
"""


def die(text):
    sys.exit(f"check_options: {text}")


def arguments(text, at):
    """The arguments of a macro call whose parenthesis opens at text[at - 1], and the index behind it."""
    args, depth, start, i = [], 1, at, at
    while depth:
        c = text[i]
        if c == '"':
            i += 1
            while text[i] != '"':
                i += 2 if text[i] == "\\" else 1
        elif c == "(":
            depth += 1
        elif c == ")":
            depth -= 1
            if not depth:
                args.append(text[start:i].strip())
        elif c == "," and depth == 1:
            args.append(text[start:i].strip())
            start = i + 1
        i += 1
    return args, i


def literal(arg):
    """Adjacent C string literals as the text they make."""
    parts = re.findall(r'"((?:[^"\\]|\\.)*)"', arg)
    if not parts:
        die(f"no text in {arg!r}")
    return re.sub(r"\\(.)", r"\1", "".join(parts))


def read_rows():
    text = re.sub(r"/\*.*?\*/", "", open(ROWS, encoding="utf-8").read(), flags=re.S)
    rows, at = [], 0
    while m := re.compile(r"^OPTION_([A-Z]+)\(", re.M).search(text, at):
        kind = m[1]
        args, at = arguments(text, m.end())
        if kind not in BETWEEN or len(args) != 5 + BETWEEN[kind]:
            die(f"{ROWS}: OPTION_{kind}({args[0]}, …) has {len(args)} arguments")
        name, default, changeable, effect = args[:4]
        rows.append((name, kind, literal(default), changeable, effect, args[4:-1], literal(args[-1])))
    names = [r[0] for r in rows]
    if twice := {n for n in names if names.count(n) > 1}:
        die(f"{ROWS}: more than once: {', '.join(sorted(twice))}")
    return rows


def words(table):
    """The words of an enum that are not refused, from their table in the C source."""
    for path in glob.glob(os.path.join(ROOT, "server", "config_*.c")):
        if m := re.search(rf"config_word {table}\[\] = {{(.*?)\n}};", open(path, encoding="utf-8").read(), re.S):
            return re.findall(r'{ "([^"]+)", \w+, NULL }', m[1])
    die(f"no table {table} in server/config_*.c")


def accepted(kind, between):
    if kind == "INT":
        low, high = between
        return f"{low} or more" if high == "INT_MAX" else f"{low} to {eval_shift(high)}"
    if kind == "TIME":
        return "seconds"
    if kind == "BOOL":
        return "0, 1"
    if kind == "ENUM":
        return ", ".join(words(between[0]))
    return "list" if kind == "LIST" else "text"


def eval_shift(text):
    m = re.fullmatch(r"(\d+) << (\d+)", text)
    return str(int(m[1]) << int(m[2])) if m else text


def effect_text(effect):
    if effect == "DONE":
        return "yes"
    word = {"COSMETIC": "none", "GUARD": "refused"}.get(effect.split("(")[0])
    if not word:
        die(f"unknown effect {effect}")
    return f"{word}: {literal(effect)}"


def cell(text):
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").strip()


def table(rows):
    lines = []
    for name, kind, default, changeable, effect, between, doc in rows:
        if changeable not in ("true", "false"):
            die(f"{name}: changeable is {changeable}")
        shown = f"`{default}`" if default else "(empty)"
        lines.append(f"| `{name}` | {shown} | {cell(accepted(kind, between))} | {'yes' if changeable == 'true' else 'no'} | "
                     f"{cell(effect_text(effect))} | {cell(doc)} |\n")
    return HEAD + "".join(lines)


def unused(rows):
    """DONE options that nothing reads: a promise without a deed."""
    text = ""
    for path in glob.glob(os.path.join(ROOT, "server", "*.c")):
        if not os.path.basename(path).startswith("config_") or path.endswith(("config_secrets.c", "config_load.c", "config_rules.c")):
            text += open(path, encoding="utf-8").read()
    read = lambda name, kind: re.search(rf"(->|\.){name}{'_us' if kind == 'TIME' else ''}\b", text)
    return [name for name, kind, _, _, effect, _, _ in rows if effect == "DONE" and not read(name, kind)]


def main(args):
    rows = read_rows()
    want = table(rows)
    if args == ["--write"]:
        os.makedirs(os.path.dirname(DOCS), exist_ok=True)
        with open(DOCS, "w", encoding="utf-8") as f:
            f.write(want)
    elif args == ["--used"]:
        if names := unused(rows):
            die(f"marked DONE in server/options.inc, but nothing in server/ reads: {', '.join(names)}")
    elif args:
        die("usage: check_options.py [--write | --used]")
    elif not os.path.exists(DOCS) or open(DOCS, encoding="utf-8").read() != want:
        die("docs/options.md is not what server/options.inc says; run tests/check_options.py --write")


main(sys.argv[1:])
