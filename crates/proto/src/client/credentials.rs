//! The credentials of the client: whether there are any, whether the server accepts them, and when to ask for others.

use serde_json::{Map, Value};

/// What is known of the credentials. Each answer to a question for credentials begins a new generation; a refusal
/// counts only if it is about the current one.
#[derive(Debug)]
pub(super) struct Credentials {
    /// Whether credentials can be asked for at all.
    available: bool,
    /// A question is open.
    asking: bool,
    generation: u64,
    /// The server has accepted nothing since they were given.
    unproven: bool,
    /// They took the place of others that the server refused.
    renewed: bool,
    ext: Map<String, Value>,
}

/// What to do after the server refused credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refresh {
    /// Ask for new ones, and try again with them.
    Ask,
    /// Try again: newer ones are there, or a question is open already.
    TryAgain,
    /// New ones would be refused as well.
    Hopeless,
}

/// Whether a handshake or connect can go out with the credentials at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    Ready,
    /// Ask for the first ones.
    Ask,
    /// A question is open.
    Asking,
}

impl Credentials {
    pub(super) fn new(available: bool) -> Self {
        Self { available, asking: false, generation: 0, unproven: false, renewed: false, ext: Map::default() }
    }

    /// The client is opened: credentials that the server never accepted are asked for again.
    pub(super) fn begin(&mut self) {
        if self.unproven {
            *self = Self::new(self.available);
        }
    }

    /// Whether a question is open.
    pub(super) fn asking(&self) -> bool {
        self.asking
    }

    /// The generation in use: what goes out is stamped with it.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The keys for the `ext` of handshakes.
    pub(super) fn ext(&self) -> &Map<String, Value> {
        &self.ext
    }

    /// Whether a handshake can go out. Opens a question if there were never any credentials.
    pub(super) fn ready(&mut self) -> Readiness {
        if self.asking {
            return Readiness::Asking;
        }
        if self.needs_first() {
            self.asking = true;
            return Readiness::Ask;
        }
        Readiness::Ready
    }

    fn needs_first(&self) -> bool {
        self.available && self.generation == 0
    }

    /// The server refused the credentials of `generation`. Opens a question if that can help.
    pub(super) fn refused(&mut self, generation: u64) -> Refresh {
        if !self.available {
            return Refresh::Hopeless;
        }
        if self.asking || generation != self.generation {
            return Refresh::TryAgain;
        }
        // The first ones may be old; those that took their place are fresh.
        if self.unproven && self.renewed {
            return Refresh::Hopeless;
        }
        self.asking = true;
        Refresh::Ask
    }

    /// The server accepted something that was sent with them.
    pub(super) fn accepted(&mut self) {
        self.unproven = false;
    }

    /// After a pause a refusal may lead to a question again, even if the last answer was refused.
    pub(super) fn permit_question(&mut self) {
        self.unproven = false;
    }

    /// The answer to a question. Returns `None` if no question was open, otherwise whether others were in use before.
    pub(super) fn answered(&mut self, given: Option<Map<String, Value>>) -> Option<bool> {
        if !std::mem::take(&mut self.asking) {
            return None;
        }
        let renewed = self.generation > 0;
        if let Some(ext) = given {
            self.generation += 1;
            self.unproven = true;
            self.renewed = renewed;
            self.ext = ext;
        }
        Some(renewed)
    }

    /// The client is closed: an answer that comes later counts for nothing.
    pub(super) fn withdraw_question(&mut self) {
        self.asking = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given() -> Option<Map<String, Value>> {
        Some(Map::default())
    }

    #[test]
    fn fresh_credentials_that_are_refused_are_not_renewed_at_once() {
        let mut credentials = Credentials::new(true);
        assert_eq!(credentials.ready(), Readiness::Ask);
        assert_eq!(credentials.ready(), Readiness::Asking);
        assert_eq!(credentials.answered(given()), Some(false));
        assert_eq!(credentials.ready(), Readiness::Ready);
        assert_eq!(credentials.refused(1), Refresh::Ask, "the first may be old");
        assert_eq!(credentials.refused(1), Refresh::TryAgain, "a question is open");
        assert_eq!(credentials.answered(given()), Some(true));
        assert_eq!(credentials.refused(1), Refresh::TryAgain, "it is about older ones");
        assert_eq!(credentials.refused(2), Refresh::Hopeless);
        credentials.permit_question();
        assert_eq!(credentials.refused(2), Refresh::Ask);
        assert_eq!(credentials.answered(given()), Some(true));
        credentials.accepted();
        assert_eq!(credentials.refused(3), Refresh::Ask);
    }

    #[test]
    fn an_answer_without_a_question_counts_for_nothing() {
        let mut credentials = Credentials::new(true);
        assert_eq!(credentials.answered(given()), None);
        assert_eq!(credentials.ready(), Readiness::Ask);
        credentials.withdraw_question();
        assert_eq!(credentials.answered(given()), None);
        assert_eq!(credentials.generation(), 0);
        assert_eq!(credentials.ready(), Readiness::Ask);
        assert_eq!(credentials.answered(None), Some(false));
        assert_eq!(credentials.ready(), Readiness::Ask, "there are still none");
    }

    #[test]
    fn without_a_source_nothing_is_asked() {
        let mut credentials = Credentials::new(false);
        assert_eq!(credentials.ready(), Readiness::Ready);
        assert_eq!(credentials.refused(0), Refresh::Hopeless);
    }

    #[test]
    fn what_was_never_accepted_is_asked_for_again_when_the_client_is_opened() {
        let mut credentials = Credentials::new(true);
        credentials.ready();
        credentials.answered(given());
        credentials.begin();
        assert_eq!(credentials.ready(), Readiness::Ask);
        credentials.answered(given());
        credentials.accepted();
        credentials.begin();
        assert_eq!(credentials.ready(), Readiness::Ready);
    }
}
