//! What every part of a running broker can reach.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use leveret_queue_store::{Journal, Recovered, Time};
use parking_lot::RwLock;

use crate::access::{
    Access, AccountChange, AccountError, Accounts, Asked, Caller, OwnedQuestion, Source, User,
    no_access_to_vhost,
};
use crate::alarms::Alarms;
use crate::auth::{Authenticator, Identity};
use crate::busy::BusyCount;
use crate::clock::Clock;
use crate::config::Config;
use crate::connection::{ConnectionId, Endpoints, Registry};
use crate::disk::{DiskGauge, DiskSpace};
use crate::error::Refusal;
use crate::login_guard::LoginGuard;
use crate::login_places::LoginPlaces;
use crate::memory::MemoryGauge;
#[cfg(feature = "journal")]
use crate::metadata::Definitions;
use crate::metadata::{Change, Metadata, VhostKey};
use crate::outbox::Outbox;
use crate::quota::Reached;
use crate::random::RandomNames;
use crate::store::Store;
use crate::timers::Timers;
#[cfg(feature = "journal")]
use crate::vhost::StoredVhost;
use crate::vhost::{Services, VhostLimits, VirtualHost};

/// The broker, for its connections and clients.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) services: Arc<Services>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) login_guard: Arc<LoginGuard>,
    pub(crate) login_places: Arc<LoginPlaces>,
    /// None: whoever has logged in may do everything.
    access: Option<Arc<Access>>,
    pub(crate) busy: BusyCount,
    vhosts: RwLock<HashMap<Arc<str>, Place>>,
}

/// A virtual host and what it is called in the store.
struct Place {
    vhost: Arc<VirtualHost>,
    key: VhostKey,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// A broker without any virtual host as yet.
    pub(crate) fn new(
        config: Config,
        clock: Clock,
        authenticator: Arc<dyn Authenticator>,
        access: Option<Access>,
        disk_space: Option<Arc<dyn DiskSpace>>,
        metadata: Arc<Metadata>,
        messages: Option<(Journal, Recovered)>,
    ) -> Arc<Self> {
        let (alarms, timers) = (Arc::new(Alarms::default()), Arc::new(Timers::default()));
        let store = messages.map(|messages| {
            let (alarms, timers) = (Arc::clone(&alarms), Arc::clone(&timers));
            let metadata = Arc::clone(&metadata);
            Store::new(messages, config.durable_memory, alarms, timers, metadata)
        });
        let services = Arc::new(Services {
            timers,
            memory: MemoryGauge::new(config.memory_limit, Arc::clone(&alarms)),
            disk: DiskGauge::new(disk_space, config.disk_free_limit, Arc::clone(&alarms)),
            alarms,
            names: config
                .name_seed
                .map_or_else(RandomNames::from_system, RandomNames::seeded),
            store,
            queues_max: config.queues_max,
            exchanges_max: config.exchanges_max,
            bindings_max: config.bindings_max,
            connections_per_vhost: config
                .allowances
                .connections_per_vhost(config.connections_max),
            allowances: config.allowances,
            held_max: config.held_max(),
            topic_history: config.topic_history,
            histories: AtomicUsize::new(0),
            letters: AtomicUsize::new(0),
            metadata,
        });
        let access = access.map(|access| {
            let access = access.limited_by(&config.allowances, config.connections_max);
            Arc::new(access.record_to(&services.metadata))
        });
        Arc::new(Self {
            login_guard: Arc::new(LoginGuard::new(config.free_login_failures)),
            login_places: Arc::new(LoginPlaces::new(config.free_login_failures.of_address)),
            config,
            clock,
            registry: Arc::default(),
            authenticator,
            access,
            busy: services.metadata.busy().clone(),
            services,
            vhosts: RwLock::default(),
        })
    }

    /// Makes the virtual host `/` and those that are configured.
    pub(crate) fn begin(&self) {
        self.create_vhost("/");
        self.create_configured_vhosts();
    }

    fn create_configured_vhosts(&self) {
        for name in &self.config.vhosts {
            self.create_vhost(name);
        }
    }

    /// Makes everything that a store holds, and the virtual hosts that are configured.
    ///
    /// # Errors
    /// With words for the operator, when something in it cannot be made.
    #[cfg(feature = "journal")]
    pub(crate) fn restore(&self, definitions: Definitions) -> Result<(), String> {
        let now = self.now();
        let mut stored: HashMap<VhostKey, StoredVhost> = HashMap::new();
        for (vhost, exchange) in definitions.exchanges {
            stored.entry(vhost).or_default().exchanges.push(exchange);
        }
        for (vhost, queue) in definitions.queues {
            stored.entry(vhost).or_default().queues.push(queue);
        }
        for (vhost, binding) in definitions.bindings {
            stored.entry(vhost).or_default().bindings.push(binding);
        }
        let limits: HashMap<_, _> = definitions.vhost_limits.into_iter().collect();
        for (name, key) in definitions.vhosts {
            let vhost = VirtualHost::new(Arc::clone(&name), Arc::clone(&self.services));
            vhost.set_limits(limits.get(&key).copied().unwrap_or_default());
            vhost.restore(now, key, stored.remove(&key).unwrap_or_default())?;
            self.vhosts.write().insert(name, Place { vhost, key });
        }
        if !stored.is_empty() {
            return Err("it has parts of a virtual host that is not there".to_owned());
        }
        self.create_configured_vhosts();
        Ok(())
    }

    pub(crate) fn vhost(&self, name: &str) -> Option<Arc<VirtualHost>> {
        let vhosts = self.vhosts.read();
        vhosts.get(name).map(|place| Arc::clone(&place.vhost))
    }

    /// Makes a virtual host; false when there is one of this name.
    pub(crate) fn create_vhost(&self, name: &str) -> bool {
        let mut vhosts = self.vhosts.write();
        if vhosts.contains_key(name) {
            return false;
        }
        let name: Arc<str> = Arc::from(name);
        let key = self.services.metadata.new_vhost_key();
        let vhost = VirtualHost::new(Arc::clone(&name), Arc::clone(&self.services));
        vhost.start_recording(key);
        // In the order of names coming and going, which is why this lock is held.
        let change = Change::add_vhost(&name, key);
        self.services.metadata.record([change]);
        vhosts.insert(name, Place { vhost, key });
        true
    }

    /// Deletes a virtual host with all that is in it and all permissions for it; false when there is none of this name.
    pub(crate) fn delete_vhost(&self, name: &str) -> bool {
        let vhost = {
            let mut vhosts = self.vhosts.write();
            let Some(Place { vhost, key }) = vhosts.remove(name) else {
                return false;
            };
            vhost.forget(key);
            // Under the lock: the next one of this name begins without permissions.
            if let Some(access) = &self.access {
                access.forget_vhost(name);
            }
            vhost
        };
        vhost.delete(self.now());
        true
    }

    pub(crate) fn vhost_names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.vhosts.read().keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// Who a connection with these ends, if it has a socket, is in a virtual host. `may_enter` is what was answered to the question whether it may open that,
    /// where that has to be asked and has been.
    ///
    /// # Errors
    /// 530 when its user has no permissions there, or the user or the virtual host has as many connections as it may.
    pub(crate) fn admit(
        &self,
        identity: &Identity,
        connection: ConnectionId,
        endpoints: Option<Endpoints>,
        vhost: &VirtualHost,
        outbox: &Arc<Outbox>,
        may_enter: Option<bool>,
    ) -> Result<Caller, Refusal> {
        let user = identity.username();
        let authorizer = identity.rights_from();
        if authorizer.is_some() && may_enter.is_none() {
            let refusal = no_access_to_vhost(vhost.name(), user);
            return Err(refusal.unless(vec![OwnedQuestion::entry(vhost.name(), endpoints)]));
        }
        // Before it is known whether the user may come in at all, as in RabbitMQ.
        let seat = vhost.take_seat().map_err(|Reached(limit)| {
            let vhost = vhost.name();
            Refusal::not_allowed(format!(
                "access to vhost '{vhost}' refused for user '{user}': connection limit ({limit}) is reached"
            ))
        })?;
        let caller = match (authorizer, &self.access) {
            (Some(authorizer), access) => {
                let access = access.as_ref();
                let counted = access
                    .map(|access| access.count(user, outbox))
                    .transpose()?;
                if may_enter != Some(true) {
                    return Err(no_access_to_vhost(vhost.name(), user));
                }
                let source = Source {
                    authorizer: Arc::clone(authorizer),
                    ttl_ms: self.config.verdict_ttl_ms(),
                };
                let asked = Asked::new(
                    source,
                    user,
                    vhost.name(),
                    access.cloned(),
                    counted.flatten(),
                );
                Caller::asked(connection, asked)
            }
            (None, None) => Caller::unrestricted(connection, Arc::clone(user)),
            (None, Some(access)) => {
                Caller::granted(connection, access.enter(user, vhost.name(), outbox)?)
            }
        };
        Ok(caller.tagged(identity.tags()).seated(seat))
    }

    /// Whether a user was configured by the embedding program, so that it cannot be changed.
    pub(crate) fn is_fixed_user(&self, name: &str) -> bool {
        let access = self.access.as_ref();
        access.is_some_and(|access| access.is_fixed_user(name))
    }

    /// Limits a virtual host, and has that stored.
    ///
    /// # Errors
    /// When there is none of this name, or it cannot be stored.
    pub(crate) fn limit_vhost(&self, name: &str, limits: VhostLimits) -> Result<(), AccountError> {
        let metadata = &self.services.metadata;
        metadata.check().map_err(AccountError::NotStored)?;
        // For writing, so that the last one to set them is the last one to be stored.
        let vhosts = self.vhosts.write();
        let place = vhosts.get(name);
        let Place { vhost, key } = place.ok_or_else(|| AccountError::no_vhost(name))?;
        vhost.set_limits(limits);
        metadata.record([Change::limit_vhost(*key, limits)]);
        Ok(())
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
    /// When the user or the virtual host does not exist, for what is fixed, and when the broker was started without
    /// accounts.
    pub(crate) fn change_accounts(&self, change: AccountChange) -> Result<(), AccountError> {
        let Some(access) = &self.access else {
            return Err(AccountError::NoAccounts);
        };
        let orphans = {
            // Held, so that no virtual host goes between the look and the change.
            let vhosts = self.vhosts.read();
            if let Some(name) = change.required_vhost()
                && !vhosts.contains_key(name)
            {
                return Err(AccountError::no_vhost(name));
            }
            let orphans = access.apply(change)?;
            // After the change: who is asked for a route from now on sees it.
            for place in vhosts.values() {
                place.vhost.forget_routes();
            }
            orphans
        };
        if let Some(orphans) = orphans {
            orphans.close();
        }
        Ok(())
    }

    /// Changes how much messages may take.
    pub(crate) fn set_memory_limit(&self, bytes: usize) {
        self.services.memory.set_limit(bytes);
        self.services.make_room();
        let vhosts: Vec<_> = {
            let vhosts = self.vhosts.read();
            vhosts.values().map(|it| Arc::clone(&it.vhost)).collect()
        };
        for vhost in vhosts {
            vhost.trim_histories();
        }
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
        let store = self.services.store.as_ref();
        let nothing_due = nothing_due && !store.is_some_and(|store| store.is_waited_for());
        nothing_due && self.busy.is_idle()
    }
}
