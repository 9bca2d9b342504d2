//! Clients that do nothing.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::{JoinSet, spawn_local};
use tokio::time::timeout;

use crate::socket::{self, Reader, Writer};
use crate::{Error, Idle, server};

/// How many connect at once.
const PARALLEL: usize = 100;

/// How long the message that ends the silence may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Opens the sockets, looks at the broker's memory, and sees that each subscription is alive.
pub(crate) async fn idle(
    address: &str,
    pid: Option<u32>,
    options: &Idle,
) -> Result<(bool, Value), Error> {
    let clients = options.clients;
    // What the broker needs for the first of all is not counted.
    let (_first, mut publisher) = open(address.to_owned(), usize::MAX).await?;
    let before = pid.map(server::resident).transpose()?;
    let mut sockets = Vec::with_capacity(clients);
    let mut opening = JoinSet::new();
    for client in 0..clients {
        if opening.len() >= PARALLEL
            && let Some(opened) = opening.join_next().await
        {
            sockets.push(opened??);
        }
        opening.spawn_local(open(address.to_owned(), client));
    }
    while let Some(opened) = opening.join_next().await {
        sockets.push(opened??);
    }
    let after = pid.map(server::resident).transpose()?;

    let waking = spawn_local(async move {
        for client in 0..clients {
            let frame = format!("SEND\ndestination:/topic/idle.{client}\n\nawake\0");
            publisher.send(&frame).await?;
        }
        std::io::Result::Ok(publisher)
    });
    let mut woken = 0_usize;
    for (reader, _) in &mut sockets {
        let message = timeout(PATIENCE, reader.message()).await??;
        woken += usize::from(&message[..] == b"awake");
    }
    drop(waking.await??);
    let bytes_each = before.zip(after).map(|(before, after)| {
        let grown = after.saturating_sub(before);
        grown / u64::try_from(clients.max(1)).unwrap_or(u64::MAX)
    });
    let kb_each = bytes_each.map(|bytes| bytes as f64 / 1000.0);
    let is_small = match (options.kb_max, kb_each) {
        (Some(limit), Some(kb)) => kb <= limit,
        (Some(_), None) => return Err("whose memory? --broker-pid tells".into()),
        (None, _) => true,
    };
    let is_ok = woken == clients && is_small;
    let report = json!({
        "scenario": "idle",
        "ok": is_ok,
        "clients": clients,
        "woken": woken,
        "resident_bytes_before": before,
        "resident_bytes_after": after,
        "kb_each": kb_each,
    });
    Ok((is_ok, report))
}

async fn open(address: String, client: usize) -> std::io::Result<(Reader, Writer)> {
    let (mut reader, mut writer) = socket::open(&address).await?;
    let topic = format!("idle.{client}");
    reader.subscribe(&mut writer, &topic).await?;
    Ok((reader, writer))
}
