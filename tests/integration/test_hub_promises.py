"""What a hub promises, a case each, from one end to the other: docs/RELIABILITY.md lists them, also those that other files hold."""
import itertools
import json
import os
import pathlib
import re
import threading
import time
import urllib.parse

import pytest

from harness.stripe import Stripe
from harness.stripe_api import SECRET, post
from harness.wait import wait_for

from test_metrics import free_port


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


class Hub:
    """One model, "thing", and systems as mappings; YAML reads JSON."""

    def __init__(self, weir, folder, properties, systems, keep="1h", starts=True):
        self.weir, self.folder = weir, folder
        self.numbers = itertools.count(1)
        for part in ("models", "systems"):
            (folder / part).mkdir(parents=True)
        self.write("models/thing.json", {"title": "thing", "type": "object", "properties": properties})
        self.write("systems/all.yml", systems)
        self.keep(keep)
        if starts:
            self.drain()  # from here on

    def write(self, path, what):
        (self.folder / path).write_text(json.dumps(what))

    def keep(self, time):
        self.write("weir.yml", {"hub": {"keep_duplicates_for": time}})

    def drain(self, *words, code=0):
        return self.weir.run("run", self.folder, "--until", "now", *words, code=code)

    def start(self):
        self.port = free_port()
        return self.weir.start("run", self.folder, "--listen", f"127.0.0.1:{self.port}")

    def tell(self, kind, thing):
        """A webhook of Stripe."""
        event = {"id": f"evt_{next(self.numbers)}", "object": "event", "type": kind, "created": int(time.time()),
                 "data": {"object": thing}}
        return post(f"http://127.0.0.1:{self.port}/gateway", event)[0]

    def listens(self):
        wait_for(lambda: self.tell("customer.created", {"object": "customer", "id": "cus_1"}) == 200, 60, "it listens")


def as_path(column):
    """A name that is received is a path, whose steps dots part."""
    return column.replace("\\", "\\\\").replace(".", "\\.")


def database(made, table, fields, keys=("id",), **more):
    """A system that is received from and pushed to. @fields: {column: property}."""
    return {"type": "postgresql", "dsn": made.url, **more,
            "receive_mixer": {table: {"thing": {as_path(column): {"field": name} for column, name in fields.items()}}},
            "push_mixer": {"thing": {table: {name: {"field": column, **({"search_key": True} if column in keys else {})}
                                             for column, name in fields.items()}}}}


@pytest.fixture
def stripe():
    made = Stripe()
    yield made
    made.close()


def gateway(stripe, fields, prices=None):
    """@fields: {what Stripe calls it: property}; stripe_id is the object's id. @prices: the same of prices, which are only received."""
    received = {"product": {"thing": {name.replace("[", ".").replace("]", ""): {"field": field} for name, field in fields.items()}}}
    if prices:
        received["price"] = {"thing": {name: {"field": field} for name, field in prices.items()}}
    return {"type": "stripe", "api_key": stripe.KEY, "api_base": stripe.url, "endpoint_secret": SECRET, "receive_mixer": received,
            "push_mixer": {"thing": {"products": {field: {"field": name, **({"search_key": True} if name == "id" else {})}
                                                  for name, field in fields.items()}}}}


def count_writes(made, table):
    """Of everybody."""
    made.sql("CREATE TABLE public.written (n int)")
    made.sql("CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS "
             "'BEGIN INSERT INTO public.written VALUES (1); RETURN NULL; END'")
    made.sql(f"CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION public.note()")
    made.sql(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER note")
    return lambda: made.one("SELECT count(*) FROM public.written")


ANY = {"id": {"type": "integer"}, "stripe_id": {"type": ["string", "null"]}, "name": {"type": ["string", "null"]},
       "note": {"type": ["string", "null"]}, "size": {"type": ["number", "null"]}}


# ---------------------------------------------------------------------------------------------
# Two databases
# ---------------------------------------------------------------------------------------------


def test_a_change_made_while_it_is_down_is_delivered_when_it_is_back(weir, make_database, tmp_path):
    left, right = make_database(), make_database()
    left.sql("CREATE TABLE things (id int PRIMARY KEY, name text)")
    right.sql("CREATE TABLE items (no int PRIMARY KEY, title text)")
    hub = Hub(weir, tmp_path / "hub", ANY, {
        "left": database(left, "public.things", {"id": "id", "name": "name"}),
        "right": database(right, "public.items", {"no": "id", "title": "name"}, ["no"])})
    process = hub.start()
    left.sql("INSERT INTO things VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    wait_for(lambda: right.one("SELECT count(*) FROM items") == 3, 60, "three rows")
    process.kill()
    left.sql("INSERT INTO things VALUES (4, 'd')")
    left.sql("UPDATE things SET name = 'changed' WHERE id = 1")
    right.sql("DELETE FROM items WHERE no = 2")
    right.sql("UPDATE items SET title = 'changed there' WHERE no = 3")
    process = hub.start()
    wanted = [(1, "changed"), (3, "changed there"), (4, "d")]
    for made, table in ((left, "things"), (right, "items")):
        wait_for(lambda: made.sql(f"SELECT * FROM {table} ORDER BY 1") == wanted, 60, lambda: f"{table}: {process.logs()[-2000:]}")
    assert process.stop().code == 0


def test_an_update_to_null_arrives(weir, make_database, tmp_path):
    """In both directions, of any type, and of one column only: the others stay."""
    left, right = make_database(), make_database()
    left.sql("CREATE TABLE things (id int PRIMARY KEY, name text, note varchar(9), size numeric)")
    right.sql("CREATE TABLE items (id int PRIMARY KEY, name text DEFAULT 'x', note text, size text)")
    same = {name: name for name in ("id", "name", "note", "size")}
    hub = Hub(weir, tmp_path / "hub", ANY, {"left": database(left, "public.things", same), "right": database(right, "public.items", same)})
    left.sql("INSERT INTO things SELECT g, 'name', 'note', 1.5 FROM generate_series(1, 5) g")
    hub.drain()
    left.sql("UPDATE things SET name = NULL WHERE id = 1")
    left.sql("UPDATE things SET size = NULL WHERE id = 2")
    right.sql("UPDATE items SET note = NULL WHERE id = 3")
    right.sql("UPDATE items SET size = NULL, name = NULL WHERE id = 4")
    left.sql("INSERT INTO things (id) VALUES (6)")
    hub.drain()
    wanted = [(1, None, "note", "1.5"), (2, "name", "note", None), (3, "name", None, "1.5"), (4, None, "note", None),
              (5, "name", "note", "1.5"), (6, None, None, None)]
    assert right.sql("SELECT * FROM items ORDER BY 1") == wanted
    assert left.sql("SELECT id, name, note, size::text FROM things ORDER BY 1") == wanted


def test_a_renamed_field_goes_to_its_own_column(weir, make_database, tmp_path):
    """Not to the one that happens to have the property's name: here both are there, crosswise."""
    left, right = make_database(), make_database()
    left.sql("CREATE TABLE things (id int PRIMARY KEY, name text, note text)")
    right.sql("CREATE TABLE items (id int PRIMARY KEY, name text, note text)")
    hub = Hub(weir, tmp_path / "hub", ANY, {
        "left": database(left, "public.things", {"id": "id", "name": "note", "note": "name"}),
        "right": database(right, "public.items", {"id": "id", "name": "name", "note": "note"})})
    left.sql("INSERT INTO things VALUES (1, 'in name', 'in note')")
    right.sql("INSERT INTO items VALUES (2, 'name there', 'note there')")
    hub.drain()
    assert right.sql("SELECT * FROM items ORDER BY 1") == [(1, "in note", "in name"), (2, "name there", "note there")]
    assert left.sql("SELECT * FROM things ORDER BY 1") == [(1, "in name", "in note"), (2, "note there", "name there")]
    left.sql("UPDATE things SET name = 'new'")
    hub.drain()
    assert right.sql("SELECT * FROM items ORDER BY 1") == [(1, "in note", "new"), (2, "name there", "new")]


LARGE = [9007199254740993, -9007199254740993, 9223372036854775807, -9223372036854775808, 9007199254740991]


def test_large_integers_stay_exact_from_database_to_database(weir, make_database, tmp_path):
    """As a key, as a number, as text, and inside JSON."""
    left, right = make_database(), make_database()
    left.sql("CREATE TABLE things (id bigint PRIMARY KEY, size bigint, wide bigint, data jsonb)")
    right.sql("CREATE TABLE items (id bigint PRIMARY KEY, size numeric, wide text, data json)")
    properties = {"id": {"type": "integer"}, "size": {"type": "number"}, "wide": {"type": ["number", "string"]}, "data": {}}
    same = {name: name for name in properties}
    hub = Hub(weir, tmp_path / "hub", properties, {"left": database(left, "public.things", same), "right": database(right, "public.items", same)})
    for number in LARGE:
        left.sql("INSERT INTO things VALUES (%s, %s, %s, %s)", number, number, number, json.dumps({"a": [number]}))
    hub.drain()
    wanted = sorted((number, number, number, {"a": [number]}) for number in LARGE)

    def there():
        return right.sql("SELECT id, size::bigint, wide::bigint, data FROM items ORDER BY 1")
    assert there() == wanted
    # Two that are one as floating point numbers are two rows, and back it is as exact.
    right.sql("UPDATE items SET size = size - sign(size), wide = '9007199254740995', data = '[9007199254740997]'")
    right.sql("INSERT INTO items VALUES (9007199254740992, 9007199254740993, '9007199254740993', '9007199254740993')")
    hub.drain()
    assert left.sql("SELECT * FROM things ORDER BY 1") == there()
    assert len(there()) == len(LARGE) + 1
    left.sql("DELETE FROM things WHERE id = 9007199254740993")
    hub.drain()
    assert 9007199254740992 in [row[0] for row in there()] and len(there()) == len(LARGE)


STRANGE = ["a,b", "it's", "two words", "all*", 'quo"te', "dot.ted", "100%", "Ünï→", "select", "back\\slash", "$1", "{x}"]


def strange_system(made, schema, connection):
    """A table for each name, with a key of its own."""
    system = {"type": "postgresql", **connection, "receive_mixer": {}, "push_mixer": {"thing": {}}}
    for name in STRANGE:
        key = "key " + name
        one = database(made, f"{quoted(schema)}.{quoted(name)}", {key: key, name: name}, [key])
        system["receive_mixer"] |= one["receive_mixer"]
        system["push_mixer"]["thing"] |= one["push_mixer"]["thing"]
    return system


@pytest.mark.parametrize("version", [17], indirect=True)  # the one that asks for passwords by SCRAM
def test_names_and_passwords_of_any_characters(weir, make_database, server, tmp_path):
    """A user, a password, a database, a schema, tables, columns and keys, received and pushed, by a URL and by its parts."""
    password, user, schema = "p%4&?@:/# '\"\\x=", "us%er&?@ \"'x", 'sch,e "m*a'
    left, right = make_database("d%b&?@ 'x"), make_database()
    tables = [f"{quoted(schema)}.{quoted(name)}" for name in STRANGE]
    for made in (left, right):
        made.sql(f"CREATE SCHEMA {quoted(schema)}")
        for name, table in zip(STRANGE, tables):
            made.sql(f"CREATE TABLE {table} ({quoted('key ' + name)} text PRIMARY KEY, {quoted(name)} text)")
    left.sql(f"CREATE ROLE {quoted(user)} SUPERUSER LOGIN PASSWORD '" + password.replace("'", "''") + "'")
    try:
        user_in_url, password_in_url, name_in_url = (urllib.parse.quote(part, "") for part in (user, password, left.name))
        url = f"postgres://{user_in_url}:{password_in_url}@127.0.0.1:{server.port}/{name_in_url}"
        parts = {"hostname": "127.0.0.1", "port": server.port, "database": right.name, "username": user, "password": password}
        properties = {name: {"type": "string"} for one in STRANGE for name in (one, "key " + one)}
        hub = Hub(weir, tmp_path / "hub", properties,
                  {"left": strange_system(left, schema, {"dsn": url}), "right": strange_system(right, schema, parts)})
        assert "Nothing is missing." in weir.run("check", hub.folder).out
        for table in tables:
            left.sql(f"INSERT INTO {table} VALUES ('{{}}, \"'' of left', 'x')")
        ended = hub.drain("--log-level", "debug")
        assert password not in ended.text and password_in_url not in ended.text
        for name, table in zip(STRANGE, tables):
            assert right.sql(f"SELECT * FROM {table}") == [("{}, \"' of left", "x")], name
            right.sql(f"UPDATE {table} SET {quoted(name)} = 'y'")
        hub.drain()
        for name, table in zip(STRANGE, tables):
            assert left.sql(f"SELECT * FROM {table}") == [("{}, \"' of left", "y")], name
    finally:
        for made in (left, right):
            made.sql("DROP SCHEMA IF EXISTS weir CASCADE")
        left.sql(f"DROP OWNED BY {quoted(user)} CASCADE")
        right.sql(f"DROP OWNED BY {quoted(user)} CASCADE")
        left.sql(f"DROP ROLE {quoted(user)}")


@pytest.fixture
def copied(weir, make_database, tmp_path):
    """Two tables with 1000 rows each are copied at the first start, which is still to come; in each some are invalid, the first among them."""
    left, right = make_database(), make_database()
    for table in ("things", "others"):
        left.sql(f"CREATE TABLE {table} (id int, no text, name text, PRIMARY KEY (no, id))")
        left.sql(f"INSERT INTO {table} SELECT g, 'n' || g, CASE WHEN g % 500 <> 1 THEN 'name' END FROM generate_series(1, 1000) g")
    left.sql("UPDATE others SET id = id + 1000, no = 'n' || id + 1000")
    right.sql("CREATE TABLE items (id int PRIMARY KEY, name text)")
    systems = {"left": database(left, "public.things", {"id": "id", "name": "name"}, copy=True),
               "right": database(right, "public.items", {"id": "id", "name": "name"})}
    received = systems["left"]["receive_mixer"]
    received["public.others"] = received["public.things"]
    hub = Hub(weir, tmp_path / "hub", {"id": {"type": "integer"}, "name": {"type": "string"}}, systems, starts=False)
    hub.left, hub.right, hub.written = left, right, count_writes(right, "items")
    return hub


BAD = {1, 501, 1001, 1501}


def check_copied(hub):
    """All that is valid is there, once; all else is set aside, once."""
    assert {row[0] for row in hub.right.sql("SELECT id FROM items")} == set(range(1, 2001)) - BAD
    assert hub.written() == 1996
    letters = hub.weir.run("dead", "list").out
    found = re.findall(r"^hub\.from\.left +\d+ +(\S+) +read +\S+:(\d+) .* refused ", letters, re.MULTILINE)
    assert sorted(found) == [(f"public.{table}", number) for table in ("others", "things") for number in ("1", "501")], letters


def test_invalid_rows_of_a_copy_are_set_aside(copied):
    hub = copied
    said = hub.drain().err.replace('\\"', '"')
    assert 'read of a row of table "public.things" at ' in said and "retrying" not in said, said
    assert '"public.things" where "id" = 501 and "no" = n501 is no "thing": thing: name: null is not a string' in said
    check_copied(hub)
    shown = hub.weir.run("dead", "show", "hub.from.left", "1").out
    assert re.search(r"read in table public\.(things|others), refused\n  position   [0-9A-F]+/[0-9A-F]+:1\n", shown), shown
    # A later change of the row makes its letter void; what waits for its model is tried again.
    hub.left.sql("UPDATE things SET name = 'mended' WHERE id = 501")
    hub.left.sql("DELETE FROM others WHERE id = 1501")
    hub.drain()
    assert hub.weir.run("dead", "list").out.count("hub.from.left") == 2
    hub.write("models/thing.json", {"title": "thing", "type": "object", "properties": {"id": {"type": "integer"}, "name": {"type": ["string", "null"]}}})
    hub.weir.run("dead", "retry", "hub.from.left", "--all")
    hub.drain()
    assert hub.right.sql("SELECT id, name FROM items WHERE id = ANY('{1, 501, 1001, 1501}') ORDER BY 1") == [(1, None), (501, "mended"), (1001, None)]
    assert hub.weir.run("dead", "list").out == "no dead letters\n"
    assert hub.written() == 1999
    assert hub.right.one("SELECT count(*) FROM items") == 1999


@pytest.mark.parametrize("point", ["copy-table-read:1", "copy-table-read:2", "copy-letters-kept:1", "copy-letters-kept:2", "commit-in-sink:2",
                                   "copy-table-committed:1", "copy-table-committed:2"])
def test_a_copy_with_invalid_rows_is_killed(copied, point):
    """What is copied again has its letters again, and not twice."""
    hub = copied
    ended = hub.weir.run("run", hub.folder, "--until", "now", code=-9, WEIR_CRASH_POINT=point)
    hub.drain()
    hub.drain()
    check_copied(hub)
    assert ended.code == -9


# ---------------------------------------------------------------------------------------------
# A database and Stripe
# ---------------------------------------------------------------------------------------------


@pytest.fixture
def shop(weir, make_database, stripe, tmp_path):
    """What is a number in the database is text at Stripe, and nearly everything is called otherwise."""
    made = make_database()
    made.sql("CREATE TABLE things (id bigint PRIMARY KEY, stripe_id text UNIQUE, title text, remark text, size numeric, price bigint)")
    properties = ANY | {"size": {"type": ["number", "string", "null"]}, "price": {"type": ["integer", "null"]}}
    hub = Hub(weir, tmp_path / "hub", properties, {
        "db": database(made, "public.things", {"id": "id", "stripe_id": "stripe_id", "title": "name", "remark": "note", "size": "size",
                                               "price": "price"}, ["id", "stripe_id"]),
        "gateway": gateway(stripe, {"id": "stripe_id", "name": "name", "description": "note", "metadata[id]": "id", "metadata[size]": "size"},
                           {"product": "stripe_id", "unit_amount": "price"})})
    hub.database, hub.stripe = made, stripe
    return hub


def products(shop):
    return sorted(((p["id"], p["name"], p.get("description"), p["metadata"]) for p in shop.stripe.all("products")),
                  key=lambda product: int(product[0].split("_")[1]))


def test_an_update_to_null_arrives_at_stripe_and_from_there(shop):
    shop.database.sql("INSERT INTO things (id, title, remark, size, price) VALUES (1, 'a', 'x', 3, 5)")
    shop.drain()
    assert products(shop) == [("prod_1", "a", "x", {"id": "1", "size": "3"})]
    shop.database.sql("UPDATE things SET remark = NULL, size = NULL")
    shop.drain()
    assert products(shop) == [("prod_1", "a", None, {"id": "1"})]
    shop.database.sql("UPDATE things SET remark = 'y'")
    shop.drain()
    process = shop.start()
    shop.listens()
    assert shop.tell("product.updated", {"object": "product", "id": "prod_1", "name": "a", "description": None, "metadata": {"id": "1"}}) == 200
    assert shop.tell("price.updated", {"object": "price", "id": "price_1", "product": "prod_1", "unit_amount": None}) == 200
    wait_for(lambda: shop.database.sql("SELECT title, remark, price FROM things") == [("a", None, None)], 30, "nothing is there")
    assert process.stop().code == 0


def test_an_echo_is_known_whatever_its_types_and_an_equal_change_passes_later(shop):
    """What Stripe repeats is dropped; another value passes at once, the one before too; what is repeated when the window is over passes."""
    written = count_writes(shop.database, "things")
    process = shop.start()
    shop.listens()
    shop.database.sql("INSERT INTO things (id, title, size) VALUES (1, 'Mug', 3.50)")
    wait_for(lambda: shop.database.sql("SELECT stripe_id FROM things") == [("prod_1",)], 60, "its id")
    assert written() == 2
    assert products(shop) == [("prod_1", "Mug", None, {"id": "1", "size": "3.50"})]
    time.sleep(1.1)  # what is told in the second of a push is asked for, and the stand-in does not have what is told here
    mug = {"object": "product", "id": "prod_1", "name": "Mug", "description": None}
    for size in ("3.50", "3.5", 3.5):
        assert shop.tell("product.updated", mug | {"metadata": {"id": "1", "size": size}}) == 200

    def becomes(size, writes):
        assert shop.tell("product.updated", mug | {"metadata": {"id": "1", "size": size}}) == 200
        wait_for(lambda: shop.database.one("SELECT size FROM things") == float(size) and written() == writes, 30,
                 lambda: f"{shop.database.sql('SELECT * FROM things')}, {written()} writes")
    becomes("4", 3)  # so nothing was made of those before
    becomes("3", 4)
    assert process.stop().code == 0
    shop.keep("1s")
    time.sleep(1.2)
    process = shop.start()
    shop.listens()
    becomes("3", 5)
    time.sleep(1.2)
    becomes("3", 6)  # also without a start in between
    assert process.stop().code == 0
    assert [asked.path for asked in shop.stripe.posts()] == ["/v1/products"]


def test_what_was_pushed_is_known_after_a_kill_and_forgotten_after_a_while(shop):
    """Also of what nobody has touched since: it is an echo within the window, and news behind it, once."""
    written = count_writes(shop.database, "things")
    process = shop.start()
    shop.listens()
    shop.database.sql("INSERT INTO things (id, title, size) VALUES (1, 'Mug', 3), (2, 'Cup', 4), (3, 'end', 0)")
    wait_for(lambda: shop.database.one("SELECT count(stripe_id) FROM things") == 3, 60, "their ids")
    assert written() == 6
    time.sleep(1.1)  # see above
    process.kill()
    process = shop.start()
    shop.listens()
    ids = dict(shop.database.sql("SELECT id, stripe_id FROM things"))
    ends = itertools.count(1)

    def tell(key, name, size):
        return shop.tell("product.updated", {"object": "product", "id": ids[key], "name": name, "description": None,
                                             "metadata": {"id": str(key), "size": size}}) == 200

    def is_at_end(writes):
        """All that was told is received, and that many rows were written, that of the end among them."""
        end = next(ends)
        assert tell(3, "end", str(end))
        wait_for(lambda: shop.database.one("SELECT size FROM things WHERE id = 3") == end, 30, "the end")
        assert written() == writes

    assert tell(1, "Mug", "3") and tell(2, "Cup", "4.0")
    is_at_end(7)
    assert tell(2, "Cup", "5")  # another value passes at once
    is_at_end(9)
    assert process.stop().code == 0
    shop.keep("5s")
    time.sleep(5.1)
    process = shop.start()
    shop.listens()
    assert tell(1, "Mug", "3") and tell(1, "Mug", "3") and tell(1, "Mug", "3.00")
    is_at_end(11)
    assert shop.database.sql("SELECT title, size FROM things WHERE id = 1") == [("Mug", 3)]
    assert process.stop().code == 0
    assert len(shop.stripe.posts()) == 3


def test_large_integers_stay_exact_to_stripe_and_from_there(shop):
    """As metadata, as an amount, and where it is asked whether something is an echo."""
    large = 9007199254740993
    shop.database.sql("INSERT INTO things (id, title, size) VALUES (%s, 'a', %s)", large, large)
    shop.drain()
    assert products(shop) == [("prod_1", "a", None, {"id": str(large), "size": str(large)})]
    process = shop.start()
    shop.listens()
    for size, price in ((large + 1, large), (str(large), large + 1), (large - 1, 9223372036854775807), (large, -large)):
        thing = {"object": "product", "id": "prod_1", "name": "a", "description": None, "metadata": {"id": str(large), "size": size}}
        assert shop.tell("product.updated", thing) == 200
        assert shop.tell("price.updated", {"object": "price", "id": "price_1", "product": "prod_1", "unit_amount": price}) == 200
        wait_for(lambda: shop.database.sql("SELECT id, size::bigint, price FROM things") == [(large, int(size), price)], 30,
                 lambda: f"{size}, {price}: {shop.database.sql('SELECT * FROM things')}")
    assert process.stop().code == 0


def product(key, number, name):
    """As Stripe tells of one whose size was never said."""
    return {"object": "product", "id": f"prod_{number}", "name": name, "description": None, "metadata": {"id": str(key)}}


def things(shop):
    return shop.database.sql("SELECT id, stripe_id, title, size::text, price FROM things ORDER BY id")


def mark(number):
    return (number, f"prod_{number}", "mark", None, None)


MARK = mark(9)


def tell_and_wait(shop, *told, end=9):
    """What is told, and a mark behind it, which the database has."""
    for kind, thing in told:
        assert shop.tell(kind, thing) == 200
    assert shop.tell("product.created", product(end, end, "mark")) == 200
    wait_for(lambda: mark(end) in things(shop), 30, lambda: f"the mark: {things(shop)}")


def hold(shop, method, path):
    """The request waits until the second event is set; the first says that it is there."""
    is_there, may_go = threading.Event(), threading.Event()

    def look(asked):
        if (asked.method, asked.path) == (method, path):
            is_there.set()
            may_go.wait(60)
    shop.stripe.on_ask = look
    return is_there, may_go


@pytest.mark.parametrize("point", [None, "stripe-asked:1", "stripe-asked:2", "stripe-id-kept:1", "stripe-id-told:1"])
def test_what_stripe_tells_late_of_what_is_gone_changes_nothing(shop, point):
    """A product is changed there and deleted here, and a row of the same key is another product by the time that Stripe tells of the change."""
    shop.database.sql("INSERT INTO things (id, title) VALUES (1, 'a')")
    shop.drain()
    shop.database.sql("DELETE FROM things")
    shop.database.sql("INSERT INTO things (id, title, size) VALUES (1, 'b', 3)")
    if point:
        shop.weir.run("run", shop.folder, "--until", "now", code=-9, WEIR_CRASH_POINT=point)
    process = shop.start()
    shop.listens()
    row = (1, "prod_2", "b", "3", None)
    wait_for(lambda: things(shop) == [row], 60, lambda: f"{things(shop)}")
    posts = len(shop.stripe.posts())
    late = [("product.updated", product(1, 1, "late")), ("price.updated", {"object": "price", "id": "price_1", "product": "prod_1", "unit_amount": 5})]
    tell_and_wait(shop, *late)
    assert things(shop) == [row, MARK]
    assert process.stop().code == 0
    shop.drain()
    assert things(shop) == [row, MARK] and products(shop) == [("prod_2", "b", None, {"id": "1", "size": "3"})]
    assert len(shop.stripe.posts()) == posts
    assert shop.weir.run("dead", "list").out == "no dead letters\n"


def test_what_stripe_tells_late_hides_no_row_from_its_delete(shop):
    """The row has a newer id, which the delete is about to name. Were it given the one that is gone, it would stay, with what nobody else knows."""
    shop.database.sql("ALTER TABLE things REPLICA IDENTITY FULL")  # deletes say all keys
    shop.database.sql("INSERT INTO things (id, title) VALUES (1, 'a')")
    shop.drain()
    shop.database.sql("DELETE FROM things")
    shop.drain()
    # Whoever still says the id that is gone means a new product: two, one behind the other.
    shop.database.sql("""DO $$BEGIN FOR number IN 1..2 LOOP
        INSERT INTO things (id, stripe_id, title, size) VALUES (1, 'prod_1', 'b', number); DELETE FROM things; END LOOP; END$$""")
    is_there, may_go = hold(shop, "DELETE", "/v1/products/prod_3")
    process = shop.start()
    shop.listens()
    assert is_there.wait(60)
    # The first delete came later than all of this; so the second product is told, until its own delete is.
    row = (1, "prod_3", "b", "2", None)
    wait_for(lambda: things(shop) == [row], 60, lambda: f"{things(shop)}")
    tell_and_wait(shop, ("product.updated", product(1, 1, "late")))
    assert things(shop) == [row, MARK]
    may_go.set()
    wait_for(lambda: things(shop) == [MARK], 60, lambda: f"{things(shop)}, {products(shop)}")
    assert process.stop().code == 0
    shop.drain()
    assert things(shop) == [MARK] and products(shop) == []


def test_what_another_object_says_of_one_that_stripe_has_deleted(shop):
    """Its price is told behind its delete: before the log's reader has come by that, and after."""
    shop.database.sql("INSERT INTO things (id, title) VALUES (1, 'a'), (2, 'b')")
    shop.drain()
    first, second = [row[0] for row in shop.database.sql("SELECT stripe_id FROM things ORDER BY id")]
    is_there, may_go = hold(shop, "POST", f"/v1/products/{second}")
    process = shop.start()
    shop.listens()
    shop.database.sql("UPDATE things SET title = 'c' WHERE id = 2")
    assert is_there.wait(60)
    del shop.stripe.objects.of["products"][first]
    price = ("price.updated", {"object": "price", "id": "price_1", "product": first, "unit_amount": 5})
    tell_and_wait(shop, ("product.deleted", product(1, int(first.split("_")[1]), "a")), price)
    rows = [(2, second, "c", None, None), MARK]
    assert things(shop) == rows
    may_go.set()
    assert process.stop().code == 0
    shop.drain()
    process = shop.start()
    shop.listens()
    price[1]["unit_amount"] = 6
    tell_and_wait(shop, price, end=10)
    assert things(shop) == [*rows, mark(10)] and len(shop.stripe.all("products")) == 1
    assert process.stop().code == 0
    assert shop.weir.run("dead", "list").out == "no dead letters\n"


# ---------------------------------------------------------------------------------------------
# The rate
# ---------------------------------------------------------------------------------------------


def processor_seconds(process):
    """Of the process so far, in all its threads."""
    fields = pathlib.Path(f"/proc/{process.popen.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("limit", [{}, {"rate_limit": 0}, {"rate_limit": 0, "rate_bucket_size": 0}, {"rate_limit": 1, "rate_bucket_size": 1}],
                         ids=["none", "zero", "zero of both", "one"])
def test_a_rate_limit_does_not_spin(weir, make_database, stripe, tmp_path, limit):
    """Without one, everything is pushed at once, and nothing is done while there is nothing to do, nor while a token is waited for."""
    left, right = make_database(), make_database()
    for made in (left, right):
        made.sql("CREATE TABLE things (id int PRIMARY KEY, name text)")
    fields = {"id": "id", "name": "name"}
    hub = Hub(weir, tmp_path / "hub", ANY, {
        "left": database(left, "public.things", fields, **limit), "right": database(right, "public.things", fields, **limit),
        "gateway": gateway(stripe, {"id": "stripe_id", "name": "name", "metadata[id]": "id"}) | limit})
    process = hub.start()
    hub.listens()
    left.sql("INSERT INTO things SELECT g, 'n' FROM generate_series(1, 100) g")
    if "rate_limit" in limit and limit["rate_limit"] > 0:
        wait_for(lambda: len(stripe.posts()) > 0, 60, "it has begun")
    else:
        wait_for(lambda: right.one("SELECT count(*) FROM things") == 100 and len(stripe.posts()) == 100, 60, "all of it")
    time.sleep(0.5)
    before = processor_seconds(process)
    time.sleep(2)
    used = processor_seconds(process) - before
    assert used < 0.3, f"{used} s of processor time in 2 s"
    process.must_live()
    process.kill()
