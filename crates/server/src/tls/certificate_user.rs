//! Which user a certificate is of.

use std::fmt::Write;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{X509Certificate, parse_x509_certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::choices::LoginFrom;

/// What RabbitMQ calls the parts of a distinguished name, by their object identifiers.
const ATTRIBUTES: [(&str, &str); 17] = [
    ("2.5.4.4", "SN"),
    ("2.5.4.42", "GIVENNAME"),
    ("2.5.4.43", "INITIALS"),
    ("2.5.4.44", "GENERATIONQUALIFIER"),
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "TITLE"),
    ("2.5.4.6", "C"),
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.65", "PSEUDONYM"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "EMAILADDRESS"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// The name of the user in a certificate as DER. None when it has no such name, or is none.
pub(super) fn user_of(der: &[u8], from: LoginFrom) -> Option<String> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    let found = match from {
        LoginFrom::CommonName => common_name(certificate.subject()),
        LoginFrom::DistinguishedName => distinguished_name(certificate.subject()),
        LoginFrom::SanDns => alternative(&certificate, |name| match name {
            GeneralName::DNSName(name) => Some(*name),
            _ => None,
        }),
        LoginFrom::SanEmail => alternative(&certificate, |name| match name {
            GeneralName::RFC822Name(name) => Some(*name),
            _ => None,
        }),
        LoginFrom::SanUri => alternative(&certificate, |name| match name {
            GeneralName::URI(name) => Some(*name),
            _ => None,
        }),
    };
    found.filter(|name| !name.is_empty())
}

/// Several are joined, as in RabbitMQ.
fn common_name(subject: &X509Name<'_>) -> Option<String> {
    let names: Option<Vec<&str>> = subject
        .iter_common_name()
        .map(|name| name.as_str().ok())
        .collect();
    Some(names?.join(","))
}

/// The first of a kind.
fn alternative<'a>(
    certificate: &'a X509Certificate<'a>,
    of_kind: impl Fn(&'a GeneralName<'a>) -> Option<&'a str>,
) -> Option<String> {
    let names = certificate.subject_alternative_name().ok()??;
    let found = names.value.general_names.iter().find_map(of_kind);
    found.map(str::to_owned)
}

/// The most specific part first, as RabbitMQ and RFC 4514 have it. None when a part is no text.
fn distinguished_name(subject: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for part in subject.iter() {
        let attributes: Option<Vec<String>> = part.iter().map(attribute).collect();
        parts.push(attributes?.join("+"));
    }
    parts.reverse();
    Some(parts.join(","))
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let id = attribute.attr_type().to_id_string();
    let known = ATTRIBUTES.iter().find(|(known, _)| *known == id);
    let name = known.map_or(&*id, |(_, name)| *name);
    Some(format!("{name}={}", escaped(attribute.as_str().ok()?)))
}

/// RFC 4514, section 2.4, and everything that is no printable ASCII as hexadecimal digits.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (place, c) in value.char_indices() {
        let is_special = matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\')
            || (c == '#' && place == 0)
            || (c == ' ' && (place == 0 || place == last));
        if is_special {
            out.push('\\');
            out.push(c);
        } else if matches!(c, ' '..='}') {
            out.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                // Writing to a string does not fail.
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    fn ann() -> Vec<u8> {
        certificate(|params| {
            params.distinguished_name.push(DnType::CountryName, "GB");
            params
                .distinguished_name
                .push(DnType::OrganizationName, "Shop, Ltd");
            params.distinguished_name.push(DnType::CommonName, " ann#é");
            params.subject_alt_names = vec![
                SanType::Rfc822Name("ann@shop.example".try_into().unwrap()),
                SanType::DnsName("till.shop.example".try_into().unwrap()),
                SanType::DnsName("other.shop.example".try_into().unwrap()),
                SanType::URI("spiffe://shop.example/till".try_into().unwrap()),
            ];
        })
    }

    #[track_caller]
    fn check(der: &[u8], from: LoginFrom, want: Option<&str>) {
        assert_eq!(user_of(der, from).as_deref(), want, "{from:?}");
    }

    #[test]
    fn each_place_has_its_name() {
        let ann = ann();
        check(&ann, LoginFrom::CommonName, Some(" ann#é"));
        check(
            &ann,
            LoginFrom::DistinguishedName,
            Some("CN=\\ ann#\\C3\\A9,O=Shop\\, Ltd,C=GB"),
        );
        check(&ann, LoginFrom::SanDns, Some("till.shop.example"));
        check(&ann, LoginFrom::SanEmail, Some("ann@shop.example"));
        check(&ann, LoginFrom::SanUri, Some("spiffe://shop.example/till"));
    }

    #[test]
    fn who_has_no_name_is_nobody() {
        let nobody = certificate(|_| {});
        for from in [
            LoginFrom::CommonName,
            LoginFrom::DistinguishedName,
            LoginFrom::SanDns,
            LoginFrom::SanEmail,
            LoginFrom::SanUri,
        ] {
            check(&nobody, from, None);
            check(b"no certificate", from, None);
        }
    }
}
