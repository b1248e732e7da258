"""Bad input: each says what is wrong and what to do, none loses or doubles a row, none prints a password
(harness.weir looks for that after every run)."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import urllib.parse

import pytest

from harness import disk as disks
from harness.postgres import PASSWORD
from harness.targets import make_target
from harness.wait import wait_for

pytestmark = pytest.mark.errors

NOWHERE = "postgres://weir@127.0.0.1:1/shop"
TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b');"


def says(ended, *words):
    for word in words:
        assert word.lower() in ended.text.lower(), f"it does not say {word!r}\n{ended}"


# ---------------------------------------------------------------------------------------------
# What was typed
# ---------------------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("words, said", [
    (["strem", "a", "b"], ['"strem"', '"weir stream"']),
    (["stream"], ["SOURCE SINK"]),
    (["stream", NOWHERE], ["SOURCE SINK", "--help"]),
    (["stream", "postgers://localhost/shop", "null:"], ['"postgers"', "postgres"]),
    (["stream", "no url", "null:"], ["source"]),
    (["stream", NOWHERE, "sqlte:x.db"], ['"sqlte"', "sqlite"]),
    (["stream", "--tabel", "t", NOWHERE, "null:"], ['"--tabel"', '"--table"']),
    (["stream", NOWHERE, "null:", "--until", "nwo"], ["--until", '"nwo"', "now"]),
    (["stream", NOWHERE, "null:", "--jobs", "many"], ["jobs", "many"]),
    (["stream", NOWHERE, "null:", "--jobs", "0"], ["jobs", "1"]),
    (["stream", NOWHERE, "null:", "--name", "../x"], ["../x", "name"]),
    (["stream", NOWHERE, "null:", "--name", ""], ["--name", "empty"]),
    (["stream", NOWHERE, "null:", "--table="], ["--table", "empty"]),
    (["stream", NOWHERE + "?slot=", "null:"], ['"slot" has an empty value', "leave it out"]),
    (["stream", NOWHERE + "?tables=,", "null:"], ['"tables" has an empty value']),
    (["stream", NOWHERE + "?readers=4", "null:"], ['unknown option "readers"', "Known options: tables, ", "and those of libpq"]),
    (["stream", NOWHERE + "?memory=1", "null:"], ["the source's connection", "16MB or 1GB, from 1MB to 1TB"]),
    (["stream", NOWHERE, NOWHERE + "?receive_timeout=1ms"], ["the sink's connection", "5min or 1h, from 1s to 1h"]),
    (["stream", NOWHERE, "null:", "--patience", "8d"], ["--patience", "from 0 to 7d"]),
    (["stream", NOWHERE, "null:", "--slot", "My-Slot"], ["My-Slot", "lower-case"]),
    (["stream", NOWHERE, "null:", "--publication", "p" * 64], ["ppp", "too long for a publication", "63"]),
    (["stream", "postgres://127.0.0.1:port/shop", "null:"], ["port"]),
    (["--verison"], ['"--verison"', '"weir --version"']),
    (["help", "strem"], ['"strem"', '"weir help stream"']),
    (["help", "sqlte"], ['"weir help sqlite"']),
    (["slots", "lsit", NOWHERE], ['"lsit"', '"weir slots list"']),
    (["slots", "drop", NOWHERE], ['"weir slots drop"', "SOURCE SLOT", "for example: weir slots drop"]),
    (["slots", NOWHERE], ["list", "drop", "is missing"]),
    (["stream", "sqlite:x", NOWHERE], ['"sqlite:"', "not a source"]),
    (["stream", "--until"], ["--until now|LSN"]),
    (["stream", NOWHERE, "null:", "-x"], ['"-x"', "--help"]),
    (["stream", NOWHERE, "null:", "--slot", "a", "--slot=b"], ["--slot is given twice"]),
    (["stream", NOWHERE, "sqlite:x?mode=histroy"], ["histroy", 'mean "history"']),
    (["check", "no-such-project"], ["no-such-project", "No such file", "weir init"]),
])
def test_words(weir, words, said):
    says(weir.run(*words, code=2, timeout=20), *said)


@pytest.mark.parametrize("command", ["stream", "copy", "run", "check", "slots", "init"])
def test_options_are_shown_as_they_are_typed(weir, command):
    """What --help, the pages and the completions name can be typed, and means what they say."""
    helped = re.findall(r"^  (--\S+)( \S+)?", weir.run(command, "--help").out, re.M)
    assert ("--help", "") in helped
    (page,) = re.findall(rf"^## weir {command} .*?(?=^## )", weir.run("internal", "options-md").out, re.M | re.S)
    (words,) = re.findall(rf"^ +'{command} '\*\) words='(.*)' ;;", weir.run("internal", "completion-bash").out, re.M)
    for name, value in helped:
        if name == "--help":
            continue
        assert name in words.split()
        assert f"`{name}`" in page or name.startswith("--log-")
        ended = weir.run(command, name, *(["x"] if value else []), *["a"] * 9, code=2, timeout=10)
        assert "unknown option" not in ended.text and "needs a value" not in ended.text, ended
    if command in ("stream", "check"):
        on = {"stream": "copy", "check": "columns"}[command]
        assert f"--no-{on}" in words and f"--{on} " not in words and f"`--{on}`" not in page


@pytest.mark.parametrize("query, said", [
    ("mdoe=history", ['"mdoe"', "mode"]),
    ("mode=histroy", ["histroy", "history"]),
    ("mode=mirror&mode=history", ["mode"]),
])
@pytest.mark.parametrize("sink", ["sqlite", "duckdb", "postgres"])
def test_options_of_the_sink(weir, source, target, query, said):
    source.sql(TABLE)
    url = target.url()
    ended = weir.run("stream", source.url, url + ("&" if "?" in url else "?") + query, "--until", "now", code=2)
    says(ended, *said)
    assert source.slots() == [], "nothing was made before the mistake was seen"


@pytest.mark.parametrize("url, said", [
    ("sqlite:x.db?mdoe=history", ['"mdoe"', '"mode"']), ("sqlite:x.db?mode=x", ["mode", "history"]),
    ("duckdb:x.db?threads=no", ["threads"]), ("file:x?format=xml", ["format", "xml"]), ("sqlite:", ["path"]),
    ("postgres://127.0.0.1:1/x?schema=a,b", ["schema"]), ("postgres://127.0.0.1:1/x?schema=", ['"schema" has an empty value']),
    ("stdout:?format=wal2json&version=3", ["version"]),
])
@pytest.mark.parametrize("command", ["stream", "copy", "run"])
def test_options_of_the_sink_are_seen_first(weir, command, url, said):
    """Before the source, which is down, is waited for."""
    if command == "run":
        (weir.folder / "weir.yml").write_text(f"""
connections:
  down: {{ type: postgres, url: "{NOWHERE}" }}
  good: {{ type: "null" }}
  bad: {{ type: {url.partition(":")[0]}, url: "{url}" }}
pipelines:
  first: {{ from: {{ connection: down }}, to: {{ connection: good }} }}
  second: {{ from: {{ connection: down }}, to: {{ connection: bad }} }}
""")
    words = [] if command == "run" else [NOWHERE, url]
    says(weir.run(command, *words, code=2, timeout=10), *said, *(["weir.yml:5"] if command == "run" else []))


@pytest.mark.parametrize("connection, said", [
    ("type: postgres, url: 'postgres://h/db?tabels=a'", ['"tabels"', '"tables"']),
    ("type: postgres, url: 'postgres://u:a@b@h/db'", ["%40"]),
    ("type: postgres, url: 'postgres://h/db', tabels: [a]", ['"tabels"', '"tables"']),
    ("type: postgres, url: 'postgres://h/db?copy=no', copy: no", ['"copy"', "twice"]),
    ("type: postgres, url: 'sqlite:x'", ["source", "sqlite:", "postgres:"]),
    ("type: postgres, url: [a, b]", ['"url"', "list"]),
    ("type: postgres, url: 'postgres://h/db', tables: []", ['"tables" has an empty value']),
    ("type: postgres, url: 'postgres://h/db', tables: ['${NOT_SET:-}', b]", ['"tables" has an empty value', "variable"]),
    ("type: postgres, slot: Bad-Slot, url: 'postgres://h/db'", ["Bad-Slot"]),
    ("type: postgers, url: 'postgres://h/db'", ['"postgers"', '"postgres"']),
    ("type: postgres", ['"url" is missing']),
])
@pytest.mark.parametrize("command", ["run", "check"])
def test_mistakes_in_a_project_have_a_line(weir, command, connection, said):
    (weir.folder / "weir.yml").write_text(
        f"connections:\n  nowhere: {{ type: 'null' }}\n  it: {{ {connection} }}\n"
        "pipelines:\n  p:\n    from: { connection: it }\n    to: { connection: nowhere }\n")
    says(weir.run(command, code=2, timeout=10), "weir.yml:3", *said)


@pytest.mark.parametrize("line, said", [
    ("jobs: many", ["jobs", "many"]),
    ("job: 2", ['"job"', '"jobs"']),
    ("watchdog: soon", ["watchdog", "soon"]),
    ("wal_warning: -1", ["wal_warning"]),
    ("watchdog: [1s]", ["watchdog"]),
    ("colour: red", ['unknown key "colour"', "known here: from, to, "]),
    ("buffer: { type: disk, readers: [a] }", ['unknown option "readers"', "Known options: dir, "]),
])
def test_mistakes_in_a_pipeline_have_a_line(weir, line, said):
    (weir.folder / "weir.yml").write_text(
        f"connections:\n  nowhere: {{ type: 'null' }}\n  it: {{ type: postgres, url: '{NOWHERE}' }}\n"
        f"pipelines:\n  p:\n    from: {{ connection: it }}\n    to: {{ connection: nowhere }}\n    {line}\n")
    says(weir.run("run", code=2, timeout=10), "weir.yml:8", *said)


@pytest.mark.parametrize("sink", ["duckdb"])
def test_a_value_that_exact_keeps(pipeline):
    """What is said to do about it can be done, step by step. A table that was made otherwise says how."""
    pipeline.source.sql("CREATE TABLE t (id int PRIMARY KEY, n numeric(9,2)); INSERT INTO t VALUES (1, 2.50)")
    pipeline.drain()
    pipeline.source.sql("INSERT INTO t VALUES (2, 'NaN')")
    words = (pipeline.source.url, pipeline.target.url())
    says(pipeline.weir.drain(*words, code=1), 'row where "id" = 2: column "n"', "DECIMAL(9,2) cannot hold NaN", "exact=true")
    exact = (pipeline.source.url, pipeline.target.url(exact="true"))
    ended = pipeline.weir.drain(*exact, code=2)
    says(ended, "does not fit", "made with exact=false: say that again")
    (forget,) = re.findall("have it copied again: (DELETE .*?;)", ended.err)
    pipeline.target.execute("DROP TABLE t", forget)
    pipeline.weir.drain(*exact)
    assert pipeline.target.count("public", "t") == 2
    pipeline.source.sql("INSERT INTO t VALUES (3, 1)")
    says(pipeline.weir.drain(*words, code=2), "made with exact=true: say that again")
    pipeline.weir.drain(*exact)
    assert pipeline.target.count("public", "t") == 3


@pytest.mark.parametrize("ends, said", [
    ("to: { connection: nowhere }", ['"from" is missing in pipeline "p"', "from: { connection: it }"]),
    ("from: { connection: it }", ['"to" is missing in pipeline "p"', "to: { connection: it }"]),
    ("from: it, to: { connection: nowhere }", ["mapping", "from: { connection: it }"]),
    ("from: { conection: it }, to: { connection: nowhere }", ['"connection" is missing in "from"', "from: { connection: it }"]),
])
def test_an_end_that_is_missing_has_an_example(weir, ends, said):
    (weir.folder / "weir.yml").write_text(
        f"connections:\n  it: {{ type: postgres, url: '{NOWHERE}' }}\n  nowhere: {{ type: 'null' }}\npipelines:\n  p: {{ {ends} }}\n")
    says(weir.run("run", code=2, timeout=10), "weir.yml:5", *said)


def test_which_route(weir, source, make_database):
    """Said where there are several: before anything is made, and of what is refused later. The source's errors are of none."""
    source.sql(TABLE)
    target = make_database()
    target.sql("CREATE TABLE t (id int PRIMARY KEY)")
    (weir.folder / "weir.yml").write_text(
        f"connections:\n  s: {{ type: postgres, url: '{source.url}' }}\n  a: {{ type: sqlite, path: a.db }}\n"
        f"  b: {{ type: postgres, url: '{target.url}' }}\n"
        "pipelines:\n  p: { from: { connection: s }, to: [ { connection: a }, { connection: b } ] }\n")

    def refused(code=2):
        return json.loads(weir.run("run", "--until", "now", "--log-format", "json", code=code).err.splitlines()[-1])["error"]
    right = (weir.folder / "weir.yml").read_text()
    (weir.folder / "weir.yml").write_text(right.replace("type: postgres, url: '" + source.url, "type: postgres, tables: [nope], url: '" + source.url))
    assert refused().startswith('source: no table matches "nope"')
    (weir.folder / "weir.yml").write_text(right)
    assert refused().startswith('route "b": target table "public"."t" does not fit'), "before anything is made"
    target.sql("DROP TABLE t")
    weir.run("run", "--until", "now")
    target.sql("INSERT INTO t VALUES (3, 'theirs')")
    source.sql("INSERT INTO t VALUES (3, 'c')")
    assert refused(1).startswith('route "b": insert in "public"."t" where "id" = 3')
    target.sql("DROP TABLE t")
    assert refused().startswith('route "b": ')
    whole = (weir.folder / "a.db").read_bytes()
    (weir.folder / "a.db").write_bytes(b"no database " * 1000)
    assert refused().startswith('route "a": sink: ')
    (weir.folder / "a.db").write_bytes(whole)
    name = drop_slot(source)
    assert refused().startswith(f'replication slot "{name}" does not exist any more')


@pytest.mark.parametrize("sink", ["sqlite"])
def test_table_of_ours_that_was_altered(pipeline, sink):
    """What is said to mend it does."""
    pipeline.source.sql(TABLE)
    pipeline.drain()
    pipeline.target.execute("ALTER TABLE t DROP COLUMN v")
    pipeline.source.sql("UPDATE t SET v = 'c' WHERE id = 1")
    ended = pipeline.weir.run("stream", pipeline.source.url, pipeline.target.url(), "--until", "now", code=2)
    says(ended, 'column "v" is missing')
    pipeline.target.execute(*re.search(r"start again: (DROP TABLE .*;) (DELETE .*;)", ended.err).groups())
    pipeline.drain()
    pipeline.check()


@pytest.mark.parametrize("sink", ["postgres"])
def test_options_in_the_url_of_a_project(weir, source, target, sink):
    """They are the connector's, as on a command line, and not libpq's."""
    source.sql(TABLE)
    (weir.folder / "weir.yml").write_text(
        f"connections:\n  from: {{ type: postgres, url: '{source.url}?partitions=leaf' }}\n"
        f"  to: {{ type: postgres, url: '{target.url()}?schema=elsewhere&application_name=x' }}\n"
        "pipelines:\n  p:\n    from: { connection: from, tables: [t] }\n    to: { connection: to }\n")
    weir.run("run", "--until", "now")
    assert target.database.one("SELECT count(*) FROM elsewhere.t") == 2


@pytest.mark.parametrize("query, said", [
    ("partitions=leafs", ["partitions", "leafs", "leaf"]),
    ("refresh=soon", ["refresh", "soon"]),
    ("tabels=t", ['"tabels"', '"tables"']),
])
def test_options_of_the_source(weir, source, query, said):
    source.sql(TABLE)
    says(weir.run("stream", f"{source.url}?{query}", "null:", "--until", "now", code=2), *said)


@pytest.mark.parametrize("pattern, said", [
    ("public.missing", ["public.missing"]), ("nothing.*", ["nothing.*"]), ("missing", ["missing"]),
    ("a_view", ["a_view", "view"]), ("unlogged", ["unlogged"]),
])
def test_no_such_table(weir, source, tmp_path, pattern, said):
    source.sql(TABLE + "CREATE VIEW a_view AS SELECT * FROM t; CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY)")
    ended = weir.run("stream", source.url, f"sqlite:{tmp_path}/x.db", "--table", pattern, "--until", "now", code=2)
    says(ended, *said)
    assert source.slots() == []


# ---------------------------------------------------------------------------------------------
# The source
# ---------------------------------------------------------------------------------------------


def with_user(database, user, password):
    return database.server.url(database.name, user=user, password=password)


@pytest.mark.valgrind
def test_wrong_password(weir, source, tmp_path):
    url = with_user(source, "postgres", PASSWORD + "x")
    ended = weir.run("stream", url, f"sqlite:{tmp_path}/x.db", "--until", "now", code=None, timeout=20)
    assert ended.code in (1, 2)
    says(ended, "password authentication failed")


def test_no_such_database(weir, source):
    ended = weir.run("stream", source.server.url("not_there"), "null:", "--until", "now", code=None, timeout=20)
    assert ended.code in (1, 2)
    says(ended, "not_there", "does not exist")


@pytest.fixture
def role(source):
    name = f"role_{source.name}"
    source.sql(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
    yield name
    source.sql(f"DROP OWNED BY {name}")
    source.sql(f"DROP ROLE {name}")


def test_check_says_what_to_grant(weir, source, role):
    """Each statement as it is printed; then it is ready, and it is true."""
    source.sql(TABLE + 'CREATE SCHEMA "My S"; CREATE TABLE "My S"."t 2" (id int PRIMARY KEY)')
    url = with_user(source, role, PASSWORD)
    granted = set()
    for _ in range(3):
        said = json.loads(weir.run("check", "--format", "json", url, "null:", code=None).out)
        (checked,) = said["pipelines"]
        for finding in checked["findings"]:
            if finding["level"] == "must":
                source.sql(finding["mend"])
                granted.add(finding["mend"])
        if said["ready"]:
            break
    assert said["ready"], checked
    assert f'GRANT USAGE ON SCHEMA "My S" TO {role};' in granted
    assert f'GRANT SELECT ON public.t TO {role};' in granted
    weir.drain(url, "null:")


def test_no_permission_to_replicate(weir, source, role):
    source.sql(TABLE + f"GRANT ALL ON t TO {role}; GRANT CREATE ON DATABASE {source.name} TO {role};"
               f"ALTER TABLE t OWNER TO {role}")
    ended = weir.run("stream", with_user(source, role, PASSWORD), "null:", "--until", "now", code=None, timeout=20)
    assert ended.code in (1, 2), ended
    says(ended, f'ALTER ROLE "{role}" REPLICATION')
    source.sql(f"ALTER ROLE {role} REPLICATION")
    weir.drain(with_user(source, role, PASSWORD), "null:")


def test_no_permission_to_read(weir, source, role, tmp_path):
    source.sql(TABLE + f"ALTER ROLE {role} REPLICATION; CREATE PUBLICATION mine FOR TABLE t")
    run = lambda code: weir.run("stream", with_user(source, role, PASSWORD), f"sqlite:{tmp_path}/target.db",
                                "--publication", "mine", "--until", "now", code=code, timeout=20)
    ended = run(None)
    assert ended.code in (1, 2), ended
    says(ended, "may not read table public.t", "GRANT SELECT")
    assert source.slots() == []
    source.sql(f"GRANT SELECT ON t TO {role}")
    run(0)
    assert make_target("sqlite", tmp_path).count("public", "t") == 2


def test_no_permission_to_make_a_publication(weir, source, role):
    source.sql(TABLE + f"ALTER ROLE {role} REPLICATION; GRANT SELECT ON t TO {role}")
    ended = weir.run("stream", with_user(source, role, PASSWORD), "null:", "--until", "now", code=None, timeout=20)
    assert ended.code in (1, 2), ended
    says(ended, "create a publication", "--publication")


def test_wal_level(weir, own_server):
    source = own_server(wal_level="replica").database()
    source.sql(TABLE)
    says(weir.run("stream", source.url, "null:", "--until", "now", code=2, timeout=20), "wal_level",
         "ALTER SYSTEM SET wal_level = logical")
    # A copy needs none of it.
    weir.run("copy", source.url, "null:")


def test_no_free_slot(weir, own_server, tmp_path):
    server = own_server(max_replication_slots="1")
    source = server.database()
    source.sql(TABLE + "SELECT pg_create_physical_replication_slot('taken')")
    target = f"sqlite:{tmp_path}/target.db"
    says(weir.run("stream", source.url, target, "--until", "now", code=2), "max_replication_slots")
    says(weir.run("check", source.url, target, code=2), "ALTER SYSTEM SET max_replication_slots = 11;")
    source.sql("SELECT pg_drop_replication_slot('taken')")
    weir.drain(source.url, target)
    assert make_target("sqlite", tmp_path).count("public", "t") == 2


# ---------------------------------------------------------------------------------------------
# Positions that are not ours
# ---------------------------------------------------------------------------------------------


def slot_of(database):
    (slot,) = database.slots()
    return slot[0]


def drop_slot(database):
    wait_for(lambda: not database.slots()[0][1], 20, "the slot is free")
    name = slot_of(database)
    database.sql("SELECT pg_drop_replication_slot(%s)", name)
    return name


def refused(pipeline, *says_words, words=()):
    def rows():
        found = pipeline.target.read("public", "t")
        return found and found.rows  # a file has no table that had no row
    before = rows()
    ended = pipeline.weir.run("stream", pipeline.source.url, pipeline.target.url(), *words, "--until", "now", code=None,
                              timeout=30)
    assert ended.code in (1, 2), ended
    says(ended, *says_words)
    assert rows() == before, "it wrote something all the same"


def test_slot_dropped(pipeline):
    pipeline.source.sql(TABLE)
    pipeline.drain()
    name = drop_slot(pipeline.source)
    pipeline.source.sql("INSERT INTO t VALUES (3, 'nobody kept this')")
    refused(pipeline, name, "does not exist", "--name")


def test_slot_dropped_and_made_again(pipeline):
    pipeline.source.sql(TABLE)
    pipeline.drain()
    name = drop_slot(pipeline.source)
    pipeline.source.sql("INSERT INTO t VALUES (3, 'nobody kept this')")
    pipeline.source.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", name)
    pipeline.source.sql("INSERT INTO t VALUES (4, 'this is in the slot')")
    refused(pipeline, name, "made again", "--name")


def dropped_publication(pipeline, ours):
    """A publication that a pipeline was run with is dropped, and a change of its table comes behind it."""
    source = pipeline.source
    source.sql(TABLE + "CREATE PUBLICATION theirs FOR TABLE t")
    words = [] if ours else ["--publication", "theirs"]
    pipeline.drain(*words)
    name = slot_of(source) if ours else "theirs"
    source.sql(f'DROP PUBLICATION "{name}"')
    source.sql("UPDATE t SET v = 'not told' WHERE id = 1")
    return name, words


@pytest.mark.parametrize("sink, ours", [("sqlite", True), ("postgres", False)])
def test_publication_dropped(pipeline, ours):
    """What was changed meanwhile cannot be told; Weir's own is not made again."""
    name, words = dropped_publication(pipeline, ours)
    says(pipeline.weir.run("check", pipeline.source.url, pipeline.target.url(), *words, code=2), f'"{name}"', "does not exist any more")
    refused(pipeline, f'"{name}"', "does not exist any more", "was dropped for a while", "--name", words=words)
    assert pipeline.source.one("SELECT count(*) FROM pg_publication WHERE pubname = %s", name) == 0


@pytest.mark.parametrize("version", [16, 18], indirect=True)
@pytest.mark.parametrize("sink, copy", [("sqlite", True), ("file", False)])
def test_publication_dropped_and_made_again(pipeline, version, copy):
    """Up to version 17 the server refuses to decode what comes in between; a later one passes over it."""
    pipeline.source.url += f"?copy={str(copy).lower()}"
    _, words = dropped_publication(pipeline, False)
    pipeline.source.sql("CREATE PUBLICATION theirs FOR TABLE t; INSERT INTO t VALUES (3, 'told')")
    refused(pipeline, '"theirs"', "made again", "--name", words=words)


@pytest.mark.parametrize("version", [16, 18], indirect=True)
@pytest.mark.parametrize("sink", ["sqlite"])
def test_second_publication_dropped_and_made_again(pipeline, version):
    """That of tables without a key."""
    source = pipeline.source
    source.url += "?copy=false"
    source.sql(TABLE + "CREATE TABLE n (v text)")
    pipeline.drain()
    name = slot_of(source) + "_append"
    source.sql(f"DROP PUBLICATION {name}")
    source.sql("INSERT INTO n VALUES ('not told')")
    refused(pipeline, f'"{name}"', "does not exist any more", "--name")
    source.sql(f"CREATE PUBLICATION {name} FOR TABLE n WITH (publish = 'insert, truncate')")
    refused(pipeline, f'"{name}"', "made again", "--name")


@pytest.mark.parametrize("sink", ["sqlite"])
def test_publication_dropped_while_it_streams(pipeline):
    """Weir's own: not made again, as if nothing had been."""
    pipeline.source.sql(TABLE)
    process = pipeline.weir.start("stream", pipeline.source.url + "?refresh=100ms", pipeline.target.url())
    pipeline.settle(process)
    name = slot_of(pipeline.source)
    pipeline.source.sql(f"DROP PUBLICATION {name}")
    ended = process.wait()
    assert ended.code == 2
    says(ended, f'publication "{name}" does not exist any more', "--name")


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("sink", ["sqlite", "file"])
def test_another_publication(pipeline, sink, copy):
    """What only one of them has would be missing: the table t while it is not told, and then for good."""
    source = pipeline.source
    source.url += f"?copy={str(copy).lower()}"
    source.sql(TABLE + "CREATE TABLE u (id int PRIMARY KEY);"
               "CREATE PUBLICATION one FOR TABLE t, u; CREATE PUBLICATION two FOR TABLE u; CREATE PUBLICATION three FOR ALL TABLES")
    one = "--name", "x", "--publication", "one"
    pipeline.drain(*one)
    source.sql("INSERT INTO t VALUES (3, 'told'); INSERT INTO u VALUES (1)")
    for other in ("two", "three", "to_be_made"):
        words = "--name", "x", "--publication", other
        ends = source.url, pipeline.target.url()
        says(pipeline.weir.run("check", *ends, *words, code=2), '"one"', f'"{other}"', "--publication one")
        refused(pipeline, '"one"', f'"{other}"', "--publication one", "--name", words=words)
    refused(pipeline, '"one"', '"weir_x"', "--publication one", words=("--name", "x"))
    assert source.one("SELECT count(*) FROM pg_publication") == 3  # none was made
    # It is theirs, and they may alter it.
    source.sql("ALTER PUBLICATION one DROP TABLE u")
    pipeline.drain(*one)
    source.sql("ALTER PUBLICATION one RENAME TO uno")
    refused(pipeline, '"uno"', '"one"', "--publication uno", words=one)
    uno = "--name", "x", "--publication", "uno"
    pipeline.drain(*uno)
    source.sql("INSERT INTO t VALUES (4, 'told by its new name'); DROP PUBLICATION uno")
    refused(pipeline, '"uno"', '"three"', "does not exist any more", words=("--name", "x", "--publication", "three"))
    refused(pipeline, '"uno"', "does not exist any more", words=uno)


@pytest.mark.parametrize("sink", ["sqlite"])
def test_a_buffer_of_another_publication(pipeline):
    """The target was filled without a buffer before, which knows nothing of the one that it was filled from."""
    source, weir = pipeline.source, pipeline.weir
    source.sql(TABLE + "CREATE TABLE u (id int PRIMARY KEY); CREATE PUBLICATION one FOR TABLE t, u; CREATE PUBLICATION two FOR TABLE u")

    def write(publication, more=""):
        (weir.folder / "weir.yml").write_text(
            f"connections: {{ a: {{ type: postgres, url: '{source.url}' }}, b: {{ type: sqlite, path: '{pipeline.target.path}' }} }}\n"
            f"pipelines: {{ p: {{ from: {{ connection: a, publication: {publication} }}, to: {{ connection: b }} {more} }} }}\n")
    write("one")
    weir.run("run", "--until", "now")
    source.sql("INSERT INTO t VALUES (3, 'not told to the buffer'); INSERT INTO u VALUES (1)")
    write("two", ", buffer: disk")
    ended = weir.run("run", "--until", "now", code=2)
    says(ended, 'from publication \\"one\\"', 'not from \\"two\\"', "publication: one")
    assert pipeline.target.count("public", "u") == 0


@pytest.mark.parametrize("sink", ["sqlite"])
def test_a_second_publication_beside_ones_own(pipeline):
    """Weir would take the first one for its own, and alter it."""
    pipeline.source.sql(TABLE + "CREATE PUBLICATION one FOR TABLE t")
    words = "--name", "x", "--publication", "one"
    pipeline.drain(*words)
    pipeline.source.sql("CREATE PUBLICATION one_append FOR TABLE t")
    refused(pipeline, '"one_append"', 'DROP PUBLICATION "one_append"', words=words)
    pipeline.source.sql("DROP PUBLICATION one_append; INSERT INTO t VALUES (3, 'told')")
    pipeline.drain(*words)
    pipeline.check([("public", "t")])


@pytest.mark.parametrize("sink", ["sqlite"])
def test_a_target_that_does_not_say_its_publication(pipeline):
    """It was filled by an earlier Weir: it goes on, and says it from then on. A verification is no such run."""
    source, target = pipeline.source, pipeline.target
    source.sql(TABLE + "CREATE TABLE u (id int PRIMARY KEY); CREATE PUBLICATION one FOR TABLE t; CREATE PUBLICATION two FOR TABLE t, u")
    one, two = ("--name", "x", "--publication", "one"), ("--name", "x", "--publication", "two")
    pipeline.drain(*one)

    def said():
        return sum(key.startswith("publication") for key in target.checkpoint(pipeline.weir))
    assert said() == 2
    target.execute("DELETE FROM weir_checkpoint WHERE key LIKE 'publication%'")
    ends = source.url, target.url()
    pipeline.weir.run("verify", *ends, *one)
    assert said() == 0
    source.sql("INSERT INTO t VALUES (3, 'told')")
    pipeline.drain(*one)
    assert said() == 2
    refused(pipeline, '"one"', '"two"', words=two)
    says(pipeline.weir.run("verify", *ends, *two, code=2), '"one"', '"two"', "--publication one")
    pipeline.check([("public", "t")])


def test_slot_of_another_plugin(weir, source):
    source.sql(TABLE)
    source.sql("SELECT pg_create_logical_replication_slot('other', 'test_decoding')")
    says(weir.run("stream", source.url, "null:", "--slot", "other", "--until", "now", code=2), "other", "--slot")


def test_slot_of_another_database(weir, source, make_database):
    other = make_database()
    name = f"slot_{other.name}"
    other.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", name)
    source.sql(TABLE)
    says(weir.run("stream", source.url, "null:", "--slot", name, "--until", "now", code=2), name, other.name)


@pytest.mark.parametrize("sink", ["sqlite", "file"])
def test_another_cluster(weir, own_server, tmp_path, sink):
    """The same URL, another server behind it: its positions mean something else."""
    from conftest import Pipeline
    first, second = own_server(), own_server()
    pipeline = Pipeline(weir, first.database("shop"), make_target(sink, tmp_path))
    pipeline.source.sql(TABLE)
    pipeline.drain()
    second.database("shop").sql(TABLE + "INSERT INTO t VALUES (3, 'another')")
    pipeline.source.close()
    for server in (first, second):
        server.stop()
    first.data, second.data = second.data, first.data
    first.start()
    refused(pipeline, "--name")


@pytest.mark.parametrize("sink", ["file"])
def test_a_refused_start_leaves_the_file(pipeline, tmp_path):
    """With an old state directory, what is in the file behind its position is nowhere else."""
    pipeline.source.sql("CREATE TABLE t (id int PRIMARY KEY)")
    pipeline.drain()
    shutil.copytree(pipeline.weir.state, tmp_path / "old")
    pipeline.source.sql("INSERT INTO t SELECT generate_series(1, 100)")
    pipeline.drain()
    shutil.copytree(pipeline.weir.state, tmp_path / "new")
    before = pipeline.target.path.read_bytes()
    shutil.rmtree(pipeline.weir.state)
    shutil.copytree(tmp_path / "old", pipeline.weir.state)
    ended = pipeline.drain(code=2)
    assert "slot" in ended.err, ended
    assert pipeline.target.path.read_bytes() == before
    shutil.rmtree(pipeline.weir.state)
    shutil.copytree(tmp_path / "new", pipeline.weir.state)
    pipeline.source.sql("INSERT INTO t VALUES (101)")
    pipeline.drain()
    pipeline.check()


def test_source_restored_from_a_backup(own_server, weir, tmp_path):
    """The same cluster with less WAL than the target has seen."""
    from conftest import Pipeline
    server = own_server()
    pipeline = Pipeline(weir, server.database("shop"), make_target("sqlite", tmp_path))
    pipeline.source.sql(TABLE)
    pipeline.drain()
    pipeline.source.close()
    server.stop()
    subprocess.run(["cp", "-a", server.data, f"{server.data}.backup"], check=True)
    server.start()
    pipeline.source.sql("INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(10, 5000) g")
    pipeline.drain()
    pipeline.source.close()
    server.stop()
    subprocess.run(["rm", "-rf", server.data], check=True)
    subprocess.run(["mv", f"{server.data}.backup", server.data], check=True)
    server.start()
    refused(pipeline, "--name")


def promoted(server, copy):
    """The server goes on from @copy of its data, on a timeline of its own."""
    server.stop()
    subprocess.run(["rm", "-rf", server.data], check=True)
    subprocess.run(["mv", copy, server.data], check=True)
    (server.data / "standby.signal").touch()
    server.home.own(server.data / "standby.signal")
    server.start()
    with server.connect() as admin:
        admin.execute("SELECT pg_promote()")


def copied(server):
    copy = f"{server.data}.copy"
    server.stop()
    subprocess.run(["cp", "-a", server.data, copy], check=True)
    server.start()
    return copy


@pytest.mark.parametrize("version", [14, 17], indirect=True)
def test_source_went_back_and_on(own_server, weir, tmp_path):
    """Restored to an earlier time, it has written more since than the target has seen: positions tell nothing."""
    from conftest import Pipeline
    server = own_server()
    pipeline = Pipeline(weir, server.database("shop"), make_target("sqlite", tmp_path))
    pipeline.source.sql(TABLE)
    pipeline.drain()
    pipeline.source.close()
    copy = copied(server)
    pipeline.source.sql("INSERT INTO t SELECT g, 'lost' FROM generate_series(10, 20) g")
    pipeline.drain()
    pipeline.source.close()
    promoted(server, copy)
    pipeline.source.sql("INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(10, 5000) g")
    refused(pipeline, "timeline", "before the position of the target", "restored to an earlier time", "--name")
    ended = weir.run("check", pipeline.source.url, pipeline.target.url(), code=None)
    assert ended.code != 0 and "timeline" in ended.text


@pytest.mark.parametrize("version", [14, 17], indirect=True)
def test_source_promoted_with_everything(own_server, weir, tmp_path):
    """A new timeline behind all that the target has, once and again, is no reason to stop."""
    from conftest import Pipeline
    server = own_server()
    pipeline = Pipeline(weir, server.database("shop"), make_target("sqlite", tmp_path))
    pipeline.source.sql(TABLE)
    pipeline.drain()
    for n in range(2):
        pipeline.source.close()
        promoted(server, copied(server))
        pipeline.source.sql("INSERT INTO t VALUES (%s, 'after')", 100 + n)
        pipeline.drain()
    pipeline.check()


# ---------------------------------------------------------------------------------------------
# State
# ---------------------------------------------------------------------------------------------


def test_state_of_another_pipeline(weir, source, make_database, tmp_path):
    source.sql(TABLE)
    other = make_database()
    other.sql(TABLE)
    weir.drain(source.url, f"file:{tmp_path}/a", "--name", "p")
    ended = weir.run("stream", other.url, f"file:{tmp_path}/a", "--name", "p", "--until", "now", code=2)
    says(ended, "not the one that the target was filled from", "--name")
    ended = weir.run("stream", source.url, f"file:{tmp_path}/b", "--name", "p", "--until", "now", code=2)
    says(ended, "another pipeline", "--name")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("sink", ["file", "sqlite"])
def test_another_way_to_the_source(pipeline):
    """Another user, and another name of the host: by the pipeline's name it goes on, and without that the name is asked for."""
    source, sink = pipeline.source, pipeline.target.url()
    source.sql(TABLE + "; DROP ROLE IF EXISTS somebody; CREATE ROLE somebody SUPERUSER REPLICATION LOGIN PASSWORD 'p'")
    there = source.server.url(source.name, "somebody", "p").replace("127.0.0.1", "localhost")
    pipeline.drain()
    name, = [slot[0].removeprefix("weir_").replace("_", "-") for slot in source.slots()]
    source.sql("INSERT INTO t VALUES (3, 'c')")
    if "sqlite" in sink:
        says(pipeline.weir.run("stream", there, sink, "--until", "now", code=2), "already has rows", "--name with that one's name")
    pipeline.weir.drain(there, sink, "--name", name)
    pipeline.check()


def test_already_running(pipeline):
    pipeline.source.sql(TABLE)
    process = pipeline.start()
    pipeline.settle(process)
    ended = pipeline.weir.run("stream", pipeline.source.url, pipeline.target.url(), "--until", "now", code=2)
    says(ended, "already running")
    pipeline.source.sql("INSERT INTO t VALUES (3, 'c')")
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_state_that_cannot_be_written(weir, source, tmp_path):
    source.sql(TABLE)
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    says(weir.run("stream", source.url, "null:", "--state", folder, "--until", "now", code=2), "--state")


def test_state_is_a_file(weir, source, tmp_path):
    source.sql(TABLE)
    (tmp_path / "file").write_text("x")
    ended = weir.run("stream", source.url, "null:", "--state", tmp_path / "file", "--until", "now", code=None)
    assert ended.code in (1, 2)
    says(ended, str(tmp_path / "file"), "--state")


# ---------------------------------------------------------------------------------------------
# The target
# ---------------------------------------------------------------------------------------------


def run_sql(target, sql):
    """In the target, before weir or between its runs."""
    if target.kind == "postgres":
        target.database.sql(sql)
    elif target.kind == "sqlite":
        import sqlite3
        connection = sqlite3.connect(target.path)
        connection.executescript(sql)
        connection.close()
    else:
        import duckdb
        # Python's library may be a later one than weir's.
        connection = duckdb.connect(str(target.path), config={"storage_compatibility_version": "v1.2.0"})
        connection.execute(sql)
        connection.close()


@pytest.mark.sql
@pytest.mark.parametrize("existing, said", [
    ("CREATE TABLE t (id int PRIMARY KEY)", ["t", "v"]),
    ("CREATE TABLE t (id int PRIMARY KEY, v text, extra text NOT NULL)", ["t", "extra"]),
    ("CREATE TABLE t (id int PRIMARY KEY, v bytea)", ["t", "v"]),
    ("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (99, 'mine')", ["t", "existing"]),
])
def test_target_table_that_does_not_fit(pipeline, existing, said, sink):
    if "bytea" in existing and sink == "sqlite":
        existing = existing.replace("bytea", "REAL")
    if "bytea" in existing and sink == "duckdb":
        existing = existing.replace("bytea", "BLOB")
    if sink == "duckdb" and "extra" in existing:
        said = ["t", "3 columns"]
    pipeline.source.sql(TABLE)
    run_sql(pipeline.target, existing)
    before = pipeline.target.read("public", "t").rows
    ended = pipeline.weir.run("stream", pipeline.source.url, pipeline.target.url(), "--until", "now", code=2)
    says(ended, *said)
    assert pipeline.target.read("public", "t").rows == before
    run_sql(pipeline.target, "DROP TABLE t")
    pipeline.drain()
    pipeline.check()


@pytest.mark.parametrize("sink", ["file"])
def test_file_that_is_not_ours(pipeline):
    pipeline.source.sql(TABLE)
    pipeline.target.path.write_text("precious\n")
    ended = pipeline.weir.run("stream", pipeline.source.url, pipeline.target.url(), "--until", "now", code=2)
    says(ended, "existing")
    assert pipeline.target.path.read_text() == "precious\n"


@pytest.mark.parametrize("sink", ["sqlite", "duckdb", "file"])
def test_target_in_a_folder_that_is_not_there(weir, source, tmp_path, sink):
    source.sql(TABLE)
    target = make_target(sink, tmp_path / "no" / "such")
    ended = weir.run("stream", source.url, target.url(), "--until", "now", code=None, timeout=20)
    assert ended.code in (1, 2)
    says(ended, str(tmp_path / "no" / "such"))


@pytest.mark.parametrize("sink", ["sqlite", "duckdb"])
def test_target_that_is_no_database(weir, source, target):
    source.sql(TABLE)
    target.path.write_bytes(b"this is not a database, but it is long enough to look like a file" * 200)
    ended = weir.run("stream", source.url, target.url(), "--until", "now", code=None, timeout=20)
    assert ended.code in (1, 2)
    says(ended, target.path.name)
    assert target.path.read_bytes().startswith(b"this is not")


FULL = {  # what is said, and what to do
    "sqlite": ("database or disk is full", "Make room; nothing is lost meanwhile"),
    "duckdb": ("No space left on device", "Make room on the disk that holds"),
    "postgres": ("No space left on device", "Check free disk space"),
    "file": ("No space left on device", "Make room on the device or quota"),
}
MUCH = "INSERT INTO t SELECT g, (SELECT string_agg(md5(g || '.' || n), '') FROM generate_series(1, 30) n) " \
       "FROM generate_series(10, 6000) g;"


class TestFullDisk:
    """It says so, waits, and goes on by itself once there is room."""

    @pytest.fixture
    def disk(self, home, server, sink):
        """Comes before the pipeline, so that everything on it is gone before it is."""
        with disks.small_disk(home) as disk:
            if sink == "postgres":
                disk.tablespace = f"small_{disk.folder.name.replace('-', '_')}"
                with server.connect() as connection:
                    connection.execute(f"CREATE TABLESPACE {disk.tablespace} LOCATION '{disk.folder}'")
            yield disk
            if sink == "postgres":
                with server.connect() as connection:
                    connection.execute(f"DROP TABLESPACE {disk.tablespace}")

    @pytest.fixture
    def target(self, disk, sink, tmp_path, make_database):
        target = make_target(sink, disk.folder, make_database)
        if sink == "postgres":
            target.execute(f"ALTER DATABASE {target.database.name} SET default_tablespace = {disk.tablespace}")
        return target

    @pytest.mark.parametrize("while_copying", [True, False], ids=["copying", "streaming"])
    def test_full_disk(self, disk, pipeline, sink, while_copying):
        pipeline.source.sql(TABLE + (MUCH if while_copying else ""))
        if not while_copying:
            pipeline.drain()
            pipeline.source.sql(MUCH)
        process = pipeline.start("--until", "now", "--log-format", "json")
        process.expect('"message":"retrying"')
        said = next(line for line in process.log_lines() if line["message"] == "retrying")
        error, hint = FULL[sink]
        assert error in said["error"] and hint in said["hint"], said
        disk.grow()
        assert process.wait().code == 0
        pipeline.check()


@pytest.mark.parametrize("sink, error", [
    ("sqlite", "disk I/O error"), ("duckdb", "File too large"), ("file", "File too large")])
def test_files_that_may_not_grow(pipeline, error):
    """ulimit -f: said, and gone on from by the next start."""
    pipeline.source.sql(TABLE)
    pipeline.drain()
    pipeline.source.sql(MUCH)
    process = pipeline.start("--until", "now", limit_file=1 << 20)
    wait_for(lambda: not process.alive() or "retrying" in process.logs(), 40, process.logs)
    says(process.ended(), error, "hint", "ulimit -f")
    process.kill()
    pipeline.drain()
    pipeline.check()


@pytest.mark.parametrize("sink", ["sqlite", "duckdb", "postgres"])
def test_rows_that_went_missing_in_the_target(pipeline):
    """Somebody deleted a row: an update of it must not be dropped silently, nor stop without a reason."""
    pipeline.source.sql(TABLE)
    pipeline.drain()
    run_sql(pipeline.target, "DELETE FROM t WHERE id = 1")
    pipeline.source.sql("UPDATE t SET v = 'new' WHERE id = 1")
    ended = pipeline.weir.run("stream", pipeline.source.url, pipeline.target.url(), "--until", "now", code=None)
    if ended.code == 0:
        pipeline.check()  # the whole row was in the stream: it could be made again
    else:
        says(ended, "t", "1")


@pytest.mark.parametrize("sink", ["postgres"])
def test_a_lost_connection_has_a_name(pipeline):
    """Two servers may be connected to: it is said which one is gone."""
    pipeline.source.sql(TABLE)
    process = pipeline.start()
    pipeline.settle(process)
    said = f'the connection to database \\"{pipeline.target.database.name}\\" on 127.0.0.1:'
    for lost, said in ((pipeline.target.database, said), (pipeline.source, "the replication stream was ended")):
        lost.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                 " WHERE application_name LIKE 'weir/%' AND datname = current_database()")
        pipeline.source.sql("INSERT INTO t SELECT max(id) + 1, 'x' FROM t")
        process.expect(said)
        pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()


def test_somebody_else_makes_the_schema(weir, source, make_database, servers):
    """At the same time: it is there, and that is what was wanted."""
    target = make_database(on=servers.get(16))  # on the source's own server a slot would wait for the transaction
    source.sql(TABLE)
    with target.server.connect(target.name) as other:
        other.autocommit = False
        other.execute("CREATE SCHEMA app")
        process = weir.start("stream", source.url, f"{target.url}?schema=app", "--until", "now")
        wait_for(lambda: target.one(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%CREATE SCHEMA%' AND wait_event_type = 'Lock'"),
            20, lambda: "it waits for the other\n" + process.logs())
        other.commit()
    assert process.wait().code == 0, process.ended()
    assert target.one("SELECT count(*) FROM app.t") == 2


@pytest.mark.parametrize("command", ["stream", "run"])
def test_stdout_that_nobody_reads(weir, source, command):
    """As with other programs: `weir … | head -1` ends without a complaint."""
    source.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100000)")
    (weir.folder / "weir.yml").write_text(
        f"connections:\n  a: {{ type: postgres, url: '{source.url}' }}\n  b: {{ type: stdout }}\n"
        "pipelines:\n  p: { from: { connection: a }, to: { connection: b } }\n")
    words = [source.url, "stdout:"] if command == "stream" else []
    process = subprocess.Popen([weir.program, command, *words], cwd=weir.folder, env=weir.environment(),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert '"t"' in process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 141, process.stderr.read()
    said = process.stderr.read()
    assert not any(word in said for word in ("error", "roken pipe", "failed", "retrying", "hint")), said


def test_stdout_on_a_full_device(weir, source):
    """It does not wait for room for ever: there is no place in a stream to go back to."""
    source.sql(TABLE)
    with open("/dev/full", "w") as full:
        process = subprocess.run([weir.program, "stream", source.url, "stdout:", "--until", "now"], cwd=weir.folder,
                                 env=weir.environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert process.returncode == 1, process.stderr
    assert "No space left on device" in process.stderr and "hint: Make room" in process.stderr
    assert weir.drain(source.url, "stdout:").out.count('"op":"read"') == 2, "it comes with the next start"


# ---------------------------------------------------------------------------------------------
# Secrets
# ---------------------------------------------------------------------------------------------


def test_no_password_in_the_process_list(weir, source):
    source.sql(TABLE)
    process = weir.start("stream", source.url, "null:")
    process.expect("streaming")
    words = pathlib.Path(f"/proc/{process.popen.pid}/cmdline").read_bytes()
    assert PASSWORD.encode() not in words, words
    assert process.stop().code == 0


def test_no_password_in_what_is_kept(weir, source, tmp_path):
    source.sql(TABLE)
    weir.drain(source.url, f"sqlite:{tmp_path}/target.db")
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes(), f"{path} has the password"
    names = source.sql("SELECT application_name || coalesce(query, '') FROM pg_stat_activity")
    assert PASSWORD not in str(names)


def test_no_password_in_errors(weir, source):
    for url in (source.url.replace(":55", ":1"), source.url + "?no_such=1", source.url.replace("@127", "@%zz127"),
                urllib.parse.unquote(source.url) + "/x/y"):
        process = weir.start("stream", url, "null:", "--until", "now")
        wait_for(lambda: not process.alive() or "retry" in process.logs(), 20, "it fails")
        process.kill()


URL = f"postgres://u:{PASSWORD}@127.0.0.1:1/shop"


@pytest.mark.parametrize("words", [
    *([command, NOWHERE, "null:", option, URL] for command in ("stream", "copy") for option in ("--jobs", "--name")),
    *(["stream", NOWHERE, "null:", option, URL] for option in (
        "--until", "--slot", "--metrics", "--buffer", "--log-level", "--log-format", "--schema")),
    ["stream", "--jobs", URL, "null:"], ["stream", f"--jobs={URL}", NOWHERE, "null:"], ["stream", f"-j{URL}", NOWHERE, "null:"],
    ["stream", f"--{URL}", "null:"], ["stream", f"--no-{URL}", "null:"], ["stream", f"-{URL}", "null:"],
    ["stream", f"--postgres://u:a={PASSWORD}@h/shop", "null:"], ["stream", f"--postgres://u:{PASSWORD}=a@h/shop", "null:"],
    ["stream", NOWHERE, "null:", "--jobs", f"host=h password='{PASSWORD} {PASSWORD}' dbname=d"],
    ["stream", NOWHERE, "null:", "--jobs", f"postgres://h/d?PASSWORD={PASSWORD}"],
    ["stream", NOWHERE, "null:", "--jobs", f"postgres://u:a@b \"{PASSWORD}@h/d"],
    ["stream", NOWHERE, "null:", "--jobs", f"postgres://u:{PASSWORD}{'x' * 3000}@h/d"],
    ["stream", NOWHERE, f"sqlite:x.db?mode={URL}"], ["stream", NOWHERE, f"sqlite:x.db?{URL}"],
    ["stream", NOWHERE, f"{URL}?schema={URL}", "--jobs", "x"],
    ["run", URL], ["run", "--until", URL], ["check", URL + "/weir.yml"], ["init", URL], ["help", URL], [URL], [f"--{URL}"], [f"-{URL}"],
    ["replay", URL], ["replay", "--from", URL], ["slots", URL], ["slots", "drop", URL], ["slots", "drop", NOWHERE, URL],
    ["stream", "--name", "x", URL], ["check", NOWHERE, "null:", "--format", URL],
])
def test_connection_in_another_place(weir, words):
    """That no password is in what it says is looked for behind every run."""
    weir.run(*words, code=None, timeout=20)


@pytest.mark.parametrize("command", ["run", "help", "slots"])
@pytest.mark.parametrize("url", ["postgres:/u:{}@h/db", "u:{}@h/db", "postgres//u:{}@h/db", "postgres://h/db?pasword={}"])
def test_malformed_connection_in_another_place(weir, command, url):
    says(weir.run(command, url.format(PASSWORD), code=2, timeout=20), "connection", "hint: ")


def test_connection_in_another_place_as_json(weir):
    ended = weir.run("stream", NOWHERE, "null:", "--slot", URL, "--log-format", "json", code=2)
    assert "postgres://u:***@127.0.0.1:1/shop" in json.loads(ended.err)["error"]
    ended = weir.run("stream", f"host=h password='{PASSWORD}", "null:", "--log-format", "json", code=2)
    assert "password='…'" in json.loads(ended.err)["hint"], "what is advice is shown as it is"


@pytest.mark.parametrize("option", ["--table", "--publication", "--slot"])
def test_connection_in_the_place_of_a_name(weir, source, option):
    source.sql(TABLE)
    for url in (URL, URL.replace(PASSWORD, f"a,{PASSWORD}.{PASSWORD}*")):
        for command in (["check", source.url, "null:"], ["stream", source.url, "null:", "--until", "now"]):
            ended = weir.run(*command, option, url, code=None, timeout=20)
            assert "u:***@" in ended.text or ended.code == 0, ended


def test_connection_as_the_folder_of_the_state(weir):
    process = weir.start("stream", NOWHERE, "null:", "--state", f"postgres://u:{PASSWORD}@h/db", "--until", "now")
    process.expect("state=postgres://u:***@h/db")
    process.kill()
    process.check_words()


@pytest.mark.parametrize("text", [
    "pipelines: {x: {from: '%'}}", "%: {}", "pipelines: {x: {'%': a}}", "pipelines: {'%': {from: a, to: b}}",
    "connections: {'%': {type: null}}", "connections: {a: {type: '%'}}", "connections: {a: {'%': b}}",
    "connections: {a: {type: postgres, url: 'postgres://h/d', jobs: '%'}}", "state: '%'\npipelines: {x: 1}", "- '%'", "'%'",
    "connections: {a: {type: postgres, url: 'postgres://h/d'}, b: {type: 'null'}}\n"
    "pipelines: {x: {from: {connection: a}, to: {connection: b}, jobs: '%'}}",
    "connections: {a: {type: postgres, url: '${%}'}}\npipelines: {x: {from: {connection: a}, to: {connection: '%'}}}",
    "pipelines: {x: {from: {connection: '%'}, to: {connection: '%'}}}",
])
def test_connection_in_another_place_of_a_project(weir, text):
    (weir.folder / "weir.yml").write_text(text.replace("%", URL))
    weir.run("run", "--until", "now", code=2, timeout=20)


@pytest.mark.parametrize("user", [
    "x:y@postgres:{}", "postgres:{}/1", "postgres:1/{}", "postgres:{}%", "{}%zz", "postgres:1/2?{}", "postgres:1/2?{}=3",
])
@pytest.mark.parametrize("words", [["stream", "URL", "null:"], ["stream", NOWHERE, "URL"], ["check", "URL"],
                                   ["slots", "list", "URL"]])
def test_password_that_is_not_encoded(weir, words, user):
    """libpq would take pieces of it for a host, a port or a database, and quote them."""
    url = f"postgres://{user.format(PASSWORD)}@127.0.0.1:1/shop"
    says(weir.run(*[url if word == "URL" else word for word in words], code=2, timeout=20), "%40")


@pytest.mark.parametrize("existing", ["", "?existing=truncate", "?existing=keep"])
@pytest.mark.parametrize("command", [["stream", "--until", "now"], ["copy"], ["check"]], ids=lambda words: words[0])
def test_a_database_into_itself(weir, source, command, existing):
    """By another address, too. Its rows stay as they are."""
    source.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100); CREATE TABLE empty (n int)")
    other = source.url.replace("127.0.0.1", "localhost") + existing
    ended = weir.run(command[0], source.url, other, *command[1:], code=2)
    assert "is the source's own" in ended.out + ended.err and "?schema=" in ended.out + ended.err
    assert source.one("SELECT count(*) FROM t") == 100 and source.slots() == []
