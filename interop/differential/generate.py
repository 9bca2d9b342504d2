"""Makes lists of operations, the same list for the same seed and number.

A list begins with a topology that mostly works and goes on at random. Each list has a theme, which makes some
operations frequent, so that things which need each other meet: limits and confirms, settling and prefetch.
Nothing here waits for time to pass: a time to live is 0 or an hour.
"""

import random
import struct

import wire

HOUR_MS = 3600000
QUEUES = ["q0", "q1", "q2", "q3"]
EXCHANGES = ["x0", "x1", "x2", "x3"]
SYSTEM_EXCHANGES = ["amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match"]
TYPES = ["direct", "fanout", "topic", "headers"]
WORDS = ["a", "b", "c", ""]
INTEGERS = ["b", "B", "s", "u", "I", "i", "l"]

_BASE = {
    "declare_exchange": 3, "delete_exchange": 1, "bind_exchange": 2, "unbind_exchange": 1, "declare_queue": 5,
    "bind_queue": 5, "unbind_queue": 2, "purge": 1, "delete_queue": 2, "publish": 14, "confirm": 1, "tx": 1,
    "consume": 5, "cancel": 2, "get": 4, "settle": 7, "qos": 2, "recover": 1, "channel": 1, "connection": 1,
}
THEMES = {
    "everything": {},
    "limits": {"publish": 30, "declare_queue": 8, "confirm": 4, "consume": 3, "settle": 8, "get": 6},
    "consuming": {"publish": 16, "consume": 14, "cancel": 6, "qos": 6, "settle": 12, "delete_queue": 3},
    "settling": {"publish": 14, "get": 10, "settle": 18, "recover": 3, "consume": 6, "channel": 3, "connection": 2},
    "topology": {"declare_exchange": 10, "delete_exchange": 5, "bind_exchange": 8, "unbind_exchange": 5,
                 "bind_queue": 10, "unbind_queue": 6, "delete_queue": 5, "publish": 16},
    "routing": {"declare_exchange": 4, "bind_queue": 14, "bind_exchange": 5, "publish": 30, "unbind_queue": 4},
    "transactions": {"tx": 14, "publish": 16, "settle": 12, "get": 8, "consume": 4},
    "declaring": {"declare_queue": 20, "declare_exchange": 12, "delete_queue": 6, "delete_exchange": 4},
}


class Generator:
    def __init__(self, seed, number):
        self.random = random.Random(f"{seed}/{number}")
        self.theme = self.random.choice(list(THEMES))
        # Where something may live for no time, nothing is given back: leveret removes what is overdue as soon as it
        # returns, RabbitMQ only at the head of the queue.
        self.zero_ttl = self._one_in(5)
        # RabbitMQ holds back consumers that do not acknowledge, too, while a channel has reached a common limit, and
        # counts what was taken with basic.get before; leveret does neither.
        self.global_limit = not self.zero_ttl and self._one_in(4)
        # leveret forgets whom BCC named once a message is in its queues, so a dead one goes without them.
        self.dead_letters = not self._one_in(3)
        # All lists share these, so only some lists touch them, and those not at the same time.
        self.system = SYSTEM_EXCHANGES if self._one_in(5) else []
        # What has been declared and may still be there: a name's declaration and its connection.
        self.queues, self.exchanges, self.owners = {}, {}, {}

    def operations(self):
        """The list: 8 to 40 operations, and now and then a violation of the protocol as the last one."""
        self.connections = self.random.choice([1, 2, 2, 3])
        operations = [self._make("declare_queue", right=True) for _ in range(self.random.randint(2, 4))]
        operations += [self._make("declare_exchange", right=True) for _ in range(self.random.randint(0, 3))]
        operations += [self._make("bind_queue") for _ in range(self.random.randint(0, 3))]
        weights = _BASE | THEMES[self.theme]
        for kind in self.random.choices(list(weights), list(weights.values()), k=self.random.randint(6, 32)):
            # Messages come in bursts: there is little to see in a queue of one.
            burst = self.random.choice([1, 1, 2, 4]) if kind == "publish" else 1
            operations += [self._make(kind) for _ in range(burst)]
        if self._one_in(8):
            operations.append(self._make("violate"))
        return operations

    def _make(self, kind, **options):
        where = {"conn": self.random.randrange(self.connections), "channel": self.random.choice([1, 1, 1, 2])}
        made = getattr(self, "_" + kind)(**options)
        name = made.get("queue")
        if made["do"] == "queue.declare" and made.get("exclusive"):
            self.owners.setdefault(name, where["conn"])
        if name in self.owners and not self._one_in(6):
            where["conn"] = self.owners[name]
        return where | {"do": made.pop("do")} | {key: value for key, value in made.items() if value is not False}

    def _one_in(self, count):
        return self.random.randrange(count) == 0

    # Names

    def _queue(self):
        """Mostly a queue that exists; sometimes the last declared one, one with a generated name or none."""
        if self.queues and not self._one_in(20):
            # Half of what happens happens to one of them.
            return self.random.choice([next(iter(self.queues)), self.random.choice(list(self.queues))])
        return self.random.choice(QUEUES + ["", "", "*gen", "q9"])

    def _exchange(self):
        """Mostly an exchange that exists."""
        if not self._one_in(20):
            return self.random.choice(list(self.exchanges) * 3 + self.system or EXCHANGES)
        return self.random.choice(EXCHANGES + ["", "x9"])

    def _key(self):
        words = self.random.choice([0, 1, 1, 2, 2, 3])
        return self.random.choice([".".join(self.random.choices(WORDS, k=words)), "a", "a.b", ""])

    def _pattern(self):
        return ".".join(self.random.choices(WORDS + ["*", "#", "*", "#", "a*"], k=self.random.choice([0, 1, 2, 2, 3])))

    def _int(self, value):
        """The value in one of the types of integers that it fits."""
        fits = {"b": 1 << 7, "B": 1 << 8, "s": 1 << 15, "u": 1 << 16, "I": 1 << 31, "i": 1 << 32, "l": 1 << 63}
        letters = [letter for letter in INTEGERS if value < fits[letter] and (value >= 0 or letter in "bsIl")]
        return [self.random.choice(letters), value]

    def _value(self):
        return self.random.choice([
            ["S", "v"], ["S", "w"], self._int(1), self._int(2), ["t", True], ["t", False], ["V", None], ["d", 1.0],
            ["f", 1.0], ["S", "1"], ["S", ""], ["T", 1], ["D", [0, 1]], ["x", "v"], ["F", {"k": ["S", "v"]}],
            ["A", [["S", "v"]]], ["l", -1], ["A", []], ["F", {}]])

    def _headers(self):
        names = self.random.sample(["h0", "h1", "x-h", "h2"], self.random.choice([0, 1, 1, 2, 3]))
        return {name: self._value() for name in names}

    # Exchanges

    def _declare_exchange(self, right=False):
        kind = self.random.choice(TYPES)
        operation = {"do": "exchange.declare", "exchange": self.random.choice(EXCHANGES), "type": kind,
                     "durable": self._one_in(4), "auto_delete": self._one_in(5), "internal": self._one_in(12),
                     "no_wait": self._one_in(12), "arguments": {}}
        if self._one_in(3):
            operation["arguments"]["alternate-exchange"] = ["S", self.random.choice(EXCHANGES + ["x9"] + self.system)]
        # Mostly a new one, or one that exists as it is.
        name = operation["exchange"]
        if name in self.exchanges and not self._one_in(5):
            operation = dict(self.exchanges[name])
        self.exchanges.setdefault(name, dict(operation))
        if right:
            return operation
        if self._one_in(12):
            operation["arguments"] = operation["arguments"] | {"x-foo": self._value()}
        odd = self.random.randrange(30)
        if odd == 0:
            operation["type"] = "zorp"
        elif odd == 1:
            operation["arguments"] = operation["arguments"] | {
                "alternate-exchange": self.random.choice([["I", 1], ["t", True], ["V", None], ["T", 1]])}
        elif odd == 2:
            operation["exchange"] = self.random.choice(["", "amq.x"] + SYSTEM_EXCHANGES)
        elif odd < 7:
            operation |= {"passive": True, "exchange": self._exchange()}
        return operation

    def _delete_exchange(self):
        name = self.random.choice(EXCHANGES * 4 + ["x9", "", "amq.topic"])
        if_unused = self._one_in(3)
        if not if_unused:
            self.exchanges.pop(name, None)
        return {"do": "exchange.delete", "exchange": name, "if_unused": if_unused, "no_wait": self._one_in(10)}

    def _bind_exchange(self):
        # Not from one exchange of everybody's to another: that binding would outlive the list.
        destination = self.random.choice(list(self.exchanges) or EXCHANGES)
        if self._one_in(30):
            destination = ""
        return {"do": "exchange.bind", "destination": destination, "source": self._exchange(),
                "routing_key": self._binding_key(), "no_wait": self._one_in(12), "arguments": self._binding_arguments()}

    def _unbind_exchange(self):
        return self._bind_exchange() | {"do": "exchange.unbind"}

    def _binding_key(self):
        return self.random.choice([self._key(), self._pattern(), "a", ""])

    def _binding_arguments(self):
        if not self._one_in(3):
            return {}
        arguments = self._headers()
        if not self._one_in(3):
            arguments["x-match"] = ["S", self.random.choice(["all", "any", "any", "all-with-x", "any-with-x"])]
        if self._one_in(12):
            arguments["x-match"] = self.random.choice([["S", "zorp"], ["I", 5], ["S", ""]])
        return arguments

    # Queues

    def _declare_queue(self, right=False):
        operation = {"do": "queue.declare", "queue": self.random.choice(QUEUES * 6 + [""]), "durable": self._one_in(3),
                     "exclusive": self._one_in(9), "auto_delete": self._one_in(7), "no_wait": self._one_in(12),
                     "arguments": self._queue_arguments()}
        name = operation["queue"]
        if name in self.queues and not self._one_in(5):
            operation = dict(self.queues[name])
        self.queues.setdefault(name, dict(operation))
        if right:
            return operation
        if self._one_in(8):
            operation["arguments"] = operation["arguments"] | self._wrong_argument()
        if self._one_in(5):
            operation |= {"passive": True, "queue": self._queue()}
        if self._one_in(20):
            operation["queue"] = self.random.choice(["amq.q", "*gen"])
        if not operation["queue"] and operation["arguments"].get("x-queue-type") == ["S", "zorp"]:
            # RabbitMQ 3.10 crashes on it, with 541.
            del operation["arguments"]["x-queue-type"]
        return operation

    def _queue_arguments(self):
        choices = {
            "x-message-ttl": lambda: ["I", 0] if self.zero_ttl else self._int(HOUR_MS),
            "x-expires": lambda: self.random.choice([["I", HOUR_MS], ["l", HOUR_MS]]),
            "x-max-length": lambda: self._int(self.random.choice([0, 1, 2, 3])),
            "x-max-length-bytes": lambda: self._int(self.random.choice([0, 5, 20, 100])),
            "x-overflow": lambda: ["S", self.random.choice(["drop-head", "reject-publish", "reject-publish-dlx"])],
            "x-dead-letter-exchange": lambda: ["S", self.random.choice(["", "", "x0", "x1", "x9"] + self.system[:3])],
            "x-max-priority": lambda: self._int(self.random.choice([0, 1, 3, 5])),
            "x-single-active-consumer": lambda: ["t", self.random.random() < 0.8],
            "x-queue-type": lambda: ["S", "classic"],
            "x-foo": self._value,
        }
        frequent = ["x-max-length", "x-overflow", "x-dead-letter-exchange", "x-dead-letter-exchange"]
        names = self.random.sample(list(choices), self.random.choice([0, 0, 1, 1, 2]))
        if self.theme in ("limits", "settling") or self._one_in(4):
            names += [name for name in frequent if self._one_in(2)]
        if not self.dead_letters:
            names = [name for name in names if name != "x-dead-letter-exchange"]
        arguments = {name: choices[name]() for name in dict.fromkeys(names)}
        if "x-dead-letter-exchange" in arguments and not self._one_in(3):
            arguments["x-dead-letter-routing-key"] = ["S", self.random.choice(QUEUES + ["a"])]
        return arguments

    def _wrong_argument(self):
        integer = self.random.choice(["x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes",
                                      "x-max-priority"])
        return self.random.choice([
            {integer: self.random.choice([["S", "5"], ["I", -1], ["l", 1 << 60], ["t", True], ["d", 5.0], ["V", None],
                                          ["T", 5], ["I", 0], ["I", 256]])},
            {"x-overflow": self.random.choice([["S", "zorp"], ["I", 1], ["S", ""]])},
            {"x-dead-letter-exchange": self.random.choice([["I", 1], ["t", True], ["V", None]])},
            {"x-dead-letter-routing-key": self.random.choice([["I", 1], ["S", "a"]])},
            {"x-single-active-consumer": self.random.choice([["I", 1], ["S", "true"], ["V", None]])},
            {"x-queue-type": ["S", "zorp"]},
            {"x-queue-mode": self.random.choice([["S", "zorp"], ["S", "default"], ["S", "lazy"], ["I", 1]])},
        ])

    def _bind_queue(self):
        return {"do": "queue.bind", "queue": self._queue(), "exchange": self._exchange(),
                "routing_key": self._binding_key(), "no_wait": self._one_in(12), "arguments": self._binding_arguments()}

    def _unbind_queue(self):
        operation = self._bind_queue() | {"do": "queue.unbind"}
        operation.pop("no_wait")
        return operation

    def _purge(self):
        return {"do": "queue.purge", "queue": self._queue(), "no_wait": self._one_in(8)}

    def _delete_queue(self):
        operation = {"do": "queue.delete", "queue": self._queue(), "if_unused": self._one_in(3),
                     "if_empty": self._one_in(3), "no_wait": self._one_in(10)}
        if not operation["if_unused"] and not operation["if_empty"]:
            self.queues.pop(operation["queue"], None)
            self.owners.pop(operation["queue"], None)
        return operation

    # Messages

    def _publish(self):
        direct = self.random.random() < (0.3 if self.theme in ("routing", "topology") else 0.7)
        operation = {"do": "basic.publish", "exchange": "" if direct else self._exchange(),
                     "routing_key": (self._queue() or "q0") if direct else self._key(),
                     "mandatory": self._one_in(4), "immediate": self._one_in(400),
                     "size": self.random.choice([0, 1, 4, 4, 4, 10, 30, 4096])}
        if self._one_in(60):
            # Two frames and a bit; exactly one frame; one octet more.
            operation["size"] = self.random.choice([2 * wire.FRAME_MAX + 7, wire.FRAME_MAX - 8, wire.FRAME_MAX - 7])
        properties = {}
        if self._one_in(3):
            properties["priority"] = self.random.choice([0, 1, 2, 3, 5, 9, 255])
        if self._one_in(3):
            properties["delivery_mode"] = self.random.choice([1, 2])
        if self._one_in(9):
            properties["expiration"] = self.random.choice(["0" if self.zero_ttl else "0007200000", str(HOUR_MS)])
        if self._one_in(150):
            properties["expiration"] = self.random.choice(["abc", "", "10x", "-1", "1.5", " 1", "0x1", "1" * 30])
        if self._one_in(4 if self.theme == "routing" else 9):
            properties["headers"] = self._headers()
        if self._one_in(12):
            keys = self.random.sample(QUEUES + ["a", "a.b"], self.random.choice([0, 1, 2]))
            properties.setdefault("headers", {})[self._copies()] = ["A", [["S", key] for key in keys]]
        if self._one_in(150):
            wrong = self.random.choice([["S", "q0"], ["A", [["I", 1], ["S", "q1"]]], ["V", None], ["I", 3]])
            properties.setdefault("headers", {})[self._copies()] = wrong
        if self._one_in(15):
            properties |= self.random.choice([
                {"user_id": "guest"}, {"reply_to": "q1"}, {"content_type": "text/plain", "content_encoding": "x"},
                {"correlation_id": "c", "message_id": "m", "app_id": "a", "cluster_id": "k", "type": "t"},
                {"timestamp": 0}, {"timestamp": 1 << 40}, {"content_type": ""}, {"headers": {}}])
        if self._one_in(150):
            properties |= self.random.choice([{"user_id": "bob"}, {"user_id": ""},
                                              {"reply_to": "amq.rabbitmq.reply-to"}])
        return operation | {"properties": properties}

    def _copies(self):
        return "CC" if self.dead_letters else self.random.choice(["CC", "BCC"])

    def _confirm(self):
        return {"do": "confirm.select", "no_wait": self._one_in(6)}

    def _tx(self):
        do = self.random.choice(["tx.select", "tx.commit", "tx.commit", "tx.rollback"])
        return {"do": do, "even_without_select": self._one_in(20)}

    # Consuming

    def _consume(self):
        operation = {"do": "basic.consume", "queue": self._queue(), "no_ack": self._no_ack(),
                     "consumer_tag": self.random.choice(["t%d" % self.random.randrange(25)] * 8 + ["", "t0"]),
                     "exclusive": self._one_in(10), "no_local": self._one_in(20), "no_wait": False, "arguments": {}}
        if operation["consumer_tag"]:
            operation["no_wait"] = self._one_in(10)
        if self._one_in(5):
            operation["arguments"]["x-priority"] = self._int(self.random.choice([-1, 0, 1, 5]))
        if self._one_in(30):
            operation["arguments"] = self.random.choice([
                {"x-priority": ["S", "1"]}, {"x-priority": ["V", None]}, {"x-foo": ["I", 1]},
                {"x-cancel-on-ha-failover": ["t", True]}])
        return operation

    def _no_ack(self):
        if self.zero_ttl:
            return True
        return not self.global_limit and self._one_in(4)

    def _cancel(self):
        return {"do": "basic.cancel", "consumer_tag": "t%d" % self.random.randrange(25), "no_wait": self._one_in(10)}

    def _get(self):
        return {"do": "basic.get", "queue": self._queue(), "no_ack": self.global_limit or self._no_ack()}

    def _settle(self):
        do = self.random.choice(["basic.ack", "basic.ack", "basic.nack", "basic.nack", "basic.reject"])
        # A number is a place among the outstanding deliveries, a string a tag as it is.
        tag = self.random.choice([0, 0, 0, 1, 2, -1])
        operation = {"do": do, "tag": tag, "multiple": do != "basic.reject" and self._one_in(3),
                     "requeue": do != "basic.ack" and not self._one_in(3)}
        if operation["multiple"] and self._one_in(3):
            operation["tag"] = "0"
        if self._one_in(50):
            operation["tag"] = self.random.choice(["0", "1", "99", str((1 << 63) + 5)])
        return operation

    def _qos(self):
        return {"do": "basic.qos", "prefetch_count": self.random.choice([0, 1, 1, 2, 3, 65535]),
                "prefetch_size": 10 * self._one_in(60), "global": self.global_limit and not self._one_in(3)}

    def _recover(self):
        return {"do": self.random.choice(["basic.recover", "basic.recover", "basic.recover-async"]),
                "requeue": not self._one_in(25)}

    # Channels and connections

    def _channel(self):
        return self.random.choice([
            {"do": "channel.close", "reply_code": 200}, {"do": "channel.close", "reply_code": 999, "reply_text": "x"},
            {"do": "channel.flow", "active": True}, {"do": "access.request", "realm": "/data", "active": True}])

    def _connection(self):
        return {"do": self.random.choice(["connect", "disconnect", "drop"])}

    def _violate(self):
        """Bytes no client may send on channel 1 or 0, and a few that it may."""
        publish = wire.method(1, "basic.publish", exchange="", routing_key="q0")
        bad = self.random.choice([
            wire.frame(wire.METHOD, 1, struct.pack(">HH", 60, 99)),
            wire.frame(wire.METHOD, 1, struct.pack(">HH", 99, 1)),
            wire.method(1, "channel.open"),
            wire.method(1, "channel.flow", active=False),
            wire.method(1, "channel.open-ok"),
            wire.method(1, "queue.declare-ok", queue="q"),
            wire.method(1, "connection.open", virtual_host="/"),
            wire.method(0, "connection.open", virtual_host="/"),
            wire.method(0, "connection.tune-ok", channel_max=1),
            wire.method(0, "channel.open"),
            wire.method(0, "basic.qos"),
            wire.header(1, 0, {}),
            wire.frame(wire.BODY, 1, b"body"),
            publish + wire.method(1, "basic.qos"),
            publish + wire.frame(wire.BODY, 1, b"body"),
            publish + wire.header(1, 1, {}, class_id=50) + wire.frame(wire.BODY, 1, b"b"),
            publish + wire.header(1, 1, {}) + wire.method(1, "basic.qos"),
            publish + wire.header(1, 1, {}) + wire.header(1, 1, {}),
            wire.frame(wire.METHOD, 1, b"\0\x3c\0\x0a\0\0\0\0\0\0\0", end=0x41),
            wire.frame(7, 1, b""),
            wire.frame(wire.HEARTBEAT, 1, b""),
            wire.frame(wire.HEARTBEAT, 0, b""),
            wire.frame(wire.METHOD, 1, b"\0\x3c\0\x0a"),
            struct.pack(">BHI", wire.METHOD, 1, wire.FRAME_MAX + 1) + bytes(wire.FRAME_MAX + 2),
            wire.method(1, "queue.purge", queue="q9") + publish + wire.content(1, {}, b"body"),
        ])
        return {"do": "raw", "hex": bad.hex()}
