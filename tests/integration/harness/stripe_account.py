"""Something in the place of a whole account of Stripe: its API, people who edit what is there, the list of events, and webhooks that come late, twice and out of order."""
import copy
import random
import threading
import time
import urllib.parse

from harness.stripe import KINDS, PREFIX, NULLS, Stripe
from harness.stripe_api import page, post

LATE_S, VERY_LATE_S = 0.3, 2.0


class Account(Stripe):
    """What has happened is listed at once; webhooks begin with tell()."""

    def __init__(self, seed):
        super().__init__()
        self.dice = random.Random(seed)
        self.events = []
        self.waiting = []     # (when, event, was told already)
        self.on_the_way = set()
        self.told = 0
        self.where = None
        self.is_open = False
        self.tellers = []

    # ----------------------------------------------------------------------------- what happens

    def happens(self, verb, kind, thing, asked=None):
        """An event; the lock is held. As Stripe does it, it says by which request it came."""
        event = {"id": f"evt_{len(self.events) + 1}", "object": "event", "type": f"{KINDS[kind]}.{verb}", "livemode": False,
                 "created": int(time.time()), "data": {"object": copy.deepcopy(thing)},
                 "request": {"id": f"req_{len(self.events) + 1}", "idempotency_key": asked.key if asked else None}}
        self.events.append(event)
        late = self.dice.random() * (VERY_LATE_S if self.dice.random() < 0.1 else LATE_S)
        self.waiting.append((time.monotonic() + late, event, False))

    def ask(self, asked):
        url = urllib.parse.urlparse(asked.path)
        if url.path == "/v1/events":
            return 200, {}, page(self.events, dict(urllib.parse.parse_qsl(url.query)))
        if asked.method == "GET" or asked.key in self.remembered:
            return super().ask(asked)
        kind, *rest = url.path.strip("/").split("/")[1:]
        before = copy.deepcopy(self.objects.of[kind].get(rest[0])) if rest else None
        status, headers, body = super().ask(asked)
        if status == 200 and asked.method == "DELETE":
            self.happens("deleted", kind, before, asked)
        elif status == 200 and body != before:
            self.happens("updated" if rest else "created", kind, body, asked)
        return status, headers, body

    # -------------------------------------------------------------------------- people who edit

    def make(self, kind, **fields):
        with self.lock:
            thing = {"id": f"{PREFIX[kind]}_{next(self.objects.number)}", "object": KINDS[kind], "created": int(time.time()),
                     **dict.fromkeys(NULLS[kind]), "metadata": {}}
            thing.update(fields)
            self.objects.of[kind][thing["id"]] = thing
            self.happens("created", kind, thing)

    def change(self, kind, identity, **fields):
        with self.lock:
            thing = self.objects.of[kind].get(identity)
            if thing is not None and any(thing.get(name) != value for name, value in fields.items()):
                thing.update(fields)
                self.happens("updated", kind, thing)

    def drop(self, kind, identity):
        with self.lock:
            thing = self.objects.of[kind].pop(identity, None)
            if thing is not None:
                self.happens("deleted", kind, thing)

    def ids(self, kind, are):
        with self.lock:
            return sorted(identity for identity, thing in self.objects.of[kind].items() if are(thing))

    # ------------------------------------------------------------------------------- who is told

    def tell(self, where, tellers=4):
        self.where, self.is_open = where, True
        self.tellers = [threading.Thread(target=self.tell_events, daemon=True) for _ in range(tellers)]
        for teller in self.tellers:
            teller.start()

    def next_event(self):
        """One that is due. Stripe's clock has seconds: of one object, the events of one second stay in order, as nobody could tell."""
        def order(event):
            return event["data"]["object"]["id"], event["created"]
        with self.lock:
            now, before = time.monotonic(), set()
            for number, (when, event, again) in enumerate(self.waiting):
                if when <= now and order(event) not in before | self.on_the_way:
                    del self.waiting[number]
                    self.on_the_way.add(order(event))
                    return event, again, order(event)
                before.add(order(event))
        return None

    def tell_events(self):
        while self.is_open:
            found = self.next_event()
            if found is None:
                time.sleep(0.01)
                continue
            event, again, order = found
            is_told = post(self.where, event)[0] == 200
            with self.lock:
                self.on_the_way.discard(order)
                self.told += is_told and not again
                if not is_told:
                    self.waiting.insert(0, (time.monotonic() + 0.2, event, again))
                elif self.dice.random() < 0.05:
                    self.waiting.append((time.monotonic() + self.dice.random() * VERY_LATE_S, event, True))

    def all_told(self):
        with self.lock:
            return not self.waiting and not self.on_the_way

    def wait_for_new(self, seconds=1.0):
        """Until somebody asks for a new object, who gets the answer a little later."""
        asked = threading.Event()

        def look(what):
            if what.method == "POST" and what.path.count("/") == 2 and not asked.is_set():
                asked.set()
                time.sleep(0.03)
        self.on_ask = look
        found = asked.wait(seconds)
        self.on_ask = None
        return found

    def close(self):
        self.is_open = False
        for teller in self.tellers:
            teller.join()
        super().close()
