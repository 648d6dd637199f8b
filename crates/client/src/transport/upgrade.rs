//! The WebSocket upgrade, through the same HTTP stack as everything else.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bayeux_proto::client::{Failure, FailureKind};
use bayeux_proto::websocket::accept_key;
use http::header::{
    CONNECTION, COOKIE, HOST, LOCATION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, SET_COOKIE, UPGRADE, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::Empty;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;
use reqwest::cookie::CookieStore;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;
use url::Url;

use super::cause::root_cause;
use super::failure::{display_url, from_reqwest, local_limit, lost, retry_after};
use super::http::HttpStack;

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
    if url.scheme() == "http"
        && let Some(proxy) = http.tunnel(url)
    {
        return through_tunnel(http, url, headers, &key, &proxy).await;
    }
    let client = http
        .upgrading(url)
        .map_err(|error| Failure::new(FailureKind::Tls, format!("{}: {error}", display_url(url))))?;
    let response = client
        .get(url.clone())
        .headers(headers)
        .send()
        .await
        .map_err(|error| from_reqwest(&error, url, || http.proxy_of(url)))?;
    check(http, url, &key, response.status(), response.headers())?;
    let io = response.upgrade().await.map_err(|error| from_reqwest(&error, url, || http.proxy_of(url)))?;
    http.upgraded(url);
    Ok(Box::new(io))
}

/// An HTTP proxy upgrades nothing; it opens a tunnel, and the upgrade goes through that.
async fn through_tunnel(
    http: &HttpStack,
    url: &Url,
    mut headers: HeaderMap,
    key: &str,
    proxy: &Intercept,
) -> Result<Box<dyn Io>, Failure> {
    let refused = |error: &(dyn std::error::Error + 'static)| {
        local_limit(error, url).unwrap_or_else(|| {
            let proxy = http.proxy_of(url).unwrap_or_else(|| "the proxy".to_owned());
            let text =
                format!("{proxy} did not open a tunnel to {}: {}", display_url(url), root_cause(error));
            Failure::new(FailureKind::Proxy, text)
        })
    };
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let mut tunnel = Tunnel::new(proxy.uri().clone(), connector);
    if let Some(auth) = proxy.basic_auth() {
        tunnel = tunnel.with_auth(auth.clone());
    }
    let port = url.port_or_known_default().unwrap_or(80);
    let authority = format!("{}:{port}", url.host_str().unwrap_or_default());
    let target = format!("http://{authority}").parse::<http::Uri>().map_err(|error| refused(&error))?;
    let io = tunnel.call(target).await.map_err(|error| refused(&error))?;

    for (name, value) in &http.options.headers {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    headers.entry(HOST).or_insert(HeaderValue::from_str(&authority).map_err(|error| refused(&error))?);
    headers
        .entry(USER_AGENT)
        .or_insert(HeaderValue::from_static(concat!("bayeux/", env!("CARGO_PKG_VERSION"))));
    if let Some(cookies) = http.jar.cookies(url) {
        headers.insert(COOKIE, cookies);
    }
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let mut request =
        Request::get(path).body(Empty::<bytes::Bytes>::new()).map_err(|error| refused(&error))?;
    *request.headers_mut() = headers;

    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(io).await.map_err(|error| lost(url, &error))?;
    let connection = connection.with_upgrades();
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| lost(url, &error))?;
        check(http, url, key, response.status(), response.headers())?;
        http.jar.set_cookies(&mut response.headers().get_all(SET_COOKIE).iter(), url);
        hyper::upgrade::on(response).await.map_err(|error| lost(url, &error))
    };
    tokio::pin!(connection, exchange);
    // The connection does the work of the exchange, and ends when the upgrade is done.
    let io = tokio::select! {
        biased;
        upgraded = &mut exchange => upgraded,
        _ = &mut connection => exchange.await,
    }?;
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
