"""What stands in for Stripe: the list of events of its API, and webhooks that it signs."""
import hashlib
import hmac
import http.server
import itertools
import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

SECRET = "whsec_test"


def sign(body, secret=SECRET, when=None):
    """As Stripe does, without its SDK."""
    when = int(time.time()) if when is None else when
    digest = hmac.new(secret.encode(), b"%d." % when + body, hashlib.sha256).hexdigest()
    return f"t={when},v1={digest}"


def page(events, query):
    """The newest first, as Stripe's lists are."""
    found = [event for event in reversed(events)
             if event["created"] < int(query.get("created[lt]", 1 << 60))
             and event["created"] >= int(query.get("created[gte]", 0))]
    ids = [event["id"] for event in found]
    limit = int(query.get("limit", 10))
    if "starting_after" in query:
        found = found[ids.index(query["starting_after"]) + 1:]
    if "ending_before" in query:
        newer = found[:ids.index(query["ending_before"])]
        return {"object": "list", "data": newer[-limit:], "has_more": len(newer) > limit}
    return {"object": "list", "data": found[:limit], "has_more": len(found) > limit}


class StripeApi:
    """Its events, the oldest first; `fails` answers come before it works again, and it does not know parameters of the names in `ignores`."""

    def __init__(self):
        self.ignores = ()
        self.events = []
        self.asked = []
        self.fails = []
        self.ids = itertools.count(1)
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                api.answer(self)

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def event(self, kind, listed=True, created=None, **fields):
        """Something happens to the object `fields` of that kind: "product.updated"."""
        event = {"id": f"evt_{next(self.ids)}", "object": "event", "type": kind, "livemode": False,
                 "created": int(time.time()) if created is None else created,
                 "data": {"object": {"object": kind.split(".")[0], **fields}}}
        if listed:
            self.events.append(event)
        return event

    def answer(self, request):
        url = urllib.parse.urlparse(request.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        self.asked.append(query)
        code, body = 200, None
        if self.fails:
            code, body = self.fails.pop(0), {"error": {"message": "not now"}}
        elif request.headers["Authorization"] != "Bearer sk_test_1" or url.path != "/v1/events":
            code, body = 401, {"error": {"message": "Invalid API Key provided"}}
        else:
            body = page(self.events, {name: value for name, value in query.items() if name not in self.ignores})
        data = json.dumps(body).encode()
        request.send_response(code)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)


def post(url, body, signature=None, timeout=30):
    """Code and JSON of the answer; code 0: there is nobody, or it has gone."""
    body = json.dumps(body).encode() if isinstance(body, dict) else body
    request = urllib.request.Request(url, data=body, headers={"Stripe-Signature": sign(body) if signature is None else signature})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.loads(refusal.read() or b"null")
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return 0, None
