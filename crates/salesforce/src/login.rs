//! The ways to log in.

use std::sync::Arc;

use ring::rsa::KeyPair;
use serde::Deserialize;
use url::Url;

use crate::error::Error;
use crate::jwt;
use crate::secret::Secret;
use crate::token::{Token, ask, checked_url};

/// How to log in. URLs are those of your org: `https://NAME.my.salesforce.com` (My Domain), for a sandbox
/// `https://NAME--SANDBOX.sandbox.my.salesforce.com`; `https://login.salesforce.com` and `https://test.salesforce.com` (sandboxes)
/// serve the flows with a user.
#[derive(Clone)]
pub struct Login(Flow);

#[derive(Clone)]
enum Flow {
    ClientCredentials { url: String, client_id: String, client_secret: Secret },
    JwtBearer { url: String, client_id: String, user: String, key: Secret },
    Refresh { url: String, client_id: String, client_secret: Option<Secret>, token: Secret },
    Password { url: String, client_id: String, client_secret: Secret, user: String, password: Secret },
    Cli { org: Option<String> },
    Token { url: String, token: Secret },
}

/// A login that was checked.
pub(crate) struct Checked {
    flow: Flow,
    url: Option<Url>,
    key: Option<Key>,
}

struct Key(Arc<KeyPair>);

/// Names the flow only: a URL may contain a password.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let flow = match &self.0 {
            Flow::ClientCredentials { .. } => "client credentials",
            Flow::JwtBearer { .. } => "JWT bearer",
            Flow::Refresh { .. } => "refresh token",
            Flow::Password { .. } => "username and password",
            Flow::Cli { .. } => "CLI",
            Flow::Token { .. } => "token",
        };
        f.debug_tuple("Login").field(&flow).finish()
    }
}

impl Login {
    /// The OAuth 2.0 client credentials flow: the app acts as the user of its settings. Needs a My Domain URL.
    pub fn client_credentials(
        url: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: impl Into<String>,
    ) -> Self {
        let (client_id, client_secret) = (client_id.into(), Secret(client_secret.into()));
        Self(Flow::ClientCredentials { url: url.into(), client_id, client_secret })
    }

    /// The OAuth 2.0 JWT bearer flow, for servers: the app has a certificate, and `private_key` is its RSA key in PEM form.
    pub fn jwt_bearer(
        url: impl Into<String>,
        client_id: impl Into<String>,
        user: impl Into<String>,
        private_key: impl Into<String>,
    ) -> Self {
        let (user, key) = (user.into(), Secret(private_key.into()));
        Self(Flow::JwtBearer { url: url.into(), client_id: client_id.into(), user, key })
    }

    /// The OAuth 2.0 refresh token flow, with a token of an earlier login. The secret is `None` if the app needs none.
    pub fn refresh_token(
        url: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: Option<String>,
        token: impl Into<String>,
    ) -> Self {
        let (client_id, client_secret) = (client_id.into(), client_secret.map(Secret));
        Self(Flow::Refresh { url: url.into(), client_id, client_secret, token: Secret(token.into()) })
    }

    /// The OAuth 2.0 username-password flow, for orgs that still permit it: it is blocked in new orgs, and any other flow is better. The
    /// security token, if there is one, follows the password.
    pub fn legacy_password(
        url: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: impl Into<String>,
        user: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        let (client_secret, password) = (Secret(client_secret.into()), Secret(password.into()));
        let (url, client_id, user) = (url.into(), client_id.into(), user.into());
        Self(Flow::Password { url, client_id, client_secret, user, password })
    }

    /// The session of the Salesforce CLI: what `sf org display` says of this alias or user, or of the default org.
    pub fn cli(org: Option<String>) -> Self {
        Self(Flow::Cli { org })
    }

    /// An access token that you have already, and the URL of its instance. When it is not valid any more, clients are closed.
    pub fn token(instance_url: impl Into<String>, access_token: impl Into<String>) -> Self {
        Self(Flow::Token { url: instance_url.into(), token: Secret(access_token.into()) })
    }

    pub(crate) fn check(self) -> Result<Checked, Error> {
        let Self(flow) = self;
        let url = match &flow {
            Flow::ClientCredentials { url, .. }
            | Flow::JwtBearer { url, .. }
            | Flow::Refresh { url, .. }
            | Flow::Password { url, .. }
            | Flow::Token { url, .. } => Some(checked_url(url)?),
            Flow::Cli { .. } => None,
        };
        let key = match &flow {
            Flow::JwtBearer { key, .. } => Some(Key(Arc::new(jwt::key(&key.0)?))),
            _ => None,
        };
        Ok(Checked { flow, url, key })
    }
}

impl Checked {
    /// Whether it can get another token when the first has run out.
    pub(crate) fn is_renewable(&self) -> bool {
        !matches!(self.flow, Flow::Token { .. })
    }

    /// Logs in. With a token that was given, only the first time.
    pub(crate) async fn obtain(&self, http: &reqwest::Client, first: bool) -> Result<Token, Error> {
        match (&self.flow, &self.url) {
            (Flow::ClientCredentials { client_id, client_secret, .. }, Some(url)) => {
                let fields = [
                    ("grant_type", "client_credentials"),
                    ("client_id", client_id),
                    ("client_secret", &client_secret.0),
                ];
                ask(http, url, &fields).await
            }
            (Flow::JwtBearer { client_id, user, .. }, Some(url)) => {
                let Some(Key(key)) = &self.key else { return Err(Error::NotRenewable) };
                let audience = url.origin().ascii_serialization();
                let assertion = jwt::assertion(key, client_id, user, &audience)?;
                let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
                ask(http, url, &[("grant_type", grant), ("assertion", &assertion)]).await
            }
            (Flow::Refresh { client_id, client_secret, token, .. }, Some(url)) => {
                let mut fields = vec![
                    ("grant_type", "refresh_token"),
                    ("client_id", client_id),
                    ("refresh_token", &*token.0),
                ];
                fields.extend(client_secret.as_ref().map(|secret| ("client_secret", &*secret.0)));
                ask(http, url, &fields).await
            }
            (Flow::Password { client_id, client_secret, user, password, .. }, Some(url)) => {
                let fields = [
                    ("grant_type", "password"),
                    ("client_id", client_id),
                    ("client_secret", &client_secret.0),
                    ("username", user),
                    ("password", &password.0),
                ];
                ask(http, url, &fields).await
            }
            (Flow::Token { token, .. }, Some(url)) if first => {
                Ok(Token { access: token.clone(), instance: url.clone(), identity: None, valid_for: None })
            }
            (Flow::Cli { org }, _) => {
                let org = org.clone();
                let asking = tokio::task::spawn_blocking(move || ask_cli(org.as_deref()));
                asking.await.unwrap_or_else(|error| Err(Error::Cli(error.to_string())))
            }
            _ => Err(Error::NotRenewable),
        }
    }
}

/// Asks the command `sf`, which refreshes its own session. Blocks.
fn ask_cli(org: Option<&str>) -> Result<Token, Error> {
    #[derive(Deserialize)]
    struct Displayed {
        result: Org,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Org {
        access_token: String,
        instance_url: String,
        id: Option<String>,
        username: Option<String>,
    }
    let mut command = std::process::Command::new("sf");
    command.args(["org", "display", "--json"]).stdin(std::process::Stdio::null());
    if let Some(org) = org {
        command.args(["--target-org", org]);
    }
    let output = command.output().map_err(|error| Error::Cli(format!("it cannot be run: {error}")))?;
    let displayed: Displayed = serde_json::from_slice(&output.stdout).map_err(|_| {
        #[derive(Deserialize)]
        struct Failed {
            message: String,
        }
        let failed = serde_json::from_slice::<Failed>(&output.stdout).map(|failed| failed.message);
        Error::Cli(failed.unwrap_or_else(|_| format!("it ended with {} and no JSON", output.status)))
    })?;
    let Org { access_token, instance_url, id, username } = displayed.result;
    let identity = id.map(|id| format!("{id}/{}", username.unwrap_or_default()));
    let instance = checked_url(&instance_url)?;
    Ok(Token { access: Secret(access_token), instance, identity, valid_for: None })
}
