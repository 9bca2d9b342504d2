//! Operations, read from bytes.

use super::model::Slow;
use crate::{Overflow, QueueOptions, RequeueOrder, Settlement, SlowAction, TakeMode};

/// How many windows, and how many channels, the consumers share.
pub(super) const GATES: usize = 2;

/// Bytes to make choices from.
pub(super) struct Source<'a> {
    bytes: &'a [u8],
}

impl<'a> Source<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    /// A number below `end`; zero when the bytes are used up.
    pub(super) fn below(&mut self, end: u8) -> u8 {
        self.byte().unwrap_or(0) % end
    }

    /// A number below `end`, two times in three none.
    fn sometimes_below(&mut self, end: u8) -> Option<u64> {
        let byte = self.byte().unwrap_or(0);
        byte.is_multiple_of(3).then_some(u64::from(byte / 3 % end))
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    /// How many messages share a chunk: as many as usual, or so few that some can be paged out.
    pub(super) fn chunk_len(&mut self) -> u16 {
        [1, 2, 5, 512][usize::from(self.below(4))]
    }

    /// Options of a queue, with small numbers so that everything happens within a few operations.
    pub(super) fn queue_options(&mut self) -> QueueOptions {
        QueueOptions {
            durable: self.flag(),
            message_ttl_ms: self.sometimes_below(20),
            expires_ms: self.sometimes_below(30),
            max_length: self.sometimes_below(8),
            max_length_bytes: self.sometimes_below(80),
            overflow: [
                Overflow::DropHead,
                Overflow::RejectPublish,
                Overflow::RejectPublishDlx,
                Overflow::RejectPublishBeyond,
            ][usize::from(self.below(4))],
            max_priority: [0, 0, 3, 255][usize::from(self.below(4))],
            single_active_consumer: self.below(4) == 3,
            delivery_limit: self.sometimes_below(4).map(|limit| limit as u32),
            requeue: if self.flag() {
                RequeueOrder::Returns
            } else {
                RequeueOrder::OldPlace
            },
        }
    }
}

/// One thing to do. Indices are taken modulo what there is.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Publish {
        count: u8,
        persistent: bool,
        priority: u8,
        expiration_ms: Option<u64>,
        padding: u8,
    },
    Take {
        mode: TakeMode,
    },
    Settle {
        delivery: u8,
        how: Settlement,
    },
    SettleMany {
        first: u8,
        step: u8,
        how: Settlement,
    },
    Consume {
        no_ack: bool,
        exclusive: bool,
        priority: i64,
        prefetch: u32,
        window: Option<usize>,
        channel: Option<usize>,
        slow: Option<Slow>,
    },
    Cancel {
        consumer: u8,
    },
    /// A consumer goes, and its deliveries come back.
    Withdraw {
        consumer: u8,
    },
    Poll,
    Pass {
        ms: u8,
    },
    Touch,
    Purge,
    SetOptions {
        options: QueueOptions,
    },
    /// The connection behind a window has written its oldest delivery.
    Written {
        window: usize,
    },
    /// Another queue of the channel delivers to it.
    EnterElsewhere {
        channel: usize,
    },
    /// A delivery of another queue of the channel is settled.
    LeaveElsewhere {
        channel: usize,
    },
    SetLimit {
        gate: usize,
        limit: usize,
    },
    /// Memory is short.
    PageOut {
        pages: u8,
    },
    /// Memory is so short that what is next goes as well.
    PageOutAny {
        pages: u8,
        least: u8,
    },
    /// One page is made of several small ones.
    Join {
        at_least: u8,
    },
    /// The older part of the log is to be given back.
    Rehome {
        below: u8,
        limit: u8,
    },
    /// The process ends without notice, and another one takes over.
    Restart,
}

impl Operation {
    /// The next operation, until the bytes are used up.
    pub(super) fn read(source: &mut Source<'_>) -> Option<Self> {
        let operation = match source.byte()? % 30 {
            0..=5 => Self::Publish {
                // Now and then enough to need several chunks.
                count: if source.below(16) == 15 { 255 } else { 1 },
                persistent: source.flag(),
                priority: source.byte()?,
                expiration_ms: source.sometimes_below(20),
                padding: source.below(16),
            },
            6 => Self::Take {
                mode: if source.flag() {
                    TakeMode::Ack
                } else {
                    TakeMode::NoAck
                },
            },
            7..=10 => Self::Settle {
                delivery: source.byte()?,
                how: settlement(source),
            },
            11 | 12 => Self::SettleMany {
                first: source.byte()?,
                step: source.byte()?,
                how: settlement(source),
            },
            13 | 14 => Self::Consume {
                no_ack: source.below(4) == 0,
                exclusive: source.below(8) == 0,
                priority: i64::from(source.below(3)) - 1,
                prefetch: u32::from(source.below(4)),
                window: gate(source),
                channel: gate(source),
                slow: slow(source),
            },
            15 if source.flag() => Self::Withdraw {
                consumer: source.byte()?,
            },
            15 => Self::Cancel {
                consumer: source.byte()?,
            },
            16 | 17 => Self::Poll,
            18 | 19 => Self::Pass {
                ms: source.below(16),
            },
            20 => match source.below(8) {
                0 => Self::Touch,
                1 => Self::Purge,
                _ => Self::SetLimit {
                    gate: gate_index(source),
                    limit: usize::from(source.byte()?),
                },
            },
            21 if source.below(4) == 0 => Self::SetOptions {
                options: source.queue_options(),
            },
            21 | 22 => Self::Written {
                window: gate_index(source),
            },
            23 if source.flag() => Self::EnterElsewhere {
                channel: gate_index(source),
            },
            23 => Self::LeaveElsewhere {
                channel: gate_index(source),
            },
            24 | 25 => Self::Rehome {
                below: source.byte()?,
                limit: source.below(5),
            },
            26 if source.below(3) == 0 => Self::Restart,
            27 => Self::PageOut {
                pages: source.below(6),
            },
            28 => Self::PageOutAny {
                pages: source.below(8),
                least: if source.below(4) == 0 { 100 } else { 0 },
            },
            _ => Self::Join {
                at_least: source.below(5),
            },
        };
        Some(operation)
    }
}

fn settlement(source: &mut Source<'_>) -> Settlement {
    [
        Settlement::Ack,
        Settlement::Requeue,
        Settlement::Abandon,
        Settlement::Discard,
    ][usize::from(source.below(4))]
}

fn gate_index(source: &mut Source<'_>) -> usize {
    usize::from(source.byte().unwrap_or(0)) % GATES
}

/// What a consumer wants when it is slow, as often nothing, with limits of a few messages.
fn slow(source: &mut Source<'_>) -> Option<Slow> {
    let action = match source.below(6) {
        0 => SlowAction::Close,
        1 | 2 => SlowAction::DropOldest,
        _ => return None,
    };
    Some(Slow {
        action,
        limit: u64::from(source.below(6)),
        limit_bytes: u64::from(source.below(60)),
        own_window: gate(source),
    })
}

/// One of the gates, as often none.
fn gate(source: &mut Source<'_>) -> Option<usize> {
    let choice = usize::from(source.below(2 * GATES as u8));
    (choice < GATES).then_some(choice)
}
