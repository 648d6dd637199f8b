//! One message that expects a reply, from its turn to its outcome.

use std::time::Duration;

use super::contract::{CallId, ExchangeId};
use super::failure::Failure;
use crate::channel::Channel;
use crate::message::Message;
use crate::time::Time;

#[derive(Debug)]
pub(super) struct Request {
    kind: Kind,
    call: Option<CallId>,
    /// The message without the session's id, so that it can be sent again in another session.
    message: Message,
    started: Time,
    /// When the caller has waited long enough: for its turn, or, once it is sent, for its reply.
    deadline: Time,
    /// How long the reply may take, counted from when it is sent; `None` if `deadline` is final.
    reply_within: Option<Duration>,
    /// Until when it may be put back into the queue.
    give_up: Time,
    /// The exchange it went out with; `None` while it waits for its turn.
    exchange: Option<ExchangeId>,
    /// When it went out.
    sent_at: Time,
    /// It was sent before, and the server has certainly not acted on it.
    again: bool,
    /// The service has accepted it; only its answer is missing.
    accepted: bool,
    /// It was sent before, and the server may have acted on it. Only what may be sent twice is queued again then.
    maybe_seen: bool,
    /// What the last attempt to send it failed with.
    last: Option<Box<Failure>>,
    /// It restores a subscription in a new session, before anything else is sent.
    restores: bool,
    stamp: Stamp,
}

/// The circumstances under which a request was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    generation: u64,
    session: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Publish,
    /// A request to a service, which a reply without data only acknowledges.
    Service,
    Subscribe(Channel),
    Unsubscribe(Channel),
    Disconnect,
}

impl Stamp {
    /// The generation of the credentials, and the number of the session.
    pub(super) fn new(generation: u64, session: u64) -> Self {
        Self { generation, session }
    }

    pub(super) fn generation(self) -> u64 {
        self.generation
    }

    pub(super) fn session(self) -> u64 {
        self.session
    }
}

impl Request {
    /// A request that gives up at `give_up`. `reply_within` is how long the reply may take once it is sent, unless
    /// `give_up` is final.
    pub(super) fn new(
        kind: Kind,
        call: Option<CallId>,
        message: Message,
        now: Time,
        give_up: Time,
        reply_within: Option<Duration>,
    ) -> Self {
        Self {
            kind,
            call,
            message,
            started: now,
            deadline: give_up,
            reply_within,
            give_up,
            exchange: None,
            sent_at: now,
            again: false,
            accepted: false,
            maybe_seen: false,
            last: None,
            restores: false,
            stamp: Stamp::default(),
        }
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.kind
    }

    pub(super) fn call(&self) -> Option<CallId> {
        self.call
    }

    pub(super) fn message(&self) -> &Message {
        &self.message
    }

    /// The channel of the message.
    pub(super) fn channel(&self) -> &Channel {
        self.message.channel()
    }

    pub(super) fn started(&self) -> Time {
        self.started
    }

    pub(super) fn deadline(&self) -> Time {
        self.deadline
    }

    /// The exchange it went out with; `None` while it waits for its turn.
    pub(super) fn exchange(&self) -> Option<ExchangeId> {
        self.exchange
    }

    /// When it went out; without meaning while it waits for its turn.
    pub(super) fn sent_at(&self) -> Time {
        self.sent_at
    }

    pub(super) fn is_sent(&self) -> bool {
        self.exchange.is_some()
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Whether a service has accepted it, and its answer is to follow.
    pub(super) fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// Whether it was sent before, and the server may have acted on it.
    pub(super) fn is_maybe_seen(&self) -> bool {
        self.maybe_seen
    }

    /// Whether it waits to be sent again after the server has certainly not acted on it.
    pub(super) fn waits_again(&self) -> bool {
        self.again && !self.is_sent()
    }

    pub(super) fn restores(&self) -> bool {
        self.restores
    }

    pub(super) fn last_failure(&self) -> Option<&Failure> {
        self.last.as_deref()
    }

    /// Whether there is time left to send it again.
    pub(super) fn has_time(&self, now: Time) -> bool {
        now < self.give_up
    }

    /// Whether it may be sent once more after the server has certainly not acted on it: once, or for as long as there
    /// is time if the server may have acted on it before.
    pub(super) fn may_go_again(&self, now: Time) -> bool {
        !self.again || (self.maybe_seen && self.has_time(now))
    }

    /// The server has certainly not acted on it this time.
    pub(super) fn not_acted_on(self) -> Self {
        Self { again: true, ..self }
    }

    /// Sending it failed. `seen` is whether the server may have acted on it.
    pub(super) fn failed(self, seen: bool, failure: &Failure) -> Self {
        let maybe_seen = self.maybe_seen || seen;
        Self { maybe_seen, last: Some(Box::new(failure.clone())), ..self }
    }

    /// It was sent, and no reply came in time.
    pub(super) fn unanswered(self) -> Self {
        Self { maybe_seen: true, ..self }
    }

    /// The same request with another message id.
    pub(super) fn renumbered(self, id: u64) -> Self {
        Self { message: self.message.clone().with_id(id), ..self }
    }

    /// The same request before all that is not about restoring subscriptions.
    pub(super) fn restoring(self) -> Self {
        Self { restores: true, ..self }
    }

    /// The same request back in the queue.
    pub(super) fn queued(self) -> Self {
        Self { exchange: None, deadline: self.give_up, ..self }
    }

    /// It goes out with `exchange`. Its reply is due from now on.
    pub(super) fn send(&mut self, exchange: ExchangeId, stamp: Stamp, now: Time) {
        self.exchange = Some(exchange);
        self.sent_at = now;
        self.stamp = stamp;
        if let Some(span) = self.reply_within {
            self.deadline = now + span;
        }
    }

    /// Puts the deadline off, unless the caller set it. Returns whether it did.
    pub(super) fn extend(&mut self, deadline: Time) -> bool {
        let extended = self.deadline < deadline && self.reply_within.is_some();
        if extended {
            self.deadline = deadline;
        }
        extended
    }

    /// The caller does not wait any more.
    pub(super) fn disown(&mut self) {
        self.call = None;
    }

    pub(super) fn note(&mut self, failure: &Failure) {
        self.last = Some(Box::new(failure.clone()));
    }

    /// A service has accepted it, and its answer is to follow.
    pub(super) fn accept(&mut self) {
        self.accepted = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::failure::FailureKind;

    fn at(secs: u64) -> Time {
        Time::from_origin(Duration::from_secs(secs))
    }

    fn request(reply_within: Option<Duration>) -> Request {
        let message = Message::new(Channel::parse("/a").unwrap());
        Request::new(Kind::Publish, None, message, at(0), at(30), reply_within)
    }

    #[test]
    fn the_reply_is_due_after_it_is_sent_unless_the_caller_set_the_deadline() {
        for (within, sent, extended) in
            [(Some(Duration::from_secs(5)), at(9), at(20)), (None, at(30), at(30))]
        {
            let mut request = request(within);
            assert_eq!(request.deadline(), at(30));
            request.send(ExchangeId(1), Stamp::new(1, 2), at(4));
            assert_eq!((request.deadline(), request.exchange()), (sent, Some(ExchangeId(1))));
            assert_eq!(request.extend(at(20)), within.is_some());
            assert!(!request.extend(at(20)));
            assert_eq!(request.deadline(), extended);
            let request = request.queued();
            assert_eq!((request.deadline(), request.exchange()), (at(30), None));
        }
    }

    #[test]
    fn what_the_server_did_not_act_on_goes_again_once() {
        let first = request(None);
        assert!(first.may_go_again(at(1)));
        let second = first.not_acted_on();
        assert!(!second.may_go_again(at(1)) && second.waits_again());
        let failure = Failure::new(FailureKind::Lost, "cut");
        let unseen = second.failed(false, &failure);
        assert!(!unseen.is_maybe_seen() && !unseen.may_go_again(at(1)));
        let seen = unseen.failed(true, &failure);
        assert!(seen.may_go_again(at(29)) && !seen.may_go_again(at(30)));
        assert!(seen.failed(false, &failure).is_maybe_seen());
    }
}
