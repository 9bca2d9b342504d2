"""Runs the pika suite against AMQP_URL: `python -m pika_suite`."""

import signal
import sys

from harness import CHECK_LIMIT, SOON, Report, all_checks

from .broker import Broker

# Importing a module puts its checks on the list; the order here is the order in which they run.
from . import declaring, routing, publishing, consuming, settling, content, connecting, errors  # noqa: F401


def on_alarm(_signal, _frame):
    raise TimeoutError("the check took too long")


def run(function):
    """Run one check, then clean up after it. Returns the error that ended it, if any."""
    broker = Broker()
    failures = []
    for limit, step in ((CHECK_LIMIT, lambda: function(broker)), (SOON, broker.clean_up)):
        # pika's blocking calls have no deadline of their own; the alarm ends them from outside.
        signal.alarm(limit)
        try:
            step()
        except Exception as error:  # whatever it is, it is this check's failure and the next one goes on
            failures.append(error)
        finally:
            signal.alarm(0)
    return failures[0] if failures else None


def main():
    signal.signal(signal.SIGALRM, on_alarm)
    report = Report()
    for function in all_checks():
        report.add(function, run(function))
    return report.finish()


sys.exit(main())
