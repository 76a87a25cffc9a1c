//! Sessions and operations of SQL, and the answers to the calls of clients.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use super::super::objects::State;
use super::result::Collected;
use super::statement::{Refused, parse};
use super::thrift::{Call, Fields, Look, Out, read, reply};
use super::{SqlSettings, query};

/// The largest result that is kept, in bytes.
pub const RESULT_MAX: usize = 512 << 20;
/// The most open sessions, and the most open operations of all of them together.
const OPEN_MAX: usize = 1000;
/// How long a link is valid.
const LINK_LIFE: Duration = Duration::from_secs(900);
/// The oldest protocol that is accepted, which is the first that supports Arrow, and the newest that is spoken,
/// `SPARK_CLI_SERVICE_PROTOCOL_V7`.
const PROTOCOLS: (i64, i64) = (42_241, 42_247);
/// Bytes of a page if the caller does not give a size.
const PAGE_BYTES: i64 = 16 << 20;
/// The header that a request for a link must send.
pub const LINK_HEADER: (&str, &str) = ("x-sandbox-link", "1");

/// Sessions and operations of one workspace.
#[derive(Debug, Default)]
pub struct Service {
    settings: Mutex<SqlSettings>,
    sessions: Mutex<HashMap<Uuid, Uuid>>,
    operations: Mutex<HashMap<Uuid, Arc<Operation>>>,
    files: AtomicU64,
}

#[derive(Debug)]
struct Operation {
    id: Uuid,
    secret: Uuid,
    session: Uuid,
    /// What the caller accepts.
    arrow: bool,
    links: bool,
    lz4: bool,
    done: watch::Receiver<Progress>,
    cursor: Mutex<u64>,
    task: tokio::task::AbortHandle,
}

#[derive(Debug, Clone)]
enum Progress {
    Running,
    Done(Arc<Collected>),
    Failed(Arc<Refused>),
}

/// Why an answer's status is not success.
enum Fault {
    Error(String),
    InvalidHandle,
}

type Answer = Result<Vec<(i16, Out)>, Fault>;

fn error(text: impl std::fmt::Display) -> Fault {
    Fault::Error(text.to_string())
}

fn success() -> Out {
    Out::Struct(vec![(1, Out::I32(0))])
}

fn handle(id: Uuid, secret: Uuid) -> Vec<(i16, Out)> {
    let parts = vec![(1, Out::Text(id.as_bytes().to_vec())), (2, Out::Text(secret.as_bytes().to_vec()))];
    vec![(1, Out::Struct(parts))]
}

/// The id and secret in a handle.
fn parts(handle: Option<&Fields>) -> Option<(Uuid, Uuid)> {
    let id = handle?.object(1)?;
    let uuid = |field| Uuid::from_slice(id.bytes(field)?).ok();
    uuid(1).zip(uuid(2))
}

impl Service {
    /// Changes how results are returned from now on.
    pub fn set(&self, settings: SqlSettings) {
        *self.settings.lock() = settings;
    }

    /// The numbers of open sessions and operations.
    pub fn open(&self) -> (usize, usize) {
        (self.sessions.lock().len(), self.operations.lock().len())
    }

    /// How many files were fetched through links.
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// Answers one call. An error here means that the call itself could not be read; a failed statement is part of the
    /// answer. `base` is the address with which links begin.
    pub async fn call(&self, state: &Arc<State>, base: &str, body: &[u8]) -> thrift::Result<Vec<u8>> {
        let Call { method, sequence, arguments } = read(body)?;
        let answer = match method.as_str() {
            "OpenSession" => self.open_session(&arguments),
            "CloseSession" => self.close_session(&arguments),
            "ExecuteStatement" => self.execute(state, base, &arguments).await,
            "GetOperationStatus" => self.operation(&arguments).map(|operation| progress(&operation)),
            "GetResultSetMetadata" => self.operation(&arguments).and_then(|operation| self.metadata(&operation)),
            "FetchResults" => self.operation(&arguments).and_then(|operation| self.fetch(&operation, base, &arguments)),
            "CancelOperation" | "CloseOperation" => self.operation(&arguments).map(|operation| {
                operation.task.abort();
                if method == "CloseOperation" {
                    self.operations.lock().remove(&operation.id);
                }
                Vec::new()
            }),
            _ => return Err(format!("method {method} is not offered").into()),
        };
        let (status, mut fields) = match answer {
            Ok(fields) => (success(), fields),
            Err(Fault::Error(text)) => {
                let text = Out::text(text);
                (Out::Struct(vec![(1, Out::I32(3)), (5, text.clone()), (6, text)]), Vec::new())
            }
            Err(Fault::InvalidHandle) => {
                (Out::Struct(vec![(1, Out::I32(4)), (5, Out::text("Invalid handle"))]), Vec::new())
            }
        };
        fields.insert(0, (1, status));
        reply(&method, sequence, Out::Struct(fields))
    }

    fn open_session(&self, request: &Fields) -> Answer {
        let asked = request.int(1282).or_else(|| request.int(1)).unwrap_or(0);
        if asked < PROTOCOLS.0 {
            return Err(error(format!("protocol {asked} is older than what is spoken here")));
        }
        let mut sessions = self.sessions.lock();
        if sessions.len() >= OPEN_MAX {
            return Err(error("too many sessions"));
        }
        let (id, secret) = (Uuid::new_v4(), Uuid::new_v4());
        sessions.insert(id, secret);
        let version = i32::try_from(asked.min(PROTOCOLS.1)).unwrap_or(0);
        let mut answer = vec![(2, Out::I32(version)), (3, Out::Struct(handle(id, secret)))];
        answer.push((1285, Out::Bool(true)));
        Ok(answer)
    }

    fn session(&self, request: &Fields) -> Result<Uuid, Fault> {
        let (id, secret) = parts(request.object(1)).ok_or(Fault::InvalidHandle)?;
        let known = self.sessions.lock().get(&id) == Some(&secret);
        if known { Ok(id) } else { Err(Fault::InvalidHandle) }
    }

    fn close_session(&self, request: &Fields) -> Answer {
        let id = self.session(request)?;
        self.sessions.lock().remove(&id);
        self.operations.lock().retain(|_, operation| {
            let other = operation.session != id;
            if !other {
                operation.task.abort();
            }
            other
        });
        Ok(Vec::new())
    }

    fn operation(&self, request: &Fields) -> Result<Arc<Operation>, Fault> {
        let (id, secret) = parts(request.object(1)).ok_or(Fault::InvalidHandle)?;
        let operations = self.operations.lock();
        operations.get(&id).filter(|operation| operation.secret == secret).cloned().ok_or(Fault::InvalidHandle)
    }

    async fn execute(&self, state: &Arc<State>, base: &str, request: &Fields) -> Answer {
        let session = self.session(request)?;
        let sql = String::from_utf8_lossy(request.bytes(2).unwrap_or_default()).into_owned();
        let settings = *self.settings.lock();
        let (told, done) = watch::channel(Progress::Running);
        let state = Arc::clone(state);
        let task = tokio::spawn(async move {
            let work = async {
                let ask = parse(&sql)?;
                let mut all = Collected::new(settings.batch_rows);
                query::answer(&state, ask, &mut all).await?;
                all.cut(settings.rows_unsaid);
                Ok(all)
            };
            let ended = match work.await {
                Ok(all) => Progress::Done(Arc::new(all)),
                Err(refused) => Progress::Failed(Arc::new(refused)),
            };
            // The operation may have been closed in the meantime.
            told.send(ended).unwrap_or_default();
        });
        let operation = Arc::new(Operation {
            id: Uuid::new_v4(),
            secret: Uuid::new_v4(),
            session,
            arrow: request.flag(1282),
            links: request.flag(1283),
            lz4: request.flag(1284),
            done,
            cursor: Mutex::new(0),
            task: task.abort_handle(),
        });
        {
            let mut operations = self.operations.lock();
            if operations.len() >= OPEN_MAX {
                operation.task.abort();
                return Err(error("too many operations"));
            }
            operations.insert(operation.id, Arc::clone(&operation));
        }
        let mut known = handle(operation.id, operation.secret);
        known.extend([(2, Out::I32(0)), (3, Out::Bool(true))]);
        let mut answer = vec![(2, Out::Struct(known))];
        if let Some(direct) = request.object(1281) {
            let mut waiting = operation.done.clone();
            let ended = waiting.wait_for(|progress| !matches!(progress, Progress::Running));
            let ended = tokio::time::timeout(settings.direct_wait, ended).await.is_ok();
            let with = |mut fields: Vec<(i16, Out)>| {
                fields.insert(0, (1, success()));
                Out::Struct(fields)
            };
            let mut results = vec![(1, with(progress(&operation)))];
            if ended && let Progress::Done(all) = now(&operation) {
                results.push((2, with(self.metadata(&operation)?)));
                let page = Fields::from([
                    (3, super::thrift::Field::Int(direct.int(1).unwrap_or(0))),
                    (1281, super::thrift::Field::Int(direct.int(2).unwrap_or(PAGE_BYTES))),
                ]);
                results.push((3, with(self.fetch(&operation, base, &page)?)));
                if *operation.cursor.lock() >= all.rows && !self.by_links(&operation, &all) {
                    // All rows are sent, so the operation is closed at once.
                    self.operations.lock().remove(&operation.id);
                    results.push((4, with(Vec::new())));
                }
            }
            answer.push((1281, Out::Struct(results)));
        }
        Ok(answer)
    }

    fn by_links(&self, operation: &Operation, all: &Collected) -> bool {
        operation.links && all.rows > 0 && all.bytes >= self.settings.lock().links_from
    }

    fn metadata(&self, operation: &Operation) -> Answer {
        let all = whole(operation)?;
        if !operation.arrow {
            return Err(error("only Arrow results are given here: ask with canReadArrowResult"));
        }
        all.metadata(self.by_links(operation, &all), operation.lz4).map_err(error)
    }

    fn fetch(&self, operation: &Operation, base: &str, request: &Fields) -> Answer {
        let all = whole(operation)?;
        let limits =
            (request.int(3).filter(|rows| *rows > 0).unwrap_or(i64::MAX), request.int(1281).unwrap_or(PAGE_BYTES));
        let mut cursor = operation.cursor.lock();
        let from = request.int(1282).and_then(|row| u64::try_from(row).ok()).unwrap_or(*cursor);
        let links = self.by_links(operation, &all);
        let first = all.piece_of(from);
        let (mut items, mut rows, mut bytes) = (Vec::new(), 0_i64, 0_i64);
        *cursor = from;
        for (number, piece) in all.pieces.iter().enumerate().skip(first) {
            if rows >= limits.0 || bytes >= limits.1 {
                break;
            }
            let count = i64::try_from(piece.batch.num_rows()).unwrap_or(i64::MAX);
            let item = match links {
                true => self.link(operation, base, number, piece.first_row, count),
                false => {
                    let message = all.message(&self.cut(&piece.batch), operation.lz4).map_err(error)?;
                    bytes += i64::try_from(message.len()).unwrap_or(i64::MAX);
                    vec![(1, Out::Text(message)), (2, Out::I64(count))]
                }
            };
            items.push(Out::Struct(item));
            rows += count;
            *cursor = piece.first_row + piece.batch.num_rows() as u64;
        }
        let start = all.pieces.get(first).map_or(from, |piece| piece.first_row);
        let set = vec![
            (1, Out::I64(i64::try_from(start).unwrap_or(i64::MAX))),
            (2, Out::Structs(Vec::new())),
            (if links { 1282 } else { 1281 }, Out::Structs(items)),
        ];
        let more = *cursor < all.rows;
        let mut answer = vec![(2, Out::Bool(more)), (3, Out::Struct(set))];
        drop(cursor);
        if request.flag(1283) {
            let mut metadata = self.metadata(operation)?;
            metadata.insert(0, (1, success()));
            answer.push((1281, Out::Struct(metadata)));
        }
        Ok(answer)
    }

    /// The part of a batch that is sent: all of it, unless lost rows are simulated.
    fn cut(&self, batch: &arrow::array::RecordBatch) -> arrow::array::RecordBatch {
        let lost = usize::try_from(self.settings.lock().rows_lost).unwrap_or(usize::MAX);
        batch.slice(0, batch.num_rows().saturating_sub(lost))
    }

    fn link(&self, operation: &Operation, base: &str, piece: usize, first_row: u64, rows: i64) -> Vec<(i16, Out)> {
        let mut settings = self.settings.lock();
        let now = now_ms();
        let until = match settings.ended_links.checked_sub(1) {
            Some(left) => {
                settings.ended_links = left;
                now.saturating_sub(1000)
            }
            None => now.saturating_add(i64::try_from(LINK_LIFE.as_millis()).unwrap_or(i64::MAX)),
        };
        let url = format!("{base}/results/{}/{piece}?until={until}&key={}", operation.id, operation.secret);
        let (name, value) = LINK_HEADER;
        let header = [(name.to_owned(), value.to_owned())];
        vec![
            (1, Out::text(url)),
            (2, Out::I64(until)),
            (3, Out::I64(i64::try_from(first_row).unwrap_or(i64::MAX))),
            (4, Out::I64(rows)),
            (5, Out::I64(0)),
            (6, Out::Texts(header.to_vec())),
        ]
    }

    /// The file behind a link; `None` if the link has expired or was never issued.
    pub fn file(
        &self,
        id: Uuid,
        piece: usize,
        until: i64,
        key: Uuid,
    ) -> Option<Result<Vec<u8>, arrow::error::ArrowError>> {
        let operation = self.operations.lock().get(&id).filter(|operation| operation.secret == key).cloned()?;
        if until < now_ms() {
            return None;
        }
        let all = whole(&operation).ok()?;
        let piece = all.pieces.get(piece)?;
        self.files.fetch_add(1, Ordering::Relaxed);
        Some(all.file(&self.cut(&piece.batch), operation.lz4))
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn now(operation: &Operation) -> Progress {
    operation.done.borrow().clone()
}

fn whole(operation: &Operation) -> Result<Arc<Collected>, Fault> {
    match now(operation) {
        Progress::Done(all) => Ok(all),
        Progress::Running => Err(error("the statement has not ended")),
        Progress::Failed(refused) => Err(error(&refused.text)),
    }
}

/// The fields of `GetOperationStatus` except its status.
fn progress(operation: &Operation) -> Vec<(i16, Out)> {
    let ended = operation.task.is_finished();
    match now(operation) {
        Progress::Running if ended => vec![(2, Out::I32(3))],
        Progress::Running => vec![(2, Out::I32(1))],
        Progress::Done(_) => vec![(2, Out::I32(2)), (9, Out::Bool(true))],
        Progress::Failed(refused) => {
            let text = Out::text(format!("[{}] {} SQLSTATE: {}", refused.class, refused.text, refused.state));
            vec![(2, Out::I32(5)), (3, Out::text(refused.state)), (5, text.clone()), (1281, text)]
        }
    }
}
