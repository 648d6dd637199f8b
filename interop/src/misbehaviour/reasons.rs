//! Why a client does what it does, for each cell that is not as it should be.

/// What stands in a note.
#[derive(Debug)]
pub(super) struct Reason {
    pub(super) client: &'static str,
    pub(super) scenarios: &'static [&'static str],
    /// What was seen; a cell with something else needs another reason.
    pub(super) seen: &'static str,
    pub(super) why: &'static str,
}

pub(super) const ALL: &[Reason] = &[Reason {
    client: "aiocometd",
    scenarios: &["refused at once"],
    seen: "hot loop",
    why: "aiocometd waits for the advised interval and for nothing else before it follows the advice of a refused \
          reply; with the interval 0 it asks hundreds of times a second.",
}];

/// The reason for what was seen.
pub(super) fn find(client: &str, scenario: &str, seen: &str) -> Option<&'static Reason> {
    ALL.iter()
        .find(|reason| reason.client == client && reason.seen == seen && reason.scenarios.contains(&scenario))
}
