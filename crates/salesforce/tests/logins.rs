//! The ways to log in, and what each bad input leads to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use bayeux_salesforce::{Error, Login, Salesforce};
use bayeux_testkit::{Answer, FakeSalesforce, Peer};

const KEY: &str = FakeSalesforce::JWT_KEY;

async fn refused(login: Login) -> Error {
    let error = Salesforce::login(login.clone()).await.expect_err("the login is wrong");
    for text in [error.to_string(), format!("{error:?}"), format!("{login:?}")] {
        for secret in ["app-secret", ":secret", "=secret", "sesame", "refresh-1", "MIIE", "token-1"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    error
}

#[tokio::test]
async fn each_flow_logs_in() {
    let org = FakeSalesforce::start().await;
    let url = org.url();
    for login in [
        Login::client_credentials(&url, "app", "app-secret"),
        Login::jwt_bearer(&url, "app", "ann@example.com", KEY),
        Login::refresh_token(&url, "app", None, "refresh-1"),
        Login::legacy_password(&url, "app", "app-secret", "ann@example.com", "open-sesame"),
    ] {
        let salesforce = Salesforce::login(login).await.unwrap();
        assert_eq!(salesforce.streaming_url(), format!("{url}/cometd/64.0"));
        assert_eq!(salesforce.owner(), "00D000000000001EAA/005000000000001AAA");
        assert!(salesforce.access_token().await.unwrap().starts_with("access-token"));
        let text = format!("{salesforce:?}");
        assert!(
            !text.contains("access-token") && !text.contains("app-secret") && !text.contains("sesame"),
            "{text}"
        );
    }
    assert_eq!(
        org.logins(),
        ["client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer", "refresh_token", "password"]
    );
    let salesforce = Salesforce::login(Login::token(&url, "token-1")).await.unwrap().api_version("60.0");
    assert_eq!(salesforce.access_token().await.unwrap(), "token-1");
    assert_eq!((salesforce.streaming_url(), salesforce.owner()), (format!("{url}/cometd/60.0"), url));
}

#[tokio::test]
async fn wrong_credentials_are_refused_with_advice() {
    let org = FakeSalesforce::start().await;
    let url = org.url();
    for (login, code, advice) in [
        (Login::client_credentials(&url, "app", "wrong"), "invalid_client", "consumer key and secret"),
        (Login::jwt_bearer(&url, "app", "eve@example.com", KEY), "invalid_grant", "Approve the app"),
        (Login::refresh_token(&url, "app", None, "wrong"), "invalid_grant", "Log in anew"),
        (
            Login::legacy_password(&url, "app", "app-secret", "ann@example.com", "wrong"),
            "invalid_grant",
            "security token",
        ),
    ] {
        let error = refused(login).await;
        let Error::Refused { error: found, .. } = &error else { panic!("{error}") };
        assert_eq!(found, code);
        assert!(error.to_string().contains(advice), "{error}");
    }
    org.refuse_logins(Some("unsupported_grant_type"));
    let error = refused(Login::client_credentials(&url, "app", "app-secret")).await;
    assert!(error.to_string().contains("Enable this flow"), "{error}");
}

#[tokio::test]
async fn a_wrong_clock_is_named() {
    let org = FakeSalesforce::start().await;
    for ahead in [Duration::from_secs(3600), Duration::from_secs(180)] {
        org.clock_ahead(ahead);
        let error = refused(Login::jwt_bearer(org.url(), "app", "ann@example.com", KEY)).await;
        assert!(error.to_string().contains("The clock of this machine differs by"), "{error}");
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_named() {
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIE\n-----END ENCRYPTED PRIVATE KEY-----";
    let damaged = KEY.replacen("MII", "M~I", 1);
    let short = &KEY[..KEY.len() / 2];
    for (key, why) in [
        ("", "no RSA key in PEM form"),
        ("no key", "no RSA key in PEM form"),
        ("-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----", "a certificate or a public key"),
        ("-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----", "a certificate or a public key"),
        (encrypted, "it is encrypted"),
        (&damaged, "damaged"),
        (short, "key"),
    ] {
        let error = refused(Login::jwt_bearer("https://acme.my.salesforce.com", "app", "ann", key)).await;
        let Error::Key(text) = &error else { panic!("{error}") };
        assert!(text.contains(why), "{text}");
    }
}

#[tokio::test]
async fn a_url_that_is_not_of_an_org_is_named() {
    for url in [
        "acme.my.salesforce.com",
        "http://acme.my.salesforce.com",
        "https://acme.lightning.force.com",
        "https://acme.lightning.force.com/lightning/page/home",
        "https://acme.my.salesforce.com/services/oauth2/token",
        "https://user:secret@acme.my.salesforce.com/x?token=secret",
        "",
    ] {
        let error = refused(Login::client_credentials(url, "app", "app-secret")).await;
        assert!(matches!(error, Error::Url { .. }), "{url}: {error}");
        assert!(error.to_string().contains("My Domain"), "{error}");
    }
    // The page of a login.
    let peer = Peer::start(|_| Answer::page(200, "<html><title>Login | Salesforce</title></html>")).await;
    let error =
        refused(Login::client_credentials(format!("http://{}", peer.address()), "app", "app-secret")).await;
    let Error::NotSalesforce { status: 200, what, .. } = &error else { panic!("{error}") };
    assert_eq!(what, "text/html");
    let error = refused(Login::client_credentials("http://127.0.0.1:1", "app", "app-secret")).await;
    assert!(matches!(error, Error::Connection { .. }), "{error}");
}
