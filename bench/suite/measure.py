"""Clocks, CPU seconds and peak memory, and rounds that take turns.

A sample is a dict: wall (seconds), cpu (CPU seconds of the mover: its processes, or its workers in a server),
all (CPU seconds of the mover and of everything that both servers ran meanwhile), memory (the mover's peak, in MB).
"""
import math
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")
PATIENCE = 1800.0
started = []


def stop(message):
    """A benchmark that failed has no result."""
    sys.exit(f"\nno result: {message}")


def status_kb(pid, name):
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
    except (OSError, UnicodeDecodeError):
        pass
    return 0


def _times(pid, fields):
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    words = stat[stat.rindex(")") + 2:].split()
    return sum(int(words[field - 3]) for field in fields) / TICK


def cpu_of(pid):
    return _times(pid, (14, 15))


def children(pid):
    try:
        found = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    except OSError:
        return []
    return [int(child) for child in found]


def tree(pid):
    return [pid] + [one for child in children(pid) for one in tree(child)]


def _cpu_of_server(pid):
    """Of the postmaster, of those it has waited for, and of those that still run: none lost in between."""
    while True:
        before = _times(pid, (16, 17))
        living = sum(map(cpu_of, children(pid)))
        if _times(pid, (16, 17)) == before:
            return before + living + cpu_of(pid)


def cpu_of_servers(servers):
    return sum(_cpu_of_server(server.pid) for server in servers)


class MemoryWatch:
    """The peak of what pids() lists, as the sum over its processes, looked at every 20 ms.

    A process of its own is counted by the kernel's mark of its peak. A worker of a server maps the server's
    shared memory, which is not its own: there it is what is resident without that (private)."""

    def __init__(self, pids, private=False):
        self.pids, self.private, self.peak_kb = pids, private, 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def look(self):
        if self.private:
            now = sum(status_kb(p, "VmRSS") - status_kb(p, "RssShmem") for p in self.pids())
        else:
            now = sum(status_kb(p, "VmHWM") for p in self.pids())
        self.peak_kb = max(self.peak_kb, now)

    def watch(self):
        while not self.done.wait(0.02):
            self.look()

    def end(self):
        self.done.set()
        self.thread.join()
        return self.peak_kb / 1024


def start(words, **options):
    """A process that does not outlive kill_all(), nor does what it starts."""
    process = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, start_new_session=True, **options)
    started.append(process)
    return process


def kill_all():
    """Nothing when all went well: everything has ended."""
    while started:
        process = started.pop()
        if process.returncode is None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def run_command(words, servers=(), **options):
    """A command from its start to its end, as a sample."""
    before, began = cpu_of_servers(servers), time.monotonic()
    process = start(words, **options)
    watch = MemoryWatch(lambda: tree(process.pid))
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    memory, cpu = watch.end(), usage.ru_utime + usage.ru_stime
    if process.returncode != 0:
        stop(f"{words[0]} ended with {process.returncode}")
    return {"wall": wall, "cpu": cpu, "memory": memory, "all": cpu + cpu_of_servers(servers) - before}


def wait_for(condition, what, alive=lambda: True, pause=0.005, log=lambda: ""):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if not alive():
            stop(f"it ended before {what}{log()}")
        if time.monotonic() > deadline:
            stop(f"{what} did not happen within {PATIENCE:.0f} s")
        time.sleep(pause)


def describe(sample):
    units = {"wall": "s", "cpu": "CPU s", "all": "CPU s of all", "memory": "MB"}
    return "  ".join(f"{value:9.2f} {units.get(key, key)}" for key, value in sample.items())


def alternate(contestants, rounds, warm_up=True, seconds=math.inf):
    """{name: samples}. Every contestant once a round, beginning with another one each time; the first
    round does not count. After two that count, none begins that would not end within @seconds."""
    samples = {name: [] for name in contestants}
    names, began, longest = list(contestants), time.monotonic(), 0.0
    for number in range(0 if warm_up else 1, rounds + 1):
        round_began = time.monotonic()
        if number > 2 and round_began - began + longest > seconds:
            break
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            sample = contestants[name]()
            if number > 0:
                samples[name].append(sample)
            print(f"    {name:<28}{describe(sample)}" + ("   (warm-up)" if number == 0 else ""), flush=True)
        longest = max(longest, time.monotonic() - round_began)
    return samples


def median(samples, key):
    return statistics.median(sample[key] for sample in samples)


def ratio(samples, above, below, key="wall"):
    """Round by round, so that a drift of the machine's speed does not count."""
    return statistics.median(a[key] / b[key] for a, b in zip(samples[above], samples[below]))
