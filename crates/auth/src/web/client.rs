//! A client of one service.

use std::fmt;
use std::future::Future;
use std::time::Duration;

#[cfg(feature = "http")]
use bytes::Bytes;
#[cfg(feature = "http")]
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, Url};
use tokio::sync::{Semaphore, SemaphorePermit};
#[cfg(feature = "http")]
use zeroize::Zeroizing;

use super::address::Place;
use super::limits::RequestLimits;
use crate::error::SetupError;
use crate::outage::Outage;
use crate::tls::TlsClient;

/// The wait before a connection is tried for the second time; it doubles each time.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// How long a connection is kept that nobody uses.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Asks within [`RequestLimits`], over connections that are kept; follows no redirects, uses no proxy, and tells the log
/// of a service that does not answer.
pub(crate) struct WebClient {
    /// What the service is to the log.
    name: &'static str,
    client: Client,
    limits: RequestLimits,
    turns: Semaphore,
    /// Half of the turns, for questions that strangers can have asked.
    #[cfg(feature = "http")]
    login_turns: Semaphore,
    outage: Outage,
}

/// What is sent.
pub(crate) enum Question {
    Get(Url),
    /// A form, with its fields already encoded. Copies refer to the same bytes.
    #[cfg(feature = "http")]
    Post(Url, Bytes),
}

/// What came back, of whatever status.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl WebClient {
    /// # Errors
    /// When the files of TLS cannot be used, or a limit is zero.
    pub(crate) fn new(
        name: &'static str,
        tls: &TlsClient,
        limits: RequestLimits,
    ) -> Result<Self, SetupError> {
        if limits.concurrency_max == 0
            || limits.answer_size_max == 0
            || limits.connect_timeout.is_zero()
            || limits.request_timeout.is_zero()
        {
            return Err(SetupError::new("a limit of zero lets no question through"));
        }
        let client = Client::builder()
            .tls_backend_preconfigured(tls.config()?)
            .connect_timeout(limits.connect_timeout)
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(limits.concurrency_max)
            // Passwords go where they were told to go, and nowhere else.
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .build()
            .map_err(|error| SetupError::new(format!("no HTTP client: {error}")))?;
        Ok(Self {
            name,
            client,
            turns: Semaphore::new(limits.concurrency_max.min(Semaphore::MAX_PERMITS)),
            #[cfg(feature = "http")]
            login_turns: Semaphore::new(
                (limits.concurrency_max / 2).clamp(1, Semaphore::MAX_PERMITS),
            ),
            limits,
            outage: Outage::default(),
        })
    }

    /// The answer of the service, whatever it says.
    ///
    /// # Errors
    /// Why there is none. That is logged as well, but not each time while it lasts.
    ///
    /// # Cancel safety
    /// Dropped, it gives its turn and its connection back; the service may have been asked.
    pub(crate) async fn ask(&self, question: Question) -> Result<Answer, NoAnswer> {
        let place = Place::of(question.url());
        self.within_limits(place, self.ask_in_turn(question)).await
    }

    /// The same for the login of somebody who may be anybody: however many of them there are, half of the turns is left to
    /// those who are in.
    #[cfg(feature = "http")]
    pub(crate) async fn ask_at_login(&self, question: Question) -> Result<Answer, NoAnswer> {
        let place = Place::of(question.url());
        let asked = async {
            let _turn = turn(&self.login_turns).await?;
            self.ask_in_turn(question).await
        };
        self.within_limits(place, asked).await
    }

    async fn within_limits(
        &self,
        place: Place,
        asked: impl Future<Output = Result<Answer, NoAnswer>>,
    ) -> Result<Answer, NoAnswer> {
        let within = tokio::time::timeout(self.limits.request_timeout, asked);
        let outcome = within.await.unwrap_or(Err(NoAnswer::TooSlow {
            limit: self.limits.request_timeout,
        }));
        self.outage.note(self.name, &place, outcome.as_ref().err());
        outcome
    }

    async fn ask_in_turn(&self, question: Question) -> Result<Answer, NoAnswer> {
        let _turn = turn(&self.turns).await?;
        let response = retry(self.limits.connect_retries, || {
            question.request(&self.client).send()
        });
        let response = response.await.map_err(|error| NoAnswer::of(&error))?;
        self.read(response).await
    }

    async fn read(&self, mut response: Response) -> Result<Answer, NoAnswer> {
        let limit = self.limits.answer_size_max;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        loop {
            let chunk = response.chunk().await;
            let Some(chunk) = chunk.map_err(|error| NoAnswer::of(&error))? else {
                return Ok(Answer { status, body });
            };
            if chunk.len() > limit - body.len() {
                return Err(NoAnswer::TooLarge { limit });
            }
            body.extend_from_slice(&chunk);
        }
    }
}

impl fmt::Debug for WebClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebClient")
            .field("name", &self.name)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Waits for a turn, which ends when what comes back is dropped.
async fn turn(turns: &Semaphore) -> Result<SemaphorePermit<'_>, NoAnswer> {
    let turn = turns.acquire().await;
    turn.map_err(|_| NoAnswer::Broken("the client is closed".to_owned()))
}

/// Calls `connect` again when there was no connection, ever later.
async fn retry<F>(retries: u32, connect: impl Fn() -> F) -> reqwest::Result<Response>
where
    F: Future<Output = reqwest::Result<Response>>,
{
    let mut wait = RETRY_AFTER;
    for _ in 0..retries {
        match connect().await {
            Err(error) if error.is_connect() => {}
            outcome => return outcome,
        }
        tokio::time::sleep(wait).await;
        wait = wait.saturating_mul(2);
    }
    connect().await
}

impl Question {
    /// A question by POST with these encoded fields, which are wiped when they have been sent.
    #[cfg(feature = "http")]
    pub(crate) fn post(url: Url, form: Zeroizing<Vec<u8>>) -> Self {
        Self::Post(url, Bytes::from_owner(form))
    }

    fn url(&self) -> &Url {
        match self {
            Self::Get(url) => url,
            #[cfg(feature = "http")]
            Self::Post(url, _) => url,
        }
    }

    /// A user and a password in the address become basic authentication.
    fn request(&self, client: &Client) -> RequestBuilder {
        match self {
            Self::Get(url) => client.get(url.clone()),
            #[cfg(feature = "http")]
            Self::Post(url, form) => {
                let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
                let request = client.post(url.clone()).header(CONTENT_TYPE, kind);
                request.body(form.clone())
            }
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("no connection: {0}")]
    NoConnection(String),
    #[error("no answer within {} ms", limit.as_millis())]
    TooSlow { limit: Duration },
    #[error("an answer of more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the answer broke off or is not HTTP: {0}")]
    Broken(String),
}

impl NoAnswer {
    /// In words without the address, which may have a password in it.
    fn of(error: &reqwest::Error) -> Self {
        let mut source = std::error::Error::source(error);
        let mut words = Vec::new();
        while let Some(error) = source {
            let text = error.to_string();
            // Some repeat what caused them.
            if words
                .last()
                .is_none_or(|last: &String| !last.contains(&text))
            {
                words.push(text);
            }
            source = error.source();
        }
        let words = words.join(": ");
        if error.is_connect() {
            Self::NoConnection(words)
        } else {
            Self::Broken(words)
        }
    }
}
