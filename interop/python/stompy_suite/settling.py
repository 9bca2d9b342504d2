"""ACK, NACK, prefetch and transactions."""

from harness import QUIET, check, fails_with, fresh_name, same

from .session import VERSIONS, Session


def left_in(*destinations):
    """The bodies that are left in queues, in order."""
    session = Session()
    for number, destination in enumerate(destinations):
        session.send(destination, "END")
        session.subscribe(destination, subscription=str(number))
    bodies = []
    ends = 0
    while ends < len(destinations):
        body = session.next("message").body
        ends += body == b"END"
        if body != b"END":
            bodies.append(body.decode())
    for destination in destinations:
        session.delete_queue(destination.removeprefix("/queue/"))
    return bodies


def queue():
    return "/queue/" + fresh_name("queue")


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
            session.ack(message)


@check
def a_cumulative_acknowledgement_covers_the_whole_session():
    for version in VERSIONS:
        session = Session(version)
        one, other = queue(), queue()
        session.subscribe(one, subscription="1", ack="client")
        session.subscribe(other, subscription="2", ack="client")
        held = []
        for destination, body in [(one, "1"), (other, "2"), (one, "3"), (other, "4")]:
            session.send(destination, body)
            held.append(session.next("message"))
        session.ack(held[2])
        session.leave()
        same(left_in(one, other), ["4"], f"what is left in {version}")


@check
def an_individual_acknowledgement_settles_one():
    for version in VERSIONS:
        session = Session(version)
        name = queue()
        session.subscribe(name, ack="client-individual")
        for body in ("1", "2", "3"):
            session.send(name, body)
        held = [session.next("message") for _ in range(3)]
        session.ack(held[1])
        session.leave()
        same(left_in(name), ["1", "3"], f"what is left in {version}")


@check
def what_is_refused_comes_again():
    for version in VERSIONS:
        session = Session(version)
        name = queue()
        session.subscribe(name, ack="client-individual", **{"auto-delete": "true"})
        session.send(name, "x")
        session.nack(session.next("message"))
        again = session.next("message")
        same((again.body, again.headers["redelivered"]), (b"x", "true"), f"in {version}")
        session.ack(again)


@check
def what_is_refused_without_requeue_is_dead_lettered():
    session = Session()
    dead, name = queue(), fresh_name("queue")
    session.subscribe(dead, subscription="dead", **{"auto-delete": "true"})
    letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead.removeprefix("/queue/")}
    session.subscribe("/queue/" + name, ack="client-individual", **{"auto-delete": "true"} | letters)
    session.send("/amq/queue/" + name, "bad")
    session.nack(session.next("message"), requeue="false")
    letter = session.next("message")
    same((letter.body, letter.headers["subscription"]), (b"bad", "dead"))
    with fails_with(AssertionError, "no message"):
        session.next("message", timeout=QUIET)


@check
def no_more_is_on_its_way_than_prefetch_count_says():
    session = Session()
    name = queue()
    session.subscribe(name, ack="client-individual", **{"auto-delete": "true", "prefetch-count": "2"})
    for body in ("1", "2", "3"):
        session.send("/amq" + name, body)
    held = [session.next("message") for _ in range(2)]
    with fails_with(AssertionError, "no message"):
        session.next("message", timeout=QUIET)
    session.ack(held[0])
    same(session.next("message").body, b"3")


@check
def what_is_sent_in_a_transaction_goes_out_at_its_commit():
    for version in VERSIONS:
        session = Session(version)
        destination = queue()
        session.subscribe(destination, **{"auto-delete": "true"})
        transaction = session.connection.begin()
        session.connection.send(destination, "inside", transaction=transaction)
        session.send(destination, "outside", **{"auto-delete": "true"})
        same(session.next("message").body, b"outside")
        session.connection.commit(transaction)
        same(session.next("message").body, b"inside")
        transaction = session.connection.begin()
        session.connection.send(destination, "never", transaction=transaction)
        session.connection.abort(transaction)
        session.send(destination, "last")
        same(session.next("message").body, b"last")


@check
def what_is_acknowledged_in_a_transaction_is_settled_at_its_commit():
    for ending, left in [("commit", []), ("abort", ["x"]), (None, ["x"])]:
        session = Session()
        name = queue()
        session.subscribe(name, ack="client-individual")
        session.send(name, "x")
        transaction = session.connection.begin()
        session.ack(session.next("message"), transaction=transaction)
        if ending is not None:
            getattr(session.connection, ending)(transaction)
        session.leave()
        same(left_in(name), left, f"what is left after {ending}")
