"""The other commands, and the options that are about weir itself: slots, init, names, places, the log."""
import json
import re

import pytest

from harness.hub import Buffered

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b');"
sqlite = pytest.mark.parametrize("sink", ["sqlite"])


# ---------------------------------------------------------------------------------------------
# weir slots
# ---------------------------------------------------------------------------------------------


def listed(weir, source):
    """{name: (plugin, database, active, confirmed, retains, wal)}"""
    heading, *lines = weir.run("slots", "list", source.url).out.splitlines()
    assert re.split("  +", heading) == ["SLOT", "PLUGIN", "DATABASE", "ACTIVE", "CONFIRMED", "RETAINS", "WAL"]
    return {line.split()[0]: re.split("  +", line.strip())[1:] for line in lines}


@pytest.fixture
def foreign(source):
    """Slots of others: a standby's, another plugin's."""
    names = f"standby_{source.name}", f"plugin_{source.name}"
    source.sql("SELECT pg_create_physical_replication_slot(%s, true)", names[0])
    source.sql("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", names[1])
    yield names
    source.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = ANY (%s)", list(names))


@sqlite
def test_slots_are_listed(pipeline, foreign):
    source = pipeline.source
    source.sql(TABLE)
    process = pipeline.start()
    pipeline.settle(process)
    (name,) = {slot[0] for slot in source.slots()} - set(foreign)
    found = listed(pipeline.weir, source)
    assert found[name][:3] == ["pgoutput", source.name, "yes"] and found[name][5] == "reserved"
    standby, plugin = foreign
    assert found[standby][0] == "physical" and found[standby][-1] == "reserved" and source.name not in found[standby]
    assert found[plugin][:3] == ["test_decoding", source.name, "no"]
    assert process.stop().code == 0
    source.sql("INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(10, 3000) g")
    _, _, active, confirmed, retains, _ = listed(pipeline.weir, source)[name]
    ((wanted, held),) = source.sql("SELECT confirmed_flush_lsn::text, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint "
                                   "FROM pg_replication_slots WHERE slot_name = %s", name)
    assert (active, confirmed) == ("no", wanted)
    number, unit = retains.split()
    assert held > 2_000_000 and unit == "MB" and abs(float(number) - held / 2**20) < 0.3, (retains, held)


@sqlite
def test_slots_are_dropped(pipeline):
    source, weir = pipeline.source, pipeline.weir
    source.sql(TABLE)
    process = pipeline.start()
    pipeline.settle(process)
    ((name, _, _),) = source.slots()
    refused = weir.run("slots", "drop", source.url, name, code=2)
    assert f'"{name}" is active' in refused.err and "hint: Stop the weir process" in refused.err
    assert source.slots(), "it is in use"
    assert process.stop().code == 0
    assert weir.run("slots", "drop", source.url, name).out == f"dropped slot {name}\n"
    assert source.slots() == []
    again = weir.run("slots", "drop", source.url, name, code=2)
    assert f'"{name}" does not exist' in again.err and 'hint: "weir slots list" shows' in again.err
    assert name not in listed(weir, source)


def test_slots_of_others_are_left_alone(weir, source, foreign):
    """They are not Weir's: what drops them is said, and not done."""
    for name, what in zip(foreign, ("physical", "test_decoding")):
        refused = weir.run("slots", "drop", source.url, name, code=2)
        assert name in refused.err and what in refused.err
        assert f"hint: If nobody needs it: SELECT pg_drop_replication_slot('{name}');" in refused.err
    assert set(foreign) <= set(listed(weir, source))


# ---------------------------------------------------------------------------------------------
# weir init
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["shop", None])
def test_init(weir, source, folder):
    """What it makes is a project as it stands; with a database of one's own it runs."""
    source.sql(TABLE)
    where = [folder] if folder else []
    file = weir.folder / (folder or ".") / "weir.yml"
    said = weir.run("init", *where).out
    assert f"made {folder or '.'}/weir.yml" in said and f"weir check {folder or '.'}" in said
    text = file.read_text()
    refused = weir.run("init", *where, code=2)
    assert "weir.yml\" is there already" in refused.err and "hint: It is left as it is" in refused.err
    assert file.read_text() == text
    # As it is: nothing is wrong with the file, there is only no such database.
    (found,) = json.loads(weir.run("check", "--format", "json", *where, code=2, PGPORT="1").out)["pipelines"]
    assert found["name"] == "shop-to-copy" and found["sink"].startswith("duckdb:") and found["buffer"] is None
    assert [finding["what"].startswith("source: connect to") for finding in found["findings"]] == [True]
    file.write_text(text.replace("postgres://localhost/shop", source.url).replace("type: duckdb", "type: sqlite"))
    assert "Ready." in weir.run("check", *where).out
    weir.run("run", *where, "--until", "now")
    assert file.with_name("shop.duckdb").exists() and len(source.slots()) == 1


def test_init_where_nothing_can_be_made(weir):
    (weir.folder / "file").write_text("x")
    for where in ("file", "file/below", "no/such/folder"):
        refused = weir.run("init", where, code=2)
        assert f'"{where}' in refused.err, refused


# ---------------------------------------------------------------------------------------------
# Names and places
# ---------------------------------------------------------------------------------------------


def name_of(ended):
    return re.search(r" pipeline=(\S+)", ended.err)[1]


def test_the_default_name_is_said(weir, source, tmp_path):
    """Derived from both ends, the same for each run, another for other ends."""
    source.sql(TABLE)
    ends = [source.url, f"sqlite:{tmp_path}/one.db"]
    first = weir.drain(*ends)
    name = name_of(first)
    assert name.startswith(f"{source.name}-to-sqlite-one") and "starting pipeline=" in first.err
    assert source.slots()[0][0] == "weir_" + re.sub("[^a-z0-9]", "_", name)
    assert (weir.state / "weir" / name).exists()
    assert name_of(weir.drain(*ends)) == name and "rows_copied=0" in weir.drain(*ends).err
    assert f"Pipeline {name}\n" in weir.run("check", *ends).out
    other = name_of(weir.drain(source.url, f"sqlite:{tmp_path}/sub.one.db"))
    assert other != name and len(source.slots()) == 2
    assert name_of(weir.drain(*ends, "--name", "mine", code=None)) == "mine"


@sqlite
def test_slot_of_ones_choice(pipeline):
    source = pipeline.source
    source.sql(TABLE)
    name = f"chosen_{source.name}"
    pipeline.drain("--slot", name)
    assert [slot[0] for slot in source.slots()] == [name]
    assert {row[0] for row in source.sql("SELECT pubname FROM pg_publication")} == {name, name + "_append"}
    source.sql("INSERT INTO t VALUES (3, 'c')")
    assert "rows_copied=0" in pipeline.drain("--slot", name).err
    pipeline.check()


@pytest.mark.parametrize("sink", ["file"])
def test_state_in_another_place(pipeline, tmp_path):
    """Position and lock are there and nowhere else; without it the same command would begin anew."""
    place = tmp_path / "elsewhere/state"
    pipeline.source.sql(TABLE)
    options = "--state", place, "--name", "p"
    pipeline.drain(*options)
    assert (place / "p").is_dir() and not pipeline.weir.state.exists()
    pipeline.source.sql("INSERT INTO t VALUES (3, 'c')")
    process = pipeline.start(*options)
    pipeline.settle(process)
    assert "already running" in pipeline.drain(*options, code=2).err
    assert process.stop().code == 0
    pipeline.drain(*options)
    pipeline.check()
    assert pipeline.target.replay().ops["read"] == 2 and not pipeline.weir.state.exists()


# ---------------------------------------------------------------------------------------------
# The log
# ---------------------------------------------------------------------------------------------


def logged(text):
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        assert list(line)[:3] == ["time", "level", "message"], line
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["time"])
        assert line["level"] in ("error", "warn", "info", "debug") and line["message"]
        assert all(isinstance(value, (str, int)) for value in line.values())
    return lines


@pytest.mark.parametrize("sink", ["postgres"])
def test_a_log_for_machines(pipeline):
    """Every line is an object, whatever happens: starts, retries, ends, failures."""
    source, target = pipeline.source, pipeline.target.database
    source.sql(TABLE + 'CREATE TABLE "odd \\ ""name" (n int); ALTER TABLE "odd \\ ""name" REPLICA IDENTITY NOTHING')
    options = "--log-format", "json", "--name", "p"
    for _ in range(2):
        lines = logged(pipeline.drain(*options).err)
        by_message = {line["message"]: line for line in lines}
        starting = by_message["starting"]
        assert starting["pipeline"] == "p" and starting["guarantee"] == "exactly-once" and starting["level"] == "info"
        assert starting["sink"].startswith("postgres://") and starting["state"]
        assert by_message["done"]["changes"] == 0 and isinstance(by_message["done"]["ms"], int)
    process = pipeline.start(*options)
    pipeline.settle(process)
    with target.server.connect() as admin:
        admin.execute(f'ALTER DATABASE "{target.name}" ALLOW_CONNECTIONS false')
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (target.name,))
        source.sql("INSERT INTO t VALUES (3, 'c')")
        process.expect('"message":"retrying"')
        admin.execute(f'ALTER DATABASE "{target.name}" ALLOW_CONNECTIONS true')
    target.close()
    pipeline.settle(process)
    (retrying, *_) = [line for line in logged(process.stop().err) if line["message"] == "retrying"]
    assert retrying["level"] == "warn" and retrying["pipeline"] == "p" and retrying["error"] and retrying["in_ms"] >= 0
    source.sql("SELECT pg_drop_replication_slot('weir_p')")
    *_, failed = logged(pipeline.drain(*options, code=2).err)
    assert failed["level"] == "error" and "weir_p" in failed["error"] and "--name" in failed["hint"]


@pytest.mark.tsan
def test_a_log_of_several_for_machines(make_hub):
    """Each line says of whom it is."""
    hub = make_hub(Buffered, "sqlite", "file")
    hub.source.sql(TABLE + "CREATE TABLE customers (id int PRIMARY KEY, name text)")
    for _ in range(2):
        lines = logged(hub.weir.run("run", hub.file, "--until", "now", "--log-format", "json").err)
        assert all(line["pipeline"] == "hub" for line in lines)
        assert {line.get("route") for line in lines if line["message"] == "done"} == {"buffer", "sqlite", "file"}
    hub.source.sql("SELECT pg_drop_replication_slot('weir_hub')")
    lines = logged(hub.weir.run("run", hub.file, "--until", "now", "--log-format", "json", code=2).err)
    (failed,) = [line for line in lines if line["level"] == "error"]
    assert failed["message"] == "failed" and failed["pipeline"] == "hub" and "weir_hub" in failed["error"]


def test_mistakes_for_machines(weir, source, tmp_path):
    """Also those that end a command before it has begun."""
    source.sql(TABLE)
    (tmp_path / "precious").write_text("x\n")
    for words in (["stream", source.url, "sqlte:x.db"], ["copy", source.url, f"file:{tmp_path}/precious"],
                  ["slots", "drop", source.url, "missing"], ["init", "precious"], ["run", "missing.yml"],
                  ["check", "missing.yml"]):
        *_, failed = logged(weir.run(*words, "--log-format", "json", code=2).err)
        assert failed["level"] == "error" and failed["message"] == "failed" and failed["error"], failed


def test_level_of_the_log(weir, source):
    source.sql(TABLE)
    assert weir.drain(source.url, "null:", "--log-level", "warn").err == ""
    assert "starting" in weir.drain(source.url, "null:", "--log-level", "info").err
