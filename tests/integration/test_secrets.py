"""Passwords, whichever way they come: they are in nothing that is written, shown or kept. What a run prints is looked
through behind every run of every test (harness/weir.py)."""
import json
import os
import pathlib
import shutil
import sys
import urllib.request

import pytest

from harness.postgres import PASSWORD, ROOT
from harness.stripe import Stripe
from harness.stripe_api import post, sign
from harness.wait import wait_for

from test_metrics import free_port

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'row ' || g FROM generate_series(1, 20) g"
LOUD = ["--log-level", "debug", "--log-format", "json"]


class Way:
    """How somebody gives passwords: what stands in the place of a URL, and what is around the program."""

    def __init__(self, kind, folder):
        self.kind, self.environment = kind, {}
        if kind == "PGPASSWORD":
            self.environment["PGPASSWORD"] = PASSWORD
        if kind == "passfile":
            file = folder / "passfile"
            file.write_text(f"*:*:*:postgres:{PASSWORD}\n")
            file.chmod(0o600)
            self.environment["PGPASSFILE"] = str(file)

    def url(self, database):
        server = database.server
        plain = f"postgres://postgres@127.0.0.1:{server.port}/{database.name}"
        return {"url": database.url, "query": f"{plain}?password={PASSWORD}",
                "keywords": f"host=127.0.0.1 port={server.port} user=postgres dbname={database.name} password='{PASSWORD}'",
                }.get(self.kind, plain)


@pytest.fixture(params=["url", "query", "keywords", "PGPASSWORD", "passfile"])
def way(request, tmp_path):
    return Way(request.param, tmp_path)


def looked_through(folder, but=()):
    """No file below it has the password."""
    for path in pathlib.Path(folder).rglob("*"):
        if path.is_file() and path.name not in but:
            assert PASSWORD.encode() not in path.read_bytes(), f"{path} has the password"


def told_by(database):
    """What the server knows of its connections and of what they ask."""
    return str(database.sql("SELECT application_name, query FROM pg_stat_activity"))


def stored_in(database):
    """Every row of every table that is not the server's, as text."""
    tables = database.sql("SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
                          "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')")
    return str([database.sql(f"SELECT x::text FROM {table} x") for table, in tables])


def test_a_pipeline_that_runs(weir, source, make_database, way, tmp_path):
    target, port = make_database(), free_port()
    source.sql(TABLE)
    process = weir.start("stream", way.url(source), way.url(target), "--metrics", f"127.0.0.1:{port}", *LOUD, **way.environment)
    wait_for(lambda: '"streaming"' in process.logs() or not process.alive(), 20, lambda: process.logs())
    process.must_live()
    source.sql("UPDATE t SET v = 'now'")
    source.wait_confirmed()
    assert PASSWORD.encode() not in pathlib.Path(f"/proc/{process.popen.pid}/cmdline").read_bytes(), "ps shows it"
    for page in ("/metrics", "/health", "/"):
        assert PASSWORD not in urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=10).read().decode()
    assert PASSWORD not in told_by(source) + stored_in(target) + stored_in(source)
    assert process.stop().code == 0
    assert target.one("SELECT count(*) FROM t WHERE v = 'now'") == 20
    looked_through(tmp_path, ["passfile"])


@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_what_is_kept(weir, source, way, tmp_path, kind):
    """The target's files and the state, with a disk buffer's log."""
    source.sql(TABLE)
    weir.run("stream", way.url(source), f"{kind}:{tmp_path}/target", "--until", "now", "--buffer", "disk", *LOUD, **way.environment)
    looked_through(tmp_path, ["passfile"])


def test_other_commands(weir, source, make_database, way, tmp_path):
    source.sql(TABLE)
    target = make_database()
    weir.run("check", way.url(source), way.url(target), code=None, **way.environment)
    weir.run("check", way.url(source), way.url(target), "--format", "json", code=None, **way.environment)
    weir.run("copy", way.url(source), way.url(target), *LOUD, **way.environment)
    weir.run("slots", "list", way.url(source), **way.environment)
    weir.run("slots", "drop", way.url(source), "no_such", code=None, **way.environment)
    looked_through(tmp_path, ["passfile"])


def broken(database, way):
    """{what is wrong: a connection that fails}, each quoted by somebody on its way."""
    good = way.url(database)
    port = str(database.server.port)
    return {"nobody there": good.replace(port, "1"), "no such database": good.replace(database.name, "no_such_db"),
            "no such user": good.replace("postgres@", "nobody@").replace("postgres:", "nobody:", 2).replace("nobody://", "postgres://")
            .replace("user=postgres", "user=nobody"),
            "wrong password": good.replace(PASSWORD, PASSWORD + "x"),
            "no such option": good + (" no_such=1" if way.kind == "keywords" else ("&" if "?" in good else "?") + "no_such=1")}


@pytest.mark.parametrize("wrong", ["nobody there", "no such database", "no such user", "wrong password", "no such option"])
def test_runs_that_fail(weir, source, make_database, way, tmp_path, wrong):
    source.sql(TABLE)
    target = make_database()
    for from_url, to_url in ((broken(source, way)[wrong], "null:"), (way.url(source), broken(target, way)[wrong])):
        for command in (["stream", "--until", "now", *LOUD], ["check"]):
            process = weir.start(command[0], from_url, to_url, *command[1:], **way.environment)
            wait_for(lambda: not process.alive() or "retrying" in process.logs(), 20, lambda: process.logs())
            process.kill()
            process.check_words()
    looked_through(tmp_path, ["passfile"])


PROJECT = """
connections:
  shop: {{ type: postgres, url: '{source}' }}
  copy: {{ type: postgres, url: '{target}'{more} }}
pipelines:
  shop:
    from: {{ connection: shop }}
    to: {{ connection: copy }}
"""


@pytest.mark.parametrize("more, code", [("", 0), (", mode: ${HUSH}", 2), (", mode: '${HUSH}'", 2), (", ${HUSH}: 1", 2), (", schema: '${HUSH'", 2)])
def test_a_project(weir, source, make_database, tmp_path, more, code):
    """From the environment, also where it does not belong."""
    target = make_database()
    source.sql(TABLE)
    urls = {name: one.url.replace(PASSWORD, "${HUSH}") for name, one in (("source", source), ("target", target))}
    (tmp_path / "weir.yml").write_text(PROJECT.format(**urls, more=more))
    for command in ("check", "run"):
        words = [] if command == "check" else ["--until", "now", *LOUD]
        ended = weir.run(command, tmp_path / "weir.yml", *words, code=None, HUSH=PASSWORD)
        assert (ended.code == 0) == (code == 0) or command == "check", ended
    looked_through(tmp_path)
    assert PASSWORD not in stored_in(target)


def test_a_project_from_a_file(weir, source, tmp_path):
    source.sql(TABLE)
    (tmp_path / "secret").write_text(PASSWORD + "\n")
    url = source.url.replace(PASSWORD, "${file:secret}")
    (tmp_path / "weir.yml").write_text(f"connections: {{ shop: {{ type: postgres, url: '{url}' }}, none: {{ type: 'null' }} }}\n"
                                       "pipelines: { shop: { from: { connection: shop }, to: { connection: none } } }\n")
    ended = weir.run("run", tmp_path / "weir.yml", "--until", "now", *LOUD)
    assert any(json.loads(line)["message"] == "done" for line in ended.err.splitlines())
    looked_through(tmp_path, ["secret"])


# ---------------------------------------------------------------------------------------------
# A hub
# ---------------------------------------------------------------------------------------------

API_KEY, ENDPOINT = "sk_live_" + PASSWORD[::-1], "whsec_" + PASSWORD[::-1]
PRODUCTS = "CREATE TABLE products (id bigserial PRIMARY KEY, stripe_id text UNIQUE, product_name text NOT NULL, price int)"
REPORTS = [(), ("--no-connect",), ("--format", "json"), ("--dot",)]


class Hub:
    """The example, with keys of the test's own."""

    def __init__(self, weir, folder):
        self.weir, self.folder = weir, pathlib.Path(shutil.copytree(ROOT / "examples/hub-stripe", folder / "hub"))
        self.environment = {}

    def give(self, system, keys):
        """In the place of its connection; @keys: lines, or {key: value}."""
        file = self.folder / f"systems/{system}.yml"
        lines = keys if isinstance(keys, str) else "".join(f"  {key}: {value}\n" for key, value in keys.items())
        gone = ["  dsn:", "  api_key:", "  use_cli_listener:", *(["  type:"] if "  type:" in lines else [])]
        kept = [line for line in file.read_text().splitlines(True) if not line.startswith(tuple(gone))]
        file.write_text("".join(kept).replace(f"{system}:\n", f"{system}:\n{lines}"))

    def check(self, *options):
        ended = self.weir.run("check", self.folder, *options, "--log-level", "debug", code=None, **self.environment)
        for secret in (PASSWORD, API_KEY, ENDPOINT):
            assert secret not in ended.text, f"a secret was printed\n{ended}"
        return ended


@pytest.fixture
def hub(weir, tmp_path):
    return Hub(weir, tmp_path)


def write_keys(hub, given, keys):
    """The lines for keys that are given in a way."""
    lines = {}
    for key, value in keys.items():
        file = hub.folder.parent / f"{key}.txt"
        file.write_text(value + "\n")
        hub.environment["HUSH_" + key] = value
        lines |= {"plain": {key: f"'{value}'"}, "variable": {key: f"${{HUSH_{key}}}"}, "inside": {key: f"${{file:{file}}}"},
                  "file": {key + "_file": str(file)}}[given]
    return lines


@pytest.mark.parametrize("in_parts", [False, True], ids=["dsn", "parts"])
@pytest.mark.parametrize("given", ["plain", "variable", "inside", "file"])
def test_a_hub(hub, source, given, in_parts):
    source.sql(PRODUCTS)
    parts = {"hostname": "127.0.0.1", "port": str(source.server.port), "database": source.name, "username": "postgres", "password": PASSWORD}
    hub.give("prod-db", write_keys(hub, given, parts if in_parts else {"dsn": source.url, "replication_dsn": source.url}))
    hub.give("payment-gateway", write_keys(hub, given, {"api_key": API_KEY, "endpoint_secret": ENDPOINT}))
    for options in REPORTS:
        assert hub.check(*options).code == 0
    source.sql("DROP TABLE products")
    for options in ((), ("--format", "json")):
        assert hub.check(*options).code == 2


@pytest.mark.parametrize("wrong", ["nobody there", "no such database", "no such user", "wrong password", "no such option"])
def test_a_hub_that_reaches_nobody(hub, source, way, wrong):
    hub.environment = way.environment
    hub.give("prod-db", {"dsn": json.dumps(broken(source, way)[wrong])})
    hub.give("payment-gateway", {"api_key": API_KEY, "endpoint_secret": ENDPOINT})
    for options in REPORTS:
        offline = options == ("--no-connect",)
        assert hub.check(*options).code == (0 if offline else 2)


URL = f"postgres://postgres:{PASSWORD}@127.0.0.1:1/shop"
MISTAKES = {
    "cut short": f"  dsn: postgres://postgres:{PASSWORD}\n",
    "not encoded": f"  dsn: postgres://postgres:a/{PASSWORD}@127.0.0.1:1/shop\n",
    "an open quote": f"  dsn: host=127.0.0.1 password='{PASSWORD}\n",
    "a URL for a host": f"  hostname: {URL}\n  port: 1\n",
    "a URL for a database": f"  hostname: 127.0.0.1\n  port: 1\n  database: {URL}\n",
    "a URL for a user": f"  hostname: 127.0.0.1\n  port: 1\n  username: {URL}\n",
    "a URL for a number": f"  dsn: x\n  port: {URL}\n",
    "a URL for a type": f"  dsn: x\n  type: {URL}\n",
    "beside the parts": f"  dsn: {URL}\n  password: {PASSWORD}\n",
    "misspelt": f"  dns: {URL}\n  pasword: {PASSWORD}\n",
    "twice": f"  dsn: {URL}\n  dsn: {URL}\n",
    "empty": f"  hostname: ''\n  password: {PASSWORD}\n",
    "a list": f"  hostname: h\n  password: [{PASSWORD}]\n",
    "a mapping": f"  hostname: h\n  password: {{ a: {PASSWORD} }}\n",
    "an open variable": f"  dsn: postgres://postgres:${{{PASSWORD}@127.0.0.1:1/shop\n",
    "an open quote of YAML": f"  hostname: h\n  password: '{PASSWORD}\n",
    "a colon": f"  hostname: h\n  password: {PASSWORD}: x\n",
    "a tab": f"  hostname: h\n\tpassword: {PASSWORD}\n",
    "nowhere": f"  {PASSWORD}\n",
    "for a number": "  dsn: x\n  port: ${HUSH}\n",
    "for a number, from a file": "  dsn: x\n  port_file: ${HUSH_FILE}\n",
} | {f"begins with {c}": f"  hostname: 127.0.0.1\n  port: 1\n  password: {c}{PASSWORD}\n" for c in "*&!@`%|>[{#?-,"}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_hub_with_mistakes(hub, mistake, tmp_path):
    (tmp_path / "hush").write_text(PASSWORD)
    hub.environment = {"HUSH": PASSWORD, "HUSH_FILE": str(tmp_path / "hush")}
    hub.give("prod-db", MISTAKES[mistake])
    hub.give("payment-gateway", {"api_key": API_KEY, "endpoint_secret": ENDPOINT})
    assert hub.check().code == 2
    for options in REPORTS:
        hub.check(*options)


GATEWAY_MISTAKES = {
    "misspelt": f"  api_kye: {API_KEY}\n",
    "one is empty": f"  api_key: {API_KEY}\n  endpoint_secret: [{ENDPOINT}, '']\n",
    "one is none": f"  api_key: {API_KEY}\n  endpoint_secret: [{ENDPOINT}, null]\n",
    "a list": f"  api_key: [{API_KEY}]\n  use_cli_listener: true\n",
    "a mapping": f"  api_key: {API_KEY}\n  endpoint_secret: {{ a: {ENDPOINT} }}\n",
    "twice": f"  api_key: {API_KEY}\n  api_key: {API_KEY}x\n",
    "no endpoint": f"  api_key: {API_KEY}\n",
    "for a truth value": f"  api_key: {API_KEY}\n  use_cli_listener: ${{HUSH}}\n",
    "for a type": f"  api_key: {API_KEY}\n  type: ${{HUSH}}\n",
}


@pytest.mark.parametrize("mistake", GATEWAY_MISTAKES)
def test_a_gateway_with_mistakes(hub, mistake):
    hub.environment = {"HUSH": ENDPOINT}
    hub.give("payment-gateway", GATEWAY_MISTAKES[mistake])
    hub.give("prod-db", {"dsn": URL})
    for options in REPORTS:
        assert hub.check(*options).code == 2


# ---------------------------------------------------------------------------------------------
# A hub that runs
# ---------------------------------------------------------------------------------------------

SECRETS = (PASSWORD, API_KEY, ENDPOINT)


def has_none(text, where):
    for secret in SECRETS:
        assert secret not in text, f"{where} has a secret:\n{text[-3000:]}"


def files_have_none(folder, but=()):
    for path in pathlib.Path(folder).rglob("*"):
        if path.is_file() and path.name not in but:
            has_none(path.read_bytes().decode(errors="replace"), path)


class RunningHub(Hub):
    """With something in the place of Stripe, which takes that key alone."""

    def __init__(self, weir, folder, stripe, database, given):
        super().__init__(weir, folder)
        stripe.KEY = API_KEY
        self.stripe, self.database = stripe, database
        database.sql(PRODUCTS)
        self.give("prod-db", write_keys(self, given, {"dsn": database.url, "replication_dsn": database.url}))
        keys = write_keys(self, given, {"api_key": API_KEY, "endpoint_secret": ENDPOINT})
        self.give("payment-gateway", keys | {"api_base": stripe.url})

    def start(self, **more):
        self.port, self.metrics = free_port(), free_port()
        return self.weir.start("run", self.folder, "--listen", f"127.0.0.1:{self.port}", "--metrics", f"127.0.0.1:{self.metrics}", *LOUD,
                               **self.environment, **more)

    def tell(self, secret=ENDPOINT, **thing):
        body = json.dumps({"id": f"evt_{thing['id']}", "object": "event", "type": "product.created", "created": 1,
                           "data": {"object": {"object": "product", **thing}}}).encode()
        return post(f"http://127.0.0.1:{self.port}/payment-gateway", body, sign(body, secret))

    def asks(self):
        """Everything that a user can ask while it runs, and what the system shows of it."""
        shown = [self.weir.run("status", *options, code=None).text for options in ((), ("--format", "json"))]
        shown += [urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}{page}", timeout=10).read().decode()
                  for page in ("/metrics", "/health", "/status", "/")]
        shown.append(urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/healthcheck", timeout=10).read().decode())
        listed = self.weir.run("dead", "list").out
        letters = [line.split()[:2] for line in listed.splitlines()[1:]]
        return shown + [listed] + [self.weir.run("dead", "show", *letter).text for letter in letters], letters


@pytest.fixture
def stripe():
    made = Stripe()
    yield made
    made.close()


def arguments(process):
    """As ps shows them, also of what it started."""
    return " ".join(path.read_bytes().decode(errors="replace") for path in pathlib.Path("/proc").glob("[0-9]*/cmdline")
                    if str(process.popen.pid) in (path.parent.name, parent_of(path.parent)))


def parent_of(folder):
    try:
        return (folder / "stat").read_text().rsplit(")", 1)[1].split()[1]
    except OSError:
        return None


@pytest.mark.parametrize("given", ["plain", "variable", "inside", "file"])
def test_a_hub_that_runs(weir, source, stripe, tmp_path, given):
    """With everything going wrong that Stripe, the database and who calls can do."""
    hub = RunningHub(weir, tmp_path, stripe, source, given)
    process = hub.start()
    wait_for(lambda: hub.tell(id="prod_w0", name=None)[0] == 200 or not process.alive(), 30, lambda: process.logs())
    wait_for(lambda: process.logs().count('"streaming"') == 4, 30, lambda: process.logs())
    answers = [hub.tell("whsec_other", id="prod_w1"), hub.tell(API_KEY, id="prod_w1"), hub.tell(id="prod_w2", name="fine", metadata={"id": "7"})]
    assert [code for code, _ in answers] == [400, 400, 200]
    stripe.fail(429)
    stripe.fail(500)
    source.sql("INSERT INTO products (id, product_name) VALUES (1, 'a'), (2, ''), (3, 'c')")  # the second one is refused
    wait_for(lambda: source.one("SELECT count(*) FROM products WHERE stripe_id IS NOT NULL") == 3, 30, lambda: process.logs())
    shown, letters = hub.asks()
    assert {pipeline for pipeline, _ in letters} == {"hub.from.payment-gateway", "hub.to.payment-gateway"}
    has_none(str(answers) + "".join(shown), "what it answers")
    has_none(arguments(process), "ps")
    has_none(told_by(source) + stored_in(source), "the database")
    has_none(str([(asked.path, asked.body, asked.key) for asked in stripe.asked]), "what Stripe is asked")
    # Stripe does not know the key any more, and says it back, as a proxy may.
    stripe.KEY, stripe.refusal = "another", f"Invalid API Key provided: {API_KEY}; whsec {ENDPOINT}, {source.url}"
    source.sql("INSERT INTO products (id, product_name) VALUES (4, 'd')")
    process.expect("Invalid API Key provided")
    process.expect("Stripe does not know the system's api_key")
    process.stop()
    files_have_none(tmp_path, [path.name for path in tmp_path.glob("*.txt")] + (["prod-db.yml", "payment-gateway.yml"] if given == "plain" else []))
    has_none(process.logs(), "its log")


CLI = """#!%s
import os, sys
secret = os.environ["HUSH_OF_CLI"]
if "--print-secret" in sys.argv:
    print(secret)
    sys.exit(0)
print("> Ready! You are using Stripe API Version [2024-06-20]. Your webhook signing secret is " + secret + " (^C to quit)", flush=True)
if os.environ["LAST"] == "the key":
    print("it was called with", os.environ["STRIPE_API_KEY"], flush=True)
sys.exit(1)
"""


@pytest.mark.parametrize("last", ["the secret", "the key"])
def test_what_the_cli_says(weir, source, stripe, tmp_path, last):
    """It prints the secret that it signs with, and those are its last words."""
    hub = RunningHub(weir, tmp_path, stripe, source, "variable")
    file = hub.folder / "systems/payment-gateway.yml"
    file.write_text(file.read_text().replace("  endpoint_secret: ${HUSH_endpoint_secret}", "  use_cli_listener: true"))
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "stripe").write_text(CLI % sys.executable)
    (folder / "stripe").chmod(0o755)
    process = hub.start(PATH=f"{folder}:{os.environ['PATH']}", HUSH_OF_CLI=ENDPOINT, LAST=last)
    process.expect("the Stripe CLI has ended")
    has_none(arguments(process), "ps")
    assert process.stop().code == 0
    has_none(process.logs(), "its log")
    files_have_none(tmp_path, [path.name for path in tmp_path.glob("*.txt")])


@pytest.mark.parametrize("wrong", ["nobody there", "no such database", "no such user", "wrong password", "no such option"])
def test_a_hub_whose_database_is_not_there(weir, source, stripe, tmp_path, wrong):
    hub = RunningHub(weir, tmp_path, stripe, source, "variable")
    hub.environment["HUSH_dsn"] = broken(source, Way("url", tmp_path))[wrong]
    hub.environment["HUSH_replication_dsn"] = hub.environment["HUSH_dsn"]
    process = hub.start()
    said = '"retrying"' if wrong == "nobody there" else '"failed"'
    wait_for(lambda: process.logs().count(said) > 1, 30, lambda: process.logs())
    process.kill()
    has_none(process.logs() + process.out.read_text(), "what it says")
    errors = [line["error"] for line in process.log_lines() if "error" in line]
    assert all(error.startswith("system prod-db: ") for error in errors), errors
    files_have_none(tmp_path, [path.name for path in tmp_path.glob("*.txt")])
