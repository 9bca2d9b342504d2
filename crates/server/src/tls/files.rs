//! From files to a configuration.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use leveret_broker::rustls::crypto::{CryptoProvider, aws_lc_rs};
use leveret_broker::rustls::pki_types::pem::{self, PemObject};
use leveret_broker::rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
};
use leveret_broker::rustls::server::{
    NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier,
};
use leveret_broker::rustls::sign::CertifiedKey;
use leveret_broker::rustls::{RootCertStore, ServerConfig};
use zeroize::Zeroizing;

use super::error::TlsError;
use super::expiry::Expiry;
use super::names::Names;
use super::settings::TlsSettings;

/// What the files come to.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    /// When each of them ends, and lists of what is revoked.
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
        let clients = settings.clients()?;
        let verifies = clients.is_some();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some((authorities, is_required)) => {
                let roots = Arc::new(read_authorities(authorities)?);
                let revoked = match &settings.client_crl {
                    None => Vec::new(),
                    Some(path) => read_revoked(path, &mut certificates)?,
                };
                // With a list at all, each authority has to have one; whoever's has none is refused.
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots, provider).with_crls(revoked);
                let verifier = if is_required {
                    verifier
                } else {
                    verifier.allow_unauthenticated()
                };
                let verifier = verifier.build().map_err(|source| TlsError::NoVerifier {
                    path: match (&source, &settings.client_crl) {
                        (VerifierBuilderError::InvalidCrl(_), Some(lists)) => lists.clone(),
                        _ => authorities.to_owned(),
                    },
                    source,
                })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(names));
        if verifies {
            forbid_resumption(&mut config);
        }
        Ok(Some(Self {
            config: Arc::new(config),
            certificates,
        }))
    }
}

/// A client that resumes has the certificate that it showed before, which nobody verifies again: it would be let in by one
/// that has expired since.
fn forbid_resumption(config: &mut ServerConfig) {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
}

fn read_certified(
    cert: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = read_certificates(cert)?;
    let pem = Zeroizing::new(read(key)?);
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

fn read_revoked(
    path: &Path,
    expiries: &mut Vec<Expiry>,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|source| bad_pem(path, "list of revoked certificates", source))?;
    if found.is_empty() {
        return Err(TlsError::NoRevocationList {
            path: path.to_owned(),
        });
    }
    for list in &found {
        expiries.extend(Expiry::of_list(path, list)?);
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
