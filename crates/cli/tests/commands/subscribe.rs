//! `bayeux subscribe`

use std::time::{Duration, Instant};

use crate::running::{Running, Server, TIME_LIMIT, bayeux, nobody};

fn subscribe(server: &Server, args: &[&str]) -> Running {
    let mut all = vec!["subscribe", &server.url];
    all.extend(args);
    all.push("--events");
    let process = Running::start(&all);
    process.error_with("\"subscribed\"");
    process
}

#[test]
fn each_message_is_a_line_and_the_count_ends_it() {
    let server = Server::start();
    for transport in ["websocket", "long-polling"] {
        let mut subscriber = subscribe(&server, &["/chat/**", "--count", "2", "--transport", transport]);
        server.publish("/chat/demo", r#"{"n": 12345678901234567890.10}"#);
        server.publish("/other", "0");
        server.publish("/chat/a/b", r#""text""#);
        assert_eq!(subscriber.line(), r#"{"channel":"/chat/demo","data":{"n": 12345678901234567890.10}}"#);
        assert_eq!(subscriber.line(), r#"{"channel":"/chat/a/b","data":"text"}"#);
        assert_eq!(subscriber.exit_code(), 0);
    }
}

#[test]
fn several_channels_and_a_time() {
    let server = Server::start();
    let start = Instant::now();
    let mut subscriber =
        Running::start(&["subscribe", &server.url, "/a", "/b", "--for", "1500ms", "--events"]);
    subscriber.error_with("\"channel\":\"/b\"");
    server.publish("/b", "1");
    assert_eq!(subscriber.line(), r#"{"channel":"/b","data":1}"#);
    assert_eq!(subscriber.exit_code(), 0);
    assert!(start.elapsed() >= Duration::from_millis(1500));
    assert_eq!(subscriber.rest().0, Vec::<String>::new());
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let server = Server::start();
    let mut reader = Running::of(std::process::Command::new("sh").arg("-c").arg(format!(
        "{{ '{}' subscribe {} /a; echo \"exit $?\" >&2; }} | head -n 1",
        env!("CARGO_BIN_EXE_bayeux"),
        server.url
    )));
    publish_until_it_comes(&server, &reader);
    // No other message is needed for it to notice.
    assert_eq!(reader.error_with(""), "exit 0");
    assert_eq!(reader.exit_code(), 0);
    assert_eq!(reader.rest().1, Vec::<String>::new());
}

/// Publishes to /a until the reader has printed a line: it is not known when it has subscribed.
fn publish_until_it_comes(server: &Server, reader: &Running) {
    let deadline = Instant::now() + TIME_LIMIT;
    while reader.line_within(Duration::from_millis(50)).is_none() {
        assert!(Instant::now() < deadline, "nothing comes");
        server.publish("/a", "1");
    }
}

#[cfg(unix)]
#[test]
fn an_interruption_closes_cleanly() {
    use rustix::process::Signal;
    let server = Server::start();
    let signals = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)];
    for (signal, code) in signals {
        if signal == Signal::HUP && crate::running::hang_up_is_ignored() {
            continue;
        }
        let mut subscriber = subscribe(&server, &["/a"]);
        subscriber.signal(signal);
        assert_eq!(subscriber.exit_code(), code);
        let (output, errors) = subscriber.rest();
        assert_eq!(output, Vec::<String>::new());
        let last = errors.last().unwrap();
        assert_eq!(last, r#"{"event":"closed","reason":"requested","text":"the client was closed"}"#);
    }
}

#[test]
fn a_server_that_comes_back_is_subscribed_to_again() {
    let mut server = Server::start();
    // Without --events, events are reported as sentences.
    let subscriber = Running::start(&["subscribe", &server.url, "/a", "--outage-timeout", "none"]);
    publish_until_it_comes(&server, &subscriber);
    server.restart();
    subscriber.error_with("warning: connection lost: ");
    subscriber.error_with("warning: messages on /a may have been missed");
    subscriber.error_with("warning: connected again over websocket");
    server.publish("/a", "\"after\"");
    subscriber.json_where(|line| line["data"] == "after");
}

#[test]
fn a_server_that_stays_away_ends_it() {
    let mut server = Server::start();
    let mut subscriber = subscribe(&server, &["/a", "--outage-timeout", "200ms"]);
    server.process.kill();
    let error = subscriber.error_with("error:");
    assert_eq!(error, format!("error: the connection to {} was not restored within 200ms", server.url));
    subscriber.error_with(" hint: --outage-timeout sets how long");
    assert_eq!(subscriber.exit_code(), 4);
}

#[test]
fn a_server_that_is_not_there_is_reported_with_what_to_do() {
    bayeux(&["subscribe", &nobody(), "/a"]).assert().code(1).stdout_eq("").stderr_eq(snapbox::str![[r#"
error: open: cannot reach http://127.0.0.1:[..]/cometd: [..]
 hint: check the address and the port, and whether the server is running

"#]]);
}

#[test]
fn a_channel_that_is_none_is_reported() {
    let server = Server::start();
    bayeux(&["subscribe", &server.url, "a"]).assert().code(2).stderr_eq(snapbox::str![[r#"
error: subscribe: invalid channel name "a": it must begin with '/'

"#]]);
}

/// As `nohup` starts a command.
#[cfg(unix)]
#[test]
fn a_command_that_is_to_outlive_its_terminal_does() {
    use rustix::process::Signal;
    let server = Server::start();
    let mut subscriber = Running::of(std::process::Command::new("sh").arg("-c").arg(format!(
        "trap '' HUP; exec '{}' subscribe {} /a --events",
        env!("CARGO_BIN_EXE_bayeux"),
        server.url
    )));
    subscriber.error_with("\"subscribed\"");
    subscriber.signal(Signal::HUP);
    server.publish("/a", "1");
    assert_eq!(subscriber.line(), r#"{"channel":"/a","data":1}"#);
    subscriber.signal(Signal::INT);
    assert_eq!(subscriber.exit_code(), 130);
}

#[test]
fn what_a_terminal_would_obey_goes_to_a_pipe_as_it_came() {
    let server = Server::start();
    let subscriber = subscribe(&server, &["/a"]);
    let data = "{\"\u{9b}31m\":\"\u{202e}\u{2028}\u{200b}\u{7f}\u{e0041}\"}";
    server.publish("/a", data);
    assert_eq!(subscriber.line(), format!("{{\"channel\":\"/a\",\"data\":{data}}}"));
}

/// A server that grants a session with a long advised interval, to one request after the other.
fn advising(interval: u64) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/cometd", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.ends_with(b"]") {
                match stream.read(&mut buffer) {
                    Ok(read @ 1..) => request.extend_from_slice(&buffer[..read]),
                    _ => break,
                }
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let Some((_, body)) = request.split_once("\r\n\r\n") else { continue };
            let Ok(messages) = serde_json::from_str::<Vec<serde_json::Value>>(body) else { continue };
            let replies = messages.iter().map(|message| {
                serde_json::json!({"channel": message["channel"], "id": message["id"], "successful": true,
                    "clientId": "c", "version": "1.0", "supportedConnectionTypes": ["long-polling"],
                    "subscription": message["subscription"],
                    "advice": {"reconnect": "retry", "interval": interval, "timeout": 30000}})
            });
            let body = serde_json::Value::from(replies.collect::<Vec<_>>()).to_string();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    url
}

#[test]
fn an_advised_wait_that_is_too_long_is_reported_and_the_limit_is_an_option() {
    let url = advising(1 << 40);
    let mut waiting = Running::start(&["subscribe", &url, "/a", "--transport", "long-polling"]);
    let text = waiting.error_with("the server asked to wait");
    assert!(text.contains("1h is used") && text.contains("--max-advised-wait"), "{text}");
    waiting.kill();

    let args =
        ["subscribe", &url, "/a", "--transport", "long-polling", "--max-advised-wait", "20ms", "--events"];
    let mut connected = Running::start(&args);
    connected.error_with("\"connected\"");
    connected.kill();
}
