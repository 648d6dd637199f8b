//! TLS: the trusted certificates and the client certificate.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::hash::HashAlgorithm;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedCipherSuite};
use url::Url;

use super::cause::find;

use crate::error::Error;

/// Which certificates a client trusts over `https://` and `wss://`, and its client certificate. By default it trusts the certificates
/// that the operating system trusts (feature `native-roots`), or without that feature those of Mozilla (feature `webpki-roots`), and
/// it has no client certificate.
///
/// ```
/// use bayeux::{Client, TlsOptions};
///
/// let tls = TlsOptions::new().pin_sha256([0x5a; 32]);
/// let client = Client::builder("https://example.com/cometd").tls(tls).build()?;
/// # Ok::<(), bayeux::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct TlsOptions {
    roots: Vec<CertificateDer<'static>>,
    only_roots: bool,
    identity: Option<Arc<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>>,
    pins: Vec<[u8; 32]>,
    trust_anyone: bool,
    bundled_roots: bool,
    config: Option<Arc<ClientConfig>>,
}

impl TlsOptions {
    /// The default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also trusts the certificate authorities in this PEM text. It may contain the certificate of the server itself, for instance a
    /// self-signed one: the server is then trusted if the certificate has its name and has not expired.
    ///
    /// # Errors
    /// Returns an error if the text contains no certificate.
    pub fn ca_pem(mut self, pem: &[u8]) -> Result<Self, Error> {
        self.roots.extend(certificates(pem, "certificate authority")?);
        Ok(self)
    }

    /// Trusts the authorities that Mozilla trusted when the crate `webpki-roots` was released, instead of those of the operating system.
    #[cfg(feature = "webpki-roots")]
    #[must_use]
    pub fn bundled_roots(mut self) -> Self {
        self.bundled_roots = true;
        self
    }

    /// Uses a configuration of `rustls`, with the exception of its ALPN protocols, which each transport sets. It replaces all
    /// other options here, and the features that choose cryptography and trust.
    ///
    /// ```
    /// # fn example(verifier: std::sync::Arc<dyn bayeux::rustls::client::danger::ServerCertVerifier>) -> Result<(), bayeux::Error> {
    /// use bayeux::{Client, TlsOptions, rustls};
    ///
    /// let config = rustls::ClientConfig::builder()
    ///     .dangerous()
    ///     .with_custom_certificate_verifier(verifier)
    ///     .with_no_client_auth();
    /// let client = Client::builder("https://example.com/cometd").tls(TlsOptions::new().config(config)).build()?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn config(mut self, config: ClientConfig) -> Self {
        self.config = Some(Arc::new(config));
        self
    }

    /// Trusts only the authorities and certificates given with [`ca_pem`](TlsOptions::ca_pem).
    #[must_use]
    pub fn only_given_authorities(mut self) -> Self {
        self.only_roots = true;
        self
    }

    /// Authenticates the client with a certificate (mutual TLS). `chain` has the certificates, that of the client first, and `key` its
    /// private key, both as PEM text.
    ///
    /// # Errors
    /// Returns an error if `chain` contains no certificate or `key` no private key. The error does not contain the key.
    pub fn client_certificate_pem(mut self, chain: &[u8], key: &[u8]) -> Result<Self, Error> {
        let chain = certificates(chain, "client certificate")?;
        let key = PrivateKeyDer::from_pem_slice(without_bom(key))
            .map_err(|error| Error::config(format!("the client key cannot be read as PEM: {error}")))?;
        self.identity = Some(Arc::new((chain, key)));
        Ok(self)
    }

    /// Trusts exactly the certificate with this SHA-256 digest of its DER form. Its issuer and its names are not checked. Can
    /// be called several times. Certificate authorities are then not used.
    #[must_use]
    pub fn pin_sha256(mut self, digest: [u8; 32]) -> Self {
        self.pins.push(digest);
        self
    }

    /// Trusts every certificate. Anybody on the network path can then read and change all messages. Use it only for tests.
    #[must_use]
    pub fn dangerously_trust_anyone(mut self) -> Self {
        self.trust_anyone = true;
        self
    }

    fn is_default(&self) -> bool {
        self.roots.is_empty()
            && !self.only_roots
            && self.identity.is_none()
            && self.pins.is_empty()
            && !self.trust_anyone
            && !self.bundled_roots
            && self.config.is_none()
    }
}

impl std::fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsOptions")
            .field("authorities", &self.roots.len())
            .field("only_given_authorities", &self.only_roots)
            .field("client_certificate", &self.identity.is_some())
            .field("pins", &self.pins.len())
            .field("dangerously_trust_anyone", &self.trust_anyone)
            .field("config", &self.config.is_some())
            .finish()
    }
}

/// The text without the byte order mark that some editors write.
fn without_bom(pem: &[u8]) -> &[u8] {
    pem.strip_prefix(b"\xef\xbb\xbf").unwrap_or(pem)
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(without_bom(pem)).collect();
    let found = found.map_err(|error| Error::config(format!("the {what} cannot be read as PEM: {error}")))?;
    if found.is_empty() {
        return Err(Error::config(format!("there is no PEM certificate in the {what}")));
    }
    Ok(found)
}

/// With TLS there is nothing that a URL may not be.
pub(crate) fn check_scheme(_: &Url) -> Result<(), Error> {
    Ok(())
}

/// A connector whose connections to `https://` URLs have TLS.
pub(super) type Secured<C> = hyper_rustls::HttpsConnector<C>;

/// Adds TLS to a connector, with these ALPN protocols, if it is needed.
pub(super) fn secure<C>(
    connector: C,
    options: &TlsOptions,
    needed: bool,
    protocols: &[&[u8]],
) -> Result<Secured<C>, Error> {
    let mut tls = if needed { config(options)? } else { unused()? };
    tls.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok((connector, tls).into())
}

/// A configuration for a URL that needs no TLS: it trusts nobody and costs next to nothing.
fn unused() -> Result<ClientConfig, Error> {
    static UNUSED: OnceLock<ClientConfig> = OnceLock::new();
    if let Some(config) = UNUSED.get() {
        return Ok(config.clone());
    }
    let config = versions()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    Ok(UNUSED.get_or_init(|| config).clone())
}

/// The configuration for these options; the default one is made once and shared, because reading the trusted
/// certificates of the system takes time and memory.
fn config(options: &TlsOptions) -> Result<ClientConfig, Error> {
    static DEFAULT: OnceLock<ClientConfig> = OnceLock::new();
    if let Some(config) = &options.config {
        return Ok(ClientConfig::clone(config));
    }
    if !options.is_default() {
        return build(options);
    }
    if let Some(config) = DEFAULT.get() {
        return Ok(config.clone());
    }
    let config = build(options)?;
    Ok(DEFAULT.get_or_init(|| config).clone())
}

/// The cryptography: what the program has chosen, else what the features have.
fn provider() -> Result<Arc<CryptoProvider>, Error> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    if let Some(chosen) = CryptoProvider::get_default() {
        return Ok(Arc::clone(chosen));
    }
    #[cfg(feature = "rustls-ring")]
    let provider = Some(rustls::crypto::ring::default_provider());
    #[cfg(all(feature = "rustls-aws-lc-rs", not(feature = "rustls-ring")))]
    let provider = Some(rustls::crypto::aws_lc_rs::default_provider());
    #[cfg(not(any(feature = "rustls-ring", feature = "rustls-aws-lc-rs")))]
    let provider: Option<CryptoProvider> = None;
    let provider = provider.ok_or_else(|| {
        Error::config(
            "TLS needs a cryptography provider: enable the feature rustls-ring or rustls-aws-lc-rs of `bayeux`, or install a \
             provider of rustls",
        )
    })?;
    Ok(Arc::clone(PROVIDER.get_or_init(|| Arc::new(provider))))
}

fn versions() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, Error> {
    ClientConfig::builder_with_provider(provider()?)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::config(format!("TLS: {error}")))
}

fn build(options: &TlsOptions) -> Result<ClientConfig, Error> {
    let builder = versions()?.dangerous().with_custom_certificate_verifier(verifier(options)?);
    match &options.identity {
        None => Ok(builder.with_no_client_auth()),
        Some(identity) => builder
            .with_client_auth_cert(identity.0.clone(), identity.1.clone_key())
            .map_err(|error| Error::config(format!("the client certificate cannot be used: {error}"))),
    }
}

fn verifier(options: &TlsOptions) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let provider = provider()?;
    let algorithms = provider.signature_verification_algorithms;
    if options.trust_anyone {
        return Ok(Arc::new(Pinned { pins: None, provider }));
    }
    if !options.pins.is_empty() {
        return Ok(Arc::new(Pinned { pins: Some(options.pins.clone()), provider }));
    }
    let chains = if options.only_roots {
        from_store(root_store(options)?, provider)?
    } else {
        system(options, provider)?
    };
    if options.roots.is_empty() {
        return Ok(chains);
    }
    Ok(Arc::new(Given { roots: options.roots.clone(), chains, algorithms }))
}

/// Those that the operating system trusts, and those that were given.
#[cfg(feature = "native-roots")]
fn system(options: &TlsOptions, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    if options.bundled_roots {
        return bundled(options, provider);
    }
    let roots = options.roots.iter().cloned();
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(roots, provider);
    Ok(Arc::new(verifier.map_err(|error| {
        Error::config(format!("the system's trusted certificates cannot be used: {error}"))
    })?))
}

#[cfg(not(feature = "native-roots"))]
fn system(options: &TlsOptions, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    bundled(options, provider)
}

/// Those that come with the program, and those that were given.
fn bundled(
    options: &TlsOptions,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    #[cfg_attr(not(feature = "webpki-roots"), expect(unused_mut, reason = "there are none to add"))]
    let mut store = root_store(options)?;
    #[cfg(feature = "webpki-roots")]
    store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if store.is_empty() {
        return Err(Error::config(
            "no certificate authority is trusted: enable the feature native-roots or webpki-roots of `bayeux`, or name authorities \
             with TlsOptions::ca_pem",
        ));
    }
    from_store(store, provider)
}

fn from_store(
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    Ok(verifier
        .map_err(|error| Error::config(format!("the certificate authorities cannot be used: {error}")))?)
}

fn root_store(options: &TlsOptions) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for root in &options.roots {
        store
            .add(root.clone())
            .map_err(|error| Error::config(format!("a certificate authority cannot be used: {error}")))?;
    }
    Ok(store)
}

/// Checks chains, and takes a server whose own certificate is among those that were given: chains alone refuse one that
/// may sign others, as `openssl req -x509` makes them, and one whose issuer was not given.
#[derive(Debug)]
struct Given {
    roots: Vec<CertificateDer<'static>>,
    chains: Arc<dyn ServerCertVerifier>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Given {
    /// Fails if the certificate is out of date, or not for servers, or not for this one.
    fn verify_itself(
        &self,
        leaf: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let invalid = |error: CertificateError| rustls::Error::InvalidCertificate(error);
        let certificate =
            webpki::EndEntityCert::try_from(leaf).map_err(|_| invalid(CertificateError::BadEncoding))?;
        // Without authorities, a certificate that is right in itself fails for want of an issuer, or because it is one;
        // its dates are checked before that.
        let usage = webpki::KeyUsage::server_auth();
        match certificate.verify_for_usage(self.algorithms.all, &[], &[], now, usage, None, None) {
            Ok(_) | Err(webpki::Error::UnknownIssuer | webpki::Error::CaUsedAsEndEntity) => {}
            Err(webpki::Error::CertExpired { time, not_after }) => {
                return Err(invalid(CertificateError::ExpiredContext { time, not_after }));
            }
            Err(webpki::Error::CertNotValidYet { time, not_before }) => {
                return Err(invalid(CertificateError::NotValidYetContext { time, not_before }));
            }
            Err(error) => {
                let error = rustls::OtherError(Arc::new(error));
                return Err(invalid(CertificateError::Other(error)));
            }
        }
        verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for Given {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.chains.verify_server_cert(leaf, intermediates, name, ocsp, now).or_else(|error| {
            if self.roots.iter().any(|root| root == leaf) {
                self.verify_itself(leaf, name, now)
            } else {
                Err(error)
            }
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What an error of TLS means, and what may be done about it.
pub(super) fn explain(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    find::<rustls::Error>(error).map(explained)
}

fn explained(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(certificate) = error else { return error.to_string() };
    let is_authority = |other: &rustls::OtherError| {
        matches!(other.0.downcast_ref::<webpki::Error>(), Some(webpki::Error::CaUsedAsEndEntity))
    };
    match certificate {
        CertificateError::UnknownIssuer => format!(
            "{error}: the authority that signed the server's certificate is not trusted; TlsOptions::ca_pem trusts it, \
             or the certificate alone"
        ),
        CertificateError::Other(other) if is_authority(other) => {
            "the server presents a certificate of an authority, probably one that it signed itself, and it is not \
             trusted; TlsOptions::ca_pem with this very certificate trusts it"
                .to_owned()
        }
        _ => error.to_string(),
    }
}

/// Compares digests instead of chains; without pins it trusts anyone.
#[derive(Debug)]
struct Pinned {
    pins: Option<Vec<[u8; 32]>>,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    /// With the cryptography that is there anyway: all of TLS 1.2 and 1.3 needs SHA-256.
    fn sha256(&self, bytes: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let hashes = self.provider.cipher_suites.iter().map(|suite| match suite {
            SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
            SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
        });
        let hash = hashes.into_iter().find(|hash| hash.algorithm() == HashAlgorithm::SHA256);
        let hash = hash.ok_or_else(|| {
            rustls::Error::General("the provider has no SHA-256, which pinned certificates need".to_owned())
        })?;
        Ok(hash.hash(bytes).as_ref().to_vec())
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(pins) = &self.pins else { return Ok(ServerCertVerified::assertion()) };
        let digest = self.sha256(leaf)?;
        if pins.iter().any(|pin| pin.as_slice() == digest) {
            return Ok(ServerCertVerified::assertion());
        }
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("the certificate with SHA-256 digest {hex} is not pinned");
        let error = rustls::OtherError(Arc::new(std::io::Error::other(text)));
        Err(rustls::Error::InvalidCertificate(CertificateError::Other(error)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
