"""Arrangements of exchanges and queues that applications build to try again later, as Spring's users do it."""

import time

import pika

from harness import check, holds, same
from pika_suite.broker import Inbox, channel_closes, drain, ready

#: Milliseconds a failed message waits before it is tried again: long beside a round trip.
RETRY_MS = 200

#: How often a message is tried before it is parked.
ATTEMPTS = 3


class Orders:
    """A work queue on a topic exchange, whose failed messages wait in a retry queue and end in a parking lot.

        orders ──order.#──► work ──rejected──► retry exchange ──► waiting ──expired──► work
                             └── by the consumer, after ATTEMPTS ──► parking lot
    """

    def __init__(self, broker, ttl_ms=RETRY_MS):
        self.channel = broker.channel()
        self.channel.confirm_delivery()
        self.exchange = broker.exchange(self.channel, "topic", durable=True)
        self.retry = broker.exchange(self.channel, "direct", durable=True)
        self.work = broker.queue_name()
        self.waiting = broker.queue_name()
        self.parking = broker.queue(self.channel, durable=True)
        self.ttl_ms = ttl_ms
        self.declare(self.channel)

    def declare(self, channel):
        """Declare the queues and bindings, as every instance of the application does when it starts."""
        retry = {"x-dead-letter-exchange": self.retry, "x-dead-letter-routing-key": "again"}
        channel.queue_declare(self.work, durable=True, arguments=retry)
        # The default exchange brings it straight back to the work queue.
        back = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": self.work}
        if self.ttl_ms is not None:
            back["x-message-ttl"] = self.ttl_ms
        channel.queue_declare(self.waiting, durable=True, arguments=back)
        channel.queue_bind(self.work, self.exchange, "order.#")
        channel.queue_bind(self.waiting, self.retry, "again")

    def publish(self, body, key="order.created", **properties):
        """Publish a persistent order and wait for its confirm."""
        self.channel.basic_publish(
            self.exchange, key, body, pika.BasicProperties(delivery_mode=2, **properties), mandatory=True
        )


def deaths(properties):
    """How often a message died, for each queue and reason."""
    return {(death["queue"], death["reason"]): death["count"] for death in properties.headers.get("x-death", [])}


@check
def a_rejected_message_waits_and_comes_back(broker):
    orders = Orders(broker)
    inbox = Inbox(orders.channel, orders.work)
    orders.publish(b"1", message_id="m-1", headers={"tenant": "a"})
    inbox.wait_for(1)
    rejected_at = time.monotonic()
    orders.channel.basic_nack(inbox[0][0].delivery_tag, requeue=False)
    inbox.wait_for(2)
    holds(time.monotonic() - rejected_at >= RETRY_MS / 1000, "it has waited")
    method, properties, body = inbox[1]
    orders.channel.basic_ack(method.delivery_tag)
    same((method.exchange, method.routing_key), ("", orders.work), "the way it came back")
    same(method.redelivered, False, "redelivered")
    same((body, properties.message_id, properties.delivery_mode), (b"1", "m-1", 2), "what is left as it was")
    same(properties.headers["tenant"], "a", "the application's own header")
    same(deaths(properties), {(orders.work, "rejected"): 1, (orders.waiting, "expired"): 1}, "deaths")
    same(properties.headers["x-first-death-queue"], orders.work, "first death queue")
    same(properties.headers["x-first-death-reason"], "rejected", "first death reason")
    same(properties.headers["x-first-death-exchange"], orders.exchange, "first death exchange")


@check
def x_death_counts_the_attempts_until_the_consumer_parks_the_message(broker):
    orders = Orders(broker)
    inbox = Inbox(orders.channel, orders.work)
    orders.publish(b"poison", key="order.created.eu")
    for attempt in range(1, ATTEMPTS + 1):
        inbox.wait_for(attempt)
        method, properties, body = inbox[-1]
        failed_before = deaths(properties).get((orders.work, "rejected"), 0) if properties.headers else 0
        same(failed_before, attempt - 1, "failed attempts")
        if attempt < ATTEMPTS:
            orders.channel.basic_reject(method.delivery_tag, requeue=False)
    orders.channel.basic_publish("", orders.parking, body, properties, mandatory=True)
    orders.channel.basic_ack(method.delivery_tag)
    inbox.stays_at(ATTEMPTS)
    method, parked, body = orders.channel.basic_get(orders.parking, auto_ack=True)
    same(body, b"poison", "the parked message")
    same(deaths(parked), {(orders.work, "rejected"): 2, (orders.waiting, "expired"): 2}, "deaths")
    same(parked.headers["x-death"][1]["routing-keys"], ["order.created.eu"], "the first routing key")


@check
def a_parked_message_can_be_driven_back_to_the_exchange(broker):
    orders = Orders(broker)
    inbox = Inbox(orders.channel, orders.work)
    orders.publish(b"1", headers={"tenant": "a"})
    inbox.wait_for(1)
    method, properties, body = inbox[0]
    orders.channel.basic_publish("", orders.parking, body, properties, mandatory=True)
    orders.channel.basic_ack(method.delivery_tag)
    _, properties, body = orders.channel.basic_get(orders.parking, auto_ack=True)
    orders.channel.basic_publish(orders.exchange, "order.retried", body, properties, mandatory=True)
    inbox.wait_for(2)
    method, properties, body = inbox[1]
    same((method.routing_key, body, properties.headers), ("order.retried", b"1", {"tenant": "a"}), "the message")


@check
def other_messages_go_on_while_one_waits(broker):
    orders = Orders(broker)
    inbox = Inbox(orders.channel, orders.work)
    orders.publish(b"bad")
    inbox.wait_for(1)
    orders.channel.basic_reject(inbox[0][0].delivery_tag, requeue=False)
    for body in (b"2", b"3", b"4"):
        orders.publish(body)
    inbox.wait_for(5)
    same(inbox.bodies(), [b"bad", b"2", b"3", b"4", b"bad"], "order")


@check
def messages_of_one_retry_queue_come_back_in_order(broker):
    orders = Orders(broker)
    inbox = Inbox(orders.channel, orders.work)
    bodies = [b"%d" % number for number in range(50)]
    for body in bodies:
        orders.publish(body)
    inbox.wait_for(50)
    orders.channel.basic_nack(inbox[-1][0].delivery_tag, multiple=True, requeue=False)
    inbox.wait_for(100)
    same(inbox.bodies()[50:], bodies, "the second round")


@check
def each_message_may_choose_its_own_delay(broker):
    orders = Orders(broker, ttl_ms=None)
    inbox = Inbox(orders.channel, orders.work)
    orders.channel.basic_publish("", orders.waiting, b"1", pika.BasicProperties(expiration="100"), mandatory=True)
    inbox.wait_for(1)
    _, properties, _ = inbox[0]
    same(properties.expiration, None, "the expiration after it has expired")
    same(properties.headers["x-death"][0]["original-expiration"], "100", "original expiration")


@check
def a_second_instance_declares_the_same_and_shares_the_work(broker):
    orders = Orders(broker)
    second = broker.channel()
    orders.declare(second)
    for channel in (orders.channel, second):
        channel.basic_qos(prefetch_count=1)
    first_inbox, second_inbox = Inbox(orders.channel, orders.work), Inbox(second, orders.work)
    orders.publish(b"1")
    orders.publish(b"2")
    first_inbox.wait_for(1)
    second_inbox.wait_for(1)
    same(sorted(first_inbox.bodies() + second_inbox.bodies()), [b"1", b"2"], "all messages")


@check
def an_instance_with_another_delay_is_refused(broker):
    orders = Orders(broker)
    second = broker.channel()
    orders.ttl_ms = RETRY_MS + 1
    with channel_closes(406, "x-message-ttl", orders.waiting):
        orders.declare(second)


@check
def a_failed_message_without_a_way_out_is_dropped(broker):
    orders = Orders(broker)
    orders.channel.queue_unbind(orders.waiting, orders.retry, "again")
    orders.publish(b"1")
    method, _, _ = orders.channel.basic_get(orders.work)
    orders.channel.basic_reject(method.delivery_tag, requeue=False)
    same([ready(orders.channel, queue) for queue in (orders.work, orders.waiting, orders.parking)], [0, 0, 0], "ready")


@check
def a_full_work_queue_sheds_its_oldest_into_the_parking_lot(broker):
    channel = broker.channel()
    parking = broker.queue(channel)
    limits = {"x-max-length": 3, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": parking}
    work = broker.queue(channel, arguments=limits)
    channel.confirm_delivery()
    for number in range(5):
        channel.basic_publish("", work, b"%d" % number)
    same(drain(channel, parking), [b"0", b"1"], "parked")
    same(drain(channel, work), [b"2", b"3", b"4"], "kept")


@check
def services_get_their_topics_and_the_audit_gets_all(broker):
    channel = broker.channel()
    unroutable = broker.exchange(channel, "fanout")
    events = broker.exchange(channel, "topic", arguments={"alternate-exchange": unroutable})
    queues = {}
    for pattern in ("order.*.eu", "order.paid.#", "#.us", "order.#"):
        queues[pattern] = broker.queue(channel)
        channel.queue_bind(queues[pattern], events, pattern)
    lost = broker.queue(channel)
    channel.queue_bind(lost, unroutable)
    channel.confirm_delivery()
    keys = ["order.created.eu", "order.paid.us", "order.paid", "order.paid.eu", "payment.failed", "us"]
    for key in keys:
        channel.basic_publish(events, key, key.encode())
    got = {pattern: [body.decode() for body in drain(channel, queue)] for pattern, queue in queues.items()}
    want = {
        "order.*.eu": ["order.created.eu", "order.paid.eu"],
        "order.paid.#": ["order.paid.us", "order.paid", "order.paid.eu"],
        "#.us": ["order.paid.us", "us"],
        "order.#": ["order.created.eu", "order.paid.us", "order.paid", "order.paid.eu"],
    }
    same(got, want, "what each service got")
    same(drain(channel, lost), [b"payment.failed"], "what nobody wanted")
    holds(channel.is_open, "the channel is open")
