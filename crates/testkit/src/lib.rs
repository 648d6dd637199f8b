//! Servers, networks and certificates for tests of programs that use CometD.
//!
//! | | |
//! |---|---|
//! | [`TestServer`] | a real server in the test's process, which can be cut off, restarted, or made to forget its sessions |
//! | [`Peer`] | a scripted server, which sends exactly what a test specifies, valid or not |
//! | [`FaultProxy`] | a network between a client and any server, which fails on demand |
//! | [`FakeSalesforce`] | a Salesforce org: logins, the Streaming API, and its faults |
//! | [`HttpProxy`], [`SocksProxy`] | the proxies of a company network |
//! | [`Authority`] | certificates |
//!
//! Each listens on a free port of the loopback interface, so that tests can run in parallel, and stops when it is
//! dropped. An operation that fails panics, which fails the test.
//!
//! Client, server, peer and network use tokio's clock only. With a paused clock (`tokio::time::pause`), hours take
//! milliseconds. Connect before you pause the clock, because a paused clock does not wait for the kernel to transfer bytes.
//! `docs/testing-your-program.md` in the repository has a test of each kind.
//!
//! [`sim`] is the crate `bayeux-sim`, which simulates the state machines of client and server with a network that fails, in
//! virtual time, from one seed. This project tests itself with it; it does not run a user's program.
//!
//! ```
//! use bayeux_testkit::TestServer;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), bayeux::Error> {
//! let server = TestServer::start().await;
//! let client = bayeux::Client::connect(&server.url()).await?;
//! client.subscribe("/news").await?;
//! server.publish("/news", "hello");
//! assert_eq!(client.receive().await?.data().as_str(), "\"hello\"");
//!
//! // The server restarts without its sessions; the client restores its subscription.
//! let mut events = client.events();
//! server.restart().await;
//! while !matches!(events.next().await, Some(bayeux::Event::Connected { .. })) {}
//! client.publish("/news", "again").await?;
//! assert_eq!(client.receive().await?.data().as_str(), "\"again\"");
//! client.close().await
//! # }
//! ```

pub use bayeux_sim as sim;

#[cfg(feature = "sockets")]
mod peer;
#[cfg(feature = "sockets")]
mod proxy;
#[cfg(feature = "sockets")]
mod salesforce;
#[cfg(feature = "sockets")]
mod server;
#[cfg(feature = "sockets")]
mod tls;

#[cfg(feature = "sockets")]
pub use peer::{Answer, Peer, Request, RequestKind};
#[cfg(feature = "sockets")]
pub use proxy::{FaultProxy, HttpProxy, ProxiedRequest, SocksProxy};
#[cfg(feature = "sockets")]
pub use salesforce::{FakeSalesforce, Refusal};
#[cfg(feature = "sockets")]
pub use server::{TestServer, TestServerBuilder};
#[cfg(feature = "sockets")]
pub use tls::{Authority, Identity};
