"""`buffer: disk`: one log between the source and its routes."""
import pytest

from test_basics import CHANGES, SHOP
from test_routes import Hub


class Buffered(Hub):
    """The same with a disk buffer; @settings: of the buffer."""

    def __init__(self, *words, **settings):
        self.settings = settings
        super().__init__(*words)

    def write(self, routes):
        super().write(routes)
        settings = "".join(f", {key}: {value}" for key, value in self.settings.items())
        with open(self.file, "a") as out:
            out.write(f"    buffer: {{ type: disk{settings} }}\n")


@pytest.fixture
def hub(weir, source, make_database, tmp_path):
    return lambda *routes, **settings: Buffered(weir, source, make_database, tmp_path, routes, **settings)


@pytest.mark.smoke
def test_every_route_has_everything(hub):
    hub = hub("sqlite", "postgres", "file")
    hub.source.sql(SHOP)
    hub.drain()
    hub.check()
    hub.source.sql(CHANGES)
    hub.drain()
    hub.check()
    assert len(hub.source.slots()) == 1, "one slot feeds all of them"
