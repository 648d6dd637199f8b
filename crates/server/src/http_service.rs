//! The tower service: HTTP requests in, responses out, upgrades taken over.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bayeux_proto::Message;
use bayeux_proto::codec::DecodeError;
use bayeux_proto::server::{Input, LinkId, LinkKind};
use bayeux_proto::websocket;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, SET_COOKIE, UPGRADE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tower::Service;

use crate::callback_polling;
use crate::hub::{self, Hub};
use crate::socket;

/// The body of every response: it is there as a whole.
pub type ResponseBody = Full<Bytes>;

/// A tower service that answers what is POSTed to it, and takes WebSocket upgrades over; with callback-polling, it answers
/// what is asked with GET as well. It looks at no path: put it where clients look for it.
#[derive(Clone, Debug)]
pub struct HttpService {
    hub: Arc<Hub>,
}

impl HttpService {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }
}

impl<B> Service<Request<B>> for HttpService
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let hub = Arc::clone(&self.hub);
        Box::pin(async move { Ok(respond(hub, request).await) })
    }
}

async fn respond<B>(hub: Arc<Hub>, request: Request<B>) -> Response<ResponseBody>
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    if hub.options.websocket && is_upgrade(request.headers()) {
        return upgrade(hub, request);
    }
    match *request.method() {
        Method::POST if hub.options.long_polling => long_polling(&hub, request).await,
        Method::GET if hub.options.callback_polling => {
            call_back(&hub, &Asked::of(&request), request.uri()).await
        }
        Method::OPTIONS => plain(StatusCode::OK, ""),
        _ => plain(
            StatusCode::BAD_REQUEST,
            "Unknown Bayeux Transport: POST an array of messages, or ask for a WebSocket",
        ),
    }
}

async fn long_polling<B>(hub: &Arc<Hub>, request: Request<B>) -> Response<ResponseBody>
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let asked = Asked::of(&request);
    if request.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        // A small body that grows when it is unpacked is a way to fill the memory.
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "compressed bodies are not taken");
    }
    let body = Limited::new(request.into_body(), hub.options.max_message_size).collect();
    let Ok(body) = tokio::time::timeout(hub.options.body_timeout, body).await else {
        return plain(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
    };
    let body = match body {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
        }
        Err(_) => return plain(StatusCode::BAD_REQUEST, "the body broke off"),
    };
    let batch = match hub.decoder().decode(&body) {
        Ok(batch) if batch.skipped == 0 => batch,
        Ok(_) => return plain(StatusCode::BAD_REQUEST, "an element of the array is no message"),
        Err(error @ DecodeError::TooMany { .. }) => {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, &error.to_string());
        }
        Err(error) => return plain(StatusCode::BAD_REQUEST, &error.without_quotes()),
    };
    let json = HeaderValue::from_static("application/json;charset=UTF-8");
    answer(hub, LinkKind::Http, &asked, batch.messages, |body| (body, json)).await
}

async fn call_back(hub: &Arc<Hub>, asked: &Asked, uri: &Uri) -> Response<ResponseBody> {
    let mut response = match callback_polling::read(
        uri.query().unwrap_or_default(),
        hub.options.max_message_size,
        hub.decoder(),
    ) {
        Ok((function, messages)) => {
            let javascript = HeaderValue::from_static("text/javascript;charset=UTF-8");
            let script = |body: Bytes| (function.call_with(&body), javascript);
            answer(hub, LinkKind::Callback, asked, messages, script).await
        }
        Err(refusal) => plain(refusal.status(), &refusal.to_string()),
    };
    let headers = response.headers_mut();
    // It is that script for that page and that moment, and nothing else for nobody else.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What the head of a request tells of who asks.
#[derive(Debug)]
struct Asked {
    browser: Option<Arc<str>>,
    multiplexed: bool,
}

impl Asked {
    fn of<B>(request: &Request<B>) -> Self {
        Self { browser: browser_cookie(request.headers()), multiplexed: request.version() == Version::HTTP_2 }
    }
}

/// Hands a request in and waits for its response, which `dress` gives its form and its type.
async fn answer(
    hub: &Arc<Hub>,
    kind: LinkKind,
    asked: &Asked,
    messages: Vec<Message>,
    dress: impl FnOnce(Bytes) -> (Bytes, HeaderValue),
) -> Response<ResponseBody> {
    let link = hub.new_link();
    let waiting = Waiting { hub, link };
    let opened = Input::LinkOpened { link, browser: asked.browser.clone(), multiplexed: asked.multiplexed };
    let response = hub.request(link, opened, Input::Received { link, kind, messages }).await;
    std::mem::drop(waiting);
    match response {
        Ok(hub::Response::Messages { body, cookie }) => {
            let (body, content_type) = dress(body);
            let mut response = Response::new(Full::new(body));
            response.headers_mut().insert(CONTENT_TYPE, content_type);
            if let Some(cookie) = cookie.and_then(|id| set_browser_cookie(&id)) {
                response.headers_mut().insert(SET_COOKIE, cookie);
            }
            response
        }
        Ok(hub::Response::Reject { status, reason }) => {
            plain(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), reason)
        }
        Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "the server is going down"),
    }
}

/// Tells the hub when a request that waits for its response is given up.
struct Waiting<'a> {
    hub: &'a Arc<Hub>,
    link: LinkId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.hub.gone(self.link);
    }
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    let has = |name, token: &str| {
        headers.get_all(name).iter().any(|value: &HeaderValue| {
            value
                .to_str()
                .is_ok_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
        })
    };
    has(CONNECTION, "upgrade") && has(UPGRADE, "websocket")
}

fn upgrade<B>(hub: Arc<Hub>, request: Request<B>) -> Response<ResponseBody>
where
    B: Send + 'static,
{
    let headers = request.headers();
    if !is_allowed_origin(&hub, headers) {
        return plain(StatusCode::FORBIDDEN, "pages of this origin may not open a socket");
    }
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY).cloned().filter(|_| request.method() == Method::GET)
    else {
        return plain(StatusCode::BAD_REQUEST, "a WebSocket upgrade needs GET and a Sec-WebSocket-Key");
    };
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let mut response = plain(StatusCode::UPGRADE_REQUIRED, "the WebSocket version must be 13");
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return response;
    }
    let Some(place) = hub.socket(browser_cookie(headers)) else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "too many sockets are open");
    };
    tokio::spawn(async move {
        match hyper::upgrade::on(request).await {
            Ok(io) => socket::serve(hub, place, TokioIo::new(io)).await,
            Err(error) => tracing::debug!(%error, "the WebSocket upgrade failed"),
        }
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept_key(&key));
    response
}

/// Browsers say where a page is from, and send its cookies to any server; other clients say nothing.
fn is_allowed_origin(hub: &Hub, headers: &HeaderMap) -> bool {
    match (&hub.options.origins, headers.get(ORIGIN)) {
        (Some(allowed), Some(origin)) => {
            allowed.iter().any(|allowed| origin.as_bytes().eq_ignore_ascii_case(allowed.as_bytes()))
        }
        _ => true,
    }
}

/// RFC 6455, section 4.2.2.
fn accept_key(key: &HeaderValue) -> HeaderValue {
    // Base 64 is always a header value.
    HeaderValue::from_str(&websocket::accept_key(key.as_bytes())).unwrap_or(HeaderValue::from_static(""))
}

const BROWSER: &str = "BAYEUX_BROWSER";

/// The cookie by which load balancers keep a client on its server, and the server a session with its browser.
fn browser_cookie(headers: &HeaderMap) -> Option<Arc<str>> {
    /// Ours have 16 characters; more than this is nobody's.
    const LONGEST: usize = 256;
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == BROWSER && !value.is_empty() && value.len() <= LONGEST)
        .map(|(_, value)| value.into())
}

fn set_browser_cookie(id: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("{BROWSER}={id}; Path=/; HttpOnly")).ok()
}

fn plain(status: StatusCode, text: &str) -> Response<ResponseBody> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=UTF-8"));
    response
}
