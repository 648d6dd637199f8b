//! haproxy with two servers behind it, and a cookie by which a client stays at its own.

use std::net::SocketAddr;
use std::time::Duration;

use bayeux::Transport;
use serde_json::json;

use super::setup::{Folder, free_address, start};
use crate::outcome::{Outcome, check};
use crate::peers::Peer;
use crate::process::Process;
use crate::server::Server;
use crate::tap::Tap;
use crate::user::{Open, User};

/// So many clients that all of them at one server would be no balance.
const CLIENTS: usize = 8;

struct Balancer {
    address: SocketAddr,
    servers: [Server; 2],
    taps: [Tap; 2],
    haproxy: Process,
    _folder: Folder,
}

impl Balancer {
    async fn start(peer: &'static Peer) -> Outcome<Self> {
        let servers = [Server::start(peer).await?, Server::start(peer).await?];
        let taps = [Tap::start(servers[0].address).await?, Tap::start(servers[1].address).await?];
        let (folder, address) = (Folder::new()?, free_address()?);
        let config = format!(
            "defaults
                mode http
                timeout connect 1s
                timeout client 60s
                timeout server 60s
                timeout tunnel 60s
                retries 2
                option redispatch 1
            listen cometd
                bind {address}
                balance roundrobin
                cookie SERVER insert indirect nocache
                server one {} cookie one check port {} inter 200ms fall 2
                server two {} cookie two check port {} inter 200ms fall 2\n",
            taps[0].address,
            servers[0].address.port(),
            taps[1].address,
            servers[1].address.port(),
        );
        let config = folder.write("haproxy.cfg", &config)?;
        let haproxy = start(address, &["haproxy", "-q", "-db", "-f", &config]).await?;
        Ok(Self { address, servers, taps, haproxy, _folder: folder })
    }

    async fn users(&self, transport: Transport) -> Outcome<Vec<User>> {
        let options = Open::new(self.address, &self.servers[0].path, transport);
        let mut users = Vec::new();
        for number in 0..CLIENTS {
            let user = User::ours(&options)?;
            user.open(&options).await?;
            user.subscribe(&channel(number)).await?;
            users.push(user);
        }
        Ok(users)
    }

    async fn stop(self) -> Outcome {
        let [one, two] = self.servers;
        self.haproxy.stop().await?;
        one.stop().await?;
        two.stop().await
    }
}

/// Each client has a channel of its own: the servers know nothing of each other.
fn channel(number: usize) -> String {
    format!("/balanced/{number}")
}

pub(super) async fn sticky(peer: &'static Peer, transport: Transport) -> Outcome {
    let balancer = Balancer::start(peer).await?;
    let users = balancer.users(transport).await?;
    for round in 0..10 {
        for (number, user) in users.iter().enumerate() {
            user.publish(&channel(number), &json!(round)).await?;
            user.expect(&channel(number), &json!(round)).await?;
        }
    }
    // No client had to handshake twice, as it would after a request to the other server.
    for tap in &balancer.taps {
        let log = tap.log();
        let granted = log.matches("\"clientId\"").count();
        check(granted > 0, "one of the servers had no client")?;
        check(!log.contains("402::"), format!("a client came to a server that does not know it:\n{log}"))?;
    }
    for user in &users {
        user.close().await?;
    }
    drop(users);
    balancer.stop().await
}

pub(super) async fn failover(peer: &'static Peer, transport: Transport) -> Outcome {
    let balancer = Balancer::start(peer).await?;
    let users = balancer.users(transport).await?;
    balancer.servers[0].kill().await?;
    for (number, user) in users.iter().enumerate() {
        let back = async {
            loop {
                // The first ones fail, or are published to the server that was stopped.
                let _ = user.publish(&channel(number), &json!("are you there?")).await;
                if user.receives_within(Duration::from_millis(300)).await.is_some() {
                    break;
                }
            }
        };
        let limit = Duration::from_secs(30);
        let back = tokio::time::timeout(limit, back).await;
        back.map_err(|_| {
            format!("client {number} is not back in {limit:?}:\n{}", user.reported().join("\n"))
        })?;
    }
    for user in &users {
        user.close().await?;
    }
    drop(users);
    balancer.stop().await
}
