//! What has gone through a socket.

use crate::overview::ConnectionOverview;

/// Counted where the socket is read and written; within TLS, where there is TLS.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    received_bytes: u64,
    reads: u64,
    sent_bytes: u64,
    writes: u64,
}

impl Traffic {
    pub(super) fn received(&mut self, bytes: usize) {
        self.received_bytes += bytes as u64;
        self.reads += 1;
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent_bytes += bytes as u64;
        self.writes += 1;
    }

    pub(super) fn describe(&self, overview: &mut ConnectionOverview) {
        overview.received_bytes = self.received_bytes;
        overview.reads = self.reads;
        overview.sent_bytes = self.sent_bytes;
        overview.writes = self.writes;
    }
}
