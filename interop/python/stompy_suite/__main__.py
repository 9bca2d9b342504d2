"""Runs the stomp.py suite against STOMP_URL: `python -m stompy_suite`."""

import signal
import sys

from harness import CHECK_LIMIT, Report, all_checks

# Importing a module puts its checks on the list; the order here is the order in which they run.
from . import connecting, destinations, settling, content, errors  # noqa: F401
from .session import close_all


def on_alarm(_signal, _frame):
    raise TimeoutError("the check took too long")


def main():
    signal.signal(signal.SIGALRM, on_alarm)
    report = Report()
    for function in all_checks():
        error = None
        signal.alarm(CHECK_LIMIT)
        try:
            function()
        except Exception as caught:  # whatever it is, it is this check's failure and the next one goes on
            error = caught
        finally:
            signal.alarm(0)
            close_all()
        report.add(function, error)
    return report.finish()


sys.exit(main())
