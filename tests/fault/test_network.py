"""Networks that fail, on either side of the program, under a load of every kind of change: it goes on by itself, and all
values are equal in the end."""
import random
import shutil
import time

import pytest

from harness.load import TABLES, load
from harness.proxy import BOTH, DOWN, REPLICATION, SQL, UP
from harness.wait import wait_for
from test_servers import locked

pytestmark = [pytest.mark.fault,
              pytest.mark.skipif(shutil.which("pgbench") is None, reason="pgbench is not installed")]

# What of it goes on for a while, does so for that long.
MOMENT = 0.4

CUTS = {
    "reset": lambda net: net.reset(),
    "ended": lambda net: net.end(),
    "cut in a message from the server": lambda net: net.truncate(1234, (DOWN,)),
    "cut in a message to the server": lambda net: net.truncate(21, (UP,)),
}
CUTS_OF_A_SOURCE = {
    **CUTS,
    "reset, replication only": lambda net: net.reset(REPLICATION),
    "reset, statements only": lambda net: net.reset(SQL),
    "cut in a change": lambda net: net.truncate(3333, (DOWN,), REPLICATION),
}
SLOW = {
    "late": dict(delay=0.05),
    "late one way": dict(delay=0.1, ways=(DOWN,)),
    "slow": dict(rate=100e3),
    "slow one way": dict(rate=50e3, ways=(UP,)),
}


def behind(database):
    """The load's own connection is none of the proxy's."""
    return f"{database.server.version} {database.slots()}"


def goes_on(pipeline, process, what):
    """Everything that is committed now becomes durable."""
    source, lsn = pipeline.source, pipeline.source.lsn()

    def confirmed():
        process.must_live()
        return source.confirmed(lsn)
    wait_for(confirmed, 40, lambda: f"after \"{what}\" it goes on: {behind(source)}\n{process.logs()[-3000:]}")


def every_fault(pipeline, net, process, cuts):
    for what, cut in cuts.items():
        seen = net.passed
        cut(net)
        wait_for(lambda: net.passed > seen, 40, lambda: f"after \"{what}\" it connects again\n{process.logs()[-3000:]}")
        goes_on(pipeline, process, what)
    for what, weather in SLOW.items():
        net.worsen(**{"ways": BOTH, **weather})
        time.sleep(MOMENT)  # for so long it is bad
        process.must_live()
        net.heal()
        goes_on(pipeline, process, what)
    net.refuse()
    net.reset()
    process.expect("retry")
    net.heal()
    goes_on(pipeline, process, "refused")


@pytest.fixture
def near(pipeline, make_proxy):
    """Between the source and the program."""
    net = make_proxy(pipeline.source)
    pipeline.source.url = net.url(pipeline.source.url)
    return net


@pytest.fixture
def far(pipeline, make_proxy):
    """Between the program and a target that is a server."""
    net = make_proxy(pipeline.target.database)
    pipeline.target.base = net.url(pipeline.target.base)
    return net


def soon(database):
    """What the network has swallowed, the server has to notice as well."""
    database.sql(f"ALTER DATABASE {database.name} SET wal_sender_timeout = '2s'")


@pytest.mark.parametrize("sink", ["sqlite", *(pytest.param(sink, marks=pytest.mark.soak) for sink in ("duckdb", "postgres", "file"))])
def test_to_the_source(pipeline, near, tmp_path):
    pipeline.source.sql(TABLES)
    near.worsen((DOWN,), SQL, cut_after=200_000)  # less than a copy
    process = pipeline.start()
    process.expect("retrying")
    assert "streaming" not in process.logs()
    near.heal()
    with load(pipeline.source, tmp_path, rate=40):
        pipeline.settle(process)
        every_fault(pipeline, near, process, CUTS_OF_A_SOURCE)
        pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.drain()
    pipeline.check()


@pytest.mark.parametrize("sink", ["sqlite", "file"])
@pytest.mark.parametrize("row", [1, 50, 100])
def test_a_server_that_fails_inside(pipeline, near, row):
    """What the server has sent of a transaction, it sends again: nothing of it is there twice."""
    source = pipeline.source
    source.sql("CREATE TABLE t (id int, v text); ALTER TABLE t REPLICA IDENTITY FULL")
    pipeline.drain()
    source.sql("INSERT INTO t SELECT g, 'x' FROM generate_series(1, 100) g")
    near.worsen((DOWN,), REPLICATION, trips_at=row)
    pipeline.drain()
    assert not near.faults, "it has not failed"
    if pipeline.target.kind == "file":
        assert [event["new"]["id"] for event in pipeline.target.events() if event["op"] == "insert"] == list(range(1, 101))
    else:
        assert pipeline.target.count("public", "t") == 100
    pipeline.check()


@pytest.mark.parametrize("sink", ["postgres"])
def test_to_the_target(pipeline, far, tmp_path):
    pipeline.source.sql(TABLES)
    far.worsen((UP,), cut_after=200_000)
    process = pipeline.start("--jobs", "2")
    process.expect("retrying")
    assert "streaming" not in process.logs()
    far.heal()
    with load(pipeline.source, tmp_path, rate=40):
        pipeline.settle(process)
        every_fault(pipeline, far, process, CUTS)
        pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.drain()
    pipeline.check()


@pytest.mark.parametrize("sink", ["sqlite"])
@pytest.mark.parametrize("kind, ways", [(REPLICATION, BOTH), (REPLICATION, (UP,)), (SQL, (DOWN,))])
def test_a_source_that_is_silent(pipeline, near, kind, ways):
    """Nobody says that the connection is gone: it is noticed within receive_timeout."""
    source, timeout = pipeline.source, 2
    soon(source)
    source.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    source.url += f"?receive_timeout={timeout}s&refresh=500ms"
    process = pipeline.start()
    pipeline.settle(process)
    began = time.monotonic()
    near.silence(ways, kind)
    source.sql("INSERT INTO t VALUES (2)")
    process.expect("retrying", 3 * timeout)
    took = time.monotonic() - began
    assert "silent" in process.logs(), process.logs()
    assert timeout * 0.7 < took < timeout + 1.5, f"noticed after {took:.1f} s"
    near.heal()
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()


@pytest.mark.parametrize("sink", ["sqlite"])
def test_a_source_that_is_silent_in_a_copy(pipeline, near):
    """A copy may wait for its rows as long as it likes, but not when the server has nothing left to do."""
    source = pipeline.source
    source.sql("CREATE TABLE t AS SELECT g AS id, repeat(md5(g::text), 20) AS v FROM generate_series(1, 4000) g")
    source.url += "?receive_timeout=1s"
    near.worsen((DOWN,), SQL, rate=200e3)
    process = pipeline.start()
    wait_for(lambda: source.one("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY %%'"),
             30, "it copies", 0.01)
    near.lose((DOWN,), SQL)
    began = time.monotonic()
    process.expect("retrying", 10)
    assert "silent" in process.logs() and time.monotonic() - began < 4, process.logs()
    near.heal()
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()


@pytest.mark.parametrize("sink", ["sqlite"])
def test_a_snapshot_that_is_gone(pipeline, near):
    """It ends with the connection that exported it, while others copy in it: the tables that have not begun begin again."""
    source = pipeline.source
    source.sql("CREATE TABLE a AS SELECT g AS id, repeat(md5(g::text), 20) AS v FROM generate_series(1, 1000) g;"
               "CREATE TABLE b AS SELECT * FROM a; CREATE TABLE c AS SELECT * FROM a")
    near.worsen((DOWN,), SQL, rate=400e3)
    process = pipeline.start()
    wait_for(lambda: source.one("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY %%'"),
             30, "it copies", 0.01)
    near.reset(REPLICATION)
    process.expect("retrying", 20)
    assert "snapshot" in process.logs(), process.logs()
    near.heal()
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()


@pytest.mark.parametrize("sink", ["postgres"])
@pytest.mark.parametrize("ways", [(UP,), (DOWN,)], ids=["up", "down"])
def test_a_target_that_is_silent(pipeline, far, ways):
    """Those that come anew are answered: they are asked whether the server waits for us. A lock is waited for."""
    source, timeout = pipeline.source, 1
    source.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    process = pipeline.start(query={"receive_timeout": f"{timeout}s"})
    pipeline.settle(process)
    with locked(pipeline.target):
        source.sql("INSERT INTO t VALUES (2)")
        until = time.monotonic() + 3 * timeout

        def is_patient():
            process.must_live()
            assert "retrying" not in process.logs(), "a lock is no silence"
            return time.monotonic() > until
        wait_for(is_patient, 10)
    pipeline.settle(process)
    began = time.monotonic()
    far.lose(ways)
    source.sql("INSERT INTO t VALUES (3)")
    process.expect("retrying", 10 * timeout)
    assert time.monotonic() - began < 2 * timeout + 2, process.logs()
    assert "silent" in process.logs(), process.logs()
    pipeline.settle(process, 20)
    assert process.logs().count("retrying") == 1, process.logs()
    assert process.stop().code == 0
    pipeline.check()


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_storm_to_the_source(pipeline, near, tmp_path, seed):
    storm(pipeline, [near], tmp_path, seed)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("sink", ["postgres"])
def test_storm_on_both_sides(pipeline, near, far, tmp_path, seed):
    storm(pipeline, [near, far], tmp_path, seed)


def storm(pipeline, nets, tmp_path, seed, times=200):
    """Faults of all kinds at random, one behind the other and several at once."""
    pipeline.source.sql(TABLES)
    soon(pipeline.source)
    chance = random.Random(seed)
    process = pipeline.start()
    with load(pipeline.source, tmp_path, rate=40):
        for n in range(times):
            net = chance.choice(nets)
            net.storm(chance)
            time.sleep(chance.uniform(0, 0.5))
            process.must_live()
            if n % 20 == 0:
                for one in nets:
                    one.heal()
                goes_on(pipeline, process, f"storm {n}")
        for one in nets:
            one.heal()
        pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.drain()
    pipeline.check()
