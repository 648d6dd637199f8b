//! `bayeux publish`

use crate::running::{Running, Server, bayeux};

#[test]
fn the_reply_of_the_server_is_printed() {
    let server = Server::start();
    bayeux(&["publish", &server.url, "/a", r#"{"n": 1}"#])
        .assert()
        .success()
        .stdout_eq("{\"channel\":\"/a\",\"id\":\"[..]\",\"successful\":true}\n")
        .stderr_eq("");
}

#[test]
fn lines_of_the_input_are_published_in_their_order_and_bad_ones_passed_over() {
    let server = Server::start();
    let subscriber = Running::start(&["subscribe", &server.url, "/n", "--events"]);
    subscriber.error_with("\"subscribed\"");
    let input = b"1\n\n{bad\n\"two\"\n\xff\xfe\n[3]".as_slice();
    let published = bayeux(&["publish", &server.url, "/n", "-"]).stdin(input).assert().code(2);
    let output = published.get_output();
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 3);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("error: line 3 is no JSON: "), "{errors}");
    assert!(errors.contains(": {bad\n"), "{errors}");
    assert!(errors.contains("error: line 5 is not UTF-8\n"), "{errors}");
    for data in ["1", "\"two\"", "[3]"] {
        assert_eq!(subscriber.line(), format!(r#"{{"channel":"/n","data":{data}}}"#));
    }
}

#[test]
fn a_thousand_lines_arrive_in_their_order() {
    let server = Server::start();
    for transport in ["websocket", "long-polling"] {
        let mut subscriber = Running::start(&["subscribe", &server.url, "/n", "--count", "1000", "--events"]);
        subscriber.error_with("\"subscribed\"");
        let input: String = (0..1000).map(|n| format!("{n}\n")).collect();
        let published = bayeux(&["publish", &server.url, "/n", "-", "--transport", transport]).stdin(input);
        let output = published.assert().success().get_output().clone();
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1000);
        for n in 0..1000 {
            assert_eq!(subscriber.json()["data"], n);
        }
        assert_eq!(subscriber.exit_code(), 0);
    }
}

#[test]
fn no_json_is_told_with_how_to_write_it() {
    let server = Server::start();
    bayeux(&["publish", &server.url, "/a", "hello"]).assert().code(2).stdout_eq("").stderr_eq(snapbox::str![
        [r#"
error: the payload is no JSON: expected value at line 1 column 1: hello
 hint: a text is written '"text"', an object '{"name": 1}': with both kinds of quotes

"#]
    ]);
}

#[test]
fn a_pattern_cannot_be_published_to() {
    let server = Server::start();
    bayeux(&["publish", &server.url, "/a/*", "1"]).assert().code(2).stderr_eq(snapbox::str![[r#"
error: publish to /a/*: /a/* is a pattern; a message is published to one channel

"#]]);
}

#[test]
fn it_publishes_although_nobody_reads_the_reply() {
    let server = Server::start();
    let subscriber = Running::start(&["subscribe", &server.url, "/a", "--events"]);
    subscriber.error_with("\"subscribed\"");
    let mut command = crate::running::command();
    let mut child = command
        .args(["publish", &server.url, "/a", "1"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
    assert_eq!(subscriber.line(), r#"{"channel":"/a","data":1}"#);
}
