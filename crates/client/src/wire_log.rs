//! The wire log: every body and frame as it travels, without secrets, at level `trace` of the target `bayeux::wire`.

use bayeux_proto::printable;
use bytes::Bytes;
use serde_json::Value;

/// Logs a body or frame; `way` is `>` or `<`.
pub(crate) fn log(way: &str, transport: &str, body: &Bytes) {
    if tracing::enabled!(target: "bayeux::wire", tracing::Level::TRACE) {
        let text = match serde_json::from_slice(body) {
            Ok(value) => masked(value).to_string(),
            Err(_) => String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned(),
        };
        tracing::trace!(target: "bayeux::wire", "{way} {transport} {}", printable(&text));
    }
}

/// Hides the ids of sessions, and whatever is called as secrets are called.
fn masked(value: Value) -> Value {
    const SECRETS: [&str; 8] =
        ["clientid", "token", "password", "secret", "authorization", "credential", "session", "apikey"];
    match value {
        Value::Array(items) => items.into_iter().map(masked).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| {
                let name = key.to_ascii_lowercase();
                let secret = SECRETS.iter().any(|secret| name.contains(secret)) && !value.is_null();
                (key, if secret { "…".into() } else { masked(value) })
            })
            .collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let log = masked(
            serde_json::json!([{"clientId": "abc", "ext": {"auth": {"accessToken": "xyz"}}, "data": 1}]),
        );
        assert_eq!(
            log,
            serde_json::json!([{"clientId": "…", "ext": {"auth": {"accessToken": "…"}}, "data": 1}])
        );
    }
}
