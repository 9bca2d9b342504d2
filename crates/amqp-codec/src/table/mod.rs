//! Field tables: the named values of arguments, headers, and client and server properties.
//!
//! What a peer sent is looked at in place as a [`RawTable`] of [`ValueRef`]s. What a program makes up or changes is a
//! [`Table`] of [`Value`]s, which is written to bytes before it goes into a method.

mod owned;
mod raw_array;
mod raw_table;
mod value;
mod value_ref;

pub use owned::Table;
pub use raw_array::{RawArray, RawArrayIter};
pub use raw_table::{RawTable, RawTableIter};
pub use value::Value;
pub use value_ref::ValueRef;

use crate::TableError;
use crate::read::Reader;

/// Checks the entries of a table, those of the tables and arrays in it too. `depth_left` counts this one.
fn validate_table(entries: &[u8], depth_left: u8) -> Result<(), Invalid> {
    let depth_inside = depth_left.checked_sub(1).ok_or(Invalid::TooDeep)?;
    let mut reader = Reader::new(entries);
    while !reader.is_empty() {
        reader.short().map_err(TableError::from)?;
        validate_value(&mut reader, depth_inside)?;
    }
    Ok(())
}

/// Checks the values of an array as [`validate_table`] does those of a table.
fn validate_array(values: &[u8], depth_left: u8) -> Result<(), Invalid> {
    let depth_inside = depth_left.checked_sub(1).ok_or(Invalid::TooDeep)?;
    let mut reader = Reader::new(values);
    while !reader.is_empty() {
        validate_value(&mut reader, depth_inside)?;
    }
    Ok(())
}

fn validate_value(reader: &mut Reader<'_>, depth_left: u8) -> Result<(), Invalid> {
    match ValueRef::read(reader)? {
        ValueRef::Table(table) => validate_table(table.as_bytes(), depth_left),
        ValueRef::Array(array) => validate_array(array.as_bytes(), depth_left),
        _ => Ok(()),
    }
}

/// A [`TableError`], or nesting too deep for a limit that only the outermost call knows.
enum Invalid {
    TooDeep,
    Other(TableError),
}

impl Invalid {
    fn with_limit(self, limit: u8) -> TableError {
        match self {
            Self::TooDeep => TableError::TooDeep { limit },
            Self::Other(error) => error,
        }
    }
}

impl From<TableError> for Invalid {
    fn from(error: TableError) -> Self {
        Self::Other(error)
    }
}
