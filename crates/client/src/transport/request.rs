//! One request over HTTP, and its response: the headers that all have, the cookies, and the errors.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bayeux_proto::client::{Failure, FailureKind};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use percent_encoding::percent_decode_str;
use url::Url;

use super::cause::find;
use super::failure::{broken, display_url};
use super::http::{Client, HttpStack};
use super::measured::Allowance;

/// Sends a request and waits for the head of its response.
pub(super) async fn send(
    http: &HttpStack,
    client: &Client,
    method: Method,
    url: &Url,
    mut headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Incoming>, Failure> {
    /// How often a request is sent that a server of HTTP/2 says it did not look at.
    const ATTEMPTS: usize = 3;
    let uri = uri(url)?;
    complete(http, client, url, &uri, &mut headers);
    let mut attempts = ATTEMPTS;
    let response = loop {
        attempts -= 1;
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers.clone();
        match client.hyper.request(request).await {
            Ok(response) => break response,
            Err(error) if attempts > 0 && is_unprocessed(&error) => {}
            Err(error) => return Err(broken(&error, url, || http.proxy_of(url))),
        }
    };
    if let Some(allowance) = response.extensions().get::<Allowance>() {
        allowance.head();
    }
    http.jar.set_cookies(response.headers().get_all(SET_COOKIE).iter(), url);
    Ok(response)
}

/// The URL as HTTP has it.
fn uri(url: &Url) -> Result<Uri, Failure> {
    let mut plain = url.clone();
    // Only URLs without a host refuse this, and those have no user either.
    let _ = plain.set_username("");
    let _ = plain.set_password(None);
    plain.set_fragment(None);
    plain.as_str().parse().map_err(|error| {
        let text = format!("{} cannot be requested: {error}", display_url(url));
        Failure::new(FailureKind::Unreachable, text)
    })
}

/// Adds what all requests have. What the request has already goes before the user's, and those before ours.
fn complete(http: &HttpStack, client: &Client, url: &Url, uri: &Uri, headers: &mut HeaderMap) {
    for name in http.options.headers.keys().filter(|name| !headers.contains_key(*name)).collect::<Vec<_>>() {
        for value in http.options.headers.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    let agent = HeaderValue::from_static(concat!("bayeux/", env!("CARGO_PKG_VERSION")));
    headers.entry(USER_AGENT).or_insert(agent);
    if let Some(auth) = basic(url) {
        headers.entry(AUTHORIZATION).or_insert(auth);
    }
    if let Some(auth) = client.proxy_authorization(uri) {
        headers.entry(PROXY_AUTHORIZATION).or_insert(auth);
    }
    if !headers.contains_key(COOKIE)
        && let Some(cookies) = http.jar.cookies(url)
    {
        headers.insert(COOKIE, cookies);
    }
}

/// The user and password of a URL.
fn basic(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let password = url.password().map(decoded).unwrap_or_default();
    let credentials = [decoded(url.username()), password].join(&b':');
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether a server of HTTP/2 says that it did nothing with the request (RFC 9113, section 8.7).
fn is_unprocessed(error: &legacy::Error) -> bool {
    find::<h2::Error>(error).is_some_and(|error| {
        let reason = error.reason();
        error.is_remote()
            && (error.is_go_away() && reason == Some(h2::Reason::NO_ERROR)
                || error.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_and_password_of_a_url() {
        let of = |url: &str| basic(&Url::parse(url).unwrap());
        assert_eq!(of("http://host/"), None);
        assert_eq!(of("http://ann:a%40b@host/").unwrap(), format!("Basic {}", STANDARD.encode("ann:a@b")));
        assert_eq!(of("http://ann@host/").unwrap(), format!("Basic {}", STANDARD.encode("ann:")));
        let uri = uri(&Url::parse("http://ann:secret@host:8080/a?b=c#d").unwrap()).unwrap();
        assert_eq!(uri, "http://host:8080/a?b=c");
    }
}
