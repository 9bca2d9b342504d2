//! Certificates in files, and a client of TLS.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{PATIENCE, fresh_path};

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
    ) -> Result<StreamOwned<ClientConnection, TcpStream>, std::io::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let client = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut stream = StreamOwned::new(client, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }
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
