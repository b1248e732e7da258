"""File systems of a test's own: one that is full soon, one that can be held up. Only root can mount them."""
import contextlib
import itertools
import os
import subprocess

import pytest

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


@contextlib.contextmanager
def slow_disk(home, folder, size=64 << 20):
    image = folder / "disk.img"
    with open(image, "wb") as file:
        file.truncate(size)
    try:
        _call("mkfs.ext4", "-q", "-F", image)
    except FileNotFoundError as missing:
        pytest.skip(f"{missing.filename} is not installed")
    with _mounted(home, "-o", "loop", image) as mounted:
        yield SlowDisk(mounted)
