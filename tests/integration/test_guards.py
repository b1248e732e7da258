"""What a user is told of without asking: WAL that a slot holds, what stands still."""
import json
import os
import signal
import time

import pytest

from conftest import Pipeline
from harness.hub import Buffered
from harness.targets import make_target
from harness.wait import wait_for

from test_basics import SHOP
from test_metrics import free_port, metrics, value
from test_status import has_socket, only, table


def lines_of(process):
    """What the log for machines has so far."""
    return [json.loads(line) for line in process.logs().splitlines() if line.endswith("}")]


@pytest.fixture
def limited(own_server, weir, tmp_path, make_database):
    """A pipeline into Postgres, whose source keeps 64 MB of WAL for a slot."""
    def make(**settings):
        server = own_server(max_wal_size="128MB", min_wal_size="32MB", **settings)
        source = server.database()
        source.sql(SHOP + "CREATE TABLE filling (v text)")
        return Pipeline(weir, source, make_target("postgres", tmp_path, make_database))
    return make


def write_wal(source, megabytes, checkpoint=True):
    """Of another database: nothing that has to be delivered."""
    with source.server.connect() as admin:
        admin.execute("SELECT count(pg_logical_emit_message(false, 'fill', repeat('x', 1024 * 1024))) "
                      f"FROM generate_series(1, {megabytes})")
        if checkpoint:
            admin.execute("SELECT pg_switch_wal()")
            admin.execute("CHECKPOINT")


class Held:
    """Nobody else can write to the target."""

    def __init__(self, pipeline, name="customers"):
        database = pipeline.target.database
        self.connection = database.server.connect(database.name)
        self.connection.autocommit = False
        self.connection.execute(f"LOCK TABLE {name}")
        pipeline.source.sql("UPDATE customers SET note = 'held' WHERE id = 1")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()


@pytest.mark.parametrize("version", [16], indirect=True)
def test_a_slot_that_may_be_lost(limited):
    """Told with what is left, told again when it gets worse, told to be over; then it is really lost."""
    pipeline = limited(max_slot_wal_keep_size="64MB")
    port = free_port()
    process = pipeline.start("--name", "shop", "--log-format", "json", "--metrics", f":{port}")
    pipeline.settle(process)
    wait_for(lambda: has_socket(pipeline.weir), 20, "it has a socket")
    wait_for(lambda: (only(pipeline.weir, "shop")["slot_left_bytes"] or 0) > 16 << 20, 20, "there is room")
    assert value(metrics(port), "weir_slot_left_bytes", pipeline="shop") > 16 << 20
    with Held(pipeline):
        write_wal(pipeline.source, 52)
        process.expect("the slot may be lost")
        (told,) = [line for line in lines_of(process) if line["message"] == "the slot may be lost"]
        assert told["pipeline"] == "shop" and 40 << 20 < told["held_bytes"] < 80 << 20
        assert 0 <= told["left_bytes"] < 20 << 20 and "max_slot_wal_keep_size" in told["hint"]
        row = only(pipeline.weir, "shop")
        assert row["slot"] == "may_be_lost" and row["slot_held_bytes"] >= told["held_bytes"]
        assert any("the slot holds" in note for note in table(pipeline.weir, "shop")[1])
        write_wal(pipeline.source, 14, checkpoint=False)
        process.expect("the slot is nearly lost")
    process.expect("the slot is well again", 60)
    with Held(pipeline):
        for _ in range(20):
            write_wal(pipeline.source, 30)
            if pipeline.source.one("SELECT wal_status FROM pg_replication_slots") == "lost":
                break
    assert process.wait().code == 2
    failed = lines_of(process)[-1]
    assert "removed WAL that it needs" in failed["error"] and "weir slots drop SOURCE weir_shop" in failed["hint"]
    for message in ("the slot may be lost", "the slot is nearly lost", "the slot is well again", "the slot is lost"):
        assert len([line for line in lines_of(process) if line["message"] == message]) <= 2, message  # it happened twice


def test_a_disk_that_may_fill(limited):
    """Where the server has no limit and somebody has told how much room its disk has."""
    pipeline = limited()
    process = pipeline.start("--name", "shop", "--log-format", "json", "--wal-disk", "64MB")
    pipeline.settle(process)
    wait_for(lambda: has_socket(pipeline.weir), 20, "it has a socket")
    with Held(pipeline):
        write_wal(pipeline.source, 50)
        process.expect("the slot may fill the server's disk")
        (told,) = [line for line in lines_of(process) if line["message"].startswith("the slot may")]
        assert told["held_bytes"] + told["left_bytes"] == 64 << 20 and "disk fills" in told["hint"]
        row = only(pipeline.weir, "shop")
        assert row["slot"] == "disk_may_fill" and row["slot_held_bytes"] + row["slot_left_bytes"] == 64 << 20
        assert any("the server's disk is full when" in note for note in table(pipeline.weir, "shop")[1])
        write_wal(pipeline.source, 30, checkpoint=False)
        process.expect("the slot has nearly filled the server's disk")
        wait_for(lambda: only(pipeline.weir, "shop")["slot"] == "disk_nearly_full", 20, "status says so")
    assert process.stop().code == 0


@pytest.mark.parametrize("version", [15], indirect=True)
def test_a_slot_that_holds_much(limited):
    """Without a limit: at the threshold, at each doubling, and when it is over."""
    pipeline = limited()
    port = free_port()
    process = pipeline.start("--log-format", "json", "--wal-warning", "20MB", "--metrics", f":{port}")
    pipeline.settle(process)
    with Held(pipeline):
        write_wal(pipeline.source, 24)
        process.expect("the slot holds much WAL")
        write_wal(pipeline.source, 40)

        def times():
            return [line for line in lines_of(process) if line["message"] == "the slot holds much WAL"]
        wait_for(lambda: len(times()) == 2, 20, "it is said again")
        first, second = times()
        assert 20 << 20 <= first["held_bytes"] <= second["held_bytes"] / 2 and "left_bytes" not in first
        found = metrics(port)
        assert value(found, "weir_slot_held_bytes") >= second["held_bytes"]
        assert value(found, "weir_slot_left_bytes") == float("inf")
    write_wal(pipeline.source, 1)  # with what moves the slot's restart_lsn, which an idle server has no reason to write
    process.expect("the slot is well again", 60)
    assert process.stop().code == 0


@pytest.mark.parametrize("sink", ["postgres"])
def test_a_sink_that_stands_still(pipeline):
    """One warning with the stage, also in the figures; and when it is over."""
    port = free_port()
    pipeline.source.sql(SHOP)
    process = pipeline.start("--name", "shop", "--watchdog", "2s", "--log-format", "json", "--metrics", f":{port}")
    pipeline.settle(process)
    wait_for(lambda: has_socket(pipeline.weir), 20, "it has a socket")
    with Held(pipeline):
        process.expect("stalled")
        (told,) = [line for line in lines_of(process) if line["message"] == "stalled"]
        assert told["level"] == "warn" and told["stage"] == "commit" and told["for_s"] >= 2 and told["pipeline"] == "shop"
        assert value(metrics(port), "weir_stalled", pipeline="shop", stage="commit") == 1
        assert value(metrics(port), "weir_stalled", pipeline="shop", stage="write") == 0
        row = only(pipeline.weir, "shop")
        assert row["stalled"] == "commit" and row["stalled_seconds"] >= 2
        assert any(note.startswith("shop: stalled for") for note in table(pipeline.weir, "shop")[1])
        # More than the queue takes: the source waits, and that is no second warning.
        pipeline.source.sql("INSERT INTO customers SELECT g, repeat('m', 1000), NULL FROM generate_series(5000, 30000) g")
        time.sleep(4)
        assert process.logs().count('"stalled"') == 1
    process.expect("moves again")
    (over,) = [line for line in lines_of(process) if line["message"] == "moves again"]
    assert over["stage"] == "commit" and over["for_s"] >= told["for_s"]
    pipeline.settle(process)
    wait_for(lambda: value(metrics(port), "weir_stalled", pipeline="shop", stage="commit") == 0, 20, "it moves")
    assert process.stop().code == 0


@pytest.mark.parametrize("sink", ["sqlite"])
def test_a_server_that_does_not_send(pipeline):
    """Its walsender is stopped: the server goes on writing."""
    source = pipeline.source
    source.sql(SHOP)
    process = pipeline.start("--name", "shop", "--watchdog", "2s", "--log-format", "json")
    pipeline.settle(process)
    wait_for(lambda: has_socket(pipeline.weir), 20, "it has a socket")
    walsender = source.one("SELECT active_pid FROM pg_replication_slots WHERE database = current_database()")
    os.kill(walsender, signal.SIGSTOP)
    try:
        source.sql("UPDATE customers SET note = 'unsent' WHERE id = 1")
        process.expect("stalled")
        (told,) = [line for line in lines_of(process) if line["message"] == "stalled"]
        assert told["stage"] == "server"
        row = only(pipeline.weir, "shop")
        assert row["stalled"] == "server" and min(row[f"{step}_lag_seconds"] for step in ("sent", "received", "durable")) > 1
    finally:
        os.kill(walsender, signal.SIGCONT)
    process.expect("moves again")
    pipeline.settle(process)
    assert process.stop().code == 0


@pytest.mark.parametrize("sink", ["postgres"])
def test_a_copy_that_stands_still(pipeline):
    pipeline.source.sql(SHOP)
    process = pipeline.start("--watchdog", "2s", "--log-format", "json")
    pipeline.settle(process)
    source = pipeline.source
    source.sql("CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late VALUES (1)")
    assert process.stop().code == 0
    with source.server.connect(source.name) as holder:
        holder.autocommit = False
        holder.execute("SELECT pg_current_xact_id()")  # no snapshot can be had before it ends
        process = pipeline.start("--watchdog", "2s", "--log-format", "json", "--until",
                                 source.one("SELECT pg_current_wal_lsn()::text"))
        process.expect("stalled")
        (told,) = [line for line in lines_of(process) if line["message"] == "stalled"]
        assert told["stage"] == "copy"
    assert process.wait().code == 0


@pytest.mark.parametrize("sink", ["postgres"])
def test_an_index_that_takes_long(pipeline):
    """While the target works on it, nothing stands still; while it waits for somebody's lock, that does."""
    source, database = pipeline.source, pipeline.target.database
    source.sql("CREATE TABLE big (id int PRIMARY KEY, v text);"
               "INSERT INTO big SELECT g, repeat('x', 1000) FROM generate_series(1, 10000) g")
    database.sql("""
        CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
            IF current_query() LIKE '%ADD PRIMARY KEY%' THEN
                WHILE NOT pg_try_advisory_xact_lock(1) LOOP PERFORM pg_sleep(0.05); END LOOP;
                PERFORM pg_advisory_xact_lock(2);
            END IF;
        END $$;
        CREATE EVENT TRIGGER slow ON ddl_command_start EXECUTE FUNCTION slow();
        ALTER EVENT TRIGGER slow ENABLE ALWAYS""")
    with database.server.connect(database.name) as holder:
        holder.execute("SELECT pg_advisory_lock(1), pg_advisory_lock(2)")
        process = pipeline.start("--watchdog", "2s", "--log-format", "json", query={"receive_timeout": "1s"})

        def waits(event):
            return database.one("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%ADD PRIMARY KEY%%' "
                                "AND pid <> pg_backend_pid() AND wait_event = %s", event) > 0
        wait_for(lambda: waits("PgSleep"), 30, process.logs)
        time.sleep(3.5)
        assert "stalled" not in process.logs()
        holder.execute("SELECT pg_advisory_unlock(1)")
        process.expect("stalled")
        assert waits("advisory")
        (told,) = [line for line in lines_of(process) if line["message"] == "stalled"]
        assert told["stage"] == "index" and told["table"] == "public.big"
    process.expect("moves again")
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()


@pytest.mark.parametrize("sink", ["sqlite"])
def test_a_first_start_that_waits(pipeline):
    """For somebody's open transaction, as the slot has to."""
    source = pipeline.source
    source.sql(SHOP)
    with source.server.connect(source.name) as holder:
        holder.autocommit = False
        holder.execute("SELECT pg_current_xact_id()")
        process = pipeline.start("--watchdog", "2s", "--log-format", "json")
        process.expect("stalled")
        (told,) = [line for line in lines_of(process) if line["message"] == "stalled"]
        assert told["stage"] == "open"
    pipeline.settle(process)
    process.expect("moves again")
    assert process.stop().code == 0


def test_a_pause_is_no_stall(make_hub):
    """The buffer waits for a route whose target is down: each says so in its own way."""
    hub = make_hub(Buffered, "sqlite", "postgres", segment="64kB", max_size="300kB", patience="1s")
    with open(hub.file, "a") as file:
        file.write("    watchdog: 2s\n")
    hub.source.sql(SHOP)
    process = hub.start()
    hub.settled(process, "sqlite", "postgres")
    with hub.down():
        for n in range(40):
            hub.source.sql("INSERT INTO customers SELECT g, repeat('m', 300), NULL FROM generate_series(%s::int, %s::int) g",
                           200000 + n * 100, 200099 + n * 100)
            if "the buffer waits for" in process.logs():
                break
            time.sleep(0.1)
        process.expect("the buffer waits for")
        time.sleep(6)
        assert "stalled" not in process.logs()
    hub.settled(process, "sqlite", "postgres")
    assert process.stop().code == 0


@pytest.mark.parametrize("sink", ["sqlite"])
def test_no_false_alarm(pipeline):
    """Idle, and busy elsewhere."""
    source = pipeline.source
    source.sql(SHOP)
    process = pipeline.start("--watchdog", "2s", "--log-format", "json", "--table", "public.*")
    pipeline.settle(process)
    source.sql("CREATE SCHEMA other; CREATE TABLE other.t (v text)")
    until = time.monotonic() + 5
    while time.monotonic() < until:  # WAL that is none of ours
        source.sql("INSERT INTO other.t SELECT repeat('y', 100) FROM generate_series(1, 1000)")
        time.sleep(0.05)
    time.sleep(5)  # idle
    assert "stalled" not in process.logs()
    assert process.stop().code == 0


@pytest.mark.parametrize("sink", ["file"])
def test_heartbeat(pipeline):
    """It moves the position of an idle server, and is no event; messages of others are."""
    source = pipeline.source
    source.sql(SHOP)
    process = pipeline.weir.start("stream", f"{source.url}?heartbeat=1s", pipeline.target.url(), "--name", "shop")
    pipeline.settle(process)
    before = source.one("SELECT pg_current_wal_lsn()")
    source.sql("SELECT pg_logical_emit_message(false, 'app', 'theirs'), pg_logical_emit_message(true, 'weir', 'theirs, too')")

    def beats():
        return source.one("SELECT pg_current_wal_lsn() - %s::pg_lsn", before) > 600
    wait_for(beats, 30, "the server's WAL moves")
    pipeline.settle(process)
    assert process.stop().code == 0
    lines = [json.loads(line) for line in (pipeline.target.path).read_text().splitlines()]
    messages = [line for line in lines if "theirs" in json.dumps(line) or "heartbeat" in json.dumps(line)]
    assert len(messages) == 2, messages


def test_heartbeat_that_is_too_quick(weir, source):
    ended = weir.run("stream", f"{source.url}?heartbeat=10ms", "null:", code=2)
    assert "1s" in ended.err


@pytest.mark.parametrize("command", ["stream", "verify"])
@pytest.mark.parametrize("sink", ["sqlite"])
def test_transactions_that_a_snapshot_waits_for(pipeline, command):
    """A session that somebody has forgotten is named: nothing else would tell why it does not begin."""
    source = pipeline.source
    source.sql("CREATE TABLE t (id int PRIMARY KEY)")
    if command == "verify":
        pipeline.drain()
    with source.transaction():
        source.sql("INSERT INTO t VALUES (1)")
        holder = source.one("SELECT pg_backend_pid()")
        process = pipeline.weir.start(command, source.url, pipeline.target.url())
        process.expect(f"waits for transactions that are open there: process {holder} ")
        assert "idle in transaction, since 20" in process.logs()
    if command == "verify":
        assert process.wait().code == 0
    else:
        process.expect("streaming")
        process.stop()
    pipeline.drain()
    pipeline.check()
