"""As much of a client of AMQP as an attacker needs, and its victims."""

import asyncio
import pathlib
import struct
import sys

# Behind this folder: there is another client.py.
sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "differential"))

from wire import FRAME_END, METHOD, decode_method, encode_table, frame, method

HEADER = b"AMQP\0\0\x09\x01"

#: Where attackers come from, and where the others do. All of 127.0.0.0/8 is this machine.
ATTACKER = "127.0.0.2"
VICTIM = "127.0.0.1"

#: Seconds for an answer of the server. More than a handshake may take.
PATIENCE = 30


def start_ok(user="guest", password="guest", properties=b"\0\0\0\0"):
    """connection.start-ok with a table of client properties that may be anything."""
    response = f"\0{user}\0{password}".encode()
    payload = struct.pack(">HH", 10, 11) + properties + b"\x05PLAIN" + struct.pack(">I", len(response)) + response
    return frame(METHOD, 0, payload + b"\x05en_US")


class Client:
    """A connection; methods are read one by one, content is passed over."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def dial(cls, port, source=ATTACKER, tls=None):
        """Connects, over TLS if there is a context for that."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0), ssl=tls))

    @classmethod
    async def open(cls, port, user="guest", password="guest", source=ATTACKER):
        """Logged in, with channel 1 open."""
        client = await cls.dial(port, source)
        properties = encode_table({"capabilities": ["F", {"connection.blocked": ["t", True]}]})
        client.send(HEADER, start_ok(user, password, properties))
        await client.expect("connection.start")
        tune = await client.expect("connection.tune")
        client.send(
            method(0, "connection.tune-ok", channel_max=tune["channel_max"], frame_max=131072, heartbeat=0),
            method(0, "connection.open", virtual_host="/"),
            method(1, "channel.open"),
        )
        await client.expect("connection.open-ok")
        await client.expect("channel.open-ok")
        return client

    def send(self, *parts):
        self.writer.write(b"".join(parts))

    async def frame(self):
        kind, _, size = struct.unpack(">BHI", await self.reader.readexactly(7))
        payload = await self.reader.readexactly(size + 1)
        if payload[-1] != FRAME_END:
            raise ValueError("a frame without its end")
        return kind, payload[:-1]

    async def hear(self):
        """The next method, with its name."""
        while True:
            kind, payload = await asyncio.wait_for(self.frame(), PATIENCE)
            if kind == METHOD:
                name, values = decode_method(payload)
                return name, values

    async def expect(self, *names):
        name, values = await self.hear()
        if name not in names:
            raise AssertionError(f"{name} {values} instead of {names}")
        return values

    async def is_dropped(self):
        """Waits until the server has closed the connection."""
        try:
            async with asyncio.timeout(PATIENCE):
                while await self.reader.read(65536):
                    pass
        except ConnectionError:
            pass

    async def expect_close(self, *codes):
        """Waits for connection.close with one of these codes, and for the end."""
        while True:
            name, values = await self.hear()
            if name == "connection.close":
                break
        if values["reply_code"] not in codes:
            raise AssertionError(f"closed with {values}, not {codes}")
        self.send(method(0, "connection.close-ok"))
        await self.is_dropped()
        return values

    def leave(self):
        self.writer.transport.abort()
