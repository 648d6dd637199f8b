//! A server in memory that grants everything, and holds all connects but the first.

use std::time::Duration;

use bayeux_proto::client::{CallId, Config, Input, Operation, Output, Session, SinkId, State, Transmit};
use bayeux_proto::{Channel, Message, MessageId, Time, Transport};

pub(crate) struct Peer {
    pub(crate) session: Session,
    now: Time,
    last_call: u64,
}

impl Peer {
    /// A session that is connected and has these subscriptions.
    pub(crate) fn connected(channels: impl Iterator<Item = String>) -> Self {
        let mut config = Config::default();
        config.transports = vec![Transport::WebSocket];
        let now = Time::from_origin(Duration::from_secs(1));
        let mut peer = Self { session: Session::new(config), now, last_call: 0 };
        peer.call(Operation::Open);
        for channel in channels {
            let channel = Channel::from_wire(&channel);
            peer.call(Operation::Subscribe { channel, sink: SinkId::INBOX });
        }
        assert!(peer.session.state() == State::Connected, "the session is not connected");
        peer
    }

    /// Makes a call, answers what is sent for it, and gives back how many outputs there were.
    pub(crate) fn call(&mut self, operation: Operation) -> usize {
        self.last_call += 1;
        self.handle(Input::Call(CallId(self.last_call), operation))
    }

    /// Hands in messages that came.
    pub(crate) fn receive(&mut self, messages: Vec<Message>) -> usize {
        self.handle(Input::Received { exchange: None, messages })
    }

    fn handle(&mut self, input: Input) -> usize {
        self.session.handle(input, self.now);
        let mut count = 0;
        while let Some(output) = self.session.poll_output() {
            count += 1;
            if let Output::Send(transmit) = std::hint::black_box(output) {
                let replies = transmit_replies(&transmit);
                if !replies.is_empty() {
                    self.session.handle(Input::Received { exchange: None, messages: replies }, self.now);
                }
            }
        }
        std::hint::black_box(self.session.poll_timeout());
        if self.session.poll_timeout().is_some_and(|at| at <= self.now) {
            return count + self.handle(Input::Timeout);
        }
        count
    }
}

fn transmit_replies(transmit: &Transmit) -> Vec<Message> {
    transmit.messages.iter().filter_map(reply).collect()
}

fn reply(request: &Message) -> Option<Message> {
    let id = request.id().cloned().unwrap_or(MessageId::from(0));
    let mut reply = Message::new(request.channel().clone()).with_id(id);
    let fields = reply.fields_mut();
    fields.successful = Some(true);
    match request.channel().as_str() {
        Channel::HANDSHAKE => {
            fields.client_id = Some(bayeux_proto::ClientId::new("peer"));
            fields.version = Some("1.0".to_owned());
            fields.supported_connection_types = Some(vec!["websocket".to_owned()]);
        }
        Channel::CONNECT if request.fields().advice.is_none() => return None,
        Channel::SUBSCRIBE => fields.subscription = request.fields().subscription.clone(),
        _ => {}
    }
    Some(reply)
}
