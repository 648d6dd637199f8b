//! The Bayeux protocol, as CometD speaks it, without any I/O.
//!
//! The crate knows neither sockets nor a clock: it holds the words of the protocol ([`Channel`], [`Message`],
//! [`Advice`], [`BayeuxError`], [`codec`]) and the two state machines that speak them, the client's
//! ([`client::Session`]) and the server's ([`server::Engine`]). A program that only wants to talk to a server
//! takes the crate `bayeux`; one that wants to be a server takes `bayeux-server`.
//!
//! # How a session is driven
//!
//! Both state machines obey one contract, in three steps that repeat:
//!
//! 1. Pass any number of inputs to `handle` (and `handle_timeout` of the server).
//! 2. Take outputs from `poll_output` until it returns `None`, and carry each out, in order.
//! 3. Wait for the next input, but at most until `poll_timeout`.
//!
//! What an input of step 1 gives up (an exchange, a socket), the driver does not know before step 2. Until then it may pass more
//! about it, which is ignored; after that it must not.
//!
//! The time is an argument of each call ([`Time`]), and randomness comes from a seed in the configuration, so that a
//! whole lifetime can be run, and repeated exactly, in virtual time.

pub mod client;
pub mod codec;
pub mod server;

pub mod ext;
pub mod websocket;

mod advice;
mod channel;
mod data;
mod error;
mod id;
mod message;
mod object;
mod printable;
mod time;
mod transport;

pub use advice::{Advice, Interval, Reconnect};
pub use channel::{Channel, ChannelKind, InvalidChannel, InvalidReason};
pub use data::Data;
pub use error::BayeuxError;
pub use id::{ClientId, MessageId};
pub use message::{Fields, Message, Subscription};
pub use printable::printable;
pub use time::Time;
pub use transport::Transport;

/// The programs of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
