//! Where a replayed subscription begins, as its user says it.

/// Where a subscription begins, at a server that keeps the events of its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Replay {
    /// With what comes from now on.
    Tip,
    /// With the oldest event that the server keeps.
    All,
    /// With the event after the one of this id.
    After(i64),
}

/// What happens if the server does not keep the event after which a subscription is to begin, because it is too old, say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReplayFallback {
    /// The subscription begins with the oldest event that the server keeps. The default: nothing that is still there is missed.
    #[default]
    All,
    /// The subscription begins with what comes from now on.
    Tip,
    /// The subscription ends with an error.
    Fail,
}
