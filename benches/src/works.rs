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
}

impl Work {
    fn new(group: &'static str, task: Task, transport: Transport) -> Self {
        Self {
            group,
            name: transport.name().to_owned(),
            task,
            transport,
            per_frame: bulk(transport),
            size: 200,
            count: 1,
            ack: false,
            tls: false,
            peers: false,
        }
    }

    fn named(self, what: &str) -> Self {
        Self { name: format!("{}, {what}", self.name), ..self }
    }

    /// The work that the path of the feed's URL names.
    pub(crate) fn feed(&self) -> String {
        let channels = if self.task == Task::Receive { self.count } else { 1 };
        let keep = if self.task == Task::Idle { "-k2" } else { "" };
        format!("n{}-s{}-c{channels}-a{}{keep}", self.per_frame, self.size, u8::from(self.ack))
    }

    /// What a user would call it on the command line.
    pub(crate) fn id(&self) -> String {
        format!("{}: {}", self.group, self.name)
    }

    /// The same, small enough to check only that it works.
    pub(crate) fn shortened(self) -> Self {
        let most = match self.task {
            Task::Idle => 50,
            _ => 2000,
        };
        Self { count: self.count.min(most), ..self }
    }
}

pub(crate) const RECEIVE: &str = "Receive";
pub(crate) const VARIANTS: &str = "Receive, with more asked for";
pub(crate) const SUBSCRIPTIONS: &str = "Receive on many subscriptions";
pub(crate) const LONG: &str = "Receive for long";
pub(crate) const PUBLISH: &str = "Publish and request";
pub(crate) const IDLE: &str = "Idle clients";

const BOTH: [Transport; 2] = [Transport::Websocket, Transport::LongPolling];

/// How many messages come together unless stated otherwise: a busy server has some for a frame, and more for a reply
/// to a poll, which comes later.
fn bulk(transport: Transport) -> usize {
    match transport {
        Transport::Websocket => 10,
        Transport::LongPolling => 100,
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Work> {
    let mut works = Vec::new();
    BOTH.into_iter().for_each(|transport| works.extend(receive(transport)));
    BOTH.into_iter().for_each(|transport| works.extend(variants(transport)));
    for count in [1, 10, 100, 1000] {
        let work = Work::new(SUBSCRIPTIONS, Task::Receive, Transport::Websocket);
        works.push(Work { count, ..work }.named(&thousands(count, "subscription")));
    }
    for transport in BOTH {
        for count in [1_000, 100_000, 10_000_000] {
            let work = Work::new(LONG, Task::Long, transport);
            works.push(Work { count, ..work }.named(&format!("after {}", thousands(count, "message"))));
        }
    }
    for transport in BOTH {
        let work = |task| Work { per_frame: 1, peers: true, ..Work::new(PUBLISH, task, transport) };
        works.push(work(Task::Publish).named("one publish after the other"));
        works.push(Work { count: 256, ..work(Task::Pipelined) }.named("256 publishes at once"));
        works.push(Work { peers: false, ..work(Task::Request) }.named("one request after the other"));
    }
    for transport in BOTH {
        for count in [200, 10_000] {
            let work = Work::new(IDLE, Task::Idle, transport);
            works.push(Work { count, peers: count == 200, ..work }.named(&thousands(count, "client")));
        }
    }
    works
}

/// Not each size with each number: the numbers with messages of the usual size, the sizes with the usual number, and
/// large messages as they mostly come, alone.
fn receive(transport: Transport) -> Vec<Work> {
    let few = 10;
    let what = [(1, 200), (10, 200), (100, 200), (few, 50), (few, 2048), (few, 65536), (1, 65536)];
    let work = |(per_frame, size)| {
        // The clients of others do those whose ratios are of interest.
        let peers = size == 200
            && (per_frame == bulk(transport) || (transport, per_frame) == (Transport::Websocket, 1));
        Work { per_frame, size, peers, ..Work::new(RECEIVE, Task::Receive, transport) }.named(&format!(
            "{}, {}",
            together(transport, per_frame),
            bytes(size)
        ))
    };
    what.into_iter().map(work).collect()
}

/// The usual, and one thing more.
fn variants(transport: Transport) -> Vec<Work> {
    let together = together(transport, bulk(transport));
    let work = |task, name: &str| Work::new(VARIANTS, task, transport).named(&format!("{together}, {name}"));
    vec![
        work(Task::Typed, "decoded by the user"),
        work(Task::Stream, "from a typed stream"),
        Work { tls: true, ..work(Task::Receive, "TLS") },
        // Each batch waits for the one before to be acknowledged, so there are more messages in each.
        Work { per_frame: 100, ack: true, ..Work::new(VARIANTS, Task::Receive, transport) }
            .named("100 a batch, acknowledged"),
    ]
}

fn together(transport: Transport, count: usize) -> String {
    match transport {
        Transport::Websocket => format!("{count} a frame"),
        Transport::LongPolling => format!("{count} a reply"),
    }
}

fn bytes(size: usize) -> String {
    if size < 1024 { format!("{size} B") } else { format!("{} KiB", size / 1024) }
}

/// As in "1 client", and "10,000 clients".
fn thousands(count: usize, what: &str) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{text} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_work_has_a_name_of_its_own() {
        let mut names: Vec<String> = all().iter().map(Work::id).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(
            names.contains(&"Receive for long: websocket, after 10,000,000 messages".to_owned()),
            "{names:?}"
        );
    }
}
