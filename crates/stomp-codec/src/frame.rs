use bytes::Bytes;

use crate::{Command, Headers};

/// One frame, its escapes resolved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// What is asked or told.
    pub command: Command,
    /// The headers. One that was read keeps its `content-length`; one that is written gets it from its body.
    pub headers: Headers,
    /// The octets between the headers and the NUL, empty for most commands.
    pub body: Bytes,
}

impl Frame {
    /// A frame with these headers and no body.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(
        command: Command,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        Self {
            command,
            headers: headers.into_iter().collect(),
            body: Bytes::new(),
        }
    }

    /// The same frame with this body.
    #[must_use]
    pub fn with_body(self, body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }

    /// The value of the first header with this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }
}
