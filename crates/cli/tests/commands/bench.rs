//! `bayeux bench`

use crate::running::{Running, Server, bayeux};

const SMALL: [&str; 14] = [
    "--clients",
    "5",
    "--rooms",
    "4",
    "--rooms-per-client",
    "2",
    "--batches",
    "10",
    "--batch-size",
    "3",
    "--batch-pause",
    "1ms",
    "--message-size",
    "20",
];

#[test]
fn every_copy_of_every_message_comes_over_each_transport_with_and_without_acknowledgement() {
    let server = Server::start();
    for transport in ["websocket", "long-polling"] {
        for more in [&["--json"][..], &["--json", "--ack", "--randomize", "--iterations", "2"]] {
            let mut arguments = vec!["bench", &server.url, "--transport", transport];
            arguments.extend(SMALL);
            arguments.extend(more);
            let output = bayeux(&arguments).assert().success().get_output().clone();
            let text = String::from_utf8(output.stdout).unwrap();
            for line in text.lines() {
                let result: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(result["published"], 30, "{line}");
                assert_eq!(result["failed"], 0, "{line}");
                assert!(result["expected"].as_u64() >= Some(30), "each room has a member: {line}");
                assert_eq!(result["received"], result["expected"], "{line}");
                for figure in ["min", "p50", "p99", "p99.9", "max"] {
                    assert!(result["latency_us"][figure].as_u64() > Some(0), "{figure}: {line}");
                }
            }
            assert_eq!(text.lines().count(), if more.len() > 1 { 2 } else { 1 });
        }
    }
}

#[test]
fn people_get_a_histogram() {
    let server = Server::start();
    let mut arguments = vec!["bench", &server.url];
    arguments.extend(SMALL);
    let output = bayeux(&arguments).assert().success().stderr_eq("").get_output().clone();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("out:     30 messages in "), "{text}");
    assert_eq!(text.lines().filter(|line| line.contains(" | ")).count(), 20, "{text}");
    assert!(text.contains("\nlatency: p50 "), "{text}");
}

#[test]
fn a_server_that_refuses_is_reported() {
    bayeux(&["bench", "http://127.0.0.1:9/cometd", "--clients", "1"]).assert().code(1);
}

#[test]
fn a_server_that_goes_down_is_reported_once() {
    let mut server = Server::start();
    let arguments = ["--clients", "3", "--rooms", "1", "--rooms-per-client", "1", "--batches", "1000000"];
    let mut process = Running::start(&[&["bench", &server.url], &arguments[..]].concat());
    let subscriber = Running::start(&["subscribe", &server.url, "/bench/**", "--count", "1"]);
    subscriber.line();
    server.process.kill();
    process.error_with("warning: connection lost: ");
    process.error_with("warning: trying again in ");
    #[cfg(unix)]
    {
        process.signal(rustix::process::Signal::INT);
        assert_eq!(process.exit_code(), 130);
        let losses = process.rest().1.into_iter().filter(|line| line.contains("connection lost"));
        assert_eq!(losses.count(), 0, "one client reports for all");
    }
}

#[test]
fn a_channel_that_cannot_be_is_reported() {
    for wrong in ["a", "", "/", "/*", "/a/", "/a/**"] {
        bayeux(&["bench", "http://127.0.0.1:9/cometd", &format!("--channel={wrong}")]).assert().code(2);
    }
}
