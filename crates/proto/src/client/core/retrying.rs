//! The start of an attempt to connect, and after a failed one the pause before the next, or the end.

use std::time::Duration;

use super::{Core, Next, Phase};
use crate::client::cause::LostCause;
use crate::client::event::Event;
use crate::client::failure::Failure;
use crate::client::handshake::Handshake;
use crate::client::outcome::CloseReason;
use crate::client::retry::{FailedAttempt, Verdict};
use crate::client::undecided::{Then, Undecided};
use crate::time::Time;

impl Core {
    /// An attempt to connect failed. Plans the next one, after a pause no shorter than the server asks for by its
    /// advice or with the failure.
    pub(super) fn attempt_failed(&mut self, cause: LostCause, then: Then, now: Time) -> Next {
        self.attempts.failed(&cause, now);
        self.credentials.permit_question();
        let Some(interval) = self.advised.interval() else {
            return Next::Terminate(match cause {
                LostCause::Refused(reply) | LostCause::SessionLost(reply) => CloseReason::Server(reply),
                LostCause::Transport(failure) => CloseReason::Failed(failure),
            });
        };
        let advised = self.advised_pause(cause.failure()).max(interval);
        match self.attempts.plan(cause, advised, now) {
            Err(failed) => Next::Terminate(gave_up(failed)),
            Ok(failed) if self.config.decide_retries => {
                self.plan_attempt(failed.delay, then, now);
                self.outbox.decide_retry(failed.clone());
                self.undecided = Some(Undecided::new(failed, advised, then));
                Next::Nothing
            }
            Ok(failed) => self.attempt_after(failed.delay, failed.cause, then, now),
        }
    }

    /// The driver has decided about the last failed attempt.
    pub(super) fn retry_decided(&mut self, verdict: Verdict, now: Time) -> Next {
        let Some(undecided) = self.undecided.take() else { return Next::Nothing };
        match undecided.decide(verdict) {
            Ok((pause, cause, then)) => self.attempt_after(pause, cause, then, now),
            Err(failed) => Next::Terminate(gave_up(failed)),
        }
    }

    /// Asks for a session, after `pause`. Drops the session before.
    pub(super) fn start_handshake(&mut self, pause: Duration, now: Time) {
        let socket = self.may_have_socket();
        self.phase = Phase::Opening(Handshake::waiting(now + pause));
        self.undecided = None;
        self.advised.begin_session();
        let next = self.transports.begin_round(now);
        if socket && !next.is_duplex() {
            // It may be open, and would stay open beside the transport that is tried next.
            self.outbox.close_websocket(true);
        }
    }

    fn plan_attempt(&mut self, pause: Duration, then: Then, now: Time) {
        match (then, &mut self.phase) {
            (Then::Handshake, Phase::Opening(handshake)) if handshake.is_waiting() => {
                handshake.wait_until(now + pause);
            }
            (Then::Handshake, _) => self.start_handshake(pause, now),
            (Then::Connect { .. }, Phase::Established(session)) => session.connect.wait_until(now + pause),
            (Then::Connect { .. }, _) => {}
        }
    }

    fn attempt_after(&mut self, pause: Duration, cause: LostCause, then: Then, now: Time) -> Next {
        let mut pause = pause;
        if let Then::Connect { changed } = then {
            // The failures of one transport do not delay the first attempt over another: the server would not keep the
            // session for that long.
            if changed {
                let retry_after = cause.failure().and_then(Failure::retry_after).unwrap_or_default();
                let retry_after = retry_after.min(self.config.max_advised_wait);
                pause = self.advised.interval().unwrap_or_default().max(retry_after);
            }
            if self.is_forgotten_after(pause, now) {
                return Next::Rehandshake(cause);
            }
        }
        let failures = self.attempts.failures();
        self.outbox.event(Event::Retrying { delay: pause, failures, cause });
        self.plan_attempt(pause, then, now);
        Next::Nothing
    }

    /// Whether the server must have given the session up by the end of a pause (CometD's `BayeuxClient` counts the
    /// same: timeout, interval and maxInterval).
    fn is_forgotten_after(&self, pause: Duration, now: Time) -> bool {
        let Some(kept) = self.advised.kept() else { return false };
        let away = now.since(self.attempts.lost_since().unwrap_or(now)).saturating_add(pause);
        let interval = self.advised.interval().unwrap_or_default();
        away > self.advised.hold().saturating_add(interval).saturating_add(kept)
    }
}

fn gave_up(failed: FailedAttempt) -> CloseReason {
    let FailedAttempt { cause, failures, elapsed, .. } = failed;
    CloseReason::GaveUp { failures, elapsed, cause: Box::new(cause) }
}
