//! `bayeux context`, and what a context does for the other commands.

use std::path::PathBuf;

use crate::running::{Server, TIME_LIMIT, command, folder};

/// A configuration file of its own.
struct Config {
    file: PathBuf,
}

impl Config {
    fn new(name: &str) -> Self {
        Self { file: folder(name).join("below").join("config.toml") }
    }

    fn run(&self, args: &[&str]) -> snapbox::cmd::OutputAssert {
        let command = snapbox::cmd::Command::from_std(command()).args(args).timeout(TIME_LIMIT);
        command.env("BAYEUX_CONFIG", &self.file).assert()
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap()
    }
}

#[test]
fn contexts_are_added_listed_used_shown_and_removed_without_a_secret_on_the_screen() {
    let config = Config::new("contexts");
    config.run(&["context", "ls"]).success().stdout_eq("");
    config
        .run(&[
            "context",
            "add",
            "shop",
            "https://ann:s3cret@example.com/cometd?token=s3cret",
            "--header",
            "X-Key: s3cret",
            "--header",
            "@headers",
            "--cookie",
            "sid=s3cret",
            "--ext",
            "auth={\"token\":\"s3cret\"}",
            "--ext",
            "more=@ext.json",
            "--bearer-file",
            "token",
            "--transport",
            "long-polling",
            "--proxy",
            "http://ann:s3cret@proxy:3128",
            "--fallback-url",
            "https://ann:s3cret@example.org/cometd",
            "--insecure",
            "--secure-cookies-over-http",
        ])
        .success()
        .stdout_eq("")
        .stderr_eq("");
    config.run(&["context", "add", "test", "http://localhost:8080/cometd", "--use"]).success();
    config
        .run(&["context", "ls"])
        .success()
        .stdout_eq("  shop  https://example.com/cometd?…\n* test  http://localhost:8080/cometd\n");
    config.run(&["context", "use", "shop"]).success();
    let here = std::path::absolute(".").unwrap().display().to_string();
    config.run(&["context", "show"]).success().stderr_eq("").stdout_eq(format!(
        "name          shop
url           https://example.com/cometd?…
bearer-file   {here}/token
header        X-Key: …
header        @{here}/headers
cookie        sid= …
ext           auth= …
ext           more=@{here}/ext.json
fallback-url  https://example.org/cometd
transport     long-polling
proxy         http://proxy:3128/
insecure      true
secure-cookies-over-http  true
"
    ));
    config.run(&["context", "rm", "shop"]).success();
    config.run(&["context", "ls"]).success().stdout_eq("  test  http://localhost:8080/cometd\n");
    config.run(&["context", "show"]).code(2).stderr_eq(snapbox::str![[r#"
error: no context is in use
 hint: bayeux context ls lists them, bayeux context use NAME uses one

"#]]);
}

#[cfg(unix)]
#[test]
fn the_file_is_its_owner_s_alone_keeps_comments_and_links_and_warns_when_it_is_open() {
    use std::os::unix::fs::PermissionsExt;
    let config = Config::new("contexts-file");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    config.run(&["context", "add", "a", "http://localhost/cometd"]).success();
    assert_eq!((mode(&config.file), mode(config.file.parent().unwrap())), (0o600, 0o700));

    // A file that the user wrote, somewhere else, and that others can read.
    let real = config.file.with_file_name("real.toml");
    std::fs::write(&real, "# mine\n[contexts.a] # too\nurl = \"http://a/\"\nbearer = \"s3cret\"\n").unwrap();
    std::fs::set_permissions(&real, PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::remove_file(&config.file).unwrap();
    std::os::unix::fs::symlink(&real, &config.file).unwrap();
    config.run(&["context", "show", "a"]).success().stderr_eq(snapbox::str![[r#"
warning: others can use the secrets in [..]config.toml (mode 644); chmod 600 keeps it to yourself

"#]]);
    config.run(&["context", "add", "b", "http://b/", "--use"]).success();
    let text = config.text();
    for part in [
        "# mine\n",
        "[contexts.a] # too\n",
        "bearer = \"s3cret\"",
        "[contexts.b]\nurl = \"http://b/\"",
        "current = \"b\"",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(std::fs::symlink_metadata(&config.file).unwrap().is_symlink());
    assert_eq!(mode(&real), 0o600);
    config.run(&["context", "show", "a"]).success().stderr_eq("");
    let left: Vec<_> =
        std::fs::read_dir(real.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(".tmp")), "{left:?}");
}

#[test]
fn many_at_once_lose_nothing() {
    let config = Config::new("contexts-at-once");
    let names: Vec<_> = (0..8).map(|n| format!("c{n}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| config.run(&["context", "add", name, "http://localhost/cometd"]).success());
        }
    });
    let text = config.text();
    for name in &names {
        assert!(text.contains(&format!("[contexts.{name}]")), "{text}");
    }
}

#[test]
fn what_is_wrong_is_reported() {
    let config = Config::new("contexts-wrong");
    let wrong = |args: &[&str], text: &str| {
        let output = config.run(args).code(2);
        let error = String::from_utf8(output.get_output().stderr.clone()).unwrap();
        assert!(error.contains(text) && !error.contains("s3cret"), "{args:?}: {error}");
    };
    wrong(&["context", "use", "a"], "there is no context a, nor any other");
    wrong(&["context", "add", "a b", "http://a/"], "the name of a context");
    wrong(&["context", "add", "a", "localhost/cometd"], "the URL of the server lacks");
    wrong(&["context", "add", "a", "ftp://s3cret@host/"], "is not a valid URL of a server");
    for option in [
        "--header=s3cret",
        "--header=a b: s3cret",
        "--cookie=s3cret",
        "--ext=a=s3cret",
        "--fallback-url=ftp://s3cret@host/",
    ] {
        wrong(&["context", "add", "a", "http://a/", option], "");
    }
    assert!(!config.file.exists());
    config.run(&["context", "add", "a", "http://localhost/cometd"]).success();
    wrong(&["context", "add", "a", "http://other/"], "there is a context a already");
    config.run(&["context", "add", "a", "http://localhost/cometd", "--replace"]).success();
    wrong(&["context", "rm", "b"], "there is no context b; there are a");
    wrong(&["publish", "/a", "1"], "no server is given");
    wrong(&["publish", "/a", "1", "--context", "b"], "there is no context b");
    wrong(
        &["publish", "http://example.com/", "/a", "1", "--context", "a"],
        "is for another server than the URL",
    );

    std::fs::write(&config.file, "[contexts.a]\nurl = \"http://a/\"\n\nbearrer = \"s3cret\"\n").unwrap();
    wrong(
        &["publish", "/a", "1", "--context", "a"],
        "config.toml:4: unknown field `bearrer`, expected one of `url`",
    );
    wrong(&["context", "add", "b", "http://b/"], "config.toml:4: unknown field");
    std::fs::write(&config.file, "[contexts.a\nurl = \"s3cret\"").unwrap();
    wrong(&["context", "ls"], "config.toml:1: ");
    std::fs::write(&config.file, "current = \"b\"\n[contexts.a]\nurl = \"http://a/\"\n").unwrap();
    wrong(&["publish", "/a", "1"], "there is no context b; there are a");
    // With a URL the file is nobody's concern.
    let server = Server::start();
    std::fs::write(&config.file, "garbage").unwrap();
    config.run(&["publish", &server.url, "/a", "1"]).success();
}

#[test]
fn a_context_gives_the_url_to_every_command_that_connects() {
    let server = Server::start();
    let config = Config::new("contexts-used");
    config.run(&["context", "add", "here", &server.url, "--transport", "long-polling", "--use"]).success();
    config.run(&["context", "add", "nowhere", &crate::running::nobody()]).success();
    config.run(&["publish", "/a", "1"]).success();
    config.run(&["request", "/service/echo", "1"]).success().stdout_eq("1\n");
    config.run(&["subscribe", "/a", "/b", "--for", "10ms"]).success();
    config.run(&["chat", "ann"]).success();
    config.run(&["pipe"]).success();
    config.run(&["bench", "--clients", "1", "--batches", "1"]).success();
    let inspected = config.run(&["inspect"]).success();
    let text = String::from_utf8(inspected.get_output().stdout.clone()).unwrap();
    assert!(text.starts_with("long-polling ") && !text.contains("websocket    "), "{text}");
    config.run(&["publish", "/a", "1", "--context", "nowhere"]).code(1);
    // The environment comes before the file.
    let in_environment = |args: &[&str]| {
        let command = snapbox::cmd::Command::from_std(command()).args(args).timeout(TIME_LIMIT);
        command.env("BAYEUX_CONFIG", &config.file).env("BAYEUX_CONTEXT", "nowhere").assert()
    };
    in_environment(&["publish", "/a", "1"]).code(1);
    in_environment(&["publish", "/a", "1", "--context", "here"]).success();
    let listed = in_environment(&["context", "ls"]).success();
    assert!(String::from_utf8_lossy(&listed.get_output().stdout).contains("* nowhere"));
    // A URL of the same server, and what the context keeps for it.
    config.run(&["publish", &server.url, "/a", "1", "--context", "here"]).success();
    for command in [&["subscribe"][..], &["publish", "/a"], &["request", "/a"], &["chat"]] {
        let output = config.run(command).code(2);
        let error = String::from_utf8(output.get_output().stderr.clone()).unwrap();
        assert!(error.contains("is missing\n hint: bayeux "), "{error}");
    }
}
