//! The fields of a JSON object, one by one: what is of no interest is neither parsed nor kept.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The key of a field, which is copied only if it has escapes.
pub(crate) struct Key<'de>(pub(crate) Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a field name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Key(name.into()))
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Key(name.to_owned().into()))
            }
        }

        deserializer.deserialize_identifier(KeyVisitor)
    }
}

/// Calls `visit` with the name and the JSON of each field. `None` when `json` is no object.
pub(crate) fn each_field<'de>(json: &'de str, visit: impl FnMut(&str, &'de str)) -> Option<()> {
    struct Fields<F>(F);

    impl<'de, F: FnMut(&str, &'de str)> Visitor<'de> for Fields<F> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
            while let Some(Key(key)) = object.next_key::<Key<'de>>()? {
                (self.0)(&key, object.next_value::<&'de RawValue>()?.get());
            }
            Ok(())
        }
    }

    serde_json::Deserializer::from_str(json).deserialize_map(Fields(visit)).ok()
}

/// The JSON of one field; the last, if there are several of that name.
pub(crate) fn field<'de>(json: &'de str, name: &str) -> Option<&'de str> {
    let mut found = None;
    each_field(json, |key, value| {
        if key == name {
            found = Some(value);
        }
    })?;
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_wherever_it_stands_and_the_last_counts() {
        assert_eq!(field(r#"{"a":1,"b":{"a":2},"\u0061":[3]}"#, "a"), Some("[3]"));
        assert_eq!(field(r#"{"b":1}"#, "a"), None);
        for json in ["[]", "1", "null", r#""a""#, r#"{"a":1"#, ""] {
            assert_eq!(field(json, "a"), None, "{json}");
        }
    }
}
