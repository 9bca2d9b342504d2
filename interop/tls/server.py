"""The server under test."""

import os
import queue
import re
import signal
import subprocess
import threading

#: Seconds for anything that the server should do at once, or at its next look at its files.
SOON = 20


class Server:
    """A leveret with these flags. `ports` has where it listens: AMQP, AMQP over TLS, and so on."""

    def __init__(self, program, *flags):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LEVERET_")}
        self._process = subprocess.Popen(
            (program, *flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        self.process_id = self._process.pid
        self.log = []
        self._news = queue.Queue()
        threading.Thread(target=self._read_log, daemon=True).start()
        self.ports = {}
        for line in self._process.stdout:
            if found := re.match(r"leveret: listening for (.*) on .*:(\d+)$", line):
                self.ports[found[1]] = int(found[2])
            if "keeping" in line:
                break
        else:
            raise RuntimeError(f"the server did not start: {''.join(self.log)}")

    def _read_log(self):
        for line in self._process.stderr:
            self.log.append(line)
            self._news.put(line)

    def wait_for(self, words):
        """Wait for a line with these words; those before it are passed over."""
        while True:
            try:
                line = self._news.get(timeout=SOON)
            except queue.Empty:
                raise AssertionError(f"no line with {words!r}; the log: {''.join(self.log[-20:])}") from None
            if words in line:
                return line

    def reload(self):
        self._process.send_signal(signal.SIGHUP)

    def kill(self):
        """End it whatever happens; nothing when it has ended."""
        self._process.kill()
        self._process.wait()

    def stop(self):
        """End it in order."""
        self._process.terminate()
        status = self._process.wait(timeout=SOON)
        if status or any("panicked" in line for line in self.log):
            raise RuntimeError(f"the server ended with {status}: {''.join(self.log[-20:])}")
