//! STOMP sessions from CONNECT to their end.
#![cfg(feature = "stomp")]

mod support;

use std::time::Duration;

use leveret_broker::{
    Accounts, Broker, Permissions, Publish, QueueOptions, User, UserTable, VirtualClock,
};
use leveret_stomp_codec::Command;
use support::{Stomp, broker, pass, start, timed_broker};

#[tokio::test]
async fn the_highest_common_version_is_chosen() {
    let broker = broker().await;
    for (offered, chosen) in [
        (Some("1.0,1.1,1.2"), "1.2"),
        (Some("1.1"), "1.1"),
        (None, "1.0"),
    ] {
        let mut stomp = Stomp::dial(&broker).await;
        let headers: Vec<_> = offered
            .map(|text| ("accept-version", text))
            .into_iter()
            .collect();
        stomp.send(Command::Stomp, &headers, b"").await;
        let connected = stomp.expect(Command::Connected).await;
        assert_eq!(connected.header("version"), Some(chosen));
        assert!(connected.header("session").unwrap().starts_with("session-"));
    }
    let mut stomp = Stomp::dial(&broker).await;
    stomp
        .send(Command::Connect, &[("accept-version", "2.0")], b"")
        .await;
    stomp.expect_error("Version mismatch").await;
    stomp.expect_end().await;
}

#[tokio::test]
async fn who_gives_no_name_is_the_default_user() {
    let users = UserTable::new().with_user("web", "w");
    let none = start(Broker::builder().authenticator(users.clone())).await;
    let mut stomp = Stomp::dial(&none).await;
    stomp.send(Command::Connect, &[], b"").await;
    stomp.expect_error("Bad CONNECT").await;

    let builder = Broker::builder().authenticator(users.clone());
    let web = start(builder.stomp_default_user(Some(("web".into(), "w".into())))).await;
    Stomp::connect_with(&web, &[]).await;

    let nobody = start(Broker::builder().stomp_default_user(None)).await;
    let mut stomp = Stomp::dial(&nobody).await;
    stomp.send(Command::Connect, &[], b"").await;
    let body = stomp.expect_error("Bad CONNECT").await;
    assert_eq!(body, "Access refused for user ''\n");
}

#[tokio::test]
async fn a_name_without_its_passcode_is_not_let_in() {
    let broker = broker().await;
    for headers in [
        &[("login", "guest"), ("passcode", "wrong")][..],
        &[("login", "guest")],
        &[("login", "zorp"), ("passcode", "guest")],
    ] {
        let mut stomp = Stomp::dial(&broker).await;
        stomp.send(Command::Connect, headers, b"").await;
        stomp.expect_error("Bad CONNECT").await;
        stomp.expect_end().await;
    }
}

#[tokio::test]
async fn the_refused_are_kept_waiting() {
    let clock = VirtualClock::new();
    let builder = Broker::builder()
        .virtual_clock(clock.clone())
        .refusal_delay(Duration::from_secs(3));
    let broker = start(builder).await;
    let mut stomp = Stomp::dial(&broker).await;
    let wrong = [("login", "guest"), ("passcode", "wrong")];
    stomp.send(Command::Connect, &wrong, b"").await;
    stomp.expect_error("Bad CONNECT").await;
    pass(&broker, &clock, 2999).await;
    assert_eq!(broker.connection_count(), 1);
    pass(&broker, &clock, 1).await;
    stomp.expect_end().await;
}

#[tokio::test]
async fn the_host_header_chooses_the_virtual_host() {
    let broker = broker().await;
    assert!(broker.create_vhost("other"));
    let mut other = Stomp::connect_with(&broker, &[("host", "other")]).await;
    other.publish("/queue/q", "m").await;
    let there = broker.client_of("other").unwrap();
    assert_eq!(there.queue_info("q").await.unwrap().ready, 1);
    let here = broker.client().unwrap();
    assert!(here.queue_info("q").await.unwrap_err().is_not_found());

    let mut stomp = Stomp::dial(&broker).await;
    stomp.send(Command::Connect, &[("host", "none")], b"").await;
    let body = stomp.expect_error("Bad CONNECT").await;
    assert_eq!(body, "Virtual host 'none' access denied");

    broker.delete_vhost("other");
    other.expect_error("connection_forced").await;
    other.expect_end().await;
}

#[tokio::test]
async fn nothing_is_done_for_a_client_that_has_not_connected() {
    let broker = broker().await;
    let mut stomp = Stomp::dial(&broker).await;
    stomp
        .send(Command::Send, &[("destination", "/queue/q")], b"m")
        .await;
    stomp.expect_error("Illegal command").await;
    stomp.send_raw(b"NONSENSE\n\n\0").await;
    stomp.expect_error("Illegal command").await;
    let client = broker.client().unwrap();
    assert!(client.queue_info("q").await.unwrap_err().is_not_found());
    // It may still connect, once.
    stomp.send(Command::Connect, &[], b"").await;
    stomp.expect(Command::Connected).await;
    stomp.send(Command::Connect, &[], b"").await;
    stomp.expect_error("Illegal command").await;
    stomp.expect_end().await;
}

#[tokio::test]
async fn a_client_that_never_connects_is_dropped() {
    let (broker, clock) = timed_broker().await;
    let mut stomp = Stomp::dial(&broker).await;
    stomp.send_raw(b"CONNECT\n").await;
    support::until("the connection", || broker.connection_count() == 1).await;
    pass(&broker, &clock, 10_000).await;
    stomp.expect_end().await;
}

#[tokio::test]
async fn strangers_are_held_to_small_frames_and_others_to_the_limit() {
    for (initial_frame_size_max, refused) in [(8192, 17_000), (65_536, 70_000)] {
        let builder = Broker::builder().initial_frame_size_max(initial_frame_size_max);
        let broker = start(builder).await;
        let mut stomp = Stomp::dial(&broker).await;
        let large = "y".repeat(refused);
        stomp.send(Command::Connect, &[("x", &*large)], b"").await;
        stomp.expect_error("Invalid frame").await;
        stomp.expect_end().await;
        let mut stomp = Stomp::dial(&broker).await;
        let headers = [("accept-version", "1.2"), ("x", &large[..refused - 6000])];
        stomp.send(Command::Connect, &headers, b"").await;
        stomp.expect(Command::Connected).await;
    }
    let broker = start(Broker::builder().stomp_frame_size_max(200_000)).await;

    let mut stomp = Stomp::connect(&broker).await;
    stomp.publish("/queue/q", &"m".repeat(190_000)).await;
    stomp
        .send(
            Command::Send,
            &[("destination", "/queue/q")],
            &[b'm'; 200_000],
        )
        .await;
    stomp.expect_error("Invalid frame").await;
    stomp.expect_end().await;
    let client = broker.client().unwrap();
    assert_eq!(client.queue_info("q").await.unwrap().ready, 1);
}

#[tokio::test]
async fn malformed_frames_end_the_session_with_an_error() {
    let broker = broker().await;
    for bytes in [
        &b"SEND\nno colon\n\n\0"[..],
        b"SEND\ndestination:/queue/q\nx:\\t\n\n\0",
        b"SEND\ndestination:/queue/q\ncontent-length:1\n\nab\0",
        b"SEND\ndestination:/queue/q\n\xff:1\n\n\0",
    ] {
        let mut stomp = Stomp::connect(&broker).await;
        stomp.send_raw(bytes).await;
        stomp.expect_error("Invalid frame").await;
        stomp.expect_end().await;
    }
    let client = broker.client().unwrap();
    assert!(client.queue_info("q").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn misuse_leaves_the_session_open() {
    let broker = broker().await;
    let mut stomp = Stomp::connect(&broker).await;
    stomp.send(Command::Send, &[], b"m").await;
    stomp.expect_error("Missing destination").await;
    stomp.send_raw(b"ZORP\nreceipt:1\n\n\0").await;
    let body = stomp.expect_error("Bad command").await;
    assert_eq!(body, "Could not interpret command \"ZORP\"\n");
    stomp.send(Command::Message, &[], b"").await;
    stomp.expect_error("Bad command").await;
    stomp
        .send(Command::Abort, &[("transaction", "t")], b"")
        .await;
    stomp.expect_error("Bad transaction").await;
    stomp.quiet().await;
}

#[tokio::test]
async fn everything_is_back_in_its_queue_when_disconnect_is_confirmed() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let mut stomp = Stomp::connect(&broker).await;
    stomp.subscribe("/queue/q", "1", "client-individual").await;
    for body in ["1", "2", "3"] {
        client
            .publish(Publish::to_queue("q", body.as_bytes()))
            .await
            .unwrap();
    }
    for body in ["1", "2", "3"] {
        stomp.expect_message(body).await;
    }
    stomp.tell(Command::Disconnect, &[], b"").await;
    let info = client.queue_info("q").await.unwrap();
    assert_eq!((info.ready, info.unacked, info.consumers), (3, 0, 0));
    stomp.expect_end().await;
}

#[tokio::test]
async fn what_a_lost_client_held_comes_back_and_its_own_queues_go() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let mut stomp = Stomp::connect(&broker).await;
    stomp.subscribe("/queue/q", "1", "client").await;
    let own = [
        ("destination", "/queue/own"),
        ("id", "2"),
        ("exclusive", "true"),
    ];
    stomp.tell(Command::Subscribe, &own, b"").await;
    client.publish(Publish::to_queue("q", b"m")).await.unwrap();
    stomp.expect_message("m").await;
    assert!(client.queue_info("own").await.unwrap_err().is_locked());
    drop(stomp);
    support::until("the end of the connection", || {
        broker.connection_count() == 1
    })
    .await;
    assert_eq!(client.queue_info("q").await.unwrap().ready, 1);
    assert!(client.queue_info("own").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_broker_that_stops_says_so() {
    let broker = broker().await;
    let mut stomp = Stomp::connect(&broker).await;
    tokio::join!(broker.shutdown(), async {
        let body = stomp.expect_error("connection_forced").await;
        assert!(body.starts_with("CONNECTION_FORCED - "), "{body}");
        stomp.expect_end().await;
    });
}

#[tokio::test]
async fn rights_are_those_of_amqp() {
    let rights = Permissions::new(
        "^mine",
        "^(mine|amq.default|amq.topic)",
        "^(mine|amq.topic)",
    );
    let accounts = Accounts::default()
        .with_user(User::new("ann"), "/", rights.unwrap())
        .with_user(User::new("bob"), "elsewhere", Permissions::everything());
    let users = UserTable::new().with_user("ann", "a").with_user("bob", "b");
    let builder = Broker::builder().accounts(accounts).vhost("elsewhere");
    let broker = start(builder.authenticator(users)).await;
    let mut stomp = Stomp::dial(&broker).await;
    let bob = [("login", "bob"), ("passcode", "b")];
    stomp.send(Command::Connect, &bob, b"").await;
    let body = stomp.expect_error("Bad CONNECT").await;
    assert_eq!(body, "Virtual host '/' access denied");

    let ann = [("login", "ann"), ("passcode", "a")];
    let mut stomp = Stomp::connect_with(&broker, &ann).await;
    stomp.publish("/queue/mine", "m").await;
    let named = [
        ("destination", "/topic/a"),
        ("id", "1"),
        ("x-queue-name", "mine-too"),
    ];
    stomp.tell(Command::Subscribe, &named, b"").await;
    for (command, destination) in [
        (Command::Send, "/queue/other"),
        (Command::Send, "/exchange/amq.direct/k"),
        (Command::Subscribe, "/amq/queue/other"),
        (Command::Subscribe, "/exchange/amq.direct/k"),
        (Command::Subscribe, "/topic/b"),
    ] {
        let mut stomp = Stomp::connect_with(&broker, &ann).await;
        let headers = [("destination", destination), ("id", "x")];
        stomp.send(command, &headers, b"").await;
        stomp.expect_error("access_refused").await;
        stomp.expect_end().await;
    }
}

#[tokio::test]
async fn a_queue_of_the_application_is_reached() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    client
        .declare_queue("jobs", QueueOptions::default())
        .await
        .unwrap();
    let mut stomp = Stomp::connect(&broker).await;
    stomp.publish("/amq/queue/jobs", "m").await;
    assert_eq!(client.queue_info("jobs").await.unwrap().ready, 1);
    stomp.publish("/amq/queue/none", "lost").await;
}

#[tokio::test]
async fn a_request_of_http_is_not_taken_for_frames() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let client = &client;
    client
        .declare_queue("q", QueueOptions::default())
        .await
        .unwrap();
    for request in ["POST / HTTP/1.1", "get"] {
        let mut stomp = Stomp::dial(&broker).await;
        // What a page may have a browser send anywhere.
        let body = "\0CONNECT\n\n\0SEND\ndestination:/queue/q\n\nforged\0";
        let request = format!("{request}\r\nHost: localhost:61613\r\n\r\n{body}");
        stomp.send_raw(request.as_bytes()).await;
        stomp.expect_error("Illegal command").await;
        stomp.expect_end().await;
    }
    assert_eq!(client.queue_info("q").await.unwrap().ready, 0);
}

#[tokio::test]
async fn who_does_not_say_connect_is_answered_a_few_times() {
    let broker = broker().await;
    let mut stomp = Stomp::dial(&broker).await;
    stomp.send_raw(&b"A\n\n\0BEGIN\n\n\0".repeat(10)).await;
    for _ in 0..8 {
        stomp.expect_error("Illegal command").await;
    }
    stomp.expect_end().await;
    // Fewer do not matter.
    let mut stomp = Stomp::dial(&broker).await;
    stomp.send_raw(&b"A\n\n\0".repeat(7)).await;
    for _ in 0..7 {
        stomp.expect_error("Illegal command").await;
    }
    stomp.send(Command::Connect, &[], b"").await;
    stomp.expect(Command::Connected).await;
}
