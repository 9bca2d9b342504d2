//! From the HTTP request to the WebSocket (RFC 6455, section 4; behaviour reference, section 21).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tungstenite::error::ProtocolError;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response_with_body, write_response};
use tungstenite::http::header::{
    AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use tungstenite::http::{self, HeaderMap, HeaderValue, StatusCode};

use super::origin::{self, Page};
use crate::config::WebSocketConfig;
use crate::connection::Endpoints;
use crate::session::Credentials;
use crate::upgrade_request::UpgradeRequest;

/// The largest request that is waited for: room for cookies and a token, and little to lose when strangers send half of
/// one by the thousand.
const REQUEST_SIZE_MAX: usize = 16 * 1024;

/// The subprotocols of STOMP, the highest first, which is the one that is chosen.
const STOMP: [&str; 3] = ["v12.stomp", "v11.stomp", "v10.stomp"];

/// The subprotocol of clients that speak AMQP 0-9-1.
const AMQP: &str = "amqp";

/// What became of the beginning of a connection.
pub(super) enum Upgrade {
    /// More of the request has to come.
    Incomplete,
    Accepted(Accepted),
    /// This answer is the end of it.
    Refused(Vec<u8>),
}

/// A request that was agreed to.
pub(super) struct Accepted {
    /// How many bytes it had.
    pub(super) size: usize,
    pub(super) response: Vec<u8>,
    pub(super) request: UpgradeRequest,
    pub(super) speaks: Speaks,
    /// What the `Authorization` header says, where that counts.
    pub(super) credentials: Option<Credentials>,
    /// It came from a page of another site, which nobody has allowed.
    pub(super) is_foreign: bool,
}

/// What is spoken within the WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Stomp,
    Amqp,
    /// STOMP, unless the first bytes are those of AMQP.
    Either,
}

/// Reads a request that came to a listener, on a socket with these ends, and answers it.
pub(super) fn upgrade(
    input: &[u8],
    config: &WebSocketConfig,
    endpoints: Option<Endpoints>,
) -> Upgrade {
    let (size, request) = match Request::try_parse(input) {
        Ok(Some(parsed)) => parsed,
        Ok(None) if input.len() <= REQUEST_SIZE_MAX => return Upgrade::Incomplete,
        Ok(None) => return refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        Err(error) => return refused(status_of(&error)),
    };
    if request.uri().path().trim_end_matches('/') != config.path.trim_end_matches('/') {
        return refused(StatusCode::NOT_FOUND);
    }
    let (response, chosen) = match answer(&request) {
        Ok(answer) => answer,
        Err(status) => return refused(status),
    };
    let page = origin::judge(request.headers(), &config.origins, endpoints);
    if page == Page::Refused {
        return refused(StatusCode::FORBIDDEN);
    }
    let mut bytes = Vec::new();
    if write_response(&mut bytes, &response).is_err() {
        return refused(StatusCode::BAD_REQUEST);
    }
    let credentials = config
        .http_auth
        .then(|| basic_credentials(request.headers()));
    Upgrade::Accepted(Accepted {
        size,
        response: bytes,
        request: described(&request),
        speaks: match chosen {
            Some(AMQP) => Speaks::Amqp,
            Some(_) => Speaks::Stomp,
            None => Speaks::Either,
        },
        credentials: credentials.flatten(),
        is_foreign: page == Page::Foreign,
    })
}

/// Answers a request that came to the embedding program's own web server, which has found the path.
///
/// # Errors
/// The answer that says no.
pub(crate) fn agree<B>(
    request: &http::Request<B>,
    config: &WebSocketConfig,
) -> Result<http::Response<()>, http::Response<()>> {
    let (response, _) = answer(request).map_err(no)?;
    origin::may_ask(request.headers(), &config.origins)
        .then_some(response)
        .ok_or_else(|| no(StatusCode::FORBIDDEN))
}

fn no(status: StatusCode) -> http::Response<()> {
    let mut response = http::Response::new(());
    *response.status_mut() = status;
    if status == StatusCode::UPGRADE_REQUIRED {
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    response
}

/// The yes, and which subprotocol it names.
fn answer<B>(
    request: &http::Request<B>,
) -> Result<(http::Response<()>, Option<&'static str>), StatusCode> {
    let response = create_response_with_body(request, || ());
    let mut response = response.map_err(|error| status_of(&error))?;
    let chosen = subprotocol(request.headers());
    if let Some(chosen) = chosen {
        let value = HeaderValue::from_static(chosen);
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
    Ok((response, chosen))
}

/// What an authenticator is shown of a request.
fn described(request: &Request) -> UpgradeRequest {
    let headers = request.headers().iter().filter_map(|(name, value)| {
        let value = str::from_utf8(value.as_bytes()).ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    let uri = request.uri();
    UpgradeRequest::new(uri.path(), uri.query(), headers.collect())
}

/// The one of the offered subprotocols that is spoken, if any. What is offered first decides between AMQP and STOMP;
/// among those of STOMP the highest is chosen, as in RabbitMQ. Of a client that offers none, the first bytes tell.
fn subprotocol(headers: &HeaderMap) -> Option<&'static str> {
    let offers = || {
        let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter();
        let texts = values.filter_map(|value| value.to_str().ok());
        texts.flat_map(|text| text.split(',')).map(str::trim)
    };
    let first = offers().find(|offer| *offer == AMQP || STOMP.contains(offer))?;
    if first == AMQP {
        return Some(AMQP);
    }
    STOMP
        .into_iter()
        .find(|known| offers().any(|offer| offer == *known))
}

/// RFC 7617: `Basic`, and the name and the password with a colon between them in base64.
fn basic_credentials(headers: &HeaderMap) -> Option<Credentials> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let mut decoded = STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let password = decoded.split_off(colon + 1);
    decoded.truncate(colon);
    let username = String::from_utf8(decoded).ok()?;
    Some(Credentials { username, password })
}

fn status_of(error: &tungstenite::Error) -> StatusCode {
    use tungstenite::Error::Protocol;
    match error {
        Protocol(ProtocolError::WrongHttpMethod) => StatusCode::METHOD_NOT_ALLOWED,
        Protocol(
            ProtocolError::MissingConnectionUpgradeHeader
            | ProtocolError::MissingUpgradeWebSocketHeader
            | ProtocolError::MissingSecWebSocketVersionHeader,
        ) => StatusCode::UPGRADE_REQUIRED,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn refused(status: StatusCode) -> Upgrade {
    // RFC 9110, section 15.5.22, asks for what to upgrade to; RFC 6455, section 4.4, for the version.
    let hints = if status == StatusCode::UPGRADE_REQUIRED {
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    } else {
        ""
    };
    Upgrade::Refused(
        format!("HTTP/1.1 {status}\r\n{hints}Content-Length: 0\r\nConnection: close\r\n\r\n")
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origins;

    fn config() -> WebSocketConfig {
        WebSocketConfig::default()
    }

    fn request(path: &str, headers: &str) -> String {
        format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        )
    }

    #[track_caller]
    fn accepted(headers: &str, config: &WebSocketConfig) -> Accepted {
        let request = request("/ws", headers);
        match upgrade(request.as_bytes(), config, None) {
            Upgrade::Accepted(accepted) => {
                assert_eq!(accepted.size, request.len());
                accepted
            }
            Upgrade::Incomplete => panic!("incomplete"),
            Upgrade::Refused(response) => panic!("{}", String::from_utf8_lossy(&response)),
        }
    }

    #[track_caller]
    fn check_refused(request: &str, config: &WebSocketConfig, status: u16) {
        let Upgrade::Refused(response) = upgrade(request.as_bytes(), config, None) else {
            panic!("{request} was not refused");
        };
        let start = format!("HTTP/1.1 {status} ");
        assert!(
            response.starts_with(start.as_bytes()),
            "{}",
            String::from_utf8_lossy(&response)
        );
    }

    #[test]
    fn the_answer_is_that_of_the_rfc() {
        let text = String::from_utf8(accepted("", &config()).response).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
            "{text}"
        );
        // RFC 6455, section 1.3.
        assert!(
            text.to_ascii_lowercase()
                .contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
            "{text}"
        );
        assert!(text.ends_with("\r\n\r\n"), "{text}");
    }

    #[test]
    fn the_highest_version_of_stomp_is_chosen_and_amqp_if_it_comes_first() {
        for (offer, want, speaks) in [
            (
                "v10.stomp, v11.stomp,v12.stomp",
                Some("v12.stomp"),
                Speaks::Stomp,
            ),
            ("chat, v10.stomp", Some("v10.stomp"), Speaks::Stomp),
            ("chat", None, Speaks::Either),
            ("amqp", Some("amqp"), Speaks::Amqp),
            ("amqp, v12.stomp", Some("amqp"), Speaks::Amqp),
            ("v12.stomp, amqp", Some("v12.stomp"), Speaks::Stomp),
        ] {
            let headers = format!("Sec-WebSocket-Protocol: {offer}\r\n");
            let accepted = accepted(&headers, &config());
            let text = String::from_utf8(accepted.response)
                .unwrap()
                .to_ascii_lowercase();
            let line = want.map(|want| format!("sec-websocket-protocol: {want}\r\n"));
            assert_eq!(accepted.speaks, speaks, "{offer}");
            assert_eq!(
                text.contains("sec-websocket-protocol"),
                line.is_some(),
                "{text}"
            );
            assert!(line.is_none_or(|line| text.contains(&line)), "{text}");
        }
    }

    #[test]
    fn half_a_request_is_waited_for_and_a_huge_one_is_not() {
        let request = request("/ws", "");
        for end in 0..request.len() {
            let half = &request.as_bytes()[..end];
            assert!(
                matches!(upgrade(half, &config(), None), Upgrade::Incomplete),
                "{end}"
            );
        }
        let huge = format!(
            "GET /ws HTTP/1.1\r\nCookie: {}",
            "x".repeat(REQUEST_SIZE_MAX)
        );
        check_refused(&huge, &config(), 431);
    }

    #[test]
    fn what_is_no_request_for_a_websocket_here_is_refused() {
        check_refused(&request("/nope", ""), &config(), 404);
        check_refused("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", &config(), 426);
        check_refused("POST /ws HTTP/1.1\r\nHost: x\r\n\r\n", &config(), 405);
        check_refused("CONNECT\naccept-version:1.2\n\n\0", &config(), 400);
        let bad_key = request("/ws", "").replace("dGhl", "x");
        check_refused(&bad_key, &config(), 400);
        // The query is the client's affair.
        let with_query = request("/ws?token=1", "");
        assert!(matches!(
            upgrade(with_query.as_bytes(), &config(), None),
            Upgrade::Accepted(_)
        ));
    }

    #[test]
    fn pages_from_elsewhere_are_refused_where_origins_are_listed() {
        let listed = WebSocketConfig {
            origins: Origins::Listed(vec!["https://app.example".to_owned()]),
            ..config()
        };
        accepted("Origin: https://APP.example\r\n", &listed);
        accepted("", &listed);
        check_refused(
            &request("/ws", "Origin: https://evil.example\r\n"),
            &listed,
            403,
        );
        accepted("Origin: https://evil.example\r\n", &config());
    }

    /// The status that a request to a web server of the application's gets.
    #[track_caller]
    fn check_agreed(headers: &str, config: &WebSocketConfig, status: u16) {
        let text = request("/any/path", headers);
        let (_, request) = Request::try_parse(text.as_bytes()).unwrap().unwrap();
        let (Ok(response) | Err(response)) = agree(&request, config);
        assert_eq!(response.status().as_u16(), status, "{headers}");
    }

    #[test]
    fn to_another_web_server_only_its_own_pages_may_come_unless_origins_are_listed() {
        check_agreed("", &config(), 101);
        check_agreed("Origin: https://LOCALHOST\r\n", &config(), 101);
        check_agreed("Origin: https://localhost:8080\r\n", &config(), 403);
        check_agreed("Origin: https://evil.example\r\n", &config(), 403);
        check_agreed("Origin: null\r\n", &config(), 403);
        let listed = WebSocketConfig {
            origins: Origins::Listed(vec!["https://app.example".to_owned()]),
            ..config()
        };
        check_agreed("Origin: https://app.example\r\n", &listed, 101);
        check_agreed("Origin: https://localhost\r\n", &listed, 403);
    }

    #[test]
    fn a_web_server_is_told_what_to_answer() {
        let text = request("/", "Sec-WebSocket-Protocol: v11.stomp, v12.stomp\r\n");
        let (_, request) = Request::try_parse(text.as_bytes()).unwrap().unwrap();
        let response = agree(&request, &config()).unwrap();
        let header = |name| response.headers().get(name).unwrap().to_str().unwrap();
        assert_eq!(header("sec-websocket-protocol"), "v12.stomp");
        assert_eq!(
            header("sec-websocket-accept"),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );

        let plain = http::Request::get("/ws").body("anything").unwrap();
        let refused = agree(&plain, &config()).unwrap_err();
        assert_eq!(refused.status(), StatusCode::UPGRADE_REQUIRED);
        assert_eq!(
            refused.headers().get("sec-websocket-version").unwrap(),
            "13"
        );
        let post = http::Request::post("/ws").body(()).unwrap();
        let refused = agree(&post, &config()).unwrap_err();
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn credentials_of_the_request_count_where_they_are_asked_for() {
        let header = "Authorization: Basic YW5uOmE6Yg==\r\n";
        assert!(accepted(header, &config()).credentials.is_none());
        let asked = WebSocketConfig {
            http_auth: true,
            ..config()
        };
        let found = accepted(header, &asked).credentials.unwrap();
        assert_eq!(
            (found.username.as_str(), &found.password[..]),
            ("ann", &b"a:b"[..])
        );
        for odd in [
            "",
            "Authorization: Bearer x\r\n",
            "Authorization: Basic !\r\n",
        ] {
            assert!(accepted(odd, &asked).credentials.is_none(), "{odd}");
        }
    }
}
