//! Publisher confirms of one channel (behaviour reference, section 10).

use leveret_amqp_codec::{ChannelId, method::basic, write_method};

/// Numbers the publishes of a channel in confirm mode and tells the client what became of them.
///
/// Confirms are sent in runs: everything settled since the last one, in one basic.ack, interrupted only by nacks.
#[derive(Debug)]
pub(super) struct Confirms {
    /// The number of the next publish; the first is 1.
    next: u64,
    /// The first publish that has not been confirmed.
    first_open: u64,
    /// Publishes since then that a queue refused.
    refused: Vec<u64>,
}

impl Confirms {
    pub(super) fn new() -> Self {
        Self {
            next: 1,
            first_open: 1,
            refused: Vec::new(),
        }
    }

    /// Counts a publish and returns its number.
    pub(super) fn count(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// Notes that a publish is to be refused when its turn comes.
    pub(super) fn refuse(&mut self, number: u64) {
        self.refused.push(number);
    }

    /// Settles every publish counted so far.
    pub(super) fn settle_all(&mut self, channel: ChannelId, out: &mut Vec<u8>) {
        self.refused.sort_unstable();
        self.refused.dedup();
        let mut refused = std::mem::take(&mut self.refused);
        for number in refused.drain(..) {
            self.ack_before(number, channel, out);
            write_method(
                out,
                channel,
                &basic::Nack {
                    delivery_tag: number,
                    multiple: false,
                    requeue: false,
                },
            );
            self.first_open = number + 1;
        }
        self.refused = refused;
        self.ack_before(self.next, channel, out);
    }

    fn ack_before(&mut self, end: u64, channel: ChannelId, out: &mut Vec<u8>) {
        if self.first_open < end {
            let multiple = self.first_open + 1 < end;
            write_method(
                out,
                channel,
                &basic::Ack {
                    delivery_tag: end - 1,
                    multiple,
                },
            );
            self.first_open = end;
        }
    }
}
