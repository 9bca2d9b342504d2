//! How the server is told to stop.

use std::fmt;
use std::future;
use std::io;
use std::process::ExitCode;

/// A signal that asks the server to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopSignal {
    /// Ctrl-C, or `SIGINT` from elsewhere.
    Interrupt,
    /// `SIGTERM`, which supervisors send.
    #[cfg(unix)]
    Terminate,
}

impl StopSignal {
    /// What a shell reports for a process that died of this signal: 128 and the signal's number.
    pub(crate) fn exit_code(self) -> ExitCode {
        match self {
            Self::Interrupt => ExitCode::from(130),
            #[cfg(unix)]
            Self::Terminate => ExitCode::from(143),
        }
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            #[cfg(unix)]
            Self::Terminate => "SIGTERM",
        })
    }
}

/// The signals of this process, caught from when this is made until the process ends.
///
/// `SIGHUP` is caught and means nothing here, so that a server outlives the terminal that it was started from. It has the
/// files of TLS read anew ([`Keeper`](crate::tls::Keeper)) and the log file opened anew, by those who listen to [`Hangups`].
/// `SIGPIPE` is ignored by every Rust program: whoever writes to a closed pipe gets an error instead.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: os::Interrupt,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Begins to catch the signals. They no longer kill the process, even when this has been dropped again.
    ///
    /// # Errors
    /// When the system refuses.
    ///
    /// # Panics
    /// Outside a tokio runtime with IO enabled.
    pub(crate) fn catch() -> io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            // The handler outlives the stream, which nobody needs to read.
            drop(signal(SignalKind::hangup())?);
            Ok(Self {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            })
        }
        #[cfg(not(unix))]
        Ok(Self {
            interrupt: tokio::signal::windows::ctrl_c()?,
        })
    }

    /// Waits until the server is asked to stop. May be called again, to learn whether it is asked more urgently; of
    /// several equal signals between two calls only one may be seen.
    ///
    /// # Cancel safety
    /// A signal that came while nobody waited is reported by the next call.
    pub(crate) async fn stop(&mut self) -> StopSignal {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => StopSignal::Interrupt,
            _ = self.terminate.recv() => StopSignal::Terminate,
        }
        #[cfg(not(unix))]
        {
            self.interrupt.recv().await;
            StopSignal::Interrupt
        }
    }
}

/// SIGHUP, where there is such a thing.
#[derive(Debug)]
pub(crate) struct Hangups {
    #[cfg(unix)]
    signals: tokio::signal::unix::Signal,
}

impl Hangups {
    /// Begins to listen. Several may, and each hears of every signal.
    ///
    /// # Errors
    /// When the system refuses.
    ///
    /// # Panics
    /// Outside a tokio runtime with IO enabled.
    pub(crate) fn catch() -> io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self {
                signals: signal(SignalKind::hangup())?,
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Of several between two calls one may be seen. Cancelled, it loses none.
    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        {
            // None would mean that no more can come.
            if self.signals.recv().await.is_some() {
                return;
            }
        }
        future::pending().await
    }
}

/// What tokio calls the stream of Ctrl-Cs on this system.
mod os {
    #[cfg(unix)]
    pub(super) use tokio::signal::unix::Signal as Interrupt;
    #[cfg(not(unix))]
    pub(super) use tokio::signal::windows::CtrlC as Interrupt;
}
