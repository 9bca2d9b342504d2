//! One value of a field table, owned.

use std::fmt;

use super::{RawArray, Table, ValueRef};
use crate::write::{put_long, put_prefixed};

/// A value of a [`Table`] or of an array. The twin of [`ValueRef`], which says what each is for.
///
/// Displayed for people to read: texts in quotes, tables in braces, arrays in brackets.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `t` on the wire.
    Bool(bool),
    /// `b` on the wire.
    I8(i8),
    /// `B` on the wire.
    U8(u8),
    /// `s` on the wire.
    I16(i16),
    /// `u` on the wire.
    U16(u16),
    /// `I` on the wire.
    I32(i32),
    /// `i` on the wire.
    U32(u32),
    /// `l` on the wire.
    I64(i64),
    /// `f` on the wire.
    F32(f32),
    /// `d` on the wire.
    F64(f64),
    /// `D` on the wire: `value` divided by ten to the power of `scale`.
    Decimal {
        /// How many digits stand behind the point.
        scale: u8,
        /// The digits.
        value: u32,
    },
    /// `S` on the wire. Texts, but AMQP does not say that they are UTF-8.
    LongString(Vec<u8>),
    /// `x` on the wire.
    ByteArray(Vec<u8>),
    /// `T` on the wire: seconds since 1970.
    Timestamp(u64),
    /// `F` on the wire.
    Table(Table),
    /// `A` on the wire.
    Array(Vec<Self>),
    /// `V` on the wire.
    Void,
}

impl Value {
    /// The text, for long strings that are UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::LongString(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The number, for integers of any width; `None` for everything else, also timestamps.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match *self {
            Self::I8(number) => Some(number.into()),
            Self::U8(number) => Some(number.into()),
            Self::I16(number) => Some(number.into()),
            Self::U16(number) => Some(number.into()),
            Self::I32(number) => Some(number.into()),
            Self::U32(number) => Some(number.into()),
            Self::I64(number) => Some(number),
            _ => None,
        }
    }

    /// Writes the type letter and the value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bool(truth) => put_fixed(out, b't', [u8::from(*truth)]),
            Self::I8(number) => put_fixed(out, b'b', number.to_be_bytes()),
            Self::U8(number) => put_fixed(out, b'B', [*number]),
            Self::I16(number) => put_fixed(out, b's', number.to_be_bytes()),
            Self::U16(number) => put_fixed(out, b'u', number.to_be_bytes()),
            Self::I32(number) => put_fixed(out, b'I', number.to_be_bytes()),
            Self::U32(number) => put_fixed(out, b'i', number.to_be_bytes()),
            Self::I64(number) => put_fixed(out, b'l', number.to_be_bytes()),
            Self::F32(number) => put_fixed(out, b'f', number.to_be_bytes()),
            Self::F64(number) => put_fixed(out, b'd', number.to_be_bytes()),
            Self::Decimal { scale, value } => {
                put_fixed(out, b'D', [*scale]);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Self::LongString(bytes) => {
                out.push(b'S');
                put_long(out, bytes);
            }
            Self::ByteArray(bytes) => {
                out.push(b'x');
                put_long(out, bytes);
            }
            Self::Timestamp(seconds) => put_fixed(out, b'T', seconds.to_be_bytes()),
            Self::Table(table) => {
                out.push(b'F');
                table.encode(out);
            }
            Self::Array(values) => {
                out.push(b'A');
                put_prefixed(out, |out| values.iter().for_each(|value| value.encode(out)));
            }
            Self::Void => out.push(b'V'),
        }
    }

    /// Copies `value`. Bytes that never were validated may nest without end, so tables and arrays beyond `depth_left`
    /// levels become empty.
    pub(super) fn copied(value: ValueRef<'_>, depth_left: u8) -> Self {
        match value {
            ValueRef::Bool(truth) => Self::Bool(truth),
            ValueRef::I8(number) => Self::I8(number),
            ValueRef::U8(number) => Self::U8(number),
            ValueRef::I16(number) => Self::I16(number),
            ValueRef::U16(number) => Self::U16(number),
            ValueRef::I32(number) => Self::I32(number),
            ValueRef::U32(number) => Self::U32(number),
            ValueRef::I64(number) => Self::I64(number),
            ValueRef::F32(number) => Self::F32(number),
            ValueRef::F64(number) => Self::F64(number),
            ValueRef::Decimal { scale, value } => Self::Decimal { scale, value },
            ValueRef::LongString(bytes) => Self::LongString(bytes.to_vec()),
            ValueRef::ByteArray(bytes) => Self::ByteArray(bytes.to_vec()),
            ValueRef::Timestamp(seconds) => Self::Timestamp(seconds),
            ValueRef::Table(table) => Self::Table(Table::copied(table, depth_left)),
            ValueRef::Array(array) => Self::Array(Self::copied_array(array, depth_left)),
            ValueRef::Void => Self::Void,
        }
    }

    pub(super) fn copied_array(array: RawArray<'_>, depth_left: u8) -> Vec<Self> {
        match depth_left.checked_sub(1) {
            Some(depth_inside) => array
                .iter()
                .map(|value| Self::copied(value, depth_inside))
                .collect(),
            None => Vec::new(),
        }
    }
}

fn put_fixed<const N: usize>(out: &mut Vec<u8>, letter: u8, bytes: [u8; N]) {
    out.push(letter);
    out.extend_from_slice(&bytes);
}

/// A value from a Rust type that has one counterpart on the wire.
macro_rules! value_from {
    ($($rust:ty => $variant:ident),* $(,)?) => {$(
        impl From<$rust> for Value {
            fn from(value: $rust) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

value_from! {
    bool => Bool,
    i8 => I8,
    u8 => U8,
    i16 => I16,
    u16 => U16,
    i32 => I32,
    u32 => U32,
    i64 => I64,
    f32 => F32,
    f64 => F64,
    &str => LongString,
    String => LongString,
    Table => Table,
    Vec<Value> => Array,
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Self {
        value.to_value()
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(truth) => write!(f, "{truth}"),
            Self::I8(number) => write!(f, "{number}"),
            Self::U8(number) => write!(f, "{number}"),
            Self::I16(number) => write!(f, "{number}"),
            Self::U16(number) => write!(f, "{number}"),
            Self::I32(number) => write!(f, "{number}"),
            Self::U32(number) => write!(f, "{number}"),
            Self::I64(number) => write!(f, "{number}"),
            Self::F32(number) => write!(f, "{number:?}"),
            Self::F64(number) => write!(f, "{number:?}"),
            Self::Decimal { scale, value } => write!(f, "{value}e-{scale}"),
            Self::LongString(bytes) => {
                write!(f, "\"{}\"", String::from_utf8_lossy(bytes).escape_debug())
            }
            Self::ByteArray(bytes) => write!(f, "b\"{}\"", bytes.escape_ascii()),
            Self::Timestamp(seconds) => write!(f, "@{seconds}"),
            Self::Table(table) => write!(f, "{table}"),
            Self::Array(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{value}")?;
                }
                f.write_str("]")
            }
            Self::Void => f.write_str("void"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_displayed_for_people() {
        let table = Table::from_iter([
            ("x-match", Value::from("all")),
            ("n", Value::from(5)),
            (
                "list",
                Value::from(vec![
                    Value::Void,
                    Value::F64(1.0),
                    Value::ByteArray(vec![0]),
                ]),
            ),
            (
                "price",
                Value::Decimal {
                    scale: 2,
                    value: 314,
                },
            ),
            ("at", Value::Timestamp(7)),
        ]);
        let text = r#"{x-match: "all", n: 5, list: [void, 1.0, b"\x00"], price: 314e-2, at: @7}"#;
        assert_eq!(Value::Table(table).to_string(), text);
    }
}
