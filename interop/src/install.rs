//! Installs peers, each as a package from its own registry, and lists what was installed.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::outcome::Outcome;
use crate::peers::{Install, Peer, Version, build_folder};

/// How long the installation of one peer may take on a new machine.
const LIMIT: Duration = Duration::from_secs(600);

/// Installs a peer, if it is not there already. Registries have bad moments; what they are asked for is pinned, so that
/// asking again hides nothing of ours.
pub(crate) async fn install(peer: &Peer) -> Outcome {
    let Err(error) = try_install(peer).await else { return Ok(()) };
    println!("{}: installing again: {error}", peer.name);
    try_install(peer).await
}

async fn try_install(peer: &Peer) -> Outcome {
    let folder = peer.folder();
    match peer.install {
        Install::Ours => Ok(()),
        Install::Maven => {
            need("java", "openjdk-17-jdk-headless").await?;
            need("mvn", "maven").await?;
            run(&folder, "mvn", &["-q", "-B", "-ntp", "package"]).await
        }
        Install::Npm => npm(&folder).await,
        Install::NpmAndChromium => {
            need("chromium", "chromium").await?;
            npm(&folder).await
        }
        Install::Pip => {
            need("python3", "python3-venv").await?;
            let venv = build_folder(peer.name);
            let venv = venv.to_string_lossy();
            run(&folder, "python3", &["-m", "venv", &venv]).await?;
            let python = format!("{venv}/bin/python");
            // Its own script would not survive a move of the folder.
            let pip = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", "requirements.txt"];
            run(&folder, &python, &pip).await
        }
        Install::Cargo => {
            let target = build_folder("cargo");
            run(&folder, "cargo", &["build", "-q", "--locked", "--target-dir", &target.to_string_lossy()])
                .await
        }
    }
}

async fn npm(folder: &Path) -> Outcome {
    need("node", "nodejs").await?;
    need("npm", "npm").await?;
    run(folder, "npm", &["ci", "--silent"]).await
}

/// Takes a program from Debian when it is not there.
pub(crate) async fn need(program: &str, package: &str) -> Outcome {
    if find(program) {
        return Ok(());
    }
    if !find("apt-get") {
        return Err(format!("{program} is missing; Debian's package is called {package}").into());
    }
    // A list that is there may be too old to find anything; one that cannot be had does not matter if it is there.
    let here = Path::new("/");
    let _ = run(here, "apt-get", &["update", "-qq"]).await;
    run(here, "apt-get", &["install", "-y", "-qq", "--no-install-recommends", package]).await?;
    if find(program) { Ok(()) } else { Err(format!("{package} brought no {program}").into()) }
}

fn find(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(Into::into);
    std::env::split_paths(&paths).chain(system).any(|path| path.join(program).is_file())
}

async fn run(folder: &Path, program: &str, args: &[&str]) -> Outcome {
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .env("DEBIAN_FRONTEND", "noninteractive")
        .kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output());
    let output = output.await.map_err(|_| format!("{program} is not done after {LIMIT:?}"))?;
    let output = output.map_err(|error| format!("{program} cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let last: Vec<&str> = said.lines().rev().take(15).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Err(format!("{program} {} failed ({}):\n{}", args.join(" "), output.status, last.join("\n")).into())
}

/// The version that was installed.
pub(crate) async fn version(peer: &Peer) -> Outcome<String> {
    let folder = peer.folder();
    let found = match peer.version {
        Version::Ours => Some(env!("CARGO_PKG_VERSION").to_owned()),
        Version::Jar(name) => std::fs::read_dir(folder.join("target/lib"))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .find_map(|jar| {
                Some(jar.strip_prefix(name)?.strip_prefix('-')?.strip_suffix(".jar")?.to_owned())
            }),
        Version::Npm(name) => {
            let file = std::fs::read(folder.join("node_modules").join(name).join("package.json"))?;
            let package: serde_json::Value = serde_json::from_slice(&file)?;
            package["version"].as_str().map(str::to_owned)
        }
        Version::Pip(name) => {
            let python = build_folder(peer.name).join("bin/python");
            let script = format!("import importlib.metadata as m; print(m.version({name:?}))");
            let output = Command::new(python).arg("-c").arg(script).output().await?;
            Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        Version::Crate(name) => {
            let lock = std::fs::read_to_string(folder.join("Cargo.lock"))?;
            let entry = lock.split("[[package]]").find(|entry| entry.contains(&format!("name = {name:?}\n")));
            entry
                .and_then(|entry| entry.split_once("version = \""))
                .and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned()))
        }
    };
    let found = found.filter(|version| !version.is_empty());
    found.ok_or_else(|| format!("{}: no version was found", peer.name).into())
}

/// The version that a program prints.
pub(crate) async fn tool_version(program: &str, arg: &str) -> Outcome<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(program).arg(arg).env("PATH", format!("{path}:/usr/sbin")).output().await?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let number = said
        .split(|c: char| c.is_whitespace() || c == '/')
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'));
    number.map(str::to_owned).ok_or_else(|| format!("{program} prints no version: {said}").into())
}
