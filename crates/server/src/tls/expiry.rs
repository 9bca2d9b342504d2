//! How long certificates hold.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use x509_parser::prelude::parse_x509_certificate;

use super::error::TlsError;

const DAY_S: i64 = 24 * 3600;

/// With so many days left the log says so, once each.
const WARN_AT_DAYS: [i64; 3] = [30, 7, 1];

/// A certificate of the server, and when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expiry {
    path: PathBuf,
    /// In seconds since 1970.
    not_after: i64,
    /// The least of [`WARN_AT_DAYS`] that the log has told of.
    warned: Option<i64>,
}

impl Expiry {
    /// Of a certificate as DER, from a file.
    ///
    /// # Errors
    /// When it is no certificate.
    pub(super) fn of(path: &Path, der: &[u8]) -> Result<Self, TlsError> {
        let parsed = parse_x509_certificate(der);
        let (_, certificate) = parsed.map_err(|_| TlsError::BadCertificate {
            path: path.to_owned(),
        })?;
        Ok(Self {
            path: path.to_owned(),
            not_after: certificate.validity().not_after.timestamp(),
            warned: None,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whole days until it ends; less than zero when it has. What a metric would show.
    pub(crate) fn days_left(&self, now: i64) -> i64 {
        (self.not_after - now).div_euclid(DAY_S)
    }

    /// Whether it is time to warn, as it is once for each of the last days that count.
    fn is_worth_a_warning(&mut self, now: i64) -> bool {
        let days = self.days_left(now);
        let reached = WARN_AT_DAYS.into_iter().rev().find(|limit| days < *limit);
        let is_news = match (reached, self.warned) {
            (Some(reached), Some(warned)) => reached < warned,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if is_news {
            self.warned = reached;
        }
        is_news
    }

    /// Warns when the end is near and the log has not said so yet.
    pub(super) fn warn(&mut self, now: i64) {
        if !self.is_worth_a_warning(now) {
            return;
        }
        let (path, days) = (self.path.display(), self.days_left(now));
        if self.not_after <= now {
            tracing::error!(%path, "the TLS certificate has expired: clients will refuse it");
        } else {
            tracing::warn!(%path, days, "the TLS certificate expires soon");
        }
    }
}

/// The time in seconds since 1970, as certificates count it.
#[expect(
    clippy::disallowed_methods,
    reason = "certificates hold by the time of the world, which is not the broker's"
)]
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_threshold_is_told_of_once() {
        let mut expiry = Expiry {
            path: "cert.pem".into(),
            not_after: 100 * DAY_S,
            warned: None,
        };
        let mut told = Vec::new();
        for day in 0..103 {
            for _ in 0..2 {
                if expiry.is_worth_a_warning(day * DAY_S + 1) {
                    told.push(expiry.days_left(day * DAY_S + 1));
                }
            }
        }
        assert_eq!(told, [29, 6, 0]);
        assert_eq!(expiry.days_left(100 * DAY_S + 1), -1);
    }
}
