//! Where each input goes, and what is due when.

use super::{Core, Next, Phase};
use crate::client::contract::{ExchangeId, Input, Operation, Output};
use crate::client::outcome::CloseReason;
use crate::client::pending::Pending;
use crate::message::Message;
use crate::time::Time;

/// What can become due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    HandshakeReply,
    ConnectReply,
    Liveness,
    Calls,
    LaneCheck,
    LaneRest,
    Opening,
    Closing,
    Subscriptions,
    SendHandshake,
    SendConnect,
}

impl Timer {
    /// The ends of waits, in the order in which they are handled if several are due.
    const WAITS: [Self; 9] = [
        Self::HandshakeReply,
        Self::ConnectReply,
        Self::Liveness,
        Self::Calls,
        Self::LaneCheck,
        Self::LaneRest,
        Self::Opening,
        Self::Closing,
        Self::Subscriptions,
    ];
    /// What is sent after that.
    const SENDS: [Self; 2] = [Self::SendHandshake, Self::SendConnect];
}

impl Core {
    /// Handles what happened at `now`, and then what is due.
    pub(in crate::client) fn handle(&mut self, input: Input, now: Time) {
        self.now = now;
        if self.has_given_up(&input) {
            return self.advance(now);
        }
        let next = match input {
            Input::Call(call, Operation::Open) => self.open(call, None, now),
            Input::Call(call, Operation::Resume(snapshot)) => self.open(call, Some(*snapshot), now),
            Input::Call(call, Operation::Suspend) => self.suspend(call),
            Input::Call(call, Operation::Close) => {
                self.close(call, now);
                Next::Nothing
            }
            Input::Call(call, operation) => {
                let group = self.calls.group();
                self.call(call, operation, group, now);
                Next::Nothing
            }
            Input::Batch(calls) => {
                let group = self.calls.group();
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

    /// Whether an input is about an exchange or a socket that an earlier input of the same burst gave up: the driver does not
    /// know yet, and would drop it if it did. What is in it comes again, or is reported as missed already.
    fn has_given_up(&self, input: &Input) -> bool {
        match input {
            Input::Received { exchange: Some(exchange), .. }
            | Input::Progress(exchange)
            | Input::ExchangeFailed(exchange, _) => self.outbox.has_cancelled(*exchange),
            Input::Received { exchange: None, .. }
            | Input::Arriving
            | Input::Alive
            | Input::TransportLost(_) => self.outbox.has_closed_websocket(),
            _ => false,
        }
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

    /// Takes the next output. Messages of calls are put into batches only if there is no other output, so that calls
    /// that were handed in together travel together.
    pub(in crate::client) fn next_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outbox.next() {
            return Some(output);
        }
        self.flush(self.now);
        self.outbox.next()
    }

    /// Does what is due.
    fn advance(&mut self, now: Time) {
        self.replay_in_new_session(now);
        // Nothing is, after nearly all inputs.
        let due = self.poll_timeout().is_some_and(|at| at <= now);
        if due {
            for timer in Timer::WAITS {
                self.fire_if_due(timer, now);
            }
        }
        self.announce_connected();
        self.replay_in_new_session(now);
        if due {
            for timer in Timer::SENDS {
                self.fire_if_due(timer, now);
            }
        }
    }

    /// The earliest time at which something is due.
    pub(in crate::client) fn poll_timeout(&self) -> Option<Time> {
        let mut earliest: Option<Time> = None;
        self.each_timer(|_, at| {
            if earliest.is_none_or(|before| at < before) {
                earliest = Some(at);
            }
        });
        earliest
    }

    fn fire_if_due(&mut self, timer: Timer, now: Time) {
        let mut due = false;
        self.each_timer(|set, at| due |= set == timer && at <= now);
        if due {
            self.fire(timer, now);
        }
    }

    /// Calls `visit` with each timer that is set and its time. The parts know the times; there is no second record that
    /// could differ.
    #[inline]
    fn each_timer(&self, mut visit: impl FnMut(Timer, Time)) {
        let mut set = |timer, at: Option<Time>| {
            if let Some(at) = at {
                visit(timer, at);
            }
        };
        match &self.phase {
            Phase::Closed => {}
            Phase::Opening(handshake) => {
                set(Timer::HandshakeReply, handshake.outstanding().map(Pending::deadline));
                set(Timer::SendHandshake, handshake.waits_until());
            }
            Phase::Established(session) => {
                set(Timer::ConnectReply, session.connect.outstanding().map(Pending::deadline));
                set(Timer::Liveness, self.next_ping(session));
                set(Timer::Subscriptions, self.subscriptions.next_retry().map(|(at, _)| at));
                // A connect does not go out while credentials are asked for.
                set(Timer::SendConnect, session.connect.waits_until().filter(|_| !self.credentials.asking()));
            }
            Phase::Closing(closing) => {
                let outstanding = closing.session.connect.outstanding();
                set(Timer::ConnectReply, outstanding.map(Pending::deadline));
                set(Timer::Subscriptions, self.subscriptions.next_retry().map(|(at, _)| at));
                // At once if the server has confirmed and nothing is outstanding.
                let finished = closing.confirmed && outstanding.is_none();
                set(Timer::Closing, Some(if finished { Time::ZERO } else { closing.deadline }));
            }
        }
        set(Timer::Calls, self.calls.next_deadline().map(|(at, _)| at));
        set(Timer::LaneCheck, self.lane.next_check());
        set(Timer::LaneRest, self.lane.rests_until(self.now).filter(|_| self.calls.len() > 0));
        set(Timer::Opening, self.opening.as_ref().and_then(|opening| opening.deadline));
    }

    fn fire(&mut self, timer: Timer, now: Time) {
        match timer {
            Timer::HandshakeReply => {
                if let Some(failure) = self.expire_handshake(now) {
                    let next = self.handshake_failed(failure, now);
                    self.follow(next, now);
                }
            }
            Timer::ConnectReply => {
                if let Some(failure) = self.expire_connect(now) {
                    self.give_up_transport(&failure, now);
                }
            }
            Timer::Liveness => self.check_liveness(now),
            Timer::Calls => {
                if self.expire_requests(now) {
                    let failure = self.silence("last message", self.config.request_timeout);
                    self.give_up_transport(&failure, now);
                }
            }
            Timer::LaneCheck => self.free_lane(now),
            // What waits is sent when the outputs are taken.
            Timer::LaneRest => {}
            Timer::Opening => self.expire_opening(),
            Timer::Closing => self.terminate(&CloseReason::Requested),
            Timer::Subscriptions => self.retry_subscriptions(now),
            Timer::SendHandshake => self.send_due_handshake(now),
            Timer::SendConnect => self.send_due_connect(now),
        }
    }
}
