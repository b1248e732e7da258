"""Fixtures of the faults: networks in front of servers."""
import pytest

from harness.proxy import Proxy


@pytest.fixture
def make_proxy():
    """In front of a database, or of its server."""
    made = []

    def make(database):
        made.append(Proxy(database.server.port))
        return made[-1]
    yield make
    for one in made:
        one.close()
