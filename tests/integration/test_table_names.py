"""Names that pass from table to table: dropped and made again, exchanged, handed on. What the target has stays,
under a name that says so, until the source says what its table is called now."""
import random
import time

import pytest

from harness.compare import Table

pytestmark = [pytest.mark.schema, pytest.mark.sql]

MADE_AGAIN = r"DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, other bytea); INSERT INTO t VALUES (7, '\x07'), (8, NULL)"


@pytest.fixture(params=["mirror", "history"])
def named(request, pipeline):
    return Named(pipeline, request.param)


class Named:
    """A pipeline whose target is looked at by table and id."""

    def __init__(self, pipeline, mode):
        self.pipeline, self.mode, self.query = pipeline, mode, {"mode": mode}

    def sql(self, *statements):
        for statement in statements:
            self.pipeline.source.sql(statement)

    def ends(self):
        return self.pipeline.source.url + "?refresh=200ms", self.pipeline.target.url(**self.query)

    def drain(self):
        return self.pipeline.weir.drain(*self.ends())

    def start(self):
        return self.pipeline.weir.start("stream", *self.ends())

    def settle(self, process):
        self.pipeline.settle(process)

    def stop(self, process):
        """And everything that a copy beside the stream had not finished."""
        ended = process.stop()
        assert ended.code == 0, ended
        self.drain()

    def ids(self, table):
        """None: there is no such table."""
        target = self.pipeline.target
        if target.read("public", table) is None:
            return None
        if self.mode == "mirror":
            found = target.read("public", table)
        else:
            found, _ = target.history("public", table, Table([], ["id"], []))
        at = found.names.index("id")
        return sorted(int(row[at]) for row in found.rows)

    def check(self, **expected):
        """Those tables with those ids; and all that the source has now, with every value, in a mirror."""
        assert {name: self.ids(name) for name in expected} == expected
        if self.mode == "mirror":
            self.pipeline.check()


def make(name, *ids):
    rows = ", ".join(f"({n}, '{name}')" for n in ids)
    return f"CREATE TABLE {name} (id int PRIMARY KEY, v text); INSERT INTO {name} VALUES {rows}"


def add(name, *ids):
    return f"INSERT INTO {name} (id) VALUES " + ", ".join(f"({n})" for n in ids)


def exchange(a, b):
    return f"BEGIN; ALTER TABLE {a} RENAME TO x; ALTER TABLE {b} RENAME TO {a}; ALTER TABLE x RENAME TO {b}; COMMIT"


def test_made_again_while_weir_is_away(named):
    """Changes of the old table come first, also those that were not delivered yet."""
    named.sql(make("t", 1, 2, 3), make("u", 1))
    named.drain()
    named.sql(add("t", 4), "DELETE FROM t WHERE id = 1", "UPDATE t SET v = 'last' WHERE id = 2", MADE_AGAIN)
    ended = named.drain()
    assert 'public.t" is another one now' in ended.err and 't_old1"' in ended.err, ended
    assert ended.err.count("another one") == 1, ended  # a name that went to and fro could end anywhere after a crash
    named.check(t=[7, 8], t_old1=[2, 3, 4])
    named.sql(add("t", 9), "DELETE FROM t WHERE id = 7", add("u", 2))
    ended = named.drain()
    assert "another one" not in ended.err, ended
    named.check(t=[8, 9], t_old1=[2, 3, 4], u=[1, 2])


def test_made_again_and_again(named):
    named.sql(make("t", 1))
    named.drain()
    for n in range(2, 5):
        named.sql("DROP TABLE t", make("t", n), add("t", 10 * n))
        named.drain()
    named.check(t=[4, 40], t_old1=[1], t_old2=[2, 20], t_old3=[3, 30])


def test_made_again_while_weir_runs(named):
    named.sql(make("t", 1, 2, 3))
    process = named.start()
    named.settle(process)
    named.sql(add("t", 4), "DELETE FROM t WHERE id = 1", MADE_AGAIN)
    process.expect("another one now")
    named.sql(add("t", 9), "DELETE FROM t WHERE id = 7")
    named.settle(process)
    named.stop(process)
    named.check(t=[8, 9], t_old1=[2, 3, 4])


@pytest.mark.parametrize("named, sink", [("mirror", "sqlite"), ("history", "postgres")], indirect=["named"])
def test_dropped_while_the_catalogs_are_read(named):
    """What is known of a table is known of one moment, or not at all."""
    tables = [f"t{n}" for n in range(40)]
    named.sql("; ".join(make(name, 1, 2) for name in [*tables, "stays"]))
    process = named.start()
    named.settle(process)
    for name in tables:
        named.sql(add(name, 3), f"DELETE FROM {name} WHERE id = 1", f"DROP TABLE {name}")
    named.settle(process)
    ended = process.stop()
    assert ended.code == 0 and "retrying" not in ended.err, ended
    named.check(**dict.fromkeys(tables, [2, 3]))


def test_an_empty_table_made_again(named):
    """Nothing is ever told of the new one but that it is there."""
    named.sql(make("t", 1))
    process = named.start()
    named.settle(process)
    named.sql("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY)")
    process.expect("another one now")
    named.settle(process)
    named.stop(process)
    named.check(t=[], t_old1=[1])


def test_exchanged_while_weir_runs(named):
    named.sql(make("a", 1, 2), make("b", 11, 12))
    process = named.start()
    named.settle(process)
    named.sql(exchange("a", "b"), add("a", 13) + "; " + add("b", 3))
    named.settle(process)
    named.sql(exchange("a", "b"), add("b", 14), "DELETE FROM a WHERE id = 2")
    named.settle(process)
    named.stop(process)
    named.check(a=[1, 3], b=[11, 12, 13, 14], a_old1=None, b_old1=None)


def test_exchanged_while_weir_is_away(named):
    named.sql(make("a", 1, 2), make("b", 11, 12))
    named.drain()
    named.sql(add("a", 3), add("b", 13), exchange("a", "b"), add("b", 4), add("a", 14))
    named.drain()
    named.check(a=[11, 12, 13, 14], b=[1, 2, 3, 4], a_old1=None, b_old1=None)


def test_exchanged_and_altered(named):
    """One of them is copied anew, for what it has now is told by no change."""
    named.sql(make("a", 1, 2), make("b", 11, 12))
    named.drain()
    named.sql(exchange("a", "b"), "ALTER TABLE a ALTER v TYPE int USING id * 2", "ALTER TABLE b ADD w int DEFAULT 5",
              add("a", 13), add("b", 3))
    named.drain()
    named.sql(add("b", 4), add("a", 14))
    named.drain()
    named.check(a=[11, 12, 13, 14], b=[1, 2, 3, 4], a_old1=None, b_old1=None)


@pytest.mark.parametrize("rows_between", [False, True])
def test_names_go_round(named, rows_between):
    named.sql(make("a", 1), make("b", 11), make("c", 21))
    process = named.start()
    named.settle(process)
    for n, (name, new) in enumerate([("a", "t"), ("b", "a"), ("c", "b"), ("t", "c")], 1):
        named.sql(f"ALTER TABLE {name} RENAME TO {new}")
        if rows_between:
            named.sql(add(new, 30 + n))
            named.settle(process)
    named.sql(add("a", 41), add("b", 42), add("c", 43))
    named.settle(process)
    named.stop(process)
    more = [[31, 34], [32], [33]] if rows_between else [[], [], []]
    named.check(c=[1, *more[0], 43], a=[11, *more[1], 41], b=[21, *more[2], 42], t=None, a_old1=None)


def test_handed_on(named):
    """The table that had the name is heard of again much later, or never."""
    named.sql(make("orders", 1), make("orders_new", 11))
    named.drain()
    named.sql("ALTER TABLE orders RENAME TO orders_kept; ALTER TABLE orders_new RENAME TO orders", add("orders", 12))
    named.drain()
    assert [named.ids(n) for n in ("orders", "orders_old1")] == [[11, 12], [1]]
    named.sql(add("orders_kept", 2))
    named.drain()
    named.check(orders=[11, 12], orders_kept=[1, 2], orders_old1=None)


@pytest.mark.kill
def test_killed_in_the_middle(named):
    rng = random.Random(4)
    named.sql(make("t", 1), make("a", 1), make("b", 2))
    named.drain()
    a, b = [1], [2]
    for n in range(8):
        process = named.start()
        time.sleep(rng.uniform(0, 0.3))
        at = 100 + 10 * n
        named.sql(add("t", at), "DROP TABLE t", make("t", at + 1), exchange("a", "b"), add("a", at), add("b", at + 1))
        a, b = b + [at], a + [at + 1]
        if n % 3 == 2:
            process.expect("another one now")
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
    named.drain()
    named.check(t=[171], a=a, b=b, a_old1=None, b_old1=None)
    assert named.ids("t_old1") == [1, 100]


def test_dropped_at_both_ends(named):
    """Whoever drops the table in the target too has no rows to keep, and may have made the new one already."""
    target = named.pipeline.target
    named.sql(make("t", 1), make("u", 1))
    named.drain()
    target.execute('DROP TABLE t', 'DROP TABLE u')
    if named.mode == "mirror":
        target.execute('CREATE TABLE u (id int PRIMARY KEY, w int)' if target.kind != "duckdb" else
                       'CREATE TABLE u (id int, w int)')
    named.sql("DROP TABLE t, u", make("t", 2), "CREATE TABLE u (id int PRIMARY KEY, w int); INSERT INTO u VALUES (3, 4)")
    named.drain()
    named.check(t=[2], u=[3], t_old1=None, u_old1=None)


def test_a_table_of_somebody_else_has_the_name(named):
    """Nothing is moved for it; when the user has moved it, all goes on."""
    target = named.pipeline.target
    named.sql(make("t", 1))
    named.drain()
    target.execute("CREATE TABLE t_old1 (x int)")
    named.sql(add("t", 2), "DROP TABLE t", make("t", 3))
    ended = named.pipeline.weir.run("stream", *named.ends(), "--until", "now", code=None)
    assert ended.code != 0 and "t_old1" in ended.err, ended
    assert named.ids("t") == [1, 2]
    target.execute("DROP TABLE t_old1")
    named.drain()
    named.check(t=[3], t_old1=[1, 2])
