//! How long certificates hold.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use x509_parser::prelude::{ASN1Time, parse_x509_certificate, parse_x509_crl};
use x509_parser::x509::X509Name;

use super::certificate_user::distinguished_name;
use super::error::TlsError;

const DAY_S: i64 = 24 * 3600;

/// With so many days left the log says so, once each.
const WARN_AT_DAYS: [i64; 3] = [30, 7, 1];

/// A certificate of the server, or a list of what is revoked, and when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expiry {
    path: PathBuf,
    kind: Kind,
    /// Whose it is: the subject of a certificate, the authority of a list.
    name: String,
    /// In seconds since 1970.
    not_after: i64,
    /// The least of [`WARN_AT_DAYS`] that the log has told of.
    warned: Option<i64>,
}

/// What ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Certificate,
    /// Its authority will have made another one by then; until that is there, this one is believed.
    RevocationList,
}

impl Kind {
    /// As operators read it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::RevocationList => "revocation_list",
        }
    }
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
        let not_after = certificate.validity().not_after;
        Ok(Self::new(
            path,
            Kind::Certificate,
            certificate.subject(),
            not_after,
        ))
    }

    /// Of a list of revoked certificates as DER, from a file. None for one that does not say when the next one comes.
    ///
    /// # Errors
    /// When it is no such list.
    pub(super) fn of_list(path: &Path, der: &[u8]) -> Result<Option<Self>, TlsError> {
        let parsed = parse_x509_crl(der);
        let (_, list) = parsed.map_err(|_| TlsError::BadRevocationList {
            path: path.to_owned(),
        })?;
        let next = list.next_update();
        Ok(next.map(|next| Self::new(path, Kind::RevocationList, list.issuer(), next)))
    }

    fn new(path: &Path, kind: Kind, name: &X509Name<'_>, not_after: ASN1Time) -> Self {
        Self {
            path: path.to_owned(),
            kind,
            name: distinguished_name(name).unwrap_or_default(),
            not_after: not_after.timestamp(),
            warned: None,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// When it ends, as ISO 8601 has it.
    pub(crate) fn not_after(&self) -> String {
        iso_8601(self.not_after)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whole days until it ends; less than zero when it has.
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
        match (self.kind, self.not_after <= now) {
            (Kind::Certificate, true) => {
                tracing::error!(%path, "the TLS certificate has expired: clients will refuse it");
            }
            (Kind::Certificate, false) => {
                tracing::warn!(%path, days, "the TLS certificate expires soon");
            }
            (Kind::RevocationList, true) => {
                tracing::error!(%path, "the list of revoked certificates is out of date; it is believed all the same");
            }
            (Kind::RevocationList, false) => {
                tracing::warn!(%path, days, "the list of revoked certificates is out of date soon");
            }
        }
    }
}

/// A time in seconds since 1970 in the form `2090-12-31T00:00:00Z`; empty for one that no certificate can have.
pub(crate) fn iso_8601(seconds: i64) -> String {
    let Ok(time) = ASN1Time::from_timestamp(seconds) else {
        return String::new();
    };
    let time = time.to_datetime();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// The time in seconds since 1970, as certificates count it.
#[expect(
    clippy::disallowed_methods,
    reason = "certificates hold by the time of the world, which is not the broker's"
)]
pub(crate) fn now() -> i64 {
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
            kind: Kind::Certificate,
            name: "CN=localhost".to_owned(),
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

    #[test]
    fn times_are_written_so_that_they_sort() {
        assert_eq!(iso_8601(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso_8601(3_818_361_599), "2090-12-30T23:59:59Z");
        assert_eq!(iso_8601(i64::MAX), "");
    }
}
