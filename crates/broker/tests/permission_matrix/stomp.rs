//! Operations in STOMP.

use leveret_broker::Broker;
use leveret_stomp_codec::Command;

use crate::operation::Operation::{self, *};
use crate::support::Stomp;
use crate::support::websocket::{TEXT, WebSocket};

pub(crate) fn send(destination: &str) -> String {
    format!("SEND\ndestination:{destination}\nreceipt:done\n\nm\0")
}

pub(crate) fn subscribe(destination: &str) -> String {
    format!("SUBSCRIBE\ndestination:{destination}\nid:1\nreceipt:done\n\n\0")
}

/// A frame with the receipt `done`.
pub(crate) fn frame(operation: Operation) -> String {
    match operation {
        PublishToExchange => send("/exchange/x/k"),
        PublishToDefault => send("/amq/queue/q"),
        PublishToTopic => send("/topic/k"),
        SendToQueue => send("/queue/q"),
        Consume => subscribe("/amq/queue/q"),
        SubscribeToQueue => subscribe("/queue/q"),
        SubscribeToTopic => subscribe("/topic/k"),
        SendForReply => send("/exchange/x/k").replace("receipt", "reply-to:/temp-queue/r\nreceipt"),
        _ => unreachable!("STOMP has no {operation:?}"),
    }
}

const CONNECT: [(&str, &str); 3] = [
    ("accept-version", "1.2"),
    ("login", "ann"),
    ("passcode", "secret"),
];

/// Tells it, and says what the refusal says.
pub(crate) async fn tell(broker: &Broker, frame: &str) -> Result<(), String> {
    let mut stomp = Stomp::connect_with(broker, &CONNECT).await;
    stomp.send_raw(frame.as_bytes()).await;
    let answer = stomp.next().await.expect("an answer comes");
    match answer.command {
        Command::Receipt => Ok(()),
        Command::Error => {
            assert_eq!(answer.header("message"), Some("access_refused"));
            Err(String::from_utf8_lossy(&answer.body).into_owned())
        }
        other => panic!("{other:?} is no answer"),
    }
}

/// The same within a WebSocket.
pub(crate) async fn tell_by_websocket(broker: &Broker, frame: &str) -> Result<(), String> {
    let mut socket = WebSocket::open(broker, "v12.stomp").await;
    let headers: Vec<String> = CONNECT
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let connect = format!("CONNECT\n{}\n\0", headers.concat());
    socket.send(TEXT, connect).await;
    let connected = message(&mut socket).await;
    assert!(connected.starts_with("CONNECTED\n"), "{connected}");
    socket.send(TEXT, frame).await;
    let answer = message(&mut socket).await;
    if answer.starts_with("RECEIPT\n") {
        return Ok(());
    }
    assert!(answer.starts_with("ERROR\n"), "{answer}");
    assert!(answer.contains("message:access_refused\n"), "{answer}");
    Err(answer)
}

async fn message(socket: &mut WebSocket) -> String {
    let (_, payload) = socket.next().await.expect("an answer comes");
    String::from_utf8(payload).unwrap()
}
