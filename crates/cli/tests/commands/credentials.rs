//! Credentials from options, files, the environment and contexts; none of them printed.

use std::io::Write;
use std::net::TcpListener;

use bayeux_server::{Denial, Message, Policy, Server};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::options::{head_of, one_request};
use crate::running::{TIME_LIMIT, command, folder};

fn run(args: &[&str], environment: &[(&str, &str)]) -> snapbox::cmd::OutputAssert {
    let command = snapbox::cmd::Command::from_std(command()).args(args).timeout(TIME_LIMIT);
    environment.iter().fold(command, |command, (name, value)| command.env(name, value)).assert()
}

/// The request of a command over long-polling, in lowercase; it is refused.
fn request(args: &[&str], environment: &[(&str, &str)]) -> String {
    let (url, request) = one_request("404 Not Found");
    let mut all = vec!["publish", &url, "/a", "1", "--transport", "long-polling", "-v"];
    all.extend(args);
    let output = run(&all, environment).code(1);
    let printed = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(!printed.contains("s3cret"), "{printed}");
    request.join().unwrap()
}

#[test]
fn files_and_the_environment_give_headers_cookies_and_tokens() {
    let folder = folder("credentials");
    let file = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name).display().to_string()
    };
    let token = file("token", "\u{feff}s3cret-file\r\n");
    let headers = format!("@{}", file("headers", "X-One: s3cret-1\n\nX-Two: s3cret-2\n"));
    let cookies = format!("@{}", file("cookies", "a=s3cret-a\nb=s3cret-b\n"));
    let got = request(&["--bearer-file", &token, "--header", &headers, "--cookie", &cookies], &[]);
    for part in ["authorization: bearer s3cret-file\r\n", "x-one: s3cret-1\r\n", "x-two: s3cret-2\r\n"] {
        assert!(got.contains(part), "{got}");
    }
    assert!(got.contains("a=s3cret-a") && got.contains("b=s3cret-b"), "{got}");

    let bearer = ("BAYEUX_BEARER", "s3cret-env");
    assert!(request(&[], &[bearer]).contains("authorization: bearer s3cret-env\r\n"));
    assert!(
        request(&[], &[("BAYEUX_BEARER_FILE", &token)]).contains("authorization: bearer s3cret-file\r\n")
    );
    assert!(request(&["--bearer-env", "MINE"], &[("MINE", "s3cret-m")]).contains(": bearer s3cret-m\r\n"));
    let got = request(
        &[],
        &[("BAYEUX_HEADERS", "X-One: s3cret-1\nX-Two: s3cret-2"), ("BAYEUX_COOKIES", "a=s3cret-a")],
    );
    assert!(got.contains("x-one: s3cret-1\r\n") && got.contains("x-two: s3cret-2\r\n"), "{got}");
    assert!(got.contains("cookie: a=s3cret-a\r\n"), "{got}");

    // The command line comes first.
    let got = request(
        &["--bearer-file", &token, "--header", "x-one: mine"],
        &[bearer, ("BAYEUX_HEADERS", "X-One: s3cret")],
    );
    assert!(got.contains("bearer s3cret-file\r\n") && got.contains("x-one: mine\r\n"), "{got}");
    assert!(!got.contains("s3cret-env") && !got.contains("x-one: s3cret"), "{got}");
    let got = request(&["--header", "Authorization: Basic eA=="], &[bearer]);
    assert!(got.contains("authorization: basic ea==\r\n") && !got.contains("bearer"), "{got}");
}

#[test]
fn the_url_may_come_from_the_environment() {
    let (url, request) = one_request("404 Not Found");
    run(&["publish", "/a", "1", "--transport", "long-polling"], &[("BAYEUX_URL", &url)]).code(1);
    assert!(request.join().unwrap().starts_with("post /cometd"));
    // One on the command line comes first, and an empty variable counts as none.
    let (url, request) = one_request("404 Not Found");
    let other = crate::running::nobody();
    run(&["publish", &url, "/a", "1", "--transport", "long-polling"], &[("BAYEUX_URL", &other)]).code(1);
    request.join().unwrap();
    run(&["publish", "/a", "1"], &[("BAYEUX_URL", "")]).code(2);
}

#[test]
fn a_context_keeps_credentials_for_its_server_and_no_other() {
    let folder = folder("credentials-context");
    let config = folder.join("config.toml").display().to_string();
    std::fs::write(folder.join("token"), "s3cret-file").unwrap();
    let environment = |more: &[(&'static str, &'static str)]| {
        let mut all = vec![("BAYEUX_CONFIG", config.as_str())];
        all.extend(more);
        all
    };
    for name in ["file", "literal"] {
        let (url, request) = one_request("404 Not Found");
        let text = match name {
            "file" => format!("bearer_file = {:?}", folder.join("token")),
            _ => "bearer = \"s3cret-literal\"\next = ['auth=\"s3cret\"']".to_owned(),
        };
        std::fs::write(&config, format!("current = \"a\"\n[contexts.a]\nurl = {url:?}\n{text}\n")).unwrap();
        let args = ["publish", "/a", "1", "--transport", "long-polling", "-v"];
        let output = run(&args, &environment(&[])).code(1);
        let printed = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(!printed.contains("s3cret"), "{printed}");
        let got = request.join().unwrap();
        assert!(got.contains(&format!("authorization: bearer s3cret-{name}\r\n")), "{got}");
    }
    // Another URL does not get them, be it from the command line or the environment.
    let (url, request) = one_request("404 Not Found");
    run(&["publish", &url, "/a", "1", "--transport", "long-polling"], &environment(&[])).code(1);
    assert!(!request.join().unwrap().contains("s3cret"));
    let (url, request) = one_request("404 Not Found");
    let args = ["publish", "/a", "1", "--transport", "long-polling"];
    run(&args, &[("BAYEUX_CONFIG", &config), ("BAYEUX_URL", &url)]).code(1);
    assert!(!request.join().unwrap().contains("s3cret"));
}

#[test]
fn the_file_of_a_token_is_read_again_when_the_server_refuses_it() {
    let token = folder("credentials-renewed").join("token");
    std::fs::write(&token, "s3cret-old\n").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/cometd", listener.local_addr().unwrap());
    let file = token.clone();
    let server = std::thread::spawn(move || {
        let mut requests = Vec::new();
        for status in ["401 Unauthorized", "404 Not Found"] {
            let (mut stream, _) = listener.accept().unwrap();
            let request = head_of(&mut stream);
            std::fs::write(&file, "s3cret-new\n").unwrap();
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            requests.push(request);
        }
        requests
    });
    let file = token.display().to_string();
    run(&["publish", &url, "/a", "1", "--transport", "long-polling", "--bearer-file", &file], &[]).code(1);
    let requests = server.join().unwrap();
    assert!(requests[0].contains("bearer s3cret-old"), "{requests:?}");
    assert!(requests[1].contains("bearer s3cret-new"), "{requests:?}");
}

#[test]
fn what_cannot_be_used_is_named_without_its_value() {
    let folder = folder("credentials-wrong");
    let empty = folder.join("empty").display().to_string();
    std::fs::write(&empty, "\n").unwrap();
    let garbage = folder.join("garbage").display().to_string();
    std::fs::write(&garbage, b"s3cret\xff").unwrap();
    let two = folder.join("two").display().to_string();
    std::fs::write(&two, "s3cret\ns3cret").unwrap();
    let returns = folder.join("returns").display().to_string();
    std::fs::write(&returns, "X-A: s3cret\rX-B: s3cret\n").unwrap();
    let here = folder.display().to_string();
    for (args, environment, text) in [
        (&["--bearer-file", "/no/such"][..], None, "--bearer-file: cannot read /no/such: "),
        (&["--bearer-file", &here], None, "--bearer-file: cannot read "),
        (&["--bearer-file", &empty], None, "empty is empty"),
        (&["--bearer-file", &garbage], None, "garbage is not UTF-8"),
        (&["--bearer-file", &two], None, "two has more than one line"),
        (&["--bearer-env", "NOBODY_SETS_THIS"], None, "--bearer-env: NOBODY_SETS_THIS is not set"),
        (&["--bearer-env", "s3cret-token"], None, "--bearer-env: no environment variable has this name"),
        (&["--bearer-env", "S3CRET.s3cret"], None, "--bearer-env: no environment variable has this name"),
        (&["--header", "X-A: s3cret\r\nX-B: s3cret"], None, "--header: it has more than one line"),
        (&["--header", "X-A: s3cret\nX-B: s3cret"], None, "--header: it has more than one line"),
        (&["--header", "X-A: s3cret\rX-B: s3cret"], None, "--header: it has more than one line"),
        (&["--cookie", "a=s3cret\r\nX-B: s3cret"], None, "--cookie: it has more than one line"),
        (&["--header", &format!("@{returns}")], None, "--header: it has a carriage return in a line"),
        (&["--header", &format!("@{two}")], None, "--header: it is no \"Name: value\""),
        (&["--cookie", &format!("@{two}")], None, "--cookie: it is no name=value"),
        (&["--header", "@/no/such"], None, "--header: cannot read /no/such: "),
        (&["--ext", "s3cret"], None, "--ext: it is no KEY=JSON"),
        (&["--ext", "auth=s3cret"], None, "--ext: the value of auth is no JSON"),
        (&["--ext", &format!("auth=@{two}")], None, "--ext: the value of auth is no JSON"),
        (
            &["--bearer-env", "B", "--header", "Authorization: s3cret"],
            Some(("B", "s3cret")),
            "header Authorization, too",
        ),
        (&[], Some(("BAYEUX_EXT", "[\"s3cret\"]")), "BAYEUX_EXT: it is no JSON object"),
        (&[], Some(("BAYEUX_HEADERS", "s3cret")), "BAYEUX_HEADERS: it is no \"Name: value\""),
        (&[], Some(("BAYEUX_COOKIES", "s3cret")), "BAYEUX_COOKIES: it is no name=value"),
        (&[], Some(("BAYEUX_BEARER", "s3cret\u{7f}")), "BAYEUX_BEARER: the token has characters"),
        (&[], Some(("BAYEUX_BEARER_FILE", "/no/such")), "BAYEUX_BEARER_FILE: cannot read /no/such"),
    ] {
        let mut all = vec!["publish", "http://127.0.0.1:9/cometd", "/a", "1"];
        all.extend(args);
        let output = run(&all, environment.as_slice()).code(2);
        let error = String::from_utf8(output.get_output().stderr.clone()).unwrap();
        assert!(error.contains(text) && !error.contains("s3cret"), "{args:?}: {error}");
    }
}

struct Token;

impl Policy for Token {
    fn may_handshake(&mut self, handshake: &Message) -> Result<(), Denial> {
        let given = handshake.ext_value("auth");
        if given == Some(json!({"key": "s3cret", "n": 1})) { Ok(()) } else { Err(Denial::new()) }
    }
}

#[test]
fn the_handshake_has_the_keys_of_ext() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(async {
        Server::builder().policy(Token).build().unwrap().bind("127.0.0.1:0").await.unwrap()
    });
    let file = folder("credentials-ext").join("auth.json");
    let json = r#"{"key": "s3cret", "n": 1}"#;
    std::fs::write(&file, format!("\u{feff}{json}\n")).unwrap();
    let given = format!("auth={json}");
    let in_file = format!("auth=@{}", file.display());
    let all = format!("{{\"auth\": {json}}}");
    for transport in ["websocket", "long-polling"] {
        let publish = |more: &[&str], environment: &[(&str, &str)]| {
            let mut args = vec!["publish", server.url().leak(), "/a", "1", "-v", "--transport", transport];
            args.extend(more);
            let output = run(&args, environment);
            let log = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
            assert!(log.contains("/meta/handshake") && !log.contains("s3cret"), "{log}");
            output
        };
        publish(&["--ext", &given], &[]).success();
        publish(&["--ext", &in_file], &[]).success();
        publish(&[], &[("BAYEUX_EXT", &all)]).success();
        publish(&["--ext", "auth=1"], &[("BAYEUX_EXT", &all)]).code(3);
        publish(&[], &[]).code(3);
    }
}
