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
fn no_json_is_reported_with_how_to_write_it() {
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

#[test]
fn values_may_be_spread_over_lines_and_come_from_a_file_with_a_byte_order_mark() {
    let server = Server::start();
    let subscriber = Running::start(&["subscribe", &server.url, "/n", "--events"]);
    subscriber.error_with("\"subscribed\"");
    let folder = crate::running::folder("publish-values");
    let file = folder.join("values.json").display().to_string();
    let text =
        "\u{feff}{\r\n  \"n\": [\n    1e400, 1.0,\n    12345678901234567890123\n  ]\r\n}\n7 \"x\"{}[]\n";
    std::fs::write(&file, text).unwrap();
    let from_file = bayeux(&["publish", &server.url, "/n", &format!("@{file}")]).assert().success();
    assert_eq!(String::from_utf8_lossy(&from_file.get_output().stdout).lines().count(), 5);
    for data in ["-", "@-"] {
        bayeux(&["publish", &server.url, "/n", data]).stdin(text).assert().success();
    }
    for _ in 0..3 {
        let first = r#"{"n": [     1e400, 1.0,     12345678901234567890123   ] }"#;
        let spaces = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(spaces(&subscriber.line()), spaces(&format!(r#"{{"channel":"/n","data":{first}}}"#)));
        for data in ["7", "\"x\"", "{}", "[]"] {
            assert_eq!(subscriber.line(), format!(r#"{{"channel":"/n","data":{data}}}"#));
        }
    }
    std::fs::write(&file, "1\n{bad\n2").unwrap();
    let output = bayeux(&["publish", &server.url, "/n", &format!("@{file}")]).assert().code(2);
    let errors = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(errors.contains(&format!("error: {file}: line 2 is no JSON: ")), "{errors}");
    bayeux(&["publish", &server.url, "/n", "@/no/such/file"]).assert().code(2).stderr_eq(snapbox::str![[
        r#"
error: cannot read /no/such/file: [..]

"#
    ]]);
    bayeux(&["publish", &server.url, "/n", &format!("@{}", folder.display())]).assert().code(2);
}

#[test]
fn a_value_is_published_as_soon_as_its_line_ends() {
    let server = Server::start();
    let mut publisher = Running::start(&["publish", &server.url, "/n", "-"]);
    for line in ["1", "{", "\"a\": 1", "}"] {
        publisher.say(line);
        if matches!(line, "1" | "}") {
            assert_eq!(publisher.json()["successful"], true);
        }
    }
    publisher.end_input();
    assert_eq!(publisher.exit_code(), 0);
}

#[test]
fn the_log_shows_numbers_as_they_travel() {
    let server = Server::start();
    for transport in ["websocket", "long-polling"] {
        let data = r#"{"big":12345678901234567890123,"huge":1e400,"one":1.0,"z":1,"a":2}"#;
        let output =
            bayeux(&["publish", &server.url, "/a", data, "-v", "--transport", transport]).assert().success();
        let log = String::from_utf8(output.get_output().stderr.clone()).unwrap();
        assert!(log.contains(data), "{log}");
    }
}
