//! What is said in class: numbered, stored, and then told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use leveret_broker::{
    Broker, Client, ConsumeOptions, Delivery, ExchangeOptions, ExchangeType, Properties, Publish,
    QueueOptions, Table, Value,
};
use leveret_examples_web::Error;
use parking_lot::Mutex;
use serde::Serialize;

use crate::roles::TEACHER;

/// How long the teacher may be away before unanswered questions are thrown away.
const TEACHER_MAY_BE_AWAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How much is kept; the oldest goes first.
const SAID_MAX: usize = 10_000;

/// Declares what has to be there before anyone enters. What is there already stays as it is.
pub(crate) async fn open(broker: &Broker) -> Result<(), Error> {
    let client = broker.client()?;
    for name in ["questions", "class.in", "class"] {
        let options = ExchangeOptions {
            durable: true,
            ..Default::default()
        };
        client
            .declare_exchange(name, ExchangeType::Topic, options)
            .await?;
    }
    let teacher = QueueOptions {
        durable: true,
        expires: Some(TEACHER_MAY_BE_AWAY),
        ..Default::default()
    };
    client.declare_queue("teacher", teacher).await?;
    client.bind_queue("teacher", "questions", "#").await?;
    Ok(())
}

/// Something that the teacher said, as pages get it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Said {
    number: u64,
    at_ms: u64,
    /// Who alone hears it; everybody, if nobody is named.
    to: Option<String>,
    text: String,
    #[serde(skip)]
    id: Option<String>,
}

/// The application's own store. A real one would have this in its database.
#[derive(Debug, Default)]
pub(crate) struct Lesson {
    said: Mutex<VecDeque<Said>>,
}

impl Lesson {
    /// What came behind this number and `name` may hear, in order.
    pub(crate) fn heard_by(&self, name: &str, after: u64) -> Vec<Said> {
        let said = self.said.lock();
        let is_for = |said: &&Said| {
            said.number > after
                && (name == TEACHER || said.to.as_deref().is_none_or(|to| to == name))
        };
        said.iter().filter(is_for).cloned().collect()
    }

    /// Takes down what the teacher's page sent. None for what is none of the teacher's business, and for what is there
    /// already: a page that has not heard of success sends again.
    fn take_down(&self, delivery: &Delivery) -> Option<Said> {
        let properties = delivery.properties();
        let to = match delivery.routing_key() {
            "announcement" => None,
            key => Some(key.strip_prefix("answer.")?.to_owned()),
        };
        let id = properties.message_id;
        let text = String::from_utf8(delivery.body().to_vec()).ok()?;
        let mut said = self.said.lock();
        if id.is_some() && said.iter().any(|before| before.id == id) {
            return None;
        }
        if said.len() == SAID_MAX {
            said.pop_front();
        }
        let new = Said {
            number: said.back().map_or(1, |last| last.number + 1),
            at_ms: now_ms(),
            to,
            text,
            id,
        };
        said.push_back(new.clone());
        Some(new)
    }
}

/// Starts to take down what is said in class, and to tell it.
#[expect(
    clippy::disallowed_methods,
    reason = "this part of the application is a task of its own"
)]
pub(crate) async fn hold(broker: &Broker) -> Result<Arc<Lesson>, Error> {
    let lesson = Arc::new(Lesson::default());
    let client = broker.client()?;
    let options = QueueOptions {
        exclusive: true,
        ..Default::default()
    };
    client.declare_queue("lesson", options).await?;
    client.bind_queue("lesson", "class.in", "#").await?;
    tokio::spawn(run(client, Arc::clone(&lesson)));
    Ok(lesson)
}

async fn run(client: Client, lesson: Arc<Lesson>) -> Result<(), leveret_broker::Error> {
    let mut spoken = client.consume("lesson", ConsumeOptions::default()).await?;
    while let Some(delivery) = spoken.recv().await {
        if let Some(said) = lesson.take_down(&delivery) {
            tell(&client, &said).await?;
        }
        delivery.ack();
    }
    Ok(())
}

async fn tell(client: &Client, said: &Said) -> Result<(), leveret_broker::Error> {
    let key = match &said.to {
        None => "all".to_owned(),
        Some(name) => format!("to.{name}"),
    };
    let mut headers = Table::default();
    headers.insert("number", Value::I64(said.number.cast_signed()));
    headers.insert("at-ms", Value::I64(said.at_ms.cast_signed()));
    if let Some(to) = &said.to {
        headers.insert("to", to.as_str());
    }
    let properties = Properties {
        headers: Some(headers),
        ..Default::default()
    };
    let publish = Publish {
        properties: Some(properties),
        ..Publish::to_exchange("class", &key, said.text.as_bytes())
    };
    client.publish(publish).await
}

#[expect(
    clippy::disallowed_methods,
    reason = "people want to know when something was said"
)]
fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |time| {
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    })
}
