//! How large a run is to be.

/// Whether a bench is to measure, or only to show that it still works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Large enough for the figures to mean something.
    Full,
    /// Seconds at most; whatever is printed means nothing. With `--test`, which criterion's benches know as well.
    Small,
}

impl Scale {
    /// As the command line says.
    #[must_use]
    pub fn from_args() -> Self {
        if std::env::args().any(|argument| argument == "--test") {
            Self::Small
        } else {
            Self::Full
        }
    }

    /// The one or the other.
    #[must_use]
    pub fn pick<T>(self, full: T, small: T) -> T {
        match self {
            Self::Full => full,
            Self::Small => small,
        }
    }
}
