"""What a hub keeps in files and in memory: whose it is, and how much of it."""
import json
import pathlib

import psycopg
import pytest

from harness.stripe import Stripe
from harness.stripe_api import post
from harness.wait import wait_for

from test_hub_promises import ANY, Hub, database, gateway
from test_metrics import free_port, metrics, value


MODEL = {"title": "order", "type": "object", "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}}


class Inbox:
    """A hub in a folder: what is posted becomes rows."""

    def __init__(self, weir, made, folder):
        self.weir, self.made, self.folder = weir, made, folder
        (folder / "models").mkdir(parents=True)
        (folder / "systems").mkdir()
        (folder / "models/order.json").write_text(json.dumps(MODEL))
        made.sql("CREATE TABLE orders (id int PRIMARY KEY, name text)")
        self.write()

    def write(self, hook="hook", **more):
        mixer = {"id": {"field": "id"}, "name": {"field": "name"}}
        (self.folder / "systems/all.yml").write_text(json.dumps({
            hook: {"type": "webhook", "signature": "none", "location": "orders", "receive_mixer": {"orders": {"order": mixer}}},
            "db": {"type": "postgresql", "dsn": self.made.url, **more, "push_mixer": {
                "order": {"public.orders": {**mixer, "id": {"field": "id", "search_key": True}}}}}}))

    def run(self, number, *words, path=None):
        """Until an order of that number is a row."""
        port = free_port()
        process = self.weir.start("run", path or self.folder, "--listen", f"127.0.0.1:{port}", *words)
        wait_for(lambda: post(f"http://127.0.0.1:{port}/hook", {"id": number, "name": str(self.folder)})[0] == 200, 30,
                 lambda: process.logs()[-2000:])
        wait_for(lambda: number in self.rows(), 30, lambda: process.logs()[-2000:])
        assert process.stop().code == 0

    def refused(self, *words):
        return self.weir.run("run", self.folder, "--until", "now", *words, code=2).err

    def rows(self):
        return [row[0] for row in self.made.sql("SELECT id FROM orders ORDER BY 1")]


@pytest.fixture
def inbox(weir, make_database, tmp_path):
    return lambda path: Inbox(weir, make_database(), tmp_path / path)


def test_two_hubs_of_one_name(inbox, tmp_path):
    """Nothing of the one gets into the other."""
    one, two = inbox("a/hub"), inbox("b/hub")
    one.run(1)
    refusal = two.refused()
    assert f"is that of the hub \"{one.folder}\"" in refusal and f"\"{two.folder}\" is another one" in refusal
    assert "hub: { name: NAME }" in refusal and "state: DIR" in refusal and "--name" not in refusal
    assert two.rows() == []
    for number, (name, words) in enumerate({"second": (), "third": (), "fourth": ("--state", tmp_path / "elsewhere")}.items(), 2):
        state = "state: ../state\n" if name != "second" else ""
        (two.folder / "weir.yml").write_text(f"hub: {{ name: {name} }}\n{state}")
        two.run(number, *words, path=two.folder / "weir.yml" if number == 3 else two.folder)
    one.run(5)
    assert one.rows() == [1, 5] and two.rows() == [2, 3, 4]
    assert (tmp_path / "elsewhere/fourth.log").is_dir() and (tmp_path / "b/state/third.log").is_dir()


def test_hints_name_what_there_is(inbox, tmp_path):
    """weir run HUB has no --name."""
    one = inbox("hub")
    one.run(1)
    refusal = one.refused("--state", tmp_path / "empty")  # the database knows another log
    assert "hub: { name: NAME }" in refusal and "--name" not in refusal
    (one.folder / "weir.yml").write_text("hub: { name: other }\n")
    one.run(2, "--state", tmp_path / "empty")


def test_the_same_hub_somewhere_else(inbox, tmp_path):
    """It goes on from where it was when it is moved, and when its systems change; not when both do."""
    one = inbox("a/hub")
    one.run(1)
    one.write(rate_limit=100, rate_bucket_size=100)
    one.run(2)
    (tmp_path / "b").mkdir()
    one.folder = one.folder.rename(tmp_path / "b/hub")
    one.run(3)
    (tmp_path / "link").symlink_to(one.folder)
    one.run(4, path=tmp_path / "link")
    one.made.url += "?connect_timeout=7"
    one.write(hook="door")
    assert one.weir.run("run", one.folder, "--until", "now").code == 0
    (tmp_path / "c").mkdir()
    one.folder = one.folder.rename(tmp_path / "c/hub")
    one.write(hook="hook")
    refusal = one.refused()
    owner = next(pathlib.Path(word.strip('".')) for word in refusal.split() if word.strip('".').endswith("hub.owner"))
    assert owner.stat().st_mode & 0o777 == 0o600
    owner.write_text("{")
    assert "damaged" in one.refused()
    owner.unlink()
    one.run(5)
    # As a mounted map has it, whose folder is another one with each version.
    (tmp_path / "version").mkdir()
    (tmp_path / "version/weir.yml").write_text("hub:\n")
    (one.folder / "weir.yml").symlink_to(tmp_path / "version/weir.yml")
    one.run(6, path=one.folder / "weir.yml")
    assert one.rows() == [1, 2, 3, 4, 5, 6]
    assert [path for path in owner.parent.iterdir() if "owner" in path.name] == [owner]


def test_what_a_system_that_is_down_makes_the_log_keep(inbox):
    """It is seen how much that is, for each system, and it is all delivered."""
    one = inbox("hub")
    one.run(1)
    holder = psycopg.connect(one.made.url)
    holder.execute("LOCK TABLE orders")
    port, figures = free_port(), free_port()
    process = one.weir.start("run", one.folder, "--listen", f"127.0.0.1:{port}", "--metrics", f"127.0.0.1:{figures}")

    def tell(number):
        return post(f"http://127.0.0.1:{port}/hook", {"id": number, "name": "x" * 100000})[0] == 200

    def kept():
        return value(metrics(figures), "weir_buffer_backlog_bytes", pipeline="hub.to.db")

    wait_for(lambda: tell(2), 30, "it listens")
    wait_for(lambda: kept() > 100000, 30, "it is seen")
    assert all(tell(number) for number in range(3, 13))
    wait_for(lambda: kept() > 1000000, 30, "it grows")
    def shown():
        return {row["pipeline"]: row for row in json.loads(one.weir.run("status", "--format", "json").out)}

    wait_for(lambda: shown()["hub.to.db"]["backlog_bytes"] > 1000000, 30, "weir status has it, too")
    assert shown()["hub.to.db"]["backlog_seconds"] > 0
    assert sorted(shown()) == ["hub.from.hook", "hub.to.db"]  # the log is no pipeline
    holder.close()
    wait_for(lambda: kept() == 0, 30, "it has caught up")
    assert one.rows() == list(range(1, 13))
    assert process.stop().code == 0


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
