"""Kills a leveret again and again while clients use it. README.md says what is checked."""

import argparse
import asyncio
import logging
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time

from clients import Consumer, Producer, declare
from ledger import Ledger
from server import Server

ROOT = pathlib.Path(__file__).resolve().parents[2]

#: Seconds that a server lives, at most, before it is killed. Long enough for thousands of messages, short enough that
#: the log's tail is a good part of what there is.
LIFE_MAX = 1.5

#: How many of ten kills come while the server is still starting.
KILLS_AT_START = 2

#: Seconds after the start in which such a kill comes; recovery takes about as long.
START_MAX = 0.04

#: Seconds for the last server to deliver everything that is left.
DRAIN_LIMIT = 30

QUEUES = ("work.0", "work.1", "work.2", "quorum")
COPIES = ("copy.0", "copy.1", "copy.2")
#: Nothing consumes from it before the end.
BACKLOG = "backlog"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="how often the server is killed (50)")
    parser.add_argument("--seed", type=int, default=None, help="where the random moments come from (a fresh one)")
    parser.add_argument("--port", type=int, default=0, help="where the server listens (a free one)")
    parser.add_argument(
        "--leveret",
        default=str(pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"), "release", "leveret")),
        help="the server's program (of the release build)",
    )
    return parser.parse_args()


async def live_and_be_killed(server, rng):
    """One life of the server. Says how long it took to listen, if it came to that."""
    if rng.randrange(10) < KILLS_AT_START:
        await server.spawn()
        await asyncio.sleep(rng.uniform(0, START_MAX))
        await server.kill()
        return None
    started = await server.start()
    await asyncio.sleep(rng.uniform(0.1, LIFE_MAX))
    await server.kill()
    return started


async def drained(ledger, server):
    """Wait until everything that was confirmed has been delivered and acknowledged."""
    deadline = time.monotonic() + DRAIN_LIMIT
    while ledger.missing() or ledger.unacknowledged():
        if not server.is_alive():
            raise RuntimeError("the last server has ended by itself")
        if time.monotonic() > deadline:
            return
        await asyncio.sleep(0.1)


async def run(options, rng, directory):
    server = Server(options.leveret, directory, options.port)
    ledger = Ledger()
    await server.start()
    await declare(server, QUEUES, COPIES, BACKLOG)
    producers = [Producer(server, ledger, number, "", (queue,), rng) for number, queue in enumerate(QUEUES * 2)]
    producers.append(Producer(server, ledger, 90, "copies", COPIES, rng))
    producers.append(Producer(server, ledger, 91, "", (BACKLOG,), rng))
    consumers = [Consumer(server, ledger, queue, rng) for queue in (*QUEUES, *COPIES)]
    tasks = [asyncio.create_task(client.run()) for client in (*producers, *consumers)]
    starts = []
    try:
        await asyncio.sleep(0.5)
        await server.kill()
        for _ in range(options.kills - 1):
            starts.append(await live_and_be_killed(server, rng))
        starts.append(await server.start())
        for producer in producers:
            producer.stop()
        consumers.append(Consumer(server, ledger, BACKLOG, rng))
        tasks.append(asyncio.create_task(consumers[-1].run()))
        await asyncio.gather(*tasks[: len(producers)])
        await drained(ledger, server)
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception():
                raise task.exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.kill()
    starts = [start for start in starts if start is not None]
    print(f"{options.kills} kills, {len(starts)} starts that were waited for, the slowest {max(starts) * 1000:.0f} ms")
    return ledger


def main():
    options = arguments()
    # The library reports each lost connection at length.
    logging.disable(logging.CRITICAL)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    directory = tempfile.mkdtemp(prefix="leveret-crash-")
    ledger = asyncio.run(run(options, random.Random(seed), directory))
    print(ledger.summary())
    wrongs = ledger.wrongs()
    for wrong in wrongs[:20]:
        print(f"FAIL  {wrong}")
    if wrongs:
        print(f"{len(wrongs)} things are wrong; the data directory is {directory}")
        return 1
    shutil.rmtree(directory)
    print("ok    every promise was kept")
    return 0


if __name__ == "__main__":
    sys.exit(main())
