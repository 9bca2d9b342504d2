//! What stands in a table.

use std::fmt::Write;

use leveret_broker::{Table, Value};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// One value of a listing. Programs get it as JSON, people as `rabbitmqctl` shows it, which are Erlang's terms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Cell {
    /// There is nothing to say.
    Empty,
    Bool(bool),
    Number(i64),
    Text(String),
    /// Tags of a user.
    Tags(Vec<String>),
    /// Arguments of a queue or exchange: as JSON, and as people see them.
    Arguments(Json, String),
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn number(number: impl TryInto<i64>) -> Self {
        Self::Number(number.try_into().unwrap_or(i64::MAX))
    }

    pub(super) fn arguments(table: &Table) -> Self {
        let entries = table.iter();
        let json = entries.map(|(name, value)| {
            let (kind, value) = typed_json(value);
            json!([String::from_utf8_lossy(name), kind, value])
        });
        let mut shown = String::new();
        show_table(table, &mut shown);
        Self::Arguments(json.collect(), shown)
    }

    pub(super) fn to_json(&self) -> Json {
        match self {
            Self::Empty => Json::String(String::new()),
            Self::Bool(is) => Json::Bool(*is),
            Self::Number(number) => json!(number),
            Self::Text(text) => json!(text),
            Self::Tags(tags) => json!(tags),
            Self::Arguments(json, _) => json.clone(),
        }
    }

    /// For people, and with what would move their cursor made visible: names are chosen by clients.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Empty => String::new(),
            Self::Bool(is) => is.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => visible(text),
            Self::Tags(tags) => visible(&format!("[{}]", tags.join(", "))),
            Self::Arguments(_, shown) => visible(shown),
        }
    }
}

/// Control characters as Erlang writes them, in octal.
pub(super) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            let _ = write!(out, "\\{:03o}", u32::from(letter));
        } else {
            out.push(letter);
        }
    }
    out
}

/// The type as RabbitMQ names it in JSON, and the value.
fn typed_json(value: &Value) -> (&'static str, Json) {
    match value {
        Value::Bool(is) => ("bool", json!(is)),
        Value::I8(number) => ("byte", json!(number)),
        Value::U8(number) => ("unsignedbyte", json!(number)),
        Value::I16(number) => ("short", json!(number)),
        Value::U16(number) => ("unsignedshort", json!(number)),
        Value::I32(number) => ("signedint", json!(number)),
        Value::U32(number) => ("unsignedint", json!(number)),
        Value::I64(number) => ("long", json!(number)),
        Value::F32(number) => ("float", json!(number)),
        Value::F64(number) => ("double", json!(number)),
        Value::Decimal { scale, value } => ("decimal", json!([scale, value])),
        Value::LongString(text) => ("longstr", json!(String::from_utf8_lossy(text))),
        Value::ByteArray(bytes) => ("binary", json!(String::from_utf8_lossy(bytes))),
        Value::Timestamp(seconds) => ("timestamp", json!(seconds)),
        Value::Table(table) => {
            let entries = table.iter().map(|(name, value)| {
                let (kind, value) = typed_json(value);
                json!([String::from_utf8_lossy(name), kind, value])
            });
            ("table", entries.collect())
        }
        Value::Array(values) => {
            let values = values.iter().map(|value| {
                let (kind, value) = typed_json(value);
                json!([kind, value])
            });
            ("array", values.collect())
        }
        _ => ("void", Json::Null),
    }
}

fn show_table(table: &Table, out: &mut String) {
    out.push('[');
    for (at, (name, value)) in table.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push('{');
        show_text(name, out);
        out.push(',');
        show_value(value, out);
        out.push('}');
    }
    out.push(']');
}

/// As Erlang writes a string; control characters are made visible later.
fn show_text(text: &[u8], out: &mut String) {
    out.push('"');
    for letter in String::from_utf8_lossy(text).chars() {
        if matches!(letter, '"' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('"');
}

fn show_value(value: &Value, out: &mut String) {
    match value {
        Value::LongString(text) | Value::ByteArray(text) => show_text(text, out),
        Value::Table(table) => show_table(table, out),
        Value::Array(values) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                show_value(value, out);
            }
            out.push(']');
        }
        other => match typed_json(other).1 {
            Json::Null => out.push_str("undefined"),
            json => out.push_str(&json.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_look_as_in_rabbitmqctl() {
        let table: Table = [
            ("x-max-length", Value::I32(10)),
            ("x-dead-letter-exchange", Value::from("dlx")),
        ]
        .into_iter()
        .collect();
        let cell = Cell::arguments(&table);
        assert_eq!(
            cell.to_text(),
            r#"[{"x-max-length",10},{"x-dead-letter-exchange","dlx"}]"#
        );
        assert_eq!(
            cell.to_json().to_string(),
            r#"[["x-max-length","signedint",10],["x-dead-letter-exchange","longstr","dlx"]]"#
        );
        assert_eq!(Cell::arguments(&Table::default()).to_text(), "[]");
        let table: Table = [("s\"", Value::from("é\"\\"))].into_iter().collect();
        assert_eq!(Cell::arguments(&table).to_text(), r#"[{"s\"","é\"\\"}]"#);
    }

    #[test]
    fn a_name_moves_no_cursor() {
        assert_eq!(Cell::text("a\x1b[2J\nb\\").to_text(), "a\\033[2J\\012b\\");
    }
}
