//! What a client did, in the words of the table.

/// What was seen of a client in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// What is right.
    Right,
    /// Something else.
    Wrong(&'static str),
    /// The client lacks what the scenario is about.
    NotPlayed,
}

impl Verdict {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Right => "✓",
            Self::Wrong(what) => what,
            Self::NotPlayed => "–",
        }
    }
}

/// Something is right, or else this was seen.
pub(super) fn right_if(is: bool, otherwise: &'static str) -> Verdict {
    if is { Verdict::Right } else { Verdict::Wrong(otherwise) }
}

// Of the session.

/// Attempts without a pause that could be called one.
pub(super) const HOT_LOOP: &str = "hot loop";
/// It tries no more, and reports nothing.
pub(super) const SILENT: &str = "stops in silence";
/// It tries no more, and the user can know.
pub(super) const GIVES_UP: &str = "stops, says so";
/// It goes on, but what is published does not reach the user.
pub(super) const DEAF: &str = "goes on, receives nothing";
/// It has left a session that the server still has.
pub(super) const NEW_SESSION: &str = "new session";
/// It goes on with a session that the server does not have.
pub(super) const DEAD_SESSION: &str = "keeps the dead session";
/// It has a new session, but not the subscription of the old one.
pub(super) const SUBSCRIPTION_LOST: &str = "subscription lost";
/// The same, and nothing is reported.
pub(super) const LOST_IN_SILENCE: &str = "lost in silence";
/// It was sent away, and does not stay away.
pub(super) const COMES_BACK: &str = "comes back";
/// It connects without the name of a session.
pub(super) const NO_SESSION: &str = "connects without a session";
/// It connects with a transport that the server does not have.
pub(super) const ALL_THE_SAME: &str = "connects all the same";
/// It stays with a transport that does not work.
pub(super) const NO_FALLBACK: &str = "does not fall back";
/// It takes a connection that is dead for one that lives.
pub(super) const NOT_NOTICED: &str = "does not notice";
/// An exception that the user cannot catch ends the process.
pub(super) const ENDS_PROCESS: &str = "ends the process";
/// Neither success nor failure.
pub(super) const HANGS: &str = "hangs";

// Of messages and calls.

/// What came with a reply does not reach the user.
pub(super) const LOSES: &str = "loses messages";
/// The same, and the user can know.
pub(super) const LOSES_AND_SAYS: &str = "loses it, says so";
/// The same, and the user cannot.
pub(super) const LOSES_IN_SILENCE: &str = "loses it in silence";
/// Messages do not reach the user in the order in which they came.
pub(super) const ANOTHER_ORDER: &str = "another order";
/// A message reaches the user twice.
pub(super) const TWICE: &str = "delivers twice";
/// A success is taken for a failure.
pub(super) const FAILURE: &str = "takes it for a failure";
/// More than one connect is outstanding.
pub(super) const TWO_CONNECTS: &str = "two connects at once";
/// A call neither succeeds nor fails.
pub(super) const NEVER_ENDS: &str = "the call never ends";
/// A call succeeds that the server did not confirm.
pub(super) const SAYS_DONE: &str = "says that it is done";
/// It acknowledges less than it got.
pub(super) const NO_ACK: &str = "does not acknowledge";
/// It acknowledges more than it got.
pub(super) const FALSE_ACK: &str = "acknowledges what it did not get";
