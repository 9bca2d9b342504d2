//! Spans of time, as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A span of time that may be unlimited: a whole number with a unit (`ms`, `s`, `min`, `h`), without one of milliseconds
/// as in RabbitMQ's configuration, or `off`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimeSpan(pub(crate) Option<Duration>);

/// Why a text is not a [`TimeSpan`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TimeSpanError {
    /// It begins with no digit and is not `off`.
    #[error(
        "a time is a whole number with a unit, for example 1800000ms, 90s, 30min or 2h, or 'off'"
    )]
    NotANumber,
    /// The number is followed by something else than a unit.
    #[error("unknown unit '{0}': use ms, s, min or h")]
    UnknownUnit(String),
    /// Nothing at all, which would let nobody in time.
    #[error("a time of zero is over at once; use 'off' for no limit")]
    Zero,
    /// More milliseconds than 64 bits can count.
    #[error("the time is too long")]
    TooLong,
    /// No limit, where there has to be one.
    #[error("this time cannot be unlimited")]
    Unlimited,
}

/// A span of time that has an end: as a [`TimeSpan`], but not `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FiniteTime(pub(crate) Duration);

impl FromStr for FiniteTime {
    type Err = TimeSpanError;

    fn from_str(text: &str) -> Result<Self, TimeSpanError> {
        let TimeSpan(span) = text.parse()?;
        span.map(Self).ok_or(TimeSpanError::Unlimited)
    }
}

impl FromStr for TimeSpan {
    type Err = TimeSpanError;

    fn from_str(text: &str) -> Result<Self, TimeSpanError> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("off") {
            return Ok(Self(None));
        }
        let digits_end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, unit) = text.split_at(digits_end);
        if digits.is_empty() {
            return Err(TimeSpanError::NotANumber);
        }
        let number: u64 = digits.parse().map_err(|_| TimeSpanError::TooLong)?;
        let unit_ms = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "ms" => 1,
            "s" => 1_000,
            "min" => 60_000,
            "h" => 3_600_000,
            _ => return Err(TimeSpanError::UnknownUnit(unit.trim_start().to_owned())),
        };
        match number.checked_mul(unit_ms) {
            None => Err(TimeSpanError::TooLong),
            Some(0) => Err(TimeSpanError::Zero),
            Some(ms) => Ok(Self(Some(Duration::from_millis(ms)))),
        }
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("off"),
            Some(duration) => write!(f, "{}ms", duration.as_millis()),
        }
    }
}

impl<'de> serde::Deserialize<'de> for TimeSpan {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::config::text_or_number(deserializer)
    }
}

impl<'de> serde::Deserialize<'de> for FiniteTime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::config::text_or_number(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want_ms: u64) {
        let span = TimeSpan(Some(Duration::from_millis(want_ms)));
        assert_eq!(text.parse(), Ok(span), "{text:?}");
        assert_eq!(
            span.to_string().parse(),
            Ok(span),
            "{span} is not read back"
        );
    }

    #[track_caller]
    fn check_refused(text: &str, want: TimeSpanError) {
        assert_eq!(text.parse::<TimeSpan>(), Err(want), "{text:?}");
    }

    #[test]
    fn a_number_alone_counts_milliseconds() {
        check("1", 1);
        check("1800000", 1_800_000);
    }

    #[test]
    fn units_go_up_to_hours() {
        check("250ms", 250);
        check("90s", 90_000);
        check("30 min", 1_800_000);
        check("2H", 7_200_000);
    }

    #[test]
    fn off_is_no_limit() {
        assert_eq!("off".parse(), Ok(TimeSpan(None)));
        assert_eq!(TimeSpan(None).to_string(), "off");
    }

    #[test]
    fn some_times_have_to_end() {
        let ten_seconds = FiniteTime(Duration::from_secs(10));
        assert_eq!("10s".parse(), Ok(ten_seconds));
        assert_eq!("off".parse::<FiniteTime>(), Err(TimeSpanError::Unlimited));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        check_refused("", TimeSpanError::NotANumber);
        check_refused("soon", TimeSpanError::NotANumber);
        check_refused("0s", TimeSpanError::Zero);
        check_refused("3d", TimeSpanError::UnknownUnit("d".to_owned()));
        check_refused("1.5h", TimeSpanError::UnknownUnit(".5h".to_owned()));
        check_refused("18446744073709551615h", TimeSpanError::TooLong);
        check_refused("99999999999999999999", TimeSpanError::TooLong);
    }
}
