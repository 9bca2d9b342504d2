//! What a session has to have answered before it can go on.

use std::fmt;
use std::sync::Arc;

use crate::access::OwnedQuestion;
use crate::auth::{Authorizer, Identity, Login, LoginRefused, Password};

/// A question of a session, for `net` to put to the embedding program. There is one at a time, and nothing is read until
/// [`Protocol::handle_answer`](super::Protocol::handle_answer) has the answer, or the session has come to its end.
pub(crate) enum Ask {
    /// A login to be checked.
    Login(Box<Login>),
    /// What a user may do.
    Rights(Box<Rights>),
    /// Whether a user's new secret is good.
    Secret(Box<Secret>),
}

/// Questions of one user.
pub(crate) struct Rights {
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) user: Arc<str>,
    pub(crate) questions: Vec<OwnedQuestion>,
    /// After a refusal the rest need not be asked.
    pub(crate) until_refused: bool,
}

/// A new secret of a user.
pub(crate) struct Secret {
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) user: Arc<str>,
    pub(crate) secret: Password,
}

/// What came of an [`Ask`].
#[derive(Debug)]
pub(crate) enum Answer {
    Login(Result<Identity, LoginRefused>),
    Rights(Answered),
    Secret(Result<Option<Identity>, LoginRefused>),
}

/// What was answered to the first of these questions, one by one.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) questions: Vec<OwnedQuestion>,
    pub(crate) answers: Vec<bool>,
}

impl fmt::Debug for Ask {
    /// Secrets are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login(login) => f.debug_tuple("Login").field(login).finish(),
            Self::Rights(rights) => f.debug_tuple("Rights").field(&rights.questions).finish(),
            Self::Secret(secret) => f.debug_tuple("Secret").field(&secret.user).finish(),
        }
    }
}
