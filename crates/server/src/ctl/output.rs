//! What a verb has to say, in the forms in which `rabbitmqctl` says it.

use std::io::Write;
use std::str::FromStr;

use serde_json::{Value as Json, json};

use super::cell::{Cell, visible};
use super::failure::Failure;
use super::line::Options;

/// How tables are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Formatter {
    /// Columns are separated by tabs.
    #[default]
    Table,
    /// With lines around.
    PrettyTable,
    Json,
    Csv,
}

impl FromStr for Formatter {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "table" => Ok(Self::Table),
            "pretty_table" => Ok(Self::PrettyTable),
            "json" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            _ => Err(()),
        }
    }
}

impl Formatter {
    pub(super) fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::PrettyTable)
    }
}

/// What came of a verb.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// It is done, and nothing is to be said but that.
    Done,
    /// A sentence.
    Message(String),
    /// Text for people, and the same for programs.
    Report {
        text: String,
        json: Json,
    },
    /// A text for programs, whatever the formatter.
    Document(String),
    Table(Rows),
}

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// `rabbitmqctl` writes an empty line when there is nothing in some tables, and nothing for others.
    pub(super) says_empty: bool,
    /// `rabbitmqctl` leaves the header row out of one of them.
    pub(super) is_headless: bool,
}

impl Outcome {
    /// A table of things of which there may well be none.
    pub(super) fn rows<S: Into<String>>(
        columns: impl IntoIterator<Item = S>,
        rows: Vec<Vec<Cell>>,
    ) -> Self {
        Self::Table(Rows {
            columns: columns.into_iter().map(Into::into).collect(),
            rows,
            says_empty: true,
            is_headless: false,
        })
    }

    /// # Errors
    /// When it cannot be written.
    pub(super) fn print(&self, options: &Options, out: &mut impl Write) -> Result<(), Failure> {
        let is_json = options.formatter() == Formatter::Json;
        match self {
            Self::Done if is_json => writeln!(out, "{}", json!({ "result": "ok" }))?,
            Self::Done => {}
            Self::Message(text) if is_json => writeln!(out, "{}", json!({ "message": text }))?,
            // Advice is for people; what was asked for is not advice.
            Self::Message(text) if !options.shows_banners() && text.starts_with("Done.") => {}
            Self::Message(text) => {
                for line in text.split('\n') {
                    writeln!(out, "{}", visible(line))?;
                }
            }
            Self::Report { json, .. } if is_json => writeln!(out, "{json}")?,
            Self::Report { text, .. } => writeln!(out, "{text}")?,
            Self::Document(text) => writeln!(out, "{text}")?,
            Self::Table(rows) => rows.print(options, out)?,
        }
        Ok(())
    }
}

impl Rows {
    fn print(&self, options: &Options, out: &mut impl Write) -> Result<(), Failure> {
        match options.formatter() {
            Formatter::Json => self.print_json(out),
            Formatter::Csv => self.print_csv(options.shows_headers(), out),
            Formatter::Table => self.print_table(options.shows_headers() && !self.is_headless, out),
            Formatter::PrettyTable => self.print_pretty(out),
        }
    }

    fn print_json(&self, out: &mut impl Write) -> Result<(), Failure> {
        if self.rows.is_empty() {
            writeln!(out, "[]")?;
            return Ok(());
        }
        writeln!(out, "[")?;
        for (at, row) in self.rows.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            // By hand, because the order of columns is that of the command line.
            let fields: Vec<String> = self
                .columns
                .iter()
                .zip(row)
                .map(|(column, cell)| format!("{}:{}", json!(column), cell.to_json()))
                .collect();
            writeln!(out, "{comma}{{{}}}", fields.join(","))?;
        }
        writeln!(out, "]")?;
        Ok(())
    }

    fn print_csv(&self, with_header: bool, out: &mut impl Write) -> Result<(), Failure> {
        if self.rows.is_empty() {
            return Ok(());
        }
        if with_header {
            writeln!(out, "{}", csv(self.columns.iter().cloned()))?;
        }
        for row in &self.rows {
            writeln!(out, "{}", csv(row.iter().map(Cell::to_text)))?;
        }
        Ok(())
    }

    fn print_table(&self, with_header: bool, out: &mut impl Write) -> Result<(), Failure> {
        if self.rows.is_empty() {
            if self.says_empty {
                writeln!(out)?;
            }
            return Ok(());
        }
        if with_header {
            writeln!(out, "{}", self.columns.join("\t"))?;
        }
        for row in &self.rows {
            let row: Vec<String> = row.iter().map(Cell::to_text).collect();
            writeln!(out, "{}", row.join("\t"))?;
        }
        Ok(())
    }

    fn print_pretty(&self, out: &mut impl Write) -> Result<(), Failure> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut lines = vec![self.columns.clone()];
        let cells = |row: &Vec<Cell>| row.iter().map(Cell::to_text).collect();
        lines.extend(self.rows.iter().map(cells));
        let mut widths = vec![0; self.columns.len()];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let rule = |left, middle: &str, right| {
            let parts: Vec<_> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
            format!("{left}{}{right}", parts.join(middle))
        };
        writeln!(out, "{}", rule("┌", "┬", "┐"))?;
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                writeln!(out, "{}", rule("├", "┼", "┤"))?;
            }
            let cells = line.iter().zip(&widths);
            let cells: Vec<_> = cells
                .map(|(cell, width)| format!(" {cell:<width$} "))
                .collect();
            writeln!(out, "│{}│", cells.join("│"))?;
        }
        writeln!(out, "{}", rule("└", "┴", "┘"))?;
        Ok(())
    }
}

fn csv(cells: impl Iterator<Item = String>) -> String {
    let quoted = cells.map(|cell| format!("\"{}\"", cell.replace('"', "\"\"")));
    quoted.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Outcome {
        Outcome::rows(
            ["user", "tags"],
            vec![
                vec![Cell::text("ann"), Cell::Tags(vec!["management".to_owned()])],
                vec![Cell::text("we\"ird"), Cell::Tags(Vec::new())],
            ],
        )
    }

    fn printed(outcome: &Outcome, options: Options) -> String {
        let mut out = Vec::new();
        outcome.print(&options, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn with(formatter: &str) -> Options {
        Options {
            formatter: Some(formatter.parse().unwrap()),
            ..Options::default()
        }
    }

    /// What RabbitMQ 3.10.8 prints.
    #[test]
    fn tables_look_as_in_rabbitmqctl() {
        let table = "user\ttags\nann\t[management]\nwe\"ird\t[]\n";
        assert_eq!(printed(&users(), Options::default()), table);
        assert_eq!(printed(&users(), with("table")), table);
        let silent = Options {
            silent: true,
            ..Options::default()
        };
        assert_eq!(
            printed(&users(), silent),
            "ann\t[management]\nwe\"ird\t[]\n"
        );
        assert_eq!(
            printed(&users(), with("csv")),
            "\"user\",\"tags\"\n\"ann\",\"[management]\"\n\"we\"\"ird\",\"[]\"\n"
        );
        assert_eq!(
            printed(&users(), with("json")),
            "[\n{\"user\":\"ann\",\"tags\":[\"management\"]}\n,{\"user\":\"we\\\"ird\",\"tags\":[]}\n]\n"
        );
        assert_eq!(
            printed(&users(), with("pretty_table")),
            "┌────────┬──────────────┐\n│ user   │ tags         │\n├────────┼──────────────┤\n\
             │ ann    │ [management] │\n├────────┼──────────────┤\n│ we\"ird │ []           │\n\
             └────────┴──────────────┘\n"
        );
    }

    #[test]
    fn an_empty_table_is_an_empty_line_or_list() {
        let none = Outcome::rows(["user", "tags"], Vec::new());
        assert_eq!(printed(&none, Options::default()), "\n");
        assert_eq!(printed(&none, with("json")), "[]\n");
        assert_eq!(printed(&none, with("csv")), "");
        assert_eq!(printed(&none, with("pretty_table")), "");
    }
}
