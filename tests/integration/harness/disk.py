"""File systems of a test's own: one that is full soon, one that can be held up, one that breaks. Only root can mount them."""
import contextlib
import itertools
import os
import pathlib
import signal
import subprocess

import pytest

from harness.wait import wait_for

_numbers = itertools.count(1)


def _call(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(done.args)}: {done.stderr}"


@contextlib.contextmanager
def _mounted(home, *words):
    folder = home.folder(f"disk-{os.getpid()}-{next(_numbers)}")
    command = ["mount", *words, folder]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        home.own(folder)
        yield folder
    finally:
        _call("umount", "--lazy", folder)  # a server that runs may have files of a dropped database open


class SmallDisk:
    def __init__(self, folder):
        self.folder = folder

    def grow(self):
        _call("mount", "-o", "remount,size=256m", self.folder)

    @contextlib.contextmanager
    def read_only(self):
        """While nobody writes there."""
        _call("mount", "-o", "remount,ro", self.folder)
        try:
            yield
        finally:
            _call("mount", "-o", "remount,rw", self.folder)


@contextlib.contextmanager
def small_disk(home, size="2m"):
    """@home: harness.postgres.Home; the server's user may write there, too."""
    with _mounted(home, "-t", "tmpfs", "-o", f"size={size}", "weir-test") as folder:
        yield SmallDisk(folder)


class SlowDisk:
    def __init__(self, folder):
        self.folder = folder

    @contextlib.contextmanager
    def stalled(self):
        """Whoever writes waits, as for storage that does not answer."""
        _call("fsfreeze", "--freeze", self.folder)
        try:
            yield
        finally:
            _call("fsfreeze", "--unfreeze", self.folder)


def _image(folder, size):
    """A file with an empty file system."""
    image = folder / "disk.img"
    with open(image, "wb") as file:
        file.truncate(size)
    try:
        _call("mkfs.ext4", "-q", "-F", image)
    except FileNotFoundError as missing:
        pytest.skip(f"{missing.filename} is not installed")
    return image


@contextlib.contextmanager
def slow_disk(home, folder, size=64 << 20):
    with _mounted(home, "-o", "loop", _image(folder, size)) as mounted:
        yield SlowDisk(mounted)


def _is_stopped(pid):
    states = [stat.read_text().rpartition(")")[2].split()[0] for stat in pathlib.Path(f"/proc/{pid}/task").glob("*/stat")]
    return states and set(states) == {"T"}


class FragileDisk:
    """Turns read-only under whoever has it open, as ext4 does when it meets an error: what was not synced is lost."""

    def __init__(self, image, folder):
        self.image, self.folder = image, folder

    def fail(self, process):
        """While the process is in no call: of a sync that is under way ext4 may say that it is done (seen once in eight times)."""
        device = subprocess.run(["findmnt", "-no", "SOURCE", self.folder], capture_output=True, text=True, check=True).stdout
        trigger = pathlib.Path("/sys/fs/ext4", pathlib.Path(device.strip()).name, "trigger_fs_error")
        process.signal(signal.SIGSTOP)
        try:
            wait_for(lambda: _is_stopped(process.popen.pid), 20, "every thread has come back from its call")
            trigger.write_text("a test")
        finally:
            process.signal(signal.SIGCONT)

    def mend(self):
        """Nobody may have a file open there."""
        owner = os.stat(self.folder)
        _call("umount", self.folder)
        done = subprocess.run(["e2fsck", "-p", self.image], capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), f"{done.stdout}{done.stderr}"  # 1: mended
        _call("mount", "-o", f"loop,{ON_ERROR}", self.image, self.folder)
        os.chown(self.folder, owner.st_uid, owner.st_gid)


ON_ERROR = "errors=remount-ro"


@contextlib.contextmanager
def fragile_disk(home, folder, size=64 << 20):
    image = _image(folder, size)
    with _mounted(home, "-o", f"loop,{ON_ERROR}", image) as mounted:
        yield FragileDisk(image, mounted)
