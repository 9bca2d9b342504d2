//! A phone that was away comes back and gets what it missed in its rooms, then what comes, each message once.
//!
//! Run it with `cargo run -p leveret-examples --example resume`. It prints what the phone hears before and after an hour in
//! a tunnel, and what it is told after a week. The clock is moved by hand, so the week passes at once.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use leveret_broker::{
    Broker, Client, ConsumeOptions, Consumer, ExchangeOptions, ExchangeType, Publish, QueueOptions,
    ResumeFrom, VirtualClock,
};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const HOUR: Duration = Duration::from_secs(3600);

/// The phone subscribes. Its queue goes with its connection: nothing gathers for a phone that never comes back.
async fn connect(client: &Client, resume_from: ResumeFrom) -> Result<Consumer> {
    let options = QueueOptions {
        auto_delete: true,
        resume_from: Some(resume_from),
        ..QueueOptions::default()
    };
    let queue = client.declare_queue("", options).await?.name;
    client.bind_queue(&queue, "chat", "room.*").await?;
    Ok(client.consume(&queue, ConsumeOptions::default()).await?)
}

async fn say(client: &Client, room: &str, text: &str) -> Result {
    let message = Publish::to_exchange("chat", room, text.as_bytes());
    Ok(client.publish(message).await?)
}

/// Hears one message: its text, from where on to go on next time, and whether messages before it are missing.
async fn hear(phone: &mut Consumer) -> Result<(String, ResumeFrom, bool)> {
    let message = phone.recv().await.ok_or("the broker is gone")?;
    let text = String::from_utf8_lossy(message.body()).into_owned();
    let position = message.position().ok_or("without a history")?;
    let is_after_gap = message.gap().is_some();
    message.ack();
    println!("The phone hears {text:?}; others are missing before it: {is_after_gap}");
    Ok((text, ResumeFrom::After(position), is_after_gap))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let clock = VirtualClock::new();
    let builder = Broker::builder().virtual_clock(clock.clone());
    let broker = builder.start().await?;
    let client = broker.client()?;
    let options = ExchangeOptions {
        history_age: Some(24 * HOUR),
        ..ExchangeOptions::default()
    };
    let declared = client.declare_exchange("chat", ExchangeType::Topic, options);
    declared.await?;
    let mut phone = connect(&client, ResumeFrom::Next).await?;
    say(&client, "room.1", "Hello").await?;
    let (_, seen, _) = hear(&mut phone).await?;
    drop(phone);

    say(&client, "room.1", "Are you there?").await?;
    clock.advance(HOUR);
    let mut phone = connect(&client, seen).await?;
    say(&client, "room.2", "Yes").await?;
    assert_eq!(hear(&mut phone).await?.0, "Are you there?");
    let (_, seen, is_after_gap) = hear(&mut phone).await?;
    assert!(!is_after_gap);
    drop(phone);

    say(&client, "room.1", "Lost").await?;
    clock.advance(7 * 24 * HOUR);
    let mut phone = connect(&client, seen).await?;
    say(&client, "room.1", "Good morning").await?;
    assert!(hear(&mut phone).await?.2);
    broker.shutdown().await;
    Ok(())
}
