"""An endpoint that the http sink asks: it notes requests, answers as it is told, and drops repeats by their key."""
import base64
import hashlib
import hmac
import http.server
import json
import ssl
import threading
import time
import urllib.parse

from harness.targets import File


class Request:
    def __init__(self, handler, body):
        self.method, self.path, self.headers, self.body = handler.command, handler.path, handler.headers, body
        self.key = handler.headers["Idempotency-Key"]
        self.at = time.monotonic()

    def json(self):
        return json.loads(self.body)

    def lines(self):
        """Of all kinds of batches: an event each, as it was written."""
        text = self.body.decode()
        if self.headers["Content-Type"] == "application/x-ndjson":
            assert text.endswith("\n")
            return text.split("\n")[:-1]
        if not text.startswith("["):
            return [text]
        found, at, decode = [], 1, json.JSONDecoder().raw_decode
        while text[at - 1] != "]":
            _, end = decode(text, at)
            found.append(text[at:end])
            at = end + 1
        assert at == len(text)
        return found


class Receiver(File):
    """`answers`: taken one after the other before the rule, which is a function of a request: a code, or (code, headers, text),
    or "cut" for none, or "hold" until released. What is taken with 2xx and is no repeat is in a file, a line an event."""
    kind = "file"

    def __init__(self, folder, scheme="http", context=None):
        super().__init__(folder)
        self.requests, self.taken, self.repeats, self.answers = [], {}, 0, []
        self.rule = lambda request: 200
        self.lock, self.released = threading.Lock(), threading.Event()
        self.file = open(self.path, "ab")
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self):
                request = Request(self, self.rfile.read(int(self.headers["Content-Length"])))
                receiver.answer(self, request)

            do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # whoever asked was killed
        self.server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.base = f"{scheme}://{'localhost' if context else '127.0.0.1'}:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, **query):
        return self.base + ("?" + urllib.parse.urlencode(query, quote_via=urllib.parse.quote) if query else "")

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.file.close()

    def answer(self, handler, request):
        with self.lock:
            self.requests.append(request)
            said = self.answers.pop(0) if self.answers else self.rule(request)
        if said == "hold":
            self.released.wait(60)
            said = 200
        if isinstance(said, int) or said == "cut":
            said = said, {}, ""
        code, headers, text = said
        took = code == "cut" or 200 <= code < 300
        if took:
            self.take(request)
        if code == "cut":
            handler.close_connection = True
            return
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        data = text.encode()
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def take(self, request):
        with self.lock:
            if request.key in self.taken:
                assert self.taken[request.key] == request.body, f"the key {request.key} for something else"
                self.repeats += 1
                return
            self.taken[request.key] = request.body
            for line in request.lines():
                self.file.write(line.encode() + b"\n")
            self.file.flush()

    def codes(self, *codes):
        self.answers += codes


def standard_signature(secret, request):
    """Of Standard Webhooks, without Weir's code."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b".".join([request.headers["webhook-id"].encode(), request.headers["webhook-timestamp"].encode(), request.body])
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def server_context(settings):
    """Of the files that harness.tls makes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings["ssl_cert_file"], settings["ssl_key_file"])
    return context
