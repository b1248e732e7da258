"""Weir and whom it is compared with."""
import json
import os
import pathlib
import shutil
import subprocess

from suite import measure, servers

ROOT = pathlib.Path(__file__).resolve().parents[2]
WEIR = pathlib.Path(os.environ.get("WEIR", ROOT / "build/weir"))
PUBLICATION = "bench"
# The slots that are made before the changes; every run reads a copy of one.
SLOT, SLOT_PGLOGICAL = "bench", "bench_pglogical"


def environment():
    """Nothing of the caller's Postgres, and the library that ./dev has installed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    library = ROOT / "build/libduckdb.so"
    if library.exists():
        kept.setdefault("WEIR_DUCKDB_LIBRARY", str(library))
    return {**kept, "NO_COLOR": "1"}


def program(name):
    """One of the server's own programs, or one that is installed; None when it is missing."""
    own = servers.binaries() / name
    return str(own) if own.exists() else shutil.which(name)


class Log:
    """Weir's log in JSON, so that what it says can be asked for."""

    def __init__(self, folder):
        self.path = folder / "weir.log"
        self.path.unlink(missing_ok=True)

    def entry(self, message):
        for line in self.path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if entry["message"] == message:
                return entry
        return {}

    def end(self):
        return self.path.read_text(encoding="utf-8")[-2000:]


def weir_words(command, source, sink, folder, *more):
    """The command line of a run that knows nothing of an earlier one."""
    state = folder / "state"
    shutil.rmtree(state, ignore_errors=True)
    keeping = [] if command == "copy" else ["--state", state, "--name", "bench"]
    return [WEIR, command, source.url, sink, *keeping, "--log-format", "json", "--progress", "never", *more]


def run_weir(words, folder, between=()):
    """To its end; @between: the servers whose CPU counts. Returns the sample and the log."""
    log = Log(folder)
    with open(log.path, "wb") as out:
        sample = measure.run_command(words, between, stderr=out, env=environment())
    return sample, log


def weir_from_slot(source, sink, folder, end, between):
    """What a copy of the slot has, up to @end."""
    source.drop_slot("weir")
    source.copy_slot(SLOT, "weir")
    words = weir_words("stream", source, sink, folder, "--slot", "weir", "--publication", PUBLICATION, "--no-copy",
                       "--until", end)
    return run_weir(words, folder, between)


def pg_recvlogical(source, end):
    """The drain: what the server's decoder sends, thrown away."""
    source.drop_slot("drain")
    source.copy_slot(SLOT, "drain")
    return measure.run_command(
        [program("pg_recvlogical"), "-h", "127.0.0.1", "-p", source.port, "-U", "postgres", "-d", "shop", "-S", "drain",
         "--start", "-f", "/dev/null", "--no-loop", "--endpos", end, "-o", "proto_version=1", "-o",
         f"publication_names={PUBLICATION}"], [source])


def pipe(left, right, between):
    """Two commands of the shell, the first into the second."""
    return measure.run_command(["bash", "-o", "pipefail", "-c", f"{left} | {right}"], between,
                               stdout=subprocess.DEVNULL)
