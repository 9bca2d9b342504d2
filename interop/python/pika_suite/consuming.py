"""Consumers, prefetch, basic.get and cancellation."""

from harness import QUIET, check, holds, same

from .broker import Inbox, drain, ready


def fill(channel, queue, count):
    """Publish `count` messages that carry their number."""
    for number in range(count):
        channel.basic_publish("", queue, b"%d" % number)


def numbers(start, stop):
    """The bodies that `fill` made, from `start` up to but excluding `stop`."""
    return [b"%d" % number for number in range(start, stop)]


@check
def ten_thousand_messages_keep_their_order(broker):
    channel = broker.channel()
    name = broker.queue(channel)
    fill(channel, name, 10_000)
    channel.basic_qos(prefetch_count=250)
    bodies = []

    def receive(channel, method, _properties, body):
        bodies.append(body)
        if len(bodies) % 100 == 0:
            channel.basic_ack(method.delivery_tag, multiple=True)

    channel.basic_consume(name, receive)
    while len(bodies) < 10_000:
        channel.connection.process_data_events(time_limit=1)
    holds(bodies == numbers(0, 10_000), "the order is kept")
    same(ready(channel, name), 0, "ready messages")


@check
def prefetch_limits_what_is_unacknowledged(broker):
    channel = broker.channel()
    name = broker.queue(channel)
    channel.basic_qos(prefetch_count=3)
    fill(channel, name, 10)
    inbox = Inbox(channel, name)
    inbox.stays_at(3)
    channel.basic_ack(inbox[0][0].delivery_tag)
    inbox.stays_at(4)
    channel.basic_ack(inbox[3][0].delivery_tag, multiple=True)
    inbox.stays_at(7)
    same(inbox.bodies(), numbers(0, 7))


@check
def acknowledged_messages_are_gone_and_the_others_are_not(broker):
    connection = broker.connect()
    channel = connection.channel()
    name = broker.queue(channel)
    fill(channel, name, 6)
    inbox = Inbox(channel, name)
    inbox.wait_for(6)
    channel.basic_ack(inbox[4][0].delivery_tag)
    channel.basic_ack(inbox[2][0].delivery_tag, multiple=True)
    connection.close()
    same(drain(broker.channel(), name), [b"3", b"5"], "what nobody acknowledged")


@check
def a_consumer_without_acknowledgement_empties_the_queue(broker):
    channel = broker.channel()
    name = broker.queue(channel)
    fill(channel, name, 50)
    channel.basic_qos(prefetch_count=1)  # does not apply to it
    inbox = Inbox(channel, name, auto_ack=True)
    inbox.stays_at(50)
    channel.close()
    same(ready(broker.channel(), name), 0, "ready messages")


@check
def consumers_take_turns(broker):
    channel = broker.channel()
    name = broker.queue(channel)
    first, second = Inbox(channel, name), Inbox(channel, name)
    fill(channel, name, 10)
    first.wait_for(5)
    second.wait_for(5)
    same(sorted(first.bodies() + second.bodies()), numbers(0, 10))
    same((len(first), len(second)), (5, 5), "shares")


@check
def get_tells_how_many_are_left(broker):
    channel = broker.channel()
    channel.confirm_delivery()
    name = broker.queue(channel)
    fill(channel, name, 2)
    method, _, body = channel.basic_get(name)
    same((method.message_count, method.redelivered, method.routing_key, body), (1, False, name, b"0"))
    channel.basic_ack(method.delivery_tag)
    method, _, body = channel.basic_get(name, auto_ack=True)
    same((method.message_count, method.delivery_tag, body), (0, 2, b"1"))
    same(channel.basic_get(name), (None, None, None), "get from an empty queue")


@check
def a_cancelled_consumer_gets_nothing_more_and_keeps_what_it_has(broker):
    channel = broker.channel()
    name = broker.queue(channel)
    fill(channel, name, 1)
    delivered = []
    tag = channel.basic_consume(name, lambda _channel, method, *_: delivered.append(method.delivery_tag))
    while not delivered:
        channel.connection.process_data_events(time_limit=1)
    channel.basic_cancel(tag)
    fill(channel, name, 2)
    channel.connection.sleep(QUIET)
    same(len(delivered), 1, "deliveries")
    channel.basic_ack(delivered[0])
    same(ready(channel, name), 2, "ready messages")


@check
def deleting_the_queue_cancels_its_consumers(broker):
    channel = broker.channel()
    name = broker.queue(channel)
    cancelled = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    inbox = Inbox(channel, name)
    broker.channel().queue_delete(name)
    while not cancelled:
        channel.connection.process_data_events(time_limit=1)
    same(cancelled, [inbox.tag])
    broker.queue(channel)  # the channel is still open


@check
def channels_of_one_connection_do_not_disturb_each_other(broker):
    connection = broker.connect()
    one, two = connection.channel(), connection.channel()
    names = broker.queue(one), broker.queue(two)
    inboxes = Inbox(one, names[0]), Inbox(two, names[1])
    for _ in range(100):
        one.basic_publish("", names[1], b"for two" * 1000)
        two.basic_publish("", names[0], b"for one" * 1000)
    for inbox, body in zip(inboxes, (b"for one", b"for two"), strict=True):
        inbox.wait_for(100)
        same(set(inbox.bodies()), {body * 1000})
        same([method.delivery_tag for method, _, _ in inbox], list(range(1, 101)), "delivery tags")
    one.close()
    two.basic_ack(100, multiple=True)
    same(ready(two, names[0]), 100, "requeued by the closed channel")
