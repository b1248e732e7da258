"""Three systems of different shapes, two databases and an account of Stripe, are edited at random and at the same time, also where they have the same object,
while the hub that keeps them in step is killed again and again. Then all of them have the same, compared here by what they are."""
import contextlib
import decimal
import itertools
import json
import os
import random
import threading
import time

import psycopg
import pytest

from harness.stripe import Stripe
from harness.stripe_account import Account
from harness.stripe_api import SECRET
from harness.wait import wait_for
from harness.weir import RELEASE

from test_metrics import free_port

PRODUCT = {
    "title": "product",
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "stripe_id": {"type": ["string", "null"]},
        "name": {"type": "string", "minLength": 1},
        "description": {"type": ["string", "null"]},
        "price": {"type": ["number", "null"]},
        "details": {"type": ["object", "null"]},
    },
}
CUSTOMER = {
    "title": "customer",
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "stripe_id": {"type": ["string", "null"]},
        "name": {"type": ["string", "null"]},
        "email": {"type": ["string", "null"]},
        "address": {"type": ["object", "null"], "properties": {"city": {"type": "string"}, "line1": {"type": "string"}}},
        "is_known": {"type": ["boolean", "null"]},
    },
}

# Keys are numbers in the shop and texts in the office; each has columns that nobody else has.
SHOP = """
CREATE TABLE products (id int PRIMARY KEY, stripe_id text UNIQUE, product_name text NOT NULL, description text, price numeric(12, 3),
    details jsonb, note text DEFAULT 'of the shop');
CREATE TABLE clients (stripe_id varchar(60) UNIQUE, client_name text, mail text, place jsonb, is_known boolean, note text DEFAULT 'of the shop',
    id bigint PRIMARY KEY);
"""
OFFICE = """
CREATE SCHEMA office;
CREATE TABLE office."Item" ("Item No" text PRIMARY KEY, title varchar(200), cost text, more json, remark text, "Gateway Ref" text UNIQUE,
    own int DEFAULT 7);
CREATE TABLE office.customer (number varchar(20) PRIMARY KEY, gateway text UNIQUE, address text, known text, full_name text, email text,
    own int DEFAULT 7);
"""
TABLES = {"shop": ["products", "clients"], "office": ['office."Item"', "office.customer"]}

# By table: the columns of the model's properties.
SHAPES = {
    "products": {"id": "id", "stripe_id": "stripe_id", "name": "product_name", "description": "description", "price": "price", "details": "details"},
    "clients": {"id": "id", "stripe_id": "stripe_id", "name": "client_name", "email": "mail", "address": "place", "is_known": "is_known"},
    'office."Item"': {"id": "Item No", "stripe_id": "Gateway Ref", "name": "title", "description": "remark", "price": "cost", "details": "more"},
    "office.customer": {"id": "number", "stripe_id": "gateway", "name": "full_name", "email": "email", "address": "address", "is_known": "known"},
}
MODELS = {"products": "product", 'office."Item"': "product", "clients": "customer", "office.customer": "customer"}
COLLECTIONS = {"product": "products", "customer": "customers"}
GATEWAY = """
gateway:
  type: stripe
  api_key: %s
  api_base: ${API}
  endpoint_secret: %s
  receive_mixer:
    product:
      product:
        id: { field: stripe_id }
        metadata.id: { field: id }
        name: { field: name }
        description: { field: description }
    customer:
      customer:
        id: { field: stripe_id }
        metadata.id: { field: id }
        name: { field: name }
        email: { field: email }
        address: { field: address }
        metadata.known: { field: is_known }
  push_mixer:
    product:
      products:
        stripe_id: { field: id, search_key: true }
        id: { field: 'metadata[id]' }
        name: { field: name }
        description: { field: description }
    customer:
      customers:
        stripe_id: { field: id, search_key: true }
        id: { field: 'metadata[id]' }
        name: { field: name }
        email: { field: email }
        address: { field: address }
        is_known: { field: 'metadata[known]' }
""" % (Stripe.KEY, SECRET)


def mixers(name):
    """Of a database: every column, both ways."""
    lines = [f"{name}:", "  type: postgresql", f"  dsn: ${{{name.upper()}}}", "  receive_mixer:"]
    tables = [table if "." in table else f"public.{table}" for table in TABLES[name]]
    for table, location in zip(TABLES[name], tables):
        lines += [f"    {location}:", f"      {MODELS[table]}:"]
        lines += [f"        {column}: {{ field: {own} }}" for own, column in SHAPES[table].items()]
    lines += ["  push_mixer:"]
    for table, location in zip(TABLES[name], tables):
        lines += [f"    {MODELS[table]}:", f"      {location}:"]
        lines += [f"        {own}: {{ field: {column}{', search_key: true' if own in ('id', 'stripe_id') else ''} }}"
                  for own, column in SHAPES[table].items()]
    return "\n".join(lines) + "\n"


# --------------------------------------------------------------------------------------- the three

class Three:
    def __init__(self, weir, shop, office, account, folder):
        self.weir, self.shop, self.office, self.account, self.folder = weir, shop, office, account, folder
        self.port = free_port()
        (folder / "models").mkdir(parents=True)
        (folder / "systems").mkdir()
        for model in (PRODUCT, CUSTOMER):
            (folder / f"models/{model['title']}.json").write_text(json.dumps(model))
        (folder / "systems/all.yml").write_text(GATEWAY + mixers("shop") + mixers("office"))
        for name, database, tables in (("shop", shop, SHOP), ("office", office, OFFICE)):
            database.sql(tables)
            database.sql("CREATE SEQUENCE public.written")
            database.sql("CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM nextval('public.written'); RETURN NULL; END$$")
            for table in TABLES[name]:
                database.sql(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
                database.sql(f"CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION public.note()")
                database.sql(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER note")

    def names(self):
        return {"SHOP": self.shop.url, "OFFICE": self.office.url, "API": self.account.url}

    def drain(self):
        return self.weir.run("run", self.folder, "--until", "now", **self.names())

    def start(self):
        return self.weir.start("run", self.folder, "--listen", f"127.0.0.1:{self.port}", **self.names())

    def tell(self):
        self.account.tell(f"http://127.0.0.1:{self.port}/gateway")

    def written(self):
        """How often anything was written anywhere, and how far the log is."""
        return (self.shop.one("SELECT last_value FROM written"), self.office.one("SELECT last_value FROM written"), len(self.account.posts()),
                len(self.account.events), self.shop.one("SELECT value FROM weir.checkpoint WHERE key = 'position'"))


# ------------------------------------------------------------------------------ what they have, by value

def number(value):
    return None if value is None else decimal.Decimal(value).normalize()


def truth(value):
    return None if value is None else {True: True, False: False, "true": True, "false": False, "t": True, "f": False}[value]


def nested(value):
    return json.dumps(json.loads(value) if isinstance(value, str) else value, sort_keys=True)


PLAIN = {"id": int, "price": number, "is_known": truth, "details": nested, "address": nested}


def rows(database, table):
    """By key."""
    names = ", ".join(f'"{column}"' for column in SHAPES[table].values())
    found = {}
    for row in database.sql(f"SELECT {names} FROM {table}"):
        said = {own: PLAIN.get(own, lambda value: value)(value) for own, value in zip(SHAPES[table], row)}
        found[said.pop("id")] = said
    return found


def things(account, model):
    """What Stripe has of it, by key; two of one key are both there."""
    found = {}
    for thing in account.all(COLLECTIONS[model]):
        said = {"stripe_id": thing["id"], "name": thing["name"]}
        if model == "product":
            said["description"] = thing["description"]
        else:
            said |= {"email": thing["email"], "address": nested(thing["address"]), "is_known": truth(thing["metadata"].get("known"))}
        key = int(thing["metadata"]["id"]) if "id" in thing["metadata"] else thing["id"]
        found[key if key not in found else (key, thing["id"])] = said
    return found


def differences(three):
    """What is not the same everywhere; empty when all is."""
    found = []
    for model, table, other in (("product", "products", 'office."Item"'), ("customer", "clients", "office.customer")):
        shop, office, gateway = rows(three.shop, table), rows(three.office, other), things(three.account, model)
        for key in sorted(shop.keys() | office.keys() | gateway.keys(), key=str):
            here, there, far = shop.get(key), office.get(key), gateway.get(key)
            known = {name: here[name] for name in far if name in here} if here and far else None
            if here != there or known != far:
                found.append(f"{model} {key}\n  shop    {here}\n  office  {there}\n  gateway {far}")
    return found


# ----------------------------------------------------------------------------------------- edits

# From here on keys are those of one database: only there the objects are edited, and their keys too.
OF_ONE = 2_000_000
CITIES = ["Bern", "Lima", "Oslo", "Turku", "Ærø"]


def values(dice, model):
    def word():
        return f"{dice.choice(['mug', 'Cup ä', 'jar & lid', 'a=b%', '3', 'true', '[1]'])} {dice.randrange(1000)}"
    if model == "product":
        return {"name": word(), "description": dice.choice([None, word(), str(dice.randrange(9))]),
                "price": dice.choice([None, decimal.Decimal(dice.randrange(100000)) / 100]),
                "details": dice.choice([None, {}, {"size": {"w": dice.randrange(9), "h": [1, 2.5, None]}, "tags": [word()]}, {"a": dice.randrange(9)}])}
    return {"name": dice.choice([None, word()]), "email": dice.choice([None, f"{dice.randrange(99)}@example.org"]),
            "address": dice.choice([None, {"city": dice.choice(CITIES), "line1": word()}]), "is_known": dice.choice([None, True, False])}


class Editor(threading.Thread):
    """Edits one system until it has done its number."""

    def __init__(self, name, edits, seed, pause):
        super().__init__(name=name, daemon=True)
        self.dice, self.left, self.pause, self.failure, self.done = random.Random(seed), edits, pause, None, 0
        self.refused = 0
        self.may = threading.Event()
        self.may.set()

    def run(self):
        try:
            while self.left > 0:
                self.may.wait()
                self.edit()
                time.sleep(self.dice.random() * 2 * self.pause)
        except BaseException as failure:  # told by whoever waits
            self.failure = failure


class DatabaseEditor(Editor):
    def __init__(self, name, database, known, fresh, *words):
        super().__init__(name, *words)
        self.connection = psycopg.connect(database.url, autocommit=True)
        self.known, self.fresh = known, fresh

    def edit(self):
        count = 1 if self.dice.random() < 0.7 else self.dice.randrange(2, 6)
        count = min(count, self.left)
        try:
            with self.connection.transaction():
                for _ in range(count):
                    self.change(self.dice.choice(TABLES[self.name]))
            self.done += count
        except (psycopg.errors.DeadlockDetected, psycopg.errors.UniqueViolation):
            self.refused += count  # somebody was faster
        self.left -= count

    def change(self, table):
        dice, shape, model = self.dice, SHAPES[table], MODELS[table]
        key = f'"{shape["id"]}"'
        there = sorted((row[0] for row in self.connection.execute(f"SELECT {key} FROM {table}")), key=int)
        own = [identity for identity in there if self.is_own(int(identity))]
        there = [identity for identity in there if int(identity) < OF_ONE] + own
        what = dice.random()
        new = values(dice, model)
        said = {f'"{shape[name]}"': self.text(name, value) for name, value in new.items()}
        if what < 0.25 and len(there) < self.known or not there:
            identity = next(self.fresh) if dice.random() < 0.1 else dice.randrange(1, 2 * self.known)
            self.connection.execute(f"INSERT INTO {table} ({key}, {', '.join(said)}) VALUES (%s, {', '.join(['%s'] * len(said))}) ON CONFLICT DO NOTHING",
                                    (self.key(identity), *said.values()))
        elif what < 0.40:
            self.connection.execute(f"DELETE FROM {table} WHERE {key} = %s", (dice.choice(there),))
        elif what < 0.50 and own:
            # Not while Stripe is giving it its id: by nothing but the old key would the rest of the hub know it.
            self.connection.execute(f"UPDATE {table} SET {key} = %s WHERE {key} = %s AND \"{shape['stripe_id']}\" IS NOT NULL",
                                    (self.key(next(self.fresh)), dice.choice(own)))
        else:
            some = dice.sample(sorted(said), dice.randrange(1, len(said) + 1))
            self.connection.execute(f"UPDATE {table} SET {', '.join(f'{column} = %s' for column in some)} WHERE {key} = %s",
                                    (*(said[column] for column in some), dice.choice(there)))

    def is_own(self, identity):
        return identity >= OF_ONE and identity % 2 == (self.name == "office")

    def key(self, identity):
        return str(identity) if self.name == "office" else identity

    def text(self, name, value):
        if name in ("details", "address"):
            return None if value is None else json.dumps(value)
        if self.name == "office":
            return None if value is None else str(value).lower() if name == "is_known" else str(value)
        return value


class AccountEditor(Editor):
    def __init__(self, name, account, known, fresh, *words):
        super().__init__(name, *words)
        self.account, self.known, self.fresh = account, known, fresh

    def edit(self):
        dice = self.dice
        model = dice.choice(["product", "customer"])
        kind = COLLECTIONS[model]
        new = values(dice, model)
        fields = {name: value for name, value in new.items() if name not in ("price", "details", "is_known")}
        there = self.account.ids(kind, lambda thing: int(thing["metadata"]["id"]) < OF_ONE)
        what = dice.random()
        if what < 0.15 and len(there) < 1.5 * self.known or not there:
            metadata = {"id": str(next(self.fresh))}
            if new.get("is_known") is not None:
                metadata["known"] = str(new["is_known"]).lower()
            self.account.make(kind, metadata=metadata, **fields)
        elif what < 0.27:
            self.account.drop(kind, dice.choice(there))
        else:
            some = dice.sample(sorted(fields), dice.randrange(1, len(fields) + 1))
            self.account.change(kind, dice.choice(there), **{name: fields[name] for name in some})
        if dice.random() < 0.03 and not self.account.faults:
            self.account.fail(dice.choice([429, 500, 503]), is_done=dice.random() < 0.5)
        self.left -= 1
        self.done += 1


@pytest.fixture
def three(weir, make_database, tmp_path, seed):
    account = Account(seed)
    made = Three(weir, make_database(), make_database(), account, tmp_path / "hub")
    made.drain()  # from here on
    yield made
    account.close()


def run_edits(three, seed, edits, kills, known, pause):
    """Each of the three is edited by somebody, and the hub is killed and started again."""
    dice = random.Random(seed)
    # An object that people make in two systems is one only where they give it one key, and in Stripe nothing is unique.
    fresh = {"shop": itertools.count(OF_ONE, 2), "office": itertools.count(OF_ONE + 1, 2), "gateway": itertools.count(1_000_000)}
    share = edits // 3
    editors = [DatabaseEditor("shop", three.shop, known, fresh["shop"], share, seed + 1, pause),
               DatabaseEditor("office", three.office, known, fresh["office"], share, seed + 2, pause),
               AccountEditor("gateway", three.account, known, fresh["gateway"], edits - 2 * share, seed + 3, pause)]
    process = three.start()
    three.tell()
    for editor in editors:
        editor.start()
    killed = 0
    while any(editor.is_alive() for editor in editors):
        # By how much is done, so that the kills are spread over all of it.
        goal = (killed + 1) * edits / (kills + 1)
        done = edits - sum(editor.left for editor in editors)
        if killed < kills and done >= goal:
            if killed % 2 == 0 and not three.account.wait_for_new():
                continue  # nobody makes anything at the moment
            time.sleep(dice.random() * (0.02 if killed % 2 == 0 else 0.2))
            process.must_live()
            process.kill()
            process = three.start()
            killed += 1
        time.sleep(0.02)
    for editor in editors:
        if editor.failure:
            raise editor.failure
    return process, killed, editors


def settle(three, process, timeout):
    """Nobody edits any more: everything comes to rest, and it is the same everywhere."""
    def is_quiet():
        process.must_live()
        return three.account.all_told() and not differences(three)
    wait_for(is_quiet, timeout, lambda: "\n".join([f"alike; {len(differences(three))} are not:", *differences(three)[:20], process.logs()[-3000:]]), every=0.3)
    written = three.written()
    time.sleep(2)
    assert three.written() == written, "it goes on writing"
    assert differences(three) == []
    assert three.written()[0] > 0
    # Nor does a start find anything to do.
    assert process.stop().code == 0
    three.drain()
    assert three.written() == written and differences(three) == []


@pytest.mark.kill
def test_three_systems(three, seed):
    process, killed, editors = run_edits(three, seed, 300, 3, 20, 0.01)
    settle(three, process, 30)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_three_systems_for_long(three, seed, record_property):
    """WEIR_SOAK_EDITS says another number."""
    edits = int(os.environ.get("WEIR_SOAK_EDITS", "10000"))
    three.weir.program = RELEASE
    began = time.monotonic()
    process, killed, editors = run_edits(three, seed, edits, edits // 100, 100, 0.01)
    took = time.monotonic() - began
    settle(three, process, 120)
    shop, office, posts, events, _ = three.written()
    record_property("result", f"{edits} edits in three systems, {killed} kills, in {took:.0f} s; the hub wrote or noted {shop + office} rows, asked Stripe "
                    f"{posts} times to change something and was told of {events} events: all alike (WEIR_TEST_SEED={seed})")
