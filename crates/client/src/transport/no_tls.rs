//! A build without TLS: no `https://` and no `wss://`.

use url::Url;

use crate::error::Error;

/// Nothing to choose.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsOptions;

impl TlsOptions {
    pub(crate) fn new() -> Self {
        Self
    }
}

/// Fails if the URL, of a server or a proxy, needs TLS. Without it the HTTP library reaches no SOCKS proxy either.
pub(crate) fn check_scheme(url: &Url) -> Result<(), Error> {
    let what = match url.scheme() {
        "https" => "https:// and wss://",
        "socks4" | "socks4a" | "socks5" | "socks5h" => "SOCKS proxies",
        _ => return Ok(()),
    };
    Err(Error::config(format!(
        "{what} need TLS, which this build of `bayeux` is without: enable its feature rustls-ring or rustls-aws-lc-rs"
    )))
}

/// A connector without TLS.
pub(super) type Secured<C> = C;

/// Leaves the connector as it is: no URL needs TLS.
pub(super) fn secure<C>(connector: C, _: &TlsOptions, _: bool, _: &[&[u8]]) -> Result<Secured<C>, Error> {
    Ok(connector)
}

/// There are no errors of TLS.
pub(super) fn explain(_: &(dyn std::error::Error + 'static)) -> Option<String> {
    None
}
