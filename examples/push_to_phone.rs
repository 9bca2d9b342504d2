//! A server pushes to one phone: each phone has a queue of its own, which an API server publishes to by name.
//!
//! Run it with `cargo run -p leveret-examples --example push_to_phone`. It prints what became of three pushes: one that
//! arrives, one that is returned because the phone is away, and one that arrives after it came back. Both sides are
//! lapin, a RabbitMQ client that knows nothing of this broker, and talk to it over TCP.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use futures_lite::StreamExt;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::{Channel, Confirmation, Connection, Consumer};
use leveret_broker::Broker;

/// The queue of one phone, which both sides know from the user's name.
const PHONE: &str = "phone.ann";

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The phone connects. Its queue is exclusive, so nobody else can read it and it goes with the phone.
async fn connect_phone(url: &str) -> Result<(Connection, Consumer)> {
    let connection = Connection::connect(url, Default::default()).await?;
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions::exclusive().auto_delete();
    let queue = channel.queue_declare(PHONE.into(), options, Default::default());
    queue.await?;
    let (tag, options, arguments) = Default::default();
    let consumer = channel.basic_consume(PHONE.into(), tag, options, arguments);
    Ok((connection, consumer.await?))
}

/// Whether the phone is there. When this returns true, the push is in its queue.
async fn push(server: &Channel, text: &str) -> Result<bool> {
    // What reaches no queue comes back, before its confirm.
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    let (exchange, properties) = Default::default();
    let sent = server.basic_publish(exchange, PHONE.into(), options, text.as_bytes(), properties);
    match sent.await?.await? {
        Confirmation::Ack(None) => Ok(true),
        Confirmation::Ack(Some(returned)) if returned.reply_code == 312 => Ok(false),
        other => Err(format!("neither taken nor returned: {other:?}").into()),
    }
}

async fn receive(pushes: &mut Consumer, text: &str) -> Result {
    let delivery = pushes.next().await.ok_or("the consumer has ended")??;
    assert_eq!(delivery.data, text.as_bytes());
    println!("{text} (received by the phone)");
    delivery.ack(Default::default()).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result {
    let localhost = ([127, 0, 0, 1], 0);
    let broker = Broker::builder().amqp(localhost).start().await?;
    let url = format!("amqp://guest:guest@{}/%2f", broker.amqp_addresses()[0]);
    let api_server = Connection::connect(&url, Default::default()).await?;
    let server = api_server.create_channel().await?;
    server.confirm_select(Default::default()).await?;

    let (phone, mut pushes) = connect_phone(&url).await?;
    assert!(push(&server, "your taxi is here").await?);
    receive(&mut pushes, "your taxi is here").await?;

    // Without this goodbye, heartbeats that stay away would tell that the phone has gone.
    phone.close(200, "a tunnel".into()).await?;
    assert!(!push(&server, "where are you?").await?);
    println!("where are you? (returned to the server)");

    let (_phone, mut pushes) = connect_phone(&url).await?;
    assert!(push(&server, "have a good trip").await?);
    receive(&mut pushes, "have a good trip").await?;

    broker.shutdown().await;
    Ok(())
}
