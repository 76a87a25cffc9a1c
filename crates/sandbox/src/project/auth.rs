//! Verifies the V2 or V4 signature of every request, as the service does.
//!
//! Written from the protocol, never from our client: a mistake made the same way on both sides would pass every test.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, Method};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::Sha256;

use super::error::{ApiError, ApiResult};

/// The largest difference between a request's date and our clock.
pub const SKEW_MAX: SignedDuration = SignedDuration::from_mins(15);

/// The one account that may call the project.
pub struct Account {
    pub access_id: String,
    pub access_key: SecretString,
    /// The file with the security token of a temporary key, which is also accepted as a bearer token.
    pub token_file: Option<PathBuf>,
    /// The region that V4 signatures must name. `None` accepts any region.
    pub region: Option<String>,
}

/// The parts of a request that are signed.
pub struct Signed<'a> {
    pub method: &'a Method,
    /// The path, percent-decoded.
    pub path: &'a str,
    /// The query, decoded, in the order received.
    pub params: &'a [(String, String)],
    pub headers: &'a HeaderMap,
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|v| v.to_str().ok()).map_or("", str::trim)
}

fn canonical(request: &Signed<'_>, path: &str) -> String {
    let mut lines: Vec<(String, String)> = ["content-md5", "content-type", "date"]
        .iter()
        .map(|name| ((*name).to_owned(), header(request.headers, name).to_owned()))
        .collect();
    for name in request.headers.keys().filter(|n| n.as_str().starts_with("x-odps-")) {
        lines.push((name.to_string(), format!("{name}:{}", header(request.headers, name.as_str()))));
    }
    for (name, value) in request.params.iter().filter(|(n, _)| n.starts_with("x-odps-")) {
        lines.push((name.clone(), format!("{name}:{value}")));
    }
    lines.sort_by(|a, b| a.0.cmp(&b.0));
    let mut text = request.method.as_str().to_owned();
    for (_, line) in &lines {
        text.push('\n');
        text.push_str(line);
    }
    text.push('\n');
    text.push_str(path);
    let mut params: Vec<&(String, String)> = request.params.iter().collect();
    params.sort_by(|a, b| a.0.cmp(&b.0));
    for (i, (name, value)) in params.into_iter().enumerate() {
        text.push(if i == 0 { '?' } else { '&' });
        text.push_str(name);
        if !value.is_empty() {
            text.push('=');
            text.push_str(value);
        }
    }
    text
}

fn sha256(key: &[u8], data: &str) -> ApiResult<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)
        .map_err(|_| ApiError::internal("the access key cannot be used as an HMAC key"))?;
    mac.update(data.as_bytes());
    Ok(mac.finalize().into_bytes().to_vec())
}

fn matches(key: &[u8], text: &str, signature: &[u8]) -> ApiResult<bool> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key)
        .map_err(|_| ApiError::internal("the access key cannot be used as an HMAC key"))?;
    mac.update(text.as_bytes());
    Ok(mac.verify_slice(signature).is_ok())
}

fn refused(message: impl Into<String>) -> ApiError {
    ApiError::new(401, "Unauthorized", message)
}

impl Account {
    /// Checks the date and the signature of a request.
    ///
    /// # Errors
    /// The error that the service would answer with.
    pub fn verify(&self, request: &Signed<'_>, now: Timestamp) -> ApiResult<()> {
        let token = self.token_file.as_deref().map(std::fs::read_to_string).transpose();
        let token = token.map_err(|error| ApiError::internal(format!("the token cannot be read: {error}")))?;
        let token = token.as_deref().map(str::trim);
        let shown = header(request.headers, "x-odps-bearer-token");
        if !shown.is_empty() {
            self.check_date(header(request.headers, "date"), now)?;
            return match token {
                Some(token) if token == shown => Ok(()),
                _ => Err(refused("ODPS-0410061:Invalid bearer token - it has expired, or was never given")),
            };
        }
        let authorization = header(request.headers, "authorization");
        if authorization.is_empty() {
            return Err(refused("ODPS-0410031:Authentication request parsing error - authorization header is missing"));
        }
        let (credential, signature) = authorization
            .strip_prefix("ODPS ")
            .and_then(|rest| rest.rsplit_once(':'))
            .ok_or_else(|| refused("ODPS-0410031:Authentication request parsing error - want `ODPS id:signature`"))?;
        let signature = BASE64
            .decode(signature)
            .map_err(|_| refused("ODPS-0410042:Invalid signature value - the signature is not base64"))?;
        self.check_date(header(request.headers, "date"), now)?;
        let mut parts = credential.split('/');
        if parts.next() != Some(self.access_id.as_str()) {
            return Err(refused(format!("ODPS-0410051:Invalid credentials - accessKeyId not found: {credential}")));
        }
        if token.is_some_and(|token| token != header(request.headers, "authorization-sts-token")) {
            let message = "ODPS-0410061:Invalid security token - it has expired, or does not belong to the access key";
            return Err(ApiError::new(401, "AuthenticationRequestExpired", message));
        }
        let scope: Vec<&str> = parts.collect();
        let key = if scope.is_empty() {
            self.access_key.expose_secret().as_bytes().to_vec()
        } else {
            self.v4_key(&scope, now)?
        };
        // Signatures cover the path after `/api` at the service endpoint, and the whole path at the tunnel endpoint,
        // which has no prefix.
        let stripped = request.path.strip_prefix("/api").filter(|rest| rest.starts_with('/'));
        for path in stripped.into_iter().chain([request.path]) {
            if matches(&key, &canonical(request, path), &signature)? {
                return Ok(());
            }
        }
        Err(refused("ODPS-0410042:Invalid signature value - User signature does not match"))
    }

    fn check_date(&self, date: &str, now: Timestamp) -> ApiResult<()> {
        let sent = httpdate::parse_http_date(date)
            .ok()
            .and_then(|time| Timestamp::try_from(time).ok())
            .ok_or_else(|| refused(format!("ODPS-0410031:Authentication request parsing error - Date is `{date}`")))?;
        if now.duration_since(sent).abs() <= SKEW_MAX {
            return Ok(());
        }
        let message = format!(
            "max_interval_date:{},expire_date:{},now_date:{}",
            SKEW_MAX.as_millis(),
            (sent + SKEW_MAX).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            now.strftime("%Y-%m-%dT%H:%M:%S.%3fZ")
        );
        Err(ApiError::new(403, "RequestTimeTooSkewed", message))
    }

    fn v4_key(&self, scope: &[&str], now: Timestamp) -> ApiResult<Vec<u8>> {
        let [day, region, "odps", "aliyun_v4_request"] = scope else {
            return Err(refused(format!("ODPS-0410031:Authentication request parsing error - scope {scope:?}")));
        };
        let near = [now - SKEW_MAX, now, now + SKEW_MAX];
        if !near.iter().any(|time| time.strftime("%Y%m%d").to_string() == *day) {
            return Err(refused(format!("ODPS-0410042:Invalid signature value - signed for another day: {day}")));
        }
        if self.region.as_deref().is_some_and(|want| want != *region) {
            return Err(refused(format!("ODPS-0410042:Invalid signature value - signed for another region: {region}")));
        }
        let mut key = format!("aliyun_v4{}", self.access_key.expose_secret()).into_bytes();
        for part in scope {
            key = sha256(&key, part)?;
        }
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account {
            access_id: "LTAItestid".into(),
            access_key: "testsecret".to_owned().into(),
            token_file: None,
            region: None,
        }
    }

    fn verify(authorization: &str, at: &str) -> ApiResult<()> {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("date", "Thu, 29 Feb 2024 12:34:56 GMT"),
            ("x-odps-user-agent", "mms/0.1"),
            ("content-type", "application/xml"),
            ("authorization", authorization),
        ] {
            headers.insert(name, value.parse().expect("a header value"));
        }
        let params = [("curr_project".to_owned(), "proj".to_owned())];
        let path = "/api/projects/proj/instances";
        let request = Signed { method: &Method::POST, path, params: &params, headers: &headers };
        account().verify(&request, at.parse().expect("a time"))
    }

    /// The signature was made by PyODPS.
    #[test]
    fn a_foreign_signature_is_accepted_and_any_other_refused() {
        let good = "ODPS LTAItestid:sRO5/nUaWLVJ+wYLyPF39hyf35g=";
        verify(good, "2024-02-29T12:40:00Z").expect("signed by PyODPS");
        let code = |authorization: &str, at: &str| verify(authorization, at).expect_err("refused").message;
        assert!(code("ODPS LTAItestid:sRO5/nUaWLVJ+wYLyPF39hyf36g=", "2024-02-29T12:40:00Z").contains("0410042"));
        assert!(code("ODPS other:sRO5/nUaWLVJ+wYLyPF39hyf35g=", "2024-02-29T12:40:00Z").contains("0410051"));
        assert!(code("", "2024-02-29T12:40:00Z").contains("missing"));
        assert_eq!(verify(good, "2024-02-29T12:51:00Z").expect_err("skewed").code, "RequestTimeTooSkewed");
    }
}
