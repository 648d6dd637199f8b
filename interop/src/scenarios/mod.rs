//! What is tried with each pair over each transport: the same for every client and every server.

mod basics;
mod recovery;
mod refusals;
mod services;
mod volume;

use std::pin::Pin;
use std::time::Duration;

use crate::cell::Cell;
use crate::outcome::Outcome;
use crate::peers::Need;

/// One column of the tables.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What it shows, for the legend.
    pub(crate) shows: &'static str,
    /// What both sides must have; else it is not tried.
    pub(crate) needs: &'static [Need],
    /// How long it may take on a busy machine.
    limit: Duration,
    play: for<'a> fn(&'a Cell<'a>) -> Play<'a>,
}

type Play<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

impl Scenario {
    /// Plays it.
    pub(crate) async fn run(&self, cell: &Cell<'_>) -> Outcome {
        match tokio::time::timeout(self.limit, (self.play)(cell)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("not done within {:?}", self.limit).into()),
        }
    }
}

const SHORT: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(120);

pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "quickstart",
        shows: "open, subscribe, publish, receive, unsubscribe (then nothing comes), close, open again",
        needs: &[Need::Publish],
        limit: SHORT,
        play: |cell| Box::pin(basics::quickstart(cell)),
    },
    Scenario {
        name: "push",
        shows: "what the server itself publishes is received, by name and by pattern",
        needs: &[Need::ServerPublish],
        limit: SHORT,
        play: |cell| Box::pin(basics::push(cell)),
    },
    Scenario {
        name: "chat",
        shows: "two users, one of the client under test and one of ours, 50 messages to and fro",
        needs: &[Need::Publish],
        limit: SHORT,
        play: |cell| Box::pin(basics::chat(cell)),
    },
    Scenario {
        name: "wildcards",
        shows: "`/wild/*` and `/wild/**` get what they should and nothing else",
        needs: &[Need::Publish],
        limit: SHORT,
        play: |cell| Box::pin(basics::wildcards(cell)),
    },
    Scenario {
        name: "payloads",
        shows: "`false`, `0`, `\"\"`, `null`, `[]`, `{}`, text of all planes, numbers and nesting arrive as they were",
        needs: &[Need::Publish],
        limit: SHORT,
        play: |cell| Box::pin(basics::payloads(cell)),
    },
    Scenario {
        name: "batch",
        shows: "100 messages in one request, confirmed and in order",
        needs: &[Need::Publish, Need::Batch],
        limit: SHORT,
        play: |cell| Box::pin(volume::batch(cell)),
    },
    Scenario {
        name: "1 MiB",
        shows: "a message of 1 MiB, sent and received",
        needs: &[Need::Publish, Need::Large],
        limit: SHORT,
        play: |cell| Box::pin(volume::large(cell)),
    },
    Scenario {
        name: "10,000",
        shows: "10,000 messages received in order, and 2,000 sent",
        needs: &[Need::Publish],
        limit: LONG,
        play: |cell| Box::pin(volume::many(cell)),
    },
    Scenario {
        name: "refusals",
        shows: "a refused subscribe and publish are reported with the code 403, and hurt nothing else",
        needs: &[Need::Publish, Need::Refusal],
        limit: SHORT,
        play: |cell| Box::pin(refusals::messages(cell)),
    },
    Scenario {
        name: "denied",
        shows: "a refused handshake is reported with the code 403, and not tried again",
        needs: &[Need::HandshakeRefusal],
        limit: SHORT,
        play: |cell| Box::pin(refusals::handshake(cell)),
    },
    Scenario {
        name: "service",
        shows: "questions on `/service/echo` get their own answers; a service's failure is reported",
        needs: &[Need::Request],
        limit: SHORT,
        play: |cell| Box::pin(services::request(cell)),
    },
    Scenario {
        name: "timesync",
        shows: "the server answers the timesync extension",
        needs: &[Need::Timesync],
        limit: SHORT,
        play: |cell| Box::pin(services::timesync(cell)),
    },
    Scenario {
        name: "windows",
        shows: "two windows of one browser, which share their cookies: both receive all messages, and if the server holds \
                no connect for the second, its advice says so",
        needs: &[Need::Windows, Need::ServerPublish],
        limit: SHORT,
        play: |cell| Box::pin(services::windows(cell)),
    },
    Scenario {
        name: "cuts",
        shows: "the line is cut 5 times while messages flow, in the midst of some: with the acknowledge extension \
                nothing is lost and nothing comes twice",
        needs: &[Need::Publish, Need::Ack],
        limit: LONG,
        play: |cell| Box::pin(recovery::cuts(cell)),
    },
    Scenario {
        name: "restart",
        shows: "the server is killed and started again: the subscription is restored",
        needs: &[Need::ServerPublish],
        limit: LONG,
        play: |cell| Box::pin(recovery::restart(cell)),
    },
    Scenario {
        name: "expiry",
        shows: "the line is down until the server has forgotten the session: the subscription is restored",
        needs: &[Need::ServerPublish],
        limit: LONG,
        play: |cell| Box::pin(recovery::expiry(cell)),
    },
    Scenario {
        name: "dismissal",
        shows: "the server ends the session: the client says so, and does not come back",
        needs: &[Need::Dismissal],
        limit: SHORT,
        play: |cell| Box::pin(recovery::dismissal(cell)),
    },
];
