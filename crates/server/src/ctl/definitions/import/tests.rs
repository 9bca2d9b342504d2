//! Documents that somebody has damaged, on purpose or not.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use leveret_broker::{Accounts, Broker};
use serde_json::json;

use super::*;
use crate::auth::Judge;
use crate::ctl::node::About;
use crate::logging::LogControl;
use crate::passwords::Passwords;
use crate::tls::Keeper;

const DOCUMENT: &str = include_str!("../../../../tests/data/rabbitmq-3.10.8.json");

#[expect(
    clippy::disallowed_methods,
    reason = "how long the program has run has nothing to do with the broker's clock"
)]
async fn node() -> Node {
    let broker = Broker::builder().keep_accounts(Accounts::default());
    let about = About {
        started: Instant::now(),
        data_dir: None,
        config_file: None,
        configured_vhosts: HashSet::new(),
        environment: Vec::new(),
    };
    Node::new(
        Arc::new(broker.start().await.unwrap()),
        Judge::new(Passwords::new([])),
        about,
        Keeper::certificates(None),
        LogControl::default(),
        Arc::default(),
    )
}

/// Numbers without a pattern, the same ones on every run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// Puts something else into one place of a document.
fn damage(json: &mut Json, random: &mut Random) {
    let inner: Vec<&mut Json> = match json {
        Json::Object(fields) => fields.values_mut().collect(),
        Json::Array(items) => items.iter_mut().collect(),
        _ => Vec::new(),
    };
    let count = inner.len();
    if count > 0 && random.below(6) > 0 {
        let at = random.below(count);
        if let Some(inner) = inner.into_iter().nth(at) {
            damage(inner, random);
        }
        return;
    }
    let deep = (0..60).fold(json!([]), |inner, _| json!([inner]));
    let replacements = [
        Json::Null,
        json!(true),
        json!(-1),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("amq.topic"),
        json!("a\n\u{0}b"),
        json!("x".repeat(300)),
        json!("^(?=x)["),
        json!([]),
        json!({}),
        json!({ "x": [{ "y": null }] }),
        deep,
    ];
    let chosen = random.below(replacements.len());
    *json = replacements.into_iter().nth(chosen).unwrap_or_default();
}

#[tokio::test]
async fn damaged_documents_are_imported_or_refused_and_harm_nothing() {
    let whole: Json = serde_json::from_str(DOCUMENT).unwrap();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut imported, mut refused) = (0, 0);
    for _ in 0..40 {
        // What came of one document meets the next.
        let node = node().await;
        for _ in 0..10 {
            let mut document = whole.clone();
            for _ in 0..=random.below(3) {
                damage(&mut document, &mut random);
            }
            match everything(&node, document).await {
                Ok(_) => imported += 1,
                Err(_) => refused += 1,
            }
        }
        let client = node.broker.client().unwrap();
        client
            .declare_queue("still.there", Default::default())
            .await
            .unwrap();
        // The whole one goes in whatever came before, or says what stands in its way.
        let _ = everything(&node, whole.clone()).await;
    }
    assert!(imported > 20 && refused > 20, "{imported}, {refused}");
}
