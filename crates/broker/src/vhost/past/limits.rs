//! How much history an exchange keeps.

use std::time::Duration;

use leveret_amqp_codec::RawTable;

use crate::error::Refusal;
use crate::exchange::ExchangeKind;
use crate::vhost::arguments;

/// The arguments that make an exchange keep history. Both are compared when it is declared again.
pub(in crate::vhost) const HISTORY_ARGUMENTS: [&str; 2] = [HISTORY_LENGTH, HISTORY_AGE];

pub(crate) const HISTORY_LENGTH: &str = "x-history-length";
pub(crate) const HISTORY_AGE: &str = "x-history-age";

/// What of each routing key is kept; at least one of the two is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HistoryLimits {
    /// The latest so many messages, at least one.
    pub(crate) length: Option<u64>,
    /// What has passed within so many milliseconds, at least one.
    pub(crate) age_ms: Option<u64>,
}

impl HistoryLimits {
    /// What a new exchange is to keep; None for nothing, which is what nearly all do. `phrase` names it in error texts.
    ///
    /// # Errors
    /// 406 for arguments that are not positive integers, and for an exchange that could not tell which of the messages it
    /// keeps are for a new binding, because its type looks at more than routing keys or chooses at random.
    pub(in crate::vhost) fn from_arguments(
        kind: ExchangeKind,
        arguments: RawTable<'_>,
        phrase: &str,
    ) -> Result<Option<Self>, Refusal> {
        let limits = Self {
            length: arguments::positive_count(arguments, HISTORY_LENGTH, phrase)?,
            age_ms: arguments::positive_duration(arguments, HISTORY_AGE, phrase)?,
        };
        if limits.length.is_none() && limits.age_ms.is_none() {
            return Ok(None);
        }
        if !matches!(
            kind,
            ExchangeKind::Topic | ExchangeKind::Direct | ExchangeKind::Fanout
        ) {
            return Err(Refusal::precondition_failed(format!(
                "{phrase} of type '{}' cannot keep history",
                kind.name()
            )));
        }
        Ok(Some(limits))
    }

    /// None when neither is given; what is less than one is one.
    pub(crate) fn new(length: Option<u64>, age: Option<Duration>) -> Option<Self> {
        let to_ms = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let limits = Self {
            length: length.map(|length| length.max(1)),
            age_ms: age.map(|age| to_ms(age).max(1)),
        };
        (limits.length.is_some() || limits.age_ms.is_some()).then_some(limits)
    }
}
