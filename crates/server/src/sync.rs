//! When the disk counts as having a message, as people write it.

use std::fmt;
use std::str::FromStr;

use leveret_broker::SyncPolicy;

/// When a message counts as safe, so that its publisher is told: `every-confirm`, `interval:MS` or `os`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SyncChoice(pub(crate) SyncPolicy);

/// Why a text is not a [`SyncChoice`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SyncError {
    /// It is none of the three.
    #[error("'{0}' is none of every-confirm, interval:MS (interval:100, say) and os")]
    Unknown(String),
    /// What follows `interval:` is not a number of milliseconds.
    #[error("'{0}' is not a whole number of milliseconds above zero")]
    NotAnInterval(String),
}

impl FromStr for SyncChoice {
    type Err = SyncError;

    fn from_str(text: &str) -> Result<Self, SyncError> {
        match text.trim() {
            "every-confirm" => Ok(Self(SyncPolicy::EveryConfirm)),
            "os" => Ok(Self(SyncPolicy::Os)),
            other => {
                let interval = other.strip_prefix("interval:");
                let digits = interval.ok_or_else(|| SyncError::Unknown(other.to_owned()))?;
                match digits.parse() {
                    Ok(ms) if ms > 0 => Ok(Self(SyncPolicy::IntervalMs(ms))),
                    _ => Err(SyncError::NotAnInterval(digits.to_owned())),
                }
            }
        }
    }
}

impl fmt::Display for SyncChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            SyncPolicy::EveryConfirm => f.write_str("every-confirm"),
            SyncPolicy::IntervalMs(ms) => write!(f, "interval:{ms}"),
            SyncPolicy::Os => f.write_str("os"),
        }
    }
}

impl<'de> serde::Deserialize<'de> for SyncChoice {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::config::text_or_number(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: SyncPolicy) {
        assert_eq!(text.parse(), Ok(SyncChoice(want)), "{text:?}");
        assert_eq!(SyncChoice(want).to_string(), text);
    }

    #[test]
    fn the_three_policies_have_names() {
        check("every-confirm", SyncPolicy::EveryConfirm);
        check("interval:250", SyncPolicy::IntervalMs(250));
        check("os", SyncPolicy::Os);
    }

    #[test]
    fn everything_else_is_refused() {
        let unknown = |text: &str| Err(SyncError::Unknown(text.to_owned()));
        assert_eq!("always".parse::<SyncChoice>(), unknown("always"));
        assert_eq!("interval".parse::<SyncChoice>(), unknown("interval"));
        for digits in ["", "0", "-1", "1s"] {
            let refused = Err(SyncError::NotAnInterval(digits.to_owned()));
            assert_eq!(format!("interval:{digits}").parse::<SyncChoice>(), refused);
        }
    }
}
