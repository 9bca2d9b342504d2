//! The HTTP request that a WebSocket began with.

use std::fmt;

use crate::percent;

/// The HTTP request with which a client asked for its WebSocket, for an [`Authenticator`](crate::Authenticator) that goes
/// by a cookie, a token in the address, or a header of a proxy.
///
/// Anybody can send anything in it. A browser sends cookies also for pages of others: who goes by them lists the
/// [origins](crate::Builder::websocket_origins) that may connect. Addresses tend to end up in logs of proxies, so a token in
/// the query should be short-lived.
///
/// It takes 16 KiB at most. Its `Debug` output shows the path and the names of the headers, and no secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct UpgradeRequest {
    path: String,
    query: Option<String>,
    headers: Vec<(String, String)>,
}

impl UpgradeRequest {
    pub(crate) fn new(path: &str, query: Option<&str>, headers: Vec<(String, String)>) -> Self {
        Self {
            path: path.to_owned(),
            query: query.map(str::to_owned),
            headers,
        }
    }

    /// The path, as it was sent.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What stands behind the question mark, as it was sent.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The value of the first parameter of this name in the query, decoded as forms are: `+` is a space, `%41` an `A`.
    /// None where there is no such parameter, or its value is not UTF-8.
    ///
    /// ```
    /// # use leveret_broker::{LoginRefused, UpgradeRequest};
    /// fn token(request: &UpgradeRequest) -> Result<String, LoginRefused> {
    ///     // wss://chat.example/ws?token=...
    ///     let token = request.query_value("token");
    ///     token.ok_or_else(|| LoginRefused::new("no token in the address"))
    /// }
    /// ```
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<String> {
        let parameters = self.query()?.split('&');
        let mut values = parameters.filter_map(|parameter| {
            let (found, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (decoded(found)? == name).then(|| decoded(value))
        });
        values.next().flatten()
    }

    /// All headers with their names in lower case, in the order in which they came. Values that are not UTF-8 are left
    /// out.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The first header of this name; its case does not matter.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers();
        headers
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The value of the first cookie of this name (RFC 6265, section 4.2), without quotes around it.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let lines = self.headers().filter(|(header, _)| *header == "cookie");
        let mut cookies = lines
            .flat_map(|(_, line)| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = cookies.find(|(found, _)| *found == name)?;
        let unquoted = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'));
        Some(unquoted.unwrap_or(value))
    }
}

impl fmt::Debug for UpgradeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers().map(|(name, _)| name).collect();
        f.debug_struct("UpgradeRequest")
            .field("path", &self.path)
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}

/// A name or value of a query (`application/x-www-form-urlencoded`).
fn decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    String::from_utf8(percent::decode(&spaced)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(query: Option<&str>, headers: &[(&str, &str)]) -> UpgradeRequest {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        UpgradeRequest::new("/ws", query, headers.collect())
    }

    #[track_caller]
    fn check_query(query: &str, want: Option<&str>) {
        let request = request(Some(query), &[]);
        assert_eq!(request.query_value("token").as_deref(), want, "{query}");
    }

    #[test]
    fn a_value_of_the_query_is_decoded_once() {
        check_query("token=abc", Some("abc"));
        check_query("a=1&token=x%2By+z%2541&b", Some("x+y z%41"));
        check_query("tok%65n=1&token=2", Some("1"));
        check_query("token", Some(""));
        check_query("token=a=b", Some("a=b"));
        check_query("token=50%&x=%4", Some("50%"));
        check_query("Token=1", None);
        check_query("", None);
        check_query("token=%ff", None);
        assert_eq!(request(None, &[]).query_value("token"), None);
    }

    #[track_caller]
    fn check_cookie(lines: &[&str], want: Option<&str>) {
        let headers: Vec<_> = lines.iter().map(|line| ("cookie", *line)).collect();
        assert_eq!(request(None, &headers).cookie("session"), want, "{lines:?}");
    }

    #[test]
    fn the_first_cookie_of_a_name_is_found() {
        check_cookie(&["session=1"], Some("1"));
        check_cookie(&["theme=dark; session=a=b;x=y"], Some("a=b"));
        check_cookie(&["theme=dark", "session=\"1\"; session=2"], Some("1"));
        check_cookie(&["xsession=1; Session=2; session"], None);
        check_cookie(&[], None);
    }

    #[test]
    fn headers_are_found_whatever_their_case() {
        let request = request(None, &[("x-user", "ann"), ("x-user", "bob")]);
        assert_eq!(request.header("X-User"), Some("ann"));
        assert_eq!(request.header("x-use"), None);
        assert_eq!(request.headers().count(), 2);
    }

    #[test]
    fn debug_output_shows_no_secrets() {
        let request = request(Some("token=s3cret"), &[("cookie", "session=s3cret")]);
        let shown = format!("{request:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("/ws") && shown.contains("cookie"), "{shown}");
    }
}
