"""Memory is bounded by configuration, not by what the database does."""
import contextlib
import sqlite3

import pytest

from harness.targets import make_target
from harness.wait import wait_for
from harness.weir import RELEASE, Weir

pytestmark = pytest.mark.memory
MB = 1 << 20


@pytest.fixture
def weir(tmp_path, make_database):
    """The program as it ships: sanitizers take memory of their own."""
    program = Weir(tmp_path, RELEASE)
    yield program
    program.kill_all()


def peak_of_drain(weir, source, url):
    process = weir.start("stream", source.url, url, "--until", "now")
    peak, ended = process.peak(180)
    assert ended.code == 0, ended
    return peak


@pytest.mark.parametrize("kind", ["null", "file", "sqlite", "postgres", "duckdb"])
def test_transaction_of_a_million_rows(weir, source, make_database, tmp_path, kind):
    target = None if kind == "null" else make_target(kind, tmp_path, make_database)
    url = "null:" if target is None else target.url()
    source.sql("CREATE TABLE t (id int PRIMARY KEY, v text)")
    weir.drain(source.url, url)
    source.sql("INSERT INTO t SELECT g, 'row ' || g FROM generate_series(1, 1000000) g")
    peak = peak_of_drain(weir, source, url)
    assert peak < 100 * MB, f"{peak / MB:.0f} MB"
    if kind in ("sqlite", "duckdb"):
        with target.connect() as db:
            assert db.execute("SELECT count(*), sum(id), count(DISTINCT v) FROM t").fetchall() == [
                (1000000, 500000500000, 1000000)]
    if kind == "postgres":
        assert target.database.sql("SELECT count(*), sum(id), count(DISTINCT v) FROM t") == [
            (1000000, 500000500000, 1000000)]
    if kind == "file":
        inserts = sum(line.startswith(b'{"op":"insert"') for line in target.path.open("rb"))
        assert inserts == 1000000


def test_update_of_a_million_rows(weir, source, tmp_path):
    """What DuckDB joins with is as large as a batch, not as the transaction. 72 MB are its own, library and all; 24 MB of
    the transaction are kept in memory while it runs, and are given back as the queue fills."""
    target = make_target("duckdb", tmp_path)
    source.sql("CREATE TABLE t (id int PRIMARY KEY, v text);"
               "INSERT INTO t SELECT g, 'row ' || g FROM generate_series(1, 1000000) g")
    weir.drain(source.url, target.url())
    source.sql("UPDATE t SET v = 'now ' || id")
    peak = peak_of_drain(weir, source, target.url())
    assert peak < 115 * MB, f"{peak / MB:.0f} MB"
    with target.connect() as db:
        assert db.execute("SELECT count(*), sum(id), count(DISTINCT v), min(v) FROM t").fetchall() == [
            (1000000, 500000500000, 1000000, "now 1")]


def test_key_changes_of_long_rows(weir, source, tmp_path):
    """What does not change stays where it is, however many rows get another key one by one. DuckDB is given little, and
    what it cannot do with that is tried again with more: not here."""
    target = make_target("duckdb", tmp_path)
    source.sql("CREATE TABLE t (id text PRIMARY KEY, n int, v text); ALTER TABLE t ALTER v SET STORAGE EXTERNAL;"
               "INSERT INTO t SELECT 'A' || g, 0, repeat(md5(g::text), 160) FROM generate_series(1, 2000) g")
    weir.drain(source.url, target.url())
    source.sql("""DO $$ BEGIN FOR i IN 1..600 LOOP
                      UPDATE t SET n = i WHERE id = 'A' || i + 1000;
                      UPDATE t SET id = 'B' || i WHERE id = 'A' || i;
                  END LOOP; END $$""")
    process = weir.start("stream", source.url, target.url(), "--until", "now")
    peak, ended = process.peak()
    assert ended.code == 0, ended
    assert "retrying" not in ended.err
    assert peak < 115 * MB, f"{peak / MB:.0f} MB"
    with target.connect() as db:
        assert db.execute("SELECT left(id, 1), count(*), sum(n), count(DISTINCT v), sum(length(v)) FROM t GROUP BY 1 "
                          "ORDER BY 1").fetchall() == [("A", 1400, 180300, 1400, 1400 * 5120), ("B", 600, 0, 600, 600 * 5120)]


def test_copy_of_a_large_table(weir, source, tmp_path):
    source.sql("CREATE TABLE t (id int PRIMARY KEY, v text);"
               "INSERT INTO t SELECT g, repeat(md5(g::text), 16) FROM generate_series(1, 150000) g")
    process = weir.start("copy", source.url, "null:")
    peak, ended = process.peak()
    assert ended.code == 0, ended
    assert peak < 64 * MB, f"{peak / MB:.0f} MB"


@pytest.mark.parametrize("count", [1, 8])
def test_many_pipelines(weir, source, tmp_path, count):
    """They share what one has."""
    source.sql("CREATE TABLE t (id int PRIMARY KEY, v text)")
    path = tmp_path / "weir.yml"
    names = [f"p{i}" for i in range(count)]
    path.write_text(f"connections:\n  a: {{ type: postgres, url: '{source.url}' }}\n"
                    + "".join(f"  {n}: {{ type: sqlite, path: '{tmp_path}/{n}.db' }}\n" for n in names) + "pipelines:\n"
                    + "".join(f"  {n}: {{ from: {{ connection: a }}, to: {{ connection: {n} }} }}\n" for n in names))
    weir.run("run", path, "--until", "now")
    source.sql("INSERT INTO t SELECT g, repeat('x', 300) FROM generate_series(1, 300000) g")
    peak, ended = weir.start("run", path, "--until", "now").peak(240)
    assert ended.code == 0, ended
    for name in names:
        with contextlib.closing(sqlite3.connect(tmp_path / f"{name}.db")) as db:
            assert db.execute("SELECT count(*), sum(id), sum(length(v)) FROM t").fetchall() == [
                (300000, 45000150000, 90000000)]
    assert peak < 100 * MB, f"{peak / MB:.0f} MB"


@pytest.fixture
def late_table(pipeline):
    """A pipeline that streams, and soon finds the table `big`."""
    pipeline.source.sql("CREATE TABLE a (id int PRIMARY KEY)")
    pipeline.source.url += "?refresh=200ms&streaming=false"
    process = pipeline.start()
    pipeline.settle(process)
    return pipeline.source, process


LOAD = "INSERT INTO big SELECT g, repeat('x', 1000) FROM generate_series(1, 300000) g"


@pytest.mark.parametrize("sink", ["sqlite", "postgres"])
def test_load_that_a_snapshot_waits_for(pipeline, late_table):
    """All of it comes while the table is being copied: no snapshot is made before the transaction has ended."""
    source, process = late_table
    with source.server.connect(source.name) as db:
        db.autocommit = False
        db.execute("INSERT INTO a VALUES (1)")
        source.sql("CREATE TABLE big (id int PRIMARY KEY, v text)")
        wait_for(lambda: source.one("SELECT count(*) FROM pg_replication_slots WHERE temporary") == 1, 20)
        db.execute(LOAD)
        db.commit()
    pipeline.settle(process, 120)
    # The position may be ahead of the copy, which would be made again behind a stop.
    wait_for(lambda: pipeline.target.count("public", "big") == 300000, 120, every=0.5)
    highest = process.memory()[1]
    assert process.stop().code == 0
    pipeline.check()
    assert highest < 100 * MB, f"{highest / MB:.0f} MB"


@pytest.mark.parametrize("sink", ["postgres"])
def test_load_beside_a_copy(pipeline, late_table):
    """The copy does not have it: what is held back until the rows are there is as large as a transaction may be."""
    source, process = late_table
    target = pipeline.target.database
    target.sql("CREATE TABLE big (id int PRIMARY KEY, v text)")
    with target.server.connect(target.name) as lock:
        lock.autocommit = False
        lock.execute("LOCK TABLE big IN SHARE MODE")  # to be read, not written
        source.sql("CREATE TABLE big (id int PRIMARY KEY, v text); INSERT INTO big VALUES (0, 'first')")
        wait_for(lambda: target.one("SELECT count(*) FROM pg_locks WHERE NOT granted") == 1, 20)
        source.sql(LOAD)
        wait_for(lambda: process.spilled() > 250 * MB, 60)
    pipeline.settle(process, 120)
    highest = process.memory()[1]
    assert process.stop().code == 0
    pipeline.check()
    assert highest < 100 * MB, f"{highest / MB:.0f} MB"


def test_idle(weir, source):
    source.sql("CREATE TABLE t (id int PRIMARY KEY)")
    process = weir.start("stream", source.url, "null:")
    process.expect("streaming")
    source.sql("INSERT INTO t VALUES (1)")
    source.wait_confirmed()
    now, _ = process.memory()
    assert process.stop().code == 0
    assert now < 16 * MB, f"{now / MB:.1f} MB"


def test_row_of_many_megabytes(weir, source, tmp_path):
    """A row has to be held whole; it may not be held many times."""
    target = make_target("sqlite", tmp_path)
    source.sql("CREATE TABLE t (id int PRIMARY KEY, v text)")
    weir.drain(source.url, target.url())
    source.sql("INSERT INTO t VALUES (1, repeat('x', 30000000))")
    peak = peak_of_drain(weir, source, target.url())
    assert peak < 256 * MB, f"{peak / MB:.0f} MB"
    with target.connect() as db:
        assert db.execute("SELECT length(v) FROM t").fetchall() == [(30000000,)]
