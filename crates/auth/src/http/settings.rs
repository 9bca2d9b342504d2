//! Where a service is, and how it is asked.

use crate::tls::TlsClient;
use crate::web::RequestLimits;

/// How an [`Http`](super::Http) backend asks its service; made by [`HttpSettings::new`], its fields are then set.
///
/// Addresses begin with `http://` or `https://`. They may have a user and a password, which are sent as basic
/// authentication, and a query of their own. `Debug` shows neither.
#[derive(Clone)]
#[non_exhaustive]
pub struct HttpSettings {
    /// Asked whether a user may log in.
    pub user_url: String,
    /// Asked whether it may open a virtual host.
    pub vhost_url: String,
    /// Asked whether it may configure, write to or read from an exchange or queue.
    pub resource_url: String,
    /// Asked whether it may use a routing key.
    pub topic_url: String,
    /// How fields are sent.
    pub method: HttpMethod,
    /// How TLS is spoken.
    pub tls: TlsClient,
    /// What a question may take.
    pub requests: RequestLimits,
}

/// How the fields of a question are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpMethod {
    /// In the query of a GET, as RabbitMQ does unless told otherwise. Passwords then stand in the logs of many a service.
    #[default]
    Get,
    /// As a form in a POST.
    Post,
}

impl HttpSettings {
    /// For a service with these addresses, asked by GET.
    #[must_use]
    pub fn new(
        user_url: impl Into<String>,
        vhost_url: impl Into<String>,
        resource_url: impl Into<String>,
        topic_url: impl Into<String>,
    ) -> Self {
        Self {
            user_url: user_url.into(),
            vhost_url: vhost_url.into(),
            resource_url: resource_url.into(),
            topic_url: topic_url.into(),
            method: HttpMethod::default(),
            tls: TlsClient::default(),
            requests: RequestLimits::for_questions(),
        }
    }
}

impl std::fmt::Debug for HttpSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpSettings")
            .field("method", &self.method)
            .field("tls", &self.tls)
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}
