"""What strace has written: which bytes were written where, what was synced, and what was sent, in order."""

import re

#: `PID SECONDS.MICROS call(...) = result`; a call that others interrupt is in two lines.
LINE = re.compile(r"^(\d+)\s+(\d+\.\d+)\s+(.*)$")
UNFINISHED = " <unfinished ...>"
RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$")
CALL = re.compile(r"^(\w+)\((.*)\)\s+=\s+(-?\d+)", re.DOTALL)
DESCRIPTOR = re.compile(r"^(\d+)<(.*?)>(?:, |$)", re.DOTALL)
PATH = re.compile(r"(?:\\x[0-9a-f]{2})+")
STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


class Call:
    """One system call that has succeeded. `began` and `ended` are places in the trace."""

    __slots__ = ("began", "data", "ended", "name", "path", "result")

    def __init__(self, name, began, ended, path, data, result):
        self.name = name
        self.began = began
        self.ended = ended
        #: What strace calls the descriptor: a path, or `socket:[...]` or `TCP:[...]`.
        self.path = path
        self.data = data
        self.result = result


def calls(lines):
    """The calls of a trace in the order in which they ended, which is the order of its lines."""
    pending = {}
    for at, line in enumerate(lines):
        match = LINE.match(line.rstrip("\n"))
        if not match:
            continue
        thread, _, rest = match.groups()
        if rest.endswith(UNFINISHED):
            pending[thread] = (at, rest[: -len(UNFINISHED)])
            continue
        began = at
        resumed = RESUMED.match(rest)
        if resumed:
            began, first = pending.pop(thread)
            rest = first + resumed.group(2)
        call = CALL.match(rest)
        if not call:
            continue
        name, arguments, result = call.groups()
        descriptor = DESCRIPTOR.match(arguments)
        if not descriptor or int(result) < 0:
            continue
        text = "".join(STRING.findall(arguments))
        data = bytes.fromhex(text.replace("\\x", ""))
        if name != "fdatasync" and name != "fsync":
            # What was to be written and was not comes in a later call.
            data = data[: int(result)]
        yield Call(name, began, at, plain(descriptor.group(2)), data, int(result))


def plain(name):
    """A path, which is in hexadecimal as well, or what a socket is called."""
    path = PATH.match(name)
    return bytes.fromhex(path.group().replace("\\x", "")).decode(errors="replace") if path else name
