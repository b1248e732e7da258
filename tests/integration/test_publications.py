"""Tables that come, go and come back: the publication moves while the stream runs."""
import time

import pytest

from harness.wait import wait_for

OWN = "--publication", "mine"
TABLES = """
    CREATE TABLE stays (id int PRIMARY KEY, v text);
    CREATE TABLE moves (id int PRIMARY KEY, v text);
    INSERT INTO stays SELECT g, 'x' FROM generate_series(1, 10) g;
    INSERT INTO moves SELECT g, 'x' FROM generate_series(1, 10) g;
    CREATE PUBLICATION mine FOR TABLE stays, moves;
"""
# What happens while nobody is told.
MISSED = "INSERT INTO moves VALUES (11, 'missed'); UPDATE moves SET v = 'missed' WHERE id = 1;" \
         "DELETE FROM moves WHERE id = 2"


def start(pipeline):
    return pipeline.weir.start("stream", pipeline.source.url + "?refresh=100ms", pipeline.target.url(), *OWN)


BACK = "was not published for a while"


@pytest.mark.sql
def test_comes_back_while_streaming(pipeline):
    pipeline.source.sql(TABLES)
    process = start(pipeline)
    pipeline.settle(process)
    pipeline.source.sql("ALTER PUBLICATION mine DROP TABLE moves")
    pipeline.source.sql(MISSED)
    pipeline.settle(process)
    # The program must have had a look at the catalogs while the table was out.
    time.sleep(1)
    pipeline.source.sql("ALTER PUBLICATION mine ADD TABLE moves; INSERT INTO moves VALUES (12, 'back')")
    process.expect(BACK)
    pipeline.source.sql("INSERT INTO moves VALUES (13, 'after')")
    process.stop()  # perhaps in the middle of the copy
    pipeline.drain(*OWN)
    pipeline.check([("public", "stays"), ("public", "moves")])


@pytest.mark.sql
def test_comes_back_after_a_restart(pipeline):
    pipeline.source.sql(TABLES)
    pipeline.drain(*OWN)
    pipeline.source.sql("ALTER PUBLICATION mine DROP TABLE moves")
    pipeline.source.sql(MISSED)
    process = start(pipeline)
    pipeline.settle(process)
    pipeline.source.sql("ALTER PUBLICATION mine ADD TABLE moves")
    process.expect(BACK)
    pipeline.source.sql("UPDATE moves SET v = 'last' WHERE id = 3")
    process.stop()
    pipeline.drain(*OWN)
    pipeline.check([("public", "stays"), ("public", "moves")])


@pytest.mark.parametrize("version", [15], indirect=True)
@pytest.mark.parametrize("sink", ["sqlite"])
def test_schema_added_to_the_publication(pipeline, version):
    """FOR TABLES IN SCHEMA: its tables are there already, so pg_class says nothing new."""
    pipeline.source.sql(TABLES + "CREATE SCHEMA more; CREATE TABLE more.t (id int PRIMARY KEY, v text);"
                        "INSERT INTO more.t VALUES (1, 'there')")
    process = start(pipeline)
    pipeline.settle(process)
    pipeline.source.sql("ALTER PUBLICATION mine ADD TABLES IN SCHEMA more")

    def copied():
        found = pipeline.target.read("more", "t")
        return found is not None and len(found.rows) == 1
    wait_for(copied, 30, "more.t is copied")
    assert process.stop().code == 0


@pytest.mark.parametrize("sink", ["sqlite"])
def test_tables_come_and_go(pipeline):
    """A publication of our own is kept in step while somebody makes and drops tables all the time."""
    pipeline.source.sql("CREATE TABLE stays (id int PRIMARY KEY, v text)")
    process = pipeline.weir.start("stream", pipeline.source.url + "?refresh=100ms", pipeline.target.url())
    pipeline.settle(process)
    for n in range(150):
        pipeline.source.sql(f"CREATE TABLE passing{n % 7} (id int PRIMARY KEY, v text)")
        pipeline.source.sql(f"INSERT INTO stays VALUES ({n}, 'x')")
        pipeline.source.sql(f"DROP TABLE passing{n % 7}")
    process.must_live()
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check([("public", "stays")])


def transaction(source, statement):
    """Somebody's transaction, open until its connection is closed."""
    connection = source.server.connect(source.name)
    connection.autocommit = False
    connection.execute(statement)
    return connection


@pytest.mark.sql
def test_stopped_while_a_copy_waits(pipeline):
    """The first SIGTERM ends it, though a snapshot cannot be had; the copy is made by the next run."""
    pipeline.source.sql(TABLES)
    process = start(pipeline)
    pipeline.settle(process)
    # A snapshot for a copy has to wait for transactions that are open.
    with transaction(pipeline.source, "CREATE TABLE never (id int)") as holder:
        pipeline.source.sql("CREATE TABLE slow (id int PRIMARY KEY, v text); INSERT INTO slow VALUES (1, 'x');"
                            "ALTER PUBLICATION mine ADD TABLE slow")
        wait_for(lambda: pipeline.source.one(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'weir/%%' AND wait_event_type = 'Lock'"),
            30, lambda: "the copy waits\n" + process.logs())
        ended = process.stop(timeout=15)
        holder.rollback()
    assert ended.code in (0, 1), ended
    pipeline.source.sql("INSERT INTO slow VALUES (2, 'y')")
    pipeline.drain(*OWN)
    pipeline.check([("public", "stays"), ("public", "moves"), ("public", "slow")])


@pytest.mark.parametrize("sink", ["sqlite"])
def test_a_locked_table_does_not_hold_up_the_others(pipeline):
    """Somebody alters a table for hours; a new table makes us look at the catalogs meanwhile."""
    pipeline.source.sql("CREATE TABLE stays (id int PRIMARY KEY, v text); CREATE TABLE altered (id int PRIMARY KEY)")
    process = pipeline.weir.start("stream", pipeline.source.url + "?refresh=100ms", pipeline.target.url())
    pipeline.settle(process)
    with transaction(pipeline.source, "LOCK TABLE altered") as holder:
        for n in range(20):
            pipeline.source.sql(f"INSERT INTO stays VALUES ({n}, 'x')")
            pipeline.source.sql(f"CREATE TABLE new{n} (id int PRIMARY KEY)")
        pipeline.settle(process, timeout=20)
        pipeline.source.sql("ALTER TABLE stays ADD COLUMN more int; INSERT INTO stays VALUES (100, 'x', 1)")
        pipeline.settle(process, timeout=20)
        holder.rollback()
    assert process.stop().code == 0
    pipeline.drain()
    pipeline.check()
