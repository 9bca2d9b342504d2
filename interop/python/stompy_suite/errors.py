"""ERROR frames: their words, and what becomes of the session."""

import pika

from harness import broker_url, check, fresh_name, same

from .session import Session

VALID = "Valid destination types are: /temp-queue, /exchange, /topic, /queue, /amq/queue, /reply-queue/.\n"


def expect(session, title, body):
    """The next ERROR has these words."""
    error = session.next("error")
    same((error.headers["message"], error.body.decode()), (title, body))
    same((error.headers["content-type"], error.headers["version"]), ("text/plain", "1.0,1.1,1.2"))


@check
def misuse_is_an_error_and_the_session_goes_on():
    session = Session()
    for (command, headers), (title, body) in [
        (
            ("SEND", {"destination": "/nowhere/at/all"}),
            ("Unknown destination", f"'/nowhere/at/all' is not a valid destination.\n{VALID}"),
        ),
        (
            ("SEND", {"destination": "/queue/a/b"}),
            ("Invalid destination", "'/a/b' is not a valid queue destination\n"),
        ),
        (("SEND", {}), ("Missing destination", "\"SEND\" must include a 'destination' header\n")),
        (
            ("SEND", {"destination": "/topic/a", "message-id": "x"}),
            ("Invalid header", "'message-id' is not allowed on 'SEND'.\n"),
        ),
        (
            ("SUBSCRIBE", {"destination": "/topic/a", "durable": "true"}),
            ("Missing Header", "Header 'id' is required for durable subscriptions"),
        ),
        (("ACK", {}), ("Missing header", '"ACK" must include the "id" header\n')),
        (("COMMIT", {"transaction": "t1"}), ("Bad transaction", 'Invalid transaction identifier: "t1"\n')),
        (("ZORP", {}), ("Bad command", 'Could not interpret command "ZORP"\n')),
        (
            ("UNSUBSCRIBE", {"id": "zorp"}),
            (
                "No subscription found",
                "UNSUBSCRIBE must refer to an existing subscription.\nSubscription to \"id='zorp'\" not found.\n",
            ),
        ),
    ]:
        session.connection.send_frame(command, headers, "")
        expect(session, title, body)
    session.send("/topic/" + fresh_name("topic"), "still here")


@check
def what_amqp_refuses_ends_the_session():
    session = Session()
    exchange = fresh_name("exchange")
    session.connection.send(f"/exchange/{exchange}/key", "x")
    expect(session, "not_found", f"NOT_FOUND - no exchange '{exchange}' in vhost '/'")
    session.next("end")


@check
def a_queue_that_is_there_and_different_ends_the_session():
    name = fresh_name("queue")
    Session().send("/queue/" + name, "x")
    session = Session()
    session.connection.subscribe("/queue/" + name, id="1", headers={"auto-delete": "true"})
    error = session.next("error")
    same(error.headers["message"], "precondition_failed")
    same("inequivalent arg 'auto_delete' for queue" in error.body.decode(), True, error.body)
    session.next("end")
    Session().delete_queue(name)


@check
def an_identifier_in_use_ends_the_session():
    session = Session()
    topic = "/topic/" + fresh_name("topic")
    session.subscribe(topic)
    session.connection.subscribe(topic, id="1")
    expect(
        session,
        "Duplicated subscription identifier",
        "A subscription identified by 'T_1' already exists.",
    )
    session.next("end")


@check
def a_subscription_whose_queue_is_deleted_ends_alone():
    session = Session()
    name = fresh_name("queue")
    session.subscribe("/queue/" + name, subscription="s1")
    with pika.BlockingConnection(pika.URLParameters(broker_url())) as connection:
        connection.channel().queue_delete(name)
    error = session.next("error")
    same(error.headers["message"], "Server cancelled subscription")
    same(error.headers["subscription"], "s1")
    same(
        error.body.decode(),
        "The server has canceled a subscription.\nNo more messages will be delivered for \"id='s1'\".\n",
    )
    session.send("/topic/" + fresh_name("topic"), "still here")
