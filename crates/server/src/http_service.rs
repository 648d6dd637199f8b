//! The tower service: HTTP requests in, responses out, upgrades taken over.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bayeux_proto::Message;
use bayeux_proto::codec::DecodeError;
use bayeux_proto::server::{Input, LinkId, LinkKind};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HOST, SET_COOKIE, X_CONTENT_TYPE_OPTIONS};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use tower::Service;

use crate::activity::{Activity, Responding, Serving};
use crate::callback_polling;
use crate::cookie::Cookies;
use crate::hub::{self, Hub};
use crate::request_body;
use crate::response::plain;
use crate::response_body::ResponseBody;
use crate::text::without_bom;
use crate::upgrade;

/// A tower service that answers what is POSTed to it, and takes WebSocket upgrades over; with callback-polling, it answers
/// what is asked with GET as well. It looks at no path: put it where clients look for it.
///
/// The HTTP server around it keeps the time limits of connections, but for those of a request's body and of a WebSocket.
#[derive(Clone)]
pub struct HttpService {
    hub: Arc<Hub>,
    /// The connection that it serves, if that is the listener's.
    activity: Option<Arc<Activity>>,
}

impl HttpService {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, activity: None }
    }

    /// The service for one connection of the listener.
    pub(crate) fn on(mut self, activity: Arc<Activity>) -> Self {
        self.activity = Some(activity);
        self
    }
}

impl fmt::Debug for HttpService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpService").finish_non_exhaustive()
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
        let multiplexed = request.version() == Version::HTTP_2;
        let serving = self.activity.as_ref().map(|activity| activity.request(multiplexed));
        Box::pin(async move { Ok(respond(hub, request, serving).await) })
    }
}

async fn respond<B>(hub: Arc<Hub>, request: Request<B>, serving: Option<Serving>) -> Response<ResponseBody>
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let activity = serving.as_ref().map(|serving| Arc::clone(serving.activity()));
    let mut ends: Vec<Responding> = Vec::new();
    let response = if serving.is_some() && !names_host(&request) {
        plain(
            StatusCode::BAD_REQUEST,
            "a request of HTTP/1.1 needs one valid Host header, and one of HTTP/1.0 has at most one",
        )
    } else {
        answer_to(hub, request, activity.as_ref(), &mut ends).await
    };
    // Last, so that the connection is idle only when all else has ended.
    ends.extend(serving.map(|serving| Box::new(serving) as Responding));
    if ends.is_empty() {
        return response;
    }
    response.map(|body| body.ending(Box::new(ends), activity))
}

/// Answers a request. `ends` gets what ends when the response was written.
async fn answer_to<B>(
    hub: Arc<Hub>,
    request: Request<B>,
    activity: Option<&Arc<Activity>>,
    ends: &mut Vec<Responding>,
) -> Response<ResponseBody>
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    if !hub.options.origins.allow(&request) {
        tracing::debug!("403: a request comes from a page of an origin that is not allowed");
        return plain(StatusCode::FORBIDDEN, "pages of this origin are not allowed");
    }
    if hub.options.websocket && upgrade::is_asked_for(request.headers()) {
        return upgrade::upgrade(hub, request);
    }
    match *request.method() {
        Method::POST if hub.options.long_polling => long_polling(&hub, request, activity, ends).await,
        Method::GET if hub.options.callback_polling => {
            call_back(&hub, &Asked::of(&hub, &request, activity), request.uri(), ends).await
        }
        Method::OPTIONS => plain(StatusCode::OK, ""),
        _ => plain(
            StatusCode::BAD_REQUEST,
            "Unknown Bayeux Transport: POST an array of messages, or ask for a WebSocket",
        ),
    }
}

/// RFC 9112, section 3.2: HTTP/1.1 wants exactly one Host, HTTP/1.0 at most one, and a valid one, which may be empty.
fn names_host<B>(request: &Request<B>) -> bool {
    let is_wanted = match request.version() {
        Version::HTTP_11 => true,
        Version::HTTP_10 => false,
        _ => return true,
    };
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            let valid =
                |host: &[u8]| Authority::try_from(host).is_ok_and(|host| !host.as_str().contains('@'));
            host.is_empty() || valid(host.as_bytes())
        }
        (None, _) => !is_wanted,
        (Some(_), Some(_)) => false,
    }
}

async fn long_polling<B>(
    hub: &Arc<Hub>,
    request: Request<B>,
    activity: Option<&Arc<Activity>>,
    ends: &mut Vec<Responding>,
) -> Response<ResponseBody>
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let asked = Asked::of(hub, &request, activity);
    if request.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        // A small body that grows when it is unpacked is a way to fill the memory.
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "compressed bodies are not taken");
    }
    let (body, buffered) = match request_body::collect(request.into_body(), &hub.options, activity).await {
        Ok(body) => body,
        Err(refusal) => {
            let (status, text) = refusal.answer();
            return plain(status, text);
        }
    };
    let batch = match hub.decoder().decode(&without_bom(body)) {
        Ok(batch) if batch.skipped == 0 => batch,
        Ok(_) => return plain(StatusCode::BAD_REQUEST, "an element of the array is no message"),
        Err(error @ DecodeError::TooMany { .. }) => {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, &error.to_string());
        }
        Err(error) => return plain(StatusCode::BAD_REQUEST, &error.without_quotes()),
    };
    // From here on the engine counts what it keeps.
    drop(buffered);
    let json = HeaderValue::from_static("application/json;charset=UTF-8");
    answer(hub, LinkKind::Http, &asked, batch.messages, |body| (body, json), ends).await
}

async fn call_back(
    hub: &Arc<Hub>,
    asked: &Asked<'_>,
    uri: &Uri,
    ends: &mut Vec<Responding>,
) -> Response<ResponseBody> {
    let query = uri.query().unwrap_or_default();
    let mut response = match callback_polling::read(query, hub.options.max_message_size, hub.decoder()) {
        Ok((function, messages)) => {
            let javascript = HeaderValue::from_static("text/javascript;charset=UTF-8");
            let script = |body: Bytes| (hub.counter.count(function.call_with(&body)), javascript);
            answer(hub, LinkKind::Callback, asked, messages, script, ends).await
        }
        Err(refusal) => plain(refusal.status(), &refusal.to_string()),
    };
    let headers = response.headers_mut();
    // The script is for that page and that moment only.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What the head of a request states about its sender.
#[derive(Debug)]
struct Asked<'a> {
    cookies: Cookies,
    multiplexed: bool,
    activity: Option<&'a Arc<Activity>>,
}

impl<'a> Asked<'a> {
    fn of<B>(hub: &Hub, request: &Request<B>, activity: Option<&'a Arc<Activity>>) -> Self {
        Self {
            cookies: hub.options.cookie.read(request.headers()),
            multiplexed: request.version() == Version::HTTP_2,
            activity,
        }
    }
}

/// Hands a request in and waits for its response, which `dress` gives its form and its type.
async fn answer(
    hub: &Arc<Hub>,
    kind: LinkKind,
    asked: &Asked<'_>,
    messages: Vec<Message>,
    dress: impl FnOnce(Bytes) -> (Bytes, HeaderValue),
    ends: &mut Vec<Responding>,
) -> Response<ResponseBody> {
    let link = hub.new_link();
    ends.push(Box::new(Waiting { hub: Arc::clone(hub), link }));
    let Cookies { browser, socket_cookie } = asked.cookies.clone();
    let opened = Input::LinkOpened { link, browser, socket_cookie, multiplexed: asked.multiplexed };
    let response = hub.request(link, opened, Input::Received { link, kind, messages }).await;
    match response {
        Ok(hub::Response::Messages { body, cookie }) => {
            let (body, content_type) = dress(body);
            if let Some(activity) = asked.activity {
                let Some(buffered) = activity.reserve(body.len(), hub.options.max_buffered_bytes) else {
                    tracing::warn!(link = link.0, "503: the responses on a connection are not read");
                    return plain(
                        StatusCode::SERVICE_UNAVAILABLE,
                        "too much is under way on this connection",
                    );
                };
                ends.push(Box::new(buffered));
            }
            let mut response = Response::new(ResponseBody::of_messages(body, &hub.counter));
            response.headers_mut().insert(CONTENT_TYPE, content_type);
            if let Some(cookie) = cookie.and_then(|id| hub.options.cookie.set(&id)) {
                response.headers_mut().insert(SET_COOKIE, cookie);
            }
            response
        }
        Ok(hub::Response::Reject { status, reason }) => {
            plain(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), reason)
        }
        Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down"),
    }
}

/// Reports to the hub that a request was given up, or that its response was written.
struct Waiting {
    hub: Arc<Hub>,
    link: LinkId,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.hub.link_closed(self.link);
    }
}
