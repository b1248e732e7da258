"""docs/hub-tutorial.md: its commands, as they stand there, one after the other."""
import re
import shutil
import subprocess

import pytest

from harness.postgres import ROOT
from harness.stripe import Stripe

PAGE = (ROOT / "docs/hub-tutorial.md").read_text()


@pytest.fixture
def stripe():
    made = Stripe()
    yield made
    made.close()


class Shell:
    """A folder with the example in it, and the program on the path."""

    def __init__(self, weir, folder, stripe, database):
        self.weir, self.folder, self.stripe, self.database = weir, folder, stripe, database
        (folder / "bin").mkdir()
        (folder / "bin/weir").symlink_to(weir.program)
        shutil.copytree(ROOT / "examples/hub-stripe", folder / "examples/hub-stripe")
        # In place of Stripe; nobody listens, so nothing else has to be there.
        system = folder / "examples/hub-stripe/systems/payment-gateway.yml"
        system.write_text(system.read_text().replace("  type: stripe\n", f"  type: stripe\n  api_base: {stripe.url}\n"))

    def run(self, commands):
        environment = self.weir.environment(PROD_DB_DSN=self.database.url, STRIPE_API_KEY=Stripe.KEY)
        environment["PATH"] = f"{self.folder}/bin:{environment['PATH']}"
        ended = subprocess.run(["bash", "-euc", commands], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120)
        assert ended.returncode == 0, ended
        return ended.stdout


def words(line):
    return [word for word in re.split(r"[\s|]+", line) if word]


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed")
def test_the_tutorial(weir, make_database, stripe, tmp_path):
    shell, said = Shell(weir, tmp_path, stripe, make_database()), ""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert [kind for kind, _ in blocks].count("sh") == 7
    for kind, text in blocks:
        if kind == "sh":
            said = shell.run(text)
        elif kind == "text":  # some lines of what the last one says
            lines = [words(line) for line in said.replace("prod_1", "prod_…").splitlines()]
            for line in filter(None, map(words, text.splitlines())):
                assert line in lines or set("".join(line)) <= set("-+"), said
    (product,) = stripe.all("products")
    assert (product["name"], product["metadata"]) == ("Large mug", {"id": "1"})
    assert [asked.path for asked in stripe.posts()] == ["/v1/products", "/v1/products/prod_1"]
