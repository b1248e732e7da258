"""One source, several places: each goes at its own pace and has everything once."""
import signal

import pytest

from harness.compare import assert_equal
from harness.targets import make_target
from harness.wait import wait_for

from test_basics import CHANGES, SHOP

TO = {"sqlite": "sqlite", "history": "sqlite", "file": "file", "postgres": "postgres"}


class Hub:
    """A project with one pipeline, and one target a route."""

    def __init__(self, weir, source, make_database, tmp_path, routes):
        self.weir, self.source = weir, source
        self.targets = {}
        for name in routes:
            folder = tmp_path / name
            folder.mkdir()
            self.targets[name] = make_target(TO[name], folder, make_database)
        self.file = tmp_path / "weir.yml"
        self.write(routes)

    def write(self, routes):
        lines = ["connections:", f"  source: {{ type: postgres, url: '{self.source.url}' }}"]
        for name in routes:
            lines.append(f"  {name}: {{ type: {TO[name]}, url: '{self.targets[name].url()}' }}")
        lines += ["pipelines:", "  hub:", "    from: { connection: source }", "    to:"]
        for name in routes:
            mode = ", mode: history" if name == "history" else ""
            lines.append(f"      - {{ connection: {name}{mode} }}")
        self.file.write_text("\n".join(lines) + "\n")

    def drain(self):
        return self.weir.run("run", self.file, "--until", "now")

    def start(self):
        return self.weir.start("run", self.file)

    def check(self, *names):
        for name in names or self.targets:
            if name != "history":
                assert_equal(self.source, self.targets[name])


@pytest.fixture
def hub(weir, source, make_database, tmp_path):
    return lambda *routes: Hub(weir, source, make_database, tmp_path, routes)


def test_every_route_has_everything(hub):
    hub = hub("sqlite", "history", "file", "postgres")
    hub.source.sql(SHOP)
    hub.drain()
    hub.check()
    hub.source.sql(CHANGES)
    hub.drain()
    hub.check()
    events = hub.targets["history"].count("public", "customers")
    assert events > hub.targets["sqlite"].count("public", "customers")
    assert len(hub.source.slots()) == 1, "one slot feeds all of them"


def test_a_route_is_added_and_removed(hub):
    hub = hub("sqlite", "postgres")
    hub.source.sql(SHOP)
    hub.write(["sqlite"])
    hub.drain()
    hub.source.sql(CHANGES)
    hub.write(["sqlite", "postgres"])  # copied from a snapshot of its own, then side by side
    hub.drain()
    hub.check()
    hub.source.sql("UPDATE orders SET total = 7 WHERE id % 2 = 0")
    hub.drain()
    hub.check()


def test_killed_routes_are_at_different_places(hub):
    hub = hub("sqlite", "file", "postgres")
    hub.source.sql(SHOP)
    hub.drain()
    for round in range(6):
        process = hub.start()
        for n in range(12):
            hub.source.sql(f"INSERT INTO customers VALUES ({1000 + round * 100 + n}, 'x')")
            hub.source.sql(f"UPDATE orders SET total = {n} WHERE id % 9 = {n % 9}")
        wait_for(lambda: hub.source.slots(), 10, "a slot")
        process.kill()
    hub.drain()
    hub.check()


def test_one_that_waits_holds_the_confirmation(hub):
    """The source keeps what the slowest route still needs, and a signal ends them all."""
    hub = hub("sqlite", "postgres")
    hub.source.sql(SHOP)
    hub.drain()
    process = hub.start()
    target = hub.targets["postgres"]
    with target.database.server.connect(target.database.name) as holder:
        holder.autocommit = False
        holder.execute("LOCK TABLE customers")
        hub.source.sql("INSERT INTO customers VALUES (5000, 'held')")
        lsn = hub.source.lsn()
        wait_for(lambda: hub.targets["sqlite"].count("public", "customers") == 201, 30, "the other route has it")
        assert not hub.source.confirmed(lsn)
        holder.rollback()
    wait_for(lambda: hub.source.confirmed(lsn), 30, "confirmed")
    process.signal(signal.SIGTERM)
    assert process.wait().code == 0
    hub.drain()
    hub.check()
