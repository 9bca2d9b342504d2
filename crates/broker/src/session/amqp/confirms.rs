//! Publisher confirms of one channel (behaviour reference, section 10).

use leveret_amqp_codec::{ChannelId, method::basic, write_method};

/// Numbers the publishes of a channel in confirm mode and tells the client what became of them.
///
/// Confirms are sent in the order of the publishes and in runs: everything settled since the last one, in one basic.ack,
/// interrupted only by nacks.
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

    /// How many publishes have not been confirmed.
    pub(super) fn open_len(&self) -> u64 {
        self.next - self.first_open
    }

    /// The number that the next publish will have.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Notes that a publish is to be refused when its turn comes.
    pub(super) fn refuse(&mut self, number: u64) {
        self.refused.push(number);
    }

    /// Settles the publishes before number `end`.
    pub(super) fn settle_before(&mut self, end: u64, channel: ChannelId, out: &mut Vec<u8>) {
        for number in self.take_refused_before(end) {
            self.ack_before(number, channel, out);
            self.nack_before(number + 1, channel, out);
        }
        self.ack_before(end, channel, out);
    }

    /// Refuses all that is open before number `end`.
    pub(super) fn refuse_before(&mut self, end: u64, channel: ChannelId, out: &mut Vec<u8>) {
        drop(self.take_refused_before(end));
        self.nack_before(end, channel, out);
    }

    fn take_refused_before(&mut self, end: u64) -> Vec<u64> {
        if self.refused.is_empty() {
            return Vec::new();
        }
        self.refused.sort_unstable();
        self.refused.dedup();
        let later = self.refused.partition_point(|number| *number < end);
        let later = self.refused.split_off(later);
        std::mem::replace(&mut self.refused, later)
    }

    fn ack_before(&mut self, end: u64, channel: ChannelId, out: &mut Vec<u8>) {
        if let Some((delivery_tag, multiple)) = self.advance_to(end) {
            let ack = basic::Ack {
                delivery_tag,
                multiple,
            };
            write_method(out, channel, &ack);
        }
    }

    fn nack_before(&mut self, end: u64, channel: ChannelId, out: &mut Vec<u8>) {
        if let Some((delivery_tag, multiple)) = self.advance_to(end) {
            let nack = basic::Nack {
                delivery_tag,
                multiple,
                requeue: false,
            };
            write_method(out, channel, &nack);
        }
    }

    /// The tag, and whether it stands for several, that settles everything open before number `end`, if there is any.
    fn advance_to(&mut self, end: u64) -> Option<(u64, bool)> {
        let open = end.checked_sub(self.first_open).filter(|open| *open > 0)?;
        self.first_open = end;
        Some((end - 1, open > 1))
    }
}
