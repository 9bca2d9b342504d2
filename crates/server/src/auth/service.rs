//! What the sections of backends have in common.

use std::path::PathBuf;

#[cfg(any(feature = "auth-http", feature = "oauth2"))]
use leveret_auth::RequestLimits;
use leveret_auth::TlsClient;

#[cfg(any(feature = "auth-http", feature = "oauth2"))]
use crate::size::MemorySize;
#[cfg(any(feature = "auth-http", feature = "oauth2"))]
use crate::time_span::FiniteTime;

/// How TLS is spoken with a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsSection {
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl TlsSection {
    pub(super) fn apply_to(&self, tls: &mut TlsClient) {
        tls.ca.clone_from(&self.ca);
        tls.cert.clone_from(&self.cert);
        tls.key.clone_from(&self.key);
    }
}

/// What asking a service may take.
#[cfg(any(feature = "auth-http", feature = "oauth2"))]
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct LimitsSection {
    connect_timeout: Option<FiniteTime>,
    request_timeout: Option<FiniteTime>,
    connect_retries: Option<u32>,
    concurrency_max: Option<usize>,
    answer_size_max: Option<MemorySize>,
}

#[cfg(any(feature = "auth-http", feature = "oauth2"))]
impl LimitsSection {
    /// What is not set stays as it is.
    pub(super) fn apply_to(&self, limits: &mut RequestLimits) {
        if let Some(FiniteTime(timeout)) = self.connect_timeout {
            limits.connect_timeout = timeout;
        }
        if let Some(FiniteTime(timeout)) = self.request_timeout {
            limits.request_timeout = timeout;
        }
        if let Some(retries) = self.connect_retries {
            limits.connect_retries = retries;
        }
        if let Some(max) = self.concurrency_max {
            limits.concurrency_max = max;
        }
        if let Some(max) = self.answer_size_max {
            limits.answer_size_max = crate::settings::in_bytes(max);
        }
    }
}
