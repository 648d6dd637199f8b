//! The server that feeds the racers: it knows just enough of the protocol to serve one, and writes what it prepared
//! long before, so that it is faster than any client.
//!
//! The first segment of the path says what the feed is: `n10-s200-c1-a0` are 10 messages a frame or reply, 200 bytes a
//! message, over 1 channel, without the acknowledge extension. It begins when a session publishes to [`GO`], or with
//! `-g1` when it subscribes; with `-k2` a connection without a request is closed after 2 seconds, as servers do.

mod http;
mod protocol;
mod stock;
mod tls;
mod websocket;

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::Fallible;
use protocol::Shared;

/// A message here sets the feed off.
pub(crate) const GO: &str = "/service/go";

/// The last segment of the subscription to channel `n`: its own name and both wildcards in turn.
pub(crate) fn last_segment(n: usize) -> &'static str {
    match n % 3 {
        0 => "x",
        1 => "*",
        _ => "**",
    }
}

pub(crate) fn run(tls: Option<&Path>) -> Fallible {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let acceptor = tls.map(tls::acceptor).transpose()?;
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", socket.local_addr()?.port());
        let shared = Arc::new(Shared::default());
        loop {
            let (stream, _) = socket.accept().await?;
            stream.set_nodelay(true)?;
            let (shared, acceptor) = (Arc::clone(&shared), acceptor.clone());
            tokio::spawn(async move {
                // A client that goes away is no news.
                let _ = match acceptor {
                    None => http::serve(stream, shared).await,
                    Some(acceptor) => match acceptor.accept(stream).await {
                        Ok(stream) => http::serve(stream, shared).await,
                        Err(error) => Err(error.into()),
                    },
                };
            });
        }
    })
}
