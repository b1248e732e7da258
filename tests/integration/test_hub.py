"""Hubs: what weir check says of them. The rules themselves are in tests/unit/model/."""
import json
import os
import pathlib
import re
import shutil
import urllib.parse

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
EXAMPLE = ROOT / "examples" / "hub-stripe"
GOLDEN = ROOT / "tests" / "golden" / "hub"


def check(weir, folder, *options, code=0):
    """By the files alone."""
    return weir.run("check", str(folder), *options, "--no-connect", code=code)


def is_golden(name, text):
    """As the file has it; WEIR_UPDATE_GOLDEN=1 writes it instead."""
    text = text.replace(str(EXAMPLE), "examples/hub-stripe")
    if os.environ.get("WEIR_UPDATE_GOLDEN"):
        (GOLDEN / name).write_text(text)
    assert text == (GOLDEN / name).read_text()


def test_report(weir):
    is_golden("report.txt", check(weir, EXAMPLE).out)


def test_report_for_programs(weir):
    said = check(weir, EXAMPLE, "--format", "json").out
    is_golden("report.json", said)
    report = json.loads(said)
    assert report["ready"] and report["findings"] == []
    (price,) = [rule for rule in report["received"] if rule["location"] == "price"]
    assert [(field["field"], field["property"]) for field in price["fields"]] == \
        [("product", "stripe_id"), ("unit_amount", "price")]


def test_picture(weir):
    is_golden("picture.dot", check(weir, EXAMPLE, "--dot").out)


@pytest.fixture
def hub(tmp_path):
    """A copy of the example that may be changed."""
    return pathlib.Path(shutil.copytree(EXAMPLE, tmp_path / "hub"))


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_picture_of_strange_names(weir, hub):
    edit(hub / "systems/payment-gateway.yml", "    price:\n      product:", "    'a\"b\\c→':\n      product:")
    picture = check(weir, hub, "--dot").out
    assert '[label="payment-gateway\\na\\"b\\\\c→"];' in picture


def test_a_constant_from_elsewhere_is_not_shown(weir, hub):
    edit(hub / "systems/prod-db.yml", "      public.products:\n        id:\n          field: id\n          search_key",
         "      public.products:\n        secret: { field: note, hardcode: '${HUB_HUSH}' }\n        id:\n          field: id\n          search_key")
    for options in (), ("--format", "json"), ("--dot",):
        ended = weir.run("check", hub, "--no-connect", *options, HUB_HUSH="Hush-constant")
        assert "${HUB_HUSH}" in ended.out and "Hush-constant" not in ended.text


def test_both_spellings(weir, hub):
    """The two files of the example have one spelling each: the other one says the same."""
    before = check(weir, hub).out
    edit(hub / "systems/prod-db.yml", "_mixer:", "_router:")
    edit(hub / "systems/payment-gateway.yml", "_router:", "_mixer:")
    assert check(weir, hub).out == before


def test_mistakes_have_their_place(weir, hub):
    edit(hub / "systems/prod-db.yml", "field: name", "field: nme")
    refused = check(weir, hub, code=2)
    assert refused.out == ""
    assert f'weir: {hub}/systems/prod-db.yml:19: the model "product" has no property "nme"' in refused.err
    assert 'hint: Did you mean "name"?' in refused.err


def test_what_comes_from_nowhere_is_noted(weir, hub):
    edit(hub / "systems/payment-gateway.yml", "        unit_amount:\n          field: price\n", "")
    edit(hub / "systems/prod-db.yml", "        price:\n          field: price\n\n", "\n")
    said = check(weir, hub).out
    assert 'note  "price" of the model "product" is pushed, and no system says what it is' in said
    (hub / "models/order.json").write_text('{"title": "order", "properties": {"id": {}}}')
    assert 'note  the model "order" is neither received nor pushed' in check(weir, hub).out
    more = hub / "systems/more.yml"
    system = {"type": "stripe", "api_key": "k", "use_cli_listener": True}
    more.write_text(json.dumps({"more": {**system, "receive_mixer": {"o": {"order": {"id": {"field": "id"}}}}}}))
    assert 'note  the model "order" is received, and pushed nowhere' in check(weir, hub).out
    more.write_text(json.dumps({"more": {**system, "push_mixer": {"order": {"o": {"id": {"field": "id", "search_key": True}}}}}}))
    assert 'note  the model "order" is pushed, and no system says anything of it' in check(weir, hub).out


def test_it_is_no_project(weir, tmp_path):
    for option in ("--dot", "--no-connect"):
        refused = weir.run("check", option, str(tmp_path), code=2)
        assert '"--dot" and "--no-connect" are for a hub' in refused.err


# ---------------------------------------------------------------------------------------------
# With the database
# ---------------------------------------------------------------------------------------------

PRODUCTS = """CREATE TABLE products (id bigserial PRIMARY KEY, stripe_id text UNIQUE, product_name text NOT NULL, price int);
              ALTER TABLE products REPLICA IDENTITY FULL;"""


def ask(weir, hub, source, *options, code=0):
    return weir.run("check", str(hub), *options, code=code, PROD_DB_DSN=source.url).out


def cells(said, word):
    """Of the lines that have it."""
    return [re.split("  +", line.strip()) for line in said.splitlines() if word in line]


def test_types_of_columns(weir, hub, source):
    source.sql(PRODUCTS)
    said = ask(weir, hub, source)
    assert "must" not in said and "note" not in said and "Nothing is missing." in said
    assert cells(said, "product_name") == [
        ["prod-db", "public.products", "product_name", "text", "product", "name", "string"],
        ["product", "name", "string", "prod-db", "public.products", "product_name", "text"]]
    report = json.loads(ask(weir, hub, source, "--format", "json"))
    types = {(rule["system"], rule["location"]): [field["type"] for field in rule["fields"]]
             for rule in report["received"] + report["pushed"]}
    assert types["prod-db", "public.products"] == ["bigint", "text", "text", "integer"]
    assert set(types["payment-gateway", "products"]) == {None}


def test_picture_with_types(weir, hub, source):
    source.sql(PRODUCTS)
    is_golden("picture-types.dot", ask(weir, hub, source, "--dot"))
    # What is wrong has no place in it.
    source.sql("ALTER TABLE products DROP price")
    refused = weir.run("check", str(hub), "--dot", code=2, PROD_DB_DSN=source.url)
    assert refused.out.startswith("digraph") and "something must be mended first" in refused.err
    assert f"weir check {hub} says what" in refused.err


def test_deletes_that_no_database_could_find(weir, hub, source, make_database):
    """A delete says the replica identity, and a database is asked by all search keys. Stripe's id is remembered."""
    other = make_database()
    other.sql(PRODUCTS)
    source.sql(PRODUCTS + "ALTER TABLE products REPLICA IDENTITY DEFAULT")
    (hub / "systems/other.yml").write_text((hub / "systems/prod-db.yml").read_text().replace("prod-db", "other").replace(
        "${PROD_DB_DSN:-postgres://localhost/shop}", other.url))
    (found,) = musts(weir, hub, source)
    assert found == ('a delete in "public"."products" does not say "stripe_id", by which it has to be found in system other',
                     'ALTER TABLE "public"."products" REPLICA IDENTITY FULL;')
    source.sql(found[1])
    assert "must" not in ask(weir, hub, source)


def musts(weir, hub, source):
    """What must be mended, without the folder's name."""
    said = ask(weir, hub, source, "--format", "json", code=2)
    found = json.loads(said)
    assert not found["ready"]
    return [(f["what"].replace(f"{hub}/systems/", ""), f["mend"]) for f in found["findings"] if f["level"] == "must"]


def test_search_keys_without_unique_index(weir, hub, source):
    source.sql(PRODUCTS + """ALTER TABLE products DROP CONSTRAINT products_stripe_id_key;
        CREATE UNIQUE INDEX ON products (stripe_id, id); CREATE UNIQUE INDEX ON products (stripe_id) WHERE price > 0;
        CREATE UNIQUE INDEX ON products (lower(stripe_id)); CREATE INDEX ON products (stripe_id);
        ALTER TABLE products ADD CONSTRAINT late UNIQUE (stripe_id) DEFERRABLE""")
    (found,) = musts(weir, hub, source)
    assert found == ('prod-db.yml:30: the search key "stripe_id" has no unique index of its own in "public"."products"',
                     'CREATE UNIQUE INDEX ON "public"."products" ("stripe_id");')
    source.sql(found[1])
    assert "must" not in ask(weir, hub, source)
    source.sql('DROP INDEX products_stripe_id_idx2; CREATE UNIQUE INDEX ON products (stripe_id) INCLUDE (price)')
    ask(weir, hub, source)


def test_columns_that_do_not_fit(weir, hub, source):
    source.sql("""CREATE TABLE products (id bool PRIMARY KEY, stripe_id text UNIQUE, product_nam text,
                                         price int GENERATED ALWAYS AS (7) STORED)""")
    found = [what for what, _ in musts(weir, hub, source)]
    assert found == ['prod-db.yml:21: the column "price" is generated, and cannot be received',
                     'prod-db.yml:35: the column "price" is generated, and cannot be pushed']
    source.sql("ALTER TABLE products DROP price, ADD price int")
    found = [what for what, _ in musts(weir, hub, source)]
    assert found == ['prod-db.yml:19: the table "public.products" has no column "product_name"',
                     'prod-db.yml:33: the table "public.products" has no column "product_name"']
    source.sql("ALTER TABLE products RENAME product_nam TO product_name; ALTER TABLE products ALTER price TYPE bool USING false")
    found = [what for what, _ in musts(weir, hub, source)]
    assert found == ['prod-db.yml:21: "price" is boolean, which cannot be converted to number, null',
                     'prod-db.yml:35: "price" is boolean, which cannot be converted from number, null']


def test_what_is_noted_of_tables(weir, hub, source):
    source.sql(PRODUCTS + "ALTER TABLE products REPLICA IDENTITY DEFAULT, ADD internal int NOT NULL, ADD fine int NOT NULL DEFAULT 1")
    report = json.loads(ask(weir, hub, source, "--format", "json"))
    assert [(f["level"], f["what"], f["mend"]) for f in report["findings"]] == [
        ("note", 'a delete in "public"."products" does not say "stripe_id", by which it has to be found in system payment-gateway',
         'ALTER TABLE "public"."products" REPLICA IDENTITY FULL;'),
        ("note", 'no new row can be pushed to "public"."products" of system prod-db: "internal" is not null, has no default, '
         'and is not pushed', None)]
    # Its own search keys are not asked: what it says is not pushed back to it.
    gateway = hub / "systems/payment-gateway.yml"
    gateway.write_text(gateway.read_text().split("  push_router:")[0])
    assert "a delete in" not in ask(weir, hub, source)


def test_tables_and_databases_that_are_missing(weir, hub, source):
    source.sql("CREATE VIEW products AS SELECT 1 AS id")
    found = [what for what, _ in musts(weir, hub, source)]
    assert found == [f'prod-db.yml:{line}: there is no table "public"."products" in system prod-db' for line in (13, 26)]
    source.url = source.url.replace(source.name, "nowhere")
    (found,) = musts(weir, hub, source)
    assert found[0].startswith("system prod-db: ") and '"nowhere" does not exist' in found[0]


@pytest.mark.parametrize("version", [14, 18], indirect=True)
def test_who_may_not_write_under_an_origin(weir, hub, source):
    """It is told before a start is refused, in the same words, and what it says is what helps."""
    source.sql(PRODUCTS)
    source.sql("""CREATE ROLE "a shop" LOGIN REPLICATION PASSWORD 'of the shop'; GRANT ALL ON products TO "a shop";
                  GRANT ALL ON SEQUENCE products_id_seq TO "a shop";
                  GRANT CREATE ON DATABASE %s TO "a shop"; ALTER TABLE products OWNER TO "a shop\"""" % source.name)
    try:
        source.url = source.server.url(source.name, "a%20shop", "of%20the%20shop")
        ((what, mend),) = musts(weir, hub, source)
        assert what.startswith('user "a shop" of system "prod-db" may not write under a replication origin')
        edit(hub / "systems/payment-gateway.yml", "use_cli_listener: true", "endpoint_secret: whsec_1")
        refused = weir.run("run", str(hub), "--until", "now", code=2, PROD_DB_DSN=source.url)
        said = refused.err.replace('\\"', '"')
        assert what in said and mend in said
        assert source.one("SELECT count(*) FROM pg_namespace WHERE nspname = 'weir'") == 0  # nothing was made
        # Where it is not pushed to, or not received from, there are no echoes.
        both = (hub / "systems/prod-db.yml").read_text()
        (hub / "systems/prod-db.yml").write_text(both.split("  push_mixer:")[0])
        assert "must" not in ask(weir, hub, source)
        (hub / "systems/prod-db.yml").write_text(both)
        # An origin that is there needs not be made.
        source.sql("SELECT pg_replication_origin_create('weir_hub.to.prod-db')")
        source.sql('GRANT EXECUTE ON FUNCTION pg_replication_origin_session_setup TO "a shop"')
        assert "must" not in ask(weir, hub, source)
        source.sql("SELECT pg_replication_origin_drop('weir_hub.to.prod-db')")
        assert musts(weir, hub, source) == [(what, mend)]
        source.sql(mend)
        assert "Nothing is missing." in ask(weir, hub, source)
    finally:
        source.sql('DROP OWNED BY "a shop" CASCADE; DROP ROLE "a shop"')


def test_a_connection_in_parts(weir, hub, source):
    source.sql(PRODUCTS)
    url = urllib.parse.urlsplit(source.url)
    query = dict(urllib.parse.parse_qsl(url.query))
    parts = {"hostname": url.hostname or query.get("host"), "port": url.port or query.get("port"),
             "database": url.path.strip("/"), "username": url.username, "password": urllib.parse.unquote(url.password or "")}
    lines = "".join(f"  {key}: {json.dumps(str(value))}\n" for key, value in parts.items() if value)
    edit(hub / "systems/prod-db.yml", "  dsn: ${PROD_DB_DSN:-postgres://localhost/shop}\n", lines)
    assert "Nothing is missing." in weir.run("check", str(hub)).out
