"""Runs the aio-pika suite against AMQP_URL: `python -m aio_pika_suite`."""

import asyncio
import logging
import sys

from harness import CHECK_LIMIT, SOON, Report, all_checks

from .broker import Broker

# Importing a module puts its checks on the list; the order here is the order in which they run.
from . import declaring, routing, publishing, consuming, settling, content, connecting, errors  # noqa: F401


async def run(function):
    """Run one check, then clean up after it. Returns the error that ended it, if any."""
    broker = Broker()
    try:
        try:
            async with asyncio.timeout(CHECK_LIMIT):
                await function(broker)
        finally:
            async with asyncio.timeout(SOON):
                await broker.clean_up()
    except Exception as error:  # whatever it is, it is this check's failure and the next one goes on
        return error
    return None


async def main():
    # The errors that the checks provoke are expected; aio-pika would log each of them.
    logging.disable(logging.CRITICAL)
    report = Report()
    for function in all_checks():
        report.add(function, await run(function))
    return report.finish()


sys.exit(asyncio.run(main()))
