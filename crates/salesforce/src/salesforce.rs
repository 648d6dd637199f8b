//! A login that is kept valid, and the clients that use it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bayeux::{
    Auth, AuthFuture, AuthReason, Backoff, Builder, Client, Credentials, Failure, Retry, Transport, Url,
    Verdict,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::Error;
use crate::limit::Limit;
use crate::login::{Checked, Login};
use crate::token::{Token, http};

/// The version of the API that is used if no other is asked for.
const API_VERSION: &str = "64.0";
/// A token is renewed so long before it runs out, where that is known.
const EARLY: Duration = Duration::from_secs(60);

/// A login at Salesforce. Clones are the same login: its token is renewed once for all clients that use it.
#[derive(Clone)]
pub struct Salesforce {
    inner: Arc<Inner>,
    api_version: String,
}

struct Inner {
    login: Checked,
    http: reqwest::Client,
    instance: Url,
    identity: Option<String>,
    current: Mutex<Current>,
}

struct Current {
    token: Token,
    since: Instant,
    /// Counts the logins.
    number: u64,
}

impl Salesforce {
    /// Logs in.
    ///
    /// # Errors
    /// Returns an error if the URL or the key is invalid, if Salesforce cannot be reached, or if it refuses the login.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the login.
    pub async fn login(login: Login) -> Result<Self, Error> {
        let (login, http) = (login.check()?, http()?);
        let token = login.obtain(&http, true).await?;
        let (instance, identity) = (token.instance.clone(), token.identity.clone());
        let current = Mutex::new(Current { token, since: Instant::now(), number: 1 });
        let inner = Arc::new(Inner { login, http, instance, identity, current });
        Ok(Self { inner, api_version: API_VERSION.to_owned() })
    }

    /// Uses this version of the API, such as `64.0`; 37.0 or later. Default: 64.0.
    #[must_use]
    pub fn api_version(mut self, version: impl Into<String>) -> Self {
        self.api_version = version.into();
        self
    }

    /// The URL of the org's instance.
    pub fn instance_url(&self) -> &Url {
        &self.inner.instance
    }

    /// The URL of the streaming endpoint.
    pub fn streaming_url(&self) -> String {
        format!("{}cometd/{}", self.inner.instance, self.api_version)
    }

    /// Who the events are for: the org and the user, if the login has named them, or else the instance. For
    /// [`FileStore::open_for`](bayeux::replay::FileStore::open_for), because ids of events mean nothing to another org.
    pub fn owner(&self) -> String {
        let ids = self.inner.identity.as_ref().and_then(|identity| {
            let mut parts = identity.trim_end_matches('/').rsplit('/');
            let (user, org) = (parts.next()?, parts.next()?);
            Some(format!("{org}/{user}"))
        });
        ids.unwrap_or_else(|| self.inner.instance.origin().ascii_serialization())
    }

    /// The options of a client for the streaming endpoint, to be changed where that is needed: long-polling, replies of up to 10 MiB,
    /// a `request_timeout` of 15 s, a new session after a `/meta/disconnect`, this login, and after an exceeded [`Limit`] the
    /// [pause](Limit::pause) of that limit before the next attempt.
    pub fn client(&self) -> Builder {
        let backoff = Backoff::exponential(Duration::from_secs(1)..=Duration::from_secs(30)).jittered();
        let is_renewable = self.inner.login.is_renewable();
        let retry = Retry::new(backoff).decide(move |failed| match Limit::of_cause(&failed.cause) {
            // There will not be another token.
            None if !is_renewable && failed.cause.failure().and_then(Failure::http_status) == Some(401) => {
                Verdict::GiveUp
            }
            Some(limit) => Verdict::RetryAfter(limit.pause().max(failed.delay)),
            None => Verdict::Retry,
        });
        Client::builder(self.streaming_url())
            .transports([Transport::LongPolling])
            .max_message_size(10 * 1024 * 1024)
            .request_timeout(Duration::from_secs(15))
            .acknowledge(false)
            .reopen_after_disconnect(true)
            .retry(retry)
            .auth(ClientAuth { salesforce: self.clone(), given: Arc::default() })
    }

    /// Returns an access token, for other APIs of Salesforce. It is renewed if it is known to have run out.
    ///
    /// # Errors
    /// Returns the errors of [`login`](Salesforce::login).
    ///
    /// # Cancel safety
    /// Dropping the future gives up the login.
    pub async fn access_token(&self) -> Result<String, Error> {
        self.token(None).await.map(|(token, _)| token)
    }

    /// Returns a token, and its number; another one than that of the number `refused`. Those that were refused an older token, or wait
    /// while another logs in, get the same one.
    async fn token(&self, refused: Option<u64>) -> Result<(String, u64), Error> {
        let mut current = self.inner.current.lock().await;
        let is_old = current.token.valid_for.is_some_and(|span| current.since.elapsed() + EARLY >= span);
        if is_old || refused == Some(current.number) {
            let token = self.inner.login.obtain(&self.inner.http, false).await?;
            *current = Current { token, since: Instant::now(), number: current.number + 1 };
        }
        Ok((current.token.access.0.clone(), current.number))
    }
}

impl std::fmt::Debug for Salesforce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Salesforce").field("url", &self.streaming_url()).finish_non_exhaustive()
    }
}

/// The credentials of one client.
struct ClientAuth {
    salesforce: Salesforce,
    /// The number of the token that the client has.
    given: Arc<AtomicU64>,
}

impl Auth for ClientAuth {
    fn credentials(&self, reason: AuthReason) -> AuthFuture {
        let (salesforce, given) = (self.salesforce.clone(), Arc::clone(&self.given));
        Box::pin(async move {
            let refused = match reason {
                AuthReason::First => None,
                _ => Some(given.load(Ordering::Relaxed)),
            };
            let (token, number) = salesforce.token(refused).await?;
            given.store(number, Ordering::Relaxed);
            Ok(Credentials::bearer(&token)?)
        })
    }
}
