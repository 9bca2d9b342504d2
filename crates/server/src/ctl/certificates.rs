//! Certificates of TLS: the server's, and what clients have shown.

use leveret_broker::TlsPeer;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::cell::Cell;
use super::failure::Failure;
use super::message::{Reply, Request};
use super::node::Node;
use super::objects::{columns, streamed};
use super::verb::Verb;
use crate::tls::{Expiry, Shown, now};

/// What can be asked about certificates.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    List { columns: Vec<String> },
}

pub(super) const VERBS: &[Verb] = &[Verb {
    name: "list_certificates",
    usage: "list_certificates [--no-table-headers] [<column> ...]",
    about: "Lists the server's certificates for TLS and lists of revoked ones, with the days that are left",
    arguments: (0, usize::MAX),
    columns: &["file", "kind", "subject", "not_after", "days_left"],
    banner: |_| Some("Listing certificates ...".to_owned()),
    run: |line, peer| {
        let columns = columns(line, &["file", "kind", "not_after", "days_left"]);
        let ask = Ask::List {
            columns: columns.clone(),
        };
        let rows = peer.ask(Request::Certificates(ask))?.into_rows()?;
        Ok(streamed(columns, rows))
    },
    ..Verb::PLAIN
}];

/// # Errors
/// Never, at the moment.
pub(super) async fn answer(node: &Node, ask: Ask) -> Result<Reply, Failure> {
    let Ask::List { columns } = ask;
    let now = now();
    let rows = node
        .certificates
        .borrow()
        .iter()
        .map(|certificate| {
            let cell = |column: &String| cell(certificate, column, now);
            columns.iter().map(cell).collect()
        })
        .collect();
    Ok(Reply::Rows(rows))
}

fn cell(certificate: &Expiry, column: &str, now: i64) -> Cell {
    match column {
        "file" => Cell::Text(certificate.path().display().to_string()),
        "kind" => Cell::text(certificate.kind().as_str()),
        "subject" => Cell::text(certificate.name()),
        "not_after" => Cell::Text(certificate.not_after()),
        "days_left" => Cell::number(certificate.days_left(now)),
        _ => Cell::Empty,
    }
}

/// All of it, for the status.
pub(super) fn to_json(node: &Node) -> Json {
    let now = now();
    let certificates = node.certificates.borrow();
    let each = certificates.iter().map(|certificate| {
        json!({
            "file": certificate.path().display().to_string(),
            "kind": certificate.kind().as_str(),
            "subject": certificate.name(),
            "not_after": certificate.not_after(),
            "days_left": certificate.days_left(now),
        })
    });
    each.collect()
}

/// What `list_connections` shows of TLS in one of its columns, as RabbitMQ does; empty without TLS, and where the client
/// has shown no certificate.
pub(super) fn connection_cell(tls: Option<&TlsPeer>, column: &str) -> Cell {
    let Some(tls) = tls else {
        return Cell::Empty;
    };
    let shown = || tls.certificates.first().and_then(|der| Shown::of(der));
    let found = match column {
        "ssl_protocol" => tls.version.map(protocol),
        "ssl_key_exchange" => tls.cipher_suite.map(|suite| suite_parts(suite)[0].clone()),
        "ssl_cipher" => tls.cipher_suite.map(|suite| suite_parts(suite)[1].clone()),
        "ssl_hash" => tls.cipher_suite.map(|suite| suite_parts(suite)[2].clone()),
        "peer_cert_subject" => shown().map(|shown| shown.subject),
        "peer_cert_issuer" => shown().map(|shown| shown.issuer),
        "peer_cert_validity" => shown().map(|shown| shown.validity),
        _ => None,
    };
    found.map_or(Cell::Empty, Cell::Text)
}

/// `TLSv1_3` is `tlsv1.3` there.
fn protocol(version: &str) -> String {
    version.to_lowercase().replace('_', ".")
}

/// The key exchange, the cipher and the hash of a suite. That of TLS 1.3 leaves the first open, and what authenticates by
/// itself has no hash.
fn suite_parts(suite: &str) -> [String; 3] {
    let (exchange, cipher) = match suite.split_once("_WITH_") {
        Some((exchange, cipher)) => (exchange.trim_start_matches("TLS_"), cipher),
        None => ("any", suite.trim_start_matches("TLS13_")),
    };
    let cipher = cipher
        .split_once("_SHA")
        .map_or(cipher, |(cipher, _)| cipher);
    [
        exchange.to_lowercase(),
        cipher.to_lowercase(),
        "aead".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_taken_apart_as_rabbitmq_does() {
        let parts = |suite| suite_parts(suite).join(" ");
        assert_eq!(
            parts("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
            "ecdhe_rsa aes_128_gcm aead"
        );
        assert_eq!(
            parts("TLS13_CHACHA20_POLY1305_SHA256"),
            "any chacha20_poly1305 aead"
        );
        assert_eq!(protocol("TLSv1_2"), "tlsv1.2");
    }
}
