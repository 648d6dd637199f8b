//! The opening of a WebSocket: RFC 6455, section 4.2.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bayeux_proto::websocket;
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, SET_COOKIE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;

use crate::cookie;
use crate::hub::Hub;
use crate::response::plain;
use crate::response_body::ResponseBody;
use crate::socket;

/// Whether a request asks for a WebSocket.
pub(crate) fn is_asked_for(headers: &HeaderMap) -> bool {
    has(headers, CONNECTION, |token| token.eq_ignore_ascii_case("upgrade"))
        && has(headers, UPGRADE, |token| token.eq_ignore_ascii_case("websocket"))
}

/// Whether a header that is a list has such an element.
fn has(headers: &HeaderMap, name: http::HeaderName, is: impl Fn(&str) -> bool) -> bool {
    headers
        .get_all(name)
        .iter()
        .any(|value| value.to_str().is_ok_and(|value| value.split(',').any(|part| is(part.trim()))))
}

/// Takes a connection over.
pub(crate) fn upgrade<B>(hub: Arc<Hub>, request: Request<B>) -> Response<ResponseBody>
where
    B: Send + 'static,
{
    let headers = request.headers();
    // What follows the head are frames, and no body that something on the way takes for one.
    let has_body = headers.contains_key(TRANSFER_ENCODING)
        || headers.get_all(CONTENT_LENGTH).iter().any(|length| length != "0");
    let is_plain = request.method() == Method::GET && request.version() == Version::HTTP_11 && !has_body;
    let Some(key) = only_key(headers).filter(|_| is_plain) else {
        return plain(
            StatusCode::BAD_REQUEST,
            "a WebSocket upgrade needs GET, HTTP/1.1, no body and one Sec-WebSocket-Key, which is 16 bytes in base 64",
        );
    };
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let mut response = plain(StatusCode::UPGRADE_REQUIRED, "the WebSocket version must be 13");
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return response;
    }
    let protocol = hub.options.websocket_protocol.clone();
    if let Some(protocol) = &protocol
        && !has(headers, SEC_WEBSOCKET_PROTOCOL, |offered| offered.as_bytes() == protocol.as_bytes())
    {
        return plain(StatusCode::BAD_REQUEST, "the subprotocol of this server was not offered");
    }
    let mut cookies = hub.options.cookie.read(headers);
    // A session that begins on this socket is then bound to something over HTTP too.
    let issued = if cookies.browser.is_none() { cookie::new_value() } else { None };
    let set_cookie = issued.as_deref().and_then(|value| hub.options.cookie.set_with_socket(value));
    let is_issued = issued.is_some();
    cookies.browser = cookies.browser.or(issued);
    let Some(place) = hub.socket(cookies, is_issued) else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "too many sockets are open");
    };
    tokio::spawn(async move {
        let longest = hub.options.write_timeout;
        match tokio::time::timeout(longest, hyper::upgrade::on(request)).await {
            Ok(Ok(io)) => socket::serve(hub, place, TokioIo::new(io)).await,
            Ok(Err(error)) => tracing::debug!(%error, "the WebSocket upgrade failed"),
            Err(_) => tracing::debug!("the WebSocket upgrade was not completed in time"),
        }
    });
    let mut response = Response::new(ResponseBody::new(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept_key(&key));
    headers.extend(protocol.map(|protocol| (SEC_WEBSOCKET_PROTOCOL, protocol)));
    headers.extend(set_cookie.map(|cookie| (SET_COOKIE, cookie)));
    response
}

/// The key of the client, which must not be given twice (RFC 6455, section 11.3.1).
fn only_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    keys.next().filter(|key| keys.next().is_none() && is_key(key)).cloned()
}

fn is_key(key: &HeaderValue) -> bool {
    STANDARD.decode(key.as_bytes()).is_ok_and(|key| key.len() == 16)
}

fn accept_key(key: &HeaderValue) -> HeaderValue {
    // Base 64 is always a header value.
    HeaderValue::from_str(&websocket::accept_key(key.as_bytes())).unwrap_or(HeaderValue::from_static(""))
}
