//! What every part of a running broker can reach.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use leveret_queue_store::Time;
use parking_lot::RwLock;

use crate::access::{Access, AccountChange, Accounts, Caller, User, no_vhost};
use crate::alarms::Alarms;
use crate::auth::{Authenticator, Identity};
use crate::busy::BusyCount;
use crate::clock::Clock;
use crate::config::Config;
use crate::connection::{ConnectionId, Registry};
use crate::disk::{DiskGauge, DiskSpace};
use crate::error::Refusal;
use crate::memory::MemoryGauge;
use crate::outbox::Outbox;
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
    /// None: whoever has logged in may do everything.
    access: Option<Arc<Access>>,
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
    /// A broker with the virtual host `/` and those that are configured.
    pub(crate) fn new(
        config: Config,
        clock: Clock,
        authenticator: Arc<dyn Authenticator>,
        access: Option<Access>,
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
            queues_max: config.queues_max,
        });
        let shared = Self {
            config,
            clock,
            services,
            registry: Arc::default(),
            authenticator,
            access: access.map(Arc::new),
            busy: BusyCount::default(),
            vhosts: RwLock::default(),
        };
        shared.create_vhost("/");
        for name in &shared.config.vhosts {
            shared.create_vhost(name);
        }
        Arc::new(shared)
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

    /// Deletes a virtual host with all that is in it and all permissions for it; false when there is none of this name.
    pub(crate) fn delete_vhost(&self, name: &str) -> bool {
        let removed = {
            let mut vhosts = self.vhosts.write();
            let removed = vhosts.remove(name);
            // Under the lock: the next one of this name begins without permissions.
            if let (Some(_), Some(access)) = (&removed, &self.access) {
                access.forget_vhost(name);
            }
            removed
        };
        let Some(vhost) = removed else {
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

    /// Who a connection is in a virtual host.
    ///
    /// # Errors
    /// 530 when its user has no permissions there.
    pub(crate) fn admit(
        &self,
        identity: &Identity,
        connection: ConnectionId,
        vhost: &VirtualHost,
        outbox: &Arc<Outbox>,
    ) -> Result<Caller, Refusal> {
        let Some(access) = &self.access else {
            return Ok(Caller::trusted(connection));
        };
        let user = identity.username();
        let grants = access.enter(user, vhost.name(), outbox).ok_or_else(|| {
            let vhost = vhost.name();
            Refusal::not_allowed(format!(
                "access to vhost '{vhost}' refused for user '{user}'"
            ))
        })?;
        Ok(Caller::granted(connection, grants))
    }

    /// The user of this name, where there are accounts.
    pub(crate) fn account(&self, name: &str) -> Option<User> {
        self.access.as_ref()?.user(name)
    }

    /// All accounts, where there are any.
    pub(crate) fn accounts(&self) -> Option<Accounts> {
        Some(self.access.as_ref()?.list())
    }

    /// The one way in which the accounts of a running broker change.
    ///
    /// # Errors
    /// 404 when the user or the virtual host does not exist, 406 when the broker was started without accounts.
    pub(crate) fn change_accounts(&self, change: AccountChange) -> Result<(), Refusal> {
        let Some(access) = &self.access else {
            return Err(Refusal::precondition_failed("this broker has no accounts"));
        };
        let orphans = {
            // Held, so that no virtual host goes between the look and the change.
            let vhosts = self.vhosts.read();
            if let Some(name) = change.required_vhost()
                && !vhosts.contains_key(name)
            {
                return Err(no_vhost(name));
            }
            let orphans = access.apply(change)?;
            // After the change: who is asked for a route from now on sees it.
            for vhost in vhosts.values() {
                vhost.forget_routes();
            }
            orphans
        };
        if let Some(orphans) = orphans {
            orphans.close();
        }
        Ok(())
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
