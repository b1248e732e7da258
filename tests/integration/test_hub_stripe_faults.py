"""A hub with Stripe: what is done once, whatever Stripe answers, and wherever the hub is killed."""
import pytest

from harness.wait import wait_for

from test_hub_stripe_push import SYSTEMS, shop, stripe  # noqa: F401

SLOW = SYSTEMS.replace("api_key: ${API_KEY}", "api_key: ${API_KEY}\n  rate_limit: 1\n  rate_bucket_size: 1")


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
