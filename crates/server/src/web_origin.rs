//! Where web pages come from, as browsers say it.

use std::str::FromStr;

/// Web pages that may open WebSockets: the value of their header `Origin`, a scheme and a host and perhaps a port, or `null`;
/// `*` stands for all pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebOrigin(pub(crate) String);

/// A text is not what a browser says, so that no page would ever match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an origin is written as https://app.example or http://localhost:3000, without a path; or null, or * for any"
)]
pub(crate) struct WebOriginError;

impl FromStr for WebOrigin {
    type Err = WebOriginError;

    fn from_str(text: &str) -> Result<Self, WebOriginError> {
        if !matches!(text, "*" | "null") {
            let (scheme, host) = text.split_once("://").ok_or(WebOriginError)?;
            let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
            let is_host = |byte: u8| byte.is_ascii_graphic() && !b"/?#@*\\".contains(&byte);
            if scheme.is_empty() || host.is_empty() {
                return Err(WebOriginError);
            }
            if !scheme.bytes().all(is_scheme) || !host.bytes().all(is_host) {
                return Err(WebOriginError);
            }
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_say_is_understood() {
        for text in [
            "*",
            "null",
            "https://app.example",
            "http://localhost:3000",
            "http://[::1]:8080",
            "chrome-extension://abcdefgh",
        ] {
            assert_eq!(text.parse(), Ok(WebOrigin(text.to_owned())));
        }
    }

    #[test]
    fn what_no_browser_says_is_refused() {
        for text in [
            "",
            "app.example",
            "https://",
            "://app.example",
            "https://app.example/",
            "https://app.example/chat",
            "https://*.app.example",
            "https://ann@app.example",
            "https://app.example https://b.example",
            "https://b\u{fc}cher.example",
        ] {
            assert_eq!(text.parse::<WebOrigin>(), Err(WebOriginError), "{text}");
        }
    }
}
