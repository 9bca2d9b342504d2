//! `[auth.http]`: a service of one's own.

use leveret_auth::{Http, HttpMethod, HttpSettings};

use super::AuthError;
use super::secret_text::SecretText;
use super::service::{LimitsSection, TlsSection};

const SECTION: &str = "http";

#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct HttpSection {
    user_url: SecretText,
    vhost_url: SecretText,
    resource_url: SecretText,
    topic_url: SecretText,
    #[serde(default)]
    method: Method,
    #[serde(default)]
    tls: TlsSection,
    #[serde(default)]
    limits: LimitsSection,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Method {
    #[default]
    Get,
    Post,
}

impl HttpSection {
    /// # Errors
    /// When an address is none, or a file of TLS cannot be used.
    pub(super) fn backend(&self) -> Result<Http, AuthError> {
        let [user, vhost, resource, topic] = [
            &self.user_url,
            &self.vhost_url,
            &self.resource_url,
            &self.topic_url,
        ]
        .map(|address| address.0.expose());
        let mut settings = HttpSettings::new(user, vhost, resource, topic);
        settings.method = match self.method {
            Method::Get => HttpMethod::Get,
            Method::Post => HttpMethod::Post,
        };
        self.tls.apply_to(&mut settings.tls);
        self.limits.apply_to(&mut settings.requests);
        Http::new(settings).map_err(|problem| AuthError::wrong(SECTION, problem))
    }
}
