//! Calls over direct reply-to: no queue for the answers, and a caller that does not wait for ever.
//!
//! Run it with `cargo run -p leveret-examples --example rpc`. It prints the answer to a call, that a call to nobody comes
//! back at once, and that one whose answer is late was given up. Both sides are lapin, which knows nothing of this broker.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use futures_lite::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection, Consumer};
use leveret_broker::Broker;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Where answers come from; the broker replaces it by an address that cannot be guessed.
const REPLY_TO: &str = "amq.rabbitmq.reply-to";

struct Caller {
    channel: Channel,
    answers: Consumer,
    calls: u32,
}

impl Caller {
    async fn new(connection: &Connection) -> Result<Self> {
        let channel = connection.create_channel().await?;
        channel.confirm_select(Default::default()).await?;
        let no_ack = BasicConsumeOptions {
            no_ack: true,
            ..Default::default()
        };
        let (tag, arguments) = Default::default();
        let answers = channel
            .basic_consume(REPLY_TO.into(), tag, no_ack, arguments)
            .await?;
        Ok(Self {
            channel,
            answers,
            calls: 0,
        })
    }

    async fn call(&mut self, service: &str, question: &str, patience: Duration) -> Result<String> {
        self.calls += 1;
        let id = ShortString::from(self.calls.to_string());
        let properties = BasicProperties::default()
            .with_reply_to(REPLY_TO.into())
            .with_correlation_id(id.clone());
        let mandatory = BasicPublishOptions {
            mandatory: true,
            ..Default::default()
        };
        let (exchange, body) = (Default::default(), question.as_bytes());
        let sent =
            self.channel
                .basic_publish(exchange, service.into(), mandatory, body, properties);
        if let Confirmation::Ack(Some(_)) = sent.await?.await? {
            return Err(format!("nobody answers for {service}").into());
        }
        let answer = async {
            loop {
                let answer = self
                    .answers
                    .next()
                    .await
                    .ok_or("the connection has ended")??;
                // Late answers to earlier calls are passed over.
                if answer.properties.correlation_id().as_ref() == Some(&id) {
                    return Ok(String::from_utf8(answer.data)?);
                }
            }
        };
        tokio::time::timeout(patience, answer).await?
    }
}

/// Answers every question that is not a riddle.
async fn serve(channel: Channel, mut questions: Consumer) -> Result {
    while let Some(question) = questions.next().await {
        let question = question?;
        let text = String::from_utf8_lossy(&question.data);
        if let (false, Some(reply_to)) = (text.contains("riddle"), question.properties.reply_to()) {
            let id = question
                .properties
                .correlation_id()
                .clone()
                .unwrap_or_default();
            let properties = BasicProperties::default().with_correlation_id(id);
            let (exchange, options) = Default::default();
            let answer = text.to_uppercase().into_bytes();
            channel
                .basic_publish(exchange, reply_to.clone(), options, &answer, properties)
                .await?;
        }
        question.ack(Default::default()).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result {
    let broker = Broker::builder().amqp(([127, 0, 0, 1], 0)).start().await?;
    let url = format!("amqp://guest:guest@{}/%2f", broker.amqp_addresses()[0]);
    let server = Connection::connect(&url, Default::default()).await?;
    let channel = server.create_channel().await?;
    let options = QueueDeclareOptions::exclusive();
    channel
        .queue_declare("shout".into(), options, Default::default())
        .await?;
    let (tag, options, arguments) = Default::default();
    let questions = channel
        .basic_consume("shout".into(), tag, options, arguments)
        .await?;

    let client = Connection::connect(&url, Default::default()).await?;
    let mut caller = Caller::new(&client).await?;
    let calls = async {
        let answer = caller
            .call("shout", "hello", Duration::from_secs(10))
            .await?;
        println!("shout answered {answer}");
        assert_eq!(answer, "HELLO");
        let nobody = caller
            .call("whisper", "hello", Duration::from_secs(10))
            .await;
        println!("{}", nobody.expect_err("there is no such queue"));
        let late = caller
            .call("shout", "a riddle", Duration::from_millis(50))
            .await;
        println!("no answer: {}", late.expect_err("riddles are not answered"));
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    tokio::select! {
        result = calls => result,
        result = serve(channel, questions) => result,
    }
}
