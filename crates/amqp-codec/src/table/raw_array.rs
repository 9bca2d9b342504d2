//! A field array where it arrived.

use std::fmt;

use super::{Value, ValueRef};
use crate::read::Reader;

/// The values of a field array, borrowed as the bytes they are on the wire, without the length before them.
///
/// Arrays come as values of a [`RawTable`](crate::RawTable) and were checked with it.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct RawArray<'a>(&'a [u8]);

impl<'a> RawArray<'a> {
    /// The array without values.
    pub const EMPTY: Self = Self(&[]);

    #[inline]
    pub(super) const fn from_validated_bytes(values: &'a [u8]) -> Self {
        Self(values)
    }

    /// The values as they are on the wire, without the length before them.
    #[inline]
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether there are no values.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The values in the order they were sent.
    #[inline]
    #[must_use]
    pub fn iter(self) -> RawArrayIter<'a> {
        RawArrayIter(Reader::new(self.0))
    }

    /// The values, copied.
    #[must_use]
    pub fn to_vec(self) -> Vec<Value> {
        Value::copied_array(self, u8::MAX)
    }
}

impl<'a> IntoIterator for RawArray<'a> {
    type Item = ValueRef<'a>;
    type IntoIter = RawArrayIter<'a>;

    fn into_iter(self) -> RawArrayIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for RawArray<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_vec(), f)
    }
}

/// The values of a [`RawArray`], in the order they were sent.
#[derive(Clone, Debug)]
pub struct RawArrayIter<'a>(Reader<'a>);

impl<'a> Iterator for RawArrayIter<'a> {
    type Item = ValueRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<ValueRef<'a>> {
        let mut ahead = self.0;
        let value = ValueRef::read(&mut ahead).ok()?;
        self.0 = ahead;
        Some(value)
    }
}

impl std::iter::FusedIterator for RawArrayIter<'_> {}
