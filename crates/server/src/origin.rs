//! Which pages may use the server: browsers state the origin of a page.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN, REFERER};
use http::uri::Authority;
use http::{Request, Uri};

/// The pages that may open a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    /// These; `None` is any, unless only those of the same origin may.
    pub(crate) listed: Option<Vec<String>>,
    pub(crate) same_origin: bool,
}

impl Origins {
    /// Whether a request may be served. A request without an origin is not of a browser, or is a GET of a page of the
    /// same origin, or is of a browser whose header was removed on the way.
    pub(crate) fn allow<B>(&self, request: &Request<B>) -> bool {
        if self.listed.is_none() && !self.same_origin {
            return true;
        }
        let headers = request.headers();
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => self.allow_unnamed(request),
            (Some(origin), None) => origin.to_str().is_ok_and(|origin| self.is_allowed(origin, request)),
            (Some(_), Some(_)) => false,
        }
    }

    /// A script that a page loads, as callback-polling does, comes without an origin. Browsers state whether it is another
    /// site's, and older ones at least where the page is from.
    fn allow_unnamed<B>(&self, request: &Request<B>) -> bool {
        let header = |name: &str| request.headers().get(name).map(http::HeaderValue::as_bytes);
        if let Some(page) = request.headers().get(REFERER) {
            let page = page.to_str().ok().and_then(|page| page.parse::<Uri>().ok());
            let origin = page.as_ref().and_then(|page| Some((page.scheme_str()?, page.authority()?)));
            return origin.is_some_and(|(scheme, authority)| {
                self.is_allowed(&format!("{scheme}://{}", authority.as_str()), request)
            });
        }
        match header("sec-fetch-site") {
            None | Some(b"none") => true,
            // Of a page whose name may have been made to resolve to this machine.
            Some(b"same-origin") => {
                !self.same_origin || asked(request).is_some_and(|host| is_own(host.host()))
            }
            Some(_) => false,
        }
    }

    fn is_allowed<B>(&self, origin: &str, request: &Request<B>) -> bool {
        let listed = self
            .listed
            .iter()
            .flatten()
            .any(|listed| listed.trim_end_matches('/').eq_ignore_ascii_case(origin));
        listed || (self.same_origin && is_same(origin, request))
    }
}

/// Whether a page is from the host that it asks. A name does not count but for `localhost`: any site can have a name of its
/// own resolve to this machine, and its pages would then be of the "same" origin.
fn is_same<B>(origin: &str, request: &Request<B>) -> bool {
    let Some((scheme, page)) = origin.split_once("://") else { return false };
    let default = match scheme.to_ascii_lowercase().as_str() {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let Ok(page) = page.parse::<Authority>() else { return false };
    let Some(asked) = asked(request) else { return false };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
    let host = asked.host();
    is_own(host) && page.host().eq_ignore_ascii_case(host) && port(&page) == port(&asked)
}

/// The host that is asked, and its port if it is named.
fn asked<B>(request: &Request<B>) -> Option<Authority> {
    let in_header = || request.headers().get(HOST)?.to_str().ok()?.parse().ok();
    request.uri().authority().cloned().or_else(in_header)
}

/// Whether a host cannot be a name that somebody else made resolve to this machine.
fn is_own(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    address || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origins: &Origins, host: &str, headers: &[(&str, &str)]) -> bool {
        let allowed = [Request::get("/cometd"), Request::post("/cometd")].map(|mut request| {
            request = request.header("host", host);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            request.body(()).is_ok_and(|request| origins.allow(&request))
        });
        assert_eq!(allowed[0], allowed[1], "the method does not matter: {headers:?}");
        allowed[0]
    }

    #[test]
    fn the_same_origin_is_an_address_or_localhost() {
        let same = Origins { listed: None, same_origin: true };
        for (host, origin, is) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080", true),
            ("127.0.0.1", "http://127.0.0.1:80", true),
            ("[::1]:8080", "http://[::1]:8080", true),
            ("localhost:8080", "HTTP://LocalHost:8080", true),
            ("127.0.0.1:8080", "http://127.0.0.1:8081", false),
            ("127.0.0.1:8080", "http://localhost:8080", false),
            ("127.0.0.1:8080", "http://127.0.0.1:8080.evil.example", false),
            ("127.0.0.1:8080", "https://evil.example", false),
            ("evil.example:8080", "http://evil.example:8080", false),
            ("127.0.0.1:8080", "null", false),
            ("127.0.0.1:8080", "", false),
            ("127.0.0.1:8080", "file://127.0.0.1:8080", false),
        ] {
            assert_eq!(allowed(&same, host, &[("origin", origin)]), is, "{host} {origin}");
        }
        let page = "http://127.0.0.1:8080";
        assert!(!allowed(&same, "127.0.0.1:8080", &[("origin", page), ("origin", page)]));
    }

    #[test]
    fn a_request_without_an_origin_is_judged_by_what_else_a_browser_states() {
        let some = Origins { listed: Some(vec!["https://example.com".to_owned()]), same_origin: false };
        for (headers, is) in [
            (&[][..], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("referer", "https://example.com/page?x")], true),
            (&[("referer", "https://evil.example/https://example.com")], false),
            (&[("referer", "nonsense")], false),
            (&[("referer", "https://example.com/page"), ("sec-fetch-site", "cross-site")], true),
        ] {
            assert_eq!(allowed(&some, "h", headers), is, "{headers:?}");
        }
        let same = Origins { listed: None, same_origin: true };
        let own = [("sec-fetch-site", "same-origin")];
        assert!(allowed(&same, "127.0.0.1:8080", &own) && allowed(&same, "localhost", &own));
        assert!(
            !allowed(&same, "rebound.example:8080", &own),
            "a name that was made to resolve to this machine"
        );
        assert!(allowed(&same, "a.name:8080", &[]), "programs may call the machine as they like");
    }
}
