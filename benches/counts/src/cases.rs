//! What is counted.

use std::hint::black_box;

use bayeux_proto::client::Operation;
use bayeux_proto::codec::{Decoder, encode};
use bayeux_proto::{Channel, Data, Message};
use bytes::Bytes;

use crate::peer::Peer;

type Case = fn(usize);

pub(crate) const CASES: &[(&str, Case)] = &[
    ("decode an event of 200 bytes", |rounds| decode(&events(1, 1), rounds)),
    ("decode ten events of 200 bytes", |rounds| decode(&events(10, 1), rounds)),
    ("decode ten events on ten channels", |rounds| decode(&events(10, 10), rounds)),
    ("decode a reply to a publish", |rounds| {
        decode(r#"[{"channel":"/chat/demo","id":"1234","successful":true}]"#, rounds);
    }),
    ("decode a reply to a connect", |rounds| {
        decode(
            r#"[{"channel":"/meta/connect","id":"7","successful":true,"advice":{"interval":0,"timeout":30000,"reconnect":"retry"},"ext":{"ack":12}}]"#,
            rounds,
        );
    }),
    ("decode what the quick reader leaves alone", |rounds| {
        decode(r#"[{"ch\u0061nnel":"/chat/demo","data":{"x":1}}]"#, rounds);
    }),
    ("encode a publish of 200 bytes", encode_publish),
    ("a session takes a frame of one event", |rounds| receive(1, 1, rounds)),
    ("a session takes a frame of ten events", |rounds| receive(10, 1, rounds)),
    ("a session routes an event to one of 1,000 subscriptions", |rounds| receive(1, 1000, rounds)),
    ("a session publishes, and takes the reply", publish),
];

fn event(channel: usize) -> String {
    let text = "x".repeat(140);
    format!(r#"{{"channel":"/feed/{channel}/x","data":{{"n":{channel},"text":"{text}"}}}}"#)
}

fn events(count: usize, channels: usize) -> String {
    let events: Vec<String> = (0..count).map(|n| event(n % channels)).collect();
    format!("[{}]", events.join(","))
}

fn decode(json: &str, rounds: usize) {
    let body = Bytes::copy_from_slice(json.as_bytes());
    let mut decoder = Decoder::new();
    for _ in 0..rounds {
        let _ = black_box(decoder.decode(black_box(&body)));
    }
}

fn payload() -> Data {
    Data::from(serde_json::json!({ "text": "x".repeat(140) }))
}

fn encode_publish(rounds: usize) {
    let message = Message::new(Channel::from_wire("/chat/demo")).with_id(1234).with_data(payload());
    for _ in 0..rounds {
        black_box(encode([black_box(&message)]));
    }
}

fn receive(count: usize, channels: usize, rounds: usize) {
    let names = (0..channels).map(|n| match n % 3 {
        0 => format!("/feed/{n}/x"),
        1 => format!("/feed/{n}/*"),
        _ => format!("/feed/{n}/**"),
    });
    let mut peer = Peer::connected(names);
    let mut decoder = Decoder::new();
    let bodies: Vec<Bytes> =
        (0..channels).map(|n| format!("[{}]", vec![event(n); count].join(","))).map(Bytes::from).collect();
    for round in 0..rounds {
        let messages = decoder.decode(&bodies[round % channels]).map(|batch| batch.messages);
        black_box(peer.receive(messages.unwrap_or_default()));
    }
}

fn publish(rounds: usize) {
    let mut peer = Peer::connected(std::iter::empty());
    let (channel, data) = (Channel::from_wire("/chat/demo"), payload());
    for _ in 0..rounds {
        black_box(peer.call(Operation::Publish { channel: channel.clone(), data: data.clone() }));
    }
}
