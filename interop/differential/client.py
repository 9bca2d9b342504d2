"""One connection to a broker, driven by hand: nothing is read or answered unless somebody asks for it."""

import socket
import struct
import time

import wire

CAPABILITIES = ["publisher_confirms", "exchange_exchange_bindings", "basic.nack", "connection.blocked",
                "authentication_failure_close"]


class Hang(Exception):
    """The broker did not answer within the time that was allowed."""


class Event:
    """A method that came in, with its content if it has one."""

    def __init__(self, channel, name, fields):
        self.channel, self.name, self.fields = channel, name, fields
        self.properties, self.body, self.missing = None, b"", 0


class Connection:
    """`alive` says whether anything may still be sent and read."""

    def __init__(self, address, cancel_notify=True, timeout=10.0):
        self.timeout = timeout
        self.socket = socket.create_connection(address, timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.partial = bytearray(), {}
        self.alive = True
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

    def write(self, data):
        """Sends bytes as they are. A connection that is gone swallows them; reading notices its end."""
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def send(self, channel, name, **fields):
        self.write(wire.method(channel, name, **fields))

    def wait(self, name):
        """The next event, which has to be the one named."""
        event = self.next()
        if event is None or event.name != name:
            raise ConnectionError(f"expected {name}, got {event and (event.name, event.fields)}")
        return event

    def next(self):
        """The next method, with its content; `None` once the socket has ended. Raises `Hang` when nothing comes."""
        deadline = time.monotonic() + self.timeout
        while True:
            frame = self._take_frame()
            if frame:
                event = self._assemble(*frame)
                if event:
                    return event
                continue
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = self.socket.recv(1 << 18)
            except TimeoutError:
                raise Hang(f"nothing came for {self.timeout:g} s") from None
            except OSError:
                data = b""
            if not data:
                self.alive = False
                self.socket.close()
                return None
            self.buffer += data

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
        self.alive = False
        self.socket.close()
