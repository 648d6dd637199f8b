//! Receiving without loss across sessions and processes, from servers that keep the events of a channel (Salesforce, for one).
//!
//! [`Client::stream_from`](crate::Client::stream_from) subscribes from a position in the past. Each message comes as a [`Tracked`]
//! value. When it is dropped, or [acknowledged](Tracked::ack), the message counts as processed, and the *marker* of the channel
//! advances: the id of the last message that was processed, with all before it. The marker is saved in the [`ReplayStore`] of
//! [`Builder::replay_store`](crate::Builder::replay_store), and the next `stream_from`, in this process or another, begins after it.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use bayeux::Client;
//! use bayeux::replay::{FileStore, Replay};
//!
//! let client = Client::builder("https://example.com/cometd").replay_store(FileStore::open("orders.markers")?).build()?;
//! client.open().await?;
//! let mut orders = client.stream_from::<serde_json::Value>("/event/Order__e", Replay::All).await?;
//! while let Some(order) = orders.try_next().await? {
//!     println!("{}", *order); // Processed when `order` is dropped.
//! }
//! # Ok(()) }
//! ```
//!
//! # What is guaranteed
//!
//! Each event that the server keeps is received at least once, in order, and each once for as long as the process lives. After the
//! end of a process, by whatever cause, the messages that were not processed come again: with the default of
//! [`ReplayStream::save_every`] that is at most the one in processing, for a program that processes one after the other.
//!
//! - If the session is lost, the client subscribes again after the newest event that it has received.
//! - If a connection is lost that may have carried events, the client asks for a new session, and has them replayed.
//! - If the stream is read more slowly than events arrive, the events that do not fit its queue are replayed once there is space.
//! - Events that come again are recognised by their ids, and dropped.
//! - If the server does not keep the position any more, [`Event::ReplayUnavailable`](crate::Event::ReplayUnavailable) is emitted, and
//!   the stream goes on as [`Builder::replay_fallback`](crate::Builder::replay_fallback) says. That is the only way to miss an event.
//!
//! The ids stand in the payload, as `{"event": {"replayId": 7}}`. A message without one is delivered, and moves no marker.
//!
//! # Acknowledgements and replay
//!
//! The acknowledge extension ([`Builder::acknowledge`](crate::Builder::acknowledge)) works within a session: the server repeats what a
//! lost connection carried. Replay works across sessions. If the server supports both, a lost connection needs no new session, and a
//! full queue slows the server down, so that replay is only needed for a new session or a new process. With replay alone, as at
//! Salesforce, it does the work of both.
//!
//! # Filtered channels
//!
//! A channel with a filter, such as `/topic/T?Industry='Energy'`, has a marker of its own. A message does not say which filter it
//! passed: if one client subscribes to a channel with several filters, each stream receives the messages of all of them, and after the
//! end of the process those of one filter that were replayed later than newer ones of another may be missed. Use a client for each
//! filter.

mod client;
mod error;
mod file;
mod memory;
#[cfg(feature = "redb")]
mod redb;
mod store;
mod stream;
mod tracker;

pub use bayeux_proto::client::{Replay, ReplayFallback};
pub use error::StoreError;
pub use file::FileStore;
pub use memory::MemoryStore;
#[cfg(feature = "redb")]
pub use redb::RedbStore;
pub use store::ReplayStore;
pub(crate) use stream::ReplayOptions;
pub use stream::{ReplayStream, Tracked};
