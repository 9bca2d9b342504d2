//! TLS towards the services that are asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

use zeroize::Zeroizing;

use crate::error::SetupError;

/// How TLS is spoken with a service. Its certificate is always verified; versions are 1.2 and 1.3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsClient {
    /// Who may have signed the service's certificate, a file in PEM; without one, whom the operating system trusts.
    pub ca: Option<PathBuf>,
    /// The certificate that we show, followed by those that sign it, a file in PEM; goes with `key`.
    pub cert: Option<PathBuf>,
    /// Its private key, a file in PEM.
    pub key: Option<PathBuf>,
}

impl TlsClient {
    /// Reads the files, which are not read again later.
    ///
    /// # Errors
    /// When a file cannot be read or has not in it what it should, and for a certificate without key or the reverse.
    pub(crate) fn config(&self) -> Result<ClientConfig, SetupError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| SetupError::new(format!("no such version of TLS: {error}")))?;
        let builder = match &self.ca {
            Some(path) => builder.with_root_certificates(read_authorities(path)?),
            None => builder.with_platform_verifier().map_err(|error| {
                SetupError::new(format!(
                    "cannot tell which authorities the system trusts: {error}"
                ))
            })?,
        };
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let chain = read_certificates(cert)?;
                let pem = Zeroizing::new(read(key)?);
                let private_key = PrivateKeyDer::from_pem_slice(&pem);
                let private_key =
                    private_key.map_err(|_| problem(key, "has no private key in PEM"))?;
                builder
                    .with_client_auth_cert(chain, private_key)
                    .map_err(|error| {
                        let what = format!(
                            "does not go with the certificate in {}: {error}",
                            cert.display()
                        );
                        problem(key, &what)
                    })
            }
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(_), None) => Err(SetupError::new("a client certificate needs its key")),
            (None, Some(_)) => Err(SetupError::new("a key needs its client certificate")),
        }
    }
}

fn read_authorities(path: &Path) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    for authority in read_certificates(path)? {
        let added = roots.add(authority);
        added.map_err(|error| problem(path, &format!("cannot be used: {error}")))?;
    }
    Ok(roots)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(problem(path, "has no certificate in PEM")),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, SetupError> {
    fs::read(path).map_err(|error| problem(path, &format!("cannot be read: {error}")))
}

fn problem(path: &Path, what: &str) -> SetupError {
    SetupError::new(format!("{} {what}", path.display()))
}
