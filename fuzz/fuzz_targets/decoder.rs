//! Any body is either refused or read; what was read can be written and is read the same again.
#![no_main]

use std::time::Duration;

use bayeux_fuzz::ALLOCATED;
use bayeux_proto::codec::{Batch, DecodeError, Decoder, encode, encode_message, join};
use bayeux_proto::{Advice, Data, Interval, Message};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let body = Bytes::copy_from_slice(body);
    requests(&body);
    let mut decoder = Decoder::new();
    let first = match decoder.decode(&body) {
        Ok(batch) => batch,
        Err(error) => {
            // An error text goes into logs: it quotes no more than the beginning.
            assert!(error.to_string().len() < 1000, "{error}");
            assert_eq!(
                Decoder::new().decode(&body),
                Err(error),
                "the outcome depends on what was read before"
            );
            return;
        }
    };
    assert_eq!(decoder.decode(&body).as_ref(), Ok(&first), "remembered names change the outcome");

    let written = encode(&first.messages);
    let second = decoder.decode(&written).expect("what we write, we read");
    assert_eq!(
        second,
        Batch { messages: first.messages.iter().map(in_whole_milliseconds).collect(), skipped: 0 }
    );
    assert_eq!(encode(&second.messages), written, "written twice, it is the same");
    let each: Vec<Bytes> = first.messages.iter().map(encode_message).collect();
    assert_eq!(join(&each), written, "one by one or all at once");
    for message in &first.messages {
        look_at(message);
    }
});

/// As a server reads it: no more than it allows, and for no more memory than that takes.
fn requests(body: &Bytes) {
    const MOST: usize = 20;
    let mut decoder = Decoder::for_requests(MOST);
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let outcome = decoder.decode(body);
    let taken = ALLOCATED.peak_usage().saturating_sub(before);
    assert!(taken <= 64 * 1024 + 8 * body.len(), "{taken} bytes for {}", body.len());
    match outcome {
        Ok(batch) => {
            assert!(batch.messages.len() <= MOST);
            assert_eq!(Decoder::new().decode(body), Ok(batch), "the limit changes the outcome");
        }
        Err(DecodeError::TooMany { most, .. }) => assert_eq!(most, MOST),
        Err(error) => {
            assert!(error.without_quotes().len() < 100, "{error}");
            assert_eq!(Decoder::new().decode(body), Err(error), "the limit changes the outcome");
        }
    }
}

/// Advice travels in whole milliseconds; all else survives as it is.
fn in_whole_milliseconds(message: &Message) -> Message {
    fn whole(span: Duration) -> Duration {
        Duration::from_millis(u64::try_from(span.as_millis()).expect("spans are bounded"))
    }
    fn advice(known: &Advice) -> Advice {
        let mut advice = known.clone();
        advice.timeout = advice.timeout.map(whole);
        advice.max_interval = advice.max_interval.map(whole);
        advice.interval = advice.interval.map(|interval| match interval {
            Interval::Wait(span) => Interval::Wait(whole(span)),
            Interval::Never => Interval::Never,
        });
        advice
    }
    let mut message = message.clone();
    if let Some(known) = &message.fields().advice {
        let rounded = advice(known);
        message.fields_mut().advice = Some(rounded);
    }
    message
}

/// Each view of a message is there, whatever is in it.
fn look_at(message: &Message) {
    use bayeux_proto::ext::{ack, binary, timesync};
    assert_eq!(
        Data::from_json(message.data().as_str()).as_ref().ok(),
        Some(message.data()),
        "one JSON value"
    );
    let _ = format!("{message:?}");
    let _ = (ack::agreed(message), ack::batch(message), ack::is_offered(message));
    let _ = (timesync::Request::read(message), timesync::Reply::read(message));
    if let Some(Ok(binary)) = binary::Binary::read(message) {
        let mut again = Message::new(message.channel().clone());
        binary.write(&mut again).expect("bytes can be written");
        assert_eq!(binary::Binary::read(&again), Some(Ok(binary)));
    }
    if let Some(error) = &message.fields().error {
        let _ = (error.code(), error.text(), error.args().count());
    }
}
