"""./dev demo, in its quick form: what it says happens, and nothing is left of it."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

from harness.postgres import ROOT
from harness.weir import RELEASE

pytestmark = pytest.mark.demo


def processes_of(folder):
    """Those that have it in their words."""
    found = []
    for words in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = words.read_bytes()
        except OSError:
            continue  # it has ended
        if str(folder).encode() in text:
            found.append(text)
    return found


def test_demo(home, weir):
    folder = home.folder("demo")
    done = subprocess.run([sys.executable, ROOT / "tools/demo.py", "--quick"], capture_output=True, text=True, timeout=120,
                          env=weir.environment(TMPDIR=str(folder), WEIR=str(RELEASE)), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^(\d)  ", done.stdout, re.M) == ["1", "2", "3", "4"]
    assert "3  Killed with SIGKILL" in done.stdout and "Nothing lost, nothing doubled" in done.stdout
    # Killed, ended, drained: three runs of one pipeline, of which the first one never says goodbye.
    assert [len(re.findall(rf" {word} ", done.stderr)) for word in ("starting", "stopped", "done")] == [3, 1, 1]
    tables = re.findall(r"^  (\w+) +([\d,]+) +([\d,]+)   all equal$", done.stdout, re.M)
    assert [table[0] for table in tables] == ["customers", "items", "orders", "products", "visits"]
    assert all(source == target != "0" for _, source, target in tables)
    transactions = re.search(r"^4  ([\d,]+) transactions later", done.stdout, re.M)
    assert int(transactions[1].replace(",", "")) > 50
    for command, words in re.findall(r"^    build/weir (\w+) +(.*)$", done.stdout, re.M):
        assert command in weir.run("--help").out and words.startswith("postgres://"), "the next steps can be typed"
    assert os.listdir(folder) == [] and processes_of(folder) == []
