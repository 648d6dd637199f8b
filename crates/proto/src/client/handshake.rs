//! An attempt to get a session: the handshake that waits, or that is on its way.

use super::pending::Pending;
use crate::message::Message;
use crate::time::Time;

/// Lives from the start of an attempt until a session is granted.
#[derive(Debug)]
pub(super) struct Handshake {
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// A reply or failure is being handled.
    Idle,
    /// To be sent at this time.
    Waiting(Time),
    NeedsCredentials,
    Sent(Pending),
}

impl Handshake {
    /// An attempt whose handshake is to be sent at `at`.
    pub(super) fn waiting(at: Time) -> Self {
        Self { stage: Stage::Waiting(at) }
    }

    /// Sends the handshake (again) at `at`.
    pub(super) fn wait_until(&mut self, at: Time) {
        self.stage = Stage::Waiting(at);
    }

    /// When the handshake is to be sent.
    pub(super) fn waits_until(&self) -> Option<Time> {
        match self.stage {
            Stage::Waiting(at) => Some(at),
            _ => None,
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waits_until().is_some()
    }

    /// Whether the handshake is to be sent now.
    pub(super) fn is_due(&self, now: Time) -> bool {
        self.waits_until().is_some_and(|at| at <= now)
    }

    pub(super) fn need_credentials(&mut self) {
        self.stage = Stage::NeedsCredentials;
    }

    pub(super) fn needs_credentials(&self) -> bool {
        matches!(self.stage, Stage::NeedsCredentials)
    }

    pub(super) fn sent(&mut self, pending: Pending) {
        self.stage = Stage::Sent(pending);
    }

    /// The handshake that waits for its reply.
    pub(super) fn outstanding(&self) -> Option<&Pending> {
        match &self.stage {
            Stage::Sent(pending) => Some(pending),
            _ => None,
        }
    }

    pub(super) fn outstanding_mut(&mut self) -> Option<&mut Pending> {
        match &mut self.stage {
            Stage::Sent(pending) => Some(pending),
            _ => None,
        }
    }

    /// Takes the handshake that `reply` answers.
    pub(super) fn answered_by(&mut self, reply: &Message) -> Option<Pending> {
        let pending = *self.outstanding().filter(|pending| pending.is_answered_by(reply))?;
        self.stage = Stage::Idle;
        Some(pending)
    }

    /// The handshake failed. Returns it if it was sent.
    pub(super) fn failed(&mut self) -> Option<Pending> {
        let pending = self.outstanding().copied();
        self.stage = Stage::Idle;
        pending
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client::contract::ExchangeId;

    #[test]
    fn only_a_reply_with_its_id_or_without_any_answers_it() {
        let now = Time::ZERO;
        let pending = Pending::new(7, ExchangeId(1), 0, now, Duration::from_secs(10));
        let mut handshake = Handshake::waiting(now);
        assert!(handshake.is_due(now));
        handshake.sent(pending);
        assert!(!handshake.is_due(now));
        let reply = Message::meta("/meta/handshake");
        assert_eq!(handshake.answered_by(&reply.clone().with_id(8)), None);
        assert_eq!(handshake.answered_by(&reply.clone().with_id(7)), Some(pending));
        assert_eq!(handshake.answered_by(&reply), None, "it is answered already");
        handshake.sent(pending);
        assert_eq!(handshake.answered_by(&reply), Some(pending));
        assert_eq!((handshake.outstanding(), handshake.waits_until()), (None, None));
    }
}
