//! From an event to its receivers: each once, in order, and not before they have credit for it.

use std::sync::Arc;
use std::time::Duration;

use super::{Closing, Core, Flow, Phase};
use crate::channel::{Channel, ChannelKind};
use crate::client::ack::Place;
use crate::client::contract::{ExchangeId, SinkId};
use crate::client::event::Event;
use crate::ext::replay;
use crate::message::Message;
use crate::time::Time;

/// Whether it can be nothing but the message of a publisher.
fn is_event(message: &Message) -> bool {
    message.is_bare()
        && message.channel().kind() == ChannelKind::Broadcast
        && !message.channel().as_str().is_empty()
}

impl Core {
    /// The place of an event among those that the outstanding connect has brought, if the server keeps them until
    /// they are acknowledged.
    pub(super) fn place(&mut self, exchange: Option<ExchangeId>) -> Option<Place> {
        if !self.has_places(exchange) {
            return None;
        }
        self.session_mut()?.window.place()
    }

    /// Whether events that came now count among those that the outstanding connect has brought.
    fn has_places(&self, exchange: Option<ExchangeId>) -> bool {
        self.connect_exchange().is_some_and(|connect| exchange.is_none_or(|exchange| exchange == connect))
    }

    /// Delivers the events that `messages` begins with, as far as they are nothing else, are new, and have the same
    /// receivers, and returns the rest: nearly all that is received need not be looked at one by one.
    pub(super) fn deliver_run(
        &mut self,
        exchange: Option<ExchangeId>,
        mut messages: Vec<Message>,
        now: Time,
    ) -> Vec<Message> {
        let has_places = self.has_places(exchange);
        let simple = self.session().is_none_or(|session| {
            !session.connect.awaits_handshake_events()
                && (!has_places || (session.window.is_at_new() && self.credits.is_empty()))
        });
        let replays = &self.replays;
        let is_event = |message: &Message| is_event(message) && !replays.concerns(message.channel());
        let Some(first) = messages.first().filter(|first| simple && is_event(first)) else { return messages };
        let sinks = Arc::clone(self.subscriptions.route(first.channel()));
        let mut same = |channel: &Channel| {
            let route = self.subscriptions.route(channel);
            Arc::ptr_eq(route, &sinks) || *route == sinks
        };
        let length = messages.iter().take_while(|next| is_event(next) && same(next.channel())).count();
        let rest = messages.split_off(length);
        if has_places && let Some(session) = self.session_mut() {
            session.window.pass(length as u64);
        }
        self.not_idle(now);
        self.outbox.deliver(&sinks, messages);
        rest
    }

    /// Delivers an event to its receivers.
    pub(super) fn deliver(&mut self, message: Message, place: Option<Place>) {
        let mut route = Arc::clone(self.subscriptions.route(message.channel()));
        let id = if self.replays.concerns(message.channel()) { replay::event_id(&message) } else { None };
        if let Some(new) = id.and_then(|id| self.replays.new_to(message.channel(), id, &route)) {
            route = new.into();
        }
        let admitted = match (place, &mut self.phase) {
            (Some(place), Phase::Established(session) | Phase::Closing(Closing { session, .. })) => {
                let (place, is_new) = match place {
                    Place::New(place) => (place, true),
                    Place::Again(place) => (place, false),
                };
                let size = message.data().as_bytes().len();
                session.missed.admit(&mut self.credits, &route, place, size, is_new)
            }
            _ => None,
        };
        let admitted = admitted.map_or(route, Arc::from);
        if let Some(id) = id {
            self.replays.delivered(message.channel(), id, &admitted);
        }
        self.outbox.deliver_one(&admitted, message);
    }

    /// An event came: the turns of the loop are not idle. Some servers send the events of a reply after it.
    pub(super) fn not_idle(&mut self, now: Time) {
        let Some(session) = self.session_mut() else { return };
        if session.connect.event_received()
            && let Some(interval) = self.advised.interval()
        {
            self.connect_at(now + interval);
        }
    }

    /// The reply to a connect ends a batch. The batch is acknowledged when all receivers have what was in it; until
    /// then the server keeps it, and sends it again.
    pub(super) fn end_batch(&mut self, batch: u64) {
        let Phase::Established(session) = &mut self.phase else { return };
        session.missed.settle(session.window.seen());
        let held = session.missed.any();
        if !held {
            session.window.close(batch);
        }
        session.connect.turn_ended(held);
    }

    /// A receiver has credit, or needs none.
    pub(super) fn credit(&mut self, sink: SinkId, credit: Option<(usize, usize)>, now: Time) {
        self.credits.set(sink, credit);
        if let Some(session) = self.session_mut().filter(|_| credit.is_none()) {
            session.missed.forget(sink);
        }
        let freed = self.established().is_some_and(|session| {
            session.flow == Flow::Connected
                && session.connect.is_holding()
                && session.connect.waits_until().is_some()
        });
        if freed && self.hold_back().is_zero() {
            self.connect_at(now + self.advised.interval().unwrap_or_default());
        }
    }

    /// How long to put the next connect off, because no receiver has credit for what it would bring.
    pub(super) fn hold_back(&self) -> Duration {
        let Some(session) = self.established() else { return Duration::ZERO };
        let missed = &session.missed;
        if !session.connect.is_holding() || missed.any_ready(&self.credits) || !missed.any() {
            return Duration::ZERO;
        }
        session.connect.hold_back(self.advised.kept())
    }

    /// A response, or the rest of a socket, will not be read. Events may have been in it, since they come with any
    /// reply; they are lost unless the server keeps them until they are acknowledged.
    pub(super) fn unread(&mut self) {
        let Phase::Established(session) = &mut self.phase else { return };
        if session.window.batch().is_none() {
            session.gap = true;
            if session.flow == Flow::Connected {
                self.report_gap();
            }
        }
    }

    /// Reports that messages may have been missed, if there is anything to miss.
    pub(super) fn report_gap(&mut self) {
        let Phase::Established(session) = &mut self.phase else { return };
        if std::mem::take(&mut session.gap) {
            session.anew |= self.replays.covers_any();
            let mut channels = self.subscriptions.established();
            channels.retain(|channel| !self.replays.covers(channel));
            if !channels.is_empty() {
                self.outbox.event(Event::GapPossible { channels });
            }
        }
    }
}
