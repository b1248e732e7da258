"""The source is failed over to a standby: the pipeline goes on there, or says exactly why it cannot."""
import signal

import pytest

from conftest import Pipeline
from harness.postgres import PASSWORD, Postgres
from harness.targets import make_target
from harness.wait import wait_for

pytestmark = pytest.mark.fault

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 200) g"


class Standby(Postgres):
    """A physical standby of @primary, which is running."""

    def __init__(self, primary, **settings):
        self.primary = primary
        # With a dbname, for the worker that keeps slots in step.
        conninfo = f"host=127.0.0.1 port={primary.port} user=postgres password={PASSWORD} dbname=postgres"
        super().__init__(primary.home, primary.version, primary_conninfo=conninfo, primary_slot_name="standby",
                         hot_standby_feedback="on", **settings)

    def fill(self):
        """Copied while it stands still: what is installed need not have pg_basebackup."""
        primary = self.primary
        primary.stop()
        self.home.run(["cp", "-a", f"{primary.data}/.", self.data])
        self.home.run(["touch", self.data / "standby.signal"])
        primary.start()
        with primary.connect() as connection:
            connection.execute("SELECT pg_create_physical_replication_slot('standby', true)")

    def promote(self):
        with self.connect() as connection:
            connection.execute("SELECT pg_promote()")


@pytest.fixture
def pair(own_server, weir, tmp_path):
    """(pipeline whose source is either, primary, standby)"""
    made = []

    def make(**settings):
        primary = own_server(**settings)
        source = primary.database("shop")
        made.append(Standby(primary, **({"sync_replication_slots": "on"} if primary.version >= 17 else {})))
        source.url = (f"postgres://postgres:{PASSWORD}@127.0.0.1:{primary.port},127.0.0.1:{made[0].port}/shop"
                      "?target_session_attrs=read-write")
        return Pipeline(weir, source, make_target("sqlite", tmp_path)), primary, made[0]
    yield make
    for one in made:
        one.destroy()


def is_in_step(source, standby):
    """The standby has the slot, and it is not one that a promotion drops."""
    with standby.connect() as connection:
        def synced():
            source.sql("SELECT pg_log_standby_snapshot()")  # what the server does every 15 s: without it no slot moves
            source.lsn()
            return connection.execute("SELECT count(*) FROM pg_replication_slots WHERE synced AND NOT temporary").fetchone()[0]
        wait_for(synced, 60, lambda: standby.log_end(), 0.1)


def moved(source, standby):
    """The source's own connection of the test, to the standby from now on."""
    source.close()
    source.server = standby
    return source


@pytest.mark.parametrize("version", [17, 18], indirect=True)
def test_failover(pair):
    """With a failover slot and synchronized_standby_slots: nothing is lost, whatever was under way."""
    pipeline, primary, standby = pair(synchronized_standby_slots="standby")
    source = pipeline.source
    source.sql(TABLE)
    process = pipeline.start()
    pipeline.settle(process)
    assert source.one("SELECT failover FROM pg_replication_slots WHERE slot_name LIKE 'weir%%'")
    is_in_step(source, standby)
    source.sql("INSERT INTO t SELECT g, 'before' FROM generate_series(1000, 5000) g; UPDATE t SET v = v || '!' WHERE id % 3 = 0")
    primary.stop(signal.SIGQUIT)
    process.expect("retry")
    standby.promote()
    moved(source, standby).sql("UPDATE t SET v = 'after' WHERE id < 50; INSERT INTO t VALUES (9999, 'after')")
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()
    pipeline.drain()
    assert pipeline.target.checkpoint(pipeline.weir)["timeline"] == "2"


@pytest.mark.parametrize("version", [17], indirect=True)
def test_target_has_more_than_the_standby(pair):
    """A standby that lagged behind has become the source, and has written on: its positions mean other things now."""
    pipeline, primary, standby = pair()
    source = pipeline.source
    source.sql(TABLE)
    process = pipeline.start()
    pipeline.settle(process)
    is_in_step(source, standby)
    assert process.stop().code == 0
    standby.stop()
    source.sql("INSERT INTO t SELECT g, 'lost' FROM generate_series(1000, 2000) g")
    pipeline.drain()
    lsn = source.lsn()
    primary.stop(signal.SIGQUIT)
    standby.start()
    standby.promote()
    moved(source, standby)
    wait_for(lambda: source.sql("INSERT INTO t SELECT coalesce(max(id), 0) + 1, repeat('other', 100) FROM t")
             or source.one("SELECT pg_current_wal_lsn() > %s::pg_lsn", lsn), 30, "the standby has more WAL than the target has seen", 0)
    ended = pipeline.weir.run("stream", source.url, pipeline.target.url(), "--until", "now", code=2)
    for word in ("timeline 1", "timeline 2", "--name", "synchronized_standby_slots"):
        assert word in ended.err, ended


@pytest.mark.parametrize("version", [16], indirect=True)
def test_standby_has_no_slot(pair):
    """Before version 17 a slot does not follow."""
    pipeline, primary, standby = pair()
    source = pipeline.source
    source.sql(TABLE)
    pipeline.drain()
    wait_for(lambda: standby_has(standby, source.lsn()), 30, "the standby has all")
    primary.stop(signal.SIGQUIT)
    standby.promote()
    moved(source, standby).sql("INSERT INTO t VALUES (9999, 'after')")
    ended = pipeline.weir.run("stream", source.url, pipeline.target.url(), "--until", "now", code=2)
    assert "does not exist any more" in ended.err and "--name" in ended.err, ended


def standby_has(standby, lsn):
    with standby.connect() as connection:
        return connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (lsn,)).fetchone()[0]
