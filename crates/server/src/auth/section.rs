//! The section as a whole.

use std::collections::HashSet;
use std::ops::Range;

use toml::Spanned;

use super::backend::{Backend, Link};
use super::cache::CacheSection;
#[cfg(feature = "auth-http")]
use super::http::HttpSection;
#[cfg(feature = "auth-ldap")]
use super::ldap::LdapSection;
#[cfg(feature = "oauth2")]
use super::oauth2::OAuth2Section;
use crate::accounts::Contradiction;
use crate::time_span::FiniteTime;

/// The section of a backend that this program does not have. Whatever it says, naming the backend is a mistake.
#[cfg(not(all(feature = "auth-http", feature = "auth-ldap", feature = "oauth2")))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotBuiltIn;

#[cfg(not(all(feature = "auth-http", feature = "auth-ldap", feature = "oauth2")))]
impl<'de> serde::Deserialize<'de> for NotBuiltIn {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

#[cfg(not(feature = "auth-http"))]
type HttpSection = NotBuiltIn;
#[cfg(not(feature = "auth-ldap"))]
type LdapSection = NotBuiltIn;
#[cfg(not(feature = "oauth2"))]
type OAuth2Section = NotBuiltIn;

/// What `[auth]` says. Without it the users of this server are the only ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct AuthSettings {
    /// Who is asked, one after the other, until somebody lets the client in.
    backends: Option<Spanned<Vec<Link>>>,
    /// How long a connection remembers what it was permitted; `None` for the broker's default.
    pub(crate) verdict_ttl: Option<FiniteTime>,
    pub(super) cache: Option<Spanned<CacheSection>>,
    pub(super) http: Option<Spanned<HttpSection>>,
    pub(super) oauth2: Option<Spanned<OAuth2Section>>,
    pub(super) ldap: Option<Spanned<LdapSection>>,
}

impl AuthSettings {
    /// The links of the chain: the server's own users alone, unless it is set.
    pub(super) fn links(&self) -> &[Link] {
        let set = self.backends.as_ref();
        set.map_or(&[Link::INTERNAL], |backends| backends.get_ref())
    }

    /// Whether nobody but the server's own users can be meant.
    pub(crate) fn is_internal(&self) -> bool {
        *self.links() == [Link::INTERNAL]
    }

    /// Who may log in, for people.
    pub(crate) fn hint(&self) -> String {
        let names = self.names().join(", then ");
        format!("log in as whom a backend knows: {names}")
    }

    /// Who is asked, in words.
    pub(crate) fn names(&self) -> Vec<String> {
        self.links().iter().map(Link::to_string).collect()
    }

    /// Whether nothing is left out.
    #[cfg(test)]
    pub(crate) fn has_every_section(&self) -> bool {
        let Self {
            backends,
            verdict_ttl,
            cache,
            http,
            oauth2,
            ldap,
        } = self;
        (backends.is_some() && verdict_ttl.is_some() && cache.is_some())
            && (http.is_some() && oauth2.is_some() && ldap.is_some())
    }

    /// Whether everything that is named is set, and everything that is set is named.
    ///
    /// # Errors
    /// For the first thing that is not.
    pub(crate) fn check(&self) -> Result<(), Contradiction> {
        let sections: [(Backend, Option<Range<usize>>); 3] = [
            (Backend::Http, self.http.as_ref().map(Spanned::span)),
            (Backend::OAuth2, self.oauth2.as_ref().map(Spanned::span)),
            (Backend::Ldap, self.ldap.as_ref().map(Spanned::span)),
        ];
        let is_set = |wanted| {
            let mut sections = sections.iter();
            sections.any(|(backend, span)| *backend == wanted && span.is_some())
        };
        if let Some(backends) = &self.backends {
            let problem = check_links(backends.get_ref(), is_set);
            problem.map_err(|message| Contradiction {
                span: backends.span(),
                message,
            })?;
        }
        if let Some(cache) = &self.cache
            && self.is_internal()
        {
            return Err(Contradiction {
                span: cache.span(),
                message: "auth.cache means nothing while nobody else is asked than this server"
                    .to_owned(),
            });
        }
        let named = |wanted| self.links().iter().any(|link| link.names(wanted));
        for (backend, span) in sections {
            if let Some(span) = span
                && !named(backend)
            {
                let message =
                    format!("auth.{backend} means nothing while auth.backends does not name it");
                return Err(Contradiction { span, message });
            }
        }
        Ok(())
    }
}

fn check_links(links: &[Link], is_set: impl Fn(Backend) -> bool) -> Result<(), String> {
    if links.is_empty() {
        return Err("without a backend nobody could log in".to_owned());
    }
    let mut seen = HashSet::new();
    for link in links {
        if !seen.insert(link) {
            return Err(format!("{link} stands here twice"));
        }
        for backend in [link.authn, link.authz] {
            if backend != Backend::Internal && !is_set(backend) {
                return Err(format!("{backend} needs the section [auth.{backend}]"));
            }
        }
        if link.authz == Backend::OAuth2 && link.authn != Backend::OAuth2 {
            return Err(
                "what a token permits is known of those who log in with one: authz = \"oauth2\" goes \
                 with authn = \"oauth2\""
                    .to_owned(),
            );
        }
    }
    Ok(())
}
