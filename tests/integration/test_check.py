"""What check says is what a start does: the same sentence where it refuses, and nothing is left behind."""
import json
import re
import sqlite3

import pytest

from harness.targets import make_target
from harness.wait import wait_for

from test_errors import TABLE, drop_slot, role, run_sql  # noqa: F401

ROUTES = "connections:\n{}\npipelines:\n{}\n"


def said_by(ended):
    """The sentence and the advice that a refused start ends with."""
    message = re.search(r"^weir: (.*)$", ended.err, re.M)
    hint = re.search(r"^hint: (.*)$", ended.err, re.M)
    assert message and hint, ended
    return message[1], hint[1]


def both_refuse(weir, *words, options=()):
    checked = weir.run("check", *words, *options, code=2).out
    message, hint = said_by(weir.run("stream", *words, *options, "--until", "now", code=2, timeout=20))
    assert f"must  {message}" in checked and hint in checked, f"{message}\n{hint}\n{checked}"
    return message


def ready(weir, *words):
    said = weir.run("check", *words).out
    assert "must  " not in said and said.endswith("Ready.\n"), said
    return said


def nothing_on(source):
    assert source.slots() == [] and source.sql("SELECT pubname FROM pg_publication") == []


# ---------------------------------------------------------------------------------------------
# Positions
# ---------------------------------------------------------------------------------------------


def remake(source, name, plugin):
    source.sql("INSERT INTO t VALUES (3, 'nobody kept this')")
    source.sql("SELECT pg_create_logical_replication_slot(%s, %s)", name, plugin)


def test_slot_is_gone(pipeline):
    """What the target has is compared with the slot as a start does it."""
    pipeline.source.sql(TABLE)
    pipeline.drain()
    words = (pipeline.source.url, pipeline.target.url())
    name = drop_slot(pipeline.source)
    assert "does not exist any more" in both_refuse(pipeline.weir, *words)
    remake(pipeline.source, name, "pgoutput")
    assert "made again" in both_refuse(pipeline.weir, *words)


@pytest.mark.parametrize("sink", ["sqlite"])
def test_slot_of_another_plugin(pipeline):
    pipeline.source.sql(TABLE)
    pipeline.drain()
    remake(pipeline.source, drop_slot(pipeline.source), "test_decoding")
    assert "is for test_decoding" in both_refuse(pipeline.weir, pipeline.source.url, pipeline.target.url())


@pytest.mark.parametrize("sink", ["sqlite"])
def test_slot_of_a_buffer_is_gone(pipeline):
    """The buffer has the position."""
    words = (pipeline.source.url, pipeline.target.url(), "--buffer", "disk")
    pipeline.source.sql(TABLE)
    pipeline.drain("--buffer", "disk")
    wait_for(lambda: not pipeline.source.slots()[0][1], 20, "the slot is free")
    ready(pipeline.weir, *words)
    drop_slot(pipeline.source)
    checked = pipeline.weir.run("check", *words, code=2).out
    assert "does not exist any more" in checked
    assert "does not exist any more" in pipeline.weir.run("stream", *words, "--until", "now", code=2).err


def test_nothing_is_made_by_looking(pipeline, sink, tmp_path):
    """And what was filled by a pipeline is not refused to it."""
    pipeline.source.sql(TABLE)
    before = sorted(tmp_path.rglob("*"))
    assert "will be made" in ready(pipeline.weir, pipeline.source.url, pipeline.target.url())
    assert sorted(p for p in tmp_path.rglob("*") if not p.name.startswith("run")) == before
    nothing_on(pipeline.source)
    if sink == "postgres":
        assert made_by_weir(pipeline.target) == []
    pipeline.drain()
    wait_for(lambda: not pipeline.source.slots()[0][1], 20, "the slot is free")
    assert "exists" in ready(pipeline.weir, pipeline.source.url, pipeline.target.url())
    pipeline.source.sql("ALTER TABLE t ADD more int")
    ready(pipeline.weir, pipeline.source.url, pipeline.target.url())


@pytest.mark.parametrize("sink", ["file"])
def test_file_that_was_changed(pipeline):
    """Told, and not cut."""
    pipeline.source.sql(TABLE)
    pipeline.drain()
    wait_for(lambda: not pipeline.source.slots()[0][1], 20, "the slot is free")
    whole = pipeline.target.path.read_bytes()
    pipeline.target.path.write_bytes(whole + b"torn")
    ready(pipeline.weir, pipeline.source.url, pipeline.target.url())
    assert pipeline.target.path.read_bytes() == whole + b"torn"
    pipeline.target.path.write_bytes(whole[:-5])
    assert "fewer than" in both_refuse(pipeline.weir, pipeline.source.url, pipeline.target.url())
    pipeline.target.path.unlink()
    assert "is gone" in both_refuse(pipeline.weir, pipeline.source.url, pipeline.target.url())


def test_state_of_another(weir, source, tmp_path):
    """Also where check looks for it: with --state."""
    source.sql(TABLE)
    options = ("--name", "p", "--state", tmp_path / "kept")
    weir.drain(source.url, f"file:{tmp_path}/a", *options)
    assert "another pipeline" in both_refuse(weir, source.url, f"file:{tmp_path}/b", options=options)
    assert not (tmp_path / "b").exists()


# ---------------------------------------------------------------------------------------------
# Refused starts
# ---------------------------------------------------------------------------------------------


def made_by_weir(target):
    if target.kind == "postgres":
        return target.database.sql("SELECT nspname FROM pg_namespace WHERE nspname = 'weir'")
    if target.kind == "sqlite":
        return [r for r in target.connect().execute("SELECT name FROM sqlite_master") if "weir" in r[0]]
    with target.connect() as connection:
        return connection.execute("SELECT schema_name FROM duckdb_schemas() WHERE schema_name = 'weir'").fetchall()


@pytest.mark.sql
@pytest.mark.parametrize("existing", [
    "CREATE TABLE t (id int PRIMARY KEY)",
    "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (99, 'mine')",
], ids=["columns", "rows"])
def test_first_start_that_is_refused(pipeline, existing):
    """It leaves no slot, no publication, no state: another one can have the name."""
    pipeline.source.sql(TABLE)
    run_sql(pipeline.target, existing)
    both_refuse(pipeline.weir, pipeline.source.url, pipeline.target.url(), "--name", "p")
    nothing_on(pipeline.source)
    assert made_by_weir(pipeline.target) == []
    pipeline.weir.drain(pipeline.source.url, "null:", "--name", "p")


@pytest.mark.parametrize("sink", ["sqlite"])
def test_first_start_with_a_buffer_that_is_refused(pipeline):
    pipeline.source.sql(TABLE)
    run_sql(pipeline.target, "CREATE TABLE t (id int PRIMARY KEY)")
    ended = pipeline.weir.run("stream", pipeline.source.url, pipeline.target.url(), "--buffer", "disk", code=2)
    assert "is missing" in ended.err
    nothing_on(pipeline.source)


@pytest.mark.parametrize("sink", ["sqlite"])
def test_what_stays_is_said(pipeline):
    """Nobody could have known before the first row."""
    pipeline.source.sql(TABLE + "INSERT INTO t VALUES (3, E'a\\nb')")
    run_sql(pipeline.target, "CREATE TABLE t (id int PRIMARY KEY, v text CHECK (v NOT LIKE '%b'))")
    ended = pipeline.weir.run("stream", pipeline.source.url, pipeline.target.url(), "--until", "now", code=None)
    assert ended.code in (1, 2) and len(pipeline.source.slots()) == 1
    assert "weir slots drop takes it away" in said_by(ended)[1]
    again = pipeline.weir.run("stream", pipeline.source.url, pipeline.target.url(), "--until", "now", code=None)
    assert "weir slots drop" not in again.err, "it goes on"


def test_one_route_is_refused(weir, source, tmp_path):
    """Then nothing is made of the other."""
    source.sql(TABLE)
    (tmp_path / "precious").write_text("precious\n")
    (tmp_path / "weir.yml").write_text(ROUTES.format(
        f"  s: {{ type: postgres, url: '{source.url}' }}\n  a: {{ type: sqlite, path: {tmp_path}/a.db }}\n"
        f"  b: {{ type: file, path: {tmp_path}/precious }}",
        "  p: { from: { connection: s }, to: [ { connection: a }, { connection: b } ] }"))
    assert "is there already" in weir.run("run", "--until", "now", code=2).err
    assert "is there already" in weir.run("check", code=2).out
    nothing_on(source)
    assert not (tmp_path / "a.db").exists()
    (tmp_path / "precious").unlink()
    weir.run("run", "--until", "now")
    wait_for(lambda: not source.slots()[0][1], 20, "the slot is free")
    assert weir.run("check").out.count("Ready.") == 2


def test_no_tables(weir, source):
    assert "there is no table" in both_refuse(weir, source.url, "null:")
    nothing_on(source)


def test_new_table_of_somebody_else(weir, source, tmp_path, role):
    """Only its owner may add it to the publication, which is there already."""
    source.sql(TABLE + f"ALTER ROLE {role} REPLICATION; GRANT CREATE ON DATABASE {source.name} TO {role};"
               f"ALTER TABLE t OWNER TO {role}")
    url = source.server.url(source.name, user=role)
    weir.drain(url, "null:")
    wait_for(lambda: not source.slots()[0][1], 20, "the slot is free")
    ready(weir, url, "null:")
    source.sql(f"CREATE TABLE theirs (id int PRIMARY KEY); GRANT SELECT ON theirs TO {role}")
    said = weir.run("check", url, "null:", code=2).out
    assert "may not publish table public.theirs" in said
    assert "GRANT postgres" not in said and f"ALTER TABLE public.theirs OWNER TO {role};" in said, "no superuser is lent"
    assert "must be owner of table theirs" in weir.run("stream", url, "null:", "--until", "now", code=2).err


def test_room_for_a_verification(weir, own_server, tmp_path):
    """Which takes a slot and a WAL sender beside the pipeline's own, whether that has them already or not."""
    words = (f"sqlite:{tmp_path}/target.db", "--progress", "never")
    server = own_server(max_replication_slots=1, max_wal_senders=1)
    source = server.database()
    source.sql(TABLE)
    room = re.compile(r"note  no (.*) is left beside the pipeline's own: weir verify, .*\n +(ALTER SYSTEM SET .* = 11;)")
    wanted = [("replication slot", "ALTER SYSTEM SET max_replication_slots = 11;"),
              ("WAL sender", "ALTER SYSTEM SET max_wal_senders = 11;")]
    assert room.findall(ready(weir, source.url, words[0])) == wanted
    process = weir.start("stream", source.url, *words)
    wait_for(lambda: source.slots() and source.slots()[0][1], 20, process.logs)
    said = weir.run("check", source.url, words[0], code=2).out  # its one WAL sender is taken, by itself
    assert room.findall(said) == wanted
    process.stop()
    wait_for(lambda: not source.slots()[0][1], 20, "the slot is free")
    assert room.findall(ready(weir, source.url, words[0])) == wanted
    assert weir.run("verify", source.url, *words, "--patience", "1s", code=None).code in (1, 2)
    server.restart(max_replication_slots=2, max_wal_senders=2)
    assert not room.search(ready(weir, source.url, words[0]))
    weir.run("verify", source.url, *words)


def test_schema_that_no_table_is_in(weir, source, make_database):
    """A typing error sends the tables elsewhere; of a pipeline that has run, the schema may have been dropped."""
    target = make_database()
    source.sql(TABLE + 'CREATE SCHEMA "Sales"; CREATE TABLE "Sales".s (id int PRIMARY KEY)')
    wrong = (source.url, f"{target.url}?schema=pubic:app,Sales:crm")
    assert 'sends schema "pubic" to "app"' in both_refuse(weir, *wrong)
    assert 'The tables are in "public", "Sales":' in weir.run("check", *wrong, code=2).out
    nothing_on(source)
    right = (source.url, f"{target.url}?schema=public:app,Sales:crm")
    ready(weir, *right)
    weir.drain(*right)
    assert target.one("SELECT count(*) FROM app.t") == 2
    wait_for(lambda: not source.slots()[0][1], 20, "the slot is free")
    source.sql('DROP TABLE "Sales".s')
    assert 'note  "schema" sends schema "Sales" to "crm"' in ready(weir, *right)
    weir.drain(*right)


# ---------------------------------------------------------------------------------------------
# Row security
# ---------------------------------------------------------------------------------------------

SECURED = TABLE + "ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY first ON t USING (id = 1);"
BYPASS = 'ALTER ROLE "{}" BYPASSRLS;'


def test_row_security_of_the_source(weir, source, role, tmp_path):
    """Rows that are hidden from the user are an error, and not missing in silence. The stream has them all."""
    source.sql(SECURED + f"ALTER TABLE t FORCE ROW LEVEL SECURITY; ALTER TABLE t OWNER TO {role};"
               f"ALTER ROLE {role} REPLICATION; GRANT CREATE ON DATABASE {source.name} TO {role}")
    words = (source.server.url(source.name, user=role), f"sqlite:{tmp_path}/target.db")
    assert "row security of table public.t" in both_refuse(weir, *words)
    assert BYPASS.format(role) in weir.run("check", *words, code=2).out
    nothing_on(source)
    source.sql(BYPASS.format(role))
    ready(weir, *words)
    weir.drain(*words)
    wait_for(lambda: not source.slots()[0][1], 20, "the slot is free")
    source.sql(f"ALTER ROLE {role} NOBYPASSRLS; INSERT INTO t VALUES (3, 'c')")
    assert "note  row security of table public.t" in ready(weir, *words)
    weir.drain(*words)
    target = make_target("sqlite", tmp_path)
    assert target.count("public", "t") == 3
    failed = weir.run("verify", *words, code=None)
    assert failed.code in (1, 2) and BYPASS.format(role) in failed.text and "equal" not in failed.text, failed


@pytest.mark.parametrize("partitions, refused", [("leaf", "public.low"), ("root", "public.parted")])
def test_row_security_of_partitions(weir, source, role, partitions, refused):
    """Where a table is read through its root, by the root's policies."""
    source.sql(f"""CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
        CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (9);
        CREATE TABLE other (id int PRIMARY KEY); ALTER TABLE other ENABLE ROW LEVEL SECURITY; -- its owner sees all
        ALTER TABLE {refused} ENABLE ROW LEVEL SECURITY; ALTER TABLE {refused} FORCE ROW LEVEL SECURITY;
        ALTER TABLE parted OWNER TO {role}; ALTER TABLE low OWNER TO {role}; ALTER TABLE other OWNER TO {role};
        ALTER ROLE {role} REPLICATION; GRANT CREATE ON DATABASE {source.name} TO {role}""")
    url = source.server.url(source.name, user=role)
    said = weir.run("check", f"{url}?partitions={partitions}", "null:", code=2).out
    assert re.findall("must  row security of table (\\S+)", said) == [refused]
    for other in {"leaf", "root"} - {partitions}:
        ready(weir, f"{url}?partitions={other}", "null:")


@pytest.mark.parametrize("sink", ["postgres"])
def test_row_security_of_the_target(weir, source, target, role):
    place = target.database
    source.sql(TABLE)
    place.sql(SECURED + f"TRUNCATE t; GRANT ALL ON t TO {role}; GRANT CREATE ON DATABASE {place.name} TO {role}")
    words = (source.url, place.server.url(place.name, user=role))
    assert 'row security of target table "public"."t"' in both_refuse(weir, *words)
    nothing_on(source)
    place.sql(BYPASS.format(role))
    ready(weir, *words)
    weir.drain(*words)
    place.sql(f"ALTER ROLE {role} NOBYPASSRLS")
    failed = weir.run("verify", *words, code=None)
    assert failed.code in (1, 2) and BYPASS.format(role) in failed.text and "missing" not in failed.text, failed
    source.sql("UPDATE t SET v = 'c'")
    assert BYPASS.format(role) in weir.drain(*words, code=2).err
    place.sql(BYPASS.format(role))
    weir.run("verify", *words)
    place.sql(f"DROP OWNED BY {role}")


# ---------------------------------------------------------------------------------------------
# Generated columns
# ---------------------------------------------------------------------------------------------

GENERATED = """CREATE TABLE g (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED,
                               thrice int GENERATED ALWAYS AS (a * 3) STORED);
               CREATE TABLE "H" (id int PRIMARY KEY, more text GENERATED ALWAYS AS ('x') STORED);
               INSERT INTO g VALUES (1, 2); INSERT INTO "H" VALUES (1);"""


def checked(weir, *words):
    """What the JSON form says of the columns and of the generated ones, which the text form says, too."""
    report = json.loads(weir.run("check", *words, "--format", "json").out)["pipelines"][0]
    said = ready(weir, *words)
    notes = {f["what"]: f["mend"] for f in report["findings"] if "generated" in f["what"]}
    assert all(f"note  {what}\n" in said and (mend or "") in said for what, mend in notes.items()), said
    return {t["name"]: {c["name"]: c["type"] for c in t["columns"]} for t in report["tables"]}, notes


def streamed(weir, source, path, *options):
    """The columns that come, of a row that is copied and of one that is streamed."""
    source.sql("TRUNCATE g; INSERT INTO g VALUES (2, 3)")
    weir.drain(source.url, f"file:{path}", *options)
    source.sql("INSERT INTO g VALUES (3, 4)")
    weir.drain(source.url, f"file:{path}", *options)
    rows = [json.loads(line).get("new") for line in path.read_text().splitlines() if '"table":"g"' in line]
    rows = [set(row) for row in rows if row]
    assert len(rows) == 2 and rows[0] == rows[1], path.read_text()
    return rows[0]


@pytest.mark.parametrize("version", [14, 15], indirect=True)
def test_generated_columns_before_18(weir, source, tmp_path):
    source.sql(GENERATED)
    columns, notes = checked(weir, source.url, "null:")
    assert columns == {"g": {"id": "integer", "a": "integer"}, "H": {"id": "integer"}}
    assert notes == {"Postgres before 18 does not publish generated columns, so they are left out: "
                     'public."H" (more), public.g (twice, thrice)': None}
    assert streamed(weir, source, tmp_path / "out") == set(columns["g"])
    source.sql("CREATE PUBLICATION given FOR ALL TABLES")
    assert checked(weir, source.url, "null:", "--publication", "given") == (columns, notes)
    if source.server.version >= 15:
        source.sql("CREATE PUBLICATION listed FOR TABLE g (id)")
        assert checked(weir, source.url, "null:", "--publication", "listed") == ({"g": {"id": "integer"}}, {})
    wide = ", ".join(f"c{n} int GENERATED ALWAYS AS (id + {n}) STORED" for n in range(40))
    source.sql(f"CREATE TABLE wide (id int PRIMARY KEY, {wide})")
    (note,) = checked(weir, source.url, "null:")[1]
    assert note.endswith("c25, c26) and 13 more") and "(more), public.g (twice, thrice), public.wide (c0, c1," in note


@pytest.mark.parametrize("version", [18], indirect=True)
def test_generated_columns(weir, source, tmp_path):
    """Stored ones are published by a publication of ours; virtual ones never are."""
    source.sql(GENERATED + "ALTER TABLE g ADD unseen bigint GENERATED ALWAYS AS (a * 4) VIRTUAL")
    all_of_g = {"id": "integer", "a": "integer", "twice": "integer", "thrice": "integer"}
    unseen = {"Postgres does not publish virtual generated columns, so they are left out: public.g (unseen)": None}
    columns, notes = checked(weir, source.url, "null:")
    assert columns == {"g": all_of_g, "H": {"id": "integer", "more": "text"}} and notes == unseen
    assert streamed(weir, source, tmp_path / "out", "--name", "own") == set(all_of_g)
    weir.run("copy", source.url, f"file:{tmp_path}/copied", "--table", "g")
    row = json.loads((tmp_path / "copied").read_text().splitlines()[1])["new"]
    assert set(row) == set(all_of_g), "weir copy has what is streamed"
    source.sql("CREATE PUBLICATION given FOR TABLE g")
    columns, notes = checked(weir, source.url, "null:", "--publication", "given")
    assert columns == {"g": {"id": "integer", "a": "integer"}}
    assert notes == unseen | {
        'publication "given" does not publish generated columns, so they are left out: public.g (twice, thrice)':
        'ALTER PUBLICATION "given" SET (publish_generated_columns = stored);'}
    assert streamed(weir, source, tmp_path / "given", "--publication", "given", "--name", "p") == set(columns["g"])
    source.sql('ALTER PUBLICATION "given" SET (publish_generated_columns = stored)')
    assert checked(weir, source.url, "null:", "--publication", "given") == ({"g": all_of_g}, unseen)
    source.sql("CREATE PUBLICATION listed FOR TABLE g (id, thrice)")
    assert checked(weir, source.url, "null:", "--publication", "listed") == (
        {"g": {"id": "integer", "thrice": "integer"}}, {}), "a list of columns leaves out on purpose"


@pytest.mark.parametrize("version", [18], indirect=True)
def test_generated_columns_after_an_upgrade(weir, source):
    """pg_upgrade keeps publications as they were: of 17, without generated columns."""
    source.sql(GENERATED)
    weir.drain(source.url, "null:", "--name", "p")
    wait_for(lambda: not source.slots()[0][1], 20, "the slot is free")
    source.sql("ALTER PUBLICATION weir_p SET (publish_generated_columns = none)")
    columns, notes = checked(weir, source.url, "null:", "--name", "p")
    assert columns["H"] == {"id": "integer"} and list(notes.values()) == [
        'ALTER PUBLICATION "weir_p" SET (publish_generated_columns = stored);']


# ---------------------------------------------------------------------------------------------
# Two that fill one table
# ---------------------------------------------------------------------------------------------


def project(weir, source, place, query="", routes=1):
    """Two pipelines into one place, or one pipeline with two routes."""
    end = f"{{ type: {place.partition(':')[0]}, url: '{place}{query}' }}"
    one = "{ connection: a }, { connection: b }"
    pipelines = f"  p: {{ from: {{ connection: s }}, to: [ {one} ] }}" if routes == 2 else \
        "  p: { from: { connection: s }, to: { connection: a } }\n  q: { from: { connection: s }, to: { connection: b } }"
    (weir.folder / "weir.yml").write_text(ROUTES.format(
        f"  s: {{ type: postgres, url: '{source.url}' }}\n  a: {end}\n  b: {end}", pipelines))


def test_two_pipelines_into_one(weir, source, target):
    """Said before the second of them is refused, or has doubled the rows of the first."""
    source.sql(TABLE)
    project(weir, source, target.url())
    said = weir.run("check", code=2).out
    assert said.count(' is filled by "p", too') == 1 and said.count("Ready.") == 1, said
    assert weir.run("run", "--until", "now", code=None).code in (1, 2), "whichever comes second"


@pytest.mark.parametrize("sink", ["sqlite"])
def test_two_routes_into_one(weir, source, target):
    source.sql(TABLE)
    project(weir, source, target.url(), routes=2)
    assert ' is filled by "p.a", too' in weir.run("check", code=2).out
    assert "is filled by" in weir.run("run", "--until", "now", code=2).err
    nothing_on(source)
    project(weir, source, target.url(), "?existing=keep", routes=2)
    assert weir.run("check").out.count("Ready.") == 2


@pytest.mark.parametrize("sink", ["postgres"])
def test_table_of_one_that_runs(weir, source, target):
    """The lock that it has is seen, and not taken."""
    source.sql(TABLE)
    process = weir.start("stream", source.url, target.url(), "--name", "first")
    process.expect("streaming")
    weir.run("check", source.url, target.url(), "--name", "second", code=2)
    said = weir.run("check", source.url, target.url(), "--name", "second", code=2).out
    assert "is another pipeline's, which runs now" in said and "?existing=keep" in said
    assert process.stop().code == 0
