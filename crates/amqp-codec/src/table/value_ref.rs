//! One value of a field table, borrowed.

use std::fmt;

use super::{RawArray, RawTable, Value};
use crate::TableError;
use crate::read::Reader;

/// A value as a peer sent it. Strings, tables and arrays borrow the bytes they arrived in.
///
/// The letters are RabbitMQ's, which are not quite those of AMQP 4.2.1: `s` is an integer, and `l` and `L` are the
/// same.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ValueRef<'a> {
    /// `t`: a truth value; any octet but 0 is true.
    Bool(bool),
    /// `b`: a signed octet.
    I8(i8),
    /// `B`: an octet.
    U8(u8),
    /// `s`: a signed integer of 16 bits.
    I16(i16),
    /// `u`: an unsigned integer of 16 bits.
    U16(u16),
    /// `I`: a signed integer of 32 bits.
    I32(i32),
    /// `i`: an unsigned integer of 32 bits.
    U32(u32),
    /// `l` or `L`: a signed integer of 64 bits.
    I64(i64),
    /// `f`: a float of 32 bits.
    F32(f32),
    /// `d`: a float of 64 bits.
    F64(f64),
    /// `D`: `value` divided by ten to the power of `scale`.
    Decimal {
        /// How many digits stand behind the point.
        scale: u8,
        /// The digits.
        value: u32,
    },
    /// `S`: a text, or any bytes; AMQP says nothing about their encoding.
    LongString(&'a [u8]),
    /// `x`: bytes that are not a text.
    ByteArray(&'a [u8]),
    /// `T`: seconds since 1970.
    Timestamp(u64),
    /// `F`: a table in the table.
    Table(RawTable<'a>),
    /// `A`: a list of values.
    Array(RawArray<'a>),
    /// `V`: no value.
    Void,
}

impl<'a> ValueRef<'a> {
    /// Reads a type letter and a value. What is inside a table or array is left for its validation.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, TableError> {
        Ok(match reader.u8()? {
            b'S' => Self::LongString(reader.long()?),
            b't' => Self::Bool(reader.u8()? != 0),
            b'I' => Self::I32(i32::from_be_bytes(reader.array()?)),
            b'l' | b'L' => Self::I64(i64::from_be_bytes(reader.array()?)),
            b'T' => Self::Timestamp(reader.u64()?),
            b'F' => Self::Table(RawTable::from_validated_bytes(reader.long()?)),
            b'A' => Self::Array(RawArray::from_validated_bytes(reader.long()?)),
            b'b' => Self::I8(i8::from_be_bytes(reader.array()?)),
            b'B' => Self::U8(reader.u8()?),
            b's' => Self::I16(i16::from_be_bytes(reader.array()?)),
            b'u' => Self::U16(reader.u16()?),
            b'i' => Self::U32(reader.u32()?),
            b'f' => Self::F32(f32::from_be_bytes(reader.array()?)),
            b'd' => Self::F64(f64::from_be_bytes(reader.array()?)),
            b'D' => {
                let [scale, value @ ..] = reader.array::<5>()?;
                Self::Decimal {
                    scale,
                    value: u32::from_be_bytes(value),
                }
            }
            b'x' => Self::ByteArray(reader.long()?),
            b'V' => Self::Void,
            letter => return Err(TableError::UnknownType { letter }),
        })
    }

    /// The number, for integers of any width; `None` for everything else, also timestamps.
    #[must_use]
    pub fn as_integer(self) -> Option<i64> {
        match self {
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

    /// The number, for floats of either width.
    #[must_use]
    pub fn as_float(self) -> Option<f64> {
        match self {
            Self::F32(number) => Some(number.into()),
            Self::F64(number) => Some(number),
            _ => None,
        }
    }

    /// The text, for long strings that are UTF-8.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        match self {
            Self::LongString(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The truth value, for truth values only.
    #[must_use]
    pub fn as_bool(self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(truth),
            _ => None,
        }
    }

    /// The table, for tables only.
    #[must_use]
    pub fn as_table(self) -> Option<RawTable<'a>> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The array, for arrays only.
    #[must_use]
    pub fn as_array(self) -> Option<RawArray<'a>> {
        match self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }

    /// RabbitMQ's name for the type, which its error texts use.
    #[must_use]
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::I8(_) => "byte",
            Self::U8(_) => "unsignedbyte",
            Self::I16(_) => "short",
            Self::U16(_) => "unsignedshort",
            Self::I32(_) => "signedint",
            Self::U32(_) => "unsignedint",
            Self::I64(_) => "long",
            Self::F32(_) => "float",
            Self::F64(_) => "double",
            Self::Decimal { .. } => "decimal",
            Self::LongString(_) => "longstr",
            Self::ByteArray(_) => "binary",
            Self::Timestamp(_) => "timestamp",
            Self::Table(_) => "table",
            Self::Array(_) => "array",
            Self::Void => "void",
        }
    }

    /// An integer, also that of a timestamp.
    fn as_whole_number(self) -> Option<i128> {
        match self {
            Self::Timestamp(seconds) => Some(seconds.into()),
            _ => self.as_integer().map(i128::from),
        }
    }

    /// An integer or a float. Integers beyond 2^53 are rounded, which matters only where one is compared with a float.
    #[expect(clippy::cast_precision_loss, reason = "a float cannot say more")]
    fn as_number(self) -> Option<f64> {
        self.as_float()
            .or_else(|| self.as_whole_number().map(|number| number as f64))
    }

    fn as_octets(self) -> Option<&'a [u8]> {
        match self {
            Self::LongString(octets) | Self::ByteArray(octets) => Some(octets),
            _ => None,
        }
    }

    /// Whether a message header with the value `header` satisfies a binding that asks for `self`.
    ///
    /// As in RabbitMQ, numbers are equal whatever their type (integers, floats, timestamps), and so are strings and byte
    /// arrays, but values of different kinds never are: neither the string `"1"` nor `true` is 1.
    /// [`Void`](Self::Void) is satisfied by any value. Tables and arrays must be the same to the byte.
    #[must_use]
    pub fn matches(self, header: ValueRef<'_>) -> bool {
        if let (Some(wanted), Some(found)) = (self.as_whole_number(), header.as_whole_number()) {
            return wanted == found;
        }
        if let (Some(wanted), Some(found)) = (self.as_number(), header.as_number()) {
            return wanted == found;
        }
        if let (Some(wanted), Some(found)) = (self.as_octets(), header.as_octets()) {
            return wanted == found;
        }
        matches!(self, Self::Void) || self == header
    }

    /// A copy that borrows nothing. Only bytes that were never validated can nest so deeply that
    /// levels are left out, see [`RawTable::from_validated_bytes`].
    #[must_use]
    pub fn to_value(self) -> Value {
        Value::copied(self, u8::MAX)
    }
}

impl fmt::Display for ValueRef<'_> {
    /// As [`Value`] is displayed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_value(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_match_whatever_their_type() {
        assert!(ValueRef::I32(1).matches(ValueRef::I64(1)));
        assert!(ValueRef::U8(255).matches(ValueRef::I16(255)));
        assert!(!ValueRef::U8(255).matches(ValueRef::I8(-1)));
        assert!(ValueRef::F32(0.5).matches(ValueRef::F64(0.5)));
        assert!(ValueRef::I32(5).matches(ValueRef::F64(5.0)));
        assert!(!ValueRef::F64(5.5).matches(ValueRef::I32(5)));
        assert!(ValueRef::Timestamp(1).matches(ValueRef::F64(1.0)));
        assert!(ValueRef::Timestamp(1).matches(ValueRef::U8(1)));
        assert!(!ValueRef::Timestamp(u64::MAX).matches(ValueRef::I64(-1)));
    }

    #[test]
    fn large_integers_are_compared_exactly() {
        assert!(!ValueRef::I64(i64::MAX).matches(ValueRef::I64(i64::MAX - 1)));
    }

    #[test]
    fn values_of_another_kind_do_not_match() {
        let one = ValueRef::I32(1);
        for other in [
            ValueRef::LongString(b"1"),
            ValueRef::Bool(true),
            ValueRef::Decimal { scale: 0, value: 1 },
            ValueRef::Void,
        ] {
            assert!(!one.matches(other), "{other:?}");
            assert!(other == ValueRef::Void || !other.matches(one), "{other:?}");
        }
    }

    #[test]
    fn strings_match_byte_arrays() {
        assert!(ValueRef::LongString(b"a").matches(ValueRef::ByteArray(b"a")));
        assert!(!ValueRef::LongString(b"a").matches(ValueRef::ByteArray(b"b")));
    }

    #[test]
    fn void_asks_for_presence_only() {
        assert!(ValueRef::Void.matches(ValueRef::LongString(b"anything")));
        assert!(ValueRef::Void.matches(ValueRef::Void));
    }

    #[test]
    fn only_long_strings_are_text() {
        assert_eq!(ValueRef::LongString("é".as_bytes()).as_str(), Some("é"));
        assert_eq!(ValueRef::LongString(b"\xe9").as_str(), None);
        assert_eq!(ValueRef::ByteArray(b"e").as_str(), None);
    }
}
