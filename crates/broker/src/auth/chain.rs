//! Several authenticators, asked one after the other.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::outage::Outage;
use super::{
    Authenticator, Authorizer, Identity, Login, LoginFuture, LoginRefused, Question, RenewFuture,
    TlsPeer, VerdictFuture,
};
use crate::access::Tag;

/// What [`AuthorizerSource::authorizer_for`] returns.
pub type AuthorizationFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Authorization, LoginRefused>> + Send + 'a>>;

/// Gives the rights of users that somebody else has authenticated; see [`AuthChain::with_authorization`].
pub trait AuthorizerSource: Send + Sync + 'static {
    /// What the user of this identity may do. `login` is what the client has shown, for those who need more than a name.
    ///
    /// Called within the [`Authenticator::authenticate`] of an [`AuthChain`], under the same conditions.
    ///
    /// # Errors
    /// When this user is not known here, which is a refusal of the login, or that could not be found out.
    fn authorizer_for<'a>(
        &'a self,
        identity: &'a Identity,
        login: &'a Login,
    ) -> AuthorizationFuture<'a>;
}

/// What an [`AuthorizerSource`] has for a user.
#[derive(Clone)]
#[non_exhaustive]
pub struct Authorization {
    /// Says what the user may do.
    pub authorizer: Arc<dyn Authorizer>,
    /// Tags beside those that whoever authenticated the user has given.
    pub tags: Vec<Tag>,
}

impl Authorization {
    /// One without tags.
    #[must_use]
    pub fn new(authorizer: Arc<dyn Authorizer>) -> Self {
        Self {
            authorizer,
            tags: Vec::new(),
        }
    }

    /// With these tags.
    #[must_use]
    pub fn with_tags(self, tags: Vec<Tag>) -> Self {
        Self { tags, ..self }
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization")
            .field("tags", &self.tags)
            .finish_non_exhaustive()
    }
}

/// Several [`Authenticator`]s, asked one after the other until one lets the client in, as RabbitMQ's `auth_backends` are.
///
/// One that refuses a login, and one that cannot be asked, leave it to the next. When nobody lets the client in, the log
/// says what each of them had to say, under the names that they have here. That one cannot be asked is an error in the log
/// when it begins, and how many logins it has concerned is told when it is over. An empty chain lets nobody in.
///
/// ```
/// use leveret_broker::{AuthChain, Broker, UserTable};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), leveret_broker::Error> {
/// let staff = UserTable::new().with_user("ann", "7hg2");
/// let devices = UserTable::new().with_user("sensor-1", "k0x9");
/// let chain = AuthChain::new().with("staff", staff).with("devices", devices);
/// let broker = Broker::builder().authenticator(chain).start().await?;
/// # drop(broker);
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct AuthChain {
    links: Vec<Link>,
}

struct Link {
    backend: Backend,
    authenticator: Arc<dyn Authenticator>,
    rights: Rights,
}

/// Somebody who is asked, as the log has it.
struct Backend {
    name: Arc<str>,
    outage: Outage,
}

impl Backend {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            outage: Outage::default(),
        }
    }

    /// Notes what became of a question. Gives the answer back.
    fn note<T>(&self, answer: Result<T, LoginRefused>) -> Result<T, LoginRefused> {
        self.outage.note(&self.name, answer.as_ref().err());
        answer
    }
}

/// Who says what a user may do.
enum Rights {
    /// Whatever the identity says.
    OfIdentity,
    OfAccount,
    Of(Backend, Arc<dyn AuthorizerSource>),
}

impl AuthChain {
    /// A chain that lets nobody in.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks this one after those before it. What its users may do is what their identities say.
    #[must_use]
    pub fn with(self, name: impl Into<Arc<str>>, authenticator: impl Authenticator) -> Self {
        self.and(name.into(), authenticator, Rights::OfIdentity)
    }

    /// The same, with the rights of the broker's [`Accounts`](crate::Accounts) for its users, whatever their identities say
    /// (`auth_backends.1.authz = internal`).
    #[must_use]
    pub fn with_accounts(
        self,
        name: impl Into<Arc<str>>,
        authenticator: impl Authenticator,
    ) -> Self {
        self.and(name.into(), authenticator, Rights::OfAccount)
    }

    /// The same, with what `source`, called `source_name` in the log, says of the rights of its users
    /// (`auth_backends.1.authn = internal`, `auth_backends.1.authz = http`). A user of whom the source knows nothing is not
    /// let in by this link; the next is asked. Tags of both count. The identity expires when the authenticator has said so,
    /// and its [`Authorizer::renew`] is asked about new secrets, if it has an authorizer of its own.
    #[must_use]
    pub fn with_authorization(
        self,
        name: impl Into<Arc<str>>,
        authenticator: impl Authenticator,
        source_name: impl Into<Arc<str>>,
        source: impl AuthorizerSource,
    ) -> Self {
        let rights = Rights::Of(Backend::new(source_name.into()), Arc::new(source));
        self.and(name.into(), authenticator, rights)
    }

    fn and(mut self, name: Arc<str>, authenticator: impl Authenticator, rights: Rights) -> Self {
        self.links.push(Link {
            backend: Backend::new(name),
            authenticator: Arc::new(authenticator),
            rights,
        });
        self
    }

    async fn ask(&self, login: Login) -> Result<Identity, LoginRefused> {
        let mut refusals = Refusals::default();
        for link in &self.links {
            let answer = link.authenticator.authenticate(login.clone()).await;
            let (backend, refused) = match link.backend.note(answer) {
                Ok(identity) => match &link.rights {
                    Rights::OfIdentity => return Ok(identity),
                    Rights::OfAccount => return Ok(identity.with_rights_of_account()),
                    Rights::Of(backend, source) => {
                        let answer = source.authorizer_for(&identity, &login).await;
                        match backend.note(answer) {
                            Ok(authorization) => return Ok(split(identity, authorization)),
                            Err(refused) => (backend, refused),
                        }
                    }
                },
                Err(refused) => (&link.backend, refused),
            };
            refusals.add(&backend.name, &refused);
        }
        Err(refusals.into())
    }
}

impl fmt::Debug for AuthChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.links.iter().map(|link| &link.backend.name);
        f.debug_list().entries(names).finish()
    }
}

impl Authenticator for AuthChain {
    fn authenticate(&self, login: Login) -> LoginFuture<'_> {
        Box::pin(self.ask(login))
    }

    /// That of the first who has a name for it.
    fn certificate_user(&self, peer: &TlsPeer) -> Option<String> {
        let mut links = self.links.iter();
        links.find_map(|link| link.authenticator.certificate_user(peer))
    }
}

/// What each link has said.
#[derive(Default)]
struct Refusals {
    text: String,
    /// Somebody was asked, and said no.
    said_no: bool,
}

impl Refusals {
    fn add(&mut self, name: &str, refused: &LoginRefused) {
        self.said_no |= !refused.is_unavailable();
        if !self.text.is_empty() {
            self.text.push_str("; ");
        }
        self.text.push_str(name);
        self.text.push_str(": ");
        self.text.push_str(&refused.to_string());
    }
}

/// One who has been refused by somebody may be guessing, whoever else could not be asked.
impl From<Refusals> for LoginRefused {
    fn from(refusals: Refusals) -> Self {
        match refusals {
            Refusals { text, .. } if text.is_empty() => Self::new("nobody is there to ask"),
            Refusals {
                text,
                said_no: true,
            } => Self::new(text),
            Refusals { text, .. } => Self::unavailable(text),
        }
    }
}

/// A user that one has authenticated and another authorises.
fn split(identity: Identity, authorization: Authorization) -> Identity {
    let Authorization { authorizer, tags } = authorization;
    let split = Split {
        rights: authorizer,
        login: identity.authorizer().cloned(),
        tags,
    };
    split.apply_to(identity)
}

struct Split {
    rights: Arc<dyn Authorizer>,
    /// Knows about secrets.
    login: Option<Arc<dyn Authorizer>>,
    tags: Vec<Tag>,
}

impl Split {
    fn apply_to(self, identity: Identity) -> Identity {
        let tags = identity.tags().iter().chain(&self.tags).cloned().collect();
        identity.with_tags(tags).with_authorizer(Arc::new(self))
    }
}

impl Authorizer for Split {
    fn authorize<'a>(&'a self, question: Question<'a>) -> VerdictFuture<'a> {
        self.rights.authorize(question)
    }

    fn renew<'a>(&'a self, secret: &'a [u8]) -> RenewFuture<'a> {
        Box::pin(async move {
            let Some(login) = &self.login else {
                return Ok(None);
            };
            let renewed = login.renew(secret).await?;
            Ok(renewed.map(|identity| {
                let authorizer = identity.authorizer().cloned();
                let split = Self {
                    rights: Arc::clone(&self.rights),
                    login: authorizer.or_else(|| self.login.clone()),
                    tags: self.tags.clone(),
                };
                split.apply_to(identity)
            }))
        })
    }
}

/// One that several share, or of a kind that is chosen while the program runs.
impl<S: AuthorizerSource + ?Sized> AuthorizerSource for Arc<S> {
    fn authorizer_for<'a>(
        &'a self,
        identity: &'a Identity,
        login: &'a Login,
    ) -> AuthorizationFuture<'a> {
        (**self).authorizer_for(identity, login)
    }
}
