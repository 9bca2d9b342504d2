//! Arguments of declarations and bindings, kept as they came.

use std::fmt;

use leveret_amqp_codec::RawTable;

/// A field table as the bytes it arrived in: what a queue, exchange or binding was declared with.
#[derive(Clone, Default)]
pub(crate) struct Arguments(Box<[u8]>);

impl Arguments {
    pub(crate) fn new(table: RawTable<'_>) -> Self {
        Self(table.as_bytes().into())
    }

    pub(crate) fn table(&self) -> RawTable<'_> {
        RawTable::from_validated_bytes(&self.0)
    }
}

impl fmt::Debug for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.table())
    }
}
