//! The JSON of the Storage API, as requests write it and answers are read.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::metadata::column;
use crate::session::SessionState;
use crate::table::{Column, PartitionSpec};

/// The body of the request that creates a write session.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct WriteRequest {
    /// `k=v,k=v`; empty for a table without partitions.
    partition_spec: String,
    overwrite: bool,
    dynamic_partition_options: DynamicPartitions,
    arrow_options: ArrowOptions,
    support_write_cluster: bool,
    enhance_write_check: bool,
}

/// Has no effect on a session of one partition, but every client sends it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DynamicPartitions {
    invalid_strategy: &'static str,
    invalid_limit: u32,
    dynamic_partition_limit: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ArrowOptions {
    timestamp_unit: &'static str,
    datetime_unit: &'static str,
}

impl WriteRequest {
    /// A session that replaces the rows of exactly this partition, or of the whole table, with timestamps in microseconds.
    pub fn overwrite(partition: Option<&PartitionSpec>) -> Self {
        Self {
            partition_spec: partition.map(ToString::to_string).unwrap_or_default(),
            overwrite: true,
            dynamic_partition_options: DynamicPartitions {
                invalid_strategy: "Exception",
                invalid_limit: 1,
                dynamic_partition_limit: 512,
            },
            arrow_options: ArrowOptions { timestamp_unit: "micro", datetime_unit: "milli" },
            support_write_cluster: false,
            enhance_write_check: true,
        }
    }
}

/// The body of the request that commits a session.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CommitRequest<'a> {
    pub commit_messages: &'a [String],
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ColumnJson {
    name: String,
    #[serde(rename = "Type")]
    type_text: String,
    comment: Option<String>,
    nullable: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SchemaJson {
    data_columns: Vec<ColumnJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SessionJson {
    session_id: Option<String>,
    session_status: Option<String>,
    max_block_number: Option<u32>,
    data_schema: Option<SchemaJson>,
}

/// A session as the server describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SessionWire {
    pub id: Option<String>,
    pub state: Option<SessionState>,
    /// Number of blocks that the session accepts.
    pub blocks: Option<u32>,
    /// Data columns; `None` if the answer does not contain them.
    pub columns: Option<Vec<Column>>,
}

impl SessionWire {
    pub fn parse(text: &str) -> Result<Self, String> {
        let json: SessionJson = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let read = |json: &ColumnJson| column(&json.name, &json.type_text, json.nullable.as_ref(), &json.comment);
        let columns = json.data_schema.map(|schema| schema.data_columns.iter().map(read).collect::<Result<_, _>>());
        Ok(Self {
            id: json.session_id.filter(|id| !id.is_empty()),
            state: json.session_status.as_deref().map(SessionState::from_word),
            blocks: json.max_block_number.filter(|blocks| *blocks > 0),
            columns: columns.transpose()?,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BlockJson {
    commit_message: String,
}

/// The commit message in the answer to an attempt at a block.
pub(super) fn commit_message(answer: &[u8]) -> Result<String, String> {
    serde_json::from_slice::<BlockJson>(answer)
        .map(|json| json.commit_message)
        .map_err(|error| error.to_string())
        .and_then(|message| if message.is_empty() { Err("its CommitMessage is empty".to_owned()) } else { Ok(message) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::ColumnName;

    #[test]
    fn a_session_is_asked_for_as_every_client_does() {
        let spec = PartitionSpec(vec![(ColumnName::new("pt").unwrap(), "1".to_owned())]);
        let json = serde_json::to_value(WriteRequest::overwrite(Some(&spec))).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "PartitionSpec": "pt=1", "Overwrite": true, "SupportWriteCluster": false, "EnhanceWriteCheck": true,
                "DynamicPartitionOptions":
                    {"InvalidStrategy": "Exception", "InvalidLimit": 1, "DynamicPartitionLimit": 512},
                "ArrowOptions": {"TimestampUnit": "micro", "DatetimeUnit": "milli"},
            })
        );
    }

    #[test]
    fn a_session_is_read() {
        let wire = SessionWire::parse(
            r#"{"SessionId":"S1","SessionStatus":"COMMITTED","ExpirationTime":1700000000000,"MaxBlockNumber":100,
                "DataSchema":{"DataColumns":[{"Name":"a","Type":"bigint","Comment":"","Nullable":false},
                {"Name":"at","Type":"timestamp_ntz"}],"PartitionColumns":[{"Name":"pt","Type":"string"}]},
                "SupportedDataFormat":[{"Type":"ARROW","Version":"V5"}],"RequiredOrdering":[]}"#,
        )
        .unwrap();
        assert_eq!((wire.id.as_deref(), wire.state, wire.blocks), (Some("S1"), Some(SessionState::Closed), Some(100)));
        let columns = wire.columns.unwrap();
        assert_eq!(columns.iter().map(|column| column.nullable).collect::<Vec<_>>(), [false, true]);
        assert_eq!(SessionWire::parse("{}").unwrap(), SessionWire::default());
    }

    #[test]
    fn an_attempt_without_a_message_cannot_be_committed() {
        assert_eq!(commit_message(br#"{"CommitMessage":"m"}"#).unwrap(), "m");
        for answer in [&br#"{"CommitMessage":""}"#[..], b"{}", b""] {
            assert!(commit_message(answer).is_err());
        }
    }
}
