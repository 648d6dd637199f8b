//! Whether the other end is still there: pings on a quiet WebSocket, and a new connection when the user asks for one.

use std::time::Duration;

use super::contract::Output;
use super::core::Core;
use super::event::State;
use super::failure::Failure;
use crate::time::Time;

impl Core {
    /// Something came from the server, be it only the answer to a ping.
    pub(super) fn heard(&mut self, now: Time) {
        self.last_received = now;
        self.ping_sent = None;
    }

    /// When the next ping is due, or the answer to the last one overdue. Over HTTP the held connect tells enough.
    pub(super) fn next_ping(&self) -> Option<Time> {
        let interval = self.config.ping_interval?;
        if !self.transport().is_duplex() || self.state != State::Connected || self.connect.trial.is_some() {
            return None;
        }
        Some(match self.ping_sent {
            None => self.last_received + interval.max(SHORTEST),
            Some(at) => at + self.config.request_timeout,
        })
    }

    /// Pings when it is time to; or tells that the last ping was in vain.
    pub(super) fn ping(&mut self, now: Time) -> Option<Failure> {
        if self.next_ping()? > now {
            return None;
        }
        if let Some(at) = self.ping_sent.take() {
            return Some(self.silence("ping", now.since(at)));
        }
        self.ping_sent = Some(now);
        self.emit(Output::Ping);
        None
    }
}

/// More pings than that prove nothing more.
const SHORTEST: Duration = Duration::from_secs(1);
