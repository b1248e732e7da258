"""The program under test."""
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import time

from harness.postgres import PASSWORD, ROOT
from harness.wait import PATIENCE, wait_for

PROGRAM = pathlib.Path(os.environ.get("WEIR", ROOT / "build/weir"))
# The one without sanitizers: for memory and speed.
RELEASE = pathlib.Path(os.environ.get("WEIR_RELEASE", ROOT / "build/weir"))
# Words in front of the program: ./dev test --suite valgrind runs it under that.
WRAPPER = os.environ.get("WEIR_WRAPPER", "").split()
# What a sanitizer, an assertion or valgrind says, wherever it stands on standard error.
SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|Assertion `|^==\d+== ", re.MULTILINE)


class Ended:
    """How a run ended."""

    def __init__(self, code, out, err, command):
        self.code, self.out, self.err, self.command = code, out, err, command

    @property
    def text(self):
        return self.out + self.err

    def __repr__(self):
        shown = " ".join(self.command).replace(PASSWORD, "***")
        return f"{shown}\nexit code {self.code}\n{self.out[-4000:]}\n{self.err[-6000:]}"


class Weir:
    """Runs of one pipeline: they share a state directory and a folder for their output."""

    def __init__(self, folder, program=PROGRAM):
        self.folder = pathlib.Path(folder)
        self.program = pathlib.Path(program)
        self.state = self.folder / "state"
        self.runs = 0
        self.processes = []

    def environment(self, **more):
        keep = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        library = ROOT / "build/libduckdb.so"
        if library.exists():
            keep.setdefault("WEIR_DUCKDB_LIBRARY", str(library))
        # Leaks are looked for at a normal end only, and not inside DuckDB.
        keep.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:exitcode=99:malloc_context_size=12")
        keep.setdefault("LSAN_OPTIONS", "suppressions=" + str(ROOT / "tests/integration/lsan.supp") +
                        ":print_suppressions=0")
        keep.setdefault("TSAN_OPTIONS", f"suppressions={ROOT / 'tests/tsan.supp'}:exitcode=99")
        keep.update(XDG_STATE_HOME=str(self.state), HOME=str(self.folder), NO_COLOR="1", **more)
        return keep

    def start(self, *arguments, limit_file=None, **environment):
        """In the background. @limit_file: no file may become larger than so many bytes."""
        assert self.program.exists(), f"{self.program} is not built"
        self.runs += 1
        wrapper = WRAPPER if self.program == PROGRAM else []
        return Process(self, [*wrapper, str(self.program), *map(str, arguments)], limit_file,
                       self.environment(**environment))

    def run(self, *arguments, timeout=120, code=0, **more):
        """To the end; @code: the exit code it has to have, None for any."""
        ended = self.start(*arguments, **more).wait(timeout)
        assert code is None or ended.code == code, f"wanted exit code {code}\n{ended}"
        return ended

    def drain(self, source, sink, *arguments, **more):
        """stream … --until now"""
        return self.run("stream", source, sink, *arguments, "--until", "now", **more)

    def kill_all(self):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.check_words()


class Process:
    def __init__(self, weir, command, limit_file, environment):
        self.command = command
        self.weir = weir
        self.out = weir.folder / f"run{weir.runs}.out"
        self.err = weir.folder / f"run{weir.runs}.err"

        def limit():
            import resource
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_file, limit_file))

        # A function to call makes it a fork, which copies all of this process's tables of pages.
        prepare = None if limit_file is None else limit
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                          env=environment, cwd=weir.folder, preexec_fn=prepare)
        weir.processes.append(self)

    def logs(self):
        return self.err.read_text(errors="replace")

    def log_lines(self):
        """With --log-format json."""
        return [json.loads(line) for line in self.logs().splitlines()]

    def alive(self):
        return self.popen.poll() is None

    def expect(self, text, timeout=30):
        """Its log says so."""
        def said():
            if text in self.logs():
                return True
            assert self.alive(), f"ended without saying {text!r}\n{self.ended()}"
            return False
        wait_for(said, timeout, lambda: f"log says {text!r}:\n{self.logs()[-3000:]}")

    def must_live(self):
        assert self.alive(), f"it ended by itself\n{self.ended()}"

    def kill(self):
        """Without any warning."""
        if self.alive():
            self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()

    def signal(self, number):
        self.popen.send_signal(number)

    def stop(self, timeout=60):
        """As a service manager does it."""
        self.popen.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout=120):
        try:
            self.popen.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end within {timeout * PATIENCE:.0f} s\n{self.ended()}") from None
        self.check_words()
        return self.ended()

    def ended(self):
        return Ended(self.popen.returncode, self.out.read_text(errors="replace"),
                     self.err.read_text(errors="replace"), self.command)

    def check_words(self):
        """What no run may ever print."""
        text = self.err.read_text(errors="replace")
        assert PASSWORD not in text, f"a password was printed\n{self.ended()}"
        assert not SANITIZER.search(text), f"a sanitizer or an assertion spoke\n{self.ended()}"
        if self.out.stat().st_size < 1 << 20:
            assert PASSWORD not in self.out.read_text(errors="replace"), "a password was printed"

    def memory(self):
        """(resident now, highest) in bytes."""
        text = pathlib.Path(f"/proc/{self.popen.pid}/status").read_text()
        found = {m[1]: int(m[2]) * 1024 for m in re.finditer(r"(VmRSS|VmHWM):\s+(\d+) kB", text)}
        return found.get("VmRSS", 0), found.get("VmHWM", 0)

    def spilled(self):
        """Bytes on disk of what it keeps for a while: open files that no directory has."""
        size = 0
        for link in os.scandir(f"/proc/{self.popen.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                if "(deleted)" in os.readlink(link.path):
                    size += os.stat(link.path).st_blocks * 512
        return size

    def peak(self, timeout=300):
        """Wait for the end; the highest resident memory."""
        highest, deadline = 0, time.monotonic() + timeout * PATIENCE
        while self.alive() and time.monotonic() < deadline:
            try:
                highest = max(highest, self.memory()[1])
            except (FileNotFoundError, ProcessLookupError):
                break
            time.sleep(0.02)
        return highest, self.wait(max(1, deadline - time.monotonic()))
