//! `bayeux pipe`: every kind of line that `docs/pipe.md` describes.

use serde_json::{Value, json};

use crate::running::{Running, Server, bayeux, nobody};

fn pipe(server: &Server, args: &[&str]) -> Running {
    let mut all = vec!["pipe", &server.url];
    all.extend(args);
    Running::start(&all)
}

fn of_type(name: &'static str) -> impl Fn(&Value) -> bool {
    move |line| line["type"] == name
}

fn event(name: &'static str) -> impl Fn(&Value) -> bool {
    move |line| line["type"] == "event" && line["event"] == name
}

#[test]
fn each_command_has_its_outcome_with_its_tag() {
    let server = Server::start();
    for transport in ["websocket", "long-polling"] {
        let mut pipe = pipe(&server, &["--transport", transport]);
        assert_eq!(pipe.json(), json!({"type": "opened", "transport": transport}));
        let connected = pipe.json_where(event("connected"));
        assert_eq!(connected, json!({"type": "event", "event": "connected", "transport": transport}));
        pipe.say(r#"{"subscribe": "/chat/**", "tag": "s"}"#);
        assert_eq!(pipe.line(), r#"{"type":"subscribed","channel":"/chat/**","tag":"s"}"#);

        pipe.say(r#"{"publish": "/chat/demo", "data": {"n": 1.10}, "tag": 7}"#);
        // The message and the reply may come in either order.
        let mut lines = [pipe.json(), pipe.json()];
        lines.sort_by_key(|line| line["type"].to_string());
        let [message, reply] = &lines;
        assert_eq!(*message, json!({"type": "message", "channel": "/chat/demo", "data": {"n": 1.10}}));
        assert_eq!(reply["type"], "reply");
        assert_eq!(reply["tag"], 7);
        assert_eq!(reply["channel"], "/chat/demo");
        assert_eq!(reply["reply"]["successful"], true);
        assert!(reply.to_string().find("clientId").is_none(), "{reply}");

        pipe.say(
            r#"{"request": "/service/echo", "data": [1, 12345678901234567890.10], "tag": {"any": null}}"#,
        );
        assert_eq!(
            pipe.line(),
            r#"{"type":"reply","channel":"/service/echo","data":[1, 12345678901234567890.10],"tag":{"any": null}}"#
        );
        pipe.say(r#"{"unsubscribe": "/chat/**", "tag": 9}"#);
        assert_eq!(pipe.line(), r#"{"type":"unsubscribed","channel":"/chat/**","tag":9}"#);

        pipe.say(r#"{"close": true}"#);
        assert_eq!(
            pipe.json_where(of_type("closed")),
            json!({"type": "closed", "reason": "requested", "text": "the client was closed"}),
        );
        assert_eq!(pipe.exit_code(), 0);
        assert_eq!(pipe.rest(), (vec![], vec![]));
    }
}

#[test]
fn what_fails_is_a_line_and_the_session_goes_on() {
    let server = Server::start();
    let mut pipe = pipe(&server, &[]);
    pipe.json_where(event("connected"));
    for (command, kind, text, code) in [
        ("garbage", "command", "line 1: it is no JSON: ", Value::Null),
        ("[1]", "command", "line 2: it is [1]; a command is an object", Value::Null),
        (r#"{"shout": "/a", "tag": 5}"#, "command", "line 3: unknown field `shout`", Value::Null),
        (
            r#"{"publish": "/a", "request": "/b", "tag": 5}"#,
            "command",
            "line 4: it has more than one verb",
            Value::Null,
        ),
        (r#"{"publish": "a", "tag": 5}"#, "invalid", "publish: invalid channel name", Value::Null),
        (r#"{"publish": "/a/*", "tag": 5}"#, "invalid", "publish to /a/*: /a/* is a pattern", Value::Null),
        (r#"{"unsubscribe": "/a", "tag": 5}"#, "invalid", "unsubscribe from /a: not subscribed", Value::Null),
        (
            r#"{"request": "/service/members", "data": {"user": "a", "room": "b"}, "tag": 5}"#,
            "server",
            "request to /service/members: the server refused: 400::",
            400.into(),
        ),
    ] {
        pipe.say(command);
        let line = pipe.json();
        assert_eq!(line["type"], "error", "{command}: {line}");
        assert_eq!(line["kind"], kind, "{command}: {line}");
        assert_eq!(line["code"], code, "{command}: {line}");
        assert!(line["text"].as_str().unwrap().starts_with(text), "{command}: {line}");
        assert_eq!(line["tag"] == 5, command.contains("tag"), "{command}: {line}");
    }
    pipe.say(r#"{"request": "/service/echo", "data": "still here"}"#);
    assert_eq!(pipe.line(), r#"{"type":"reply","channel":"/service/echo","data":"still here"}"#);
}

#[test]
fn the_end_of_the_input_closes_when_all_is_done() {
    let server = Server::start();
    let input = concat!(
        "{\"subscribe\": \"/a\", \"tag\": 1}\n",
        "{\"publish\": \"/a\", \"data\": 1, \"tag\": 2}\n",
        "{\"unsubscribe\": \"/a\", \"tag\": 3}\n",
        "{\"subscribe\": \"/a\", \"tag\": 4}\n",
        "{\"publish\": \"/a\", \"tag\": 5}",
    );
    let output = bayeux(&["pipe", &server.url]).stdin(input).assert().success().get_output().stdout.clone();
    let lines: Vec<Value> =
        String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let tags_of = |wanted: &[&str]| -> Vec<_> {
        let wanted = lines.iter().filter(|line| wanted.contains(&line["type"].as_str().unwrap()));
        wanted.map(|line| line["tag"].clone()).collect()
    };
    assert_eq!(
        tags_of(&["subscribed", "unsubscribed"]),
        [1, 3, 4],
        "commands of one channel keep their order"
    );
    assert_eq!(tags_of(&["reply"]), [2, 5]);
    assert_eq!(tags_of(&["error"]), Vec::<Value>::new());
    let data: Vec<_> =
        lines.iter().filter(|line| line["type"] == "message").map(|line| &line["data"]).collect();
    // What came for a channel that was left meanwhile is nobody's.
    assert!(data.contains(&&Value::Null), "{lines:?}");
    assert_eq!(lines.last().unwrap()["type"], "closed");
}

#[test]
fn a_lost_connection_and_its_return_are_reported() {
    let mut server = Server::start();
    let mut pipe = pipe(&server, &["--outage-timeout", "200ms"]);
    pipe.json_where(event("connected"));
    pipe.say(r#"{"subscribe": "/a"}"#);
    pipe.json_where(of_type("subscribed"));
    server.process.kill();

    let lost = pipe.json_where(event("lost"));
    assert_eq!(lost["cause"], "lost", "{lost}");
    let retrying = pipe.json_where(event("retrying"));
    assert!(retrying["in_ms"].is_u64() && retrying["text"].is_string(), "{retrying}");
    assert_eq!(retrying["failures"], 1);
    let late = pipe.json_where(of_type("error"));
    assert_eq!((&late["kind"], &late["retryable"]), (&json!("timeout"), &json!(true)));

    server = Server::at(&server.port());
    assert_eq!(pipe.json_where(event("rehandshaken")), json!({"type": "event", "event": "rehandshaken"}));
    let gap = pipe.json_where(event("gap_possible"));
    assert_eq!(gap["channels"], json!(["/a"]));
    let again = pipe.json_where(event("resubscribed"));
    assert_eq!((&again["channel"], &again["successful"]), (&json!("/a"), &json!(true)));
    pipe.json_where(event("connected"));
    server.publish("/a", "\"after\"");
    assert_eq!(pipe.json_where(of_type("message"))["data"], "after");
}

#[test]
fn a_server_that_is_not_there_is_an_error_and_the_end() {
    let output = bayeux(&["pipe", &nobody()]).stdin("").assert().code(1).get_output().stdout.clone();
    let output = String::from_utf8(output).unwrap();
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [error, closed] = &lines[..] else { panic!("{output}") };
    assert_eq!(
        (&error["type"], &error["kind"], &error["failure"], &error["retryable"]),
        (&json!("error"), &json!("transport"), &json!("unreachable"), &json!(true))
    );
    assert_eq!((&closed["type"], &closed["reason"]), (&json!("closed"), &json!("failed")));
}

#[cfg(unix)]
#[test]
fn an_interruption_closes_cleanly() {
    use rustix::process::Signal;
    let server = Server::start();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        if signal == Signal::HUP && crate::running::hang_up_is_ignored() {
            continue;
        }
        let mut pipe = pipe(&server, &[]);
        pipe.json_where(event("connected"));
        pipe.signal(signal);
        assert_eq!(pipe.json_where(of_type("closed"))["reason"], "requested");
        assert_eq!(pipe.exit_code(), code);
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let server = Server::start();
    // Its input stays open, and nothing more is to be printed.
    let reader = Running::of(std::process::Command::new("sh").arg("-c").arg(format!(
        "{{ '{}' pipe {}; echo \"exit $?\" >&2; }} | head -n 1 > /dev/null",
        env!("CARGO_BIN_EXE_bayeux"),
        server.url
    )));
    assert_eq!(reader.error_with(""), "exit 0");
}

#[test]
fn a_thousand_commands_at_once_have_a_thousand_outcomes() {
    let server = Server::start();
    let input: String = (0..3000)
        .map(|n| format!("{{\"request\": \"/service/echo\", \"data\": {n}, \"tag\": {n}}}\n"))
        .collect();
    let output = bayeux(&["pipe", &server.url]).stdin(input).assert().success().get_output().stdout.clone();
    let mut answered: Vec<u64> = String::from_utf8(output)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["type"] == "reply")
        .map(|line| {
            assert_eq!(line["data"], line["tag"]);
            line["tag"].as_u64().unwrap()
        })
        .collect();
    answered.sort_unstable();
    assert_eq!(answered, (0..3000).collect::<Vec<_>>());
}

/// The blocks of `docs/pipe.md` that begin so.
fn documented(beginning: &str) -> Vec<&'static str> {
    const PAGE: &str = include_str!("../../../../docs/pipe.md");
    let (_, block) = PAGE.split_once(beginning).expect("the page has the block");
    let (lines, _) = block.split_once("\n```").expect("the block ends");
    lines.trim().lines().collect()
}

#[test]
fn the_example_in_the_documentation_happens_as_it_is_written() {
    let server = Server::start();
    let input = documented("```json commands").join("\n");
    let output = bayeux(&["pipe", &server.url]).stdin(input).assert().success().get_output().stdout.clone();
    let output = String::from_utf8(output).unwrap();
    let printed: Vec<_> = output.lines().collect();
    for line in documented("```json output") {
        assert!(printed.contains(&line), "{line} is not printed, but {output}");
    }
    assert_eq!(printed.iter().filter(|line| line.contains(r#""kind":"command""#)).count(), 1, "{output}");
}

#[cfg(unix)]
#[test]
fn a_flood_of_messages_keeps_neither_commands_nor_an_interruption_from_being_heard() {
    let server = Server::start();
    let mut pipe = pipe(&server, &[]);
    pipe.say(r#"{"subscribe": "/flood"}"#);
    pipe.json_where(of_type("subscribed"));
    let mut flood = Running::start(&["publish", &server.url, "/flood", "-"]);
    let flooding = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let feeder = std::thread::spawn({
        let flooding = flooding.clone();
        move || {
            while flooding.load(std::sync::atomic::Ordering::SeqCst) {
                flood.try_to_say("1");
            }
        }
    });
    pipe.json_where(of_type("message"));
    pipe.say(r#"{"request": "/service/echo", "tag": 1}"#);
    assert_eq!(pipe.json_where(of_type("reply"))["tag"], 1);
    pipe.signal(rustix::process::Signal::INT);
    pipe.json_where(of_type("closed"));
    assert_eq!(pipe.exit_code(), 130);
    flooding.store(false, std::sync::atomic::Ordering::SeqCst);
    feeder.join().unwrap();
}
