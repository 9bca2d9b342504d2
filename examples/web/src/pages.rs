//! The files of the pages, which are part of the program, and the headers that keep them to themselves.
#![expect(clippy::print_stdout, reason = "an example says where it is")]

use std::net::SocketAddr;

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::Error;

/// A path and what is there.
pub type File = (&'static str, &'static str);

/// What all pages use.
const SHARED: [File; 7] = [
    ("/icon.svg", include_str!("../pages/icon.svg")),
    ("/style.css", include_str!("../pages/style.css")),
    ("/session.js", include_str!("../pages/session.js")),
    ("/connection.js", include_str!("../pages/connection.js")),
    ("/timeline.js", include_str!("../pages/timeline.js")),
    (
        "/stomp.js",
        include_str!("../pages/vendor/stomp.umd.min.js"),
    ),
    (
        "/LICENSE-stompjs",
        include_str!("../pages/vendor/LICENSE-stompjs"),
    ),
];

/// Scripts and styles come from here alone, and connections go here alone: not even a message that got into the page as
/// HTML could do anything.
const POLICY: &str = "default-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; \
                      frame-ancestors 'none'; object-src 'none'";

/// Routes for these files and the shared ones.
pub fn routes<S: Clone + Send + Sync + 'static>(files: &[File]) -> Router<S> {
    let files = SHARED.iter().chain(files);
    files.fold(Router::new(), |router, &(path, text)| {
        let kind = HeaderValue::from_static(content_type(path));
        router.route(
            path,
            get(move || async move { ([(CONTENT_TYPE, kind)], text) }),
        )
    })
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        Some((_, "css")) => "text/css; charset=utf-8",
        _ if path == "/" => "text/html; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}

/// Serves these routes, and says where.
///
/// # Errors
/// When the address cannot be had.
pub async fn serve(name: &str, listen: SocketAddr, routes: Router) -> Result<(), Error> {
    let listener = TcpListener::bind(listen).await?;
    println!("{name}: http://{}/", listener.local_addr()?);
    axum::serve(listener, routes.layer(map_response(protect))).await?;
    Ok(())
}

/// Adds the headers that every answer has.
async fn protect(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
