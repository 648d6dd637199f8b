//! The cookie jar: one for each client, shared by its transports.
//!
//! What a cookie means (its attributes, where it belongs, when it expires) is the library's; which ones are kept, how many,
//! and in which order they are sent, is decided here.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use cookie_store::{Cookie, CookieDomain, RawCookie};
use http::HeaderValue;
use url::Url;

/// The longest `Set-Cookie` that is read, in bytes.
const SET_COOKIE: usize = 8 * 1024;
/// The longest name and value, together, in bytes: as browsers have it (RFC 6265, section 6.1).
const COOKIE: usize = 4096;
/// How many cookies of a domain are kept: what RFC 6265 asks for at least.
const OF_DOMAIN: usize = 50;
/// How many are kept in all. A client has a few servers.
const IN_ALL: usize = 300;
/// The longest `Cookie` header, in bytes. Most servers take no more than 8 KiB of headers in all.
const HEADER: usize = 16 * 1024;

/// The jar; the user's own cookies go to the server's URL and survive a reset.
#[derive(Debug)]
pub(crate) struct Jar {
    kept: RwLock<Kept>,
    own: Vec<(String, String)>,
    urls: Vec<Url>,
    /// Whether cookies that are for TLS alone go out without it too.
    secure_over_http: bool,
    withheld: Withheld,
}

/// The cookies, in the order in which they were made.
#[derive(Debug, Default)]
struct Kept {
    cookies: Vec<Entry>,
    /// Counts what was set.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    cookie: Cookie<'static>,
    /// Whether it is the user's own, which no server's takes the place of.
    own: bool,
    /// When it was set last.
    set: u64,
}

/// The names of cookies that a URL did not get for want of TLS.
#[derive(Debug, Default)]
struct Withheld {
    names: Mutex<Vec<String>>,
    /// Whether there are some that nobody asked for yet.
    fresh: AtomicBool,
}

impl Jar {
    pub(super) fn new(own: Vec<(String, String)>, urls: Vec<Url>, secure_over_http: bool) -> Self {
        let kept = RwLock::default();
        let jar = Self { kept, own, urls, secure_over_http, withheld: Withheld::default() };
        jar.reset();
        jar
    }

    /// Forgets what servers set.
    pub(super) fn reset(&self) {
        *self.write() = Kept::default();
        self.add_own();
    }

    fn add_own(&self) {
        let mut kept = self.write();
        for url in &self.urls {
            for (name, value) in &self.own {
                let mut cookie = RawCookie::new(name.clone(), value.clone());
                cookie.set_path("/");
                // `Builder::build` has checked the cookies of the user.
                if let Ok(cookie) = Cookie::try_from_raw_cookie(&cookie, url) {
                    kept.put(cookie, true);
                }
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Kept> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The values of all cookies, but for those that are too short to be secrets.
    pub(super) fn values(&self) -> Vec<String> {
        const SHORTEST: usize = 6;
        let of_servers = self.read();
        let of_servers = of_servers.cookies.iter().map(|entry| entry.cookie.value());
        of_servers.filter(|value| value.len() >= SHORTEST).map(str::to_owned).collect()
    }

    /// The names of the cookies that were withheld since this was asked last.
    pub(super) fn newly_withheld(&self) -> Option<Vec<String>> {
        self.withheld.fresh.swap(false, Ordering::Relaxed).then(|| self.withheld.names().clone())
    }

    /// The names of the cookies that were withheld since they were forgotten last.
    pub(super) fn withheld(&self) -> Vec<String> {
        self.withheld.names().clone()
    }

    pub(super) fn forget_withheld(&self) {
        self.withheld.names().clear();
    }
}

impl Kept {
    /// Puts a cookie in the place of the one that it replaces, or behind all others; then something may have to go.
    fn put(&mut self, cookie: Cookie<'static>, own: bool) {
        if !own && (cookie.name().len() + cookie.value().len() > COOKIE || is_for_many(&cookie.domain)) {
            return;
        }
        self.clock += 1;
        let is_same = |entry: &Entry| {
            entry.cookie.name() == cookie.name()
                && entry.cookie.domain.as_cow() == cookie.domain.as_cow()
                && *entry.cookie.path == *cookie.path
        };
        match (self.cookies.iter().position(is_same), cookie.is_expired()) {
            (None, true) => {}
            (Some(at), true) => drop(self.cookies.remove(at)),
            (Some(at), false) => {
                self.cookies[at].cookie = cookie;
                self.cookies[at].set = self.clock;
            }
            (None, false) => {
                let domain = cookie.domain.clone();
                self.cookies.push(Entry { cookie, own, set: self.clock });
                self.bound(OF_DOMAIN, |entry| entry.cookie.domain.as_cow() == domain.as_cow());
                self.bound(IN_ALL, |_| true);
            }
        }
    }

    /// Lets go of those that have expired, then of those that were set longest ago, until there are no more than that.
    fn bound(&mut self, most: usize, counts: impl Fn(&Entry) -> bool) {
        let counts = |entry: &Entry| !entry.own && counts(entry);
        if self.cookies.iter().filter(|entry| counts(entry)).count() <= most {
            return;
        }
        self.cookies.retain(|entry| !entry.cookie.is_expired());
        while self.cookies.iter().filter(|entry| counts(entry)).count() > most {
            let all = self.cookies.iter().enumerate().filter(|(_, entry)| counts(entry));
            let Some((oldest, _)) = all.min_by_key(|(_, entry)| entry.set) else { return };
            self.cookies.remove(oldest);
        }
    }
}

/// Whether a cookie with this domain would go to servers of others: the domain is one under which anybody can have a name,
/// `co.uk` say (RFC 6265, section 5.3, step 5).
fn is_for_many(domain: &CookieDomain) -> bool {
    let CookieDomain::Suffix(domain) = domain else { return false };
    let domain = domain.strip_suffix('.').unwrap_or(domain).as_bytes();
    psl::suffix(domain).is_some_and(|suffix| suffix.as_bytes() == domain)
}

impl Withheld {
    fn names(&self) -> MutexGuard<'_, Vec<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, name: &str) {
        let mut names = self.names();
        if names.len() < OF_DOMAIN && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
            self.fresh.store(true, Ordering::Relaxed);
        }
    }
}

/// Cookies that can be kept over the end of a process, in the form that the cookie library gives them.
pub(crate) type SavedCookies = serde_json::Value;

impl Jar {
    /// All that servers set, session cookies too.
    pub(super) fn save(&self) -> SavedCookies {
        let kept = self.read();
        let cookies: Vec<_> = kept.cookies.iter().map(|entry| &entry.cookie).collect();
        serde_json::to_value(cookies).unwrap_or_default()
    }

    /// Takes saved cookies in place of all others but the user's own, as many as may be kept.
    pub(super) fn restore(&self, saved: &SavedCookies) -> Result<(), serde_json::Error> {
        let cookies: Option<Vec<Cookie<'static>>> = serde::Deserialize::deserialize(saved)?;
        let mut kept = Kept::default();
        for cookie in cookies.unwrap_or_default() {
            kept.put(cookie, false);
        }
        *self.write() = kept;
        self.add_own();
        Ok(())
    }
}

impl Jar {
    /// Takes the `Set-Cookie` headers of a response.
    pub(super) fn set_cookies<'a>(&self, headers: impl Iterator<Item = &'a HeaderValue>, url: &Url) {
        let mut kept = None;
        for header in headers.filter(|header| header.len() <= SET_COOKIE) {
            let Some(cookie) = parse(header, url) else { continue };
            kept.get_or_insert_with(|| self.write()).put(cookie, false);
        }
    }

    /// The `Cookie` header of a request. RFC 6265, section 5.4: those with longer paths first, then those that were made first.
    pub(super) fn cookies(&self, url: &Url) -> Option<HeaderValue> {
        let kept = self.read();
        if kept.cookies.is_empty() {
            return None;
        }
        let mut fitting = Vec::new();
        for Entry { cookie, own, .. } in &kept.cookies {
            if cookie.is_expired() || !cookie.path.matches(url) || !cookie.domain.matches(url) {
                continue;
            }
            if cookie.matches(url) || self.secure_over_http {
                fitting.push((cookie, *own));
            } else {
                self.withheld.add(cookie.name());
            }
        }
        fitting.sort_by_key(|(cookie, _)| Reverse(cookie.path.len()));
        let size = |cookie: &Cookie<'_>| cookie.name().len() + cookie.value().len() + "=; ".len();
        let mut left = HEADER.saturating_sub(
            fitting.iter().filter(|(_, own)| *own).map(|(cookie, _)| size(cookie)).sum::<usize>(),
        );
        let mut header = String::new();
        for (cookie, own) in fitting {
            if !own {
                if size(cookie) > left {
                    tracing::debug!(name = ?cookie.name(), "a cookie finds no place in the request any more");
                    continue;
                }
                left -= size(cookie);
            }
            let (name, value) = cookie.name_value();
            let separator = if header.is_empty() { "" } else { "; " };
            header.extend([separator, name, "=", value]);
        }
        if header.is_empty() {
            return None;
        }
        let mut header = HeaderValue::from_bytes(header.as_bytes()).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

fn parse(header: &HeaderValue, url: &Url) -> Option<Cookie<'static>> {
    let text = std::str::from_utf8(header.as_bytes()).ok()?;
    let mut raw = RawCookie::parse(text).ok()?;
    if !keeps_prefix(&raw) {
        tracing::debug!(name = ?raw.name(), "a cookie does not have what the prefix of its name promises");
        return None;
    }
    if let Some(domain) = raw.domain().filter(|domain| is_same_host(domain, url)) {
        // A host may be a domain of many itself, `github.io` say; its cookies are then for it alone.
        if is_for_many(&CookieDomain::Suffix(domain.to_ascii_lowercase())) {
            raw.unset_domain();
        }
    }
    Some(Cookie::try_from_raw_cookie(&raw, url).ok()?.into_owned())
}

/// Whether a cookie is what the prefix of its name promises (RFC 6265bis, section 4.1.3): `__Secure-` one for TLS, `__Host-`
/// one of that very host besides. Without TLS it is withheld as every `Secure` one is, and named.
fn keeps_prefix(cookie: &RawCookie<'_>) -> bool {
    let begins = |prefix: &str| {
        cookie.name().get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
    };
    let secure = cookie.secure() == Some(true);
    let of_host = cookie.domain().is_none() && cookie.path() == Some("/");
    (!begins("__Secure-") || secure) && (!begins("__Host-") || secure && of_host)
}

fn is_same_host(domain: &str, url: &Url) -> bool {
    url.host_str().is_some_and(|host| host.eq_ignore_ascii_case(domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(jar: &Jar, url: &str) -> Option<String> {
        jar.cookies(&Url::parse(url).unwrap()).map(|header| header.to_str().unwrap().to_owned())
    }

    fn set(jar: &Jar, url: &str, cookies: &[&'static str]) {
        let headers: Vec<_> = cookies.iter().map(|cookie| HeaderValue::from_static(cookie)).collect();
        jar.set_cookies(headers.iter(), &Url::parse(url).unwrap());
    }

    #[test]
    fn case_35_cookies_obey_their_attributes() {
        // Not the loopback address, which counts as secure without TLS.
        let jar = Jar::new(Vec::new(), Vec::new(), false);
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
        let jar = Jar::new(vec![("mine".into(), "1".into())], vec![url], false);
        set(&jar, "http://127.0.0.1/cometd", &["theirs=2"]);
        assert!(get(&jar, "http://127.0.0.1/cometd").unwrap().contains("theirs=2"));
        jar.reset();
        assert_eq!(get(&jar, "http://127.0.0.1/cometd").as_deref(), Some("mine=1"));
    }

    fn empty() -> Jar {
        Jar::new(Vec::new(), Vec::new(), false)
    }

    #[test]
    fn longer_paths_come_first_then_older_cookies_in_every_run() {
        for _ in 0..20 {
            let jar = empty();
            let url = "http://a.example.com/cometd/x";
            set(
                &jar,
                url,
                &["S=root; Path=/", "S=app; Path=/cometd", "T=1; Path=/", "S=far; Path=/cometd/x"],
            );
            set(&jar, url, &["U=2; Domain=example.com; Path=/", "T=again; Path=/", "V=3; Path=/"]);
            let expected = "S=far; S=app; S=root; T=again; U=2; V=3";
            assert_eq!(get(&jar, url).as_deref(), Some(expected));
            let restored = empty();
            restored.restore(&jar.save()).unwrap();
            assert_eq!(get(&restored, url).as_deref(), Some(expected), "also when they were saved");
        }
    }

    #[test]
    fn a_domain_of_many_gets_no_cookie() {
        let hosts =
            ["shop.example.co.uk", "other.co.uk", "co.uk", "uk", "a.github.io", "b.github.io", "a.internal"];
        for domain in ["co.uk", ".co.uk", "CO.UK", "uk", "github.io", "internal", "co.uk."] {
            let jar = empty();
            for host in hosts.iter().filter(|host| **host != domain) {
                let cookie = HeaderValue::from_str(&format!("a=1; Path=/; Domain={domain}")).unwrap();
                jar.set_cookies([cookie].iter(), &Url::parse(&format!("http://{host}/")).unwrap());
            }
            for host in hosts {
                // The host that is itself called so keeps it, for itself.
                let expected =
                    hosts.contains(&"co.uk") && host.eq_ignore_ascii_case(domain.trim_matches('.'));
                let got = get(&jar, &format!("http://{host}/"));
                assert!(got.is_none() || expected, "{domain} {host}: {got:?}");
            }
        }
        let jar = empty();
        set(&jar, "http://a.github.io/", &["a=1; Domain=a.github.io"]);
        set(&jar, "http://github.io/", &["b=1; Domain=github.io"]);
        assert_eq!(get(&jar, "http://x.a.github.io/").as_deref(), Some("a=1"));
        assert_eq!(get(&jar, "http://github.io/").as_deref(), Some("b=1"), "for itself alone");
        assert_eq!(get(&jar, "http://b.github.io/"), None);
        set(&jar, "http://127.0.0.1/", &["c=1; Domain=127.0.0.1"]);
        assert_eq!(get(&jar, "http://127.0.0.1/").as_deref(), Some("c=1"));
    }

    fn flood(jar: &Jar, rounds: usize, size: usize, at: impl Fn(usize) -> String, more: &str) {
        for round in 0..rounds {
            let cookies: Vec<_> = (0..90)
                .map(|n| {
                    let text = format!("n{round}x{n}={}{more}", "v".repeat(size));
                    HeaderValue::from_str(&text).unwrap()
                })
                .collect();
            jar.set_cookies(cookies.iter(), &Url::parse(&at(round)).unwrap());
        }
    }

    #[test]
    fn however_many_cookies_come_few_are_kept_and_fewer_sent() {
        let jar = Jar::new(vec![("mine".into(), "1".into())], vec!["http://h/".parse().unwrap()], false);
        flood(&jar, 13, 3_900, |_| "http://h/".to_owned(), "");
        assert!(jar.read().cookies.len() <= OF_DOMAIN + 1);
        let header = get(&jar, "http://h/").unwrap();
        assert!(header.len() <= HEADER && header.contains("mine=1"), "{}", header.len());
        // Paths and subdomains are no way round.
        flood(&jar, 13, 3_900, |_| "http://h/".to_owned(), "; Path=/p");
        assert!(jar.read().cookies.len() <= OF_DOMAIN + 1);
        flood(&jar, 40, 10, |round| format!("http://h{round}.example.com/"), "");
        assert!(jar.read().cookies.len() <= IN_ALL + 1, "{}", jar.read().cookies.len());

        let saved = jar.save();
        let many: Vec<_> = (0..20).flat_map(|_| saved.as_array().unwrap().clone()).collect();
        let restored = empty();
        restored.restore(&many.into()).unwrap();
        assert!(restored.read().cookies.len() <= IN_ALL + 1);
    }

    #[test]
    fn a_cookie_has_what_the_prefix_of_its_name_promises() {
        let jar = empty();
        let url = "https://www.example.com/cometd";
        set(
            &jar,
            url,
            &[
                "__Secure-a=1; Secure; Domain=example.com",
                "__Secure-b=1",
                "__Host-c=1; Secure; Path=/",
                "__Host-d=1; Path=/",
                "__Host-e=1; Secure; Path=/cometd",
                "__Host-f=1; Secure",
                "__host-g=1; Secure; Path=/; Domain=www.example.com",
                "__HOST-h=1",
                "__Hos=1",
            ],
        );
        let sent = get(&jar, url).unwrap();
        let mut names: Vec<_> = sent.split("; ").collect();
        names.sort_unstable();
        assert_eq!(names, ["__Hos=1", "__Host-c=1", "__Secure-a=1"]);
    }

    #[test]
    fn a_cookie_that_is_too_large_is_not_kept() {
        let jar = empty();
        for text in [format!("a={}", "v".repeat(COOKIE)), format!("b=1; X={}", "v".repeat(SET_COOKIE))] {
            let header = HeaderValue::from_str(&text).unwrap();
            jar.set_cookies([header].iter(), &Url::parse("http://h/").unwrap());
        }
        assert_eq!(get(&jar, "http://h/"), None);
    }

    #[test]
    fn what_was_set_longest_ago_goes_first_and_what_expired_before_it() {
        let jar = empty();
        let one = |text: String| {
            let header = HeaderValue::from_str(&text).unwrap();
            jar.set_cookies([header].iter(), &Url::parse("http://h/").unwrap());
        };
        for n in 0..OF_DOMAIN {
            one(format!("c{n}=1"));
        }
        one("c0=again".to_owned());
        one("late=1".to_owned());
        let header = get(&jar, "http://h/").unwrap();
        assert!(header.starts_with("c0=again; c2=1;") && header.ends_with("; late=1"), "{header}");
    }

    #[test]
    fn a_secure_cookie_is_withheld_without_tls_and_named_or_sent_if_that_is_wanted() {
        let jar = empty();
        set(&jar, "http://192.0.2.1/cometd", &["S=1; Secure; Path=/", "a=1; Path=/"]);
        assert_eq!(jar.newly_withheld(), None);
        assert_eq!(get(&jar, "http://192.0.2.1/cometd").as_deref(), Some("a=1"));
        assert_eq!(jar.newly_withheld(), Some(vec!["S".to_owned()]));
        assert_eq!(get(&jar, "http://192.0.2.1/cometd").as_deref(), Some("a=1"));
        assert_eq!(jar.newly_withheld(), None, "once is enough");
        jar.reset();
        assert_eq!(jar.withheld(), ["S"]);
        let jar = Jar::new(Vec::new(), Vec::new(), true);
        set(&jar, "http://192.0.2.1/cometd", &["S=1; Secure; Path=/"]);
        assert_eq!(get(&jar, "http://192.0.2.1/cometd").as_deref(), Some("S=1"));
        assert_eq!(get(&jar, "http://192.0.2.2/cometd"), None);
    }
}
