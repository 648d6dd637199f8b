//! nginx, which takes the TLS off.

use std::net::SocketAddr;
use std::time::Duration;

use bayeux::{TlsOptions, Transport};

use super::setup::{Certificates, Folder, converse, free_address, refuses, start};
use crate::outcome::{Outcome, check};
use crate::peers::Peer;
use crate::process::Process;
use crate::server::Server;
use crate::user::Open;

/// nginx before a server.
pub(super) struct Terminator {
    pub(super) address: SocketAddr,
    pub(super) certificates: Certificates,
    folder: Folder,
    server: Server,
    nginx: Process,
}

impl Terminator {
    pub(super) async fn start(peer: &'static Peer, mutual: bool) -> Outcome<Self> {
        let server = Server::start(peer).await?;
        let (folder, certificates, address) = (Folder::new()?, Certificates::new()?, free_address()?);
        let authority = folder.write("ca.pem", &certificates.authority)?;
        let certificate = folder.write("server.pem", &certificates.server)?;
        let key = folder.write("server.key", &certificates.server_key)?;
        let verify = if mutual {
            format!("ssl_client_certificate {authority}; ssl_verify_client on;")
        } else {
            String::new()
        };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {kind};\n"))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr warn;
            events {{}}
            http {{
                log_format protocol '$server_protocol $request_method $status';
                access_log access.log protocol;
                {temporary}
                map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
                server {{
                    listen {address} ssl http2;
                    ssl_certificate {certificate};
                    ssl_certificate_key {key};
                    {verify}
                    location / {{
                        proxy_pass http://{backend};
                        proxy_http_version 1.1;
                        proxy_set_header Host $host;
                        proxy_set_header Upgrade $http_upgrade;
                        proxy_set_header Connection $connection_upgrade;
                    }}
                }}
            }}",
            backend = server.address,
        );
        let config = folder.write("nginx.conf", &config)?;
        let prefix = folder.0.to_string_lossy();
        let nginx = start(address, &["nginx", "-p", &prefix, "-e", "stderr", "-c", &config]).await?;
        Ok(Self { address, certificates, folder, server, nginx })
    }

    /// How to open through it, as one who trusts its authority.
    pub(super) fn options(&self, transport: Transport) -> Outcome<Open> {
        let mut options = Open::new(self.address, &self.server.path, transport);
        options.url = format!("https://localhost:{}{}", self.address.port(), self.server.path);
        options.tls = self.certificates.trust()?;
        Ok(options)
    }

    pub(super) async fn stop(self) -> Outcome {
        self.nginx.stop().await?;
        self.server.stop().await
    }
}

pub(super) async fn private_authority(peer: &'static Peer, transport: Transport) -> Outcome {
    let nginx = Terminator::start(peer, false).await?;
    let mut options = nginx.options(transport)?;
    converse(&options).await.map_err(|error| format!("{error}\n{}", nginx.nginx.said()))?;
    options.tls = TlsOptions::new();
    refuses(&options, &["certificate"]).await?;
    nginx.stop().await
}

pub(super) async fn mutual(peer: &'static Peer, transport: Transport) -> Outcome {
    let nginx = Terminator::start(peer, true).await?;
    let mut options = nginx.options(transport)?;
    // nginx lets the handshake of TLS pass and answers with 400.
    refuses(&options, &["400", "certificate"]).await?;
    let Certificates { client, client_key, .. } = &nginx.certificates;
    options.tls = options.tls.client_certificate_pem(client.as_bytes(), client_key.as_bytes())?;
    converse(&options).await.map_err(|error| format!("{error}\n{}", nginx.nginx.said()))?;
    nginx.stop().await
}

pub(super) async fn http2(peer: &'static Peer, transport: Transport) -> Outcome {
    let nginx = Terminator::start(peer, false).await?;
    converse(&nginx.options(transport)?).await?;
    let expected = match transport {
        Transport::LongPolling => "HTTP/2.0 POST 200",
        _ => "HTTP/1.1 GET 101",
    };
    // nginx writes a line when a request is over, and that of a WebSocket may take a moment.
    let mut log = String::new();
    for _ in 0..100 {
        log = nginx.folder.read("access.log");
        if log.contains(expected) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let other = log.lines().find(|line| *line != expected);
    check(
        log.contains(expected) && other.is_none(),
        format!("nginx saw {other:?} besides {expected}:\n{log}"),
    )?;
    nginx.stop().await
}
