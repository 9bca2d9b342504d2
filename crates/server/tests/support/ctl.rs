//! `leveret ctl` on a data directory, with a server on it or without.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::amqp::{Client, TUNE};
use super::{Outcome, Server, fresh_path, leveret};

/// What came of these words.
pub(crate) fn ctl(dir: &Path, words: &[&str]) -> Outcome {
    let mut command = leveret(&["ctl", "--data-dir", dir.to_str().unwrap()]);
    command.args(words);
    Server::start(command).outcome()
}

/// What stands on stdout, of words that are right.
#[track_caller]
pub(crate) fn said(dir: &Path, words: &[&str]) -> String {
    let outcome = ctl(dir, words);
    assert_eq!(outcome.stderr, [""; 0], "{words:?}");
    assert_eq!(outcome.code, Some(0), "{words:?}");
    outcome.stdout.join("\n")
}

#[track_caller]
pub(crate) fn check(dir: &Path, words: &[&str], want: &str) {
    assert_eq!(said(dir, words), want, "{words:?}");
}

#[track_caller]
pub(crate) fn check_refused(dir: &Path, words: &[&str], code: i32, want: &str) {
    let outcome = ctl(dir, words);
    assert_eq!(outcome.stderr.join("\n"), want, "{words:?}");
    assert_eq!(outcome.code, Some(code), "{words:?}");
}

/// A server on a data directory of its own.
pub(crate) struct Node {
    pub(crate) dir: PathBuf,
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
}

impl Node {
    pub(crate) fn start(name: &str) -> Self {
        Self::on(fresh_path(name), &[])
    }

    pub(crate) fn on(dir: PathBuf, flags: &[&str]) -> Self {
        let mut all = vec!["--data-dir", dir.to_str().unwrap()];
        all.extend(flags);
        let (server, address) = Server::ready(&all);
        Self {
            dir,
            server,
            address,
        }
    }

    pub(crate) fn ctl(&self, words: &[&str]) -> Outcome {
        ctl(&self.dir, words)
    }

    #[track_caller]
    pub(crate) fn check(&self, words: &[&str], want: &str) {
        check(&self.dir, words, want);
    }

    #[track_caller]
    pub(crate) fn check_refused(&self, words: &[&str], code: i32, want: &str) {
        check_refused(&self.dir, words, code, want);
    }

    pub(crate) fn stop(self) -> PathBuf {
        self.server.signal("TERM");
        assert_eq!(self.server.outcome().code, Some(0));
        self.dir
    }

    pub(crate) fn can_log_in(&self, user: &str, password: &str) -> bool {
        let mut client = Client::log_in(self.address, user, password);
        client.hear() == TUNE
    }
}
