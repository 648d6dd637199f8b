//! Requests that fail: with their exchange, with their transport, or because their time is over.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Core;
use crate::channel::Channel;
use crate::client::cause::LostCause;
use crate::client::config::Delivery;
use crate::client::contract::{AuthReason, ExchangeId};
use crate::client::event::Event;
use crate::client::failure::{Failure, FailureKind};
use crate::client::outcome::CallError;
use crate::client::request::{Kind, Request};
use crate::time::Time;

/// What became of requests whose exchange failed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Failed {
    /// How many are sent again.
    repeated: usize,
    /// How many wait for new credentials.
    renewed: usize,
}

impl Core {
    /// An HTTP exchange with calls failed.
    pub(super) fn fail_exchange(&mut self, exchange: ExchangeId, failure: Failure, now: Time) {
        let ids = self.calls.of_exchange(exchange);
        let channel = ids.first().and_then(|id| self.calls.get(*id)).map(|request| request.channel().clone());
        let outcome = self.fail_requests(&ids, &failure, now);
        let delay = self.rest_lane(&failure, now);
        // With new credentials it is as if nothing had happened.
        if let Some(channel) = channel.filter(|_| outcome.renewed < ids.len()) {
            let (messages, repeated) = (ids.len(), outcome.repeated);
            self.outbox.event(Event::RequestFailed { channel, failure, messages, repeated, delay });
        }
    }

    /// The response to an HTTP exchange with calls has come, and has no reply to these. They may still come another
    /// way.
    pub(super) fn miss_replies(&mut self, exchange: ExchangeId) {
        let mut ids = self.calls.of_exchange(exchange);
        ids.retain(|id| self.calls.get(*id).is_some_and(|request| !request.is_accepted()));
        let first = ids.first().and_then(|id| self.calls.get(*id));
        let Some(channel) = first.map(|request| request.channel().clone()) else { return };
        let failure = self.no_reply(&format!("message on {channel}"));
        for id in &ids {
            self.calls.note(*id, &failure);
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
        // These refusals are final, except for too slow, too early and too often.
        let refused = matches!(
            failure.kind(),
            FailureKind::Http { status: 400..=499 } if !matches!(failure.http_status(), Some(408 | 425 | 429))
        );
        for &id in ids {
            let Some(request) = self.calls.remove(id) else { continue };
            let fate_unknown = !unseen || request.is_maybe_seen();
            let error = CallError::Transport { failure: failure.clone(), fate_unknown };
            if unauthorized && self.refresh(request.stamp().generation(), AuthReason::HttpRefused(401)) {
                outcome.renewed += 1;
                self.again_or(id, request, error, now);
            } else if !refused && (unseen || self.may_repeat(&request)) && request.has_time(now) {
                outcome.repeated += 1;
                self.calls.push_again(id, request.failed(!unseen, failure));
            } else {
                self.settle(id, &request, Err(error), now);
            }
        }
        outcome
    }

    /// The socket is lost, and with it the requests on it; those that went out over HTTP before a change of transports
    /// are not on it.
    pub(super) fn fail_frames(&mut self, failure: &Failure, now: Time) {
        let elsewhere = self.lane.exchange().map(|busy| self.calls.of_exchange(busy)).unwrap_or_default();
        let mut sent = self.calls.sent();
        sent.retain(|id| !elsewhere.contains(id));
        self.fail_requests(&sent, failure, now);
    }

    /// The session is lost, and with it the answers that were to come in it.
    pub(super) fn fail_accepted(&mut self, now: Time) {
        for id in self.calls.ids(|request| request.is_accepted()) {
            let Some(request) = self.calls.remove(id) else { continue };
            let text = format!("{}: the session that the answer was to come in is lost", self.servers.name());
            let failure = Failure::new(FailureKind::Lost, text);
            self.settle(id, &request, Err(CallError::Transport { failure, fate_unknown: true }), now);
        }
    }

    /// Lets the lane for all but connects rest after a failed exchange: longer after each, and no shorter than the
    /// server asks for. For how long.
    fn rest_lane(&mut self, failure: &Failure, now: Time) -> Duration {
        let failures = self.lane.failed(failure);
        let advised = self.advised_pause(Some(failure));
        let pause = self.attempts.backoff(failures).max(advised);
        self.lane.rest(now + pause);
        pause
    }

    /// Whether a request may reach the server twice.
    fn may_repeat(&self, request: &Request) -> bool {
        match request.kind() {
            Kind::Publish => self.config.delivery == Delivery::AtLeastOnce,
            // To ask twice has the same effect as to ask once.
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
        let mut expired: Option<(Failure, Channel, usize, usize)> = None;
        while let Some((_, id)) = self.calls.next_deadline().filter(|(at, _)| *at <= now) {
            // What waits for its turn waits for what is under way.
            if let Some(exchange) =
                self.calls.get(id).and_then(|request| request.exchange().or(self.lane.exchange()))
            {
                let put_off = self.arrivals.put_off(exchange, span);
                if put_off > now && self.calls.extend(id, put_off) {
                    continue;
                }
            }
            let Some(request) = self.calls.remove(id) else { continue };
            let sent = request.exchange();
            if sent.is_some() && !request.is_accepted() {
                let channel = request.channel();
                let waited = now.since(request.sent_at());
                let (_, _, messages, _) = expired.get_or_insert_with(|| {
                    (self.silence(&format!("message on {channel}"), waited), channel.clone(), 0, 0)
                });
                *messages += 1;
            }
            // Its caller may have waited for less than a silence that proves anything.
            let silent = now.since(self.liveness.last_received().max(request.sent_at())) >= span;
            dead |= sent.is_some() && !request.is_accepted() && silent && self.transport().is_duplex();
            if sent.is_some() && self.may_repeat(&request) && request.has_time(now) {
                if let Some((.., repeated)) = &mut expired {
                    *repeated += 1;
                }
                self.calls.push_again(id, request.unanswered());
            } else {
                let after = now.since(request.started());
                let fate_unknown = sent.is_some() || request.is_maybe_seen();
                let last = match (request.last_failure(), sent) {
                    (Some(last), _) => Some(Box::new(last.clone())),
                    (None, Some(_)) => {
                        Some(Box::new(self.silence(&format!("message on {}", request.channel()), after)))
                    }
                    (None, None) => self.obstacle(),
                };
                let error = CallError::Timeout { after, fate_unknown, last };
                self.settle(id, &request, Err(error), now);
            }
            exchanges.extend(sent);
        }
        for exchange in exchanges {
            self.release(exchange);
        }
        if let Some((failure, channel, messages, repeated)) = expired {
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

    /// Frees the lane of an exchange whose response does not come, and for which no request waits.
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

    /// An extension of the user's vetoed a message.
    pub(super) fn veto(&mut self, id: u64, reason: &str, now: Time) {
        if let Some(request) = self.calls.remove(id) {
            self.settle(id, &request, Err(CallError::Vetoed(reason.to_owned())), now);
        }
    }

    /// No new credentials could be obtained for the calls that were refused without them.
    pub(super) fn fail_refused(&mut self, text: &str, now: Time) {
        for id in self.calls.ids(|request| request.waits_again()) {
            if let Some(request) = self.calls.remove(id) {
                let error = self.with_earlier_fate(&request, CallError::NoCredentials(text.to_owned()));
                self.settle(id, &request, Err(error), now);
            }
        }
    }
}
