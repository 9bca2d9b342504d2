//! What the bearer of a token may do.

use std::sync::Arc;

use leveret_broker::{Authorizer, LoginRefused, Question, RenewFuture, VerdictFuture};

use super::OAuth2;
use super::scopes::Scopes;

/// The bearer of a token, as long as the connection has no newer one.
#[derive(Debug)]
pub(super) struct Bearer {
    backend: OAuth2,
    username: Arc<str>,
    scopes: Scopes,
}

impl Bearer {
    pub(super) fn new(backend: OAuth2, username: Arc<str>, scopes: Scopes) -> Self {
        Self {
            backend,
            username,
            scopes,
        }
    }

    fn may(&self, question: &Question<'_>) -> bool {
        match *question {
            Question::VirtualHost { vhost, .. } => self.scopes.allow_vhost(vhost),
            Question::Resource {
                vhost, name, right, ..
            } => self.scopes.allow(right, vhost, name),
            Question::Topic {
                vhost,
                exchange,
                routing_key,
                right,
                ..
            } => self.scopes.allow_topic(right, vhost, exchange, routing_key),
            // What is not known is not allowed.
            _ => false,
        }
    }
}

impl Authorizer for Bearer {
    fn authorize<'a>(&'a self, question: Question<'a>) -> VerdictFuture<'a> {
        Box::pin(std::future::ready(Ok(self.may(&question))))
    }

    fn renew<'a>(&'a self, secret: &'a [u8]) -> RenewFuture<'a> {
        Box::pin(async move {
            let identity = self.backend.check(secret).await?;
            if identity.username() != &self.username {
                return Err(LoginRefused::new(format!(
                    "the new token is of another user, '{}'",
                    identity.username()
                )));
            }
            Ok(Some(identity))
        })
    }
}
