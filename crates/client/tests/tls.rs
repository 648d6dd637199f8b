//! TLS: whom the client trusts, as whom it comes, and what it says when that fails.
#![cfg(any(feature = "rustls-ring", feature = "rustls-aws-lc-rs"))]
#![allow(clippy::unwrap_used)]

mod fixture;

use bayeux::{Builder, ErrorKind, FailureKind, TlsOptions};
use bayeux_testkit::{Authority, Identity, TestServer};
use fixture::*;

async fn works(builder: Builder) {
    let client = opened(builder).await;
    client.publish("/a", &1).await.unwrap();
    within(client.close()).await.unwrap();
}

/// The text of a failure of TLS.
async fn fails(builder: Builder) -> String {
    let error = within(builder.build().unwrap().open()).await.unwrap_err();
    assert_eq!(error.failure().unwrap().kind(), FailureKind::Tls, "{error}");
    assert!(!error.is_retryable());
    error.to_string()
}

fn trusting(authority: &Authority) -> TlsOptions {
    TlsOptions::new().ca_pem(authority.pem().as_bytes()).unwrap()
}

#[tokio::test]
async fn an_authority_of_ones_own() {
    let authority = Authority::new();
    let server = TestServer::builder().tls(authority.issue(&["127.0.0.1"])).start().await;
    for transport in BOTH {
        works(over(transport, &server.url()).tls(trusting(&authority).only_given_authorities())).await;
        works(over(transport, &server.url()).tls(trusting(&authority))).await;
        works(over(transport, &server.url().replace("https://", "wss://")).tls(trusting(&authority))).await;
        let other = Authority::new();
        let text = fails(over(transport, &server.url()).tls(trusting(&other).only_given_authorities())).await;
        assert!(text.contains(&server.url()) && text.contains("certificate"), "{text}");
    }
}

#[test]
fn a_byte_order_mark_before_pem_is_passed_over() {
    let authority = Authority::new();
    let marked = format!("\u{feff}{}", authority.pem());
    assert!(TlsOptions::new().ca_pem(marked.as_bytes()).is_ok());
    // Without a text before it, some editors write only this.
    let bare = marked.trim_start_matches('\u{feff}').trim_start().to_owned();
    assert!(TlsOptions::new().ca_pem(format!("\u{feff}{bare}").as_bytes()).is_ok());
}

#[tokio::test]
async fn a_certificate_for_another_name() {
    let authority = Authority::new();
    let server = TestServer::builder().tls(authority.issue(&["elsewhere.example"])).start().await;
    for transport in BOTH {
        let tls = trusting(&authority).only_given_authorities();
        let text = fails(over(transport, &server.url()).tls(tls)).await;
        assert!(text.contains("elsewhere.example") || text.contains("not valid for name"), "{text}");
    }
}

#[tokio::test]
async fn a_certificate_of_the_clients_own() {
    let authority = Authority::new();
    let clients = Authority::new();
    let server = TestServer::builder()
        .tls(authority.issue(&["127.0.0.1"]))
        .client_authority(clients.pem())
        .start()
        .await;
    let ann = clients.issue_client("ann");
    let stranger = Authority::new().issue_client("mallory");
    for transport in BOTH {
        let come_as = |who: &bayeux_testkit::Identity| {
            trusting(&authority)
                .only_given_authorities()
                .client_certificate_pem(who.chain_pem().as_bytes(), who.key_pem().as_bytes())
                .unwrap()
        };
        works(over(transport, &server.url()).tls(come_as(&ann))).await;
        for refused in [trusting(&authority).only_given_authorities(), come_as(&stranger)] {
            let client = over(transport, &server.url()).tls(refused).build().unwrap();
            let error = within(client.open()).await.unwrap_err();
            // In TLS 1.3 the server's refusal comes after the client's handshake is done, when the request is out.
            assert_eq!(error.kind(), ErrorKind::Transport);
            assert!(error.to_string().contains(&server.url()), "{error}");
        }
    }
}

#[tokio::test]
async fn a_pinned_certificate_is_trusted_with_any_issuer_and_no_other_is() {
    let authority = Authority::new();
    let identity = authority.issue(&["elsewhere.example"]);
    let server = TestServer::builder().tls(identity.clone()).start().await;
    for transport in BOTH {
        works(over(transport, &server.url()).tls(TlsOptions::new().pin_sha256(identity.sha256()))).await;
        let both = TlsOptions::new().pin_sha256([7; 32]).pin_sha256(identity.sha256());
        works(over(transport, &server.url()).tls(both)).await;
        let text = fails(over(transport, &server.url()).tls(trusting(&authority).pin_sha256([7; 32]))).await;
        assert!(text.contains("pin"), "it says what was wrong: {text}");
    }
}

#[tokio::test]
async fn no_verification_by_the_alarming_name_alone() {
    let server = TestServer::builder().tls(Authority::new().issue(&["elsewhere.example"])).start().await;
    for transport in BOTH {
        works(over(transport, &server.url()).tls(TlsOptions::new().dangerously_trust_anyone())).await;
        fails(over(transport, &server.url()).tls(TlsOptions::new())).await;
    }
}

#[test]
fn invalid_pem_is_an_error_without_the_key() {
    let errors = [
        TlsOptions::new().ca_pem(b"").unwrap_err(),
        TlsOptions::new().ca_pem(b"hunter2").unwrap_err(),
        TlsOptions::new().client_certificate_pem(b"hunter2", b"hunter2").unwrap_err(),
        TlsOptions::new()
            .client_certificate_pem(Authority::new().issue_client("ann").chain_pem().as_bytes(), b"hunter2")
            .unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("PEM") && !error.to_string().contains("hunter2"), "{error}");
    }
    let ann = Authority::new().issue_client("ann");
    let options = TlsOptions::new()
        .client_certificate_pem(ann.chain_pem().as_bytes(), ann.key_pem().as_bytes())
        .unwrap();
    assert!(!format!("{options:?}").contains("PRIVATE"), "{options:?}");
}

/// A certificate that signed itself, as `openssl req -x509` makes them: one of an authority.
fn self_signed(names: &[&str], authority: bool, years: (i32, i32)) -> Identity {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    if authority {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    }
    params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    Identity::from_pem(&params.self_signed(&key).unwrap().pem(), &key.serialize_pem())
}

fn given(identity: &Identity) -> TlsOptions {
    TlsOptions::new().ca_pem(identity.chain_pem().as_bytes()).unwrap()
}

#[tokio::test]
async fn a_certificate_that_is_given_itself_is_trusted() {
    const VALID: (i32, i32) = (2020, 4000);
    let others = Authority::new();
    let issued = Authority::new().issue(&["127.0.0.1"]);
    for identity in [
        self_signed(&["127.0.0.1"], true, VALID),
        self_signed(&["127.0.0.1"], false, VALID),
        // One whose authority was not given.
        issued,
    ] {
        let server = TestServer::builder().tls(identity.clone()).start().await;
        for transport in BOTH {
            works(over(transport, &server.url()).tls(given(&identity))).await;
            works(over(transport, &server.url()).tls(given(&identity).only_given_authorities())).await;
            let more = given(&identity).ca_pem(others.pem().as_bytes()).unwrap();
            works(over(transport, &server.url()).tls(more)).await;
            fails(over(transport, &server.url()).tls(TlsOptions::new())).await;
            fails(over(transport, &server.url()).tls(trusting(&others).only_given_authorities())).await;
        }
    }
}

#[tokio::test]
async fn its_name_its_dates_and_its_key_still_count() {
    for authority in [true, false] {
        for (identity, expected) in [
            (self_signed(&["elsewhere.example"], authority, (2020, 4000)), "name"),
            (self_signed(&[], authority, (2020, 4000)), "name"),
            (self_signed(&["127.0.0.1"], authority, (2001, 2002)), "expired"),
            (self_signed(&["127.0.0.1"], authority, (3900, 4000)), "not valid yet"),
        ] {
            let server = TestServer::builder().tls(identity.clone()).start().await;
            for transport in BOTH {
                for tls in [given(&identity), given(&identity).only_given_authorities()] {
                    let text = fails(over(transport, &server.url()).tls(tls)).await;
                    assert!(text.contains(expected), "{expected}: {text}");
                }
            }
        }
    }
    let identity = self_signed(&["127.0.0.1"], true, (2020, 4000));
    let impostor = self_signed(&["127.0.0.1"], true, (2020, 4000));
    let server = TestServer::builder().tls(impostor).start().await;
    let text = fails(quick(&server.url()).tls(given(&identity).only_given_authorities())).await;
    assert!(text.contains("ca_pem with this very certificate"), "{text}");
}

#[tokio::test]
async fn a_configuration_of_the_users_own_is_taken_as_it_is() {
    use bayeux::rustls::pki_types::CertificateDer;
    use bayeux::rustls::pki_types::pem::PemObject;
    use bayeux::rustls::{ClientConfig, RootCertStore, crypto};

    let authority = Authority::new();
    let server = TestServer::builder().tls(authority.issue(&["127.0.0.1"])).start().await;
    let config = |authority: Option<&Authority>| {
        let mut roots = RootCertStore::empty();
        if let Some(authority) = authority {
            roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        }
        // The one of the test server, which is there whatever the features are.
        let provider = crypto::ring::default_provider();
        ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    };
    for transport in BOTH {
        works(over(transport, &server.url()).tls(TlsOptions::new().config(config(Some(&authority))))).await;
        // Nothing else counts then.
        let tls = trusting(&authority).config(config(None));
        fails(over(transport, &server.url()).tls(tls)).await;
    }
}

#[cfg(feature = "webpki-roots")]
#[tokio::test]
async fn bundled_authorities_can_be_asked_for() {
    let authority = Authority::new();
    let server = TestServer::builder().tls(authority.issue(&["127.0.0.1"])).start().await;
    fails(quick(&server.url()).tls(TlsOptions::new().bundled_roots())).await;
    works(quick(&server.url()).tls(trusting(&authority).bundled_roots())).await;
}

#[cfg(not(any(feature = "native-roots", feature = "webpki-roots")))]
#[tokio::test]
async fn without_authorities_the_features_are_named() {
    let server = TestServer::builder().tls(Authority::new().issue(&["127.0.0.1"])).start().await;
    let text = fails(quick(&server.url())).await;
    assert!(text.contains("native-roots") && text.contains("ca_pem"), "{text}");
}
