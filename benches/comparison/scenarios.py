"""The scenarios: what `leveret perf` is asked for, and which of its answers count."""
import json
import resource
import shlex
import subprocess
import time

from . import processes


class Metric:
    """A number of a result: where it stands, how it is called in tables, and which is better."""

    def __init__(self, path, heading, digits=0, scale=1.0, chart=None, lower_is_better=False):
        self.path = path.split(".")
        self.heading = heading
        self.digits = digits
        self.scale = scale
        self.chart = chart
        self.lower_is_better = lower_is_better

    def of(self, result):
        """The number; None where the result has none."""
        for name in self.path:
            result = result.get(name) if isinstance(result, dict) else None
        return None if result is None else result * self.scale

    def text(self, number):
        return "-" if number is None else f"{number:,.{self.digits}f}"


class Load:
    """A run of `leveret perf`."""

    def __init__(self, question, arguments, metrics, limit=60, fresh=False):
        self.question = question
        self.arguments = arguments
        self.metrics = metrics
        self.limit = limit
        # Whether the broker is started before, so that its memory has held nothing yet.
        self.fresh = fresh

    def brief(self, result):
        first = self.metrics[0]
        return "%s %s" % (first.text(first.of(result)), first.heading)

    def run(self, program, broker, options):
        if self.fresh or not broker.is_alive():
            broker.restart()
        arguments = self.arguments.format(seconds=options.seconds, warmup=options.warmup)
        command = [program, "perf"] + shlex.split(arguments)
        command += ["--uri", broker.uri, "--broker-pid", str(broker.pid), "--quiet", "--json"]
        before = self._used(broker)
        started = time.monotonic()
        try:
            run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                 timeout=self.limit + options.seconds + options.warmup, check=False)
            result = json.loads(run.stdout)
        except subprocess.TimeoutExpired:
            result = {"ok": False, "error": "took longer than %d s" % self.limit}
        except ValueError:
            result = {"ok": False, "error": run.stderr.strip() or "status %d" % run.returncode}
        seconds = time.monotonic() - started
        result["other_cores"] = max(0.0, self._used(broker) - before) / seconds
        return result

    @staticmethod
    def _used(broker):
        """Processor seconds of everybody but broker and generator."""
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = children.ru_utime + children.ru_stime
        return processes.busy_seconds() - own - broker.usage()[0]


class Idle:
    """A broker that has just been started and has nothing to do."""

    question = "How long until the first client is greeted, and what does the broker use when there is nothing to do?"
    metrics = [
        Metric("start_ms", "start, ms", chart="start", lower_is_better=True),
        Metric("resident_bytes", "RSS, MB", 1, 1e-6, "memory at rest", True),
        Metric("idle_cores", "cores at rest", 4, lower_is_better=True),
    ]

    def brief(self, result):
        return "%.0f ms to start" % result["start_ms"]

    def run(self, _program, broker, options):
        broker.restart()
        used, _ = broker.usage()
        time.sleep(options.seconds)
        used_later, resident = broker.usage()
        return {"ok": broker.is_alive(), "start_ms": broker.start_seconds * 1e3, "resident_bytes": resident,
                "idle_cores": (used_later - used) / options.seconds}


TIMED = " --time {seconds} --warmup {warmup}"

THROUGHPUT = [
    Metric("broker_usage.messages_per_cpu_second", "messages per broker-CPU-s", chart="cost"),
    Metric("received_per_second", "messages/s", chart="rate"),
    Metric("broker_usage.cores", "broker cores", 2),
    Metric("generator_cores", "generator cores", 2),
    Metric("broker_usage.resident_bytes", "RSS, MB", 1, 1e-6, lower_is_better=True),
]

LATENCY = [
    Metric("latency_us.p50", "p50 us", chart="latency, p50", lower_is_better=True),
    Metric("latency_us.p99", "p99 us", chart="latency, p99", lower_is_better=True),
    Metric("latency_us.p99_9", "p99.9 us", lower_is_better=True),
    Metric("latency_us.max", "max us", lower_is_better=True),
    Metric("broker_usage.cores", "broker cores", 3, lower_is_better=True),
]

CONNECTIONS = [
    Metric("connects_per_broker_cpu_second", "connects per broker-CPU-s", chart="connects"),
    Metric("connects_per_second", "connects/s"),
    Metric("resident_bytes_per_connection", "kB RSS each", 1, 1e-3, "memory of a connection", True),
    Metric("one_each_ms", "one message each, ms", 1, lower_is_better=True),
    Metric("idle_broker_cores", "idle cores", 4, lower_is_better=True),
]

BACKLOG = [
    Metric("publish_per_broker_cpu_second", "publishes per broker-CPU-s", chart="fill"),
    Metric("publish_per_second", "publishes/s"),
    Metric("drain_per_broker_cpu_second", "deliveries per broker-CPU-s", chart="drain"),
    Metric("drain_per_second", "deliveries/s"),
    Metric("resident_bytes_per_message", "RSS bytes a message", chart="memory of a message", lower_is_better=True),
]

BINDS = [
    Metric("bindings_per_second", "bindings/s", chart="binds"),
    Metric("broker_usage.resident_bytes_per_binding", "RSS bytes each", chart="memory of a binding", lower_is_better=True),
]


def topic(bindings, limit):
    return Load(
        "What does a message to a topic exchange with %s bindings over 100 queues cost? 10,000 keys in turn." % f"{bindings:,}",
        "--exchange topic --bindings %d --queues 100 --consumers 1 --max-lag 5000" % bindings + TIMED, THROUGHPUT, limit)


def fanout(queues):
    return Load("One producer, a fanout exchange, %d queues with a consumer each: what does a delivery cost?" % queues,
                "--exchange fanout --queues %d" % queues + TIMED, THROUGHPUT)


def connections(count, limit):
    return Load("%s connections, each with a queue and a consumer: what does one cost?" % f"{count:,}",
                "connections --count %d" % count, CONNECTIONS, limit, fresh=True)


SCENARIOS = {
    "idle": Idle(),
    "transient": Load("One producer, one queue, one consumer, bodies of 100 bytes, nothing acknowledged.", TIMED, THROUGHPUT),
    "transient-1k": Load("The same with bodies of 1,024 bytes.", "--size 1024" + TIMED, THROUGHPUT),
    "acked": Load("The same with publisher confirms (1,000 open) and acknowledgements (every 100, prefetch 1,000).",
                  "--confirm 1000 --ack-every 100" + TIMED, THROUGHPUT),
    "durable": Load("The same with a durable queue and persistent messages. What is on disk when a broker confirms is "
                    "its own promise.", "--confirm 1000 --ack-every 100 --durable --persistent" + TIMED, THROUGHPUT),
    "fanout10": fanout(10),
    "fanout200": fanout(200),
    "topic-1k": topic(1_000, 60),
    "topic-10k": topic(10_000, 120),
    "topic-100k": topic(100_000, 420),
    "binds": Load("20,000 bindings of a topic exchange, one after the other.",
                  "--exchange topic --bindings 20000 --queues 100 --consumers 1 --messages 1000", BINDS, 120, fresh=True),
    "connections-1000": connections(1_000, 120),
    "connections-10000": connections(10_000, 300),
    "latency-1k": Load("1,000 messages a second, evenly spaced: how long from write to delivery?",
                       "--rate 1000" + TIMED, LATENCY),
    "latency-10k": Load("10,000 messages a second.", "--rate 10000" + TIMED, LATENCY),
    "backlog": Load("A million messages of 100 bytes that nobody consumes, and then somebody.",
                    "backlog --messages 1000000", BACKLOG, 300, fresh=True),
}

# What takes long, smaller, to see that it works.
QUICK = {
    "topic-10k": topic(2_000, 60),
    "topic-100k": topic(5_000, 60),
    "connections-1000": Load("100 connections.", "connections --count 100 --idle 0.1", CONNECTIONS, 60, fresh=True),
    "connections-10000": Load("300 connections.", "connections --count 300 --idle 0.1", CONNECTIONS, 60),
    "backlog": Load("20,000 messages.", "backlog --messages 20000", BACKLOG, 60),
}
