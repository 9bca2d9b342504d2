//! Logins that hold for a time, and new secrets for them (behaviour reference, sections 2.5, 2.7 and 18.4).

mod support;

use std::time::{Duration, SystemTime};

use leveret_amqp_codec::method::{basic, connection};
use leveret_broker::{
    Accounts, Broker, ConsumeOptions, Identity, LoginRefused, Permissions, Publish, QueueOptions,
    User, VirtualClock,
};
use support::backend::{Backend, ann};
use support::{Greeting, Wire, beside, pass, short, soon, until};

const SECOND: u64 = 1000;

/// So long after the clock's beginning.
fn after(clock: &VirtualClock, time_ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(clock.now().as_millis() + time_ms)
}

/// A broker on a clock, whose users are known for a minute.
async fn broker(backend: &Backend) -> (Broker, VirtualClock) {
    let clock = VirtualClock::new();
    let end = after(&clock, 60 * SECOND);
    backend.identities(move |identity| identity.valid_until(end));
    let builder = Broker::builder().virtual_clock(clock.clone());
    (backend.broker_with(builder).await, clock)
}

async fn send_secret(wire: &mut Wire, secret: &str) {
    let update = connection::UpdateSecret {
        new_secret: secret.as_bytes(),
        reason: short("the old one expires"),
    };
    wire.send_on(0, &update).await;
}

#[tokio::test]
async fn an_expired_login_ends_its_connection() {
    let backend = Backend::new();
    let (broker, clock) = broker(&backend).await;
    let mut wire = ann().open_channel(&broker).await;
    wire.declare("q").await;
    pass(&broker, &clock, 60 * SECOND - 1).await;
    wire.quiet().await;
    pass(&broker, &clock, 1).await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!(
        (closed.code, &*closed.text, closed.method),
        (320, "CONNECTION_FORCED - credential expired", (0, 0))
    );
}

#[tokio::test]
async fn an_expired_login_ends_a_connection_that_waits_for_an_answer() {
    let backend = Backend::new();
    let (broker, clock) = broker(&backend).await;
    let mut wire = ann().open_channel(&broker).await;
    pass(&broker, &clock, 50 * SECOND).await;
    backend.hold();
    wire.publish("", "q", b"m").await;
    backend.until_asked().await;
    pass(&broker, &clock, 10 * SECOND).await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!(closed.text, "CONNECTION_FORCED - credential expired");
    until("the end of the question", || backend.waiting() == 0).await;
}

/// What has expired before the virtual host is open ends the connection as soon as it is.
#[tokio::test]
async fn a_login_that_has_expired_already_is_of_no_use() {
    let backend = Backend::new();
    let (broker, clock) = broker(&backend).await;
    pass(&broker, &clock, 61 * SECOND).await;
    let mut wire = ann().connect(&broker).await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!(closed.text, "CONNECTION_FORCED - credential expired");
    let end = after(&clock, 0);
    let expired = Identity::new("ann").valid_until(end);
    let client = broker.client_for(&expired, "/").await.unwrap();
    let refused = client.declare_queue("q", QueueOptions::default()).await;
    assert!(refused.unwrap_err().is_expired());
}

#[tokio::test]
async fn a_new_secret_prolongs_a_login_and_has_everything_asked_anew() {
    let backend = Backend::new();
    let (broker, clock) = broker(&backend).await;
    let mut wire = ann().open_channel(&broker).await;
    wire.declare("q").await;
    wire.publish("", "q", b"one").await;
    wire.consume_no_ack("q").await;
    assert_eq!(wire.delivery().await.text(), "one");
    backend.asked();
    let (fresh, end) = (backend.identity("ann"), after(&clock, 100 * SECOND));
    backend.secrets(move |secret| {
        assert_eq!(secret, "fresh");
        Ok(Some(fresh.clone().valid_until(end)))
    });
    for answer_late in [false, true] {
        if answer_late {
            backend.answer_late();
        }
        send_secret(&mut wire, "fresh").await;
        // What comes behind it waits for it.
        wire.publish("", "q", b"two").await;
        wire.expect_on(0, "connection.update-secret-ok").await;
        assert_eq!(wire.delivery().await.text(), "two");
        let wanted = [
            "vhost / from 127.0.0.1",
            "read queue q",
            "write exchange amq.default",
        ];
        assert_eq!(backend.asked(), wanted);
    }
    pass(&broker, &clock, 100 * SECOND - 1).await;
    wire.quiet().await;
    pass(&broker, &clock, 1).await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!(closed.text, "CONNECTION_FORCED - credential expired");
}

#[tokio::test]
async fn a_refused_secret_ends_the_connection() {
    for late in [false, true] {
        let backend = Backend::new();
        let (broker, _clock) = broker(&backend).await;
        let mut wire = ann().open_channel(&broker).await;
        if late {
            backend.answer_late();
        }
        backend.secrets(|_| Err(LoginRefused::new("the signature does not fit")));
        send_secret(&mut wire, "forged").await;
        let closed = wire.expect_connection_closed().await;
        assert_eq!(
            (closed.code, &*closed.text, closed.method),
            (
                530,
                "NOT_ALLOWED - New secret was refused by one of the backends",
                (10, 70)
            )
        );
    }
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_refused() {
    let backend = Backend::new();
    let (broker, _clock) = broker(&backend).await;
    let bob = backend.identity("bob");
    backend.secrets(move |_| Ok(Some(bob.clone())));
    let mut wire = ann().open_channel(&broker).await;
    send_secret(&mut wire, "that of bob").await;
    let closed = wire.expect_connection_closed().await;
    let text = "NOT_ALLOWED - New secret was refused by one of the backends";
    assert_eq!(closed.text, text);
    // As is one that leaves it open what the user may do.
    backend.secrets(|_| Ok(Some(Identity::new("ann"))));
    let mut wire = ann().open_channel(&broker).await;
    send_secret(&mut wire, "of no rights").await;
    assert_eq!(wire.expect_connection_closed().await.text, text);
}

#[tokio::test]
async fn a_secret_that_takes_too_long_is_refused() {
    let backend = Backend::new();
    let (broker, clock) = broker(&backend).await;
    let mut wire = ann().open_channel(&broker).await;
    backend.hold();
    send_secret(&mut wire, "fresh").await;
    backend.until_asked().await;
    pass(&broker, &clock, 15 * SECOND).await;
    let closed = wire.expect_connection_closed().await;
    let text = "NOT_ALLOWED - New secret was refused by one of the backends";
    assert_eq!(closed.text, text);
}

#[tokio::test]
async fn a_virtual_host_that_is_closed_to_the_new_secret_ends_the_connection() {
    let backend = Backend::new();
    let (broker, _clock) = broker(&backend).await;
    let mut wire = ann().open_channel(&broker).await;
    let fresh = backend.identity("ann");
    backend.secrets(move |_| Ok(Some(fresh.clone())));
    backend.refuse(["vhost / from 127.0.0.1"]);
    send_secret(&mut wire, "fresh").await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!(
        (closed.code, &*closed.text),
        (
            530,
            "NOT_ALLOWED - access to vhost '/' refused for user 'ann'"
        )
    );
}

#[tokio::test]
async fn consumers_that_may_not_read_any_more_are_cancelled() {
    let backend = Backend::new();
    let (broker, _clock) = broker(&backend).await;
    let mut wire = ann().open_channel(&broker).await;
    for queue in ["lost", "kept"] {
        wire.declare(queue).await;
        wire.consume_no_ack(queue).await;
    }
    // Nobody needs a right for direct replies.
    wire.consume_no_ack("amq.rabbitmq.reply-to").await;
    let fresh = backend.identity("ann");
    backend.secrets(move |_| Ok(Some(fresh.clone())));
    backend.refuse(["read queue lost"]);
    backend.answer_late();
    send_secret(&mut wire, "fresh").await;
    let cancel = wire.expect("basic.cancel").await;
    let leveret_amqp_codec::Method::BasicCancel(cancel) = cancel.method() else {
        unreachable!("its name was looked at")
    };
    assert_eq!(&*cancel.consumer_tag, "lost");
    wire.expect_on(0, "connection.update-secret-ok").await;
    wire.publish("", "lost", b"m").await;
    wire.publish("", "kept", b"m").await;
    assert_eq!(wire.delivery().await.routing_key, "kept");
    assert_eq!(wire.look("lost").await.messages, 1);
    let cancelled = basic::Consume {
        queue: short("lost"),
        ..basic::Consume::default()
    };
    wire.send(&cancelled).await;
    let closed = wire.expect_channel_closed().await;
    let text = "ACCESS_REFUSED - access to queue 'lost' in vhost '/' refused for user 'ann'";
    assert_eq!(closed.text, text);
}

#[tokio::test]
async fn nothing_changes_where_a_secret_makes_no_difference() {
    let backend = Backend::new();
    let (broker, clock) = broker(&backend).await;
    let mut wire = ann().open_channel(&broker).await;
    send_secret(&mut wire, "whatever").await;
    wire.expect_on(0, "connection.update-secret-ok").await;
    pass(&broker, &clock, 60 * SECOND).await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!(closed.text, "CONNECTION_FORCED - credential expired");
}

/// Somebody else says who a user is and for how long, and the accounts what it may do.
#[tokio::test]
async fn rights_of_accounts_and_a_time() {
    let backend = Backend::new();
    let clock = VirtualClock::new();
    let end = after(&clock, 60 * SECOND);
    let make = move |identity: Identity| identity.with_rights_of_account().valid_until(end);
    backend.identities(make);
    let permissions = Permissions::new("^q$", "", "").unwrap();
    let accounts = Accounts::default().with_user(User::new("ann"), "/", permissions);
    let builder = Broker::builder()
        .virtual_clock(clock.clone())
        .accounts(accounts);
    let broker = backend.broker_with(builder).await;
    let mut wire = ann().open_channel(&broker).await;
    wire.declare("q").await;
    let fresh = backend
        .identity("ann")
        .valid_until(after(&clock, 90 * SECOND));
    backend.secrets(move |_| Ok(Some(fresh.clone())));
    send_secret(&mut wire, "fresh").await;
    wire.expect_on(0, "connection.update-secret-ok").await;
    wire.publish("", "q", b"m").await;
    let closed = wire.expect_channel_closed().await;
    assert_eq!(closed.code, 403, "rights come from where they came before");
    assert_eq!(backend.asked(), [""; 0]);
    pass(&broker, &clock, 90 * SECOND).await;
    let closed = wire.expect_connection_closed().await;
    assert_eq!(closed.text, "CONNECTION_FORCED - credential expired");
}

#[tokio::test]
async fn a_client_of_the_process_expires() {
    let backend = Backend::new();
    let (broker, clock) = broker(&backend).await;
    let client = broker
        .client_for(&backend.identity("ann"), "/")
        .await
        .unwrap();
    client.declare_queue("q", Default::default()).await.unwrap();
    let mut consumer = client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
    client.publish(Publish::to_queue("q", b"m")).await.unwrap();
    soon("a delivery", consumer.recv()).await.unwrap().ack();
    let fresh = backend
        .identity("ann")
        .valid_until(after(&clock, 90 * SECOND));
    backend.secrets(move |_| Ok(Some(fresh.clone())));
    client.update_secret(b"fresh").await.unwrap();
    pass(&broker, &clock, 90 * SECOND - 1).await;
    client.publish(Publish::to_queue("q", b"m")).await.unwrap();
    soon("a delivery", consumer.recv()).await.unwrap().ack();
    let waiting = beside(async move { consumer.recv().await.is_none() });
    tokio::task::yield_now().await;
    clock.advance(Duration::from_millis(1));
    assert!(soon("the end of the consumer", waiting).await.unwrap());
    let refused = client.publish(Publish::to_queue("q", b"m")).await;
    assert!(refused.unwrap_err().is_expired());
    let refused = client.queue_info("q").await;
    assert_eq!(refused.unwrap_err().to_string(), "credential expired");
}

#[tokio::test]
async fn a_client_of_the_process_can_be_refused_a_new_secret() {
    let backend = Backend::new();
    let (broker, _clock) = broker(&backend).await;
    let client = broker
        .client_for(&backend.identity("ann"), "/")
        .await
        .unwrap();
    backend.secrets(|_| Err(LoginRefused::new("the signature does not fit")));
    let refused = client.update_secret(b"forged").await.unwrap_err();
    assert!(refused.is_not_allowed(), "{refused}");
    let fresh = backend.identity("ann");
    backend.secrets(move |_| Ok(Some(fresh.clone())));
    backend.refuse(["vhost /"]);
    let refused = client.update_secret(b"fresh").await.unwrap_err();
    assert!(refused.is_not_allowed(), "{refused}");
    // It is what it was.
    client.declare_queue("q", Default::default()).await.unwrap();
    let mut consumer = client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
    backend.refuse(["read queue q"]);
    client.update_secret(b"fresh").await.unwrap();
    assert!(soon("the end", consumer.recv()).await.is_none());
    let refused = client.consume("q", ConsumeOptions::default()).await;
    assert!(refused.unwrap_err().is_access_refused());
}

#[tokio::test]
async fn anonymous_users_and_those_of_tables_do_not_expire() {
    let clock = VirtualClock::new();
    let broker = support::start(Broker::builder().virtual_clock(clock.clone())).await;
    let mut wire = Greeting::default().open_channel(&broker).await;
    pass(&broker, &clock, 1_000_000_000).await;
    wire.quiet().await;
}

#[cfg(feature = "stomp")]
#[tokio::test]
async fn an_expired_login_ends_a_stomp_session() {
    let backend = Backend::new();
    let (broker, clock) = broker(&backend).await;
    let headers = [("accept-version", "1.2"), ("login", "ann")];
    let mut stomp = support::Stomp::connect_with(&broker, &headers).await;
    stomp.publish("/queue/q", "m").await;
    pass(&broker, &clock, 60 * SECOND - 1).await;
    stomp.publish("/queue/q", "m").await;
    pass(&broker, &clock, 1).await;
    let text = stomp.expect_error("connection_forced").await;
    assert_eq!(text, "CONNECTION_FORCED - credential expired");
    stomp.expect_end().await;
}
