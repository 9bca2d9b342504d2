"""Runs one list of frames of STOMP against a broker and writes down what comes back.

The counterpart of `session.py`, whose transcripts these are like. An operation is `{"conn": 0, "channel": "stomp", "do":
"SEND", "headers": [[name, value], ...], "body": "..."}`, or something of AMQP that the observer does: `amqp.publish`,
`amqp.declare`, `amqp.delete`. A `@` in a text stands for the prefix of this run's names.

After each operation every session begins and aborts a transaction, which tells that it has read everything, and every
queue is asked for its length, until nothing moves.
"""

import re
import time
import zlib

from names import Names
from stomp_client import Connection, encode
from stream import Hang

ROUNDS_MAX = 60
# How long the receipt of a SEND may take, which waits for the publisher confirm.
RECEIPT_TIMEOUT_S = 3.0
# RabbitMQ's queues hand their messages to sessions on their own time; a round does not wait for that.
PAUSE_S = 0.003

_GENERATED = re.compile(r"(amq\.gen-|stomp-subscription-|session-)[A-Za-z0-9_-]{22}")
_MESSAGE_ID = re.compile(r"^(.*)@@session-[^@]*@@(\d+)$")
_CODE = re.compile(r"^[a-z_]+$")
_PROBE = "probe"


class State:
    """What a client knows of its session."""

    def __init__(self):
        self.outstanding = []       # (subscription, message-id, ack), oldest first
        self.awaited = set()        # receipts of SENDs outside of transactions
        self.transactions = set()


class Session:
    """Runs one list. `address` is AMQP's, `stomp_address` the one under test; `name` as in `session.Session`."""

    def __init__(self, stomp_address, name, observer):
        self.stomp_address, self.name, self.observer = stomp_address, name, observer
        self.connections, self.states = {}, {}
        self.queues, self.exchanges = [], []
        self._shown = Names(name, "@", _GENERATED).shown
        self.inbox, self.ended = [], {}
        self.transcript, self.complaints = [], []
        self.probes = 0

    def run(self, operations):
        """Returns the transcript: one entry a step and one for what was left in the queues."""
        try:
            for number, operation in enumerate(operations):
                self._step(number, operation)
            self._finish()
        except Hang as hang:
            self.complaints.append(f"the broker hangs: {hang}")
            self.transcript.append({"hang": str(hang)})
            for connection in self.connections.values():
                connection.end()
            self.observer.renew()
        return self.transcript

    # Steps

    def _step(self, number, operation):
        self.inbox, self.ended, self.number = [], {}, number
        operation = self._resolve(operation)
        if operation["do"].startswith("amqp."):
            self._amqp(operation)
        else:
            self._stomp(operation["conn"], operation)
        counts = self._settle()
        self.transcript.append({"step": number, "frames": self._frames(), "ended": dict(sorted(self.ended.items())),
                                **counts})

    def _amqp(self, operation):
        do = operation["do"]
        if do == "amqp.publish":
            self.observer.publish(operation["exchange"], operation["key"], operation["properties"],
                                  operation["body"].encode())
        elif do == "amqp.declare":
            self._note(self.exchanges if operation["kind"] == "exchange" else self.queues, operation["name"])
            self.observer.declare(operation["kind"], operation["name"], operation["fields"])
        else:
            self.observer.delete(operation["kind"], operation["name"])

    def _stomp(self, conn, operation):
        do, headers = operation["do"], [tuple(pair) for pair in operation.get("headers", [])]
        if do in ("CONNECT", "STOMP"):
            # RabbitMQ drops a session that asks for one; leveret says why before.
            if not self._alive(conn):
                self._connect(conn, do, headers)
            return
        if not self._alive(conn):
            self._connect(conn, "CONNECT", [("accept-version", "1.2"), ("login", "guest"), ("passcode", "guest")])
            if not self._alive(conn):
                return
        state = self.states[conn]
        if do == "drop":
            self.connections[conn].end()
            self._forget(conn, "dropped by us")
            return
        if do == "raw":
            self.connections[conn].write(bytes.fromhex(operation["hex"]))
            return
        if do in ("ACK", "NACK") and "tag" in operation:
            named = self._name_message(conn, operation["tag"])
            if named is None:
                return
            headers = named + headers
        if do == "UNSUBSCRIBE":
            self._settle_before(conn, dict(headers))
        self._remember(conn, state, do, dict(reversed(headers)))
        self.connections[conn].write(encode(do, headers, operation.get("body", "").encode()))

    def _connect(self, conn, command, headers):
        connection = self.connections[conn] = Connection(self.stomp_address)
        self.states[conn] = State()
        connection.write(encode(command, headers))
        frame = self._read(conn)
        if frame is None:
            return
        connection.version = frame.headers.get("version", "1.0")
        if frame.command == "ERROR":
            # RabbitMQ leaves the connection open, for no good.
            connection.end()
            self._forget(conn, "refused")

    def _name_message(self, conn, tag):
        """The headers that name one of the messages that are out; `tag` is its place."""
        outstanding = self.states[conn].outstanding
        if not outstanding:
            return None
        subscription, message_id, ack = outstanding.pop(tag % len(outstanding))
        if ack is not None:
            return [("id", ack)]
        return [("message-id", message_id)] + [("subscription", subscription)] * (subscription is not None)

    def _settle_before(self, conn, headers):
        """Acknowledges what a subscription has out: where that goes when the subscription ends is a known difference."""
        state = self.states[conn]
        for entry in list(state.outstanding):
            if entry[0] in (headers.get("id"), None):
                named = self._name_message(conn, state.outstanding.index(entry))
                self.connections[conn].write(encode("ACK", named))

    def _remember(self, conn, state, do, headers):
        """Notes what the frame leads to: queues that may come to be, and a receipt that is worth waiting for."""
        destination = headers.get("destination", "")
        if do in ("SEND", "SUBSCRIBE") and destination.startswith("/queue/"):
            self._note(self.queues, destination.removeprefix("/queue/").replace("%2F", "/"))
        if do == "SUBSCRIBE" and "x-queue-name" in headers:
            self._note(self.queues, headers["x-queue-name"])
        if do == "SEND" and "receipt" in headers and "transaction" not in headers:
            state.awaited.add(headers["receipt"])

    def _note(self, names, name):
        if name.startswith(self.name) and name not in names:
            names.append(name)

    # Reading

    def _alive(self, conn):
        return conn in self.connections and self.connections[conn].alive

    def _read(self, conn):
        """One frame, noted; `None` at the end of the connection."""
        frame = self.connections[conn].next()
        if frame is None:
            self._forget(conn, "closed by the broker")
            return None
        self.inbox.append((conn, frame))
        state = self.states[conn]
        if frame.command == "MESSAGE":
            headers = frame.headers
            state.outstanding.append((headers.get("subscription"), headers["message-id"], headers.get("ack")))
        elif frame.command == "RECEIPT":
            state.awaited.discard(frame.headers["receipt-id"])
        elif frame.command == "ERROR":
            # Whatever it was about: its receipt does not come.
            state.awaited.clear()
        return frame

    def _round_trip(self, conn):
        """Begins and aborts a transaction, so that everything the session had to say before has been read."""
        self.probes += 1
        receipt = f"{_PROBE}-{self.probes}"
        self.connections[conn].write(encode("BEGIN", [("transaction", _PROBE)])
                                     + encode("ABORT", [("transaction", _PROBE), ("receipt", receipt)]))
        while self._alive(conn):
            frame = self._read(conn)
            if frame and frame.command == "RECEIPT" and frame.headers["receipt-id"] == receipt:
                self.inbox.pop()
                return

    def _forget(self, conn, how):
        self.ended[f"c{conn}"] = how
        self.states[conn].awaited.clear()

    # Settling

    def _settle(self):
        before, deadline = None, time.monotonic() + RECEIPT_TIMEOUT_S
        for _ in range(ROUNDS_MAX):
            time.sleep(PAUSE_S)
            seen = len(self.inbox)
            for conn in sorted(self.connections):
                if self._alive(conn):
                    self._round_trip(conn)
            counts = self._counts()
            awaits = any(self._alive(conn) and state.awaited for conn, state in self.states.items())
            if counts == before and len(self.inbox) == seen:
                if not awaits:
                    return counts
                if time.monotonic() > deadline:
                    self.complaints.append(f"step {self.number}: a receipt did not come")
                    for state in self.states.values():
                        state.awaited.clear()
                    return counts
                time.sleep(0.02)
            elif not awaits:
                deadline = time.monotonic() + RECEIPT_TIMEOUT_S
            before = counts
        self.complaints.append(f"step {self.number}: the queues do not come to rest")
        return counts

    def _counts(self):
        return {"queues": {self._shown(name): self.observer.queue(name) for name in self.queues}}

    # The end

    def _finish(self):
        """Leaves, takes what is in the queues and deletes everything."""
        self.inbox, self.ended, self.number = [], {}, len(self.transcript)
        for conn in sorted(self.connections):
            if self._alive(conn):
                self.connections[conn].write(encode("DISCONNECT", [("receipt", "bye")]))
                while self._alive(conn) and self._read(conn):
                    pass
        counts = self._settle()
        left = {self._shown(name): [self._event(event) for event in self.observer.drain(name)]
                for name in self.queues if counts["queues"][self._shown(name)]}
        self.transcript.append({"step": "end", "frames": self._frames(), **counts, "left": left})
        for name in self.queues:
            self.observer.delete("queue", name)
        for name in self.exchanges:
            self.observer.delete("exchange", name)

    # The transcript

    def _frames(self):
        """What came in during a step, per connection; messages keep their order per subscription."""
        frames = {}
        for conn, frame in self.inbox:
            groups = frames.setdefault(f"c{conn}", {})
            place = "replies"
            if frame.command == "MESSAGE":
                place = "to " + self._shown(frame.headers.get("subscription", "?"))
            groups.setdefault(place, []).append(self._frame(frame))
        for key, groups in frames.items():
            replies = groups.get("replies", [])
            if key in self.ended:
                # RabbitMQ sends the receipt of a SUBSCRIBE although the exchange is missing, and the error then.
                replies[:] = [frame for frame in replies if frame["command"] != "RECEIPT"]
            # Receipts of SENDs come as their confirms do.
            replies.sort(key=str)
            if sum(group.startswith("to ") for group in groups) > 1:
                for group, shown in groups.items():
                    if group.startswith("to "):
                        for frame in shown:
                            frame["headers"]["message-id"] = "any"
        return frames

    def _frame(self, frame):
        headers = {name: self._shown(value) for name, value in sorted(frame.headers.items())}
        # What the server is called, and how long the body is, which it is.
        for name in ("server", "content-length", "ack"):
            headers.pop(name, None)
        if match := _MESSAGE_ID.match(frame.headers.get("message-id", "")):
            headers["message-id"] = f"{self._shown(match[1])}@@{match[2]}"
        headers["ack"] = frame.headers.get("ack") == frame.headers.get("message-id")
        shown = {"command": frame.command, "headers": headers}
        if frame.command == "ERROR":
            text = headers.pop("message", "")
            if _CODE.match(text):
                headers["code"] = text
            shown["reply_text"] = f"{text}: {self._shown(frame.body.decode(errors='replace'))}"
        else:
            shown["body"] = [len(frame.body), self._shown(frame.body[:20].decode(errors="replace")),
                             zlib.crc32(frame.body)]
        return shown

    def _event(self, event):
        fields = {key: value for key, value in event.fields.items() if key not in ("delivery_tag", "message_count")}
        properties = dict(event.properties)
        if "headers" in properties:
            properties["headers"] = {name: value for name, value in properties["headers"].items()
                                     if name != "content-length"}
        return {"name": event.name, **self._shown(fields), "properties": self._shown(properties),
                "body": self._shown(event.body[:20].decode(errors="replace"))}

    def _resolve(self, value):
        if isinstance(value, str):
            return value.replace("@", self.name)
        if isinstance(value, dict):
            return {key: self._resolve(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._resolve(item) for item in value]
        return value
