"""A receiver of Ringback's callbacks with nothing but Python, 3.9 or later.

    RINGBACK_CALLBACK_SECRETS=new,old PORT=9000 python3 receiver.py

Prints one line of JSON for each event. Answers: 204 handled, now or before;
400 unreadable; 401 not signed, forged or stale; 405 not a POST; 409 being
handled; 411 without a length; 413 too large; 415 neither JSON nor a form; 500
failed: send again.
"""

import base64
import hashlib
import hmac
import json
import os
import signal
import sys
import threading
import time
import traceback
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRETS = [s.encode() for s in os.environ.get("RINGBACK_CALLBACK_SECRETS", "").split(",") if s]
TOLERANCE = 5 * 60  # seconds
MAX_BODY = 64 * 1024
REMEMBERED = 100_000
NUMBERS = ("timestamp", "create_time", "timeout", "invite_time", "duration", "action",
           "login_time", "logout_time", "offline_time")

printing = threading.Lock()


def handle(event):
    """Is where your program begins. When it raises, the callback is sent again later."""
    with printing:  # requests are handled in threads
        print(json.dumps(event), flush=True)


class Refusal(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def check_time(text, name):
    """Takes Unix seconds as text."""
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise Refusal(400, f"{name} is not a number of seconds")
    if abs(time.time() - int(text)) > TOLERANCE:
        raise Refusal(401, f"{name} is more than {TOLERANCE} s from now: it is a replay, or a clock is wrong")


def verify_header(headers, body):
    """Checks the signature of Standard Webhooks, which covers the ID, the time
    and the body. During a rotation there is one for each secret."""
    webhook_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "")
    if not webhook_id or not timestamp or not given:
        raise Refusal(401, "the webhook headers are missing: only signed callbacks are accepted")
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    right = False
    for secret in SECRETS:
        want = b"v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest())
        for signature in given.split(" "):
            right |= hmac.compare_digest(want, signature.encode())
    if not right:
        raise Refusal(401, "webhook-signature matches none of the secrets")
    check_time(timestamp, "webhook-timestamp")


def verify_body(fields):
    """Checks the documented signature: SHA-1 of secret, timestamp and nonce in
    byte order. It does not cover the rest of the body."""
    timestamp, nonce, signature = (fields.get(name, "") for name in ("timestamp", "nonce", "signature"))
    if not isinstance(nonce, str) or not isinstance(signature, str) or not nonce or not signature:
        raise Refusal(401, "nonce or signature is missing in the body")
    right = False
    for secret in SECRETS:
        parts = sorted([secret, str(timestamp).encode(), nonce.encode("utf-8", "replace")])
        want = hashlib.sha1(b"".join(parts)).hexdigest().encode()
        right |= hmac.compare_digest(want, signature.encode("utf-8", "replace"))
    if not right:
        raise Refusal(401, "the signature in the body matches none of the secrets")
    check_time(str(timestamp), "timestamp")


def parse(content_type, body):
    media = content_type.split(";")[0].strip().lower()
    try:
        if media == "application/json":
            fields = json.loads(body)
        elif media == "application/x-www-form-urlencoded":
            fields = dict(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True))
            for name in NUMBERS:
                if name in fields:
                    fields[name] = int(fields[name])
            if "user_ids" in fields:
                fields["user_ids"] = json.loads(fields["user_ids"])  # arrays are JSON text
        else:
            raise Refusal(415, "the Content-Type is neither application/json nor application/x-www-form-urlencoded")
    except ValueError:
        raise Refusal(400, "the body is broken") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("event"), str):
        raise Refusal(400, "the body has no event")
    return fields


class Seen:
    """The IDs of callbacks, True once they are handled: the latest ones. A real
    receiver keeps them in its database."""

    def __init__(self):
        self.lock = threading.Lock()
        self.ids = {}

    def claim(self, webhook_id):
        """Gives False if it was handled before."""
        with self.lock:
            done = self.ids.get(webhook_id)
            if done is False:
                raise Refusal(409, "this callback is being handled")
            if done is None:
                self.ids[webhook_id] = False
            return not done

    def finish(self, webhook_id, done):
        with self.lock:
            del self.ids[webhook_id]
            if done:
                self.ids[webhook_id] = True
            if len(self.ids) > REMEMBERED:
                del self.ids[next(iter(self.ids))]


seen = Seen()


class Receiver(BaseHTTPRequestHandler):
    timeout = 10  # seconds, for a peer that says nothing

    def do_POST(self):
        try:
            self.receive()
            self.send_response(204)
            self.end_headers()
        except Refusal as refusal:
            self.refuse(refusal.status, str(refusal))
        except OSError:
            self.close_connection = True  # the peer is gone, or says nothing
        except Exception:
            traceback.print_exc()
            self.refuse(500, "failed: send it again")

    def receive(self):
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise Refusal(411, "the Content-Length is missing")
        if int(length[:12]) > MAX_BODY:
            # Read on to a bound: a sender that is still sending would not see
            # the answer.
            self.rfile.read(min(int(length[:12]), 16 * MAX_BODY))
            raise Refusal(413, f"the body is larger than {MAX_BODY} bytes")
        body = self.rfile.read(int(length))  # the very bytes: the signature is over them
        verify_header(self.headers, body)
        fields = parse(self.headers.get("Content-Type", ""), body)
        verify_body(fields)

        webhook_id = self.headers["webhook-id"]
        if not seen.claim(webhook_id):
            return
        done = False
        try:
            event = {
                "id": webhook_id,
                "attempt": int(self.headers.get("Ringback-Attempt", 0)),
                "sequence": int(self.headers.get("Ringback-Sequence", 0)),
                "test": self.headers.get("Ringback-Test") == "true",
            }
            event.update((k, v) for k, v in fields.items() if k not in ("nonce", "signature"))
            handle(event)
            done = True
        finally:
            seen.finish(webhook_id, done)

    def other(self):
        self.refuse(405, "callbacks come by POST")

    do_GET = do_HEAD = do_PUT = do_PATCH = do_DELETE = other

    def refuse(self, status, text):
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        if status == 405:
            self.send_header("Allow", "POST")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode() + b"\n")

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # requests that are under way are finished at the end


def main():
    if not SECRETS:
        sys.exit("receiver: set RINGBACK_CALLBACK_SECRETS to the secret of the endpoint; several are separated by commas")
    server = Server(("127.0.0.1", int(os.environ.get("PORT", "9000"))), Receiver)

    def stop(*_):
        # shutdown waits for serve_forever, which runs in this very thread.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"listening on http://127.0.0.1:{server.server_port}", file=sys.stderr, flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
