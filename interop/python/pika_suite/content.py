"""Properties, headers and bodies come back as they were sent."""

import datetime
from decimal import Decimal

from pika import BasicProperties

from harness import check, holds, same

from .broker import Inbox

PROPERTIES = {
    "content_type": "application/json",
    "content_encoding": "gzip",
    "delivery_mode": 2,
    "priority": 9,
    "correlation_id": "correlation",
    "reply_to": "reply.here",
    "expiration": "60000",
    "message_id": "message-1",
    "timestamp": 1_700_000_000,
    "type": "kind",
    "user_id": None,  # must be the user of the connection; set where the check knows it
    "app_id": "interop",
    "cluster_id": "reserved",
}

# pika knows no way to send a float; the other suites do that.
HEADERS = {
    "yes": True,
    "no": False,
    "int": -5,
    "long": 2**40,
    "least long": -(2**63),
    "decimal": Decimal("-12.5"),
    "text": "čeština \U0001f407",
    "empty text": "",
    "bytes": b"\x00\xff\xce",
    "time": datetime.datetime(2024, 2, 29, 12, 30, 15, tzinfo=datetime.UTC),
    "nothing": None,
    "table": {"inner": {"depth": 3}, "": "empty key"},
    "array": [1, "two", None, [True, []], {"in": "array"}],
    "empty table": {},
    "a" * 128: "the longest key that every client accepts",
}


def round_trip(broker, body, **properties):
    """Publish one message and return what a consumer gets: its properties and body."""
    channel = broker.channel()
    name = broker.queue(channel)
    channel.basic_publish("", name, body, BasicProperties(**properties))
    inbox = Inbox(channel, name)
    inbox.wait_for(1)
    _, properties, body = inbox[0]
    return properties, body


@check
def every_property_comes_back(broker):
    properties = PROPERTIES | {"user_id": broker.parameters().credentials.username}
    got, _ = round_trip(broker, b"x", **properties)
    same({name: getattr(got, name) for name in properties}, properties)


@check
def properties_that_were_not_set_stay_unset(broker):
    got, _ = round_trip(broker, b"x")
    same({name: value for name, value in vars(got).items() if value is not None}, {})


@check
def headers_of_every_type_come_back(broker):
    got, _ = round_trip(broker, b"x", headers=HEADERS)
    same(got.headers, HEADERS)
    same([type(got.headers[key]) for key in ("yes", "int", "bytes", "text")], [bool, int, bytes, str])


@check
def an_empty_body_comes_back_empty(broker):
    got, body = round_trip(broker, b"", message_id="empty")
    same((got.message_id, body), ("empty", b""))


@check
def a_body_of_many_frames_comes_back_whole(broker):
    sent = bytes(range(256)) * 4096  # 1 MiB, nine frames of RabbitMQ's 128 KiB
    _, body = round_trip(broker, sent)
    same(len(body), len(sent), "length")
    holds(body == sent, "the bytes are the same")


@check
def bodies_around_the_frame_size_come_back_whole(broker):
    connection = broker.connect(frame_max=8192)
    channel = connection.channel()
    name = broker.queue(channel)
    sizes = [1, 8183, 8184, 8185, 2 * 8184, 2 * 8184 + 1]  # a frame carries 8192 - 8 bytes
    for size in sizes:
        channel.basic_publish("", name, b"b" * size)
    inbox = Inbox(channel, name)
    inbox.wait_for(len(sizes))
    same([len(body) for body in inbox.bodies()], sizes)
