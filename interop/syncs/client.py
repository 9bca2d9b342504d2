"""Just enough of AMQP 0-9-1 to publish and to hear confirms, with every byte known."""

import socket
import struct

#: Seconds for the broker to answer.
ANSWER_LIMIT = 60

#: Persistent, and nothing else: the flag of delivery-mode, then its value.
PERSISTENT = struct.pack(">HB", 1 << 12, 2)

FRAME_END = b"\xce"
METHOD, HEADER, BODY = 1, 2, 3

SELECT_CONFIRM, SELECT_TX, COMMIT = (85, 10), (90, 10), (90, 20)
COMMIT_OK, ACK = (90, 21), (60, 80)


def short(text):
    return struct.pack(">B", len(text)) + text.encode()


def frame(kind, channel, payload):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + FRAME_END


def method(channel, ids, arguments=b""):
    return frame(METHOD, channel, struct.pack(">HH", *ids) + arguments)


class Client:
    """One connection with channel 1 open."""

    def __init__(self, address):
        self._socket = socket.create_connection(address, timeout=ANSWER_LIMIT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._heard = b""
        self._socket.sendall(b"AMQP\x00\x00\x09\x01")
        self.expect((10, 10))
        login = struct.pack(">I", 0) + short("PLAIN") + struct.pack(">I", 12) + b"\0guest\0guest" + short("en_US")
        self.send(method(0, (10, 11), login))
        self.expect((10, 30))
        self.send(method(0, (10, 31), struct.pack(">HIH", 2047, 131072, 0)))
        self.send(method(0, (10, 40), short("/") + b"\0\0"))
        self.expect((10, 41))
        self.send(method(1, (20, 10), short("")))
        self.expect((20, 11))

    def send(self, data):
        self._socket.sendall(data)

    def hear(self):
        """The next method: its ids and arguments."""
        while True:
            if len(self._heard) >= 7:
                kind, _, size = struct.unpack(">BHI", self._heard[:7])
                if len(self._heard) >= size + 8:
                    payload, self._heard = self._heard[7 : 7 + size], self._heard[size + 8 :]
                    if kind == METHOD:
                        return struct.unpack(">HH", payload[:4]), payload[4:]
                    continue
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("the broker has closed the connection")
            self._heard += data

    def expect(self, ids):
        heard, arguments = self.hear()
        if heard != ids:
            raise RuntimeError(f"wanted method {ids}, heard {heard} {arguments!r}")
        return arguments

    def declare(self, queue):
        """A durable queue."""
        self.send(method(1, (50, 10), b"\0\0" + short(queue) + b"\x02" + struct.pack(">I", 0)))
        self.expect((50, 11))

    def select(self, ids):
        self.send(method(1, ids, b"\0" if ids == SELECT_CONFIRM else b""))
        self.expect((ids[0], ids[1] + 1))

    def publish(self, queue, bodies):
        """Persistent messages, handed to the system together."""
        data = b""
        for body in bodies:
            data += method(1, (60, 40), b"\0\0" + short("") + short(queue) + b"\0")
            data += frame(HEADER, 1, struct.pack(">HHQ", 60, 0, len(body)) + PERSISTENT)
            data += frame(BODY, 1, body)
        self.send(data)

    def wait_confirmed(self, tag):
        """Until everything up to this tag is confirmed."""
        waiting = 0
        while waiting < tag:
            arguments = self.expect(ACK)
            # With or without the others before it: they are confirmed in order.
            waiting = struct.unpack(">Q", arguments[:8])[0]
