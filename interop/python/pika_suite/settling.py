"""Reject, nack and requeue."""

from harness import check, same

from .broker import Inbox, drain, hold, ready


def filled_queue(broker, channel, bodies):
    """A fresh queue with one message for each of `bodies`."""
    channel.confirm_delivery()
    name = broker.queue(channel)
    for body in bodies:
        channel.basic_publish("", name, body)
    return name


@check
def a_requeued_message_keeps_its_place(broker):
    channel = broker.channel()
    name = filled_queue(broker, channel, [b"0", b"1", b"2", b"3", b"4"])
    held = hold(channel, name, 3)
    channel.basic_reject(held[1], requeue=True)
    channel.basic_nack(held[0], requeue=True)
    channel.basic_reject(held[2], requeue=True)
    inbox = Inbox(channel, name)
    inbox.wait_for(5)
    same(inbox.bodies(), [b"0", b"1", b"2", b"3", b"4"])
    same(inbox.redelivered(), [True, True, True, False, False], "redelivered")


@check
def nack_of_several_requeues_them_in_order(broker):
    channel = broker.channel()
    name = filled_queue(broker, channel, [b"0", b"1", b"2", b"3"])
    held = hold(channel, name, 3)
    channel.basic_nack(held[1], multiple=True, requeue=True)
    same(drain(channel, name), [b"0", b"1", b"3"])
    channel.basic_ack(held[2])


@check
def a_message_rejected_without_requeue_is_gone(broker):
    channel = broker.channel()
    name = filled_queue(broker, channel, [b"0", b"1", b"2", b"3"])
    held = hold(channel, name, 3)
    channel.basic_reject(held[0], requeue=False)
    channel.basic_nack(0, multiple=True, requeue=False)
    same(drain(channel, name), [b"3"])
    channel.close()
    same(ready(broker.channel(), name), 0, "ready messages")


@check
def a_rejected_message_is_dead_lettered(broker):
    channel = broker.channel()
    channel.confirm_delivery()
    grave = broker.queue(channel)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": grave}
    name = broker.queue(channel, arguments=arguments)
    channel.basic_publish("", name, b"unwanted")
    channel.basic_reject(hold(channel, name)[0], requeue=False)
    inbox = Inbox(channel, grave)
    inbox.wait_for(1)
    method, properties, body = inbox[0]
    same((method.redelivered, body), (False, b"unwanted"))
    death = properties.headers["x-death"][0]
    same((death["queue"], death["reason"], death["count"]), (name, "rejected", 1))


@check
def a_closed_channel_gives_its_messages_back_in_order(broker):
    connection = broker.connect()
    channel = connection.channel()
    name = filled_queue(broker, channel, [b"0", b"1", b"2", b"3"])
    inbox = Inbox(channel, name)
    inbox.wait_for(4)
    channel.basic_ack(inbox[1][0].delivery_tag)
    channel.close()
    same(drain(connection.channel(), name), [b"0", b"2", b"3"])


@check
def recover_redelivers_what_is_unacknowledged(broker):
    channel = broker.channel()
    name = filled_queue(broker, channel, [b"0", b"1"])
    inbox = Inbox(channel, name)
    inbox.wait_for(2)
    channel.basic_recover(requeue=True)
    inbox.wait_for(4)
    same(inbox.bodies(), [b"0", b"1", b"0", b"1"])
    same(inbox.redelivered(), [False, False, True, True], "redelivered")
