"""The sink http:, against a receiver that notes what it is asked."""
import hashlib
import hmac
import itertools
import json
import random
import shutil
import signal
import threading
import time
import urllib.parse

import pytest

from conftest import Pipeline
from harness.load import kill_at_random
from harness.receiver import Receiver, server_context, standard_signature
from harness.tls import Authority
from harness.wait import wait_for

SECRET = "whsec_" + "c2VjcmV0IHRoYXQgbm9ib2R5IG1heSBzZWU="
TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'row ' || g FROM generate_series(1, 5) g"


@pytest.fixture
def receiver(tmp_path):
    made = Receiver(tmp_path)
    yield made
    made.close()


@pytest.fixture
def pipe(weir, source, receiver):
    source.sql(TABLE)
    return Pipeline(weir, source, receiver)


def each(source, *statements):
    """A transaction each."""
    for statement in statements:
        source.sql(statement)


def ops(receiver):
    return [event["op"] for event in receiver.events()]


@pytest.mark.parametrize("batch", ["none", "array", "ndjson"])
def test_copy_and_stream(pipe, receiver, batch):
    pipe.drain(query={"batch": batch, "batch_events": 3})
    each(pipe.source, "INSERT INTO t VALUES (6, 'a \"b\"\n'), (7, NULL)", "UPDATE t SET v = 'new' WHERE id < 4", "DELETE FROM t WHERE id = 5",
         "UPDATE t SET id = 10 WHERE id = 1")
    pipe.drain(query={"batch": batch, "batch_events": 3})
    pipe.check()
    sizes = [len(request.lines()) for request in receiver.requests]
    # The copy has the shape and five rows, the transactions two, three, one and one change.
    assert sizes == ([1] * 13 if batch == "none" else [3, 3, 2, 3, 1, 1])
    kinds = {request.headers["Content-Type"] for request in receiver.requests}
    assert kinds == {"application/x-ndjson" if batch == "ndjson" else "application/json"}
    assert {request.method for request in receiver.requests} == {"POST"} and {request.path for request in receiver.requests} == {"/hook"}
    assert receiver.repeats == 0 and len(receiver.taken) == len(sizes)


def test_batches_have_a_size(pipe, receiver):
    pipe.drain(query={"batch": "array"})
    seen = len(receiver.requests)
    pipe.source.sql("INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(100, 119) g")
    pipe.source.sql("INSERT INTO t VALUES (200, repeat('y', 20000))")
    pipe.drain(query={"batch": "array", "batch_bytes": "5kB"})
    pipe.check()
    sizes = [len(request.body) for request in receiver.requests[seen:]]
    assert len(sizes) == 6 and max(sizes[:-1]) <= 5120 and sizes[-1] > 20000


@pytest.mark.parametrize("form", ["wal2json1", "wal2json2"])
def test_other_formats(pipe, receiver, form):
    pipe.drain(query={"format": form})
    copied = len(receiver.requests)
    pipe.source.sql("INSERT INTO t VALUES (6, 'x'); DELETE FROM t WHERE id = 1")
    pipe.drain(query={"format": form})
    found = [request.json() for request in receiver.requests[copied:]]
    if form == "wal2json1":
        assert [[change["kind"] for change in event["change"]] for event in found] == [["insert", "delete"]]
    else:
        assert [event["action"] for event in found] == ["B", "I", "D", "C"]
    assert len(receiver.taken) == len(receiver.requests)


def test_templates(pipe, receiver):
    each(pipe.source, "CREATE TABLE p (a int, b text, j jsonb, n numeric, PRIMARY KEY (a, b))",
         "INSERT INTO p VALUES (1, 'x/y,ä?', '{\"a\": [1]}', 1.50)")
    address = receiver.base + "/{{table}}/{{key}}?kind={{op}}"
    query = {"method": "PUT,delete:DELETE", "header": "X-Row: {{schema}}.{{table}} {{ordinal}}",
             "body": '{"id": {{key}}, "j": {{new.j}}, "text": "is {{new.n}} \\" {{key.b}}", "new": {{new}}, "all": {{event}}, "x": {{xid}}}'}
    target = address + "&" + urllib.parse.urlencode(query, quote_via=urllib.parse.quote)
    pipe.weir.drain(pipe.source.url, target, "--table", "public.p")
    each(pipe.source, "UPDATE p SET n = NULL, j = 'null'", "DELETE FROM p")
    pipe.weir.drain(pipe.source.url, target, "--table", "public.p")
    copied, updated, deleted = receiver.requests
    assert [request.method for request in receiver.requests] == ["PUT", "PUT", "DELETE"]
    assert copied.path == "/hook/p/1,x%2Fy%2C%C3%A4%3F?kind=read"
    assert deleted.path == "/hook/p/1,x%2Fy%2C%C3%A4%3F?kind=delete"
    assert updated.headers["X-Row"] == "public.p 1"
    body = copied.json()
    assert body.pop("all")["op"] == "read"
    assert body == {"id": {"a": 1, "b": "x/y,ä?"}, "j": {"a": [1]}, "text": 'is 1.50 " x/y,ä?', "x": 0,
                    "new": {"a": 1, "b": "x/y,ä?", "j": {"a": [1]}, "n": 1.5}}
    body = updated.json()
    assert body["text"] == 'is  " x/y,ä?' and body["j"] is None and body["new"]["n"] is None and body["x"] > 0
    assert deleted.json()["new"] is None and deleted.json()["j"] is None


@pytest.mark.parametrize("query, said", [
    ({"body": '{"a": {{new.nope}}}'}, "there is no column for {{new.nope}}"),
    ({"header": "X: {{key.v}}"}, "there is no key for {{key.v}}"),
])
def test_names_that_a_table_has_not(pipe, receiver, query, said):
    ended = pipe.weir.run("check", pipe.source.url, receiver.url(**query), code=2)
    assert said in ended.text
    assert said in pipe.drain(query=query, code=2).err
    assert receiver.requests == []


@pytest.mark.parametrize("query, said", [
    ({"body": '{"a": {{nwe.id}}}'}, "there is no {{nwe.id}}"),
    ({"body": '{"a": {{new.id}}'}, "it is no JSON"),
    ({"body": '{"a": {{event}}}', "format": "wal2json"}, "a template needs the format weir"),
    ({"method": "GET"}, "is no method"),
    ({"method": "PUT,remove:DELETE"}, 'there is no event "remove"'),
    ({"ops": "insert,updates"}, 'Did you mean "update"?'),
    ({"header": "X"}, "a header is none"),
    ({"header": "Idempotency-Key: 1"}, "is set by weir"),
    ({"secret": "x"}, "nothing is signed by it"),
    ({"signature": "hmac-sha256"}, "there is no secret"),
    ({"signature": "standard-webhooks", "secret": "whsec_%"}, "none of Standard Webhooks"),
    ({"secrte": "x"}, 'Did you mean "secret"?'),
    ({"batch": "lines"}, "expected none, array, ndjson"),
])
def test_options_that_are_wrong(pipe, receiver, query, said):
    ended = pipe.drain(query=query, code=2)
    assert said in ended.err, ended
    assert receiver.requests == [] and "whsec" not in ended.err.replace("whsec_\\", "").replace('"whsec_"', "")


def test_a_query_of_the_receivers(pipe, receiver):
    pipe.weir.drain(pipe.source.url, receiver.base + "?channel=a%20b&batch=array&%66ormat=theirs&x")
    assert {request.path for request in receiver.requests} == {"/hook?channel=a%20b&%66ormat=theirs&x"}
    assert all(isinstance(request.json(), list) for request in receiver.requests)


def test_signatures(pipe, receiver):
    began = int(time.time())
    pipe.drain(query={"signature": "standard-webhooks", "secret": SECRET, "batch": "array"})
    for request in receiver.requests:
        assert request.headers["webhook-signature"] == standard_signature(SECRET, request)
        assert began <= int(request.headers["webhook-timestamp"]) <= time.time()
        assert request.headers["webhook-id"] == request.key and "." not in request.key
    seen = len(receiver.requests)
    pipe.source.sql("DELETE FROM t WHERE id = 1")
    pipe.drain(query={"signature": "hmac-sha256", "secret": "plain text", "signature_header": "X-Shop-Signature"})
    signed, = receiver.requests[seen:]
    assert signed.headers["X-Shop-Signature"] == "sha256=" + hmac.new(b"plain text", signed.body, hashlib.sha256).hexdigest()


# ---------------------------------------------------------------------------------------------
# Receivers that fail
# ---------------------------------------------------------------------------------------------

def test_asked_again_until_it_is_taken(pipe, receiver):
    pipe.drain()
    seen = len(receiver.requests)
    receiver.codes(500, 503, "cut", (429, {"Retry-After": "2"}, ""), 408)
    pipe.source.sql("INSERT INTO t VALUES (6, 'x')")
    pipe.drain(timeout=120)
    pipe.check()
    found = receiver.requests[seen:]
    assert len({request.key for request in found}) == 1 and len({request.body for request in found}) == 1
    assert len(found) == 6
    assert found[4].at - found[3].at >= 2, "it came back before it was told to"
    assert receiver.repeats == 1, "what was cut had been taken"


def test_one_that_is_slow(pipe, receiver):
    pipe.drain()
    receiver.codes("hold")
    pipe.source.sql("INSERT INTO t VALUES (6, 'x')")
    pipe.drain(query={"timeout": "500ms"})
    pipe.check()


def test_one_that_is_away(pipe, receiver, weir):
    pipe.drain()
    receiver.rule = lambda request: 503
    pipe.source.sql("INSERT INTO t VALUES (6, 'x')")
    process = pipe.start()
    process.expect("retrying", 60)
    receiver.rule = lambda request: 200
    pipe.settle(process)
    assert process.stop().code == 0
    pipe.check()


def test_many_requests_are_no_standstill(pipe, receiver):
    """A run of changes is one call of the sink, however long all its requests take."""
    pipe.drain()

    def slow(request):
        time.sleep(0.02)
        return 200
    receiver.rule = slow
    pipe.source.sql("INSERT INTO t SELECT g, 'x' FROM generate_series(100, 400) g")
    process = pipe.start("--watchdog", "2s")
    pipe.settle(process)
    assert process.stop().code == 0 and "stalled" not in process.logs()
    assert receiver.repeats == 0


@pytest.mark.parametrize("answer", ["hold", (429, {"Retry-After": "3600"}, "")])
def test_a_wait_is_ended_at_once(pipe, receiver, answer):
    pipe.drain()
    receiver.rule = lambda request: answer
    pipe.source.sql("INSERT INTO t VALUES (6, 'x')")
    process, seen = pipe.start(), len(receiver.requests)
    wait_for(lambda: len(receiver.requests) > seen, 30, lambda: process.logs())
    began = time.monotonic()
    for _ in range(2):  # the first lets it deliver what it has
        process.signal(signal.SIGINT)
        time.sleep(0.5)
    process.wait(20)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("code, said", [(401, "401"), (403, "403"), (404, "404"), (405, "405"), (410, "410"), (302, "Redirects are not followed")])
def test_an_endpoint_that_is_wrong(pipe, receiver, code, said):
    """For good: setting all events aside would help nobody."""
    receiver.rule = lambda request: code
    ended = pipe.drain("--on-error", "dead-letter", code=2)
    assert said in ended.err and "/hook" not in ended.err
    assert len(receiver.requests) == 1


def test_a_long_answer_is_an_answer(pipe, receiver):
    receiver.rule = lambda request: (200, {}, "x" * 1_000_000)
    pipe.drain()
    pipe.check()


# ---------------------------------------------------------------------------------------------
# What is refused
# ---------------------------------------------------------------------------------------------

def refuses(*ids):
    """An event of one of them, in whatever company."""
    def rule(request):
        rows = [json.loads(line).get("new", {}) for line in request.lines()]
        return (422, {}, "no such shop") if any(row.get("id") in ids for row in rows) else 200
    return rule


def test_refused_without_dead_letters(pipe, receiver):
    pipe.drain()
    receiver.rule = refuses(6)
    pipe.source.sql("INSERT INTO t VALUES (6, 'x')")
    ended = pipe.drain(code=None)
    assert ended.code != 0 and "422: no such shop" in ended.err
    receiver.rule = lambda request: 200
    pipe.drain()
    pipe.check()


@pytest.mark.parametrize("batch", ["none", "array", "ndjson"])
def test_dead_letters(pipe, receiver, batch):
    options, query = ["--name", "shop", "--on-error", "dead-letter"], {"batch": batch, "batch_events": 8}
    pipe.drain(*options, query=query)
    receiver.rule = refuses(50, 71)
    seen = len(receiver.requests)
    each(pipe.source, "INSERT INTO t SELECT g, 'x' FROM generate_series(10, 90) g", "UPDATE t SET v = 'later' WHERE id IN (50, 51)")
    ended = pipe.drain(*options, query=query)
    assert ended.err.count("is set aside") >= 2 and "no such shop" in ended.err
    got = [event["new"]["id"] for event in receiver.events() if event["op"] == "insert"]
    assert got == [n for n in range(10, 91) if n not in (50, 71)], "each once, in order"
    assert receiver.repeats == 0, "what was taken was not sent again"
    assert [event["new"]["id"] for event in receiver.events() if event["op"] == "update"] == [51]
    assert len(receiver.requests) - seen < 130
    receiver.rule = lambda request: 200
    pipe.weir.run("dead", "retry", "shop", "--all")
    pipe.drain(*options, query=query)
    late = [(event["op"], event["new"]["id"]) for event in receiver.events()[-3:]]
    assert late == [("insert", 50), ("insert", 71), ("update", 50)] and receiver.repeats == 0


# ---------------------------------------------------------------------------------------------
# Kills
# ---------------------------------------------------------------------------------------------

class Load:
    """Transactions of some changes each, until it is ended."""

    def __init__(self, source, seed, pause, most):
        self.pause, self.most = pause, most
        self.source, self.chance, self.over = source, random.Random(seed), threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *what):
        self.over.set()
        self.thread.join()

    def run(self):
        ids = itertools.count(1000)
        while not self.over.wait(self.chance.uniform(0, self.pause)):
            made = [next(ids) for _ in range(self.chance.choice([1, 1, 3, self.most]))]
            statements = ["INSERT INTO t VALUES " + ", ".join(f"({n}, 'new')" for n in made)]
            statements += [f"UPDATE t SET v = 'other {n}' WHERE id = {n}" for n in made[:2]]
            statements += [f"UPDATE t SET id = -id WHERE id = {made[0]}", f"DELETE FROM t WHERE id = {made[-1]}"]
            self.source.sql(";".join(statements))


@pytest.mark.kill
@pytest.mark.parametrize("batch, pause, most, good", [("none", 0.1, 40, 300), ("array", 0.01, 300, 50), ("ndjson", 0.01, 300, 50)])
def test_kills(pipe, receiver, seed, batch, pause, most, good):
    """A receiver that drops what has a key that it knows has each change once, and in order: Replay sees to that."""
    query, slow = {"batch": batch}, random.Random(seed)
    pipe.drain(query=query)
    receiver.rule = lambda request: slow.choice([200] * good + ["cut", 503])
    with Load(pipe.source, seed, pause, most):
        kill_at_random(pipe, 15, 0.8, seed, query=query, goes_on=4)
    receiver.rule = lambda request: 200
    pipe.drain(query=query, timeout=300)
    pipe.check()
    assert receiver.repeats > 0, "no kill met a request that was to be repeated"
    places = [(event["lsn"], event["ordinal"]) for event in receiver.events() if event["op"] not in ("read", "schema")]
    assert places and len(places) == len(set(places))


@pytest.mark.parametrize("place, repeats", [("http-asks", 0), ("http-has-asked", 1)])
def test_killed_around_a_request(pipe, receiver, place, repeats):
    pipe.drain()
    pipe.source.sql("INSERT INTO t SELECT g, 'x' FROM generate_series(10, 19) g")
    pipe.drain(code=-9, WEIR_CRASH_POINT=f"{place}:2")
    pipe.drain()
    assert receiver.repeats >= repeats
    pipe.check()


def test_a_key_is_never_for_something_else(pipe, receiver):
    """Killed in the midst of a transaction, and started with batches of another size."""
    name = ["--name", "shop"]  # the default has what is in the URL
    pipe.drain(*name, query={"batch": "array"})
    seen = len(receiver.requests)
    receiver.rule = lambda request: "hold" if len(receiver.requests) > seen + 1 else 200
    pipe.source.sql("INSERT INTO t SELECT g, 'x' FROM generate_series(10, 19) g")
    process = pipe.start(*name, query={"batch": "array", "batch_events": 3})
    wait_for(lambda: len(receiver.requests) == seen + 2, 30, lambda: process.logs())
    process.kill()
    receiver.rule = lambda request: 200
    receiver.released.set()
    pipe.drain(*name, query={"batch": "array", "batch_events": 5})
    sizes = [len(request.lines()) for request in receiver.requests[seen:]]
    assert sizes == [3, 3, 5, 5]
    assert len({request.key for request in receiver.requests}) == len(receiver.requests)


def test_a_copy_that_is_killed(pipe, receiver):
    pipe.source.sql("INSERT INTO t SELECT g, 'x' FROM generate_series(100, 400) g")
    receiver.rule = lambda request: "hold" if len(receiver.requests) > 50 else 200
    process = pipe.start()
    wait_for(lambda: len(receiver.requests) > 50, 30, lambda: process.logs())
    process.kill()
    receiver.released.set()
    receiver.rule = lambda request: 200
    pipe.drain()
    assert ops(receiver).count("truncate") == 1, "a reader is told that the rows come again"
    pipe.check()


# ---------------------------------------------------------------------------------------------
# TLS and secrets
# ---------------------------------------------------------------------------------------------

@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_tls(weir, source, home, tmp_path):
    source.sql(TABLE)
    folder = tmp_path / "certificates"
    folder.mkdir()
    ours, theirs = Authority(folder, "ours"), Authority(folder, "theirs")
    receiver = Receiver(tmp_path, "https", server_context(ours.certify("localhost", home)))
    try:
        pipe = Pipeline(weir, source, receiver)
        for query in ({}, {"ca_file": str(theirs.certificate)}):
            process = pipe.start(query=query)
            process.expect("Nothing was sent", 60)
            process.kill()
        assert "that can be read" in pipe.drain(query={"ca_file": str(tmp_path / "nothing.pem")}, code=2).err
        assert receiver.requests == []
        pipe.drain(query={"ca_file": str(ours.certificate)})
        pipe.check()
    finally:
        receiver.close()


HUSH = "aHVzaC1odXNoLWh1c2gtaHVzaA=="


@pytest.mark.parametrize("answer", [200, (400, {}, "I was told whsec_" + HUSH + " and " + HUSH), 401, 503])
def test_secrets(weir, source, receiver, tmp_path, answer):
    """Whichever way they are given, whatever the receiver says: in no line, no file, no list of processes."""
    source.sql(TABLE)
    (tmp_path / "secret").write_text("whsec_" + HUSH + "\n")
    (tmp_path / "weir.yml").write_text(f"""
connections:
  shop: {{ type: postgres, url: '{source.url}' }}
  hook: {{ type: http, url: '{receiver.base}/{HUSH}?token={HUSH}', signature: standard-webhooks, secret_file: {tmp_path}/secret,
           header: ['Authorization: Bearer ${{HUSH}}', 'Accept: a, b'] }}
pipelines:
  hooked: {{ from: {{ connection: shop }}, to: {{ connection: hook }} }}
""")
    receiver.rule = lambda request: answer
    weir.run("check", tmp_path / "weir.yml", code=None, HUSH=HUSH)
    process = weir.start("run", tmp_path / "weir.yml", "--until", "now", "--log-level", "debug", HUSH=HUSH)
    wait_for(lambda: not process.alive() or "retrying" in process.logs(), 60, lambda: process.logs())
    process.kill()
    first = receiver.requests[0]
    assert first.headers["Authorization"] == "Bearer " + HUSH and first.headers["Accept"] == "a, b"
    assert first.headers["webhook-signature"] == standard_signature(HUSH, first)
    for path in itertools.chain(tmp_path.glob("run*"), (tmp_path / "state").rglob("*")):
        assert not path.is_file() or HUSH.encode() not in path.read_bytes(), f"{path} has a secret"


def test_a_secret_on_a_command_line(pipe, receiver):
    receiver.rule = lambda request: "hold"
    process = pipe.start(query={"signature": "hmac-sha256", "secret": HUSH})
    wait_for(lambda: receiver.requests, 30, lambda: process.logs())
    with open(f"/proc/{process.popen.pid}/cmdline", "rb") as words:
        assert HUSH.encode() not in words.read()
    process.kill()
    assert HUSH not in process.logs()


def test_check_says_what_would_happen(pipe, receiver):
    ended = pipe.weir.run("check", pipe.source.url, receiver.url(batch="array"))
    assert "POST http://127.0.0.1" in ended.out and "at-least-once" in ended.out
    assert receiver.requests == []
