//! Class tx (90): publishes and acknowledgements that take effect together.

use super::arguments::method;

method! {
    /// Makes the channel transactional.
    pub struct Select {}
    = "tx.select" (90, 10):
}

method! {
    /// The channel is transactional.
    pub struct SelectOk {}
    = "tx.select-ok" (90, 11):
}

method! {
    /// Has everything since the last commit or rollback take effect.
    pub struct Commit {}
    = "tx.commit" (90, 20):
}

method! {
    /// It has taken effect.
    pub struct CommitOk {}
    = "tx.commit-ok" (90, 21):
}

method! {
    /// Forgets everything since the last commit or rollback.
    pub struct Rollback {}
    = "tx.rollback" (90, 30):
}

method! {
    /// It is forgotten.
    pub struct RollbackOk {}
    = "tx.rollback-ok" (90, 31):
}
