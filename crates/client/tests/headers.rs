//! Headers: the user's, on every request of both transports, and in no text.
#![allow(clippy::unwrap_used)]

mod fixture;

use bayeux::{Credentials, HeaderMap, HeaderValue};
use bayeux::{ErrorKind, Extension};
use bayeux_testkit::{Peer, RequestKind};
use fixture::*;

#[tokio::test]
async fn the_users_headers_go_with_each_request() {
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client =
            opened(over(transport, &peer.url()).header("X-Tenant", "acme").header("User-Agent", "mine/1"))
                .await;
        client.publish("/a", &1).await.unwrap();
        within(client.close()).await.unwrap();
        for request in peer.requests().iter().filter(|request| request.kind != RequestKind::Other) {
            assert_eq!(request.header("x-tenant"), Some("acme"));
            assert_eq!(request.header("user-agent"), Some("mine/1"));
            if request.kind == RequestKind::Post {
                assert_eq!(request.header("content-type"), Some("application/json;charset=UTF-8"));
                assert_eq!(request.header("accept"), Some("application/json"));
            }
        }
    }
}

#[tokio::test]
async fn an_extension_sets_headers_anew_for_each_request() {
    struct Counting(std::sync::atomic::AtomicU64);
    impl Extension for Counting {
        fn headers(&self, headers: &mut HeaderMap) {
            let count = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            headers.insert("x-count", HeaderValue::from(count));
        }
    }
    for transport in BOTH {
        let peer = Peer::decent().await;
        let client = opened(over(transport, &peer.url()).extension(Counting(0.into()))).await;
        client.publish("/a", &1).await.unwrap();
        within(client.close()).await.unwrap();
        let requests = peer.requests();
        let http = requests.iter().filter(|r| matches!(r.kind, RequestKind::Post | RequestKind::Upgrade));
        for (count, request) in http.enumerate() {
            assert_eq!(request.header("x-count"), Some(count.to_string().as_str()));
        }
    }
}

#[test]
fn a_header_is_given_as_text_or_as_a_header_name_everywhere() {
    let name = bayeux::HeaderName::from_static("x-tenant");
    let _ = quick("http://example.com/")
        .header(&name, "a")
        .header("X-Tenant", String::from("a"))
        .build()
        .unwrap();
    let shown = ["X-Tenant".to_owned(), "x-tenant".to_owned()]
        .map(|name| format!("{:?}", Credentials::new().header(name, "hunter2").unwrap()));
    assert_eq!(shown[0], format!("{:?}", Credentials::new().header(name, "hunter2").unwrap()));
    assert_eq!(shown[0], shown[1]);
    for (name, value) in [("bad name", "hunter2"), ("", "hunter2"), ("authorization", "hunter2\n")] {
        let error = Credentials::new().header(name, value).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn the_types_of_signatures_are_named_without_other_crates() {
    use bayeux::{Bytes, Client, Data, Fields, Map, Message, Stream, SubscriptionNames, Url, Value};
    fn stream<T: Stream>(_: &T) {}
    fn names(fields: &Fields) -> Option<&SubscriptionNames> {
        fields.subscription.as_ref()
    }
    let client: Client =
        quick("http://example.com/").handshake_field("a", Map::<String, Value>::new()).build().unwrap();
    stream(&client);
    let url: &Url = client.url();
    assert_eq!(url.host_str(), Some("example.com"));
    let message = Message::meta("/meta/connect");
    assert!(names(message.fields()).is_none());
    let bytes: &Bytes = Data::as_bytes(message.data());
    assert_eq!(&bytes[..], b"null");
}

#[test]
fn options_that_cannot_be_used_are_errors_of_build() {
    for builder in [
        quick("http://example.com/").websocket_protocol("two words"),
        quick("http://example.com/").websocket_protocol("a\nb"),
        quick("http://example.com/").websocket_protocol(""),
        quick("http://example.com/").transports([]),
        quick("http://example.com/").inbox(0, bayeux::Overflow::DropOldest),
        quick("http://example.com/").stream_queue(0, bayeux::Overflow::Pause),
        quick("http://example.com/").cookie("a b", "c"),
    ] {
        assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::Config);
    }
}

#[tokio::test]
async fn invalid_headers_are_errors_without_their_secrets() {
    let error = quick("http://example.com/").header("bad name", "hunter2").build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let error = quick("http://example.com/").header("Authorization", "hunter2\n").build().unwrap_err();
    assert!(error.to_string().contains("Authorization") && !error.to_string().contains("hunter2"), "{error}");

    let builder = quick("http://ann:hunter2@example.com/?key=hunter2")
        .header("Authorization", "hunter2")
        .cookie("session", "hunter2")
        .handshake_ext("token", "hunter2")
        .handshake_field("password", "hunter2")
        .websocket_url("ws://ann:hunter2@example.com/");
    let shown = format!("{builder:?} {:?}", builder_again());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("example.com") && shown.contains("Authorization"), "{shown}");
    let client = builder.build().unwrap();
    assert!(!format!("{client:?}").contains("hunter2"), "{client:?}");
}

fn builder_again() -> bayeux::Builder {
    quick("ftp://ann:hunter2@example.com")
}
