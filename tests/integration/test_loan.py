"""weir verify of a pipeline that runs: it is lent, and goes on afterwards."""
import json
import os
import re
import socket

import pytest

from harness.hub import Buffered, Hub
from harness.load import Writer
from harness.targets import SQL_SINKS
from harness.wait import wait_for

pytestmark = [pytest.mark.sql, pytest.mark.tsan]

ROWS = 300
LENT, TAKEN_UP = "lent for a verification", "the loan is over"


def write(connection, round):
    connection.execute("UPDATE t SET n = n + 1 WHERE id = %s", (round % ROWS,))
    connection.execute("DELETE FROM t WHERE id = %s", (round * 7 % ROWS,))
    connection.execute("INSERT INTO t VALUES (%s, 0) ON CONFLICT DO NOTHING", (round * 11 % ROWS,))


class Borrower:
    """One that asks for the loan, and does nothing with it."""

    def __init__(self, weir):
        path = next(path for path in (weir.state / "weir").iterdir() if (path / "status.sock").exists())
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        there = os.open(path, os.O_PATH)
        self.socket.connect(f"/proc/self/fd/{there}/status.sock")
        os.close(there)
        self.socket.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: weir-loan\r\n\r\n")
        self.stream = self.socket.makefile("rb")
        assert b" 101 " in self.stream.readline()
        while self.stream.readline() != b"\r\n":
            pass

    def answer(self):
        return self.stream.readline().decode().strip()

    def close(self):
        self.stream.close()
        self.socket.close()


def begin(pipeline):
    pipeline.source.sql(f"CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT g, 0 FROM generate_series(1, {ROWS}) g")
    process = pipeline.start()
    process.expect("streaming")
    has_socket(pipeline.weir)
    return process


def has_socket(weir):
    wait_for(lambda: list((weir.state / "weir").glob("*/status.sock")), 30, "it listens")


def shown(pipeline, *words):
    return pipeline.weir.run("status", pipeline.source.url, pipeline.target.url(), *words).out


def row_of(pipeline):
    return json.loads(shown(pipeline, "--format", "json"))[0]


def state_of(pipeline):
    return row_of(pipeline)["state"]


@pytest.mark.parametrize("sink", SQL_SINKS)
def test_verify_while_it_runs(pipeline, sink):
    """What differs is named, and mended, and the same process goes on."""
    process = begin(pipeline)
    with Writer(pipeline.source, write) as load:
        assert pipeline.verify()["t"]["result"] == "equal"
        rounds = load.rounds
        process.must_live()
        wait_for(lambda: load.rounds > rounds + 5, 10, "more is written")
    process.expect(TAKEN_UP)
    assert process.logs().count(LENT) == 1
    pipeline.settle(process)
    if sink != "duckdb":  # which only one process may open
        pipeline.target.execute("DELETE FROM t WHERE id = (SELECT min(id) FROM t)")
        table = pipeline.verify("--repair")["t"]
        assert table["result"] == "repaired" and table["missing"] == 1
    assert process.stop().code == 0
    pipeline.check()


@pytest.mark.parametrize("sink", ["sqlite"])
def test_status_and_a_second_one(pipeline, sink):
    process = begin(pipeline)
    wait_for(lambda: row_of(pipeline)["slot_held_bytes"] is not None, 30, "the source has been looked at")
    borrower = Borrower(pipeline.weir)
    assert borrower.answer() == "lent"
    process.expect(f"process={os.getpid()}")
    assert state_of(pipeline) == "lent"
    assert re.search(rf": lent to weir verify \(process {os.getpid()}\) since 20\S+T\S+Z$", shown(pipeline), re.M), shown(pipeline)
    ended = pipeline.weir.run("verify", pipeline.source.url, pipeline.target.url(), code=2)
    assert f"it is lent to process {os.getpid()} for a verification" in ended.err
    pipeline.source.sql("INSERT INTO t VALUES (-1, 0)")
    # Nobody looks at the source meanwhile: what it has may be as old as the last look.
    wait_for(lambda: row_of(pipeline)["durable_lag_seconds"] > 6, 30, "the lag grows")
    borrower.close()
    process.expect(TAKEN_UP)
    pipeline.settle(process)
    assert state_of(pipeline) == "streaming" and "lent" not in shown(pipeline)
    wait_for(lambda: row_of(pipeline)["durable_lag_seconds"] == 0, 30, "the lag ends")
    process.stop()
    pipeline.check()


@pytest.mark.parametrize("sink", ["sqlite"])
def test_status_says_who_has_it_and_since_when(pipeline, sink):
    """Also while it is brought to where the borrower wants it. Each borrower has his own time."""
    process = begin(pipeline)
    assert row_of(pipeline)["lent_to_pid"] is None
    since = []
    for _ in range(2):
        borrower = Borrower(pipeline.weir)
        assert borrower.answer() == "lent"
        row = row_of(pipeline)
        assert row["state"] == "lent" and row["lent_to_pid"] == os.getpid()
        since.append(row["lent_at_us"])
        borrower.socket.sendall(b"at %s\n" % pipeline.source.one("SELECT pg_current_wal_insert_lsn() + 1000000").encode())
        wait_for(lambda: state_of(pipeline) == "streaming", 20, process.logs)
        row = row_of(pipeline)
        assert (row["lent_to_pid"], row["lent_at_us"]) == (os.getpid(), since[-1])
        borrower.close()
        wait_for(lambda: row_of(pipeline)["lent_to_pid"] is None, 20, process.logs)
    assert since[0] < since[1]
    assert process.stop().code == 0


@pytest.mark.parametrize("sink", ["sqlite"])
def test_the_lender_is_stopped(pipeline, sink):
    """At once, and well: it has nothing in flight."""
    process = begin(pipeline)
    borrower = Borrower(pipeline.weir)
    assert borrower.answer() == "lent"
    assert process.stop(10).code == 0
    assert TAKEN_UP not in process.logs()
    assert borrower.answer() == ""
    borrower.close()
    # Whoever has borrowed it goes on: what it holds is its own lock.
    assert pipeline.verify()["t"]["result"] == "equal"


@pytest.mark.parametrize("sink", ["sqlite"])
def test_somebody_else_is_faster(pipeline, sink):
    """The lender says who has it, and takes it when it is free."""
    process = begin(pipeline)
    borrower = Borrower(pipeline.weir)
    assert borrower.answer() == "lent"
    other = pipeline.start()
    other.expect("streaming")
    borrower.close()
    process.expect(f"is locked by process {other.popen.pid}")
    process.must_live()
    assert other.stop().code == 0
    pipeline.source.sql("INSERT INTO t VALUES (-1, 0)")
    wait_for(lambda: process.logs().count("streaming") == 2, 30, process.logs)
    pipeline.settle(process)
    process.stop()
    pipeline.check()


@pytest.mark.parametrize("sink", ["sqlite"])
def test_a_borrower_that_changes_its_mind(pipeline, sink):
    """Before it has got it, or at once afterwards: again and again."""
    process = begin(pipeline)
    for _ in range(5):
        Borrower(pipeline.weir).close()
    pipeline.source.sql("INSERT INTO t VALUES (-1, 0)")
    pipeline.settle(process)
    borrower = Borrower(pipeline.weir)
    assert borrower.answer() == "lent"
    borrower.close()
    pipeline.settle(process)
    process.stop()
    pipeline.check()


@pytest.mark.parametrize("killed", ["verify", "lender", "both"])
@pytest.mark.parametrize("sink", SQL_SINKS)
def test_kills(pipeline, sink, killed):
    """Whoever is killed while it is lent: the other goes on, and nothing is lost."""
    process = begin(pipeline)
    with Writer(pipeline.source, write):
        # Its snapshot waits for this one, so that it surely is in the midst of it.
        with pipeline.source.transaction():
            pipeline.source.sql("INSERT INTO t VALUES (-1, 0)")
            asks = pipeline.weir.start("verify", pipeline.source.url, pipeline.target.url())
            wait_for(lambda: pipeline.source.one("SELECT count(*) FROM pg_replication_slots WHERE temporary"), 30, asks.logs)
            assert LENT in process.logs()
            if killed in ("verify", "both"):
                asks.kill()
            if killed in ("lender", "both"):
                process.kill()
        if killed == "lender":
            assert asks.wait().code == 0
        if killed == "verify":
            process.expect(TAKEN_UP)
            process.must_live()
    if killed == "verify":
        pipeline.settle(process)
        assert process.stop().code == 0
    assert pipeline.verify()["t"]["result"] == "equal"
    pipeline.check()


def test_a_project_that_runs(make_hub):
    """Its routes have one runner, and are lent together."""
    hub = make_hub(Hub, "sqlite", "postgres")
    hub.source.sql("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1)")
    process = hub.start()
    process.expect("streaming")
    has_socket(hub.weir)
    with Writer(hub.source, write):
        ended = hub.weir.run("verify", hub.file, "--route", "postgres")
    assert ended.out.count("Equal.") == 1
    process.expect(TAKEN_UP)
    assert process.stop().code == 0
    hub.drain()
    hub.check()


def begin_buffered(hub):
    hub.source.sql(f"""CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT g, 0 FROM generate_series(1, {ROWS}) g;
                       CREATE TABLE still (id int PRIMARY KEY); INSERT INTO still SELECT generate_series(1, 20);
                       CREATE TABLE events (n int); INSERT INTO events SELECT 1 FROM generate_series(1, 20)""")
    process = hub.start()
    wait_for(lambda: len(list((hub.weir.state / "weir").glob("*/status.sock"))) == len(hub.targets) + 1, 30, process.logs)
    # All copies are done: one that is cut short would begin again before anything is compared.
    wait_for(lambda: process.logs().count("streaming") > len(hub.targets), 30, process.logs)
    return process


def results_of(hub, *options, code=0):
    """{route: {table: result}}, and where they were compared"""
    ended = hub.weir.run("verify", "--format", "json", hub.file, *options, code=code)
    routes = json.loads(ended.out)["pipelines"]
    return {route["route"]: {table["name"]: table["result"] for table in route["tables"]} for route in routes}, \
        {route["lsn"] for route in routes}


def is_settled(hub, process):
    """Everything is in all targets."""
    assert process.stop().code == 0
    hub.drain()
    hub.check()


EQUAL = {"t": "equal", "still": "equal", "events": "equal"}


def test_a_disk_buffer_that_runs(make_hub):
    """Each route is brought to the LSN by the process that has the buffer, which is filled all the while."""
    hub = make_hub(Buffered, "sqlite", "postgres")
    process = begin_buffered(hub)
    with Writer(hub.source, write):
        results, lsns = results_of(hub)
        assert results == {"sqlite": EQUAL, "postgres": EQUAL} and len(lsns) == 1
        for name in hub.targets:
            process.expect(f"{TAKEN_UP}: taking it up again pipeline=hub route={name}")
        hub.targets["postgres"].execute("DELETE FROM still WHERE id = 7", "DELETE FROM events")
        results, _ = results_of(hub, "--route", "postgres", "--repair")
        assert results == {"postgres": {"t": "equal", "still": "repaired", "events": "repaired"}}
    is_settled(hub, process)


def test_only_that_route_is_lent(make_hub):
    """The others go on; one whose target is down is no matter."""
    hub = make_hub(Buffered, "sqlite", "postgres", "duckdb")
    process = begin_buffered(hub)
    with hub.down("postgres"), Writer(hub.source, write):
        for name in "sqlite", "duckdb":
            assert results_of(hub, "--route", name)[0] == {name: EQUAL}
    assert f"{LENT} pipeline=hub route=postgres" not in process.logs()
    is_settled(hub, process)


def test_a_target_that_is_down(make_hub):
    """It is waited for as long as patience goes, and the borrower says what the lender meets there."""
    hub = make_hub(Buffered, "sqlite", "postgres")
    process = begin_buffered(hub)
    with hub.down("postgres"), Writer(hub.source, write):
        ended = hub.weir.run("verify", hub.file, "--route", "postgres", "--patience", "3s", code=1)
        assert "has got nowhere for 3 s: " in ended.err and "connect" in ended.err
        assert results_of(hub, "--route", "sqlite", "--patience", "3s")[0] == {"sqlite": EQUAL}
    is_settled(hub, process)


@pytest.mark.parametrize("killed", ["verify", "lender"])
def test_kills_behind_a_disk_buffer(make_hub, killed):
    hub = make_hub(Buffered, "sqlite", "postgres")
    process = begin_buffered(hub)
    with Writer(hub.source, write):
        # Its snapshot waits for this one, so that it surely is in the midst of it.
        with hub.source.transaction():
            hub.source.sql("INSERT INTO t VALUES (-1, 0)")
            asks = hub.weir.start("verify", hub.file)
            wait_for(lambda: hub.source.one("SELECT count(*) FROM pg_replication_slots WHERE temporary"), 30, asks.logs)
            (asks if killed == "verify" else process).kill()
        if killed == "lender":
            assert "has ended" in asks.wait().err or "ended before" in asks.ended().err
            process = hub.start()
            process.expect("streaming")
        else:
            process.expect(TAKEN_UP)
            process.must_live()
    is_settled(hub, process)
