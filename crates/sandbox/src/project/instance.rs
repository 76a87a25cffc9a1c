//! SQL instances: a statement that was run, its state and its result. They outlive a restart, with a retention.
//!
//! A client may give a statement an id of its own (`<Guid>`). The same id is the same instance: its statement runs once,
//! whatever is sent under it later. It is on disk before the statement runs, so that not even a crash makes it run again.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::disk;
use super::error::{ApiError, ApiResult, ProjectError};
use super::sql::ResultSet;

/// How many instances are kept; the oldest go first.
const KEPT: usize = 10_000;
/// Largest statement, in bytes.
const SQL_BYTES_MAX: usize = 2 << 20;

/// What became of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It ran; a SELECT has rows.
    Success(Option<ResultSet>),
    /// It failed with this text.
    Failed(String),
}

/// A statement that was run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// The task's name, chosen by the client.
    pub task: String,
    /// The client's own id of it; empty: it gave none.
    #[serde(default)]
    pub guid: String,
    /// The `<Job>` as it was sent.
    pub job: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What became of it.
    pub outcome: Outcome,
}

/// All instances.
pub struct Instances {
    dir: PathBuf,
    known: Mutex<Known>,
}

struct Known {
    by_id: BTreeMap<String, Arc<Instance>>,
    /// Ids by the clients' own. Locked while its statement runs: whoever sends it again waits for that.
    by_guid: BTreeMap<String, Arc<Mutex<Option<String>>>>,
    /// Oldest first.
    order: VecDeque<String>,
}

impl Instances {
    /// Opens what lies under `dir`. An instance that cannot be read is forgotten: it holds no data.
    pub fn open(dir: PathBuf) -> Result<Self, ProjectError> {
        let io = |e| disk::io_error(format!("listing {}", dir.display()))(e);
        fs::create_dir_all(&dir).map_err(io)?;
        let mut found: Vec<Instance> = Vec::new();
        for entry in fs::read_dir(&dir).map_err(io)? {
            let path = entry.map_err(io)?.path();
            match disk::read_json::<Instance>(&path) {
                Ok(instance) => found.push(instance),
                Err(_) => fs::remove_file(&path).map_err(io)?,
            }
        }
        found.sort_by_key(|instance| instance.started);
        let order = found.iter().map(|i| i.id.clone()).collect();
        let guids = found.iter().filter(|i| !i.guid.is_empty());
        let by_guid = guids.map(|i| (i.guid.clone(), Arc::new(Mutex::new(Some(i.id.clone()))))).collect();
        let by_id = found.into_iter().map(|i| (i.id.clone(), Arc::new(i))).collect();
        Ok(Self { dir, known: Mutex::new(Known { by_id, by_guid, order }) })
    }

    /// Runs a statement and keeps what became of it; answers the instance's id. One whose client's id is known already is
    /// not run: its instance is the answer.
    pub fn run(&self, mut instance: Instance, statement: impl FnOnce() -> Outcome) -> ApiResult<String> {
        let slot = match &*instance.guid {
            "" => Arc::default(),
            guid => Arc::clone(self.known.lock().by_guid.entry(guid.to_owned()).or_default()),
        };
        let mut known_as = slot.lock();
        if let Some(id) = &*known_as {
            return Ok(id.clone());
        }
        if !instance.guid.is_empty() {
            disk::write_json(&self.file(&instance.id), &instance)?;
            *known_as = Some(instance.id.clone());
        }
        instance.outcome = statement();
        instance.ended = Timestamp::now();
        let id = instance.id.clone();
        self.keep(instance)?;
        Ok(id)
    }

    fn file(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.json"))
    }

    fn keep(&self, instance: Instance) -> ApiResult<()> {
        let id = instance.id.clone();
        disk::write_json(&self.file(&id), &instance)?;
        let mut known = self.known.lock();
        known.by_id.insert(id.clone(), Arc::new(instance));
        known.order.push_back(id);
        while known.order.len() > KEPT {
            if let Some(oldest) = known.order.pop_front() {
                if let Some(gone) = known.by_id.remove(&oldest) {
                    known.by_guid.remove(&gone.guid);
                }
                fs::remove_file(self.file(&oldest))?;
            }
        }
        Ok(())
    }

    /// One instance.
    pub fn get(&self, id: &str) -> ApiResult<Arc<Instance>> {
        self.known.lock().by_id.get(id).cloned().ok_or_else(|| {
            ApiError::new(404, "NoSuchObject", format!("ODPS-0420065:Instance not found - instance '{id}'"))
        })
    }
}

/// A statement as a client submits it.
#[derive(Debug, PartialEq, Eq)]
pub struct Submission {
    /// The task's name.
    pub task: String,
    /// The client's own id of it; empty: it gave none.
    pub guid: String,
    /// The statement.
    pub sql: String,
    /// Its settings.
    pub settings: BTreeMap<String, String>,
    /// The `<Job>` element.
    pub job: String,
}

#[derive(Deserialize)]
struct XmlInstance {
    #[serde(rename = "Job")]
    job: XmlJob,
}

#[derive(Deserialize)]
struct XmlJob {
    #[serde(rename = "Guid", default)]
    guid: String,
    #[serde(rename = "Tasks")]
    tasks: XmlTasks,
}

#[derive(Deserialize)]
struct XmlTasks {
    #[serde(rename = "SQL")]
    sql: Vec<XmlSql>,
}

#[derive(Deserialize)]
struct XmlSql {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Config", default)]
    config: XmlConfig,
    #[serde(rename = "Query")]
    query: String,
}

#[derive(Deserialize, Default)]
struct XmlConfig {
    #[serde(rename = "Property", default)]
    properties: Vec<XmlProperty>,
}

#[derive(Deserialize)]
struct XmlProperty {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Value", default)]
    value: String,
}

/// Reads the body of `POST /instances`.
///
/// # Errors
/// It is not one SQL task with settings that are a JSON object of texts.
pub fn parse_submission(body: &[u8]) -> ApiResult<Submission> {
    let bad = |message: String| ApiError::new(400, "InvalidParameter", format!("ODPS-0420031:Invalid xml - {message}"));
    let text = std::str::from_utf8(body).map_err(|_| bad("the body is not UTF-8".to_owned()))?;
    let parsed: XmlInstance = quick_xml::de::from_str(text).map_err(|error| bad(error.to_string()))?;
    let XmlJob { guid, tasks } = parsed.job;
    let Ok([task]) = <[XmlSql; 1]>::try_from(tasks.sql) else {
        return Err(bad("want one SQL task".to_owned()));
    };
    if task.query.len() > SQL_BYTES_MAX {
        return Err(bad(format!("a statement of {} bytes, the limit is {SQL_BYTES_MAX}", task.query.len())));
    }
    let settings = match task.config.properties.iter().find(|p| p.name == "settings") {
        Some(property) => {
            serde_json::from_str(&property.value).map_err(|error| bad(format!("settings are not texts: {error}")))?
        }
        None => BTreeMap::new(),
    };
    let begin = text.find("<Job").unwrap_or_default();
    let end = text.rfind("</Job>").map_or(text.len(), |i| i + "</Job>".len());
    Ok(Submission { task: task.name, guid, sql: task.query, settings, job: text[begin..end].to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submission_is_read_and_others_are_refused() {
        let xml = "<?xml version=\"1.0\"?><Instance><Job><Priority>9</Priority><Tasks><SQL><Name>T</Name><Config>\
                   <Property><Name>settings</Name><Value>{\"a\":\"b\"}</Value></Property></Config>\
                   <Query><![CDATA[SELECT '<' ;]]></Query></SQL></Tasks><DAG><RunMode>Sequence</RunMode></DAG></Job></Instance>";
        let read = parse_submission(xml.as_bytes()).expect("read");
        assert_eq!((read.task.as_str(), read.sql.as_str()), ("T", "SELECT '<' ;"));
        assert_eq!(read.settings.get("a").map(String::as_str), Some("b"));
        assert!(read.job.starts_with("<Job>") && read.job.ends_with("</Job>"));
        assert!(parse_submission(b"<Instance><Job><Tasks></Tasks></Job></Instance>").is_err());
        assert!(parse_submission(xml.replace("{\"a\":\"b\"}", "[1]").as_bytes()).is_err());
    }
}
