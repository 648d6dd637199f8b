//! The participants: our client, the floors, and the clients of others that are installed.

use std::path::PathBuf;

use crate::Fallible;
use crate::job::{Task, Transport};
use crate::works::Work;

/// A participant.
pub(crate) struct Racer {
    pub(crate) name: String,
    pub(crate) command: Vec<String>,
    pub(crate) environment: Option<(&'static str, &'static str)>,
    /// How long it runs before it is measured, in milliseconds: compilers that work meanwhile need longer.
    pub(crate) warm_ms: u64,
    /// Whether it can start the feed.
    pub(crate) publishes: bool,
    pub(crate) does: fn(&Work) -> bool,
}

/// Our client and the floors.
pub(crate) fn own(warm_ms: u64) -> Fallible<Vec<Racer>> {
    let exe = std::env::current_exe()?.to_string_lossy().into_owned();
    let own = |name: &str, command: &str| Racer {
        name: name.to_owned(),
        command: vec![exe.clone(), command.to_owned()],
        environment: None,
        warm_ms,
        publishes: true,
        does: |_| true,
    };
    Ok(vec![
        own("bayeux", "ours"),
        own("floor", "floor"),
        Racer {
            environment: Some(("FLOOR_ON_TOKIO", "1")),
            does: |work| work.transport == Transport::Websocket && work.task != Task::Idle,
            ..own("floor on tokio", "floor")
        },
    ])
}

/// The clients of others, as far as `benches/peers/install` could install them.
pub(crate) fn peers() -> Vec<Racer> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers");
    let place = folder.to_string_lossy().into_owned();
    let mut racers = Vec::new();
    for Peer { name, command, needs, warm_ms, publishes, does } in PEERS {
        if !folder.join(needs).exists() {
            eprintln!("{name} is not installed, so it does not take part");
            continue;
        }
        racers.push(Racer {
            name: (*name).to_owned(),
            command: command.split_whitespace().map(|word| word.replace("{}", &place)).collect(),
            environment: None,
            warm_ms: *warm_ms,
            publishes: *publishes,
            does: *does,
        });
    }
    racers
}

struct Peer {
    name: &'static str,
    /// How it is started, from the folder `{}`.
    command: &'static str,
    /// What is there when it is installed.
    needs: &'static str,
    warm_ms: u64,
    publishes: bool,
    does: fn(&Work) -> bool,
}

const PEERS: &[Peer] = &[
    Peer {
        name: "CometD Java 8.0.8",
        command: "java -Xmx2g -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp {}/java/target/classes:{}/java/target/lib/* Racer",
        needs: "java/target/lib",
        warm_ms: 4000,
        publishes: true,
        does: |work| work.peers,
    },
    Peer {
        name: "cometd.js 9.0.0",
        command: "node --expose-gc {}/node/cometd.mjs",
        needs: "node/node_modules/cometd",
        warm_ms: 1500,
        publishes: true,
        does: |work| work.peers,
    },
    Peer {
        name: "Faye 1.4.3",
        command: "node --expose-gc {}/node/faye.mjs",
        needs: "node/node_modules/faye",
        warm_ms: 1500,
        publishes: true,
        does: |work| work.peers,
    },
    Peer {
        name: "aiocometd",
        command: "{}/python/venv/bin/python {}/python/racer.py",
        needs: "python/venv/bin/python",
        warm_ms: 500,
        publishes: true,
        does: |work| work.peers,
    },
    Peer {
        // Our package for Python, with the program of the one above.
        name: "aiobayeux",
        command: "{}/python/venv/bin/python {}/python/ours.py",
        needs: "python/venv/bin/bayeux",
        warm_ms: 500,
        publishes: true,
        does: |work| work.peers,
    },
    Peer {
        name: "cometd-client 0.3.6",
        command: "{}/rust/target/release/racer",
        needs: "rust/target/release/racer",
        warm_ms: 200,
        // It knows no WebSocket either.
        publishes: false,
        does: |work| {
            work.peers
                && work.transport == Transport::LongPolling
                && matches!(work.task, Task::Receive | Task::Idle)
        },
    },
];
