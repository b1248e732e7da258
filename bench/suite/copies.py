"""One large table from Postgres to Postgres, with its key: copy."""
import shutil
import time

from suite import measure, peers, workloads
from suite.report import Bar, Result
from suite.servers import Server

TEXT, BINARY, DUMP, PGCOPYDB, WEIR = ("psql | psql (text)", "psql | psql (binary)", "pg_dump | psql", "pgcopydb",
                                      "weir copy")


class Copying:
    """Both ends, and each way from one to the other. A way ends when the target has the rows and the key."""

    def __init__(self, folder, rows):
        self.folder = folder
        self.source, self.target = Server(folder / "source"), Server(folder / "target")
        self.source.sql(workloads.COPY_TABLE.format("big"))
        self.source.sql(workloads.copy_rows("big", rows))
        self.source.sql(workloads.COPY_KEY.format("big"))
        self.source.sql("VACUUM ANALYZE big")
        self.expected = workloads.digest(self.source, ["big"])  # and warms the source's cache
        self.size = self.source.value("SELECT pg_total_relation_size('big')")

    def fresh(self):
        self.target.sql("DROP DATABASE shop WITH (FORCE)", "postgres")
        self.target.sql("CREATE DATABASE shop", "postgres")
        self.target.sql("CHECKPOINT", "postgres")

    def checked(self, sample):
        workloads.check_equal(self.expected, workloads.digest(self.target, ["big"]))
        if self.target.value("SELECT count(*) FROM pg_index WHERE indrelid = 'big'::regclass AND indisprimary") != 1:
            measure.stop("the target has no key")
        return sample

    def pipe(self, options):
        """rows_only is the pipe alone, wall has the key, built afterwards by the obvious statement."""
        self.fresh()
        self.target.sql(workloads.COPY_TABLE.format("big"))
        psql, servers = peers.program("psql"), [self.source, self.target]
        before = measure.cpu_of_servers(servers)
        sample = peers.pipe(f"{psql} -q '{self.source.conninfo()}' -c 'copy big to stdout {options}'",
                            f"{psql} -q '{self.target.conninfo()}' -c 'copy big from stdin {options}'", servers)
        began = time.monotonic()
        self.target.sql(workloads.COPY_KEY.format("big"))
        key = time.monotonic() - began
        return self.checked({**sample, "wall": sample["wall"] + key, "rows_only": sample["wall"],
                             "all": sample["cpu"] + measure.cpu_of_servers(servers) - before})

    def dump(self):
        self.fresh()
        return self.checked(peers.pipe(f"{peers.program('pg_dump')} '{self.source.conninfo()}'",
                                       f"{peers.program('psql')} -q -v ON_ERROR_STOP=1 '{self.target.conninfo()}'",
                                       [self.source, self.target]))

    def pgcopydb(self):
        self.fresh()
        work = self.folder / "pgcopydb"
        shutil.rmtree(work, ignore_errors=True)
        with open(self.folder / "pgcopydb.log", "wb") as log:
            return self.checked(measure.run_command(
                [peers.program("pgcopydb"), "clone", "--source", self.source.url, "--target", self.target.url, "--dir",
                 work, "--no-owner", "--no-acl", "--skip-large-objects", "--table-jobs", "2", "--index-jobs", "2"],
                [self.source, self.target], stdout=log, stderr=log, env=peers.environment()))

    def weir(self):
        self.fresh()
        words = peers.weir_words("copy", self.source, self.target.url, self.folder)
        return self.checked(peers.run_weir(words, self.folder, [self.source, self.target])[0])


def copy(folder, quick):
    """One table goes to an empty database, and everybody ends with its primary key built. The pipes go into a table without
    the key and build it then; pg_dump does that by itself; pgcopydb may use two tables' and two indexes' processes."""
    rows, rounds = (300_000, 2) if quick else (7_000_000, 3)
    copying = Copying(folder, rows)
    contestants, missing = {TEXT: lambda: copying.pipe(""), BINARY: lambda: copying.pipe("(format binary)"),
                            DUMP: copying.dump}, []
    if peers.program("pgcopydb"):
        contestants[PGCOPYDB] = copying.pgcopydb
    else:
        missing.append("pgcopydb (Debian package pgcopydb)")
    samples = measure.alternate(contestants | {WEIR: copying.weir}, rounds)
    ours = samples[WEIR]
    for mine, text, binary in zip(ours, samples[TEXT], samples[BINARY]):
        key = [pipe["wall"] - pipe["rows_only"] for pipe in (text, binary)]
        mine["rows_only"] = mine["wall"] - sum(key) / 2
    bars = [Bar(f"wall time of {TEXT}, both with the key", measure.ratio(samples, WEIR, TEXT), 1.3),
            Bar(f"wall time of {BINARY}, the key's time taken off",
                measure.ratio(samples, WEIR, BINARY, "rows_only"), 1.05),
            Bar(f"speed of {DUMP}", measure.ratio(samples, DUMP, WEIR), 1.6, at_least=True)]
    if PGCOPYDB in samples:
        bars.append(Bar(f"speed of {PGCOPYDB}", measure.ratio(samples, PGCOPYDB, WEIR), 2,
                        at_least=True))
    bars.append(Bar("peak memory", measure.median(ours, "memory"), 64, "MB"))
    return Result(
        f"one table of {copying.size / 1e9:.2f} GB with its key, {rows:,} rows, Postgres → Postgres", samples, [WEIR],
        bars, "A hash of every row's text was compared, and that the key is there, every time.",
        columns=[("wall", "wall s, with the key"), ("rows_only", "wall s, without it"), ("cpu", "CPU s of the mover"),
                 ("all", "CPU s of all, with the servers"), ("memory", "peak MB of the mover")],
        notes=["Without the key: of the pipes it is measured; of Weir, which makes the key in between, the time that the "
               "key took after the pipes of the same round is taken off."], missing=missing)
