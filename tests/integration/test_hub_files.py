"""What a hub keeps in files and in memory: whose it is, and how much of it."""
import json
import pathlib

import pytest

from harness.stripe import Stripe
from harness.wait import wait_for

from test_hub_promises import ANY, Hub, database, gateway


@pytest.fixture
def stripe():
    made = Stripe()
    yield made
    made.close()


def peak_megabytes(process):
    status = pathlib.Path(f"/proc/{process.popen.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def test_values_inside_values_take_no_more_memory(weir, make_database, stripe, tmp_path):
    """Up to the depth that JSON may have, and what comes back is still known."""
    made = make_database()
    made.sql("CREATE TABLE things (id int PRIMARY KEY, stripe_id text UNIQUE, name text, details jsonb)")
    hub = Hub(weir, tmp_path / "hub", ANY | {"details": {}}, {
        "db": database(made, "public.things", {"id": "id", "stripe_id": "stripe_id", "name": "name", "details": "details"}, ["id", "stripe_id"]),
        "gateway": gateway(stripe, {"id": "stripe_id", "name": "name", "metadata[id]": "id", "details": "details"})})
    process = hub.start()
    hub.listens()
    peaks = []
    for number, depth in enumerate((8, 24, 250), 1):
        value = '{"a\\"":' * depth + str(number) + "}" * depth
        made.sql("INSERT INTO things (id, name, details) VALUES (%s, 'n', %s)", number, value)
        wait_for(lambda: made.one("SELECT count(*) FROM things WHERE stripe_id IS NOT NULL") == number, 60, "its id")
        peaks.append(peak_megabytes(process))
        assert peaks[-1] < peaks[0] + 100, peaks
    # Stripe has text where there was a number.
    said = json.loads(value.replace("3", '"3"'))
    assert hub.tell("product.updated", {"object": "product", "id": "prod_3", "name": "n", "metadata": {"id": "3"}, "details": said}) == 200
    assert hub.tell("product.created", {"object": "product", "id": "prod_9", "name": "end", "metadata": {"id": "9"}}) == 200
    wait_for(lambda: made.one("SELECT count(*) FROM things WHERE id = 9") == 1, 30, "the end")
    assert made.one("SELECT details #>> %s FROM things WHERE id = 3", ["a\""] * 250) == "3"
    assert len(stripe.posts()) == 3
    assert process.stop().code == 0
