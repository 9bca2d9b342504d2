"""The Celery application that the checks and their workers share."""

import os
import time

from celery import Celery

from harness import broker_url

#: The queue of this run, so that runs may share a broker.
QUEUE = os.environ.get("SUITES_QUEUE", "suites.celery")

app = Celery("suites", broker=broker_url(), backend="rpc://")
app.conf.update(
    task_default_queue=QUEUE,
    # The exchange of remote control has the name of the application's queue; runs do not hear each other.
    control_exchange=QUEUE + ".control",
    event_exchange=QUEUE + ".events",
    result_expires=60,
    task_publish_retry=False,
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
)


@app.task
def add(x, y):
    """The sum."""
    return x + y


@app.task
def total(numbers):
    """The sum of a list, such as the results of a group."""
    return sum(numbers)


@app.task(bind=True, max_retries=3)
def fail_twice(self):
    """Fails at the first two attempts; returns at which it did not."""
    if self.request.retries < 2:
        raise self.retry(countdown=0.3)
    return self.request.retries


@app.task
def give_up():
    """Fails for good."""
    raise ValueError("no such order")


@app.task(bind=True, acks_late=True)
def outlive(self, marker):
    """Sleeps at the first delivery, whose worker is killed; tells at the second that it is one.

    The file `marker` is there once the first has begun.
    """
    if not os.path.exists(marker):
        with open(marker, "w", encoding="utf-8"):
            pass
        time.sleep(60)
    return self.request.delivery_info["redelivered"]
