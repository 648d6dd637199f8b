//! The WebSocket upgrade, through the same HTTP stack as everything else.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bayeux_proto::client::{Failure, FailureKind};
use bayeux_proto::websocket::accept_key;
use bytes::Bytes;
use http::header::{
    CONNECTION, LOCATION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use url::Url;

use super::failure::{display_url, lost, retry_after};
use super::http::HttpStack;
use super::measured::Allowance;
use super::request;

/// What a WebSocket runs on: TCP, TLS or a tunnel.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Asks the server to speak WebSocket.
pub(super) async fn upgrade(
    http: Arc<HttpStack>,
    url: Url,
    headers: HeaderMap,
) -> Result<Box<dyn Io>, Failure> {
    let wait = http.options.connect_timeout;
    match tokio::time::timeout(wait, upgrade_now(&http, &url, headers)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let text =
                format!("{} did not complete the WebSocket upgrade within {wait:?}", display_url(&url));
            Err(Failure::new(FailureKind::Timeout, text))
        }
    }
}

async fn upgrade_now(http: &HttpStack, url: &Url, mut headers: HeaderMap) -> Result<Box<dyn Io>, Failure> {
    let key = STANDARD.encode(random_key());
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_str(&key).unwrap_or(HeaderValue::from_static("")));
    if let Some(protocol) =
        http.options.subprotocol.as_deref().and_then(|name| HeaderValue::from_str(name).ok())
    {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    let client = http
        .upgrading(url)
        .map_err(|error| Failure::new(FailureKind::Tls, format!("{}: {error}", display_url(url))))?;
    let response = request::send(http, &client, Method::GET, url, headers, Bytes::new()).await?;
    check(http, url, &key, response.status(), response.headers())?;
    let allowance = response.extensions().get::<Allowance>().cloned();
    let io = hyper::upgrade::on(response).await.map_err(|error| lost(url, &error))?;
    if let Some(allowance) = allowance {
        allowance.lift();
    }
    http.upgraded(url);
    Ok(Box::new(TokioIo::new(io)))
}

fn check(
    http: &HttpStack,
    url: &Url,
    key: &str,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<(), Failure> {
    let shown = display_url(url);
    let refused =
        |text: String| Err(Failure::new(FailureKind::UpgradeRefused { status: status.as_u16() }, text));
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let location = headers.get(LOCATION).filter(|_| status.is_redirection());
        let location = location.and_then(|location| url.join(location.to_str().ok()?).ok());
        let target = location.map(|location| {
            format!(
                ": it redirects to {}, which is not followed: use that URL if you trust it",
                display_url(&location)
            )
        });
        let target = target.unwrap_or_default();
        return refused(format!("{shown} answered HTTP {status} to the WebSocket upgrade{target}"))
            .map_err(|failure| failure.with_retry_after(retry_after(headers)));
    }
    if headers.get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes)
        != Some(accept_key(key.as_bytes()).as_bytes())
    {
        return refused(format!("{shown} answered the WebSocket upgrade with a wrong Sec-WebSocket-Accept"));
    }
    let agreed = headers.get(SEC_WEBSOCKET_PROTOCOL).map(|value| value.to_str().unwrap_or_default());
    if agreed != http.options.subprotocol.as_deref() {
        return refused(format!(
            "{shown} speaks the WebSocket subprotocol {agreed:?}, not {:?}",
            http.options.subprotocol
        ));
    }
    Ok(())
}

/// The key proves that the peer reads the request; it is no secret.
fn random_key() -> [u8; 16] {
    fastrand::u128(..).to_be_bytes()
}
