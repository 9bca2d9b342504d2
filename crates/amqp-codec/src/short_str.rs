//! Short strings: names, keys and other texts of at most 255 bytes.

use std::fmt;
use std::ops::Deref;

/// A text of at most 255 bytes of UTF-8, as AMQP has for names and keys.
///
/// AMQP 4.2.5.3 calls it a short string. A `ShortStr` borrows what it is made of, is as cheap to copy as a `&str`, and
/// can be used as one.
///
/// ```
/// use leveret_amqp_codec::ShortStr;
///
/// const LOGS: ShortStr<'_> = ShortStr::from_static("amq.rabbitmq.log");
/// assert!(LOGS.starts_with("amq."));
/// assert!(ShortStr::new(&"x".repeat(256)).is_err());
/// assert_eq!(ShortStr::truncated("fits"), "fits");
/// ```
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ShortStr<'a>(&'a str);

/// A text was too long for a [`ShortStr`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a short string holds 255 bytes, not {length}")]
pub struct TooLong {
    /// The length of the text in bytes.
    pub length: usize,
}

impl<'a> ShortStr<'a> {
    /// The most bytes a short string can have: its length is one octet.
    pub const SIZE_MAX: usize = 255;

    /// The empty string, which AMQP uses for the default exchange and for "no name given".
    pub const EMPTY: Self = Self("");

    /// `text` as a short string.
    ///
    /// # Errors
    ///
    /// [`TooLong`] when it has more than 255 bytes.
    #[inline]
    pub const fn new(text: &'a str) -> Result<Self, TooLong> {
        if text.len() > Self::SIZE_MAX {
            return Err(TooLong { length: text.len() });
        }
        Ok(Self(text))
    }

    /// As much of the beginning of `text` as fits without breaking a character. Meant for texts that people read,
    /// such as reply texts; a name that is cut is another name.
    #[must_use]
    pub fn truncated(text: &'a str) -> Self {
        let end = text.floor_char_boundary(Self::SIZE_MAX);
        Self(text.get(..end).unwrap_or_default())
    }

    /// `text` as a short string, checked when the program is compiled if used in a constant.
    ///
    /// # Panics
    ///
    /// When `text` has more than 255 bytes.
    #[must_use]
    pub const fn from_static(text: &'static str) -> ShortStr<'static> {
        assert!(
            text.len() <= Self::SIZE_MAX,
            "a short string holds 255 bytes"
        );
        ShortStr(text)
    }

    /// The text, borrowed for as long as what it was made of.
    #[inline]
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// The bytes as a short string, `None` if they are not UTF-8 or too many.
    #[inline]
    pub(crate) fn from_utf8(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        Self::new(text).ok()
    }

    /// The length as it stands on the wire.
    #[inline]
    pub(crate) fn length_octet(self) -> u8 {
        u8::try_from(self.0.len()).unwrap_or(u8::MAX)
    }
}

impl Deref for ShortStr<'_> {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.0
    }
}

impl AsRef<str> for ShortStr<'_> {
    fn as_ref(&self) -> &str {
        self.0
    }
}

impl AsRef<[u8]> for ShortStr<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl<'a> TryFrom<&'a str> for ShortStr<'a> {
    type Error = TooLong;

    fn try_from(text: &'a str) -> Result<Self, TooLong> {
        Self::new(text)
    }
}

impl<'a> From<ShortStr<'a>> for &'a str {
    fn from(text: ShortStr<'a>) -> Self {
        text.0
    }
}

impl PartialEq<str> for ShortStr<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for ShortStr<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for ShortStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)
    }
}

impl fmt::Debug for ShortStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_counted_in_bytes() {
        let fits = "é".repeat(127) + "x";
        assert_eq!(
            ShortStr::new(&fits).map(ShortStr::as_str),
            Ok(fits.as_str())
        );
        let too_long = "é".repeat(128);
        assert_eq!(ShortStr::new(&too_long), Err(TooLong { length: 256 }));
    }

    #[test]
    fn truncation_keeps_characters_whole() {
        let text = "é".repeat(200);
        assert_eq!(ShortStr::truncated(&text), "é".repeat(127).as_str());
        assert_eq!(ShortStr::truncated("whole"), "whole");
    }

    #[test]
    #[should_panic(expected = "255 bytes")]
    fn long_static_text_panics() {
        let text: &'static str = Box::leak("x".repeat(256).into_boxed_str());
        let _ = ShortStr::from_static(text);
    }
}
