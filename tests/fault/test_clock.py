"""The machine's clock is set, by hours, ahead and back: nothing waits for it."""
import datetime
import shutil
import struct
import subprocess

import pytest

from harness.load import TABLES, load
from harness.wait import wait_for

pytestmark = pytest.mark.fault

# In the place of the C library's: the time of day is off by as many seconds as the file says now. Straight from the
# kernel, so that it works from the first instruction on.
CLOCK = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *seconds;

__attribute__((constructor)) static void begin(void)
{
    int fd = open(getenv("WEIR_TEST_CLOCK"), O_RDONLY);
    void *map = mmap(NULL, sizeof(*seconds), PROT_READ, MAP_SHARED, fd, 0);
    seconds = map == MAP_FAILED ? NULL : map;
    close(fd);
}

int clock_gettime(clockid_t id, struct timespec *ret)
{
    int code = (int)syscall(SYS_clock_gettime, id, ret);
    if (code == 0 && seconds != NULL && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        ret->tv_sec += *seconds;
    }
    return code;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *ret = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *ret)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return ret == NULL ? now.tv_sec : (*ret = now.tv_sec);
}
"""


class Clock:
    def __init__(self, folder):
        self.file = folder / "clock"
        self.set(0)
        code, self.preload = folder / "clock.c", folder / "clock.so"
        code.write_text(CLOCK)
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", self.preload, code], check=True)

    def set(self, seconds):
        """In place: it is mapped."""
        with open(self.file, "r+b" if self.file.exists() else "wb") as file:
            file.write(struct.pack("q", seconds))

    def environment(self):
        return {"LD_PRELOAD": str(self.preload), "WEIR_TEST_CLOCK": str(self.file),
                "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0:exitcode=99"}


@pytest.mark.skipif(shutil.which("pgbench") is None, reason="pgbench is not installed")
@pytest.mark.parametrize("sink", ["sqlite", "postgres"])
def test_clock_is_set(pipeline, tmp_path):
    clock, source = Clock(tmp_path), pipeline.source
    source.sql(TABLES)
    process = pipeline.start(**clock.environment())
    pipeline.settle(process)
    with load(source, tmp_path, rate=40):
        for hours in (5, -9, 24 * 400, 0, -24 * 400, 3):
            clock.set(hours * 3600)
            lsn = source.lsn()
            wait_for(lambda: source.confirmed(lsn), 10, lambda: f"with a clock that is {hours} h ahead\n{process.logs()[-3000:]}")
            process.must_live()
    pipeline.settle(process)
    ended = process.stop()
    assert ended.code == 0 and "retrying" not in ended.err, ended
    said = datetime.datetime.fromisoformat(ended.err.splitlines()[-1].split("Z")[0]).replace(tzinfo=datetime.timezone.utc)
    ahead = said - datetime.datetime.now(datetime.timezone.utc)
    assert 2.9 < ahead.total_seconds() / 3600 < 3.1, f"the program has another clock than it was given: {ahead}"
    clock.set(-5 * 3600)
    pipeline.drain(**clock.environment())
    pipeline.check()
