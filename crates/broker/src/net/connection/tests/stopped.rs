//! How much a session is given to read, and what becomes of what it leaves because it must wait: that is taken when it need
//! not wait any more, however soon.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use leveret_queue_store::{Lsn, Time};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::super::Connection;
use crate::Broker;
use crate::error::Refusal;
use crate::net::seat::Seat;
use crate::outbox::Outbox;
use crate::overview::ConnectionOverview;
use crate::session::{Answer, Ask, Awaited, Output, Protocol};

/// Says each byte after its client, and has to wait after each until deliveries are next looked for: as a publisher that
/// an alarm stops which is over at once. Or takes everything as it comes.
#[derive(Debug, Default)]
struct Stutterer {
    waits: bool,
    /// How long the messages are that it takes, if it does.
    takes: Option<usize>,
    published: u32,
    /// Has not logged in, as far as the connection knows.
    is_stranger: bool,
    /// The most that it was given at once.
    most: Arc<AtomicUsize>,
}

impl Protocol for Stutterer {
    fn handle_input(&mut self, _: Time, input: &[u8], out: &mut Output) -> usize {
        self.most.fetch_max(input.len(), Ordering::Relaxed);
        if let Some(message_len) = self.takes {
            self.published += u32::try_from(input.len() / message_len).unwrap();
            if input == b"over" {
                self.published = 0;
            }
            return input.len();
        }
        let Some(byte) = input.first() else {
            return 0;
        };
        out.buffer().extend_from_slice(&[*byte]);
        self.waits = true;
        1
    }

    fn has_paused(&self) -> bool {
        false
    }

    fn takes_input(&self) -> bool {
        !self.waits
    }

    fn handle_outbox(&mut self, _: Time, _: usize, _: &mut Output) -> bool {
        self.waits = false;
        false
    }

    fn is_finished(&self) -> bool {
        false
    }

    fn is_open(&self) -> bool {
        !self.is_stranger
    }

    #[cfg(feature = "stomp")]
    fn had_broken_input(&self) -> bool {
        false
    }

    fn describe(&self) -> Option<ConnectionOverview> {
        None
    }

    fn published(&self) -> u32 {
        self.published
    }

    fn take_ask(&mut self) -> Option<Ask> {
        None
    }

    fn handle_answer(&mut self, _: Time, _: Answer, _: &mut Output) {}

    fn has_deliveries(&self) -> bool {
        false
    }

    fn awaited(&self) -> Option<Awaited> {
        None
    }

    fn handle_safe(&mut self, _: Time, _: Lsn, _: &mut Output) {}

    fn handle_journal_failure(&mut self, _: Time, _: &mut Output) {}

    fn handle_written(&mut self, _: Time) {}

    fn take_behind(&mut self) -> Option<Arc<Outbox>> {
        None
    }

    fn handle_unheard(&mut self, _: Time) {}

    fn next_timeout(&self) -> Option<Time> {
        None
    }

    fn handle_timeout(&mut self, _: Time, _: &mut Output) {}

    fn handle_not_recorded(&mut self, _: Time, _: &Refusal, _: &mut Output) {}

    fn handle_disconnect(&mut self, _: Time) {}
}

#[tokio::test(start_paused = true)]
#[expect(
    clippy::disallowed_methods,
    reason = "net is the part of the broker that has tasks"
)]
async fn what_had_to_wait_is_taken_though_nothing_else_comes() {
    let broker = Broker::builder().start().await.unwrap();
    let (mut client, server) = duplex(64);
    let seat = Seat::take(&broker.shared, None).expect("the broker runs");
    let start = |_, _, _, _, _| Stutterer::default();
    tokio::spawn(Connection::new(server, seat, &broker.shared, start).run());
    client.write_all(b"abc").await.unwrap();
    let mut said = [0; 3];
    let heard = client.read_exact(&mut said);
    // The clock only moves once nothing else does.
    let heard = tokio::time::timeout(Duration::from_secs(1), heard).await;
    heard.expect("all was taken").unwrap();
    assert_eq!(&said, b"abc");
}

#[tokio::test(start_paused = true)]
#[expect(
    clippy::disallowed_methods,
    reason = "net is the part of the broker that has tasks"
)]
async fn little_is_kept_of_what_a_stranger_sends_meanwhile() {
    let broker = Broker::builder().start().await.unwrap();
    for is_stranger in [false, true] {
        let (mut client, server) = duplex(1 << 20);
        client.write_all(&[b'x'; 100_000]).await.unwrap();
        let seat = Seat::take(&broker.shared, None).expect("the broker runs");
        let most = Arc::new(AtomicUsize::new(0));
        let start = |_, _, _, _, _| Stutterer {
            is_stranger,
            most: Arc::clone(&most),
            ..Stutterer::default()
        };
        let connection = Connection::new(server, seat, &broker.shared, start);
        let connection = tokio::spawn(connection.run());
        let _first = client.read_u8().await.unwrap();
        connection.abort();
        let given = most.load(Ordering::Relaxed);
        assert_eq!(given, if is_stranger { 8 * 1024 } else { 100_000 });
    }
}

#[tokio::test(start_paused = true)]
#[expect(
    clippy::disallowed_methods,
    reason = "net is the part of the broker that has tasks"
)]
async fn more_is_read_of_long_messages() {
    let broker = Broker::builder().start().await.unwrap();
    for (message_len, read_at_once) in [(100, 256 * 1024), (511, 256 * 1024), (512, 512 * 1024)] {
        let (mut client, server) = duplex(4 << 20);
        client.write_all(&vec![b'x'; 2 << 20]).await.unwrap();
        let seat = Seat::take(&broker.shared, None).expect("the broker runs");
        let most = Arc::new(AtomicUsize::new(0));
        let start = |_, _, _, _, _| Stutterer {
            takes: Some(message_len),
            most: Arc::clone(&most),
            ..Stutterer::default()
        };
        tokio::spawn(Connection::new(server, seat, &broker.shared, start).run());
        // The clock only moves once nothing else does.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(most.load(Ordering::Relaxed), read_at_once, "{message_len}");
    }
}

#[tokio::test(start_paused = true)]
#[expect(
    clippy::disallowed_methods,
    reason = "net is the part of the broker that has tasks"
)]
async fn a_count_that_begins_anew_costs_a_limited_rate_nothing() {
    let broker = Broker::builder().messages_per_s_max(10);
    let broker = broker.start().await.unwrap();
    let (mut client, server) = duplex(64);
    let seat = Seat::take(&broker.shared, None).expect("the broker runs");
    let most = Arc::new(AtomicUsize::new(0));
    let start = |_, _, _, _, _| Stutterer {
        takes: Some(1),
        most: Arc::clone(&most),
        ..Stutterer::default()
    };
    tokio::spawn(Connection::new(server, seat, &broker.shared, start).run());
    for said in [&b"a"[..], b"over", b"read in time"] {
        client.write_all(said).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(most.load(Ordering::Relaxed), b"read in time".len());
}
