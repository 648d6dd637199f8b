//! Asking the OAuth token endpoint.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use url::Url;

use crate::error::Error;
use crate::secret::Secret;

/// How long the endpoint may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// An answer is no longer.
const MOST: usize = 64 * 1024;

/// What a login has granted.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) access: Secret,
    pub(crate) instance: Url,
    /// The identity: an URL with the ids of org and user.
    pub(crate) identity: Option<String>,
    pub(crate) valid_for: Option<Duration>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    instance_url: String,
    id: Option<String>,
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
    #[serde(default)]
    error_description: String,
}

/// The HTTP client for logins: no redirects, because they lead to pages.
pub(crate) fn http() -> Result<reqwest::Client, Error> {
    let failed = |why: String| Error::Connection { url: "Salesforce".to_owned(), why };
    let provider = rustls::crypto::CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()));
    let verifier = rustls_platform_verifier::Verifier::new(Arc::clone(&provider))
        .map_err(|error| failed(error.to_string()))?;
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .build()
        .map_err(|error| failed(error.to_string()))
}

pub(crate) async fn ask(
    http: &reqwest::Client,
    login: &Url,
    fields: &[(&str, &str)],
) -> Result<Token, Error> {
    let mut url = login.clone();
    url.set_path("/services/oauth2/token");
    let shown = url.to_string();
    let unreachable = |error: reqwest::Error| {
        let mut why = error.without_url().to_string();
        if why.is_empty() {
            why = "no connection".to_owned();
        }
        Error::Connection { url: shown.clone(), why }
    };
    let mut response = http.post(url).form(fields).send().await.map_err(unreachable)?;
    let status = response.status().as_u16();
    let header = |name: &str| {
        response.headers().get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned)
    };
    let (kind, date) = (header("content-type"), header("date"));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        body.extend_from_slice(&chunk);
        if body.len() > MOST {
            break;
        }
    }
    if let Ok(granted) = serde_json::from_slice::<Granted>(&body) {
        let instance = checked_url(&granted.instance_url)?;
        let valid_for = granted.expires_in.map(Duration::from_secs);
        return Ok(Token { access: Secret(granted.access_token), instance, identity: granted.id, valid_for });
    }
    match serde_json::from_slice::<Refused>(&body) {
        Ok(Refused { error, error_description: description }) => {
            let hint = hint(&error, &description, date.as_deref());
            Err(Error::Refused { error, description, hint })
        }
        Err(_) => {
            let what = kind.unwrap_or_else(|| "nothing that says what it is".to_owned());
            Err(Error::NotSalesforce { url: shown, status, what })
        }
    }
}

/// A URL of an org: `https`, or `http` on this machine, for tests.
pub(crate) fn checked_url(text: &str) -> Result<Url, Error> {
    let shown = text.split(['?', '#']).next().unwrap_or_default();
    let shown = shown.rsplit('@').next().unwrap_or_default().to_owned();
    let invalid = |why: &str| Err(Error::Url { url: shown.clone(), why: why.to_owned() });
    let Ok(mut url) = Url::parse(text) else { return invalid("it is no URL") };
    let host = url.host_str().unwrap_or_default().to_owned();
    let is_local = host == "localhost" || host == "127.0.0.1" || host == "[::1]";
    if url.scheme() != "https" && !(url.scheme() == "http" && is_local) {
        return invalid("it does not begin with https://");
    }
    if host.ends_with(".lightning.force.com") || host.ends_with(".salesforce-setup.com") {
        return invalid("it is the address of pages, not of the API");
    }
    if !matches!(url.path(), "" | "/") {
        return invalid("it has a path");
    }
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Ok(url)
}

fn hint(error: &str, description: &str, date: Option<&str>) -> Option<String> {
    const TOLERATED: Duration = Duration::from_secs(60);
    let skew = date.and_then(|date| httpdate::parse_http_date(date).ok()).map(|there| {
        let here = SystemTime::now();
        here.duration_since(there).or_else(|_| there.duration_since(here)).unwrap_or_default()
    });
    if let Some(skew) = skew.filter(|skew| error == "invalid_grant" && *skew > TOLERATED) {
        return Some(format!(
            "The clock of this machine differs by {} s from Salesforce's; set it",
            skew.as_secs()
        ));
    }
    let text = match (error, description) {
        ("invalid_grant", text) if text.contains("approved") => {
            "Approve the app for the user: in its policies, or by logging in once"
        }
        ("invalid_client" | "invalid_client_id", _) => "Check the consumer key and secret of the app",
        ("invalid_grant", text) if text.contains("assertion") => {
            "Check that the app has the certificate of this key, and that the user and the consumer key are right"
        }
        ("invalid_grant", text) if text.contains("authentication failure") => {
            "Check user, password and security token; the flow may be blocked in the org's OAuth settings"
        }
        ("invalid_grant", _) => "Log in anew",
        ("unsupported_grant_type", _) => "Enable this flow in the settings of the app",
        _ => return None,
    };
    Some(text.to_owned())
}
