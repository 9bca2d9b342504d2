"""Topics, exchanges, queues of others, durable subscriptions, and replies."""

from harness import QUIET, check, fails_with, fresh_name, same

from .session import VERSIONS, Session


@check
def topics_reach_every_subscriber_and_patterns_match():
    topic = fresh_name("topic")
    sessions = [Session(version) for version in VERSIONS]
    for session in sessions:
        session.subscribe(f"/topic/{topic}.*")
    sessions[0].send(f"/topic/{topic}.a", "to all")
    sessions[0].send(f"/topic/{topic}.a.b", "to nobody")
    for session in sessions:
        same(session.next("message").body, b"to all")
    sessions[0].send(f"/topic/{topic}.c", "after")
    for session in sessions:
        message = session.next("message")
        same((message.body, message.headers["destination"]), (b"after", f"/topic/{topic}.c"))


@check
def exchanges_are_reached_by_name_and_key():
    session = Session()
    key = fresh_name("key")
    session.subscribe(f"/exchange/amq.direct/{key}")
    session.send(f"/exchange/amq.direct/{key}", "direct")
    message = session.next("message")
    same((message.body, message.headers["destination"]), (b"direct", f"/exchange/amq.direct/{key}"))
    session.subscribe("/exchange/amq.fanout", subscription="all")
    session.send("/exchange/amq.fanout", "fanout")
    same(session.next("message").headers["subscription"], "all")


@check
def names_with_slashes_are_percent_encoded():
    session = Session()
    name = fresh_name("a/b")
    destination = "/queue/" + name.replace("/", "%2F")
    session.subscribe(destination, **{"auto-delete": "true"})
    session.send(destination, "x")
    same(session.next("message").headers["destination"], destination)


@check
def what_is_sent_to_a_queue_waits_there():
    session = Session()
    name = fresh_name("queue")
    session.send("/queue/" + name, "waits")
    session.send("/amq/queue/" + name, "too")
    session.subscribe("/amq/queue/" + name)
    same([session.next("message").body for _ in range(2)], [b"waits", b"too"])
    session.delete_queue(name)


@check
def nothing_comes_after_unsubscribing():
    for version in VERSIONS:
        session = Session(version)
        topic = "/topic/" + fresh_name("topic")
        session.subscribe(topic)
        session.connection.unsubscribe(id="1", headers={"receipt": "gone"})
        session.receipt("gone")
        session.send(topic, "x")
        with fails_with(AssertionError, "no message"):
            session.next("message", timeout=QUIET)


@check
def a_durable_subscription_waits_for_its_reader():
    for version in VERSIONS:
        topic = "/topic/" + fresh_name("topic")
        reader = fresh_name("reader")
        headers = {"durable": "true", "auto-delete": "false"}
        first = Session(version)
        first.subscribe(topic, subscription=reader, **headers)
        first.leave()
        Session().send(topic, "while away")
        second = Session(version)
        second.subscribe(topic, subscription=reader, **headers)
        same(second.next("message").body, b"while away")
        second.connection.unsubscribe(id=reader, headers={"durable": "true", "receipt": "gone"})
        second.receipt("gone")
        # It has ended for good.
        Session().send(topic, "to nobody")
        second.subscribe(topic, subscription=reader, durable="true")
        with fails_with(AssertionError, "no message"):
            second.next("message", timeout=QUIET)


@check
def an_answer_comes_back_over_a_temporary_queue():
    for version in VERSIONS:
        server, asker = Session(version), Session(version)
        name = fresh_name("rpc")
        server.subscribe("/queue/" + name, **{"auto-delete": "true"})
        for number in range(2):
            asker.send("/amq/queue/" + name, f"question {number}", reply_to="/temp-queue/answers")
            question = server.next("message")
            # The same for all questions, and whoever answers sends there.
            same(question.headers["reply-to"].startswith("/reply-queue/"), True, "a reply queue")
            server.send(question.headers["reply-to"], f"answer {number}")
            answer = asker.next("message")
            same(
                (answer.body, answer.headers["subscription"]),
                (f"answer {number}".encode(), "/temp-queue/answers"),
            )


@check
def a_temporary_queue_is_nobody_elses():
    asker, other = Session(), Session()
    other.connection.subscribe("/temp-queue/answers", id="1")
    same(other.next("error").headers["message"], "Invalid destination")
    other.connection.send("/temp-queue/answers", "x")
    same(other.next("error").headers["message"], "Invalid destination")
    asker.subscribe("/topic/" + fresh_name("topic"), subscription="still there")
