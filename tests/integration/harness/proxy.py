"""A network that fails: a proxy in front of a Postgres server, which can do to connections what networks do.

Every connection is a Link with two Flows, one a direction. A fault is for those links and flows that the test names;
new connections meet it, too, until heal()."""
import asyncio
import contextlib
import dataclasses
import random
import socket
import struct
import threading
import urllib.parse

CHUNK = 64 << 10
UP, DOWN = "up", "down"  # to the server, from the server
BOTH = (UP, DOWN)
ANY, REPLICATION, SQL = "any", "replication", "sql"
PROTOCOL_3 = 196608


@dataclasses.dataclass
class Weather:
    """What a flow goes through."""
    delay: float = 0        # seconds that every piece is late
    rate: float = 0         # bytes a second; 0: as fast as it goes
    is_silent: bool = False  # bytes are accepted and come to nothing
    cut_after: int = -1     # bytes that still get through before the link is reset; -1: no limit
    trips_at: int = 0       # of a stream from its begin: the row in whose place the server says that it has failed inside


class Flow:
    def __init__(self, link, way, source, sink):
        self.link, self.way, self.source, self.sink = link, way, source, sink
        self.weather = link.proxy.weather(link.kind, way)
        self.has_lost = False  # what comes behind lost bytes would be garbage
        self.unframed = b""    # part of a message

    def trip(self, data):
        """What of @data gets through, whole messages."""
        self.unframed += data
        passed = b""
        while len(self.unframed) >= 5 and len(self.unframed) > struct.unpack_from("!i", self.unframed, 1)[0]:
            size = 1 + struct.unpack_from("!i", self.unframed, 1)[0]
            message, self.unframed = self.unframed[:size], self.unframed[size:]
            if message[:1] == b"d" and message[5:6] == b"w" and message[30:31] == b"I":  # XLogData: an insert
                self.weather.trips_at -= 1
                if self.weather.trips_at == 0:
                    self.has_lost = True
                    self.link.proxy.faults.clear()
                    fields = b"SERROR\0VERROR\0CXX000\0Mcould not read from reorderbuffer spill file\0\0"
                    return passed + b"E" + struct.pack("!i", 4 + len(fields)) + fields + b"Z" + struct.pack("!i", 5) + b"I"
            passed += message
        return passed

    async def send(self, data):
        weather = self.weather
        if weather.delay:
            await asyncio.sleep(weather.delay)
        if self.has_lost or weather.is_silent:
            self.has_lost = True
            return
        if weather.trips_at:
            data = self.trip(data)
        if 0 <= weather.cut_after < len(data):
            await self.link.proxy.loop.sock_sendall(self.sink, data[:weather.cut_after])
            self.link.reset()
            return
        weather.cut_after -= len(data) if weather.cut_after > 0 else 0
        piece = len(data) if not weather.rate else max(1, int(weather.rate / 20))
        for at in range(0, len(data), piece):
            await self.link.proxy.loop.sock_sendall(self.sink, data[at:at + piece])
            if weather.rate:
                await asyncio.sleep(piece / weather.rate)

    async def run(self):
        while True:
            data = await self.link.proxy.loop.sock_recv(self.source, CHUNK)
            if not data:
                break
            await self.send(data)
        if self.has_lost or self.weather.is_silent:
            await asyncio.Event().wait()  # an end would be an answer
        self.sink.shutdown(socket.SHUT_WR)


class Link:
    def __init__(self, proxy, client, kind):
        self.proxy, self.client, self.kind = proxy, client, kind
        self.server = None
        self.flows = []
        self.tasks = []

    def close(self):
        for task in self.tasks:
            task.cancel()
        for end in (self.client, self.server):
            if end is not None:
                end.close()
        self.proxy.links.discard(self)

    def reset(self):
        """RST to both ends."""
        for end in (self.client, self.server):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


class Proxy:
    """Listens on a port of its own from the start to close(). Commands are safe from the test's thread."""

    def __init__(self, port):
        self.upstream = ("127.0.0.1", port)
        self.links = set()
        self.faults = []  # (kind, ways, fields of Weather), for connections to come
        self.is_closed_for_new = False
        self.passed = 0  # connections so far
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.loop = asyncio.new_event_loop()
        self.tasks = set()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def url(self, url):
        """The same database through here."""
        parts = urllib.parse.urlsplit(url)
        user = parts.netloc.rpartition("@")[0]
        return parts._replace(netloc=f"{user}@127.0.0.1:{self.port}").geturl()

    # -- commands ---------------------------------------------------------------------------------

    def reset(self, kind=ANY):
        self._call(lambda: [link.reset() for link in self._of(kind)])

    def end(self, kind=ANY):
        """FIN to both ends."""
        self._call(lambda: [link.close() for link in self._of(kind)])

    def truncate(self, after, ways=BOTH, kind=ANY):
        """The links that are there are reset when so many more bytes have gone that way."""
        def do():
            for link in self._of(kind):
                for flow in link.flows:
                    if flow.way in ways:
                        flow.weather.cut_after = after
        self._call(do)

    def worsen(self, ways=BOTH, kind=ANY, **weather):
        """Until heal(): fields of Weather."""
        def do():
            self.faults.append((kind, ways, weather))
            for link in self._of(kind):
                for flow in link.flows:
                    if flow.way in ways:
                        flow.weather = dataclasses.replace(flow.weather, **weather)
        self._call(do)

    def silence(self, ways=BOTH, kind=ANY):
        """Half-open: bytes are accepted, nothing comes back, nobody says that it is over."""
        self.worsen(ways, kind, is_silent=True)

    def lose(self, ways=BOTH, kind=ANY):
        """The same, for the connections that are there only."""
        def do():
            for link in self._of(kind):
                for flow in link.flows:
                    if flow.way in ways:
                        flow.weather.is_silent = True
        self._call(do)

    def refuse(self, is_refused=True):
        """New connections are accepted by the kernel, and reset."""
        self._call(lambda: setattr(self, "is_closed_for_new", is_refused))

    def heal(self):
        """From now on all is well, but for what has been lost."""
        def do():
            self.faults.clear()
            self.is_closed_for_new = False
            for link in self.links:
                for flow in link.flows:
                    flow.weather = Weather()
        self._call(do)

    def storm(self, chance: random.Random):
        """One fault, any."""
        kind, ways = chance.choice((ANY, REPLICATION, SQL)), chance.choice((BOTH, (UP,), (DOWN,)))
        fault = chance.choice((
            lambda: self.reset(kind), lambda: self.end(kind), lambda: self.truncate(chance.randrange(20000), ways, kind),
            lambda: self.worsen(ways, kind, delay=chance.uniform(0, 0.2)), lambda: self.refuse(),
            lambda: self.worsen(ways, kind, rate=chance.uniform(20e3, 500e3)), self.heal))
        fault()

    def close(self):
        async def end():
            for link in list(self.links):
                link.close()
            left = self.tasks - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            self.listener.close()
        asyncio.run_coroutine_threadsafe(end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    # -- inside -----------------------------------------------------------------------------------

    def _of(self, kind):
        return [link for link in self.links if kind in (ANY, link.kind)]

    def _call(self, do):
        async def run():
            do()
        asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self._task(self._accept())
        self.loop.run_forever()

    def _task(self, coroutine):
        task = self.loop.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def weather(self, kind, way):
        fields = {}
        for of, ways, more in self.faults:
            if of in (ANY, kind) and way in ways:
                fields.update(more)
        return Weather(**fields)

    async def _accept(self):
        while True:
            client, _ = await self.loop.sock_accept(self.listener)
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.passed += 1
            link = Link(self, client, ANY)
            self.links.add(link)
            if self.is_closed_for_new:
                link.reset()
            else:
                link.tasks.append(self._task(self._serve(link)))

    async def _startup(self, link):
        """The first packet, which says what the connection is for. Encryption is refused before it, as a server may."""
        while True:
            head = await self._exactly(link.client, 8)
            length, code = struct.unpack("!ii", head)
            packet = head + await self._exactly(link.client, length - 8)
            if code >> 16 == PROTOCOL_3 >> 16:
                link.kind = REPLICATION if b"\0replication\0" in packet else SQL
                return packet
            if code == 80877102:  # a request to cancel
                link.kind = SQL
                return packet
            await self.loop.sock_sendall(link.client, b"N")

    async def _exactly(self, end, count):
        data = b""
        while len(data) < count:
            more = await self.loop.sock_recv(end, count - len(data))
            if not more:
                raise ConnectionError("it ended before it began")
            data += more
        return data

    async def _serve(self, link):
        try:
            packet = await self._startup(link)
            link.server = socket.socket()
            link.server.setblocking(False)
            await self.loop.sock_connect(link.server, self.upstream)
            link.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.flows = [Flow(link, UP, link.client, link.server), Flow(link, DOWN, link.server, link.client)]
            await link.flows[0].send(packet)
            runs = [self._task(flow.run()) for flow in link.flows]
            link.tasks += runs
            ended, _ = await asyncio.wait(runs, return_when=asyncio.FIRST_EXCEPTION)
            if all(not run.cancelled() and run.exception() is None for run in ended):
                link.close()
                return
        except OSError:
            pass
        link.reset()
