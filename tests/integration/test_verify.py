"""weir verify: the rows that differ, all of them, and nothing else; while the source goes on."""
import fcntl
import json
import os
import random
import time

import pytest

from harness.compare import assert_equal
from harness.load import Writer
from harness.targets import SQL_SINKS
from harness.wait import wait_for
from harness.weir import RELEASE, Weir

pytestmark = pytest.mark.sql


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


ROWS = 100
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


@pytest.mark.parametrize("sink", SQL_SINKS)
def test_names_what_differs(pipeline):
    """Single values, rows gone, rows too many: exactly those are named, in each kind of table."""
    draw = random.Random(1)
    keys = fill(pipeline.source, draw)
    pipeline.drain()
    wanted = {}
    for table in draw.sample(sorted(KEYS), 4):
        statements, wanted[table] = damage(table, keys[table], draw)
        pipeline.target.execute(*statements)
    tables = pipeline.verify("--limit", "100", code=1)
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


@pytest.mark.parametrize("sink", ["duckdb"])
def test_large_rows(pipeline):
    """More at once than what a stream leaves DuckDB of its memory_limit."""
    pipeline.source.sql("CREATE TABLE docs (id int PRIMARY KEY, v jsonb);"
                        "INSERT INTO docs SELECT g, jsonb_build_object('a', repeat(md5(g::text), 62500)) FROM generate_series(1, 40) g")
    pipeline.drain()
    assert pipeline.verify()["docs"]["result"] == "equal"


@pytest.mark.parametrize("sink", SQL_SINKS)
def test_repairs(pipeline, sink):
    """What differs is mended, and nothing else is touched; the pipeline goes on from where it was."""
    draw = random.Random(3)
    keys = fill(pipeline.source, draw)
    pipeline.drain()
    for table in KEYS:
        statements, _ = damage(table, keys[table], draw)
        pipeline.target.execute(*statements)
    tables = pipeline.verify("--repair")
    for name in KEYS:
        assert tables[name]["result"] == "repaired"
        assert tables[name]["written"] == (13 if KEYS[name] else ROWS)
    assert tables["loose"]["note"] == "without a key: copied anew" and counts(tables["loose"]) == (12, 9, 0)
    pipeline.check()
    pipeline.source.sql("UPDATE numbers SET a = 'later'; DELETE FROM words; INSERT INTO pairs VALUES ('new', -1); DELETE FROM loose")
    tables = pipeline.verify("--only", "numbers", "--only", "loose", "--only", "words")
    assert len(tables) == 3 and all(table["result"] == "equal" for table in tables.values())
    pipeline.check()


@pytest.mark.parametrize("sink", SQL_SINKS)
def test_copies_what_has_no_key(pipeline, sink):
    """While it is written to, and the others are; of two sorts: with all of its old rows published, and with none."""
    fill(pipeline.source, random.Random(6))
    pipeline.source.sql("CREATE TABLE events (n int, a text); INSERT INTO events SELECT g % 7, 'same' FROM generate_series(1, 50) g")
    pipeline.drain()
    pipeline.source.sql("DELETE FROM events WHERE n = 3")  # which nobody is told
    pipeline.target.execute("UPDATE loose SET a = 'other' WHERE id < 9", "DELETE FROM loose WHERE id = 20")

    def go_on(connection, round):
        connection.execute("UPDATE numbers SET b = b + 1 WHERE id = %s", (round % ROWS,))
        connection.execute("UPDATE loose SET a = %s WHERE id = %s", (str(round), 50 + round % 50))  # which are there
        connection.execute("INSERT INTO events VALUES (%s, 'new')", (round % 7,))
    with Writer(pipeline.source, go_on) as load:
        before = load.rounds
        tables = pipeline.verify("--repair")
        assert load.rounds > before + 5
    assert {name: tables[name]["result"] for name in tables} == \
        {"events": "repaired", "loose": "repaired", "numbers": "equal", "words": "equal", "pairs": "equal", "marks": "equal"}
    assert "inserts only" in tables["events"]["note"] and counts(tables["events"]) == (0, 7, 0)
    pipeline.drain()
    pipeline.check()


def write(connection, round):
    n = round * 37 % ROWS
    connection.execute("UPDATE numbers SET b = b + 1 WHERE id = %s", (n,))
    connection.execute("DELETE FROM pairs WHERE n = %s", (n // 5,))
    connection.execute("INSERT INTO pairs (part, n, a) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                       (f"q{n}", n // 7, "new" * n))
    connection.execute("UPDATE loose SET a = %s WHERE id = %s", (str(n), n))


@pytest.mark.parametrize("sink", SQL_SINKS)
def test_while_the_source_goes_on(pipeline, sink):
    """Both sides are read as of one LSN, also when that is in the midst of changes."""
    keys = fill(pipeline.source, random.Random(4))
    pipeline.drain()
    with Writer(pipeline.source, write) as load:
        before = load.rounds
        tables = pipeline.verify()
        assert load.rounds > before + 5
        assert {table["result"] for table in tables.values()} == {"equal"}
        pipeline.target.execute(f"DELETE FROM words WHERE word = {literal(keys['words'][7][0])}")
        tables = pipeline.verify(code=1)
    assert said(tables.pop("words")) == {("missing", keys["words"][7]): {}}
    assert {table["result"] for table in tables.values()} == {"equal"}
    pipeline.target.execute(f"INSERT INTO words (word) VALUES ({literal(keys['words'][7][0])})")
    pipeline.drain()
    pipeline.check([("public", name) for name in ("numbers", "pairs", "marks", "loose")])


# Table of one value, what the source has, what the target is made to have: each a difference.
SMALL = [
    ("text", "''", "NULL"), ("text", "NULL", "''"), ("text", "'a'", "'a '"), ("text", "'A'", "'a'"), ("text", "'é'", r"'é'"),
    ("text", "repeat('x', 20000)", "'" + "x" * 19999 + "'"),
    ("int", "0", "NULL"), ("int", "-1", "1"),
    ("boolean", "false", "NULL"), ("boolean", "false", "true"),
    ("numeric(9,2)", "0.10", "0.11"), ("numeric(9,2)", "0", "NULL"),
    ("float8", "0.1", "0.10000000000000002"), ("float8", "'Infinity'", "1.7976931348623157e308"),
    ("timestamp", "'2024-01-01'", "'2024-01-01 00:00:00.000001'"),
    ("date", "'2024-02-29'", "'2024-03-01'"),
    ("jsonb", "'{\"a\": null}'", "'{}'"), ("jsonb", "'null'", "NULL"),
    ("bytea", r"'\x'", "NULL"),
    ("pair", "ROW(NULL, NULL)", "NULL"),
]
ARRAYS = [("text[]", "'{}'", "NULL"), ("int[]", "'{NULL}'", "'{}'"), ("text[]", "'{NULL}'", "'{\"NULL\"}'")]


@pytest.mark.parametrize("sink", SQL_SINKS)
def test_small_differences(pipeline, sink):
    """A column for each, and a row in which only that is another."""
    cases = dict(enumerate(SMALL + ARRAYS))
    columns = ", ".join(f"v{at} {type_}" for at, (type_, _, _) in cases.items())
    values = ", ".join(f"({value})::{type_}" for type_, value, _ in cases.values())
    pipeline.source.sql(f"""CREATE TYPE pair AS (a int, b int); CREATE TABLE t (id int PRIMARY KEY, {columns});
                            INSERT INTO t SELECT g, {values} FROM generate_series(-1, {len(cases) - 1}) g""")
    pipeline.drain()
    pipeline.target.execute(*(f"UPDATE t SET v{at} = {other} WHERE id = {at}" for at, (_, _, other) in cases.items()))
    found = said(pipeline.verify("--limit", "100", code=1)["t"])
    assert {key: list(columns) for key, columns in found.items()} == {
        ("different", (str(at),)): [f"v{at}"] for at, (_, value, other) in cases.items() if value != other}
    pipeline.verify("--repair")
    pipeline.check()


@pytest.mark.parametrize("sink", SQL_SINKS)
def test_differences_in_long_values(pipeline, sink):
    """They are seen, wherever they are; no character is cut in two."""
    start = "ä" * 300  # 600 bytes
    cases = {
        1: (start + "one" + "x" * 999, start + "two" + "x" * 999),
        2: ("x" * 5000 + "end", "x" * 5000),
        3: ("€" * 70, "€" * 69 + "£"),  # a cut at 200 bytes would be in the last but two
        4: ("x" * 50, "x" * 40 + "y" * 500),
        5: ("a" + "x" * 999, "b" + "x" * 999),
        6: ("a" + start, "b" + start),
    }
    pipeline.source.sql("CREATE TABLE t (id int PRIMARY KEY, v text)")
    for key, (value, _) in cases.items():
        pipeline.source.sql("INSERT INTO t VALUES (%s, %s)", key, value)
    pipeline.drain()
    pipeline.target.execute(*(f"UPDATE t SET v = '{other}' WHERE id = {key}" for key, (_, other) in cases.items()))
    found = {int(key): columns["v"] for (_, (key,)), columns in said(pipeline.verify(code=1)["t"]).items()}
    before = "…" + "ä" * 20
    assert found == {
        1: (f"{before}one{'x' * 157}… (from byte 561 of 1602)", f"{before}two{'x' * 157}… (from byte 561 of 1602)"),
        2: (f"…{'x' * 40}end (from byte 4961 of 5003)", f"…{'x' * 40} (from byte 4961 of 5000)"),
        3: (f"…{'€' * 15} (from byte 166 of 210)", f"…{'€' * 14}£ (from byte 166 of 209)"),
        4: ("x" * 50, f"{'x' * 40}{'y' * 160}… (540 bytes)"),
        5: (f"a{'x' * 199}… (1000 bytes)", f"b{'x' * 199}… (1000 bytes)"),
        6: (f"a{'ä' * 99}… (601 bytes)", f"b{'ä' * 99}… (601 bytes)"),
    }


@pytest.mark.parametrize("sink", SQL_SINKS)
def test_the_sign_of_a_zero(pipeline, sink):
    """SQLite has none, and DuckDB forgets it where there is nothing but zeros."""
    pipeline.source.sql("CREATE TABLE t (id int PRIMARY KEY, v float8, w real); INSERT INTO t VALUES (1, '-0', 0), (2, 0, '-0')")
    pipeline.drain()
    pipeline.verify()
    pipeline.target.execute("UPDATE t SET v = -v, w = -w")
    pipeline.verify(code=1 if sink == "postgres" else 0)


@pytest.mark.parametrize("sink", ["sqlite"])
def test_values_of_another_kind(pipeline, sink):
    """SQLite takes anything anywhere."""
    pipeline.source.sql("""CREATE TABLE t (id int PRIMARY KEY, i int, f float8, b boolean, x bytea, t text);
                           INSERT INTO t SELECT g, 1, 1, true, '1', '1' FROM generate_series(1, 9) g""")
    pipeline.drain()
    damages = ["i = '1x'", "i = x'31'", "f = '1x'", "b = 2", "x = '1'", "t = x'31'"]
    for at, damage_ in enumerate(damages, 1):
        pipeline.target.execute(f"UPDATE t SET {damage_} WHERE id = {at}")
    found = said(pipeline.verify(code=1)["t"])
    assert {key: list(columns) for key, columns in found.items()} == {
        ("different", (str(at),)): [damage_[0]] for at, damage_ in enumerate(damages, 1)}


@pytest.mark.parametrize("sink", ["duckdb"])
def test_a_key_that_is_there_twice(pipeline, sink):
    """Nothing of DuckDB's forbids it."""
    pipeline.source.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    pipeline.drain()
    pipeline.target.execute("INSERT INTO t VALUES (1, 'a'), (2, 'c')")
    table = pipeline.verify(code=1)["t"]
    assert counts(table) == (0, 2, 0) and set(said(table)) == {("extra", ("1",)), ("extra", ("2",))}


# ---------------------------------------------------------------------------------------------
# Shapes
# ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("sink", SQL_SINKS)
def test_tables_that_have_changed(pipeline, sink):
    """Compared is what both sides have: by the number of a column, not by its name."""
    source = pipeline.source
    source.sql("""CREATE SCHEMA shop;
        CREATE TABLE shop.renamed (id int PRIMARY KEY, a int, b text);
        CREATE TABLE swapped (id int PRIMARY KEY, a int, b int);
        CREATE TABLE added (id int PRIMARY KEY, a int);
        CREATE TABLE dropped (id int PRIMARY KEY, a int, b int);
        CREATE TABLE retyped (id int PRIMARY KEY, a int);
        CREATE TABLE parts (id int, a text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
        CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
        CREATE TABLE parts2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
        INSERT INTO shop.renamed VALUES (1, 2, 'x'); INSERT INTO swapped VALUES (1, 2, 3); INSERT INTO added VALUES (1, 2);
        INSERT INTO dropped VALUES (1, 2, 3); INSERT INTO retyped VALUES (1, 2); INSERT INTO parts VALUES (1, 'a'), (11, 'b')""")
    pipeline.drain()
    # Told by no change yet.
    source.sql("ALTER TABLE swapped RENAME a TO c; ALTER TABLE swapped RENAME b TO a; ALTER TABLE swapped RENAME c TO b")
    source.sql("ALTER TABLE shop.renamed RENAME TO other; ALTER TABLE shop.other RENAME b TO c")
    source.sql("ALTER TABLE added ADD COLUMN b int DEFAULT 7; ALTER TABLE dropped DROP COLUMN a")
    source.sql("ALTER TABLE retyped ALTER COLUMN a TYPE bigint; CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late VALUES (1)")
    tables = pipeline.verify(code=2)
    assert {name for name, table in tables.items() if table["result"] == "equal"} == \
        {"other", "swapped", "added", "dropped", "parts"}
    assert "late" not in tables and tables["retyped"]["result"] == "not compared" and tables["retyped"]["reason"]
    assert '"b"' in tables["added"]["note"] and '"a"' in tables["dropped"]["note"]
    assert tables["parts"]["source_rows"] == 2
    source.sql("UPDATE swapped SET a = a + 1; UPDATE shop.other SET a = 3; UPDATE added SET a = 3; UPDATE dropped SET b = 4")
    source.sql("UPDATE retyped SET a = 3; UPDATE parts SET a = 'c'")
    pipeline.drain()
    tables = pipeline.verify()
    assert "late" in tables and all(table["result"] == "equal" and table["reason"] is None for table in tables.values()), tables
    assert tables["added"]["note"] is None
    pipeline.check()


@pytest.mark.parametrize("sink", ["postgres"])
@pytest.mark.parametrize("version", [15, 17], indirect=True)
def test_what_is_published(pipeline, sink, version):
    """A row filter and a column list leave out what is no difference."""
    pipeline.source.sql("""CREATE TABLE t (id int PRIMARY KEY, keep boolean, v text, secret text);
        INSERT INTO t SELECT g, g % 3 = 0, 'v' || g, 's' FROM generate_series(1, 90) g;
        ALTER TABLE t REPLICA IDENTITY FULL;
        CREATE TABLE u (id int PRIMARY KEY, v text, secret text);
        INSERT INTO u SELECT g, 'v' || g, 's' FROM generate_series(1, 90) g;
        CREATE PUBLICATION mine FOR TABLE t WHERE (keep), u (id, v)""")
    own = "--publication", "mine"
    pipeline.drain(*own)
    pipeline.source.sql("UPDATE t SET keep = NOT keep WHERE id % 2 = 0; UPDATE u SET v = 'x' WHERE id < 9")
    tables = pipeline.verify(*own)
    assert tables["t"]["source_rows"] == 45 and tables["u"]["source_rows"] == 90
    pipeline.target.execute("UPDATE u SET v = 'y' WHERE id = 80", "INSERT INTO t VALUES (2000)")
    tables = pipeline.verify(*own, code=1)
    assert set(said(tables["t"])) == {("extra", ("2000",))} and set(said(tables["u"])) == {("different", ("80",))}


@pytest.mark.parametrize("sink", ["postgres"])
def test_a_wider_target(pipeline, sink):
    """Where the target was there before, it may have other types: they are compared as it has them."""
    pipeline.source.sql("""CREATE TABLE t (id int PRIMARY KEY, n numeric(9,2), f real, c char(4), j jsonb, b bit(3), d timestamptz);
        INSERT INTO t SELECT g, g / 4.0, g / 10.0, 'a' || g, '{"a": 1}', '101', now() FROM generate_series(1, 99) g;
        INSERT INTO t VALUES (100)""")
    pipeline.target.execute("""CREATE TABLE t (id bigint PRIMARY KEY, n numeric, f float8, c text, j text, b bit varying, d text,
                               own int DEFAULT 1)""")
    pipeline.drain()
    tables = pipeline.verify()
    assert tables["t"]["result"] == "equal" and tables["t"]["source_rows"] == 100
    pipeline.target.execute("UPDATE t SET n = n + 0.001 WHERE id = 7", "UPDATE t SET d = 'x,' WHERE id = 8")
    found = said(pipeline.verify(code=1)["t"])
    assert {key[1]: list(columns) for key, columns in found.items()} == {("7",): ["n"], ("8",): ["d"]}


# ---------------------------------------------------------------------------------------------
# What the pipeline consists of
# ---------------------------------------------------------------------------------------------

TWO = """CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY, v text); CREATE TABLE w (id int PRIMARY KEY);
         INSERT INTO t VALUES (1, 'a'); INSERT INTO u VALUES (1, 'a')"""
TWO_CHANGE = "INSERT INTO t SELECT max(id) + 1 FROM t; INSERT INTO u SELECT max(id) + 1 FROM u; UPDATE u SET v = 'b' WHERE id = 1"


def entries(source):
    """What is published, by entries that are new when they were taken out and put back."""
    return source.sql("""SELECT p.pubname, r.oid, r.prrelid::regclass::text FROM pg_publication p
                         LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid ORDER BY 1, 2""")


def followed(target, weir):
    return sorted(key for key in target.checkpoint(weir) if key.startswith("table:"))


@pytest.mark.parametrize("publication", ["ours", "named", "given"])
@pytest.mark.parametrize("sink", ["sqlite"])
def test_other_patterns(pipeline, publication):
    """--table chooses what is compared: neither the publication nor the pipeline's tables become others, and nothing is skipped."""
    source = pipeline.source
    source.sql(TWO)
    if publication == "given":
        source.sql("CREATE PUBLICATION mine FOR TABLE t, u, w")
    own = () if publication == "ours" else ("--publication", "mine")
    pipeline.drain(*own, "--table", "t", "--table", "u")
    before = entries(source), followed(pipeline.target, pipeline.weir)

    def verify(*tables, code=0):
        source.sql(TWO_CHANGE)
        ended = pipeline.weir.run("verify", "--format", "json", source.url, pipeline.target.url(), *own, *tables, code=code)
        assert (entries(source), followed(pipeline.target, pipeline.weir)) == before
        pipeline.check([("public", "t"), ("public", "u")])
        return {table["name"]: table["result"] for table in json.loads(ended.out)["pipelines"][0]["tables"]}, ended.err
    compared, says = verify("--table", "t")
    assert compared == {"t": "equal"} and "not in the pipeline" not in says
    compared, says = verify(code=2 if publication == "given" else 0)
    if publication == "given":
        assert compared == {"t": "equal", "u": "equal", "w": "not compared"}
    else:
        assert compared == {"t": "equal", "u": "equal"} and 'not in the pipeline: "public.w"' in says.replace("\\", "")
    pipeline.drain(*own, "--table", "t", "--table", "u")
    pipeline.check([("public", "t"), ("public", "u")])


@pytest.mark.parametrize("is_running", [False, True], ids=["stopped", "running"])
@pytest.mark.parametrize("sink", ["sqlite"])
def test_what_was_only_followed(pipeline, is_running):
    """A pipeline without copies is neither compared nor run as if it made some, which would pass over a table that was added."""
    source, options = pipeline.source, ("--publication", "mine")
    source.sql("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY); CREATE PUBLICATION mine FOR TABLE t")
    pipeline.drain(*options, "--no-copy")
    process = pipeline.start(*options, "--no-copy") if is_running else None
    if process:
        process.expect("streaming")
        wait_for(lambda: list((pipeline.weir.state / "weir").glob("*/status.sock")), 30, "it listens")
    source.sql("ALTER PUBLICATION mine ADD TABLE u")
    source.sql("INSERT INTO t VALUES (1); INSERT INTO u VALUES (1)")
    ended = pipeline.weir.run("verify", source.url, pipeline.target.url(), *options, code=2)
    assert "run without copies" in ended.err
    if process:
        process.stop()
    pipeline.drain(*options, "--no-copy")
    pipeline.check([("public", "t"), ("public", "u")])


@pytest.mark.parametrize("sink", ["postgres", "sqlite"])
def test_repair_that_the_target_refuses(pipeline, sink):
    """A column that is unique there only: what can be repaired is, in the order that it needs, and of the rest it is said why not."""
    pipeline.source.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, chr(96 + g) FROM generate_series(1, 20) g; " + TWO.replace(" t ", " s "))
    pipeline.drain()
    pipeline.target.execute("CREATE UNIQUE INDEX once ON t (v)",
                            "UPDATE t SET v = id || '' WHERE id IN (1, 2)", "UPDATE t SET v = 'b' WHERE id = 1",  # 1 and 2 have exchanged theirs,
                            "UPDATE t SET v = 'a' WHERE id = 2", "UPDATE t SET v = 'x' WHERE id = 20",
                            *[f"UPDATE t SET v = '{chr(97 + n)}' WHERE id = {n}" for n in range(19, 9, -1)],  # ten have that of the next one
                            "DELETE FROM u")
    ended = pipeline.weir.run("verify", "--format", "json", "--repair", pipeline.source.url, pipeline.target.url(), code=1)
    tables = {table["name"]: table for table in json.loads(ended.out)["pipelines"][0]["tables"]}
    assert tables["u"]["result"] == "repaired"
    assert tables["t"]["result"] == "different" and tables["t"]["written"] == 11
    assert "not all is repaired: the target refuses rows" in tables["t"]["note"] and "unique" in tables["t"]["note"].lower()
    pipeline.target.execute("DELETE FROM t WHERE id = 1")
    assert pipeline.verify("--repair")["t"]["result"] == "repaired"
    pipeline.check()


@pytest.mark.parametrize("sink", ["duckdb"])
def test_repair_of_what_is_refused_with_all_else(pipeline):
    """A target that cannot take back a part of a transaction: that table is left, and the others are not."""
    pipeline.source.sql("CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a VALUES (1, 'x'), (2, 'y'); " + TWO)
    pipeline.drain()
    pipeline.target.execute("UPDATE a SET v = 'z' WHERE id = 2", "CREATE UNIQUE INDEX once ON a (v)", "INSERT INTO a VALUES (3, 'y')", "DELETE FROM u")
    ended = pipeline.weir.run("verify", "--format", "json", "--repair", pipeline.source.url, pipeline.target.url(), code=1)
    tables = {table["name"]: table for table in json.loads(ended.out)["pipelines"][0]["tables"]}
    assert tables["u"]["result"] == "repaired" and tables["t"]["result"] == "equal"
    assert tables["a"]["result"] == "different" and tables["a"]["note"].startswith("not repaired: "), tables["a"]


@pytest.mark.parametrize("sink", SQL_SINKS)
def test_taken_out_of_the_publication(pipeline, sink):
    """What the target has of it stays as it was then, which is said."""
    source, options = pipeline.source, ("--publication", "mine")
    source.sql(TWO + "; CREATE PUBLICATION mine FOR TABLE t, u")
    pipeline.drain(*options)
    source.sql("ALTER PUBLICATION mine DROP TABLE u; INSERT INTO u VALUES (2, 'b')")
    ended = pipeline.weir.run("verify", source.url, pipeline.target.url(), *options)
    assert "public.t" in ended.out and "public.u" not in ended.out
    said = ended.err.replace("\\", "")
    assert said.count('table "public.u" is not compared: it is not in the publication any more') == 1 and '"public.t"' not in said


@pytest.mark.parametrize("sink", ["sqlite"])
def test_leaves_by_their_root(pipeline):
    """Published one by one, and asked for by the name of what they are part of."""
    pipeline.source.sql("""CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE other (id int PRIMARY KEY);
        CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (10); INSERT INTO parts VALUES (1)""")
    url = pipeline.source.url + "?partitions=leaf"
    pipeline.weir.drain(url, pipeline.target.url())
    ended = pipeline.weir.run("verify", url, pipeline.target.url(), "--table", "parts")
    assert "public.parts1" in ended.out and "public.other" not in ended.out


def test_a_connection_that_is_lost(weir, source, make_database, servers):
    """In the midst of a table: that is a failure, and says nothing about the table."""
    target = make_database(on=servers.get(16))  # another server: the source's slot would wait for the lock
    source.sql(TWO)
    weir.drain(source.url, target.url)
    with target.server.connect(target.name) as other, other.transaction():
        other.execute("LOCK TABLE u")
        process = weir.start("verify", source.url, target.url)
        blocked = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%md5%%' AND datname = current_database()"
        wait_for(lambda: target.one("SELECT count(*) " + blocked) == 1, 30, process.logs)
        target.sql("SELECT pg_terminate_backend(pid) " + blocked)
        ended = process.wait()
    assert ended.code == 1 and " was lost: terminating connection" in ended.err and "not compared" not in ended.out


@pytest.mark.parametrize("ends", ["ours", "theirs"])
def test_stopped_while_an_end_is_silent(weir, source, make_database, servers, make_proxy, ends):
    """Nobody waits for an answer to what nobody wants to know any more."""
    target = make_database(on=servers.get(16))
    source.sql(TWO)
    near, far = make_proxy(source), make_proxy(target)
    words = near.url(source.url), far.url(target.url), "--name", "x"
    weir.drain(*words)
    with target.server.connect(target.name) as other, other.transaction():
        other.execute("LOCK TABLE u")
        process = weir.start("verify", *words)
        blocked = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%md5%%' AND datname = current_database()"
        wait_for(lambda: target.one("SELECT count(*) " + blocked) == 1, 30, process.logs)
        (far if ends == "theirs" else near).silence()
        began = time.monotonic()
        ended = process.stop(timeout=60)
        took = time.monotonic() - began
    assert ended.code == 1 and "interrupted" in ended.err and took < 15, (took, ended)


@pytest.mark.parametrize("sink", ["sqlite"])
def test_a_publication_that_is_gone(pipeline):
    """It is not made again on the way."""
    pipeline.source.sql(TWO)
    pipeline.drain()
    for name, in pipeline.source.sql("SELECT pubname FROM pg_publication"):
        pipeline.source.sql(f"DROP PUBLICATION {name}")
    ended = pipeline.weir.run("verify", pipeline.source.url, pipeline.target.url(), code=2)
    assert "does not exist any more" in ended.err and entries(pipeline.source) == []


@pytest.mark.parametrize("buffer, publication", [("memory", False), ("disk", False), ("disk", True)])
def test_a_project_whose_tables_were_changed(make_hub, buffer, publication):
    """Those of the file are compared; what the pipeline has goes on."""
    from harness.hub import Buffered, Hub
    hub = make_hub(Buffered if buffer == "disk" else Hub, "sqlite", "postgres")
    hub.source.sql(TWO)
    name = ", publication: mine" if publication else ""
    text = hub.file.read_text()

    def of(tables):
        hub.file.write_text(text.replace("{ connection: source }", "{ connection: source, tables: [%s]%s }" % (tables, name)))
    hub.source.sql("CREATE TABLE l (n int); ALTER TABLE l REPLICA IDENTITY FULL; INSERT INTO l VALUES (1), (2)")
    if publication:
        hub.source.sql("CREATE PUBLICATION mine FOR TABLE t, u, w, l")
    of("t, u, l")
    hub.drain()
    before = entries(hub.source), followed(hub.targets["sqlite"], hub.weir)
    hub.targets["sqlite"].execute("DELETE FROM l")
    for tables in ("t", "t, w, l"):  # l is copied anew on the way
        of(tables)
        hub.source.sql(TWO_CHANGE)
        ended = hub.weir.run("verify", "--repair", "--format", "json", hub.file, code=2 if publication and "w" in tables else 0)
        compared = {table["name"]: table["result"] for table in json.loads(ended.out)["pipelines"][0]["tables"]}
        assert compared.pop("t") == "equal" and compared.pop("l", "repaired") == "repaired" and compared.pop("w", "not compared") == "not compared"
        assert compared == {} and (entries(hub.source), followed(hub.targets["sqlite"], hub.weir)) == before
    of("t, u, l")
    hub.source.sql(TWO_CHANGE)
    hub.drain()
    for target in hub.targets.values():
        assert_equal(hub.source, target, [("public", name) for name in "tul"])


# ---------------------------------------------------------------------------------------------
# Pipelines
# ---------------------------------------------------------------------------------------------

def test_a_project(make_hub):
    """Each route of each pipeline; all of them are brought to one LSN."""
    from harness.hub import Hub
    hub = make_hub(Hub, "sqlite", "postgres")
    hub.source.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    hub.drain()
    ended = hub.weir.run("verify", "--format", "json", hub.file)
    routes = json.loads(ended.out)["pipelines"]
    assert [route["route"] for route in routes] == ["sqlite", "postgres"]
    assert routes[0]["lsn"] == routes[1]["lsn"]
    hub.targets["postgres"].execute("DELETE FROM t WHERE id = 2", "UPDATE t SET v = NULL WHERE id = 1", "INSERT INTO t VALUES (3, 'c')")
    ended = hub.weir.run("verify", hub.file, "--name", "hub", code=1)
    found = [line.strip() for line in ended.out.splitlines() if "id = " in line]
    assert sorted(found) == ["different              id = 1: v (source a, target NULL)", "extra in the target    id = 3",
                             "missing in the target  id = 2"] and "Of 1 tables, 1 differ." in ended.out
    report = json.loads(hub.weir.run("verify", hub.file, "--name", "hub", "--format", "json", code=1).out)
    differences = [d for route in report["pipelines"] for table in route["tables"] for d in table["differences"]]
    assert {d["kind"]: (d["key"], d["columns"]) for d in differences} == {
        "missing": ({"id": "2"}, []), "extra": ({"id": "3"}, []),
        "different": ({"id": "1"}, [{"name": "v", "source": "a", "target": None}])}
    hub.weir.run("verify", hub.file, "--repair")
    hub.check()
    ended = hub.weir.run("verify", hub.file, "--name", "other", code=2)
    assert 'no pipeline "other"' in ended.err


T = "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT g, 0 FROM generate_series(0, 99) g"


def write_t(connection, round):
    connection.execute("UPDATE t SET n = n + 1 WHERE id = %s", (round % ROWS,))
    connection.execute("DELETE FROM t WHERE id = %s", (round * 7 % ROWS,))
    connection.execute("INSERT INTO t VALUES (%s, 0) ON CONFLICT DO NOTHING", (round * 11 % ROWS,))


def routes_of(hub, *options, code=0):
    """{route: its table t}, and where they were compared"""
    ended = hub.weir.run("verify", "--format", "json", hub.file, *options, code=code)
    routes = json.loads(ended.out)["pipelines"]
    return {route["route"]: route["tables"][0] for route in routes}, {route["lsn"] for route in routes}


def test_behind_a_disk_buffer(make_hub):
    """Each route is brought to the LSN; what the buffer has behind it is delivered later, once."""
    from harness.hub import Buffered
    hub = make_hub(Buffered, "sqlite", "postgres", "duckdb")
    hub.source.sql(T)
    hub.drain()
    with Writer(hub.source, write_t):
        tables, lsns = routes_of(hub)
    assert {name: table["result"] for name, table in tables.items()} == \
        {"sqlite": "equal", "postgres": "equal", "duckdb": "equal"}
    assert len(lsns) == 1
    hub.drain()  # of what would find the rows damaged
    for target in hub.targets.values():
        target.execute("DELETE FROM t WHERE id = 7", "INSERT INTO t VALUES (1000, 1)")
    tables, _ = routes_of(hub, "--route", "duckdb", "--repair")
    assert list(tables) == ["duckdb"] and tables["duckdb"]["result"] == "repaired"
    tables, _ = routes_of(hub, "--repair")
    assert {name: table["result"] for name, table in tables.items()} == \
        {"sqlite": "repaired", "postgres": "repaired", "duckdb": "equal"}
    hub.source.sql("UPDATE t SET n = -1 WHERE id < 50")
    hub.drain()
    hub.check()


def test_a_route_that_is_down(make_hub):
    """Nobody waits for it, and nothing is dropped that it still needs."""
    from harness.hub import Buffered
    hub = make_hub(Buffered, "sqlite", "postgres")
    hub.source.sql(T)
    hub.drain()
    with hub.down("postgres"), Writer(hub.source, write_t):
        for _ in range(2):
            tables, _ = routes_of(hub, "--route", "sqlite")
            assert tables["sqlite"]["result"] == "equal"
    tables, _ = routes_of(hub, "--route", "postgres")
    assert tables["postgres"]["result"] == "equal"
    hub.drain()
    hub.check()


def test_killed_behind_a_disk_buffer(make_hub):
    from harness.hub import Buffered
    hub = make_hub(Buffered, "sqlite", "postgres")
    hub.source.sql(T)
    hub.drain()
    with Writer(hub.source, write_t):
        # Its snapshot waits for this one, so that it surely is in the midst of it.
        with hub.source.transaction():
            hub.source.sql("INSERT INTO t VALUES (-1, 0)")
            process = hub.weir.start("verify", hub.file)
            wait_for(lambda: hub.source.one("SELECT count(*) FROM pg_replication_slots WHERE temporary"), 30, process.logs)
            process.kill()
    tables, _ = routes_of(hub)
    assert {table["result"] for table in tables.values()} == {"equal"}
    hub.drain()
    hub.check()


def test_refusals(weir, source, tmp_path, make_hub):
    """What cannot be compared is said before anything is made."""
    from harness.hub import Hub
    source.sql("CREATE TABLE t (id int PRIMARY KEY)")

    def refused(says, *words):
        ended = weir.run("verify", *words, code=2)
        assert says in ended.err and ended.out == "", ended
        assert source.slots() == [] and source.sql("SELECT * FROM pg_publication") == []
    refused('"stdout" cannot be compared', source.url, "stdout:")
    refused('"file" cannot be compared', source.url, f"file:{tmp_path}/out")
    refused("mode=history", source.url, f"sqlite:{tmp_path}/t.db?mode=history")
    refused("without copies", source.url + "?copy=false", f"sqlite:{tmp_path}/t.db")
    refused("takes a source and a sink", source.url)
    both = make_hub(Hub, "postgres", "history").file
    refused('route "history": ', both, "--route", "history")
    refused('no route "other"', both, "--route", "other")
    refused("has never run", both)


@pytest.mark.parametrize("buffer", ["memory", "disk"])
def test_routes_that_cannot_be_compared(make_hub, buffer):
    """The others are, and that is said of each."""
    from harness.hub import Buffered, Hub
    hub = make_hub(Buffered if buffer == "disk" else Hub, "file", "sqlite", "history")
    hub.source.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
    hub.drain()
    ended = hub.weir.run("verify", hub.file)
    assert ended.out.count("Equal.") == 1 and 'Not compared: a target of type "file" cannot be compared with its source.\n' in ended.out
    hub.targets["sqlite"].execute("DELETE FROM t WHERE id = 1")
    ended = hub.weir.run("verify", hub.file, "--format", "json", code=1)
    routes = {route["route"]: route for route in json.loads(ended.out)["pipelines"]}
    assert routes["sqlite"]["reason"] is None and routes["sqlite"]["tables"][0]["missing"] == 1
    assert "mode=history" in routes["history"]["reason"] and routes["history"]["tables"] == [] and routes["history"]["lsn"] is None
    assert '"file"' in routes["file"]["reason"]


def test_pipelines_that_cannot_be_compared(make_hub):
    from harness.hub import Hub
    hub = make_hub(Hub, "file", "history", "sqlite")
    hub.source.sql("CREATE TABLE t (id int PRIMARY KEY)")

    def of(**pipelines):
        text = "".join(f"  {name}:\n    from: {{ connection: source }}\n    to: [{', '.join(routes)}]\n" for name, routes in pipelines.items())
        head = hub.file.read_text().split("pipelines:")[0]
        hub.file.write_text(f"{head}pipelines:\n{text}")
    file, history = "{ connection: file }", "{ connection: history, mode: history }"
    of(one=[file, history])
    ended = hub.weir.run("verify", hub.file, code=2)
    assert 'no route of the pipeline "one" can be compared: "file": ' in ended.err and '"history": ' in ended.err and ended.out == ""
    of(one=[file], two=[history])
    assert "no pipeline of the project can be compared" in hub.weir.run("verify", hub.file, code=2).err
    of(one=[file], two=["{ connection: sqlite }"])
    hub.drain()
    ended = hub.weir.run("verify", hub.file)
    assert ended.out.count("Equal.") == 1 and ended.out.count("Not compared: ") == 1
    # Nor does one that fails keep the others from it.
    of(never=["{ connection: sqlite, name: new }"], two=["{ connection: sqlite }"])
    ended = hub.weir.run("verify", hub.file, code=2)
    assert ended.out.count("Equal.") == 1 and 'weir: pipeline "never": ' in ended.err and "has never run" in ended.err
    hub.targets["sqlite"].execute("INSERT INTO t VALUES (8)")
    assert ", 1 differ" in hub.weir.run("verify", hub.file, code=1).out


@pytest.mark.parametrize("sink", ["sqlite", "postgres"])
def test_it_has_never_run(pipeline):
    """A comparison begins nothing: neither slot nor publication, nor a file, a state, a table at the other end."""
    pipeline.source.sql(TWO)
    folder = sorted(pipeline.weir.folder.rglob("*"))
    ended = pipeline.weir.run("verify", pipeline.source.url, pipeline.target.url(), code=2)
    assert "has never run" in ended.err and "weir stream" in ended.err and ended.out == ""
    assert pipeline.source.slots() == [] and entries(pipeline.source) == []
    assert [path for path in sorted(pipeline.weir.folder.rglob("*")) if path not in folder and path.suffix not in (".out", ".err")] == []
    assert pipeline.target.count("public", "t") == 0
    pipeline.drain()
    # What is not this pipeline has not run, either.
    ended = pipeline.weir.run("verify", pipeline.source.url, pipeline.target.url(), "--name", "other", code=2)
    assert 'the pipeline "other" has never run' in ended.err and len(pipeline.source.slots()) == 1
    pipeline.verify()


def test_a_table_that_waits_for_its_first_copy(make_hub):
    """A verification that does not copy it leaves it waiting: nobody tells the route of it again."""
    from harness.hub import Buffered
    hub = make_hub(Buffered, "sqlite")
    hub.source.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late VALUES (7)")
    hub.drain()
    # As it is when the program ends between the announcement of a table, which the position is behind, and its copy.
    oid = hub.source.one("SELECT 'late'::regclass::oid")
    hub.targets["sqlite"].execute(
        "DROP TABLE late", f"DELETE FROM weir_checkpoint WHERE key = 'table:{oid}'",
        "INSERT OR REPLACE INTO weir_checkpoint SELECT pipeline, 'missing', 'yes' FROM weir_checkpoint WHERE key = 'position'")
    hub.source.sql("INSERT INTO t VALUES (2)")
    ended = hub.weir.run("verify", hub.file, code=2)
    assert "0 differ, and 1 could not be compared" in ended.out, ended
    hub.source.sql("INSERT INTO t VALUES (3)")
    hub.drain()
    hub.check()


@pytest.mark.parametrize("buffer", ["memory", "disk"])
def test_a_route_that_has_never_run(make_hub, buffer):
    """One that was added since. With a disk buffer the others can be compared."""
    from harness.hub import Buffered, Hub
    hub = make_hub(Buffered if buffer == "disk" else Hub, "sqlite", "postgres")
    hub.source.sql(TWO)
    hub.write(["sqlite"])
    hub.drain()
    hub.write(["sqlite", "postgres"])
    ended = hub.weir.run("verify", hub.file, code=2)
    assert 'route "postgres"' in ended.err and "has never run" in ended.err and ended.out == ""
    ended = hub.weir.run("verify", hub.file, "--route", "sqlite", code=0 if buffer == "disk" else 2)
    assert ("Equal." in ended.out) == (buffer == "disk")
    assert hub.targets["postgres"].count("public", "t") == 0
    hub.drain()
    hub.weir.run("verify", hub.file)


@pytest.mark.parametrize("sink", ["sqlite"])
def test_it_is_locked(pipeline, sink):
    """By somebody who cannot be asked to lend it."""
    pipeline.source.sql("CREATE TABLE t (id int PRIMARY KEY)")
    pipeline.drain()
    path = next((pipeline.weir.state / "weir").glob("*/lock"))
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(str(os.getpid()))
        lock.flush()
        ended = pipeline.weir.run("verify", pipeline.source.url, pipeline.target.url(), code=2)
    assert f"is locked by process {os.getpid()}" in ended.err
    pipeline.verify()


@pytest.mark.parametrize("sink", ["sqlite"])
def test_nothing_to_compare(pipeline, sink):
    pipeline.source.sql("CREATE TABLE t (id int PRIMARY KEY)")
    pipeline.drain()
    for only in ["other"], ["t", "public.tt"]:
        words = [word for pattern in only for word in ("--only", pattern)]
        ended = pipeline.weir.run("verify", pipeline.source.url, pipeline.target.url(), *words, code=2)
        assert f'matches --only "{only[-1]}"' in ended.err and ended.out == ""
    pipeline.source.sql("DROP TABLE t")
    ended = pipeline.weir.run("verify", pipeline.source.url, pipeline.target.url(), code=2)
    assert "there is no table to compare in the pipeline" in ended.err


# ---------------------------------------------------------------------------------------------
# Size
# ---------------------------------------------------------------------------------------------

MB = 1 << 20
PEAK = {"postgres": 40, "sqlite": 64, "duckdb": 160}  # MB; DuckDB itself sorts in up to 64
REPAIRS = 64  # more: the rows of one round


@pytest.mark.memory
@pytest.mark.parametrize("rows", [30_000, pytest.param(1_000_000, marks=pytest.mark.soak, id="million")])
@pytest.mark.parametrize("sink", SQL_SINKS)
def test_many_rows(pipeline, tmp_path, sink, rows):
    """Memory is bounded when everything is equal, and when nothing is. Prints how long it takes, and a count(*)."""
    weir = pipeline.weir = Weir(tmp_path, RELEASE)
    pipeline.source.sql(f"""CREATE TABLE t (id int PRIMARY KEY, a int, b numeric(9,2), c timestamptz, v text);
        INSERT INTO t SELECT g, g % 100, g / 4.0, now() - g * interval '1 s', 'row ' || g FROM generate_series(1, {rows}) g""")
    pipeline.drain()
    began = time.monotonic()
    pipeline.source.one("SELECT count(*) FROM t")
    counted = time.monotonic() - began

    def run(*options, code):
        process = weir.start("verify", "--format", "json", pipeline.source.url, pipeline.target.url(), *options)
        peak, ended = process.peak(180)
        assert ended.code == code, ended
        table = json.loads(ended.out)["pipelines"][0]["tables"][0]
        print(f"\n{sink}: {table['ms'] / 1000:.1f} s, {peak / MB:.0f} MB; count(*): {counted:.1f} s")
        allowed = PEAK[sink] + (REPAIRS if options else 0)
        assert peak < allowed * MB, f"{peak / MB:.0f} MB"
        assert table["source_rows"] == rows
        return table
    assert run(code=0)["result"] == "equal"
    pipeline.target.execute("UPDATE t SET v = v || '!'")
    table = run(code=1)
    assert counts(table) == (0, 0, rows) and len(table["differences"]) == 20
    pipeline.target.execute("UPDATE t SET v = 'row ' || id", "DELETE FROM t WHERE id % 10 = 0", "UPDATE t SET a = -1 WHERE id % 100 = 1")
    table = run("--repair", code=0)
    assert counts(table) == (rows // 10, 0, rows // 100) and table["written"] == rows // 10 + rows // 100
