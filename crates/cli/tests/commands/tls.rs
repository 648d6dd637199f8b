//! `--ca`, `--insecure`, `--cert` and `--key`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::running::{Server, bayeux};

/// `bayeux serve` behind TLS, with a certificate authority of its own, and the files for its clients.
struct Secure {
    url: String,
    folder: PathBuf,
    _server: Server,
    _runtime: Runtime,
}

impl Secure {
    fn start(name: &str, wants_certificate: bool) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let mut authority = CertificateParams::new([]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let issue = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new([name.to_owned()]).unwrap();
            (params.signed_by(&key, &authority).unwrap(), key)
        };
        let (certificate, key) = issue("localhost");
        let (client, client_key) = issue("ann");
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
        std::fs::write(folder.join("client.pem"), client.pem()).unwrap();
        std::fs::write(folder.join("client.key"), client_key.serialize_pem()).unwrap();

        let config = ServerConfig::builder_with_provider(Arc::new(
            tokio_rustls::rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap();
        let config = if wants_certificate {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            config.with_client_cert_verifier(verifier.unwrap())
        } else {
            config.with_no_client_auth()
        };
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = config.with_single_cert(chain, key).unwrap();

        let server = Server::start();
        let behind: SocketAddr = format!("127.0.0.1:{}", server.port()).parse().unwrap();
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("https://localhost:{}/cometd", listener.local_addr().unwrap().port());
        runtime.spawn(terminate(listener, TlsAcceptor::from(Arc::new(config)), behind));
        Self { url, folder, _server: server, _runtime: runtime }
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn publish(&self, transport: &str, options: &[&str]) -> snapbox::cmd::OutputAssert {
        let mut args = vec!["publish", &self.url, "/a", "1", "--transport", transport];
        args.extend(options);
        bayeux(&args).assert()
    }
}

/// Takes TLS off, and passes on what is in it.
async fn terminate(listener: TcpListener, acceptor: TlsAcceptor, behind: SocketAddr) {
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let mut stream = acceptor.accept(stream).await?;
            let mut server = TcpStream::connect(behind).await?;
            tokio::io::copy_bidirectional(&mut stream, &mut server).await
        });
    }
}

#[test]
fn an_authority_of_one_s_own_is_trusted_when_it_is_named() {
    let secure = Secure::start("authority", false);
    for transport in ["websocket", "long-polling"] {
        secure.publish(transport, &["--ca", &secure.file("ca.pem")]).success();
        secure.publish(transport, &["--insecure"]).success();
        secure.publish(transport, &[]).code(1).stderr_eq(snapbox::str![[r#"
error: open: TLS with https://localhost:[..] failed: invalid peer certificate: UnknownIssuer[..]
 hint: --ca FILE trusts a certificate of your own; for a server without TLS, use http://

"#]]);
    }
}

#[test]
fn a_client_certificate_is_shown() {
    let secure = Secure::start("client", true);
    let ca = secure.file("ca.pem");
    for transport in ["websocket", "long-polling"] {
        let own = ["--ca", &ca, "--cert", &secure.file("client.pem"), "--key", &secure.file("client.key")];
        secure.publish(transport, &own).success();
        secure.publish(transport, &["--ca", &ca]).code(1);
    }
}
