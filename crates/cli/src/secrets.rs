//! Headers, cookies, tokens and keys of `ext`, from the command line, from files and from the environment.

use std::io::Read;
use std::path::{Path, PathBuf};

use bayeux::Credentials;
use serde_json::{Map, Value};

use crate::args::Access;
use crate::failure::Failure;

/// The values from one source: the command line, the environment, or a context.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) cookies: Vec<(String, String)>,
    pub(crate) ext: Map<String, Value>,
    pub(crate) bearer: Option<Bearer>,
}

/// A bearer token.
#[derive(Clone)]
pub(crate) struct Bearer {
    pub(crate) token: String,
    /// The file that it was read from, and can be read from again.
    pub(crate) file: Option<PathBuf>,
}

/// The largest file that is read, in bytes: larger than any header or token.
const LARGEST: u64 = 1024 * 1024;

impl Secrets {
    /// The values of options. `named` returns the name of an option for errors.
    pub(crate) fn of(access: &Access, named: impl Fn(&str) -> String) -> Result<Self, Failure> {
        Self::read(access, named, false)
    }

    fn read(access: &Access, named: impl Fn(&str) -> String, one_per_line: bool) -> Result<Self, Failure> {
        let mut secrets = Self::default();
        for header in &access.header {
            let named = named("header");
            for line in lines(header, &named, one_per_line)? {
                secrets.headers.push(pair(&line, ':', &format!("{named}: it is no \"Name: value\""))?);
            }
        }
        for cookie in &access.cookie {
            let named = named("cookie");
            for line in lines(cookie, &named, one_per_line)? {
                secrets.cookies.push(pair(&line, '=', &format!("{named}: it is no name=value"))?);
            }
        }
        for ext in &access.ext {
            let (key, value) = key_and_json(ext, &named("ext"))?;
            secrets.ext.insert(key, value);
        }
        if let Some(file) = &access.bearer_file {
            let token =
                token_in(file).map_err(|why| Failure::Usage(format!("{}: {why}", named("bearer-file"))))?;
            secrets.bearer = Some(Bearer { token, file: Some(file.clone()) });
        }
        if let Some(name) = &access.bearer_env {
            let named = named("bearer-env");
            let Some(token) = variable(name)? else {
                return Err(unset(name, &named));
            };
            secrets.bearer = Some(Bearer { token: token.trim().to_owned(), file: None });
        }
        secrets.checked(&named("bearer"))
    }

    /// The values in the environment.
    pub(crate) fn of_environment() -> Result<Self, Failure> {
        let texts = |name| Ok::<_, Failure>(variable(name)?.into_iter().collect());
        let access = Access {
            header: texts("BAYEUX_HEADERS")?,
            cookie: texts("BAYEUX_COOKIES")?,
            bearer_file: variable("BAYEUX_BEARER_FILE")?.map(PathBuf::from),
            ..Access::default()
        };
        let named = |option: &str| {
            let plural = if matches!(option, "header" | "cookie") { "S" } else { "" };
            format!("BAYEUX_{}{plural}", option.to_ascii_uppercase().replace('-', "_"))
        };
        let mut secrets = Self::read(&access, named, true)?;
        if let Some(token) = variable("BAYEUX_BEARER")? {
            if secrets.bearer.is_some() {
                return Err(Failure::Usage("BAYEUX_BEARER and BAYEUX_BEARER_FILE are both set".to_owned()));
            }
            secrets.bearer = Some(Bearer { token: token.trim().to_owned(), file: None });
        }
        if let Some(ext) = variable("BAYEUX_EXT")? {
            // The parser's error would quote the secret.
            secrets.ext = serde_json::from_str(&ext)
                .map_err(|_| Failure::Usage("BAYEUX_EXT: it is no JSON object".to_owned()))?;
        }
        secrets.checked("BAYEUX_BEARER")
    }

    /// Adds the values of a source with a lower priority: a name that exists keeps its value.
    pub(crate) fn or(mut self, other: Self) -> Self {
        let decided = self.bearer.is_some() || self.has_authorization();
        let headers = other.headers.into_iter().filter(|(name, _)| {
            let replaced = self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
            !(replaced || decided && is_authorization(name))
        });
        let headers: Vec<_> = headers.collect();
        self.headers.extend(headers);
        let cookies = other.cookies.into_iter();
        let cookies: Vec<_> =
            cookies.filter(|(name, _)| !self.cookies.iter().any(|(known, _)| known == name)).collect();
        self.cookies.extend(cookies);
        for (key, value) in other.ext {
            self.ext.entry(key).or_insert(value);
        }
        if !decided {
            self.bearer = other.bearer;
        }
        self
    }

    fn has_authorization(&self) -> bool {
        self.headers.iter().any(|(name, _)| is_authorization(name))
    }

    fn checked(self, named: &str) -> Result<Self, Failure> {
        if let Some(bearer) = &self.bearer {
            if self.has_authorization() {
                return Err(Failure::Usage(format!("{named}: there is a header Authorization, too")));
            }
            if Credentials::bearer(&bearer.token).is_err() {
                return Err(Failure::Usage(format!(
                    "{named}: the token has characters that headers cannot have"
                )));
            }
        }
        Ok(self)
    }
}

impl Bearer {
    /// The token that is in the file now; the previous token if the file cannot be read again, such as a pipe.
    pub(crate) fn renewed(&self) -> String {
        let read = self.file.as_deref().and_then(|file| token_in(file).ok());
        read.unwrap_or_else(|| self.token.clone())
    }
}

/// The name is shown only if it looks like one: it may be the token, given in place of the name.
fn unset(name: &str, named: &str) -> Failure {
    const LONGEST: usize = 40;
    let is_name = name.len() <= LONGEST
        && name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    if is_name {
        return Failure::Usage(format!("{named}: {name} is not set"));
    }
    Failure::UsageHint(
        format!("{named}: no environment variable has this name"),
        "it takes the name of a variable that contains the token, such as SHOP_TOKEN, not the token",
    )
}

fn is_authorization(name: &str) -> bool {
    name.eq_ignore_ascii_case("authorization")
}

/// An environment variable; an empty one counts as unset.
pub(crate) fn variable(name: &str) -> Result<Option<String>, Failure> {
    match std::env::var(name) {
        Ok(text) => Ok(Some(text).filter(|text| !text.trim().is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(Failure::Usage(format!("{name} is not UTF-8"))),
    }
}

/// The text of a file, without its byte order mark.
fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot read {shown}: {error}"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("{shown} is larger than {LARGEST} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8"))?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

/// The token in a file, which contains nothing else.
fn token_in(path: &Path) -> Result<String, String> {
    let text = read(path)?;
    match text.trim() {
        "" => Err(format!("{} is empty", path.display())),
        token if token.contains(['\n', '\r']) => Err(format!("{} has more than one line", path.display())),
        token => Ok(token.to_owned()),
    }
}

/// The values of an option: its text, or for `@FILE` the lines of the file. In the environment, the text has several lines.
fn lines(value: &str, named: &str, one_per_line: bool) -> Result<Vec<String>, Failure> {
    let text = match value.strip_prefix('@') {
        Some(path) => read(Path::new(path)).map_err(|why| Failure::Usage(format!("{named}: {why}")))?,
        // A value that comes from elsewhere must not become a second header.
        None if !one_per_line && value.trim().contains(['\n', '\r']) => {
            return Err(Failure::UsageHint(
                format!("{named}: it has more than one line"),
                "a file can have several, one per line: @FILE",
            ));
        }
        None => value.to_owned(),
    };
    if text.lines().any(|line| line.trim().contains('\r')) {
        return Err(Failure::Usage(format!("{named}: it has a carriage return in a line")));
    }
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn pair(text: &str, separator: char, wrong: &str) -> Result<(String, String), Failure> {
    match text.split_once(separator) {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        // The error does not quote the value, which is a secret.
        _ => Err(Failure::Usage(wrong.to_owned())),
    }
}

/// `KEY=JSON` or `KEY=@FILE`.
fn key_and_json(text: &str, named: &str) -> Result<(String, Value), Failure> {
    let (key, value) = pair(text, '=', &format!("{named}: it is no KEY=JSON"))?;
    let json = match value.strip_prefix('@') {
        Some(path) => read(Path::new(path)).map_err(|why| Failure::Usage(format!("{named}: {why}")))?,
        None => value,
    };
    match serde_json::from_str(&json) {
        Ok(value) => Ok((key, value)),
        // The parser's error may quote the value.
        Err(error) => Err(Failure::UsageHint(
            format!(
                "{named}: the value of {key} is no JSON: line {}, column {}",
                error.line(),
                error.column()
            ),
            "a text is written 'KEY=\"text\"', an object 'KEY={\"name\": 1}', a file KEY=@FILE",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(headers: &[&str], bearer: Option<&str>) -> Secrets {
        Secrets {
            headers: headers.iter().map(|name| ((*name).to_owned(), "v".to_owned())).collect(),
            bearer: bearer.map(|token| Bearer { token: token.to_owned(), file: None }),
            ..Secrets::default()
        }
    }

    #[test]
    fn what_matters_more_replaces_what_has_the_same_name() {
        let names = |secrets: &Secrets| -> Vec<String> {
            secrets.headers.iter().map(|(name, _)| name.clone()).collect()
        };
        let token = |secrets: &Secrets| secrets.bearer.as_ref().map(|bearer| bearer.token.clone());
        let merged = secrets(&["X-A"], Some("1")).or(secrets(&["x-a", "X-B", "authorization"], None));
        assert_eq!(
            (names(&merged), token(&merged)),
            (vec!["X-A".to_owned(), "X-B".to_owned()], Some("1".to_owned()))
        );
        let merged = secrets(&["Authorization"], None).or(secrets(&[], Some("2")));
        assert_eq!((names(&merged), token(&merged)), (vec!["Authorization".to_owned()], None));
        let merged = secrets(&[], None).or(secrets(&[], Some("2"))).or(secrets(&[], Some("3")));
        assert_eq!(token(&merged), Some("2".to_owned()));
    }

    #[test]
    fn ext_takes_json_and_says_where_it_is_none_without_showing_it() {
        let (key, value) = key_and_json(r#"auth={"a": [1]}"#, "--ext").unwrap();
        assert_eq!((key.as_str(), value), ("auth", serde_json::json!({"a": [1]})));
        for wrong in ["auth", "=1", "auth=s3cret", "auth={\"s3cret\"}", "auth=@/no/such/s3-file"] {
            let failure = format!("{:?}", key_and_json(wrong, "--ext").unwrap_err());
            assert!(failure.contains("--ext: ") && !failure.contains("s3cret"), "{failure}");
        }
    }
}
