//! `bayeux inspect`

use serde_json::Value;

use crate::running::{Server, bayeux, nobody};

#[test]
fn it_tells_what_the_server_supports() {
    let server = Server::start();
    bayeux(&["inspect", &server.url]).assert().success().stderr_eq("").stdout_eq(snapbox::str![[r#"
websocket     works: opened in [..]s, round trip [..]s
long-polling  works: opened in [..]s, round trip [..]s
version       1.0
transports    websocket, long-polling
advice        interval 0, reconnect retry, timeout 30000
extensions    [..]

"#]]);
}

#[test]
fn the_same_as_json_without_the_secrets_of_the_url() {
    let server = Server::start();
    let url = format!("{}?token=s3cret", server.url);
    let output = bayeux(&["inspect", &url, "--json", "--transport", "long-polling"]).assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert!(!text.contains("s3cret"), "{text}");
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["url"], server.url);
    let [only] = &found["transports"].as_array().unwrap()[..] else { panic!("{text}") };
    assert_eq!((&only["transport"], &only["works"]), (&"long-polling".into(), &true.into()));
    assert!(only["round_trip_ms"].is_f64(), "{text}");
    assert_eq!(only["server"]["advice"]["reconnect"], "retry");
    assert_eq!(only["server"]["transports"], serde_json::json!(["websocket", "long-polling"]));
}

#[test]
fn each_transport_that_fails_is_reported_with_why() {
    let nobody = nobody();
    bayeux(&["inspect", &nobody]).assert().code(1).stdout_eq(snapbox::str![[r#"
websocket     fails: open: cannot reach http://127.0.0.1:[..]: [..]
long-polling  fails: open: cannot reach http://127.0.0.1:[..]: [..]

"#]]);
    let output = bayeux(&["inspect", &nobody, "--json"]).assert().code(1);
    let found: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(found["transports"][0]["works"], false);
    assert_eq!(found["transports"][0]["error"]["failure"], "unreachable");
}
