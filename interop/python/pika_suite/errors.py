"""What the broker refuses, with which code, and how much of the connection it takes down."""

from pika.exceptions import ConnectionClosedByBroker

from harness import check, fails_with, holds

from .broker import channel_closes, hold


@check
def publishing_to_an_unknown_exchange_closes_only_the_channel(broker):
    connection = broker.connect()
    bystander, channel = connection.channel(), connection.channel()
    channel.confirm_delivery()
    name = broker.exchange_name()
    with channel_closes(404, "NOT_FOUND - no exchange", name):
        channel.basic_publish(name, "key", b"lost")
    holds(channel.is_closed, "the channel is closed")
    broker.queue(bystander)
    broker.queue(connection.channel())


@check
def an_unknown_queue_is_not_found(broker):
    name = broker.queue_name()
    requests = (
        lambda channel: channel.basic_consume(name, print),
        lambda channel: channel.basic_get(name),
        lambda channel: channel.queue_purge(name),
        lambda channel: channel.queue_declare(name, passive=True),
        lambda channel: channel.queue_bind(name, "amq.direct"),
    )
    connection = broker.connect()
    for request in requests:
        with channel_closes(404, "NOT_FOUND - no queue", name):
            request(connection.channel())


@check
def an_exclusive_queue_is_locked_for_other_connections(broker):
    name = broker.queue(broker.channel(), exclusive=True)
    requests = (
        lambda channel: channel.basic_consume(name, print),
        lambda channel: channel.basic_get(name),
        lambda channel: channel.queue_declare(name, exclusive=True),
        lambda channel: channel.queue_declare(name, passive=True),
        lambda channel: channel.queue_delete(name),
    )
    stranger = broker.connect()
    for request in requests:
        with channel_closes(405, "RESOURCE_LOCKED", name):
            request(stranger.channel())


@check
def a_queue_with_an_exclusive_consumer_takes_no_other(broker):
    channel = broker.channel()
    name = broker.queue(channel)
    channel.basic_consume(name, print, exclusive=True)
    with channel_closes(403, "ACCESS_REFUSED", name, "in exclusive use"):
        broker.channel().basic_consume(name, print)


@check
def a_conflicting_declare_fails_its_precondition(broker):
    connection = broker.connect()
    channel = connection.channel()
    queue = broker.queue(channel, arguments={"x-message-ttl": 1000})
    exchange = broker.exchange(channel, "direct")
    conflicts = (
        ("durable", lambda channel: channel.queue_declare(
            queue, durable=True, arguments={"x-message-ttl": 1000})),
        ("auto_delete", lambda channel: channel.queue_declare(
            queue, auto_delete=True, arguments={"x-message-ttl": 1000})),
        ("x-message-ttl", lambda channel: channel.queue_declare(queue)),
        ("type", lambda channel: channel.exchange_declare(exchange, "fanout")),
        ("durable", lambda channel: channel.exchange_declare(exchange, "direct", durable=True)),
    )
    for argument, request in conflicts:
        with channel_closes(406, "PRECONDITION_FAILED - inequivalent arg", f"'{argument}'"):
            request(connection.channel())


@check
def a_delivery_is_settled_only_once(broker):
    connection = broker.connect()
    for settle in ("basic_ack", "basic_nack", "basic_reject"):
        channel = connection.channel()
        channel.confirm_delivery()
        name = broker.queue(channel)
        channel.basic_publish("", name, b"x")
        (tag,) = hold(channel, name)
        channel.basic_ack(tag)
        with channel_closes(406, "PRECONDITION_FAILED - unknown delivery tag", str(tag)):
            getattr(channel, settle)(tag)
            channel.queue_declare(name, passive=True)  # the error arrives before the answer to this


@check
def reserved_names_are_refused(broker):
    connection = broker.connect()
    with channel_closes(403, "ACCESS_REFUSED - queue name", "reserved prefix 'amq.*'"):
        connection.channel().queue_declare("amq.interop")
    with channel_closes(403, "ACCESS_REFUSED - exchange name", "reserved prefix 'amq.*'"):
        connection.channel().exchange_declare("amq.interop", "direct")
    with channel_closes(403, "ACCESS_REFUSED"):
        connection.channel().exchange_delete("amq.direct")
    with channel_closes(403, "ACCESS_REFUSED", "default exchange"):
        connection.channel().queue_bind(broker.queue(connection.channel()), "", "key")


@check
def an_unknown_exchange_type_closes_the_connection(broker):
    with fails_with(ConnectionClosedByBroker, "503", "COMMAND_INVALID - unknown exchange type 'zorp'"):
        broker.channel().exchange_declare(broker.exchange_name(), "zorp")
