"""Servers that go away, come back, are busy with something else, or are not the ones they were."""
import re
import sqlite3
import time

import pytest

from harness.disk import slow_disk
from harness.targets import make_target
from harness.wait import wait_for

TABLE = """
    CREATE TABLE t (id int PRIMARY KEY, v text);
    INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 200) g;
"""


@pytest.fixture
def alone(own_server, weir, sink, tmp_path, make_database):
    """A pipeline whose source is a server of its own: (pipeline, server)."""
    from conftest import Pipeline

    def make(**settings):
        server = own_server(**settings)
        return Pipeline(weir, server.database(), make_target(sink, tmp_path, make_database)), server
    return make


def reconnect(database):
    """The test's own connection may have died with the server."""
    database.close()
    return database


def test_source_restarted(alone):
    pipeline, server = alone()
    pipeline.source.sql(TABLE)
    process = pipeline.start()
    pipeline.settle(process)
    for n in range(2):
        pipeline.source.sql("INSERT INTO t VALUES (%s, 'before')", 1000 + n)
        server.restart()
        reconnect(pipeline.source).sql("INSERT INTO t VALUES (%s, 'after')", 2000 + n)
        pipeline.source.sql("UPDATE t SET v = 'again' WHERE id = %s", n + 1)
        pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()


@pytest.mark.parametrize("sink", ["sqlite"])
def test_source_away_for_a_while(alone):
    pipeline, server = alone()
    pipeline.source.sql(TABLE)
    process = pipeline.start()
    pipeline.settle(process)
    server.stop()
    process.expect("retry", 20)
    process.must_live()
    server.start()
    reconnect(pipeline.source).sql("INSERT INTO t VALUES (1000, 'after')")
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()


@pytest.mark.tsan
def test_connections_terminated(pipeline):
    pipeline.source.sql(TABLE)
    process = pipeline.start()
    pipeline.settle(process)
    for n in range(4):
        pipeline.source.sql("INSERT INTO t VALUES (%s, 'x')", 1000 + n)
        ended = pipeline.source.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> "
                                    "pg_backend_pid() AND datname = current_database()")
        assert ended, "weir has connections"
        pipeline.source.sql("INSERT INTO t VALUES (%s, 'y')", 2000 + n)
        pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()


def test_terminated_in_the_middle_of_a_large_transaction(pipeline):
    pipeline.source.sql(TABLE)
    process = pipeline.start()
    pipeline.settle(process)
    before = pipeline.source.one("SELECT active_pid FROM pg_replication_slots WHERE database = current_database()")
    with pipeline.source.transaction():
        pipeline.source.sql("INSERT INTO t SELECT g, repeat('x', 50) FROM generate_series(1000, 60000) g")
        pipeline.source.sql("UPDATE t SET v = 'y' WHERE id % 3 = 0")
    pipeline.source.sql("SELECT pg_terminate_backend(%s)", before)
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()


@pytest.mark.tsan
@pytest.mark.parametrize("sink", ["sqlite"])
def test_terminated_in_the_middle_of_a_copy(pipeline):
    """Rows that came before the end count as nothing: a copy that broke off is no finished one."""
    source = pipeline.source
    source.sql("CREATE TABLE large (id int PRIMARY KEY, v text);"
               "INSERT INTO large SELECT g, repeat('x', 400) FROM generate_series(1, 100000) g")
    process = pipeline.start()
    wait_for(lambda: source.one("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE state = 'active' "
                                "AND datname = current_database() AND query LIKE 'COPY %'"), 30, "it copies", every=0.01)
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()


@pytest.mark.parametrize("sink", ["sqlite"])
def test_a_large_transaction_is_seen_whole(pipeline):
    """More than a batch, a run of batches and a commit's measure: no part of it is committed alone."""
    rows = 60000
    pipeline.source.sql("CREATE TABLE large (id int PRIMARY KEY, v text)")
    process = pipeline.start()
    pipeline.settle(process)
    pipeline.source.sql("INSERT INTO large SELECT g, repeat('x', 400) FROM generate_series(1, %s) g", rows)
    connection = pipeline.target.connect()

    def is_there():
        process.must_live()
        (found,), = connection.execute("SELECT count(*) FROM large").fetchall()
        assert found in (0, rows), f"{found} of {rows} rows can be seen"
        return found == rows
    wait_for(is_there, 60, "the rows are there", every=0.01)
    connection.close()
    assert process.stop().code == 0


def test_idle_tables_hold_no_wal(pipeline):
    """Only tables that are not streamed are busy: the confirmed position follows all the same."""
    pipeline.source.sql(TABLE + "CREATE TABLE noise (v text)")
    options = ["--table", "public.t"]
    process = pipeline.start(*options)
    pipeline.settle(process)
    pipeline.source.sql("INSERT INTO noise SELECT repeat('x', 500) FROM generate_series(1, 20000)")
    wanted = pipeline.source.lsn()
    started = time.monotonic()

    def follows():
        process.must_live()
        # Something goes on, as in any busy database.
        pipeline.source.sql("INSERT INTO noise VALUES ('y')")
        return pipeline.source.confirmed(wanted)
    wait_for(follows, 20, lambda: f"{wanted} is confirmed: {pipeline.source.slots()}", 0.2)
    assert time.monotonic() - started < 20
    assert process.stop().code == 0
    pipeline.check([("public", "t")])


class TestStalledTarget:
    @pytest.fixture
    def disk(self, home, sink, tmp_path):
        if sink in ("sqlite", "postgres"):
            yield None  # somebody else's lock does it
            return
        with slow_disk(home, tmp_path) as disk:
            yield disk

    @pytest.fixture
    def target(self, disk, sink, tmp_path, make_database):
        return make_target(sink, disk.folder if disk else tmp_path, make_database)

    def test_it_does_not_cost_the_connection(self, disk, pipeline, sink):
        """The sink waits for several times wal_sender_timeout: the same walsender lives on."""
        source = pipeline.source
        source.sql(f"ALTER DATABASE {source.name} SET wal_sender_timeout = '1s'")
        source.sql(TABLE)
        process = pipeline.start(query={"busy_timeout": "60s"} if sink == "sqlite" else {})
        pipeline.settle(process)

        def walsender():
            return source.one("SELECT active_pid FROM pg_replication_slots WHERE database = current_database()")
        before = walsender()
        with disk.stalled() if disk else locked(pipeline.target):
            source.sql("UPDATE t SET v = 'stalled'")
            source.sql("INSERT INTO t SELECT g, repeat('z', 900) FROM generate_series(1000, 20000) g")  # more than is kept
            until = time.monotonic() + 2.5
            lsn = source.lsn()

            def long_enough():
                process.must_live()
                assert walsender() == before, f"the connection was lost\n{process.logs()}\n{source.server.log_end()}"
                assert not source.confirmed(lsn), "confirmed although nothing can be written"
                return time.monotonic() > until
            wait_for(long_enough, 20, "it stalls long enough", 0.1)
        pipeline.settle(process)
        assert walsender() == before and "retrying" not in process.logs()
        assert process.stop().code == 0
        pipeline.check()


class locked:
    """Nobody else can write to the target's table t."""

    def __init__(self, target):
        self.target = target

    def __enter__(self):
        if self.target.kind == "sqlite":
            self.connection = sqlite3.connect(self.target.path, timeout=20, isolation_level=None)
            self.connection.execute("BEGIN IMMEDIATE")
        else:
            self.connection = self.target.database.server.connect(self.target.database.name)
            self.connection.execute("BEGIN")
            self.connection.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")

    def __exit__(self, *_):
        self.connection.execute("ROLLBACK")
        self.connection.close()


@pytest.mark.tsan
@pytest.mark.parametrize("sink", ["postgres"])
def test_target_away_for_a_while(weir, source, own_server, sink):
    from conftest import Pipeline
    from harness.targets import Postgres
    server = own_server()
    pipeline = Pipeline(weir, source, Postgres(server.database()))
    source.sql(TABLE)
    process = pipeline.start()
    pipeline.settle(process)
    for stop in (server.stop, lambda: server.stop(mode=3)):
        source.sql("INSERT INTO t SELECT coalesce(max(id), 0) + 1, 'before' FROM t")
        stop()
        lsn = source.lsn()
        source.sql("INSERT INTO t SELECT max(id) + 1, 'while it is away' FROM t; UPDATE t SET v = v || '!' WHERE id < 9")
        process.expect("retry", 20)
        assert not source.confirmed(source.lsn()), (lsn, source.slots())
        server.start()
        pipeline.target.database.close()
        pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()


# ---------------------------------------------------------------------------------------------
# How long it is tried
# ---------------------------------------------------------------------------------------------

NOBODY = "postgres://weir@127.0.0.1:1/shop"  # refused at once


def gives_up(weir, *words):
    ended = weir.run(*words, "--patience", "1s", code=1, timeout=20)
    line, = (line for line in ended.err.splitlines() if line.startswith("weir: given up: "))
    assert re.search(r"none of [3-9] attempts in \d s has got anywhere: ", line) and "--patience says how long" in ended.err, ended
    return ended


def test_a_run_that_ends_gives_up(weir, source, tmp_path):
    source.sql(TABLE)
    assert "source: " in gives_up(weir, "stream", NOBODY, f"sqlite:{tmp_path}/x.db", "--until", "now").err
    assert "sink: " in gives_up(weir, "stream", source.url, NOBODY, "--until", "now").err
    assert source.slots() == []
    process = weir.start("stream", NOBODY, "null:", "--patience", "100ms")
    process.expect("attempt=3")
    assert process.stop().code == 0


BUSY = """
    CREATE TABLE t (id int PRIMARY KEY, v text);
    CREATE FUNCTION busy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'busy' USING ERRCODE = '40001'; END $$;
    CREATE TRIGGER busy BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION busy();
"""


@pytest.mark.parametrize("sink", ["postgres"])
def test_what_a_first_run_that_gives_up_leaves_is_said(pipeline):
    """The slot holds the source's WAL from then on. Not by a later run: what that leaves was there."""
    stays = "What was made on the source stays, and holds its WAL"
    pipeline.source.sql(TABLE)
    pipeline.target.execute(BUSY)
    words = (pipeline.source.url, pipeline.target.url(triggers="true"), "--until", "now")
    ended = gives_up(pipeline.weir, "stream", *words)
    assert len(pipeline.source.slots()) == 1 and ended.err.count(stays) == 1 and "weir slots drop" in ended.err, ended
    assert stays not in gives_up(pipeline.weir, "stream", *words).err
    pipeline.target.execute("DROP TRIGGER busy ON t")
    pipeline.weir.run("stream", *words)
    pipeline.check()


@pytest.mark.parametrize("sink", ["sqlite"])
def test_a_slot_in_use_is_given_up(pipeline, tmp_path):
    """By somebody who cannot be asked for it: its state is elsewhere."""
    pipeline.source.sql(TABLE)
    pipeline.drain()
    other = pipeline.start("--state", tmp_path / "other")
    pipeline.settle(other)
    for command in (["verify"], ["stream", "--until", "now"]):
        ended = gives_up(pipeline.weir, *command, pipeline.source.url, pipeline.target.url())
        assert "replication slot" in ended.err and ended.out == ""
    assert other.stop().code == 0
    pipeline.verify()


def test_a_verification_gives_up(make_hub):
    """Not at once: the target may only be starting."""
    from harness.hub import Hub
    hub = make_hub(Hub, "sqlite", "postgres")
    hub.source.sql(TABLE)
    hub.drain()
    with hub.down():
        gives_up(hub.weir, "verify", hub.file)
    hub.weir.run("verify", hub.file)


def test_a_route_gives_up_alone(make_hub):
    from harness.hub import Buffered
    hub = make_hub(Buffered, "sqlite", "postgres")
    hub.source.sql(TABLE)
    hub.drain()
    hub.source.sql("UPDATE t SET v = 'new'")
    with hub.down():
        ended = hub.weir.run("run", hub.file, "--until", "now", "--patience", "1s", code=1, timeout=20)
    assert re.search(r'failed pipeline=hub route=postgres .*given up: none of \d+ attempts', ended.err), ended
    hub.check("sqlite")
    hub.drain()
    hub.check()


def test_a_full_buffer_is_given_up(make_hub):
    """What waits in front of it would do so for ever: nobody reads it any more."""
    from harness.hub import Buffered
    hub = make_hub(Buffered, "sqlite", "postgres", segment="64kB", max_size="300kB", patience="1s")
    hub.source.sql(TABLE)
    hub.drain()
    with hub.down():
        for n in range(2):  # the first fills it
            hub.source.sql("INSERT INTO t SELECT g, repeat(md5(g::text), 10) FROM generate_series(%s::int, %s::int) g", 1000 + n * 2000, 2999 + n * 2000)
            ended = hub.weir.run("run", hub.file, "--until", "now", "--patience", "200ms", code=1, timeout=30)
    assert re.search(r'failed pipeline=hub route=buffer .*given up: none of \d+ attempts in \d+ s has got anywhere: .*the buffer waits for', ended.err), ended
    hub.drain()
    hub.check()


@pytest.mark.parametrize("sink", ["sqlite"])
def test_a_server_that_comes_back_is_waited_for(alone):
    pipeline, server = alone()
    pipeline.source.sql(TABLE)
    pipeline.drain()
    pipeline.source.sql("UPDATE t SET v = 'new'")
    server.stop()
    process = pipeline.start("--until", "now")
    process.expect("attempt=3")
    server.start()
    assert process.wait().code == 0
    reconnect(pipeline.source)
    pipeline.check()


@pytest.mark.parametrize("sink", ["postgres"])
def test_target_connections_terminated(pipeline, sink):
    pipeline.source.sql(TABLE)
    process = pipeline.start()
    pipeline.settle(process)
    for n in range(4):
        pipeline.source.sql("INSERT INTO t VALUES (%s, 'x')", 1000 + n)
        pipeline.target.database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> "
                                     "pg_backend_pid() AND datname = current_database()")
        pipeline.source.sql("INSERT INTO t VALUES (%s, 'y')", 2000 + n)
        pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()


@pytest.mark.parametrize("sink", ["sqlite", "file"])
def test_stopped_for_a_while(pipeline):
    """SIGSTOP and SIGCONT: as on a machine that was asleep."""
    import signal
    pipeline.source.sql(TABLE)
    process = pipeline.start()
    pipeline.settle(process)
    process.signal(signal.SIGSTOP)
    pipeline.source.sql("UPDATE t SET v = 'meanwhile'")
    pipeline.source.sql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
                        "WHERE database = current_database() AND active")
    process.signal(signal.SIGCONT)
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()
