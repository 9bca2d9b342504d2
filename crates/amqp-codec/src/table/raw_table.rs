//! A field table where it arrived.

use std::fmt;

use super::{Table, ValueRef, validate_table};
use crate::read::Reader;
use crate::{Limits, TableError};

/// The entries of a field table, borrowed as the bytes they are on the wire, without the length before them.
///
/// The bytes were checked when they were decoded, so that looking at them cannot fail. Names are bytes: AMQP wants
/// them to be short texts, RabbitMQ takes and hands on anything. A name may come more than once; the first counts.
///
/// ```
/// use leveret_amqp_codec::{Limits, RawTable, Table, ValueRef};
///
/// let bytes = Table::from_iter([("x-max-length", 10), ("x-expires", 1_000)]).to_bytes();
/// let table = RawTable::decode(&bytes, &Limits::default())?;
/// assert_eq!(table.get("x-expires").and_then(ValueRef::as_integer), Some(1_000));
/// assert_eq!(table.get("x-message-ttl"), None);
/// # Ok::<(), leveret_amqp_codec::TableError>(())
/// ```
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct RawTable<'a>(&'a [u8]);

impl<'a> RawTable<'a> {
    /// The table without entries.
    pub const EMPTY: Self = Self(&[]);

    /// Checks `entries`, a table without the length before it, as [`Table::to_bytes`] makes them and as AMQPLAIN
    /// sends them.
    ///
    /// # Errors
    ///
    /// When a name or value is cut off, a type letter is unknown, or tables nest deeper than the limits allow.
    #[inline]
    pub fn decode(entries: &'a [u8], limits: &Limits) -> Result<Self, TableError> {
        if !entries.is_empty() {
            let limit = limits.table_depth_max;
            validate_table(entries, limit).map_err(|invalid| invalid.with_limit(limit))?;
        }
        Ok(Self(entries))
    }

    /// The table in bytes that [`as_bytes`](Self::as_bytes) gave before.
    ///
    /// For other bytes nothing worse happens than that the table seems to end where they make no sense, or that
    /// [`to_table`](Self::to_table) leaves out what nests deeper than 255 levels.
    #[inline]
    #[must_use]
    pub const fn from_validated_bytes(entries: &'a [u8]) -> Self {
        Self(entries)
    }

    /// The entries as they are on the wire, without the length before them.
    #[inline]
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether there are no entries.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The length in **bytes**. How many entries there are is known to [`iter`](Self::iter) only.
    #[inline]
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// The value of the first entry with this name. Walks the entries up to it.
    #[inline]
    pub fn get(self, name: impl AsRef<[u8]>) -> Option<ValueRef<'a>> {
        let wanted = name.as_ref();
        self.iter()
            .find_map(|(name, value)| (name == wanted).then_some(value))
    }

    /// The entries in the order they were sent.
    #[inline]
    #[must_use]
    pub fn iter(self) -> RawTableIter<'a> {
        RawTableIter(Reader::new(self.0))
    }

    /// A copy that can be changed. Keeps order, duplicates and types; `L` becomes `l`, which is the same type.
    #[must_use]
    pub fn to_table(self) -> Table {
        Table::copied(self, u8::MAX)
    }

    /// The entries sorted by name, equal for two tables that differ in order only.
    ///
    /// RabbitMQ takes two bindings for the same when this is the same. Types are kept, so an integer is not equal
    /// to the same number in another width; tables inside are not sorted; entries of the same name keep their order.
    #[must_use]
    pub fn canonical_bytes(self) -> Vec<u8> {
        let mut entries: Vec<(&[u8], &[u8])> = Vec::new();
        let mut iter = self.iter();
        loop {
            let before = iter.0.rest();
            let Some((name, _)) = iter.next() else { break };
            let size = before.len() - iter.0.rest().len();
            entries.push((name, before.get(..size).unwrap_or_default()));
        }
        entries.sort_by_key(|(name, _)| *name);
        let mut bytes = Vec::with_capacity(self.0.len());
        for (_, entry) in entries {
            bytes.extend_from_slice(entry);
        }
        bytes
    }
}

impl<'a> IntoIterator for RawTable<'a> {
    type Item = (&'a [u8], ValueRef<'a>);
    type IntoIter = RawTableIter<'a>;

    fn into_iter(self) -> RawTableIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for RawTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_table(), f)
    }
}

impl fmt::Display for RawTable<'_> {
    /// As [`Table`] is displayed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_table(), f)
    }
}

/// The names and values of a [`RawTable`], in the order they were sent.
#[derive(Clone, Debug)]
pub struct RawTableIter<'a>(Reader<'a>);

impl<'a> Iterator for RawTableIter<'a> {
    type Item = (&'a [u8], ValueRef<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // On bytes that never were a table this leaves the reader where the sense ends, so it stays at the end.
        let mut ahead = self.0;
        let name = ahead.short().ok()?;
        let value = ValueRef::read(&mut ahead).ok()?;
        self.0 = ahead;
        Some((name, value))
    }
}

impl std::iter::FusedIterator for RawTableIter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    fn decode(bytes: &[u8]) -> Result<RawTable<'_>, TableError> {
        RawTable::decode(bytes, &Limits::default())
    }

    #[test]
    fn first_entry_of_a_name_counts() {
        let table = decode(b"\x01ab\x01\x01ab\x02").unwrap();
        assert_eq!(table.get("a"), Some(ValueRef::I8(1)));
        assert_eq!(table.iter().count(), 2);
        assert_eq!(table.len(), 8);
    }

    #[test]
    fn every_letter_is_read() {
        let bytes = b"\x00t\x02\x00b\xff\x00B\xff\x00s\xff\xfe\x00u\xff\xfe\x00I\xff\xff\xff\xfd\x00i\xff\xff\xff\xfd\
            \x00l\xff\xff\xff\xff\xff\xff\xff\xfc\x00L\xff\xff\xff\xff\xff\xff\xff\xfb\x00f\x3f\x00\x00\x00\
            \x00d\x3f\xe0\x00\x00\x00\x00\x00\x00\x00D\x02\x00\x00\x01\x3a\x00S\x00\x00\x00\x01s\x00x\x00\x00\x00\x01x\
            \x00T\x00\x00\x00\x00\x00\x00\x00\x07\x00F\x00\x00\x00\x03\x01vV\x00A\x00\x00\x00\x02VV\x00V";
        let values: Vec<Value> = decode(bytes)
            .unwrap()
            .iter()
            .map(|(_, value)| value.to_value())
            .collect();
        assert_eq!(
            values,
            [
                Value::Bool(true),
                Value::I8(-1),
                Value::U8(255),
                Value::I16(-2),
                Value::U16(65_534),
                Value::I32(-3),
                Value::U32(4_294_967_293),
                Value::I64(-4),
                Value::I64(-5),
                Value::F32(0.5),
                Value::F64(0.5),
                Value::Decimal {
                    scale: 2,
                    value: 314
                },
                Value::from("s"),
                Value::ByteArray(b"x".to_vec()),
                Value::Timestamp(7),
                Value::Table(Table::from_iter([("v", Value::Void)])),
                Value::Array(vec![Value::Void, Value::Void]),
                Value::Void,
            ]
        );
    }

    #[test]
    fn malformed_tables_are_refused() {
        assert_eq!(decode(b"\x02a"), Err(TableError::Truncated));
        assert_eq!(decode(b"\x01a"), Err(TableError::Truncated));
        assert_eq!(decode(b"\x01aI\0\0\0"), Err(TableError::Truncated));
        assert_eq!(decode(b"\x01aS\0\0\0\x02a"), Err(TableError::Truncated));
        assert_eq!(decode(b"\x01aF\0\0\0\x02\x05a"), Err(TableError::Truncated));
        assert_eq!(
            decode(b"\x01aA\0\0\0\x01?"),
            Err(TableError::UnknownType { letter: b'?' })
        );
        assert_eq!(
            decode(b"\x01aS\xff\xff\xff\xff"),
            Err(TableError::Truncated)
        );
    }

    #[test]
    fn depth_is_limited() {
        let limits = Limits {
            table_depth_max: 2,
            ..Limits::default()
        };
        let two = b"\x00A\0\0\0\x01V";
        assert!(RawTable::decode(two, &limits).is_ok());
        let three = b"\x00A\0\0\0\x05A\0\0\0\0";
        assert_eq!(
            RawTable::decode(three, &limits),
            Err(TableError::TooDeep { limit: 2 })
        );
        let none = Limits {
            table_depth_max: 0,
            ..limits
        };
        assert_eq!(
            RawTable::decode(b"\x00V", &none),
            Err(TableError::TooDeep { limit: 0 })
        );
        assert_eq!(RawTable::decode(b"", &none), Ok(RawTable::EMPTY));
    }

    #[test]
    fn nonsense_ends_the_table() {
        let table = RawTable::from_validated_bytes(b"\x01aV\x01b?more");
        assert_eq!(table.iter().count(), 1);
        assert_eq!(table.get("b"), None);
        assert_eq!(table.to_table().len(), 1);
        assert_eq!(table.canonical_bytes(), b"\x01aV");
    }

    #[test]
    fn canonical_bytes_forget_the_order_only() {
        let one = decode(b"\x01ab\x01\x01bV").unwrap();
        let other = decode(b"\x01bV\x01ab\x01").unwrap();
        assert_ne!(one, other);
        assert_eq!(one.canonical_bytes(), other.canonical_bytes());
        let wider = decode(b"\x01as\0\x01\x01bV").unwrap();
        assert_ne!(one.canonical_bytes(), wider.canonical_bytes());
    }
}
