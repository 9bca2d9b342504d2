//! What is asked for on the control socket, and answered.

use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::failure::Failure;
use super::{connections, definitions, limits, objects, permissions, status, users, vhosts};

/// One thing to do or to tell, by what it is about.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Users(users::Ask),
    Vhosts(vhosts::Ask),
    Permissions(permissions::Ask),
    Limits(limits::Ask),
    Objects(objects::Ask),
    Connections(connections::Ask),
    Definitions(definitions::Ask),
    Status(status::Ask),
}

impl Request {
    /// What it is about, for the log: never what stands in it, which may be a password.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Users(_) => "users",
            Self::Vhosts(_) => "vhosts",
            Self::Permissions(_) => "permissions",
            Self::Limits(_) => "limits",
            Self::Objects(_) => "objects",
            Self::Connections(_) => "connections",
            Self::Definitions(_) => "definitions",
            Self::Status(_) => "status",
        }
    }
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Done,
    Rows(Vec<Vec<Cell>>),
    Number(u64),
    Text(String),
    Json(serde_json::Value),
    Failed(Failure),
}

impl Reply {
    /// # Errors
    /// When it is something else.
    pub(super) fn into_rows(self) -> Result<Vec<Vec<Cell>>, Failure> {
        match self {
            Self::Rows(rows) => Ok(rows),
            _ => Err(Failure::unexpected()),
        }
    }

    /// # Errors
    /// When it is something else.
    pub(super) fn into_json(self) -> Result<serde_json::Value, Failure> {
        match self {
            Self::Json(json) => Ok(json),
            _ => Err(Failure::unexpected()),
        }
    }
}
