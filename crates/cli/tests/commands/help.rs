//! `--help`, `--version`, and command lines that cannot be.

use crate::running::bayeux;

const COMMANDS: [&str; 8] = ["serve", "subscribe", "publish", "request", "inspect", "chat", "pipe", "bench"];

#[test]
fn each_command_has_examples_and_the_exit_codes() {
    for command in COMMANDS {
        let output = bayeux(&[command, "--help"]).assert().success().get_output().clone();
        let help = String::from_utf8(output.stdout).unwrap();
        for part in ["Example", "Exit codes:", "  3    the server refused", "  130  interrupted by ^C"] {
            assert!(help.contains(part), "{command} --help lacks {part:?}:\n{help}");
        }
        assert!(!help.contains('\u{1b}'), "no colours without a terminal");
    }
}

#[test]
fn each_command_that_connects_has_the_options_of_a_connection() {
    for command in COMMANDS.iter().filter(|command| **command != "serve") {
        let output = bayeux(&[command, "--help"]).assert().success().get_output().clone();
        let help = String::from_utf8(output.stdout).unwrap();
        for option in [
            "--transport",
            "--fallback-url",
            "--header",
            "--cookie",
            "--ca",
            "--cert",
            "--key",
            "--proxy",
            "--insecure",
            "--secure-cookies-over-http",
            "--outage-timeout",
            "--connect-timeout",
            "--events",
            "--verbose",
        ] {
            assert!(help.contains(option), "{command} --help lacks {option}");
        }
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let version = format!("bayeux {}\n", env!("CARGO_PKG_VERSION"));
    bayeux(&["--version"]).assert().success().stdout_eq(version);
}

#[test]
fn a_mistyped_option_or_command_is_reported_with_what_was_meant() {
    bayeux(&["subscribe", "http://localhost/cometd", "/a", "--trasport", "websocket"])
        .assert()
        .code(2)
        .stderr_eq(snapbox::str![[r#"
error: unexpected argument '--trasport' found

  tip: a similar argument exists: '--transport'
...
"#]]);
    bayeux(&["subscrib"]).assert().code(2).stderr_eq(snapbox::str![[r#"
error: unrecognized subcommand 'subscrib'

  tip: a similar subcommand exists: 'subscribe'
...
"#]]);
    bayeux(&["publish", "http://localhost/cometd"]).assert().code(2);
}

#[test]
fn a_value_that_cannot_be_is_reported_with_what_can_be() {
    let subscribe = |option: &str, value: &str| {
        let output = bayeux(&["subscribe", "http://localhost/cometd", "/a", option, value]).assert().code(2);
        String::from_utf8(output.get_output().stderr.clone()).unwrap()
    };
    assert!(subscribe("--transport", "sse").contains("[possible values: websocket, long-polling]"));
    assert!(subscribe("--for", "soon").contains("write it as 500ms, 10s or 2m"));
    assert!(subscribe("--outage-timeout", "9000000000y").contains("that is more than a century"));
    assert!(subscribe("--count", "few").contains("invalid value 'few' for '--count <N>'"));
}
