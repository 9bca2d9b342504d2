//! `[auth.cache]`: answers that are good for a while.

use leveret_broker::{Authenticator, CachedAuth};

use crate::time_span::FiniteTime;

#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct CacheSection {
    /// How long answers hold.
    ttl: Option<FiniteTime>,
    /// Whether refusals are kept too.
    #[serde(default)]
    refusals: bool,
    /// How many logins are kept.
    logins_max: Option<usize>,
}

impl CacheSection {
    /// Keeps what `asked` says.
    pub(super) fn before<A: Authenticator>(&self, asked: A) -> CachedAuth<A> {
        let mut cached = CachedAuth::new(asked);
        if let Some(FiniteTime(ttl)) = self.ttl {
            cached = cached.ttl(ttl);
        }
        if self.refusals {
            cached = cached.keep_refusals();
        }
        if let Some(max) = self.logins_max {
            cached = cached.logins_max(max);
        }
        cached
    }
}
