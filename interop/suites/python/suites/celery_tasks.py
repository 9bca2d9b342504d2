"""Celery, with a worker in a process of its own."""

import contextlib
import functools
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from celery import chain, group
from celery.exceptions import TaskRevokedError

from harness import QUIET, SOON, check, fails_with, fresh_name, holds, same

#: Seconds until a result must be there. The slowest are waited for while a worker starts.
RESULT_LIMIT = 15

os.environ["SUITES_QUEUE"] = fresh_name("celery")
from suites.celery_app import QUEUE, add, app, fail_twice, give_up, outlive, total  # noqa: E402


@contextlib.contextmanager
def worker(*options):
    """A worker that has said it is ready; what it logged is shown if the body fails."""
    command = [sys.executable, "-m", "celery", "-A", "suites.celery_app", "worker", "--loglevel", "INFO"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [*command, "--hostname", fresh_name("worker") + "@suites", *options],
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )
        try:
            wait_for(lambda: " ready." in read(log), "the worker is ready")
            yield process
            if process.poll() is None:
                process.terminate()
                same(process.wait(SOON), 0, "exit status of the worker")
        except BaseException:
            print(read(log), file=sys.stderr)
            raise
        finally:
            if process.poll() is None:
                # The group is the worker's own, with its children.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def read(log):
    """What has been written to the file so far, by whomever."""
    return os.pread(log.fileno(), 1 << 20, 0).decode(errors="replace")


def wait_for(condition, what):
    """Wait until `condition` holds."""
    deadline = time.monotonic() + RESULT_LIMIT
    while not condition():
        holds(time.monotonic() < deadline, f"{what} within {RESULT_LIMIT} s")
        time.sleep(0.05)


def celery_check(function):
    """Put `function` on the list of checks, and have the queue and exchanges of the tasks deleted after it."""

    @check
    @functools.wraps(function)
    def checked(broker):
        # The application declares its queue once and remembers, but the queue went with the check before.
        with app.connection_for_write() as connection:
            app.amqp.queues[QUEUE](connection.default_channel).declare()
        try:
            function()
        finally:
            channel = broker.channel()
            channel.queue_delete(QUEUE)
            for exchange in (QUEUE, f"{QUEUE}.events", f"{QUEUE}.control.pidbox"):
                channel.exchange_delete(exchange)

    return checked


@celery_check
def tasks_run_and_their_results_come_back():
    with worker("--concurrency", "2"):
        same(add.delay(2, 3).get(timeout=RESULT_LIMIT), 5, "a result")
        results = [add.delay(number, number) for number in range(100)]
        same([result.get(timeout=RESULT_LIMIT) for result in results], [2 * number for number in range(100)], "results")
        with fails_with(ValueError, "no such order"):
            give_up.delay().get(timeout=RESULT_LIMIT)


@celery_check
def a_failed_task_is_tried_again_after_its_countdown():
    with worker("--concurrency", "2"):
        begun = time.monotonic()
        same(fail_twice.delay().get(timeout=RESULT_LIMIT), 2, "retries")
        holds(time.monotonic() - begun >= 0.6, "two countdowns have gone by")


@celery_check
def a_countdown_holds_a_task_back_and_an_expired_one_is_not_run():
    with worker("--concurrency", "2"):
        begun = time.monotonic()
        same(add.apply_async((1, 1), countdown=1).get(timeout=RESULT_LIMIT), 2, "the delayed result")
        holds(time.monotonic() - begun >= 1, "the countdown has gone by")
        with fails_with(TaskRevokedError, "expired"):
            add.apply_async((1, 1), countdown=0.5, expires=0.1).get(timeout=RESULT_LIMIT)


@celery_check
def chains_and_groups_pass_results_on():
    with worker("--concurrency", "2"):
        same(chain(add.s(1, 2), add.s(3), add.s(4)).delay().get(timeout=RESULT_LIMIT), 10, "the end of the chain")
        results = group(add.s(number, number) for number in range(10)).delay()
        same(results.get(timeout=RESULT_LIMIT), [2 * number for number in range(10)], "the results of the group")
        same(total.delay([3, 4]).get(timeout=RESULT_LIMIT), 7, "a list as argument")


@celery_check
def workers_answer_remote_control():
    with worker("--concurrency", "1"), worker("--concurrency", "1"):
        replies = app.control.ping(timeout=SOON, limit=2)
        same(sorted(next(iter(reply.values()))["ok"] for reply in replies), ["pong", "pong"], "answers")
        statistics = app.control.inspect(timeout=2, limit=2).stats()
        same({stats["broker"]["transport"] for stats in statistics.values()}, {"amqp"}, "transports")


@celery_check
def without_a_worker_a_task_waits_for_one():
    result = add.delay(20, 22)
    time.sleep(QUIET)
    same(result.ready(), False, "ready")
    with worker("--pool", "solo"):
        same(result.get(timeout=RESULT_LIMIT), 42, "the result")


@celery_check
def the_task_of_a_killed_worker_is_given_to_another():
    with tempfile.TemporaryDirectory() as directory:
        marker = pathlib.Path(directory, "begun")
        with worker("--pool", "solo") as first:
            result = outlive.delay(str(marker))
            wait_for(marker.exists, "the task has begun")
            first.kill()
            first.wait()
            with worker("--pool", "solo"):
                same(result.get(timeout=RESULT_LIMIT), True, "redelivered")
