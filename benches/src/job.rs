//! The arguments of a racer, and its results. Each racer, in any language, takes the same arguments and prints the same
//! JSON object.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// One piece of work for one process.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Job {
    /// The feed.
    pub(crate) url: String,
    /// What to do.
    pub(crate) task: Task,
    /// Over which transport.
    pub(crate) transport: Transport,
    /// For how long before the measurement, in milliseconds.
    pub(crate) warm_ms: u64,
    /// For how long, in milliseconds.
    pub(crate) time_ms: u64,
    /// How many: subscriptions to receive with, messages that come first, calls that wait at once, idle clients.
    pub(crate) count: usize,
    /// The size of a published message, in bytes.
    pub(crate) size: usize,
    /// Offer the acknowledge extension: 1, or 0 not to.
    pub(crate) ack: u8,
    /// Trust this certificate.
    #[arg(long)]
    pub(crate) ca: Option<PathBuf>,
}

impl Job {
    pub(crate) fn warm(&self) -> Duration {
        Duration::from_millis(self.warm_ms)
    }

    pub(crate) fn time(&self) -> Duration {
        Duration::from_millis(self.time_ms)
    }

    /// The payload of a published message: as long as the message is to be, less what stands around it.
    pub(crate) fn payload(&self) -> serde_json::Value {
        const AROUND: usize = 100;
        serde_json::json!({ "text": "x".repeat(self.size.saturating_sub(AROUND)) })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Task {
    /// Await each message.
    Receive,
    /// The same, and decode each payload.
    Typed,
    /// The same, from a stream that decodes them.
    Stream,
    /// The same as receive, but measured when many have come already.
    Long,
    /// One publish after the other's reply.
    Publish,
    /// Many publishes at once.
    Pipelined,
    /// One request after the other's answer.
    Request,
    /// Be connected, and nothing else.
    Idle,
}

impl Task {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Typed => "typed",
            Self::Stream => "stream",
            Self::Long => "long",
            Self::Publish => "publish",
            Self::Pipelined => "pipelined",
            Self::Request => "request",
            Self::Idle => "idle",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    Websocket,
    LongPolling,
}

impl Transport {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Websocket => "websocket",
            Self::LongPolling => "long-polling",
        }
    }
}

/// What a racer measured.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Messages received, or calls answered.
    pub(crate) messages: f64,
    /// How long that took.
    pub(crate) seconds: f64,
    /// The process's CPU time meanwhile.
    pub(crate) cpu_seconds: f64,
    /// The most memory that the process ever had.
    pub(crate) peak_kib: f64,
    /// The median time of a call, for those that are made one after the other.
    #[serde(default)]
    pub(crate) p50_us: f64,
    /// What an idle client takes.
    #[serde(default)]
    pub(crate) client_kib: f64,
    /// Messages that were dropped because the task that reads them was late.
    #[serde(default)]
    pub(crate) dropped: f64,
}

impl Measured {
    pub(crate) fn print(&self) -> crate::Fallible {
        println!("{}", serde_json::to_string(self)?);
        Ok(())
    }
}

/// The payload of a feed, as a user would type it.
#[derive(Debug, Deserialize)]
pub(crate) struct Tick {
    pub(crate) n: u64,
    pub(crate) text: String,
}
