//! The peers: how each is started, and what it has.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a peer may take until it can be talked to.
const START: Duration = Duration::from_secs(60);

/// A server that runs; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) url: String,
    /// Whether it has `/service/echo` and `/service/fail`.
    pub(crate) has_services: bool,
    _process: Child,
}

impl Peer {
    /// Starts a peer that `interop/run` has installed.
    pub(crate) async fn start(name: &str) -> Result<Self, String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name);
        let mut command = match name {
            "cometd-java" => {
                let mut command = Command::new("java");
                command.args([
                    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                    "-cp",
                    "target/peer.jar:target/lib/*",
                ]);
                command.arg("CometdPeer");
                command
            }
            "faye" => {
                let mut command = Command::new("node");
                command.arg("server.js");
                command
            }
            other => return Err(format!("no peer is called {other}")),
        };
        // The peer ends with its standard input, even when this process is killed.
        let spawned = command
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn();
        let mut process = spawned.map_err(|error| format!("{name} cannot be started: {error}"))?;
        let output = process.stdout.take().ok_or("the peer has no standard output")?;
        let mut lines = BufReader::new(output).lines();
        let ready = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(url) = line.strip_prefix("READY ") {
                    return Ok(url.to_owned());
                }
            }
            Err(format!("{name} ended before it was ready"))
        };
        let ready = tokio::time::timeout(START, ready).await;
        let url = ready.map_err(|_| format!("{name} is not ready after {START:?}"))??;
        // What it prints later is of no interest, but must not fill its pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { name: name.to_owned(), url, has_services: name == "cometd-java", _process: process })
    }
}
