"""Logging in, losing the connection, coming back and keeping it alive."""

import asyncio

import aio_pika
from aio_pika.exceptions import InvalidFrameError, ProbableAuthenticationError
from yarl import URL

from harness import QUIET, broker_url, check, fails_with, fresh_name, holds, same
from relay import Relay

from .broker import Inbox, counts, end_of, publish, send


def relay():
    """A relay in front of the broker."""
    url = URL(broker_url())
    return Relay(url.host, url.port or 5672)


def through(relay, **query):
    """The address of the broker by way of `relay`."""
    return URL(broker_url()).with_host("127.0.0.1").with_port(relay.port).update_query(query)


@check
async def a_wrong_password_is_refused(broker):
    with fails_with(ProbableAuthenticationError, "ACCESS_REFUSED"):
        await broker.connect(URL(broker_url()).with_password("not the password"))


@check
async def an_unknown_virtual_host_is_refused(broker):
    # aio-pika does not look into the close; it tells only that one came in place of open-ok.
    with fails_with(InvalidFrameError, "Connection.Close"):
        await broker.connect(URL(broker_url()).with_path("/" + fresh_name("vhost")))


@check
async def a_lost_connection_gives_its_messages_back_in_order(broker):
    with relay() as lossy:
        connection = await broker.connect(through(lossy))
        queue = await broker.queue(await connection.channel())
        await send(queue, *(b"%d" % number for number in range(20)))
        inbox = await Inbox.of(queue)
        await inbox.wait_for(20)
        await inbox[4].ack(multiple=True)
        # The answer also tells that the ack got through.
        same(await counts(queue.channel, queue), (0, 1), "messages and consumers")
        ended = end_of(connection)
        lossy.cut()
        await ended

    queue = await (await broker.channel()).get_queue(queue.name)
    inbox = await Inbox.of(queue)
    await inbox.wait_for(15)
    same(inbox.bodies(), [b"%d" % number for number in range(5, 20)])
    same(set(inbox.redelivered()), {True}, "redelivered")


@check
async def a_robust_connection_comes_back_with_its_queues_and_consumers(broker):
    with relay() as lossy:
        connection = await broker.connect(
            through(lossy, reconnect_interval="0.1"), connect=aio_pika.connect_robust
        )
        channel = await connection.channel()
        queue = await broker.queue(channel, exclusive=True)
        inbox = await Inbox.of(queue)
        await send(queue, b"before")
        await inbox.wait_for(1)
        back = asyncio.Event()
        connection.reconnect_callbacks.add(lambda *_: back.set())
        lossy.cut()
        await back.wait()
        await channel.ready()
        await publish(channel, "", queue.name, b"after")
        await inbox.wait_for(2)
        same(inbox.bodies(), [b"before", b"after"])
        await connection.close()


@check
async def heartbeats_keep_an_idle_connection_alive(broker):
    connection = await broker.connect(URL(broker_url()).update_query(heartbeat=1))
    channel = await connection.channel()
    queue = await broker.queue(channel)
    await asyncio.sleep(4)  # more than the three intervals after which either side would have given up
    same(await counts(channel, queue), (0, 0), "messages and consumers")


@check
async def a_silent_client_is_dropped(broker):
    with relay() as lossy:
        connection = await broker.connect(through(lossy, heartbeat=1))
        ended = end_of(connection)
        lossy.mute()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await ended
        waited = loop.time() - began
    # After two to three intervals without a byte; sooner would drop peers that are only slow.
    holds(2 - QUIET < waited < 6, f"dropped after {waited:.1f} s, want 2 to 3 s and some room")
