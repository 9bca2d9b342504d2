"""A client like any other, in a process of its own: it publishes and consumes, and measures how long each message takes.

    victim.py PORT SECONDS

Says `ready` on a line of its own once it consumes. From then on it goes on for so many seconds, and until its standard input ends.
Then it prints a JSON list of milliseconds, one for each message.
"""

import asyncio
import json
import sys
import time

from client import VICTIM, Client
from wire import content, frame, method, METHOD

#: Seconds between two messages.
PAUSE = 0.005


async def main(port, seconds):
    client = await Client.open(port, "victim", "victim", VICTIM)
    client.send(
        method(1, "queue.declare", queue="victim", auto_delete=True),
        method(1, "basic.consume", queue="victim", no_ack=True),
    )
    await client.expect("queue.declare-ok")
    await client.expect("basic.consume-ok")
    print("ready", flush=True)
    told_to_end = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
    message = method(1, "basic.publish", routing_key="victim") + content(1, {}, b"x" * 100)
    times = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends or not told_to_end.done():
        sent = time.monotonic()
        client.send(message)
        await client.expect("basic.deliver")
        times.append(1000 * (time.monotonic() - sent))
        await asyncio.sleep(PAUSE)
    client.leave()
    json.dump(times, sys.stdout)


asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
