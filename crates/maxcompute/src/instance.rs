//! Instances: statements that the service runs. Made, watched, read and stopped here.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mms_http::retry::RetryPolicy;
use mms_http::{Method, StatusCode};
use tokio::time::Instant;

use crate::csv::SqlRows;
use crate::error::{MaxComputeError, Refusal, RefusalKind};
use crate::project::Project;
use crate::sql::{Statement, TASK};
use crate::transport::{Call, request_id, text};
use crate::xml::Element;

/// How often a running instance is asked for its state.
const POLL: RetryPolicy = RetryPolicy {
    first_delay: Duration::from_millis(100),
    max_delay: Duration::from_secs(5),
    factor: 1.5,
    max_attempts: None,
    total: Duration::MAX,
};

/// The id by which the service knows an instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct InstanceId(pub String);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// Waiting, running or suspended.
    Active,
    /// Ended well.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Stopped by somebody.
    Cancelled,
}

impl InstanceState {
    /// Reads the service's word for the state of a task, in any case; none for a word that this client does not know.
    fn from_word(word: &str) -> Option<Self> {
        match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => Some(Self::Succeeded),
            "FAILED" => Some(Self::Failed),
            "CANCELLED" | "CANCELED" => Some(Self::Cancelled),
            "WAITING" | "RUNNING" | "SUSPENDED" => Some(Self::Active),
            _ => None,
        }
    }
}

/// An instance that was submitted. A statement that ended while the service held the answer back needs no further requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// The instance.
    pub id: InstanceId,
    /// How it ended, if the answer said so: never [`InstanceState::Active`].
    ended: Option<(InstanceState, TaskResult)>,
}

impl From<InstanceId> for Submitted {
    /// An instance of which nothing else is known: its state and its result are asked for.
    fn from(id: InstanceId) -> Self {
        Self { id, ended: None }
    }
}

impl Project {
    /// Creates the instance of a statement, or finds the one that was created under the statement's id.
    ///
    /// The service is asked to hold its answer until a quick statement has ended (`tryWait`, as the Java SDK names it). An
    /// answer 200 then carries the result; any other means that the instance runs on.
    ///
    /// # Errors
    /// Refusals. After an error with [`MaxComputeError::may_have_acted`] the statement may be running; without, none of the
    /// requests that were sent here made an instance.
    pub async fn submit(&self, statement: &Statement) -> Result<Submitted, MaxComputeError> {
        let body = statement.instance_xml(self.shared.config.compute_quota.as_deref())?;
        let path = ["projects", self.name().as_str(), "instances"];
        let mut call = self.call(Method::POST, &path).param("tryWait", "").xml(body);
        if let Some(schema) = &statement.default_schema {
            call = call.param("curr_schema", schema.as_str());
        }
        let doubt = AtomicBool::new(false);
        let note = |error: &MaxComputeError| {
            doubt.fetch_or(error.may_have_acted(), Ordering::Relaxed);
        };
        let response = match self.shared.service.call_watched(&call, note).await {
            // The last request was refused, but one before it may have been received.
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
        let id = InstanceId(id.to_owned());
        // A body that cannot be read tells nothing: the instance is there and can be asked.
        let told = if response.status() == StatusCode::OK { text(&call, response).await.ok() } else { None };
        let ended = told.as_deref().and_then(ended_with);
        Ok(Submitted { id, ended })
    }

    /// Where an instance stands now.
    ///
    /// # Errors
    /// Refusals, such as an unknown instance.
    pub async fn instance_state(&self, id: &InstanceId) -> Result<InstanceState, MaxComputeError> {
        // The one task tells it alone: the instance's own status says no more than that the task ended.
        let call = self.instance_call(Method::GET, id).param("taskstatus", "");
        let root = self.shared.service.xml(&call).await?;
        let Some(task) = root.child("Tasks").and_then(|tasks| tasks.child("Task")) else {
            // Not begun yet.
            return Ok(InstanceState::Active);
        };
        let word = task.text_of("Status").unwrap_or_default();
        InstanceState::from_word(word).ok_or_else(|| MaxComputeError::Answer {
            what: call.what(),
            why: format!("task status {word:?} is not known"),
            request_id: None,
        })
    }

    /// Waits until an instance ends; tells how, which is not [`InstanceState::Active`].
    ///
    /// # Errors
    /// Refusals; [`MaxComputeError::StillRunning`] after `limit` (the instance goes on).
    pub async fn ended(&self, instance: &Submitted, limit: Duration) -> Result<InstanceState, MaxComputeError> {
        if let Some((state, _)) = &instance.ended {
            return Ok(*state);
        }
        let start = Instant::now();
        let mut polls = 0_u32;
        loop {
            let state = self.instance_state(&instance.id).await?;
            if state != InstanceState::Active {
                return Ok(state);
            }
            polls = polls.saturating_add(1);
            let pause = POLL.delay(polls, 1.0);
            if start.elapsed() + pause > limit {
                return Err(MaxComputeError::StillRunning {
                    instance: instance.id.to_string(),
                    waited: start.elapsed(),
                });
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits until an instance ends, then gives its rows.
    ///
    /// # Errors
    /// The statement's own error; [`MaxComputeError::StillRunning`] after `limit` (the instance goes on).
    pub async fn wait(&self, instance: &Submitted, limit: Duration) -> Result<SqlRows, MaxComputeError> {
        self.succeeded(instance, limit).await?;
        self.rows(instance).await
    }

    /// Waits until an instance ends well.
    ///
    /// # Errors
    /// As [`Project::wait`].
    async fn succeeded(&self, instance: &Submitted, limit: Duration) -> Result<(), MaxComputeError> {
        match self.ended(instance, limit).await? {
            InstanceState::Failed => Err(self.failure(instance).await),
            InstanceState::Cancelled => Err(MaxComputeError::Cancelled { instance: instance.id.to_string() }),
            InstanceState::Succeeded | InstanceState::Active => Ok(()),
        }
    }

    /// Runs a statement to its end and gives its rows; one that takes longer than `limit` is stopped.
    ///
    /// # Errors
    /// As [`Project::submit`] and [`Project::wait`].
    pub async fn run(&self, statement: &Statement, limit: Duration) -> Result<SqlRows, MaxComputeError> {
        let instance = self.execute(statement, limit).await?;
        self.rows(&instance).await
    }

    /// Runs a statement to its end without reading its rows: a statement that returns none, or whose rows nobody wants.
    ///
    /// # Errors
    /// As [`Project::run`].
    pub async fn execute(&self, statement: &Statement, limit: Duration) -> Result<Submitted, MaxComputeError> {
        let instance = self.submit(statement).await?;
        tracing::debug!(instance = %instance.id, statement = %statement.id, "statement submitted");
        let outcome = self.succeeded(&instance, limit).await;
        if let Err(MaxComputeError::StillRunning { .. }) = &outcome
            && let Err(error) = self.cancel(&instance.id).await
        {
            tracing::warn!(instance = %instance.id, %error, "a statement that took too long could not be stopped");
        }
        outcome.map(|()| instance)
    }

    /// Asks the service to stop an instance. It may still end otherwise: ask for its state.
    ///
    /// # Errors
    /// Refusals; an instance that ended already is no error.
    pub async fn cancel(&self, id: &InstanceId) -> Result<(), MaxComputeError> {
        let body = "<?xml version=\"1.0\"?><Instance><Status>Terminated</Status></Instance>".to_owned();
        match self.shared.service.call(&self.instance_call(Method::PUT, id).xml(body)).await {
            Ok(_) => Ok(()),
            Err(error) if self.instance_state(id).await.is_ok_and(|state| state != InstanceState::Active) => {
                tracing::debug!(instance = %id, %error, "the instance had ended before it was stopped");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn instance_call(&self, method: Method, id: &InstanceId) -> Call {
        self.call(method, &["projects", self.name().as_str(), "instances", &id.0])
    }

    async fn result(&self, instance: &Submitted) -> Result<TaskResult, MaxComputeError> {
        if let Some((_, result)) = &instance.ended {
            return Ok(result.clone());
        }
        let call = self.instance_call(Method::GET, &instance.id).param("result", "");
        let root = self.shared.service.xml(&call).await?;
        read_result(&root).map_err(|why| MaxComputeError::Answer { what: call.what(), why, request_id: None })
    }

    async fn rows(&self, instance: &Submitted) -> Result<SqlRows, MaxComputeError> {
        let result = self.result(instance).await?;
        match result.format {
            ResultFormat::Text => Ok(SqlRows::default()),
            ResultFormat::Csv => SqlRows::parse(&result.text).map_err(|why| MaxComputeError::Answer {
                what: format!("the result of instance {}", instance.id),
                why,
                request_id: None,
            }),
        }
    }

    /// Why an instance failed.
    pub async fn failure(&self, instance: &Submitted) -> MaxComputeError {
        match self.result(instance).await {
            Ok(result) => statement_error(&instance.id, &result.text),
            Err(error) => error,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum ResultFormat {
    Csv,
    Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct TaskResult {
    format: ResultFormat,
    text: String,
}

/// Reads the end of a statement from the answer to its submission. None unless it says both that the task has ended and with
/// which result: whoever needs them asks the instance then.
fn ended_with(body: &str) -> Option<(InstanceState, TaskResult)> {
    let root = Element::parse(body).ok()?;
    let state = InstanceState::from_word(our_task(&root)?.text_of("Status")?)?;
    let result = read_result(&root).ok()?;
    (state != InstanceState::Active).then_some((state, result))
}

fn our_task(root: &Element) -> Option<&Element> {
    let tasks = root.child("Tasks")?;
    tasks.children("Task").find(|task| task.text_of("Name") == Some(TASK)).or_else(|| tasks.child("Task"))
}

fn read_result(root: &Element) -> Result<TaskResult, String> {
    let result = our_task(root).and_then(|task| task.child("Result")).ok_or("there is no Result of a task in it")?;
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

/// A failed statement's text, such as `ODPS-0130131:[1,15] Table not found - …`, as an error.
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
    fn an_answer_tells_the_end_only_with_state_and_result() {
        let body = |inner: &str| {
            format!("<Instance><Tasks><Task Type=\"SQL\"><Name>{TASK}</Name>{inner}</Task></Tasks></Instance>")
        };
        let result = "<Result Format=\"text\">FAILED: ODPS-0130131:[1,15] Table not found</Result>";
        let (state, told) = ended_with(&body(&format!("{result}<Status>Failed</Status>"))).unwrap();
        assert_eq!((state, told.format), (InstanceState::Failed, ResultFormat::Text));
        for silent in [
            String::new(),
            "not XML".to_owned(),
            "<Instance><Tasks/></Instance>".to_owned(),
            body(result),
            body("<Status>Success</Status>"),
            body(&format!("{result}<Status>Running</Status>")),
            body(&format!("{result}<Status>a word of the future</Status>")),
        ] {
            assert_eq!(ended_with(&silent), None, "{silent}");
        }
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
