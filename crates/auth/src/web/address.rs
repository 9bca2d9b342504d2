//! Where a service is.

use std::fmt;

use reqwest::Url;

use crate::error::SetupError;

/// The address of a service. Neither `Debug` nor `Display` shows what may be secret in it.
#[derive(Clone)]
pub(crate) struct Address(Url);

impl Address {
    /// # Errors
    /// For what is no address of HTTP.
    pub(crate) fn parse(text: &str) -> Result<Self, SetupError> {
        let url = Url::parse(text).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        // The text is not repeated: a password may stand in it.
        url.map(Self)
            .ok_or_else(|| SetupError::new("an address begins with http:// or https:// and a host"))
    }

    /// All of it, for whoever asks there.
    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Place::of(&self.0).fmt(f)
    }
}

/// Where a service is, without what may be secret: user, password and query.
pub(crate) struct Place(String);

impl Place {
    pub(crate) fn of(url: &Url) -> Self {
        let port = url.port().map(|port| format!(":{port}"));
        Self(format!(
            "{}://{}{}{}",
            url.scheme(),
            url.host_str().unwrap_or_default(),
            port.unwrap_or_default(),
            url.path()
        ))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_in_an_address_is_not_shown() {
        let address = Address::parse("https://ann:7hg2@users.example:8443/mq?key=9kd4#5xz1");
        let address = address.unwrap();
        let shown = "https://users.example:8443/mq";
        assert_eq!(address.to_string(), shown);
        assert_eq!(format!("{address:?}"), shown);
    }
}
