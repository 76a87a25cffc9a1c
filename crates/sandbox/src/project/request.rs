//! A request with its path segments and its parameters decoded.

use http::request::Parts;
use percent_encoding::percent_decode_str;

use super::error::{ApiError, ApiResult};

/// Decoded query parameters, in the order received.
#[derive(Debug, Clone, Default)]
pub struct Params(pub Vec<(String, String)>);

impl Params {
    /// The value of a parameter, `""` if it has none, `None` if the parameter is absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Whether a parameter is present, in any spelling (`uploads`, `uploads=`, `uploads=1`).
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether a parameter is present and empty, `true` or `1`.
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|v| v.is_empty() || v.eq_ignore_ascii_case("true") || v == "1")
    }

    /// A parameter that must be present and not empty.
    pub fn need(&self, name: &str) -> ApiResult<&str> {
        self.get(name)
            .filter(|v| !v.is_empty())
            .ok_or_else(|| ApiError::invalid(format!("parameter {name} is missing")))
    }
}

/// Path and parameters of a request.
pub struct Target {
    /// The whole path, decoded.
    pub path: String,
    /// Whether it was sent to the service endpoint, whose paths begin with `/api`; else to the tunnel.
    pub service: bool,
    /// The segments after `/api`, or all of them, decoded.
    pub segments: Vec<String>,
    pub params: Params,
}

fn decode(text: &str) -> ApiResult<String> {
    percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| ApiError::invalid(format!("`{text}` is not percent-encoded UTF-8")))
}

/// The path below `/api/`; `None` if it belongs to the tunnel endpoint.
pub fn below_service(parts: &Parts) -> Option<&str> {
    parts.uri.path().strip_prefix("/api/")
}

impl Target {
    /// Decodes path and query of a request.
    ///
    /// # Errors
    /// The path is not percent-encoded UTF-8.
    pub fn parse(parts: &Parts) -> ApiResult<Self> {
        let raw = parts.uri.path();
        let below = below_service(parts);
        let relative = below.unwrap_or_else(|| raw.trim_start_matches('/'));
        let segments = relative.split('/').filter(|s| !s.is_empty()).map(decode).collect::<ApiResult<_>>()?;
        let query = parts.uri.query().unwrap_or_default().as_bytes();
        let params = url::form_urlencoded::parse(query).map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
        Ok(Self { path: decode(raw)?, service: below.is_some(), segments, params: Params(params) })
    }
}
