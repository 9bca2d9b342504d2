"""What stomp.py expects of a broker."""

import stomp

from harness import QUIET, check, fails_with, fresh_name, holds, same

from .session import Session

VERSIONS = ("1.0", "1.1", "1.2")


@check
def every_version_sends_and_receives():
    for version in VERSIONS:
        session = Session(version)
        destination = "/queue/" + fresh_name("queue")
        session.subscribe(destination, **{"auto-delete": "true"})
        session.send(destination, "hello", custom="a:b\\c")
        message = session.next("message")
        same(message.body, b"hello", f"body in {version}")
        same(message.headers["destination"], destination)
        same(message.headers["custom"], "a:b\\c" if version != "1.0" else message.headers["custom"])


@check
def a_wrong_passcode_is_refused():
    with fails_with(stomp.exception.ConnectFailedException):
        Session(passcode="wrong")


@check
def bodies_are_bytes():
    session = Session()
    destination = "/queue/" + fresh_name("queue")
    session.subscribe(destination, **{"auto-delete": "true"})
    body = bytes(range(256)) * 4000
    session.send(destination, body, content_type="application/octet-stream")
    message = session.next("message")
    same(message.body, body)
    same(message.headers["content-type"], "application/octet-stream")


@check
def topics_reach_every_subscriber_and_patterns_match():
    topic = fresh_name("topic")
    sessions = [Session() for _ in range(3)]
    for session in sessions:
        session.subscribe(f"/topic/{topic}.*")
    sessions[0].send(f"/topic/{topic}.a", "to all")
    sessions[0].send(f"/topic/{topic}.a.b", "to nobody")
    for session in sessions:
        same(session.next("message").body, b"to all")
    sessions[0].send(f"/topic/{topic}.c", "after")
    for session in sessions:
        same(session.next("message").body, b"after")


@check
def ten_thousand_messages_arrive_in_order():
    session = Session()
    name = fresh_name("queue")
    session.subscribe("/queue/" + name, ack="client", **{"auto-delete": "true", "prefetch-count": "500"})
    sender = Session()
    for number in range(10_000):
        sender.connection.send("/amq/queue/" + name, str(number))
    for number in range(10_000):
        message = session.next("message")
        same(message.body, str(number).encode())
        if number % 100 == 99:
            session.connection.ack(message.headers["ack"])


@check
def what_is_not_acknowledged_comes_again():
    name = "/queue/" + fresh_name("queue")
    first = Session()
    first.subscribe(name, ack="client-individual")
    for body in ("1", "2", "3"):
        first.send(name, body)
    held = [first.next("message") for _ in range(3)]
    first.connection.ack(held[1].headers["ack"])
    first.connection.nack(held[0].headers["ack"])
    again = first.next("message")
    same((again.body, again.headers["redelivered"]), (b"1", "true"))
    first.connection.disconnect(receipt="bye")
    second = Session()
    second.subscribe(name, **{"auto-delete": "false"})
    same({second.next("message").body for _ in range(2)}, {b"1", b"3"})


@check
def a_transaction_is_sent_at_its_commit():
    session = Session()
    destination = "/queue/" + fresh_name("queue")
    session.subscribe(destination, **{"auto-delete": "true"})
    transaction = session.connection.begin()
    session.connection.send(destination, "inside", transaction=transaction)
    session.send(destination, "outside")
    same(session.next("message").body, b"outside")
    session.connection.commit(transaction)
    same(session.next("message").body, b"inside")
    transaction = session.connection.begin()
    session.connection.send(destination, "never", transaction=transaction)
    session.connection.abort(transaction)
    session.send(destination, "last")
    same(session.next("message").body, b"last")


@check
def a_durable_subscription_waits_for_its_reader():
    topic = "/topic/" + fresh_name("topic")
    reader = fresh_name("reader")
    headers = {"durable": "true", "auto-delete": "false"}
    first = Session()
    first.subscribe(topic, subscription=reader, **headers)
    first.connection.disconnect(receipt="bye")
    Session().send(topic, "while away")
    second = Session()
    second.subscribe(topic, subscription=reader, **headers)
    same(second.next("message").body, b"while away")
    second.connection.unsubscribe(reader, headers={"durable": "true", "receipt": "gone"})
    second.receipt("gone")


@check
def an_answer_comes_back_over_a_temporary_queue():
    server, asker = Session(), Session()
    name = fresh_name("rpc")
    server.subscribe("/queue/" + name, **{"auto-delete": "true"})
    asker.send("/amq/queue/" + name, "question", reply_to="/temp-queue/answers")
    question = server.next("message")
    server.send(question.headers["reply-to"], "answer")
    answer = asker.next("message")
    same((answer.body, answer.headers["subscription"]), (b"answer", "/temp-queue/answers"))


@check
def misuse_is_an_error_and_the_session_goes_on():
    session = Session()
    session.connection.send("/nowhere/at/all", "x")
    same(session.next("error").headers["message"], "Unknown destination")
    session.send("/topic/" + fresh_name("topic"), "still here")


@check
def what_amqp_refuses_ends_the_session():
    session = Session()
    session.connection.send("/exchange/" + fresh_name("exchange") + "/key", "x")
    same(session.next("error").headers["message"], "not_found")
    session.next("end")


@check
def an_idle_session_lives_on_heart_beats():
    session = Session(heartbeats=(1000, 1000))
    with fails_with(AssertionError, "no end"):
        session.next("end", timeout=4)
    holds(session.connection.is_connected(), "the session is open")
    with fails_with(AssertionError):
        session.next("error", timeout=QUIET)
