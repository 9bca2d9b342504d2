//! A field table that can be changed.

use std::fmt;

use super::{RawTable, Value};
use crate::ShortStr;
use crate::write::{put_prefixed, put_short};

/// Named values in an order, for arguments and headers that a program makes up or changes.
///
/// Look-ups walk the entries: tables are short. The name of an entry is at most 255 bytes and is cut where it is
/// longer, since the wire has no way to say more.
///
/// ```
/// use leveret_amqp_codec::{Table, Value};
///
/// let mut arguments = Table::new();
/// arguments.insert("x-queue-type", "quorum");
/// arguments.insert("x-delivery-limit", 5);
/// arguments.insert("x-delivery-limit", 6);
/// assert_eq!(arguments.to_string(), r#"{x-queue-type: "quorum", x-delivery-limit: 6}"#);
/// assert_eq!(arguments.remove("x-delivery-limit"), Some(Value::I32(6)));
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct Table {
    entries: Vec<(Box<[u8]>, Value)>,
}

impl Table {
    /// A table without entries. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of the first entry with this name.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&Value> {
        let name = cut(name.as_ref());
        self.entries
            .iter()
            .find(|(known, _)| **known == *name)
            .map(|(_, value)| value)
    }

    /// The value of the first entry with this name, to be changed.
    pub fn get_mut(&mut self, name: impl AsRef<[u8]>) -> Option<&mut Value> {
        let name = cut(name.as_ref());
        self.entries
            .iter_mut()
            .find(|(known, _)| **known == *name)
            .map(|(_, value)| value)
    }

    /// Gives the first entry with this name the value and returns the one it had, or appends an entry.
    pub fn insert(&mut self, name: impl AsRef<[u8]>, value: impl Into<Value>) -> Option<Value> {
        let name = name.as_ref();
        match self.get_mut(name) {
            Some(known) => Some(std::mem::replace(known, value.into())),
            None => {
                self.append(name, value);
                None
            }
        }
    }

    /// Appends an entry, also when there is one with this name already; look-ups find the first.
    pub fn append(&mut self, name: impl AsRef<[u8]>, value: impl Into<Value>) {
        self.entries.push((cut(name.as_ref()).into(), value.into()));
    }

    /// Takes out the first entry with this name.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) -> Option<Value> {
        let name = cut(name.as_ref());
        let index = self
            .entries
            .iter()
            .position(|(known, _)| **known == *name)?;
        Some(self.entries.remove(index).1)
    }

    /// Puts a value at the front of the array with this name, as x-death does with its newest entry. Where there is no
    /// array with this name, one is made, in the place of whatever else has the name.
    pub fn push_front(&mut self, name: impl AsRef<[u8]>, value: impl Into<Value>) {
        let name = name.as_ref();
        match self.get_mut(name) {
            Some(Value::Array(values)) => values.insert(0, value.into()),
            _ => {
                self.insert(name, vec![value.into()]);
            }
        }
    }

    /// Sorts the entries by name. Those of the same name keep their order.
    pub fn sort(&mut self) {
        self.entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    }

    /// The entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &Value)> {
        self.entries.iter().map(|(name, value)| (&**name, value))
    }

    /// Writes the table with the four octets of length before it, as values and arguments have it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_prefixed(out, |out| self.encode_entries(out));
    }

    /// Writes the entries without the length before them, as [`RawTable`] has them.
    pub fn encode_entries(&self, out: &mut Vec<u8>) {
        for (name, value) in &self.entries {
            put_short(out, name);
            value.encode(out);
        }
    }

    /// The entries without the length before them, to be seen as a [`RawTable`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode_entries(&mut bytes);
        bytes
    }

    /// See [`RawTable::canonical_bytes`].
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        RawTable::from_validated_bytes(&self.to_bytes()).canonical_bytes()
    }

    /// Copies `table`, empty if no level is left; see [`Value::copied`].
    pub(super) fn copied(table: RawTable<'_>, depth_left: u8) -> Self {
        let Some(depth_inside) = depth_left.checked_sub(1) else {
            return Self::new();
        };
        let copied = |(name, value): (&[u8], _)| (name.into(), Value::copied(value, depth_inside));
        Self {
            entries: table.iter().map(copied).collect(),
        }
    }
}

/// As much of a name as the wire can say.
fn cut(name: &[u8]) -> &[u8] {
    name.get(..ShortStr::SIZE_MAX).unwrap_or(name)
}

impl From<RawTable<'_>> for Table {
    fn from(table: RawTable<'_>) -> Self {
        table.to_table()
    }
}

impl<N: AsRef<[u8]>, V: Into<Value>> FromIterator<(N, V)> for Table {
    /// Keeps entries of the same name, as [`Table::append`] does.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(entries: I) -> Self {
        let mut table = Self::new();
        table.extend(entries);
        table
    }
}

impl<N: AsRef<[u8]>, V: Into<Value>> Extend<(N, V)> for Table {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, entries: I) {
        for (name, value) in entries {
            self.append(name, value);
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self
            .iter()
            .map(|(name, value)| (String::from_utf8_lossy(name), value));
        f.debug_map().entries(names).finish()
    }
}

impl fmt::Display for Table {
    /// For people to read: `{x-match: "all", count: 5}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (name, value)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(
                f,
                "{comma}{}: {value}",
                String::from_utf8_lossy(name).escape_debug()
            )?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn insert_keeps_the_place_of_what_it_replaces() {
        let mut table = Table::from_iter([("a", 1), ("b", 2)]);
        assert_eq!(table.insert("a", "one"), Some(Value::I32(1)));
        assert_eq!(table.insert("c", true), None);
        assert_eq!(table.to_string(), r#"{a: "one", b: 2, c: true}"#);
    }

    #[test]
    fn sorting_leaves_the_first_of_a_name_the_first() {
        let mut table = Table::from_iter([("b", 1), ("a", 2), ("b", 3), ("A", 4)]);
        table.sort();
        assert_eq!(table.to_string(), "{A: 4, a: 2, b: 1, b: 3}");
    }

    #[test]
    fn push_front_makes_the_array_it_needs() {
        let mut table = Table::from_iter([("x-death", "not an array")]);
        table.push_front("x-death", 1);
        table.push_front("x-death", 2);
        assert_eq!(
            table.get("x-death"),
            Some(&Value::from(vec![Value::I32(2), Value::I32(1)]))
        );
    }

    #[test]
    fn long_names_are_cut_everywhere_alike() {
        let mut table = Table::new();
        table.insert("n".repeat(300), 1);
        assert_eq!(table.get("n".repeat(255)), Some(&Value::I32(1)));
        assert_eq!(table.insert("n".repeat(256), 2), Some(Value::I32(1)));
        assert_eq!(table.len(), 1);
        let bytes = table.to_bytes();
        assert_eq!(RawTable::from_validated_bytes(&bytes).to_table(), table);
    }

    #[test]
    fn tables_are_written_with_and_without_their_length() {
        let table = Table::from_iter([("k", Value::Table(Table::from_iter([("b", true)])))]);
        assert_eq!(table.to_bytes(), b"\x01kF\0\0\0\x04\x01bt\x01");
        let mut out = vec![0xff];
        table.encode(&mut out);
        assert_eq!(out, b"\xff\0\0\0\x0b\x01kF\0\0\0\x04\x01bt\x01");
    }
}
