//! Amounts of memory, as people write them.

use std::fmt;
use std::str::FromStr;

/// How much memory messages may take: a number of bytes, or a share of what the machine has.
///
/// Written as a whole number followed by a unit: none or `B` for bytes; `kB`, `MB`, `GB`, `TB` for powers of 1000;
/// `KiB`, `MiB`, `GiB`, `TiB` for powers of 1024; `%` for a share from 1 to 100. Upper and lower case mean the same, and
/// a space may stand before the unit. The letters alone (`512M`) are refused, because programs disagree about whether
/// they count in thousands. So is zero, which would block every publisher for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemorySize {
    /// So many bytes, at least 1.
    Bytes(u64),
    /// So many hundredths of the machine's memory, from 1 to 100.
    Percent(u8),
}

/// Why a text is not a [`MemorySize`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SizeError {
    /// It does not begin with a digit.
    #[error("a size is a whole number with a unit, for example 536870912, 512MiB, 2GB or 40%")]
    NotANumber,
    /// The number is followed by something else than a unit.
    #[error("unknown unit '{0}': use B, kB, MB, GB, TB, KiB, MiB, GiB, TiB or %")]
    UnknownUnit(String),
    /// Nothing at all.
    #[error("a size of zero leaves room for no message")]
    Zero,
    /// A share of more than the whole.
    #[error("a share of the machine's memory is at most 100%")]
    MoreThanAll,
    /// A hundred times the whole, and more.
    #[error("so much of the machine's memory must be a mistake: at most 10000%")]
    MuchMoreThanAll,
    /// More bytes than 64 bits can count.
    #[error("the size is too large")]
    TooLarge,
}

impl MemorySize {
    /// What RabbitMQ up to 3.13 starts with: beyond it the rest of the process (connections, buffers, what the allocator
    /// keeps) and of the machine still has more than half.
    pub(crate) const DEFAULT: Self = Self::Percent(40);

    /// The size in bytes on a machine with this much memory. At least 1, so that a share of little is not nothing.
    pub(crate) fn of_machine(self, machine_bytes: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => {
                let percent = u64::from(percent);
                // In two steps, so that nothing overflows.
                let bytes = machine_bytes / 100 * percent + machine_bytes % 100 * percent / 100;
                bytes.max(1)
            }
        }
    }
}

impl FromStr for MemorySize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let (number, unit) = number_and_unit(text)?;
        if number == 0 {
            return Err(SizeError::Zero);
        }
        if unit == "%" {
            return match u8::try_from(number) {
                Ok(percent @ ..=100) => Ok(Self::Percent(percent)),
                _ => Err(SizeError::MoreThanAll),
            };
        }
        times_unit(number, unit).map(Self::Bytes)
    }
}

/// The number at the start of a size, and what follows it.
pub(crate) fn number_and_unit(text: &str) -> Result<(u64, &str), SizeError> {
    let text = text.trim();
    let digits_end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    if digits.is_empty() {
        return Err(SizeError::NotANumber);
    }
    // Only digits are left, so the one thing that can be wrong is that there are too many.
    let number = digits.parse().map_err(|_| SizeError::TooLarge)?;
    Ok((number, unit.trim_start()))
}

/// So many of a unit, in bytes.
pub(crate) fn times_unit(number: u64, unit: &str) -> Result<u64, SizeError> {
    let factor = factor_of(unit).ok_or_else(|| SizeError::UnknownUnit(unit.to_owned()))?;
    number.checked_mul(factor).ok_or(SizeError::TooLarge)
}

fn factor_of(unit: &str) -> Option<u64> {
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1000_u64.pow(2),
        "gb" => 1000_u64.pow(3),
        "tb" => 1000_u64.pow(4),
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    Some(factor)
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: MemorySize) {
        assert_eq!(text.parse(), Ok(want), "{text:?}");
        assert_eq!(
            want.to_string().parse(),
            Ok(want),
            "{want} is not read back"
        );
    }

    #[track_caller]
    fn check_refused(text: &str, want: SizeError) {
        assert_eq!(text.parse::<MemorySize>(), Err(want), "{text:?}");
    }

    #[test]
    fn a_number_alone_counts_bytes() {
        check("1", MemorySize::Bytes(1));
        check("1048576", MemorySize::Bytes(1_048_576));
        check("18446744073709551615", MemorySize::Bytes(u64::MAX));
        check("12B", MemorySize::Bytes(12));
    }

    #[test]
    fn units_with_an_i_are_powers_of_1024_and_the_others_of_1000() {
        check("3kB", MemorySize::Bytes(3_000));
        check("3KiB", MemorySize::Bytes(3_072));
        check("512MiB", MemorySize::Bytes(536_870_912));
        check("512MB", MemorySize::Bytes(512_000_000));
        check("2GB", MemorySize::Bytes(2_000_000_000));
        check("2GiB", MemorySize::Bytes(2_147_483_648));
        check("1TB", MemorySize::Bytes(1_000_000_000_000));
        check("1TiB", MemorySize::Bytes(1_099_511_627_776));
    }

    #[test]
    fn case_and_spaces_do_not_matter() {
        check("512mib", MemorySize::Bytes(536_870_912));
        check(" 2 gb ", MemorySize::Bytes(2_000_000_000));
        check("40 %", MemorySize::Percent(40));
    }

    #[test]
    fn shares_go_from_1_to_100() {
        check("1%", MemorySize::Percent(1));
        check("100%", MemorySize::Percent(100));
        check_refused("0%", SizeError::Zero);
        check_refused("101%", SizeError::MoreThanAll);
        check_refused("300%", SizeError::MoreThanAll);
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        check_refused("", SizeError::NotANumber);
        check_refused("MiB", SizeError::NotANumber);
        check_refused("-1", SizeError::NotANumber);
        check_refused("0", SizeError::Zero);
        check_refused("0GB", SizeError::Zero);
        check_refused("1.5GB", SizeError::UnknownUnit(".5GB".to_owned()));
        check_refused("512M", SizeError::UnknownUnit("M".to_owned()));
        check_refused("5XB", SizeError::UnknownUnit("XB".to_owned()));
        check_refused("18446744073709551616", SizeError::TooLarge);
        check_refused("18446744073709551615kB", SizeError::TooLarge);
    }

    #[test]
    fn a_share_is_rounded_down_and_never_overflows() {
        assert_eq!(
            MemorySize::Percent(40).of_machine(1_000_000_001),
            400_000_000
        );
        assert_eq!(MemorySize::Percent(33).of_machine(199), 65);
        assert_eq!(MemorySize::Percent(100).of_machine(u64::MAX), u64::MAX);
        assert_eq!(MemorySize::Percent(1).of_machine(0), 1);
    }

    #[test]
    fn a_number_of_bytes_does_not_depend_on_the_machine() {
        assert_eq!(MemorySize::Bytes(7).of_machine(1), 7);
    }
}
