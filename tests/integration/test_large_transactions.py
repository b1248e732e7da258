"""Transactions that the server sends while they run: they are kept here until they commit. The servers have
the smallest logical_decoding_work_mem there is, so that almost everything is sent that way."""
import contextlib
import json
import random
import time

import pytest

from harness import postgres
from harness.targets import make_target
from harness.wait import wait_for
from harness.weir import RELEASE, Weir

MB = 1 << 20
TABLES = """
    CREATE TABLE a (id int PRIMARY KEY, v text, n numeric DEFAULT 1.5);
    CREATE TABLE b (id int PRIMARY KEY, v text, big text);
    ALTER TABLE b ALTER big SET STORAGE EXTERNAL;
    CREATE TABLE c (k int, v text);
    ALTER TABLE c REPLICA IDENTITY FULL;
    CREATE TABLE z (id int PRIMARY KEY, v text);
    CREATE TYPE mood AS ENUM ('fine', 'not');
    CREATE TABLE e (id int PRIMARY KEY, m mood);
    INSERT INTO a SELECT g, 'old ' || g FROM generate_series(1, 2000) g;
    INSERT INTO b SELECT g, 'old ' || g, repeat(md5(g::text), 100) FROM generate_series(1, 60) g;
    INSERT INTO c SELECT g % 50, 'v' || g % 50 FROM generate_series(1, 500) g;
    INSERT INTO z SELECT g, 'z' FROM generate_series(1, 10) g;
"""
FILL = "INSERT INTO a SELECT g, repeat('x', 100) FROM generate_series(%s::int, %s::int) g"


@pytest.fixture(scope="session")
def small_servers(home):
    made = {}

    def get(version):
        reason = postgres.missing_reason(version)
        if reason:
            pytest.skip(reason)
        if version not in made:
            made[version] = postgres.Postgres(home, version, logical_decoding_work_mem="64kB", max_connections=300)
        return made[version]
    return get


@pytest.fixture
def server(small_servers, version):
    return small_servers(version)


every_version = pytest.mark.parametrize("version", postgres.VERSIONS, indirect=True)
on_sqlite = pytest.mark.parametrize("sink", ["sqlite"])


def streamed(source):
    """How many transactions the server has sent while they ran, by slot."""
    return dict(source.sql("SELECT slot_name, stream_txns FROM pg_stat_replication_slots"))


def must_have_streamed(source, at_least=1):
    name = source.slots()[0][0]
    wait_for(lambda: streamed(source).get(name, 0) >= at_least, 20, lambda: f"streamed: {streamed(source)}")


@contextlib.contextmanager
def sessions(source, count):
    open_now = [source.server.connect(source.name) for _ in range(count)]
    for connection in open_now:
        connection.autocommit = False
    try:
        yield open_now
    finally:
        for connection in open_now:
            connection.close()


def everything(source):
    """A transaction with all that there is, larger than the server's limit many times over."""
    with source.server.connect(source.name) as db:
        db.autocommit = False
        run = db.execute
        run(FILL, (10000, 12000))
        run("SAVEPOINT one")
        run("UPDATE a SET id = id + 100000 WHERE id BETWEEN 1 AND 500")  # keys
        run("SAVEPOINT two")
        run("DELETE FROM a WHERE id BETWEEN 10000 AND 10999")
        run("INSERT INTO c SELECT g, 'never' FROM generate_series(1, 2000) g")
        run("ROLLBACK TO two")
        run("UPDATE b SET v = 'touched' WHERE id <= 30")  # big stays as it is
        run("UPDATE b SET big = repeat(md5(id::text || 'new'), 3000) WHERE id > 30")
        run("RELEASE one")
        run("SAVEPOINT three")
        run("ALTER TABLE z ADD COLUMN gone int DEFAULT 7")
        run("INSERT INTO z SELECT g, 'never', g FROM generate_series(100, 3000) g")
        run("SAVEPOINT four")  # two levels: rolled back with the outer one
        run("TRUNCATE c")
        run("INSERT INTO z SELECT g, 'never', g FROM generate_series(3001, 5000) g")
        run("RELEASE four")
        run("ROLLBACK TO three")
        run("INSERT INTO z SELECT g, 'stays' FROM generate_series(200, 1500) g")
        run("ALTER TABLE z ADD COLUMN kept int")
        run("INSERT INTO z SELECT g, 'stays too', g FROM generate_series(1501, 3000) g")
        run("TRUNCATE e")
        run("INSERT INTO e SELECT g, 'not' FROM generate_series(1, 3000) g")
        run("DELETE FROM c WHERE k < 20")
        run("UPDATE c SET v = v || '!' WHERE k >= 40")
        db.commit()


@every_version
def test_one_with_everything(pipeline, version, sink):
    pipeline.source.sql(TABLES)
    pipeline.drain()
    everything(pipeline.source)
    pipeline.source.sql("INSERT INTO z VALUES (9000, 'after')")
    pipeline.drain()
    pipeline.check()
    must_have_streamed(pipeline.source)


def events(path):
    """What happened, without what may differ between two connections."""
    found = []
    for line in path.open():
        event = json.loads(line)
        if event["op"] not in ("read", "schema"):
            found.append(event)
    return found


@every_version
def test_numbers_are_the_same_either_way(weir, source, tmp_path, version):
    """The position of a change is what a restart goes by, and it may arrive the other way then."""
    source.sql(TABLES)
    paths = {}
    for way in ("true", "false"):
        paths[way] = tmp_path / f"{way}.ndjson"

    def drain_both():
        for way, path in paths.items():
            weir.drain(f"{source.url}?streaming={way}", f"file:{path}", "--name", f"way_{way}")
    drain_both()
    everything(source)
    drain_both()
    assert streamed(source).get("weir_way_false", 0) == 0
    wait_for(lambda: streamed(source)["weir_way_true"] > 0, 20)
    one, other = (events(paths[way]) for way in ("true", "false"))
    assert len(one) > 8000
    for mine, theirs in zip(one, other):
        assert mine == theirs
    assert len(one) == len(other)


def interleave(source, chance, count, rounds, between=None):
    """Open transactions that take turns; some are rolled back, wholly or in part, and small ones come between."""
    with sessions(source, count) as open_now:
        base = 1000000
        saved = {n: [] for n in range(count)}
        for turn in range(rounds):
            for n, db in enumerate(open_now):
                first = base + n * 10000 + turn * 200
                db.execute("INSERT INTO a SELECT g, repeat(%s, 60) FROM generate_series(%s::int, %s::int) g",
                           (f"{n % 10}", first, first + chance.randint(20, 199)))
                what = chance.random()
                if what < 0.3:
                    db.execute(f"SAVEPOINT s{turn}")
                    saved[n].append(f"s{turn}")
                elif what < 0.5 and saved[n]:
                    at = chance.randrange(len(saved[n]))
                    db.execute(f"ROLLBACK TO {saved[n][at]}")
                    del saved[n][at + 1:]
                elif what < 0.6 and saved[n]:
                    at = chance.randrange(len(saved[n]))
                    db.execute(f"RELEASE {saved[n][at]}")
                    del saved[n][at:]
                elif what < 0.7:
                    db.execute("UPDATE a SET v = 'turned', id = id + 5000 WHERE id BETWEEN %s AND %s AND id %% 3 = 0",
                               (first, first + 60))
                elif what < 0.75:
                    db.execute("INSERT INTO b VALUES (%s, 'toast', repeat(md5(%s), 500))", (first, str(n)))
            source.sql("UPDATE a SET v = %s WHERE id = %s", f"turn {turn}", turn + 1)
            if between is not None:
                between(turn)
        order = list(range(count))
        chance.shuffle(order)
        for n in order:
            if chance.random() < 0.25:
                open_now[n].rollback()
            else:
                open_now[n].commit()


@pytest.mark.tsan
@every_version
@on_sqlite
def test_many_at_the_same_time(pipeline, version):
    pipeline.source.sql(TABLES)
    pipeline.drain()
    process = pipeline.start()
    interleave(pipeline.source, random.Random(version), 12, 12)
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()
    must_have_streamed(pipeline.source, 3)


def wait_sent(source):
    """The server has read all of its WAL, and has sent what it sends before a commit."""
    end = source.one("SELECT pg_current_wal_insert_lsn()::text")
    source.sql("CHECKPOINT")  # writes it out; otherwise the server may take 15 s for what no commit waits for
    wait_for(lambda: source.one("SELECT count(*) FROM pg_stat_replication WHERE application_name LIKE 'weir%%' "
                                "AND sent_lsn >= %s::pg_lsn", end), 60, f"everything up to {end} is sent")


@every_version
@on_sqlite
@pytest.mark.parametrize("live", [True, False], ids=["live", "later"])
def test_toast_that_was_rolled_back(pipeline, version, live):
    """The server cannot send a row before all of its TOAST is there, and takes to its own disk meanwhile."""
    pipeline.source.sql(TABLES)
    pipeline.drain()
    process = pipeline.start() if live else None
    toast = "INSERT INTO b SELECT g, 'x', repeat(md5(g::text), %s) FROM generate_series(%s::int, %s::int) g"
    with pipeline.source.server.connect(pipeline.source.name) as db:
        db.autocommit = False
        db.execute(FILL, (5000, 5100))
        for size, first, last in ((400, 1000, 1200), (200000, 7000, 7001), (300, 9000, 9200)):
            db.execute("SAVEPOINT s")
            db.execute(toast, (size, first, last))
            if live:
                wait_sent(pipeline.source)
            db.execute("ROLLBACK TO s")
        db.execute(toast, (1000, 1000, 1100))
        db.commit()
    if live:
        pipeline.settle(process)
        assert process.stop().code == 0
    pipeline.drain()
    pipeline.check()
    must_have_streamed(pipeline.source)


@every_version
@pytest.mark.parametrize("sink", ["file"])
def test_messages(pipeline, version):
    """Of a streamed message it cannot be told whether it was rolled back: such a transaction is taken whole."""
    pipeline.source.sql(TABLES)
    pipeline.drain()
    with pipeline.source.server.connect(pipeline.source.name) as db:
        db.autocommit = False
        emit = "SELECT pg_logical_emit_message(%s, 'test', %s)"
        db.execute(FILL, (10000, 12000))
        db.execute(emit, (True, "stays 1"))
        db.execute("SAVEPOINT s")
        db.execute(FILL, (20000, 22000))
        db.execute(emit, (True, "never"))
        db.execute(emit, (False, "at once"))
        db.execute(FILL, (30000, 32000))
        db.execute("ROLLBACK TO s")
        db.execute(FILL, (40000, 42000))
        db.execute(emit, (True, "stays 2"))
        db.commit()
    pipeline.source.sql(FILL, 50000, 52000)
    ended = pipeline.drain()
    assert "has messages" in ended.err
    pipeline.check()
    found = [e for e in events(pipeline.target.path) if e["op"] == "message"]
    assert [e["content"] for e in found] == ["at once", "stays 1", "stays 2"]


# No memory for running transactions: all of them go to disk.
ON_DISK = "?memory=1MB"


def start_on_disk(pipeline, *options, **more):
    return pipeline.weir.start("stream", pipeline.source.url + ON_DISK, pipeline.target.url(), *options, **more)


@every_version
@on_sqlite
def test_on_disk(pipeline, version, tmp_path):
    """It goes to the pipeline's directory, and away when the transaction ends, one way or the other."""
    pipeline.source.sql(TABLES)
    pipeline.drain()
    process = start_on_disk(pipeline)
    process.expect("streaming")
    for end in ("rollback", "commit"):
        with sessions(pipeline.source, 1) as (db,):
            db.execute(FILL, (10000, 35000))
            wait_sent(pipeline.source)
            wait_for(lambda: process.spilled() > 2 * MB, 20, lambda: f"{process.spilled()} bytes are on disk")
            getattr(db, end)()
        wait_for(lambda: process.spilled() == 0, 20, lambda: f"{process.spilled()} bytes are on disk still")
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()
    assert not [p for p in tmp_path.rglob("*spill*")]


@on_sqlite
def test_room_on_disk(pipeline, own_server):
    """What was rolled back takes none, although another one goes on."""
    pipeline.source = own_server(logical_decoding_work_mem="64kB").database()
    pipeline.source.sql(TABLES)
    pipeline.drain()
    process = start_on_disk(pipeline)
    process.expect("streaming")
    with sessions(pipeline.source, 2) as (large, small):
        small.execute(FILL, (10000, 15000))
        large.execute(FILL, (100000, 300000))
        wait_sent(pipeline.source)
        wait_for(lambda: process.spilled() > 20 * MB, 20, lambda: f"{process.spilled()} bytes are on disk")
        large.rollback()
        wait_for(lambda: process.spilled() < 3 * MB, 20, lambda: f"{process.spilled()} bytes are on disk still")
        small.commit()
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()


@pytest.mark.kill
@pytest.mark.parametrize("sink", ["sqlite", "postgres", "file"])
class TestKilled:
    def test_while_receiving(self, pipeline, tmp_path):
        """It is sent again from its begin, although the position has moved on meanwhile."""
        pipeline.source.sql(TABLES)
        pipeline.drain()

        def killed(turn):
            process = start_on_disk(pipeline)
            process.expect("streaming")
            wait_sent(pipeline.source)
            if turn % 2:
                pipeline.settle(process)
            process.must_live()
            process.kill()
        interleave(pipeline.source, random.Random(1), 8, 6, killed)
        pipeline.drain()
        pipeline.check()
        must_have_streamed(pipeline.source, 3)
        assert not [p for p in tmp_path.rglob("*spill*")]

    def test_while_reading_back(self, pipeline):
        """Parts of it have been written: the sink has all of it or nothing, and nothing twice."""
        chance, hits = random.Random(2), 0
        pipeline.source.sql(TABLES)
        pipeline.drain()
        process = start_on_disk(pipeline)
        process.expect("streaming")
        for turn in range(5):
            with sessions(pipeline.source, 1) as (db,):
                db.execute("DELETE FROM a WHERE id >= 10000")
                db.execute("INSERT INTO a SELECT g, 'never' FROM generate_series(10000, 11000) g")
                db.execute("SAVEPOINT s")
                db.execute("UPDATE a SET v = 'never' WHERE id < 10000")
                db.execute("ROLLBACK TO s")
                db.execute("DELETE FROM a WHERE id >= 10000")
                db.execute(FILL, (10000, 30000))
                wait_sent(pipeline.source)
                db.commit()
            time.sleep(chance.uniform(0.0, 0.5))
            process.must_live()
            hits += process.spilled() > 0
            process.kill()
            process = start_on_disk(pipeline)
            process.expect("streaming")
        assert hits > 0, "no kill came while a transaction was read back"
        pipeline.settle(process)
        assert process.stop().code == 0
        pipeline.check()


@on_sqlite
def test_full_disk(pipeline):
    """It says so, naming the place, and goes on when there is room."""
    pipeline.source.sql(TABLES)
    pipeline.drain()
    pipeline.source.sql(FILL, 10000, 40000)
    process = start_on_disk(pipeline, "--until", "now", limit_file=1 << 20)

    def told():
        return not process.alive() or "weir-spill" in process.logs()
    wait_for(told, 40, lambda: f"the log tells of the full disk:\n{process.logs()}")
    assert "weir-spill" in process.logs() and "File too large" in process.logs()
    process.kill()
    pipeline.drain()
    pipeline.check()


@on_sqlite
def test_no_such_directory(pipeline, tmp_path):
    ended = pipeline.weir.run("stream", f"{pipeline.source.url}?spill_dir={tmp_path}/no/such", pipeline.target.url(),
                              code=None)
    assert ended.code in (1, 2)
    assert "spill_dir" in ended.err and f"mkdir -p '{tmp_path}/no/such'" in ended.err


@pytest.mark.memory
class TestMemory:
    @pytest.fixture
    def weir(self, tmp_path, make_database):
        program = Weir(tmp_path, RELEASE)
        yield program
        program.kill_all()

    @on_sqlite
    def test_a_thousand_at_the_same_time(self, pipeline, own_server, tmp_path):
        """120 kB each, in turns, so that all of them are open at once, with rows between that are delivered."""
        count = 1000
        server = own_server(logical_decoding_work_mem="64kB", max_connections=count + 30, shared_buffers="128MB")
        pipeline.source = server.database()
        pipeline.source.sql(TABLES)
        pipeline.drain()
        process = pipeline.start()
        process.expect("streaming")
        with sessions(pipeline.source, count) as open_now:
            for turn in range(4):
                for n, db in enumerate(open_now):
                    first = 10000 + n * 10000 + turn * 1000
                    db.execute("INSERT INTO a SELECT g, repeat('x', 500) FROM generate_series(%s::int, %s::int) g",
                               (first, first + 59))
                    db.execute(f"SAVEPOINT s{turn}" if (n + turn) % 5 else f"SAVEPOINT t{turn}")
                pipeline.source.sql("UPDATE a SET v = %s WHERE id = 1", f"turn {turn}")
            wait_sent(pipeline.source)
            for n, db in enumerate(open_now):
                if n % 5 == 4:
                    db.rollback()
                    continue
                if n % 3 == 0:
                    db.execute("ROLLBACK TO " + ("t2" if (n + 2) % 5 == 0 else "s2"))
                db.commit()
        pipeline.settle(process, 240)
        highest = process.memory()[1]
        assert process.stop().code == 0
        pipeline.check()
        must_have_streamed(pipeline.source, 900)
        assert highest < 100 * MB, f"{highest / MB:.0f} MB"

    @on_sqlite
    def test_millions_of_rows(self, pipeline, weir):
        pipeline.source.sql("CREATE TABLE a (id int PRIMARY KEY, v text)")
        pipeline.drain()
        pipeline.source.sql(FILL, 1, 2000000)
        process = pipeline.start("--until", "now")
        peak, ended = process.peak(240)
        assert ended.code == 0, ended
        must_have_streamed(pipeline.source)
        assert peak < 100 * MB, f"{peak / MB:.0f} MB"


    @pytest.mark.parametrize("memory, least, most", [(1, 0, 40), (160, 100, 160)])
    def test_the_setting(self, weir, small_servers, make_database, memory, least, most):
        """It is what the process aims at, whatever is on its way; where there is more of it, it is used."""
        source = make_database(on=small_servers(15))
        source.sql("CREATE TABLE a (id int PRIMARY KEY, v text)")
        weir.drain(f"{source.url}?memory={memory}MB", "null:")
        source.sql("INSERT INTO a SELECT g, repeat(md5(g::text), 125) FROM generate_series(1, 37500) g")
        process = weir.start("stream", f"{source.url}?memory={memory}MB", "null:", "--until", "now", "--log-format", "json")
        peak, ended = process.peak(240)
        assert ended.code == 0, ended
        (done,) = [line for line in process.log_lines() if line["message"] == "done"]
        assert done["changes"] == 37500
        must_have_streamed(source)
        assert least * MB <= peak <= most * MB, f"{peak / MB:.0f} MB"


@on_sqlite
def test_prepared(pipeline, own_server):
    """A transaction that is prepared is one that runs on, until somebody ends it."""
    server = own_server(logical_decoding_work_mem="64kB", max_prepared_transactions=5)
    pipeline.source = server.database()
    pipeline.source.sql(TABLES)
    pipeline.drain()
    process = pipeline.start()
    process.expect("streaming")
    for name, first in (("stays", 10000), ("never", 20000)):
        with sessions(pipeline.source, 1) as (db,):
            db.execute(FILL, (first, first + 3000))
            db.execute("SAVEPOINT s")
            db.execute("UPDATE a SET v = 'never' WHERE id < 1000")
            wait_sent(pipeline.source)
            db.execute("ROLLBACK TO s")
            db.execute(f"PREPARE TRANSACTION '{name}'")
    pipeline.settle(process)
    pipeline.source.sql("COMMIT PREPARED 'stays'")
    pipeline.source.sql("ROLLBACK PREPARED 'never'")
    pipeline.settle(process)
    assert process.stop().code == 0
    pipeline.check()
    must_have_streamed(pipeline.source, 2)


@pytest.mark.parametrize("sink", ["postgres"])
def test_server_is_answered_while_it_is_read_back(pipeline, own_server):
    """The sink stalls in the middle of it for longer than the server is patient."""
    server = own_server(logical_decoding_work_mem="64kB", wal_sender_timeout="2s")
    pipeline.source = server.database()
    pipeline.source.sql(TABLES)
    pipeline.drain()
    process = start_on_disk(pipeline)
    process.expect("streaming")
    with sessions(pipeline.target.database, 1) as (lock,):
        lock.execute("LOCK TABLE a")
        pipeline.source.sql(FILL, 10000, 200000)  # more than the queue takes
        time.sleep(7)  # this is what is tested: three times the server's patience
    pipeline.settle(process)
    assert "retrying" not in process.logs()
    assert process.stop().code == 0
    assert "timeout" not in server.log.read_text()
    pipeline.check()
    must_have_streamed(pipeline.source)
