//! A live classroom: a teacher, students, questions, announcements, and a history of its own.
//!
//! Run it with `cargo run -p leveret-examples-web --bin classroom` and open the address that it prints. The teacher logs
//! in with the code that it prints too, students with their names; one browser is one person, so use another, or a private
//! window, for the next. With `--data-dir DIR` questions survive a restart.
//!
//! ```text
//!  student ── question ──► questions ──► queue `teacher`, durable ──► teacher
//!  teacher ── announcement, answer ──► class.in ──► Lesson (numbered, stored) ──► class ──► students
//! ```
//!
//! Questions wait in the teacher's queue, which is there before anyone enters, until the teacher has dealt with them: a page
//! that is reloaded gets them again. What the teacher says is stored before anybody hears it. So a page that subscribes
//! first and asks the store afterwards misses nothing, and knows by the numbers what it has twice.
#![expect(clippy::print_stdout, reason = "an example says where it is")]

mod lesson;
mod roles;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{FromRef, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use leveret_broker::{AccountChange, Broker, UserTable};
use leveret_examples_web::login::{self, User};
use leveret_examples_web::pages::{self, File};
use leveret_examples_web::sessions::{Denied, Sessions};
use leveret_examples_web::{Error, mount};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use lesson::{Lesson, Said};
use roles::TEACHER;

const FILES: [File; 2] = [
    ("/", include_str!("../../../pages/classroom.html")),
    ("/classroom.js", include_str!("../../../pages/classroom.js")),
];

#[derive(Parser)]
struct Options {
    /// Where to listen for browsers.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// What makes somebody the teacher; made up unless given.
    #[arg(long, env = "CLASSROOM_CODE", hide_env_values = true)]
    code: Option<String>,
    /// Where questions are kept; in memory alone unless given.
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

#[derive(Clone)]
struct App {
    broker: Arc<Broker>,
    sessions: Arc<Sessions>,
    lesson: Arc<Lesson>,
    code: Arc<str>,
}

#[derive(Deserialize)]
struct Login {
    name: String,
    /// What the teacher says instead of a name.
    code: Option<String>,
}

impl FromRef<App> for Arc<Sessions> {
    fn from_ref(app: &App) -> Self {
        Self::clone(&app.sessions)
    }
}

async fn log_in(State(app): State<App>, Json(login): Json<Login>) -> Response {
    let Some(code) = login.code else {
        if login.name.eq_ignore_ascii_case(TEACHER) {
            return login::answer(Err(Denied::Taken));
        }
        let begun = app.sessions.begin(&login.name);
        if begun.is_ok() && roles::admit_student(&app.broker, &login.name).is_err() {
            app.sessions.end(&login.name);
            return login::answer(Err(Denied::Full));
        }
        return login::answer(begun);
    };
    if !bool::from(code.as_bytes().ct_eq(app.code.as_bytes())) {
        return (StatusCode::FORBIDDEN, "That is not the teacher's code.").into_response();
    }
    // The queue has expired if the teacher was away for longer than a day.
    if lesson::open(&app.broker).await.is_err() {
        return login::answer(Err(Denied::Full));
    }
    // Whoever knows the code may come with another browser.
    app.sessions.end(TEACHER);
    login::answer(app.sessions.begin(TEACHER))
}

async fn log_out(State(app): State<App>, User(name): User) -> Response {
    app.sessions.end(&name);
    if name != TEACHER {
        let name = name.as_str().into();
        // Its connections are closed with it.
        drop(
            app.broker
                .change_accounts(AccountChange::DeleteUser { name }),
        );
    }
    login::goodbye()
}

#[derive(Debug, Deserialize)]
struct After {
    after: u64,
}

async fn history(
    State(app): State<App>,
    User(name): User,
    Query(After { after }): Query<After>,
) -> Json<Vec<Said>> {
    Json(app.lesson.heard_by(&name, after))
}

async fn web_socket(State(app): State<App>, User(name): User, request: Request) -> Response {
    mount::mount(&app.broker, &name, request)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let options = Options::parse();
    let mut builder = Broker::builder()
        // Nobody comes in but by way of the web server.
        .authenticator(UserTable::new())
        .accounts(roles::teacher_alone()?);
    if let Some(directory) = options.data_dir {
        builder = builder.data_dir(directory);
    }
    let broker = builder.start().await?;
    lesson::open(&broker).await?;
    let app = App {
        lesson: lesson::hold(&broker).await?,
        broker: Arc::new(broker),
        sessions: Arc::default(),
        code: options.code.map_or_else(roles::make_up_code, Ok)?.into(),
    };
    let code = Arc::clone(&app.code);
    let routes = Router::new()
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .route("/me", get(login::me))
        .route("/history", get(history))
        .route("/ws", get(web_socket))
        .merge(pages::routes(&FILES))
        .with_state(app);
    println!("the teacher's code: {code}");
    pages::serve("classroom", options.listen, routes).await
}
