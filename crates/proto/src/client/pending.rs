//! A handshake or connect that was sent and waits for its reply.

use std::time::Duration;

use super::arrivals::Arrivals;
use super::contract::ExchangeId;
use crate::id::MessageId;
use crate::message::Message;
use crate::time::Time;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pending {
    id: u64,
    exchange: ExchangeId,
    sent_at: Time,
    deadline: Time,
    /// The generation of the credentials that it was sent with.
    generation: u64,
}

impl Pending {
    pub(super) fn new(id: u64, exchange: ExchangeId, generation: u64, now: Time, within: Duration) -> Self {
        Self { id, exchange, sent_at: now, deadline: now + within, generation }
    }

    pub(super) fn exchange(&self) -> ExchangeId {
        self.exchange
    }

    pub(super) fn sent_at(&self) -> Time {
        self.sent_at
    }

    pub(super) fn deadline(&self) -> Time {
        self.deadline
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether a reply is the one to this: it has its id, or no id at all.
    pub(super) fn is_answered_by(&self, reply: &Message) -> bool {
        reply.id().is_none_or(|id| *id == MessageId::from(self.id))
    }

    /// Whether this is the message itself, as an extension got it.
    pub(super) fn is(&self, message: &Message) -> bool {
        message.id().is_some() && self.is_answered_by(message)
    }

    /// Whether the deadline has passed, with the time that arriving bytes add to it.
    pub(super) fn expire(&mut self, arrivals: &Arrivals, span: Duration, now: Time) -> bool {
        if self.deadline <= now {
            self.deadline = self.deadline.max(arrivals.put_off_session(self.exchange, span));
        }
        self.deadline <= now
    }
}
