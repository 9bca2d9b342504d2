//! What a client is told when an argument is not what was declared before.
//!
//! RabbitMQ prints Erlang terms, and clients see them; so do ours, except that nothing is broken into lines.

use std::fmt::{self, Display};

use leveret_amqp_codec::ValueRef;

/// The text of a mismatch between two arguments of which at least one is there.
pub(super) fn describe_mismatch(
    received: Option<ValueRef<'_>>,
    current: Option<ValueRef<'_>>,
) -> String {
    match (received, current) {
        (Some(received), Some(current)) => {
            format!(
                "received {} but current is {}",
                quoted(received),
                quoted(current)
            )
        }
        _ => format!(
            "received {} but current is {}",
            describe_option(received),
            describe_option(current)
        ),
    }
}

fn describe_option(value: Option<ValueRef<'_>>) -> String {
    match value {
        None => "none".to_owned(),
        Some(value) => format!(
            "the value '{}' of type '{}'",
            Plain(value),
            value.type_name()
        ),
    }
}

/// Beside another value, a void is nothing.
fn quoted(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Void => "none".to_owned(),
        value => format!("'{}'", Plain(value)),
    }
}

/// A value on its own: a text is shown as it is.
struct Plain<'a>(ValueRef<'a>);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ValueRef::LongString(text) => f.write_str(&String::from_utf8_lossy(text)),
            value => Term(value).fmt(f),
        }
    }
}

/// A value within others, as Erlang shows it.
pub(crate) struct Term<'a>(pub(crate) ValueRef<'a>);

impl Display for Term<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ValueRef::LongString(bytes) | ValueRef::ByteArray(bytes) => binary(bytes, f),
            ValueRef::Bool(value) => value.fmt(f),
            ValueRef::Timestamp(seconds) => seconds.fmt(f),
            ValueRef::Void => f.write_str("undefined"),
            ValueRef::Array(array) => list(f, array.iter(), |value, f| {
                write!(f, "{{{},{}}}", value.type_name(), Term(value))
            }),
            ValueRef::Table(table) => list(f, table.iter(), |(name, value), f| {
                f.write_str("{")?;
                binary(name, f)?;
                write!(f, ",{},{}}}", value.type_name(), Term(value))
            }),
            value => match value.as_integer() {
                Some(number) => number.fmt(f),
                None => value.fmt(f),
            },
        }
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    items: impl Iterator<Item = T>,
    item: impl Fn(T, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    f.write_str("[")?;
    for (at, value) in items.enumerate() {
        if at > 0 {
            f.write_str(",")?;
        }
        item(value, f)?;
    }
    f.write_str("]")
}

/// Text in quotes, everything else byte by byte.
fn binary(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if bytes.is_empty() {
        return f.write_str("<<>>");
    }
    if bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        let text = String::from_utf8_lossy(bytes);
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
        return write!(f, "<<\"{escaped}\">>");
    }
    let numbers: Vec<_> = bytes.iter().map(u8::to_string).collect();
    write!(f, "<<{}>>", numbers.join(","))
}

#[cfg(test)]
mod tests {
    use leveret_amqp_codec::{RawTable, Table, Value};

    use super::*;

    /// What is said when `received` does not match the text `x`, as RabbitMQ 3.10.8 said it.
    #[track_caller]
    fn check(received: Value, want: &str) {
        let table: Table = [("received", received), ("current", Value::from("x"))]
            .into_iter()
            .collect();
        let bytes = table.to_bytes();
        let table = RawTable::from_validated_bytes(&bytes);
        let text = describe_mismatch(table.get("received"), table.get("current"));
        assert_eq!(text, format!("received {want} but current is 'x'"));
    }

    #[test]
    fn texts_numbers_and_voids() {
        check(Value::from("y"), "'y'");
        check(Value::from(true), "'true'");
        check(Value::I32(5), "'5'");
        check(Value::Timestamp(7), "'7'");
        check(Value::Void, "none");
    }

    #[test]
    fn arrays_and_tables_are_shown_with_the_types_of_what_is_in_them() {
        check(Value::Array(vec![]), "'[]'");
        check(Value::Table(Table::default()), "'[]'");
        let array = Value::Array(vec![Value::I32(1), Value::from("a")]);
        check(array, "'[{signedint,1},{longstr,<<\"a\">>}]'");
        let inner = Value::Array(vec![Value::from(true), Value::Void]);
        let middle: Table = [("a", inner)].into_iter().collect();
        let outer: Table = [("k", Value::Table(middle))].into_iter().collect();
        check(
            Value::Table(outer),
            "'[{<<\"k\">>,table,[{<<\"a\">>,array,[{bool,true},{void,undefined}]}]}]'",
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_numbers() {
        let array = |bytes: &[u8]| Value::Array(vec![Value::LongString(bytes.to_vec())]);
        check(array(b""), "'[{longstr,<<>>}]'");
        check(array(b"a\"b"), "'[{longstr,<<\"a\\\"b\">>}]'");
        check(array(&[0, 200]), "'[{longstr,<<0,200>>}]'");
    }

    #[test]
    fn of_what_is_on_one_side_only_the_type_is_told() {
        assert_eq!(
            describe_mismatch(Some(ValueRef::Void), None),
            "received the value 'undefined' of type 'void' but current is none"
        );
        assert_eq!(
            describe_mismatch(None, Some(ValueRef::I32(9))),
            "received none but current is the value '9' of type 'signedint'"
        );
    }
}
