"""Is the target the source? Every row, every value; nothing here is shared with the program.

The source is read as the text of Postgres's own output functions. What a target stores is brought to
the same form by the documented rules for its types, and only by those; then rows are matched by the
primary key, or as a multiset where there is none."""
import collections
import dataclasses
import functools
import re
import struct

SESSION = """
    SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC';
    SET extra_float_digits = 3; SET bytea_output = 'hex'; SET lc_monetary = 'C'; SET search_path = ''
"""
INTEGERS = {"smallint", "integer", "bigint", "oid", "xid", "cid"}
FLOATS = {"real", "double precision"}
JSON = {"json", "jsonb"}
DATES = {"date", "timestamp without time zone", "timestamp with time zone"}


@dataclasses.dataclass(frozen=True)
class Column:
    name: str
    type: str      # as format_type() writes it, of the type under a domain
    declared: str  # with the domain
    not_null: bool
    generated: bool

    @functools.cached_property
    def kind(self):
        """The type without its modifier: numeric(10,2) is numeric."""
        return re.sub(r"\(.*?\)", "", self.type)


@dataclasses.dataclass
class Table:
    """Rows as lists in the order of the columns (Column, or a name where the target knows no more)."""
    columns: list
    key: list  # names, empty when there is none
    rows: list

    @property
    def names(self):
        return [c.name if isinstance(c, Column) else c for c in self.columns]


def identifier(name):
    return '"' + name.replace('"', '""') + '"'


def _columns(cursor, schema, table):
    cursor.execute("""
        WITH RECURSIVE base(attnum, type, typmod) AS (
            SELECT a.attnum, a.atttypid, a.atttypmod FROM pg_catalog.pg_attribute a
            JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND a.attnum > 0 AND NOT a.attisdropped
          UNION ALL
            SELECT b.attnum, t.typbasetype, t.typtypmod FROM base b
            JOIN pg_catalog.pg_type t ON t.oid = b.type WHERE t.typtype = 'd')
        SELECT a.attname, pg_catalog.format_type(b.type, b.typmod),
               pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated <> ''
        FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.type AND t.typtype <> 'd'
        JOIN pg_catalog.pg_attribute a ON a.attnum = b.attnum
        JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %(schema)s AND c.relname = %(table)s ORDER BY a.attnum""",
                   {"schema": schema, "table": table})
    return [Column(*row) for row in cursor.fetchall()]


def _key(cursor, schema, table):
    cursor.execute("""
        SELECT a.attname FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY k(attnum, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
        WHERE n.nspname = %s AND c.relname = %s AND i.indisprimary
          AND k.place <= i.indnkeyatts ORDER BY k.place""", (schema, table))
    return [row[0] for row in cursor.fetchall()]


def _texts(cursor, query):
    cursor.execute(query)
    result = cursor.pgresult
    return [[None if (v := result.get_value(r, c)) is None else v.decode()
             for c in range(result.nfields)] for r in range(result.ntuples)]


def read_postgres(connection, schema, table, generated=False):
    """A table of a server. Values are the output functions' text, whatever psycopg would make of them."""
    cursor = connection.cursor(binary=False)
    for setting in SESSION.strip().split(";"):
        cursor.execute(setting)
    try:
        found = _columns(cursor, schema, table)
        columns = [c for c in found if generated or not c.generated]
        if not found:
            return None
        names = ", ".join(identifier(c.name) for c in columns)
        rows = _texts(cursor, f"SELECT {names} FROM {identifier(schema)}.{identifier(table)}")
        return Table(columns, _key(cursor, schema, table), rows)
    finally:
        cursor.execute("RESET ALL")


def source_tables(connection):
    """(schema, name) of every table; partitions come as their root."""
    return connection.execute("""
        SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p'
          AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1, 2""").fetchall()


# ---------------------------------------------------------------------------------------------
# One form for values
# ---------------------------------------------------------------------------------------------

_STAMP = re.compile(r"^(-?\d+-\d\d-\d\d)(?: ?\((BC)\))?( [\d:.]+(?:[+-][\d:]+)?)?(?: (BC))?$")
_PART = re.compile(r"([+-]?\d+) (year|mon|month|day)s?(?: |$)")
_CLOCK = re.compile(r"^([+-]?)(\d+):(\d\d):(\d\d)(?:\.(\d+))?$")


def stamp(text):
    """Dates and times: "0044-03-15 (BC) 12:00:00" and "0044-03-15 12:00:00 BC" are one."""
    match = _STAMP.match(text)
    if not match:
        return text
    day, bc1, clock, bc2 = match.groups()
    return (day.lstrip("0"), (clock or "").strip(), bool(bc1 or bc2))


def interval(text):
    """(months, days, microseconds), which is what an interval is; the text itself when it is not one."""
    months = days = micros = 0
    rest = text
    while (match := _PART.match(rest)):
        count, unit = int(match[1]), match[2]
        if unit == "day":
            days += count
        else:
            months += count * (12 if unit == "year" else 1)
        rest = rest[match.end():]
    if rest:
        match = _CLOCK.match(rest)
        if not match:
            return text
        sign, hours, minutes, seconds, part = match.groups()
        micros = (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * 1000000 + \
            int((part or "").ljust(6, "0"))
        micros = -micros if sign == "-" else micros
    return (months, days, micros)


def _number(number, kind, target):
    """The bits of a floating-point number, as text."""
    if number != number:
        return "NaN"
    if target == "sqlite" and number == 0:
        return "0.0"  # SQLite has no negative zero
    try:
        return struct.pack(">f" if kind == "real" else ">d", number).hex()
    except OverflowError:
        return repr(number)


def canonical(column, text, target):
    """A source's value in the form that values of @target are compared in."""
    if text is None or target == "postgres":
        return text
    kind = column.kind
    if kind == "boolean":
        return {"t": True, "f": False}[text]
    if kind in INTEGERS:
        return int(text)
    if kind in FLOATS:
        return _number(float(text), kind, target)
    if kind == "bytea":
        return bytes.fromhex(text[2:])
    if target == "duckdb" and kind in DATES:
        return stamp(text)
    if target == "duckdb" and kind == "interval":
        return interval(text)
    if target == "file" and kind in JSON:
        return re.sub(r"[\r\n]", " ", text)
    return text


def stored(column, value, target):
    """The same of a value that a target has. What is not of the promised type stays as it is, and so
    differs."""
    if value is None or target == "postgres":
        return value
    kind = column.kind
    if kind == "boolean":
        return {0: False, 1: True, "true": True, "false": False, "t": True, "f": False}.get(value, value)
    if target == "sqlite":
        return _number(value, kind, target) if kind in FLOATS and isinstance(value, float) else value
    if kind in INTEGERS:
        return int(value) if re.fullmatch(r"-?\d+", value) else value
    if kind in FLOATS:
        return _number(float(value), kind, target)
    if kind == "bytea" and target == "file":
        return bytes.fromhex(value[2:])
    if target == "duckdb" and kind in DATES:
        return stamp(value)
    if target == "duckdb" and kind == "interval":
        return interval(value)
    if target == "duckdb" and kind == "numeric":
        return re.sub(r"^(-?)\.", r"\g<1>0.", value)  # DECIMAL(38,38) has no place for the zero
    return value


# ---------------------------------------------------------------------------------------------
# Comparing
# ---------------------------------------------------------------------------------------------

SHOWN = 8


def _shorten(value):
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:80]}… ({len(text)} characters)"


def _typed(value):
    """1, 1.0 and True are equal in Python; not here."""
    return (type(value).__name__, value)


def compare_table(name, source, found, target):
    """Differences of one table, as lines. @found: a Table whose columns are named as in the source."""
    if found is None:
        return [f"{name}: the target has no such table"]
    wanted, have = source.names, found.names
    lines = []
    if sorted(wanted) != sorted(have):
        lines.append(f"{name}: columns differ: missing {sorted(set(wanted) - set(have))}, "
                     f"too many {sorted(set(have) - set(wanted))}")
    common = [c for c in source.columns if c.name in have]
    place = {n: i for i, n in enumerate(wanted)}
    there = {n: i for i, n in enumerate(have)}
    left = [tuple(_typed(canonical(c, row[place[c.name]], target)) for c in common) for row in source.rows]
    right = [tuple(_typed(stored(c, row[there[c.name]], target)) for c in common) for row in found.rows]
    if source.key and all(k in there for k in source.key):
        at = [[c.name for c in common].index(k) for k in source.key]
        return lines + _by_key(name, common, left, right, at)
    return lines + _as_multiset(name, left, right)


def _by_key(name, columns, left, right, at):
    def index(rows):
        result = collections.defaultdict(list)
        for row in rows:
            result[tuple(row[i] for i in at)].append(row)
        return result

    def said(key):
        return _shorten(tuple(v for _, v in key))

    sources, targets = index(left), index(right)
    lines = []
    for key, rows in sources.items():
        others = targets.get(key, [])
        if not others:
            lines.append(f"{name}: row {said(key)} is missing")
        elif len(others) > 1:
            lines.append(f"{name}: row {said(key)} is there {len(others)} times")
        else:
            lines += [f"{name}: row {said(key)}, column {column.name} ({column.declared}): "
                      f"source {_shorten(want[1])}, target {_shorten(have[1])}"
                      for column, want, have in zip(columns, rows[0], others[0]) if want != have]
    lines += [f"{name}: row {said(key)} should not be there" for key in targets if key not in sources]
    return lines


def _as_multiset(name, left, right):
    sources, targets = collections.Counter(left), collections.Counter(right)
    lines = []
    for row, count in (sources - targets).items():
        lines.append(f"{name}: {count} × row {_shorten(tuple(v for _, v in row))} is missing")
    for row, count in (targets - sources).items():
        lines.append(f"{name}: {count} × row {_shorten(tuple(v for _, v in row))} should not be there")
    return lines


def differences(database, target, tables=None, **read):
    """All differences between a database and a target (harness.targets), as lines."""
    lines = []
    with target.opened():
        for schema, table in tables or source_tables(database.connection):
            source = read_postgres(database.connection, schema, table, **read)
            found = target.read(schema, table, source)
            lines += compare_table(f"{schema}.{table}", source, found, target.kind)
    return lines


def assert_equal(database, target, tables=None, **read):
    tables = tables or source_tables(database.connection)
    assert tables, "nothing to compare"
    lines = differences(database, target, tables, **read)
    more = f"\n  … and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    assert not lines, f"{len(lines)} differences\n  " + "\n  ".join(lines[:SHOWN]) + more
