"""The data, and how two ends are compared by value."""
import dataclasses
import hashlib
import subprocess
import typing

from suite import measure, peers

# A sum does not depend on the order of the rows, and sees a row that is there twice.
DIGEST = "SELECT count(*), coalesce(sum(hashtextextended({0}::text, 0)::numeric), 0) FROM {0}"
LINE_DIGEST = ("SELECT count(*), coalesce(sum(('x' || left(md5({line}), 8))::bit(32)::bigint), 0)::bigint FROM {table}")


def digest(server, tables):
    """Of every column of every row, between two Postgres servers of one version."""
    return {table: server.sql(DIGEST.format(table))[0] for table in tables}


def check_equal(expected, found):
    for table, (rows, _) in expected.items():
        if found[table] != expected[table]:
            measure.stop(f"{table} has {found[table][0]:,} rows and the source {rows:,}, or their values differ")


def line_digest(server, table, line):
    """Of rows written as lines: what other stores can compute, too."""
    return tuple(server.sql(LINE_DIGEST.format(table=table, line=line))[0])


def digest_of_lines(lines):
    count = total = 0
    for line in lines:
        count += 1
        total += int.from_bytes(hashlib.md5(line.encode()).digest()[:4], "big")
    return count, total


# One table of small rows, inserted in transactions of 100.
SMALL_TABLE = "CREATE TABLE small (id bigint PRIMARY KEY, a int, b text)"
SMALL_LINE = "concat_ws('|', id, a, b)"


def small_inserts(rows):
    return f"""DO $$ BEGIN FOR i IN 0..{rows // 100 - 1} LOOP
        INSERT INTO small SELECT i * 100 + g, g, 'value ' || g FROM generate_series(1, 100) g; COMMIT;
    END LOOP; END $$"""


# One table as a copy meets it: 136 bytes a row with the key.
COPY_TABLE = "CREATE TABLE {0} (id bigint, a int, b text, c timestamptz, d numeric(12,2))"
COPY_KEY = "ALTER TABLE {0} ADD PRIMARY KEY (id)"
COPY_LINE = "concat_ws('|', id, a, b, to_char(c AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), d)"


def copy_rows(table, rows):
    return f"""INSERT INTO {table} SELECT g, g % 1000, md5(g::text) || md5((g * 7)::text),
        '2024-01-01 00:00:00+00'::timestamptz + g * interval '1 second', g / 7.0 FROM generate_series(1, {rows}) g"""


# What the last transaction of every workload inserts: when the target has it, it has everything.
MARK_TABLE = "CREATE TABLE mark (id int PRIMARY KEY)"
MARK, MARKED = "INSERT INTO mark VALUES (1)", "SELECT count(*) FROM mark"


@dataclasses.dataclass
class Workload:
    """base(server, n) makes tables and first rows, on both ends; changes(server, n) is what is followed."""
    about: str
    base: typing.Callable
    changes: typing.Callable
    full: int
    quick: int
    unit: str = "changes"


def _sql(text):
    """Of a text in which N is the size."""
    return lambda server, n: server.sql(text.replace("{N}", str(n)))


def _in_transactions(statement, size=100):
    """@statement, with i the number of the transaction of so many rows, from 0."""
    return _sql(f"DO $$ BEGIN FOR i IN 0..{{N}} / {size} - 1 LOOP {statement}; COMMIT; END LOOP; END $$")


def _pgbench(server, *options):
    subprocess.run([peers.program("pgbench"), "-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", *map(str, options),
                    "shop"], check=True, capture_output=True, env=peers.environment())


WIDE_KINDS = [("int", "(i * 7 + {n})::int"), ("text", "md5((g * {n})::text)"),
              ("numeric(14,3)", "(g * {n} / 8.0)::numeric(14,3)"),
              ("timestamptz", "'2024-01-01 00:00:00+00'::timestamptz + g * interval '{n} seconds'")]
_wide = [(f"c{n}", *WIDE_KINDS[n % 4]) for n in range(1, 100)]
WIDE_TABLE = f"CREATE TABLE wide (id bigint PRIMARY KEY, {', '.join(f'{name} {kind}' for name, kind, _ in _wide)})"
WIDE_INSERT = ("INSERT INTO wide SELECT i * 50 + g, "
               + ", ".join(value.replace("{n}", str(n)) for n, (_, _, value) in enumerate(_wide, 1))
               + " FROM generate_series(1, 50) g")

APPLIED = {
    "insert": Workload(
        "small inserts in transactions of 100", _sql(SMALL_TABLE),
        lambda server, n: server.sql(small_inserts(n)), 1_000_000, 200_000, "rows"),
    "pgbench": Workload(
        "pgbench's own transactions, four clients, 1,000,000 accounts",
        lambda server, n: _pgbench(server, "-i", "-q", "-s", 10),
        lambda server, n: _pgbench(server, "-n", "-c", 4, "-j", 2, "-M", "prepared", "-t", n // 4),
        200_000, 10_000, "transactions"),
    "hot": Workload(
        "updates of 1,000 keys, in transactions of 100",
        _sql("CREATE TABLE hot (id int PRIMARY KEY, n bigint, t text);"
             "INSERT INTO hot SELECT g, 0, 'row ' || g FROM generate_series(0, 999) g"),
        _in_transactions("UPDATE hot SET n = n + 1, t = 'turn ' || i WHERE id / 100 = i % 10"), 2_000_000, 200_000),
    "delete": Workload(
        "deletes in transactions of 100, of a table with as many rows again",
        _sql(SMALL_TABLE + "; INSERT INTO small SELECT g, g, 'value ' || g FROM generate_series(1, {N} * 2) g"),
        _in_transactions("DELETE FROM small WHERE id % 2 = 0 AND id > i * 200 AND id <= i * 200 + 200"),
        1_000_000, 200_000),
    "wide": Workload(
        "rows of 100 columns: inserted in transactions of 50, then every second one updated", _sql(WIDE_TABLE),
        lambda server, n: (_in_transactions(WIDE_INSERT, 50)(server, n),
                           _in_transactions("UPDATE wide SET c4 = c4 + 1, c1 = 'again' WHERE id > i * 100 "
                                            "AND id <= i * 100 + 100 AND id % 2 = 0", 100)(server, n)),
        100_000, 20_000, "rows"),
    "toast": Workload(
        "updates in transactions of 20 of rows with 20 kB of text: 9 of 10 leave it as it is",
        _sql("CREATE TABLE toast (id int PRIMARY KEY, n int, long text); "
             "ALTER TABLE toast ALTER COLUMN long SET STORAGE EXTERNAL; INSERT INTO toast "
             "SELECT g, 0, repeat(md5(g::text), 640) FROM generate_series(0, 1999) g"),
        _in_transactions("UPDATE toast SET n = n + 1, long = CASE WHEN i % 10 = 0 THEN repeat(md5((id + i)::text), 640) "
                         "ELSE long END WHERE id / 20 = i % 100", 20),
        100_000, 20_000),
    "json": Workload(
        "documents of 1 kB as jsonb: inserted in transactions of 100, then each updated",
        _sql("CREATE TABLE docs (id bigint PRIMARY KEY, doc jsonb)"),
        lambda server, n: (
            _in_transactions("INSERT INTO docs SELECT i * 100 + g, jsonb_build_object('n', g, 'name', 'document ' || g, "
                             "'tags', jsonb_build_array('a', g, null, true), 'body', (SELECT jsonb_agg(jsonb_build_object("
                             "'k', k, 'v', md5((g * k)::text))) FROM generate_series(1, 16) k)) "
                             "FROM generate_series(1, 100) g")(server, n),
            _in_transactions("UPDATE docs SET doc = doc || jsonb_build_object('n', i) WHERE id > i * 100 "
                             "AND id <= i * 100 + 100")(server, n)),
        100_000, 10_000, "rows"),
    "one-big": Workload(
        "rows inserted by one transaction", _sql(SMALL_TABLE),
        _sql("INSERT INTO small SELECT g, g % 1000, 'value ' || g FROM generate_series(1, {N}) g"),
        5_000_000, 200_000, "rows"),
}
