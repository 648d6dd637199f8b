//! The configuration file: the contexts, and the one in use.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use serde::Deserialize;
use toml_edit::{Array, DocumentMut, Item, Table, value};

use crate::args::{self, Access};
use crate::failure::Failure;
use crate::{output, secrets};

/// The contents of the file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The context in use.
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// A server and the options for it. The fields are those of [`Access`].
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    pub(crate) url: String,
    /// A bearer token.
    pub(crate) bearer: Option<String>,
    bearer_file: Option<PathBuf>,
    bearer_env: Option<String>,
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    cookies: Vec<String>,
    #[serde(default)]
    ext: Vec<String>,
    #[serde(default)]
    fallback_urls: Vec<String>,
    #[serde(default)]
    transports: Vec<String>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    proxy: Option<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    secure_cookies_over_http: bool,
}

/// The file that `BAYEUX_CONFIG` names, or the one in the user's configuration directory; `None` for a user without one.
pub(crate) fn path() -> Result<Option<PathBuf>, Failure> {
    if let Some(path) = secrets::variable("BAYEUX_CONFIG")? {
        return Ok(Some(PathBuf::from(path)));
    }
    let strategy = etcetera::choose_base_strategy().ok();
    Ok(strategy.map(|strategy| strategy.config_dir().join("bayeux").join("config.toml")))
}

impl Config {
    /// Reads the file. A file that does not exist has no contexts. Prints a warning if other users can read the file.
    pub(crate) fn read() -> Result<Self, Failure> {
        let Some(path) = path()? else { return Ok(Self::default()) };
        let Some(text) = text_of(&path)? else { return Ok(Self::default()) };
        warn_if_open(&path);
        Self::parse(&text, &path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        toml_edit::de::from_str(text)
            .map_err(|error| wrong(path, text, error.span().map(|span| span.start), error.message()))
    }

    /// The name of the context in use: that of `BAYEUX_CONTEXT`, otherwise that of the file.
    pub(crate) fn in_use(&self) -> Result<Option<String>, Failure> {
        Ok(secrets::variable("BAYEUX_CONTEXT")?.or_else(|| self.current.clone()))
    }

    /// The context of this name.
    pub(crate) fn context(&self, name: &str) -> Result<&Context, Failure> {
        self.contexts.get(name).ok_or_else(|| {
            let known: Vec<_> = self.contexts.keys().map(String::as_str).collect();
            Failure::Usage(match known.is_empty() {
                true => format!("there is no context {name}, nor any other"),
                false => format!("there is no context {name}; there are {}", known.join(", ")),
            })
        })
    }
}

impl Context {
    pub(crate) fn new(url: String, access: &Access) -> Result<Self, Failure> {
        let absolute = |path: &PathBuf| {
            std::path::absolute(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
        };
        let file = |path: &Option<PathBuf>| path.as_ref().map(absolute).transpose();
        // The context is used from other directories than the current one.
        let at_file = |text: &String, at: usize| match text.get(at..).and_then(|text| text.strip_prefix('@'))
        {
            Some(path) => {
                Ok::<_, Failure>(format!("{}@{}", &text[..at], absolute(&PathBuf::from(path))?.display()))
            }
            None => Ok(text.clone()),
        };
        Ok(Self {
            url,
            bearer: None,
            bearer_file: file(&access.bearer_file)?,
            bearer_env: access.bearer_env.clone(),
            headers: access.header.iter().map(|text| at_file(text, 0)).collect::<Result<_, _>>()?,
            cookies: access.cookie.iter().map(|text| at_file(text, 0)).collect::<Result<_, _>>()?,
            ext: access
                .ext
                .iter()
                .map(|text| at_file(text, text.find('=').map_or(0, |at| at + 1)))
                .collect::<Result<_, _>>()?,
            fallback_urls: access.fallback_url.clone(),
            transports: access.transport.iter().map(|transport| transport.as_str().to_owned()).collect(),
            ca: file(&access.ca)?,
            cert: file(&access.cert)?,
            key: file(&access.key)?,
            proxy: access.proxy.clone(),
            insecure: access.insecure,
            secure_cookies_over_http: access.secure_cookies_over_http,
        })
    }

    /// The options that the context stores.
    pub(crate) fn access(&self) -> Result<Access, Failure> {
        let known = args::known_transports();
        let transport = self.transports.iter().map(|name| {
            known.iter().find(|known| known.as_str() == name).copied().ok_or_else(|| {
                Failure::Usage(format!("transports: {name:?} is neither websocket nor long-polling"))
            })
        });
        Ok(Access {
            fallback_url: self.fallback_urls.clone(),
            transport: transport.collect::<Result<_, _>>()?,
            header: self.headers.clone(),
            cookie: self.cookies.clone(),
            bearer_file: self.bearer_file.clone(),
            bearer_env: self.bearer_env.clone(),
            ext: self.ext.clone(),
            ca: self.ca.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            proxy: self.proxy.clone(),
            insecure: self.insecure,
            secure_cookies_over_http: self.secure_cookies_over_http,
        })
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        let text = |path: &PathBuf| path.display().to_string();
        let single = [
            ("url", Some(self.url.clone())),
            ("bearer", self.bearer.clone()),
            ("bearer_file", self.bearer_file.as_ref().map(text)),
            ("bearer_env", self.bearer_env.clone()),
            ("ca", self.ca.as_ref().map(text)),
            ("cert", self.cert.as_ref().map(text)),
            ("key", self.key.as_ref().map(text)),
            ("proxy", self.proxy.clone()),
        ];
        for (name, text) in single {
            if let Some(text) = text {
                table.insert(name, value(text));
            }
        }
        let lists = [
            ("headers", &self.headers),
            ("cookies", &self.cookies),
            ("ext", &self.ext),
            ("fallback_urls", &self.fallback_urls),
            ("transports", &self.transports),
        ];
        for (name, list) in lists {
            if !list.is_empty() {
                table.insert(name, value(list.iter().collect::<Array>()));
            }
        }
        let flags =
            [("insecure", self.insecure), ("secure_cookies_over_http", self.secure_cookies_over_http)];
        for (name, set) in flags {
            if set {
                table.insert(name, value(true));
            }
        }
        table
    }
}

/// An edit of the file. It keeps what the user wrote, including comments.
pub(crate) struct Editor {
    path: PathBuf,
    document: DocumentMut,
    /// Prevents other commands from changing the file meanwhile.
    _lock: std::fs::File,
}

impl Editor {
    pub(crate) fn open() -> Result<(Self, Config), Failure> {
        let Some(path) = path()? else {
            return Err(Failure::UsageHint(
                "there is no home directory to keep contexts in".to_owned(),
                "set BAYEUX_CONFIG to a file",
            ));
        };
        // A symbolic link is kept: the file that it points to is replaced.
        let path = std::fs::canonicalize(&path).unwrap_or(path);
        let unusable = |error| Failure::Usage(format!("cannot write {}: {error}", path.display()));
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        create(folder).map_err(unusable)?;
        let mut lock = path.clone().into_os_string();
        lock.push(".lock");
        let lock = std::fs::File::options().create(true).append(true).open(lock).map_err(unusable)?;
        match lock.lock() {
            Err(error) if error.kind() != ErrorKind::Unsupported => return Err(unusable(error)),
            _ => {}
        }
        let text = text_of(&path)?.unwrap_or_default();
        let config = Config::parse(&text, &path)?;
        let document = text
            .parse::<DocumentMut>()
            .map_err(|error| wrong(&path, &text, error.span().map(|span| span.start), error.message()))?;
        Ok((Self { path, document, _lock: lock }, config))
    }

    pub(crate) fn insert(&mut self, name: &str, context: &Context) {
        let contexts = self.document.entry("contexts").or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        contexts[name] = Item::Table(context.table());
    }

    pub(crate) fn remove(&mut self, name: &str) {
        if let Some(contexts) = self.document.get_mut("contexts").and_then(Item::as_table_like_mut) {
            contexts.remove(name);
        }
    }

    pub(crate) fn make_current(&mut self, name: Option<&str>) {
        match name {
            Some(name) => self.document["current"] = value(name),
            None => drop(self.document.remove("current")),
        }
    }

    /// Replaces the file atomically. Only its owner can read it.
    pub(crate) fn save(self) -> Result<(), Failure> {
        let folder =
            self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let written = || -> std::io::Result<()> {
            // A temporary file has the mode 0600.
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(self.document.to_string().as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&self.path)?;
            Ok(())
        };
        written().map_err(|error| Failure::Usage(format!("cannot write {}: {error}", self.path.display())))
    }
}

/// Creates the directory and its parents, for the user only.
fn create(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn text_of(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::Usage(format!("cannot read {}: {error}", path.display()))),
    }
}

#[cfg(unix)]
fn warn_if_open(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if let Ok(metadata) = std::fs::metadata(path)
        && metadata.permissions().mode() & 0o077 != 0
    {
        let mode = metadata.permissions().mode() & 0o777;
        output::warning(&format!(
            "others can use the secrets in {} (mode {mode:o}); chmod 600 keeps it to yourself",
            path.display()
        ));
    }
}

#[cfg(not(unix))]
fn warn_if_open(_: &Path) {}

/// The error for an invalid file. It names the line but does not quote it, because it may contain a secret.
fn wrong(path: &Path, text: &str, at: Option<usize>, message: &str) -> Failure {
    let line = at.and_then(|at| text.get(..at)).map(|before| before.matches('\n').count() + 1);
    let line = line.map_or(String::new(), |line| format!(":{line}"));
    // The parser quotes an invalid value.
    let message = match message.split_once(", expected ") {
        Some((what, expected)) if what.starts_with("invalid") => format!("expected {expected}"),
        _ => message.to_owned(),
    };
    Failure::Usage(format!("{}{line}: {message}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        match Config::parse(text, Path::new("config.toml")) {
            Ok(_) => panic!("{text} is right"),
            Err(failure) => format!("{failure:?}"),
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_without_secrets() {
        let unknown = error("current = \"a\"\n[contexts.a]\nurl = \"http://a\"\nbearrer = \"s3cret\"\n");
        assert!(unknown.contains("config.toml:4: unknown field `bearrer`, expected one of"), "{unknown}");
        let top = error("\n\ncurent = \"s3cret\"\n");
        assert!(top.contains("config.toml:3: unknown field `curent`"), "{top}");
        for text in [
            "[contexts.a]\nurl = \"http://a\"\nheaders = \"Authorization: s3cret\"\n",
            "[contexts.a]\nurl = \"http://a\"\nbearer = s3cret\n",
            "[contexts.a]\nurl = \"http://a\"\nbearer = \"s3cret\n",
            "[contexts.a]\nurl = \"http://a\"\ninsecure = \"s3cret\"\n",
            "[contexts.a]\nurl = \"http://a\"\nbearer = [\"s3cret\"]\n",
        ] {
            let wrong = error(text);
            assert!(wrong.contains("config.toml:3: ") && !wrong.contains("s3cret"), "{text}: {wrong}");
        }
        assert!(error("[contexts.a]\nbearer = \"s3cret\"\n").contains("missing field `url`"));
    }
}
