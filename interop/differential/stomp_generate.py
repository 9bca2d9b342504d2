"""Makes lists of frames of STOMP, the same list for the same seed and number. The counterpart of `generate.py`.

What leveret does otherwise on purpose is not generated; docs/deviations.md lists it.
"""

import random

QUEUES = ["@q0", "@q1", "@q2"]
EXCHANGES = {"@x0": "topic", "@x1": "fanout", "@x2": "direct"}
KEYS = ["a", "a.b", "b", "a.b.c"]
PATTERNS = KEYS + ["#", "a.*", "*", "a.#"]
HOUR_MS = "3600000"

_WEIGHTS = {"send": 16, "subscribe": 9, "unsubscribe": 3, "settle": 9, "transaction": 5, "connect": 1, "leave": 1,
            "amqp_publish": 3, "amqp_topology": 1, "odd": 2}
THEMES = {
    "everything": {},
    "settling": {"send": 14, "settle": 20, "subscribe": 8},
    "transactions": {"transaction": 18, "send": 16, "settle": 8},
    "mapping": {"send": 20, "amqp_publish": 14, "settle": 2},
    "misuse": {"odd": 14, "connect": 5},
}


class Generator:
    def __init__(self, seed, number):
        self.random = random.Random(f"stomp/{seed}/{number}")
        self.theme = self.random.choice(list(THEMES))
        self.receipts, self.queue_names = 0, 0
        # What has been subscribed to and which transactions may be open, by connection.
        self.subscriptions, self.transactions = {}, {}

    def operations(self):
        self.connections = self.random.choice([1, 1, 2, 2, 3])
        operations = []
        for name, kind in EXCHANGES.items():
            if not self._one_in(3):
                operations.append({"do": "amqp.declare", "kind": "exchange", "name": name, "fields": {"type": kind}})
        operations = [self._placed(operation, conn=0) for operation in operations]
        operations += [self._placed(self._connect(right=True), conn=conn) for conn in range(self.connections)]
        operations += [self._placed(self._subscribe(right=True)) for _ in range(self.random.choice([0, 1, 2]))]
        weights = _WEIGHTS | THEMES[self.theme]
        for kind in self.random.choices(list(weights), list(weights.values()), k=self.random.randint(5, 26)):
            burst = self.random.choice([1, 1, 2, 3]) if kind == "send" else 1
            operations += [self._placed(getattr(self, "_" + kind)()) for _ in range(burst)]
        return operations

    def _placed(self, operation, conn=None):
        if conn is None:
            conn = operation.pop("where", None)
        if conn is None:
            conn = self.random.randrange(self.connections)
        if operation["do"] == "SUBSCRIBE":
            headers = dict(operation["headers"])
            self.subscriptions.setdefault(conn, []).append(headers)
        return {"conn": conn, "channel": "stomp"} | operation

    def _one_in(self, count):
        return self.random.randrange(count) == 0

    def _frame(self, command, headers, body=""):
        headers = [pair for pair in headers if pair is not None]
        if command not in ("CONNECT", "STOMP") and self._one_in(4):
            self.receipts += 1
            headers.append(("receipt", f"r{self.receipts}"))
        self.random.shuffle(headers)
        made = {"do": command, "headers": [list(pair) for pair in headers]}
        return made | {"body": body} if body else made

    # Sessions

    def _connect(self, right=False):
        headers = [("accept-version", self.random.choice(["1.0", "1.1", "1.2", "1.2", "1.2", "1.0,1.1,1.2", "1.1,1.0"]))]
        if self._one_in(8):
            headers = []
        if not self._one_in(3):
            headers += [("login", "guest"), ("passcode", "guest")]
        if self._one_in(3):
            headers.append(("host", "/"))
        if self._one_in(3):
            headers.append(("heart-beat", self.random.choice(["0,0", "600000,600000", "1,600000", "600000,0"])))
        if self._one_in(6):
            headers.append(("client-id", "c1"))
        if not right and self._one_in(2):
            headers = self.random.choice([
                [("accept-version", "2.0")], [("accept-version", "")], [("host", "nowhere")],
                [("login", "guest"), ("passcode", "wrong")], [("login", "nobody"), ("passcode", "x")],
                [("heart-beat", "x,y")], [("heart-beat", "5")], [("heart-beat", "1000,1000,1000")],
                [("heart-beat", "-1,0")], [("host", "")], [("accept-version", "1.2"), ("accept-version", "1.0")]])
        made = self._frame(self.random.choice(["CONNECT", "CONNECT", "STOMP"]), headers)
        return made if right else made | {"where": 3}

    def _leave(self):
        if self._one_in(2):
            return {"do": "drop"}
        return self._frame("DISCONNECT", [])

    # Messages

    def _destination(self, sending):
        keys = KEYS if sending else PATTERNS
        key = self.random.choice(keys)
        exchange = self.random.choice(list(EXCHANGES))
        common = [f"/queue/{self.random.choice(QUEUES)}"] * 5 + [f"/topic/@{key}"] * 3
        common += [f"/exchange/{exchange}/{key}"] * 3 + [f"/exchange/{exchange}"]
        rare = [f"/amq/queue/{self.random.choice(QUEUES)}", f"/exchange/amq.topic/@{key}", "/queue/@a%2Fb",
                "/exchange/amq.direct/@k", "/topic/@a%2Fb", "/exchange/@x0/a%2Fb"]
        if sending:
            rare += [f"/reply-queue/{self.random.choice(QUEUES)}", "/exchange/amq.fanout/@k"]
        return self.random.choice(common * 2 + rare)

    def _send(self):
        headers = [("destination", self._destination(True))]
        if self._one_in(4):
            headers.append(("persistent", self.random.choice(["true", "true", "false"])))
        if self._one_in(2) or self.theme == "mapping":
            headers += self._properties()
        conn = self.random.randrange(self.connections)
        if self.theme == "transactions" and not self._one_in(3):
            name = self._transaction_name()
            headers.append(("transaction", name))
            if name not in self.transactions.get(conn, ()):
                # RabbitMQ complains of it, and then of the queue as well if that cannot be declared.
                headers[0] = ("destination", "/topic/@a")
        if self._one_in(30):
            headers.append(("reply-to", f"/temp-queue/@t{self.random.randrange(2)}"))
        body = self.random.choice(["", "m", "hello", "a\nb", "x" * 300, "\u00e9"])
        return self._frame("SEND", headers, body) | {"where": conn}

    def _properties(self):
        choices = [
            ("content-type", "text/plain"), ("content-encoding", "gzip"), ("priority", self.random.choice("0 4 9 255".split())),
            ("correlation-id", "c:1"), ("reply-to", self.random.choice(["/queue/@q1", "/topic/a", "@q2", "/reply-queue/@q0"])),
            ("expiration", HOUR_MS), ("amqp-message-id", "m-1"), ("timestamp", "12345"), ("type", "t"), ("user-id", "guest"),
            ("app-id", "app"), ("x", "y"), ("a:b", "c:d"), ("n\\l", "line\nbreak"), ("x", ""), ("X-Upper", " spaced "),
            ("foo", "1"), ("foo", "2"), ("cluster-id", "k"), ("delivery-mode", "2"), ("\u00e9", "\u00fc"), ("CC", "k"),
            ("headers", "h"), ("persistent", "yes"), ("selector", "a=1"), ("transformation", "jms-map"), ("id", "5"),
        ]
        return self.random.sample(choices, self.random.choice([1, 1, 2, 3, 5]))

    def _amqp_publish(self):
        values = [["S", "v"], ["I", 5], ["l", 1 << 40], ["t", True], ["d", 1.5], ["V", None], ["F", {"k": ["S", "v"]}],
                  ["A", [["S", "v"]]], ["T", 7], ["S", "a:b\n"], ["b", -3], ["S", ""]]
        properties = {}
        if not self._one_in(3):
            names = self.random.sample(["h0", "h1", "a:b", "x-h"], self.random.choice([1, 2, 3]))
            # RabbitMQ leaves out what is neither text nor a whole number; see the deviations for the others.
            properties["headers"] = {name: self.random.choice(values) for name in names}
        for name, value in [("content_type", "text/html"), ("content_encoding", "br"), ("delivery_mode", 1), ("delivery_mode", 2),
                            ("priority", 3), ("correlation_id", "c:2"), ("reply_to", "@q1"), ("reply_to", "/topic/x"),
                            ("expiration", HOUR_MS), ("message_id", "m-2"), ("timestamp", 99), ("type", "ty"), ("user_id", "guest"),
                            ("app_id", "ap"), ("cluster_id", "cl")]:
            if self._one_in(5):
                properties[name] = value
        target = self.random.choice([("", self.random.choice(QUEUES)), ("amq.topic", "@" + self.random.choice(KEYS)),
                                     (self.random.choice(list(EXCHANGES)), self.random.choice(KEYS))])
        return {"do": "amqp.publish", "exchange": target[0], "key": target[1], "properties": properties,
                "body": self.random.choice(["", "from amqp", "\u00e9"])}

    def _amqp_topology(self):
        return self.random.choice([
            {"do": "amqp.delete", "kind": "queue", "name": self.random.choice(QUEUES)},
            {"do": "amqp.delete", "kind": "queue", "name": self.random.choice(QUEUES)},
            {"do": "amqp.delete", "kind": "exchange", "name": self.random.choice(list(EXCHANGES))},
            {"do": "amqp.declare", "kind": "queue", "name": self.random.choice(QUEUES),
             "fields": {"durable": self._one_in(2), "arguments": {} if self._one_in(2) else {"x-max-length": ["I", 2]}}}])

    # Subscriptions

    def _subscribe(self, right=False):
        headers = [("destination", self._destination(False))]
        if not self._one_in(12):
            headers.append(("id", self.random.choice(["s%d" % self.random.randrange(12), "s0", "a:b"] if not right
                                                     else ["s%d" % self.random.randrange(12)])))
        headers.append(self._maybe(2, "ack", ["auto", "client", "client", "client-individual", "client-individual"]))
        headers.append(self._maybe(4, "prefetch-count", ["1", "2", "0"]))
        if self._one_in(6) and not headers[0][1].startswith("/exchange"):
            # RabbitMQ gives durable subscriptions to two exchanges one queue if their keys are the same.
            headers.append(("durable", self.random.choice(["true", "false"])))
        if self._one_in(6):
            headers += [("auto-delete", self.random.choice(["true", "false"])), ("x-expires", HOUR_MS)]
        headers.append(self._maybe(12, "exclusive", ["true", "false"]))
        if self._one_in(10):
            # Under an id of its own: of one that is in use RabbitMQ complains, and leaves the queue there.
            self.queue_names += 1
            headers = [pair for pair in headers if pair and pair[0] != "id"]
            headers += [("x-queue-name", self.random.choice(QUEUES)), ("id", f"n{self.queue_names}")]
        headers.append(self._maybe(14, "x-max-length", ["1", "2"]))
        headers.append(self._maybe(14, "x-message-ttl", [HOUR_MS]))
        headers.append(self._maybe(20, "persistent", ["true"]))
        headers.append(self._maybe(20, "x-dead-letter-exchange", ["@x1", "amq.topic"]))
        headers.append(self._maybe(20, "x-max-priority", ["3"]))
        headers.append(self._maybe(30, "selector", ["a=1"]))
        return self._frame("SUBSCRIBE", headers)

    def _maybe(self, count, name, values):
        return (name, self.random.choice(values)) if self._one_in(count) else None

    def _unsubscribe(self):
        conn = self.random.randrange(self.connections)
        known = self.subscriptions.get(conn)
        if not known or self._one_in(10):
            return self._frame("UNSUBSCRIBE", self.random.choice([[("id", "zorp")], [("destination", "/queue/@q0")], []]))
        headers = self.random.choice(known)
        names = ("id",) if "id" in headers else ("destination",)
        named = [(name, headers[name]) for name in names]
        if headers.get("durable") == "true" and self._one_in(2):
            named.append(("durable", "true"))
        return self._frame("UNSUBSCRIBE", named) | {"where": conn}

    def _settle(self):
        command = self.random.choice(["ACK", "ACK", "NACK"])
        headers = []
        if command == "NACK":
            headers.append(self._maybe(2, "requeue", ["false", "true"]))
        if self.theme == "transactions" and self._one_in(2):
            headers.append(("transaction", self._transaction_name()))
        # Where the message is, if it is anywhere.
        return self._frame(command, headers) | {"tag": self.random.choice([0, 0, 1, -1])}

    def _transaction_name(self):
        return self.random.choice(["t0", "t0", "t1"])

    def _transaction(self):
        command = self.random.choice(["BEGIN", "BEGIN", "COMMIT", "COMMIT", "ABORT"])
        conn, name = self.random.randrange(self.connections), self._transaction_name()
        names = self.transactions.setdefault(conn, set())
        if command == "BEGIN":
            names.add(name)
        else:
            names.discard(name)
        return self._frame(command, [("transaction", name)]) | {"where": conn}

    # Misuse

    def _odd(self):
        frame = self._frame
        return self.random.choice([
            lambda: frame("SEND", []),
            lambda: frame("SEND", [("destination", self.random.choice([
                "/zorp/a", "", "/queue/a/b", "/queue/", "/topic/", "/exchange/", "/exchange", "/temp-queue/a", "/exchange/@none/k",
                "/amq/queue/", "/amq/queue/@none", "/reply-queue/", "@q0", "/queue", "/exchange//a", "/topic/a/b", "/amq/zorp",
                "/exchange/@x0/a/b", "/exchange/amq.default/@q0"]))], "m"),
            lambda: frame("SUBSCRIBE", [("id", "odd"), ("destination", self.random.choice([
                "/zorp/a", "", "/queue/a/b", "/queue/", "/topic/", "/exchange/", "/exchange", "/temp-queue/a", "/exchange/@none/k",
                "/amq/queue/", "/amq/queue/@none", "/reply-queue/@q0", "/exchange//a", "/reply-queue/@none", "@q1"]))]),
            lambda: frame("SUBSCRIBE", [("id", "odd")]),
            lambda: frame("SUBSCRIBE", [("id", "odd"), ("destination", "/queue/@q0"), ("ack", "zorp")]),
            lambda: frame("SUBSCRIBE", [("durable", "true"), ("destination", "/topic/@a")]),
            lambda: frame("SEND", [("destination", "/queue/@q0"), ("message-id", "m")], "m"),
            lambda: frame("ACK", self.random.choice([[], [("id", "zorp")], [("message-id", "zorp")], [("id", "")]])),
            lambda: frame("NACK", self.random.choice([[], [("id", "zorp")], [("message-id", "zorp")]])),
            lambda: frame("BEGIN", []), lambda: frame("COMMIT", []), lambda: frame("ABORT", []),
            lambda: frame("COMMIT", [("transaction", "zorp")]), lambda: frame("ABORT", [("transaction", "zorp")]),
            lambda: frame("SEND", [("destination", "/topic/@a"), ("transaction", "zorp")], "m"),
            lambda: frame("ZORP", [("a", "b")]), lambda: frame("send", [("destination", "/queue/@q0")]),
            lambda: frame("MESSAGE", []), lambda: frame("CONNECTED", []), lambda: frame("RECEIPT", []),
            lambda: frame("UNSUBSCRIBE", []),
            lambda: frame("DISCONNECT", []),
            lambda: {"do": "raw", "hex": b"\n\n\r\n".hex()},
            lambda: {"do": "raw", "hex": b"SEND\r\ndestination:/queue/%s\r\n\r\nx\0".hex()},
            lambda: frame("SEND", [("destination", "/queue/@q0"), ("content-length", "1")], "m"),
        ])()
