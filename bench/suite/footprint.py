"""How soon Weir is there and how little it needs: start, idle, big-transaction."""
import contextlib
import functools
import pathlib
import signal
import subprocess
import time

from suite import measure, peers, targets, workloads
from suite.report import Bar, Result
from suite.servers import Server

MB = 1024 * 1024
IDLE_SECONDS = 5.0


def first_row(words, folder, marks):
    """From the start of the process to the first line that has all of @marks, in milliseconds."""
    with open(folder / "weir.log", "wb") as log:
        began = time.monotonic()
        process = measure.start(words, stdout=subprocess.PIPE, stderr=log, env=peers.environment())
        try:
            for line in process.stdout:
                if all(mark in line for mark in marks):
                    return (time.monotonic() - began) * 1000, line
            measure.stop(f"{words[0]} ended before the first row: {(folder / 'weir.log').read_text()}")
        finally:
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
            process.wait()


@contextlib.contextmanager
def idle_weir(server, sink, folder, *more):
    """A pipeline that has copied and has nothing to do."""
    words = peers.weir_words("stream", server, sink, folder, "--slot", "idle", *more)
    with open(folder / "weir.log", "wb") as log:
        process = measure.start(words, stdout=subprocess.DEVNULL, stderr=log, env=peers.environment())
    try:
        # Confirmed beyond what was there when it was asked: it copied, and the stream is on.
        end = server.end_of_log()
        caught_up = f"SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'idle' AND active " \
                    f"AND confirmed_flush_lsn >= '{end}'"
        measure.wait_for(lambda: server.value(caught_up) == 1, "it followed the server",
                         lambda: process.poll() is None, 0.05)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        server.drop_slot("idle")


def stripped_size(folder):
    """Connector libraries are not part of the program: libpq and SQLite are linked, DuckDB is loaded."""
    path = folder / "stripped"
    subprocess.run(["strip", "-o", str(path), str(peers.WEIR)], check=True)
    return path.stat().st_size / MB


def start(folder, quick):
    """From the start of the process until the first row of an existing small table comes out of stdout:, nothing having been
    prepared: the publication and the slot are made on the way. psql -c 'copy … to stdout' shows what a start, a connection and
    a row take at the least. The size is that of the stripped program: libpq and SQLite are shared libraries, DuckDB is
    loaded when it is wanted."""
    rounds = 5 if quick else 30
    server = Server(folder / "source")
    server.sql("CREATE TABLE small (id bigint PRIMARY KEY, a int, b text)")
    server.sql("INSERT INTO small SELECT g, g, 'value ' || g FROM generate_series(1, 100) g")

    def weir():
        words = peers.weir_words("stream", server, "stdout:", folder, "--slot", "start")
        taken, line = first_row(words, folder, [b'"op":"read"', b'"table":"small"'])
        server.drop_slot("start")
        server.sql("DROP PUBLICATION IF EXISTS start")
        if b'"id":1,"a":1,"b":"value 1"' not in line:
            measure.stop(f"the first row is not the source's: {line!r}")
        return {"ms": taken}

    def psql():
        taken, line = first_row([peers.program("psql"), "-q", server.conninfo(), "-c", "copy small to stdout"],
                                folder, [b"\t"])
        if line != b"1\t1\tvalue 1\n":
            measure.stop(f"the first row is not the source's: {line!r}")
        return {"ms": taken}

    samples = measure.alternate({"psql -c 'copy … to stdout'": psql, "weir → stdout:": weir}, rounds)
    with idle_weir(server, "null:", folder) as process:
        time.sleep(1 if quick else IDLE_SECONDS)
        idle = measure.status_kb(process.pid, "VmRSS") / 1024
    size, taken = stripped_size(folder), measure.median(samples["weir → stdout:"], "ms")
    return Result(
        f"the first of 100 existing rows, with the slot and publication made on the way ({rounds} starts)",
        samples, ["weir → stdout:"],
        [Bar("start to first row", taken, 50, "ms"),
         Bar("memory when idle (weir → null:)", idle, 12, "MB"),
         Bar("the stripped program", size, 2, "MB")],
        "The first row was compared with the source's, every time.",
        columns=[("ms", "ms to the first row")], plot=("ms", "ms"))


def switches(pid):
    """How often its threads went to sleep by themselves: once for each time that they woke up."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        text = (task / "status").read_text(encoding="utf-8")
        total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("voluntary_ctxt_switches"))
    return total


def idle(folder, quick):
    """A pipeline has copied a small table and has nothing to do, while another table is written to once a second: its memory,
    its CPU time, how often its threads wake up, and whether the slot follows the server, so that no WAL is kept back."""
    seconds = 3 if quick else 30
    source, target = Server(folder / "source"), Server(folder / "target")
    source.sql("CREATE TABLE small (id bigint PRIMARY KEY); INSERT INTO small SELECT generate_series(1, 1000);"
               "CREATE TABLE other (id bigint)")
    stores = [targets.Null(), targets.File(folder), targets.Sqlite(folder), targets.Postgres(target)]
    missing = [] if "WEIR_DUCKDB_LIBRARY" in peers.environment() else ["libduckdb"]
    stores += [] if missing else [targets.Duckdb(folder)]

    def of(store):
        store.fresh()
        with idle_weir(source, store.url(), folder, "--table", "small") as process:
            time.sleep(1)
            cpu, woken = measure.cpu_of(process.pid), switches(process.pid)
            for _ in range(seconds):
                source.sql("INSERT INTO other SELECT generate_series(1, 100)")
                time.sleep(1)
            sample = {"memory": measure.status_kb(process.pid, "VmRSS") / 1024,
                      "cpu": (measure.cpu_of(process.pid) - cpu) / seconds * 100,
                      "woken": (switches(process.pid) - woken) / seconds}
            end = source.end_of_log()
            began = time.monotonic()
            behind = f"SELECT confirmed_flush_lsn >= '{end}' FROM pg_replication_slots WHERE slot_name = 'idle'"
            measure.wait_for(lambda: source.value(behind), "the slot followed", lambda: process.poll() is None, 0.05)
            sample["follows"] = time.monotonic() - began
        source.sql("DROP PUBLICATION IF EXISTS idle")
        return sample

    samples = measure.alternate({f"weir → {store.kind}": functools.partial(of, store) for store in stores}, 1, warm_up=False)
    return Result(
        f"a pipeline with nothing to do for {seconds} s, while another table is written to", samples, list(samples),
        [Bar("memory, weir → null", samples["weir → null"][0]["memory"], 12, "MB")],
        "The slot had to follow the server, so that no WAL is kept back.",
        columns=[("memory", "MB"), ("cpu", "% of a core"), ("woken", "wake-ups/s"), ("follows", "s until the slot follows")],
        plot=("memory", "MB"), missing=missing)


def big_transaction(folder, quick):
    """One transaction of a million rows, streamed into each sink by its own run: the peak of the program's memory. DuckDB's
    own memory is part of that."""
    rows = 100_000 if quick else 1_000_000
    rounds = 1 if quick else 3
    columns = ["id", "a", "b"]
    source, target = Server(folder / "source"), Server(folder / "target")
    source.sql(workloads.SMALL_TABLE)
    source.sql(f"CREATE PUBLICATION {peers.PUBLICATION} FOR TABLE small")
    source.sql(f"SELECT pg_create_logical_replication_slot('{peers.SLOT}', 'pgoutput')")
    source.sql(f"INSERT INTO small SELECT g, g % 1000, 'value ' || g FROM generate_series(1, {rows}) g")
    end, expected = source.end_of_log(), workloads.line_digest(source, "small", workloads.SMALL_LINE)
    stores = [targets.File(folder), targets.Sqlite(folder), targets.Postgres(target)]
    missing = []
    if "WEIR_DUCKDB_LIBRARY" in peers.environment():
        stores.append(targets.Duckdb(folder))
    else:
        missing.append("duckdb (libduckdb is not installed)")

    def into_null():
        sample, log = peers.weir_from_slot(source, "null:", folder, end, [source])
        targets.Null().check(expected, columns, log)
        return sample

    def into(store):
        def run():
            store.fresh()
            sample, _ = peers.weir_from_slot(source, store.url(), folder, end, [source, target])
            store.check(expected, "small", columns)
            return sample
        return run

    contestants = {"weir → null": into_null} | {f"weir → {s.kind}": into(s) for s in stores}
    samples = measure.alternate(contestants, rounds, warm_up=not quick)
    bars = [Bar(f"peak memory, {who}", measure.median(of, "memory"), 128, "MB") for who, of in samples.items()]
    return Result(f"one transaction of {rows:,} rows", samples, list(samples), bars,
                          "What null counted, and every value of what the others stored, was compared with the source.",
                          plot=("memory", "MB"), missing=missing)
