"""What the SQL sinks promise about rows and copies that are in the target already."""
import pytest

from harness.wait import wait_for

pytestmark = [pytest.mark.errors, pytest.mark.sql]


def values(target, table, *columns):
    """The rows of a table as tuples of text, sorted."""
    found = target.read("public", table)
    at = [found.names.index(c) for c in columns]
    return sorted(tuple(str(row[i]) for i in at) for row in found.rows)


def wait_for_copied(process, source, rows):
    """So many rows of some table have left the source, and more are to come."""
    def copied():
        process.must_live()
        return source.sql(f"SELECT 1 FROM pg_stat_progress_copy WHERE tuples_processed > {rows}")
    wait_for(copied, 30, lambda: f"{rows} rows are copied\n{process.logs()[-2000:]}")


@pytest.mark.parametrize("sink, mode", [
    ("sqlite", "mirror"), ("duckdb", "mirror"), ("postgres", "mirror"), ("postgres", "history")])
def test_kept_rows_survive_a_copy_that_starts_again(pipeline, sink, mode):
    """existing=keep: more is copied than a sink commits at a time, and then the program is killed."""
    source, target = pipeline.source, pipeline.target
    history = ", _weir_op text, _weir_lsn text, _weir_ordinal bigint, _weir_xid bigint, " \
              "_weir_commit_time " + ("text" if sink == "sqlite" else "timestamptz") if mode == "history" else ""
    read = ", 'read', 'FFFFFFFFFFFFFFFF', 1, NULL, NULL" if mode == "history" else ""
    source.sql("CREATE TABLE t (id int, v text); CREATE TABLE u (id int);"
               "INSERT INTO t SELECT g, repeat('x', 4000) FROM generate_series(1, 30000) g")
    target.execute(f"CREATE TABLE t (id {'int' if sink != 'sqlite' else 'INTEGER'}, v text{history})",
                   f"INSERT INTO t VALUES (-1, 'theirs'{read}), (1, 'theirs'{read})")
    process = pipeline.start(query={"existing": "keep", "mode": mode})
    wait_for_copied(process, source, 20000)
    process.kill()
    pipeline.drain(query={"existing": "keep", "mode": mode})
    found = target.read("public", "t")
    assert len(found.rows) == 30002
    id_at, v_at = found.names.index("id"), found.names.index("v")
    assert sorted(str(row[id_at]) for row in found.rows if row[v_at] == "theirs") == ["-1", "1"]


def test_kept_rows_are_not_removed_for_another_copy(pipeline, sink):
    """Which rows a finished copy has brought, and what became of them, nobody can tell any more."""
    source, target = pipeline.source, pipeline.target
    source.sql("CREATE TABLE t (id int, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    target.execute(f"CREATE TABLE t (id {'int' if sink != 'sqlite' else 'INTEGER'}, v text)",
                   "INSERT INTO t VALUES (-1, 'theirs')")
    pipeline.drain(query={"existing": "keep"})
    source.sql("INSERT INTO t VALUES (3, 'c')")
    pipeline.drain(query={"existing": "keep"})
    source.sql("ALTER TABLE t ADD w uuid DEFAULT gen_random_uuid(); INSERT INTO t VALUES (4, 'd')")
    ended = pipeline.drain(query={"existing": "keep"}, code=None)
    assert ended.code == 2 and "existing=keep" in ended.text and "DELETE FROM" in ended.text, ended
    assert values(target, "t", "id", "v") == [("-1", "theirs"), ("1", "a"), ("2", "b"), ("3", "c")]


def test_a_late_table_goes_to_kept_rows(pipeline, sink):
    source, target = pipeline.source, pipeline.target
    source.sql("CREATE TABLE t (id int PRIMARY KEY)")
    target.execute(f"CREATE TABLE late (id {'int' if sink != 'sqlite' else 'INTEGER'}, v text)",
                   "INSERT INTO late VALUES (-1, 'theirs')")
    process = pipeline.start(query={"existing": "keep"})
    process.expect("streaming")
    source.sql("CREATE TABLE late (id int, v text); INSERT INTO late SELECT g, 'ours' FROM generate_series(1, 3) g")
    pipeline.settle(process)
    source.sql("INSERT INTO late VALUES (4, 'ours')")
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.drain(query={"existing": "keep"})
    assert values(target, "late", "id") == [("-1",), ("1",), ("2",), ("3",), ("4",)]


@pytest.mark.tsan
@pytest.mark.parametrize("sink", ["postgres"])
def test_rows_beside_those_of_a_pipeline_that_runs(pipeline, weir, make_database):
    """Its copy is over: existing=keep adds. When it has to copy again, the rows of the other stay."""
    source, target, other = pipeline.source, pipeline.target, make_database()
    source.sql("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY);"
               "INSERT INTO t SELECT g, 'a' FROM generate_series(1, 3) g")
    other.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (-1, 'b')")
    process = pipeline.start("--name", "one", "--jobs", "2")
    process.expect("streaming")
    weir.run("stream", other.url, target.url(existing="keep"), "--name", "two", "--until", "now")
    assert process.stop().code == 0
    source.sql("ALTER TABLE t ALTER v TYPE varchar(9) USING v || v; INSERT INTO t VALUES (4, 'a')")
    ended = pipeline.drain("--name", "one", code=None)
    assert ended.code == 2 and 'pipeline "two" has rows' in ended.text, ended
    assert values(target, "t", "id", "v") == [("-1", "b"), ("1", "a"), ("2", "a"), ("3", "a")]


def test_a_finished_copy_stays_in_the_history(pipeline):
    """A table is copied again, and nothing happened to it in between."""
    source, target = pipeline.source, pipeline.target
    source.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    pipeline.drain(query={"mode": "history"})
    source.sql("ALTER TABLE t ADD w uuid DEFAULT gen_random_uuid(); INSERT INTO t VALUES (3, 'c')")
    pipeline.drain(query={"mode": "history"})
    assert values(target, "t", "_weir_op", "id") == [
        ("read", "1"), ("read", "1"), ("read", "2"), ("read", "2"), ("read", "3")]


@pytest.mark.parametrize("sink", ["postgres"])
def test_a_target_that_became_read_only(pipeline, make_database):
    """As after a failover, when the address still leads to the one that is a standby now."""
    source, target = pipeline.source, pipeline.target
    name = target.database.name
    source.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    pipeline.drain()
    other = make_database()
    other.sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    source.sql("INSERT INTO t VALUES (2)")
    process = pipeline.start()
    process.expect("read-only transaction")
    other.sql(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    pipeline.settle(process)
    assert process.stop().code == 0
    assert values(target, "t", "id") == [("1",), ("2",)]


@pytest.mark.parametrize("sink", ["postgres"])
def test_a_target_that_never_could_be_written(pipeline, make_database):
    source, target = pipeline.source, pipeline.target
    source.sql("CREATE TABLE t (id int PRIMARY KEY)")
    make_database().sql(f'ALTER DATABASE "{target.database.name}" SET default_transaction_read_only = on')
    ended = pipeline.drain(code=None, timeout=30)
    assert ended.code == 2 and "read-only transaction" in ended.text, ended


@pytest.mark.parametrize("sink", ["postgres"])
def test_two_pipelines_into_one_table(pipeline):
    """Neither has rows in it when the other one looks."""
    pipeline.source.sql("CREATE TABLE t (n int)")
    process = pipeline.start("--name", "one")
    pipeline.settle(process)
    refused = pipeline.drain("--name", "two", code=2)
    assert "is another pipeline's, which runs now" in refused.err
    pipeline.source.sql("INSERT INTO t SELECT g % 3 FROM generate_series(1, 100) g")
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()
    assert "did not copy" in pipeline.drain("--name", "two", code=2).err


@pytest.mark.parametrize("sink", ["postgres"])
def test_large_tables_have_their_keys(pipeline):
    """They are built behind the rows, also of those that are copied in lanes, and when a kill comes between."""
    def keys(database):
        return database.sql("SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint "
                            "WHERE contype = 'p' AND connamespace = 'public'::regnamespace ORDER BY 1")
    pipeline.source.sql("""
        CREATE TABLE a (id int, "a ""b" text, v text, PRIMARY KEY ("a ""b", id));
        INSERT INTO a SELECT g, 'k' || g % 10, repeat(md5(g::text), 30) FROM generate_series(1, 80000) g;
        CREATE TABLE b (id int PRIMARY KEY, v text);
        INSERT INTO b SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 15000) g;
        CREATE TABLE small (id int PRIMARY KEY)""")
    process = pipeline.start("--jobs", "2")
    wait_for(lambda: len(keys(pipeline.target.database)) == 2, 30, "the key of a is put off", every=0.01)
    process.kill()
    assert len(keys(pipeline.target.database)) == 2
    pipeline.drain("--jobs", "2")
    assert keys(pipeline.target.database) == keys(pipeline.source)
    assert pipeline.target.database.one("SELECT count(*) FROM weir.checkpoint WHERE key LIKE 'sink:new:%'") == 0
    pipeline.check()
