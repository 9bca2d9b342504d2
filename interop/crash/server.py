"""The server under test: one process after another on the same data directory."""

import asyncio
import pathlib
import time

#: Seconds for a server to say that it listens.
START_LIMIT = 20


class Server:
    """Starts the program and kills it. `address` is None while nothing is known to listen."""

    def __init__(self, program, directory, port):
        self._program = program
        self._directory = pathlib.Path(directory)
        self._port = port
        self._process = None
        self.address = None
        #: Counts kills.
        self.life = 0

    async def spawn(self):
        """Start the process and wait for nothing."""
        with open(self._directory / "log", "ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                self._program,
                *("--amqp", f"127.0.0.1:{self._port}", "--data-dir", str(self._directory / "data")),
                *("--log-level", "warn"),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )

    async def start(self):
        """Start the process and wait until it listens. Returns the seconds that took."""
        began = time.monotonic()
        await self.spawn()
        line = await asyncio.wait_for(self._process.stdout.readline(), START_LIMIT)
        if not line:
            status = await self._process.wait()
            log = (self._directory / "log").read_text(errors="replace")
            raise RuntimeError(f"the server did not start, status {status}: {log[-2000:]}")
        host, port = line.decode().split()[-1].rsplit(":", 1)
        self.address = (host, int(port))
        return time.monotonic() - began

    def is_alive(self):
        return self._process is not None and self._process.returncode is None

    async def kill(self):
        """SIGKILL, which no process can prepare for. It must not have ended before by itself."""
        self.address = None
        self.life += 1
        if not self.is_alive():
            if self._process is not None and self._process.returncode != -9:
                raise RuntimeError(f"the server ended by itself, status {self._process.returncode}")
            return
        self._process.kill()
        await self._process.wait()
