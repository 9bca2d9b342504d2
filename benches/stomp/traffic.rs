//! The frames that the benches of the STOMP codec send to and fro, shared with the workspace of the peers.

use leveret_stomp_codec::{Command, Frame};

/// What browsers send all day.
pub(crate) fn send() -> Frame {
    let headers = [
        ("destination", "/topic/rooms.4711.events"),
        ("content-type", "application/json"),
        ("receipt", "r-1234"),
    ];
    Frame::new(Command::Send, headers).with_body(r#"{"kind":"chat","text":"hello, everybody"}"#)
}

/// What the broker sends all day.
pub(crate) fn message() -> Frame {
    let headers = [
        ("subscription", "sub-0"),
        ("destination", "/topic/rooms.4711.events"),
        (
            "message-id",
            "T_sub-0@@session-aaaaaaaaaaaaaaaaaaaaaa@@1234",
        ),
        ("redelivered", "false"),
        ("content-type", "application/json"),
        ("persistent", "true"),
        ("correlation-id", "5c6e1f0"),
        ("timestamp", "1700000000"),
    ];
    Frame::new(Command::Message, headers).with_body(r#"{"kind":"chat","text":"hello, everybody"}"#)
}
