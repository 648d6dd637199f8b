//! Authentication: whom the client asks for credentials, and when.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use base64::Engine;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value};

pub use bayeux_proto::client::AuthReason;

use crate::error::Error;
use crate::operation::header;

/// A source of credentials.
///
/// It is asked before the first handshake, for which it may give credentials that it remembers, and again each time
/// the server refuses what it gave: once for any number of calls that wait. Those that it gives after a refusal should
/// be fresh: when they are refused before any of them was accepted, the refusal stands. An async function or closure of
/// an [`AuthReason`] is one:
///
/// ```
/// # use bayeux::{Client, AuthReason, Credentials};
/// # async fn fetch_token() -> Result<String, std::io::Error> { Ok(String::new()) }
/// let client = Client::builder("https://example.com/cometd")
///     .auth(|_reason: AuthReason| async { Ok(Credentials::bearer(&fetch_token().await?)?) })
///     .build()?;
/// # Ok::<(), bayeux::Error>(())
/// ```
pub trait Auth: Send + Sync + 'static {
    /// Gives credentials that are good now. An error ends an `open()`; later it counts as a failed attempt, after
    /// which this is asked again.
    fn credentials(&self, reason: AuthReason) -> AuthFuture;
}

/// What [`Auth::credentials`] returns.
pub type AuthFuture =
    Pin<Box<dyn Future<Output = Result<Credentials, Box<dyn std::error::Error + Send + Sync>>> + Send>>;

impl<F, R> Auth for F
where
    F: Fn(AuthReason) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Credentials, Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    fn credentials(&self, reason: AuthReason) -> AuthFuture {
        Box::pin(self(reason))
    }
}

/// Credentials: headers for each HTTP request, and keys for the `ext` of each handshake.
#[derive(Clone, Default)]
pub struct Credentials {
    pub(crate) headers: HeaderMap,
    pub(crate) ext: Map<String, Value>,
}

impl Credentials {
    /// None at all: to be filled with [`header`](Credentials::header) and [`ext`](Credentials::ext).
    pub fn new() -> Self {
        Self::default()
    }

    /// `Authorization: Bearer …`.
    ///
    /// # Errors
    /// When the token has characters that a header cannot have.
    pub fn bearer(token: &str) -> Result<Self, Error> {
        Self::new().header(AUTHORIZATION, format!("Bearer {token}"))
    }

    /// `Authorization: Basic …`.
    ///
    /// # Errors
    /// Never for any user and password; the type is that of the others.
    pub fn basic(user: &str, password: &str) -> Result<Self, Error> {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        Self::new().header(AUTHORIZATION, format!("Basic {pair}"))
    }

    /// Adds a header.
    ///
    /// # Errors
    /// When the value has characters that a header cannot have. The error does not repeat the value.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Result<Self, Error> {
        let (name, value) = header(name.as_ref(), value.as_ref())?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Adds a key to the `ext` of handshakes.
    #[must_use]
    pub fn ext(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.ext.insert(key.into(), value.into());
        self
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.keys().map(HeaderName::as_str).collect();
        let ext: Vec<_> = self.ext.keys().collect();
        write!(f, "Credentials {{ headers: {headers:?}, ext: {ext:?} }}")
    }
}
