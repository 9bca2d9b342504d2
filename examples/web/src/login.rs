//! Logging in with a name, and finding out later whose request it is.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use serde::Deserialize;

use crate::sessions::{Denied, Sessions};

const COOKIE_NAME: &str = "leveret_session";

/// What a page sends to log in.
#[derive(Debug, Deserialize)]
pub struct Login {
    /// The name that is wanted.
    pub name: String,
}

/// Who makes a request; those without a session are answered with 401.
#[derive(Clone, Debug)]
pub struct User(pub String);

impl<S> FromRequestParts<S> for User
where
    S: Send + Sync,
    Arc<Sessions>: FromRef<S>,
{
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, StatusCode> {
        let sessions = Arc::<Sessions>::from_ref(state);
        let user = cookie(&parts.headers).and_then(|cookie| sessions.user(cookie));
        user.map(Self).ok_or(StatusCode::UNAUTHORIZED)
    }
}

/// Answers with the user's name.
pub async fn me(User(name): User) -> String {
    name
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(COOKIE).into_iter();
    let mut pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .find(|(name, _)| *name == COOKIE_NAME)
        .map(|(_, value)| value)
}

/// The answer to a login: a cookie that scripts cannot read and that pages of others do not send.
#[must_use]
pub fn answer(begun: Result<String, Denied>) -> Response {
    match begun {
        Ok(value) => set_cookie(&format!("{value}; Max-Age=86400")),
        Err(Denied::NotAName) => {
            let text = "A name has 1 to 24 letters, digits, - and _.";
            (StatusCode::BAD_REQUEST, text).into_response()
        }
        Err(Denied::Taken) => {
            (StatusCode::CONFLICT, "Somebody else has this name.").into_response()
        }
        Err(Denied::Full) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "There is no room at the moment.",
        )
            .into_response(),
    }
}

/// Makes the browser forget its cookie.
#[must_use]
pub fn goodbye() -> Response {
    set_cookie("; Max-Age=0")
}

fn set_cookie(value: &str) -> Response {
    // Behind TLS it would be `Secure` as well.
    let cookie = format!("{COOKIE_NAME}={value}; Path=/; HttpOnly; SameSite=Strict");
    (StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response()
}
