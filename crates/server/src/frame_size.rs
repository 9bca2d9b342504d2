//! Sizes of frames, as people write them.

use std::str::FromStr;

use crate::size::{SizeError, number_and_unit, times_unit};

/// How large a frame may be before the login, in bytes, from 8192 to 65,536.
///
/// Written as a [`MemorySize`](crate::size::MemorySize) is, without shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InitialFrameSize(pub(crate) u32);

/// Why a text is not an [`InitialFrameSize`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameSizeError {
    /// It is no number of bytes.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// It is less than RabbitMQ takes, or more than strangers should have.
    #[error("a frame before the login may have from 8192 to 65536 bytes")]
    OutOfRange,
}

impl FromStr for InitialFrameSize {
    type Err = FrameSizeError;

    fn from_str(text: &str) -> Result<Self, FrameSizeError> {
        let (number, unit) = number_and_unit(text)?;
        let bytes = u32::try_from(times_unit(number, unit)?);
        match bytes {
            Ok(bytes @ 8192..=65_536) => Ok(Self(bytes)),
            _ => Err(FrameSizeError::OutOfRange),
        }
    }
}

impl<'de> serde::Deserialize<'de> for InitialFrameSize {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::config::text_or_number(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Result<u32, FrameSizeError>) {
        assert_eq!(text.parse(), want.map(InitialFrameSize), "{text:?}");
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        check("8192", Ok(8192));
        check("16KiB", Ok(16_384));
        check("64KiB", Ok(65_536));
        for text in ["0", "8191", "65537", "8GB", "99999999999"] {
            check(text, Err(FrameSizeError::OutOfRange));
        }
        let unknown = SizeError::UnknownUnit("%".to_owned());
        check("10%", Err(FrameSizeError::Size(unknown)));
    }
}
