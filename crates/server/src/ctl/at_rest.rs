//! The accounts in a data directory on which no server runs.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use leveret_broker::{Accounts, Broker};
use tokio::runtime::Runtime;

use super::failure::{Exit, Failure};
use super::message::{Reply, Request};
use super::node::{About, Node};
use crate::auth::Judge;
use crate::logging::LogControl;
use crate::passwords::Passwords;
use crate::tls::Keeper;

/// A broker without listeners on a data directory, which is locked meanwhile.
#[derive(Debug)]
pub(super) struct AtRest {
    // In this order: the broker's tasks end with the runtime.
    node: Node,
    runtime: Runtime,
}

impl AtRest {
    /// What stands in a configuration file is not known here: users who are only there can neither be seen nor changed.
    /// The first user of a new server, guest, is not made.
    ///
    /// # Errors
    /// When it is no data directory, or in use, or cannot be read.
    #[expect(
        clippy::disallowed_methods,
        reason = "how long the program has run has nothing to do with the broker's clock"
    )]
    pub(super) fn open(dir: &Path) -> Result<Self, Failure> {
        if !dir.join("metadata.redb").exists() {
            let problem = format!(
                "No server runs on {}, and it is no data directory that one has run on",
                dir.display()
            );
            return Err(Failure::new(Exit::Unavailable, problem));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let builder = Broker::builder().data_dir(dir);
        let builder = builder.keep_accounts(Accounts::default());
        let broker = runtime.block_on(builder.start())?;
        let about = About {
            started: Instant::now(),
            data_dir: Some(dir.to_owned()),
            config_file: None,
            configured_vhosts: HashSet::new(),
            environment: Vec::new(),
        };
        Ok(Self {
            node: Node::new(
                Arc::new(broker),
                Judge::new(Passwords::new([])),
                about,
                Keeper::certificates(None),
                LogControl::default(),
                Arc::default(),
            ),
            runtime,
        })
    }

    pub(super) fn ask(&self, request: Request) -> Reply {
        self.runtime.block_on(self.node.answer(request))
    }
}
