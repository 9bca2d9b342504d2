"""What the suites that talk STOMP a little share."""

import threading

import stomp

from harness import SOON, holds, same


class Listener(stomp.ConnectionListener):
    """Keeps the body of the last message; `heard` is set once there is one."""

    def __init__(self):
        self.heard = threading.Event()
        self.body = None

    def on_message(self, frame):
        self.body = frame.body
        self.heard.set()

    def is_heard(self, connection, queue):
        """Send a message through a queue, which is gone afterwards, and close the connection."""
        destination = f"/queue/{queue}"
        connection.subscribe(destination, "1", headers={"auto-delete": "true"})
        connection.send(destination, "hello")
        holds(self.heard.wait(SOON), "the message comes")
        same(self.body, "hello")
        connection.disconnect()
