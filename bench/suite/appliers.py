"""Who follows a slot into another Postgres: Weir, Postgres's own subscription, pglogical.

prepare(): everything that is not timed, with a copy of the slot that was made before the changes; start();
pids(): the mover's processes; stop(): until prepare() can be called again; preload: what the target's server has to load.
"""
import signal
import subprocess

from suite import measure, peers, servers

PGLOGICAL_SETS = "'{default,default_insert_only}'"


class Weir:
    name, in_server, preload = "weir → postgres", False, ""

    def __init__(self, source, target, folder, *more):
        self.source, self.target, self.folder, self.more = source, target, folder, more
        self.process = None

    def prepare(self):
        self.source.copy_slot(peers.SLOT, "weir")
        self.words = peers.weir_words("stream", self.source, self.target.url + "?existing=keep", self.folder, "--slot", "weir",
                                      "--publication", peers.PUBLICATION, "--no-copy", *self.more)

    def start(self):
        with open(peers.Log(self.folder).path, "wb") as log:
            self.process = measure.start(self.words, stdout=subprocess.DEVNULL, stderr=log, env=peers.environment())

    def alive(self):
        return self.process.poll() is None

    def log_end(self):
        return ": " + (self.folder / "weir.log").read_text(encoding="utf-8")[-1000:]

    def pids(self):
        return [self.process.pid]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait() != 0:
            measure.stop("weir" + self.log_end())
        self.source.drop_slot("weir")


class Worker:
    """A background worker of the target's server."""
    in_server, preload = True, ""

    def __init__(self, source, target):
        self.source, self.target, self.found = source, target, []

    def alive(self):
        return True

    def log_end(self):
        return ""

    def pids(self):
        if not self.found:
            self.found = [row[0] for row in self.target.sql(
                f"SELECT pid FROM pg_stat_activity WHERE {self.mark} AND datname = 'shop'")]
        return self.found


class Subscription(Worker):
    mark = "backend_type = 'logical replication worker'"

    def __init__(self, source, target, options=""):
        super().__init__(source, target)
        self.options = options
        self.name = "own subscription" + (f" ({options.split()[0]})" if options else "")

    def prepare(self):
        self.source.copy_slot(peers.SLOT, "subscription")

    def start(self):
        self.found = []
        more = f", {self.options}" if self.options else ""
        self.target.sql(f"CREATE SUBSCRIPTION bench CONNECTION '{self.source.conninfo()}' PUBLICATION "
                        f"{peers.PUBLICATION} WITH (create_slot = false, slot_name = subscription, copy_data = false{more})")

    def stop(self):
        for command in ["DISABLE", "SET (slot_name = NONE)"]:
            self.target.sql(f"ALTER SUBSCRIPTION bench {command}")
        self.target.sql("DROP SUBSCRIPTION bench")
        self.source.drop_slot("subscription")


class Pglogical(Worker):
    """It makes its slot itself, as of now; so that is replaced while the subscription sleeps."""
    name, preload, mark = "pglogical", "pglogical", "application_name LIKE 'pglogical apply%'"

    def __init__(self, source, target):
        super().__init__(source, target)
        self.slot = None

    @staticmethod
    def missing():
        installed = (servers.binaries().parent / "lib/pglogical.so").exists()
        return None if installed else f"pglogical (Debian package postgresql-{servers.major()}-pglogical)"

    @staticmethod
    def provide(source):
        """Before the changes: the node and the sets of tables."""
        source.sql("CREATE EXTENSION pglogical")
        source.sql(f"SELECT pglogical.create_node('provider', '{source.conninfo()}')")
        source.sql("""SELECT pglogical.replication_set_add_table(CASE WHEN EXISTS (SELECT FROM pg_index WHERE
            indrelid = c.oid AND indisprimary) THEN 'default' ELSE 'default_insert_only' END, c.oid)
            FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace""")

    def prepare(self):
        target = self.target
        target.sql("CREATE EXTENSION pglogical")
        target.sql(f"SELECT pglogical.create_node('subscriber', '{target.conninfo()}')")
        target.sql(f"SELECT pglogical.create_subscription('bench', '{self.source.conninfo()}', {PGLOGICAL_SETS}, false, "
                   "false, '{}')")
        status = "SELECT status FROM pglogical.show_subscription_status('bench')"
        measure.wait_for(lambda: target.value(status) == "replicating", "pglogical replicates", pause=0.1)
        self.slot = target.value("SELECT slot_name FROM pglogical.show_subscription_status('bench')")
        target.sql("SELECT pglogical.alter_subscription_disable('bench', true)")
        self.source.drop_slot(self.slot)
        self.source.copy_slot(peers.SLOT_PGLOGICAL, self.slot)
        begins = self.source.value("SELECT confirmed_flush_lsn::text FROM pg_replication_slots "
                                   f"WHERE slot_name = '{self.slot}'")
        asleep = f"SELECT count(*) FROM pg_stat_activity WHERE {self.mark}"
        measure.wait_for(lambda: target.value(asleep) == 0, "pglogical's worker has gone", pause=0.1)
        target.sql(f"SELECT pg_replication_origin_advance('{self.slot}', '{begins}')")

    def start(self):
        self.found = []
        self.target.sql("SELECT pglogical.alter_subscription_enable('bench', true)")

    def stop(self):
        self.target.sql("SELECT pglogical.drop_subscription('bench')")
        self.target.sql("SELECT pglogical.drop_node('subscriber')")
        self.target.sql("DROP EXTENSION pglogical")
        self.source.drop_slot(self.slot)


def make_slots(source, with_pglogical):
    """As of now; what follows is what everybody reads."""
    plugins = {peers.SLOT: "pgoutput"} | ({peers.SLOT_PGLOGICAL: "pglogical_output"} if with_pglogical else {})
    for slot, plugin in plugins.items():
        source.drop_slot(slot)
        source.sql(f"SELECT pg_create_logical_replication_slot('{slot}', '{plugin}')")
