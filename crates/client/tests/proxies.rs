//! Proxies, for both transports.
#![allow(clippy::unwrap_used)]

mod fixture;

use bayeux::{ErrorKind, FailureKind, Proxy, Transport};
#[cfg(feature = "tls")]
use bayeux_testkit::SocksProxy;
use bayeux_testkit::{FaultProxy, HttpProxy, TestServer};
use fixture::*;

fn via(url: &str) -> Proxy {
    Proxy::url(url).unwrap()
}

#[tokio::test]
async fn an_http_proxy_carries_both_transports() {
    let server = TestServer::start().await;
    for transport in BOTH {
        let proxy = HttpProxy::start().await;
        let client = opened(over(transport, &server.url()).proxy(via(&proxy.url()))).await;
        client.publish("/a", &1).await.unwrap();
        within(client.close()).await.unwrap();
        let requests = proxy.requests();
        let tunnelled = requests.iter().all(|request| request.method == "CONNECT");
        assert!(!requests.is_empty());
        assert_eq!(tunnelled, transport == Transport::WebSocket, "{requests:?}");
    }
}

#[tokio::test]
async fn a_proxy_with_a_password() {
    let server = TestServer::start().await;
    for transport in BOTH {
        let proxy = HttpProxy::with_password("ann", "hunter2").await;
        let client = opened(over(transport, &server.url()).proxy(via(&proxy.url_with_password()))).await;
        client.publish("/a", &1).await.unwrap();
        within(client.close()).await.unwrap();
        assert!(proxy.requests().iter().all(|request| request.granted));

        for url in [proxy.url(), proxy.url().replace("http://", "http://ann:wrong-hunter@")] {
            let client = over(transport, &server.url()).proxy(via(&url)).build().unwrap();
            let error = within(client.open()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Transport);
            let text = error.to_string();
            assert!(text.contains(&server.url()) && !text.contains("hunter"), "{text}");
            match transport {
                Transport::LongPolling => assert_eq!(error.http_status(), Some(407), "{text}"),
                _ => {
                    assert_eq!(error.failure().unwrap().kind(), FailureKind::Proxy, "{text}");
                    assert!(text.contains(&proxy.url()), "the proxy is named: {text}");
                }
            }
        }
    }
    assert!(!format!("{:?}", via("http://ann:hunter2@127.0.0.1:1")).contains("hunter2"));
}

#[cfg(any(feature = "rustls-ring", feature = "rustls-aws-lc-rs"))]
#[tokio::test]
async fn tls_goes_through_a_tunnel() {
    use bayeux::TlsOptions;
    use bayeux_testkit::Authority;

    let authority = Authority::new();
    let server = TestServer::builder().tls(authority.issue(&["127.0.0.1"])).start().await;
    for transport in BOTH {
        let proxy = HttpProxy::with_password("ann", "secret").await;
        let tls = TlsOptions::new().ca_pem(authority.pem().as_bytes()).unwrap();
        let builder = over(transport, &server.url()).tls(tls).proxy(via(&proxy.url_with_password()));
        let client = opened(builder).await;
        client.publish("/a", &1).await.unwrap();
        within(client.close()).await.unwrap();
        let requests = proxy.requests();
        let target = server.address().to_string();
        assert!(requests.iter().all(|r| r.method == "CONNECT" && r.target == target), "{requests:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_does_not_reach_the_server() {
    let nobody = FaultProxy::to(([127, 0, 0, 1], 9).into()).await;
    nobody.refuse().await;
    for transport in BOTH {
        let proxy = HttpProxy::start().await;
        let client = over(transport, &nobody.url()).proxy(via(&proxy.url())).build().unwrap();
        let error = within(client.open()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transport);
        assert!(error.to_string().contains(&nobody.url()), "{error}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there() {
    let nobody = FaultProxy::to(([127, 0, 0, 1], 9).into()).await;
    nobody.refuse().await;
    let server = TestServer::start().await;
    for transport in BOTH {
        let proxy = via(&format!("http://{}", nobody.address()));
        let client = over(transport, &server.url()).proxy(proxy).build().unwrap();
        let error = within(client.open()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transport);
        let text = error.to_string();
        assert!(text.contains("refused") && text.contains(&server.url()), "{text}");
        assert!(
            text.contains(&format!("the proxy http://{}", nobody.address())),
            "the proxy is named: {text}"
        );
        assert_eq!(server.network().accepted(), 0, "nothing goes past the proxy");
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_socks_proxy_carries_both_transports() {
    let server = TestServer::start().await;
    for transport in BOTH {
        let proxy = SocksProxy::start().await;
        let client = opened(over(transport, &server.url()).proxy(via(&proxy.url()))).await;
        client.publish("/a", &1).await.unwrap();
        within(client.close()).await.unwrap();
        let target = server.address().to_string();
        assert!(!proxy.targets().is_empty() && proxy.targets().iter().all(|known| *known == target));
    }
}

#[test]
fn a_proxy_url_that_is_none() {
    for url in ["", "no url", "ftp://example.com", "http://", "socks5://ann:hunter2@"] {
        let error = Proxy::url(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{url}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
