//! Who takes part: the servers and the clients, how each is installed and started, and what it has.

use std::path::PathBuf;

use bayeux::Transport::{self, CallbackPolling, LongPolling, WebSocket};

/// A program that others wrote (or we), in one of its roles.
#[derive(Debug)]
pub(crate) struct Peer {
    /// What `interop/run` knows it by, and in most cases its folder in `peers/`.
    pub(crate) name: &'static str,
    /// What it is, for the table.
    pub(crate) what: &'static str,
    pub(crate) install: Install,
    pub(crate) version: Version,
    /// The command, in its folder; see [`Peer::command`] for what is replaced.
    pub(crate) command: &'static [&'static str],
    pub(crate) transports: &'static [Transport],
    pub(crate) has: &'static [Need],
}

/// Where a peer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Install {
    /// It is this project.
    Ours,
    /// Its `pom.xml`.
    Maven,
    /// Its `package-lock.json`.
    Npm,
    /// The same, and Debian's Chromium.
    NpmAndChromium,
    /// Its `requirements.txt`, into an environment of its own.
    Pip,
    /// Its `Cargo.lock`.
    Cargo,
}

/// Where the version that was installed can be read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Version {
    Ours,
    /// The version in the name of this jar.
    Jar(&'static str),
    /// The version of this package of npm.
    Npm(&'static str),
    /// The version of this package of Python.
    Pip(&'static str),
    /// The version of this crate.
    Crate(&'static str),
}

/// What a scenario needs from both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Clients can publish.
    Publish,
    /// Messages of several channels in one request.
    Batch,
    /// The server can refuse subscriptions and publishes, and the client reports it.
    Refusal,
    /// The same for handshakes.
    HandshakeRefusal,
    /// Services that answer, and a client that matches the answer to its question.
    Request,
    /// Messages of 1 MiB.
    Large,
    /// The acknowledge extension.
    Ack,
    /// The timesync extension.
    Timesync,
    /// The server can end a session.
    Dismissal,
    /// The client is a browser, whose windows share their cookies.
    Windows,
    /// The server publishes by itself.
    ServerPublish,
}

use Need::{
    Ack, Batch, Dismissal, HandshakeRefusal, Large, Publish, Refusal, Request, ServerPublish, Timesync,
    Windows,
};

/// Those of a browser. A transport that the server lacks is not tried.
const CHROMIUM: &[Transport] = &[WebSocket, LongPolling, CallbackPolling];

/// The servers; ours is the last.
pub(crate) const SERVERS: &[Peer] = &[
    Peer {
        name: "cometd-java",
        what: "CometD for Java, on Jetty 12",
        install: Install::Maven,
        version: Version::Jar("cometd-java-server-common"),
        command: &["java", "-cp", "target/peer.jar:target/lib/*", "CometdServer"],
        transports: &[WebSocket, LongPolling],
        has: &[
            Publish,
            Batch,
            Refusal,
            HandshakeRefusal,
            Request,
            Large,
            Ack,
            Timesync,
            Dismissal,
            ServerPublish,
            Windows,
        ],
    },
    Peer {
        name: "cometd-java-7",
        what: "CometD for Java, the line before, on Jetty 11",
        install: Install::Maven,
        version: Version::Jar("cometd-java-server-common"),
        command: &["java", "-cp", "target/peer.jar:target/lib/*", "CometdServer"],
        transports: &[WebSocket, LongPolling],
        has: &[
            Publish,
            Batch,
            Refusal,
            HandshakeRefusal,
            Request,
            Large,
            Ack,
            Timesync,
            Dismissal,
            ServerPublish,
            Windows,
        ],
    },
    Peer {
        name: "cometd-nodejs",
        what: "CometD for Node.js",
        install: Install::Npm,
        version: Version::Npm("cometd-nodejs-server"),
        command: &["node", "server.js"],
        transports: &[LongPolling],
        has: &[
            Publish,
            Batch,
            Refusal,
            HandshakeRefusal,
            Request,
            Large,
            Ack,
            Dismissal,
            ServerPublish,
            Windows,
        ],
    },
    Peer {
        name: "faye",
        what: "Faye for Node.js",
        install: Install::Npm,
        version: Version::Npm("faye"),
        command: &["node", "server.js"],
        transports: &[WebSocket, LongPolling],
        has: &[Publish, Batch, Refusal, Large, ServerPublish],
    },
    Peer {
        name: "axum-cometd",
        what: "the crate axum-cometd",
        install: Install::Cargo,
        version: Version::Crate("axum-cometd"),
        command: &["{cargo}/debug/axum-cometd-peer"],
        transports: &[LongPolling],
        // What clients publish it takes at its URL for connects, where none of them sends it.
        has: &[ServerPublish],
    },
    Peer {
        name: "bayeux",
        what: "this project's server",
        install: Install::Ours,
        version: Version::Ours,
        command: &["{self}", "serve"],
        transports: &[WebSocket, LongPolling, CallbackPolling],
        has: &[
            Publish,
            Batch,
            Refusal,
            HandshakeRefusal,
            Request,
            Large,
            Ack,
            Timesync,
            Dismissal,
            ServerPublish,
            Windows,
        ],
    },
];

/// The clients; ours is the last, and has no command: it runs in this process.
pub(crate) const CLIENTS: &[Peer] = &[
    Peer {
        name: "cometd-java",
        what: "CometD's client for Java",
        install: Install::Maven,
        version: Version::Jar("cometd-java-client-http-jetty"),
        command: &["java", "-cp", "target/peer.jar:target/lib/*", "CometdClient"],
        transports: &[WebSocket, LongPolling],
        has: &[
            Publish,
            Batch,
            Refusal,
            HandshakeRefusal,
            Request,
            Large,
            Ack,
            Timesync,
            Dismissal,
            ServerPublish,
        ],
    },
    Peer {
        name: "cometd-js",
        what: "cometd.js in Node.js",
        install: Install::Npm,
        version: Version::Npm("cometd"),
        command: &["node", "node.mjs"],
        transports: &[WebSocket, LongPolling],
        has: &[
            Publish,
            Batch,
            Refusal,
            HandshakeRefusal,
            Request,
            Large,
            Ack,
            Timesync,
            Dismissal,
            ServerPublish,
        ],
    },
    Peer {
        name: "faye",
        what: "Faye's client in Node.js",
        install: Install::Npm,
        version: Version::Npm("faye"),
        command: &["node", "node.mjs"],
        transports: &[WebSocket, LongPolling],
        has: &[Publish, Refusal, Large, ServerPublish],
    },
    Peer {
        name: "aiocometd",
        what: "aiocometd's fork aiocometd-noloop",
        install: Install::Pip,
        version: Version::Pip("aiocometd-noloop"),
        command: &["{venv}/bin/python", "client.py"],
        transports: &[WebSocket, LongPolling],
        has: &[Publish, Refusal, HandshakeRefusal, Large, Dismissal, ServerPublish],
    },
    Peer {
        name: PYTHON,
        what: "this project's package for Python",
        install: Install::Pip,
        version: Version::Pip("aiobayeux"),
        command: &["{venv}/bin/python", "client.py"],
        transports: &[WebSocket, LongPolling],
        has: &[Publish, Batch, Refusal, HandshakeRefusal, Request, Large, Ack, Dismissal, ServerPublish],
    },
    Peer {
        name: "cometd-js-chromium",
        what: "cometd.js in Chromium",
        install: Install::NpmAndChromium,
        version: Version::Npm("cometd"),
        command: &["node", "chromium.mjs", "cometd"],
        transports: CHROMIUM,
        has: &[
            Publish,
            Batch,
            Refusal,
            HandshakeRefusal,
            Request,
            Large,
            Ack,
            Timesync,
            Dismissal,
            ServerPublish,
            Windows,
        ],
    },
    Peer {
        name: "faye-chromium",
        what: "Faye's client in Chromium",
        install: Install::NpmAndChromium,
        version: Version::Npm("faye"),
        command: &["node", "chromium.mjs", "faye"],
        transports: CHROMIUM,
        has: &[Publish, Refusal, Large, ServerPublish, Windows],
    },
    Peer {
        name: "bayeux",
        what: "this project's client",
        install: Install::Ours,
        version: Version::Ours,
        command: &[],
        transports: &[WebSocket, LongPolling],
        has: &[
            Publish,
            Batch,
            Refusal,
            HandshakeRefusal,
            Request,
            Large,
            Ack,
            Timesync,
            Dismissal,
            ServerPublish,
        ],
    },
];

/// Our side of each pair.
pub(crate) const OURS: &str = "bayeux";
/// Our package for Python: as a client, it has a process of its own, and is tried with each server as ours is.
pub(crate) const PYTHON: &str = "aiobayeux";

/// What `interop/run` knows a setup of proxies by.
pub(crate) const NETWORKS: [&str; 3] = ["haproxy", "nginx", "tinyproxy"];

impl Peer {
    /// Where its files are.
    pub(crate) fn folder(&self) -> PathBuf {
        match self.install {
            Install::Ours => root(),
            Install::NpmAndChromium => root().join("interop/peers/chromium"),
            _ => root().join("interop/peers").join(self.name),
        }
    }

    /// The command that starts it: `{self}` is this program, `{cargo}` and `{venv}` are where it was installed.
    pub(crate) fn command(&self) -> tokio::process::Command {
        let mut words = self.command.iter().map(|word| {
            let this = std::env::current_exe().unwrap_or_default();
            word.replace("{self}", &this.to_string_lossy())
                .replace("{cargo}", &build_folder("cargo").to_string_lossy())
                .replace("{venv}", &build_folder(self.name).to_string_lossy())
        });
        let mut command = tokio::process::Command::new(words.next().unwrap_or_default());
        command.args(words).current_dir(self.folder());
        // The proxies of the environment are not for connections of this machine to itself.
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name);
        }
        command
    }
}

pub(crate) fn is_known(name: &str) -> bool {
    SERVERS.iter().chain(CLIENTS).any(|peer| peer.name == name) || NETWORKS.contains(&name)
}

/// The names for `interop/run`, each once.
pub(crate) fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for name in SERVERS.iter().chain(CLIENTS).map(|peer| peer.name).chain(NETWORKS) {
        if !names.contains(&name) && name != OURS {
            names.push(name);
        }
    }
    names
}

/// The root of the project.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}

/// A place for what is built and must not be committed.
pub(crate) fn build_folder(name: &str) -> PathBuf {
    root().join("target/interop").join(name)
}
