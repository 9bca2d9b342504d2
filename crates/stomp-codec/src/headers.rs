use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::DecodeError;
use crate::escape::Escapes;

/// The headers of a frame, in the order in which they stand on the wire.
///
/// All names and values are slices of one block of bytes: no header costs an allocation of its own. Names may repeat;
/// [`get`](Self::get) then finds the first.
#[derive(Clone, Default)]
pub struct Headers {
    /// UTF-8 from end to end. Holds more than the headers when it comes from the wire: command, colons, line ends.
    block: Bytes,
    spans: Vec<Span>,
}

/// Where one header lies in its block.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) name: Range<usize>,
    pub(crate) value: Range<usize>,
}

impl Headers {
    /// The headers at these places of a block.
    ///
    /// # Errors
    ///
    /// [`DecodeError::InvalidUtf8`], wherever in the block the fault lies.
    pub(crate) fn from_block(block: Bytes, spans: Vec<Span>) -> Result<Self, DecodeError> {
        match std::str::from_utf8(&block) {
            Ok(_) => Ok(Self { block, spans }),
            Err(_) => Err(DecodeError::InvalidUtf8),
        }
    }

    /// The value of the first header with this name. Case counts.
    pub fn get(&self, name: &str) -> Option<&str> {
        let span = self.find(name)?;
        Some(self.text(&span.value))
    }

    /// As [`get`](Self::get), but a slice that can be kept without copying. It keeps the whole block alive, which is
    /// part of the buffer that the frame was read into.
    pub fn slice(&self, name: &str) -> Option<Bytes> {
        let span = self.find(name)?;
        Some(self.block.slice(span.value.clone()))
    }

    /// Whether there is a header with this name.
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The number of headers, repeated ones included.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are no headers.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// All headers as names and values in order, repeated ones included.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            headers: self,
            spans: self.spans.iter(),
        }
    }

    /// Drops the spaces before each value.
    pub(crate) fn trim_values(&mut self) {
        for span in &mut self.spans {
            let value = self.block.get(span.value.clone()).unwrap_or_default();
            span.value.start += value.iter().take_while(|octet| **octet == b' ').count();
        }
    }

    /// Resolves all escapes. Copies the headers if there is a backslash among them and does nothing otherwise.
    ///
    /// # Errors
    ///
    /// [`DecodeError::UndefinedEscape`].
    pub(crate) fn resolve(self, escapes: Escapes) -> Result<Self, DecodeError> {
        if escapes == Escapes::None || memchr::memchr(b'\\', &self.block).is_none() {
            return Ok(self);
        }
        // No escape is shorter than what it stands for.
        let mut block = Vec::with_capacity(self.block.len());
        let mut spans = Vec::with_capacity(self.spans.len());
        for Span { name, value } in self.spans {
            let start = block.len();
            escapes.resolve(&mut block, self.block.get(name).unwrap_or_default())?;
            let middle = block.len();
            escapes.resolve(&mut block, self.block.get(value).unwrap_or_default())?;
            spans.push(Span {
                name: start..middle,
                value: middle..block.len(),
            });
        }
        // Escapes are ASCII and stand for ASCII, so the block is still UTF-8.
        Ok(Self {
            block: Bytes::from(block),
            spans,
        })
    }

    fn find(&self, name: &str) -> Option<&Span> {
        self.spans
            .iter()
            .find(|span| self.block.get(span.name.clone()) == Some(name.as_bytes()))
    }

    /// The text at a place. Checking UTF-8 again is cheap for a text this short; keeping a checked string in a slice of
    /// the input instead would need unsafe code.
    fn text(&self, place: &Range<usize>) -> &str {
        let octets = self.block.get(place.clone()).unwrap_or_default();
        std::str::from_utf8(octets).unwrap_or_default()
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let mut block = Vec::new();
        let mut spans = Vec::new();
        for (name, value) in headers {
            let start = block.len();
            block.extend_from_slice(name.as_ref().as_bytes());
            let middle = block.len();
            block.extend_from_slice(value.as_ref().as_bytes());
            spans.push(Span {
                name: start..middle,
                value: middle..block.len(),
            });
        }
        Self {
            block: Bytes::from(block),
            spans,
        }
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Equal when names and values are the same in the same order.
impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other)
    }
}

impl Eq for Headers {}

/// Shows names and values, except that of `passcode`, so that a logged frame gives no password away.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|(name, value)| match name {
            "passcode" => (name, "***"),
            _ => (name, value),
        });
        f.debug_list().entries(shown).finish()
    }
}

/// The headers of a frame as pairs of name and value; see [`Headers::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    headers: &'a Headers,
    spans: std::slice::Iter<'a, Span>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let span = self.spans.next()?;
        Some((
            self.headers.text(&span.name),
            self.headers.text(&span.value),
        ))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_of_repeated_headers_wins_and_all_are_kept() {
        let headers = Headers::from_iter([("foo", "first"), ("bar", ""), ("foo", "second")]);
        assert_eq!(headers.get("foo"), Some("first"));
        assert_eq!(headers.get("bar"), Some(""));
        assert_eq!(headers.get("Foo"), None);
        assert_eq!(headers.slice("foo").as_deref(), Some(b"first".as_slice()));
        assert!(
            headers
                .iter()
                .eq([("foo", "first"), ("bar", ""), ("foo", "second")])
        );
        assert_eq!(headers.iter().len(), 3);
    }

    #[test]
    fn equality_is_that_of_names_and_values_and_not_of_blocks() {
        let block = Bytes::from_static(b"a:b\n");
        let span = Span {
            name: 0..1,
            value: 2..3,
        };
        let read = Headers::from_block(block, vec![span]).unwrap();
        assert_eq!(read, Headers::from_iter([("a", "b")]));
        assert_ne!(read, Headers::from_iter([("a", "b"), ("a", "b")]));
        assert_ne!(read, Headers::from_iter([("ab", "")]));
    }

    #[test]
    fn debug_output_hides_the_passcode() {
        let headers = Headers::from_iter([("login", "guest"), ("passcode", "secret")]);
        assert_eq!(
            format!("{headers:?}"),
            r#"[("login", "guest"), ("passcode", "***")]"#
        );
    }
}
