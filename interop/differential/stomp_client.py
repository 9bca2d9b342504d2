"""One STOMP connection to a broker, driven by hand, and the bytes of frames."""

import re
import socket
import time

from client import Hang

_ESCAPES = {"\\": "\\\\", "\n": "\\n", ":": "\\c", "\r": "\\r"}
_UNESCAPED = {escape: plain for plain, escape in _ESCAPES.items()}
_ESCAPE = re.compile(r"\\[\\ncr]")


class Frame:
    """A frame that came in. Of a repeated header the first counts."""

    def __init__(self, command, headers, body):
        self.command, self.headers, self.body = command, headers, body


def encode(command, headers, body=b""):
    """The bytes of a frame. Headers are pairs, and may be anything."""
    lines = [command] + [":".join(map(_escape, pair)) for pair in headers]
    return "\n".join(lines).encode() + b"\n\n" + body + b"\0"


def _escape(text):
    return "".join(_ESCAPES.get(character, character) for character in text)


def _unescape(text):
    return _ESCAPE.sub(lambda match: _UNESCAPED[match.group()], text)


class Connection:
    """`alive` says whether anything may still be sent and read."""

    def __init__(self, address, timeout=10.0):
        self.timeout = timeout
        self.socket = socket.create_connection(address, timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.alive = True
        self.version = "1.0"

    def write(self, data):
        """Sends bytes as they are. A connection that is gone swallows them; reading notices its end."""
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def next(self):
        """The next frame; `None` once the socket has ended. Raises `Hang` when nothing comes."""
        deadline = time.monotonic() + self.timeout
        while True:
            frame = self._take()
            if frame:
                return frame
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

    def _take(self):
        while self.buffer[:1] in (b"\n", b"\r"):
            del self.buffer[:1]
        head, found, _ = self.buffer.partition(b"\n\n")
        if not found:
            return None
        command, *lines = head.decode().replace("\r\n", "\n").split("\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers.setdefault(_unescape(name), _unescape(value))
        start = len(head) + 2
        # CONNECTED and RECEIPT have no body and may do without its length.
        if "content-length" in headers:
            end = start + int(headers["content-length"])
            if len(self.buffer) <= end:
                return None
        else:
            end = self.buffer.find(b"\0", start)
            if end < 0:
                return None
        if self.buffer[end] != 0:
            raise ValueError(f"a frame ends with {self.buffer[end]:#x}")
        body = bytes(self.buffer[start:end])
        del self.buffer[:end + 1]
        return Frame(command, headers, body)

    def end(self):
        self.alive = False
        self.socket.close()
