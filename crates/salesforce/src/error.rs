//! What can go wrong with a login.

/// Why a login failed. No error contains a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A URL is not one to log in at.
    #[error(
        "{url:?} is not a URL to log in at: {why}. Use your My Domain URL, https://NAME.my.salesforce.com, or for a sandbox https://NAME--SANDBOX.sandbox.my.salesforce.com"
    )]
    Url {
        /// The URL, as it was given, without a query.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The private key of the JWT bearer flow cannot be used.
    #[error("the private key cannot be used: {0}")]
    Key(String),
    /// Salesforce refused the login.
    #[error("Salesforce refused the login: {error}: {description}{}", hint.as_ref().map(|hint| format!(". {hint}")).unwrap_or_default())]
    Refused {
        /// The code of OAuth, such as `invalid_grant`.
        error: String,
        /// Salesforce's text.
        description: String,
        /// What to do about it, where that is known.
        hint: Option<String>,
    },
    /// What answered is no token endpoint.
    #[error(
        "{url} answered with HTTP status {status} and no token ({what}); is it the URL of your org, and not that of a page?"
    )]
    NotSalesforce {
        /// The URL that was asked.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What came: the content type.
        what: String,
    },
    /// The connection failed.
    #[error("{url} cannot be reached: {why}")]
    Connection {
        /// The URL that was asked.
        url: String,
        /// Why.
        why: String,
    },
    /// The Salesforce CLI gave no session.
    #[error("the command `sf org display` gave no session: {0}. Log in with `sf org login web`")]
    Cli(String),
    /// A token that was given as it is cannot be renewed.
    #[error(
        "the access token is not valid any more, and this login cannot get another: log in with a flow that can"
    )]
    NotRenewable,
}
