//! Asking a server.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::failure::Failure;
use super::frame;
use super::message::{Reply, Request};

/// A connection to a server's control socket.
#[derive(Debug)]
pub(super) struct Client {
    #[cfg(unix)]
    stream: std::os::unix::net::UnixStream,
    timeout: Option<Duration>,
}

impl Client {
    /// # Errors
    /// When nobody listens there, or the system has no such sockets.
    pub(super) fn connect(path: &Path, timeout: Option<Duration>) -> io::Result<Self> {
        #[cfg(unix)]
        {
            let stream = std::os::unix::net::UnixStream::connect(path)?;
            Ok(Self { stream, timeout })
        }
        #[cfg(not(unix))]
        {
            let _ = (path, timeout);
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// # Errors
    /// When the server takes too long, or is gone.
    pub(super) fn ask(&mut self, request: &Request, verb: &str) -> Result<Reply, Failure> {
        match self.try_ask(request) {
            Ok(reply) => Ok(reply),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                let seconds = self.timeout.unwrap_or_default().as_secs();
                Err(Failure::timed_out(verb, seconds))
            }
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(unix)]
    fn try_ask(&mut self, request: &Request) -> io::Result<Reply> {
        if self.timeout == Some(Duration::ZERO) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(self.timeout)?;
        self.stream.set_write_timeout(self.timeout)?;
        frame::write(&mut self.stream, request)?;
        frame::read(&mut self.stream, frame::REPLY_MAX)
    }

    #[cfg(not(unix))]
    fn try_ask(&mut self, _: &Request) -> io::Result<Reply> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
