"""Hubs that run: systems of different shapes kept in step through a model."""
import json
import random
import time

import psycopg
import pytest

from harness.wait import wait_for

MODEL = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "product",
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "integer"},
        "name": {"type": "string", "maxLength": 40},
        "price": {"type": ["number", "null"], "minimum": 0},
        "tags": {"type": ["array", "null"]},
    },
}

# Prices are numeric here and text there, names and keys are called otherwise, and there has a column of its own.
HERE = "CREATE TABLE products (id int PRIMARY KEY, product_name text, price numeric, tags jsonb)"
THERE = "CREATE SCHEMA shop; CREATE TABLE shop.item (\"Item No\" bigint PRIMARY KEY, title varchar(80), cost text, tags json, " \
    "note text DEFAULT 'ours')"

SYSTEMS = """
here:
  type: postgresql
  dsn: ${HERE}
  receive_mixer:
    public.products:
      product:
        id: { field: id }
        product_name: { field: name }
        price: { field: price }
        tags: { field: tags }
  push_mixer:
    product:
      public.products:
        id: { field: id, search_key: true }
        name: { field: product_name }
        price: { field: price }
        tags: { field: tags }
there:
  type: postgresql
  dsn: ${THERE}
  receive_mixer:
    shop.item:
      product:
        Item No: { field: id }
        title: { field: name }
        cost: { field: price }
        tags: { field: tags }
  push_mixer:
    product:
      shop.item:
        id: { field: Item No, search_key: true }
        name: { field: title }
        price: { field: cost }
        tags: { field: tags }
"""


def sql(database, *statements):
    for statement in statements:
        database.sql(statement)


class Hub:
    """Two databases of different shapes."""

    def __init__(self, weir, here, there, folder, systems=SYSTEMS):
        self.weir, self.here, self.there = weir, here, there
        self.folder = folder
        (folder / "models").mkdir(parents=True)
        (folder / "systems").mkdir()
        (folder / "models/product.json").write_text(json.dumps(MODEL))
        (folder / "systems/both.yml").write_text(systems)
        sql(here, HERE)
        sql(there, *THERE.split("; "))

    def names(self):
        return {"HERE": self.here.url, "THERE": self.there.url}

    def drain(self, code=0):
        return self.weir.run("run", self.folder, "--until", "now", code=code, **self.names())

    def start(self):
        return self.weir.start("run", self.folder, **self.names())

    def rows(self):
        """What each has, in the words of the model."""
        return (self.here.sql("SELECT id, product_name, price::float8, tags::text::jsonb FROM products ORDER BY 1"),
                self.there.sql('SELECT "Item No", title, cost::float8, tags::text::jsonb FROM shop.item ORDER BY 1'))

    def are_equal(self):
        here, there = self.rows()
        return here == there

    def check(self, count=None):
        here, there = self.rows()
        assert here == there
        assert count is None or len(here) == count

    def in_step(self, seconds=60):
        wait_for(self.are_equal, seconds, lambda: f"in step: {self.rows()}")


@pytest.fixture
def hub(weir, make_database, tmp_path):
    made = Hub(weir, make_database(), make_database(), tmp_path / "hub")
    made.drain()  # from here on
    return made


def test_both_ways(hub):
    sql(hub.here, "INSERT INTO products VALUES (1, 'one', 1.50, '[1, 2]'), (2, 'two', NULL, NULL)")
    sql(hub.there, "INSERT INTO shop.item VALUES (3, 'three', '3.25', '[]', 'theirs')")
    hub.drain()
    hub.check(3)
    assert hub.there.sql('SELECT "Item No", cost, note FROM shop.item ORDER BY 1') == \
        [(1, "1.50", "ours"), (2, None, "ours"), (3, "3.25", "theirs")]


def test_updates_and_deletes(hub):
    sql(hub.here, "INSERT INTO products SELECT g, 'p' || g, g, NULL FROM generate_series(1, 20) g")
    hub.drain()
    sql(hub.there, "UPDATE shop.item SET cost = '99.5', note = 'seen' WHERE \"Item No\" <= 5")
    hub.there.sql('DELETE FROM shop.item WHERE "Item No" = 20')
    sql(hub.here, "UPDATE products SET price = NULL, product_name = 'x' WHERE id = 6", "DELETE FROM products WHERE id = 19")
    hub.drain()
    hub.check(18)
    assert hub.here.one("SELECT count(*) FROM products WHERE price = 99.5") == 5
    assert hub.there.one("SELECT count(*) FROM shop.item WHERE note = 'seen'") == 5


def test_while_it_runs(hub):
    process = hub.start()
    for n in range(1, 30):
        (hub.here if n % 2 else hub.there).sql(
            f"INSERT INTO products VALUES ({n}, 'n{n}', {n}, NULL)" if n % 2 else f"INSERT INTO shop.item VALUES ({n}, 'n{n}', '{n}', NULL)")
    wait_for(lambda: hub.are_equal() and len(hub.rows()[0]) == 29, 60, "in step")
    assert process.stop().code == 0


def test_no_echo(hub):
    """What was pushed does not come back, though it is text there and a number here: every row is written once on each side."""
    for database, table in ((hub.here, "products"), (hub.there, "shop.item")):
        sql(database, "CREATE TABLE public.written (n int)",
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.written VALUES (1); RETURN NULL; END'",
                     f"CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION note()",
                     f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER note")
    sql(hub.here, "INSERT INTO products SELECT g, 'p', g, NULL FROM generate_series(1, 10) g")
    for _ in range(4):
        hub.drain()
    sql(hub.there, "UPDATE shop.item SET cost = '5' WHERE \"Item No\" <= 4")
    for _ in range(4):
        hub.drain()
    hub.check(10)
    assert hub.here.one("SELECT count(*) FROM written") == 14
    assert hub.there.one("SELECT count(*) FROM written") == 14


def test_what_is_invalid_is_set_aside(hub):
    """One invalid object does not stop the stream."""
    sql(hub.here, "INSERT INTO products VALUES (1, 'fine', 1, NULL)", "INSERT INTO products VALUES (2, 'bad', -1, NULL)",
                 "INSERT INTO products VALUES (3, 'fine too', 3, NULL)")
    ended = hub.drain()
    assert "is set aside" in ended.err and "minimum" in ended.err, ended
    assert [row[0] for row in hub.rows()[1]] == [1, 3]
    assert "hub.from.here" in hub.weir.run("dead", "list").out


def test_a_row_that_is_mended_goes_on(hub):
    """A change says all of its row: one that is fine needs not wait for one that was not, and makes it void."""
    sql(hub.here, "INSERT INTO products VALUES (2, 'bad', -1, NULL)")
    hub.drain()
    sql(hub.here, "UPDATE products SET price = 2 WHERE id = 2")
    hub.drain()
    hub.check(1)
    assert hub.weir.run("dead", "list").out == "no dead letters\n"


def test_what_a_target_refuses_holds_up_its_own_row(hub):
    """Others go on, and so does a later change that says all that was refused."""
    sql(hub.there, "ALTER TABLE shop.item ADD CONSTRAINT fair CHECK (title <> 'bad')")
    sql(hub.here, "INSERT INTO products VALUES (1, 'fine', 1, NULL), (2, 'bad', 2, NULL), (3, 'fine too', 3, NULL)")
    ended = hub.drain()
    assert 'update of an object of model "product" at ' in ended.err and "fair" in ended.err, ended
    assert [row[0] for row in hub.rows()[1]] == [1, 3]
    listed = hub.weir.run("dead", "list").out
    assert listed.count("hub.to.there") == 1 and " model product " in listed, listed
    assert "letter 1: update in model product, refused" in hub.weir.run("dead", "show", "hub.to.there", "1").out
    sql(hub.here, "UPDATE products SET price = 30 WHERE id = 3", "UPDATE products SET product_name = 'good' WHERE id = 2")
    ended = hub.drain()
    assert 'dead letters of model "product" are dropped, 1 of them: a later change of the row was written' in ended.err, ended
    hub.check(3)
    assert hub.weir.run("dead", "list").out == "no dead letters\n"


def test_a_row_waits_for_its_new_key(hub):
    sql(hub.here, "INSERT INTO products VALUES (1, 'one', 1, NULL), (2, 'two', 2, NULL)")
    hub.drain()
    sql(hub.there, "ALTER TABLE shop.item ADD CONSTRAINT fair CHECK (title <> 'bad')")
    sql(hub.here, "UPDATE products SET id = 20, product_name = 'bad' WHERE id = 2")
    hub.drain()
    # Where the row is, only the first of them knows.
    sql(hub.here, "UPDATE products SET product_name = 'good' WHERE id = 20", "UPDATE products SET price = 10 WHERE id = 1")
    hub.drain()
    assert [(row[0], row[1]) for row in hub.rows()[1]] == [(1, "one"), (2, "two")]
    assert hub.weir.run("dead", "list").out.count("hub.to.there") == 2
    sql(hub.there, "ALTER TABLE shop.item DROP CONSTRAINT fair")
    hub.weir.run("dead", "retry", "hub.to.there", "--all")
    hub.drain()
    hub.check(2)
    assert hub.weir.run("dead", "list").out == "no dead letters\n"


def test_started_again_elsewhere(hub):
    """The state knows what was received, the target what was pushed."""
    sql(hub.here, "INSERT INTO products VALUES (1, 'one', 1, NULL)")
    hub.drain()
    sql(hub.there, "TRUNCATE shop.item")
    hub.drain()
    assert hub.there.one("SELECT count(*) FROM shop.item") == 0
    sql(hub.here, "UPDATE products SET price = 2")
    hub.drain()
    hub.check(1)


def test_a_start_that_is_refused_forgets_nothing(hub):
    """Until when something may have been pushed over a system's own changes is stored in it. Who does not get to read that does not write it."""
    mark = "SELECT value FROM weir.checkpoint WHERE pipeline = 'hub.to.there' AND key = 'sink:pushed'"
    sql(hub.here, "INSERT INTO products VALUES (1, 'one', 1, NULL)")
    hub.drain()
    before = hub.there.sql(mark)
    assert len(before) == 1 and before != [("0/0",)]
    hub.weir.run("check", hub.folder, **hub.names())
    assert hub.there.sql(mark) == before
    with psycopg.connect(hub.there.url, autocommit=True) as other:
        other.execute("SELECT pg_replication_origin_session_setup('weir_hub.to.there')")
        ended = hub.weir.run("run", hub.folder, "--until", "now", "--patience", "1s", code=None, **hub.names())
        assert "another session writes under the replication origin" in ended.err, ended
    assert hub.there.sql(mark) == before
    hub.drain()
    hub.check(1)


LIMITED = SYSTEMS.replace("dsn: ${THERE}", "dsn: ${THERE}\n  rate_limit: %d\n  rate_bucket_size: %d")


def oldest_transaction(database):
    """Seconds; of those that have written something."""
    return database.one("SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8 FROM pg_stat_activity"
                        " WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()")


@pytest.mark.parametrize("refused", [False, True], ids=["all taken", "some refused"])
def test_a_rate_limit_holds_no_locks(weir, make_database, tmp_path, refused):
    """What is written is committed before the rest of its transaction waits; killed in between, nothing is done twice."""
    hub = Hub(weir, make_database(), make_database(), tmp_path / "hub", LIMITED % (40, 5))
    hub.drain()
    sql(hub.there, "CREATE TABLE written (n bigint)", "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO public.written VALUES (NEW.\"Item No\"); RETURN NEW; END'",
        "CREATE TRIGGER note BEFORE INSERT OR UPDATE ON shop.item FOR EACH ROW EXECUTE FUNCTION note()")
    if refused:
        sql(hub.there, "ALTER TABLE shop.item ADD CONSTRAINT fair CHECK (\"Item No\" % 7 <> 0)")
    began = time.monotonic()
    process = hub.start()
    sql(hub.here, "INSERT INTO products SELECT g, 'n', 1, NULL FROM generate_series(1, 100) g")
    seen, oldest, kills = set(), 0, 0
    whole = {n for n in range(1, 101) if not refused or n % 7 != 0}
    while len(seen) < len(whole):
        assert time.monotonic() - began < 60, seen
        seen = {row[0] for row in hub.there.sql("SELECT n FROM written")}
        oldest = max(oldest, oldest_transaction(hub.there))
        if kills == 0 and len(seen) > 30:
            assert len(seen) < len(whole)  # in the midst of a transaction
            process.kill()
            process = hub.start()
            kills = 1
    took = time.monotonic() - began
    assert process.stop().code == 0
    assert kills == 1 and oldest < 1
    assert took > (len(whole) - 2 * 5) / 40  # each start begins with a full bucket
    assert hub.there.one("SELECT count(*) FROM written") == len(whole)
    assert {row[0] for row in hub.rows()[1]} == whole
    if refused:
        assert hub.weir.run("dead", "list").out.count("hub.to.there") == 14
        sql(hub.there, "ALTER TABLE shop.item DROP CONSTRAINT fair")
        hub.weir.run("dead", "retry", "hub.to.there", "--all")
        hub.drain()
        assert hub.weir.run("dead", "list").out == "no dead letters\n"
    hub.drain()
    hub.check(100)
    assert hub.there.one("SELECT count(*) FROM written") == 100


def test_truncate_is_told(hub):
    sql(hub.here, "INSERT INTO products VALUES (1, 'one', 1, NULL)", "TRUNCATE products")
    ended = hub.drain()
    assert "was truncated" in ended.err, ended
    assert len(hub.rows()[1]) == 1


def edit(hub, dice, keys):
    """Each side edits rows of its own, or both do the same."""
    side = dice.randrange(2)
    key = dice.randrange(1, 20) if keys == "the same" else dice.randrange(1, 40) * 2 + side
    name, price = f"n{dice.randrange(1000)}", dice.randrange(1000)
    if side == 0:
        hub.here.sql(dice.choice([
            f"INSERT INTO products VALUES ({key}, '{name}', {price}, NULL) ON CONFLICT (id) DO UPDATE SET price = {price}",
            f"UPDATE products SET product_name = '{name}' WHERE id = {key}",
            f"UPDATE products SET id = {key + 100} WHERE id = {key} AND NOT EXISTS (SELECT FROM products WHERE id = {key + 100})",
            f"DELETE FROM products WHERE id = {key}"]))
    else:
        hub.there.sql(dice.choice([
            f"INSERT INTO shop.item VALUES ({key}, '{name}', '{price}', NULL) ON CONFLICT (\"Item No\") DO UPDATE SET cost = '{price}'",
            f"UPDATE shop.item SET title = '{name}' WHERE \"Item No\" = {key}",
            f"DELETE FROM shop.item WHERE \"Item No\" = {key}"]))


def test_both_change_the_same(hub):
    """The later one in the log is what both end with."""
    sql(hub.here, "INSERT INTO products VALUES (1, 'one', 1, NULL), (2, 'two', 2, NULL)")
    hub.drain()
    sql(hub.here, "UPDATE products SET product_name = 'here' WHERE id = 1", "DELETE FROM products WHERE id = 2")
    sql(hub.there, "UPDATE shop.item SET title = 'there' WHERE \"Item No\" = 1", "UPDATE shop.item SET cost = '3' WHERE \"Item No\" = 2")
    hub.drain()
    hub.drain()
    hub.check()
    assert hub.rows()[0][0][1] in ("here", "there")


def test_a_key_that_changes(hub):
    """The row keeps what is its own: it is found by what it was."""
    sql(hub.here, "INSERT INTO products VALUES (1, 'one', 1, NULL), (2, 'two', 2, NULL)")
    hub.drain()
    sql(hub.there, "UPDATE shop.item SET note = 'seen'")
    hub.drain()
    sql(hub.here, "UPDATE products SET id = 100 WHERE id = 1")
    sql(hub.there, 'UPDATE shop.item SET "Item No" = 200 WHERE "Item No" = 2')
    hub.drain()
    hub.drain()
    hub.check(2)
    assert [row[0] for row in hub.rows()[0]] == [100, 200]
    assert hub.there.one("SELECT count(*) FROM shop.item WHERE note = 'seen'") == 2


@pytest.mark.kill
@pytest.mark.parametrize("keys", ["of its own", "the same"])
def test_kills(hub, keys):
    seed = random.randrange(1 << 30)
    print("seed", seed)
    dice = random.Random(seed)
    for _ in range(8):
        process = hub.start()
        for _ in range(dice.randrange(20, 60)):
            edit(hub, dice, keys)
        time.sleep(dice.random())
        process.kill()
    process = hub.start()
    hub.in_step()
    time.sleep(1)
    hub.check()
    assert process.stop().code == 0


def test_a_system_that_is_added_later(weir, make_database, tmp_path):
    """It gets what is received from then on; one that was there gets everything, however late it is reached."""
    hub, third = Hub(weir, make_database(), make_database(), tmp_path / "hub"), make_database()
    there = hub.names() | {"THERE": third.url.replace(third.name, "nowhere")}
    hub.weir.run("run", hub.folder, "--until", "now", code=None, **there)
    hub.here.sql("INSERT INTO products VALUES (1, 'one', 1, NULL), (2, 'two', 1, NULL)")
    hub.weir.run("run", hub.folder, "--until", "now", code=None, **there)
    assert hub.rows()[1] == []
    hub.drain()
    hub.drain()
    assert [row[0] for row in hub.rows()[1]] == [1, 2]
    third.sql(HERE)
    (hub.folder / "systems/third.yml").write_text(SYSTEMS.split("there:")[0].replace("here:", "third:").replace("HERE", "THIRD"))
    hub.names = lambda: {"HERE": hub.here.url, "THERE": hub.there.url, "THIRD": third.url}
    hub.drain()
    assert third.sql("SELECT id FROM products") == []
    hub.here.sql("UPDATE products SET price = 2 WHERE id = 2; INSERT INTO products VALUES (3, 'three', 1, NULL)")
    hub.drain()
    assert third.sql("SELECT id FROM products ORDER BY id") == [(2,), (3,)]
    hub.here.sql("UPDATE products SET id = id")
    hub.drain()
    assert third.sql("SELECT id, product_name FROM products ORDER BY id") == [(1, "one"), (2, "two"), (3, "three")]
