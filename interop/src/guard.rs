//! `guard PORT COMMAND…`: runs a program that does not end with its input, so that it does: says `READY` when the port
//! answers, and kills the program when the standard input ends.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::outcome::Outcome;

pub(crate) async fn run(args: &[String]) -> Outcome {
    let [port, program, rest @ ..] = args else { return Err("guard PORT COMMAND…".into()) };
    let port: u16 = port.parse()?;
    let mut child = Command::new(program)
        .args(rest)
        .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{program} cannot be started: {error}"))?;
    let ready = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("READY");
        let mut byte = [0];
        let mut input = tokio::io::stdin();
        while input.read(&mut byte).await.is_ok_and(|count| count > 0) {}
    };
    tokio::select! {
        () = ready => child.kill().await.map_err(Into::into),
        status = child.wait() => Err(format!("{program} ended by itself: {}", status?).into()),
    }
}
