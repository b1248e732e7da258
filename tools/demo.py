#!/usr/bin/env python3
"""The demo: a shop, a live load, a stream into DuckDB (or SQLite), a kill in the middle, a proof.

Everything happens in a folder of its own with a PostgreSQL of its own, and nothing is left of either.
"""
import argparse
import dataclasses
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import psycopg

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests/integration"))
from harness import compare  # noqa: E402
from harness.targets import make_target  # noqa: E402

WEIR = pathlib.Path(os.environ.get("WEIR", ROOT / "build/weir"))
COLOR = sys.stdout.isatty() and "NO_COLOR" not in os.environ
BOLD, DIM, GREEN, RED, PLAIN = ("\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m") if COLOR else ("",) * 5


@dataclasses.dataclass(frozen=True)
class Size:
    orders: int
    load_seconds: float
    kill_after: float

    @property
    def customers(self):
        return self.orders // 10

    @property
    def products(self):
        return self.orders // 100


WHOLE = Size(orders=200000, load_seconds=18, kill_after=7)
QUICK = Size(orders=10000, load_seconds=3, kill_after=1.2)

SCHEMA = """
CREATE TYPE mood AS ENUM ('new', 'paid', 'sent', 'back');
CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,
    email text, since date DEFAULT current_date);
CREATE TABLE products (sku text PRIMARY KEY, title text NOT NULL, price numeric(10,2) NOT NULL,
    tags text[], description text);
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer bigint NOT NULL,
    state mood NOT NULL DEFAULT 'new', placed timestamptz NOT NULL DEFAULT now(), note jsonb);
CREATE TABLE items (order_id bigint, line int, sku text NOT NULL, quantity int NOT NULL,
    PRIMARY KEY (order_id, line));
CREATE TABLE visits (at timestamptz NOT NULL DEFAULT now(), page text, bytes int);
ALTER TABLE products ALTER COLUMN description SET STORAGE EXTERNAL;
INSERT INTO customers (name, email) SELECT 'Customer ' || g, 'c' || g || '@example.org'
    FROM generate_series(1, %(customers)s) g;
INSERT INTO products SELECT 'SKU-' || g, 'Product ' || g, (g %% 500) + 0.99, ARRAY['a', 'tag ' || g],
    repeat('long text ' || g, 400) FROM generate_series(1, %(products)s) g;
INSERT INTO orders (customer, note) SELECT g %% %(customers)s + 1, jsonb_build_object('n', g)
    FROM generate_series(1, %(orders)s) g;
INSERT INTO items SELECT g, 1, 'SKU-' || g %% %(products)s + 1, g %% 7 + 1 FROM generate_series(1, %(orders)s) g;
ANALYZE;
"""


def say(text):
    print(f"\n{BOLD}{text}{PLAIN}", flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def server_binaries():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    if initdb is None:
        sys.exit("no PostgreSQL server is installed: apt-get install postgresql")
    return pathlib.Path(initdb).resolve().parent


def as_postgres(command):
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", "postgres", "--", *command] if os.getuid() == 0 else command


class Server:
    def __init__(self, folder):
        self.bin, self.data, self.port = server_binaries(), folder / "postgres", free_port()
        if os.getuid() == 0:
            shutil.chown(folder, "postgres")
        self.run("initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "--no-sync")
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.write(f"port={self.port}\nlisten_addresses='127.0.0.1'\nwal_level=logical\n"
                       f"unix_socket_directories='{self.data}'\nfsync=off\nmax_wal_size=2GB\n"
                       "checkpoint_timeout=30min\n")
        self.run("pg_ctl", "-D", self.data, "-l", folder / "postgres.log", "-w", "start")
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/shop"
        self.conninfo = f"host=127.0.0.1 port={self.port} user=postgres"
        with psycopg.connect(self.conninfo + " dbname=postgres", autocommit=True) as conn:
            conn.execute("CREATE DATABASE shop")

    def run(self, program, *arguments):
        subprocess.run(as_postgres([str(self.bin / program), *map(str, arguments)]), check=True,
                       stdout=subprocess.DEVNULL, cwd="/")

    def connect(self, **options):
        return psycopg.connect(self.conninfo + " dbname=shop", **options)

    def stop(self):
        self.run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")


class Load(threading.Thread):
    """What a shop does all day: every kind of change, in transactions."""

    def __init__(self, server, size):
        super().__init__(daemon=True)
        self.server, self.size, self.random, self.transactions = server, size, random.Random(7), 0
        self.note = "note"

    def run(self):
        begin, seconds = time.monotonic(), self.size.load_seconds
        special = {seconds / 6: self.alter, seconds / 2: self.truncate}
        with self.server.connect() as conn:
            while time.monotonic() < begin + seconds:
                with conn.transaction():
                    for _ in range(self.random.randint(1, 4)):
                        self.change(conn)
                self.transactions += 1
                due = [at for at in special if time.monotonic() > begin + at]
                for at in due:
                    special.pop(at)(conn)

    def change(self, conn):
        r, kind, size = self.random, self.random.random(), self.size
        if kind < 0.35:
            order = conn.execute(f"INSERT INTO orders (customer, {self.note}) VALUES (%s, %s) RETURNING id",
                                 (r.randint(1, size.customers), '{"gift": true}')).fetchone()[0]
            conn.execute("INSERT INTO items SELECT %s, g, 'SKU-' || (%s + g), g FROM generate_series(1, 3) g",
                         (order, r.randint(1, size.products - 3)))
        elif kind < 0.6:
            conn.execute("UPDATE orders SET state = (ARRAY['paid','sent','back'])[%s]::mood WHERE id = %s",
                         (r.randint(1, 3), r.randint(1, size.orders)))
        elif kind < 0.75:  # the long description is not sent again
            conn.execute("UPDATE products SET price = price + 1 WHERE sku = %s", (f"SKU-{r.randint(1, size.products)}",))
        elif kind < 0.85:
            conn.execute("DELETE FROM items WHERE order_id = %s", (r.randint(1, size.orders),))
        elif kind < 0.9:  # a key change
            conn.execute("UPDATE products SET sku = sku || '-x' WHERE sku = %s AND length(sku) < 20",
                         (f"SKU-{r.randint(1, size.products)}",))
        else:
            conn.execute("INSERT INTO visits (page, bytes) SELECT '/p/' || g, g FROM generate_series(1, 5) g")

    def alter(self, conn):
        with conn.transaction():
            conn.execute("ALTER TABLE customers ADD COLUMN country text DEFAULT 'NL'")
            conn.execute("UPDATE customers SET country = 'DE' WHERE id % 1000 = 0")
        with conn.transaction():
            conn.execute("ALTER TABLE orders RENAME COLUMN note TO extra")
        self.note = "extra"

    @staticmethod
    def truncate(conn):
        with conn.transaction():
            conn.execute("TRUNCATE visits")


def weir(server, sink, state, *more):
    return subprocess.Popen([WEIR, "stream", server.url, sink, "--state", state, "--name", "demo", *more])


def prove(server, target):
    """With the integration tests' comparator, which shares nothing with the program."""
    equal = True
    print(f"\n  {BOLD}{'TABLE':<12}{'SOURCE':>10}{'TARGET':>10}   VALUES{PLAIN}")
    with server.connect(autocommit=True) as conn:
        for schema, table in compare.source_tables(conn):
            source = compare.read_postgres(conn, schema, table)
            found = target.read(schema, table, source)
            lines = compare.compare_table(table, source, found, target.kind)
            equal = equal and not lines
            print(f"  {table:<12}{len(source.rows):>10,}{len(found.rows) if found else 0:>10,}   "
                  + (f"{RED}different{PLAIN}" if lines else f"{GREEN}all equal{PLAIN}"))
            for line in lines[:compare.SHOWN]:
                print(f"    {line}")
    return equal


def show(folder, size):
    has_duckdb = "WEIR_DUCKDB_LIBRARY" in os.environ or (ROOT / "build/libduckdb.so").exists()
    kind = "duckdb" if has_duckdb else "sqlite"
    target = make_target(kind, folder)
    rows = size.customers + size.products + 2 * size.orders
    say(f"1  A throwaway PostgreSQL with a small shop: {rows:,} rows in five tables")
    server = Server(folder)
    running = None
    try:
        with server.connect() as conn:
            conn.execute(SCHEMA % {"orders": size.orders, "customers": size.customers, "products": size.products})
        load = Load(server, size)
        say(f"2  weir stream … {kind}:{target.path.name}, while the shop is busy: inserts, updates, deletes, TOAST,"
            "\n   key changes, a truncate, an ALTER TABLE")
        load.start()
        running = weir(server, target.url(), folder / "state")
        time.sleep(size.kill_after)
        running.send_signal(signal.SIGKILL)
        running.wait()
        print("\r\033[J" if COLOR else "", end="")
        say("3  Killed with SIGKILL in the middle. The same command again:")
        running = weir(server, target.url(), folder / "state")
        load.join()
        running.send_signal(signal.SIGTERM)
        running.wait()
        running = weir(server, target.url(), folder / "state", "--until", "now")
        if running.wait() != 0:
            sys.exit("weir did not end well")
        say(f"4  {load.transactions:,} transactions later, every row and value on both sides, read by other programs")
        equal = prove(server, target)
    finally:
        if running is not None and running.poll() is None:
            running.kill()
        server.stop()
    return equal


def main():
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="a smaller shop and a shorter load")
    size = QUICK if parser.parse_args().quick else WHOLE
    began = time.monotonic()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-demo-"))
    try:
        equal = show(folder, size)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not equal:
        sys.exit(f"\n{RED}The two sides differ. That is a bug of Weir's.{PLAIN}")
    say(f"Nothing lost, nothing doubled. ({time.monotonic() - began:.0f} s; nothing is left running)")
    print("""
  Now on your own database:

    build/weir check  postgres://user@host/database
    build/weir stream postgres://user@host/database stdout: --until now
    build/weir stream postgres://user@host/database duckdb:copy.duckdb
""")


if __name__ == "__main__":
    main()
