//! Certificates in files, and a client of TLS.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

use super::{PATIENCE, fresh_path};

pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// What a client shows.
pub(crate) struct ClientCertificate {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

/// Who signs certificates, and a directory for what is signed.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    directory: PathBuf,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let directory = fresh_path(name);
        fs::create_dir(&directory).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
            directory,
        }
    }

    pub(crate) fn path(&self, file: &str) -> String {
        self.directory.join(file).to_str().unwrap().to_owned()
    }

    /// Writes its own certificate, for servers that are to believe what it signs.
    pub(crate) fn write_own(&self, file: &str) {
        self.replace(file, &pem("CERTIFICATE", &self.certificate));
    }

    /// A certificate of a user, with its key.
    pub(crate) fn sign_user(&self, name: &str, serial: u64) -> ClientCertificate {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        ClientCertificate {
            certificate: certificate.der().clone(),
            key: key.serialize_der(),
        }
    }

    /// Writes a list of the certificates that are revoked, by their serial numbers. The next one comes at the end of this
    /// year.
    pub(crate) fn write_revoked(&self, file: &str, serials: &[u64], last_year: i32) {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(last_year, 12, 31),
            crl_number: SerialNumber::from(serials.len() as u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).unwrap();
        self.replace(file, &pem("X509 CRL", list.der()));
    }

    /// Writes a certificate for these host names, and its key, to `NAME.pem` and `NAME-key.pem`. It ends with this year.
    pub(crate) fn write(&self, file: &str, names: &[&str], last_year: i32) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(last_year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.replace(
            &format!("{file}.pem"),
            &pem("CERTIFICATE", certificate.der()),
        );
        self.replace(
            &format!("{file}-key.pem"),
            &pem("PRIVATE KEY", &key.serialize_der()),
        );
    }

    /// At once, as whoever renews certificates does.
    pub(crate) fn replace(&self, file: &str, text: &str) {
        let new = self.path(&format!("{file}.new"));
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path(file)).unwrap();
    }

    /// The flags of a server with the certificate of this name.
    pub(crate) fn flags(&self, file: &str) -> [String; 4] {
        [
            "--tls-cert".to_owned(),
            self.path(&format!("{file}.pem")),
            "--tls-key".to_owned(),
            self.path(&format!("{file}-key.pem")),
        ]
    }

    /// Connects to a server that should be called `name`, and has it answer to AMQP's header. The certificate that it
    /// showed.
    pub(crate) fn greet(&self, address: SocketAddr, name: &str) -> Result<Vec<u8>, std::io::Error> {
        let mut stream = self.connect(address, name)?;
        stream.write_all(b"AMQP\0\0\x09\x01")?;
        let mut first = [0];
        stream.read_exact(&mut first)?;
        assert_eq!(first, [1], "a method frame");
        let shown = stream.conn.peer_certificates().unwrap();
        Ok(shown[0].to_vec())
    }

    pub(crate) fn connect(
        &self,
        address: SocketAddr,
        name: &str,
    ) -> Result<Stream, std::io::Error> {
        self.connect_as(None, address, name)
    }

    /// With a certificate, if there is one to show.
    pub(crate) fn connect_as(
        &self,
        client: Option<&ClientCertificate>,
        address: SocketAddr,
        name: &str,
    ) -> Result<Stream, std::io::Error> {
        connect_with(&self.client(client, ALL_VERSIONS), address, name)
    }

    /// A client that believes this authority, and remembers what a server gives it to resume by.
    pub(crate) fn client(
        &self,
        shown: Option<&ClientCertificate>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match shown {
            None => config.with_no_client_auth(),
            Some(client) => {
                let key = PrivateKeyDer::try_from(client.key.clone()).unwrap();
                let chain = vec![client.certificate.clone()];
                config.with_client_auth_cert(chain, key).unwrap()
            }
        })
    }
}

/// Connects to a server that should be called `name`.
pub(crate) fn connect_with(
    client: &Arc<ClientConfig>,
    address: SocketAddr,
    name: &str,
) -> Result<Stream, std::io::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(client, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

fn pem(what: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {what}-----\n{}\n-----END {what}-----\n",
        lines.join("\n")
    )
}
