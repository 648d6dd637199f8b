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
