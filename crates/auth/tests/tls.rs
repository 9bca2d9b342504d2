//! Services are asked over TLS: theirs is the certificate that is expected, and ours is shown if there is one.
#![cfg(feature = "http")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use leveret_auth::{Http, HttpSettings, TlsClient};
use leveret_broker::LoginRefused;
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use support::log_in;
use support::pem::pem;
use support::service::in_background;

/// Who signs certificates, and a directory for them.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    directory: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&directory).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(
            directory.join("ca.pem"),
            pem("CERTIFICATE", certificate.der()),
        )
        .unwrap();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
            directory,
        }
    }

    fn sign(&self, name: &str) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A service called `name` that allows everything to those who show a certificate of ours.
    fn serve(&self, name: &str) -> SocketAddr {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let (certificate, key) = self.sign(name);
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            );
        let config = Arc::new(config.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        in_background(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                // Whoever is not let in has its error at the other end.
                let _ = answer(StreamOwned::new(connection, stream.unwrap()));
            }
        });
        address
    }
}

fn answer(stream: impl std::io::Read + Write) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
    }
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nallow";
    stream.get_mut().write_all(answer)?;
    stream.get_mut().flush()
}

async fn ask(address: SocketAddr, tls: TlsClient) -> Result<(), LoginRefused> {
    let url = |path: &str| format!("https://localhost:{}{path}", address.port());
    let mut settings = HttpSettings::new(url("/u"), url("/v"), url("/r"), url("/t"));
    settings.tls = tls;
    settings.requests.connect_retries = 0;
    let backend = Http::new(settings).unwrap();
    log_in(&backend, "ann", "secret").await.map(drop)
}

#[tokio::test]
async fn both_sides_know_whom_they_talk_to() {
    let ours = Authority::new("tls-ours");
    let address = ours.serve("localhost");
    let (certificate, key) = ours.sign("leveret");
    let (cert_path, key_path) = (
        ours.directory.join("client.pem"),
        ours.directory.join("client-key.pem"),
    );
    fs::write(&cert_path, pem("CERTIFICATE", certificate.der())).unwrap();
    fs::write(&key_path, pem("PRIVATE KEY", key.serialized_der())).unwrap();
    let mut tls = TlsClient::default();
    tls.ca = Some(ours.directory.join("ca.pem"));
    tls.cert = Some(cert_path);
    tls.key = Some(key_path);
    ask(address, tls.clone()).await.unwrap();

    let check = async |address, tls| {
        let refused = ask(address, tls).await.unwrap_err();
        assert!(refused.is_unavailable(), "{refused}");
    };
    let mut nameless = tls.clone();
    (nameless.cert, nameless.key) = (None, None);
    check(address, nameless).await;
    // The system does not know our authority, and another one has not signed this certificate.
    let mut by_the_system = tls.clone();
    by_the_system.ca = None;
    check(address, by_the_system).await;
    let theirs = Authority::new("tls-theirs");
    let mut by_others = tls.clone();
    by_others.ca = Some(theirs.directory.join("ca.pem"));
    check(address, by_others).await;
    check(ours.serve("elsewhere"), tls).await;
}
