//! A SOCKS 5 proxy (RFC 1928) without a password.

#![allow(clippy::expect_used)]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A SOCKS 5 proxy.
///
/// ```
/// use bayeux::{Client, Proxy};
/// use bayeux_testkit::{SocksProxy, TestServer};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), bayeux::Error> {
/// let server = TestServer::start().await;
/// let proxy = SocksProxy::start().await;
/// let client = Client::builder(server.url()).proxy(Proxy::url(&proxy.url())?).build()?;
/// client.open().await?;
/// assert_eq!(proxy.targets()[0], server.address().to_string());
/// client.close().await
/// # }
/// ```
#[derive(Debug)]
pub struct SocksProxy {
    address: SocketAddr,
    targets: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl SocksProxy {
    /// Starts a proxy on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let targets = Arc::new(Mutex::default());
        let task = tokio::spawn(accept(listener, Arc::clone(&targets)));
        Self { address, targets, task }
    }

    /// The proxy's URL, with the scheme that lets the proxy resolve host names.
    pub fn url(&self) -> String {
        format!("socks5h://{}", self.address)
    }

    /// The targets that clients have asked for so far, each as `HOST:PORT`.
    pub fn targets(&self) -> Vec<String> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for SocksProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, targets: Arc<Mutex<Vec<String>>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    let targets = Arc::clone(&targets);
                    // The client has closed the connection.
                    connections.spawn(async move { let _ = serve(client, &targets).await; });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut client: TcpStream, targets: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let _version = client.read_u8().await?;
    let mut methods = vec![0; usize::from(client.read_u8().await?)];
    client.read_exact(&mut methods).await?;
    client.write_all(&[5, 0]).await?;
    let mut head = [0; 4];
    client.read_exact(&mut head).await?;
    let host = match head[3] {
        1 => Ipv4Addr::from(client.read_u32().await?).to_string(),
        4 => format!("[{}]", Ipv6Addr::from(client.read_u128().await?)),
        _ => {
            let mut name = vec![0; usize::from(client.read_u8().await?)];
            client.read_exact(&mut name).await?;
            String::from_utf8_lossy(&name).into_owned()
        }
    };
    let target = format!("{host}:{}", client.read_u16().await?);
    targets.lock().unwrap_or_else(PoisonError::into_inner).push(target.clone());
    let server = TcpStream::connect(&target).await;
    let refused = u8::from(server.is_err());
    client.write_all(&[5, refused, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server?).await?;
    Ok(())
}
