#!/usr/bin/env python3
"""Side by side with others, in one run: bench/run.py [--quick] [NAME...]

Starts throwaway PostgreSQL servers, runs Weir and its peer in turn on the same data, checks the result by
value, and compares medians. Absolute times mean nothing on another machine, ratios of one run do. Results go to
bench/results/NAME.json, and docs/BENCHMARKS.md is drawn from them.
"""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from demo import Server, server_binaries  # noqa: E402

WEIR = ROOT / "build/weir"
RESULTS = ROOT / "bench/results"
QUICK = "--quick" in sys.argv
RUNS = 3 if QUICK else 5


class Measured:
    """One finished command: wall seconds, CPU seconds and peak memory of itself, not of the servers."""

    def __init__(self, command, **options):
        began = time.monotonic()
        process = subprocess.Popen([str(c) for c in command], **options)
        self.memory_mb, done = 0.0, threading.Event()
        watcher = threading.Thread(target=self.watch, args=(process.pid, done))
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        self.wall = time.monotonic() - began
        done.set()
        watcher.join()
        self.cpu = usage.ru_utime + usage.ru_stime
        if status != 0:
            sys.exit(f"{command[0]} ended with status {status}")

    def watch(self, pid, done):
        """The kernel's own peak, read while it lives: ru_maxrss would count this Python before exec()."""
        while not done.wait(0.02):
            try:
                text = pathlib.Path(f"/proc/{pid}/status").read_text()
            except OSError:
                return
            peak = next((line.split()[1] for line in text.splitlines() if line.startswith("VmHWM")), "0")
            self.memory_mb = max(self.memory_mb, int(peak) / 1024)


def sql(server, text, database="shop"):
    import psycopg
    with psycopg.connect(server.conninfo + f" dbname={database}", autocommit=True) as conn:
        cursor = conn.execute(text)
        return cursor.fetchall() if cursor.description else None


def weir(server, sink, folder, *more, command="stream"):
    state = [] if command == "copy" else ["--state", folder / "state"]
    return Measured([WEIR, command, server.url, sink, *state, "--log-level", "error", *more])


def alternate(contestants):
    """Every contestant once a round, RUNS rounds after one that does not count."""
    figures = {name: [] for name in contestants}
    for round_number in range(RUNS + 1):
        for name, run in contestants.items():
            measured = run(round_number)
            if round_number > 0:
                figures[name].append(measured)
            print(f"    {name:<24}{measured.wall:8.2f} s {measured.cpu:8.2f} CPU s {measured.memory_mb:8.1f} MB"
                  + ("   (warm-up)" if round_number == 0 else ""), flush=True)
    return figures


def drain(folder):
    """A slot with one million small inserts, read to its end and thrown away."""
    rows = 200_000 if QUICK else 1_000_000
    server = Server(folder)
    try:
        sql(server, "CREATE TABLE t (id bigint PRIMARY KEY, a int, b text)")
        sql(server, "CREATE PUBLICATION bench FOR TABLE t")
        for slot in ["peer", "weir_bench"]:
            sql(server, f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
        sql(server, f"DO $$ BEGIN FOR i IN 0..{rows // 100 - 1} LOOP INSERT INTO t SELECT i * 100 + g, g, "
                    "'value ' || g FROM generate_series(1, 100) g; COMMIT; END LOOP; END $$")
        end = sql(server, "SELECT pg_current_wal_insert_lsn()::text")[0][0]

        def peer(n):
            sql(server, f"SELECT pg_copy_logical_replication_slot('peer', 'peer_{n}')")
            measured = Measured([server_binaries() / "pg_recvlogical", "-h", "127.0.0.1", "-p", server.port, "-U",
                                 "postgres", "-d", "shop", "-S", f"peer_{n}", "--start", "-f", "/dev/null",
                                 "--no-loop", "--endpos", end, "-o", "proto_version=1", "-o",
                                 "publication_names=bench"])
            sql(server, f"SELECT pg_drop_replication_slot('peer_{n}')")
            return measured

        def ours(n):
            sql(server, f"SELECT pg_copy_logical_replication_slot('weir_bench', 'weir_{n}')")
            shutil.rmtree(folder / "state", ignore_errors=True)
            measured = weir(server, "null:", folder, "--slot", f"weir_{n}", "--publication", "bench", "--no-copy",
                            "--until", end, "--name", f"drain{n}")
            sql(server, f"SELECT pg_drop_replication_slot('weir_{n}')")
            return measured

        figures = alternate({"pg_recvlogical": peer, "weir → null:": ours})
        return {"title": f"drain: {rows:,} small inserts from a slot", "peer": "pg_recvlogical",
                "ours": "weir → null:", "bar": 1.15, "figures": figures}
    finally:
        server.stop()


def copy(folder):
    """One table from Postgres to Postgres, without indexes, and compared by a hash of all rows."""
    rows = 500_000 if QUICK else 7_000_000
    (folder / "target").mkdir()
    source = Server(folder)
    target = Server(folder / "target")
    digest = "SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM t"
    try:
        definition = "CREATE TABLE t (id bigint, a int, b text, c timestamptz, d numeric(12,2))"
        sql(source, definition)
        sql(source, f"INSERT INTO t SELECT g, g % 1000, md5(g::text) || md5((g * 7)::text), "
                    f"'2024-01-01'::timestamptz + g * interval '1 second', g / 7.0 FROM generate_series(1, {rows}) g")
        sql(source, "VACUUM ANALYZE t")
        size = sql(source, "SELECT pg_table_size('t')")[0][0]
        expected = sql(source, digest)

        def fresh():
            sql(target, "DROP TABLE IF EXISTS t")
            sql(target, "CHECKPOINT")

        def checked(measured):
            if sql(target, digest) != expected:
                sys.exit("the target is not the source: no result")
            return measured

        def peer(_):
            fresh()
            sql(target, definition)
            pipe = (f"psql -q '{source.conninfo} dbname=shop' -c 'copy t to stdout' | "
                    f"psql -q '{target.conninfo} dbname=shop' -c 'copy t from stdin'")
            return checked(Measured(["bash", "-o", "pipefail", "-c", pipe]))

        def ours(_):
            fresh()
            return checked(weir(source, target.url, folder, command="copy"))

        figures = alternate({"psql | psql": peer, "weir copy": ours})
        return {"title": f"copy: one table of {size / 1e9:.2f} GB, {rows:,} rows, to Postgres", "peer": "psql | psql",
                "ours": "weir copy", "bar": 1.3, "figures": figures}
    finally:
        target.stop()
        source.stop()


BENCHES = {"drain": drain, "copy": copy}


def summarize(name, result):
    def stats(runs):
        return {key: {"median": statistics.median(getattr(r, key) for r in runs),
                      "min": min(getattr(r, key) for r in runs), "max": max(getattr(r, key) for r in runs)}
                for key in ("wall", "cpu", "memory_mb")}
    summary = {key: result[key] for key in ("title", "peer", "ours", "bar")}
    summary["runs"] = RUNS
    summary["figures"] = {who: stats(runs) for who, runs in result["figures"].items()}
    # Rounds are compared pair by pair, so that a drift of the machine's speed does not count.
    pairs = zip(result["figures"][result["ours"]], result["figures"][result["peer"]])
    summary["ratio"] = statistics.median(a.wall / b.wall for a, b in pairs)
    summary["cpus"] = os.cpu_count()
    summary["server"] = subprocess.run([server_binaries() / "postgres", "--version"], capture_output=True,
                                       text=True).stdout.strip()
    print(f"\n  {summary['title']}\n  wall time {summary['ratio']:.2f} × {summary['peer']} (bar: {summary['bar']})\n")
    if not QUICK:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(summary, indent=1) + "\n")
    return summary


def plot(name, summary):
    longest = max(f["wall"]["max"] for f in summary["figures"].values())
    rows = []
    for i, (who, figures) in enumerate(summary["figures"].items()):
        wall, y = figures["wall"], 12 + i * 34
        width, low, high = (wall[k] / longest * 420 for k in ("median", "min", "max"))
        color = "#2b6cb0" if who == summary["ours"] else "#a0aec0"
        rows.append(f'<text x="150" y="{y + 16}" text-anchor="end">{who.replace("&", "&amp;")}</text>'
                    f'<rect x="160" y="{y}" width="{width:.1f}" height="22" fill="{color}"/>'
                    f'<path d="M{160 + low:.1f} {y + 11}H{160 + high:.1f}" stroke="#1a202c" stroke-width="1.5"/>'
                    f'<text x="{166 + high:.1f}" y="{y + 16}">{wall["median"]:.2f} s</text>')
    height = 20 + 34 * len(rows)
    svg = (f'<svg xmlns="http://www.w3.org/2000/svg" width="660" height="{height}" font-family="sans-serif" '
           f'font-size="13"><rect width="660" height="{height}" fill="white"/>{"".join(rows)}</svg>\n')
    (ROOT / f"docs/bench-{name}.svg").write_text(svg)


def write_page():
    lines = ["# Benchmarks", "", "Drawn by `./dev bench` from `bench/results/*.json`. Weir and its peer ran in turn, on the "
             "same data, in the same run; every", "result was checked by value. Bars are medians, lines the range. Only the "
             "ratios carry over to another machine.", ""]
    for path in sorted(RESULTS.glob("*.json")):
        summary = json.loads(path.read_text())
        plot(path.stem, summary)
        lines += [f"## {summary['title']}", "", f"![{path.stem}](bench-{path.stem}.svg)", "",
                  "| | wall s (median) | min – max | CPU s of the mover | peak MB |", "|---|---|---|---|---|"]
        for who, f in summary["figures"].items():
            lines.append(f"| {who.replace('|', chr(92) + '|')} | {f['wall']['median']:.2f} | {f['wall']['min']:.2f} – "
                         f"{f['wall']['max']:.2f} | {f['cpu']['median']:.2f} | {f['memory_mb']['median']:.1f} |")
        peer = summary["peer"].replace("|", "\\|")
        lines += ["", f"**{summary['ratio']:.2f} × the wall time of {peer}** (bar: {summary['bar']}). {summary['runs']} "
                  f"rounds, {summary['cpus']} cores, {summary['server']}. Repeat: `./dev bench {path.stem}`.", ""]
    (ROOT / "docs/BENCHMARKS.md").write_text("\n".join(lines))


def main():
    names = [a for a in sys.argv[1:] if not a.startswith("-")] or list(BENCHES)
    for name in names:
        if name not in BENCHES:
            sys.exit(f"there is no benchmark \"{name}\": {', '.join(BENCHES)}")
        folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-bench-"))
        try:
            print(f"\n  {name}: {BENCHES[name].__doc__.splitlines()[0]}")
            summarize(name, BENCHES[name](folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    if not QUICK:
        write_page()


if __name__ == "__main__":
    main()
