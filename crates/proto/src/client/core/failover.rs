//! Failover: the session goes to another server of the cluster when its own cannot be reached.

use super::{Core, Flow};
use crate::client::event::Event;
use crate::client::failure::{Failure, FailureKind};
use crate::time::Time;

impl Core {
    /// Whether a failed connect speaks against the server: it cannot be reached, or the connection could not be made
    /// again after it broke. What is about a transport or a message would be the same elsewhere.
    pub(super) fn is_out_of_order(&self, failure: &Failure) -> bool {
        let elsewhere_too = match failure.kind() {
            FailureKind::UpgradeRefused { status } => status < 500,
            FailureKind::TooLarge => true,
            _ => false,
        };
        let unconnected = self.established().is_some_and(|session| session.flow == Flow::Unconnected);
        failure.is_out_of_reach() || (unconnected && !elsewhere_too)
    }

    /// Moves on to the next server. An error when all have failed since one worked: what they failed with.
    pub(super) fn change_server(&mut self, failure: &Failure, now: Time) -> Result<(), Failure> {
        let (before, from) = (self.servers.current(), self.servers.name().to_owned());
        let outcome = self.servers.move_on(failure);
        if self.servers.current() != before {
            if let Some(session) = self.established_mut() {
                session.moving.reset();
            }
            // What is still on its way to the one before is not waited for.
            if self.may_have_socket() {
                self.outbox.close_websocket(false);
            }
            if let Some(exchange) = self.lane.clear() {
                self.outbox.cancel(exchange);
                let ids = self.calls.of_exchange(exchange);
                // That one may have got what is in it.
                let given_up = Failure::new(FailureKind::Lost, failure.to_string());
                self.fail_requests(&ids, &given_up, now);
            }
            let to = self.servers.name().to_owned();
            self.outbox.event(Event::ServerChanged { from, to, cause: failure.clone() });
        }
        outcome
    }
}
