//! Definitions as RabbitMQ exports them: users, virtual hosts, permissions, limits, queues, exchanges and bindings as JSON.

mod export;
mod import;
mod json;

use std::fs;
use std::io::{self, Read, Write};
use std::process;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::failure::{Exit, Failure};
use super::line::Line;
use super::message::{Reply, Request};
use super::node::Node;
use super::output::Outcome;
use super::verb::Verb;

/// What can be asked about definitions. Hashes of passwords stand in them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    Export,
    Import(Document),
}

/// Definitions, which are not to be shown.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Document(Json);

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Document(..)")
    }
}

/// Stands for stdin or stdout.
const STANDARD: &str = "-";

pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "export_definitions",
        usage: "export_definitions <file_path | \"-\"> [--format <json>]",
        about: "Writes users, virtual hosts, permissions, queues, exchanges and bindings to a file, as RabbitMQ does",
        arguments: (1, 1),
        flags: &["--format"],
        works_at_rest: true,
        banner: |line| match line.argument(0).ok()? {
            STANDARD => None,
            path => Some(format!(
                "Exporting definitions in JSON to a file at \"{path}\" ..."
            )),
        },
        run: |line, peer| {
            let json = peer.ask(Request::Definitions(Ask::Export))?.into_json()?;
            match line.argument(0)? {
                STANDARD => Ok(Outcome::Document(json.to_string())),
                path => {
                    write_file(path, &json).map_err(|error| {
                        Failure::new(Exit::Data, format!("cannot write {path}: {error}"))
                    })?;
                    Ok(Outcome::Done)
                }
            }
        },
        ..Verb::PLAIN
    },
    Verb {
        name: "import_definitions",
        usage: "import_definitions <file_path | \"-\"> [--format <json>]",
        about: "Makes what stands in a file that leveret or RabbitMQ has exported; nothing is deleted",
        arguments: (0, 1),
        flags: &["--format"],
        works_at_rest: true,
        banner: |line| match source(line) {
            STANDARD => Some("Importing definitions in JSON from standard input ...".to_owned()),
            path if fs::exists(path).unwrap_or(true) => Some(format!(
                "Importing definitions in JSON from a file at \"{path}\" ..."
            )),
            _ => None,
        },
        run: |line, peer| {
            let text = read(line)?;
            let refused = |error: &dyn std::fmt::Display| {
                Failure::new(
                    Exit::Data,
                    format!("Failed to deserialise input (format: JSON) (error: {error})"),
                )
            };
            // By itself serde would take a list for the fields of an object, in their order.
            let json: Json = serde_json::from_slice(&text).map_err(|error| refused(&error))?;
            if !json.is_object() {
                return Err(refused(&"definitions are an object"));
            }
            let ask = Ask::Import(Document(json));
            match peer.ask(Request::Definitions(ask))? {
                Reply::Text(report) => Ok(Outcome::Message(report)),
                _ => Err(Failure::unexpected()),
            }
        },
        ..Verb::PLAIN
    },
];

fn source(line: &Line) -> &str {
    line.arguments.first().map_or(STANDARD, String::as_str)
}

fn read(line: &Line) -> Result<Vec<u8>, Failure> {
    match source(line) {
        STANDARD => {
            let mut text = Vec::new();
            io::stdin().lock().read_to_end(&mut text)?;
            Ok(text)
        }
        path => fs::read(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                line.bad_value(&format!("Bad argument: File {path} does not exist"))
            }
            _ => Failure::new(Exit::Data, format!("cannot read {path}: {error}")),
        }),
    }
}

/// For its owner alone: hashes of passwords stand in it. A file that is there gives way to a new one, since others may be
/// allowed to read it, or have it open.
fn write_file(path: &str, json: &Json) -> io::Result<()> {
    let text = json.to_string();
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return fs::write(path, text);
    }
    // Links stay.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let mut new = path.clone().into_os_string();
    new.push(format!(".{}.new", process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&new, &path));
    if written.is_err() {
        // What went wrong before is what is to be told.
        let _ = fs::remove_file(&new);
    }
    written
}

/// # Errors
/// When something in what is to be imported makes no sense, or refers to what is not there.
pub(super) async fn answer(node: &Node, ask: Ask) -> Result<Reply, Failure> {
    match ask {
        Ask::Export => Ok(Reply::Json(export::everything(node))),
        Ask::Import(Document(json)) => import::everything(node, json).await,
    }
}
