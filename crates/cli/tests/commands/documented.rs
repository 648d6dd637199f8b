//! The samples of `docs/cli.md` are run, in their order, in a folder of their own.

#![cfg(unix)]

use std::collections::BTreeSet;
use std::process::Command;

use crate::running::{Running, Server, TIME_LIMIT, command, folder};

const PAGE: &str = include_str!("../../../../docs/cli.md");
/// The URL of the samples, which is that of a server with default options.
const URL: &str = "http://127.0.0.1:8080/cometd";

/// A command, and what the page says that it prints.
struct Sample {
    command: String,
    printed: Vec<String>,
}

/// The samples of one `console` block.
fn samples(block: &str) -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::new();
    for line in block.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => samples.push(Sample { command: command.to_owned(), printed: Vec::new() }),
            None => samples.last_mut().unwrap().printed.push(line.to_owned()),
        }
    }
    samples
}

fn blocks() -> impl Iterator<Item = &'static str> {
    PAGE.split("```console\n").skip(1).map(|text| text.split_once("\n```").unwrap().0)
}

/// A line without what differs from run to run: numbers with their units, and the bars of a histogram.
fn shape(line: &str) -> String {
    let mut shape = String::new();
    for word in line.replace('#', " ").split_whitespace() {
        let word = word.trim_end_matches(',');
        let number = word.trim_end_matches(|c: char| c.is_alphabetic() || c == 'µ');
        let is_number = !number.is_empty() && number.parse::<f64>().is_ok();
        let word = if is_number { "N".to_owned() } else { digits_out(word) };
        // The unit of a time depends on the time.
        if !matches!(word.as_str(), "µs" | "ms" | "s") {
            shape.push_str(&word);
            shape.push(' ');
        }
    }
    shape
}

/// Runs of digits, with their sign and fractions, as one letter.
fn digits_out(word: &str) -> String {
    let mut out = String::new();
    for c in word.chars() {
        match c {
            '0'..='9' | '.' if out.ends_with('N') => {}
            '0'..='9' => {
                out.truncate(out.trim_end_matches('-').len());
                out.push('N');
            }
            c => out.push(c),
        }
    }
    out
}

#[test]
fn the_samples_of_the_page_print_what_the_page_says() {
    let folder = folder("documented");
    let server = Server::start();
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_bayeux")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let prepare = |text: &str| {
        let clean = command();
        let mut shell = Command::new("sh");
        shell.args(["-c", text]).current_dir(&folder).env("PATH", &path);
        for (name, value) in clean.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.env("BAYEUX_CONFIG", folder.join("config.toml"));
        shell
    };
    let mut ran = BTreeSet::new();
    for Sample { command, printed } in blocks().flat_map(samples) {
        ran.extend(
            command.split("bayeux ").nth(1).and_then(|rest| rest.split(' ').next()).map(str::to_owned),
        );
        let text = command.replace(URL, &server.url);
        let printed: Vec<String> = printed.iter().map(|line| line.replace(URL, &server.url)).collect();
        let lines = if command.starts_with("bayeux serve") {
            let server = Running::of(&mut prepare(&format!("exec {text}")));
            vec![server.line()]
        } else if command.starts_with("bayeux subscribe") {
            // Somebody has to say what it shows.
            let subscriber = Running::of(&mut prepare(&format!("exec {text} --events")));
            subscriber.error_with("\"subscribed\"");
            let message: serde_json::Value = serde_json::from_str(&printed[0]).unwrap();
            let data = printed[0].split_once("\"data\":").unwrap().1.strip_suffix('}').unwrap();
            server.publish(message["channel"].as_str().unwrap(), data);
            let line = subscriber.line();
            assert_eq!(line, printed[0]);
            vec![line]
        } else {
            let output =
                snapbox::cmd::Command::from_std(prepare(&text)).timeout(TIME_LIMIT).output().unwrap();
            assert!(output.status.success(), "{command}: {output:?}");
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{command}");
            String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
        };
        let is_histogram = |line: &String| line.contains(" | ");
        let expected: Vec<_> = printed.iter().filter(|line| !is_histogram(line)).collect();
        let found: Vec<_> = lines.iter().filter(|line| !is_histogram(line)).collect();
        assert_eq!(found.len(), expected.len(), "{command}: {lines:#?}");
        for (found, expected) in found.iter().zip(expected) {
            let expected = expected.replace("/home/ann", &folder.display().to_string());
            assert_eq!(shape(found), shape(&expected), "{command}: {found}");
        }
        assert_eq!(lines.iter().any(is_histogram), printed.iter().any(is_histogram), "{command}");
    }
    assert_eq!(
        ran.iter().map(String::as_str).collect::<Vec<_>>(),
        ["bench", "context", "inspect", "publish", "request", "serve", "subscribe"]
    );
}

/// Each option of each command is on the page, and no other.
#[test]
fn the_options_of_the_page_are_those_of_the_commands() {
    let mut known = BTreeSet::new();
    for command in ["serve", "subscribe", "publish", "inspect", "chat", "pipe", "bench", "context add"] {
        let arguments: Vec<_> = command.split(' ').chain(["--help"]).collect();
        let output = crate::running::bayeux(&arguments).assert().success().get_output().clone();
        known.extend(options(&String::from_utf8(output.stdout).unwrap()));
    }
    for option in ["--help", "--version", "--verbose", "--replace"] {
        known.remove(option);
    }
    let named = options(PAGE);
    let missing: Vec<_> = known.difference(&named).collect();
    assert_eq!(missing, Vec::<&String>::new(), "not on the page");
    let unknown: Vec<_> =
        named.difference(&known).filter(|option| *option != "--help" && *option != "--path").collect();
    assert_eq!(unknown, Vec::<&String>::new(), "of no command");
}

fn options(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter(|word| word.starts_with("--") && word.len() > 2 && word.as_bytes()[2].is_ascii_alphabetic())
        .map(str::to_owned)
        .collect()
}

/// The environment variables of the page are those of the program.
#[test]
fn the_variables_of_the_page_are_those_of_the_program() {
    let variables = |text: &str| -> BTreeSet<String> {
        text.split(|c: char| !c.is_ascii_uppercase() && c != '_')
            .filter(|word| word.starts_with("BAYEUX_") && word.len() > 7)
            .map(str::to_owned)
            .collect()
    };
    let source = concat!(
        include_str!("../../src/secrets.rs"),
        include_str!("../../src/target.rs"),
        include_str!("../../src/config.rs")
    );
    assert_eq!(variables(PAGE), variables(source));
}
