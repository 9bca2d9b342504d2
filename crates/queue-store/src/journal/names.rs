//! What the journal's files are called.

use std::fmt;

use super::page::{PageKind, PagePlace};

/// What a file of the journal holds, and its number among those of its kind.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum FileName {
    /// Part of the log.
    Log(u32),
    /// Was part of the log, and is kept to be written over.
    Spare(u32),
    /// Pages that survive a restart.
    Pages(u32),
    /// Pages that do not.
    Swap(u32),
}

impl FileName {
    /// Reads a name. `None` for a file that is none of the journal's.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (kind, digits) = name.split_once('-')?;
        if digits.len() != 8 {
            return None;
        }
        let number = u32::from_str_radix(digits, 16).ok()?;
        let file = match kind {
            "log" => Self::Log(number),
            "spare" => Self::Spare(number),
            "pages" => Self::Pages(number),
            "swap" => Self::Swap(number),
            _ => return None,
        };
        // Only one spelling of a number is ours.
        (file.to_string() == name).then_some(file)
    }
}

impl FileName {
    /// The file that a page lies in.
    pub(super) const fn of_page(kind: PageKind, place: PagePlace) -> Self {
        match kind {
            PageKind::Durable => Self::Pages(place.file),
            PageKind::Swap => Self::Swap(place.file),
        }
    }

    /// The number of a file that is or was part of the log.
    pub(super) const fn log_number(&self) -> Option<u32> {
        match self {
            Self::Log(number) | Self::Spare(number) => Some(*number),
            Self::Pages(_) | Self::Swap(_) => None,
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(number) => write!(f, "log-{number:08x}"),
            Self::Spare(number) => write!(f, "spare-{number:08x}"),
            Self::Pages(number) => write!(f, "pages-{number:08x}"),
            Self::Swap(number) => write!(f, "swap-{number:08x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for file in [
            FileName::Log(1),
            FileName::Spare(0xff),
            FileName::Pages(u32::MAX),
            FileName::Swap(0),
        ] {
            assert_eq!(FileName::parse(&file.to_string()), Some(file));
        }
        assert_eq!(FileName::Log(0xabc).to_string(), "log-00000abc");
    }

    #[test]
    fn other_files_are_let_alone() {
        for name in [
            "",
            "lock",
            "log-1",
            "log-0000000G",
            "log-+0000001",
            "log-0000000A",
            "logs-00000001",
        ] {
            assert_eq!(FileName::parse(name), None, "{name:?}");
        }
    }
}
