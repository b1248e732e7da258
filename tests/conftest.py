"""Fixtures of all tests against real servers. One server a version and worker for the session; a database of its own for each test."""
import gc
import json
import os
import random

import pytest

from harness import postgres
from harness.compare import assert_equal, compare_table, read_postgres
from harness.proxy import Proxy
from harness.targets import SINKS, SQL_SINKS, make_target
from harness.wait import wait_for
from harness.weir import Weir

# The version a test gets that does not ask for one: each sink meets another.
VERSION_OF_SINK = {"sqlite": 15, "duckdb": 18, "postgres": 16, "file": 17}
DEFAULT_VERSION = 15


def pytest_configure(config):
    config.addinivalue_line("markers", "smoke: the few that ./dev test --quick runs")
    config.addinivalue_line("markers", "kill: kills the program at random moments")
    config.addinivalue_line("markers", "memory: needs the program without sanitizers")
    config.addinivalue_line("markers", "sql: for the sinks that are databases")
    config.addinivalue_line("markers", "harness: tests of the harness itself")
    config.addinivalue_line("markers", "schema: tables that change their shape")
    config.addinivalue_line("markers", "errors: bad input, broken servers, full disks")
    config.addinivalue_line("markers", "fault: faults on real servers, disks and clocks")
    config.addinivalue_line("markers", "soak: many kills and faults; not part of a run that names no suite")
    config.addinivalue_line("markers", "tsan: where threads meet; runs under the thread sanitizer, too")
    config.addinivalue_line("markers", "valgrind: the few that run under valgrind, too")
    config.addinivalue_line("markers", "demo: ./dev demo in its quick form")


def pytest_collection_finish():
    """The thousands of tests that stay are not looked through again and again for what is garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def home():
    made = postgres.Home()
    yield made
    made.close()


class Servers:
    def __init__(self, home):
        self.home = home
        self.running = {}

    def get(self, version):
        reason = postgres.missing_reason(version)
        if reason:
            pytest.skip(reason)
        if version not in self.running:
            self.running[version] = postgres.Postgres(self.home, version)
        return self.running[version]


@pytest.fixture(scope="session")
def servers(home):
    return Servers(home)


@pytest.fixture
def version(request):
    """Parametrise it to choose; without that the sink decides."""
    if hasattr(request, "param"):
        return request.param
    if "sink" in request.fixturenames:
        wanted = VERSION_OF_SINK.get(request.getfixturevalue("sink"), DEFAULT_VERSION)
        # A quick run has no other versions than Debian's.
        quick = os.environ.get("WEIR_TEST_QUICK") and postgres.missing_reason(wanted)
        return DEFAULT_VERSION if quick else wanted
    return DEFAULT_VERSION


@pytest.fixture
def server(servers, version):
    return servers.get(version)


@pytest.fixture
def make_database(server):
    made = []

    def make(name=None, on=None):
        made.append((on or server).database(name))
        return made[-1]
    yield make
    for database in made:
        if database.server.process is not None:
            database.drop()


@pytest.fixture
def own_server(home, version):
    """A server that the test may restart, break and fill."""
    made = []

    def make(**settings):
        reason = postgres.missing_reason(version)
        if reason:
            pytest.skip(reason)
        made.append(postgres.Postgres(home, version, **settings))
        return made[-1]
    yield make
    for one in made:
        one.destroy()


@pytest.fixture
def weir(tmp_path, request, make_database):
    """After make_database, so that it is stopped before its databases go."""
    program = Weir(tmp_path)
    yield program
    program.kill_all()


@pytest.fixture
def source(make_database):
    return make_database()


@pytest.fixture
def target(sink, tmp_path, make_database):
    return make_target(sink, tmp_path, make_database)


class Pipeline:
    """What most tests need: a source, a target, the program between them."""

    def __init__(self, weir, source, target):
        self.weir, self.source, self.target = weir, source, target

    def drain(self, *options, **more):
        query = more.pop("query", {})
        return self.weir.drain(self.source.url, self.target.url(**query), *options, **more)

    def start(self, *options, **more):
        query = more.pop("query", {})
        return self.weir.start("stream", self.source.url, self.target.url(**query), *options, **more)

    def verify(self, *options, code=0, query=None):
        """The tables of the JSON document by name."""
        ended = self.weir.run("verify", "--format", "json", self.source.url, self.target.url(**(query or {})), *options, code=code)
        document = json.loads(ended.out)
        assert document["equal"] == (code == 0)
        return {table["name"]: table for table in document["pipelines"][0]["tables"]}

    def check(self, tables=None, **read):
        assert_equal(self.source, self.target, tables, **read)

    def check_history(self, tables):
        """mode=history, played back, gives the source."""
        for table in tables:
            wanted = read_postgres(self.source.connection, "public", table)
            state, _ = self.target.history("public", table, wanted)
            assert compare_table(table, wanted, state, self.target.kind) == []

    def settle(self, process, timeout=60):
        """Until everything that is committed now is durable in the target."""
        def has_slot():
            process.must_live()
            return self.source.has_slot()

        def confirmed():
            process.must_live()
            return self.source.confirmed(lsn)
        # A slot that gets its first position later would have confirmed everything from the start.
        wait_for(has_slot, timeout, lambda: f"a slot is made\n{process.logs()[-3000:]}")
        lsn = self.source.lsn()
        wait_for(confirmed, timeout, lambda: f"{lsn} is confirmed: {self.source.slots()}\n{process.logs()[-3000:]}")


@pytest.fixture
def pipeline(weir, source, target):
    return Pipeline(weir, source, target)


@pytest.fixture
def make_proxy():
    """A network that fails, in front of a database's server."""
    made = []

    def make(database):
        made.append(Proxy(database.server.port))
        return made[-1]
    yield make
    for one in made:
        one.close()


@pytest.fixture
def seed():
    """WEIR_TEST_SEED repeats a run's moments."""
    seed = int(os.environ.get("WEIR_TEST_SEED", random.randrange(1 << 30)))
    print(f"WEIR_TEST_SEED={seed}")
    return seed


@pytest.fixture
def make_hub(weir, source, make_database, tmp_path):
    """@kind: of harness.hub. @on: the server of its source, if not the one of all."""
    def make(kind, *routes, on=None, **settings):
        return kind(weir, on.database() if on else source, make_database, tmp_path, routes, **settings)
    return make


def pytest_generate_tests(metafunc):
    if "sink" in metafunc.fixturenames and not any(
            "sink" in str(m.args[0]).replace(" ", "").split(",") for m in metafunc.definition.iter_markers("parametrize")):
        metafunc.parametrize(
            "sink", SQL_SINKS if metafunc.definition.get_closest_marker("sql") else SINKS)
