"""Changes that a target refuses: set aside with their reason, in order per row, tried again when somebody asks. What
is refused here is what breaks a unique index that only the target has."""
import contextlib
import json
import random
import re
import shutil
import socket
import sqlite3
import time
import urllib.request

import pytest

from harness.wait import wait_for

pytestmark = pytest.mark.sql

REFUSE = "CREATE UNIQUE INDEX only_here ON t (v)"
REFUSE_NO_MORE = "DROP INDEX only_here"


class Letters:
    """A pipeline of a table whose column v is unique in the target alone."""

    def __init__(self, pipeline):
        self.pipeline = pipeline
        self.sql("CREATE TABLE t (id int PRIMARY KEY, v text, w int)", "CREATE TABLE u (id int PRIMARY KEY, v text)",
                 "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
        self.drain()
        self.refuse(True)

    def refuse(self, does):
        self.pipeline.target.execute(REFUSE if does else REFUSE_NO_MORE)

    def sql(self, *statements):
        for statement in statements:
            self.pipeline.source.sql(statement)

    def drain(self, policy="dead-letter", **more):
        return self.pipeline.drain("--name", "shop", "--on-error", policy, **more)

    def set_aside(self, statement):
        """By itself: a target that folds changes of a row sees only what they come to."""
        self.sql(statement)
        assert self.drain().err.count("is set aside") == 1

    def dead(self, *words, code=0):
        return self.pipeline.weir.run("dead", *words, code=code)

    def list(self):
        """[id, table, change, state] of each letter."""
        out = self.dead("list").out
        if out == "no dead letters\n":
            return []
        rows = [re.split("  +", line) for line in out.splitlines()[1:]]
        return [[int(row[1]), row[2], row[3], row[6]] for row in rows]

    def states(self):
        return [state for _, _, _, state in self.list()]

    def ids(self):
        return sorted(int(row[0]) for row in self.pipeline.target.read("public", "t").rows)

    def move(self, bytes):
        """Their places in the stream."""
        path, = self.pipeline.weir.state.glob("weir/*/dead.db")
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE letter SET lsn = lsn + ?", (bytes,))

    def heal(self):
        """And everything is as if nothing had been refused."""
        self.refuse(False)
        if self.list():
            self.dead("retry", "shop", "--all")
        self.drain()
        assert self.list() == []
        self.pipeline.check()


@pytest.fixture
def letters(pipeline):
    return Letters(pipeline)


def test_stop_is_the_default(letters):
    letters.sql("INSERT INTO t VALUES (10, 'a')")
    ended = letters.drain("stop", code=1)
    assert "only_here" in ended.err or "onstraint" in ended.err, ended
    assert letters.list() == []


@pytest.mark.parametrize("sink", ["postgres", "sqlite"])
def test_truncates_behind_a_refused_row(letters):
    """A group of truncates is not cut; what is in front of it is."""
    letters.sql("CREATE TABLE a (id int); CREATE TABLE b (id int); CREATE TABLE c (id int)")
    process = letters.pipeline.start("--name", "shop", "--on-error", "dead-letter")
    letters.sql("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); INSERT INTO c VALUES (1); INSERT INTO t VALUES (10, 'x')")
    letters.pipeline.settle(process)
    letters.sql("BEGIN; TRUNCATE a, b, c; INSERT INTO t VALUES (11, 'a'); TRUNCATE a, b, c; COMMIT")
    letters.pipeline.settle(process)
    assert process.stop().code == 0
    assert letters.states() == ["refused"]
    assert [letters.pipeline.target.count("public", table) for table in "abct"] == [0, 0, 0, 4]


@pytest.mark.parametrize("sink", ["sqlite"])
def test_more_than_may_be_set_aside(letters):
    letters.sql("INSERT INTO t SELECT g, 'a' FROM generate_series(10, 10010) g")
    ended = letters.drain(code=1)
    assert "10000 changes are set aside, which is the limit" in ended.err and "is refused: " in ended.err, ended
    assert "none is kept: mend the target" in ended.err, ended
    assert letters.list() == []
    letters.refuse(False)
    letters.drain()
    letters.pipeline.check()


def test_one_is_set_aside_and_the_others_go_on(letters):
    letters.sql("INSERT INTO t VALUES (10, 'x'), (11, 'a'), (12, 'y')", "INSERT INTO u VALUES (1, 'one')",
                "UPDATE t SET v = 'z' WHERE id = 12")
    ended = letters.drain()
    assert ended.err.count("is set aside") == 1 and 'table "public.t"' in ended.err, ended
    assert letters.ids() == [1, 2, 3, 10, 12]
    assert letters.list() == [[1, "public.t", "insert", "refused"]]
    assert letters.pipeline.target.count("public", "u") == 1
    letters.heal()


@pytest.mark.parametrize("policy", ["stop", "dead-letter"])
def test_a_unique_value_that_goes_from_row_to_row(letters, policy):
    """Which each transaction may do, and DuckDB refuses at the commit when several of them are in one."""
    letters.sql("UPDATE t SET v = 'z' WHERE id = 1", "UPDATE t SET v = 'a' WHERE id = 2", "UPDATE t SET v = 'b' WHERE id = 3",
                "DELETE FROM t WHERE id = 2", "INSERT INTO t VALUES (20, 'a')", "UPDATE t SET v = 'c' WHERE id = 1")
    letters.drain(policy)
    assert letters.list() == []
    letters.pipeline.check()


def test_many_are_not_a_line_each(letters):
    values = ", ".join(f"({n}, 'a')" for n in range(10, 42))
    letters.sql(f"INSERT INTO t VALUES {values}")
    ended = letters.drain()
    assert ended.err.count("is set aside") == 5, ended
    assert "more changes were set aside" in ended.err and "letters=27" in ended.err, ended
    assert len(letters.list()) == 32
    letters.dead("drop", "shop", "--all")


def test_what_follows_waits(letters):
    letters.set_aside("INSERT INTO t VALUES (10, 'a')")
    letters.sql("UPDATE t SET v = 'free' WHERE id = 10", "UPDATE t SET id = 20 WHERE id = 10", "UPDATE t SET w = 5 WHERE id = 20", "INSERT INTO t VALUES (10, 'new')")
    letters.drain()
    assert letters.states() == ["refused", "waits", "waits", "waits", "waits"]
    assert letters.ids() == [1, 2, 3]
    letters.heal()


def test_one_more_try_that_is_refused(letters):
    letters.set_aside("INSERT INTO t VALUES (10, 'a')")
    letters.sql("UPDATE t SET v = 'b' WHERE id = 10", "UPDATE t SET v = 'q' WHERE id = 10")
    letters.drain()
    letters.dead("retry", "shop", "1")
    assert letters.states() == ["to retry", "waits", "waits"]
    letters.drain()
    assert letters.states() == ["refused", "waits", "waits"]
    assert "tried      2 times" in letters.dead("show", "shop", "1").out
    letters.sql("UPDATE t SET v = 'free' WHERE id = 1")  # now the first can be written, the second cannot
    letters.drain()
    letters.dead("retry", "shop", "1")
    letters.drain()
    assert [row[0] for row in letters.list()] == [2, 3] and letters.states() == ["refused", "waits"]
    assert letters.ids() == [1, 2, 3, 10]
    letters.heal()


def test_dropped(letters):
    letters.set_aside("INSERT INTO t VALUES (10, 'a')")
    letters.sql("DELETE FROM t WHERE id = 10", "INSERT INTO t VALUES (10, 'd')")
    letters.drain()
    letters.dead("drop", "shop", "1")
    letters.drain()
    # The delete of a row that never came is refused in its turn.
    assert letters.states() == ["refused", "waits"]
    letters.dead("drop", "shop", "2")
    letters.drain()
    assert letters.list() == []
    letters.pipeline.check()


def test_while_the_pipeline_runs(letters):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = letters.pipeline.start("--name", "shop", "--on-error", "dead-letter", "--metrics", f":{port}")
    letters.sql("INSERT INTO t VALUES (10, 'a')")
    process.expect("is set aside")
    wait_for(lambda: count_of_metrics(port) == 1, 20, lambda: process.logs()[-2000:])
    wait_for(lambda: "shop: 1 changes were refused" in letters.pipeline.weir.run("status", "shop").out, 20, "status says so")
    letters.sql("INSERT INTO t VALUES (11, 'l')")
    letters.pipeline.settle(process)
    letters.sql("DELETE FROM t WHERE id = 1")
    letters.pipeline.settle(process)
    letters.dead("retry", "shop", "--all")
    wait_for(lambda: letters.list() == [], 20, lambda: process.logs()[-2000:])
    assert process.stop().code == 0
    letters.pipeline.check()


def count_of_metrics(port):
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    return int(re.search(r"^weir_dead_letters\{.*\} (\d+)$", text, re.M).group(1))


def test_what_is_shown(letters):
    letters.sql("INSERT INTO t VALUES (10, 'a', 7)")
    letters.drain()
    out = letters.dead("show", "shop", "1").out
    event = json.loads(out[out.index("  change") + len("  change"):])
    assert event["new"] == {"id": 10, "v": "a", "w": 7}, out
    assert "insert in table public.t, refused" in out and "tried      1 times" in out
    letters.sql("UPDATE t SET w = 8 WHERE id = 10")
    letters.drain()
    assert "an earlier change of this row" in letters.dead("show", "shop", "2").out
    for words, says in ((("show", "shop", "7"), "no dead letter 7"), (("retry", "shop", "2"), "waits behind"),
                        (("retry", "shop"), "either numbers"), (("drop", "shop", "1", "--all"), "either numbers"),
                        (("lsit",), 'Did you mean "weir dead list"'), (("list", "nobody"), 'no pipeline "nobody"')):
        assert says in letters.dead(*words, code=2).err


def test_reason_is_whole(letters):
    """On one line, whatever is in it: what is wrong often comes last."""
    reason = "insert into \"public\".\"t\": " + "long " * 60 + "and\nthe\x1b[31mend"
    letters.sql("INSERT INTO t VALUES (10, 'a')")
    letters.drain()
    path, = letters.pipeline.weir.state.glob("weir/*/dead.db")
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE letter SET error = ?", (reason,))
    lines = letters.dead("list").out.splitlines()
    assert len(lines) == 2 and lines[1].endswith(reason.replace("\n", " ").replace("\x1b", " ")), lines


def test_truncated_behind_them(letters):
    letters.sql("INSERT INTO t VALUES (10, 'a')", "TRUNCATE t", "INSERT INTO t VALUES (10, 'e')")
    ended = letters.drain()
    assert "dropped, 1 of them: it was truncated" in ended.err, ended
    assert letters.list() == []
    letters.pipeline.check()


LEFT = "dead letters are left"


def test_repaired_behind_them(letters):
    """Rows that weir verify has mended have what the letters would write."""
    letters.pipeline.target.execute("CREATE UNIQUE INDEX also_here ON u (v)")
    letters.set_aside("INSERT INTO t VALUES (10, 'a')")
    letters.set_aside("INSERT INTO u VALUES (1, 'x'), (2, 'x')")
    letters.sql("UPDATE t SET w = 7 WHERE id = 10")
    assert letters.drain("stop").err.count(LEFT) == 1
    assert letters.states() == ["refused", "refused", "waits"]
    letters.refuse(False)

    def repair(*options, code=0):
        tables = letters.pipeline.verify("--name", "shop", "--repair", *options, code=code)
        return {name: (table["result"], table["letters_dropped"]) for name, table in tables.items()}
    assert letters.pipeline.verify("--name", "shop", code=1)["t"]["letters_dropped"] == 0 and len(letters.list()) == 3
    assert repair("--only", "t") == {"t": ("repaired", 2)}
    assert [row[1] for row in letters.list()] == ["public.u"]
    letters.sql("UPDATE t SET w = 8 WHERE id = 10")
    ended = letters.drain("stop")
    assert ended.err.count(LEFT) == 1 and "letters=1" in ended.err and "weir dead list shop" in ended.err
    assert [row[1] for row in letters.list()] == ["public.u"]
    letters.pipeline.check([("public", "t")])
    letters.pipeline.target.execute("DROP INDEX also_here", "INSERT INTO u VALUES (2, 'x')")  # by hand
    letters.move(1 << 40)  # of a change behind the LSN: an attempt that has failed leaves such
    assert repair() == {"t": ("equal", 0), "u": ("equal", 0)}
    letters.move(-1 << 40)
    assert repair() == {"t": ("equal", 0), "u": ("equal", 1)}
    assert letters.list() == [] and LEFT not in letters.drain("stop").err
    letters.pipeline.check()


def test_a_repair_that_is_refused(letters):
    letters.set_aside("INSERT INTO t VALUES (10, 'a')")
    ended = letters.pipeline.weir.run("verify", letters.pipeline.source.url, letters.pipeline.target.url(), "--name", "shop", "--repair", code=1)
    assert re.search("not (all is )?repaired: ", ended.out) and ended.err.count(LEFT) == 1, ended
    assert letters.states() == ["refused"]
    letters.heal()


def test_altered_meanwhile(letters):
    letters.set_aside("INSERT INTO t VALUES (10, 'a', 4)")
    letters.sql("UPDATE t SET w = 6 WHERE id = 10")
    letters.drain()
    letters.refuse(False)  # DuckDB alters no table that has an index
    letters.sql("ALTER TABLE t ADD n int DEFAULT 7", "ALTER TABLE t RENAME w TO ww", "INSERT INTO t VALUES (12, 'e', 1, 2)",
                "UPDATE t SET n = 9 WHERE id = 10")
    letters.drain()
    assert letters.states() == ["refused", "waits", "waits"]
    letters.dead("retry", "shop", "--all")
    letters.drain()
    assert letters.list() == []
    letters.pipeline.check()


def test_many_in_a_large_transaction(letters):
    """Found without one statement a row, and each by itself."""
    letters.sql("INSERT INTO t SELECT g, CASE WHEN g % 1000 = 0 THEN 'a' ELSE 'v' || g END FROM generate_series(100, 2200) g",
                "UPDATE t SET w = 1 WHERE id BETWEEN 990 AND 1010")
    letters.drain()
    assert letters.states() == ["refused"] * 2 + ["waits"]
    assert letters.pipeline.target.count("public", "t") == 3 + 2101 - 2
    letters.heal()


# ---------------------------------------------------------------------------------------------
# The store and the target
# ---------------------------------------------------------------------------------------------

class Place:
    """Where the letters lie, and how a start and weir check find it."""

    def __init__(self, letters):
        self.letters = letters
        self.path, = letters.pipeline.weir.state.glob("weir/shop")
        self.copy = self.path.parent.parent / "copy"
        self.store = self.path / "dead.db"

    def keep(self):
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.path, self.copy, ignore=shutil.ignore_patterns("*.sock"))

    def put_back(self):
        shutil.rmtree(self.path)
        self.copy.rename(self.path)

    def is_refused(self, why):
        """By a start, and by weir check in the same words; and nothing is written."""
        pipeline = self.letters.pipeline
        before = self.letters.ids()
        for ended in (self.letters.drain(code=2), self.letters.drain("stop", code=2)):
            assert why in ended.err and f"weir dead reset shop --state {self.path.parent}" in ended.err, ended
        words = pipeline.source.url, pipeline.target.url(), "--name", "shop"
        assert why in pipeline.weir.run("check", *words, code=2).out
        assert self.letters.ids() == before

    def reset(self, letters):
        """The way on for somebody whose letters are lost for good."""
        pipeline = self.letters.pipeline
        self.letters.dead("reset", "shop")
        gone = f"{letters} dead letters are gone" if letters else "are gone"
        assert gone in self.letters.drain().err or not letters
        assert "are gone" not in self.letters.drain().err and self.letters.list() == []
        pipeline.verify("--name", "shop", "--repair")
        pipeline.check()

    def sql(self, *statements):
        with contextlib.closing(sqlite3.connect(self.store)) as db, db:
            for statement in statements:
                db.execute(statement)


@pytest.mark.parametrize("lost", ["the store", "an empty one is there", "the whole state"])
def test_letters_that_are_lost(letters, lost):
    letters.set_aside("INSERT INTO t VALUES (10, 'a'), (11, 'free')")
    letters.sql("UPDATE t SET w = 7 WHERE id = 10")
    letters.drain()
    place = Place(letters)
    if lost == "the whole state":
        shutil.rmtree(place.path)
    else:
        place.store.unlink()
    if lost == "an empty one is there":
        place.store.touch()
    letters.sql("INSERT INTO u VALUES (1, 'later')")
    place.is_refused("dead letters are lost: when the target was last written there were 2")
    assert letters.pipeline.target.count("public", "u") == 0
    letters.refuse(False)
    place.reset(2)


def test_an_old_store_is_put_back(letters):
    """Its letters were written since, and their rows changed."""
    letters.set_aside("INSERT INTO t VALUES (10, 'a')")
    letters.set_aside("INSERT INTO t VALUES (11, 'b')")
    place = Place(letters)
    place.keep()
    letters.refuse(False)
    letters.dead("retry", "shop", "--all")
    letters.drain()
    assert letters.list() == [] and letters.ids() == [1, 2, 3, 10, 11]
    letters.sql("UPDATE t SET w = 5 WHERE id = 10", "DELETE FROM t WHERE id = 11")
    place.put_back()
    place.is_refused("are older than the target")
    place.reset(0)


def test_what_waits_is_written_from_an_old_store(letters):
    """Nobody has asked since it was copied: only the target's commit has changed the store."""
    letters.set_aside("INSERT INTO t VALUES (10, 'a')")
    letters.sql("INSERT INTO u VALUES (1, 'one')", "UPDATE t SET v = 'b' WHERE id = 10")
    letters.drain()
    letters.refuse(False)
    letters.sql("DELETE FROM t WHERE id = 10", "INSERT INTO t VALUES (10, 'z')")
    letters.drain()
    letters.dead("drop", "shop", "1", "2", "3")
    place = Place(letters)
    place.keep()
    letters.drain()
    assert letters.list() == [] and 10 in letters.ids()
    letters.sql("UPDATE t SET w = 5 WHERE id = 10")
    letters.drain()
    place.put_back()
    place.is_refused("are older than the target")
    place.reset(0)


def test_another_store(letters):
    letters.set_aside("INSERT INTO t VALUES (10, 'a')")
    place = Place(letters)
    place.keep()
    place.sql("UPDATE mark SET identity = identity + 1")
    place.is_refused("are not this target's")
    place.put_back()
    letters.drain()
    place.keep()
    place.sql("DROP TABLE mark")  # of a version that had none
    place.is_refused("are not this target's")
    place.put_back()
    letters.heal()


def test_what_others_write_is_no_mismatch(letters):
    """Letters that are dropped, asked for, and repaired; a store without letters that is lost."""
    letters.set_aside("INSERT INTO t VALUES (10, 'a')")
    letters.set_aside("INSERT INTO t VALUES (11, 'b')")
    place = Place(letters)
    letters.dead("retry", "shop", "1")
    letters.dead("drop", "shop", "2")
    letters.drain()
    assert letters.states() == ["refused"]
    letters.dead("drop", "shop", "--all")
    letters.sql("INSERT INTO u VALUES (1, 'x')")
    letters.drain()
    place.keep()
    place.store.unlink()
    letters.sql("INSERT INTO u VALUES (2, 'x')")
    letters.drain()
    letters.set_aside("INSERT INTO t VALUES (12, 'c')")
    assert letters.states() == ["refused"]
    letters.drain()
    place.put_back()  # it takes the place of that one, and is newer
    place.is_refused("are older than the target")
    letters.refuse(False)
    place.reset(1)


def test_a_reset_while_it_runs(letters):
    process = letters.pipeline.start("--name", "shop", "--on-error", "dead-letter")
    letters.sql("INSERT INTO t VALUES (10, 'a')")
    process.expect("is set aside")
    letters.pipeline.settle(process)
    assert "1 letter thrown away" in letters.dead("reset", "shop").out
    letters.sql("INSERT INTO u VALUES (1, 'x')")
    letters.pipeline.settle(process)
    process.kill()
    letters.sql("INSERT INTO t VALUES (11, 'b')")
    letters.drain()
    assert letters.states() == ["refused"]
    letters.dead("drop", "shop", "--all")


def test_letters_of_a_version_before(letters):
    """Neither the target nor the store says which store it is."""
    letters.set_aside("INSERT INTO t VALUES (10, 'a')")
    place = Place(letters)
    schema, table = letters.pipeline.target.checkpoint_table
    named = table if schema == "public" else f"{schema}.{table}"
    letters.pipeline.target.execute(f"DELETE FROM {named} WHERE key = 'dead_store'")
    place.sql("DROP TABLE mark")
    letters.set_aside("INSERT INTO t VALUES (11, 'b')")
    assert letters.states() == ["refused", "refused"]
    place.keep()
    place.store.unlink()
    place.is_refused("dead letters are lost: when the target was last written there were 2")
    place.put_back()
    letters.heal()


def test_words_of_a_reset(letters):
    for words, says in ((("reset",), "takes the name of one"), (("reset", "shop", "1"), "takes the name of one"),
                        (("reset", "shop", "--all"), "takes the name of one"), (("reset", "../shop"), "not a valid pipeline name"),
                        (("rest", "shop"), 'Did you mean "weir dead reset"')):
        assert says in letters.dead(*words, code=2).err


@pytest.mark.kill
def test_kills(letters):
    """Nothing is lost, nothing comes twice, nothing out of order, whatever is refused and whenever it is tried again."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    dice = random.Random(seed)
    target, source = letters.pipeline.target, letters.pipeline.source
    is_refusing = True
    letters.set_aside("INSERT INTO t VALUES (10, 'a', 0)")  # more are a matter of luck
    for _ in range(6):
        process = letters.pipeline.start("--name", "shop", "--on-error", "dead-letter")
        for _ in range(dice.randrange(10, 40)):
            change(source, dice)
        if letters.list() and dice.random() < 0.5:
            letters.dead("retry", "shop", "--all")
        time.sleep(dice.random() * 1.5)
        process.kill()
        if dice.random() < 0.4:
            try:
                letters.refuse(not is_refusing)
                is_refusing = not is_refusing
            except Exception as error:  # there are rows that break it by now, or a lock of the killed one
                print(error)
    if not is_refusing:
        target.execute("CREATE INDEX only_here ON t (v)")
    letters.drain()
    letters.heal()


def change(source, dice):
    key, other = dice.randrange(1, 25), dice.randrange(1, 25)
    value = f"v{dice.randrange(12)}"
    source.sql(dice.choice([
        f"INSERT INTO t VALUES ({key}, '{value}', 0) ON CONFLICT DO NOTHING",
        f"UPDATE t SET v = '{value}' WHERE id = {key}",
        f"UPDATE t SET w = coalesce(w, 0) + 1 WHERE id IN ({key}, {other})",
        f"DELETE FROM t WHERE id = {key}",
        f"UPDATE t SET id = {other} WHERE id = {key} AND NOT EXISTS (SELECT FROM t WHERE id = {other})",
        f"BEGIN; INSERT INTO u VALUES ({key}, '{value}') ON CONFLICT (id) DO UPDATE SET v = excluded.v; "
        f"UPDATE t SET v = v || '+' WHERE id = {other}; COMMIT",
    ]))
