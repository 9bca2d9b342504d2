//! Who is in a chat room: a member with a phone and a laptop, a phone whose connection breaks, and a list for whoever asks.
//!
//! Run it with `cargo run -p leveret-examples --example presence`. It prints what a watcher is told. Time stands still but
//! for the minute that a phone may be away, which passes at once.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use leveret_broker::{Broker, ExchangeOptions, ExchangeType, Presence, PresenceKind, VirtualClock};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const GRACE: Duration = Duration::from_secs(60);

/// A device subscribes to the room, in the frames that a browser's client sends, and is there as long as it does.
async fn enter(broker: &Broker, member: &str) -> Result<TcpStream> {
    let address = *broker.stomp_addresses().first().ok_or("no listener")?;
    let mut device = TcpStream::connect(address).await?;
    let frames = format!(
        "CONNECT\naccept-version:1.2\nlogin:guest\npasscode:guest\n\n\0\
         SUBSCRIBE\nid:1\ndestination:/exchange/rooms/kitchen\nx-presence-member:{member}\n\n\0"
    );
    device.write_all(frames.as_bytes()).await?;
    Ok(device)
}

/// The next event must be this one.
async fn expect(watcher: &mut Presence, kind: PresenceKind, member: &str) -> Result {
    let event = watcher.recv().await.ok_or("the broker has ended")?;
    println!("{:?}: {}", event.kind, event.member.member);
    assert_eq!((event.kind, &*event.member.member), (kind, member));
    Ok(())
}

#[tokio::main]
async fn main() -> Result {
    let clock = VirtualClock::new();
    let builder = Broker::builder().virtual_clock(clock.clone());
    let broker = builder.stomp(([127, 0, 0, 1], 0)).start().await?;
    let client = broker.client()?;
    let options = ExchangeOptions {
        presence_grace: Some(GRACE),
        ..Default::default()
    };
    client
        .declare_exchange("rooms", ExchangeType::Presence, options)
        .await?;
    let mut watcher = client.presence("rooms", "kitchen").await?;

    let phone = enter(&broker, "ann").await?;
    expect(&mut watcher, PresenceKind::Joined, "guest/ann").await?;
    // A second device is no event, but counts.
    let mut laptop = enter(&broker, "ann").await?;
    while client.present("rooms", "kitchen").await?[0].connections < 2 {
        tokio::task::yield_now().await;
    }
    let _bens = enter(&broker, "ben").await?;
    expect(&mut watcher, PresenceKind::Joined, "guest/ben").await?;

    // The tunnel takes ann's phone, and she closes her laptop: she may be back on the phone for a minute.
    laptop.write_all(b"DISCONNECT\n\n\0").await?;
    drop(phone);
    // Ben's and this program's own are left.
    while broker.connection_count() > 2 {
        tokio::task::yield_now().await;
    }
    let present = client.present("rooms", "kitchen").await?;
    assert_eq!(present.len(), 2);
    clock.advance(GRACE);
    expect(&mut watcher, PresenceKind::Lost, "guest/ann").await?;

    // Who begins to watch is told who is there.
    let mut latecomer = client.presence("rooms", "*").await?;
    expect(&mut latecomer, PresenceKind::Present, "guest/ben").await?;
    broker.shutdown().await;
    Ok(())
}
