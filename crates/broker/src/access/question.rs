//! A question on its way to whoever can answer it.

use std::net::IpAddr;
use std::sync::Arc;

use super::right::{Resource, ResourceKind, Right};
use crate::auth::Question;
use crate::connection::Endpoints;

/// A [`Question`] that owns its names, so that it can leave the virtual host and the session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum OwnedQuestion {
    VirtualHost {
        vhost: Arc<str>,
        peer: Option<IpAddr>,
    },
    Resource {
        vhost: Arc<str>,
        kind: ResourceKind,
        name: Box<str>,
        right: Right,
    },
    Topic {
        vhost: Arc<str>,
        exchange: Box<str>,
        routing_key: Box<str>,
        right: Right,
        client_id: Option<Box<str>>,
    },
}

impl OwnedQuestion {
    /// Whether a connection with these ends, if it has a socket, may open a virtual host.
    pub(crate) fn entry(vhost: &Arc<str>, endpoints: Option<Endpoints>) -> Self {
        Self::VirtualHost {
            vhost: Arc::clone(vhost),
            peer: endpoints.map(|ends| ends.peer.ip().to_canonical()),
        }
    }

    pub(crate) fn resource(vhost: &Arc<str>, right: Right, resource: Resource<'_>) -> Self {
        Self::Resource {
            vhost: Arc::clone(vhost),
            kind: resource.kind(),
            name: resource.name().into(),
            right,
        }
    }

    /// As the embedding program is asked.
    pub(crate) fn as_question(&self) -> Question<'_> {
        match self {
            Self::VirtualHost { vhost, peer } => Question::VirtualHost { vhost, peer: *peer },
            Self::Resource {
                vhost,
                kind,
                name,
                right,
            } => Question::Resource {
                vhost,
                kind: *kind,
                name,
                right: *right,
            },
            Self::Topic {
                vhost,
                exchange,
                routing_key,
                right,
                client_id,
            } => Question::Topic {
                vhost,
                exchange,
                routing_key,
                right: *right,
                client_id: client_id.as_deref(),
            },
        }
    }

    /// The names of what may not be read from, going by the answers to these questions.
    pub(crate) fn refused(questions: &[Self], answers: &[bool]) -> Vec<Box<str>> {
        let answered = questions.iter().zip(answers);
        let refused = answered.filter(|(_, may)| !**may);
        refused
            .filter_map(|(question, _)| match question {
                Self::Resource { name, .. } => Some(name.clone()),
                _ => None,
            })
            .collect()
    }
}

impl From<Question<'_>> for OwnedQuestion {
    fn from(question: Question<'_>) -> Self {
        match question {
            Question::VirtualHost { vhost, peer } => Self::VirtualHost {
                vhost: vhost.into(),
                peer,
            },
            Question::Resource {
                vhost,
                kind,
                name,
                right,
            } => Self::Resource {
                vhost: vhost.into(),
                kind,
                name: name.into(),
                right,
            },
            Question::Topic {
                vhost,
                exchange,
                routing_key,
                right,
                client_id,
            } => Self::Topic {
                vhost: vhost.into(),
                exchange: exchange.into(),
                routing_key: routing_key.into(),
                right,
                client_id: client_id.map(Into::into),
            },
        }
    }
}
