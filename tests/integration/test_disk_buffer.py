"""`buffer: disk`: one log between the source and its routes."""
import contextlib
import random
import re
import shutil
import signal
import time

import pytest

from harness.wait import wait_for

from test_basics import CHANGES, SHOP
from test_kill import TABLES, load, seed  # noqa: F401
from test_metrics import free_port, get, metrics, value
from test_routes import Hub

KILLS = 60


class Buffered(Hub):
    """The same with a disk buffer; @settings: of the buffer."""

    def __init__(self, *words, **settings):
        self.settings = settings
        super().__init__(*words)

    def write(self, routes):
        super().write(routes)
        settings = "".join(f", {key}: {value}" for key, value in self.settings.items())
        with open(self.file, "a") as out:
            out.write(f"    buffer: {{ type: disk{settings} }}\n")

    @property
    def log(self):
        return self.weir.state / "weir/hub.buffer/log"

    def segments(self):
        return sorted(self.log.glob("*.log"))

    def settled(self, process, *names, timeout=60):
        """Until these routes have what is committed now."""
        self.source.sql("INSERT INTO customers (id, name) SELECT greatest(max(id) + 1, 100002), 'mark' FROM customers")
        mark = self.source.one("SELECT count(*) FROM customers")
        for name in names:
            wait_for(lambda: self.targets[name].count("public", "customers") == mark, timeout,
                     lambda: f"{name} has {mark} customers\n{process.logs()[-3000:]}")

    @contextlib.contextmanager
    def down(self, name="postgres"):
        """Its target takes no connections."""
        database = self.targets[name].database
        database.close()
        with database.server.connect() as admin:
            admin.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS false')
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database.name,))
            yield
            admin.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS true')


@pytest.fixture
def hub(weir, source, make_database, tmp_path):
    def make(*routes, on=None, **settings):
        return Buffered(weir, on.database() if on else source, make_database, tmp_path, routes, **settings)
    return make


@pytest.mark.smoke
def test_every_route_has_everything(hub):
    hub = hub("sqlite", "postgres", "file")
    hub.source.sql(SHOP)
    hub.drain()
    hub.check()
    hub.source.sql(CHANGES)
    hub.drain()
    hub.check()
    assert len(hub.source.slots()) == 1, "one slot feeds all of them"


@pytest.mark.kill
@pytest.mark.skipif(shutil.which("pgbench") is None, reason="pgbench is not installed")
def test_killed_under_load(hub, tmp_path, seed):
    """At any moment: every target has every change, and each of them once. Segments are small, so that they change."""
    hub = hub("sqlite", "postgres", "file", segment="64kB")
    hub.source.sql(TABLES)
    chance = random.Random(seed)
    with load(hub.source, tmp_path, rate=120):
        for _ in range(KILLS):
            process = hub.start()
            time.sleep(chance.uniform(0.05, 1.0))
            process.must_live()
            process.kill()
    hub.drain()
    hub.check()


def test_a_target_that_is_down_holds_nobody_up(hub):
    """The others go on, the server may forget its WAL; once it is back, it gets what it missed."""
    hub = hub("sqlite", "postgres")
    hub.source.sql(SHOP)
    process = hub.start()
    hub.settled(process, "sqlite", "postgres")
    with hub.down():
        hub.source.sql(CHANGES)
        hub.settled(process, "sqlite")
        hub.check("sqlite")
        hub.source.wait_confirmed()
        process.kill()  # and whoever starts meanwhile does not wait for it either
        process = hub.start()
        hub.source.sql("UPDATE orders SET total = 1 WHERE id % 4 = 0")
        hub.settled(process, "sqlite")
        hub.check("sqlite")
        hub.source.wait_confirmed()
    hub.settled(process, "postgres")
    process.signal(signal.SIGTERM)
    assert process.wait().code == 0
    hub.drain()
    hub.check()


def test_a_source_that_is_down_is_not_missed(hub, own_server):
    """What the log has is delivered while the server that it came from is away."""
    server = own_server()
    hub = hub("sqlite", "postgres", on=server)
    hub.source.sql(SHOP)
    process = hub.start()
    hub.settled(process, "sqlite", "postgres")
    with hub.down():
        hub.source.sql(CHANGES)
        hub.settled(process, "sqlite")
        hub.source.wait_confirmed()
        wanted = hub.source.one("SELECT count(*) FROM orders")
        process.kill()
        hub.source.close()
        server.stop()
    process = hub.start()
    wait_for(lambda: hub.targets["postgres"].count("public", "orders") == wanted, 60, process.logs)
    server.start()
    process.signal(signal.SIGTERM)
    process.wait()
    hub.drain()
    hub.check()
