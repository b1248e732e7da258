"""The data, and how two ends are compared by value."""
import hashlib

from suite import measure

# A sum does not depend on the order of the rows, and sees a row that is there twice.
DIGEST = "SELECT count(*), coalesce(sum(hashtextextended({0}::text, 0)::numeric), 0) FROM {0}"
LINE_DIGEST = ("SELECT count(*), coalesce(sum(('x' || left(md5({line}), 8))::bit(32)::bigint), 0)::bigint FROM {table}")


def digest(server, tables):
    """Of every column of every row, between two Postgres servers of one version."""
    return {table: server.sql(DIGEST.format(table))[0] for table in tables}


def check_equal(source, target, tables):
    expected, found = digest(source, tables), digest(target, tables)
    for table in tables:
        if expected[table] != found[table]:
            measure.stop(f"{table} has {found[table][0]:,} rows, the source {expected[table][0]:,}, and their values "
                         "are not the same" if expected[table][0] == found[table][0] else
                         f"{table} has {found[table][0]:,} rows, the source {expected[table][0]:,}")


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
