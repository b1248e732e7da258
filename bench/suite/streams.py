"""What follows a slot: drain into nothing, apply-* into another Postgres."""
import functools
import time

from suite import appliers, measure, peers, targets, workloads
from suite.report import Bar, Result
from suite.servers import Server

ROUNDS_SECONDS = 140
DRAIN, WEIR_DRAIN = "pg_recvlogical (drain)", "weir → null (drain)"
OWN, WEIR = "own subscription", appliers.Weir.name


def slot_of_small_inserts(folder, rows):
    """A server of whose slot they are all to come."""
    server = Server(folder / "source")
    server.sql(workloads.SMALL_TABLE)
    server.sql(f"CREATE PUBLICATION {peers.PUBLICATION} FOR TABLE small")
    server.sql(f"SELECT pg_create_logical_replication_slot('{peers.SLOT}', 'pgoutput')")
    server.sql(workloads.small_inserts(rows))
    return server


def drain(folder, quick):
    """A slot that holds small inserts is read to its end and thrown away, by Weir into null: and by pg_recvlogical into
    /dev/null, with the same publication and format. Both end by themselves at the position where the inserts ended. Most
    of the time is that of the server's decoder."""
    rows, rounds = (200_000, 2) if quick else (1_000_000, 5)
    server = slot_of_small_inserts(folder, rows)
    end = server.end_of_log()

    def weir():
        sample, log = peers.weir_from_slot(server, "null:", folder, end, [server])
        targets.Null().check((rows,), None, log)
        return sample

    samples = measure.alternate({"pg_recvlogical": lambda: peers.pg_recvlogical(server, end), "weir → null": weir},
                                rounds)
    taken = measure.ratio(samples, "weir → null", "pg_recvlogical")
    cpu = measure.median(samples["weir → null"], "cpu") * 1e6 / rows
    return Result(
        f"{rows:,} small inserts in transactions of 100, slot → null", samples, ["weir → null"],
        [Bar("wall time of pg_recvlogical -f /dev/null", taken, 1.03),
         Bar("CPU seconds per million changes", cpu, 0.25, "s"),
         Bar("peak memory", measure.median(samples["weir → null"], "memory"), 64, "MB")],
        "There is nothing to compare by value: Weir's count of changes had to be the number of rows.")


class Following:
    """Both ends with the changes of a workload on one of them, and everybody who can bring them to the other."""

    def __init__(self, folder, workload, size, pglogical=True):
        self.folder, self.pglogical = folder, pglogical and not appliers.Pglogical.missing()
        preload = "pglogical" if self.pglogical else ""
        self.source, self.target = Server(folder / "source", preload), Server(folder / "target")
        for server in [self.source, self.target]:
            workload.base(server, size)
            server.sql(workloads.MARK_TABLE)
            server.sql("VACUUM ANALYZE")
        self.target.keep_as_base()
        self.tables = [row[0] for row in self.source.sql(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1")]
        self.source.sql(f"CREATE PUBLICATION {peers.PUBLICATION} FOR TABLE {', '.join(self.tables)}")
        if self.pglogical:
            appliers.Pglogical.provide(self.source)
        appliers.make_slots(self.source, self.pglogical)
        workload.changes(self.source, size)
        self.source.sql(workloads.MARK)
        self.end = self.source.end_of_log()
        self.expected = workloads.digest(self.source, self.tables)

    def drain(self):
        """What there is to follow, read by Weir and thrown away."""
        sample, _ = peers.weir_from_slot(self.source, "null:", self.folder, self.end, [self.source])
        self.source.drop_slot("weir")
        return sample

    def apply(self, applier):
        """One round: from start() until the target has the last row."""
        servers = [self.source, self.target]
        self.target.back_to_base(applier.preload)
        applier.prepare()
        workloads.digest(self.target, self.tables)  # warms the caches
        before, began = measure.cpu_of_servers(servers), time.monotonic()
        applier.start()
        watch = measure.MemoryWatch(applier.pids, private=applier.in_server)
        try:
            with self.target.connect() as conn:
                measure.wait_for(lambda: conn.execute(workloads.MARKED).fetchone()[0] == 1,
                                 f"{applier.name} brought the last row", applier.alive, log=applier.log_end)
            wall = time.monotonic() - began
            cpu = sum(map(measure.cpu_of, applier.pids()))
            everything = measure.cpu_of_servers(servers) - before + (0 if applier.in_server else cpu)
        finally:
            memory = watch.end()
        found = workloads.digest(self.target, self.tables)
        applier.stop()
        workloads.check_equal(self.expected, found)
        return {"wall": wall, "cpu": cpu, "memory": memory, "all": everything}


def _apply(name, bars, rounds=5, options=()):
    """The benchmark apply-@name. @bars(samples): what it has to reach; @options: of further subscriptions."""
    workload = workloads.APPLIED[name]

    def bench(folder, quick):
        size, count = (workload.quick, 2) if quick else (workload.full, rounds)
        following = Following(folder, workload, size, pglogical=not quick)
        source, target = following.source, following.target
        movers = [appliers.Subscription(source, target, option) for option in ["", *([] if quick else options)]]
        if following.pglogical:
            movers.append(appliers.Pglogical(source, target))
        movers.append(appliers.Weir(source, target, folder))
        contestants = {DRAIN: lambda: peers.pg_recvlogical(source, following.end), WEIR_DRAIN: following.drain}
        contestants |= {mover.name: functools.partial(following.apply, mover) for mover in movers}
        samples = measure.alternate(contestants, count, warm_up=not quick, seconds=ROUNDS_SECONDS)
        missing = appliers.Pglogical.missing()
        return Result(
            f"{size:,} {workload.unit}: {workload.about}", samples, [WEIR], bars(samples),
            "A hash of every row's text was compared for every table, every time.",
            notes=[f"To bring these changes to the target takes Weir {measure.ratio(samples, WEIR, WEIR_DRAIN):.2f} × as "
                   "long as only to read them: below 1 it cannot come with this source."],
            missing=[missing] if missing else [])

    bench.__doc__ = f"""What is followed: {workload.about}. Everybody starts at the same position of a copy of the slot, with
        a target that has what the source had there, and has ended when the target shows the row that the last transaction
        inserted. The drains only read: pg_recvlogical into /dev/null, and Weir into null:. The server's decoder, which sends
        each change by itself, is what they wait for, and whoever reads with less to do for it reads faster."""
    return bench


def _speed(samples, at_least):
    return Bar(f"speed of the {OWN}", measure.ratio(samples, OWN, WEIR), at_least, at_least=True)


APPLY = {
    "apply-insert": _apply("insert", lambda samples: [
        _speed(samples, 1.5), Bar("wall time of the drain", measure.ratio(samples, WEIR, DRAIN), 1.15)],
        options=["binary = true"]),
    "apply-pgbench": _apply("pgbench", lambda samples: [_speed(samples, 2)]),
    "apply-hot": _apply("hot", lambda samples: [_speed(samples, 5)]),
    "apply-delete": _apply("delete", lambda samples: [_speed(samples, 1)]),
    "apply-wide": _apply("wide", lambda samples: [_speed(samples, 1)], options=["binary = true"]),
    "apply-toast": _apply("toast", lambda samples: [_speed(samples, 1)]),
    "apply-json": _apply("json", lambda samples: [_speed(samples, 1)]),
    "apply-one-big": _apply("one-big", lambda samples: [
        _speed(samples, 1.5), Bar("peak memory", measure.median(samples[WEIR], "memory"), 100, "MB")],
        rounds=3, options=["streaming = true"]),
}
