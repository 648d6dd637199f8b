//! A server that runs.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::outcome::Outcome;
use crate::peers::Peer;
use crate::process::Process;

/// How long servers hold a connect, in ms: short, so that a scenario sees several.
pub(crate) const HOLD: u64 = 4000;
/// How long they keep a session that does not connect, in ms.
pub(crate) const KEEP: u64 = 4000;

/// A server, ours or not, in a process of its own.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) peer: &'static Peer,
    pub(crate) address: SocketAddr,
    /// What comes after the address in its URL.
    pub(crate) path: String,
    process: Mutex<Option<Process>>,
}

impl Server {
    /// Starts it on a free port.
    pub(crate) async fn start(peer: &'static Peer) -> Outcome<Self> {
        let (process, url) = spawn(peer, 0).await?;
        let rest = url.strip_prefix("http://").ok_or_else(|| format!("{url} is no URL of a server"))?;
        let (address, path) = rest.split_once('/').ok_or_else(|| format!("{url} has no path"))?;
        let path = format!("/{path}");
        Ok(Self { peer, address: address.parse()?, path, process: Mutex::new(Some(process)) })
    }

    /// Kills it.
    pub(crate) async fn kill(&self) -> Outcome {
        match self.process.lock().await.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Kills it and starts it again at the same address; `down` happens in between.
    pub(crate) async fn restart(&self, down: impl Future<Output = ()>) -> Outcome {
        let mut process = self.process.lock().await;
        if let Some(process) = process.take() {
            process.kill().await?;
        }
        down.await;
        let (started, url) = spawn(self.peer, self.address.port()).await?;
        *process = Some(started);
        if url.contains(&self.address.to_string()) {
            return Ok(());
        }
        Err(format!("the server came back at {url} instead of {}", self.address).into())
    }

    /// Makes the server publish.
    pub(crate) async fn publish(&self, channel: &str, data: &Value) -> Outcome {
        let mut process = self.process.lock().await;
        let process = process.as_mut().ok_or("the server does not run")?;
        process.write(&json!({"channel": channel, "data": data}).to_string()).await
    }

    pub(crate) async fn said(&self) -> String {
        self.process.lock().await.as_ref().map(Process::said).unwrap_or_default()
    }

    pub(crate) async fn stop(self) -> Outcome {
        match self.process.into_inner() {
            Some(process) => process.stop().await,
            None => Ok(()),
        }
    }
}

async fn spawn(peer: &'static Peer, port: u16) -> Outcome<(Process, String)> {
    let mut command = peer.command();
    command.arg(port.to_string()).arg(HOLD.to_string()).arg(KEEP.to_string());
    let (process, mut lines, url) = Process::start(&format!("{} (server)", peer.name), command).await?;
    // What it prints later is of no interest, but must not fill its pipe.
    tokio::spawn(async move { while lines.recv().await.is_some() {} });
    Ok((process, url))
}
