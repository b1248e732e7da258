"""wal_sender_timeout = 5 s, and targets that stand still for 30: no connection is lost."""
import contextlib
import time

import pytest

from conftest import Pipeline
from harness.disk import slow_disk
from harness.targets import SINKS, make_target
from harness.wait import wait_for
from test_servers import TABLE, locked

pytestmark = pytest.mark.fault

WAL_SENDER_TIMEOUT, STALL = 5, 30


@pytest.fixture
def disk(home, tmp_path):
    with slow_disk(home, tmp_path) as disk:
        yield disk


def walsenders(source):
    return source.sql("SELECT pid, backend_start FROM pg_stat_replication JOIN pg_replication_slots ON active_pid = pid "
                      "WHERE database = current_database() ORDER BY pid")


def test_thirty_seconds(disk, weir, source, tmp_path, make_database):
    """All kinds of targets at once, each with a slot of its own: locks hold up two, a disk that does not answer the others."""
    logged = source.server.log.stat().st_size  # by others, in a database of that name
    source.sql(f"ALTER DATABASE {source.name} SET wal_sender_timeout = '{WAL_SENDER_TIMEOUT}s'")
    source.sql(TABLE)
    pipelines = [Pipeline(weir, source, make_target(sink, disk.folder if sink in ("duckdb", "file") else tmp_path, make_database))
                 for sink in SINKS]
    processes = [pipeline.start(query={"busy_timeout": "120s"} if pipeline.target.kind == "sqlite" else {}) for pipeline in pipelines]

    def all_confirmed(lsn):
        for process in processes:
            process.must_live()
        confirmed = source.sql("SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots "
                               "WHERE database = current_database()", lsn)
        return len(confirmed) == len(SINKS) and all(yes for (yes,) in confirmed)
    for process in processes:
        process.expect("streaming", 60)
    begun = source.lsn()
    wait_for(lambda: all_confirmed(begun), 60, "all have begun")
    before = walsenders(source)
    assert len(before) == len(SINKS)
    with contextlib.ExitStack() as stack:
        stack.enter_context(disk.stalled())
        for pipeline in pipelines:
            if pipeline.target.kind in ("sqlite", "postgres"):
                stack.enter_context(locked(pipeline.target))
        source.sql("UPDATE t SET v = 'stalled'")
        source.sql("INSERT INTO t SELECT g, repeat('z', 900) FROM generate_series(1000, 20000) g")  # more than is kept
        lsn, until = source.lsn(), time.monotonic() + STALL

        def long_enough():
            assert walsenders(source) == before, "a connection was lost\n" + source.server.log_end()
            assert not source.confirmed(lsn), "confirmed although nothing can be written"
            return time.monotonic() > until
        wait_for(long_enough, STALL + 30, "it stalls long enough", 0.5)
    wait_for(lambda: all_confirmed(lsn), 60, "all go on")
    assert walsenders(source) == before
    for process, pipeline in zip(processes, pipelines):
        ended = process.stop()
        assert ended.code == 0 and "retrying" not in ended.err, ended
        pipeline.check()
    log = source.server.log.read_bytes()[logged:].decode(errors="replace")
    said = [line for line in log.splitlines() if f" {source.name} LOG:  terminating walsender" in line]
    assert said == []
