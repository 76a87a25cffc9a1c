//! The few messages of HiveServer2 that a query needs, with the fields that Databricks adds (numbers from 1281 on). Pure:
//! writes requests as bytes and reads answers from trees of fields. A server that does not know a field skips it.

use bytes::Bytes;

use super::wire::{List, Struct, Value, Writer};

/// The protocol asked for: `SPARK_CLI_SERVICE_PROTOCOL_V7`.
const PROTOCOL: i64 = 42_247;
/// Rows of one page that are asked of a server that sends columns.
const PAGE_ROWS: i64 = 10_000;
/// Bytes that are asked for in one page, and in one file behind a link.
pub const PAGE_BYTES: i64 = 16 << 20;

/// The server's handle of a session or an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle {
    guid: Bytes,
    secret: Bytes,
}

impl Handle {
    fn read(handle: Option<&Struct>) -> Option<Self> {
        let id = handle?.object(1)?;
        Some(Self { guid: id.binary(1)?.clone(), secret: id.binary(2)?.clone() })
    }

    fn write(&self, w: &mut Writer, id: i16, operation: bool) {
        w.object(id, |w| {
            w.object(1, |w| {
                w.binary(1, &self.guid);
                w.binary(2, &self.secret);
            });
            if operation {
                w.i32(2, 0);
                w.bool(3, true);
            }
        });
    }
}

/// Opens a session.
pub fn open_session() -> Vec<u8> {
    Writer::call("OpenSession", |w| {
        w.texts(4, &[("spark.thriftserver.arrowBasedRowSet.timestampAsString", "false")]);
        w.i64(1282, PROTOCOL);
        w.bool(1285, true);
    })
}

/// Runs a statement. If it ends soon, its first rows come with the answer.
pub fn execute(session: &Handle, statement: &str) -> Vec<u8> {
    Writer::call("ExecuteStatement", |w| {
        session.write(w, 1, false);
        w.binary(2, statement.as_bytes());
        w.bool(4, true);
        w.object(1281, |w| {
            w.i64(1, PAGE_ROWS);
            w.i64(2, PAGE_BYTES);
        });
        for of_us in 1282..=1284 {
            w.bool(of_us, true);
        }
        w.i64(1285, PAGE_BYTES);
        w.object(1286, |w| {
            for native in 1..=5 {
                w.bool(native, true);
            }
        });
    })
}

/// Asks for the next rows, those from `row` on.
pub fn fetch(operation: &Handle, row: u64) -> Vec<u8> {
    Writer::call("FetchResults", |w| {
        operation.write(w, 1, true);
        w.i32(2, 0);
        w.i64(3, PAGE_ROWS);
        w.i64(1281, PAGE_BYTES);
        w.i64(1282, i64::try_from(row).unwrap_or(i64::MAX));
        w.bool(1283, true);
    })
}

/// `GetOperationStatus`, `GetResultSetMetadata`, `CancelOperation` or `CloseOperation`.
pub fn of_operation(method: &str, operation: &Handle) -> Vec<u8> {
    Writer::call(method, |w| operation.write(w, 1, true))
}

/// Closes a session.
pub fn close_session(session: &Handle) -> Vec<u8> {
    Writer::call("CloseSession", |w| session.write(w, 1, false))
}

/// A failure as the server reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The server's words.
    pub message: String,
    /// SQLSTATE.
    pub state: Option<String>,
    /// The server does not know the session or operation, or not any more.
    pub unknown_handle: bool,
}

/// Reads the status that every answer has.
pub fn status(answer: &Struct) -> Result<(), Failure> {
    let status = answer.object(1);
    match status.and_then(|status| status.int(1)) {
        Some(0..=2) => Ok(()),
        code => {
            let text = |id| status.and_then(|status| status.text(id)).filter(|text| !text.is_empty());
            let message = text(6).or_else(|| text(5)).unwrap_or_else(|| "no explanation given".to_owned());
            Err(Failure { message, state: text(3), unknown_handle: code == Some(4) })
        }
    }
}

/// Reads the handle of a session or an operation that was opened.
pub fn handle(answer: &Struct, id: i16) -> Option<Handle> {
    Handle::read(answer.object(id))
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    Running,
    Finished,
    Failed(Failure),
}

/// Reads an operation's state; None if it is missing or unknown.
pub fn progress(answer: &Struct) -> Option<Progress> {
    let failed = |word: &str| {
        let text = |id| answer.text(id).filter(|text| !text.is_empty());
        let message = text(1281).or_else(|| text(5)).unwrap_or_else(|| word.to_owned());
        Some(Progress::Failed(Failure { message, state: text(3), unknown_handle: false }))
    };
    match answer.int(2)? {
        0 | 1 | 7 => Some(Progress::Running),
        2 => Some(Progress::Finished),
        3 => failed("the statement was cancelled"),
        4 => failed("the statement was closed at the server"),
        5 => failed("the statement failed, the server does not say why"),
        8 => failed("the statement ran into the server's time limit"),
        _ => None,
    }
}

/// The form of a result's rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata {
    /// The columns. An older server tells nothing of the rows but these types.
    pub columns: Vec<ColumnType>,
    /// The Arrow schema as an IPC message; None from a server that sends columns.
    pub arrow_schema: Option<Bytes>,
    /// Whether batches and files are compressed with LZ4.
    pub lz4: bool,
}

/// A column, as servers of every age describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnType {
    pub name: String,
    /// HiveServer2's number of the type; None if the type is nested.
    pub kind: Option<i64>,
    /// Precision and scale, of a decimal only.
    pub decimal: Option<(i64, i64)>,
}

/// Reads the form of a result; None if it is incomplete.
pub fn metadata(answer: &Struct) -> Option<Metadata> {
    let columns = answer.object(2)?.objects(1)?;
    let columns = columns.into_iter().map(column_type).collect::<Option<Vec<_>>>()?;
    let arrow_schema = answer.binary(1283).filter(|schema| !schema.is_empty()).cloned();
    Some(Metadata { columns, arrow_schema, lz4: answer.bool(1282).unwrap_or(false) })
}

fn column_type(column: &Struct) -> Option<ColumnType> {
    let entries = column.object(2).and_then(|types| types.objects(1)).unwrap_or_default();
    let plain = match *entries {
        [entry] => entry.object(1),
        _ => None,
    };
    let qualifiers =
        plain.and_then(|plain| plain.object(2)).and_then(|qualifiers| qualifiers.map(1)).unwrap_or_default();
    let number = |name: &str| {
        qualifiers.iter().find_map(|(key, value)| match (key, value) {
            (Value::Text(key), Value::Struct(value)) if key == name.as_bytes() => value.int(1),
            _ => None,
        })
    };
    Some(ColumnType {
        name: column.text(1)?,
        kind: plain.and_then(|plain| plain.int(1)),
        decimal: number("precision").zip(number("scale")),
    })
}

/// A link to a file of a result.
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    pub url: String,
    /// When the link expires, milliseconds since 1970.
    pub expires_ms: i64,
    pub first_row: u64,
    pub rows: u64,
    /// Headers that must be sent with the request.
    pub headers: Vec<(String, String)>,
}

pub struct Page {
    pub first_row: u64,
    pub more: bool,
    pub rows: PageRows,
}

/// The form that a page's rows come in.
pub enum PageRows {
    /// Arrow IPC messages, each with the number of rows that the server says it has.
    Arrow(Vec<(Bytes, u64)>),
    Links(Vec<Link>),
    /// One list of values and one bitmap of NULLs per column.
    Columns(Vec<(List, Bytes)>),
}

/// Reads a page; None if it is incomplete, or in a form that was not asked for.
pub fn page(answer: &Struct) -> Option<Page> {
    let count = |of: &Struct, id| of.int(id).and_then(|count| u64::try_from(count).ok());
    let set = answer.object(3)?;
    let rows = if let Some(links) = set.objects(1282).filter(|links| !links.is_empty()) {
        let link = |link: &Struct| {
            let text = |value: &Value| {
                if let Value::Text(text) = value { Some(String::from_utf8_lossy(text).into_owned()) } else { None }
            };
            let headers = link.map(6).unwrap_or_default();
            Some(Link {
                url: link.text(1)?,
                expires_ms: link.int(2)?,
                first_row: count(link, 3)?,
                rows: count(link, 4)?,
                headers: headers.iter().map(|(name, value)| text(name).zip(text(value))).collect::<Option<_>>()?,
            })
        };
        PageRows::Links(links.into_iter().map(link).collect::<Option<_>>()?)
    } else if let Some(batches) = set.objects(1281) {
        let batch = |batch: &Struct| batch.binary(1).cloned().zip(count(batch, 2));
        PageRows::Arrow(batches.into_iter().map(batch).collect::<Option<_>>()?)
    } else if let Some(columns) = set.objects(3) {
        let column = |column: &Struct| match column.only()? {
            (1..=8, Value::Struct(column)) => column.list(1).cloned().zip(column.binary(2).cloned()),
            _ => None,
        };
        PageRows::Columns(columns.into_iter().map(column).collect::<Option<_>>()?)
    } else {
        PageRows::Arrow(Vec::new())
    };
    Some(Page { first_row: count(set, 1)?, more: answer.bool(2).unwrap_or(false), rows })
}
