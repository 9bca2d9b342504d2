//! The latest messages that reached no queue, for whoever wonders where they went.

use std::collections::VecDeque;

use leveret_queue_store::{Message, Time};
use parking_lot::Mutex;

/// How many are remembered.
const COUNT_MAX: usize = 64;

/// How many bytes they may have altogether; a larger message is not remembered at all.
const BYTES_MAX: usize = 1024 * 1024;

/// A message that reached no queue: dropped, or returned to its publisher.
#[derive(Clone, Debug)]
pub struct Unroutable {
    /// When it was published.
    pub at: Time,
    /// The message with exchange and routing key.
    pub message: Message,
}

/// A ring of them, bounded by number and bytes. Its lock is innermost.
#[derive(Debug, Default)]
pub(super) struct UnroutableRing {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    latest: VecDeque<Unroutable>,
    bytes: usize,
}

impl UnroutableRing {
    pub(super) fn push(&self, at: Time, message: &Message) {
        let size = message.size_bytes();
        if size > BYTES_MAX {
            return;
        }
        let mut state = self.state.lock();
        while state.latest.len() >= COUNT_MAX || state.bytes + size > BYTES_MAX {
            let Some(oldest) = state.latest.pop_front() else {
                break;
            };
            state.bytes -= oldest.message.size_bytes();
        }
        state.bytes += size;
        state.latest.push_back(Unroutable {
            at,
            message: message.clone(),
        });
    }

    pub(super) fn list(&self) -> Vec<Unroutable> {
        self.state.lock().latest.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leveret_queue_store::MessageParts;

    fn message(size: usize) -> Message {
        Message::new(
            &MessageParts {
                body: &vec![0; size],
                ..MessageParts::default()
            },
            &mut Vec::new(),
        )
    }

    #[test]
    fn only_the_latest_are_remembered() {
        let ring = UnroutableRing::default();
        for at in 0..100 {
            ring.push(Time::from_millis(at), &message(1));
        }
        let latest = ring.list();
        assert_eq!(latest.len(), COUNT_MAX);
        assert_eq!(latest[0].at, Time::from_millis(36));
    }

    #[test]
    fn large_ones_push_others_out_and_huge_ones_are_left_out() {
        let ring = UnroutableRing::default();
        ring.push(Time::from_millis(1), &message(BYTES_MAX / 2));
        ring.push(Time::from_millis(2), &message(BYTES_MAX / 2));
        assert_eq!(ring.list().len(), 1);
        ring.push(Time::from_millis(3), &message(BYTES_MAX));
        assert_eq!(ring.list()[0].at, Time::from_millis(2));
    }
}
