//! ACK and NACK (behaviour reference, section 20.7).

use leveret_queue_store::{Settlement, Time};
use leveret_stomp_codec::{Command, Frame, Version};

use super::deliveries::ID_SEPARATOR;
use super::problem::Problem;
use super::subscriptions::AckMode;
use super::{Session, headers};
use crate::error::Refusal;
use crate::vhost::POSITION_MARK;

/// What an ACK or NACK says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settle {
    number: u64,
    /// Everything up to it too.
    cumulative: bool,
    how: Settlement,
}

/// The parts of a message id.
struct MessageId<'a> {
    tag: &'a str,
    session: &'a str,
    number: u64,
}

#[cfg(test)]
impl Settle {
    pub(super) fn for_test(number: u64, how: Settlement) -> Self {
        Self {
            number,
            cumulative: false,
            how,
        }
    }
}

impl<'a> MessageId<'a> {
    /// Read from its end: the client chose the first part and may have put anything into it. A position in a history
    /// that follows the number is for others.
    fn parse(text: &'a str) -> Option<Self> {
        let (rest, number) = text.rsplit_once(ID_SEPARATOR)?;
        let number = number
            .split_once(POSITION_MARK)
            .map_or(number, |(number, _)| number);
        let (tag, session) = rest.rsplit_once(ID_SEPARATOR)?;
        Some(Self {
            tag,
            session,
            number: number.parse().ok()?,
        })
    }
}

impl Session {
    pub(super) fn settle(&mut self, now: Time, frame: &Frame) -> Result<(), Problem> {
        let settle = self.read_settle(frame)?;
        match frame.header("transaction") {
            Some(transaction) => self.transactions.add_settle(transaction, settle),
            None => self.carry_out_settle(now, settle),
        }
    }

    fn read_settle(&self, frame: &Frame) -> Result<Settle, Problem> {
        let command = frame.command;
        // STOMP 1.2, ACK: the id is that of the MESSAGE's ack header. Before, it was the message's own.
        let header = if self.writer.version() >= Version::V1_2 {
            "id"
        } else {
            "message-id"
        };
        let text = frame.header(header).ok_or_else(|| {
            Problem::new(
                "Missing header",
                format!("\"{command}\" must include the \"{header}\" header\n"),
            )
        })?;
        let id = MessageId::parse(text).ok_or_else(|| {
            Problem::new(
                "Invalid header",
                format!("\"{command}\" must include a valid \"{header}\" header\n"),
            )
        })?;
        let subscription = self
            .subscriptions
            .find(id.tag)
            .and_then(|key| self.subscriptions.get(key))
            // Numbers begin anew in each session: an id of another one means another message.
            .filter(|_| id.session == &*self.core.name)
            .ok_or_else(|| {
                Problem::new(
                    "Subscription not found",
                    format!("Message with id \"{text}\" has no subscription"),
                )
            })?;
        let how = if command == Command::Ack {
            Settlement::Ack
        } else if headers::boolean(frame, "requeue")?.unwrap_or(true) {
            Settlement::Requeue
        } else {
            Settlement::Discard
        };
        Ok(Settle {
            number: id.number,
            cumulative: subscription.ack == AckMode::Cumulative,
            how,
        })
    }

    /// Acknowledgements are remembered and told to the queues once per batch; what goes back goes back at once.
    pub(super) fn carry_out_settle(&mut self, now: Time, settle: Settle) -> Result<(), Problem> {
        let Settle {
            number,
            cumulative,
            how,
        } = settle;
        let taken = self.subscriptions.take(number, cumulative);
        let deliveries = taken
            .map_err(|_| Refusal::precondition_failed(format!("unknown delivery tag {number}")))?;
        if how == Settlement::Ack {
            self.subscriptions.ack(deliveries);
        } else {
            self.subscriptions.flush_acks(now);
            self.subscriptions.settle(now, deliveries, how);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_from_their_end() {
        let id = MessageId::parse("T_a@@b@@session-x@@7").unwrap();
        assert_eq!((id.tag, id.session, id.number), ("T_a@@b", "session-x", 7));
        let id = MessageId::parse("T_a~b@@session-x@@7~00000000000000ab-1").unwrap();
        assert_eq!((id.tag, id.session, id.number), ("T_a~b", "session-x", 7));
        for text in ["", "garbage", "a@@b", "T_a@@s@@", "T_a@@s@@x", "T_a@@s@@-1"] {
            assert!(MessageId::parse(text).is_none(), "{text}");
        }
    }
}
