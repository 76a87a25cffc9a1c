//! The tunnel endpoint: upload and download sessions.

pub mod block;
pub mod download;
pub mod pipe;
mod session_log;
pub mod upload;
pub mod uploads;

use serde_json::{Value, json};

use super::error::{ApiError, ApiResult};
use super::partition::{PartKey, key_of, parse_tunnel};
use super::request::Params;
use super::schema::{Column, TableMeta};
use super::type_text::type_text;

/// The partition that a tunnel request addresses; empty for a table without partitions.
pub fn addressed(meta: &TableMeta, params: &Params) -> ApiResult<PartKey> {
    match (params.get("partition").filter(|p| !p.is_empty()), meta.partition_columns.is_empty()) {
        (None, true) => Ok(PartKey::new()),
        (Some(spec), false) => key_of(meta, &parse_tunnel(spec)?),
        (None, false) => {
            Err(ApiError::new(400, "MissingPartitionSpec", format!("table {} has partitions: name one", meta.name)))
        }
        (Some(spec), true) => {
            Err(ApiError::new(400, "InvalidPartitionSpec", format!("table {} has no partitions: {spec}", meta.name)))
        }
    }
}

/// A table's schema in the form of session answers.
pub fn schema_json(columns: &[Column], partition_columns: &[Column]) -> Value {
    let describe = |columns: &[Column]| -> Vec<Value> {
        let one = |(i, c): (usize, &Column)| {
            json!({
                "column_id": i.to_string(),
                "name": c.name,
                "type": type_text(&c.data_type),
                "comment": c.comment.clone().unwrap_or_default(),
                "nullable": c.nullable,
            })
        };
        columns.iter().enumerate().map(one).collect()
    };
    json!({"columns": describe(columns), "partitionKeys": describe(partition_columns), "IsVirtualView": false})
}
