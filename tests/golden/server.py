"""A throwaway PostgreSQL for the tests in this folder, and the program under test."""

import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile


class Skip(Exception):
    """Something that the test needs is not installed."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def newest_bindir(library="pgoutput.so"):
    """Of the Debian packages' servers that have @library, the newest."""
    found = glob.glob(f"/usr/lib/postgresql/*/lib/{library}")
    if not found:
        raise Skip(f"no PostgreSQL with {library} is installed")
    version = max(int(path.split("/")[4]) for path in found)
    return f"/usr/lib/postgresql/{version}/bin"


class Server:
    """Runs as the user postgres where we are root. `with Server(...) as server:` stops it at the end."""

    def __init__(self, bindir, port=0, directory=None):
        self.bindir, self.port = bindir, port or free_port()
        self.database = "postgres"
        self.directory = tempfile.mkdtemp(prefix="weir-golden-", dir=directory)
        self.data = os.path.join(self.directory, "data")
        self.state = os.path.join(self.directory, "state")
        os.mkdir(self.state)
        self.as_user = {}
        if os.geteuid() == 0:
            try:
                user = pwd.getpwnam("postgres")
            except KeyError as missing:
                raise Skip("there is no user postgres to run a server as") from missing
            os.chown(self.directory, user.pw_uid, user.pw_gid)
            self.as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        os.chmod(self.directory, 0o755)

    def program(self, name, *args):
        done = subprocess.run([os.path.join(self.bindir, name), *args], capture_output=True, text=True,
                              cwd="/", check=False, **self.as_user)
        if done.returncode != 0:
            raise RuntimeError(f"{name}: {done.stdout}{done.stderr}")

    def __enter__(self):
        try:
            self.program("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                         "--locale=C.UTF-8", "--no-sync")
            with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as conf:
                conf.write(f"""
listen_addresses = '127.0.0.1'
unix_socket_directories = '{self.directory}'
wal_level = logical
max_replication_slots = 20
max_wal_senders = 20
timezone = 'UTC'
fsync = off
""")
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self, attempts=5):
        """The port may be taken meanwhile, also by the other end of somebody's connection."""
        log = os.path.join(self.data, "log")
        try:
            self.program("pg_ctl", "-D", self.data, "-l", log, "-o", f"-p {self.port}", "-w", "start")
        except RuntimeError as failure:
            with open(log, encoding="utf-8") as lines:
                text = lines.read()
            if attempts == 1 or "Address already in use" not in text:
                raise RuntimeError(f"{failure}{text[-1000:]}") from failure
            os.remove(log)
            self.port = free_port()
            self.start(attempts - 1)

    def __exit__(self, *_):
        try:
            if os.path.exists(os.path.join(self.data, "postmaster.pid")):
                self.program("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def url(self):
        return f"postgres://postgres@127.0.0.1:{self.port}/{self.database}"

    def sql(self, text):
        done = subprocess.run(
            [os.path.join(self.bindir, "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", self.url],
            input=text.encode(), capture_output=True, check=False,
            env={**os.environ, "PGCLIENTENCODING": "UTF8"})
        if done.returncode != 0:
            raise RuntimeError(f"{done.stderr.decode()}\nin: {text[:1000]}")
        return done.stdout.decode()

    def stream_command(self, program, sink, name, *args, query=""):
        return [program, "stream", self.url + query, sink, "--state", self.state, "--name", name,
                "--slot", name, "--progress", "never", *args]

    def stream(self, program, sink, name, *args, query=""):
        """Deliver what is committed now; what the program wrote to standard output."""
        done = subprocess.run(self.stream_command(program, sink, name, "--until", "now", *args, query=query),
                              capture_output=True, check=False, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(f"weir: exit code {done.returncode}: {done.stderr.decode()}")
        return done.stdout.decode()
