//! What a user of the directory may do.

use leveret_broker::{Authorizer, Question, Unavailable, VerdictFuture};

use super::Ldap;
use super::template::Values;

/// A user whom the directory has let in.
#[derive(Debug)]
pub(super) struct User {
    backend: Ldap,
    username: String,
    user_dn: String,
}

impl User {
    pub(super) fn new(backend: Ldap, username: &str, user_dn: String) -> Self {
        Self {
            backend,
            username: username.to_owned(),
            user_dn,
        }
    }

    async fn ask(&self, question: Question<'_>) -> Result<bool, Unavailable> {
        let asked = &self.backend.0;
        let user = Values {
            username: &self.username,
            user_dn: &self.user_dn,
            ..Values::default()
        };
        let (query, values) = match question {
            Question::VirtualHost { vhost, .. } => (&asked.vhost, Values { vhost, ..user }),
            Question::Resource {
                vhost,
                kind,
                name,
                right,
            } => {
                let values = Values {
                    vhost,
                    resource: kind.as_str(),
                    name,
                    permission: right.as_str(),
                    ..user
                };
                (&asked.resource, values)
            }
            Question::Topic {
                vhost,
                exchange,
                routing_key,
                right,
                ..
            } => {
                let values = Values {
                    vhost,
                    resource: "topic",
                    name: exchange,
                    permission: right.as_str(),
                    routing_key,
                    ..user
                };
                (&asked.topic, values)
            }
            _ => return Ok(false),
        };
        let holds = query.holds(&asked.questions, &values).await;
        holds.map_err(|problem| {
            Unavailable::new(format!("the directory cannot be asked: {problem}"))
        })
    }
}

impl Authorizer for User {
    fn authorize<'a>(&'a self, question: Question<'a>) -> VerdictFuture<'a> {
        Box::pin(self.ask(question))
    }
}
