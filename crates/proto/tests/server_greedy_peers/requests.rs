//! Requests: what is repeated in replies is bounded, and each message is judged by what those before it left.

use std::collections::HashSet;
use std::time::Duration;

use bayeux_proto::server::LinkKind;
use serde_json::{Value, json};

use super::harness::{Server, alone, array, change, connect, message};

fn shake(types: &Value) -> String {
    json!([{"channel": "/meta/handshake", "id": "1", "version": "1.0", "supportedConnectionTypes": types}])
        .to_string()
}

/// What follows, by its name.
type Next<'a> = (&'a str, &'a dyn Fn(&str) -> String);

/// The reply to a request of one message, as it goes over the wire.
fn reply(server: &mut Server, request: &str) -> String {
    let link = server.request(request);
    server.settle();
    let sent = server.sent.remove(&link).unwrap();
    assert_eq!(sent.len(), 1);
    String::from_utf8(sent[0].to_vec()).unwrap()
}

#[test]
fn the_names_of_transports_are_repeated_only_if_they_are_some() {
    let _alone = alone();
    let mut server = Server::new();
    for name in
        ["\u{1}".repeat(100_000), "\u{85}".repeat(31), "x".repeat(100_000), "a\"b".to_owned(), "é".to_owned()]
    {
        let refused = reply(&mut server, &shake(&json!(vec![name; 10])));
        assert!(refused.contains(r#""error":"405:c[],s[websocket,long-polling]:no_transport""#), "{refused}");
        assert!(refused.len() < 400, "{} bytes", refused.len());
    }
    let refused = reply(&mut server, &shake(&json!(vec!["x".repeat(32); 10_000])));
    assert!(refused.len() < 800, "{} bytes", refused.len());
    let refused = reply(&mut server, &shake(&json!(["callback-polling", "flash"])));
    assert!(
        refused.contains("405:c[callback-polling,flash],s[websocket,long-polling]:no_transport"),
        "{refused}"
    );
}

#[test]
fn who_offers_no_transport_is_refused() {
    let _alone = alone();
    let mut server = Server::new();
    for none in [json!([]), json!([1]), json!([[]]), json!([null, {}])] {
        let refused = reply(&mut server, &shake(&none));
        assert!(refused.contains(r#""successful":false"#) && refused.contains("no_transport"), "{refused}");
        assert!(refused.contains(r#""reconnect":"none""#), "{refused}");
    }
    assert_eq!(server.engine().sessions(), 0);
    let granted = reply(&mut server, r#"[{"channel":"/meta/handshake","version":"1.0"}]"#);
    assert!(granted.contains(r#""successful":true"#), "who does not speak of them finds out: {granted}");
}

#[test]
fn no_reply_is_much_longer_than_its_request() {
    let _alone = alone();
    let mut server = Server::new();
    let id = server.session();
    let control = "\\u0001".repeat(20_000);
    for (what, request) in [
        ("a channel", array([message(&id, &control, "1")])),
        ("a channel of many bytes", array([message(&id, &format!("/{}", "x".repeat(100_000)), "1")])),
        ("a meta channel", array([message(&id, &format!("/meta/{}", "x".repeat(900)), "1")])),
        ("a pattern", array([message(&id, &format!("/{}/**", "x".repeat(900)), "1")])),
        ("a name to subscribe to", array([change(&id, "subscribe", &control)])),
        ("to unsubscribe from", array([change(&id, "unsubscribe", &format!("/{}", "x".repeat(100_000)))])),
        ("an id", format!(r#"[{{"channel":"/a","clientId":"{id}","id":"{control}"}}]"#)),
        ("a session", array([message(&control, "/a", "1")])),
        (
            "all of it",
            format!(
                r#"[{{"channel":"{control}","clientId":"{control}","id":"{control}","subscription":"{control}","connectionType":"{control}","version":"{control}"}}]"#
            ),
        ),
    ] {
        let reply = reply(&mut server, &request);
        assert!(reply.contains(r#""successful":false"#), "{what}: {reply}");
        assert!(reply.len() <= request.len() + 1024, "{what}: {} bytes for {}", reply.len(), request.len());
        assert!(!reply.contains("\\u{"), "{what}: {reply}");
    }
    let bad = reply(&mut server, &array([change(&id, "subscribe", "\u{9b}")]));
    assert!(!bad.contains('\u{9b}') && bad.contains("403::subscription_invalid"), "{bad}");
}

#[test]
fn what_follows_a_disconnect_in_the_same_array_is_of_no_session() {
    let _alone = alone();
    let unknown = "402::session_unknown";
    for kind in [LinkKind::Http, LinkKind::WebSocket] {
        let mut server = Server::new();
        let (listener, ear) = server.socket();
        server.subscribe_over(&(listener, ear), "/**");
        let publish = |id: &str| message(id, "/a", "1");
        let connects = |id: &str| connect(id, "").trim_matches(['[', ']']).to_owned();
        let follow: [Next<'_>; 6] = [
            ("publish", &publish),
            ("connect", &connects),
            ("subscribe", &|id| change(id, "subscribe", "/a")),
            ("unsubscribe", &|id| change(id, "unsubscribe", "/a")),
            ("disconnect", &|id| change(id, "disconnect", "/a")),
            ("service", &|id| message(id, "/service/x", "1")),
        ];
        for (what, next) in follow {
            let (id, link) = match kind {
                LinkKind::WebSocket => server.socket(),
                _ => (server.session(), server.link()),
            };
            let request = array([publish(&id), change(&id, "disconnect", ""), next(&id), publish(&id)]);
            server.receive(link, kind, &request);
            let replies: Vec<Value> = server.messages(link);
            let outcomes: Vec<_> = replies.iter().map(|reply| reply["successful"] == true).collect();
            assert_eq!(outcomes, [true, true, false, false], "{what}: {replies:?}");
            assert_eq!((&replies[2]["error"], &replies[3]["error"]), (&json!(unknown), &json!(unknown)));
            if what == "connect" {
                assert_eq!(replies[2]["advice"]["reconnect"], "handshake");
            }
            assert_eq!(server.messages(ear).len(), 1, "{what}: only what came before it");
        }
        assert_eq!(server.engine().sessions(), 1);
    }
}

#[test]
fn what_waits_for_a_session_comes_with_its_disconnect_once() {
    let _alone = alone();
    for ack in ["", r#","ext":{"ack":true}"#] {
        let mut server = Server::new();
        let id = server.session_with(ack);
        server.subscribe(&id, "/a");
        server.publish("/a", &json!("last"));
        let connect = connect(&id, "").trim_matches(['[', ']']).to_owned();
        let replies = server.post(&array([connect, change(&id, "disconnect", "")]));
        let channels: Vec<_> = replies.iter().map(|reply| reply["channel"].as_str().unwrap()).collect();
        assert_eq!(channels, ["/a", "/meta/connect", "/meta/disconnect"], "{replies:?}");
        assert_eq!(replies[1]["ext"]["ack"].is_u64(), !ack.is_empty(), "{replies:?}");
    }
}

#[test]
fn a_session_that_its_own_batch_overflows_is_unknown_to_the_rest_of_it() {
    let _alone = alone();
    let mut server = Server::with(|config| config.max_queue = 2);
    let id = server.session_with(r#","ext":{"ack":true}"#);
    server.subscribe(&id, "/a");
    let replies = server.post(&array((0..6).map(|_| message(&id, "/a", "1"))));
    let outcomes: Vec<_> = replies.iter().map(|reply| reply["successful"] == true).collect();
    assert_eq!(outcomes, [true, true, true, false, false, false], "{replies:?}");
    assert_eq!(replies[5]["error"], "402::session_unknown");
}

#[test]
fn a_client_cannot_ask_to_be_kept_for_longer_than_is_allowed() {
    let _alone = alone();
    let lives = |max: Option<Duration>, asked: &str| {
        let mut server = Server::with(|config| {
            if let Some(max) = max {
                config.max_client_interval = max;
            }
        });
        let id = server.handshake("");
        let replies = server.post(&connect(&id, &format!(r#","advice":{{"timeout":0,"interval":{asked}}}"#)));
        let told = replies[0]["advice"]["interval"].as_u64().unwrap();
        let mut span = 0;
        while server.engine().sessions() > 0 {
            server.advance(Duration::from_secs(1));
            span += 1;
        }
        assert_eq!(server.engine().memory().total(), 0);
        (told, span)
    };
    assert_eq!(lives(None, "3600000"), (60_000, 70));
    assert_eq!(lives(None, "1e300"), (60_000, 70));
    assert_eq!(lives(None, "\"3600000\""), (60_000, 70));
    assert_eq!(lives(None, "30000"), (30_000, 40));
    assert_eq!(lives(Some(Duration::ZERO), "3600000"), (0, 10));
    assert_eq!(lives(Some(Duration::from_secs(3600)), "3600000"), (3_600_000, 3610));
    assert_eq!(lives(None, "-1"), (0, 10));
    // A connect is held for no longer than the server holds one, whatever is asked for.
    let mut server = Server::new();
    let id = server.session();
    let link = server.request(&connect(&id, r#","advice":{"timeout":36000000}"#));
    server.advance(Duration::from_secs(31));
    assert_eq!(server.messages(link).len(), 1);
}

#[test]
fn client_ids_say_nothing_but_who_it_is() {
    let _alone = alone();
    let mut server = Server::new();
    let ids: Vec<String> = (0..2000).map(|_| server.handshake("")).collect();
    assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())));
    for place in 0..32 {
        let digits: HashSet<u8> = ids.iter().map(|id| id.as_bytes()[place]).collect();
        assert_eq!(digits.len(), 32, "all digits come at place {place}");
        let rising =
            ids.windows(2).filter(|ids| ids[0].as_bytes()[place] <= ids[1].as_bytes()[place]).count();
        assert!((850..1200).contains(&rising), "no order at place {place}: {rising}");
    }
}
