//! The user's calls: their messages, their turns, their replies.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Core, Flow, Next, Phase};
use crate::channel::Channel;
use crate::client::cause::{LostCause, server_error};
use crate::client::config::{Delivery, Offline};
use crate::client::contract::{AuthReason, CallId, ExchangeId, Lane, Operation, SinkId};
use crate::client::diagnosis::{Diagnosis, diagnose};
use crate::client::event::Event;
use crate::client::failure::{Failure, FailureKind};
use crate::client::outcome::{CallError, CallResult, CloseReason};
use crate::client::requests::{Kind, Request, Stamp, wire_size};
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
            Operation::Subscribe { channel, sink } => self.subscribe(call, channel, sink, group, now),
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

    fn subscribe(
        &mut self,
        call: CallId,
        channel: Channel,
        sink: SinkId,
        group: u64,
        now: Time,
    ) -> Result<(), CallError> {
        if channel.is_meta() {
            let why = "is a meta channel; what happens there is told as events";
            return Err(CallError::WrongChannel { channel, why });
        }
        let status = self.subscriptions.entry(&channel).map(|entry| entry.status);
        match status {
            Some(Status::Active) => {
                self.subscriptions.add(&channel, sink, Status::Active);
                self.subscriptions.change(&channel, |entry| entry.inbox_granted |= sink == SinkId::INBOX);
                self.outbox.resolve(Some(call), Ok(Self::synthetic(Channel::SUBSCRIBE, Some(&channel))));
            }
            Some(status @ Status::Pending(id)) if self.requests.get(id).is_some() => {
                self.subscriptions.add(&channel, sink, status);
                self.subscriptions.wait(&channel, call, sink);
            }
            // A server keeps no subscriptions to service channels, and some refuse them.
            None if channel.is_service() => {
                self.subscriptions.add(&channel, sink, Status::Active);
                self.subscriptions.change(&channel, |entry| entry.established = true);
                self.outbox.resolve(Some(call), Ok(Self::synthetic(Channel::SUBSCRIBE, Some(&channel))));
            }
            // What is to be restored in a session that is not there yet has no request that would run out.
            None | Some(Status::Refused(_) | Status::Pending(_)) => {
                let id = self.enqueue(
                    None,
                    Kind::Subscribe(channel.clone()),
                    subscription_message(Channel::SUBSCRIBE, &channel),
                    None,
                    group,
                    now,
                )?;
                self.subscriptions.add(&channel, sink, Status::Pending(id));
                self.subscriptions.change(&channel, |entry| entry.status = Status::Pending(id));
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
        for waiting in removed.waiting {
            self.outbox.resolve(Some(waiting), Err(CallError::NotSubscribed(channel.clone())));
        }
        let known_to_server = match removed.status {
            // What still waits for its turn need not be sent at all, when nobody else wants it.
            Status::Pending(id)
                if removed.last
                    && self.requests.get(id).is_some_and(|request| request.exchange.is_none()) =>
            {
                self.requests.remove(id);
                false
            }
            Status::Pending(_) | Status::Active => self.established().is_some() && !channel.is_service(),
            Status::Refused(_) => false,
        };
        if removed.last && known_to_server {
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
        if self.requests.len() >= cap {
            return Err(CallError::TooManyPending { cap });
        }
        let id = self.outbox.new_id();
        let request = self.request(id, call, kind, message, timeout, now);
        self.requests.push_back(id, group, request);
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
        Request {
            kind,
            call,
            message: message.with_id(id),
            started: now,
            deadline: give_up,
            reply_within: timeout.is_none().then_some(self.config.request_timeout),
            give_up,
            exchange: None,
            again: false,
            accepted: false,
            maybe_seen: false,
            last: None,
            restores: false,
            stamp: Stamp::default(),
        }
    }

    /// The message that ends the session, after all that waits.
    pub(super) fn enqueue_disconnect(&mut self, now: Time) {
        let id = self.outbox.new_id();
        let timeout = Some(self.config.close_timeout);
        let request =
            self.request(id, None, Kind::Disconnect, Message::meta(Channel::DISCONNECT), timeout, now);
        let group = self.requests.group();
        self.requests.push_back(id, group, request);
    }

    /// Asks a new session for all that is wanted, before anything else is sent. What is asked for already only moves
    /// to the front: the calls that wait for it have waited since then.
    pub(super) fn resubscribe(&mut self, now: Time) {
        let mut restored = Vec::new();
        for channel in self.subscriptions.remote() {
            let asked = match self.subscriptions.entry(&channel).map(|entry| entry.status) {
                Some(Status::Pending(id)) => self.requests.remove(id).map(|request| (id, request)),
                _ => None,
            };
            restored.push(asked.unwrap_or_else(|| self.subscribe_request(&channel, now)));
        }
        self.requests.restore(restored);
    }

    /// Asks again for what was refused, when its time has come.
    pub(super) fn retry_subscriptions(&mut self, now: Time) {
        while let Some((_, channel)) = self.subscriptions.next_retry().filter(|(at, _)| *at <= now) {
            let channel = channel.clone();
            let (id, request) = self.subscribe_request(&channel, now);
            let group = self.requests.group();
            self.requests.push_back(id, group, request);
        }
    }

    fn subscribe_request(&mut self, channel: &Channel, now: Time) -> (u64, Request) {
        let id = self.outbox.new_id();
        self.subscriptions.change(channel, |entry| entry.status = Status::Pending(id));
        let message = subscription_message(Channel::SUBSCRIBE, channel);
        (id, self.request(id, None, Kind::Subscribe(channel.clone()), message, None, now))
    }

    /// Prepares the calls for a new session: what was asked of the old one about subscriptions is void, and what
    /// somebody waits for is to be asked of the new one.
    pub(super) fn void_subscription_requests(&mut self) {
        let mut renewed = Vec::new();
        let mut exchanges = BTreeSet::new();
        for id in
            self.requests.ids(|request| matches!(request.kind, Kind::Subscribe(_) | Kind::Unsubscribe(_)))
        {
            let Some(request) = self.requests.remove(id) else { continue };
            exchanges.extend(request.exchange);
            match &request.kind {
                Kind::Unsubscribe(channel) => {
                    self.outbox
                        .resolve(request.call, Ok(Self::synthetic(Channel::UNSUBSCRIBE, Some(channel))));
                }
                Kind::Subscribe(channel) => {
                    let awaited = self
                        .subscriptions
                        .entry(channel)
                        .is_some_and(|entry| entry.status == Status::Pending(id) && entry.is_awaited());
                    if awaited {
                        // With another id, because a late reply to the old request says nothing about the new session.
                        let again = self.outbox.new_id();
                        self.subscriptions.change(channel, |entry| entry.status = Status::Pending(again));
                        let message = request.message.clone().with_id(again);
                        renewed.push((again, Request { message, ..request }));
                    }
                }
                Kind::Publish | Kind::Service | Kind::Disconnect => {}
            }
        }
        for (id, request) in renewed {
            self.requests.push_again(id, request);
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
        while self.lane.exchange().is_none() && self.requests.has_queued() {
            let exchange = self.outbox.new_exchange();
            let stamp = Stamp { generation: self.credentials.generation(), session: self.sessions };
            let messages = self.requests.take_turn(exchange, max_bytes, most, stamp, now);
            if !duplex {
                self.lane.occupy(exchange, now + self.config.request_timeout);
            }
            let messages = messages.into_iter().map(|(_, message)| message).collect();
            self.send(transport, Lane::Other, exchange, messages);
        }
    }

    /// A reply to the request `id`.
    pub(super) fn reply(&mut self, id: u64, reply: Message, now: Time) -> Next {
        let Some(request) = self.requests.get(id) else { return Next::Nothing };
        if request.kind == Kind::Service && reply.is_successful() && !reply.has_data() {
            self.requests.accept(id);
            return Next::Nothing;
        }
        let Some(request) = self.requests.remove(id) else { return Next::Nothing };
        let granted = reply.fields().successful != Some(false)
            && (reply.is_successful() || (request.kind == Kind::Service && reply.has_data()));
        if granted {
            self.credentials.accepted();
            self.settle(id, request, Ok(reply), now);
            return Next::Nothing;
        }
        match diagnose(&reply) {
            Diagnosis::SessionUnknown if request.kind != Kind::Disconnect => {
                let cause = LostCause::SessionLost(Box::new(reply.clone()));
                let current = request.stamp.session == self.sessions;
                self.again_or(id, request, CallError::Refused(Box::new(reply)), now);
                // A late word about a session that was given up already says nothing about the new one.
                return if current { Next::Rehandshake(cause) } else { Next::Nothing };
            }
            Diagnosis::Credentials => {
                let reason = AuthReason::Refused(server_error(&reply));
                let error = CallError::Refused(Box::new(reply));
                if self.refresh(request.stamp.generation, reason) {
                    self.again_or(id, request, error, now);
                } else {
                    self.settle(id, request, Err(error), now);
                }
            }
            Diagnosis::SessionUnknown | Diagnosis::Plain => {
                self.settle(id, request, Err(CallError::Refused(Box::new(reply))), now);
            }
        }
        Next::Nothing
    }

    /// The server has certainly not acted on a request this time: it is sent once more, or fails for good. One that it
    /// may have acted on before is sent as long as there is time, as after any failure.
    fn again_or(&mut self, id: u64, mut request: Request, error: CallError, now: Time) {
        let repeats = request.maybe_seen && now < request.give_up;
        if request.again && !repeats {
            let error = self.told_truly(&request, error);
            return self.settle(id, request, Err(error), now);
        }
        request.again = true;
        self.requests.push_again(id, request);
    }

    /// What to say of a request that cannot be sent once more: a word against its last sending says nothing about one
    /// before it, whose fate is not known.
    fn told_truly(&self, request: &Request, error: CallError) -> CallError {
        if !request.maybe_seen {
            return error;
        }
        let text = format!("{}: sent before without a reply, and then: {error}", self.servers.name());
        CallError::Transport { failure: Failure::new(FailureKind::Lost, text), fate_unknown: true }
    }

    /// A request has its outcome.
    fn settle(&mut self, id: u64, request: Request, result: CallResult, now: Time) {
        match request.kind {
            Kind::Subscribe(channel) => self.settle_subscribe(id, &channel, &result, now),
            Kind::Disconnect => {
                if let Phase::Closing(closing) = &mut self.phase {
                    closing.confirmed = true;
                    closing.deadline = closing.deadline.min(now + LINGER);
                }
            }
            Kind::Publish | Kind::Service | Kind::Unsubscribe(_) => self.outbox.resolve(request.call, result),
        }
    }

    fn settle_subscribe(&mut self, id: u64, channel: &Channel, result: &CallResult, now: Time) {
        let entry = self.subscriptions.entry(channel).filter(|entry| entry.status == Status::Pending(id));
        let Some(restored) = entry.map(|entry| entry.established) else { return };
        let waiting = self.subscriptions.take_waiting(channel);
        let outcome = result.as_ref().map(|_| ()).map_err(CallError::clone);
        match &outcome {
            Ok(()) => {
                self.subscriptions.change(channel, |entry| {
                    entry.status = Status::Active;
                    entry.established = true;
                    entry.inbox_granted = entry.sinks.contains(&SinkId::INBOX);
                    entry.failures = 0;
                });
            }
            Err(error) if restored => {
                let failed = self.subscriptions.change(channel, |entry| {
                    entry.failures += 1;
                    entry.sinks.retain(|sink| !waiting.iter().any(|(_, waits)| waits == sink));
                    entry.inbox_granted &= entry.sinks.contains(&SinkId::INBOX);
                    (entry.failures, entry.sinks.clone())
                });
                let (failures, sinks) = failed.unwrap_or_default();
                if sinks.is_empty() {
                    // Whoever wanted it was told by the outcome of a call.
                    self.subscriptions.forget(channel);
                } else {
                    let retry_at = now + self.attempts.backoff(failures);
                    self.subscriptions.change(channel, |entry| entry.status = Status::Refused(retry_at));
                    let (channel, error) = (channel.clone(), error.clone());
                    self.outbox.subscription_lost(sinks, channel, error);
                }
            }
            Err(_) => self.subscriptions.forget(channel),
        }
        if restored {
            self.outbox.event(Event::Resubscribed { channel: channel.clone(), outcome });
        }
        for (call, _) in waiting {
            self.outbox.resolve(Some(call), result.clone());
        }
    }

    /// An HTTP exchange with calls failed.
    pub(super) fn fail_exchange(&mut self, exchange: ExchangeId, failure: Failure, now: Time) {
        let ids = self.requests.of_exchange(exchange);
        let channel = ids
            .first()
            .and_then(|id| self.requests.get(*id))
            .map(|request| request.message.channel().clone());
        let outcome = self.fail_requests(&ids, &failure, now);
        let delay = self.rest_lane(&failure, now);
        // With new credentials it is as if nothing had happened.
        if let Some(channel) = channel.filter(|_| outcome.renewed < ids.len()) {
            let (messages, repeated) = (ids.len(), outcome.repeated);
            self.outbox.event(Event::RequestFailed { channel, failure, messages, repeated, delay });
        }
    }

    /// The response to an HTTP exchange with calls has come, and has no reply to these. They may still come another way.
    pub(super) fn miss_replies(&mut self, exchange: ExchangeId) {
        let mut ids = self.requests.of_exchange(exchange);
        ids.retain(|id| self.requests.get(*id).is_some_and(|request| !request.accepted));
        let first = ids.first().and_then(|id| self.requests.get(*id));
        let Some(channel) = first.map(|request| request.message.channel().clone()) else { return };
        let failure = self.no_reply(&format!("message on {channel}"));
        for id in &ids {
            self.requests.note(*id, &failure);
        }
        let (messages, delay) = (ids.len(), Duration::ZERO);
        self.outbox.event(Event::RequestFailed { channel, failure, messages, repeated: 0, delay });
    }

    /// An exchange, or the whole transport, failed: so did the requests that went out with it. Those that the server
    /// cannot have seen wait for their turn again, and so do those that may be sent twice.
    pub(super) fn fail_requests(&mut self, ids: &[u64], failure: &Failure, now: Time) -> Failed {
        let mut outcome = Failed::default();
        let unseen = failure.is_before_sending();
        let unauthorized = matches!(failure.kind(), FailureKind::Http { status: 401 });
        // Whatever says so is not in a mood: too slow, too early and too often are.
        let refused = matches!(
            failure.kind(),
            FailureKind::Http { status: 400..=499 } if !matches!(failure.http_status(), Some(408 | 425 | 429))
        );
        for &id in ids {
            let Some(request) = self.requests.remove(id) else { continue };
            let fate_unknown = !unseen || request.maybe_seen;
            let error = CallError::Transport { failure: failure.clone(), fate_unknown };
            if unauthorized && self.refresh(request.stamp.generation, AuthReason::HttpRefused(401)) {
                outcome.renewed += 1;
                self.again_or(id, request, error, now);
            } else if !refused && (unseen || self.may_repeat(&request)) && now < request.give_up {
                outcome.repeated += 1;
                let maybe_seen = request.maybe_seen || !unseen;
                let last = Some(Box::new(failure.clone()));
                self.requests.push_again(id, Request { maybe_seen, last, ..request });
            } else {
                self.settle(id, request, Err(error), now);
            }
        }
        outcome
    }

    /// The socket is gone, and with it the requests on it; those that went out over HTTP before a change of transports
    /// are not on it.
    pub(super) fn fail_frames(&mut self, failure: &Failure, now: Time) {
        let elsewhere = self.lane.exchange().map(|busy| self.requests.of_exchange(busy)).unwrap_or_default();
        let mut sent = self.requests.sent();
        sent.retain(|id| !elsewhere.contains(id));
        self.fail_requests(&sent, failure, now);
    }

    /// The session is gone, and with it the answers that were to come in it.
    pub(super) fn fail_accepted(&mut self, now: Time) {
        for id in self.requests.ids(|request| request.accepted) {
            let Some(request) = self.requests.remove(id) else { continue };
            let text = format!("{}: the session that the answer was to come in is gone", self.servers.name());
            let failure = Failure::new(FailureKind::Lost, text);
            self.settle(id, request, Err(CallError::Transport { failure, fate_unknown: true }), now);
        }
    }

    /// Lets the lane for all but connects rest after a failed exchange: longer after each, and no shorter than the server
    /// asks for. For how long.
    fn rest_lane(&mut self, failure: &Failure, now: Time) -> Duration {
        let failures = self.lane.failed(failure);
        let advised = self.advised_pause(Some(failure));
        let pause = self.attempts.backoff(failures).max(advised);
        self.lane.rest(now + pause);
        pause
    }

    /// Whether a request may reach the server twice.
    fn may_repeat(&self, request: &Request) -> bool {
        match request.kind {
            Kind::Publish => self.config.delivery == Delivery::AtLeastOnce,
            // Asking twice is the same as asking once.
            Kind::Subscribe(_) | Kind::Unsubscribe(_) => true,
            Kind::Service | Kind::Disconnect => false,
        }
    }

    /// Gives up the requests whose time is over. Whether the transport seems dead: it was given a message, and
    /// nothing came back at all.
    pub(super) fn expire_requests(&mut self, now: Time) -> bool {
        let mut dead = false;
        let span = self.config.request_timeout;
        let mut exchanges = BTreeSet::new();
        let mut expired: Option<(Channel, usize, usize)> = None;
        while let Some((_, id)) = self.requests.next_deadline().filter(|(at, _)| *at <= now) {
            // What waits for its turn waits for what is under way.
            if let Some(exchange) =
                self.requests.get(id).and_then(|request| request.exchange.or(self.lane.exchange()))
            {
                let put_off = self.arrivals.put_off(exchange, span);
                if put_off > now && self.requests.extend(id, put_off) {
                    continue;
                }
            }
            let Some(request) = self.requests.remove(id) else { continue };
            let sent = request.exchange;
            if sent.is_some() && !request.accepted {
                let (_, messages, _) =
                    expired.get_or_insert_with(|| (request.message.channel().clone(), 0, 0));
                *messages += 1;
            }
            let silent = now.since(self.liveness.last_received()) >= self.config.request_timeout;
            dead |= sent.is_some() && !request.accepted && silent && self.transport().is_duplex();
            if sent.is_some() && self.may_repeat(&request) && now < request.give_up {
                if let Some((.., repeated)) = &mut expired {
                    *repeated += 1;
                }
                self.requests.push_again(id, Request { maybe_seen: true, ..request });
            } else {
                let after = now.since(request.started);
                let fate_unknown = sent.is_some() || request.maybe_seen;
                let last = match (&request.last, sent) {
                    (Some(last), _) => Some(last.clone()),
                    (None, Some(_)) => Some(Box::new(
                        self.silence(&format!("message on {}", request.message.channel()), after),
                    )),
                    (None, None) => self.obstacle(),
                };
                let error = CallError::Timeout { after, fate_unknown, last };
                self.settle(id, request, Err(error), now);
            }
            exchanges.extend(sent);
        }
        for exchange in exchanges {
            self.release(exchange);
        }
        if let Some((channel, messages, repeated)) = expired {
            let failure = self.silence(&format!("message on {channel}"), span);
            let delay = Duration::ZERO;
            self.outbox.event(Event::RequestFailed { channel, failure, messages, repeated, delay });
        }
        dead
    }

    /// Why a message has not had its turn: what keeps the connection from being made, or the messages before it.
    fn obstacle(&self) -> Option<Box<Failure>> {
        let cause = if self.is_connected() {
            self.lane.last_failure()
        } else {
            self.attempts.last_cause().and_then(LostCause::failure)
        };
        cause.cloned().map(Box::new)
    }

    /// Frees the lane of an exchange whose response does not come, and that nobody waits for.
    pub(super) fn free_lane(&mut self, now: Time) {
        if let Some(exchange) = self.lane.due(now) {
            let span = self.config.request_timeout;
            let put_off = self.arrivals.put_off(exchange, span);
            if put_off > now {
                self.lane.progress(exchange, put_off);
            } else {
                self.lane.progress(exchange, now + span);
                self.release(exchange);
            }
        }
    }

    /// Gives an HTTP exchange up when nobody waits for it any more.
    fn release(&mut self, exchange: ExchangeId) {
        if self.lane.carries(exchange) && self.requests.of_exchange(exchange).is_empty() {
            self.lane.release(exchange);
            self.outbox.cancel(exchange);
            self.unread();
        }
    }

    /// An extension of the user's did not let a message out.
    pub(super) fn veto(&mut self, id: u64, reason: &str, now: Time) {
        if let Some(request) = self.requests.remove(id) {
            self.settle(id, request, Err(CallError::Vetoed(reason.to_owned())), now);
        }
    }

    /// No new credentials could be had for the calls that were refused for want of them.
    pub(super) fn fail_refused(&mut self, text: &str, now: Time) {
        for id in self.requests.ids(|request| request.again && request.exchange.is_none()) {
            if let Some(request) = self.requests.remove(id) {
                let error = self.told_truly(&request, CallError::NoCredentials(text.to_owned()));
                self.settle(id, request, Err(error), now);
            }
        }
    }

    /// The caller waits no more.
    pub(super) fn forget_call(&mut self, call: CallId) {
        // Requests for subscriptions are nobody's: whoever waits for one is known there.
        if self.subscriptions.forget_caller(call) {
            return;
        }
        for id in self.requests.ids(|request| request.call == Some(call)) {
            let Some(request) = self.requests.get(id) else { continue };
            // An unsubscription is carried out even when nobody waits for its confirmation.
            if request.exchange.is_none() && !matches!(request.kind, Kind::Unsubscribe(_)) {
                self.requests.remove(id);
            } else {
                self.requests.disown(id);
            }
        }
    }
}

/// What became of requests whose exchange failed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Failed {
    /// How many are sent again.
    repeated: usize,
    /// How many wait for new credentials.
    renewed: usize,
}

fn subscription_message(meta: &'static str, channel: &Channel) -> Message {
    let mut message = Message::meta(meta);
    message.fields_mut().subscription = Some(Subscription::One(channel.as_str().to_owned()));
    message
}
