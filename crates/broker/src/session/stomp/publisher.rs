//! The sending side of a session: batches for the queues, and the receipts that follow them.

use leveret_queue_store::Time;
use leveret_stomp_codec::{Command, Version};

use super::writer::Writer;
use crate::session::Output;
use crate::vhost::{PublishBatch, RouteCache};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    pub(super) batch: PublishBatch,
    pub(super) cache: RouteCache,
    /// Of what the batch holds, in order.
    receipts: Vec<Receipt>,
    refused: Vec<u32>,
    pub(super) scratch: Vec<u8>,
    /// It has published since the last heart-beat was due.
    pub(super) active: bool,
}

/// A receipt that is due once the queues have the message.
#[derive(Debug)]
struct Receipt {
    id: Box<str>,
    refused: bool,
}

/// What a message carries whose sender does not want to know what becomes of it.
const NO_TICKET: u32 = u32::MAX;

/// What the sender of a refused message is told.
const REFUSAL: &[u8] = b"A queue is full and refuses new messages.\n";

impl Publisher {
    /// Promises a receipt for the message that is about to join the batch, where one is asked for. The ticket tells of
    /// its refusal.
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

    /// Hands the batch to the queues and tells of what was asked for.
    ///
    /// A message that a full queue refused gets no receipt but an ERROR that names it, and the session goes on. RabbitMQ
    /// drops the connection without a word there.
    pub(super) fn flush(&mut self, now: Time, writer: &Writer, out: &mut Output) {
        if !self.batch.is_empty() {
            self.batch.flush(now, &mut self.refused);
        }
        for ticket in self.refused.drain(..) {
            if let Some(receipt) = self.receipts.get_mut(ticket as usize) {
                receipt.refused = true;
            }
        }
        for receipt in self.receipts.drain(..) {
            // STOMP 1.2, ERROR: it should say which frame it is about.
            let id = ("receipt-id", &*receipt.id);
            if receipt.refused {
                let headers = [
                    ("message", "Message refused"),
                    ("content-type", "text/plain"),
                    ("version", Version::SUPPORTED),
                    id,
                ];
                writer.frame(out, Command::Error, &headers, REFUSAL);
            } else {
                writer.frame(out, Command::Receipt, &[id], b"");
            }
        }
    }

    /// Gives the memory of a publisher that has fallen silent back.
    pub(super) fn rest(&mut self) {
        if !std::mem::take(&mut self.active) && self.batch.is_empty() {
            *self = Self::default();
        }
    }
}
