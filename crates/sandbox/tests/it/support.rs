//! Support for the tests of the sandbox project: serves a project, and calls it with a small signing client.

use std::path::Path;

use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use mms_sandbox::project::{Project, ProjectConfig};
use reqwest::{Method, Response, StatusCode};

pub const ID: &str = "LTAI-test";
pub const KEY: &str = "test-secret";
/// One BIGINT column with the value 1, as a record stream.
pub const ONE: &str = "080280c0ff7fcab8b49905f0ffff7f02f8ffff7fa486b58808";

pub fn config(dir: &Path) -> ProjectConfig {
    ProjectConfig::new(dir.to_owned(), "demo", ID, KEY)
}

pub async fn serve(dir: &Path) -> (Project, Client) {
    let project = Project::start(config(dir)).await.expect("started");
    let client = Client::new(project.endpoint());
    (project, client)
}

/// A record stream of one BIGINT column.
pub fn records(values: &[i64]) -> Vec<u8> {
    fn varint(bytes: &mut Vec<u8>, mut value: u64) {
        while value >= 0x80 {
            bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
    }
    let zigzag = |value: i64| ((value << 1) ^ (value >> 63)).cast_unsigned();
    let (mut bytes, mut total) = (Vec::new(), 0);
    for value in values {
        bytes.push(0x08);
        varint(&mut bytes, zigzag(*value));
        let crc = crc32c::crc32c_append(crc32c::crc32c(&1_i32.to_le_bytes()), &value.to_le_bytes());
        bytes.extend_from_slice(&[0x80, 0xc0, 0xff, 0x7f]);
        varint(&mut bytes, crc.into());
        total = crc32c::crc32c_append(total, &crc.to_le_bytes());
    }
    bytes.extend_from_slice(&[0xf0, 0xff, 0xff, 0x7f]);
    varint(&mut bytes, zigzag(values.len() as i64));
    bytes.extend_from_slice(&[0xf8, 0xff, 0xff, 0x7f]);
    varint(&mut bytes, total.into());
    bytes
}

/// The values of such a stream. Every byte of it must be as [`records`] writes it.
pub fn values(stream: &[u8]) -> Vec<i64> {
    let mut at = 0;
    let mut varint = || {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = stream[at];
            at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    };
    let mut found = Vec::new();
    while varint() == 0x08 {
        let raw = varint();
        found.push((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()));
        // The tag of the record's end, and its CRC.
        varint();
        varint();
    }
    assert_eq!(records(&found), stream, "CRCs and footer");
    found
}

pub struct Client {
    pub endpoint: String,
    pub tunnel: String,
    pub key: String,
    pub clock: i64,
    pub http: reqwest::Client,
}

pub struct Answer {
    pub status: StatusCode,
    pub location: Option<String>,
    pub request_id: Option<String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// The status and code of an error answer. All four elements must be present, in JSON from the tunnel and in XML
    /// otherwise.
    pub fn refusal(&self) -> (u16, String) {
        let text = self.text();
        let json = serde_json::from_str::<serde_json::Value>(&text).ok();
        for element in ["Message", "RequestId", "HostId"] {
            match &json {
                Some(json) => assert!(json[element].is_string(), "{text}"),
                None => assert!(text.contains(&format!("<{element}>")), "{text}"),
            }
        }
        assert!(self.request_id.is_some());
        let code = match &json {
            Some(json) => json["Code"].as_str(),
            None => text.split("<Code>").nth(1).and_then(|t| t.split("</Code>").next()),
        };
        (self.status.as_u16(), code.expect("a code").to_owned())
    }

    pub fn ok(self) -> Self {
        assert!(self.status.is_success(), "{}: {}", self.status, self.text());
        self
    }
}

impl Client {
    pub fn new(endpoint: &str) -> Self {
        let tunnel = endpoint.trim_end_matches("/api").to_owned();
        Self { endpoint: endpoint.to_owned(), tunnel, key: KEY.to_owned(), clock: 0, http: reqwest::Client::new() }
    }

    /// Sessions are at the tunnel endpoint, everything else is at the service endpoint.
    fn base(&self, path: &str, params: &[(&str, &str)]) -> &str {
        if path.starts_with("/api/storage/") {
            return &self.tunnel;
        }
        let session = |name: &str| matches!(name, "uploads" | "uploadid" | "downloads" | "downloadid");
        if params.iter().any(|(name, _)| session(name)) { &self.tunnel } else { &self.endpoint }
    }

    /// Sends one signed request. `path` is what follows the endpoint; `params` are not percent-encoded.
    pub async fn call(&self, method: Method, path: &str, params: &[(&str, &str)], body: Vec<u8>) -> Answer {
        self.call_with(method, path, params, body, &[]).await
    }

    pub async fn call_with(
        &self,
        method: Method,
        path: &str,
        params: &[(&str, &str)],
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Answer {
        self.send(method, path, params, body, headers).await.expect("answered")
    }

    /// As [`Self::call`]; `None` if the server did not answer.
    pub async fn try_call(&self, method: Method, path: &str, params: &[(&str, &str)], body: Vec<u8>) -> Option<Answer> {
        self.send(method, path, params, body, &[]).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        params: &[(&str, &str)],
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Option<Answer> {
        let now = std::time::SystemTime::now() + std::time::Duration::from_secs(self.clock.unsigned_abs());
        let date = httpdate::fmt_http_date(now);
        let mut sorted = params.to_vec();
        sorted.sort_unstable();
        let query: Vec<String> = sorted
            .iter()
            .map(|(name, value)| if value.is_empty() { (*name).to_owned() } else { format!("{name}={value}") })
            .collect();
        let question = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let canonical = format!("{method}\n\n\n{date}\nx-odps-user-agent:test\n{path}{question}");
        let mut mac = Hmac::<sha1::Sha1>::new_from_slice(self.key.as_bytes()).expect("a key");
        mac.update(canonical.as_bytes());
        let signature = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
        let mut url = url::Url::parse(&format!("{}{path}", self.base(path, params))).expect("a url");
        if !params.is_empty() {
            url.query_pairs_mut().extend_pairs(params);
        }
        let mut request = self
            .http
            .request(method, url)
            .header("Date", date)
            .header("x-odps-user-agent", "test")
            .header("Authorization", format!("ODPS {ID}:{signature}"))
            .body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.send().await.ok()?).await
    }

    /// Submits a statement and returns the id of its instance. An empty guid means none.
    pub async fn submit(&self, sql: &str, guid: &str) -> String {
        let query = sql.replace('&', "&amp;").replace('<', "&lt;");
        let xml = format!(
            "<Instance><Job><Priority>9</Priority><Guid>{guid}</Guid><Tasks><SQL><Name>T</Name><Config><Property><Name>settings</Name>\
             <Value>{{\"odps.namespace.schema\":\"true\"}}</Value></Property></Config><Query>{query}</Query></SQL>\
             </Tasks></Job></Instance>"
        );
        let made = self.call(Method::POST, "/projects/demo/instances", &[], xml.into_bytes()).await.ok();
        made.location.expect("a location").rsplit('/').next().expect("an id").to_owned()
    }

    /// Runs a statement and returns its result, or the error message.
    pub async fn sql(&self, sql: &str) -> Result<String, String> {
        let id = self.submit(sql, "").await;
        self.outcome(&id).await
    }

    /// The result or the error message of an instance that has ended.
    pub async fn outcome(&self, id: &str) -> Result<String, String> {
        let path = format!("/projects/demo/instances/{id}");
        let status = self.call(Method::GET, &path, &[("taskstatus", "")], Vec::new()).await.ok().text();
        let result = self.call(Method::GET, &path, &[("result", "")], Vec::new()).await.ok().text();
        let inner = result.split("<Result").nth(1).and_then(|t| t.split_once('>')).expect("a result").1;
        let inner = inner.split("</Result>").next().unwrap_or_default();
        if status.contains("<Status>Failed</Status>") {
            return Err(inner.to_owned());
        }
        let bytes = base64::engine::general_purpose::STANDARD.decode(inner).expect("base64");
        Ok(String::from_utf8(bytes).expect("text"))
    }

    pub async fn count(&self, table: &str) -> u64 {
        let text = self.sql(&format!("SELECT COUNT(*) FROM {table};")).await.expect("counted");
        text.lines().nth(1).expect("a row").parse().expect("a number")
    }

    /// The cells of a table of one BIGINT column, in order.
    pub async fn cells(&self, table: &str) -> Vec<i64> {
        let session = self.call(Method::POST, table, &[("downloads", "")], Vec::new()).await.ok().json();
        let range = format!("(0,{})", session["RecordCount"]);
        let id = session["DownloadID"].as_str().expect("an id");
        let params = [("data", ""), ("downloadid", id), ("rowrange", range.as_str())];
        values(&self.call(Method::GET, table, &params, Vec::new()).await.ok().body)
    }

    pub async fn open(&self, table: &str, params: &[(&str, &str)]) -> String {
        let params = [&[("uploads", "")], params].concat();
        let made = self.call(Method::POST, table, &params, Vec::new()).await.ok();
        made.json()["UploadID"].as_str().expect("an id").to_owned()
    }

    pub async fn put(&self, table: &str, id: &str, block: &str, hex_body: &str) -> Answer {
        let body = hex::decode(hex_body).expect("hex");
        self.call(Method::PUT, table, &[("uploadid", id), ("blockid", block)], body).await
    }

    pub async fn commit(&self, table: &str, id: &str) -> Answer {
        self.call(Method::POST, table, &[("uploadid", id)], Vec::new()).await
    }
}

async fn answer(response: Response) -> Option<Answer> {
    let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let (location, request_id) = (header("location"), header("x-odps-request-id"));
    let status = response.status();
    Some(Answer { status, location, request_id, body: response.bytes().await.ok()?.to_vec() })
}
