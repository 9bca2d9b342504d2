//! What every part of a running broker can reach.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use leveret_queue_store::Time;
use parking_lot::RwLock;

use crate::alarms::Alarms;
use crate::auth::Authenticator;
use crate::busy::BusyCount;
use crate::clock::Clock;
use crate::config::Config;
use crate::connection::Registry;
use crate::disk::{DiskGauge, DiskSpace};
use crate::memory::MemoryGauge;
use crate::random::RandomNames;
use crate::timers::Timers;
use crate::vhost::{Services, VirtualHost};

/// The broker, for its connections and clients.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) services: Arc<Services>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) busy: BusyCount,
    vhosts: RwLock<HashMap<Arc<str>, Arc<VirtualHost>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// A broker with the virtual host `/`.
    pub(crate) fn new(
        config: Config,
        clock: Clock,
        authenticator: Arc<dyn Authenticator>,
        disk_space: Option<Arc<dyn DiskSpace>>,
    ) -> Arc<Self> {
        let alarms = Arc::new(Alarms::default());
        let services = Arc::new(Services {
            timers: Timers::default(),
            memory: MemoryGauge::new(config.memory_limit, Arc::clone(&alarms)),
            disk: DiskGauge::new(disk_space, config.disk_free_limit, Arc::clone(&alarms)),
            alarms,
            names: config
                .name_seed
                .map_or_else(RandomNames::from_system, RandomNames::seeded),
        });
        let name: Arc<str> = Arc::from("/");
        let root = VirtualHost::new(Arc::clone(&name), Arc::clone(&services));
        Arc::new(Self {
            config,
            clock,
            services,
            registry: Arc::default(),
            authenticator,
            busy: BusyCount::default(),
            vhosts: RwLock::new(HashMap::from([(name, root)])),
        })
    }

    pub(crate) fn vhost(&self, name: &str) -> Option<Arc<VirtualHost>> {
        self.vhosts.read().get(name).cloned()
    }

    /// Makes a virtual host; false when there is one of this name.
    pub(crate) fn create_vhost(&self, name: &str) -> bool {
        let mut vhosts = self.vhosts.write();
        if vhosts.contains_key(name) {
            return false;
        }
        let name: Arc<str> = Arc::from(name);
        let vhost = VirtualHost::new(Arc::clone(&name), Arc::clone(&self.services));
        vhosts.insert(name, vhost);
        true
    }

    /// Deletes a virtual host with all that is in it; false when there is none of this name.
    pub(crate) fn delete_vhost(&self, name: &str) -> bool {
        let Some(vhost) = self.vhosts.write().remove(name) else {
            return false;
        };
        vhost.delete(self.now());
        true
    }

    pub(crate) fn vhost_names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.vhosts.read().keys().cloned().collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Runs what is due.
    pub(crate) fn run_timers(&self) {
        let now = self.now();
        // Between being taken and having run, what is due is nowhere else to be seen.
        let _busy = self.busy.during();
        for due in self.services.timers.take_due(now) {
            if let Some(due) = due.upgrade() {
                due.run(now);
            }
        }
    }

    /// Nothing is on its way and nothing is due.
    pub(crate) fn is_idle(&self) -> bool {
        let now = self.now();
        // Timers first: what leaves them has entered the count before.
        let nothing_due = self.services.timers.earliest().is_none_or(|at| at > now)
            && self.services.disk.next_at() > now;
        nothing_due && self.busy.is_idle()
    }
}
