//! What stands between a client and its servers in the field: balancers, TLS, proxies. Each setup is played over both
//! transports, with our server behind it and with CometD's for Java.

mod balancer;
mod forward;
mod setup;
mod terminator;

use bayeux::Transport;

use crate::install;
use crate::outcome::Outcome;
use crate::peers::{OURS, Peer};
use crate::table::Entry;

/// One row of the table of setups.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The program from Debian, by which `interop/run` knows it.
    pub(crate) tool: &'static str,
    /// What is tried.
    pub(crate) shows: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Sticky,
    Failover,
    Tls,
    MutualTls,
    Http2,
    Proxy,
    ProxyToTls,
}

pub(crate) const SETUPS: &[Setup] = &[
    Setup {
        tool: "haproxy",
        shows: "two servers behind a balancer with a cookie: each of eight clients stays at its own",
        kind: Kind::Sticky,
    },
    Setup {
        tool: "haproxy",
        shows: "one of the two is killed: its clients go on at the other, subscriptions restored",
        kind: Kind::Failover,
    },
    Setup {
        tool: "nginx",
        shows: "TLS with a private authority; without that authority the client refuses",
        kind: Kind::Tls,
    },
    Setup {
        tool: "nginx",
        shows: "TLS on both sides; without its certificate the client is refused",
        kind: Kind::MutualTls,
    },
    Setup {
        tool: "nginx",
        shows: "HTTP/2: long-polling speaks it, a WebSocket goes its own way beside it",
        kind: Kind::Http2,
    },
    Setup {
        tool: "tinyproxy",
        shows: "a proxy that asks for a password; without it the client is refused",
        kind: Kind::Proxy,
    },
    Setup { tool: "tinyproxy", shows: "the same, and TLS behind it", kind: Kind::ProxyToTls },
];

/// The transports that each setup is played over.
pub(crate) const TRANSPORTS: [Transport; 2] = [Transport::WebSocket, Transport::LongPolling];

/// One row: a setup before a server.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) setup: &'static Setup,
    pub(crate) server: &'static str,
    pub(crate) entries: Vec<Entry>,
    /// What failed, and why.
    pub(crate) failures: Vec<String>,
}

impl Setup {
    /// Brings its programs from Debian, and lists the versions.
    pub(crate) async fn install(tool: &str) -> Outcome<String> {
        install::need(tool, tool).await?;
        if tool == "tinyproxy" {
            install::need("nginx", "nginx").await?;
        }
        install::tool_version(tool, "-v").await
    }

    /// Plays it over each transport.
    pub(crate) async fn play(&'static self, server: &'static Peer) -> Row {
        let (mut entries, mut failures) = (Vec::new(), Vec::new());
        for transport in TRANSPORTS {
            let began = std::time::Instant::now();
            let limit = std::time::Duration::from_secs(120);
            let played = tokio::time::timeout(limit, self.try_one(server, transport)).await;
            let outcome = played.unwrap_or_else(|_| Err(format!("not done within {limit:?}").into()));
            let took = began.elapsed().as_secs_f64();
            let what = format!("{} before {} over {transport}, {}", self.tool, server.name, self.shows);
            entries.push(match outcome {
                Ok(()) => {
                    println!("{what}: pass ({took:.1} s)");
                    Entry::Pass
                }
                Err(error) => {
                    let what = format!("{what}: FAIL ({took:.1} s): {error}");
                    println!("{what}");
                    failures.push(what);
                    Entry::Fail
                }
            });
        }
        Row { setup: self, server: server.name, entries, failures }
    }

    async fn try_one(&self, server: &'static Peer, transport: Transport) -> Outcome {
        match self.kind {
            Kind::Sticky => balancer::sticky(server, transport).await,
            Kind::Failover => balancer::failover(server, transport).await,
            Kind::Tls => terminator::private_authority(server, transport).await,
            Kind::MutualTls => terminator::mutual(server, transport).await,
            Kind::Http2 => terminator::http2(server, transport).await,
            Kind::Proxy => forward::with_password(server, transport).await,
            Kind::ProxyToTls => forward::to_tls(server, transport).await,
        }
    }
}

/// The servers that stand behind the setups.
pub(crate) fn is_behind(peer: &Peer) -> bool {
    peer.name == OURS || peer.name == "cometd-java"
}
