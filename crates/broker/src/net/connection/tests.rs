//! How publishers wait for those who consume what they publish. Time only passes here while everybody waits for something.

#[cfg(feature = "stomp")]
mod never_silent;
mod stopped;

use leveret_amqp_codec::method::basic;
use leveret_amqp_codec::{
    ChannelId, RawProperties, RawTable, ShortStr, write_body, write_content_header, write_method,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::Connection;
use super::patience::FULL_MS_MAX;
use crate::net::seat::Seat;
use crate::outbox::WINDOW_BYTES;
use crate::sans_io::handshake;
use crate::session::amqp::Session;
use crate::{Broker, Client, QueueOptions};

/// What the buffers of a socket take in each direction.
const PIPE_BYTES: usize = 64 * 1024;

const BODY: [u8; 1024] = [42; 1024];

/// Far more than window and pipe take.
const MESSAGES: usize = 16 * WINDOW_BYTES / BODY.len();

/// A client's end of a connection that has said `first` after its handshake.
#[expect(
    clippy::disallowed_methods,
    reason = "net is the part of the broker that has tasks"
)]
async fn connect(broker: &Broker, first: &[u8]) -> DuplexStream {
    let (mut client, server) = duplex(PIPE_BYTES);
    let seat = Seat::take(&broker.shared, None).expect("the broker runs");
    tokio::spawn(Connection::new(server, seat, &broker.shared, Session::new).run());
    client.write_all(&handshake(false)).await.unwrap();
    client.write_all(first).await.unwrap();
    client
}

/// A client that is given all messages of a queue, which is its own and bound to `amq.fanout`.
async fn consume(broker: &Broker, client: &Client, queue: &str) -> DuplexStream {
    client
        .declare_queue(queue, QueueOptions::default())
        .await
        .unwrap();
    client.bind_queue(queue, "amq.fanout", "").await.unwrap();
    let mut first = Vec::new();
    let consume = basic::Consume {
        queue: ShortStr::truncated(queue),
        consumer_tag: ShortStr::from_static(""),
        no_local: false,
        no_ack: true,
        exclusive: false,
        no_wait: false,
        arguments: RawTable::EMPTY,
    };
    write_method(&mut first, ChannelId(1), &consume);
    let stream = connect(broker, &first).await;
    while client.queue_info(queue).await.unwrap().consumers == 0 {
        tokio::task::yield_now().await;
    }
    stream
}

/// Reads whatever comes, for ever.
async fn read(stream: &mut DuplexStream) {
    let mut buffer = vec![0; PIPE_BYTES];
    while stream.read(&mut buffer).await.unwrap() > 0 {}
    panic!("the broker has ended the connection");
}

/// Publishes all messages to `amq.fanout` and tells how long that took, in milliseconds.
async fn publish_all(broker: &Broker) -> u64 {
    let publish = basic::Publish {
        exchange: ShortStr::from_static("amq.fanout"),
        ..basic::Publish::default()
    };
    let mut bytes = Vec::new();
    write_method(&mut bytes, ChannelId(1), &publish);
    let properties = RawProperties::from_validated_bytes(&[0, 0]);
    write_content_header(&mut bytes, ChannelId(1), 60, BODY.len() as u64, properties);
    write_body(&mut bytes, ChannelId(1), &BODY, 131_072);
    let mut stream = connect(broker, &[]).await;
    let begun_at = broker.shared.now();
    for _ in 0..MESSAGES {
        stream.write_all(&bytes).await.unwrap();
    }
    broker.shared.now().as_millis() - begun_at.as_millis()
}

async fn broker() -> (Broker, Client) {
    let broker = Broker::builder().start().await.unwrap();
    let client = broker.client().unwrap();
    (broker, client)
}

#[tokio::test(start_paused = true)]
async fn who_never_reads_is_waited_for_once() {
    let (broker, client) = broker().await;
    let _stuck = consume(&broker, &client, "stuck").await;
    assert_eq!(publish_all(&broker).await, FULL_MS_MAX);
    assert_eq!(publish_all(&broker).await, 0, "it has read nothing since");
    let waiting = client.queue_info("stuck").await.unwrap().ready;
    assert!(waiting > MESSAGES as u64, "{waiting} wait");
}

#[tokio::test(start_paused = true)]
async fn who_reads_little_is_waited_for_no_longer() {
    let (broker, client) = broker().await;
    let mut slow = consume(&broker, &client, "slow").await;
    let trickle = async {
        let mut buffer = [0; 4096];
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            assert!(slow.read(&mut buffer).await.unwrap() > 0);
        }
    };
    tokio::select! {
        () = trickle => unreachable!("it goes on for ever"),
        waited_ms = publish_all(&broker) => assert_eq!(waited_ms, FULL_MS_MAX),
    }
}

#[tokio::test(start_paused = true)]
async fn who_reads_is_kept_busy_and_not_buried() {
    let (broker, client) = broker().await;
    let mut fast = consume(&broker, &client, "fast").await;
    let watch = async {
        loop {
            let waiting = client.queue_info("fast").await.unwrap().ready;
            assert_eq!(waiting, 0, "more was read than the connection can be given");
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = watch => unreachable!("it goes on for ever"),
        () = read(&mut fast) => unreachable!("it goes on for ever"),
        _ = publish_all(&broker) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn two_who_are_stuck_delay_a_room_once_each() {
    let (broker, client) = broker().await;
    // Before and behind the others, in whatever order their queues get a message.
    let _one = consume(&broker, &client, "a").await;
    let _other = consume(&broker, &client, "z").await;
    let mut fast = consume(&broker, &client, "f").await;
    let publish = async {
        let first = publish_all(&broker).await;
        let second = publish_all(&broker).await;
        while client.queue_info("f").await.unwrap().ready > 0 {
            tokio::task::yield_now().await;
        }
        (first, second)
    };
    tokio::select! {
        () = read(&mut fast) => unreachable!("it goes on for ever"),
        (first, second) = publish => {
            assert!(first <= 2 * FULL_MS_MAX, "{first} ms");
            assert_eq!(second, 0, "they have read nothing since");
        }
    }
}
