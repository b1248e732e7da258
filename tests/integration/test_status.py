"""weir status: what runs, how far it is, and what is left of what does not run."""
import json
import re
import signal
import socket
import stat

import pytest

from harness.hub import Buffered, Hub
from harness.wait import wait_for

from test_basics import SHOP


def status(weir, *words, code=0):
    """{route: its object}"""
    rows = json.loads(weir.run("status", *words, "--format", "json", code=code).out)
    assert len({(row["pipeline"], row["route"]) for row in rows}) == len(rows)
    return {row["route"]: row for row in rows}


def only(weir, *words):
    (row,) = status(weir, *words).values()
    return row


def table(weir, *words):
    """{pipeline or pipeline.route: the words of its line}, and the lines behind the table."""
    lines = weir.run("status", *words).out.splitlines()
    heading = re.split(r"\s{2,}", lines[0].strip())
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines[1:]]
    return [dict(zip(heading, row)) for row in rows if len(row) == len(heading)], \
        [line for line, row in zip(lines[1:], rows) if len(row) != len(heading)]


def has_socket(weir, name="shop"):
    path = weir.state / "weir" / name / "status.sock"
    return path.exists() and stat.S_ISSOCK(path.stat().st_mode)


@pytest.mark.parametrize("sink", ["sqlite"])
def test_one_that_runs(pipeline):
    """Asked for in each way; whoever asks, it is the same one."""
    weir, source = pipeline.weir, pipeline.source
    source.sql(SHOP)
    process = pipeline.start("--name", "shop")
    pipeline.settle(process)
    wait_for(lambda: has_socket(weir), 20, "it has a socket")
    source.sql("UPDATE customers SET note = 'seen' WHERE id < 100")
    pipeline.settle(process)
    row = only(weir, "shop")
    assert row["state"] == "streaming" and row["pid"] == process.popen.pid and row["copy_rows"] == 1200
    assert row["changes"] >= 99 and row["durable_lag_seconds"] == 0 and row["last_error"] is None
    assert row["durable_lsn"] and row["buffered_lsn"] is None and row["buffered_lag_seconds"] is None
    for words in ([], [source.url, pipeline.target.url(), "--name", "shop"],
                  ["shop", "--state", weir.state / "weir"]):
        assert only(weir, *words)["pid"] == process.popen.pid
    (line,), notes = table(weir, "shop")
    assert line["PIPELINE"] == "shop" and line["STATE"] == "streaming" and line["NOT DURABLE"].split()[-1] != "s"
    assert notes == []
    socket_path = weir.state / "weir/shop/status.sock"
    assert stat.S_IMODE(socket_path.stat().st_mode) == 0o600
    assert process.stop().code == 0
    assert not socket_path.exists()
    stopped = only(weir, "shop")
    assert stopped["state"] == "not running" and stopped["pid"] is None
    assert stopped["durable_lsn"] >= row["durable_lsn"] and stopped["durable_lag_bytes"] is None
    (line,), (note,) = table(weir, "shop")
    assert line["STATE"] == "not running" and line["DURABLE TO"] == stopped["durable_lsn"]
    assert note.startswith("shop: not running since 20")


@pytest.mark.parametrize("sink", ["sqlite"])
def test_killed_stopped_and_started_again(pipeline):
    """A socket that nobody listens on is no process; one that does not answer is said to be that."""
    weir = pipeline.weir
    pipeline.source.sql(SHOP)
    process = pipeline.start("--name", "shop")
    pipeline.settle(process)
    wait_for(lambda: has_socket(weir), 20, "it has a socket")
    process.signal(signal.SIGSTOP)
    row = only(weir, "shop")
    assert row["state"] == "no answer" and "gives no answer" in row["last_error"]
    process.kill()
    assert has_socket(weir)
    assert only(weir, "shop")["state"] == "not running"
    again = pipeline.start("--name", "shop")
    wait_for(lambda: only(weir, "shop")["state"] == "streaming", 20, "it is found again")
    # A second one is refused, and takes nothing away.
    refused = pipeline.start("--name", "shop").wait()
    assert refused.code == 2 and "already running" in refused.err
    assert only(weir, "shop")["pid"] == again.popen.pid
    assert again.stop().code == 0


@pytest.mark.parametrize("sink", ["postgres"])
def test_trouble(pipeline):
    """A retry has its error and how long it waits; what is behind says by how much; an end says why."""
    weir, database = pipeline.weir, pipeline.target.database
    pipeline.source.sql(SHOP)
    process = pipeline.start("--name", "shop")
    pipeline.settle(process)
    wait_for(lambda: has_socket(weir), 20, "it has a socket")
    with database.server.connect(database.name) as holder:
        holder.autocommit = False
        holder.execute("LOCK TABLE customers")
        pipeline.source.sql("UPDATE customers SET note = 'held' WHERE id = 1")
        wait_for(lambda: only(weir, "shop")["durable_lag_seconds"] > 1, 20, "it is behind")
        (line,), _ = table(weir, "shop")
        assert re.search(r"B [\d.]+ s$", line["NOT DURABLE"])
        holder.rollback()
    with database.server.connect() as admin:
        admin.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS false')
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database.name,))
        pipeline.source.sql("UPDATE customers SET note = 'away' WHERE id = 1")
        wait_for(lambda: only(weir, "shop")["retry_in_seconds"] is not None, 30, "it waits")
        row = only(weir, "shop")
        assert row["retries"] >= 1 and row["last_error"]
        wait_for(lambda: any(note.startswith("shop: again in ") for note in table(weir, "shop")[1]), 30, "it says so")
        assert row["failing"] == 1
        admin.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS true')
    wait_for(lambda: only(weir, "shop")["state"] == "streaming", 60, "it goes on")
    assert process.stop().code == 0
    row, (_, notes) = only(weir, "shop"), table(weir, "shop")
    assert row["last_error"] and row["failing"] is None, "which is over, also when nothing runs"
    assert [note for note in notes if not note.startswith("shop: not running since")] == []
    process = pipeline.start("--name", "shop")
    wait_for(lambda: only(weir, "shop")["state"] == "streaming", 60, "it goes on")
    pipeline.target.database.sql("DELETE FROM customers WHERE id = 2")
    pipeline.source.sql("UPDATE customers SET note = 'gone' WHERE id = 2")
    assert process.wait().code == 1
    assert "row is missing" in only(weir, "shop")["last_error"] and only(weir, "shop")["failing"] == 1
    assert any("row is missing" in note for note in table(weir, "shop")[1])


def test_routes_of_a_project(make_hub, tmp_path):
    hub = make_hub(Hub, "sqlite", "file")
    hub.source.sql(SHOP)
    rows = status(hub.weir, hub.file)
    assert {route: row["state"] for route, row in rows.items()} == {"sqlite": "never started", "file": "never started"}
    process = hub.start()
    wait_for(lambda: [row["state"] for row in status(hub.weir, tmp_path).values()] == ["streaming"] * 2, 60, "both stream")
    assert [line["ROUTE"] for line in table(hub.weir, hub.file)[0]] == ["sqlite", "file"]
    assert set(status(hub.weir, "hub")) == {"sqlite", "file"}
    assert process.stop().code == 0
    assert {row["state"] for row in status(hub.weir, "hub").values()} == {"not running"}


def test_a_disk_buffer(make_hub):
    """Its own step, on the way to routes of which one is down."""
    hub = make_hub(Buffered, "sqlite", "postgres")
    hub.source.sql(SHOP)
    process = hub.start()
    hub.settled(process, "sqlite", "postgres")
    with hub.down():
        hub.settled(process, "sqlite")

        def is_behind():
            rows = status(hub.weir, hub.file)
            down, well, buffer = rows["postgres"], rows["sqlite"], rows["buffer"]
            return down["durable_lag_seconds"] > 0.5 and down["backlog_bytes"] > 0 and \
                down["buffered_lag_seconds"] == well["durable_lag_seconds"] == buffer["durable_lag_seconds"] == 0
        wait_for(is_behind, 30, lambda: f"one is behind the buffer: {status(hub.weir, hub.file)}")
        assert any("keeps" in note for note in table(hub.weir, hub.file)[1])
    hub.settled(process, "postgres")
    wait_for(lambda: status(hub.weir, hub.file)["postgres"]["durable_lag_seconds"] == 0, 30, "it has caught up")
    assert process.stop().code == 0


@pytest.mark.parametrize("sink", ["sqlite"])
def test_after_a_short_run(pipeline):
    """However short it was, it has left word."""
    pipeline.source.sql(SHOP)
    for _ in range(2):
        pipeline.drain("--name", "shop")
        row = only(pipeline.weir, "shop")
        assert row["state"] == "not running" and row["durable_lsn"] and row["sink"].startswith("sqlite:")


def test_one_of_several_has_failed(weir, source, tmp_path):
    """The others run; it is said of the one why it does not."""
    source.sql(SHOP)
    (weir.folder / "weir.yml").write_text(
        f"connections:\n  shop: {{ type: postgres, url: '{source.url}' }}\n  nothing: {{ type: 'null' }}\n"
        "pipelines:\n  good: { from: { connection: shop }, to: { connection: nothing } }\n"
        "  bad: { from: { connection: shop, tables: [nowhere.nothing] }, to: { connection: nothing } }\n")
    process = weir.start("run")
    process.expect("failed")
    wait_for(lambda: has_socket(weir, "good"), 20, "it has a socket")
    rows = {row["pipeline"]: row for row in json.loads(weir.run("status", "--format", "json").out)}
    assert rows["good"]["state"] in ("starting", "copying", "streaming")
    assert rows["bad"]["state"] == "failed" and "nowhere" in rows["bad"]["last_error"]
    process.stop()


@pytest.mark.parametrize("sink", ["sqlite"])
def test_shown_again_every_second(pipeline):
    pipeline.source.sql(SHOP)
    process = pipeline.start("--name", "shop")
    pipeline.settle(process)
    wait_for(lambda: has_socket(pipeline.weir), 20, "it has a socket")
    watching = pipeline.weir.start("status", "shop", "--watch")
    wait_for(lambda: watching.out.read_text().count("PIPELINE") >= 2, 20, "it is shown twice")
    watching.signal(signal.SIGTERM)
    watching.popen.wait(10)
    assert process.stop().code == 0


@pytest.mark.parametrize("words, said", [
    (["nothing-of-that-name"], "no state of a pipeline"),
    (["postgres://u:pw@h/d"], "both connections"),
    (["../x"], "not a valid pipeline name"),
])
def test_words(weir, words, said):
    assert said in weir.run("status", *words, code=2).err


def test_nothing_there(weir):
    assert "no pipeline" in weir.run("status").out
    assert json.loads(weir.run("status", "--format", "json").out) == []


def test_files_that_are_none_of_ours(weir):
    """What stands in a state directory is read as what it claims to be, and no further."""
    place = weir.state / "weir/shop"
    place.mkdir(parents=True)
    (place / "lock").touch()
    (place / "state.db").touch()
    for text in (b"", b"\x00\xff" * 1000, b"pipeline\troute\n" * 100000, b"pipeline\troute\tstate\nother\t\tfine\n"):
        (place / "status").write_bytes(text)
        assert only(weir, "shop")["state"] == "not running"
    (place / "status").unlink()
    with socket.socket(socket.AF_UNIX) as stranger:  # answers with something else
        stranger.bind(str(place / "status.sock")) if len(str(place)) < 90 else None
    assert only(weir, "shop")["pipeline"] == "shop"
