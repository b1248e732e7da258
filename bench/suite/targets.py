"""Where Weir writes to, and how that is read back without it: rows as lines, see workloads.LINE_DIGEST."""
import json
import shutil
import sqlite3

from suite import measure, workloads


class Null:
    """Nothing can be read back: Weir's own count has to be right."""
    kind = "null"

    def url(self):
        return "null:"

    def fresh(self):
        pass

    def check(self, expected, columns, log):
        entry = log.entry("done")
        found = entry.get("changes", 0) + entry.get("rows_copied", 0)
        if found != expected[0]:
            measure.stop(f"{found} changes were counted, not {expected[0]}: {log.end()}")


class Stored:
    """@column: how a column becomes the text that the source makes of it, by name; others as they are."""
    column = {}

    def __init__(self, folder):
        self.path = folder / f"target.{self.kind}"

    def url(self):
        return f"{self.kind}:{self.path}"

    def fresh(self):
        for path in self.path.parent.glob(self.path.name + "*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def line(self, columns, separator):
        return separator.join(self.column.get(name, name) for name in columns)

    def check(self, expected, table, columns):
        found = self.digest(table, columns)
        if found != expected:
            measure.stop(f"{self.kind} has {found}, the source {expected}")


class File(Stored):
    kind = "file"

    def digest(self, table, columns):
        def lines():
            with open(self.path, encoding="utf-8") as file:
                for text in file:
                    event = json.loads(text, parse_float=str)
                    if event["op"] in ("read", "insert") and event["table"] == table:
                        new = event["new"]
                        yield "|".join(str(new[name])[:19] if name == "c" else str(new[name]) for name in columns)
        return workloads.digest_of_lines(lines())


class Sqlite(Stored):
    kind = "sqlite"
    column = {"c": "substr(c, 1, 19)"}

    def digest(self, table, columns):
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        try:
            rows = connection.execute(f"SELECT {self.line(columns, ' || ' + repr('|') + ' || ')} FROM {table}")
            return workloads.digest_of_lines(row[0] for row in rows)
        finally:
            connection.close()


class Duckdb(Stored):
    kind = "duckdb"
    column = {"c": "strftime(c AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M:%S')"}

    def digest(self, table, columns):
        import duckdb
        connection = duckdb.connect(str(self.path), read_only=True)
        try:
            line = f"concat_ws('|', {self.line(columns, ', ')})"
            return tuple(int(n) for n in connection.execute(
                f"SELECT count(*), coalesce(sum(('0x' || left(md5({line}), 8))::BIGINT), 0) FROM {table}").fetchone())
        finally:
            connection.close()


class Postgres:
    """The database `shop` of a server, empty."""
    kind = "postgres"

    def __init__(self, server):
        self.server = server

    def url(self):
        return self.server.url

    def fresh(self):
        self.server.sql("DROP DATABASE shop WITH (FORCE)", "postgres")
        self.server.sql("CREATE DATABASE shop", "postgres")

    def check(self, expected, table, columns):
        line = f"concat_ws('|', {', '.join(columns)})"
        found = workloads.line_digest(self.server, table, line)
        if found != expected:
            measure.stop(f"postgres has {found}, the source {expected}")


STORES = {store.kind: store for store in (File, Sqlite, Duckdb)}
