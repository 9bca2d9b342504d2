//! A service of one's own that is asked about users and what they may do.

mod answer;
mod authorizer;
mod form;
mod settings;

use std::sync::Arc;

use leveret_broker::{
    Authenticator, Authorization, AuthorizationFuture, Authorizer, AuthorizerSource, Identity,
    Login, LoginFuture, LoginRefused, Tag,
};
use zeroize::Zeroizing;

use answer::{NotUnderstood, Verdict};
use authorizer::User;
use form::Form;
pub use settings::{HttpMethod, HttpSettings};

use crate::error::SetupError;
use crate::mechanism;
use crate::web::{Address, Answer, NoAnswer, Question as WebQuestion, WebClient};

/// Asks an HTTP service, as RabbitMQ's plugin `rabbitmq_auth_backend_http` does, so that a service written for that one
/// serves this one.
///
/// Clones are the same backend.
#[derive(Clone, Debug)]
pub struct Http(Arc<Service>);

#[derive(Debug)]
struct Service {
    client: WebClient,
    method: HttpMethod,
    user: Address,
    vhost: Address,
    resource: Address,
    topic: Address,
}

/// Why the service has not said whether something is allowed.
#[derive(Debug, thiserror::Error)]
enum NoVerdict {
    #[error("the HTTP service cannot be asked: {0}")]
    NoAnswer(#[from] NoAnswer),
    #[error("the HTTP service gave {0}")]
    NotUnderstood(#[from] NotUnderstood),
}

impl Http {
    /// A backend that asks with these settings. The service is not asked before there is a question.
    ///
    /// # Errors
    /// When an address is none, a file of TLS cannot be used, or a limit is zero.
    pub fn new(settings: HttpSettings) -> Result<Self, SetupError> {
        Ok(Self(Arc::new(Service {
            client: WebClient::new("http", &settings.tls, settings.requests)?,
            method: settings.method,
            user: Address::parse(&settings.user_url)?,
            vhost: Address::parse(&settings.vhost_url)?,
            resource: Address::parse(&settings.resource_url)?,
            topic: Address::parse(&settings.topic_url)?,
        })))
    }

    /// Whether the service lets the user in; without a password, somebody else has checked who that is.
    async fn user(
        &self,
        name: &str,
        login: &Login,
        password: Option<&[u8]>,
    ) -> Result<Vec<Tag>, LoginRefused> {
        let mut fields: Vec<(&str, &[u8])> = vec![("username", name.as_bytes())];
        fields.extend(password.map(|password| ("password", password)));
        fields.extend(vhost_of(login).map(|vhost| ("vhost", vhost.as_bytes())));
        let question = self.0.question(&self.0.user, Form::new(&fields));
        let answer = self.0.client.ask_at_login(question).await;
        let answer = answer.map_err(NoVerdict::from).and_then(Service::verdict);
        match answer {
            Ok(Verdict::Allow { tags }) => {
                Ok(tags.iter().map(|tag| Tag::from(tag.as_str())).collect())
            }
            Ok(Verdict::Deny { reason }) => {
                let reason = reason.map(|reason| format!(": {reason}"));
                Err(LoginRefused::new(format!(
                    "the HTTP service refused user '{name}'{}",
                    reason.unwrap_or_default()
                )))
            }
            Err(problem) => Err(LoginRefused::unavailable(problem.to_string())),
        }
    }

    async fn log_in(&self, login: Login) -> Result<Identity, LoginRefused> {
        let password = mechanism::password(&login)?;
        let tags = self.user(&login.username, &login, password).await?;
        let user = self.authorizer(&login.username, &tags);
        Ok(Identity::new(login.username)
            .with_tags(tags)
            .with_authorizer(user))
    }

    fn authorizer(&self, username: &str, tags: &[Tag]) -> Arc<dyn Authorizer> {
        Arc::new(User::new(self.clone(), username, tags))
    }
}

impl Authenticator for Http {
    fn authenticate(&self, login: Login) -> LoginFuture<'_> {
        Box::pin(self.log_in(login))
    }
}

/// Asks about the user without a password, as RabbitMQ does.
impl AuthorizerSource for Http {
    fn authorizer_for<'a>(
        &'a self,
        identity: &'a Identity,
        login: &'a Login,
    ) -> AuthorizationFuture<'a> {
        Box::pin(async move {
            let username = identity.username();
            let tags = self.user(username, login, None).await?;
            Ok(Authorization::new(self.authorizer(username, &tags)).with_tags(tags))
        })
    }
}

impl Service {
    async fn ask(&self, address: &Address, form: Form) -> Result<Verdict, NoVerdict> {
        let answer = self.client.ask(self.question(address, form)).await?;
        Self::verdict(answer)
    }

    fn verdict(answer: Answer) -> Result<Verdict, NoVerdict> {
        Ok(Verdict::of(answer.status, &answer.body)?)
    }

    fn question(&self, address: &Address, form: Form) -> WebQuestion {
        match self.method {
            HttpMethod::Get => {
                let mut url = address.url().clone();
                let query = match url.query() {
                    Some(own) if !own.is_empty() => {
                        Zeroizing::new(format!("{own}&{}", form.as_text()))
                    }
                    _ => Zeroizing::new(form.as_text().to_owned()),
                };
                url.set_query(Some(&query));
                WebQuestion::Get(url)
            }
            HttpMethod::Post => WebQuestion::post(address.url().clone(), form.into_bytes()),
        }
    }
}

/// The virtual host that a client names while it logs in, which those of STOMP do.
fn vhost_of(login: &Login) -> Option<&str> {
    login.connect_header("host")
}
