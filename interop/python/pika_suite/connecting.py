"""Logging in, losing the connection and keeping it alive."""

import time

from pika import PlainCredentials
from pika.exceptions import AMQPConnectionError, ProbableAccessDeniedError, ProbableAuthenticationError

from harness import QUIET, SOON, check, fails_with, fresh_name, holds, same
from relay import Relay

from .broker import Inbox, ready


def relay_to(broker):
    """A relay in front of the broker."""
    parameters = broker.parameters()
    return Relay(parameters.host, parameters.port)


@check
def a_wrong_password_is_refused(broker):
    user = broker.parameters().credentials.username
    with fails_with(ProbableAuthenticationError, "403", "ACCESS_REFUSED"):
        broker.connect(credentials=PlainCredentials(user, "not the password"))


@check
def an_unknown_virtual_host_is_refused(broker):
    with fails_with(ProbableAccessDeniedError, "530", "NOT_ALLOWED"):
        broker.connect(virtual_host=fresh_name("vhost"))


@check
def a_lost_connection_gives_its_messages_back_in_order(broker):
    with relay_to(broker) as relay:
        doomed = broker.connect(host="127.0.0.1", port=relay.port).channel()
        name = broker.queue(doomed)
        for number in range(20):
            doomed.basic_publish("", name, b"%d" % number)
        inbox = Inbox(doomed, name)
        inbox.wait_for(20)
        doomed.basic_ack(5, multiple=True)
        same(ready(doomed, name), 0, "ready messages")  # the answer also tells that the ack got through
        relay.cut()
        with fails_with(AMQPConnectionError):
            doomed.connection.sleep(SOON)

    channel = broker.channel()
    inbox = Inbox(channel, name)
    inbox.wait_for(15)
    same(inbox.bodies(), [b"%d" % number for number in range(5, 20)])
    same(set(inbox.redelivered()), {True}, "redelivered")


@check
def heartbeats_keep_an_idle_connection_alive(broker):
    connection = broker.connect(heartbeat=1)
    channel = connection.channel()
    name = broker.queue(channel)
    connection.sleep(4)  # more than the three intervals after which either side would have given up
    same(ready(channel, name), 0, "ready messages")


@check
def a_silent_client_is_dropped(broker):
    with relay_to(broker) as relay:
        connection = broker.connect(host="127.0.0.1", port=relay.port, heartbeat=1)
        relay.mute()
        began = time.monotonic()
        with fails_with(AMQPConnectionError):
            connection.sleep(SOON)
        waited = time.monotonic() - began
    # After two to three intervals without a byte; sooner would drop peers that are only slow.
    holds(2 - QUIET < waited < 6, f"dropped after {waited:.1f} s, want 2 to 3 s and some room")
