//! Callback-polling (JSONP), through the tower service without TCP and in virtual time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fmt::Write as _;

use bayeux_server::{Builder, HttpService, Server, Transport};
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use support::*;

const ALL: [Transport; 3] = [Transport::WebSocket, Transport::LongPolling, Transport::CallbackPolling];

fn builder() -> Builder {
    Server::builder().transports(ALL)
}

/// As a browser writes a value into a query: everything that is special is a byte in hexadecimal.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => encoded.push(byte.into()),
            b' ' => encoded.push('+'),
            _ => write!(encoded, "%{byte:02X}").unwrap(),
        }
        encoded
    })
}

async fn get(service: HttpService, cookie: Option<&str>, query: &str) -> Answer {
    let mut request = Request::get(format!("/cometd?{query}"));
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    call(service, request.body(Full::default()).unwrap()).await
}

/// The messages that a script hands over to `function`.
fn handed_over(answer: &Answer, function: &str) -> Vec<Value> {
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
    let script = std::str::from_utf8(&answer.body).unwrap();
    let argument = script.strip_prefix(&format!("/**/{function}(")).and_then(|rest| rest.strip_suffix(')'));
    serde_json::from_str(argument.unwrap_or_else(|| panic!("{script}"))).unwrap()
}

/// A page with a session whose first connect was answered.
#[derive(Clone)]
struct Page {
    service: HttpService,
    id: String,
    cookie: String,
}

impl Page {
    async fn open(server: &Server) -> Self {
        let mut message = handshake();
        message["supportedConnectionTypes"] = json!(["callback-polling"]);
        let query = format!("jsonp=f&message={}", encoded(&json!([message]).to_string()));
        let answer = get(server.service(), None, &query).await;
        let id = handed_over(&answer, "f")[0]["clientId"].as_str().unwrap().to_owned();
        let page = Self { service: server.service(), id, cookie: answer.set_cookie().expect("a cookie") };
        page.ask(json!([connect(json!({"advice": {"timeout": 0}}))])).await;
        page
    }

    async fn ask(&self, messages: Value) -> Vec<Value> {
        let messages = sign(&self.id, messages).to_string();
        let query = format!("message={}&jsonp=_cometd_jsonp_7", encoded(&messages));
        handed_over(&get(self.service.clone(), Some(&self.cookie), &query).await, "_cometd_jsonp_7")
    }
}

#[tokio::test(start_paused = true)]
async fn case_83_a_function_of_the_page_is_called_with_the_replies() {
    let server = builder().build().unwrap();
    let query = format!("jsonp=a.b-c_9&message={}&_=1", encoded(&json!([handshake()]).to_string()));
    let answer = get(server.service(), None, &query).await;
    let reply = handed_over(&answer, "a.b-c_9").remove(0);
    assert_eq!(reply["successful"], true);
    assert_eq!(reply["supportedConnectionTypes"], json!(["websocket", "long-polling", "callback-polling"]));
    assert_eq!(answer.headers["content-type"], "text/javascript;charset=UTF-8");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(answer.set_cookie().is_some());

    let page = Page::open(&server).await;
    page.ask(json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/a"}])).await;
    let text = "1 + 1 = 2 & \u{2028}\u{2029} \u{1f600}";
    let replies = page.ask(json!([{"channel": "/a", "id": "1", "data": text}])).await;
    assert_eq!((replies.len(), events(&replies)), (1, vec![]), "what is queued waits for a connect");
    let replies = page.ask(json!([connect(json!({}))])).await;
    assert_eq!(events(&replies), [json!(text)]);

    let held = {
        let page = page.clone();
        tokio::spawn(async move { page.ask(json!([connect(json!({}))])).await })
    };
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(!held.is_finished());
    server.publish("/a", &"later").unwrap();
    assert_eq!(events(&held.await.unwrap()), [json!("later")]);
}

#[tokio::test(start_paused = true)]
async fn case_83_two_characters_that_end_a_line_of_a_script_are_escaped() {
    let server = builder().build().unwrap();
    let page = Page::open(&server).await;
    page.ask(json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/a"}])).await;
    server.publish("/a", &"\u{2028}\u{2029}").unwrap();
    let messages = sign(&page.id, json!([connect(json!({}))])).to_string();
    let answer =
        get(page.service, Some(&page.cookie), &format!("jsonp=f&message={}", encoded(&messages))).await;
    let script = std::str::from_utf8(&answer.body).unwrap();
    assert!(script.contains(r#""\u2028\u2029""#), "{script}");
}

#[tokio::test(start_paused = true)]
async fn case_83_messages_may_come_in_several_parameters() {
    let server = builder().build().unwrap();
    let page = Page::open(&server).await;
    let publish = |id: &str| {
        let message = json!({"channel": "/a", "id": id, "clientId": page.id, "data": 1});
        encoded(&if id == "2" { message } else { json!([message, message]) }.to_string())
    };
    let query = format!("message={}&jsonp=f&message={}&message={}", publish("1"), publish("2"), publish("3"));
    let replies = handed_over(&get(server.service(), Some(&page.cookie), &query).await, "f");
    let ids: Vec<&str> = replies.iter().map(|reply| reply["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["1", "1", "2", "3", "3"]);
}

#[tokio::test(start_paused = true)]
async fn case_83_what_is_no_call_of_a_function_is_refused() {
    let server = builder().max_message_size(1000).max_batch(10).build().unwrap();
    let hello = encoded(&json!([handshake()]).to_string());
    let named = |name: &str| format!("jsonp={name}&message={hello}");
    let many = encoded(&format!("[{}]", [r#"{"channel":"/a"}"#; 6].join(",")));
    let long = encoded(&format!(r#"[{{"channel":"/a","data":"{}"}}]"#, "x".repeat(600)));
    for (query, status) in [
        (named("alert(1)"), 400),
        (named("alert%281%29"), 400),
        (named("a+b"), 400),
        (named("a%0d%0ab"), 400),
        (named("%C3%A9"), 400),
        (named("%FF"), 400),
        (named("%3Cscript%3E"), 400),
        (named(""), 400),
        (named(&"f".repeat(65)), 400),
        (format!("jsonp=f&{}", named("g")), 400),
        (format!("jsonp=f&{}", named("f")), 400),
        (String::new(), 400),
        ("jsonp=f".to_owned(), 400),
        ("jsonp=f&message=".to_owned(), 400),
        ("jsonp=f&message=%5B%5D".to_owned(), 400),
        ("jsonp=f&message=%5B1%5D".to_owned(), 400),
        ("jsonp=f&message=%FF".to_owned(), 400),
        ("jsonp=f&message=%5B%7B%22channel%22%3A%22%2Fa%FF%22%7D%5D".to_owned(), 400),
        (format!("jsonp=f&message={hello}&message={hello}"), 400),
        (format!("jsonp=f&message={many}&message={many}"), 413),
        (format!("jsonp=f&message={long}&message={long}"), 414),
    ] {
        let answer = get(server.service(), None, &query).await;
        assert_eq!(answer.status, status, "{query}: {:?}", answer.body);
        assert_eq!(
            answer.headers["content-type"], "text/plain;charset=UTF-8",
            "what is refused is no script"
        );
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "and no browser takes it for one");
    }
    assert_eq!(server.sessions(), 0);
    assert_eq!(get(server.service(), None, &named(&"f".repeat(64))).await.status, 200);
    assert_eq!(get(server.service(), None, &format!("jsonp=f&message={long}")).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn case_83_who_names_no_function_gets_that_of_the_protocol() {
    let server = builder().build().unwrap();
    let hello = encoded(&json!([handshake()]).to_string());
    for query in
        [format!("message={hello}"), format!("message={hello}&_=7&jsonp"), format!("a=b&message={hello}")]
    {
        let answer = get(server.service(), None, &query).await;
        assert_eq!(handed_over(&answer, "jsonpcallback")[0]["successful"], true);
    }
}

#[tokio::test(start_paused = true)]
async fn pages_of_other_sites_may_load_no_script() {
    let server = builder().origins(["https://example.com"]).build().unwrap();
    let query = format!("jsonp=f&message={}", encoded(&json!([handshake()]).to_string()));
    let ask = async |name: &'static str, value: &str| {
        let request = Request::get(format!("/cometd?{query}")).header(name, value);
        call(server.service(), request.body(Full::default()).unwrap()).await.status
    };
    assert_eq!(ask("sec-fetch-site", "cross-site").await, StatusCode::FORBIDDEN);
    assert_eq!(ask("origin", "https://evil.example").await, StatusCode::FORBIDDEN);
    assert_eq!(ask("referer", "https://evil.example/").await, StatusCode::FORBIDDEN);
    assert_eq!(server.sessions(), 0);
    assert_eq!(ask("sec-fetch-site", "same-origin").await, StatusCode::OK);
    assert_eq!(ask("referer", "https://example.com/page").await, StatusCode::OK);
    assert_eq!(ask("x-no", "browser").await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn case_83_it_is_to_be_asked_for() {
    let server = Server::builder().build().unwrap();
    let query = format!("jsonp=f&message={}", encoded(&json!([handshake()]).to_string()));
    assert_eq!(get(server.service(), None, &query).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(server.sessions(), 0);
}
