//! What a seed has led to, so that two runs of it can be compared.

use std::fmt::Arguments;
use std::hash::{DefaultHasher, Hasher};

/// Everything that was done and seen, as one number; and as lines, where somebody wants to read them.
#[derive(Debug, Default)]
pub(super) struct Trace {
    digest: DefaultHasher,
    shown: bool,
}

impl Trace {
    /// One whose lines are printed, if they are to be `shown`.
    pub(super) fn new(shown: bool) -> Self {
        Self {
            shown,
            ..Self::default()
        }
    }

    #[expect(clippy::print_stdout, reason = "whoever asked for a seed reads it")]
    pub(super) fn note(&mut self, what: Arguments<'_>) {
        let line = what.to_string();
        self.digest.write(line.as_bytes());
        if self.shown {
            println!("{line}");
        }
    }

    /// Equal for runs that did and saw the same.
    pub(super) fn digest(&self) -> u64 {
        self.digest.finish()
    }
}
