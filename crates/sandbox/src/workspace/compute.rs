//! The workspace's only cluster and only SQL warehouse, which are always running.

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use super::objects::{Query, required};
use super::{CLUSTER_ID, USER_NAME, WAREHOUSE_ID};

fn cluster() -> Value {
    json!({
        "cluster_id": CLUSTER_ID,
        "cluster_name": "sandbox",
        "creator_user_name": USER_NAME,
        "spark_version": "15.4.x-scala2.12",
        "data_security_mode": "USER_ISOLATION",
        "state": "RUNNING",
        "state_message": "",
        "num_workers": 0,
    })
}

pub fn check(cluster_id: &str) -> Result<(), Refusal> {
    match cluster_id {
        CLUSTER_ID => Ok(()),
        _ => Err(Refusal::invalid(format!("Cluster {cluster_id} does not exist"))),
    }
}

pub fn check_warehouse(warehouse_id: &str) -> Result<(), Refusal> {
    match warehouse_id {
        WAREHOUSE_ID => Ok(()),
        _ => Err(Refusal::missing("SQL warehouse", warehouse_id)),
    }
}

pub fn get(query: &Query) -> Answer {
    check(required(query, "cluster_id")?)?;
    Ok(cluster())
}

pub fn list() -> Answer {
    Ok(json!({ "clusters": [cluster()] }))
}

pub fn start(body: &[u8]) -> Answer {
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, "MALFORMED_REQUEST", format!("Bad JSON: {error}")))?;
    check(body.get("cluster_id").and_then(Value::as_str).unwrap_or_default())?;
    let message = format!("Cluster {CLUSTER_ID} is in unexpected state Running.");
    Err(Refusal::new(StatusCode::BAD_REQUEST, "INVALID_STATE", message))
}
