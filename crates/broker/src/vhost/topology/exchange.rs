//! One exchange: what it was declared with, how it routes, and what else it does with messages.

use std::sync::Arc;

use leveret_queue_store::QueueKey;

use crate::arguments::Arguments;
use crate::exchange::presence::PresenceRouter;
use crate::exchange::{ExchangeKind, Router};
use crate::vhost::delayed::Delayed;
use crate::vhost::history::History;
use crate::vhost::past::Past;
use crate::vhost::presence::Announcer;

/// An exchange and the bindings in which it is the source.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) name: Arc<str>,
    pub(crate) kind: ExchangeKind,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) internal: bool,
    pub(crate) arguments: Arguments,
    pub(crate) alternate: Option<Arc<str>>,
    pub(super) router: Router,
    /// What its type does with messages beside routing them.
    capture: Option<Capture>,
    /// What has passed it, where that is kept.
    past: Option<Arc<Past>>,
    /// Under which the messages that wait in a durable one are kept.
    pub(crate) key: Option<QueueKey>,
    /// Tells those who watch what happens, where its type knows that.
    pub(crate) announcer: Option<Arc<Announcer>>,
    /// How many bindings have it as their source.
    pub(super) outgoing: usize,
}

/// What an exchange does with a message beside routing it.
#[derive(Clone, Debug)]
pub(crate) enum Capture {
    /// Keeps it for its time instead of routing it.
    Delay(Arc<Delayed>),
    /// Keeps a copy for bindings to come.
    Keep(Arc<History>),
}

impl Exchange {
    pub(crate) fn new(
        name: Arc<str>,
        kind: ExchangeKind,
        router: Router,
        capture: Option<Capture>,
    ) -> Self {
        Self {
            name,
            kind,
            durable: false,
            auto_delete: false,
            internal: false,
            arguments: Arguments::default(),
            alternate: None,
            router,
            capture,
            past: None,
            key: None,
            announcer: None,
            outgoing: 0,
        }
    }

    pub(crate) fn capture(&self) -> Option<&Capture> {
        self.capture.as_ref()
    }

    pub(crate) fn past(&self) -> Option<&Arc<Past>> {
        self.past.as_ref()
    }

    /// What passes it from now on is kept.
    pub(crate) fn keep_history(&mut self, past: Arc<Past>) {
        self.past = Some(past);
    }

    /// What its type does with messages survives a restart, under this key.
    pub(crate) fn keep_under(&mut self, key: QueueKey, capture: Capture) {
        self.key = Some(key);
        self.capture = Some(capture);
    }

    /// It has been deleted, and what it holds with it. Called without a lock.
    pub(crate) fn deleted(&self) {
        match &self.capture {
            Some(Capture::Delay(delayed)) => delayed.delete(),
            Some(Capture::Keep(history)) => history.delete(),
            None => {}
        }
        if let Some(past) = &self.past {
            past.delete();
        }
    }

    /// Whether a binding leads from it to anything.
    pub(crate) fn is_in_use(&self) -> bool {
        self.outgoing > 0
    }

    pub(crate) fn router(&self) -> &Router {
        &self.router
    }

    /// Who is where, and who tells of it, if its type knows that.
    pub(in crate::vhost) fn presence_mut(
        &mut self,
    ) -> Option<(&mut PresenceRouter, &Arc<Announcer>)> {
        let presence = self.router.as_presence_mut()?;
        Some((presence, self.announcer.as_ref()?))
    }
}
