"""weir check, for every sink: what it says is true, and nothing is changed by it."""
import contextlib
import json

import pytest

from harness.targets import SINKS, SQL_SINKS, make_target

TABLES = """
    CREATE TYPE mood AS ENUM ('good', 'bad');
    CREATE TABLE kinds (id bigint PRIMARY KEY, n numeric(12,2), t text NOT NULL, j jsonb, b bytea, at timestamptz,
                        f float8, a int[], m mood, i interval, u uuid, ok boolean);
    INSERT INTO kinds (id, t) SELECT g, 'x' FROM generate_series(1, 10) g;
    CREATE TABLE nokey (v text); INSERT INTO nokey VALUES ('x');
"""
JSON_TYPES = "number|number|string|any JSON value|string|string|number|string|string|string|string|boolean"
TYPES = {  # of the columns of kinds
    "sqlite": "INTEGER|TEXT|TEXT|TEXT|BLOB|TEXT|REAL|TEXT|TEXT|TEXT|TEXT|BOOLEAN",
    "duckdb": "BIGINT|DECIMAL(12,2)|VARCHAR|JSON|BLOB|TIMESTAMP WITH TIME ZONE|DOUBLE|VARCHAR|VARCHAR|INTERVAL|UUID|BOOLEAN",
    "postgres": "bigint|numeric(12,2)|text|jsonb|bytea|timestamp with time zone|double precision|integer[]|text|interval|uuid|"
                "boolean",
    "file": JSON_TYPES,
    "stdout": JSON_TYPES,
    "null": "|".join(["nothing"] * 12),
}
GUARANTEE = {"stdout": "at-least-once", "null": "none"}

# Whatever is made or altered in a database has a row in one of these, with the transaction that wrote it.
CATALOGS = ("pg_class", "pg_type", "pg_namespace", "pg_proc", "pg_constraint", "pg_trigger", "pg_rewrite", "pg_attrdef",
            "pg_publication", "pg_publication_rel", "pg_event_trigger", "pg_extension", "pg_authid", "pg_database")


def catalogs(database):
    found = {name: database.sql(f"SELECT oid, xmin::text FROM {name} ORDER BY oid") for name in CATALOGS}
    found["columns"] = database.sql("SELECT attrelid, attnum, xmin::text FROM pg_attribute ORDER BY 1, 2")
    found["indexes"] = database.sql("SELECT indexrelid, xmin::text FROM pg_index ORDER BY 1")
    found["slots"] = database.sql("SELECT slot_name, plugin, restart_lsn::text, confirmed_flush_lsn::text "
                                  "FROM pg_replication_slots ORDER BY 1")
    for schema, table in database.sql("SELECT schemaname, tablename FROM pg_tables WHERE schemaname !~ '^pg_' AND "
                                      "schemaname <> 'information_schema' ORDER BY 1, 2"):
        found[table] = database.sql(f'SELECT xmin::text, ctid::text FROM "{schema}"."{table}" ORDER BY 2')
    return found


def types_made(target):
    """What the columns of kinds have become."""
    if target.kind == "postgres":
        return [column.declared for column in target.read("public", "kinds").columns]
    query = {"sqlite": "SELECT type FROM pragma_table_info('kinds') ORDER BY cid",
             "duckdb": "SELECT data_type FROM duckdb_columns() WHERE table_name = 'kinds' ORDER BY column_index"}
    with contextlib.closing(target.connect()) as connection:
        return [row[0] for row in connection.execute(query[target.kind]).fetchall()]


@pytest.fixture
def checked(weir, source, make_database, tmp_path):
    """check(sink, *options): the report, after everything was found as it was before."""
    targets = {}

    def everything(target):
        files = {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")
                 if not path.name.startswith("run") and not path.name.endswith(("-wal", "-shm"))}  # a reader's
        return catalogs(source), catalogs(target.database) if target and target.kind == "postgres" else None, files

    def check(sink, *options, code=0):
        if sink not in targets:
            targets[sink] = make_target(sink, tmp_path, make_database) if sink in SINKS else None
        target = targets[sink]
        url = target.url() if target else f"{sink}:"
        before = everything(target)
        text = weir.run("check", source.url, url, *options, code=code).out
        report = json.loads(weir.run("check", "--format", "json", source.url, url, *options, code=code).out)
        assert everything(target) == before, "check has changed something"
        (found,) = report["pipelines"]
        assert found["ready"] == report["ready"] == (code == 0)
        assert f"guarantee  {found['guarantee']}\n" in text and found["name"] in text
        assert ("Ready." in text) == (code == 0)
        return found, text, target, url
    return check


@pytest.mark.parametrize("sink", TYPES)
def test_every_sink(checked, weir, source, sink):
    source.sql(TABLES)
    for state in ("new", "made"):
        found, text, target, url = checked(sink)
        assert found["guarantee"] == GUARANTEE.get(sink, "exactly-once")
        (kinds,) = [table for table in found["tables"] if table["name"] == "kinds"]
        assert kinds["rows"] in (None, 10) and kinds["key"] == ["id"]
        assert "|".join(column["target_type"] for column in kinds["columns"]) == TYPES[sink], state
        lines = [line.split() for line in text.splitlines()]
        for column in kinds["columns"]:  # the same for people
            assert [column["name"], *column["type"].split(), *column["target_type"].split()] == \
                next(line for line in lines if line[:1] == [column["name"]])[:1 + len(
                    (column["type"] + " " + column["target_type"]).split())]
        exists = "will be made" not in "".join(found["facts"])
        assert exists == (state == "made"), found["facts"]
        weir.drain(source.url, url)
        if sink in SQL_SINKS:
            assert "|".join(types_made(target)) == TYPES[sink]


@pytest.mark.sql
def test_a_target_that_does_not_fit(checked, source, sink):
    source.sql(TABLES)
    _, _, target, _ = checked(sink)
    target.execute("CREATE TABLE kinds (id bigint PRIMARY KEY, other text)")
    found, text, _, _ = checked(sink, code=2)
    (must,) = [finding for finding in found["findings"] if finding["level"] == "must"]
    assert "kinds" in must["what"] and must["mend"], must
    assert "must be mended" in text and must["what"] in text


@pytest.mark.parametrize("sink", ["stdout", "null"])
def test_nothing_to_send(checked, source, sink):
    source.sql(TABLES)
    found, _, _, _ = checked(sink, "--table", "kinds")
    assert [table["name"] for table in found["tables"]] == ["kinds"]
    found, _, _, _ = checked(sink, "--table", "kidns", code=2)
    assert any("kidns" in finding["what"] for finding in found["findings"] if finding["level"] == "must"), found
