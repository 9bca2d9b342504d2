"""The broker under test as a check of the pika suite sees it."""

import contextlib
import time

import pika
from pika.exceptions import ChannelClosedByBroker

from harness import QUIET, SOON, broker_url, fails_with, fresh_name, holds


class Broker:
    """Connections and names that last for one check."""

    def __init__(self):
        self._connections = []
        self._queues = []
        self._exchanges = []

    def parameters(self, **changes):
        """The connection parameters of the broker with some of them replaced."""
        parameters = pika.URLParameters(broker_url())
        parameters.socket_timeout = SOON
        parameters.stack_timeout = SOON
        parameters.blocked_connection_timeout = SOON
        for name, value in changes.items():
            setattr(parameters, name, value)
        return parameters

    def connect(self, **changes):
        """A new connection, closed after the check."""
        connection = pika.BlockingConnection(self.parameters(**changes))
        self._connections.append(connection)
        return connection

    def channel(self):
        """A channel on a connection of its own."""
        return self.connect().channel()

    def queue_name(self):
        """A fresh queue name; a queue of that name is deleted after the check."""
        self._queues.append(fresh_name("queue"))
        return self._queues[-1]

    def exchange_name(self):
        """A fresh exchange name; an exchange of that name is deleted after the check."""
        self._exchanges.append(fresh_name("exchange"))
        return self._exchanges[-1]

    def queue(self, channel, **options):
        """Declare a fresh queue and return its name."""
        name = self.queue_name()
        channel.queue_declare(name, **options)
        return name

    def exchange(self, channel, kind, **options):
        """Declare a fresh exchange and return its name."""
        name = self.exchange_name()
        channel.exchange_declare(name, kind, **options)
        return name

    def clean_up(self):
        """Close what the check opened and delete what it declared."""
        for connection in self._connections:
            # A connection may be in any state here: closed by the check or the broker, or left by the alarm
            # in the middle of a call.
            with contextlib.suppress(Exception):
                connection.close()
        if not (self._queues or self._exchanges):
            return
        connection = pika.BlockingConnection(self.parameters())
        channel = connection.channel()
        for name in self._queues:
            channel.queue_delete(name)
        for name in self._exchanges:
            channel.exchange_delete(name)
        connection.close()


class Inbox(list):
    """The (method, properties, body) triples that one consumer was given so far."""

    def __init__(self, channel, queue, **options):
        super().__init__()
        self._channel = channel
        self.tag = channel.basic_consume(queue, self._receive, **options)

    def _receive(self, _channel, method, properties, body):
        self.append((method, properties, body))

    def wait_for(self, count):
        """Wait until `count` messages are there in all."""
        deadline = time.monotonic() + SOON
        while len(self) < count:
            left = deadline - time.monotonic()
            holds(left > 0, f"{count} deliveries in {SOON} s; there are {len(self)}")
            self._channel.connection.process_data_events(time_limit=left)

    def stays_at(self, count):
        """Fail unless there are `count` messages, and still are a little later."""
        self.wait_for(count)
        self._channel.connection.process_data_events(time_limit=0)
        self._channel.connection.sleep(QUIET)
        holds(len(self) == count, f"{count} deliveries; there are {len(self)}")

    def bodies(self):
        """The bodies in the order of their arrival."""
        return [body for _, _, body in self]

    def redelivered(self):
        """The redelivered flags in the order of arrival."""
        return [method.redelivered for method, _, _ in self]


def hold(channel, queue, count=1):
    """Get `count` messages and keep them unacknowledged; their delivery tags in order."""
    tags = []
    for _ in range(count):
        method, _, _ = channel.basic_get(queue)
        holds(method is not None, f"the queue has message {len(tags) + 1} of {count}")
        tags.append(method.delivery_tag)
    return tags


def drain(channel, queue):
    """Get every ready message of `queue` with automatic acknowledgement; the bodies in order."""
    bodies = []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return bodies
        bodies.append(body)


def ready(channel, queue):
    """How many messages of `queue` are ready for delivery."""
    return channel.queue_declare(queue, passive=True).method.message_count


@contextlib.contextmanager
def channel_closes(code, *words):
    """Fail unless the body ends with the broker closing the channel with `code` and a text with `words`."""
    with fails_with(ChannelClosedByBroker, *words) as caught:
        yield
    holds(caught[0].reply_code == code, f"reply code {code}; it is {caught[0].reply_code}")
