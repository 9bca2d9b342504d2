"""Has pika and stomp.py talk TLS to a leveret. README.md says what is checked."""

import argparse
import contextlib
import os
import pathlib
import shutil
import ssl
import sys
import tempfile
import threading
import warnings

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "interop" / "python"))

import pika
import stomp

from certificates import Authority
from harness import Report, all_checks, check, fails_with, fresh_name, holds, same
from listener import Listener
from server import SOON, Server

CONFIG = """
stomp-cert-login = true

[[user]]
name = "ann"

[[user]]
name = "guest"
password = "guest"

[[permission]]
user = "ann"
vhost = "/"
configure = ".*"
write = ".*"
read = ".*"

[[permission]]
user = "guest"
vhost = "/"
configure = ".*"
write = ".*"
read = ".*"
"""

LISTEN = ("--amqp", "127.0.0.1:0", "--amqps", "127.0.0.1:0", "--stomps", "127.0.0.1:0", "--stomp-wss", "127.0.0.1:0")


class World:
    """An authority of ours, one that is not, and a server."""

    def __init__(self, program, directory):
        self.ours = Authority(directory, "ours")
        self.theirs = Authority(directory, "theirs")
        self.cert, self.key = self.ours.sign_server()
        self.ann = self.ours.sign("ann", "/O=Shop/CN=ann", "extendedKeyUsage=clientAuth\n")
        self.bob = self.ours.sign("bob", "/O=Shop/CN=bob", "extendedKeyUsage=clientAuth\n")
        self.expired = self.ours.sign("expired", "/CN=ann", "extendedKeyUsage=clientAuth\n", days=-1)
        self.foreign = self.theirs.sign("foreign", "/CN=ann", "extendedKeyUsage=clientAuth\n")
        config = pathlib.Path(directory, "leveret.toml")
        config.write_text(CONFIG)
        self.server = Server(
            program,
            *LISTEN,
            *("--config", str(config), "--tls-cert", self.cert, "--tls-key", self.key),
            *("--tls-client-ca", self.ours.certificate, "--tls-client-cert", "optional"),
        )


def context(identity=None, trusts=None, version=None):
    made = ssl.create_default_context(cafile=(trusts or world.ours).certificate)
    if version:
        made.minimum_version = made.maximum_version = version
    if identity:
        made.load_cert_chain(*identity)
    return made


def connect(ssl_context, credentials=None):
    parameters = pika.ConnectionParameters(
        "127.0.0.1",
        world.server.ports["AMQP over TLS"],
        ssl_options=pika.SSLOptions(ssl_context, "localhost"),
        credentials=credentials or pika.PlainCredentials("guest", "guest"),
        blocked_connection_timeout=SOON,
        socket_timeout=SOON,
    )
    return pika.BlockingConnection(parameters)


@contextlib.contextmanager
def is_refused(*words):
    """Fail unless the body does not get its connection, with an error that has one of `words`."""
    try:
        yield
    except (pika.exceptions.AMQPConnectionError, OSError) as error:
        text = f"{error!r} {error}"
        if words and not any(word in text for word in words):
            raise AssertionError(f"none of {words} in {text}") from error
    else:
        raise AssertionError("there is a connection")


def exchange_messages(connection, count=200):
    """Publish and get back, with confirms; bodies from nothing to a megabyte."""
    channel = connection.channel()
    channel.confirm_delivery()
    name = fresh_name("queue")
    channel.queue_declare(name, exclusive=True)
    bodies = [bytes([n % 256]) * size for n, size in enumerate([0, 1, 16_384, 1_000_000] + [100] * (count - 4))]
    for body in bodies:
        channel.basic_publish("", name, body, mandatory=True)
    for body in bodies:
        holds(channel.basic_get(name, auto_ack=True)[2] == body, "the message comes back as it was")
    channel.close()


@check
def pika_exchanges_messages_over_both_versions():
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with connect(context(version=version)) as connection:
            exchange_messages(connection)


@check
def older_versions_are_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old = context(version=ssl.TLSVersion.TLSv1_1)
    # Clients of today have to be asked for it.
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    with is_refused("PROTOCOL_VERSION", "HANDSHAKE_FAILURE"):
        connect(old)


@check
def a_client_that_trusts_somebody_else_does_not_come():
    with is_refused("CERTIFICATE_VERIFY_FAILED"):
        connect(context(trusts=world.theirs))


@check
def a_certificate_logs_in_as_whom_it_names():
    with connect(context(world.ann), pika.credentials.ExternalCredentials()) as connection:
        exchange_messages(connection, 10)


@check
def a_certificate_of_nobody_does_not():
    with fails_with(pika.exceptions.ProbableAuthenticationError):
        connect(context(world.bob), pika.credentials.ExternalCredentials())


@check
def without_a_certificate_there_is_no_such_login():
    with is_refused():
        connect(context(), pika.credentials.ExternalCredentials())


@check
def expired_and_foreign_certificates_are_refused():
    for identity in (world.expired, world.foreign):
        # In TLS 1.3 the client is done before the server has looked: then it is the first answer that does not come.
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with is_refused("CERTIFICATE_EXPIRED", "UNKNOWN_CA", "StreamLost", "ConnectionReset"):
                connect(context(identity, version=version))
    world.server.wait_for("TLS handshake failed")


@check
def a_client_in_the_clear_is_told_of_in_the_log():
    parameters = pika.ConnectionParameters("127.0.0.1", world.server.ports["AMQP over TLS"], socket_timeout=SOON)
    with is_refused():
        pika.BlockingConnection(parameters)
    world.server.wait_for("does not speak TLS, but AMQP in the clear")


@check
def a_client_of_tls_on_the_other_port_is_told_of_too():
    parameters = pika.ConnectionParameters(
        "127.0.0.1",
        world.server.ports["AMQP"],
        ssl_options=pika.SSLOptions(context(), "localhost"),
        socket_timeout=SOON,
    )
    with is_refused("WRONG_VERSION_NUMBER", "wrong version number"):
        pika.BlockingConnection(parameters)
    world.server.wait_for("a client of TLS, on a port without it")


def stomp_session(identity, **login):
    connection = stomp.Connection12(
        [("127.0.0.1", world.server.ports["STOMP over TLS"])], reconnect_attempts_max=1, vhost="/"
    )
    cert, key = identity or (None, None)
    connection.set_ssl(
        [("127.0.0.1", world.server.ports["STOMP over TLS"])],
        ca_certs=world.ours.certificate,
        cert_file=cert,
        key_file=key,
    )
    listener = Listener()
    connection.set_listener("suite", listener)
    connection.connect(wait=True, **login)
    return connection, listener


def stomp_message(connection, listener):
    listener.is_heard(connection, fresh_name("queue"))


@check
def stomp_py_exchanges_messages():
    stomp_message(*stomp_session(None, username="guest", passcode="guest"))


@check
def stomp_py_logs_in_by_certificate():
    stomp_message(*stomp_session(world.ann))


@check
def new_certificates_are_taken_under_traffic():
    """While a client publishes without a pause and others come, the certificate is replaced again and again."""
    ended, problems = threading.Event(), []

    def publish():
        try:
            with connect(context()) as connection:
                while not ended.is_set():
                    exchange_messages(connection, 20)
        except Exception as error:
            problems.append(error)

    def come_and_go():
        try:
            while not ended.is_set():
                with connect(context()) as connection:
                    exchange_messages(connection, 5)
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=work) for work in (publish, come_and_go)]
    for thread in threads:
        thread.start()
    serials = set()
    for _ in range(5):
        fresh = world.ours.sign_server("fresh")
        for new, used in zip(fresh, (world.cert, world.key)):
            os.replace(new, used)
        world.server.reload()
        world.server.wait_for("have been read anew")
        serials.add(serial())
    pathlib.Path(world.key).write_text("no key")
    world.server.reload()
    world.server.wait_for("the old ones stay in use")
    holds(serial() in serials, "the last good certificate is in use")
    ended.set()
    for thread in threads:
        thread.join()
    same(problems, [])
    same(len(serials), 5, "certificates that were seen")


def serial():
    """Of the certificate that the server shows."""
    import socket

    with socket.create_connection(("127.0.0.1", world.server.ports["AMQP over TLS"]), timeout=SOON) as plain:
        with context().wrap_socket(plain, server_hostname="localhost") as secure:
            return secure.getpeercert()["serialNumber"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--leveret",
        default=str(pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"), "release", "leveret")),
        help="the server's program (of the release build)",
    )
    return parser.parse_args()


def main():
    global world
    directory = tempfile.mkdtemp(prefix="leveret-tls-")
    report = Report()
    program = arguments().leveret
    world = None
    try:
        world = World(program, directory)
        for function in all_checks():
            try:
                function()
                report.add(function)
            except Exception as error:
                report.add(function, error)
        world.server.stop()
    finally:
        if world:
            world.server.kill()
        shutil.rmtree(directory)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
