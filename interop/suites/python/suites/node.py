"""The programs for Node that the checks talk to."""

import contextlib
import os
import pathlib
import signal
import subprocess

from harness import CHECK_LIMIT, SOON, holds, same


@contextlib.contextmanager
def program(name, *arguments):
    """The program `name` at work after it has said that it is ready. It must end by itself, without an error."""
    process = start(name, *arguments)
    try:
        same(process.stdout.readline(), "ready\n", f"the first line of {name}")
        yield process
        process.stdin.close()
        same(process.wait(SOON), 0, f"exit status of {name}")
    finally:
        end(process)


def output(name, *arguments):
    """What the program `name` prints until it ends."""
    process = start(name, *arguments)
    try:
        text, _ = process.communicate(timeout=CHECK_LIMIT)
        same(process.returncode, 0, f"exit status of {name}")
        return text
    finally:
        end(process)


def start(name, *arguments):
    """Start the program. It finds amqplib beside itself, where interop/suites/run has put it."""
    directory = os.environ.get("SUITES_NODE")
    holds(directory, "SUITES_NODE says where the programs are")
    return subprocess.Popen(
        ["node", pathlib.Path(directory, name), *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )


def end(process):
    """Leave nothing behind, whatever happened."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(BrokenPipeError):
            pipe.close()
