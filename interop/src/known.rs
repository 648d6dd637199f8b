//! What is known not to work, with the reason. Such a cell is played all the same: when it passes, the run fails,
//! because this list must be mended then.

use bayeux::Transport;

/// A limit of one of the two sides.
#[derive(Debug)]
pub(crate) struct Limit {
    client: &'static str,
    server: &'static str,
    /// `None` is each.
    transport: Option<Transport>,
    scenarios: &'static [&'static str],
    /// Whose it is and why, for the table's notes.
    pub(crate) reason: &'static str,
}

const LIMITS: &[Limit] = &[
    Limit {
        client: "aiocometd",
        server: "bayeux",
        transport: None,
        scenarios: &["dismissal"],
        reason: "aiocometd passes over a `/meta/disconnect` of the server's, and over the advice `none` in a \
                 successful reply: it connects again, receives 402, and opens a new session.",
    },
    Limit {
        client: "cometd-js-chromium",
        server: "bayeux",
        transport: Some(Transport::CallbackPolling),
        scenarios: &["1 MiB"],
        reason: "Over callback-polling a message is part of a URL, of which cometd.js makes none longer than 2,000 \
                 characters.",
    },
    Limit {
        client: "faye-chromium",
        server: "bayeux",
        transport: Some(Transport::CallbackPolling),
        scenarios: &["1 MiB"],
        reason: "Over callback-polling a message is part of a URL, and no server takes one of 1 MiB.",
    },
    Limit {
        client: "cometd-js-chromium",
        server: "bayeux",
        transport: Some(Transport::CallbackPolling),
        scenarios: &["cuts"],
        reason: "Chromium takes a response that breaks off within its head for an empty script that has loaded. cometd.js \
                 listens for scripts that do not load, and waits for this one for so long that the session has ended.",
    },
];

/// The limit that this cell runs into, if one is known.
pub(crate) fn limit(
    client: &str,
    server: &str,
    transport: Transport,
    scenario: &str,
) -> Option<&'static Limit> {
    LIMITS.iter().find(|limit| {
        limit.client == client
            && limit.server == server
            && limit.transport.is_none_or(|only| only == transport)
            && limit.scenarios.contains(&scenario)
    })
}
