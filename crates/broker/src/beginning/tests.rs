//! A broker whose disk is full, or breaks.

mod messages;
mod old_files;
mod other_definitions;
mod overdue;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use leveret_amqp_codec::method::queue;
use leveret_amqp_codec::{ChannelId, Limits, Method, RawFrame, ShortStr, write_method};
use leveret_queue_store::{JournalOptions, MemoryStorage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Beginning;
use crate::metadata::BACKLOG_MAX;
use crate::metadata::faulty::FaultyStorage;
use crate::{Broker, QueueOptions};

const DEADLINE: Duration = Duration::from_secs(20);

/// Definitions on `disk`, messages on one that never fails.
fn beginning(disk: &FaultyStorage) -> Beginning {
    let messages = Arc::new(MemoryStorage::new());
    let definitions = Box::new(disk.clone());
    Beginning::on(definitions, messages, JournalOptions::default(), None).unwrap()
}

async fn broker(disk: &FaultyStorage) -> Broker {
    let beginning = beginning(disk);
    let builder = Broker::builder().amqp(([127, 0, 0, 1], 0));
    builder.start_from(beginning).await.unwrap()
}

/// A client that speaks on channel 1.
struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Wire {
    async fn open(broker: &Broker) -> Self {
        let stream = TcpStream::connect(broker.amqp_addresses()[0])
            .await
            .unwrap();
        let mut wire = Self {
            stream,
            input: Vec::new(),
        };
        // start-ok, tune-ok without heartbeats, open of the virtual host `/`, and channel.open.
        for (bytes, answer) in [
            (&b"AMQP\x00\x00\x09\x01"[..], "start"),
            (b"\x01\0\0\0\0\0\x24\0\x0a\0\x0b\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US\xce", "tune"),
            (
                b"\x01\0\0\0\0\0\x0c\0\x0a\0\x1f\x07\xff\0\x02\0\0\0\0\xce\x01\0\0\0\0\0\x08\0\x0a\0\x28\x01/\0\0\xce",
                "open-ok",
            ),
            (b"\x01\0\x01\0\0\0\x05\0\x14\0\x0a\0\xce", "channel open"),
        ] {
            wire.stream.write_all(bytes).await.unwrap();
            assert!(wire.hear().await.is_some(), "no {answer}");
        }
        wire
    }

    async fn declare(&mut self, name: &str, durable: bool) {
        self.stream
            .write_all(&declare_bytes(name, durable, false))
            .await
            .unwrap();
    }

    /// The next method, described; none at the end of the stream.
    async fn hear(&mut self) -> Option<String> {
        loop {
            let decoded = RawFrame::decode(&self.input, &Limits::default()).unwrap();
            if let Some((frame, size)) = decoded {
                let method = Method::decode(frame.payload, &Limits::default()).unwrap();
                let heard = match method {
                    Method::QueueDeclareOk(ok) => format!("declared {}", &*ok.queue),
                    Method::ConnectionClose(close) => {
                        format!("{} {}", close.reply_code, &*close.reply_text)
                    }
                    other => format!("{other:?}"),
                };
                self.input.drain(..size);
                return Some(heard);
            }
            let read = self.stream.read_buf(&mut self.input);
            let read = tokio::time::timeout(DEADLINE, read);
            if read.await.expect("something is heard in time").unwrap() == 0 {
                return None;
            }
        }
    }

    /// The next STOMP frame, as text.
    #[cfg(feature = "stomp")]
    async fn hear_frame(&mut self) -> String {
        loop {
            if let Some(end) = self.input.iter().position(|byte| *byte == 0) {
                let frame: Vec<u8> = self.input.drain(..=end).collect();
                return String::from_utf8(frame).unwrap().trim().to_owned();
            }
            let read = self.stream.read_buf(&mut self.input);
            let read = tokio::time::timeout(DEADLINE, read);
            assert_ne!(read.await.expect("something is heard in time").unwrap(), 0);
        }
    }

    /// Nothing has come, though the broker has had its turn with whatever was sent before.
    async fn assert_quiet(&self, broker: &Broker) {
        // Another connection's question is answered, which takes at least as long as ours would.
        let mut other = Self::open(broker).await;
        other.declare("asked meanwhile", false).await;
        assert_eq!(other.hear().await.unwrap(), "declared asked meanwhile");
        let mut byte = [0];
        let error = self.stream.try_read(&mut byte).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
}

fn declare_bytes(name: &str, durable: bool, no_wait: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let declare = queue::Declare {
        queue: ShortStr::new(name).unwrap(),
        durable,
        no_wait,
        ..queue::Declare::default()
    };
    write_method(&mut bytes, ChannelId(1), &declare);
    bytes
}

fn durable() -> QueueOptions {
    QueueOptions {
        durable: true,
        ..QueueOptions::default()
    }
}

#[tokio::test]
async fn an_answer_and_all_behind_it_wait_for_the_disk_and_come_in_order() {
    let disk = FaultyStorage::default();
    let broker = broker(&disk).await;
    let mut wire = Wire::open(&broker).await;
    disk.fail_with(Some(ErrorKind::StorageFull));
    wire.declare("before", false).await;
    wire.declare("durable", true).await;
    wire.declare("behind", false).await;
    assert_eq!(wire.hear().await.unwrap(), "declared before");
    wire.assert_quiet(&broker).await;
    // It has been made all the same, and whoever else declares it waits too.
    let client = broker.client().unwrap();
    assert!(client.queue_info("durable").await.is_ok());
    let mut other = Wire::open(&broker).await;
    other.declare("durable", true).await;
    other.assert_quiet(&broker).await;

    disk.fail_with(None);
    assert_eq!(wire.hear().await.unwrap(), "declared durable");
    assert_eq!(wire.hear().await.unwrap(), "declared behind");
    assert_eq!(other.hear().await.unwrap(), "declared durable");
    broker.wait_idle().await;
}

#[cfg(feature = "stomp")]
#[tokio::test]
async fn a_stomp_receipt_waits_for_the_queue_to_be_stored() {
    let disk = FaultyStorage::default();
    let beginning = beginning(&disk);
    let builder = Broker::builder().amqp(([127, 0, 0, 1], 0));
    let builder = builder.stomp(([127, 0, 0, 1], 0));
    let broker = builder.start_from(beginning).await.unwrap();
    let stream = TcpStream::connect(broker.stomp_addresses()[0])
        .await
        .unwrap();
    let mut stomp = Wire {
        stream,
        input: Vec::new(),
    };
    let connect = b"CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0";
    stomp.stream.write_all(connect).await.unwrap();
    assert!(stomp.hear_frame().await.starts_with("CONNECTED\n"));

    disk.fail_with(Some(ErrorKind::StorageFull));
    let send = b"SEND\ndestination:/queue/q\nreceipt:1\n\nhello\0";
    stomp.stream.write_all(send).await.unwrap();
    stomp.assert_quiet(&broker).await;
    disk.fail_with(None);
    assert!(stomp.hear_frame().await.contains("receipt-id:1"));

    disk.fail_with(Some(ErrorKind::Other));
    let send = b"SEND\ndestination:/queue/lost\nreceipt:2\n\nhello\0";
    stomp.stream.write_all(send).await.unwrap();
    let heard = stomp.hear_frame().await;
    assert!(
        heard.starts_with("ERROR\nmessage:internal_error"),
        "{heard}"
    );
}

#[tokio::test]
async fn on_a_broken_disk_nothing_durable_is_confirmed_and_the_rest_goes_on() {
    let disk = FaultyStorage::default();
    let broker = broker(&disk).await;
    let client = broker.client().unwrap();
    client.declare_queue("kept", durable()).await.unwrap();
    let mut wire = Wire::open(&broker).await;
    disk.fail_with(Some(ErrorKind::Other));
    wire.declare("before", false).await;
    wire.declare("lost", true).await;
    wire.declare("behind", false).await;
    assert_eq!(wire.hear().await.unwrap(), "declared before");
    let refused = "541 INTERNAL_ERROR - durable definitions cannot be stored: ";
    let heard = wire.hear().await.unwrap();
    assert!(heard.starts_with(refused), "{heard}");

    for name in ["new", "kept"] {
        let mut wire = Wire::open(&broker).await;
        wire.declare(name, true).await;
        let heard = wire.hear().await.unwrap();
        assert!(heard.starts_with(refused), "{heard}");
    }
    let error = client.declare_queue("new", durable()).await.unwrap_err();
    assert!(error.is_internal(), "{error}");
    let error = client.delete_queue("kept").await.unwrap_err();
    assert!(error.is_internal(), "{error}");
    assert!(broker.definitions_stored().await.is_err());
    client
        .declare_queue("transient", QueueOptions::default())
        .await
        .unwrap();
    client
        .bind_queue("transient", "amq.topic", "#")
        .await
        .unwrap();
    assert!(client.queue_info("kept").await.is_ok());
    drop((client, broker));

    disk.fail_with(None);
    let broker = self::broker(&disk).await;
    let client = broker.client().unwrap();
    assert!(client.queue_info("kept").await.is_ok());
    assert!(client.queue_info("lost").await.is_err());
}

#[tokio::test]
async fn a_client_that_wants_no_answers_cannot_fill_the_memory_while_the_disk_is_slow() {
    let disk = FaultyStorage::default();
    let broker = broker(&disk).await;
    let wire = Wire::open(&broker).await;
    disk.fail_with(Some(ErrorKind::StorageFull));
    let mut number = 0;
    let mut turns_without_progress = 0;
    let mut rest = Vec::new();
    while turns_without_progress < 20_000 {
        if rest.is_empty() {
            for _ in 0..1000 {
                rest.extend(declare_bytes(&format!("q{number}"), true, true));
                number += 1;
            }
        }
        match wire.stream.try_write(&rest) {
            Ok(written) => {
                rest.drain(..written);
                turns_without_progress = 0;
            }
            Err(_) => turns_without_progress += 1,
        }
        tokio::task::yield_now().await;
    }
    let queues = broker.client().unwrap();
    let mut made = 0;
    while queues.queue_info(&format!("q{made}")).await.is_ok() {
        made += 1;
    }
    // What one read may bring beyond the limit.
    let slack = 64 * 1024 / declare_bytes("q0", true, true).len() as u64;
    assert!(
        (BACKLOG_MAX..=BACKLOG_MAX + slack).contains(&made),
        "{made}"
    );
    disk.fail_with(None);
    // It is read from again.
    let beyond = format!("q{}", made + slack);
    while queues.queue_info(&beyond).await.is_err() {
        tokio::task::yield_now().await;
    }
}
