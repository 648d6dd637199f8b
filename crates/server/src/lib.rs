//! An embeddable CometD server: a tower service for the Bayeux protocol over long-polling and WebSocket on one path,
//! and over callback-polling if it is [enabled](Builder::transports).
//!
//! ```
//! use bayeux_server::{Request, Server, ServiceError};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder()
//!     .service("/service/echo", |request: Request| async move { Ok::<_, ServiceError>(Some(request.data)) })
//!     .build()?;
//! let running = server.bind("127.0.0.1:0").await?;
//! println!("clients connect to {}", running.url());
//! server.publish("/news", &"hello").unwrap();
//! running.shutdown().await;
//! # Ok(()) }
//! ```
//!
//! [`Server::bind`] is for programs that serve nothing else. Others add [`Server::service`] to their HTTP server, with axum
//! for example `Router::new().route_service("/cometd", server.service())` (and `/cometd/{*rest}`,
//! because clients add the name of a meta message to the URL).

mod activity;
mod builder;
mod callback_polling;
mod connection;
mod cookie;
mod error;
mod handlers;
mod http_service;
mod hub;
mod listener;
mod options;
mod origin;
mod request_body;
mod response;
mod response_body;
mod server;
mod session_events;
mod socket;
mod stream;
mod text;
mod upgrade;

pub use builder::Builder;
pub use cookie::{SameSite, SessionCookie};
pub use error::{BuildError, PublishError};
pub use handlers::{Request, ServiceError};
pub use http_service::HttpService;
pub use listener::Running;
pub use response_body::ResponseBody;
pub use server::Server;
pub use session_events::{SessionEvent, SessionEvents, SessionState};

pub use bayeux_proto::server::{Activity, AllowAll, Denial, Memory, Policy, QueueOverflow, RemovedBecause};
pub use bayeux_proto::{BayeuxError, Channel, ClientId, Data, InvalidChannel, Message, Reconnect, Transport};

/// The programs in the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
