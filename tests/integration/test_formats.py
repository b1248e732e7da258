"""The formats, against the plugin they imitate, their JSON Schema and the server: for pytest."""

import json
import os
import subprocess
import sys

import pytest

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")
sys.path.insert(0, GOLDEN)

import wal2json_compare  # noqa: E402
import weir_roundtrip  # noqa: E402
from server import Server, Skip, newest_bindir  # noqa: E402

WEIR = os.environ.get("WEIR", "build/weir")


def or_skip(call, *args):
    try:
        return call(*args)
    except Skip as reason:
        pytest.skip(str(reason))


def golden_files():
    folder = os.path.join(GOLDEN, "weir")
    return sorted(os.path.join(folder, name) for name in os.listdir(folder))


@pytest.mark.parametrize("path", golden_files(), ids=os.path.basename)
def test_golden_events_fit_the_schema(path):
    validator = or_skip(weir_roundtrip.make_validator)
    with open(path, encoding="utf-8", newline="\n") as lines:
        for line in lines:
            assert [problem.message for problem in validator.iter_errors(json.loads(line))] == []


@pytest.mark.parametrize("line", [
    '{"op":"insert","schema":"s","table":"t","lsn":"0/1","xid":1,"commit_time":"2026-11-21T05:20:59.1Z","ordinal":1,"new":{}}',
    '{"op":"insert","schema":"s","table":"t","lsn":"0/1","ordinal":1,"new":{}}',
    '{"op":"read","schema":"s","table":"t","lsn":"0/1","ordinal":1,"new":{},"xid":5}',
    '{"op":"read","schema":"s","table":"t","lsn":"0/1","ordinal":1,"new":{},"surprise":5}',
    '{"op":"message","lsn":"0/1","ordinal":1,"transactional":true,"message_lsn":"0/1","prefix":""}',
])
def test_the_schema_refuses(line):
    validator = or_skip(weir_roundtrip.make_validator)
    assert not validator.is_valid(json.loads(line))


def test_wal2json_is_what_the_plugin_writes():
    assert or_skip(wal2json_compare.run, WEIR)


@pytest.mark.parametrize("seed", [1, 2])
def test_random_rows_come_back(seed):
    bindir = or_skip(newest_bindir)
    with or_skip(Server, bindir) as server:
        or_skip(weir_roundtrip.run_roundtrip, server, WEIR, seed)


@pytest.mark.kill
def test_file_survives_kills():
    bindir = or_skip(newest_bindir)
    with or_skip(Server, bindir) as server:
        or_skip(weir_roundtrip.run_kills, server, WEIR, 1, 20)


def test_text_that_is_not_utf8_stops_the_pipeline():
    with or_skip(Server, or_skip(newest_bindir)) as server:
        server.sql("CREATE DATABASE bytes ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;")
        server.database = "bytes"
        server.sql("CREATE TABLE t (id int PRIMARY KEY, note text);"
                   " SET client_encoding = 'SQL_ASCII'; INSERT INTO t VALUES (1, E'caf\\xe9');")
        command = server.stream_command(WEIR, "stdout:", "bytes", "--until", "now")
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
        # The server refuses to send it as UTF-8.
        assert done.returncode == 1
        assert b'invalid byte sequence for encoding "UTF8"' in done.stderr
        assert b"caf" not in done.stdout


def test_a_file_has_one_format(weir, source, tmp_path):
    source.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    path = tmp_path / "out"
    weir.drain(source.url, f"file:{path}?format=wal2json", "--name", "p")
    source.sql("INSERT INTO t VALUES (2)")
    was = path.read_bytes()
    for other in ("weir", "wal2json2", "wal2json&version=2"):
        for command in (["stream", "--until", "now"], ["check"]):
            ended = weir.run(command[0], source.url, f"file:{path}?format={other}", "--name", "p", *command[1:], code=2)
            assert "has lines of format wal2json1, not of" in ended.out + ended.err
    assert path.read_bytes() == was
    weir.drain(source.url, f"file:{path}?format=wal2json1", "--name", "p")
    assert len(path.read_bytes().splitlines()) == len(was.splitlines()) + 1
