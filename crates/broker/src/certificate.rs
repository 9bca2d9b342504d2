//! When certificates end: as much of X.509 (RFC 5280) as that takes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tags of DER (ITU-T X.690).
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// The version of a certificate, which those of version 1 leave out.
const VERSION: u8 = 0xa0;

const DAY_S: i64 = 24 * 3600;

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
    let mut input = der;
    let mut certificate = content_of(&mut input, SEQUENCE)?;
    let mut signed = content_of(&mut certificate, SEQUENCE)?;
    if signed.first() == Some(&VERSION) {
        element(&mut signed)?;
    }
    content_of(&mut signed, INTEGER)?;
    let _algorithm = content_of(&mut signed, SEQUENCE)?;
    let _issuer = content_of(&mut signed, SEQUENCE)?;
    let mut validity = content_of(&mut signed, SEQUENCE)?;
    let _not_before = element(&mut validity)?;
    let (tag, not_after) = element(&mut validity)?;
    time(tag, not_after)
}

/// Takes the next element, of which the tag has one byte: its tag and content.
fn element<'a>(input: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let length = match first {
        0..=0x7f => usize::from(first),
        // The number of bytes that the length has; more than four would be for gigabytes.
        0x81..=0x84 => {
            let (bytes, behind) = rest.split_at_checked(usize::from(first & 0x7f))?;
            rest = behind;
            let append = |length: usize, byte: &u8| length << 8 | usize::from(*byte);
            bytes.iter().fold(0, append)
        }
        _ => return None,
    };
    let (content, behind) = rest.split_at_checked(length)?;
    *input = behind;
    Some((tag, content))
}

/// Takes the next element, which has to have this tag: its content.
fn content_of<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (found, content) = element(input)?;
    (found == tag).then_some(content)
}

/// RFC 5280, section 4.1.2.5: years have two digits until 2049 and four from then on, seconds are there, and the zone is Z.
fn time(tag: u8, text: &[u8]) -> Option<SystemTime> {
    let digits = text.strip_suffix(b"Z")?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = number(digits, 2)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => number(digits, 4)?,
        _ => return None,
    };
    let (month, rest) = number(rest, 2)?;
    let (day, rest) = number(rest, 2)?;
    let (hour, rest) = number(rest, 2)?;
    let (minute, rest) = number(rest, 2)?;
    let (second, rest) = number(rest, 2)?;
    let is_time = hour < 24 && minute < 60 && second < 60;
    if !rest.is_empty() || !is_time || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second;
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    }
}

/// A number of so many digits at the beginning, and what comes behind it.
fn number(text: &[u8], digits: usize) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_at_checked(digits)?;
    let mut number = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = 10 * number + i64::from(digit - b'0');
    }
    Some((number, rest))
}

/// By the Gregorian calendar. Years begin in March here, so that the day of a leap year comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    // From March on, months have 31, 30, 31, 30, 31 days, twice over and once more.
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    // From the first of March of the year 0 until the first day of 1970.
    const BEFORE_1970: i64 = 719_468;
    365 * year + year / 4 - year / 100 + year / 400 + day_of_year - BEFORE_1970
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
        // Whatever is in them, bytes are no reason to panic.
        let mut odd = whole;
        for at in 0..200 {
            for byte in [0, 0x7f, 0x80, 0x84, 0xff] {
                let before = std::mem::replace(&mut odd[at], byte);
                let _ = certificate_expiry(&odd);
                odd[at] = before;
            }
        }
    }

    #[test]
    fn times_that_are_none_are_no_end() {
        let at = |tag, text: &str| time(tag, text.as_bytes());
        assert!(at(UTC_TIME, "901231235959Z").is_some());
        assert!(at(GENERALIZED_TIME, "20901231235959Z").is_some());
        for text in [
            "",
            "Z",
            "9012312359Z",
            "901231235959",
            "901331235959Z",
            "901200235959Z",
            "901231245959Z",
            "9012312359599Z",
            "90123123595+Z",
        ] {
            assert_eq!(at(UTC_TIME, text), None, "{text}");
        }
        assert_eq!(at(SEQUENCE, "901231235959Z"), None);
    }
}
