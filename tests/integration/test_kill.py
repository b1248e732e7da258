"""kill -9 at random moments under load; afterwards every value has to agree. That is what exactly-once means."""
import json
import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from harness.load import TABLES, kill_at_random, load
from harness.wait import wait_for

pytestmark = pytest.mark.kill


def kill_a_copy(pipeline, process, table, rows):
    """Once more than so many rows of a table are on their way. Whether that was before its copy had ended, as the target
    knows it."""
    source = pipeline.source
    query = "SELECT tuples_processed FROM pg_stat_progress_copy WHERE datname = current_database()"

    def has_sent():
        process.must_live()
        return "streaming" in process.logs() or any(sent > rows for (sent,) in source.sql(query))
    wait_for(has_sent, 30, lambda: f"{rows} rows are copied\n{process.logs()[-3000:]}", every=0.002)
    process.kill()
    wait_for(lambda: not source.sql(query), 30, "the server has given up")
    stored = pipeline.target.checkpoint(pipeline.weir)[f"table:{source.one('SELECT %s::regclass::oid', table)}"]
    return stored.split("\t")[1] != "ready"


def settle_and_check(pipeline, *options, **more):
    pipeline.drain(*options, **more)
    pipeline.check()


@pytest.mark.skipif(shutil.which("pgbench") is None, reason="pgbench is not installed")
class TestUnderLoad:
    def test_fifty_kills(self, pipeline, tmp_path, seed):
        pipeline.source.sql(TABLES)
        with load(pipeline.source, tmp_path):
            kill_at_random(pipeline, 15, 0.25, seed)
            kill_at_random(pipeline, 40, 0.45, seed + 1, goes_on=8)
        settle_and_check(pipeline)

    def test_history_holds_each_change_once(self, pipeline, tmp_path, seed, sink):
        if sink == "file":
            pytest.skip("file: has no mode=history, it is a history")
        pipeline.source.sql(TABLES)
        query = {"mode": "history"}
        with load(pipeline.source, tmp_path, rate=120):
            kill_at_random(pipeline, 12, 0.6, seed, query=query)
        pipeline.drain(query=query)
        for table in ("keyed", "pairs", "events", "parts"):
            history = pipeline.target.read("public", table)
            names = history.names
            op, lsn, ordinal = (names.index(f"_weir_{n}") for n in ("op", "lsn", "ordinal"))
            changes = [(row[lsn], row[ordinal], row[op]) for row in history.rows if row[op] != "read"]
            assert len(changes) == len(set(changes)), f"{table}: a change is there twice"
            reads = [tuple(row[:2]) for row in history.rows if row[op] == "read"]
            assert table == "events" or len(reads) == len(set(reads)), f"{table}: a copied row is there twice"
        pipeline.check_history(["keyed", "pairs", "parts"])


def test_killed_while_copying(pipeline, seed):
    pipeline.source.sql("""
        CREATE TABLE wide (id int PRIMARY KEY, a text, b numeric, c bytea);
        INSERT INTO wide SELECT g, repeat('x', g % 1500), g * 1.7, decode(md5(g::text), 'hex')
          FROM generate_series(1, 15000) g;
        CREATE TABLE keyless (n int, t text);
        INSERT INTO keyless SELECT g % 7, 'same' FROM generate_series(1, 8000) g;
        CREATE TABLE small (id int PRIMARY KEY);
        INSERT INTO small SELECT generate_series(1, 10)""")
    chance = random.Random(seed)

    def killed(kill):
        process = pipeline.start("--jobs", "2")
        found = kill(process)
        pipeline.source.sql("UPDATE wide SET a = %s WHERE id %% 1000 = 1", f"round {chance.random()}")
        pipeline.source.sql("INSERT INTO keyless VALUES (%s, 'between')", 7)
        return found

    def at_any_moment(process):
        time.sleep(chance.uniform(0.05, 0.4))
        process.kill()
    met = [killed(lambda process: kill_a_copy(pipeline, process, "wide", chance.randrange(5000))) for _ in range(5)]
    assert sum(met) >= 4, f"of 5 kills {sum(met)} met a copy that was under way"
    for _ in range(3):
        killed(at_any_moment)
    settle_and_check(pipeline)


def inserted(lines, form):
    """The ids of the rows in a file of format wal2json, and how many transactions they came in."""
    if form == 1:
        for line in lines:
            yield [change["columnvalues"][0] for change in line["change"]]
        return
    transaction = None
    for line in lines:
        if line["action"] == "I" and transaction is None:
            yield [line["columns"][0]["value"]]  # of the copy
        elif line["action"] == "I":
            transaction.append(line["columns"][0]["value"])
        elif line["action"] == "B":
            assert transaction is None, "a transaction in a transaction"
            transaction = []
        else:
            assert line["action"] == "C", line
            yield transaction
            transaction = None
    assert transaction is None, "a transaction without an end"


@pytest.mark.parametrize("sink", ["file"])
@pytest.mark.parametrize("form", [1, 2])
def test_killed_in_another_format(pipeline, seed, form):
    """What resumes a file knows nothing of its format: no line is torn, none is there twice."""
    source, path = pipeline.source, pipeline.target.path
    query = {"format": f"wal2json{form}"}
    source.sql("CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);"
               "INSERT INTO t (v) SELECT 'copied ' || g FROM generate_series(1, 300) g")
    pipeline.drain(query=query)
    source.sql("INSERT INTO t (v) VALUES ('streamed')")
    pipeline.drain(query=query)  # it ends with a transaction
    chance, expected, met = random.Random(seed), [300, 1], 0

    def is_in_the_middle():
        with open(path, "rb") as file:
            file.seek(-min(path.stat().st_size, 20), os.SEEK_END)
            return not file.read().endswith(b"]}\n" if form == 1 else b'{"action":"C"}\n')
    for _ in range(8):
        process = pipeline.start(query=query)
        for rows in (1, 20000, 3, 20000):
            source.sql("INSERT INTO t (v) SELECT repeat('x', 100) FROM generate_series(1, %s)", rows)
            expected.append(rows)
        until = time.monotonic() + 1
        while not is_in_the_middle() and time.monotonic() < until:
            process.must_live()
        time.sleep(chance.uniform(0, 0.005))
        process.kill()
        met += is_in_the_middle()
    assert met >= 3, f"of 8 kills {met} met a transaction that was half written"
    pipeline.drain(query=query)
    *lines, rest = path.read_text().split("\n")
    assert rest == "", "the last line is torn"
    groups = list(inserted(map(json.loads, lines), form))
    copied = [group for group in groups if group[-1] <= 300]
    assert sum(copied, []) == list(range(1, 301))
    streamed = groups[len(copied):]
    assert [len(group) for group in streamed] == expected[1:]
    assert sum(streamed, []) == list(range(301, sum(expected) + 1))


@pytest.mark.skipif(shutil.which("pgbench") is None, reason="pgbench is not installed")
@pytest.mark.sql
def test_pgbench_itself(pipeline):
    """Its own schema and load, 20,000 transactions, a kill in the middle: all four tables equal."""
    url = pipeline.source.url
    subprocess.run(["pgbench", "-i", "-q", "-s", "1", url], check=True, capture_output=True)
    process = pipeline.start()
    bench = subprocess.Popen(["pgbench", "-n", "-M", "prepared", "-c", "4", "-t", "5000", url], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    try:
        def done():
            return pipeline.source.one("SELECT count(*) FROM pgbench_history")

        for part in (5000, 10000):
            wait_for(lambda: done() >= part, 90, lambda: f"pgbench has done {part}, not {done()}")
            process.must_live()
            process.kill()
            process = pipeline.start()
        assert bench.wait(120) == 0
    finally:
        bench.kill()
        bench.wait()
    assert done() == 20000
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()


@pytest.mark.tsan
def test_terminated_under_load(pipeline, tmp_path, seed):
    """SIGTERM delivers what is there; starting again goes on from exactly there."""
    pipeline.source.sql(TABLES)
    chance = random.Random(seed)
    pipeline.drain()
    with load(pipeline.source, tmp_path, rate=150):
        for _ in range(6):
            process = pipeline.start()
            process.expect("starting")  # before that a signal ends it as it does any program
            time.sleep(chance.uniform(0, 0.7))
            process.signal(signal.SIGTERM)
            ended = process.wait()
            # While it connects there is nothing to deliver, and it says that it was interrupted.
            assert ended.code == 0 or "interrupted before" in ended.err, ended
    settle_and_check(pipeline)


@pytest.mark.parametrize("sink", ["postgres"])
def test_what_a_killed_one_leaves_is_waited_for(pipeline):
    """Its session of the target goes on until the server notices; only one that stays is spoken of."""
    source, database = pipeline.source, pipeline.target.database
    source.sql("CREATE TABLE t (id int PRIMARY KEY)")
    process = pipeline.start()
    pipeline.settle(process)
    with database.server.connect(database.name) as holder:
        holder.autocommit = False
        holder.execute("LOCK TABLE t")
        source.sql("INSERT INTO t VALUES (1)")
        left = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'weir/%%' AND wait_event_type = 'Lock'"
        wait_for(lambda: database.sql(left), 20, "it waits for the table")
        process.kill()
        again = pipeline.start()
        time.sleep(2)
        assert database.sql(left) and "another session" not in again.logs(), again.logs()
        holder.rollback()
    pipeline.settle(again)
    assert "retrying" not in again.logs(), again.logs()
    name, = database.one("SELECT array_agg(DISTINCT pipeline) FROM weir.checkpoint")
    assert again.stop().code == 0
    with database.server.connect(database.name) as holder:
        holder.execute("SELECT pg_advisory_lock(hashtext('weir'), hashtext(%s))", (name,))
        began = time.monotonic()
        last = pipeline.start()
        last.expect("another session writes to the target")
        assert time.monotonic() - began > 4
    pipeline.settle(last)
    assert last.stop().code == 0
    pipeline.check()
