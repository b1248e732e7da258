"""Keys that a database gives the rows which are made there by a push: they reach the other systems."""
import pytest

from harness.stripe_api import post
from harness.wait import wait_for

from test_hub_promises import Hub, count_writes, database
from test_hub_stripe import both  # noqa: F401

MADE = {"object": "product", "id": "prod_50", "name": "made there", "metadata": {}}


def make_at_stripe(both):
    both.stripe.objects.of["products"]["prod_50"] = dict(MADE, metadata={})
    assert both.tell("product.created", MADE) == 200


def dead_letters(both):
    return both.weir.run("dead", "list").out


def no_letters(both):
    listed = dead_letters(both)
    assert "prod-db" not in listed and "gateway" not in listed, listed


def metadata(both):
    return both.stripe.objects.of["products"]["prod_50"]["metadata"]


def test_made_at_stripe_and_deleted_there(both):
    process = both.run()
    make_at_stripe(both)
    wait_for(lambda: metadata(both) == {"id": "1"}, 30, lambda: f"its id: {process.logs()[-2000:]}")
    both.in_step(process)
    gone = both.stripe.objects.of["products"].pop("prod_50")
    assert both.tell("product.deleted", gone) == 200
    wait_for(lambda: both.rows() == [], 30, lambda: f"it is gone: {process.logs()[-2000:]}")
    assert both.posts() == ["/v1/products/prod_50"]
    assert both.written() == 2  # it was made, and deleted
    no_letters(both)
    assert process.stop().code == 0


def test_made_at_stripe_and_deleted_here(both):
    process = both.run()
    make_at_stripe(both)
    wait_for(lambda: len(both.rows()) == 1, 30, "a row")
    both.database.sql("DELETE FROM products")  # before or behind its id
    wait_for(lambda: both.stripe.all("products") == [], 30, lambda: f"it is gone: {process.logs()[-2000:]}")
    assert [asked.method for asked in both.stripe.posts()] == ["POST", "DELETE"]
    no_letters(both)
    assert process.stop().code == 0


def test_deleted_at_stripe_before_it_hears_of_the_id(both):
    """It says all of the object: a key that is nowhere is none."""
    process = both.run()
    deleted = both.event("product.deleted", MADE)
    assert both.tell("product.created", MADE) == 200
    assert post(f"http://127.0.0.1:{both.port}/payment-gateway", deleted)[0] == 200
    wait_for(lambda: both.written() == 2, 30, "made and deleted")
    both.database.sql("INSERT INTO products (product_name) VALUES ('behind it')")
    wait_for(lambda: len(both.stripe.all("products")) == 1, 30, "what is behind it")
    assert both.rows() == both.products() and len(both.rows()) == 1
    assert both.posts().count("/v1/products") == 1  # what is gone was not made again
    no_letters(both)
    assert process.stop().code == 0


def test_its_id_is_told_once(both):
    """Stripe tells of what it was told: nothing is written, nothing is asked for."""
    process = both.run()
    make_at_stripe(both)
    wait_for(lambda: metadata(both) == {"id": "1"}, 30, "its id")
    both.tell_all()
    both.database.sql("UPDATE products SET product_name = 'changed'")
    both.in_step(process)
    both.tell_all()
    both.database.sql("INSERT INTO products (product_name) VALUES ('end')")
    both.in_step(process)
    assert both.posts() == ["/v1/products/prod_50"] * 2 + ["/v1/products"]
    # Made, changed, made, its id; and what is changed while a key comes by may be written back, in doubt.
    assert both.written() in (4, 5)
    no_letters(both)
    assert process.stop().code == 0


@pytest.mark.parametrize("point", ["commit-begins:2", "commit-in-sink:2", "commit-is-over:2", "commit-in-sink:1", "commit-in-sink:3",
                                   "commit-in-sink:4", "commit-is-over:4", "stripe-asked:1"])
def test_its_id_is_told_wherever_it_is_killed(both, point):
    """The id is in the row's transaction: there is nothing between them that could be lost."""
    process = both.run()
    make_at_stripe(both)
    wait_for(lambda: both.tell("product.created", MADE) == 200, 30, "it is in the log")
    process.kill()
    for _ in range(3):
        both.weir.run("run", both.folder, "--until", "now", code=None, WEIR_CRASH_POINT=point, **both.names())
    for _ in range(3):
        both.drain()
    assert metadata(both) == {"id": str(both.rows()[0][0])}
    assert len(both.rows()) == 1 and both.rows() == both.products()
    both.database.sql("DELETE FROM products")
    both.drain()
    assert both.stripe.all("products") == []
    asked = {(asked.method, asked.path, asked.key) for asked in both.stripe.posts()}  # again by its key, at the most
    assert sorted(each[:2] for each in asked) == [("DELETE", "/v1/products/prod_50"), ("POST", "/v1/products/prod_50")]
    no_letters(both)


# ---------------------------------------------------------------------------------------------
# Databases
# ---------------------------------------------------------------------------------------------


def two(weir, make_database, folder, of_left, of_right, of_id):
    left, right = make_database(), make_database()
    for made, columns in ((left, of_left), (right, of_right)):
        made.sql(f"CREATE TABLE things ({columns}, name text)")
        made.sql("ALTER TABLE things REPLICA IDENTITY FULL")
    fields, text = {"id": "id", "code": "code", "name": "name"}, {"type": ["string", "null"]}
    return left, right, Hub(weir, folder, {"id": {"type": of_id}, "code": text, "name": text}, {
        "left": database(left, "public.things", fields, ["id", "code"]),
        "right": database(right, "public.things", fields, ["id", "code"])})


@pytest.mark.parametrize("of_id, default, property_types, wanted", [
    ("bigint", "GENERATED ALWAYS AS IDENTITY", ["integer", "null"], "1"),
    ("int", "DEFAULT 7", ["string", "null"], "7"),
    ("numeric(9,3)", "DEFAULT 1.5", ["number", "null"], "1.500"),
    ("date", "DEFAULT '2026-01-02'", ["string", "null"], "2026-01-02"),
    ("timestamptz", "DEFAULT '2026-01-02 03:04:05+00'", ["string", "null"], "2026-01-02 03:04:05+00"),
    ("char(5)", "DEFAULT 'a''\"'", ["string", "null"], "a'\"  "),
    ("inet", "DEFAULT '10.0.0.1'", ["string", "null"], "10.0.0.1"),
    ("oid", "DEFAULT 4294967295", ["string", "integer", "null"], "4294967295"),
    ("boolean", "DEFAULT true", ["boolean", "null"], "true"),
    ("uuid", "DEFAULT '6e3b0c7e-0000-4000-8000-000000000001'", ["string", "null"], "6e3b0c7e-0000-4000-8000-000000000001"),
    ("int[]", "DEFAULT '{1,2}'", ["string", "null"], "{1,2}"),
    ("bytea", "DEFAULT '\\x00ff'", ["string", "null"], "\\x00ff"),
])
def test_keys_of_any_type(weir, make_database, tmp_path, of_id, default, property_types, wanted):
    """What is told when a row is made is what the database says of such a row otherwise."""
    left, right, hub = two(weir, make_database, tmp_path / "hub", f"id {of_id} {default} PRIMARY KEY, code text UNIQUE",
                           "id text UNIQUE, code text PRIMARY KEY", property_types)
    right.sql("INSERT INTO things (code) VALUES ('c')")
    hub.drain()
    hub.drain()
    assert right.sql("SELECT id, code FROM things") == [(wanted, "c")]
    left.sql("DELETE FROM things")
    hub.drain()
    assert right.sql("SELECT id, code FROM things") == []
    left.sql("INSERT INTO things (code) VALUES ('d')")
    hub.drain()
    assert right.sql("SELECT id, code FROM things") == [("2" if "IDENTITY" in default else wanted, "d")]


def test_a_trigger_gives_the_key(weir, make_database, tmp_path):
    """And it is told once, also where rows are made that have it already, or get none."""
    left, right, hub = two(weir, make_database, tmp_path / "hub", "id text UNIQUE, code text PRIMARY KEY",
                           "id text UNIQUE, code text PRIMARY KEY", ["string", "null"])
    left.sql("CREATE FUNCTION public.give() RETURNS trigger LANGUAGE plpgsql AS "
             "'BEGIN IF NEW.id IS NULL AND NEW.code <> ''none'' THEN NEW.id := ''given '' || NEW.code; END IF; RETURN NEW; END'")
    left.sql("CREATE TRIGGER give BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION public.give()")
    left.sql("ALTER TABLE things ENABLE ALWAYS TRIGGER give")
    written = count_writes(left, "things"), count_writes(right, "things")
    right.sql("INSERT INTO things VALUES (NULL, 'a', 'x'), ('own', 'b', 'x'), (NULL, 'none', 'x')")
    for _ in range(3):
        hub.drain()
    assert left.sql("SELECT id, code FROM things ORDER BY code") == [("given a", "a"), ("own", "b"), (None, "none")]
    assert right.sql("SELECT id, code FROM things ORDER BY code") == [("given a", "a"), ("own", "b"), (None, "none")]
    # Three rows were made in each; one of the second has heard of a key.
    assert [count() for count in written] == [3, 4]


def test_a_key_that_is_not_known_yet_is_not_taken_away(weir, make_database, tmp_path):
    """A row that is changed before it has heard of its id says that it has none."""
    left, right, hub = two(weir, make_database, tmp_path / "hub", "id serial PRIMARY KEY, code text UNIQUE",
                           "id int UNIQUE, code text PRIMARY KEY", ["integer", "null"])
    right.sql("INSERT INTO things (code) VALUES ('a')")
    hub.drain()
    right.sql("UPDATE things SET name = 'changed'")
    hub.drain()
    hub.drain()
    assert left.sql("SELECT * FROM things") == right.sql("SELECT * FROM things") == [(1, "a", "changed")]
    assert hub.weir.run("dead", "list").out.count("hub.") == 0


def test_a_row_that_is_gone_when_its_id_is_told(weir, make_database, tmp_path):
    """It does not come back."""
    left, right, hub = two(weir, make_database, tmp_path / "hub", "id serial PRIMARY KEY, code text UNIQUE",
                           "id int UNIQUE, code text PRIMARY KEY", ["integer", "null"])
    right.sql("INSERT INTO things (code) VALUES ('a'), ('b')")
    hub.drain()
    right.sql("DELETE FROM things WHERE code = 'a'")
    left.sql("DELETE FROM things WHERE code = 'b'")
    for _ in range(3):
        hub.drain()
    assert left.sql("SELECT code FROM things") == [] == right.sql("SELECT code FROM things")
    assert hub.weir.run("dead", "list").out.count("hub.") == 0
