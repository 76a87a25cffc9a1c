//! The tunnel's JSON: reads the descriptions of sessions.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::metadata::ColumnJson;
use crate::session::SessionState;
use crate::table::Column;

#[derive(Deserialize)]
struct SchemaJson {
    columns: Vec<ColumnJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BlockJson {
    #[serde(rename = "BlockID")]
    block_id: Value,
    record_count: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SessionJson {
    #[serde(rename = "UploadID", alias = "DownloadID")]
    id: Option<String>,
    status: Option<String>,
    schema: Option<SchemaJson>,
    #[serde(default)]
    uploaded_block_list: Vec<BlockJson>,
    record_count: Option<Value>,
}

/// A session, as the server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SessionWire {
    pub id: Option<String>,
    pub state: Option<SessionState>,
    /// Data columns; `None` if the answer does not contain them.
    pub columns: Option<Vec<Column>>,
    /// Number of rows by block; zero if the server does not count them.
    pub blocks: BTreeMap<u32, u64>,
    pub record_count: Option<u64>,
}

impl SessionWire {
    pub fn parse(text: &str) -> Result<Self, String> {
        let json: SessionJson = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let columns = json.schema.map(|schema| schema.columns.iter().map(ColumnJson::read).collect::<Result<_, _>>());
        let mut blocks = BTreeMap::new();
        for block in json.uploaded_block_list {
            let id = number(&block.block_id).and_then(|id| u32::try_from(id).ok());
            let id = id.ok_or_else(|| format!("{} is no block id", block.block_id))?;
            blocks.insert(id, block.record_count.as_ref().and_then(number).unwrap_or(0));
        }
        Ok(Self {
            id: json.id.filter(|id| !id.is_empty()),
            state: json.status.as_deref().map(SessionState::from_word),
            columns: columns.transpose()?,
            blocks,
            record_count: json.record_count.as_ref().and_then(number),
        })
    }
}

/// Some servers send numbers as text.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_read() {
        let session = SessionWire::parse(
            r#"{"UploadID":"U1","Status":"normal","Owner":"o","IsOverwrite":true,"MaxFieldSize":8388608,
                "Schema":{"IsVirtualView":false,"columns":[{"column_id":"","name":"a","type":"bigint","nullable":"true"},
                {"name":"b","type":"map<string,double>","nullable":false}],"partitionKeys":[{"name":"pt","type":"string"}]},
                "UploadedBlockList":[{"BlockID":3,"RecordCount":7},{"BlockID":"4"}]}"#,
        )
        .unwrap();
        assert_eq!((session.id.as_deref(), session.state), (Some("U1"), Some(SessionState::Normal)));
        assert_eq!(session.blocks, BTreeMap::from([(3, 7), (4, 0)]));
        let columns = session.columns.unwrap();
        assert_eq!(columns.iter().map(|c| c.nullable).collect::<Vec<_>>(), [true, false]);
        assert!(SessionWire::parse(r#"{"UploadedBlockList":[{"BlockID":-1}]}"#).is_err());
    }
}
