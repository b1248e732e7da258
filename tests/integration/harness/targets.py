"""Reading targets back, each with a library that the program does not use."""
import contextlib
import json
import pathlib
import sqlite3
import urllib.parse

from harness.compare import Table, identifier, read_postgres
from harness.events import Replay

SINKS = ("sqlite", "duckdb", "postgres", "file")
SQL_SINKS = ("sqlite", "duckdb", "postgres")
HISTORY = ("_weir_op", "_weir_lsn", "_weir_ordinal", "_weir_xid", "_weir_commit_time")


class Target:
    kind = None
    base = None
    live = True  # it can be read while the program runs
    checkpoint_table = "weir", "checkpoint"

    def url(self, **query):
        return self.base + ("?" + urllib.parse.urlencode(query) if query else "")

    def opened(self):
        """Around many read()s, where that makes them faster."""
        return contextlib.nullcontext()

    def read(self, schema, table, source=None):
        """A Table with the values as they are stored, or None."""
        raise NotImplementedError

    def execute(self, *statements):
        """What somebody else does to the target, while weir is away."""
        raise NotImplementedError

    def checkpoint(self, weir):
        """{key: text}: what is stored with the data."""
        return dict(row[-2:] for row in self.read(*self.checkpoint_table).rows)

    def count(self, schema, table):
        found = self.read(schema, table)
        return 0 if found is None else len(found.rows)

    def history(self, schema, table, source):
        """The state that a table of mode=history describes, and how many events it has."""
        found = self.read(schema, table, source)
        names = found.names
        missing = [n for n in HISTORY if n not in names]
        assert not missing, f"no history columns {missing} in {names}"
        op, lsn, ordinal = (names.index(n) for n in HISTORY[:3])
        data = [i for i, n in enumerate(names) if n not in HISTORY]
        key = [names.index(k) for k in source.key]
        state, copy = {}, None
        order = sorted(found.rows, key=lambda r: (r[lsn], int(r[ordinal]), r[op] != "delete"))
        for row in order:
            at = tuple(row[i] for i in key)
            if row[op] == "read" and row[lsn] != copy:
                copy = row[lsn]  # another copy says what there is from there on
                state.clear()
            if row[op] == "truncate":
                state.clear()
            elif row[op] == "delete":
                assert state.pop(at, None) is not None, f"{table}: a delete of {at}, which is not there"
            else:
                assert row[op] == "update" or at not in state, f"{table}: {row[op]} of {at} again"
                state[at] = [row[i] for i in data]
        return Table([names[i] for i in data], source.key, list(state.values())), len(order)


class Sqlite(Target):
    kind = "sqlite"
    checkpoint_table = "public", "weir_checkpoint"

    def __init__(self, folder):
        self.path = pathlib.Path(folder) / "target.db"
        self.base = f"sqlite:{self.path}"

    def connect(self):
        return sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=20)

    def read(self, schema, table, source=None):
        if not self.path.exists():
            return None
        name = identifier(table if schema == "public" else f"{schema}.{table}")
        connection = self.connect()
        try:
            found = [r[1] for r in connection.execute(f"PRAGMA table_info({name})")]
            if not found:
                return None
            names = ", ".join(identifier(n) for n in found)
            return Table(found, [], connection.execute(f"SELECT {names} FROM {name}").fetchall())
        finally:
            connection.close()

    def execute(self, *statements):
        connection = sqlite3.connect(self.path, timeout=20)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()


class Duckdb(Target):
    kind = "duckdb"
    live = False  # DuckDB locks its file

    def __init__(self, folder):
        self.path = pathlib.Path(folder) / "target.duckdb"
        self.base = f"duckdb:{self.path}"
        self._open = None

    def connect(self):
        import duckdb
        return duckdb.connect(str(self.path), read_only=True, config={"threads": 1})

    @contextlib.contextmanager
    def opened(self):
        """By one connection: to open the file takes as long as to read a few tables."""
        self._open = self.connect() if self.path.exists() else None
        try:
            yield
        finally:
            if self._open is not None:
                self._open.close()
            self._open = None

    def read(self, schema, table, source=None):
        if self._open is None and self.path.exists():
            with self.opened():
                return self.read(schema, table)
        if self._open is None:
            return None
        schema = "main" if schema == "public" else schema
        self._open.execute("SET TimeZone = 'UTC'")
        found = self._open.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = ? AND table_name = ? "
            "AND NOT internal ORDER BY column_index", [schema, table]).fetchall()
        if not found:
            return None
        # DuckDB's own text, but for bytes: Python has no dates before Christ.
        names = ", ".join(identifier(n) if t == "BLOB" else f"CAST({identifier(n)} AS VARCHAR)"
                          for n, t in found)
        rows = self._open.execute(f"SELECT {names} FROM {identifier(schema)}.{identifier(table)}")
        return Table([n for n, _ in found], [], rows.fetchall())

    def execute(self, *statements):
        import duckdb
        with duckdb.connect(str(self.path), config={"storage_compatibility_version": "v1.2.0"}) as connection:
            for statement in statements:
                connection.execute(statement)


class Postgres(Target):
    kind = "postgres"

    def __init__(self, database):
        self.database = database
        self.base = database.url

    def read(self, schema, table, source=None):
        return read_postgres(self.database.connection, schema, table, generated=True)

    def execute(self, *statements):
        for statement in statements:
            self.database.sql(statement)


class File(Target):
    kind = "file"

    def __init__(self, folder):
        self.path = pathlib.Path(folder) / "target.ndjson"
        self.base = f"file:{self.path}"
        self._seen = None

    def replay(self):
        size = self.path.stat().st_size if self.path.exists() else 0
        if self._seen is None or self._seen[0] != size:
            self._seen = (size, Replay(self.path))
        return self._seen[1]

    def read(self, schema, table, source=None):
        return self.replay().table(schema, table)

    def checkpoint(self, weir):
        (path,) = (weir.state / "weir").glob("*/state.db")
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)
        try:
            return dict(connection.execute("SELECT key, value FROM checkpoint"))
        finally:
            connection.close()

    def events(self):
        return [json.loads(line) for line in self.path.read_text().split("\n")[:-1]]


def make_target(sink, folder, database=None):
    """@database: makes one on demand, for the sink that needs a server."""
    if sink == "postgres":
        return Postgres(database())
    return {"sqlite": Sqlite, "duckdb": Duckdb, "file": File}[sink](folder)
