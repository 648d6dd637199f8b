//! The forms of events, generic over the user's record.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The event of a PushTopic (`/topic/…`): a record that the query of the topic selects has changed.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct PushTopicEvent<T> {
    /// What happened.
    pub event: PushTopicChange,
    /// The fields of the record that the query selects.
    pub sobject: T,
}

/// What happened to a record.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PushTopicChange {
    /// When, as ISO 8601 text.
    #[serde(default)]
    pub created_date: Option<String>,
    /// The id of the event.
    pub replay_id: i64,
    /// `created`, `updated`, `deleted` or `undeleted`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A generic event (`/u/…`).
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct GenericEvent<T = String> {
    /// When, and its id.
    pub event: EventInfo,
    /// The payload, mostly text.
    pub payload: T,
}

/// A platform event (`/event/…`).
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct PlatformEvent<T> {
    /// The id of the schema of the payload.
    #[serde(default)]
    pub schema: Option<String>,
    /// The fields of the event.
    pub payload: T,
    /// Its id.
    pub event: EventInfo,
}

/// The id of an event, and when it was made.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct EventInfo {
    /// When, as ISO 8601 text.
    #[serde(default)]
    pub created_date: Option<String>,
    /// The id of the event.
    pub replay_id: i64,
}

/// An event of change data capture (`/data/…`).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChangeEvent<T> {
    /// The id of the schema of the payload.
    pub schema: Option<String>,
    /// What has changed, when and by whom.
    pub header: ChangeHeader,
    /// The fields that came with the change. `None` if there are none: in gap and overflow events, and mostly when a record was
    /// deleted.
    pub record: Option<T>,
    /// Its id.
    pub event: EventInfo,
}

/// The `ChangeEventHeader` of a change.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ChangeHeader {
    /// The kind of record, such as `Account`.
    pub entity_name: String,
    /// The records that have changed; several if the same change was made to all of them.
    #[serde(default)]
    pub record_ids: Vec<String>,
    /// What happened.
    pub change_type: ChangeType,
    /// The API or program that made the change.
    #[serde(default)]
    pub change_origin: String,
    /// The transaction. Together with `sequence_number` it identifies the change, whatever its replay id is.
    #[serde(default)]
    pub transaction_key: String,
    /// The place of the change in its transaction, from 1 on.
    #[serde(default)]
    pub sequence_number: i64,
    /// When the transaction was committed, in milliseconds since 1970.
    pub commit_timestamp: i64,
    /// The number of the commit, which rises with each.
    #[serde(default)]
    pub commit_number: i64,
    /// The id of the user who made the change.
    #[serde(default)]
    pub commit_user: String,
    /// The fields that were set to a value.
    #[serde(default)]
    pub changed_fields: Vec<String>,
    /// The fields that were set to null.
    #[serde(default)]
    pub nulled_fields: Vec<String>,
    /// The fields of which only the difference was sent.
    #[serde(default)]
    pub diff_fields: Vec<String>,
}

/// What happened to a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChangeType {
    /// It was made.
    Create,
    /// It was changed.
    Update,
    /// It was deleted.
    Delete,
    /// It was taken out of the recycle bin.
    Undelete,
    /// It was made, and the event has no fields: read the record.
    GapCreate,
    /// It was changed, and the event has no fields: read the record.
    GapUpdate,
    /// It was deleted, and the event has no fields.
    GapDelete,
    /// It was taken out of the recycle bin, and the event has no fields: read the record.
    GapUndelete,
    /// So much was changed in one transaction that changes beyond the first 100,000 have no events of their own: read all records of
    /// that kind.
    GapOverflow,
    /// Another word.
    Other(String),
}

impl ChangeType {
    /// Whether the event stands for a change whose fields are to be read from the org.
    pub fn is_gap(&self) -> bool {
        matches!(
            self,
            Self::GapCreate | Self::GapUpdate | Self::GapDelete | Self::GapUndelete | Self::GapOverflow
        )
    }

    /// Whether the event stands for more changes than have events.
    pub fn is_overflow(&self) -> bool {
        *self == Self::GapOverflow
    }
}

impl<'de> Deserialize<'de> for ChangeType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Ok(match &*word {
            "CREATE" => Self::Create,
            "UPDATE" => Self::Update,
            "DELETE" => Self::Delete,
            "UNDELETE" => Self::Undelete,
            "GAP_CREATE" => Self::GapCreate,
            "GAP_UPDATE" => Self::GapUpdate,
            "GAP_DELETE" => Self::GapDelete,
            "GAP_UNDELETE" => Self::GapUndelete,
            "GAP_OVERFLOW" => Self::GapOverflow,
            _ => Self::Other(word),
        })
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for ChangeEvent<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Envelope {
            #[serde(default)]
            schema: Option<String>,
            payload: serde_json::Map<String, Value>,
            event: EventInfo,
        }
        use serde::de::Error;
        let Envelope { schema, mut payload, event } = Envelope::deserialize(deserializer)?;
        let header =
            payload.remove("ChangeEventHeader").ok_or_else(|| Error::missing_field("ChangeEventHeader"))?;
        let header: ChangeHeader = serde_json::from_value(header).map_err(Error::custom)?;
        let may_be_empty = header.change_type.is_gap() || header.change_type == ChangeType::Delete;
        let record = match serde_json::from_value(Value::Object(payload)) {
            Ok(record) => Some(record),
            Err(_) if may_be_empty => None,
            Err(error) => return Err(Error::custom(error)),
        };
        Ok(Self { schema, header, record, event })
    }
}
