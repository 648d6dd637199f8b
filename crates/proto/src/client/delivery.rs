//! From an event to its receivers: each once, in order, and not before they have room.

use std::sync::Arc;
use std::time::Duration;

use super::ack::Place;
use super::contract::{ExchangeId, Output, SinkId};
use super::core::{ConnectStage, Core};
use super::event::State;
use crate::channel::{Channel, ChannelKind};
use crate::message::Message;
use crate::time::Time;

/// A connect that only asks again for what a receiver had no room for follows after this, at first.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// And after this at last: CometD servers keep a session that does not connect for 10 s, unless they say otherwise.
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Whether it can be nothing but the message of a publisher.
fn is_event(message: &Message) -> bool {
    message.is_bare()
        && message.channel().kind() == ChannelKind::Broadcast
        && !message.channel().as_str().is_empty()
}

impl Core {
    /// The place of an event among those that the outstanding connect has brought, if the server keeps them for us.
    pub(super) fn place(&mut self, exchange: Option<ExchangeId>) -> Option<Place> {
        if self.has_places(exchange) { self.window.place() } else { None }
    }

    /// Whether events that came now count among those that the outstanding connect has brought.
    fn has_places(&self, exchange: Option<ExchangeId>) -> bool {
        matches!(self.connect.stage, ConnectStage::Sent(sent) if exchange.is_none_or(|exchange| exchange == sent.exchange))
    }

    /// Hands on the events that `messages` begins with, as far as they are nothing else, are new, and have the same
    /// receivers, and gives back the rest: nearly all that is received need not be looked at one by one.
    pub(super) fn deliver_run(
        &mut self,
        exchange: Option<ExchangeId>,
        mut messages: Vec<Message>,
        now: Time,
    ) -> Vec<Message> {
        let has_places = self.has_places(exchange);
        let simple = self.connect.handshake_events == 0
            && (!has_places || (self.window.is_at_new() && self.credits.is_empty()));
        let Some(first) = messages.first().filter(|first| simple && is_event(first)) else { return messages };
        let sinks = Arc::clone(self.subscriptions.route(first.channel()));
        let mut same = |channel: &Channel| {
            let route = self.subscriptions.route(channel);
            Arc::ptr_eq(route, &sinks) || *route == sinks
        };
        let length = messages.iter().take_while(|next| is_event(next) && same(next.channel())).count();
        let rest = messages.split_off(length);
        if has_places {
            self.window.pass(length as u64);
        }
        self.not_idle(now);
        match self.outputs.back_mut() {
            _ if sinks.is_empty() => {}
            Some(Output::Deliver { sinks: same, messages: before }) if *same == sinks => {
                before.append(&mut messages);
            }
            _ => self.outputs.push_back(Output::Deliver { sinks, messages }),
        }
        rest
    }

    /// Hands an event to its receivers.
    pub(super) fn deliver(&mut self, message: Message, place: Option<Place>) {
        let route = self.subscriptions.route(message.channel());
        let size = || message.data().as_bytes().len();
        let admitted = match place {
            None => None,
            Some(Place::New(place)) => self.credits.admit(route, place, size(), true),
            Some(Place::Again(place)) => self.credits.admit(route, place, size(), false),
        };
        let sinks = admitted.map(Arc::from);
        let sinks = sinks.as_ref().unwrap_or(route);
        match self.outputs.back_mut() {
            _ if sinks.is_empty() => {}
            Some(Output::Deliver { sinks: same, messages }) if Arc::ptr_eq(same, sinks) || same == sinks => {
                messages.push(message);
            }
            _ => {
                let sinks = Arc::clone(sinks);
                self.outputs.push_back(Output::Deliver { sinks, messages: vec![message] });
            }
        }
    }

    /// The reply to a connect ends a batch. It is acknowledged when all receivers have what was in it; until then
    /// the server keeps it, and sends it again.
    pub(super) fn end_batch(&mut self, batch: u64) {
        self.credits.settle(self.window.seen());
        if self.credits.any_missed() {
            self.connect.held_turns = self.connect.held_turns.saturating_add(1);
        } else {
            self.window.close(batch);
            self.connect.held_turns = 0;
        }
    }

    /// A receiver has room, or needs none.
    pub(super) fn credit(&mut self, sink: SinkId, room: Option<(usize, usize)>, now: Time) {
        self.credits.set(sink, room);
        if self.connect.held_turns > 0
            && self.hold_back().is_zero()
            && matches!(self.connect.stage, ConnectStage::Waiting(_))
            && self.state == State::Connected
        {
            self.connect.stage = ConnectStage::Waiting(now + self.interval().unwrap_or_default());
        }
    }

    /// How long the next connect is to be put off, because a receiver could take nothing of what it would bring.
    pub(super) fn hold_back(&self) -> Duration {
        if self.connect.held_turns == 0 || self.credits.any_ready() || !self.credits.any_missed() {
            return Duration::ZERO;
        }
        let last = match self.advice.max_interval.filter(|kept| !kept.is_zero()) {
            Some(kept) => LAST_PAUSE.min(kept / 2),
            None => LAST_PAUSE,
        };
        FIRST_PAUSE.saturating_mul(1 << (self.connect.held_turns - 1).min(8)).min(last)
    }
}
