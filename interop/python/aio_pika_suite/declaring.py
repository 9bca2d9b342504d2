"""Declaring, purging and deleting queues and exchanges."""

from harness import check, holds, same

from .broker import Inbox, channel_closes, counts, drain, send


@check
async def a_named_queue_is_declared_and_empty(broker):
    channel = await broker.channel()
    name = broker.queue_name()
    queue = await channel.declare_queue(name, durable=True)
    declared = queue.declaration_result
    same((declared.queue, declared.message_count, declared.consumer_count), (name, 0, 0))
    await Inbox.of(queue)
    same(await counts(channel, queue), (0, 1), "messages and consumers")


@check
async def a_server_names_queues_apart(broker):
    channel = await broker.channel()
    first = await channel.declare_queue("", exclusive=True)
    second = await channel.declare_queue("", exclusive=True)
    holds(first.name.startswith("amq.gen-"), f"{first.name} starts with amq.gen-")
    holds(first.name != second.name, "two queues have two names")


@check
async def an_exclusive_queue_goes_with_its_connection(broker):
    owner = await broker.connect()
    queue = await broker.queue(await owner.channel(), exclusive=True)
    await owner.close()
    with channel_closes(404, "no queue", queue.name):
        await (await broker.channel()).declare_queue(queue.name, passive=True)


@check
async def an_auto_delete_queue_goes_with_its_last_consumer(broker):
    channel = await broker.channel()
    queue = await broker.queue(channel, auto_delete=True)
    first, second = await Inbox.of(queue), await Inbox.of(queue)
    await first.cancel()
    same(await counts(channel, queue), (0, 1), "messages and consumers")
    await second.cancel()
    with channel_closes(404, queue.name):
        await channel.declare_queue(queue.name, passive=True)


@check
async def queue_arguments_take_effect(broker):
    channel = await broker.channel()
    arguments = {"x-max-length": 2, "x-message-ttl": 60_000, "x-overflow": "drop-head"}
    queue = await broker.queue(channel, arguments=arguments)
    await send(queue, b"1", b"2", b"3")
    same(await drain(queue), [b"2", b"3"], "what a queue of two keeps")


@check
async def declaring_the_same_again_changes_nothing(broker):
    channel = await broker.channel()
    options = {"durable": True, "arguments": {"x-max-length": 10}}
    queue = await broker.queue(channel, **options)
    await send(queue, b"kept")
    again = await channel.declare_queue(queue.name, **options)
    same(again.declaration_result.message_count, 1, "ready messages")
    exchange = await broker.exchange(channel, "topic", durable=True)
    await channel.declare_exchange(exchange.name, "topic", durable=True)


@check
async def exchanges_of_every_type_are_declared_and_deleted(broker):
    channel = await broker.channel()
    for kind in ("direct", "fanout", "topic", "headers"):
        name = (await broker.exchange(channel, kind, durable=kind != "fanout")).name
        await channel.declare_exchange(name, passive=True)
        await channel.exchange_delete(name)
        with channel_closes(404, "no exchange", name):
            await (await broker.channel()).declare_exchange(name, passive=True)


@check
async def an_auto_delete_exchange_goes_with_its_last_binding(broker):
    channel = await broker.channel()
    exchange = await broker.exchange(channel, "fanout", auto_delete=True)
    queue = await broker.queue(channel)
    await channel.declare_exchange(exchange.name, passive=True)
    await queue.bind(exchange)
    await queue.unbind(exchange)
    with channel_closes(404, exchange.name):
        await channel.declare_exchange(exchange.name, passive=True)


@check
async def the_standard_exchanges_are_there(broker):
    channel = await broker.channel()
    for name in ("amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match"):
        await channel.declare_exchange(name, passive=True)


@check
async def deleting_what_is_not_there_is_fine(broker):
    channel = await broker.channel()
    same((await channel.queue_delete(broker.queue_name())).message_count, 0, "messages deleted")
    await channel.exchange_delete(broker.exchange_name())


@check
async def purge_removes_ready_messages_and_counts_them(broker):
    channel = await broker.channel()
    queue = await broker.queue(channel)
    await send(queue, b"1", b"2", b"3")
    held = await queue.get()
    same((await queue.purge()).message_count, 2, "messages purged")
    await held.reject(requeue=True)
    same(await drain(queue), [b"1"], "what was not ready stays")


@check
async def delete_counts_the_messages_that_go(broker):
    queue = await broker.queue(await broker.channel())
    await send(queue, b"1", b"2")
    deleted = await queue.delete(if_unused=False, if_empty=False)
    same(deleted.message_count, 2, "messages deleted")


@check
async def delete_if_empty_spares_a_queue_with_messages(broker):
    channel = await broker.channel()
    queue = await broker.queue(channel)
    await send(queue, b"precious")
    with channel_closes(406, queue.name, "not empty"):
        await queue.delete(if_unused=False, if_empty=True)
    channel = await broker.channel()
    queue = await channel.get_queue(queue.name)
    same(await counts(channel, queue), (1, 0), "messages and consumers")
    await queue.purge()
    await queue.delete(if_unused=False, if_empty=True)


@check
async def delete_if_unused_spares_a_queue_with_consumers(broker):
    queue = await broker.queue(await broker.channel())
    inbox = await Inbox.of(queue)
    with channel_closes(406, queue.name, "in use"):
        await (await broker.channel()).queue_delete(queue.name, if_unused=True)
    await inbox.cancel()
    await queue.delete(if_unused=True, if_empty=False)


@check
async def delete_if_unused_spares_an_exchange_with_bindings(broker):
    channel = await broker.channel()
    queue, exchange = await broker.queue(channel), await broker.exchange(channel, "direct")
    await queue.bind(exchange, "key")
    with channel_closes(406, exchange.name, "in use"):
        await exchange.delete(if_unused=True)
    channel = await broker.channel()
    await channel.exchange_delete(exchange.name)
