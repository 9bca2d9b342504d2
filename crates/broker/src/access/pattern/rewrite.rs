//! From the regular expressions that RabbitMQ understands, which are PCRE's over bytes, to those of the `regex` crate.
//!
//! What is written never matches more than PCRE would have with the same pattern: what cannot be said exactly is said more
//! narrowly, or refused. Nothing looks around or back, so that a narrower part makes for a narrower whole.

use std::fmt::Write;

use super::byte_set::ByteSet;

/// Why a pattern is refused.
type Reason = &'static str;

/// PCRE repeats nothing more often.
const REPEAT_MAX: u32 = 65_535;

/// PCRE has no longer names for groups.
const GROUP_NAME_SIZE_MAX: usize = 32;

const NO_LOOK_AROUND: Reason = "look-around is not available";
const NO_BACK_REFERENCES: Reason = "backreferences are not available";
const UNKNOWN_GROUP: Reason = "this kind of group is not available";
const UNKNOWN_ESCAPE: Reason = "an escape is unknown or not available";

/// A pattern in the words of the `regex` crate, without Unicode.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rewritten {
    pub(super) text: String,
    /// It asks where words end, of which the crate knows no letters but ASCII's: it must not be asked about other names.
    pub(super) is_for_ascii: bool,
}

/// # Errors
/// For what is no pattern in PCRE, has no counterpart, or stands where the two may read it in different ways.
pub(super) fn rewrite(source: &str) -> Result<Rewritten, Reason> {
    let mut rewriter = Rewriter {
        source: source.as_bytes(),
        rest: source.as_bytes(),
        out: String::with_capacity(source.len()),
        is_repeatable: false,
        folds_case: false,
        is_for_ascii: false,
        names: Vec::new(),
    };
    while let Some(byte) = rewriter.next() {
        rewriter.item(byte)?;
    }
    Ok(Rewritten {
        text: rewriter.out,
        is_for_ascii: rewriter.is_for_ascii,
    })
}

struct Rewriter<'a> {
    source: &'a [u8],
    rest: &'a [u8],
    out: String,
    /// Whether a quantifier may come next.
    is_repeatable: bool,
    /// There was an `(?i)`, which may still hold.
    folds_case: bool,
    is_for_ascii: bool,
    /// Of groups.
    names: Vec<&'a [u8]>,
}

/// What stands in a class.
enum Item {
    Byte(u8),
    Set(ByteSet),
}

impl<'a> Rewriter<'a> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Takes these bytes off if they come next.
    fn eat(&mut self, bytes: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(bytes);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Takes everything off up to this byte, and the byte too.
    fn until(&mut self, end: u8) -> Option<&'a [u8]> {
        let at = self.rest.iter().position(|byte| *byte == end)?;
        let (before, rest) = self.rest.split_at(at);
        self.rest = &rest[1..];
        Some(before)
    }

    /// Something that a quantifier may repeat.
    fn atom(&mut self, text: &str) {
        self.out.push_str(text);
        self.is_repeatable = true;
    }

    /// Something that stands between bytes, which PCRE does not repeat, or the beginning of something.
    fn place(&mut self, text: &str) {
        self.out.push_str(text);
        self.is_repeatable = false;
    }

    fn literal(&mut self, byte: u8) {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            self.out.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(self.out, r"\x{byte:02X}");
        }
        self.is_repeatable = true;
    }

    fn item(&mut self, byte: u8) -> Result<(), Reason> {
        match byte {
            b'\\' => return self.escape(),
            b'[' => return self.class(),
            b'(' => return self.group(),
            b'*' => return self.quantifier("*"),
            b'+' => return self.quantifier("+"),
            b'?' => return self.quantifier("?"),
            b'{' => {
                if let Some(counts) = self.counts()? {
                    return self.quantifier(&counts);
                }
                self.literal(byte);
            }
            b')' => self.atom(")"),
            b'.' => self.atom("."),
            b'|' => self.place("|"),
            b'^' => self.place("^"),
            // Before a line break at the end it would match too.
            b'$' => self.place("$"),
            byte => self.literal(byte),
        }
        Ok(())
    }

    fn quantifier(&mut self, text: &str) -> Result<(), Reason> {
        if !self.is_repeatable {
            return Err("a repetition operator has nothing to repeat");
        }
        if self.eat(b"+") {
            return Err("possessive repetition is not available");
        }
        self.place(text);
        if self.eat(b"?") {
            self.place("?");
        }
        Ok(())
    }

    /// What follows a brace, if it says how often something is repeated. A brace that does not is itself.
    fn counts(&mut self) -> Result<Option<String>, Reason> {
        let Some(end) = self.rest.iter().position(|byte| *byte == b'}') else {
            return Ok(None);
        };
        let Ok(text) = std::str::from_utf8(&self.rest[..end]) else {
            return Ok(None);
        };
        let (least, most) = text.split_once(',').unwrap_or((text, text));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if least.is_empty() || !is_number(least) || !is_number(most) {
            return Ok(None);
        }
        let number = |text: &str| match text.parse::<u32>() {
            Ok(number) if number <= REPEAT_MAX => Ok(number),
            _ => Err("a number of repetitions is too large"),
        };
        let least = number(least)?;
        let counts = match most {
            "" => format!("{{{least},}}"),
            most => format!("{{{least},{}}}", number(most)?),
        };
        self.rest = &self.rest[end + 1..];
        Ok(Some(counts))
    }

    /// What follows an opening parenthesis. No group is captured.
    fn group(&mut self) -> Result<(), Reason> {
        if self.rest.first() == Some(&b'*') {
            return Err("verbs such as (*UTF8) are not available");
        }
        if !self.eat(b"?") {
            self.place("(?:");
            return Ok(());
        }
        match self.rest {
            [b'#', ..] => {
                // What came before it can still be repeated.
                return match self.until(b')') {
                    Some(_) => Ok(()),
                    None => Err("a comment is not closed"),
                };
            }
            [b'=' | b'!', ..] | [b'<', b'=' | b'!', ..] => return Err(NO_LOOK_AROUND),
            [b':' | b'|', rest @ ..] => self.rest = rest,
            [b'P', b'<', rest @ ..] | [b'<', rest @ ..] => {
                self.rest = rest;
                self.name(b'>')?;
            }
            [b'\'', rest @ ..] => {
                self.rest = rest;
                self.name(b'\'')?;
            }
            _ => return self.flags(),
        }
        self.place("(?:");
        Ok(())
    }

    fn name(&mut self, end: u8) -> Result<(), Reason> {
        let name = self.until(end).unwrap_or_default();
        let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let is_name = name.first().is_some_and(|first| !first.is_ascii_digit())
            && name.iter().all(is_of_name)
            && name.len() <= GROUP_NAME_SIZE_MAX;
        if !is_name || self.names.contains(&name) {
            return Err("the name of a group is not valid, or there twice");
        }
        self.names.push(name);
        Ok(())
    }

    /// `(?i)` and its like, and groups that begin with such.
    fn flags(&mut self) -> Result<(), Reason> {
        let (mut on, mut off) = (String::new(), None);
        loop {
            let byte = self.next().ok_or(UNKNOWN_GROUP)?;
            match byte {
                b'-' if off.is_none() => off = Some(String::new()),
                b'i' | b's' | b'U' => {
                    self.folds_case |= byte == b'i' && off.is_none();
                    let flags = off.as_mut().unwrap_or(&mut on);
                    if !flags.contains(char::from(byte)) {
                        flags.push(char::from(byte));
                    }
                }
                // They are never on.
                b'm' | b'x' if off.is_some() => {}
                b'm' => return Err("multi-line mode is not available"),
                b'x' => return Err("extended mode is not available"),
                // It permits names to be used twice.
                b'J' => return Err(UNKNOWN_GROUP),
                b')' | b':' => {
                    let off = off.filter(|off| !off.is_empty());
                    let sign = if off.is_some() { "-" } else { "" };
                    let flags = format!("{on}{sign}{}", off.unwrap_or_default());
                    match byte {
                        b':' => self.place(&format!("(?{flags}:")),
                        _ if flags.is_empty() => self.is_repeatable = false,
                        _ => self.place(&format!("(?{flags})")),
                    }
                    return Ok(());
                }
                _ => return Err(UNKNOWN_GROUP),
            }
        }
    }

    /// What follows a backslash outside of classes.
    fn escape(&mut self) -> Result<(), Reason> {
        let byte = self.next().ok_or("it ends in a backslash")?;
        match byte {
            b'Q' => self.quoted(),
            // It ends nothing, and what came before it can still be repeated.
            b'E' => {}
            b'A' | b'G' => self.place(r"\A"),
            b'z' => self.place(r"\z"),
            b'Z' => self.place(r"(?:\n?\z)"),
            b'b' | b'B' => {
                self.is_for_ascii = true;
                self.place(if byte == b'b' { r"\b" } else { r"\B" });
            }
            b'N' => {
                self.atom(r"[^\n]");
                // It would be a character's name.
                if self.eat(b"{") {
                    let counts = self.counts()?.ok_or(UNKNOWN_ESCAPE)?;
                    return self.quantifier(&counts);
                }
            }
            b'C' => self.atom("(?s:.)"),
            // A carriage return alone is one too, but never the first half of another.
            b'R' => self.atom(r"(?:\r\n|[\n\x0B\x0C\x85])"),
            b'1'..=b'9' => {
                let octal = self.long_octal(byte).ok_or(NO_BACK_REFERENCES)?;
                self.literal(octal);
            }
            b'g' | b'k' => return Err(NO_BACK_REFERENCES),
            _ => match ByteSet::of_escape(byte) {
                Some(set) => {
                    set.write(false, &mut self.out);
                    self.is_repeatable = true;
                }
                None => {
                    let byte = self.character(byte)?;
                    self.literal(byte);
                }
            },
        }
        Ok(())
    }

    /// Everything up to `\E` is itself.
    fn quoted(&mut self) {
        while !self.rest.is_empty() && !self.eat(br"\E") {
            if let Some(byte) = self.next() {
                self.literal(byte);
            }
        }
    }

    /// Three octal digits, which are a byte where there are not as many groups.
    fn long_octal(&mut self, first: u8) -> Option<u8> {
        let groups = self.source.iter().filter(|byte| **byte == b'(').count();
        let [second @ b'0'..=b'7', third @ b'0'..=b'7', rest @ ..] = self.rest else {
            return None;
        };
        if !matches!(first, b'1'..=b'3') || groups >= 100 {
            return None;
        }
        self.rest = rest;
        Some((first - b'0') * 64 + (second - b'0') * 8 + (third - b'0'))
    }

    /// The byte that an escape stands for, by what follows the backslash.
    fn character(&mut self, byte: u8) -> Result<u8, Reason> {
        Ok(match byte {
            b'a' => 0x07,
            b'e' => 0x1B,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'c' => match self.next() {
                Some(key) if key.is_ascii() => key.to_ascii_uppercase() ^ 0x40,
                _ => return Err(UNKNOWN_ESCAPE),
            },
            b'0' => {
                let mut value = 0;
                for _ in 0..2 {
                    if let [digit @ b'0'..=b'7', rest @ ..] = self.rest {
                        value = value * 8 + (digit - b'0');
                        self.rest = rest;
                    }
                }
                value
            }
            b'x' => {
                let (digits, rest) = match self.rest {
                    [b'{', ..] => {
                        self.next();
                        (self.until(b'}').unwrap_or_default(), self.rest)
                    }
                    [high, low, ..] if low.is_ascii_hexdigit() => {
                        (&self.rest[..2], &self.rest[2..])
                    }
                    _ => return Err(UNKNOWN_ESCAPE),
                };
                self.rest = rest;
                hex(digits).ok_or(UNKNOWN_ESCAPE)?
            }
            other if other.is_ascii_alphanumeric() => return Err(UNKNOWN_ESCAPE),
            other => other,
        })
    }

    /// What follows an opening bracket.
    fn class(&mut self) -> Result<(), Reason> {
        if let [kind @ (b':' | b'.' | b'='), rest @ ..] = self.rest
            && rest.windows(2).any(|two| two == [*kind, b']'])
        {
            return Err("[:alpha:] and its like are for within a class: [[:alpha:]]");
        }
        let negated = self.eat(b"^");
        let mut set = ByteSet::empty();
        let mut is_first = true;
        loop {
            let byte = self.next().ok_or("a character class is not closed")?;
            if byte == b']' && !is_first {
                break;
            }
            is_first = false;
            let first = match self.class_item(byte, negated)? {
                Item::Byte(first) => first,
                Item::Set(items) => {
                    set.add_all(&items);
                    continue;
                }
            };
            let last = match self.rest {
                [b'-', last, rest @ ..] if *last != b']' => {
                    self.rest = rest;
                    match self.class_item(*last, negated)? {
                        Item::Byte(last) if last >= first => last,
                        _ => return Err("a range of a character class is not valid"),
                    }
                }
                _ => first,
            };
            set.add_range(first, last);
        }
        if negated && self.folds_case {
            set.add_other_cases();
        }
        set.write(negated, &mut self.out);
        self.is_repeatable = true;
        Ok(())
    }

    fn class_item(&mut self, byte: u8, in_negated: bool) -> Result<Item, Reason> {
        match (byte, self.rest) {
            (b'[', [b':', ..]) => self.posix(in_negated).map(Item::Set),
            (b'[', [b'.' | b'=', ..]) => Err("collating elements are not available"),
            (b'\\', _) => {
                let byte = self.next().ok_or("it ends in a backslash")?;
                if let Some(set) = ByteSet::of_escape(byte) {
                    return Ok(Item::Set(set));
                }
                let byte = match byte {
                    b'b' => 0x08,
                    b'1'..=b'9' => self.long_octal(byte).ok_or(UNKNOWN_ESCAPE)?,
                    other => self.character(other)?,
                };
                Ok(Item::Byte(byte))
            }
            _ => Ok(Item::Byte(byte)),
        }
    }

    /// `[:alpha:]` and its like, behind the first bracket.
    fn posix(&mut self, in_negated: bool) -> Result<ByteSet, Reason> {
        let end = self.rest.windows(2).skip(1).position(|two| two == b":]");
        let end = end.ok_or("a class such as [:alpha:] is not closed")? + 1;
        let (name, rest) = (&self.rest[1..end], &self.rest[end + 2..]);
        self.rest = rest;
        let (is_negated, name) = match name.strip_prefix(b"^") {
            Some(name) => (true, name),
            None => (false, name),
        };
        // Without case either is the letters; where that would permit more, and case may count, it stays what it is.
        let name = match name {
            b"upper" | b"lower" if self.folds_case && is_negated != in_negated => b"alpha",
            name => name,
        };
        let set = ByteSet::of_posix(name).ok_or("there is no such class as this [:name:]")?;
        Ok(match is_negated {
            true => set.complement(),
            false => set,
        })
    }
}

fn hex(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_number.then(|| u8::from_str_radix(text, 16).ok())?
}
