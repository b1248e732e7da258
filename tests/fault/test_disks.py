"""Disks that are full, read-only, or break: the target's are in tests/integration/test_errors.py (TestFullDisk), where it is that a full
one is said, waited for, and gone on from. Here are the pipeline's own: its state, what it spills, and its buffer."""
import os
import re
import signal

import pytest

from conftest import Pipeline
from harness import disk as disks
from harness.hub import Buffered
from harness.targets import make_target
from harness.wait import wait_for
from test_basics import SHOP
from test_disk_buffer import fill

pytestmark = pytest.mark.fault

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b');"


@pytest.fixture
def disk(home):
    """Comes before whatever is on it."""
    with disks.small_disk(home, "1m") as disk:
        yield disk


def is_said(process, *words):
    process.expect("retrying")
    line = next(line for line in process.logs().splitlines() if "retrying" in line)
    for word in ("No space left", "hint=", *words):
        assert word in line, line


@pytest.fixture
def full(disk):
    """Fills it to the last byte, until grow()."""
    def do():
        with open(disk.folder / "filler", "wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                pass
    return do


@pytest.mark.parametrize("sink", ["file"])
def test_state(disk, full, pipeline):
    """What a file has is worth nothing while its length cannot be stored."""
    pipeline.weir.state = disk.folder
    pipeline.source.sql(TABLE)
    process = pipeline.start()
    pipeline.settle(process)
    full()
    # Small changes do not need another page of the state: each rewrites what is there.
    for n in range(3, 40):
        pipeline.source.sql("CREATE TABLE t%s AS SELECT %s AS id" % (n, n))
    pipeline.source.sql("INSERT INTO t SELECT g, 'more' FROM generate_series(3, 300) g")
    process.expect("retrying")
    assert "full" in process.logs() and "hint=" in process.logs(), process.logs()
    disk.grow()
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.drain()
    pipeline.check()


@pytest.mark.parametrize("sink", ["sqlite"])
def test_spill(disk, pipeline):
    """A transaction that runs is larger than the place it is kept in."""
    source = pipeline.source
    source.sql(f"ALTER DATABASE {source.name} SET logical_decoding_work_mem = '64kB'")
    source.sql(TABLE)
    source.url += f"?memory=1MB&spill_dir={disk.folder}"
    process = pipeline.start()
    pipeline.settle(process)
    source.sql("INSERT INTO t SELECT g, repeat(md5(g::text), 30) FROM generate_series(10, 6000) g")
    is_said(process, str(disk.folder))
    disk.grow()
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()


def test_buffer(disk, make_hub, weir):
    weir.state = disk.folder
    hub = make_hub(Buffered, "sqlite", "file")
    hub.source.sql(SHOP)
    process = hub.start()
    hub.settled(process, "sqlite")
    fill(hub.source, 15)
    is_said(process, "Make room")
    disk.grow()
    hub.settled(process, "sqlite")
    assert process.stop().code == 0
    hub.drain()
    hub.check()


class TestReadOnly:
    """Nothing that passes by itself: it stops, and says what to do. Afterwards it goes on."""

    @pytest.fixture
    def target(self, disk, sink, tmp_path, make_database):
        disk.grow()
        return make_target(sink, disk.folder, make_database)

    def stops(self, pipeline, disk):
        pipeline.source.sql("INSERT INTO t SELECT g, 'more' FROM generate_series(3, 300) g")
        with disk.read_only():
            ended = pipeline.weir.run("stream", pipeline.source.url, pipeline.target.url(), "--until", "now", code=2)
        *_, said, hint = ended.err.splitlines()
        assert str(disk.folder) in said and re.search("hint: .*(right to write|for writing|permissions)", hint), ended
        pipeline.drain()
        pipeline.check()

    @pytest.mark.parametrize("sink", ["sqlite", "duckdb", "file"])
    def test_target(self, disk, pipeline):
        pipeline.source.sql(TABLE)
        pipeline.drain()
        self.stops(pipeline, disk)

    def test_state(self, disk, weir, source, tmp_path):
        disk.grow()
        pipeline = Pipeline(weir, source, make_target("file", tmp_path))
        weir.state = disk.folder
        source.sql(TABLE)
        pipeline.drain()
        self.stops(pipeline, disk)


class TestTurnsReadOnly:
    """In the middle of the work, with the files open, and with the loss of what was not synced: it stops, and says what to do.
    Nothing that was confirmed is lost; the next start goes on."""

    @pytest.fixture
    def disk(self, home, tmp_path):
        with disks.fragile_disk(home, tmp_path) as disk:
            yield disk

    @pytest.fixture
    def target(self, disk, sink, make_database):
        return make_target(sink, disk.folder, make_database)

    @staticmethod
    def more(source, first):
        """Transactions enough to be in the middle of them."""
        for n in range(first, first + 200):
            source.sql("INSERT INTO t SELECT g, 'more' FROM generate_series(%s::int * 10, %s::int * 10 + 9) g", n, n)

    def breaks(self, source, process, disk):
        self.more(source, 1000)
        disk.fail(process)
        self.more(source, 2000)
        self.is_told(process, disk)

    @staticmethod
    def is_told(process, disk):
        ended = process.wait()
        said = "\n".join(line for line in ended.err.splitlines() if line.startswith(("weir: ", "hint: ")) or " error failed " in line)
        disk.mend()
        if ended.code == -signal.SIGABRT and "duckdb::IOException" in ended.err:
            assert "Read-only file system" in ended.err, ended
            return  # docs/duckdb.md: of a commit that it cannot take back, the library ends the process
        assert ended.code in (1, 2) and str(disk.folder) in said and "not an error" not in said, ended
        assert re.search("hint(: |=).*(right to write|for writing|permissions|system's log)", said), ended

    @pytest.mark.parametrize("sink", ["sqlite", "duckdb", "file"])
    def test_target(self, disk, pipeline):
        pipeline.source.sql(TABLE)
        process = pipeline.start()
        pipeline.settle(process)
        self.breaks(pipeline.source, process, disk)
        pipeline.drain()
        pipeline.check()

    def test_state(self, disk, weir, source, tmp_path):
        pipeline = Pipeline(weir, source, make_target("file", tmp_path))
        weir.state = disk.folder
        source.sql(TABLE)
        process = pipeline.start()
        pipeline.settle(process)
        self.breaks(source, process, disk)
        pipeline.drain()
        pipeline.check()

    def test_buffer(self, disk, make_hub, weir):
        weir.state = disk.folder
        hub = make_hub(Buffered, "sqlite", "file")
        hub.source.sql(SHOP + TABLE)
        process = hub.start()
        hub.settled(process, "sqlite")
        self.breaks(hub.source, process, disk)
        hub.drain()
        hub.check()

    def test_spill(self, disk, weir, source, tmp_path):
        """With half of a transaction there."""
        source.sql(f"ALTER DATABASE {source.name} SET logical_decoding_work_mem = '64kB'")
        source.sql(TABLE)
        pipeline = Pipeline(weir, source, make_target("sqlite", tmp_path))
        source.url += f"?memory=1MB&spill_dir={disk.folder}"
        process = pipeline.start()
        pipeline.settle(process)

        def has_spilled():
            place = f"/proc/{process.popen.pid}/fd"
            return any(os.readlink(f"{place}/{fd}").startswith(str(disk.folder)) for fd in os.listdir(place))
        rows = "INSERT INTO t SELECT g, repeat(md5(g::text), 30) FROM generate_series(%s::int, %s::int) g"
        with source.transaction():
            source.sql(rows, 10, 3000)
            wait_for(has_spilled, 20, process.logs)
            disk.fail(process)
            source.sql(rows, 3001, 9000)
        self.is_told(process, disk)
        pipeline.drain()
        pipeline.check()
