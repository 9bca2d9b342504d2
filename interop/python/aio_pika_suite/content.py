"""Properties, headers and bodies come back as they were sent."""

import datetime
from decimal import Decimal

from yarl import URL

from harness import broker_url, check, holds, same

from .broker import Inbox, publish

PROPERTIES = {
    "content_type": "application/json",
    "content_encoding": "gzip",
    "delivery_mode": 2,
    "priority": 9,
    "correlation_id": "correlation",
    "reply_to": "reply.here",
    "expiration": 60,  # seconds here, milliseconds on the wire
    "message_id": "message-1",
    "timestamp": datetime.datetime(2024, 2, 29, 12, 30, 15, tzinfo=datetime.UTC),
    "type": "kind",
    "app_id": "interop",
}

HEADERS = {
    "yes": True,
    "no": False,
    "octet": -5,
    "short": 1000,
    "int": -100_000,
    "long": 2**40,
    "least long": -(2**63),
    "float": -0.5,  # exact in four bytes; that is how aio-pika sends it
    "decimal": Decimal("12.5"),
    "text": "čeština \U0001f407",
    "empty text": "",
    "bytes": bytearray(b"\x00\xff\xce"),
    "time": datetime.datetime(2024, 2, 29, 12, 30, 15, tzinfo=datetime.UTC),
    "nothing": None,
    "table": {"inner": {"depth": 3}},
    "array": [1, "two", None, [True, []], {"in": "array"}, 2.5],
    "empty table": {},
    "a" * 128: "the longest key that every client accepts",
}


async def round_trip(broker, body, **properties):
    """Publish one message and return it as a consumer gets it."""
    channel = await broker.channel()
    queue = await broker.queue(channel)
    await publish(channel, "", queue.name, body, **properties)
    inbox = await Inbox.of(queue)
    await inbox.wait_for(1)
    return inbox[0]


@check
async def every_property_comes_back(broker):
    properties = PROPERTIES | {"user_id": URL(broker_url()).user or "guest"}
    got = await round_trip(broker, b"x", **properties)
    same({name: getattr(got, name) for name in properties}, properties)


@check
async def properties_that_were_not_set_stay_unset(broker):
    got = await round_trip(broker, b"x")
    # The client itself always sets these three.
    unset = PROPERTIES.keys() - {"delivery_mode", "message_id", "priority"}
    same({name: getattr(got, name) for name in unset}, dict.fromkeys(unset))
    same(got.headers, {}, "headers")


@check
async def headers_of_every_type_come_back(broker):
    got = await round_trip(broker, b"x", headers=HEADERS)
    same(got.headers, HEADERS)
    same({key: type(value) for key, value in got.headers.items()},
         {key: type(value) for key, value in HEADERS.items()}, "types")


@check
async def an_empty_body_comes_back_empty(broker):
    got = await round_trip(broker, b"", message_id="empty")
    same((got.message_id, got.body), ("empty", b""))


@check
async def a_body_of_many_frames_comes_back_whole(broker):
    sent = bytes(range(256)) * 4096  # 1 MiB, nine frames of RabbitMQ's 128 KiB
    got = await round_trip(broker, sent)
    same(len(got.body), len(sent), "length")
    holds(got.body == sent, "the bytes are the same")
