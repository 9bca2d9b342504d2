"""The broker under test as a check of the aio-pika suite sees it."""

import asyncio
import contextlib

import aio_pika
from aiormq import exceptions

from harness import QUIET, SOON, broker_url, fails_with, fresh_name, holds

#: The exception by which aio-pika tells a channel error.
CHANNEL_ERRORS = {
    403: exceptions.ChannelAccessRefused,
    404: exceptions.ChannelNotFoundEntity,
    405: exceptions.ChannelLockedResource,
    406: exceptions.ChannelPreconditionFailed,
}


class Broker:
    """Connections and names that last for one check."""

    def __init__(self):
        self._connections = []
        self._queues = []
        self._exchanges = []

    async def connect(self, url=None, connect=aio_pika.connect, **options):
        """A new connection, closed after the check."""
        connection = await connect(url or broker_url(), timeout=SOON, **options)
        self._connections.append(connection)
        return connection

    async def channel(self, **options):
        """A channel on a connection of its own. Publishing waits for the confirm."""
        return await (await self.connect()).channel(**options)

    def queue_name(self):
        """A fresh queue name; a queue of that name is deleted after the check."""
        self._queues.append(fresh_name("queue"))
        return self._queues[-1]

    def exchange_name(self):
        """A fresh exchange name; an exchange of that name is deleted after the check."""
        self._exchanges.append(fresh_name("exchange"))
        return self._exchanges[-1]

    async def queue(self, channel, **options):
        """Declare a fresh queue."""
        return await channel.declare_queue(self.queue_name(), **options)

    async def exchange(self, channel, kind, **options):
        """Declare a fresh exchange."""
        return await channel.declare_exchange(self.exchange_name(), kind, **options)

    async def clean_up(self):
        """Close what the check opened and delete what it declared."""
        for connection in self._connections:
            with contextlib.suppress(*aio_pika.exceptions.CONNECTION_EXCEPTIONS):
                await connection.close()
        if not (self._queues or self._exchanges):
            return
        async with await aio_pika.connect(broker_url(), timeout=SOON) as connection:
            channel = await connection.channel()
            for name in self._queues:
                await channel.queue_delete(name)
            for name in self._exchanges:
                await channel.exchange_delete(name)


class Inbox(list):
    """The messages that one consumer was given so far."""

    def __init__(self, queue):
        super().__init__()
        self._queue = queue
        self._arrived = asyncio.Event()
        self.tag = None

    @classmethod
    async def of(cls, queue, **options):
        """Start a consumer on `queue`."""
        inbox = cls(queue)
        inbox.tag = await queue.consume(inbox._receive, **options)
        return inbox

    async def _receive(self, message):
        self.append(message)
        self._arrived.set()

    async def cancel(self):
        """Cancel the consumer and wait for the broker's answer."""
        await self._queue.cancel(self.tag)

    async def wait_for(self, count):
        """Wait until `count` messages are there in all."""
        while len(self) < count:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), SOON)
            except TimeoutError:
                holds(False, f"{count} deliveries, none {SOON} s after the last; there are {len(self)}")

    async def stays_at(self, count):
        """Fail unless there are `count` messages, and still are a little later."""
        await self.wait_for(count)
        await asyncio.sleep(QUIET)
        holds(len(self) == count, f"{count} deliveries; there are {len(self)}")

    def bodies(self):
        """The bodies in the order of their arrival."""
        return [message.body for message in self]

    def redelivered(self):
        """The redelivered flags in the order of arrival."""
        return [message.redelivered for message in self]


async def publish(channel, exchange, key, body, mandatory=False, **properties):
    """Publish to the exchange of that name, declared or not, and wait for the confirm."""
    target = await channel.get_exchange(exchange, ensure=False)
    return await target.publish(aio_pika.Message(body, **properties), key, mandatory=mandatory)


async def send(queue, *bodies):
    """Publish each of `bodies` to `queue`, one confirm after the other."""
    for body in bodies:
        await publish(queue.channel, "", queue.name, body)


async def drain(queue):
    """Get every ready message with automatic acknowledgement; the bodies in order."""
    bodies = []
    while (message := await queue.get(no_ack=True, fail=False)) is not None:
        bodies.append(message.body)
    return bodies


async def counts(channel, queue):
    """The numbers of ready messages and of consumers of `queue`."""
    declared = (await channel.declare_queue(queue.name, passive=True)).declaration_result
    return declared.message_count, declared.consumer_count


def end_of(channel):
    """A future of the error with which the channel, or connection, will have been closed."""
    ended = asyncio.get_running_loop().create_future()

    def on_close(_channel, error):
        if not ended.done():
            ended.set_result(error)

    channel.close_callbacks.add(on_close)
    return ended


def channel_closes(code, *words):
    """Fail unless the body ends with the broker closing the channel with `code` and a text with `words`."""
    return fails_with(CHANNEL_ERRORS[code], *words)
