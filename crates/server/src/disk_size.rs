//! Amounts of disk, as people write them.

use std::str::FromStr;

use crate::size::{SizeError, number_and_unit, times_unit};

/// How much disk has to be free: a number of bytes, or a multiple of the machine's memory, as RabbitMQ's
/// `disk_free_limit.relative` has it.
///
/// Written as a [`MemorySize`](crate::size::MemorySize) is, except that zero means that the disk is not watched, and that
/// a share may be more than the whole: `200%` is twice the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskSize {
    /// So many bytes; 0 for no limit.
    Bytes(u64),
    /// So many hundredths of the machine's memory, from 1 to 10,000.
    PercentOfMemory(u16),
}

/// More than a hundred times the memory is a typing mistake.
const PERCENT_MAX: u64 = 10_000;

impl DiskSize {
    /// RabbitMQ's: enough to start again and to see what has filled the disk, and no more.
    pub(crate) const DEFAULT: Self = Self::Bytes(50_000_000);

    /// The size in bytes on a machine with this much memory. More than 64 bits can count is as much as they can.
    pub(crate) fn of_machine(self, memory_bytes: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::PercentOfMemory(percent) => {
                let bytes = u128::from(memory_bytes) * u128::from(percent) / 100;
                u64::try_from(bytes).unwrap_or(u64::MAX)
            }
        }
    }
}

impl FromStr for DiskSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let (number, unit) = number_and_unit(text)?;
        if unit != "%" {
            return times_unit(number, unit).map(Self::Bytes);
        }
        match u16::try_from(number) {
            Ok(0) => Ok(Self::Bytes(0)),
            Ok(percent) if number <= PERCENT_MAX => Ok(Self::PercentOfMemory(percent)),
            _ => Err(SizeError::MuchMoreThanAll),
        }
    }
}

impl<'de> serde::Deserialize<'de> for DiskSize {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::config::text_or_number(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Result<DiskSize, SizeError>) {
        assert_eq!(text.parse(), want, "{text:?}");
    }

    #[test]
    fn bytes_are_written_as_those_of_memory() {
        check("50MB", Ok(DiskSize::DEFAULT));
        check("1GiB", Ok(DiskSize::Bytes(1 << 30)));
        check("12M", Err(SizeError::UnknownUnit("M".to_owned())));
        check("", Err(SizeError::NotANumber));
    }

    #[test]
    fn zero_is_no_limit() {
        for text in ["0", "0GB", "0%"] {
            check(text, Ok(DiskSize::Bytes(0)));
        }
    }

    #[test]
    fn a_share_may_be_more_than_all_memory() {
        check("200%", Ok(DiskSize::PercentOfMemory(200)));
        check("10000%", Ok(DiskSize::PercentOfMemory(10_000)));
        check("10001%", Err(SizeError::MuchMoreThanAll));
        check("99999999%", Err(SizeError::MuchMoreThanAll));
        assert_eq!(DiskSize::PercentOfMemory(150).of_machine(1_001), 1_501);
        assert_eq!(
            DiskSize::PercentOfMemory(200).of_machine(u64::MAX),
            u64::MAX
        );
    }
}
