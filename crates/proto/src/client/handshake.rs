//! The handshake: asking for a session, over the best transport that works.

use std::time::Duration;

use serde_json::Value;

use super::cause::{LostCause, server_error};
use super::contract::{AuthReason, ExchangeId, Lane, Output};
use super::core::{Core, Handshake, Next, Sent};
use super::diagnosis::{Diagnosis, diagnose};
use super::event::{Event, State};
use super::failure::{Failure, FailureKind};
use super::outcome::CloseReason;
use crate::advice::Reconnect;
use crate::channel::Channel;
use crate::connection_type::ConnectionType;
use crate::data::Data;
use crate::ext::ack;
use crate::message::Message;
use crate::time::Time;

const VERSION: &str = "1.0";

impl Core {
    /// Asks for a session, after `pause`.
    pub(super) fn start_handshake(&mut self, pause: Duration, now: Time) {
        let socket = self.may_have_socket();
        self.state = State::Handshaking;
        self.client_id = None;
        self.connect.proven = None;
        self.connect.session_proven = false;
        self.connect.trial = None;
        self.moving.reset();
        // What the last session was told to do next is no advice to this one.
        self.advice.reconnect = None;
        let next = self.transports.begin_round(now);
        if socket && !next.is_duplex() {
            // It may be open, and would stay so beside the transport that is tried next.
            self.emit(Output::CloseWebSocket { graceful: true });
        }
        self.handshake = Handshake::Waiting(now + pause);
    }

    /// Sends the handshake that was planned, when its time has come.
    pub(super) fn send_due_handshake(&mut self, now: Time) {
        if !matches!(self.handshake, Handshake::Waiting(at) if at <= now) {
            return;
        }
        if self.config.has_auth && self.auth.generation == 0 {
            self.handshake = Handshake::NeedsCredentials;
            if !self.auth.asking {
                self.auth.asking = true;
                self.emit(Output::Authenticate(AuthReason::First));
            }
            return;
        }
        if self.auth.asking {
            self.handshake = Handshake::NeedsCredentials;
            return;
        }
        let id = self.new_id();
        let exchange = self.new_exchange();
        let deadline = now + self.config.connect_timeout + self.config.request_timeout;
        let generation = self.auth.generation;
        self.handshake = Handshake::Sent(Sent { id, exchange, at: now, deadline, generation, probe: false });
        let message = self.handshake_message().with_id(id);
        self.send(Lane::Other, exchange, vec![message]);
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
        ext.extend(self.auth.ext.clone());
        if !ext.is_empty() {
            message.set_ext(Some(Data::from(Value::Object(ext))));
        }
        if self.config.ack {
            ack::offer(&mut message);
        }
        let fields = message.fields_mut();
        fields.version = Some(VERSION.to_owned());
        fields.minimum_version = Some(VERSION.to_owned());
        fields.supported_connection_types = Some(self.transports.names());
        message
    }

    /// A reply on `/meta/handshake`, and the exchange that brought it.
    pub(super) fn handshake_reply(&mut self, by: Option<ExchangeId>, reply: Message, now: Time) -> Next {
        let Handshake::Sent(sent) = self.handshake else { return Next::Nothing };
        if !sent.is_answered_by(&reply) {
            return Next::Nothing;
        }
        self.cancel_overtaken(sent, by);
        self.handshake = Handshake::Idle;
        if reply.is_successful() {
            self.handshake_granted(reply, now)
        } else {
            self.handshake_refused(sent, reply, now)
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
                self.emit(Output::CloseWebSocket { graceful: true });
            }
            return self.handshake_failed(Failure::new(FailureKind::Malformed, text), now);
        };
        let carried_by = self.transport();
        let offered: Vec<ConnectionType> = fields.known_connection_types().collect();
        let named = fields.supported_connection_types.as_ref().is_some_and(|types| !types.is_empty());
        let retry_at = now + self.config.transport_cooldown;
        let Some(chosen) = self.transports.negotiate(&offered, named, retry_at) else {
            let server = fields.supported_connection_types.clone().unwrap_or_default();
            return Next::Terminate(CloseReason::NoTransport { client: self.transports.names(), server });
        };
        if chosen != carried_by {
            if carried_by.is_duplex() {
                self.emit(Output::CloseWebSocket { graceful: true });
            }
            self.event(Event::TransportChanged { from: carried_by, to: chosen, cause: None });
        }
        self.auth.unproven = false;
        self.window.begin(if self.config.ack { ack::agreed(&reply) } else { None });
        self.rooms.forget();
        self.connect.held_turns = 0;
        self.connect.gap = false;
        let events = fields.handshake_messages.unwrap_or(0);
        self.handshake_reply = Some(Box::new(reply));
        self.client_id = Some(client_id);
        self.sessions += 1;
        self.state = State::Connecting;
        if std::mem::replace(&mut self.had_session, true) {
            self.event(Event::Rehandshaken);
        }
        let gaps = self.subscriptions.established();
        if !gaps.is_empty() {
            self.event(Event::GapPossible { channels: gaps });
        }
        self.resubscribe(now);
        self.schedule_first_connect(events, now)
    }

    fn handshake_refused(&mut self, sent: Sent, reply: Message, now: Time) -> Next {
        let advised = reply.fields().advice.as_ref().and_then(|advice| advice.reconnect);
        if diagnose(&reply) == Diagnosis::Credentials {
            let reason = AuthReason::Refused(server_error(&reply));
            if self.refresh(sent.generation, reason) {
                // With those that are asked for now, or that came meanwhile.
                self.handshake = Handshake::Waiting(now);
                return Next::Nothing;
            }
        }
        let stop = match advised {
            Some(Reconnect::None) => true,
            Some(Reconnect::Handshake | Reconnect::Retry) => false,
            // A first attempt that is refused without a word about trying again has its answer.
            None => self.opening.is_some() && !self.config.retry_open,
        };
        if stop {
            return Next::Terminate(CloseReason::Server(Box::new(reply)));
        }
        self.handshake_again(LostCause::Refused(Box::new(reply)), now)
    }

    /// The handshake could not be carried: try the next transport, or all of them again later.
    pub(super) fn handshake_failed(&mut self, failure: Failure, now: Time) -> Next {
        let generation = match self.handshake {
            Handshake::Sent(sent) => sent.generation,
            _ => self.auth.generation,
        };
        self.handshake = Handshake::Idle;
        self.last_cause = Some(LostCause::Transport(failure.clone()));
        if matches!(failure.http_status(), Some(401))
            && self.refresh(generation, AuthReason::HttpRefused(401))
        {
            self.handshake = Handshake::Waiting(now);
            return Next::Nothing;
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
                    self.event(Event::Retrying { delay, failures: self.failures, cause });
                }
                self.event(Event::TransportChanged { from, to, cause: Some(failure) });
                self.handshake = Handshake::Waiting(now + delay);
                Next::Nothing
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
                self.last_cause = Some(LostCause::Transport(failure.clone()));
                if self.opening.is_some() && !self.config.retry_open {
                    return Next::Terminate(CloseReason::Failed(failure));
                }
                self.handshake_again(LostCause::Transport(failure), now)
            }
        }
    }

    fn handshake_again(&mut self, cause: LostCause, now: Time) -> Next {
        match self.attempt_failed(&cause, now) {
            Err(reason) => Next::Terminate(reason),
            Ok(delay) => {
                self.event(Event::Retrying { delay, failures: self.failures, cause });
                self.start_handshake(delay, now);
                Next::Nothing
            }
        }
    }

    /// Goes on after credentials came, or did not.
    pub(super) fn handshake_with_credentials(&mut self, outcome: Result<(), String>, now: Time) -> Next {
        if self.handshake != Handshake::NeedsCredentials {
            return Next::Nothing;
        }
        match outcome {
            Ok(()) => {
                self.handshake = Handshake::Waiting(now);
                Next::Nothing
            }
            Err(text) if self.opening.is_some() => Next::Terminate(CloseReason::NoCredentials(text)),
            Err(text) => {
                let failure =
                    Failure::new(FailureKind::Http { status: 401 }, format!("no credentials: {text}"));
                self.handshake_again(LostCause::Transport(failure), now)
            }
        }
    }

    /// The deadline of the outstanding handshake has passed.
    pub(super) fn expire_handshake(&mut self, now: Time) -> Option<Failure> {
        let span = self.config.request_timeout;
        let Handshake::Sent(sent) = &mut self.handshake else { return None };
        sent.deadline = if sent.deadline > now {
            sent.deadline
        } else {
            sent.deadline.max(self.arrivals.put_off_session(sent.exchange, span))
        };
        let sent = *sent;
        if sent.deadline > now {
            return None;
        }
        self.emit(if self.transport().is_duplex() {
            Output::CloseWebSocket { graceful: false }
        } else {
            Output::Cancel(sent.exchange)
        });
        Some(self.silence("handshake", now.since(sent.at)))
    }
}
