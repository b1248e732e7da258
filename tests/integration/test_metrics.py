"""What a running weir says of itself over HTTP."""
import re
import socket
import time
import urllib.error
import urllib.request

import pytest

from harness.wait import wait_for

from test_basics import CHANGES, SHOP

pytestmark = pytest.mark.tsan
SAMPLE = re.compile(r'^([a-z_]+)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.headers, refusal.read().decode()


def metrics(port):
    """{(name, frozenset of labels): value}; the text is well-formed, each family said once."""
    code, headers, text = get(port, "/metrics")
    assert code == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found, families = {}, []
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            families.append(line.split()[2])
        elif not line.startswith("# HELP "):
            name, labels, value = SAMPLE.match(line).groups()
            assert name == families[-1], line
            key = name, frozenset(LABEL.findall(labels or ""))
            assert key not in found, line
            found[key] = float(value)
    assert len(set(families)) == len(families)
    return found


def value(found, name, **labels):
    matches = [v for (n, have), v in found.items() if n == name and set(labels.items()) <= have]
    assert len(matches) == 1, (name, labels, matches)
    return matches[0]


@pytest.mark.parametrize("sink", ["sqlite"])
def test_figures_are_true(pipeline):
    port = free_port()
    pipeline.source.sql(SHOP)
    process = pipeline.start("--metrics", f":{port}", "--name", "shop")
    pipeline.settle(process)
    assert value(metrics(port), "weir_copy_rows", pipeline="shop") == 1200
    before = value(metrics(port), "weir_changes_total", pipeline="shop", sink="sqlite")
    pipeline.source.sql("INSERT INTO customers SELECT g, 'm', NULL FROM generate_series(5000, 5099) g")
    pipeline.settle(process)
    wait_for(lambda: value(metrics(port), "weir_changes_total", pipeline="shop") >= before + 100, 10, "they are counted")
    found = metrics(port)
    assert value(found, "weir_lag_seconds", pipeline="shop") == 0
    assert value(found, "weir_phase", pipeline="shop", phase="streaming") == 1
    assert value(found, "weir_phase", pipeline="shop", phase="copying") == 0
    confirmed = pipeline.source.slots()[0][2]
    high, low = (int(part, 16) for part in confirmed.split("/"))
    assert value(found, "weir_confirmed_lsn_bytes", pipeline="shop") >= high << 32 | low
    for stage in ("received", "delivered", "durable", "confirmed"):
        assert 0 <= value(found, f"weir_{stage}_lag_bytes", pipeline="shop") < 1 << 20
    assert get(port, "/health")[0] == 200
    assert process.stop().code == 0


STEPS = ("sent", "received", "delivered", "durable", "confirmed")


def ladder(port, figure):
    found = metrics(port)
    return [value(found, f"weir_{step}_{figure}", pipeline="shop") for step in STEPS]


@pytest.mark.parametrize("sink", ["postgres"])
def test_how_far_behind(pipeline):
    """Each step has its own delay, by the server's clock; what lacks nothing has none, however long that is."""
    port = free_port()
    pipeline.source.sql(SHOP)
    process = pipeline.start("--metrics", f":{port}", "--name", "shop")
    pipeline.settle(process)
    wait_for(lambda: ladder(port, "lag_seconds") == [0] * 5, 20, "it is behind by nothing")
    time.sleep(2.5)  # longer than it looks away from the server
    assert max(ladder(port, "lag_seconds")) < 1
    database = pipeline.target.database
    with database.server.connect(database.name) as holder:
        holder.autocommit = False
        holder.execute("LOCK TABLE customers")
        since = pipeline.source.one("UPDATE customers SET note = 'held' WHERE id = 1 RETURNING clock_timestamp()")
        pipeline.source.sql("CREATE TABLE other AS SELECT generate_series(1, 20000) n")
        wait_for(lambda: value(metrics(port), "weir_durable_lag_seconds") > 3, 20, "it is behind")
        sent, received, delivered, durable, confirmed = ladder(port, "lag_seconds")
        age = (pipeline.source.one("SELECT clock_timestamp()") - since).total_seconds()
        assert max(sent, received, delivered) < 2 and 3 < durable <= age and durable - 0.1 <= confirmed <= age + 0.1
        head = value(metrics(port), "weir_source_head_lsn_bytes")
        assert head >= pipeline.source.one("SELECT %s::pg_lsn - '0/0'", pipeline.source.lsn()) - (4 << 20)
        behind = ladder(port, "lag_bytes")
        assert behind == sorted(behind) and behind[3] > 1000000 > behind[1]
        holder.rollback()
    wait_for(lambda: ladder(port, "lag_seconds") == [0] * 5, 20, "it has caught up")
    assert process.stop().code == 0


@pytest.mark.parametrize("sink", ["sqlite"])
def test_how_long_it_was_away(pipeline):
    """What was committed meanwhile is as old as it is, not as long as it is known of."""
    port = free_port()
    pipeline.source.sql(SHOP)
    pipeline.drain("--name", "shop")
    pipeline.source.sql("INSERT INTO customers SELECT g, repeat('m', 500), NULL FROM generate_series(5000, 60000) g")
    time.sleep(1.5)
    process = pipeline.start("--metrics", f":{port}", "--name", "shop")
    seen = []

    def sees():
        process.must_live()
        try:
            seen.append(ladder(port, "lag_seconds")[3])
        except (OSError, AssertionError):
            pass
        return max(seen, default=0) > 1.5
    wait_for(sees, 30, lambda: f"its age is seen: {seen}", every=0.005)
    wait_for(lambda: ladder(port, "lag_seconds") == [0] * 5, 20, "it has caught up")
    assert process.stop().code == 0


@pytest.mark.parametrize("sink", ["postgres"])
def test_trouble_is_told(pipeline):
    """A target that is held up shows as lag, one that refuses connections as a retry and ill health."""
    port = free_port()
    pipeline.source.sql(SHOP)
    process = pipeline.start("--metrics", f"127.0.0.1:{port}")
    pipeline.settle(process)
    database = pipeline.target.database
    with database.server.connect(database.name) as holder:
        holder.autocommit = False
        holder.execute("LOCK TABLE customers")
        pipeline.source.sql("UPDATE customers SET note = 'held' WHERE id = 1")
        wait_for(lambda: value(metrics(port), "weir_lag_seconds") > 0.5, 20, "the lag grows")
        holder.rollback()
    wait_for(lambda: value(metrics(port), "weir_lag_seconds") == 0, 20, "the lag is gone")
    with database.server.connect() as admin:
        admin.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS false')
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database.name,))
        pipeline.source.sql("UPDATE customers SET note = 'away' WHERE id = 1")
        wait_for(lambda: value(metrics(port), "weir_retries_total") >= 1, 30, "a retry is counted")
        wait_for(lambda: get(port, "/health")[0] == 503, 30, "it is not well")
        admin.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS true')
    wait_for(lambda: get(port, "/health")[0] == 200, 60, "it is well again")
    process.stop()


@pytest.mark.valgrind
@pytest.mark.parametrize("sink", ["sqlite"])
def test_only_what_is_asked_for(pipeline):
    port = free_port()
    pipeline.source.sql(SHOP)
    process = pipeline.start("--metrics", f":{port}")
    pipeline.settle(process)
    assert get(port, "/")[0] == 200
    assert get(port, "/../../etc/passwd")[0] == 404
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", data=b"x" * 100000, method="POST")
    with pytest.raises(urllib.error.HTTPError, match="405"):
        urllib.request.urlopen(request, timeout=10)
    with socket.create_connection(("127.0.0.1", port)) as raw:  # half a request holds nobody up
        raw.sendall(b"GET /metr")
        assert get(port, "/metrics")[0] == 200
    pipeline.source.sql(CHANGES)
    pipeline.settle(process)
    ended = pipeline.weir.run("stream", pipeline.source.url, "null:", "--metrics", f":{port}", code=2)
    assert f":{port}" in ended.err and "in use" in ended.err
    ended = pipeline.weir.run("stream", pipeline.source.url, "null:", "--metrics", "here", code=2)
    assert "no address" in ended.err and ":9187" in ended.err
    assert process.stop().code == 0
