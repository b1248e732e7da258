"""The example of docs/hub.md as a whole: a database and Stripe, which tells of everything that it was asked for."""
import itertools
import time

import pytest

from harness.stripe import Stripe
from harness.stripe_api import SECRET, post
from harness.wait import wait_for

from test_hub_stripe_push import SYSTEMS, Shop
from test_metrics import free_port

RECEIVED = f"""  endpoint_secret: {SECRET}
  receive_mixer:
    product:
      product:
        id: {{ field: stripe_id }}
        name: {{ field: name }}
        metadata.id: {{ field: id }}
    price:
      product:
        product: {{ field: stripe_id }}
        unit_amount: {{ field: price }}
  push_mixer:
    product:
      products:
"""


class Both(Shop):
    """It also tells what it has heard."""

    def __init__(self, *words):
        super().__init__(*words)
        self.port = free_port()
        self.ids = itertools.count(1)
        self.write(SYSTEMS.replace("  push_mixer:\n    product:\n      products:\n", RECEIVED, 1))

    def run(self):
        process = self.start("--listen", f"127.0.0.1:{self.port}")
        wait_for(lambda: self.tell("customer.created", {"object": "customer", "id": "cus_1"}) == 200, 60, "it listens")
        # After a kill, what the database says before it is pushed to may be written back once: nobody knows whether it was pushed over.
        wait_for(lambda: process.logs().count("streaming") == 4, 60, "all four pipelines")
        return process

    def start(self, *words):
        return self.weir.start("run", self.folder, *words, **self.names())

    def event(self, kind, thing):
        return {"id": f"evt_{next(self.ids)}", "object": "event", "type": kind, "livemode": False,
                "created": int(time.time()), "data": {"object": thing}}

    def tell(self, kind, thing):
        return post(f"http://127.0.0.1:{self.port}/payment-gateway", self.event(kind, thing))[0]

    def tell_all(self):
        for product in self.stripe.all("products"):
            assert self.tell("product.updated", product) == 200

    def written(self):
        return self.database.one("SELECT count(*) FROM written")

    def posts(self):
        return [asked.path for asked in self.stripe.posts()]


@pytest.fixture
def both(weir, make_database, tmp_path):
    stripe = Stripe()
    made = Both(weir, make_database(), stripe, tmp_path / "hub")
    made.database.sql("CREATE TABLE written (n int)")
    made.database.sql("CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.written VALUES (1); "
                      "RETURN NULL; END'")
    made.database.sql("CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON products FOR EACH ROW EXECUTE FUNCTION note()")
    made.database.sql("ALTER TABLE products ENABLE ALWAYS TRIGGER note")
    made.drain()  # from here on
    yield made
    stripe.close()


def test_the_example(both):
    process = both.run()
    both.database.sql("INSERT INTO products (product_name) VALUES ('Mug')")
    both.in_step(process)
    assert both.posts() == ["/v1/products"]
    assert both.written() == 2  # it was inserted, and its id came back
    # Stripe tells of the product that it was given: nothing is written, nothing is asked.
    both.tell_all()
    assert both.tell("price.created", {"object": "price", "id": "price_1", "product": "prod_1", "unit_amount": 500}) == 200
    wait_for(lambda: both.database.one("SELECT price FROM products") == 500, 30, "a price")
    assert both.written() == 3
    assert both.posts() == ["/v1/products"]
    # Somebody changes its name there, and then here, and Stripe tells of that.
    both.stripe.objects.of["products"]["prod_1"]["name"] = "Cup"
    both.tell_all()
    both.in_step(process)
    both.database.sql("UPDATE products SET product_name = 'Glass'")
    both.in_step(process)
    both.tell_all()
    assert both.tell("price.updated", {"object": "price", "id": "price_1", "product": "prod_1", "unit_amount": 600}) == 200
    wait_for(lambda: both.database.one("SELECT price FROM products") == 600, 30, "a price")
    both.check()
    assert both.written() == 6
    assert both.posts() == ["/v1/products", "/v1/products/prod_1"]
    assert process.stop().code == 0


def test_echoes_are_known_after_a_kill(both):
    process = both.run()
    both.database.sql("INSERT INTO products (product_name) VALUES ('a'), ('b')")
    both.in_step(process)
    process.kill()
    process = both.run()
    # What is changed before it knows where the database stands may be pushed back in doubt: a write more.
    process.expect("streaming pipeline=hub.to.prod-db")
    both.tell_all()
    both.database.sql("INSERT INTO products (product_name) VALUES ('c')")
    both.in_step(process)
    assert both.written() == 6
    assert both.posts() == ["/v1/products"] * 3
    assert process.stop().code == 0


def test_deletes_have_no_echo(both):
    process = both.run()
    both.database.sql("INSERT INTO products (product_name) VALUES ('a'), ('b')")
    both.in_step(process)
    both.database.sql("DELETE FROM products WHERE id = 1")
    both.in_step(process)
    assert both.tell("product.deleted", {"object": "product", "id": "prod_1", "metadata": {"id": "1"}, "name": "a"}) == 200
    assert both.stripe.objects.of["products"].pop("prod_2")
    assert both.tell("product.deleted", {"object": "product", "id": "prod_2", "metadata": {"id": "2"}, "name": "b"}) == 200
    both.in_step(process)
    assert both.rows() == []
    assert both.posts() == ["/v1/products"] * 2 + ["/v1/products/prod_1"]
    assert process.stop().code == 0


def test_a_change_that_is_later_in_the_log_wins(both):
    """Also where an older one was pushed over it in between."""
    process = both.run()
    both.database.sql("INSERT INTO products (product_name) VALUES ('a')")
    both.in_step(process)
    both.stripe.fail(503, times=3)
    both.database.sql("UPDATE products SET product_name = 'here'")
    wait_for(lambda: len(both.stripe.faults) < 3, 30, "it is asked for")
    both.stripe.objects.of["products"]["prod_1"]["name"] = "there"
    both.tell_all()
    wait_for(lambda: len(both.posts()) >= 5, 30, "what was pushed over is pushed back")
    both.in_step(process)
    assert both.rows() == [(1, "prod_1", "there")]
    assert [asked.form["name"] for asked in both.stripe.posts()] == ["a"] + ["here"] * 4 + ["there"]
    assert process.stop().code == 0


def test_an_echo_that_comes_late(both):
    """Stripe says by which request a change came: an old one is known, also when another one was pushed since."""
    process = both.run()
    both.database.sql("INSERT INTO products (product_name) VALUES ('a')")
    both.in_step(process)
    both.database.sql("UPDATE products SET product_name = 'b'")
    both.in_step(process)
    old = both.event("product.updated", both.stripe.all("products")[0])
    old["request"] = {"id": "req_1", "idempotency_key": both.stripe.posts()[-1].key}
    both.database.sql("UPDATE products SET product_name = 'c'")
    both.in_step(process)
    written, end = both.written(), both.event("product.created", {"object": "product", "id": "prod_9", "name": "end"})
    for event in (old, old, end):
        assert post(f"http://127.0.0.1:{both.port}/payment-gateway", event)[0] == 200
    wait_for(lambda: both.database.one("SELECT count(*) FROM products WHERE stripe_id = 'prod_9'") == 1, 30, "the end")
    assert both.rows()[0] == (1, "prod_1", "c") and both.written() == written + 1
    assert process.stop().code == 0


def test_an_object_that_is_gone_is_made_again(both):
    """Whoever changes it behind its delete does not change what is gone."""
    process = both.run()
    both.database.sql("INSERT INTO products (product_name) VALUES ('a')")
    both.in_step(process)
    both.database.sql("DELETE FROM products")
    both.in_step(process)
    both.database.sql("INSERT INTO products (id, stripe_id, product_name) VALUES (1, 'prod_1', 'again')")
    both.in_step(process)
    assert both.rows() == [(1, "prod_2", "again")]
    assert both.posts() == ["/v1/products", "/v1/products/prod_1", "/v1/products"]
    assert process.stop().code == 0


def test_text_that_looks_like_a_number(both):
    """Another text is another name, though it be the same number, and passes at once."""
    process = both.run()
    both.database.sql("INSERT INTO products (product_name) VALUES ('1.1'), ('1e3')")
    both.in_step(process)
    for product, name in (("prod_1", "1.10"), ("prod_2", "1000")):
        both.stripe.objects.of["products"][product]["name"] = name
    both.tell_all()
    both.in_step(process)
    assert both.rows() == [(1, "prod_1", "1.10"), (2, "prod_2", "1000")]
    written = both.written()
    both.tell_all()  # which is an echo, also of the ids: numbers here, text there
    assert both.tell("product.created", {"object": "product", "id": "prod_9", "name": "end"}) == 200
    wait_for(lambda: both.database.one("SELECT count(*) FROM products WHERE stripe_id = 'prod_9'") == 1, 30, "the end")
    wait_for(lambda: len(both.posts()) >= 3, 30, "the id that the database has given is told")
    assert both.written() == written + 1
    assert both.posts() == ["/v1/products"] * 2 + ["/v1/products/prod_9"]
    assert process.stop().code == 0
