//! How much one connection, one user and one virtual host may have where nobody has said anything else of them.

mod support;

use leveret_amqp_codec::method::{basic, channel, connection, queue};
use leveret_broker::{
    AccountChange, Accounts, Broker, Builder, Identity, Permissions, User, UserLimits, UserTable,
    VhostLimits,
};
#[cfg(feature = "stomp")]
use leveret_stomp_codec::Command;
#[cfg(feature = "stomp")]
use support::Stomp;
use support::{Closed, Greeting, Wire, short, start, table, until, with_headers};

/// A broker with accounts, to which `guest` alone belongs.
async fn with_guest(builder: Builder) -> Broker {
    let guest = User::new("guest");
    let accounts = Accounts::default().with_user(guest, "/", Permissions::everything());
    let builder = builder.authenticator(UserTable::guest()).vhost("other");
    start(builder.accounts(accounts)).await
}

/// Why a connection that wants to open `/` may not.
async fn refused(broker: &Broker) -> Closed {
    let greeting = Greeting::default();
    let mut wire = greeting.authenticate(broker).await;
    wire.expect_on(0, "connection.tune").await;
    greeting.tune(&mut wire).await;
    greeting.open(&mut wire).await;
    wire.expect_connection_closed().await
}

async fn expect_refused(wire: &mut Wire, text: &str) {
    let closed = wire.expect_channel_closed().await;
    assert_eq!((closed.code, &*closed.text), (406, text));
    wire.open_channel(wire.channel).await;
}

async fn try_declare(wire: &mut Wire, name: &str) {
    let declare = queue::Declare {
        queue: short(name),
        ..Default::default()
    };
    wire.send(&declare).await;
}

async fn try_consume(wire: &mut Wire) {
    let consume = basic::Consume {
        queue: short("q"),
        ..Default::default()
    };
    wire.send(&consume).await;
}

#[tokio::test]
async fn one_user_leaves_connections_for_others() {
    let broker = with_guest(Broker::builder().connections_max(10)).await;
    let mut clients = Vec::new();
    for _ in 0..9 {
        clients.push(Wire::open(&broker).await);
    }
    let closed = refused(&broker).await;
    assert_eq!(closed.code, 530);
    assert_eq!(
        closed.text,
        "NOT_ALLOWED - connection refused for user 'guest': user connection limit (9) is reached"
    );
    // A limit of the user's own goes before.
    let limits = UserLimits {
        connections_max: Some(10),
        channels_max: None,
    };
    let change = AccountChange::SetUserLimits {
        user: "guest".into(),
        limits,
    };
    broker.change_accounts(change).unwrap();
    clients.push(Wire::open(&broker).await);
}

#[tokio::test]
async fn users_and_virtual_hosts_have_limits_of_connections_without_one_of_their_own() {
    let builder = Broker::builder()
        .connections_per_user_max(2)
        .connections_per_vhost_max(1);
    let broker = with_guest(builder).await;
    let first = Wire::open(&broker).await;
    assert_eq!(
        refused(&broker).await.text,
        "NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (1) is reached"
    );
    let limits = VhostLimits {
        connections_max: Some(5),
        queues_max: None,
    };
    broker.set_vhost_limits("/", limits).unwrap();
    let _second = Wire::open(&broker).await;
    assert_eq!(
        refused(&broker).await.text,
        "NOT_ALLOWED - connection refused for user 'guest': user connection limit (2) is reached"
    );
    first.close().await;
    until("the first's end", || broker.connection_count() == 1).await;
    Wire::open(&broker).await;
}

#[tokio::test]
async fn users_and_virtual_hosts_have_limits_of_channels() {
    for (builder, whose) in [
        (
            Broker::builder().channels_per_user_max(2),
            "for user 'guest' has reached the maximum allowed user limit",
        ),
        (
            Broker::builder().channels_per_vhost_max(2),
            "in vhost '/' has reached the maximum allowed limit",
        ),
    ] {
        let broker = with_guest(builder).await;
        let mut first = Wire::open(&broker).await;
        let mut second = Wire::open(&broker).await;
        second.send_on(2, &channel::Open {}).await;
        let closed = second.expect_connection_closed().await;
        assert_eq!((closed.code, closed.method), (530, (0, 0)));
        assert_eq!(
            closed.text,
            format!("NOT_ALLOWED - number of channels opened {whose} of (2)")
        );
        second.send_on(0, &connection::CloseOk {}).await;
        until("the second's end", || broker.connection_count() == 1).await;
        first.open_channel(2).await;
        first.close_channel().await;
        // One that is closed makes room.
        first.open_channel(3).await;
    }
}

/// A session of STOMP is a channel.
#[cfg(feature = "stomp")]
#[tokio::test]
async fn sessions_of_stomp_count_as_channels() {
    for builder in [
        Broker::builder().channels_per_user_max(2),
        Broker::builder().channels_per_vhost_max(2),
    ] {
        let broker = with_guest(builder).await;
        let mut first = Stomp::connect(&broker).await;
        let mut wire = Wire::open(&broker).await;
        let mut refused = Stomp::dial(&broker).await;
        refused.send(Command::Connect, &[], b"").await;
        refused.expect_error("Processing error").await;
        refused.expect_end().await;
        wire.send_on(2, &channel::Open {}).await;
        assert_eq!(wire.expect_connection_closed().await.code, 530);
        wire.send_on(0, &connection::CloseOk {}).await;
        until("the end of AMQP", || broker.connection_count() == 1).await;
        let _second = Stomp::connect(&broker).await;
        first.tell(Command::Disconnect, &[], b"").await;
        // One that ends makes room.
        until("the first's end", || broker.connection_count() == 1).await;
        Stomp::connect(&broker).await;
    }
}

#[tokio::test]
async fn consumers_of_a_connection_have_a_limit_over_all_channels() {
    let broker = start(Broker::builder().consumers_per_connection_max(2)).await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.consume("q").await;
    wire.open_channel(2).await;
    wire.consume("q").await;
    wire.cancel("q").await;
    wire.consume("q").await;
    wire.open_channel(3).await;
    try_consume(&mut wire).await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!(
        (closed.code, &*closed.text),
        (
            530,
            "NOT_ALLOWED - reached maximum (2) of consumers per connection"
        )
    );
}

#[tokio::test]
async fn consumers_of_a_virtual_host_have_a_limit() {
    let builder = Broker::builder().consumers_per_vhost_max(2).vhost("other");
    let broker = start(builder).await;
    let mut wire = Wire::open(&broker).await;
    let mut other = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.consume("q").await;
    other.consume("q").await;
    let text = "PRECONDITION_FAILED - cannot consume from queue 'q': consumer limit in vhost '/' (2) is reached";
    wire.open_channel(2).await;
    try_consume(&mut wire).await;
    expect_refused(&mut wire, text).await;
    // The program itself is not counted, and those who act for a user are.
    let client = broker.client().unwrap();
    client.consume("q", Default::default()).await.unwrap();
    let acting = broker.client_for(&Identity::new("ann"), "/").await.unwrap();
    let refused = acting.consume("q", Default::default()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "cannot consume from queue 'q': consumer limit in vhost '/' (2) is reached"
    );
    // However consumers end, they make room.
    other.cancel("q").await;
    wire.consume("q").await;
    wire.close_channel().await;
    wire.open_channel(3).await;
    wire.consume("q").await;
    client.delete_queue("q").await.unwrap();
    for channel in [1, 3] {
        wire.expect_on(channel, "basic.cancel").await;
    }
    wire.declare("q").await;
    wire.consume("q").await;
    other.consume("q").await;
    let in_other = broker.client_of("other").unwrap();
    in_other
        .declare_queue("q", Default::default())
        .await
        .unwrap();
    in_other.consume("q", Default::default()).await.unwrap();
}

#[tokio::test]
async fn queues_that_a_connection_has_made_have_a_limit() {
    let broker = start(Broker::builder().queues_per_connection_max(2)).await;
    let mut wire = Wire::open(&broker).await;
    let mut other = Wire::open(&broker).await;
    wire.declare("a").await;
    wire.declare("b").await;
    let text = "PRECONDITION_FAILED - cannot declare queue 'c': queue limit of this connection (2) is reached";
    try_declare(&mut wire, "c").await;
    expect_refused(&mut wire, text).await;
    // What is there may be declared again, and what others have made is theirs.
    wire.declare("b").await;
    other.declare("c").await;
    wire.declare("c").await;
    // Whoever deletes it, and although somebody remembers the way to it.
    other.publish("", "a", "m").await;
    other.quiet().await;
    other.delete("a").await;
    wire.declare("d").await;
    try_declare(&mut wire, "e").await;
    expect_refused(
        &mut wire,
        "PRECONDITION_FAILED - cannot declare queue 'e': queue limit of this connection (2) is reached",
    )
    .await;
    // The program itself is not counted.
    let client = broker.client().unwrap();
    for name in ["f", "g", "h"] {
        client
            .declare_queue(name, Default::default())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn bindings_that_a_connection_has_made_have_a_limit() {
    let broker = start(Broker::builder().bindings_per_connection_max(2)).await;
    let mut wire = Wire::open(&broker).await;
    let mut other = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.declare_exchange("x", "fanout").await;
    wire.bind("q", "x", "1").await;
    wire.bind_exchange("x", "amq.direct", "2").await;
    let try_bind = async |wire: &mut Wire, key: &str| {
        let bind = queue::Bind {
            queue: short("q"),
            exchange: short("amq.direct"),
            routing_key: short(key),
            ..Default::default()
        };
        wire.send(&bind).await;
    };
    let text =
        "PRECONDITION_FAILED - cannot bind to 'q': binding limit of this connection (2) is reached";
    try_bind(&mut wire, "3").await;
    expect_refused(&mut wire, text).await;
    // What is there may be made again, and what others make is theirs.
    wire.bind("q", "x", "1").await;
    other.bind("q", "amq.direct", "3").await;
    // Both went with their exchange, one at either end of it.
    other
        .call(
            &leveret_amqp_codec::method::exchange::Delete {
                exchange: short("x"),
                ..Default::default()
            },
            "exchange.delete-ok",
        )
        .await;
    wire.bind("q", "amq.direct", "4").await;
    wire.bind("q", "amq.direct", "5").await;
    try_bind(&mut wire, "6").await;
    expect_refused(&mut wire, text).await;
    other.delete("q").await;
    wire.declare("q").await;
    wire.bind("q", "amq.direct", "7").await;
}

/// An exchange that keeps history binds in another way.
#[tokio::test]
async fn bindings_to_history_count_as_well() {
    let broker = start(Broker::builder().bindings_per_connection_max(1)).await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    let arguments = table([("x-history-length", 5.into())]);
    wire.declare_exchange_with("past", "topic", &arguments)
        .await;
    wire.bind("q", "past", "k").await;
    let bind = queue::Bind {
        queue: short("q"),
        exchange: short("amq.direct"),
        ..Default::default()
    };
    wire.send(&bind).await;
    assert_eq!(wire.expect_channel_closed().await.code, 406);
}

#[tokio::test]
async fn headers_of_a_message_have_a_limit() {
    let broker = start(Broker::builder().headers_per_message_max(3)).await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    let three = with_headers([("a", 1.into()), ("b", 2.into()), ("c", 3.into())]);
    wire.publish_with("", "q", &three, "m").await;
    wire.quiet().await;
    let four = with_headers([
        ("a", 1.into()),
        ("b", 2.into()),
        ("c", 3.into()),
        ("d", 4.into()),
    ]);
    // In one piece, and frame by frame.
    for body in [vec![0; 10], vec![0; 300_000]] {
        wire.publish_with("", "q", &four, body).await;
        expect_refused(
            &mut wire,
            "PRECONDITION_FAILED - message has 4 headers, which is more than the configured maximum (3)",
        )
        .await;
    }
    assert_eq!(wire.count("q").await, 1);
}

#[cfg(feature = "stomp")]
#[tokio::test]
async fn sessions_of_stomp_have_the_same_limits() {
    use leveret_stomp_codec::Command;
    use support::Stomp;

    let broker = start(Broker::builder().queues_per_connection_max(1)).await;
    let mut stomp = Stomp::connect(&broker).await;
    stomp.subscribe("/queue/a", "1", "auto").await;
    let headers = [("destination", "/queue/b"), ("id", "2")];
    stomp.send(Command::Subscribe, &headers, b"").await;
    let error = stomp.expect(Command::Error).await;
    assert_eq!(error.header("message"), Some("precondition_failed"));

    for builder in [
        Broker::builder().consumers_per_connection_max(1),
        Broker::builder().consumers_per_vhost_max(1),
    ] {
        let broker = start(builder).await;
        let mut stomp = Stomp::connect(&broker).await;
        stomp.subscribe("/topic/t", "1", "auto").await;
        let headers = [("destination", "/topic/t"), ("id", "2")];
        stomp.send(Command::Subscribe, &headers, b"").await;
        stomp.expect(Command::Error).await;
        // What the session had does not count any more.
        until("the session's end", || broker.connection_count() == 0).await;
        let left = broker.queues("/").unwrap();
        assert!(left.is_empty(), "{left:?}");
        Stomp::connect(&broker)
            .await
            .subscribe("/topic/t", "1", "auto")
            .await;
    }
}
