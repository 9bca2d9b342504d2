//! Asking services over HTTP, within bounds.

mod client;
mod limits;

#[cfg(feature = "http")]
pub(crate) use client::Answer;
pub(crate) use client::{NoAnswer, Question, WebClient};
pub use limits::RequestLimits;
use reqwest::Url;

use crate::error::SetupError;

/// The address of a service.
///
/// # Errors
/// For what is no address of HTTP.
pub(crate) fn address(text: &str) -> Result<Url, SetupError> {
    let url = Url::parse(text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    // The text is not repeated: a password may stand in it.
    url.ok_or_else(|| SetupError::new("an address begins with http:// or https:// and a host"))
}
