"""Something in the place of Stripe's API: it keeps objects, remembers requests by their keys, notes what it is asked, and can refuse it."""
import copy
import http.server
import itertools
import json
import re
import threading
import time
import urllib.parse

from harness.stripe_api import page

# Collections, and what their objects are called.
KINDS = {"products": "product", "prices": "price", "customers": "customer"}
PREFIX = {"products": "prod", "prices": "price", "customers": "cus"}
# What is there when nobody has said anything of it.
NULLS = {"products": ("description",), "prices": ("nickname",), "customers": ("name", "email", "description", "address")}


def form(body):
    """a[b][c]=1 as nested objects, as Stripe reads it."""
    made = {}
    for name, value in urllib.parse.parse_qsl(body, keep_blank_values=True, strict_parsing=bool(body)):
        steps = [name.split("[", 1)[0]] + re.findall(r"\[([^\]]*)\]", name)
        place = made
        for step in steps[:-1]:
            place = place.setdefault(step, {})
        place[steps[-1]] = value
    return made


class Refused(Exception):
    def __init__(self, status, message, **more):
        super().__init__(message)
        self.status, self.error = status, {"message": message, "type": "invalid_request_error", **more}


class Objects:
    """An account's objects, as far as tests need them."""

    def __init__(self):
        self.of = {kind: {} for kind in KINDS}
        self.number = itertools.count(1)

    def merge(self, target, changes, is_metadata=False):
        """What is unset is null; of the metadata, it is gone."""
        for name, value in changes.items():
            if isinstance(value, dict):
                if not isinstance(target.get(name), dict):
                    target[name] = {}
                self.merge(target[name], value, name == "metadata")
            elif value == "" and is_metadata:
                target.pop(name, None)
            else:
                target[name] = None if value == "" else int(value) if name == "unit_amount" else value

    def find(self, kind, identity):
        if identity not in self.of[kind]:
            raise Refused(404, f"No such {KINDS[kind]}: '{identity}'", code="resource_missing", param="id")
        return self.of[kind][identity]

    def ask(self, method, path, body):
        url = urllib.parse.urlparse(path)
        if url.path == "/v1/events":
            return {"object": "list", "data": [], "has_more": False}
        parts = url.path.strip("/").split("/")[1:]
        kind = parts[0]
        if kind not in KINDS:
            raise Refused(404, f"Unrecognized request URL ({method}: {path}).")
        if method == "GET":
            if len(parts) > 1:
                return self.find(kind, parts[1])
            return page([{"created": 0, **thing} for thing in self.of[kind].values()], dict(urllib.parse.parse_qsl(url.query)))
        if method == "DELETE":
            self.find(kind, parts[1])
            del self.of[kind][parts[1]]
            return {"id": parts[1], "object": KINDS[kind], "deleted": True}
        said = form(body)
        if len(parts) == 1:
            if kind == "products" and not said.get("name"):
                raise Refused(400, "Missing required param: name.", param="name")
            made = {"id": f"{PREFIX[kind]}_{next(self.number)}", "object": KINDS[kind], "created": int(time.time()),
                    **dict.fromkeys(NULLS[kind]), "metadata": {}}
            self.merge(made, said)
            self.of[kind][made["id"]] = made
            return made
        if kind == "products" and said.get("name") == "":
            raise Refused(400, "You passed an empty string for 'name'.", param="name")
        self.merge(self.find(kind, parts[1]), said)
        return self.of[kind][parts[1]]


class Asked:
    """A request that came in, and how it was answered."""

    def __init__(self, method, path, headers, body):
        self.method, self.path, self.headers, self.body = method, path, headers, body
        self.form = form(body)
        self.key = headers.get("Idempotency-Key")
        self.at = time.monotonic()
        self.status = None

    def __repr__(self):
        return f"{self.method} {self.path} {self.body} -> {self.status}"


class Stripe:
    KEY = "sk_test_of_tests"
    refusal = "Invalid API Key provided: sk_***"  # of any other key

    def __init__(self):
        self.objects = Objects()
        self.asked = []
        self.faults = []   # (status, headers, done): of the next requests, one each
        self.on_ask = None  # called with each Asked, before it is answered
        self.remembered = {}
        self.lock = threading.Lock()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def fail(self, status, times=1, is_done=False, **headers):
        """@is_done: the next requests are done, and answered with that all the same. As Stripe says: a 500 is kept by the request's key,
        https://docs.stripe.com/error-low-level#server-errors; the others are not, as they come from what stands before that."""
        self.faults += [(status, {k.replace("_", "-"): v for k, v in headers.items()}, is_done)] * times

    def posts(self):
        return [asked for asked in self.asked if asked.method != "GET"]

    def all(self, kind):
        return copy.deepcopy(list(self.objects.of[kind].values()))

    # -----------------------------------------------------------------------------------------

    def answer(self, asked):
        with self.lock:
            self.asked.append(asked)
            if self.on_ask:
                self.on_ask(asked)
            fault = self.faults.pop(0) if self.faults else None
            failure = {"error": {"message": "a fault", "type": "api_error"}}
            if fault and not fault[2] and fault[0] != 500:
                return fault[0], fault[1], failure
            if asked.headers.get("Authorization") != f"Bearer {self.KEY}":
                return 401, {}, {"error": {"message": self.refusal, "type": "invalid_request_error"}}
            if fault and fault[0] == 500 and asked.key not in self.remembered:
                if fault[2]:
                    self.ask(asked)
                if asked.key:
                    self.remembered[asked.key] = (asked.method, asked.path, asked.body), 500, failure
                return 500, fault[1], failure
            status, headers, body = self.ask(asked)
            return (fault[0], fault[1], failure) if fault and fault[0] != 500 else (status, headers, body)

    def ask(self, asked):
        if asked.key in self.remembered:
            what, status, body = self.remembered[asked.key]
            if what != (asked.method, asked.path, asked.body):
                return 400, {}, {"error": {"message": "Keys for idempotent requests can only be used with the same parameters",
                                           "type": "idempotency_error"}}
            return status, {"Idempotent-Replayed": "true"}, body
        try:
            status, body = 200, copy.deepcopy(self.objects.ask(asked.method, asked.path, asked.body))
        except Refused as refused:
            status, body = refused.status, {"error": refused.error}
        if asked.key:
            self.remembered[asked.key] = (asked.method, asked.path, asked.body), status, body
        return status, {}, body

    def handler(self):
        stripe = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1  # an answer is one write

            def do(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                asked = Asked(self.command, self.path, dict(self.headers), body)
                asked.status, headers, said = stripe.answer(asked)
                out = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(asked.status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(out)))
                self.end_headers()
                self.wfile.write(out)

            do_GET = do_POST = do_DELETE = do

            def log_message(self, *words):
                pass
        return Handler
