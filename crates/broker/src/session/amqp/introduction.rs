//! What a client has said of itself, kept for people who look.

use leveret_amqp_codec::{RawTable, Table};

/// How much is kept of a client's properties, which may have as much as a frame before the login: the usual libraries send
/// from 200 to 600 bytes, and there may be 100,000 connections.
const PROPERTIES_SIZE_MAX: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Introduction {
    /// How it has logged in, once it has.
    pub(super) mechanism: Option<&'static str>,
    /// As they are on the wire.
    properties: Box<[u8]>,
}

impl Introduction {
    /// Keeps as much of the properties as there is room for, each whole or not at all.
    pub(super) fn new(properties: RawTable<'_>) -> Self {
        let properties = if properties.len() <= PROPERTIES_SIZE_MAX {
            properties.as_bytes().into()
        } else {
            first_entries(properties).into()
        };
        Self {
            mechanism: None,
            properties,
        }
    }

    pub(super) fn properties(&self) -> Table {
        RawTable::from_validated_bytes(&self.properties).to_table()
    }
}

/// Those that fit, in their order.
fn first_entries(properties: RawTable<'_>) -> Vec<u8> {
    let mut kept = Vec::new();
    for (name, value) in properties {
        let entry: Table = [(name, value.to_value())].into_iter().collect();
        let entry = entry.to_bytes();
        if kept.len() + entry.len() <= PROPERTIES_SIZE_MAX {
            kept.extend_from_slice(&entry);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use leveret_amqp_codec::Value;

    use super::*;

    #[test]
    fn what_is_kept_is_whole_and_bounded() {
        let text = |size: usize| Value::from("x".repeat(size).as_str());
        let table: Table = [
            ("product", text(10)),
            ("large", text(PROPERTIES_SIZE_MAX)),
            ("platform", text(20)),
            ("other", text(PROPERTIES_SIZE_MAX - 60)),
        ]
        .into_iter()
        .collect();
        let bytes = table.to_bytes();
        let introduction = Introduction::new(RawTable::from_validated_bytes(&bytes));
        let want: Table = [("product", text(10)), ("platform", text(20))]
            .into_iter()
            .collect();
        assert_eq!(introduction.properties(), want);
        let small = want.to_bytes();
        let introduction = Introduction::new(RawTable::from_validated_bytes(&small));
        assert_eq!(introduction.properties(), want);
    }
}
