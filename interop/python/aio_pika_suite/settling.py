"""Reject, nack and requeue."""

from harness import check, same

from .broker import Inbox, counts, drain, send


async def held(queue, count):
    """Get `count` messages and keep them unacknowledged."""
    return [await queue.get() for _ in range(count)]


@check
async def a_requeued_message_keeps_its_place(broker):
    queue = await broker.queue(await broker.channel())
    await send(queue, b"0", b"1", b"2", b"3", b"4")
    messages = await held(queue, 3)
    await messages[1].reject(requeue=True)
    await messages[0].nack(requeue=True)
    await messages[2].reject(requeue=True)
    inbox = await Inbox.of(queue)
    await inbox.wait_for(5)
    same(inbox.bodies(), [b"0", b"1", b"2", b"3", b"4"])
    same(inbox.redelivered(), [True, True, True, False, False], "redelivered")


@check
async def nack_of_several_requeues_them_in_order(broker):
    queue = await broker.queue(await broker.channel())
    await send(queue, b"0", b"1", b"2", b"3")
    messages = await held(queue, 3)
    await messages[1].nack(multiple=True, requeue=True)
    same(await drain(queue), [b"0", b"1", b"3"])
    await messages[2].ack()


@check
async def a_message_rejected_without_requeue_is_gone(broker):
    channel = await broker.channel()
    queue = await broker.queue(channel)
    await send(queue, b"0", b"1", b"2", b"3")
    messages = await held(queue, 3)
    await messages[0].reject(requeue=False)
    await messages[2].nack(multiple=True, requeue=False)
    same(await drain(queue), [b"3"])
    await channel.close()
    same(await counts(await broker.channel(), queue), (0, 0), "messages and consumers")


@check
async def a_rejected_message_is_dead_lettered(broker):
    channel = await broker.channel()
    grave = await broker.queue(channel)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": grave.name}
    queue = await broker.queue(channel, arguments=arguments)
    await send(queue, b"unwanted")
    await (await queue.get()).reject(requeue=False)
    inbox = await Inbox.of(grave)
    await inbox.wait_for(1)
    same((inbox[0].redelivered, inbox[0].body), (False, b"unwanted"))
    death = inbox[0].headers["x-death"][0]
    same((death["queue"], death["reason"], death["count"]), (queue.name, "rejected", 1))


@check
async def a_closed_channel_gives_its_messages_back_in_order(broker):
    connection = await broker.connect()
    channel = await connection.channel()
    queue = await broker.queue(channel)
    await send(queue, b"0", b"1", b"2", b"3")
    inbox = await Inbox.of(queue)
    await inbox.wait_for(4)
    await inbox[1].ack()
    await channel.close()
    queue = await (await connection.channel()).get_queue(queue.name)
    same(await drain(queue), [b"0", b"2", b"3"])
