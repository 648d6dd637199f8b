//! Servers that refuse, and servers that end a session.

use bayeux_server::{Channel, ClientId, Denial, Message, Policy, Running as Listening, Server};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::running::{Running, bayeux};

/// Everything under `/denied/` is; a handshake needs the token if there is one.
struct Strict {
    token: Option<&'static str>,
}

impl Policy for Strict {
    fn may_handshake(&mut self, handshake: &Message) -> Result<(), Denial> {
        let given = handshake.ext_value("token");
        match self.token {
            Some(token) if given != Some(json!(token)) => Err(Denial::new()),
            _ => Ok(()),
        }
    }

    fn may_subscribe(&mut self, _: &ClientId, channel: &Channel) -> Result<(), Denial> {
        if channel.as_str().starts_with("/denied/") { Err(Denial::new()) } else { Ok(()) }
    }

    fn may_publish(&mut self, _: &ClientId, message: &Message) -> Result<(), Denial> {
        if message.channel().as_str().starts_with("/denied/") { Err(Denial::new()) } else { Ok(()) }
    }
}

/// A server in this process, as long as its runtime is there.
fn strict(token: Option<&'static str>) -> (Runtime, Listening) {
    let runtime = Runtime::new().unwrap();
    let listening = runtime.block_on(async {
        Server::builder().policy(Strict { token }).build().unwrap().bind("127.0.0.1:0").await.unwrap()
    });
    (runtime, listening)
}

#[test]
fn what_the_policy_forbids_is_reported_with_the_server_s_words() {
    let (_runtime, server) = strict(None);
    bayeux(&["publish", &server.url(), "/denied/a", "1"]).assert().code(3).stderr_eq(snapbox::str![[r#"
error: publish to /denied/a: the server refused: 403:[..]
 hint: the server does not permit this; it may require credentials: --header "Authorization: Bearer …"

"#]]);
    bayeux(&["subscribe", &server.url(), "/a", "/denied/a"]).assert().code(3).stderr_eq(snapbox::str![[r#"
error: subscribe to /denied/a: the server refused: 403:[..]
 hint: the server does not permit this; it may require credentials: --header "Authorization: Bearer …"

"#]]);
    bayeux(&["publish", &server.url(), "/denied/a", "-"]).stdin("1\n2\n").assert().code(3).stderr_eq(
        snapbox::str![[r#"
error: line 1: publish to /denied/a: the server refused: 403:[..]
error: line 2: publish to /denied/a: the server refused: 403:[..]

"#]],
    );
}

#[test]
fn a_refused_handshake_ends_it() {
    let (_runtime, server) = strict(Some("secret"));
    for transport in ["websocket", "long-polling"] {
        let args = ["subscribe", &server.url(), "/a", "--transport", transport];
        bayeux(&args).assert().code(3).stderr_eq(snapbox::str![[r#"
error: open: [..]403:[..]
 hint: the server does not permit this; it may require credentials: --header "Authorization: Bearer …"

"#]]);
    }
}

#[test]
fn a_session_that_the_server_ends_is_reported() {
    let (runtime, server) = strict(None);
    let mut events = server.server().events();
    let mut next_session = || {
        runtime.block_on(async {
            loop {
                if let bayeux_server::SessionEvent::Added { session, .. } = events.next().await.unwrap() {
                    return session;
                }
            }
        })
    };

    let mut subscriber = Running::start(&["subscribe", &server.url(), "/a", "--events"]);
    let session = next_session();
    subscriber.error_with("\"subscribed\"");
    server.server().disconnect(&session);
    subscriber.error_with("error: receive: the server closed the session");
    assert_eq!(subscriber.exit_code(), 3);

    let mut pipe = Running::start(&["pipe", &server.url()]);
    let session = next_session();
    pipe.json_where(|line| line["event"] == "connected");
    server.server().disconnect(&session);
    let closed = pipe.json_where(|line: &Value| line["type"] == "closed");
    assert_eq!(closed["reason"], "server");
    assert_eq!(pipe.exit_code(), 3);

    let mut chat = Running::start(&["chat", &server.url(), "ann"]);
    let session = next_session();
    assert!(chat.line().starts_with("You are ann"));
    server.server().disconnect(&session);
    chat.error_with("error: receive: the server closed the session");
    assert_eq!(chat.exit_code(), 3);
}
