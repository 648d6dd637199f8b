//! `bayeux serve`

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::running::{Running, Server, bayeux};

#[test]
fn it_prints_a_url_that_works_over_both_transports() {
    let server = Server::start();
    assert!(server.url.starts_with("http://127.0.0.1:") && server.url.ends_with("/cometd"), "{}", server.url);
    for transport in ["websocket", "long-polling"] {
        bayeux(&["request", &server.url, "/service/echo", r#"{"ping": 1}"#, "--transport", transport])
            .assert()
            .success()
            .stdout_eq("{\"ping\": 1}\n");
    }
}

#[test]
fn callback_polling_is_to_be_asked_for() {
    const QUERY: &str = "jsonp=f&message=%5B%7B%22channel%22%3A%22%2Fmeta%2Fhandshake%22%7D%5D";
    for (more, beginning) in [(None, "HTTP/1.1 400"), (Some("--callback-polling"), "HTTP/1.1 200")] {
        let options: Vec<&str> = ["--port", "0"].into_iter().chain(more).collect();
        let server = Server::with(&options);
        let mut stream = TcpStream::connect(("127.0.0.1", server.port().parse().unwrap())).unwrap();
        write!(stream, "GET /cometd?{QUERY} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.starts_with(beginning), "{response}");
        assert_eq!(response.contains("/**/f([{"), more.is_some(), "{response}");
    }
}

/// The status of a handshake that a page of some origin sends.
fn handshake_from(server: &Server, origin: Option<&str>) -> String {
    const BODY: &str =
        r#"[{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["long-polling"]}]"#;
    let port = server.port();
    let origin =
        origin.map(|origin| format!("Origin: {}\r\n", origin.replace("PORT", &port))).unwrap_or_default();
    let mut stream = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap();
    let length = BODY.len();
    write!(
        stream,
        "POST /cometd HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{origin}Content-Length: {length}\r\n\
         Connection: close\r\n\r\n{BODY}"
    )
    .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response["HTTP/1.1 ".len()..][..3].to_owned()
}

#[test]
fn pages_of_other_sites_are_to_be_let_in() {
    let server = Server::start();
    for (origin, status) in [
        (None, "200"),
        (Some("http://127.0.0.1:PORT"), "200"),
        (Some("http://127.0.0.1:1"), "403"),
        (Some("https://evil.example"), "403"),
        (Some("null"), "403"),
    ] {
        assert_eq!(handshake_from(&server, origin), status, "{origin:?}");
    }
    let server =
        Server::with(&["--port", "0", "--origin", "https://a.example", "--origin", "https://b.example"]);
    assert_eq!(handshake_from(&server, Some("https://a.example")), "200");
    assert_eq!(handshake_from(&server, Some("https://b.example")), "200");
    assert_eq!(handshake_from(&server, Some("http://127.0.0.1:PORT")), "200");
    assert_eq!(handshake_from(&server, Some("https://evil.example")), "403");
    let server = Server::with(&["--port", "0", "--origin", "any"]);
    assert_eq!(handshake_from(&server, Some("https://evil.example")), "200");
}

#[cfg(unix)]
#[test]
fn an_interruption_is_its_good_end_and_its_clients_are_reported() {
    let mut server = Server::start();
    let subscriber = Running::start(&["subscribe", &server.url, "/a", "--events"]);
    subscriber.error_with("\"subscribed\"");
    server.process.signal(rustix::process::Signal::INT);
    assert_eq!(server.process.exit_code(), 0);
    subscriber.error_with("\"event\":\"lost\"");
}

#[test]
fn a_port_that_is_taken_is_reported_with_what_to_do() {
    let server = Server::start();
    bayeux(&["serve", "--port", &server.port()]).assert().code(2).stderr_eq(snapbox::str![[r#"
error: cannot listen on 127.0.0.1, port [..]: [..]
 hint: --port 0 picks a free port

"#]]);
}

#[test]
fn an_address_of_another_machine_is_reported() {
    // TEST-NET-1: nobody has it.
    bayeux(&["serve", "--host", "192.0.2.1", "--port", "0"]).assert().code(2).stderr_eq(snapbox::str![[r#"
error: cannot listen on 192.0.2.1, port 0: [..]
 hint: --host must be an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all addresses

"#]]);
}

#[test]
fn the_log_goes_to_standard_error() {
    let process = Running::start(&["serve", "--port", "0", "-v"]);
    let url = process.line();
    bayeux(&["publish", &url, "/a", "1"]).assert().success();
    process.error_with("session event");
}
