"""The hub of examples/hub-stripe as it stands with programs of others: a stateful mock of Stripe's API, and Stripe's own CLI.
Each test is skipped, by name, where what it needs is not installed."""
import json
import os
import pathlib
import shutil

import pytest

from harness.postgres import ROOT
from harness.stripe_mock import Mock, install_cli, missing_cli, missing_mock
from harness.wait import wait_for

from test_metrics import free_port

TABLE = "CREATE TABLE products (id bigserial PRIMARY KEY, stripe_id text UNIQUE, product_name text NOT NULL, price int)"

# What the mock can change, and what it can delete, are other objects: it knows products only as they are made.
MORE_TABLES = ["CREATE TABLE people (id bigserial PRIMARY KEY, stripe_id text UNIQUE, name text)",
               "CREATE TABLE shops (id bigserial PRIMARY KEY, stripe_id text UNIQUE, email text)"]
MORE_FIELDS = {"people": ("person", "customers", {"name": "description"}), "shops": ("shop", "accounts", {"email": "email"})}


@pytest.fixture
def mock():
    if missing_mock():
        pytest.skip(missing_mock())
    made = Mock()
    yield made
    made.close()


class Example:
    """A copy of it, in which Stripe's address alone is another."""

    def __init__(self, weir, database, mock, folder, uses_cli):
        self.weir, self.database, self.mock = weir, database, mock
        self.folder = pathlib.Path(shutil.copytree(ROOT / "examples/hub-stripe", folder / "hub"))
        file = self.folder / "systems/payment-gateway.yml"
        text = file.read_text().replace("  type: stripe\n", f"  type: stripe\n  api_base: {mock.url}\n")
        file.write_text(text if uses_cli else text.replace("use_cli_listener: true", "endpoint_secret: whsec_1"))
        self.environment = {"PROD_DB_DSN": database.url, "STRIPE_API_KEY": "sk_test_of_tests"}
        database.sql(TABLE)

    def add_systems(self):
        """The same database and the same account, with objects of other kinds."""
        for statement in MORE_TABLES:
            self.database.sql(statement)
        received, pushed_here, pushed_there = {}, {}, {}
        for table, (model, collection, fields) in MORE_FIELDS.items():
            names = {"id", "stripe_id", *fields}
            kind = {"type": ["string", "number", "null"]}
            (self.folder / f"models/{model}.json").write_text(json.dumps(
                {"title": model, "type": "object", "properties": {name: kind for name in sorted(names)}}))
            received[f"public.{table}"] = {model: {name: {"field": name} for name in names}}
            pushed_here[model] = {f"public.{table}": {"id": {"field": "id", "search_key": True}, "stripe_id": {"field": "stripe_id", "search_key": True}}}
            pushed_there[model] = {collection: {"stripe_id": {"field": "id", "search_key": True}, "id": {"field": "metadata[id]"},
                                                **{name: {"field": field} for name, field in fields.items()},
                                                **({"type": {"hardcode": "custom"}} if collection == "accounts" else {})}}
        systems = {"more-db": {"type": "postgresql", "dsn": self.database.url, "receive_mixer": received, "push_mixer": pushed_here},
                   "more-gateway": {"type": "stripe", "api_key": "sk_test_of_tests", "api_base": self.mock.url, "push_mixer": pushed_there}}
        (self.folder / "systems/more.yml").write_text(json.dumps(systems))

    def drain(self):
        return self.weir.run("run", self.folder, "--until", "now", **self.environment)

    def products(self):
        return sorted((int(p["metadata"]["id"]), p["id"], p["name"]) for p in self.mock.get("/v1/products")["data"])

    def rows(self):
        return self.database.sql("SELECT id, stripe_id, product_name FROM products ORDER BY id")


def test_rows_become_products_and_their_ids_come_back(weir, make_database, mock, tmp_path):
    example = Example(weir, make_database(), mock, tmp_path, False)
    example.drain()  # from here on
    example.database.sql("INSERT INTO products (product_name) VALUES ('Mug'), ('Cup & Söhne')")
    example.drain()
    assert [row[2] for row in example.rows()] == ["Mug", "Cup & Söhne"]
    assert example.rows() == example.products()
    example.drain()
    assert [(method, path) for method, path, _ in mock.asked] == [("POST", "/v1/products")] * 2


def test_updates_and_deletes_go_through(weir, make_database, mock, tmp_path):
    example = Example(weir, make_database(), mock, tmp_path, False)
    example.add_systems()
    example.drain()
    example.database.sql("INSERT INTO people (name) VALUES ('Ada'), ('Grace')")
    example.database.sql("INSERT INTO shops (email) VALUES ('a@example.org'), ('b@example.org')")
    example.drain()
    ada, grace = (row[0] for row in example.database.sql("SELECT stripe_id FROM people ORDER BY id"))
    first, second = (row[0] for row in example.database.sql("SELECT stripe_id FROM shops ORDER BY id"))
    assert mock.get(f"/v1/customers/{ada}")["description"] == "Ada"
    example.database.sql("UPDATE people SET name = 'Ada L.' WHERE id = 1")
    example.database.sql("DELETE FROM shops WHERE id = 2")
    example.drain()
    assert [mock.get(f"/v1/customers/{person}")["description"] for person in (ada, grace)] == ["Ada L.", "Grace"]
    assert [account["id"] for account in mock.get("/v1/accounts")["data"]] == [first]
    made = [("POST", "/v1/accounts")] * 2 + [("POST", "/v1/customers")] * 2
    changed = [("DELETE", f"/v1/accounts/{second}"), ("POST", f"/v1/customers/{ada}")]
    assert sorted(asked[:2] for asked in mock.asked[:4]) == made and sorted(asked[:2] for asked in mock.asked[4:]) == changed
    example.drain()
    assert len(mock.asked) == 6  # no echo


def test_stripes_own_cli_forwards(weir, make_database, mock, tmp_path):
    """What was pushed comes back by it and is known; what others do at Stripe arrives; signed by its secret."""
    if missing_cli():
        pytest.skip(missing_cli())
    example = Example(weir, make_database(), mock, tmp_path, True)
    install_cli(tmp_path / "bin", mock.url)
    process = weir.start("run", example.folder, "--listen", f"127.0.0.1:{free_port()}", **example.environment,
                         PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    wait_for(lambda: mock.is_listening.is_set() or not process.alive(), 30, lambda: process.logs())
    wait_for(lambda: process.logs().count("streaming") == 4, 30, lambda: process.logs())
    example.database.sql("INSERT INTO products (product_name) VALUES ('Mug')")
    wait_for(lambda: example.rows() and example.rows() == example.products(), 30, lambda: process.logs())
    wait_for(lambda: len(webhook_answers(mock)) == 1, 30, lambda: f"{mock.answers}\n{process.logs()}")
    (_, product, _), = example.rows()
    mock.happens("price.created", {"object": "price", "id": "price_1", "product": product, "unit_amount": 500})
    wait_for(lambda: example.database.one("SELECT price FROM products") == 500, 30, lambda: f"{mock.answers}\n{process.logs()}")
    wait_for(lambda: len(webhook_answers(mock)) == 2, 30, lambda: str(mock.answers))
    assert webhook_answers(mock) == [200, 200]
    assert [asked[:2] for asked in mock.asked] == [("POST", "/v1/products")]
    assert process.stop().code == 0


def webhook_answers(mock):
    return [answer["status"] for answer in mock.answers if answer.get("type") == "webhook_response"]
