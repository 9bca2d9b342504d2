"""Sessions: versions, logins, heart-beats, receipts, and how they end."""

import urllib.parse

import stomp

from harness import QUIET, check, fails_with, fresh_name, holds, same
from relay import Relay

from .session import NEWER, VERSIONS, Session, address


@check
def every_version_sends_and_receives():
    for version in VERSIONS:
        session = Session(version)
        destination = "/queue/" + fresh_name("queue")
        session.subscribe(destination, **{"auto-delete": "true"})
        session.send(destination, "hello")
        message = session.next("message")
        same(message.body, b"hello", f"body in {version}")
        same(message.headers["destination"], destination)
        same(message.headers["subscription"], "1")


@check
def a_wrong_passcode_is_refused():
    for version in VERSIONS:
        with fails_with(stomp.exception.ConnectFailedException):
            Session(version, passcode="wrong")


@check
def every_frame_that_asks_for_a_receipt_gets_one():
    for version in VERSIONS:
        session = Session(version)
        destination = "/queue/" + fresh_name("queue")
        asked = []

        def ask(command, **headers):
            asked.append(f"{command} {len(asked)}")
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            session.connection.send_frame(command, named | {"receipt": asked[-1]}, "")

        ask("SUBSCRIBE", id="1", destination=destination, ack="client", auto_delete="true")
        ask("SEND", destination=destination)
        ask("BEGIN", transaction="t")
        ask("ABORT", transaction="t")
        ask("BEGIN", transaction="u")
        ask("COMMIT", transaction="u")
        # That of a message comes when it has been confirmed, which may be later.
        got = [session.next("receipt").headers["receipt-id"] for _ in asked]
        same(sorted(got), sorted(asked), f"receipts in {version}")
        session.ack(session.next("message"), receipt="acked")
        session.receipt("acked")
        ask("UNSUBSCRIBE", id="1")
        ask("DISCONNECT")
        session.receipt(asked[-2])
        session.receipt(asked[-1])
        session.next("end")


@check
def the_receipt_of_a_message_comes_although_nobody_wants_it():
    session = Session()
    session.send("/topic/" + fresh_name("nobody"), "x")
    session.send("/amq/queue/" + fresh_name("nothing"), "x")


@check
def an_idle_session_lives_on_heart_beats():
    for version in NEWER:
        session = Session(version, heartbeats=(1000, 1000))
        with fails_with(AssertionError, "no end"):
            # stomp.py itself ends a session whose broker is silent for this long.
            session.next("end", timeout=4)
        holds(session.connection.is_connected(), "the session is open")
        with fails_with(AssertionError, "no error"):
            session.next("error", timeout=QUIET)


@check
def a_client_whose_heart_beats_stop_is_dropped():
    url = urllib.parse.urlsplit(address())
    with Relay(url.hostname, url.port) as relay:
        session = Session(port=relay.port, heartbeats=(1000, 0))
        session.send("/topic/" + fresh_name("topic"), "heard")
        relay.mute()
        session.next("end")


@check
def without_heart_beats_a_silent_client_stays():
    url = urllib.parse.urlsplit(address())
    with Relay(url.hostname, url.port) as relay:
        session = Session(port=relay.port)
        relay.mute()
        with fails_with(AssertionError, "no end"):
            session.next("end", timeout=3)


@check
def what_a_lost_client_held_is_for_the_next():
    url = urllib.parse.urlsplit(address())
    name = fresh_name("queue")
    with Relay(url.hostname, url.port) as relay:
        lost = Session(port=relay.port)
        lost.subscribe("/queue/" + name, ack="client")
        lost.send("/queue/" + name, "held")
        same(lost.next("message").body, b"held")
        relay.cut()
        other = Session()
        other.subscribe("/queue/" + name, **{"auto-delete": "false"})
        message = other.next("message")
        same((message.body, message.headers["redelivered"]), (b"held", "true"))
        other.delete_queue(name)
