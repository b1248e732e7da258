"""The hub of examples/hub-stripe with Stripe's own CLI and the stateful mock, while everything goes wrong between them and the hub is killed:
at the end both sides are equal. Skipped, by name, where the two are not installed."""
import collections
import os
import random
import threading
import time

import pytest

from harness.stripe_mock import Mock, install_cli, missing_cli, missing_mock
from harness.wait import wait_for

from test_hub_stripe_mock import Example
from test_metrics import free_port

EDITS_A_KILL = 25
ASKED_BY_THE_HUB = ("/v1/products", "/v1/customers", "/v1/accounts", "/v1/events")


class Faulty(Mock):
    """Between the hub and the mock: some requests are refused, some are done and nobody hears of it, and a 500 is kept by its key. Events are told
    late, in another order, and twice."""

    def __init__(self, seed):
        self.dice, self.lock, self.kept, self.faults, self.goes_wrong = random.Random(seed), threading.Lock(), set(), collections.Counter(), True
        super().__init__()

    def fault(self, key):
        with self.lock:
            if key in self.kept:
                return "replayed"
            if not self.goes_wrong or self.dice.random() > 0.3:
                return None
            what = self.dice.choice(["429", "503", "500", "500 done", "hangs up", "hangs up done"])
            if what.startswith("500") and key:
                self.kept.add(key)
            self.faults[what] += 1
            return what

    def answer(self, method, path, body, headers):
        what = self.fault(headers.get("Idempotency-Key")) if path.startswith(ASKED_BY_THE_HUB) else None
        if what is None:
            return super().answer(method, path, body, headers)
        error = {"error": {"type": "api_error", "message": what}}
        if what == "replayed":
            return 500, error, {"Idempotent-Replayed": "true"}
        if what.endswith("done"):
            super().answer(method, path, body, headers)
        if what.startswith("hangs up"):
            return None, None
        return int(what[:3]), error, {"Retry-After": "1"} if what == "429" and self.dice.random() < 0.5 else {}

    def tell(self, event):
        for _ in range(2 if self.dice.random() < 0.2 else 1):
            threading.Timer(self.dice.random() ** 3 * 2, super().tell, (event,)).start()


class Pair(Example):
    """Both sides, and somebody who edits them."""

    def __init__(self, weir, database, mock, folder, seed):
        super().__init__(weir, database, mock, folder, True)
        self.add_systems()
        for file in (self.folder / "systems").iterdir():
            file.write_text(file.read_text().replace("rate_limit: 10\n", "rate_limit: 200\n"))
        self.dice, self.numbers, self.prices = random.Random(seed), iter(range(1, 10**6)), {}
        install_cli(folder / "bin", mock.url)
        self.port, self.path = free_port(), f"{folder / 'bin'}:{os.environ['PATH']}"

    def start(self):
        return self.weir.start("run", self.folder, "--listen", f"127.0.0.1:{self.port}", **self.environment, PATH=self.path)

    def edit(self):
        what, word = self.dice.random(), f"n{next(self.numbers)} & ä"
        if what < 0.2:
            self.database.sql("INSERT INTO products (product_name) VALUES (%s)", word)
        elif what < 0.35:
            self.database.sql("INSERT INTO people (name) VALUES (%s)", word)
        elif what < 0.6:
            self.database.sql("UPDATE people SET name = %s WHERE id = (SELECT id FROM people ORDER BY random() LIMIT 1)", word)
        elif what < 0.7:
            self.database.sql("INSERT INTO shops (email) VALUES (%s)", word.replace(" & ä", "@example.org"))
        elif what < 0.75:
            self.database.sql("DELETE FROM shops WHERE id = (SELECT id FROM shops ORDER BY random() LIMIT 1)")
        else:
            self.change_price()

    def change_price(self):
        """At Stripe; the mock knows of no price. Of one second nobody could tell which was first."""
        there = sorted(product["id"] for product in self.mock.get("/v1/products?limit=1000")["data"])
        product = self.dice.choice(there) if there else None
        before, _ = self.prices.get(product, (0, None))
        if product and before < int(time.time()):
            amount = self.dice.randrange(10**6)
            event = self.mock.happens("price.updated" if before else "price.created",
                                      {"object": "price", "id": f"price_of_{product}", "product": product, "unit_amount": amount})
            self.prices[product] = event["created"], amount

    def here(self):
        return [self.database.sql("SELECT id, stripe_id, product_name, price FROM products ORDER BY id"),
                self.database.sql("SELECT id, stripe_id, name FROM people ORDER BY id"), self.database.sql("SELECT id, stripe_id, email FROM shops ORDER BY id")]

    def there(self):
        def things(kind, field):
            return sorted((int(thing["metadata"]["id"]), thing["id"], thing[field]) for thing in self.mock.get(f"/v1/{kind}?limit=1000")["data"])
        return [[(*product, self.prices.get(product[1], (0, None))[1]) for product in things("products", "name")],
                things("customers", "description"), things("accounts", "email")]

    def are_equal(self):
        return self.here() == self.there()

    def differ(self):
        return [(sorted(set(here) - set(there), key=str), sorted(set(there) - set(here), key=str)) for here, there in zip(self.here(), self.there())]

    def letters(self):
        return self.weir.run("dead", "list").out


@pytest.mark.kill
def test_both_sides_are_equal_at_the_end(weir, make_database, tmp_path, seed):
    """WEIR_SOAK_EDITS says how many edits."""
    missing = missing_mock() or missing_cli()
    if missing:
        pytest.skip(missing)
    edits = int(os.environ.get("WEIR_SOAK_EDITS", "150"))
    mock = Faulty(seed)
    try:
        pair = Pair(weir, make_database(), mock, tmp_path, seed)
        process = pair.start()
        wait_for(lambda: process.logs().count("streaming") >= 6, 60, lambda: process.logs())  # of what happens from here on
        for number in range(1, edits + 1):
            pair.edit()
            time.sleep(pair.dice.random() * 0.1)
            if number % EDITS_A_KILL == 0:
                process.kill()
                process = pair.start()
        mock.goes_wrong = False
        wait_for(pair.are_equal, 90, lambda: f"{pair.differ()}\n{mock.faults}\n{pair.letters()}\n{process.logs()[-3000:]}")
        time.sleep(2.5)  # what is told late
        wait_for(pair.are_equal, 30, lambda: f"{pair.differ()}\n{pair.letters()}")
        assert process.stop().code == 0
        assert pair.letters() == "no dead letters\n"
        assert len(mock.faults) == 6, mock.faults
    finally:
        mock.close()
