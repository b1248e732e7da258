"""Servers that end and come back, in every way that they can, while rows are copied and while changes stream."""
import signal

import pytest

from conftest import Pipeline
from harness.targets import make_target
from harness.wait import wait_for

pytestmark = pytest.mark.fault

WAYS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "killed": signal.SIGKILL}
TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, repeat('x', 2000) FROM generate_series(1, 8000) g"


def come_back(server, way):
    server.stop(mode=way)

    def started():
        try:
            server.start()
            return True
        except AssertionError:  # what is left of a postmaster that was killed goes soon
            server.home.servers.remove(server)
            return False
    wait_for(started, 60, server.log_end)


def through(pipeline, server, database, way, in_copy):
    """A restart in the middle of the first copy, then one behind which the stream goes on."""
    source = pipeline.source
    source.sql(TABLE)
    process = pipeline.start()
    wait_for(in_copy, 30, lambda: f"it copies\n{process.logs()[-2000:]}", 0.005)
    come_back(server, way)
    database.close()
    pipeline.settle(process)
    source.sql("INSERT INTO t VALUES (100000, 'before'); UPDATE t SET v = 'before' WHERE id % 9 = 0")
    come_back(server, way)
    database.close()
    source.sql("INSERT INTO t VALUES (200000, 'after'); UPDATE t SET v = v || 'after' WHERE id % 18 = 0")
    pipeline.settle(process)
    process.must_live()
    assert process.logs().count("retrying") >= 1
    assert process.stop().code == 0
    pipeline.check()


@pytest.fixture
def some(own_server):
    """A server for all the ways: each has a database of its own."""
    return own_server()


@pytest.mark.parametrize("sink, way", [(sink, way) for at, sink in enumerate(("sqlite", "duckdb", "postgres", "file")) for way in WAYS
                                       if at % 3 == list(WAYS).index(way)])
def test_source(weir, some, sink, way, tmp_path, make_database):
    source = some.database()
    pipeline = Pipeline(weir, source, make_target(sink, tmp_path, make_database))
    progress = "SELECT count(*) FROM pg_stat_progress_copy WHERE datname = current_database() AND tuples_processed > 100"
    through(pipeline, some, source, WAYS[way], lambda: source.one(progress))


@pytest.mark.parametrize("way", WAYS)
def test_target(weir, source, some, way, tmp_path):
    target = make_target("postgres", tmp_path, some.database)
    progress = "SELECT count(*) FROM pg_stat_progress_copy WHERE datname = current_database() AND tuples_processed > 100"
    through(Pipeline(weir, source, target), some, target.database, WAYS[way], lambda: target.database.one(progress))
