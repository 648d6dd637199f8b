//! Long-polling: each batch is a POST, its response the answer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bayeux_proto::client::{ExchangeId, Failure, FailureKind};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode};
use url::Url;

use super::failure::{broken_body, display_url, from_reqwest};
use super::http::HttpStack;

/// The requests that are on their way, polled by the driver's task.
pub(crate) struct LongPolling {
    http: Arc<HttpStack>,
    exchanges: Vec<Exchange>,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum LongPollingEvent {
    /// The whole body of a response.
    Received(ExchangeId, Bytes),
    /// A part of a response has come.
    Progress(ExchangeId),
    /// There is no response, or none that could be used.
    Failed(ExchangeId, Failure),
}

struct Exchange {
    id: ExchangeId,
    url: Url,
    stage: Stage,
}

enum Stage {
    Sending(Pin<Box<dyn Future<Output = Result<reqwest::Response, Failure>> + Send>>),
    Reading {
        body: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
        chunks: Vec<Bytes>,
        size: usize,
    },
}

impl LongPolling {
    pub(crate) fn new(http: Arc<HttpStack>) -> Self {
        Self { http, exchanges: Vec::new() }
    }

    /// Starts a request.
    pub(crate) fn send(&mut self, id: ExchangeId, url: Url, headers: HeaderMap, body: Bytes) {
        let http = Arc::clone(&self.http);
        let stage = Stage::Sending(Box::pin(post(http, url.clone(), headers, body)));
        self.exchanges.push(Exchange { id, url, stage });
    }

    /// Gives a request up.
    pub(crate) fn cancel(&mut self, id: ExchangeId) {
        self.exchanges.retain(|exchange| exchange.id != id);
    }

    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<LongPollingEvent> {
        let cap = self.http.max_message_size();
        for at in 0..self.exchanges.len() {
            if let Poll::Ready((event, done)) = self.exchanges[at].poll(cap, cx) {
                if done {
                    self.exchanges.remove(at);
                }
                return Poll::Ready(event);
            }
        }
        Poll::Pending
    }
}

impl Exchange {
    /// The next event, and whether it is the last.
    fn poll(&mut self, cap: usize, cx: &mut Context<'_>) -> Poll<(LongPollingEvent, bool)> {
        let id = self.id;
        let failed = |failure| Poll::Ready((LongPollingEvent::Failed(id, failure), true));
        loop {
            match &mut self.stage {
                Stage::Sending(sending) => match sending.as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(failure)) => return failed(failure),
                    Poll::Ready(Ok(response)) => {
                        if response.content_length().is_some_and(|length| length > cap as u64) {
                            return failed(too_large(cap, &self.url));
                        }
                        let body = Box::pin(response.bytes_stream());
                        self.stage = Stage::Reading { body, chunks: Vec::new(), size: 0 };
                    }
                },
                Stage::Reading { body, chunks, size } => match body.as_mut().poll_next(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(Err(error))) => return failed(broken_body(&error, &self.url)),
                    Poll::Ready(Some(Ok(chunk))) => {
                        *size += chunk.len();
                        if *size > cap {
                            return failed(too_large(cap, &self.url));
                        }
                        chunks.push(chunk);
                        return Poll::Ready((LongPollingEvent::Progress(id), false));
                    }
                    Poll::Ready(None) => {
                        let body = join(std::mem::take(chunks), *size);
                        return Poll::Ready((LongPollingEvent::Received(id, body), true));
                    }
                },
            }
        }
    }
}

fn join(mut chunks: Vec<Bytes>, size: usize) -> Bytes {
    if chunks.len() == 1 {
        return chunks.remove(0);
    }
    let mut body = BytesMut::with_capacity(size);
    chunks.iter().for_each(|chunk| body.extend_from_slice(chunk));
    body.freeze()
}

fn too_large(cap: usize, url: &Url) -> Failure {
    let text = format!(
        "the response of {} is larger than {cap} bytes; max_message_size raises the limit",
        display_url(url)
    );
    Failure::new(FailureKind::TooLarge, text)
}

/// Sends a POST and follows the redirects that keep it one: 307 and 308, on the same origin. Others would turn it
/// into a GET, or carry credentials elsewhere.
async fn post(
    http: Arc<HttpStack>,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
) -> Result<reqwest::Response, Failure> {
    const REDIRECTS: usize = 5;
    let client = http
        .polling(&url)
        .map_err(|error| Failure::new(FailureKind::Tls, format!("{}: {error}", display_url(&url))))?;
    let mut target = url.clone();
    for _ in 0..=REDIRECTS {
        let response = client
            .post(target.clone())
            .headers(headers.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"))
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .body(body.clone())
            .send()
            .await
            .map_err(|error| from_reqwest(&error, &target))?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        let location =
            response.headers().get(LOCATION).and_then(|value| target.join(value.to_str().ok()?).ok());
        match location {
            Some(next) if keeps_method(status) && next.origin() == url.origin() => target = next,
            _ => return Err(not_ok(response, &target, location).await),
        }
    }
    let text = format!("{} redirects more than {REDIRECTS} times", display_url(&url));
    Err(Failure::new(FailureKind::Http { status: 308 }, text))
}

fn keeps_method(status: StatusCode) -> bool {
    matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
}

/// How long the first words of an error page may take.
const HINT: Duration = Duration::from_secs(1);

async fn not_ok(response: reqwest::Response, url: &Url, location: Option<Url>) -> Failure {
    let status = response.status();
    let url = display_url(url);
    let text = match location {
        Some(location) if status.is_redirection() => format!(
            "{url} answered HTTP {status} to {}, which is not followed: use that URL if you trust it",
            display_url(&location)
        ),
        // The page may never end, and the status is known already.
        _ => match tokio::time::timeout(HINT, hint(response)).await.ok().flatten() {
            Some(hint) => format!("{url} answered HTTP {status}: {hint}"),
            None => format!("{url} answered HTTP {status}"),
        },
    };
    Failure::new(FailureKind::Http { status: status.as_u16() }, text)
}

/// The first words of an error page, for people: its title when it is HTML.
async fn hint(mut response: reqwest::Response) -> Option<String> {
    const PAGE: usize = 4096;
    const SHOWN: usize = 100;
    let mut page = Vec::new();
    while page.len() < PAGE {
        match response.chunk().await {
            Ok(Some(chunk)) => page.extend_from_slice(&chunk[..chunk.len().min(PAGE)]),
            _ => break,
        }
    }
    let page = String::from_utf8_lossy(&page);
    let lower = page.to_ascii_lowercase();
    let title = lower.find("<title>").map(|at| at + "<title>".len()).and_then(|start| {
        let end = lower[start..].find("</title>")? + start;
        page.get(start..end)
    });
    let text = match title {
        Some(title) => title,
        None if page.trim_start().starts_with('<') => return None,
        None => &page,
    };
    let words: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SHOWN).collect();
    (!words.is_empty()).then_some(words)
}

impl fmt::Debug for LongPolling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LongPolling").field("exchanges", &self.exchanges.len()).finish_non_exhaustive()
    }
}
