//! The works: what is measured.

use crate::job::{Task, Transport};

/// One row of the table.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) group: &'static str,
    pub(crate) name: String,
    pub(crate) task: Task,
    pub(crate) transport: Transport,
    pub(crate) per_frame: usize,
    pub(crate) size: usize,
    /// As of a job.
    pub(crate) count: usize,
    pub(crate) ack: bool,
    pub(crate) tls: bool,
    /// Whether the clients of others do it, too.
    pub(crate) peers: bool,
    /// Whether it is part of the short form, which only checks that all works.
    pub(crate) short: bool,
}

impl Work {
    fn new(group: &'static str, task: Task, transport: Transport) -> Self {
        let name = transport.name().to_owned();
        Self {
            group,
            name,
            task,
            transport,
            per_frame: 10,
            size: 200,
            count: 1,
            ack: false,
            tls: false,
            peers: false,
            short: true,
        }
    }

    fn named(self, what: &str) -> Self {
        Self { name: format!("{}, {what}", self.name), ..self }
    }

    /// What the path of the feed's URL says.
    pub(crate) fn feed(&self) -> String {
        let channels = if self.task == Task::Receive { self.count } else { 1 };
        format!("n{}-s{}-c{channels}-a{}", self.per_frame, self.size, u8::from(self.ack))
    }

    /// What a user would call it on the command line.
    pub(crate) fn id(&self) -> String {
        format!("{}: {}", self.group, self.name)
    }
}

pub(crate) const RECEIVE: &str = "Receive";
pub(crate) const VARIANTS: &str = "Receive, with more asked for";
pub(crate) const SUBSCRIPTIONS: &str = "Receive on many subscriptions";
pub(crate) const PUBLISH: &str = "Publish";
pub(crate) const IDLE: &str = "Idle clients";

/// All of them.
pub(crate) fn all() -> Vec<Work> {
    const BOTH: [Transport; 2] = [Transport::Websocket, Transport::LongPolling];
    let mut works = Vec::new();
    for transport in BOTH {
        for per_frame in [1, 10, 100] {
            for (size, name) in [(50, "50 B"), (200, "200 B"), (2048, "2 KiB"), (65536, "64 KiB")] {
                let work = Work::new(RECEIVE, Task::Receive, transport);
                let work = Work { per_frame, size, peers: size == 200, short: size == 200, ..work };
                works.push(work.named(&format!("{per_frame} a frame, {name}")));
            }
        }
    }
    for transport in BOTH {
        let per_frame = if transport == Transport::Websocket { 10 } else { 100 };
        let work = |task, name| {
            Work { per_frame, ..Work::new(VARIANTS, task, transport) }
                .named(&format!("{per_frame} a frame, 200 B, {name}"))
        };
        works.push(work(Task::Typed, "decoded"));
        works.push(
            Work { ack: true, per_frame: 100, ..Work::new(VARIANTS, Task::Receive, transport) }
                .named("100 a turn, 200 B, acknowledged"),
        );
        works.push(Work { tls: true, ..work(Task::Receive, "TLS") });
    }
    for count in [1, 10, 100, 1000] {
        let work = Work::new(SUBSCRIPTIONS, Task::Receive, Transport::Websocket);
        works.push(Work { count, short: count == 100, ..work }.named(&format!("{count} subscriptions")));
    }
    for transport in BOTH {
        let work = |task| Work { per_frame: 1, peers: true, ..Work::new(PUBLISH, task, transport) };
        works.push(work(Task::Publish).named("one after the other"));
        works.push(Work { count: 256, ..work(Task::Pipelined) }.named("256 at once"));
        works.push(Work { peers: false, ..work(Task::Request) }.named("request and answer"));
    }
    for transport in BOTH {
        let work = || Work { per_frame: 1, ..Work::new(IDLE, Task::Idle, transport) };
        works.push(Work { count: 200, peers: true, ..work() }.named("200"));
        works.push(Work { count: 10_000, short: false, ..work() }.named("10,000"));
    }
    works
}
