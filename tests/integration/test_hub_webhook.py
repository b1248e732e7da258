"""What somebody posts to a hub gets into a database: signed, once, in order, and nothing else does."""
import base64
import concurrent.futures
import hashlib
import hmac
import json
import random
import time
import urllib.error
import urllib.request

import pytest

from harness.wait import wait_for

from test_metrics import free_port

SECRET, OLD = ("whsec_" + base64.b64encode(f"a secret of webhooks {word}".encode()).decode() for word in ("new", "old"))
MODEL = {"title": "order", "type": "object",
         "properties": {"id": {"type": "integer"}, "item": {"type": "string", "maxLength": 20}, "price": {"type": ["number", "null"]}}}

SYSTEMS = """
caller:
  type: webhook
%s
  receive_mixer:
    orders:
      order:
        number: { field: id }
        item: { field: item }
        price.amount: { field: price }
shop:
  type: postgresql
  dsn: ${SHOP}
  push_mixer:
    order:
      public.orders:
        id: { field: id, search_key: true }
        item: { field: item }
        price: { field: price }
"""
STANDARD = f"""
  signature: standard-webhooks
  secret: [{OLD}, {SECRET}]
  location: orders
"""


def standard(body, id="msg_1", secret=SECRET, when=None):
    """As Standard Webhooks says, without Weir's code."""
    when = str(int(time.time()) if when is None else when)
    digest = hmac.new(base64.b64decode(secret[6:]), f"{id}.{when}.".encode() + body, hashlib.sha256).digest()
    return {"webhook-id": id, "webhook-timestamp": when, "webhook-signature": "v1," + base64.b64encode(digest).decode()}


def post(url, body, headers=None, timeout=30):
    """Code and JSON of the answer; code 0: there is nobody, or it has gone."""
    request = urllib.request.Request(url, data=body, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.loads(refusal.read() or b"null")
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return 0, None


class Hub:
    def __init__(self, weir, shop, folder, keys):
        self.weir, self.shop, self.folder, self.port = weir, shop, folder, free_port()
        (folder / "models").mkdir(parents=True)
        (folder / "systems").mkdir()
        (folder / "models/order.json").write_text(json.dumps(MODEL))
        self.write(keys)
        shop.sql("CREATE TABLE orders (id int PRIMARY KEY, item text, price numeric)")
        shop.sql("CREATE TABLE written (n int)")
        shop.sql("CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.written VALUES (1); RETURN NULL; END'")
        shop.sql("CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION note()")

    def write(self, keys, more=""):
        (self.folder / "systems/both.yml").write_text(SYSTEMS % keys + more)

    def url(self, path="caller"):
        return f"http://127.0.0.1:{self.port}/{path}"

    def start(self, **more):
        process = self.weir.start("run", self.folder, "--listen", f"127.0.0.1:{self.port}", SHOP=self.shop.url, **more)

        def listens():
            process.must_live()
            return post(self.url(), b"null")[0] == 400
        wait_for(listens, 60, lambda: f"it takes requests\n{process.logs()[-2000:]}")
        return process

    def tell(self, id, number, sign=standard, **fields):
        body = json.dumps({"number": number, **fields}).encode()
        return post(self.url(), body, sign(body, id))[0]

    def rows(self):
        return self.shop.sql("SELECT id, item, price::float8 FROM orders ORDER BY 1")

    def expect(self, *rows):
        wait_for(lambda: self.rows() == list(rows), 30, lambda: f"rows {self.rows()}")

    def written(self):
        return self.shop.one("SELECT count(*) FROM written")

    def check(self, *options, code):
        return self.weir.run("check", self.folder, *options, SHOP=self.shop.url, code=code)


@pytest.fixture
def make(weir, make_database, tmp_path):
    return lambda keys=STANDARD: Hub(weir, make_database(), tmp_path / "hub", keys)


@pytest.fixture
def hub(make):
    return make()


@pytest.mark.tsan
def test_posts_become_rows(hub):
    process = hub.start()
    assert hub.tell("msg_1", 1, item="cup", price={"amount": 250}) == 200
    assert hub.tell("msg_2", 2, item="tea") == 200
    hub.expect((1, "cup", 250), (2, "tea", None))
    assert hub.tell("msg_3", 1, item="big cup") == 200, "a part leaves alone what it does not say"
    hub.expect((1, "big cup", 250), (2, "tea", None))
    assert process.stop().code == 0


def test_nothing_else_gets_in(hub):
    process = hub.start()
    body = b'{"number": 1, "item": "forged"}'
    good = standard(body)
    bad = {
        "unsigned": {}, "another secret": standard(body, secret="whsec_" + base64.b64encode(b"another").decode()),
        "another body": standard(body + b" "), "another id": {**good, "webhook-id": "msg_2"}, "no id": {**good, "webhook-id": ""},
        "another time": {**good, "webhook-timestamp": str(int(time.time()) - 1)}, "no time": {**good, "webhook-timestamp": "now"},
        "too old": standard(body, when=int(time.time()) - 310), "too new": standard(body, when=int(time.time()) + 310),
        "another version": {**good, "webhook-signature": good["webhook-signature"].replace("v1", "v2")},
        "cut": {**good, "webhook-signature": good["webhook-signature"][:-2]}, "nothing": {**good, "webhook-signature": "v1,"},
    }
    for why, headers in bad.items():
        code, said = post(hub.url(), body, headers)
        assert code == 400 and SECRET not in str(said), why
    assert post(hub.url("shop"), body, good)[0] == 404 and post(hub.url("nobody"), body, good)[0] == 404
    too_large = b'{"x": "' + b"x" * (1 << 20) + b'"}'
    assert post(hub.url(), too_large, standard(too_large))[0] in (413, 0)
    for broken in (b"{", b"1", b"[1]", b'"text"'):
        assert post(hub.url(), broken, standard(broken, id=str(broken)))[0] == 400
    assert hub.tell("last", 9, item="real") == 200
    hub.expect((9, "real", None))
    process.stop()
    assert SECRET not in process.logs() and "forged" not in process.logs()


def test_secrets_are_exchanged(hub):
    process = hub.start()
    assert hub.tell("msg_1", 1, lambda body, id: standard(body, id, OLD), item="old") == 200

    def by_both(body, id):
        old, new = standard(body, id, OLD), standard(body, id)
        return {**new, "webhook-signature": f"v1a,AAAA {old['webhook-signature']} {new['webhook-signature']}"}
    assert hub.tell("msg_2", 2, by_both, item="both") == 200
    process.stop()
    hub.write(STANDARD.replace(OLD + ", ", ""))
    process = hub.start()
    assert hub.tell("msg_3", 3, lambda body, id: standard(body, id, OLD), item="late") == 400
    assert hub.tell("msg_4", 4, by_both, item="both") == 200
    hub.expect((1, "old", None), (2, "both", None), (4, "both", None))


def test_a_repeat_is_taken_once(hub):
    process = hub.start()
    assert hub.tell("msg_1", 1, item="first") == 200
    assert hub.tell("msg_2", 1, item="second") == 200
    assert [hub.tell("msg_1", 1, item="first") for _ in range(3)] == [200] * 3
    hub.expect((1, "second", None))
    process.stop()
    process = hub.start()
    assert hub.tell("msg_1", 1, item="first") == 200, "also after a restart"
    assert hub.tell("msg_3", 2, item="third") == 200
    hub.expect((1, "second", None), (2, "third", None))
    assert hub.written() == 3


def test_hmac_of_the_body(make):
    """As GitHub does it: the id in a header, what happened in the body, a list of objects inside of it."""
    hub = make("""
  signature: hmac-sha256
  secret: [one, two]
  id_header: X-GitHub-Delivery
  location_path: kind
  operation: event
  object: data.items
""")

    def signed(body, id, key=b"two", prefix="sha256="):
        return {"X-Hub-Signature-256": prefix + hmac.new(key, body, hashlib.sha256).hexdigest(), "X-GitHub-Delivery": id}

    def tell(id, event, *items, kind="orders", sign=signed):
        body = json.dumps({"kind": kind, "event": event, "data": {"items": items[0] if event == "one" else list(items)}}).encode()
        return post(hub.url(), body, sign(body, id))[0]
    hub.start()
    assert tell("1", "order.created", {"number": 1, "item": "a"}, {"number": 2, "item": "b"}, {"number": 3, "item": "c"}) == 200
    hub.expect((1, "a", None), (2, "b", None), (3, "c", None))
    assert tell("2", "order.deleted", {"number": 1}, {"number": 3}) == 200
    assert tell("3", "one", {"number": 2, "item": "B"}) == 200
    hub.expect((2, "B", None))
    assert tell("1", "order.created", {"number": 1, "item": "a"}, {"number": 2, "item": "b"}) == 200, "a repeat"
    assert tell("4", "order.created", {"number": 7, "item": "x"}, kind="customers") == 200, "of which nothing is made"
    assert tell("5", "order.created") == 200, "of nothing"
    assert tell("6", "order.created", {"number": 6}, sign=lambda body, id: signed(body, id, b"three")) == 400
    assert tell("7", "order.created", {"number": 6}, sign=lambda body, id: signed(body, id, b"one", "sha1=")) == 400
    assert tell("", "order.created", {"number": 6}) == 400, "without an id"
    assert tell("8", "order.created", {"number": 8, "item": "h"}, sign=lambda body, id: signed(body, id, b"one", "")) == 200
    hub.expect((2, "B", None), (8, "h", None))


def test_unsigned_and_with_an_id_inside(make):
    hub = make("""
  signature: none
  id: meta.id
  location: orders
  operation: meta.what
  deletes: [gone]
""")
    hub.start()

    def tell(id, what, number, **fields):
        return post(hub.url(), json.dumps({"meta": {"id": id, "what": what}, "number": number, **fields}).encode())
    assert tell("a", "new", 1, item="x")[0] == 200
    assert tell(5, "new", 2, item="y")[0] == 200
    assert tell("a", "gone", 1)[0] == 200, "told already"
    hub.expect((1, "x", None), (2, "y", None))
    assert tell("b", "it.gone", 1)[0] == 200
    hub.expect((2, "y", None))
    for bad in (None, "", True, []):
        code, said = tell(bad, "new", 3)
        assert code == 400 and "meta.id" in said["error"]
    assert tell("c", 7, 3)[0] == 400


def test_what_is_invalid_is_set_aside(hub):
    process = hub.start()
    assert hub.tell("msg_1", 1, item="far too long for this model") == 200
    assert hub.tell("msg_2", 2, item="fine") == 200
    hub.expect((2, "fine", None))
    process.stop()
    said = process.logs().replace('\\"', '"')
    assert 'update of an event of system "caller" at ' in said and '"orders" is no "order": ' in said, said
    listed = hub.weir.run("dead", "list").out
    assert "hub.from.caller" in listed and " system caller " in listed
    assert " in system caller, refused" in hub.weir.run("dead", "show", "hub.from.caller", "1").out


def test_many_at_once(hub):
    process = hub.start()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        codes = list(pool.map(lambda n: hub.tell(f"msg_{n}", n, item=f"item {n}"), range(300)))
    assert set(codes) <= {200, 503}
    taken = [n for n, code in enumerate(codes) if code == 200]
    assert len(taken) > 100
    wait_for(lambda: set(taken) <= {row[0] for row in hub.rows()}, 30, "what was answered 200 is there")
    assert process.stop().code == 0


@pytest.mark.kill
def test_kills(hub, seed):
    """What was answered with 200 is there, whenever the process is killed; a repeat makes nothing twice."""
    chance, told, repeated = random.Random(seed), [], 0
    for number in range(6):
        process = hub.start()
        moment = time.monotonic() + chance.uniform(0.05, 0.6)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            def kill():
                time.sleep(max(0, moment - time.monotonic()))
                process.kill()
            pool.submit(kill)
            while process.alive() or not told or told[-1][1]:
                n = len(told)
                told.append((n, hub.tell(f"msg_{n}", n, item=f"item {n}") == 200))
                if not told[-1][1]:
                    break
        # Whoever posts asks again, until somebody answers.
        process = hub.start()
        for n, was_taken in told[-3:]:
            repeated += was_taken
            assert hub.tell(f"msg_{n}", n, item=f"item {n}") == 200
        told[-1] = (told[-1][0], True)
        process.kill()
    hub.start()
    wait_for(lambda: len(hub.rows()) == len(told), 60, lambda: f"{len(hub.rows())} rows of {len(told)}")
    assert hub.rows() == [(n, f"item {n}", None) for n, _ in told]
    assert hub.written() == len(told), "each was written once"
    assert repeated > 0


@pytest.mark.parametrize("keys, said", [
    ("  location: orders\n", '"signature" is missing'),
    ("  signature: hmac\n  location: orders\n", "hmac-sha256"),
    ("  signature: hmac-sha256\n  location: orders\n", '"secret" is missing in system "caller"'),
    ("  signature: none\n  secret: x\n  location: orders\n", 'nothing is signed by the "secret"'),
    ("  signature: standard-webhooks\n  secret: hush!\n  location: orders\n", "none of Standard Webhooks"),
    ("  signature: none\n", 'one of "location" and "location_path"'),
    ("  signature: none\n  location: orders\n  location_path: x\n", 'one of "location" and "location_path"'),
    ("  signature: none\n  location: order\n", 'no rule for the location "order"'),
    ("  signature: none\n  location: orders\n  id: a..b\n", "is no path"),
    ("  signature: none\n  location: orders\n  id: a\n  id_header: b\n", 'both "id" and "id_header"'),
    ("  signature: none\n  location: orders\n  rate_limit: 3\n", 'unknown key "rate_limit"'),
])
def test_settings_that_are_wrong(make, keys, said):
    hub = make(keys)
    for ended in (hub.check(code=2), hub.weir.run("run", hub.folder, SHOP=hub.shop.url, code=2)):
        assert said in ended.err, ended
        assert "hush" not in ended.text


def test_nothing_can_be_pushed(make):
    push = "  push_mixer:\n    order:\n      orders:\n        id: { field: number, search_key: true }\n"
    hub = make(STANDARD + push)
    for ended in (hub.check(code=2), hub.check("--no-connect", code=2), hub.weir.run("run", hub.folder, SHOP=hub.shop.url, code=2)):
        assert 'there is a push_mixer for the webhook "caller"' in ended.err and "docs/http.md" in ended.err


def test_check_and_runs_that_end(hub):
    for options in ((), ("--no-connect",), ("--format", "json"), ("--dot",)):
        ended = hub.check(*options, code=0)
        assert "orders" in ended.out and SECRET not in ended.text and SECRET[6:] not in ended.text
    hub.weir.run("run", hub.folder, "--until", "now", SHOP=hub.shop.url)
