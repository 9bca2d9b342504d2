//! Which web pages may open WebSockets: browsers ask for any page, with what they know of the user.

use std::net::{Ipv4Addr, Ipv6Addr};

use tungstenite::http::HeaderMap;
use tungstenite::http::header::{HOST, ORIGIN};

use crate::config::Origins;
use crate::connection::Endpoints;

/// What becomes of a request, as far as its page is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// It may come: it is allowed, or no page at all.
    Welcome,
    /// It may come, and is from another site than the one that it asks: what the user has not said himself does not count.
    Foreign,
    Refused,
}

/// Judges a request to one of the broker's listeners.
pub(super) fn judge(headers: &HeaderMap, origins: &Origins, endpoints: Option<Endpoints>) -> Page {
    let Some(origin) = headers.get(ORIGIN) else {
        return Page::Welcome;
    };
    let origin = origin.as_bytes();
    match origins {
        Origins::Any => Page::Welcome,
        Origins::Listed(listed) if is_listed(origin, listed) => Page::Welcome,
        Origins::Listed(_) => Page::Refused,
        Origins::Unlisted => {
            let page = str::from_utf8(origin).ok().and_then(host_of_origin);
            let asked = headers.get(HOST).and_then(|host| host.to_str().ok());
            let asked = asked.map(without_port);
            let is_loopback = |host: Option<&str>| host.is_some_and(is_loopback_name);
            let is_same = match (page, asked) {
                (Some(page), Some(asked)) => page.eq_ignore_ascii_case(asked),
                _ => false,
            };
            // Whoever listens there only listens to programs of this machine, and a browser is one.
            let is_private =
                endpoints.is_some_and(|ends| ends.local.ip().to_canonical().is_loopback());
            if is_same || (is_loopback(page) && is_loopback(asked)) {
                Page::Welcome
            } else if is_private && !is_loopback(page) {
                Page::Refused
            } else {
                Page::Foreign
            }
        }
    }
}

/// Whether a page may ask the embedding program's own web server: one that is listed, or that came from there.
pub(super) fn may_ask(headers: &HeaderMap, origins: &Origins) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    match origins {
        Origins::Any => true,
        Origins::Listed(listed) => is_listed(origin.as_bytes(), listed),
        Origins::Unlisted => {
            let origin = origin.to_str().ok().and_then(|text| text.split_once("://"));
            let host = headers.get(HOST).and_then(|host| host.to_str().ok());
            matches!((origin, host), (Some((_, page)), Some(host)) if page.eq_ignore_ascii_case(host))
        }
    }
}

fn is_listed(origin: &[u8], listed: &[String]) -> bool {
    listed
        .iter()
        .any(|known| known.as_bytes().eq_ignore_ascii_case(origin))
}

/// None for what names no host, such as `null`.
fn host_of_origin(origin: &str) -> Option<&str> {
    let (_, authority) = origin.split_once("://")?;
    Some(without_port(authority))
}

/// The host of a host and port; IPv6 addresses keep their brackets.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Whether it can only be this machine.
fn is_loopback_name(host: &str) -> bool {
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let brackets = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match brackets {
        Some(address) => address
            .parse()
            .is_ok_and(|address: Ipv6Addr| address.is_loopback()),
        None => host
            .parse()
            .is_ok_and(|address: Ipv4Addr| address.is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(page: &str, asked: &str, is_here: bool, want: Page) {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, page.parse().unwrap());
        headers.insert(HOST, asked.parse().unwrap());
        let local = if is_here {
            "[::1]:15674"
        } else {
            "192.0.2.1:15674"
        };
        let endpoints = Endpoints {
            peer: "192.0.2.2:4711".parse().unwrap(),
            local: local.parse().unwrap(),
        };
        let found = judge(&headers, &Origins::Unlisted, Some(endpoints));
        assert_eq!(found, want, "{page} to {asked}");
    }

    #[test]
    fn ports_do_not_make_another_site() {
        check("https://a.example", "a.example:15674", true, Page::Welcome);
        check("https://A.example:8443", "a.example", false, Page::Welcome);
        check(
            "http://[2001:db8::1]:80",
            "[2001:db8::1]:15674",
            true,
            Page::Welcome,
        );
        check(
            "http://[2001:db8::1]",
            "[2001:db8::2]",
            false,
            Page::Foreign,
        );
    }

    #[test]
    fn all_names_of_this_machine_are_one_site() {
        check(
            "http://localhost:3000",
            "127.0.0.1:15674",
            true,
            Page::Welcome,
        );
        check("http://127.0.0.2", "[::1]:15674", false, Page::Welcome);
    }

    #[test]
    fn a_page_of_this_machine_is_foreign_elsewhere() {
        check("http://localhost:3000", "a.example", true, Page::Foreign);
        check("http://localhost:3000", "a.example", false, Page::Foreign);
    }

    #[test]
    fn a_page_from_elsewhere_is_refused_on_loopback_alone() {
        check("https://b.example", "a.example", true, Page::Refused);
        check("https://b.example", "a.example", false, Page::Foreign);
        check("null", "localhost", true, Page::Refused);
        check("null", "localhost", false, Page::Foreign);
    }
}
