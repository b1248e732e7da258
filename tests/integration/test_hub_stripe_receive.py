"""What Stripe tells a hub, by webhooks and by its list of events, gets into a database: once, in order, and nothing else does."""
import concurrent.futures
import json
import os
import random
import signal
import stat
import sys
import time
import urllib.error
import urllib.request

import pytest

from harness.stripe_api import SECRET, StripeApi, post, sign
from harness.wait import wait_for

from test_metrics import free_port

MODEL = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "product",
    "type": "object",
    "properties": {
        "id": {"type": ["integer", "null"]},
        "stripe_id": {"type": "string"},
        "name": {"type": "string", "maxLength": 40},
        "price": {"type": ["number", "null"], "minimum": 0},
    },
}

SYSTEMS = """
payments:
  type: stripe
  api_key: sk_test_1
  api_base: ${API}
  %s
  receive_router:
    product:
      product:
        id: { field: stripe_id }
        name: { field: name }
        metadata.id: { field: id }
    price:
      product:
        product: { field: stripe_id }
        unit_amount: { field: price }
shop:
  type: postgresql
  dsn: ${SHOP}
  push_mixer:
    product:
      public.products:
        stripe_id: { field: stripe_id, search_key: true }
        name: { field: product_name }
        price: { field: price }
        id: { field: id }
"""
SECRETS = f"endpoint_secret: [whsec_old, {SECRET}]"


class Hub:
    def __init__(self, weir, shop, folder, secrets=SECRETS):
        self.weir, self.shop, self.folder = weir, shop, folder
        self.api = StripeApi()
        self.port = free_port()
        (folder / "models").mkdir(parents=True)
        (folder / "systems").mkdir()
        (folder / "models/product.json").write_text(json.dumps(MODEL))
        (folder / "systems/both.yml").write_text(SYSTEMS % secrets)
        shop.sql("CREATE TABLE products (stripe_id text PRIMARY KEY, product_name text, price numeric, id int)")
        shop.sql("CREATE TABLE written (n int)")
        shop.sql("CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.written VALUES (1); RETURN NULL; END'")
        shop.sql("CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON products FOR EACH ROW EXECUTE FUNCTION note()")

    def url(self, path="payments"):
        return f"http://127.0.0.1:{self.port}/{path}"

    def names(self, **more):
        return {"API": self.api.url, "SHOP": self.shop.url, **more}

    def start(self, ready=True, **more):
        process = self.weir.start("run", self.folder, "--listen", f"127.0.0.1:{self.port}", **self.names(**more))
        if ready:
            self.ready()
        return process

    def ready(self):
        """It takes webhooks: one of which nothing is made is answered."""
        wait_for(lambda: self.tell("customer.created", listed=False, id="cus_1")[0] == 200, 60, "it listens")

    def drain(self, *words, code=0, **more):
        return self.weir.run("run", self.folder, "--until", "now", *words, code=code, **self.names(), **more)

    def tell(self, kind, **fields):
        return post(self.url(), self.api.event(kind, **fields))

    def rows(self):
        return self.shop.sql("SELECT stripe_id, product_name, price::float8, id FROM products ORDER BY 1")

    def expect(self, *rows):
        wait_for(lambda: self.rows() == list(rows), 30, lambda: f"rows {self.rows()}")

    def written(self):
        return self.shop.one("SELECT count(*) FROM written")


@pytest.fixture
def make(weir, make_database, tmp_path):
    made = []

    def new(**more):
        made.append(Hub(weir, make_database(), tmp_path / "hub", **more))
        return made[-1]
    yield new
    for one in made:
        one.api.close()


@pytest.fixture
def hub(make):
    return make()


@pytest.mark.tsan
def test_webhooks_become_rows(hub):
    process = hub.start()
    assert hub.tell("product.created", id="prod_1", name="one", metadata={"id": "7"}) == (200, {"received": True})
    assert hub.tell("price.created", id="price_1", product="prod_1", unit_amount=250)[0] == 200
    assert hub.tell("product.created", id="prod_2", name="two", metadata={})[0] == 200
    hub.expect(("prod_1", "one", 250, 7), ("prod_2", "two", None, None))
    assert hub.tell("product.updated", id="prod_1", name="eins", metadata={"id": "7"})[0] == 200
    hub.expect(("prod_1", "eins", 250, 7), ("prod_2", "two", None, None))
    assert hub.tell("price.deleted", id="price_1", product="prod_1", unit_amount=250)[0] == 200
    assert hub.tell("product.deleted", id="prod_2", name="two", metadata={})[0] == 200
    hub.expect(("prod_1", "eins", 250, 7))
    assert process.stop().code == 0


def test_a_price_that_is_told_before_its_product(hub):
    """The table takes no product without a name. What is refused for that is written behind the product, and holds up no other one meanwhile."""
    hub.shop.sql("ALTER TABLE products ALTER product_name SET NOT NULL")
    process = hub.start()
    assert hub.tell("price.created", id="price_1", product="prod_1", unit_amount=250)[0] == 200
    process.expect("is set aside")
    assert hub.tell("product.created", id="prod_2", name="two", metadata={})[0] == 200
    assert hub.tell("price.updated", id="price_1", product="prod_1", unit_amount=300)[0] == 200
    hub.expect(("prod_2", "two", None, None))
    assert hub.tell("product.created", id="prod_1", name="one", metadata={"id": "7"})[0] == 200
    hub.expect(("prod_1", "one", 300, 7), ("prod_2", "two", None, None))
    wait_for(lambda: hub.weir.run("dead", "list").out == "no dead letters\n", 30, lambda: hub.weir.run("dead", "list").out)
    assert process.stop().code == 0


def test_nothing_else_gets_in(hub):
    """A webhook with a bad signature, an old one or none changes nothing."""
    process = hub.start()
    body = json.dumps(hub.api.event("product.created", listed=False, id="prod_1", name="forged")).encode()
    old = int(time.time()) - 301
    for signature in ["", "t=1,v1=00", sign(body, "whsec_other"), sign(body, when=old), sign(body + b" "), sign(body).replace("v1", "v0")]:
        code, answer = post(hub.url(), body, signature)
        assert code == 400 and "sign" in answer["error"], (signature, answer)
        assert "whsec" not in answer["error"]
    assert post(hub.url(), body, sign(body, when=old + 10))[0] == 200
    hub.expect(("prod_1", "forged", None, None))
    assert post(hub.url(), b"{}")[0] == 400
    assert post(hub.url(), b"no json")[0] == 400
    assert post(hub.url(), b'{"id":"evt_x","type":"v1.billing","created":"2026-01-01","object":"v2.core.event"}')[0] == 400
    assert post(hub.url("shop"), body)[0] == 404
    assert post(hub.url("nobody"), body)[0] == 404
    assert post(hub.url(""), body)[0] == 404
    assert post(hub.url(), b" " * (1 << 20) + b" ")[0] in (0, 413)
    assert process.stop().code == 0
    assert "a request is refused" in process.logs()


def test_what_the_sdk_signs_gets_in(hub):
    """Stripe's own SDK says what a signature is."""
    import stripe
    process = hub.start()
    dice = random.Random(7)
    for n in range(20):
        body = json.dumps(hub.api.event("product.created", listed=False, id=f"prod_{n:02}", name="ü" * dice.randrange(30)), ensure_ascii=False)
        secret = dice.choice([SECRET, "whsec_old", "whsec_unknown"])
        header = stripe.WebhookSignature.generate_signature_header(body, secret, int(time.time()) - dice.choice([0, 10, 290, 310, 1000]))
        try:
            holds = any(verified(stripe, body, header, known) for known in (SECRET, "whsec_old"))
            assert post(hub.url(), body.encode(), header)[0] == (200 if holds else 400), (header, secret)
        except stripe.SignatureVerificationError:
            pass
    assert process.stop().code == 0


def test_the_sdk_takes_what_these_tests_sign():
    """So what they show of signatures holds for Stripe's."""
    import stripe
    body = json.dumps({"id": "evt_1", "object": "event", "type": "product.created", "data": {"object": {"object": "product", "name": "ü"}}})
    assert stripe.Webhook.construct_event(body.encode(), sign(body.encode()), SECRET).id == "evt_1"
    assert not verified(stripe, body, sign(body.encode(), "whsec_other"), SECRET)
    assert not verified(stripe, body, sign(body.encode(), when=int(time.time()) - 301), SECRET)


def verified(stripe, body, header, secret):
    try:
        return stripe.WebhookSignature.verify_header(body, header, secret, 300)
    except stripe.SignatureVerificationError:
        return False


def test_what_is_asked_for_in_other_ways(hub):
    hub.start()
    with urllib.request.urlopen(hub.url("v1/healthcheck"), timeout=10) as answer:
        told = json.loads(answer.read())
    assert told["status"] == "available" and told["system_info"]["version"]
    for method, path, code in [("GET", "payments", 404), ("GET", "", 404), ("PUT", "payments", 405), ("DELETE", "v1/healthcheck", 405)]:
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(urllib.request.Request(hub.url(path), method=method), timeout=10)
        assert refusal.value.code == code and json.loads(refusal.value.read())["error"], (method, path)


def test_events_twice_and_out_of_order(hub):
    """A webhook that comes twice counts once, and one that is older than what its object was last told counts not at all."""
    process = hub.start()
    now = int(time.time())
    first = hub.api.event("product.created", created=now - 10, id="prod_1", name="first")
    second = hub.api.event("product.updated", created=now - 5, id="prod_1", name="second")
    third = hub.api.event("product.updated", created=now - 5, id="prod_1", name="third")
    assert [post(hub.url(), event)[0] for event in (second, third, first, second, third, third)] == [200] * 6
    hub.expect(("prod_1", "third", None, None))
    gone = hub.api.event("product.deleted", created=now - 3, id="prod_1", name="third")
    late = hub.api.event("product.updated", created=now - 3, id="prod_1", name="late")
    assert [post(hub.url(), event)[0] for event in (gone, late, third, gone)] == [200] * 4
    hub.expect()
    assert hub.written() == 3
    # And after a start, too.
    assert process.stop().code == 0
    process = hub.start()
    assert [post(hub.url(), event)[0] for event in (first, third, late)] == [200] * 3
    assert hub.tell("product.created", id="prod_2", name="end")[0] == 200
    hub.expect(("prod_2", "end", None, None))
    assert hub.written() == 4
    assert process.stop().code == 0


def test_what_was_missed_is_listed(hub):
    """What Stripe tells while the process is down is delivered after its start."""
    before = hub.api.event("product.created", created=int(time.time()) - 100, id="prod_0", name="before the first start")
    process = hub.start()
    assert hub.tell("product.created", id="prod_1", name="one")[0] == 200
    assert process.stop().code == 0
    for n in range(250):
        hub.api.event("product.updated", id="prod_1", name=f"n{n}")
    hub.api.event("product.created", id="prod_2", name="two")
    hub.drain()
    assert hub.rows() == [("prod_1", "n249", None, None), ("prod_2", "two", None, None)]
    assert hub.written() == 252
    assert max(int(query.get("limit", 0)) for query in hub.api.asked) == 100
    # Each webhook comes, too, later.
    process = hub.start()
    assert post(hub.url(), before)[0] == 200
    for event in random.Random(1).sample(hub.api.events, 30):
        assert post(hub.url(), event)[0] == 200
    hub.expect(("prod_0", "before the first start", None, None), ("prod_1", "n249", None, None), ("prod_2", "two", None, None))
    assert process.stop().code == 0
    assert hub.written() == 253


def test_an_api_that_does_not_answer_is_asked_again(hub):
    """429 and 5xx are waited out where events are listed."""
    hub.drain()
    hub.api.event("product.created", id="prod_1", name="one")
    hub.api.fails = [500, 429, 503]
    hub.drain()
    assert hub.rows() == [("prod_1", "one", None, None)] and hub.api.fails == []
    hub.api.fails = [401] * 10
    assert "not now" in hub.drain(code=2).err


@pytest.mark.parametrize("ignores, count, said", [
    ("ending_before starting_after limit created[lt] created[gte]", 5, "it does not know"),
    ("created[lt] created[gte]", 5, "it does not know"),
    ("ending_before", 5, "the same events again and again"),
    ("starting_after", 250, "the same events again and again"),
    ("limit", 5, None),
    ("limit", 250, None),
])
def test_an_api_that_does_not_page(hub, ignores, count, said):
    """A run ends, and says why, where asking would never end, or where events would be missed."""
    hub.drain()
    if count < 100:
        hub.api.event("product.created", id="prod_0", name="of before", created=int(time.time()) - 7200)
    for n in range(count):
        hub.api.event("product.created", id=f"prod_{n + 1}", name="one")
    hub.api.ignores = ignores.split()
    ended = hub.drain("--patience", "20s", code=2 if said else 0)
    if said:
        assert said in ended.err and "Is it Stripe's?" in ended.err, ended.err
        assert hub.rows() == []
        hub.api.ignores = ()
        hub.drain()
    assert len(hub.rows()) == count


def test_what_is_invalid_is_set_aside(hub):
    """One invalid object does not stop the stream."""
    process = hub.start()
    assert hub.tell("product.created", id="prod_1", name="x" * 41)[0] == 200
    assert hub.tell("product.created", id="prod_2", name="fine")[0] == 200
    hub.expect(("prod_2", "fine", None, None))
    assert process.stop().code == 0
    said = process.logs().replace('\\"', '"')
    assert 'insert of an event of system "payments" at ' in said and '"product" is no "product": ' in said and "maxLength" in said, said
    listed = hub.weir.run("dead", "list").out
    assert "hub.from.payments" in listed and " system payments " in listed
    assert "stripe.event" not in said + listed
    # Mended, it is written: what it is of is known by more than its name.
    model = hub.folder / "models/product.json"
    model.write_text(model.read_text().replace('"maxLength": 40', '"maxLength": 41'))
    hub.weir.run("dead", "retry", "hub.from.payments", "1")
    hub.drain()
    hub.expect(("prod_1", "x" * 41, None, None), ("prod_2", "fine", None, None))
    assert hub.tell("product.created", id="prod_3", name="nobody is there")[0] == 0


@pytest.mark.tsan
def test_many_at_once(hub):
    process = hub.start()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(lambda n: hub.tell("product.created", id=f"prod_{n:03}", name=f"n{n}")[0], range(300)))
    assert set(codes) == {200}
    wait_for(lambda: len(hub.rows()) == 300, 60, "all rows")
    assert process.stop().code == 0


def test_killed_at_any_moment(hub, seed):
    """Whatever was answered with 200 is not told again by Stripe, and has to be there."""
    dice = random.Random(seed)
    process = hub.start()
    told = {}
    undelivered = []
    for n in range(60):
        key = f"prod_{dice.randrange(8)}"
        told[key] = f"n{n}"
        event = hub.api.event("product.updated", listed=dice.random() < 0.5, created=int(time.time()) - 60 + n, id=key, name=told[key])
        undelivered.append(event)
        if dice.random() < 0.15:
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                answers = [pool.submit(post, hub.url(), one) for one in undelivered]
                time.sleep(dice.random() * 0.05)
                process.kill()
                undelivered = [one for one, answer in zip(undelivered, answers) if answer.result()[0] != 200]
            process = hub.start()
        elif dice.random() < 0.5:
            undelivered = [one for one in dice.sample(undelivered, len(undelivered)) if post(hub.url(), one)[0] != 200]
    assert all(post(hub.url(), one)[0] == 200 for one in undelivered)
    hub.expect(*[(key, name, None, None) for key, name in sorted(told.items())])
    assert process.stop().code == 0


@pytest.mark.parametrize("point", ["events-told-begins", "events-told"])
def test_killed_between_noting_and_logging(hub, point):
    process = hub.start(WEIR_CRASH_POINT=point, ready=False)
    hub.ready()
    event = hub.api.event("product.created", listed=False, id="prod_1", name="one")
    assert post(hub.url(), event)[0] == 0
    assert process.wait().code != 0
    process = hub.start()
    assert post(hub.url(), event)[0] == 200
    hub.expect(("prod_1", "one", None, None))
    assert process.stop().code == 0


@pytest.mark.parametrize("point", ["buffer-flush-begins", "buffer-flushed", "buffer-synced", "confirm-begins"])
def test_killed_where_events_become_durable(hub, point):
    """What was answered with 200 does not come again; everything else does, in another order."""
    hub.drain()
    told = []
    for n in range(2, 7):
        process = hub.start(WEIR_CRASH_POINT=f"{point}:{n}", ready=False)
        wait_for(lambda: post(hub.url(), b"{}")[0] == 400 or not process.alive(), 60, "it listens")
        undelivered = []
        for step in range(8):
            event = hub.api.event("product.updated", listed=False, created=int(time.time()) - 1000 + len(told), id="prod_1", name=f"n{len(told)}")
            told.append(event)
            if post(hub.url(), event)[0] != 200:
                undelivered.append(event)
        process.kill()
        process = hub.start()
        assert [post(hub.url(), event)[0] for event in reversed(undelivered)] == [200] * len(undelivered)
        hub.expect(("prod_1", f"n{len(told) - 1}", None, None))
        assert process.stop().code == 0


FAKE_CLI = """#!%s
import os, sys, time, pathlib
here = pathlib.Path(__file__).parent
assert os.environ["STRIPE_API_KEY"] == "sk_test_1"
with open(here / "calls", "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
if "--print-secret" in sys.argv:
    print("whsec_test")
    sys.exit(0)
if "--all-snapshot" in sys.argv and (here / "old").exists():
    print("unknown flag: --all-snapshot", file=sys.stderr)
    sys.exit(1)
if "--all-snapshot" not in sys.argv and not (here / "old").exists():
    print("must specify events to forward using --events, --all-snapshot, or --all-thin", file=sys.stderr)
    sys.exit(1)
(here / "pid").write_text(str(os.getpid()))
print("> Ready! You are using Stripe API Version [2025-01-01]. Your webhook signing secret is whsec_test", file=sys.stderr, flush=True)
while not (here / "die").exists():
    time.sleep(0.05)
(here / "die").unlink()
print("it has died", file=sys.stderr)
sys.exit(3)
"""


def install_cli(folder):
    folder.mkdir()
    program = folder / "stripe"
    program.write_text(FAKE_CLI % sys.executable)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return f"{folder}:{os.environ['PATH']}"


def is_alive(pid):
    try:
        os.kill(pid, 0)
        return True
    except ProcessLookupError:
        return False


def test_the_cli_forwards(make, tmp_path):
    hub = make(secrets="use_cli_listener: true")
    folder = tmp_path / "bin"
    process = hub.start(PATH=install_cli(folder))
    wait_for(lambda: (folder / "pid").exists(), 30, "the CLI")
    assert (folder / "calls").read_text().splitlines() == ["listen --print-secret", f"listen --forward-to {hub.url()} --all-snapshot"]
    assert hub.tell("product.created", id="prod_1", name="one")[0] == 200
    hub.expect(("prod_1", "one", None, None))
    # It dies: it is started again, and what it did not forward is listed.
    first = int((folder / "pid").read_text())
    (folder / "pid").unlink()
    (folder / "die").touch()
    hub.api.event("product.created", id="prod_2", name="not forwarded")
    wait_for(lambda: (folder / "pid").exists(), 30, "the CLI again")
    hub.expect(("prod_1", "one", None, None), ("prod_2", "not forwarded", None, None))
    assert not is_alive(first)
    process.expect("it has died")
    second = int((folder / "pid").read_text())
    assert process.stop().code == 0
    assert not is_alive(second)
    # It ends when we are killed.
    (folder / "pid").unlink()
    process = hub.start(PATH=f"{folder}:{os.environ['PATH']}")
    wait_for(lambda: (folder / "pid").exists(), 30, "the CLI")
    third = int((folder / "pid").read_text())
    process.kill()
    wait_for(lambda: not is_alive(third), 10, "its end")


def test_an_old_cli(make, tmp_path):
    """It knows no option that says that everything is to be forwarded, and does so without."""
    hub = make(secrets="use_cli_listener: true")
    folder = tmp_path / "bin"
    path = install_cli(folder)
    (folder / "old").touch()
    process = hub.start(PATH=path)
    wait_for(lambda: (folder / "pid").exists(), 30, "the CLI")
    assert (folder / "calls").read_text().splitlines()[1:] == \
        [f"listen --forward-to {hub.url()} --all-snapshot", f"listen --forward-to {hub.url()}"]
    assert process.stop().code == 0
    assert "unknown flag" not in process.logs()


def test_what_the_cli_could_not_deliver(make, tmp_path):
    """It forwards each event once, whatever the answer: what was refused while too much waited is asked for."""
    hub = make(secrets="use_cli_listener: true")
    process = hub.start(PATH=install_cli(tmp_path / "bin"))
    told = rounds = 0
    while rounds < 2:  # in the first one, the list that is asked for when the CLI is ready may be on its way
        assert told < 10 * 450, "nothing is refused"
        os.kill(process.popen.pid, signal.SIGSTOP)
        with concurrent.futures.ThreadPoolExecutor(450) as pool:
            answers = [pool.submit(hub.tell, "product.created", id=f"prod_{told + n}", name="n") for n in range(450)]
            time.sleep(1)  # all of them are asking
            os.kill(process.popen.pid, signal.SIGCONT)
        codes, told = [answer.result()[0] for answer in answers], told + 450
        assert set(codes) <= {200, 503}
        wait_for(lambda: len(hub.rows()) == told, 60, lambda: f"{told - len(hub.rows())} lost, {codes.count(503)} were refused")
        rounds += codes.count(503) > 20
    assert hub.written() == len(hub.rows())  # nothing is told twice
    assert process.stop().code == 0


def test_no_cli(make, tmp_path):
    hub = make(secrets="use_cli_listener: true")
    (tmp_path / "empty").mkdir()
    process = hub.start(ready=False, PATH=str(tmp_path / "empty"))
    process.expect("the Stripe CLI is missing")
    process.stop()


def test_where_it_listens(hub):
    (hub.folder / "weir.yml").write_text(f"hub: {{ listen: ':{hub.port}' }}\n")
    process = hub.weir.start("run", hub.folder, **hub.names())
    hub.ready()
    assert process.stop().code == 0
    refused = hub.weir.run("run", hub.folder, "--listen", "nowhere", code=2, **hub.names())
    assert "is no address to listen on" in refused.err
