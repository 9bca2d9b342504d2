"""What the Python suites share: the list of checks, their report, and fresh names.

A check is a function whose name says what holds. The `check` decorator puts it on the list; each suite
runs the list in order and prints one line for every entry.
"""

import contextlib
import os
import secrets
import sys
import traceback

#: Where the broker is when AMQP_URL does not say.
DEFAULT_URL = "amqp://guest:guest@127.0.0.1:5672/%2f"

#: Seconds one check may take, the slowest being ten thousand messages on a loaded two-core machine.
CHECK_LIMIT = 30

#: Seconds to wait for something that should happen at once. A third of the checks may run into it before the
#: limit of interop/run for a whole suite ends the report.
SOON = 8

#: Seconds to watch for something that should not happen. A broker that does it does so within one
#: round trip; the rest is room for a busy machine.
QUIET = 0.25

_checks = []


def check(function):
    """Put `function` on the list of checks."""
    _checks.append(function)
    return function


def all_checks():
    """The checks of the suite in the order in which they were defined."""
    return tuple(_checks)


def broker_url():
    """The address under test: AMQP_URL, or a broker on this machine with RabbitMQ's defaults."""
    return os.environ.get("AMQP_URL", DEFAULT_URL)


def fresh_name(kind):
    """A name that no other run uses, such as `interop.queue.5f0c1d2e3b4a5968`."""
    return f"interop.{kind}.{secrets.token_hex(8)}"


def same(got, want, what="value"):
    """Fail unless `got` equals `want`; unlike a bare assert it tells both."""
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def holds(condition, what):
    """Fail unless `condition` is true."""
    if not condition:
        raise AssertionError(f"does not hold: {what}")


@contextlib.contextmanager
def fails_with(exception, *words):
    """Fail unless the body raises `exception` with a text that contains each of `words`.

    Yields a list that afterwards holds the exception, for a closer look.
    """
    caught = []
    try:
        yield caught
    except exception as error:
        text = f"{error!r} {error}"
        missing = [word for word in words if word not in text]
        if missing:
            raise AssertionError(f"the error does not mention {missing}: {text}") from error
        caught.append(error)
    else:
        raise AssertionError(f"{exception.__name__} expected, nothing raised")


class Report:
    """Prints a line for every check and counts them."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def add(self, function, error=None):
        """Note the end of one check: passed, unless an `error` is given."""
        title = function.__name__.replace("_", " ")
        if error is None:
            self.passed += 1
            print(f"ok    {title}", flush=True)
            return
        self.failed += 1
        print(f"FAIL  {title}: {type(error).__name__}: {error}", flush=True)
        traceback.print_exception(error, limit=-4, file=sys.stderr)

    def finish(self):
        """Print the totals and return the exit status. A suite without a check has failed."""
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 0 if self.passed and not self.failed else 1
