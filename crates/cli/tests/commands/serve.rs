//! `bayeux serve`

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

#[cfg(unix)]
#[test]
fn an_interruption_is_its_good_end_and_its_clients_are_told() {
    let mut server = Server::start();
    let subscriber = Running::start(&["subscribe", &server.url, "/a", "--events"]);
    subscriber.error_with("\"subscribed\"");
    server.process.signal(rustix::process::Signal::INT);
    assert_eq!(server.process.exit_code(), 0);
    subscriber.error_with("\"event\":\"lost\"");
}

#[test]
fn a_port_that_is_taken_is_told_with_what_to_do() {
    let server = Server::start();
    bayeux(&["serve", "--port", &server.port()]).assert().code(2).stderr_eq(snapbox::str![[r#"
error: cannot listen at 127.0.0.1, port [..]: [..]
 hint: --port 0 takes a free port

"#]]);
}

#[test]
fn an_address_of_another_machine_is_told() {
    // TEST-NET-1: nobody has it.
    bayeux(&["serve", "--host", "192.0.2.1", "--port", "0"]).assert().code(2).stderr_eq(snapbox::str![[r#"
error: cannot listen at 192.0.2.1, port 0: [..]
 hint: --host takes an address of this machine: 127.0.0.1, or 0.0.0.0 for all

"#]]);
}

#[test]
fn the_log_goes_to_standard_error() {
    let process = Running::start(&["serve", "--port", "0", "-v"]);
    let url = process.line();
    bayeux(&["publish", &url, "/a", "1"]).assert().success();
    process.error_with("session event");
}
