"""A socket to a broker, and what has come from it."""

import socket
import time


class Hang(Exception):
    """The broker did not answer within the time that was allowed."""


class Stream:
    """`alive` says whether anything may still be sent and read. `_take` is for each protocol to define: it takes the next
    thing out of `buffer`, or gives `None` when that has not come as a whole.
    """

    def __init__(self, address, timeout):
        self.timeout = timeout
        self.socket = socket.create_connection(address, timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.alive = True

    def write(self, data):
        """Sends bytes as they are. A connection that is gone swallows them; reading notices its end."""
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def next(self):
        """The next thing; `None` once the socket has ended. Raises `Hang` when nothing comes."""
        deadline = time.monotonic() + self.timeout
        while True:
            taken = self._take()
            if taken:
                return taken
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = self.socket.recv(1 << 18)
            except TimeoutError:
                raise Hang(f"nothing came for {self.timeout:g} s") from None
            except OSError:
                data = b""
            if not data:
                self.end()
                return None
            self.buffer += data

    def end(self):
        self.alive = False
        self.socket.close()
