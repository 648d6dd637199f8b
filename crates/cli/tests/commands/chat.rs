//! `bayeux chat` without a terminal: lines in, lines out.

use crate::running::{Running, Server, bayeux};

fn chat(server: &Server, name: &str) -> Running {
    let process = Running::start(&["chat", &server.url, name]);
    assert_eq!(process.line(), format!("You are {name} in demo. /help lists the commands."));
    process
}

#[test]
fn two_people_see_each_other_come_talk_and_leave() {
    let server = Server::start();
    let mut ann = chat(&server, "ann");
    assert_eq!(ann.line(), "here: ann");
    let mut bob = chat(&server, "bob");
    assert_eq!(bob.line(), "here: ann, bob");
    assert_eq!(ann.line(), "bob has joined");
    ann.say("grüße 日本語 🎉");
    for person in [&ann, &bob] {
        assert_eq!(person.line(), "ann: grüße 日本語 🎉");
    }
    bob.say("/who");
    assert_eq!(bob.line(), "here: ann, bob");
    bob.say("//who");
    for person in [&ann, &bob] {
        assert_eq!(person.line(), "bob: /who");
    }
    bob.say("/nonsense at all");
    assert!(bob.line().starts_with("/nonsense is not a command: /who lists the members"));
    bob.say("/quit");
    assert_eq!(bob.exit_code(), 0);
    assert_eq!(ann.line(), "bob has left");
    ann.end_input();
    assert_eq!(ann.exit_code(), 0);
    assert_eq!(ann.rest().1, Vec::<String>::new());
}

#[test]
fn who_vanishes_has_left_when_the_server_has_noticed() {
    let server = Server::with(&["--port", "0", "--max-interval", "500ms"]);
    let ann = chat(&server, "ann");
    assert_eq!(ann.line(), "here: ann");
    let mut bob = chat(&server, "bob");
    assert_eq!(bob.line(), "here: ann, bob");
    assert_eq!(ann.line(), "bob has joined");
    bob.kill();
    assert_eq!(ann.line(), "bob has left");
}

#[test]
fn the_users_of_the_demo_s_web_page_are_understood() {
    let server = Server::start();
    let page = Running::start(&["subscribe", &server.url, "/chat/demo", "--events"]);
    page.error_with("\"subscribed\"");
    let ann = chat(&server, "ann");
    assert_eq!(ann.line(), "here: ann");
    let joined = page.json()["data"].clone();
    assert_eq!(joined, serde_json::json!({"user": "ann", "membership": "join", "chat": "ann has joined"}));
    server.publish("/chat/demo", r#"{"user": "eve", "chat": "hi\u001b[2J\nthere"}"#);
    assert_eq!(ann.line(), "eve: hi[2J there", "others do not drive the terminal");
}

#[test]
fn a_server_that_comes_back_is_joined_again() {
    let mut server = Server::start();
    let mut ann = chat(&server, "ann");
    assert_eq!(ann.line(), "here: ann");
    server.restart();
    let mut printed = Vec::new();
    while printed.last().is_none_or(|line| line != "here: ann") {
        printed.push(ann.line());
    }
    assert!(printed[0].starts_with("connection lost: "), "{printed:?}");
    assert!(printed.contains(&"connected again over websocket".to_owned()), "{printed:?}");
    ann.say("still here");
    assert_eq!(ann.line(), "ann: still here");
}

#[test]
fn what_is_typed_before_the_end_of_the_input_is_sent() {
    let server = Server::start();
    let page = Running::start(&["subscribe", &server.url, "/chat/room", "--events"]);
    page.error_with("\"subscribed\"");
    bayeux(&["chat", &server.url, "ann", "--room", "room"]).stdin("hello\n").assert().success();
    let said: Vec<_> = (0..3).map(|_| page.json()["data"]["chat"].clone()).collect();
    assert_eq!(said, ["ann has joined", "hello", "ann has left"]);
}

#[test]
fn names_and_rooms_that_cannot_be_are_reported() {
    bayeux(&["chat", "http://localhost/cometd", " "]).assert().code(2);
    bayeux(&["chat", "http://localhost/cometd", "ann", "--room", "a/b"]).assert().code(2);
    bayeux(&["chat", "http://localhost/cometd", "ann", "--room", "*"]).assert().code(2);
}

#[test]
fn lines_of_the_input_end_in_any_way_and_those_that_cannot_be_are_passed_over() {
    let server = Server::start();
    let page = Running::start(&["subscribe", &server.url, "/chat/room", "--events"]);
    page.error_with("\"subscribed\"");
    let input = b"\xef\xbb\xbfa1\r\na2\ra3\na\xff4\n\ra5\r\r\na6".as_slice();
    let output = bayeux(&["chat", &server.url, "ann", "--room", "room"]).stdin(input).assert().success();
    let output = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(output.contains("not sent: line 3 is not UTF-8"), "{output}");
    let said: Vec<_> = (0..7).map(|_| page.json()["data"]["chat"].clone()).collect();
    assert_eq!(said, ["ann has joined", "a1", "a2", "a3", "a5", "a6", "ann has left"]);
}
