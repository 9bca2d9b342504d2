//! An application's own test in which an hour passes at once: an invitation that nobody answers lapses.
//!
//! Run it with `cargo run -p leveret-examples --example virtual_clock`. It prints what it saw within milliseconds of
//! real time, and ends.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use leveret_broker::{Broker, Client, Publish, QueueOptions, VirtualClock};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const HOUR: Duration = Duration::from_secs(3600);

/// The application's part, which knows nothing of the test: invitations lapse after an hour, and whoever reads the queue
/// `lapsed` tells the host.
async fn declare_invitations(client: &Client) -> Result {
    client
        .declare_queue("lapsed", QueueOptions::default())
        .await?;
    let options = QueueOptions {
        message_ttl: Some(HOUR),
        dead_letter_exchange: Some(String::new()),
        dead_letter_routing_key: Some("lapsed".into()),
        ..Default::default()
    };
    client.declare_queue("invitations", options).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let clock = VirtualClock::new();
    let broker = Broker::builder()
        .virtual_clock(clock.clone())
        .start()
        .await?;
    let client = broker.client()?;
    declare_invitations(&client).await?;
    client
        .publish(Publish::to_queue("invitations", b"ann"))
        .await?;

    // A millisecond before the hour is over, the invitation stands.
    clock.advance(HOUR - Duration::from_millis(1));
    broker.wait_idle().await;
    assert_eq!(client.queue_info("invitations").await?.ready, 1);
    assert_eq!(client.queue_info("lapsed").await?.ready, 0);
    println!("it stands for an hour");

    // Then it does not. No sleeping, and no luck: when the broker is idle, whatever was due has happened.
    clock.advance(Duration::from_millis(1));
    broker.wait_idle().await;
    assert_eq!(client.queue_info("invitations").await?.ready, 0);
    let lapsed = client.get("lapsed").await?.ok_or("nobody tells the host")?;
    assert_eq!(lapsed.body(), b"ann");
    println!("and lapses when the hour is over");
    lapsed.ack();

    broker.shutdown().await;
    Ok(())
}
