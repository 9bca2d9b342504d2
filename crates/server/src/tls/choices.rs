//! What can be chosen between, in the words of the flags.

use clap::ValueEnum;
use leveret_broker::rustls::{SupportedProtocolVersion, version};
use serde::Deserialize;

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientCertificates {
    /// They are not asked for one.
    Off,
    /// They are asked; one that is shown has to be good.
    Optional,
    /// Without one nobody gets in.
    Required,
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
pub(crate) enum TlsVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    #[serde(rename = "1.2")]
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3 alone.
    #[serde(rename = "1.3")]
    #[value(name = "1.3")]
    Tls13,
}

impl TlsVersion {
    /// The versions that are spoken.
    pub(crate) fn spoken(self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
        match self {
            Self::Tls12 => &BOTH,
            Self::Tls13 => &BOTH[..1],
        }
    }
}

/// Which name in a client's certificate is that of the user (RabbitMQ's `ssl_cert_login_from`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LoginFrom {
    /// The common name of the subject; several are joined by commas.
    #[default]
    CommonName,
    /// The whole subject, the most specific part first: `CN=ann,O=Shop`.
    DistinguishedName,
    /// The first DNS name among the alternative names.
    SanDns,
    /// The first e-mail address among them.
    SanEmail,
    /// The first URI among them.
    SanUri,
}
