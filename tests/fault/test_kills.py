"""SIGKILL at random moments under load, many times: 500 for each sink without a difference is the bar."""
import os
import shutil
import signal
import time

import pytest

from harness.load import TABLES, kill_at_random, load
from harness.weir import RELEASE

pytestmark = [pytest.mark.fault, pytest.mark.soak,
              pytest.mark.skipif(shutil.which("pgbench") is None, reason="pgbench is not installed")]

KILLS = int(os.environ.get("WEIR_SOAK_KILLS", "500"))


@pytest.mark.timeout(3600)
def test_many_kills(pipeline, sink, tmp_path, seed, record_property):
    """The program as it is released, which starts the fastest. The first tenth of the kills meets the first copy; of the
    others every fifth is counted from when the stream has moved, and the last of each tenth comes when all is delivered,
    so that it never falls behind by more than the server decodes in a moment."""
    pipeline.weir.program = RELEASE
    pipeline.source.sql(TABLES)
    tenth = KILLS // 10
    began = time.monotonic()
    with load(pipeline.source, tmp_path, rate=20, clients=2):
        kill_at_random(pipeline, tenth, 0.15, seed)
        for part in range(9):
            kill_at_random(pipeline, tenth - 1, 0.25, seed + 1 + part, goes_on=5)
            process = pipeline.start()
            pipeline.settle(process, 600)
            process.kill()
    took = time.monotonic() - began
    kills = sum(process.popen.returncode == -signal.SIGKILL for process in pipeline.weir.processes)
    assert kills == 10 * tenth
    pipeline.drain(timeout=900)
    pipeline.check()
    changes = pipeline.source.one("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables")
    record_property("result", f"{sink}: {kills} kills in {took:.0f} s, {changes} rows written at the source meanwhile: all values equal (WEIR_TEST_SEED={seed})")
