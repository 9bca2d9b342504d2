//! What a user of the service may do.

use std::sync::Arc;

use leveret_broker::{Authorizer, Question, Tag, Unavailable, VerdictFuture};

use super::Http;
use super::answer::Verdict;
use super::form::Form;

/// A user that the service has let in.
#[derive(Debug)]
pub(super) struct User {
    backend: Http,
    username: Arc<str>,
    /// Separated by spaces, as they are sent.
    tags: String,
}

impl User {
    pub(super) fn new(backend: Http, username: &str, tags: &[Tag]) -> Self {
        let tags: Vec<&str> = tags.iter().map(Tag::as_str).collect();
        Self {
            backend,
            username: username.into(),
            tags: tags.join(" "),
        }
    }

    async fn ask(&self, question: Question<'_>) -> Result<bool, Unavailable> {
        let service = &self.backend.0;
        let username = self.username.as_bytes();
        let tags = self.tags.as_bytes();
        let (address, form) = match question {
            Question::VirtualHost { vhost, peer } => {
                let ip = peer.map(|peer| peer.to_canonical().to_string());
                let form = Form::new(&[
                    ("username", username),
                    ("vhost", vhost.as_bytes()),
                    ("ip", ip.as_deref().unwrap_or("unknown").as_bytes()),
                    ("tags", tags),
                ]);
                (&service.vhost, form)
            }
            Question::Resource {
                vhost,
                kind,
                name,
                right,
            } => {
                let form = Form::new(&[
                    ("username", username),
                    ("vhost", vhost.as_bytes()),
                    ("resource", kind.as_str().as_bytes()),
                    ("name", name.as_bytes()),
                    ("permission", right.as_str().as_bytes()),
                    ("tags", tags),
                ]);
                (&service.resource, form)
            }
            Question::Topic {
                vhost,
                exchange,
                routing_key,
                right,
                client_id,
            } => {
                let mut fields: Vec<(&str, &[u8])> = vec![
                    ("username", username),
                    ("vhost", vhost.as_bytes()),
                    ("resource", b"topic"),
                    ("name", exchange.as_bytes()),
                    ("permission", right.as_str().as_bytes()),
                    ("tags", tags),
                    ("routing_key", routing_key.as_bytes()),
                    ("variable_map.username", username),
                    ("variable_map.vhost", vhost.as_bytes()),
                ];
                fields.extend(client_id.map(|id| ("variable_map.client_id", id.as_bytes())));
                (&service.topic, Form::new(&fields))
            }
            _ => return Ok(false),
        };
        match service.ask(address, form).await {
            Ok(Verdict::Allow { .. }) => Ok(true),
            Ok(Verdict::Deny { reason }) => {
                if let Some(reason) = reason {
                    tracing::info!(user = %self.username, %reason, "the HTTP service refused");
                }
                Ok(false)
            }
            Err(problem) => Err(Unavailable::new(problem.to_string())),
        }
    }
}

impl Authorizer for User {
    fn authorize<'a>(&'a self, question: Question<'a>) -> VerdictFuture<'a> {
        Box::pin(self.ask(question))
    }
}
