//! How connections are made: directly or through a proxy, with TLS or without, each within the connect timeout.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV4, SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tower_service::Service;

use super::measured::Measured;
use super::options::HttpOptions;
use super::tls::{self, Secured};
use crate::error::Error;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Task<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;
/// TCP, or TLS to a proxy.
type Reached = <Secured<HttpConnector> as Service<Uri>>::Response;
type Secure = <Secured<Route> as Service<Uri>>::Response;

/// Makes the connections of one HTTP client.
#[derive(Clone)]
pub(super) struct Connector {
    secured: Secured<Route>,
    route: Route,
    timeout: Duration,
}

/// The way to a server, without the server's own TLS.
#[derive(Clone)]
pub(super) struct Route {
    first: Secured<HttpConnector>,
    proxies: Arc<Matcher>,
    /// Whether an HTTP proxy tunnels requests without TLS, too: it upgrades nothing itself.
    tunnels: bool,
}

/// An error of a proxy that was reached.
#[derive(Debug, thiserror::Error)]
#[error("the proxy refused")]
pub(super) struct ProxyRefused(#[source] BoxError);

impl Connector {
    /// For connections with these ALPN protocols.
    pub(super) fn new(
        options: &HttpOptions,
        proxies: Arc<Matcher>,
        server: &Uri,
        protocols: &[&[u8]],
        tunnels: bool,
    ) -> Result<Self, Error> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(options.connect_timeout));
        let is_secure = |uri: &Uri| uri.scheme_str() == Some("https");
        let to_proxy = proxies.intercept(server).is_some_and(|proxy| is_secure(proxy.uri()));
        let route = Route { first: tls::secure(tcp, &options.tls, to_proxy, &[])?, proxies, tunnels };
        let secured = tls::secure(route.clone(), &options.tls, is_secure(server), protocols)?;
        Ok(Self { secured, route, timeout: options.connect_timeout })
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Measured<TokioIo<Secure>>>;
    type Error = BoxError;
    type Future = Task<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.secured.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let forwarded = self.route.forwards(&server);
        let connecting = self.secured.call(server);
        let timeout = self.timeout;
        Box::pin(async move {
            let io = tokio::time::timeout(timeout, connecting).await??;
            Ok(TokioIo::new(Measured::new(TokioIo::new(io), forwarded)))
        })
    }
}

impl Service<Uri> for Route {
    type Response = Reached;
    type Error = BoxError;
    type Future = Task<Reached>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.first.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let mut route = self.clone();
        Box::pin(async move { route.connect(server).await })
    }
}

impl Route {
    /// Whether requests to this server go to a proxy that forwards them.
    fn forwards(&self, server: &Uri) -> bool {
        let proxy = || self.proxies.intercept(server);
        !self.tunnels && server.scheme_str() == Some("http") && proxy().is_some_and(|proxy| !is_socks(&proxy))
    }

    async fn connect(&mut self, server: Uri) -> Result<Reached, BoxError> {
        let target = address(&server, None)?;
        let Some(proxy) = self.proxies.intercept(&server) else {
            let reached = self.first.call(target).await?;
            return Ok(reached);
        };
        if is_socks(&proxy) {
            const PORT: u16 = 1080;
            let reached = Made(Some(self.first.call(address(proxy.uri(), Some(PORT))?).await?));
            return through_socks(&proxy, reached, target).await.map_err(refused);
        }
        let reached = self.first.call(proxy.uri().clone()).await?;
        if self.forwards(&server) {
            return Ok(reached);
        }
        let mut tunnel = Tunnel::new(proxy.uri().clone(), Made(Some(reached)));
        if let Some(auth) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(auth.clone());
        }
        tunnel.call(target).await.map_err(|error| refused(error.into()))
    }
}

async fn through_socks(proxy: &Intercept, reached: Made, target: Uri) -> Result<Reached, BoxError> {
    let scheme = proxy.uri().scheme_str().unwrap_or_default();
    let is_4 = scheme.starts_with("socks4");
    // Those with another letter resolve names themselves.
    let target = if scheme.len() == "socks5".len() { resolved(&target, is_4).await? } else { target };
    if is_4 {
        return Ok(SocksV4::new(target.clone(), reached).call(target).await?);
    }
    let mut socks = SocksV5::new(target.clone(), reached);
    if let Some((user, password)) = proxy.raw_auth() {
        socks = socks.with_auth(user.to_owned(), password.to_owned());
    }
    Ok(socks.call(target).await?)
}

/// The same, with an address instead of a name.
async fn resolved(target: &Uri, only_4: bool) -> Result<Uri, BoxError> {
    let host = target.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut found = tokio::net::lookup_host((host, target.port_u16().unwrap_or_default())).await?;
    let address = found.find(|address| !only_4 || address.is_ipv4());
    let address: SocketAddr = address.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
    Ok(format!("http://{address}").parse()?)
}

/// The host and port of a URI. The scheme is that of plain TCP.
fn address(uri: &Uri, port: Option<u16>) -> Result<Uri, BoxError> {
    let by_scheme = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let port = uri.port_u16().or(port).unwrap_or(by_scheme);
    Ok(format!("http://{}:{port}", uri.host().unwrap_or_default()).parse()?)
}

fn is_socks(proxy: &Intercept) -> bool {
    proxy.uri().scheme_str().is_some_and(|scheme| scheme.starts_with("socks"))
}

fn refused(error: BoxError) -> BoxError {
    ProxyRefused(error).into()
}

/// A connection that is made already, as a connector of a proxy's handshake.
struct Made(Option<Reached>);

impl Service<Uri> for Made {
    type Response = Reached;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Reached>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        std::future::ready(self.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}
