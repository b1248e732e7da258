"""Tables that change their shape while they are streamed, and while weir is away."""
import pytest

from harness.load import Writer
from harness.targets import SINKS
from harness.wait import wait_for

everywhere = pytest.mark.parametrize("sink", SINKS)
pytestmark = [pytest.mark.schema, pytest.mark.sql]

TABLE = """
    CREATE TABLE t (id int PRIMARY KEY, a text, b int DEFAULT 5, n numeric(10,2), at timestamptz);
    INSERT INTO t SELECT g, 'a' || g, g, g * 1.25, '2026-01-01Z'::timestamptz + g * interval '1 hour'
      FROM generate_series(1, 60) g"""

# name -> statements; each is a transaction. Rows from before the change stay, are updated and deleted
# afterwards: each of them has to be right.
CHANGES = {
    "add": ["ALTER TABLE t ADD c int", "INSERT INTO t (id, c) VALUES (100, 7)", "UPDATE t SET c = 1 WHERE id < 5",
            "DELETE FROM t WHERE id = 6"],
    "add_several_types": [
        "ALTER TABLE t ADD c1 boolean, ADD c2 bytea, ADD c3 jsonb, ADD c4 int[], ADD c5 float8, ADD c6 date",
        r"""INSERT INTO t (id, c1, c2, c3, c4, c5, c6)
             VALUES (100, true, '\x00ff', '{"a": null}', '{1,null}', 'NaN', '0044-03-15 BC')"""],
    "add_with_default": ["ALTER TABLE t ADD c text NOT NULL DEFAULT E'it''s \"x\" \\\\ \\n y'",
                         "UPDATE t SET b = 0 WHERE id % 2 = 0", "INSERT INTO t (id) VALUES (100)"],
    "add_with_defaults_of_types": [
        r"ALTER TABLE t ADD c1 boolean DEFAULT true, ADD c2 bytea DEFAULT '\x00ff', ADD c3 float8 DEFAULT 0.1, "
        "ADD c4 numeric DEFAULT 12.50, ADD c5 timestamptz DEFAULT '2026-01-01 00:00+03', ADD c6 bigint DEFAULT -5, "
        "ADD c7 int[] DEFAULT '{1,NULL}', ADD c8 date DEFAULT 'infinity', ADD c9 interval DEFAULT '1 mon 2:00'",
        "INSERT INTO t (id) VALUES (100)"],
    "add_and_use_in_one_transaction": [
        "BEGIN; INSERT INTO t (id, a) VALUES (100, 'before'); ALTER TABLE t ADD c text DEFAULT 'd';"
        "UPDATE t SET c = 'set' WHERE id = 100; INSERT INTO t (id, c) VALUES (101, NULL); COMMIT"],
    "default_changed_later": ["ALTER TABLE t ADD c int DEFAULT 1", "ALTER TABLE t ALTER c SET DEFAULT 2",
                              "INSERT INTO t (id) VALUES (100)", "ALTER TABLE t ALTER c DROP DEFAULT",
                              "INSERT INTO t (id) VALUES (101)"],
    "volatile_default": ["ALTER TABLE t ADD c uuid DEFAULT gen_random_uuid()", "INSERT INTO t (id) VALUES (100)"],
    "drop": ["ALTER TABLE t DROP a", "INSERT INTO t (id, b) VALUES (100, 1)", "UPDATE t SET b = -1 WHERE id = 3"],
    "drop_all_but_key": ["ALTER TABLE t DROP a, DROP b, DROP n, DROP at", "INSERT INTO t VALUES (100)"],
    "rename": ["ALTER TABLE t RENAME a TO \"Ä new\"", "INSERT INTO t (id, \"Ä new\") VALUES (100, 'x')",
               "UPDATE t SET \"Ä new\" = 'y' WHERE id = 1"],
    "rename_key": ["ALTER TABLE t RENAME id TO key", "INSERT INTO t (key) VALUES (100)",
                   "UPDATE t SET key = 200 WHERE key = 5", "DELETE FROM t WHERE key = 6"],
    "exchange_names": ["BEGIN; ALTER TABLE t RENAME a TO x; ALTER TABLE t RENAME b TO a; ALTER TABLE t RENAME x TO b;"
                       "COMMIT", "INSERT INTO t (id, a, b) VALUES (100, 1, 'text')"],
    "rotate_names": ["ALTER TABLE t ADD c text DEFAULT 'c'",
                     "BEGIN; ALTER TABLE t RENAME a TO x; ALTER TABLE t RENAME b TO a; ALTER TABLE t RENAME c TO b;"
                     "ALTER TABLE t RENAME x TO c; COMMIT", "UPDATE t SET b = 'moved' WHERE id = 1"],
    "drop_and_add_same_name": ["BEGIN; ALTER TABLE t DROP a; ALTER TABLE t ADD a text; COMMIT",
                               "INSERT INTO t (id, a) VALUES (100, 'new')"],
    "drop_and_add_other_type": ["BEGIN; ALTER TABLE t DROP a; ALTER TABLE t ADD a int DEFAULT 9; COMMIT",
                                "INSERT INTO t (id, a) VALUES (100, 1)", "UPDATE t SET b = 1 WHERE id = 2"],
    "drop_and_rename_into": ["BEGIN; ALTER TABLE t DROP a; ALTER TABLE t RENAME b TO a; COMMIT",
                             "UPDATE t SET a = 77 WHERE id = 2"],
    "replace_column": ["INSERT INTO t (id, a) VALUES (100, 'before')", "ALTER TABLE t ADD a_new text",
                       "UPDATE t SET a_new = 'new ' || id WHERE id < 30", "ALTER TABLE t DROP a",
                       "ALTER TABLE t RENAME a_new TO a", "INSERT INTO t (id, a) VALUES (101, 'after')"],
    "replace_column_in_one_transaction": [
        "BEGIN; INSERT INTO t (id, a) VALUES (100, 'before'); ALTER TABLE t ADD a_new text;"
        "UPDATE t SET a_new = 'new ' || id WHERE id < 30; ALTER TABLE t DROP a;"
        "ALTER TABLE t RENAME a_new TO a; INSERT INTO t (id, a) VALUES (101, 'after'); COMMIT"],
    "exchange_names_between_changes": [
        "INSERT INTO t (id, a, b) VALUES (100, 'x', 1)",
        "BEGIN; ALTER TABLE t RENAME a TO x; ALTER TABLE t RENAME b TO a; ALTER TABLE t RENAME x TO b; COMMIT",
        "INSERT INTO t (id, a, b) VALUES (101, 1, 'x')"],
    "drop_and_rename_in_one_transaction": [
        "BEGIN; UPDATE t SET b = b + 1 WHERE id < 5; ALTER TABLE t DROP a; ALTER TABLE t RENAME b TO y; COMMIT",
        "INSERT INTO t (id, y) VALUES (100, 1)"],
    "rename_all_and_drop": [
        "BEGIN; UPDATE t SET a = 'x', b = 1 WHERE id = 1; ALTER TABLE t RENAME a TO a2; ALTER TABLE t RENAME b TO b2;"
        "ALTER TABLE t RENAME n TO n2; ALTER TABLE t DROP at; COMMIT", "UPDATE t SET b2 = 2 WHERE id = 2"],
    "come_and_go_and_come": ["ALTER TABLE t ADD c int", "INSERT INTO t (id, c) VALUES (100, 1)", "ALTER TABLE t DROP c",
                             "ALTER TABLE t ADD c int DEFAULT 9", "INSERT INTO t (id, c) VALUES (101, 2)"],
    "come_and_go_and_come_as_another": [
        "ALTER TABLE t ADD c bigint", "INSERT INTO t (id, c) VALUES (100, 1)", "ALTER TABLE t DROP c",
        "ALTER TABLE t ADD c text DEFAULT 'x'", "INSERT INTO t (id, c) VALUES (101, 'y')"],
    "generated": ["ALTER TABLE t ADD g int GENERATED ALWAYS AS (id * 2) STORED, ADD c int",
                  "INSERT INTO t (id, c) VALUES (100, 1)", "ALTER TABLE t ALTER g DROP EXPRESSION",
                  "INSERT INTO t (id, g) VALUES (101, 2)"],
    "wider_integer": ["ALTER TABLE t ALTER b TYPE bigint", "INSERT INTO t (id, b) VALUES (100, 9223372036854775807)"],
    "number_to_text": ["ALTER TABLE t ALTER b TYPE text", "UPDATE t SET b = 'no number' WHERE id = 2"],
    "text_to_number": ["ALTER TABLE t ALTER a TYPE int USING substr(a, 2)::int", "UPDATE t SET a = 1 WHERE id = 2"],
    "scale": ["ALTER TABLE t ALTER n TYPE numeric(14,4)", "UPDATE t SET n = 1.0001 WHERE id = 2"],
    "narrower_scale": ["ALTER TABLE t ALTER n TYPE numeric(10,1)", "INSERT INTO t (id, n) VALUES (100, 0.5)"],
    "expression": ["ALTER TABLE t ALTER b TYPE bigint USING b * 1000 - id", "UPDATE t SET a = 'x' WHERE id = 3"],
    "no_time_zone": ["ALTER TABLE t ALTER at TYPE timestamp USING at AT TIME ZONE 'UTC'",
                     "INSERT INTO t (id, at) VALUES (100, '1999-12-31 23:59:59.999999')"],
    "shorter_text": ["ALTER TABLE t ALTER a TYPE varchar(3)", "INSERT INTO t (id, a) VALUES (100, 'abc')"],
    "other_key": ["BEGIN; ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ALTER b SET NOT NULL;"
                  "ALTER TABLE t ADD PRIMARY KEY (b); COMMIT", "UPDATE t SET id = 1 WHERE b = 7",
                  "DELETE FROM t WHERE b = 8", "INSERT INTO t (id, b) VALUES (1, 100)"],
    "wider_key": ["BEGIN; UPDATE t SET a = 'k'; ALTER TABLE t DROP CONSTRAINT t_pkey;"
                  "ALTER TABLE t ADD PRIMARY KEY (a, id); COMMIT",
                  "UPDATE t SET a = 'l' WHERE id = 7", "INSERT INTO t (id, a) VALUES (7, 'm')"],
    "not_null": ["UPDATE t SET a = 'x'", "ALTER TABLE t ALTER a SET NOT NULL", "INSERT INTO t (id, a) VALUES (100, 'y')",
                 "ALTER TABLE t ALTER a DROP NOT NULL", "INSERT INTO t (id, a) VALUES (101, NULL)"],
    "rename_table": ["ALTER TABLE t RENAME TO \"other name\"", "INSERT INTO \"other name\" (id) VALUES (100)",
                     "DELETE FROM \"other name\" WHERE id = 1"],
    "many_at_once": ["INSERT INTO t (id) VALUES (200)", "ALTER TABLE t ADD c int DEFAULT 3",
                     "UPDATE t SET c = id WHERE id < 10", "ALTER TABLE t DROP b", "INSERT INTO t (id, c) VALUES (201, 1)",
                     "ALTER TABLE t RENAME a TO b", "UPDATE t SET b = 'later' WHERE id = 201",
                     "ALTER TABLE t ALTER c TYPE text", "INSERT INTO t (id, c) VALUES (202, 'text')",
                     "TRUNCATE t", "INSERT INTO t (id, b, c) VALUES (1, 'b', 'c')"],
}


@pytest.fixture(params=list(CHANGES))
def statements(request):
    return CHANGES[request.param]


@pytest.mark.parametrize("sink", ["sqlite", "file"])
def test_one_change_while_weir_is_away(pipeline, statements):
    """All of it is decoded later, with what the catalog said at each moment."""
    pipeline.source.sql(TABLE)
    pipeline.drain()
    for statement in statements:
        pipeline.source.sql(statement)
    pipeline.drain()
    pipeline.check()


@pytest.fixture
def many(pipeline):
    """Every change has a table of its own."""
    names = [name for name in CHANGES if name != "rename_table"]
    for name in names:
        pipeline.source.sql(TABLE.replace(" t ", f" {name} "))

    def change(after_each=lambda: None):
        for name in names:
            for statement in CHANGES[name]:
                pipeline.source.sql(in_table(statement, name))
            after_each()
    return change


@everywhere
def test_all_changes_while_weir_is_away(pipeline, many):
    pipeline.drain()
    many()
    pipeline.drain()
    pipeline.check()


@everywhere
def test_all_changes_live(pipeline, many):
    process = pipeline.start()
    pipeline.settle(process)
    many(process.must_live)
    pipeline.settle(process)
    ended = process.stop()
    assert ended.code == 0, ended
    pipeline.drain()  # the copies of rewritten tables, as far as they were not done
    pipeline.check()


def in_table(statement, name):
    for before, after in (("TABLE ", " "), ("INTO ", " "), ("UPDATE ", " "), ("FROM ", " "), ("TRUNCATE ", ";")):
        statement = f"{statement};".replace(f"{before}t{after}", f"{before}{name}{after}")
    return statement.replace("CONSTRAINT t_pkey", f"CONSTRAINT {name}_pkey").replace("TRUNCATE t;", f"TRUNCATE {name};")


@everywhere
def test_live_rename_of_a_table(pipeline):
    pipeline.source.sql(TABLE)
    process = pipeline.start()
    pipeline.settle(process)
    for statement in CHANGES["rename_table"]:
        pipeline.source.sql(statement)
        pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.drain()
    pipeline.check()


def test_killed_around_a_change(pipeline):
    pipeline.source.sql(TABLE)
    pipeline.drain()
    for n in range(6):
        process = pipeline.start()
        pipeline.source.sql(f"ALTER TABLE t ADD c{n} int DEFAULT {n}")
        pipeline.source.sql(f"UPDATE t SET c{n} = -1 WHERE id % {n + 2} = 0")
        if n % 2 == 0:
            pipeline.settle(process)
        process.kill()
        pipeline.source.sql(f"ALTER TABLE t RENAME c{n} TO d{n}")
    # A change of names is told with the next row.
    pipeline.source.sql("INSERT INTO t (id) VALUES (100)")
    pipeline.drain()
    pipeline.check()


@everywhere
def test_rewritten_to_the_same_type(pipeline):
    """Nothing in the stream says so, and the table looks as before."""
    pipeline.source.sql(TABLE)
    pipeline.drain()
    pipeline.source.sql("ALTER TABLE t ALTER b TYPE int USING b * 1000 - id")
    pipeline.source.sql("UPDATE t SET a = 'x' WHERE id = 3")
    pipeline.drain()
    pipeline.check()


def test_moved_but_not_rewritten(pipeline):
    """What puts a table into another file and leaves the values alone is no reason to copy it again."""
    pipeline.source.sql(TABLE)
    pipeline.drain()
    for move in ("VACUUM FULL t", "CLUSTER t USING t_pkey", "ALTER TABLE t ADD COLUMN more int"):
        pipeline.source.sql(move)
        pipeline.source.sql("UPDATE t SET a = a || 'x' WHERE id = 3")
        ended = pipeline.drain()
        assert "rows_copied=0" in ended.err, ended
    pipeline.check()


@pytest.mark.parametrize("sink", ["sqlite", "file"])
@pytest.mark.parametrize("live", [True, False], ids=["live", "away"])
def test_generated_no_more(pipeline, live):
    """Its values were there before it was published, and no change tells them."""
    pipeline.source.sql("CREATE TABLE t (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id * 2) STORED, a int);"
                        "INSERT INTO t (id, a) SELECT g, g FROM generate_series(1, 10) g")
    pipeline.drain()
    process = pipeline.start() if live else None
    if live:
        process.expect("streaming")
    pipeline.source.sql("ALTER TABLE t ALTER g DROP EXPRESSION")
    pipeline.source.sql("INSERT INTO t VALUES (11, 5, 5)")
    if live:
        pipeline.settle(process)
        assert process.stop().code == 0
    pipeline.drain()
    pipeline.check()


@pytest.mark.tsan
@pytest.mark.parametrize("sink", ["postgres"])
def test_new_table_is_copied_while_others_go_on(pipeline):
    """Its rows are on their way, and those of others, committed later, are in the target before them. (The sinks with one
    writer take them between two transactions: test_a_late_table_does_not_hold_up_a_start.)"""
    target = pipeline.target.database
    pipeline.source.sql(TABLE)
    target.sql("CREATE TABLE late (id int PRIMARY KEY, v text);"
               "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
               "PERFORM pg_catalog.pg_advisory_xact_lock_shared(1); RETURN NULL; END $$;"
               "CREATE TRIGGER wait BEFORE INSERT ON late FOR EACH STATEMENT EXECUTE FUNCTION wait();"
               "ALTER TABLE late ENABLE ALWAYS TRIGGER wait")
    process = pipeline.weir.start("stream", pipeline.source.url + "?refresh=200ms", pipeline.target.url())
    pipeline.settle(process)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
    with target.server.connect(target.name) as holder:
        holder.execute("SELECT pg_advisory_lock(1)")
        pipeline.source.sql("CREATE TABLE late (id int PRIMARY KEY, v text);"
                            "INSERT INTO late SELECT g, 'v' FROM generate_series(1, 500) g")
        wait_for(lambda: target.one(waiting) == 1, 30, lambda: f"the copy has begun\n{process.logs()}")
        for n in range(3):
            pipeline.source.sql("INSERT INTO t (id, a) VALUES (%s, 'meanwhile')", 1000 + n)
            pipeline.source.sql("UPDATE late SET v = 'changed' WHERE id = %s", n + 1)
            wait_for(lambda: target.one("SELECT count(*) FROM t WHERE id >= 1000") == n + 1, 30,
                     lambda: f"the others go on\n{process.logs()}")
        assert target.one(waiting) == 1 and target.one("SELECT count(*) FROM late") == 0, "it was not copied all the time"
        process.must_live()
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.drain()
    pipeline.check()


def test_new_tables_are_copied(pipeline):
    pipeline.source.sql(TABLE)
    source = pipeline.source.url + "?refresh=200ms"
    process = pipeline.weir.start("stream", source, pipeline.target.url())
    pipeline.settle(process)
    for n in range(3):
        pipeline.source.sql(f"CREATE TABLE late{n} (id int PRIMARY KEY, v text);"
                            f"INSERT INTO late{n} SELECT g, 'v' FROM generate_series(1, 500) g")
        pipeline.source.sql("INSERT INTO t (id, a) VALUES (%s, 'meanwhile')", 1000 + n)
    wait_for_tables(pipeline, process, [f"late{n}" for n in range(3)])
    pipeline.source.sql("UPDATE late1 SET v = 'changed' WHERE id % 2 = 0; DELETE FROM late2 WHERE id > 400")
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.weir.drain(source, pipeline.target.url())
    pipeline.check()


def test_table_added_to_ones_own_publication(pipeline):
    pipeline.source.sql(TABLE + "; CREATE TABLE u (id int PRIMARY KEY, v text); INSERT INTO u VALUES (1, 'x');"
                        "CREATE PUBLICATION mine FOR TABLE t")
    ends = pipeline.source.url + "?refresh=200ms", pipeline.target.url(), "--publication", "mine"
    process = pipeline.weir.start("stream", *ends)
    pipeline.settle(process)
    pipeline.source.sql("INSERT INTO u VALUES (2, 'before')")
    pipeline.source.sql("ALTER PUBLICATION mine ADD TABLE u")
    pipeline.source.sql("INSERT INTO u VALUES (3, 'after')")
    wait_for_tables(pipeline, process, ["u"])
    pipeline.source.sql("INSERT INTO u VALUES (4, 'later')")
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.weir.drain(*ends)
    pipeline.check()


def test_table_added_while_weir_is_away(pipeline):
    pipeline.source.sql(TABLE)
    pipeline.drain()
    pipeline.source.sql("CREATE TABLE late (id int PRIMARY KEY, v text);"
                        "INSERT INTO late SELECT g, 'v' FROM generate_series(1, 500) g")
    pipeline.source.sql("INSERT INTO t (id) VALUES (1000)")
    pipeline.drain()
    pipeline.source.sql("UPDATE late SET v = 'w' WHERE id = 1")
    pipeline.drain()
    pipeline.check()


def wait_for_tables(pipeline, process, tables):
    """Their rows are there. A target that cannot be read meanwhile gets the rest from the next run."""
    def copied():
        process.must_live()
        return all(pipeline.target.count("public", t) > 0 for t in tables)
    if pipeline.target.live:
        wait_for(copied, 30, lambda: f"rows of {tables} are in the target:\n{process.logs()[-3000:]}")


@everywhere
def test_truncated_all_the_time(pipeline):
    """Who truncates a table between every snapshot and the look into it holds up the copy of that table alone."""
    source = pipeline.source
    stages = [f"stage{n}" for n in range(5)]  # one of them will be met
    source.sql("".join(f"CREATE TABLE {stage} (id int PRIMARY KEY, v text);" for stage in stages) +
               "CREATE TABLE zebra AS SELECT g AS id, 'copied' AS v FROM generate_series(1, 500) g;"
               "ALTER TABLE zebra ADD PRIMARY KEY (id)")

    def fill_anew(connection, n):
        for stage in stages:
            connection.execute(f"TRUNCATE {stage}; INSERT INTO {stage} SELECT g, 'round {n}' FROM generate_series(1, 5) g")
    with Writer(source, fill_anew) as writer:
        wait_for(lambda: writer.rounds > 3, 10, "the tables are being truncated")
        process = pipeline.start()
        process.expect("it is tried again, beside the stream")
        source.sql("INSERT INTO zebra VALUES (501, 'streamed')")
        pipeline.settle(process)
        assert "retrying" not in process.logs(), process.logs()
    wait_for_tables(pipeline, process, stages)
    source.sql("INSERT INTO zebra VALUES (502, 'streamed')")
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.drain()
    pipeline.check()
