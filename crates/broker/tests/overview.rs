//! What an operator can see of a running broker, and closing what is seen.

mod support;

use std::time::{Duration, UNIX_EPOCH};

use leveret_amqp_codec::method::{basic, queue};
use leveret_broker::{
    Broker, ConnectionState, ExchangeOptions, ExchangeType, Publish, QueueOptions, QueueType,
    Value, VirtualClock,
};
use support::{Greeting, Wire, short, soon, start, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn connect(broker: &Broker) -> Wire {
    Greeting::default().open_channel(broker).await
}

async fn declare(wire: &mut Wire, name: &str) {
    wire.send(&queue::Declare {
        queue: short(name),
        exclusive: true,
        ..Default::default()
    })
    .await;
    wire.expect("queue.declare-ok").await;
}

#[tokio::test]
async fn connections_say_who_they_are_and_what_they_hold() {
    let broker = support::broker().await;
    let mut wire = connect(&broker).await;
    declare(&mut wire, "q").await;
    wire.select_confirms().await;
    wire.send(&basic::Qos {
        prefetch_count: 7,
        ..Default::default()
    })
    .await;
    wire.expect("basic.qos-ok").await;
    wire.send(&basic::Consume {
        queue: short("q"),
        consumer_tag: short("ct"),
        ..Default::default()
    })
    .await;
    wire.expect("basic.consume-ok").await;
    let client = broker.client().unwrap();
    // Exclusive to the connection: the default exchange leads there all the same.
    client
        .publish(Publish::to_queue("q", b"hello"))
        .await
        .unwrap();
    wire.expect("basic.deliver").await;

    let connections = broker.connections().await;
    let [connection] = &connections[..] else {
        panic!("{connections:?}");
    };
    assert_eq!(connection.user.as_deref(), Some("guest"));
    assert_eq!(connection.vhost.as_deref(), Some("/"));
    assert_eq!(connection.state, ConnectionState::Running);
    assert_eq!(connection.protocol, "AMQP 0-9-1");
    assert_eq!(connection.local, Some(broker.amqp_addresses()[0]));
    assert_eq!(
        connection.name,
        format!(
            "{} -> {}",
            connection.peer.unwrap(),
            connection.local.unwrap()
        )
    );
    let [channel] = &connection.channels[..] else {
        panic!("{connection:?}");
    };
    assert_eq!(
        (channel.number, channel.consumers, channel.unacked),
        (1, 1, 1)
    );
    assert_eq!((channel.prefetch, channel.confirms), (7, true));

    let consumers = broker.consumers("/").unwrap();
    let [consumer] = &consumers[..] else {
        panic!("{consumers:?}");
    };
    assert_eq!(&*consumer.queue, "q");
    assert_eq!(consumer.connection, connection.id);
    assert_eq!(consumer.tag.as_deref(), Some("ct"));
    assert_eq!((consumer.channel, consumer.prefetch), (1, 7));
    assert!(consumer.acknowledges && consumer.is_active && !consumer.exclusive);
    let queues = broker.queues("/").unwrap();
    assert_eq!(queues[0].owner, Some(connection.id));
    assert_eq!((queues[0].ready, queues[0].unacked), (0, 1));
    assert_eq!(queues[0].unacked_bytes, 5);
}

#[tokio::test]
async fn connections_say_how_they_came_and_what_went_through_them() {
    let clock = VirtualClock::new();
    let broker = start(Broker::builder().virtual_clock(clock.clone())).await;
    clock.advance(Duration::from_millis(1_234));
    let accepted_at = clock.now().as_millis();
    let mut socket = TcpStream::connect(broker.amqp_addresses()[0])
        .await
        .unwrap();
    until("the connection", || broker.connection_count() == 1).await;
    clock.advance(Duration::from_secs(2));
    let bytes = Greeting::default().bytes();
    socket.write_all(&bytes).await.unwrap();
    soon("the greeting to be read", async {
        while broker.connections().await[0].received_bytes < bytes.len() as u64 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    broker.wait_idle().await;
    let connections = broker.connections().await;
    let [connection] = &connections[..] else {
        panic!("{connections:?}");
    };
    let since_epoch = connection.connected_at.duration_since(UNIX_EPOCH).unwrap();
    assert_eq!(since_epoch.as_millis(), u128::from(accepted_at));
    assert_eq!(connection.mechanism, Some("PLAIN"));
    let properties = &connection.client_properties;
    assert_eq!(properties.get("product"), Some(&Value::from("a test")));
    assert!(
        matches!(properties.get("capabilities"), Some(Value::Table(claims)) if !claims.is_empty())
    );
    assert!(connection.reads >= 1 && connection.reads <= connection.received_bytes);
    assert_eq!(connection.unwritten_bytes, 0);

    // Everything that has been sent is here, and nothing else.
    let mut heard = vec![0; usize::try_from(connection.sent_bytes).unwrap()];
    socket.read_exact(&mut heard).await.unwrap();
    assert!((1..=4).contains(&connection.writes), "{connection:?}");
    let open_ok = [0, 20, 0, 11, 0, 0, 0, 0, 0xCE];
    assert!(heard.ends_with(&open_ok), "{heard:?}");
}

#[tokio::test]
async fn who_has_not_logged_in_is_seen_as_well() {
    let broker = support::broker().await;
    let _silent = TcpStream::connect(broker.amqp_addresses()[0])
        .await
        .unwrap();
    until("the connection", || broker.connection_count() == 1).await;
    let connections = broker.connections().await;
    assert_eq!(connections[0].state, ConnectionState::Starting);
    assert_eq!(
        (&connections[0].user, &connections[0].vhost),
        (&None, &None)
    );
    assert_eq!(connections[0].mechanism, None);
    assert!(connections[0].client_properties.is_empty());
    assert_eq!(
        (connections[0].received_bytes, connections[0].reads),
        (0, 0)
    );
}

#[cfg(feature = "stomp")]
#[tokio::test]
async fn stomp_sessions_are_connections_with_a_channel() {
    let broker = support::broker().await;
    let _stomp = support::Stomp::connect(&broker).await;
    let connections = broker.connections().await;
    assert_eq!(connections[0].protocol, "STOMP 1.2");
    assert_eq!(connections[0].user.as_deref(), Some("guest"));
    assert_eq!(connections[0].channels.len(), 1);
}

#[tokio::test]
async fn a_connection_is_closed_with_a_reason() {
    let broker = support::broker().await;
    let mut wire = connect(&broker).await;
    let id = broker.connections().await[0].id;
    assert!(broker.close_connection(id, "bye now"));
    let closed = wire.expect_connection_closed().await;
    assert_eq!(closed.code, 320);
    assert_eq!(closed.text, "CONNECTION_FORCED - bye now");
    wire.send_on(0, &leveret_amqp_codec::method::connection::CloseOk {})
        .await;
    until("its end", || broker.connection_count() == 0).await;
    assert!(!broker.close_connection(id, "again"));
    assert_eq!(broker.connections().await, []);
}

#[tokio::test]
async fn a_connection_that_does_not_read_is_seen_and_cut_off() {
    let broker = support::broker().await;
    let mut wire = connect(&broker).await;
    declare(&mut wire, "q").await;
    wire.send(&basic::Consume {
        queue: short("q"),
        no_ack: true,
        ..Default::default()
    })
    .await;
    wire.expect("basic.consume-ok").await;
    let client = broker.client().unwrap();
    let body = vec![0; 1024 * 1024];
    // Until the sockets hold no more.
    soon("a connection that is stuck", async {
        loop {
            client.publish(Publish::to_queue("q", &body)).await.unwrap();
            broker_turns().await;
            if broker.connections().await[0].is_unread {
                return;
            }
        }
    })
    .await;
    let connection = broker.connections().await.remove(0);
    assert_eq!(connection.user.as_deref(), Some("guest"));
    assert!(broker.close_connection(connection.id, "stuck"));
    until("its end", || broker.queues("/").unwrap().is_empty()).await;
}

async fn broker_turns() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn queues_exchanges_and_bindings_are_as_they_were_declared() {
    let broker = support::broker().await;
    let client = broker.client().unwrap();
    let options = QueueOptions {
        durable: true,
        max_length: Some(10),
        ..QueueOptions::default()
    };
    client.declare_queue("q", options).await.unwrap();
    let options = ExchangeOptions {
        alternate_exchange: Some("amq.fanout".to_owned()),
        ..ExchangeOptions::default()
    };
    client
        .declare_exchange("ex", ExchangeType::Topic, options)
        .await
        .unwrap();
    client.bind_queue("q", "ex", "a.*").await.unwrap();
    client.bind_exchange("amq.fanout", "ex", "k").await.unwrap();
    for _ in 0..2 {
        client
            .publish(Publish::to_queue("q", b"hello"))
            .await
            .unwrap();
    }

    let queues = broker.queues("/").unwrap();
    let [queue] = &queues[..] else {
        panic!("{queues:?}");
    };
    assert_eq!((&*queue.name, queue.queue_type), ("q", QueueType::Classic));
    assert!(queue.durable && !queue.auto_delete && queue.owner.is_none());
    assert!(queue.arguments.get("x-max-length").is_some());
    assert_eq!(
        (queue.ready, queue.ready_bytes, queue.consumers),
        (2, 10, 0)
    );
    assert!(queue.memory_bytes >= 10);

    let exchanges = broker.exchanges("/").unwrap();
    let names: Vec<&str> = exchanges.iter().map(|exchange| &*exchange.name).collect();
    let want = [
        "",
        "amq.direct",
        "amq.fanout",
        "amq.headers",
        "amq.match",
        "amq.rabbitmq.trace",
        "amq.topic",
        "ex",
    ];
    assert_eq!(names, want);
    assert_eq!(exchanges[7].kind, "topic");
    assert_eq!(
        exchanges[7].arguments.get("alternate-exchange"),
        Some(&Value::from("amq.fanout"))
    );
    assert!(exchanges[5].internal && exchanges[5].durable);

    let bindings = broker.bindings("/").unwrap();
    let bindings: Vec<_> = bindings
        .iter()
        .map(|binding| {
            (
                &*binding.source,
                &*binding.destination,
                binding.to_exchange,
                &*binding.routing_key,
            )
        })
        .collect();
    assert_eq!(
        bindings,
        [("ex", "q", false, "a.*"), ("ex", "amq.fanout", true, "k")]
    );
    assert_eq!(broker.queues("zorp"), None);
    assert_eq!(broker.exchanges("zorp"), None);
}
