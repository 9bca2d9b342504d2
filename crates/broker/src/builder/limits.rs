//! How much a client may take, of time and of everything else.

use std::time::Duration;

use super::Builder;

impl Builder {
    /// How long a client has from connecting to having opened its virtual host, before it is dropped. 10 s unless set.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.config.handshake_timeout = timeout;
        self
    }

    /// How long an [`Authorizer`](crate::Authorizer) has for an answer, before that is taken for a refusal. 15 s unless set,
    /// as RabbitMQ has it for its HTTP backend. Renewing a secret has as long.
    pub fn authorization_timeout(mut self, timeout: Duration) -> Self {
        self.config.authorization_timeout = timeout;
        self
    }

    /// How long a connection remembers what an [`Authorizer`](crate::Authorizer) has permitted, before it asks again; with
    /// zero, it asks for each batch of what its client sends. One minute unless set: a right that is withdrawn is gone after
    /// that, and a client that always does the same has one question asked in a minute for each thing that it does. (RabbitMQ
    /// never asks again about the last 12 permissions of a channel.)
    ///
    /// It says nothing of [tags](crate::Identity::with_tags), about which nobody is asked: they are those of the login, until
    /// its connection shows a new secret or ends.
    pub fn verdict_ttl(mut self, ttl: Duration) -> Self {
        self.config.verdict_ttl = ttl;
        self
    }

    /// How long AMQP clients may keep a delivery without acknowledging it. A channel that holds one for longer is closed
    /// with `PRECONDITION_FAILED`, and all it holds goes back to the queues. No limit unless set (RabbitMQ: 30 minutes),
    /// because work may take its time; whole milliseconds, at least one. A [`Delivery`](crate::Delivery) in this process
    /// has no such limit.
    pub fn consumer_timeout(mut self, timeout: Duration) -> Self {
        self.config.consumer_timeout = Some(timeout.max(Duration::from_millis(1)));
        self
    }

    /// How long a client whose login was refused is kept waiting before its socket is closed. Nothing unless set; a
    /// server that faces strangers wants some seconds, which make guessing slow (RabbitMQ takes three).
    pub fn refusal_delay(mut self, delay: Duration) -> Self {
        self.config.refusal_delay = delay;
        self
    }

    /// How many logins of one user from one address may fail before those that follow are slowed down; an IPv6 network of 64
    /// bits counts as one address. 10 unless set.
    ///
    /// Beyond that, attempts of the same user from the same address, or of anybody from that address, are looked at one
    /// after the other, with a pause of a quarter of a second that doubles with each further failure up to half a minute.
    /// A right password that has waited for its turn is taken; an attempt whose turn would come after the
    /// [handshake timeout](Self::handshake_timeout) is refused unseen. Who goes away while it waits gives its
    /// turn back. After a minute without a failure half of them are forgotten. Other addresses notice nothing. What is
    /// remembered has a bound: 10,000 pairs and addresses.
    pub fn free_login_failures(mut self, failures: u32) -> Self {
        self.config.free_login_failures.of_user = failures;
        self
    }

    /// The same for the logins of all users from one address together. 100 unless set. That is also how many logins from one
    /// address are looked at at once, one at least; those beyond wait in their order until one of these has its answer. Raise it
    /// where an authenticator takes its time, and many clients come from one address, as by a proxy that
    /// [does not name them](Self::proxy_protocol_from).
    pub fn free_login_failures_per_address(mut self, failures: u32) -> Self {
        self.config.free_login_failures.of_address = failures;
        self
    }

    /// How many connections there may be at once; more are closed as soon as they are accepted. 100,000 unless set.
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.config.connections_max = connections;
        self
    }

    /// How many connections each user may have at once, of whom [nothing else](crate::UserLimits) is said; one more is
    /// refused with 530, in RabbitMQ's words. Nine tenths of [all](Self::connections_max) unless set, so that no user alone
    /// keeps the others out. Without [accounts](Self::accounts) nobody is counted.
    pub fn connections_per_user_max(mut self, connections: usize) -> Self {
        self.config.allowances.connections_per_user = Some(connections);
        self
    }

    /// How many connections may have opened each virtual host, of which [nothing else](crate::VhostLimits) is said; one more
    /// is refused with 530, in RabbitMQ's words. As many as [in all](Self::connections_max) unless set.
    pub fn connections_per_vhost_max(mut self, connections: usize) -> Self {
        self.config.allowances.connections_per_vhost = Some(connections);
        self
    }

    /// How many connections there may be at once from one address; an IPv6 network of 64 bits counts as one. More are
    /// closed as soon as it is known where they come from. No limit of its own unless set: a proxy that does not
    /// [tell whom it speaks for](Self::proxy_protocol_from), or a network behind one address, may stand for all clients.
    pub fn connections_per_address_max(mut self, connections: usize) -> Self {
        self.config.limits_of_addresses.connections_max = Some(connections);
        self
    }

    /// How many connections there may be at once from one address that have not logged in; more are closed as soon as
    /// it is known where they come from. 10,000 unless set, so that no single stranger takes up
    /// [all connections](Self::connections_max).
    pub fn strangers_per_address_max(mut self, connections: usize) -> Self {
        self.config.limits_of_addresses.strangers_max = connections;
        self
    }

    /// How many queues a virtual host may have, each; declaring one more is refused with 406. Two million unless set, which
    /// take some 1.5 GB (RabbitMQ has no limit): queues cost memory that the [memory limit](Self::memory_limit) does not
    /// count.
    pub fn queues_max(mut self, queues: usize) -> Self {
        self.config.queues_max = queues;
        self
    }

    /// How many of the queues that there are one connection may have made; declaring one more is refused with 406. 250,000
    /// unless set. A queue counts until it is deleted, whoever deletes it, or its connection ends.
    /// [Clients](crate::Client) that act for no user are not counted.
    pub fn queues_per_connection_max(mut self, queues: u32) -> Self {
        self.config.allowances.queues_per_connection = queues;
        self
    }

    /// How many exchanges a virtual host may have, each, beside those that are always there; declaring one more is refused
    /// with 406. 100,000 unless set.
    pub fn exchanges_max(mut self, exchanges: usize) -> Self {
        self.config.exchanges_max = exchanges;
        self
    }

    /// How many bindings a virtual host may have, each; one more is refused with 406. Ten million unless set, which takes
    /// some 2.3 GB.
    pub fn bindings_max(mut self, bindings: usize) -> Self {
        self.config.bindings_max = bindings;
        self
    }

    /// How many of the bindings that there are one connection may have made; one more is refused with 406. A million unless
    /// set. They count as [queues](Self::queues_per_connection_max) do.
    pub fn bindings_per_connection_max(mut self, bindings: u32) -> Self {
        self.config.allowances.bindings_per_connection = bindings;
        self
    }

    /// How many consumers an AMQP channel may have; with one more the connection is closed with 530, in RabbitMQ's words
    /// (`consumer_max_per_channel`). A STOMP session may have as many subscriptions. 10,000 unless set.
    pub fn consumers_per_channel_max(mut self, consumers: usize) -> Self {
        self.config.consumers_per_channel_max = consumers;
        self
    }

    /// How many consumers a connection may have on all of its channels, or subscriptions a STOMP session; with one more it is
    /// closed with 530. 50,000 unless set. [Clients](crate::Client) that act for no user are not counted.
    pub fn consumers_per_connection_max(mut self, consumers: u32) -> Self {
        self.config.allowances.consumers_per_connection = consumers;
        self
    }

    /// How many consumers there may be in each virtual host, whoever has them; one more is refused with 406. Two million
    /// unless set. [Clients](crate::Client) that act for no user are not counted.
    pub fn consumers_per_vhost_max(mut self, consumers: u32) -> Self {
        self.config.allowances.consumers_per_vhost = consumers;
        self
    }

    /// How many bytes of messages one connection may hold that no queue has yet, in all of its channels: those of which
    /// not everything has arrived, and those in transactions that are not committed. Beyond, it is closed with 506
    /// (STOMP: an ERROR ends the session). 256 MiB unless set, and never less than the
    /// [largest message](Self::message_size_max).
    ///
    /// What else a connection holds is bounded by itself: what waits for its socket (1 MiB and one message), what queues
    /// have for it (512 KiB and one message), and answers that wait for the disk (256 KiB).
    pub fn held_max(mut self, bytes: usize) -> Self {
        self.config.held_max = bytes;
        self
    }

    /// How many bytes each connection may send a second, at least 4096: beyond, it is read from later. What comes in a
    /// second may come at once after a pause. No limit unless set.
    pub fn bytes_per_s_max(mut self, bytes: u64) -> Self {
        self.config.rate_limits.bytes_per_s = Some(bytes.max(4096));
        self
    }

    /// How many messages each connection may publish a second, at least 10: beyond, it is read from later, acknowledgements
    /// and all. What comes in a second may come at once after a pause, and what is in 4 KiB comes together. No limit unless
    /// set. A client that asks for heartbeats of a few seconds may be taken for dead while it is held up.
    pub fn messages_per_s_max(mut self, messages: u64) -> Self {
        self.config.rate_limits.messages_per_s = Some(messages.max(10));
        self
    }

    /// How many channels a connection may have, proposed to clients, who may ask for fewer. 2047 unless set; 0 for no
    /// limit.
    pub fn channel_max(mut self, channels: u16) -> Self {
        self.config.channel_max = channels;
        self
    }

    /// How many channels each user may have on all connections together, of whom [nothing else](crate::UserLimits) is said;
    /// with one more the connection is closed with 530, in RabbitMQ's words. A session of STOMP is a channel. A million unless
    /// set. Without [accounts](Self::accounts) nobody is counted.
    pub fn channels_per_user_max(mut self, channels: u32) -> Self {
        self.config.allowances.channels_per_user = channels;
        self
    }

    /// How many channels there may be in each virtual host; with one more its connection is closed with 530. Two million
    /// unless set.
    pub fn channels_per_vhost_max(mut self, channels: u32) -> Self {
        self.config.allowances.channels_per_vhost = channels;
        self
    }

    /// The largest frame in bytes, proposed to clients, who may ask for a smaller one. 131,072 unless set, and at least
    /// 8192.
    pub fn frame_size_max(mut self, bytes: u32) -> Self {
        self.config.frame_size_max = bytes.max(8192);
        self
    }

    /// The largest frame in bytes that an AMQP client may send before it has logged in and agreed to
    /// [another size](Self::frame_size_max). 8192 unless set, as in RabbitMQ 4; from 8192 to 65,536. The login is in such a
    /// frame, so a password or token has to fit into it, with the client's properties: those who use large tokens want more.
    /// Each stranger that sends slowly may keep as much memory busy. Frames of STOMP and messages of a WebSocket may have
    /// 16,384 bytes before the login, or this where it is more.
    pub fn initial_frame_size_max(mut self, bytes: u32) -> Self {
        self.config.initial_frame_size_max = bytes.clamp(8192, 65_536);
        self
    }

    /// The heartbeat interval proposed to clients, in whole seconds; clients choose their own. 60 s unless set, zero for
    /// none.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.config.heartbeat = interval;
        self
    }

    /// The largest body in bytes; a larger message closes its channel with 406. 128 MiB unless set.
    pub fn message_size_max(mut self, bytes: usize) -> Self {
        self.config.message_size_max = bytes;
        self
    }

    /// How many headers an AMQP message may have, the outermost ones; one with more is refused with 406. 1000 unless set
    /// (RabbitMQ takes what fits a frame). STOMP frames have a limit of their own, 100 as in RabbitMQ.
    pub fn headers_per_message_max(mut self, headers: usize) -> Self {
        self.config.allowances.headers_per_message = headers;
        self
    }
}
