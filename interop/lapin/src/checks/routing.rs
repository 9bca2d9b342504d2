//! Which queues a message reaches, for every type of exchange.

use std::sync::Arc;

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, ExchangeUnbindOptions, QueueBindOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, ExchangeKind, Result};

use crate::broker::Broker;
use crate::client::{bind, drain, publish, string, table};
use crate::harness::{Outcome, checks};

checks![
    the_default_exchange_routes_by_queue_name,
    a_direct_exchange_compares_keys,
    a_fanout_exchange_reaches_every_queue_once,
    a_topic_exchange_matches_words,
    a_headers_exchange_compares_headers,
    a_queue_gets_one_copy_however_many_bindings_match,
    an_unbound_queue_gets_no_more,
    exchanges_route_to_exchanges,
    an_alternate_exchange_takes_what_nobody_wants,
];

/// Queues under titles that tell what they are bound to.
type Queues<'a> = Vec<(&'a str, ShortString)>;

/// Publishes a message with `key` and `headers` and panics unless it reaches just the queues titled `want`,
/// each with one copy.
async fn route(
    channel: &Channel,
    exchange: &ShortString,
    queues: &Queues<'_>,
    (key, headers): (&str, Option<FieldTable>),
    want: &[&str],
) -> Result<()> {
    let properties = headers
        .clone()
        .map_or_else(BasicProperties::default, |headers| {
            BasicProperties::default().with_headers(headers)
        });
    publish(channel, exchange, key, b"x", properties).await?;
    let mut got = Vec::new();
    for (title, queue) in queues {
        got.extend(drain(channel, queue).await?.iter().map(|_| *title));
    }
    assert_eq!(
        got, want,
        "queues reached with key '{key}', headers {headers:?}"
    );
    Ok(())
}

async fn the_default_exchange_routes_by_queue_name(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let (one, two) = (broker.queue(&channel).await?, broker.queue(&channel).await?);
    let queues = vec![("one", one.clone()), ("two", two.clone())];
    let default = "".into();
    route(&channel, &default, &queues, (one.as_str(), None), &["one"]).await?;
    route(&channel, &default, &queues, (two.as_str(), None), &["two"]).await?;
    route(
        &channel,
        &default,
        &queues,
        (broker.queue_name().as_str(), None),
        &[],
    )
    .await
}

/// Declares an exchange and, for each title, a queue that is bound with the keys next to it.
async fn bound<'a>(
    broker: &Broker,
    channel: &Channel,
    kind: ExchangeKind,
    bindings: &[(&'a str, &[&str])],
) -> Result<(ShortString, Queues<'a>)> {
    let exchange = broker.exchange(channel, kind).await?;
    let mut queues = Vec::new();
    for (title, keys) in bindings {
        let queue = broker.queue(channel).await?;
        for key in *keys {
            bind(channel, &queue, &exchange, key).await?;
        }
        queues.push((*title, queue));
    }
    Ok((exchange, queues))
}

async fn a_direct_exchange_compares_keys(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let bindings: [(&str, &[&str]); 3] = [
        ("red", &["red"]),
        ("warm", &["red", "orange"]),
        ("empty", &[""]),
    ];
    let (exchange, queues) = bound(&broker, &channel, ExchangeKind::Direct, &bindings).await?;
    let cases: [(&str, &[&str]); 4] = [
        ("red", &["red", "warm"]),
        ("orange", &["warm"]),
        ("", &["empty"]),
        ("Red", &[]),
    ];
    for (key, want) in cases {
        route(&channel, &exchange, &queues, (key, None), want).await?;
    }
    Ok(())
}

async fn a_fanout_exchange_reaches_every_queue_once(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let bindings: [(&str, &[&str]); 2] = [("one", &["a", "b"]), ("two", &[""])];
    let (exchange, queues) = bound(&broker, &channel, ExchangeKind::Fanout, &bindings).await?;
    for key in ["a", "zorp"] {
        route(&channel, &exchange, &queues, (key, None), &["one", "two"]).await?;
    }
    Ok(())
}

async fn a_topic_exchange_matches_words(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let patterns = ["stock.*.nyse", "stock.#", "#", "*", "#.nyse", "a*"];
    let bindings = patterns.map(|pattern| (pattern, [pattern]));
    let bindings: Vec<(&str, &[&str])> = bindings
        .iter()
        .map(|(title, keys)| (*title, keys.as_slice()))
        .collect();
    let (exchange, queues) = bound(&broker, &channel, ExchangeKind::Topic, &bindings).await?;
    let cases: [(&str, &[&str]); 8] = [
        (
            "stock.usd.nyse",
            &["stock.*.nyse", "stock.#", "#", "#.nyse"],
        ),
        ("stock..nyse", &["stock.*.nyse", "stock.#", "#", "#.nyse"]),
        ("stock.nyse", &["stock.#", "#", "#.nyse"]),
        ("stock", &["stock.#", "#", "*"]),
        ("stocks.usd", &["#"]),
        ("nyse", &["#", "*", "#.nyse"]),
        ("a*", &["#", "*", "a*"]),
        ("", &["#"]),
    ];
    for (key, want) in cases {
        route(&channel, &exchange, &queues, (key, None), want).await?;
    }
    Ok(())
}

async fn a_headers_exchange_compares_headers(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let exchange = broker.exchange(&channel, ExchangeKind::Headers).await?;
    let (pdf, pages) = (("format", string("pdf")), ("pages", AMQPValue::LongInt(3)));
    let bindings = [
        (
            "all",
            table([("x-match", string("all")), pdf.clone(), pages.clone()]),
        ),
        (
            "any",
            table([("x-match", string("any")), pdf.clone(), pages]),
        ),
        ("present", table([("format", AMQPValue::Void)])),
        ("everything", table([("x-match", string("all"))])),
        ("nothing", table([("x-match", string("any"))])),
    ];
    let mut queues = Vec::new();
    for (title, arguments) in bindings {
        let queue = broker.queue(&channel).await?;
        let options = QueueBindOptions::default();
        channel
            .queue_bind(
                queue.clone(),
                exchange.clone(),
                "".into(),
                options,
                arguments,
            )
            .await?;
        queues.push((title, queue));
    }

    let pages = ("pages", AMQPValue::LongLongInt(3)); // equal to the narrower 3 of the binding
    let full = table([pdf.clone(), pages, ("more", AMQPValue::Boolean(true))]);
    let other = table([("format", string("txt")), ("pages", string("3"))]);
    route(
        &channel,
        &exchange,
        &queues,
        ("", Some(full)),
        &["all", "any", "present", "everything"],
    )
    .await?;
    route(
        &channel,
        &exchange,
        &queues,
        ("", Some(table([pdf]))),
        &["any", "present", "everything"],
    )
    .await?;
    route(
        &channel,
        &exchange,
        &queues,
        ("", Some(other)),
        &["present", "everything"],
    )
    .await?;
    route(&channel, &exchange, &queues, ("", None), &["everything"]).await
}

async fn a_queue_gets_one_copy_however_many_bindings_match(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let bindings: [(&str, &[&str]); 1] = [("one", &["#", "a.*", "a.b"])];
    let (exchange, queues) = bound(&broker, &channel, ExchangeKind::Topic, &bindings).await?;
    route(&channel, &exchange, &queues, ("a.b", None), &["one"]).await
}

async fn an_unbound_queue_gets_no_more(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let bindings: [(&str, &[&str]); 1] = [("one", &["a", "b"])];
    let (exchange, queues) = bound(&broker, &channel, ExchangeKind::Direct, &bindings).await?;
    let queue = &queues[0].1;
    for key in ["a", "never bound"] {
        channel
            .queue_unbind(
                queue.clone(),
                exchange.clone(),
                key.into(),
                FieldTable::default(),
            )
            .await?;
    }
    route(&channel, &exchange, &queues, ("a", None), &[]).await?;
    route(&channel, &exchange, &queues, ("b", None), &["one"]).await
}

async fn exchanges_route_to_exchanges(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let source = broker.exchange(&channel, ExchangeKind::Topic).await?;
    let (target, queues) =
        bound(&broker, &channel, ExchangeKind::Fanout, &[("one", &[""])]).await?;
    let (options, key) = (ExchangeBindOptions::default(), ShortString::from("go.#"));
    channel
        .exchange_bind(
            target.clone(),
            source.clone(),
            key.clone(),
            options,
            FieldTable::default(),
        )
        .await?;
    route(&channel, &source, &queues, ("go.on", None), &["one"]).await?;
    route(&channel, &source, &queues, ("stop", None), &[]).await?;
    let options = ExchangeUnbindOptions::default();
    channel
        .exchange_unbind(target, source.clone(), key, options, FieldTable::default())
        .await?;
    route(&channel, &source, &queues, ("go.on", None), &[]).await
}

async fn an_alternate_exchange_takes_what_nobody_wants(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let (alternate, mut queues) =
        bound(&broker, &channel, ExchangeKind::Fanout, &[("rest", &[""])]).await?;
    let arguments = table([("alternate-exchange", string(alternate.as_str()))]);
    let options = ExchangeDeclareOptions::default();
    let exchange = broker
        .exchange_with(&channel, ExchangeKind::Direct, options, arguments)
        .await?;
    let wanted = broker.queue(&channel).await?;
    bind(&channel, &wanted, &exchange, "wanted").await?;
    queues.push(("wanted", wanted));
    route(&channel, &exchange, &queues, ("wanted", None), &["wanted"]).await?;
    route(&channel, &exchange, &queues, ("other", None), &["rest"]).await
}
