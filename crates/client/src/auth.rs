//! Authentication: the source of credentials.

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

/// A source of credentials, for [`Builder::auth`](crate::Builder::auth).
///
/// The client requests credentials before the first handshake, which may be answered from a cache, and again each time the server
/// refuses them: once for all calls that wait. After a refusal the source should return fresh credentials. If those are refused
/// before the server has accepted any of them, the refusal is returned as the error.
///
/// Async functions and closures that take an [`AuthReason`] are sources:
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
    /// Returns valid credentials.
    ///
    /// # Errors
    /// An error ends [`open`](crate::Client::open). In an open session it counts as a failed attempt, after which the client requests
    /// credentials again.
    fn credentials(&self, reason: AuthReason) -> AuthFuture;
}

/// The future that [`Auth::credentials`] returns.
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

/// Headers for each HTTP request, and keys for the `ext` field of each handshake. `Debug` shows no values.
#[derive(Clone, Default)]
pub struct Credentials {
    pub(crate) headers: HeaderMap,
    pub(crate) ext: Map<String, Value>,
}

impl Credentials {
    /// Empty credentials, to be filled with [`header`](Credentials::header) and [`ext`](Credentials::ext).
    pub fn new() -> Self {
        Self::default()
    }

    /// The header `Authorization: Bearer …`.
    ///
    /// # Errors
    /// Returns an error if the token contains characters that headers cannot have. The error does not contain the token.
    pub fn bearer(token: &str) -> Result<Self, Error> {
        Self::new().header(AUTHORIZATION, format!("Bearer {token}"))
    }

    /// The header `Authorization: Basic …`.
    ///
    /// # Errors
    /// Returns no error today, whatever user and password are.
    pub fn basic(user: &str, password: &str) -> Result<Self, Error> {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        Self::new().header(AUTHORIZATION, format!("Basic {pair}"))
    }

    /// Sets a header, and replaces an earlier one of the same name.
    ///
    /// ```
    /// let credentials = bayeux::Credentials::new().header("X-Api-Key", "secret")?;
    /// assert!(!format!("{credentials:?}").contains("secret"));
    /// # Ok::<(), bayeux::Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if the name or the value contains characters that headers cannot have. The error does not contain the value.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Result<Self, Error> {
        let (name, value) = header(name.as_ref(), value.as_ref())?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Sets a key of the `ext` field of handshakes.
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
