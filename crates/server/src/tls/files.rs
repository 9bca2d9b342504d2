//! From files to a configuration.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use leveret_broker::rustls::crypto::{CryptoProvider, aws_lc_rs};
use leveret_broker::rustls::pki_types::pem::{self, PemObject};
use leveret_broker::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use leveret_broker::rustls::server::WebPkiClientVerifier;
use leveret_broker::rustls::sign::CertifiedKey;
use leveret_broker::rustls::{RootCertStore, ServerConfig};

use super::error::TlsError;
use super::expiry::Expiry;
use super::names::Names;
use super::settings::TlsSettings;

/// What the files come to.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    pub(super) certificates: Vec<Expiry>,
}

impl Loaded {
    /// Reads all files. None without TLS.
    ///
    /// # Errors
    /// For the first thing that is wrong.
    pub(super) fn read(settings: &TlsSettings) -> Result<Option<Self>, TlsError> {
        let Some((cert, key)) = settings.main_files()? else {
            return Ok(None);
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut certificates = Vec::new();
        let mut read = |cert: &Path, key: &Path| {
            let certified = read_certified(cert, key, &provider)?;
            if let Some(own) = certified.cert.first() {
                certificates.push(Expiry::of(cert, own)?);
            }
            Ok(certified)
        };
        let mut names = Names::new(read(cert, key)?);
        for entry in &settings.certificates {
            names.add(&entry.name, read(&entry.cert, &entry.key)?);
        }
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(settings.min_version.spoken())
            .map_err(TlsError::Version)?;
        let builder = match settings.clients()? {
            None => builder.with_no_client_auth(),
            Some((authorities, is_required)) => {
                let roots = Arc::new(read_authorities(authorities)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = if is_required {
                    verifier
                } else {
                    verifier.allow_unauthenticated()
                };
                let verifier = verifier.build().map_err(|source| TlsError::NoVerifier {
                    path: authorities.to_owned(),
                    source,
                })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        Ok(Some(Self {
            config: Arc::new(builder.with_cert_resolver(Arc::new(names))),
            certificates,
        }))
    }
}

fn read_certified(
    cert: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = read_certificates(cert)?;
    let pem = read(key)?;
    let found = PrivateKeyDer::from_pem_slice(&pem);
    let private_key = found.map_err(|source| bad_pem(key, "private key", source))?;
    CertifiedKey::from_der(chain, private_key, provider).map_err(|source| TlsError::BadKey {
        certificate: cert.to_owned(),
        key: key.to_owned(),
        source,
    })
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|source| bad_pem(path, "certificate", source))?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(found)
}

fn read_authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in read_certificates(path)? {
        let added = roots.add(authority);
        added.map_err(|source| TlsError::BadAuthority {
            path: path.to_owned(),
            source,
        })?;
    }
    Ok(roots)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

fn bad_pem(path: &Path, what: &'static str, source: pem::Error) -> TlsError {
    TlsError::BadPem {
        path: path.to_owned(),
        what,
        source,
    }
}
