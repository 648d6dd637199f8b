//! The attacks.

use std::fmt::Write as _;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use super::http::Http;
use super::pace::Pace;
use super::websocket::Deaf;
use crate::Fallible;

/// What an anonymous peer does to a server.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    play: fn(SocketAddr, Pace) -> Playing,
}

type Playing = Pin<Box<dyn Future<Output = Fallible>>>;

pub(crate) const ALL: &[Attack] = &[
    Attack { name: "none", play: |_, _| Box::pin(std::future::pending()) },
    Attack { name: "pings over WebSockets that are not read", play: |to, pace| Box::pin(pings(to, pace)) },
    Attack {
        name: "publishes below a pattern that is subscribed and unsubscribed",
        play: |to, pace| Box::pin(patterns(to, pace)),
    },
    Attack {
        name: "responses over HTTP/2 that are not read",
        play: |to, pace| Box::pin(unread_responses(to, pace)),
    },
    Attack { name: "publishes to sessions that do not connect", play: |to, pace| Box::pin(queues(to, pace)) },
    Attack { name: "publishes to new names under `/c/**`", play: |to, pace| Box::pin(routes(to, pace)) },
    Attack { name: "subscriptions to many short names", play: |to, pace| Box::pin(subscriptions(to, pace)) },
    Attack { name: "bodies in chunks of one byte", play: |to, pace| Box::pin(byte_chunks(to, pace)) },
    Attack { name: "batches of empty messages", play: |to, pace| Box::pin(empty_messages(to, pace)) },
    Attack {
        name: "handshakes with names of control characters",
        play: |to, pace| Box::pin(long_names(to, pace)),
    },
    Attack { name: "connections that send nothing", play: |to, _| Box::pin(quiet_connections(to)) },
];

impl Attack {
    /// Goes on until it is stopped, or the server ends it.
    pub(crate) fn play(&self, server: SocketAddr, pace: Pace) -> Playing {
        (self.play)(server, pace)
    }
}

/// New sockets take the place of those that are closed.
async fn pings(server: SocketAddr, pace: Pace) -> Fallible {
    loop {
        // It ends when the server closes it.
        let _ = Deaf::connect(server, pace.clone()).await?.ping().await;
    }
}

async fn patterns(server: SocketAddr, pace: Pace) -> Fallible {
    let mut http = Http::connect(server, pace).await?;
    let id = http.handshake("").await?;
    for names in (0..16_000).collect::<Vec<_>>().chunks(2000) {
        let publishes =
            array(names, |name| format!(r#"{{"channel":"/a/b/{name}","clientId":"{id}","data":1}}"#));
        http.post(&publishes).await?;
    }
    let changes = array(&(0..4000).collect::<Vec<_>>(), |at| {
        let verb = if at % 2 == 0 { "subscribe" } else { "unsubscribe" };
        let pattern = ["/a/*", "/a/**", "/a/b/*", "/**"][at / 2 % 4];
        format!(r#"{{"channel":"/meta/{verb}","clientId":"{id}","subscription":"{pattern}"}}"#)
    });
    loop {
        http.post(&changes).await?;
    }
}

/// Five connections, in each as many streams as the server allows, whose windows never open.
async fn unread_responses(server: SocketAddr, pace: Pace) -> Fallible {
    const STREAMS: usize = 200;
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut http = Http::connect(server, pace.clone()).await?;
        let id = http.handshake(r#","ext":{"ack":true}"#).await?;
        let subscribe =
            format!(r#"[{{"channel":"/meta/subscribe","clientId":"{id}","subscription":"/big/{id}"}}]"#);
        http.post(&subscribe).await?;
        let data = "x".repeat(1_000_000);
        http.post(&format!(r#"[{{"channel":"/big/{id}","clientId":"{id}","data":"{data}"}}]"#)).await?;
        let cookie = http.cookie_value().unwrap_or_default();
        let stream = tokio::net::TcpStream::connect(server).await?;
        let (mut sender, connection) =
            h2::client::Builder::new().initial_window_size(0).handshake::<_, bytes::Bytes>(stream).await?;
        held.push(tokio::spawn(async move {
            // It answers pings, and reads nothing else.
            let _ = connection.await;
        }));
        let mut responses = Vec::new();
        for _ in 0..STREAMS {
            // A stream more than the server allows is not waited for.
            match tokio::time::timeout(Duration::from_millis(200), sender.clone().ready()).await {
                Ok(ready) => sender = ready?,
                Err(_) => break,
            }
            let body = format!(
                r#"[{{"channel":"/meta/connect","clientId":"{id}","connectionType":"long-polling","advice":{{"timeout":0}},"ext":{{"ack":0}}}}]"#
            );
            let request = http_request(server, &cookie)?;
            pace.take(body.len() + 50).await;
            let (response, mut stream) = sender.send_request(request, false)?;
            stream.send_data(bytes::Bytes::from(body), true)?;
            responses.push((response, stream));
        }
        held.push(tokio::spawn(async move {
            let _held = (sender, responses);
            std::future::pending::<()>().await;
        }));
    }
    std::future::pending().await
}

fn http_request(server: SocketAddr, cookie: &str) -> Fallible<http::Request<()>> {
    Ok(http::Request::post(format!("http://{server}/cometd"))
        .header("content-type", "application/json")
        .header("cookie", cookie)
        .body(())?)
}

/// Begins sessions that are subscribed and ask not to have to connect for an hour; the id of the last.
async fn quiet_sessions(http: &mut Http, channel: &str) -> Fallible<String> {
    let mut id = String::new();
    for _ in 0..2000 {
        id = http.handshake("").await?;
        let messages = format!(
            r#"[{{"channel":"/meta/subscribe","clientId":"{id}","subscription":"{channel}"}},{{"channel":"/meta/connect","clientId":"{id}","connectionType":"long-polling","advice":{{"timeout":0,"interval":3600000}}}}]"#
        );
        http.post(&messages).await?;
    }
    Ok(id)
}

async fn queues(server: SocketAddr, pace: Pace) -> Fallible {
    let mut http = Http::connect(server, pace).await?;
    let id = quiet_sessions(&mut http, "/q").await?;
    let publishes =
        array(&(0..10_000).collect::<Vec<_>>(), |_| format!(r#"{{"channel":"/q","clientId":"{id}"}}"#));
    loop {
        http.post(&publishes).await?;
    }
}

async fn routes(server: SocketAddr, pace: Pace) -> Fallible {
    let mut http = Http::connect(server, pace).await?;
    let id = quiet_sessions(&mut http, "/c/**").await?;
    for start in (0..).step_by(2000) {
        let names: Vec<usize> = (start..start + 2000).collect();
        let publishes = array(&names, |name| format!(r#"{{"channel":"/c/{name}","clientId":"{id}"}}"#));
        http.post(&publishes).await?;
    }
    Ok(())
}

async fn subscriptions(server: SocketAddr, pace: Pace) -> Fallible {
    let mut http = Http::connect(server, pace).await?;
    for session in 0_usize.. {
        let id = http.handshake("").await?;
        let names: Vec<String> = (0..10_000).map(|name| format!("\"/{session}/{name}\"")).collect();
        let names = names.join(",");
        http.post(&format!(
            r#"[{{"channel":"/meta/subscribe","clientId":"{id}","subscription":[{names}]}},{{"channel":"/meta/connect","clientId":"{id}","connectionType":"long-polling","advice":{{"timeout":0,"interval":3600000}}}}]"#
        ))
        .await?;
    }
    Ok(())
}

async fn byte_chunks(server: SocketAddr, pace: Pace) -> Fallible {
    let mut http = Http::connect(server, pace).await?;
    let id = http.handshake("").await?;
    let data = "x".repeat(1_000_000);
    let body = format!(r#"[{{"channel":"/chunks","clientId":"{id}","data":"{data}"}}]"#);
    loop {
        http.post_in_bytes(&body).await?;
    }
}

async fn empty_messages(server: SocketAddr, pace: Pace) -> Fallible {
    let body = array(&(0..340_001).collect::<Vec<_>>(), |_| "{}".to_owned());
    loop {
        // Whether the server refuses it and closes the connection is its choice.
        let _ = Http::connect(server, pace.clone()).await?.post(&body).await;
    }
}

async fn long_names(server: SocketAddr, pace: Pace) -> Fallible {
    let name = "\\u0001".repeat(16_000);
    let names: Vec<String> = (0..10).map(|_| format!("\"{name}\"")).collect();
    let body = format!(
        r#"[{{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":[{}]}}]"#,
        names.join(",")
    );
    loop {
        // A refusal is what is expected.
        let _ = Http::connect(server, pace.clone()).await?.post(&body).await;
    }
}

async fn quiet_connections(server: SocketAddr) -> Fallible {
    let mut held = Vec::new();
    while held.len() < 4000 {
        held.push(tokio::net::TcpStream::connect(server).await?);
    }
    std::future::pending().await
}

fn array(items: &[usize], message: impl Fn(usize) -> String) -> String {
    let mut text = String::from("[");
    for item in items {
        let comma = if text.len() > 1 { "," } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{}", message(*item));
    }
    text + "]"
}
