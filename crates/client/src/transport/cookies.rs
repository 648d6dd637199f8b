//! The cookie jar: one for each client, shared by its transports.

use std::sync::{PoisonError, RwLock};

use cookie_store::{CookieStore, RawCookie};
use http::HeaderValue;
use url::Url;

/// The jar; the user's own cookies go to the server's URL and survive a reset.
#[derive(Debug)]
pub(crate) struct Jar {
    store: RwLock<CookieStore>,
    own: Vec<(String, String)>,
    urls: Vec<Url>,
}

impl Jar {
    pub(super) fn new(own: Vec<(String, String)>, urls: Vec<Url>) -> Self {
        let jar = Self { store: RwLock::default(), own, urls };
        jar.reset();
        jar
    }

    /// Forgets what servers set.
    pub(super) fn reset(&self) {
        self.store.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.add_own();
    }

    fn add_own(&self) {
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        for url in &self.urls {
            for (name, value) in &self.own {
                let mut cookie = RawCookie::new(name.clone(), value.clone());
                cookie.set_path("/");
                // A cookie that the URL cannot have is the user's mistake, told when the options are built.
                let _ = store.insert_raw(&cookie, url);
            }
        }
    }
}

/// Cookies that can be kept over the end of a process, in the form that the cookie library gives them.
pub(crate) type SavedCookies = serde_json::Value;

impl Jar {
    /// All that servers set, session cookies too.
    pub(super) fn save(&self) -> SavedCookies {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        let mut text = Vec::new();
        let saved = cookie_store::serde::json::save_incl_expired_and_nonpersistent(&store, &mut text);
        saved.ok().and_then(|()| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Takes saved cookies in place of all others but the user's own.
    pub(super) fn restore(&self, saved: &SavedCookies) -> Result<(), serde_json::Error> {
        let text = serde_json::to_vec(saved)?;
        let restored = if saved.is_null() {
            CookieStore::default()
        } else {
            cookie_store::serde::json::load_all(text.as_slice())
                .map_err(|error| serde::de::Error::custom(error.to_string()))?
        };
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = restored;
        self.add_own();
        Ok(())
    }
}

impl reqwest::cookie::CookieStore for Jar {
    fn set_cookies(&self, headers: &mut dyn Iterator<Item = &HeaderValue>, url: &Url) {
        let cookies = headers.filter_map(|value| {
            let text = std::str::from_utf8(value.as_bytes()).ok()?;
            Some(RawCookie::parse(text.to_owned()).ok()?.into_owned())
        });
        self.store.write().unwrap_or_else(PoisonError::into_inner).store_response_cookies(cookies, url);
    }

    fn cookies(&self, url: &Url) -> Option<HeaderValue> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        // To look for the URL's is dear, and most have none.
        store.iter_any().next()?;
        let pairs: Vec<_> =
            store.get_request_values(url).map(|(name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() {
            return None;
        }
        let mut header = HeaderValue::from_str(&pairs.join("; ")).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::cookie::CookieStore as _;

    use super::*;

    fn get(jar: &Jar, url: &str) -> Option<String> {
        jar.cookies(&Url::parse(url).unwrap()).map(|header| header.to_str().unwrap().to_owned())
    }

    fn set(jar: &Jar, url: &str, cookies: &[&'static str]) {
        let headers: Vec<_> = cookies.iter().map(|cookie| HeaderValue::from_static(cookie)).collect();
        jar.set_cookies(&mut headers.iter(), &Url::parse(url).unwrap());
    }

    #[test]
    fn case_35_cookies_obey_their_attributes() {
        // Not the loopback address, which counts as secure without TLS.
        let jar = Jar::new(Vec::new(), Vec::new());
        set(
            &jar,
            "http://192.0.2.1:8080/cometd",
            &["a=1; Path=/", "b=2; Path=/cometd", "s=3; Secure; Path=/"],
        );
        assert_eq!(get(&jar, "http://192.0.2.1:8080/").as_deref(), Some("a=1"));
        let mut both: Vec<_> =
            get(&jar, "http://192.0.2.1:8080/cometd/x").unwrap().split("; ").map(str::to_owned).collect();
        both.sort();
        assert_eq!(both, ["a=1", "b=2"]);
        set(&jar, "http://192.0.2.1:8080/cometd", &["a=; Max-Age=0; Path=/"]);
        assert_eq!(get(&jar, "http://192.0.2.1:8080/"), None);
        assert_eq!(get(&jar, "http://192.0.2.2:8080/cometd"), None);
    }

    #[test]
    fn the_users_own_cookies_survive_a_reset() {
        let url = Url::parse("http://127.0.0.1/cometd").unwrap();
        let jar = Jar::new(vec![("mine".into(), "1".into())], vec![url]);
        set(&jar, "http://127.0.0.1/cometd", &["theirs=2"]);
        assert!(get(&jar, "http://127.0.0.1/cometd").unwrap().contains("theirs=2"));
        jar.reset();
        assert_eq!(get(&jar, "http://127.0.0.1/cometd").as_deref(), Some("mine=1"));
    }
}
