"""Programs that others have made around Stripe, where they are installed: a stateful mock of its API, and Stripe's own CLI, whose other end
is played here. In front of the mock is what it does not have: events, which are told to the CLI as Stripe does."""
import base64
import hashlib
import http.client
import http.server
import itertools
import json
import queue
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse

from harness.postgres import DEPS
from harness.stripe_api import page, sign
from harness.wait import wait_for

MOCK = DEPS / "stripe-mock/node_modules/stripe-stateful-mock"
CLI = DEPS / "stripe-cli/node_modules/@stripe/cli-linux-x64/bin/stripe"
SECRET = "whsec_of_the_cli"


def missing_mock():
    """Why it cannot be used, or None."""
    if shutil.which("node") is None:
        return "Node.js is not installed"
    return None if MOCK.exists() else "npm's stripe-stateful-mock is not installed"


def missing_cli():
    return None if CLI.exists() else "Stripe's CLI is not installed"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def install_cli(folder, url):
    """Stripe's CLI as "stripe" in a folder, which asks this URL in place of Stripe."""
    folder.mkdir()
    (folder / "stripe").write_text(f'#!/bin/sh\nexport STRIPE_CLI_TELEMETRY_OPTOUT=1\nexec {CLI} "$@" --api-base {url}\n')
    (folder / "stripe").chmod(0o755)


class Mock:
    """The stateful mock, and what is in front of it. `events`: what has happened, as Stripe lists it."""

    def __init__(self):
        self.port = free_port()
        code = f"require('{MOCK}').createExpressApp().listen({self.port}, '127.0.0.1')"
        self.node = subprocess.Popen([shutil.which("node"), "-e", code], stdin=subprocess.DEVNULL, env={"LOG_LEVEL": "silent"})
        self.asked, self.events, self.listeners, self.answers = [], [], [], []
        self.numbers = itertools.count(1)
        self.is_listening = threading.Event()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        wait_for(self.is_up, 30, "the mock")

    def is_up(self):
        try:
            return self.forward("GET", "/v1/products", b"", {"Authorization": "Bearer sk_test_1"})[0] == 200
        except ConnectionError:
            return False

    def close(self):
        for told in list(self.listeners):
            told.put(None)
        self.server.shutdown()
        self.server.server_close()
        self.node.terminate()
        self.node.wait(10)

    def forward(self, method, path, body, headers):
        to = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            to.request(method, path, body, headers)
            answer = to.getresponse()
            return answer.status, answer.read(), {name.title(): value for name, value in answer.getheaders()}
        finally:
            to.close()

    def get(self, path):
        """What the mock itself says, as JSON."""
        status, body, _ = self.forward("GET", path, b"", {"Authorization": "Bearer sk_test_1"})
        assert status == 200, (path, body)
        return json.loads(body)

    def happens(self, kind, thing, key=None):
        """@key: of the request by which it came about."""
        event = {"id": f"evt_{next(self.numbers)}", "object": "event", "type": kind, "livemode": False, "created": int(time.time()),
                 "data": {"object": thing}, "request": {"id": None, "idempotency_key": key}}
        self.events.append(event)
        self.tell(event)
        return event

    def tell(self, event):
        """All who listen now."""
        for told in list(self.listeners):
            told.put(event)

    def answer(self, method, path, body, headers):
        if path.startswith("/v1/stripecli/sessions"):
            return 200, {"websocket_id": "ws_1", "websocket_url": self.url.replace("http", "ws") + "/listen", "secret": SECRET,
                         "websocket_authorized_feature": "webhooks", "reconnect_delay": 5, "default_version": "2024-06-20",
                         "latest_version": "2024-06-20"}
        if path.startswith("/v1/events"):
            return 200, page(self.events, dict(urllib.parse.parse_qsl(urllib.parse.urlparse(path).query)))
        self.asked.append((method, path, body.decode()))
        status, said, more = self.forward(method, path, body, headers)
        said = json.loads(said)
        if method != "GET" and status == 200 and "Idempotent-Replayed" not in more:
            done = "deleted" if method == "DELETE" else "updated" if path.count("/") > 2 else "created"
            self.happens(f"{said.get('object', 'account')}.{done}", said, headers.get("Idempotency-Key"))
        return status, said

    # -----------------------------------------------------------------------------------------
    # What the CLI listens to: frames of RFC 6455, those that are needed
    # -----------------------------------------------------------------------------------------

    def tell_all(self, connection, told):
        while (event := told.get()) is not None:
            body = json.dumps(event)
            text = json.dumps({"type": "webhook_event", "event_payload": body, "http_headers": {"Stripe-Signature": sign(body.encode(), SECRET)},
                               "webhook_conversation_id": f"wc_{event['id']}", "webhook_id": f"wh_{event['id']}",
                               "endpoint": {"api_version": None}}).encode()
            size = bytes([len(text)]) if len(text) < 126 else b"\x7e" + len(text).to_bytes(2, "big")
            try:
                connection.sendall(b"\x81" + size + text)
            except OSError:
                return  # it was killed

    def listen(self, request):
        key = request.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        request.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade"),
                            ("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())):
            request.send_header(name, value)
        request.end_headers()
        request.wfile.flush()
        told = queue.Queue()
        threading.Thread(target=self.tell_all, args=(request.connection, told), daemon=True).start()
        self.listeners.append(told)
        self.is_listening.set()
        try:
            self.hear(request)
        finally:
            self.listeners.remove(told)
            told.put(None)

    def hear(self, request):
        while len(head := request.rfile.read(2)) == 2:
            size = head[1] & 127
            size = int.from_bytes(request.rfile.read({126: 2, 127: 8}[size]), "big") if size > 125 else size
            mask = request.rfile.read(4)
            said = bytes(byte ^ mask[at % 4] for at, byte in enumerate(request.rfile.read(size)))
            if head[0] & 15 == 8:
                return
            if head[0] & 15 == 9:  # a ping
                request.connection.sendall(b"\x8a" + bytes([len(said)]) + said)
            elif head[0] & 15 == 1:
                self.answers.append(json.loads(said))

    def handler(self):
        mock = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do(self):
                if self.headers.get("Upgrade") == "websocket":
                    self.close_connection = True
                    mock.listen(self)
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                keep = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection", "content-length")}
                status, said, *more = mock.answer(self.command, self.path, body, keep)
                if status is None:  # it hangs up
                    self.close_connection = True
                    return
                out = json.dumps(said).encode()
                self.send_response(status)
                for name, value in (more[0] if more else {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(out)))
                self.end_headers()
                self.wfile.write(out)

            do_GET = do_POST = do_DELETE = do

            def log_message(self, *words):
                pass
        return Handler
