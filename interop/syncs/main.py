"""Publishes to a leveret under strace, and checks the order of its system calls. README.md says what is checked."""

import argparse
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

from client import ACK, COMMIT, COMMIT_OK, SELECT_CONFIRM, SELECT_TX, Client, method
from strace import calls

ROOT = pathlib.Path(__file__).resolve().parents[2]

#: Everything that brings bytes to a file or to a client.
TRACED = "fdatasync,fsync,sync_file_range,write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg"

#: Messages for each way of publishing; a traced call takes a tenth of a millisecond.
ALONE, WINDOWS, TRANSACTIONS = 100, ((100, 10), (1000, 3)), (20, 10)

#: Stands in every body, so that a message is found in what is written.
MARK = b"message-%08d;"
MARKED = re.compile(rb"message-(\d{8});")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--leveret",
        default=str(pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"), "release", "leveret")),
        help="the server's program (of the release build)",
    )
    return parser.parse_args()


class Phase:
    """Messages that were published in one way: numbers from `first` on, confirmed by tags from 1 on."""

    def __init__(self, name, first, count, per_commit=None):
        self.name = name
        self.first = first
        self.count = count
        self.per_commit = per_commit

    def covered(self, sent):
        """Up to which of its messages the client is told that they are safe, by these bytes and all before them."""
        told = 0
        for ids, payload in methods(sent):
            if ids == ACK and self.per_commit is None:
                told = max(told, struct.unpack(">Q", payload[:8])[0])
            elif ids == COMMIT_OK and self.per_commit is not None:
                told += self.per_commit
        return told


def methods(data):
    """The methods in bytes that begin with a frame."""
    while len(data) >= 8:
        kind, _, size = struct.unpack(">BHI", data[:7])
        payload, data = data[7 : 7 + size], data[size + 8 :]
        if kind == 1:
            yield struct.unpack(">HH", payload[:4]), payload[4:]


def publish(address):
    """Publishes in every way. Each has a connection of its own. The phases, in order."""
    phases, number = [], 0

    def bodies(count):
        nonlocal number
        made = [MARK % at + b"." * 100 for at in range(number, number + count)]
        number += count
        return made

    for name, size, rounds in [("one at a time", 1, ALONE), *((f"windows of {n}", n, rounds) for n, rounds in WINDOWS)]:
        client = Client(address)
        client.declare("q")
        client.select(SELECT_CONFIRM)
        phases.append(Phase(name, number, size * rounds))
        for at in range(rounds):
            client.publish("q", bodies(size))
            client.wait_confirmed((at + 1) * size)
    size, rounds = TRANSACTIONS
    client = Client(address)
    client.select(SELECT_TX)
    phases.append(Phase(f"transactions of {size}", number, size * rounds, per_commit=size))
    for _ in range(rounds):
        client.publish("q", bodies(size))
        client.send(method(1, COMMIT))
        client.expect(COMMIT_OK)
    return phases


class Watched:
    """What has happened so far in a trace."""

    def __init__(self, directory):
        self._directory = str(directory)
        #: Of each message: the file it stands in, and where in the trace the write had ended.
        self.written = {}
        #: Of each message: the end of the sync that made it safe, as its place in the trace.
        self.safe = {}
        self._unsynced = {}
        self.syncs = []

    def see(self, call):
        if not call.path.startswith(self._directory):
            return
        if call.name in ("fdatasync", "fsync"):
            waiting = self._unsynced.get(call.path, [])
            covered = [number for number in waiting if self.written[number] < call.began]
            for number in covered:
                self.safe[number] = call.ended
            self._unsynced[call.path] = [number for number in waiting if number not in self.safe]
            self.syncs.append(covered)
            return
        for number in map(int, MARKED.findall(call.data)):
            if number not in self.written:
                self.written[number] = call.ended
                self._unsynced.setdefault(call.path, []).append(number)


def check(lines, directory, phases):
    """What is wrong, as sentences; and the lines of the report."""
    watched, wrongs = Watched(directory), []
    told = {phase.name: b"" for phase in phases}
    confirmed = {phase.name: 0 for phase in phases}
    sockets = []
    for call in calls(lines):
        watched.see(call)
        if not call.path.startswith(("socket:", "TCP", "TCPv6")) or not call.data:
            continue
        # Each phase has a connection of its own, and they came in this order.
        if call.path not in sockets:
            sockets.append(call.path)
        phase = phases[sockets.index(call.path)]
        told[phase.name] += call.data
        upto = phase.covered(told[phase.name])
        for number in range(phase.first + confirmed[phase.name], phase.first + upto):
            safe = watched.safe.get(number)
            if safe is None or safe >= call.began:
                wrongs.append(f"{phase.name}: message {number - phase.first} was confirmed before it was synced")
        confirmed[phase.name] = upto
    report = []
    for phase in phases:
        if confirmed[phase.name] != phase.count:
            wrongs.append(f"{phase.name}: {confirmed[phase.name]} of {phase.count} confirms are in the trace")
        numbers = range(phase.first, phase.first + phase.count)
        syncs = [count for count in (sum(n in numbers for n in covered) for covered in watched.syncs) if count]
        most = max(syncs, default=0)
        report.append(
            f"{phase.name}: {phase.count} messages, {len(syncs)} syncs, "
            f"{phase.count / max(len(syncs), 1):.1f} messages each, {most} at most"
        )
        if phase.name.startswith("windows") and len(syncs) * 2 > phase.count:
            wrongs.append(f"{phase.name}: {len(syncs)} syncs for {phase.count} messages are not shared")
    return wrongs, report


def traced(program, directory):
    """Runs the server under strace while a client publishes. The phases."""
    command = [
        *("strace", "-f", "-ttt", "-yy", "-xx", "-s", "1000000", "-e", f"trace={TRACED}"),
        *("-o", str(directory / "trace"), "--", program),
        *("--amqp", "127.0.0.1:0", "--data-dir", str(directory / "data"), "--log-level", "warn"),
    ]
    # strace passes signals on to nobody: the server is told by its own id.
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server did not start: {(directory / 'log').read_text()[-2000:]}")
        host, port = line.split()[-1].rsplit(":", 1)
        return publish((host, int(port)))
    finally:
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
        for child in children.read_text().split() if children.exists() else []:
            os.kill(int(child), 15)
        process.stdout.close()
        process.wait(timeout=30)


def main():
    options = arguments()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="leveret-syncs-"))
    phases = traced(options.leveret, directory)
    with open(directory / "trace", encoding="ascii", errors="replace") as lines:
        wrongs, report = check(lines, (directory / "data").resolve(), phases)
    print("\n".join(report))
    for wrong in wrongs[:20]:
        print(f"FAIL  {wrong}")
    if wrongs:
        print(f"{len(wrongs)} things are wrong; the trace is in {directory}")
        return 1
    shutil.rmtree(directory)
    print("ok    every confirm came after the sync of its message")
    return 0


if __name__ == "__main__":
    sys.exit(main())
