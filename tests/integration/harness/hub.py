"""Projects with one source and several targets."""
import contextlib

from harness.compare import assert_equal
from harness.targets import make_target
from harness.wait import wait_for

TO = {"sqlite": "sqlite", "history": "sqlite", "file": "file", "postgres": "postgres", "duckdb": "duckdb"}


class Hub:
    """A project with one pipeline, and one target a route."""

    def __init__(self, weir, source, make_database, tmp_path, routes):
        self.weir, self.source = weir, source
        self.targets = {}
        for name in routes:
            folder = tmp_path / name
            folder.mkdir()
            self.targets[name] = make_target(TO[name], folder, make_database)
        self.file = tmp_path / "weir.yml"
        self.write(routes)

    def write(self, routes):
        lines = ["connections:", f"  source: {{ type: postgres, url: '{self.source.url}' }}"]
        for name in routes:
            lines.append(f"  {name}: {{ type: {TO[name]}, url: '{self.targets[name].url()}' }}")
        lines += ["pipelines:", "  hub:", "    from: { connection: source }", "    to:"]
        for name in routes:
            mode = ", mode: history" if name == "history" else ""
            lines.append(f"      - {{ connection: {name}{mode} }}")
        self.file.write_text("\n".join(lines) + "\n")

    def drain(self):
        return self.weir.run("run", self.file, "--until", "now")

    def start(self):
        return self.weir.start("run", self.file)

    def check(self, *names):
        for name in names or self.targets:
            if name != "history":
                assert_equal(self.source, self.targets[name])

    @contextlib.contextmanager
    def down(self, name="postgres"):
        """Its target takes no connections."""
        database = self.targets[name].database
        database.close()
        with database.server.connect() as admin:
            admin.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS false')
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database.name,))
            yield
            admin.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS true')


class Buffered(Hub):
    """The same with a disk buffer; @settings: of the buffer."""

    def __init__(self, *words, **settings):
        self.settings = settings
        super().__init__(*words)

    def write(self, routes):
        super().write(routes)
        settings = "".join(f", {key}: {value}" for key, value in self.settings.items())
        with open(self.file, "a") as out:
            out.write(f"    buffer: {{ type: disk{settings} }}\n")

    @property
    def log(self):
        return self.weir.state / "weir/hub.buffer/log"

    def segments(self):
        return sorted(self.log.glob("*.log"))

    def rows(self, name):
        target = self.targets[name]
        if target.kind == "postgres":  # its columns may be changing
            there = target.database.one("SELECT to_regclass('customers') IS NOT NULL")
            return target.database.one("SELECT count(*) FROM customers") if there else 0
        return target.count("public", "customers")

    def settled(self, process, *names, timeout=60):
        """Until these routes have what is committed now."""
        self.source.sql("INSERT INTO customers (id, name) SELECT greatest(max(id) + 1, 100002), 'mark' FROM customers")
        mark = self.source.one("SELECT count(*) FROM customers")
        for name in names:
            wait_for(lambda: self.rows(name) == mark, timeout,
                     lambda: f"{name} has {mark} customers\n{process.logs()[-3000:]}")
