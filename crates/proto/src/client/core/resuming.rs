//! Leaving a session to another process, and continuing it there (as CometD's reload extension does for pages).

use super::{Core, Established, Next, Phase};
use crate::channel::Channel;
use crate::client::ack::Window;
use crate::client::connect::Connect;
use crate::client::contract::{AuthReason, CallId, SinkId};
use crate::client::credentials::Readiness;
use crate::client::outcome::{CallError, CloseReason};
use crate::client::snapshot::SessionSnapshot;
use crate::time::Time;

impl Core {
    /// Returns what another process must know of the session; `None` if there is none. If the session `continues`
    /// here after that, the place within a batch means nothing later, and the events beyond it come again.
    pub(in crate::client) fn snapshot(&self, continues: bool) -> Option<SessionSnapshot> {
        let session = self.established()?;
        let names = |inbox: bool| {
            let whose = move |sinks: &[SinkId]| sinks.contains(&SinkId::INBOX) == inbox;
            self.subscriptions.established_for(whose)
        };
        let mut advice = self.advised.advice().clone();
        advice.reconnect = None;
        // One that is only on trial may not work at all.
        let transport = session.connect.trial().unwrap_or(self.transport());
        let window = &session.window;
        // What a receiver had no credit for was not delivered. Rather twice to the others than never to that one.
        let seen = if continues { 0 } else { session.missed.first().unwrap_or(window.seen()) };
        let (server, last_id) = (self.servers.current(), self.outbox.last_id());
        let snapshot = SessionSnapshot::new(&session.client_id, server, transport, last_id)
            .with_acknowledged(window.batch(), seen)
            .with_advice(&advice)
            .with_subscriptions(names(true), names(false));
        Some(snapshot)
    }

    /// Continues a session of another process: with its next connect, and with a handshake if the server has lost it.
    pub(super) fn resume_session(&mut self, snapshot: &SessionSnapshot, now: Time) -> Next {
        if let Some(transport) = snapshot.transport() {
            self.transports.prefer(transport);
        }
        if let Some(advice) = snapshot.advice() {
            self.advised.begin(advice);
        }
        self.outbox.continue_ids(snapshot.last_id());
        for channel in snapshot.inbox() {
            self.subscriptions.resume(&channel, false);
        }
        for channel in snapshot.streams() {
            self.subscriptions.resume(&channel, true);
        }
        self.had_session = true;
        let (batch, seen) = snapshot.acknowledged();
        let window = Window::new(batch, seen);
        // What was on its way when the other process ended is sent again only if it was to be acknowledged.
        let gap = batch.is_none();
        let client_id = snapshot.client_id();
        let mut session = Established::new(client_id, window, Connect::resumed(), gap);
        let readiness = self.credentials.ready();
        if readiness != Readiness::Ready {
            session.connect.need_credentials();
        }
        self.phase = Phase::Established(session);
        match readiness {
            Readiness::Ready => self.schedule_first_connect(now),
            Readiness::Ask => {
                self.outbox.authenticate(AuthReason::First);
                Next::Nothing
            }
            Readiness::Asking => Next::Nothing,
        }
    }

    /// Leaves the session without a message to the server.
    pub(super) fn suspend(&mut self, call: CallId) -> Next {
        if self.established().is_none() {
            self.outbox.resolve(Some(call), Err(CallError::Closed(CloseReason::NotOpen)));
            return Next::Nothing;
        }
        self.outbox.resolve(Some(call), Ok(Self::synthetic(Channel::DISCONNECT, None)));
        Next::Terminate(CloseReason::Suspended)
    }
}
