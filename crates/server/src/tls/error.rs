//! Why TLS cannot be set up.

use std::io;
use std::path::PathBuf;

use leveret_broker::rustls;
use leveret_broker::rustls::pki_types::pem;

use crate::error::Reason;

/// What is wrong with the files of TLS, or with how they are named.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {}", path.display(), Reason(source))]
    Unreadable { path: PathBuf, source: io::Error },
    /// A file is not PEM, or has not in it what it should.
    #[error("{} has no {what} in PEM that can be read: {source}", path.display())]
    BadPem {
        path: PathBuf,
        what: &'static str,
        source: pem::Error,
    },
    /// There is nothing in it.
    #[error("{} has no certificate in PEM", path.display())]
    NoCertificate { path: PathBuf },
    /// The key is not that of the certificate, or of a kind that is not known.
    #[error("the key in {} does not go with the certificate in {}: {source}", key.display(), certificate.display())]
    BadKey {
        certificate: PathBuf,
        key: PathBuf,
        source: rustls::Error,
    },
    /// The certificate is none.
    #[error("the certificate in {} cannot be read", path.display())]
    BadCertificate { path: PathBuf },
    /// A new certificate is of no use to anybody.
    #[error("the certificate in {} has expired", path.display())]
    Expired { path: PathBuf },
    /// The authorities of clients cannot be used.
    #[error("the authorities in {} cannot be used: {source}", path.display())]
    BadAuthority {
        path: PathBuf,
        source: rustls::Error,
    },
    /// There is nobody who could have signed a client's certificate.
    #[error("the authorities in {} cannot be used: {source}", path.display())]
    NoVerifier {
        path: PathBuf,
        source: rustls::server::VerifierBuilderError,
    },
    /// The library has no such version.
    #[error("no such version of TLS: {0}")]
    Version(rustls::Error),
    /// Settings contradict one another.
    #[error("{0}")]
    Settings(&'static str),
}
