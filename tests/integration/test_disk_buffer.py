"""`buffer: disk`: one log between the source and its routes."""
import functools
import json
import os
import random
import re
import shutil
import signal
import time

import pytest

from harness.hub import Buffered
from harness.load import TABLES, load
from harness.wait import wait_for

from test_basics import CHANGES, SHOP
from test_metrics import free_port, get, metrics, value

pytestmark = pytest.mark.tsan

KILLS = 10


def fill(source, rounds=1):
    """Some 100 kB each."""
    for _ in range(rounds):
        source.sql("INSERT INTO customers SELECT m + g, repeat('x', 1000) FROM generate_series(1, 100) g, "
                   "(SELECT max(id) AS m FROM customers) c")


def fill_until(source, process, text, times=1):
    """How much goes into one commit is chance; the one after too much finds that it is."""
    def said():
        process.must_live()
        fill(source)
        return process.logs().count(text) >= times
    wait_for(said, 30, lambda: f"it says {text!r}\n{process.logs()[-3000:]}")


@pytest.fixture
def hub(make_hub):
    return functools.partial(make_hub, Buffered)


@pytest.mark.smoke
def test_every_route_has_everything(hub):
    hub = hub("sqlite", "postgres", "file")
    hub.source.sql(SHOP)
    hub.drain()
    hub.check()
    hub.source.sql(CHANGES)
    hub.drain()
    hub.check()
    assert len(hub.source.slots()) == 1, "one slot feeds all of them"


@pytest.mark.kill
@pytest.mark.skipif(shutil.which("pgbench") is None, reason="pgbench is not installed")
def test_killed_under_load(hub, tmp_path, seed):
    """At any moment: every target has every change, and each of them once. Segments are small, so that they change."""
    hub = hub("sqlite", "postgres", "file", segment="64kB")
    hub.source.sql(TABLES)
    chance = random.Random(seed)
    with load(hub.source, tmp_path, rate=120):
        for _ in range(KILLS):
            process = hub.start()
            time.sleep(chance.uniform(0.05, 1.0))
            process.must_live()
            process.kill()
    hub.drain()
    hub.check()


def test_a_target_that_is_down_holds_nobody_up(hub):
    """The others go on, the server may forget its WAL; once it is back, it gets what it missed."""
    hub = hub("sqlite", "postgres")
    hub.source.sql(SHOP)
    process = hub.start()
    hub.settled(process, "sqlite", "postgres")
    with hub.down():
        hub.source.sql(CHANGES)
        hub.settled(process, "sqlite")
        hub.check("sqlite")
        hub.source.wait_confirmed()
        process.kill()  # and whoever starts meanwhile does not wait for it either
        process = hub.start()
        hub.source.sql("UPDATE orders SET total = 1 WHERE id % 4 = 0")
        hub.settled(process, "sqlite")
        hub.check("sqlite")
        hub.source.wait_confirmed()
    hub.settled(process, "postgres")
    process.signal(signal.SIGTERM)
    assert process.wait().code == 0
    hub.drain()
    hub.check()


def test_what_was_read_but_not_delivered_is_kept(hub):
    """A target that is locked: the log is read, and nothing arrives."""
    hub = hub("sqlite", "postgres", segment="64kB")
    hub.source.sql(SHOP)
    hub.drain()
    process = hub.start()
    target = hub.targets["postgres"].database
    with target.server.connect(target.name) as holder:
        holder.autocommit = False
        holder.execute("LOCK TABLE customers")
        for _ in range(10):
            fill(hub.source)
            hub.settled(process, "sqlite")
        hub.source.wait_confirmed()
        assert len(hub.segments()) > 8
        process.kill()
        holder.rollback()
    process = hub.start()
    hub.settled(process, "postgres", "sqlite")
    wait_for(lambda: len(hub.segments()) <= 3, 30, "what all have is dropped")
    assert process.stop().code == 0
    hub.check()


def test_a_source_that_is_down_is_not_missed(hub, own_server):
    """What the log has is delivered while the server that it came from is away."""
    server = own_server()
    hub = hub("sqlite", "postgres", on=server)
    hub.source.sql(SHOP)
    hub.drain()  # what is not copied needs the source
    process = hub.start()
    with hub.down():
        hub.source.sql(CHANGES)
        hub.settled(process, "sqlite")
        hub.source.wait_confirmed()
        wanted = hub.source.one("SELECT count(*) FROM orders")
        process.kill()
        hub.source.close()
        server.stop()
    process = hub.start()
    wait_for(lambda: hub.targets["postgres"].count("public", "orders") == wanted, 60, process.logs)
    # It has all that the log has, and nobody knows what the server may have.
    wait_for(lambda: all((row["durable_lag_seconds"] or 0) > 6 for row in json.loads(hub.weir.run("status", hub.file, "--format", "json").out)
                         if row["route"] == "postgres"), 30, "the lag grows")
    server.start()
    process.signal(signal.SIGTERM)
    process.wait()
    hub.drain()
    hub.check()


# What a route may be behind by: in bytes, after a moment, or in time.
LIMITS = pytest.mark.parametrize("limit", [{"max_size": "300kB", "patience": "1s"}, {"max_age": "2s"}], ids=["size", "age"])


@LIMITS
def test_a_full_buffer_pauses(hub, limit):
    """It says for whom it waits, takes nothing more, and goes on by itself."""
    hub = hub("sqlite", "postgres", segment="64kB", **limit)
    hub.source.sql(SHOP)
    process = hub.start()
    hub.settled(process, "sqlite", "postgres")
    with hub.down():
        fill_until(hub.source, process, 'the buffer waits for \\"postgres\\"')
        assert "max_size" in process.logs(), "and says what can be done"
        lsn = hub.source.lsn()
        process.must_live()
        assert not hub.source.confirmed(lsn), "the source keeps what the buffer does not take"
    hub.settled(process, "sqlite", "postgres")
    hub.source.wait_confirmed(lsn)
    assert process.stop().code == 0
    hub.check()
    # By whole files, and a large transaction is one group.
    assert sum(f.stat().st_size for f in hub.segments()) < 1 << 20, "what all have is dropped"


def test_a_full_buffer_goes_on_at_once(hub):
    """As soon as the route has caught up, however long that took; asked to stop before, it does."""
    hub = hub("sqlite", "postgres", segment="64kB", max_size="300kB", patience="1s")
    hub.source.sql(SHOP)
    process = hub.start()
    hub.settled(process, "sqlite", "postgres")
    target = hub.targets["postgres"].database
    with target.server.connect(target.name) as busy:
        with busy.transaction():
            busy.execute("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
            fill_until(hub.source, process, 'the buffer waits for \\"postgres\\"')
            row, = [row for row in json.loads(hub.weir.run("status", hub.file, "--format", "json").out) if row["route"] == "buffer"]
            assert row["state"] == "retrying" and "the buffer waits for" in row["last_error"]
            fill(hub.source, 20)  # what it has still to take, however it is cut
            time.sleep(6)  # by then an attempt a time would be at eight seconds between two
            lsn = hub.source.lsn()
            assert not hub.source.confirmed(lsn)
            assert process.logs().count('the buffer waits for \\"postgres\\"') == 1, "said once"
        began = time.monotonic()
        hub.source.wait_confirmed(lsn)
        assert time.monotonic() - began < 4
        process.expect("the buffer has room again")
        hub.settled(process, "sqlite", "postgres")
        with busy.transaction():
            busy.execute("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
            fill_until(hub.source, process, "waiting pipeline", times=2)
            process.signal(signal.SIGTERM)
            time.sleep(1)
    assert process.wait().code == 0
    hub.drain()
    hub.check()


KEEPS_NOTHING = 'the buffer keeps nothing more for "postgres"'


def test_a_route_that_catches_up_goes_on(hub):
    """It had read what was dropped, and was only slow to write it."""
    hub = hub("sqlite", "postgres", segment="64kB", max_size="300kB", patience="1s", full="drop-route")
    hub.source.sql(SHOP)
    process = hub.start()
    hub.settled(process, "sqlite", "postgres")
    hub.settled(process, "sqlite", "postgres")
    with hub.targets["postgres"].database.server.connect(hub.targets["postgres"].database.name) as busy, busy.transaction():
        busy.execute("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
        fill_until(hub.source, process, KEEPS_NOTHING)
    assert "filled anew" in process.logs(), "what comes otherwise"
    hub.settled(process, "sqlite", "postgres")
    fill_until(hub.source, process, '"postgres" has caught up')
    hub.settled(process, "sqlite", "postgres")
    assert process.stop().code == 0
    hub.check()


@LIMITS
def test_a_route_that_is_too_far_behind_is_dropped(hub, limit):
    """Loudly, and it stays dropped until it is filled anew under another name."""
    hub = hub("sqlite", "postgres", segment="64kB", **limit, full="drop-route")
    hub.source.sql(SHOP)
    process = hub.start()
    hub.settled(process, "sqlite", "postgres")
    hub.settled(process, "sqlite", "postgres")  # not by the copy any more: it has come to its end
    with hub.down():
        fill_until(hub.source, process, KEEPS_NOTHING)
        hub.settled(process, "sqlite")
        hub.source.wait_confirmed()
        said = hub.weir.run("status", hub.file).out
        assert re.search(r"^hub +postgres +\w+, dropped ", said, re.M) and said.count("dropped") == 2, said
        assert "hub.postgres: dropped, being too far behind (full: drop-route)" in said
    process.expect("failed pipeline=hub route=postgres")  # as soon as it is there again
    hub.source.sql(CHANGES.replace("201, 260", "900201, 900260"))
    hub.settled(process, "sqlite")
    ended = process.stop()
    assert ended.code == 2 and "begins at" in ended.err and "--name" in ended.err
    assert len(hub.segments()) < 6, "nothing is kept for it"
    ended = hub.weir.run("run", hub.file, "--until", "now", code=2)
    assert "failed pipeline=hub route=postgres" in ended.err
    dropped = {row["route"]: row["buffer_dropped"] for row in json.loads(
        hub.weir.run("status", hub.file, "--format", "json").out)}
    assert dropped == {"sqlite": None, "postgres": 1, "buffer": None}
    hub.check("sqlite")
    text = hub.file.read_text().replace("connection: postgres }", "connection: postgres, name: again, existing: truncate }")
    hub.file.write_text(text)
    hub.drain()
    hub.check()


def test_damage_is_named(hub):
    """Never passed over: file and offset are said, and nothing goes on behind it."""
    hub = hub("sqlite", "postgres", segment="64kB")
    hub.source.sql(SHOP)
    hub.drain()
    process = hub.start()
    with hub.down():
        fill(hub.source, 4)
        hub.settled(process, "sqlite")
        hub.source.wait_confirmed()
        process.kill()
        first, *_, last = hub.segments()
        assert first != last
        # In the middle of what only one route still needs.
        whole = first.read_bytes()
        at = len(whole) - 5000
        first.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
    process = hub.start()
    process.expect("failed pipeline=hub route=postgres")
    hub.settled(process, "sqlite")
    ended = process.stop()
    said = re.search(r'error="buffer: read the buffer \\"[^"\\]+\\": \\"([^"\\]+)\\" is damaged at byte (\d+)', ended.err)
    assert ended.code == 1 and said[1] == str(first) and int(said[2]) <= at
    # At the end, which is read when the log is opened. A crash cannot have done this.
    first.write_bytes(whole)
    whole = last.read_bytes()
    last.write_bytes(whole[:-200] + bytes(200))
    ended = hub.weir.run("run", hub.file, "--until", "now", code=1)
    assert ended.err.count("failed pipeline=hub") == 1
    assert f'open the buffer \\"{hub.log}\\": \\"{last}\\" is damaged at byte' in ended.err
    last.write_bytes(whole)
    hub.drain()
    hub.check()


def test_a_torn_tail_is_cut_off(hub):
    """What a crash left half-written is no damage: it comes again."""
    hub = hub("sqlite", "postgres")
    hub.source.sql(SHOP)
    hub.drain()
    with open(hub.segments()[-1], "ab") as last:
        last.write(b"half a record")
    hub.source.sql(CHANGES)
    ended = hub.drain()
    assert "ended with 13 bytes that were not committed" in ended.err
    hub.check()


def test_one_failure_is_told_once(hub):
    """When the log cannot be filled, its routes stop; the exit code is that of what was wrong."""
    hub = hub("sqlite", "file")
    hub.source.sql(SHOP)
    hub.drain()
    hub.source.sql("SELECT pg_drop_replication_slot('weir_hub')")
    for words in ((), ("--until", "now")):
        ended = hub.weir.run("run", hub.file, *words, code=2)
        assert ended.err.count("error failed") == 1 and "does not exist any more" in ended.err


def test_an_end_is_the_buffers_too(hub):
    """Its routes have come to theirs before it has looked at its slot: it is not cut short."""
    hub = hub("sqlite", "file")
    hub.source.sql(SHOP)
    lsn = hub.source.lsn()
    hub.drain()

    def done():
        return {line.get("route") for line in process.log_lines() if line["message"] == "done"}
    with hub.source.server.connect(hub.source.name) as holder:
        holder.autocommit = False
        holder.execute("LOCK TABLE pg_publication IN ACCESS EXCLUSIVE MODE")
        process = hub.weir.start("run", hub.file, "--until", lsn, "--log-format", "json")
        wait_for(lambda: done() == {"sqlite", "file"}, 20, process.logs)
        holder.rollback()
    assert process.wait().code == 0
    assert done() == {"buffer", "sqlite", "file"} and "stopped" not in process.logs()


@pytest.mark.valgrind
def test_replay(hub):
    """One route gets everything behind an LSN once more; the others are left alone."""
    hub = hub("sqlite", "file", segment="64kB", keep="1GB")
    replay = lambda *words, **more: hub.weir.run("replay", "hub", "--project", hub.file, *words, **more)  # noqa: E731
    hub.source.sql(SHOP)
    hub.drain()
    fill(hub.source, 3)
    lsn = hub.source.lsn()
    hub.source.sql(CHANGES.replace("201, 260", "900201, 900260"))
    fill(hub.source)
    hub.drain()
    before = hub.targets["file"].events()
    wanted = [e for e in before if e.get("lsn") and int_lsn(e["lsn"]) >= int_lsn(lsn)]
    assert 100 < len(wanted) < len(before)
    replay("--route", "file", "--from", lsn)
    assert hub.targets["file"].events() == before + wanted
    hub.source.sql("INSERT INTO customers (id, name) VALUES (-1, 'later')")
    hub.drain()
    assert hub.targets["file"].events()[-1]["new"]["id"] == -1
    assert len(hub.targets["file"].events()) == len(before) + len(wanted) + 1
    hub.check("sqlite")
    # And what cannot be done is said, without any harm.
    refused = {("--route", "sqlite", "--from", lsn): "has tables",
               ("--route", "fle", "--from", lsn): "no route",
               ("--from", lsn): "has 2 routes: sqlite, file",
               ("--route", "file", "--from", "FF/0"): "behind its end",
               ("--route", "file", "--from", "0/1"): "(keep)",
               ("--route", "file", "--from", "yesterday"): "takes an LSN",
               ("--route", "file"): "from"}
    for words, said in refused.items():
        assert said in replay(*words, code=2).err
    process = hub.start()
    hub.settled(process, "sqlite")
    assert "another process" in replay("--route", "file", "--from", lsn, code=2).err
    process.stop()
    hub.drain()
    hub.check("sqlite")


def test_tables_come_and_change(hub):
    """Schema changes go through the log, to targets with tables and without."""
    hub = hub("sqlite", "postgres", "file")
    hub.source.sql(SHOP)
    hub.source.sql("CREATE TABLE keyless (a int, b text); INSERT INTO keyless VALUES (1, 'x'), (1, 'x'), (2, NULL)")
    process = hub.start()
    hub.settled(process, "sqlite", "postgres")
    hub.source.sql("""
        INSERT INTO keyless VALUES (3, 'streamed');
        ALTER TABLE customers RENAME COLUMN note TO remark;
        ALTER TABLE customers ADD COLUMN points int;
        UPDATE customers SET remark = 'renamed' WHERE id < 20;
        CREATE TABLE later (id int PRIMARY KEY, v text);
        INSERT INTO later SELECT g, 'l' || g FROM generate_series(1, 300) g""")
    process.kill()
    process = hub.start()
    hub.source.sql("""
        ALTER TABLE orders ADD COLUMN stamp text DEFAULT gen_random_uuid()::text;
        ALTER TABLE orders ALTER total TYPE text USING 'total ' || total;
        INSERT INTO orders (customer, total) VALUES (1, 'told by this');
        UPDATE later SET v = 'changed' WHERE id % 3 = 0;
        ALTER TABLE later RENAME TO renamed;
        DELETE FROM renamed WHERE id % 5 = 0;
        CREATE TABLE later (id int PRIMARY KEY, w numeric);
        INSERT INTO later VALUES (1, 1.5)""")
    hub.settled(process, "sqlite", "postgres")
    assert process.stop().code == 0
    hub.source.sql("INSERT INTO later VALUES (2, 2.5); UPDATE renamed SET v = 'at last' WHERE id = 1")
    hub.drain()
    hub.check("sqlite", "postgres")
    # A stream of events has each shape where it was taken on.
    shapes = [(e["table"], [c["name"] for c in e["columns"]]) for e in hub.targets["file"].events() if e["op"] == "schema"]
    for shape in (("customers", ["id", "name", "note"]), ("customers", ["id", "name", "remark", "points"]),
                  ("keyless", ["a", "b"]), ("renamed", ["id", "v"]), ("later", ["id", "w"])):
        assert shape in shapes, shapes


def test_routes_come_and_go(hub):
    """One is added while the buffer has a history, one comes back after a while with a buffer in memory."""
    hub = hub("sqlite", "postgres")
    hub.source.sql(SHOP)
    hub.write(["sqlite"])
    hub.drain()
    hub.source.sql(CHANGES)
    hub.drain()
    hub.write(["sqlite", "postgres"])
    hub.source.sql("UPDATE customers SET note = 'both' WHERE id % 3 = 0")
    hub.drain()
    hub.check()
    hub.write(["postgres"])
    hub.source.sql("DELETE FROM customers WHERE id % 4 = 0")
    hub.drain()
    hub.check("postgres")


def test_a_buffer_comes_to_a_pipeline_that_has_none(hub):
    """Each target goes on from where it is."""
    hub = hub("sqlite", "postgres", "file")
    text = hub.file.read_text()
    hub.file.write_text(text.replace("{ type: disk }", "memory"))
    hub.source.sql(SHOP)
    hub.drain()
    hub.source.sql(CHANGES)
    hub.drain()
    hub.source.sql("UPDATE customers SET note = 'between' WHERE id % 3 = 0")
    hub.file.write_text(text)
    ended = hub.drain()
    assert "copy" not in ended.err
    hub.check()


@pytest.mark.parametrize("sink", ["sqlite"])
def test_files_are_for_their_owner_only(pipeline):
    """Whatever the umask and the directory say: segments, the state, letters, and what SQLite puts beside them."""
    words = ["--name", "shop", "--on-error", "dead-letter", "--buffer", "disk"]
    pipeline.source.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')")
    was = os.umask(0o022)
    try:
        pipeline.drain(*words)
        pipeline.target.execute("CREATE UNIQUE INDEX only_here ON t (v)")
        pipeline.source.sql("INSERT INTO t VALUES (2, 'a')")
        process = pipeline.start(*words)
        wait_for(lambda: "is set aside" in process.logs(), 30, process.logs)
        files = [path for path in pipeline.weir.state.rglob("*") if path.is_file()]
        assert {"state.db", "state.db-wal", "dead.db", "lock", "0000000000000001.log"} <= {path.name for path in files}
        assert [path for path in files if path.stat().st_mode & 0o077] == []
        assert process.stop().code == 0
    finally:
        os.umask(was)


@pytest.mark.parametrize("sink", ["sqlite"])
@pytest.mark.parametrize("command", [["stream", "--until", "now"], ["verify"]], ids=lambda words: words[0])
def test_gone_around_its_buffer(pipeline, command):
    """The source has forgotten what only the buffer has, and the slot gives only what the buffer is to have."""
    pipeline.source.sql(SHOP)
    pipeline.drain("--buffer", "disk")
    pipeline.source.sql(CHANGES)
    confirmed = pipeline.source.slots()
    ended = pipeline.weir.run(command[0], pipeline.source.url, pipeline.target.url(), *command[1:], code=2)
    assert "has been run with a disk buffer" in ended.err and "--buffer disk" in ended.err and ended.out == "", ended
    assert pipeline.source.slots() == confirmed
    pipeline.weir.run(command[0], pipeline.source.url, pipeline.target.url(), *command[1:], "--buffer", "disk")
    pipeline.source.sql("UPDATE customers SET note = 'later'")
    pipeline.drain("--buffer", "disk")
    pipeline.check()


@pytest.mark.parametrize("sink", ["postgres"])
def test_without_a_project(pipeline):
    pipeline.source.sql(SHOP)
    pipeline.drain("--buffer", "disk", "--name", "shop")
    pipeline.source.sql(CHANGES)
    pipeline.drain("--buffer", "disk", "--name", "shop")
    pipeline.check()
    assert list((pipeline.weir.state / "weir/shop.buffer/log").glob("*.log"))


def test_figures(hub):
    """How much the buffer holds, and for whom."""
    hub = hub("sqlite", "postgres", segment="64kB")
    hub.source.sql(SHOP)
    port = free_port()
    process = hub.weir.start("run", hub.file, "--metrics", f":{port}")
    hub.settled(process, "sqlite", "postgres")
    with hub.down():
        fill(hub.source, 4)
        hub.settled(process, "sqlite")
        wait_for(lambda: value(metrics(port), "weir_buffer_backlog_bytes", route="sqlite") == 0, 20, "one has all")
        found = metrics(port)
        assert value(found, "weir_buffer_backlog_bytes", route="postgres") > 300_000
        assert value(found, "weir_buffer_bytes", pipeline="hub") >= sum(f.stat().st_size for f in hub.segments())
        assert value(found, "weir_buffer_dropped", route="postgres") == 0
        wait_for(lambda: value(metrics(port), "weir_buffer_backlog_seconds", route="postgres") > 1, 20, "it gets later")
        wait_for(lambda: value(metrics(port), "weir_phase", route="postgres", phase="retrying") == 1, 20, "it retries")
        for route in ("buffer", "sqlite"):
            assert value(metrics(port), "weir_phase", route=route, phase="streaming") == 1
        wait_for(lambda: get(port, "/health")[0] == 503, 20, "it is not well")
    wait_for(lambda: value(metrics(port), "weir_buffer_backlog_bytes", route="postgres") == 0, 40, "it has caught up")
    assert get(port, "/health")[2].splitlines() == [f"hub.{r} streaming" for r in ("buffer", "sqlite", "postgres")]
    assert process.stop().code == 0


def test_check_and_mistakes(hub):
    """What is wrong is said with its line, before anything is made."""
    hub = hub("sqlite", "postgres")
    hub.source.sql(SHOP)
    ended = hub.weir.run("check", hub.file)
    assert str(hub.log) in ended.out and ended.out.count("Ready.") == 2
    report = json.loads(hub.weir.run("check", "--format", "json", hub.file).out)
    assert [p["buffer"] for p in report["pipelines"]] == [str(hub.log)] * 2
    assert not hub.log.exists(), "check changes nothing"
    text = hub.file.read_text()
    mistakes = {"{ type: disk, max_sise: 1GB }": "max_size", "{ type: dist }": "\"disk\"",
                "{ type: memory, keep: 1GB }": "no settings", "{ max_size: 1MB, keep: 2MB }": "more than keep",
                "{ full: stop }": "drop-route", "{ readers: [a] }": "readers", "[disk]": "buffer"}
    for wrong, said in mistakes.items():
        hub.file.write_text(text.replace("{ type: disk }", wrong))
        ended = hub.weir.run("run", hub.file, "--until", "now", code=2)
        assert said in ended.err and f"{hub.file}:" in ended.err, ended
    hub.file.write_text(text.replace("connection: sqlite }", "connection: sqlite, name: buffer }"))
    assert "name of the buffer itself" in hub.weir.run("run", hub.file, code=2).err
    assert not hub.log.exists()
    hub.file.write_text(text.replace("{ type: disk }", "disk"))
    hub.drain()
    hub.check()


def int_lsn(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)
