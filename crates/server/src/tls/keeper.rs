//! TLS while the server runs: new files are taken, and the end of certificates is told of.

use std::convert::Infallible;
use std::fs;
use std::future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use leveret_broker::Broker;
use leveret_broker::rustls::ServerConfig;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::error::TlsError;
use super::expiry::{self, Expiry, Kind};
use super::files::Loaded;
use super::settings::TlsSettings;
use crate::signals::Hangups;

/// How often the files are looked at. Some looks at the metadata of files, a few times a minute, are nothing; and who
/// replaces a certificate does not wait for it.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The files of TLS, and what was made of them last.
#[derive(Debug)]
pub(crate) struct Keeper {
    settings: TlsSettings,
    config: Arc<ServerConfig>,
    certificates: watch::Sender<Vec<Expiry>>,
    /// What the files looked like when they were read last, successfully or not.
    seen: Vec<Look>,
}

/// The certificates that are in use at each moment, and lists of what is revoked; none without TLS.
pub(crate) type Certificates = watch::Receiver<Vec<Expiry>>;

/// By what a file can be told from its successor; none while there is no file.
type Look = Option<(u64, Option<SystemTime>, u64)>;

impl Keeper {
    /// Reads the files for the first time. None without TLS.
    ///
    /// # Errors
    /// When something is wrong with one of them.
    pub(crate) fn load(settings: &TlsSettings) -> Result<Option<Self>, TlsError> {
        let seen = look(settings);
        let Some(loaded) = Loaded::read(settings)? else {
            return Ok(None);
        };
        let keeper = Self {
            settings: settings.clone(),
            config: loaded.config,
            certificates: watch::Sender::new(loaded.certificates),
            seen,
        };
        keeper.tell_of_certificates();
        Ok(Some(keeper))
    }

    /// The configuration for the broker's start.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// What is in use, from now on.
    pub(crate) fn certificates(keeper: Option<&Self>) -> Certificates {
        match keeper {
            Some(keeper) => keeper.certificates.subscribe(),
            None => watch::Sender::default().subscribe(),
        }
    }

    /// Takes new files when SIGHUP says so, or when they are seen to have changed. Never ends; without TLS it waits for
    /// nothing.
    pub(crate) async fn run(keeper: Option<Self>, broker: &Broker) -> io::Result<Infallible> {
        let Some(mut keeper) = keeper else {
            return future::pending().await;
        };
        let mut hangups = Hangups::catch()?;
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = hangups.next() => keeper.reload("SIGHUP", broker),
                _ = looks.tick() => {
                    let now = expiry::now();
                    keeper.each(|certificate| certificate.warn(now));
                    if look(&keeper.settings) != keeper.seen {
                        keeper.reload("a file has changed", broker);
                    }
                }
            }
        }
    }

    /// Reads the files anew. What is wrong with them is said, and then nothing changes.
    fn reload(&mut self, why: &str, broker: &Broker) {
        // Looked at first: what changes while they are read is seen the next time.
        self.seen = look(&self.settings);
        match self.read_anew() {
            Ok(loaded) => {
                broker.set_tls(loaded.config);
                self.certificates.send_replace(loaded.certificates);
                tracing::info!(why, "TLS certificates have been read anew");
                self.tell_of_certificates();
            }
            Err(error) => {
                tracing::error!(why, %error, "cannot use the new TLS files; the old ones stay in use");
            }
        }
    }

    fn read_anew(&self) -> Result<Loaded, TlsError> {
        let loaded = Loaded::read(&self.settings)?;
        let loaded = loaded.ok_or(TlsError::Settings("there are no files of TLS"))?;
        let now = expiry::now();
        let expired = |certificate: &&Expiry| {
            certificate.kind() == Kind::Certificate && certificate.days_left(now) < 0
        };
        match loaded.certificates.iter().find(expired) {
            Some(certificate) => Err(TlsError::Expired {
                path: certificate.path().to_owned(),
            }),
            None => Ok(loaded),
        }
    }

    fn tell_of_certificates(&self) {
        let now = expiry::now();
        self.each(|certificate| {
            let (path, days) = (certificate.path().display(), certificate.days_left(now));
            match certificate.kind() {
                Kind::Certificate => {
                    tracing::info!(%path, days, "TLS certificate in use, with so many days left");
                }
                Kind::RevocationList => {
                    tracing::info!(%path, days, "list of revoked certificates in use, with so many days left");
                }
            }
            certificate.warn(now);
        });
    }

    fn each(&self, act: impl FnMut(&mut Expiry)) {
        self.certificates
            .send_modify(|certificates| certificates.iter_mut().for_each(act));
    }
}

/// Follows symbolic links, so that it sees what Kubernetes and certbot exchange.
fn look(settings: &TlsSettings) -> Vec<Look> {
    let look = |path| {
        let found = fs::metadata(path).ok()?;
        Some((found.len(), found.modified().ok(), number_of(&found)))
    };
    settings.files().map(look).collect()
}

#[cfg(unix)]
fn number_of(found: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(found)
}

#[cfg(not(unix))]
fn number_of(_: &fs::Metadata) -> u64 {
    0
}
