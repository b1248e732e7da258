"""The comparator must find exactly what is wrong; otherwise no other test means anything."""
import sqlite3

import pytest

from harness.compare import compare_table, differences, interval, read_postgres, stamp
from harness.targets import Target, make_target

pytestmark = pytest.mark.harness
TABLE = """
    CREATE TABLE t (id int PRIMARY KEY, v text, n numeric(8,2), f real, b bytea, at timestamptz, i interval,
                    j jsonb);
    INSERT INTO t SELECT g, 'v' || g, g, g / 3.0, decode(md5(g::text), 'hex'), now(), '1 mon 2 days 3:4:5', '{"a": 1}'
    FROM generate_series(1, 50) g;
    CREATE TABLE bag (v text, n int);
    INSERT INTO bag SELECT 'same', 1 FROM generate_series(1, 3); INSERT INTO bag VALUES (NULL, NULL);
"""


class Fake(Target):
    """A target that holds what the source holds, as that sink stores it."""

    def __init__(self, kind, database):
        self.kind, self.database, self.spoil = kind, database, lambda table: None

    def read(self, schema, table, source):
        found = read_postgres(self.database.connection, schema, table)
        if self.kind != "postgres":
            for row in found.rows:
                for i, column in enumerate(found.columns):
                    row[i] = self.store(column, row[i])
        self.spoil(found)
        return found

    def store(self, column, text):
        if text is None:
            return None
        if self.kind in ("sqlite", "duckdb") and column.kind == "bytea":
            return bytes.fromhex(text[2:])
        if self.kind == "sqlite":
            if column.kind == "integer":
                return int(text)
            if column.kind == "real":
                return float(text)
        if self.kind == "duckdb" and column.kind == "interval":
            return text.replace("mon", "month")
        return text


@pytest.fixture
def fake(source, sink):
    source.sql(TABLE)
    return source, Fake(sink, source)


def test_equal_is_equal(fake):
    source, target = fake
    assert differences(source, target) == []


@pytest.mark.parametrize("column", range(1, 8))
def test_one_wrong_value(fake, column):
    source, target = fake

    def spoil(table):
        if len(table.columns) > 2:
            row = next(r for r in table.rows if str(r[0]) == "17")
            wrong = {1: "v17 ", 2: "17.0", 3: "5.666667", 4: b"\0", 5: "2000-01-01 00:00:00+00",
                     6: "1 mon 2 days 03:04:06", 7: '{"a":1}'}[column]
            if column == 4 and target.kind in ("postgres", "file"):
                wrong = "\\x00"
            if column == 3 and target.kind == "sqlite":
                wrong = 5.666667
            row[column] = wrong
    target.spoil = spoil
    lines = differences(source, target)
    assert len(lines) == 1 and "row (17,)" in lines[0].replace("'", "") and \
        f"column {'id v n f b at i j'.split()[column]} " in lines[0], lines


def test_null_is_not_empty(fake):
    source, target = fake
    target.spoil = lambda table: table.rows[3].__setitem__(1, None if len(table.columns) > 2 else "")
    lines = differences(source, target)
    assert len([x for x in lines if "public.t" in x]) == 1, lines
    # In the table without a key the row with '' is too many and the other one missing.
    assert len([x for x in lines if "public.bag" in x]) == 2, lines


def test_a_row_less_and_a_row_more(fake):
    source, target = fake

    def spoil(table):
        gone = table.rows.pop(0)
        if len(table.columns) > 2:
            table.rows.append(["999" if isinstance(gone[0], str) else 999, *gone[1:]])
            table.rows.append(list(table.rows[5]))
    target.spoil = spoil
    lines = differences(source, target)
    assert len(lines) == 4, lines
    assert any("bag" in x and "1 × row" in x and "missing" in x for x in lines)
    assert any("(1,)" in x.replace("'", "") and "missing" in x for x in lines)
    assert any("(999,)" in x.replace("'", "") and "should not be there" in x for x in lines)
    assert any("is there 2 times" in x for x in lines)


def test_columns_and_tables_that_are_not_there(fake):
    source, target = fake

    def spoil(table):
        if len(table.columns) > 2:
            table.columns.pop()
            for row in table.rows:
                row.pop()
    target.spoil = spoil
    assert differences(source, target) == ["public.t: columns differ: missing ['j'], too many []"]
    target.read = lambda *_: None
    assert len(differences(source, target)) == 2


def test_types_in_sqlite_are_looked_at(source, tmp_path):
    """A number stored as text is not a number."""
    source.sql("CREATE TABLE n (id int PRIMARY KEY, f float8); INSERT INTO n VALUES (1, 2)")
    target = make_target("sqlite", tmp_path)
    with sqlite3.connect(target.path) as db:
        db.execute("CREATE TABLE n (id INTEGER, f)")
        db.execute("INSERT INTO n VALUES (1, '2')")
    db.close()
    assert len(differences(source, target)) == 1


def test_intervals_and_dates():
    assert interval("-1 years -2 mons +3 days -04:05:06.7") == (-14, 3, -14706700000)
    assert interval("1 year 2 months -3 days 00:00:00.5") == (14, -3, 500000)
    assert interval("infinity") == "infinity"
    assert stamp("0044-03-15 (BC) 12:00:00+00") == stamp("0044-03-15 12:00:00+00 BC")
    assert stamp("0044-03-15 12:00:00+00") != stamp("0044-03-15 12:00:00+00 BC")
    assert stamp("infinity") == "infinity"


def test_replay_refuses_what_no_file_may_have(tmp_path):
    from harness.events import Replay
    shape = ('{"op":"schema","schema":"s","table":"t","lsn":"0/1","ordinal":0,"relation_oid":1,"columns":[{"name":"id","attnum":1,"type":'
             '"integer"},{"name":"j","attnum":2,"type":"json"}],"key_columns":["id"]}')
    insert = '{"op":"insert","schema":"s","table":"t","lsn":"0/%X","ordinal":%d,"new":{"id":%d,"j": {"a" : 1.50} }}'
    file = tmp_path / "f"

    def replay(*lines, end="\n"):
        file.write_text("\n".join(lines) + end)
        return Replay(file)

    good = replay(shape, insert % (5, 1, 1), insert % (5, 2, 2)).table("s", "t")
    assert good.rows == [["1", ' {"a" : 1.50} '], ["2", ' {"a" : 1.50} ']]
    for lines, end in (((shape, insert % (5, 1, 1)), ""), ((shape, insert % (5, 1, 1), insert % (5, 1, 2)), "\n"),
                       ((shape, insert % (5, 1, 1), insert % (5, 2, 1)), "\n"),
                       ((insert % (5, 1, 1),), "\n"), ((shape, "{"), "\n")):
        with pytest.raises((AssertionError, IndexError)):
            replay(*lines, end=end)


def test_compare_looks_at_duplicates_of_a_bag(source):
    source.sql("CREATE TABLE bag (v int); INSERT INTO bag VALUES (1), (1)")
    table = read_postgres(source.connection, "public", "bag")
    other = read_postgres(source.connection, "public", "bag")
    other.rows.append(["1"])
    assert compare_table("bag", table, table, "postgres") == []
    assert len(compare_table("bag", table, other, "postgres")) == 1
