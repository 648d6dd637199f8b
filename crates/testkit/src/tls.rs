//! Certificates for tests: an authority that only the test trusts, and the certificates that it issues.

#![allow(clippy::expect_used)]

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring as provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// A certificate authority for one test.
///
/// ```
/// use bayeux::{Client, TlsOptions};
/// use bayeux_testkit::{Authority, TestServer};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), bayeux::Error> {
/// let authority = Authority::new();
/// let server = TestServer::builder().tls(authority.issue(&["127.0.0.1"])).start().await;
/// let tls = TlsOptions::new().ca_pem(authority.pem().as_bytes())?.only_given_authorities();
/// let client = Client::builder(server.url()).tls(tls).build()?;
/// client.open().await?;
/// client.close().await
/// # }
/// ```
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Identity {
    chain: String,
    key: String,
}

impl Authority {
    /// A new authority.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key can be generated");
        let mut params = CertificateParams::default();
        params.distinguished_name = name("bayeux test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).expect("an authority can sign itself");
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// The authority's certificate, as PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for a server with these names or IP addresses.
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.sign(names, "bayeux test server", ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client.
    pub fn issue_client(&self, client: &str) -> Identity {
        self.sign(&[], client, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, names: &[&str], subject: &str, usage: ExtendedKeyUsagePurpose) -> Identity {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("the names are names or addresses");
        params.distinguished_name = name(subject);
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key can be generated");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority can sign");
        Identity { chain: certificate.pem(), key: key.serialize_pem() }
    }
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

impl Identity {
    /// A certificate from elsewhere and its key, both as PEM.
    pub fn from_pem(certificate: &str, key: &str) -> Self {
        Self { chain: certificate.to_owned(), key: key.to_owned() }
    }

    /// The certificate, as PEM.
    pub fn chain_pem(&self) -> &str {
        &self.chain
    }

    /// The key, as PEM.
    pub fn key_pem(&self) -> &str {
        &self.key
    }

    /// The SHA-256 digest of the certificate's DER form, for pinning.
    pub fn sha256(&self) -> [u8; 32] {
        let der = self.der();
        let digest = ring::digest::digest(&ring::digest::SHA256, &der);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        bytes
    }

    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.chain.as_bytes()).expect("it is PEM")
    }

    /// The configuration for a server, with or without HTTP/2. With an authority, clients must present a certificate that it
    /// issued.
    pub(crate) fn acceptor(&self, client_authority: Option<&str>) -> TlsAcceptor {
        let builder = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has safe versions");
        let builder = match client_authority {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                let root = CertificateDer::from_pem_slice(pem.as_bytes()).expect("it is PEM");
                roots.add(root).expect("it is an authority");
                let provider = Arc::new(provider::default_provider());
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .expect("there is an authority");
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("it is PEM");
        let mut config = builder.with_single_cert(vec![self.der()], key).expect("they belong together");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}
