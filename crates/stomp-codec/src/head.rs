use memchr::{memchr, memchr2};

use crate::headers::Span;
use crate::{Command, DecodeError, Limits};

/// Reads the head of a frame, that is its command and headers up to and including the empty line, from input that may
/// still be growing.
///
/// Remembers how far it has looked, so that every octet is looked at a fixed number of times however the input arrives.
/// All places are counted from the first octet of the frame.
#[derive(Debug, Default)]
pub(crate) struct HeadScan {
    /// Everything before this place has been looked at.
    scanned: usize,
    /// Where the line begins whose end has not been found.
    line_start: usize,
    /// The number of lines that end in CR LF rather than LF.
    crlf_count: usize,
    command: Option<CommandLine>,
    content_length: Option<usize>,
    spans: Vec<Span>,
    complete: bool,
}

/// The first line of a frame.
#[derive(Clone, Copy, Debug)]
struct CommandLine {
    size: usize,
    /// `None` for a command of no version. Its frame is still read to the end.
    known: Option<Command>,
}

/// The head of a frame all of which has arrived.
#[derive(Debug)]
pub(crate) struct Head {
    /// The command, or how many octets the unknown one has.
    pub(crate) command: Result<Command, usize>,
    pub(crate) crlf_count: usize,
    pub(crate) spans: Vec<Span>,
}

impl HeadScan {
    /// How much of the input has been looked at.
    pub(crate) fn scanned(&self) -> usize {
        self.scanned
    }

    /// The length that the first `content-length` header announces, within the limit for bodies.
    pub(crate) fn content_length(&self) -> Option<usize> {
        self.content_length
    }

    /// Looks at what has arrived since the last call; `input` begins with the frame. Returns the size of the head once
    /// it is complete, from then on without looking.
    ///
    /// # Errors
    ///
    /// The first violation in the order of the octets, so that the error does not depend on how they were cut.
    pub(crate) fn advance(
        &mut self,
        input: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, DecodeError> {
        while !self.complete {
            let new = input.get(self.scanned..).unwrap_or_default();
            let stop = memchr2(b'\n', b'\0', new).map(|at| self.scanned + at);
            self.check_size(stop.unwrap_or(input.len()), limits)?;
            let Some(stop) = stop else {
                self.scanned = input.len();
                return Ok(None);
            };
            let line = match input.get(self.line_start..=stop).unwrap_or_default() {
                [line @ .., b'\r', b'\n'] => {
                    self.crlf_count += 1;
                    line
                }
                [line @ .., b'\n'] => line,
                _ => return Err(DecodeError::NulInHead),
            };
            self.line(line, limits)?;
            self.scanned = stop + 1;
            self.line_start = self.scanned;
        }
        Ok(Some(self.scanned))
    }

    /// Hands over a complete head and begins anew.
    pub(crate) fn take(&mut self) -> Head {
        let done = std::mem::take(self);
        let command = match done.command {
            Some(CommandLine {
                known: Some(command),
                ..
            }) => Ok(command),
            other => Err(other.map_or(0, |line| line.size)),
        };
        Head {
            command,
            crlf_count: done.crlf_count,
            spans: done.spans,
        }
    }

    /// Checks the limits for a line that goes on at least up to `end`.
    fn check_size(&self, end: usize, limits: &Limits) -> Result<(), DecodeError> {
        let line_size_max = match self.command {
            None => limits.command_size_max,
            Some(_) => limits.header_line_size_max,
        };
        // Of two limits that are both exceeded, the one that was exceeded first is reported.
        let line_end_max = self
            .line_start
            .saturating_add(line_size_max)
            .min(limits.frame_size_max);
        if end <= line_end_max {
            return Ok(());
        }
        Err(if line_end_max == limits.frame_size_max {
            DecodeError::FrameTooLarge {
                limit: limits.frame_size_max,
            }
        } else if self.command.is_none() {
            DecodeError::CommandTooLong {
                limit: line_size_max,
            }
        } else {
            DecodeError::HeaderTooLong {
                limit: line_size_max,
            }
        })
    }

    /// Takes in a complete line without its end.
    fn line(&mut self, line: &[u8], limits: &Limits) -> Result<(), DecodeError> {
        if self.command.is_none() {
            self.command = Some(CommandLine {
                size: line.len(),
                known: Command::parse(line),
            });
            return Ok(());
        }
        if line.is_empty() {
            self.complete = true;
            return Ok(());
        }
        if self.spans.len() >= limits.header_count_max {
            return Err(DecodeError::TooManyHeaders {
                limit: limits.header_count_max,
            });
        }
        // STOMP 1.2, Augmented BNF: the name ends at the first colon. Later ones, which should be escaped, are part of
        // the value, as everybody reads them.
        let colon = memchr(b':', line).ok_or(DecodeError::HeaderWithoutColon)?;
        let (name, value) = line
            .split_at_checked(colon)
            .ok_or(DecodeError::HeaderWithoutColon)?;
        let value = value.get(1..).unwrap_or_default();
        match name {
            b"" => return Err(DecodeError::HeaderWithoutName),
            // STOMP 1.2, Repeated Header Entries: only the first counts.
            b"content-length" if self.content_length.is_none() => {
                self.content_length = Some(parse_content_length(value, limits.body_size_max)?);
            }
            _ => {}
        }
        let name_end = self.line_start + colon;
        self.spans.push(Span {
            name: self.line_start..name_end,
            value: name_end + 1..self.line_start + line.len(),
        });
        Ok(())
    }
}

/// Reads the value of a `content-length` header. Spaces around the number do not count: version 1.0 allows them before
/// it, and they leave no doubt about where the body ends. Signs and anything else would, and are refused.
fn parse_content_length(value: &[u8], limit: usize) -> Result<usize, DecodeError> {
    let mut digits = value;
    while let [b' ', rest @ ..] | [rest @ .., b' '] = digits {
        digits = rest;
    }
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(DecodeError::InvalidContentLength);
    }
    let announced = digits.iter().fold(0_u64, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    match usize::try_from(announced) {
        Ok(length) if length <= limit => Ok(length),
        _ => Err(DecodeError::ContentLengthTooLarge { announced, limit }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, want: Result<usize, DecodeError>) {
        assert_eq!(
            parse_content_length(value.as_bytes(), 1000),
            want,
            "{value:?}"
        );
    }

    #[test]
    fn content_length_is_decimal_digits() {
        check("0", Ok(0));
        check("0012", Ok(12));
        check(" 1000 ", Ok(1000));
        for value in ["", " ", "-1", "+1", "1e3", "0x10", "1 2", "12\0", "\t1"] {
            check(value, Err(DecodeError::InvalidContentLength));
        }
    }

    #[test]
    fn content_length_above_the_limit_is_refused_however_large() {
        let too_large = |announced| {
            Err(DecodeError::ContentLengthTooLarge {
                announced,
                limit: 1000,
            })
        };
        check("1001", too_large(1001));
        check("18446744073709551615", too_large(u64::MAX));
        check("99999999999999999999999999", too_large(u64::MAX));
    }
}
