"""weir verify: the rows that differ, all of them, and nothing else; while the source goes on."""
import json
import random
import threading

import pytest

import test_types
from harness.targets import SQL_SINKS

pytestmark = pytest.mark.sql


def verify(pipeline, *options, code=0, query=None, **more):
    """(the JSON document's tables by name, how the run ended)"""
    ended = pipeline.weir.run("verify", "--format", "json", pipeline.source.url,
                              pipeline.target.url(**(query or {})), *options, code=code, **more)
    document = json.loads(ended.out)
    assert document["equal"] == (code == 0)
    tables = document["pipelines"][0]["tables"]
    return {table["name"]: table for table in tables}


def said(table):
    """{(kind, key values): {column: (source, target)}}"""
    found = {}
    for difference in table["differences"]:
        key = (difference["kind"], tuple(difference["key"].values()))
        assert key not in found
        found[key] = {c["name"]: (c["source"], c["target"]) for c in difference["columns"]}
    return found


def counts(table):
    return table["missing"], table["extra"], table["different"]


EVERY_TYPE = pytest.mark.parametrize("sink, beyond, query", [
    ("sqlite", True, {}), ("postgres", True, {}), ("duckdb", False, {}), ("duckdb", True, {"exact": "true"}),
], ids=["sqlite", "postgres", "duckdb", "duckdb-exact"])


@EVERY_TYPE
def test_every_type(pipeline, version, sink, beyond, query):
    """What a target keeps in another form, or loses by what is written of its types, is no difference."""
    test_types.create(pipeline.source, version)
    test_types.fill(pipeline.source, version, beyond)
    pipeline.drain(query=query)
    test_types.rotate(pipeline.source, version, beyond)
    tables = verify(pipeline, query=query)
    assert len(tables) == len(test_types.tables_for(version))
    for name, table in tables.items():
        assert table["result"] == "equal", table
        rows = pipeline.source.one(f'SELECT count(*) FROM "{name}"')
        assert table["source_rows"] == table["target_rows"] == rows > 0
    pipeline.check()


ROWS = 300
TABLES = r"""
    CREATE TABLE numbers (id int PRIMARY KEY, a text, b numeric(9,2), c timestamptz);
    CREATE TABLE words (word text COLLATE "und-x-icu" PRIMARY KEY, a text, b numeric(9,2), c timestamptz);
    CREATE TABLE pairs (part varchar(9), n bigint, a text, b numeric(9,2), c timestamptz, PRIMARY KEY (n, part));
    CREATE TABLE marks (id uuid PRIMARY KEY, a text, b numeric(9,2), c timestamptz);
    CREATE TABLE loose (id int, a text, b numeric(9,2), c timestamptz);
    ALTER TABLE loose REPLICA IDENTITY FULL;
"""
KEYS = {"numbers": ["id"], "words": ["word"], "pairs": ["n", "part"], "marks": ["id"], "loose": []}
LETTERS = ["a", "B", "ä", "É", "ß", "z", "-", " ", "İ", "'", "9"]


def fill(source, draw):
    """The rows of each table by key, as text. Nothing that tells them apart is left to an order."""
    source.sql(TABLES)
    words = set()
    while len(words) < ROWS:
        words.add("".join(draw.choices(LETTERS, k=draw.randint(1, 8))))
    keys = {
        "numbers": [(str(i),) for i in range(ROWS)],
        "words": [(word,) for word in sorted(words)],
        "pairs": [(str(i // 5), f"p{i % 5}") for i in range(ROWS)],
        "marks": [(f"a0eebc99-9c0b-4ef8-bb6d-{i * 7919:012x}",) for i in range(ROWS)],
        "loose": [(str(i),) for i in range(ROWS)],
    }
    with source.transaction(), source.connection.cursor() as cursor:
        for table, all_keys in keys.items():
            names = ", ".join(KEYS[table] or ["id"])
            cursor.executemany(
                f"INSERT INTO {table} ({names}, a, b, c) VALUES ({', '.join(['%s'] * (names.count(',') + 1))}, %s, %s, %s)",
                [(*key, draw.choice([None, "", "text", "longer " * 50]), draw.randint(-999, 999) / 4,
                  f"20{draw.randint(10, 99)}-01-02 03:04:05.678+00") for key in all_keys])
    return keys


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def where(table, key):
    return " AND ".join(f"{name} = {literal(value)}" for name, value in zip(KEYS[table] or ["id"], key))


def damage(table, keys, draw):
    """Statements, and {kind: keys} that verify has to name."""
    chosen = draw.sample(keys, 12)
    gone, other = chosen[:4], chosen[4:]
    new = {"numbers": ("100000",), "words": ("unheard",), "pairs": ("7000", "p'"),
           "marks": ("00000000-0000-0000-0000-000000000000",), "loose": ("100000",)}[table]
    changes = ["a = 'another'", "b = 12345.67", "c = '1999-01-01 00:00:00+00'"]
    if table != "loose":  # where text is a key it is not to become another one
        changes.append("a = NULL, b = NULL, c = NULL")
    statements = [f"DELETE FROM {table} WHERE {where(table, key)}" for key in gone]
    statements += [f"UPDATE {table} SET {draw.choice(changes)} WHERE {where(table, key)}" for key in other]
    names = ", ".join(KEYS[table] or ["id"])
    statements.append(f"INSERT INTO {table} ({names}) VALUES ({', '.join(literal(v) for v in new)})")
    draw.shuffle(statements)
    return statements, {"missing": gone, "extra": [new], "different": other}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("sink", SQL_SINKS)
def test_names_what_differs(pipeline, seed):
    """Single values, rows gone, rows too many: exactly those are named, in each kind of table."""
    draw = random.Random(seed)
    keys = fill(pipeline.source, draw)
    pipeline.drain()
    wanted = {}
    for table in draw.sample(sorted(KEYS), 4):
        statements, wanted[table] = damage(table, keys[table], draw)
        pipeline.target.execute(*statements)
    tables = verify(pipeline, "--limit", "100", code=1)
    assert {name for name, table in tables.items() if table["result"] == "different"} == set(wanted)
    for name, kinds in wanted.items():
        found = said(tables[name])
        if KEYS[name]:
            assert counts(tables[name]) == (4, 1, 8)
            assert set(found) == {(kind, key) for kind, those in kinds.items() for key in those}
        else:  # by whole rows: a changed one is one that is missing, and one that is too many
            assert counts(tables[name]) == (12, 9, 0)
            assert {key[0] for kind, key in found if kind == "missing"} == \
                {key[0] for key in kinds["missing"] + kinds["different"]}
            assert {key[0] for kind, key in found if kind == "extra"} == \
                {key[0] for key in kinds["extra"] + kinds["different"]}


@pytest.mark.parametrize("sink", SQL_SINKS)
def test_repairs(pipeline, sink):
    """What differs is mended, and nothing else is touched; the pipeline goes on from where it was."""
    draw = random.Random(3)
    keys = fill(pipeline.source, draw)
    pipeline.drain()
    for table in KEYS:
        statements, _ = damage(table, keys[table], draw)
        pipeline.target.execute(*statements)
    tables = verify(pipeline, "--repair", code=1)
    for name in KEYS:
        if KEYS[name]:
            assert tables[name]["result"] == "repaired" and tables[name]["written"] == 13
        else:
            assert tables[name]["result"] == "different" and tables[name]["written"] == 0
            assert "without a key" in tables[name]["note"]
    keyed = [("public", name) for name in KEYS if KEYS[name]]
    pipeline.check(keyed)
    pipeline.source.sql("UPDATE numbers SET a = 'later'; DELETE FROM words; INSERT INTO pairs VALUES ('new', -1)")
    tables = verify(pipeline, *(option for _, name in keyed for option in ("--only", name)))
    assert len(tables) == len(keyed) and all(table["result"] == "equal" for table in tables.values())
    pipeline.check(keyed)
