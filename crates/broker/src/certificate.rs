//! When certificates end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::prelude::parse_x509_certificate;

/// The last moment at which a certificate in DER holds, for programs that tell how long that is: of the certificates that
/// they have given to [`Builder::tls`](crate::Builder::tls), or that a [client has shown](crate::TlsPeer::certificates).
/// None for bytes that are no certificate. Nothing else of it is looked at, its signature least of all.
///
/// ```
/// use std::time::SystemTime;
/// use leveret_broker::certificate_expiry;
/// use leveret_broker::rustls::pki_types::CertificateDer;
///
/// /// For a gauge; less than zero when it has ended.
/// fn days_left(certificate: &CertificateDer<'_>, now: SystemTime) -> Option<f64> {
///     let ends = certificate_expiry(certificate)?;
///     let left = match ends.duration_since(now) {
///         Ok(left) => left.as_secs_f64(),
///         Err(since) => -since.duration().as_secs_f64(),
///     };
///     Some(left / 86_400.0)
/// }
/// # assert_eq!(days_left(&CertificateDer::from(&[][..]), SystemTime::UNIX_EPOCH), None);
/// ```
#[must_use]
pub fn certificate_expiry(der: &[u8]) -> Option<SystemTime> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    let seconds = certificate.validity().not_after.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn signed(year: i32, month: u8, day: u8) -> Vec<u8> {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(1960, 1, 1);
        params.not_after = date_time_ymd(year, month, day);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_end_is_found_whichever_form_its_year_has() {
        for (year, month, day) in [
            (1969, 12, 31),
            (1970, 1, 1),
            (2000, 2, 29),
            (2038, 1, 19),
            (2049, 12, 31),
            (2050, 1, 1),
            (2100, 3, 1),
            (9999, 12, 31),
        ] {
            let want = SystemTime::from(date_time_ymd(year, month, day));
            let found = certificate_expiry(&signed(year, month, day));
            assert_eq!(found, Some(want), "{year}-{month}-{day}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let whole = signed(2090, 12, 31);
        for end in 0..whole.len() {
            assert_eq!(certificate_expiry(&whole[..end]), None, "{end}");
        }
    }
}
