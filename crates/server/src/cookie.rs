//! The cookie of a session: how it is set and read.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::error::BuildError;

/// The cookie that binds a session to the browser, or other client, that began it. Load balancers can use it to keep a
/// client on its server.
///
/// ```
/// use bayeux_server::{SameSite, Server, SessionCookie};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), bayeux_server::BuildError> {
/// let cookie = SessionCookie::new().secure(true).same_site(SameSite::Strict).path("/cometd");
/// let server = Server::builder().session_cookie(cookie).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is for Builder::session_cookie"]
pub struct SessionCookie {
    name: String,
    /// All that follows the value.
    path: String,
    domain: Option<String>,
    max_age: Option<Duration>,
    secure: bool,
    http_only: bool,
    same_site: Option<SameSite>,
    partitioned: bool,
}

/// The end of the name of the cookie that is issued with a WebSocket.
const WITH_SOCKET: &str = "_SOCKET";

/// The cookies that came with a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cookies {
    /// The cookie of the browser.
    pub(crate) browser: Option<Arc<str>>,
    /// The cookie that was issued with a WebSocket, if it came besides another.
    pub(crate) socket_cookie: Option<Arc<str>>,
}

/// The requests from other sites that a browser sends a cookie with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SameSite {
    /// None.
    Strict,
    /// Only if the user follows a link, which no CometD client does.
    Lax,
    /// All. Browsers require [`secure`](SessionCookie::secure) with it.
    None,
}

impl Default for SessionCookie {
    fn default() -> Self {
        Self {
            name: "BAYEUX_BROWSER".to_owned(),
            path: "/".to_owned(),
            domain: None,
            max_age: None,
            secure: false,
            http_only: true,
            same_site: None,
            partitioned: false,
        }
    }
}

impl SessionCookie {
    /// Returns CometD's cookie: `BAYEUX_BROWSER=…; Path=/; HttpOnly`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the name. Default: `BAYEUX_BROWSER`, as in CometD. The cookie that is issued with a WebSocket has `_SOCKET` after it.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Sets the path of the URLs that the cookie is sent to. Default: `/`.
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Sets the domain whose hosts the cookie is sent to, including subdomains. Default: only the host that set it.
    pub fn domain(mut self, domain: &str) -> Self {
        self.domain = Some(domain.to_owned());
        self
    }

    /// Sets how long the client keeps the cookie. Default: until the browser is closed.
    pub fn max_age(mut self, longest: Duration) -> Self {
        self.max_age = Some(longest);
        self
    }

    /// Whether the cookie is sent over TLS only. Default: false, because the server itself uses cleartext; set it if a
    /// proxy adds TLS.
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Whether scripts cannot read the cookie. Default: true.
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.http_only = http_only;
        self
    }

    /// Sets the requests from other sites that the cookie is sent with. Default: not stated, which browsers treat as
    /// [`SameSite::Lax`].
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = Some(same_site);
        self
    }

    /// Whether a browser keeps a separate cookie for each site that embeds a page of yours. Browsers require
    /// [`secure`](Self::secure) with it. Default: false.
    pub fn partitioned(mut self, partitioned: bool) -> Self {
        self.partitioned = partitioned;
        self
    }

    /// The cookies that came with a request.
    pub(crate) fn read(&self, headers: &HeaderMap) -> Cookies {
        let first = value(headers, |name| name == self.name);
        let with_socket = value(headers, |name| name.strip_prefix(&self.name) == Some(WITH_SOCKET));
        if first.is_some() {
            Cookies { browser: first, socket_cookie: with_socket }
        } else {
            Cookies { browser: with_socket, socket_cookie: None }
        }
    }

    /// The header that sets it.
    pub(crate) fn set(&self, value: &str) -> Option<HeaderValue> {
        self.named("", value)
    }

    /// The header that sets the one of a socket. It has a name of its own: a client that handshakes over HTTP meanwhile would
    /// else lose the cookie of its session to it.
    pub(crate) fn set_with_socket(&self, value: &str) -> Option<HeaderValue> {
        self.named(WITH_SOCKET, value)
    }

    /// Checks that the name and the attributes are those of one cookie.
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        if !is_token(&self.name) {
            return Err(BuildError::InvalidCookieName(self.name.clone()));
        }
        let is_attribute = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b';')
        };
        match [&self.path].into_iter().chain(&self.domain).find(|text| !is_attribute(text)) {
            Some(text) => Err(BuildError::InvalidCookieAttribute(text.clone())),
            None => Ok(()),
        }
    }

    fn named(&self, suffix: &str, value: &str) -> Option<HeaderValue> {
        let mut cookie = format!("{}{suffix}={value}; Path={}", self.name, self.path);
        if let Some(domain) = &self.domain {
            let _ = write!(cookie, "; Domain={domain}");
        }
        if let Some(max_age) = self.max_age {
            let _ = write!(cookie, "; Max-Age={}", max_age.as_secs());
        }
        if self.secure {
            cookie.push_str("; Secure");
        }
        if self.http_only {
            cookie.push_str("; HttpOnly");
        }
        match self.same_site {
            Some(SameSite::Strict) => cookie.push_str("; SameSite=Strict"),
            Some(SameSite::Lax) => cookie.push_str("; SameSite=Lax"),
            Some(SameSite::None) => cookie.push_str("; SameSite=None"),
            None => {}
        }
        if self.partitioned {
            cookie.push_str("; Partitioned");
        }
        HeaderValue::from_str(&cookie).ok()
    }
}

/// Whether a text can be a name in HTTP (RFC 9110, section 5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(of_token)
}

/// The value of the first cookie with such a name.
fn value(headers: &HeaderMap, is_named: impl Fn(&str) -> bool) -> Option<Arc<str>> {
    /// Those of this server have 16 characters; a longer one is of another origin.
    const LONGEST: usize = 256;
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| is_named(name) && !value.is_empty() && value.len() <= LONGEST)
        .map(|(_, value)| value.into())
}

/// A new value, which cannot be guessed; `None` when the system has no randomness.
pub(crate) fn new_value() -> Option<Arc<str>> {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    let value: String = bytes.iter().map(|byte| char::from(DIGITS[usize::from(byte % 32)])).collect();
    Some(value.into())
}
