//! Having questions of sessions answered by the embedding program.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::login::{self, Check, Checking};
use crate::auth::{Identity, LoginRefused, Unavailable};
use crate::session::{Answer, Answered, Ask, Rights, Secret};
use crate::shared::Shared;

/// An answer to come.
type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A question under way. Dropped, it is not asked any further.
pub(super) struct Asking {
    stage: Stage,
    is_login: bool,
}

enum Stage {
    /// It is a login that is not looked at yet.
    Waiting(Pin<Box<dyn Future<Output = Check> + Send>>),
    Asked(Answering),
}

impl Asking {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        loop {
            match &mut self.stage {
                Stage::Waiting(turn) => {
                    let check = ready!(turn.as_mut().poll(cx));
                    self.stage = Stage::Asked(answer_of(check));
                }
                Stage::Asked(answer) => return answer.as_mut().poll(cx),
            }
        }
    }

    /// Whether nobody needs the answer when the client is gone. Once a password is looked at it is to be known whether it
    /// was wrong, or whoever hangs up early could have any number looked at.
    pub(super) fn ends_with_client(&self) -> bool {
        !self.is_login || matches!(self.stage, Stage::Waiting(_))
    }
}

/// Puts a question to whomever it is for.
pub(super) fn ask(shared: Arc<Shared>, ask: Ask) -> Asking {
    let is_login = matches!(ask, Ask::Login(_));
    let stage = match ask {
        Ask::Login(login) => match login::check(shared, *login) {
            Checking::Now(check) => Stage::Asked(answer_of(check)),
            Checking::Later(turn) => Stage::Waiting(turn),
        },
        Ask::Rights(rights) => Stage::Asked(Box::pin(async move {
            Answer::Rights(ask_for_rights(&shared, *rights).await)
        })),
        Ask::Secret(secret) => Stage::Asked(Box::pin(async move {
            Answer::Secret(renew(&shared, &secret).await)
        })),
    };
    Asking { stage, is_login }
}

fn answer_of(check: Check) -> Answering {
    Box::pin(async move { Answer::Login(check.outcome().await) })
}

/// Asks what a user may do, one question after the other. Whoever cannot be asked has refused.
pub(crate) async fn ask_for_rights(shared: &Shared, rights: Rights) -> Answered {
    let Rights {
        authorizer,
        user,
        questions,
        until_refused,
    } = rights;
    let mut answers = Vec::with_capacity(questions.len());
    for question in &questions {
        let question = question.as_question();
        let answer = in_time(shared, authorizer.authorize(question)).await;
        let answer = answer.unwrap_or_else(|TooLate| Err(Unavailable::new(too_late(shared))));
        let may = answer.unwrap_or_else(|reason| {
            tracing::error!(user = &*user, ?question, %reason, "an authorizer cannot be asked: refused");
            false
        });
        answers.push(may);
        if until_refused && !may {
            break;
        }
    }
    Answered { questions, answers }
}

/// Has a new secret checked.
pub(crate) async fn renew(
    shared: &Shared,
    secret: &Secret,
) -> Result<Option<Identity>, LoginRefused> {
    let renewed = in_time(shared, secret.authorizer.renew(&secret.secret)).await;
    renewed.unwrap_or_else(|TooLate| Err(LoginRefused::unavailable(too_late(shared))))
}

fn too_late(shared: &Shared) -> String {
    let timeout = shared.config.authorization_timeout_ms();
    format!("no answer within {timeout} ms")
}

/// The time for an answer is over.
struct TooLate;

async fn in_time<T>(shared: &Shared, answer: impl Future<Output = T>) -> Result<T, TooLate> {
    let mut answer = pin!(answer);
    let mut sleep = None;
    poll_fn(|cx| {
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        // Nobody looks at a clock for an answer that is there.
        let sleep = sleep.get_or_insert_with(|| {
            let timeout = shared.config.authorization_timeout_ms();
            let deadline = shared.now().saturating_add(timeout);
            shared.clock.sleep_until(deadline)
        });
        Pin::new(sleep).poll(cx).map(|()| Err(TooLate))
    })
    .await
}
