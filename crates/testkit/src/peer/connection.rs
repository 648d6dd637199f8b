//! One connection of a client: HTTP/1.1 by hand, and a WebSocket after an upgrade.

use std::io::{Error, Result};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bayeux_proto::websocket::accept_key;
use bytes::Bytes;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{broadcast, watch};

use super::answer::{Action, Answer};
use super::frame;
use super::request::{Request, RequestKind};

type Script = Box<dyn FnMut(&Request) -> Answer + Send>;

/// What all connections of a peer share.
pub(super) struct Stage {
    pub(super) script: Mutex<Script>,
    pub(super) received: watch::Sender<Vec<Request>>,
    pub(super) words: broadcast::Sender<Word>,
    pub(super) open: watch::Sender<usize>,
    /// HTTP requests that are being answered, and the most there were of them.
    pub(super) in_flight: Mutex<(usize, usize)>,
}

/// Commands of the test to all connections.
#[derive(Clone, Debug)]
pub(super) enum Word {
    Push(Vec<Value>),
    Raw(Bytes),
    /// A session has ended: connects are no longer held.
    Disconnected,
    Cut,
}

type Words = broadcast::Receiver<Word>;

impl Stage {
    /// Records a request and calls the script.
    fn ask(&self, mut request: Request) -> Answer {
        request.messages = messages(&request.body);
        self.received.send_modify(|received| {
            request.nth = received.iter().filter(|earlier| earlier.name() == request.name()).count();
            received.push(request.clone());
        });
        (*self.script.lock().unwrap_or_else(PoisonError::into_inner))(&request)
    }
}

/// Serves a connection until it ends, or is cut.
pub(super) async fn serve(client: TcpStream, number: usize, stage: &Stage, mut words: Words) -> Result<()> {
    client.set_nodelay(true)?;
    let mut client = BufReader::new(client);
    while let Some(request) = unless_cut(&mut words, read_request(&mut client, number)).await? {
        let upgrade = (request.kind == RequestKind::Upgrade).then(|| request.clone());
        let ends = ends_session(&request.body);
        let _in_flight = InFlight::new(stage);
        let answer = stage.ask(request);
        unless_cut(&mut words.resubscribe(), pause(&mut client, answer.after)).await?;
        match answer.action {
            Action::Accept { listens } => {
                let upgrade = upgrade.ok_or_else(|| Error::other("there is nothing to upgrade"))?;
                accept(&mut client, &upgrade, &answer.headers).await?;
                return if listens {
                    socket(client, &upgrade, stage, words).await
                } else {
                    unless_cut(&mut words, listen_in_vain(&mut client)).await
                };
            }
            _ => respond(&mut client, &answer, &mut words).await?,
        }
        if ends {
            // Connects are no longer held.
            let _ = stage.words.send(Word::Disconnected);
        }
        if answer.then_cut {
            return Ok(());
        }
    }
    Ok(())
}

struct InFlight<'a>(&'a Stage);

impl<'a> InFlight<'a> {
    fn new(stage: &'a Stage) -> Self {
        let mut in_flight = stage.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        in_flight.0 += 1;
        in_flight.1 = in_flight.1.max(in_flight.0);
        Self(stage)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.lock().unwrap_or_else(PoisonError::into_inner).0 -= 1;
    }
}

/// Ends with an error when the test cuts the connection.
async fn unless_cut<T>(words: &mut Words, work: impl Future<Output = Result<T>>) -> Result<T> {
    let cut = async {
        loop {
            match words.recv().await {
                Ok(Word::Cut) | Err(broadcast::error::RecvError::Closed) => return,
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            }
        }
    };
    tokio::select! {
        biased;
        () = cut => Err(Error::other("cut")),
        outcome = work => outcome,
    }
}

async fn pause(client: &mut BufReader<TcpStream>, pause: Duration) -> Result<()> {
    if pause.is_zero() {
        return Ok(());
    }
    tokio::select! {
        () = tokio::time::sleep(pause) => Ok(()),
        ended = listen_in_vain(client) => ended,
    }
}

/// Reads until the client closes the connection.
async fn listen_in_vain(client: &mut BufReader<TcpStream>) -> Result<()> {
    let mut nothing = [0; 1024];
    while client.read(&mut nothing).await? > 0 {}
    Err(Error::other("the client closed the connection"))
}

async fn read_request(client: &mut BufReader<TcpStream>, connection: usize) -> Result<Option<Request>> {
    const MOST: usize = 64 * 1024;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) if head.len() < MOST => head.push(byte),
            Ok(_) => return Err(Error::other("the headers have no end")),
            Err(_) => return Ok(None),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let header = |name| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let chunked = header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    let kind = match method {
        "POST" => RequestKind::Post,
        "GET" if header("upgrade").is_some() => RequestKind::Upgrade,
        _ => RequestKind::Other,
    };
    let mut body = vec![0; length];
    client.read_exact(&mut body).await?;
    if chunked {
        read_chunks(client, &mut body).await?;
    }
    let (path, body, messages) = (path.to_owned(), body.into(), Vec::new());
    Ok(Some(Request { kind, path, headers, body, messages, connection, nth: 0 }))
}

async fn read_chunks(client: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        client.read_line(&mut line).await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        match usize::from_str_radix(size, 16) {
            Ok(0) => break,
            Ok(size) => {
                let start = body.len();
                body.resize(start + size, 0);
                client.read_exact(&mut body[start..]).await?;
                client.read_line(&mut line).await?;
            }
            Err(_) => return Err(Error::other("a chunk without a size")),
        }
    }
    // The trailer ends with an empty line.
    loop {
        line.clear();
        if client.read_line(&mut line).await? <= "\r\n".len() {
            return Ok(());
        }
    }
}

async fn respond(client: &mut BufReader<TcpStream>, answer: &Answer, words: &mut Words) -> Result<()> {
    let headers = &answer.headers;
    match &answer.action {
        Action::Messages { now, hold } => {
            let mut messages = now.clone();
            if !hold.is_empty() && messages.is_empty() {
                messages = until_reason(client, words).await?;
            }
            messages.extend(hold.iter().cloned());
            let body = Value::Array(messages).to_string();
            let mut response = head(200, headers, body.len());
            response.push_str(&body);
            client.write_all(response.as_bytes()).await
        }
        Action::Body { status, body } => {
            client.write_all(head(*status, headers, body.len()).as_bytes()).await?;
            client.write_all(body).await
        }
        Action::Raw(bytes) => client.write_all(bytes).await,
        Action::Partly { body, sent, cut } => {
            client.write_all(head(200, headers, body.len()).as_bytes()).await?;
            client.write_all(&body[..(*sent).min(body.len())]).await?;
            client.flush().await?;
            if *cut {
                return Err(Error::other("cut by the script"));
            }
            unless_cut(words, listen_in_vain(client)).await
        }
        Action::Drip { body, piece, every } => {
            client.write_all(head(200, headers, body.len()).as_bytes()).await?;
            for piece in body.chunks(*piece) {
                unless_cut(words, pause(client, *every)).await?;
                client.write_all(piece).await?;
            }
            Ok(())
        }
        Action::Silence => unless_cut(words, listen_in_vain(client)).await,
        Action::Cut | Action::Close { .. } | Action::Accept { .. } => Err(Error::other("cut by the script")),
    }
}

/// Waits until a held connect can be answered, and returns the events for it.
async fn until_reason(client: &mut BufReader<TcpStream>, words: &mut Words) -> Result<Vec<Value>> {
    let reason = async {
        loop {
            match words.recv().await {
                Ok(Word::Push(events)) => return Ok(events),
                Ok(Word::Disconnected) => return Ok(Vec::new()),
                Ok(Word::Raw(_)) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Ok(Word::Cut) | Err(broadcast::error::RecvError::Closed) => return Err(Error::other("cut")),
            }
        }
    };
    tokio::select! {
        reason = reason => reason,
        ended = listen_in_vain(client) => ended.map(|()| Vec::new()),
    }
}

fn head(status: u16, headers: &[(String, String)], length: usize) -> String {
    let mut head = format!("HTTP/1.1 {status} {}\r\ncontent-length: {length}\r\n", phrase(status));
    if length > 0 && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        head.push_str("content-type: application/json\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        503 => "Service Unavailable",
        _ => "As Scripted",
    }
}

async fn accept(
    client: &mut BufReader<TcpStream>,
    upgrade: &Request,
    headers: &[(String, String)],
) -> Result<()> {
    let accept = accept_key(upgrade.header("sec-websocket-key").unwrap_or_default().as_bytes());
    let mut response =
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n".to_owned();
    response.push_str(&format!("sec-websocket-accept: {accept}\r\n"));
    for (name, value) in headers {
        response.push_str(&format!("{name}: {value}\r\n"));
    }
    response.push_str("\r\n");
    client.write_all(response.as_bytes()).await
}

/// Serves a WebSocket: the frames of the client and the commands of the test.
async fn socket(
    client: BufReader<TcpStream>,
    upgrade: &Request,
    stage: &Stage,
    mut words: Words,
) -> Result<()> {
    let (reading, mut writing) = tokio::io::split(client);
    // A task of its own reads whole frames, so that a `select!` cannot lose a part of one.
    let (frames, mut arrived) = tokio::sync::mpsc::channel(64);
    let reader = tokio::spawn(async move {
        let mut reading = reading;
        while let Ok(frame) = frame::read(&mut reading).await {
            if frames.send(frame).await.is_err() {
                return;
            }
        }
    });
    let _reader = Reader(reader);
    let mut held: Vec<Value> = Vec::new();
    loop {
        tokio::select! {
            arrival = arrived.recv() => match arrival {
                None => return Ok(()),
                Some((frame::CLOSE, payload)) => {
                    let request = Request { kind: RequestKind::Other, path: "close".to_owned(), body: payload.clone().into(), ..upgrade.clone() };
                    stage.received.send_modify(|received| received.push(request));
                    return writing.write_all(&frame::encode(frame::CLOSE, &payload)).await;
                }
                Some((frame::PING, payload)) => writing.write_all(&frame::encode(frame::PONG, &payload)).await?,
                Some((frame::TEXT, payload)) => {
                    let request = Request { kind: RequestKind::Frame, body: payload.into(), ..upgrade.clone() };
                    let ends = ends_session(&request.body);
                    let answer = stage.ask(request);
                    unless_cut(&mut words.resubscribe(), async { tokio::time::sleep(answer.after).await; Ok(()) }).await?;
                    let then_cut = answer.then_cut;
                    speak(&mut writing, answer, &mut held, &mut words).await?;
                    if ends && !held.is_empty() {
                        let replies = Value::Array(std::mem::take(&mut held)).to_string();
                        writing.write_all(&frame::encode(frame::TEXT, replies.as_bytes())).await?;
                    }
                    if then_cut {
                        return Ok(());
                    }
                }
                Some(_) => {}
            },
            word = words.recv() => match word {
                Ok(Word::Push(events)) => {
                    let body = Value::Array(events).to_string();
                    writing.write_all(&frame::encode(frame::TEXT, body.as_bytes())).await?;
                }
                Ok(Word::Raw(bytes)) => writing.write_all(&bytes).await?,
                Ok(Word::Disconnected) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Ok(Word::Cut) | Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
        }
    }
}

struct Reader(tokio::task::JoinHandle<()>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn messages(body: &[u8]) -> Vec<Value> {
    match serde_json::from_slice(body) {
        Ok(Value::Array(messages)) => messages,
        Ok(message @ Value::Object(_)) => vec![message],
        _ => Vec::new(),
    }
}

fn ends_session(body: &[u8]) -> bool {
    messages(body).iter().any(|message| message["channel"] == "/meta/disconnect")
}

async fn speak(
    writing: &mut tokio::io::WriteHalf<BufReader<TcpStream>>,
    answer: Answer,
    held: &mut Vec<Value>,
    words: &mut Words,
) -> Result<()> {
    match answer.action {
        Action::Messages { now, hold } => {
            held.extend(hold);
            if now.is_empty() {
                return Ok(());
            }
            let body = Value::Array(now).to_string();
            writing.write_all(&frame::encode(frame::TEXT, body.as_bytes())).await
        }
        Action::Body { body, .. } => writing.write_all(&frame::encode(frame::TEXT, &body)).await,
        Action::Raw(bytes) => writing.write_all(&bytes).await,
        Action::Partly { body, sent, cut } => {
            let frame = frame::encode(frame::TEXT, &body);
            let header = frame.len() - body.len();
            writing.write_all(&frame[..(header + sent).min(frame.len())]).await?;
            if cut { Err(Error::other("cut by the script")) } else { Ok(()) }
        }
        Action::Drip { body, piece, every } => {
            for piece in frame::encode(frame::TEXT, &body).chunks(piece) {
                unless_cut(words, async {
                    tokio::time::sleep(every).await;
                    Ok(())
                })
                .await?;
                writing.write_all(piece).await?;
            }
            Ok(())
        }
        Action::Silence | Action::Accept { .. } => Ok(()),
        Action::Cut => Err(Error::other("cut by the script")),
        Action::Close { code, reason } => {
            let mut payload = code.to_be_bytes().to_vec();
            payload.extend_from_slice(reason.as_bytes());
            writing.write_all(&frame::encode(frame::CLOSE, &payload)).await?;
            Err(Error::other("closed by the script"))
        }
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage").field("received", &self.received.borrow().len()).finish_non_exhaustive()
    }
}
