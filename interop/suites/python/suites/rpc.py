"""Remote procedure calls over amq.rabbitmq.reply-to between pika, aio-pika and amqplib.

The procedure is the square of a number. A call gives up after a while, as calls must: an answer may never come.
"""

import asyncio
import json
import threading
import time

import aio_pika
import pika
from pika.exceptions import ChannelClosedByBroker

from harness import QUIET, SOON, broker_url, check, fails_with, holds, same
from pika_suite.broker import Inbox, channel_closes, ready
from suites import node

#: The pseudo-queue that stands for "back to the channel this was published on".
REPLY_TO = "amq.rabbitmq.reply-to"


class Caller:
    """A caller with pika, one call at a time."""

    def __init__(self, broker):
        self.channel = broker.channel()
        self.answers = Inbox(self.channel, REPLY_TO, auto_ack=True)

    def send(self, queue, number, **options):
        """Send a call that is not waited for."""
        properties = pika.BasicProperties(reply_to=REPLY_TO, correlation_id=str(number))
        self.channel.basic_publish("", queue, str(number), properties, **options)

    def call(self, queue, number, limit=SOON):
        """The answer as an integer, or None after `limit` seconds."""
        self.send(queue, number)
        deadline = time.monotonic() + limit
        while (left := deadline - time.monotonic()) > 0:
            self.channel.connection.process_data_events(time_limit=left)
            for _, properties, body in self.answers:
                if properties.correlation_id == str(number):
                    return int(body)
        return None


class Server(threading.Thread):
    """Answers with pika in a thread of its own, until it is left as a context."""

    def __init__(self, broker):
        super().__init__(daemon=True)
        self.queue = broker.queue_name()
        self._connection = broker.connect()
        self._channel = self._connection.channel()
        self._channel.queue_declare(self.queue)
        self._channel.basic_consume(self.queue, self._answer)

    @staticmethod
    def _answer(channel, method, call, body):
        channel.basic_publish(
            "", call.reply_to, str(int(body) ** 2), pika.BasicProperties(correlation_id=call.correlation_id)
        )
        channel.basic_ack(method.delivery_tag)

    def run(self):
        self._channel.start_consuming()

    def __enter__(self):
        self.start()
        return self.queue

    def __exit__(self, *_):
        self._connection.add_callback_threadsafe(self._channel.stop_consuming)
        self.join(SOON)
        holds(not self.is_alive(), "the server has stopped")


def take_call(channel, queue):
    """The properties of the call that comes to `queue`, perhaps a moment after its caller has written it."""
    deadline = time.monotonic() + SOON
    while time.monotonic() < deadline:
        method, properties, _ = channel.basic_get(queue, auto_ack=True)
        if method is not None:
            return properties
    raise AssertionError("does not hold: a call comes")


@check
def pika_calls_pika(broker):
    with Server(broker) as queue:
        caller = Caller(broker)
        same([caller.call(queue, number) for number in range(50)], [number**2 for number in range(50)], "answers")


@check
def aio_pika_has_many_calls_under_way_at_once(broker):
    async def call_all(queue):
        connection = await aio_pika.connect(broker_url(), timeout=SOON)
        async with connection, connection.channel(publisher_confirms=False) as channel:
            waiting = {str(number): asyncio.get_running_loop().create_future() for number in range(200)}

            async def receive(message):
                waiting[message.correlation_id].set_result(int(message.body))

            replies = await channel.get_queue(REPLY_TO, ensure=False)
            await replies.consume(receive, no_ack=True)
            for number in waiting:
                message = aio_pika.Message(number.encode(), reply_to=REPLY_TO, correlation_id=number)
                await channel.default_exchange.publish(message, routing_key=queue)
            return await asyncio.wait_for(asyncio.gather(*waiting.values()), SOON)

    with Server(broker) as queue:
        same(asyncio.run(call_all(queue)), [number**2 for number in range(200)], "answers")


@check
def amqplib_calls_pika(broker):
    with Server(broker) as queue:
        same(json.loads(node.output("rpc.js", "call", queue, 50)), [n**2 for n in range(50)], "answers")


@check
def pika_and_aio_pika_call_amqplib(broker):
    async def call(queue, number):
        connection = await aio_pika.connect(broker_url(), timeout=SOON)
        async with connection, connection.channel(publisher_confirms=False) as channel:
            answer = asyncio.get_running_loop().create_future()

            async def receive(message):
                answer.set_result((message.correlation_id, int(message.body)))

            replies = await channel.get_queue(REPLY_TO, ensure=False)
            await replies.consume(receive, no_ack=True)
            message = aio_pika.Message(str(number).encode(), reply_to=REPLY_TO, correlation_id="one")
            await channel.default_exchange.publish(message, routing_key=queue)
            return await asyncio.wait_for(answer, SOON)

    queue = broker.queue(broker.channel())
    with node.program("rpc.js", "serve", queue):
        caller = Caller(broker)
        same([caller.call(queue, number) for number in range(50)], [number**2 for number in range(50)], "answers")
        same(asyncio.run(call(queue, 12)), ("one", 144), "the answer to aio-pika")


@check
def a_call_that_nobody_answers_is_given_up(broker):
    queue = broker.queue(broker.channel())
    caller = Caller(broker)
    same(caller.call(queue, 3, limit=QUIET), None, "answer")
    same(json.loads(node.output("rpc.js", "call", queue, 2)), [None, None], "answers")
    same(ready(caller.channel, queue), 3, "calls that wait")
    with Server(broker) as other:
        same(caller.call(other, 4), 16, "the next answer")


@check
def a_late_answer_reaches_a_caller_that_is_still_there(broker):
    queue, server = broker.queue(broker.channel()), broker.channel()
    caller = Caller(broker)
    same(caller.call(queue, 3, limit=QUIET), None, "answer")
    call = take_call(server, queue)
    server.basic_publish("", call.reply_to, b"9", pika.BasicProperties(correlation_id=call.correlation_id))
    caller.answers.wait_for(1)
    method, properties, body = caller.answers[0]
    same((properties.correlation_id, body), ("3", b"9"), "the late answer")
    same((method.exchange, method.routing_key), ("", call.reply_to), "where it went")


@check
def an_answer_to_a_caller_that_has_gone_is_dropped(broker):
    queue, server = broker.queue(broker.channel()), broker.channel()
    caller = Caller(broker)
    caller.send(queue, 3)
    caller.channel.connection.close()
    call = take_call(server, queue)
    server.confirm_delivery()
    server.basic_publish("", call.reply_to, b"9")
    with fails_with(pika.exceptions.UnroutableError):
        server.basic_publish("", call.reply_to, b"9", mandatory=True)
    holds(server.is_open, "the server can go on")


@check
def a_server_can_ask_whether_its_caller_is_still_there(broker):
    queue, server = broker.queue(broker.channel()), broker.channel()
    caller = Caller(broker)
    caller.send(queue, 3, mandatory=True)
    call = take_call(server, queue)
    holds(call.reply_to.startswith(REPLY_TO + "."), "the address is one of the caller's own")
    same(server.queue_declare(call.reply_to, passive=True).method.queue, call.reply_to, "the address")
    caller.channel.close()
    with channel_closes(404):
        server.queue_declare(call.reply_to, passive=True)


@check
def a_call_without_a_consumer_for_the_answer_is_refused(broker):
    channel = broker.channel()
    queue = broker.queue(channel)
    with channel_closes(406, "fast reply consumer does not exist"):
        channel.basic_publish("", queue, b"3", pika.BasicProperties(reply_to=REPLY_TO))
        channel.queue_declare(queue, passive=True)


@check
def direct_answers_cannot_be_acknowledged(broker):
    with fails_with(ChannelClosedByBroker, "406", "reply consumer cannot acknowledge"):
        broker.channel().basic_consume(REPLY_TO, lambda *_: None, auto_ack=False)
