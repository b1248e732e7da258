"""Transactions that no memory holds: huge."""
import contextlib
import os
import random
import shutil
import threading
import time

from suite import measure, peers, targets, workloads
from suite.report import Bar, Result
from suite.servers import Server

MB, GB = 1 << 20, 1 << 30
# Postgres compresses them to a fiftieth, so that its own log and tables stay small: what is sent and kept is the text.
ROW_BYTES = 4000
TABLE = "CREATE TABLE huge (id bigint PRIMARY KEY, long text)"
INSERT = f"INSERT INTO huge SELECT g, repeat(md5(g::text), {ROW_BYTES // 32}) FROM generate_series(1, {{rows}}) g"
LINE = "concat_ws('|', id, long)"
COLUMNS = ["id", "long"]


def spilled(pid):
    """Bytes of the open files that no directory has."""
    total = 0
    with contextlib.suppress(OSError):
        for link in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if "(deleted)" in os.readlink(link.path):
                    total += os.stat(link.path).st_size
    return total


class Watch:
    """The most that the running program has had on its own disk, and what others see of the target's table meanwhile."""

    def __init__(self, seen=lambda: None):
        self.seen, self.counts, self.looks, self.disk = seen, set(), 0, 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while not self.done.wait(1):
            self.disk = max([self.disk, *(spilled(process.pid) for process in measure.started)])
            self.counts.add(self.seen())
            self.looks += 1

    def end(self):
        """Of a look that failed there is none behind it."""
        self.done.set()
        self.thread.join()
        if self.looks == 0:
            measure.stop("nobody looked at the target while it was written")


def rows_seen(server):
    def look():
        if server.value("SELECT to_regclass('huge') IS NULL"):
            return None
        return server.value("SELECT count(*) FROM huge")
    return look


def require(folder, free):
    if shutil.disk_usage(folder).free < free:
        measure.stop(f"it takes {free / GB:.0f} GB of disk for a while, and {folder} has less")


def send_early(source):
    """The least that the server keeps itself: it sends everything while it runs."""
    source.sql("ALTER SYSTEM SET logical_decoding_work_mem = '64kB'", "postgres")
    source.sql("SELECT pg_reload_conf()", "postgres")


def one(folder, quick):
    """{who: samples} of the one large transaction."""
    rows = (300 * MB if quick else 10 * GB) // ROW_BYTES
    require(folder, rows * ROW_BYTES * 2.3 + 2 * GB)
    source, target = Server(folder / "source"), Server(folder / "target")
    send_early(source)
    for text in [TABLE, f"CREATE PUBLICATION {peers.PUBLICATION} FOR TABLE huge",
                 f"SELECT pg_create_logical_replication_slot('{peers.SLOT}', 'pgoutput')", INSERT.format(rows=rows)]:
        source.sql(text)
    end, expected = source.end_of_log(), workloads.line_digest(source, "huge", LINE)

    def into(store, seen=lambda: None):
        def run():
            store.fresh()
            watch = Watch(seen)
            try:
                sample, log = peers.weir_from_slot(source, store.url(), folder, end, [source, target])
            finally:
                watch.end()
            if not watch.counts <= {None, 0, rows}:
                measure.stop(f"a part of the transaction was seen: {sorted(watch.counts - {None})} rows")
            if store.kind == "null":
                store.check(expected, COLUMNS, log)
            else:
                store.check(expected, "huge", COLUMNS)
                store.fresh()
            return {**sample, "disk": watch.disk / MB}
        return run

    contestants = {
        "one, weir → null": into(targets.Null()),
        "one, weir → file": into(targets.File(folder)),
        "one, weir → postgres": into(targets.Postgres(target), rows_seen(target)),
    }
    samples = measure.alternate(contestants, 1, warm_up=False)
    for server in (source, target):
        server.stop()
        shutil.rmtree(server.data)
    return rows * ROW_BYTES, samples


TURNS, ROWS_A_TURN = 8, 60


def interleave(source, count):
    """@count transactions that take turns and are open all at once, with a savepoint a turn, of which many are rolled back; a
    tenth is rolled back whole. Returns when all have ended."""
    chance = random.Random(7)
    with contextlib.ExitStack() as stack:
        open_now = [stack.enter_context(source.connect()) for _ in range(count)]
        saved = [[] for _ in open_now]
        for connection in open_now:
            connection.autocommit = False
        for turn in range(TURNS):
            for number, connection in enumerate(open_now):
                first = (number * TURNS + turn) * ROWS_A_TURN
                connection.execute(f"SAVEPOINT s{turn}")
                saved[number].append(turn)
                connection.execute(f"INSERT INTO huge SELECT {first} + g, repeat(md5(g::text || {number}), 31) "
                                   f"FROM generate_series(1, {ROWS_A_TURN}) g")
                if chance.random() < 0.3:
                    back = chance.choice(saved[number][-3:])
                    connection.execute(f"ROLLBACK TO s{back}")
                    saved[number] = [one for one in saved[number] if one <= back]
            source.sql(f"INSERT INTO huge VALUES ({-turn - 1}, 'between')")
        chance.shuffle(open_now)
        for connection in open_now:
            (connection.rollback if chance.random() < 0.1 else connection.commit)()


def many(folder, quick):
    """{who: samples} of many that are open at once."""
    count = 100 if quick else 1000
    source, target = Server(folder / "sources"), Server(folder / "targets")
    source.sql("ALTER SYSTEM SET max_connections = 1050", "postgres")
    source.stop("fast")
    source.start()
    send_early(source)
    for text in [TABLE, "ALTER TABLE huge ALTER long SET STORAGE EXTERNAL", f"CREATE PUBLICATION {peers.PUBLICATION} FOR TABLE huge",
                 f"SELECT pg_create_logical_replication_slot('{peers.SLOT}', 'pgoutput')"]:
        source.sql(text)
    began = time.monotonic()
    interleave(source, count)
    print(f"    {count} transactions made in {time.monotonic() - began:.0f} s", flush=True)
    end, expected = source.end_of_log(), workloads.line_digest(source, "huge", LINE)
    store = targets.Postgres(target)

    def run():
        store.fresh()
        watch = Watch()
        try:
            sample, _ = peers.weir_from_slot(source, store.url(), folder, end, [source, target])
        finally:
            watch.end()
        store.check(expected, "huge", COLUMNS)
        return {**sample, "disk": watch.disk / MB}

    return count, measure.alternate({f"{count:,} at once, weir → postgres": run}, 1, warm_up=False)


def huge(folder, quick):
    """Transactions that no memory holds, sent by the server while they run and kept by Weir until they commit. One of 10 GB of
    text, and 1,000 that take turns and are open all at once, with subtransactions of which many are rolled back, and a tenth
    of them rolled back whole. Into Postgres, others look at the table meanwhile: they see nothing of it or all."""
    size, samples = one(folder, quick)
    count, more = many(folder, quick)
    samples |= more
    if quick:
        print(f"    ({size / GB:.1f} GB)")
    return Result(
        f"one transaction of {size / GB:.1f} GB, and {count:,} open at once", samples, list(samples),
        [Bar(f"peak memory, {who}", measure.median(found, "memory"), 100, "MB") for who, found in samples.items()],
        "What null counted, and every value of what the others stored, was compared with the source.",
        columns=[("wall", "wall s"), ("cpu", "CPU s of the mover"), ("memory", "peak MB of the mover"),
                 ("disk", "most MB in its spill file")],
        plot=("memory", "MB"))
