//! The floor: bare loops that read the same frames and parse them into typed envelopes with raw data, and do nothing
//! else: no session, no checks, no caps, no queue, no receiver of messages.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_websockets::{ClientBuilder, Message as TokioMessage};
use tungstenite::{Message, WebSocket};

use crate::Fallible;
use crate::job::{Job, Measured, Task, Tick, Transport};
use crate::meter::{Meter, status_kib};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    channel: &'a str,
    id: Option<&'a str>,
    client_id: Option<&'a str>,
    successful: Option<bool>,
    data: Option<&'a RawValue>,
    ext: Option<&'a RawValue>,
    advice: Option<&'a RawValue>,
}

pub(crate) fn run(job: &Job) -> Fallible {
    let place = Place::of(&job.url)?;
    let measured = match (job.task, job.transport) {
        (Task::Idle, _) => on_tokio(idle(job, &place))?,
        (_, Transport::Websocket) if std::env::var_os("FLOOR_ON_TOKIO").is_some() => {
            on_tokio(tokio_websocket(job, &place))?
        }
        (_, Transport::Websocket) => blocking_websocket(job, &place)?,
        (_, Transport::LongPolling) => long_polling(job, &place)?,
    };
    measured.print()
}

fn on_tokio<T>(work: impl Future<Output = Fallible<T>>) -> Fallible<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Where the feed is.
struct Place {
    address: String,
    path: String,
}

impl Place {
    fn of(url: &str) -> Fallible<Self> {
        let (_, rest) = url.split_once("://").ok_or("no URL")?;
        let (address, path) = rest.split_once('/').ok_or("no path")?;
        Ok(Self { address: address.to_owned(), path: format!("/{path}") })
    }

    fn websocket_url(&self) -> String {
        format!("ws://{}{}", self.address, self.path)
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn connect(job: &Job, place: &Place) -> Fallible<Box<dyn Stream>> {
    let tcp = TcpStream::connect(&place.address)?;
    tcp.set_nodelay(true)?;
    let Some(config) = tls(job)? else { return Ok(Box::new(tcp)) };
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1")?;
    let client = rustls::ClientConnection::new(config, name)?;
    Ok(Box::new(rustls::StreamOwned::new(client, tcp)))
}

fn tls(job: &Job) -> Fallible<Option<Arc<rustls::ClientConfig>>> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let Some(ca) = &job.ca else { return Ok(None) };
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Some(Arc::new(config)))
}

// The messages of a client, as text.

fn handshake(ack: bool) -> String {
    let ext = if ack { r#","ext":{"ack":true}"# } else { "" };
    format!(
        r#"[{{"channel":"/meta/handshake","id":"1","version":"1.0","supportedConnectionTypes":["websocket","long-polling"]{ext}}}]"#
    )
}

fn client_id(reply: &str) -> Fallible<String> {
    let replies: Vec<Envelope<'_>> = serde_json::from_str(reply)?;
    Ok(replies.first().and_then(|reply| reply.client_id).ok_or("no session")?.to_owned())
}

fn connect_message(client: &str, id: u64, transport: Transport, batch: Option<u64>) -> String {
    let ext = batch.map_or_else(String::new, |batch| format!(r#","ext":{{"ack":{batch}}}"#));
    format!(
        r#"[{{"channel":"/meta/connect","id":"{id}","clientId":"{client}","connectionType":"{}"{ext}}}]"#,
        transport.name()
    )
}

fn publish(client: &str, id: u64, channel: &str, data: &str) -> String {
    format!(r#"[{{"channel":"{channel}","id":"{id}","clientId":"{client}","data":{data}}}]"#)
}

fn typed(job: &Job) -> bool {
    matches!(job.task, Task::Typed | Task::Stream)
}

/// What a loop does with the text of a frame or body. How many events were in it, and the number of the batch that it
/// ends.
fn parse(text: &str, typed: bool) -> Fallible<(u64, Option<u64>)> {
    let envelopes: Vec<Envelope<'_>> = serde_json::from_str(text)?;
    let mut events = 0;
    let mut batch = None;
    for envelope in &envelopes {
        match envelope.data {
            Some(data) => {
                events += 1;
                if typed {
                    let tick: Tick = serde_json::from_str(data.get())?;
                    std::hint::black_box((tick.n, tick.text));
                }
            }
            None => {
                #[derive(Deserialize)]
                struct Ack {
                    ack: u64,
                }
                let ext = envelope.ext.map(|ext| serde_json::from_str::<Ack>(ext.get()).map(|ext| ext.ack));
                batch = ext.transpose()?.or(batch);
            }
        }
        std::hint::black_box((envelope.channel, envelope.id, envelope.successful, envelope.advice));
    }
    Ok((events, batch))
}

fn blocking_websocket(job: &Job, place: &Place) -> Fallible<Measured> {
    let (mut socket, _) = tungstenite::client(place.websocket_url(), connect(job, place)?)
        .map_err(|error| error.to_string())?;
    let next = |socket: &mut WebSocket<Box<dyn Stream>>| -> Fallible<tungstenite::Utf8Bytes> {
        loop {
            if let Message::Text(text) = socket.read()? {
                return Ok(text);
            }
        }
    };
    let ack = job.ack > 0;
    socket.send(Message::text(handshake(ack)))?;
    let client = client_id(&next(&mut socket)?)?;
    let mut id = 10;
    let mut meter = Meter::of(job);
    match job.task {
        Task::Receive | Task::Typed | Task::Stream | Task::Long => {
            socket.send(Message::text(publish(&client, 2, crate::feed::GO, "1")))?;
            let mut batch = ack.then_some(0);
            socket.send(Message::text(connect_message(&client, 3, job.transport, batch)))?;
            loop {
                let text = next(&mut socket)?;
                let (events, ended) = parse(&text, typed(job))?;
                if ack && ended.is_some() {
                    batch = ended;
                    id += 1;
                    socket.send(Message::text(connect_message(&client, id, job.transport, batch)))?;
                }
                if let Some(measured) = meter.messages(events) {
                    return Ok(measured);
                }
            }
        }
        Task::Publish | Task::Request => {
            let channel = if job.task == Task::Request { "/service/echo" } else { "/bench/publish" };
            loop {
                let began = Instant::now();
                id += 1;
                let data = serde_json::to_string(&job.payload())?;
                socket.send(Message::text(publish(&client, id, channel, &data)))?;
                parse(&next(&mut socket)?, false)?;
                if let Some(measured) = meter.call(began) {
                    return Ok(measured);
                }
            }
        }
        Task::Pipelined => {
            let payload = job.payload();
            let mut send = |socket: &mut WebSocket<Box<dyn Stream>>, count: usize| -> Fallible {
                for _ in 0..count {
                    id += 1;
                    let data = serde_json::to_string(&payload)?;
                    socket.write(Message::text(publish(&client, id, "/bench/publish", &data)))?;
                }
                Ok(socket.flush()?)
            };
            let half = (job.count / 2).max(1);
            send(&mut socket, half)?;
            loop {
                send(&mut socket, half)?;
                for _ in 0..half {
                    parse(&next(&mut socket)?, false)?;
                    if let Some(measured) = meter.message() {
                        return Ok(measured);
                    }
                }
            }
        }
        Task::Idle => Err("idle clients are on tokio".into()),
    }
}

async fn tokio_websocket(job: &Job, place: &Place) -> Fallible<Measured> {
    let (mut socket, _) = open(job, place).await?;
    socket.send(TokioMessage::text(handshake(job.ack > 0))).await?;
    let reply = socket.next().await.ok_or("closed")??;
    let client = client_id(reply.as_text().ok_or("no text")?)?;
    let mut meter = Meter::of(job);
    let mut id = 10;
    match job.task {
        Task::Receive | Task::Typed | Task::Stream | Task::Long => {
            socket.send(TokioMessage::text(publish(&client, 2, crate::feed::GO, "1"))).await?;
            let mut batch = (job.ack > 0).then_some(0);
            socket.send(TokioMessage::text(connect_message(&client, 3, job.transport, batch))).await?;
            loop {
                let message = socket.next().await.ok_or("closed")??;
                let Some(text) = message.as_text() else { continue };
                let (events, ended) = parse(text, typed(job))?;
                if batch.is_some() && ended.is_some() {
                    batch = ended;
                    id += 1;
                    let connect = connect_message(&client, id, job.transport, batch);
                    socket.send(TokioMessage::text(connect)).await?;
                }
                if let Some(measured) = meter.messages(events) {
                    return Ok(measured);
                }
            }
        }
        Task::Publish | Task::Request => {
            let channel = if job.task == Task::Request { "/service/echo" } else { "/bench/publish" };
            loop {
                let began = Instant::now();
                id += 1;
                let data = serde_json::to_string(&job.payload())?;
                socket.send(TokioMessage::text(publish(&client, id, channel, &data))).await?;
                let reply = socket.next().await.ok_or("closed")??;
                parse(reply.as_text().ok_or("no text")?, false)?;
                if let Some(measured) = meter.call(began) {
                    return Ok(measured);
                }
            }
        }
        Task::Pipelined => {
            let payload = job.payload();
            let half = (job.count / 2).max(1);
            let mut wanted = 2 * half;
            loop {
                for _ in 0..wanted {
                    id += 1;
                    let data = serde_json::to_string(&payload)?;
                    socket.feed(TokioMessage::text(publish(&client, id, "/bench/publish", &data))).await?;
                }
                socket.flush().await?;
                wanted = half;
                for _ in 0..half {
                    let reply = socket.next().await.ok_or("closed")??;
                    parse(reply.as_text().ok_or("no text")?, false)?;
                    if let Some(measured) = meter.message() {
                        return Ok(measured);
                    }
                }
            }
        }
        Task::Idle => Err("idle clients are many".into()),
    }
}

trait Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send> Io for T {}

async fn open(
    job: &Job,
    place: &Place,
) -> Fallible<(tokio_websockets::WebSocketStream<Box<dyn Io>>, tokio_websockets::upgrade::Response)> {
    let url = place.websocket_url();
    let tcp = tokio::net::TcpStream::connect(&place.address).await?;
    tcp.set_nodelay(true)?;
    let io: Box<dyn Io> = match tls(job)? {
        None => Box::new(tcp),
        Some(config) => {
            let name = rustls::pki_types::ServerName::try_from("127.0.0.1")?;
            Box::new(tokio_rustls::TlsConnector::from(config).connect(name, tcp).await?)
        }
    };
    Ok(ClientBuilder::new().uri(&url)?.connect_on(io).await?)
}

/// HTTP/1.1 on one connection.
struct Http<'a> {
    stream: Box<dyn Stream>,
    place: &'a Place,
    input: Vec<u8>,
}

impl Http<'_> {
    /// Sends a body, and hands the response's to `read`.
    fn post<T>(&mut self, body: &str, read: impl FnOnce(&str) -> Fallible<T>) -> Fallible<T> {
        let Place { address, path } = self.place;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes())?;
        self.stream.flush()?;
        let mut filled = 0;
        loop {
            if self.input.len() - filled < 4096 {
                self.input.resize((self.input.len() * 2).max(64 * 1024), 0);
            }
            let count = self.stream.read(&mut self.input[filled..])?;
            if count == 0 {
                return Err("closed".into());
            }
            filled += count;
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut response = httparse::Response::new(&mut headers);
            if let httparse::Status::Complete(head) = response.parse(&self.input[..filled])? {
                let length = response.headers.iter().find(|header| header.name == "Content-Length");
                let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
                let whole = head + length.unwrap_or(0);
                while filled < whole {
                    self.input.resize(self.input.len().max(whole), 0);
                    filled += self.stream.read(&mut self.input[filled..])?;
                }
                return read(std::str::from_utf8(&self.input[head..whole])?);
            }
        }
    }
}

fn long_polling(job: &Job, place: &Place) -> Fallible<Measured> {
    let mut http = Http { stream: connect(job, place)?, place, input: Vec::new() };
    let client = http.post(&handshake(job.ack > 0), client_id)?;
    let mut meter = Meter::of(job);
    let mut id = 10;
    match job.task {
        Task::Receive | Task::Typed | Task::Stream | Task::Long => {
            http.post(&publish(&client, 2, crate::feed::GO, "1"), |_| Ok(()))?;
            let mut batch = (job.ack > 0).then_some(0);
            loop {
                id += 1;
                let connect = connect_message(&client, id, job.transport, batch);
                let (events, ended) = http.post(&connect, |text| parse(text, typed(job)))?;
                batch = batch.and(ended);
                if let Some(measured) = meter.messages(events) {
                    return Ok(measured);
                }
            }
        }
        Task::Publish | Task::Request | Task::Pipelined => {
            let channel = if job.task == Task::Request { "/service/echo" } else { "/bench/publish" };
            loop {
                let began = Instant::now();
                id += 1;
                let data = serde_json::to_string(&job.payload())?;
                http.post(&publish(&client, id, channel, &data), |text| parse(text, false))?;
                if let Some(measured) = meter.call(began) {
                    return Ok(measured);
                }
            }
        }
        Task::Idle => Err("idle clients are on tokio".into()),
    }
}

/// Sockets that a task reads from, and no more.
async fn idle(job: &Job, place: &Place) -> Fallible<Measured> {
    let before = status_kib("VmRSS");
    for _ in 0..job.count {
        match job.transport {
            Transport::Websocket => {
                let (mut socket, _) = open(job, place).await?;
                socket.send(TokioMessage::text(handshake(false))).await?;
                let reply = socket.next().await.ok_or("closed")??;
                let client = client_id(reply.as_text().ok_or("no text")?)?;
                socket.send(TokioMessage::text(connect_message(&client, 3, job.transport, None))).await?;
                tokio::spawn(async move { while socket.next().await.is_some_and(|next| next.is_ok()) {} });
            }
            Transport::LongPolling => {
                let mut poll = Poll::open(place).await?;
                let client = client_id(&poll.post(&handshake(false)).await?)?;
                // The first is answered at once.
                poll.post(&connect_message(&client, 3, job.transport, None)).await?;
                let connect = connect_message(&client, 4, job.transport, None);
                tokio::spawn(async move { poll.post(&connect).await.is_ok() });
            }
        }
    }
    tokio::time::sleep(job.time()).await;
    Ok(Measured {
        messages: job.count as f64,
        seconds: job.time().as_secs_f64(),
        peak_kib: status_kib("VmHWM"),
        client_kib: (status_kib("VmRSS") - before) / job.count as f64,
        ..Measured::default()
    })
}

/// A connection for small replies, on tokio.
struct Poll {
    stream: tokio::net::TcpStream,
    head: String,
    input: Vec<u8>,
}

impl Poll {
    async fn open(place: &Place) -> Fallible<Self> {
        let stream = tokio::net::TcpStream::connect(&place.address).await?;
        stream.set_nodelay(true)?;
        let Place { address, path } = place;
        let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: ");
        Ok(Self { stream, head, input: vec![0; 8192] })
    }

    async fn post(&mut self, body: &str) -> Fallible<String> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let request = format!("{}{}\r\n\r\n{body}", self.head, body.len());
        self.stream.write_all(request.as_bytes()).await?;
        let count = self.stream.read(&mut self.input).await?;
        let response = std::str::from_utf8(&self.input[..count])?;
        Ok(response.split_once("\r\n\r\n").ok_or("no response")?.1.to_owned())
    }
}
