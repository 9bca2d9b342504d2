//! Messages wait for a phone that is away, also while the broker is restarted, and go when it stays away for a day.
//!
//! Run it with `cargo run -p leveret-examples --example messages_wait_for_a_phone`. It prints what the phone finds when it
//! comes back after a night in which the broker was restarted, and that its queue has gone a day after its last visit. The
//! clock is moved by hand, so the night passes at once.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::path::Path;
use std::time::Duration;

use leveret_broker::{Broker, Client, Properties, Publish, QueueOptions, VirtualClock};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const HOUR: Duration = Duration::from_secs(3600);

async fn start(clock: &VirtualClock, data_dir: &Path) -> Result<Broker> {
    let builder = Broker::builder().virtual_clock(clock.clone());
    Ok(builder.data_dir(data_dir).start().await?)
}

/// Sends a message that survives a restart. When this returns, the disk has it.
async fn send(client: &Client, text: &str) -> Result {
    let properties = Properties {
        delivery_mode: Some(2),
        ..Properties::default()
    };
    let publish = Publish {
        properties: Some(properties),
        ..Publish::to_queue("phone.anna", text.as_bytes())
    };
    Ok(client.publish(publish).await?)
}

async fn run(data_dir: &Path) -> Result {
    let clock = VirtualClock::new();
    let broker = start(&clock, data_dir).await?;
    let client = broker.client()?;
    let options = QueueOptions {
        durable: true,
        expires: Some(24 * HOUR),
        ..QueueOptions::default()
    };
    client.declare_queue("phone.anna", options).await?;
    send(&client, "Are you asleep?").await?;
    send(&client, "Call me in the morning.").await?;
    broker.shutdown().await;

    clock.advance(8 * HOUR);
    let broker = start(&clock, data_dir).await?;
    let client = broker.client()?;
    let mut found = Vec::new();
    while let Some(delivery) = client.get("phone.anna").await? {
        found.push(String::from_utf8_lossy(delivery.body()).into_owned());
        delivery.ack();
    }
    println!("In the morning the phone finds {found:?}.");
    assert_eq!(found, ["Are you asleep?", "Call me in the morning."]);

    clock.advance(24 * HOUR);
    broker.wait_idle().await;
    let gone = client.queue_info("phone.anna").await;
    assert!(gone.is_err_and(|error| error.is_not_found()));
    println!("A day later its queue is gone.");
    broker.shutdown().await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let name = format!("leveret-phone-{}", std::process::id());
    let data_dir = std::env::temp_dir().join(name);
    let outcome = run(&data_dir).await;
    std::fs::remove_dir_all(&data_dir)?;
    outcome
}
