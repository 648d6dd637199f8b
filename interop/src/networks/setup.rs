//! What the setups share: a program with its configuration, certificates, and the little that is played through them.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use bayeux::TlsOptions;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;
use tokio::process::Command;

use crate::outcome::{Failed, Outcome, check};
use crate::process::Process;
use crate::user::{Open, User};

/// A folder that goes when this does.
#[derive(Debug)]
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Outcome<Self> {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("bayeux-interop-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Outcome<String> {
        let path = self.0.join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    }

    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the folder for temporary files is no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A port that is free now. These programs take no port 0, so another program may be faster; that is not likely.
pub(super) fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Starts a program that listens at `address`.
pub(super) async fn start(address: SocketAddr, command: &[&str]) -> Outcome<Process> {
    let mut guard = Command::new(std::env::current_exe()?);
    guard.arg("guard").arg(address.port().to_string()).args(command);
    let (process, mut lines, _) = Process::start(command[0], guard).await?;
    tokio::spawn(async move { while lines.recv().await.is_some() {} });
    Ok(process)
}

/// An authority of our own, and what it signed.
#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) authority: String,
    pub(super) server: String,
    pub(super) server_key: String,
    pub(super) client: String,
    pub(super) client_key: String,
}

impl Certificates {
    pub(super) fn new() -> Outcome<Self> {
        let mut authority = CertificateParams::new([])?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let issue = |name: &str| {
            let key = KeyPair::generate()?;
            let mut certificate = CertificateParams::new([name.to_owned()])?;
            // With the default name of all it would look as if it had signed itself.
            certificate.distinguished_name.push(DnType::CommonName, name);
            let certificate = certificate.signed_by(&key, &authority)?;
            Outcome::Ok((certificate.pem(), key.serialize_pem()))
        };
        let (server, server_key) = issue("localhost")?;
        let (client, client_key) = issue("ann")?;
        Ok(Self { authority: authority.pem(), server, server_key, client, client_key })
    }

    /// Trusts the authority and no other.
    pub(super) fn trust(&self) -> Outcome<TlsOptions> {
        Ok(TlsOptions::new().ca_pem(self.authority.as_bytes())?.only_given_authorities())
    }
}

/// Opens, subscribes, publishes, receives, asks a service, waits through a held connect, and closes.
pub(super) async fn converse(options: &Open) -> Outcome {
    let ann = User::ours(options)?;
    ann.open(options).await?;
    ann.subscribe("/networks/a").await?;
    for n in (0..20).map(|n| json!(n)) {
        patiently(|| ann.publish("/networks/a", &n)).await?;
        ann.expect("/networks/a", &n).await?;
    }
    let (asked, later) = (json!("echo"), json!("later"));
    let answer = patiently(|| ann.request("/service/echo", &asked)).await?;
    check(answer == "echo", format!("the service answered {answer}"))?;
    // One connect is held to its end, and the next one takes messages again.
    tokio::time::sleep(std::time::Duration::from_millis(crate::server::HOLD + 500)).await;
    patiently(|| ann.publish("/networks/a", &later)).await?;
    ann.expect("/networks/a", &later).await?;
    ann.close().await.map_err(Into::into)
}

/// Calls again what was lost because tinyproxy closes each connection after a response without saying so. A POST that
/// goes out in that moment has an unknown fate, and our client does not send it twice unasked; nor do others.
async fn patiently<T, F>(call: impl Fn() -> F) -> Result<T, Failed>
where
    F: Future<Output = Result<T, Failed>>,
{
    for _ in 0..3 {
        match call().await {
            Err(failed) if failed.text.contains("connection closed before message completed") => {}
            outcome => return outcome,
        }
    }
    call().await
}

/// Opening must fail, and the error must speak of this.
pub(super) async fn refuses(options: &Open, of: &[&str]) -> Outcome {
    let eve = User::ours(options)?;
    match eve.open(options).await {
        Ok(()) => Err("this should have been refused".into()),
        Err(failed) => check(
            of.iter().any(|word| failed.text.to_ascii_lowercase().contains(word)),
            format!("the error speaks of none of {of:?}: {failed}"),
        ),
    }
}
