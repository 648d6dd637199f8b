//! Salesforce's Streaming API for [`bayeux`]: PushTopics, generic events, platform events and change data capture.
//!
//! ```no_run
//! use bayeux::replay::{FileStore, Replay};
//! use bayeux_salesforce::{Login, PlatformEvent, Salesforce};
//!
//! #[derive(serde::Deserialize)]
//! struct Order {
//!     #[serde(rename = "Number__c")]
//!     number: String,
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let login = Login::client_credentials("https://acme.my.salesforce.com", "client id", "client secret");
//! let salesforce = Salesforce::login(login).await?;
//! let client = salesforce.client().replay_store(FileStore::open_for("orders.markers", salesforce.owner())?).build()?;
//! client.open().await?;
//! let mut orders = client.stream_from::<PlatformEvent<Order>>("/event/Order__e", Replay::All).await?;
//! while let Some(order) = orders.try_next().await? {
//!     println!("{}", order.payload.number);
//! }
//! # Ok(()) }
//! ```
//!
//! # What it does
//!
//! - [`Login`] has the OAuth flows. [`Salesforce`] logs in again wherever Salesforce says that a token is not valid any more: in a
//!   handshake or a connect, with an HTTP status, in a message without a channel. All clients of one [`Salesforce`] share the login.
//! - [`Salesforce::client`] presets the options of a client: long-polling alone, replies of up to 10 MiB, a new session after a
//!   `/meta/disconnect` of the server, and long pauses after an exceeded limit.
//! - [`PushTopicEvent`], [`GenericEvent`], [`PlatformEvent`] and [`ChangeEvent`] are the forms of the events, generic over your record.
//! - [`Limit`] says which limit of the org an error is about.
//!
//! Streams that lose nothing are those of [`bayeux::replay`].

mod error;
mod events;
mod jwt;
mod limit;
mod login;
mod salesforce;
mod secret;
mod token;

pub use error::Error;
pub use events::{
    ChangeEvent, ChangeHeader, ChangeType, EventInfo, GenericEvent, PlatformEvent, PushTopicChange,
    PushTopicEvent,
};
pub use limit::Limit;
pub use login::Login;
pub use salesforce::Salesforce;

/// The programs of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
