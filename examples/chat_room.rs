//! A chat room with 200 members in one process: everyone sees every message, each author's in the order of writing.
//!
//! Run it with `cargo run --release -p leveret-examples --example chat_room`. It prints how many deliveries there were
//! and how long they took.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![expect(clippy::disallowed_methods, reason = "it reads the real clock")]

use std::time::Instant;

use leveret_broker::{
    Broker, Client, ConsumeOptions, ExchangeOptions, ExchangeType, Publish, QueueOptions,
};
use tokio::task::JoinSet;

const MEMBERS: usize = 200;
const MESSAGES_EACH: usize = 5;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Says what this member has to say, and listens until everybody has spoken.
async fn take_part(client: Client, queue: String, me: usize) -> Result<usize> {
    // What is not read in time waits in this member's queue, and holds up nobody else.
    let options = ConsumeOptions {
        no_ack: true,
        ..Default::default()
    };
    let mut messages = client.consume(&queue, options).await?;
    for number in 0..MESSAGES_EACH {
        let body = format!("{me} {number}");
        let message = Publish::to_exchange("room", "", body.as_bytes());
        client.publish(message).await?;
    }
    let mut heard = [0; MEMBERS];
    for _ in 0..MEMBERS * MESSAGES_EACH {
        let message = messages.recv().await.ok_or("the room was closed")?;
        let text = str::from_utf8(message.body())?;
        let (author, number) = text.split_once(' ').ok_or("not from this room")?;
        let count = &mut heard[author.parse::<usize>()?];
        assert_eq!(number.parse::<usize>()?, *count, "{author} is out of order");
        *count += 1;
    }
    assert!(messages.try_recv().is_none(), "a message came twice");
    Ok(heard.iter().sum())
}

#[tokio::main]
async fn main() -> Result {
    let broker = Broker::builder().start().await?;
    let room = broker.client()?;
    let options = ExchangeOptions::default();
    room.declare_exchange("room", ExchangeType::Fanout, options)
        .await?;

    // All queues are bound before the first word, so that nobody misses it.
    let mut members = Vec::new();
    for member in 0..MEMBERS {
        let client = broker.client()?;
        let options = QueueOptions {
            exclusive: true,
            ..Default::default()
        };
        let queue = format!("room.{member}");
        client.declare_queue(&queue, options).await?;
        client.bind_queue(&queue, "room", "").await?;
        members.push(take_part(client, queue, member));
    }

    let start = Instant::now();
    let tasks: JoinSet<_> = members.into_iter().collect();
    let heard: Result<Vec<_>> = tasks.join_all().await.into_iter().collect();
    let deliveries: usize = heard?.iter().sum();
    let time = start.elapsed();
    assert_eq!(deliveries, MEMBERS * MEMBERS * MESSAGES_EACH);
    println!("{MEMBERS} members heard {deliveries} messages in {time:.1?}");

    broker.shutdown().await;
    Ok(())
}
