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

pub(crate) use certificate_user::Shown;
pub(crate) use choices::{ClientCertificates, LoginFrom, TlsVersion};
pub(crate) use error::TlsError;
pub(crate) use expiry::{Expiry, now};
pub(crate) use keeper::{Certificates, Keeper};
pub(crate) use login::{CertificateLogin, CertificateNames};
pub(crate) use settings::{CertificateEntry, TlsArgs, TlsSettings};
