//! The options of a connection.

use std::io::{Read, Write};

use crate::running::{Running, Server, bayeux, nobody};

/// Accepts one connection, answers it with a status, and gives what was sent.
pub(crate) fn one_request(status: &str) -> (String, std::thread::JoinHandle<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/cometd", listener.local_addr().unwrap());
    let response = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let request = head_of(&mut stream);
        stream.write_all(response.as_bytes()).unwrap();
        request
    });
    (url, thread)
}

/// What a client sends up to the end of its headers, in lower case.
pub(crate) fn head_of(stream: &mut std::net::TcpStream) -> String {
    stream.set_read_timeout(Some(crate::running::TIME_LIMIT)).unwrap();
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the request broke off");
        request.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&request).to_lowercase()
}

#[test]
fn headers_and_cookies_are_sent() {
    let (url, request) = one_request("401 Unauthorized");
    bayeux(&[
        "publish",
        &url,
        "/a",
        "1",
        "--transport",
        "long-polling",
        "--header",
        "Authorization: Bearer t0ken",
        "--header",
        "X-Two: 2",
        "--cookie",
        "sid=c00kie",
    ])
    .assert()
    .code(1)
    .stderr_eq(snapbox::str![[r#"
error: open: [..] answered HTTP 401 [..]
 hint: the server requires credentials: --header "Authorization: Bearer …", or --cookie name=value

"#]]);
    let request = request.join().unwrap();
    for part in ["authorization: bearer t0ken\r\n", "x-two: 2\r\n", "cookie: sid=c00kie\r\n"] {
        assert!(request.contains(part), "{request}");
    }
}

/// A server behind a proxy: its name is not looked up, and is not that of a loopback address, to which such cookies
/// are always sent.
#[test]
fn secure_cookies_are_sent_over_http_if_the_user_says_so() {
    for (flags, sent) in [(&[][..], false), (&["--secure-cookies-over-http"][..], true)] {
        let (proxy, request) = second_request(
            r#"[{"channel":"/meta/handshake","successful":true,"version":"1.0","clientId":"c","id":"1",
                "supportedConnectionTypes":["long-polling"]}]"#,
            "sid=c00kie; Secure",
        );
        let url = "http://cometd.test/cometd";
        let mut args = vec!["publish", url, "/a", "1", "--transport", "long-polling", "--proxy", &proxy];
        args.extend(flags);
        let process = Running::start(&args);
        let request = request.join().unwrap();
        assert_eq!(request.contains("cookie: sid=c00kie\r\n"), sent, "{request}");
        if !sent {
            process.error_with("--secure-cookies-over-http sends them");
        }
    }
}

/// Answers the first request with a reply and a cookie; the second, which ends the server.
fn second_request(reply: &str, cookie: &str) -> (String, std::thread::JoinHandle<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: application/json\r\nSet-Cookie: {cookie}\r\n\
         Connection: close\r\n\r\n{reply}",
        reply.len()
    );
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        head_of(&mut stream);
        stream.write_all(response.as_bytes()).unwrap();
        drop(stream);
        head_of(&mut listener.accept().unwrap().0)
    });
    (url, thread)
}

/// On a machine that permits too few open files, an error says so and how to change it.
#[cfg(unix)]
#[test]
fn too_many_open_files_are_reported_with_the_limit() {
    let server = Server::start();
    let mut refused = 0;
    for limit in 8..32 {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {limit}; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_bayeux")]);
        shell.args(["publish", &server.url, "/a", "1", "--transport", "long-polling"]);
        shell.env("BAYEUX_CONFIG", concat!(env!("CARGO_TARGET_TMPDIR"), "/no-config.toml"));
        let output =
            snapbox::cmd::Command::from_std(shell).timeout(crate::running::TIME_LIMIT).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        if error.contains("error: open: ") && error.contains("open files") {
            refused += 1;
            assert!(error.contains("hint: this machine permits no more open files"), "{limit}: {error}");
        }
    }
    assert!(refused > 0, "no limit was too low for a connection alone");
}

#[test]
fn the_status_of_a_wrong_path_is_reported_with_a_hint() {
    let (url, request) = one_request("404 Not Found");
    bayeux(&["publish", &url, "/a", "1", "--transport", "websocket"]).assert().code(1).stderr_eq(
        snapbox::str![[r#"
error: open: [..] answered HTTP 404 Not Found to the WebSocket upgrade
 hint: check the path, which is usually /cometd

"#]],
    );
    request.join().unwrap();
}

#[test]
fn the_transports_are_used_in_their_order() {
    let server = Server::start();
    for order in [["long-polling", "websocket"], ["websocket", "long-polling"]] {
        let mut pipe =
            Running::start(&["pipe", &server.url, "--transport", order[0], "--transport", order[1]]);
        let opened = pipe.json_where(|line| line["type"] == "opened");
        assert_eq!(opened["transport"], order[0]);
        pipe.end_input();
        assert_eq!(pipe.exit_code(), 0);
    }
}

#[test]
fn the_log_shows_what_travels_and_no_secrets() {
    let server = Server::start();
    let url = server.url.replace("http://", "http://user:s3cret@") + "?token=s3cret";
    for transport in ["websocket", "long-polling"] {
        let output = bayeux(&[
            "publish",
            &url,
            "/a",
            r#"{"password": "s3cret", "n": 1}"#,
            "-v",
            "--events",
            "--transport",
            transport,
            "--header",
            "Authorization: Bearer s3cret",
            "--cookie",
            "sid=s3cret",
        ])
        .assert()
        .success();
        let log = String::from_utf8(output.get_output().stderr.clone()).unwrap();
        assert!(log.contains(&format!("> {transport} [{{")), "{log}");
        assert!(log.contains(r#""clientId":"…""#) && log.contains(r#""n":1"#), "{log}");
        assert!(!log.contains("s3cret"), "{log}");
    }
}

#[test]
fn errors_have_no_secrets() {
    let url = nobody().replace("http://", "http://user:s3cret@") + "?token=s3cret";
    let proxy = nobody().replace("http://", "http://user:s3cret@");
    for args in [
        &["publish", &url, "/a", "1"][..],
        &["publish", &url, "/a", "1", "-v", "--events"],
        &["publish", "ftp://user:s3cret@host/", "/a", "1"],
        &["publish", "user:s3cret@host/", "/a", "1"],
        &["publish", &url, "/a", "1", "--header", "Authorization Bearer s3cret"],
        &["publish", &url, "/a", "1", "--cookie", "s3cret"],
        &["publish", &url, "/a", "1", "--proxy", &proxy],
        &["publish", &url, "/a", "1", "--proxy", "gopher://user:s3cret@host"],
        &["pipe", &url],
        &["inspect", &url, "--json"],
    ] {
        let output = bayeux(args).assert().failure().get_output().clone();
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!printed.is_empty() && !printed.contains("s3cret"), "{args:?}: {printed}");
    }
}

#[test]
fn a_url_that_is_none_is_reported_with_how_to_write_it() {
    bayeux(&["inspect", "localhost:8080/cometd"]).assert().code(2).stderr_eq(snapbox::str![[r#"
error: the URL of the server lacks http://, https://, ws:// or wss://
 hint: write it as http://localhost:8080/cometd

"#]]);
    bayeux(&["inspect", "ftp://localhost/"]).assert().code(2).stderr_eq(snapbox::str![[r#"
error: configuration: "ftp://localhost/" is not a valid URL of a server: it begins with ftp:// instead of http://, https://, ws:// or wss://

"#]]);
}

/// A label of 64 letters is one too many: no name server need be asked.
#[test]
fn a_host_that_does_not_exist_is_named() {
    let host = format!("{}.invalid", "n".repeat(64));
    let output = bayeux(&["publish", &format!("http://{host}/cometd"), "/a", "1"]).assert().code(1);
    let error = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(
        error.starts_with(&format!("error: open: cannot reach http://{host}/cometd: unknown host")),
        "{error}"
    );
    assert!(error.contains(&format!(" hint: no address was found for {host}: ")), "{error}");
}

#[test]
fn a_server_without_tls_is_reported() {
    let server = Server::start();
    let url = server.url.replace("http://", "https://");
    bayeux(&["publish", &url, "/a", "1"]).assert().code(1).stderr_eq(snapbox::str![[r#"
error: open: TLS with https://127.0.0.1:[..]/cometd failed: [..]
 hint: --ca FILE trusts a certificate of your own; for a server without TLS, use http://

"#]]);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let server = Server::start();
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let publish = |args: &[&str]| {
        let mut all = vec!["publish", &server.url, "/a", "1"];
        all.extend(args);
        String::from_utf8(bayeux(&all).assert().code(2).get_output().stderr.clone()).unwrap()
    };
    let missing = publish(&["--ca", "/no/such/file.pem"]);
    assert!(missing.starts_with("error: --ca: cannot read /no/such/file.pem: "), "{missing}");
    let wrong = publish(&["--ca", here]);
    assert!(wrong.starts_with(&format!("error: --ca {here}: ")), "{wrong}");
    let wrong = publish(&["--cert", here, "--key", here]);
    assert!(wrong.starts_with(&format!("error: --cert {here}: ")), "{wrong}");
    assert!(publish(&["--cert", here]).contains("--key <FILE>"));
}

#[test]
fn a_proxy_that_is_not_there_is_reported_and_none_ignores_the_environment() {
    let server = Server::start();
    let proxy = nobody();
    bayeux(&["publish", &server.url, "/a", "1", "--proxy", &proxy]).assert().code(1).stderr_eq(
        snapbox::str![[r#"
error: open: cannot reach the proxy http://127.0.0.1:[..], which is needed for http://127.0.0.1:[..]/cometd: [..]
 hint: check --proxy and the proxy variables of the environment (--proxy none ignores them)

"#]],
    );
    bayeux(&["publish", &server.url, "/a", "1"]).env("http_proxy", &proxy).assert().code(1);
    bayeux(&["publish", &server.url, "/a", "1", "--proxy", "none"])
        .env("http_proxy", &proxy)
        .assert()
        .success();
}

#[test]
fn a_server_that_does_not_answer_is_given_up_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/cometd", listener.local_addr().unwrap());
    let start = std::time::Instant::now();
    let args = ["publish", &url, "/a", "1", "--transport", "websocket", "--connect-timeout", "300ms"];
    bayeux(&args).assert().code(4).stderr_eq(snapbox::str![[r#"
error: open: [..] within 300ms[..]
 hint: the server does not respond in time; -v logs the messages, --connect-timeout sets the limit

"#]]);
    assert!(start.elapsed() < std::time::Duration::from_secs(8), "{:?}", start.elapsed());
}

#[cfg(unix)]
#[test]
fn an_interruption_ends_the_opening() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/cometd", listener.local_addr().unwrap());
    for command in
        [&["subscribe", &url, "/a"][..], &["pipe", &url], &["inspect", &url], &["chat", &url, "ann"]]
    {
        let mut process = Running::start(command);
        // It has connected, and waits for an answer that never comes.
        let _connection = listener.accept().unwrap();
        process.signal(rustix::process::Signal::INT);
        assert_eq!(process.exit_code(), 130, "{command:?}");
    }
}

#[test]
fn a_server_that_is_not_up_yet_is_waited_for() {
    let url = nobody();
    let port = url.rsplit(':').next().unwrap().strip_suffix("/cometd").unwrap().to_owned();
    for command in
        [&["subscribe", &url, "/a", "--wait", "--events"][..], &["inspect", &url, "--wait=30s", "--events"]]
    {
        let mut process = Running::start(command);
        process.error_with("\"retrying\"");
        let server = Server::at(&port);
        if command[0] == "subscribe" {
            process.error_with("\"subscribed\"");
            server.publish("/a", "1");
            assert_eq!(process.line(), r#"{"channel":"/a","data":1}"#);
        } else {
            assert_eq!(process.exit_code(), 0);
        }
    }
}

#[test]
fn waiting_for_a_server_has_a_bound() {
    let started = "warning: waiting for the server: ";
    let output = bayeux(&["subscribe", &nobody(), "/a", "--wait=2s"])
        .assert()
        .code(4)
        .stdout_eq("")
        .get_output()
        .clone();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.matches(started).count(), 1, "it is reported once: {error}");
    let output = bayeux(&["subscribe", "--wait", "5s", "/a"]).assert().code(2).get_output().clone();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("hint: a time to wait is written --wait=1m"), "{error}");
}

#[test]
fn the_sizes_of_messages_are_options_of_both_sides() {
    let big = format!("\"{}\"", "x".repeat(2 * 1024 * 1024));
    let server = Server::with(&["--port", "0", "--max-message-size", "4MiB"]);
    for transport in ["websocket", "long-polling"] {
        let publish = |more: &[&str]| {
            let mut args = vec!["publish", &server.url, "/a", "-", "--transport", transport];
            args.extend(more);
            bayeux(&args).stdin(big.clone()).assert()
        };
        let error = String::from_utf8(publish(&[]).code(2).get_output().stderr.clone()).unwrap();
        assert!(error.contains("hint: --max-message-size sends larger ones"), "{error}");
        publish(&["--max-message-size", "4MiB"]).success();
    }
    let small = Server::with(&["--port", "0", "--max-message-size", "1KiB"]);
    let data = format!("\"{}\"", "x".repeat(2048));
    bayeux(&["publish", &small.url, "/a", &data, "--transport", "long-polling"]).assert().failure();
    for wrong in ["", "0", "4MB", "-1", "99999999999999GiB", "x"] {
        bayeux(&["serve", &format!("--max-message-size={wrong}")]).assert().code(2);
    }
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    if let Ok(full) = std::fs::File::options().write(true).open("/dev/full") {
        let server = Server::start();
        for args in
            [&["publish", &server.url, "/a", "1"][..], &["pipe", &server.url], &["inspect", &server.url]]
        {
            let output =
                crate::running::command().args(args).stdout(full.try_clone().unwrap()).output().unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(error.contains("error: cannot write to standard output: "), "{args:?}: {error}");
            assert_eq!(output.status.code(), Some(2), "{args:?}");
        }
    }
}
