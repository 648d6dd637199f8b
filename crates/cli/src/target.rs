//! The server and the options for it, from the command line, the environment and a context.

use bayeux::Client;
use url::Url;

use crate::args::{Access, Connection};
use crate::config::Config;
use crate::failure::Failure;
use crate::secrets::{Bearer, Secrets, variable};

/// A server, and the options and secrets for it.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) url: String,
    /// The options, without the secrets.
    pub(crate) access: Access,
    pub(crate) secrets: Secrets,
}

impl Target {
    /// The server is the first of: the URL of the command line, `--context`, `BAYEUX_URL`, `BAYEUX_CONTEXT`, the context in
    /// use. The options of the command line come before the environment, and that before the context.
    pub(crate) fn new(url: Option<String>, options: &Connection) -> Result<Self, Failure> {
        let given = match url {
            Some(url) => Some(url),
            None if options.context.is_some() => None,
            None => variable("BAYEUX_URL")?,
        };
        let own =
            Secrets::of(&options.access, |option| format!("--{option}"))?.or(Secrets::of_environment()?);
        if let (Some(url), None) = (&given, &options.context) {
            return Ok(Self { url: url.clone(), access: options.access.clone(), secrets: own });
        }
        let config = Config::read()?;
        let name = match &options.context {
            Some(name) => Some(name.clone()),
            None => config.in_use()?,
        };
        let Some(name) = name else {
            return Err(Failure::UsageHint(
                "no server is given".to_owned(),
                "give a URL, set BAYEUX_URL, or use a context: bayeux context add NAME URL --use",
            ));
        };
        let context = config.context(&name)?;
        let in_context = |failure| in_context(&name, failure);
        let kept = context.access().map_err(in_context)?;
        let mut secrets = Secrets::of(&kept, |option| option.to_owned()).map_err(in_context)?;
        if let Some(token) = &context.bearer {
            if secrets.bearer.is_some() {
                return Err(in_context(Failure::Usage(
                    "bearer and bearer_file or bearer_env: only one".to_owned(),
                )));
            }
            secrets.bearer = Some(Bearer { token: token.clone(), file: None });
        }
        let url = match given {
            // The values of a context are for its server only.
            Some(url) if !same_server(&url, &context.url) => {
                return Err(Failure::UsageHint(
                    format!("the context {name} is for another server than the URL that is given"),
                    "leave out the URL or --context",
                ));
            }
            Some(url) => url,
            None => context.url.clone(),
        };
        Ok(Self { url, access: merged(&options.access, kept), secrets: own.or(secrets) })
    }
}

/// Adds the name of the context to an error.
fn in_context(name: &str, failure: Failure) -> Failure {
    match failure {
        Failure::Usage(text) => Failure::Usage(format!("context {name}: {text}")),
        Failure::UsageHint(text, hint) => Failure::UsageHint(format!("context {name}: {text}"), hint),
        other => other,
    }
}

fn merged(own: &Access, kept: Access) -> Access {
    let or = |own: &Vec<String>, kept: Vec<String>| if own.is_empty() { kept } else { own.clone() };
    let (cert, key) = match &own.cert {
        Some(_) => (own.cert.clone(), own.key.clone()),
        None => (kept.cert, kept.key),
    };
    Access {
        fallback_url: or(&own.fallback_url, kept.fallback_url),
        transport: if own.transport.is_empty() { kept.transport } else { own.transport.clone() },
        ca: own.ca.clone().or(kept.ca),
        cert,
        key,
        proxy: own.proxy.clone().or(kept.proxy),
        insecure: own.insecure || kept.insecure,
        secure_cookies_over_http: own.secure_cookies_over_http || kept.secure_cookies_over_http,
        // Secrets are merged separately.
        header: Vec::new(),
        cookie: Vec::new(),
        bearer_file: None,
        bearer_env: None,
        ext: Vec::new(),
    }
}

fn same_server(one: &str, other: &str) -> bool {
    // The client writes both in the same way: ws:// and http:// are one.
    let origin = |url: &str| Client::builder(url).build().ok().map(|client| client.url().origin());
    matches!((origin(one), origin(other)), (Some(one), Some(other)) if one == other)
}

/// A URL without parts that may be secret.
pub(crate) fn shown_url(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return "…".to_owned() };
    let query = url.query().is_some();
    // These fail only for URLs without a host, which have no user either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    format!("{url}{}", if query { "?…" } else { "" })
}
