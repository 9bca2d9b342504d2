//! Keys and certificates as text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What these bytes, which are DER, look like in PEM.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}
