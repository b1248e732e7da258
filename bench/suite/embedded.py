"""Into files of this machine: to-duckdb, to-sqlite, to-file, each by copy and by stream."""
import json
import sys

from suite import measure, peers, targets, workloads
from suite.report import Bar, Result
from suite.servers import Server

DRAIN = "stream: pg_recvlogical (drain)"
COLUMNS = ["id", "a", "b", "c", "d"]
# With the library itself: what DuckDB's own bulk load makes of the same rows.
DUCKDB_LOAD = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1])
connection.execute("CREATE TABLE big (id BIGINT, a INTEGER, b VARCHAR, c TIMESTAMPTZ, d DECIMAL(12,2))")
connection.execute("SET threads = 2")
connection.execute("COPY big FROM '/dev/stdin' (FORMAT csv, HEADER false)")
connection.close()
"""
SQLITE_TABLE = "CREATE TABLE big (id INTEGER PRIMARY KEY, a INTEGER, b TEXT, c TEXT, d TEXT)"


class Rows(targets.File):
    """What the limit of to-file writes: rows as JSON, nothing else."""

    def digest(self, table, columns):
        def lines():
            with open(self.path, encoding="utf-8") as file:
                for text in file:
                    row = json.loads(text, parse_float=str)
                    yield "|".join(str(row[n])[:19].replace("T", " ") if n == "c" else str(row[n]) for n in columns)
        return workloads.digest_of_lines(lines())


def duckdb_load(path):
    return f"{sys.executable} -c '{DUCKDB_LOAD.replace(chr(39), chr(39) + chr(92) + chr(39) + chr(39))}' {path}"


def sqlite_load(path):
    return f"sqlite3 {path} -cmd '{SQLITE_TABLE}' '.import --csv /dev/stdin big'"


CSV, JSON_ROWS = "copy big to stdout (format csv)", "copy (select row_to_json(big) from big) to stdout"
# kind: what is said of the limit, what psql writes for it, who takes that, and how it is read back
LIMITS = {
    "duckdb": ("psql | DuckDB's COPY", CSV, duckdb_load, targets.Duckdb),
    "sqlite": ("psql | sqlite3 .import", CSV, sqlite_load, targets.Sqlite),
    "file": ("psql, rows as JSON", JSON_ROWS, lambda path: f"cat > {path}", Rows),
}


def _needs(kind):
    """Why a contestant of this target is missing, or None."""
    if kind == "duckdb" and "WEIR_DUCKDB_LIBRARY" not in peers.environment():
        return "libduckdb"
    if kind == "sqlite" and not peers.program("sqlite3"):
        return "sqlite3 (Debian package sqlite3)"
    return None


def _source(folder, rows):
    server = Server(folder / "source")
    for text in [workloads.COPY_TABLE.format("big"), workloads.copy_rows("big", rows), workloads.COPY_KEY.format("big"),
                 workloads.SMALL_TABLE, f"CREATE PUBLICATION {peers.PUBLICATION} FOR TABLE small", "VACUUM ANALYZE",
                 f"SELECT pg_create_logical_replication_slot('{peers.SLOT}', 'pgoutput')", workloads.small_inserts(rows)]:
        server.sql(text)
    return server


def _to(kind, drain_at_least):
    said, query, load, reader = LIMITS[kind]
    store_class = targets.STORES[kind]
    copied, streamed, limit = f"copy: weir → {kind}", f"stream: weir → {kind}", f"copy: {said}"

    def bench(folder, quick):
        rows, rounds = (200_000, 2) if quick else (2_000_000, 5)
        if kind == "duckdb" and _needs(kind):
            measure.stop("libduckdb is not installed: ./dev build gets it")
        server = _source(folder, rows)
        end = server.end_of_log()
        big = workloads.line_digest(server, "big", workloads.COPY_LINE)
        small = workloads.line_digest(server, "small", workloads.SMALL_LINE)
        store, theirs = store_class(folder), reader(folder)

        def run_limit():
            theirs.fresh()
            sample = peers.pipe(f"{peers.program('psql')} -q '{server.conninfo()}' -c '{query}'", load(theirs.path), [server])
            theirs.check(big, "big", COLUMNS)
            return sample

        def run_copy():
            store.fresh()
            words = peers.weir_words("copy", server, store.url(), folder, "--table", "big")
            sample, _ = peers.run_weir(words, folder, [server])
            store.check(big, "big", COLUMNS)
            return sample

        def run_stream():
            store.fresh()
            sample, _ = peers.weir_from_slot(server, store.url(), folder, end, [server])
            store.check(small, "small", COLUMNS[:3])
            return sample

        missing = _needs(kind)
        contestants = {DRAIN: lambda: peers.pg_recvlogical(server, end), streamed: run_stream}
        contestants |= {copied: run_copy} if missing else {limit: run_limit, copied: run_copy}
        samples = measure.alternate(contestants, rounds)
        bars = [] if missing else [Bar(f"wall time of {said}", measure.ratio(samples, copied, limit), 1.3)]
        if drain_at_least:
            bars.append(Bar("the drain's rate, by stream", measure.ratio(samples, DRAIN, streamed), drain_at_least,
                            at_least=True))
        else:
            bars.append(Bar("peak memory, by stream", measure.median(samples[streamed], "memory"), 128, "MB"))
        return Result(f"{rows:,} rows copied, {rows:,} small inserts streamed", samples, [copied, streamed], bars,
                      "Every value in the target was compared with the source's, every time.",
                      missing=[missing] if missing else [])

    bench.__doc__ = f"""A table is copied into {kind}, and beside it {said} does the same with what the library or server has
        for that: the limit. Small inserts in transactions of 100 are streamed into it from a slot, and beside it
        pg_recvlogical throws the same slot away: the drain."""
    return bench


TO = {"to-duckdb": _to("duckdb", 0.8), "to-sqlite": _to("sqlite", None), "to-file": _to("file", 0.8)}
