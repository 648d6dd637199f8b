//! The server's HTTP side: bytes as they come over a connection, or a body in a request that is well formed.
#![no_main]

use bayeux_fuzz::wire::talk;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    match input.split_first() {
        // Bodies, one a line, each in a request of its own.
        Some((b'B', bodies)) => {
            let received = talk(async |connection| {
                for body in bodies.split(|byte| *byte == b'\n').take(8) {
                    let id = connection.client_id();
                    let body = String::from_utf8_lossy(body).replace('@', &id);
                    let head =
                        format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
                    connection.send(head.as_bytes()).await;
                    connection.send(body.as_bytes()).await;
                    connection.settle().await;
                }
            });
            assert!(
                received.starts_with(b"HTTP/1.1 200") || received.starts_with(b"HTTP/1.1 400"),
                "{received:?}"
            );
        }
        _ => drop(talk(async |connection| connection.send(input).await)),
    }
});
