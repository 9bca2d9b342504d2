//! TLS of the server: its files, who may come by a certificate, and how all of that changes while it runs.

mod certificate_user;
mod choices;
mod error;
mod expiry;
mod files;
mod keeper;
mod login;
mod names;
mod settings;

pub(crate) use choices::{ClientCertificates, LoginFrom, TlsVersion};
pub(crate) use error::TlsError;
pub(crate) use keeper::Keeper;
pub(crate) use login::CertificateLogin;
pub(crate) use settings::{CertificateEntry, TlsArgs, TlsSettings};
