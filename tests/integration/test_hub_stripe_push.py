"""A hub with Stripe: what is pushed to it, and the ids that it gives."""
import json
import random
import time

import pytest

from harness.stripe import Stripe
from harness.wait import wait_for

MODEL = {
    "title": "product",
    "type": "object",
    "properties": {
        "id": {"type": ["number", "null", "string"]},
        "stripe_id": {"type": ["string", "null"]},
        "name": {"type": "string"},
        "price": {"type": ["number", "null"]},
    },
}

SYSTEMS = """
payment-gateway:
  type: stripe
  api_key: ${API_KEY}
  api_base: ${API_BASE}
  push_mixer:
    product:
      products:
        id: { field: 'metadata[id]' }
        stripe_id: { field: id, search_key: true }
        name: { field: name }
prod-db:
  type: postgresql
  dsn: ${PROD_DB}
  receive_mixer:
    public.products:
      product:
        id: { field: id }
        stripe_id: { field: stripe_id }
        product_name: { field: name }
        price: { field: price }
  push_mixer:
    product:
      public.products:
        id: { field: id, search_key: true }
        stripe_id: { field: stripe_id, search_key: true }
        name: { field: product_name }
        price: { field: price }
"""

TABLE = "CREATE TABLE products (id bigserial PRIMARY KEY, stripe_id text UNIQUE, product_name text NOT NULL, price int)"


class Shop:
    """A database and a Stripe account."""

    def __init__(self, weir, database, stripe, folder):
        self.weir, self.database, self.stripe, self.folder = weir, database, stripe, folder
        (folder / "models").mkdir(parents=True)
        (folder / "systems").mkdir()
        (folder / "models/product.json").write_text(json.dumps(MODEL))
        self.write(SYSTEMS)
        self.key = Stripe.KEY
        database.sql(TABLE)

    def write(self, systems):
        (self.folder / "systems/all.yml").write_text(systems)

    def names(self):
        return {"PROD_DB": self.database.url, "API_BASE": self.stripe.url, "API_KEY": self.key}

    def drain(self, *words, code=0):
        return self.weir.run("run", self.folder, "--until", "now", *words, code=code, **self.names())

    def start(self, **more):
        return self.weir.start("run", self.folder, **self.names(), **more)

    def rows(self):
        return self.database.sql("SELECT id, stripe_id, product_name FROM products ORDER BY id")

    def products(self):
        """What Stripe has, as rows() has it."""
        return sorted((int(p["metadata"]["id"]), p["id"], p["name"]) for p in self.stripe.all("products"))

    def are_equal(self):
        return self.rows() == self.products()

    def check(self):
        assert self.rows() == self.products()

    def in_step(self, process, seconds=60):
        wait_for(self.are_equal, seconds, lambda: f"in step: only here {self.rows_not_in(self.products())}, "
                 f"only there {self.products_not_in(self.rows())}\n{process.logs()[-3000:]}")

    def rows_not_in(self, others):
        return [row for row in self.rows() if row not in others]

    def products_not_in(self, others):
        return [row for row in self.products() if row not in others]


@pytest.fixture
def stripe():
    made = Stripe()
    yield made
    made.close()


@pytest.fixture
def shop(weir, make_database, stripe, tmp_path):
    made = Shop(weir, make_database(), stripe, tmp_path / "hub")
    made.drain()  # from here on
    return made


def test_a_row_is_made_and_its_id_comes_back(shop):
    shop.database.sql("INSERT INTO products (product_name, price) VALUES ('Mug & Co. ä', 5)")
    shop.drain()
    assert shop.rows() == [(1, "prod_1", "Mug & Co. ä")]
    shop.check()
    [asked] = shop.stripe.asked
    assert (asked.method, asked.path) == ("POST", "/v1/products")
    assert asked.form == {"metadata": {"id": "1"}, "name": "Mug & Co. ä"}
    assert asked.headers["Stripe-Version"] and asked.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert asked.key.startswith("weir-")
    for _ in range(3):
        shop.drain()
    assert len(shop.stripe.asked) == 1  # no echo
    assert shop.database.one("SELECT price FROM products") == 5


def test_updates_and_deletes(shop):
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a'), ('b'), ('c')")
    shop.drain()
    shop.database.sql("UPDATE products SET product_name = 'new' WHERE id = 1")
    shop.database.sql("DELETE FROM products WHERE id = 2")
    ended = shop.drain()
    shop.check()
    assert len(shop.rows()) == 2, ended
    assert [(a.method, a.path) for a in shop.stripe.asked[3:]] == \
        [("POST", "/v1/products/prod_1"), ("DELETE", "/v1/products/prod_2")]


def test_who_does_not_know_the_id_yet_makes_no_second_one(shop):
    """The row is changed before its id has come back."""
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a')")
    shop.database.sql("UPDATE products SET product_name = 'b'")
    shop.database.sql("UPDATE products SET product_name = 'c'")
    shop.drain()
    shop.check()
    assert [a.path for a in shop.stripe.asked] == ["/v1/products", "/v1/products/prod_1", "/v1/products/prod_1"]
    assert shop.rows() == [(1, "prod_1", "c")]


def test_asked_again_when_stripe_wants_it(shop):
    """A 429 is waited out for as long as it says, and what is asked again is done once."""
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a')")
    shop.stripe.fail(429, Retry_After="2")
    shop.stripe.fail(502, is_done=True)  # it was done, and nobody heard of it
    shop.drain()
    shop.check()
    first, second, third = shop.stripe.asked
    assert second.at - first.at >= 2
    assert first.key == second.key == third.key
    assert len(shop.products()) == 1


def test_a_system_that_is_down_is_waited_for(shop):
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a')")
    shop.stripe.fail(503, times=6)
    process = shop.start()
    shop.in_step(process)
    assert process.stop().code == 0
    assert len({a.key for a in shop.stripe.asked}) == 1


def test_a_delete_is_asked_again_as_often_as_it_takes(shop):
    """Its id is known until it is gone, though the row that is deleted does not say it; and no longer."""
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a')")
    shop.drain()
    shop.database.sql("DELETE FROM products")
    shop.stripe.fail(503, times=5)  # more than in one go
    shop.drain()
    assert shop.products() == [] and shop.weir.run("dead", "list").out == "no dead letters\n"
    shop.database.sql("INSERT INTO products (id, product_name) VALUES (1, 'another')")
    shop.drain()
    assert shop.products() == [(1, "prod_2", "another")]
    shop.check()


SECOND = """      customers:
        id: { field: 'metadata[id]' }
        customer_id: { field: id, search_key: true }
        name: { field: name }
prod-db:"""


@pytest.mark.parametrize("last", ["is refused", "is killed"])
def test_a_delete_of_several_locations_knows_all_ids_until_the_last_is_gone(shop, last):
    """A thing is two objects in Stripe. One is deleted, the other is not yet: what comes again finds both by their ids, which the row does not say."""
    model = json.loads(json.dumps(MODEL))
    model["properties"]["customer_id"] = {"type": ["string", "null"]}
    (shop.folder / "models/product.json").write_text(json.dumps(model))
    shop.write(SYSTEMS.replace("prod-db:", SECOND)
               .replace("        stripe_id: { field: stripe_id }\n", "        stripe_id: { field: stripe_id }\n        customer_id: { field: customer_id }\n")
               .replace("        stripe_id: { field: stripe_id, search_key: true }\n",
                        "        stripe_id: { field: stripe_id, search_key: true }\n        customer_id: { field: customer_id, search_key: true }\n"))
    shop.database.sql("ALTER TABLE products ADD customer_id text UNIQUE")
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a'), ('b')")
    shop.drain()
    [customer, other] = [row[0] for row in shop.database.sql("SELECT customer_id FROM products ORDER BY id")]
    assert {thing["id"] for thing in shop.stripe.all("customers")} == {customer, other}
    before = len(shop.stripe.asked)
    shop.database.sql("DELETE FROM products WHERE id = 1")
    if last == "is refused":
        left = [503] * 5  # more than in one go

        def refuse(asked):
            if asked.path == f"/v1/customers/{customer}" and left:
                shop.stripe.fail(left.pop())
        shop.stripe.on_ask = refuse
    else:
        ended = shop.weir.run("run", shop.folder, "--until", "now", code=-9, WEIR_CRASH_POINT="stripe-asked:1", **shop.names())
        assert len(shop.stripe.asked) == before + 1, ended
    shop.drain()
    assert [a.path for a in shop.stripe.asked[before:] if a.status in (200, 404)] == \
        ["/v1/products/prod_1", "/v1/products/prod_1", f"/v1/customers/{customer}"], shop.stripe.asked[before:]
    assert [thing["id"] for thing in shop.stripe.all("customers")] == [other]
    assert shop.weir.run("dead", "list").out == "no dead letters\n"
    # And no longer: another row of that key is another thing.
    shop.database.sql("INSERT INTO products (id, product_name) VALUES (1, 'another')")
    shop.drain()
    shop.check()
    assert shop.database.one("SELECT customer_id FROM products WHERE id = 1") not in (None, customer)
    assert len(shop.stripe.all("customers")) == 2


def test_what_stripe_refuses_is_set_aside(shop):
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a'), (''), ('c')")
    ended = shop.drain()
    assert "is set aside" in ended.err and "Missing required param: name." in ended.err, ended
    assert [row[1:] for row in shop.rows()] == [("prod_1", "a"), (None, ""), ("prod_2", "c")]
    assert [a.form.get("name") for a in shop.stripe.asked] == ["a", "", "c"]  # each once
    assert "hub.to.payment-gateway" in shop.weir.run("dead", "list").out
    shop.database.sql("UPDATE products SET product_name = 'b' WHERE product_name = ''")
    shop.drain()
    shop.check()
    assert shop.weir.run("dead", "list").out == "no dead letters\n"


def test_an_object_that_is_gone(shop):
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a'), ('b')")
    shop.drain()
    shop.stripe.objects.of["products"].clear()
    shop.database.sql("DELETE FROM products WHERE id = 1")
    shop.database.sql("UPDATE products SET product_name = 'x' WHERE id = 2")
    ended = shop.drain()
    assert "POST /v1/products/prod_2: the answer is 404: No such product: 'prod_2'" in ended.err, ended


def test_a_wrong_key_stops_it(shop):
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a')")
    shop.key = "sk_test_wrong"
    ended = shop.drain(code=2)
    assert "Stripe does not know the system's api_key" in ended.err, ended
    assert "sk_test_wrong" not in ended.text
    shop.key = Stripe.KEY
    shop.drain()
    shop.check()


def test_its_rate_limit(shop):
    shop.write(SYSTEMS.replace("api_key: ${API_KEY}", "api_key: ${API_KEY}\n  rate_limit: 20\n  rate_bucket_size: 5"))
    shop.database.sql("INSERT INTO products (product_name) SELECT 'p' || g FROM generate_series(1, 25) g")
    shop.drain()
    shop.check()
    times = [a.at for a in shop.stripe.asked]
    assert len(times) == 25
    for first, last in zip(times, times[6:]):
        assert last - first > 0.04  # no seven at once
    assert times[-1] - times[0] >= 0.9


@pytest.mark.parametrize("place", ["stripe-asked", "stripe-id-kept", "stripe-id-telling", "stripe-id-told"])
def test_ids_come_back_when_it_is_killed(shop, place):
    """What was not remembered yet is the same request by the same key."""
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a'), ('b')")
    ended = shop.weir.run("run", shop.folder, "--until", "now", code=-9, WEIR_CRASH_POINT=f"{place}:2", **shop.names())
    assert len(shop.products()) == 2, ended
    shop.drain()
    shop.check()
    keys = [a.key for a in shop.stripe.asked]
    assert len(shop.products()) == 2 and len(set(keys)) == 2
    assert place == "stripe-asked" or len(keys) == 2  # what is known to be made is not asked for again, and not changed


def test_an_id_that_was_not_told_is_told_behind_what_others_said(shop):
    """It is remembered as told, and killed before it is: meanwhile somebody else has the place in the log that it was to have."""
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a')")
    shop.weir.run("run", shop.folder, "--until", "now", code=-9, WEIR_CRASH_POINT="stripe-id-telling:1", **shop.names())
    shop.database.sql("INSERT INTO products (product_name) VALUES ('b')")
    shop.write(SYSTEMS[SYSTEMS.index("prod-db:"):])
    shop.drain()
    shop.write(SYSTEMS)
    shop.drain()
    shop.check()
    assert len(shop.products()) == 2


@pytest.mark.kill
def test_kills_in_between(shop, seed):
    random.seed(seed)
    rows = 0
    for _ in range(8):
        process = shop.start()
        until = time.monotonic() + random.uniform(0.3, 1.5)
        while time.monotonic() < until:
            rows += 1
            shop.database.sql(f"INSERT INTO products (product_name) VALUES ('p{rows}')")
            shop.database.sql(f"UPDATE products SET product_name = product_name || '+' WHERE id = {random.randint(1, rows)}")
            if random.random() < 0.2:
                shop.database.sql(f"DELETE FROM products WHERE id = {random.randint(1, rows)} AND stripe_id IS NOT NULL")
            if random.random() < 0.1 and not shop.stripe.faults:
                shop.stripe.fail(random.choice([429, 500, 503]), is_done=random.random() < 0.5)
            time.sleep(0.01)
        process.kill()
    process = shop.start()
    shop.in_step(process)
    assert process.stop().code == 0
    assert len({p["metadata"]["id"] for p in shop.stripe.all("products")}) == len(shop.rows())
