"""What the clients have been promised and what they got."""

import collections


class Message:
    """One message in one queue, as the clients know it."""

    __slots__ = ("acknowledged", "confirmed", "delivered", "delivery_safe", "settled")

    def __init__(self):
        #: The broker has taken responsibility for it.
        self.confirmed = False
        #: How often it came.
        self.delivered = 0
        #: A later publish was confirmed after it had come, so the broker must remember that it was delivered.
        self.delivery_safe = False
        #: An acknowledgement was sent, and may have been lost on its way.
        self.acknowledged = False
        #: A later publish on the same channel was confirmed after it had been acknowledged: it must not come back.
        self.settled = False


class Ledger:
    """Every message by queue, producer and number; and the complaints."""

    def __init__(self):
        self._messages = collections.defaultdict(dict)
        self._last_new = {}
        self._wrongs = []
        self.deliveries = 0
        self.repeats = 0
        self.acknowledged = 0

    def _message(self, queue, producer, number):
        of_queue = self._messages[queue]
        key = (producer, number)
        if key not in of_queue:
            of_queue[key] = Message()
        return of_queue[key]

    def confirmed(self, queues, producer, number):
        """A publish that reaches all of `queues` was confirmed."""
        for queue in queues:
            self._message(queue, producer, number).confirmed = True

    def delivered(self, queue, producer, number, redelivered):
        """A consumer was given a message."""
        message = self._message(queue, producer, number)
        what = f"{queue}: message {number} of producer {producer}"
        self.deliveries += 1
        if message.delivered:
            self.repeats += 1
            self.acknowledged += message.acknowledged and not message.settled
            if message.settled:
                self._wrongs.append(f"{what} came back though its acknowledgement was safe")
            if message.delivery_safe and not redelivered:
                self._wrongs.append(f"{what} came again without saying so")
        else:
            last = self._last_new.get((queue, producer), -1)
            if number < last:
                self._wrongs.append(f"{what} came for the first time after number {last}")
            self._last_new[(queue, producer)] = number
        message.delivered += 1
        message.acknowledged = False
        return message

    def missing(self):
        """How many messages were confirmed and have not come."""
        of_queues = self._messages.values()
        return sum(m.confirmed and not m.delivered for of_queue in of_queues for m in of_queue.values())

    def unacknowledged(self):
        """How many confirmed messages have come, and wait to be acknowledged so far as their consumer knows.

        A message may come before it is safe, and be gone with a kill; without a confirm nothing was promised.
        """
        of_queues = self._messages.values()
        return sum(
            m.confirmed and m.delivered > 0 and not m.acknowledged for of_queue in of_queues for m in of_queue.values()
        )

    def wrongs(self):
        """Everything that must not be, as sentences."""
        lost = [
            f"{queue}: message {number} of producer {producer} was confirmed and never came"
            for queue, of_queue in self._messages.items()
            for (producer, number), message in of_queue.items()
            if message.confirmed and not message.delivered
        ]
        count = self.unacknowledged()
        left = [f"{count} messages could not be acknowledged in the end"] if count else []
        few = [] if self.deliveries else ["nothing was delivered, so nothing was tried"]
        return self._wrongs + lost + left + few

    def summary(self):
        of_queues = self._messages.values()
        confirmed = sum(m.confirmed for of_queue in of_queues for m in of_queue.values())
        unconfirmed = sum(bool(m.delivered and not m.confirmed) for of_queue in of_queues for m in of_queue.values())
        return (
            f"{confirmed} confirmed, {unconfirmed} delivered without having been confirmed, "
            f"{self.deliveries} deliveries, {self.repeats} of them repeats; "
            f"{self.acknowledged} repeats of what had been acknowledged shortly before a kill"
        )
