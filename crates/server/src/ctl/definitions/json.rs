//! Arguments as JSON, without their types, as RabbitMQ writes them.

use leveret_broker::{Table, Value};
use serde_json::{Map, Number, Value as Json, json};

/// Texts that are no UTF-8 are written as far as they are.
pub(super) fn of_table(table: &Table) -> Json {
    let entries = table.iter();
    let entries = entries.map(|(name, value)| {
        let name = String::from_utf8_lossy(name).into_owned();
        (name, of_value(value))
    });
    Json::Object(entries.collect())
}

fn of_value(value: &Value) -> Json {
    match value {
        Value::Bool(is) => json!(is),
        Value::I8(number) => json!(number),
        Value::U8(number) => json!(number),
        Value::I16(number) => json!(number),
        Value::U16(number) => json!(number),
        Value::I32(number) => json!(number),
        Value::U32(number) => json!(number),
        Value::I64(number) => json!(number),
        Value::F32(number) => json!(number),
        Value::F64(number) => json!(number),
        Value::Timestamp(seconds) => json!(seconds),
        Value::LongString(text) | Value::ByteArray(text) => {
            json!(String::from_utf8_lossy(text))
        }
        Value::Table(table) => of_table(table),
        Value::Array(values) => values.iter().map(of_value).collect(),
        // Decimals have no place in arguments that mean anything.
        _ => Json::Null,
    }
}

pub(super) fn to_table(entries: &Map<String, Json>) -> Table {
    let mut table = Table::default();
    for (name, value) in entries {
        table.insert(name, to_value(value));
    }
    table
}

fn to_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Void,
        Json::Bool(is) => Value::Bool(*is),
        Json::Number(number) => to_number(number),
        Json::String(text) => Value::LongString(text.clone().into_bytes()),
        Json::Array(values) => Value::Array(values.iter().map(to_value).collect()),
        Json::Object(entries) => Value::Table(to_table(entries)),
    }
}

fn to_number(number: &Number) -> Value {
    match number.as_i64() {
        Some(number) => Value::I64(number),
        None => Value::F64(number.as_f64().unwrap_or(f64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_come_back() {
        let json = json!({
            "x-max-length": 10, "x-dead-letter-exchange": "dlx", "b": true, "l": [1, "two", {"three": 3}], "f": 1.5, "n": null,
        });
        let table = to_table(json.as_object().unwrap());
        assert_eq!(table.get("x-max-length"), Some(&Value::I64(10)));
        assert_eq!(of_table(&table), json);
    }
}
