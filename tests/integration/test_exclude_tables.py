"""--exclude-table, exclude_tables: what is left out is neither published by us, nor copied, streamed or compared."""
import json

import pytest

from harness.wait import wait_for

from test_errors import says

TABLES = """
CREATE TABLE kept (id int PRIMARY KEY);
CREATE TABLE audit (id int PRIMARY KEY);
CREATE SCHEMA other;
CREATE TABLE other.kept (id int PRIMARY KEY);
CREATE TABLE other.secret (id int PRIMARY KEY);
CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE SCHEMA leaves;
CREATE TABLE leaves.low PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE leaves.high PARTITION OF parts FOR VALUES FROM (10) TO (20);
"""
ALL = ("kept", "audit", "other.kept", "other.secret", "parts")
LEFT_OUT = ("--exclude-table", "audit", "--exclude-table", "other.secret", "--exclude-table", "public.parts")


def fill(source, first):
    """One row in each table, of each leaf."""
    for table in ALL:
        source.sql(f"INSERT INTO {table} VALUES ({first})")
    source.sql(f"INSERT INTO parts VALUES ({first + 10})")


def came(path):
    """{table: how many rows} of a file of events."""
    events = [json.loads(line) for line in path.read_text().splitlines()]
    counts = {}
    for event in events:
        if event["op"] in ("insert", "read", "update", "delete"):
            name = f"{event['schema']}.{event['table']}"
            counts[name] = counts.get(name, 0) + 1
    return counts


def published(source):
    return {row[0] for row in source.sql("SELECT schemaname || '.' || tablename FROM pg_publication_tables")}


@pytest.mark.parametrize("buffer", ["memory", "disk"])
@pytest.mark.parametrize("partitions", ["root", "leaf"])
def test_left_out_of_a_publication_of_ours(weir, source, tmp_path, buffer, partitions):
    source.sql(TABLES)
    fill(source, 1)
    words = (f"{source.url}?partitions={partitions}&refresh=100ms", f"file:{tmp_path}/out", *LEFT_OUT, "--buffer", buffer)
    weir.drain(*words)
    fill(source, 2)
    source.sql("UPDATE kept SET id = id + 100; UPDATE audit SET id = id + 100")
    weir.drain(*words)
    assert came(tmp_path / "out") == {"public.kept": 4, "other.kept": 2}
    assert published(source) == {"public.kept", "other.kept"}


def test_left_out_of_a_given_publication(weir, source, tmp_path):
    """Which has them: by the root's name, or leaf by leaf."""
    source.sql(TABLES + "CREATE PUBLICATION roots FOR ALL TABLES WITH (publish_via_partition_root = true);"
               "CREATE PUBLICATION leaves FOR ALL TABLES")
    fill(source, 1)
    for name in ("roots", "leaves"):
        words = (source.url, f"file:{tmp_path}/{name}", *LEFT_OUT, "--publication", name, "--slot", name)
        weir.drain(*words)
    fill(source, 2)
    for name in ("roots", "leaves"):
        words = (source.url, f"file:{tmp_path}/{name}", *LEFT_OUT, "--publication", name, "--slot", name)
        weir.drain(*words)
        assert came(tmp_path / name) == {"public.kept": 2, "other.kept": 2}
    words = (source.url, f"file:{tmp_path}/leaf", "--exclude-table", "leaves.low", "--publication", "leaves")
    weir.drain(*words, "--slot", "leaf")
    assert came(tmp_path / "leaf")["leaves.high"] == 2 and "leaves.low" not in came(tmp_path / "leaf")


def test_tables_that_come_later(weir, source, tmp_path):
    source.sql(TABLES)
    process = weir.start("stream", f"{source.url}?refresh=100ms", f"file:{tmp_path}/out", "--exclude-table", "later",
                         "--exclude-table", "parts", "--exclude-table", "other.*")
    process.expect('no table matches "later": nothing is left out by it')
    process.expect("streaming")
    source.sql("CREATE TABLE later (id int PRIMARY KEY); CREATE TABLE welcome (id int PRIMARY KEY);"
               "CREATE TABLE leaves.more PARTITION OF parts FOR VALUES FROM (20) TO (30); CREATE TABLE other.more (id int PRIMARY KEY)")
    source.sql("INSERT INTO later VALUES (1); INSERT INTO parts VALUES (21); INSERT INTO other.more VALUES (1);"
               "INSERT INTO welcome VALUES (1)")
    wait_for(lambda: came(tmp_path / "out").get("public.welcome") == 1, 20, "the new table")
    source.sql("INSERT INTO later VALUES (2); INSERT INTO welcome VALUES (2)")
    wait_for(lambda: came(tmp_path / "out").get("public.welcome") == 2, 20, "its changes")
    assert process.stop().code == 0
    assert came(tmp_path / "out") == {"public.welcome": 2}
    assert published(source) == {"public.kept", "public.audit", "public.welcome"}


def test_copy_takes_none_of_them(weir, source, tmp_path):
    source.sql(TABLES)
    fill(source, 1)
    weir.run("copy", source.url, f"file:{tmp_path}/out", *LEFT_OUT)
    assert came(tmp_path / "out") == {"public.kept": 1, "other.kept": 1}


@pytest.mark.parametrize("words, taken", [
    (("--table", "other.*", "--exclude-table", "secret"), {"other.kept"}),
    (("--table", "kept", "--exclude-table", "public.*"), {"other.kept"}),
    (("--table", "leaves.*", "--table", "kept", "--exclude-table", "parts"), {"public.kept", "other.kept"}),
    (("--table", "leaves.*", "--exclude-table", "leaves.low"), {"leaves.high"}),
    (("--exclude-table", "*.audit", "--exclude-table", "other.*", "--exclude-table", '"parts"'), {"public.kept"}),
])
def test_what_is_taken(weir, source, words, taken):
    """Exclusions win, and a partitioned table goes with its partitions; check says what a start does."""
    source.sql(TABLES)
    report = json.loads(weir.run("check", source.url, "null:", *words, "--format", "json").out)["pipelines"][0]
    assert {f"{table['schema']}.{table['name']}" for table in report["tables"]} == taken
    weir.drain(source.url, "null:", *words)
    assert published(source) == taken


@pytest.mark.parametrize("words, said", [
    (("--exclude-table", "leaves.low"), ['"leaves.low" cannot be excluded by itself', '"public.parts"', "Exclude that one"]),
    (("--exclude-table", "leaves.*"), ['cannot be excluded by itself']),
    (("--exclude-table", "*"), ["no table to stream", "that is not excluded", "exclude less"]),
    (("--table", "kept", "--exclude-table", "kept"), ["no table to stream", "exclude less"]),
    (("--exclude-table=",), ["--exclude-table", "empty"]),
])
def test_refused(weir, source, words, said):
    source.sql(TABLES)
    says(weir.run("stream", source.url, "null:", "--until", "now", *words, code=2), *said)
    ended = weir.run("check", source.url, "null:", *words, code=2)
    assert all(part in ended.text for part in said), ended
    assert published(source) == set() and source.slots() == []


def test_idle_exclusion_is_noted(weir, source):
    source.sql(TABLES)
    said = weir.run("check", source.url, "null:", "--exclude-table", "audti", "--exclude-table", "kept").out
    assert 'note  no table matches "audti": nothing is left out by it' in said


@pytest.mark.parametrize("sink", ["sqlite", "postgres"])
def test_a_project(weir, source, target):
    """The key of weir.yml, with verify and a table that is left out later."""
    source.sql(TABLES)
    fill(source, 1)
    file = weir.folder / "weir.yml"

    def leave_out(*patterns):
        file.write_text(f"connections:\n  a: {{ type: postgres, url: '{source.url}' }}\n  b: {{ type: {target.kind}, url: '{target.url()}' }}\n"
                        f"pipelines:\n  p:\n    from: {{ connection: a, exclude_tables: {json.dumps(list(patterns))} }}\n"
                        "    to: { connection: b }\n")
        weir.run("run", "--until", "now")

    def compared(*words):
        report = json.loads(weir.run("verify", *words, "--format", "json").out)["pipelines"][0]
        return {f"{table['schema']}.{table['name']}" for table in report["tables"] if table["result"] == "equal"}
    leave_out("other.*")
    assert compared() == {"public.kept", "public.audit", "public.parts"}
    direct = (source.url, target.url(), "--name", "p", "--state", weir.state / "weir")
    assert compared(*direct, "--exclude-table", "parts", "--exclude-table", "other.*") == {"public.kept", "public.audit"}
    leave_out("other.*", "audit")
    source.sql("INSERT INTO audit VALUES (9); INSERT INTO kept VALUES (9)")
    weir.run("run", "--until", "now")
    assert compared() == {"public.kept", "public.parts"}
    assert target.count("public", "audit") == 1 and target.count("public", "kept") == 2
    assert "are in its file" in weir.run("verify", "--exclude-table", "kept", code=2).err


@pytest.mark.parametrize("sink", ["sqlite"])
def test_leaves_are_not_compared_without_their_root(weir, source, target):
    """Nor is anything altered by it: what a verification leaves out is followed as before."""
    source.sql(TABLES)
    fill(source, 1)
    words = (f"{source.url}?partitions=leaf", target.url(), "--name", "p")
    weir.drain(*words)
    fill(source, 2)
    report = json.loads(weir.run("verify", *words, "--exclude-table", "parts", "--format", "json").out)["pipelines"][0]
    assert {f"{table['schema']}.{table['name']}" for table in report["tables"]} == {
        "public.kept", "public.audit", "other.kept", "other.secret"}
    assert len(published(source)) == 6
    weir.run("verify", *words)
