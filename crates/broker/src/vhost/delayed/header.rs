//! The header `x-delay`.

use leveret_amqp_codec::{Properties, RawProperties, RawTable, Value, ValueRef};
use leveret_queue_store::Message;

use crate::vhost::rebuilt::rebuilt;

/// The header that says by how many milliseconds a message is to be delayed.
const X_DELAY: &str = "x-delay";

/// The longest delay; whatever is longer is not delayed at all, as in the plugin.
const DELAY_MAX_MS: i64 = 4_294_967_295;

/// By how many milliseconds a message with these headers is delayed. None for those that are not: without the header,
/// with one that is not a number, and with delays that are not positive or beyond 2^32 - 1.
pub(in crate::vhost) fn delay_ms(headers: RawTable<'_>) -> Option<u64> {
    let delay = match headers.get(X_DELAY)? {
        ValueRef::LongString(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
        value => match value.as_integer() {
            Some(delay) => delay,
            // Cut off, as the plugin does; what does not fit becomes the nearest integer, which is beyond the limit.
            None => value.as_float()? as i64,
        },
    };
    (1..=DELAY_MAX_MS)
        .contains(&delay)
        .then_some(delay.unsigned_abs())
}

/// The same message with the sign of its delay turned, so that a second delayed exchange does not delay it again.
pub(super) fn with_delay_taken(message: &Message) -> Message {
    let mut properties =
        Properties::from(RawProperties::from_validated_bytes(message.properties()));
    if let Some(delay) = properties
        .headers
        .as_mut()
        .and_then(|headers| headers.get_mut(X_DELAY))
    {
        *delay = negated(delay);
    }
    rebuilt(message, &properties.to_bytes(), message.expiration_ms())
}

fn negated(delay: &Value) -> Value {
    match delay {
        Value::I8(delay) => Value::I8(delay.wrapping_neg()),
        Value::I16(delay) => Value::I16(delay.wrapping_neg()),
        Value::I32(delay) => Value::I32(delay.wrapping_neg()),
        Value::F32(delay) => Value::F32(-delay),
        Value::F64(delay) => Value::F64(-delay),
        // Delays in other forms were positive, or they would not have been taken.
        other => {
            let parsed = || other.as_str().and_then(|text| text.parse::<i64>().ok());
            Value::I64(
                other
                    .as_integer()
                    .or_else(parsed)
                    .unwrap_or(0)
                    .wrapping_neg(),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leveret_amqp_codec::Table;

    #[track_caller]
    fn check(value: Value, want: Option<u64>) {
        let table = Table::from_iter([(X_DELAY, value)]).to_bytes();
        assert_eq!(delay_ms(RawTable::from_validated_bytes(&table)), want);
    }

    #[test]
    fn delays_are_positive_numbers_of_any_kind() {
        check(Value::I32(5_000), Some(5_000));
        check(Value::U8(7), Some(7));
        check(Value::LongString(b"250".to_vec()), Some(250));
        check(Value::F64(12.9), Some(12));
        check(Value::I64(4_294_967_295), Some(4_294_967_295));
    }

    #[test]
    fn everything_else_is_not_delayed() {
        check(Value::I32(0), None);
        check(Value::I32(-5_000), None);
        check(Value::I64(4_294_967_296), None);
        check(Value::LongString(b"soon".to_vec()), None);
        check(Value::Bool(true), None);
        check(Value::F64(f64::NAN), None);
        check(Value::F64(1e300), None);
    }
}
