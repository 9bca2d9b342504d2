//! Walking through properties in the order of the wire.

use crate::read::{Reader, Truncated};
use crate::{ContentError, Limits, RawTable};

/// The flags of the properties, which stand on the wire in the order of their bits from the highest. AMQP 4.2.6.1.
pub(super) mod flag {
    pub(in crate::properties) const CONTENT_TYPE: u16 = 1 << 15;
    pub(in crate::properties) const CONTENT_ENCODING: u16 = 1 << 14;
    pub(in crate::properties) const HEADERS: u16 = 1 << 13;
    pub(in crate::properties) const DELIVERY_MODE: u16 = 1 << 12;
    pub(in crate::properties) const PRIORITY: u16 = 1 << 11;
    pub(in crate::properties) const CORRELATION_ID: u16 = 1 << 10;
    pub(in crate::properties) const REPLY_TO: u16 = 1 << 9;
    pub(in crate::properties) const EXPIRATION: u16 = 1 << 8;
    pub(in crate::properties) const MESSAGE_ID: u16 = 1 << 7;
    pub(in crate::properties) const TIMESTAMP: u16 = 1 << 6;
    pub(in crate::properties) const KIND: u16 = 1 << 5;
    pub(in crate::properties) const USER_ID: u16 = 1 << 4;
    pub(in crate::properties) const APP_ID: u16 = 1 << 3;
    pub(in crate::properties) const CLUSTER_ID: u16 = 1 << 2;
    /// Bit 1 means nothing, and bit 0 would announce a second word of flags, for which AMQP has no properties.
    pub(super) const UNKNOWN: u16 = 0b11;
}

/// Where a walk through properties stands. Each method takes a property if its flag is set, so they must be called in
/// the order of the flags.
pub(super) struct Walk<'a> {
    flags: u16,
    reader: Reader<'a>,
}

impl<'a> Walk<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Truncated> {
        let mut reader = Reader::new(bytes);
        Ok(Self {
            flags: reader.u16()?,
            reader,
        })
    }

    /// Whether any of the properties in `flags` is set.
    #[inline]
    pub(super) fn has(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    #[inline]
    pub(super) fn short(&mut self, flag: u16) -> Result<Option<&'a [u8]>, Truncated> {
        if self.has(flag) {
            self.reader.short().map(Some)
        } else {
            Ok(None)
        }
    }

    #[inline]
    pub(super) fn octet(&mut self, flag: u16) -> Result<Option<u8>, Truncated> {
        if self.has(flag) {
            self.reader.u8().map(Some)
        } else {
            Ok(None)
        }
    }

    #[inline]
    pub(super) fn timestamp(&mut self) -> Result<Option<u64>, Truncated> {
        if self.has(flag::TIMESTAMP) {
            self.reader.u64().map(Some)
        } else {
            Ok(None)
        }
    }

    /// The table as it stands there, which only [`validate`](Self::validate) looks into.
    #[inline]
    pub(super) fn table(&mut self, flag: u16) -> Result<Option<RawTable<'a>>, Truncated> {
        if !self.has(flag) {
            return Ok(None);
        }
        Ok(Some(RawTable::from_validated_bytes(self.reader.long()?)))
    }

    /// Walks from the beginning to the property with this flag.
    pub(super) fn skip_to(&mut self, flag: u16) -> Result<(), Truncated> {
        // The properties before it have higher bits.
        let mut before = self.flags & !(flag | (flag - 1));
        while let Some(next) = highest_bit(before) {
            self.skip(next)?;
            before &= !next;
        }
        Ok(())
    }

    fn skip(&mut self, flag: u16) -> Result<(), Truncated> {
        match flag {
            flag::HEADERS => self.reader.long().map(drop),
            flag::DELIVERY_MODE | flag::PRIORITY => self.reader.u8().map(drop),
            flag::TIMESTAMP => self.reader.u64().map(drop),
            _ => self.reader.short().map(drop),
        }
    }

    /// Walks from the beginning to the end and checks everything on the way.
    pub(super) fn validate(mut self, limits: &Limits) -> Result<(), ContentError> {
        if self.has(flag::UNKNOWN) {
            return Err(ContentError::UnknownProperties { flags: self.flags });
        }
        let mut left = self.flags;
        while let Some(next) = highest_bit(left) {
            match next {
                flag::HEADERS => {
                    RawTable::decode(self.reader.long()?, limits)?;
                }
                flag::REPLY_TO => self.validate_text("reply-to")?,
                flag::EXPIRATION => self.validate_text("expiration")?,
                flag::USER_ID => self.validate_text("user-id")?,
                _ => self.skip(next)?,
            }
            left &= !next;
        }
        match self.reader.rest().len() {
            0 => Ok(()),
            count => Err(ContentError::TrailingBytes { count }),
        }
    }

    fn validate_text(&mut self, property: &'static str) -> Result<(), ContentError> {
        match std::str::from_utf8(self.reader.short()?) {
            Ok(_) => Ok(()),
            Err(_) => Err(ContentError::MalformedUtf8 { property }),
        }
    }
}

/// The highest bit that is set.
#[inline]
fn highest_bit(flags: u16) -> Option<u16> {
    flags.checked_ilog2().map(|place| 1 << place)
}
