//! Longer pieces of a session's story, built of the harness's own steps.

use std::time::Duration;

use bayeux_proto::client::{CallId, FailureKind, Input};
use serde_json::json;

use super::{Harness, LOOP, Sent, WebSocket};

/// Longer pieces of a story.
impl Harness {
    /// The held connect, looked at.
    #[track_caller]
    pub(crate) fn take_held(&mut self) -> Sent {
        let held = self.held();
        self.sent.retain(|sent| sent.exchange != held.exchange);
        held
    }

    /// Lets everything fail that is sent, until a call has its outcome. How long that took.
    #[track_caller]
    pub(crate) fn fail_until_resolved(&mut self, call: CallId, kind: FailureKind) -> Duration {
        let before = self.now();
        for _ in 0..LOOP {
            if !self.is_pending(call) {
                return self.now().since(before);
            }
            self.cut(kind);
            if self.is_pending(call) {
                self.jump();
            }
        }
        panic!("the call never has an outcome");
    }

    /// The next batch, if it begins with a message on that channel.
    pub(crate) fn take_if(&mut self, name: &str) -> Option<Sent> {
        let fits = self.sent.front().is_some_and(|sent| sent.channel() == name);
        fits.then(|| self.take())
    }

    /// Serves connects and handshakes, and lets time pass, until something is sent on another channel.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, name: &str) -> Sent {
        for _ in 0..LOOP {
            match self.sent.pop_front() {
                Some(sent) if sent.channel() == name => return sent,
                Some(sent) => self.serve_one(&sent),
                None => drop(self.jump()),
            }
        }
        panic!("nothing was sent on {name}");
    }

    /// An extension of the user's refuses the message at this place of a batch; if it is the only one, nothing is sent.
    pub(crate) fn veto(&mut self, sent: &Sent, at: usize, reason: &str) {
        if sent.messages.len() == 1 {
            self.in_flight.retain(|other| other.exchange != sent.exchange);
            self.driver.vetoed(sent.exchange);
        }
        let message = self.decode(&json!([sent.messages[at]]).to_string()).remove(0);
        self.input(Input::Vetoed { message: Box::new(message), reason: reason.to_owned() });
    }
}

/// For tests that choose what happens by chance.
impl Harness {
    /// The batches that are not answered yet, oldest first.
    pub(crate) fn in_flight(&self) -> &[Sent] {
        &self.in_flight
    }

    /// Whether frames of the server can come.
    pub(crate) fn has_socket(&self) -> bool {
        self.in_flight.iter().any(|sent| sent.transport == WebSocket)
    }

    /// Takes what was sent as seen.
    pub(crate) fn overlook(&mut self) -> usize {
        self.sent.drain(..).count()
    }
}
