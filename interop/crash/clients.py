"""The clients: producers that wait for confirms, and consumers whose acknowledgements are followed by a publish."""

import asyncio

import aio_pika

#: Seconds for the broker to answer; a killed one never does, and the connection says so long before.
ANSWER_LIMIT = 20

#: Messages that a consumer may hold. A kill makes all of them come back.
PREFETCH = 200

#: Publishes that wait for their confirms together, at most: more than one of these makes several blocks of the log.
BURST_MAX = 60

#: Bytes of a body: mostly small ones, some that need several frames and reads.
SIZES = (*[10] * 30, *[200] * 20, *[2_000] * 9, 150_000)

PERSISTENT = aio_pika.DeliveryMode.PERSISTENT

#: A queue for publishes that only follow something. It stays short.
MARKERS = "markers"


async def connect(server):
    """A connection to the server that lives now; waits for one."""
    while True:
        if server.address is None:
            await asyncio.sleep(0.005)
            continue
        host, port = server.address
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                return await aio_pika.connect(host=host, port=port, heartbeat=0)
        except (OSError, aio_pika.exceptions.AMQPError, TimeoutError):
            await asyncio.sleep(0.005)


async def declare(server, queues, copies, backlog):
    """Everything durable that the clients use."""
    async with await connect(server) as connection:
        channel = await connection.channel()
        fan_out = await channel.declare_exchange("copies", aio_pika.ExchangeType.FANOUT, durable=True)
        for name in (*queues, *copies, backlog):
            arguments = {"x-queue-type": "quorum"} if name == "quorum" else None
            queue = await channel.declare_queue(name, durable=True, arguments=arguments)
            if name in copies:
                await queue.bind(fan_out)
        await channel.declare_queue(MARKERS, durable=True, arguments={"x-max-length": 10})


class Client:
    """Something that goes on with each new server where the last one was killed."""

    def __init__(self, server, ledger, rng):
        self.server = server
        self.ledger = ledger
        self.rng = rng
        self.stopped = False

    def stop(self):
        self.stopped = True

    async def run(self):
        """Work until told to stop, on one connection after the other."""
        while not self.stopped:
            life = self.server.life
            connection = await connect(self.server)
            try:
                await self.work(connection)
            except Exception:
                # A lost connection is the point of it all, and aio-pika has many ways to say it, among them a bare
                # Exception. Only while the server is there something else must be the matter.
                if self.server.life == life and self.server.address is not None:
                    raise
            finally:
                await close(connection)


async def close(connection):
    # The library may wait for the answer of a broker that is gone, and takes cancelling for an answer.
    closing = asyncio.create_task(connection.close())
    await asyncio.wait([closing], timeout=1)
    closing.cancel()


class Producer(Client):
    """Publishes numbered messages in bursts. A number that was not confirmed is not published again."""

    def __init__(self, server, ledger, number, exchange, queues, rng):
        super().__init__(server, ledger, rng)
        self.number = number
        self.exchange = exchange
        self.queues = queues
        self.next = 0

    async def work(self, connection):
        channel = await connection.channel(publisher_confirms=True)
        if self.exchange:
            exchange = await channel.get_exchange(self.exchange, ensure=False)
        else:
            exchange = channel.default_exchange
        while not self.stopped:
            burst = range(self.next, self.next + self.rng.randint(1, BURST_MAX))
            self.next = burst.stop
            publishes = [self.publish(exchange, number) for number in burst]
            async with asyncio.timeout(ANSWER_LIMIT):
                outcomes = await asyncio.gather(*publishes, return_exceptions=True)
            for outcome in outcomes:
                if outcome is not None:
                    raise ConnectionError(f"a publish was not confirmed: {outcome!r}")
            await asyncio.sleep(self.rng.choice((0, 0.005, 0.02)))

    async def publish(self, exchange, number):
        head = f"{self.number} {number} ".encode()
        body = head.ljust(self.rng.choice(SIZES), b".")
        message = aio_pika.Message(body, delivery_mode=PERSISTENT)
        await exchange.publish(message, self.queues[0])
        self.ledger.confirmed(self.queues, self.number, number)


class Consumer(Client):
    """Takes everything from one queue, acknowledges it in a while, and follows that with a publish."""

    def __init__(self, server, ledger, queue, rng):
        super().__init__(server, ledger, rng)
        self.queue = queue
        self.inbox = []

    async def work(self, connection):
        self.inbox = inbox = []
        channel = await connection.channel(publisher_confirms=True)
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await channel.get_queue(self.queue, ensure=False)

        async def receive(delivery):
            producer, number, _ = delivery.body.split(b" ", 2)
            noted = self.ledger.delivered(self.queue, int(producer), int(number), delivery.redelivered)
            inbox.append((delivery, noted))

        await queue.consume(receive)
        while not connection.is_closed:
            await asyncio.sleep(self.rng.uniform(0, 0.03))
            await self.settle(channel, inbox)
        raise ConnectionError("the connection is closed")

    async def settle(self, channel, inbox):
        """Acknowledge some of what has come, in one of two ways, and make that safe."""
        come = list(inbox)
        chosen = come[: self.rng.randint(0, len(come))]
        for _, noted in chosen:
            noted.acknowledged = True
        if chosen and self.rng.random() < 0.5:
            await chosen[-1][0].ack(multiple=True)
        else:
            chosen = self.rng.sample(chosen, len(chosen))
            for delivery, _ in chosen:
                await delivery.ack()
        gone = {delivery.delivery_tag for delivery, _ in chosen}
        inbox[:] = [entry for entry in inbox if entry[0].delivery_tag not in gone]
        marker = aio_pika.Message(b"marker", delivery_mode=PERSISTENT)
        async with asyncio.timeout(ANSWER_LIMIT):
            await channel.default_exchange.publish(marker, MARKERS)
        for _, noted in come:
            noted.delivery_safe = True
        for _, noted in chosen:
            noted.settled = True
