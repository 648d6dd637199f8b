//! Why a client does what it does, for each cell that is not as it should be.

/// What stands in a note.
#[derive(Debug)]
pub(super) struct Reason {
    clients: &'static [&'static str],
    scenarios: &'static [&'static str],
    /// What was seen; a cell with something else needs another reason.
    seen: &'static str,
    pub(super) why: &'static str,
}

/// The reason for what was seen.
pub(super) fn find(client: &str, scenario: &str, seen: &str) -> Option<&'static Reason> {
    ALL.iter().find(|reason| {
        reason.seen == seen && reason.clients.contains(&client) && reason.scenarios.contains(&scenario)
    })
}

const JAVA: &str = "cometd-java";
const JS: &str = "cometd-js";
const AIO: &str = "aiocometd";

const ALL: &[Reason] = &[
    Reason {
        clients: &[JAVA, JS],
        scenarios: &["another id", "no id", "number for id"],
        seen: "stops in silence",
        why: "A connect reply whose `id` is not that of the connect, as the same text, is dropped; as the HTTP response \
              was a success, nothing starts the next connect. (CometD for Java reads a number as a text.)",
    },
    Reason {
        clients: &[AIO],
        scenarios: &["refused at once", "refused again", "402, no advice"],
        seen: "hot loop",
        why: "aiocometd waits for the advised interval before the next attempt, and adds no pause of its own: with the \
              interval 0 it asks hundreds of times a second. Without advice it goes on with the dead session.",
    },
    Reason {
        clients: &[JS],
        scenarios: &["broken frame"],
        seen: "ends the process",
        why: "`JSON.parse` throws in the listener of the WebSocket, where nothing catches it, and Node.js ends a process for \
              that. A browser would report it on its console.",
    },
    Reason {
        clients: &[JAVA, JS],
        scenarios: &["swallowed"],
        seen: "does not fall back",
        why: "A WebSocket that was open once counts as supported from then on (the option `stickyReconnect`, on by \
              default): the handshake is tried over WebSocket again and again.",
    },
    Reason {
        clients: &[AIO],
        scenarios: &["swallowed", "no upgrade"],
        seen: "does not fall back",
        why: "aiocometd handshakes over long-polling, chooses a transport from what the server offers, and does not choose \
              another when that fails.",
    },
    Reason {
        clients: &[JAVA, JS],
        scenarios: &["402, no advice"],
        seen: "keeps the dead session",
        why: "CometD's clients follow the advice and do not look at the error's code; without advice a refused connect is \
              tried again, after pauses.",
    },
    Reason {
        clients: &[AIO],
        scenarios: &["restore refused"],
        seen: "lost in silence",
        why: "aiocometd sends the subscriptions together with the connect, and takes a refused one off its list; the reply \
              reaches nobody.",
    },
    Reason {
        clients: &[AIO],
        scenarios: &["sent away", "none, granted"],
        seen: "comes back",
        why: "aiocometd passes over a `/meta/disconnect` of the server's, and looks at `reconnect` in refusals only.",
    },
    Reason {
        clients: &[JAVA],
        scenarios: &["none, granted"],
        seen: "comes back",
        why: "CometD for Java looks at `reconnect` in refusals only.",
    },
    Reason {
        clients: &[JS],
        scenarios: &["handshake, retry"],
        seen: "connects without a session",
        why: "cometd.js follows the advice `retry` with a connect, whatever was refused.",
    },
    Reason {
        clients: &[JAVA, JS],
        scenarios: &["no clientId"],
        seen: "connects without a session",
        why: "CometD's clients take a granted handshake as it is, and do not look whether it has a `clientId`.",
    },
    Reason {
        clients: &[JAVA],
        scenarios: &["one object", "advice as text"],
        seen: "takes it for a failure",
        why: "An object is cast to a list, and the exception (`ClassCastException`) makes the exchange a failure; so it is with \
              an advice that is a text.",
    },
    Reason {
        clients: &[JS],
        scenarios: &["one object"],
        seen: "takes it for a failure",
        why: "cometd.js finds no messages in an object, and reports what it reports for an empty response.",
    },
    Reason {
        clients: &[JAVA],
        scenarios: &["no messages"],
        seen: "takes it for a failure",
        why: "A null among the messages is a `NullPointerException`, which makes the exchange a failure.",
    },
    Reason {
        clients: &[JAVA],
        scenarios: &["no channel"],
        seen: "stops, says so",
        why: "After a message without a channel nothing starts the next connect; `isConnected()` is false from then on, but no \
              listener is called.",
    },
    Reason {
        clients: &[JAVA],
        scenarios: &["advice of wrong types"],
        seen: "stops in silence",
        why: "After an interval that is no number nothing starts the next connect; `isConnected()` stays true.",
    },
    Reason {
        clients: &[JS],
        scenarios: &["absurd advice"],
        seen: "takes it for a failure",
        why: "A timer of JavaScript for so long a time ends at once, so that each further connect fails before its reply comes.",
    },
    Reason {
        clients: &[AIO],
        scenarios: &["one object", "no channel", "no messages"],
        seen: "takes it for a failure",
        why: "What is no list of messages with channels is an exception (`TypeError`, `KeyError`); nothing of the response is \
              taken, and aiocometd tries again after 1 s.",
    },
    Reason {
        clients: &[AIO],
        scenarios: &["no id", "number for id"],
        seen: "takes it for a failure",
        why: "aiocometd finds the reply by its `id`, as the same text; a response without it is a failed request, though \
              the other messages are delivered.",
    },
    Reason {
        clients: &[AIO],
        scenarios: &["advice of wrong types"],
        seen: "takes it for a failure",
        why: "An interval that is no number is an exception in the pause before the next connect, which counts as a failed \
              connect.",
    },
    Reason {
        clients: &[AIO],
        scenarios: &["advice as text"],
        seen: "stops in silence",
        why: "An advice that is no object is an exception where the next connect would be started, and it never is.",
    },
    Reason {
        clients: &[JAVA],
        scenarios: &["2 MiB"],
        seen: "loses it, says so",
        why: "CometD for Java takes responses of 1 MiB at most, unless `maxMessageSize` says more. A listener of \
              `/meta/connect` is notified; the messages are lost without the acknowledge extension.",
    },
];
