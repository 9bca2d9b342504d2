"""Has pika and stomp.py log in to a leveret that asks somebody else about them. README.md says what is checked."""

import argparse
import contextlib
import os
import pathlib
import shutil
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "interop" / part) for part in ("python", "tls")]

import pika
import stomp

import directory
from certificates import Authority
from directory import READER, READER_PASSWORD, SUFFIX, Directory
from harness import Report, all_checks, check, fails_with, fresh_name, holds, same
from listener import Listener
from server import SOON, Server
from services import AUDIENCE, Issuer, Users

#: The key ids of tokens may change so often, in seconds.
RETRY = 1

CONFIG = """
[[user]]
name = "ann"
password = "of the server"

[[permission]]
user = "ann"
vhost = "/"
configure = "^ann"
write = "^(ann|amq.default$)"
read = "^ann"

[[user]]
name = "till"
password = "till"

[[permission]]
user = "till"
vhost = "/"
configure = ".*"
write = ".*"
read = ".*"

[[vhost]]
name = "sales"

[[vhost]]
name = "staff"

[auth]
backends = [{backends}]
verdict-ttl = 100

[auth.http]
user-url = "{users}/user"
vhost-url = "{users}/vhost"
resource-url = "{users}/resource"
topic-url = "{users}/topic"
method = "post"
tls = {{ ca = "{ca}" }}
limits = {{ request-timeout = "2s" }}

[auth.oauth2]
resource-server-id = "{audience}"
issuer = "{issuer}"
jwks-retry = "{retry}s"
tls = {{ ca = "{ca}" }}

[auth.oauth2.scope-aliases]
clerk = ["mq.read:*/clerk-*", "mq.write:*/clerk-*", "mq.configure:*/clerk-*"]
"""

LDAP = """
[auth.ldap]
servers = ["{server}"]
start-tls = {start_tls}
account = {{ dn = "{reader}", password-file = "{password_file}" }}
{users}
vhost = {{ in-group-nested = {{ group = "cn=${{vhost}},{suffix}", base = "{suffix}" }} }}
tls = {{ ca = "{ca}" }}

[auth.ldap.resource]
or = [
    {{ for = [{{ permission = "read", then = true }}] }},
    {{ match = {{ value = "${{name}}", pattern = "^(${{username}}-|amq\\\\.)" }} }},
]
"""


class World:
    """An authority, the services, and a server that asks them."""

    def __init__(self, program, scratch, slapd):
        self._program, self._scratch = program, pathlib.Path(scratch)
        self._authority = Authority(scratch, "ours")
        identity = self._authority.sign_server()
        self.users = Users(identity)
        self.issuer = Issuer(identity)
        self.slapd = Directory(slapd, scratch, self._authority.certificate, identity) if slapd else None
        self._others = []
        self.server = self._start(self._config('"internal", "oauth2", "http"'))

    def _config(self, backends):
        return CONFIG.format(
            backends=backends,
            users=self.users.url(""),
            issuer=self.issuer.url("/realm"),
            ca=self._authority.certificate,
            audience=AUDIENCE,
            retry=RETRY,
        )

    def _start(self, config):
        path = self._scratch / f"{fresh_name('leveret')}.toml"
        path.write_text(config)
        listen = ("--amqp", "127.0.0.1:0", "--stomp", "127.0.0.1:0")
        server = Server(self._program, *listen, "--config", str(path), "--log-level", "debug")
        self._others.append(server)
        return server

    def with_ldap(self, users, start_tls=False):
        """A server that asks slapd; `users` says how it finds people. Over StartTLS, or TLS from the beginning."""
        password_file = self._scratch / "reader-password"
        password_file.write_text(f"{READER_PASSWORD}\n")
        section = LDAP.format(
            server=self.slapd.ldap if start_tls else self.slapd.ldaps,
            start_tls=str(start_tls).lower(),
            reader=READER,
            password_file=password_file,
            users=users,
            suffix=SUFFIX,
            ca=self._authority.certificate,
        )
        # What nobody names is refused, so all of the others stay in the chain.
        return self._start(self._config('"internal", "oauth2", "http", "ldap"') + section)

    def stop(self):
        for server in self._others:
            server.stop()
        return [line for server in self._others for line in server.log]

    def kill(self):
        for server in self._others:
            server.kill()
        for service in (self.users, self.issuer, self.slapd):
            if service:
                service.stop()


def connect(user, password, vhost="/", server=None):
    parameters = pika.ConnectionParameters(
        "127.0.0.1",
        (server or world.server).ports["AMQP"],
        vhost,
        pika.PlainCredentials(user, password),
        blocked_connection_timeout=SOON,
        socket_timeout=SOON,
    )
    return pika.BlockingConnection(parameters)


def is_refused(user, password, **place):
    with fails_with(pika.exceptions.ProbableAuthenticationError, "403"):
        connect(user, password, **place)


def is_shut(vhost, user, password, server=None):
    """Somebody is let in, but not into this virtual host."""
    with fails_with(pika.exceptions.ProbableAccessDeniedError, "530", f"access to vhost '{vhost}' refused"):
        connect(user, password, vhost, server)


@contextlib.contextmanager
def channel(user, password, **place):
    with connect(user, password, **place) as connection:
        yield connection.channel()


def exchange_message(channel, name):
    channel.confirm_delivery()
    channel.queue_declare(name, exclusive=True)
    channel.basic_publish("", name, b"hello", mandatory=True)
    same(channel.basic_get(name, auto_ack=True)[2], b"hello", "the message")


@check
def an_http_service_lets_users_in_and_says_what_they_may_do():
    with channel("web", "web") as allowed:
        exchange_message(allowed, "web-1")
        with fails_with(pika.exceptions.ChannelClosedByBroker, "403", "access to queue 'other'"):
            allowed.queue_declare("other")
    path, fields = world.users.asked[0]
    same((path, fields), ("/user", {"username": "web", "password": "web"}), "the first question")
    asked = [fields for path, fields in world.users.asked if fields.get("name") == "other"]
    same(asked[0]["tags"], "administrator", "tags")


@check
def it_says_which_virtual_hosts_are_open():
    is_shut("sales", "web", "web")
    same([fields["ip"] for path, fields in world.users.asked if fields.get("vhost") == "sales"], ["127.0.0.1"], "ip")


@check
def it_is_asked_about_routing_keys():
    with channel("web", "web") as allowed:
        allowed.confirm_delivery()
        allowed.queue_declare("web-topics", exclusive=True)
        allowed.queue_bind("web-topics", "amq.topic", "web.#")
        allowed.basic_publish("amq.topic", "web.a", b"hello", mandatory=True)
        with fails_with(pika.exceptions.ChannelClosedByBroker, "403", "topic 'news'"):
            allowed.basic_publish("amq.topic", "news", b"hello")
    about = [fields for path, fields in world.users.asked if path == "/topic"]
    same(about[0]["variable_map.vhost"], "/", "variables")


@check
def wrong_passwords_are_refused_by_everybody():
    is_refused("web", "guess")
    is_refused("ann", "guess")
    is_refused("", "")
    world.server.wait_for("no such luck")


@check
def the_servers_own_users_go_before():
    with channel("ann", "of the server") as allowed:
        exchange_message(allowed, "ann-1")
    passwords = [fields.get("password") for _, fields in world.users.asked if fields["username"] == "ann"]
    same(passwords, ["guess"], "what others were asked about them")


@check
def a_service_that_thinks_for_ever_holds_nobody_else_up():
    thread = threading.Thread(target=lambda: is_refused("slow", "x"))
    thread.start()
    for _ in range(5):
        with channel("web", "web") as allowed:
            exchange_message(allowed, "web-2")
    thread.join(SOON)
    holds(not thread.is_alive(), "it is given up")
    world.server.wait_for("no answer within 2000 ms")


@check
def a_service_that_is_down_lets_nobody_in_and_comes_back():
    world.users.is_down = True
    is_refused("web", "web")
    with channel("ann", "of the server"):
        pass
    world.server.wait_for("status 503")
    world.users.is_down = False
    with channel("web", "web") as allowed:
        exchange_message(allowed, "web-3")


@check
def a_token_lets_its_bearer_in():
    token = world.issuer.token("carol", "mq.read:*/*", "mq.write:%2F/*", "mq.configure:%2F/carol-*")
    with channel("whoever", token) as allowed:
        exchange_message(allowed, "carol-1")
        with fails_with(pika.exceptions.ChannelClosedByBroker, "403", "user 'carol'"):
            allowed.queue_declare("other")
    with channel("", world.issuer.token("carol", "clerk")) as allowed:
        exchange_message_through(allowed, "clerk-1")


def exchange_message_through(channel, name):
    """Without a right to the default exchange."""
    channel.exchange_declare(name, "fanout", auto_delete=True)
    channel.queue_declare(name, exclusive=True)
    channel.queue_bind(name, name)
    channel.confirm_delivery()
    channel.basic_publish(name, "", b"hello", mandatory=True)
    same(channel.basic_get(name, auto_ack=True)[2], b"hello", "the message")


@check
def tokens_that_are_not_good_let_nobody_in():
    issuer = world.issuer
    everything = ("mq.read:*/*", "mq.write:*/*", "mq.configure:*/*")
    is_refused("x", issuer.token("carol", *everything, seconds=-1))
    is_refused("x", issuer.token("carol", *everything, aud="other"))
    is_refused("x", issuer.token("carol", *everything, iss="http://localhost/other"))
    is_refused("x", issuer.token("carol", *everything)[:-5] + "AAAAA")
    is_shut("/", "x", issuer.token("carol", "other.read:*/*"))


@check
def a_new_key_of_the_issuer_is_found():
    old = world.issuer.token("carol", "mq.read:*/*")
    world.issuer.rotate()
    new = world.issuer.token("carol", "mq.read:*/*")
    wait_until_let_in("x", new)
    with channel("x", old):
        pass


def wait_until_let_in(user, password):
    """Its key is asked for once in so often; each refusal takes as long as a refusal takes, so this does not spin."""
    for _ in range(SOON):
        try:
            connect(user, password).close()
            return
        except pika.exceptions.ProbableAuthenticationError:
            pass
    raise AssertionError("it is not let in")


@check
def an_issuer_that_is_down_is_not_needed_for_keys_that_are_known():
    world.issuer.is_down = True
    with channel("x", world.issuer.token("carol", "mq.read:*/*")):
        pass
    world.issuer.is_down = False


@check
def a_connection_ends_with_its_token():
    connection = connect("x", world.issuer.token("carol", "mq.read:*/*", seconds=2))
    with fails_with(pika.exceptions.ConnectionClosedByBroker, "320", "credential expired"):
        connection.process_data_events(time_limit=SOON)


@check
def a_new_token_keeps_a_connection_alive():
    connection = connect("x", world.issuer.token("carol", "clerk", seconds=3))
    connection.update_secret(world.issuer.token("carol", "clerk"), "soon over")
    connection.process_data_events(time_limit=4)
    exchange_message_through(connection.channel(), "clerk-2")
    with fails_with(pika.exceptions.ConnectionClosedByBroker, "530", "New secret was refused"):
        connection.update_secret(world.issuer.token("dave", "clerk"), "of somebody else")
        connection.process_data_events(time_limit=SOON)


def exchange_stomp_message(user, password, name, server=None, vhost="/"):
    port = (server or world.server).ports["STOMP"]
    connection = stomp.Connection12([("127.0.0.1", port)], reconnect_attempts_max=1, vhost=vhost)
    listener = Listener()
    connection.set_listener("suite", listener)
    connection.connect(user, password, wait=True)
    listener.is_heard(connection, name)


@check
def stomp_clients_are_asked_about_too():
    exchange_stomp_message("web", "web", "web-stomp")
    about = [fields for path, fields in world.users.asked if path == "/user" and "vhost" in fields]
    same(about[0]["vhost"], "/", "the virtual host that they name")
    token = world.issuer.token("carol", "mq.read:*/*", "mq.write:*/*", "mq.configure:*/*")
    exchange_stomp_message("x", token, "carol-stomp")
    with fails_with(stomp.exception.ConnectFailedException):
        exchange_stomp_message("web", "guess", "web-stomp")


def directory_says_who_may_do_what(server):
    # In the group of the name, and in one that is in it.
    for vhost in ("sales", "staff"):
        with channel("ann", "ann's", vhost=vhost, server=server) as allowed:
            exchange_message(allowed, "ann-1")
            with fails_with(pika.exceptions.ChannelClosedByBroker, "403", "queue 'bob-1'"):
                allowed.queue_declare("bob-1")
    is_shut("/", "ann", "ann's", server=server)
    is_shut("sales", "bob", "bob's", server=server)
    is_refused("ann", "bob's", server=server)
    is_refused("ann,ou=people", "ann's", server=server)
    is_refused("*", "ann's", server=server)
    exchange_stomp_message("ann", "ann's", "ann-stomp", server=server, vhost="sales")


BY_FORM = f'user-dn-pattern = "uid=${{username}},ou=people,{SUFFIX}"'
BY_SEARCH = f'user-lookup = {{ attribute = "uid", base = "{SUFFIX}" }}'


@check
def a_directory_is_asked_over_tls():
    directory_says_who_may_do_what(world.with_ldap(BY_FORM))


@check
def a_directory_is_asked_over_starttls_and_searched_for_users():
    server = world.with_ldap(BY_SEARCH, start_tls=True)
    directory_says_who_may_do_what(server)


@check
def a_directory_that_is_down_lets_nobody_in_and_comes_back():
    server = world.with_ldap(BY_SEARCH)
    with channel("ann", "ann's", vhost="sales", server=server):
        pass
    world.slapd.stop()
    is_refused("ann", "ann's", server=server)
    server.wait_for("the service gives no answer")
    with channel("till", "till", server=server):
        pass
    world.slapd.start()
    with channel("ann", "ann's", vhost="sales", server=server) as allowed:
        exchange_message(allowed, "ann-1")


#: What must never stand in a log.
SECRETS = ("guess", "ann's", "bob's", "of the server", READER_PASSWORD, "password=web", "eyJ")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--leveret",
        default=str(pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"), "release", "leveret")),
        help="the server's program (of the release build, with the feature auth-ldap)",
    )
    parser.add_argument("--no-ldap", action="store_true", help="leave out what needs slapd and the feature auth-ldap")
    return parser.parse_args()


def main():
    global world
    asked = arguments()
    scratch = tempfile.mkdtemp(prefix="leveret-backends-")
    cache = os.environ.get("INTEROP_CACHE", ROOT / "target" / "interop")
    slapd = None if asked.no_ldap else directory.find(cache)
    report = Report()
    world = None
    try:
        world = World(asked.leveret, scratch, slapd)
        for function in all_checks():
            if "directory" in function.__name__ and not slapd:
                print(f"left out, without slapd: {function.__name__.replace('_', ' ')}")
                continue
            try:
                function()
                report.add(function)
            except Exception as error:
                report.add(function, error)
        log = world.stop()
        leaks = [line for line in log for secret in SECRETS if secret in line]
        if leaks:
            raise RuntimeError(f"the log shows what is secret: {leaks[:3]}")
    finally:
        if world:
            world.kill()
        shutil.rmtree(scratch)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
