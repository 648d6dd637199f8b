//! Positional arguments of which the first is optional.

use crate::failure::Failure;

/// The URL, if one is given, and the arguments after it: the first argument is a URL unless it is a channel.
pub(crate) fn before_channel(
    first: Option<String>,
    rest: impl IntoIterator<Item = String>,
) -> (Option<String>, Vec<String>) {
    let rest = rest.into_iter();
    match first {
        Some(channel) if channel.starts_with('/') => (None, std::iter::once(channel).chain(rest).collect()),
        first => (first, rest.collect()),
    }
}

/// The URL, if one is given, and the nickname.
pub(crate) fn before_nickname(
    first: Option<String>,
    second: Option<String>,
) -> (Option<String>, Option<String>) {
    match (first, second) {
        (Some(first), None) if !first.contains("://") => (None, Some(first)),
        given => given,
    }
}

/// The error for a missing argument.
pub(crate) fn missing(what: &str, usage: &'static str) -> Failure {
    Failure::UsageHint(format!("<{what}> is missing"), usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_left_out_if_the_first_argument_is_a_channel() {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let split =
            |first: Option<&str>, rest: &[&str]| before_channel(first.map(str::to_owned), owned(rest));
        assert_eq!(
            split(Some("http://a/"), &["/b", "1"]),
            (Some("http://a/".to_owned()), owned(&["/b", "1"]))
        );
        assert_eq!(split(Some("/b"), &["1"]), (None, owned(&["/b", "1"])));
        assert_eq!(split(Some("b"), &["1"]), (Some("b".to_owned()), owned(&["1"])));
        assert_eq!(split(None, &[]), (None, vec![]));
    }
}
