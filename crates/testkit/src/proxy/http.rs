//! An HTTP proxy: tunnels for `CONNECT`, and requests in the absolute form.

#![allow(clippy::expect_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// An HTTP proxy, with or without a password.
///
/// ```
/// use bayeux::{Client, Transport, Proxy};
/// use bayeux_testkit::{HttpProxy, TestServer};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), bayeux::Error> {
/// let server = TestServer::start().await;
/// let proxy = HttpProxy::with_password("ann", "secret").await;
/// let client = Client::builder(server.url())
///     .proxy(Proxy::url(&proxy.url_with_password())?)
///     .transports([Transport::WebSocket])
///     .build()?;
/// client.open().await?;
/// assert!(proxy.requests().iter().any(|request| request.method == "CONNECT" && request.granted));
/// client.close().await
/// # }
/// ```
#[derive(Debug)]
pub struct HttpProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// A request that an [`HttpProxy`] received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxiedRequest {
    /// `CONNECT` for a tunnel, or the method of the request itself.
    pub method: String,
    /// The target: an authority for a tunnel, otherwise a URL.
    pub target: String,
    /// Whether the password was correct, or none was required.
    pub granted: bool,
}

struct Shared {
    password: Option<(String, String)>,
    requests: Mutex<Vec<ProxiedRequest>>,
}

impl HttpProxy {
    /// Starts a proxy without a password.
    pub async fn start() -> Self {
        Self::listen(None).await
    }

    /// Starts a proxy that answers 407 to requests without this user and password (Basic authentication).
    pub async fn with_password(user: &str, password: &str) -> Self {
        Self::listen(Some((user.to_owned(), password.to_owned()))).await
    }

    async fn listen(password: Option<(String, String)>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared { password, requests: Mutex::default() });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, task }
    }

    /// The proxy's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The proxy's URL with the user and password in it.
    pub fn url_with_password(&self) -> String {
        match &self.shared.password {
            Some((user, password)) => format!("http://{user}:{password}@{}", self.address),
            None => self.url(),
        }
    }

    /// All requests received so far.
    pub fn requests(&self) -> Vec<ProxiedRequest> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for HttpProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(serve(client, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one request and closes the connection, as HTTP permits.
async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    let Some((head, rest)) = read_head(&mut client).await else { return };
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return };
    let headers: Vec<(String, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim()))
        .collect();
    let granted = shared.password.as_ref().is_none_or(|(user, password)| {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        headers.iter().any(|(name, value)| {
            name == "proxy-authorization" && value.strip_prefix("Basic ").is_some_and(|given| given == pair)
        })
    });
    shared.requests.lock().unwrap_or_else(PoisonError::into_inner).push(ProxiedRequest {
        method: method.clone(),
        target: target.clone(),
        granted,
    });
    if !granted {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"test\"\r\n\
                       Content-Length: 0\r\nConnection: close\r\n\r\n";
        let _ = client.write_all(refusal.as_bytes()).await;
        return;
    }
    let authority = match target.strip_prefix("http://") {
        Some(rest) => rest.split('/').next().unwrap_or_default().to_owned(),
        None => target.clone(),
    };
    let Ok(mut server) = TcpStream::connect(&authority).await else {
        let _ = client
            .write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .await;
        return;
    };
    let sent = if method == "CONNECT" {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await
    } else {
        let path = target.splitn(4, '/').nth(3).unwrap_or_default();
        let mut request = format!("{method} /{path} HTTP/1.1\r\nConnection: close\r\n");
        for (name, value) in &headers {
            if !name.starts_with("proxy-") && name != "connection" {
                request.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        request.push_str("\r\n");
        server.write_all(request.as_bytes()).await
    };
    if sent.is_ok() && server.write_all(&rest).await.is_ok() {
        // An error here is the end of one of the two connections.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}

/// The request line, the headers, and the bytes after them.
async fn read_head(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            read.truncate(end);
            return Some((String::from_utf8(read).ok()?, rest));
        }
        if client.read_buf(&mut read).await.ok()? == 0 || read.len() > 64 * 1024 {
            return None;
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("password", &self.password.is_some()).finish_non_exhaustive()
    }
}
