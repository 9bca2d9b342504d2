//! What the log says of backends of authentication that cannot be asked.

mod support;

use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use leveret_broker::{
    AuthChain, Authenticator, Authorization, AuthorizationFuture, AuthorizerSource, Identity,
    Login, LoginFuture, LoginRefused, UserTable,
};
use support::backend::Backend;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps what is logged: the level and all fields, one line for each event.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// What has been logged since this was asked last.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

/// Knows nobody, as long as it is there.
#[derive(Clone, Default)]
struct Flaky(Arc<AtomicBool>);

impl Flaky {
    fn be_there(&self, is_there: bool) {
        self.0.store(!is_there, Ordering::Relaxed);
    }

    fn answer(&self) -> Result<(), LoginRefused> {
        if self.0.load(Ordering::Relaxed) {
            return Err(LoginRefused::unavailable("no answer"));
        }
        Ok(())
    }
}

impl Authenticator for Flaky {
    fn authenticate(&self, _: Login) -> LoginFuture<'_> {
        Box::pin(async {
            self.answer()?;
            Err(LoginRefused::new("unknown"))
        })
    }
}

impl AuthorizerSource for Flaky {
    fn authorizer_for<'a>(&'a self, _: &'a Identity, _: &'a Login) -> AuthorizationFuture<'a> {
        Box::pin(async {
            self.answer()?;
            Ok(Authorization::new(Arc::new(Backend::new())))
        })
    }
}

#[tokio::test]
async fn an_outage_is_told_of_when_it_begins_and_when_it_ends() {
    let (log, backend, rights) = (Log::default(), Flaky::default(), Flaky::default());
    let _logging = tracing::subscriber::set_default(log.clone());
    let table = || UserTable::new().with_user("ann", "secret");
    let chain = AuthChain::new()
        .with("directory", backend.clone())
        .with_authorization("table", table(), "rights", rights.clone())
        .with("internal", table());
    let log_in = async || {
        let login = Login::new("ann".to_owned(), b"secret".to_vec(), "PLAIN", None);
        chain.authenticate(login).await.unwrap();
    };
    let down = |name| {
        format!(
            "ERROR message=a backend of authentication cannot be asked backend={name:?} reason=no answer"
        )
    };
    let up = |name, logins| {
        format!(
            "INFO message=a backend of authentication can be asked again backend={name:?} logins={logins}"
        )
    };
    log_in().await;
    assert!(log.take().is_empty());
    for logins in [1, 5] {
        backend.be_there(false);
        rights.be_there(false);
        for n in 0..logins {
            log_in().await;
            let want = [down("directory"), down("rights")];
            assert_eq!(log.take(), if n == 0 { &want[..] } else { &[] });
        }
        backend.be_there(true);
        log_in().await;
        assert_eq!(log.take(), [up("directory", logins)]);
        rights.be_there(true);
        log_in().await;
        assert_eq!(log.take(), [up("rights", logins + 1)]);
        log_in().await;
        assert!(log.take().is_empty());
    }
}
