//! Telling once of somebody who cannot be asked, however many logins it concerns.

use std::sync::atomic::{AtomicU64, Ordering};

use super::LoginRefused;

/// Whether somebody can be asked: how many logins have found in a row that they cannot be looked at.
#[derive(Debug, Default)]
pub(super) struct Outage(AtomicU64);

impl Outage {
    /// Notes what came of a question to `backend`. Logs that there is no answer, and that there is one again.
    pub(super) fn note(&self, backend: &str, refused: Option<&LoginRefused>) {
        match refused.filter(|refused| refused.is_unavailable()) {
            Some(reason) => {
                if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::error!(backend, %reason, "a backend of authentication cannot be asked");
                }
            }
            None => {
                // Those who are asked all the time do not write where others read.
                if self.0.load(Ordering::Relaxed) == 0 {
                    return;
                }
                let logins = self.0.swap(0, Ordering::Relaxed);
                if logins > 0 {
                    tracing::info!(
                        backend,
                        logins,
                        "a backend of authentication can be asked again"
                    );
                }
            }
        }
    }
}
