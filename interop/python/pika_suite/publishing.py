"""Publisher confirms and returned messages."""

from pika import BasicProperties
from pika.exceptions import NackError, UnroutableError

from harness import check, fails_with, same

from .broker import drain, ready


@check
def every_publish_is_confirmed(broker):
    channel = broker.channel()
    channel.confirm_delivery()
    name = broker.queue(channel, durable=True)
    for number in range(200):
        mode = 1 + number % 2  # transient and persistent in turn
        channel.basic_publish("", name, b"%d" % number, BasicProperties(delivery_mode=mode))
    same(ready(channel, name), 200, "ready messages")


@check
def an_unroutable_mandatory_message_returns_before_its_confirm(broker):
    channel = broker.channel()
    channel.confirm_delivery()
    name = broker.queue_name()
    # pika raises only when the return has arrived by the time of the confirm.
    with fails_with(UnroutableError) as caught:
        channel.basic_publish("", name, b"come back", BasicProperties(message_id="m1"), mandatory=True)
    (returned,) = caught[0].messages
    same((returned.method.reply_code, returned.method.reply_text), (312, "NO_ROUTE"))
    same((returned.method.exchange, returned.method.routing_key), ("", name))
    same((returned.properties.message_id, returned.body), ("m1", b"come back"))


@check
def a_routed_mandatory_message_is_not_returned(broker):
    channel = broker.channel()
    channel.confirm_delivery()
    name = broker.queue(channel)
    channel.basic_publish("", name, b"stay", mandatory=True)
    same(drain(channel, name), [b"stay"])


@check
def an_unroutable_message_is_confirmed_and_forgotten(broker):
    channel = broker.channel()
    returned = []
    channel.add_on_return_callback(lambda *message: returned.append(message))
    channel.confirm_delivery()
    channel.basic_publish("", broker.queue_name(), b"nobody")
    same(returned, [])


@check
def a_mandatory_message_returns_without_confirms_too(broker):
    channel = broker.channel()
    returned = []
    channel.add_on_return_callback(lambda *message: returned.append(message[-1]))
    channel.basic_publish("", broker.queue_name(), b"come back", mandatory=True)
    while not returned:
        channel.connection.process_data_events(time_limit=1)
    same(returned, [b"come back"])


@check
def a_full_queue_that_rejects_publishes_says_nack(broker):
    channel = broker.channel()
    channel.confirm_delivery()
    name = broker.queue(channel, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.basic_publish("", name, b"fits")
    with fails_with(NackError):
        channel.basic_publish("", name, b"does not")
    same(drain(channel, name), [b"fits"])
