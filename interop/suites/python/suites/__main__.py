"""Runs the checks of one module against AMQP_URL: `python -m suites celery_tasks`."""

import importlib
import signal
import sys

from harness import CHECK_LIMIT, SOON, Report, all_checks

from pika_suite.broker import Broker


def on_alarm(_signal, _frame):
    raise TimeoutError("the check took too long")


def run(function):
    """Run one check, then clean up after it. Returns the error that ended it, if any."""
    broker = Broker()
    failures = []
    for limit, step in ((CHECK_LIMIT, lambda: function(broker)), (SOON, broker.clean_up)):
        # The blocking calls of the clients have no deadline of their own; the alarm ends them from outside.
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
    # Importing a module puts its checks on the list.
    importlib.import_module(f"suites.{sys.argv[1]}")
    report = Report()
    for function in all_checks():
        report.add(function, run(function))
    return report.finish()


sys.exit(main())
