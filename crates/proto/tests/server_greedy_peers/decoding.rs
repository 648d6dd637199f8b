//! What a body costs while it is read.

use bayeux_proto::codec::{DecodeError, Decoder};
use bayeux_proto::ext::{ack, timesync};
use bytes::Bytes;

use super::harness::{Server, allocated, alone, array, message};

/// How much is allocated at most to decode a body as a server does.
fn decoded(body: String) -> (Result<usize, DecodeError>, usize) {
    let body = Bytes::from(body);
    let mut decoder = Decoder::for_requests(10_000);
    let (outcome, _, peak) = allocated(|| decoder.decode(&body).map(|batch| batch.messages.len()));
    (outcome, peak)
}

#[test]
fn a_batch_with_too_many_messages_is_refused_while_it_is_read() {
    let _alone = alone();
    for element in ["{}", r#"{"channel":"/a"}"#, r#"{"\u0063hannel":"/a"}"#, r#"{"id":1}"#] {
        let body = format!("[{}]", vec![element; 340_001].join(","));
        let (outcome, peak) = decoded(body);
        assert!(matches!(outcome, Err(DecodeError::TooMany { most: 10_000, .. })), "{element}: {outcome:?}");
        // The ten thousand that are allowed, and the room that a vector has for more.
        assert!(peak < 8 << 20, "{element}: {peak} bytes");
    }
}

#[test]
fn what_messages_have_in_them_is_bounded_too() {
    let _alone = alone();
    let many = |element: &str, count: usize| vec![element; count].join(",");
    let distinct = (0..100_000).map(|n| format!(r#""a{n}":0"#)).collect::<Vec<_>>().join(",");
    for (what, body, refused) in [
        ("names", format!(r#"[{{"subscription":[{}]}}]"#, many(r#""""#, 300_000)), true),
        ("transports", format!(r#"[{{"supportedConnectionTypes":[{}]}}]"#, many(r#""""#, 300_000)), true),
        ("unknown fields", format!("[{{{distinct}}}]"), true),
        ("unknown fields, the same", format!("[{{{}}}]", many(r#""a":0"#, 150_000)), true),
        ("advice", format!(r#"[{{"advice":{{{distinct}}}}}]"#), false),
        ("advice in a list", format!(r#"[{{"advice":{{"hosts":[{}]}}}}]"#, many(r#""""#, 300_000)), false),
        ("advice in advice", format!(r#"[{{"advice":{{"interval":[{}]}}}}]"#, many("[]", 300_000)), false),
        ("no messages", format!("[{}]", many("1", 500_000)), false),
        ("one channel's name", format!(r#"[{{"channel":"{}"}}]"#, "a".repeat(1 << 20)), false),
    ] {
        let size = body.len();
        let (outcome, peak) = decoded(body);
        assert_eq!(outcome.is_err(), refused, "{what}");
        assert!(peak < 2 * size + (4 << 20), "{what}: {peak} bytes for {size}");
    }
}

#[test]
fn the_engine_looks_into_extensions_without_building_them() {
    let _alone = alone();
    let zeros = format!("[{}0]", "0,".repeat(400_000));
    let keys = (0..80_000).map(|n| format!(r#""k{n}":[]"#)).collect::<Vec<_>>().join(",");
    for ext in [
        format!(r#"{{"ack":{zeros}}}"#),
        format!(r#"{{"timesync":{zeros}}}"#),
        format!(r#"{{"timesync":{{"tc":1,"x":{zeros}}}}}"#),
        format!("{{{keys}}}"),
    ] {
        let body = Bytes::from(format!(r#"[{{"channel":"/meta/connect","ext":{ext}}}]"#));
        let message = Decoder::new().decode(&body).unwrap().messages.remove(0);
        let (_, _, peak) = allocated(|| {
            let _ = (ack::is_offered(&message), ack::batch(&message), timesync::Request::read(&message));
        });
        assert!(peak < 64 << 10, "{peak} bytes");
    }
    // What others may see of it is copied, and nothing else.
    let mut server = Server::new();
    let id = server.session();
    let keys = format!(r#"{{{keys},"binary":{{"a":1}}}}"#);
    let published = message(&id, "/a", "1").replace(r#""data""#, &format!(r#""ext":{keys},"data""#));
    server.subscribe(&id, "/a");
    let messages = server.post(&array([published]));
    assert_eq!(messages[0]["ext"].to_string(), r#"{"binary":{"a":1}}"#);
}

#[test]
fn a_decoder_remembers_little_of_the_names_it_has_seen() {
    let _alone = alone();
    let mut decoder = Decoder::for_requests(10_000);
    let bodies: Vec<Bytes> = (0..50)
        .map(|n| array((0..1000).map(|m| format!(r#"{{"channel":"/{n}/{m}/{}"}}"#, "x".repeat(240)))).into())
        .collect();
    let ((), kept, _) = allocated(|| {
        for body in &bodies {
            decoder.decode(body).unwrap();
        }
    });
    assert!(kept < 32 << 10, "{kept} bytes");
}
