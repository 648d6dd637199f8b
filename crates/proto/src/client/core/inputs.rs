//! Where each input goes, and what is due when.

use super::{Core, Next, Phase};
use crate::client::contract::{ExchangeId, Input, Operation};
use crate::message::Message;
use crate::time::Time;

impl Core {
    /// Handles what happened at `now`, and then what is due.
    pub(in crate::client) fn handle(&mut self, input: Input, now: Time) {
        self.now = now;
        let next = match input {
            Input::Call(call, Operation::Open) => self.open(call, None, now),
            Input::Call(call, Operation::Resume(snapshot)) => self.open(call, Some(*snapshot), now),
            Input::Call(call, Operation::Suspend) => self.suspend(call),
            Input::Call(call, Operation::Close) => {
                self.close(call, now);
                Next::Nothing
            }
            Input::Call(call, operation) => {
                let group = self.requests.group();
                self.call(call, operation, group, now);
                Next::Nothing
            }
            Input::Batch(calls) => {
                let group = self.requests.group();
                for (call, operation) in calls {
                    self.call(call, operation, group, now);
                }
                Next::Nothing
            }
            Input::Forget(call) => self.forget(call),
            Input::Received { exchange, messages } => {
                self.received(exchange, messages, now);
                Next::Nothing
            }
            Input::Progress(exchange) => {
                self.progress(exchange, now);
                Next::Nothing
            }
            Input::ExchangeFailed(exchange, failure) => self.exchange_failed(exchange, failure, now),
            Input::TransportLost(failure) => self.transport_lost(&failure, now),
            Input::Vetoed { message, reason } => self.vetoed(&message, &reason, now),
            Input::Credentials(outcome) => self.credentials(outcome, now),
            Input::RetryDecided(verdict) => self.retry_decided(verdict, now),
            Input::Arriving => {
                self.liveness.received(now);
                self.arrivals.part(now);
                Next::Nothing
            }
            Input::Alive => {
                self.liveness.received(now);
                Next::Nothing
            }
            Input::Credit(sink, credit) => {
                self.credit(sink, credit, now);
                Next::Nothing
            }
            Input::Reconnect => self.reconnect(now),
            Input::Timeout => Next::Nothing,
        };
        self.follow(next, now);
        self.advance(now);
    }

    fn received(&mut self, exchange: Option<ExchangeId>, mut messages: Vec<Message>, now: Time) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.liveness.received(now);
        if exchange.is_none() {
            self.arrivals.frame(now);
        }
        // What names no channel answers what nothing else in the response does.
        messages.sort_by_key(|message| message.channel().as_str().is_empty());
        // The events after the message that ends the session are the last that come.
        let mut end = None;
        for message in self.deliver_run(exchange, messages, now) {
            match self.message(exchange, message, now) {
                last @ Next::Terminate(_) => drop(end.get_or_insert(last)),
                next if end.is_none() => self.follow(next, now),
                _ => {}
            }
        }
        if let Some(end) = end {
            return self.follow(end, now);
        }
        if let Some(exchange) = exchange {
            let next = self.exchange_ended(exchange, now);
            self.follow(next, now);
        }
    }

    /// Does what is due.
    fn advance(&mut self, now: Time) {
        if let Some(failure) = self.expire_handshake(now) {
            let next = self.handshake_failed(failure, now);
            self.follow(next, now);
        }
        if let Some(failure) = self.expire_connect(now) {
            self.give_up_transport(&failure, now);
        }
        self.check_liveness(now);
        if self.expire_requests(now) {
            let failure = self.silence("last message", self.config.request_timeout);
            self.give_up_transport(&failure, now);
        }
        self.free_lane(now);
        self.expire_opening(now);
        self.expire_closing(now);
        if self.session().is_some() {
            self.retry_subscriptions(now);
        }
        self.announce_connected();
        self.send_due_handshake(now);
        self.send_due_connect(now);
    }

    /// The earliest time at which something is due.
    pub(in crate::client) fn poll_timeout(&self) -> Option<Time> {
        let (own, retry) = match &self.phase {
            Phase::Closed => (None, None),
            Phase::Opening(handshake) => (handshake.next_timeout(), None),
            Phase::Established(_) | Phase::Closing(_) => {
                let asking = self.credentials.asking();
                let connect = self.session().and_then(|session| session.connect.next_timeout(asking));
                (connect, self.subscriptions.next_retry().map(|(at, _)| at))
            }
        };
        let request = self.requests.next_deadline().map(|(at, _)| at);
        let opening = self.opening.as_ref().and_then(|opening| opening.deadline);
        let closing = match &self.phase {
            Phase::Closing(closing) => Some(closing.deadline),
            _ => None,
        };
        let rest = self.lane.rests_until(self.now).filter(|_| self.requests.len() > 0);
        let (lane, ping) = (self.lane.next_check(), self.next_ping());
        [own, retry, request, opening, closing, rest, lane, ping].into_iter().flatten().min()
    }
}
