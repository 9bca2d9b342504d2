//! The server, as the verbs see it.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use leveret_broker::{Broker, Error};
use tokio::sync::Notify;

use super::failure::{Exit, Failure};
use super::message::{Reply, Request};
use super::{
    certificates, connections, definitions, limits, objects, permissions, status, users, vhosts,
};
use crate::auth::Judge;
use crate::logging::LogControl;
use crate::tls::Certificates;

/// What is asked: a broker, and what its program knows of it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(super) broker: Arc<Broker>,
    pub(super) judge: Judge,
    pub(super) about: About,
    pub(super) certificates: Certificates,
    pub(super) log: LogControl,
    /// Told when the server is to stop.
    pub(super) stop: Arc<Notify>,
}

/// What there is to tell about the program.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) started: Instant,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) config_file: Option<PathBuf>,
    /// Virtual hosts that stand in the configuration, which would be there again after a restart.
    pub(crate) configured_vhosts: HashSet<String>,
    /// The settings with their values, for people.
    pub(crate) environment: Vec<(String, serde_json::Value)>,
}

impl Node {
    pub(crate) fn new(
        broker: Arc<Broker>,
        judge: Judge,
        about: About,
        certificates: Certificates,
        log: LogControl,
        stop: Arc<Notify>,
    ) -> Self {
        Self {
            broker,
            judge,
            about,
            certificates,
            log,
            stop,
        }
    }

    /// Carries out what is asked for. Dropping the future while it waits for the disk takes nothing back.
    pub(super) async fn answer(&self, request: Request) -> Reply {
        let answer = match request {
            Request::Users(ask) => users::answer(self, ask).await,
            Request::Vhosts(ask) => vhosts::answer(self, ask).await,
            Request::Permissions(ask) => permissions::answer(self, ask).await,
            Request::Limits(ask) => limits::answer(self, ask).await,
            Request::Objects(ask) => objects::answer(self, ask).await,
            Request::Connections(ask) => connections::answer(self, ask).await,
            Request::Certificates(ask) => certificates::answer(self, ask).await,
            Request::Definitions(ask) => definitions::answer(self, ask).await,
            Request::Status(ask) => status::answer(self, ask).await,
        };
        answer.unwrap_or_else(Reply::Failed)
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) async fn stored(&self) -> Result<Reply, Failure> {
        self.broker.definitions_stored().await?;
        Ok(Reply::Done)
    }

    /// # Errors
    /// When there is none of this name, in the words of the verbs that list.
    pub(super) fn require_vhost(&self, name: &str) -> Result<(), Failure> {
        self.broker
            .vhost_limits(name)
            .map(|_| ())
            .ok_or_else(|| Failure::no_vhost_to_list(name))
    }
}

/// What is refused for another reason than that a name is unknown is worded by the broker.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(Exit::Unavailable, error.to_string())
    }
}
