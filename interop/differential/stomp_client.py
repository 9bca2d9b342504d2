"""One STOMP connection to a broker, driven by hand, and the bytes of frames."""

import re

from stream import Stream

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


class Connection(Stream):
    """What is taken from the stream are frames."""

    def __init__(self, address, timeout=10.0):
        super().__init__(address, timeout)
        self.version = "1.0"

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
