#!/usr/bin/env python3
"""Replays what format weir says and compares the result with the server, value by value.

Random rows of every type are copied, changed and followed into `file:`. Then every line has to be valid by
docs/weir-event.schema.json, positions have to rise without a repetition, and the tables built from the
events alone have to be those of the server. With --kills the program is killed at random moments while the
load runs. Shares no code with the program. Exit codes: 0 good, 1 not, 77 skipped.
"""

import argparse
import json
import os
import random
import re
import struct
import subprocess
import sys
import threading
import time

from server import Server, Skip, newest_bindir

HERE = os.path.dirname(os.path.abspath(__file__))
SCHEMA_FILE = os.path.join(HERE, "..", "..", "docs", "weir-event.schema.json")
SETTINGS = ("SET datestyle = ISO; SET intervalstyle = postgres; SET timezone = UTC; SET bytea_output = hex;"
            " SET extra_float_digits = 3; SET search_path = '';")

# column, type, how the format writes it
COLUMNS = [
    ("c_smallint", "smallint", "number"), ("c_int", "int", "number"), ("c_bigint", "bigint", "number"),
    ("c_oid", "oid", "number"), ("c_real", "real", "number"), ("c_double", "double precision", "number"),
    ("c_numeric", "numeric", "number"), ("c_price", "public.price", "number"), ("c_bool", "boolean", "bool"),
    ("c_text", "text", "string"), ("c_varchar", "varchar", "string"), ("c_bytea", "bytea", "string"),
    ("c_date", "date", "string"), ("c_ts", "timestamp", "string"), ("c_tstz", "timestamptz", "string"),
    ("c_time", "time", "string"), ("c_interval", "interval", "string"), ("c_uuid", "uuid", "string"),
    ("c_json", "json", "json"), ("c_jsonb", "jsonb", "json"), ("c_ints", "int[]", "string"),
    ("c_texts", "text[]", "string"), ("c_range", "int4range", "string"), ("c_bit", "varbit", "string"),
    ("c_inet", "inet", "string"), ('odd "name", really', "text", "string"), ("c_big", "text", "string"),
]

SETUP = f"""
CREATE DOMAIN price AS numeric(20, 4);
CREATE TABLE things (id int PRIMARY KEY, {', '.join('"' + c.replace('"', '""') + '" ' + t
                                                    for c, t, _ in COLUMNS)});
ALTER TABLE things ALTER c_big SET STORAGE EXTERNAL;
CREATE TABLE full_things (LIKE things INCLUDING ALL);
ALTER TABLE full_things REPLICA IDENTITY FULL;
CREATE TABLE counters (id int PRIMARY KEY, n bigint NOT NULL);
"""

TABLES = ["things", "full_things"]


# ---------------------------------------------------------------------------------------------
# Random values
# ---------------------------------------------------------------------------------------------

def random_text(rng, most=30):
    def one():
        kind = rng.random()
        if kind < 0.5:
            return chr(rng.randrange(0x20, 0x7f))
        if kind < 0.7:
            return rng.choice("\"\\/'{}[],:\t\n\r\b\f\x01\x1f\x7f")
        if kind < 0.9:
            return chr(rng.randrange(0x80, 0x3000))
        return chr(rng.choice([rng.randrange(0x10000, 0x110000), rng.randrange(0xe000, 0x10000)]))
    return "".join(one() for _ in range(rng.randrange(most)))


def random_json(rng, depth=0):
    kind = rng.randrange(8 if depth < 4 else 6)
    if kind == 6:
        return {random_text(rng, 8): random_json(rng, depth + 1) for _ in range(rng.randrange(4))}
    if kind == 7:
        return [random_json(rng, depth + 1) for _ in range(rng.randrange(4))]
    return [None, True, random_text(rng), rng.randrange(-10**25, 10**25), rng.uniform(-1e9, 1e9), "null"][kind]


def random_float(rng, form, size):
    value = struct.unpack(form, rng.randbytes(size))[0]
    return repr(value)


def random_number(rng):
    digits = str(rng.randrange(10 ** rng.randrange(1, 40)))
    return rng.choice(["", "-"]) + digits + rng.choice(["", "." + str(rng.randrange(10 ** 20))])


def random_value(rng, column):
    if rng.random() < 0.15:
        return None
    integer = {"c_smallint": 15, "c_int": 31, "c_bigint": 63}
    if column in integer:
        limit = 2 ** integer[column]
        return str(rng.choice([rng.randrange(-limit, limit), -limit, limit - 1, 0]))
    makers = {
        "c_oid": lambda: str(rng.randrange(2 ** 32)),
        "c_real": lambda: random_float(rng, "<f", 4),
        "c_double": lambda: random_float(rng, "<d", 8),
        "c_numeric": lambda: rng.choice([random_number(rng), random_number(rng), "NaN", "-Infinity"]),
        "c_price": lambda: f"{rng.randrange(-10**9, 10**9)}.{rng.randrange(10000):04}",
        "c_bool": lambda: rng.choice("tf"),
        "c_bytea": lambda: "\\x" + rng.randbytes(rng.randrange(20)).hex(),
        "c_date": lambda: rng.choice([f"{rng.randrange(1, 9999):04}-02-{rng.randrange(1, 28):02}", "infinity",
                                      "0044-03-15 BC"]),
        "c_ts": lambda: f"{rng.randrange(1, 9999):04}-01-02 03:04:05.{rng.randrange(10**6):06}",
        "c_tstz": lambda: f"{rng.randrange(1, 9999):04}-01-02 03:04:05.{rng.randrange(10**6):06}-07",
        "c_time": lambda: f"{rng.randrange(24):02}:00:59.{rng.randrange(10**6)}",
        "c_interval": lambda: f"{rng.randrange(-99, 99)} mons {rng.randrange(-99, 99)} days {rng.random()} s",
        "c_uuid": lambda: rng.randbytes(16).hex(),
        "c_json": lambda: json.dumps(random_json(rng), indent=rng.choice([None, 1]),
                                     ensure_ascii=rng.random() < 0.5),
        "c_jsonb": lambda: json.dumps(random_json(rng), ensure_ascii=False),
        "c_ints": lambda: "{" + ",".join(rng.choice(["1", "-5", "NULL"]) for _ in range(rng.randrange(4))) + "}",
        "c_texts": lambda: "{" + ",".join('"' + random_text(rng).replace("\\", "\\\\").replace('"', '\\"') + '"'
                                          for _ in range(rng.randrange(4))) + "}",
        "c_range": lambda: rng.choice(["empty", "(,)", f"[{rng.randrange(9)},{rng.randrange(9, 20)})"]),
        "c_bit": lambda: "".join(rng.choice("01") for _ in range(rng.randrange(9))),
        "c_inet": lambda: ".".join(str(rng.randrange(256)) for _ in range(4)),
        "c_big": lambda: rng.choice(["", "short", random_text(rng, 9) + "long é " * 900]),
    }
    return makers.get(column, lambda: random_text(rng))()


def copy_field(value):
    if value is None:
        return "\\N"
    escapes = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
    return "".join(escapes.get(c, c) for c in value)


def rows_sql(rng, table, ids):
    """COPY of random rows."""
    lines = ["\t".join([str(i)] + [copy_field(random_value(rng, column)) for column, _, _ in COLUMNS])
             for i in ids]
    return f"COPY {table} FROM STDIN;\n" + "\n".join(lines) + "\n\\.\n"


def changes_sql(rng, table, ids):
    """New values from other rows, so that nothing has to be quoted here; deletes and other keys."""
    text = []
    for _ in range(30):
        column = rng.choice(COLUMNS)[0].replace('"', '""')
        one, other = rng.sample(ids, 2)
        text.append(f'UPDATE {table} SET "{column}" = (SELECT "{column}" FROM {table} WHERE id = {other})'
                    f' WHERE id = {one};')
    for victim in rng.sample(ids, 5):
        text.append(f"DELETE FROM {table} WHERE id = {victim};")
    for moved in rng.sample(ids, 5):
        text.append(f"UPDATE {table} SET id = id + 100000 WHERE id = {moved};")
    return "\n".join(text)


# ---------------------------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------------------------

class Number(str):
    """The digits as they stand there."""


JSON_NULL = object()


def loads(text):
    return json.loads(text, parse_int=Number, parse_float=Number)


def make_validator():
    try:
        import jsonschema  # pylint: disable=import-outside-toplevel
    except ImportError as missing:
        raise Skip("the Python package jsonschema is not installed") from missing
    with open(SCHEMA_FILE, encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def row_of(event, image):
    row = dict(event[image])
    for name in event.get(f"{image}_json_null", []):
        assert row[name] is None, event
        row[name] = JSON_NULL
    return row


def position_of(event):
    high, low = event["lsn"].split("/")
    return (int(high, 16) << 32 | int(low, 16), int(event["ordinal"]))


def apply(tables, event):
    """One event to the tables, which are dicts from id to row."""
    op = event["op"]
    if op in ("message", "schema"):
        return
    table = tables.setdefault(event["table"], {})
    if op == "truncate":
        table.clear()
        return
    key = event["key"]["id"]
    if op in ("read", "insert"):
        assert key not in table, f"a row twice: {event}"
        table[key] = row_of(event, "new")
    elif op == "delete":
        del table[key]
    else:
        row = row_of(event, "new")
        before = table.pop(key)
        for name in event.get("unchanged", []):
            assert name not in row, event
            row[name] = before[name]
        table[row["id"]] = row


def replay(path, validator):
    tables, last, counts = {}, (0, 0), {}
    with open(path, encoding="utf-8", newline="\n") as lines:
        for line in lines:
            assert line.endswith("\n"), f"a torn line: {line[:200]}"
            event = loads(line)
            counts[event["op"]] = counts.get(event["op"], 0) + 1
            if counts[event["op"]] < 500:  # the validator is slow
                # The schema wants numbers, which the exact digits are not.
                for problem in validator.iter_errors(json.loads(line)):
                    raise AssertionError(f"{problem.message}\nin {line[:500]}")
            if event["op"] not in ("read", "schema") and int(event["ordinal"]) > 0:  # of no copy
                assert position_of(event) > last, f"not behind {last}: {line[:300]}"
                last = position_of(event)
            apply(tables, event)
    return tables, counts


def copy_unescape(field):
    if field == "\\N":
        return None
    plain = {"t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f", "v": "\v"}
    return re.sub(r"\\(.)", lambda m: plain.get(m.group(1), m.group(1)), field, flags=re.S)


def server_rows(server, table):
    text = server.sql(f"{SETTINGS} COPY public.{table} TO STDOUT;")
    rows = {}
    for line in text.split("\n")[:-1]:
        fields = [copy_unescape(field) for field in line.split("\t")]
        rows[Number(fields[0])] = dict(zip((c for c, _, _ in COLUMNS), fields[1:]))
    return rows


def same(kind, expected, found):
    """@expected: Postgres's text. @found: out of the JSON."""
    if expected is None or found is None:
        return expected is None and found is None
    if kind == "number":
        special = expected in ("NaN", "Infinity", "-Infinity")
        return isinstance(found, Number) != special and found == expected
    if kind == "bool":
        return found is (expected == "t")
    if kind == "json":
        value = loads(expected)
        return found is JSON_NULL if value is None else equal_json(value, found)
    return not isinstance(found, Number) and found == expected


def equal_json(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal_json(a[name], b[name]) for name in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal_json, a, b))
    return a == b


def compare(server, tables):
    values = 0
    for table in TABLES:
        expected, found = server_rows(server, table), tables.get(table, {})
        assert set(expected) == set(found), f"{table}: other rows: {set(expected) ^ set(found)}"
        for key, row in expected.items():
            for column, _, kind in COLUMNS:
                values += 1
                assert column in found[key], f"{table} {key}: no {column}"
                assert same(kind, row[column], found[key][column]), \
                    f"{table} {key} {column}: {row[column]!r}, but {found[key][column]!r}"
    counters = dict(line.split("|") for line in server.sql("SELECT * FROM counters;").split())
    assert counters == {key: row["n"] for key, row in tables.get("counters", {}).items()}
    return values


# ---------------------------------------------------------------------------------------------
# Runs
# ---------------------------------------------------------------------------------------------

def run_roundtrip(server, program, seed, rows=150):
    rng = random.Random(seed)
    validator = make_validator()
    path = os.path.join(server.directory, "things.ndjson")
    server.sql(SETUP)
    for table in TABLES:
        server.sql(rows_sql(rng, table, range(rows)))
    server.stream(program, f"file:{path}", "roundtrip")
    for table in TABLES:
        server.sql(changes_sql(rng, table, range(rows)))
        server.sql(rows_sql(rng, table, range(rows, 2 * rows)))
    server.stream(program, f"file:{path}", "roundtrip")
    for table in TABLES:
        server.sql("BEGIN;" + changes_sql(rng, table, range(rows, 2 * rows)) + "COMMIT;")
    server.sql("INSERT INTO counters VALUES (1, 1); TRUNCATE counters; INSERT INTO counters VALUES (2, 2);"
               " SELECT pg_logical_emit_message(true, 'app', 'text'),"
               " pg_logical_emit_message(true, 'app', '\\xff00'::bytea);")
    server.stream(program, f"file:{path}", "roundtrip")
    tables, counts = replay(path, validator)
    values = compare(server, tables)
    print(f"seed {seed}: {values} values of {sum(counts.values())} events {counts} agree")
    return tables


class Load(threading.Thread):
    """Commits small and larger transactions until it is told to stop."""

    def __init__(self, server, seed):
        super().__init__()
        self.server, self.rng, self.ended, self.failure = server, random.Random(seed), threading.Event(), None

    def one(self, base):
        table = self.rng.choice(TABLES)
        ids = range(base, base + 30)
        return ("BEGIN;" + rows_sql(self.rng, table, ids) + changes_sql(self.rng, table, ids) + "COMMIT;" +
                "".join(f"INSERT INTO counters VALUES ({base + i}, 0);"
                        f"UPDATE counters SET n = n + 1 WHERE id % 100 = {i} AND id > {base - 1000};" for i in range(20)))

    def run(self):
        base = 1000000
        try:
            while not self.ended.is_set():
                self.server.sql(self.one(base))
                base += 100
        except Exception as failure:  # pylint: disable=broad-except
            self.failure = failure


def wait_longer(path, size, process, seconds=60):
    deadline = time.monotonic() + seconds
    while process.poll() is None and not (os.path.exists(path) and os.path.getsize(path) > size):
        assert time.monotonic() < deadline, f"{path} has no more than {size} bytes"
        time.sleep(0.01)


def run_kills(server, program, seed, kills):
    """SIGKILL at random moments; the file must come out as if there had been none."""
    rng = random.Random(seed)
    validator = make_validator()
    path = os.path.join(server.directory, "killed.ndjson")
    server.sql(SETUP)
    for table in TABLES:
        server.sql(rows_sql(rng, table, range(300)))
    load = Load(server, seed)
    load.start()
    grown = 0
    try:
        for number in range(kills):
            size = os.path.getsize(path) if os.path.exists(path) else 0
            with subprocess.Popen(server.stream_command(program, f"file:{path}", "killed"),
                                  stderr=subprocess.PIPE) as process:
                if number % 5 == 0:  # however slow the machine is, not only the start is killed
                    wait_longer(path, size, process)
                time.sleep(rng.uniform(0.02, 0.1 if number % 5 == 0 else 0.6))
                process.kill()
                output = process.stderr.read().decode()
            if process.returncode != -9:
                raise AssertionError(f"it ended by itself, with {process.returncode}: {output}")
            grown += os.path.exists(path) and os.path.getsize(path) > size
    finally:
        load.ended.set()
        load.join()
    if load.failure is not None:
        raise load.failure
    assert grown >= kills // 5, f"{grown} of {kills} kills met one that had written"
    server.stream(program, f"file:{path}", "killed")
    tables, counts = replay(path, validator)
    values = compare(server, tables)
    print(f"{kills} kills ({grown} with the file longer than before): {values} values of "
          f"{sum(counts.values())} events {counts} agree")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--weir", default=os.environ.get("WEIR", "build/weir"))
    parser.add_argument("--bindir")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--directory", help="where the server lives for the time being")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=0)
    args = parser.parse_args()
    with Server(args.bindir or newest_bindir(), args.port, args.directory) as server:
        if args.kills > 0:
            run_kills(server, args.weir, args.seed, args.kills)
        else:
            run_roundtrip(server, args.weir, args.seed)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Skip as reason:
        print(f"skipped: {reason}")
        sys.exit(77)
