//! The header between a method that has content and its body.

use crate::read::Reader;
use crate::{ContentError, Limits, RawProperties};

/// The class that has content, basic.
const BASIC: u16 = 60;

/// What a header frame says about the content that follows. AMQP 4.2.6.1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ContentHeader<'a> {
    /// The class of the method before it; decoding lets basic only pass, which is 60.
    pub class_id: u16,
    /// The length of the body in bytes, over all the frames to come. When it is 0 there are none.
    pub body_size: u64,
    /// The properties of the message.
    pub properties: RawProperties<'a>,
}

impl<'a> ContentHeader<'a> {
    /// Reads the payload of a header frame. The properties are walked through once, after which looking at them cannot
    /// fail.
    ///
    /// # Errors
    ///
    /// When the class is not basic, the body is to be larger than the limit, or the properties are malformed, in this
    /// order.
    #[inline]
    pub fn decode(payload: &'a [u8], limits: &Limits) -> Result<Self, ContentError> {
        let mut reader = Reader::new(payload);
        let class_id = reader.u16()?;
        let weight = reader.u16()?;
        let body_size = reader.u64()?;
        if class_id != BASIC {
            return Err(ContentError::UnexpectedClass { class_id });
        }
        if weight != 0 {
            return Err(ContentError::NonZeroWeight { weight });
        }
        if body_size > limits.body_size_max {
            return Err(ContentError::BodyTooLarge {
                announced: body_size,
                limit: limits.body_size_max,
            });
        }
        let properties = RawProperties::decode(reader.rest(), limits)?;
        Ok(Self {
            class_id,
            body_size,
            properties,
        })
    }

    /// Writes the payload of a header frame, the inverse of [`decode`](Self::decode).
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.class_id.to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.body_size.to_be_bytes());
        out.extend_from_slice(self.properties.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(payload: &[u8]) -> Result<ContentHeader<'_>, ContentError> {
        ContentHeader::decode(
            payload,
            &Limits {
                body_size_max: 1_000,
                ..Limits::default()
            },
        )
    }

    #[track_caller]
    fn check_error(payload: &[u8], code: u16, text: &str) {
        let error = decode(payload).unwrap_err();
        assert_eq!(error.reply_code().code(), code);
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn header_is_read_and_written() {
        let payload = b"\0\x3c\0\0\0\0\0\0\0\0\x03\xe8\x10\x00\x02";
        let header = decode(payload).unwrap();
        assert_eq!((header.class_id, header.body_size), (60, 1_000));
        assert_eq!(header.properties.delivery_mode(), Some(2));
        let mut out = Vec::new();
        header.encode(&mut out);
        assert_eq!(out, payload);
    }

    #[test]
    fn texts_are_those_of_rabbitmq() {
        check_error(
            b"\0\x32\0\0\0\0\0\0\0\0\0\0\0\0",
            505,
            "expected content header for class 60, got one for class 50 instead",
        );
        check_error(
            b"\0\x3c\0\0\0\0\0\0\0\0\x03\xe9\0\0",
            501,
            "content body size 1001 exceeds maximum allowed size 1000",
        );
        check_error(
            b"\0\x3c\0\x01\0\0\0\0\0\0\0\0\0\0",
            505,
            "expected content header for class 60, got non content header frame instead",
        );
    }

    #[test]
    fn short_header_is_malformed() {
        check_error(
            b"\0\x3c\0\0\0\0\0\0\0\0\0\0\0",
            502,
            "content header ends before its properties do",
        );
    }
}
