//! Percent-encoding, as in addresses and destinations.

use std::fmt::Write;

/// Resolves `%XX` once. What is not an escape stands for itself.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let escaped = match rest {
            [b'%', high, low, ..] => hex(*high).zip(hex(*low)),
            _ => None,
        };
        if let Some((high, low)) = escaped {
            bytes.push(high << 4 | low);
            rest = &rest[3..];
        } else {
            bytes.push(first);
            rest = behind;
        }
    }
    bytes
}

/// Appends `%XX`.
pub(crate) fn encode(out: &mut String, byte: u8) {
    // Writing into a string cannot fail.
    let _ = write!(out, "%{byte:02X}");
}

fn hex(digit: u8) -> Option<u8> {
    // A hexadecimal digit is below 16.
    char::from(digit).to_digit(16).map(|value| value as u8)
}
