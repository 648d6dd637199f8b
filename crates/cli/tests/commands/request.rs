//! `bayeux request`

use crate::running::{Server, bayeux};

#[test]
fn the_answer_of_the_service_is_printed_as_it_came() {
    let server = Server::start();
    let data = r#"{"n": 12345678901234567890.10}"#;
    bayeux(&["request", &server.url, "/service/echo", data])
        .assert()
        .success()
        .stdout_eq(format!("{data}\n"))
        .stderr_eq("");
}

#[test]
fn a_refusal_of_the_service_is_reported() {
    let server = Server::start();
    bayeux(&["request", &server.url, "/service/members", r#"{"user": "ann", "room": "/nowhere"}"#])
        .assert()
        .code(3)
        .stdout_eq("")
        .stderr_eq(snapbox::str![[r#"
error: request to /service/members: the server refused: 400::the name of a chat room is /chat/NAME

"#]]);
}

#[test]
fn a_channel_that_is_no_service_is_reported() {
    let server = Server::start();
    bayeux(&["request", &server.url, "/chat/demo", "1"]).assert().code(2).stderr_eq(snapbox::str![[r#"
error: request to /chat/demo: /chat/demo is no service channel; only those answer requests

"#]]);
}

#[test]
fn a_service_that_does_not_answer_is_reported_in_time() {
    let server = Server::start();
    let joins = r#"{"user": "ann", "room": "/chat/demo"}"#;
    bayeux(&["request", &server.url, "/service/members", joins]).assert().code(4).stderr_eq(snapbox::str![[
        r#"
error: request to /service/members: no reply within 10.0s
 hint: check that the server has a service on this channel; without one, the server sends no reply

"#
    ]]);
}

#[test]
fn the_payload_may_come_from_a_file_or_standard_input() {
    let server = Server::start();
    let file = crate::running::folder("request-payload").join("payload.json").display().to_string();
    std::fs::write(&file, "\u{feff}{\n  \"n\": 1\n}\n").unwrap();
    for data in [format!("@{file}"), "-".to_owned(), "@-".to_owned()] {
        bayeux(&["request", &server.url, "/service/echo", &data])
            .stdin("{\n  \"n\": 1\n}\n")
            .assert()
            .success()
            .stdout_eq("{   \"n\": 1 }\n");
    }
    for (input, error) in
        [("", "there is no payload"), ("1 2", "there is more than one"), ("{", "line 1 is no JSON: ")]
    {
        let output = bayeux(&["request", &server.url, "/service/echo", "-"]).stdin(input).assert().code(2);
        let errors = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(errors.contains(error), "{errors}");
    }
}

#[test]
fn a_service_that_does_not_exist_is_told_at_once() {
    let server = Server::start();
    bayeux(&["request", &server.url, "/service/nobody", "1"]).assert().code(3).stderr_eq(snapbox::str![[
        r#"
error: request to /service/nobody: the server refused: 404::unknown_service

"#
    ]]);
}
