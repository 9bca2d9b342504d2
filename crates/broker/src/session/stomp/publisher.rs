//! The sending side of a session: batches for the queues, and the receipts that follow them.

use std::collections::VecDeque;
use std::sync::Arc;

use leveret_queue_store::{Lsn, Time};
use leveret_stomp_codec::{Command, Version};

use super::writer::Writer;
use crate::outbox::Outbox;
use crate::session::published::Published;
use crate::session::{Awaited, Output};
use crate::vhost::{PublishBatch, RouteCache};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    pub(super) batch: PublishBatch,
    pub(super) cache: RouteCache,
    /// Of what the batch holds, in order.
    receipts: Vec<Receipt>,
    /// Of messages that are on their way to the disk, in the order of its log.
    owed: VecDeque<(Lsn, Vec<Receipt>)>,
    /// Up to where the journal must be safe, beside what the batch says, for the next receipts: of what exchanges were given
    /// to keep since the last batch, and of the batches before it of the same COMMIT.
    pub(super) also_safe_at: Option<Lsn>,
    refused: Vec<u32>,
    /// A queue has refused a message since the last COMMIT began, or ever.
    has_refused: bool,
    pub(super) scratch: Vec<u8>,
    pub(super) published: Published,
}

/// A receipt that is due once the queues have the message.
#[derive(Debug)]
struct Receipt {
    id: Box<str>,
    refused: bool,
}

impl Receipt {
    fn write(&self, writer: &Writer, out: &mut Output) {
        if self.refused {
            write_refusal(writer, out, &self.id, REFUSAL);
        } else {
            writer.frame(out, Command::Receipt, &[("receipt-id", &self.id)], b"");
        }
    }
}

/// What a message carries whose sender does not want to know what becomes of it.
const NO_TICKET: u32 = u32::MAX;

/// What is said of a message that the disk did not take.
const DISK_FAILED: &[u8] = b"The disk has failed.\n";

/// What the sender of a refused message is told.
const REFUSAL: &[u8] = b"A queue is full and refuses new messages.\n";

impl Publisher {
    /// Promises a receipt for the message that is about to join the batch, where one is asked for. The ticket tells of the
    /// message's refusal.
    pub(super) fn promise(&mut self, receipt: Option<&str>) -> u32 {
        let Some(id) = receipt else {
            return NO_TICKET;
        };
        self.receipts.push(Receipt {
            id: id.into(),
            refused: false,
        });
        // One read has room for fewer messages than this.
        u32::try_from(self.receipts.len() - 1).unwrap_or(NO_TICKET)
    }

    /// The messages that follow, up to [`Publisher::promise_commit`], are those of one COMMIT.
    pub(super) fn begin_commit(&mut self) {
        self.has_refused = false;
    }

    /// Promises the receipt of a COMMIT, where one is asked for, whose messages have been handed over. It is given once the
    /// journal is safe up to there, and tells of a message that was refused.
    pub(super) fn promise_commit(&mut self, receipt: Option<Box<str>>, safe_at: Option<Lsn>) {
        self.also_safe_at = self.also_safe_at.max(safe_at);
        let refused = self.has_refused;
        self.receipts
            .extend(receipt.map(|id| Receipt { id, refused }));
    }

    /// Hands the batch to the queues and tells of what was asked for: at once, or where a message has to be on disk first,
    /// when it is (see [`Publisher::handle_safe`]).
    ///
    /// A message that a full queue refused gets no receipt but an ERROR that names it, and the session goes on. RabbitMQ
    /// drops the connection without a word there.
    ///
    /// Returns up to where the journal must be safe for all of it.
    pub(super) fn flush(&mut self, now: Time, writer: &Writer, out: &mut Output) -> Option<Lsn> {
        let safe_at = self.batch.flush(now, &mut self.refused);
        let safe_at = safe_at.max(self.also_safe_at.take());
        self.has_refused |= !self.refused.is_empty();
        for ticket in self.refused.drain(..) {
            if let Some(receipt) = self.receipts.get_mut(ticket as usize) {
                receipt.refused = true;
            }
        }
        if self.receipts.is_empty() {
            return safe_at;
        }
        match safe_at {
            None => self.receipts.drain(..).for_each(|it| it.write(writer, out)),
            Some(safe_at) => {
                let receipts = std::mem::take(&mut self.receipts);
                self.owed.push_back((safe_at, receipts));
            }
        }
        safe_at
    }

    /// See [`PublishBatch::take_behind`].
    pub(super) fn take_behind(&mut self) -> Option<Arc<Outbox>> {
        self.batch.take_behind()
    }

    /// What of the journal must be safe before receipts can be given.
    pub(super) fn awaited(&self) -> Option<Awaited> {
        let (first, last) = (self.owed.front()?, self.owed.back()?);
        Some(Awaited {
            first: first.0,
            last: last.0,
        })
    }

    /// Gives the receipts that have waited for so much of the journal.
    pub(super) fn handle_safe(&mut self, safe: Lsn, writer: &Writer, out: &mut Output) {
        while let Some((_, receipts)) = self.owed.pop_front_if(|(safe_at, _)| *safe_at <= safe) {
            receipts.iter().for_each(|it| it.write(writer, out));
        }
    }

    /// What waits for the disk will never be safe there.
    pub(super) fn handle_journal_failure(&mut self, writer: &Writer, out: &mut Output) {
        for receipt in self.owed.drain(..).flat_map(|(_, receipts)| receipts) {
            write_refusal(writer, out, &receipt.id, DISK_FAILED);
        }
    }

    /// Gives the memory of a publisher that has fallen silent back.
    pub(super) fn rest(&mut self) {
        if self.published.has_paused() && self.batch.is_empty() && self.owed.is_empty() {
            *self = Self {
                published: self.published,
                ..Self::default()
            };
        }
    }
}

fn write_refusal(writer: &Writer, out: &mut Output, receipt: &str, why: &[u8]) {
    let headers = [
        ("message", "Message refused"),
        ("content-type", "text/plain"),
        ("version", Version::SUPPORTED),
        // STOMP 1.2, ERROR: it should say which frame it is about.
        ("receipt-id", receipt),
    ];
    writer.frame(out, Command::Error, &headers, why);
}
