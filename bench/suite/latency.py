"""How long a single insert takes to be seen in another Postgres: latency."""
import bisect
import functools
import shutil
import statistics
import subprocess
import threading

from suite import appliers, measure, peers, workloads
from suite.report import Bar, Result
from suite.streams import Following

CALM, BUSY = 300, 5_000  # transactions a second
TABLE = workloads.Workload(
    "", lambda server, n: server.sql("CREATE TABLE single (id bigserial PRIMARY KEY, v text)"), lambda server, n: None, 0, 0)

# Asks without a pause, so that seeing costs some microseconds; every query has a snapshot of its own.
WATCHER = """
CREATE TEMP TABLE seen (id bigint, at float8);
DO $$ DECLARE
    newest bigint; last bigint := 0; deadline timestamptz := clock_timestamp() + interval '{patience} seconds';
BEGIN
    WHILE last < {count} AND clock_timestamp() < deadline LOOP
        SELECT max(id) INTO newest FROM single;
        IF newest > last THEN
            INSERT INTO seen VALUES (newest, extract(epoch FROM clock_timestamp()));
            last := newest;
        END IF;
    END LOOP;
END $$"""


class Watcher(threading.Thread):
    """When the target had each row, from a session in the target."""

    def __init__(self, target, count, seconds):
        super().__init__(daemon=True)
        self.target, self.seen = target, []
        self.text = WATCHER.format(count=count, patience=seconds * 3 + 10)

    def run(self):
        with self.target.connect() as conn:
            conn.execute(self.text)
            self.seen = conn.execute("SELECT id, at FROM seen ORDER BY id").fetchall()


def committed(folder, source, rate, count):
    """pgbench inserts; when each commit had returned, in the order of the ids."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "script").write_text("INSERT INTO single (v) VALUES ('some words');\n")
    subprocess.run([peers.program("pgbench"), "-n", "-h", "127.0.0.1", "-p", str(source.port), "-U", "postgres", "-M",
                    "prepared", "-c", "1", "-R", str(rate), "-t", str(count), "-f", "script", "-l", "--log-prefix=commits",
                    "shop"], check=True, cwd=folder, capture_output=True, env=peers.environment())
    words = [line.split() for path in folder.glob("commits.*") for line in path.read_text().splitlines()]
    return [int(word[4]) + int(word[5]) / 1e6 for word in words]


def delays(commits, seen):
    """In milliseconds. A row that was seen before its commit had returned took no time."""
    ids = [row[0] for row in seen]
    return sorted(max(0.0, (seen[bisect.bisect_left(ids, number)][1] - at) * 1000) for number, at in enumerate(commits, 1))


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def one_round(following, folder, seconds, applier):
    source, target = following.source, following.target
    found = {}
    for name, rate in [("calm", CALM), ("busy", BUSY)]:
        source.sql("TRUNCATE single, mark RESTART IDENTITY")
        appliers.make_slots(source, following.pglogical)
        target.back_to_base(applier.preload)
        applier.prepare()
        applier.start()
        source.sql(workloads.MARK)
        measure.wait_for(lambda: target.value(workloads.MARKED) == 1, f"{applier.name} follows", applier.alive)
        watcher, cpu = Watcher(target, rate * seconds, seconds), sum(map(measure.cpu_of, applier.pids()))
        watcher.start()
        commits = committed(folder / "pgbench", source, rate, rate * seconds)
        watcher.join()
        cpu = sum(map(measure.cpu_of, applier.pids())) - cpu
        workloads.check_equal(workloads.digest(source, following.tables), workloads.digest(target, following.tables))
        applier.stop()
        if not watcher.seen or watcher.seen[-1][0] != len(commits):
            measure.stop(f"{applier.name} did not bring all rows in time")
        ordered = delays(commits, watcher.seen)
        found |= {f"p50_{name}": statistics.median(ordered), f"p99_{name}": percentile(ordered, 0.99),
                  f"rate_{name}": len(commits) / (commits[-1] - commits[0]), f"cpu_{name}": cpu / seconds}
    return found


def latency(folder, quick):
    """Single inserts, each in a transaction of its own, at times that pgbench draws (a Poisson process, which does not wait
    for a slow answer). What counts is the time from when a commit had returned until the target shows the row."""
    seconds, rounds = (3, 1) if quick else (10, 5)
    following = Following(folder, TABLE, 0)
    movers = [appliers.Subscription(following.source, following.target)]
    if following.pglogical:
        movers.append(appliers.Pglogical(following.source, following.target))
    movers.append(appliers.Weir(following.source, following.target, folder))
    samples = measure.alternate(
        {mover.name: functools.partial(one_round, following, folder, seconds, mover) for mover in movers}, rounds,
        warm_up=not quick)
    ours, missing = samples[appliers.Weir.name], appliers.Pglogical.missing()
    columns = [(f"{key}_{name}", f"{label} at {rate:,}/s") for name, rate in [("calm", CALM), ("busy", BUSY)]
               for key, label in [("p50", "p50 ms"), ("p99", "p99 ms"), ("cpu", "cores"),
                                  ("rate", "reached")]]
    return Result(
        f"single inserts, {CALM} and {BUSY:,} transactions a second, {seconds} s each", samples, [appliers.Weir.name],
        [Bar(f"p50 at {CALM}/s", measure.median(ours, "p50_calm"), 0.25, "ms"),
         Bar(f"p99 at {CALM}/s", measure.median(ours, "p99_calm"), 1, "ms"),
         Bar(f"p99 at {BUSY:,}/s", measure.median(ours, "p99_busy"), 20, "ms")],
        "A hash of every row's text was compared, every time.", columns=columns, plot=("p99_calm", "ms"),
        notes=["The commit's time is pgbench's, the row's that of a session of the target that does nothing but ask; it takes "
               "a core while it does, from everybody alike."], missing=[missing] if missing else [])
