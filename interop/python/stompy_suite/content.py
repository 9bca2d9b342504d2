"""Bodies and headers, to the byte."""

from harness import check, fresh_name, same

from .session import VERSIONS, Session


def round_trip(session, body, **headers):
    """What a message looks like when it has gone to the broker and back."""
    destination = "/topic/" + fresh_name("topic")
    session.subscribe(destination, subscription=destination)
    session.send(destination, body, **headers)
    return session.next("message")


@check
def bodies_are_bytes():
    body = bytes(range(256)) * 4000
    for version in VERSIONS:
        message = round_trip(Session(version), body, content_type="application/octet-stream")
        same(message.body == body, True, f"the same bytes in {version}")
        same(message.headers["content-type"], "application/octet-stream")
        same(message.headers["content-length"], str(len(body)))


@check
def a_body_may_be_empty():
    for version in VERSIONS:
        message = round_trip(Session(version), "")
        same(message.body or b"", b"", f"in {version}")


@check
def header_values_survive_with_all_that_is_escaped():
    for version, value in [("1.0", "plain"), ("1.1", "a:b\\c\nd"), ("1.2", "a:b\\c\nd\re")]:
        message = round_trip(Session(version), "x", custom=value)
        same(message.headers["custom"], value, f"in {version}")


@check
def text_may_be_any():
    for version in VERSIONS:
        message = round_trip(Session(version), "Grüße, 世界 🎈", note="Grüße 🎈")
        same((message.body.decode(), message.headers["note"]), ("Grüße, 世界 🎈", "Grüße 🎈"))


@check
def properties_survive():
    properties = {
        "content-type": "text/plain",
        "content-encoding": "identity",
        "priority": "5",
        "correlation-id": "c-1",
        "expiration": "60000",
        "amqp-message-id": "m-1",
        "timestamp": "1700000000",
        "type": "greeting",
        "app-id": "suite",
        "user-id": "guest",
        "persistent": "true",
    }
    for version in VERSIONS:
        headers = round_trip(Session(version), "x", **properties).headers
        same({name: headers.get(name) for name in properties}, properties, f"in {version}")


@check
def of_a_repeated_header_the_first_counts():
    session = Session()
    destination = "/topic/" + fresh_name("topic")
    session.subscribe(destination)
    frame = f"SEND\ndestination:{destination}\nnote:first\nnote:second\n\nx\0"
    session.connection.transport.send(frame.encode())
    same(session.next("message").headers["note"], "first")
