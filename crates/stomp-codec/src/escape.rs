use crate::{Command, DecodeError, Version};

/// Which header octets are escaped, and in which frames.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Escaping {
    /// As the standard has it: nothing in version 1.0 and in CONNECT and CONNECTED, `\n` `\c` `\\` in version 1.1,
    /// these and `\r` in version 1.2.
    #[default]
    Standard,
    /// As RabbitMQ does it: `\n` `\c` `\\` `\r` in every frame of every version. A client then has to double the
    /// backslash in a passcode, and version 1.0 clients see escapes they know nothing of.
    RabbitMq,
}

impl Escaping {
    /// The escapes that apply to a frame. The STOMP frame, unlike CONNECT, is not exempt.
    pub(crate) fn of_frame(self, version: Version, command: Command) -> Escapes {
        match self {
            Self::RabbitMq => Escapes::All,
            // STOMP 1.1 and 1.2, Value Encoding: "all frames except the CONNECT and CONNECTED frames".
            Self::Standard if matches!(command, Command::Connect | Command::Connected) => {
                Escapes::None
            }
            Self::Standard => match version {
                Version::V1_0 => Escapes::None,
                Version::V1_1 => Escapes::AllButReturn,
                Version::V1_2 => Escapes::All,
            },
        }
    }
}

/// The escapes in force within one frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Escapes {
    None,
    /// Version 1.1: `\n`, `\c` and `\\`.
    AllButReturn,
    All,
}

/// The two halves of a header line. A colon is special in the first only, unless it is escaped in both.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    Name,
    Value,
}

/// What is written for an octet that the version in use has no way to express. A space is harmless in every parser.
const SUBSTITUTE: u8 = b' ';

impl Escapes {
    /// Appends one half of a header line such that it cannot end the half, the line or the frame.
    pub(crate) fn write(self, out: &mut Vec<u8>, text: &str, part: Part) {
        let text = text.as_bytes();
        if !needs_care(text) {
            out.extend_from_slice(text);
            return;
        }
        for &octet in text {
            match (octet, self) {
                // No version has an escape for NUL.
                (b'\0', _) | (b'\n', Self::None) | (b'\r', Self::None | Self::AllButReturn) => {
                    out.push(SUBSTITUTE)
                }
                (b':', Self::None) if part == Part::Name => out.push(SUBSTITUTE),
                (b'\n', _) => out.extend_from_slice(b"\\n"),
                (b'\r', Self::All) => out.extend_from_slice(b"\\r"),
                (b':', Self::AllButReturn | Self::All) => out.extend_from_slice(b"\\c"),
                (b'\\', Self::AllButReturn | Self::All) => out.extend_from_slice(b"\\\\"),
                (other, _) => out.push(other),
            }
        }
    }

    /// Appends one half of a header line with its escapes resolved.
    ///
    /// # Errors
    ///
    /// [`DecodeError::UndefinedEscape`] for a backslash that is last or has no meaning in this set; `out` then holds
    /// what came before. Versions 1.1 and 1.2 demand that this be fatal.
    pub(crate) fn resolve(self, out: &mut Vec<u8>, mut text: &[u8]) -> Result<(), DecodeError> {
        if self == Self::None {
            out.extend_from_slice(text);
            return Ok(());
        }
        while let Some((plain, escape)) =
            memchr::memchr(b'\\', text).and_then(|at| text.split_at_checked(at))
        {
            out.extend_from_slice(plain);
            let (octet, rest) = match escape {
                [b'\\', b'n', rest @ ..] => (b'\n', rest),
                [b'\\', b'c', rest @ ..] => (b':', rest),
                [b'\\', b'\\', rest @ ..] => (b'\\', rest),
                [b'\\', b'r', rest @ ..] if self == Self::All => (b'\r', rest),
                _ => return Err(DecodeError::UndefinedEscape),
            };
            out.push(octet);
            text = rest;
        }
        out.extend_from_slice(text);
        Ok(())
    }
}

/// Whether any octet may have to be written as something else. The fold has no early way out and is still quicker than
/// `any` (`benches/stomp.rs`, encode/message): header values are short and hardly ever need care.
fn needs_care(text: &[u8]) -> bool {
    text.iter().fold(false, |found, octet| {
        found | matches!(octet, b'\0' | b'\n' | b'\r' | b':' | b'\\')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(escapes: Escapes, part: Part, text: &str, want: &str) {
        let mut wire = Vec::new();
        escapes.write(&mut wire, text, part);
        assert_eq!(
            String::from_utf8(wire).unwrap(),
            want,
            "{escapes:?} {part:?} {text:?}"
        );
    }

    #[track_caller]
    fn check_resolved(escapes: Escapes, wire: &str, want: Option<&str>) {
        let mut text = Vec::new();
        let resolved = escapes.resolve(&mut text, wire.as_bytes());
        match want {
            Some(want) => assert_eq!(
                (resolved, text.as_slice()),
                (Ok(()), want.as_bytes()),
                "{wire:?}"
            ),
            None => assert_eq!(resolved, Err(DecodeError::UndefinedEscape), "{wire:?}"),
        }
    }

    #[test]
    fn version_1_2_escapes_four_octets() {
        check(
            Escapes::All,
            Part::Name,
            "a:b\\c\rd\ne",
            "a\\cb\\\\c\\rd\\ne",
        );
        check(
            Escapes::All,
            Part::Value,
            "a:b\\c\rd\ne",
            "a\\cb\\\\c\\rd\\ne",
        );
    }

    #[test]
    fn version_1_1_has_no_escape_for_carriage_return() {
        check(
            Escapes::AllButReturn,
            Part::Value,
            "a:b\\c\rd\ne",
            "a\\cb\\\\c d\\ne",
        );
    }

    #[test]
    fn without_escapes_what_would_break_the_line_becomes_a_space() {
        check(Escapes::None, Part::Value, "a:b\\c\rd\ne\0", "a:b\\c d e ");
        check(Escapes::None, Part::Name, "a:b\\c\rd\ne\0", "a b\\c d e ");
    }

    #[test]
    fn nul_has_no_escape_anywhere() {
        check(Escapes::All, Part::Value, "a\0b", "a b");
    }

    #[test]
    fn escapes_resolve_to_what_they_stand_for() {
        check_resolved(Escapes::All, "a\\cb\\\\c\\rd\\n", Some("a:b\\c\rd\n"));
        check_resolved(Escapes::All, "\\\\n", Some("\\n"));
        check_resolved(Escapes::None, "a\\tb\\", Some("a\\tb\\"));
    }

    #[test]
    fn undefined_and_unfinished_escapes_are_refused() {
        check_resolved(Escapes::All, "a\\tb", None);
        check_resolved(Escapes::All, "a\\", None);
        check_resolved(Escapes::AllButReturn, "a\\rb", None);
    }

    #[test]
    fn connect_is_exempt_from_escapes_and_stomp_is_not() {
        let of = |command| Escaping::Standard.of_frame(Version::V1_2, command);
        assert_eq!(of(Command::Connect), Escapes::None);
        assert_eq!(of(Command::Connected), Escapes::None);
        assert_eq!(of(Command::Stomp), Escapes::All);
        assert_eq!(
            Escaping::RabbitMq.of_frame(Version::V1_0, Command::Connect),
            Escapes::All
        );
    }
}
