//! Advice: three pieces of it, one a line. Merging takes what is said, keeps what is not, and is the same in any
//! grouping; no time is beyond what a clock can add.
#![no_main]

use std::time::Duration;

use bayeux_proto::codec::Decoder;
use bayeux_proto::{Advice, Interval};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|lines: &str| {
    let pieces: Vec<Advice> = lines.splitn(3, '\n').filter_map(read).collect();
    for piece in &pieces {
        bounded(piece);
    }
    let [first, second, rest @ ..] = pieces.as_slice() else { return };
    let merged = merge(first, second);
    assert_eq!(merge(&merged, second), merged, "merging the same advice twice changes nothing");
    assert_eq!(merge(first, first), *first);
    assert_eq!(merge(first, &Advice::default()), *first, "what says nothing changes nothing");
    assert_eq!(merge(&Advice::default(), first), *first);
    assert_eq!(merged.reconnect, second.reconnect.or(first.reconnect));
    assert_eq!(merged.interval, second.interval.or(first.interval));
    assert_eq!(merged.timeout, second.timeout.or(first.timeout));
    assert_eq!(merged.max_interval, second.max_interval.or(first.max_interval));
    assert_eq!(merged.multiple_clients, second.multiple_clients.or(first.multiple_clients));
    assert_eq!(merged.hosts, second.hosts.clone().or(first.hosts.clone()));
    if let Some(third) = rest.first() {
        assert_eq!(merge(&merged, third), merge(first, &merge(second, third)), "in any grouping");
    }
});

fn read(json: &str) -> Option<Advice> {
    let body = Bytes::from(format!(r#"[{{"channel":"/meta/connect","advice":{json}}}]"#));
    let batch = Decoder::new().decode(&body).ok()?;
    batch.messages.first()?.fields().advice.clone()
}

fn merge(old: &Advice, newer: &Advice) -> Advice {
    let mut merged = old.clone();
    merged.merge(newer);
    merged
}

fn bounded(advice: &Advice) {
    const LONGEST: Duration = Duration::from_secs(101 * 366 * 86_400);
    let interval = match advice.interval {
        Some(Interval::Wait(span)) => Some(span),
        Some(Interval::Never) | None => None,
    };
    for span in [advice.timeout, advice.max_interval, interval].into_iter().flatten() {
        assert!(span < LONGEST, "{advice:?}");
    }
}
