//! Instances: the service's name for submitted statements. Submits them, waits for them, reads their results and cancels them. A
//! statement must keep its id across repetitions, so that the service never runs it twice.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mms_http::Method;
use mms_http::retry::RetryPolicy;
use tokio::time::Instant;

use crate::csv::SqlRows;
use crate::error::{MaxComputeError, Refusal, RefusalKind};
use crate::project::Project;
use crate::sql::{Statement, TASK};
use crate::transport::{Call, request_id};
use crate::xml::Element;

/// The intervals at which a running instance is polled.
const POLL: RetryPolicy = RetryPolicy {
    first_delay: Duration::from_millis(100),
    max_delay: Duration::from_secs(5),
    factor: 1.5,
    max_attempts: None,
    total: Duration::MAX,
};

/// The id that the service gave an instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct InstanceId(pub String);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The state of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// Waiting, running or suspended.
    Active,
    /// Ended successfully.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Cancelled by somebody.
    Cancelled,
}

impl Project {
    /// Submits a statement, or finds the instance that was created under its id before.
    ///
    /// # Errors
    /// The service's refusal. After an error with [`MaxComputeError::may_have_acted`] the statement may be running; after any
    /// other, none of the requests sent here created an instance.
    pub async fn submit(&self, statement: &Statement) -> Result<InstanceId, MaxComputeError> {
        let body = statement.instance_xml(self.shared.config.compute_quota.as_deref())?;
        let mut call = self.call(Method::POST, &["projects", self.name().as_str(), "instances"]).xml(body);
        if let Some(schema) = &statement.default_schema {
            call = call.param("curr_schema", schema.as_str());
        }
        let doubt = AtomicBool::new(false);
        let note = |error: &MaxComputeError| {
            doubt.fetch_or(error.may_have_acted(), Ordering::Relaxed);
        };
        let response = match self.shared.service.call_watched(&call, note).await {
            // The last request was refused, but an earlier one may have been received.
            Err(error) if doubt.load(Ordering::Relaxed) && !error.may_have_acted() => {
                return Err(MaxComputeError::SubmissionUnknown { statement: statement.id, source: Box::new(error) });
            }
            answer => answer?,
        };
        let id = response.header("location").and_then(|location| location.rsplit('/').next()).unwrap_or_default();
        let id = id.split('?').next().unwrap_or_default();
        if id.is_empty() {
            let why = "there is no instance id in its Location".to_owned();
            return Err(MaxComputeError::Answer { what: call.what(), why, request_id: request_id(&response) });
        }
        Ok(InstanceId(id.to_owned()))
    }

    /// The current state of an instance.
    ///
    /// # Errors
    /// The service's refusal, for example of an unknown instance.
    pub async fn instance_state(&self, id: &InstanceId) -> Result<InstanceState, MaxComputeError> {
        // Only the task's status tells success from failure: the instance's own status says no more than that it ended.
        let call = self.instance_call(Method::GET, id).param("taskstatus", "");
        let root = self.shared.service.xml(&call).await?;
        let Some(task) = root.child("Tasks").and_then(|tasks| tasks.child("Task")) else {
            // The task has not started yet.
            return Ok(InstanceState::Active);
        };
        match task.text_of("Status").unwrap_or_default().to_ascii_uppercase().as_str() {
            "SUCCESS" => Ok(InstanceState::Succeeded),
            "FAILED" => Ok(InstanceState::Failed),
            "CANCELLED" | "CANCELED" => Ok(InstanceState::Cancelled),
            "WAITING" | "RUNNING" | "SUSPENDED" => Ok(InstanceState::Active),
            other => Err(MaxComputeError::Answer {
                what: call.what(),
                why: format!("task status {other:?} is not known"),
                request_id: None,
            }),
        }
    }

    /// Waits until an instance ends, and returns its final state, never [`InstanceState::Active`].
    ///
    /// # Errors
    /// The service's refusal; [`MaxComputeError::StillRunning`] after `limit` (the instance keeps running).
    pub async fn ended(&self, id: &InstanceId, limit: Duration) -> Result<InstanceState, MaxComputeError> {
        let start = Instant::now();
        let mut polls = 0_u32;
        loop {
            let state = self.instance_state(id).await?;
            if state != InstanceState::Active {
                return Ok(state);
            }
            polls = polls.saturating_add(1);
            let pause = POLL.delay(polls, 1.0);
            if start.elapsed() + pause > limit {
                return Err(MaxComputeError::StillRunning { instance: id.to_string(), waited: start.elapsed() });
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits until an instance ends, then returns its rows.
    ///
    /// # Errors
    /// The statement's own error; [`MaxComputeError::StillRunning`] after `limit` (the instance keeps running).
    pub async fn wait(&self, id: &InstanceId, limit: Duration) -> Result<SqlRows, MaxComputeError> {
        self.succeeded(id, limit).await?;
        self.rows(id).await
    }

    /// Waits until an instance ends successfully.
    ///
    /// # Errors
    /// As [`Project::wait`].
    async fn succeeded(&self, id: &InstanceId, limit: Duration) -> Result<(), MaxComputeError> {
        match self.ended(id, limit).await? {
            InstanceState::Failed => Err(self.failure(id).await),
            InstanceState::Cancelled => Err(MaxComputeError::Cancelled { instance: id.to_string() }),
            InstanceState::Succeeded | InstanceState::Active => Ok(()),
        }
    }

    /// Runs a statement and returns its rows. A statement that takes longer than `limit` is cancelled.
    ///
    /// # Errors
    /// As [`Project::submit`] and [`Project::wait`].
    pub async fn run(&self, statement: &Statement, limit: Duration) -> Result<SqlRows, MaxComputeError> {
        let id = self.execute(statement, limit).await?;
        self.rows(&id).await
    }

    /// Runs a statement without reading its rows, which saves a request: two requests if the statement is quick. Cancelled after
    /// `limit`, as in [`Project::run`].
    ///
    /// # Errors
    /// As [`Project::run`].
    pub async fn execute(&self, statement: &Statement, limit: Duration) -> Result<InstanceId, MaxComputeError> {
        let id = self.submit(statement).await?;
        tracing::debug!(instance = %id, statement = %statement.id, "statement submitted");
        let outcome = self.succeeded(&id, limit).await;
        if let Err(MaxComputeError::StillRunning { .. }) = &outcome
            && let Err(error) = self.cancel(&id).await
        {
            tracing::warn!(instance = %id, %error, "cannot cancel a statement at its time limit; it may go on");
        }
        outcome.map(|()| id)
    }

    /// Asks the service to cancel an instance. The instance may still end in another state: ask for it.
    ///
    /// # Errors
    /// The service's refusal. An instance that has ended already is no error.
    pub async fn cancel(&self, id: &InstanceId) -> Result<(), MaxComputeError> {
        let body = "<?xml version=\"1.0\"?><Instance><Status>Terminated</Status></Instance>".to_owned();
        match self.shared.service.call(&self.instance_call(Method::PUT, id).xml(body)).await {
            Ok(_) => Ok(()),
            Err(error) if self.instance_state(id).await.is_ok_and(|state| state != InstanceState::Active) => {
                tracing::debug!(instance = %id, %error, "the instance had ended before it was cancelled");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn instance_call(&self, method: Method, id: &InstanceId) -> Call {
        self.call(method, &["projects", self.name().as_str(), "instances", &id.0])
    }

    async fn result(&self, id: &InstanceId) -> Result<(Call, TaskResult), MaxComputeError> {
        let call = self.instance_call(Method::GET, id).param("result", "");
        let root = self.shared.service.xml(&call).await?;
        match read_result(&root) {
            Ok(result) => Ok((call, result)),
            Err(why) => Err(MaxComputeError::Answer { what: call.what(), why, request_id: None }),
        }
    }

    async fn rows(&self, id: &InstanceId) -> Result<SqlRows, MaxComputeError> {
        let (call, result) = self.result(id).await?;
        match result.format {
            ResultFormat::Text => Ok(SqlRows::default()),
            ResultFormat::Csv => SqlRows::parse(&result.text).map_err(|why| MaxComputeError::Answer {
                what: call.what(),
                why,
                request_id: None,
            }),
        }
    }

    /// Reads why an instance failed. Returns the error of that request if it fails itself.
    pub async fn failure(&self, id: &InstanceId) -> MaxComputeError {
        match self.result(id).await {
            Ok((_, result)) => statement_error(id, &result.text),
            Err(error) => error,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum ResultFormat {
    Csv,
    Text,
}

#[derive(Debug, PartialEq, Eq)]
struct TaskResult {
    format: ResultFormat,
    text: String,
}

fn read_result(root: &Element) -> Result<TaskResult, String> {
    let tasks = root.child("Tasks").ok_or("there are no Tasks in it")?;
    let task = tasks.children("Task").find(|task| task.text_of("Name") == Some(TASK)).or_else(|| tasks.child("Task"));
    let result = task.and_then(|task| task.child("Result")).ok_or("there is no Result in it")?;
    let text = match result.attribute("Transform") {
        Some("Base64") => {
            let packed: String = result.text.split_whitespace().collect();
            let bytes = STANDARD.decode(packed).map_err(|error| format!("its Result: {error}"))?;
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => result.text.clone(),
    };
    let csv = result.attribute("Format").is_some_and(|format| format.eq_ignore_ascii_case("csv"));
    Ok(TaskResult { format: if csv { ResultFormat::Csv } else { ResultFormat::Text }, text })
}

/// Turns the text of a failed statement, such as `ODPS-0130131:[1,15] Table not found - …`, into an error.
fn statement_error(id: &InstanceId, text: &str) -> MaxComputeError {
    let text = mms_http::redact::redact_text(text);
    let (code, message) = match text.find("ODPS-") {
        Some(at) => {
            let end =
                text[at..].find(|c: char| !c.is_ascii_alphanumeric() && c != '-').map_or(text.len(), |len| at + len);
            (text[at..end].to_owned(), text[end..].trim_start_matches(':').trim().to_owned())
        }
        None => ("FAILED".to_owned(), text.trim().to_owned()),
    };
    MaxComputeError::Refused(Box::new(Refusal {
        what: format!("the statement of instance {id}"),
        status: 200,
        kind: RefusalKind::of(200, &code),
        code,
        message,
        request_id: None,
        hold: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_unpacked() {
        let root = Element::parse(&format!(
            "<Instance><Tasks><Task Type=\"SQL\"><Name>{TASK}</Name><Result Transform=\"Base64\" Format=\"csv\"><![CDATA[{}]]></Result></Task></Tasks></Instance>",
            STANDARD.encode("_c0\n42\n")
        ))
        .unwrap();
        let result = read_result(&root).unwrap();
        assert_eq!(result, TaskResult { format: ResultFormat::Csv, text: "_c0\n42\n".into() });
        assert!(read_result(&Element::default()).is_err());
    }

    #[test]
    fn a_failed_statement_tells_its_code() {
        let id = InstanceId("i1".into());
        let error = statement_error(&id, "FAILED: ODPS-0130131:[1,15] Table not found - table p.t");
        assert!(error.is_not_found());
        assert_eq!(
            error.to_string(),
            "the statement of instance i1 was refused: ODPS-0130131 [1,15] Table not found - table p.t"
        );
        assert_eq!(statement_error(&id, "ODPS-0130161:[1,1] Parse").refusal(), Some(RefusalKind::Syntax));
        assert_eq!(statement_error(&id, "what").refusal(), Some(RefusalKind::Invalid));
    }
}
