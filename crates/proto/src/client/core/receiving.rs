//! What comes from the server: which message answers what, and which is an event.

use super::{Core, Next, Phase};
use crate::channel::{Channel, ChannelKind};
use crate::client::ack::Place;
use crate::client::cause::LostCause;
use crate::client::contract::ExchangeId;
use crate::client::event::Event;
use crate::client::outcome::CloseReason;
use crate::client::request::Kind;
use crate::client::subscriptions::Status;
use crate::message::{Message, Subscription};
use crate::time::Time;

impl Core {
    pub(super) fn message(&mut self, exchange: Option<ExchangeId>, message: Message, now: Time) -> Next {
        if let Some(advice) = &message.fields().advice
            && !self.goes_on_elsewhere(&message)
            && let Some(capped) = self.advised.merge(advice)
        {
            self.outbox.event(Event::AdviceChanged(self.advised.advice().clone()));
            for capped in capped {
                self.report_capped(Some(capped));
            }
        }
        match message.channel().kind() {
            ChannelKind::Meta => self.meta(exchange, message, now),
            ChannelKind::Service | ChannelKind::Broadcast if message.channel().as_str().is_empty() => {
                self.without_channel(exchange, &message, now)
            }
            ChannelKind::Service | ChannelKind::Broadcast => self.application(exchange, message, now),
        }
    }

    fn meta(&mut self, exchange: Option<ExchangeId>, message: Message, now: Time) -> Next {
        match message.channel().as_str() {
            Channel::HANDSHAKE => self.handshake_reply(exchange, message, now),
            Channel::CONNECT => self.connect_reply(exchange, message, now),
            Channel::DISCONNECT if message.id().is_none() && !matches!(self.phase, Phase::Closing(_)) => {
                if self.config.survive_disconnect {
                    return Next::Rehandshake(LostCause::SessionLost(Box::new(message)));
                }
                Next::Terminate(CloseReason::Server(Box::new(message)))
            }
            Channel::DISCONNECT | Channel::SUBSCRIBE | Channel::UNSUBSCRIBE => {
                match self.request_of(&message) {
                    Some(id) => self.reply(id, message, now),
                    None => Next::Nothing,
                }
            }
            other => {
                let what = format!("a message on {other}, which is no channel of the protocol");
                self.outbox.event(Event::Ignored { what });
                Next::Nothing
            }
        }
    }

    /// The request that a reply answers: by its id, or, since some servers leave the id out, the oldest that fits.
    fn request_of(&self, reply: &Message) -> Option<u64> {
        let requests = &self.calls;
        if let Some(id) = reply.id() {
            let id = id.number()?;
            return requests.get(id).filter(|request| request.channel() == reply.channel()).map(|_| id);
        }
        let name = match &reply.fields().subscription {
            Some(Subscription::One(name)) => Some(Channel::from_wire(name)),
            _ => None,
        };
        // Mostly it names what was asked for last.
        if let Some(Status::Pending(id)) = name.as_ref().and_then(|name| self.subscriptions.status(name))
            && reply.channel() == Channel::SUBSCRIBE
            && requests.get(id).is_some_and(|request| request.is_sent())
        {
            return Some(id);
        }
        requests.oldest(|request| {
            let about = match request.kind() {
                Kind::Subscribe(channel) | Kind::Unsubscribe(channel) => Some(channel),
                Kind::Publish | Kind::Service | Kind::Disconnect => None,
            };
            request.is_sent()
                && request.channel() == reply.channel()
                && (name.is_none() || name.as_ref() == about)
        })
    }

    /// A message on a channel of the application: an event, or the reply to a publish, which has no data.
    fn application(&mut self, exchange: Option<ExchangeId>, message: Message, now: Time) -> Next {
        // Replies without data are not among the messages that the server keeps until they are acknowledged.
        let kept = message.has_data() || message.fields().successful.is_none();
        let place = if kept { self.place(exchange) } else { None };
        if kept {
            self.not_idle(now);
        }
        let seen = matches!(place, Some(Place::Again(_)));
        let is_reply = if seen {
            false
        } else if message.has_data() {
            // Services answer with data; anything else that carries data and grants nothing is an event.
            message.channel().is_service() || message.fields().successful.is_some()
        } else {
            message.id().is_some() || message.fields().successful.is_some()
        };
        if is_reply {
            let request = self.request_of(&message).filter(|id| self.is_reply_to(*id, &message, exchange));
            if let Some(id) = request {
                return self.reply(id, message, now);
            }
            if !message.has_data() {
                return Next::Nothing;
            }
        }
        self.count_handshake_event(now);
        if !self.comes_again(exchange, &message) {
            self.deliver(message, place);
        }
        Next::Nothing
    }

    /// Whether a message with the id of a request is its reply. The answer of a service to a publish has that id, too: over
    /// HTTP it may arrive with a connect before the reply does.
    fn is_reply_to(&self, id: u64, message: &Message, exchange: Option<ExchangeId>) -> bool {
        let Some(request) = self.calls.get(id) else { return false };
        !message.has_data()
            || *request.kind() == Kind::Service
            || (message.fields().successful.is_some()
                && (exchange.is_none() || !message.channel().is_service() || request.exchange() == exchange))
    }

    /// A message that names no channel. Salesforce refuses so: `{"error":"401::…","successful":false}`; it answers
    /// whatever it came in response to.
    fn without_channel(&mut self, exchange: Option<ExchangeId>, message: &Message, now: Time) -> Next {
        let what = match &message.fields().error {
            Some(error) => format!("a message without channel: {error}"),
            None => "a message without channel".to_owned(),
        };
        self.outbox.event(Event::Ignored { what });
        if message.fields().successful.is_none() && message.fields().error.is_none() {
            return Next::Nothing;
        }
        let with_channel = |channel: &Channel| {
            let mut reply = message.clone();
            reply.set_channel(channel.clone());
            reply
        };
        let handshake = exchange.is_some() && self.handshake_exchange() == exchange;
        let connect = exchange.is_some() && self.connect_exchange() == exchange;
        if handshake {
            let reply = with_channel(&Channel::from_wire(Channel::HANDSHAKE));
            return self.handshake_reply(exchange, reply, now);
        }
        if connect {
            let reply = with_channel(&Channel::from_wire(Channel::CONNECT));
            return self.connect_reply(exchange, reply, now);
        }
        let ids = match (message.id().and_then(|id| id.number()), exchange) {
            (Some(id), _) => vec![id],
            (None, Some(exchange)) => self.calls.of_exchange(exchange),
            (None, None) => Vec::new(),
        };
        let mut first = Next::Nothing;
        for id in ids {
            let Some(channel) = self.calls.get(id).map(|request| request.channel().clone()) else {
                continue;
            };
            let next = self.reply(id, with_channel(&channel), now);
            if matches!(first, Next::Nothing) {
                first = next;
            }
        }
        first
    }
}
