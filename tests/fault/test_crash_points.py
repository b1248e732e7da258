"""The process ends, as by a power cut, at every place that has a name in the source (base/crash_point.h): before and behind
every step that makes something durable. Started again it goes on, and all values are equal.

The names are read from the source, so that none is forgotten: one that no test comes to is a failure."""
import itertools
import re
import signal
import time

import pytest

from harness.hub import Buffered
from harness.postgres import ROOT
from harness.targets import SINKS
from harness.wait import wait_for
from harness.weir import PROGRAM
from test_basics import SHOP
from test_dead_letters import Letters
from test_disk_buffer import fill

PLACES = {name: path.relative_to(ROOT / "src").as_posix()
          for path in sorted((ROOT / "src").rglob("*.c"))
          for name in re.findall(r'CRASH_POINT\("([a-z-]+)"\)', path.read_text())}

BUILT_IN = PROGRAM.exists() and b"commit-begins\0" in PROGRAM.read_bytes()
pytestmark = [pytest.mark.fault, pytest.mark.skipif(not BUILT_IN, reason="built without -Dcrash_points=true")]

# Which sinks come to a place, where it is not all of them.
ONLY = {
    "copy-rows-passed": ["postgres"],  # what speaks COPY is not looked into
    "copy-rows-written": ["sqlite", "duckdb", "file"],
    "copy-part-committed": ["sqlite", "postgres"],  # DuckDB keeps the rows until the end
    "side-rows-committed": ["postgres"],  # the others copy between two transactions
    "state-filled": ["file"],  # the others keep the position with the data
    **{name: [sink] for name, path in PLACES.items() for sink, begins in
       (("sqlite", "sinks/sqlite"), ("duckdb", "sinks/duckdb"), ("postgres", "sinks/postgres"), ("file", "sinks/events_file"))
       if path.startswith(begins)},
}


def sinks_of(name):
    return ONLY.get(name, SINKS)


BUFFER = [name for name in PLACES if name.startswith("buffer-")]
HUB = [name for name, path in PLACES.items() if path.startswith("hub/")]  # integration/test_hub_stripe_push.py comes to them
HUB += ["copy-letters-kept"]  # and integration/test_hub_promises.py to this one: only a hub sets copied rows aside
START = [name for name in PLACES if name.startswith(("slot-", "publication-", "start-", "copy-")) and name not in HUB]
HTTP = [name for name, path in PLACES.items() if path.startswith("sinks/http")]  # integration/test_http.py does
DEAD = [name for name in PLACES if name.startswith("dead-")]
REPAIR = [name for name in PLACES if name.startswith("repair-")]
STREAM = [name for name in PLACES if name not in BUFFER + START + HUB + HTTP + DEAD + REPAIR]

TABLES = """
    CREATE TABLE t (id int PRIMARY KEY, n int, v text);
    INSERT INTO t SELECT g, g, repeat('x', g % 300) FROM generate_series(1, 600) g;
    CREATE TABLE keyless (n int, v text);
    INSERT INTO keyless SELECT g % 9, 'same' FROM generate_series(1, 300) g;
"""
OPTIONS = "?refresh=200ms&memory=1MB"  # new tables are seen soon, a running transaction goes to the disk


def changes(source, n, large):
    """Of every kind: rows, a table's shape, a new table; @large: a transaction that is sent while it runs."""
    source.sql(f"INSERT INTO t (id, n, v) SELECT 1000 * {n} + g, g, 'new' FROM generate_series(1, 20) g;"
               f"UPDATE t SET n = n + 1 WHERE id % 7 = {n} % 7; DELETE FROM t WHERE id = {n};"
               f"INSERT INTO keyless VALUES ({n}, 'streamed'), ({n}, 'streamed')")
    source.sql(f"ALTER TABLE t ADD COLUMN c{n} int DEFAULT {n}")
    source.sql(f"UPDATE t SET c{n} = id WHERE id % 11 = 0")
    source.sql(f"CREATE TABLE new{n} (id int PRIMARY KEY, v text); INSERT INTO new{n} SELECT g, 'was there' FROM generate_series(1, 9) g")
    if large:
        source.sql(f"INSERT INTO t (id, v) SELECT 1000000 + g, md5(g::text) || repeat('y', 300) FROM generate_series(1, 900) g")
        source.sql(f"DELETE FROM t WHERE id > 1000000")
    source.sql(f"INSERT INTO new{n} VALUES (100, 'came later')")


def killed(process, name, timeout=90, meanwhile=lambda: None):
    """It ended there: by nobody's hand but its own."""
    def ended():
        meanwhile()
        return not process.alive()
    wait_for(ended, timeout, lambda: f"it comes to \"{name}\", {PLACES[name]}\n{process.logs()[-3000:]}")
    assert process.popen.returncode == -signal.SIGKILL, f"not killed at \"{name}\"\n{process.ended()}"


# One sink a place; all of them in a soak.
STARTS = [pytest.param(name, sink, marks=[pytest.mark.soak] if sink != sinks_of(name)[at % len(sinks_of(name))] else [])
          for at, name in enumerate(START) for sink in sinks_of(name)]
# A commit is many things at a start: of the slot's position, of the tables' shapes, of each copy.
STARTS += [pytest.param(f"{name}:{times}", sink, marks=pytest.mark.soak)
           for name in ("commit-begins", "commit-in-sink", "commit-is-over") for times in range(1, 6) for sink in SINKS]


@pytest.mark.parametrize("name, sink", STARTS)
def test_at_the_start(pipeline, name):
    """Until the first copy is over."""
    source = pipeline.source
    source.sql(TABLES)
    if name == "copy-part-committed":
        source.sql("CREATE TABLE bulk AS SELECT g AS id, repeat('x', 1000000) AS v FROM generate_series(1, 70) g")
    process = pipeline.start(WEIR_CRASH_POINT=name)
    killed(process, name.partition(":")[0])
    source.sql("UPDATE t SET n = -n; INSERT INTO keyless VALUES (0, 'between')")
    pipeline.drain()
    pipeline.check()


@pytest.mark.timeout(600)
def test_in_the_stream(pipeline, sink):
    """One place behind the other, in one pipeline."""
    source = pipeline.source
    source.sql(f"ALTER DATABASE {source.name} SET logical_decoding_work_mem = '64kB'")
    source.sql(TABLES)
    source.url += OPTIONS
    pipeline.drain()
    names = [name for name in STREAM if sink in sinks_of(name)]
    for n, name in enumerate(names, 1):
        process = pipeline.start(WEIR_CRASH_POINT=name)
        changes(source, n, name.startswith("spill-"))
        killed(process, name)
    pipeline.drain()
    pipeline.check()


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name, sink", [(name, sink) for name in STREAM for sink in sinks_of(name)])
def test_each_in_the_stream(pipeline, name):
    """The same with a look at the values behind each, and at the second time that the process comes there, too."""
    source = pipeline.source
    source.sql(f"ALTER DATABASE {source.name} SET logical_decoding_work_mem = '64kB'")
    source.sql(TABLES)
    source.url += OPTIONS
    pipeline.drain()

    def goes_on(at):
        changes(source, at, name.startswith("spill-"))
        if at % 100 > 1:  # to some places an attempt comes once: here is another one
            source.sql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = current_database() AND active")
    for n, times in enumerate(("", ":2", ":1"), 1):
        process = pipeline.start(WEIR_CRASH_POINT=name + times)
        killed(process, name, meanwhile=every(lambda at: goes_on(100 * n + at)))
        pipeline.drain()
        pipeline.check()


def every(do, seconds=2):
    """Calls do(0), do(1), … so far apart."""
    last, count = 0, itertools.count()

    def meanwhile():
        nonlocal last
        if time.monotonic() - last > seconds:
            last = time.monotonic()
            do(next(count))
    return meanwhile


def test_in_the_buffer(make_hub):
    """Between the source and two routes; segments are small, so that they begin and go."""
    hub = make_hub(Buffered, "sqlite", "file", segment="64kB", keep="128kB")
    source = hub.source
    source.sql(SHOP)
    hub.drain()
    for name in BUFFER:
        process = hub.weir.start("run", hub.file, WEIR_CRASH_POINT=name)
        killed(process, name, meanwhile=every(lambda _: fill(source, 2), 0.3))
    hub.drain()
    hub.check()


@pytest.mark.parametrize("sink", ["sqlite", "postgres"])
def test_of_dead_letters(pipeline):
    """As they are set aside, and as they are written and go: each once, and none is left."""
    letters = Letters(pipeline)
    words = "--name", "shop", "--on-error", "dead-letter"
    for n, name in enumerate(DEAD):
        if name != "dead-remove-begins":  # it comes to the others as it sets aside
            letters.sql(f"INSERT INTO t VALUES ({100 + n}, 'a'); UPDATE t SET w = {n} WHERE id = {100 + n}")
            killed(pipeline.start(*words, WEIR_CRASH_POINT=name), name)
            letters.drain()
            assert letters.states() == ["refused", "waits"]
        else:
            letters.set_aside(f"INSERT INTO t VALUES ({100 + n}, 'a')")
        letters.refuse(False)
        letters.dead("retry", "shop", "--all")
        letters.sql("INSERT INTO u VALUES (%d, 'a commit')" % n)
        killed(pipeline.start(*words, WEIR_CRASH_POINT=name), name)
        letters.drain()
        assert letters.list() == []
        pipeline.check()
        letters.sql(f"DELETE FROM t WHERE id = {100 + n}")
        letters.drain()
        letters.refuse(True)


@pytest.mark.parametrize("sink", ["sqlite", "postgres"])
def test_in_a_repair(pipeline):
    """Repaired again, all is equal, and the letters of rows that were mended are gone."""
    pipeline.source.sql("CREATE TABLE keyless (n int, v text); INSERT INTO keyless SELECT g % 9, 'same' FROM generate_series(1, 90) g")
    letters = Letters(pipeline)
    letters.refuse(False)
    for n, name in enumerate(REPAIR):
        letters.refuse(True)
        letters.set_aside(f"INSERT INTO t VALUES ({10 + n}, 'a')")
        letters.refuse(False)
        pipeline.target.execute("DELETE FROM t WHERE id = 1", "UPDATE t SET w = -1 WHERE id = 2", "DELETE FROM keyless WHERE n = 3")
        ends = "--name", "shop", pipeline.source.url, pipeline.target.url()
        killed(pipeline.weir.start("verify", "--repair", *ends, WEIR_CRASH_POINT=name), name)
        pipeline.weir.run("verify", "--repair", *ends)
        pipeline.weir.run("verify", *ends)
        assert letters.list() == []
        pipeline.check()
        letters.sql(f"DELETE FROM t WHERE id = {10 + n}")
        letters.drain()


def test_every_place_has_a_name_of_its_own():
    named = [name for path in (ROOT / "src").rglob("*.c") for name in re.findall(r'CRASH_POINT\("([^"]*)"\)', path.read_text())]
    assert sorted(named) == sorted(PLACES), "two places with one name, or one that is no name"
    assert set(ONLY) <= set(PLACES)
