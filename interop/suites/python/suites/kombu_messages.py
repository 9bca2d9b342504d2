"""kombu by itself: what Celery's users build beside their tasks."""

import socket

from kombu import Connection, Consumer, Exchange, Producer, Queue

from harness import QUIET, SOON, broker_url, check, fails_with, holds, same


def connect():
    """A connection over py-amqp with confirms."""
    return Connection(broker_url(), connect_timeout=SOON, heartbeat=10, transport_options={"confirm_publish": True})


def drain(connection, received, count):
    """Handle events until there are `count` messages, and fail if there are more a little later."""
    while len(received) < count:
        connection.drain_events(timeout=SOON)
    with fails_with(socket.timeout):
        connection.drain_events(timeout=QUIET)
    same(len(received), count, "messages")


@check
def subscribers_of_a_topic_exchange_get_what_they_asked_for(broker):
    exchange = Exchange(broker.exchange_name(), "topic", durable=False)
    received = []

    def receive(body, message):
        received.append((message.delivery_info["routing_key"], body))
        message.ack()

    with connect() as connection:
        queue = Queue(broker.queue_name(), exchange, routing_key="news.*.tech", durable=False)
        with Consumer(connection, [queue], callbacks=[receive], accept=["json"]):
            producer = Producer(connection.channel(), exchange, serializer="json")
            for key in ("news.eu.tech", "news.eu.sport", "news.us.tech", "news.tech"):
                producer.publish({"key": key}, routing_key=key)
            drain(connection, received, 2)
    same(received, [(key, {"key": key}) for key in ("news.eu.tech", "news.us.tech")], "messages")


@check
def a_fanout_reaches_every_subscriber(broker):
    exchange = Exchange(broker.exchange_name(), "fanout", durable=False)
    received = []
    with connect() as connection:
        queues = [Queue(broker.queue_name(), exchange, durable=False) for _ in range(3)]

        def receive(body, message):
            received.append((message.delivery_info["consumer_tag"], body))
            message.ack()

        with Consumer(connection, queues, callbacks=[receive]):
            Producer(connection.channel(), exchange).publish("hello")
            drain(connection, received, 3)
    same({body for _, body in received}, {"hello"}, "bodies")
    same(len({tag for tag, _ in received}), 3, "consumers")


@check
def higher_priorities_are_served_first(broker):
    with connect() as connection:
        queue = Queue(broker.queue_name(), durable=False, max_priority=10)(connection.channel())
        queue.declare()
        producer = Producer(connection.channel(), routing_key=queue.name)
        for number in range(30):
            producer.publish(number, priority=number % 3 * 5)
        order = [queue.get(no_ack=True).decode() for _ in range(30)]
    same(order, sorted(range(30), key=lambda number: -(number % 3)), "order")


@check
def a_requeued_message_comes_back_and_a_rejected_one_does_not(broker):
    with connect() as connection:
        queue = Queue(broker.queue_name(), durable=False)(connection.channel())
        queue.declare()
        Producer(connection.channel(), routing_key=queue.name).publish("once more")
        message = queue.get()
        message.requeue()
        again = queue.get()
        same(again.delivery_info["redelivered"], True, "redelivered")
        again.reject()
        holds(queue.get() is None, "the queue is empty")


@check
def compressed_messages_and_headers_arrive_as_they_were(broker):
    with connect() as connection:
        queue = Queue(broker.queue_name(), durable=False)(connection.channel())
        queue.declare()
        body = {"text": "x" * 200_000, "numbers": [1, 2.5, None, True]}
        headers = {"nested": {"list": [1, "two", {"three": 3}]}, "big": 2**40, "negative": -5}
        Producer(connection.channel(), routing_key=queue.name, compression="zlib").publish(body, headers=headers)
        message = queue.get(no_ack=True)
        same(message.decode(), body, "body")
        same({name: message.headers[name] for name in headers}, headers, "headers")


@check
def a_simple_queue_keeps_the_order(broker):
    with connect() as connection:
        exchange = Exchange(broker.exchange_name(), "direct", durable=False)
        with connection.SimpleQueue(Queue(broker.queue_name(), exchange, routing_key="in", durable=False)) as simple:
            for number in range(100):
                simple.put({"number": number})
            got = []
            for _ in range(100):
                message = simple.get(timeout=SOON)
                got.append(message.payload["number"])
                message.ack()
            same(got, list(range(100)), "order")
            same(simple.qsize(), 0, "messages left")
