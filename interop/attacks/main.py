"""Attacks a leveret in many ways, and looks at how its other clients fare. README.md says what is checked."""

import argparse
import asyncio
import json
import os
import pathlib
import re
import resource
import shutil
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# This folder goes before them: there is another client.py.
sys.path.extend(str(ROOT / "interop" / folder) for folder in ("tls", "differential"))

from attacks import all_attacks
from certificates import Authority
from server import Server

#: What the server may take while it is under attack, in MiB, beyond what it takes when it is calm: 64 MiB of messages, the
#: 10,000 connections of some 4 KiB and what TLS and the allocator take on top.
MEMORY_MAX = 300

#: How much longer than a calm one a message may take for 99 of 100. What is calm is measured at the same time, at a second
#: server that nobody attacks: attackers, and whoever else is at work, take both the same processors away.
SLOWER_MAX = 3

#: Milliseconds that are never too long: who shares a processor with others waits for a turn or two of theirs, and whom of
#: the two clients that befalls is chance.
NEVER_TOO_LONG = 25

#: Seconds for each measurement at least: it goes on for as long as the attack does.
LEAST = 3

CONFIG = """
[[user]]
name = "guest"
password = "guest"

[[user]]
name = "victim"
password = "victim"

[[permission]]
user = "guest"
vhost = "/"
configure = ".*"
write = ".*"
read = ".*"

[[permission]]
user = "victim"
vhost = "/"
configure = ".*"
write = ".*"
read = ".*"
"""

FLAGS = {
    "amqp": "127.0.0.1:0",
    "stomp": "127.0.0.1:0",
    "stomp-ws": "127.0.0.1:0",
    "amqps": "127.0.0.1:0",
    "stomps": "127.0.0.1:0",
    "stomp-wss": "127.0.0.1:0",
    "memory": "64MiB",
    "message-size-max": "1MiB",
    "held-max": "8MiB",
    "channel-max": "100",
    "queues-max": "5000",
    "strangers-per-address-max": "8000",
}


def memory(process_id):
    """What a process takes, in MiB."""
    status = pathlib.Path(f"/proc/{process_id}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def p99(times):
    return statistics.quantiles(times, n=100)[-1]


class Victim:
    """Measures in a process of its own, at the side of whatever happens from its start to its end."""

    def __init__(self, process):
        self._process = process

    @classmethod
    async def start(cls, port, seconds):
        """Returns when its messages flow; it measures for these seconds at least."""
        program = pathlib.Path(__file__).with_name("victim.py")
        pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
        process = await asyncio.create_subprocess_exec(sys.executable, str(program), str(port), str(seconds), **pipes)
        if await process.stdout.readline() != b"ready\n":
            raise RuntimeError("the victim cannot even begin")
        return cls(process)

    async def end(self):
        """Returns how many milliseconds each of its messages took."""
        out, _ = await self._process.communicate(b"")
        if self._process.returncode:
            raise RuntimeError("the victim was harmed")
        return json.loads(out)


async def start_victims(servers):
    """Of the server under attack, and of its twin."""
    return await asyncio.gather(*(Victim.start(server.ports["AMQP"], LEAST) for server in servers))


async def end_victims(victims):
    """What 99 of 100 of their messages take at most, in the same order."""
    return [p99(times) for times in await asyncio.gather(*(victim.end() for victim in victims))]


async def watch_memory(process_id, seen):
    while True:
        seen.append(memory(process_id))
        await asyncio.sleep(0.1)


async def one_attack(function, reasons, server):
    """Returns what went wrong."""
    first_line = len(server.log)
    try:
        await function(server.ports)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    # The log is read by another thread.
    for _ in range(100):
        log = "".join(server.log[first_line:])
        missing = [reason for reason in reasons if reason not in log]
        if not missing:
            return None
        await asyncio.sleep(0.05)
    return f"the log does not say {missing}"


async def run(server, twin, wanted):
    failed = False
    servers = (server, twin)
    calm, _ = await end_victims(await start_victims(servers))
    base = memory(server.process_id)
    print(f"calm: 99 of 100 messages take at most {calm:.2f} ms, the server {base:.0f} MiB", flush=True)
    # Those that wait for a time-out of the server go at once.
    patient = {"slow_loris_on_each_listener", "half_open_tls"}
    chosen = [pair for pair in all_attacks() if not wanted or pair[0].__name__ in wanted]
    rounds = [[pair for pair in chosen if pair[0].__name__ in patient]]
    rounds += [[pair] for pair in chosen if pair[0].__name__ not in patient]
    for attacks in filter(None, rounds):
        seen = []
        watcher = asyncio.ensure_future(watch_memory(server.process_id, seen))
        victims = await start_victims(servers)
        began = time.monotonic()
        outcomes = await asyncio.gather(*(one_attack(*pair, server) for pair in attacks))
        took = time.monotonic() - began
        slowest, calm = await end_victims(victims)
        watcher.cancel()
        most = max(seen) - base
        problems = [problem for problem in outcomes if problem]
        if most > MEMORY_MAX:
            problems.append(f"{most:.0f} MiB more than before, {MEMORY_MAX} are allowed")
        if slowest > max(SLOWER_MAX * calm, NEVER_TOO_LONG):
            problems.append(f"99 of 100 messages of others take {slowest:.1f} ms, and {calm:.1f} at the server's twin")
        names = " and ".join(function.__name__.replace("_", " ") for function, _ in attacks)
        figures = f"{took:.1f} s, +{most:.0f} MiB, others {slowest:.2f} ms, at the twin {calm:.2f} ms"
        print(f"{'FAIL ' if problems else 'ok   '} {names} ({figures}){': ' * bool(problems)}{'; '.join(problems)}", flush=True)
        failed |= bool(problems)
    # Whatever happened, it serves.
    await end_victims(await start_victims(servers))
    return failed


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--leveret",
        default=str(pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"), "release", "leveret")),
        help="the server's program (of the release build)",
    )
    parser.add_argument("attacks", nargs="*", help="which attacks, as their functions are called (all)")
    return parser.parse_args()


def main():
    wanted = arguments()
    program = wanted.leveret
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 20_000), most))
    directory = tempfile.mkdtemp(prefix="leveret-attacks-")
    servers = []
    try:
        cert, key = Authority(directory, "ours").sign_server()
        config = pathlib.Path(directory, "leveret.toml")
        config.write_text(CONFIG)
        flags = [f"--{name}={value}" for name, value in FLAGS.items()]
        flags += [f"--config={config}", f"--tls-cert={cert}", f"--tls-key={key}"]
        for _ in range(2):
            servers.append(Server(program, *flags))
        failed = asyncio.run(run(*servers, wanted.attacks))
        for server in servers:
            server.stop()
    finally:
        for server in servers:
            server.kill()
        shutil.rmtree(directory)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
