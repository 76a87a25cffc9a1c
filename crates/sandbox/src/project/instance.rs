//! SQL instances: a statement, its state and its result. They survive a restart; the oldest beyond 10,000 are deleted.
//!
//! An instance is on disk before its statement runs, so a submission repeated under the same `<Guid>` finds the first
//! instance and never runs the statement again. A statement that was running when the process ended is reported as
//! failed: whether it took effect is not known, and running it again could undo what others did in between.

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

/// How many instances are kept; the oldest are deleted first.
const KEPT: usize = 10_000;
/// Largest statement, in bytes.
const SQL_BYTES_MAX: usize = 2 << 20;
/// The error of a statement that was running when the process ended.
const CUT_SHORT: &str = "ODPS-0010000:System internal error - the project stopped while the statement ran: look whether \
                         it took effect, then submit it under another Guid";

/// The state of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The statement has not finished.
    Running,
    /// The statement succeeded; only a SELECT has rows.
    Success(Option<ResultSet>),
    /// The statement failed with this message.
    Failed(String),
}

/// A statement that runs or ran.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Instance {
    pub id: String,
    /// The client's own id of the submission: submissions with the same id run the statement once.
    #[serde(default)]
    pub guid: Option<String>,
    /// The name of the task, chosen by the client.
    pub task: String,
    /// The `<Job>` as it was sent.
    pub job: String,
    pub started: Timestamp,
    /// `None` while it runs.
    pub ended: Option<Timestamp>,
    pub outcome: Outcome,
}

pub struct Instances {
    dir: PathBuf,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_id: BTreeMap<String, Arc<Instance>>,
    by_guid: BTreeMap<String, String>,
    /// Ids, oldest first.
    order: VecDeque<String>,
}

impl Known {
    fn add(&mut self, instance: Instance) -> Arc<Instance> {
        let instance = Arc::new(instance);
        if let Some(guid) = &instance.guid {
            self.by_guid.insert(guid.clone(), instance.id.clone());
        }
        self.order.push_back(instance.id.clone());
        self.by_id.insert(instance.id.clone(), Arc::clone(&instance));
        instance
    }

    fn remove_oldest(&mut self) -> Option<String> {
        let id = self.order.pop_front()?;
        if let Some(guid) = self.by_id.remove(&id).and_then(|instance| instance.guid.clone()) {
            self.by_guid.remove(&guid);
        }
        Some(id)
    }
}

/// The result of a submission.
pub enum Begun {
    /// A new instance; the caller runs its statement.
    New(Arc<Instance>),
    /// The instance of an earlier submission with the same guid.
    Known(Arc<Instance>),
}

impl Instances {
    /// Opens the instances under `dir`. One that cannot be read is deleted: it holds no table data.
    pub fn open(dir: PathBuf, now: Timestamp) -> Result<Self, ProjectError> {
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
        let mut known = Known::default();
        for mut instance in found {
            if instance.outcome == Outcome::Running {
                (instance.outcome, instance.ended) = (Outcome::Failed(CUT_SHORT.to_owned()), Some(now));
                disk::write_json(&dir.join(format!("{}.json", instance.id)), &instance).map_err(io)?;
            }
            known.add(instance);
        }
        Ok(Self { dir, known: Mutex::new(known) })
    }

    fn write(&self, instance: &Instance) -> ApiResult<()> {
        Ok(disk::write_json(&self.dir.join(format!("{}.json", instance.id)), instance)?)
    }

    /// Stores an instance that is about to run, unless one with its guid exists.
    pub fn begin(&self, instance: Instance) -> ApiResult<Begun> {
        // The lock is held during the write: a repeated submission must not be told of an instance that could still be
        // lost.
        let mut known = self.known.lock();
        let first = instance.guid.as_ref().and_then(|guid| known.by_guid.get(guid)).and_then(|id| known.by_id.get(id));
        if let Some(first) = first {
            return Ok(Begun::Known(Arc::clone(first)));
        }
        self.write(&instance)?;
        let begun = known.add(instance);
        while known.order.len() > KEPT {
            if let Some(oldest) = known.remove_oldest() {
                fs::remove_file(self.dir.join(format!("{oldest}.json")))?;
            }
        }
        Ok(Begun::New(begun))
    }

    /// Stores the outcome of an instance.
    pub fn end(&self, instance: &Instance, ended: Timestamp, outcome: Outcome) -> ApiResult<()> {
        let done = Instance { ended: Some(ended), outcome, ..instance.clone() };
        let mut known = self.known.lock();
        if let Some(kept) = known.by_id.get_mut(&done.id) {
            // In memory the instance ends even if the write fails. After a restart it is then reported as cut short,
            // which is a state that clients must expect anyway.
            *kept = Arc::new(done.clone());
            self.write(&done)?;
        }
        Ok(())
    }

    pub fn get(&self, id: &str) -> ApiResult<Arc<Instance>> {
        self.known.lock().by_id.get(id).cloned().ok_or_else(|| {
            ApiError::new(404, "NoSuchObject", format!("ODPS-0420065:Instance not found - instance '{id}'"))
        })
    }
}

/// A statement as a client submits it.
#[derive(Debug, PartialEq, Eq)]
pub struct Submission {
    pub task: String,
    pub sql: String,
    pub settings: BTreeMap<String, String>,
    /// The client's own id of this submission, from `<Guid>`.
    pub guid: Option<String>,
    /// The `<Job>` element as it was sent.
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
    guid: Option<String>,
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

/// Parses the body of `POST /instances`.
///
/// # Errors
/// The body is not exactly one SQL task, its statement is too long, or its settings are not a JSON object of strings.
pub fn parse_submission(body: &[u8]) -> ApiResult<Submission> {
    let bad = |message: String| ApiError::new(400, "InvalidParameter", format!("ODPS-0420031:Invalid xml - {message}"));
    let text = std::str::from_utf8(body).map_err(|_| bad("the body is not UTF-8".to_owned()))?;
    let parsed: XmlInstance = quick_xml::de::from_str(text).map_err(|error| bad(error.to_string()))?;
    let Ok([task]) = <[XmlSql; 1]>::try_from(parsed.job.tasks.sql) else {
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
    let guid = parsed.job.guid.filter(|guid| !guid.is_empty());
    Ok(Submission { task: task.name, sql: task.query, settings, guid, job: text[begin..end].to_owned() })
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
        assert_eq!(read.guid, None);
        let with = xml.replace("</Priority>", "</Priority><Guid>g-1</Guid>");
        assert_eq!(parse_submission(with.as_bytes()).expect("read").guid.as_deref(), Some("g-1"));
        assert!(read.job.starts_with("<Job>") && read.job.ends_with("</Job>"));
        assert!(parse_submission(b"<Instance><Job><Tasks></Tasks></Job></Instance>").is_err());
        assert!(parse_submission(xml.replace("{\"a\":\"b\"}", "[1]").as_bytes()).is_err());
    }
}
