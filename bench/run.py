#!/usr/bin/env python3
"""Side by side with others, in one run: bench/run.py [--quick] [--out DIR] [NAME...]

Starts throwaway PostgreSQL servers, runs Weir and its peers in turn on the same data, checks every result by
value, and compares. Absolute times mean nothing on another machine, ratios of one run do. A full run is kept in
bench/results/NAME.json and docs/BENCHMARKS.md is drawn from that; a quick one is kept only in the --out folder.
"""
import argparse
import pathlib
import shutil
import signal
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from suite import copies, embedded, fanout, footprint, huge, latency, measure, report, schema, servers, streams  # noqa: E402

BENCHES = {
    "drain": streams.drain,
    **streams.APPLY,
    "latency": latency.latency,
    "copy": copies.copy,
    **embedded.TO,
    "fan-out": fanout.fan_out,
    "big-transaction": footprint.big_transaction,
    "start": footprint.start,
    "idle": footprint.idle,
    "huge": huge.huge,
    "schema": schema.schema,
}


def run(name, quick):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-bench-"))
    folder.chmod(0o711)  # the servers' user passes through
    facts, bench = report.machine(), BENCHES[name]
    about = " ".join(bench.__doc__.split())
    print(f"\n  {name}: {about}\n", flush=True)
    try:
        return report.summary(name, bench(folder, quick), facts, about)
    finally:
        measure.kill_all()
        servers.stop_all()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--quick", action="store_true", help="less data and fewer rounds, nothing is recorded")
    parser.add_argument("--out", type=pathlib.Path, help="a folder for results, page and plots")
    parser.add_argument("--draw", action="store_true", help="draw the page again, measure nothing")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # and so are the servers
    for name in given.names:
        if name not in BENCHES:
            parser.error(f'there is no benchmark "{name}": {", ".join(BENCHES)}')
    keeping = given.out or not given.quick
    for name in [] if given.draw else given.names or BENCHES:
        kept = run(name, given.quick)
        report.show(kept)
        if keeping:
            report.keep(name, kept, given.out)
            report.draw_page(BENCHES, given.out)
    if given.draw:
        report.draw_page(BENCHES, given.out)


if __name__ == "__main__":
    main()
