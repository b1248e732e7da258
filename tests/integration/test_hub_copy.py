"""What is large, a copied table or one transaction, holds nobody else up on its way into the hub's log, and gets there once."""
import os
import signal
import threading
import time

import pytest

from harness.wait import wait_for

from test_hub_promises import ANY, Hub, count_writes, database, gateway, stripe  # noqa: F401

ROWS = 600_000  # some 130 MB
SOME = 6_000  # of 3 KB each: four parts
SLOW = int(os.environ.get("WEIR_TEST_PATIENCE", "1"))


@pytest.fixture
def hub(weir, make_database, stripe, tmp_path):  # noqa: F811
    left, right = make_database(), make_database()
    left.sql("CREATE TABLE things (id int PRIMARY KEY, name text)")
    right.sql("CREATE TABLE items (id int PRIMARY KEY, name text)")

    def make(copy=True):
        of_stripe = gateway(stripe, {"id": "stripe_id", "name": "note"})
        of_stripe.pop("push_mixer")
        made = Hub(weir, tmp_path / "hub", ANY, {
            "left": database(left, "public.things", {"id": "id", "name": "name"}, copy=copy),
            "right": database(right, "public.items", {"id": "id", "name": "name"}), "gateway": of_stripe}, starts=False)
        made.left, made.right = left, right
        return made
    return make


def fill(made, rows, size):
    made.left.sql("INSERT INTO things SELECT g, repeat('x', %s) || g FROM generate_series(1, %s) g", size, rows)


class Caller:
    """Posts webhooks all the while."""

    def __init__(self, hub):
        self.hub, self.codes, self.worst, self.ends = hub, [], 0, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ends.is_set():
            began = time.monotonic()
            self.codes.append(self.hub.tell("product.created", {"object": "product", "id": f"prod_{len(self.codes)}", "name": "n"}))
            self.worst = max(self.worst, time.monotonic() - began)
            time.sleep(0.05)

    def stop(self):
        self.ends.set()
        self.thread.join()
        assert set(self.codes) == {200} and len(self.codes) >= 3


def copy_of(made):
    return made.sql("SELECT pid FROM pg_stat_activity WHERE query ILIKE 'COPY%%' AND state = 'active' AND pid <> pg_backend_pid() "
                    "AND datname = current_database()")


def arrived(made):
    return made.right.one("SELECT count(*) FROM items")


def test_webhooks_while_a_table_is_copied(hub):
    made = hub()
    fill(made, ROWS, 200)
    process = made.start()
    made.listens()
    caller = Caller(made)
    wait_for(lambda: arrived(made) > 0, 120, lambda: process.logs()[-2000:])
    wait_for(lambda: "streaming pipeline=hub.from.left" in process.logs(), 120, "all is in the log")
    caller.stop()
    assert caller.worst < 1.5 * SLOW, f"{caller.worst} s, {len(caller.codes)} calls"
    process.kill()


def test_webhooks_while_a_copy_stands_still(hub):
    made = hub()
    fill(made, ROWS, 200)
    process = made.start()
    made.listens()
    found = wait_for(lambda: copy_of(made.left), 60, "a copy")
    time.sleep(0.7)
    os.kill(found[0][0], signal.SIGSTOP)
    try:
        caller = Caller(made)
        time.sleep(3)
        caller.stop()
        assert caller.worst < 1.5 * SLOW, f"{caller.worst} s"
        assert copy_of(made.left) == found, "the copy was over before"
    finally:
        os.kill(found[0][0], signal.SIGCONT)
    process.kill()


POINTS = ["stage-durable:1", "stage-counts:1", "stage-part-read:1", "stage-part-moved:1", "stage-part-moved:3", "commit-in-sink:2", "commit-in-sink:3"]


@pytest.mark.parametrize("point", [None, *POINTS])
@pytest.mark.parametrize("kind", ["copy", "transaction"])
def test_it_gets_there_once(hub, kind, point):
    """Each row is written once, wherever it is killed; and what happens behind it, behind it."""
    made = hub(kind == "copy")
    written = count_writes(made.right, "items")
    if kind == "transaction":
        made.drain()
    fill(made, SOME, 3000)
    if point is not None:
        made.weir.run("run", made.folder, "--until", "now", code=-9, WEIR_CRASH_POINT=point)
    made.left.sql("UPDATE things SET name = 'changed' WHERE id = 7")
    made.drain()
    made.left.sql("DELETE FROM things WHERE id > 10")
    made.drain()
    assert made.right.sql("SELECT id, left(name, 7) FROM items ORDER BY id") == \
        [(n, "changed" if n == 7 else "xxxxxxx") for n in range(1, 11)]
    # A copy that had not come to its end has the change already.
    assert written() - (SOME - 10) in (SOME, SOME + 1)
    assert kind == "copy" or written() == SOME + 1 + SOME - 10


def test_two_of_them_one_after_the_other(hub):
    """What was read of the stage is not read again."""
    made = hub(False)
    made.drain()
    written = count_writes(made.right, "items")
    for name in "ab":
        made.left.sql("DELETE FROM things")
        fill(made, SOME, 3000)
        made.left.sql("UPDATE things SET name = name || %s", name)
        made.drain()
    assert made.right.one("SELECT count(*) FROM items WHERE name LIKE '%b'") == SOME
    assert written() == 5 * SOME


def test_what_is_removed_is_in_the_log(hub):
    """A part may begin in the segment before the one in which it ends: that goes when the hub's log has noted the part."""
    made = hub(False)
    made.drain()
    killed = 0
    for rows in (5340, 5360, 5380, 5400):
        made.left.sql("DELETE FROM things")
        made.drain()
        fill(made, rows, 3000)
        killed += made.weir.run("run", made.folder, "--until", "now", code=None, WEIR_CRASH_POINT="buffer-segment-removed:1").code == -9
        made.drain()
        assert made.right.one("SELECT count(*) FROM items") == rows
    assert killed > 0


def staged(made):
    return sum(file.stat().st_size for file in (made.folder.parent / "state").rglob("*.stage/*"))


def test_what_was_never_noted_does_not_pile_up(hub):
    made = hub(False)
    made.drain()
    fill(made, 10_000, 3000)
    sizes = []
    for _ in range(3):
        made.weir.run("run", made.folder, "--until", "now", code=-9, WEIR_CRASH_POINT="stage-durable:1")
        sizes.append(staged(made))
    assert 28e6 < sizes[0] and max(sizes) < sizes[0] + 17 * 1024 * 1024, sizes
    made.drain()
    assert made.right.one("SELECT count(*) FROM items") == 10_000 and staged(made) < 17 * 1024 * 1024
