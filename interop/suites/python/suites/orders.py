"""Orders published by lapin, consumed by pika and by amqplib, over fanout, topic and headers exchanges."""

import json
import os
import subprocess

from harness import CHECK_LIMIT, check, holds, same
from pika_suite.broker import Inbox
from suites import node

#: How many orders there are: several times the prefetch of the consumers.
COUNT = 120

REGIONS = ("eu", "us")
STATES = ("created", "paid", "shipped")


class Order:
    """What the publisher says of order `number`, and what each client must make of it."""

    def __init__(self, number):
        self.body = str(number)
        self.message_id = f"order-{number}"
        self.region = REGIONS[number % len(REGIONS)]
        self.state = STATES[number % len(STATES)]
        self.key = f"order.{self.region}.{self.state}"
        self.express = number % 2 == 0
        self.headers = {
            "region": self.region, "state": self.state, "number": number, "cents": number << 33, "express": self.express,
        }

    def seen(self):
        """The order as a consumer tells of it."""
        return [self.key, self.body, self.message_id, self.headers]


def publish(exchanges):
    """Have every order published to each of `exchanges`, and confirmed."""
    program = os.environ.get("SUITES_ORDERS")
    holds(program, "SUITES_ORDERS names the publisher")
    subprocess.run([program, *exchanges, str(COUNT)], check=True, timeout=CHECK_LIMIT)


@check
def each_consumer_gets_the_orders_it_asked_for_in_their_order(broker):
    channel = broker.channel()
    fanout, topic, headers = (broker.exchange(channel, kind) for kind in ("fanout", "topic", "headers"))
    all_of, any_of = {"x-match": "all"}, {"x-match": "any"}
    subscriptions = [
        (fanout, "", {}, lambda order: True),
        (topic, "order.eu.*", {}, lambda order: order.region == "eu"),
        (topic, "#.paid", {}, lambda order: order.state == "paid"),
        (headers, "", all_of | {"region": "us", "express": False}, lambda order: order.region == "us"),
        (headers, "", any_of | {"state": "paid", "region": "eu"},
         lambda order: order.state == "paid" or order.region == "eu"),
        (headers, "", all_of | {"number": 7, "cents": 7 << 33}, lambda order: order.body == "7"),
        (headers, "", all_of | {"region": "eu", "express": False}, lambda order: False),
    ]
    wanted, queues = {}, {"python": [], "node": []}
    for exchange, key, arguments, wants in subscriptions:
        for language in queues:
            queue = broker.queue(channel)
            channel.queue_bind(queue, exchange, key, arguments)
            queues[language].append(queue)
            wanted[queue] = [order.seen() for order in map(Order, range(COUNT)) if wants(order)]
    total = sum(len(wanted[queue]) for queue in queues["node"])
    got = {queue: [] for queue in wanted}

    channel.basic_qos(prefetch_count=10)
    inboxes = {queue: Inbox(channel, queue, auto_ack=True) for queue in queues["python"]}
    with node.program("orders.js", total, *queues["node"]) as consumer:
        publish([fanout, topic, headers])
        for _ in range(total):
            queue, *seen = json.loads(consumer.stdout.readline())
            got[queue].append(seen)
    for queue, inbox in inboxes.items():
        inbox.stays_at(len(wanted[queue]))
        got[queue] = [
            [method.routing_key, body.decode(), properties.message_id, properties.headers]
            for method, properties, body in inbox
        ]
    for queue, orders in wanted.items():
        same(got[queue], orders, "the orders of one queue")


@check
def workers_in_both_languages_share_a_queue(broker):
    channel = broker.channel()
    exchange = broker.exchange(channel, "direct", durable=True)
    queue = broker.queue(channel, durable=True)
    for region in REGIONS:
        for state in STATES:
            channel.queue_bind(queue, exchange, f"order.{region}.{state}")
    channel.basic_qos(prefetch_count=10)
    # amqplib takes half of the orders and goes; the rest, and what it was given too much, is pika's.
    share = COUNT // 2
    with node.program("orders.js", share, queue) as consumer:
        publish([exchange])
        numbers = [int(json.loads(consumer.stdout.readline())[2]) for _ in range(share)]
    inbox = Inbox(channel, queue, auto_ack=True)
    inbox.wait_for(COUNT - share)
    numbers += [int(body) for body in inbox.bodies()]
    # What amqplib saw beyond its share was requeued: nothing is lost, and nothing that was acknowledged comes back.
    same(sorted(numbers), list(range(COUNT)), "the orders")
