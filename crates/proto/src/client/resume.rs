//! Leaving a session to another process, and going on with it there (as CometD's reload extension does for pages).

use super::contract::{AuthReason, CallId, Output, SinkId};
use super::core::{ConnectStage, Core, Next};
use super::event::State;
use super::outcome::{CallError, CloseReason};
use super::snapshot::SessionSnapshot;
use super::subscriptions::Status;
use crate::advice::Advice;
use crate::channel::Channel;
use crate::id::ClientId;
use crate::time::Time;

impl Core {
    /// What is to be remembered of the session; `None` when there is none. When the session goes on after that,
    /// the place within a batch means nothing later, and the events beyond it come again.
    pub(super) fn snapshot(&self, goes_on: bool) -> Option<SessionSnapshot> {
        if self.state == State::Disconnecting {
            return None;
        }
        let client_id = self.client_id.as_ref()?.as_str().to_owned();
        let names = |inbox: bool| {
            let whose = move |sinks: &[SinkId]| sinks.contains(&SinkId::INBOX) == inbox;
            self.subscriptions.established_for(whose).map(|channel| channel.as_str().to_owned()).collect()
        };
        let mut advice = self.advice.clone();
        advice.reconnect = None;
        Some(SessionSnapshot {
            client_id,
            server: self.servers.current(),
            // One that is only on trial may not work at all.
            transport: self.connect.trial.unwrap_or(self.transport()).as_str().to_owned(),
            ack: self.window.batch(),
            // What a receiver had no room for was not delivered. Rather twice to the others than never to that one.
            seen: if goes_on { 0 } else { self.rooms.first_missed().unwrap_or(self.window.seen()) },
            last_id: self.last_id,
            advice: advice.to_json(),
            inbox: names(true),
            streams: names(false),
        })
    }

    /// Goes on with a session of another process: with its next connect, and with a handshake if the server has
    /// forgotten it.
    pub(super) fn resume_session(&mut self, snapshot: &SessionSnapshot, now: Time) -> Next {
        if let Some(transport) = snapshot.transport() {
            self.transports.prefer(transport);
        }
        if let Ok(raw) = serde_json::value::to_raw_value(&snapshot.advice) {
            self.advice = Advice::from_json(raw.get()).unwrap_or_default();
        }
        self.client_id = Some(ClientId::new(&snapshot.client_id));
        self.last_id = self.last_id.max(snapshot.last_id);
        self.window.resume(snapshot.ack, snapshot.seen);
        self.rooms.forget();
        for (names, temporary) in [(&snapshot.inbox, false), (&snapshot.streams, true)] {
            for channel in names.iter().filter_map(|name| Channel::parse(name).ok()) {
                self.subscriptions.add(&channel, SinkId::INBOX, Status::Active);
                self.subscriptions.change(&channel, |entry| {
                    entry.established = true;
                    entry.inbox_stands_in = temporary;
                });
            }
        }
        self.had_session = true;
        self.connect.proven = None;
        self.connect.session_proven = true;
        self.connect.held_turns = 0;
        // What was on its way when the other process ended is sent again only if it was to be acknowledged.
        self.connect.gap = snapshot.ack.is_none();
        self.state = State::Connecting;
        if self.config.has_auth && self.auth.generation == 0 {
            self.connect.stage = ConnectStage::NeedsCredentials;
            self.auth.asking = true;
            self.emit(Output::Authenticate(AuthReason::First));
            return Next::Nothing;
        }
        self.schedule_first_connect(0, now)
    }

    /// Leaves the session without a word.
    pub(super) fn suspend(&mut self, call: CallId) -> Next {
        if self.client_id.is_none() || self.state == State::Disconnecting {
            self.resolve(Some(call), Err(CallError::Closed(CloseReason::NotOpen)));
            return Next::Nothing;
        }
        self.resolve(Some(call), Ok(Self::synthetic(Channel::DISCONNECT, None)));
        Next::Terminate(CloseReason::Suspended)
    }
}
