//! STOMP on a broker that keeps what is durable.
#![cfg(all(feature = "stomp", feature = "journal"))]

mod support;

use std::path::PathBuf;

use leveret_broker::Broker;
use leveret_stomp_codec::Command;
use support::{Stomp, start};

/// A data directory of one test, removed in the end.
struct Dir(PathBuf);

impl Dir {
    fn new(test: &str) -> Self {
        let name = format!("stomp-{test}-{}", std::process::id());
        Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    async fn broker(&self) -> Broker {
        start(Broker::builder().data_dir(&self.0)).await
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn receipts_of_what_is_on_its_way_to_the_disk_come_before_that_of_disconnect() {
    let dir = Dir::new("disconnect");
    let broker = dir.broker().await;
    let mut stomp = Stomp::connect(&broker).await;
    let mut burst = Vec::new();
    for at in 0..20 {
        let frame = format!("SEND\ndestination:/queue/q\npersistent:true\nreceipt:{at}\n\nm\0");
        burst.extend_from_slice(frame.as_bytes());
    }
    burst.extend_from_slice(b"DISCONNECT\nreceipt:bye\n\n\0");
    stomp.send_raw(&burst).await;
    for at in 0..20 {
        let receipt = stomp.expect(Command::Receipt).await;
        assert_eq!(receipt.header("receipt-id"), Some(&*at.to_string()));
    }
    let receipt = stomp.expect(Command::Receipt).await;
    assert_eq!(receipt.header("receipt-id"), Some("bye"));
    stomp.expect_end().await;
    broker.shutdown().await;

    let broker = dir.broker().await;
    let client = broker.client().unwrap();
    assert_eq!(client.queue_info("q").await.unwrap().ready, 20);
}

#[tokio::test]
async fn a_durable_subscription_outlives_the_broker() {
    let dir = Dir::new("subscription");
    let headers = [
        ("destination", "/topic/news"),
        ("id", "reader"),
        ("durable", "true"),
        ("auto-delete", "false"),
    ];
    let broker = dir.broker().await;
    let mut stomp = Stomp::connect(&broker).await;
    stomp.tell(Command::Subscribe, &headers, b"").await;
    stomp.tell(Command::Disconnect, &[], b"").await;
    let mut stomp = Stomp::connect(&broker).await;
    let persistent = [("destination", "/topic/news"), ("persistent", "true")];
    stomp.tell(Command::Send, &persistent, b"kept").await;
    broker.shutdown().await;

    let broker = dir.broker().await;
    let mut stomp = Stomp::connect(&broker).await;
    stomp.send(Command::Subscribe, &headers, b"").await;
    stomp.expect_message("kept").await;
}
