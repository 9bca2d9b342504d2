//! A client that always has something more to say, and what is to happen to it at a certain time all the same; and one that
//! always takes more, and what it says all the same.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::Connection;
use crate::net::seat::Seat;
use crate::session::stomp::Session;
use crate::{Broker, VirtualClock};

/// Line ends, which are heart-beats, without end.
#[derive(Debug)]
struct Chatter;

impl AsyncRead for Chatter {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        buf.put_slice(b"\n\n\n\n");
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Chatter {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn who_never_falls_silent_has_to_log_in_in_time() {
    let clock = VirtualClock::new();
    let broker = Broker::builder().virtual_clock(clock.clone()).start().await;
    let broker = broker.unwrap();
    let seat = Seat::take(&broker.shared, None).expect("the broker runs");
    let mut connection = Connection::new(Chatter, seat, &broker.shared, Session::new);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..10 {
        assert!(connection.poll(&mut cx).is_pending());
    }
    clock.advance(Duration::from_secs(10));
    let ended = (0..2).any(|_| connection.poll(&mut cx).is_ready());
    assert!(ended, "it talks on");
}

/// What the client says second is that there shall be no more.
#[tokio::test]
async fn who_takes_all_that_a_deep_queue_has_is_heard() {
    use leveret_amqp_codec::method::{basic, queue};
    use leveret_amqp_codec::{ChannelId, ShortStr, write_method};

    use crate::{Publish, QueueOptions};

    const MESSAGES: u64 = 200;

    let broker = Broker::builder().start().await.unwrap();
    let client = broker.client().unwrap();
    let options = QueueOptions::default();
    client.declare_queue("deep", options).await.unwrap();
    let body = vec![0; 64 * 1024];
    for _ in 0..MESSAGES {
        let publish = Publish::to_queue("deep", &body);
        client.publish(publish).await.unwrap();
    }
    let mut said = crate::sans_io::handshake(false);
    let consume = basic::Consume {
        queue: ShortStr::from_static("deep"),
        no_ack: true,
        ..basic::Consume::default()
    };
    write_method(&mut said, ChannelId(1), &consume);
    let mut says_later = Vec::new();
    let purge = queue::Purge {
        queue: ShortStr::from_static("deep"),
        no_wait: true,
    };
    write_method(&mut says_later, ChannelId(1), &purge);
    let seat = Seat::take(&broker.shared, None).expect("the broker runs");
    let taken = Arc::new(AtomicUsize::new(0));
    let peer = Glutton {
        says: VecDeque::from([said, says_later]),
        taken: Arc::clone(&taken),
    };
    let start = crate::session::amqp::Session::new;
    let mut connection = Connection::new(peer, seat, &broker.shared, start);
    let mut cx = Context::from_waker(Waker::noop());
    while client.queue_info("deep").await.unwrap().ready > 0 {
        assert!(connection.poll(&mut cx).is_pending());
    }
    let taken = taken.load(Ordering::Relaxed) / body.len();
    assert!((1..50).contains(&taken), "{taken} were given to it first");
}

/// Takes everything, and says one thing after the other, as often as it is read from.
#[derive(Debug)]
struct Glutton {
    says: VecDeque<Vec<u8>>,
    taken: Arc<AtomicUsize>,
}

impl AsyncRead for Glutton {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(said) = self.says.pop_front() else {
            return Poll::Pending;
        };
        buf.put_slice(&said);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Glutton {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.taken.fetch_add(buf.len(), Ordering::Relaxed);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
