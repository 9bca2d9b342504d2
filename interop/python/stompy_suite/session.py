"""Sessions of stomp.py that keep what they hear."""

import os
import queue
import urllib.parse

import pika
import stomp

from harness import SOON, broker_url

#: Where the broker is when STOMP_URL does not say.
DEFAULT_URL = "stomp://guest:guest@127.0.0.1:61613"

VERSIONS = ("1.0", "1.1", "1.2")

#: Those that know heart-beats.
NEWER = VERSIONS[1:]

_CLASSES = {"1.0": stomp.Connection10, "1.1": stomp.Connection11, "1.2": stomp.Connection12}

_open = []


def address():
    """The URL under test: STOMP_URL, or a broker on this machine with RabbitMQ's defaults."""
    return os.environ.get("STOMP_URL", DEFAULT_URL)


class Session(stomp.ConnectionListener):
    """One connection; what comes is waited for with `next` and `receipt`.

    `port` is that of a relay before the broker, if there is one.
    """

    def __init__(self, version="1.2", port=None, **connect):
        url = urllib.parse.urlsplit(address())
        self.version = version
        self.frames = {name: queue.Queue() for name in ("message", "receipt", "error", "end")}
        options = {"reconnect_attempts_max": 1, "auto_decode": False}
        if version in NEWER:
            options |= {"heartbeats": connect.pop("heartbeats", (0, 0)), "vhost": "/"}
        self.connection = _CLASSES[version]([(url.hostname, port or url.port or 61613)], **options)
        self.connection.set_listener("suite", self)
        login = {"username": url.username, "passcode": url.password, "wait": True}
        self.connection.connect(**(login | connect))
        _open.append(self)

    def on_message(self, frame):
        self.frames["message"].put(frame)

    def on_receipt(self, frame):
        self.frames["receipt"].put(frame)

    def on_error(self, frame):
        self.frames["error"].put(frame)

    def on_disconnected(self):
        self.frames["end"].put(None)

    def next(self, kind, timeout=SOON):
        """The next frame of a kind, or a failure when none comes."""
        try:
            return self.frames[kind].get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"no {kind} in {timeout} s") from None

    def receipt(self, name):
        """Waits for this receipt."""
        got = self.next("receipt").headers["receipt-id"]
        if got != name:
            raise AssertionError(f"receipt {got}, want {name}")

    def subscribe(self, destination, subscription="1", ack="auto", **headers):
        self.connection.subscribe(destination, id=subscription, ack=ack, headers=headers | {"receipt": "subscribed"})
        self.receipt("subscribed")

    def send(self, destination, body, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.send(destination, body, headers=headers | {"receipt": "sent"})
        self.receipt("sent")

    def ack(self, message, **headers):
        """Acknowledges a message, as the version has it."""
        self._settle("ACK", message, headers)

    def nack(self, message, **headers):
        """Refuses a message; RabbitMQ knows that in 1.0 too."""
        self._settle("NACK", message, headers)

    def _settle(self, command, message, headers):
        if self.version == "1.2":
            which = {"id": message.headers["ack"]}
        else:
            which = {name: message.headers[name] for name in ("message-id", "subscription")}
        self.connection.send_frame(command, which | headers, "")

    def delete_queue(self, name):
        """Deletes a queue, for which STOMP has no word."""
        with pika.BlockingConnection(pika.URLParameters(broker_url())) as connection:
            connection.channel().queue_delete(name)

    def leave(self):
        """Ends in order: everything that was said before has been done."""
        self.connection.disconnect(receipt="bye")
        self.next("end")

    def close(self):
        if self.connection.is_connected():
            self.connection.disconnect()


def close_all():
    """Ends what a check has opened, passed or failed."""
    while _open:
        try:
            _open.pop().close()
        except Exception:  # it may be gone already
            pass
