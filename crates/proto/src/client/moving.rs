//! When a session moves to another transport, and when it moves back.

use super::cause::LostCause;
use super::failure::{Failure, FailureKind};
use crate::transport::Transport;

/// After that many strikes the session moves to another transport.
const STRIKES: u32 = 4;
/// How often the transport before may fail at once while a session is asked for over it.
const FAILED_QUESTIONS: u32 = 3;

/// The failures of the transport in use, and the transport that the session was moved away from.
///
/// A move is on probation until a connect succeeds: if nothing answers over the other transport either, the failures
/// were not about the first; and if the session is not known there, it may be over the first, whose server may bind
/// sessions to transports, as CometD's does.
#[derive(Debug, Default)]
pub(super) struct Moving {
    /// Failures in a row that are due to the transport.
    strikes: u32,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Settled,
    /// On probation, since the transport `from` was left.
    Moved {
        from: Transport,
        /// The server refused that one plainly.
        refused: bool,
    },
    /// The session was not known over the other transport, for this cause, and is asked for once more over the first.
    AskingBack {
        cause: LostCause,
        /// How often the question did not get through.
        failed: u32,
    },
}

impl Moving {
    /// A connect failed. Whether the transport is to be left.
    pub(super) fn strike(&mut self, failure: &Failure) -> bool {
        self.strikes += match failure.kind() {
            FailureKind::UpgradeRefused { .. } if is_refused(failure) => 2,
            FailureKind::UpgradeRefused { .. }
            | FailureKind::Timeout
            | FailureKind::Lost
            | FailureKind::Closed { .. }
            | FailureKind::Malformed
            | FailureKind::TooLarge => 1,
            _ => 0,
        };
        self.strikes >= STRIKES
    }

    /// The session has moved away from that transport.
    pub(super) fn moved(&mut self, from: Transport, failure: &Failure) {
        *self = Self { strikes: 0, stage: Stage::Moved { from, refused: is_refused(failure) } };
    }

    /// A connect succeeded. Returns the transport that was left without a plain refusal, if this proves that the
    /// failures were due to it.
    pub(super) fn works(&mut self) -> Option<Transport> {
        match std::mem::take(self).stage {
            Stage::Moved { from, refused: false } => Some(from),
            Stage::Moved { .. } | Stage::Settled | Stage::AskingBack { .. } => None,
        }
    }

    /// Whether the session has just been moved, and nothing was granted since.
    pub(super) fn is_on_probation(&self) -> bool {
        matches!(self.stage, Stage::Moved { .. })
    }

    /// A connect failed on probation. The transport to go back to, if nothing answers over this one either: one more
    /// failure there leads here again.
    pub(super) fn is_silent(&mut self, failure: &Failure) -> Option<Transport> {
        let silent = matches!(
            failure.kind(),
            FailureKind::Timeout
                | FailureKind::Lost
                | FailureKind::Closed { .. }
                | FailureKind::Unreachable
                | FailureKind::UnknownHost
                | FailureKind::Proxy
        );
        match self.stage {
            Stage::Moved { from, refused: false } if silent => {
                *self = Self { strikes: STRIKES - 1, stage: Stage::Settled };
                Some(from)
            }
            _ => None,
        }
    }

    /// The session is not known over this transport. The one to ask once more, if it was left just now.
    pub(super) fn is_unknown(&mut self, cause: &LostCause) -> Option<Transport> {
        match self.stage {
            Stage::Moved { from, .. } => {
                *self = Self { strikes: 0, stage: Stage::AskingBack { cause: cause.clone(), failed: 0 } };
                Some(from)
            }
            Stage::Settled | Stage::AskingBack { .. } => None,
        }
    }

    /// A connect failed. Why the session is to be given up, if this was the last that it was asked for. A transport that
    /// fails at once has not answered the question, which is asked again; silence takes so long that the session has ended.
    pub(super) fn asked_in_vain(&mut self, failure: &Failure) -> Option<LostCause> {
        let got_through = matches!(failure.kind(), FailureKind::Timeout | FailureKind::Http { .. });
        match std::mem::take(&mut self.stage) {
            Stage::AskingBack { cause, failed } if !got_through && failed + 1 < FAILED_QUESTIONS => {
                self.stage = Stage::AskingBack { cause, failed: failed + 1 };
                None
            }
            Stage::AskingBack { cause, .. } => Some(cause),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// Another session, or another server.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Whether the server refused the transport plainly.
pub(super) fn is_refused(failure: &Failure) -> bool {
    matches!(failure.kind(), FailureKind::UpgradeRefused { status } if status < 500)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;
    use crate::transport::Transport::WebSocket;

    fn failed(kind: FailureKind) -> Failure {
        Failure::new(kind, "test")
    }

    fn left_after_timeouts() -> Moving {
        let mut moving = Moving::default();
        let silence = failed(FailureKind::Timeout);
        assert_eq!((0..4).map(|_| moving.strike(&silence)).collect::<Vec<_>>(), [false, false, false, true]);
        moving.moved(WebSocket, &silence);
        moving
    }

    #[test]
    fn a_transport_is_blamed_once_another_works() {
        assert_eq!(left_after_timeouts().works(), Some(WebSocket));
        let mut moving = left_after_timeouts();
        assert_eq!(moving.is_silent(&failed(FailureKind::Http { status: 503 })), None, "that is an answer");
        assert_eq!(moving.is_silent(&failed(FailureKind::Timeout)), Some(WebSocket));
        assert_eq!(moving.works(), None);
        let mut moving = Moving::default();
        let refused = failed(FailureKind::UpgradeRefused { status: 403 });
        assert!(!moving.strike(&refused) && moving.strike(&refused));
        moving.moved(WebSocket, &refused);
        assert_eq!(moving.is_silent(&failed(FailureKind::Timeout)), None);
        assert_eq!(moving.works(), None, "it was blamed when it was left");
    }

    #[test]
    fn a_session_that_is_not_known_is_asked_for_once_over_the_transport_before() {
        let unknown = LostCause::SessionLost(Box::new(Message::meta("/meta/connect")));
        assert_eq!(Moving::default().is_unknown(&unknown), None);
        let mut moving = left_after_timeouts();
        let silence = failed(FailureKind::Timeout);
        assert_eq!(moving.asked_in_vain(&silence), None);
        assert_eq!(moving.is_unknown(&unknown), Some(WebSocket));
        assert_eq!(moving.is_unknown(&unknown), None);
        assert_eq!(moving.asked_in_vain(&silence), Some(unknown.clone()));
        assert_eq!(moving.asked_in_vain(&silence), None);
        let mut moving = left_after_timeouts();
        moving.is_unknown(&unknown);
        assert_eq!(moving.works(), None);
        assert_eq!(moving.asked_in_vain(&silence), None);
        for at_once in
            [FailureKind::Unreachable, FailureKind::Lost, FailureKind::UpgradeRefused { status: 503 }]
        {
            let mut moving = left_after_timeouts();
            moving.is_unknown(&unknown);
            let outcomes = (0..3).map(|_| moving.asked_in_vain(&failed(at_once)));
            assert_eq!(outcomes.collect::<Vec<_>>(), [None, None, Some(unknown.clone())], "{at_once:?}");
        }
    }
}
