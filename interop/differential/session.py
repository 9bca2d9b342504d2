"""Runs one list of operations against a broker and writes down what comes back.

An operation is `{"conn": 0, "channel": 1, "do": "basic.get", ...fields}`; what `do` may be beyond the names of methods
stands at `_special`. Operations follow one another: after each, every channel is asked for something harmless and every
queue for its length, until a whole round brings nothing new. So the order is defined although several connections
take part, and no delivery is waited for with a clock.

Any sub-list of a list can be run: a channel that is not open is opened first, an operation on a connection that is
gone is skipped, and delivery tags are named by their place among the outstanding ones.
"""

import re
import time
import zlib

import wire
from client import Connection
from names import Names
from stream import Hang

# The channel of each connection on which its exclusive queues are looked at; operations use lower numbers.
PROBE_CHANNEL = 100
# Rounds after a step. Two is the least; more than a handful means that messages go around in circles for ever.
ROUNDS_MAX = 60
# How long a confirm may take: RabbitMQ syncs messages to disk every quarter of a second at worst.
CONFIRM_TIMEOUT_S = 3.0
# A message with a time to live of 0 is removed by a timer of RabbitMQ, soon, but not before the next request.
ZERO_TTL_PAUSE_S = 0.004

_OURS = re.compile(r"[qx]\d")
_GENERATED = re.compile(r"amq\.(gen|ctag)-[A-Za-z0-9_-]{22}")
_REPLIES = {"basic.get": ("basic.get-ok", "basic.get-empty"), "exchange.unbind": ("exchange.unbind-ok",)}
_ASYNC = {"basic.publish", "basic.ack", "basic.nack", "basic.reject", "basic.recover-async"}


class Channel:
    """What a client knows of one of its channels."""

    def __init__(self):
        self.outstanding = []       # ((step, consumer, tag), tag), oldest first
        self.settled_in_tx = []     # what comes back when the transaction is rolled back
        self.consumers = {}         # tag: whether it is to acknowledge
        self.confirming, self.published, self.unconfirmed = False, 0, set()
        self.transactional = False
        self.mixed = False          # deliveries of several consumers came in one step: tags are a matter of luck


class Session:
    """Runs one list. `name` must be the prefix of nobody else's names and as long as the other broker's."""

    def __init__(self, address, name, observer):
        self.address, self.name, self.observer = address, name, observer
        self.connections, self.channels = {}, {}
        self.owner = {}                  # exclusive queue: number of the connection
        self.queues, self.exchanges = [], []
        self._shown = Names(name, "", _GENERATED).shown
        self.generated_queues = []
        self.inbox = []                  # (connection number, event) of the step that is running
        self.ended = {}                  # connection number: how it ended, in the step that is running
        self.transcript = []
        self.pause = 0.0
        self.complaints = []             # what no broker may do, whatever the other one does

    def run(self, operations):
        """Returns the transcript: one entry a step and one for what was left in the queues."""
        if any('"0"' in text or "ttl': ['I', 0]" in text for text in map(_quoted, operations)):
            self.pause = ZERO_TTL_PAUSE_S
        try:
            for number, operation in enumerate(operations):
                self._step(number, operation)
            self._finish()
        except Hang as hang:
            self.complaints.append(f"the broker hangs: {hang}")
            self.transcript.append({"hang": str(hang)})
            for connection in self.connections.values():
                connection.socket.close()
            self.observer.renew()
        return self.transcript

    # Steps

    def _step(self, number, operation):
        self.inbox, self.ended, self.number = [], {}, number
        conn, channel = operation["conn"], operation["channel"]
        if operation["do"] == "connect":
            if self._alive(conn):
                self._disconnect(conn)
        if conn not in self.connections or operation["do"] == "connect":
            # Every third connection is of an old kind that is not told when its consumers are cancelled.
            self.connections[conn] = Connection(self.address, cancel_notify=conn != 2)
        if self._alive(conn) and operation["do"] != "connect":
            self._perform(conn, channel, operation)
        counts = self._settle()
        self.transcript.append({"step": number, "frames": self._frames(), "ended": dict(sorted(self.ended.items())),
                                **counts})

    def _perform(self, conn, channel, operation):
        do = operation["do"]
        fields = {key: self._resolve(value) for key, value in operation.items() if key not in ("conn", "channel", "do")}
        if self._special(conn, channel, do, fields):
            return
        if isinstance(fields.get("tag"), int):
            # Where there is something to settle, if there is anything anywhere.
            holders = [key for key, state in sorted(self.channels.items()) if state.outstanding]
            if not holders:
                return
            if (conn, channel) not in holders:
                conn, channel = holders[self.number % len(holders)]
        if (conn, channel) not in self.channels and not self._open(conn, channel):
            return
        if do in ("tx.commit", "tx.rollback") and not fields.pop("even_without_select", False):
            do = do if self.channels[conn, channel].transactional else "tx.select"
        if do == "confirm.select" and self.channels[conn, channel].transactional and self.number % 4:
            return
        if self._returns_from_several(self.channels[conn, channel], do, fields):
            return
        self._call(conn, channel, do, fields)

    def _returns_from_several(self, state, do, fields):
        """Whether this gives back or rejects deliveries of several consumers at once.

        RabbitMQ does so consumer by consumer, in the order of their tags, leveret in the order of the deliveries.
        """
        together = do in ("basic.recover", "basic.recover-async") or do == "basic.nack" and fields.get("multiple")
        return together and len({key[1] for key, _ in state.outstanding}) > 1

    def _special(self, conn, channel, do, fields):
        """Operations that are not simply a method on an open channel."""
        connection = self.connections[conn]
        if do == "raw":
            # Bytes for channel 1 that break the protocol, most of them so badly that the connection has to end.
            if (conn, 1) in self.channels or self._open(conn, 1):
                connection.write(bytes.fromhex(fields["hex"]))
                self._round_trip(conn, 1)
        elif do == "unopened":
            # A method on a channel that nobody opened.
            connection.send(channel + 50, "basic.qos", prefetch_count=1)
            self._read_until(conn, channel + 50, ("basic.qos-ok",))
        elif do == "disconnect":
            self._disconnect(conn)
        elif do == "drop":
            if len([owner for owner, _ in self.channels if owner == conn]) > 1:
                self._disconnect(conn)
                return True
            connection.socket.close()
            self._forget(conn, "dropped by us")
        else:
            return False
        return True

    def _open(self, conn, channel):
        self.channels[conn, channel] = Channel()
        self.connections[conn].send(channel, "channel.open")
        return self._read_until(conn, channel, ("channel.open-ok",))

    def _call(self, conn, channel, do, fields):
        connection, state = self.connections[conn], self.channels[conn, channel]
        if do == "basic.publish":
            self._publish(conn, channel, fields)
            return
        if do in ("basic.ack", "basic.nack", "basic.reject"):
            self._settle_tag(state, do, fields)
        if do in ("exchange.declare", "exchange.delete", "queue.declare") and not fields.get("passive"):
            self._note_names(conn, do, fields)
        connection.send(channel, do, **fields)
        if do in _ASYNC or fields.get("no_wait"):
            if do == "basic.consume":
                state.consumers[fields["consumer_tag"]] = not fields.get("no_ack")
            if do == "confirm.select":
                state.confirming = True
            self._round_trip(conn, channel)
        else:
            self.asked = do, fields
            self._read_until(conn, channel, _REPLIES.get(do, (do + "-ok",)))
        if (conn, channel) in self.channels:
            self._after(state, do)

    def _publish(self, conn, channel, fields):
        connection, state = self.connections[conn], self.channels[conn, channel]
        size, properties = fields.pop("size", 4), fields.pop("properties", {})
        body = (b"m%d " % self.number).ljust(size, b".")[:size]
        connection.write(wire.method(channel, "basic.publish", **fields) + wire.content(channel, properties, body))
        if state.confirming:
            state.published += 1
            state.unconfirmed.add(state.published)
        self._round_trip(conn, channel)

    def _settle_tag(self, state, do, fields):
        """Turns `tag`, a place among the outstanding ones, into a delivery tag, and notes what it settles."""
        tag, multiple = fields.pop("tag"), fields.get("multiple", False)
        outstanding = state.outstanding
        if isinstance(tag, str):             # a tag as it stands, most likely a wrong one
            fields["delivery_tag"] = int(tag)
            settled = [entry for entry in outstanding if entry[1] == int(tag)]
            if multiple and tag == "0":
                settled = list(outstanding)
        elif not outstanding:
            fields["delivery_tag"], settled = 1, []
        elif multiple and state.mixed:
            fields["delivery_tag"], settled = max(entry[1] for entry in outstanding), list(outstanding)
        else:
            chosen = outstanding[tag % len(outstanding)]
            fields["delivery_tag"] = chosen[1]
            settled = [entry for entry in outstanding if entry is chosen or multiple and entry[1] < chosen[1]]
        if multiple and isinstance(tag, str) and settled and tag != "0":
            settled = [entry for entry in outstanding if entry[1] <= int(tag)]
        state.outstanding = [entry for entry in outstanding if entry not in settled]
        if state.transactional:
            state.settled_in_tx += settled

    def _note_names(self, conn, do, fields):
        name = fields.get("exchange") if do.startswith("exchange") else fields.get("queue")
        known = self.exchanges if do.startswith("exchange") else self.queues
        if name.startswith(self.name) and name not in known:
            known.append(name)
        if do == "queue.declare" and fields.get("exclusive"):
            self.owner.setdefault(name, conn)

    def _after(self, state, do):
        if do == "tx.rollback":
            state.outstanding = sorted(state.outstanding + state.settled_in_tx)
            state.settled_in_tx = []
        elif do == "tx.commit":
            state.settled_in_tx = []
        elif do in ("basic.recover", "basic.recover-async"):
            state.outstanding = [entry for entry in state.outstanding if entry[0][0] == self.number]

    # Reading

    def _alive(self, conn):
        return conn in self.connections and self.connections[conn].alive

    def _read_until(self, conn, channel, names):
        """Reads up to one of the replies. False when the channel or the connection ended instead."""
        while self._alive(conn):
            event = self._read(conn)
            if event and event.channel == channel and event.name in names:
                return True
            if (conn, channel) not in self.channels and channel <= PROBE_CHANNEL - 50:
                return False
        return False

    def _round_trip(self, conn, channel):
        """Asks the channel for something harmless, so that everything it had to say before has been read."""
        if not self._alive(conn):
            return
        self.connections[conn].send(channel, "exchange.declare", exchange="amq.direct", type="direct", passive=True)
        while self._alive(conn):
            event = self._read(conn)
            if event is None or event.channel == channel and event.name == "exchange.declare-ok":
                if event:
                    self.inbox.pop()
                return
            if (conn, channel) not in self.channels:
                return

    def _read(self, conn):
        """One event, noted and reacted to; `None` at the end of the connection."""
        connection = self.connections[conn]
        event = connection.next()
        if event is None:
            self.complaints.append(f"step {self.number}: connection {conn} was dropped without a close")
            self._forget(conn, "dropped by the broker")
            return None
        self.inbox.append((conn, event))
        self._react(conn, event)
        return event

    def _react(self, conn, event):
        connection, key = self.connections[conn], (conn, event.channel)
        state = self.channels.get(key)
        if event.name == "connection.close":
            # The end of the socket is not waited for: after some errors RabbitMQ takes three seconds for it.
            connection.send(0, "connection.close-ok")
            connection.socket.close()
            self._forget(conn, "closed by the broker")
        elif event.name == "channel.close":
            connection.send(event.channel, "channel.close-ok")
            self.channels.pop(key, None)
        elif event.name == "channel.close-ok":
            self.channels.pop(key, None)
        elif state is None:
            return
        elif event.name == "queue.declare-ok":
            self._declared(conn, event.fields["queue"])
        elif event.name == "basic.consume-ok":
            state.consumers[event.fields["consumer_tag"]] = not self.asked[1].get("no_ack")
        elif event.name in ("basic.cancel", "basic.cancel-ok"):
            state.consumers.pop(event.fields["consumer_tag"], None)
        elif event.name == "confirm.select-ok":
            state.confirming = True
        elif event.name == "tx.select-ok":
            state.transactional = True
        elif event.name in ("basic.ack", "basic.nack"):
            self._confirmed(state, event)
        elif event.name == "basic.get-ok" and not self.asked[1].get("no_ack"):
            state.outstanding.append(((self.number, "", event.fields["delivery_tag"]), event.fields["delivery_tag"]))
        elif event.name == "basic.deliver":
            self._delivered(state, event)

    def _declared(self, conn, name):
        if name.startswith("amq.gen-") and name not in self.generated_queues:
            self.generated_queues.append(name)
            if self.asked[1].get("exclusive"):
                self.owner[name] = conn
        if name not in self.queues:
            self.queues.append(name)

    def _delivered(self, state, event):
        tag, consumer = event.fields["delivery_tag"], event.fields["consumer_tag"]
        if consumer not in state.consumers:
            self.complaints.append(f"step {self.number}: a delivery to {consumer}, which is no consumer")
        if state.consumers.get(consumer):
            state.outstanding.append(((self.number, consumer, tag), tag))
            state.outstanding.sort()

    def _confirmed(self, state, event):
        tag = event.fields["delivery_tag"]
        tags = {open_tag for open_tag in state.unconfirmed if open_tag <= tag} if event.fields["multiple"] else {tag}
        if not tags <= state.unconfirmed:
            self.complaints.append(f"step {self.number}: {tag} is confirmed a second time or was never published")
        state.unconfirmed -= tags
        event.fields = {"tags": sorted(tags)}

    def _forget(self, conn, how):
        self.connections[conn].alive = False
        self.ended[f"c{conn}"] = how
        for key in [key for key in self.channels if key[0] == conn]:
            del self.channels[key]
        self.owner = {name: owner for name, owner in self.owner.items() if owner != conn}

    def _disconnect(self, conn):
        """Closes the channels first, one after the other: in which order the broker would is not defined, and what
        comes back from one may go to the next.
        """
        for channel in sorted(channel for owner, channel in self.channels if owner == conn):
            if (conn, channel) in self.channels:
                self.connections[conn].send(channel, "channel.close", reply_code=200)
                self._read_until(conn, channel, ("channel.close-ok",))
        self.connections[conn].close()
        self._forget(conn, "closed by us")

    # Settling

    def _settle(self):
        """Rounds until nothing moves. Returns how long the queues are and which exchanges exist."""
        before, deadline = None, time.monotonic() + CONFIRM_TIMEOUT_S
        for _ in range(ROUNDS_MAX):
            if self.pause:
                time.sleep(self.pause)
            seen = len(self.inbox)
            for conn, channel in sorted(self.channels):
                if (conn, channel) in self.channels:
                    self._round_trip(conn, channel)
            counts = self._counts()
            unconfirmed = any(state.unconfirmed and not state.transactional for state in self.channels.values())
            if counts == before and len(self.inbox) == seen:
                if not unconfirmed or time.monotonic() > deadline:
                    break
                time.sleep(0.002)
            before = counts
        else:
            self.complaints.append(f"step {self.number}: the queues do not come to rest")
        if unconfirmed:
            self.complaints.append(f"step {self.number}: a publish was not confirmed")
        return counts

    def _counts(self):
        queues = {}
        for name in list(self.queues):
            found = self._look(name)
            if found is None:
                self.owner.pop(name, None)
            queues[self._shown(name)] = found
        return {"queues": queues, "exchanges": [self._shown(name) for name in self.exchanges
                                                if self.observer.exchange_exists(name)]}

    def _look(self, name):
        """Ready messages and consumers of a queue; `None` when there is no such queue."""
        owner = self.owner.get(name)
        if owner is None or not self._alive(owner):
            return self.observer.queue(name)
        connection = self.connections[owner]
        connection.send(PROBE_CHANNEL, "channel.open")
        connection.send(PROBE_CHANNEL, "queue.declare", queue=name, passive=True)
        found = None
        while self._alive(owner):
            event = self._read(owner)
            if event and event.channel == PROBE_CHANNEL:
                self.inbox.pop()
                if event.name == "queue.declare-ok":
                    found = [event.fields["message_count"], event.fields["consumer_count"]]
                    connection.send(PROBE_CHANNEL, "channel.close", reply_code=200)
                elif event.name != "channel.open-ok":
                    break
        return found

    # The end

    def _finish(self):
        """Closes the connections, takes what is in the queues and deletes everything."""
        self.inbox, self.ended, self.number = [], {}, len(self.transcript)
        for conn in sorted(self.connections):
            if self._alive(conn):
                self._disconnect(conn)
        counts = self._settle()
        left = {self._shown(name): [self._event(event) for event in self.observer.drain(name)]
                for name in self.queues if counts["queues"][self._shown(name)]}
        self.transcript.append({"step": "end", **counts, "left": left})
        for name in self.queues:
            self.observer.delete("queue", name)
        for name in self.exchanges:
            self.observer.delete("exchange", name)
        for name in self.queues:
            if self.observer.queue(name) is not None:
                self.complaints.append(f"{self._shown(name)} is still there after everything was deleted")

    # The transcript

    def _frames(self):
        """What came in during a step: per channel, and sorted where the order is not defined.

        Deliveries keep their order per consumer; confirms are a set, however they were batched. What is delivered on a
        connection that the broker is closing is left out: its channels end one after another, and what the first gives
        back may go out once more on the next, or not.
        """
        channels = {}
        for conn, event in self.inbox:
            if event.name == "basic.deliver" and self.ended.get(f"c{conn}") == "closed by the broker":
                continue
            channels.setdefault(f"c{conn}/{event.channel}", []).append(event)
        frames = {}
        for key, events in sorted(channels.items()):
            shown = {}
            consumers = {event.fields["consumer_tag"] for event in events if event.name == "basic.deliver"}
            if len(consumers) > 1:
                conn, channel = key[1:].split("/")
                if (state := self.channels.get((int(conn), int(channel)))) is not None:
                    state.mixed = True
                for event in events:
                    if event.name == "basic.deliver":
                        event.fields["delivery_tag"] = "any"
            for event in events:
                if event.name == "basic.deliver":
                    place = "to " + self._shown(event.fields["consumer_tag"])
                elif event.name in ("basic.ack", "basic.nack"):
                    tags = shown.setdefault("acked" if event.name == "basic.ack" else "nacked", [])
                    tags += event.fields["tags"]
                    tags.sort()
                    continue
                else:
                    place = {"basic.return": "returned", "basic.cancel": "cancelled"}.get(event.name, "replies")
                shown.setdefault(place, []).append(self._event(event))
            shown.get("cancelled", []).sort(key=str)
            frames[key] = dict(sorted(shown.items()))
        return frames

    def _event(self, event):
        shown = {"name": event.name, **self._shown(event.fields)}
        if event.properties is not None:
            shown["properties"] = self._shown(event.properties)
            shown["body"] = [len(event.body), event.body[:8].decode(errors="replace").strip(), zlib.crc32(event.body)]
        return shown

    def _resolve(self, value):
        """The opposite of `_shown`: a list's names become those of this run."""
        if isinstance(value, str):
            if value == "*gen":
                return self.generated_queues[-1] if self.generated_queues else self.name + "q0"
            return self.name + value if _OURS.fullmatch(value) else value
        if isinstance(value, dict):
            return {key: self._resolve(item) for key, item in value.items()}
        if isinstance(value, list):
            return [value[0], *map(self._resolve, value[1:])] if value else value
        return value


def _quoted(operation):
    return str(operation).replace("'expiration': '0'", '"0"')


class Observer:
    """A connection apart from the ones under test, which looks and clears up. It serves many lists."""

    def __init__(self, address):
        self.address = address
        self.renew()

    def renew(self):
        self.connection = Connection(self.address)
        self._open()

    def _open(self):
        self.connection.send(1, "channel.open")
        self.connection.wait("channel.open-ok")

    def _ask(self, name, **fields):
        """The reply, or `None` when the channel was closed instead. It is opened again."""
        self.connection.send(1, name, **fields)
        event = self.connection.next()
        if event is None:
            self.renew()
            return None
        if event.name == "channel.close":
            self.connection.send(1, "channel.close-ok")
            self._open()
            return None
        return event

    def queue(self, name):
        event = self._ask("queue.declare", queue=name, passive=True)
        return event and [event.fields["message_count"], event.fields["consumer_count"]]

    def exchange_exists(self, name):
        return self._ask("exchange.declare", exchange=name, type="direct", passive=True) is not None

    def declare(self, kind, name, fields):
        self._ask(kind + ".declare", **{kind: name, **fields})

    def publish(self, exchange, key, properties, body):
        """A message whose exchange may be missing."""
        self.connection.write(wire.method(1, "basic.publish", exchange=exchange, routing_key=key)
                              + wire.content(1, properties, body))
        # Its answer comes after whatever the message has led to.
        self._ask("exchange.declare", exchange="amq.direct", type="direct", passive=True)

    def delete(self, kind, name):
        self._ask(kind + ".delete", **{kind: name})

    def drain(self, name):
        while True:
            event = self._ask("basic.get", queue=name, no_ack=True)
            if event is None or event.name == "basic.get-empty":
                return
            yield event
