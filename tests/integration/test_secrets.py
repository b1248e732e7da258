"""Passwords, whichever way they come: they are in nothing that is written, shown or kept. What a run prints is looked
through behind every run of every test (harness/weir.py)."""
import json
import pathlib
import urllib.request

import pytest

from harness.postgres import PASSWORD
from harness.wait import wait_for

from test_metrics import free_port

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'row ' || g FROM generate_series(1, 20) g"
LOUD = ["--log-level", "debug", "--log-format", "json"]


class Way:
    """How somebody gives passwords: what stands in the place of a URL, and what is around the program."""

    def __init__(self, kind, folder):
        self.kind, self.environment = kind, {}
        if kind == "PGPASSWORD":
            self.environment["PGPASSWORD"] = PASSWORD
        if kind == "passfile":
            file = folder / "passfile"
            file.write_text(f"*:*:*:postgres:{PASSWORD}\n")
            file.chmod(0o600)
            self.environment["PGPASSFILE"] = str(file)

    def url(self, database):
        server = database.server
        plain = f"postgres://postgres@127.0.0.1:{server.port}/{database.name}"
        return {"url": database.url, "query": f"{plain}?password={PASSWORD}",
                "keywords": f"host=127.0.0.1 port={server.port} user=postgres dbname={database.name} password='{PASSWORD}'",
                }.get(self.kind, plain)


@pytest.fixture(params=["url", "query", "keywords", "PGPASSWORD", "passfile"])
def way(request, tmp_path):
    return Way(request.param, tmp_path)


def looked_through(folder, but=()):
    """No file below it has the password."""
    for path in pathlib.Path(folder).rglob("*"):
        if path.is_file() and path.name not in but:
            assert PASSWORD.encode() not in path.read_bytes(), f"{path} has the password"


def told_by(database):
    """What the server knows of its connections and of what they ask."""
    return str(database.sql("SELECT application_name, query FROM pg_stat_activity"))


def stored_in(database):
    """Every row of every table that is not the server's, as text."""
    tables = database.sql("SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
                          "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')")
    return str([database.sql(f"SELECT x::text FROM {table} x") for table, in tables])


def test_a_pipeline_that_runs(weir, source, make_database, way, tmp_path):
    target, port = make_database(), free_port()
    source.sql(TABLE)
    process = weir.start("stream", way.url(source), way.url(target), "--metrics", f"127.0.0.1:{port}", *LOUD, **way.environment)
    wait_for(lambda: '"streaming"' in process.logs() or not process.alive(), 20, lambda: process.logs())
    process.must_live()
    source.sql("UPDATE t SET v = 'now'")
    source.wait_confirmed()
    assert PASSWORD.encode() not in pathlib.Path(f"/proc/{process.popen.pid}/cmdline").read_bytes(), "ps shows it"
    for page in ("/metrics", "/health", "/"):
        assert PASSWORD not in urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=10).read().decode()
    assert PASSWORD not in told_by(source) + stored_in(target) + stored_in(source)
    assert process.stop().code == 0
    assert target.one("SELECT count(*) FROM t WHERE v = 'now'") == 20
    looked_through(tmp_path, ["passfile"])


@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_what_is_kept(weir, source, way, tmp_path, kind):
    """The target's files and the state, with a disk buffer's log."""
    source.sql(TABLE)
    weir.run("stream", way.url(source), f"{kind}:{tmp_path}/target", "--until", "now", "--buffer", "disk", *LOUD, **way.environment)
    looked_through(tmp_path, ["passfile"])


def test_other_commands(weir, source, make_database, way, tmp_path):
    source.sql(TABLE)
    target = make_database()
    weir.run("check", way.url(source), way.url(target), code=None, **way.environment)
    weir.run("check", way.url(source), way.url(target), "--format", "json", code=None, **way.environment)
    weir.run("copy", way.url(source), way.url(target), *LOUD, **way.environment)
    weir.run("slots", "list", way.url(source), **way.environment)
    weir.run("slots", "drop", way.url(source), "no_such", code=None, **way.environment)
    looked_through(tmp_path, ["passfile"])


def broken(database, way):
    """{what is wrong: a connection that fails}, each quoted by somebody on its way."""
    good = way.url(database)
    port = str(database.server.port)
    return {"nobody there": good.replace(port, "1"), "no such database": good.replace(database.name, "no_such_db"),
            "no such user": good.replace("postgres@", "nobody@").replace("postgres:", "nobody:", 2).replace("nobody://", "postgres://")
            .replace("user=postgres", "user=nobody"),
            "wrong password": good.replace(PASSWORD, PASSWORD + "x"),
            "no such option": good + (" no_such=1" if way.kind == "keywords" else ("&" if "?" in good else "?") + "no_such=1")}


@pytest.mark.parametrize("wrong", ["nobody there", "no such database", "no such user", "wrong password", "no such option"])
def test_runs_that_fail(weir, source, make_database, way, tmp_path, wrong):
    source.sql(TABLE)
    target = make_database()
    for from_url, to_url in ((broken(source, way)[wrong], "null:"), (way.url(source), broken(target, way)[wrong])):
        for command in (["stream", "--until", "now", *LOUD], ["check"]):
            process = weir.start(command[0], from_url, to_url, *command[1:], **way.environment)
            wait_for(lambda: not process.alive() or "retrying" in process.logs(), 20, lambda: process.logs())
            process.kill()
            process.check_words()
    looked_through(tmp_path, ["passfile"])


PROJECT = """
connections:
  shop: {{ type: postgres, url: '{source}' }}
  copy: {{ type: postgres, url: '{target}'{more} }}
pipelines:
  shop:
    from: {{ connection: shop }}
    to: {{ connection: copy }}
"""


@pytest.mark.parametrize("more, code", [("", 0), (", mode: ${HUSH}", 2), (", ${HUSH}: 1", 2), (", schema: '${HUSH'", 2)])
def test_a_project(weir, source, make_database, tmp_path, more, code):
    """From the environment, also where it does not belong."""
    target = make_database()
    source.sql(TABLE)
    urls = {name: one.url.replace(PASSWORD, "${HUSH}") for name, one in (("source", source), ("target", target))}
    (tmp_path / "weir.yml").write_text(PROJECT.format(**urls, more=more))
    for command in ("check", "run"):
        words = [] if command == "check" else ["--until", "now", *LOUD]
        ended = weir.run(command, tmp_path / "weir.yml", *words, code=None, HUSH=PASSWORD)
        assert (ended.code == 0) == (code == 0) or command == "check", ended
    looked_through(tmp_path)
    assert PASSWORD not in stored_in(target)


def test_a_project_from_a_file(weir, source, tmp_path):
    source.sql(TABLE)
    (tmp_path / "secret").write_text(PASSWORD + "\n")
    url = source.url.replace(PASSWORD, "${file:secret}")
    (tmp_path / "weir.yml").write_text(f"connections: {{ shop: {{ type: postgres, url: '{url}' }}, none: {{ type: 'null' }} }}\n"
                                       "pipelines: { shop: { from: { connection: shop }, to: { connection: none } } }\n")
    ended = weir.run("run", tmp_path / "weir.yml", "--until", "now", *LOUD)
    assert any(json.loads(line)["message"] == "done" for line in ended.err.splitlines())
    looked_through(tmp_path, ["secret"])
