//! tinyproxy, which stands before the way out and asks for a password.

use std::net::SocketAddr;

use bayeux::{Proxy, Transport};

use super::setup::{Folder, converse, free_address, refuses, start};
use super::terminator::Terminator;
use crate::outcome::{Outcome, check};
use crate::peers::Peer;
use crate::process::Process;
use crate::server::Server;
use crate::tap::Tap;
use crate::user::Open;

/// A proxy, and the line to it.
struct Forwarder {
    tap: Tap,
    process: Process,
    _folder: Folder,
}

impl Forwarder {
    async fn start() -> Outcome<Self> {
        let (folder, address) = (Folder::new()?, free_address()?);
        let config = format!(
            "Port {}\nListen 127.0.0.1\nTimeout 600\nBasicAuth ann open-sesame\nLogLevel Error\n",
            address.port()
        );
        let config = folder.write("tinyproxy.conf", &config)?;
        let process = start(address, &["tinyproxy", "-d", "-c", &config]).await?;
        Ok(Self { tap: Tap::start(address).await?, process, _folder: folder })
    }

    fn through(address: SocketAddr, user: &str) -> Outcome<Proxy> {
        Ok(Proxy::url(&format!("http://{user}{address}"))?)
    }

    /// Talks through the proxy, which must see that, and is refused without the password or with a wrong one.
    async fn check(self, mut options: Open, first: &str) -> Outcome {
        for user in ["", "ann:wrong@"] {
            options.proxy = Self::through(self.tap.address, user)?;
            refuses(&options, &["407", "401", "proxy"]).await?;
        }
        options.proxy = Self::through(self.tap.address, "ann:open-sesame@")?;
        let outcome = converse(&options).await;
        let log = self.tap.log();
        outcome.map_err(|error| format!("{error}\n{log}{}", self.process.said()))?;
        check(log.contains(first), format!("the proxy saw no {first}:\n{log}"))?;
        self.process.stop().await
    }
}

pub(super) async fn with_password(peer: &'static Peer, transport: Transport) -> Outcome {
    let (proxy, server) = (Forwarder::start().await?, Server::start(peer).await?);
    let options = Open::new(server.address, &server.path, transport);
    let first = match transport {
        Transport::WebSocket => format!("> CONNECT {}", server.address),
        _ => format!("> POST http://{}", server.address),
    };
    proxy.check(options, &first).await?;
    server.stop().await
}

pub(super) async fn to_tls(peer: &'static Peer, transport: Transport) -> Outcome {
    let (proxy, nginx) = (Forwarder::start().await?, Terminator::start(peer, false).await?);
    let first = format!("> CONNECT localhost:{}", nginx.address.port());
    proxy.check(nginx.options(transport)?, &first).await?;
    nginx.stop().await
}
