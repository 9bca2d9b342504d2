//! The broker under test, and what it weighs.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::Error;

/// A `leveret` of its own, killed in the end.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// Starts the one that lies beside this program.
    pub(crate) fn start() -> Result<Self, Error> {
        let program = std::env::current_exe()?.with_file_name("leveret");
        let mut command = Command::new(&program);
        for listener in ["--amqp", "--stomp", "--stomp-ws"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn();
        let mut child = child.map_err(|error| format!("{}: {error}", program.display()))?;
        let output = child.stdout.take().ok_or("no output")?;
        let mut address = None;
        for line in BufReader::new(output).lines() {
            let line = line?;
            if let Some((_, found)) = line.split_once("listening for WebSockets on ") {
                address = Some(found.to_owned());
            }
            // This is the last thing that it says.
            if line.contains("log in") {
                break;
            }
        }
        let address = address.ok_or("the server did not say where it listens")?;
        Ok(Self { child, address })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which the clients have noticed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Bytes of resident memory.
pub(crate) fn resident(pid: u32) -> Result<u64, Error> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("no VmRSS")?.parse::<u64>()? * 1024)
}

/// As many open files as the system lets this process and its children have without asking.
pub(crate) fn raise_open_files() -> Result<(), Error> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}
