//! A client's TCP connection, which the runtime does not watch while it is busy.

#[cfg(all(test, unix))]
mod tests;

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop::{RestoreOnPending, poll_proceed};

/// After so many reads without a pause nobody watches the socket. To watch it again costs about as much as one of the
/// wake-ups that it saves, of which there is one for nearly every read.
const STREAK: u8 = 4;

/// A TCP connection of which the runtime wants to know only while its task waits for it.
///
/// A socket tells the runtime of everything that arrives. While its task is at work the system wakes another thread for
/// that, which finds that there is nothing to do, and goes to sleep again: for a client that sends without a pause nearly
/// once for each read. So a socket that always has something when it is read is taken away from the runtime, and is given back
/// when it has nothing or takes nothing.
///
/// ```text
///                STREAK reads, and not one that had to wait
///   watched ───────────────────────────────────────────────► unwatched
///      ▲                                                         │
///      └──────────── a read or a write that has to wait ─────────┘
/// ```
///
/// Reads and writes are those of one task. Whatever is pending, is pending on a socket that is watched, or because the task has
/// had its share of the thread and goes on after others.
#[derive(Debug)]
pub(super) struct Line {
    state: State,
    /// How many reads have given something since one had to wait, as long as the socket is watched.
    streak: u8,
    /// A write waits, and would not be woken if nobody watched.
    awaits_room: bool,
}

#[derive(Debug)]
enum State {
    Watched(TcpStream),
    Unwatched(std::net::TcpStream),
    /// The runtime did not take it back, or did not let it go: the connection is over.
    Lost,
}

impl Line {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            state: State::Watched(stream),
            streak: 0,
            awaits_room: false,
        }
    }

    /// The socket, for one that can wait.
    fn watched(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.change(|state| {
            Ok(match state {
                State::Unwatched(stream) => State::Watched(TcpStream::from_std(stream)?),
                other => other,
            })
        })?;
        match &mut self.state {
            State::Watched(stream) => Ok(Pin::new(stream)),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn unwatch(&mut self) -> io::Result<()> {
        self.change(|state| {
            Ok(match state {
                State::Watched(stream) => State::Unwatched(stream.into_std()?),
                other => other,
            })
        })
    }

    fn change(&mut self, change: impl FnOnce(State) -> io::Result<State>) -> io::Result<()> {
        self.streak = 0;
        self.state = change(std::mem::replace(&mut self.state, State::Lost))?;
        Ok(())
    }

    /// A part of the task's share of the thread, for what the runtime does not count: else a peer that never pauses would keep
    /// the thread to itself.
    fn poll_share(&self, cx: &mut Context<'_>) -> Poll<Option<RestoreOnPending>> {
        match self.state {
            State::Unwatched(_) => poll_proceed(cx).map(Some),
            _ => Poll::Ready(None),
        }
    }

    /// Writes if it can at once, or else when it can.
    fn poll_write_with(
        &mut self,
        share: Option<RestoreOnPending>,
        unwatched: impl FnOnce(&mut std::net::TcpStream) -> io::Result<usize>,
        watched: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.state {
            State::Watched(stream) => watched(Pin::new(stream)),
            State::Unwatched(stream) => match unwatched(stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    drop(share);
                    watched(self.watched()?)
                }
                written => {
                    made_progress(share);
                    Poll::Ready(written)
                }
            },
            State::Lost => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        self.awaits_room = written.is_pending();
        written
    }
}

fn made_progress(share: Option<RestoreOnPending>) {
    if let Some(share) = share {
        share.made_progress();
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let share = ready!(this.poll_share(cx));
        if let State::Unwatched(stream) = &mut this.state {
            match stream.read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => drop(share),
                read => {
                    buffer.advance(read?);
                    made_progress(share);
                    return Poll::Ready(Ok(()));
                }
            }
        }
        let State::Watched(stream) = &mut this.state else {
            return this.watched()?.poll_read(cx, buffer);
        };
        let read = Pin::new(stream).poll_read(cx, buffer);
        if read.is_pending() {
            this.streak = 0;
            return Poll::Pending;
        }
        this.streak = this.streak.saturating_add(1);
        // Elsewhere what waits for sockets may not give one back.
        if cfg!(unix) && this.streak >= STREAK && !this.awaits_room {
            this.unwatch()?;
        }
        read
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let share = ready!(this.poll_share(cx));
        this.poll_write_with(
            share,
            |stream| stream.write(bytes),
            |stream| stream.poll_write(cx, bytes),
        )
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let share = ready!(this.poll_share(cx));
        this.poll_write_with(
            share,
            |stream| stream.write_vectored(slices),
            |stream| stream.poll_write_vectored(cx, slices),
        )
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is written is with the system.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().watched()?.poll_shutdown(cx)
    }
}
