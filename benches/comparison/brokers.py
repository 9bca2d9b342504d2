"""The brokers: how each is started with its defaults, found to be ready, and ended."""
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import time

from . import processes

# Seconds for a broker to greet its first client. RabbitMQ takes ten on a busy machine.
START_LIMIT = 120
# Seconds for a broker to end by itself.
STOP_LIMIT = 60
# Seconds that a broker is left alone after its start: RabbitMQ greets before it has come to rest.
SETTLE = 2.0


class BrokerFailed(Exception):
    """A broker cannot be started."""


class Broker:
    """A broker with a directory and a port of its own. `start_seconds` is from the call of the program to the greeting
    of its first client."""

    name = None

    def __init__(self, directory, port, leveret):
        self.directory = os.path.join(directory, self.name)
        self.port = port
        self.leveret = leveret
        self.process = None
        self.start_seconds = None
        self.version = "unknown"

    @property
    def uri(self):
        return "amqp://guest:guest@127.0.0.1:%d" % self.port

    @property
    def pid(self):
        return self.process.pid

    def command(self):
        """The arguments and additional environment of the broker's process."""
        raise NotImplementedError

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        shutil.rmtree(self.directory, ignore_errors=True)
        os.makedirs(self.directory)
        arguments, environment = self.command()
        with open(os.path.join(self.directory, "output"), "wb") as output:
            started = time.monotonic()
            self.process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.directory,
                env={**os.environ, **environment}, start_new_session=True)
        self._wait_for_greeting(started + START_LIMIT)
        self.start_seconds = time.monotonic() - started
        time.sleep(SETTLE)

    def restart(self):
        self.stop()
        self.start()

    def _wait_for_greeting(self, deadline):
        while time.monotonic() < deadline:
            if not self.is_alive():
                raise BrokerFailed("%s ended at once: %s" % (self.name, self._last_output()))
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as client:
                    client.sendall(b"AMQP\x00\x00\x09\x01")
                    greeting = client.recv(4096)
            except OSError:
                greeting = b""
            if greeting.startswith(b"\x01\x00\x00"):  # a method on channel 0
                return
            time.sleep(0.002)
        raise BrokerFailed("%s does not greet within %d s" % (self.name, START_LIMIT))

    def _last_output(self):
        with open(os.path.join(self.directory, "output"), errors="replace") as output:
            return output.read()[-500:].strip() or "no output"

    def stop(self):
        if self.is_alive():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def usage(self):
        return processes.usage(self.pid)


class Leveret(Broker):
    name = "leveret"

    @staticmethod
    def is_installed():
        return True

    def command(self):
        self.version = subprocess.check_output([self.leveret, "--version"], text=True).split()[-1]
        return [self.leveret, "--amqp", "127.0.0.1:%d" % self.port, "--log-level", "warn",
                "--data-dir", os.path.join(self.directory, "data")], {}


class Rabbitmq(Broker):
    """A node of its own, with an epmd of its own."""

    name = "rabbitmq"

    @staticmethod
    def _program():
        # Debian's program in PATH changes the user; the script behind it does not.
        behind = glob.glob("/usr/lib/rabbitmq/bin/rabbitmq-server")
        return behind[0] if behind else shutil.which("rabbitmq-server")

    @classmethod
    def is_installed(cls):
        return cls._program() is not None

    @property
    def _epmd_port(self):
        return str(self.port + 6)

    def command(self):
        inside = lambda *parts: os.path.join(self.directory, *parts)
        for name in ("mnesia", "log", "home"):
            os.makedirs(inside(name))
        with open(inside("enabled_plugins"), "w") as file:
            file.write("[].\n")
        with open(inside("rabbitmq.conf"), "w") as file:
            file.write("listeners.tcp.1 = 127.0.0.1:%d\nlog.file.level = info\n" % self.port)
        return [self._program()], {
            "HOME": inside("home"),
            "RABBITMQ_NODENAME": "compare@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.port + 3),
            "RABBITMQ_MNESIA_BASE": inside("mnesia"),
            "RABBITMQ_LOG_BASE": inside("log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": inside("enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": inside("rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_PID_FILE": inside("pid"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": self._epmd_port,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def start(self):
        super().start()
        for log in glob.glob(os.path.join(self.directory, "log", "*.log")):
            with open(log, errors="replace") as file:
                found = re.search(r"Starting RabbitMQ (\S+) on Erlang (\S+)", file.read())
            if found:
                self.version = "%s, Erlang %s" % found.groups()

    def stop(self):
        super().stop()
        epmd = shutil.which("epmd")
        if epmd:  # which refuses while a node is registered with it
            subprocess.run([epmd, "-port", self._epmd_port, "-kill"], stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, check=False)


class Lavinmq(Broker):
    """With TCP_NODELAY, which it leaves off and without which it waits for delayed acknowledgements of the kernel."""

    name = "lavinmq"

    @staticmethod
    def is_installed():
        return shutil.which("lavinmq") is not None

    def command(self):
        settings = os.path.join(self.directory, "lavinmq.ini")
        with open(settings, "w") as file:
            file.write("[main]\ntcp_nodelay = true\n")
        program = shutil.which("lavinmq")
        self.version = subprocess.check_output([program, "--version"], text=True).split()[-1]
        off = ["--%s-port=-1" % name for name in ("amqps", "https", "mqtt", "mqtts", "metrics-http")]
        return [program, "-c", settings, "-D", os.path.join(self.directory, "data"), "-b", "127.0.0.1",
                "--amqp-port=%d" % self.port, "--http-port=%d" % (self.port + 3),
                "--clustering-port=%d" % (self.port + 6),
                "--control-unix-path=" + os.path.join(self.directory, "control.sock")] + off, {}
