//! The chain, made of its links.

use std::collections::HashMap;
use std::sync::Arc;

use leveret_broker::{AuthChain, Authenticator, AuthorizerSource};

use super::AuthError;
use super::backend::Backend;
use super::judge::Judge;
use super::section::AuthSettings;

/// Whoever is to be asked, with `internal` in the place of the server's own users.
///
/// # Errors
/// When a backend cannot be set up. None of them is asked for that.
pub(crate) fn authenticator(
    settings: &AuthSettings,
    internal: impl Authenticator,
) -> Result<Judge, AuthError> {
    if settings.is_internal() {
        return Ok(Judge::new(internal));
    }
    for backend in settings
        .links()
        .iter()
        .flat_map(|link| [link.authn, link.authz])
    {
        if let Some(feature) = backend.missing_feature() {
            return Err(AuthError::NotBuiltIn { backend, feature });
        }
    }
    let backends = Backends::new(settings, Arc::new(internal))?;
    let mut chain = AuthChain::new();
    for link in settings.links() {
        let (name, of_rights) = (link.authn.name(), link.authz.name());
        let authenticator = backends.authenticator(link.authn);
        chain = match link.authz {
            same if same == link.authn => chain.with(name, authenticator),
            Backend::Internal => chain.with_accounts(name, authenticator),
            other => {
                let source = backends.source(other);
                chain.with_authorization(name, authenticator, of_rights, source)
            }
        };
    }
    Ok(match &settings.cache {
        Some(cache) => Judge::new(cache.get_ref().before(chain)),
        None => Judge::new(chain),
    })
}

/// All that have a section, and the server's own users.
struct Backends {
    authenticators: HashMap<Backend, Arc<dyn Authenticator>>,
    sources: HashMap<Backend, Arc<dyn AuthorizerSource>>,
}

impl Backends {
    #[cfg_attr(
        not(any(feature = "auth-http", feature = "auth-ldap", feature = "oauth2")),
        expect(unused_mut, unused_variables, reason = "there is nothing to be set up")
    )]
    fn new(settings: &AuthSettings, internal: Arc<dyn Authenticator>) -> Result<Self, AuthError> {
        let mut backends = Self {
            authenticators: HashMap::from([(Backend::Internal, internal)]),
            sources: HashMap::new(),
        };
        #[cfg(feature = "auth-http")]
        if let Some(section) = &settings.http {
            backends.add_both(Backend::Http, section.get_ref().backend()?);
        }
        #[cfg(feature = "auth-ldap")]
        if let Some(section) = &settings.ldap {
            backends.add_both(Backend::Ldap, section.get_ref().backend()?);
        }
        #[cfg(feature = "oauth2")]
        if let Some(section) = &settings.oauth2 {
            backends.add(Backend::OAuth2, section.get_ref().backend()?);
        }
        Ok(backends)
    }

    #[cfg(any(feature = "auth-http", feature = "auth-ldap", feature = "oauth2"))]
    fn add(&mut self, backend: Backend, authenticator: impl Authenticator) {
        self.authenticators.insert(backend, Arc::new(authenticator));
    }

    /// Adds one that knows users, and also what users of others may do.
    #[cfg(any(feature = "auth-http", feature = "auth-ldap"))]
    fn add_both(&mut self, backend: Backend, asked: impl Authenticator + AuthorizerSource + Clone) {
        self.sources.insert(backend, Arc::new(asked.clone()));
        self.add(backend, asked);
    }

    fn authenticator(&self, backend: Backend) -> Arc<dyn Authenticator> {
        let found = self.authenticators.get(&backend);
        Arc::clone(found.expect("AuthSettings::check lets no link through without a section"))
    }

    fn source(&self, backend: Backend) -> Arc<dyn AuthorizerSource> {
        let found = self.sources.get(&backend);
        Arc::clone(found.expect("AuthSettings::check lets no authz through that has no rights"))
    }
}
