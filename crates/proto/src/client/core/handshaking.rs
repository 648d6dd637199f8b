//! The handshake: asking for a session, over the best transport that works.

use std::time::Duration;

use serde_json::Value;

use super::{Core, Established, Next, Phase};
use crate::advice::Reconnect;
use crate::channel::Channel;
use crate::client::ack::Window;
use crate::client::cause::{LostCause, server_error};
use crate::client::connect::Connect;
use crate::client::contract::{AuthReason, ExchangeId, Lane};
use crate::client::credentials::Readiness;
use crate::client::diagnosis::{Diagnosis, diagnose};
use crate::client::event::Event;
use crate::client::failure::{Failure, FailureKind};
use crate::client::outcome::CloseReason;
use crate::client::pending::Pending;
use crate::client::undecided::Then;
use crate::data::Data;
use crate::ext::{ack, replay};
use crate::message::Message;
use crate::time::Time;
use crate::transport::Transport;

const VERSION: &str = "1.0";

impl Core {
    /// Sends the handshake that was planned, when its time has come.
    pub(super) fn send_due_handshake(&mut self, now: Time) {
        let Phase::Opening(handshake) = &mut self.phase else { return };
        if !handshake.is_due(now) {
            return;
        }
        self.undecided = None;
        match self.credentials.ready() {
            Readiness::Ready => {}
            readiness => {
                handshake.need_credentials();
                if readiness == Readiness::Ask {
                    self.outbox.authenticate(AuthReason::First);
                }
                return;
            }
        }
        let (id, exchange) = (self.outbox.new_id(), self.outbox.new_exchange());
        let within = self.config.connect_timeout.saturating_add(self.config.request_timeout);
        handshake.sent(Pending::new(id, exchange, self.credentials.generation(), now, within));
        let message = self.handshake_message().with_id(id);
        self.send(self.transport(), Lane::Other, exchange, vec![message]);
    }

    /// The user's fields first, so that the protocol's own win (as `BayeuxClient.sendHandshake`).
    fn handshake_message(&self) -> Message {
        const OWN: [&str; 6] =
            ["channel", "id", "version", "minimumVersion", "supportedConnectionTypes", "clientId"];
        let mut message = Message::meta(Channel::HANDSHAKE);
        let mut ext = self.config.handshake_ext.clone();
        for (name, value) in &self.config.handshake_fields {
            match (name.as_str(), value) {
                ("ext", Value::Object(keys)) => ext.extend(keys.clone()),
                (own, _) if OWN.contains(&own) => {}
                _ => message.fields_mut().unknown.push((name.clone(), Data::from(value.clone()))),
            }
        }
        ext.extend(self.credentials.ext().clone());
        if !ext.is_empty() {
            message.set_ext(Some(Data::from(Value::Object(ext))));
        }
        if self.config.ack {
            ack::offer(&mut message);
        }
        if self.config.replay {
            replay::announce(&mut message);
        }
        let fields = message.fields_mut();
        fields.version = Some(VERSION.to_owned());
        fields.minimum_version = Some(VERSION.to_owned());
        fields.supported_connection_types = Some(self.transports.names());
        message
    }

    /// Handles a reply on `/meta/handshake`; `by` is the exchange that brought it.
    pub(super) fn handshake_reply(&mut self, by: Option<ExchangeId>, reply: Message, now: Time) -> Next {
        let Phase::Opening(handshake) = &mut self.phase else { return Next::Nothing };
        let Some(pending) = handshake.answered_by(&reply) else { return Next::Nothing };
        self.cancel_overtaken(&pending, by);
        if reply.is_successful() {
            self.handshake_granted(reply, now)
        } else {
            self.handshake_refused(&pending, reply, now)
        }
    }

    fn handshake_granted(&mut self, reply: Message, now: Time) -> Next {
        let fields = reply.fields();
        let Some(client_id) = fields.client_id.clone() else {
            let text = format!(
                "{}: the handshake reply grants a session but names no clientId",
                self.servers.name()
            );
            if self.transport().is_duplex() {
                // It works, and would stay open beside the transport that is tried next.
                self.outbox.close_websocket(true);
            }
            return self.handshake_failed(Failure::new(FailureKind::Malformed, text), now);
        };
        let carried_by = self.transport();
        let offered: Vec<Transport> = fields.known_transports().collect();
        let named = fields.supported_connection_types.as_ref().is_some_and(|types| !types.is_empty());
        let retry_at = now + self.config.transport_cooldown;
        let Some(chosen) = self.transports.negotiate(&offered, named, retry_at) else {
            let server = fields.supported_connection_types.clone().unwrap_or_default();
            return Next::Terminate(CloseReason::NoTransport { client: self.transports.names(), server });
        };
        if chosen != carried_by {
            if carried_by.is_duplex() {
                self.outbox.close_websocket(true);
            }
            self.outbox.event(Event::TransportChanged { from: carried_by, to: chosen, cause: None });
        }
        self.credentials.accepted();
        let window = Window::new(if self.config.ack { ack::agreed(&reply) } else { None }, 0);
        let events = fields.handshake_messages.unwrap_or(0);
        self.begin_replays(&reply);
        if let Some(opening) = &mut self.opening {
            opening.reply = Some(Box::new(reply));
        }
        self.sessions += 1;
        self.phase = Phase::Established(Established::new(client_id, window, Connect::granted(events), false));
        if std::mem::replace(&mut self.had_session, true) {
            self.outbox.event(Event::Rehandshaken);
        }
        let mut gaps = self.subscriptions.established();
        gaps.retain(|channel| !self.replays.covers(channel));
        if !gaps.is_empty() {
            self.outbox.event(Event::GapPossible { channels: gaps });
        }
        self.resubscribe(now);
        self.schedule_first_connect(now)
    }

    fn handshake_refused(&mut self, pending: &Pending, reply: Message, now: Time) -> Next {
        let advised = reply.fields().advice.as_ref().and_then(|advice| advice.reconnect);
        if diagnose(&reply) == Diagnosis::Credentials {
            let reason = AuthReason::Refused(server_error(&reply));
            if self.refresh(pending.generation(), reason) {
                // With those that are asked for now, or that came meanwhile.
                return self.handshake_at(now);
            }
        }
        let stop = match advised {
            Some(Reconnect::None) => true,
            Some(Reconnect::Handshake | Reconnect::Retry) => false,
            // A first attempt that is refused without advice to try again has its answer.
            None => self.opening.is_some() && !self.config.retry_open,
        };
        if stop {
            return Next::Terminate(CloseReason::Server(Box::new(reply)));
        }
        self.attempt_failed(LostCause::Refused(Box::new(reply)), Then::Handshake, now)
    }

    fn handshake_at(&mut self, at: Time) -> Next {
        if let Phase::Opening(handshake) = &mut self.phase {
            handshake.wait_until(at);
        }
        Next::Nothing
    }

    /// The handshake could not be carried: try the next transport, or all of them again later.
    pub(super) fn handshake_failed(&mut self, failure: Failure, now: Time) -> Next {
        let Phase::Opening(handshake) = &mut self.phase else { return Next::Nothing };
        let generation =
            handshake.failed().map_or(self.credentials.generation(), |pending| pending.generation());
        self.attempts.note_cause(LostCause::Transport(failure.clone()));
        if matches!(failure.http_status(), Some(401))
            && self.refresh(generation, AuthReason::HttpRefused(401))
        {
            return self.handshake_at(now);
        }
        if matches!(failure.kind(), FailureKind::UpgradeRefused { status } if status < 500) {
            self.transports.avoid_current(now, self.config.transport_cooldown);
        }
        let hopeless = (self.config.same_endpoint || self.servers.current() > 0) && failure.is_out_of_reach();
        let from = self.transport();
        match self.transports.next_in_round(failure.clone()) {
            Some(to) if !hopeless => {
                // A server that asks to be left alone does so over any transport.
                let delay = self.advised_pause(Some(&failure));
                if !delay.is_zero() {
                    let cause = LostCause::Transport(failure.clone());
                    let failures = self.attempts.failures();
                    self.outbox.event(Event::Retrying { delay, failures, cause });
                }
                self.outbox.event(Event::TransportChanged { from, to, cause: Some(failure) });
                self.handshake_at(now + delay)
            }
            _ => {
                let failure = if hopeless { failure } else { self.transports.round_failure(&failure) };
                let failure = match self.change_server(&failure, now) {
                    Ok(()) => {
                        // What one server refuses, another may take.
                        self.transports.reset();
                        self.start_handshake(Duration::ZERO, now);
                        return Next::Nothing;
                    }
                    Err(all) => all,
                };
                self.attempts.note_cause(LostCause::Transport(failure.clone()));
                if self.opening.is_some() && !self.config.retry_open {
                    return Next::Terminate(CloseReason::Failed(failure));
                }
                self.attempt_failed(LostCause::Transport(failure), Then::Handshake, now)
            }
        }
    }

    /// Continues after credentials came, or could not be obtained.
    pub(super) fn handshake_with_credentials(&mut self, outcome: &Result<(), String>, now: Time) -> Next {
        if !matches!(&self.phase, Phase::Opening(handshake) if handshake.needs_credentials()) {
            return Next::Nothing;
        }
        match outcome {
            Ok(()) => self.handshake_at(now),
            Err(text) if self.opening.is_some() => {
                Next::Terminate(CloseReason::NoCredentials(text.to_owned()))
            }
            Err(text) => {
                let failure =
                    Failure::new(FailureKind::Http { status: 401 }, format!("no credentials: {text}"));
                self.attempt_failed(LostCause::Transport(failure), Then::Handshake, now)
            }
        }
    }

    /// Returns a failure if the deadline of the outstanding handshake has passed.
    pub(super) fn expire_handshake(&mut self, now: Time) -> Option<Failure> {
        let Phase::Opening(handshake) = &mut self.phase else { return None };
        let pending = handshake.outstanding_mut()?;
        if !pending.expire(&self.arrivals, self.config.request_timeout, now) {
            return None;
        }
        let pending = *pending;
        if self.transport().is_duplex() {
            self.outbox.close_websocket(false);
        } else {
            self.outbox.cancel(pending.exchange());
        }
        Some(self.silence("handshake", now.since(pending.sent_at())))
    }
}
