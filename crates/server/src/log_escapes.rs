//! Log lines stay lines, whatever stands in them.
//!
//! Clients choose much of what is logged: names, mechanisms, headers. A line feed there would begin a line that looks like
//! ours, and an escape code would tell the operator's terminal what to do. Such characters are written as Rust writes them in
//! a literal, `\n` or `\u{1b}`; in JSON as JSON does.

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Json, Writer};
use tracing_subscriber::registry::LookupSpan;

/// Whether a character is not to be seen, or changes how others are: of control, of line ends, of the direction of writing.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}'
        )
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The fields of a line of text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextFields;

impl<'w> FormatFields<'w> for TextFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line {
            writer,
            is_empty: true,
            result: Ok(()),
        };
        fields.record(&mut line);
        line.result
    }
}

/// What of a line has been written.
struct Line<'w> {
    writer: Writer<'w>,
    is_empty: bool,
    result: fmt::Result,
}

impl Line<'_> {
    fn write(&mut self, field: &Field, value: &dyn Debug) -> fmt::Result {
        if !std::mem::take(&mut self.is_empty) {
            self.writer.write_char(' ')?;
        }
        match field.name() {
            "message" => {}
            // Italic, and its sign faint.
            name if self.writer.has_ansi_escapes() => {
                write!(self.writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?;
            }
            name => write!(self.writer, "{name}=")?,
        }
        write!(InText(&mut self.writer), "{value:?}")
    }
}

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.result.is_ok() {
            self.result = self.write(field, value);
        }
    }
}

/// Writes on what is to be seen, and the rest as in a literal of Rust.
struct InText<'a, W>(&'a mut W);

impl<W: Write> Write for InText<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(text, self.0, |character, out| match character {
            '\n' | '\r' | '\t' => write!(out, "{}", character.escape_default()),
            _ => write!(out, "{}", character.escape_unicode()),
        })
    }
}

/// Lines of JSON, whose formatter leaves out what JSON does not require.
#[derive(Debug)]
pub(crate) struct JsonLines(pub(crate) Format<Json>);

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut escaped = InJson(&mut writer);
        self.0
            .format_event(context, Writer::new(&mut escaped), event)
    }
}

/// Writes on what is to be seen and the end of the line, and the rest as in a string of JSON, where alone it can stand.
struct InJson<'a, W>(&'a mut W);

impl<W: Write> Write for InJson<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(text, self.0, |character, out| match character {
            '\n' => out.write_char(character),
            // None of them needs two of UTF-16's units.
            _ => write!(out, "\\u{:04x}", u32::from(character)),
        })
    }
}

/// Writes a text, and what is invisible in it otherwise.
fn escape<W: Write>(
    text: &str,
    out: &mut W,
    otherwise: impl Fn(char, &mut W) -> fmt::Result,
) -> fmt::Result {
    let mut rest = text;
    while let Some((at, character)) = rest.char_indices().find(|(_, it)| is_invisible(*it)) {
        out.write_str(&rest[..at])?;
        otherwise(character, out)?;
        rest = &rest[at + character.len_utf8()..];
    }
    out.write_str(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, in_text: &str, in_json: &str) {
        let (mut plain, mut json) = (String::new(), String::new());
        InText(&mut plain).write_str(text).unwrap();
        InJson(&mut json).write_str(text).unwrap();
        assert_eq!((plain.as_str(), json.as_str()), (in_text, in_json));
    }

    #[test]
    fn what_is_visible_stays() {
        check("", "", "");
        check(
            "Gr\u{fc}\u{df}e \\ \"\u{1f407}\"",
            "Gr\u{fc}\u{df}e \\ \"\u{1f407}\"",
            "Gr\u{fc}\u{df}e \\ \"\u{1f407}\"",
        );
    }

    #[test]
    fn what_is_not_is_named() {
        check("a\r\nb", "a\\r\\nb", "a\\u000d\nb");
        check("\x1b[31m", "\\u{1b}[31m", "\\u001b[31m");
        check("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}", "\\u009b31m\\u007f");
        check(
            "a\u{2028}\u{202e}b",
            "a\\u{2028}\\u{202e}b",
            "a\\u2028\\u202eb",
        );
    }
}
