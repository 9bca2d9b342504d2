"""Declaring, purging and deleting queues and exchanges."""

from harness import check, holds, same

from .broker import Inbox, channel_closes, drain, hold, ready


@check
def a_named_queue_is_declared_and_empty(broker):
    channel = broker.channel()
    name = broker.queue_name()
    declared = channel.queue_declare(name, durable=True).method
    same((declared.queue, declared.message_count, declared.consumer_count), (name, 0, 0))
    Inbox(channel, name)
    declared = channel.queue_declare(name, passive=True).method
    same(declared.consumer_count, 1, "consumers")


@check
def a_server_names_queues_apart(broker):
    channel = broker.channel()
    first = channel.queue_declare("", exclusive=True).method.queue
    second = channel.queue_declare("", exclusive=True).method.queue
    holds(first.startswith("amq.gen-"), f"{first} starts with amq.gen-")
    holds(first != second, "two queues have two names")


@check
def an_exclusive_queue_goes_with_its_connection(broker):
    owner = broker.connect()
    name = broker.queue(owner.channel(), exclusive=True)
    owner.close()
    with channel_closes(404, "no queue", name):
        broker.channel().queue_declare(name, passive=True)


@check
def an_auto_delete_queue_goes_with_its_last_consumer(broker):
    channel = broker.channel()
    name = broker.queue(channel, auto_delete=True)
    first, second = Inbox(channel, name), Inbox(channel, name)
    channel.basic_cancel(first.tag)
    same(channel.queue_declare(name, passive=True).method.consumer_count, 1, "consumers")
    channel.basic_cancel(second.tag)
    with channel_closes(404, name):
        channel.queue_declare(name, passive=True)


@check
def queue_arguments_take_effect(broker):
    channel = broker.channel()
    channel.confirm_delivery()
    arguments = {"x-max-length": 2, "x-message-ttl": 60_000, "x-overflow": "drop-head"}
    name = broker.queue(channel, arguments=arguments)
    for body in (b"1", b"2", b"3"):
        channel.basic_publish("", name, body)
    same(drain(channel, name), [b"2", b"3"], "what a queue of two keeps")


@check
def declaring_the_same_again_changes_nothing(broker):
    channel = broker.channel()
    channel.confirm_delivery()
    options = {"durable": True, "arguments": {"x-max-length": 10}}
    name = broker.queue(channel, **options)
    channel.basic_publish("", name, b"kept")
    same(channel.queue_declare(name, **options).method.message_count, 1, "ready messages")
    exchange = broker.exchange(channel, "topic", durable=True)
    channel.exchange_declare(exchange, "topic", durable=True)


@check
def exchanges_of_every_type_are_declared_and_deleted(broker):
    channel = broker.channel()
    for kind in ("direct", "fanout", "topic", "headers"):
        name = broker.exchange(channel, kind, durable=kind != "fanout")
        channel.exchange_declare(name, passive=True)
        channel.exchange_delete(name)
        with channel_closes(404, "no exchange", name):
            broker.channel().exchange_declare(name, passive=True)


@check
def an_auto_delete_exchange_goes_with_its_last_binding(broker):
    channel = broker.channel()
    exchange = broker.exchange(channel, "fanout", auto_delete=True)
    queue = broker.queue(channel)
    channel.exchange_declare(exchange, passive=True)
    channel.queue_bind(queue, exchange)
    channel.queue_unbind(queue, exchange)
    with channel_closes(404, exchange):
        channel.exchange_declare(exchange, passive=True)


@check
def the_standard_exchanges_are_there(broker):
    channel = broker.channel()
    for name in ("amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match"):
        channel.exchange_declare(name, passive=True)


@check
def deleting_what_is_not_there_is_fine(broker):
    channel = broker.channel()
    same(channel.queue_delete(broker.queue_name()).method.message_count, 0, "messages deleted")
    channel.exchange_delete(broker.exchange_name())


@check
def purge_removes_ready_messages_and_counts_them(broker):
    channel = broker.channel()
    channel.confirm_delivery()
    name = broker.queue(channel)
    for body in (b"1", b"2", b"3"):
        channel.basic_publish("", name, body)
    (held,) = hold(channel, name)
    same(channel.queue_purge(name).method.message_count, 2, "messages purged")
    channel.basic_reject(held, requeue=True)
    same(drain(channel, name), [b"1"], "what was not ready stays")


@check
def delete_counts_the_messages_that_go(broker):
    channel = broker.channel()
    channel.confirm_delivery()
    name = broker.queue(channel)
    channel.basic_publish("", name, b"1")
    channel.basic_publish("", name, b"2")
    same(channel.queue_delete(name).method.message_count, 2, "messages deleted")


@check
def delete_if_empty_spares_a_queue_with_messages(broker):
    channel = broker.channel()
    channel.confirm_delivery()
    name = broker.queue(channel)
    channel.basic_publish("", name, b"precious")
    with channel_closes(406, name, "not empty"):
        channel.queue_delete(name, if_empty=True)
    channel = broker.channel()
    same(ready(channel, name), 1, "ready messages")
    channel.queue_purge(name)
    channel.queue_delete(name, if_empty=True)


@check
def delete_if_unused_spares_a_queue_with_consumers(broker):
    consumer, other = broker.channel(), broker.channel()
    name = broker.queue(consumer)
    inbox = Inbox(consumer, name)
    with channel_closes(406, name, "in use"):
        other.queue_delete(name, if_unused=True)
    consumer.basic_cancel(inbox.tag)
    consumer.queue_delete(name, if_unused=True)


@check
def delete_if_unused_spares_an_exchange_with_bindings(broker):
    channel = broker.channel()
    queue, exchange = broker.queue(channel), broker.exchange(channel, "direct")
    channel.queue_bind(queue, exchange, "key")
    with channel_closes(406, exchange, "in use"):
        channel.exchange_delete(exchange, if_unused=True)
    channel = broker.channel()
    channel.queue_unbind(queue, exchange, "key")
    channel.exchange_delete(exchange, if_unused=True)
