//! After a failed attempt: the pause before the next one, or the end.

use std::time::Duration;

use super::{Core, Next, Phase};
use crate::client::cause::LostCause;
use crate::client::event::Event;
use crate::client::failure::Failure;
use crate::client::outcome::CloseReason;
use crate::client::retry::{FailedAttempt, Verdict};
use crate::time::Time;

/// A failed attempt that the driver decides about. The next attempt is planned already, with the usual pause, so that
/// nothing hangs if the driver does not decide.
#[derive(Debug)]
pub(super) struct Undecided {
    failed: FailedAttempt,
    advised: Duration,
    then: Then,
}

/// What follows after the pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Handshake,
    /// A connect of the same session; over another transport if it `changed`.
    Connect {
        changed: bool,
    },
}

impl Core {
    /// An attempt to connect failed. Plans the next one, after a pause no shorter than the server asks for by its advice or
    /// with the failure.
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
                self.undecided = Some(Undecided { failed, advised, then });
                Next::Nothing
            }
            Ok(failed) => self.attempt_after(failed.delay, failed.cause, then, now),
        }
    }

    /// The driver has decided about the last failed attempt.
    pub(super) fn retry_decided(&mut self, verdict: Verdict, now: Time) -> Next {
        let Some(Undecided { failed, advised, then }) = self.undecided.take() else { return Next::Nothing };
        match verdict.pause(&failed, advised) {
            Some(pause) => self.attempt_after(pause, failed.cause, then, now),
            None => Next::Terminate(gave_up(failed)),
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

    /// Whether the server must have given the session up by the end of a pause (CometD's `BayeuxClient` counts the same:
    /// timeout, interval and maxInterval).
    fn is_forgotten_after(&self, pause: Duration, now: Time) -> bool {
        let Some(kept) = self.advised.kept() else { return false };
        let away = now.since(self.attempts.lost_since().unwrap_or(now)) + pause;
        away > self.advised.hold() + self.advised.interval().unwrap_or_default() + kept
    }
}

fn gave_up(failed: FailedAttempt) -> CloseReason {
    let FailedAttempt { cause, failures, elapsed, .. } = failed;
    CloseReason::GaveUp { failures, elapsed, cause: Box::new(cause) }
}
