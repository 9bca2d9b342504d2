"""The attacks. Each returns when the server has got rid of it, or fails; `reason` is what the log has to say."""

import asyncio
import ssl
import struct

from client import HEADER, Client, start_ok
from wire import METHOD, content, encode_table, frame, header, method

#: What a client of TLS says first, without its end: 512 bytes are announced.
HALF_HELLO = bytes([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]) + bytes(60)

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v12.stomp\r\n\r\n"
)

#: An attacker does not care whom it attacks.
TLS = ssl.create_default_context()
TLS.check_hostname = False
TLS.verify_mode = ssl.CERT_NONE

_attacks = []


def attack(*reasons):
    """Puts an attack on the list, with what the log has to say of it."""

    def remember(function):
        _attacks.append((function, reasons))
        return function

    return remember


def all_attacks():
    return tuple(_attacks)


async def together(*work):
    await asyncio.gather(*work)


async def drip(port, text, pause=0.4, tls=None):
    """Says a text byte by byte until the server has had enough."""
    client = await Client.dial(port, tls=tls)
    dropped = asyncio.ensure_future(client.is_dropped())
    at = 0
    while not dropped.done():
        client.send(text[at % len(text) : at % len(text) + 1])
        at += 1
        await asyncio.wait([dropped], timeout=pause)
    await dropped
    client.leave()


@attack("handshake took too long", "login took too long", "no WebSocket was asked for in time")
async def slow_loris_on_each_listener(ports):
    """Just enough is said to keep a connection alive for ever, were there no limit on the whole."""
    texts = {
        "AMQP": HEADER[:7] + start_ok()[:30],
        "STOMP": b"CONNECT\n" + b"header:value\n" * 100,
        "WebSockets": b"GET /ws HTTP/1.1\r\n" + b"Header: value\r\n" * 100,
    }
    # The header itself has to be whole, or it would be refused at once.
    drips = [(name, text, None) for name, text in texts.items()]
    # The same with TLS around, and TLS itself.
    drips += [(f"{name} over TLS", text, TLS) for name, text in texts.items()]
    drips += [(f"{name} over TLS", HALF_HELLO, None) for name in texts]
    await together(*(drip(ports[name], text, tls=tls) for name, text, tls in drips for _ in range(25)))


@attack("handshake took too long")
async def half_open_tls(ports):
    async def one(name, said):
        client = await Client.dial(ports[name])
        client.send(said)
        await client.is_dropped()
        client.leave()

    names = ("AMQP over TLS", "STOMP over TLS", "WebSockets over TLS")
    await together(*(one(name, said) for name in names for said in (b"", b"\x16", HALF_HELLO) for _ in range(50)))


@attack("refused a WebSocket")
async def websockets_of_foreign_pages(ports):
    """A page of the internet that its reader's browser has open does not get to what listens on loopback, however it is called."""
    origins = ("https://foreign.example", "http://127.0.0.1.foreign.example", "http://localhost@foreign.example", "null", "")

    async def one(name, origin, tls):
        client = await Client.dial(ports[name], tls=tls)
        asked = UPGRADE.replace(b"Host: x\r\n", b"Host: localhost:15674\r\n" + f"Origin: {origin}\r\n".encode())
        client.send(asked, b"\x81\x8a" + bytes(4) + b"CONNECT\n\n\0")
        async with asyncio.timeout(30):
            heard = await client.reader.read()
        client.leave()
        if not heard.startswith(b"HTTP/1.1 403 ") or heard.count(b"\r\n\r\n") != 1:
            raise AssertionError(f"a page from {origin!r} was answered {heard!r}")

    listeners = (("WebSockets", None), ("WebSockets over TLS", TLS))
    await together(*(one(name, origin, tls) for name, tls in listeners for origin in origins for _ in range(20)))


@attack("which is the limit", "handshake took too long")
async def ten_thousand_without_a_login(ports):
    """Those beyond the limit are closed at once, the others after the time for a handshake."""
    gate = asyncio.Semaphore(500)

    async def one():
        async with gate:
            try:
                client = await Client.dial(ports["AMQP"])
            except ConnectionError:
                return
        await client.is_dropped()
        client.leave()

    await together(*(one() for _ in range(10_000)))


@attack("frame_too_large", "Frame is longer than", "Content-length of", "closing a WebSocket")
async def giant_announced_frames(ports):
    """Nothing is set aside for what is only announced, and nobody waits for it."""

    async def amqp(said):
        client = await Client.dial(ports["AMQP"])
        client.send(HEADER, said)
        await client.is_dropped()
        client.leave()

    async def after_login(said):
        client = await Client.open(ports["AMQP"])
        client.send(said)
        await client.is_dropped()
        client.leave()

    async def stomp(said):
        client = await Client.dial(ports["STOMP"])
        client.send(said)
        await client.is_dropped()
        client.leave()

    async def websocket():
        client = await Client.dial(ports["WebSockets"])
        client.send(UPGRADE, b"\x82\xff" + struct.pack(">Q", 2**62) + bytes(4) + bytes(1000))
        await client.is_dropped()
        client.leave()

    giant = struct.pack(">BHI", 1, 0, 0xFFFF_FFFF) + bytes(1000)
    await together(
        *(amqp(giant) for _ in range(20)),
        *(after_login(giant) for _ in range(20)),
        *(stomp(b"CONNECT\ncontent-length:9999999999\n\nx") for _ in range(20)),
        *(stomp(b"CONNECT\n" + b"x" * 200_000) for _ in range(20)),
        *(websocket() for _ in range(20)),
    )


def bomb(depth):
    """Tables within tables."""
    table = b"\0\0\0\0"
    for _ in range(depth):
        inner = b"\x01aF" + table
        table = struct.pack(">I", len(inner)) + inner
    return table


@attack("closing connection", "SYNTAX_ERROR")
async def table_bombs(ports):
    async def before_login():
        client = await Client.dial(ports["AMQP"])
        client.send(HEADER, start_ok(properties=bomb(900)))
        # Who has not logged in is dropped without a word.
        await client.is_dropped()
        client.leave()

    async def after_login():
        client = await Client.open(ports["AMQP"])
        payload = struct.pack(">HHH", 50, 10, 0) + b"\x01q\0" + bomb(10_000)
        client.send(frame(METHOD, 1, payload))
        await client.expect_close(501, 502)

    await together(*(before_login() for _ in range(20)), *(after_login() for _ in range(20)))


@attack("number of channels opened")
async def channel_floods(ports):
    async def one():
        client = await Client.open(ports["AMQP"])
        client.send(*(method(number, "channel.open") for number in range(2, 3000)))
        await client.expect_close(530)

    await together(*(one() for _ in range(5)))


@attack("queue limit in vhost")
async def queue_declare_floods(ports):
    client = await Client.open(ports["AMQP"])
    for n in range(6000):
        client.send(method(1, "queue.declare", queue=f"flood.{n}", exclusive=True, no_wait=True))
    name = None
    while name != "channel.close":
        name, values = await client.hear()
    if values["reply_code"] != 406:
        raise AssertionError(f"closed with {values}")
    client.leave()


@attack("RESOURCE_ERROR")
async def messages_that_never_end(ports):
    """On each channel all of a message but its end."""

    async def one():
        client = await Client.open(ports["AMQP"])
        parts = []
        body = frame(3, 1, bytes(100_000))
        for number in range(2, 60):
            parts.append(method(number, "channel.open"))
            parts.append(method(number, "basic.publish", routing_key="nowhere"))
            parts.append(header(number, 1_000_000, {}))
            parts.extend([frame(3, number, bytes(100_000))] * 9)
        client.send(*parts)
        await client.expect_close(506)

    await together(*(one() for _ in range(3)))


@attack()
async def publishing_without_reading_confirms(ports):
    """The server stops reading when too much waits for the client. It is the client's to go on, so it is not dropped."""

    async def one():
        client = await Client.open(ports["AMQP"])
        client.reader._transport.pause_reading()
        client.send(method(1, "confirm.select"))
        message = method(1, "basic.publish", routing_key="nowhere", mandatory=True) + content(1, {}, bytes(500))
        try:
            async with asyncio.timeout(3):
                for _ in range(2000):
                    client.send(message * 100)
                    await client.writer.drain()
        except TimeoutError:
            pass
        client.leave()

    await together(*(one() for _ in range(10)))


@attack()
async def consumers_that_never_read(ports):
    """They are given what fits their windows, and the queue keeps the rest."""
    publisher = await Client.open(ports["AMQP"])
    publisher.send(method(1, "queue.declare", queue="unread"), method(1, "confirm.select"))
    await publisher.expect("queue.declare-ok")
    await publisher.expect("confirm.select-ok")
    consumers = []
    for _ in range(20):
        client = await Client.open(ports["AMQP"])
        client.reader._transport.pause_reading()
        client.send(method(1, "basic.consume", queue="unread", no_ack=True))
        consumers.append(client)
    message = method(1, "basic.publish", routing_key="unread") + content(1, {}, bytes(10_000))
    for _ in range(20):
        publisher.send(message * 50)
        await publisher.writer.drain()
    while True:
        if (await publisher.expect("basic.ack", "connection.blocked"))["delivery_tag"] == 1000:
            break
    for client in consumers:
        client.leave()
    publisher.send(method(1, "queue.delete", queue="unread"))
    await publisher.expect("queue.delete-ok")
    publisher.leave()


@attack("too many failed logins", "it was not looked at")
async def guessing_passwords(ports):
    """Many at once, and of one user: beyond the free ones they are looked at one by one, or not at all."""

    async def one(n):
        client = await Client.dial(ports["AMQP"], "127.0.0.3")
        client.send(HEADER, start_ok("guest", f"guess{n}"))
        await client.is_dropped()
        client.leave()

    for _ in range(2):
        await together(*(one(n) for n in range(60)))


@attack()
async def headers_that_forge(ports):
    """What an AMQP client puts into headers does not become headers of its own for a client of STOMP, of any version."""
    evil = "a\nforged:yes\n\nforged body\0MESSAGE\nforged:yes\n\n"
    for version in ("1.0", "1.1", "1.2"):
        publisher = await Client.open(ports["AMQP"])
        queue = f"forged.{version}"
        publisher.send(
            method(1, "queue.declare", queue=queue, auto_delete=True),
            method(1, "basic.publish", routing_key=queue),
            content(
                1,
                {
                    "headers": {"evil": ["S", evil], "x\nforged": ["S", "yes"], "user-id": ["S", "victim"]},
                    "correlation_id": evil[:200],
                },
                b"body",
            ),
        )
        await publisher.expect("queue.declare-ok")
        reader = await Client.dial(ports["STOMP"])
        reader.send(
            f"CONNECT\naccept-version:{version}\nlogin:guest\npasscode:guest\n\n\0".encode(),
            f"SUBSCRIBE\nid:1\ndestination:/amq/queue/{queue}\n\n\0".encode(),
        )
        async with asyncio.timeout(10):
            await reader.reader.readuntil(b"MESSAGE\n")
            head = (await reader.reader.readuntil(b"\n\n")).decode()
            body = await reader.reader.readuntil(b"\0")
        lines = head.rstrip("\n").split("\n")
        if any(line.startswith(("forged", "user-id")) for line in lines) or body != b"body\0":
            raise AssertionError(f"STOMP {version}: {head!r} {body!r}")
        reader.leave()
        publisher.leave()


@attack("user_id property set to 'victim'")
async def frames_that_forge(ports):
    """The same the other way: what a client of STOMP puts into headers becomes no frame, and nobody else's name, in AMQP."""

    async def say(*frames):
        client = await Client.dial(ports["STOMP"])
        client.send(b"CONNECT\naccept-version:1.2\nlogin:guest\npasscode:guest\n\n\0", *frames)
        return client

    reader = await Client.open(ports["AMQP"])
    reader.send(
        method(1, "queue.declare", queue="forged", auto_delete=True),
        method(1, "basic.consume", queue="forged", no_ack=True),
    )
    await reader.expect("queue.declare-ok")
    await reader.expect("basic.consume-ok")
    evil = method(1, "basic.deliver", consumer_tag="x", delivery_tag=9, routing_key="forged") + content(1, {}, b"forged")
    escaped = evil.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r").replace(b":", b"\\c").replace(b"\0", b"")
    head = b"SEND\ndestination:/amq/queue/forged\n"
    # Bytes that are no UTF-8 would end the session.
    escaped = escaped.decode("ascii", "ignore").encode()
    good = await say(head + b"x:" + escaped + b"\nx" + escaped + b":y\nreceipt:1\n\nbody\0")
    forger = await say(head + b"user-id:victim\n\nforged\0")
    async with asyncio.timeout(10):
        await good.reader.readuntil(b"RECEIPT\nreceipt-id:1\n\n\0")
        await forger.reader.readuntil(b"ERROR\n")
    values = await reader.expect("basic.deliver")
    if values["routing_key"] != "forged" or values["delivery_tag"] != 1:
        raise AssertionError(f"delivered {values}")
    # Nothing else has come.
    reader.send(method(1, "channel.flow", active=True))
    await reader.expect("channel.flow-ok")
    for client in (reader, good, forger):
        client.leave()
