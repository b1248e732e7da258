"""What follows a slot: drain."""
from suite import measure, peers, targets, workloads
from suite.report import Bar, Result
from suite.servers import Server


def drain(folder, quick):
    """A slot with small inserts in transactions of 100, read to its end and thrown away."""
    rows, rounds = (200_000, 2) if quick else (1_000_000, 7)
    server = Server(folder / "source")
    try:
        server.sql(workloads.SMALL_TABLE)
        server.sql(f"CREATE PUBLICATION {peers.PUBLICATION} FOR TABLE small")
        server.sql(f"SELECT pg_create_logical_replication_slot('{peers.SLOT}', 'pgoutput')")
        server.sql(workloads.small_inserts(rows))
        end = server.end_of_log()

        def weir():
            sample, log = peers.weir_from_slot(server, "null:", folder, end, [server])
            targets.Null().check((rows,), None, log)
            return sample

        samples = measure.alternate({"pg_recvlogical": lambda: peers.pg_recvlogical(server, end), "weir → null": weir},
                                    rounds)
        taken = measure.ratio(samples, "weir → null", "pg_recvlogical")
        cpu = measure.median(samples["weir → null"], "cpu") * 1e6 / rows
        return rounds, Result(
            f"{rows:,} small inserts in transactions of 100, slot → null", samples, ["weir → null"],
            [Bar("wall time of pg_recvlogical -f /dev/null", taken, 1.15),
             Bar("the same, as wanted next", taken, 1.03),
             Bar("CPU seconds per million changes, as wanted next", cpu, 0.25, "s"),
             Bar("peak memory", measure.median(samples["weir → null"], "memory"), 64, "MB")],
            "There is nothing to compare by value: Weir's count of changes had to be the number of rows.")
    finally:
        server.stop()
