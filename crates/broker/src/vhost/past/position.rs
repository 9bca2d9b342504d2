//! What messages that pass an exchange with a history are called, and from where on somebody wants them.

use std::fmt;
use std::str::FromStr;

use leveret_amqp_codec::{Properties, RawProperties, RawTable, Value, ValueRef};
use leveret_queue_store::Message;

use crate::vhost::rebuilt::rebuilt;

/// The header that tells a message's position.
pub(crate) const HISTORY_ID: &str = "x-history-id";

/// The header of the first message after messages that are missing.
pub(crate) const HISTORY_GAP: &str = "x-history-gap";

/// What stands before the position in the `message-id` of a STOMP MESSAGE. In no position, and behind whatever the client
/// has chosen.
pub(crate) const POSITION_MARK: char = '~';

/// Where a message stands among all that have passed exchanges with a history in one virtual host, for as long as the
/// broker runs.
///
/// Messages carry it as header `x-history-id`; as text it is what that header says, `EPOCH-NUMBER`. Numbers grow from one
/// message to the next, but not always by one: exchanges of a virtual host share them. The epoch is drawn anew when the
/// broker starts, so that a position of an earlier run is not taken for one of this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    pub(super) epoch: u64,
    pub(super) number: u64,
}

/// A text that is no [`Position`] and no [`ResumeFrom`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no position in a history")]
pub struct PositionError {
    text: String,
}

/// From where on a queue that is being bound wants the history of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResumeFrom {
    /// Everything that is kept. As text: `first`.
    First,
    /// Nothing of it, only what comes from now on. As text: `next`.
    Next,
    /// What came after this message. As text: the position, or the `message-id` of a STOMP MESSAGE that ends with it.
    After(Position),
    /// What came after a message that has no position: everything that is kept, and there is a gap before it. As text: the
    /// `message-id` of a STOMP MESSAGE without a position.
    AfterUnknown,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.epoch, self.number)
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let parsed = text.split_once('-').and_then(|(epoch, number)| {
            // A sign would be understood too.
            let has_sign = epoch.starts_with('+') || number.starts_with('+');
            if epoch.len() != 16 || has_sign {
                return None;
            }
            Some(Self {
                epoch: u64::from_str_radix(epoch, 16).ok()?,
                number: number.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| PositionError {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for ResumeFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("first"),
            Self::Next => f.write_str("next"),
            Self::After(position) => position.fmt(f),
            Self::AfterUnknown => f.write_str(UNKNOWN),
        }
    }
}

/// Stands between the parts of every `message-id` of STOMP, and alone for one of which nothing else matters.
const UNKNOWN: &str = "@@";

impl FromStr for ResumeFrom {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        match text {
            "first" => return Ok(Self::First),
            "next" => return Ok(Self::Next),
            _ => {}
        }
        let position = text
            .rsplit_once(POSITION_MARK)
            .map_or(text, |(_, position)| position);
        match position.parse() {
            Ok(position) => Ok(Self::After(position)),
            Err(_) if text.contains(UNKNOWN) => Ok(Self::AfterUnknown),
            Err(_) => Err(PositionError {
                text: text.to_owned(),
            }),
        }
    }
}

/// The position that a header of a message tells.
pub(crate) fn position_in(headers: Option<RawTable<'_>>, name: &str) -> Option<Position> {
    match headers?.get(name)? {
        ValueRef::LongString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

/// The message with its position, whatever it said of itself.
pub(super) fn stamped(message: &Message, position: Position) -> Message {
    with_header(message, HISTORY_ID, position)
}

/// The message with word that others are missing before it, up to that position.
pub(super) fn marked(message: &Message, missing_to: Position) -> Message {
    with_header(message, HISTORY_GAP, missing_to)
}

/// The message with less time to live.
pub(super) fn expiring(message: &Message, expiration_ms: u64) -> Message {
    rebuilt(message, message.properties(), Some(expiration_ms))
}

fn with_header(message: &Message, name: &str, position: Position) -> Message {
    let mut properties =
        Properties::from(RawProperties::from_validated_bytes(message.properties()));
    let headers = properties.headers.get_or_insert_default();
    if name == HISTORY_ID {
        // Nobody but the broker speaks of gaps.
        headers.remove(HISTORY_GAP);
    }
    headers.insert(name, Value::from(position.to_string().as_str()));
    rebuilt(message, &properties.to_bytes(), message.expiration_ms())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSITION: Position = Position {
        epoch: 0xab,
        number: 7,
    };

    #[track_caller]
    fn check(text: &str, want: Option<ResumeFrom>) {
        assert_eq!(text.parse().ok(), want, "{text}");
    }

    #[test]
    fn a_position_is_read_as_it_is_written() {
        assert_eq!(POSITION.to_string(), "00000000000000ab-7");
        check("00000000000000ab-7", Some(ResumeFrom::After(POSITION)));
        for wrong in [
            "",
            "7",
            "ab-7",
            "00000000000000ab-",
            "00000000000000ab-+7",
            "+0000000000000ab-7",
            "00000000000000ab-99999999999999999999",
            "00000000000000xy-7",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_message_id_leads_to_the_position_at_its_end_if_there_is_one() {
        let id = "T_a~b@@session-x@@12~00000000000000ab-7";
        check(id, Some(ResumeFrom::After(POSITION)));
        check("T_a~b@@session-x@@12", Some(ResumeFrom::AfterUnknown));
        check("first", Some(ResumeFrom::First));
        check("next", Some(ResumeFrom::Next));
        check("last", None);
    }

    #[test]
    fn what_is_wanted_is_read_as_it_is_written() {
        for resume in [
            ResumeFrom::First,
            ResumeFrom::Next,
            ResumeFrom::After(POSITION),
            ResumeFrom::AfterUnknown,
        ] {
            check(&resume.to_string(), Some(resume));
        }
    }
}
