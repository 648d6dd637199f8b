//! The credentials of this client: a peer that repeats them, on an error page say, does not bring them into errors, events
//! and logs.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde_json::{Map, Value};
use url::Url;

/// What is shorter is no secret, and would be found in every other word.
const SHORTEST: usize = 4;

/// Texts that are not to be shown.
#[derive(Default)]
pub(crate) struct Secrets {
    own: Vec<String>,
    /// Those of the last two [`Credentials`](crate::Credentials): an answer to the ones before may be on its way.
    current: Mutex<[Vec<String>; 2]>,
}

impl Secrets {
    pub(super) fn of<'a>(headers: &HeaderMap, urls: impl IntoIterator<Item = &'a Url>) -> Self {
        let mut own = Vec::new();
        of_headers(headers, &mut own);
        urls.into_iter().for_each(|url| of_url(url, &mut own));
        Self { own, current: Mutex::default() }
    }

    pub(crate) fn add_ext(&mut self, ext: &Map<String, Value>) {
        ext.values().for_each(|value| of_json(value, &mut self.own));
    }

    /// Takes credentials that are sent from now on.
    pub(crate) fn renew(&self, headers: &HeaderMap, ext: &Map<String, Value>) {
        let mut found = Vec::new();
        of_headers(headers, &mut found);
        ext.values().for_each(|value| of_json(value, &mut found));
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.swap(0, 1);
        current[0] = found;
    }

    /// The text with `…` for each secret in it, and for each of `more`.
    pub(super) fn mask<'a>(&self, text: &'a str, more: &[String]) -> Cow<'a, str> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.own.iter().chain(current.iter().flatten()).chain(more);
        let mut found: Vec<&String> = all.filter(|secret| text.contains(secret.as_str())).collect();
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        // A secret may contain another.
        found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Cow::Owned(found.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "…")))
    }
}

/// Whether a header, a member or a parameter with this name has a secret as its value.
pub(crate) fn names_secret(name: &str) -> bool {
    const SECRETS: [&str; 12] = [
        "auth",
        "token",
        "password",
        "secret",
        "credential",
        "session",
        "cookie",
        "apikey",
        "api-key",
        "api_key",
        "signature",
        "clientid",
    ];
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|secret| name.contains(secret))
}

fn add(secret: &str, found: &mut Vec<String>) {
    if secret.len() >= SHORTEST && !found.iter().any(|known| known == secret) {
        found.push(secret.to_owned());
    }
}

fn of_headers(headers: &HeaderMap, found: &mut Vec<String>) {
    for (name, value) in headers {
        let Some(value) =
            Some(name).filter(|name| names_secret(name.as_str())).and_then(|_| value.to_str().ok())
        else {
            continue;
        };
        add(value, found);
        if name == http::header::COOKIE {
            let pairs = value.split(';').filter_map(|pair| pair.split_once('='));
            pairs.for_each(|(_, value)| add(value.trim(), found));
        } else if let Some((_, token)) = value.split_once(' ') {
            // What follows the scheme, which for `Basic` is a user and a password.
            add(token.trim(), found);
            let pair = STANDARD.decode(token.trim()).ok().and_then(|pair| String::from_utf8(pair).ok());
            if let Some((_, password)) = pair.as_deref().and_then(|pair| pair.split_once(':')) {
                add(password, found);
            }
        }
    }
}

fn of_url(url: &Url, found: &mut Vec<String>) {
    let decoded = |text: &str| percent_decoded(text);
    match url.password() {
        Some(password) => {
            let (user, plain) = (decoded(url.username()), decoded(password));
            add(&STANDARD.encode(format!("{user}:{plain}")), found);
            add(password, found);
            add(&plain, found);
        }
        None => {
            add(url.username(), found);
            add(&decoded(url.username()), found);
        }
    }
    for (name, value) in url.query_pairs() {
        if names_secret(&name) {
            add(&value, found);
        }
    }
}

fn percent_decoded(text: &str) -> String {
    // A query is decoded as a part of a URL is, but for the plus sign.
    let query = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    url::form_urlencoded::parse(query.as_bytes())
        .next()
        .map(|(text, _)| text.into_owned())
        .unwrap_or_default()
}

/// All texts: an `ext` is where credentials travel.
fn of_json(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => add(text, found),
        Value::Array(values) => values.iter().for_each(|value| of_json(value, found)),
        Value::Object(members) => members.values().for_each(|value| of_json(value, found)),
        _ => {}
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;

    #[test]
    fn credentials_are_masked_in_every_form_in_which_they_are_sent() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer tok3n"),
            ("x-api-key", "k3y-of-mine"),
            ("cookie", "a=c00kie1; b=c00kie2"),
            ("x-tenant", "acme"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let url = |text| Url::parse(text).unwrap();
        let urls = [url("http://ann:p%40ss1@h/?token=qu3ry&page=front"), url("http://us3r-token@h/")];
        let mut secrets = Secrets::of(&headers, &urls);
        let Value::Object(ext) = json!({"auth": {"deep": ["3xt-secret", 1]}}) else { unreachable!() };
        secrets.add_ext(&ext);
        for secret in [
            "Bearer tok3n",
            "tok3n",
            "k3y-of-mine",
            "c00kie1",
            "c00kie2",
            "p@ss1",
            "p%40ss1",
            "YW5uOnBAc3Mx",
            "qu3ry",
            "us3r-token",
            "3xt-secret",
            "jar-cookie",
        ] {
            let text = format!("denied for <{secret}> and {secret}");
            let more = vec!["jar-cookie".to_owned()];
            assert_eq!(secrets.mask(&text, &more), "denied for <…> and …");
        }
        for harmless in ["acme", "front", "ann", "a=b"] {
            assert_eq!(secrets.mask(harmless, &[]), harmless);
        }
    }

    #[test]
    fn renewed_credentials_are_masked_and_those_before_a_while_longer() {
        let secrets = Secrets::default();
        for token in ["first", "second", "third"] {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
            secrets.renew(&headers, &Map::new());
        }
        assert_eq!(secrets.mask("first second third", &[]), "first … …");
    }
}
