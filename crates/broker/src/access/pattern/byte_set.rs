//! Sets of bytes: what PCRE's classes stand for, in the tables that Erlang brings, which are those of Latin-1.

use std::fmt::Write;

type Ranges = &'static [(u8, u8)];

const DIGIT: Ranges = &[(b'0', b'9')];
const WORD: Ranges = &[
    (b'0', b'9'),
    (b'A', b'Z'),
    (b'_', b'_'),
    (b'a', b'z'),
    (0xAA, 0xAA),
    (0xB5, 0xB5),
    (0xBA, 0xBA),
    (0xC0, 0xD6),
    (0xD8, 0xF6),
    (0xF8, 0xFF),
];
const SPACE: Ranges = &[(0x09, 0x0D), (b' ', b' ')];
const HORIZONTAL: Ranges = &[(0x09, 0x09), (b' ', b' '), (0xA0, 0xA0)];
const VERTICAL: Ranges = &[(0x0A, 0x0D), (0x85, 0x85)];
const ALPHA: Ranges = &[
    (b'A', b'Z'),
    (b'a', b'z'),
    (0xAA, 0xAA),
    (0xB5, 0xB5),
    (0xBA, 0xBA),
    (0xC0, 0xD6),
    (0xD8, 0xF6),
    (0xF8, 0xFF),
];
const ALNUM: Ranges = &[
    (b'0', b'9'),
    (b'A', b'Z'),
    (b'a', b'z'),
    (0xAA, 0xAA),
    (0xB5, 0xB5),
    (0xBA, 0xBA),
    (0xC0, 0xD6),
    (0xD8, 0xF6),
    (0xF8, 0xFF),
];
const UPPER: Ranges = &[(b'A', b'Z'), (0xC0, 0xD6), (0xD8, 0xDE)];
const LOWER: Ranges = &[
    (b'a', b'z'),
    (0xAA, 0xAA),
    (0xB5, 0xB5),
    (0xBA, 0xBA),
    (0xDF, 0xF6),
    (0xF8, 0xFF),
];
const PUNCT: Ranges = &[
    (0x21, 0x2F),
    (0x3A, 0x40),
    (0x5B, 0x60),
    (0x7B, 0x7E),
    (0xA0, 0xA9),
    (0xAB, 0xB4),
    (0xB6, 0xB9),
    (0xBB, 0xBF),
    (0xD7, 0xD7),
    (0xF7, 0xF7),
];
const BLANK: Ranges = &[(0x09, 0x09), (b' ', b' ')];
const CNTRL: Ranges = &[(0x00, 0x1F), (0x7F, 0x9F)];
const GRAPH: Ranges = &[(0x21, 0x7E), (0xA0, 0xFF)];
const PRINT: Ranges = &[(0x20, 0x7E), (0xA0, 0xFF)];
const XDIGIT: Ranges = &[(b'0', b'9'), (b'A', b'F'), (b'a', b'f')];
/// Erlang's tables have no end of ASCII.
const ASCII: Ranges = &[(0x00, 0xFF)];

/// The capitals of Latin-1 that are not ASCII. Their small letters come 32 places later.
const LATIN_CAPITALS: [(u8, u8); 2] = [(0xC0, 0xD6), (0xD8, 0xDE)];

/// A set of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(super) fn empty() -> Self {
        Self([0; 4])
    }

    fn of(ranges: Ranges) -> Self {
        let mut set = Self::empty();
        for (first, last) in ranges {
            set.add_range(*first, *last);
        }
        set
    }

    /// What an escape such as `\d` stands for, inside and outside of classes. None for other escapes.
    pub(super) fn of_escape(letter: u8) -> Option<Self> {
        let ranges = match letter.to_ascii_lowercase() {
            b'd' => DIGIT,
            b'w' => WORD,
            b's' => SPACE,
            b'h' => HORIZONTAL,
            b'v' => VERTICAL,
            _ => return None,
        };
        let set = Self::of(ranges);
        Some(match letter.is_ascii_uppercase() {
            true => set.complement(),
            false => set,
        })
    }

    /// What `[:name:]` stands for. None for a name that PCRE does not know.
    pub(super) fn of_posix(name: &[u8]) -> Option<Self> {
        Some(Self::of(match name {
            b"alnum" => ALNUM,
            b"alpha" => ALPHA,
            b"ascii" => ASCII,
            b"blank" => BLANK,
            b"cntrl" => CNTRL,
            b"digit" => DIGIT,
            b"graph" => GRAPH,
            b"lower" => LOWER,
            b"print" => PRINT,
            b"punct" => PUNCT,
            b"space" => SPACE,
            b"upper" => UPPER,
            b"word" => WORD,
            b"xdigit" => XDIGIT,
            _ => return None,
        }))
    }

    pub(super) fn complement(mut self) -> Self {
        self.0 = self.0.map(|bits| !bits);
        self
    }

    fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte / 64)] >> (byte % 64) & 1 == 1
    }

    fn add(&mut self, byte: u8) {
        self.0[usize::from(byte / 64)] |= 1 << (byte % 64);
    }

    pub(super) fn add_range(&mut self, first: u8, last: u8) {
        for byte in first..=last {
            self.add(byte);
        }
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        for (bits, more) in self.0.iter_mut().zip(other.0) {
            *bits |= more;
        }
    }

    /// Adds the other case of each letter that is not ASCII; the `regex` crate knows those of ASCII itself.
    pub(super) fn add_other_cases(&mut self) {
        for (first, last) in LATIN_CAPITALS {
            for capital in first..=last {
                let small = capital + 32;
                if self.has(capital) || self.has(small) {
                    self.add(capital);
                    self.add(small);
                }
            }
        }
    }

    /// Appends the set, or all that is not in it, as a class of the `regex` crate.
    pub(super) fn write(&self, negated: bool, out: &mut String) {
        if *self == Self::empty() {
            out.push_str(if negated {
                r"[\x00-\xFF]"
            } else {
                r"[^\x00-\xFF]"
            });
            return;
        }
        out.push_str(if negated { "[^" } else { "[" });
        let mut from = None;
        for byte in 0..=u8::MAX {
            if self.has(byte) {
                let first = *from.get_or_insert(byte);
                if byte == u8::MAX || !self.has(byte + 1) {
                    // Writing into a string cannot fail.
                    let _ = write!(out, r"\x{first:02X}-\x{byte:02X}");
                    from = None;
                }
            }
        }
        out.push(']');
    }
}
