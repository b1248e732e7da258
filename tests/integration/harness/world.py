"""Cases (harness.cases) played through the program, from one database into another."""
import collections
import signal
import time

from harness import cases
from harness.compare import SESSION, identifier
from harness.targets import Postgres
from harness.wait import wait_for
from harness.weir import Weir

HELPERS = (*cases.USER_TYPES,
           """CREATE FUNCTION public.tried(statement text) RETURNS void LANGUAGE plpgsql AS
              $$ BEGIN EXECUTE statement; EXCEPTION WHEN OTHERS THEN NULL; END $$""",
           """CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
              $$ BEGIN RAISE 'a trigger acted'; END $$""")
MARK = "CREATE TABLE public.mark (n bigint PRIMARY KEY); INSERT INTO mark VALUES (0)"
MARKED = "SELECT n FROM public.mark"
SENT = """SELECT s.sent_lsn >= pg_current_wal_flush_lsn() FROM pg_stat_replication s
          JOIN pg_replication_slots r ON r.active_pid = s.pid AND r.database = current_database()"""
SOON = 2.0  # seconds: later than that it is asked why


class Failed(Exception):
    """A case did not come out right. @kind: in which way."""

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


def shorten(text):
    return text if len(text) <= 200 else f"{text[:120]}… ({len(text)} characters) …{text[-60:]}"


class World:
    """Two databases with the tables of some schemas, and the program between them. Whatever is written while it is stopped
    waits for it, and reaches the target as one run."""

    def __init__(self, folder, make_database, schemas):
        self.source, self.target = make_database(), make_database()
        self.marked = 0
        self.takes_generated = self.source.server.version >= 18
        for database in (self.source, self.target):
            for statement in [*SESSION.strip().replace("search_path = ''", "search_path = public").split(";"), *HELPERS]:
                database.sql(statement)
        self.source.sql(MARK)
        for schema in schemas:
            for statement in cases.source_statements(schema):
                self.source.sql(statement)
            for statement in cases.target_statements(schema, self.takes_generated):
                self.target.sql(statement)
        self.weir, self.process = Weir(folder), None
        self.options = {"triggers": "true"} if schemas[0].triggers else {}

    def start(self):
        self.process = self.weir.start("stream", self.source.url, Postgres(self.target).url(**self.options))
        wait_for(lambda: self.must_live() and self.target.one("SELECT to_regclass('public.mark') IS NOT NULL"), 60,
                 lambda: f"the copy begins\n{self.process.logs()[-3000:]}")
        # Stopped in the midst of another table's copy it would hold that table for ever.
        self.process.expect("streaming")
        self.settle()

    def must_live(self):
        if not self.process.alive():
            raise Failed("ended", f"weir ended: {self.process.ended()}")
        return True

    def close(self):
        self.weir.kill_all()
        for database in (self.source, self.target):
            database.drop()

    def execute(self, text):
        """A transaction, which may be refused as a whole."""
        connection = self.source.connection.pgconn
        result = connection.exec_(text.encode())
        if result.status == 7:  # PGRES_FATAL_ERROR
            connection.exec_(b"ROLLBACK")

    def settle(self):
        """Until the target has everything."""
        began = time.monotonic()
        while (rows := self.target.sql(MARKED)) != [(self.marked,)]:
            self.must_live()
            waited = time.monotonic() - began
            if len(rows) > 1 or waited > 60 or waited > SOON and "retrying" in self.process.logs():
                raise Failed("late", f"mark {self.marked} does not arrive, the target has {rows}\n{self.process.logs()[-3000:]}")
            time.sleep(0.0003)  # the interval of looking

    def run(self, transactions):
        """The texts of transactions, which arrive as one run."""
        self.process.signal(signal.SIGSTOP)
        try:
            for text in transactions:
                self.execute(text)
            self.marked += 1
            self.source.sql("UPDATE public.mark SET n = n + 1")
            # What the server has not sent yet would come behind it. It is all sent, if it fits into the connection's buffers.
            deadline = time.monotonic() + SOON
            while self.source.sql(SENT) == [(False,)] and time.monotonic() < deadline:
                pass
        finally:
            self.process.signal(signal.SIGCONT)
        self.settle()

    def play(self, case):
        """Raises Failed when the target is not the source behind it."""
        for part in case.sql():
            self.run(part)
        self.compare(case.schema)

    def failure(self, case):
        """Failed, or None."""
        try:
            if self.process is None:
                self.start()
            self.play(case)
            return None
        except Failed as failed:
            return failed

    def rows(self, database, schema):
        """How often each row is there, as the text of its values: the types of both ends write them alike."""
        queries = []
        for table in schema.tables:
            names = [c.name for c in table.columns if not c.generated or self.takes_generated or table.at_target != "weir"]
            row = f"ROW({', '.join(names)})::text"
            queries.append(f"SELECT '{table.name}', {row} FROM {identifier(schema.name)}.{table.name}")
        return collections.Counter(database.sql(" UNION ALL ".join(queries)))

    def compare(self, schema):
        source, target = (self.rows(database, schema) for database in (self.source, self.target))
        if source != target:
            lines = [f"{table}: {count} × {shorten(row)} is missing" for (table, row), count in (source - target).items()]
            lines += [f"{table}: {count} × {shorten(row)} should not be there" for (table, row), count in (target - source).items()]
            raise Failed("rows", "\n".join(lines[:20]))
