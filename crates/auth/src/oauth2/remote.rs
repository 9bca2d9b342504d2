//! The keys of an issuer, fetched from there.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use serde_json::Value;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::keys::KeySet;
use super::settings::OAuth2Settings;
use crate::error::SetupError;
use crate::web::{Address, NoAnswer, Question, WebClient};

/// What an issuer's description lies under, as OpenID Connect Discovery 1.0, section 4 has it.
const DESCRIPTION_PATH: &str = "/.well-known/openid-configuration";

/// Keys that are asked for when they are needed, and kept.
///
/// A set that was good stays in use until there is another one. However many tokens come with keys that are not known,
/// the issuer is asked once for each span of `retry`; those that come meanwhile wait for the same answer.
#[derive(Debug)]
pub(super) struct RemoteKeys {
    retry: Duration,
    refresh: Duration,
    source: Arc<Source>,
    /// When the issuer was asked last; held while it is asked.
    asked: Arc<Mutex<Option<Instant>>>,
}

/// Where keys come from, and what has come from there.
#[derive(Debug)]
struct Source {
    client: WebClient,
    place: KeyPlace,
    latest: RwLock<Latest>,
}

enum KeyPlace {
    Known(Address),
    /// Stands in the description of the issuer.
    Described {
        issuer: String,
        description: Address,
    },
}

/// Without the issuer's own text, in which a password may stand as in an address.
impl fmt::Debug for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, address) = match self {
            Self::Known(address) => ("Known", address),
            Self::Described { description, .. } => ("Described", description),
        };
        f.debug_tuple(name).field(address).finish()
    }
}

/// The newest keys, and whether the issuer answered when it was asked last.
#[derive(Clone, Debug, Default)]
struct Latest {
    keys: Arc<KeySet>,
    fetched: Option<Instant>,
    problem: Option<NoKeys>,
}

/// Why there are no newer keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoKeys {
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    #[error("an answer with status {0}")]
    Status(u16),
    #[error("no JSON Web Key Set with keys for signatures")]
    NoKeySet,
    #[error("no description of the issuer at {0} that names its keys")]
    NoDescription(String),
}

impl RemoteKeys {
    /// None when neither an address nor an issuer is set.
    ///
    /// # Errors
    /// When an address is none, or TLS cannot be set up.
    pub(super) fn new(settings: &OAuth2Settings) -> Result<Option<Self>, SetupError> {
        let place = match (&settings.jwks_url, &settings.issuer) {
            (Some(url), _) => KeyPlace::Known(Address::parse(url)?),
            (None, Some(issuer)) => {
                let description = format!("{}{DESCRIPTION_PATH}", issuer.trim_end_matches('/'));
                KeyPlace::Described {
                    issuer: issuer.clone(),
                    description: Address::parse(&description)?,
                }
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(Self {
            retry: settings.jwks_retry,
            refresh: settings.jwks_refresh,
            source: Arc::new(Source {
                client: WebClient::new("oauth2", &settings.tls, settings.requests.clone())?,
                place,
                latest: RwLock::default(),
            }),
            asked: Arc::default(),
        }))
    }

    /// The keys at `now`, fetched anew when they have become too old, or when a key is `wanted` that is not among them.
    ///
    /// # Errors
    /// When the issuer could not be asked and what is wanted is not among those that are left.
    ///
    /// # Cancel safety
    /// Dropped, it leaves the question to go on: whoever else waits gets its answer.
    pub(super) async fn get(
        &self,
        now: Instant,
        wanted: impl Fn(&KeySet) -> bool,
    ) -> Result<Arc<KeySet>, NoKeys> {
        let is_enough = |latest: &Latest| self.is_fresh(latest, now) && wanted(&latest.keys);
        let has_wanted = |latest: &Latest| wanted(&latest.keys);
        if let Some(keys) = self.keys_if(is_enough) {
            return Ok(keys);
        }
        let asked = match Arc::clone(&self.asked).try_lock_owned() {
            Ok(asked) => asked,
            // Somebody is asking; old keys will do meanwhile.
            Err(_) => match self.keys_if(has_wanted) {
                Some(keys) => return Ok(keys),
                None => Arc::clone(&self.asked).lock_owned().await,
            },
        };
        // Somebody may have fetched them while this one waited.
        if let Some(keys) = self.keys_if(is_enough) {
            return Ok(keys);
        }
        if asked.is_none_or(|asked| now.saturating_duration_since(asked) >= self.retry) {
            self.fetch(now, asked).await;
        } else {
            drop(asked);
        }
        let latest = self.source.latest.read().clone();
        match latest.problem {
            Some(problem) if !wanted(&latest.keys) => Err(problem),
            _ => Ok(latest.keys),
        }
    }

    fn keys_if(&self, is_enough: impl Fn(&Latest) -> bool) -> Option<Arc<KeySet>> {
        let latest = self.source.latest.read();
        is_enough(&latest).then(|| Arc::clone(&latest.keys))
    }

    fn is_fresh(&self, latest: &Latest, now: Instant) -> bool {
        latest
            .fetched
            .is_some_and(|fetched| now.saturating_duration_since(fetched) < self.refresh)
    }

    /// Asks the issuer, whether or not anybody waits for it: else a stranger whose token wants a key could leave in the
    /// middle of it, again and again, and nobody would have any.
    #[expect(
        clippy::disallowed_methods,
        reason = "the keys are for everybody; it ends within the time that its questions have"
    )]
    async fn fetch(&self, now: Instant, mut asked: OwnedMutexGuard<Option<Instant>>) {
        let source = Arc::clone(&self.source);
        let fetched = tokio::spawn(async move {
            *asked = Some(now);
            source.fetch(now).await;
        });
        if let Err(error) = fetched.await {
            tracing::error!(%error, "fetching the issuer's keys has failed");
        }
    }
}

impl Source {
    async fn fetch(&self, now: Instant) {
        let outcome = self.ask().await;
        let mut latest = self.latest.write();
        match outcome {
            Ok(keys) => {
                tracing::debug!(keys = keys.len(), "the issuer's keys have been fetched");
                *latest = Latest {
                    keys: Arc::new(keys),
                    fetched: Some(now),
                    problem: None,
                };
            }
            Err(problem) => {
                // Where there is no answer at all, the client has said so.
                if !matches!(problem, NoKeys::NoAnswer(_)) {
                    tracing::error!(%problem, "the issuer's keys cannot be fetched");
                }
                latest.problem = Some(problem);
            }
        }
    }

    async fn ask(&self) -> Result<KeySet, NoKeys> {
        let address = match &self.place {
            KeyPlace::Known(address) => address.clone(),
            KeyPlace::Described {
                issuer,
                description,
            } => {
                let found = self.read(description).await?;
                let keys = place_of_keys(&found, issuer, description);
                keys.ok_or_else(|| NoKeys::NoDescription(description.to_string()))?
            }
        };
        let keys = KeySet::from_jwks(&self.read(&address).await?);
        keys.filter(|keys| !keys.is_empty()).ok_or(NoKeys::NoKeySet)
    }

    async fn read(&self, address: &Address) -> Result<Vec<u8>, NoKeys> {
        let answer = self
            .client
            .ask(Question::Get(address.url().clone()))
            .await?;
        match answer.status {
            200 => Ok(answer.body),
            status => Err(NoKeys::Status(status)),
        }
    }
}

/// Where a description says that keys are; none if it is somebody else's, or leads from TLS to where there is none.
fn place_of_keys(json: &[u8], issuer: &str, description: &Address) -> Option<Address> {
    let described: Value = serde_json::from_slice(json).ok()?;
    let text = |name: &str| described.get(name)?.as_str();
    let is_of_issuer = text("issuer")?.trim_end_matches('/') == issuer.trim_end_matches('/');
    let address = Address::parse(text("jwks_uri")?).ok()?;
    let keeps_tls = address.url().scheme() == "https" || description.url().scheme() == "http";
    (is_of_issuer && keeps_tls).then_some(address)
}
