"""What the broker refuses, with which code, and how much of the connection it takes down."""

from aiormq.exceptions import ConnectionCommandInvalid

from harness import check, fails_with, holds

from .broker import Inbox, channel_closes, end_of, publish, send


@check
async def publishing_to_an_unknown_exchange_closes_only_the_channel(broker):
    connection = await broker.connect()
    bystander, channel = await connection.channel(), await connection.channel()
    name = broker.exchange_name()
    with channel_closes(404, "NOT_FOUND - no exchange", name):
        await publish(channel, name, "key", b"lost")
    holds(channel.is_closed, "the channel is closed")
    await broker.queue(bystander)
    await broker.queue(await connection.channel())


@check
async def an_unknown_queue_is_not_found(broker):
    name = broker.queue_name()
    requests = (
        lambda queue: Inbox.of(queue),
        lambda queue: queue.get(),
        lambda queue: queue.purge(),
        lambda queue: queue.declare(),
        lambda queue: queue.bind("amq.direct", "key"),
    )
    connection = await broker.connect()
    for request in requests:
        queue = await (await connection.channel()).get_queue(name, ensure=False)
        queue.passive = True
        with channel_closes(404, "NOT_FOUND - no queue", name):
            await request(queue)


@check
async def an_exclusive_queue_is_locked_for_other_connections(broker):
    name = (await broker.queue(await broker.channel(), exclusive=True)).name
    requests = (
        lambda channel, queue: Inbox.of(queue),
        lambda channel, queue: queue.get(),
        lambda channel, queue: queue.delete(if_unused=False, if_empty=False),
        lambda channel, queue: channel.declare_queue(name, exclusive=True),
        lambda channel, queue: channel.declare_queue(name, passive=True),
    )
    stranger = await broker.connect()
    for request in requests:
        channel = await stranger.channel()
        queue = await channel.get_queue(name, ensure=False)
        with channel_closes(405, "RESOURCE_LOCKED", name):
            await request(channel, queue)


@check
async def a_queue_with_an_exclusive_consumer_takes_no_other(broker):
    queue = await broker.queue(await broker.channel())
    await Inbox.of(queue, exclusive=True)
    other = await (await broker.channel()).get_queue(queue.name)
    with channel_closes(403, "ACCESS_REFUSED", queue.name, "in exclusive use"):
        await Inbox.of(other)


@check
async def a_conflicting_declare_fails_its_precondition(broker):
    connection = await broker.connect()
    channel = await connection.channel()
    arguments = {"x-message-ttl": 1000}
    queue = (await broker.queue(channel, arguments=arguments)).name
    exchange = (await broker.exchange(channel, "direct")).name
    conflicts = (
        ("durable", lambda channel: channel.declare_queue(queue, durable=True, arguments=arguments)),
        ("auto_delete", lambda channel: channel.declare_queue(queue, auto_delete=True, arguments=arguments)),
        ("x-message-ttl", lambda channel: channel.declare_queue(queue)),
        ("type", lambda channel: channel.declare_exchange(exchange, "fanout")),
        ("durable", lambda channel: channel.declare_exchange(exchange, "direct", durable=True)),
    )
    for argument, request in conflicts:
        with channel_closes(406, "PRECONDITION_FAILED - inequivalent arg", f"'{argument}'"):
            await request(await connection.channel())


@check
async def a_delivery_is_settled_only_once(broker):
    connection = await broker.connect()
    for settle in ("basic_ack", "basic_nack", "basic_reject"):
        channel = await connection.channel()
        queue = await broker.queue(channel)
        await send(queue, b"x")
        message = await queue.get()
        await message.ack()
        # aio-pika's message knows that it was settled; the channel below it does not.
        ended = end_of(channel)
        await getattr(await channel.get_underlay_channel(), settle)(message.delivery_tag)
        with channel_closes(406, "PRECONDITION_FAILED - unknown delivery tag", str(message.delivery_tag)):
            raise await ended


@check
async def reserved_names_are_refused(broker):
    connection = await broker.connect()
    with channel_closes(403, "ACCESS_REFUSED - queue name", "reserved prefix 'amq.*'"):
        await (await connection.channel()).declare_queue("amq.interop")
    with channel_closes(403, "ACCESS_REFUSED - exchange name", "reserved prefix 'amq.*'"):
        await (await connection.channel()).declare_exchange("amq.interop", "direct")
    with channel_closes(403, "ACCESS_REFUSED"):
        await (await connection.channel()).exchange_delete("amq.direct")
    queue = await broker.queue(await connection.channel())
    with channel_closes(403, "ACCESS_REFUSED", "default exchange"):
        await queue.bind("", "key")


@check
async def an_unknown_exchange_type_closes_the_connection(broker):
    channel = await broker.channel()
    with fails_with(ConnectionCommandInvalid, "COMMAND_INVALID - unknown exchange type 'zorp'"):
        await channel.declare_exchange(broker.exchange_name(), "zorp")
