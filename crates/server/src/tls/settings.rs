//! The settings of TLS, and the flags for them.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use super::choices::{ClientCertificates, LoginFrom, TlsVersion};
use super::error::TlsError;
use crate::address::ListenAddress;

/// The flags of TLS.
//
// The comments on the fields are the lines of `--help`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct TlsArgs {
    /// Where to listen for AMQP over TLS
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "LEVERET_AMQPS",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub(crate) amqps: Vec<ListenAddress>,

    /// Where to listen for STOMP over TLS
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "LEVERET_STOMPS",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub(crate) stomps: Vec<ListenAddress>,

    /// Where to listen for WebSockets over TLS
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "LEVERET_STOMP_WSS",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub(crate) stomp_wss: Vec<ListenAddress>,

    /// The server's certificate and those that sign it, PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "LEVERET_TLS_CERT",
        hide_env_values = true
    )]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Its private key, PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "LEVERET_TLS_KEY",
        hide_env_values = true
    )]
    pub(crate) tls_key: Option<PathBuf>,

    /// Who signs certificates of clients, PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "LEVERET_TLS_CLIENT_CA",
        hide_env_values = true
    )]
    pub(crate) tls_client_ca: Option<PathBuf>,

    /// Certificates of clients: off, optional, required
    #[arg(
        long,
        value_name = "WHETHER",
        env = "LEVERET_TLS_CLIENT_CERT",
        hide_env_values = true,
        hide_possible_values = true
    )]
    pub(crate) tls_client_cert: Option<ClientCertificates>,

    /// The oldest version: 1.2 or 1.3
    #[arg(
        long,
        value_name = "VERSION",
        env = "LEVERET_TLS_MIN_VERSION",
        hide_env_values = true,
        hide_possible_values = true
    )]
    pub(crate) tls_min_version: Option<TlsVersion>,

    /// The user's name in a certificate: common-name, ...
    #[arg(
        long,
        value_name = "WHERE",
        env = "LEVERET_TLS_LOGIN_FROM",
        hide_env_values = true,
        hide_possible_values = true
    )]
    pub(crate) tls_login_from: Option<LoginFrom>,
}

/// A certificate for clients that ask for a name (SNI); it stands in the configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CertificateEntry {
    /// A host name, whose first label may be `*`.
    pub(crate) name: String,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// How TLS is spoken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) client_ca: Option<PathBuf>,
    pub(crate) client_cert: Option<ClientCertificates>,
    pub(crate) min_version: TlsVersion,
    pub(crate) login_from: LoginFrom,
    /// For names that clients ask for, beside the one for all others.
    pub(crate) certificates: Vec<CertificateEntry>,
    /// Clients of STOMP that give no name are who their certificate says.
    pub(crate) stomp_cert_login: bool,
}

impl TlsSettings {
    /// The files of the certificate for everybody; none without TLS.
    ///
    /// # Errors
    /// When something is set that has no meaning without something else.
    pub(crate) fn main_files(&self) -> Result<Option<(&Path, &Path)>, TlsError> {
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Ok(Some((cert, key))),
            (Some(_), None) => Err(TlsError::Settings("tls-cert needs tls-key")),
            (None, Some(_)) => Err(TlsError::Settings("tls-key needs tls-cert")),
            (None, None) if self.client_ca.is_some() => {
                Err(TlsError::Settings("tls-client-ca needs tls-cert"))
            }
            (None, None) if !self.certificates.is_empty() => Err(TlsError::Settings(
                "certificates for names need one for all others: tls-cert",
            )),
            (None, None) => Ok(None),
        }
    }

    /// Who signs certificates of clients, and whether they have to have one; none when they are not asked.
    ///
    /// # Errors
    /// When one is set that has no meaning without the other.
    pub(crate) fn clients(&self) -> Result<Option<(&Path, bool)>, TlsError> {
        use ClientCertificates::{Off, Optional, Required};
        match (&self.client_ca, self.client_cert) {
            (None, None | Some(Off)) => Ok(None),
            (None, Some(_)) => Err(TlsError::Settings(
                "tls-client-cert needs to know who signs them: tls-client-ca",
            )),
            (Some(_), Some(Off)) => Err(TlsError::Settings(
                "tls-client-ca has no meaning when tls-client-cert is off",
            )),
            (Some(path), Some(Optional)) => Ok(Some((path, false))),
            (Some(path), None | Some(Required)) => Ok(Some((path, true))),
        }
    }

    /// Every file that is read.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let named = self
            .certificates
            .iter()
            .flat_map(|entry| [&entry.cert, &entry.key]);
        let own = [&self.cert, &self.key, &self.client_ca];
        own.into_iter().flatten().chain(named).map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(settings: &TlsSettings, want: &str) {
        let problem = settings.main_files().map(drop).and_then(|()| {
            let clients = settings.clients();
            clients.map(drop)
        });
        assert_eq!(problem.unwrap_err().to_string(), want);
    }

    #[test]
    fn what_has_no_meaning_alone_is_refused() {
        let mut settings = TlsSettings {
            cert: Some("cert".into()),
            ..TlsSettings::default()
        };
        check(&settings, "tls-cert needs tls-key");
        settings.key = settings.cert.take();
        check(&settings, "tls-key needs tls-cert");
        settings.cert = settings.key.clone();
        settings.client_cert = Some(ClientCertificates::Required);
        check(
            &settings,
            "tls-client-cert needs to know who signs them: tls-client-ca",
        );
        settings.client_ca = Some("ca".into());
        settings.client_cert = Some(ClientCertificates::Off);
        check(
            &settings,
            "tls-client-ca has no meaning when tls-client-cert is off",
        );
        (settings.cert, settings.key) = (None, None);
        check(&settings, "tls-client-ca needs tls-cert");
    }

    #[test]
    fn who_names_an_authority_means_it() {
        let settings = TlsSettings {
            client_ca: Some("ca".into()),
            ..TlsSettings::default()
        };
        assert_eq!(settings.clients().unwrap(), Some((Path::new("ca"), true)));
    }
}
