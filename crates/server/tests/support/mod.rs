//! Running the real binary: its lines, its signals, its end. Nothing here sleeps; whatever is waited for has a deadline.

#![allow(
    dead_code,
    reason = "every test file is a crate of its own and uses a part of this"
)]

pub(crate) mod amqp;
pub(crate) mod ctl;
pub(crate) mod tls;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

/// How long anything may take before the test fails: far more than a busy machine needs, and more than the five seconds
/// that a server waits for its clients.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const VARIABLES: [&str; 9] = [
    "LEVERET_AMQP",
    "LEVERET_MEMORY",
    "LEVERET_DATA_DIR",
    "LEVERET_SYNC",
    "LEVERET_DURABLE_MEMORY",
    "LEVERET_CONFIG",
    "LEVERET_CTL_SOCKET",
    "LEVERET_LOG_LEVEL",
    "LEVERET_LOG_FORMAT",
];

/// A running `leveret`. It is killed when this is dropped before it has ended.
#[derive(Debug)]
pub(crate) struct Server {
    process_id: u32,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    exited: Receiver<ExitStatus>,
    ended: bool,
}

/// How a process that was not meant to run for long has ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

/// The binary with these flags, and without any setting from the environment of the tests.
pub(crate) fn leveret(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.args(flags).stdin(Stdio::null());
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    command
}

/// A path for this test alone, at which there is nothing yet.
pub(crate) fn fresh_path(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    match std::fs::metadata(&path) {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(&path).unwrap(),
        Ok(_) => std::fs::remove_file(&path).unwrap(),
        Err(_) => {}
    }
    path
}

/// A server with this configuration, which is written to a file of this name.
pub(crate) fn configured(name: &str, config: &str) -> (Server, SocketAddr) {
    let path = fresh_path(name);
    std::fs::write(&path, config).unwrap();
    Server::ready(&["--config", path.to_str().unwrap()])
}

impl Server {
    /// Starts a process whose output is read from the beginning.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = lines_of(child.stdout.take().unwrap());
        let stderr = lines_of(child.stderr.take().unwrap());
        Self::watch(child, stdout, stderr)
    }

    fn watch(mut child: Child, stdout: Receiver<String>, stderr: Receiver<String>) -> Self {
        let process_id = child.id();
        let (sender, exited) = mpsc::channel();
        in_background(move || {
            let _ = sender.send(child.wait().unwrap());
        });
        Self {
            process_id,
            stdout,
            stderr,
            exited,
            ended: false,
        }
    }

    /// Starts a server on a free port of 127.0.0.1 and stops reading what it writes: its log from the start, its stdout
    /// after the first line.
    pub(crate) fn ready_without_readers(flags: &[&str]) -> (Self, SocketAddr) {
        let mut command = leveret(&["--amqp", "127.0.0.1:0"]);
        let mut child = command
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stderr.take());
        let stdout = first_line_of(child.stdout.take().unwrap());
        let server = Self::watch(child, stdout, mpsc::channel().1);
        let address = server.next_address();
        (server, address)
    }

    /// Starts a server on a free port of 127.0.0.1 and waits until it is ready.
    pub(crate) fn ready(flags: &[&str]) -> (Self, SocketAddr) {
        let mut command = leveret(&["--amqp", "127.0.0.1:0"]);
        command.args(flags);
        let server = Self::start(command);
        let address = server.next_address();
        (server, address)
    }

    /// The address in the next line of stdout, which must be one that announces it.
    pub(crate) fn next_address(&self) -> SocketAddr {
        let line = self.next_stdout_line();
        let address = line.strip_prefix("leveret: listening for AMQP on ");
        address
            .unwrap_or_else(|| panic!("{line:?} announces no address"))
            .parse()
            .unwrap()
    }

    pub(crate) fn next_stdout_line(&self) -> String {
        self.next_line(&self.stdout)
    }

    pub(crate) fn next_stderr_line(&self) -> String {
        self.next_line(&self.stderr)
    }

    fn next_line(&self, lines: &Receiver<String>) -> String {
        lines.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            let logged: Vec<String> = self.stderr.try_iter().collect();
            panic!("no line from the server ({error}); its log: {logged:#?}")
        })
    }

    /// Sends a signal by its name without `SIG`. The system has handed it over when this returns.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.process_id.to_string()])
            .status()
            .unwrap();
        assert!(status.success(), "kill -s {name} failed");
    }

    /// Waits for the end of the process.
    pub(crate) fn outcome(mut self) -> Outcome {
        let status = match self.exited.recv_timeout(PATIENCE) {
            Ok(status) => status,
            Err(RecvTimeoutError::Timeout) => panic!("the server still runs after {PATIENCE:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("nobody waits for the server"),
        };
        self.ended = true;
        // The pipes end with the process, and the channels with the pipes.
        Outcome {
            code: status.code(),
            stdout: self.stdout.iter().collect(),
            stderr: self.stderr.iter().collect(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.ended && self.exited.try_recv().is_err() {
            let _ = Command::new("kill")
                .args(["-s", "KILL", &self.process_id.to_string()])
                .status();
        }
    }
}

/// The lines of a pipe until it ends. The channel holds all of them, because a full pipe would hold up the server.
fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    in_background(move || {
        for line in BufReader::new(pipe).lines() {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// The first line of a pipe, which is closed before the line is handed out.
fn first_line_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    in_background(move || {
        let line = BufReader::new(pipe).lines().next();
        if let Some(Ok(line)) = line {
            let _ = sender.send(line);
        }
    });
    lines
}

#[expect(
    clippy::disallowed_methods,
    reason = "a pipe has no deadline; only a channel that a thread feeds has one"
)]
fn in_background(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}
