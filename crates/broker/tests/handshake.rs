//! From the protocol header to connection.open-ok, and what becomes of those who do not get there.

mod support;

use std::time::Duration;

use leveret_amqp_codec::{Method, ProtocolHeader};
use leveret_broker::{Broker, UserTable};
use support::{Greeting, Wire, broker, pass, start, timed_broker, until};

/// Shakes hands with these values, and hears the refusal to them.
async fn check_refused_tuning(greeting: Greeting, what: &str) {
    let broker = broker().await;
    let mut wire = greeting.authenticate(&broker).await;
    wire.expect_on(0, "connection.tune").await;
    greeting.tune(&mut wire).await;
    // RabbitMQ 3 drops such a client without a word.
    wire.expect_end().await;
    until(what, || broker.connection_count() == 0).await;
}

#[tokio::test]
async fn a_good_client_is_let_in() {
    let broker = broker().await;
    let wire = Wire::open(&broker).await;
    assert_eq!(broker.connection_count(), 1);
    wire.close().await;
    until("the connection to be forgotten", || {
        broker.connection_count() == 0
    })
    .await;
}

#[tokio::test]
async fn the_server_says_what_it_is_and_proposes_limits() {
    let broker = start(
        Broker::builder()
            .product("hare", "1.2.3")
            .channel_max(7)
            .frame_size_max(8192),
    )
    .await;
    let mut wire = Wire::dial(&broker).await;
    wire.send_bytes(&ProtocolHeader::AMQP_0_9_1).await;
    let heard = wire.expect_on(0, "connection.start").await;
    let Method::ConnectionStart(start) = heard.method() else {
        unreachable!()
    };
    assert_eq!((start.version_major, start.version_minor), (0, 9));
    assert_eq!(start.mechanisms, b"PLAIN AMQPLAIN");
    let text = |name| {
        start
            .server_properties
            .get(name)
            .and_then(|value| value.as_str())
    };
    assert_eq!(
        (text("product"), text("version")),
        (Some("hare"), Some("1.2.3"))
    );
    let capabilities = start
        .server_properties
        .get("capabilities")
        .and_then(|value| value.as_table());
    let claims = |name| {
        capabilities
            .and_then(|table| table.get(name))
            .and_then(|value| value.as_bool())
    };
    assert_eq!(claims("publisher_confirms"), Some(true));
    assert_eq!(claims("direct_reply_to"), Some(true));

    let mut wire = Greeting::default().authenticate(&broker).await;
    let heard = wire.expect_on(0, "connection.tune").await;
    let Method::ConnectionTune(tune) = heard.method() else {
        unreachable!()
    };
    assert_eq!(
        (tune.channel_max, tune.frame_max, tune.heartbeat),
        (7, 8192, 60)
    );
}

#[tokio::test]
async fn the_header_of_0_9_is_taken_for_0_9_1() {
    let broker = broker().await;
    let greeting = Greeting {
        header: *b"AMQP\x01\x01\x00\x09",
        ..Greeting::default()
    };
    greeting.connect(&broker).await;
}

#[tokio::test]
async fn another_protocol_is_told_which_one_is_spoken() {
    let broker = broker().await;
    for header in [
        b"AMQP\x03\x01\x00\x00",
        b"AMQP\x00\x01\x00\x00",
        b"GET / HT",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
    ] {
        let mut wire = Wire::dial(&broker).await;
        wire.send_bytes(header).await;
        assert_eq!(
            wire.rest().await,
            ProtocolHeader::AMQP_0_9_1,
            "to {header:?}"
        );
    }
    until("the connections to be forgotten", || {
        broker.connection_count() == 0
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_answered_if_the_client_understands_the_answer() {
    let broker = broker().await;
    let greeting = Greeting {
        response: b"\0guest\0wrong".to_vec(),
        ..Greeting::default()
    };
    let mut wire = greeting.authenticate(&broker).await;
    let closed = wire.expect_on(0, "connection.close").await.into_closed();
    assert_eq!((closed.code, closed.method), (403, (0, 0)));
    assert_eq!(
        closed.text,
        "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile."
    );
    wire.expect_end().await;
}

#[tokio::test]
async fn a_wrong_password_is_met_with_silence_otherwise() {
    let broker = broker().await;
    let response = b"\0guest\0wrong".to_vec();
    let greeting = Greeting {
        response,
        capabilities: vec![],
        ..Greeting::default()
    };
    greeting.authenticate(&broker).await.expect_end().await;
}

#[tokio::test]
async fn who_was_refused_is_kept_waiting_as_long_as_the_server_wants() {
    let clock = leveret_broker::VirtualClock::new();
    let builder = Broker::builder()
        .virtual_clock(clock.clone())
        .refusal_delay(Duration::from_secs(3));
    let broker = start(builder).await;
    let greeting = Greeting {
        response: b"\0guest\0wrong".to_vec(),
        ..Greeting::default()
    };
    let mut wire = greeting.authenticate(&broker).await;
    wire.expect_on(0, "connection.close").await;
    pass(&broker, &clock, 2_999).await;
    assert_eq!(broker.connection_count(), 1);
    pass(&broker, &clock, 1).await;
    wire.expect_end().await;
    assert_eq!(broker.connection_count(), 0);
}

#[tokio::test]
async fn amqplain_and_users_of_ones_own_work() {
    let users = UserTable::new().with_user("ann", "secret");
    let broker = start(Broker::builder().authenticator(users)).await;
    let response = b"\x05LOGINS\0\0\0\x03ann\x08PASSWORDS\0\0\0\x06secret".to_vec();
    let ann = Greeting {
        mechanism: "AMQPLAIN",
        response,
        ..Greeting::default()
    };
    ann.connect(&broker).await;
    let mut guest = Greeting::default().authenticate(&broker).await;
    assert_eq!(
        guest
            .expect_on(0, "connection.close")
            .await
            .into_closed()
            .code,
        403
    );
}

#[tokio::test]
async fn a_mechanism_or_response_that_makes_no_sense_is_met_with_silence() {
    let broker = broker().await;
    for (mechanism, response) in [
        ("EXTERNAL", "\0guest\0guest"),
        ("PLAIN", "guest"),
        ("AMQPLAIN", "\0guest\0guest"),
    ] {
        let greeting = Greeting {
            mechanism,
            response: response.into(),
            ..Greeting::default()
        };
        greeting.authenticate(&broker).await.expect_end().await;
    }
}

#[tokio::test]
async fn an_unknown_virtual_host_is_refused() {
    let broker = broker().await;
    let greeting = Greeting {
        vhost: "zorp",
        ..Greeting::default()
    };
    let mut wire = greeting.authenticate(&broker).await;
    wire.expect_on(0, "connection.tune").await;
    greeting.tune(&mut wire).await;
    greeting.open(&mut wire).await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!((closed.code, closed.method), (530, (10, 40)));
    assert_eq!(closed.text, "NOT_ALLOWED - vhost zorp not found");
}

#[tokio::test]
async fn a_client_may_not_ask_for_more_than_was_proposed() {
    let good = Greeting::default;
    check_refused_tuning(
        Greeting {
            channel_max: 2048,
            ..good()
        },
        "2048 channels",
    )
    .await;
    check_refused_tuning(
        Greeting {
            channel_max: 0,
            ..good()
        },
        "any number of channels",
    )
    .await;
    check_refused_tuning(
        Greeting {
            frame_max: 131_073,
            ..good()
        },
        "a larger frame",
    )
    .await;
    check_refused_tuning(
        Greeting {
            frame_max: 0,
            ..good()
        },
        "frames of any size",
    )
    .await;
    check_refused_tuning(
        Greeting {
            frame_max: 4095,
            ..good()
        },
        "a frame that is too small",
    )
    .await;
}

#[tokio::test]
async fn a_client_may_ask_for_as_little_as_one_channel_and_the_smallest_frame() {
    let broker = broker().await;
    let greeting = Greeting {
        channel_max: 1,
        frame_max: 4096,
        ..Greeting::default()
    };
    let mut wire = greeting.open_channel(&broker).await;
    wire.declare("q").await;
    let body = vec![b'x'; 10_000];
    wire.publish("", "q", &body).await;
    assert_eq!(wire.get("q").await.unwrap().body, body);

    wire.channel = 2;
    wire.send(&leveret_amqp_codec::method::channel::Open {})
        .await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!(closed.code, 530);
    assert_eq!(
        closed.text,
        "NOT_ALLOWED - number of channels opened (1) has reached the negotiated channel_max (1)"
    );
}

#[tokio::test]
async fn without_limits_of_the_servers_a_client_may_ask_for_none() {
    let broker = start(Broker::builder().channel_max(0)).await;
    let greeting = Greeting {
        channel_max: 0,
        ..Greeting::default()
    };
    let mut wire = greeting.connect(&broker).await;
    for channel in [1, 2048, 65_535] {
        wire.open_channel(channel).await;
    }
}

#[tokio::test]
async fn tune_ok_and_open_may_be_sent_without_waiting() {
    let broker = broker().await;
    let greeting = Greeting::default();
    let mut wire = Wire::dial(&broker).await;
    wire.send_bytes(&greeting.header).await;
    let properties = greeting.client_properties();
    wire.send_on(0, &greeting.start_ok(&properties)).await;
    greeting.tune(&mut wire).await;
    greeting.open(&mut wire).await;
    for name in ["connection.start", "connection.tune", "connection.open-ok"] {
        wire.expect_on(0, name).await;
    }
}

#[tokio::test]
async fn who_stays_silent_is_dropped_after_the_handshake_timeout() {
    let (broker, clock) = timed_broker().await;
    let mut silent = Wire::dial(&broker).await;
    let mut slow = Greeting::default().authenticate(&broker).await;
    slow.expect_on(0, "connection.tune").await;
    let mut opened = Wire::open(&broker).await;
    until("all three to be there", || broker.connection_count() == 3).await;
    pass(&broker, &clock, 9_999).await;
    assert_eq!(broker.connection_count(), 3);
    pass(&broker, &clock, 1).await;
    silent.expect_end().await;
    slow.expect_end().await;
    opened.quiet().await;
    assert_eq!(broker.connection_count(), 1);
}

#[tokio::test]
async fn more_connections_than_allowed_are_closed_at_once() {
    let broker = start(Broker::builder().connections_max(1)).await;
    let mut first = Wire::open(&broker).await;
    Wire::dial(&broker).await.expect_end().await;
    first.quiet().await;
    first.close().await;
    until("the first to be forgotten", || {
        broker.connection_count() == 0
    })
    .await;
    Wire::open(&broker).await;
}
