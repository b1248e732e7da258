"""One source, several places: each goes at its own pace and has everything once."""
import functools
import signal

import pytest

from harness.hub import Hub
from harness.wait import wait_for

from test_basics import CHANGES, SHOP

pytestmark = pytest.mark.tsan


@pytest.fixture
def hub(make_hub):
    return functools.partial(make_hub, Hub)


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


@pytest.mark.valgrind
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
