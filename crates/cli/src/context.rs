//! `bayeux context`

use crate::args::{Access, Context as Options, ContextCommand};
use crate::config::{Config, Context, Editor};
use crate::failure::Failure;
use crate::secrets::Secrets;
use crate::target::shown_url;
use crate::{harmless, output, session};

pub(crate) fn run(options: Options) -> Result<(), Failure> {
    match options.command {
        ContextCommand::Add { name, url, access, replace, and_use } => {
            check_name(&name)?;
            let context = Context::new(url, &access)?;
            // A context that cannot work is not stored. Files may be created later.
            check(&context.url, &access)?;
            let (mut editor, config) = Editor::open()?;
            if config.contexts.contains_key(&name) && !replace {
                return Err(Failure::UsageHint(
                    format!("there is a context {name} already"),
                    "--replace replaces it",
                ));
            }
            editor.insert(&name, &context);
            if and_use {
                editor.make_current(Some(&name));
            }
            editor.save()
        }
        ContextCommand::Ls => list(&Config::read()?),
        ContextCommand::Use { name } => {
            let (mut editor, config) = Editor::open()?;
            config.context(&name)?;
            editor.make_current(Some(&name));
            editor.save()
        }
        ContextCommand::Rm { name } => {
            let (mut editor, config) = Editor::open()?;
            config.context(&name)?;
            editor.remove(&name);
            if config.current.as_deref() == Some(&name) {
                editor.make_current(None);
            }
            editor.save()
        }
        ContextCommand::Show { name } => show(&Config::read()?, name),
    }
}

/// Returns an error if no client can be built from the values that are not in files or the environment.
fn check(url: &str, access: &Access) -> Result<(), Failure> {
    let given = |text: &&String| !text.starts_with('@');
    let literal = Access {
        header: access.header.iter().filter(given).cloned().collect(),
        cookie: access.cookie.iter().filter(given).cloned().collect(),
        ext: access.ext.iter().filter(|text| !text.contains("=@")).cloned().collect(),
        ..Access::default()
    };
    let secrets = Secrets::of(&literal, |option| format!("--{option}"))?;
    session::check(url, &access.fallback_url, &secrets)
}

fn check_name(name: &str) -> Result<(), Failure> {
    if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
        return Ok(());
    }
    Err(Failure::Usage("the name of a context has letters, digits, - and _".to_owned()))
}

fn list(config: &Config) -> Result<(), Failure> {
    let width = config.contexts.keys().map(String::len).max().unwrap_or(0);
    let in_use = config.in_use()?;
    for (name, context) in &config.contexts {
        let mark = if in_use.as_ref() == Some(name) { '*' } else { ' ' };
        let line = format!("{mark} {name:<width$}  {}", shown_url(&context.url));
        output::print(harmless::text(&line))?;
    }
    if config.contexts.is_empty() {
        output::note("there are no contexts; bayeux context add NAME URL adds one");
    }
    Ok(())
}

fn show(config: &Config, name: Option<String>) -> Result<(), Failure> {
    let name = match name {
        Some(name) => Some(name),
        None => config.in_use()?,
    };
    let Some(name) = name else {
        return Err(Failure::UsageHint(
            "no context is in use".to_owned(),
            "bayeux context ls lists them, bayeux context use NAME uses one",
        ));
    };
    let context = config.context(&name)?;
    let access = context.access()?;
    let mut lines = vec![("name", name), ("url", shown_url(&context.url))];
    let mut add = |name, value: Option<String>| lines.extend(value.map(|value| (name, value)));
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    add("bearer", context.bearer.as_ref().map(|_| "…".to_owned()));
    add("bearer-file", path(&access.bearer_file));
    add("bearer-env", access.bearer_env);
    for (name, values, separator) in
        [("header", &access.header, ":"), ("cookie", &access.cookie, "="), ("ext", &access.ext, "=")]
    {
        values.iter().for_each(|text| add(name, Some(masked(text, separator))));
    }
    access.fallback_url.iter().for_each(|url| add("fallback-url", Some(shown_url(url))));
    access.transport.iter().for_each(|transport| add("transport", Some(transport.as_str().to_owned())));
    add("ca", path(&access.ca));
    add("cert", path(&access.cert));
    add("key", path(&access.key));
    add("proxy", access.proxy.map(|proxy| if proxy == "none" { proxy } else { shown_url(&proxy) }));
    add("insecure", access.insecure.then(|| "true".to_owned()));
    add("secure-cookies-over-http", access.secure_cookies_over_http.then(|| "true".to_owned()));
    for (name, value) in lines {
        output::print(harmless::text(&format!("{name:<12}  {value}")))?;
    }
    Ok(())
}

/// The name of a header, cookie or key without its value; the file, if the value is in one.
fn masked(text: &str, separator: &str) -> String {
    if text.starts_with('@') {
        return text.to_owned();
    }
    match text.split_once(separator) {
        Some((name, value)) if value.starts_with('@') => format!("{name}{separator}{value}"),
        Some((name, _)) => format!("{name}{separator} …"),
        None => "…".to_owned(),
    }
}
