"""Throwaway PostgreSQL servers on loopback, each in a folder that goes away with it."""
import atexit
import functools
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

import psycopg

# Both ends are set alike, and every contestant meets the same servers. The disk is not what is compared:
# without fsync nobody waits for it, which favours those who commit often. Autovacuum would come at random.
SETTINGS = {
    "listen_addresses": "127.0.0.1", "wal_level": "logical", "fsync": "off", "autovacuum": "off",
    "shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "1h", "max_connections": 60,
    "max_wal_senders": 20, "max_replication_slots": 40, "max_worker_processes": 20,
    "wal_retrieve_retry_interval": "10ms",  # else a subscription may wait 5 s before it starts
}

running = []


def binaries():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    if not found:
        sys.exit("no PostgreSQL server is installed: apt-get install postgresql")
    return found[-1].parent


def major():
    return int(binaries().parent.name)


def free_port():
    """Any, or one of WEIR_BENCH_PORTS (FIRST-LAST)."""
    first, _, last = os.environ.get("WEIR_BENCH_PORTS", "0-0").partition("-")
    for port in range(int(first), int(last) + 1):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return probe.getsockname()[1]
    sys.exit("no port of WEIR_BENCH_PORTS is free")


def as_postgres(command):
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", "postgres", "--", *command] if os.getuid() == 0 else command


def plugin_settings(preload):
    """Recent servers ask to be told which output plugins are trusted; older ones do not know the setting."""
    described = subprocess.run(as_postgres([str(binaries() / "postgres"), "--describe-config"]), check=True,
                               capture_output=True, text=True, cwd="/").stdout
    name = "output_plugin_libraries"
    known = any(line.startswith(name + "\t") for line in described.splitlines())
    return {name: f"pgoutput, {preload}_output"} if preload and known else {}


def stop_all():
    for server in list(running):
        server.stop()


def run_as_postgres(program, *arguments):
    subprocess.run(as_postgres([str(program), *map(str, arguments)]), check=True, stdout=subprocess.DEVNULL, cwd="/")


@functools.cache
def new_cluster():
    """A data directory to copy from: initdb takes seconds."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    run_as_postgres(binaries() / "initdb", "-D", folder / "data", "-A", "trust", "-U", "postgres", "-E", "UTF8",
                    "--locale=C.UTF-8", "--no-sync")
    return folder / "data"


class Server:
    """It runs until stop_all()."""

    def __init__(self, folder, preload=""):
        folder.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            shutil.chown(folder, "postgres")
        self.data, self.base, self.log, self.port = folder / "data", folder / "base", folder / "log", free_port()
        run_as_postgres("cp", "-a", new_cluster(), self.data)
        settings = {**SETTINGS, "port": self.port, "unix_socket_directories": ""}
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        self.start(preload)
        self.sql("CREATE DATABASE shop", "postgres")

    def start(self, preload=""):
        """@preload: a library of that name, which brings an output plugin."""
        settings = {"shared_preload_libraries": preload, **plugin_settings(preload)}
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        try:
            run_as_postgres(binaries() / "pg_ctl", "-D", self.data, "-l", self.log, "-o", options, "-w", "-t", "60", "start")
        except subprocess.CalledProcessError:
            sys.exit("a server did not start: " + self.log.read_text(encoding="utf-8")[-1000:])
        running.append(self)
        self.pid = int((self.data / "postmaster.pid").read_text().split()[0])

    def stop(self, mode="immediate"):
        if self in running:
            running.remove(self)
        run_as_postgres(binaries() / "pg_ctl", "-D", self.data, "-m", mode, "-w", "-t", "600", "stop")

    def keep_as_base(self):
        """What the server has now is what back_to_base() brings back. It is down in between."""
        self.stop("fast")
        run_as_postgres(binaries() / "pg_resetwal", "-D", self.data)  # nothing of it is needed
        run_as_postgres("mv", self.data, self.base)

    def back_to_base(self, preload=""):
        if self in running:
            self.stop()
        run_as_postgres("rm", "-rf", self.data)
        run_as_postgres("cp", "-a", self.base, self.data)
        self.start(preload)

    def conninfo(self, database="shop"):
        return f"host=127.0.0.1 port={self.port} user=postgres dbname={database}"

    @property
    def url(self):
        return f"postgres://postgres@127.0.0.1:{self.port}/shop"

    def connect(self, database="shop"):
        return psycopg.connect(self.conninfo(database), autocommit=True)

    def sql(self, text, database="shop"):
        with self.connect(database) as conn:
            cursor = conn.execute(text)
            return cursor.fetchall() if cursor.description else None

    def value(self, text, database="shop"):
        return self.sql(text, database)[0][0]

    def copy_slot(self, name, copy):
        self.sql(f"SELECT pg_copy_logical_replication_slot('{name}', '{copy}')")

    def drop_slot(self, name):
        """Waits for whoever still reads it."""
        self.sql(f"""DO $$ BEGIN
            FOR i IN 1..200 LOOP
                EXIT WHEN NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '{name}' AND active);
                PERFORM pg_sleep(0.05);
            END LOOP;
            PERFORM pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{name}';
        END $$""")

    def end_of_log(self):
        return self.value("SELECT pg_current_wal_insert_lsn()::text")
