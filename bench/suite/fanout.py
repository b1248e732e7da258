"""One source and several routes: fan-out."""
import functools
import re
import shutil
import signal
import subprocess
import time
import urllib.request

from suite import measure, peers, servers
from suite.report import Bar, Result
from suite.streams import slot_of_small_inserts

ROUTES = 4
DELIVERED = re.compile(r'^weir_changes_total\{.*?route="(\w+)".*?\} (\d+)$', re.MULTILINE)


class Project:
    """A pipeline from a copy of the slot into null routes. They store nothing, so what each counts has to be right: that is
    asked for while it runs, and is when a round ends."""

    def __init__(self, server, folder, rows):
        self.server, self.folder, self.rows = server, folder, rows
        self.file, self.port = folder / "weir.yml", servers.free_port()

    def write(self, routes, buffer):
        places = [f"      - {{ connection: nothing, name: r{number} }}" for number in range(routes)]
        self.file.write_text("\n".join([
            "connections:",
            f"  source: {{ type: postgres, url: '{self.server.url}', slot: weir, publication: {peers.PUBLICATION}, copy: false }}",
            "  nothing: { type: 'null' }",
            "pipelines:", "  bench:", "    from: { connection: source }", f"    buffer: {buffer}", "    to:", *places, ""]),
            encoding="utf-8")

    def delivered(self):
        """{route: changes}; empty while it starts."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
                found = DELIVERED.findall(answer.read().decode())
        except OSError:
            return {}
        return {route: int(count) for route, count in found if route != "buffer"}

    def run(self, routes, buffer):
        self.server.drop_slot("weir")
        self.server.copy_slot(peers.SLOT, "weir")
        self.write(routes, buffer)
        state, log = self.folder / "state", peers.Log(self.folder)
        shutil.rmtree(state, ignore_errors=True)
        before, began = measure.cpu_of_servers([self.server]), time.monotonic()
        with open(log.path, "wb") as out:
            process = measure.start([peers.WEIR, "run", self.file, "--state", state, "--metrics", f":{self.port}"],
                                    stdout=subprocess.DEVNULL, stderr=out, env=peers.environment())
        measure.wait_for(lambda: list(self.delivered().values()) == [self.rows] * routes,
                         f"each of {routes} routes had {self.rows} changes", lambda: process.poll() is None, pause=0.01,
                         log=lambda: f" ({self.delivered()}): {log.end()}")
        wall, cpu = time.monotonic() - began, measure.cpu_of(process.pid)
        everything = measure.cpu_of_servers([self.server]) - before + cpu
        memory = measure.status_kb(process.pid, "VmHWM") / 1024
        process.send_signal(signal.SIGTERM)
        if process.wait() != 0:
            measure.stop(f"weir: {log.end()}")
        return {"wall": wall, "cpu": cpu, "memory": memory, "all": everything}


def name_of(routes, buffer):
    return f"{routes} route{'s' if routes > 1 else ''}, {buffer}"


def fan_out(folder, quick):
    """A slot that holds small inserts in transactions of 100 is read by one pipeline of a project, into one null route and into
    four, with the buffer in memory and on disk: what is the cost of more places that all get everything?"""
    rows, rounds = (200_000, 2) if quick else (1_000_000, 5)
    project = Project(slot_of_small_inserts(folder, rows), folder, rows)
    contestants = {name_of(routes, buffer): functools.partial(project.run, routes, buffer)
                   for buffer in ["memory", "disk"] for routes in [1, ROUTES]}
    samples = measure.alternate(contestants, rounds, warm_up=not quick)
    bars = [Bar(f"the rate of one route, {buffer}",
                measure.ratio(samples, name_of(1, buffer), name_of(ROUTES, buffer)), 0.9, at_least=True)
            for buffer in ["memory", "disk"]]
    bars.append(Bar("the rate of one route in memory, by four from disk",
                    measure.ratio(samples, name_of(1, "memory"), name_of(ROUTES, "disk")), 0.9, at_least=True))
    return Result(
        f"{rows:,} small inserts in transactions of 100, slot → null, by one route and by {ROUTES}", samples, list(samples), bars,
        "There is nothing to compare by value: what each route counted had to be the number of rows.")
