//! Advice: how the server tells a client to behave next.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::object;

/// What to do after a connect ended (Bayeux specification, section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reconnect {
    /// Send the next `/meta/connect`.
    Retry,
    /// The session no longer exists: handshake again.
    Handshake,
    /// Stop: neither connect nor handshake.
    None,
}

impl Reconnect {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Handshake => "handshake",
            Self::None => "none",
        }
    }

    /// An unknown value stops the client: the specification forbids to retry on it.
    fn from_wire(word: &str) -> Self {
        match word {
            "retry" => Self::Retry,
            "handshake" => Self::Handshake,
            _ => Self::None,
        }
    }
}

/// How long to wait between the end of one connect and the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interval {
    /// At least this long.
    Wait(Duration),
    /// The server sent a negative interval: do not connect again.
    Never,
}

/// The advice of a server, as far as it was given; on a request, what the client asks for.
///
/// Absent fields say nothing: [`Advice::merge`] keeps what was known before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Advice {
    /// What to do after a connect ended.
    pub reconnect: Option<Reconnect>,
    /// The shortest pause between connects.
    pub interval: Option<Interval>,
    /// How long the server holds a connect that has nothing to deliver.
    pub timeout: Option<Duration>,
    /// How long the server keeps a session that does not connect (CometD's `maxInterval`).
    pub max_interval: Option<Duration>,
    /// The server saw several sessions of one browser.
    pub multiple_clients: Option<bool>,
    /// Other servers that could be used. Never followed by itself.
    pub hosts: Option<Vec<String>>,
}

impl Advice {
    /// Takes over each field that `newer` has.
    pub fn merge(&mut self, newer: &Advice) {
        fn take<T: Clone>(old: &mut Option<T>, new: &Option<T>) {
            if new.is_some() {
                old.clone_from(new);
            }
        }
        take(&mut self.reconnect, &newer.reconnect);
        take(&mut self.interval, &newer.interval);
        take(&mut self.timeout, &newer.timeout);
        take(&mut self.max_interval, &newer.max_interval);
        take(&mut self.multiple_clients, &newer.multiple_clients);
        take(&mut self.hosts, &newer.hosts);
    }

    /// Reads an advice object; a field of a wrong type counts as absent, and so does anything but an object.
    pub(crate) fn from_json(json: &str) -> Option<Self> {
        /// A number or a word takes no more; a list of servers may. More than that is not read.
        const LONGEST: usize = 64;
        const LONGEST_LIST: usize = 16 * 1024;
        /// What is short as a whole is read as a whole, which is quicker.
        const SHORT: usize = 512;
        let mut fields = Map::new();
        if json.len() <= SHORT {
            fields = serde_json::from_str(json).ok()?;
        } else {
            object::each_field(json, |name, value| {
                let longest = if name == "hosts" { LONGEST_LIST } else { LONGEST };
                let known = ["reconnect", "interval", "timeout", "maxInterval", "multiple-clients", "hosts"];
                if known.contains(&name) {
                    let value = if value.len() <= longest { serde_json::from_str(value).ok() } else { None };
                    fields.insert(name.to_owned(), value.unwrap_or_default());
                }
            })?;
        }
        let millis = |name: &str| fields.get(name).and_then(number);
        let span = |name: &str| millis(name).filter(|ms| *ms >= 0.0).map(duration);
        Some(Self {
            reconnect: fields.get("reconnect").and_then(Value::as_str).map(Reconnect::from_wire),
            interval: millis("interval")
                .map(|ms| if ms < 0.0 { Interval::Never } else { Interval::Wait(duration(ms)) }),
            timeout: span("timeout"),
            max_interval: span("maxInterval"),
            multiple_clients: fields.get("multiple-clients").and_then(Value::as_bool),
            hosts: fields
                .get("hosts")
                .and_then(Value::as_array)
                .map(|hosts| hosts.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        })
    }

    /// The object on the wire, in milliseconds.
    pub(crate) fn to_json(&self) -> Value {
        let mut fields = Map::new();
        let millis = |span: Duration| Value::from(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        if let Some(reconnect) = self.reconnect {
            fields.insert("reconnect".into(), reconnect.as_str().into());
        }
        if let Some(interval) = self.interval {
            let value = match interval {
                Interval::Wait(span) => millis(span),
                Interval::Never => (-1).into(),
            };
            fields.insert("interval".into(), value);
        }
        if let Some(timeout) = self.timeout {
            fields.insert("timeout".into(), millis(timeout));
        }
        if let Some(max_interval) = self.max_interval {
            fields.insert("maxInterval".into(), millis(max_interval));
        }
        if let Some(multiple) = self.multiple_clients {
            fields.insert("multiple-clients".into(), multiple.into());
        }
        if let Some(hosts) = &self.hosts {
            fields.insert("hosts".into(), hosts.clone().into());
        }
        Value::Object(fields)
    }
}

/// Some servers send numbers as strings.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|n| n.is_finite())
}

/// A century is for ever; more would only overflow somewhere.
fn duration(ms: f64) -> Duration {
    const CENTURY_MS: f64 = 100.0 * 365.25 * 86_400_000.0;
    let ms = ms.min(CENTURY_MS);
    // Whole milliseconds are exact, so that what is written is what was read.
    Duration::from_millis(ms.trunc() as u64) + Duration::from_secs_f64(ms.fract() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(json: &str) -> Option<Advice> {
        Advice::from_json(json)
    }

    #[test]
    fn times_are_milliseconds_and_odd_values_do_no_harm() {
        let read =
            advice(r#"{"reconnect":"retry","interval":2000,"timeout":"30000","maxInterval":1e300,"x":1}"#)
                .unwrap();
        assert_eq!(read.reconnect, Some(Reconnect::Retry));
        assert_eq!(read.interval, Some(Interval::Wait(Duration::from_secs(2))));
        assert_eq!(read.timeout, Some(Duration::from_secs(30)));
        assert!(read.max_interval.is_some());
        assert_eq!(advice(r#"{"interval":-1}"#).unwrap().interval, Some(Interval::Never));
        assert_eq!(advice(r#"{"timeout":-5,"interval":{},"reconnect":7}"#), Some(Advice::default()));
        assert_eq!(advice(r#"{"reconnect":"perhaps"}"#).unwrap().reconnect, Some(Reconnect::None));
        assert_eq!(advice("[]"), None);
    }

    #[test]
    fn whole_milliseconds_are_exact_however_many() {
        for ms in [0, 1, 1001, 3_000_000_000_003, 3_155_759_999_999] {
            let read = advice(&format!(r#"{{"timeout":{ms}}}"#)).unwrap();
            assert_eq!(read.timeout, Some(Duration::from_millis(ms)));
            assert_eq!(read.to_json()["timeout"], ms);
        }
    }

    #[test]
    fn a_part_leaves_the_rest_as_it_was() {
        let mut known = advice(r#"{"reconnect":"retry","timeout":30000,"interval":0}"#).unwrap();
        known.merge(&advice(r#"{"reconnect":"handshake"}"#).unwrap());
        assert_eq!(known.reconnect, Some(Reconnect::Handshake));
        assert_eq!(known.timeout, Some(Duration::from_secs(30)));
        assert_eq!(advice(&known.to_json().to_string()), Some(known));
    }
}
