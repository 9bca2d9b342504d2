"""Publisher confirms and returned messages."""

import asyncio

from aio_pika import DeliveryMode
from aio_pika.exceptions import DeliveryError, PublishError
from pamqp.commands import Basic

from harness import check, fails_with, holds, same

from .broker import counts, drain, publish, send


@check
async def every_publish_of_a_burst_is_confirmed(broker):
    channel = await broker.channel()
    queue = await broker.queue(channel, durable=True)
    modes = (DeliveryMode.NOT_PERSISTENT, DeliveryMode.PERSISTENT)
    confirms = await asyncio.gather(*(
        publish(channel, "", queue.name, b"%d" % number, delivery_mode=modes[number % 2])
        for number in range(1000)
    ))
    holds(all(isinstance(confirm, Basic.Ack) for confirm in confirms), "every confirm is an ack")
    same(await counts(channel, queue), (1000, 0), "messages and consumers")


@check
async def an_unroutable_mandatory_message_returns_before_its_confirm(broker):
    channel = await broker.channel(on_return_raises=True)
    name = broker.queue_name()
    # aio-pika raises only when the return has arrived by the time of the confirm.
    with fails_with(PublishError) as caught:
        await publish(channel, "", name, b"come back", mandatory=True, message_id="m1")
    returned = caught[0].message
    same((returned.delivery.reply_code, returned.delivery.reply_text), (312, "NO_ROUTE"))
    same((returned.delivery.exchange, returned.delivery.routing_key), ("", name))
    same((returned.header.properties.message_id, returned.body), ("m1", b"come back"))


@check
async def a_routed_mandatory_message_is_not_returned(broker):
    channel = await broker.channel(on_return_raises=True)
    queue = await broker.queue(channel)
    await publish(channel, "", queue.name, b"stay", mandatory=True)
    same(await drain(queue), [b"stay"])


@check
async def an_unroutable_message_is_confirmed_and_forgotten(broker):
    channel = await broker.channel(on_return_raises=True)
    confirm = await publish(channel, "", broker.queue_name(), b"nobody")
    holds(isinstance(confirm, Basic.Ack), "the confirm is an ack")


@check
async def returned_messages_of_a_burst_are_the_unroutable_ones(broker):
    channel = await broker.channel()
    returned = []
    channel.return_callbacks.add(lambda _channel, message: returned.append(message.body))
    names = (await broker.queue(channel)).name, broker.queue_name()
    await asyncio.gather(*(
        publish(channel, "", names[number % 2], b"%d" % number, mandatory=True) for number in range(20)
    ))
    same(returned, [b"%d" % number for number in range(1, 20, 2)])


@check
async def a_full_queue_that_rejects_publishes_says_nack(broker):
    channel = await broker.channel()
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
    queue = await broker.queue(channel, arguments=arguments)
    await send(queue, b"fits")
    with fails_with(DeliveryError):
        await send(queue, b"does not")
    same(await drain(queue), [b"fits"])


@check
async def a_rolled_back_transaction_publishes_nothing(broker):
    channel = await broker.channel(publisher_confirms=False)
    queue = await broker.queue(channel)
    transaction = channel.transaction()
    await transaction.select()
    await send(queue, b"undone")
    await transaction.rollback()
    await send(queue, b"done")
    same(await counts(channel, queue), (0, 0), "messages and consumers before the commit")
    await transaction.commit()
    same(await drain(queue), [b"done"])
