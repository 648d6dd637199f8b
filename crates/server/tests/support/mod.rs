//! Clients of the tower service without TCP, and of sockets over loopback.

#![allow(dead_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::needless_pass_by_value)]

pub(crate) mod raw;

use std::time::Duration;

use bayeux_server::{HttpService, Server};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tower::Service;

/// Nothing here takes long; this only bounds what is broken.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// What a request was answered with.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn messages(&self) -> Vec<Value> {
        assert_eq!(self.status, StatusCode::OK, "{:?}", self.body);
        serde_json::from_slice(&self.body).expect("an array")
    }

    pub(crate) fn set_cookie(&self) -> Option<String> {
        let cookie = self.headers.get("set-cookie")?.to_str().unwrap();
        Some(cookie.split(';').next().unwrap().to_owned())
    }
}

/// Sends a request to the service, without a socket in between.
pub(crate) async fn call(mut service: HttpService, request: Request<Full<Bytes>>) -> Answer {
    let Ok(response) = service.call(request).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status, headers: head.headers, body }
}

pub(crate) fn request(cookie: Option<&str>, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = Request::post("/cometd").header("content-type", "application/json");
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    request.body(Full::new(body.into())).unwrap()
}

/// A session over HTTP.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    service: HttpService,
    pub(crate) id: String,
    pub(crate) cookie: Option<String>,
}

impl Client {
    pub(crate) async fn handshake(server: &Server, cookie: Option<&str>) -> Self {
        let answer = call(server.service(), request(cookie, json!([handshake()]).to_string())).await;
        let id = answer.messages()[0]["clientId"].as_str().expect("a session").to_owned();
        let cookie = answer.set_cookie().or_else(|| cookie.map(str::to_owned));
        Self { service: server.service(), id, cookie }
    }

    /// A session whose first connect was answered.
    pub(crate) async fn connected(server: &Server, cookie: Option<&str>) -> Self {
        let client = Self::handshake(server, cookie).await;
        let replies = client.connect(json!({"advice": {"timeout": 0}})).await.messages();
        assert_eq!(replies.last().unwrap()["successful"], true);
        client
    }

    pub(crate) async fn send(&self, messages: Value) -> Answer {
        let body = sign(&self.id, messages).to_string();
        call(self.service.clone(), request(self.cookie.as_deref(), body)).await
    }

    pub(crate) async fn post(&self, messages: Value) -> Vec<Value> {
        self.send(messages).await.messages()
    }

    pub(crate) async fn connect(&self, more: Value) -> Answer {
        self.send(json!([connect(more)])).await
    }

    /// A connect in a task of its own, which the server has got when this returns.
    pub(crate) async fn held(&self) -> tokio::task::JoinHandle<Answer> {
        let client = self.clone();
        let task = tokio::spawn(async move { client.connect(json!({})).await });
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!task.is_finished(), "it is held");
        task
    }
}

pub(crate) fn handshake() -> Value {
    json!({"channel": "/meta/handshake", "id": "h", "version": "1.0",
        "supportedConnectionTypes": ["websocket", "long-polling"]})
}

pub(crate) fn connect(more: Value) -> Value {
    let mut message = json!({"channel": "/meta/connect", "id": "c", "connectionType": "long-polling"});
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    message
}

pub(crate) fn sign(id: &str, mut messages: Value) -> Value {
    for message in messages.as_array_mut().unwrap() {
        message["clientId"] = json!(id);
    }
    messages
}

/// A WebSocket of another implementation's making.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// What comes over a socket.
#[derive(Debug, PartialEq)]
pub(crate) enum Got {
    Messages(Vec<Value>),
    Close(u16, String),
    /// The end without a goodbye.
    End,
}

impl Socket {
    pub(crate) async fn open(url: &str) -> Self {
        Self::open_with(url, &[]).await.expect("a socket")
    }

    /// Opens a socket with more headers; the HTTP status when it is refused.
    pub(crate) async fn open_with(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, StatusCode> {
        let mut request = url.replacen("http", "ws", 1).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match tokio::time::timeout(SOON, connect_async(request)).await.expect("an answer") {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(tungstenite::Error::Http(response)) => Err(response.status()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Opens a socket and a session whose first connect was answered.
    pub(crate) async fn connected(url: &str) -> (Self, String) {
        let mut socket = Self::open(url).await;
        let id = socket.ask(json!([handshake()])).await[0]["clientId"].as_str().unwrap().to_owned();
        let replies = socket.ask(sign(&id, json!([connect(json!({"advice": {"timeout": 0}}))]))).await;
        assert_eq!(replies[0]["successful"], true);
        (socket, id)
    }

    pub(crate) async fn send(&mut self, messages: Value) {
        self.send_raw(Message::text(messages.to_string())).await;
    }

    pub(crate) async fn send_raw(&mut self, message: Message) {
        tokio::time::timeout(SOON, self.0.send(message)).await.expect("it is read").expect("an open socket");
    }

    pub(crate) async fn next(&mut self) -> Got {
        loop {
            return match tokio::time::timeout(SOON, self.0.next()).await.expect("something") {
                Some(Ok(Message::Text(text))) => Got::Messages(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(Some(close)))) => {
                    Got::Close(close.code.into(), close.reason.to_string())
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(other)) => panic!("{other:?}"),
                Some(Err(_)) | None => Got::End,
            };
        }
    }

    pub(crate) async fn messages(&mut self) -> Vec<Value> {
        match self.next().await {
            Got::Messages(messages) => messages,
            other => panic!("no messages but {other:?}"),
        }
    }

    pub(crate) async fn ask(&mut self, messages: Value) -> Vec<Value> {
        self.send(messages).await;
        self.messages().await
    }
}

/// The payloads of the events among the messages.
pub(crate) fn events(messages: &[Value]) -> Vec<Value> {
    messages.iter().filter_map(|message| message.get("data").cloned()).collect()
}
