//! The user's calls: their messages, their turns, their replies.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Core, Flow, Next, Phase};
use crate::channel::Channel;
use crate::client::calls::wire_size;
use crate::client::cause::{LostCause, server_error};
use crate::client::config::Offline;
use crate::client::contract::{AuthReason, CallId, ExchangeId, Lane, Operation, SinkId};
use crate::client::diagnosis::{Diagnosis, diagnose};
use crate::client::event::Event;
use crate::client::failure::{Failure, FailureKind};
use crate::client::outcome::{CallError, CallResult, CloseReason};
use crate::client::request::{Kind, Request, Stamp};
use crate::client::subscriptions::Status;
use crate::codec;
use crate::id::{ClientId, MessageId};
use crate::message::{Message, Subscription};
use crate::time::Time;

/// How much is put into one frame. Jetty's WebSocket, the container of most CometD servers, takes 64 KiB.
const MAX_FRAME: usize = 48 * 1024;
/// How long a confirmed close waits for the held connect to come back.
const LINGER: Duration = Duration::from_secs(1);
/// How much is put into one POST.
const MAX_POST: usize = 256 * 1024;

impl Core {
    /// Takes in a call that becomes a message; `group` holds those that travel together.
    pub(super) fn call(&mut self, call: CallId, operation: Operation, group: u64, now: Time) {
        let closed = match self.phase {
            Phase::Closed => Some(CloseReason::NotOpen),
            Phase::Closing(_) => Some(CloseReason::Requested),
            Phase::Opening(_) | Phase::Established(_) => None,
        };
        if let Some(reason) = closed {
            return self.outbox.resolve(Some(call), Err(CallError::Closed(reason)));
        }
        let refuse = self.config.offline == Offline::Refuse && !self.is_connected();
        let publishes = matches!(
            operation,
            Operation::Publish { .. } | Operation::PublishBinary { .. } | Operation::Request { .. }
        );
        if refuse && publishes {
            return self.outbox.resolve(Some(call), Err(CallError::Offline));
        }
        let taken = match operation {
            Operation::Publish { channel, data } => {
                self.publish(call, Kind::Publish, Message::new(channel).with_data(data), None, group, now)
            }
            Operation::PublishBinary { channel, binary } => {
                let mut message = Message::new(channel);
                // Bytes can always be written.
                let _ = binary.write(&mut message);
                self.publish(call, Kind::Publish, message, None, group, now)
            }
            Operation::Request { channel, data, timeout } if channel.is_service() => {
                self.publish(call, Kind::Service, Message::new(channel).with_data(data), timeout, group, now)
            }
            Operation::Request { channel, .. } => Err(CallError::WrongChannel {
                channel,
                why: "is no service channel; only those answer requests",
            }),
            Operation::Subscribe { channel, sink } => self.subscribe(call, channel, sink, false, group, now),
            Operation::SubscribeFrom { channel, sink, begin, fallback } => self
                .begin_replay(&channel, sink, begin, fallback)
                .and_then(|anew| self.subscribe(call, channel, sink, anew, group, now)),
            Operation::ReplayAgain { channel, sink, after } => {
                self.replay_again(&channel, sink, after).map(|()| {
                    self.outbox.resolve(Some(call), Ok(Self::synthetic(Channel::SUBSCRIBE, Some(&channel))));
                })
            }
            Operation::Unsubscribe { channel, sink } => self.unsubscribe(call, channel, sink, group, now),
            // The session above takes these itself.
            Operation::Open | Operation::Resume(_) | Operation::Close | Operation::Suspend => {
                Err(CallError::AlreadyOpen)
            }
        };
        if let Err(error) = taken {
            self.outbox.resolve(Some(call), Err(error));
        }
    }

    fn publish(
        &mut self,
        call: CallId,
        kind: Kind,
        message: Message,
        timeout: Option<Duration>,
        group: u64,
        now: Time,
    ) -> Result<(), CallError> {
        let channel = message.channel();
        let wrong = |why| Err(CallError::WrongChannel { channel: channel.clone(), why });
        if channel.is_meta() {
            return wrong("is a meta channel, which only the protocol itself may use");
        }
        if channel.is_wild() {
            return wrong("is a pattern; a message is published to one channel");
        }
        let (size, cap) = (self.sent_size(&message), self.config.max_send_size);
        if size > cap {
            return Err(CallError::TooLarge { size, cap });
        }
        self.enqueue(Some(call), kind, message, timeout, group, now)?;
        Ok(())
    }

    /// How many bytes a message takes if it is sent alone; not less, but it may be fewer if it is far from the limit.
    fn sent_size(&self, message: &Message) -> usize {
        // As long as CometD's, in a session that is not there yet.
        const ID: &str = "0123456789012345678901234567890123456789";
        let client_id = self.session().map_or(ID, |session| session.client_id.as_str());
        let at_most = wire_size(message) + client_id.len();
        if at_most <= self.config.max_send_size {
            return at_most;
        }
        let mut sent = message.clone().with_id(MessageId::from(u64::from(u32::MAX)));
        sent.fields_mut().client_id = Some(ClientId::new(client_id));
        codec::encode(&[sent]).len()
    }

    /// Adds a receiver. If `anew`, what the server has granted in this session does not do.
    fn subscribe(
        &mut self,
        call: CallId,
        channel: Channel,
        sink: SinkId,
        anew: bool,
        group: u64,
        now: Time,
    ) -> Result<(), CallError> {
        if channel.is_meta() {
            let why = "is a meta channel; what happens there is emitted as events";
            return Err(CallError::WrongChannel { channel, why });
        }
        if let Some(session) = self.established_mut() {
            session.anew |= anew;
        }
        let status = self.subscriptions.status(&channel);
        match status {
            Some(Status::Active) if !anew => {
                self.subscriptions.join(&channel, sink);
                self.outbox.resolve(Some(call), Ok(Self::synthetic(Channel::SUBSCRIBE, Some(&channel))));
            }
            Some(status @ Status::Pending(id)) if self.calls.get(id).is_some() => {
                self.subscriptions.add(&channel, sink, status);
                self.subscriptions.wait(&channel, call, sink);
            }
            // A server keeps no subscriptions to service channels, and some refuse them.
            None if channel.is_service() => {
                self.subscriptions.add_local(&channel, sink);
                self.outbox.resolve(Some(call), Ok(Self::synthetic(Channel::SUBSCRIBE, Some(&channel))));
            }
            // What is to be restored in a session that is not there yet has no request that would run out.
            None | Some(Status::Active | Status::Refused(_) | Status::Pending(_)) => {
                let id = self.enqueue(
                    None,
                    Kind::Subscribe(channel.clone()),
                    subscription_message(Channel::SUBSCRIBE, &channel),
                    None,
                    group,
                    now,
                )?;
                self.subscriptions.add(&channel, sink, Status::Pending(id));
                self.subscriptions.ask(&channel, id);
                self.subscriptions.wait(&channel, call, sink);
            }
        }
        Ok(())
    }

    fn unsubscribe(
        &mut self,
        call: CallId,
        channel: Channel,
        sink: SinkId,
        group: u64,
        now: Time,
    ) -> Result<(), CallError> {
        let Some(removed) = self.subscriptions.remove(&channel, sink) else {
            return Err(CallError::NotSubscribed(channel));
        };
        for &waiting in removed.waiting() {
            self.outbox.resolve(Some(waiting), Err(CallError::NotSubscribed(channel.clone())));
        }
        let known_to_server = match removed.status() {
            // What still waits for its turn need not be sent at all if there is no other receiver.
            Status::Pending(id)
                if removed.is_last() && self.calls.get(id).is_some_and(|request| !request.is_sent()) =>
            {
                self.calls.remove(id);
                false
            }
            Status::Pending(_) | Status::Active => self.established().is_some() && !channel.is_service(),
            Status::Refused(_) => false,
        };
        self.keep_replays(&channel);
        if removed.is_last() && known_to_server {
            self.replays.leave(&channel);
            let message = subscription_message(Channel::UNSUBSCRIBE, &channel);
            self.enqueue(Some(call), Kind::Unsubscribe(channel), message, None, group, now)?;
        } else {
            self.outbox.resolve(Some(call), Ok(Self::synthetic(Channel::UNSUBSCRIBE, Some(&channel))));
        }
        Ok(())
    }

    fn enqueue(
        &mut self,
        call: Option<CallId>,
        kind: Kind,
        message: Message,
        timeout: Option<Duration>,
        group: u64,
        now: Time,
    ) -> Result<u64, CallError> {
        let cap = self.config.max_pending;
        if self.calls.len() >= cap {
            return Err(CallError::TooManyPending { cap });
        }
        let id = self.outbox.new_id();
        let request = self.request(id, call, kind, message, timeout, now);
        self.calls.push_back(id, group, request);
        Ok(id)
    }

    fn request(
        &self,
        id: u64,
        call: Option<CallId>,
        kind: Kind,
        message: Message,
        timeout: Option<Duration>,
        now: Time,
    ) -> Request {
        let give_up = now + timeout.unwrap_or(self.config.call_timeout);
        let reply_within = timeout.is_none().then_some(self.config.request_timeout);
        Request::new(kind, call, message.with_id(id), now, give_up, reply_within)
    }

    /// The message that ends the session, after all that waits.
    pub(super) fn enqueue_disconnect(&mut self, now: Time) {
        let id = self.outbox.new_id();
        let timeout = Some(self.config.close_timeout);
        let request =
            self.request(id, None, Kind::Disconnect, Message::meta(Channel::DISCONNECT), timeout, now);
        let group = self.calls.group();
        self.calls.push_back(id, group, request);
    }

    /// Asks a new session for all desired subscriptions, before anything else is sent. What is asked for already only
    /// moves to the front: the calls that wait for it have waited since then.
    pub(super) fn resubscribe(&mut self, now: Time) {
        let mut restored = Vec::new();
        for channel in self.subscriptions.remote() {
            let asked = match self.subscriptions.status(&channel) {
                Some(Status::Pending(id)) => self.calls.remove(id).map(|request| (id, request)),
                _ => None,
            };
            restored.push(asked.unwrap_or_else(|| self.subscribe_request(&channel, now)));
        }
        self.calls.restore(restored);
    }

    /// Asks again for what was refused, when its time has come.
    pub(super) fn retry_subscriptions(&mut self, now: Time) {
        while let Some((_, channel)) = self.subscriptions.next_retry().filter(|(at, _)| *at <= now) {
            let channel = channel.clone();
            let (id, request) = self.subscribe_request(&channel, now);
            let group = self.calls.group();
            self.calls.push_back(id, group, request);
        }
    }

    fn subscribe_request(&mut self, channel: &Channel, now: Time) -> (u64, Request) {
        let id = self.outbox.new_id();
        self.subscriptions.ask(channel, id);
        let message = subscription_message(Channel::SUBSCRIBE, channel);
        (id, self.request(id, None, Kind::Subscribe(channel.clone()), message, None, now))
    }

    /// Prepares the calls for a new session: what was asked of the old one about subscriptions is void, and what
    /// calls wait for is asked of the new one.
    pub(super) fn void_subscription_requests(&mut self) {
        let mut renewed = Vec::new();
        let mut exchanges = BTreeSet::new();
        for id in
            self.calls.ids(|request| matches!(request.kind(), Kind::Subscribe(_) | Kind::Unsubscribe(_)))
        {
            let Some(request) = self.calls.remove(id) else { continue };
            exchanges.extend(request.exchange());
            match request.kind() {
                Kind::Unsubscribe(channel) => {
                    self.outbox
                        .resolve(request.call(), Ok(Self::synthetic(Channel::UNSUBSCRIBE, Some(channel))));
                }
                Kind::Subscribe(channel) => {
                    if self.subscriptions.is_awaited(channel, id) {
                        // With another id, because a late reply to the old request says nothing about the new session.
                        let again = self.outbox.new_id();
                        self.subscriptions.ask(channel, again);
                        renewed.push((again, request.renumbered(again)));
                    }
                }
                Kind::Publish | Kind::Service | Kind::Disconnect => {}
            }
        }
        for (id, request) in renewed {
            self.calls.push_again(id, request);
        }
        for exchange in exchanges {
            self.release(exchange);
        }
    }

    /// Sends what waits, as far as the lane is free.
    pub(super) fn flush(&mut self, now: Time) {
        let session = match &self.phase {
            Phase::Established(session) if session.flow != Flow::Unconnected => session,
            Phase::Closing(closing) => &closing.session,
            _ => return,
        };
        if self.credentials.asking() || self.lane.rests_until(now).is_some() {
            return;
        }
        // While a better transport is tried, messages are sent over the one that works; but none go into a socket that
        // is closed if the trial succeeds.
        let trial = session.connect.trial();
        let transport = trial.unwrap_or(self.transport());
        let duplex = transport.is_duplex();
        if duplex && trial.is_some() {
            return;
        }
        let most = self.config.max_send_size;
        let max_bytes = if duplex { MAX_FRAME } else { MAX_POST }.min(most);
        // What went out over HTTP before a change of transports is not to be overtaken.
        while self.lane.exchange().is_none() && self.calls.has_queued() {
            let exchange = self.outbox.new_exchange();
            let stamp = Stamp::new(self.credentials.generation(), self.sessions);
            let messages = self.calls.take_turn(exchange, max_bytes, most, stamp, now);
            if !duplex {
                self.lane.occupy(exchange, now + self.config.request_timeout);
            }
            let mut messages: Vec<_> = messages.into_iter().map(|(_, message)| message).collect();
            self.ask_for_replays(&mut messages);
            self.send(transport, Lane::Other, exchange, messages);
        }
    }

    /// A reply to the request `id`.
    pub(super) fn reply(&mut self, id: u64, reply: Message, now: Time) -> Next {
        let Some(request) = self.calls.get(id) else { return Next::Nothing };
        if *request.kind() == Kind::Service && reply.is_successful() && !reply.has_data() {
            self.calls.accept(id);
            return Next::Nothing;
        }
        let Some(request) = self.calls.remove(id) else { return Next::Nothing };
        let granted = reply.fields().successful != Some(false)
            && (reply.is_successful() || (*request.kind() == Kind::Service && reply.has_data()));
        if granted {
            self.credentials.accepted();
            self.settle(id, &request, Ok(reply), now);
            return Next::Nothing;
        }
        match diagnose(&reply) {
            Diagnosis::SessionUnknown if *request.kind() != Kind::Disconnect => {
                let cause = LostCause::SessionLost(Box::new(reply.clone()));
                let current = request.stamp().session() == self.sessions;
                self.again_or(id, request, CallError::Refused(Box::new(reply)), now);
                // A late reply about a session that was given up already says nothing about the new one.
                return if current { Next::Rehandshake(cause) } else { Next::Nothing };
            }
            Diagnosis::Credentials => {
                let reason = AuthReason::Refused(server_error(&reply));
                let error = CallError::Refused(Box::new(reply));
                if self.refresh(request.stamp().generation(), reason) {
                    self.again_or(id, request, error, now);
                } else {
                    self.settle(id, &request, Err(error), now);
                }
            }
            Diagnosis::SessionUnknown | Diagnosis::Plain => {
                self.settle(id, &request, Err(CallError::Refused(Box::new(reply))), now);
            }
        }
        Next::Nothing
    }

    /// The server has certainly not acted on a request this time: it is sent once more, or fails for good. One that it
    /// may have acted on before is sent as long as there is time, as after any failure.
    pub(super) fn again_or(&mut self, id: u64, request: Request, error: CallError, now: Time) {
        if !request.may_go_again(now) {
            let error = self.with_earlier_fate(&request, error);
            return self.settle(id, &request, Err(error), now);
        }
        self.calls.push_again(id, request.not_acted_on());
    }

    /// The error of a request that cannot be sent once more: a refusal of its last sending says nothing about an
    /// earlier one, whose fate is not known.
    pub(super) fn with_earlier_fate(&self, request: &Request, error: CallError) -> CallError {
        if !request.is_maybe_seen() {
            return error;
        }
        let text = format!("{}: sent before without a reply, and then: {error}", self.servers.name());
        CallError::Transport { failure: Failure::new(FailureKind::Lost, text), fate_unknown: true }
    }

    /// A request has its outcome.
    pub(super) fn settle(&mut self, id: u64, request: &Request, result: CallResult, now: Time) {
        match request.kind() {
            Kind::Subscribe(channel) => self.settle_subscribe(id, channel, &result, now),
            Kind::Disconnect => {
                if let Phase::Closing(closing) = &mut self.phase {
                    closing.confirmed = true;
                    closing.deadline = closing.deadline.min(now + LINGER);
                }
            }
            Kind::Publish | Kind::Service | Kind::Unsubscribe(_) => {
                self.outbox.resolve(request.call(), result)
            }
        }
    }

    fn settle_subscribe(&mut self, id: u64, channel: &Channel, result: &CallResult, now: Time) {
        let Some(restored) = self.subscriptions.asked_by(channel, id) else { return };
        if self.replay_refused(channel, result) {
            if self.subscriptions.status(channel).is_some() {
                let again = self.subscribe_request(channel, now);
                self.calls.restore(vec![again]);
            }
            return;
        }
        let waiting = self.subscriptions.take_waiting(channel);
        let outcome = result.as_ref().map(|_| ()).map_err(CallError::clone);
        match &outcome {
            Ok(()) => self.subscriptions.grant(channel),
            Err(error) if restored => {
                self.subscriptions.drop_receivers(channel, &waiting, false);
                match self.subscriptions.count_refusal(channel) {
                    Some((failures, sinks)) => {
                        let retry_at = now + self.attempts.backoff(failures);
                        self.subscriptions.refuse(channel, retry_at);
                        self.outbox.subscription_lost(sinks, channel.clone(), error.clone());
                    }
                    // The outcomes of the calls say so.
                    None => self.subscriptions.forget(channel),
                }
            }
            Err(_) => self.subscriptions.forget(channel),
        }
        self.keep_replays(channel);
        if restored {
            self.outbox.event(Event::Resubscribed { channel: channel.clone(), outcome });
        }
        for (call, _) in waiting {
            self.outbox.resolve(Some(call), result.clone());
        }
    }

    /// Gives an HTTP exchange up if no request waits for it any more.
    pub(super) fn release(&mut self, exchange: ExchangeId) {
        if self.lane.carries(exchange) && self.calls.of_exchange(exchange).is_empty() {
            self.lane.release(exchange);
            self.outbox.cancel(exchange);
            self.unread();
        }
    }

    /// The caller does not wait any more.
    pub(super) fn forget_call(&mut self, call: CallId) {
        // Requests for subscriptions belong to no call: the calls that wait are kept with the subscription.
        if self.subscriptions.forget_caller(call) {
            return;
        }
        for id in self.calls.ids(|request| request.call() == Some(call)) {
            let Some(request) = self.calls.get(id) else { continue };
            // An unsubscription is carried out even if no caller waits for its confirmation.
            if !request.is_sent() && !matches!(request.kind(), Kind::Unsubscribe(_)) {
                self.calls.remove(id);
            } else {
                self.calls.disown(id);
            }
        }
    }
}

fn subscription_message(meta: &'static str, channel: &Channel) -> Message {
    let mut message = Message::meta(meta);
    message.fields_mut().subscription = Some(Subscription::One(channel.as_str().to_owned()));
    message
}
