//! Messages that arrive frame by frame: large ones, and those cut in two by the end of a read.

use std::sync::Arc;

use bytes::BytesMut;
use leveret_amqp_codec::{
    ChannelId, ContentHeader, EncodeMethod, FrameKind, RawFrame, method::basic,
};
use leveret_queue_store::Time;

use super::asking::CompletePublish;
use super::channel::{Channel, IncomingBody, IncomingContent};
use super::publish::{check_immediate, check_size};
use super::{Core, Failure, Session};
use crate::error::Refusal;
use crate::memory::Held;
use crate::outbox::Outbox;
use crate::session::Output;
use crate::vhost::Services;

const PUBLISH: (u16, u16) = (basic::Publish::CLASS_ID, basic::Publish::METHOD_ID);

/// Bodies are gathered in a buffer that grows with what has arrived; this is where it starts.
pub(super) const FIRST_BODY_CAPACITY: usize = 4096;

impl Session {
    /// The method of a publish whose content is still to come.
    pub(super) fn begin_content(
        &mut self,
        id: ChannelId,
        publish: &basic::Publish<'_>,
    ) -> Result<(), Refusal> {
        check_immediate(publish)?;
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        channel.content = Some(IncomingContent {
            exchange: (*publish.exchange).into(),
            routing_key: (*publish.routing_key).into(),
            mandatory: publish.mandatory,
            body: None,
        });
        Ok(())
    }

    pub(super) fn handle_content_frame(
        &mut self,
        now: Time,
        frame: &RawFrame<'_>,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let Some(channel) = self.channels.get_mut(&frame.channel) else {
            return Err(Failure::connection(method_expected()));
        };
        if channel.closing {
            return Ok(());
        }
        if channel.content.is_none() {
            return Err(Failure::connection(method_expected()));
        }
        let size_max = self.core.shared.config.message_size_max();
        let Core { shared, outbox, .. } = &self.core;
        let complete = match frame.kind {
            FrameKind::Header => ContentHeader::decode(frame.payload, &self.core.limits)
                .map_err(|error| Refusal::new(error.reply_code(), error.to_string()))
                .and_then(|header| {
                    channel.accept_header(&header, size_max, &shared.services, outbox)
                }),
            _ => channel.accept_body(frame.payload),
        };
        let complete = complete.map_err(|refusal| Failure::of_publish(frame.channel, refusal))?;
        if !complete {
            return Ok(());
        }
        let Some(content) = channel.content.take() else {
            return Ok(());
        };
        let Some(publish) = content.into_complete() else {
            return Ok(());
        };
        self.publish_complete(now, frame.channel, publish, out)
    }
}

impl IncomingContent {
    /// The publish, when all of it is there.
    fn into_complete(self) -> Option<CompletePublish> {
        let body = self.body?;
        Some(CompletePublish {
            exchange: self.exchange,
            routing_key: self.routing_key,
            mandatory: self.mandatory,
            properties: body.properties,
            body: body.received.freeze(),
            held: body.held,
        })
    }
}

impl Failure {
    /// A publish that was refused.
    pub(super) fn of_publish(channel: ChannelId, refusal: Refusal) -> Self {
        Self {
            scope: channel,
            method: PUBLISH,
            refusal,
        }
    }
}

impl Channel {
    /// True when the message is complete with its header, because it has no body.
    fn accept_header(
        &mut self,
        header: &ContentHeader<'_>,
        size_max: usize,
        services: &Arc<Services>,
        outbox: &Arc<Outbox>,
    ) -> Result<bool, Refusal> {
        let Some(content) = &mut self.content else {
            return Err(method_expected());
        };
        if content.body.is_some() {
            return Err(body_expected());
        }
        check_size(
            usize::try_from(header.body_size).unwrap_or(usize::MAX),
            size_max,
        )?;
        let properties = header.properties.as_bytes();
        let mut held = Held::new(services, outbox);
        held.set(content.exchange.len() + content.routing_key.len() + properties.len());
        held.check()?;
        content.body = Some(IncomingBody {
            properties: properties.into(),
            announced: header.body_size,
            received: BytesMut::new(),
            held,
        });
        Ok(header.body_size == 0)
    }

    /// True when the message is complete.
    fn accept_body(&mut self, payload: &[u8]) -> Result<bool, Refusal> {
        let Some(content) = &mut self.content else {
            return Err(method_expected());
        };
        let Some(body) = &mut content.body else {
            return Err(header_expected());
        };
        if body.received.is_empty() {
            body.received
                .reserve(FIRST_BODY_CAPACITY.max(payload.len()));
        }
        body.received.extend_from_slice(payload);
        body.held.add(payload.len());
        body.held.check()?;
        let received = body.received.len() as u64;
        if received > body.announced {
            return Err(Refusal::frame_error(
                "content body frame exceeds remaining content size",
            ));
        }
        Ok(received == body.announced)
    }

    /// What is wrong with a method that comes while the content of a publish is due, if it is.
    pub(super) fn check_no_content(&self) -> Result<(), Refusal> {
        match &self.content {
            None => Ok(()),
            Some(content) => {
                let refusal = if content.body.is_none() {
                    header_expected()
                } else {
                    body_expected()
                };
                Err(refusal.of_method(PUBLISH.0, PUBLISH.1))
            }
        }
    }
}

fn header_expected() -> Refusal {
    Refusal::unexpected_frame(
        "expected content header for class 60, got non content header frame instead",
    )
}

fn body_expected() -> Refusal {
    Refusal::unexpected_frame("expected content body, got non content body frame instead")
}

/// No method is to blame for content that none announced.
fn method_expected() -> Refusal {
    Refusal::unexpected_frame("expected method frame, got non method frame instead")
}
