"""Consumers, prefetch, basic.get and cancellation."""

import asyncio

from harness import QUIET, check, holds, same

from .broker import Inbox, counts, drain, publish, send


def numbers(start, stop):
    """Bodies that carry the numbers from `start` up to but excluding `stop`."""
    return [b"%d" % number for number in range(start, stop)]


@check
async def ten_thousand_messages_keep_their_order(broker):
    connection = await broker.connect()
    publisher = await connection.channel(publisher_confirms=False)
    queue = await broker.queue(publisher)
    for body in numbers(0, 10_000):
        await publish(publisher, "", queue.name, body)
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=250)
    bodies = []
    async with (await channel.get_queue(queue.name)).iterator() as messages:
        async for message in messages:
            bodies.append(message.body)
            if len(bodies) % 100 == 0:
                await message.ack(multiple=True)
            if len(bodies) == 10_000:
                break
    holds(bodies == numbers(0, 10_000), "the order is kept")
    same(await counts(channel, queue), (0, 0), "messages and consumers")


@check
async def prefetch_limits_what_is_unacknowledged(broker):
    channel = await broker.channel()
    queue = await broker.queue(channel)
    await channel.set_qos(prefetch_count=3)
    await send(queue, *numbers(0, 10))
    inbox = await Inbox.of(queue)
    await inbox.stays_at(3)
    await inbox[0].ack()
    await inbox.stays_at(4)
    await inbox[3].ack(multiple=True)
    await inbox.stays_at(7)
    same(inbox.bodies(), numbers(0, 7))


@check
async def acknowledged_messages_are_gone_and_the_others_are_not(broker):
    connection = await broker.connect()
    queue = await broker.queue(await connection.channel())
    await send(queue, *numbers(0, 6))
    inbox = await Inbox.of(queue)
    await inbox.wait_for(6)
    await inbox[4].ack()
    await inbox[2].ack(multiple=True)
    await connection.close()
    queue = await (await broker.channel()).get_queue(queue.name)
    same(await drain(queue), [b"3", b"5"], "what nobody acknowledged")


@check
async def a_consumer_without_acknowledgement_empties_the_queue(broker):
    channel = await broker.channel()
    queue = await broker.queue(channel)
    await send(queue, *numbers(0, 50))
    await channel.set_qos(prefetch_count=1)  # does not apply to it
    inbox = await Inbox.of(queue, no_ack=True)
    await inbox.stays_at(50)
    await channel.close()
    same(await counts(await broker.channel(), queue), (0, 0), "messages and consumers")


@check
async def consumers_take_turns(broker):
    queue = await broker.queue(await broker.channel())
    first, second = await Inbox.of(queue), await Inbox.of(queue)
    await send(queue, *numbers(0, 10))
    await first.wait_for(5)
    await second.wait_for(5)
    same(sorted(first.bodies() + second.bodies()), numbers(0, 10))
    same((len(first), len(second)), (5, 5), "shares")


@check
async def get_tells_how_many_are_left(broker):
    queue = await broker.queue(await broker.channel())
    await send(queue, b"0", b"1")
    message = await queue.get()
    same((message.message_count, message.redelivered, message.routing_key), (1, False, queue.name))
    await message.ack()
    message = await queue.get(no_ack=True)
    same((message.message_count, message.delivery_tag, message.body), (0, 2, b"1"))
    same(await queue.get(fail=False), None, "get from an empty queue")


@check
async def a_cancelled_consumer_gets_nothing_more_and_keeps_what_it_has(broker):
    channel = await broker.channel()
    queue = await broker.queue(channel)
    await send(queue, b"0")
    inbox = await Inbox.of(queue)
    await inbox.wait_for(1)
    await inbox.cancel()
    await send(queue, b"1", b"2")
    await inbox.stays_at(1)
    await inbox[0].ack()
    same(await counts(channel, queue), (2, 0), "messages and consumers")


@check
async def deleting_the_queue_cancels_its_consumers(broker):
    channel = await broker.channel()
    queue = await broker.queue(channel)
    cancelled = asyncio.get_running_loop().create_future()
    underlay = await channel.get_underlay_channel()
    underlay.on_consumer_cancel_callbacks.add(lambda frame: cancelled.set_result(frame.consumer_tag))
    inbox = await Inbox.of(queue)
    await (await broker.channel()).queue_delete(queue.name)
    same(await cancelled, inbox.tag)
    await broker.queue(channel)  # the channel is still open


@check
async def channels_of_one_connection_do_not_disturb_each_other(broker):
    connection = await broker.connect()
    one, two = await connection.channel(), await connection.channel()
    queues = await broker.queue(one), await broker.queue(two)
    inboxes = await Inbox.of(queues[0]), await Inbox.of(queues[1])

    async def send_a_hundred(channel, queue, body):
        for _ in range(100):
            await publish(channel, "", queue.name, body)

    await asyncio.gather(
        send_a_hundred(one, queues[1], b"for two" * 1000),
        send_a_hundred(two, queues[0], b"for one" * 1000),
    )
    for inbox, body in zip(inboxes, (b"for one", b"for two"), strict=True):
        await inbox.wait_for(100)
        same(set(inbox.bodies()), {body * 1000})
        same([message.delivery_tag for message in inbox], list(range(1, 101)), "delivery tags")
    await one.close()
    await inboxes[1][-1].ack(multiple=True)
    await asyncio.sleep(QUIET)
    same(await counts(two, queues[0]), (100, 0), "requeued by the closed channel")
