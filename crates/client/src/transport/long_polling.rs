//! Long-polling: each batch is a POST, its response the answer.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bayeux_proto::client::{ExchangeId, Failure, FailureKind};
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use url::Url;

use super::body::{Body, Limits, Progress};
use super::failure::{display_url, retry_after};
use super::http::HttpStack;
use super::request;

/// The requests that are on their way, polled by the driver's task.
pub(crate) struct LongPolling {
    http: Arc<HttpStack>,
    exchanges: Vec<Exchange>,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum LongPollingEvent {
    /// The headers of a response, and its whole body.
    Received(ExchangeId, HeaderMap, Bytes),
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
    Sending(Pin<Box<dyn Future<Output = Result<Body, Failure>> + Send>>),
    Reading(Box<Body>),
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
        for at in 0..self.exchanges.len() {
            if let Poll::Ready((event, done)) = self.exchanges[at].poll(cx) {
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
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(LongPollingEvent, bool)> {
        let id = self.id;
        let failed = |failure| Poll::Ready((LongPollingEvent::Failed(id, failure), true));
        loop {
            match &mut self.stage {
                Stage::Sending(sending) => match ready!(sending.as_mut().poll(cx)) {
                    Err(failure) => return failed(failure),
                    Ok(body) => self.stage = Stage::Reading(Box::new(body)),
                },
                Stage::Reading(whole) => {
                    return match ready!(whole.poll(&self.url, cx)) {
                        Err(failure) => failed(failure),
                        Ok(Progress::Part) => Poll::Ready((LongPollingEvent::Progress(id), false)),
                        Ok(Progress::Whole(body)) => {
                            let headers = std::mem::take(&mut whole.headers);
                            Poll::Ready((LongPollingEvent::Received(id, headers, body), true))
                        }
                    };
                }
            }
        }
    }
}

/// Sends a POST and follows the redirects that keep it one: 307 and 308, on the same origin. Others would turn it
/// into a GET, or carry credentials elsewhere.
async fn post(http: Arc<HttpStack>, url: Url, mut headers: HeaderMap, body: Bytes) -> Result<Body, Failure> {
    const REDIRECTS: usize = 5;
    let client = http
        .polling(&url)
        .map_err(|error| Failure::new(FailureKind::Tls, format!("{}: {error}", display_url(&url))))?;
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json;charset=UTF-8"));
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
    if !http.options.headers.contains_key(ACCEPT_ENCODING) {
        headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("gzip"));
    }
    let mut target = url.clone();
    for _ in 0..=REDIRECTS {
        let sending = request::send(&http, &client, Method::POST, &target, headers.clone(), body.clone());
        let response = sending.await?;
        let status = response.status();
        if status == StatusCode::OK {
            let limits = Limits { size: http.max_message_size(), rate: http.options.min_receive_rate };
            let body = Body::new(response, limits, &url)?;
            return body.refusal(&url).map_or(Ok(body), Err);
        }
        let location =
            response.headers().get(LOCATION).and_then(|value| target.join(value.to_str().ok()?).ok());
        match location {
            Some(next) if keeps_method(status) && next.origin() == url.origin() => target = next,
            _ => return Err(not_ok(&http, response, &target, location).await),
        }
    }
    let text = format!("{} redirects more than {REDIRECTS} times", display_url(&url));
    Err(Failure::new(FailureKind::Http { status: 308 }, text))
}

fn keeps_method(status: StatusCode) -> bool {
    matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
}

async fn not_ok(http: &HttpStack, response: Response<Incoming>, url: &Url, location: Option<Url>) -> Failure {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let shown = display_url(url);
    let text = match location {
        Some(location) if status.is_redirection() => format!(
            "{shown} answered HTTP {status} to {}, which is not followed: use that URL if you trust it",
            display_url(&location)
        ),
        _ => match hint(http, response, url).await {
            Some(hint) => format!("{shown} answered HTTP {status}: {hint}"),
            None => format!("{shown} answered HTTP {status}"),
        },
    };
    Failure::new(FailureKind::Http { status: status.as_u16() }, text).with_retry_after(retry_after)
}

/// The first words of an error page, for people: its title when it is HTML. The page may never end, and the status is
/// known already, so what has come in a short while must do.
async fn hint(http: &HttpStack, response: Response<Incoming>, url: &Url) -> Option<String> {
    const WAIT: Duration = Duration::from_secs(1);
    const PAGE: usize = 4096;
    const DECODED: usize = 512 * 1024;
    let mut page = Body::new(response, Limits { size: DECODED, rate: 0 }, url).ok()?;
    let reading = async {
        while page.received() < PAGE as u64 {
            match poll_fn(|cx| page.poll(url, cx)).await {
                Ok(Progress::Part) => {}
                Ok(Progress::Whole(page)) => return Some(page),
                Err(_) => return None,
            }
        }
        None
    };
    // Too late is as good as the end.
    let whole = tokio::time::timeout(WAIT, reading).await.ok().flatten();
    let page = whole.unwrap_or_else(|| page.so_far());
    // Before the page is cut: half a secret would not be found.
    let page = String::from_utf8_lossy(&page);
    let page = http.mask(&page);
    words(&page.as_bytes()[..page.len().min(PAGE)])
}

fn words(page: &[u8]) -> Option<String> {
    const SHOWN: usize = 100;
    let page = String::from_utf8_lossy(page);
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
