"""One connection to a broker, driven by hand: nothing is read or answered unless somebody asks for it."""

import struct

import wire
from stream import Stream

CAPABILITIES = ["publisher_confirms", "exchange_exchange_bindings", "basic.nack", "connection.blocked",
                "authentication_failure_close"]


class Event:
    """A method that came in, with its content if it has one."""

    def __init__(self, channel, name, fields):
        self.channel, self.name, self.fields = channel, name, fields
        self.properties, self.body, self.missing = None, b"", 0


class Connection(Stream):
    """What is taken from the stream are methods, with their content."""

    def __init__(self, address, cancel_notify=True, timeout=10.0):
        super().__init__(address, timeout)
        self.partial = {}
        self._open(CAPABILITIES + ["consumer_cancel_notify"] * cancel_notify)

    def _open(self, capabilities):
        self.socket.sendall(b"AMQP\0\0\x09\x01")
        self.wait("connection.start")
        claimed = {name: ["t", True] for name in capabilities}
        self.send(0, "connection.start-ok", client_properties={"capabilities": ["F", claimed]}, mechanism="PLAIN",
                  response="\0guest\0guest", locale="en_US")
        tune = self.wait("connection.tune").fields
        self.send(0, "connection.tune-ok", channel_max=tune["channel_max"], frame_max=wire.FRAME_MAX)
        self.send(0, "connection.open", virtual_host="/")
        self.wait("connection.open-ok")

    def send(self, channel, name, **fields):
        self.write(wire.method(channel, name, **fields))

    def wait(self, name):
        """The next event, which has to be the one named."""
        event = self.next()
        if event is None or event.name != name:
            raise ConnectionError(f"expected {name}, got {event and (event.name, event.fields)}")
        return event

    def _take(self):
        while frame := self._take_frame():
            if event := self._assemble(*frame):
                return event
        return None

    def _take_frame(self):
        if len(self.buffer) < 7:
            return None
        kind, channel, size = struct.unpack_from(">BHI", self.buffer)
        if len(self.buffer) < size + 8:
            return None
        payload, end = bytes(self.buffer[7:7 + size]), self.buffer[7 + size]
        if end != wire.FRAME_END:
            raise ValueError(f"a frame ends with {end:#x}")
        del self.buffer[:size + 8]
        return kind, channel, payload

    def _assemble(self, kind, channel, payload):
        """Returns the event that the frame completes, if it completes one."""
        if kind == wire.HEARTBEAT:
            return None
        if kind == wire.METHOD:
            event = Event(channel, *wire.decode_method(payload))
            if event.name not in wire.WITH_CONTENT:
                return event
            self.partial[channel] = event
            return None
        event = self.partial[channel]
        if kind == wire.HEADER:
            event.missing, event.properties = wire.decode_header(payload)
        else:
            event.body += payload
            event.missing -= len(payload)
        if event.missing:
            return None
        return self.partial.pop(channel)

    def close(self):
        """Says goodbye and waits until the broker has done its clearing up."""
        if not self.alive:
            return
        self.send(0, "connection.close", reply_code=200)
        while True:
            event = self.next()
            if event is None or event.name == "connection.close-ok":
                break
            if event.name == "connection.close":
                self.send(0, "connection.close-ok")
        self.end()
