"""A hub with Stripe: what is done once, whatever Stripe answers, and wherever the hub is killed."""
import contextlib
import email.utils
import sqlite3
import time

import pytest

from harness.stripe import Refused
from harness.wait import wait_for

from test_hub_stripe_push import SYSTEMS, shop, stripe  # noqa: F401

SLOW = SYSTEMS.replace("api_key: ${API_KEY}", "api_key: ${API_KEY}\n  rate_limit: 1\n  rate_bucket_size: 1")


def remember(shop, are, status):
    """Stripe has kept that of the first request for each object that @are, and nothing was done."""
    def look(asked):
        name = asked.form.get("name")
        if asked.method == "POST" and are(asked) and name not in look.seen:
            look.seen.add(name)
            shop.stripe.remembered[asked.key] = (asked.method, asked.path, asked.body), status, {"error": {"message": "kept", "type": "api_error"}}
    look.seen = set()
    shop.stripe.on_ask = look


def posts(shop):
    return [(asked.path, asked.form.get("name"), asked.status) for asked in shop.stripe.posts()]


# ------------------------------------------------------------------------- a run that takes longer than things are remembered

# Of one transaction, or of many.
TOGETHER = ["DO $$BEGIN INSERT INTO products (product_name) VALUES ('a'), ('x'), ('x'), ('x'), ('x'); "
            "UPDATE products SET product_name = 'b' WHERE id = 1; INSERT INTO products (product_name) VALUES ('x'), ('y'), ('x'), ('x'); END$$"]
APART = [*(f"INSERT INTO products (product_name) VALUES ('{name}')" for name in "axxxx"),
         "UPDATE products SET product_name = 'b' WHERE id = 1",
         *(f"INSERT INTO products (product_name) VALUES ('{name}')" for name in "xyxx")]


@pytest.mark.parametrize("statements", [TOGETHER, APART], ids=["together", "apart"])
def test_what_a_run_has_done_is_known_until_it_is_committed(shop, statements):
    """A product is made and changed in a run that takes longer than what was said is remembered, and is killed: nothing is undone."""
    (shop.folder / "weir.yml").write_text("hub: { keep_duplicates_for: 4s }\n")
    shop.write(SLOW)
    for statement in statements:
        shop.database.sql(statement)
    process = shop.start()
    wait_for(lambda: any(asked.form.get("name") == "y" for asked in shop.stripe.asked), 60, "y")
    process.kill()
    shop.write(SYSTEMS)
    shop.drain()
    shop.check()
    assert [name for _, name, _ in posts(shop) if name in ("a", "b")] == ["a", "b"]


def test_what_a_run_has_done_is_known_when_it_begins_again(shop):
    """The same without a kill: Stripe is down for a moment in the midst of it."""
    (shop.folder / "weir.yml").write_text("hub: { keep_duplicates_for: 4s }\n")
    shop.write(SLOW)
    shop.database.sql(TOGETHER[0])
    failed = []

    def look(asked):
        if asked.form.get("name") == "y" and not failed:
            failed.append(asked)
            shop.stripe.fail(503, times=4)
    shop.stripe.on_ask = look
    process = shop.start()
    shop.in_step(process)
    assert failed and process.stop().code == 0
    assert [name for _, name, _ in posts(shop) if name in ("a", "b")] == ["a", "b"]


@pytest.mark.parametrize("commit", range(1, 5))
def test_what_a_run_has_done_is_known_until_its_position_is_stored(shop, commit):
    """Killed between the commit and that, or where another pipeline commits, it comes again, and nothing but the last is asked for twice."""
    for statement in APART[:6]:
        shop.database.sql(statement)
    shop.weir.run("run", shop.folder, "--until", "now", code=None, WEIR_CRASH_POINT=f"commit-in-sink:{commit}", **shop.names())
    shop.drain()
    shop.check()
    assert len(posts(shop)) <= 7


# -------------------------------------------------------------------------------------- what Stripe keeps by a request's key

def test_a_500_that_is_kept(shop):
    """By the first key there is nothing else to be had, so another one is taken: those behind it do not wait."""
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a'), ('b'), ('c')")
    remember(shop, lambda asked: asked.form.get("name") in ("a", "c"), 500)
    shop.drain()
    shop.check()
    assert [name for _, _, name in shop.products()] == ["a", "b", "c"]
    assert [status for _, name, status in posts(shop) if name == "a"] == [500, 200]


def test_a_500_that_is_kept_and_was_done(shop):
    """It has made the object. That is found by what it says of the row, and is made no second time."""
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a'), ('a')")
    shop.stripe.fail(500, is_done=True)
    shop.drain()
    shop.check()
    assert shop.rows() == [(1, "prod_1", "a"), (2, "prod_2", "a")]
    assert [status for _, _, status in posts(shop)] == [500, 500, 200]
    shop.database.sql("UPDATE products SET product_name = 'b' WHERE id = 1")
    shop.database.sql("DELETE FROM products WHERE id = 2")
    shop.drain()
    assert shop.products() == [(1, "prod_1", "b")]


def test_a_500_of_an_update_that_is_kept(shop):
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a')")
    shop.drain()
    shop.database.sql("UPDATE products SET product_name = 'b'")
    shop.stripe.fail(500)
    shop.drain()
    shop.check()
    assert posts(shop)[1:] == [("/v1/products/prod_1", "b", 500), ("/v1/products/prod_1", "b", 500), ("/v1/products/prod_1", "b", 200)]


def test_stripe_says_that_a_500_stays(shop):
    """Stripe-Should-Retry: false: it is not asked by that key again."""
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a')")
    shop.stripe.fail(500, is_done=True, Stripe_Should_Retry="false")
    shop.drain()
    shop.check()
    assert posts(shop) == [("/v1/products", "a", 500)]


def test_500s_one_after_the_other(shop):
    """Each new key has one, too, until none is left."""
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a'), ('b')")
    left = [False, True, False]

    def look(asked):
        if asked.method == "POST" and asked.key not in shop.stripe.remembered and left:
            shop.stripe.fail(500, is_done=left.pop(0))
    shop.stripe.on_ask = look
    shop.drain()
    shop.check()
    assert len(shop.products()) == 2 and not left


def test_what_was_made_is_found_behind_many_others(shop):
    """They are newer, and older ones that say the same are not it."""
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a')")

    def look(asked):
        if asked.method == "GET" and not look.seen:
            for number in range(250):
                identity = f"prod_x{number}"
                shop.stripe.objects.of["products"][identity] = {"id": identity, "created": int(time.time()), "name": "a", "metadata": {"id": f"1{number}"}}
            look.seen = True
    look.seen = False
    shop.stripe.on_ask = look
    shop.stripe.objects.of["products"]["prod_old"] = {"id": "prod_old", "created": int(time.time()) - 86400, "name": "a", "metadata": {"id": "1"}}
    shop.stripe.fail(500, is_done=True)
    shop.drain()
    assert shop.rows() == [(1, "prod_1", "a")]
    assert [asked.path for asked in shop.stripe.asked if asked.method == "GET"] == \
        ["/v1/products?limit=100", "/v1/products?limit=100&starting_after=prod_x150", "/v1/products?limit=100&starting_after=prod_x50"]


def test_what_is_older_is_something_else(shop):
    """A product that has the same key, of which nobody knows any more: Stripe does not delete products that have prices."""
    shop.stripe.objects.of["products"]["prod_old"] = {"id": "prod_old", "created": int(time.time()) - 86400, "name": "a", "metadata": {"id": "1"}}
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a')")
    shop.stripe.fail(500)
    shop.drain()
    assert shop.rows() == [(1, "prod_1", "a")]


def test_without_a_key_all_that_was_said_counts(shop):
    """What another row has is another one, though it says the same."""
    shop.write(SYSTEMS.replace("        id: { field: 'metadata[id]' }\n", ""))
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a')")
    shop.drain()
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a'), ('b')")
    shop.stripe.fail(500)
    shop.drain()
    assert [row[1:] for row in shop.rows()] == [("prod_1", "a"), ("prod_2", "a"), ("prod_3", "b")]
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a')")
    shop.stripe.fail(500, is_done=True)
    shop.drain()
    assert shop.rows()[3][1:] == ("prod_4", "a") and len(shop.stripe.all("products")) == 4


def test_what_cannot_be_listed_is_set_aside(shop):
    """Nobody can tell whether it was made."""
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a'), ('b')")

    def look(asked):
        if asked.method == "GET":
            shop.stripe.fail(404)
    shop.stripe.on_ask = look
    shop.stripe.fail(500)
    ended = shop.drain()
    assert "is set aside" in ended.err and "it is not known what POST /v1/products" in ended.err, ended
    assert [row[1:] for row in shop.rows()] == [(None, "a"), ("prod_1", "b")]


@pytest.mark.parametrize("kept", [400, 500])
def test_the_next_key_survives_a_kill(shop, kept):
    """What is asked for by another key is asked for by that key again."""
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a')")
    remember(shop, lambda asked: True, kept)
    ended = shop.weir.run("run", shop.folder, "--until", "now", code=-9, WEIR_CRASH_POINT="stripe-asked:1", **shop.names())
    assert len(shop.products()) == 1, ended
    shop.drain()
    shop.check()
    assert len(shop.products()) == 1
    assert len({asked.key for asked in shop.stripe.posts()}) == 2


@pytest.mark.parametrize("is_done", [True, False])
def test_a_key_that_stripe_has_forgotten(shop, is_done):
    """The answer was not heard of for longer than Stripe keeps keys."""
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a')")
    shop.weir.run("run", shop.folder, "--until", "now", code=-9, WEIR_CRASH_POINT="stripe-asked:1", **shop.names())
    assert len(shop.products()) == 1
    shop.stripe.remembered.clear()
    if not is_done:
        shop.stripe.objects.of["products"].clear()
    [memory] = shop.folder.parent.glob("state/**/hub.memory.db")
    with contextlib.closing(sqlite3.connect(memory)) as db, db:
        [(number, value)] = db.execute("SELECT id, value FROM fact WHERE CAST(substr(what, 1, 1) AS TEXT) = 'a'").fetchall()
        first, salt = value.decode().split()
        db.execute("UPDATE fact SET value = ? WHERE id = ?", (f"{int(first) - 25 * 3600 * 10**6} {salt}".encode(), number))
    shop.drain()
    shop.check()
    assert len(shop.products()) == 1
    assert [asked.method for asked in shop.stripe.asked] == ["POST", "GET", *([] if is_done else ["POST"])]


# --------------------------------------------------------------------------------------------------------------- the rest

def test_a_date_is_waited_for(shop):
    """Retry-After may be a date: seconds, so it is waited for two at least."""
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a')")
    until = time.time() + 4
    shop.stripe.fail(429, Retry_After=email.utils.formatdate(until, usegmt=True))
    shop.drain()
    shop.check()
    first, second = shop.stripe.asked
    assert 2.5 < second.at - first.at < 8


def test_an_id_that_the_model_cannot_have_stops_it(shop):
    """It was made: set aside, it would be made again by the next change."""
    model = (shop.folder / "models/product.json").read_text()
    (shop.folder / "models/product.json").write_text(model.replace('"stripe_id": {"type": ["string", "null"]}', '"stripe_id": {"type": ["integer", "null"]}'))
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a')")
    for _ in range(2):
        ended = shop.drain(code=2)
        assert "what Stripe has made cannot be told" in ended.err, ended
    assert len(shop.stripe.all("products")) == 1
    (shop.folder / "models/product.json").write_text(model)
    shop.drain()
    shop.check()
    assert len(shop.stripe.all("products")) == 1


def test_a_delete_of_an_account_that_is_gone(shop):
    """Of accounts Stripe does not say 404, but what it says of somebody else's; that it was deleted, nobody may have heard of."""
    shop.database.sql("INSERT INTO products (product_name) VALUES ('a'), ('b')")
    shop.drain()
    known = shop.stripe.objects.ask

    def ask(method, path, body):
        if method == "DELETE" and path == "/v1/products/prod_1":
            raise Refused(403, "The provided key does not have access to account 'prod_1' (or that account does not exist).", code="account_invalid")
        return known(method, path, body)
    shop.stripe.objects.ask = ask
    shop.database.sql("DELETE FROM products")
    shop.drain()
    assert [product["id"] for product in shop.stripe.all("products")] == ["prod_1"]
    assert shop.weir.run("dead", "list").out == "no dead letters\n"
