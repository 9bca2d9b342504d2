//! What a client puts into headers in one protocol forges nothing in another: no frame, no header of the server's, no name.
#![cfg(feature = "stomp")]

mod support;

use leveret_broker::{Broker, Properties, Value};
use leveret_stomp_codec::{Command, Frame};
use support::{Greeting, Stomp, Wire, broker, short, start, table};

/// What would be frames of the server's, were it written as it is.
const FRAMES: &str = "a\r\n\nforged body\0\nRECEIPT\nreceipt-id:r9\n\n\0MESSAGE\nsubscription:1\nmessage-id:x\n\nforged\0";

/// Names and values of headers that no client of STOMP is to see as the server's words.
fn forged() -> Properties {
    let text = |text: &str| Value::from(text);
    Properties {
        content_type: Some("a\nforged:type".to_owned()),
        correlation_id: Some(FRAMES.to_owned()),
        message_id: Some("m\r\nforged:id".to_owned()),
        app_id: Some("a\\nforged:app".to_owned()),
        headers: Some(table([
            ("evil", text(FRAMES)),
            ("forged\nname", text("yes")),
            ("forged:colon", text("yes")),
            ("x\0forged", text("yes")),
            ("x\rforged", text("yes")),
            ("\nforged", text("yes")),
            ("", text("nothing")),
            ("subscription", text("9")),
            ("message-id", text("forged")),
            ("destination", text("/queue/forged")),
            ("redelivered", text("true")),
            ("ack", text("forged")),
            ("content-length", text("1")),
            ("user-id", text("admin")),
            ("receipt-id", text("r9")),
        ])),
        ..Properties::default()
    }
}

/// What the server says of a message, once each.
fn check_message(frame: &Frame, version: &str) {
    assert_eq!(frame.command, Command::Message);
    assert_eq!(frame.body, b"body"[..], "STOMP {version}");
    let of = |name: &str| {
        let values = frame.headers.iter().filter(|(of, _)| *of == name);
        values
            .map(|(_, value)| value.to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("destination"), ["/queue/q"], "STOMP {version}");
    assert_eq!(of("redelivered"), ["false"], "STOMP {version}");
    assert_eq!(of("content-length"), ["4"], "STOMP {version}");
    assert_eq!(of("message-id").len(), 1, "STOMP {version}");
    assert!(!of("message-id")[0].contains("forged"), "STOMP {version}");
    assert_eq!(of("user-id"), [""; 0], "STOMP {version}");
    assert_eq!(of("forged"), [""; 0], "STOMP {version}: {frame:?}");
    if version != "1.0" {
        assert_eq!(of("subscription"), ["1"], "STOMP {version}");
    }
}

#[tokio::test]
async fn amqp_headers_forge_nothing_for_stomp() {
    for version in ["1.0", "1.1", "1.2"] {
        let broker = broker().await;
        let mut stomp = Stomp::connect_with(&broker, &[("accept-version", version)]).await;
        stomp.subscribe("/queue/q", "1", "auto").await;
        let mut wire = Wire::open(&broker).await;
        wire.publish_with("", "q", &forged(), "body").await;
        check_message(&stomp.next().await.unwrap(), version);
        // Nothing else came: the next frame is the answer to this.
        stomp.publish("/queue/elsewhere", "m").await;
    }
}

/// Keys and names of exchanges go into the destination, which clients of STOMP act upon.
#[tokio::test]
async fn routing_keys_forge_no_destination() {
    let broker = broker().await;
    let mut stomp = Stomp::connect(&broker).await;
    stomp.subscribe("/topic/#", "1", "auto").await;
    let mut wire = Wire::open(&broker).await;
    wire.publish("amq.topic", "a\n\nforged\0MESSAGE\nforged:yes\n\n", "body")
        .await;
    let frame = stomp.next().await.unwrap();
    assert_eq!(
        (frame.command, &*frame.body),
        (Command::Message, &b"body"[..])
    );
    assert_eq!(frame.header("forged"), None);
    let destination = frame.header("destination").unwrap();
    assert!(destination.starts_with("/topic/a"), "{destination}");
    stomp.publish("/queue/elsewhere", "m").await;
}

async fn consumer(broker: &Broker) -> Wire {
    let mut wire = Wire::open(broker).await;
    wire.declare_queue(&leveret_amqp_codec::method::queue::Declare {
        queue: short("q"),
        durable: true,
        ..Default::default()
    })
    .await;
    wire.consume_no_ack("q").await;
    wire
}

#[tokio::test]
async fn stomp_headers_forge_nothing_for_amqp() {
    let broker = broker().await;
    let mut wire = consumer(&broker).await;
    let mut stomp = Stomp::connect(&broker).await;
    let headers = [
        ("destination", "/queue/q"),
        ("custom", "a\r\n\u{1}\u{ce}:b"),
        ("two\nlines", "x"),
        ("subscription", "9"),
        ("redelivered", "true"),
        ("x-death", "forged"),
        ("amqp-message-id", "own"),
    ];
    stomp.tell(Command::Send, &headers, b"body").await;
    let delivered = wire.delivery().await;
    assert_eq!(delivered.text(), "body");
    assert!(!delivered.redelivered);
    assert_eq!((&*delivered.exchange, &*delivered.routing_key), ("", "q"));
    let properties = delivered.properties;
    assert_eq!(properties.message_id.as_deref(), Some("own"));
    assert_eq!(properties.user_id, None);
    let table = properties.headers.unwrap();
    assert_eq!(
        table.get("custom"),
        Some(&Value::from("a\r\n\u{1}\u{ce}:b"))
    );
    assert_eq!(table.get("two\nlines"), Some(&Value::from("x")));
    wire.quiet().await;

    // It would come back to clients of STOMP as the server's.
    let headers = [
        ("destination", "/queue/q"),
        ("message-id", "T_1@@forged@@1"),
    ];
    stomp.send(Command::Send, &headers, b"forged").await;
    stomp.expect_error("Invalid header").await;
    wire.quiet().await;
}

#[tokio::test]
async fn nobody_speaks_in_the_name_of_another() {
    let users = leveret_broker::UserTable::guest().with_user("ann", "secret");
    let broker = start(Broker::builder().authenticator(users)).await;
    let mut wire = consumer(&broker).await;
    for headers in [
        // Of repeated headers the first counts, whichever it is.
        &[("user-id", "ann")][..],
        &[("user-id", "ann"), ("user-id", "guest")],
    ] {
        let mut stomp = Stomp::connect(&broker).await;
        let headers = [&[("destination", "/queue/q")], headers].concat();
        stomp.send(Command::Send, &headers, b"forged").await;
        let error = stomp.expect(Command::Error).await;
        assert_eq!(error.header("message"), Some("precondition_failed"));
    }
    let mut stomp = Stomp::connect(&broker).await;
    let headers = [
        ("destination", "/queue/q"),
        ("user-id", "guest"),
        ("user-id", "ann"),
    ];
    stomp.tell(Command::Send, &headers, b"own").await;
    let delivered = wire.delivery().await;
    assert_eq!(delivered.text(), "own");
    assert_eq!(delivered.properties.user_id.as_deref(), Some("guest"));
    wire.quiet().await;

    // What the broker vouches for in AMQP it vouches for in STOMP too.
    let greeting = Greeting {
        response: b"\0ann\0secret".to_vec(),
        ..Greeting::default()
    };
    let mut ann = greeting.open_channel(&broker).await;
    stomp.subscribe("/queue/other", "1", "auto").await;
    let properties = Properties {
        user_id: Some("ann".to_owned()),
        headers: Some(table([("user-id", "guest".into())])),
        ..Properties::default()
    };
    ann.publish_with("", "other", &properties, "m").await;
    let frame = stomp.next().await.unwrap();
    let names: Vec<_> = frame
        .headers
        .iter()
        .filter(|(name, _)| *name == "user-id")
        .map(|(_, value)| value)
        .collect();
    assert_eq!(names, ["ann"]);
}
