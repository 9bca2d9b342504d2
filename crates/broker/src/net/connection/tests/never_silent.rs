//! A client that always has something more to say, and what is to happen to it at a certain time all the same.

use std::io;
use std::pin::Pin;
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
